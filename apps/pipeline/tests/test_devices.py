"""The whole road where no arithmetic happens, so that a tensor made on the wrong device cannot hide."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from inkpunk import Pipeline, Request
from inkpunk.memory.devices import DeviceError, choose_device
from inkpunk.memory.precision import choose_dtype
from inkpunk.memory.residence import Residence
from inkpunk.models.loading import Defaults
from inkpunk.speed import Speed, speed_up
from inkpunk_clip import TextEncoder, Tokenizer
from inkpunk_sampling import NoiseSchedule
from inkpunk_unet import UNet
from inkpunk_vae import VAE
from inkpunk_winograd import explain
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

START = Image.new("RGB", (64, 64), (200, 40, 90))


class NoDoubles(TorchDispatchMode):
    """Refuses to make a float64 tensor: Apple's MPS has none, and elsewhere they are a slow accident."""

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            assert not (isinstance(leaf, Tensor) and leaf.dtype == torch.float64), f"{function} made float64"
        return result


def draw(pipeline: Pipeline, device: str) -> None:
    """Text to image and image to image, up to the decoded image, which never leaves the device."""
    for request in (
        Request("a raven", seeds=(1, 2)),
        Request("a raven", seeds=(1, 2), init=START, strength=1.0),
    ):
        for step in pipeline.run(request):
            assert step.latents.device.type == device
            assert step.latents.shape == (2, 4, 8, 8)
        images = pipeline.decode(step.latents)
        assert (images.device.type, images.shape) == (device, (2, 3, 64, 64))


def test_the_road_runs_on_the_meta_device(tiny: Path) -> None:
    with NoDoubles():
        draw(Pipeline.load(tiny, device="meta", dtype="float16"), "meta")


def test_the_road_runs_on_fake_cuda_tensors(
    networks: Callable[[], tuple[TextEncoder, UNet, VAE]],
) -> None:
    cuda = torch.device("cuda")
    with FakeTensorMode(), NoDoubles():
        with cuda:
            text_encoder, unet, vae = networks()
        speed_up(text_encoder, unet, vae, device=cuda, speed=Speed())
        assert explain(unet).changed == 0  # what changes layers is a CPU's
        pipeline = Pipeline(
            tokenizer=Tokenizer(),
            text_encoder=Residence(text_encoder, cuda, offload=False),
            unet=Residence(unet, cuda, offload=False),
            vae=Residence(vae, cuda, offload=False),
            schedule=NoiseSchedule(),
            defaults=Defaults(size=64, steps=3),
            device=cuda,
            dtype=torch.float32,
        )
        draw(pipeline, "cuda")


def test_no_double_enters_the_road_on_the_cpu(pipeline: Pipeline) -> None:
    with NoDoubles():
        draw(pipeline, "cpu")


def test_offloaded_models_go_to_the_device_only_while_they_compute(tiny: Path) -> None:
    pipeline = Pipeline.load(tiny, device="meta", offload=True)
    waiting = [pipeline.text_encoder, pipeline.unet, pipeline.vae]
    assert {residence.device.type for residence in waiting} == {"cpu"}
    run = pipeline.run(Request("a raven"))
    next(run)
    assert [residence.device.type for residence in waiting] == ["cpu", "meta", "cpu"]
    run.close()
    assert {residence.device.type for residence in waiting} == {"cpu"}


def test_offloaded_models_draw_the_same_picture(tiny: Path, pipeline: Pipeline) -> None:
    request = Request("a raven", seeds=(7,))
    offloaded = Pipeline.load(tiny, device="cpu", offload=True)
    assert offloaded.generate(request)[0].image.tobytes() == pipeline.generate(request)[0].image.tobytes()


@pytest.mark.parametrize("name", ["gpu", "cuda:x", ""])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="not a device"):
        choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_refused_with_one_that_is() -> None:
    with pytest.raises(DeviceError, match="--device cpu"):
        choose_device("cuda")


def test_one_that_is_not_there_is_refused_with_the_accelerator_that_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(DeviceError, match=r"--device cuda$"):
        choose_device("cuda:99")


def test_half_precision_is_the_accelerators_default_only() -> None:
    assert choose_dtype("auto", torch.device("cpu")) is torch.float32
    assert choose_dtype("auto", torch.device("cuda")) is torch.float16
    with pytest.raises(DeviceError, match="float32"):
        choose_dtype("double", torch.device("cpu"))
