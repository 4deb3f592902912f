"""Which timesteps a sampler visits: whole ones (Lin et al. 2023, arXiv 2305.08891, table 2) and real ones."""

from collections.abc import Callable, Mapping
from functools import partial
from math import atan, exp, gamma, log, tan

from .schedule import NoiseSchedule, Timestep

RHO = 7.0  # Karras et al.'s choice for pictures


def _linspace(schedule: NoiseSchedule, steps: int) -> tuple[int, ...]:
    """From the last timestep to 0, both included. A single step is timestep 0."""
    stride = (schedule.steps - 1) / max(steps - 1, 1)
    return tuple(round(i * stride) for i in reversed(range(steps)))


def _leading(schedule: NoiseSchedule, steps: int) -> tuple[int, ...]:
    """Whole strides up from 0: stops short of the last timestep."""
    return tuple(i * (schedule.steps // steps) for i in reversed(range(steps)))


def _trailing(schedule: NoiseSchedule, steps: int) -> tuple[int, ...]:
    """Strides down from the last timestep: stops short of 0."""
    # The stride as numpy.arange rounds it, so that ties (937.5) fall as they do in everybody else's pictures.
    stride = schedule.steps - (schedule.steps - schedule.steps / steps)
    return tuple(round(schedule.steps - i * stride) - 1 for i in range(steps))


def _uniform(schedule: NoiseSchedule, steps: int) -> tuple[float, ...]:
    """As linspace, but where the stride is not whole, neither are the timesteps; a single step is the last one."""
    return tuple((schedule.steps - 1) * (1 - i / max(steps - 1, 1)) for i in range(steps))


def _sgm_uniform(schedule: NoiseSchedule, steps: int) -> tuple[float, ...]:
    """Real strides down from the last timestep, of which another one would end at 0: Stability's."""
    return tuple((schedule.steps - 1) * (1 - i / steps) for i in range(steps))


def _simple(schedule: NoiseSchedule, steps: int) -> tuple[int, ...]:
    """Whole timesteps down from the last, at each multiple of the stride rounded down: ComfyUI's."""
    return tuple(schedule.steps - 1 - int(i * schedule.steps / steps) for i in range(steps))


def _beta(schedule: NoiseSchedule, steps: int) -> tuple[int, ...]:
    """Quantiles of a beta distribution, many near both ends: Lee et al. 2024 (arXiv 2407.12173), as in ComfyUI."""
    places = (_beta_quantile(1 - i / steps) for i in range(steps))
    return tuple(round(place * (schedule.steps - 1)) for place in places)


def _beta_sigma(schedule: NoiseSchedule, steps: int) -> tuple[float, ...]:
    """The same quantiles, between the least sigma and the greatest: what AUTOMATIC1111 and Forge call beta."""
    low, high = schedule.sigma(0), schedule.sigma(schedule.steps - 1)
    places = (_beta_quantile(1 - i / max(steps - 1, 1)) for i in range(steps))
    return tuple(schedule.timestep(low + place * (high - low)) for place in places)


DISTILLED = 50  # timesteps that latent consistency models were distilled at


def _lcm(schedule: NoiseSchedule, steps: int) -> tuple[int, ...]:
    """Of the timesteps of distillation, at even strides down from the last: Luo et al. 2023 (arXiv 2310.04378)."""
    stride = max(schedule.steps // DISTILLED, 1)
    known = [*reversed(range(stride - 1, schedule.steps, stride))]
    return tuple(known[i * len(known) // steps] for i in range(steps))


BETA = 0.6  # both parameters of the distribution, as the field has them


def _beta_quantile(part: float) -> float:
    """Where the distribution function of Beta(0.6, 0.6) is `part`, by bisection."""
    if part > 1 / 2:
        return 1 - _beta_quantile(1 - part)
    low, high = 0.0, 0.5
    for _ in range(36):  # to 1e-11
        middle = (low + high) / 2
        low, high = (middle, high) if _beta_below(middle) < part else (low, middle)
    return high if part else 0.0


def _beta_below(x: float) -> float:
    """The distribution function at x up to 1/2: the density's power series, integrated term by term."""
    total, n, power = 0.0, 0, 1.0
    while power > 1e-12:
        total += power / (BETA + n)
        n += 1
        power *= x * (n - BETA) / n
    return x**BETA * total * gamma(2 * BETA) / gamma(BETA) ** 2


ALIGN_YOUR_STEPS = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)


def _ays(schedule: NoiseSchedule, steps: int) -> tuple[float, ...]:
    """Align Your Steps for SD v1.5: Sabour et al. 2024 (arXiv 2404.14507), ten steps; log-linear for other numbers.

    The table's last sigma is where the tenth step would end; here it ends at 0.
    """
    return ays_points(schedule, steps + 1)[:-1]


def ays_points(schedule: NoiseSchedule, points: int) -> tuple[float, ...]:
    """The table's sigmas from the first to the last, log-linear between its entries, as timesteps."""
    spans = len(ALIGN_YOUR_STEPS) - 1
    sigmas: list[float] = []
    for i in range(points):
        place = i * spans / max(points - 1, 1)
        entry = min(int(place), spans - 1)
        high, low = ALIGN_YOUR_STEPS[entry : entry + 2]
        sigmas.append(high * (low / high) ** (place - entry))
    return tuple(map(schedule.timestep, sigmas))


def _karras(sigma: float) -> float:
    """Karras et al. 2022 (arXiv 2206.00364), eq. 5: sigma^(1/rho) falls evenly."""
    return sigma ** (1 / RHO)


def _power(place: float) -> float:
    return place**RHO


def _even(
    scale: Callable[[float], float], inverse: Callable[[float], float], schedule: NoiseSchedule, steps: int
) -> tuple[float, ...]:
    """From the last timestep's sigma to the first's, evenly on a scale. A single step is the last timestep."""
    last, first = float(schedule.steps - 1), 0.0
    start, end = scale(schedule.sigma(last)), scale(schedule.sigma(first))
    between = (inverse(start + (end - start) * i / (steps - 1)) for i in range(1, steps - 1))
    path = (last, *map(schedule.timestep, between), first)  # the ends as they are, without rounding
    return path if steps > 1 else path[:1]


even_angles = partial(_even, atan, tan)  # Sabour et al. 2024, arXiv 2404.14507: where the divergence is least

SPACINGS: Mapping[str, Callable[[NoiseSchedule, int], tuple[Timestep, ...]]] = {
    "linspace": _linspace,
    "leading": _leading,
    "trailing": _trailing,
    "uniform": _uniform,
    "sgm_uniform": _sgm_uniform,
    "simple": _simple,
    "karras": partial(_even, _karras, _power),
    "exponential": partial(_even, log, exp),
    "kl_optimal": even_angles,
    "beta": _beta,
    "beta_sigma": _beta_sigma,
    "ays": _ays,
    "lcm": _lcm,
}


def timesteps(
    schedule: NoiseSchedule, steps: int, spacing: str = "linspace", offset: int = 0
) -> tuple[Timestep, ...]:
    """Choose `steps` timesteps of a schedule, strictly descending.

    Args:
        schedule: what the model was trained with.
        steps: how many to visit, 1 to schedule.steps.
        spacing: a name in `SPACINGS`. Whole timesteps: "linspace" spans the whole range, "leading" ends at `offset`,
            "trailing" and "simple" start at the last one, "beta" is dense near both ends, "lcm" takes those that
            consistency models were distilled at. Real ones: "uniform" is linspace without rounding, "sgm_uniform"
            trailing without. Sigmas from the last timestep's to the first's, at whatever timesteps they are:
            "karras" with even steps of their seventh root, and so short ones where there is little noise;
            "exponential" of their logarithm; "kl_optimal" of their arc tangent; "beta_sigma" as "beta", but of
            sigmas. "ays" is a table found for Stable Diffusion v1.5 in ten steps.
        offset: added to each of "leading"'s timesteps (diffusers' `steps_offset`); the others take none.

    Returns:
        The timesteps; fewer than asked where a spacing finds one twice, as "beta" does among hundreds.

    Raises:
        ValueError: for an unknown spacing, a number of steps or an offset that does not fit the schedule.
    """
    if spacing not in SPACINGS:
        raise ValueError(f"unknown spacing {spacing!r}: choose from {', '.join(SPACINGS)}")
    if not 1 <= steps <= schedule.steps:
        raise ValueError(
            f"{steps} steps: give 1 to {schedule.steps}, the timesteps the model was trained with"
        )
    if offset and spacing != "leading":
        raise ValueError(f'offset {offset} with spacing {spacing!r}: only "leading" takes an offset')
    chosen = tuple(dict.fromkeys(SPACINGS[spacing](schedule, steps)))
    if offset:
        chosen = tuple(t + offset for t in chosen)
    if chosen[-1] < 0 or chosen[0] >= schedule.steps:
        raise ValueError(
            f"offset {offset} moves {steps} steps to timesteps {chosen[-1]} to {chosen[0]}, outside 0 to "
            f"{schedule.steps - 1}: give an offset nearer 0 or fewer steps"
        )
    return chosen
