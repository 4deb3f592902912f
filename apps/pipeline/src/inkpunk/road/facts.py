"""What a plan tells of its pictures, whatever model draws them."""

from collections import Counter
from typing import Any

from PIL import Image

from inkpunk.pictures.numbers import exact
from inkpunk.pictures.paths import path_of
from inkpunk.pictures.pixels import alpha_hash, image_hash
from inkpunk.road.asked import asked_of
from inkpunk.road.control import Control
from inkpunk.road.plan import Plan


def by_kind(plan: Plan) -> dict[str, Control]:
    """A plan's controls, by what pictures call them; of several of a kind, the second has a 2 behind it."""
    found, times = dict[str, Control](), Counter[str]()
    for each in plan.request.followed:
        times[each.kind] += 1
        found[each.kind if times[each.kind] == 1 else f"{each.kind} {times[each.kind]}"] = each
    return found


def _paths(plan: Plan) -> dict[str, str]:
    """Where the pictures came from that a plan was given."""
    request = plan.request
    given = {
        "init": request.init if isinstance(request.init, Image.Image) else None,
        "mask": request.changing,
        **{f"control {kind}": each.kept for kind, each in by_kind(plan).items()},
        **{f"image prompt {place}": each.kept for place, each in enumerate(request.shown, 1)},
        **{f"region {place}": each.kept for place, each in enumerate(request.placed, 1)},
    }
    return {name: path for name, image in given.items() if (path := path_of(image)) is not None}


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
        "controls": {name: each.told for name, each in by_kind(plan).items()},
        "control_hints": dict(zip(by_kind(plan), map(image_hash, plan.hints), strict=True)),
        "guess": request.guess,
        "tileable": request.tileable,
        "blend": f"{request.blended_with(seed)}:{request.blended[1]}" if request.blended else None,
        "vary": "{}:{}".format(*request.varied) if request.varied else None,
        "seed_resize": "{}x{}".format(*request.resized) if request.resized else None,
        "image_prompts": {str(place): exact(each.weight) for place, each in enumerate(request.shown, 1)},
        "image_prompt_hashes": {
            str(place): image_hash(each.kept) for place, each in enumerate(request.shown, 1)
        },
        "tile_size": request.tile_size,
        "asked": asked_of(request),
        "paths": _paths(plan),
        "resize": request.resize if plan.start or plan.hints else "fill",
        "match_colours": request.match_colours,
        "alpha_hash": alpha_hash(plan.alpha) if request.keep_alpha and plan.alpha else None,
        "init_hash": image_hash(plan.start) if plan.start else None,
        "mask_hash": image_hash(request.changing) if request.changing else None,
        "masked_content": request.masked_content if plan.canvas else None,
        "only_masked": request.only_masked,
        "extend": str(request.extending) or None,
        "regions": {str(place): prompt for place, prompt in enumerate(request.regions_of(seed), 1)},
        "region_masks": {str(place): image_hash(each.kept) for place, each in enumerate(request.placed, 1)},
    }
