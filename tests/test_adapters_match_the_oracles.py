"""Networks bent by an adapter are diffusers', PEFT's and LyCORIS', on the same random weights and files.

Theirs run the adapter beside their layers; ours have each difference added to their parameters.
"""

import copy
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import _collate_lora_metadata
from diffusers.utils import convert_state_dict_to_kohya
from inkpunk_clip import TextEncoder, TextEncoderConfig
from inkpunk_unet import UNet, UNetConfig
from inkpunk_weights import Adapter, open_adapter, open_checkpoint
from lycoris.modules.full import FullModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from peft import LoHaConfig, LoKrConfig, LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextModel

from tests.oracles import clip_text_model, our_weights, randomise, relative_error

# Of the largest number of the output, in float32. What the networks differ by without adapters is 2e-5; theirs add an
# adapter's output to a layer's, ours its matrix to the layer's, and the sums are rounded in another order.
TOLERANCE = 1e-4
SEEN = 0.02  # what an adapter changes the output by at least, or else the comparison shows nothing

SIZES = pytest.mark.parametrize("size", ["small", pytest.param("full", marks=pytest.mark.slow)])
EVERY = (
    r".*(to_[qkv]|to_out\.0|proj_in|proj_out|net\.0\.proj|net\.2|conv\d?|conv_(in|out|shortcut)|time_emb_proj|"
    r"linear_\d)"
)
ATTENTION = r".*(to_[qkv]|to_out\.0)"
EVERY_TEXT = r".*([qkv]_proj|out_proj|fc[12])"


@dataclass
class Twins:
    """Theirs and ours, with the same weights, and what both are asked."""

    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    ours: dict[str, nn.Module]
    ids: Tensor
    latents: Tensor
    context: Tensor

    def theirs_say(self) -> dict[str, Tensor]:
        return {
            "text_encoder": self.text_encoder(self.ids)[0],
            "unet": self.unet(self.latents, torch.tensor([501]), self.context).sample,
        }

    def ours_say(self) -> dict[str, Tensor]:
        return {
            "text_encoder": self.ours["text_encoder"](self.ids),
            "unet": self.ours["unet"](self.latents, torch.tensor([501]), self.context),
        }

    def assert_same(self, adapter: Adapter, scale: float, *components: str) -> None:
        """With the adapter laid by them around theirs, and added by us to ours for as long as we look."""
        plain = self.ours_say()
        with added(adapter, self.ours, scale):
            ours, theirs = self.ours_say(), self.theirs_say()
        for name in components or ours:
            assert relative_error(plain[name], theirs[name]) > SEEN, name
            error = relative_error(ours[name], theirs[name])
            assert error <= TOLERANCE, (name, error)


@contextmanager
def added(adapter: Adapter, networks: Mapping[str, nn.Module], scale: float) -> Iterator[None]:
    before = dict[Tensor, Tensor]()
    for component, changes in (("text_encoder", adapter.text_encoder), ("unet", adapter.unet)):
        for name, change in changes.items():
            parameter = networks[component].get_parameter(name)
            before[parameter] = parameter.detach().clone()
            parameter.add_(change.difference(parameter), alpha=scale)
    yield
    for parameter, weights in before.items():
        parameter.copy_(weights)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@functools.cache
def small() -> tuple[tuple[nn.Module, ...], dict[str, dict[str, Tensor]]]:
    """Theirs, to be copied, and their weights under our names."""
    torch.manual_seed(0)
    text_encoder = clip_text_model(TextEncoderConfig(50, 9, 24, 2, 4, 48))
    randomise(text_encoder, 0)
    unet = small_unet()
    return (text_encoder, unet), {"text_encoder": our_weights(text_encoder), "unet": our_weights(unet)}


def small_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,
        cross_attention_dim=24,
        norm_num_groups=16,
    ).eval()


