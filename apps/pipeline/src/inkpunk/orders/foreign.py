"""A picture of another program, drawn by its recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inkpunk.models.finding import HashError, find, read_hash
from inkpunk.models.hub import SKETCH
from inkpunk.orders.order import Order
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others import Told, values_of_others


@dataclass(frozen=True)
class Foreign:
    """What another program's picture takes to be drawn. Make one with `recall_other`.

    Attributes:
        path: the picture.
        told: its recipe, and what of it is not followed.
        order: what is asked for; as no program rounds as another, the same picture nearly, and never to the bit.
    """

    path: Path
    told: Told
    order: Order


def recall_other(
    path: str | Path, changes: Mapping[str, object] | None = None, models: Sequence[str | Path] = ()
) -> Foreign:
    """Read another program's picture as an order, and find its model: by its hash, or where its name says.

    Args:
        path: the picture.
        changes: what is told anew, as `Order.changed` takes it; what the recipe names and does not hold, too.
        models: folders to look in for a model that was not hashed before.

    Raises:
        PictureError: for a picture without a recipe that is known; for a model that is not found.
        OrderError: for changes that cannot be.
    """
    told = values_of_others(path)
    changed = {name.replace("_", "-"): value for name, value in (changes or {}).items()}
    values = {**told.values, **(told.waiting if {"init", "mask"} & {*changed} else {})}
    if "model" not in changed:
        values["model"] = _model(Path(path), told, [Path(each) for each in models])
    return Foreign(Path(path), told, Order.read(values).changed(changed))


def _model(path: Path, told: Told, folders: Sequence[Path]) -> str:
    name = str(told.values.get("model", ""))
    try:
        found = find(read_hash(told.model_hash), Path(name).stem, folders)
    except HashError:  # its recipe has none
        found = None
    if found is not None:
        return str(found)
    if name == SKETCH or Path(name).is_file():
        return name
    which = f"{name or 'of no name'} [{told.model_hash or 'no hash'}]"
    raise PictureError(
        f"{path}: its model, {which}, is not among the files that were hashed before; give it as --with model=FILE, "
        "or a folder to look in as --models FOLDER"
    )
