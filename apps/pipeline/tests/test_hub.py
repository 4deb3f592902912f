from pathlib import Path
from typing import Any

import inkpunk.models.fetching
import inkpunk_sketch
import pytest
from inkpunk.models.hub import resolve_model
from inkpunk.models.hub_errors import HubError


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """What would have been fetched; the working directory is empty meanwhile."""
    calls = list[tuple[Any, ...]]()

    def fetch(repo: str, file: str | None, half: bool) -> Path:
        calls.append((repo, file, half))
        return Path("fetched")

    monkeypatch.setattr(inkpunk.models.fetching, "fetch", fetch)
    monkeypatch.chdir(tmp_path)
    return calls


@pytest.mark.parametrize(
    ("model", "repo", "file"),
    [
        ("Envvi/Inkpunk-Diffusion", "Envvi/Inkpunk-Diffusion", None),
        ("Envvi/Inkpunk-Diffusion/v2.ckpt", "Envvi/Inkpunk-Diffusion", "v2.ckpt"),
        ("a/b/models/c d.safetensors", "a/b", "models/c d.safetensors"),
    ],
)
def test_a_hub_id_is_fetched(fetched: list[Any], model: str, repo: str, file: str | None) -> None:
    assert resolve_model(model, half=True) == Path("fetched")
    assert fetched == [(repo, file, True)]


@pytest.mark.parametrize("name", ["ink.ckpt", "folder/ink.safetensors", "owner/name", "no suffix"])
def test_what_exists_is_a_path(fetched: list[Any], tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert resolve_model(name) == Path(name)
    assert resolve_model(str(tmp_path / name)) == tmp_path / name
    assert fetched == []


def test_a_tilde_is_the_home_folder(
    fetched: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "ink.ckpt").touch()
    assert resolve_model("~/ink.ckpt") == tmp_path / "ink.ckpt"


@pytest.mark.parametrize(
    "model",
    [
        "ink.safetensors",
        "models/ink.ckpt",
        "./ink",
        "/ink/punk",
        "~/ink",
        "C:\\ink.ckpt",
        "here/models/ink.ckpt",
    ],
)
def test_a_path_mistyped_is_not_looked_up_on_the_hub(fetched: list[Any], tmp_path: Path, model: str) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(HubError, match="no such file or folder"):
        resolve_model(model)
    assert fetched == []


@pytest.mark.parametrize("model", ["", "inkpunk", "a\0b", "x" * 5000, "owner//name", "a/../b", "龍/龍"])
def test_what_is_nothing_at_all_is_refused_with_what_there_is(fetched: list[Any], model: str) -> None:
    if model == "":
        assert resolve_model(model) == Path()  # as everywhere: the working directory
        return
    with pytest.raises(
        HubError, match="no such file or folder, nor a name on the Hugging Face hub"
    ) as refusal:
        resolve_model(model)
    assert "\n" not in str(refusal.value)
    assert fetched == []


def test_the_sketch_is_the_file_in_its_package(
    fetched: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sketch").touch()  # a file of that name is not meant; ./sketch would be
    monkeypatch.setattr(inkpunk_sketch, "weights", lambda: Path("in the package"))
    assert resolve_model("sketch") == Path("in the package")
    assert resolve_model("./sketch") == Path("sketch")


def test_a_missing_sketch_is_said_to_be_missing(fetched: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise FileNotFoundError("the weights are not there")

    monkeypatch.setattr(inkpunk_sketch, "weights", missing)
    with pytest.raises(
        HubError, match="sketch: the weights are not there; or give another model with --model"
    ):
        resolve_model("sketch")
