"""Times `inkpunk_winograd.accelerate` on models that are not ours, against torch's better memory format.

    uv run python -m tools.benchmark_accelerate [--only unet,decode,encode,resnet50,resnet50x8] [--runs 3]

diffusers' UNet and VAE at full size with random weights (a guided step and a decoding and encoding of 512x512), and
torchvision's resnet50 for one picture and for eight. Plain in both memory formats, and accelerated as it comes, take
turns in one process; the table holds medians, and how far the accelerated result is from the plain one.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from inkpunk_winograd import accelerate, explain, restore
from torch import Tensor, nn

Call = Callable[[nn.Module], Tensor]


def unet() -> tuple[nn.Module, Call]:
    """A guided step's UNet, by diffusers."""
    from diffusers import UNet2DConditionModel

    settings: dict[str, Any] = {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}
    inputs = torch.randn(2, 4, 64, 64), torch.tensor(500), torch.randn(2, 77, 768)
    return UNet2DConditionModel(**settings), lambda model: model(*inputs, return_dict=False)[0]


def vae() -> nn.Module:
    """The VAE, by diffusers."""
    from diffusers import AutoencoderKL

    levels = 4
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        layers_per_block=2,
        latent_channels=4,
    )


def decode() -> tuple[nn.Module, Call]:
    """From latents to a picture."""
    latents = torch.randn(1, 4, 64, 64)
    return vae(), lambda model: model.decode(latents, return_dict=False)[0]


def encode() -> tuple[nn.Module, Call]:
    """From a picture to latents."""
    image = torch.randn(1, 3, 512, 512)
    return vae(), lambda model: model.encode(image).latent_dist.mean


def resnet50(batch: int = 1) -> tuple[nn.Module, Call]:
    """torchvision's."""
    from torchvision.models import resnet50

    images = torch.randn(batch, 3, 224, 224)
    return resnet50(), lambda model: model(images)


WORK: dict[str, Callable[[], tuple[nn.Module, Call]]] = {
    "unet": unet,
    "decode": decode,
    "encode": encode,
    "resnet50": resnet50,
    "resnet50x8": lambda: resnet50(8),
}


def compare(name: str, runs: int) -> str:
    """One row of the table."""
    torch.manual_seed(0)
    model, call = WORK[name]()
    model.eval().requires_grad_(False)
    prepare: dict[str, Callable[[], object]] = {
        "plain": lambda: restore(model).to(memory_format=torch.contiguous_format),
        "channels last": lambda: model.to(memory_format=torch.channels_last),
        "accelerated": lambda: accelerate(model.to(memory_format=torch.contiguous_format)),
    }
    seconds: dict[str, list[float]] = {way: [] for way in prepare}
    results: dict[str, Tensor] = {}
    for _ in range(runs):
        for way, ready in prepare.items():
            ready()
            results[way] = call(model)  # warms up
            start = time.perf_counter()
            call(model)
            seconds[way].append(time.perf_counter() - start)
    changed = explain(model).changed
    times = {way: median(each) for way, each in seconds.items()}
    best = min(times["plain"], times["channels last"])
    error = float((results["accelerated"] - results["plain"]).abs().max() / results["plain"].abs().max())
    cells = [
        name,
        *(f"{times[way]:.3f} s" for way in prepare),
        f"{times['accelerated'] / best:.2f}x",
        f"{error:.0e}",
    ]
    return f"| {' | '.join([*cells, str(changed)])} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(WORK), help="some of: %(default)s")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    print("| work | plain | plain, channels last | accelerated | to the better | error | layers changed |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with torch.inference_mode():
        for name in arguments.only.split(","):
            print(compare(name, arguments.runs), flush=True)


if __name__ == "__main__":
    main()
