"""Where the weights are."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path


def weights() -> Path:
    """The checkpoint's place on disk: a single safetensors file in half precision.

    Its tensors have the names of Stable Diffusion v1's single-file checkpoints. Two entries of its metadata
    hold JSON: "inkpunk.config" what no shape tells (attention heads, normalisation groups), by component, and
    "inkpunk.defaults" the settings it draws best with (size, steps, guidance).

    Raises:
        FileNotFoundError: the package was installed without it, or from inside an archive.
    """
    path = Path(str(files("inkpunk_sketch").joinpath("sketch.safetensors")))
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: the weights of inkpunk-sketch are not there; install the package again, unpacked"
        )
    return path


def adapters() -> Mapping[str, Path]:
    """The adapters of the model, by their names."""
    folder = Path(str(files("inkpunk_sketch")))
    return {file.stem: file for file in sorted(folder.glob("*.safetensors")) if file.stem != "sketch"}
