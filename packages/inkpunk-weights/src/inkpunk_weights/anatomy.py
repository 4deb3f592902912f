"""The tensors that each component of Stable Diffusion v1, or a smaller sibling of it, has: names and shapes.

An anatomy is the few numbers that fix every shape. It is read off the tensors of a file, each number by the
vote of several tensors, so that one misshapen tensor is found out instead of making all the others look
wrong.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from inkpunk_weights.blocks import Blocks
from inkpunk_weights.errors import CheckpointError
from inkpunk_weights.names import OUR_BLOCKS

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


def _linear(name: str, inputs: int, outputs: int, bias: bool = True) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    if bias:
        yield f"{name}.bias", (outputs,)


def _conv(name: str, inputs: int, outputs: int, kernel: int = 3) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs, kernel, kernel)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield from ((f"{name}.weight", (width,)), (f"{name}.bias", (width,)))


def _resnet(name: str, inputs: int, outputs: int, time: int = 0) -> Iterator[tuple[str, Shape]]:
    yield from _norm(f"{name}.norm1", inputs)
    yield from _conv(f"{name}.conv1", inputs, outputs)
    if time:
        yield from _linear(f"{name}.time", time, outputs)
    yield from _norm(f"{name}.norm2", outputs)
    yield from _conv(f"{name}.conv2", outputs, outputs)
    if inputs != outputs:
        yield from _conv(f"{name}.shortcut", inputs, outputs, kernel=1)


def _unet_attention(name: str, width: int, context: int) -> Iterator[tuple[str, Shape]]:
    yield from _norm(f"{name}.norm", width)
    yield from _conv(f"{name}.proj_in", width, width, kernel=1)
    for i in (1, 2, 3):
        yield from _norm(f"{name}.block.norm{i}", width)
    for attention, source in (("self_attention", width), ("cross_attention", context)):
        yield from _linear(f"{name}.block.{attention}.query", width, width, bias=False)
        yield from _linear(f"{name}.block.{attention}.key", source, width, bias=False)
        yield from _linear(f"{name}.block.{attention}.value", source, width, bias=False)
        yield from _linear(f"{name}.block.{attention}.out", width, width)
    yield from _linear(f"{name}.block.feed_forward.fc1", width, 2 * 4 * width)  # GEGLU: value and gate
    yield from _linear(f"{name}.block.feed_forward.fc2", 4 * width, width)
    yield from _conv(f"{name}.proj_out", width, width, kernel=1)


@dataclass(frozen=True)
class TextEncoderAnatomy:
    """CLIP's text encoder; the defaults are ViT-L/14's."""

    vocabulary: int = 49408
    positions: int = 77
    width: int = 768
    layers: int = 12
    feed_forward: int = 3072

    @classmethod
    def of(cls, shapes: Shapes) -> "TextEncoderAnatomy":
        """Read it off our names and their shapes."""
        layers = OUR_BLOCKS["text_encoder"](shapes).layers
        norms = [
            f"layers.{i}.norm{j}.{leaf}" for i in range(layers) for j in (1, 2) for leaf in ("weight", "bias")
        ]
        return cls(
            vocabulary=_vote(shapes, ["token_embedding.weight"], 0, cls.vocabulary),
            positions=_vote(shapes, ["position_embedding.weight"], 0, cls.positions),
            width=_vote(shapes, ["final_norm.weight", "final_norm.bias", *norms], 0, cls.width),
            layers=layers,
            feed_forward=_vote(
                shapes, [f"layers.{i}.feed_forward.fc1.bias" for i in range(layers)], 0, cls.feed_forward
            ),
        )

    def tensors(self) -> Iterator[tuple[str, Shape]]:
        """Name and shape of each tensor."""
        yield "token_embedding.weight", (self.vocabulary, self.width)
        yield "position_embedding.weight", (self.positions, self.width)
        for layer in (f"layers.{i}" for i in range(self.layers)):
            yield from _norm(f"{layer}.norm1", self.width)
            for projection in ("query", "key", "value", "out"):
                yield from _linear(f"{layer}.attention.{projection}", self.width, self.width)
            yield from _norm(f"{layer}.norm2", self.width)
            yield from _linear(f"{layer}.feed_forward.fc1", self.width, self.feed_forward)
            yield from _linear(f"{layer}.feed_forward.fc2", self.feed_forward, self.width)
        yield from _norm("final_norm", self.width)


@dataclass(frozen=True)
class UNetAnatomy:
    """The noise predictor; the defaults are SD v1.5's. `attention` says which levels attend, finest first."""

    in_channels: int = 4
    out_channels: int = 4
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    layers: int = 2
    attention: tuple[bool, ...] = (True, True, True, False)
    context_width: int = 768

    @classmethod
    def of(cls, shapes: Shapes) -> "UNetAnatomy":
        """Read it off our names and their shapes."""
        blocks = OUR_BLOCKS["unet"](shapes)
        contexts = [
            name
            for name in shapes
            if name.endswith((".cross_attention.key.weight", ".cross_attention.value.weight"))
        ]
        return cls(
            in_channels=_vote(shapes, ["conv_in.weight"], 1, cls.in_channels),
            out_channels=_vote(shapes, ["conv_out.weight", "conv_out.bias"], 0, cls.out_channels),
            widths=_widths(shapes, "down", blocks),
            layers=blocks.layers,
            attention=blocks.attends,
            context_width=_vote(shapes, contexts, 1, cls.context_width),
        )

    def tensors(self) -> Iterator[tuple[str, Shape]]:
        """Name and shape of each tensor."""
        time, finest, deepest = 4 * self.widths[0], self.widths[0], self.widths[-1]
        yield from _conv("conv_in", self.in_channels, finest)
        yield from _linear("time_embedding.linear1", finest, time)
        yield from _linear("time_embedding.linear2", time, time)
        skips, width = [finest], finest
        for level, (outputs, attends) in enumerate(zip(self.widths, self.attention, strict=True)):
            for i in range(self.layers):
                yield from _resnet(f"down.{level}.resnets.{i}", width, outputs, time)
                if attends:
                    yield from _unet_attention(f"down.{level}.attentions.{i}", outputs, self.context_width)
                skips.append(width := outputs)
            if level < len(self.widths) - 1:
                yield from _conv(f"down.{level}.downsample.conv", outputs, outputs)
                skips.append(outputs)
        yield from _resnet("middle.resnets.0", deepest, deepest, time)
        yield from _unet_attention("middle.attention", deepest, self.context_width)
        yield from _resnet("middle.resnets.1", deepest, deepest, time)
        for level, (outputs, attends) in enumerate(zip(self.widths[::-1], self.attention[::-1], strict=True)):
            for i in range(self.layers + 1):
                yield from _resnet(f"up.{level}.resnets.{i}", width + skips.pop(), outputs, time)
                if attends:
                    yield from _unet_attention(f"up.{level}.attentions.{i}", outputs, self.context_width)
                width = outputs
            if level < len(self.widths) - 1:
                yield from _conv(f"up.{level}.upsample.conv", outputs, outputs)
        yield from _norm("norm_out", finest)
        yield from _conv("conv_out", finest, self.out_channels)


