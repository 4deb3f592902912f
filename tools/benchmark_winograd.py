"""Times minimal filtering against torch's own convolution, on the shapes that Stable Diffusion has.

    uv run python -m tools.benchmark_winograd [--part unet|encoder|decoder] [--side 64] [--runs 5]

For every shape: how often it occurs, the time of torch's way (the faster of its two memory formats), that of F(4x4)
in torch's operations and of F(2x2) and F(4x4) in native kernels relative to it, what `accelerate` would choose, and
each way's error relative to float64. All ways take turns, and the table holds medians. The best rate of a large
matrix product, measured between them, gives the limit of direct arithmetic.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from inkpunk_unet import UNet, UNetConfig
from inkpunk_vae import VAE
from inkpunk_winograd import is_eligible, why_not_native, winograd_conv2d
from inkpunk_winograd.choice import NATIVE, cheapest_tile
from torch import Tensor, nn

from tools.matmul_rate import matmul_rate

Shape = tuple[int, int, int, int, int]  # batch, channels, out, height, width


def shapes(part: str, side: int) -> Counter[Shape]:
    """The eligible convolutions of one guided step, or of one picture's encoding or decoding."""
    seen: Counter[Shape] = Counter()

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if is_eligible(module):
            batch, channels, height, width = inputs[0].shape
            seen[batch, channels, output.shape[1], height, width] += 1

    with torch.device("meta"), torch.no_grad():
        network = UNet(UNetConfig()) if part == "unet" else VAE()
        for module in network.modules():
            module.register_forward_hook(note)
        if part == "unet":
            network(torch.empty(2, 4, side, side), torch.empty(2, dtype=torch.long), torch.empty(2, 77, 768))
        elif part == "encoder":
            network.encode(torch.empty(1, 3, 8 * side, 8 * side))
        else:
            network.decode(torch.empty(1, 4, side, side))
    return seen


def compare(shape: Shape, repeats: int) -> tuple[dict[str, float], dict[str, float], float]:
    """Median seconds and relative errors of each way, and the best matrix product's rate."""
    batch, channels, out, height, width = shape
    x = torch.randn(batch, channels, height, width)
    weight, bias = torch.randn(out, channels, 3, 3) / (3 * channels**0.5), torch.randn(out)
    last, last_weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    ways: dict[str, Callable[[], Tensor]] = {
        "nchw": lambda: F.conv2d(x, weight, bias, padding=1),
        "nhwc": lambda: F.conv2d(last, last_weight, bias, padding=1),
        "F4 in torch": lambda: winograd_conv2d(last, last_weight, bias, tile=4, native=False),
        "F2": lambda: winograd_conv2d(last, last_weight, bias, tile=2),
        "F4": lambda: winograd_conv2d(last, last_weight, bias, tile=4),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results, rate = {name: way() for name, way in ways.items()}, 0.0
    for _ in range(repeats):
        rate = max(rate, matmul_rate())
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    some = slice(0, min(out, 16))  # enough of them to know the error by
    exact = F.conv2d(x[:1].double(), weight[some].double(), bias[some].double(), padding=1)
    errors = {
        name: float((result[:1, some].double() - exact).norm() / exact.norm())
        for name, result in results.items()
    }
    return {name: median(times) for name, times in seconds.items()}, errors, rate


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["unet", "encoder", "decoder"], default="unet")
    parser.add_argument("--side", type=int, default=64, help="of the latents")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    if why := why_not_native():
        parser.error(f"there are no native kernels to compare: {why}")
    print("| shape | times | torch, ms | F4 in torch | F2 | F4 | chosen | errors |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    direct = chosen = work = best_rate = 0.0
    with torch.inference_mode():
        for shape, count in sorted(
            shapes(arguments.part, arguments.side).items(), key=lambda item: -item[0][3]
        ):
            seconds, errors, rate = compare(shape, arguments.runs)
            batch, channels, out, height, width = shape
            torchs = min(seconds["nchw"], seconds["nhwc"])
            tile = cheapest_tile(*shape, NATIVE)
            best_rate = max(best_rate, rate)
            direct += count * torchs
            chosen += count * (seconds[f"F{tile}"] if tile else torchs)
            work += count * 2 * 9.0 * batch * channels * out * height * width
            cells = [
                f"{batch} x {channels} to {out} at {height} x {width}",
                str(count),
                f"{1000 * torchs:.1f}",
                *(f"{seconds[name] / torchs:.2f}" for name in ("F4 in torch", "F2", "F4")),
                f"F{tile}" if tile else "direct",
                ", ".join(f"{name} {error:.1e}" for name, error in errors.items()),
            ]
            print(f"| {' | '.join(cells)} |", flush=True)
    limit = work / best_rate
    print(
        f"\nall of them: torch {direct:.2f} s, as chosen {chosen:.2f} s: {chosen / direct:.2f}x torch, "
        f"{chosen / limit:.2f}x the limit of direct arithmetic ({limit:.2f} s at {1e-9 * best_rate:.0f} GFLOP/s)"
    )


if __name__ == "__main__":
    main()
