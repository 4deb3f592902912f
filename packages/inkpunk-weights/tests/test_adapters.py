"""Adapters of every program are read as changes of our parameters; all else is refused by name, nothing is run."""

import io
import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_weights import (
    ADAPTER_FILES,
    Adapter,
    CheckpointError,
    LowRank,
    open_adapter,
    open_checkpoint,
    open_embedding,
    save_lora,
)
from inkpunk_weights.anatomy import TextEncoderAnatomy, UNetAnatomy
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

Tensors = dict[str, Tensor]
Write = Callable[[Tensors], bytes]
QUERY = "down.0.attentions.0.block.self_attention.query.weight"
OUT = "middle.attention.block.cross_attention.out.weight"
TEXT = "layers.3.attention.value.weight"
FC1 = "layers.3.feed_forward.fc1.weight"


def pickled(content: object, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


WRITERS = pytest.mark.parametrize("write", [save, pickled, lambda content: pickled(content, False)])


def opened(data: bytes | Tensors, name: str = "ink.safetensors") -> Adapter:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data if isinstance(data, bytes) else save(data))
        return open_adapter(path)  # on systems that we run on, what is mapped outlives its name


def refusal(data: bytes | Tensors, name: str = "ink.safetensors") -> str:
    with pytest.raises(CheckpointError) as error:
        opened(data, name)
    message = str(error.value)
    assert f"{name}: " in message
    assert message.isprintable()
    return message


def pair(layer: str, down: str = "lora_down.weight", up: str = "lora_up.weight", rank: int = 2) -> Tensors:
    draw = torch.Generator().manual_seed(len(layer))
    return {
        f"{layer}.{down}": torch.randn(rank, 6, generator=draw),
        f"{layer}.{up}": torch.randn(4, rank, generator=draw),
    }


def difference(pair: Tensors) -> Tensor:
    down, up = pair.values()
    return up @ down


# The names that programs give.

KOHYA = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q": QUERY,
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0": OUT,
    "lora_te_text_model_encoder_layers_3_self_attn_v_proj": TEXT,
    "lora_te_text_model_encoder_layers_3_mlp_fc1": FC1,
    "lora_te1_text_model_encoder_layers_0_mlp_fc2": "layers.0.feed_forward.fc2.weight",
    "lora_te_encoder_layers_0_self_attn_out_proj": "layers.0.attention.out.weight",
    "lora_unet_time_embedding_linear_1": "time_embedding.linear1.weight",
    "lora_unet_conv_in": "conv_in.weight",
    "lora_unet_conv_out": "conv_out.weight",
    "lora_unet_up_blocks_3_resnets_2_conv_shortcut": "up.3.resnets.2.shortcut.weight",
    "lora_unet_up_blocks_1_resnets_0_time_emb_proj": "up.1.resnets.0.time.weight",
    "lora_unet_up_blocks_0_upsamplers_0_conv": "up.0.upsample.conv.weight",
    "lora_unet_down_blocks_1_attentions_1_transformer_blocks_0_ff_net_0_proj": (
        "down.1.attentions.1.block.feed_forward.fc1.weight"
    ),
    # LDM's names, which trainers on the original code have
    "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_k": (
        "down.0.attentions.0.block.self_attention.key.weight"
    ),
    "lora_unet_input_blocks_4_1_proj_in": "down.1.attentions.0.proj_in.weight",
    "lora_unet_output_blocks_5_2_conv": "up.1.upsample.conv.weight",
    "lora_unet_middle_block_0_in_layers_2": "middle.resnets.0.conv1.weight",
    "lora_unet_time_embed_2": "time_embedding.linear2.weight",
    # LyCORIS around a network by itself
    "lycoris_mid_block_attentions_0_proj_out": "middle.attention.proj_out.weight",
    "lycoris_encoder_layers_1_self_attn_q_proj": "layers.1.attention.query.weight",
    "lycoris_text_model_encoder_layers_1_self_attn_k_proj": "layers.1.attention.key.weight",
}
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
LDM_BLOCK = "input_blocks.1.1.transformer_blocks.0"
DOTTED = {
    f"unet.{BLOCK}.attn1.to_q": QUERY,
    f"{BLOCK}.attn1.to_k": "down.0.attentions.0.block.self_attention.key.weight",
    f"base_model.model.{BLOCK}.attn1.to_v": "down.0.attentions.0.block.self_attention.value.weight",
    f"base_model.model.unet.{BLOCK}.ff.net.2": "down.0.attentions.0.block.feed_forward.fc2.weight",
    "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0": OUT,
    "text_encoder.text_model.encoder.layers.3.self_attn.v_proj": TEXT,
    "text_encoder.encoder.layers.3.mlp.fc1": FC1,
    "text_model.encoder.layers.2.mlp.fc2": "layers.2.feed_forward.fc2.weight",
    "base_model.model.text_model.encoder.layers.2.mlp.fc1": "layers.2.feed_forward.fc1.weight",
    f"diffusion_model.{LDM_BLOCK}.attn2.to_q": "down.0.attentions.0.block.cross_attention.query.weight",
    f"model.diffusion_model.{LDM_BLOCK}.attn2.to_k": "down.0.attentions.0.block.cross_attention.key.weight",
    "diffusion_model.middle_block.2.out_layers.3": "middle.resnets.1.conv2.weight",
    "diffusion_model.input_blocks.3.0.op": "down.0.downsample.conv.weight",
    "clip_l.transformer.text_model.encoder.layers.5.mlp.fc1": "layers.5.feed_forward.fc1.weight",
    "text_encoders.clip_l.transformer.text_model.encoder.layers.6.mlp.fc1": "layers.6.feed_forward.fc1.weight",
}
PAIRS = (
    ("lora_down.weight", "lora_up.weight"),
    ("lora.down.weight", "lora.up.weight"),
    ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
    ("lora_A.weight", "lora_B.weight"),
    ("lora_A.default.weight", "lora_B.default.weight"),
    ("lora_A.default_0.weight", "lora_B.default_0.weight"),
    ("lora_A.my-style.weight", "lora_B.my-style.weight"),
)


