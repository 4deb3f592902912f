"""What a plan begins from: noise alone, a picture, or one of which a part is drawn anew."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from inkpunk_sampling import NoiseSchedule
from jaxtyping import Float
from torch import Tensor

from inkpunk.pictures.canvas import cells
from inkpunk.pictures.fitting import SIZE_MULTIPLE
from inkpunk.pictures.pixels import image_to_tensor
from inkpunk.road.image_to_image import from_image, from_latents
from inkpunk.road.inpainting import pictures_of_rows, told_of_the_mask
from inkpunk.road.masks import Change, Masked, begun_under, held_to
from inkpunk.road.plan import Plan
from inkpunk.road.prompts import step_finder
from inkpunk.road.road import Images, Latents, Road
from inkpunk.road.variation import varied


def begin(
    road: Road,
    plan: Plan,
    images: Callable[[], Images],
    *,
    encode: Callable[[Images, Latents], Latents],
    schedule: NoiseSchedule,
    prediction: str,
    inpaints: bool,
    parts: Sequence[int],
) -> Road:
    """Lay a plan's beginning around a road.

    Args:
        road: to wrap.
        plan: what is drawn.
        images: makes those that it begins from, if it does, in [-1, 1], one for each picture.
        encode: images, and noise to choose among their encodings by, to latents.
        schedule, prediction: of the model.
        inpaints: whether it is one that sees masks.
        parts: of composed prompts, the picture that each part belongs to; else none.
    """
    request, pictures = plan.request, len(plan.texts)
    drawn = request.program.draws_encoding
    change, known, masked = _change(plan), None, None
    encoded = plan.start is not None or plan.begins is not None
    if isinstance(plan.begins, Tensor):
        encoded, road = False, from_latents(road, plan.begins, request.strength)
    elif encoded and plan.canvas is None:
        road = from_image(road, images, request.strength, encode, drawn=drawn)
    elif plan.canvas is not None:
        masked = Masked(images, change, plan.canvas.content, request.strength)
        holds = not inpaints or bool(((change > 0) & (change < 1)).any())
        encoded = holds or request.strength < 1
        if encoded:
            road, known = begun_under(road, masked, encode, drawn)
        masked = masked if holds else None
    if request.vary is not None or request.seed_resize is not None:
        road = varied(road, plan, first=1 if encoded and drawn else 0)
    if masked is not None and known is not None:
        finder, steps = step_finder(plan, schedule), len(plan.path) - 1
        road = held_to(road, masked, known, schedule, prediction, finder, steps, drawn)
    if inpaints:
        road = told_of_the_mask(
            road,
            lambda: _left(plan).expand(pictures, -1, -1, -1),
            change.round(),
            encode,
            drawn=drawn,
            pictures_of=pictures_of_rows(pictures, parts),
        )
    return road


def _change(plan: Plan) -> Change:
    """How much of each cell of the latents is drawn anew; without a mask, all."""
    if plan.canvas is None:
        return torch.ones(1, 1, plan.height // SIZE_MULTIPLE, plan.width // SIZE_MULTIPLE)
    return torch.tensor(cells(plan.canvas.mask, plan.request.program.mask_cells))[None, None]


def _left(plan: Plan) -> Float[Tensor, "3 height width"]:
    """What a mask leaves of a picture; without one, nothing."""
    if plan.canvas is None:
        return torch.zeros(3, plan.height, plan.width)
    masked = torch.tensor(np.asarray(plan.canvas.mask) >= 128)
    return image_to_tensor(plan.canvas.shown).masked_fill(masked, 0)
