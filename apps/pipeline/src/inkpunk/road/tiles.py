"""Tiles: pictures larger than memory, or than what a model has seen, drawn in parts that overlap and blend.

At each step every tile is predicted by itself, and where tiles overlap their predictions are averaged, so that all of
them are parts of one picture: MultiDiffusion (Bar-Tal et al. 2023, arXiv 2302.08113), with weights that fall smoothly
towards a tile's edges, as in Mixture of Diffusers (Barbero Jimenez 2023, arXiv 2302.02412). The autoencoder is asked
tile by tile, too: what is held at once does not grow with the picture.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TypeAlias

import torch
from inkpunk_unet import Residuals
from jaxtyping import Float
from torch import Tensor

from inkpunk.pictures.fitting import SIZE_MULTIPLE
from inkpunk.road.road import LATENT_CHANNELS, Images, Latents, ModelInput, Predict, Road

OVERLAP = 4  # a tile shares at least a quarter of its side with the next
LEAST_TILE = 8 * SIZE_MULTIPLE  # pixels: what the UNet's lowest level needs to be more than a point

Encode: TypeAlias = Callable[[Images, Latents], Latents]
Decode: TypeAlias = Callable[[Latents], Images]


@dataclass(frozen=True)
class Tile:
    """A part of a picture, by its first and last row and column, the last not in it."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, whole: Float[Tensor, "batch channels _ _"]) -> Float[Tensor, "batch channels _ _"]:
        """Its part of a tensor."""
        return whole[..., self.top : self.bottom, self.left : self.right]

    def times(self, scale: int) -> "Tile":
        """The same part of a picture so many times as large."""
        return Tile(self.top * scale, self.bottom * scale, self.left * scale, self.right * scale)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """As Pillow crops it."""
        return self.left, self.top, self.right, self.bottom


Weighted: TypeAlias = tuple[Tile, Float[Tensor, "height width"]]


def lay_tiles(height: int, width: int, side: int, scale: int = 1) -> Iterator[Weighted]:
    """Cover an area with square tiles, as few as overlap by a quarter, each with its weights.

    At every point the weights of all tiles add up to 1.

    Args:
        height, width: of the area; where it is narrower than a tile, so are the tiles.
        side: of a tile.
        scale: what all lengths are to be multiplied by.
    """
    rows, columns = _spans(height, side), _spans(width, side)
    across = _weights(columns, side, scale)
    for (top, bottom), down in zip(rows, _weights(rows, side, scale), strict=True):
        for (left, right), along in zip(columns, across, strict=True):
            yield Tile(top, bottom, left, right).times(scale), down[:, None] * along


def in_tiles(road: Road, side: int, predict_in: Callable[[Tile], Predict] | None = None) -> Road:
    """Have predictions, and the decoding, go tile by tile.

    Args:
        road: to wrap.
        side: of a tile, in latents.
        predict_in: what asks the UNet within a tile, where that is not the road's `predict`.
    """
    known = dict[Tile, Predict]()

    def predict(
        latents: ModelInput,
        timestep: float,
        context: Float[Tensor, "batch tokens width"],
        residuals: Residuals | None = None,
    ) -> Latents:
        if residuals is not None:
            raise ValueError("residuals are of a whole picture: control must act within the tiles")
        total = latents.new_zeros(latents.shape[0], LATENT_CHANNELS, *latents.shape[2:])
        for tile, weights in lay_tiles(latents.shape[2], latents.shape[3], side):
            if (
                tile not in known
            ):  # the last alone: hints that are read for every tile would grow with the picture
                known.clear()
                known[tile] = predict_in(tile) if predict_in else road.predict
            told = known[tile](tile.of(latents).contiguous(), timestep, context)
            tile.of(total).add_(told * weights.to(latents))
        return total

    return replace(road, predict=predict, decode=decode_in_tiles(road.decode, side))


def decode_in_tiles(decode: Decode, side: int) -> Decode:
    """Have latents decoded tile by tile, of so many latents a side; the images are in main memory."""

    def decoded(latents: Latents) -> Images:
        height, width = latents.shape[2:]
        images = torch.zeros(latents.shape[0], 3, height * SIZE_MULTIPLE, width * SIZE_MULTIPLE)
        for image, one in zip(torch.split(images, 1), torch.split(latents, 1), strict=True):
            tiles = lay_tiles(height, width, side)
            for (tile, _), (place, weights) in zip(
                tiles, lay_tiles(height, width, side, SIZE_MULTIPLE), strict=True
            ):
                place.of(image).add_(decode(tile.of(one).contiguous()).to(images) * weights)
        return images

    return decoded


def encode_in_tiles(encode: Encode, side: int) -> Encode:
    """Have images encoded tile by tile, of so many latents a side."""

    def encoded(images: Images, noise: Latents) -> Latents:
        latents = torch.zeros_like(noise)
        for tile, weights in lay_tiles(noise.shape[2], noise.shape[3], side):
            part = tile.times(SIZE_MULTIPLE).of(images).contiguous()
            told = encode(part, tile.of(noise).contiguous())
            tile.of(latents).add_(told * weights.to(latents))
        return latents

    return encoded


def _spans(length: int, side: int) -> list[tuple[int, int]]:
    """Where tiles begin and end, evenly spread along a length."""
    if length <= side:
        return [(0, length)]
    overlap = side // OVERLAP
    count = ceil((length - overlap) / (side - overlap))
    starts = [round(index * (length - side) / (count - 1)) for index in range(count)]
    return [(start, start + side) for start in starts]


def _weights(spans: Sequence[tuple[int, int]], side: int, scale: int) -> list[Float[Tensor, " _"]]:
    """Of each span, weights that rise from its ends along a cubic, and with all others' add up to 1."""
    ramp = side // OVERLAP * scale
    total = torch.zeros(spans[-1][1] * scale, dtype=torch.float64)
    shares = list[Tensor]()
    for start, end in spans:
        inside = torch.arange((end - start) * scale, dtype=torch.float64) + 0.5
        near = (torch.minimum(inside, inside.flip(0)) / ramp).clamp(max=1)
        shares.append(near**2 * (3 - 2 * near))
        total[start * scale : end * scale] += shares[-1]
    return [
        (share / total[start * scale : end * scale]).float()
        for share, (start, end) in zip(shares, spans, strict=True)
    ]
