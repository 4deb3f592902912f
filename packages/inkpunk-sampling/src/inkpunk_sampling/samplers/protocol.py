"""What a sampler is.

A sampler is a generator function `sampler(denoise, x, timesteps, schedule, draw)`. It walks x from the first
of the descending `timesteps` to clean latents and yields once for each timestep, after leaving it: the new x,
and its present estimate of the clean latents. `sample` does all else, so that a sampler is nothing but its
mathematics:

- *Parametrisation.* x is always variance-preserving, x_t = signal(t) x_0 + noise(t) eps, as the model takes
  it and as the caller sees it. Methods written for sigmas (Karras et al. 2022, arXiv 2206.00364) go through
  `in_sigmas`, which turns them into such a function.
- *Several predictions a step* (Heun): call `denoise` again. Its timestep may lie between two trained ones.
- *History* (multistep methods): local variables of the generator.
- *Noise*: `draw()` gives fresh standard-normal noise shaped like x, or one clear error if there is none left.
  A deterministic method never calls it.
- *Gradients* are off while a sampler runs; x and the draws share one shape and dtype, and so must what it
  yields.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

from ..schedule import NoiseSchedule, Timestep

Latents: TypeAlias = Float[Tensor, "batch ..."]
Denoise: TypeAlias = Callable[[Latents, float], Latents]
"""(x_t, t) to the model's prediction of the noise eps in x_t, of the same shape; t may be fractional."""
Draw: TypeAlias = Callable[[], Latents]
"""Fresh standard-normal noise of the latents' shape."""
Sampler: TypeAlias = Callable[
    [Denoise, Latents, Sequence[Timestep], NoiseSchedule, Draw], Iterator[tuple[Latents, Latents]]
]
"""(denoise, x, timesteps, schedule, draw) to (new x, estimate of x_0) after every timestep."""
Denoised: TypeAlias = Callable[[Latents, float], Latents]
"""(x_0 + sigma eps, sigma) to the model's estimate of x_0: what Karras et al. call D."""
InSigmas: TypeAlias = Callable[[Denoised, Latents, Sequence[float], Draw], Iterator[tuple[Latents, Latents]]]
"""(D, x_0 + sigma eps, sigmas down to 0, draw) to (new x, estimate of x_0) after every sigma but the last."""


@dataclass(frozen=True)
class Method:
    """A sampler, and what it says of itself; called, it is the sampler.

    Attributes:
        run: the sampler.
        order: how fast the error falls: as steps to the power of minus `order`, where the denoiser is smooth.
        calls: predictions a step; the last step may take fewer.
        stochastic: whether it draws noise on its way.
        cites: paper and algorithm.
        elsewhere: what AUTOMATIC1111, ComfyUI and diffusers call it; empty where they have none.
    """

    run: Sampler
    order: int
    calls: int
    stochastic: bool
    cites: str
    elsewhere: tuple[str, str, str]

    def __call__(
        self, denoise: Denoise, x: Latents, timesteps: Sequence[Timestep], schedule: NoiseSchedule, draw: Draw
    ) -> Iterator[tuple[Latents, Latents]]:
        """Walk from x to clean latents: see `Sampler`."""
        return self.run(denoise, x, timesteps, schedule, draw)


def in_sigmas(method: InSigmas) -> Sampler:
    """A sampler of a method that is written for x = x_0 + sigma eps.

    The model is asked at the timestep of the sigma, as k-diffusion does it, and x is scaled to a variance of 1
    for it by 1 / sqrt(1 + sigma^2), which for a trained timestep is its signal.
    """

    def sampler(
        denoise: Denoise, x: Latents, timesteps: Sequence[Timestep], schedule: NoiseSchedule, draw: Draw
    ) -> Iterator[tuple[Latents, Latents]]:
        def denoised(x: Latents, sigma: float) -> Latents:
            return x - sigma * denoise(x / sqrt(1 + sigma**2), schedule.timestep(sigma))

        sigmas = [*map(schedule.sigma, timesteps), 0.0]
        states = method(denoised, x * sqrt(1 + sigmas[0] ** 2), sigmas, draw)
        for sigma, (x, x0) in zip(sigmas[1:], states, strict=True):
            yield x / sqrt(1 + sigma**2), x0

    return sampler
