"""A model small enough to draw in a fraction of a second; its weights are random."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from inkpunk import Facts, Pipeline
from inkpunk_clip import ImageEncoder, ImageEncoderConfig, TextEncoder, TextEncoderConfig
from inkpunk_unet import (
    ControlNet,
    ControlNetConfig,
    ImagePrompt,
    ImagePromptConfig,
    ResamplerConfig,
    UNet,
    UNetConfig,
    cross_attentions,
)
from inkpunk_vae import VAE, TinyVAE, TinyVAEConfig, VAEConfig
from inkpunk_weights import save_checkpoint, save_control
from safetensors.torch import save_file

TEXT_ENCODER = TextEncoderConfig(width=32, layers=2, heads=4, feed_forward=64)
UNET = UNetConfig(widths=(32, 64), attention=(True, True), heads=4, context_width=32, groups=8)
IMAGE_ENCODER = ImageEncoderConfig(
    image=28, patch=14, width=32, layers=2, heads=4, feed_forward=64, projection=24
)
IN_ADAPTER = {
    r"^keys\.(\d+)\.": r"ip_adapter.\1.to_k_ip.",
    r"^values\.(\d+)\.": r"ip_adapter.\1.to_v_ip.",
    r"^projection\.": "image_proj.",
    r"image_proj\.linear": "image_proj.proj",
    r"image_proj\.queries": "image_proj.latents",
    r"\.blocks\.(\d+)\.": r".layers.\1.",
    r"norm_patches": "0.norm1",
    r"norm_queries": "0.norm2",
    r"\.query\.": ".0.to_q.",
    r"key_value": "0.to_kv",
    r"\.out\.": ".0.to_out.",
    r"(layers\.\d+)\.norm\.": r"\1.1.0.",
    r"\.fc1\.": ".1.1.",
    r"\.fc2\.": ".1.3.",
}
IN_ENCODER = {
    r"^layers\.": "vision_model.encoder.layers.",
    r"attention\.(query|key|value)\.": lambda found: f"self_attn.{found[1][0]}_proj.",
    r"attention\.out\.": "self_attn.out_proj.",
    r"feed_forward": "mlp",
    r"(layers\.\d+)\.norm(\d)": r"\1.layer_norm\2",
    r"^(class_embedding|patch_embedding|position_embedding)": r"vision_model.embeddings.\1",
    r"^norm_in": "vision_model.pre_layrnorm",
    r"^norm_out": "vision_model.post_layernorm",
    r"^projection": "visual_projection",
}
VAE_CONFIG = VAEConfig(widths=(8, 8, 16, 16), layers=1, groups=4)


@pytest.fixture(autouse=True)
def a_processor_that_multiplies_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this one does, so that all do the same: without kernels torch's own operations take their place."""
    monkeypatch.setattr("inkpunk.memory.precision.why_not_bfloat16", lambda: None)


torch.set_num_threads(1)  # networks this small only wait for a second thread


@pytest.fixture(scope="session")
def networks() -> Callable[[], tuple[TextEncoder, UNet, VAE]]:
    """Makes the tiny model's networks, on whatever device torch is set to."""
    return lambda: (TextEncoder(TEXT_ENCODER), UNet(UNET), VAE(VAE_CONFIG))


@pytest.fixture(scope="session")
def tiny(
    tmp_path_factory: pytest.TempPathFactory, networks: Callable[[], tuple[TextEncoder, UNet, VAE]]
) -> Path:
    """A whole checkpoint as one safetensors file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    configs = {
        "text_encoder": {"heads": TEXT_ENCODER.heads},
        "unet": {"heads": UNET.heads, "groups": UNET.groups},
        "vae": {"groups": VAE_CONFIG.groups},
    }
    defaults = {"size": 64, "steps": 3, "guidance": 4.0, "note": "random weights: the picture means nothing"}
    text_encoder, unet, vae = networks()
    save_checkpoint(
        path,
        text_encoder=text_encoder.state_dict(),
        unet=unet.state_dict(),
        vae=vae.state_dict(),
        metadata={"inkpunk.config": json.dumps(configs), "inkpunk.defaults": json.dumps(defaults)},
    )
    return path


@pytest.fixture(scope="session")
def pipeline(tiny: Path) -> Pipeline:
    return Pipeline.load(tiny, device="cpu")


@pytest.fixture(scope="session")
def sketch() -> Pipeline:
    """The model in the box."""
    return Pipeline.load("sketch", device="cpu")


@pytest.fixture(scope="session")
def control_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ControlNet for the tiny model, of random weights that say something."""
    torch.manual_seed(2)
    network = ControlNet(ControlNetConfig(UNET, hint_widths=(4, 8, 8, 8)))
    for name, parameter in network.named_parameters():
        if "zero_conv" in name or name == "hint.convolutions.7.weight":
            torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("control") / "tiny-lines.safetensors"
    told = {"heads": UNET.heads, "groups": UNET.groups}
    metadata = {"inkpunk.config": json.dumps({"control": told})}
    save_control(path, network.state_dict(), dtype=torch.float32, metadata=metadata)
    return path


