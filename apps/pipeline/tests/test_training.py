"""A LoRA is trained: what is learned is learned, what is not stays, and a stopped training goes on."""

import json
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inkpunk import Pipeline
from inkpunk.memory.estimate import FIXED
from inkpunk.request import Request
from inkpunk.speed import PLAIN
from inkpunk.training.buckets import bucket
from inkpunk.training.errors import TrainingError
from inkpunk.training.examples import Example, read_examples
from inkpunk.training.lessons import Lesson, draw_batch, make_lesson
from inkpunk.training.loop import Settings, Training
from inkpunk.training.lora import Course, LoraTraining, settings_for, training_dtype
from inkpunk.training.loss import TARGETS, Objective, min_snr_weights
from inkpunk.training.memory import (
    recompute_blocks,
    refuse_training_that_does_not_fit,
    training_memory,
)
from inkpunk.training.prior import draw_prior, read_prior
from inkpunk.training.state import load_state, save_state, state_path
from inkpunk.training.stopping import stop_asked
from inkpunk_clip import TextEncoder
from inkpunk_sampling import PREDICTIONS, NoiseSchedule
from inkpunk_unet import UNet
from inkpunk_weights import open_adapter
from PIL import Image, ImageDraw

TRIGGER = "zwkettle"


def draw_pictures(folder: Path, count: int = 4, size: tuple[int, int] = (64, 64)) -> Path:
    """Discs on stripes."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image = Image.new("RGB", size, (250, 240, 220))
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, 8 * index, size[0], 8 * index + 12), fill=(40, 200, 90))
        draw.ellipse((16, 16, 48, 48), fill=(20, 10, 30))
        image.save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"a disc, picture {index}")
    return folder


@pytest.fixture(scope="module")
def plain(tiny: Path) -> Pipeline:
    """The tiny model as it learns."""
    return Pipeline.load(tiny, device="cpu", speed=PLAIN)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    return read_examples(draw_pictures(tmp_path_factory.mktemp("pictures")), trigger=TRIGGER)


@pytest.fixture(scope="module")
def lessons(plain: Pipeline, examples: list[Example]) -> list[Lesson]:
    with plain.vae.awake() as vae:
        return [make_lesson(example, vae, plain.tokenizer, 64) for example in examples]


SETTINGS = Settings(steps=12, batch=2, rate=2e-3, rank=4, alpha=4.0)
Make = Callable[..., Training]


@pytest.fixture
def training(plain: Pipeline, lessons: list[Lesson]) -> Any:
    """Makes trainings, and takes them off again."""
    made = list[Training]()

    def make(
        settings: Settings = SETTINGS, prior: Sequence[Lesson] = (), prediction: str = "epsilon"
    ) -> Training:
        objective = Objective(plain.schedule, prediction, settings.gamma)
        with plain.text_encoder.awake() as text_encoder, plain.unet.awake() as unet:
            made.append(Training(text_encoder, unet, objective, lessons, prior, settings))
        return made[-1]

    yield make
    for each in made:
        each.remove()


def walk(training: Training) -> list[float]:
    return [step.loss for step in training.steps()]


def fixed_loss(plain: Pipeline, lessons: Sequence[Lesson], draws: int = 4) -> float:
    """The loss on chance that no training sees, with whatever lies beside the networks now."""
    objective = Objective(plain.schedule, "epsilon", 5.0)
    losses = list[float]()
    with plain.text_encoder.awake() as text_encoder, plain.unet.awake() as unet, torch.no_grad():
        for draw in range(draws):
            batch = draw_batch(lessons, 4, objective.timesteps, np.random.default_rng([9, draw]))
            context = text_encoder(torch.stack([lessons[index].tokens for index in batch.lessons]))
            loss = objective(
                lambda noisy, timesteps, context=context: unet(noisy, timesteps, context),
                batch.clean,
                batch.noise,
                batch.timesteps,
            )
            losses.append(loss.item())
    return sum(losses) / len(losses)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -- What is learned ----------------------------------------------------------------------------------------------


def test_the_pictures_are_learned(plain: Pipeline, lessons: list[Lesson], training: Make) -> None:
    before = fixed_loss(plain, lessons)
    walk(training(replace(SETTINGS, steps=20, convolutions=True, rate=2e-2)))
    assert fixed_loss(plain, lessons) < 0.8 * before


def test_the_networks_stay_as_they_were(plain: Pipeline, training: Make) -> None:
    with plain.text_encoder.awake() as text_encoder, plain.unet.awake() as unet:
        networks: tuple[TextEncoder, UNet] = (text_encoder, unet)
    before = [{name: each.clone() for name, each in network.state_dict().items()} for network in networks]
    taught = training(replace(SETTINGS, steps=2, convolutions=True))
    walk(taught)
    latents, context = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 32)
    with torch.no_grad():
        learned = unet(latents, torch.tensor(500), context)
        taught.remove()
        untouched = unet(latents, torch.tensor(500), context)
    assert not torch.equal(learned, untouched)
    for network, weights in zip(networks, before, strict=True):
        assert equal(dict(network.state_dict()), weights)
        assert not any(each.requires_grad or each.grad is not None for each in network.parameters())


def test_the_same_seed_learns_the_same_and_another_does_not(training: Make) -> None:
    results = list[dict[str, torch.Tensor]]()
    for seed in (3, 3, 4):
        taught = training(replace(SETTINGS, steps=2, seed=seed))
        walk(taught)
        results.append({name: tensor.clone() for name, tensor in taught.state_dict().items()})
        taught.remove()
    assert equal(results[0], results[1])
    assert not equal(results[0], results[2])


@pytest.mark.parametrize("text_encoder", [True, False])
def test_what_was_stopped_goes_on_to_the_same_bits(
    training: Make, tmp_path: Path, text_encoder: bool
) -> None:
    settings = replace(SETTINGS, steps=4, text_encoder=text_encoder)
    whole = training(settings)
    losses = walk(whole)
    whole.remove()
    stopped = training(settings)
    first = [step.loss for step in islice(stopped.steps(), 2)]
    path, at = tmp_path / "it.state.safetensors", stopped.step
    save_state(path, stopped, {"rank": "4"})
    stopped.remove()
    going_on = training(settings)
    assert load_state(path, going_on, {"rank": "4"})
    assert going_on.step == at and going_on.smoothed == stopped.smoothed
    rest = walk(going_on)
    assert losses[:2] == first
    assert losses[at:] == rest
    assert equal(whole.state_dict(), going_on.state_dict())
    assert whole.smoothed == going_on.smoothed


def test_the_text_encoder_stays_out_of_it_if_wanted(training: Make) -> None:
    assert set(training(replace(SETTINGS, text_encoder=False)).changes()) == {"unet"}
    assert set(training().changes()) == {"unet", "text_encoder"}


def test_the_prior_counts(training: Make, lessons: list[Lesson]) -> None:
    states = list[dict[str, torch.Tensor]]()
    for weight in (0.0, 1.0):
        taught = training(replace(SETTINGS, steps=2, prior_weight=weight), prior=lessons[:1])
        walk(taught)
        states.append(taught.state_dict())
        taught.remove()
    assert not equal(*states)


def test_blocks_computed_anew_give_the_same_gradients(plain: Pipeline, training: Make) -> None:
    settings = replace(SETTINGS, steps=2)
    one = training(settings)
    losses = walk(one)
    one.remove()
    with plain.unet.awake() as unet:
        take_off = recompute_blocks(unet)
        other = training(settings)
        assert walk(other) == losses
        take_off()
        assert not any("forward" in vars(module) for module in unet.modules())
    assert equal(one.state_dict(), other.state_dict())


# -- The objective --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", list(PREDICTIONS))
@pytest.mark.parametrize("timestep", [0, 400, 999])
def test_the_target_is_what_says_the_clean_latents(prediction: str, timestep: int) -> None:
    schedule = NoiseSchedule()
    signal, level = schedule.signal(timestep), schedule.noise(timestep)
    clean, noise = torch.randn(2, 1, 4, 4, 4).double()
    levels = (torch.full((1, 1, 1, 1), each).double() for each in (signal, level))
    target = TARGETS[prediction](clean, noise, *levels)
    read = PREDICTIONS[prediction].read(target, signal * clean + level * noise, signal, level)
    torch.testing.assert_close(read.clean, clean)
    torch.testing.assert_close(read.noise, noise)


def test_a_network_that_is_right_has_no_loss() -> None:
    for prediction in PREDICTIONS:
        objective = Objective(NoiseSchedule(), prediction, 5.0)
        clean, noise = torch.randn(2, 3, 4, 8, 8)
        timesteps = torch.tensor([5, 500, 990])

        def right(noisy: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
            levels = [
                torch.tensor([each(int(t)) for t in at]).view(-1, 1, 1, 1)
                for each in (NoiseSchedule().signal, NoiseSchedule().noise)
            ]
            return TARGETS[prediction](clean, noise, *levels)  # noqa: B023  # called at once

        assert objective(right, clean, noise, timesteps).item() < 1e-12


def test_weights_are_those_of_the_paper() -> None:
    schedule = NoiseSchedule()
    ratios = torch.tensor([bar / (1 - bar) for bar in schedule.alphas_cumprod])
    capped = ratios.clamp(max=5.0)
    torch.testing.assert_close(min_snr_weights(schedule, "epsilon", 5.0), capped / ratios)
    torch.testing.assert_close(min_snr_weights(schedule, "v", 5.0), capped / (ratios + 1))
    torch.testing.assert_close(min_snr_weights(schedule, "sample", 5.0), capped)
    assert (min_snr_weights(schedule, "v", None) == 1).all()
    zero = NoiseSchedule(zero_snr=True)
    assert all(min_snr_weights(zero, name, 5.0).isfinite().all() for name in PREDICTIONS)


# -- What is seen of the pictures -----------------------------------------------------------------------------------


def test_a_bucket_has_the_shape_and_no_more_pixels() -> None:
    assert bucket((512, 512), 512) == (512, 512)
    assert bucket((1000, 1000), 128) == (128, 128)
    for size in ((1920, 1080), (768, 1024), (3000, 500), (500, 3000), (64, 640)):
        width, height = bucket(size, 512)
        assert width % 64 == height % 64 == 0
        assert width * height <= 512 * 512
        assert (width > height) == (size[0] > size[1])


def test_pictures_of_a_batch_have_one_size_and_all_have_their_turn(plain: Pipeline, tmp_path: Path) -> None:
    draw_pictures(tmp_path / "square", 3)
    draw_pictures(tmp_path / "wide", 3, (128, 64))
    found = [*read_examples(tmp_path / "square"), *read_examples(tmp_path / "wide")]
    with plain.vae.awake() as vae:
        made = [make_lesson(example, vae, plain.tokenizer, 64, flip=True) for example in found]
    assert {lesson.size for lesson in made} == {(1, 4, 8, 8), (1, 4, 5, 11)}
    assert all(len(lesson.views) == 2 for lesson in made)
    seen = set[int]()
    for draw in range(20):
        batch = draw_batch(made, 2, 1000, np.random.default_rng(draw))
        assert len({made[index].size for index in batch.lessons}) == 1
        assert len(set(batch.lessons)) == 2
        assert batch.timesteps.min() < 500 <= batch.timesteps.max()
        seen |= set(batch.lessons)
    assert seen == set(range(6))


# -- The whole of it ------------------------------------------------------------------------------------------------


def course_of(plain: Pipeline, examples: list[Example], prior: list[Example] | None = None) -> Course:
    course = Course(examples, prior or [], 64, trigger=TRIGGER)
    assert [step.index for step in course.encode(plain)][-1] == len(examples) + len(prior or [])
    return course


def test_the_file_adds_what_the_layers_computed(
    plain: Pipeline, examples: list[Example], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, steps=2, convolutions=True, alpha=2.0)
    out = tmp_path / "kettle.safetensors"
    taught = LoraTraining(plain, course_of(plain, examples), settings, out)
    latents, context = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 32)
    deque(taught.steps(), maxlen=0)
    with plain.unet.awake() as unet, torch.no_grad():
        hooked = unet(latents, torch.tensor(300), context)
        taught.save()
        taught.close()
        assert not taught.state.exists()
        adapter = open_adapter(out)
        assert (adapter.layout, adapter.kind, adapter.ranks) == (
            "kohya",
            "LoCon",
            {4: len(adapter.unet) + len(adapter.text_encoder)},
        )
        assert not adapter.placeless and not adapter.unknown
        weights = {name: each.clone() for name, each in unet.named_parameters()}
        for name, change in adapter.unet.items():
            unet.get_parameter(name).add_(change.difference(weights[name]))
        merged = unet(latents, torch.tensor(300), context)
        for name, weight in weights.items():
            unet.get_parameter(name).copy_(weight)
        base = unet(latents, torch.tensor(300), context)
    moved = (hooked - base).abs().max()
    assert moved > 0
    assert (merged - hooked).abs().max() < 0.02 * moved  # the file has 16 bits
    notes = adapter.metadata
    assert notes["ss_output_name"] == "kettle" and notes["ss_network_module"] == "networks.lora"
    assert (notes["ss_network_dim"], notes["ss_network_alpha"], notes["ss_steps"]) == ("4", "2.0", "2")
    assert (notes["ss_base_model_version"], notes["ss_num_train_images"]) == ("sd_v1", "4")
    assert notes["modelspec.trigger_phrase"] == TRIGGER
    [tags] = json.loads(str(notes["ss_tag_frequency"])).values()
    assert tags[TRIGGER] == tags["a disc"] == 4 and tags["picture 2"] == 1


def test_a_sample_shows_what_is_learned_and_says_so(
    plain: Pipeline, examples: list[Example], tmp_path: Path
) -> None:
    taught = LoraTraining(
        plain, course_of(plain, examples), replace(SETTINGS, rate=0.05), tmp_path / "it.safetensors"
    )
    before = taught.sample(TRIGGER, 7)
    assert before.image.tobytes() == plain.generate(Request(TRIGGER, seeds=(7,)))[0].image.tobytes()
    next(taught.steps())
    next(taught.steps())
    after = taught.sample(TRIGGER, 7)
    taught.close()
    assert after.image.tobytes() != before.image.tobytes()
    assert after.facts.note == "with the LoRA it after 2 of 12 steps"


def test_a_state_of_another_training_is_refused(
    plain: Pipeline, examples: list[Example], tmp_path: Path
) -> None:
    out, course = tmp_path / "it.safetensors", course_of(plain, examples)
    taught = LoraTraining(plain, course, SETTINGS, out)
    next(taught.steps())
    taught.keep()
    taught.close()
    again = LoraTraining(plain, course, SETTINGS, out)
    again.close()
    assert again.resumed and again.training.step == 1
    with pytest.raises(TrainingError, match="rank 4, now 2"):
        LoraTraining(plain, course, replace(SETTINGS, rank=2), out)
    with pytest.raises(TrainingError, match=r"pictures \w+, now"):
        LoraTraining(plain, course_of(plain, examples[:3]), SETTINGS, out)
    for damaged in (b"", b"no state", state_path(out).read_bytes()[:-100]):
        state_path(out).write_bytes(damaged)
        with pytest.raises(TrainingError, match="damaged; delete it to begin anew"):
            LoraTraining(plain, course, SETTINGS, out)


def test_settings_are_left_to_the_model_where_nothing_is_said(plain: Pipeline) -> None:
    asked = {"rank": 4, "convolutions": False, "text_encoder": True, "steps": 5, "batch": 1}
    asked |= {"prior_weight": 1.0, "seed": 0}
    settings = settings_for(plain, rate=None, alpha=None, min_snr=0.0, **asked)
    assert (settings.alpha, settings.gamma) == (4.0, None)
    assert settings.rate == pytest.approx(2e-4 * 320 / 32)
    assert settings_for(plain, rate=0.5, alpha=1.0, min_snr=3.0, **asked).rate == 0.5
    assert training_dtype("auto", torch.device("cpu")) == "float32"
    assert training_dtype("auto", torch.device("cuda")) == "bfloat16"
    assert training_dtype("float32", torch.device("cuda")) == "float32"


def test_bfloat16_learns(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    half = Pipeline.load(tiny, device="cpu", dtype="bfloat16", speed=PLAIN)
    course = course_of(Pipeline.load(tiny, device="cpu"), examples)
    taught = LoraTraining(half, course, replace(SETTINGS, steps=2), tmp_path / "it.safetensors")
    assert all(step.loss > 0 for step in taught.steps())
    taught.close()


# -- The prior ------------------------------------------------------------------------------------------------------


def test_the_prior_is_drawn_once_each_with_its_prompt(pipeline: Pipeline, tmp_path: Path) -> None:
    folder = tmp_path / "it.prior"
    prompt = "a {fox|raven|moon}"
    steps = [each.index for each in draw_prior(pipeline, prompt, folder, count=5, side=64)]
    assert steps == [0, 4, 5]
    found = read_examples(folder)
    assert [example.caption for example in found] == [
        Request(prompt, seeds=(seed,)).chosen(seed)[0] for seed in range(5)
    ]
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "seed3.png").unlink()
    assert [each.index for each in draw_prior(pipeline, prompt, folder, count=5, side=64)] == [4, 5]
    after = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {path for path in before if before[path] != after[path]} == {
        folder / f"seed3.{ending}" for ending in ("png", "txt")
    }
    assert [each.index for each in draw_prior(pipeline, "a cat", folder, count=5, side=64)][-1] == 5
    assert {example.caption for example in read_examples(folder)} == {"a cat"}


def test_a_prior_that_another_model_drew_or_in_another_size_is_drawn_anew(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    def already_there(pipeline: Pipeline, side: int) -> int:
        there, *_ = (each.index for each in draw_prior(pipeline, "a cat", tmp_path, count=3, side=side))
        return there

    assert already_there(pipeline, 64) == 0
    assert already_there(pipeline, 64) == 3
    assert already_there(pipeline, 128) == 0
    assert {example.size for example in read_prior(tmp_path, count=3)} == {(128, 128)}
    assert already_there(replace(pipeline, name="another"), 128) == 0
    (tmp_path / "seed1.png").write_bytes(b"no picture")
    assert already_there(replace(pipeline, name="another"), 128) == 2


def test_of_a_prior_only_what_was_asked_for_is_learned(pipeline: Pipeline, tmp_path: Path) -> None:
    for count in (4, 3):
        deque(draw_prior(pipeline, "a cat", tmp_path, count=count, side=64), maxlen=0)
    assert {each.path.name for each in read_prior(tmp_path, count=3)} == {f"seed{i}.png" for i in range(3)}


# -- Memory ---------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_with_what_to_do(plain: Pipeline) -> None:
    config = plain.unet.config
    sizes = [
        training_memory(config, 1000, (512, 512), batch, itemsize=4, recompute=recompute)
        for batch, recompute in ((1, True), (1, False), (4, False))
    ]
    assert sizes == sorted(sizes) and len(set(sizes)) == 3
    refuse_training_that_does_not_fit(2**30, None, (512, 512), 4)
    refuse_training_that_does_not_fit(2**30, 2**30, (512, 512), 4)
    with pytest.raises(TrainingError) as refusal:
        refuse_training_that_does_not_fit(3 << 30, 1 << 30, (512, 448), 4)
    assert str(refusal.value) == (
        "512 x 448, 4 pictures at once: takes about 3.0 GiB, and 1.0 GiB are free; try a smaller --size or a smaller "
        "--batch"
    )


@pytest.mark.parametrize("recompute", [False, True])
def test_the_estimate_covers_what_is_kept_for_the_way_back(
    plain: Pipeline, training: Make, recompute: bool
) -> None:
    taught = training(replace(SETTINGS, convolutions=True, text_encoder=False))
    kept = dict[int, torch.Tensor]()  # by storage: views share one
    estimate = training_memory(
        plain.unet.config, taught.learned, (128, 128), 2, itemsize=4, recompute=recompute
    )
    with plain.unet.awake() as unet:
        weights = {each.untyped_storage().data_ptr() for each in unet.parameters()}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage().data_ptr()
            if storage not in weights:
                kept[storage] = tensor
            return tensor

        take_off = recompute_blocks(unet) if recompute else lambda: None
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            unet(torch.randn(2, 4, 16, 16), torch.tensor(500), torch.randn(2, 77, 32))
        take_off()
    held = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert 0 < held < estimate - FIXED


def test_blocks_are_computed_anew_where_memory_is_short(
    plain: Pipeline, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    course, out = course_of(plain, examples), tmp_path / "it.safetensors"
    taught = LoraTraining(plain, course, SETTINGS, out)
    most, least = taught.memory(recompute=False), taught.memory(recompute=True)
    assert not taught.recomputed
    taught.close()
    monkeypatch.setattr("inkpunk.training.lora.free_memory", lambda device: (most + least) // 2)
    taught = LoraTraining(plain, course, SETTINGS, out)
    assert taught.recomputed
    taught.close()
    monkeypatch.setattr("inkpunk.training.lora.free_memory", lambda device: least - 1)
    with pytest.raises(TrainingError, match="are free"):
        LoraTraining(plain, course, SETTINGS, out)
    with plain.unet.awake() as unet:
        assert not any("forward" in vars(module) or module._forward_hooks for module in unet.modules())


# -- Ctrl-C ---------------------------------------------------------------------------------------------------------


def test_the_first_interrupt_is_a_wish_and_the_second_ends() -> None:
    with pytest.raises(KeyboardInterrupt), stop_asked() as stop:
        assert not stop.asked
        signal.raise_signal(signal.SIGINT)
        assert stop.asked
        signal.raise_signal(signal.SIGINT)
    with stop_asked() as stop:
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
