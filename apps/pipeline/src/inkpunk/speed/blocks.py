"""The networks' blocks, working in the memory they have already. For inference: what is overwritten has no gradient.

Each is its network's own block with the same arithmetic, told anew: the sums are written into a term that is not
needed any more, where the model as written asks for new memory each time.
"""

from collections.abc import Iterable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from inkpunk_unet.attention import FeedForward, SpatialTransformer, TransformerBlock
from inkpunk_unet.residual import ResidualBlock
from inkpunk_vae.layers import DownLevel, UpLevel, Upsample
from inkpunk_vae.layers import ResidualBlock as VAEResidualBlock
from inkpunk_vae.vae import Decoder, Encoder
from inkpunk_winograd import (
    Around,
    Inner,
    convolve_doubled,
    is_fit_for_group_norm,
    native_group_norm,
    wrap,
)
from torch import Tensor, nn

from inkpunk.memory.allocator import give_back_freed_memory

LARGE = 1 << 20  # numbers of a feature map, from which on calling native kernels is worth it
TOKENS_AT_ONCE = 1024  # whose hidden units, 10 to 40 MB, a CPU's last cache holds


def residual_block(block: ResidualBlock, inner: Inner, image: Tensor, time: Tensor) -> Tensor:
    """The UNet's."""
    hidden: Tensor = block.conv1(_activated(block.norm1, image))
    hidden += block.time(time)[:, :, None, None]
    hidden = block.conv2(_activated(block.norm2, hidden, over=True))
    hidden += block.shortcut(image)
    return hidden


def transformer_block(block: TransformerBlock, inner: Inner, tokens: Tensor, context: Tensor) -> Tensor:
    """The UNet's."""
    normed: Tensor = block.norm1(tokens)
    hidden: Tensor = block.self_attention(normed, normed)
    hidden += tokens
    hidden += block.cross_attention(block.norm2(hidden), context)
    hidden += block.feed_forward(block.norm3(hidden))
    return hidden


def spatial_transformer(block: SpatialTransformer, inner: Inner, image: Tensor, context: Tensor) -> Tensor:
    """The UNet's."""
    hidden: Tensor = block.proj_in(block.norm(image))
    tokens: Tensor = block.block(hidden.flatten(2).transpose(1, 2), context)
    result: Tensor = block.proj_out(tokens.transpose(1, 2).unflatten(2, image.shape[2:]))
    result += image
    return result


def feed_forward(block: FeedForward, inner: Inner, tokens: Tensor) -> Tensor:
    """The UNet's, a part of the tokens at a time on a CPU."""
    if tokens.device.type != "cpu":
        return _gated(block, tokens)
    result = tokens.new_empty(tokens.shape)
    flat, places = tokens.flatten(0, 1), result.flatten(0, 1)
    parts = zip(torch.split(flat, TOKENS_AT_ONCE), torch.split(places, TOKENS_AT_ONCE), strict=True)
    for some, place in parts:
        place.copy_(_gated(block, some))
    return result


def _gated(block: FeedForward, tokens: Tensor) -> Tensor:
    value, gate = block.fc1(tokens).chunk(2, dim=-1)
    return block.fc2(F.gelu(gate).mul_(value))


def encoder(network: Encoder, inner: Inner, images: Tensor) -> Tensor:
    """The VAE's."""
    held = [network.conv_in(images)]
    for level in cast(Iterable[DownLevel], network.down):
        _refine(level.resnets, held)
        held.append(level.downsample(held.pop()))
    return network.conv_out(_activated(network.norm_out, network.middle(held.pop()), over=True))


def decoder(network: Decoder, inner: Inner, latents: Tensor) -> Tensor:
    """The VAE's."""
    held = [network.middle(network.conv_in(latents))]
    for level in cast(Iterable[UpLevel], network.up):
        _refine(level.resnets, held)
        held.append(_upsampled(level.upsample, held.pop()))
        if network.conv_in.weight.dtype is torch.bfloat16:
            give_back_freed_memory()  # which maps of the next level's size may not fit into
    return network.conv_out(_activated(network.norm_out, held.pop(), over=True))


def _refine(blocks: nn.Module, held: list[Tensor]) -> None:
    """Replace the feature map in `held` by what residual blocks make of it.

    The list alone holds it, so that the map, of up to 268 MB at 512x512, is freed as soon as it was used: a caller's
    variable would keep it for as long as the call takes.
    """
    for block in cast(Iterable[VAEResidualBlock], blocks):
        shortcut: Tensor = block.shortcut(held[0])
        own = shortcut is held[0]
        hidden = _activated(block.norm1, held.pop(), over=not own)
        hidden = block.conv1(hidden)
        hidden = _activated(block.norm2, hidden, over=True)
        hidden = block.conv2(hidden)
        hidden += shortcut
        held.append(hidden)


def _activated(norm: nn.GroupNorm, image: Tensor, *, over: bool = False) -> Tensor:
    """SiLU of what a normalisation gives; `over` the image itself, where it is not needed any more.

    In networks of bfloat16 large maps are taken natively: over the image in a quarter of torch's time, and without
    new memory. In float32 torch does it, as it always did, so that pictures stay the same to the bit.
    """
    large = image.numel() >= LARGE
    if large and norm.weight.dtype is torch.bfloat16 and is_fit_for_group_norm(image):
        return native_group_norm(
            image, norm.num_groups, norm.weight, norm.bias, norm.eps, silu=True, in_place=over
        )
    return F.silu(norm(image), inplace=True)


def _upsampled(upsample: nn.Module, image: Tensor) -> Tensor:
    """What a level ends in: a convolution of the map made twice as large, or nothing."""
    if type(upsample) is Upsample:
        return convolve_doubled(upsample.conv, image)
    return upsample(image)


#: What takes the place of each block's own forward pass.
IN_PLACE: Mapping[type[nn.Module], Around] = {
    ResidualBlock: residual_block,
    Encoder: encoder,
    Decoder: decoder,
    TransformerBlock: transformer_block,
    SpatialTransformer: spatial_transformer,
    FeedForward: feed_forward,
}


def work_in_place(network: nn.Module) -> None:
    """Have a network's blocks work in place; parameters and everything else stay."""
    for module in network.modules():
        if around := IN_PLACE.get(type(module)):
            wrap(module, around)
