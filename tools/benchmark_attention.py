"""Times the ways of attention on a CPU, on the shapes that Stable Diffusion's UNet has at 512x512, guided.

    uv run python -m tools.benchmark_attention [--runs 5]

For every shape, medians of turns: torch's own attention; the same in blocks of queries by hand (products, softmax,
products); and the native kernels that the app uses. And how far each is from float64.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from inkpunk_winograd import has_native_attention, native_attention
from torch import Tensor

BATCH, HEADS = 2, 8
# tokens, context, width of a head
SHAPES = [(4096, 4096, 40), (1024, 1024, 80), (256, 256, 160), (64, 64, 160)]
CROSS = [(tokens, 77, width) for tokens, _, width in SHAPES]
BLOCK = 128  # queries


def by_torch(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Let torch choose."""
    heads = [each.unflatten(2, (HEADS, -1)).transpose(1, 2) for each in (query, key, value)]
    return F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


def by_hand(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """A block of queries at a time, whose scores the cache holds."""
    query, key, value = (each.unflatten(2, (HEADS, -1)).transpose(1, 2) for each in (query, key, value))
    scale, keys = query.shape[-1] ** -0.5, key.mT.contiguous()
    blocks = [(some @ keys).mul_(scale).softmax(-1) @ value for some in query.split(BLOCK, dim=2)]
    return torch.cat(blocks, dim=2).transpose(1, 2).flatten(2)


def by_kernels(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As the app does."""
    heads = (each.unflatten(2, (HEADS, -1)).transpose(1, 2) for each in (query, key, value))
    return native_attention(*heads).transpose(1, 2).flatten(2)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    ways: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"torch": by_torch, "by hand": by_hand}
    if has_native_attention():
        ways["native"] = by_kernels
    print("| tokens, context, head | torch, ms |", *(f"{name} |" for name in [*ways][1:]), "errors |")
    print("| --- " * (len(ways) + 2) + "|")
    with torch.inference_mode():
        for tokens, context, width in [*SHAPES, *CROSS]:
            query, key, value = (
                torch.randn(BATCH, count, HEADS * width) for count in (tokens, context, context)
            )
            exact = by_torch(query[:1].double(), key[:1].double(), value[:1].double())
            errors = [
                float((way(query, key, value)[:1] - exact).norm() / exact.norm()) for way in ways.values()
            ]
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(arguments.runs):
                for name, way in ways.items():
                    start = time.perf_counter()
                    way(query, key, value)
                    seconds[name].append(time.perf_counter() - start)
            times = {name: median(each) for name, each in seconds.items()}
            cells = [
                f"{tokens}, {context}, {width}",
                f"{1000 * times['torch']:.1f}",
                *(f"{times[name] / times['torch']:.2f}x" for name in [*ways][1:]),
                ", ".join(f"{error:.1e}" for error in errors),
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
