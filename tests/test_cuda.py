"""The road on an NVIDIA GPU, beside the same on the CPU, which the oracles hold.

    CUDA_VISIBLE_DEVICES=0 uv run pytest tests/test_cuda.py

Skipped where none is given.
"""

import gc

import numpy as np
import pytest
import torch
from inkpunk import Control, Pipeline, Region, Request
from inkpunk.speed import PLAIN, Speed
from inkpunk_sampling import SAMPLERS, seeded_noise
from PIL import Image

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")

PROMPT = "nvinkpunk raven, neon green splash"
REQUEST = Request(PROMPT, seeds=(1, 2))


def most_apart(ours: list[Image.Image], theirs: list[Image.Image]) -> int:
    """By how many of 255 levels pictures differ, at most."""
    both = zip(ours, theirs, strict=True)
    return max(int(np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).max()) for a, b in both)


def drawn(pipeline: Pipeline, request: Request) -> list[Image.Image]:
    return [picture.image for picture in pipeline.generate(request)]


@pytest.fixture(scope="module")
def on_cpu() -> Pipeline:
    return Pipeline.load("sketch", device="cpu")


@pytest.fixture(scope="module")
def on_cuda() -> Pipeline:
    return Pipeline.load("sketch", device="cuda", dtype="float32")


@pytest.fixture(scope="module")
def raven(on_cpu: Pipeline) -> Image.Image:
    return drawn(on_cpu, Request(PROMPT, seeds=(7,)))[0]


def test_it_is_taken_by_itself_and_in_half_precision() -> None:
    pipeline = Pipeline.load("sketch")
    assert (pipeline.device.type, pipeline.dtype) == ("cuda", torch.float16)


# On an H200 1, 1 and 13 levels. In float32, too, torch lets convolutions multiply in TF32, of ten bits.
@pytest.mark.parametrize(("dtype", "most"), [("float32", 2), ("float16", 4), ("bfloat16", 30)])
def test_a_seed_draws_the_picture_of_the_cpu(on_cpu: Pipeline, dtype: str, most: int) -> None:
    pictures = drawn(Pipeline.load("sketch", device="cuda", dtype=dtype), REQUEST)
    assert most_apart(pictures, drawn(on_cpu, REQUEST)) <= most


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_there(on_cpu: Pipeline, on_cuda: Pipeline, sampler: str) -> None:
    request = Request(PROMPT, seeds=(1,), steps=16, sampler=sampler)
    assert most_apart(drawn(on_cuda, request), drawn(on_cpu, request)) <= 2


