"""inkpunk-winograd's wheel, built and installed, needs no compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import torch
from inkpunk_winograd import native, why_not_native, winograd_conv2d
assert why_not_native() is None, why_not_native()
x, weight = torch.randn(1, 96, 32, 32), torch.randn(64, 96, 3, 3) / 30
assert torch.allclose(winograd_conv2d(x, weight), torch.nn.functional.conv2d(x, weight, padding=1), atol=1e-5)
print(native.__file__)
"""


@pytest.mark.slow  # compiles the kernels, at first with what they are linked to: a minute or so
def test_the_wheel_has_kernels_where_no_compiler_is(tmp_path: Path) -> None:
    caches = {name: str(tmp_path / name) for name in ("ZIG_LOCAL_CACHE_DIR", "ZIG_GLOBAL_CACHE_DIR")}
    build = (
        "uv",
        "build",
        "-q",
        "--package",
        "inkpunk-winograd",
        "-o",
        str(tmp_path),
    )  # the sdist's, not ours
    subprocess.run(build, cwd=Path(__file__).parents[1], env={**os.environ, **caches}, check=True)
    [wheel] = tmp_path.glob("*.whl")
    assert not wheel.name.endswith("-any.whl")
    site = tmp_path / "site"
    subprocess.run(("uv", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)), check=True)
    bare = {"PATH": str(tmp_path), "PYTHONPATH": str(site), "HOME": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT],
        cwd=tmp_path,
        env=bare,
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(said.stdout.strip()).is_relative_to(site)
    assert not (tmp_path / ".cache").exists()  # nothing was built
