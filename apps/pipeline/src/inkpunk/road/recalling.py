"""From what a picture remembers to what it was asked for: the other way round of `inkpunk.road.facts`."""

from collections.abc import Callable, Collection, Iterator, Mapping

from inkpunk_sampling import SAMPLERS

from inkpunk.pictures.facts import Facts, PictureError
from inkpunk.road.programs import PROGRAMS

Plain = str | int | float | bool | tuple[str, ...]

ASKED = (
    *("enlarge", "enlarge-by", "enlarge-strength", "enlarge-steps", "enlarge-sampler"),
    *("sampler", "spacing", "eta", "width", "height"),
)
"""What `Facts.asked` may tell, by the names of options; whatever else a stranger says there is passed over."""


def values_of(facts: Facts, told: Collection[str] = ()) -> dict[str, Plain]:
    """What a picture was asked for, but for its model: by the long names of the options of `generate` and `edit`.

    Prompts are as they were chosen, so that no lists are needed; paths are as they were given. Pictures of versions
    that told less come as near as they tell.

    Args:
        facts: what the picture carries.
        told: options that are told anew, whose pictures it need not know.

    Raises:
        PictureError: a picture that it takes was given as pixels, so that nobody knows where it is.
    """
    values: dict[str, Plain | None] = {
        "prompt": facts.prompt,
        "negative": facts.negative_prompt or None,
        "seed": facts.seed,
        "steps": facts.steps,
        "guidance": facts.guidance,
        "sampler": facts.sampler,
        "spacing": facts.spacing,
        "eta": _eta(facts),
        "guidance-rescale": facts.guidance_rescale or None,
        "guidance-interval": "{!r}:{!r}".format(*facts.guidance_interval)
        if facts.guidance_interval
        else None,
        "apg": facts.apg or None,
        "like": facts.like,
        "clip-skip": facts.clip_skip,
        "emphasis": facts.emphasis if facts.emphasis != _usual_emphasis(facts) else None,
        "plain-prompt": facts.plain_prompt or None,
        "guess": facts.guess or None,
        "draft": facts.tiny_vae is not None or None,
        "tileable": facts.tileable,
        "blend": facts.blend,
        "vary": facts.vary,
        "seed-resize": facts.seed_resize,
        "tile-size": facts.tile_size,
        "resize": facts.resize if facts.resize != "fill" else None,
        **_sized(facts),
        **_start(facts),
    }
    if "enlarge" in facts.asked:  # what follows from each other there is as it was asked for
        values |= dict.fromkeys(("sampler", "spacing", "eta", "width", "height"))
    values |= {name: facts.asked.get(name) for name in ASKED if name in facts.asked}
    values |= {name: find(facts) for name, find in GIVEN.items() if name not in told}
    return {name: value for name, value in values.items() if value is not None}


def _usual_emphasis(facts: Facts) -> str:
    return PROGRAMS.get(facts.like, PROGRAMS["inkpunk"]).language.emphasis


def _eta(facts: Facts) -> float | None:
    method = SAMPLERS.get(facts.sampler)
    return None if method is None or method.eta == facts.eta else facts.eta


def _sized(facts: Facts) -> dict[str, Plain | None]:
    """Of what is enlarged by versions that told no more, how; of an edit, whose size is its picture's, nothing."""
    if _is_edit(facts):
        return {}
    told = facts.enlarged
    enlarged = {
        "enlarge": told.get("to"),
        "enlarge-by": told.get("by"),
        "enlarge-strength": told.get("strength"),
        "enlarge-steps": told.get("steps"),
        "enlarge-sampler": told.get("sampler"),
    }
    size: dict[str, Plain | None] = {"width": facts.width, "height": facts.height}
    return size | enlarged if "to" in told and not facts.asked else size


def _start(facts: Facts) -> dict[str, Plain | None]:
    """What is done with the picture to begin from."""
    if facts.init_hash is None and not _is_edit(facts):
        return {}
    return {
        "strength": facts.strength,
        "match-colours": facts.match_colours or None,
        "keep-alpha": facts.alpha_hash is not None or None,
        "masked-content": facts.masked_content if _is_edit(facts) else None,
        "only-masked": facts.only_masked,
        "extend": facts.extend,
    }


def _is_edit(facts: Facts) -> bool:
    return bool(facts.mask_hash or facts.extend)


def _followed(facts: Facts, option: str) -> Iterator[str]:
    for name, told in facts.controls.items():
        numbers, _, mark = told.partition(" ")
        if option == ("hint" if mark == "ready" else "control"):
            yield f"{kind_of(name)}:{_path(facts, f'control {name}', option)}:{numbers}"


def kind_of(name: str) -> str:
    """The kind of a hint, by what pictures call it: "canny" is that of "canny 2", too."""
    kind, _, number = name.rpartition(" ")
    return kind if kind and number.isdecimal() else name


def _image_prompts(facts: Facts) -> tuple[str, ...]:
    return tuple(
        f"{_path(facts, f'image prompt {place}', 'image-prompt')}:{weight}"
        for place, weight in facts.image_prompts.items()
    )


def _regions(facts: Facts) -> tuple[str, ...]:
    return tuple(
        f"{prompt}@{_path(facts, f'region {place}', 'region')}" for place, prompt in facts.regions.items()
    )


def _path(facts: Facts, what: str, option: str) -> str:
    path = facts.paths.get(what)
    if path is None:
        raise PictureError(
            f"{what}: was given as pixels, so that its recipe knows no file of it; save it as one, and give that as "
            f"--with {option}=FILE"
        )
    return path


GIVEN: Mapping[str, Callable[[Facts], Plain | None]] = {
    "init": lambda facts: _path(facts, "init", "init") if facts.init_hash or _is_edit(facts) else None,
    "mask": lambda facts: _path(facts, "mask", "mask") if facts.mask_hash else None,
    "control": lambda facts: tuple(_followed(facts, "control")) or None,
    "hint": lambda facts: tuple(_followed(facts, "hint")) or None,
    "image-prompt": lambda facts: _image_prompts(facts) or None,
    "region": lambda facts: _regions(facts) or None,
}
"""Options that take pictures, and what a picture's recipe knows of them."""
