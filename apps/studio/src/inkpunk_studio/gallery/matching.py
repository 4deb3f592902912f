"""The model of a recipe, among those that are listed here."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from inkpunk.models.finding import alike

from inkpunk_studio.gallery.recipes import Opened
from inkpunk_studio.work.models import Known


def model_of(opened: Opened, listed: Sequence[Known]) -> str | None:
    """The listed name of the model that drew a picture: by its hash, else by its name; None if it is not here.

    Nothing that the recipe names is opened.
    """
    digits, name = opened.model_hash.lower(), opened.model
    for each in listed:
        if digits and each.hash and alike(digits, each.hash):
            return each.name
    stem = name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".safetensors").removesuffix(".ckpt")
    for each in listed:
        if stem and stem in (each.name, PurePosixPath(each.name).name):
            # one of the same name that is known to be another is not it
            return None if digits and each.hash else each.name
    return None
