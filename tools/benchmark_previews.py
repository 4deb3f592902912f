"""What previews cost: processor seconds of one by each way, in its file, beside a guided step of full size.

    uv run python -m tools.benchmark_previews [--size 512] [--runs 3]

Random weights of Stable Diffusion v1.5's size and TAESD's, in float32 on the CPU. Steps and previews take turns in
one process, whose own processor time counts, whatever else the machine does; the figures are medians. A preview is
drawn from the state of a step, made a picture, enlarged if it is small, and written to its file. The step after each
way is timed as well, since a preview could leave the next step a cold memory. Last, what a draft saves: the tiny
autoencoder's decode and the VAE's, of one picture.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import click
import torch
from diffusers import AutoencoderTiny
from inkpunk import Pipeline, Request
from inkpunk.cli.previewing import EVERY, side_by_side, write

from tools.make_checkpoint import make_checkpoint


def seconds_of(work: Callable[[], object]) -> float:
    """The processor's, once."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(home: Path, size: int, runs: int) -> dict[str, dict[str, float]]:
    """By way, the medians of a preview and of the step after it; those of decoding."""
    rough = Pipeline.load(home / "model.safetensors", device="cpu", tiny_vae=home / "taesd")
    ways = {"none": None, "linear map": replace(rough, tiny_vae=None), "tiny autoencoder": rough}
    request = Request("a raven", seeds=(1,), steps=(runs + 1) * len(ways) + 1, width=size, height=size)
    steps = rough.run(request)
    step = next(steps)
    took = {way: {"preview": list[float](), "step": list[float]()} for way in ways}
    for turn in range(runs + 1):  # the first turn reads the weights
        for way, pipeline in ways.items():
            state = step

            def show(pipeline: Pipeline | None = pipeline, state=state) -> None:
                if pipeline is not None:
                    write(side_by_side(pipeline.preview(state)), home / "preview.png")

            preview = seconds_of(show)
            start = time.process_time()
            step = next(steps)
            if turn:
                took[way]["preview"].append(preview)
                took[way]["step"].append(time.process_time() - start)
    steps.close()
    found = {way: {name: median(each) for name, each in times.items()} for way, times in took.items()}
    for name, decode in (("VAE", rough.decode), ("tiny autoencoder", rough.decode_roughly)):
        each = [seconds_of(lambda decode=decode: decode(step.latents)) for _ in range(runs + 1)]
        found.setdefault("decoding", {})[name] = median(each[1:])
    return found


@click.command()
@click.option("--size", default=512, show_default=True, help="Pixels a side.")
@click.option("--runs", default=3, show_default=True, help="Previews of each way.")
def main(size: int, runs: int) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_checkpoint(home / "model.safetensors", size="full", seed=0)
        torch.manual_seed(0)
        AutoencoderTiny().save_pretrained(home / "taesd")
        found = measure(home, size, runs)
    decoding, usual = found.pop("decoding"), found["none"]["step"]
    print(
        f"at {size}x{size}, medians of {runs}, in turns; a guided step takes {usual:.2f} processor seconds\n"
    )
    print(
        f"| previews by | processor seconds | of a step | of each step at one every {EVERY} | the step after it |"
    )
    print("| --- | --- | --- | --- | --- |")
    for way, times in found.items():
        share, after = times["preview"] / usual, times["step"] / usual
        print(f"| {way} | {times['preview']:.4f} | {share:.2%} | {share / EVERY:.2%} | {after:.3f}x |")
    print(f"\ndecoding: {', '.join(f'{name} {seconds:.2f} s' for name, seconds in decoding.items())}")


if __name__ == "__main__":
    main()
