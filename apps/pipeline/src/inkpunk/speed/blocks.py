"""The networks' blocks, working in the memory they have already. For inference: what is overwritten has no gradient.

Each is its network's own block with the same arithmetic, told anew: the sums are written into a term that is not
needed any more, where the model as written asks for new memory each time.
"""

from collections.abc import Iterable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from inkpunk_unet import UNet
from inkpunk_unet.attention import FeedForward, SpatialTransformer, TransformerBlock
from inkpunk_unet.residual import ResidualBlock
from inkpunk_vae import VAE
from inkpunk_vae.layers import DownLevel, UpLevel
from inkpunk_vae.layers import ResidualBlock as VAEResidualBlock
from inkpunk_vae.vae import Decoder, Encoder
from torch import Tensor, nn

TOKENS_AT_ONCE = 1024  # whose hidden units, 10 to 40 MB, a CPU's last cache holds


class FastResidualBlock(ResidualBlock):
    """The UNet's."""

    def forward(self, image: Tensor, time: Tensor) -> Tensor:
        """As the block in place of which it stands."""
        hidden: Tensor = self.conv1(F.silu(self.norm1(image), inplace=True))
        hidden += self.project(self.activate(time))[:, :, None, None]
        hidden = self.conv2(F.silu(self.norm2(hidden), inplace=True))
        hidden += self.shortcut(image)
        return hidden

    def activate(self, time: Tensor) -> Tensor:
        """What all blocks do to the time embedding first."""
        return F.silu(time)

    def project(self, time: Tensor) -> Tensor:
        """What the time embedding adds to each of this block's channels."""
        return self.time(time)


class FastTransformerBlock(TransformerBlock):
    """The UNet's."""

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """As the block in place of which it stands."""
        normed: Tensor = self.norm1(tokens)
        hidden: Tensor = self.self_attention(normed, normed)
        hidden += tokens
        hidden += self.cross_attention(self.norm2(hidden), context)
        hidden += self.feed_forward(self.norm3(hidden))
        return hidden


class FastSpatialTransformer(SpatialTransformer):
    """The UNet's."""

    def forward(self, image: Tensor, context: Tensor) -> Tensor:
        """As the block in place of which it stands."""
        hidden: Tensor = self.proj_in(self.norm(image))
        tokens: Tensor = self.block(hidden.flatten(2).transpose(1, 2), context)
        result: Tensor = self.proj_out(tokens.transpose(1, 2).unflatten(2, image.shape[2:]))
        result += image
        return result


class FastFeedForward(FeedForward):
    """The UNet's, a part of the tokens at a time on a CPU."""

    def forward(self, tokens: Tensor) -> Tensor:
        """As the block in place of which it stands."""
        if tokens.device.type != "cpu":
            return self._some(tokens)
        result = tokens.new_empty(tokens.shape)
        flat, places = tokens.flatten(0, 1), result.flatten(0, 1)
        parts = zip(torch.split(flat, TOKENS_AT_ONCE), torch.split(places, TOKENS_AT_ONCE), strict=True)
        for some, place in parts:
            place.copy_(self._some(some))
        return result

    def _some(self, tokens: Tensor) -> Tensor:
        value, gate = self.fc1(tokens).chunk(2, dim=-1)
        return self.fc2(F.gelu(gate).mul_(value))


class FastEncoder(Encoder):
    """The VAE's."""

    def forward(self, images: Tensor) -> Tensor:
        """As the network in place of which it stands."""
        held = [self.conv_in(images)]
        for level in cast(Iterable[DownLevel], self.down):
            _refine(level.resnets, held)
            held.append(level.downsample(held.pop()))
        return self.conv_out(F.silu(self.norm_out(self.middle(held.pop())), inplace=True))


class FastDecoder(Decoder):
    """The VAE's."""

    def forward(self, latents: Tensor) -> Tensor:
        """As the network in place of which it stands."""
        held = [self.middle(self.conv_in(latents))]
        for level in cast(Iterable[UpLevel], self.up):
            _refine(level.resnets, held)
            held.append(level.upsample(held.pop()))
        return self.conv_out(F.silu(self.norm_out(held.pop()), inplace=True))


def _refine(blocks: nn.Module, held: list[Tensor]) -> None:
    """Replace the feature map in `held` by what residual blocks make of it.

    The list alone holds it, so that the map, of up to 268 MB at 512x512, is freed as soon as it was used: a caller's
    variable would keep it for as long as the call takes.
    """
    for block in cast(Iterable[VAEResidualBlock], blocks):
        shortcut: Tensor = block.shortcut(held[0])
        hidden: Tensor = F.silu(block.norm1(held.pop()), inplace=True)
        hidden = block.conv1(hidden)
        hidden = F.silu(block.norm2(hidden), inplace=True)
        hidden = block.conv2(hidden)
        hidden += shortcut
        held.append(hidden)


FAST: Mapping[type[nn.Module], type[nn.Module]] = {
    ResidualBlock: FastResidualBlock,
    Encoder: FastEncoder,
    Decoder: FastDecoder,
    TransformerBlock: FastTransformerBlock,
    SpatialTransformer: FastSpatialTransformer,
    FeedForward: FastFeedForward,
}


def work_in_place(unet: UNet, vae: VAE) -> None:
    """Put the fast blocks in the place of the plain ones; parameters and everything else stay."""
    for network in (unet, vae):
        for module in network.modules():
            if fast := FAST.get(type(module)):
                object.__setattr__(module, "__class__", fast)
