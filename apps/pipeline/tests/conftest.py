"""A model small enough to draw in a fraction of a second; its weights are random."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from inkpunk import Facts, Pipeline
from inkpunk_clip import TextEncoder, TextEncoderConfig
from inkpunk_unet import ControlNet, ControlNetConfig, UNet, UNetConfig
from inkpunk_vae import VAE, VAEConfig
from inkpunk_weights import save_checkpoint, save_control

TEXT_ENCODER = TextEncoderConfig(width=32, layers=2, heads=4, feed_forward=64)
UNET = UNetConfig(widths=(32, 64), attention=(True, True), heads=4, context_width=32, groups=8)
VAE_CONFIG = VAEConfig(widths=(8, 8, 16, 16), layers=1, groups=4)

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
