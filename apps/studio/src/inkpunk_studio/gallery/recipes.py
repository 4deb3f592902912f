"""What pictures say of how they were drawn, read when it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inkpunk.orders.values import Value
from inkpunk.pictures.comparing import saved_as
from inkpunk.pictures.facts import Facts, PictureError
from inkpunk.pictures.others import Told, read_others
from inkpunk.pictures.recipe import Recipe, read_recipe
from inkpunk.road.recalling import values_of

from inkpunk_studio.work.attachments import PICTURE_OPTIONS
from inkpunk_studio.work.limits import ACCEPTED

OURS, THEIRS = "inkpunk", "parameters"


@dataclass(frozen=True)
class Opened:
    """What a picture says of how it was drawn.

    Attributes:
        path: its file.
        format: "PNG", "JPEG", "WEBP" or "AVIF".
        width, height: in pixels.
        program: which one drew it; "" where nobody knows.
        values: what an order would say, but for its model and for pictures that it was drawn from.
        infotext: its recipe as AUTOMATIC1111 writes it, or as its program did; "" without one.
        model: what its model is called there, and `model_hash` its first digits; "" where it does not say.
        notes: what of it cannot be taken over, a line each.
        facts: all that is told of one of ours; None of another.
    """

    path: Path
    format: str
    width: int
    height: int
    program: str
    values: Mapping[str, Value]
    infotext: str
    model: str
    model_hash: str
    notes: tuple[str, ...]
    facts: Facts | None

    @property
    def prompt(self) -> str:
        """Its prompt; "" without one."""
        return str(self.values.get("prompt", ""))


def open_picture(path: Path) -> Opened:
    """Read a picture's recipe, ours or another program's; of one that has none, a note says so. No pixel is decoded.

    No path that a recipe names is looked at: it may come from a stranger.

    Raises:
        PictureError: for a file that is no picture, or damaged.
    """
    recipe = read_recipe(path)
    if OURS in recipe.texts:
        try:
            return _ours(path, recipe)
        except PictureError as error:
            refusal = str(error)
    else:
        try:
            return _theirs(path, recipe, read_others(recipe))
        except PictureError as error:
            refusal = str(error)
    return _opened(path, recipe, "", {}, "", "", (refusal,), None)


def _ours(path: Path, recipe: Recipe) -> Opened:
    facts = Facts.from_json(recipe.texts[OURS])
    notes, values = list[str](), dict[str, Value](values_of(facts, PICTURE_OPTIONS))
    given = _given(facts)
    if given:
        notes.append(f"It was drawn from other pictures ({', '.join(given)}): give them again in Edit.")
    form, quality = saved_as(path, facts)
    if form != "png":
        values |= {"format": form} if quality is None else {"format": form, "quality": quality}
    if facts.loras:
        values["lora"] = tuple(f"{name}:{weight}" for name, weight in facts.loras.items())
    return _opened(
        path, recipe, f"inkpunk {facts.version}", values, facts.model, facts.model_hash, tuple(notes), facts
    )


def _given(facts: Facts) -> tuple[str, ...]:
    """What pictures one of ours was drawn from."""
    told = {
        "init": facts.init_hash,
        "mask": facts.mask_hash,
        "control": facts.controls,
        "image prompt": facts.image_prompts,
        "region": facts.regions,
    }
    return tuple(name for name, value in told.items() if value)


def _theirs(path: Path, recipe: Recipe, told: Told) -> Opened:
    values = {name: value for name, value in told.values.items() if name != "model"}
    model = str(told.values.get("model", ""))
    notes = (
        *(f"Not followed: {each}" for each in told.not_understood),
        *(f"It needs {each}" for each in told.needs),
    )
    return _opened(path, recipe, told.program, values, model, told.model_hash, notes, None)


def _opened(
    path: Path,
    recipe: Recipe,
    program: str,
    values: Mapping[str, Value],
    model: str,
    model_hash: str,
    notes: tuple[str, ...],
    facts: Facts | None,
) -> Opened:
    known = {name: value for name, value in values.items() if name in ACCEPTED}
    shown = recipe.texts.get(THEIRS) or "\n".join(
        f"{name}: {text}" for name, text in recipe.texts.items() if name != OURS
    )
    return Opened(
        path,
        recipe.format,
        recipe.width,
        recipe.height,
        program,
        known,
        shown,
        model,
        model_hash,
        notes,
        facts,
    )
