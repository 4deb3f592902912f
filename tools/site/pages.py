"""Lays the site's source out: the pages under docs/, each package's README and reference, and the walk's numbers."""

import importlib
import inspect
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MEMBERS = [
    file.parent
    for file in sorted(ROOT.glob("packages/*/pyproject.toml")) + sorted(ROOT.glob("apps/*/pyproject.toml"))
]
LINKED = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])+)\]\(\s*([^)\s#]*)(#[^)\s]*)?\)")
IMAGE = re.compile(r"""(!\[[^\]]*\]\(\s*|<img src=")([^)"\s]+)""")


def lay_out(source: Path, walk: Mapping[str, Any], *, config: Path, address: str) -> None:
    """Write all of the site's source into a folder, and its settings beside it.

    Raises:
        FileNotFoundError: a README shows a picture that is not there.
        jinja2.UndefinedError: the walk's page asks for a number that the walk does not tell.
    """
    settings = DOCS / "zensical.toml"
    config.write_text(_published(settings.read_text(), address) if address else settings.read_text())
    for page in DOCS.rglob("*"):
        if page.is_file() and page != settings:
            target = source / page.relative_to(DOCS)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(page, target)
    (source / "walk.md").write_text(filled((DOCS / "walk.md").read_text(), walk))
    for member in MEMBERS:
        name, module = names(member)
        folder = source / "packages" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.md").write_text(readme(member, (member / "README.md").read_text(), folder))
        (folder / "reference.md").write_text(_reference(name, module))


def names(member: Path) -> tuple[str, str]:
    """What a member of the workspace is called by pip, and by Python."""
    project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    return project["name"], project["name"].replace("-", "_")


def filled(page: str, told: Mapping[str, Any]) -> str:
    """A page with its numbers."""
    jinja = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    jinja.filters |= {"shape": shape, "alike": alike, "count": lambda number: f"{number:,}"}
    return jinja.from_string(page).render(told)


def shape(sizes: list[int] | tuple[int, ...]) -> str:
    """As a page writes it, on one line."""
    return "\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}".join(map(str, sizes))


def alike(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of a table; neighbours within one part of the network that differ in nothing but their names as one."""
    for _, same in groupby(rows, lambda row: {**row, "name": row["name"].rpartition(".")[0]}):
        first, *others = same
        names = [first, *others[-1:]]
        yield {**first, "names": " to ".join(f"`{row['name']}`" for row in names)}


def _published(settings: str, address: str) -> str:
    return settings.replace("[project]\n", f'[project]\nsite_url = "{address.rstrip("/")}/"\n', 1)


def readme(member: Path, text: str, folder: Path) -> str:
    """A package's README, with its pictures beside it and its links within the site; what is no page is no link."""

    def picture(found: re.Match[str]) -> str:
        path = (member / found[2]).resolve()
        shutil.copyfile(path, folder / path.name)
        return f"{found[1]}{path.name}"

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        if "://" in target or not target:
            return found[0]
        path = (member / target).resolve()
        home = path.parent if path.name == "README.md" else path
        if home in MEMBERS:
            return f"[{words}](../{names(home)[0]}/index.md{anchor})"
        return words

    return _outside_code(text, lambda prose: LINKED.sub(link, IMAGE.sub(picture, prose)))


def _outside_code(page: str, change: Callable[[str], str]) -> str:
    parts = re.split(r"(^```.*?^```$)", page, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else change(part) for part in parts)


def _reference(name: str, module: str) -> str:
    """A page of all that a package exports, each by its docstring."""
    return "\n".join([f"# {name}: reference", "", *_summary(module), "", *_entries(module), ""])


def _summary(module: str) -> list[str]:
    """The first paragraph of the package's docstring."""
    docstring = inspect.getdoc(importlib.import_module(module)) or ""
    return docstring.split("\n\n")[0].splitlines()


def _entries(module: str) -> Iterator[str]:
    home = importlib.import_module(module)
    kinds: dict[str, list[str]] = {"Classes": [], "Functions": [], "Values and types": []}
    for name in home.__all__:
        kinds[_kind(getattr(home, name))].append(name)
    for kind, members in kinds.items():
        if members:
            yield from ("", f"## {kind}", "")
        for name in members:
            yield f"::: {module}.{name}"
            value = getattr(home, name)
            if isinstance(value, Mapping):  # whose source would fill a page
                yield from ("    options:", "      show_attribute_values: false", "", *_keys(value))
            yield ""


def _keys(value: Mapping[object, object]) -> Iterator[str]:
    """What a table of a package is looked up by, where those are names."""
    if all(isinstance(key, str) for key in value):
        yield f"By name: {', '.join(f'`{key}`' for key in value)}."


def _kind(value: object) -> str:
    if inspect.isclass(value):
        return "Classes"
    return "Functions" if inspect.isfunction(value) else "Values and types"
