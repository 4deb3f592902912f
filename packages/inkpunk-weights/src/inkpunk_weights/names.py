"""What the tensors of a component are called: by us, and by the files they travel in.

A naming is rows `(ours, theirs)` of module names, made by the short rules below from a few numbers
(`Blocks`). Read leftwards, a row names a file's tensor in our words; read rightwards, it names ours for a
file. Both directions are the same rows, so they cannot disagree. What follows the module (`.weight`, `.bias`)
is the same everywhere.

LDM is the original latent-diffusion code, whose names every single-file checkpoint has; DIFFUSERS stands for
diffusers and transformers, whose names every folder has.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from inkpunk_weights.blocks import Blocks, ldm_unet_blocks, pyramid_blocks, transformer_blocks

Rows = Iterator[tuple[str, str]]

# Inside a block.

RESNET = ("norm1", "conv1", "norm2", "conv2")
RESNET_DIFFUSERS = {name: name for name in RESNET} | {"shortcut": "conv_shortcut", "time": "time_emb_proj"}
RESNET_LDM_VAE = {name: name for name in RESNET} | {"shortcut": "nin_shortcut"}
RESNET_LDM_UNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "shortcut": "skip_connection",
}
QUERY_KEY_VALUE_OUT = {"query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"}
UNET_ATTENTION = (
    {name: name for name in ("norm", "proj_in", "proj_out")}
    | {f"block.norm{i}": f"transformer_blocks.0.norm{i}" for i in (1, 2, 3)}
    | {f"block.self_attention.{a}": f"transformer_blocks.0.attn1.{b}" for a, b in QUERY_KEY_VALUE_OUT.items()}
    | {
        f"block.cross_attention.{a}": f"transformer_blocks.0.attn2.{b}"
        for a, b in QUERY_KEY_VALUE_OUT.items()
    }
    | {
        "block.feed_forward.fc1": "transformer_blocks.0.ff.net.0.proj",
        "block.feed_forward.fc2": "transformer_blocks.0.ff.net.2",
    }
)
VAE_ATTENTION_LDM = {"norm": "norm", "query": "q", "key": "k", "value": "v", "out": "proj_out"}
VAE_ATTENTION_DIFFUSERS = {"norm": "group_norm"} | QUERY_KEY_VALUE_OUT
VAE_ATTENTION_DIFFUSERS_OLD = {
    "query": "query",
    "key": "key",
    "value": "value",
    "out": "proj_attn",
}  # before 0.13
CLIP_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "out": "out"}
CLIP_LAYER = (
    {"norm1": "layer_norm1", "norm2": "layer_norm2"}
    | {"feed_forward.fc1": "mlp.fc1", "feed_forward.fc2": "mlp.fc2"}
    | {f"attention.{a}": f"self_attn.{b}_proj" for a, b in CLIP_PROJECTIONS.items()}
)


def _inside(ours: str, theirs: str, table: Mapping[str, str]) -> Rows:
    return ((f"{ours}.{a}", f"{theirs}.{b}") for a, b in table.items())


# Whole components. `blocks.layers` residual blocks a level on the way down are one more on the way up.


def clip_text_encoder(blocks: Blocks) -> Rows:
    """CLIP's text encoder: one naming for all, but for what stands before it."""
    yield "token_embedding", "embeddings.token_embedding"
    yield "position_embedding", "embeddings.position_embedding"
    for i in range(blocks.layers):
        yield from _inside(f"layers.{i}", f"encoder.layers.{i}", CLIP_LAYER)
    yield "final_norm", "final_layer_norm"


