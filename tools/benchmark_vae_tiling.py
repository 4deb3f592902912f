"""What tiling the VAE saves and costs: peak memory, time and difference, tiled and whole, at full size.

Usage: uv run python tools/benchmark_vae_tiling.py [--sizes 512 768] [--rows 64 16] [--threads 2]

Every figure is taken in a fresh process, since the operating system only remembers a process's highest peak.
Time is processor time, all threads together, so that a busy machine matters little. The weights are random,
which changes neither memory nor time.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from inkpunk_vae import VAE, tiled_decode, tiled_encode

MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in the unit that getrusage counts in."""


def peak() -> int:
    """The most memory this process has ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT


@torch.no_grad()
def measure(work: str, size: int, rows: int | None, threads: int) -> tuple[int, float, np.ndarray]:
    """Bytes above those of the loaded model, CPU seconds, and the result."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    vae = VAE().eval()
    vae.encode(torch.zeros(1, 3, 8, 8))  # what torch sets up on first use is not counted
    vae.decode(torch.zeros(1, 4, 1, 1))
    latents, images = torch.randn(1, 4, size // 8, size // 8), torch.rand(1, 3, size, size) * 2 - 1
    before, start = peak(), time.process_time()
    if work == "decode":
        result = vae.decode(latents) if rows is None else tiled_decode(vae, latents, rows)
    else:
        result = (vae.encode(images) if rows is None else tiled_encode(vae, images, rows)).mean
    seconds = time.process_time() - start
    return peak() - before, seconds, result.numpy()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 768], help="image sides in pixels")
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 16], help="rows of a strip")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    options = parser.parse_args()
    print("| work | image | strips of | peak memory above the weights | CPU seconds | relative difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as fresh:
        for work in ("decode", "encode"):
            for size in options.sizes:
                whole = None
                for rows in (None, *options.rows):
                    used, seconds, result = fresh.submit(measure, work, size, rows, options.threads).result()
                    whole = result if whole is None else whole
                    difference = np.abs(result - whole).max() / np.abs(whole).max()
                    strips = "(whole)" if rows is None else f"{rows} rows"
                    print(
                        f"| {work} | {size} x {size} | {strips} | {used / 2**20:,.0f} MiB | {seconds:.1f} "
                        f"| {'' if rows is None else format(difference, '.0e')} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
