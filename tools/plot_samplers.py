"""Draws the error of every sampler over its calls of the UNet, where the truth is known.

    uv run --group benchmark python -m tools.plot_samplers

A distribution's exact denoiser stands in the place of a UNet, and samplers walk over Karras's sigmas from the last
timestep to the first, in 5 steps and more. The step from there to no noise, in most of them Euler's, is left out, and
so is the one call more that plms makes.

- Deterministic samplers: how far points end from where the probability flow leads them, in a mixture of three
  Gaussians; the median of 400, since a few start between two components and jump from one to the other. There is no
  formula for the flow: it is taken from 4,000 steps of Heun's method in float64, nearer by far than the others come.
- Those that draw noise: how far the covariance of what they draw is from the data's, for a Gaussian, relative to it.
  There every step is affine, so that the covariance follows from derivatives by each draw: no statistics.

lcm and tcd are left out: they jump to the end at every step, which is right only for models distilled for it.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from itertools import cycle
from math import inf, isclose, log10, sqrt
from pathlib import Path
from typing import TypeAlias

import matplotlib
import torch
from inkpunk_sampling import SAMPLERS, SPACINGS, Model, NoiseSchedule
from matplotlib import pyplot
from matplotlib.axes import Axes
from torch import Tensor
from torch.autograd.functional import jacobian

OUT = Path("packages/inkpunk-sampling/error-over-calls.svg")
CALLS = (5, 6, 7, 8, 10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 56, 68, 80)
FEWEST = 5  # steps
REFERENCE = 4000
POINTS = 400
SCHEDULE = NoiseSchedule()
LAST = SCHEDULE.steps - 1

Curve: TypeAlias = list[tuple[int, float]]  # calls and error
Curves: TypeAlias = dict[str, Curve]

TICKS = (5, 10, 20, 40, 80)
INK, PAPER = "#2b2b33", "#fbf9f4"  # a ground of its own, for pages that are light and dark
COLOURS = ("#8a8a94", "#e8871e", "#c2185b", "#1e88e5", "#00897b", "#7b1fa2", "#43a047", "#d32f2f")
NAME_HEIGHT = 0.055  # of a panel's

MEAN = torch.tensor([0.7, -0.4], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.8, 0.5], [0.5, 0.6]], dtype=torch.float64)

WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
CENTRES = torch.tensor([[1.0, 1.0], [-1.2, 0.3], [0.2, -1.5]], dtype=torch.float64)
VARIANCES = torch.tensor([0.04, 0.09, 0.02], dtype=torch.float64)


def gaussian(latents: Tensor, timestep: float) -> Tensor:
    """E[eps | x_t] for x_0 ~ N(MEAN, COVARIANCE)."""
    signal, noise = SCHEDULE.signal(timestep), SCHEDULE.noise(timestep)
    variance = signal**2 * COVARIANCE + noise**2 * torch.eye(2, dtype=torch.float64)
    return noise * (latents - signal * MEAN) @ torch.linalg.inv(variance)


def mixture(latents: Tensor, timestep: float) -> Tensor:
    """E[eps | x_t] for x_0 from a mixture of the round Gaussians N(CENTRES, VARIANCES)."""
    signal, noise = SCHEDULE.signal(timestep), SCHEDULE.noise(timestep)
    variances = signal**2 * VARIANCES + noise**2
    away = latents[:, None] - signal * CENTRES
    likelihood = WEIGHTS.log() - variances.log() - away.square().sum(-1) / (2 * variances)
    return noise * (likelihood.softmax(-1) / variances)[..., None].mul(away).sum(1)


@cache
def flow_end(sampler: str, steps: int) -> Tensor:
    """Where a deterministic sampler leads points of noise, in the mixture."""
    points = torch.randn(POINTS, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    path = SPACINGS["karras"](SCHEDULE, steps + 1)
    *_, (latents, _) = SAMPLERS[sampler](Model(mixture, SCHEDULE), points, path, _no_noise)
    return latents / SCHEDULE.signal(0)


def _no_noise(sigma: float, lower: float) -> Tensor:
    raise ValueError("a deterministic sampler drew noise")


def covariance_error(sampler: str, steps: int) -> float:
    """How far the covariance is that a sampler draws from the Gaussian, when it begins with the right one."""
    path = SPACINGS["karras"](SCHEDULE, steps + 1)
    identity = torch.eye(2, dtype=torch.float64)

    def spread(t: float) -> Tensor:
        return SCHEDULE.signal(t) ** 2 * COVARIANCE + SCHEDULE.noise(t) ** 2 * identity

    def end(units: Tensor) -> Tensor:
        """Where it ends with these draws, of which the first makes the initial latents."""
        initial = SCHEDULE.signal(LAST) * MEAN + torch.linalg.cholesky(spread(LAST)) @ units[0]
        *_, (latents, _) = SAMPLERS[sampler](Model(gaussian, SCHEDULE), initial[None], path, along(units[1:]))
        return latents[0]

    response = jacobian(end, torch.zeros(2 * len(path), 2, dtype=torch.float64)).flatten(1)
    return ((response @ response.T - spread(0)).norm() / spread(0).norm()).item()


def along(units: Tensor) -> Callable[[float, float], Tensor]:
    """Noise of these units, which for a way that was partly drawn before is the same noise on that part."""
    fresh, parts = iter(units), list[tuple[float, float, Tensor]]()

    def draw(sigma: float, lower: float) -> Tensor:
        inside = [part for part in parts if lower <= part[1] and part[0] <= sigma]
        rest = min((low for _, low, _ in inside), default=sigma)
        if rest > lower:
            inside.append((rest, lower, next(fresh)))
            parts.append(inside[-1])
        return sum(
            (sqrt((high - low) / (sigma - lower)) * unit for high, low, unit in inside), torch.zeros(1, 2)
        )

    return draw


def flow_error(sampler: str, steps: int) -> float:
    """How far the middle one of the points ends from the flow's end."""
    away = flow_end(sampler, steps) - flow_end("heun", REFERENCE)
    return away.norm(dim=1).median().item()


