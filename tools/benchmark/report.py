"""The table and the plot."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .work import Work


@dataclass
class Figures:
    """What was measured.

    Attributes:
        names: the peers; the first is ours.
        rate: the best float32 matrix product's operations a second.
        load: seconds by peer.
        seconds: medians by work and peer.
        peaks: the most bytes that a process held while at work, by work and peer.
        pictures: seconds and peak bytes of a whole picture, by peer.
    """

    names: list[str]
    rate: float = 0.0
    load: dict[str, float] = field(default_factory=dict)
    seconds: dict[Work, dict[str, float]] = field(default_factory=dict)
    peaks: dict[Work, dict[str, int]] = field(default_factory=dict)
    pictures: dict[str, tuple[float, int]] = field(default_factory=dict)

    def limit(self, work: Work) -> float:
        """Seconds of direct arithmetic at the best rate seen."""
        return work.flops() / self.rate


def table(figures: Figures, remark: str) -> str:
    """Seconds of every peer, ours relative to each and to the limit of direct arithmetic, and peak memory."""
    ours, *others = figures.names
    head = [
        "work",
        "TFLOP",
        *(f"{name}, s" for name in figures.names),
        *(f"to {name}" for name in others),
        "to limit",
        f"peak GiB: {', '.join(figures.names)}",
    ]
    rows = []
    for work, seconds in figures.seconds.items():
        mine, limit = seconds[ours], figures.limit(work)
        times, ratios = _cells(seconds, figures.names, mine)
        held = figures.peaks.get(work, {})
        peaks = ", ".join(f"{held[name] / 2**30:.2f}" if name in held else "-" for name in figures.names)
        tera = f"{work.flops() / 1e12:.2f}"
        rows.append([work.name, tera, *times, *ratios, f"{mine / limit:.2f}x", peaks])
    if figures.load:
        times, ratios = _cells(figures.load, figures.names, figures.load[ours])
        rows.append(["load", "", *times, *ratios, "", ""])
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    lines += ["", f"Best float32 matrix product in this run: {figures.rate / 1e9:.0f} GFLOP/s; {remark}.", ""]
    for name, (seconds, peak) in figures.pictures.items():
        lines.append(f"A whole picture by {name}: {seconds:.0f} s, {peak / 2**30:.2f} GiB at its peak.")
    return "\n".join(lines) + "\n"


def _cells(seconds: Mapping[str, float], names: list[str], mine: float) -> tuple[list[str], list[str]]:
    """Seconds by peer, and ours relative to the others'; a dash for who did not take part."""
    times = [f"{seconds[name]:.2f}" if name in seconds else "-" for name in names]
    ratios = [f"{mine / seconds[name]:.2f}x" if name in seconds else "-" for name in names[1:]]
    return times, ratios


def plot(figures: Figures, path: Path) -> None:
    """Every piece of work as bars, in units of its limit of direct arithmetic."""
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("agg")
    bars: dict[str, list[tuple[float, float]]] = {name: [] for name in figures.names}  # places and ratios
    ticks: list[float] = []
    top = 0
    for work, seconds in figures.seconds.items():
        there = [name for name in figures.names if name in seconds]
        for place, name in enumerate(there, start=top):
            bars[name].append((place, seconds[name] / figures.limit(work)))
        ticks.append(top + (len(there) - 1) / 2)
        top += len(there) + 1  # a gap
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.16 * top))
    for name, some in bars.items():
        axes.barh(*zip(*some, strict=True), height=1, label=name)
    axes.set_yticks(ticks, [work.name for work in figures.seconds])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("time, in units of the limit of direct arithmetic (the line); less is better")
    axes.set_ylim(top - 1, -1)
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
