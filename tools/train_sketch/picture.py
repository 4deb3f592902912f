"""Draws the training pictures: black ink on warm paper or night, over a torn splash of neon."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from . import glyphs
from .subjects import COLOURS

INK = (18, 15, 24)
PAPER = (244, 235, 216)
NIGHT = (22, 18, 40)
WHITE = (255, 255, 255)
DROPS = 22  # splashes of colour thrown out of the torn shape
DRIPS = 4
SPECKS = 8  # drops of ink
HARMONICS = 9
Bitmaps: TypeAlias = Bool[Tensor, "batch glyph_size glyph_size"]
BLEED = 0.25  # the share of a pixel's ink that runs into each neighbour


@dataclass(frozen=True)
class Picture:
    """What a picture shows; the seed decides everything else about it."""

    subject: str
    colours: tuple[str, ...]  # none, one, or two: the gradient's ends
    inked: bool  # ink and neon, or else a plain flat glyph on white
    night: bool
    seed: int


def _colour(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.array(rgb, dtype=np.float32) / 255


class _Chance:
    """All random numbers of one picture, drawn from its seed alone and in a fixed order."""

    def __init__(self, picture: Picture):
        rng = np.random.default_rng([picture.seed, 20])
        u, n = rng.uniform, rng.normal
        shown = picture.colours or (str(rng.choice(list(COLOURS))),)
        self.first, self.last = _colour(COLOURS[shown[0]]), _colour(COLOURS[shown[-1]])
        # The glyph's place: small changes only, so that a small model can learn its shape.
        self.scale = u(0.70, 0.78)
        self.place = u(-0.035, 0.035, 2)
        self.turn = np.deg2rad(u(-4, 4))
        self.warp = n(0, 0.007, (2, 9, 9))
        # The splash: a blob thrown along `stroke`, whose radius has harmonics and whose rim is torn by noise.
        self.stroke = np.deg2rad(u(-60, 10))
        self.centre = u(-0.09, 0.09, 2)
        self.radius = u(0.53, 0.63)
        k = np.arange(2, 2 + HARMONICS)
        self.waves = np.stack([n(0, 0.13, HARMONICS) / k**0.75, u(0, 2 * np.pi, HARMONICS)])
        self.coarse = n(0, 1, (1, 9, 9))
        self.fine = n(0, 1, (1, 24, 24))
        self.bristles = n(0, 1, (1, 40, 5))
        self.strokes = self._drops(u, n)

    def _drops(self, u, n) -> np.ndarray:
        """Tapered capsules as rows of (x0, y0, x1, y1, radius0, radius1)."""
        angle = self.stroke + u(-0.9, 0.9, DROPS) + np.pi * (u(0, 1, DROPS) < 0.45)
        reach = self.radius * (1.0 + 0.34 * np.abs(n(0, 1, DROPS)))
        size = 0.012 + 0.035 * u(0, 1, DROPS) ** 4
        tail = u(0, 0.10, DROPS)
        out = np.stack([np.cos(angle), np.sin(angle)])
        head, end = out * (reach + tail), out * reach
        drops = np.stack([*head, *end, size, 0.4 * size], 1)
        x = u(-0.75, 0.75, DRIPS) * self.radius
        top = 0.35 * self.radius
        bottom = self.radius * (0.9 + 0.65 * u(0, 1, DRIPS))
        width = u(0.012, 0.020, DRIPS)
        drips = np.stack([x, bottom, x, np.full(DRIPS, top), 1.25 * width, 0.8 * width], 1)
        spread = n(0, 0.50, (SPECKS, 2))
        dot = 0.008 + 0.022 * u(0, 1, SPECKS) ** 3
        specks = np.concatenate([spread, spread, dot[:, None], dot[:, None]], 1)
        rows = np.concatenate([drops, drips, specks])
        rows[:, 0:4:2] += self.centre[0]
        rows[:, 1:4:2] += self.centre[1]
        return rows


def _stack(chances: Sequence[_Chance], name: str) -> Tensor:
    return torch.as_tensor(np.stack([getattr(c, name) for c in chances]), dtype=torch.float32)


def _field(grid: Float[Tensor, "batch channels h w"], size: int) -> Float[Tensor, "batch channels size size"]:
    return F.interpolate(grid, (size, size), mode="bicubic", align_corners=True)


def _cut(distance: Tensor, size: int, pixels: float = 1.2) -> Tensor:
    """Turn a signed distance (frame is 2 wide, positive inside) into coverage, soft over some pixels."""
    return torch.sigmoid(distance * size * 2 / pixels)


def _glyph(
    pictures: Sequence[Picture], chances: Sequence[_Chance], x: Tensor, y: Tensor, bitmaps: Bitmaps | None
) -> Tensor:
    others = bitmaps is not None  # which have the whole frame
    if bitmaps is None:
        masks = glyphs.load()
        bitmaps = torch.stack([torch.from_numpy(masks[p.subject]) for p in pictures])
    bitmaps = bitmaps.float()[:, None]
    size = x.shape[-1]
    reach = max(1, round(glyphs.SIZE / size * 0.75))  # average what falls under one pixel
    bitmaps = F.avg_pool2d(bitmaps, 2 * (reach // 2) + 1, stride=1, padding=reach // 2)
    warp = _field(_stack(chances, "warp"), size)
    inked = torch.tensor([p.inked for p in pictures]).float()[:, None, None]
    place = _stack(chances, "place")[:, :, None, None]
    u, v = x + warp[:, 0] * inked - place[:, 0], y + warp[:, 1] * inked - place[:, 1]
    turn, scale = _stack(chances, "turn")[:, None, None], _stack(chances, "scale")[:, None, None]
    if others:
        scale = torch.ones_like(scale)
    turned = torch.stack([u * turn.cos() - v * turn.sin(), u * turn.sin() + v * turn.cos()], -1)
    return F.grid_sample(bitmaps, turned / scale[..., None], align_corners=False)[:, 0]


def _splash(chances: Sequence[_Chance], x: Tensor, y: Tensor) -> Tensor:
    """Signed distance to the torn shape's rim, positive inside."""
    size = x.shape[-1]
    centre = _stack(chances, "centre")[:, :, None, None]
    stroke = _stack(chances, "stroke")[:, None, None]
    dx, dy = x - centre[:, 0], y - centre[:, 1]
    along, across = dx * stroke.cos() + dy * stroke.sin(), dy * stroke.cos() - dx * stroke.sin()
    along = along / 1.22
    r, theta = torch.hypot(along, across), torch.atan2(across, along)
    waves = _stack(chances, "waves")[..., None, None]
    k = torch.arange(2, 2 + HARMONICS)[:, None, None]
    rim = 1 + (waves[:, 0] * torch.cos(k * theta[:, None] + waves[:, 1])).sum(1)
    radius = _stack(chances, "radius")[:, None, None]
    grid = torch.stack([along / 1.2, across / 1.2], -1)
    hairs = _stack(chances, "bristles")
    bristles = F.grid_sample(hairs, grid, padding_mode="reflection", align_corners=False)[:, 0]
    coarse, fine = _field(_stack(chances, "coarse"), size)[:, 0], _field(_stack(chances, "fine"), size)[:, 0]
    torn = 0.055 * coarse + 0.022 * fine + 0.13 * bristles * (along.abs() / radius).clamp(max=1.6) ** 2
    return radius * rim + torn - r


