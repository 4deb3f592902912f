"""Pictures' tokens in what steers: they travel in the context, behind the prompt's.

Ye et al. 2023, IP-Adapter (arXiv 2308.06721).
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from inkpunk_unet import Residuals
from jaxtyping import Float
from torch import Tensor

from inkpunk.models.image_prompts import OpenImagePrompt
from inkpunk.pictures.facts import PictureError
from inkpunk.road.errors import RequestError
from inkpunk.road.plan import Plan
from inkpunk.road.prompts import REPEATED, Context, Contexts, Steering
from inkpunk.road.road import Latents
from inkpunk.speed.pictures import Cut


@dataclass(frozen=True, eq=False)
class Seen:
    """What pictures become for the UNet, laid end to end.

    Attributes:
        tokens: what they say.
        blank: as many that say nothing, which stand beside negative prompts.
    """

    tokens: Float[Tensor, "tokens width"]
    blank: Float[Tensor, "tokens width"]


def seen_of(plan: Plan, prompt: OpenImagePrompt) -> Seen:
    """What a plan's image prompts become, by what sees them.

    Raises:
        RequestError: for a picture that is too long for its width.
    """
    try:
        tokens = [prompt.tokens(each.kept) for each in plan.request.shown]
    except PictureError as error:
        raise RequestError(str(error)) from error
    return Seen(torch.cat(tokens), prompt.tokens(None).repeat(len(tokens), 1))


def prompted(contexts: Contexts, seen: Seen) -> Contexts:
    """Contexts that tell of pictures as well: behind every prompt, and every part of one, stand their tokens.

    What steers twice is the same object twice, as it is without pictures.
    """
    known: OrderedDict[int, tuple[Steering, Steering]] = OrderedDict()

    def with_pictures(timestep: float) -> Steering:
        plain = contexts(timestep)
        # holding the plain one keeps its id from being given to another
        found = known.pop(id(plain), None) or (plain, _with_tokens(plain, seen))
        known[id(plain)] = found  # as the latest
        if len(known) > REPEATED:
            known.popitem(last=False)
        return found[1]

    return with_pictures


def _with_tokens(plain: Steering, seen: Seen) -> Steering:
    negative = None if plain.negative is None else _behind(plain.negative, seen.blank)
    return Steering(_behind(plain.prompt, seen.tokens), negative, plain.parts)


def _behind(context: Context, seen: Float[Tensor, "seen width"]) -> Float[Tensor, "rows all_tokens width"]:
    return torch.cat([context, seen.to(context).expand(len(context), -1, -1)], dim=1)


def by_words_alone(
    tell: Callable[[Latents, float, Context], Residuals], tokens: int
) -> Callable[[Latents, float, Context], Residuals]:
    """A control network that is told the prompt alone, and not the pictures' tokens, which it cannot read."""
    cut = Cut(tokens)
    return lambda latents, timestep, context: tell(latents, timestep, cut(context)[0])
