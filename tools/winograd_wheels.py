"""Builds the wheels of inkpunk-winograd for all platforms, on any one of them, and its sdist.

    uv run python -m tools.winograd_wheels [--out dist] [--only TAG ...]

Each holds the kernels compiled for its platform's processors; the one for "any" holds none, and has them built on first
use. Every library is looked at again: that it exports what is called, and needs nothing but the C library.
"""

import argparse
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import lief

PACKAGE = Path(__file__).parents[1] / "packages" / "inkpunk-winograd"
PLATFORMS = {  # by the wheel's tag: what a library may be linked to
    "manylinux_2_17_x86_64": {"libc.so.6", "ld-linux-x86-64.so.2"},
    "manylinux_2_17_aarch64": {"libc.so.6", "ld-linux-aarch64.so.1"},
    "macosx_11_0_x86_64": {"/usr/lib/libSystem.B.dylib"},
    "macosx_11_0_arm64": {"/usr/lib/libSystem.B.dylib"},
    "win_amd64": {"KERNEL32.dll"},
    "win_arm64": {"KERNEL32.dll"},
    "any": set[str](),
}