def assert_changes(adapter: Adapter, expected: Mapping[str, Tensor]) -> None:
    found = {**adapter.text_encoder, **adapter.unet}
    assert {*found} == {*expected}
    for name, tensor in expected.items():
        # three roundings of a sum of two
        assert torch.allclose(found[name].difference(torch.zeros(tensor.shape)), tensor, atol=1e-5), name
    assert (adapter.placeless, adapter.unknown) == ((), ())


@WRITERS
def test_kohya_s_names_are_read(write: Write) -> None:
    pairs = {layer: pair(layer) for layer in KOHYA}
    adapter = opened(write({name: tensor for each in pairs.values() for name, tensor in each.items()}))
    assert (adapter.layout, adapter.kind, adapter.ranks) == ("kohya", "LoRA", {2: len(KOHYA)})
    assert_changes(adapter, {ours: difference(pairs[layer]) for layer, ours in KOHYA.items()})
    assert {*adapter.text_encoder} == {ours for layer, ours in KOHYA.items() if "encoder_layers" in layer}


@pytest.mark.parametrize(("down", "up"), PAIRS)
@pytest.mark.parametrize("write", [save, pickled])
def test_names_with_dots_are_read(write: Write, down: str, up: str) -> None:
    pairs = {layer: pair(layer, down, up) for layer in DOTTED}
    adapter = opened(write({name: tensor for each in pairs.values() for name, tensor in each.items()}))
    assert adapter.layout == "PEFT"  # some begin as PEFT's do
    assert_changes(adapter, {ours: difference(pairs[layer]) for layer, ours in DOTTED.items()})
    assert {*adapter.text_encoder} == {ours for ours in DOTTED.values() if ours.startswith("layers.")}
    only = {layer: each for layer, each in pairs.items() if not layer.startswith("base_model")}
    layout = opened({name: tensor for each in only.values() for name, tensor in each.items()}).layout
    assert layout == ("PEFT" if "lora_A" in down else "diffusers")


OLD = {
    f"unet.{BLOCK}.attn1.processor.to_q_lora": QUERY,
    "mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_out_lora": OUT,
    "text_encoder.text_model.encoder.layers.3.self_attn.to_v_lora": TEXT,
    "text_encoder.text_model.encoder.layers.3.self_attn.to_out_lora": "layers.3.attention.out.weight",
    "text_encoder.text_model.encoder.layers.4.self_attn.to_q_lora": "layers.4.attention.query.weight",
    "text_encoder.text_model.encoder.layers.4.self_attn.to_k_lora": "layers.4.attention.key.weight",
    "text_encoder.text_model.encoder.layers.3.mlp.fc1.lora_linear_layer": FC1,
}


