"""What is done to a drawn picture after it was decoded: its start's colours, what was held of it, and its alpha."""

from PIL import Image

from inkpunk.pictures.colours import match_colours
from inkpunk.request import Request
from inkpunk.road.errors import RequestError
from inkpunk.road.plan import Plan


def finished(plan: Plan, image: Image.Image) -> Image.Image:
    """A plan's decoded picture, 8-bit RGB, as it is given to the user: RGB, or RGBA where alpha is kept.

    Of a picture of which a part was drawn anew it is the whole.
    """
    request, canvas = plan.request, plan.canvas
    if request.match_colours and plan.start is not None:
        image = match_colours(image, plan.start)
    if canvas is not None:
        image = canvas.pasted(image)
    if request.keep_alpha and plan.alpha is not None:
        image = image.copy()
        image.putalpha(plan.alpha)
    return image


def refuse_idle_finishing(request: Request) -> None:
    """Refuse what is asked of a picture to start from that it does not have.

    Raises:
        RequestError: for colours to match without it, and alpha to keep where it is opaque.
    """
    idle = "match colours" if request.match_colours else "keep alpha" if request.keep_alpha else None
    if idle and request.picture is None:
        raise RequestError(f"{idle}: there is no picture to start from; give one as init, or leave it out")
    if request.keep_alpha and request.alpha is None:
        raise RequestError(
            "keep alpha: the init picture is wholly opaque; leave it out, or give one that is not"
        )
