"""A grid of pictures as one picture, and the file that holds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from inkpunk.pictures.grid import draw_layout, lay_out
from inkpunk.pictures.grid_facts import Axis, GridFacts
from inkpunk.pictures.picture import Picture, next_free_path
from inkpunk.pictures.plain import over_paper
from inkpunk.pictures.png_text import grid_infotext, grid_text


@dataclass(frozen=True, eq=False)
class GridPicture(Picture):
    """A drawn grid, which is saved as any picture is; its `facts` are the first cell's.

    Attributes:
        grid: all it takes to draw the whole of it again.
    """

    grid: GridFacts

    @property
    def texts(self) -> tuple[str, str]:
        """Its recipe, as `Picture.texts`."""
        return grid_infotext(self.grid), self.grid.to_json()

    def png(self) -> bytes:
        """The grid as a PNG file, its facts inside."""
        buffer = BytesIO()
        self.image.save(buffer, format="png", pnginfo=grid_text(self.grid))
        return buffer.getvalue()

    def free_path(self, folder: Path, ending: str = ".png") -> Path:
        """A name such as `0002-grid-nvinkpunk-raven-seed7.png` that is free in the folder."""
        return next_free_path(folder, f"grid {self.facts.prompt}", self.facts.seed, ending)


def composed(cells: Sequence[Sequence[Picture]], x: Axis, y: Axis | None = None) -> GridPicture:
    """Put drawn pictures side by side on labelled paper. The first one's prompt is the title.

    Args:
        cells: by row and column.
        x: what differs from column to column.
        y: what differs from row to row; None for a single row.
    """
    facts = GridFacts(x, y, tuple(tuple(picture.facts for picture in row) for row in cells))
    sizes = [[picture.image.size for picture in row] for row in cells]
    layout = lay_out(sizes, x.labels, y.labels if y else [""], facts.base.prompt)
    image = draw_layout([[over_paper(picture.image) for picture in row] for row in cells], layout)
    return GridPicture(image, facts.base, facts)