@WRITERS
def test_the_first_names_of_diffusers_are_read(write: Write) -> None:
    pairs = {layer: pair(layer, "down.weight", "up.weight") for layer in OLD}
    alphas = {f"{layer}.alpha": torch.tensor(4.0) for layer in OLD}
    tensors = {name: tensor for each in pairs.values() for name, tensor in each.items()}
    adapter = opened(write(tensors))
    assert adapter.layout == "diffusers"
    assert_changes(adapter, {ours: difference(pairs[layer]) for layer, ours in OLD.items()})
    adapter = opened(write({**tensors, **alphas}))
    assert_changes(adapter, {ours: 2 * difference(pairs[layer]) for layer, ours in OLD.items()})


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn]
)
@pytest.mark.parametrize("write", [save, pickled])
def test_any_floating_dtype_is_read(write: Write, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in pair("lora_unet_conv_in").items()}
    alpha = torch.tensor(3).to(dtype)
    adapter = opened(write({**tensors, "lora_unet_conv_in.alpha": alpha}))
    expected = difference({name: tensor.float() for name, tensor in tensors.items()}) * 1.5
    assert_changes(adapter, {"conv_in.weight": expected})


def test_ranks_may_be_mixed_and_odd() -> None:
    layers = [*KOHYA][:5]
    pairs = [pair(layer, rank=rank) for layer, rank in zip(layers, (1, 3, 3, 7, 128), strict=True)]
    alphas = {f"{layer}.alpha": torch.tensor(float(i)) for i, layer in enumerate(layers)}
    adapter = opened({name: tensor for each in [*pairs, alphas] for name, tensor in each.items()})
    assert adapter.ranks == {1: 1, 3: 2, 7: 1, 128: 1}
    scales = [0, 1 / 3, 2 / 3, 3 / 7, 4 / 128]
    assert_changes(
        adapter,
        {KOHYA[layer]: s * difference(each) for layer, s, each in zip(layers, scales, pairs, strict=True)},
    )


def test_only_headers_are_read_until_a_change_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[str]()

    class Watched:
        def __init__(self, *arguments: object, **options: object) -> None:
            self.file = safe_open(*arguments, **options)

        def keys(self) -> list[str]:
            return self.file.keys()

        def get_tensor(self, name: str) -> Tensor:
            read.append(name)
            return self.file.get_tensor(name)

    monkeypatch.setattr("inkpunk_weights.safetensors_files.safe_open", Watched)
    adapter = opened({**pair("lora_unet_conv_in"), "lora_unet_conv_in.alpha": torch.tensor(1.0)})
    assert read == ["lora_unet_conv_in.alpha"]
    assert adapter.unet["conv_in.weight"].fits((4, 6))
    assert len(read) == 1


# The kinds of the family.

LAYER = "lora_unet_conv_in."


def test_convolutions_make_a_locon() -> None:
    draw = {"lora_down.weight": torch.randn(2, 3, 3, 3), "lora_up.weight": torch.randn(5, 2, 1, 1)}
    adapter = opened(
        {**{LAYER + name: part for name, part in draw.items()}, **pair("lora_te_encoder_layers_0_mlp_fc1")}
    )
    assert adapter.kind == "LoCon"
    expected = torch.einsum("or,rihw->oihw", draw["lora_up.weight"].flatten(1), draw["lora_down.weight"])
    found = adapter.unet["conv_in.weight"].difference(torch.zeros(5, 3, 3, 3))
    assert torch.allclose(found, expected, atol=1e-5)
    points = {"lora_down.weight": torch.randn(2, 3, 1, 1), "lora_up.weight": torch.randn(5, 2, 1, 1)}
    adapter = opened({LAYER + name: part for name, part in points.items()})
    assert adapter.kind == "LoRA"
    for shape in ((5, 3, 1, 1), (5, 3)):  # a linear layer of another checkpoint of the same model
        assert adapter.unet["conv_in.weight"].fits(shape)
    core = {
        "lora_up.weight": torch.randn(5, 2, 1, 1),
        "lora_mid.weight": torch.randn(2, 4, 3, 3),
        "lora_down.weight": torch.randn(4, 3, 1, 1),
        "alpha": torch.tensor(2.0),
    }
    adapter = opened({LAYER + name: part for name, part in core.items()})
    assert (adapter.kind, adapter.ranks) == ("LoCon", {4: 1})
    up, mid, down, _ = core.values()
    expected = torch.einsum("oa,abhw,bi->oihw", up.flatten(1), mid, down.flatten(1)) / 2
    found = adapter.unet["conv_in.weight"].difference(torch.zeros(5, 3, 3, 3))
    assert torch.allclose(found, expected, atol=1e-5)


