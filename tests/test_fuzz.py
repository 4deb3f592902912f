"""Thousands of damaged files break no reader: a short run of tools/fuzz, the same each time."""

import multiprocessing
from pathlib import Path

import pytest

from tools.fuzz.corpus import Evil, torch_saved
from tools.fuzz.parsers import PARSERS
from tools.fuzz.work import Counts, fuzz

INPUTS = 500  # a parser; what a long run finds, tools.fuzz is for


@pytest.fixture(scope="module")
def counted() -> dict[str, Counts]:
    """In one process of its own: its types are not checked at run time, its memory is nobody else's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return dict(zip(PARSERS, pool.starmap(fuzz, [(name, INPUTS) for name in PARSERS]), strict=True))


@pytest.mark.parametrize("parser", PARSERS)
def test_no_damaged_input_breaks_a_reader(parser: str, counted: dict[str, Counts]) -> None:
    counts = counted[parser]
    assert counts.inputs == INPUTS == counts.read + counts.refused
    assert (counts.uncaught, counts.run, counts.hangs, counts.large) == (0, 0, 0, 0)


def _counts_of_a_bad_parser(keep: Path) -> Counts:
    import pickle
    import time

    from tools.fuzz import work

    def bad(data: bytes, _: Path) -> None:
        if data[:1] == b"\x80":
            pickle.loads(data)
        elif data[:1] == b"h":
            time.sleep(60)
        elif data[:1] == b"m":
            bytearray(b"x") * (256 << 20)
        elif data[:1] == b"e":
            raise KeyError

    inputs = [b"", pickle.dumps(Evil()), b"h", b"m", b"e", torch_saved({}, True)]
    work.SECONDS = 4  # in which a busy machine can fill the memory of another input
    work.corpus = lambda _: inputs
    work.PARSERS = {"bad": (bad, ())}
    return fuzz("bad", len(inputs), 0, keep)


def test_the_counts_notice_what_they_count(tmp_path: Path) -> None:
    # in a process of its own: one that had been larger would not notice memory
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        counts = pool.apply(_counts_of_a_bad_parser, (tmp_path,))
    assert counts == Counts(6, 4, 0, uncaught=1, run=1, hangs=1, large=1)
    assert len(list(tmp_path.iterdir())) == 4