def diffusers_unet(blocks: Blocks) -> Rows:
    """The UNet as diffusers names it: by level and place."""
    yield from (("conv_in", "conv_in"), ("norm_out", "conv_norm_out"), ("conv_out", "conv_out"))
    yield from ((f"time_embedding.linear{i}", f"time_embedding.linear_{i}") for i in (1, 2))
    for way, more, sampler in (("down", 0, "downsample"), ("up", 1, "upsample")):
        for level in range(blocks.levels):
            ours, theirs = f"{way}.{level}", f"{way}_blocks.{level}"
            for i in range(blocks.layers + more):
                yield from _inside(f"{ours}.resnets.{i}", f"{theirs}.resnets.{i}", RESNET_DIFFUSERS)
                yield from _inside(f"{ours}.attentions.{i}", f"{theirs}.attentions.{i}", UNET_ATTENTION)
            yield f"{ours}.{sampler}.conv", f"{theirs}.{sampler}rs.0.conv"
    for i in (0, 1):
        yield from _inside(f"middle.resnets.{i}", f"mid_block.resnets.{i}", RESNET_DIFFUSERS)
    yield from _inside("middle.attention", "mid_block.attentions.0", UNET_ATTENTION)


def ldm_unet(blocks: Blocks) -> Rows:
    """The UNet as LDM names it: its blocks numbered straight through, and the parts of each."""
    yield from (("conv_in", "input_blocks.0.0"), ("norm_out", "out.0"), ("conv_out", "out.2"))
    yield from (("time_embedding.linear1", "time_embed.0"), ("time_embedding.linear2", "time_embed.2"))
    period = blocks.layers + 1
    for level in range(blocks.levels):
        for i in range(blocks.layers):
            block = f"input_blocks.{1 + period * level + i}"
            yield from _inside(f"down.{level}.resnets.{i}", f"{block}.0", RESNET_LDM_UNET)
            yield from _inside(f"down.{level}.attentions.{i}", f"{block}.1", UNET_ATTENTION)
        yield f"down.{level}.downsample.conv", f"input_blocks.{period * (level + 1)}.0.op"
    for level, attends in enumerate(reversed(blocks.attends)):  # deepest first, as they run
        for i in range(period):
            block = f"output_blocks.{period * level + i}"
            yield from _inside(f"up.{level}.resnets.{i}", f"{block}.0", RESNET_LDM_UNET)
            yield from _inside(f"up.{level}.attentions.{i}", f"{block}.1", UNET_ATTENTION)
        yield f"up.{level}.upsample.conv", f"output_blocks.{period * (level + 1) - 1}.{1 + attends}.conv"
    for i in (0, 1):
        yield from _inside(f"middle.resnets.{i}", f"middle_block.{2 * i}", RESNET_LDM_UNET)
    yield from _inside("middle.attention", "middle_block.1", UNET_ATTENTION)


def _vae_ends() -> Rows:
    yield from (("quant_conv", "quant_conv"), ("post_quant_conv", "post_quant_conv"))
    for name in ("encoder.conv_in", "encoder.conv_out", "decoder.conv_in", "decoder.conv_out"):
        yield name, name


def diffusers_vae(blocks: Blocks) -> Rows:
    """The VAE as diffusers names it; `decoder.up_blocks.0` is the deepest level."""
    yield from _vae_ends()
    for half, way, more, sampler in (("encoder", "down", 0, "downsample"), ("decoder", "up", 1, "upsample")):
        for level in range(blocks.levels):
            ours, theirs = f"{half}.{way}.{level}", f"{half}.{way}_blocks.{level}"
            for i in range(blocks.layers + more):
                yield from _inside(f"{ours}.resnets.{i}", f"{theirs}.resnets.{i}", RESNET_DIFFUSERS)
            yield f"{ours}.{sampler}.conv", f"{theirs}.{sampler}rs.0.conv"
        for i in (0, 1):
            yield from _inside(
                f"{half}.middle.resnets.{i}", f"{half}.mid_block.resnets.{i}", RESNET_DIFFUSERS
            )
        for table in (VAE_ATTENTION_DIFFUSERS, VAE_ATTENTION_DIFFUSERS_OLD):
            yield from _inside(f"{half}.middle.attention", f"{half}.mid_block.attentions.0", table)
        yield f"{half}.norm_out", f"{half}.conv_norm_out"


