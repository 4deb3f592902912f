"""The table and the plot, from the figures that are there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from .figures import Failure, Figure
from .peers import OURS, PEERS, PIPELINES
from .work import GROWTH, TABLE, Work

AGREEMENT = 1e-3  # relative to the largest value: float32 through a whole network, sums in any order
WORKS = {work.name: work for work in (*TABLE, *GROWTH)}
#: The blocks of the table: what each is called, its precision, and whom its ratios are to.
BLOCKS = (
    ("float32", torch.float32, ("openvino", OURS)),
    ("16 bits", torch.bfloat16, ("openvino bf16", OURS)),
)


@dataclass(frozen=True)
class Row:
    """A peer's turns at one work: the median of seconds, and the worst of the rest."""

    seconds: float
    peak: int | None
    error: float | None


class Summary:
    """Figures by work and peer, without those who failed there."""

    def __init__(self, figures: Sequence[Figure], failures: Sequence[Failure] = ()):
        left_out = {(failure.work, failure.peer) for failure in failures}
        self.failures = failures
        turns: dict[tuple[str, str], list[Figure]] = {}
        for figure in figures:
            if (figure.work, figure.peer) not in left_out:
                turns.setdefault((figure.work, figure.peer), []).append(figure)
        self.rows = {key: _row(taken) for key, taken in turns.items()}
        self.rates: dict[torch.dtype, float] = {}
        for figure in figures:
            if figure.rate is not None:
                dtype = PEERS[figure.peer].dtype
                self.rates[dtype] = max(figure.rate, self.rates.get(dtype, 0.0))

    def limit(self, work: str, dtype: torch.dtype) -> float | None:
        """Seconds of direct arithmetic at the best rate seen in that precision."""
        known = work in WORKS and dtype in self.rates
        return WORKS[work].flops() / self.rates[dtype] if known else None

    def of(self, work: str, names: Sequence[str]) -> dict[str, Row]:
        """The rows of one work."""
        return {name: self.rows[work, name] for name in names if (work, name) in self.rows}

    def works(self) -> list[Work]:
        """Of which there are rows, in order."""
        done = {work for work, _ in self.rows}
        return [work for name, work in WORKS.items() if name in done]

    def disagreements(self) -> list[str]:
        """Who should have our result, as it computes in float32, and has another."""
        return [
            f"{work}: {name} differs from {OURS} by {row.error:.1e} of the largest value"
            for (work, name), row in self.rows.items()
            if work in WORKS and _disagrees(name, row.error)
        ]


def table(summary: Summary, remark: str) -> str:
    """A block for each precision, whole pictures, the machine's limits, and who is left out and why."""
    blocks = [text for block in BLOCKS if (text := _block(summary, *block))]
    if pictures := _pictures(summary):
        blocks.append(pictures)
    rates = [
        f"{summary.rates[dtype] / 1e9:.0f} GFLOP/s in {name}"
        for name, dtype, _ in BLOCKS
        if dtype in summary.rates
    ]
    best = f"Best matrix products in this run: {', '.join(rates)}; " if rates else ""
    blocks.append(f"{best}{remark}.")
    failed = [f"{each.work}: {each.peer} failed: {each.why}" for each in summary.failures]
    if told := [*summary.disagreements(), *failed]:
        blocks.append("\n".join(f"- {line}" for line in told))
    return "\n\n".join(blocks) + "\n"


def _block(summary: Summary, title: str, dtype: torch.dtype, others: tuple[str, ...]) -> str:
    names = [name for name, peer in PEERS.items() if peer.dtype is dtype]
    head = ["work", title, "seconds", *(f"to {other}" for other in others), "to limit", "error", "peak GiB"]
    rows = []
    for work in [*(work.name for work in summary.works()), "load"]:
        compared = summary.of(work, others)
        limit = summary.limit(work, dtype)
        for name, row in summary.of(work, names).items():
            ratios = [
                _ratio(row.seconds, compared[other].seconds if other in compared else None)
                for other in others
            ]
            cells = [
                f"{row.seconds:.2f}",
                *ratios,
                _ratio(row.seconds, limit),
                _error(name, row),
                _gib(row.peak),
            ]
            rows.append([work, name, *cells])
    return _lines(head, rows) if rows else ""


def _pictures(summary: Summary) -> str:
    works = dict.fromkeys(work for work, _ in summary.rows if work.startswith("picture"))
    rows = [
        [work, name, f"{row.seconds:.0f}", _gib(row.peak), "-" if row.error is None else f"{row.error:.2f}"]
        for work in works
        for name, row in summary.of(work, list(PIPELINES)).items()
    ]
    return (
        _lines(["from files to PNG", "by", "seconds", "peak GiB", "mean levels from ours"], rows)
        if rows
        else ""
    )


def _row(turns: Sequence[Figure]) -> Row:
    peaks = [turn.peak for turn in turns if turn.peak is not None]
    errors = [turn.error for turn in turns if turn.error is not None]
    # not a number counts as the worst
    worst = max(errors, key=lambda error: (error != error, error), default=None)
    return Row(median(turn.seconds for turn in turns), max(peaks, default=None), worst)


def _disagrees(name: str, error: float | None) -> bool:
    return error is not None and PEERS[name].dtype is torch.float32 and not error <= AGREEMENT


def _error(name: str, row: Row) -> str:
    if row.error is None or name == OURS:
        return "-"
    return f"{row.error:.1e}" + (", disagrees" if _disagrees(name, row.error) else "")


def _ratio(seconds: float, to: float | None) -> str:
    return f"{seconds / to:.2f}x" if to else "-"


def _gib(peak: int | None) -> str:
    return f"{peak / 2**30:.2f}" if peak else "-"


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def plot(summary: Summary, path: Path) -> None:
    """Every piece of work as bars, in units of its limit of direct arithmetic in float32."""
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("agg")
    bars: dict[str, list[tuple[float, float]]] = {name: [] for name in PEERS}  # places and ratios
    ticks: dict[str, float] = {}
    top = 0
    for work in summary.works():
        limit = summary.limit(work.name, torch.float32)
        rows = summary.of(work.name, list(PEERS))
        if limit is None or not rows:
            continue
        for place, (name, row) in enumerate(rows.items(), start=top):
            bars[name].append((place, row.seconds / limit))
        ticks[work.name] = top + (len(rows) - 1) / 2
        top += len(rows) + 1  # a gap
    if not ticks:
        return
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.16 * top))
    for name, some in bars.items():
        if some:
            axes.barh(*zip(*some, strict=True), height=1, label=name, color=_colour(name))
    axes.set_yticks(list(ticks.values()), list(ticks))
    axes.axvline(1, color="black", linewidth=1)
    halves: Mapping[torch.dtype, float] = summary.rates
    if torch.bfloat16 in halves:
        axes.axvline(
            halves[torch.float32] / halves[torch.bfloat16], color="black", linewidth=1, linestyle=":"
        )
    axes.set_xlabel(
        "time, in units of the limit of direct arithmetic in float32\n(the line; dotted: in bfloat16); less is better"
    )
    axes.set_ylim(top - 1, -1)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))  # beside the bars, which may be long
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _colour(name: str) -> tuple[float, float, float]:
    """One for each program, lighter in 16 bits."""
    from matplotlib.colors import to_rgb

    programs = list(dict.fromkeys(peer.split()[0] for peer in PEERS))
    red, green, blue = to_rgb(f"C{programs.index(name.split()[0])}")
    if PEERS[name].dtype is torch.float32:
        return red, green, blue
    return (1 + red) / 2, (1 + green) / 2, (1 + blue) / 2