def _frame(size: int) -> tuple[Tensor, Tensor]:
    """The pixel centres' x and y, the frame being [-1, 1] each way and y pointing down."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def _drops(chances: Sequence[_Chance], size: int) -> tuple[Tensor, Tensor]:
    """Signed distances to the nearest drop of colour and to the nearest of ink."""
    x, y = _frame(size // 2)  # distance is smooth: half the resolution tells as much in a quarter of the time
    nearest = []
    for c in chances:  # one picture at a time stays in the cache
        x0, y0, x1, y1, r0, r1 = torch.from_numpy(c.strokes).float().T[..., None, None]
        px, py, dx, dy = x - x0, y - y0, x1 - x0, y1 - y0
        t = (px * dx + py * dy).div_(dx * dx + dy * dy + 1e-6).clamp_(0, 1)
        square = (px - t * dx).square_() + (py - t * dy).square_()
        inside = torch.sub(r0 + (r1 - r0) * t, square.sqrt_())
        nearest.append(torch.stack([inside[: DROPS + DRIPS].amax(0), inside[DROPS + DRIPS :].amax(0)]))
    both = F.interpolate(torch.stack(nearest), (size, size), mode="bilinear", align_corners=False)
    return both[:, 0], both[:, 1]


def _mix(below: Tensor, above: Tensor, coverage: Tensor) -> Tensor:
    return below + (above - below) * coverage


def _bleed(image: Tensor) -> Tensor:
    """Let the ink run a little, as on wet paper: edges that a pixel cannot place need no latent to say where."""
    line = torch.tensor([BLEED, 1 - 2 * BLEED, BLEED])
    kernel = (line[:, None] * line).expand(3, 1, 3, 3)
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)


def silhouettes(
    pictures: Sequence[Picture], size: int = 128, bitmaps: Bitmaps | None = None
) -> Float[Tensor, "batch size size"]:
    """How much of each pixel the glyphs cover that `render` would draw, in [0, 1]."""
    x, y = (axis.expand(len(pictures), -1, -1) for axis in _frame(size))
    return _glyph(pictures, [_Chance(p) for p in pictures], x, y, bitmaps)


def render(
    pictures: Sequence[Picture], size: int = 128, bitmaps: Bitmaps | None = None
) -> Float[Tensor, "batch 3 size size"]:
    """Draw pictures of `size` x `size` pixels, in [-1, 1], of their subjects or of other shapes."""
    chances = [_Chance(p) for p in pictures]
    x, y = (axis.expand(len(pictures), -1, -1) for axis in _frame(size))
    flag = lambda name: torch.tensor([bool(getattr(p, name)) for p in pictures])[:, None, None, None]  # noqa: E731
    inked, night, named = flag("inked"), flag("night"), flag("colours")
    solid = lambda rgb: torch.from_numpy(_colour(rgb))[:, None, None]  # noqa: E731

    glyph = _glyph(pictures, chances, x, y, bitmaps)[:, None]
    echo = torch.roll(glyph, (max(1, size // 48), max(1, size // 40)), (2, 3))
    splash = _splash(chances, x, y)
    thrown, specks = _drops(chances, size)
    colour_at = _cut(torch.maximum(splash, thrown), size)[:, None]
    specks = _cut(specks, size)[:, None]
    coarse = _field(_stack(chances, "coarse"), size)
    fine = _field(_stack(chances, "fine"), size)

    first, last = _stack(chances, "first")[..., None, None], _stack(chances, "last")[..., None, None]
    slope = torch.sigmoid(5 * (x + 0.5 * y)[:, None] + 0.5 * coarse)
    neon = _mix(first, last, slope)
    wet = torch.exp(-splash.clamp(min=0) / 0.035)[:, None]  # pigment gathers at the rim, as in watercolour
    neon = neon * (1 - 0.16 * wet) + (1 - neon) * (0.10 * (coarse + 0.5 * fine)).clamp(0, 0.35)
    glow = torch.exp(splash.clamp(max=0) / 0.30)[:, None]

    paper = solid(PAPER) * (1 + 0.012 * coarse) - 0.05 * (x * x + y * y)[:, None].clamp(max=2) * 0.5
    dark = _mix(solid(NIGHT), first, 0.28 * glow)
    image = torch.where(night, dark, paper)
    image = _mix(image, neon, colour_at)
    image = _mix(image, torch.where(night, 0.55 * first + 0.45, 0.55 * last), 0.65 * echo * (1 - glyph))
    ink = solid(INK) + 0.012 * (coarse + fine)
    image = _mix(image, ink, torch.maximum(glyph, specks * ~night))
    plain = _mix(solid(WHITE), torch.where(named, first, solid(INK)), glyph)
    return _bleed(torch.where(inked, image, plain)).clamp(0, 1) * 2 - 1
