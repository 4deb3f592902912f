"""What a model shall not forget: pictures of the same kind that it draws itself, learned beside the new ones.

Prior preservation, as in DreamBooth (Ruiz et al., arXiv 2208.12242, section 3.3).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inkpunk.pictures.atomic import write_atomically
from inkpunk.pipeline import Pipeline
from inkpunk.request import Request
from inkpunk.training.examples import CAPTION

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
    wanted = [each for each in request.seeds if not _is_there(folder, each, request.chosen(each)[0])]
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


def _paths(folder: Path, seed: int) -> tuple[Path, Path]:
    return folder / f"seed{seed}.png", folder / f"seed{seed}{CAPTION}"


def _is_there(folder: Path, seed: int, prompt: str) -> bool:
    picture, caption = _paths(folder, seed)
    return picture.exists() and caption.is_file() and caption.read_bytes() == prompt.encode()
