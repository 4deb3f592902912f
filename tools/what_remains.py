"""What remains of a guided step, by kind of work, and what its arithmetic alone would take.

    uv run python -m tools.what_remains [--dtype bfloat16] [--model FOLDER] [--runs 5]

The UNet at full size and 512x512 on a CPU, sped up as pictures are drawn. Each convolution, linear layer and
attention is timed as it is called, and the rest is what a step takes beside them. The bound is the direct way's
arithmetic at the best rate of a matrix product seen in the same run; what both of guidance's predictions share is
counted twice in it, and done once.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from inkpunk import Pipeline
from inkpunk_unet import UNet, UNetConfig
from inkpunk_unet.attention import Attention
from inkpunk_winograd import Inner, wrap
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tools.benchmark.work import Work
from tools.make_checkpoint import DTYPES, make_checkpoint
from tools.matmul_rate import matmul_rate

KINDS: dict[type[nn.Module], str] = {
    nn.Conv2d: "convolutions",
    nn.Linear: "linear layers",
    Attention: "attention",
}
REST = "norms, activations, and the rest"
OPERATIONS = {"convolution": "convolutions", "mm": "linear layers", "addmm": "linear layers"}


@contextmanager
def timed(network: nn.Module, spent: Counter[str]) -> Generator[None]:
    """Within it, the seconds of each kind of layer are added to `spent`; an attention's are without its layers'."""
    inside = [0.0]  # seconds of what was called within each call under way

    def around(kind: str) -> Callable[..., Any]:
        def call(layer: nn.Module, inner: Inner, *inputs: Any, **named: Any) -> Any:
            inside.append(0.0)
            start = time.perf_counter()
            try:
                return inner(layer, *inputs, **named)
            finally:
                taken = time.perf_counter() - start
                spent[kind] += taken - inside.pop()
                inside[-1] += taken

        return call

    undos = [wrap(each, around(KINDS[type(each)])) for each in network.modules() if type(each) in KINDS]
    try:
        yield
    finally:
        for undo in undos:
            undo()


def seconds(network: nn.Module, inputs: Sequence[Any], runs: int) -> dict[str, float]:
    """Of each kind, the median over runs; the first run, which sets things up, is left out."""
    runs_spent = list[Counter[str]]()
    with torch.inference_mode():
        for _ in range(runs + 1):
            spent = Counter[str]()
            with timed(network, spent):
                start = time.perf_counter()
                network(*inputs)
                spent[REST] = time.perf_counter() - start - spent.total()
            runs_spent.append(spent)
    return {kind: median(spent[kind] for spent in runs_spent[1:]) for kind in (*KINDS.values(), REST)}


def operations(network: nn.Module, inputs: Sequence[Any]) -> Counter[str]:
    """Floating-point operations of each kind, two for every multiply-add."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*inputs)
    found = Counter[str]()
    for operation, count in counter.get_flop_counts()["Global"].items():
        found[OPERATIONS.get(str(operation).removeprefix("aten."), "attention")] += count
    return found


@click.command()
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="bfloat16", show_default=True)
@click.option("--model", type=click.Path(path_type=Path), help="At full size. [default: random weights]")
@click.option("--runs", default=5, show_default=True)
def main(dtype: str, model: Path | None, runs: int) -> None:
    """Print the table."""
    work = Work("step")
    with torch.device("meta"):
        counts = operations(UNet(UNetConfig()), work.inputs(device="meta"))
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            model = Path(folder) / "model.safetensors"
            make_checkpoint(model, size="full", seed=0)
        pipeline = Pipeline.load(model, device="cpu", dtype=dtype)
        rates = [matmul_rate(DTYPES[dtype])]
        with pipeline.unet.awake() as unet:
            taken = seconds(unet, work.inputs(), runs)
        rates.append(matmul_rate(DTYPES[dtype]))
    rate = max(rates)
    print(
        f"{work.name} in {dtype}: {sum(taken.values()):.2f} s, of medians of {runs}; {rate / 1e9:.0f} GFLOP/s"
    )
    print("| kind of work | seconds | its arithmetic |\n| --- | --- | --- |")
    for kind, each in taken.items():
        bound = f"{counts[kind] / rate:.2f}" if counts[kind] else "little: it waits for memory"
        print(f"| {kind} | {each:.2f} | {bound} |")


if __name__ == "__main__":
    main()
