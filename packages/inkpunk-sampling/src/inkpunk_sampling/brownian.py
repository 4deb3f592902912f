"""Noise that belongs to a place on the way, not to a step: the increments of one Brownian path a seed."""

from collections.abc import Sequence
from math import sqrt

import torch
from jaxtyping import Float
from numpy.random import SeedSequence
from torch import Tensor

from .noise import SOURCES, Draw, check_seeds
from .schedule import NoiseSchedule

DIGITS = 6  # of a sigma: where halving ends, so that it ends
KEPT = 3  # places of a path: a step begins where the one before ended, and may ask for its middle
POOL = 24  # words of entropy that a seed is spread over


def brownian_path(
    seeds: Sequence[int],
    shape: Sequence[int],
    schedule: NoiseSchedule,
    source: str = "torch",
    ends: tuple[float, float] | None = None,
) -> Draw:
    """Lay a Brownian path for each image over the schedule's sigmas: a virtual Brownian tree.

    A path is settled by its seed alone, so that a sampler which follows it with 20 steps and with 60 meets the same
    noise, coarse or fine, and draws the same composition. Any point is found by halving from the whole path
    down: the value in the middle is normal around the mean of the ends (a Brownian bridge), and each halving has a
    random seed of its own, spread by numpy's SeedSequence. The tree is that of `torchsde.BrownianTree`, which
    k-diffusion, and so everybody's "DPM++ SDE", takes its noise from: equal seeds give equal noise.

    Args:
        seeds: one for each image, 0 to 2**63 - 1.
        shape: of one image's latents, such as (4, 64, 64).
        schedule: the path goes from its first timestep's sigma to its last one's.
        source: of the normal numbers, a name in `SOURCES`.
        ends: the least and the greatest sigma, where the path shall span others than the schedule's: another span is
            another path.

    Returns:
        A function of two sigmas, the greater first, to the path's increment between them over the root of their
        distance, and so of unit variance: [len(seeds), *shape] in float32 on the CPU. Sigmas beyond the ends are
        taken for the ends. It may be asked in any order, again, and by several threads.

    Raises:
        ValueError: as `seeded_noise`; and when asked, for two sigmas that are (to six digits) the same, or for ends
            out of order.
    """
    check_seeds(seeds, shape, source)
    least, greatest = ends or (schedule.sigma(0), schedule.sigma(schedule.steps - 1))
    if not 0 <= least <= greatest:
        raise ValueError(
            f"a Brownian path over sigmas {least:g} to {greatest:g}: give 0 <= least <= greatest"
        )
    low, high = round(least, DIGITS), round(greatest, DIGITS)
    trees = [_Tree(seed, tuple(shape), low, high, source) for seed in seeds]

    def path(sigma: float, lower: float) -> Float[Tensor, "batch ..."]:
        end, start = (min(max(round(each, DIGITS), low), high) for each in (sigma, lower))
        if not start < end:
            raise ValueError(
                f"Brownian noise from sigma {sigma:g} to {lower:g}: give two different sigmas, the greater first"
            )
        # Time runs up, the sampler down: the sign is k-diffusion's.
        return torch.stack([tree.value(start) - tree.value(end) for tree in trees]) / sqrt(end - start)

    return path


class _Tree:
    """The path of one seed, halved as deep as is asked; it keeps nothing but the last few places."""

    def __init__(self, seed: int, shape: tuple[int, ...], low: float, high: float, source: str) -> None:
        self.seed, self.shape, self.source = seed, shape, source
        self.low, self.high = low, high
        self.known: dict[float, Tensor] = {}

    def value(self, place: float) -> Float[Tensor, "..."]:
        """W(place), where W(low) is 0."""
        found = self.known.get(place)
        if found is None:
            found = self._value(place)
            self.known = {**dict([*self.known.items()][-KEPT + 1 :]), place: found}
        return found

    def _value(self, place: float) -> Float[Tensor, "..."]:
        whole = SeedSequence(self.seed, pool_size=POOL).generate_state(3)[0]
        low, high = self.low, self.high
        at_low, step = torch.zeros(self.shape), self._normal(int(whole)) * sqrt(high - low)
        node, depth = 0, 0  # the node's place among its depth's
        while low < place < high:
            middle = round((low + high) / 2, DIGITS)
            seed = SeedSequence(self.seed, spawn_key=(node, depth), pool_size=POOL).generate_state(4)[0]
            part = (middle - low) / (high - low)
            left = part * step + sqrt(part * (high - middle)) * self._normal(int(seed))
            if place <= middle:
                high, step, node = middle, left, 2 * node
            else:
                low, at_low, step, node = middle, at_low + left, step - left, 2 * node + 1
            depth += 1
        return at_low if place == low else at_low + step

    def _normal(self, seed: int) -> Float[Tensor, "..."]:
        return next(SOURCES[self.source](seed, self.shape))
