"""Where LDM's training keeps the moving averages (EMA) of the UNet: under its names, without their dots."""

import re
from collections.abc import Iterable

from inkpunk_weights.names import RESNET_LDM_UNET, UNET_ATTENTION

EMA_OF = "model."  # only this module is averaged in training: LDM's wrapper around the UNet
EMA = "model_ema."
UNET = "diffusion_model"

# The dots come back by what the modules are called: the last digit of a block's number is its place inside.
BLOCK = re.compile(r"(?P<stack>input_blocks|output_blocks|middle_block)(?P<digits>\d+)(?P<part>\D.*)?")
PARTS = {
    part.replace(".", ""): part
    for part in (*RESNET_LDM_UNET.values(), *UNET_ATTENTION.values(), "op", "conv")
}
ENDS = {end.replace(".", ""): end for end in ("time_embed.0", "time_embed.2", "out.0", "out.2")}


def ema_name(name: str) -> str:
    """Where LDM keeps the moving average of the UNet's tensor `name`: under its name without dots."""
    return EMA + name.removeprefix(EMA_OF).replace(".", "")


def averaged_unet(names: Iterable[str]) -> list[str]:
    """What the UNet's tensors are called whose averages are among `names`.

    `ema_name` leads back from each; one that no UNet of LDM has keeps its name without dots.
    """
    flat = [name.removeprefix(EMA + UNET) for name in names if name.startswith(EMA + UNET)]
    return [f"{EMA_OF}{UNET}.{_with_dots(name) or name}" for name in flat]


def _with_dots(flat: str) -> str | None:
    for leaf in ("weight", "bias"):
        if flat.endswith(leaf) and (module := _module(flat.removesuffix(leaf))):
            return f"{module}.{leaf}"
    return None


def _module(flat: str) -> str | None:
    if flat in ENDS:
        return ENDS[flat]
    found = BLOCK.fullmatch(flat)
    if found is None or (found["part"] and found["part"] not in PARTS):
        return None
    stack, digits = found["stack"], found["digits"]
    number = digits if stack == "middle_block" else f"{digits[:-1]}.{digits[-1]}"
    return ".".join([stack, number, *([PARTS[found["part"]]] if found["part"] else [])])
