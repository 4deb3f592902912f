"""Batches: each order is drawn exactly once, whatever stops the work and whatever fails on the way."""

import errno
import gc
import hashlib
import json
import os
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk import Facts, Order, Picture, Pipeline, Request
from inkpunk.memory.precision import NotFiniteError
from inkpunk.orders.batch import draw_orders
from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.files import Entry, read_orders
from inkpunk.orders.folder import FolderError, Outcome
from inkpunk.orders.history import History
from inkpunk.orders.manifest import NAME, Manifest, Row, read_rows
from inkpunk.orders.naming import file_name
from inkpunk_sampling import Step
from PIL import Image

linux = pytest.mark.skipif(sys.platform != "linux", reason="forks a process with threads in it")
STEP = Step(1, 1, 0, torch.zeros(1, 4, 1, 1), torch.zeros(1, 4, 1, 1))


class Sketcher(Pipeline):
    """Draws a dot of its seed's colour in no time, and remembers what it was asked for."""

    def __init__(self, failing: dict[str, Exception] | None = None) -> None:
        self.__dict__ |= {"failing": failing or {}, "drawn": list[tuple[str, tuple[int, ...]]]()}

    def run(self, request: Request) -> Iterator[Step]:
        self.drawn.append((request.prompt, request.seeds))
        yield STEP
        for prompt, error in self.failing.items():
            if prompt in request.prompt:
                raise error

    def idle(self, request: Request) -> tuple[str, ...]:
        return ("a dot needs no prompt",)

    def pictures(self, request: Request, latents: torch.Tensor) -> list[Picture]:
        return [
            Picture(Image.new("RGB", (1, 1), (seed % 256, 0, 0)), _facts(request, seed))
            for seed in request.seeds
        ]


def _facts(request: Request, seed: int) -> Facts:
    return Facts(
        prompt=request.prompt,
        negative_prompt="",
        steps=1,
        sampler="euler",
        spacing="leading",
        guidance=1.0,
        seed=seed,
        width=1,
        height=1,
        model="dots",
        model_hash="0" * 10,
        version="0",
    )


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the looking for garbage, which there is much of only where there is a model."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


def ordered(*told: dict[str, Any]) -> list[Entry]:
    return [Entry(line, Order.read({"seed": 7, **each})) for line, each in enumerate(told, 1)]


BIRDS = ordered(*({"prompt": name} for name in ("raven", "owl", "lynx", "wren")))


def work(
    entries: Sequence[Entry], folder: Path, sketcher: Sketcher | None = None, **options: Any
) -> list[Outcome]:
    """What becomes of orders."""
    options = {"load": lambda choice: sketcher or Sketcher(), **options}
    return [each for each in draw_orders(entries, folder, **options) if isinstance(each, Outcome)]


def states(outcomes: list[Outcome]) -> list[str]:
    return [each.state for each in sorted(outcomes, key=lambda each: each.line)]


def rows(folder: Path) -> list[Row]:
    return [*read_rows(folder / NAME)]


def check(folder: Path, entries: Sequence[Entry]) -> None:
    """Each order has one picture, whole, and one row that tells it; there is nothing else."""
    wanted = {file_name(each.order) for each in entries if each.order}
    assert {path.name for path in folder.glob("[!.]*")} - {NAME} == wanted
    told = {row.file: row for row in rows(folder) if row.file is not None}
    assert Counter(row.file for row in rows(folder) if row.file) == Counter(wanted)
    for name in wanted:
        with Image.open(folder / name) as image:
            image.load()
        assert told[name].sha256 == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_orders_are_drawn_named_and_told(tmp_path: Path) -> None:
    outcomes = work(BIRDS, tmp_path)
    assert states(outcomes) == ["drawn"] * 4
    assert {each.idle for each in outcomes} == {("a dot needs no prompt",)}
    check(tmp_path, BIRDS)
    row = rows(tmp_path)[0]
    assert outcomes[0].path
    assert BIRDS[0].order
    assert (row.key, row.order, row.line, row.error) == (
        BIRDS[0].order.key,
        {"seed": 7, "prompt": "raven"},
        1,
        None,
    )
    assert row.file == outcomes[0].path.name
    assert row.seconds is not None


def test_a_batch_draws_what_the_pipeline_does(tmp_path: Path, pipeline: Pipeline) -> None:
    entries = ordered({"prompt": "a raven", "steps": 1, "format": "webp", "quality": 100})
    (outcome,) = work(entries, tmp_path, load=lambda choice: pipeline)
    assert entries[0].order
    assert outcome.path
    (picture,) = pipeline.generate(entries[0].order.request())
    assert outcome.path.suffix == ".webp"
    assert outcome.path.read_bytes() == picture.file("webp", 100)


