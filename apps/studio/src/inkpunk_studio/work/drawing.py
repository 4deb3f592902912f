"""Drawing: one model loaded, and a picture's steps walked one by one."""

import gc
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from inkpunk.models.loras import Lora
from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.order import Order
from inkpunk.pictures.facts import Facts
from inkpunk.pictures.picture import PictureExistsError
from inkpunk.pictures.png_text import infotext, read_facts
from inkpunk.pipeline import Pipeline
from inkpunk.request import Request
from inkpunk_sampling import Step
from PIL import Image

from inkpunk_studio.work.asking import Asking
from inkpunk_studio.work.job import Drawn
from inkpunk_studio.work.needs import Needs
from inkpunk_studio.work.words import Word

Load = Callable[[ModelChoice], Pipeline]


@dataclass(frozen=True, eq=False)
class Begun:
    """A picture that is being drawn, after a step.

    Attributes:
        pipeline: that draws it.
        request: what it is asked.
        step: what is done.
    """

    pipeline: Pipeline
    request: Request
    step: Step

    def preview(self) -> Image.Image:
        """What it looks like."""
        return self.pipeline.preview(self.step)[0]

    def as_it_stands(self) -> "Begun":
        """The same as if it were done: what the last step expects to come of it is what comes."""
        return replace(self, step=replace(self.step, latents=self.step.denoised))


class Easel:
    """Holds one model and what draws beside it, and draws with it; it is for one thread."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._choice: ModelChoice | None = None
        self._loras: tuple[Lora, ...] = ()
        self._networks = Needs()
        self._words: tuple[Word, ...] = ()
        self._plain: Pipeline | None = None
        self._adapted: Pipeline | None = None

    def pipeline(
        self,
        choice: ModelChoice,
        loras: tuple[Lora, ...] = (),
        needs: Needs = Needs(),  # noqa: B008  # frozen
        words: tuple[Word, ...] = (),
    ) -> Pipeline:
        """The model, loaded unless it is already, with these adapters beside those of the choice, these networks, and
        these learned words for its prompts.

        Networks that are at hand stay so for as long as pictures need no others; then they give way to these.

        Raises:
            DeviceError, HubError, CheckpointError: as `Pipeline.load`.
        """
        if self._plain is None or choice != self._choice:
            self.clear()
            self._plain = self._adapted = self._load(choice)
            self._choice, self._loras, self._networks = choice, (), Needs.of_choice(choice)
            self._words = ()
        if words != self._words:
            width = self._plain.text_encoder.config.width  # nobody knew it of a model that was not here
            files = [each.path for each in words if each.inspected.context in (None, width)]
            plain = adapted = self._plain.with_embeddings(*files)
            if self._loras and self._adapted is not None:
                adapted = self._adapted.with_embeddings(*files)
            self._plain, self._adapted, self._words = plain, adapted, words
        if not needs.within(self._networks):
            self._plain = self._plain.with_networks(needs.told, needs.ip_adapter, needs.image_encoder)
            adapted, self._adapted = self._adapted, self._plain
            if self._loras and adapted is not None:
                self._adapted = adapted.with_networks_of(self._plain)
            del adapted
            self._networks = needs
            free()
        if self._adapted is None or loras != self._loras:
            self._adapted, self._loras = self._plain, ()  # so that two adapted ones are never held at once
            self._adapted = self._plain.with_adapters(*choice.loras, *loras) if loras else self._plain
            self._loras = loras
        return self._adapted

    @property
    def choice(self) -> ModelChoice | None:
        """The model that is loaded; None while there is none."""
        return self._choice

    def clear(self) -> None:
        """Give the model back, and the memory of what is not used any more."""
        self._choice, self._loras, self._networks, self._words = None, (), Needs(), ()
        self._plain = self._adapted = None
        free()

    def draw(self, asking: Asking, order: Order, folder: Path) -> Generator[Begun]:
        """Draw an order's picture, and tell each step; whoever stops iterating stops the work.

        Args:
            asking: reads the order.
            order: of one picture.
            folder: where the pictures are that came with it.

        Raises:
            OrderError, RequestError: for what cannot be drawn.
            DeviceError, HubError, CheckpointError: for a model that cannot be loaded.
        """
        pipeline = self.pipeline(
            asking.choice(order), asking.loras(order), asking.needs(order), asking.words(order)
        )
        request = asking.request(order, folder, pipeline.defaults.size)
        for step in pipeline.run(request):
            yield Begun(pipeline, request, step)


def save(begun: Begun, order: Order, place: int, path: Path, start: float) -> Drawn:
    """Decode what was drawn to its last step, and save it whole or not at all.

    Args:
        begun: after its last step.
        order: that was drawn.
        place: among its job's orders.
        path: where it goes.
        start: when it was begun, by `time.perf_counter`.

    Raises:
        PictureError: as `Picture.save`.
    """
    picture = begun.pipeline.pictures(begun.request, begun.step.latents)[0]
    try:
        picture.save(path, quality=order.quality)
    except PictureExistsError:
        return drawn_before(path, place)
    return _drawn(picture.facts, place, path, time.perf_counter() - start)


def drawn_before(path: Path, place: int) -> Drawn:
    """A picture that was saved just before an earlier run was ended."""
    return _drawn(read_facts(path), place, path, 0.0)


def _drawn(facts: Facts, place: int, path: Path, seconds: float) -> Drawn:
    return Drawn(place, path, facts.seed, infotext(facts), round(seconds, 4))


def free() -> None:
    """Give back the memory of what is not used any more."""
    kept = gc.get_freeze_count()
    gc.unfreeze()  # a model may be among what was set aside
    gc.collect()
    if kept:
        gc.freeze()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