@pytest.mark.parametrize(
    "what",
    [
        "from a picture",
        "under a mask",
        "extended",
        "regions",
        "larger",
        "tileable",
        "like a1111",
        "guidance",
        "vary",
        "weights",
        "control",
        "lcm",
    ],
)
def test_every_way_of_drawing_is_the_same_there(
    on_cpu: Pipeline, on_cuda: Pipeline, raven: Image.Image, what: str
) -> None:
    mask = Image.new("L", raven.size, 0)
    mask.paste(255, (0, 0, raven.width // 2, raven.height))
    request = {
        "from a picture": Request(PROMPT, seeds=(1,), init=raven, strength=0.6),
        "under a mask": Request(PROMPT, seeds=(1,), init=raven, mask=mask, strength=1.0),
        "extended": Request(PROMPT, seeds=(1,), init=raven, extend="right=64"),
        "regions": Request(PROMPT, seeds=(1,), regions=(Region("a blue wolf", mask),)),
        "larger": Request(PROMPT, seeds=(1,), width=192, height=160),
        "tileable": Request(PROMPT, seeds=(1,), tileable="xy"),
        "like a1111": Request(PROMPT, seeds=(1,), like="a1111", steps=6),
        "guidance": Request(PROMPT, seeds=(1,), guidance_rescale=0.7, guidance_interval=(0.28, 5.42)),
        "vary": Request(PROMPT, seeds=(1,), vary="5:0.3"),
        "weights": Request("nvinkpunk (raven:1.3) [wolf:dragon:0.5]", seeds=(1,), blend="a fox:0.3"),
        "control": Request(PROMPT, seeds=(1,), controls=(Control("canny", raven),)),
        "lcm": Request(PROMPT + " <lora:lcm:1>", seeds=(1,), steps=4, guidance=1.0, sampler="lcm"),
    }[what]
    assert most_apart(drawn(on_cuda, request), drawn(on_cpu, request)) <= 2


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_same_bits_come_each_time(dtype: str) -> None:
    pipeline = Pipeline.load("sketch", device="cuda", dtype=dtype, deterministic=True)
    together, again = drawn(pipeline, REQUEST), drawn(pipeline, REQUEST)
    alone = drawn(pipeline, Request(PROMPT, seeds=(2,)))
    assert [image.tobytes() for image in together] == [image.tobytes() for image in again]
    assert together[1].tobytes() == alone[0].tobytes()


def test_offloaded_and_tiled_it_draws_the_same(on_cuda: Pipeline) -> None:
    sparing = Pipeline.load("sketch", device="cuda", dtype="float32", low_memory=True)
    assert most_apart(drawn(sparing, REQUEST), drawn(on_cuda, REQUEST)) <= 2
    gc.collect()
    assert {residence.device.type for residence in (sparing.text_encoder, sparing.unet, sparing.vae)} == {
        "cpu"
    }


@pytest.mark.parametrize("way", ["plain", "compiled", "no channels_last", "no in_place", "no graphs"])
def test_every_way_of_speed_draws_the_same(on_cuda: Pipeline, way: str) -> None:
    speed = {
        "plain": PLAIN,
        "compiled": Speed(compile=True),
        "no channels_last": Speed(channels_last=False),
        "no in_place": Speed(in_place=False),
        "no graphs": Speed(graphs=False),
    }[way]
    other = Pipeline.load("sketch", device="cuda", dtype="float32", speed=speed)
    assert most_apart(drawn(other, REQUEST), drawn(on_cuda, REQUEST)) <= 2


@pytest.mark.parametrize("seed", [0, 1, 2**40 + 3])
@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 64, 64), (4, 128, 128), (4, 256, 256), (4, 37, 45)])
def test_philox_is_what_the_device_draws(seed: int, shape: tuple[int, ...]) -> None:
    generator = torch.Generator("cuda").manual_seed(seed)
    noise = seeded_noise([seed], shape, "philox")
    for _ in range(3):
        theirs = torch.randn(shape, device="cuda", generator=generator).cpu()
        ours = next(noise)[0]
        apart = float((ours - theirs).abs().max())
        assert apart <= 5e-6  # the device's sine has an error of 5e-7, times at most 6.7


def test_a_recorded_pass_is_the_plain_one_to_the_last_bit() -> None:
    pictures = list[list[bytes]]()
    for graphs in (True, False):
        pipeline = Pipeline.load("sketch", device="cuda", speed=Speed(graphs=graphs))
        drawn_twice = [*drawn(pipeline, REQUEST), *drawn(pipeline, REQUEST)]
        pictures.append([image.tobytes() for image in drawn_twice])
    assert pictures[0] == pictures[1]


def test_a_recording_follows_its_inputs_and_each_adapter_has_its_own() -> None:
    pipeline = Pipeline.load("sketch", device="cuda")
    plain = Pipeline.load("sketch", device="cuda", speed=Speed(graphs=False))
    for prompt in ("nvinkpunk raven", "nvinkpunk blue wolf"):
        for count in (1, 3):
            request = Request(prompt, seeds=tuple(range(count)), steps=5)
            assert most_apart(drawn(pipeline, request), drawn(plain, request)) == 0
    with_lora = [each.with_adapters("lcm") for each in (pipeline, plain)]
    assert most_apart(*(drawn(each, Request("nvinkpunk raven", seeds=(1,))) for each in with_lora)) == 0


def test_a_hook_that_waits_for_the_device_leaves_passes_plain(on_cuda: Pipeline) -> None:
    pipeline = Pipeline.load("sketch", device="cuda", dtype="float32")
    seen = list[float]()
    with pipeline.unet.awake() as unet:
        unet.middle.register_forward_hook(lambda *told: seen.append(float(told[2].abs().max())))
    pictures = drawn(pipeline, REQUEST)
    assert len(seen) >= 16
    assert most_apart(pictures, drawn(on_cuda, REQUEST)) <= 1
