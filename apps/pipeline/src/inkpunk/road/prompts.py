"""What steers the UNet: contexts, which may change from step to step, and guidance between two of them."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from typing import TypeAlias

import torch
from inkpunk_clip import LearnedWords, Timeline, Tokenizer, understand
from inkpunk_sampling import Denoise, NoiseSchedule
from jaxtyping import Float
from torch import Tensor

from inkpunk.road.guidance import Guidance, plain_guidance
from inkpunk.road.plan import Plan
from inkpunk.road.road import Latents, Predict

Context: TypeAlias = Float[Tensor, "rows tokens width"]

REPEATED = 8  # contexts of a run that are kept, repeated for its pictures: prompts that alternate have two


@dataclass(frozen=True)
class Part:
    """A row of `Steering.prompt` where prompts are composed: whose it is, and how much of its guidance is taken.

    Attributes:
        picture: whose.
        weight: how much.
        area: how much of that in each cell of the latents; None for all of it in every one.
    """

    picture: int
    weight: float
    area: Float[Tensor, "latent_height latent_width"] | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class Steering:
    """What steers a batch of pictures at a step.

    Attributes:
        prompt: the context of each picture, or a single one for all; with `parts`, a row for each of them.
        negative: that of the negative prompts, of as many tokens; None where guidance is off.
        parts: where prompts are composed of several, by `AND`: what the rows of `prompt` are.
    """

    prompt: Context
    negative: Float[Tensor, "pictures tokens width"] | None = None
    parts: tuple[Part, ...] = ()


Contexts: TypeAlias = Callable[[float], Steering]
"""A timestep to what steers there. Steering that comes again is the same object again, so that what was computed from
its tensors need not be computed again."""


def steered(contexts: Contexts, guidance: float | Guidance) -> Callable[[Predict], Denoise]:
    """Make of predictions what the sampler asks.

    Args:
        contexts: with negative prompts wherever guidance acts, or prompts are composed.
        guidance: the classifier-free guidance scale, where 1 is off; or another guidance.
    """
    guided = guidance if callable(guidance) else plain_guidance(guidance)

    def denoise(predict: Predict) -> Denoise:
        # The rows of each steering for a batch, the same tensor at every step. Holding the steering keeps its id from
        # being given to another.
        known: OrderedDict[tuple[int, int, bool], tuple[Steering, Tensor]] = OrderedDict()

        def rows(steering: Steering, batch: int, alone: bool) -> Tensor:
            key = (id(steering), batch, alone)
            found = known.pop(key, None) or (steering, _rows(steering, batch, alone))
            known[key] = found  # as the latest
            if len(known) > REPEATED:
                known.popitem(last=False)
            return found[1]

        def composed(latents: Latents, timestep: float, steering: Steering) -> tuple[Latents, Latents]:
            batch, parts = latents.shape[0], steering.parts
            asked = torch.cat([latents, latents[[part.picture for part in parts]]])
            predicted = predict(asked, timestep, rows(steering, batch, alone=False))
            return predicted[:batch], compose(predicted[:batch], predicted[batch:], parts)

        def both(latents: Latents, timestep: float) -> Latents:
            steering, batch = contexts(timestep), latents.shape[0] // 2
            if steering.parts:
                return torch.cat(composed(latents[:batch], timestep, steering))
            return predict(latents, timestep, rows(steering, batch, alone=False))

        def prompt_alone(latents: Latents, timestep: float) -> Latents:
            steering = contexts(timestep)
            if steering.parts:
                return composed(latents, timestep, steering)[1]
            return predict(latents, timestep, rows(steering, latents.shape[0], alone=True))

        return guided(both, prompt_alone)

    return denoise


def compose(
    negative: Latents, parts: Float[Tensor, "parts 4 latent_height latent_width"], told: Sequence[Part]
) -> Latents:
    """Of each picture's parts one prediction: from the negative one, as far as all of them together go.

    Liu et al. 2022, "Compositional Visual Generation with Composable Diffusion Models" (arXiv 2206.01714): the
    conjunction of section 4.
    """
    whole = negative.clone()
    for part, prediction in zip(told, parts, strict=True):
        further = part.weight * (prediction - negative[part.picture])
        whole[part.picture] += further if part.area is None else part.area.to(further) * further
    return whole


def _rows(steering: Steering, batch: int, alone: bool) -> Context:
    """The negative prompts', unless the prompts' alone are asked for, and the prompts', one a picture or part."""
    prompt = _as_many(steering.prompt, len(steering.parts) or batch)
    if alone:
        return prompt
    if steering.negative is None:
        raise ValueError("guidance takes negative prompts, too, and there are none")
    return torch.cat([_as_many(steering.negative, batch), prompt])


def _as_many(context: Context, count: int) -> Float[Tensor, "count tokens width"]:
    """As many rows, where one is for all."""
    return context if context.shape[0] == count else context.expand(count, -1, -1).contiguous()


