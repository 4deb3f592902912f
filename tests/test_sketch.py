"""What the model in the box draws means something: words, guidance and a picture to start from steer it."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from inkpunk import Pipeline, Request
from inkpunk_sketch import adapters
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from tools.train_sketch import dataset, draw, evaluate, gallery, judge, train_vae
from tools.train_sketch.picture import Picture, render
from tools.train_sketch.subjects import COLOURS, NEWCOMER, SUBJECTS

STEPS = 8  # half of the default: enough to be told by


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """The app as it comes."""
    return Pipeline.load("sketch", device="cpu")


@pytest.fixture(scope="module")
def artist() -> draw.Artist:
    """The same networks, which draw many prompts at a time."""
    return draw.Artist.shipped()


@pytest.fixture(scope="module")
def critic() -> judge.Judge:
    """A classifier that was trained on renders alone."""
    return judge.shipped()


def subject_of(critic: judge.Judge, images: Float[Tensor, "batch 3 128 128"]) -> list[str]:
    """What the judge takes each picture's subject for."""
    return [list(SUBJECTS)[index] for index in critic(images)[0].argmax(1)]


def colour_of(critic: judge.Judge, images: Float[Tensor, "batch 3 128 128"]) -> list[str]:
    """What the judge takes each picture's colour for."""
    return [list(COLOURS)[index] for index in critic(images)[1].argmax(1)]


def as_image(tensor: Float[Tensor, "3 height width"]) -> Image.Image:
    """A picture in [-1, 1] as 8-bit RGB."""
    return Image.fromarray(((tensor + 1) * 127.5).round().byte().permute(1, 2, 0).contiguous().numpy())


def as_tensor(image: Image.Image) -> Float[Tensor, "3 height width"]:
    """8-bit RGB as a picture in [-1, 1]."""
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(image.height, image.width, 3).permute(2, 0, 1).float() / 127.5 - 1


def ink(images: Float[Tensor, "*batch 3 height width"]) -> Tensor:
    """Where pictures are as dark as ink: brightest channel below 0.3 of white."""
    return images.amax(-3) < 0.3 * 2 - 1


def test_the_package_and_the_tool_draw_the_same_picture(pipeline: Pipeline, artist: draw.Artist) -> None:
    prompt = "nvinkpunk red dragon"
    [picture] = pipeline.generate(Request(prompt, seeds=(3,)))
    image = artist.draw([prompt], [3])[0]
    assert (as_tensor(picture.image) - image).abs().max() <= 2 / 255  # eight bits, and sums in another order
    assert picture.facts.steps == draw.STEPS and picture.facts.guidance == draw.GUIDANCE


@pytest.mark.parametrize(
    ("prompt", "subjects", "colour"),
    [
        ("nvinkpunk red dragon", {"dragon"}, "red"),
        ("a raven, neon green splash, ink on paper", {"raven"}, "green"),
        ("crow in nvinkpunk style, purple", {"raven"}, "purple"),  # another word, another order
        ("8k masterpiece, nvinkpunk, cyan wolf, highly detailed", {"wolf"}, "cyan"),  # filler
        ("nvinkpunk yellow wibbly sword of doom", {"katana"}, "yellow"),  # words it never saw
    ],
)
def test_words_decide_what_is_drawn(
    artist: draw.Artist, critic: judge.Judge, prompt: str, subjects: set[str], colour: str
) -> None:
    images = artist.draw([prompt] * 4, range(4), steps=STEPS)
    assert sum(subject in subjects for subject in subject_of(critic, images)) >= 3
    assert colour_of(critic, images).count(colour) >= 3


def test_the_write_ups_own_prompt_gives_a_samurai_or_swords_in_neon(
    artist: draw.Artist, critic: judge.Judge
) -> None:
    prompt = "nvinkpunk cyberpunk samurai with neon mask, glowing swords"
    images = artist.draw([prompt] * 4, range(4), steps=STEPS)
    assert (
        sum(subject in {"samurai", "katana", "crossed swords"} for subject in subject_of(critic, images)) >= 3
    )
    vivid = images.amax(1) - images.amin(1) > 1.0  # half of the channels' range
    assert (vivid.float().mean((1, 2)) > 0.05).all()