def test_what_is_there_is_not_drawn_again(tmp_path: Path) -> None:
    work(BIRDS[:2], tmp_path)
    again = Sketcher()
    assert states(work(BIRDS, tmp_path, again)) == ["there", "there", "drawn", "drawn"]
    assert [prompt for prompt, _ in again.drawn] == ["lynx", "wren"]
    check(tmp_path, BIRDS)


def test_equal_orders_are_one_picture(tmp_path: Path) -> None:
    assert states(work([*BIRDS, *BIRDS], tmp_path)).count("drawn") == 4
    check(tmp_path, BIRDS)


def test_what_was_deleted_or_copied_in_half_is_drawn_again(tmp_path: Path) -> None:
    first, second, third, _ = (each.path for each in work(BIRDS, tmp_path))
    assert first
    assert second
    assert third
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    third.write_bytes(b"")
    assert states(work(BIRDS, tmp_path)) == ["drawn", "drawn", "drawn", "there"]


def test_a_row_that_was_lost_is_added(tmp_path: Path) -> None:
    work(BIRDS, tmp_path)
    lines = (tmp_path / NAME).read_text().splitlines(keepends=True)
    (tmp_path / NAME).write_text("".join(lines[:2]) + lines[2][:40])  # the third is torn, the last lost
    assert states(work(BIRDS, tmp_path)) == ["there"] * 4
    check(tmp_path, BIRDS)
    assert [row.seconds is None for row in rows(tmp_path)] == [False, False, True, True]


FAILURES = {
    "refused": Exception("never raised: its sampler is refused"),
    "black": NotFiniteError("not finite"),
    "large": RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8589934592 bytes"
    ),
    "odd": KeyError("a mistake of ours"),
    "gone": FileNotFoundError(errno.ENOENT, "No such file or directory", "mask.png"),
}
FAILING = [
    Entry(1, None, "not JSON", '{"prompt":'),
    *(Entry(each.line + 1, each.order) for each in BIRDS[:1]),
    *(
        Entry(
            line, Order.read({"prompt": name, "seed": 1} | ({"sampler": "none"} if name == "refused" else {}))
        )
        for line, name in enumerate(FAILURES, 3)
    ),
    Entry(8, BIRDS[1].order),
]


def test_what_fails_is_told_and_does_not_stop_the_rest(tmp_path: Path) -> None:
    outcomes = work(FAILING, tmp_path, Sketcher(FAILURES))
    assert states(outcomes) == ["failed", "drawn", *["failed"] * 5, "drawn"]
    said = {each.line: each.error for each in outcomes if each.error}
    assert said[1] == "not JSON"
    assert said[3].startswith("sampler 'none': there is none of that name")
    assert said[4] == "not finite"
    assert said[5] == "not enough memory for 8,192 MiB more"
    assert said[6] == "KeyError: 'a mistake of ours'"
    assert said[7] == "mask.png: No such file or directory"
    assert {row.line: row.error for row in rows(tmp_path) if row.error} == said


def test_failures_are_tried_again_when_asked_for(tmp_path: Path) -> None:
    work(FAILING, tmp_path, Sketcher(FAILURES))
    again = Sketcher(FAILURES)
    assert states(work(FAILING, tmp_path, again)) == ["failed", "there", *["failed before"] * 5, "there"]
    assert not again.drawn
    assert len(rows(tmp_path)) == 8
    mended = Sketcher()
    states_now = states(work(FAILING, tmp_path, mended, retry_failed=True))
    assert states_now == ["failed", "there", "failed", *["drawn"] * 4, "there"]
    assert len(mended.drawn) == 4
    assert states(work(FAILING, tmp_path)) == ["failed", "there", "failed before", *["there"] * 5]


def test_a_model_that_cannot_be_loaded_fails_its_orders_alone(tmp_path: Path) -> None:
    asked = list[str]()

    def load(choice: ModelChoice) -> Pipeline:
        asked.append(choice.model)
        if choice.model == "gone":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "gone")
        return Sketcher()

    entries = ordered(*({"prompt": f"raven {n}", "model": ("gone", "here")[n % 2]} for n in range(8)))
    outcomes = work(entries, tmp_path, load=load, window=3)
    assert states(outcomes) == ["failed", "drawn"] * 4
    assert sorted(asked) == ["gone", "here"]


