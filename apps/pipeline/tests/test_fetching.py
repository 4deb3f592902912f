import hashlib
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub.file_download
import pytest
from huggingface_hub import constants
from inkpunk.models.fetching import fetch
from inkpunk.models.hub_errors import HubError
from inkpunk.models.hub_files import choose_network_files

REPO = "ink/punk"
WEIGHTS = {
    "text_encoder/model.safetensors": b"t" * 3000,
    "unet/diffusion_pytorch_model.safetensors": bytes(range(256)) * 400,
    "vae/diffusion_pytorch_model.safetensors": b"v" * 2000,
}
CONFIGS = {
    "model_index.json": b"{}",
    "scheduler/scheduler_config.json": b'{"a": 1}',
    "text_encoder/config.json": b'{"b": 2}',
    "tokenizer/vocab.json": b'{"e": 5}',
    "unet/config.json": b'{"c": 3}',
    "vae/config.json": b'{"d": 4}',
}
NEEDLESS = {
    "README.md": b"hello",
    "v1.ckpt": b"c" * 9000,
    "safety_checker/model.safetensors": b"s" * 9000,
    "unet/diffusion_pytorch_model.bin": b"b" * 9000,
}
UNET = "unet/diffusion_pytorch_model.safetensors"


@dataclass
class Hub:
    """A stand-in for the Hugging Face hub: one repository, in as many routes as its client uses.

    Attributes:
        files: content by path; what is longer than 1000 bytes is "large", stored apart from git.
        requests: (method, path in the repository or "listing", Range) of every request so far.
        denied: what to answer downloads with: (status, X-Error-Code).
        cut: called with path and content about to be sent; returns how much of it to send before hanging up.
    """

    files: dict[str, bytes]
    commit: str = "1" * 40
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    denied: tuple[int, str] | None = None
    cut: Callable[[str, bytes], int] = lambda path, content: len(content)
    endpoint: str = ""

    def downloaded(self) -> set[str]:
        return {path for method, path, _ in self.requests if method == "GET" and path != "listing"}

    def siblings(self) -> list[dict[str, Any]]:
        return [
            {"rfilename": name, "size": len(content)}
            | (
                {"lfs": {"sha256": etag(content), "size": len(content), "pointerSize": 130}}
                if large(content)
                else {}
            )
            for name, content in self.files.items()
        ]


def large(content: bytes) -> bool:
    return len(content) > 1000


def etag(content: bytes) -> str:
    return (hashlib.sha256 if large(content) else hashlib.sha1)(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        if match := re.fullmatch(r"/api/models/(\w+/[\w-]+)/revision/(\w+)", path):
            hub.requests.append((self.command, "listing", None))
            if match[1] != REPO:
                self.send(404, b"", {"X-Error-Code": "RepoNotFound"}, with_body)
            elif match[2] not in ("main", hub.commit):
                self.send(404, b"", {"X-Error-Code": "RevisionNotFound"}, with_body)
            else:
                body = {"id": REPO, "modelId": REPO, "sha": hub.commit, "siblings": hub.siblings()}
                self.send(200, json.dumps(body).encode(), {}, with_body)
        elif match := re.fullmatch(rf"/{REPO}/resolve/{hub.commit}/(.*)", path):
            hub.requests.append((self.command, match[1], self.headers["Range"]))
            if hub.denied:
                self.send(hub.denied[0], b"", {"X-Error-Code": hub.denied[1]}, with_body)
            else:
                self.send_file(match[1], with_body)
        else:
            self.send(404, b"", {}, with_body)

    def send_file(self, name: str, with_body: bool) -> None:
        content = self.hub.files[name]
        headers = {"ETag": f'"{etag(content)}"', "X-Repo-Commit": self.hub.commit, "Accept-Ranges": "bytes"}
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1]) if self.headers["Range"] else 0
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send(
            206 if start else 200, content[start:], headers, with_body, self.hub.cut(name, content[start:])
        )

    def send(
        self, status: int, body: bytes, headers: dict[str, str], with_body: bool, upto: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(body)), "Connection": "close"}).items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body[:upto])
        self.close_connection = True


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub(dict(NEEDLESS | CONFIGS | WEIGHTS))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("ThisHandler", (Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_waiting_and_no_real_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.file_download.time, "sleep", lambda seconds: None)
    nobody = "http://127.0.0.1:9"  # nothing leaves this machine
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, nobody)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", nobody)
    # What fills no chunk is lost when a connection breaks: small files, small chunks.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def get(hub: Hub, tmp_path: Path) -> Callable[..., Path]:
    def get(repo: str = REPO, file: str | None = None, **options: Any) -> Path:
        options = {"endpoint": hub.endpoint, "cache": tmp_path / "cache", "progress": False} | options
        return fetch(repo, file, **options)

    return get


Get = Callable[..., Path]


def test_only_what_is_needed_is_downloaded(hub: Hub, get: Get) -> None:
    folder = get()
    assert hub.downloaded() == {*CONFIGS, *WEIGHTS}
    for name, content in (CONFIGS | WEIGHTS).items():
        assert (folder / name).read_bytes() == content


