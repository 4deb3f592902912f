"""Networks that make pictures larger (ESRGAN and its many heirs): their tensors, whatever network they are of."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from inkpunk_weights.components import find_components
from inkpunk_weights.errors import CheckpointError, shown_path
from inkpunk_weights.lazy import LazyTensors
from inkpunk_weights.other_models import READ, other_model
from inkpunk_weights.tensor_files import open_tensor_file

UPSCALER_FILES = (".pth", ".pt", ".safetensors", ".ckpt", ".bin")
ROOTS = ("params_ema", "params-ema", "params", "state_dict", "model_state_dict", "model")
"""Where BasicSR and other trainers keep the weights: averaged ones first, as those are what is published."""


@dataclass(frozen=True, eq=False)
class UpscalerFile:
    """The file of a network that makes pictures larger.

    Attributes:
        path: where it is.
        tensors: by the names they have in the file; which network they are of, those tell who knows it.
    """

    path: Path
    tensors: LazyTensors


def open_upscaler(path: str | PathLike[str]) -> UpscalerFile:
    """Open a network that makes pictures larger; nothing in the file is run, and only its description is read.
    Takes at most 64 MiB of memory beyond what it returns, and time linear in the description.

    Raises:
        CheckpointError: if there is no such file, it is damaged, or it is something else that this package reads.
    """
    path = Path(path)
    where = shown_path(path)
    tensors = open_tensor_file(path, ROOTS).tensors
    other = other_model(tensors)
    if other is not None and other in READ:
        raise CheckpointError(f"{where}: not an upscaler but {other}", found=READ[other])
    if other is None and _is_checkpoint(path, tensors):
        raise CheckpointError(
            f"{where}: not an upscaler but a checkpoint of Stable Diffusion", found="checkpoint"
        )
    return UpscalerFile(path, tensors)


def _is_checkpoint(path: Path, tensors: LazyTensors) -> bool:
    try:
        return bool(find_components(path, tensors))
    except CheckpointError:
        return False
