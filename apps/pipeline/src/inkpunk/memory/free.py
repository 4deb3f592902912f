"""How much memory is free."""

import psutil
import torch


def free_memory(device: torch.device) -> int | None:
    """Bytes that could be had on a device now, or None where nobody can say."""
    if device.type == "cpu":
        return psutil.virtual_memory().available
    if device.type == "cuda" and torch.cuda.is_available():
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type == "mps" and torch.backends.mps.is_available():
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None
