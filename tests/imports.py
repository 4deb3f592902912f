"""What imports what: every import statement of a source tree, wherever in its file it stands."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Imports = Mapping[str, set[str]]  # by module: the modules, and the names in modules, that it imports


def module_name(file: Path, root: Path) -> str:
    """`root/inkpunk/road/__init__.py` is inkpunk.road."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path, name: str) -> Iterator[str]:
    """The dotted names that a file imports, relative ones resolved; a name from a module as `module.name`."""
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{source}.{each.name}" for each in node.names)


def imports(root: Path) -> Imports:
    """Of every module below a folder that holds packages."""
    files = {module_name(file, root): file for file in root.rglob("*.py")}
    return {name: {*imported(file, name)} for name, file in files.items()}


def edges(imports: Imports) -> dict[str, set[str]]:
    """From module to module: `package.name` is the module of that name, or else something in `package` itself."""

    def module(name: str) -> str | None:
        return next((each for each in (name, name.rpartition(".")[0]) if each in imports), None)

    return {
        name: {found for each in names if (found := module(each)) and found != name}
        for name, names in imports.items()
    }


def circle(imports: Imports) -> list[str]:
    """Modules that import each other in a circle, the first again at the end; empty if there is none."""
    graph, done = edges(imports), set[str]()

    def search(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if found := search(other, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := search(name, []))), [])


def private(name: str) -> bool:
    """Whether any part of a dotted name begins with an underscore, but for Python's own such as `__version__`."""
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))
