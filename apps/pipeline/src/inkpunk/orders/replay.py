"""A picture made again from what it carries, and held against what it was."""

import os
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inkpunk.orders.order import Order
from inkpunk.orders.weights import choice_of
from inkpunk.pictures.comparing import Difference, compare, differences, saved_as
from inkpunk.pictures.facts import Facts
from inkpunk.pictures.png_text import read_single_facts
from inkpunk.road.recalling import values_of

if TYPE_CHECKING:
    from inkpunk.pictures.picture import Picture
    from inkpunk.request import Request

_SEED = re.compile(r"\b[0-9]{1,19}\b")


@dataclass(frozen=True)
class Replay:
    """What a picture takes to be made again. Make one with `recall`.

    Attributes:
        path: the picture.
        facts: what it carries.
        order: what is asked for.
    """

    path: Path
    facts: Facts
    order: Order

    @cached_property
    def request(self) -> "Request":
        """What is asked of the pipeline: with all seeds of the batch that the picture was drawn in.

        Raises:
            RequestError: for what can be refused without the model.
        """
        from inkpunk.road.beside import BatchRequest

        request, seed = self.order.request(), self.order.seed
        seeds = tuple(int(each) for each in _SEED.findall(self.facts.together))
        if seed != self.facts.seed or seed not in seeds:
            return request
        told: dict[str, Any] = {each.name: getattr(request, each.name) for each in fields(request)}
        told |= {"seeds": seeds, "others": self.facts.beside}
        return BatchRequest(**told)

    def differs(self, facts: Facts) -> list[str]:
        """What is different from what the picture carries, a line each.

        Args:
            facts: of what is drawn now, or is about to be.
        """
        return differences(self.facts, facts)

    def is_same(self, facts: Facts) -> bool:
        """Whether what is drawn now should be the same picture."""
        return not differences(self.facts, facts, deciding=True)

    def compared(self, pictures: Sequence["Picture"]) -> Difference:
        """Hold what was drawn for `request` against the picture.

        Raises:
            PictureError: the picture cannot be read any more.
        """
        return compare(self.path, self.picked(pictures), self.facts)

    def picked(self, pictures: Sequence["Picture"]) -> "Picture":
        """The one of the pictures that were drawn that it is about."""
        return pictures[self.request.seeds.index(self.order.seed or 0)]


def recall(
    path: str | Path, changes: Mapping[str, object] | None = None, models: Sequence[str | Path] = ()
) -> Replay:
    """Read what a picture takes to be made again, and find the files of its weights.

    Args:
        path: a picture that inkpunk saved.
        changes: what is told anew, as `Order.changed` takes it; a picture that is given again, at its new place, too.
        models: folders to look in for weights that are neither where they were nor were hashed before.

    Raises:
        PictureError: for a file without a recipe of inkpunk's, a grid and an animation; for a picture that it takes
            and that was given as pixels; for weights that are not found.
        OrderError: for changes that cannot be.
    """
    facts, told = read_single_facts(path), dict(changes or {})
    told = {name.replace("_", "-"): value for name, value in told.items()}
    values = values_of(facts, told) | choice_of(facts, told, [Path(each) for each in models])
    form, quality = saved_as(Path(path), facts)
    if form != "png":
        values |= {"format": form, "quality": quality}
    return Replay(Path(path), facts, Order.read(values).changed(told))


def replayed(path: str | Path, models: Sequence[str | Path] = ()) -> Order:
    """The order that a picture was drawn by; raises as `recall`."""
    return recall(path, models=models).order


def replay(path: str | Path, models: Sequence[str | Path] = ()) -> Difference:
    """Make a picture again, and tell whether it is the same.

    Raises:
        PictureError, OrderError, RequestError, CheckpointError, HubError, DeviceError: where it cannot be.
    """
    told = recall(path, models=models)
    with as_many_threads(told.facts):
        pipeline = told.order.choice.load()
        return told.compared(pipeline.generate(told.request))


@contextmanager
def as_many_threads(facts: Facts) -> Generator[None]:
    """Have torch compute with as many threads as drew a picture, where there are as many processors."""
    import torch

    before = torch.get_num_threads()
    wanted = facts.threads or before
    if wanted == before or wanted > (os.cpu_count() or 1):
        yield  # to set even the same number would have MKL's sums round otherwise from then on
        return
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)
