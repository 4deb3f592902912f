"""Drawing at full size on an NVIDIA GPU, beside diffusers on the same weights.

    uv run python -m tools.benchmark_cuda [--runs 5] [--counts 1,4] [--dtype float16] [--compile]

A model of random weights draws 512x512 pictures under guidance, by DDIM, from prompt to 8-bit image; all peers in one
process, in turns. A step is what one more of them takes. The device's own best matrix product, measured first, is the
limit: a guided step of one picture has 0.8 x 10^12 multiply-adds.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from inkpunk import Pipeline, Request
from inkpunk.models.conversion import convert_checkpoint
from inkpunk.speed import Speed

from tools.make_checkpoint import DTYPES, make_checkpoint

PROMPT = "nvinkpunk raven, neon green splash"
SIDE = 512
GUIDANCE = 7.5
FEW, MANY = 5, 25  # steps of a short picture, and of a long one
PRODUCT = 8192  # numbers a side

Draw = Callable[[int, int], Any]
"""Draws a number of pictures, in a number of steps."""


def our_pipeline(folder: Path, dtype: torch.dtype, **ways: bool) -> Draw:
    """Ours, by some ways of `Speed`."""
    name = str(dtype).removeprefix("torch.")
    pipeline = Pipeline.load(folder, device="cuda", dtype=name, speed=Speed(**ways))

    def draw(count: int, steps: int) -> Any:
        seeds, size = tuple(range(count)), {"width": SIDE, "height": SIDE}
        request = Request(PROMPT, seeds=seeds, steps=steps, guidance=GUIDANCE, sampler="ddim", **size)
        return pipeline.generate(request)

    return draw


def their_pipeline(
    folder: Path, dtype: torch.dtype, channels_last: bool = False, compiled: bool = False
) -> Draw:
    """That of diffusers."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=dtype, safety_checker=None)
    pipeline.to("cuda")
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    if channels_last:
        for network in (pipeline.unet, pipeline.vae):
            network.to(memory_format=torch.channels_last)
    if compiled:
        for network in (pipeline.unet, pipeline.vae.decoder):
            network.compile()

    def draw(count: int, steps: int) -> Any:
        generators = [torch.Generator().manual_seed(seed) for seed in range(count)]
        settings = {"guidance_scale": GUIDANCE, "height": SIDE, "width": SIDE, "generator": generators}
        return pipeline([PROMPT] * count, num_inference_steps=steps, **settings).images

    return draw


def seconds(draw: Draw, count: int, steps: int) -> float:
    """How long it takes."""
    torch.cuda.synchronize()
    begin = time.perf_counter()
    draw(count, steps)
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def peak_mib(draw: Draw, count: int) -> float:
    """The most memory that it takes above what stays."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    draw(count, FEW)
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def product_rate(dtype: torch.dtype, times: int = 20) -> float:
    """Multiply-adds a second of large matrix products."""
    left, right = (torch.randn(PRODUCT, PRODUCT, device="cuda").to(dtype) for _ in range(2))
    for _ in range(times):  # till clocks are up
        left @ right
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(times):
        left @ right
    torch.cuda.synchronize()
    return PRODUCT**3 * times / (time.perf_counter() - begin)


def make_peers(folder: Path, dtype: torch.dtype, compiled: bool) -> dict[str, Draw]:
    """All that is to be measured, by name."""
    peers = {
        "inkpunk": our_pipeline(folder, dtype),
        "inkpunk --without graphs": our_pipeline(folder, dtype, graphs=False),
        "inkpunk --without channels_last": our_pipeline(folder, dtype, channels_last=False),
        "diffusers": their_pipeline(folder, dtype),
        "diffusers, channels_last": their_pipeline(folder, dtype, channels_last=True),
    }
    if compiled:
        peers["inkpunk --compile"] = our_pipeline(folder, dtype, compile=True)
        peers["diffusers, channels_last, compiled"] = their_pipeline(folder, dtype, True, True)
    return peers


@click.command()
@click.option("--runs", default=5, show_default=True, help="Turns.")
@click.option("--counts", default="1,4", show_default=True, help="Pictures at a time.")
@click.option("--dtype", default="float16", show_default=True, type=click.Choice(sorted(DTYPES)))
@click.option("--compile", "compiled", is_flag=True, help="Also what torch compiled; takes minutes.")
def main(runs: int, counts: str, dtype: str, compiled: bool) -> None:
    """Print the table."""
    precision = DTYPES[dtype]
    rate = product_rate(precision) / 1e12
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {dtype}: {rate:.0f} T multiply-adds/s")
    with tempfile.TemporaryDirectory() as home:
        single, folder = Path(home) / "model.safetensors", Path(home) / "folder"
        make_checkpoint(single, dtype=precision)
        convert_checkpoint(single, folder)
        peers = make_peers(folder, precision, compiled)
    for count in map(int, counts.split(",")):
        times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in peers}
        peaks = dict[str, float]()
        for name, draw in peers.items():
            draw(count, FEW)
            peaks[name] = peak_mib(draw, count)
        for _ in range(runs):
            for name, draw in peers.items():
                for steps, taken in zip((FEW, MANY), times[name], strict=True):
                    taken.append(seconds(draw, count, steps))
        print(f"{count} at a time: ms a step; s for {MANY} steps and a picture (least to most); MiB")
        for name, (short, long) in times.items():
            step = 1000 * (statistics.median(long) - statistics.median(short)) / (MANY - FEW)
            told = f"{statistics.median(long):.3f} ({min(long):.3f} to {max(long):.3f})"
            print(f"  {name:35} {step:6.1f} {told:24} {peaks[name]:6.0f}", flush=True)


if __name__ == "__main__":
    main()
