"""Checkpoints of random weights that several tests share."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def diffusers_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a diffusers folder of random weights, of a size of `make_checkpoint`'s, once for all tests.

    The full one by the commands a user has, in processes of their own: here every call is type-checked, and a check
    of a mapping reads from it, which at full size takes minutes.
    """
    made: dict[str, Path] = {}

    def folder(size: str) -> Path:
        if size not in made:
            home = tmp_path_factory.mktemp(size)
            single, made[size] = home / "model.safetensors", home / "folder"
            if size.startswith("small"):
                # here, as a process that only hands out tests reads this file, too
                from inkpunk.models.conversion import convert_checkpoint

                from tools.make_checkpoint import make_checkpoint

                make_checkpoint(single, size=size, seed=0)
                convert_checkpoint(single, made[size])
                return made[size]
            for module, arguments in (
                ("tools.make_checkpoint", [single, "--size", size]),
                ("inkpunk", ["convert", single, made[size]]),
            ):
                subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, cwd=ROOT)
            single.unlink()
        return made[size]

    return folder