@dataclass(frozen=True)
class VAEAnatomy:
    """The autoencoder; the defaults are SD v1's."""

    image_channels: int = 3
    latent_channels: int = 4
    widths: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2

    @classmethod
    def of(cls, shapes: Shapes) -> "VAEAnatomy":
        """Read it off our names and their shapes."""
        blocks = OUR_BLOCKS["vae"](shapes)
        latents = ["post_quant_conv.weight", "post_quant_conv.bias"]
        return cls(
            image_channels=_vote(
                shapes, ["decoder.conv_out.weight", "decoder.conv_out.bias"], 0, cls.image_channels
            ),
            latent_channels=_vote(shapes, latents, 0, cls.latent_channels),
            widths=_widths(shapes, "encoder.down", blocks),
            layers=blocks.layers,
        )

    def tensors(self) -> Iterator[tuple[str, Shape]]:
        """Name and shape of each tensor."""
        deepest, moments = self.widths[-1], 2 * self.latent_channels  # the posterior's mean and log-variance
        yield from _conv("encoder.conv_in", self.image_channels, self.widths[0])
        yield from self._levels("encoder.down", self.widths[0], self.widths, self.layers, "downsample")
        yield from self._middle("encoder.middle")
        yield from _norm("encoder.norm_out", deepest)
        yield from _conv("encoder.conv_out", deepest, moments)
        yield from _conv("quant_conv", moments, moments, kernel=1)
        yield from _conv("post_quant_conv", self.latent_channels, self.latent_channels, kernel=1)
        yield from _conv("decoder.conv_in", self.latent_channels, deepest)
        yield from self._middle("decoder.middle")
        yield from self._levels("decoder.up", deepest, self.widths[::-1], self.layers + 1, "upsample")
        yield from _norm("decoder.norm_out", self.widths[0])
        yield from _conv("decoder.conv_out", self.widths[0], self.image_channels)

    def _levels(
        self, name: str, width: int, widths: Sequence[int], layers: int, sampler: str
    ) -> Iterator[tuple[str, Shape]]:
        for level, outputs in enumerate(widths):
            for i in range(layers):
                yield from _resnet(f"{name}.{level}.resnets.{i}", width, outputs)
                width = outputs
            if level < len(widths) - 1:
                yield from _conv(f"{name}.{level}.{sampler}.conv", outputs, outputs)

    def _middle(self, name: str) -> Iterator[tuple[str, Shape]]:
        width = self.widths[-1]
        yield from _resnet(f"{name}.resnets.0", width, width)
        yield from _norm(f"{name}.attention.norm", width)
        for projection in ("query", "key", "value", "out"):
            yield from _linear(f"{name}.attention.{projection}", width, width)
        yield from _resnet(f"{name}.resnets.1", width, width)