@pytest.fixture
def twins(size: str, request: pytest.FixtureRequest) -> Twins:
    draw = torch.Generator().manual_seed(1)
    if size == "full":
        folder: Path = request.getfixturevalue("diffusers_folder")("full")
        text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
        unet = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
        checkpoint = open_checkpoint(folder)
        weights = {"text_encoder": dict(checkpoint.text_encoder), "unet": dict(checkpoint.unet)}
    else:
        theirs, shared = small()
        text_encoder, unet = copy.deepcopy(theirs)
        weights = {
            name: {key: tensor.clone() for key, tensor in tensors.items()} for name, tensors in shared.items()
        }
    ours: dict[str, nn.Module] = {
        "text_encoder": TextEncoder(TextEncoderConfig.from_diffusers(text_encoder.config.to_dict())),
        "unet": UNet(UNetConfig.from_diffusers(json.loads(unet.to_json_string()))),
    }
    for name, network in ours.items():
        network.load_state_dict(weights[name], assign=True)
        network.eval()
    width, edge = unet.config.cross_attention_dim, 8 if size == "small" else 32
    positions = text_encoder.config.max_position_embeddings
    return Twins(
        text_encoder,
        unet,
        ours,
        ids=torch.randint(text_encoder.config.vocab_size - 2, (1, positions), generator=draw),
        latents=torch.randn(1, 4, edge, edge, generator=draw),
        context=torch.randn(1, positions, width, generator=draw),
    )


def draw_all(network: nn.Module, seed: int = 0) -> None:
    """Make every part of an adapter count: most begin as zeros."""
    draw = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if (
            "magnitude" in name or "dora_scale" in name
        ):  # lengths: away from what they begin with, and not negative
            parameter.mul_(0.7 + 0.6 * torch.rand(parameter.shape, generator=draw))
        elif any(part in name for part in ("lora_", "hada_", "lokr_", "norm", "weight", "bias")):
            rows = parameter.shape[-1] if parameter.ndim == 2 else max(1, parameter[0].numel())
            size = 1.2 if "hada" in name else 0.7  # of two products the product is smaller
            parameter.normal_(std=size * rows**-0.5 if parameter.ndim > 1 else 0.05, generator=draw)


def draw_adapter(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, BaseTunerLayer):
            for name in layer.adapter_layer_names:
                if isinstance(part := getattr(layer, name), nn.Module):
                    draw_all(nn.ModuleDict({f"{name}": part}), seed=len(name))


def pipeline(twins: Twins) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=None,
        text_encoder=twins.text_encoder,
        tokenizer=None,
        unet=twins.unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


# Files that diffusers wrote, and that its pipeline loads.


def drawn_by_peft(twins: Twins, **unet: Any) -> StableDiffusionPipeline:
    """diffusers' pipeline with a LoRA of PEFT in both networks, of several ranks and alphas, odd ones among them."""
    patterns = {"rank_pattern": {"attn1.to_k": 7, "conv2": 3}, "alpha_pattern": {"to_v": 9, "conv1": 2}}
    config = LoraConfig(**{"r": 5, "lora_alpha": 3, "target_modules": EVERY, **patterns, **unet})
    twins.unet.add_adapter(config)
    twins.text_encoder.add_adapter(
        LoraConfig(
            r=3, lora_alpha=2, target_modules=EVERY_TEXT, alpha_pattern={"encoder.layers.1.mlp.fc1": 5}
        )
    )
    draw_adapter(twins.unet)
    draw_adapter(twins.text_encoder)
    return pipeline(twins)


def layers_of(twins: Twins) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return get_peft_model_state_dict(twins.unet), get_peft_model_state_dict(twins.text_encoder)


@SIZES
@pytest.mark.parametrize(
    "options", [{}, {"use_rslora": True}, {"use_dora": True}], ids=["", "rslora", "dora"]
)
def test_what_diffusers_saves_with_peft(twins: Twins, tmp_path: Path, options: dict[str, Any]) -> None:
    pipe = drawn_by_peft(twins, **options)
    both = {"unet": twins.unet, "text_encoder": twins.text_encoder}
    pipe.save_lora_weights(tmp_path, *layers_of(twins), **_collate_lora_metadata(both))
    pipe.unload_lora_weights()
    pipe.load_lora_weights(tmp_path)
    adapter = open_adapter(tmp_path)
    assert (adapter.layout, adapter.placeless, adapter.unknown) == ("PEFT", (), ())
    assert adapter.kind == ("LoCon with DoRA" if "use_dora" in options else "LoCon")
    twins.assert_same(adapter, 1.0)
    if "use_dora" not in options:  # PEFT scales within the lengths, see below
        pipe.set_adapters("default_0", 0.6)
        twins.assert_same(adapter, 0.6)