def test_a_model_draws_its_orders_in_a_row(tmp_path: Path) -> None:
    asked = list[str]()

    def load(choice: ModelChoice) -> Pipeline:
        asked.append(choice.model)
        return Sketcher()

    entries = ordered(*({"prompt": f"raven {n}", "model": f"model {n % 3}"} for n in range(30)))
    work(entries, tmp_path, load=load)
    assert asked == ["model 0", "model 1", "model 2"]
    check(tmp_path, entries)


def test_no_more_is_read_ahead_than_the_window(tmp_path: Path) -> None:
    read = list[int]()

    def coming() -> Iterator[Entry]:
        for entry in ordered(*({"prompt": f"raven {n}"} for n in range(9))):
            read.append(entry.line)
            yield entry

    drawing = draw_orders(coming(), tmp_path, window=4, load=lambda choice: Sketcher())
    for place, outcome in enumerate(each for each in drawing if isinstance(each, Outcome)):
        assert outcome.line == place + 1
        assert len(read) == min(4 + place, 9)


def test_pictures_that_differ_in_their_seeds_are_drawn_together(tmp_path: Path) -> None:
    seeds = ({"prompt": name, "seed": seed} for seed in range(3) for name in ("raven", "owl"))
    entries = ordered(*seeds, {"prompt": "raven", "seed": 0})
    sketcher = Sketcher({"owl": MemoryError()})
    work(entries, tmp_path, sketcher, together=2)
    assert sketcher.drawn == [
        *[("raven", (0, 1)), ("owl", (0, 1)), ("owl", (0,)), ("owl", (1,))],
        *[("raven", (2,)), ("owl", (2,))],
    ]
    check(tmp_path, [entries[place] for place in (0, 2, 4)])


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_full_disk_ends_the_work_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real, calls = getattr(os, call), Counter[str]()

    def full(*arguments: Any, **options: Any) -> Any:
        calls[call] += 1
        if calls[call] == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(FolderError, match="No space left on device; what is done stays"):
            work(BIRDS, tmp_path)
    after = Sketcher()
    work(BIRDS, tmp_path, after)
    assert len(after.drawn) == (1 if call == "write" else 2)
    check(tmp_path, BIRDS)


FILES = ("batch.py", "folder.py", "manifest.py", "history.py", "claims.py", "atomic.py")


def stopping_at(line: int, stop: Callable[[], None]) -> Callable[[FrameType, str, Any], Any]:
    """A tracer that stops before so many lines of ours were run."""
    left = line

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.endswith(FILES):
            return None
        left -= event == "line"
        if event == "line" and left == 0:
            stop()
        return trace

    return trace


def stopped(folder: Path, line: int, stop: Callable[[], None]) -> None:
    """Work until so many lines of ours were run."""
    before = sys.gettrace()
    sys.settrace(stopping_at(line, stop))
    try:
        work(BIRDS[:3], folder)
    finally:
        sys.settrace(before)


def lines_in_all(folder: Path) -> int:
    """How many lines of ours a whole work runs."""
    seen = Counter[str]()

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith(FILES):
            return None
        seen[event] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    work(BIRDS[:3], folder)
    sys.settrace(before)
    return seen["line"]


@linux
def test_killed_at_any_line_it_goes_on_without_doing_one_twice(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    lines = lines_in_all(tmp_path / "whole")
    assert lines > 200  # or else the tracing does not trace
    found = set[int]()
    for line in range(1, lines, 37):
        folder = tmp_path / str(line)
        folder.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking where there are threads
            child = os.fork()
        if not child:
            try:
                stopped(folder, line, lambda: os.kill(os.getpid(), signal.SIGKILL))
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        there = {path.name: path.stat().st_ino for path in folder.glob("*.png")}
        found.add(len(there))
        again = Sketcher()
        work(BIRDS[:3], folder, again)
        assert len(again.drawn) == 3 - len(there)
        assert there.items() <= {path.name: path.stat().st_ino for path in folder.glob("*.png")}.items()
        check(folder, BIRDS[:3])
    assert found == {0, 1, 2, 3}


# between a file's opening and its `with` nobody has it yet, and Python says so as it closes it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_at_any_line_it_goes_on_without_doing_one_twice(tmp_path: Path) -> None:
    for line in range(5, 1000, 41):
        folder = tmp_path / str(line)
        folder.mkdir()
        try:
            stopped(folder, line, lambda: signal.raise_signal(signal.SIGINT))
        except KeyboardInterrupt:
            pass
        else:
            break  # it ended before
        work(BIRDS[:3], folder)
        check(folder, BIRDS[:3])
        assert not [*folder.glob(".*.tmp")]
    assert line > 100


LINES = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"prompt": st.sampled_from(["raven", "owl", "black"])},
            optional={
                "seed": st.integers(0, 2),
                "count": st.integers(1, 3),
                "model": st.just("other"),
                "steps": st.lists(st.sampled_from([1, 2]), min_size=1, max_size=2, unique=True),
            },
        ).map(json.dumps),
        st.sampled_from(["raven", '{"prompt": 1}']),
    ),
    max_size=4,
)


