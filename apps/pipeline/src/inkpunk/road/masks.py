"""Masks: a part of a picture is drawn anew, and all else is held to what it is.

Any model can: what is held is shown to it with the noise of the step. One that was trained for it is told of the
mask, too: see `inkpunk.road.inpainting`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TypeAlias

import torch
from inkpunk_sampling import Denoise, NoiseSchedule, held, masked
from jaxtyping import Bool, Float
from torch import Tensor

from inkpunk.road.road import Images, Latents, Predict, Road, Start

Change: TypeAlias = Float[Tensor, "1 1 latent_height latent_width"]


@dataclass(frozen=True, eq=False)
class Masked:
    """What is drawn of a picture.

    Attributes:
        image: in [-1, 1], one for each picture that is drawn.
        change: how much of each cell of the latents may change, from 0 to 1.
        content: what it begins as, a name in `inkpunk.pictures.canvas.CONTENTS`.
        strength: how much of the way it is sent back, in (0, 1]; 1 begins from noise alone.
    """

    image: Images
    change: Change
    content: str
    strength: float


def begun_under(
    road: Road, masked: Masked, encode: Callable[[Images, Latents], Latents], drawn: bool = True
) -> tuple[Road, Callable[[], tuple[Latents, Latents]]]:
    """Begin from a picture of which a part is drawn anew; and what gives its latents and the noise, once begun.

    Args:
        road: to wrap.
        masked: the picture.
        encode: images, and noise to choose among their encodings by, to latents.
        drawn: whether that noise is the first draw; else it is none, which chooses the mean.
    """
    begun = list[tuple[Latents, Latents]]()

    def start() -> Start:
        before = road.start()
        first = next(before.noise)
        known = encode(masked.image, first if drawn else torch.zeros_like(first))
        noise = next(before.noise) if drawn else first
        begun[:] = [(known, noise)]
        if masked.strength == 1:
            return replace(before, noise=chain([noise], before.noise))
        content = known
        if masked.content == "blank":
            content = torch.zeros_like(known)
        if (
            masked.content == "noise"
        ):  # another than is added, so that both together are as much as noise alone
            content = next(before.noise)
        latents = torch.lerp(known, content, masked.change.to(known))
        return replace(before, noise=chain([noise], before.noise), latents=latents, strength=masked.strength)

    return replace(road, start=start), lambda: begun[0]


def held_to(
    road: Road,
    masked_: Masked,
    told: Callable[[], tuple[Latents, Latents]],
    schedule: NoiseSchedule,
    prediction: str,
    step_of: Callable[[float], int],
    steps: int,
    drawn: bool = True,
) -> Road:
    """Hold what is known.

    Args:
        road: to wrap.
        masked_: the picture, and how much of it may change: grey for that part of the steps.
        told: gives its latents and the noise that the sampler begins with, once it has begun.
        schedule: the noise that the model was trained on.
        prediction: what it predicts, a name in `inkpunk_sampling.PREDICTIONS`.
        step_of: the step that a timestep is in, counted from 0.
        steps: how many there are.
        drawn: whether the draw after that noise is left out, by which diffusers encodes what the mask leaves, too.
    """
    holds = [held(masked_.change, step, steps) for step in range(steps)]

    def start() -> Start:
        before = road.start()
        first = next(before.noise)
        if drawn:
            next(before.noise)
        known = told()[0]
        free = (masked_.change > 0).to(known.device)
        # a sampler that does not end at noise 0 leaves some
        return replace(
            before,
            noise=chain([first], before.noise),
            finish=partial(_where, free, known),
        )

    def denoise(predict: Predict) -> Denoise:
        inner = road.denoise(predict)
        holding = list[Denoise]()

        def with_known(latents: Latents, timestep: float) -> Latents:
            if not holding:  # the road is laid before it begins
                known, noise = told()
                where = [each.to(known.device) for each in holds]
                holding.append(
                    masked(
                        inner,
                        known,
                        noise,
                        lambda timestep: where[step_of(timestep)],
                        schedule,
                        prediction=prediction,
                        from_noise=masked_.strength == 1,
                    )
                )
            return holding[0](latents, timestep)

        return with_known

    return replace(road, start=start, denoise=denoise)


def _where(free: Bool[Tensor, "1 1 latent_height latent_width"], known: Latents, latents: Latents) -> Latents:
    return torch.where(free, latents, known)
