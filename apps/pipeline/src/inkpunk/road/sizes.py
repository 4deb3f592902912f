"""In which size a request is drawn, by a model that draws best in squares of a side."""

from inkpunk.pictures.canvas import Canvas, canvas_of
from inkpunk.pictures.fitting import drawn_size
from inkpunk.request import Request


def canvas_for(request: Request, side: int) -> Canvas | None:
    """The picture that a request draws a part of anew; None for one that asks for nothing of the kind.

    Args:
        request: what is asked for.
        side: in pixels, of the squares that the model draws best.
    """
    if not request.is_edit or request.picture is None:
        return None
    return canvas_of(
        request.picture,
        request.changing,
        request.extending,
        side,
        padding=request.only_masked,
        asked=(request.width, request.height),
        resize=request.resize,
        content=request.masked_content,
    )


def size_for(request: Request, side: int) -> tuple[int, int]:
    """The width and height that a request is drawn in; of one that is enlarged, by its first pass."""
    if canvas := canvas_for(request, side):
        return canvas.size
    picture, enlarge = request.shaping, request.enlarging
    if enlarge is not None and request.picture is not None:  # which is there: no first pass
        width, height = enlarge.size_of(request.picture.size)
        return request.width or width, request.height or height
    shape = (enlarge and enlarge.size) or (picture and picture.size)
    if shape is None:
        return request.width or side, request.height or side
    return drawn_size(shape, side, request.width, request.height, resize=request.resize)
