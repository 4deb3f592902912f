"""A UNet's cross-attentions that read pictures as well, in the ways of the plain ones: natively, and with a memo.

What they compute is `inkpunk_unet.ImageAttention`; here several pictures have a weight each.
"""

from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from inkpunk_unet import ImagePrompt, UNet, cross_attentions
from inkpunk_unet.attention import Attention
from inkpunk_unet.attention import attend as plainly
from inkpunk_winograd import Inner, changes, is_plain_inference, wrap
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from inkpunk.speed.attention import Natively
from inkpunk.speed.memo import Memo

Halves = tuple[Float[Tensor, "rows words width"], Float[Tensor, "rows tokens width"]]


class Cut:
    """Cuts contexts where their pictures' tokens begin: for the same context the same two tensors.

    They are kept for as long as the context lives, so that whoever remembers what it computed from them finds it.
    Threads may share it.
    """

    def __init__(self, tokens: int) -> None:
        """Contexts end in so many tokens of pictures."""
        self.tokens = tokens
        self._known = cast("MutableMapping[Tensor, tuple[int, Halves]]", WeakTensorKeyDictionary())

    def __call__(self, context: Float[Tensor, "rows all_tokens width"]) -> Halves:
        """The prompt's tokens, and the pictures'."""
        words = context.shape[1] - self.tokens
        if not is_plain_inference(context) or context.is_inference():
            return context[:, :words], context[:, words:]
        known = self._known.get(context)
        if known is None or known[0] != context._version:
            # copies: views would keep the context alive
            known = (context._version, (context[:, :words].clone(), context[:, words:].clone()))
            self._known[context] = known
        return known[1]

    def __reduce__(self) -> tuple[type["Cut"], tuple[int]]:
        return Cut, (self.tokens,)  # a copy remembers for itself


@dataclass(frozen=True, eq=False)
class Look:
    """What a cross-attention does instead: it attends to the prompt, and apart from it to pictures.

    Attributes:
        key, value: layers that read the pictures' tokens; part of the network that the attention is in.
        cut: shared by all attentions of a network.
        weights: how much each picture counts.
    """

    key: nn.Module
    value: nn.Module
    cut: Cut
    weights: tuple[float, ...]

    def __call__(
        self,
        attention: Attention,
        inner: Inner,
        tokens: Float[Tensor, "rows tokens width"],
        context: Float[Tensor, "rows all_tokens context_width"],
    ) -> Float[Tensor, "rows tokens width"]:
        """What each token takes from the prompt and from the pictures.

        All pictures share one softmax, as in diffusers; what is found of each is taken at its weight.
        """

        def heads(projected: Tensor) -> Tensor:
            return projected.view(*projected.shape[:2], attention.heads, -1).transpose(1, 2)

        words, pictures = self.cut(context)
        query = heads(attention.query(tokens))
        values = cast(Tensor, self.value(pictures)).chunk(len(self.weights), dim=1)
        value = torch.cat([weight * each for weight, each in zip(self.weights, values, strict=True)], dim=1)
        attend = next((each.attend for each in changes(attention) if isinstance(each, Natively)), plainly)
        attended = attend(query, heads(attention.key(words)), heads(attention.value(words)))
        attended = attended + attend(query, heads(self.key(pictures)), heads(value))
        return attention.out(attended.transpose(1, 2).flatten(2))


def show(unet: UNet, network: ImagePrompt, weights: Sequence[float]) -> None:
    """Have a UNet attend to pictures, whose tokens its contexts shall end in from now on.

    What it reads them with becomes part of it, and so moves, is widened and is copied with it.

    Args:
        unet: a copy that is for this alone.
        network: the image prompt's, for a UNet of these widths; its layers are taken, not copied.
        weights: how much each picture counts.
    """
    unet.add_module("picture_keys", network.keys)
    unet.add_module("picture_values", network.values)
    vars(unet).pop("_compiled_call_impl", None)  # what is compiled passes over changes
    cut = Cut(len(weights) * network.config.tokens)
    layers = zip(
        cross_attentions(unet),
        cast(Iterable[nn.Module], network.keys),
        cast(Iterable[nn.Module], network.values),
        strict=True,
    )
    for attention, key, value in layers:
        if any(isinstance(each, Memo) for each in changes(attention.key)):
            wrap(key, Memo())
            wrap(value, Memo())
        wrap(attention, Look(key, value, cut, tuple(weights)))
