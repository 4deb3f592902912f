"""What the fleet's tests share: files of small requests, and pictures that cost nothing."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

# ray reads it as it is imported, which a test may do before a fleet does
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
torch.set_num_threads(1)  # networks this small only wait for a second thread

SMALL = {"width": 64, "height": 64, "steps": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep remembered hashes out of the user's cache."""
    monkeypatch.setenv("INKPUNK_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def requests_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of small requests; text is written as it is."""

    def write(*lines: dict[str, Any] | str) -> Path:
        path = tmp_path / "requests.jsonl"
        path.write_text(
            "\n".join(each if isinstance(each, str) else json.dumps(SMALL | each) for each in lines)
        )
        return path

    return write
