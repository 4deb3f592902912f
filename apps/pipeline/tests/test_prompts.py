"""The language of prompts, as a request speaks it: what steers at which step, and what a picture remembers."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from inkpunk import Facts, Pipeline, Request, RequestError, read_facts
from inkpunk.cli import main
from inkpunk.cli.options.choices import EMPHASES as TOLD_AGAIN
from inkpunk.models.hashing import file_hash
from inkpunk.pictures.png_text import infotext
from inkpunk.road.programs import PROGRAMS
from inkpunk.road.prompts import Part, Steering, steered, step_finder
from inkpunk.road.trace import trace
from inkpunk.road.wildcards import MOST_BYTES, read_lists
from inkpunk.speed import Speed
from inkpunk.speed.memo import remember_what_stays
from inkpunk_clip import EMPHASES, LANGUAGES, TextEncoder
from inkpunk_sampling import SAMPLERS
from inkpunk_unet import Residuals, UNet
from inkpunk_unet.attention import TransformerBlock
from inkpunk_vae import VAE
from inkpunk_weights import CheckpointError
from inkpunk_winograd import Inner, wrap
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

Networks = tuple[TextEncoder, UNet, VAE]

REQUEST = Request("a raven", "owl", seeds=(3,), steps=4, sampler="euler", spacing="karras")
LONG = "a red fox, " * 30  # 120 tokens, two chunks


def drawn(pipeline: Pipeline, prompt: str = "a raven", **changes: object) -> np.ndarray:
    [picture] = pipeline.generate(replace(REQUEST, prompt=prompt, **changes))
    return np.asarray(picture.image)


def asked(pipeline: Pipeline, request: Request) -> list[tuple[int, float, Tensor]]:
    """The step, the timestep and the context of every call of the UNet."""
    calls: list[tuple[int, float, Tensor]] = []
    step = 0

    def predict(
        latents: Tensor, timestep: float, context: Tensor, residuals: Residuals | None = None
    ) -> Tensor:
        assert latents.shape[0] == context.shape[0]
        calls.append((step, timestep, context))
        return torch.zeros_like(latents)

    plan = pipeline.plan(request)
    road = pipeline.road(plan)
    for each in pipeline.sampled(plan, road.denoise(predict), road.start()):
        step = each.index
    return calls


# -- What changes at a step ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("like", ["inkpunk", "a1111"])  # the others' languages know no switch
@pytest.mark.parametrize("sampler", [name for name, method in SAMPLERS.items() if method.order])
def test_every_sampler_is_steered_by_the_text_of_its_step(
    pipeline: Pipeline, sampler: str, like: str
) -> None:
    request = replace(REQUEST, prompt="[fox:owl:3]", steps=7, sampler=sampler, spacing=None, like=like)
    fox, owl = pipeline.encode_prompts(["fox", "owl"])
    first: dict[int, Tensor] = {}  # calls within a step may be of its end
    for step, _, context in asked(pipeline, request):
        first.setdefault(step, context[-1])
    late = PROGRAMS[like].language.late
    assert len(first) >= 6
    for step, context in first.items():
        assert torch.equal(context, fox if step < 3 + late else owl)


@pytest.mark.parametrize("like", ["comfyui", "diffusers"])
def test_a_step_is_found_where_timesteps_are_rounded(pipeline: Pipeline, like: str) -> None:
    plan = pipeline.plan(replace(REQUEST, like=like, sampler="dpmpp_2m", spacing="karras", steps=12))
    step_of = step_finder(plan, pipeline.schedule)
    calls = asked(pipeline, plan.request)
    assert any(timestep != t for (_, timestep, _), t in zip(calls, plan.path[:-1], strict=True))
    assert [step_of(timestep) for _, timestep, _ in calls] == [*range(12)]


def test_image_to_image_counts_the_steps_that_are_run(pipeline: Pipeline) -> None:
    init = Image.new("RGB", (64, 64), "white")
    request = replace(REQUEST, prompt="[fox:owl:0.5]", steps=8, init=init, strength=0.5)
    ours = pipeline.readings(pipeline.plan(request))[0].parts[0]
    theirs = pipeline.readings(pipeline.plan(replace(request, like="a1111")))[0].parts[0]
    assert [moment.step for moment in ours.moments] == [0, 2]  # half of 4
    assert [moment.step for moment in theirs.moments] == [0, 5]  # half of 8, and one more


def test_a_prompt_that_changes_is_another_picture_and_trace_draws_the_same(pipeline: Pipeline) -> None:
    pictures = [drawn(pipeline, text).tobytes() for text in ("fox", "owl", "[fox:owl:2]", "[fox|owl]")]
    assert len({*pictures}) == 4
    *_, last = trace(pipeline, replace(REQUEST, prompt="[fox|owl] AND cat :0.5"))
    assert last.picture is not None
    assert np.array_equal(np.asarray(last.picture.image), drawn(pipeline, "[fox|owl] AND cat :0.5"))


def test_a_negative_prompt_changes_too(pipeline: Pipeline) -> None:
    negatives = [drawn(pipeline, negative_prompt=text).tobytes() for text in ("fox", "owl", "[fox:owl:2]")]
    assert len({*negatives}) == 3
    assert np.array_equal(
        drawn(pipeline, negative_prompt="[fox:fox:2]"), drawn(pipeline, negative_prompt="fox")
    )


def test_each_text_is_encoded_once_and_its_keys_and_values_too(tiny: Path) -> None:
    pipeline = Pipeline.load(tiny, device="cpu", speed=Speed(memo=False))
    counts: Counter[int] = Counter()

    def count(layer: nn.Module, inner: Inner, tensor: Tensor) -> Tensor:
        counts[id(layer)] += 1
        return inner(layer, tensor)

    with pipeline.unet.awake() as unet, pipeline.text_encoder.awake() as text_encoder:
        blocks = [module for module in unet.modules() if isinstance(module, TransformerBlock)]
        layers = [getattr(block.cross_attention, name) for block in blocks for name in ("key", "value")]
        for layer in layers:
            wrap(layer, count)
        remember_what_stays(unet)
        calls: list[int] = []
        text_encoder.register_forward_hook(lambda *_: calls.append(1))
    pipeline.generate(replace(REQUEST, prompt=f"[fox|{LONG}|fox]", steps=12))
    assert len(calls) == 4  # fox, two chunks of the long one, and the negative prompt
    assert [counts[id(layer)] for layer in layers] == [2] * len(layers)


# -- AND -----------------------------------------------------------------------------------------------------------


def told(latents: Tensor, timestep: float, context: Tensor, residuals: Residuals | None = None) -> Tensor:
    """A UNet that says something else for each latent and each context."""
    return latents * context.mean((1, 2))[:, None, None, None] + context[:, 0, 0][:, None, None, None]


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("fox AND owl", [("fox", 1.0), ("owl", 1.0)]),
        ("fox AND owl :0.5 AND cat :-1", [("fox", 1.0), ("owl", 0.5), ("cat", -1.0)]),
    ],
)
def test_parts_add_up_to_one_prediction(
    pipeline: Pipeline, prompt: str, parts: list[tuple[str, float]], guidance: float
) -> None:
    plan = pipeline.plan(replace(REQUEST, prompt=prompt, guidance=guidance, seeds=(1, 2)))
    latents = torch.randn(2, 4, 8, 8)
    negative = told(latents, 0.0, pipeline.encode_prompts(["owl"] * 2))
    expected = negative.clone()
    for text, weight in parts:
        expected += guidance * weight * (told(latents, 0.0, pipeline.encode_prompts([text] * 2)) - negative)
    ours = pipeline.road(plan).denoise(told)(latents, 999.0)
    assert torch.allclose(ours, expected, atol=1e-4)  # float32 sums of numbers up to 100


def test_outside_of_guidances_interval_the_parts_are_composed_without_its_scale(pipeline: Pipeline) -> None:
    plan = pipeline.plan(replace(REQUEST, prompt="fox AND cat", guidance_interval=(0.28, 5.42)))
    alone = pipeline.plan(replace(REQUEST, prompt="fox AND cat", guidance=1.0))
    latents = torch.randn(1, 4, 8, 8)
    inside, outside = (pipeline.road(plan).denoise(told)(latents, timestep) for timestep in (500.0, 999.0))
    assert torch.equal(outside, pipeline.road(alone).denoise(told)(latents, 999.0))
    assert not torch.equal(inside, outside)


def test_one_part_of_weight_1_is_the_plain_road(pipeline: Pipeline) -> None:
    context, negative, latents = torch.randn(1, 77, 32), torch.randn(1, 77, 32), torch.randn(2, 4, 8, 8)
    plain = steered(lambda timestep: Steering(context, negative), 4.0)(told)(latents, 0.0)
    parts = (Part(0, 1.0), Part(1, 1.0))
    composed = Steering(context.expand(2, -1, -1), negative, parts)
    ours = steered(lambda timestep: composed, 4.0)(told)(latents, 0.0)
    assert torch.allclose(ours, plain, atol=1e-5)  # n + (p - n) is p but for float32's rounding
    with pytest.raises(ValueError, match="negative prompts"):
        steered(lambda timestep: Steering(context), 4.0)(told)(latents, 0.0)


def test_composed_pictures_are_the_same_alone_and_in_a_batch(pipeline: Pipeline) -> None:
    request = replace(REQUEST, prompt="fox AND [owl|cat] :0.5")
    together = pipeline.generate(replace(request, seeds=(2, 3)))[1]
    alone = np.asarray(pipeline.generate(request)[0].image).astype(int)
    assert np.abs(alone - np.asarray(together.image)).max() <= 1  # sums in another order
    assert not np.array_equal(alone, drawn(pipeline, "fox"))
    assert pipeline.plan(replace(request, seeds=(2, 3))).rows == 6
    assert pipeline.plan(replace(REQUEST, seeds=(2, 3))).rows == 4


# -- What a seed chooses -------------------------------------------------------------------------------------------


def test_each_picture_of_a_batch_has_the_text_that_its_seed_chooses(pipeline: Pipeline) -> None:
    request = replace(
        REQUEST, prompt="{red|green|blue} __bird__", negative_prompt="{wolf|cat}", seeds=(0, 1, 4, 5),
        wildcards={"bird": ("raven", "owl")},
    )  # fmt: skip
    pictures = pipeline.generate(request)
    texts = [(picture.facts.prompt, picture.facts.negative_prompt) for picture in pictures]
    assert texts == [request.chosen(seed) for seed in request.seeds]
    assert len({*texts}) == 4, texts
    for picture in pictures:
        facts = picture.facts
        again = replace(
            REQUEST, prompt=facts.prompt, negative_prompt=facts.negative_prompt, seeds=(facts.seed,)
        )
        [same] = pipeline.generate(again)
        assert same.facts == facts.alone
        difference = np.asarray(same.image).astype(int) - np.asarray(picture.image)
        assert np.abs(difference).max() <= 1  # a batch's sums are in another order


def test_texts_of_other_lengths_and_parts_share_a_batch(pipeline: Pipeline) -> None:
    request = replace(REQUEST, prompt="{fox|" + LONG + "|owl AND cat}", seeds=tuple(range(8)))
    pictures = pipeline.generate(request)
    assert len({picture.facts.prompt for picture in pictures}) == 3
    for picture in pictures:
        [same] = pipeline.generate(replace(request, seeds=(picture.facts.seed,)))
        difference = np.asarray(same.image).astype(int) - np.asarray(picture.image)
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"prompt": "__bird__", "wildcards": {"fish": ("cod",)}},
            "__bird__: there is no such list; there are fish",
        ),
        ({"emphasis": "loud"}, "emphasis 'loud': there is none; use mean, plain, from_empty, ignore"),
        (
            {"prompt": "a \udcff raven"},
            "prompt: character 2 is half a surrogate pair, which is no text; give UTF-8",
        ),
        ({"negative_prompt": "\ud800"}, "negative prompt: character 0 is half a surrogate pair"),
        ({"plain_prompt": True, "wildcards": {"fish": ("cod",)}}, "all is text: leave one of them out"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        replace(REQUEST, **changes)


def test_lists_are_the_text_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "animals").mkdir()
    (tmp_path / "colour.txt").write_bytes("\ufeffred\r\n\r\n# warm\r\n  deep blue \r\n龍\n".encode())
    (tmp_path / "animals" / "bird.txt").write_text("raven")
    (tmp_path / "notes.md").write_text("no list")
    assert read_lists(tmp_path) == {"colour": ("red", "deep blue", "龍"), "animals/bird": ("raven",)}


def spoil(folder: Path, what: str) -> Path:
    match what:
        case "missing":
            return folder / "nowhere"
        case "latin-1":
            (folder / "a.txt").write_bytes(b"caf\xe9")
        case "huge":
            with (folder / "a.txt").open("wb") as file:
                file.truncate(MOST_BYTES + 1)
        case _:
            pass
    return folder


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing", "no such folder"),
        ("empty", "no .txt file in it"),
        ("latin-1", "not UTF-8 at byte 3; save it as UTF-8"),
        ("huge", "larger than 16 MiB"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_in_one_line(what: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=words):
        read_lists(spoil(tmp_path, what))


# -- Programs ------------------------------------------------------------------------------------------------------


def test_a_program_brings_its_language() -> None:
    assert {name: program.language for name, program in PROGRAMS.items()} == LANGUAGES
    for name, program in PROGRAMS.items():
        request = replace(REQUEST, like=name)
        assert request.language == program.language
        assert replace(request, emphasis="plain").language.emphasis == "plain"
        assert replace(request, plain_prompt=True).language.grammar == "plain"


@pytest.mark.parametrize("prompt", ["a (raven:1.4), [owl]", LONG + "(fox:1.2)"])
def test_programs_read_the_same_prompt_differently(pipeline: Pipeline, prompt: str) -> None:
    contexts = {
        like: pipeline.contexts(pipeline.plan(replace(REQUEST, prompt=prompt, like=like)))(999.0).prompt
        for like in ("inkpunk", "comfyui", "diffusers")
    }
    rows = {like: context.numpy().tobytes() for like, context in contexts.items()}
    assert len({*rows.values()}) == 3
    theirs = pipeline.contexts(pipeline.plan(replace(REQUEST, prompt=prompt, like="a1111")))(999.0).prompt
    assert torch.equal(theirs, contexts["inkpunk"])  # where nothing changes at a step


@pytest.mark.parametrize("emphasis", EMPHASES)
def test_emphasis_is_chosen_and_remembered(pipeline: Pipeline, emphasis: str) -> None:
    [picture] = pipeline.generate(replace(REQUEST, prompt="a (raven:1.4)", emphasis=emphasis))
    assert picture.facts.emphasis == emphasis
    assert Facts.from_json(picture.facts.to_json()) == picture.facts
    words = {
        "plain": "Emphasis: No norm",
        "ignore": "Emphasis: Ignore",
        "from_empty": "Emphasis: from_empty",
    }.get(emphasis)
    assert words in infotext(picture.facts) if words else "Emphasis" not in infotext(picture.facts)


def test_the_kinds_of_emphasis_steer_differently(sketch: Pipeline) -> None:
    pipeline = sketch  # of the tiny model, all means are 0

    def context(prompt: str, **changes: object) -> bytes:
        plan = pipeline.plan(replace(REQUEST, prompt=prompt, **changes))
        return pipeline.contexts(plan)(999.0).prompt.numpy().tobytes()

    assert len({context("a (raven:1.6)", emphasis=name) for name in EMPHASES}) == len(EMPHASES)
    assert context("a (raven:1.6)", emphasis="ignore") == context("a raven")


def test_a_plain_prompt_is_text_and_says_so(pipeline: Pipeline) -> None:
    text = "a (raven:1.4) {red|green}"
    [picture] = pipeline.generate(replace(REQUEST, prompt=text, plain_prompt=True))
    assert (picture.facts.prompt, picture.facts.plain_prompt) == (text, True)
    assert "Emphasis: None" in infotext(picture.facts)
    with pipeline.text_encoder.awake() as text_encoder, torch.no_grad():
        plain = text_encoder(pipeline.tokenizer([text]))
    plan = pipeline.plan(replace(REQUEST, prompt=text, plain_prompt=True))
    assert torch.equal(pipeline.contexts(plan)(999.0).prompt, plain)


# -- Learned words -------------------------------------------------------------------------------------------------


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture
def embedding(tmp_path: Path, pipeline: Pipeline) -> Path:
    """A file that means "red fox"."""
    folder = tmp_path / "embeddings"
    folder.mkdir()
    with pipeline.text_encoder.awake() as text_encoder:
        vectors = text_encoder.token_embedding.weight[pipeline.tokenizer.encode("red fox")]
    save_file({"emb_params": vectors.clone()}, folder / "Thing.safetensors")
    return folder / "Thing.safetensors"


@pytest.mark.parametrize("given", [lambda path: path, lambda path: path.parent])
def test_a_learned_word_means_what_it_was_made_of(
    tiny: Path, pipeline: Pipeline, embedding: Path, given: Callable[[Path], Path]
) -> None:
    learned = Pipeline.load(tiny, device="cpu", embeddings=[given(embedding)])
    [picture] = learned.generate(
        replace(REQUEST, prompt="a (thing:1.2) at night", negative_prompt="no thing")
    )
    expected = drawn(pipeline, "a (red fox:1.2) at night", negative_prompt="no red fox")
    assert np.array_equal(np.asarray(picture.image), expected)
    digits = file_hash(embedding)[:12]
    assert picture.facts.embeddings == {"Thing": digits}
    assert f'TI hashes: "Thing: {digits}"' in infotext(picture.facts)
    assert Facts.from_json(picture.facts.to_json()) == picture.facts
    assert learned.generate(REQUEST)[0].facts.embeddings == {}


def test_words_can_be_learned_and_forgotten_without_loading_anew(pipeline: Pipeline, embedding: Path) -> None:
    request = replace(REQUEST, prompt="a thing at night")
    plain = drawn(pipeline, request.prompt)
    learned = pipeline.with_embeddings(embedding)
    assert learned.unet is pipeline.unet
    assert np.array_equal(drawn(learned, request.prompt), drawn(pipeline, "a red fox at night"))
    assert np.array_equal(drawn(learned.with_embeddings(), request.prompt), plain)
    assert np.array_equal(drawn(pipeline, request.prompt), plain)  # it stays as it is
    # another word in its place has the same tokens, and draws what it means
    save_file({"emb_params": torch.zeros(2, 32)}, embedding.with_name("Nothing.safetensors"))
    other = learned.with_embeddings(embedding.with_name("Nothing.safetensors"))
    renamed = drawn(other, "a nothing at night")
    assert not np.array_equal(renamed, drawn(learned, request.prompt))
    with pytest.raises(CheckpointError, match="no such file"):
        learned.with_embeddings(embedding.with_name("gone.pt"))


def test_the_command_line_takes_learned_words(tiny: Path, embedding: Path, tmp_path: Path) -> None:
    out = tmp_path / "thing.png"
    save_file({"emb_params": torch.zeros(1, 1024)}, embedding.with_name("other.safetensors"))
    result = run(
        "generate", "a thing", "--model", tiny, "--steps", 1, "--out", out, "--embedding", embedding.parent
    )
    assert result.exit_code == 0, result.output
    assert "Passed over:" in result.output and "it was made for Stable Diffusion 2" in result.output
    assert [*read_facts(out).embeddings] == ["Thing"]
    result = run(
        "generate", "a thing", "--model", tiny, "--embedding", embedding.with_name("other.safetensors")
    )
    assert result.exit_code == 1 and "its vectors are 1024 wide, and this model's are 32" in result.output
    result = run("prompt", "a (thing:1.5)", "--embedding", embedding)
    assert "    1.5  <Thing: 2 learned>" in result.output


def test_two_files_of_one_name_are_refused(tiny: Path, embedding: Path) -> None:
    other = embedding.parent / "more"
    other.mkdir()
    save_file({"emb_params": torch.zeros(1, 32)}, other / "Thing.safetensors")
    result = run(
        "generate", "a thing", "--model", tiny, "--embedding", embedding.parent, "--out", other / "x.png"
    )
    assert result.exit_code == 1
    assert "is called 'Thing', too; rename one of them, or leave it out" in result.output


# -- inkpunk prompt ------------------------------------------------------------------------------------------------


def test_prompt_shows_parts_steps_chunks_tokens_and_weights() -> None:
    result = run("prompt", "a (samurai:1.3) [fox:owl:0.4] AND moon :0.5", "-n", "blurry")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "part 1 of 2, weight 1, steps 1 to 10 of 25: chunk 1 of 1, 3 of 75 tokens",
        "      1  a",
        "    1.3  samurai",
        "      1  fox",
        "part 1 of 2, weight 1, steps 11 to 25 of 25: chunk 1 of 1, 3 of 75 tokens",
        "      1  a",
        "    1.3  samurai",
        "      1  owl",
        "part 2 of 2, weight 0.5: chunk 1 of 1, 1 of 75 tokens",
        "      1  moon",
        "negative prompt: chunk 1 of 1, 1 of 75 tokens",
        "      1  blurry",
    ]


def test_prompt_leaves_out_what_comes_too_late_to_be_drawn() -> None:
    result = run("prompt", "[fox:owl:24]", "--like", "a1111")
    assert [line for line in result.output.splitlines() if "chunk" in line] == [
        "prompt, steps 1 to 25 of 25: chunk 1 of 1, 1 of 75 tokens"
    ]


def test_prompt_tells_what_was_chosen_and_what_is_cut(tmp_path: Path) -> None:
    (tmp_path / "bird.txt").write_text("raven\n")
    result = run("prompt", "{red|green} __bird__", "--wildcards", tmp_path, "--seed", 1)
    assert "prompt, as seed 1 chooses: red raven" in result.output
    result = run("prompt", LONG, "--like", "diffusers")
    assert "chunk 1 of 1, 75 of 75 tokens" in result.output
    assert "The prompt is cut after 77 tokens, as diffusers does" in result.output
    assert "chunk 2 of 2" in run("prompt", LONG).output


def test_prompt_prints_json() -> None:
    result = run("prompt", "a (raven:1.5)", "--json")
    [moment] = json.loads(result.stdout)["parts"][0]["moments"]
    assert moment["line"] == [{"text": "a ", "weight": 1.0}, {"text": "raven", "weight": 1.5}]
    assert len(moment["chunks"][0]["tokens"]) == 77


def test_the_command_line_knows_every_emphasis() -> None:
    assert (*EMPHASES,) == TOLD_AGAIN


def test_generate_takes_the_language_and_the_file_remembers(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "bird.txt").write_text("raven\n")
    out = tmp_path / "raven.png"
    result = run(
        "generate", "a (__bird__:1.2)", "--model", tiny, "--steps", 1, "--wildcards", tmp_path,
        "--emphasis", "plain", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert read_facts(out).prompt == "a (raven:1.2)"
    assert read_facts(out).emphasis == "plain"
    result = run("trace", "(raven)", "--plain-prompt", "--model", tiny, "--steps", 1)
    assert "prompt: chunk 1 of 1, 3 of 75 tokens" in result.output
