"""What adapters cost at full size on a CPU: a step, a switch and memory, ours beside diffusers with PEFT.

    uv run python -m tools.benchmark_loras [--size 512] [--runs 5]

Writes random weights of Stable Diffusion v1.5's size in float32, and two LoRAs of rank 32 for all layers of its
transformers. Steps are guided. With and without adapters they take turns in one process, in which both models share
what no adapter changes; each way's memory is measured in a process of its own, with a single step.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from inkpunk import Pipeline, Request
from inkpunk.memory.pages import let_go_of_pages
from inkpunk.models.loading import build, refuse_problems
from inkpunk_unet import UNet, UNetConfig
from inkpunk_weights import LowRank, open_checkpoint, save_lora
from inkpunk_winograd import accelerate
from torch import nn

from tools.benchmark_batch import seconds
from tools.make_checkpoint import DTYPES, make_checkpoint

PROMPT = "nvinkpunk raven"
RANK = 32
SPREAD = 0.01
SWITCHED = ("float32", "float16")  # of the checkpoints that are switched
LORAS = ("one.safetensors", "two.safetensors")


def make_lora(path: Path, seed: int) -> None:
    """Write a LoRA of random numbers for the layers that kohya's scripts choose."""
    with torch.device("meta"):
        unet = UNet(UNetConfig())
    generator = torch.Generator().manual_seed(seed)
    changes = dict[str, LowRank]()
    for name, layer in unet.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d) and ("attention" in name or "feed_forward" in name):
            outs, *ins = layer.weight.shape
            down = torch.randn(RANK, *ins, generator=generator) * SPREAD
            changes[name] = LowRank(
                down, torch.randn(outs, RANK, *[1] * (len(ins) - 1), generator=generator) * SPREAD, RANK
            )
    save_lora(path, unet=changes)


def switching(model: Path, runs: int) -> dict[str, float]:
    """Seconds to put two adapters on, to take them off, and to load the layers that they touch.

    The file is in the system's memory, but for the last: there it has let go of it before.
    """
    plain = Pipeline.load(model, device="cpu")
    loras = [model.with_name(name) for name in LORAS]
    present = plain.unet.tensors
    assert plain.plain is not None
    weights = plain.plain.weights["unet"]
    touched = [
        name
        for name, tensor in plain.with_adapters(*loras).unet.tensors.items()
        if tensor.data_ptr() != present[name].data_ptr()
    ]
    times: dict[str, list[float]] = {
        "on": [],
        "off": [],
        "loading the touched layers": [],
        "from the disk": [],
    }
    for _ in range(runs + 1):
        start = time.perf_counter()
        bent = plain.with_adapters(*loras)
        on = time.perf_counter()
        bent.with_adapters()
        times["on"].append(on - start)
        times["off"].append(time.perf_counter() - on)
        del bent
        times["loading the touched layers"].append(loading(model, touched))
        let_go_of_pages(weights[name] for name in touched)
        with model.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        times["from the disk"].append(loading(model, touched))
    return {name: median(each[1:]) for name, each in times.items()}


def loading(model: Path, touched: Sequence[str]) -> float:
    """Seconds that loading takes for some of a UNet's weights alone: from the file to layers that are ready to run.

    As `Pipeline.load` does it: the file is opened and checked, its tensors are mapped and, where they are no float32,
    converted, and the layers are built and made faster. Mapped numbers are read once, as a first step would.
    """
    start = time.perf_counter()
    checkpoint = open_checkpoint(model)
    refuse_problems(checkpoint)
    weights = {f"{i}.weight": checkpoint.unet[name] for i, name in enumerate(touched)}

    def layers() -> nn.ModuleList:
        unet = UNet(UNetConfig())
        of = [unet.get_submodule(name.removesuffix(".weight")) for name in touched]
        for layer in of:
            layer.register_parameter("bias", None)  # which no LoRA touches
        return nn.ModuleList(of)

    built = build(layers, weights, device=torch.device("cpu"), dtype=torch.float32)
    accelerate(built, attention=False, channels_last=False)
    for parameter in built.parameters():
        torch.aminmax(parameter)
    return time.perf_counter() - start