def with_lora_within(layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Named as diffusers' own layers were until it took PEFT's."""
    return {
        name.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): layer
        for name, layer in layers.items()
    }


@SIZES
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "pickle"])
def test_what_diffusers_saved_before_peft(twins: Twins, tmp_path: Path, safe: bool) -> None:
    pipe = drawn_by_peft(twins, target_modules=ATTENTION, rank_pattern={"attn1.to_k": 7}, alpha_pattern={})
    unet, text_encoder = layers_of(twins)
    text_encoder = {
        name.replace("lora_A", "lora_linear_layer.down").replace("lora_B", "lora_linear_layer.up"): layer
        for name, layer in text_encoder.items()
    }
    unet = with_lora_within(unet)
    pipe.save_lora_weights(tmp_path, unet, text_encoder, safe_serialization=safe)
    pipe.unload_lora_weights()
    name = f"pytorch_lora_weights.{'safetensors' if safe else 'bin'}"
    pipe.load_lora_weights(tmp_path, weight_name=name, use_safetensors=safe)
    pipe.set_adapters("default_0", 1.7)
    adapter = open_adapter(tmp_path)
    assert (adapter.layout, adapter.kind, adapter.unknown) == ("diffusers", "LoRA", ())
    twins.assert_same(adapter, 1.7)


@SIZES
def test_what_diffusers_saved_first(twins: Twins, tmp_path: Path) -> None:
    """Beside the attention's processors, as up to 0.20."""
    pipe = drawn_by_peft(twins, target_modules=ATTENTION, rank_pattern={"attn1.to_k": 7}, alpha_pattern={})
    unet = with_lora_within(layers_of(twins)[0])
    pipe.unload_lora_weights()
    old = {
        re.sub(r"\.(to_\w+)(\.0)?\.lora\.", r".processor.\1_lora.", name): layer
        for name, layer in unet.items()
    }
    assert all(".processor.to_" in name for name in old)
    torch.save(old, tmp_path / "pytorch_lora_weights.bin")
    pipe.load_lora_weights({f"unet.{name}": tensor for name, tensor in old.items()})
    twins.assert_same(open_adapter(tmp_path / "pytorch_lora_weights.bin"), 1.0, "unet")


@SIZES
def test_what_diffusers_writes_for_kohya_s_programs(twins: Twins, tmp_path: Path) -> None:
    drawn_by_peft(twins, alpha_pattern={}, lora_alpha=5, rank_pattern={})
    unet, text_encoder = layers_of(twins)
    whole = {f"unet.{name}": tensor for name, tensor in unet.items()} | {
        f"text_encoder.text_model.{name}": tensor for name, tensor in text_encoder.items()
    }
    kohya = convert_state_dict_to_kohya(whole)
    save_file({name: tensor.contiguous() for name, tensor in kohya.items()}, tmp_path / "kohya.safetensors")
    adapter = open_adapter(tmp_path / "kohya.safetensors")
    assert (adapter.layout, adapter.placeless, adapter.unknown) == ("kohya", (), ())
    twins.assert_same(
        adapter, 1.0, "unet"
    )  # the text encoder's scale, alpha / rank, is lost by diffusers on the way


# Folders that PEFT wrote.


@SIZES
@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(
            r=5,
            lora_alpha=4,
            target_modules=EVERY,
            use_rslora=True,
            rank_pattern={"to_q": 2},
            alpha_pattern={"proj_in": 9, "attn1.to_v": 1},
        ),
        LoraConfig(r=3, lora_alpha=6, target_modules=EVERY, use_dora=True),
        LoHaConfig(r=3, alpha=5, target_modules=EVERY, rank_pattern={"conv1": 4}),
        LoHaConfig(r=3, alpha=2, target_modules=EVERY, use_effective_conv2d=True),
        LoKrConfig(r=2, alpha=1, target_modules=EVERY, decompose_factor=4, alpha_pattern={"to_k": 3}),
        LoKrConfig(r=2, alpha=3, target_modules=EVERY, decompose_both=True, use_effective_conv2d=True),
    ],
    ids=["LoRA", "DoRA", "LoHa", "LoHa by cores", "LoKr", "LoKr in all factors"],
)
def test_what_peft_saves(twins: Twins, tmp_path: Path, config: Any) -> None:
    wrapped: PeftModel = get_peft_model(twins.unet, config)
    draw_adapter(wrapped)
    wrapped.save_pretrained(tmp_path / "unet")
    adapter = open_adapter(tmp_path)
    assert (adapter.layout, adapter.placeless, adapter.unknown) == ("PEFT", (), ())
    assert adapter.text_encoder == {}
    twins.assert_same(adapter, 1.0, "unet")
    alone = open_adapter(tmp_path / "unet")
    assert {name: change.scale for name, change in alone.unet.items()} == {
        name: change.scale for name, change in adapter.unet.items()
    }


