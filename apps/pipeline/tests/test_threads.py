"""One pipeline, many threads: as alone, to the bit if deterministic, and none more than a network is worth."""

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inkpunk import Control, ImagePrompt, Pipeline, Region, Request
from inkpunk.speed import Speed
from inkpunk.speed.threads import computing, each_within, threads_worth, unet_work
from inkpunk_weights import LowRank, save_lora
from inkpunk_winograd import why_not_native
from PIL import Image

CPU = torch.device("cpu")
PICTURE = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
MASK = Image.linear_gradient("L").resize((64, 64))
PLAIN = Request("a raven", seeds=(1,), steps=2, width=64, height=64)
MIXED = {
    "another size": replace(PLAIN, width=72, height=48, seeds=(2, 3), guidance=1.0),
    "an adapter": replace(PLAIN, prompt="a raven <lora:bent:0.7>"),
    "an adapter for one": replace(PLAIN, prompt="{a raven|a fox <lora:crooked>}", seeds=(1, 2)),
    "regions": replace(PLAIN, regions=(Region("a fox", MASK),)),
    "control": replace(PLAIN, controls=(Control("pose", PICTURE, ready=True),)),
    "tileable, guessed": replace(
        PLAIN, tileable="xy", controls=(Control("pose", PICTURE, ready=True),), guess=True
    ),
    "image prompt": replace(PLAIN, image_prompts=(ImagePrompt(PICTURE, 0.6),)),
    "edited": replace(PLAIN, init=PICTURE, mask=MASK, strength=0.6, sampler="dpmpp_2m_sde", steps=3),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters."""
    home = tmp_path_factory.mktemp("adapters")
    torch.manual_seed(2)
    for name in ("bent", "crooked"):
        change = LowRank(torch.randn(2, 32, 3, 3), torch.randn(32, 2, 1, 1), alpha=2.0)
        save_lora(home / f"{name}.safetensors", unet={"down.0.resnets.0.conv1": change})
    return home


def load(tiny: Path, folder: Path, control_net: Path, image_prompts: Path, tiny_vae: Path) -> Pipeline:
    return Pipeline.load(
        tiny,
        device="cpu",
        deterministic=True,
        lora_folder=folder,
        control_nets={"pose": control_net},
        ip_adapter=image_prompts / "plain.safetensors",
        tiny_vae=tiny_vae,
    )


@pytest.fixture
def set_threads() -> Iterator[None]:
    """For tests that set how many torch may use."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def pixels(pipeline: Pipeline, request: Request) -> list[bytes]:
    """Drawn with a preview."""
    *_, last = pipeline.run(request)
    pipeline.preview(last)
    return [np.asarray(each.image).tobytes() for each in pipeline.pictures(request, last.latents)]


@pytest.mark.thorough
def test_eight_threads_draw_on_one_pipeline_what_each_draws_alone(
    tiny: Path, folder: Path, control_net: Path, image_prompts: Path, tiny_vae: Path
) -> None:
    files = (tiny, folder, control_net, image_prompts, tiny_vae)
    one_by_one = load(*files)
    alone = {name: pixels(one_by_one, request) for name, request in MIXED.items()}
    shared, together = load(*files), threading.Barrier(len(MIXED))  # cold, so that all open the same at once

    def draw(place: int) -> list[str]:
        together.wait()
        name = [*MIXED][place]
        return [] if pixels(shared, MIXED[name]) == alone[name] else [name]

    with ThreadPoolExecutor(len(MIXED)) as pool:
        assert [*pool.map(draw, range(8))] == [[]] * 8


@pytest.mark.usefixtures("set_threads")
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seeds=st.permutations([3, 4, 5]).flatmap(lambda seeds: st.sampled_from([seeds[:1], seeds[:2], seeds])),
    count=st.integers(1, 3),
)
def test_a_deterministic_picture_is_the_same_in_any_batch_by_any_threads(
    deterministic: tuple[Pipeline, dict[int, bytes]], seeds: list[int], count: int
) -> None:
    pipeline, known = deterministic
    torch.set_num_threads(count)
    request = Request("a raven", seeds=tuple(seeds), steps=1, width=96, height=64)
    for seed, picture in zip(seeds, pipeline.generate(request), strict=True):
        assert (
            known.setdefault(seed, np.asarray(picture.image).tobytes()) == np.asarray(picture.image).tobytes()
        )


