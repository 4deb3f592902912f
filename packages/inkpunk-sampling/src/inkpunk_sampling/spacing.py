"""Which of the training timesteps a sampler visits (Lin et al. 2023, arXiv 2305.08891, table 2)."""

from collections.abc import Callable, Mapping


def _linspace(schedule_steps: int, steps: int) -> tuple[int, ...]:
    """From the last timestep to 0, both included. A single step is timestep 0."""
    stride = (schedule_steps - 1) / max(steps - 1, 1)
    return tuple(round(i * stride) for i in reversed(range(steps)))


def _leading(schedule_steps: int, steps: int) -> tuple[int, ...]:
    """Whole strides up from 0: stops short of the last timestep."""
    return tuple(i * (schedule_steps // steps) for i in reversed(range(steps)))


def _trailing(schedule_steps: int, steps: int) -> tuple[int, ...]:
    """Strides down from the last timestep: stops short of 0."""
    # The stride as numpy.arange rounds it, so that ties (937.5) fall as they do in everybody else's pictures.
    stride = schedule_steps - (schedule_steps - schedule_steps / steps)
    return tuple(round(schedule_steps - i * stride) - 1 for i in range(steps))


SPACINGS: Mapping[str, Callable[[int, int], tuple[int, ...]]] = {
    "linspace": _linspace,
    "leading": _leading,
    "trailing": _trailing,
}


def timesteps(schedule_steps: int, steps: int, spacing: str = "linspace", offset: int = 0) -> tuple[int, ...]:
    """Choose `steps` of the timesteps 0 ... schedule_steps - 1, strictly descending.

    Args:
        schedule_steps: the schedule's number of training timesteps.
        steps: how many to visit, 1 to schedule_steps.
        spacing: "linspace" spans the whole range, "leading" ends at `offset`, "trailing" starts at the last
            one.
        offset: added to each of "leading"'s timesteps (diffusers' `steps_offset`); the others take none.

    Raises:
        ValueError: for an unknown spacing, a number of steps or an offset that does not fit the schedule.
    """
    if spacing not in SPACINGS:
        raise ValueError(f"unknown spacing {spacing!r}: choose from {', '.join(SPACINGS)}")
    if not 1 <= steps <= schedule_steps:
        raise ValueError(
            f"{steps} steps: give 1 to {schedule_steps}, the timesteps the model was trained with"
        )
    if offset and spacing != "leading":
        raise ValueError(f'offset {offset} with spacing {spacing!r}: only "leading" takes an offset')
    chosen = tuple(t + offset for t in SPACINGS[spacing](schedule_steps, steps))
    if chosen[-1] < 0 or chosen[0] >= schedule_steps:
        raise ValueError(
            f"offset {offset} moves {steps} steps to timesteps {chosen[-1]} to {chosen[0]}, outside 0 to "
            f"{schedule_steps - 1}: give an offset nearer 0 or fewer steps"
        )
    return chosen