Anatomy = TextEncoderAnatomy | UNetAnatomy | VAEAnatomy


def anatomy_of(component: str, shapes: Shapes) -> Anatomy:
    """The anatomy of "text_encoder", "unet" or "vae", read off our tensor names and their shapes.

    Raises:
        CheckpointError: if the names have not even one block of it.
    """
    blocks = OUR_BLOCKS[component](shapes)
    if not blocks.layers or (component != "text_encoder" and not blocks.levels):
        raise CheckpointError(
            f"not one whole block of a {component} among {len(shapes)} tensors; are these its names?"
        )
    kinds = {"text_encoder": TextEncoderAnatomy, "unet": UNetAnatomy, "vae": VAEAnatomy}
    return kinds[component].of(shapes)


def _vote(shapes: Shapes, names: Sequence[str], axis: int, default: int) -> int:
    """What most of the tensors `names` have as size of `axis`."""
    votes = Counter(shapes[name][axis] for name in names if name in shapes and axis < len(shapes[name]))
    return votes.most_common(1)[0][0] if votes else default


def _widths(shapes: Shapes, down: str, blocks: Blocks) -> tuple[int, ...]:
    def witnesses(level: int) -> list[str]:
        resnets = [f"{down}.{level}.resnets.{i}" for i in range(blocks.layers)]
        leaves = ("conv1.weight", "conv1.bias", "norm2.weight", "norm2.bias", "conv2.weight", "conv2.bias")
        return [f"{resnet}.{leaf}" for resnet in resnets for leaf in leaves]

    return tuple(_vote(shapes, witnesses(level), 0, 0) for level in range(blocks.levels))