def test_a_dora_at_half_its_weight_is_half_way_there(tmp_path: Path) -> None:
    """As AUTOMATIC1111 and ComfyUI have it. PEFT's own scale acts within the lengths, and is another function."""
    torch.manual_seed(0)
    layer, input = nn.Linear(6, 4, bias=False), torch.randn(3, 6)
    weight, plain = layer.weight.detach().clone(), layer(input)
    model = get_peft_model(
        nn.ModuleDict({"conv_in": layer}), LoraConfig(r=2, target_modules=["conv_in"], use_dora=True)
    )
    draw_adapter(model)
    model.save_pretrained(tmp_path)
    bent = model.base_model.model["conv_in"](input)
    difference = open_adapter(tmp_path).unet["conv_in.weight"].difference(weight)
    half = input @ (weight + 0.5 * difference).T
    assert relative_error(half, (plain + bent) / 2) <= TOLERANCE
    model.base_model.model["conv_in"].set_scale("default", 0.5)
    assert relative_error(half, model.base_model.model["conv_in"](input)) > SEEN


# What LyCORIS trains, and its layers around theirs.

Make = Callable[[str, nn.Module], nn.Module]


def lay(network: nn.Module, prefix: str, make: Make) -> dict[str, Tensor]:
    """LyCORIS' layers around all of a network but every fifth, and what it saves of them."""
    saved = dict[str, Tensor]()
    layers = [
        (name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    for number, (name, layer) in enumerate(layers):
        if number % 5 == 4:
            continue
        module = make(prefix + name.replace(".", "_"), layer)
        draw_all(module, seed=number)
        module.apply_to()
        saved |= {f"{module.lora_name}.{part}": tensor for part, tensor in module.state_dict().items()}
    return {name: tensor.detach().clone().contiguous() for name, tensor in saved.items()}


def odd_rank(name: str) -> int:
    return 3 + len(name) % 3


@SIZES
@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("LoCon", lambda name, layer: LoConModule(name, layer, lora_dim=odd_rank(name), alpha=2)),
        ("LoCon", lambda name, layer: LoConModule(name, layer, lora_dim=3, alpha=2, use_tucker=True)),
        ("LoCon", lambda name, layer: LoConModule(name, layer, lora_dim=3, alpha=2, rs_lora=True)),
        ("LoHa", lambda name, layer: LohaModule(name, layer, lora_dim=odd_rank(name), alpha=2)),
        ("LoHa", lambda name, layer: LohaModule(name, layer, lora_dim=3, alpha=2, use_tucker=True)),
        ("LoKr", lambda name, layer: LokrModule(name, layer, lora_dim=odd_rank(name), alpha=2)),
        ("LoKr", lambda name, layer: LokrModule(name, layer, lora_dim=2, alpha=1, factor=4, use_tucker=True)),
        ("LoKr", lambda name, layer: LokrModule(name, layer, lora_dim=1, alpha=1, decompose_both=True)),
        ("LoKr", lambda name, layer: LokrModule(name, layer, full_matrix=True)),
        ("full", lambda name, layer: FullModule(name, layer)),
    ],
    ids=[
        "LoRA",
        "LoRA by cores",
        "rank-stabilised",
        "LoHa",
        "LoHa by cores",
        "LoKr",
        "LoKr by cores",
        "LoKr in all factors",
        "LoKr whole",
        "full",
    ],
)
def test_what_lycoris_trains(twins: Twins, tmp_path: Path, kind: str, make: Make) -> None:
    scale = 1.0 if kind == "full" else 0.6  # its own layers know no other

    def scaled(name: str, layer: nn.Module) -> nn.Module:
        module = make(name, layer)
        module.multiplier = scale
        return module

    saved = lay(twins.unet, "lora_unet_", scaled) | lay(twins.text_encoder, "lora_te_text_model_", scaled)
    save_file(saved, tmp_path / "lycoris.safetensors")
    adapter = open_adapter(tmp_path / "lycoris.safetensors")
    assert (adapter.layout, adapter.kind, adapter.placeless, adapter.unknown) == ("kohya", kind, (), ())
    twins.assert_same(adapter, scale)


