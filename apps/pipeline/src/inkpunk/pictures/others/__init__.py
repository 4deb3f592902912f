"""Other programs' recipes, read as orders: AUTOMATIC1111 and Forge, ComfyUI, InvokeAI, NovelAI; a file a program.

told = values_of_others("theirs.png")
told.program                       # "AUTOMATIC1111 1.10.1"
Order.read(told.values)            # an order like any other
told.not_understood                # what of the recipe is not followed, in words
"""

from pathlib import Path

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others.a1111 import read_a1111
from inkpunk.pictures.others.comfyui import read_comfyui
from inkpunk.pictures.others.invokeai import read_dream, read_metadata, read_sd_metadata
from inkpunk.pictures.others.novelai import read_novelai
from inkpunk.pictures.others.plain import is_object
from inkpunk.pictures.others.told import Told
from inkpunk.pictures.recipe import Recipe, read_recipe

__all__ = ["Told", "read_others", "values_of_others"]


def values_of_others(path: str | Path) -> Told:
    """Read a picture of another program. Pixels are not decoded.

    Raises:
        PictureError: for a file that is no picture, one without a recipe, or with one that cannot be read.
    """
    try:
        return read_others(read_recipe(Path(path)))
    except PictureError as error:
        raise PictureError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def read_others(recipe: Recipe) -> Told:
    """Read a recipe of another program; of our own, its infotext.

    What it asks for is in `values`, what of it is not followed in `not_understood`, and what it was drawn with and
    does not hold in `needs`. A stranger's text cannot make it take long, nor name files beyond its program's folders.

    Raises:
        PictureError: in one line, for one that no program known here wrote, or a damaged one.
    """
    texts = recipe.texts
    size = recipe.width, recipe.height
    if is_object(texts.get("parameters", "")):  # as some write ComfyUI's graph into a JPEG
        try:
            return read_comfyui(texts["parameters"], None, size)
        except PictureError as error:
            raise PictureError("its recipe is JSON of a program that is not known here") from error
    if "inkpunk" not in texts and ("prompt" in texts or "workflow" in texts):
        try:
            return read_comfyui(texts.get("prompt"), texts.get("workflow"), size)
        except PictureError:
            if "parameters" not in texts:  # which some of its nodes write, too
                raise
    if "parameters" in texts:
        return read_a1111(texts["parameters"])
    if "invokeai_metadata" in texts:
        return read_metadata(texts["invokeai_metadata"])
    if "sd-metadata" in texts:
        return read_sd_metadata(texts["sd-metadata"])
    if "Dream" in texts:
        return read_dream(texts["Dream"])
    if "Comment" in texts:
        return read_novelai(texts)
    raise PictureError(
        "it holds no recipe: it was drawn without one, or saved again by a program that drops it"
    )
