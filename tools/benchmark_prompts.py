"""What long, changing and composed prompts cost: seconds of a guided step, beside what their arithmetic says.

    uv run python -m tools.benchmark_prompts [--full] [--runs 5]

The model in the box, and with --full one of Stable Diffusion v1.5's size with random weights, at 512x512 in float32.
The prompts take turns in one process, a step of each at a time, so that a busy machine slows all of them alike; the
figures are medians. The first turn computes each prompt's keys and values, and is left out.

The last column is the ratio of the multiplications in one step, those of the convolutions counted directly, and those
of a prompt's keys and values not at all, since they are computed once. Where convolutions take fewer, as here on a
CPU, what else there is weighs a little more.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median

import click
import torch
from inkpunk import Pipeline, Request
from inkpunk.road.plan import Plan
from inkpunk_unet import UNet, UNetConfig
from inkpunk_unet.attention import TransformerBlock
from torch.utils.flop_counter import FlopCounterMode

from tools.make_checkpoint import make_checkpoint

TEXT = "nvinkpunk raven, neon green splash"
CHUNK = ", ".join(["a raven in the rain"] * 12)  # 71 tokens
PROMPTS = {
    "1 chunk": TEXT,
    "2 chunks": " BREAK ".join([CHUNK] * 2),
    "4 chunks": " BREAK ".join([CHUNK] * 4),
    "2 texts in turn": f"[{TEXT}|{CHUNK}]",
    "2 parts": f"{TEXT} AND {CHUNK}",
}


@dataclass(frozen=True)
class Asked:
    """A prompt to measure: its plan, and a way to do one step after the other."""

    plan: Plan
    steps: Iterator[object]


def multiplications(config: UNetConfig, rows: int, tokens: int, side: int) -> int:
    """Floating-point operations of one call of the UNet, less those of the keys and values of the context."""
    with torch.device("meta"):
        unet = UNet(config)
        latents, context = torch.empty(rows, 4, side, side), torch.empty(rows, tokens, config.context_width)
        with FlopCounterMode(display=False) as counter:
            unet(latents, torch.empty(rows), context)
    blocks = [module for module in unet.modules() if isinstance(module, TransformerBlock)]
    widths = [block.cross_attention.key.out_features for block in blocks]
    return counter.get_total_flops() - sum(
        2 * 2 * rows * tokens * config.context_width * width for width in widths
    )


def measured(pipeline: Pipeline, runs: int, size: int | None) -> tuple[dict[str, float], dict[str, int]]:
    """Of each prompt the seconds of a step, and the operations of one."""
    asked = dict[str, Asked]()
    work = dict[str, int]()
    for name, prompt in PROMPTS.items():
        request = Request(prompt, seeds=(1,), steps=2 * (runs + 2), sampler="euler", width=size, height=size)
        plan = pipeline.plan(request)
        tokens = pipeline.contexts(plan)(float(plan.path[0])).prompt.shape[1]
        work[name] = multiplications(pipeline.unet.config, plan.rows, tokens, plan.width // 8)
        asked[name] = Asked(plan, iter(pipeline.run(request)))
    seconds: dict[str, list[float]] = {name: [] for name in PROMPTS}
    for turn, name in zip(range((runs + 2) * len(PROMPTS)), cycle(PROMPTS), strict=False):
        start = time.perf_counter()
        next(asked[name].steps)
        if turn >= 2 * len(PROMPTS):  # two texts in turn have two first steps
            seconds[name].append(time.perf_counter() - start)
    return {name: median(each) for name, each in seconds.items()}, work


def table(name: str, pipeline: Pipeline, runs: int, size: int | None) -> str:
    """The rows of a model."""
    seconds, work = measured(pipeline, runs, size)
    return "\n".join(
        f"| {name} | {prompt} | {seconds[prompt]:.3f} s | {seconds[prompt] / seconds['1 chunk']:.3f}x "
        f"| {work[prompt] / work['1 chunk']:.3f}x |"
        for prompt in PROMPTS
    )


@click.command()
@click.option("--full", is_flag=True, help="Also measure full-size random weights: some minutes on a CPU.")
@click.option("--runs", default=5, show_default=True, help="Steps of each prompt.")
def main(full: bool, runs: int) -> None:
    """Print the table."""
    print("| model | prompt | a guided step | to 1 chunk | its arithmetic |")
    print("| --- | --- | --- | --- | --- |")
    print(table("sketch", Pipeline.load("sketch", device="cpu"), 4 * runs, None), flush=True)
    if full:
        with tempfile.TemporaryDirectory() as home:
            path = Path(home) / "random.safetensors"
            make_checkpoint(path, size="full", seed=0)
            print(table("full size", Pipeline.load(path, device="cpu"), runs, 512), flush=True)


if __name__ == "__main__":
    main()