OTHER_KINDS = {
    "LoHa": [
        {"hada_w1_a": (4, 2), "hada_w1_b": (2, 6), "hada_w2_a": (4, 2), "hada_w2_b": (2, 6)},
        {
            "hada_t1": (2, 2, 3, 3),
            "hada_w1_a": (2, 4),
            "hada_w1_b": (2, 6),
            "hada_t2": (2, 2, 3, 3),
            "hada_w2_a": (2, 4),
            "hada_w2_b": (2, 6),
        },
    ],
    "LoKr": [
        {"lokr_w1": (2, 3), "lokr_w2": (2, 2)},
        {"lokr_w1": (2, 3), "lokr_w2": (2, 2, 3, 3)},
        {"lokr_w1": (2, 3), "lokr_w2_a": (2, 2), "lokr_w2_b": (2, 2)},
        {"lokr_w1": (2, 3), "lokr_w2_a": (2, 2), "lokr_w2_b": (2, 18)},
        {"lokr_w1_a": (2, 2), "lokr_w1_b": (2, 3), "lokr_w2": (2, 2)},
        {"lokr_w1_a": (2, 2), "lokr_w1_b": (2, 3), "lokr_w2_a": (2, 2), "lokr_w2_b": (2, 2)},
        {"lokr_w1": (2, 3), "lokr_t2": (2, 2, 3, 3), "lokr_w2_a": (2, 2), "lokr_w2_b": (2, 2)},
    ],
    "full": [{"diff": (4, 6)}, {"diff": (4, 6, 3, 3), "diff_b": (4,)}, {"w_norm": (4,), "b_norm": (4,)}],
}


@pytest.mark.parametrize(
    ("kind", "shapes"), [(kind, each) for kind in OTHER_KINDS for each in OTHER_KINDS[kind]]
)
@pytest.mark.parametrize("alpha", [None, 3.0])
def test_other_kinds_are_read(kind: str, shapes: dict[str, tuple[int, ...]], alpha: float | None) -> None:
    parts = {LAYER + name: torch.randn(shape) for name, shape in shapes.items()}
    adapter = opened({**parts, **({} if alpha is None else {f"{LAYER}alpha": torch.tensor(alpha)})})
    assert (adapter.kind, adapter.unknown) == (kind, ())
    change = adapter.unet["conv_in.weight"]
    ranked = kind == "LoHa" or "lokr_w1_a" in shapes or "lokr_w2_a" in shapes
    assert change.rank == (2 if ranked else None)
    assert change.scale == (1.5 if ranked and alpha else 1.0)  # where there is no rank, alpha is nothing
    axes = max(map(len, shapes.values()))
    kernel = (3, 3) if axes == 4 or ("lokr_w2_b" in shapes and shapes["lokr_w2_b"] == (2, 18)) else ()
    weight = (4,) if "w_norm" in shapes else (4, 6, *kernel)
    assert change.fits(weight)
    assert change.difference(torch.zeros(weight)).any()
    assert ("conv_in.bias" in adapter.unet) == ("diff_b" in shapes or "b_norm" in shapes)
    if "conv_in.bias" in adapter.unet:
        assert torch.equal(adapter.unet["conv_in.bias"].difference(torch.zeros(4)), [*parts.values()][1])


@pytest.mark.parametrize(
    ("name", "shape", "axis"),
    [
        ("dora_scale", (4, 1), 1),
        ("dora_scale", (1, 4), 0),
        ("lora_magnitude_vector", (4,), 1),
        ("lora_magnitude_vector.weight", (4,), 1),
        ("lora_magnitude_vector.default.weight", (1, 4), 1),  # as PEFT has a convolution's
        ("lora_magnitude_vector.default", (4,), 1),
    ],
)
def test_doras_are_read(name: str, shape: tuple[int, ...], axis: int) -> None:
    lengths = torch.tensor([1.0, 2.0, 3.0, 4.0])
    parts = {
        "lora_down.weight": torch.randn(2, 4),
        "lora_up.weight": torch.randn(4, 2),
        name: lengths.reshape(shape),
    }
    adapter = opened({LAYER + name: part for name, part in parts.items()})
    assert (adapter.kind, adapter.unknown) == ("LoRA with DoRA", ())
    weight = torch.randn(4, 4)
    bent = weight + adapter.unet["conv_in.weight"].difference(weight)
    assert torch.allclose(bent.square().sum(axis).sqrt(), lengths, rtol=1e-4)


