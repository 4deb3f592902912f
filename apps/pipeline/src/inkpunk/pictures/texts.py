"""A recipe by itself, as a file of text: AUTOMATIC1111's beside its pictures, or the workflow that ComfyUI saves."""

from pathlib import Path

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others.infotext import split
from inkpunk.pictures.others.plain import MOST_CHARACTERS, is_object
from inkpunk.pictures.recipe import Recipe

MOST_BYTES = 4 * MOST_CHARACTERS
ENDINGS = (".txt", ".json")


def read_text(path: Path) -> Recipe | None:
    """The recipe that a file of text holds; None for any other file, which is not read.

    Raises:
        PictureError: for a file that is named as text and holds no recipe.
    """
    try:
        if path.suffix.lower() not in ENDINGS or not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        text = data.decode("utf-8-sig") if len(data) <= MOST_BYTES else ""
    except UnicodeDecodeError:
        text = ""
    for name in _names(text):
        return Recipe(path.suffix[1:].upper(), 0, 0, {name: text})
    raise PictureError(
        f"{path}: text, but no recipe that is known here: neither AUTOMATIC1111's infotext, nor a workflow of "
        "ComfyUI's, nor a recipe of inkpunk's"
    )


def _names(text: str) -> list[str]:
    """What a text would be called in a picture: by what it holds."""
    if is_object(text):
        told = {"inkpunk": '"model_hash"', "workflow": '"nodes"', "prompt": '"class_type"'}
        return [name for name, sign in told.items() if sign in text][:1]
    try:
        split(text)
    except PictureError:
        return []
    return ["parameters"]
