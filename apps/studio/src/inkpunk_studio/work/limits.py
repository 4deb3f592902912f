"""What may be asked of the desk: which options, and how much of each."""

from pathlib import Path, PurePath

from inkpunk.orders.options import FILE, REQUEST
from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError
from inkpunk.request import Request

from inkpunk_studio.settings import Settings

NETWORKS = ("control-net", "ip-adapter", "image-encoder")
"""Options that name networks beside the model, among those listed."""
ACCEPTED = {*REQUEST, *FILE, "model", "lora", *NETWORKS} - {"wildcards"}
"""Options that an order may have. Where and how models are loaded is for who starts the studio to say."""
PROMPTS = ("prompt", "negative", "blend")


def check_order(order: Order, settings: Settings) -> None:
    """Check what an order says, before anything that it names is read.

    Raises:
        OrderError: for an option that is not the asker's to choose, no seed, too many steps, or too long a prompt.
    """
    if refused := sorted({*order.values} - ACCEPTED):
        raise OrderError(f"{', '.join(refused)}: is chosen where the studio is started; leave it out")
    if order.seed is None:
        raise OrderError("there is no seed, so that it is not one picture; give one, as 7")
    for name in ("steps", "enlarge-steps"):
        steps = order.values.get(name)
        if isinstance(steps, int) and steps > settings.most_steps:
            raise OrderError(f"{name} {steps}: must be at most {settings.most_steps} here; 16 to 50 is usual")
    for name in (*PROMPTS, "region"):
        value = order.values.get(name, "")
        for text in value if isinstance(value, tuple) else (str(value),):
            if len(text) > settings.most_prompt:
                raise OrderError(f"{name}: {len(text):,} characters; at most {settings.most_prompt:,} here")


def check_request(request: Request, settings: Settings, side: int) -> None:
    """Check what a request would have drawn.

    Args:
        request: of one picture.
        settings: what may be asked.
        side: in pixels, of the squares that its model draws where nothing is said.

    Raises:
        OrderError: for too large a picture, or an adapter that is called by a path.
        RequestError: for a size or a prompt that cannot be.
    """
    for width, height in _sizes(request, side):
        if width * height > settings.most_pixels:
            raise OrderError(
                f"{width}x{height}: is larger than {settings.most_pixels:,} pixels, the most here; ask for less"
            )
    for lora in request.asked_of(request.seeds[0])[1]:
        check_plain_name("lora", str(lora.file))


def check_plain_name(option: str, name: str) -> str:
    """Let pass a name that is no path.

    Raises:
        OrderError: for any other.
    """
    if name in ("", ".", "..") or any(each in name for each in "/\\:\0") or PurePath(name).name != name:
        raise OrderError(f"{option} {name[:60]!r}: is no name; call it by its file's name, without a folder")
    if Path(name).exists():  # where the studio was started: it would be taken for a path
        raise OrderError(f"{option} {name[:60]!r}: is not among those listed")
    return name


def _sizes(request: Request, side: int) -> list[tuple[int, int]]:
    from inkpunk.road.sizes import size_for

    sizes = [size_for(request, side)]
    if request.picture is not None:
        sizes.append(request.picture.size)
    if request.extending and request.picture is not None:
        grown = request.extending
        width, height = request.picture.size
        sizes.append((width + grown.left + grown.right, height + grown.top + grown.bottom))
    if request.enlarging is not None:
        sizes.append(request.enlarging.size_of(sizes[0]) if request.picture is None else sizes[0])
    return sizes