def test_several_kinds_in_one_file_are_told() -> None:
    loha = {
        f"lora_unet_conv_out.{name}": torch.randn(shape) for name, shape in OTHER_KINDS["LoHa"][0].items()
    }
    adapter = opened({**pair("lora_unet_conv_in"), **loha, "lora_unet_conv_in.diff_b": torch.ones(4)})
    assert adapter.kind == "LoHa and LoRA and full"


# What is told beside the changes.


def test_layers_without_a_place_are_named_and_so_is_what_is_no_part() -> None:
    tensors = {
        **pair("lora_unet_conv_in"),
        **pair("lora_te_text_projection"),
        **pair("lora_unet_down_blocks_9_conv"),
        "bundle_emb.neon.clip_l": torch.ones(2, 3),  # OneTrainer's embeddings
        "lora_unet_conv_out.alpha": torch.tensor(1.0),
    }
    adapter = opened(tensors)
    assert {*adapter.placeless} == {"lora_te_text_projection", "lora_unet_down_blocks_9_conv"}
    assert {*adapter.unknown} == {"bundle_emb.neon.clip_l", "lora_unet_conv_out.alpha"}
    assert [*adapter.unet] == ["conv_in.weight"]
    nowhere = opened(pair("lora_te_text_projection", rank=5))
    assert (nowhere.kind, nowhere.ranks, nowhere.unet, nowhere.text_encoder) == ("LoRA", {5: 1}, {}, {})


def test_notes_are_told() -> None:
    adapter = opened(save(pair("lora_unet_conv_in"), {"ss_output_name": "ink", "ss_network_dim": "2"}))
    assert adapter.metadata == {"ss_output_name": "ink", "ss_network_dim": "2"}
    assert (
        opened(pickled({"state_dict": pair("lora_unet_conv_in"), "step": 5}), "ink.pt").metadata["step"] == 5
    )