@SIZES
@pytest.mark.parametrize("on_outputs", [True, False], ids=["of outputs", "of inputs"])
@pytest.mark.parametrize("module", [LoConModule, LohaModule, LokrModule])
def test_what_lycoris_trains_with_lengths(
    twins: Twins, tmp_path: Path, module: Callable[..., nn.Module], on_outputs: bool
) -> None:
    def make(name: str, layer: nn.Module) -> nn.Module:
        return module(name, layer, lora_dim=3, alpha=2, weight_decompose=True, wd_on_out=on_outputs)

    saved = lay(twins.unet, "lora_unet_", make) | lay(twins.text_encoder, "lora_te_", make)
    save_file(saved, tmp_path / "dora.safetensors")
    adapter = open_adapter(tmp_path / "dora.safetensors")
    assert adapter.kind.endswith(" with DoRA")
    twins.assert_same(adapter, 1.0)


@SIZES
def test_norms_that_lycoris_trains(twins: Twins, tmp_path: Path) -> None:
    saved = dict[str, Tensor]()
    for name, layer in twins.unet.named_modules():
        if isinstance(layer, nn.GroupNorm | nn.LayerNorm):
            module = NormModule("lora_unet_" + name.replace(".", "_"), layer, multiplier=0.5)
            for parameter in module.parameters():
                parameter.normal_(std=0.5)
            module.apply_to()
            saved |= {f"{module.lora_name}.{part}": tensor for part, tensor in module.state_dict().items()}
    save_file(saved, tmp_path / "norms.safetensors")
    adapter = open_adapter(tmp_path / "norms.safetensors")
    assert {change.kind for change in adapter.unet.values()} == {"full"}
    assert any(name.endswith(".bias") for name in adapter.unet)
    twins.assert_same(adapter, 0.5, "unet")


@SIZES
def test_kohya_s_layout_in_diffusers_pipeline(twins: Twins, tmp_path: Path) -> None:
    """With convolutions, odd ranks, and layers missing; of one alpha, since diffusers loses several of the UNet's."""

    def make(name: str, layer: nn.Module) -> nn.Module:
        return LoConModule(name, layer, lora_dim=odd_rank(name), alpha=2)

    saved = lay(twins.unet, "lora_unet_", make) | lay(twins.text_encoder, "lora_te_text_model_", make)
    for network in (twins.unet, twins.text_encoder):
        for layer in network.modules():
            layer.__dict__.pop("forward", None)  # which LyCORIS put there
    save_file(saved, tmp_path / "kohya.safetensors")
    pipe = pipeline(twins)
    pipe.load_lora_weights(tmp_path / "kohya.safetensors")
    pipe.set_adapters("default_0", 0.8)
    twins.assert_same(open_adapter(tmp_path / "kohya.safetensors"), 0.8)
