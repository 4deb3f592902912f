"""What a run is asked for, refused at once where it could not be done."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from .peers import PIPELINES, absent
from .work import TABLE

KINDS = tuple(dict.fromkeys(work.kind for work in TABLE))
NETWORKS = "text_encoder", "unet", "vae"
COMMAND = "uv run --group benchmark python -m tools.benchmark"


class Refused(ValueError):
    """What was asked for cannot be measured; the message says why, and what to do."""


def chosen(text: str, known: Sequence[str], what: str) -> list[str]:
    """Names of a list with commas between, in the order of those known.

    Raises:
        Refused: for a name that is not known.
    """
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise Refused(f"{what} {', '.join(unknown)}: not known; there are {', '.join(known)}")
    return [name for name in known if name in names]


def installed(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which peers can take part, and a line on each library that is wanted and not there."""
    wanted = {name: absent(name) for name in names}
    lines = [
        f"{library} is not installed, so without {', '.join(name for name in names if wanted[name] == library)}; "
        f"all are there by: {COMMAND}"
        for library in dict.fromkeys(filter(None, wanted.values()))
    ]
    if not find_spec("matplotlib"):
        lines.append(f"matplotlib is not installed, so without a plot; it is there by: {COMMAND}")
    return [name for name in names if not wanted[name]], lines


def pipelines_of(names: Sequence[str]) -> list[str]:
    """Who of PIPELINES draws whole pictures, given the peers."""
    return [name for name in PIPELINES if name.split(" --")[0] in names]


def check_model(folder: Path) -> None:
    """See that a diffusers folder has all that any peer will open.

    Raises:
        Refused: naming all that it lacks.
    """
    if not folder.is_dir():
        raise Refused(
            f"{folder}: no such folder; leave --model out for random weights, or write one by: "
            f"uv run python -m tools.make_checkpoint {folder} --layout diffusers-folder"
        )
    files = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        *(f"{part}/config.json" for part in NETWORKS),
    ]
    lacks = [name for name in files if not (folder / name).is_file()]
    for part in NETWORKS:
        weights = [file for kind in ("safetensors", "bin") for file in (folder / part).glob(f"*.{kind}")]
        if not any(file.stat().st_size for file in weights):
            lacks.append(f"{part}/*.safetensors")
    if lacks:
        raise Refused(f"{folder}: lacks {', '.join(lacks)}; give a whole diffusers folder")
