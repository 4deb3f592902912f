"""What following a hint costs: seconds of a guided step with a ControlNet, beside its arithmetic and diffusers.

    uv run python -m tools.benchmark_control [--size 512] [--runs 3]

Random weights of Stable Diffusion v1.5's size, a ControlNet and a T2I-Adapter likewise, in float32. Without any, with
each, and in guess mode, steps take turns in one process, so that a busy machine slows all of them alike; then
diffusers' with and without the ControlNet, in turns as well. The figures are medians; the first step of each, which
reads the weights and encodes the hint, is left out.

The arithmetic is the ratio of the multiplications of one step, those of convolutions counted directly, and those of
the hint's encoder not at all.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from inkpunk import Control, Pipeline, Request
from inkpunk_unet import ControlNet, ControlNetConfig, T2IAdapter, T2IAdapterConfig, UNet, UNetConfig
from inkpunk_weights import save_control
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from tools.make_checkpoint import make_checkpoint

PROMPT = "nvinkpunk raven"


def hint(size: int) -> Image.Image:
    """A white ring on black."""
    picture = Image.new("RGB", (size, size))
    ImageDraw.Draw(picture).ellipse(
        (size // 4, size // 4, 3 * size // 4, 3 * size // 4), outline="white", width=3
    )
    return picture


def make_networks(home: Path) -> None:
    """Write a ControlNet and a T2I-Adapter of random weights, of which the former's meeting points are not zero."""
    torch.manual_seed(0)
    control = ControlNet(ControlNetConfig())
    for name, parameter in control.named_parameters():
        if "zero_conv" in name or name == "hint.convolutions.7.weight":
            torch.nn.init.normal_(parameter, std=0.01)
    save_control(home / "control.safetensors", control.state_dict(), dtype=torch.float32)
    names = {"blocks": "resnets", "conv1": "block1", "conv2": "block2", "levels": "body"}
    tensors = dict[str, torch.Tensor]()
    for name, tensor in T2IAdapter(T2IAdapterConfig()).state_dict().items():
        parts = [names.get(part, part) for part in name.split(".")]
        if parts[0] == "body" and "conv_in" in parts:
            parts[parts.index("conv_in")] = "in_conv"
        tensors[".".join(["adapter", *parts])] = tensor
    save_file(tensors, home / "adapter.safetensors")


def arithmetic(size: int) -> dict[str, float]:
    """The multiplications of a guided step, to those of one without a control."""
    side = size // 8
    with torch.device("meta"):
        unet, control = UNet(UNetConfig()), ControlNet(ControlNetConfig())
        counts = list[int]()
        for rows in (2, 1):
            latents, context = torch.empty(rows, 4, side, side), torch.empty(rows, 77, 768)
            features = torch.empty(rows, 320, side, side)
            for asked in ((unet, ()), (control, (features,))):
                with FlopCounterMode(display=False) as counter:
                    asked[0](latents, torch.empty(rows), context, *asked[1])
                counts.append(counter.get_total_flops())
    whole, beside, _, half = counts
    return {
        "no control": 1.0,
        "ControlNet": 1 + beside / whole,
        "guess mode": 1 + half / whole,
        "T2I-Adapter": 1.0,
    }


def turns(runs: int, steps: dict[str, Iterator[object]]) -> dict[str, float]:
    """Seconds of a step of each, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(runs + 1):
        for name, each in steps.items():
            start = time.perf_counter()
            next(each)
            seconds[name].append(time.perf_counter() - start)
    return {name: median(each[1:]) for name, each in seconds.items()}


def ours(home: Path, size: int, runs: int) -> dict[str, float]:
    """Seconds of each way's step."""
    nets = {"lines": home / "control.safetensors", "adapter": home / "adapter.safetensors"}
    pipeline = Pipeline.load(home / "model.safetensors", device="cpu", control_nets=nets)
    lines, adapter = (Control(kind, hint(size), ready=True) for kind in nets)
    settings: dict[str, Any] = {
        "seeds": (1,),
        "steps": runs + 1,
        "sampler": "euler",
        "width": size,
        "height": size,
    }
    asked = {
        "no control": Request(PROMPT, **settings),
        "ControlNet": Request(PROMPT, controls=[lines], **settings),
        "guess mode": Request(PROMPT, controls=[lines], guess=True, **settings),
        "T2I-Adapter": Request(PROMPT, controls=[adapter], **settings),
    }
    return turns(runs, {name: iter(pipeline.run(request)) for name, request in asked.items()})


def theirs(home: Path, size: int, runs: int) -> dict[str, float]:
    """Seconds of diffusers' guided UNet call, and of one with its ControlNet before it."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    unet: Any = UNet2DConditionModel.from_pretrained(home / "folder" / "unet").eval()
    control: Any = ControlNetModel.from_unet(unet).eval()
    latents, context = torch.randn(2, 4, size // 8, size // 8), torch.randn(2, 77, 768)
    image = torch.rand(2, 3, size, size)

    def plain() -> Iterator[object]:
        while True:
            yield unet(latents, 500, context).sample

    def controlled() -> Iterator[object]:
        while True:
            skips, middle = control(latents, 500, context, image, return_dict=False)
            yield unet(
                latents,
                500,
                context,
                down_block_additional_residuals=skips,
                mid_block_additional_residual=middle,
            ).sample

    with torch.no_grad():
        return turns(runs, {"no control": plain(), "ControlNet": controlled()})


@click.command()
@click.option("--size", default=512, show_default=True, help="Pixels a side.")
@click.option("--runs", default=3, show_default=True, help="Steps of each way.")
def main(size: int, runs: int) -> None:
    """Print the table."""
    from inkpunk.models.conversion import convert_checkpoint

    told = arithmetic(size)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_checkpoint(home / "model.safetensors", size="full", seed=0)
        make_networks(home)
        print(f"a guided step at {size}x{size}, medians of {runs}, in turns", flush=True)
        print("| | seconds | to no control | its arithmetic |\n| --- | --- | --- | --- |", flush=True)
        own = ours(home, size, runs)
        for name, seconds in own.items():
            print(
                f"| ours, {name} | {seconds:.2f} | {seconds / own['no control']:.3f}x | {told[name]:.3f}x |"
            )
        convert_checkpoint(home / "model.safetensors", home / "folder")
        (home / "model.safetensors").unlink()
        other = theirs(home, size, runs)
        for name, seconds in other.items():
            ratio = seconds / other["no control"]
            print(f"| diffusers, {name} | {seconds:.2f} | {ratio:.3f}x | {told[name]:.3f}x |", flush=True)


if __name__ == "__main__":
    main()