def ldm_vae(blocks: Blocks) -> Rows:
    """The VAE as LDM names it; its `decoder.up.0` is the finest level, the last to run."""
    yield from _vae_ends()
    for half, way, more, sampler in (("encoder", "down", 0, "downsample"), ("decoder", "up", 1, "upsample")):
        for level in range(blocks.levels):
            depth = level if way == "down" else blocks.levels - 1 - level
            ours, theirs = f"{half}.{way}.{level}", f"{half}.{way}.{depth}"
            for i in range(blocks.layers + more):
                yield from _inside(f"{ours}.resnets.{i}", f"{theirs}.block.{i}", RESNET_LDM_VAE)
            yield f"{ours}.{sampler}.conv", f"{theirs}.{sampler}.conv"
        for i in (0, 1):
            yield from _inside(f"{half}.middle.resnets.{i}", f"{half}.mid.block_{i + 1}", RESNET_LDM_VAE)
        yield from _inside(f"{half}.middle.attention", f"{half}.mid.attn_1", VAE_ATTENTION_LDM)
        yield f"{half}.norm_out", f"{half}.norm_out"


# Where a component stands in a file.


@dataclass(frozen=True)
class Dialect:
    """One way to name one component.

    Args:
        component: "text_encoder", "unet" or "vae".
        prefixes: what may stand before its names; the first is what we write.
        landmark: what, after a prefix, only this component in this naming has.
        blocks: counts its blocks from the names without prefix.
        rows: names its modules.
    """

    component: str
    prefixes: tuple[str, ...]
    landmark: str
    blocks: Callable[[Collection[str]], Blocks]
    rows: Callable[[Blocks], Rows]


LDM_UNET = Dialect(
    "unet", ("model.diffusion_model.", "", "unet."), "input_blocks.", ldm_unet_blocks, ldm_unet
)
LDM = (
    Dialect(
        "text_encoder",
        ("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."),
        "encoder.layers.",
        partial(transformer_blocks, r"encoder\.layers"),
        clip_text_encoder,
    ),
    LDM_UNET,
    Dialect(
        "vae",
        ("first_stage_model.", "", "vae."),
        "encoder.down.",
        partial(pyramid_blocks, r"encoder\.down", "block", "attn"),
        ldm_vae,
    ),
)
DIFFUSERS = (  # whoever puts several components into one file gives each its folder's name as prefix
    Dialect(  # transformers before 5 has "text_model." in front, 5 has not; both read either
        "text_encoder",
        ("text_model.", "", "text_encoder.text_model.", "text_encoder."),
        "encoder.layers.",
        partial(transformer_blocks, r"encoder\.layers"),
        clip_text_encoder,
    ),
    Dialect(
        "unet",
        ("", "unet."),
        "down_blocks.",
        partial(pyramid_blocks, "down_blocks", "resnets", "attentions"),
        diffusers_unet,
    ),
    Dialect(
        "vae",
        ("", "vae."),
        "encoder.down_blocks.",
        partial(pyramid_blocks, r"encoder\.down_blocks", "resnets", "attentions"),
        diffusers_vae,
    ),
)
OUR_BLOCKS: Mapping[str, Callable[[Collection[str]], Blocks]] = {
    "text_encoder": partial(transformer_blocks, "layers"),
    "unet": partial(pyramid_blocks, "down", "resnets", "attentions"),
    "vae": partial(pyramid_blocks, r"encoder\.down", "resnets", "attentions"),
}


class Names:
    """Translates the tensor names of one component in one dialect, with given numbers of blocks."""

    def __init__(self, dialect: Dialect, blocks: Blocks) -> None:
        """Lay out the rows."""
        self._ours = dict[str, str]()
        self._theirs = dict[str, str]()
        for ours, theirs in dialect.rows(blocks):
            self._ours[theirs] = ours
            self._theirs.setdefault(ours, theirs)  # older spellings are read, never written

    def ours(self, name: str) -> str | None:
        """Our name of the file's tensor `name` (without prefix); None if the component has no such layer."""
        module, _, leaf = name.rpartition(".")
        return f"{self._ours[module]}.{leaf}" if module in self._ours else None

    def theirs(self, name: str) -> str | None:
        """The file's name (without prefix) of our tensor `name`; None if the component has no such layer."""
        module, _, leaf = name.rpartition(".")
        return f"{self._theirs[module]}.{leaf}" if module in self._theirs else None
