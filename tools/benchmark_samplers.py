"""Times the arithmetic of the samplers themselves, beside the step of the UNet that they ask for.

    uv run python -m tools.benchmark_samplers [--step-seconds 5.5] [--runs 5]

Every sampler draws one picture of 512x512 in 20 steps with a denoiser that returns at once. Seeded noise is drawn for
it from each source, and for those that want it a Brownian path. The median of the runs stands beside a guided step of
Stable Diffusion v1.5: of random weights, measured here, unless `--step-seconds` tells it. A step of two calls of the
UNet is compared with one, too. No sampler may take more than 2 % of it.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from inkpunk_sampling import SAMPLERS, SOURCES, NoiseSchedule, brownian_path, sample, seeded_noise
from torch import Tensor

from tools.benchmark.peers import Ours
from tools.benchmark.work import Work
from tools.make_checkpoint import make_checkpoint

LATENTS = (4, 64, 64)
STEPS = 20
SEEDS = (7,)
LIMIT = 0.02
SCHEDULE = NoiseSchedule()


def at_once(latents: Tensor, timestep: float) -> Tensor:
    """A model that has nothing to compute."""
    return latents


def draw(sampler: str, source: str) -> None:
    """A sampler's whole work for one picture."""
    noise = seeded_noise(SEEDS, LATENTS, source)
    brownian = brownian_path(SEEDS, LATENTS, SCHEDULE, source)
    for _ in sample(
        at_once, noise, SCHEDULE, sampler=sampler, steps=STEPS, spacing="karras", brownian=brownian
    ):
        pass


def median_seconds(runs: int, work: Callable[[], object]) -> float:
    """Of so many runs after a first."""
    work()
    seconds: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def full_size_step(runs: int) -> float:
    """Seconds of one guided step at full size."""
    with TemporaryDirectory() as folder, torch.inference_mode():
        checkpoint = Path(folder) / "random.safetensors"
        make_checkpoint(checkpoint, dtype=torch.float16)
        work = Work("step")
        step, inputs = Ours(checkpoint, work.kind).prepare(work), work.inputs()
        return median_seconds(runs, lambda: step(*inputs))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--step-seconds", type=float, help="of a full-size step, if it is known")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    step = arguments.step_seconds or full_size_step(arguments.runs)
    print(f"a guided step: {step:.2f} s\n")
    print("| sampler |", *(f"{source}, ms a step | % of a guided step |" for source in SOURCES))
    print("| --- " * (1 + 2 * len(SOURCES)) + "|")
    shares: dict[str, float] = {}
    for name in SAMPLERS:
        cells: list[str] = []
        for source in SOURCES:
            seconds = median_seconds(arguments.runs, lambda: draw(name, source)) / STEPS  # noqa: B023
            shares[f"{name} with {source}"] = seconds / step
            cells += [f"{1000 * seconds:.2f}", f"{seconds / step:.3%}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    worst = max(shares, key=lambda each: shares[each])
    verdict = "within" if shares[worst] <= LIMIT else "beyond"
    print(f"\nthe most: {worst}, {shares[worst]:.2%}, {verdict} the limit of {LIMIT:.0%}")


if __name__ == "__main__":
    main()
