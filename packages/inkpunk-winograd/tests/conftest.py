"""Settings for all tests."""

from collections.abc import Generator

import pytest
import torch

torch.set_num_threads(1)  # these convolutions are too small to share


@pytest.fixture
def by_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear layers by oneDNN, whatever the processor."""
    monkeypatch.setattr("inkpunk_winograd.linear.FAST", "")


@pytest.fixture
def two_threads() -> Generator[None]:
    """As on a machine with two cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