def test_of_one_network_its_config_and_one_set_of_weights_are_downloaded(hub: Hub, get: Get) -> None:
    """As ControlNets are published; in half precision where that is asked for."""
    network = {"config.json": b"{}", "diffusion_pytorch_model.safetensors": b"w" * 4000}
    half = {"diffusion_pytorch_model.fp16.safetensors": b"h" * 2000}
    hub.files = {"README.md": b"hello", "diffusion_pytorch_model.bin": b"b" * 4000} | network | half
    folder = get(choose=choose_network_files)
    assert hub.downloaded() == {*network}
    assert (folder / "config.json").read_bytes() == b"{}"
    get(choose=choose_network_files, half=True)
    assert hub.downloaded() == {*network, *half}
    hub.files = {"control_v11p_sd15_canny.pth": b"c" * 2000}
    hub.commit = "2" * 40
    with pytest.raises(
        HubError, match=r"is not one network: .* one of its files: control_v11p_sd15_canny\.pth"
    ):
        get(choose=choose_network_files, revision="2" * 40)


def test_what_is_in_the_cache_is_used_without_the_network(hub: Hub, get: Get) -> None:
    folder = get()
    hub.requests.clear()
    assert get() == folder
    assert hub.requests == []


def test_a_file_deleted_from_the_cache_is_fetched_again(hub: Hub, get: Get) -> None:
    folder = get()
    (folder / UNET).resolve().unlink()
    (folder / UNET).unlink()
    hub.requests.clear()
    assert (get() / UNET).read_bytes() == WEIGHTS[UNET]
    assert hub.downloaded() == {UNET}


def test_a_single_file_repository_gives_the_file(hub: Hub, get: Get) -> None:
    hub.files = {"README.md": b"hello", "ink.safetensors": b"i" * 5000}
    assert get().name == "ink.safetensors"
    assert get().read_bytes() == b"i" * 5000
    assert hub.downloaded() == {"ink.safetensors"}


def test_a_single_file_comes_with_the_config_beside_it(hub: Hub, get: Get) -> None:
    hub.files = {"ink.ckpt": b"w" * 5000, "ink.yaml": b"model:"}
    for wanted in (None, "ink.ckpt"):
        path = get(file=wanted)
        assert path.name == "ink.ckpt" and path.with_suffix(".yaml").read_bytes() == b"model:"


