"""What steers the UNet: contexts, which may change from step to step, and guidance between two of them."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from inkpunk_sampling import Denoise
from jaxtyping import Float
from torch import Tensor

from inkpunk.road.guidance import Guidance, plain_guidance
from inkpunk.road.road import Latents, Predict

Context: TypeAlias = Float[Tensor, "prompts tokens width"]
Contexts: TypeAlias = Callable[[float], Context]
"""A timestep to the context there: of the prompt alone, or of both prompts, the negative first. A context that comes
again is the same tensor again, so that what was computed from it need not be computed again."""

REPEATED = 8  # contexts of a run that are kept, repeated for its pictures: prompts that alternate have two


def constant(context: Context) -> Contexts:
    """The same context at every step."""
    return lambda timestep: context


def steered(contexts: Contexts, guidance: float | Guidance) -> Callable[[Predict], Denoise]:
    """Make of predictions what the sampler asks.

    Args:
        contexts: of the prompt alone where guidance is off, of negative prompt and prompt otherwise.
        guidance: the classifier-free guidance scale, where 1 is off; or another guidance.
    """
    guided = guidance if callable(guidance) else plain_guidance(guidance)

    def denoise(predict: Predict) -> Denoise:
        # Each context with what becomes of it for a batch, of both prompts or of the prompt alone: the same tensor at
        # every step. Holding the context keeps its identity from being given to another.
        repeated: OrderedDict[tuple[int, int, bool], tuple[Context, Tensor]] = OrderedDict()

        def repeat(context: Context, batch: int, alone: bool) -> Tensor:
            key = (id(context), batch, alone)
            found = repeated.pop(key, None)
            if found is None:
                rows = context[-1:] if alone else context
                found = (context, rows.repeat_interleave(batch // rows.shape[0], dim=0))
            repeated[key] = found  # as the latest
            if len(repeated) > REPEATED:
                repeated.popitem(last=False)
            return found[1]

        def both(latents: Latents, timestep: float) -> Latents:
            return predict(latents, timestep, repeat(contexts(timestep), latents.shape[0], alone=False))

        def prompt_alone(latents: Latents, timestep: float) -> Latents:
            return predict(latents, timestep, repeat(contexts(timestep), latents.shape[0], alone=True))

        return guided(both, prompt_alone)

    return denoise
