"""Which files of weights a user gave, as far as a recipe may tell of it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from inkpunk.models.hub import SKETCH, short_name
from inkpunk.models.loras import OpenLora, by_name
from inkpunk.models.model import Model
from inkpunk.road.facts import by_kind
from inkpunk.road.plan import Plan


def shown(given: str | Path | None) -> str | None:
    """A hub id, or a path below the working folder, as it was given; None for any other path.

    Where a user keeps files is no business of those who get a picture: they find them by hash.
    """
    if given is None:
        return None
    name = short_name(str(given))
    path = Path(name)
    try:
        there = path.exists()
    except (OSError, ValueError):  # no name of a file: too long, or with a NUL
        return None
    below = not path.is_absolute() and ".." not in path.parts and not name.startswith("~")
    return (path.as_posix() if there else name) if below else None


def given_files(
    model: Model, plan: Plan, loras: Iterable[OpenLora], words: Iterable[str]
) -> Mapping[str, str]:
    """`Facts.weights` of a plan's pictures.

    Args:
        model: what draws them.
        plan: what is drawn.
        loras: all adapters, those of the prompt too.
        words: the learned words in its prompts.
    """
    nets = model.control_nets.told if model.control_nets else {}
    prompts, enlarge = model.image_prompts, plan.request.enlarging
    given: dict[str, str | Path | None] = {
        "model": None if model.name == SKETCH else model.path,
        **{f"lora {name}": lora.asked.file for name, lora in by_name(loras).items()},
        **{f"embedding {word}": model.learned.paths[word] for word in words},
        **{f"control {name}": nets.get(each.kind) for name, each in by_kind(plan).items()},
        "adapter": prompts.adapter if prompts and plan.request.shown else None,
        "encoder": prompts.encoder if prompts and plan.request.shown else None,
        "tiny vae": model.tiny_vae.given if model.tiny_vae and plan.request.draft else None,
        "upscaler": enlarge and enlarge.upscaler,
    }
    return {name: told for name, each in given.items() if (told := shown(each)) is not None}
