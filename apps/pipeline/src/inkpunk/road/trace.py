"""One generation told stage by stage: what goes in, what comes out, and what it costs."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

import torch
from inkpunk_sampling import SAMPLERS
from inkpunk_unet import timestep_embedding
from torch import Tensor

from inkpunk.memory.peaks import peak_memory
from inkpunk.pictures.picture import Picture
from inkpunk.pictures.pixels import tensor_to_image
from inkpunk.pipeline import Pipeline
from inkpunk.request import Request
from inkpunk.road.errors import RequestError
from inkpunk.road.guidance import is_guided, planned_guidance
from inkpunk.road.prompts import Reading, steered
from inkpunk.road.road import Start

Result = TypeVar("Result")
POSITIONS = 77  # of a chunk's tokens


@dataclass(frozen=True)
class Stage:
    """One stage of a generation.

    Attributes:
        name: what it is.
        takes, gives: what goes in and what comes out: shapes, or words where there is no tensor yet.
        parameters: how many learned numbers it used.
        seconds: how long it took.
        peak_bytes: the most memory held at once meanwhile, None where the system cannot tell.
        picture: the finished picture, on the last stage.
    """

    name: str
    takes: str
    gives: str
    parameters: int
    seconds: float
    peak_bytes: int | None
    picture: Picture | None = None


def trace(pipeline: Pipeline, request: Request) -> Iterator[Stage]:
    """Draw a request's first picture, yielding each stage as it ends.

    The stages are those of the road itself: the picture is the one that `Pipeline.generate` draws.

    Raises:
        RequestError: for a request that takes another road: from a picture, along hints, by image prompts, and so on.
    """
    others = {
        "init picture": request.init is not None,
        "control": bool(request.followed),
        "image prompt": bool(request.shown),
        "region": bool(request.placed),
        "enlarging": request.enlarging is not None,
        "tile size": request.tile_size is not None,
        "texture": request.tileable is not None,
        "blend": request.blend is not None,
        "variation": request.vary is not None or request.seed_resize is not None,
    }
    if other := next((name for name, given in others.items() if given), None):
        raise RequestError(f"trace: follows a picture from its prompt; it takes no {other}")
    return _stages(pipeline, request)


def _stages(pipeline: Pipeline, request: Request) -> Iterator[Stage]:
    request = replace(request, seeds=request.seeds[:1])
    plan, plain = pipeline.plan(request), pipeline
    pipeline = plain.with_tags(plan.loras[0])

    def stage(
        name: str,
        takes: str,
        work: Callable[[], Result],
        shape: Callable[[Result], Sequence[int]],
        parameters: int = 0,
    ) -> tuple[Result, Stage]:
        with peak_memory(pipeline.device) as peak:
            start = time.perf_counter()
            result = work()
            if pipeline.device.type in ("cuda", "mps"):
                torch.accelerator.synchronize(pipeline.device)
            seconds = time.perf_counter() - start
        return result, Stage(name, takes, _written(shape(result)), parameters, seconds, peak.bytes)

    readings, told = stage(
        "tokenization",
        f"{len(plan.texts[0][0])} characters",
        lambda: pipeline.readings(plan),
        _chunks,
    )
    yield told
    contexts, told = stage(
        "CLIP text encoder",
        _written(_chunks(readings)),
        lambda: pipeline.contexts(plan),
        lambda contexts: (*_chunks(readings), contexts(float(plan.path[0])).prompt.shape[-1]),
        pipeline.text_encoder.parameters,
    )
    yield told
    context = contexts(float(plan.path[0])).prompt[:1]

    road = pipeline.road(plan)
    start = road.start()  # of an inpainting model it encodes a picture of which all is masked
    initial, told = stage("initial noise", f"seed {request.seeds[0]}", lambda: next(start.noise), _shape)
    yield told

    timestep = float(plan.path[0])
    with pipeline.unet.awake() as unet:
        _, told = stage(
            "time embedding",
            f"timestep {timestep:g}",
            lambda: timestep_embedding(
                torch.tensor([timestep], device=pipeline.device), unet.config.widths[0]
            ),
            _shape,
        )
        yield told
        latents = _written(_shape(initial))
        _, told = stage(
            "UNet, one call",
            f"{latents}, {_written(_shape(context))}",
            lambda: road.predict(initial, timestep, context),
            _shape,
            pipeline.unet.parameters,
        )
        yield told

        guidance = planned_guidance(plan, pipeline.schedule, pipeline.prediction)
        denoise = steered(contexts, guidance)(road.predict)
        steps = pipeline.sampled(plan, denoise, Start(chain([initial], start.noise)))
        guided = is_guided(plan, pipeline.schedule, timestep)
        predictions = SAMPLERS[plan.sampler].calls * (plan.rows if guided else 1)
        name = f"one sampling step{f' ({predictions} predictions)' if predictions > 1 else ''}"
        last, told = stage(name, latents, lambda: next(steps), lambda step: _shape(step.latents))
        yield told
        if len(plan.path) > 2:
            name = f"the other {len(plan.path) - 2} steps"
            last, told = stage(
                name, latents, lambda: deque(steps, 1).pop(), lambda step: _shape(step.latents)
            )
            yield told

    image, told = stage(
        "VAE decoder", latents, lambda: pipeline.decode(last.latents), _shape, pipeline.vae.parameters
    )
    yield told
    final, told = stage(
        "final image",
        _written(_shape(image)),
        lambda: tensor_to_image(image[0]),
        lambda final: (*final.size[::-1], 3),
    )
    yield replace(told, picture=Picture(final, plain.facts(plan, request.seeds[0])))


def _chunks(readings: Sequence[Reading]) -> Sequence[int]:
    """The shape of all chunks of a picture's prompts."""
    [reading] = readings
    return sum(len(moment.chunks) for each in reading.timelines for moment in each.moments), POSITIONS


def _shape(tensor: Tensor) -> Sequence[int]:
    return tensor.shape


def _written(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