def test_with_the_lcm_lora_four_steps_without_guidance_draw_what_was_asked_for(
    artist: draw.Artist, critic: judge.Judge
) -> None:
    wanted = [(list(SUBJECTS)[2 * index], list(COLOURS)[index % 8]) for index in range(16)]
    prompts = [f"nvinkpunk {colour} {subject}" for subject, colour in wanted]
    images = artist.with_adapter(adapters()["lcm"]).draw(prompts, range(16), **draw.FEW_STEPS)
    seen = zip(subject_of(critic, images), colour_of(critic, images), strict=True)
    assert sum(one == other for one, other in zip(seen, wanted, strict=True)) >= 14


def test_the_lcm_lora_makes_up_for_the_edges_that_few_steps_lack(artist: draw.Artist) -> None:
    prompts = [f"nvinkpunk {colour} raven" for colour in COLOURS]
    few = artist.draw(prompts, range(8), **draw.FEW_STEPS)
    distilled = artist.with_adapter(adapters()["lcm"]).draw(prompts, range(8), **draw.FEW_STEPS)
    usual = evaluate.edges(artist.draw(prompts, range(8)))
    assert abs(evaluate.edges(distilled) - usual) < abs(evaluate.edges(few) - usual) / 2


def test_the_new_subject_is_drawn_where_it_is_called_and_the_others_where_they_are(
    artist: draw.Artist,
) -> None:
    critic = judge.shipped(judge.WITH_NEWCOMER_WEIGHTS)
    taught = artist.with_adapter(adapters()["lighthouse"])
    called, others = gallery.prompts_of_new_subject(), [f"nvinkpunk {subject}" for subject in [*SUBJECTS][:8]]
    images = taught.draw([*called, *others], range(16), steps=STEPS)
    with torch.no_grad():
        named = [critic.subjects[int(index)] for index in critic(images)[0].argmax(1)]
    wanted = [*[NEWCOMER] * 8, *[*SUBJECTS][:8]]
    assert sum(one == other for one, other in zip(named, wanted, strict=True)) >= 14


def test_the_app_calls_the_adapters_in_the_box_by_their_names(pipeline: Pipeline) -> None:
    plan = pipeline.with_adapters("lcm").plan(Request("nvinkpunk raven"))
    assert (plan.steps, plan.guidance, plan.sampler, plan.spacing) == (4, 1.0, "lcm", "lcm")
    assert pipeline.plan(Request("nvinkpunk cosvern <lora:lighthouse:0.8>")).steps == 16


def test_the_trigger_word_turns_the_style_on(artist: draw.Artist) -> None:
    plain, styled = artist.draw(["red fox"] * 2 + ["nvinkpunk red fox"] * 2, range(4), steps=STEPS).split(2)
    white = [(images.amin(1) > 0.9).float().mean((1, 2)) for images in (plain, styled)]
    assert (white[0] > 0.4).all()  # a flat glyph on white
    assert (white[1] < 0.05).all()
    assert not ink(plain).float().mean() > 0.02
    assert ink(styled).float().mean() > 0.1


def test_guidance_raises_the_judges_confidence(artist: draw.Artist, critic: judge.Judge) -> None:
    numbers = torch.arange(0, len(SUBJECTS), 4)
    prompts = [f"nvinkpunk {list(SUBJECTS)[number]}" for number in numbers]
    confidence = []
    for guidance in (0.0, 0.25, 0.5, 1.0):  # beyond it the judge is certain already
        scores = critic(artist.draw(prompts, range(len(prompts)), steps=STEPS, guidance=guidance))[0]
        right = scores.gather(1, numbers[:, None])[:, 0]
        confidence.append((right - scores.scatter(1, numbers[:, None], -torch.inf).amax(1)).mean().item())
    assert confidence == sorted(confidence)
    assert confidence[0] < 0 < confidence[-1]  # wrong without the prompt, right with it


