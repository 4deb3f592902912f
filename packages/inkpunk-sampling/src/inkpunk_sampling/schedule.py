"""How much noise a training timestep holds: x_t = sqrt(alpha-bar_t) x_0 + sqrt(1 - alpha-bar_t) eps."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import inf, log, sqrt
from operator import mul
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

from .options import OPTIONS, refusal

CLEAN = -1
"""The timestep before the first: no noise, alpha-bar = 1. A sampler's path ends here, but for some conventions."""
MOST_STEPS = 100_000  # a hundred times Stable Diffusion's; a schedule is a list of them
FAINTEST = 2.0**-24  # alpha-bar, for the sigma of a timestep without signal
Timestep: TypeAlias = float | int
"""0 to steps - 1, whole where the model was trained and fractional between, or `CLEAN`. An int is as good as a
float; it is spelled out for those who check types as the program runs, where float alone excludes it."""


def _line(start: float, end: float, count: int) -> tuple[float, ...]:
    return tuple(start + (end - start) * i / max(count - 1, 1) for i in range(count))


def _scaled_linear(start: float, end: float, count: int) -> tuple[float, ...]:
    return tuple(root * root for root in _line(sqrt(start), sqrt(end), count))


CURVES: Mapping[str, Callable[[float, float, int], tuple[float, ...]]] = {
    "scaled_linear": _scaled_linear,
    "linear": _line,
}

