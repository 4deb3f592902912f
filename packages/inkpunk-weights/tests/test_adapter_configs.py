"""What PEFT's configs say of an adapter's scale: in folders, and in the metadata that diffusers writes."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from inkpunk_weights import Adapter, CheckpointError, open_adapter
from safetensors.torch import save_file
from torch import Tensor

DOWN = "down_blocks.0.attentions.0.transformer_blocks.0"
QUERY, KEY = f"{DOWN}.attn1.to_q", f"{DOWN}.attn2.to_k"
OURS = {
    QUERY: "down.0.attentions.0.block.self_attention.query.weight",
    KEY: "down.0.attentions.0.block.cross_attention.key.weight",
    "conv_in": "conv_in.weight",
}
FC1 = "text_model.encoder.layers.0.mlp.fc1"


def layers(*names: str, prefix: str = "base_model.model.", rank: int = 4) -> dict[str, Tensor]:
    return {
        f"{prefix}{name}.{part}.weight": torch.ones(shape)
        for name in names
        for part, shape in (("lora_A", (rank, 6)), ("lora_B", (5, rank)))
    }


def saved(folder: Path, config: object, tensors: dict[str, Tensor] | None = None) -> Path:
    """What PEFT writes."""
    folder.mkdir(exist_ok=True)
    save_file(tensors or layers(*OURS), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return folder


def scales(adapter: Adapter) -> dict[str, float]:
    return {theirs: adapter.unet[ours].scale for theirs, ours in OURS.items() if ours in adapter.unet}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        open_adapter(path)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 700
    return str(error.value)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, (1, 1, 1)),
        ({"r": 4}, (1, 1, 1)),
        ({"peft_type": "LORA", "r": 4, "lora_alpha": 8}, (2, 2, 2)),
        ({"lora_alpha": 8, "r": 99}, (2, 2, 2)),  # the tensors' rank counts
        ({"lora_alpha": 8, "use_rslora": True}, (4, 4, 4)),
        ({"lora_alpha": 8, "use_rslora": None, "alpha_pattern": None}, (2, 2, 2)),
        ({"lora_alpha": 4, "alpha_pattern": {"to_q": 8}}, (2, 1, 1)),
        ({"lora_alpha": 4, "alpha_pattern": {"attn2.to_k": 8, "conv_in": 2}}, (1, 2, 0.5)),
        ({"lora_alpha": 4, "alpha_pattern": {QUERY: 8}}, (2, 1, 1)),
        ({"lora_alpha": 4, "alpha_pattern": {f"^{QUERY}$": 8}}, (2, 1, 1)),
        ({"lora_alpha": 4, "alpha_pattern": {r"attn1\.to_q": 8}}, (2, 1, 1)),
        ({"lora_alpha": 4, "alpha_pattern": {"^to_q": 8, "o_q": 8, "attn1": 8}}, (1, 1, 1)),
        (
            {"lora_alpha": 4, "alpha_pattern": {"to_q": 8, "attn1.to_q": 16}},
            (2, 1, 1),
        ),  # PEFT takes the first
        ({"lora_alpha": 4, "alpha_pattern": {"attn1.to_q": 16, "to_q": 8}}, (4, 1, 1)),
    ],
)
def test_alphas_of_folders_are_read(
    tmp_path: Path, config: dict[str, Any], expected: tuple[float, ...]
) -> None:
    adapter = open_adapter(saved(tmp_path, config))
    assert (adapter.layout, adapter.placeless, adapter.unknown) == ("PEFT", (), ())
    assert tuple(scales(adapter).values()) == expected


def test_layers_of_the_text_encoder_are_found_with_and_without_its_own_name(tmp_path: Path) -> None:
    for name in (FC1, FC1.removeprefix("text_model."), f"^{FC1}", "mlp.fc1"):
        config = {"lora_alpha": 4, "alpha_pattern": {name: 8}}
        adapter = open_adapter(saved(tmp_path, config, layers(FC1)))
        assert adapter.text_encoder["layers.0.feed_forward.fc1.weight"].scale == 2


def test_ranks_of_a_config_count_where_tensors_have_none(tmp_path: Path) -> None:
    tensors = {
        f"base_model.model.{name}.lokr_{part}": torch.ones(2, 2)
        for name in (QUERY, KEY)
        for part in ("w1", "w2")
    }
    config = {"peft_type": "LOKR", "r": 8, "alpha": 4, "rank_pattern": {"to_k": 2}}
    assert scales(open_adapter(saved(tmp_path, config, tensors))) == {QUERY: 0.5, KEY: 2}


@pytest.mark.parametrize("peft_type", ["LOHA", "LOKR"])
def test_other_kinds_have_their_alpha_by_another_name(tmp_path: Path, peft_type: str) -> None:
    kind, parts = {
        "LOHA": ("LoHa", {f"hada_w{i}_{x}": torch.ones(2, 2) for i in (1, 2) for x in "ab"}),
        "LOKR": (
            "LoKr",
            {"lokr_w1": torch.ones(2, 2), "lokr_w2_a": torch.ones(2, 2), "lokr_w2_b": torch.ones(2, 2)},
        ),
    }[peft_type]
    tensors = {f"base_model.model.conv_in.{name}": part for name, part in parts.items()}
    adapter = open_adapter(saved(tmp_path, {"peft_type": peft_type, "alpha": 3, "r": 2}, tensors))
    assert adapter.kind == kind
    assert scales(adapter) == {"conv_in": 1.5}


def test_subfolders_are_the_networks(tmp_path: Path) -> None:
    saved(tmp_path / "unet", {"lora_alpha": 8})
    saved(tmp_path / "text_encoder", {"lora_alpha": 2}, {**layers(FC1), **layers("conv_out")})
    adapter = open_adapter(tmp_path)
    assert {*scales(adapter).values()} == {2}
    assert adapter.text_encoder["layers.0.feed_forward.fc1.weight"].scale == 0.5
    assert adapter.placeless == (
        "base_model.model.conv_out",
    )  # no layer of the network that its folder names
    assert adapter.ranks == {4: 5}


def test_pickles_in_folders_are_read(tmp_path: Path) -> None:
    torch.save(layers(*OURS), tmp_path / "adapter_model.bin")
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 8}')
    assert {*scales(open_adapter(tmp_path)).values()} == {2}


def test_folders_of_diffusers_are_read(tmp_path: Path) -> None:
    torch.save(layers("unet.conv_in", prefix=""), tmp_path / "pytorch_lora_weights.bin")
    assert scales(open_adapter(tmp_path)) == {"conv_in": 1}
    save_file(layers("unet.conv_in", prefix="", rank=2), tmp_path / "pytorch_lora_weights.safetensors")
    assert open_adapter(tmp_path).ranks == {2: 1}


def with_metadata(path: Path, told: object) -> Path:
    tensors = layers(*(f"unet.{name}" for name in OURS), f"text_encoder.{FC1}", prefix="")
    text = told if isinstance(told, str) else json.dumps(told)
    save_file(tensors, path / "ink.safetensors", {"format": "pt", "lora_adapter_metadata": text})
    return path / "ink.safetensors"


def test_metadata_of_diffusers_is_read(tmp_path: Path) -> None:
    told = {
        "unet.r": 4,
        "unet.lora_alpha": 8,
        "unet.alpha_pattern": {QUERY: 1},
        "unet.use_rslora": True,
        "text_encoder.lora_alpha": 2,
        "text_encoder.alpha_pattern": {},
    }
    adapter = open_adapter(with_metadata(tmp_path, told))
    assert scales(adapter) == {QUERY: 0.5, KEY: 4, "conv_in": 4}
    assert adapter.text_encoder["layers.0.feed_forward.fc1.weight"].scale == 0.5
    adapter = open_adapter(with_metadata(tmp_path, {"text_encoder.lora_alpha": 2}))
    assert {*scales(adapter).values()} == {1}


# What is refused.


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{", "not JSON"),
        ("[" * 100_000, "lists within lists"),
        ('{"lora_alpha": ' + "9" * 5000 + "}", "a whole number of thousands of digits"),
        ('{"lora_alpha": NaN}', "'lora_alpha' cannot be 'nan'"),
        ('{"lora_alpha": Infinity}', "'lora_alpha' cannot be 'inf'"),
        ({"lora_alpha": 10**400}, "'lora_alpha' cannot be '1000000"),
        ({"lora_alpha": 0}, "'lora_alpha' cannot be '0'"),
        ({"lora_alpha": -1}, "'lora_alpha' cannot be '-1'"),
        ({"lora_alpha": True}, "'lora_alpha' cannot be 'True'"),
        ({"lora_alpha": "8"}, "'lora_alpha' cannot be '8'"),
        ({"lora_alpha": [8] * 10_000}, "'lora_alpha' cannot be a list"),
        ('{"lora_alpha": ' + "[" * 900 + "]" * 900 + "}", "'lora_alpha' cannot be a list"),
        ({"r": {"a": 1}}, "'r' cannot be a dict"),
        ({"alpha_pattern": [1]}, "'alpha_pattern' should be an object"),
        ({"alpha_pattern": {"to_q": None}}, "'alpha_pattern' cannot be 'None'"),
        ({"rank_pattern": {".*to_q": 4}}, "'rank_pattern' has '.*to_q', which is no layer's name"),
        ({"rank_pattern": {"(a|b)": 4}}, "which is no layer's name"),
        ({"rank_pattern": {"": 4}}, "which is no layer's name"),
        ({"rank_pattern": {"a\nb": 4}}, "which is no layer's name"),
        ({"peft_type": "OFT"}, "an adapter of kind 'OFT', which Inkpunk does not read"),
        ({"peft_type": "VERA"}, "an adapter of kind 'VERA'"),
        ({"peft_type": ["LORA"]}, "an adapter of kind a list"),
        ({"peft_type": None}, "an adapter of kind 'None'"),
    ],
)
def test_absurd_configs_are_refused(tmp_path: Path, config: object, reason: str) -> None:
    message = refusal(saved(tmp_path, config))
    assert reason in message and "adapter_config.json: " in message
    text = config if isinstance(config, str) else json.dumps(config)
    for key in ("lora_alpha", "r", "alpha_pattern", "rank_pattern", "peft_type"):
        text, reason = text.replace(f'"{key}"', f'"unet.{key}"'), reason.replace(f"'{key}'", f"'unet.{key}'")
    assert reason in refusal(with_metadata(tmp_path, text))


def test_metadata_of_a_pickle_may_be_anything(tmp_path: Path) -> None:
    path = tmp_path / "ink.bin"
    for told in ("neon", 5, 0.5, True):
        torch.save({"state_dict": layers("conv_in"), "lora_adapter_metadata": told}, path)
        assert "metadata 'lora_adapter_metadata': " in refusal(path)


def test_patterns_are_never_run_as_regular_expressions(tmp_path: Path) -> None:
    assert "which is no layer's name" in refusal(saved(tmp_path, {"alpha_pattern": {"(a+)+" * 20: 1}}))
    adapter = open_adapter(saved(tmp_path, {"lora_alpha": 4, "alpha_pattern": {"attn..to_q": 8}}))
    assert {*scales(adapter).values()} == {1}  # no dot but a dot


def test_folders_without_their_parts_are_refused(tmp_path: Path) -> None:
    assert "a folder without adapter_config.json and without pytorch_lora_weights.safetensors" in refusal(
        tmp_path
    )
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "has adapter_config.json, but no adapter_model.safetensors; fetch it again" in refusal(tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    os.mkfifo(tmp_path / "adapter_config.json")
    assert "adapter_config.json" in refusal(tmp_path)  # and does not wait for it
    (tmp_path / "adapter_config.json").unlink()
    (tmp_path / "adapter_config.json").mkdir()
    assert "adapter_config.json" in refusal(tmp_path)


def test_scales_stay_finite(tmp_path: Path) -> None:
    adapter = open_adapter(saved(tmp_path, {"lora_alpha": 999_999.9, "use_rslora": True}))
    assert all(math.isfinite(scale) for scale in scales(adapter).values())