def test_a_model_cached_before_its_small_files_were_wanted_serves_without_network(
    hub: Hub, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = get()
    (path / "tokenizer/vocab.json").unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert get() == path


def test_a_named_file_is_fetched_alone(hub: Hub, get: Get) -> None:
    assert get(file="v1.ckpt").read_bytes() == NEEDLESS["v1.ckpt"]
    assert hub.downloaded() == {"v1.ckpt"}
    assert get().is_dir()  # what was chosen once does not decide what is chosen now


def test_a_named_file_that_does_not_exist_is_refused_with_those_that_do(get: Get) -> None:
    with pytest.raises(
        HubError, match=r"ink/punk/v9\.ckpt: no such file in the repository; there is v1\.ckpt"
    ):
        get(file="v9.ckpt")


def test_several_checkpoints_are_listed(hub: Hub, get: Get) -> None:
    hub.files = {"v1.ckpt": b"1", "v2.ckpt": b"2"}
    with pytest.raises(
        HubError, match=r"^ink/punk: holds several checkpoints; add the name of one: v1\.ckpt, v2"
    ):
        get()
    assert hub.downloaded() == set()


def test_a_cut_connection_is_taken_up_where_it_broke(hub: Hub, get: Get) -> None:
    half = len(WEIGHTS[UNET]) // 2
    cuts = iter([half])
    hub.cut = lambda path, content: next(cuts, len(content)) if path == UNET else len(content)
    assert (get() / UNET).read_bytes() == WEIGHTS[UNET]
    ranges = [asked for method, path, asked in hub.requests if (method, path) == ("GET", UNET)]
    assert ranges == [None, f"bytes={half}-"]


def test_an_interrupted_download_goes_on_the_next_time(
    hub: Hub, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = len(WEIGHTS[UNET]) // 2
    hub.cut = lambda path, content: half if path == UNET else len(content)

    def ctrl_c(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(huggingface_hub.file_download.time, "sleep", ctrl_c)  # while it waits to try again
        with pytest.raises(KeyboardInterrupt):
            get()
    hub.cut = lambda path, content: len(content)
    hub.requests.clear()
    assert (get() / UNET).read_bytes() == WEIGHTS[UNET]
    assert ("GET", UNET, f"bytes={half}-") in hub.requests
    assert "text_encoder/model.safetensors" not in hub.downloaded()
    assert list((tmp_path / "cache").rglob("*partial*")) == []


def test_a_download_that_was_damaged_is_refused_and_not_kept(hub: Hub, get: Get, tmp_path: Path) -> None:
    good, bad = WEIGHTS[UNET], WEIGHTS[UNET][::-1]
    partial = tmp_path / "cache" / "models--ink--punk" / "blobs" / f"{etag(good)}.inkpunk-partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bad[:5000])
    with pytest.raises(HubError, match=r"damaged on its way.*try again"):
        get()
    assert (get() / UNET).read_bytes() == good


@pytest.mark.parametrize("size", [len(WEIGHTS[UNET]), len(WEIGHTS[UNET]) + 1])
def test_a_partial_file_as_long_as_the_whole_or_longer_does_no_harm(
    get: Get, tmp_path: Path, size: int
) -> None:
    good = WEIGHTS[UNET]
    partial = tmp_path / "cache" / "models--ink--punk" / "blobs" / f"{etag(good)}.inkpunk-partial"
    partial.parent.mkdir(parents=True)
    partial.write_bytes((good + b"x")[:size])
    assert (get() / UNET).read_bytes() == good


def test_without_network_the_message_says_what_to_do(get: Get, tmp_path: Path) -> None:
    with pytest.raises(HubError) as refusal:
        get(endpoint="http://127.0.0.1:9")
    message = str(refusal.value)
    assert message.startswith("ink/punk: ")
    assert str(tmp_path / "cache") in message
    assert "http://127.0.0.1:9" in message
    assert "download the checkpoint elsewhere and give its path" in message
    assert "\n" not in message


def test_offline_mode_is_named_as_the_reason(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE forbids to fetch it; unset it"):
        get()


def test_offline_mode_does_not_keep_from_what_is_cached(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = get()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert get() == folder


def test_what_other_tools_downloaded_serves_without_network(hub: Hub, get: Get, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name in CONFIGS | WEIGHTS:
        huggingface_hub.hf_hub_download(
            REPO, name, revision=hub.commit, cache_dir=cache, endpoint=hub.endpoint
        )
    ref = cache / "models--ink--punk" / "refs" / "main"
    ref.parent.mkdir(exist_ok=True)
    ref.write_text(hub.commit)
    folder = get(endpoint="http://127.0.0.1:9")
    assert (folder / UNET).read_bytes() == WEIGHTS[UNET]


def test_half_of_what_is_needed_does_not_serve_without_network(hub: Hub, get: Get, tmp_path: Path) -> None:
    hub.cut = lambda path, content: 0 if path == UNET else len(content)
    with pytest.raises(HubError):
        get()
    with pytest.raises(HubError, match="not whole in the cache"):
        get(endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository_says_where_to_ask(hub: Hub, get: Get, status: int) -> None:
    hub.denied = (status, "GatedRepo")
    with pytest.raises(
        HubError, match=rf"owners grant access on request; ask at {hub.endpoint}/ink/punk, then set HF_TOKEN"
    ):
        get()


def test_an_unknown_repository_and_revision_are_said_to_be_so(get: Get) -> None:
    with pytest.raises(HubError, match=r"ink/pnuk: not on http.*check the spelling"):
        get("ink/pnuk")
    with pytest.raises(HubError, match="has no revision 'old'"):
        get(revision="old")


def test_a_bad_id_is_refused_without_asking(hub: Hub, get: Get) -> None:
    with pytest.raises(HubError, match="not a name that the hub allows"):
        get("ink/punk--x")
    assert hub.requests == []


def test_a_server_in_trouble_is_named(hub: Hub, get: Get) -> None:
    hub.denied = (418, "")
    with pytest.raises(HubError, match=f"{hub.endpoint} answers with error 418"):
        get()


def test_a_disk_too_small_is_refused_before_the_download(
    hub: Hub, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(HubError, match=r"GB are needed.*GB are free.*HF_HOME moves it"):
        get()
    assert hub.downloaded() == set()


@pytest.mark.parametrize("damage", [b"", b"[]", b"{", b'{"commit": 1}', b"\xff"])
def test_a_damaged_note_of_what_is_cached_is_passed_over(get: Get, tmp_path: Path, damage: bytes) -> None:
    folder = get()
    (note,) = (tmp_path / "cache" / "models--ink--punk").glob("inkpunk-*.json")
    note.write_bytes(damage)
    assert get() == folder


def test_half_shards_are_fetched_where_there_are_any_and_full_weights_where_not(
    hub: Hub, get: Get, tmp_path: Path
) -> None:
    shards = {
        f"unet/diffusion_pytorch_model-0000{number}-of-00002.fp16.safetensors": bytes([number]) * 4000
        for number in (1, 2)
    }
    index = "unet/diffusion_pytorch_model.safetensors.index.fp16.json"  # not spelled as its shards are
    hub.files |= {**shards, index: b'{"weight_map": {}}'}
    folder = get(half=True)
    assert hub.downloaded() == {*CONFIGS, *WEIGHTS, *shards, index} - {UNET}
    for name, content in shards.items():
        assert (folder / name).read_bytes() == content
    hub.requests.clear()
    assert get(half=True) == folder
    assert hub.downloaded() == set()
    get()
    assert hub.downloaded() == {UNET}
