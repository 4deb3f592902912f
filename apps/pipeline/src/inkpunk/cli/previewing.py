"""Previews while a picture is drawn: in a file, and in terminals that can show pictures."""

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from inkpunk.cli.destinations import is_picture_name

if TYPE_CHECKING:
    from inkpunk_sampling import Step
    from PIL import Image
    from rich.console import RenderableType

EVERY = 5  # steps: so those of a tiny autoencoder add 3 % at most to a full-size drawing (benchmark_previews)
NAME = "preview.png"
MARK = "inkpunk preview"
"""The key of the text in a preview's file, which tells it from a picture of the user's."""
SIDE = 256  # pixels that the longer side of a preview has at least: one pixel a latent is little to look at
COLUMNS = 24  # of a terminal, that a preview takes


class _Every(click.IntRange):
    """How many steps lie between previews; what follows is often the prompt, when it is left out."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            self.fail(f"{error.message} Write --preview={EVERY}, or --preview as the last word.", param, ctx)


PREVIEW_OPTION = click.option(
    "--preview",
    is_flag=False,
    flag_value=EVERY,
    type=_Every(1),
    metavar="[EVERY]",
    help=f"After each EVERY steps ({EVERY}), show what becomes of the picture: in {NAME} in --out, or beside it, "
    "while it is drawn, and in terminals that can show pictures. Rough colours, but with --tiny-vae.",
)


class Show(Protocol):
    """Shows a step; gives what a terminal can print of it, or nothing."""

    def __call__(self, step: "Step") -> "RenderableType | None":
        """Show it, if its turn has come."""
        ...


def place_of(out: Path) -> Path:
    """Where the previews of pictures that go to `out` are written: in the folder, or beside the file.

    Raises:
        click.ClickException: something else is there.
    """
    place = out.with_name(f"{out.stem}.{NAME}") if is_picture_name(out) else out / NAME
    if place.exists() and not _is_preview(place):
        raise click.ClickException(
            f"{place}: exists already, and is no preview; move it, or leave out --preview"
        )
    return place


def _is_preview(place: Path) -> bool:
    from PIL.PngImagePlugin import PngImageFile

    try:
        if not place.is_file():  # opening a pipe waits for whoever writes to it
            return False
        with PngImageFile(
            place
        ) as image:  # not Image.open, which judges the size of pixels that nobody asks for
            return MARK in image.info
    except Exception:  # whatever it is, it was not made here
        return False


@contextmanager
def previews(place: Path, every: int, draw: Callable[["Step"], Sequence["Image.Image"]]) -> Generator[Show]:
    """Preview each `every` steps but the last, of which the picture itself comes; in the end the file is gone.

    Args:
        place: the file, which is replaced whole each time.
        every: steps.
        draw: makes the pictures of a step.
    """
    in_terminal = terminal_picture()

    def show(step: "Step") -> "RenderableType | None":
        if step.index % every or step.index == step.total:
            return None
        image = side_by_side(draw(step))
        write(image, place)
        return in_terminal(image) if in_terminal else None

    try:
        yield show
    finally:
        with suppress(OSError):
            place.unlink(missing_ok=True)


def side_by_side(images: Sequence["Image.Image"]) -> "Image.Image":
    """The pictures of a batch as one, from left to right, each made large enough to be looked at."""
    from PIL import Image

    times = max(1, -(-SIDE // max(images[0].size)))
    width, height = (times * side for side in images[0].size)
    row = Image.new("RGB", (width * len(images), height))
    for place, image in enumerate(images):
        row.paste(image.resize((width, height), Image.Resampling.BICUBIC), (place * width, 0))
    return row


def write(image: "Image.Image", place: Path) -> None:
    """Replace the file, so that whoever watches it never sees half of one."""
    from io import BytesIO

    from PIL.PngImagePlugin import PngInfo

    from inkpunk.pictures.atomic import write_atomically

    text, buffer = PngInfo(), BytesIO()
    text.add_text(MARK, "it is gone when the picture is there")
    image.save(
        buffer, format="png", pnginfo=text, compress_level=1
    )  # a tenth of the usual time, a tenth larger
    write_atomically(place, buffer.getvalue(), overwrite=True)


def terminal_picture() -> Callable[["Image.Image"], "RenderableType"] | None:
    """What makes a picture printable, where a terminal is there that can show one; else None.

    A terminal is asked by a question that it answers as if typed: so none is put to a pipe, or to one that says it is
    dumb.
    """
    from rich.console import Console

    console = Console(stderr=True)
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    if (
        not console.is_terminal
        or console.is_dumb_terminal
        or not all(each and each.isatty() for each in streams)
    ):
        return None
    try:
        from textual_image.renderable import Image, SixelImage, TGPImage  # which asks as it is imported
    except ImportError:  # the extra `terminal` is not installed
        return None
    if Image not in (SixelImage, TGPImage):  # half blocks and the like: the file shows more
        return None
    return lambda image: Image(image, width=COLUMNS, height="auto")
