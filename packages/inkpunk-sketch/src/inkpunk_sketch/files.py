"""Where the weights are, and the adapters for them."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

#: What each is for is in the README's model card.
ADAPTERS = ("lcm", "lighthouse")
CONTROLS = ("canny",)


def weights() -> Path:
    """The checkpoint's place on disk: a single safetensors file in half precision.

    Its tensors have the names of Stable Diffusion v1's single-file checkpoints. Two entries of its metadata
    hold JSON: "inkpunk.config" what no shape tells (attention heads, normalisation groups), by component, and
    "inkpunk.defaults" the settings it draws best with (size, steps, guidance).

    Raises:
        FileNotFoundError: the package was installed without it, or from inside an archive.
    """
    return _file("sketch", "weights")


def adapters() -> Mapping[str, Path]:
    """The adapters for the checkpoint, by name: safetensors files in half precision, in kohya's layout.

    "lcm" is an LCM-LoRA: with it, the model draws in a few steps without guidance. "inkpunk.defaults" in its metadata
    holds, as JSON, the settings it draws best with (steps, guidance, sampler). With "lighthouse" it draws one, which
    it never saw, where a prompt says "cosvern".

    Raises:
        FileNotFoundError: the package was installed without them, or from inside an archive.
    """
    return {name: _file(name, "adapters") for name in ADAPTERS}


def controls() -> Mapping[str, Path]:
    """The control networks for the checkpoint, by the kind of hint: safetensors files in half precision.

    "canny" is a ControlNet, in the layout of its authors' files: with it, the model inks what edges outline. What no
    shape tells of it is in "inkpunk.config" in its metadata.

    Raises:
        FileNotFoundError: the package was installed without them, or from inside an archive.
    """
    return {name: _file(name, "control networks") for name in CONTROLS}


def _file(name: str, what: str) -> Path:
    path = Path(str(files("inkpunk_sketch").joinpath(f"{name}.safetensors")))
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: the {what} of inkpunk-sketch are not there; install the package again, unpacked"
        )
    return path