def curves(names: Sequence[str], error: Callable[[str, int], float]) -> Curves:
    """The errors at all numbers of calls that come to whole steps; samplers that are alike share a curve."""
    found: Curves = {}
    for name in names:
        per_step = SAMPLERS[name].calls
        fitting = [calls for calls in CALLS if calls >= FEWEST * per_step and calls % per_step == 0]
        curve = [(calls, error(name, calls // per_step)) for calls in fitting]
        twin = next((other for other, its in found.items() if alike(curve, its)), None)
        found[f"{twin}, {name}" if twin else name] = found.pop(twin, curve) if twin else curve
    return found


def alike(curve: Curve, other: Curve) -> bool:
    """Whether two curves differ by rounding alone."""
    return len(curve) == len(other) and all(
        isclose(mine, its, rel_tol=1e-6) for (_, mine), (_, its) in zip(curve, other, strict=True)
    )


def plot(flow: Curves, noisy: Curves, out: Path) -> None:
    """Two panels, each line with its name beside its end."""
    matplotlib.use("agg")
    style = {"font.size": 10, "svg.hashsalt": "samplers", "text.color": INK}
    with pyplot.rc_context(style):
        figure, panels = pyplot.subplots(1, 2, figsize=(11, 5.2), facecolor=PAPER)
        draw_panel(
            panels[0], flow, "deterministic: distance to the flow's end", "a mixture of Gaussians, median"
        )
        draw_panel(panels[1], noisy, "with noise: error of the covariance", "a Gaussian, relative")
        figure.tight_layout(w_pad=2)
        figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)
        pyplot.close(figure)


def draw_panel(axes: Axes, curves: Curves, title: str, subtitle: str) -> None:
    """One panel; the names stand in the order of the lines' ends, no two on one another."""
    axes.set(xscale="log", yscale="log", facecolor=PAPER)
    axes.set_xlabel("calls of the UNet", color=INK)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=22)
    axes.text(0, 1.025, subtitle, transform=axes.transAxes)
    axes.set_xticks(TICKS, [*map(str, TICKS)])
    axes.set_xticks([], minor=True)
    axes.set_xlim(CALLS[0] * 0.95, CALLS[-1] * 1.03)
    axes.tick_params(colors=INK, which="both", length=0)
    axes.grid(color=INK, alpha=0.12, linewidth=0.7)
    axes.spines[:].set_visible(False)
    by_end = sorted(curves.items(), key=lambda each: each[1][-1][1], reverse=True)
    lines = [(*each, colour) for each, colour in zip(by_end, cycle(COLOURS), strict=False)]
    for _, curve, colour in lines:
        axes.plot(*zip(*curve, strict=True), color=colour, linewidth=2, solid_capstyle="round")
    low, high = map(log10, axes.get_ylim())
    ceiling = inf
    for name, curve, colour in lines:
        place = (log10(curve[-1][1]) - low) / (high - low)
        ceiling = min(place, ceiling - NAME_HEIGHT)
        axes.annotate(
            name,
            (1, place),
            (1.06, ceiling),
            xycoords="axes fraction",
            va="center",
            color=colour,
            fontweight="bold",
            arrowprops={"arrowstyle": "-", "color": colour, "alpha": 0.5, "shrinkA": 1, "shrinkB": 1},
        )


def main() -> None:
    """Compute and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    ordered = {name: method for name, method in SAMPLERS.items() if method.order}
    print(
        "left out, as they are for distilled models:",
        ", ".join(name for name in SAMPLERS if name not in ordered),
    )
    flow = curves([name for name, method in ordered.items() if not method.stochastic], flow_error)
    noisy = curves([name for name, method in ordered.items() if method.stochastic], covariance_error)
    plot(flow, noisy, out)
    print(out)


if __name__ == "__main__":
    main()
