import errno
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from inkpunk.pictures.atomic import write_atomically

DATA = b"all of it"


def interrupt_at(opcode: int, work: Any) -> bool:
    """Press Ctrl-C before the `opcode`-th bytecode of the module that `work` runs; False if it runs fewer."""
    remaining = opcode
    pressed = False

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal remaining, pressed
        if not frame.f_code.co_filename.endswith(("atomic.py", "contextlib.py")):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not pressed:
            remaining -= 1
            if remaining < 0:
                pressed = True
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        assert pressed
    else:
        assert not pressed, "Ctrl-C was swallowed"
    finally:
        sys.settrace(before)
    return pressed


@pytest.mark.parametrize("overwrite", [False, True])
def test_ctrl_c_at_any_point_leaves_the_whole_file_or_nothing(tmp_path: Path, overwrite: bool) -> None:
    handler = signal.getsignal(signal.SIGINT)
    outcomes = set[bool]()
    opcode = 0
    while True:
        folder = tmp_path / str(opcode)
        folder.mkdir()
        path = folder / "file"
        if not interrupt_at(opcode, lambda path=path: write_atomically(path, DATA, overwrite=overwrite)):
            break
        assert [file.read_bytes() for file in folder.iterdir()] in ([], [DATA])
        assert signal.getsignal(signal.SIGINT) is handler
        outcomes.add(path.exists())
        opcode += 1
    assert opcode > 50  # or else the tracing does not trace
    assert outcomes == {False, True}


@pytest.mark.parametrize(
    ("step", "overwrite"), [("fsync", False), ("fsync", True), ("link", False), ("replace", True)]
)
def test_a_failing_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, overwrite: bool
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", DATA, overwrite=overwrite)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=["hard links", "no hard links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "no hard links":

        def refuse(*arguments: Any, **options: Any) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)
    return request.param


def test_a_new_file_has_the_content_and_ordinary_permissions(tmp_path: Path, links: str) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    path = tmp_path / "file"
    write_atomically(path, DATA)
    assert path.read_bytes() == DATA
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_an_existing_file_is_not_touched(tmp_path: Path, links: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write_atomically(path, DATA)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"mine"]


def test_an_existing_file_is_replaced_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_atomically(path, DATA, overwrite=True)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [DATA]


def test_without_hard_links_a_failure_gives_the_claimed_name_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EIO if arguments[0].name.startswith(".") else 0, "broken")

    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="broken"):
        write_atomically(tmp_path / "file", DATA)
    assert list(tmp_path.iterdir()) == []


def test_of_many_writers_of_one_name_one_wins(tmp_path: Path, links: str) -> None:
    path = tmp_path / "file"
    won = list[int]()
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        try:
            write_atomically(path, bytes([number]) * 1000)
        except FileExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [bytes(won) * 1000]


@pytest.mark.parametrize("name", ["", ".", "..", "missing/file"])
def test_what_is_no_file_in_a_folder_is_an_os_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError):
        write_atomically(tmp_path / name, DATA)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    hour_ago = time.time() - 3700
    old = {
        name: tmp_path / name for name in (f".{'a' * 16}.tmp", ".notes.tmp", "picture.png", f"{'a' * 16}.tmp")
    }
    live = tmp_path / f".{'b' * 16}.tmp"
    folder = tmp_path / f".{'c' * 16}.tmp"
    folder.mkdir()
    for path in (*old.values(), live):
        path.touch()
    for path in (*old.values(), folder):
        os.utime(path, (hour_ago, hour_ago))
    write_atomically(tmp_path / "file", DATA)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"file", ".notes.tmp", "picture.png", f"{'a' * 16}.tmp", live.name, folder.name}
