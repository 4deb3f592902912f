"""How strongly the prompt steers, and where: what a request asks of guidance beyond its scale."""

from collections.abc import Callable
from math import inf, sqrt
from typing import TypeAlias

from inkpunk_sampling import Denoise, NoiseSchedule, classifier_free, guide, projected, rescaled, within

from inkpunk.pictures.fitting import SIZE_MULTIPLE
from inkpunk.road.errors import RequestError
from inkpunk.road.plan import Plan

Guidance: TypeAlias = Callable[[Denoise, Denoise], Denoise]
"""Two ways to ask the model, a doubled batch under both prompts (the negative first) and a batch under the prompt
alone, to what the sampler asks. Called anew for each run, since guidance may remember the run's earlier steps."""

APG_THRESHOLD = 15 / 128
"""The longest difference that adaptive projected guidance leaves, over the square root of the latents' area: the
paper's 15 for Stable Diffusion XL's 128 x 128. Norms grow so, and a fixed one would bind large pictures alone."""


def plain_guidance(scale: float) -> Guidance:
    """Classifier-free guidance; a scale of 1 asks under the prompt alone."""
    return lambda both, prompt_alone: prompt_alone if scale == 1 else guide(both, scale)


def planned_guidance(plan: Plan, schedule: NoiseSchedule, prediction: str = "epsilon") -> Guidance:
    """What a plan asks for, laid around one another, of a model that predicts so."""
    request = plan.request
    if plan.guidance == 1:
        return plain_guidance(1.0)

    def guided(both: Denoise, prompt_alone: Denoise) -> Denoise:
        combine = classifier_free(plan.guidance)
        if request.apg:
            area = plan.width * plan.height / SIZE_MULTIPLE**2
            combine = projected(
                plan.guidance, schedule, threshold=APG_THRESHOLD * sqrt(area), prediction=prediction
            )
        if request.guidance_rescale:
            of_v = schedule if request.program.rescales_v else None  # of the model's own output
            combine = rescaled(combine, request.guidance_rescale, of_v, prediction)
        denoise = guide(both, combine)
        if request.guidance_interval is not None:
            denoise = within(denoise, prompt_alone, schedule, *request.guidance_interval)
        return denoise

    return guided


def is_guided(plan: Plan, schedule: NoiseSchedule, timestep: float) -> bool:
    """Tell whether a plan's prediction at a timestep is guided, which takes two of them."""
    low, high = plan.request.guidance_interval or (0.0, inf)
    return plan.guidance != 1 and low < schedule.sigma(timestep) <= high


def refuse_guidance_without_effect(plan: Plan, schedule: NoiseSchedule) -> None:
    """Refuse what would change nothing, once the model has said its scale and its noise levels.

    Raises:
        RequestError: if guidance is off, or its interval lies beside all noise levels.
    """
    plan.request.check_idle_guidance(plan.guidance)
    low, high = plan.request.guidance_interval or (0.0, inf)
    least, most = schedule.sigma(0), schedule.sigma(schedule.steps - 1)
    if low >= most or high < least:
        raise RequestError(
            f"guidance interval {low:g} to {high:g}: this model's noise levels (sigmas) are {least:.2f} to "
            f"{most:.1f}, so that nothing would be guided; 0.28 to 5.42 is usual"
        )
