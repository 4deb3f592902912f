"""Between two prompts: what steers is part of one's context and part of the other's.

On the straight line, not on a sphere: cross-attention reads a context through layers that are linear, so that halfway
the UNet finds the mean of both prompts' keys and values, token by token; and contexts, unlike noise, do not lie in a
thin shell that the mean would leave.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from inkpunk.road.plan import Plan
from inkpunk.road.prompts import REPEATED, Context, Contexts, Steering

Join = Callable[[Sequence[Float[Tensor, "_ width"]]], Context]


def blended(contexts: Contexts, others: Contexts, amount: float, join: Join) -> Contexts:
    """Contexts that go part of the way to other prompts'; negative prompts stay.

    What steers twice is the same object twice, as it is without.

    Args:
        contexts: of the prompts, and of the negative ones.
        others: of the other prompts, for as many pictures, or of one for all.
        amount: 0, exactly the first, to 1, exactly the others.
        join: makes contexts equally long, and lays them side by side.
    """
    known: OrderedDict[tuple[int, int], tuple[Steering, Steering, Steering]] = OrderedDict()

    def between(timestep: float) -> Steering:
        one, other = contexts(timestep), others(timestep)
        key = id(one), id(other)
        # holding both keeps their ids from being given to others
        found = known.pop(key, None) or (one, other, _between(one, other, amount, join))
        known[key] = found  # as the latest
        if len(known) > REPEATED:
            known.popitem(last=False)
        return found[2]

    return between


def blended_plan(plan: Plan) -> Plan:
    """The plan of the other prompts alone."""
    request = plan.request
    texts = tuple(
        (request.blended_with(seed), negative)
        for seed, (_, negative) in zip(request.seeds, plan.texts, strict=True)
    )
    return replace(plan, request=replace(request, blend=None), texts=texts)


def _between(one: Steering, other: Steering, amount: float, join: Join) -> Steering:
    negatives = () if one.negative is None else tuple(one.negative)
    joined = join([*one.prompt, *negatives, *other.prompt])
    prompt, negative, there = torch.split(joined, [len(one.prompt), len(negatives), len(other.prompt)])
    return Steering(torch.lerp(prompt, there, amount), negative if negatives else None)
