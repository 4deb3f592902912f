"""What the tests against diffusers and transformers share."""

from tempfile import TemporaryDirectory
from typing import Any

from inkpunk_weights import open_checkpoint
from torch import Tensor


def our_weights(model: Any) -> dict[str, Tensor]:
    """The weights of a diffusers or transformers model under our names: saved as it saves itself, read as we read."""
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        (component,) = open_checkpoint(folder).components.values()
        return {name: tensor.clone() for name, tensor in component.tensors.items()}  # the file is about to go
