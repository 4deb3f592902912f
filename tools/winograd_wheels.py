"""Builds inkpunk-winograd's wheels for all platforms, on any one of them, and its sdist; then looks at every library.

    uv run --with lief python -m tools.winograd_wheels [--out dist] [TAG ...]

Each wheel holds the kernels compiled for its platform's processors; the one for "any" holds none, and has them built
on first use. A library must export what is called and need nothing but the system's own C library, on Linux none
younger than the tag says.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import lief  # type: ignore

from tools.release.building import PLATFORMS

lief.logging.disable()  # it tells what it finds odd, on every library for macOS
ROOT = Path(__file__).parents[1]
TAGS = PLATFORMS["inkpunk-winograd"]
EXPORTS = {
    "convolution": {"inkpunk_winograd_plan", "inkpunk_winograd_run"},
    "attention": {"inkpunk_attention_room", "inkpunk_attention_run"},
    "products": {"inkpunk_products_plan", "inkpunk_products_run"},
    "narrow_attention": {"inkpunk_narrow_attention_room", "inkpunk_narrow_attention_run"},
}
NEEDED = {"libc.so.6", "/usr/lib/libSystem.B.dylib"}
OLDEST_GLIBC = (2, 17)


def build(tag: str, out: Path) -> Path:
    """The wheel of a platform."""
    environment = {**os.environ, "INKPUNK_WHEEL": tag}
    words = ("uv", "build", "-q", "--wheel", "--package", "inkpunk-winograd", "-o", str(out.resolve()))
    subprocess.run(words, env=environment, cwd=ROOT, check=True)
    [wheel] = out.glob(f"inkpunk_winograd-*-{tag}.whl")
    return wheel


def troubles(name: str, content: bytes) -> list[str]:
    """What is wrong with a library."""
    library: Any = lief.parse(list(content))
    if isinstance(library, lief.PE.Binary):
        exported, needed = (
            {entry.name for entry in library.get_export().entries},
            {each.name for each in library.imports},
        )
    else:
        exported = {symbol.name.removeprefix("_") for symbol in library.exported_symbols}
        needed = {getattr(each, "name", each) for each in library.libraries} - {f"@rpath/{name}"}
    found = [f"does not export {each}" for each in EXPORTS[name.partition("-")[0]] - exported]
    found += [f"needs {each}" for each in needed - NEEDED]
    for version in re.findall(rb"GLIBC_(\d+)\.(\d+)", content):
        if tuple(map(int, version)) > OLDEST_GLIBC:
            found.append(f"needs glibc {b'.'.join(version).decode()}")
    return found


def main() -> None:
    """Build them, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tags", nargs="*", metavar="TAG", default=[*TAGS], help=f"of {', '.join(TAGS)}; all, if left out"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    subprocess.run(
        ("uv", "build", "-q", "--sdist", "--package", "inkpunk-winograd", "-o", str(arguments.out.resolve())),
        cwd=ROOT,
        check=True,
    )
    print("| wheel | KiB | libraries |\n| --- | --- | --- |")
    wrong: list[str] = []
    for tag in arguments.tags:
        wheel = build(tag, arguments.out)
        with zipfile.ZipFile(wheel) as file:
            paths = {Path(name).name: name for name in file.namelist() if "/prebuilt/" in name}
            libraries = json.loads(file.read(paths["libraries.json"])) if paths else {}
            wrong += [
                f"{tag}: {name} {trouble}"
                for name in libraries
                for trouble in troubles(name, file.read(paths[name]))
            ]
        print(f"| {tag} | {wheel.stat().st_size / 1024:.0f} | {', '.join(libraries) or 'none'} |", flush=True)
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
