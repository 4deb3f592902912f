"""Times inkpunk-winograd as its wheel has it, where there is no compiler, beside what this machine's compiler builds.

    uv run python -m tools.benchmark_wheel [--runs 5] [--full | --checkpoint full.safetensors]

The wheel is built and installed, with the app, into an environment of its own, and the rest runs there. First without
any compiler in the path: the kernels have to be those that came. Then torch, the kernels that came, and those built
here take turns in one process, so that a busy machine slows all of them alike; the figures are medians. With a
checkpoint of Stable Diffusion's size, or `--full`, which writes one of random weights, so do the steps of one guided
picture of 512x512. Fails where the kernels that came take more than 0.40 of torch's time, or 1.05 of a step's.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
HERE = "--here"  # said by this to itself
CONVOLUTION = (1, 640, 640, 32, 32)
KERNELS = ("convolution", "attention")
OF_TORCH, OF_BUILT = 0.40, 1.05
"""The most that the kernels that came may take: of torch's time, and of that with those built here."""


def install(folder: Path) -> Path:
    """Build the wheels, install them and what they need into a new environment; return its Python."""
    run = lambda *words: subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout  # noqa: E731
    environment, wheels = folder / "environment", folder / "wheels"
    run("uv", "venv", "-q", "--python", sys.executable, str(environment))
    exported = run(
        "uv", "export", "-q", "--package", "inkpunk", "--no-dev", "--no-emit-workspace", "--no-hashes"
    )
    (folder / "requirements.txt").write_bytes(exported)
    run("uv", "build", "-q", "--wheel", "--all-packages", "-o", str(wheels))
    into = ("uv", "pip", "install", "-q", "--python", str(environment))
    run(*into, "-r", str(folder / "requirements.txt"))
    needed = [
        path for path in wheels.glob("*.whl") if not path.name.startswith(("inkpunk_studio", "inkpunk_fleet"))
    ]
    run(*into, "--no-deps", *map(str, needed))
    [wheel] = wheels.glob("inkpunk_winograd-*.whl")
    print(
        f"{wheel.name}: {wheel.stat().st_size / 1024:.0f} KiB; {platform.machine()}, {os.cpu_count()} cores\n",
        flush=True,
    )
    return environment / "bin" / "python"


@contextmanager
def kernels(built: bool, path: str) -> Iterator[None]:
    """Those that are built here, or, without a path to look for a compiler in, those that came."""
    from inkpunk_winograd.native.library import SWITCH, load

    os.environ["PATH"], os.environ[SWITCH] = (path, "build") if built else ("", "1")
    load.cache_clear()
    for name in KERNELS:
        assert load(name).functions is not None, load(name).why_not
        assert load(name).prebuilt is not built
    yield
    os.environ["PATH"] = path


def turns(ways: dict[str, Callable[[], object]], runs: int, path: str) -> dict[str, float]:
    """Median seconds of each way; the first turn warms up."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(runs + 1):
        for way, work in ways.items():
            with kernels(way == "built here", path):
                start = time.perf_counter()
                work()
            if turn:
                seconds[way].append(time.perf_counter() - start)
    for way, each in seconds.items():
        print(f"  {way:12} " + " ".join(f"{second:.4g}" for second in each), flush=True)
    return {way: median(each) for way, each in seconds.items()}


def convolve(runs: int, path: str) -> bool:
    """One convolution, beside torch's in the faster of its two memory formats; whether it is fast enough."""
    import torch
    import torch.nn.functional as F
    from inkpunk_winograd import winograd_conv2d

    batch, channels, out, height, width = CONVOLUTION
    x, weight = (
        torch.randn(batch, channels, height, width),
        torch.randn(out, channels, 3, 3) / (3 * channels**0.5),
    )
    last, last_weight = (each.contiguous(memory_format=torch.channels_last) for each in (x, weight))
    print(f"seconds of a convolution, {batch} x {channels} to {out} at {height} x {width}:")
    with torch.inference_mode():
        ways: dict[str, Callable[[], object]] = {
            "torch": lambda: F.conv2d(x, weight, padding=1),
            "torch, last": lambda: F.conv2d(last, last_weight, padding=1),
            "came": lambda: winograd_conv2d(last, weight),
            "built here": lambda: winograd_conv2d(last, weight),
        }
        took = turns(ways, runs, path)
    torchs = min(took["torch"], took["torch, last"])
    came, built = took["came"] / torchs, took["built here"] / torchs
    print(f"  came: {came:.2f} of torch's, at most {OF_TORCH:.2f}; built here: {built:.2f}\n", flush=True)
    return came <= OF_TORCH


def draw(checkpoint: str, runs: int, path: str) -> bool:
    """The steps of one guided picture, with the kernels that came and those built here; whether it is fast enough."""
    from inkpunk import Pipeline, Request

    with kernels(False, path):
        pipeline = Pipeline.load(checkpoint, device="cpu", dtype="float32")
    steps = pipeline.run(Request("nvinkpunk raven", seeds=(0,), steps=2 * (runs + 1) + 1, sampler="Euler"))
    next(steps)
    print("seconds of a guided step at 512x512:")
    ways = {"came": lambda: next(steps), "built here": lambda: next(steps)}
    took = turns(ways, runs, path)
    came = took["came"] / took["built here"]
    print(f"  came: {came:.3f} of built here, at most {OF_BUILT:.2f}", flush=True)
    return came <= OF_BUILT


def main() -> int:
    """Build, install, and measure there; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--checkpoint", help="of Stable Diffusion's size")
    parser.add_argument("--full", action="store_true", help="write one, of random weights (4.3 GB)")
    parser.add_argument(HERE, action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        path = os.environ["PATH"]
        enough = [convolve(4 * arguments.runs, path)]
        if arguments.checkpoint:
            enough.append(draw(arguments.checkpoint, arguments.runs, path))
        return int(not all(enough))
    with tempfile.TemporaryDirectory() as folder:
        python = install(Path(folder))
        checkpoint = arguments.checkpoint
        if arguments.full:
            checkpoint = str(Path(folder) / "full.safetensors")
            subprocess.run([sys.executable, "-m", "tools.make_checkpoint", checkpoint], cwd=ROOT, check=True)
        own = {"PYTHONSAFEPATH": "1", "XDG_CACHE_HOME": folder}
        say = "from inkpunk_winograd import why_not_native; print('native kernels:', why_not_native() or 'in use')"
        bare = {**os.environ, **own, "PATH": str(python.parent)}
        subprocess.run([python, "-c", say], env=bare, check=True)
        asked = [HERE, "--runs", str(arguments.runs), *(["--checkpoint", checkpoint] if checkpoint else [])]
        return subprocess.run([python, __file__, *asked], env={**os.environ, **own}).returncode


if __name__ == "__main__":
    sys.exit(main())