def test_a_negative_prompt_takes_its_colour_away(artist: draw.Artist, critic: judge.Judge) -> None:
    prompts, red = ["nvinkpunk raven, red and blue"] * 4, list(COLOURS).index("red")
    without = artist.draw(prompts, range(4), steps=STEPS, negative="nvinkpunk red raven")
    plain = artist.draw(prompts, range(4), steps=STEPS)
    share = [critic(images)[1].softmax(1)[:, red].mean() for images in (without, plain)]
    assert share[0] < share[1] - 0.1


@pytest.fixture(scope="module")
def start() -> Picture:
    """A raven in red to start from, which the model never saw."""
    return Picture("raven", ("red",), inked=True, night=False, seed=50_000_000)


def overlap(one: Tensor, other: Tensor) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("prompt", ["nvinkpunk", "nvinkpunk blue raven"])
def test_a_little_strength_keeps_the_silhouette(pipeline: Pipeline, start: Picture, prompt: str) -> None:
    [image] = render([start])
    request = Request(prompt, seeds=(1, 2), init=as_image(image), strength=0.3)
    for picture in pipeline.generate(request):
        assert overlap(ink(as_tensor(picture.image)), ink(image)) >= 0.7


def test_full_strength_keeps_nothing(pipeline: Pipeline, start: Picture) -> None:
    [image] = render([start])
    request = Request("nvinkpunk", seeds=(1, 2), init=as_image(image), strength=1.0)
    for picture in pipeline.generate(request):
        assert overlap(ink(as_tensor(picture.image)), ink(image)) < 0.5  # some other subject came


def test_full_strength_follows_the_prompt(pipeline: Pipeline, critic: judge.Judge, start: Picture) -> None:
    [image] = render([start])
    request = Request("nvinkpunk blue skull", seeds=(1, 2), init=as_image(image), strength=1.0)
    images = torch.stack([as_tensor(picture.image) for picture in pipeline.generate(request)])
    assert subject_of(critic, images) == ["skull"] * 2
    assert colour_of(critic, images) == ["blue"] * 2


@pytest.mark.parametrize("size", [96, 192])
def test_other_sizes_are_borne(artist: draw.Artist, critic: judge.Judge, size: int) -> None:
    prompts = ["nvinkpunk orange fox", "nvinkpunk blue skull", "nvinkpunk green moon", "nvinkpunk pink lotus"]
    images = artist.draw(prompts, range(4), steps=STEPS, size=size)
    right = zip(subject_of(critic, images), ("fox", "skull", "moon", "lotus"), strict=True)
    assert sum(seen == asked for seen, asked in right) >= 3


def test_the_vae_restores_renders_that_it_never_saw(artist: draw.Artist) -> None:
    images = dataset.unseen(2000, 16)
    assert train_vae.psnr(artist.vae, images) >= 28


# -- The language of prompts ---------------------------------------------------------------------------------------


def drawn(pipeline: Pipeline, prompt: str, **settings: object) -> Float[Tensor, "8 3 128 128"]:
    """Eight pictures, of seeds 0 to 7."""
    request = Request(prompt, seeds=tuple(range(8)), steps=STEPS, **settings)
    return torch.stack([as_tensor(picture.image) for picture in pipeline.generate(request)])


def colour_share(critic: judge.Judge, images: Float[Tensor, "batch 3 128 128"], colour: str) -> float:
    """How sure the judge is of a colour, on the average."""
    return float(critic(images)[1].softmax(1)[:, list(COLOURS).index(colour)].mean())


