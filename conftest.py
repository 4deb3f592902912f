"""What every test of the workspace shares."""

import functools
import gc
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

# A tenth of the default, so that the whole takes minutes, and the same ones every time, so that what lands is what
# was tested. Each package's tests by themselves try all; `--hypothesis-profile=explore` tries others every time.
settings.register_profile("workspace", max_examples=10, derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=100, deadline=None)
settings.load_profile("workspace")

# On machines that have a GPU, too, tests compute on the CPU whose results they know; tests/test_cuda.py is given one.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


def _unless_meta(fill: Callable[..., Any]) -> Callable[..., Any]:
    """Leave tensors without numbers alone: drawing none takes torch a good part of what loading a model takes."""

    @functools.wraps(fill)
    def filled(tensor: Any, *arguments: Any, **options: Any) -> Any:
        return tensor if tensor.is_meta else fill(tensor, *arguments, **options)

    return filled


def pytest_configure(config: pytest.Config) -> None:
    """Where tests run: with `-n` this process only hands them out, and its workers would wait until it has torch."""
    if config.getoption("numprocesses", None):
        return
    import torch

    for name in ("kaiming_uniform_", "uniform_", "normal_"):
        setattr(torch.nn.init, name, _unless_meta(getattr(torch.nn.init, name)))


def pytest_collection_finish() -> None:
    """Spare the garbage collector what was imported: it stays, and each look through it takes long."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def threads(request: pytest.FixtureRequest) -> None:
    """One thread for networks so small that they would only wait for a second; all of them at full size."""
    import torch

    small = "not slow" in request.config.getoption("-m")
    torch.set_num_threads(1 if small else os.cpu_count() or 1)
