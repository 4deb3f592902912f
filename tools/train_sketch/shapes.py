"""Shapes that the sketch model was never shown, to learn outlines from: turned and mixed glyphs, blobs, strokes."""

import cv2
import numpy as np

from . import glyphs
from .subjects import SUBJECTS

SIZE = glyphs.SIZE
Shape = np.ndarray  # SIZE x SIZE, bool
LEAST, MOST = 0.05, 0.7  # of the frame that a shape covers


def shape(rng: np.random.Generator) -> Shape:
    """One of many kinds of shape, neither too small to see nor so large that nothing is beside it."""
    kinds = (_turned, _turned, _mixed, _blobs, _polygon, _strokes)
    while True:
        found = kinds[int(rng.integers(len(kinds)))](rng)
        if LEAST < found.mean() < MOST:
            return found


def moved(bitmap: Shape, rng: np.random.Generator, turn: float, least: float, most: float = 0.95) -> Shape:
    """A shape turned by up to so many degrees, scaled, leaned and shifted within its frame."""
    angle = np.deg2rad(rng.uniform(-turn, turn))
    scale = rng.uniform(least, most)
    lean, aspect = rng.normal(0, 0.08), np.exp(rng.normal(0, 0.1))
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * turned @ np.array([[aspect, lean], [0, 1 / aspect]])
    free = max(0.0, 1 - scale) * SIZE / 2
    shift = SIZE / 2 - matrix @ [SIZE / 2, SIZE / 2] + rng.uniform(-free, free, 2)
    return cv2.warpAffine(bitmap.astype(np.float32), np.column_stack([matrix, shift]), (SIZE, SIZE)) > 0.5


def _glyph(rng: np.random.Generator) -> Shape:
    return glyphs.load()[str(rng.choice(list(SUBJECTS)))]


def _turned(rng: np.random.Generator) -> Shape:
    bitmap = _glyph(rng)
    return moved(bitmap[:, ::-1] if rng.random() < 0.5 else bitmap, rng, turn=180, least=0.45)


def _mixed(rng: np.random.Generator) -> Shape:
    """Two shapes: beside each other, one cut out of the other, or the one where the other is not."""
    one, other = moved(_glyph(rng), rng, 60, 0.45), moved(_glyph(rng), rng, 180, 0.3)
    return (one | other, one & ~other, one ^ other)[int(rng.integers(3))]


def _blobs(rng: np.random.Generator) -> Shape:
    """One to three round bodies with waves around their rims, perhaps with holes."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE * 2 - 1
    body, holes = np.zeros((SIZE, SIZE), bool), np.zeros((SIZE, SIZE), bool)
    for part in range(int(rng.integers(1, 4))):
        centre = rng.uniform(-0.4, 0.4, 2) * (part > 0)
        radius = rng.uniform(0.25, 0.75 if part == 0 else 0.4)
        body |= _waved(x - centre[0], y - centre[1], radius, rng)
    for _ in range(int(rng.integers(0, 4))):
        centre = rng.uniform(-0.5, 0.5, 2)
        holes |= _waved(x - centre[0], y - centre[1], rng.uniform(0.06, 0.2), rng)
    return body & ~holes


def _waved(x: np.ndarray, y: np.ndarray, radius: float, rng: np.random.Generator) -> Shape:
    angle, k = np.arctan2(y, x * rng.uniform(0.7, 1.4)), np.arange(2, 9)[:, None, None]
    size, phase = rng.normal(0, 0.25, (7, 1, 1)) / k, rng.uniform(0, 2 * np.pi, (7, 1, 1))
    return np.hypot(x, y) < radius * (1 + (size * np.cos(k * angle + phase)).sum(0)).clip(0.2)


def _polygon(rng: np.random.Generator) -> Shape:
    """Straight sides: a star of random points, of which some may cross."""
    corners = int(rng.integers(3, 12))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = rng.uniform(0.25, 0.95, corners) * SIZE / 2
    points = SIZE / 2 + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(canvas, [points.round().astype(np.int32)], 1)
    return canvas > 0


def _strokes(rng: np.random.Generator) -> Shape:
    """A few curves as by a broad brush, and dots."""
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    for _ in range(int(rng.integers(2, 6))):
        knots = rng.uniform(0.1, 0.9, (4, 2)) * SIZE
        t = np.linspace(0, 1, 40)[:, None]
        curve = (
            (1 - t) ** 3 * knots[0]
            + 3 * t * (1 - t) ** 2 * knots[1]
            + 3 * t**2 * (1 - t) * knots[2]
            + t**3 * knots[3]
        )
        cv2.polylines(canvas, [curve.round().astype(np.int32)], False, 1, int(rng.integers(14, 44)))
    for _ in range(int(rng.integers(0, 4))):
        centre = tuple(int(each) for each in rng.uniform(0.15, 0.85, 2) * SIZE)
        cv2.circle(canvas, centre, int(rng.integers(10, 40)), 1, -1)
    return canvas > 0