def steps(home: Path, size: int, runs: int) -> tuple[float, float]:
    """Seconds of a step without adapters and with them."""
    plain = Pipeline.load(home / "model.safetensors", device="cpu")
    bent = plain.with_adapters(*(home / name for name in LORAS))
    request = Request(PROMPT, seeds=(1,), steps=runs + 1, sampler="euler", width=size, height=size)
    without, with_adapters = seconds(runs, iter(plain.run(request)), iter(bent.run(request)))
    return without, with_adapters


def one_step(way: str, home: Path, size: int) -> dict[str, float]:
    """Load, put the adapters on and do a step or two: the second's time, and the peak of memory above the imports."""
    import diffusers
    import inkpunk.pipeline  # noqa: F401
    from inkpunk.memory.peaks import peak_memory

    diffusers.utils.logging.set_verbosity_error()
    device = torch.device("cpu")
    with peak_memory(device) as imports:
        pass
    with peak_memory(device) as work:
        if way == "diffusers with PEFT":
            taken = _diffusers(home, size)
        else:
            loras = () if way == "inkpunk without" else [home / name for name in LORAS]
            low = "low memory" in way
            pipeline = Pipeline.load(home / "model.safetensors", device="cpu", loras=loras, low_memory=low)
            request = Request(PROMPT, seeds=(1,), steps=2, sampler="euler", width=size, height=size)
            run = iter(pipeline.run(request))
            next(run)
            start = time.perf_counter()
            next(run)
            taken = time.perf_counter() - start
    return {"step": taken, "peak": ((work.bytes or 0) - (imports.bytes or 0)) / 2**30}


def _diffusers(home: Path, size: int) -> float:
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline.from_pretrained(home / "folder", safety_checker=None)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    for name in LORAS:
        pipeline.load_lora_weights(home, weight_name=name, adapter_name=Path(name).stem)
    pipeline.set_adapters([Path(name).stem for name in LORAS])
    ends: list[float] = []
    pipeline(
        PROMPT, num_inference_steps=2, width=size, height=size, output_type="latent",
        callback_on_step_end=lambda *_: ends.append(time.perf_counter()) or {},
    )  # fmt: skip
    return ends[1] - ends[0]


WAYS = ("inkpunk without", "inkpunk with two", "inkpunk with two, low memory", "diffusers with PEFT")


@click.command()
@click.option("--size", default=512, show_default=True, help="Pixels a side.")
@click.option("--runs", default=5, show_default=True, help="Steps, and switches, of each way.")
@click.option("--only", nargs=2, metavar="WAY FOLDER", hidden=True, help="One way, here; prints JSON.")
def main(size: int, runs: int, only: tuple[str, str] | None) -> None:
    """Print what two adapters cost."""
    if only:
        print(json.dumps(one_step(only[0], Path(only[1]), size)))
        return
    from inkpunk.models.conversion import convert_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_checkpoint(home / "model.safetensors", size="full", seed=0)
        convert_checkpoint(home / "model.safetensors", home / "folder")
        for seed, name in enumerate(LORAS):
            make_lora(home / name, seed)
        print(f"two LoRAs of rank {RANK}, {size}x{size}, medians of {runs}", flush=True)
        for dtype in SWITCHED:
            model = home / f"{dtype}.safetensors"
            make_checkpoint(model, size="full", seed=0, dtype=DTYPES[dtype])
            told = ", ".join(f"{name} {taken:.2f} s" for name, taken in switching(model, runs).items())
            print(f"of a file in {dtype}: {told}", flush=True)
            model.unlink()
        without, with_adapters = steps(home, size, runs)
        ratio = with_adapters / without
        print(
            f"a step, in turns: {without:.2f} s without, {with_adapters:.2f} s with, {ratio:.3f}x", flush=True
        )
        print("| in a process of its own | second step | peak above the imports |\n| --- | --- | --- |")
        for way in WAYS:
            command = [
                sys.executable,
                "-m",
                "tools.benchmark_loras",
                "--size",
                str(size),
                "--only",
                way,
                folder,
            ]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            told = json.loads(output.splitlines()[-1])
            print(f"| {way} | {told['step']:.1f} s | {told['peak']:.2f} GiB |", flush=True)


if __name__ == "__main__":
    main()
