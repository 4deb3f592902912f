"""What a model shall not forget: pictures of the same kind that it draws itself, learned beside the new ones.

Prior preservation, as in DreamBooth (Ruiz et al., arXiv 2208.12242, section 3.3).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from inkpunk.pictures.atomic import write_atomically
from inkpunk.pictures.facts import Facts, PictureError
from inkpunk.pictures.png_text import read_facts
from inkpunk.pipeline import Pipeline
from inkpunk.request import Request
from inkpunk.training.examples import CAPTION, Example, read_examples

AT_ONCE = 4


@dataclass(frozen=True)
class Drawn:
    """The state after some pictures: `index` of `total` are there."""

    index: int
    total: int


def draw_prior(
    pipeline: Pipeline, prompt: str, folder: Path, *, count: int, side: int, seed: int = 0
) -> Iterator[Drawn]:
    """Draw pictures into a folder, each with its prompt beside it as its caption; those that are there stay.

    What is there counts if its recipe is the one of now: of another model, size or settings it is drawn anew.

    Args:
        pipeline: draws them.
        prompt: of them all; variants such as `{fox|raven}` are chosen by each picture's seed.
        folder: is made if it is not there.
        count: of the pictures.
        side: of each, in pixels.
        seed: of the first; the others have those after it.

    Raises:
        RequestError: for what cannot be drawn.
        PictureError, OSError: for what cannot be saved.
    """
    request = Request(prompt, width=side, height=side, seeds=tuple(range(seed, seed + count)))
    folder.mkdir(parents=True, exist_ok=True)
    plan = pipeline.plan(request)
    wanted = [each for each in request.seeds if not _is_there(folder, pipeline.facts(plan, each))]
    done = count - len(wanted)
    yield Drawn(done, count)
    for start in range(0, len(wanted), AT_ONCE):
        seeds = tuple(wanted[start : start + AT_ONCE])
        some = Request(prompt, width=side, height=side, seeds=seeds)
        last = deque(pipeline.run(some), maxlen=1).pop()
        for drawn, each in zip(pipeline.pictures(some, last.latents), seeds, strict=True):
            picture, caption = _paths(folder, each)
            write_atomically(caption, some.chosen(each)[0].encode(), overwrite=True)
            drawn.save(picture, overwrite=True)
        done += len(seeds)
        yield Drawn(done, count)


def read_prior(folder: Path, *, count: int, seed: int = 0) -> list[Example]:
    """Read the pictures that `draw_prior` has drawn, and no others that the folder holds.

    Raises:
        TrainingError: as `read_examples`.
    """
    drawn = {_paths(folder, each)[0] for each in range(seed, seed + count)}
    return [example for example in read_examples(folder) if example.path in drawn]


def _paths(folder: Path, seed: int) -> tuple[Path, Path]:
    return folder / f"seed{seed}.png", folder / f"seed{seed}{CAPTION}"


def _is_there(folder: Path, wanted: Facts) -> bool:
    """Whether a picture is there with its caption; which program and machine drew it, beside what, is no matter."""
    picture, caption = _paths(folder, wanted.seed)
    if not picture.exists() or not caption.is_file() or caption.read_bytes() != wanted.prompt.encode():
        return False
    try:
        found = read_facts(picture)
    except PictureError:
        return False
    elsewhere = {name: getattr(wanted, name) for name in ("version", "device", "threads", "machine")}
    return replace(found.alone, **elsewhere) == wanted.alone
