"""Encoding and decoding a strip of rows at a time, for images whose feature maps do not fit in memory.

Cutting an image into tiles, and blending what the network makes of each, leaves seams: a GroupNorm's mean and
variance, and the attention in the middle, are properties of the whole image. Here the network's *layers* are
tiled instead. Each layer runs over the whole image before the next begins, strip by strip, with the row above
and below that a 3x3 convolution looks at. As a strip is written, the mean and variance of its channels are
noted; those of all strips together are exactly what the next GroupNorm needs. Nothing is approximated: the
result is that of `VAE.encode` or `VAE.decode` but for the order of some sums, which is to say for rounding.

In memory are then two feature maps and the work on one strip, where the plain network also needs room for the
intermediate results of a whole layer. All this acts on a `VAE` from outside, through its submodules, so that
faster convolutions put in their place stay in use. It is for inference: no gradient flows through it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from inkpunk_vae.layers import Attention, DownLevel, Downsample, Middle, ResidualBlock, UpLevel, Upsample
from inkpunk_vae.posterior import Posterior
from inkpunk_vae.vae import VAE, check_images, check_latents

ATTENTION_SCORES = 2**24
"""How many numbers (64 MB of float32) a matrix of attention scores may hold, where one is made at all."""


@torch.no_grad()
def tiled_decode(
    vae: VAE,
    latents: Float[Tensor, "batch latent_channels rows columns"],
    rows: int = 64,
    store: torch.device | str | None = None,
    *,
    circular: bool = False,
) -> Float[Tensor, "batch image_channels height width"]:
    """The images of `vae.decode(latents)`, in less memory.

    Args:
        vae: the autoencoder; its weights' device does the work.
        latents: as `VAE.decode` takes them, on any device.
        rows: how many rows of a feature map are worked on at once. Fewer take less memory and more time.
        store: where whole feature maps, and the result, are kept; the weights' device by default. With "cpu"
            and the weights on a GPU, what the GPU must hold is a few strips, and the lowest resolution whole.
        circular: whether the last row is followed by the first, as in a VAE whose convolutions pad circularly down
            the rows. A strip is given its neighbours' rows, so how its layers pad there is never seen; how they pad
            across the columns is.

    Returns:
        Images in [-1, 1], up to a small overshoot, on `store`.

    Raises:
        ValueError: `rows` is not positive, or `VAE.decode` would refuse the latents.
    """
    check_latents(latents, vae.config)
    strips = _strips(vae, rows, store, circular)
    return torch.cat([strips.decode(vae, one) for one in torch.split(latents, 1)])


@torch.no_grad()
def tiled_encode(
    vae: VAE,
    images: Float[Tensor, "batch image_channels height width"],
    rows: int = 64,
    store: torch.device | str | None = None,
    *,
    circular: bool = False,
) -> Posterior:
    """The posterior of `vae.encode(images)`, in less memory; see `tiled_decode` for the other arguments.

    Raises:
        ValueError: `rows` is not positive, or `VAE.encode` would refuse the images.
    """
    check_images(images, vae.config)
    strips = _strips(vae, rows, store, circular)
    moments = torch.cat([strips.encode(vae, one) for one in torch.split(images, 1)])
    return Posterior.from_moments(moments, vae.config.scaling)


@dataclass(frozen=True)
class _Map:
    """A whole feature map of one image, and the moments of its strips, of `heights` rows, for the next GroupNorm."""

    data: Float[Tensor, "1 channels height width"]
    means: Float[Tensor, "strips channels"]
    variances: Float[Tensor, "strips channels"]
    heights: tuple[int, ...]

    @classmethod
    def whole(cls, data: Float[Tensor, "1 channels height width"], store: torch.device) -> "_Map":
        """A map that is already there, as one strip, put into the store; its moments stay where it was computed."""
        mean, variance = _moments(data)
        return cls(data.to(store), mean[None], variance[None], (data.shape[2],))


@dataclass(frozen=True)
class _Strips:
    """The network, walked layer by layer, each a strip of `rows` at a time."""

    rows: int
    device: torch.device
    store: torch.device
    circular: bool

    def decode(self, vae: VAE, latents: Tensor) -> Tensor:
        decoder = vae.decoder
        x = _Map.whole(vae.post_quant_conv(latents.to(self.device) / vae.config.scaling), self.store)
        x = self.middle(decoder.middle, self.layer(decoder.conv_in, x))
        for level in cast(Iterable[UpLevel], decoder.up):
            for block in cast(Iterable[ResidualBlock], level.resnets):
                x = self.block(block, x)  # `x` alone holds the old map, so that this frees it
            if isinstance(level.upsample, Upsample):
                x = self.layer(level.upsample, x, up=2)
        return self.layer(decoder.conv_out, x, norm=decoder.norm_out).data

    def encode(self, vae: VAE, images: Tensor) -> Tensor:
        encoder = vae.encoder
        x = self.layer(encoder.conv_in, _Map.whole(images, self.store))
        for level in cast(Iterable[DownLevel], encoder.down):
            for block in cast(Iterable[ResidualBlock], level.resnets):
                x = self.block(block, x)
            if isinstance(level.downsample, Downsample):
                x = self.layer(level.downsample, x, down=2)
        x = self.layer(encoder.conv_out, self.middle(encoder.middle, x), norm=encoder.norm_out)
        return vae.quant_conv(x.data.to(self.device)).to(self.store)

    def middle(self, middle: Middle, x: _Map) -> _Map:
        before, after = cast(Iterable[ResidualBlock], middle.resnets)
        return self.block(after, self.attention(middle.attention, self.block(before, x)))

    def block(self, block: ResidualBlock, x: _Map) -> _Map:
        """A residual block: its second convolution and the sum take the place of the first's result."""
        hidden = self.layer(block.conv1, x, norm=block.norm1)
        return self.layer(
            block.conv2,
            hidden,
            norm=block.norm2,
            plus=lambda rows: block.shortcut(x.data[:, :, rows].to(self.device)),
            into=hidden.data,
        )

    def attention(self, attention: Attention, x: _Map) -> _Map:
        """The attention, whole, as every pixel needs every other; queries in chunks, as they do not."""
        normalise = _normaliser(attention.norm, x)
        pixels = normalise(x.data.to(self.device)).flatten(2).transpose(1, 2).unsqueeze(1)
        key, value = attention.key(pixels), attention.value(pixels)
        chunks = torch.split(pixels, max(1, ATTENTION_SCORES // pixels.shape[2]), dim=2)
        gathered = torch.cat(
            [
                attention.out(F.scaled_dot_product_attention(attention.query(chunk), key, value))
                for chunk in chunks
            ],
            dim=2,
        )
        result = x.data.to(self.device) + gathered.squeeze(1).transpose(1, 2).reshape(x.data.shape)
        return _Map.whole(result, self.store)

    def layer(
        self,
        layer: nn.Module,
        source: _Map,
        *,
        norm: nn.GroupNorm | None = None,
        up: int = 1,
        down: int = 1,
        plus: Callable[[slice], Tensor] | None = None,
        into: Tensor | None = None,
    ) -> _Map:
        """One 3x3 convolution over the whole map.

        Args:
            layer: the convolution, or a Downsample or an Upsample around it.
            source: what it reads.
            norm: what comes before it, together with a SiLU.
            up: the factor by which the layer raises the resolution.
            down: the factor by which the layer lowers the resolution.
            plus: what to add to the given rows of the result.
            into: where to write the result; may be what is read. A new map by default.
        """
        data, height = source.data, source.data.shape[2]
        activate = _activation(norm, source) if norm is not None else _as_it_is
        rows = max(1, self.rows // max(up, down)) * down
        starts = range(0, height, rows)
        target, heights = None, tuple(min(rows, height - start) * up // down for start in starts)
        above, known = torch.empty_like(data[:, :, :1]), 0  # at the edge of the image there is no row above
        beyond = data[:, :, :0]  # nor one below
        if self.circular:
            beyond = data[:, :, :1].clone()
            above.copy_(data[:, :, -1:])
            known = 1 if down == 1 else 0
        for index, start in enumerate(starts):
            stop = min(start + rows, height)
            below = data[:, :, stop : stop + 1] if stop < height else beyond
            window = torch.cat([above[:, :, :known], data[:, :, start:stop], below], dim=2).to(self.device)
            # Inside the image the layer's own zeros do not belong: drop the rows of the result that saw them.
            first, here = known * up, slice(start * up // down, stop * up // down)
            window = activate(window)
            strip = layer(window)[:, :, first : first + heights[index]]
            if plus is not None:
                strip += plus(here)
            if target is None:
                target = _blank(strip, heights, self.store, into)
            if down == 1:  # a Downsample looks no further up than its own rows
                above.copy_(data[:, :, stop - 1 : stop])  # which may be overwritten now
                known = 1
            target.data[:, :, here] = strip
            target.means[index], target.variances[index] = _moments(strip)
            # Whatever this strip took is given back before the next one asks for it: an allocator that found its
            # blocks interleaved with ones that stay would have to find new room for every strip.
            del window, strip
        assert target is not None  # a map has at least one row
        return target


def _strips(vae: VAE, rows: int, store: torch.device | str | None, circular: bool) -> _Strips:
    if rows < 1:
        raise ValueError(f"rows is {rows}: strips must be at least one row high")
    device = vae.quant_conv.weight.device
    return _Strips(rows, device, device if store is None else torch.device(store), circular)


def _blank(strip: Tensor, heights: tuple[int, ...], store: torch.device, into: Tensor | None) -> _Map:
    """A map, still to be filled, of strips like this one."""
    _, channels, _, width = strip.shape
    if into is None:
        last = strip.is_contiguous(memory_format=torch.channels_last)
        order = torch.channels_last if last else torch.contiguous_format
        shape = (1, channels, sum(heights), width)
        into = torch.empty(shape, dtype=strip.dtype, device=store, memory_format=order)
    exact = torch.promote_types(strip.dtype, torch.float32)
    means = torch.empty(len(heights), channels, dtype=exact, device=strip.device)
    return _Map(into, means, torch.empty_like(means), heights)


def _moments(
    strip: Float[Tensor, "1 channels height width"],
) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
    """Mean and variance of each channel, by two passes, which lose no digits to a large mean."""
    exact = strip.to(torch.promote_types(strip.dtype, torch.float32))
    mean = exact.mean(dim=(0, 2, 3), keepdim=True)
    return mean.flatten(), (exact - mean).square_().mean(dim=(0, 2, 3))


def _as_it_is(window: Tensor) -> Tensor:
    return window


def _activation(norm: nn.GroupNorm, source: _Map) -> Callable[[Tensor], Tensor]:
    """GroupNorm, then SiLU."""
    normalise = _normaliser(norm, source)
    return lambda window: F.silu(normalise(window), inplace=True)


def _normaliser(norm: nn.GroupNorm, source: _Map) -> Callable[[Tensor], Tensor]:
    """The GroupNorm of the whole map as a function of any part of it: a factor and a shift for each channel.

    A union's mean is the mean of its parts' means, and its variance the mean of their variances plus the
    variance of their means; each part (a strip of a channel) counts by its size.
    """
    grouped = (len(source.heights), norm.num_groups, -1)
    means, variances = source.means.view(grouped), source.variances.view(grouped)
    shares = [height / sum(source.heights) for height in source.heights]
    mean = _mean(means, shares)
    variance = _mean(variances + (means - mean) ** 2, shares)
    scale = norm.weight.to(mean).view(norm.num_groups, -1) * (variance + norm.eps).rsqrt()
    shift = norm.bias.to(mean).view_as(scale) - mean * scale
    scale, shift = scale.view(1, -1, 1, 1), shift.view(1, -1, 1, 1)
    return lambda part: torch.addcmul(shift, part, scale).to(part.dtype)


def _mean(parts: Float[Tensor, "strips groups channels"], shares: list[float]) -> Float[Tensor, "groups 1"]:
    """Each group's mean over its channels and over the strips, whose shares of the rows add up to 1."""
    return torch.einsum("s,sgc->g", parts.new_tensor(shares), parts).unsqueeze(1) / parts.shape[2]