@dataclass(frozen=True)
class Reading:
    """How the prompts of a picture are understood.

    Attributes:
        parts: of the prompt; several where `AND` composes, and where regions have prompts of their own.
        negative: the negative prompt; None where it takes no part.
        regions: where there are such, the region of each part, counted from 1; 0 is the whole picture.
    """

    parts: tuple[Timeline, ...]
    negative: Timeline | None = None
    regions: tuple[int, ...] = ()

    @property
    def timelines(self) -> tuple[Timeline, ...]:
        """Those of all parts, and of the negative prompt."""
        return (*self.parts, *([self.negative] if self.negative else []))

    @property
    def tokens(self) -> set[int]:
        """All that are in them."""
        moments = [moment for timeline in self.timelines for moment in timeline.moments]
        return {token for moment in moments for chunk in moment.chunks for token in chunk.tokens}

    @property
    def composed(self) -> bool:
        """Whether the prompt is more than one of weight 1."""
        return bool(self.regions) or [part.weight for part in self.parts] != [1.0]


def read_prompts(plan: Plan, tokenizer: Tokenizer, words: LearnedWords | None = None) -> tuple[Reading, ...]:
    """Read the prompts of each picture; those that say the same are the same object."""
    language, steps = plan.request.language, plan.prompt_steps
    known = dict[tuple[str, ...], Reading]()
    asked = [(*texts, *regions) for texts, regions in zip(plan.texts, plan.regions, strict=True)]
    for prompt, negative, *regions in asked:
        if (prompt, negative, *regions) not in known:
            parts = [understand(each, steps, tokenizer, words, language) for each in (prompt, *regions)]
            places = tuple(place for place, each in enumerate(parts) for _ in each) if regions else ()
            reading = Reading(tuple(chain.from_iterable(parts)), regions=places)
            if plan.guidance != 1 or reading.composed:
                [part] = understand(negative, steps, tokenizer, words, language, composed=False)
                reading = replace(reading, negative=part)
            known[prompt, negative, *regions] = reading
    return tuple(known[texts] for texts in asked)


def parts_of(readings: Sequence[Reading]) -> tuple[int, ...]:
    """Where prompts are composed, the picture that each of all their parts belongs to; else none."""
    if not any(reading.composed for reading in readings):
        return ()
    return tuple(picture for picture, reading in enumerate(readings) for _ in reading.parts)


def step_finder(plan: Plan, schedule: NoiseSchedule) -> Callable[[float], int]:
    """A function from a timestep that the network is asked at to the step that it is in, counted from 0.

    A sampler that asks between two steps asks in the earlier one; one that asks at the end of a step asks in the
    next.
    """
    told = plan.request.program.sampling.timestep_of(schedule, plan.sampler)
    begins = [-(t if t == int(t) else told(schedule.sigma(t))) for t in plan.path[:-1]]
    rounding = 1e-6  # of a timestep that went through its sigma
    return lambda timestep: max(bisect_right(begins, rounding - timestep) - 1, 0)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A timeline, with the context of each of its moments: the same tensor for the same text."""

    timeline: Timeline
    contexts: tuple[Float[Tensor, "_ width"], ...]


def scheduled(
    readings: Sequence[Reading],
    encode: Callable[[Timeline, bool], tuple[Float[Tensor, "_ width"], ...]],
    join: Callable[[Sequence[Float[Tensor, "_ width"]]], Context],
    step_of: Callable[[float], int],
    areas: Sequence[Float[Tensor, "latent_height latent_width"]] = (),
) -> Contexts:
    """What steers pictures whose prompts may change from step to step.

    Args:
        readings: of the batch's pictures, in order.
        encode: a timeline, and whether it is a negative prompt's, to the context of each of its moments.
        join: makes contexts equally long, and lays them side by side.
        step_of: the step that a timestep is in, counted from 0.
        areas: where there are regions, how much the whole picture's prompt and each region's count in each cell.
    """
    composed = any(reading.composed for reading in readings)
    if not composed and len({id(reading) for reading in readings}) == 1:
        readings = readings[:1]  # one for all
    negatives = [reading.negative for reading in readings if reading.negative is not None]
    parts = [part for reading in readings for part in reading.parts]
    told = tuple(
        Part(picture, part.weight, areas[region] if reading.regions else None)
        for picture, reading in enumerate(readings)
        for part, region in zip(reading.parts, reading.regions or repeat(0), strict=False)
    )
    encoded = dict[tuple[int, bool], Encoded]()
    for timeline, negative in (*((each, True) for each in negatives), *((each, False) for each in parts)):
        key = id(timeline), negative
        if key not in encoded:
            encoded[key] = Encoded(timeline, encode(timeline, negative))
    rows = [
        *(encoded[id(each), True] for each in negatives),
        *(encoded[id(each), False] for each in parts),
    ]
    known: OrderedDict[tuple[int, ...], Steering] = OrderedDict()

    def contexts(timestep: float) -> Steering:
        step = step_of(timestep)
        now = [each.contexts[each.timeline.at(step)] for each in rows]
        key = tuple(map(id, now))
        steering = known.pop(key, None)
        if steering is None:
            joined, count = join(now), len(negatives)
            negative = joined[:count] if count else None
            steering = Steering(joined[count:], negative, told if composed else ())
        known[key] = steering  # as the latest
        if len(known) > REPEATED:
            known.popitem(last=False)
        return steering

    return contexts
