"""What computes, where another of its kind may round otherwise."""

import torch


def machine_of(device: torch.device) -> str:
    """torch's version, and the processor's instructions or the accelerator's name: "torch 2.9.1, AVX2"."""
    what = ""
    if device.type == "cuda":
        what = torch.cuda.get_device_name(device)
    elif device.type == "cpu":
        what = torch.backends.cpu.get_cpu_capability()
    return ", ".join(filter(None, (f"torch {torch.__version__}", what)))


def threads_of(device: torch.device) -> int | None:
    """How many threads torch computes with; None on an accelerator, which has its own."""
    return torch.get_num_threads() if device.type == "cpu" else None
