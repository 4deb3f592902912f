"""Learned words: which prompts may use, and that a file which comes later needs no other start."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from inkpunk import Lora, Order, Pipeline
from inkpunk.orders.choice import ModelChoice
from inkpunk.pictures.png_text import read_facts
from inkpunk_studio.http.a1111.listing import embeddings
from inkpunk_studio.page.adapters import with_word
from inkpunk_studio.page.fields import DEFAULT, model_of
from inkpunk_studio.page.reading import ModelWords, reading_of
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.drawing import Easel
from inkpunk_studio.work.inspecting import Inspected
from inkpunk_studio.work.models import Models
from safetensors.torch import save_file

Make = Callable[..., Order]
PATIENCE = 30.0


def write(path: Path, sketch: Pipeline, *, width: int | None = None, value: float = 0.5) -> Path:
    """A learned word of two vectors, for the model in the box or for one of another width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    vectors = torch.full((2, width or sketch.text_encoder.config.width), value)
    save_file({"emb_params": vectors}, path)
    return path


@pytest.fixture
def folder(tmp_path: Path, sketch: Pipeline) -> Path:
    folder = tmp_path / "models"
    write(folder / "words" / "neon.safetensors", sketch)
    write(folder / "elsewhere.safetensors", sketch, width=1024)
    return folder


def words_of(models: Models) -> list[str]:
    return [each.name for each in models.words_for()]


def test_those_of_folders_and_of_the_start_are_there_each_once_and_others_are_told_apart(
    settings: Settings, folder: Path, tmp_path: Path, sketch: Pipeline
) -> None:
    models = Models(replace(settings, models=(folder,)))
    assert words_of(models) == ["neon"]
    assert [each.name for each in models.words.other(models.shape("sketch"))] == ["elsewhere"]
    assert [each.name for each in models.known()] == ["sketch"]  # it is no model
    own = write(tmp_path / "own" / "neon.safetensors", sketch, value=0.1)
    for given in (own, own.parent):
        started = Models(replace(settings, models=(folder,), choice=ModelChoice(embeddings=(given,))))
        assert [each.path for each in started.words.fitting(started.shape("sketch"))] == [own]
    write(folder / "later.safetensors", sketch)
    assert sorted(words_of(models)) == ["later", "neon"]


def test_a_word_that_comes_while_the_studio_runs_is_drawn_by_the_same_model(
    open_desk: Callable[..., Desk], sketch: Pipeline, folder: Path, order: Make
) -> None:
    loads = list[object]()

    def load(choice: object) -> Pipeline:
        loads.append(choice)
        return sketch

    desk = open_desk(models=(folder,), load=load)

    def drawn(prompt: str) -> Path:
        job = desk.wait(desk.submit([order(prompt=prompt)], client="test").id, PATIENCE)
        assert job.state == "done", job.error
        return job.drawn[0].path

    assert [*read_facts(drawn("a neon glyph")).embeddings] == ["neon"]
    assert [*read_facts(drawn("a raven")).embeddings] == []
    write(folder / "glyph.safetensors", sketch)
    with_glyph = read_facts(drawn("a neon glyph")).embeddings
    assert [*with_glyph] == ["glyph", "neon"]
    write(folder / "glyph.safetensors", sketch, value=0.25)
    os.utime(folder / "glyph.safetensors", (1, 1))  # a file system may not tell so short a time
    assert read_facts(drawn("a neon glyph")).embeddings["glyph"] != with_glyph["glyph"]
    assert len(loads) == 1


def test_words_go_with_adapters_and_are_gone_with_their_files(
    sketch: Pipeline, settings: Settings, folder: Path
) -> None:
    models = Models(replace(settings, models=(folder,)))
    easel, choice, loras = Easel(lambda _: sketch), models.choice(), (Lora("lighthouse", 0.5),)
    words = models.words.fitting(models.shape("sketch"))
    adapted = easel.pipeline(choice, loras)
    learned = easel.pipeline(choice, loras, words=words)
    assert [*learned.learned.paths] == ["neon"] and learned.loras == adapted.loras
    assert learned.unet is adapted.unet  # nothing was merged anew
    assert [*easel.pipeline(choice, words=words).learned.paths] == ["neon"]
    assert not easel.pipeline(choice, loras).learned.paths


def test_a_model_of_which_nothing_was_known_takes_those_that_fit(
    sketch: Pipeline, settings: Settings, folder: Path
) -> None:
    models = Models(replace(settings, models=(folder,)))
    every = (*models.words.fitting(models.shape("sketch")), *models.words.other(models.shape("sketch")))
    easel = Easel(lambda _: sketch)
    assert [*easel.pipeline(models.choice(), words=every).learned.paths] == ["neon"]


def test_a_file_of_the_start_that_is_none_is_told_to_who_draws(
    open_desk: Callable[..., Desk], tmp_path: Path, order: Make
) -> None:
    (tmp_path / "broken.pt").write_bytes(b"no such thing")
    desk = open_desk(choice=ModelChoice(embeddings=(tmp_path / "broken.pt",)))
    job = desk.wait(desk.submit([order()], client="test").id, PATIENCE)
    assert job.state == "failed" and job.error is not None and "broken.pt" in job.error


def test_a1111_lists_what_fits_and_what_does_not(settings: Settings, folder: Path) -> None:
    told = embeddings(Models(replace(settings, models=(folder,))))
    assert told["loaded"]["neon"]["vectors"] == 2 and told["loaded"]["neon"]["shape"] < 1024
    assert told["skipped"]["elsewhere"]["shape"] == 1024
    assert {part: [*told[part]] for part in told} == {"loaded": ["neon"], "skipped": ["elsewhere"]}


def test_prompts_are_read_with_the_words_that_are_there(
    settings: Settings, folder: Path, sketch: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inkpunk_studio.page.reading.LOOK_EVERY", 0.0)
    words = ModelWords(Models(replace(settings, models=(folder,))))
    told, _ = reading_of({"prompt": "a (neon:1.2) glyph"}, words.now())
    assert '<i class="learned">neon: 2 learned</i>' in told
    assert "<i>gly</i><i>ph</i>" in told
    write(folder / "glyph.safetensors", sketch)
    assert "glyph: 2 learned" in reading_of({"prompt": "a glyph"}, words.now())[0]
    assert "learned" not in reading_of({"prompt": "a neon glyph"})[0]


def test_prompts_are_read_with_the_words_of_the_model_that_is_chosen_for_them(
    settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "wide.safetensors").write_bytes(b"")
    models = Models(replace(settings, models=(folder,)))
    shape = models.shape
    monkeypatch.setattr(
        models, "shape", lambda name: Inspected("model", context=1024) if name == "wide" else shape(name)
    )
    words = ModelWords(models)
    for chosen, learned in ((DEFAULT, "neon"), ("sketch", "neon"), ("wide", "elsewhere"), ("gone", None)):
        model = model_of(chosen)
        told, _ = reading_of({"prompt": "neon elsewhere"}, words.now(model))
        assert re.findall(r">(\w+): 2 learned", told) == [each for each in (learned,) if each]
        assert [each.name for each in models.words_for(model)] == [each for each in (learned,) if each]


@pytest.mark.parametrize(
    ("prompt", "word", "written"),
    [
        ("a raven", "neon", "a raven, neon"),
        ("a raven, ", "neon", "a raven, neon"),
        ("", "neon", "neon"),
        (None, "neon", "neon"),
        ("a raven", None, "a raven"),
    ],
)
def test_a_word_is_written_at_the_prompts_end(prompt: str | None, word: str | None, written: str) -> None:
    assert with_word(prompt, word) == written
