"""The page is written once for each address that it is asked for at."""

from collections.abc import Iterator
from itertools import count

import httpx
import pytest
from fastapi import FastAPI, Response
from fastapi.middleware.gzip import GZipMiddleware
from inkpunk_studio.page.kept import MOST, Kept


@pytest.fixture
def page() -> httpx.AsyncClient:
    """A page that tells how often it was written."""
    app, numbers = FastAPI(), count(1)

    @app.get("/")
    def written(status: int = 200) -> Response:
        return Response(str(next(numbers)), status)

    app.add_middleware(GZipMiddleware, minimum_size=0)

    @app.post("/")
    def posted() -> Response:
        return Response(str(next(numbers)))

    return httpx.AsyncClient(transport=httpx.ASGITransport(Kept(app)), base_url="http://here")


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The loop that the studio runs in."""
    yield request.param


@pytest.mark.anyio
async def test_a_page_is_written_once(page: httpx.AsyncClient) -> None:
    first, second = await page.get("/"), await page.get("/")
    assert (first.text, second.text) == ("1", "1")
    assert first.headers == second.headers


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["host", "x-forwarded-host", "x-forwarded-proto", "origin"])
async def test_each_address_has_its_own(page: httpx.AsyncClient, name: str) -> None:
    other = {name: "elsewhere"}
    asked = [await page.get("/"), await page.get("/", headers=other), await page.get("/", headers=other)]
    assert [each.text for each in asked] == ["1", "2", "2"]


@pytest.mark.anyio
async def test_it_is_the_same_however_it_may_be_packed(page: httpx.AsyncClient) -> None:
    asked = [await page.get("/", headers={"accept-encoding": name}) for name in ("gzip", "identity", "br")]
    assert [(each.text, each.headers.get("content-encoding")) for each in asked] == [("1", None)] * 3


@pytest.mark.anyio
async def test_what_is_asked_for_otherwise_is_not_kept(page: httpx.AsyncClient) -> None:
    asked = [
        await page.get("/?status=500"),
        await page.get("/?a=b"),
        await page.post("/"),
        await page.get("/?a=b"),
    ]
    assert [each.text for each in asked] == ["1", "2", "3", "4"]


@pytest.mark.anyio
async def test_no_more_than_a_few_are_kept(page: httpx.AsyncClient) -> None:
    for number in range(MOST + 1):
        await page.get("/", headers={"host": f"host{number}"})
    asked = (
        await page.get("/", headers={"host": f"host{MOST}"}),
        await page.get("/", headers={"host": "host0"}),
    )
    assert [each.text for each in asked] == [str(MOST + 1), str(MOST + 2)]
