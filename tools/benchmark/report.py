"""The table and the plot."""

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
        pictures: seconds and peak bytes of a whole picture, by peer.
    """

    names: list[str]
    rate: float = 0.0
    load: dict[str, float] = field(default_factory=dict)
    seconds: dict[Work, dict[str, float]] = field(default_factory=dict)
    pictures: dict[str, tuple[float, int]] = field(default_factory=dict)

    def limit(self, work: Work) -> float:
        """Seconds of direct arithmetic at the best rate seen."""
        return work.flops() / self.rate


def table(figures: Figures, remark: str) -> str:
    """Seconds of every peer, ours relative to each, and to the limit of direct arithmetic."""
    ours, *others = figures.names
    head = [
        "work",
        "TFLOP",
        *(f"{name}, s" for name in figures.names),
        *(f"to {name}" for name in others),
        "to limit",
    ]
    rows = []
    for work, seconds in figures.seconds.items():
        mine = seconds[ours]
        rows.append(
            [
                work.name,
                f"{work.flops() / 1e12:.2f}",
                *(f"{seconds[name]:.2f}" for name in figures.names),
                *(f"{mine / seconds[name]:.2f}x" for name in others),
                f"{mine / figures.limit(work):.2f}x",
            ]
        )
    loads = figures.load
    ratios = [f"{loads[ours] / loads[name]:.2f}x" for name in others]
    rows.append(["load", "", *(f"{loads[name]:.2f}" for name in figures.names), *ratios, ""])
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    lines += ["", f"Best float32 matrix product in this run: {figures.rate / 1e9:.0f} GFLOP/s; {remark}.", ""]
    for name, (seconds, peak) in figures.pictures.items():
        lines.append(
            f"A whole picture by {name}: {seconds:.0f} s, {peak / 2**30:.2f} GiB above the imports at its peak."
        )
    return "\n".join(lines) + "\n"


def plot(figures: Figures, path: Path) -> None:
    """Every piece of work as bars in units of its limit of direct arithmetic."""
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("agg")
    count, height = len(figures.names), 0.8 / len(figures.names)
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.25 * count * len(figures.seconds)))
    for index, name in enumerate(figures.names):
        ratios = [seconds[name] / figures.limit(work) for work, seconds in figures.seconds.items()]
        axes.barh([row + index * height for row in range(len(ratios))], ratios, height, label=name)
    axes.set_yticks(
        [row + (count - 1) * height / 2 for row in range(len(figures.seconds))],
        [work.name for work in figures.seconds],
    )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("time, in units of the limit of direct arithmetic; less is better")
    axes.invert_yaxis()
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
