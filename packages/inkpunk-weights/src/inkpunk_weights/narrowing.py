"""From a wide dtype to a narrow one, without making a number infinite."""

import torch
from torch import Tensor

from inkpunk_weights.errors import CheckpointError, shown


def narrowed(tensor: Tensor, dtype: torch.dtype, name: str, where: str) -> Tensor:
    """A tensor in another dtype, rounded to nearest.

    What is infinite or no number already stays so: that is for `Report` to tell.

    Args:
        tensor: of any floating-point dtype, or none, and then it is only converted.
        dtype: the one to convert to.
        name: of the tensor, and
        where: the file it is of, for the message.

    Raises:
        CheckpointError: if a finite number would become infinite.
    """
    converted = tensor.to(dtype)
    if converted.itemsize >= tensor.itemsize or not converted.is_floating_point() or not converted.numel():
        return converted
    low, high = torch.aminmax(converted)  # finds what is not finite in one pass, without a copy
    if not (low.isfinite() and high.isfinite()):
        overflowing = tensor[converted.isinf() & tensor.isfinite()]
        if overflowing.numel():
            kind, most = str(dtype).removeprefix("torch."), torch.finfo(dtype).max
            raise CheckpointError(
                f"{where}: {shown(name)} holds {float(overflowing[0]):g}, and {kind} ends at {most:g}; take bfloat16 "
                "or float32"
            )
    return converted
