"""What steers a plan's pictures, of its prompts: each text is encoded once."""

from collections.abc import Callable, Iterable, Sequence

from inkpunk_clip import EncodeChunk, Timeline, contexts, side_by_side
from inkpunk_sampling import NoiseSchedule

from inkpunk.pictures.fitting import SIZE_MULTIPLE
from inkpunk.road.blend import Join
from inkpunk.road.plan import Plan
from inkpunk.road.prompts import Contexts, Reading, scheduled, step_finder
from inkpunk.road.regions import areas_of

Encoder = Callable[[Iterable[Timeline], int], EncodeChunk]
"""What gives the encoding of any chunk, and encodes those of timelines at once; by how many of the text encoder's
last layers are left out."""


def contexts_of(
    plan: Plan, readings: Sequence[Reading], encoder: Encoder, schedule: NoiseSchedule
) -> Contexts:
    """What steers a plan's pictures, whose prompts are understood so, at each timestep of a schedule."""
    request, language = plan.request, plan.request.language
    skipped = request.skipped_layers
    negative = [reading.negative for reading in readings if reading.negative is not None]
    encoders = {
        False: encoder([part for reading in readings for part in reading.parts], skipped),
        True: encoder(negative, skipped if request.program.skips_negative else 0),
    }
    return scheduled(
        readings,
        lambda timeline, is_negative: contexts(timeline, encoders[is_negative], language),
        _joined_by(plan, readings, encoders[False]),
        step_finder(plan, schedule),
        areas_of(request.placed, (plan.width // SIZE_MULTIPLE, plan.height // SIZE_MULTIPLE)).unbind(),
    )


def joiner(plan: Plan, readings: Sequence[Reading], encoder: Encoder) -> Join:
    """What makes contexts of a plan's prompts equally long, and lays them side by side."""
    return _joined_by(plan, readings, encoder([], plan.request.skipped_layers))


def _joined_by(plan: Plan, readings: Sequence[Reading], encode: EncodeChunk) -> Join:
    padding, empty = plan.request.language.padding, readings[0].parts[0].moments[0].chunks[0].empty
    return lambda each: side_by_side(each, encode, padding, empty)
