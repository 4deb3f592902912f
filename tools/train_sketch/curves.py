"""Draws the curves of a run's stages; the only part that needs matplotlib."""

from pathlib import Path

import matplotlib
from matplotlib import pyplot

from . import runs

STAGES = ("vae", "diffusion", "judge", "lcm")


def draw(run: Path) -> None:
    """Write STAGE-curve.png for each stage that has been started."""
    matplotlib.use("agg")
    for stage in STAGES:
        saved = run / f"{stage}.pt"
        curve = runs.read(saved)["progress"]["curve"] if saved.exists() else []
        if curve:
            _plot(curve, run / f"{stage}-curve.png")


def _plot(curve: list[dict[str, float]], path: Path) -> None:
    """Every value of a curve over the steps."""
    names = [name for name in curve[-1] if name != "step"]
    figure, axes = pyplot.subplots(len(names), 1, figsize=(8, 2.2 * len(names)), squeeze=False)
    for axis, name in zip(axes[:, 0], names, strict=True):
        axis.plot([row["step"] for row in curve], [row[name] for row in curve])
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
