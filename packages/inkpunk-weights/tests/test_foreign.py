"""What torch and safetensors make of Ctrl-C, a full disk and a lack of memory is not what comes out."""

import errno
import mmap
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import inkpunk_weights.safetensors_files
import pytest
import torch
from inkpunk_weights import CheckpointError, open_checkpoint, save_checkpoint
from inkpunk_weights.safetensors_files import open_safetensors
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

Parts = dict[str, dict[str, Tensor]]


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """An alarm presses Ctrl-C, wherever the program is by then."""
    signals = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGALRM: lambda number, frame: signal.raise_signal(signal.SIGINT),
    }
    before = {number: signal.signal(number, handler) for number, handler in signals.items()}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no alarms")
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_a_tensor_is_read_calls_no_file_unreadable(saved: Path) -> None:
    file = open_safetensors(saved / "single.safetensors")
    chance = random.Random(0)
    for _ in range(100):
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 2e-3))
            while True:
                for name in file.tensors:
                    file.tensors[name]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Striking:
    """A file that fails at one of its writes."""

    def __init__(self, file: BinaryIO, fault: BaseException, at: int) -> None:
        self.file, self.fault, self.left = file, fault, at

    def write(self, data: Any) -> int:
        self.left -= 1
        if not self.left:
            raise self.fault
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


@pytest.mark.parametrize(
    "fault",
    [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))],
    ids=["Ctrl-C", "disk full"],
)
@pytest.mark.parametrize("at", [1, 4, 7, 20])
def test_what_strikes_within_torch_save_comes_out_as_it_is(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, at: int
) -> None:
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda what, file: save(what, Striking(file, fault, at)))
    with pytest.raises(type(fault)):
        save_checkpoint(tmp_path / "x.ckpt", **parts, layout="single-file ckpt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [SafetensorError("Cannot allocate memory (os error 12)"), OSError(errno.ENOMEM, "no room")],
)
def test_no_memory_to_map_a_file_is_not_the_files_fault(
    saved: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*arguments: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(inkpunk_weights.safetensors_files, "safe_open", full)
    with pytest.raises(MemoryError):
        open_checkpoint(saved / "single.safetensors")


def test_no_memory_to_map_a_pickle_is_not_the_files_fault(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "x.ckpt", **parts, layout="single-file ckpt")

    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(mmap, "mmap", full)
    with pytest.raises(MemoryError):
        open_checkpoint(tmp_path / "x.ckpt")


def test_no_memory_for_a_tensor_is_not_its_files_fault(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(load_file(saved / "single.safetensors"))

    class Full:
        def keys(self) -> list[str]:
            return names

        def get_tensor(self, name: str) -> Tensor:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
            )

    monkeypatch.setattr(inkpunk_weights.safetensors_files, "safe_open", lambda *_, **__: Full())
    file = open_safetensors(saved / "single.safetensors")
    with pytest.raises(MemoryError, match="alloc_cpu"):
        file.tensors[next(iter(file.tensors))]


@pytest.mark.parametrize("becomes", [None, b"\x08\0\0\0\0\0\0\0not JSON", save({"x": torch.zeros(2)})])
def test_a_file_that_goes_or_changes_while_it_is_opened_is_one_line(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, becomes: bytes | None
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((saved / "single.safetensors").read_bytes())
    mapped = inkpunk_weights.safetensors_files.safe_open

    def going(*arguments: Any, **options: Any) -> Any:
        path.unlink()
        if becomes is not None:
            path.write_bytes(becomes)
        return mapped(*arguments, **options)

    monkeypatch.setattr(inkpunk_weights.safetensors_files, "safe_open", going)
    with pytest.raises(
        CheckpointError, match=r"x\.safetensors: (gone while|damaged|changed while)"
    ) as refusal:
        open_checkpoint(path)
    assert "\n" not in str(refusal.value)
