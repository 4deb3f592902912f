"""The samplers, each one function in its paper's notation, and the protocol they share.

A sampler is a generator function `sampler(denoise, x, timesteps, schedule, draw)`. It walks x from the first
of the descending `timesteps` to clean latents and yields once for each timestep, after leaving it: the new x,
and its present estimate of the clean latents. `sample` does all else, so that a sampler is nothing but its
mathematics:

- *Parametrisation.* x is always variance-preserving, x_t = signal(t) x_0 + noise(t) eps, as the model takes
  it and as the caller sees it. A method written for sigmas (Karras et al. 2022, arXiv 2206.00364) works
  inside on x / signal(t), whose noise is sigma(t), and yields signal(s) times its result.
- *Several predictions a step* (Heun): call `denoise` again. Its timestep may lie between two trained ones:
  `schedule.timestep(sigma)` gives it, and schedule.signal of that is what to scale by.
- *History* (multistep methods): local variables of the generator.
- *Noise*: `draw()` gives fresh standard-normal noise shaped like x, or one clear error if there is none left.
  A deterministic method never calls it.
- *Gradients* are off while a sampler runs; x and the draws share one shape and dtype, and so must what it
  yields.

A new sampler is one function and one line in `SAMPLERS`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

from .schedule import CLEAN, NoiseSchedule, Timestep

Latents: TypeAlias = Float[Tensor, "batch ..."]
Denoise: TypeAlias = Callable[[Latents, float], Latents]
"""(x_t, t) to the model's prediction of the noise eps in x_t, of the same shape; t may be fractional."""
Draw: TypeAlias = Callable[[], Latents]
"""Fresh standard-normal noise of the latents' shape."""
Sampler: TypeAlias = Callable[
    [Denoise, Latents, Sequence[Timestep], NoiseSchedule, Draw], Iterator[tuple[Latents, Latents]]
]
"""(denoise, x, timesteps, schedule, draw) to (new x, estimate of x_0) after every timestep."""


def ddpm(
    denoise: Denoise, x: Latents, timesteps: Sequence[Timestep], schedule: NoiseSchedule, draw: Draw
) -> Iterator[tuple[Latents, Latents]]:
    """Ancestral sampling: Ho, Jain & Abbeel 2020 (arXiv 2006.11239), Algorithm 2, variance beta~ (eq. 7).

    Generalised to a subsequence of timesteps: between t and the next one kept, s < t, the forward process is
    one step with alpha = alpha-bar_t / alpha-bar_s. The last step has no variance, so it draws no noise.
    """
    for t, s in pairwise((*timesteps, CLEAN)):
        abar_t, abar_s = schedule.alpha_bar(t), schedule.alpha_bar(s)
        alpha = abar_t / abar_s
        beta = 1 - alpha
        eps = denoise(x, t)
        x0 = (x - sqrt(1 - abar_t) * eps) / sqrt(abar_t)  # eq. 15
        x0_weight = sqrt(abar_s) * beta / (1 - abar_t)  # mean and variance of q(x_s | x_t, x_0): eq. 7
        x_weight = sqrt(alpha) * (1 - abar_s) / (1 - abar_t)
        variance = (1 - abar_s) / (1 - abar_t) * beta
        x = x0_weight * x0 + x_weight * x
        if s != CLEAN:
            x = x + sqrt(variance) * draw()
        yield x, x0


SAMPLERS: Mapping[str, Sampler] = {"ddpm": ddpm}
