"""What is drawn: a request, with nothing left open."""

from dataclasses import dataclass, field, replace
from functools import cached_property

from inkpunk_clip import parse
from inkpunk_sampling import Timestep
from PIL import Image

from inkpunk.models.loras import Lora
from inkpunk.pictures.canvas import Canvas
from inkpunk.pictures.fitting import fitted
from inkpunk.request import Request
from inkpunk.road.control import ControlError
from inkpunk.road.errors import RequestError
from inkpunk.road.road import Latents


@dataclass(frozen=True)
class Plan:
    """A request with nothing left open: what is drawn, and what a picture's facts record.

    Attributes:
        sampler, spacing, steps, guidance, width, height, eta, clip_skip: as in the request, by our names. The spacing
            is None for a sampler with a path of its own, the eta for one that leaves no choice.
        path: the timesteps that are walked along, its end included; of image to image the last part of a path.
        texts: the prompt and the negative prompt of each picture, as its seed has chosen them, without LoRAs.
        loras: those that the prompt of each picture asks for.
        regions: the prompts of each picture's regions, likewise.
        canvas: the picture of which a part is drawn anew, if it is.
        larger: the second pass's, of a picture that is enlarged.
        begins: what another pass has drawn and this one begins from, one a picture, in the size that is drawn.
    """

    request: Request
    sampler: str
    spacing: str | None
    eta: float | None
    clip_skip: int
    steps: int
    guidance: float
    width: int
    height: int
    path: tuple[Timestep, ...]
    texts: tuple[tuple[str, str], ...]
    loras: tuple[tuple[Lora, ...], ...]
    regions: tuple[tuple[str, ...], ...]
    canvas: Canvas | None = None
    larger: "Plan | None" = None
    begins: tuple[Image.Image, ...] | Latents | None = field(default=None, compare=False, repr=False)

    def of(self, index: int) -> "Plan":
        """The plan of one of its pictures alone."""
        return replace(
            self,
            request=replace(self.request, seeds=(self.request.seeds[index],)),
            texts=(self.texts[index],),
            loras=(self.loras[index],),
            regions=(self.regions[index],),
            larger=self.larger and self.larger.of(index),
            begins=None if self.begins is None else self.begins[index : index + 1],
        )

    @property
    def picture_size(self) -> tuple[int, int]:
        """The width and height of the picture that comes of it in the end."""
        last = self.passes[-1]
        return self.canvas.picture.size if self.canvas else (last.width, last.height)

    @property
    def passes(self) -> tuple["Plan", ...]:
        """It, and the one that enlarges what it draws."""
        return (self, self.larger) if self.larger else (self,)

    @property
    def at_once(self) -> tuple[int, int]:
        """The width and height, in pixels, that the networks are asked about at a time: a tile's, or the whole."""
        most = self.request.tile_size or max(self.width, self.height)
        return min(self.width, most), min(self.height, most)

    @property
    def idle(self) -> bool:
        """Whether nothing is drawn: all of a picture is to stay as it is."""
        return self.canvas is not None and not self.canvas.changes

    @cached_property
    def start(self) -> Image.Image | None:
        """The picture to start from, in the size that is drawn."""
        if self.canvas is not None:
            return self.canvas.shown
        picture = self.request.picture
        return picture and fitted(picture, (self.width, self.height), self.request.resize)

    @cached_property
    def alpha(self) -> Image.Image | None:
        """How opaque the picture to start from is, in the size of the result, in 8 bits of grey."""
        alpha, extend = self.request.alpha, self.request.extending
        if alpha is None or self.canvas is None:
            return alpha and fitted(alpha, (self.width, self.height), self.request.resize)
        width, height = self.canvas.picture.size
        inner = width - extend.left - extend.right, height - extend.top - extend.bottom
        whole = Image.new("L", (width, height), 255)  # what it is continued by is drawn
        whole.paste(fitted(alpha, inner, self.request.resize), (extend.left, extend.top))
        return whole

    @cached_property
    def hints(self) -> tuple[Image.Image, ...]:
        """The hints that the drawing follows, in the size that is drawn, one for each control.

        Raises:
            RequestError: for a picture of which no hint can be made, or one that says nothing.
        """
        try:
            return tuple(
                each.hint(self._seen(each.kept)) for each in self.request.followed if each.kept is not None
            )
        except ControlError as error:
            raise RequestError(str(error)) from error

    def _seen(self, picture: Image.Image) -> Image.Image:
        """A picture in the size that is drawn; beside a canvas, the part of it that is seen."""
        if self.canvas is not None:
            return self.canvas.beside(picture)
        return fitted(picture, (self.width, self.height), self.request.resize)

    @property
    def prompt_steps(self) -> int:
        """How many steps a prompt that changes is told of."""
        return self.steps if self.request.program.counts_all_steps else len(self.path) - 1

    @property
    def rows(self) -> int:
        """How many latents the UNet is asked about at a time, at most."""
        weights = [
            [part.weight for part in parse(prompt, self.request.language.grammar).parts]
            for prompt, _ in self.texts
        ]
        pictures, regions = len(self.texts), self.request.placed
        if regions or any(each != [1.0] for each in weights):
            return pictures * (1 + len(regions)) + sum(map(len, weights))
        return pictures * (1 if self.guidance == 1 else 2)