@pytest.fixture(scope="module")
def deterministic() -> tuple[Pipeline, dict[int, bytes]]:
    """The model in the box, and what it was seen to draw."""
    return Pipeline.load(device="cpu", deterministic=True), {}


@pytest.mark.usefixtures("set_threads")
def test_without_it_other_threads_change_one_level_at_most(sketch: Pipeline) -> None:
    free = Pipeline.load(device="cpu", speed=Speed(threads=False))
    request = Request("a raven", seeds=(3, 4), steps=1, width=96, height=64)
    drawn: list[np.ndarray] = []
    for count in (1, 3):
        torch.set_num_threads(count)
        drawn += [np.stack([np.asarray(each.image) for each in free.generate(request)]).astype(int)]
    assert np.abs(drawn[0] - drawn[1]).max() <= 1


@pytest.mark.usefixtures("set_threads")
def test_a_pass_gets_as_many_threads_as_it_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(4)
    tiny, in_the_box, full = (
        unet_work(parameters, 2, side, side)
        for parameters, side in ((10**5, 64), (8_415_556, 128), (859_520_964, 512))
    )
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert [threads_worth(work) for work in (0.0, tiny, in_the_box, full)] == [1, 1, 2, 4]
    monkeypatch.setenv("GOMP_SPINCOUNT", "300000")  # which goes before the policy
    assert [threads_worth(work) for work in (tiny, in_the_box, full)] == [1, 1, 4]
    torch.set_num_threads(2)
    assert threads_worth(full) == 2  # never more than torch may use


@pytest.mark.usefixtures("set_threads")
@pytest.mark.skipif(why_not_native() is not None, reason="nothing of the kind is set without OpenMP")
def test_only_computing_has_few_threads_and_whoever_takes_steps_has_his_own() -> None:
    torch.set_num_threads(3)

    def steps() -> Iterator[int]:
        for _ in range(2):
            yield torch.get_num_threads()

    taken = each_within(lambda: computing(0.0, CPU), steps())
    assert [(inside, torch.get_num_threads()) for inside in taken] == [(1, 3), (1, 3)]
    with computing(0.0, CPU), computing(1e15, CPU):
        assert torch.get_num_threads() == 1
    with pytest.raises(ZeroDivisionError), computing(1e15, CPU, deterministic=True):
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == 3


def test_on_cuda_deterministic_algorithms_are_on_until_the_last_has_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on: list[bool] = []  # recorded, since torch takes seconds to set it first
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode, **_: on.append(mode))
    begun, ended = threading.Barrier(2), threading.Barrier(2)

    def draw() -> None:
        with computing(1.0, torch.device("cuda"), deterministic=True):
            begun.wait()
            ended.wait()

    other = threading.Thread(target=draw)
    other.start()
    with computing(1.0, torch.device("cuda"), deterministic=True):
        begun.wait()
    assert all(on)  # somebody computes still
    ended.wait()
    other.join()
    assert not on[-1]


def test_memory_does_not_grow_with_what_was_drawn(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inkpunk.road.encoding.CHUNKS", 4)
    pipeline = Pipeline.load(tiny, device="cpu")

    def tensors_after(seeds: range) -> int:
        for seed in seeds:
            pipeline.generate(
                replace(PLAIN, prompt=f"raven {seed}", negative_prompt=f"owl {seed}", seeds=(seed,))
            )
        gc.collect()
        return sum(type(each) is torch.Tensor for each in gc.get_objects())

    assert tensors_after(range(6)) == tensors_after(range(6, 18))
