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
    height = 0.8 / len(figures.names)
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.2 * len(figures.names) * len(figures.seconds)))
    for index, name in enumerate(figures.names):
        bars = [
            (row + index * height, seconds[name] / figures.limit(work))
            for row, (work, seconds) in enumerate(figures.seconds.items())
            if name in seconds
        ]
        places, ratios = zip(*bars, strict=True)
        axes.barh(places, ratios, height, label=name)
    middle = (len(figures.names) - 1) * height / 2
    axes.set_yticks(
        [row + middle for row in range(len(figures.seconds))], [work.name for work in figures.seconds]
    )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("time, in units of the limit of direct arithmetic (the line); less is better")
    axes.invert_yaxis()
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
