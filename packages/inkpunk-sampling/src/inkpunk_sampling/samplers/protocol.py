"""What a sampler is.

A sampler is a generator function `sampler(model, x, path, draw)`. It walks x along a descending `path` of
timesteps, from the first to the last, and yields once for each step, after taking it: the new x, and its present
estimate of the clean latents. `sample` does all else, so that a sampler is nothing but its mathematics:

- *Parametrisation.* x is always variance-preserving, x_t = signal(t) x_0 + noise(t) eps, as the model takes
  it and as the caller sees it. Methods written for sigmas (Karras et al. 2022, arXiv 2206.00364) go through
  `in_sigmas`, which turns them into such a function.
- *The model*: `model(x, t)` gives both x_0 and eps, whatever the network predicts.
- *Several predictions a step* (Heun): ask again. The timestep may lie between two trained ones.
- *History* (multistep methods): local variables of the generator.
- *Noise*: `draw(sigma, lower)` gives standard-normal noise shaped like x for the way from one sigma down to
  another, or one clear error if there is none left. A deterministic method never calls it.
- *Eta*: how much noise. Only a method that declares one takes it, as a keyword.
- *Gradients* are off while a sampler runs; x and the draws share one shape and dtype, and so must what it
  yields.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple, TypeAlias

from ..noise import Draw
from ..prediction import PREDICTIONS, Estimate, Latents
from ..schedule import NoiseSchedule, Timestep

Denoise: TypeAlias = Callable[[Latents, float], Latents]
"""(x_t, t) to the model's prediction (of the noise eps in x_t, or of v, or of x_0), of the same shape; t may be
fractional."""
States: TypeAlias = Iterator[tuple[Latents, Latents]]
"""(new x, estimate of x_0) after every step."""
Denoised: TypeAlias = Callable[[Latents, float], Latents]
"""(x_0 + sigma eps, sigma) to the model's estimate of x_0: what Karras et al. call D."""


@dataclass(frozen=True)
class Model:
    """What a sampler asks: a network, with what it was trained to predict and on which noise.

    Attributes:
        denoise: the network.
        schedule: how much noise its timesteps hold.
        prediction: what it predicts, a name in `PREDICTIONS`.
        timestep: finds the timestep of a sigma; the schedule's own where there is none.
    """

    denoise: Denoise
    schedule: NoiseSchedule
    prediction: str = "epsilon"
    timestep: Callable[[float], float] | None = None

    def __call__(self, x: Latents, t: Timestep) -> Estimate:
        """What the network says of x_t; it is asked at t itself where that is whole."""
        asked = t if t == int(t) else self._timestep(self.schedule.sigma(t))
        output = self.denoise(x, asked)
        return PREDICTIONS[self.prediction].read(output, x, self.schedule.signal(t), self.schedule.noise(t))

    def _timestep(self, sigma: float) -> float:
        return (self.timestep or self.schedule.timestep)(sigma)

    def denoised(self, x: Latents, sigma: float) -> Latents:
        """D(x_0 + sigma eps, sigma), the estimate of x_0.

        The network is asked at the timestep of the sigma, as k-diffusion does it, and x is scaled to a variance of 1
        for it by 1 / sqrt(1 + sigma^2), which for a trained timestep is its signal. A sigma beyond the trained ones
        is still taken as it is: only the network is told its nearest timestep.
        """
        signal = 1 / sqrt(1 + sigma**2)
        scaled = signal * x
        output = self.denoise(scaled, self._timestep(sigma))
        return PREDICTIONS[self.prediction].read(output, scaled, signal, sigma * signal).clean


Sampler: TypeAlias = Callable[..., States]
"""(model: Model, x: Latents, path: Sequence[Timestep], draw: Draw) to `States`, and eta where it declares one."""
InSigmas: TypeAlias = Callable[..., States]
"""(denoised: Denoised, x_0 + sigma eps, sigmas: Sequence[float], draw: Draw) to `States`; eta as above."""


class Elsewhere(NamedTuple):
    """What other programs call a sampler; empty where they have none."""

    a1111: str = ""
    comfyui: str = ""
    diffusers: str = ""


@dataclass(frozen=True)
class Method:
    """A sampler, and what it says of itself; called, it is the sampler.

    Attributes:
        run: the sampler.
        order: how fast the error falls: as steps to the power of minus `order`, where the denoiser is smooth; of a
            deterministic method its distance to the flow's end, once it has its history; of another the covariance's.
            0 for one that is made for distilled models, whose few steps have another aim.
        calls: predictions a step; the last step may take fewer, and one method's first one more.
        cites: paper and algorithm.
        elsewhere: what AUTOMATIC1111, ComfyUI and diffusers call it.
        eta: how much noise it draws when not told, as a part (0 to 1) of what its stochastic form draws; None for a
            method that has nothing to choose.
        spacing: what it goes by when none is asked for, a name in `SPACINGS`.
        noise: "none" for a deterministic method, "fresh" for one whose draws know nothing of each other, "brownian"
            for one whose noise is the increments of a Brownian path.
    """

    run: Sampler
    order: int
    calls: int
    cites: str
    elsewhere: Elsewhere
    eta: float | None = None
    spacing: str = "linspace"
    noise: str = "none"

    @property
    def stochastic(self) -> bool:
        """Whether it draws noise on its way, when not told how much."""
        return self.noise != "none" and self.eta != 0

    def __call__(
        self, model: Model, x: Latents, path: Sequence[Timestep], draw: Draw, eta: float | None = None
    ) -> States:
        """Walk x along a path: see the module.

        Raises:
            ValueError: for an eta where there is none to choose, or one outside of [0, 1].
        """
        if eta is None:
            return self.run(model, x, path, draw)
        if self.eta is None:
            raise ValueError(
                f"eta {eta:g}: this sampler has none; leave it out, or take one that draws noise"
            )
        if not 0 <= eta <= 1:
            raise ValueError(f"eta {eta:g}: give 0 for no noise to 1 for all of it")
        return self.run(model, x, path, draw, eta=eta)


def in_sigmas(method: InSigmas) -> Sampler:
    """A sampler of a method that is written for x = x_0 + sigma eps."""

    def sampler(model: Model, x: Latents, path: Sequence[Timestep], draw: Draw, **options: float) -> States:
        sigmas = [*map(model.schedule.sigma, path)]
        states = method(model.denoised, x * sqrt(1 + sigmas[0] ** 2), sigmas, draw, **options)
        for sigma, (x, x0) in zip(sigmas[1:], states, strict=True):
            yield x / sqrt(1 + sigma**2), x0

    return sampler