MOST_ZERO = 2.0**-20  # alpha-bar; programs that cannot have zero at the end put 2^-24 or 5e-8 there
USUAL_BETAS = ((0.00085, 0.012), (0.0001, 0.02))  # Stable Diffusion's, and Ho et al.'s
Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NoiseSchedule:
    """The forward process a model was trained with (Ho et al. 2020, arXiv 2006.11239, section 2).

    The defaults are Stable Diffusion v1.5's. Everything is a Python float, computed in double precision, so
    that no float64 tensor ever reaches a device and tensors keep their own dtype.

    Timesteps are real numbers. Between two trained (whole) ones the logarithm of sigma, the ratio of noise to
    signal, is linear in the timestep, as in k-diffusion's DiscreteSchedule, and all else follows from sigma.

    Args:
        steps: number of training timesteps T, counted 0 to T - 1; from 1 to 100,000, as a schedule is a list of them.
        beta_start: variance added by timestep 0, in (0, 1).
        beta_end: variance added by timestep T - 1, in [beta_start, 1).
        curve: "linear": beta rises linearly (Ho et al.); "scaled_linear": sqrt(beta) does (latent diffusion).
        zero_snr: rescaled, so that the last timestep holds no signal at all (Lin et al. 2023, arXiv 2305.08891,
            Algorithm 1). Only a model that was trained so, to predict v or the sample, can be asked there.

    Raises:
        ValueError: for a value outside these ranges.
    """

    steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    curve: str = "scaled_linear"
    zero_snr: bool = False

    def __post_init__(self) -> None:
        """Refuse what is not a schedule."""
        if self.steps < 1:
            raise ValueError(f"a noise schedule of {self.steps!r:.40} steps: give steps of at least 1")
        if self.steps > MOST_STEPS:
            raise ValueError(
                f"a noise schedule of {self.steps!r:.40} steps: more than {MOST_STEPS} are not supported"
            )
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ValueError(
                f"betas from {self.beta_start!r:.40} to {self.beta_end!r:.40}: "
                "give 0 < beta_start <= beta_end < 1"
            )
        if self.curve not in CURVES:
            raise ValueError(f"unknown curve {self.curve!r:.80}: choose from {', '.join(CURVES)}")
        if self.zero_snr and self.steps < 2:
            raise ValueError("a zero-SNR schedule of 1 step has no signal anywhere: give steps of at least 2")

    @classmethod
    def from_diffusers(cls, config: Mapping[str, object]) -> "NoiseSchedule":
        """Read a parsed diffusers `scheduler_config.json`, whichever scheduler it names.

        Only the noise that the model was trained with is read. What it predicts is told by `read_prediction`, and
        how to sample (the sampler, `timestep_spacing`, `steps_offset`, `set_alpha_to_one`) is the caller's choice.
        What would make the named scheduler bend every prediction, which no sampler here does (`clip_sample`,
        `thresholding`, another `variance_type`), is refused; left out, or said to a scheduler that does not heed it,
        it is not, whatever that scheduler's own default.

        Raises:
            ValueError: if a key of the schedule is absent or malformed, or asks for what is not implemented.
        """
        for key, option in OPTIONS.items():
            option.check(key, config)
        if config.get("trained_betas") is not None:
            raise refusal(
                "trained_betas", config["trained_betas"], "only schedules given by a formula are supported"
            )
        zero_snr = config.get("rescale_betas_zero_snr", False)
        if not isinstance(zero_snr, bool):
            raise refusal("rescale_betas_zero_snr", zero_snr, "give true or false")
        curve = config.get("beta_schedule")
        if not isinstance(curve, str) or curve not in CURVES:
            raise refusal("beta_schedule", curve, f"choose from {', '.join(CURVES)}")
        steps = config.get("num_train_timesteps")
        if isinstance(steps, float) and steps.is_integer():
            steps = int(steps)  # JSON makes no difference between 1000 and 1000.0
        if not isinstance(steps, int) or isinstance(steps, bool):
            raise refusal("num_train_timesteps", steps, "give a whole number")
        if not 1 <= steps <= MOST_STEPS:
            raise refusal(
                "num_train_timesteps", steps, f"less than 1 and more than {MOST_STEPS} are not supported"
            )
        return cls(steps, _number(config, "beta_start"), _number(config, "beta_end"), curve, zero_snr)

    @classmethod
    @np.errstate(all="ignore")  # what does not converge is refused
    def fitted(cls, alphas_cumprod: Sequence[float], tolerance: float) -> "NoiseSchedule":
        """Find the schedule that has these alpha-bars, as training leaves them in a checkpoint.

        The usual schedules are tried first; then, of each curve, the nearest, with as few digits as will do. So
        rounded numbers give the schedule that was meant.

        Args:
            alphas_cumprod: alpha-bar at each trained timestep; at the last, what stands for zero counts as zero.
            tolerance: how far each of the signals, their square roots, may be off.

        Raises:
            ValueError: if they are no schedule of ours, or none at all.
        """
        bars = np.asarray(alphas_cumprod, dtype=np.float64)
        if not 2 <= len(bars) <= MOST_STEPS:
            raise ValueError(f"{len(bars)} alpha-bars: give 2 to {MOST_STEPS}")
        if (
            not np.isfinite(bars).all()
            or (bars < 0).any()
            or (bars > 1).any()
            or (np.diff(bars) > tolerance).any()
            or bars[-1] == bars[0]
        ):
            raise ValueError("alpha-bars that are not of [0, 1], or do not fall, are no noise schedule's")
        zeros = (True, False) if bars[-1] <= MOST_ZERO else (False,)
        kinds = [(curve, zero) for zero in zeros for curve in CURVES]
        for start, end in USUAL_BETAS:
            for curve, zero in kinds:
                if _off(np.log([start, end]), curve, zero, np.sqrt(bars)) <= tolerance:
                    return cls(len(bars), start, end, curve, zero)
        for curve, zero in kinds:
            logs = _nearest(curve, zero, np.sqrt(bars))
            for digits in range(1, 10):
                start, end = (float(f"{value:.{digits - 1}e}") for value in np.exp(logs))
                if (
                    0 < start <= end < 1
                    and _off(np.log([start, end]), curve, zero, np.sqrt(bars)) <= tolerance
                ):
                    return cls(len(bars), start, end, curve, zero)
        raise ValueError(f"alpha-bars that are none of a schedule that is {' or '.join(CURVES)} in beta")

    def to_diffusers(self) -> dict[str, object]:
        """Write what `from_diffusers` reads."""
        config: dict[str, object] = {
            "num_train_timesteps": self.steps,
            "beta_start": self.beta_start,
            "beta_end": self.beta_end,
            "beta_schedule": self.curve,
        }
        if self.zero_snr:  # said where it must be: few of diffusers' schedulers know the key
            config["rescale_betas_zero_snr"] = True
        return config

    @cached_property
    def betas(self) -> tuple[float, ...]:
        """beta_t for t = 0 ... steps - 1."""
        betas = CURVES[self.curve](self.beta_start, self.beta_end, self.steps)
        if not self.zero_snr:
            return betas
        signals = [sqrt(abar) for abar in accumulate((1 - beta for beta in betas), mul)]
        if any(high <= low for high, low in pairwise(signals)):
            raise self._beyond_double_precision()
        first, last = signals[0], signals[-1]
        # shifted until the last is 0, and stretched until the first is what it was
        bars = [((signal - last) * first / (first - last)) ** 2 for signal in signals]
        if not all(bars[:-1]):
            raise self._beyond_double_precision()
        return tuple(1 - abar / before for before, abar in pairwise((1.0, *bars)))

    @cached_property
    def alphas_cumprod(self) -> tuple[float, ...]:
        """alpha-bar_t, the product of 1 - beta up to and including t, for t = 0 ... steps - 1."""
        return tuple(accumulate((1 - beta for beta in self.betas), mul))

    def alpha_bar(self, t: Timestep) -> float:
        """alpha-bar at a timestep: 1 at `CLEAN`, 1 / (1 + sigma^2) between two trained ones.

        Raises:
            ValueError: if t is not a timestep: CLEAN (-1), or 0 to steps - 1; between two, as `sigma` does.
        """
        return self._variances(t)[0]

    def signal(self, t: Timestep) -> float:
        """sqrt(alpha-bar_t): how much of the clean latents is left at a timestep."""
        return sqrt(self._variances(t)[0])

    def noise(self, t: Timestep) -> float:
        """sqrt(1 - alpha-bar_t): the standard deviation of the noise at a timestep."""
        return sqrt(self._variances(t)[1])

    def sigma(self, t: Timestep) -> float:
        """sqrt((1 - alpha-bar_t) / alpha-bar_t): the ratio of noise to signal at a timestep; 0 at `CLEAN`.

        The sigma of Karras et al. 2022 (arXiv 2206.00364), strictly increasing in t. Where there is no signal, at the
        end of a zero-SNR schedule, it would be infinite; it is 4096 there (of alpha-bar 2^-24), as in diffusers, or
        sqrt(2) times the timestep's before where that is more.

        Raises:
            ValueError: if t is not a timestep, or betas are too near 0 or 1 for sigmas in double precision.
        """
        whole, part = self._split(t)
        if whole == CLEAN:
            return 0.0
        low = self._sigmas[whole]
        return low * (self._sigmas[whole + 1] / low) ** part if part else low

    def timestep(self, sigma: float) -> float:
        """The timestep of a sigma, inverse to `sigma`: `CLEAN` for 0, and exactly whole for a trained one's.

        Sigmas beyond the ends, which the model has never seen, give the nearer end, as in k-diffusion: 0.0
        below sigma(0), steps - 1 above sigma(steps - 1).

        Raises:
            ValueError: if sigma is negative or not a number, or betas as in `sigma`.
        """
        if not sigma >= 0:
            raise ValueError(f"sigma {sigma}: give 0 for clean or more, the ratio of noise to signal")
        if sigma == 0:
            return float(CLEAN)
        above = bisect_left(self._sigmas, sigma)  # the first trained timestep with as much noise or more
        if above == self.steps:
            return float(self.steps - 1)
        high = self._sigmas[above]
        if above == 0 or sigma == high:
            return float(above)
        low = self._sigmas[above - 1]
        # min: a logarithm's rounding must not lead past the next trained timestep, which may be the last.
        return above - 1 + min(log(sigma / low) / log(high / low), 1.0)

    def add_noise(
        self, latents: Float[Tensor, "*shape"], noise: Float[Tensor, "*shape"], t: Timestep
    ) -> Float[Tensor, "*shape"]:
        """Draw x_t given x_0 (Ho et al. 2020, eq. 4) from standard-normal noise.

        Raises:
            ValueError: if the shapes differ (they would broadcast) or t is not a timestep.
        """
        if latents.shape != noise.shape:
            raise ValueError(
                f"latents {list(latents.shape)} and noise {list(noise.shape)} must have one shape"
            )
        return self.signal(t) * latents + self.noise(t) * noise

    @cached_property
    def _sigmas(self) -> tuple[float, ...]:
        """Sigma at the trained timesteps, strictly increasing."""
        *bars, last = self.alphas_cumprod
        bars.append(min(FAINTEST, bars[-1] / 2) if self.zero_snr else last)
        sigmas = tuple(sqrt((1 - abar) / abar) if abar else inf for abar in bars)
        if any(low >= high for low, high in pairwise((0.0, *sigmas, inf))):
            raise self._beyond_double_precision()
        return sigmas

    def _beyond_double_precision(self) -> ValueError:
        return ValueError(
            f"betas from {self.beta_start} to {self.beta_end} over {self.steps} steps: their sigmas are "
            "beyond double precision: give betas further from 0 and 1, or fewer steps"
        )

    def _split(self, t: Timestep) -> tuple[int, float]:
        """The trained timestep at or below t (or `CLEAN`), and the part of the way from it to the next."""
        if t != CLEAN and not 0 <= t <= self.steps - 1:
            raise ValueError(
                f"timestep {t} is outside the schedule: give one from {CLEAN} to {self.steps - 1}, and none "
                f"between {CLEAN} and 0"
            )
        whole = int(t)
        return whole, float(t - whole)

    def _variances(self, t: Timestep) -> tuple[float, float]:
        """Of the signal and of the noise: alpha-bar and 1 - alpha-bar."""
        whole, part = self._split(t)
        if part:
            ratio = self.sigma(t) ** 2
            return 1 / (1 + ratio), ratio / (1 + ratio)  # 1 - alpha-bar would lose digits of a faint noise
        abar = 1.0 if whole == CLEAN else self.alphas_cumprod[whole]
        return abar, 1 - abar


