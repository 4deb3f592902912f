import json
from collections.abc import Callable
from pathlib import Path

import inkpunk_sketch
import numpy as np
import pytest
from inkpunk_sketch import adapters, files, weights
from safetensors import safe_open

LARGEST = 30_000_000  # bytes


def test_the_weights_come_with_the_package_and_are_small() -> None:
    assert weights().parent == Path(inkpunk_sketch.__file__).parent
    assert weights().stat().st_size <= LARGEST


def test_every_tensor_is_finite_and_in_half_precision() -> None:
    with safe_open(weights(), "np") as file:
        for name in file.keys():  # noqa: SIM118  # not a dict
            tensor = file.get_tensor(name)
            assert tensor.dtype == np.float16, name
            assert np.isfinite(tensor).all(), name


def test_the_three_networks_are_there_by_their_names_in_stable_diffusion() -> None:
    with safe_open(weights(), "np") as file:
        names = set(file.keys())
    for prefix in (
        "cond_stage_model.transformer.text_model.",
        "model.diffusion_model.",
        "first_stage_model.",
    ):
        assert any(name.startswith(prefix) for name in names), prefix
    assert all(
        name.startswith(("cond_stage_model.", "model.diffusion_model.", "first_stage_model."))
        for name in names
    )


def test_the_vocabulary_is_the_whole_of_clip() -> None:
    name = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    with safe_open(weights(), "np") as file:
        assert file.get_slice(name).get_shape()[0] == 49_408


def test_the_metadata_says_what_shapes_do_not() -> None:
    with safe_open(weights(), "np") as file:
        metadata = file.metadata()
    configs = json.loads(metadata["inkpunk.config"])
    assert configs.keys() == {"text_encoder", "unet", "vae"}
    defaults = json.loads(metadata["inkpunk.defaults"])
    assert defaults["size"] == 128
    assert 1 <= defaults["steps"] <= 1000


@pytest.mark.parametrize("find", [weights, adapters])
def test_a_package_without_its_files_says_so(
    find: Callable[[], object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(files, "files", lambda package: tmp_path)
    with pytest.raises(FileNotFoundError, match="install the package again"):
        find()
