"""Fetching for a request: from the open internet alone, whatever names and redirects say."""

from collections.abc import Callable

import httpx
import pytest
from inkpunk_studio.http import fetching
from inkpunk_studio.http.fetching import FetchError, fetch, is_public, resolved

OPEN = "93.184.215.14"
Answer = Callable[[httpx.Request], httpx.Response]


def ok(content: bytes) -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(content))


def fetched(url: str, answer: Answer, names: dict[str, list[str]] | None = None, most: int = 1000) -> bytes:
    known = names or {}
    return fetch(
        url,
        most=most,
        resolve=lambda host, port: known.get(host, [OPEN]),
        transport=httpx.MockTransport(answer),
    )


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "2001::1",
    ],
)  # fmt: skip
def test_addresses_within_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [OPEN, "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_open_internet_are_public(address: str) -> None:
    assert is_public(address)


def test_a_file_is_fetched_from_the_address_itself_in_its_name() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.url.host, request.headers["host"]) == (OPEN, "pictures.example")
        assert request.extensions["sni_hostname"] == "pictures.example"
        return ok(b"a picture")

    assert fetched("https://pictures.example/a.png?b=c", answer) == b"a picture"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433", "[::1]"])
def test_this_machine_is_never_fetched_from(host: str) -> None:
    with pytest.raises(FetchError, match="open internet"):
        fetch(f"http://{host}/a.png", most=1, transport=httpx.MockTransport(lambda _: httpx.Response(200)))


def test_a_name_that_points_within_is_refused_even_if_one_of_its_addresses_is_open() -> None:
    with pytest.raises(FetchError, match="open internet"):
        fetched("http://a.example/", lambda _: httpx.Response(200), {"a.example": [OPEN, "10.0.0.1"]})


def test_a_redirect_inwards_is_refused() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["host"] == "a.example"
        return httpx.Response(302, headers={"location": "http://within.example/secret"})

    with pytest.raises(FetchError, match="open internet"):
        fetched("http://a.example/", answer, {"within.example": ["169.254.169.254"]})


def test_a_redirect_is_followed_and_endless_ones_are_not() -> None:
    def once(request: httpx.Request) -> httpx.Response:
        if request.headers["host"] == "b.example":
            return ok(b"here")
        return httpx.Response(301, headers={"location": "//b.example/there"})

    assert fetched("http://a.example/", once) == b"here"
    with pytest.raises(FetchError, match="redirects"):
        fetched("http://a.example/", lambda _: httpx.Response(302, headers={"location": "/again"}))


@pytest.mark.parametrize(
    "url",
    ["ftp://a.example/", "http://a.example:8080/", "http://user:word@a.example/", "http:///a", "http://[::1"],
)
def test_other_kinds_of_address_are_refused(url: str) -> None:
    with pytest.raises(FetchError):
        fetched(url, lambda _: httpx.Response(200))


def test_what_is_too_large_or_no_success_is_refused() -> None:
    with pytest.raises(FetchError, match="larger"):
        fetched("http://a.example/", lambda _: ok(bytes(11)), most=10)
    with pytest.raises(FetchError, match="404"):
        fetched("http://a.example/", lambda _: httpx.Response(404))


def test_what_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SECONDS", -1.0)
    with pytest.raises(FetchError, match="longer"):
        fetched("http://a.example/", lambda _: ok(b"slow"))


def test_a_name_that_is_none_is_said_to_be_none() -> None:
    with pytest.raises(FetchError, match="no such name"):
        resolved("a" * 64 + ".invalid", 80)
