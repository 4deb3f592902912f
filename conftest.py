"""What every test of the workspace shares."""

import os

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def threads(request: pytest.FixtureRequest) -> None:
    """One thread for networks so small that they would only wait for a second; all of them at full size."""
    small = "not slow" in request.config.getoption("-m")
    torch.set_num_threads(1 if small else os.cpu_count() or 1)
