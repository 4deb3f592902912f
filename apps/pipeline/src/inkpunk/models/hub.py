"""Models by name: the sketch in the box, a path, or a repository on the Hugging Face hub."""

import re
from pathlib import Path

from inkpunk_weights import snapshot_of

from inkpunk.models.hub_errors import HubError
from inkpunk.models.hub_files import SINGLE_FILES

SKETCH = "sketch"

_HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(?P<file>[^\\]+))?", re.ASCII)
_PATH_LIKE = (".", "~", "/", "\\")


def resolve_model(model: str, *, half: bool = False) -> Path:
    """The file or folder of a model, fetched from the hub where that is what the name says.

    Args:
        model: "sketch", a checkpoint file, a diffusers folder, a hub id such as "Envvi/Inkpunk-Diffusion", or
            one file of a hub repository, such as "Envvi/Inkpunk-Diffusion/Inkpunk-Diffusion-v2.ckpt".
        half: prefer float16 weights on the hub.

    Raises:
        HubError: no such file, no such id, or a download that fails.
        CheckpointError: a folder of the hub's cache without a snapshot.
    """
    if model == SKETCH:
        return _sketch()
    path = Path(model).expanduser() if model.startswith("~") else Path(model)
    if _exists(path):
        return snapshot_of(path)
    if (match := _HUB_ID.fullmatch(model)) and not _means_a_path(model, match["file"]):
        from inkpunk.models.fetching import fetch

        return fetch(match["repo"], match["file"], half=half)
    if model.startswith(_PATH_LIKE) or model.endswith(SINGLE_FILES):
        raise HubError(f"{model}: no such file or folder")
    raise HubError(
        f"model {model!r}: no such file or folder, nor a name on the Hugging Face hub (owner/name)"
    )


def _means_a_path(model: str, file: str | None) -> bool:
    """Whether a name that could be a hub id is rather a path mistyped."""
    in_a_folder_here = _exists(Path(model.split("/", 1)[0]))
    return model.endswith(SINGLE_FILES) and (file is None or in_a_folder_here)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL in it
        return False


def _sketch() -> Path:
    import inkpunk_sketch

    try:
        return inkpunk_sketch.weights()
    except FileNotFoundError as error:
        raise HubError(f"sketch: {error}; or give another model with --model") from error
