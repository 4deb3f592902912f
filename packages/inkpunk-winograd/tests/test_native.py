"""The kernels in C do what torch's operations do, on every machine that can build them."""

import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from inkpunk_winograd import why_not_native, winograd_conv2d
from inkpunk_winograd.native import building, prebuilt
from inkpunk_winograd.native.convolution import Work, plan
from inkpunk_winograd.native.library import SWITCH, load
from inkpunk_winograd.native.team import Team
from torch import Tensor

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in building.COMPILERS), reason="no C compiler on this machine"
)
ROUNDING = 1e-5  # float32, up to some hundred channels, outputs of about unit variance


def problem(
    seed: int, batch: int, channels: int, out: int, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return draw(batch, channels, height, width), draw(out, channels, 3, 3) / (3 * channels**0.5), draw(out)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[Path]:
    """A folder where no library was built yet, and a process that has not asked for one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path / "none")  # an installed wheel's tests have some
    load.cache_clear()
    yield tmp_path / "inkpunk/native"
    load.cache_clear()


@needs_compiler
def test_a_machine_with_a_compiler_has_them() -> None:
    assert load("convolution").functions is not None


@needs_compiler
@given(
    st.integers(0, 99),
    st.integers(1, 3),
    st.integers(1, 150),
    st.integers(1, 70),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([2, 4]),
    st.booleans(),
    st.booleans(),
)
def test_it_is_a_convolution(
    seed: int,
    batch: int,
    channels: int,
    out: int,
    height: int,
    width: int,
    tile: int,
    biased: bool,
    channels_last: bool,
) -> None:
    x, weight, bias = problem(seed, batch, channels, out, height, width)
    if channels_last:
        weight = weight.contiguous(memory_format=torch.channels_last)
    result = winograd_conv2d(x, weight, bias if biased else None, tile=tile)
    reference = F.conv2d(x, weight, bias if biased else None, padding=1)
    assert torch.allclose(result, reference, rtol=ROUNDING, atol=ROUNDING)
    assert result.is_contiguous(memory_format=torch.channels_last)


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_memory_change_no_bit(threads: int) -> None:
    x, weight, bias = problem(0, 2, 200, 65, 57, 39)  # several blocks, parts and tails of everything
    whole = winograd_conv2d(x, weight, bias)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for memory in (1, 4 << 20, 16 << 20):
            assert torch.equal(winograd_conv2d(x, weight, bias, memory=memory), whole)
    finally:
        torch.set_num_threads(before)


@needs_compiler
@given(
    st.integers(1, 4),
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 2),
    st.integers(1, 64),
)
def test_no_more_memory_is_worked_in_than_allowed(
    batch: int, channels: int, out: int, height: int, width: int, pairs: int, threads: int
) -> None:
    sizes = {"batch": batch, "channels": channels, "out": out, "height": height, "width": width}
    work = Work(**sizes, pairs=pairs, team=Team(threads=threads))
    least = plan(work, 0)
    assert plan(work, least) == least
    for megabytes in (16, 64, 256):
        allowed = megabytes << 18  # numbers of four bytes
        assert plan(work, allowed) <= max(allowed, least)
        assert work.block >= 1


@needs_compiler
@pytest.mark.parametrize("image", range(3))
def test_each_image_of_a_batch_is_its_own_to_the_bit(image: int) -> None:
    x, weight, bias = problem(1, 3, 70, 40, 18, 22)
    together = winograd_conv2d(x, weight, bias)
    assert torch.equal(winograd_conv2d(x[image : image + 1], weight, bias), together[image : image + 1])


@needs_compiler
def test_weights_of_any_strides() -> None:
    x, weight, bias = problem(2, 1, 48, 40, 12, 12)
    expected = winograd_conv2d(x, weight, bias)
    for strided in (
        weight.transpose(2, 3).contiguous().transpose(2, 3),
        weight.transpose(0, 1).contiguous().transpose(0, 1),
        torch.stack([weight, weight], -1)[..., 0],
    ):
        assert torch.equal(winograd_conv2d(x, strided, torch.stack([bias, bias], -1)[:, 0]), expected)


@needs_compiler
def test_what_one_picture_left_in_memory_does_not_reach_the_next() -> None:
    x, weight, bias = problem(3, 1, 100, 40, 9, 9)
    expected = winograd_conv2d(x, weight, bias)
    winograd_conv2d(torch.full((1, 300, 40, 40), torch.nan), torch.full((32, 300, 3, 3), torch.nan))
    assert torch.equal(winograd_conv2d(x, weight, bias), expected)


@needs_compiler
def test_many_callers_at_once() -> None:
    problems = [problem(index, 1, 64 + index, 40, 30, 20 + index) for index in range(6)]
    expected, results = [winograd_conv2d(*each) for each in problems], [None] * len(problems)

    def work(index: int) -> None:
        for _ in range(10):
            results[index] = winograd_conv2d(*problems[index])

    callers = [threading.Thread(target=work, args=(index,)) for index in range(len(problems))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all(torch.equal(result, right) for result, right in zip(results, expected, strict=True))


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names x86-64's generations")
@pytest.mark.parametrize(
    "processor", ["x86-64", "x86-64-v3"]
)  # SSE and AVX2; every x86-64 since 2015 has both
def test_processors_with_shorter_vectors(
    processor: str, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [f"-march={processor}" if flag == "-march=native" else flag for flag in building.FLAGS]
    monkeypatch.setattr(building, "FLAGS", flags)
    for channels, out, height, tile in ((37, 45, 26, 4), (128, 64, 50, 4), (64, 33, 11, 2)):
        x, weight, bias = problem(5, 2, channels, out, height, height + 3)
        for order in (weight, weight.contiguous(memory_format=torch.channels_last)):
            result = winograd_conv2d(x, order, bias, tile=tile)
            assert torch.allclose(result, F.conv2d(x, weight, bias, padding=1), rtol=ROUNDING, atol=ROUNDING)
    assert len([*fresh.iterdir()]) == 1


@needs_compiler
def test_they_are_built_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("convolution").functions is not None
    [built] = fresh.iterdir()
    load.cache_clear()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("built again"))
    assert load("convolution").functions is not None
    assert [*fresh.iterdir()] == [built]


@needs_compiler
def test_a_folder_that_others_may_write_to_is_not_trusted(fresh: Path) -> None:
    fresh.mkdir(parents=True)
    fresh.chmod(0o777)
    assert load("convolution").functions is None


TROUBLES = {
    "none": "no C compiler: none of cc, gcc, clang is in the PATH",
    "fails": "cc cannot build convolution.c: an error of some kind",
    "switched off": "INKPUNK_NATIVE=0 in the environment leaves them out",
    "nowhere to write": "Not a directory",
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_without_a_compiler_there_is_another_way_and_a_reason(
    trouble: str, fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if trouble == "switched off":
        monkeypatch.setenv(SWITCH, "0")
    elif trouble == "nowhere to write":
        fresh.parent.write_text("a file, where the folder should be")
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
        if trouble == "fails":
            compiler = tmp_path / "cc"
            compiler.write_text("#!/bin/sh\necho an error of some kind >&2\nexit 1\n")
            compiler.chmod(0o755)
    x, weight, bias = problem(4, 1, 8, 8, 10, 10)
    result = winograd_conv2d(x, weight, bias)
    assert load("convolution").functions is None
    assert TROUBLES[trouble] in why_not_native()
    assert torch.allclose(result, F.conv2d(x, weight, bias, padding=1), atol=ROUNDING)


def test_the_switch_is_the_environments(tmp_path: Path) -> None:
    script = "from inkpunk_winograd import why_not_native; print(why_not_native())"
    environment = {**os.environ, SWITCH: "0", "XDG_CACHE_HOME": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "INKPUNK_NATIVE=0 in the environment leaves them out"
    assert not [*tmp_path.iterdir()]


@needs_compiler
def test_what_killed_builds_left_is_cleared_and_nothing_else(fresh: Path) -> None:
    fresh.mkdir(parents=True, mode=0o700)
    for name, age in (("tmpabcd_123", 3700), ("tmpabcd_456", 60), ("mine", 3700)):
        (fresh / name).mkdir()
        (fresh / name / "convolution.so").touch()
        os.utime(fresh / name, (time.time() - age, time.time() - age))
    assert load("convolution").functions is not None
    assert {path.name for path in fresh.iterdir() if path.is_dir()} == {"tmpabcd_456", "mine"}
