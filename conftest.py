"""What every test of the workspace shares."""

import os

import pytest
import torch
from hypothesis import settings

from tests import typed

typed.install()

# Half as many as by default, so that the whole takes minutes; each package's tests by themselves try all of them.
settings.register_profile("workspace", max_examples=50)
settings.load_profile("workspace")


@pytest.fixture(autouse=True, scope="session")
def threads(request: pytest.FixtureRequest) -> None:
    """One thread for networks so small that they would only wait for a second; all of them at full size."""
    small = "not slow" in request.config.getoption("-m")
    torch.set_num_threads(1 if small else os.cpu_count() or 1)