@settings(max_examples=12, deadline=None)
@given(LINES, st.integers(0, 12), st.integers(1, 4), st.integers(1, 3))
def test_any_file_stopped_anywhere_comes_to_the_same(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], stop: int, window: int, together: int
) -> None:
    place = tmp_path_factory.mktemp("orders")
    file = place / "orders.jsonl"
    file.write_text("\n".join(lines))
    stopped, whole = place / "stopped", place / "whole"
    for folder in (stopped, whole):
        folder.mkdir()
    failing, options = {"black": NotFiniteError("not finite")}, {"window": window, "together": together}
    drawing = draw_orders(read_orders(file), stopped, load=lambda choice: Sketcher(failing), **options)
    for _ in zip(range(stop), drawing, strict=False):
        pass
    drawing.close()
    entries = [*read_orders(file)]
    outcomes = work(entries, stopped, Sketcher(failing), **options)
    assert len(outcomes) == len(entries)
    check(stopped, [each for each in entries if each.order and each.order.values["prompt"] != "black"])
    work(entries, whole, Sketcher(failing))
    told = ({(row.key, row.file, row.sha256) for row in rows(folder)} for folder in (stopped, whole))
    assert next(told) == next(told)


@linux
def test_two_at_once_draw_no_picture_twice(tmp_path: Path) -> None:
    ready, go = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:  # takes the first order and dies while it is drawn
        drawing = draw_orders(BIRDS, tmp_path, load=lambda choice: Sketcher())
        next(drawing)
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os.kill(os.getpid(), signal.SIGKILL)
    os.read(ready[0], 1)
    mine, outcomes = Sketcher(), list[Outcome]()
    try:
        for each in draw_orders(BIRDS, tmp_path, load=lambda choice: mine):
            if isinstance(each, Outcome):
                outcomes.append(each)
                if len(outcomes) == 3:
                    os.write(go[1], b"x")
                    os.waitpid(child, 0)
    finally:  # a child that waits for ever would hold what the tests print
        if len(outcomes) < 3:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for end in (*ready, *go):
            os.close(end)
    assert [prompt for prompt, _ in mine.drawn] == ["owl", "lynx", "wren", "raven"]
    check(tmp_path, BIRDS)


def test_many_append_to_one_manifest(tmp_path: Path) -> None:
    path = tmp_path / NAME

    def append(name: str) -> None:
        manifest = Manifest(path)
        for number in range(40):
            manifest.append(Row(f"{name}{number}", order={"prompt": "x" * 50 * number}))
        manifest.close()

    threads = [threading.Thread(target=append, args=[name]) for name in "abcd"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(row.key for row in read_rows(path)) == sorted(f"{a}{n}" for a in "abcd" for n in range(40))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 400), st.binary(max_size=3))
def test_a_manifest_is_read_wherever_it_is_torn(
    tmp_path_factory: pytest.TempPathFactory, cut: int, lost: bytes
) -> None:
    path = tmp_path_factory.mktemp("manifest") / NAME
    for key in ("aa", "bb"):
        manifest = Manifest(path)
        manifest.append(Row(key, file=f"{key}.png", order={"prompt": "größer"}))
        manifest.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] + (lost if cut < len(whole) else b""))  # as a power cut may leave it
    history = History(path)
    kept = whole[:cut].count(b"\n")
    manifest = Manifest(path)
    manifest.append(Row("cc", file="cc.png"))
    manifest.close()
    keys = [row.key for row in read_rows(path)]
    assert keys[-1] == "cc"
    assert keys[:kept] == ["aa", "bb"][:kept]
    assert [history.is_done(key) for key in ("aa", "bb", "cc")] == [kept > 0, kept > 1, False]
    history.refresh()
    assert history.is_done("cc")
