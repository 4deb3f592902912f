"""What a plan tells of its pictures, whatever model draws them."""

from typing import Any

from inkpunk.pictures.pixels import image_hash
from inkpunk.request import Plan


def facts_of(plan: Plan, seed: int) -> dict[str, Any]:
    """The fields of `Facts` that a plan's picture of a seed has from its request."""
    request = plan.request
    prompt, negative_prompt = request.chosen(seed)
    return {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "steps": plan.steps,
        "sampler": plan.sampler,
        "spacing": plan.spacing,
        "guidance": plan.guidance,
        "seed": seed,
        "width": plan.width,
        "height": plan.height,
        "strength": request.strength if plan.start else None,
        "guidance_rescale": float(request.guidance_rescale),
        "guidance_interval": request.guidance_interval,
        "apg": request.apg,
        "eta": None if plan.eta is None else float(plan.eta),
        "like": request.like,
        "clip_skip": plan.clip_skip,
        "emphasis": request.language.emphasis,
        "plain_prompt": request.plain_prompt,
        "init_hash": image_hash(plan.start) if plan.start else None,
    }
