"""The loop that takes time, as a generator: whoever iterates draws the progress bar, previews, or stops."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .conventions import CONVENTIONS, Conventions
from .noise import Draw
from .prediction import PREDICTIONS
from .samplers import SAMPLERS, Denoise, Model
from .samplers.protocol import States
from .schedule import NoiseSchedule, Timestep

STABLE_DIFFUSION = NoiseSchedule()
OURS = CONVENTIONS["inkpunk"]


@dataclass(frozen=True, eq=False)
class Step:
    """The state after one step of sampling. The tensors are the sampler's own: copy before writing to them.

    Attributes:
        index: how many steps are done, 1 to total.
        total: how many steps there are in all.
        timestep: the timestep that this step left, as the spacing has it: a whole one is an int and prints as
            such, although `denoise` was called with a float.
        latents: where the sampler is now; after the last step, the result.
        denoised: the present estimate of the clean latents, for previews.
    """

    index: int
    total: int
    timestep: Timestep
    latents: Float[Tensor, "batch ..."]
    denoised: Float[Tensor, "batch ..."]


def sample(
    denoise: Denoise,
    noise: Iterator[Float[Tensor, "batch ..."]],
    schedule: NoiseSchedule = STABLE_DIFFUSION,
    *,
    sampler: str = "ddpm",
    steps: int = 50,
    spacing: str | None = None,
    offset: int = 0,
    start: Float[Tensor, "batch ..."] | None = None,
    strength: float = 1.0,
    prediction: str = "epsilon",
    eta: float | None = None,
    brownian: Draw | None = None,
    conventions: Conventions = OURS,
) -> Iterator[Step]:
    """Walk from noise to a sample, yielding after every step; arguments are checked at once.

    Gradients are off while a step is computed and as the caller left them while it looks at one. No global
    state, random or other, is read or changed; whoever stops early has nothing to clean up.

    Args:
        denoise: predicts at a timestep what `prediction` says of latents: (Float[Tensor, "batch ..."], float) to the
            same shape. The timestep is always a Python float, and some samplers ask between two trained ones.
        noise: standard-normal tensors of the latents' shape, dtype and device, such as `seeded_noise` gives:
            the first (taken at once) is the initial noise, then one is taken for each step that wants one.
            They set the dtype of everything; coefficients enter as Python numbers.
        schedule: the noise schedule the model was trained with; Stable Diffusion's by default.
        sampler: a name in `SAMPLERS`.
        steps: how many steps from pure noise to clean latents, 1 to schedule.steps.
        spacing: which timesteps they visit, a name in `SPACINGS`: see `timesteps`. None: what the conventions have
            for the sampler; in ours "karras" for those that go by sigmas ("ays" in fewer than 16 steps), "linspace"
            for ddpm, ddim and plms.
        offset: see `timesteps`.
        start: clean latents to start from instead of nothing (image to image), of the noise's shape.
        strength: how much of the path `start` is sent back, in (0, 1]: the last int(steps * strength) steps
            are run, from `start` with the first of those timesteps' noise added (Meng et al. 2021, arXiv
            2108.01073). Other conventions run other numbers.
        prediction: what the model was trained to predict, a name in `PREDICTIONS`.
        eta: how much noise a sampler draws on its way that leaves a choice, 0 for none; its own default if None.
        brownian: the noise of samplers that follow a Brownian path, such as `brownian_path` lays; of the latents'
            shape, dtype and device. Others need none.
        conventions: where programs differ, one of `CONVENTIONS` or your own.

    Raises:
        ValueError: when called, for arguments out of range or shapes that differ; when iterated, if the noise
            runs out or a prediction or a draw has another shape than the latents.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}: choose from {', '.join(SAMPLERS)}")
    if prediction not in PREDICTIONS:
        raise ValueError(f"unknown prediction {prediction!r}: choose from {', '.join(PREDICTIONS)}")
    method = SAMPLERS[sampler]
    if start is None and strength != 1:
        raise ValueError(f"strength {strength} without a start: give start latents or leave strength at 1")
    if start is None:
        path = conventions.path(schedule, sampler, steps, spacing, offset)
    else:
        path = conventions.partial_path(schedule, sampler, steps, strength, spacing, offset)
    if not schedule.signal(path[0]) and (prediction == "epsilon" or sampler == "plms"):
        raise ValueError(
            f"timestep {path[0]:g} of a zero-SNR schedule holds no signal, and from noise alone no picture follows: "
            "give the prediction that the model was trained for (v or sample), and another sampler than plms"
        )
    if method.noise == "brownian" and brownian is None and eta != 0:
        raise ValueError(
            f"sampler {sampler!r} follows a Brownian path: give brownian=brownian_path(seeds, shape, schedule)"
        )
    initial = next(noise, None)
    if initial is None:
        raise ValueError("noise is empty: give one tensor to start from and one for each step that wants one")
    if not initial.is_floating_point():
        raise ValueError(f"noise of dtype {initial.dtype}: give a floating-point dtype")
    if start is None:
        scale = conventions.first_scale(schedule, sampler, path[0], spacing)
        latents = initial if scale == 1 else initial * scale
    else:
        latents = _noised(start, initial, schedule, path[0])
    model = Model(_checked(denoise), schedule, prediction, conventions.timestep_of(schedule, sampler))
    draw = (
        _draw_from(noise, initial)
        if method.noise != "brownian" or brownian is None
        else _along(brownian, initial)
    )
    return _run(method(model, latents, path, draw, eta), path)


