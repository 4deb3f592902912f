"""What values a request may have, in so far as that can be judged without a model.

Each function lets pass what may be, and raises `RequestError` for what may not.
"""

from collections.abc import Iterable, Mapping
from math import inf

from inkpunk_clip import EMPHASES, parse
from inkpunk_sampling import SAMPLERS

from inkpunk.pictures.canvas import CONTENTS
from inkpunk.pictures.fitting import SIZE_MULTIPLE
from inkpunk.road.errors import RequestError
from inkpunk.road.lora_tags import has_tags
from inkpunk.road.programs import PROGRAMS
from inkpunk.road.tileable import AXES
from inkpunk.road.tiles import LEAST_TILE

MOST_PADDING = 4096  # pixels
MOST_STEPS = 1000
MOST_GUIDANCE = 100
SEEDS = 2**63


def check_program(like: str) -> None:
    """The program to follow is one that we know."""
    if like not in PROGRAMS:
        raise RequestError(f"like {like!r}: there is no such program; use {', '.join(PROGRAMS)}")


def check_eta(eta: float | None, sampler: str) -> None:
    """A share of noise, for a sampler, by our name, that leaves the choice."""
    if eta is None:
        return
    if SAMPLERS[sampler].eta is None:
        raise RequestError(f"eta {eta:g}: sampler {sampler!r} leaves no choice of noise; leave it out")
    if not 0 <= eta <= 1:
        raise RequestError(f"eta {eta:g}: must lie between 0, which is no noise, and 1")


def check_clip_skip(clip_skip: int | None, last_layer: int) -> None:
    """A layer of the text encoder, counted from what the program calls its last."""
    if clip_skip is not None and clip_skip < last_layer:
        raise RequestError(f"clip skip {clip_skip}: must be at least {last_layer}, which is the last layer")


def check_language(emphasis: str | None, texts: Mapping[str, str], *, plain: bool, listed: bool) -> None:
    """What prompts are written in.

    Args:
        emphasis: a name in `inkpunk_clip.EMPHASES`, if one is asked for.
        texts: by what messages call them.
        plain: whether all in them is text.
        listed: whether there are lists to choose from.
    """
    if emphasis is not None and emphasis not in EMPHASES:
        raise RequestError(f"emphasis {emphasis!r}: there is none; use {', '.join(EMPHASES)}")
    for name, text in texts.items():
        check_unicode(name, text)
    if plain and listed:
        raise RequestError("wildcards with a plain prompt, in which all is text: leave one of them out")


def check_unicode(name: str, text: str) -> None:
    """Text that can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"{name}: character {error.start} is half a surrogate pair, which is no text; give UTF-8"
        ) from error


def check_seeds(seeds: tuple[int, ...]) -> None:
    """At least one."""
    if not seeds:
        raise RequestError("seeds: none given, so there is no picture to draw; give one seed a picture")


def check_seed(seed: int) -> None:
    """A seed of 63 bits."""
    if not 0 <= seed < SEEDS:
        raise RequestError(f"seed {seed}: must lie between 0 and 2**63 - 1")


def check_steps(steps: int | None) -> None:
    """As many as there are training timesteps, at most."""
    if steps is not None and not 1 <= steps <= MOST_STEPS:
        raise RequestError(f"steps {steps}: must lie between 1 and {MOST_STEPS}; 16 to 50 is usual")


def check_strength(strength: float) -> None:
    """A share of a picture that is drawn anew, and not none of it."""
    if not 0 < strength <= 1:
        raise RequestError(f"strength {strength:g}: must be above 0 and at most 1; 0.75 is usual")


def check_guidance(guidance: float | None) -> None:
    """A scale of guidance, if one is asked for."""
    if guidance is not None and not 0 <= guidance <= MOST_GUIDANCE:
        raise RequestError(f"guidance {guidance:g}: must lie between 0 and {MOST_GUIDANCE}; 7.5 is usual")


def check_rescale(rescale: float) -> None:
    """How much of guidance's contrast is taken back."""
    if not 0 <= rescale <= 1:
        raise RequestError(f"guidance rescale {rescale:g}: must lie between 0 and 1; 0.7 is usual")


def check_interval(interval: tuple[float, float] | None) -> None:
    """The noise levels that are guided, which rise."""
    low, high = interval or (0.0, 1.0)
    if not 0 <= low < high < inf:
        raise RequestError(
            f"guidance interval {low:g} to {high:g}: must rise, from a noise level of 0 or more; "
            "0.28 to 5.42 is usual"
        )


