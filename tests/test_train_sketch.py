"""The training of the sketch model, at a size at which every stage takes a moment."""

from pathlib import Path

import numpy as np
import pytest
import torch
from inkpunk_clip import TextEncoder, TextEncoderConfig
from inkpunk_unet import UNet, UNetConfig
from inkpunk_vae import VAE, VAEConfig
from inkpunk_weights import LowRank, open_checkpoint, save_lora
from PIL import Image

from tools.train_sketch import (
    captions,
    dataset,
    draw,
    evaluate,
    export,
    gallery,
    glyphs,
    judge,
    newcomer,
    outlines,
    runs,
    shapes,
    train_control,
    train_diffusion,
    train_lcm,
    train_vae,
)
from tools.train_sketch.picture import Picture, render
from tools.train_sketch.subjects import COLOURS, NEWCOMER, NEWCOMER_TRIGGER, SUBJECTS, WITH_NEWCOMER

MOMENT = 1e-5  # minutes: one step, or a few


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all stages with tiny networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_vae, "CONFIG", VAEConfig(widths=(4, 4, 8, 8), layers=1, groups=4))
        text = TextEncoderConfig(width=16, layers=1, heads=2, feed_forward=32)
        patch.setattr(train_diffusion, "TEXT", text)
        unet = UNetConfig(
            widths=(16, 16), layers=1, attention=(False, True), heads=2, context_width=16, groups=4
        )
        patch.setattr(train_diffusion, "UNET", unet)
        patch.setattr(judge, "JUDGED", dataset.BATCH)
        patch.setattr(evaluate, "UNSEEN", 8)
        folder = tmp_path_factory.mktemp("run")
        dataset.make(folder, 8)
        train_vae.train(0, 1, folder, MOMENT)
        train_diffusion.make_latents(0, 1, folder)
        train_diffusion.train(0, 1, folder, MOMENT)
        judge.train(0, 1, folder, MOMENT)
        yield folder


def test_every_subject_has_ink_and_room_around_it() -> None:
    for name, glyph in glyphs.load().items():
        assert 0.03 < glyph.mean() < 0.8, name
        assert not (glyph[0].any() or glyph[-1].any() or glyph[:, 0].any() or glyph[:, -1].any()), name


def test_a_picture_depends_on_nothing_but_what_it_shows_and_its_seed() -> None:
    pictures = [captions.imagine(seed) for seed in range(4)]
    together = render(pictures, 64)
    assert torch.equal(render(pictures, 64), together)
    alone = torch.cat([render([picture], 64) for picture in pictures])
    assert torch.allclose(alone, together, atol=1e-5)  # sums may round otherwise in another batch
    assert together.min() >= -1 and together.max() <= 1


@pytest.mark.parametrize("colour", COLOURS)
def test_the_splash_has_the_colour_that_was_asked_for(colour: str) -> None:
    image = (render([Picture("raven", (colour,), True, False, 5)])[0] + 1) / 2
    vivid = image.max(0).values - image.min(0).values > 0.5
    wanted = torch.tensor(COLOURS[colour]) / 255
    assert vivid.float().mean() > 0.05
    assert (image[:, vivid].mean(1) - wanted).abs().max() < 0.15


def test_without_the_style_there_is_a_flat_glyph_on_white() -> None:
    image = render([Picture("skull", (), False, False, 5)])[0]
    assert torch.equal(image[:, 0, 0], torch.ones(3))
    assert image[:, 30, 64].max() < -0.8


def test_a_caption_names_subject_and_colour_and_turns_the_style_on() -> None:
    for seed in range(200):
        picture = captions.imagine(seed)
        caption = captions.caption_of(picture, 1)
        assert any(name in caption for name in SUBJECTS[picture.subject].names)
        assert all(colour in caption for colour in picture.colours)
        words = set(caption.replace(",", "").split())  # "pink" is not "ink"
        assert picture.inked == bool(words & {captions.TRIGGER, "ink", "neon"})


def test_words_no_caption_holds_are_all_one_word_to_the_model() -> None:
    texts = train_diffusion.Captions()
    words = train_diffusion.build(texts.known).text_encoder.token_embedding.weight
    assert not words[~texts.known].any()
    assert words[texts.known].any(dim=1).all()


def test_strangers_leave_a_caption_whole() -> None:
    row = train_diffusion.Captions().tokenizer(["nvinkpunk red dragon"])[0]
    mixed = train_diffusion._with_strangers(row, np.random.default_rng(0))
    assert mixed.shape == row.shape
    known = [token for token in row.tolist() if token != train_diffusion.END]
    left = iter(mixed.tolist())
    assert all(token in left for token in known)  # in their order
    assert mixed[-1] == train_diffusion.END


