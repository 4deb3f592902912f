"""A UNet that attends to pictures as well: its cross-attentions changed from outside, and as they were afterwards.

A picture's tokens travel in the context, behind the prompt's: `[batch, prompt's + pictures', width]`. So each image
of a batch brings its own pictures, a layer keeps nothing of a pass, and whoever repeats, halves or caches contexts
does so with pictures as without. A cross-attention that is changed cuts the context where the pictures' tokens
begin, attends to each part with that part's own keys and values, and adds what it found, each part at its weight.

The changes are plain functions of an attention and its inputs, for whoever has a way of laying them around modules;
`with image_prompts(unet, ...)` is the plainest.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from inkpunk_unet.attention import Attention, TransformerBlock, attend
from inkpunk_unet.image_prompt import ImagePrompt
from inkpunk_unet.unet import UNet

Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Query, key and value, each [batch, heads, tokens, head_width], to what `attend` gives."""


@dataclass(frozen=True, eq=False)  # `==` of modules says nothing of their weights
class Shown:
    """Pictures that an image prompt shows to a UNet."""

    prompt: ImagePrompt
    """The network whose keys and values they are read with."""
    weight: float | tuple[float, ...] = 1.0
    """How much they count beside the words: one number, or one for each cross-attention."""
    pictures: int = 1
    """How many there are; each has `prompt.config.tokens` tokens of the context."""

    @property
    def tokens(self) -> int:
        """How many tokens of the context are theirs."""
        return self.pictures * self.prompt.config.tokens


@dataclass(frozen=True, eq=False)
class _Part:
    """The tokens of a context that one image prompt reads, by the keys and values of one cross-attention."""

    tokens: int
    weight: float
    key: nn.Module
    value: nn.Module


@dataclass(frozen=True, eq=False)
class ImageAttention:
    """What a cross-attention computes instead: attention to the prompt, and to each picture.

    Source: Ye et al., arXiv 2308.06721, section 3.2.2 (decoupled cross-attention), with the weight of 3.2.3.
    """

    parts: tuple[_Part, ...]
    """In the order of their tokens in the context."""
    attend: Attend

    def __call__(
        self,
        attention: Attention,
        tokens: Float[Tensor, "batch tokens width"],
        context: Float[Tensor, "batch context_tokens context_width"],
    ) -> Float[Tensor, "batch tokens width"]:
        """What each token takes from the prompt and from the pictures.

        Raises:
            ValueError: the context has no tokens but the pictures'.
        """
        pictures = sum(part.tokens for part in self.parts)
        if context.shape[1] <= pictures:
            raise ValueError(
                f"UNet: context must have more than the {pictures} tokens that are its pictures', not "
                f"{context.shape[1]}: lay them behind the prompt's"
            )

        def heads(projected: Tensor) -> Tensor:
            return projected.view(*projected.shape[:2], attention.heads, -1).transpose(1, 2)

        sizes = [context.shape[1] - pictures, *(part.tokens for part in self.parts)]
        words, *seen = torch.split(context, sizes, dim=1)
        query = heads(attention.query(tokens))
        attended = self.attend(query, heads(attention.key(words)), heads(attention.value(words)))
        for part, picture in zip(self.parts, seen, strict=True):
            if part.weight:
                found = self.attend(query, heads(part.key(picture)), heads(part.value(picture)))
                attended = attended + part.weight * found
        return attention.out(attended.transpose(1, 2).flatten(2))


def cross_attentions(unet: UNet) -> list[Attention]:
    """A UNet's cross-attentions in the order of published image prompts: the way down, the way up, the middle."""
    return [
        module.cross_attention
        for way in (unet.down, unet.up, unet.middle)
        for module in way.modules()
        if isinstance(module, TransformerBlock)
    ]


def image_attentions(
    unet: UNet, shown: Sequence[Shown], attend: Attend = attend
) -> list[tuple[Attention, ImageAttention]]:
    """What each of a UNet's cross-attentions is to compute for it to see pictures.

    Args:
        unet: The network; its weights, device and dtype are those of the image prompts, or calling it fails.
        shown: The pictures, in the order of their tokens in the context.
        attend: What attends; all of it goes through this.

    Raises:
        ValueError: An image prompt is for another network, or has another number of weights than it has layers.
    """
    layers = cross_attentions(unet)
    widths = tuple(layer.query.out_features for layer in layers)
    for each in shown:
        theirs = each.prompt.config
        if theirs.widths != widths or theirs.context_width != unet.config.context_width:
            raise ValueError(
                f"an image prompt for a UNet whose {len(theirs.widths)} cross-attentions read contexts of "
                f"{theirs.context_width} channels at the widths {list(theirs.widths)} does not fit this one, with "
                f"{unet.config.context_width} and {list(widths)}"
            )
        if isinstance(each.weight, tuple) and len(each.weight) != len(layers):
            raise ValueError(
                f"an image prompt must have one weight, or {len(layers)}, one for each cross-attention, not "
                f"{len(each.weight)}"
            )
        if each.pictures < 1:
            raise ValueError(f"an image prompt must show at least one picture, not {each.pictures}")
    return [
        (layer, ImageAttention(tuple(_part(each, place) for each in shown), attend))
        for place, layer in enumerate(layers)
    ]


def _part(shown: Shown, place: int) -> _Part:
    weight = shown.weight[place] if isinstance(shown.weight, tuple) else shown.weight
    return _Part(shown.tokens, weight, shown.prompt.keys[place], shown.prompt.values[place])


@contextmanager
def image_prompts(unet: UNet, shown: Sequence[Shown], attend: Attend = attend) -> Generator[None]:
    """Have a UNet see pictures for as long as the context lasts; afterwards it is as it was, to the bit.

    Meanwhile its contexts must end in the pictures' tokens. See `image_attentions` for arguments and errors.
    """
    changed = image_attentions(unet, shown, attend)
    before = [vars(attention).get("forward") for attention, _ in changed]
    try:
        for attention, instead in changed:
            vars(attention)["forward"] = partial(instead, attention)
        yield
    finally:
        for (attention, _), forward in zip(changed, before, strict=True):
            if forward is None:
                del vars(attention)["forward"]
            else:
                vars(attention)["forward"] = forward
