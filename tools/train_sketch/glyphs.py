"""The glyphs of game-icons as bitmaps: made once from the registry's package, read from one small file."""

import io
import json
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from .subjects import WITH_NEWCOMER, Subject

MASKS = Path(__file__).with_name("glyphs.npz")
SIZE = 256
MARGIN = 4


def rasterise(body: str, subject: Subject) -> np.ndarray:
    """Draw an icon's SVG body, crop it to its ink and fit that into a SIZE x SIZE bitmap."""
    import resvg_py  # only the making of the file needs it

    ink = body.replace("currentColor", "#000")
    stroke = f'stroke="#000" stroke-linejoin="round" stroke-width="{subject.stroke}"'
    frame = 'viewBox="-32 -32 576 576" width="1152" height="1152"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {frame}><g {stroke}>{ink}</g></svg>'
    drawn = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).getchannel("A")
    glyph = drawn.crop(drawn.getbbox())
    scale = (SIZE - 2 * MARGIN) / max(glyph.size)
    glyph = glyph.resize((round(glyph.width * scale), round(glyph.height * scale)), Image.Resampling.BOX)
    square = Image.new("L", (SIZE, SIZE))
    square.paste(glyph, ((SIZE - glyph.width) // 2, (SIZE - glyph.height) // 2))
    return np.asarray(square) > 127


def make(icons: Path, masks: Path = MASKS) -> None:
    """Write the subjects' bitmaps, one bit a pixel, from the package's `icons.json`."""
    bodies = {name: icon["body"] for name, icon in json.loads(icons.read_text())["icons"].items()}
    bits = {
        name: np.packbits(rasterise(bodies[subject.glyph], subject))
        for name, subject in WITH_NEWCOMER.items()
    }
    np.savez_compressed(masks, **bits)


@cache
def load(masks: Path = MASKS) -> dict[str, np.ndarray]:
    """Read every subject's bitmap: name -> bool array of SIZE x SIZE, True where there is ink."""
    with np.load(masks) as bits:
        return {name: np.unpackbits(bits[name]).reshape(SIZE, SIZE).astype(bool) for name in WITH_NEWCOMER}
