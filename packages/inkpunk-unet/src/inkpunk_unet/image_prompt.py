"""Image prompts: a picture that says what to draw, beside the words.

The network of Ye et al., arXiv 2308.06721 (IP-Adapter): what CLIP's image encoder sees of a picture becomes a few
tokens as wide as the prompt's, and each cross-attention of the UNet gets keys and values of their own for them.
`image_attention.py` has the UNet attend to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor, nn

from inkpunk_unet.resampler import HEAD_WIDTH, Resampler

MOST = 2**16
"""What no number of a config may exceed: 16 times the largest in use, and more."""


@dataclass(frozen=True)
class ResamplerConfig:
    """The shape of the resampler of a "plus" adapter; the defaults are ip-adapter-plus_sd15's.

    Raises:
        ValueError: A number is not whole, or not from 1 to `MOST`.
    """

    width: int = 768
    """Channels of its queries."""
    blocks: int = 4
    """Blocks, in each of which the queries look once."""
    heads: int = 12
    """Attention heads, of 64 channels each."""

    def __post_init__(self) -> None:
        """Check that the numbers can be."""
        _check("ResamplerConfig", vars(self))


@dataclass(frozen=True)
class ImagePromptConfig:
    """The shape of an image prompt's network; the defaults are ip-adapter_sd15's.

    Raises:
        ValueError: A number is not whole, or not from 1 to `MOST`.
    """

    embed_width: int = 1024
    """Channels of what the image encoder gives: 1024 for whole pictures, 1280 for their patches."""
    context_width: int = 768
    """Channels of the context."""
    tokens: int = 4
    """Tokens that a picture becomes; 16 with a resampler."""
    widths: tuple[int, ...] = (*(320,) * 2, *(640,) * 2, *(1280,) * 5, *(640,) * 3, *(320,) * 3, 1280)
    """Channels of each cross-attention, in the order of `cross_attentions`."""
    resampler: ResamplerConfig | None = None
    """The "plus" adapters look at patches through a resampler; without, a linear layer looks at the whole."""

    def __post_init__(self) -> None:
        """Check that the numbers can be."""
        numbers = {name: value for name, value in vars(self).items() if name not in ("widths", "resampler")}
        _check("ImagePromptConfig", numbers | {f"widths[{i}]": width for i, width in enumerate(self.widths)})
        if not self.widths:
            raise ValueError("ImagePromptConfig: widths must have one for each cross-attention, not none")

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> "ImagePromptConfig":
        """Read the config off an image prompt's weights; only their names and shapes are looked at.

        Args:
            weights: Tensors under this package's own parameter names, as `ImagePrompt(...).state_dict()` has them.

        Raises:
            ValueError: These are not the weights of an image prompt's network.
        """
        count = next(i for i in range(len(weights) + 1) if f"keys.{i}.weight" not in weights)
        widths = tuple(_shape(weights, f"keys.{i}.weight")[0] for i in range(count))
        _, context_width = _shape(weights, "keys.0.weight")
        if "projection.queries" not in weights:
            outputs, embed_width = _shape(weights, "projection.linear.weight")
            return cls(embed_width, context_width, outputs // context_width, widths)
        tokens, width = _shape(weights, "projection.queries")
        _, embed_width = _shape(weights, "projection.proj_in.weight")
        inner, _ = _shape(weights, "projection.blocks.0.query.weight")
        query = "projection.blocks.{}.query.weight"
        blocks = next(i for i in range(len(weights) + 1) if query.format(i) not in weights)
        return cls(
            embed_width, context_width, tokens, widths, ResamplerConfig(width, blocks, inner // HEAD_WIDTH)
        )


class ImagePrompt(nn.Module):
    """What turns pictures, as CLIP's image encoder sees them, into tokens, and what a UNet reads these with.

    Source: Ye et al., arXiv 2308.06721, section 3.2.
    """

    def __init__(self, config: ImagePromptConfig) -> None:
        """A network with freshly initialised weights (none at all under `torch.device("meta")`)."""
        super().__init__()
        self.config = config
        width, tokens = config.context_width, config.tokens
        if config.resampler is None:
            self.projection = Projection(config.embed_width, width, tokens)
        else:
            self.projection = Resampler(config.embed_width, width, tokens, **vars(config.resampler))
        self.keys = nn.ModuleList(nn.Linear(width, each, bias=False) for each in config.widths)
        self.values = nn.ModuleList(nn.Linear(width, each, bias=False) for each in config.widths)

    if TYPE_CHECKING:

        def __call__(
            self, embeds: Float[Tensor, "batch *patches embed_width"]
        ) -> Float[Tensor, "batch tokens context_width"]:
            """As `forward`; declared for checkers of types alone, and torch's own runs, with its hooks."""
            ...

    def forward(
        self, embeds: Float[Tensor, "batch *patches embed_width"]
    ) -> Float[Tensor, "batch tokens context_width"]:
        """The tokens that each picture becomes. Those of several pictures for one prompt are laid end to end.

        Args:
            embeds: Of whole pictures, `[batch, embed_width]`; with a resampler their patches, `[batch, patches,
                embed_width]`, from CLIP's last layer but one. Where no picture is to say anything, as beside the
                negative prompt, the adapters were trained with embeds of zeros, or with the patches of a picture
                that is zero where the image encoder reads it.

        Raises:
            ValueError: embeds of another shape.
        """
        dims = 2 if self.config.resampler is None else 3
        if embeds.ndim != dims or embeds.shape[-1] != self.config.embed_width:
            patches = "patches, " * (dims - 2)
            raise ValueError(
                f"ImagePrompt: embeds must be [batch, {patches}{self.config.embed_width}], not {list(embeds.shape)}"
            )
        return self.projection(embeds)


class Projection(nn.Module):
    """A picture's embedding to a few tokens, by one linear layer."""

    def __init__(self, embed_width: int, context_width: int, tokens: int) -> None:
        """To `tokens` tokens of `context_width` channels."""
        super().__init__()
        self.linear = nn.Linear(embed_width, tokens * context_width)
        self.norm = nn.LayerNorm(context_width)

    def forward(
        self, embeds: Float[Tensor, "batch embed_width"]
    ) -> Float[Tensor, "batch tokens context_width"]:
        """The tokens that stand for each picture."""
        return self.norm(self.linear(embeds).unflatten(-1, (-1, self.norm.normalized_shape[0])))


def _check(what: str, numbers: Mapping[str, object]) -> None:
    for name, number in numbers.items():
        if type(number) is not int or not 1 <= number <= MOST:
            raise ValueError(f"{what}: {name} must be a whole number from 1 to {MOST}, not {number!r:.80}")


def _shape(weights: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    if name not in weights:
        raise ValueError(
            f"ImagePromptConfig.from_weights: no {name!r}: not an image prompt's weights, or not under this "
            "package's names"
        )
    shape = tuple(weights[name].shape)
    if len(shape) != 2:
        raise ValueError(
            f"ImagePromptConfig.from_weights: {name!r} must be a matrix, and its shape is {list(shape)}"
        )
    return shape