def _run(states: States, path: Sequence[Timestep]) -> Iterator[Step]:
    total = len(path) - 1
    for index, timestep in enumerate(path[:-1], start=1):
        # Around the step alone: to yield inside no_grad would turn the caller's gradients off too.
        with torch.no_grad():
            latents, denoised = next(states)
        yield Step(index, total, timestep, latents, denoised)


def _noised(
    start: Float[Tensor, "batch ..."], noise: Float[Tensor, "batch ..."], schedule: NoiseSchedule, t: Timestep
) -> Float[Tensor, "batch ..."]:
    _same("start", start, noise)
    with torch.no_grad():
        return schedule.add_noise(start, noise, t)


def _checked(denoise: Denoise) -> Denoise:
    def checked(latents: Float[Tensor, "batch ..."], timestep: Timestep) -> Float[Tensor, "batch ..."]:
        prediction = denoise(latents, float(timestep))
        if prediction.shape != latents.shape:  # would broadcast
            raise ValueError(
                f"denoise returned {list(prediction.shape)} for latents {list(latents.shape)} at timestep "
                f"{timestep}: return a prediction of the latents' shape"
            )
        return prediction.to(latents.dtype)  # a model under autocast answers in another

    return checked


def _draw_from(noise: Iterator[Float[Tensor, "batch ..."]], initial: Float[Tensor, "batch ..."]) -> Draw:
    def draw(sigma: float, lower: float) -> Float[Tensor, "batch ..."]:
        drawn = next(noise, None)  # a bare StopIteration would surface as a generator's RuntimeError
        if drawn is None:
            raise ValueError(
                "the noise ran out: give one tensor to start from and one for each step that wants one"
            )
        _same("a draw of step noise", drawn, initial)
        return drawn

    return draw


def _along(brownian: Draw, initial: Float[Tensor, "batch ..."]) -> Draw:
    def draw(sigma: float, lower: float) -> Float[Tensor, "batch ..."]:
        drawn = brownian(sigma, lower)
        _same("the Brownian path's noise", drawn, initial)
        return drawn

    return draw


def _same(name: str, tensor: Tensor, noise: Tensor) -> None:
    for quality in ("shape", "dtype", "device"):
        found, expected = getattr(tensor, quality), getattr(noise, quality)
        if found != expected:
            raise ValueError(
                f"{name} has {quality} {found} but the initial noise {expected}: they must be the same"
            )
