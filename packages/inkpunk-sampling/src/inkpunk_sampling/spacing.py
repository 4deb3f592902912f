"""Which timesteps a sampler visits: whole ones (Lin et al. 2023, arXiv 2305.08891, table 2), or those of sigmas."""

from collections.abc import Callable, Mapping
from functools import partial
from math import exp, log

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


SPACINGS: Mapping[str, Callable[[NoiseSchedule, int], tuple[Timestep, ...]]] = {
    "linspace": _linspace,
    "leading": _leading,
    "trailing": _trailing,
    "karras": partial(_even, _karras, _power),
    "exponential": partial(_even, log, exp),
}


def timesteps(
    schedule: NoiseSchedule, steps: int, spacing: str = "linspace", offset: int = 0
) -> tuple[Timestep, ...]:
    """Choose `steps` timesteps of a schedule, strictly descending.

    Args:
        schedule: what the model was trained with.
        steps: how many to visit, 1 to schedule.steps.
        spacing: whole timesteps: "linspace" spans the whole range, "leading" ends at `offset`, "trailing" starts at
            the last one. Sigmas from the last timestep's to the first's, at whatever timesteps they are: "karras"
            with even steps of their seventh root, and so short ones where there is little noise; "exponential" of
            their logarithm.
        offset: added to each of "leading"'s timesteps (diffusers' `steps_offset`); the others take none.

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
    chosen = SPACINGS[spacing](schedule, steps)
    if offset:
        chosen = tuple(t + offset for t in chosen)
    if chosen[-1] < 0 or chosen[0] >= schedule.steps:
        raise ValueError(
            f"offset {offset} moves {steps} steps to timesteps {chosen[-1]} to {chosen[0]}, outside 0 to "
            f"{schedule.steps - 1}: give an offset nearer 0 or fewer steps"
        )
    return chosen
