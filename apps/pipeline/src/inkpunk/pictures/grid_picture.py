"""A grid of pictures as one picture, and the file that holds it."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from inkpunk.pictures.grid_facts import GridFacts
from inkpunk.pictures.picture import Picture, next_free_path
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
