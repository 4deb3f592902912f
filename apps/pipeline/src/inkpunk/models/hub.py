"""Models by name: the sketch in the box, a path, or a repository on the Hugging Face hub."""

from pathlib import Path

from inkpunk_weights import CheckpointError, snapshot_of

from inkpunk.models.addresses import AddressError, HubName, read_hub_name
from inkpunk.models.hub_errors import HubError
from inkpunk.models.hub_files import (
    IMAGE_ENCODERS,
    NETWORK_FILES,
    SINGLE_FILES,
    choose_image_encoder_files,
    choose_network_files,
)

SKETCH = "sketch"

_PATH_LIKE = (".", "~", "/", "\\")


def resolve_model(model: str, *, half: bool = False) -> Path:
    """The file or folder of a model, fetched from the hub where that is what the name says.

    Args:
        model: "sketch", a checkpoint file, a diffusers folder, a hub id such as "Envvi/Inkpunk-Diffusion", one
            file of a hub repository, such as "Envvi/Inkpunk-Diffusion/Inkpunk-Diffusion-v2.ckpt", either at a
            revision ("Envvi/Inkpunk-Diffusion@main"), or the address of its page there.
        half: prefer float16 weights on the hub.

    Raises:
        HubError: no such file, no such id, an address that is no model's, or a download that fails.
        CheckpointError: a folder of the hub's cache without a snapshot.
    """
    if model == SKETCH:
        return _sketch()
    path = Path(model).expanduser() if model.startswith("~") else Path(model)
    if _exists(path):
        return snapshot_of(path)
    if name := _hub_name(model):
        from inkpunk.models.fetching import fetch

        return fetch(name.repo, name.file, revision=name.revision, half=half)
    if model.startswith(_PATH_LIKE) or model.endswith(SINGLE_FILES):
        raise HubError(f"{model}: no such file or folder")
    raise HubError(
        f"model {model!r}: no such file or folder, nor a name on the Hugging Face hub (owner/name)"
    )


def resolve_network(name: str, *, half: bool = False) -> Path:
    """The file or folder of one network, such as a ControlNet, fetched from the hub where that is what the name says.

    Args:
        name: a file, a folder, a hub id such as "lllyasviel/control_v11p_sd15_canny", or one file of a repository.
        half: prefer float16 weights on the hub.

    Raises:
        HubError: no such file, no such id, or a download that fails.
        CheckpointError: a folder of the hub's cache without a snapshot.
    """
    path = Path(name).expanduser() if name.startswith("~") else Path(name)
    if _exists(path):
        return snapshot_of(path)
    found = None if name.startswith(_PATH_LIKE) else _hub_name(name)
    if found is None or (found.file is None and name.endswith(NETWORK_FILES)):
        raise HubError(f"{name}: no such file or folder, nor a name on the Hugging Face hub (owner/name)")
    from inkpunk.models.fetching import fetch

    return fetch(found.repo, found.file, revision=found.revision, half=half, choose=choose_network_files)


def resolve_image_encoder(
    encoder: str | Path | None, adapter: str | Path, found: Path, *, half: bool = False
) -> Path:
    """The file or folder of CLIP's image encoder, through which an image prompt looks.

    Args:
        encoder: a file, a folder, or a name on the hub; None for the one beside the image prompt.
        adapter: the image prompt, as it was given: a file, or one of the hub.
        found: its file.
        half: prefer float16 weights on the hub.

    Raises:
        CheckpointError: there is none beside the image prompt.
        HubError: as `resolve_network`.
    """
    name = str(adapter if encoder is None else encoder)
    path = Path(name).expanduser() if name.startswith("~") else Path(name)
    if _exists(path):
        if encoder is not None:
            return _encoder_in(snapshot_of(path))
        if (beside := found.parent / "image_encoder").is_dir():
            return beside
        raise CheckpointError(
            f"{found}: has no image_encoder folder beside it; give CLIP's image encoder as --image-encoder, such as "
            "h94/IP-Adapter"
        )
    hub = None if name.startswith(_PATH_LIKE) else _hub_name(name)
    if hub is None:
        raise HubError(f"{name}: no such file or folder, nor a name on the Hugging Face hub (owner/name)")
    from inkpunk.models.fetching import fetch

    file, choose = None if encoder is None else hub.file, choose_image_encoder_files
    return _encoder_in(fetch(hub.repo, file, revision=hub.revision, half=half, choose=choose))


def _encoder_in(path: Path) -> Path:
    """The image encoder's own folder, where it is in a folder with other things."""
    return next((inside for name in IMAGE_ENCODERS if (inside := path / name).is_dir()), path)


def short_name(model: str) -> str:
    """What to call a model: one on the hub by its name there, also where its address was given."""
    if model == SKETCH or _exists(Path(model)):
        return model
    try:
        return str(_hub_name(model) or model)
    except HubError:
        return model


def _hub_name(model: str) -> HubName | None:
    try:
        name = read_hub_name(model)
    except AddressError as error:
        raise HubError(f"{model[:200]}: {error}") from error
    return None if name is None or _means_a_path(model, name.file) else name


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
