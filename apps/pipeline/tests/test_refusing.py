"""Whatever the machine or the terminal cannot do ends in one line, and loses no picture."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from inkpunk import Pipeline, read_facts
from inkpunk.cli import main
from inkpunk.cli.refusing import ways_out


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def python(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inkpunk", *map(str, arguments)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, encoding="cp1252")


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file's name cannot be any bytes")
def test_a_terminal_that_cannot_show_a_path_loses_no_picture(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode("絵".encode() + b"\xff")  # in no code page, and no UTF-8
    result = python(
        *("generate", "a raven", "--model", tiny, "--steps", 1, "--count", 2, "--seed", 7, "--out", folder),
        PYTHONIOENCODING="cp1252",
        PYTHONUTF8="0",
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    printed = [Path(line).name for line in result.stdout.splitlines()]
    assert printed == sorted(path.name for path in folder.iterdir())
    assert [read_facts(folder / name).seed for name in printed] == [7, 8]
    assert "\\u7d75\\udcff" in result.stdout


@pytest.mark.thorough
def test_a_terminal_that_cannot_show_a_prompt_shows_escapes() -> None:
    encoding = "cp1252"
    result = python("prompt", "烏, a raven", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert result.returncode == 0, result.stderr
    assert "a | raven" in result.stdout and "Traceback" not in result.stderr
    result = python("inspect", "絵.ckpt", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert result.returncode == 1
    assert "no such file or folder" in result.stderr and "Traceback" not in result.stderr


def raising(error: BaseException) -> Any:
    def fail(*arguments: object, **options: object) -> Any:
        raise error

    return fail


CPU = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
)


def of(cause: BaseException) -> BaseException:
    error = ValueError("another word for it")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "not enough memory; try --low-memory, --dtype bfloat16, a smaller size, or close"),
        (
            RuntimeError(CPU + "allocate 1073741824 bytes. Error code 12"),
            "not enough memory for 1,024 MiB more; try",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB."), "for 2.50 GiB more; try"),
        (RuntimeError("std::bad_alloc"), "not enough memory; try"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory; try"),
        (ImportError("libx.so: cannot allocate memory"), "not enough memory; try"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "not enough memory; try"),
        (of(of(MemoryError())), "not enough memory; try"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.bin"), "Error: a.bin: No such file"),
        (OSError(errno.EIO, "Input/output error"), "Error: Input/output error"),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    monkeypatch.setattr(Pipeline, "load", raising(error))
    result = run("generate", "a raven", "--out", tmp_path / "a.png")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert line in result.output.splitlines()[-1]


@pytest.mark.parametrize("where", ["run", "decode"])
def test_it_is_one_line_wherever_it_arises(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(Pipeline, where, raising(MemoryError()))
    result = run("generate", "a raven", "--model", tiny, "--steps", 1, "--out", tmp_path / "a.png")
    assert result.exit_code == 1
    assert "not enough memory; try --low-memory" in result.output.splitlines()[-1]


def test_a_mistake_of_ours_shows_where_it_arose(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (
        RuntimeError("shapes differ"),
        ImportError("cannot allocate memory in static TLS block"),
        KeyError("x"),
    ):
        monkeypatch.setattr(Pipeline, "run", raising(error))
        result = run("generate", "a raven", "--model", tiny, "--out", tmp_path / "a.png")
        assert result.exception is error


def test_only_ways_that_are_left_are_named() -> None:
    given = {"low_memory": False, "dtype": "auto", "width": None, "batch": 2}
    assert ways_out(given, "") == (
        "try --low-memory, --dtype bfloat16, a smaller size, a smaller --batch, or close other programs"
    )
    assert "--dtype" not in ways_out(given, "CUDA out of memory")
    assert (
        ways_out(given | {"low_memory": True, "batch": 1}, "")
        == "try a smaller size, or close other programs"
    )
    assert ways_out({"dtype": "float32"}, "") == "close other programs"  # as convert's, which is another


def test_a_shard_that_goes_while_it_draws_is_one_line_after_the_pictures_made_so_far(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, drawn = Pipeline.decode, list[int]()

    def gone(*arguments: Any) -> Any:
        drawn.append(1)
        if len(drawn) == 2:
            Path(tmp_path / "gone").read_bytes()
        return decode(*arguments)

    monkeypatch.setattr(Pipeline, "decode", gone)
    result = run(
        "generate", "a raven", "--model", tiny, "--steps", 1, "--count", 3, "--out", tmp_path / "out"
    )
    [picture] = (tmp_path / "out").iterdir()
    assert str(picture) in result.stdout
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {tmp_path / 'gone'}: No such file or directory"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "inkpunk", "samplers"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert "No space left on device" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no alarms")
@pytest.mark.parametrize("name", ["x.safetensors", "x.ckpt"])
def test_ctrl_c_in_convert_is_no_fault_of_the_file(tiny: Path, tmp_path: Path, name: str) -> None:
    # as a user does it, at a moment that is late enough to have begun and early enough not to have ended
    script = """if True:
        import signal, sys
        import inkpunk_weights.saving as saving
        from inkpunk.cli import main
        signal.signal(signal.SIGINT, signal.default_int_handler)
        renamed, count = saving.narrowed, 0
        def pressed(*arguments):
            global count
            count += 1
            if count == 20:
                signal.raise_signal(signal.SIGINT)
            return renamed(*arguments)
        saving.narrowed = pressed
        main(["convert", *sys.argv[1:]])
    """
    command = [sys.executable, "-c", script, str(tiny), str(tmp_path / name)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 130
    assert result.stderr == "Interrupted.\n"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_the_command_is_imported_ends_with_130(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")  # which the command line imports first
    result = python("samplers", PYTHONPATH=str(tmp_path))
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "Interrupted.\n")
