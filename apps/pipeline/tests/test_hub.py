from pathlib import Path
from typing import Any

import inkpunk.models.fetching
import inkpunk_sketch
import pytest
from inkpunk.models.hub import resolve_image_encoder, resolve_model, resolve_network, short_name
from inkpunk.models.hub_errors import HubError
from inkpunk.models.hub_files import choose_network_files


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """What would have been fetched; the working directory is empty meanwhile."""
    calls = list[tuple[Any, ...]]()

    def fetch(repo: str, file: str | None, revision: str, half: bool) -> Path:
        calls.append((repo, file, revision, half))
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
    assert fetched == [(repo, file, "main", True)]


def test_a_network_of_the_hub_is_fetched_and_a_file_that_is_not_there_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = list[tuple[Any, ...]]()

    def fetch(repo: str, file: str | None, **settings: Any) -> Path:
        calls.append((repo, file, settings["half"], settings["choose"]))
        return Path("fetched")

    monkeypatch.setattr(inkpunk.models.fetching, "fetch", fetch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.pth").touch()
    assert resolve_network("own.pth") == Path("own.pth")
    name = "lllyasviel/control_v11p_sd15_canny"
    assert resolve_network(name, half=True) == Path("fetched")
    assert resolve_network(f"{name}/canny.pth") == Path("fetched")
    assert calls == [
        (name, None, True, choose_network_files),
        (name, "canny.pth", False, choose_network_files),
    ]
    for path in ("nowhere.pth", "nets/nowhere.pth", "./own/net", "nowhere"):
        with pytest.raises(HubError, match="no such file or folder"):
            resolve_network(path)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("encoder", "repo", "file"), [(None, "h94/IP-Adapter", None), ("own/clip", "own/clip", None),
                                  ("own/clip/a/model.safetensors", "own/clip", "a/model.safetensors")],
)  # fmt: skip
def test_an_image_encoder_is_fetched_from_where_the_image_prompt_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoder: str | None, repo: str, file: str | None
) -> None:
    calls = list[tuple[str, str | None, str, bool]]()

    def fetch(repo: str, file: str | None, revision: str, half: bool, choose: object) -> Path:
        calls.append((repo, file, revision, half))
        return tmp_path

    monkeypatch.setattr(inkpunk.models.fetching, "fetch", fetch)
    adapter = "h94/IP-Adapter@main/models/ip-adapter_sd15.safetensors"
    found = tmp_path / "models" / "ip-adapter_sd15.safetensors"
    (tmp_path / "models" / "image_encoder").mkdir(parents=True)  # perhaps not all of it is here yet
    inside = tmp_path / "models" / "image_encoder"
    assert resolve_image_encoder(encoder, adapter, found, half=True) == inside
    assert calls == [(repo, file, "main", True)]
    found.touch()
    assert resolve_image_encoder(None, found, found) == inside
    assert resolve_image_encoder(tmp_path, adapter, found) == inside
    assert len(calls) == 1


ADDRESSES = {
    "https://huggingface.co/own/ink": "own/ink",
    "http://HuggingFace.co/own/ink/": "own/ink",
    "https://www.huggingface.co/own/ink?library=diffusers#usage": "own/ink",
    "https:/huggingface.co/own/ink": "own/ink",  # a Path of it
    " https://hf.co/own/ink\n": "own/ink",
    "huggingface.co/own/ink": "own/ink",
    "https://huggingface.co/own/ink/discussions/3": "own/ink",
    "https://huggingface.co/own/ink/tree/main": "own/ink",
    "https://huggingface.co/own/ink/tree/fp16/": "own/ink@fp16",
    "https://huggingface.co/own/ink/tree/refs%2Fpr%2F3": "own/ink@refs/pr/3",
    "https://huggingface.co/own/ink/commit/abc123": "own/ink@abc123",
    "https://huggingface.co/own/ink/blob/main/v2.ckpt": "own/ink/v2.ckpt",
    "https://huggingface.co/own/ink/resolve/main/v2.safetensors?download=true": "own/ink/v2.safetensors",
    "https://huggingface.co/own/ink/blob/refs/pr/3/a/c%20d.ckpt": "own/ink@refs/pr/3/a/c d.ckpt",
    "https://mirror.test/own/ink/resolve/v1.0/v2.ckpt": "own/ink@v1.0/v2.ckpt",
    "own/ink/": "own/ink",
    "own/ink@main": "own/ink",
    "own/ink@fp16": "own/ink@fp16",
    "own/ink@v1.0/a/v2.ckpt": "own/ink@v1.0/a/v2.ckpt",
    "own/ink@refs/pr/3/v2.ckpt": "own/ink@refs/pr/3/v2.ckpt",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_address_of_a_page_is_the_model_on_it(
    fetched: list[Any], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.test")
    assert resolve_model(address) == Path("fetched")
    [(repo, file, revision, _)] = fetched
    at = "" if revision == "main" else f"@{revision}"
    assert f"{repo}{at}" + (f"/{file}" if file else "") == ADDRESSES[address] == short_name(address)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://huggingface.co/datasets/own/ink", "not the page of a model; give a model of the hub"),
        ("https://huggingface.co/spaces/own/ink/tree/main", "not the page of a model"),
        ("https://huggingface.co/own", "not the page of a model"),
        ("https://huggingface.co", "not the page of a model"),
        ("https://huggingface.co/own/ink/tree/v1/unet", "give own/ink@v1$"),
        ("https://huggingface.co/own/ink/tree/..", "no revision"),
        ("https://huggingface.co/own/ink/blob/main/a%0Ab", "no revision"),
        ("https://huggingface.co/own/i%0Ank", "no name that the hub allows"),
        (
            "https://civitai.com/models/4201",
            "civitai.com is not the Hugging Face hub; download the checkpoint",
        ),
        ("civitai.com/models/4201", "download the checkpoint there and give its path"),
        ("https://huggingface.co.evil.test/own/ink", "is not the Hugging Face hub"),
        ("https://[", "is not the Hugging Face hub"),
        ("https://huggingface.co:x/own/ink", "is not the Hugging Face hub"),
    ],
)
def test_an_address_of_no_model_is_refused_in_one_line(fetched: list[Any], address: str, reason: str) -> None:
    with pytest.raises(HubError, match=reason) as refusal:
        resolve_model(address)
    assert str(refusal.value).startswith(address)
    assert "\n" not in str(refusal.value)
    assert fetched == []
    assert short_name(address) == address


@pytest.mark.parametrize("model", ["a/b@", "a/b@..", "a/b@x\ny", "a/b/x\ny"])
def test_a_revision_that_is_none_is_refused(fetched: list[Any], model: str) -> None:
    with pytest.raises(HubError, match="nor a name on the Hugging Face hub") as refusal:
        resolve_model(model)
    assert "\n" not in str(refusal.value)
    assert fetched == []


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