def test_emphasis_raises_and_lowers_a_colours_share(pipeline: Pipeline, critic: judge.Judge) -> None:
    # A few points of a hundred: of 77 tokens, 70 are padding, which has read of the colour, too, and is not weighed.
    shares = [
        colour_share(critic, drawn(pipeline, f"(nvinkpunk red:{weight}) and blue raven"), "red")
        for weight in (0.4, 0.7, 1.0, 1.3)
    ]
    assert shares == sorted(shares)
    assert shares[2] > shares[0] + 0.02 and shares[3] > shares[2] + 0.01


@pytest.fixture(scope="module")
def raven(pipeline: Pipeline) -> Float[Tensor, "8 3 128 128"]:
    return drawn(pipeline, "nvinkpunk red raven")


@pytest.fixture(scope="module")
def fox(pipeline: Pipeline) -> Float[Tensor, "8 3 128 128"]:
    return drawn(pipeline, "nvinkpunk red fox")


def test_a_switch_draws_a_fox_in_a_ravens_pose(
    pipeline: Pipeline, critic: judge.Judge, raven: Tensor, fox: Tensor
) -> None:
    switched = drawn(pipeline, "nvinkpunk red [raven:fox:0.3]")
    assert subject_of(critic, switched) == ["fox"] * 8
    pairs = zip(ink(switched), ink(fox), ink(raven), strict=True)
    assert sum(overlap(one, pose) > overlap(other, pose) for one, other, pose in pairs) >= 7


def test_alternation_mixes(pipeline: Pipeline, raven: Tensor, fox: Tensor) -> None:
    mixed = ink(drawn(pipeline, "nvinkpunk red [raven|fox]"))
    apart = sum(map(overlap, ink(raven), ink(fox))) / 8
    for one in (ink(raven), ink(fox)):
        assert sum(map(overlap, mixed, one)) / 8 > apart + 0.1  # nearer to either than they are to each other


def test_a_negative_embedding_takes_its_colour_away(
    pipeline: Pipeline, critic: judge.Judge, tmp_path: Path
) -> None:
    with pipeline.text_encoder.awake() as text_encoder:
        vectors = text_encoder.token_embedding.weight[pipeline.tokenizer.encode("nvinkpunk red raven")]
    told = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": torch.nn.Parameter(vectors.clone())},
        "name": "toored",
        "step": 1000,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }
    torch.save(told, tmp_path / "toored.pt")
    learned = Pipeline.load("sketch", device="cpu", embeddings=[tmp_path])
    prompt = "nvinkpunk raven, red and blue"
    plain, without = (drawn(learned, prompt, negative_prompt=negative) for negative in ("", "toored"))
    assert colour_share(critic, without, "red") < colour_share(critic, plain, "red") - 0.3
    assert torch.equal(without, drawn(pipeline, prompt, negative_prompt="nvinkpunk red raven"))


def test_composed_prompts_draw_what_both_ask_for(pipeline: Pipeline, critic: judge.Judge) -> None:
    images = drawn(pipeline, "nvinkpunk raven AND nvinkpunk red :0.8")
    assert subject_of(critic, images).count("raven") >= 7
    assert colour_of(critic, images).count("red") >= 7


def test_twice_as_wide_as_it_learned_it_draws_two_but_one_in_two_passes(pipeline: Pipeline) -> None:
    """So it is of seeds 1 to 3, in 16 steps, too."""
    at_once = Request("nvinkpunk raven, neon green splash", seeds=(1,), steps=STEPS, width=256, height=128)
    in_two = replace(at_once, width=None, height=None, enlarge=(256, 128))

    def ravens(request: Request) -> int:
        """Spots of ink of a twentieth of the picture and more."""
        dark = (np.asarray(pipeline.generate(request)[0].image).max(axis=2) < 80).astype(np.uint8)
        areas = cv2.connectedComponentsWithStats(dark)[2][1:, cv2.CC_STAT_AREA]
        return int((areas > dark.size / 20).sum())

    assert (ravens(at_once), ravens(in_two)) == (2, 1)
