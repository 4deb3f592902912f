"""Frames as one moving picture, and the file that holds it: an animated PNG, every pixel as drawn, or a WebP."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.lossy import exif_of
from inkpunk.pictures.picture import Picture, write_picture
from inkpunk.pictures.png_text import infotext, travel_text
from inkpunk.pictures.travel_facts import TravelFacts
from inkpunk.pictures.xmp import packet

QUALITY = 90  # of WebP, which loses what hardly anybody sees: a seventh of the PNG
FOREVER = 0  # repeated so many times
LEAST_FPS, MOST_FPS = 0.02, 1000  # an animated PNG shows a frame for 65 seconds at most


def check_pace(fps: float) -> None:
    """Refuse a number of frames a second that no file can tell.

    Raises:
        PictureError: if it is out of range, or no number.
    """
    if not LEAST_FPS <= fps <= MOST_FPS:  # NaN is neither
        raise PictureError(f"fps {fps:g}: must lie between {LEAST_FPS} and {MOST_FPS}; 12 is usual")


@dataclass(frozen=True, eq=False)
class Animation:
    """A travel that was drawn.

    Attributes:
        images: the frames, 8-bit RGB, of one size.
        facts: all it takes to draw it again.
    """

    images: tuple[Image.Image, ...]
    facts: TravelFacts

    @classmethod
    def of(cls, frames: Sequence[Picture], fps: float, *, there_and_back: bool = False) -> "Animation":
        """An animation of pictures.

        Args:
            frames: at least two, of one size.
            fps: frames a second, 0.02 to 1000.
            there_and_back: show them backwards after that, so that the end meets the beginning.

        Raises:
            PictureError: for a pace, or frames, that there is no animation of.
        """
        check_pace(fps)
        if len(frames) < 2 or len({frame.image.size for frame in frames}) > 1:
            raise PictureError("an animation has at least two frames, all of one size")
        images = tuple(frame.image for frame in frames)
        return cls(images, TravelFacts(tuple(frame.facts for frame in frames), float(fps), there_and_back))

    @property
    def shown(self) -> tuple[Image.Image, ...]:
        """The frames of one round, as they are shown."""
        back = self.images[-2:0:-1] if self.facts.there_and_back else ()
        return (*self.images, *back)

    def png(self) -> bytes:
        """The animation as an animated PNG (APNG), its facts inside; where that is unknown, the first frame shows."""
        return self._written(format="png", pnginfo=travel_text(self.facts))

    def webp(self) -> bytes:
        """The animation as a WebP, its facts where a picture has them."""
        text = infotext(self.facts.frames[0])
        inside = {"exif": exif_of(text), "xmp": packet(text, self.facts.to_json())}
        return self._written(format="webp", quality=QUALITY, **inside)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write it, whole or not at all, by its suffix as one or the other, and return its path.

        Raises:
            PictureError: as `Picture.save`.
        """
        path = Path(path)
        makers: dict[str, Callable[[], bytes]] = {".png": self.png, ".webp": self.webp}
        if path.suffix.lower() not in makers:
            raise PictureError(f"{path}: animations are saved as {' or '.join(makers)}; name one")
        return write_picture(path, makers[path.suffix.lower()](), overwrite=overwrite)

    def _written(self, **options: Any) -> bytes:
        first, *others = self.shown
        buffer = BytesIO()
        duration = 1000 / self.facts.fps  # milliseconds
        # each its own: what rounds each frame's would be late by more and more
        ends = [round(duration * count) for count in range(len(others) + 2)]
        durations = [max(end - start, 1) for start, end in pairwise(ends)]
        first.save(buffer, save_all=True, append_images=others, duration=durations, loop=FOREVER, **options)
        return buffer.getvalue()
