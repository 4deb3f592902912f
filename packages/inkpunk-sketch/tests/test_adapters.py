import json
from pathlib import Path

import numpy as np
import pytest
from inkpunk_sketch import adapters, weights
from safetensors import safe_open

LARGEST = 5_000_000  # bytes
PARTS = {"lora_down.weight", "lora_up.weight", "alpha"}


@pytest.fixture(params=adapters(), name="adapter")
def adapter_(request: pytest.FixtureRequest) -> Path:
    """Each of them."""
    return adapters()[request.param]


def test_an_adapter_lies_beside_the_weights_and_is_small(adapter: Path) -> None:
    assert adapter.parent == weights().parent
    assert adapter.stat().st_size <= LARGEST


def test_an_adapter_is_finite_in_half_precision_and_in_kohyas_layout(adapter: Path) -> None:
    with safe_open(adapter, "np") as file:
        parts: dict[str, set[str]] = {}
        for name in file.keys():  # noqa: SIM118  # not a dict
            layer, _, part = name.partition(".")
            assert layer.startswith(("lora_unet_", "lora_te_")), name
            parts.setdefault(layer, set()).add(part)
            tensor = file.get_tensor(name)
            assert tensor.dtype == np.float16, name
            assert np.isfinite(tensor).all(), name
    assert all(found == PARTS for found in parts.values())


def test_an_adapter_says_what_it_is_for(adapter: Path) -> None:
    with safe_open(adapter, "np") as file:
        metadata = file.metadata()
        rank = int(metadata["ss_network_dim"])
        downs = [name for name in file.keys() if name.endswith("lora_down.weight")]  # noqa: SIM118
        assert {file.get_slice(name).get_shape()[0] for name in downs} == {rank}
    assert metadata["ss_base_model_version"] == "sd_v1"
    assert metadata["modelspec.title"]


def test_the_lcm_lora_asks_for_few_steps_without_guidance() -> None:
    with safe_open(adapters()["lcm"], "np") as file:
        defaults = json.loads(file.metadata()["inkpunk.defaults"])
    assert defaults == {"steps": 4, "guidance": 1.0, "sampler": "lcm"}