@pytest.fixture(scope="session")
def upscaler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ESRGAN of random weights, which makes pictures twice as large, as its authors' code saves one."""
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet  # here: it imports half of torch

    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("upscaler") / "2x-tiny.pth"
    torch.save({"params_ema": RRDBNet(num_filters=8, num_blocks=1, scale=2).state_dict()}, path)
    return path


@pytest.fixture(scope="session")
def image_prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with image prompts for the tiny model, plain.safetensors and plus.safetensors, and their encoder."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("image-prompts")
    layers = tuple(layer.query.out_features for layer in cross_attentions(UNet(UNET)))
    resampler = ResamplerConfig(width=32, blocks=1, heads=1)
    configs = {
        "plain": ImagePromptConfig(IMAGE_ENCODER.projection, UNET.context_width, 2, layers),
        "plus": ImagePromptConfig(IMAGE_ENCODER.width, UNET.context_width, 3, layers, resampler),
    }
    for name, config in configs.items():
        tensors = ImagePrompt(config).state_dict()
        if name == "plus":
            tensors["projection.queries"] = tensors["projection.queries"][None]
        save_file({_renamed(each, IN_ADAPTER): tensor for each, tensor in tensors.items()},
                  folder / f"{name}.safetensors")  # fmt: skip
    encoder = ImageEncoder(IMAGE_ENCODER).state_dict()
    (folder / "image_encoder").mkdir()
    save_file({_renamed(each, IN_ENCODER): tensor for each, tensor in encoder.items()},
              folder / "image_encoder" / "model.safetensors")  # fmt: skip
    sizes = {
        "image_size": 28,
        "patch_size": 14,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "hidden_act": "gelu",
    }
    sizes |= {"num_attention_heads": 4, "intermediate_size": 64, "projection_dim": 24}
    (folder / "image_encoder" / "config.json").write_text(
        json.dumps(sizes | {"model_type": "clip_vision_model"})
    )
    return folder


@pytest.fixture(scope="session")
def tiny_vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny autoencoder's decoder, for the tiny model, as TAESD's author would name it: layers numbered from 1."""
    torch.manual_seed(2)
    decoder = TinyVAE(
        TinyVAEConfig(width=8, encoder_blocks=(), decoder_blocks=(1, 1, 1, 1))
    ).decoder.state_dict()
    numbers = {"conv_in": "1"}
    for level in range(
        4
    ):  # an activation after the first, and an enlargement before each convolution between
        numbers |= {f"levels.{level}.blocks.0.conv{n + 1}": f"{3 * level + 3}.conv.{2 * n}" for n in range(3)}
        numbers |= {f"levels.{level}.resample.conv": f"{3 * level + 5}"}
    numbers["conv_out"] = "13"
    path = tmp_path_factory.mktemp("tiny-vae") / "taesd_decoder.safetensors"
    split = {name: name.rpartition(".") for name in decoder}
    save_file({f"{numbers[split[name][0]]}.{split[name][2]}": decoder[name] for name in decoder}, path)
    return path


def _renamed(name: str, rules: dict[str, str]) -> str:
    """As the published files call a tensor of ours."""
    for ours, theirs in rules.items():
        name = re.sub(ours, theirs, name)
    if found := re.fullmatch(r"ip_adapter\.(\d+)\.(.*)", name):  # numbered through self-attentions, too
        name = f"ip_adapter.{2 * int(found[1]) + 1}.{found[2]}"
    return name


@pytest.fixture
def facts() -> Facts:
    return Facts(
        prompt="nvinkpunk red dragon",
        negative_prompt="blurry",
        steps=20,
        sampler="ddpm",
        spacing="leading",
        guidance=7.5,
        seed=42,
        width=64,
        height=32,
        model="Inkpunk-Diffusion-v2",
        model_hash="2182245415",
        version="0.1.0",
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep remembered hashes out of the user's cache."""
    monkeypatch.setenv("INKPUNK_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let Ctrl-C act, here and in child processes: a job started in the background inherits that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
