"""Libraries that came with the package are loaded before any is built, and do the same."""

import ctypes
import hashlib
import json
import os
import platform
import shutil
import subprocess
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from inkpunk_winograd import native_attention, native_group_norm, why_not_native, winograd_conv2d
from inkpunk_winograd.native import building, library, prebuilt, team
from inkpunk_winograd.native.library import SWITCH, load
from torch import Tensor

HERE = f"-{prebuilt.level()}{prebuilt.SUFFIXES.get(platform.system())}"
MARCH = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "sse2": "x86-64", "arm64": "armv8-a"}
KERNELS = ("convolution", "attention", "norm")
ROUNDING = 1e-5  # float32; another compiler may fuse other products with sums

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in building.COMPILERS), reason="no C compiler to try them with"
)


def compute() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, weight = (
        torch.randn(2, 70, 19, 23, generator=generator),
        torch.randn(40, 70, 3, 3, generator=generator),
    )
    heads = torch.randn(3, 2, 3, 150, 24, generator=generator)
    images = x[:, :64].contiguous(memory_format=torch.channels_last)
    normal = native_group_norm(images, 4, *torch.randn(2, 64, generator=generator), silu=True)
    return [winograd_conv2d(x, weight / 25), native_attention(*heads), normal]


def list_in(folder: Path) -> None:
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*-*")}
    (folder / prebuilt.LIST).write_text(json.dumps(hashes))


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both libraries, for this processor's level."""
    folder = tmp_path_factory.mktemp("compiled")
    flags = [
        f"-march={MARCH[str(prebuilt.level())]}" if flag == "-march=native" else flag
        for flag in building.FLAGS
    ]
    sources = Path(prebuilt.__file__).parent
    compiler = next(found for name in building.COMPILERS if (found := shutil.which(name)))
    for kernel in KERNELS:
        subprocess.run(
            [compiler, *flags, sources / f"{kernel}.c", "-o", folder / f"{kernel}{HERE}"], check=True
        )
    return folder


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiled: Path) -> Generator[Path]:
    """Those of a package that was just installed, on a machine without compiler or built libraries."""
    folder = tmp_path / "prebuilt"
    folder.mkdir()
    for path in compiled.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    list_in(folder)
    monkeypatch.setattr(prebuilt, "FOLDER", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", str(tmp_path))
    load.cache_clear()
    yield folder
    monkeypatch.setenv("PATH", path)
    load.cache_clear()


@needs_compiler
def test_they_do_what_those_built_here_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    came = compute()
    assert why_not_native() is None
    assert all(load(name).prebuilt for name in KERNELS)
    assert not (folder.parent / "cache").exists()  # nothing was built, and no place asked for
    monkeypatch.undo()
    monkeypatch.setenv(SWITCH, "build")
    load.cache_clear()
    built = compute()
    assert not any(load(name).prebuilt for name in KERNELS)
    for one, other in zip(came, built, strict=True):
        assert torch.allclose(one, other, rtol=ROUNDING, atol=ROUNDING)


DAMAGE = {
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:5000]), "is damaged: install"),
    "changed": (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), "is damaged: install"),
    "gone": (lambda path: path.unlink(), "no libraries came with the package"),
    "not listed": (
        lambda path: (path.parent / prebuilt.LIST).write_text("{}"),
        "did not come with the package",
    ),
    "no list": (lambda path: (path.parent / prebuilt.LIST).write_text("{"), "Expecting"),
    "another list": (lambda path: (path.parent / prebuilt.LIST).write_text("7"), "argument of type 'int'"),
    "another machine's": (
        lambda path: (path.write_bytes(b"MZ" + bytes(5000)), list_in(path.parent)),
        "invalid ELF header" if platform.system() == "Linux" else "",
    ),
}


@needs_compiler
@pytest.mark.parametrize("damage", DAMAGE)
def test_without_them_one_is_built_or_two_reasons_are_given(
    damage: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harm, reason = DAMAGE[damage]
    harm(folder / f"convolution{HERE}")
    why = why_not_native()
    assert reason in why
    assert "no C compiler" in why
    assert "\n" not in why
    monkeypatch.undo()
    monkeypatch.setattr(prebuilt, "FOLDER", folder)
    load.cache_clear()
    assert load("convolution").functions is not None
    assert not load("convolution").prebuilt


@pytest.mark.parametrize(
    ("machine", "torchs", "level"),
    [
        ("x86_64", "AVX512", "avx512"),
        ("AMD64", "AVX2", "avx2"),
        ("x86_64", "NO AVX", "sse2"),
        ("x86_64", "of the future", "sse2"),
        ("aarch64", "SVE256", "arm64"),
        ("arm64", "DEFAULT", "arm64"),
        ("riscv64", "DEFAULT", None),
    ],
)
def test_the_level_is_what_torch_says_of_the_processor(
    machine: str, torchs: str, level: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: torchs)
    assert prebuilt.level() == level


@pytest.mark.parametrize("compiles", [True, False])
def test_the_least_level_is_for_want_of_a_compiler(compiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(source: Path) -> ctypes.CDLL:
        if compiles:
            return ctypes.CDLL(None)
        raise building.NotBuiltError("no C compiler")

    monkeypatch.setattr(library, "level", lambda: prebuilt.LEAST)
    monkeypatch.setattr(library, "prebuilt_library", lambda _: ctypes.CDLL(None))
    monkeypatch.setattr(library, "build_library", build)
    assert load.__wrapped__("convolution").prebuilt is not compiles
    monkeypatch.setattr(library, "level", lambda: "avx2")
    assert load.__wrapped__("convolution").prebuilt


@pytest.mark.skipif(why_not_native() is not None, reason="no native kernels here")
@pytest.mark.parametrize("threads", [1, 3])
def test_without_an_openmp_runtime_python_s_threads_do_it(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = compute()
    monkeypatch.setattr(team, "runtime", lambda: None)
    for module in KERNELS:
        monkeypatch.setattr(f"inkpunk_winograd.native.{module}.native_threads_for", lambda _: threads)
    started: list[int] = []
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda self: (started.append(1), start(self)))
    results = compute()
    assert bool(started) is (threads > 1)
    for result, right in zip(results, expected, strict=True):
        assert torch.equal(result, right)


def test_where_torch_has_openmp_its_threads_do_it() -> None:
    """As all of its own wheels have."""
    assert torch.backends.openmp.is_available()
    given = team.team_of(2)
    assert given.fork is not None or given.parallel != ctypes.cast(team._in_python, ctypes.c_void_p).value
