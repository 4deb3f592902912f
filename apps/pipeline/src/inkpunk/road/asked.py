"""What was asked for and a plan does not tell any more, so that a recipe tells it beside the plan."""

from inkpunk.pictures.numbers import exact
from inkpunk.request import Request


def asked_of(request: Request) -> dict[str, str]:
    """Of a picture that is enlarged, or drawn anew in part, what its plan does not tell; by the names of options.

    Of any other a plan tells what draws it again: its size and sampler are those that were asked for, or as good.
    Here they follow from each other: a second pass has a spacing of its own where none was asked for, and what a
    model sees of a picture has no size that one could ask for.
    """
    enlarge = request.enlarging
    told: dict[str, str | float | None] = {}
    if enlarge is not None:
        told = {
            "enlarge": enlarge.told,
            "enlarge-by": enlarge.by,
            "enlarge-strength": enlarge.strength,
            "enlarge-steps": enlarge.steps,
            "enlarge-sampler": enlarge.sampler,
            "sampler": request.sampler,
            "spacing": request.spacing,
            "eta": request.eta,
        }
    if enlarge is not None or request.is_edit:
        told |= {"width": request.width, "height": request.height}
    return {
        name: value if isinstance(value, str) else exact(float(value))
        for name, value in told.items()
        if value is not None
    }
