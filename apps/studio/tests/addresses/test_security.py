"""The promises of SECURITY.md, each by its name."""

import asyncio
import base64
import gc
import json
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import pytest
from fastapi import FastAPI
from inkpunk_studio.app import create_app
from inkpunk_studio.http import fetching, guard
from inkpunk_studio.http.guard import BodyGuard
from inkpunk_studio.http.openai.files import Files
from inkpunk_studio.serving import link
from inkpunk_studio.settings import Settings, SettingsError
from inkpunk_studio.work.desk import Desk
from PIL import Image
from starlette.testclient import TestClient
from starlette.types import Message

TOKEN = "a token that nobody guesses"


def settings_in(folder: Path, **told: Any) -> Settings:
    return Settings(pictures=folder / "pictures", state=folder / "state", **told)


def app_of(settings: Settings) -> FastAPI:
    return create_app(settings, Desk(settings), page=False)


def calling(settings: Settings, base_url: str = "http://127.0.0.1:7860") -> TestClient:
    """A client of a studio that was not started: it can refuse, and list, and draw nothing."""
    return TestClient(app_of(settings), base_url=base_url, raise_server_exceptions=True)


@pytest.fixture
def local(tmp_path: Path) -> TestClient:
    return calling(settings_in(tmp_path))


@pytest.fixture
def guarded(tmp_path: Path) -> TestClient:
    return calling(settings_in(tmp_path, host="0.0.0.0", token=TOKEN), "http://192.168.1.5:7860")


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def addresses(app: FastAPI) -> Iterator[tuple[str, str]]:
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            yield method.upper(), re.sub(r"{[^}]*}", "0", path)


# -- Nobody but this machine reaches it


def test_nobody_but_this_machine_reaches_it() -> None:
    assert Settings().host == "127.0.0.1"
    for host in ("0.0.0.0", "::", "192.168.1.5", "my-machine"):
        with pytest.raises(SettingsError, match="token"):
            Settings(host=host)
        assert Settings(host=host, token=TOKEN).token == TOKEN


# -- The token is asked for at every address


def test_the_token_is_asked_for_at_every_address(guarded: TestClient) -> None:
    app = guarded.app
    assert isinstance(app, FastAPI)
    asked = [each for each in addresses(app) if not each[1].startswith(guard.OPEN_PATH)]
    assert len(asked) > 10
    for method, path in [*asked, ("GET", "/openapi.json"), ("GET", "/"), ("GET", "/nowhere")]:
        answer = guarded.request(method, path)
        assert (answer.status_code, answer.headers["www-authenticate"][:5]) == (401, "Basic"), path
        assert answer.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer  {TOKEN} "},
        basic(f"user:{TOKEN}"),
        basic(f":{TOKEN}"),
        basic(TOKEN),
    ],
)
def test_the_token_is_shown_in_each_way(guarded: TestClient, headers: dict[str, str]) -> None:
    assert guarded.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": TOKEN},
        {"Authorization": "Basic not-base64!"},
        {"Authorization": "Basic 8J+YgA=="},
        basic("user:wrong"),
        {"Cookie": f"inkpunk_studio={TOKEN.split()[0]}"},
    ],
)
def test_anything_else_is_no_token(guarded: TestClient, headers: dict[str, str]) -> None:
    assert guarded.get("/v1/models", headers=headers).status_code == 401


