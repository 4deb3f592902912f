"""A model, settings and desks that tests share."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Semaphore
from typing import Any

import pytest
import torch
from inkpunk import Order, Pipeline, Request
from inkpunk_clip import ImageEncoder, ImageEncoderConfig
from inkpunk_sampling import Step
from inkpunk_sketch import adapters, controls
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_unet import (
    ImagePrompt,
    ImagePromptConfig,
    T2IAdapter,
    T2IAdapterConfig,
    UNet,
    cross_attentions,
)
from safetensors.torch import save_file

PATIENCE = 30.0  # seconds, for what takes milliseconds
EYE = ImageEncoderConfig(image=28, patch=14, width=32, layers=2, heads=4, feed_forward=64, projection=24)
IN_T2I = {
    r"^conv_in": "conv_in",
    r"^levels\.(\d+)\.conv_in": r"body.\1.in_conv",
    r"^levels": "body",
    r"\.blocks\.": ".resnets.",
    r"conv1": "block1",
    r"conv2": "block2",
}
IN_ADAPTER = {
    r"^keys\.(\d+)\.": r"ip_adapter.\1.to_k_ip.",
    r"^values\.(\d+)\.": r"ip_adapter.\1.to_v_ip.",
    r"^projection\.": "image_proj.",
    r"image_proj\.linear": "image_proj.proj",
}
IN_ENCODER = {
    r"^layers\.": "vision_model.encoder.layers.",
    r"attention\.([qkv])(uery|ey|alue)\.": r"self_attn.\1_proj.",
    r"attention\.out\.": "self_attn.out_proj.",
    r"feed_forward": "mlp",
    r"(layers\.\d+)\.norm(\d)": r"\1.layer_norm\2",
    r"^(class_embedding|patch_embedding|position_embedding)": r"vision_model.embeddings.\1",
    r"^norm_in": "vision_model.pre_layrnorm",
    r"^norm_out": "vision_model.post_layernorm",
    r"^projection": "visual_projection",
}
"""What published files call what is ours, by our names."""


@pytest.fixture(scope="session")
def sketch() -> Pipeline:
    return Pipeline.load("sketch")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(pictures=tmp_path / "pictures", state=tmp_path / "state", hub=None)


@pytest.fixture(scope="session")
def shelf(sketch: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of networks for the model in the box, those of random weights where the box has none."""
    folder = tmp_path_factory.mktemp("shelf")
    shutil.copyfile(controls()["canny"], folder / "outline_canny.safetensors")
    shutil.copyfile(adapters()["lighthouse"], folder / "lighthouse-too.safetensors")
    torch.manual_seed(5)
    unet = sketch.unet.config
    (folder / "t2i").mkdir()
    reading = T2IAdapter(T2IAdapterConfig(hint_channels=3, widths=unet.widths, layers=1)).state_dict()
    save_file({f"adapter.{_theirs(name, IN_T2I)}": reading[name] for name in reading},
              folder / "t2i" / "t2iadapter_canny.safetensors")  # fmt: skip
    with torch.device("meta"):
        widths = tuple(layer.query.out_features for layer in cross_attentions(UNet(unet)))
    for name in ("ip-adapter_one", "ip-adapter_two"):
        seeing = ImagePrompt(ImagePromptConfig(EYE.projection, unet.context_width, 2, widths)).state_dict()
        save_file(
            {_theirs(each, IN_ADAPTER): seeing[each] for each in seeing}, folder / f"{name}.safetensors"
        )
    (folder / "image_encoder").mkdir()
    eye = ImageEncoder(EYE).state_dict()
    save_file(
        {_theirs(name, IN_ENCODER): eye[name] for name in eye}, folder / "image_encoder" / "model.safetensors"
    )
    sizes = {
        "image_size": 28,
        "patch_size": 14,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "hidden_act": "gelu",
    }
    sizes |= {"num_attention_heads": 4, "intermediate_size": 64, "projection_dim": 24}
    (folder / "image_encoder" / "config.json").write_text(
        json.dumps({"model_type": "clip_vision_model", **sizes})
    )
    return folder


def _theirs(name: str, rules: dict[str, str]) -> str:
    """What published files call a tensor of ours."""
    for ours, theirs in rules.items():
        name = re.sub(ours, theirs, name)
    if found := re.fullmatch(r"ip_adapter\.(\d+)\.(.*)", name):  # numbered through self-attentions, too
        name = f"ip_adapter.{2 * int(found[1]) + 1}.{found[2]}"
    return name


@pytest.fixture
def order() -> Callable[..., Order]:
    """Makes small orders."""

    def make(**values: Any) -> Order:
        return Order.read({"prompt": "a raven", "width": 64, "height": 64, "steps": 2, "seed": 7, **values})

    return make


@pytest.fixture
def open_desk(sketch: Pipeline, settings: Settings) -> Iterator[Callable[..., Desk]]:
    """Starts desks whose model is loaded already; they are closed when the test ends."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Desk:
            load = changes.pop("load", lambda choice: sketch)
            return stack.enter_context(Desk(replace(settings, **changes), load))

        yield start


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


class Gate:
    """Loads a model whose steps wait, each until it is let pass."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.steps, self._pipeline = Semaphore(0), pipeline

    def __call__(self, choice: object) -> Pipeline:
        gated = replace(self._pipeline)
        object.__setattr__(gated, "run", self._run)
        return gated

    def _run(self, request: Request) -> Iterator[Step]:
        for step in self._pipeline.run(request):
            assert self.steps.acquire(timeout=PATIENCE)
            yield step

    def let_pass(self, steps: int) -> None:
        for _ in range(steps):
            self.steps.release()


@pytest.fixture
def gate(sketch: Pipeline) -> Iterator[Gate]:
    """Use it as a desk's `load`."""
    made = Gate(sketch)
    yield made
    made.let_pass(1000)
