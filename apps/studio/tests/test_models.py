import json
from dataclasses import replace
from pathlib import Path

import pytest
from inkpunk.models.hub import SKETCH
from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.values import OrderError
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.models import Models


def diffusers_folder(folder: Path, kind: str) -> None:
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    (folder / "unet.safetensors").write_bytes(b"1234")


@pytest.fixture
def folders(settings: Settings, tmp_path: Path) -> Settings:
    """Some models in a folder, and some in the hub's cache."""
    models, hub = tmp_path / "models", tmp_path / "hub"
    diffusers_folder(models / "paint", "StableDiffusionPipeline")
    diffusers_folder(models / "large", "StableDiffusionXLPipeline")
    (models / "more").mkdir()
    for name in ("raven.safetensors", "more/fox.ckpt", "notes.txt", ".hidden.ckpt"):
        (models / name).write_bytes(b"12")
    diffusers_folder(hub / "models--Envvi--Inkpunk-Diffusion" / "snapshots" / "1", "StableDiffusionPipeline")
    diffusers_folder(hub / "models--other--voice" / "snapshots" / "1", "SpeechPipeline")
    (hub / "models--empty--one").mkdir()
    return replace(settings, models=(models, tmp_path / "gone"), hub=hub)


def test_models_are_listed_by_name_from_folders_and_the_hubs_cache(folders: Settings) -> None:
    known = {each.name: each for each in Models(folders).known()}
    assert [*known] == ["sketch", "more/fox", "paint", "raven", "Envvi/Inkpunk-Diffusion"]
    assert known["raven"].bytes == 2
    assert not any(str(folders.models[0]) in str(each) for each in known.values())


def test_a_model_is_chosen_by_its_name_title_or_file(folders: Settings) -> None:
    models = Models(replace(folders, choice=ModelChoice(device="cpu", tiled=True)))
    path = str(folders.models[0] / "raven.safetensors")
    for told in ("raven", "raven.safetensors", "raven [0123456789]"):
        assert models.choice(told) == ModelChoice(path, device="cpu", tiled=True)
    assert models.choice().model == SKETCH


@pytest.mark.parametrize("told", ["/etc/passwd", "../raven", "ravens", "", "other/voice", "more/../raven"])
def test_what_is_not_listed_is_refused(folders: Settings, told: str) -> None:
    with pytest.raises(OrderError, match="is not among those listed; did you mean"):
        Models(folders).choice(told)


def test_the_model_that_the_studio_was_started_with_is_current_and_listed_once(folders: Settings) -> None:
    path = str(folders.models[0] / "raven.safetensors")
    models = Models(replace(folders, choice=ModelChoice(path)))
    names = [each.name for each in models.known()]
    assert (models.current, names[0], names.count("raven")) == ("raven", "raven", 1)
    assert models.use("sketch") == models.current == "sketch"