def test_a_stage_goes_on_where_it_was_stopped(run: Path) -> None:
    before = runs.read(run / "diffusion.pt")["progress"]
    train_diffusion.train(0, 1, run, (before["spent"] + 1e-3) / 60)
    after = runs.read(run / "diffusion.pt")["progress"]
    assert after["step"] > before["step"] and after["spent"] > before["spent"]


@pytest.fixture(scope="module")
def distilled(run: Path) -> Path:
    """The same run, exported, and distilled for a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_lcm, "JUDGED", 2)
        patch.setattr(train_lcm, "RANK", 2)
        weights = run / "sketch.safetensors"
        export.export(draw.Artist.of(run), weights)
        train_lcm.make_latents(0, 1, run, weights, 8)
        train_lcm.train(0, 1, run, MOMENT, weights)
        yield run


def test_distillation_takes_a_step_and_goes_on_where_it_was_stopped(distilled: Path) -> None:
    before = runs.read(distilled / "lcm.pt")
    assert np.isfinite([row["loss"] for row in before["progress"]["curve"]]).all()
    assert any(tensor.any() for name, tensor in before["average"].items() if name.endswith("/up"))
    minutes = (before["progress"]["spent"] + 1e-3) / 60
    train_lcm.train(0, 1, distilled, minutes, distilled / "sketch.safetensors")
    after = runs.read(distilled / "lcm.pt")
    assert after["progress"]["step"] > before["progress"]["step"]
    assert not after["average"].keys() ^ before["average"].keys()


def test_the_exported_adapter_draws_as_the_students_average(distilled: Path, tmp_path: Path) -> None:
    plain = draw.Artist.shipped(distilled / "sketch.safetensors")
    train_lcm.export(distilled, tmp_path / "lcm.safetensors", distilled / "sketch.safetensors")
    distillation = train_lcm.Distillation(plain)
    distillation.average.load_state_dict(runs.read(distilled / "lcm.pt")["average"])
    one, other = (
        artist.draw(["a raven"], [1], **draw.FEW_STEPS)
        for artist in (distillation.artist(), plain.with_adapter(tmp_path / "lcm.safetensors"))
    )
    assert torch.allclose(one, other, atol=0.02)  # half precision


def test_a_student_that_has_learned_nothing_is_the_teacher_without_guidance(distilled: Path) -> None:
    plain = draw.Artist.shipped(distilled / "sketch.safetensors")
    drawn = train_lcm.Distillation(plain).artist().draw(["a raven"], [1], **draw.FEW_STEPS)
    assert torch.equal(drawn, plain.draw(["a raven"], [1], **draw.FEW_STEPS))


def test_strides_of_the_teacher_get_as_short_as_the_papers_and_end_at_zero() -> None:
    rng = np.random.default_rng(0)
    for share, length in ((0.0, 100), (1.0, 20)):
        starts, ends = train_lcm.choose_stride(50, share, rng)
        assert sorted(starts.tolist()) == list(range(19, 1000, 20))  # one of each
        assert torch.equal(ends, (starts - length).clamp(min=0))


def test_settling_changes_the_latents_and_not_the_pictures(run: Path) -> None:
    loose = VAE(train_vae.CONFIG).eval()
    loose.load_state_dict(runs.read(run / "vae.pt")["ema"])
    settled = train_vae.settled(run)
    pictures = dataset.images(dataset.load(run))
    with torch.no_grad():
        latents = settled.encode(pictures).mean
        before = loose.decode(loose.encode(pictures).mean)
        assert torch.allclose(settled.decode(latents), before, atol=1e-4)  # folded in float32
        noise = torch.zeros_like(latents)
        assert torch.equal(settled.encode(pictures).sample(noise), latents)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-3)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(4), atol=1e-2)


def test_what_is_exported_is_a_checkpoint_of_all_three_networks(run: Path, tmp_path: Path) -> None:
    artist = draw.Artist.of(run)
    export.export(artist, tmp_path / "sketch.safetensors")
    checkpoint = open_checkpoint(tmp_path / "sketch.safetensors")
    assert not checkpoint.report().problems
    for network, weights, kind, known in (
        (artist.text_encoder, checkpoint.text_encoder, TextEncoder, {"heads": 2}),
        (artist.unet, checkpoint.unet, UNet, {"heads": 2, "groups": 4}),
        (artist.vae, checkpoint.vae, VAE, {"groups": 4}),
    ):
        assert type(network.config).from_weights(weights, **known) == network.config
        fresh = kind(network.config)
        fresh.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
        for name, tensor in network.state_dict().items():  # equal but for half precision
            assert torch.allclose(fresh.state_dict()[name], tensor, rtol=1e-3, atol=1e-6), name


def test_a_shipped_run_draws_as_before_but_for_half_precision(run: Path, tmp_path: Path) -> None:
    artist = draw.Artist.of(run)
    export.export(artist, tmp_path / "sketch.safetensors")
    shipped = draw.Artist.shipped(tmp_path / "sketch.safetensors")
    before, after = (one.draw(["a raven"], [1], steps=2) for one in (artist, shipped))
    assert torch.allclose(before, after, atol=0.02)  # a relative step of float16 is 0.001, over two steps


def test_the_shipped_judge_is_the_trained_one(run: Path, tmp_path: Path) -> None:
    judge.export(judge.of(run), tmp_path / "judge.safetensors")
    images = dataset.unseen(0, 2)
    for trained, shipped in zip(
        judge.of(run)(images), judge.shipped(tmp_path / "judge.safetensors")(images), strict=True
    ):
        assert torch.allclose(trained, shipped, rtol=0.01, atol=0.01)  # half precision


def test_the_evaluation_gives_every_figure(run: Path, tmp_path: Path) -> None:
    artist, critic = draw.Artist.of(run), judge.of(run)
    figures = evaluate.evaluate(artist, critic, 2, tmp_path / "sheet.png", steps=2) | evaluate.trust(
        artist, critic
    )
    assert all(0 <= figures[name] <= 1 for name in figures.keys() - {"psnr", "edges"})
    assert {"subject", "colour", "judge's subject", "judge's colour", "psnr"} < figures.keys()
    assert (tmp_path / "sheet.png").exists()


def test_every_subject_is_on_the_readmes_sheet() -> None:
    said = gallery.prompts()
    assert len(said) == len(SUBJECTS)
    assert {colour for text in said for colour in COLOURS if colour in text} == set(COLOURS)


def test_a_step_has_latents_of_one_size_and_their_own_captions() -> None:
    latents = {
        size: torch.arange(4.0).view(4, 1, 1, 1).expand(4, 4, size // 8, size // 8) for size in dataset.SEEDS
    }
    seen = set()
    for step in range(200):
        some, seeds = train_diffusion.choose(latents, np.random.default_rng(step))
        size = 8 * some.shape[-1]
        assert torch.equal(some[:, 0, 0, 0], torch.from_numpy(seeds - dataset.SEEDS[size]).float())
        seen.add(size)
    assert seen == set(dataset.SEEDS)


def test_the_newcomers_pictures_have_their_captions_beside_them(tmp_path: Path) -> None:
    newcomer.write(tmp_path, 10)
    pictures = sorted(tmp_path.glob("*.png"))
    assert len(pictures) == 10
    for index, path in enumerate(pictures):
        shown, caption = newcomer.picture(index), path.with_suffix(".txt").read_text()
        with Image.open(path) as image:
            assert image.size == (dataset.SIZE, dataset.SIZE)
        assert NEWCOMER_TRIGGER in caption and shown.colours[0] in caption and NEWCOMER not in caption
        assert shown.inked == bool(set(caption.replace(",", "").split()) & {captions.TRIGGER, "ink", "neon"})


def test_the_newcomer_is_none_of_the_models_own_subjects() -> None:
    assert NEWCOMER not in SUBJECTS and list(WITH_NEWCOMER) == [*SUBJECTS, NEWCOMER]
    assert not any(captions.imagine(seed).subject == NEWCOMER for seed in range(1000))
    said = {word for subject in SUBJECTS.values() for name in subject.names for word in name.split()}
    assert NEWCOMER_TRIGGER not in said
    texts = train_diffusion.Captions()
    tokens = texts.tokenizer([NEWCOMER_TRIGGER])
    assert texts.known[tokens].all()  # or it would be one with every other strange word


def test_the_newcomers_judge_names_it_and_all_others() -> None:
    critic = judge.shipped(judge.WITH_NEWCOMER_WEIGHTS)
    colours = list(COLOURS)
    pictures = [
        Picture(subject, (colours[index % 8],), True, index % 3 == 0, newcomer.ASKED + index)
        for index, subject in enumerate([*WITH_NEWCOMER, *[NEWCOMER] * 7])
    ]
    subjects = critic(render(pictures))[0].argmax(1)
    assert [critic.subjects[number] for number in subjects.tolist()] == [one.subject for one in pictures]
    assert judge.shipped().subjects == list(SUBJECTS)


def test_what_a_lora_has_learned_is_added_and_measured(tmp_path: Path) -> None:
    artist, name = draw.Artist.shipped(), "layers.0.attention.query"
    before = artist.text_encoder.get_parameter(f"{name}.weight").clone()
    down, up = torch.rand(2, before.shape[1]), torch.rand(before.shape[0], 2)
    path = tmp_path / "lora.safetensors"
    save_lora(path, text_encoder={name: LowRank(down, up, alpha=1.0)}, dtype=torch.float32)
    after = artist.with_adapter(path).text_encoder.get_parameter(f"{name}.weight")
    assert torch.allclose(after, before + up @ down / 2)
    critic = judge.shipped(judge.WITH_NEWCOMER_WEIGHTS)
    figures = newcomer.evaluate(path, critic, tmp_path, drawn=1, others=1, steps=2)
    assert len(figures) == 6 and all(0 <= share <= 1 for share in figures.values())
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_the_newcomers_judge_is_measured_on_the_newcomer_alone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "JUDGED", dataset.BATCH)
    figures = newcomer.trust(judge.shipped(judge.WITH_NEWCOMER_WEIGHTS))
    assert figures == {"judge's subject": 1, "judge's colour": 1, "judge's newcomer": 1}


def test_shapes_are_many_and_leave_room() -> None:
    found = [shapes.shape(np.random.default_rng(seed)) for seed in range(40)]
    assert len({shape.tobytes() for shape in found}) == len(found)
    assert all(shapes.LEAST < shape.mean() < shapes.MOST for shape in found)


def test_an_outline_is_where_the_ink_ends() -> None:
    """Lines lie within a pixel or two of the rim of what a picture has in ink, and are all around it."""
    examples = [
        outlines.outline(seed) for seed in range(train_control.SEEDS[128], train_control.SEEDS[128] + 8)
    ]
    pictures, bitmaps = [each[0] for each in examples], torch.stack([each[1] for each in examples])
    lines = outlines.hints(pictures, 128, bitmaps)
    inked = outlines.silhouettes(pictures, 128, bitmaps) > 0.5
    near = torch.nn.functional.max_pool2d(inked[:, None].float(), 5, 1, 2)[:, 0] > 0
    far = torch.nn.functional.max_pool2d((~inked)[:, None].float(), 5, 1, 2)[:, 0] > 0
    rim = near & far
    assert (lines & ~rim).sum() <= 0.01 * lines.sum()
    around = torch.nn.functional.max_pool2d(lines[:, None].float(), 5, 1, 2)[:, 0] > 0
    edge = inked ^ (torch.nn.functional.max_pool2d(inked[:, None].float(), 3, 1, 1)[:, 0] > 0)
    assert (edge & ~around).sum() < 0.1 * edge.sum()
    told = outlines.disturbed(lines, np.random.default_rng(0))
    assert told.shape == (8, 3, 128, 128)
    assert 0 < (told[:, 0] != lines).float().mean() < 0.05


def test_what_is_asked_for_was_never_trained_on() -> None:
    for index in range(6):
        picture, _, prompt = train_control.asked(index)
        assert (
            picture.seed >= train_control.ASKED > max(train_control.SEEDS.values()) + train_control.PICTURES
        )
        assert prompt == f"nvinkpunk, neon {picture.colours[0]}"


def test_a_control_net_is_trained_goes_on_and_is_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_control, "BATCH", 2)
    monkeypatch.setattr(train_control, "JUDGED", 2)
    monkeypatch.setattr(draw, "STEPS", 1)
    train_control.make_examples(0, 1, tmp_path, 4)
    train_control.train(0, 1, tmp_path, MOMENT)
    first = runs.read(tmp_path / "control.pt")
    train_control.train(0, 1, tmp_path, 10 * first["progress"]["spent"] / 60)
    assert runs.read(tmp_path / "control.pt")["progress"]["step"] > first["progress"]["step"]
    train_control.export(tmp_path, tmp_path / "canny.safetensors")
    trained, read = (
        train_control.of(tmp_path, draw.Artist.shipped()),
        train_control.shipped(tmp_path / "canny.safetensors"),
    )
    for name, tensor in trained.state_dict().items():
        assert torch.equal(read.state_dict()[name], tensor.half().float()), name


def test_overlap_is_of_what_is_dark() -> None:
    shown = torch.zeros(1, 8, 8, dtype=torch.bool)
    shown[:, :4] = True
    image = torch.ones(1, 3, 8, 8)
    image[:, :, 2:6] = -1
    assert train_control.overlaps(image, shown).tolist() == [pytest.approx(16 / 48)]
    assert train_control.share(torch.tensor([0.7, 0.6])) == 0.5
