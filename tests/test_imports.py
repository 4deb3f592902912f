"""Arrows run one way: apps to packages to torch, and no circle anywhere."""

from pathlib import Path

import pytest

from tests.imports import Imports, circle, edges, imports, private

ROOT = Path(__file__).parent.parent
ROOTS = sorted([*ROOT.glob("packages/*/src"), *ROOT.glob("apps/*/src")])
WORKSPACE: Imports = {name: names for root in ROOTS for name, names in imports(root).items()}
PACKAGES = {folder.name for folder in ROOT.glob("packages/*/src/*")}
APPS = {folder.name for folder in ROOT.glob("apps/*/src/*")}


def top(name: str) -> str:
    return name.partition(".")[0]


def siblings(imports: Imports, packages: set[str], apps: set[str]) -> list[str]:
    """Imports of one package by another, or of an app."""
    return [
        f"{name} imports {each}"
        for name, names in imports.items()
        for each in names
        if top(name) in packages and top(each) in (packages | apps) - {top(name)}
    ]


def undocumented(imports: Imports, packages: set[str], apps: set[str], readme: dict[str, str]) -> list[str]:
    """What apps import of packages that is private: by an underscore, or by its absence from the package's README."""
    graph = edges(imports)
    found = [
        f"{name} imports {each}"
        for name, names in imports.items()
        for each in names
        if top(name) in apps and top(each) in packages and private(each)
    ]
    return found + [
        f"{name} imports {module}, which its package's README does not name"
        for name, modules in graph.items()
        for module in modules
        if top(name) in apps and top(module) in packages and module != top(module)
        if f"`{module}`" not in readme[top(module)]
    ]


def test_no_module_imports_itself_by_a_detour() -> None:
    assert not circle(WORKSPACE)


def test_no_package_imports_a_sibling_or_an_app() -> None:
    assert not siblings(WORKSPACE, PACKAGES, APPS)


def test_packages_tests_stay_within_their_package() -> None:
    for folder in ROOT.glob("packages/*"):
        own = next(folder.glob("src/*")).name
        tests = {f"{own}.{name}": names for name, names in imports(folder / "tests").items()}
        assert not siblings(tests, PACKAGES, APPS)


def test_apps_use_only_what_a_package_shows() -> None:
    readme = {
        next(folder.glob("src/*")).name: (folder / "README.md").read_text()
        for folder in ROOT.glob("packages/*")
    }
    assert not undocumented(WORKSPACE, PACKAGES, APPS, readme)


def test_the_app_is_rooms() -> None:
    here = {path.name for path in (ROOT / "apps/pipeline/src/inkpunk").iterdir()} - {"__pycache__"}
    rooms = {"models", "road", "pictures", "speed", "memory", "training", "orders", "cli"}
    # the language's own marks beside what one reads first
    assert here == rooms | {"pipeline.py", "request.py", "__init__.py", "__main__.py", "py.typed"}


def test_every_room_says_what_it_is() -> None:
    for room in (ROOT / "apps/pipeline/src/inkpunk").glob("*/__init__.py"):
        assert room.read_text().startswith('"""')


# -- That these can fail -------------------------------------------------------------------------------------------


def write(root: Path, **sources: str) -> Imports:
    for name, source in sources.items():
        file = root / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(source)
    for folder in {file.parent for file in root.glob("*/*.py")}:
        (folder / "__init__.py").touch()
    return imports(root)


@pytest.mark.parametrize(
    "third", ["from app.one import x", "from .one import x", "from . import one", "import app.one"]
)
def test_a_circle_of_three_is_found_wherever_the_import_stands(tmp_path: Path, third: str) -> None:
    within = f"def later():\n    {third}\n"
    found = circle(
        write(tmp_path, app__one="import app.two", app__two="from app.three import y", app__three=within)
    )
    assert found == ["app.one", "app.two", "app.three", "app.one"]


def test_a_package_that_imports_its_own_face_is_a_circle(tmp_path: Path) -> None:
    sources = write(tmp_path, pack__one="from pack import two_names", pack__two="")
    (tmp_path / "pack/__init__.py").write_text("from pack.one import x")
    assert sources
    assert circle(imports(tmp_path)) == ["pack", "pack.one", "pack"]


def test_what_is_no_circle_is_none(tmp_path: Path) -> None:
    assert not circle(
        write(
            tmp_path, app__one="import app.two, app.three", app__two="from app.three import y", app__three=""
        )
    )


def test_a_sibling_is_found(tmp_path: Path) -> None:
    found = siblings(
        write(tmp_path, one__a="def f():\n    from two.b import c", two__b=""), {"one", "two"}, set()
    )
    assert found == ["one.a imports two.b.c"]


def test_what_is_private_is_found(tmp_path: Path) -> None:
    source = "from pack._hidden import x\nfrom pack.inner import y\nfrom pack.shown import z, _z\nfrom pack import w"
    written = write(tmp_path, app__one=source, pack___hidden="", pack__inner="", pack__shown="")
    found = undocumented(written, {"pack"}, {"app"}, {"pack": "`pack.shown` is for everybody"})
    assert sorted(found) == [
        "app.one imports pack._hidden, which its package's README does not name",
        "app.one imports pack._hidden.x",
        "app.one imports pack.inner, which its package's README does not name",
        "app.one imports pack.shown._z",
    ]
