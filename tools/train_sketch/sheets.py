"""Puts many pictures on one."""

from pathlib import Path

from jaxtyping import Float
from PIL import Image
from torch import Tensor


def save(images: Float[Tensor, "batch 3 size size"], path: Path, columns: int = 8, gap: int = 4) -> None:
    """Write pictures in [-1, 1] as one PNG, row by row."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    cell = pixels.shape[1] + gap
    rows = -(-len(pixels) // columns)
    sheet = Image.new("RGB", (columns * cell + gap, rows * cell + gap), (40, 38, 46))
    for index, picture in enumerate(pixels):
        sheet.paste(Image.fromarray(picture), (gap + index % columns * cell, gap + index // columns * cell))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