def _signals(logs: Array, curve: str, zero_snr: bool, steps: int) -> Array:
    """Square roots of alpha-bar, by the logarithms of the first beta and the last; fast enough to try many."""
    power = 0.5 if curve == "scaled_linear" else 1.0
    start, end = np.exp(power * logs)
    line: Array = np.linspace(start, end, steps, dtype=np.float64)
    signals: Array = np.sqrt(np.cumprod(1 - line ** (1 / power)))
    if not zero_snr:
        return signals
    return (signals - signals[-1]) * signals[0] / (signals[0] - signals[-1])


def _off(logs: Array, curve: str, zero_snr: bool, signals: Array) -> float:
    """By how much the signals of two betas are off, at most; what stands for zero at the end is not compared."""
    compared = slice(None, -1 if zero_snr else None)
    return float(np.abs(_signals(logs, curve, zero_snr, len(signals)) - signals)[compared].max())


def _nearest(curve: str, zero_snr: bool, signals: Array) -> Array:
    """The logarithms of the first beta and the last whose signals are the nearest, by Gauss and Newton's method."""
    steps, compared = len(signals), slice(None, -1 if zero_snr else None)
    low, high = log(1e-9), log(0.999)
    logs: Array = np.log(np.array(USUAL_BETAS[0]))
    for _ in range(30):
        here = _signals(logs, curve, zero_snr, steps)
        slopes = [(_signals(logs + step, curve, zero_snr, steps) - here) / 1e-5 for step in 1e-5 * np.eye(2)]
        if not np.isfinite(slopes).all():
            break
        move = np.linalg.lstsq(np.stack(slopes, 1)[compared], (signals - here)[compared], rcond=None)[0]
        logs = np.asarray(np.clip(logs + np.clip(move, -1, 1), low, high), dtype=np.float64)
        if np.abs(move).max() < 1e-10:
            break
    return logs


def _number(config: Mapping[str, object], key: str) -> float:
    value = config.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise refusal(key, value, "give a number")
    if not 0 < value < 1:  # and no whole number too large for a float reaches one
        raise refusal(key, value, "give a number between 0 and 1")
    return float(value)
