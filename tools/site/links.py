"""Whether a built site's links and pictures lead somewhere, and nothing on it comes from elsewhere."""

from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}
NOT_FETCHED = {"canonical", "next", "prev", "alternate"}  # links in a page's head that only tell


class _Page(HTMLParser):
    """What a page has: its anchors, where it links to, and what a browser fetches for it."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = {""}
        self.links: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        address = given.get(FETCHED.get(tag, ""))
        if address and given.get("rel") not in NOT_FETCHED:
            self.fetched.append(address)


def problems(site: Path) -> list[str]:
    """What is wrong with a built site's pages, a line each: links without an end, and what comes from elsewhere."""
    pages = sorted(page for page in site.rglob("*.html") if page.name != "404.html")
    return [problem for page in pages for problem in _of_page(page, site)]


def _of_page(page: Path, site: Path) -> Iterator[str]:
    read = _read(page)
    for address in read.fetched:
        if urlsplit(address).netloc:
            yield f"{page.relative_to(site)}: fetches {address} from elsewhere"
    for address in {*read.links, *read.fetched}:
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        target = target / "index.html" if target.is_dir() else target
        if not target.is_file():
            yield f"{page.relative_to(site)}: {address} leads nowhere"
        elif target.suffix == ".html" and unquote(parts.fragment) not in _read(target).anchors:
            yield f"{page.relative_to(site)}: {address}: no such place on that page"


@cache
def _read(page: Path) -> _Page:
    parsed = _Page()
    parsed.feed(page.read_text(encoding="utf-8"))
    return parsed
