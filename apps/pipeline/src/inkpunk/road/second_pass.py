"""The second pass of a larger picture: what it is asked for, planned from the request that the first one is for."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol, runtime_checkable

from inkpunk_sampling import SAMPLERS, Step

from inkpunk.models.upscalers import Upscaler
from inkpunk.request import Request
from inkpunk.road.enlarging import Enlarge
from inkpunk.road.errors import RequestError
from inkpunk.road.plan import Plan
from inkpunk.road.road import Latents


@runtime_checkable
class Decide(Protocol):
    """Makes the plan of a single pass, of a width and height; `begun`: from what another has drawn."""

    def __call__(self, request: Request, *, size: tuple[int, int], begun: bool = False) -> Plan:
        """Make it."""
        ...


def plan_larger(request: Request, enlarge: Enlarge, size: tuple[int, int], decide: Decide) -> Plan:
    """Plan a picture that is enlarged, and every pass that it takes.

    Args:
        request: what is asked for.
        enlarge: what of it is about the enlarging.
        size: of the first pass; of a picture that is there already, the one that it comes to.
        decide: makes the plan of a pass.

    Raises:
        RequestError: where the second pass cannot be; and as `decide`.
    """
    there = request.picture is not None
    asked = _second(request, enlarge, there)
    if there:  # the one pass there is
        return decide(replace(asked, width=size[0], height=size[1]), size=size)
    larger = enlarge.size_of(size)
    if larger[0] < size[0] or larger[1] < size[1]:
        raise RequestError(
            f"enlarge {enlarge.told}: the first pass is larger, {size[0]} x {size[1]}; give less for width and height"
        )
    if enlarge.size and request.width and request.height and not _alike(size, larger):
        raise RequestError(
            f"enlarge {enlarge.told}: is of another shape than {size[0]} x {size[1]}; leave width or height out"
        )
    first = decide(request, size=size)
    try:
        second = decide(
            replace(asked, enlarge=None, width=larger[0], height=larger[1]), size=larger, begun=True
        )
    except RequestError as error:
        raise RequestError(f"enlarge: {error}") from error
    return replace(first, larger=second)


def _second(request: Request, enlarge: Enlarge, there: bool) -> Request:
    sampler = enlarge.sampler or request.sampler
    asked = replace(
        request,
        eta=None,
        sampler=sampler,
        steps=enlarge.steps or request.steps,
        strength=enlarge.share(there),
    )
    keeps_eta = SAMPLERS[asked.named_sampler()[0]].eta is not None
    return replace(asked, eta=request.eta) if keeps_eta and request.eta is not None else asked


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes are of one shape, to a twentieth."""
    return abs(one[0] / one[1] * other[1] / other[0] - 1) <= 0.05


def in_a_row(
    first: Iterator[Step], second: Callable[[Latents], Iterator[Step]], passes: tuple[Plan, ...]
) -> Iterator[Step]:
    """The steps of two passes, counted as one: the second begins from the last latents of the first."""
    done, total = (len(passes[0].path) - 1, sum(len(each.path) - 1 for each in passes))
    latents = None
    for step in first:
        latents = step.latents
        yield replace(step, total=total)
    assert latents is not None  # a pass has at least one step
    for step in second(latents):
        yield replace(step, index=done + step.index, total=total)


def told_of_enlarging(plan: Plan, upscaler: Upscaler | None) -> dict[str, str]:
    """What a recipe says of how a plan's pictures become larger; of one that was there already, by which network."""
    enlarge, larger = plan.request.enlarging, plan.larger
    told = {"upscaler": upscaler.told} if upscaler else {}
    if enlarge is None or larger is None:
        return told
    asked = {
        "to": enlarge.told,
        "size": f"{larger.width}x{larger.height}",
        "by": enlarge.way(),
        "strength": f"{enlarge.share():g}",
        "steps": str(larger.steps),
        "sampler": larger.sampler,
    }
    return asked | ({"spacing": larger.spacing} if larger.spacing else {}) | told
