"""Time and memory from nothing to a loaded model, and on to the first step: ours against diffusers.

    uv run python -m tools.benchmark_loading

Writes one full-size fp32 checkpoint of random weights both as a single file and as a diffusers folder, then loads
them in turn, each time in a fresh process, and takes medians. The step is one guided step at 64x64 pixels: small
enough that reading the weights, not arithmetic, decides. Both sides find the files in the page cache.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

PROMPT = "nvinkpunk raven"


def ours(model: Path) -> Callable[[], object]:
    """Load with inkpunk; return what runs the first step."""
    from inkpunk import Pipeline, Request

    pipeline = Pipeline.load(model, device="cpu")
    return lambda: next(pipeline.run(Request(PROMPT, seeds=(1,), steps=2, width=64, height=64)))


def diffusers(model: Path) -> Callable[[], object]:
    """Load with diffusers; return what runs the first step."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)

    def step() -> None:
        pipeline(PROMPT, num_inference_steps=1, width=64, height=64, output_type="latent")

    return step


SIDES = {"inkpunk": ours, "diffusers": diffusers}


def measure(side: str, model: Path) -> dict[str, float]:
    """Run one side in this process; the imports are not counted, since they load no weight."""
    import diffusers  # noqa: F401
    import inkpunk.pipeline  # noqa: F401
    import torch
    from inkpunk.memory.peaks import peak_memory

    with peak_memory(torch.device("cpu")) as imports:
        pass
    with peak_memory(torch.device("cpu")) as work:
        start = time.perf_counter()
        step = SIDES[side](model)
        loaded = time.perf_counter()
        step()
        stepped = time.perf_counter()
    peak = (work.bytes or 0) - (imports.bytes or 0)
    return {"load": loaded - start, "first step": stepped - start, "peak GB": peak / 1e9}


@click.command()
@click.option("--runs", default=5, show_default=True, help="Runs of each side.")
@click.option("--only", nargs=2, metavar="SIDE MODEL", hidden=True, help="Measure one side here; print JSON.")
def main(runs: int, only: tuple[str, str] | None) -> None:
    """Compare loading a full-size fp32 checkpoint: inkpunk's single file, diffusers' folder."""
    if only:
        print(json.dumps(measure(only[0], Path(only[1]))))
        return
    from inkpunk.models.conversion import convert_checkpoint

    from tools.make_checkpoint import make_checkpoint

    with tempfile.TemporaryDirectory() as home:
        models = {"inkpunk": Path(home) / "model.safetensors", "diffusers": Path(home) / "folder"}
        make_checkpoint(models["inkpunk"], size="full", seed=0)
        convert_checkpoint(models["inkpunk"], models["diffusers"])
        size = models["inkpunk"].stat().st_size / 1e9
        results: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for _ in range(runs + 1):  # the first round warms the page cache and is left out
            for side, model in models.items():
                command = [sys.executable, "-m", "tools.benchmark_loading", "--only", side, str(model)]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                results[side].append(json.loads(output.splitlines()[-1]))
    print(f"weights: {size:.2f} GB, medians of {runs} runs")
    print(f"{'':<12}{'load':>10}{'to first step':>16}{'peak above imports':>22}")
    for side, rounds in results.items():
        median = {key: statistics.median(each[key] for each in rounds[1:]) for key in rounds[0]}
        share = median["peak GB"] / size
        print(
            f"{side:<12}{median['load']:>8.2f} s{median['first step']:>14.2f} s"
            f"{median['peak GB']:>13.2f} GB ({share:.0%} of the weights)"
        )


if __name__ == "__main__":
    main()
