"""Builds the package: hatchling, and the kernels compiled into the wheel for every level of a platform's processors.

A wheel is for the machine that it's built on, where that is one of `PLATFORMS`, or for what `INKPUNK_WHEEL` names in
the environment: another platform's tag, since any machine can compile for all of them, or "any", a wheel without
compiled kernels, which are then built on first use. The compiler is zig's, from PyPI; an editable install needs none.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hatchling.build import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]
from hatchling.build import get_requires_for_build_wheel as _hatchlings_requires
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WHEEL = "INKPUNK_WHEEL"
ANY = "any"
COMPILER = "ziglang==0.17.1"  # exactly: the same wheel, to the byte, wherever and whenever it is built
NATIVE = Path("src/inkpunk_winograd/native")
KERNELS = ("convolution", "attention", "norm")
NARROW = ("products", "narrow_attention")  # of bfloat16, for the only processors that multiply it
FLAGS = (
    *("-std=gnu11", "-O3", "-ffp-contract=fast", "-mprefer-vector-width=512"),
    *("-ffreestanding", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"),
)

# What torch asks of a processor before it calls it AVX2 or AVX512, and no more. zig's x86_64_v2 is tuned for the
# first processors with AVX, which were slow to load 32 bytes from anywhere.
_AVX2 = "x86_64_v2+avx2+fma-slow_unaligned_mem_32"
X86 = {"sse2": "x86_64", "avx2": _AVX2, "avx512": f"{_AVX2}+avx512f+avx512vl+avx512bw+avx512dq"}
BFLOAT16 = {
    "avx512bf16": f"{X86['avx512']}+avx512bf16"
}  # and AMX, where the processor has it: see products.c
ARM = {"arm64": "generic"}


@dataclass(frozen=True)
class Platform:
    """What libraries are compiled for.

    Attributes:
        target: zig's name.
        levels: its names for processors, by ours, which end a library's name.
        suffix: which ends a library's file.
        link: what it's linked to, the system's C library if there is one, and its name.
    """

    target: str
    levels: dict[str, str]
    suffix: str
    link: tuple[str, ...]


_WINDOWS = ("-fcompiler-rt", "-fno-entry", "-fno-emit-implib")
_LINUX = ("-lc", "-fsoname={name}")
_MACOS = ("-lc", "-install_name", "@rpath/{name}")
PLATFORMS = {  # by the wheel's tag
    "manylinux_2_17_x86_64": Platform("x86_64-linux-gnu.2.17", X86, ".so", _LINUX),
    "manylinux_2_17_aarch64": Platform("aarch64-linux-gnu.2.17", ARM, ".so", _LINUX),
    "macosx_11_0_x86_64": Platform("x86_64-macos.11.0", X86, ".dylib", _MACOS),
    "macosx_11_0_arm64": Platform("aarch64-macos.11.0", ARM, ".dylib", _MACOS),
    "win_amd64": Platform("x86_64-windows-gnu", X86, ".dll", _WINDOWS),
    "win_arm64": Platform("aarch64-windows-gnu", ARM, ".dll", _WINDOWS),
}
_OURS = {
    ("Linux", "x86_64"): "manylinux_2_17_x86_64",
    ("Linux", "aarch64"): "manylinux_2_17_aarch64",
    ("Darwin", "x86_64"): "macosx_11_0_x86_64",
    ("Darwin", "arm64"): "macosx_11_0_arm64",
    ("Windows", "AMD64"): "win_amd64",
    ("Windows", "ARM64"): "win_arm64",
}


def wanted() -> str:
    """The tag of the platform that a wheel is for, or "any".

    Raises:
        ValueError: the environment names one that is not known.
    """
    if tag := os.environ.get(WHEEL):
        if tag not in (ANY, *PLATFORMS):
            raise ValueError(f"{WHEEL}={tag}: must be {ANY} or one of {', '.join(PLATFORMS)}")
        return tag
    other_libc = platform.system() == "Linux" and platform.libc_ver()[0] != "glibc"
    return ANY if other_libc else _OURS.get((platform.system(), platform.machine()), ANY)


def compile_kernels(tag: str, native: Path, folder: Path) -> None:
    """Compile the kernels of a folder for a platform, into another, and list the libraries and their SHA-256 there.

    A library's own name is told: on macOS it would be its path here, and then no two builds were alike.
    """
    to = PLATFORMS[tag]
    work = {
        **dict.fromkeys(KERNELS, to.levels),
        **(dict.fromkeys(NARROW, BFLOAT16) if to.levels is X86 else {}),
    }
    for kernel, levels in work.items():
        for level, processor in levels.items():
            library = folder / f"{kernel}-{level}{to.suffix}"
            target = (
                "-target",
                to.target,
                f"-mcpu={processor}",
                *(word.format(name=library.name) for word in to.link),
            )
            how = ("-dynamic", "-O", "ReleaseFast", "-fstrip", *target, f"-femit-bin={library}")
            command = [sys.executable, "-m", "ziglang", "build-lib", *how, "-cflags", *FLAGS, "--"]
            subprocess.run([*command, str(native / f"{kernel}.c")], check=True)
    libraries = {path.name: path for path in folder.iterdir() if path.suffix == to.suffix}
    for path in folder.iterdir():  # what a linker leaves beside them
        if path.name not in libraries:
            path.unlink()
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(libraries.items())}
    (folder / "libraries.json").write_text(json.dumps(hashes, indent=1) + "\n", newline="\n")


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What a wheel is built with; not what an editable install is."""
    return [*_hatchlings_requires(config_settings), *([] if wanted() == ANY else [COMPILER])]


class Kernels(BuildHookInterface):  # type: ignore[type-arg]
    """Puts compiled kernels into a wheel, and names its platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before a wheel is built."""
        if version == "editable" or (tag := wanted()) == ANY:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="inkpunk-kernels-")
        folder = Path(self._folder.name)
        compile_kernels(tag, Path(self.root) / NATIVE, folder)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag}"
        for path in folder.iterdir():
            build_data["force_include"][str(path)] = f"inkpunk_winograd/native/prebuilt/{path.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """After it was built."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()