class Evil:
    """Pickles as a call of the system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> object:
        return os.system, (self.command,)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_pickle_is_run(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "marker"
    data = pickled({"state_dict": pair("lora_unet_conv_in"), "hook": Evil(f"touch '{marker}'")}, zipped)
    adapter = opened(data, "ink.pt")
    assert [*adapter.unet] == ["conv_in.weight"]
    assert any("system" in name for name in adapter.imports)
    assert not marker.exists()
    torch.load(io.BytesIO(data), weights_only=False)
    assert marker.exists()  # so this test would notice


def test_a_folder_can_be_listed_by_suffix() -> None:
    assert ADAPTER_FILES == (".safetensors", ".pt", ".bin", ".ckpt")


# What is refused.

Q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
KV = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"{Q}.oft_blocks", "OFT"),
        (f"{Q}.oft_diag", "OFT"),
        ("base_model.model.conv_in.oft_R.weight", "OFT"),
        ("base_model.model.conv_in.boft_R", "BOFT"),
        ("base_model.model.conv_in.boft_s.default", "BOFT"),
        (f"{Q}.a1.weight", "GLoRA"),
        (f"{Q}.b2.weight", "GLoRA"),
        (f"{Q}.on_input", "(IA)3"),
        ("base_model.model.conv_in.ia3_l", "(IA)3"),
        ("base_model.model.conv_in.vera_lambda_b", "VeRA"),
        ("base_model.model.conv_in.lora_E", "AdaLoRA"),
        (f"{Q}.bias_indices", "LyCORIS with sparse biases"),
        ("base_model.model.conv_in.lora_B.bias", "LoRA with biases"),
        ("base_model.model.embeddings.token_embedding.lora_embedding_A", "LoRA of embeddings"),
        ("base_model.model.conv_in.hra_u", "HRA"),
        ("base_model.model.conv_in.fourierft_spectrum", "FourierFT"),
        (f"{Q}.q_layer.weight", "T-LoRA"),
    ],
)
def test_relatives_are_refused_by_name(name: str, kind: str) -> None:
    for others in ({}, pair("lora_unet_conv_in")):  # alone and among layers that could be read
        assert f"an adapter of kind {kind}, which Inkpunk does not read" in refusal(
            {name: torch.ones(2, 2), **others}
        )


@pytest.mark.parametrize(
    ("layer", "model"),
    [
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1", "Stable Diffusion XL"),
        ("lora_unet_input_blocks_7_1_transformer_blocks_5_attn1_to_q", "Stable Diffusion XL"),
        ("unet.down_blocks.2.attentions.0.transformer_blocks.9.attn2.to_k", "Stable Diffusion XL"),
        ("text_encoder_2.text_model.encoder.layers.0.mlp.fc1", "Stable Diffusion XL"),
        ("unet.add_embedding.linear_1", "Stable Diffusion XL"),
        ("lora_unet_double_blocks_0_img_attn_qkv", "Flux"),
        ("diffusion_model.single_blocks.3.linear1", "Flux"),
        ("transformer.single_transformer_blocks.0.attn.to_q", "Flux"),
        ("lora_unet_joint_blocks_0_x_block_attn_qkv", "Stable Diffusion 3"),
        ("transformer.transformer_blocks.0.attn.to_q", "Stable Diffusion 3 or another transformer"),
        ("down_blocks.0.motion_modules.0.temporal_transformer.proj_in", "AnimateDiff"),
        ("lora_prior_unet_down_blocks_0", "Stable Cascade"),
        ("diffusion_model.blocks.0.self_attn.q", "a video model or another transformer"),
        ("lora_unet_blocks_0_attn1_to_q", "a video model or another transformer"),
    ],
)
def test_adapters_for_other_models_are_refused_by_name(layer: str, model: str) -> None:
    message = refusal({**pair(layer), **pair("lora_te1_text_model_encoder_layers_0_mlp_fc1")})
    assert f"{model}; Inkpunk draws with Stable Diffusion v1, so get one made for that" in message


@pytest.mark.parametrize(
    ("layer", "width", "model"),
    [
        (KV, 1024, "Stable Diffusion 2"),
        (KV, 2048, "Stable Diffusion XL"),
        (f"unet.{BLOCK}.attn2.processor.to_v_lora", 1024, "Stable Diffusion 2"),
        ("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 1024, "Stable Diffusion 2"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.to_k_lora", 1024, "Stable Diffusion 2"),
        ("lora_te_text_model_encoder_layers_0_self_attn_v_proj", 1280, "Stable Diffusion XL"),
    ],
)
def test_adapters_for_other_text_encoders_are_refused_by_their_width(
    layer: str, width: int, model: str
) -> None:
    down = "down.weight" if layer.endswith("_lora") else "lora_down.weight"
    tensors = {
        f"{layer}.{down}": torch.ones(1, width),
        f"{layer}.{down.replace('down', 'up')}": torch.ones(4, 1),
    }
    assert f"an adapter for {model};" in refusal(tensors)
    loha = {
        f"{KV}.hada_w{i}_{x}": torch.ones(*s) for i in (1, 2) for x, s in (("a", (4, 1)), ("b", (1, 1024)))
    }
    assert "an adapter for Stable Diffusion 2;" in refusal(loha)


def test_what_is_no_adapter_is_refused_by_name(single: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not an adapter but a checkpoint of .* v1.*\(text encoder"):
        open_adapter(single)
    with pytest.raises(CheckpointError, match=r"not an adapter but a checkpoint .*\(unet\)"):
        open_adapter(next((folder / "unet").glob("*.safetensors")))
    with pytest.raises(CheckpointError, match=r"folder: a folder without adapter_config\.json"):
        open_adapter(folder)
    assert "not an adapter but a textual-inversion embedding" in refusal({"emb_params": torch.ones(1, 768)})
    word = {"string_to_param": {"*": torch.ones(1, 768)}, "string_to_token": {"*": 265}}
    assert "textual-inversion embedding, which `open_embedding` reads" in refusal(pickled(word), "neon.pt")
    assert "not an adapter but a ControlNet" in refusal(
        {"control_model.input_blocks.0.0.weight": torch.ones(1)}
    )
    assert "not an adapter but a ControlNet" in refusal(
        {"controlnet_cond_embedding.conv_in.weight": torch.ones(1)}
    )
    assert "AnimateDiff" in refusal({"down_blocks.0.motion_modules.0.proj_in.weight": torch.ones(1)})
    nothing = refusal({"lora_unet_conv_in.odd": torch.ones(1)})
    assert "no layer of one among its 1 tensors ('lora_unet_conv_in.odd')" in nothing
    with pytest.raises(CheckpointError, match="none: no such file or folder"):
        open_adapter(tmp_path / "none")
    for odd in ("a\0b", "x" * 300):
        with pytest.raises(CheckpointError, match=r"no such file|cannot be read"):
            open_adapter(tmp_path / odd)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="pipe"):
        open_adapter(tmp_path / "pipe")


def test_an_adapter_is_no_checkpoint_and_no_embedding(tmp_path: Path) -> None:
    path = tmp_path / "ink.safetensors"
    path.write_bytes(save(pair("lora_unet_conv_in")))
    for read in (open_checkpoint, open_embedding):
        with pytest.raises(CheckpointError, match="a LoRA"):
            read(path)


NAN = torch.tensor(math.nan)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"lora_down.weight": None}, "has up alone, which is half a LoRA; fetch it again"),
        ({"lora_up.weight": None}, "has down alone, which is half a LoRA; fetch it again"),
        ({"hada_w1_a": torch.ones(2, 2)}, "is both LoHa and LoRA"),
        ({"lora_down.weight": torch.ones(2, 6).long()}, "is torch.int64 of shape [2, 6], and should be"),
        ({"lora_down.weight": torch.ones(2, 6).bool()}, "is torch.bool of shape"),
        (
            {"lora_down.weight": torch.ones(0, 6)},
            "of shape [0, 6], and should be floating-point and not empty",
        ),
        ({"lora_down.weight": torch.tensor(1.0)}, "of shape [], and should be"),
        ({"lora.down.weight": torch.ones(2, 6)}, "are the same part of one layer"),
        ({"lora_A.weight": torch.ones(2, 6)}, "are the same part of one layer"),
        ({"alpha": torch.ones(2)}, "alpha' should be one number"),
        ({"alpha": torch.ones(0)}, "alpha' should be one number"),
        ({"alpha": NAN}, "alpha' cannot be nan"),
        ({"alpha": torch.tensor(math.inf)}, "alpha' cannot be inf"),
        ({"alpha": torch.tensor(-1e7)}, "alpha' cannot be -10000000.0"),
    ],
)
@pytest.mark.parametrize("write", [save, pickled])
def test_damaged_layers_are_refused_by_name(
    write: Write, changed: dict[str, Tensor | None], reason: str
) -> None:
    tensors = pair("lora_unet_conv_in") | pair("lora_unet_conv_out")
    for part, tensor in changed.items():
        tensors.pop(f"lora_unet_conv_in.{part}", None)
        if tensor is not None:
            tensors[f"lora_unet_conv_in.{part}"] = tensor
    message = refusal(write(tensors))
    assert reason in message and "lora_unet_conv_in" in message


def test_complex_numbers_are_refused() -> None:
    one = torch.ones(2, 6).to(torch.complex64)
    assert "should be floating-point" in refusal(pickled({**pair(Q), f"{Q}.lora_down.weight": one}), "ink.pt")
    assert "should be one number" in refusal(pickled({**pair(Q), f"{Q}.alpha": one[0, 0].clone()}), "ink.pt")


def test_a_layer_by_two_names_is_refused() -> None:
    for other in ("lora_te_encoder_layers_0_mlp_fc1", "text_encoder.text_model.encoder.layers.0.mlp.fc1"):
        assert "are the same layer" in refusal(
            {**pair("lora_te_text_model_encoder_layers_0_mlp_fc1"), **pair(other)}
        )


def test_nan_is_refused_where_it_is_asked_for() -> None:
    tensors = pair("lora_unet_conv_in")
    tensors["lora_unet_conv_in.lora_up.weight"][0, 0] = math.nan
    change = opened(tensors).unet["conv_in.weight"]
    with pytest.raises(
        CheckpointError, match=r"ink\.safetensors: 'lora_unet_conv_in': holds NaN or infinity"
    ):
        change.difference(torch.zeros(4, 6))
    with pytest.raises(CheckpointError, match=r"in': .*down \[2, 6\].* cannot change a weight of \[4, 5\]"):
        change.difference(torch.zeros(4, 5))


def test_many_long_names_take_no_time() -> None:
    """The worst that 6 MiB of names can say: none is a layer, or one is endless."""
    for names in (
        [f"{i}.x" for i in range(40_000)],
        ["_lora" * 200_000 + ".down.weight"],
        [".lora_A" * 200_000],
    ):
        tensors = {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in names}
        text = json.dumps(tensors).encode()
        message = refusal(len(text).to_bytes(8, "little") + text)
        assert len(message) < 600


# What is written is read.

LAYERS = {
    component: {
        name.removesuffix(".weight"): shape for name, shape in anatomy.tensors() if len(shape) in (2, 4)
    }
    for component, anatomy in (("text_encoder", TextEncoderAnatomy()), ("unet", UNetAnatomy()))
}


@st.composite
def adapters(draw: st.DrawFn) -> dict[str, dict[str, LowRank]]:
    def low_rank(outs: int, ins: int, *kernel: int) -> LowRank:
        rank, seed = draw(st.integers(1, 5)), torch.Generator().manual_seed(draw(st.integers(0, 9)))
        outs, ins = min(outs, 9), min(ins, 8)  # their names are what matters
        return LowRank(
            torch.randn(rank, ins, *kernel, generator=seed),
            torch.randn(outs, rank, *[1] * len(kernel), generator=seed),
            draw(st.floats(0.0, 1e3)),
        )

    chosen = {
        component: draw(st.lists(st.sampled_from(sorted(layers)), max_size=4, unique=True))
        for component, layers in LAYERS.items()
    }
    if not any(chosen.values()):
        chosen["unet"] = ["conv_in"]
    return {
        component: {layer: low_rank(*LAYERS[component][layer]) for layer in layers}
        for component, layers in chosen.items()
    }


@settings(deadline=None, max_examples=40)  # each writes and reads a file
@given(adapters(), st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
def test_what_is_saved_is_opened(written: dict[str, dict[str, LowRank]], dtype: torch.dtype) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save_lora(Path(folder, "ink.safetensors"), **written, dtype=dtype, metadata={"ss_output_name": "ink"})
        adapter = open_adapter(Path(folder, "ink.safetensors"))
        assert (adapter.layout, adapter.metadata["ss_output_name"]) == ("kohya", "ink")
        assert (adapter.placeless, adapter.unknown) == ((), ())
        for component, changes in (("text_encoder", adapter.text_encoder), ("unet", adapter.unet)):
            assert {*changes} == {f"{layer}.weight" for layer in written[component]}
            for layer, given in written[component].items():
                change = changes[f"{layer}.weight"]
                assert torch.equal(change.parts["down"], given.down.to(dtype))
                assert torch.equal(change.parts["up"], given.up.to(dtype))
                assert change.scale == float(torch.tensor(given.alpha, dtype=dtype)) / len(given.down)
                assert change.fits((len(given.up), *given.down.shape[1:]))


def test_every_layer_of_the_anatomy_has_a_name_of_its_own(tmp_path: Path) -> None:
    one = LowRank(torch.ones(1, 1), torch.ones(1, 1), 1.0)
    every = {component: dict.fromkeys(layers, one) for component, layers in LAYERS.items()}
    save_lora(tmp_path / "ink.safetensors", **every)
    adapter = open_adapter(tmp_path / "ink.safetensors")
    assert {*adapter.unet} == {f"{layer}.weight" for layer in LAYERS["unet"]}
    assert {*adapter.text_encoder} == {f"{layer}.weight" for layer in LAYERS["text_encoder"]}


def test_kohya_s_names_are_written(tmp_path: Path) -> None:
    path, one = tmp_path / "ink.safetensors", LowRank(torch.ones(1, 1), torch.ones(1, 1), 2.0)
    save_lora(
        path,
        text_encoder={"layers.0.attention.out": one},
        unet={QUERY.removesuffix(".weight"): one},
        dtype=torch.float32,
    )
    with safe_open(path, framework="pt") as file:
        assert {*file.keys()} == {
            f"{layer}.{part}"
            for layer in (Q, "lora_te_text_model_encoder_layers_0_self_attn_out_proj")
            for part in ("lora_down.weight", "lora_up.weight", "alpha")
        }
        assert file.get_tensor(f"{Q}.alpha") == 2


def test_what_cannot_be_written_is_not(tmp_path: Path) -> None:
    path, one = tmp_path / "ink.safetensors", LowRank(torch.ones(1, 1), torch.ones(1, 1), 1.0)
    with pytest.raises(CheckpointError, match="nothing to write"):
        save_lora(path)
    with pytest.raises(CheckpointError, match=r"unet has no layer called 'layers\.0\.attention\.out'"):
        save_lora(path, unet={"layers.0.attention.out": one})
    large = LowRank(torch.full((1, 1), 1e6), torch.ones(1, 1), 1.0)
    with pytest.raises(CheckpointError, match="float16 ends at 65504"):
        save_lora(path, unet={"conv_in": large})
    with pytest.raises(CheckpointError, match="float16 ends at 65504"):
        save_lora(path, unet={"conv_in": LowRank(torch.ones(1, 1), torch.ones(1, 1), 1e5)})
    assert not [*tmp_path.iterdir()]
    save_lora(path, unet={"conv_in": one})
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"ink\.safetensors"):
        save_lora(path, unet={"conv_out": one})
    assert path.read_bytes() == before
    save_lora(path, unet={"conv_out": one}, overwrite=True)
    assert [*open_adapter(path).unet] == ["conv_out.weight"]