def check_idle_guidance(
    guidance: float, rescale: float, interval: tuple[float, float] | None, apg: bool
) -> None:
    """Nothing that changes guidance where a scale of 1 switches it off: it would change nothing."""
    options = {"guidance rescale": rescale, "guidance interval": interval, "apg": apg}
    idle = [name for name, given in options.items() if given]
    if guidance == 1 and idle:
        raise RequestError(
            f"{', '.join(idle)}: without effect at guidance 1, which is off; raise guidance (7.5 is usual), or leave "
            f"{'it' if len(idle) == 1 else 'them'} out"
        )


def check_side(name: str, side: int | None) -> None:
    """A width or a height in pixels, if one is asked for, of whole cells of latents."""
    if side is not None and (side < SIZE_MULTIPLE or side % SIZE_MULTIPLE):
        below = max(side // SIZE_MULTIPLE, 1) * SIZE_MULTIPLE
        raise RequestError(
            f"{name} {side}: must be a positive multiple of {SIZE_MULTIPLE}; "
            f"the nearest are {below} and {below + SIZE_MULTIPLE}"
        )


def check_tiles(tileable: str | None, tile_size: int | None) -> None:
    """Axes that a texture tiles on, and the side of the tiles that a picture is drawn in."""
    if tileable is not None and tileable not in AXES:
        raise RequestError(f"tileable {tileable!r}: must be one of {', '.join(AXES)}, or left out")
    if tile_size is not None and (tile_size < LEAST_TILE or tile_size % SIZE_MULTIPLE):
        raise RequestError(
            f"tile size {tile_size}: must be a multiple of {SIZE_MULTIPLE}, at least {LEAST_TILE}; the "
            "model's own size is usual"
        )


def check_edit(content: str, only_masked: int | None, *, edits: bool, starts: bool) -> None:
    """What a masked part begins as, and the pixels around it that are seen.

    Args:
        content: a name in `inkpunk.pictures.canvas.CONTENTS`.
        only_masked: so many pixels; None for all of the picture.
        edits: whether a part of a picture is drawn anew, or it is continued.
        starts: whether there is a picture.
    """
    if content not in CONTENTS:
        raise RequestError(f"masked content {content!r}: there is none; use {', '.join(CONTENTS)}")
    if edits and not starts:
        raise RequestError("a mask, or extend, without a picture: give init, the picture to change")
    if only_masked is not None and not edits:
        raise RequestError("only masked: changes nothing without a mask; give one, or leave it out")
    if only_masked is not None and not 0 <= only_masked <= MOST_PADDING:
        raise RequestError(
            f"only masked {only_masked}: must be 0 to {MOST_PADDING} pixels around it; 32 is usual"
        )
    if content != "original" and not edits:
        raise RequestError(
            f"masked content {content!r}: changes nothing without a mask; give one, or leave it out"
        )


def check_together(
    *, edits: bool, enlarges: bool, tileable: bool, in_tiles: bool, blends: bool, regions: bool
) -> None:
    """Nothing beside what it cannot go with."""
    if enlarges and edits:
        raise RequestError("enlarge with a mask, or extend: do one after the other; enlarge what comes of it")
    if tileable and edits:
        raise RequestError("tileable with a mask, or extend: what is held has edges; leave one of them out")
    if blends and regions:
        raise RequestError("blend with regions: each has a prediction of its own; leave one of them out")
    if tileable and in_tiles:
        raise RequestError("tileable with a tile size: tiles end at the edges that shall meet; leave one out")


def check_variation(varied: tuple[int, float] | None, resized: tuple[int, int] | None) -> None:
    """Another seed and a share of it, and the size that noise is drawn at."""
    if varied is not None:
        seed, amount = varied
        if not 0 <= seed < SEEDS:
            raise RequestError(f"vary {seed}: a seed must lie between 0 and 2**63 - 1")
        if not 0 <= amount <= 1:
            raise RequestError(
                f"vary {seed}:{amount:g}: how much of the other seed must lie between 0 and 1; 0.2 is usual"
            )
    for name, side in zip(("width", "height"), resized or (), strict=False):
        check_side(f"seed resize, {name}", side)


def check_blend(amount: float, prompts: Iterable[tuple[str, str]], grammar: str) -> None:
    """A share of another prompt, and for each picture the two, of which neither has parts of its own."""
    if not 0 <= amount <= 1:
        raise RequestError(f"blend {amount:g}: how much of the other prompt must lie between 0 and 1")
    for prompt, other in prompts:
        if grammar != "plain" and has_tags(other):
            raise RequestError(
                "blend: asks for a LoRA, which acts on the whole picture; name it in the prompt"
            )
        for text in (prompt, other):
            if [part.weight for part in parse(text, grammar).parts] != [1.0]:
                raise RequestError(
                    f"blend with AND, in {text[:40]!r}: its parts have predictions of their own; leave one out"
                )