def test_the_token_is_compared_in_a_time_that_tells_nothing(
    guarded: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = list[tuple[bytes, bytes]]()

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(guard.hmac, "compare_digest", compare_digest)
    assert guarded.get("/v1/models", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 401
    assert compared
    assert {len(each) for pair in compared for each in pair} == {32}  # whatever was told is as long


def test_a_link_with_the_token_has_the_browser_keep_it(guarded: TestClient) -> None:
    answer = guarded.get("/v1/models", params={"token": TOKEN, "a": "b"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/v1/models?a=b")
    kept = answer.headers["set-cookie"]  # lax: a link in another page would be followed without a strict one
    assert TOKEN not in kept
    assert {"HttpOnly", "SameSite=lax"} <= {*kept.split("; ")}
    assert guarded.get("/v1/models").status_code == 200  # the cookie is sent
    away = guarded.get(
        "http://192.168.1.5:7860//elsewhere.example/", params={"token": TOKEN}, follow_redirects=False
    )
    assert away.headers.get("location", "/here").startswith("/") and not away.headers.get(
        "location", "/"
    ).startswith("//")


def test_the_link_that_is_printed_opens_the_studio(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, token="a b&c=ü/?#")
    client = calling(settings)
    opened = client.get(link(settings).replace("/?", "/health?"))
    assert (opened.status_code, str(opened.url)) == (200, "http://127.0.0.1:7860/health")
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize("told", ["", "Bearer", "Bearer ", "Basic Og==", "anything"])
def test_without_a_token_what_a_client_shows_is_passed_over(local: TestClient, told: str) -> None:
    assert local.get("/v1/models", headers={"Authorization": told}).status_code == 200


def test_an_address_of_a_picture_is_its_own_key_and_expires(tmp_path: Path) -> None:
    now, brief = Files(keep=60.0, most=2), Files(keep=0.0, most=2)
    names = [now.add(tmp_path / "a.png") for _ in range(3)]
    assert len(names[0]) == 32 + len(".png")  # 192 bits
    assert [now.path(each) for each in names] == [None, tmp_path / "a.png", tmp_path / "a.png"]
    assert brief.path(brief.add(tmp_path / "a.png")) is None


# -- No other page calls it


def test_no_other_page_calls_it(local: TestClient) -> None:
    for origin in (
        "http://evil.example",
        "null",
        "file://",
        "http://127.0.0.1:3000",
        "http://127.0.0.1:7860.evil.example",
    ):
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/images/generations"), ("OPTIONS", "/jobs")):
            assert local.request(method, path, headers={"Origin": origin}).status_code == 403
    assert (
        local.get("/v1/models", headers=[("Origin", "http://127.0.0.1:7860"), ("Origin", "null")]).status_code
        == 403
    )


def test_no_other_page_embeds_it(local: TestClient) -> None:
    for site in ("cross-site", "same-site"):  # another port of this machine is of the same site
        for mode, dest in (("no-cors", "image"), ("no-cors", "script"), ("navigate", "iframe")):
            told = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
            assert local.get("/v1/models", headers=told).status_code == 403
    assert local.get("/v1/models").headers["x-frame-options"] == "SAMEORIGIN"


def test_the_own_page_and_a_link_to_it_are_answered(local: TestClient) -> None:
    for told in (
        {"Origin": "http://127.0.0.1:7860"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ):
        assert local.get("/v1/models", headers=told).status_code == 200


def test_the_own_page_behind_a_proxy_with_tls_is_answered(tmp_path: Path) -> None:
    client = calling(settings_in(tmp_path, hosts=("draw.example",)), "http://draw.example")
    assert client.get("/v1/models", headers={"Origin": "https://draw.example"}).status_code == 200
    assert client.get("/v1/models", headers={"Origin": "https://other.example"}).status_code == 403


def test_a_page_that_is_allowed_calls_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, origins=("http://localhost:3000",), token=TOKEN)
    client, origin = calling(settings), {"Origin": "http://localhost:3000"}
    asked = origin | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    before = client.options("/v1/images/generations", headers=asked)  # without the token: browsers send none
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (200, origin["Origin"])
    assert "authorization" in before.headers["access-control-allow-headers"]
    answer = client.get("/v1/models", headers={**origin, "Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin["Origin"])
    refused = client.get("/v1/models", headers=origin)  # which the page may read
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, origin["Origin"])


# -- No name that others point here is answered


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example", ""]
)
def test_no_name_that_others_point_here_is_answered(
    local: TestClient, guarded: TestClient, host: str
) -> None:
    for client in (local, guarded):
        for path in ("/health", "/v1/models", guard.OPEN_PATH + "a.png"):
            assert client.get(path, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:80",
        "LOCALHOST:7860",
        "localhost.",
        "[::1]:7860",
        "a.localhost",
        "host.docker.internal:7860",
    ],
)
def test_this_machines_names_are_answered(local: TestClient, host: str) -> None:
    assert local.get("/health", headers={"Host": host}).status_code == 200


def test_a_name_that_is_told_is_answered(tmp_path: Path) -> None:
    client = calling(settings_in(tmp_path, hosts=("Draw.Example",)))
    assert client.get("/health", headers={"Host": "draw.example:443"}).status_code == 200


# -- A body is bounded while it comes


@pytest.mark.parametrize(
    "path", ["/v1/images/generations", "/v1/images/edits", "/v1/images/variations", "/jobs"]
)
def test_a_body_is_bounded_by_what_it_says(tmp_path: Path, path: str) -> None:
    client = calling(settings_in(tmp_path, most_body=1000))
    answer = client.post(path, content=bytes(1001), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=a"])
@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/images/edits", "/jobs"])
def test_a_body_is_bounded_while_it_comes(tmp_path: Path, path: str, kind: str) -> None:
    settings = settings_in(tmp_path, most_body=1000)
    app, taken, sent = app_of(settings), list[int](), list[Message]()

    async def receive() -> Message:
        begin = b"" if taken else b'--a\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'
        taken.append(400)
        return {"type": "http.request", "body": begin.ljust(400, b"x"), "more_body": True}  # for ever

    async def send(message: Message) -> None:
        sent.append(message)

    async def call() -> None:
        headers = [
            (b"host", b"127.0.0.1"),
            (b"content-type", kind.encode()),
            (b"transfer-encoding", b"chunked"),
        ]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7860),
        }  # fmt: skip
        await app(scope, receive, send)

    asyncio.run(call())
    assert sent[0]["status"] == 413
    assert sum(taken) <= 1600
    assert json.loads(sent[1]["body"])["error"]["code"] == "too_large"


@pytest.mark.parametrize("told", ["-1", "1e3", "x", "9" * 30])
def test_a_length_that_is_none_is_refused(told: str) -> None:
    sent = list[Message]()

    async def app(*_: Any) -> None:
        raise AssertionError("it was let pass")

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("it was read")

    scope = {"type": "http", "headers": [(b"content-length", told.encode())]}
    asyncio.run(BodyGuard(app, 1000)(scope, receive, send))
    assert sent[0]["status"] == 413


# -- A picture is bounded before it is decoded


def png(width: int, height: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format="png")
    told = bytearray(buffer.getvalue())
    told[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    told[29:33] = crc32(told[12:29]).to_bytes(4, "big")
    return bytes(told)


def test_a_picture_is_bounded_before_it_is_decoded(local: TestClient) -> None:
    bomb = png(100_000, 100_000)
    answers = [
        local.post("/v1/images/edits", data={"prompt": "a"}, files={"image": ("a.png", bomb)}),
        local.post("/jobs", json={"orders": [{"prompt": "a", "init": base64.b64encode(bomb).decode()}]}),
    ]
    assert [each.status_code for each in answers] == [400, 400]
    assert all("too large" in each.json()["detail"] for each in answers)


# -- No path of a request reaches the file system


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../etc/passwd", "picture.png", "file:///etc/passwd", "~/.ssh/id_rsa"]
)
def test_no_path_of_a_request_reaches_the_file_system(
    http: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("picture.png")
    for option in (
        {"init": name}, {"init": name, "mask": name}, {"control": f"canny:{name}"}, {"hint": [f"canny:{name}"]},
        {"control": {"kind": "canny", "picture": name}}, {"control": {"kind": name, "picture": "AAAA"}},
        {"image-prompt": name}, {"region": f"a fox@{name}"}, {"lora": name}, {"model": name}, {"upscaler": name},
        {"wildcards": name}, {"embedding": name}, {"lora-folder": name}, {"control-net": f"canny={name}"},
        {"ip-adapter": name}, {"image-encoder": name}, {"tiny-vae": name}, {"prompt": f"a <lora:{name}:1>"},
        {"prompt": f"a <lora:{{{name}}}:1>"},
    ):  # fmt: skip
        order = {"prompt": "a", "seed": 1, "steps": 1, "width": 64, "height": 64, **option}
        answer = http.post("/jobs", json={"orders": [order]})
        assert answer.status_code == 400, option
        drawn = http.post("/v1/images/generations", json={"size": "64x64", **order})
        assert drawn.status_code in (400, 404, 422), option


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fetc%2Fpasswd", "....//etc/passwd", "%2Fetc%2Fpasswd", "a.png", "..\\a.png", "%00"]
)
def test_no_path_of_an_address_reaches_the_file_system(http: httpx.Client, name: str) -> None:
    for place in ("/v1/images/files/", "/v1/models/", "/jobs/", "/jobs/a/pictures/"):
        assert http.get(place + name).status_code in (400, 404)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # loops that Gradio leaves open
def test_no_path_of_the_page_reaches_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.txt").write_text("a secret")
    told = settings_in(tmp_path)
    client = TestClient(create_app(told, Desk(told)), base_url="http://127.0.0.1:7860")
    for place in ("/gradio_api/file=", "/static/", "/assets/", "/svelte/", "/gradio_api/file=/"):
        for name in (
            "/etc/passwd",
            "here.txt",
            str(tmp_path / "here.txt"),
            "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        ):
            answer = client.get(place + name)
            assert answer.status_code in (403, 404)
            assert "secret" not in answer.text
    assert client.get("/gradio_api/proxy=http://127.0.0.1/").status_code == 400
    assert client.get("/config", headers={"Host": "evil.example"}).status_code == 421
    del client
    gc.collect()


# -- No address of a request is fetched


def test_no_address_of_a_request_is_fetched(local: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching.socket, "getaddrinfo", None)  # not even looked up
    answer = local.post("/jobs", json={"orders": [{"prompt": "a", "init": "https://example.com/a.png"}]})
    assert (answer.status_code, "--fetch-urls" in answer.json()["detail"]) == (400, True)


def test_no_address_within_is_fetched_even_if_it_is_allowed(tmp_path: Path) -> None:
    client = calling(settings_in(tmp_path, fetch_urls=True))
    for url in (
        "http://127.0.0.1/a.png",
        "http://localhost/a.png",
        "http://[::1]/a.png",
        "http://169.254.169.254/a",
    ):
        answer = client.post("/jobs", json={"orders": [{"prompt": "a", "init": url}]})
        assert (answer.status_code, "open internet" in answer.json()["detail"]) == (400, True)


# -- What is asked for is bounded


@pytest.mark.parametrize(
    "order",
    [
        {"width": 4096, "height": 4096},
        {"enlarge": 16},
        {"steps": 151},
        {"enlarge": 2, "enlarge-steps": 151},
        {"prompt": "x" * 20_001},
        {"negative": "x" * 20_001},
    ],
)
def test_what_is_asked_for_is_bounded(http: httpx.Client, order: dict[str, Any]) -> None:
    told = {"prompt": "a", "width": 1024, "height": 1024, **order}
    assert http.post("/jobs", json={"orders": [told]}).status_code == 400
    assert http.post("/jobs", json={"orders": [{"prompt": "a"}] * 9, "count": 8}).status_code == 400


# -- A refusal is one line


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"prompt": NaN}',
        b'{"n": 1e999}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "a", "n": ' + b"9" * 5000 + b"}",
        b'{"prompt": {"a": [1]}}',
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/images/edits", "/jobs"])
def test_a_refusal_is_one_line(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert 0 < len(answer.json()["detail"]) <= 1000
    assert "\n" not in answer.json()["detail"]
