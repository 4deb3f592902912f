"""On which device networks compute."""

import torch


class DeviceError(ValueError):
    """A device or precision that is not to be had; the message says what to use instead."""


DEVICES = ("auto", "cuda", "mps", "cpu")


def choose_device(name: str = "auto") -> torch.device:
    """Turn "auto" into the fastest device this machine has; check that a named one is there.

    Raises:
        DeviceError: for a device that torch does not know or this machine does not have.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    fastest = next((kind for kind, here in available.items() if here), "cpu")
    if name == "auto":
        return torch.device(fastest)
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"device {name!r}: not a device; use one of {', '.join(DEVICES)}") from error
    refusal = DeviceError(f"device {name!r}: torch finds none on this machine; use --device {fastest}")
    if available.get(device.type, True):
        try:
            torch.empty(1, device=device)
            return device
        # what torch knows and this machine, or this torch, has not: any error at all
        except Exception as error:
            raise refusal from error
    raise refusal
