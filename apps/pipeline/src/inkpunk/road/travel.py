"""Travels: pictures on the way from prompt to prompt, and from seed to seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from inkpunk.pictures.picture import Picture
from inkpunk.pipeline import Pipeline
from inkpunk.request import Request
from inkpunk.road.errors import RequestError

MOST_FRAMES = 10_000


@dataclass(frozen=True, eq=False)
class TravelStep:
    """The state after a sampling step of one of the frames.

    Attributes:
        index: how many steps are done, of all frames together.
        total: how many there are.
        frame: the picture that this step has finished, if it has.
    """

    index: int
    total: int
    frame: Picture | None = None


def frames_between(
    request: Request, frames: int, *, to_prompts: Sequence[str] = (), to_seeds: Sequence[int] = ()
) -> list[Request]:
    """Ask for the frames of a travel, each a picture of its own, whose recipe draws it again.

    Between two seeds the initial noise goes on the sphere (`vary`), between two prompts the contexts on the straight
    line (`blend`), at an even pace; the stops share out the frames. A sampler that draws noise on its way draws that
    of the seed behind: with one that draws none, neighbouring frames differ least.

    Args:
        request: where it begins, and all that stays; of one seed.
        frames: how many, its ends included.
        to_prompts, to_seeds: where it goes, one after the other; either may stay.

    Raises:
        RequestError: for a travel that goes nowhere, or along what the request varies or blends already.
    """
    if not 2 <= frames <= MOST_FRAMES:
        raise RequestError(f"frames {frames}: must lie between 2, which are the ends, and {MOST_FRAMES}")
    if not to_prompts and not to_seeds:
        raise RequestError("travel: goes nowhere; give a second prompt, or --to-seed")
    if len(request.seeds) != 1:
        raise RequestError(
            f"travel: has one seed at a time, not {len(request.seeds)}; go to others by --to-seed"
        )
    if to_seeds and request.varied:
        raise RequestError("vary: is what a travel between seeds does; leave one of the two out")
    if to_prompts and request.blended:
        raise RequestError("blend: is what a travel between prompts does; leave one of the two out")
    prompts, seeds = (request.prompt, *to_prompts), (request.seeds[0], *to_seeds)
    return [_frame(request, prompts, seeds, frame, frames - 1) for frame in range(frames)]


def travel(pipeline: Pipeline, frames: Sequence[Request]) -> Iterator[TravelStep]:
    """Draw frames, yielding the state after every step. Whoever stops iterating stops the work.

    Raises:
        RequestError: before the first step, for a frame that cannot be drawn.
    """
    for frame in frames:
        pipeline.run(frame)  # refuses, and draws nothing yet
    return _drawn(pipeline, frames)


def _drawn(pipeline: Pipeline, frames: Sequence[Request]) -> Iterator[TravelStep]:
    totals = [len(pipeline.plan(frame).path) - 1 for frame in frames]
    done = 0
    for frame in frames:
        for step in pipeline.run(frame):
            done += 1
            [picture] = pipeline.pictures(frame, step.latents) if step.index == step.total else [None]
            yield TravelStep(done, sum(totals), picture)


def _frame(request: Request, prompts: Sequence[str], seeds: Sequence[int], frame: int, last: int) -> Request:
    """The frame of a number, counted from 0 to the last."""
    prompt, on = _between(len(prompts) - 1, frame, last)
    request = replace(request, prompt=prompts[prompt])
    if on:
        request = replace(request, blend=(prompts[prompt + 1], on))
    seed, on = _between(len(seeds) - 1, frame, last)
    request = replace(request, seeds=(seeds[seed],))
    return replace(request, vary=(seeds[seed + 1], on)) if on else request


def _between(legs: int, frame: int, last: int) -> tuple[int, float]:
    """Which stop lies behind a frame, and how much of the way to the next is done, below 1."""
    stop, rest = divmod(frame * legs, last)
    return stop, rest / last
