"""A wheel holds kernels for the platform that it is for, and what is installed for editing asks for no compiler."""

import platform
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from inkpunk_winograd.native import prebuilt

PACKAGE = Path(__file__).parents[1]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What builds the package, in the package's folder."""
    spec = spec_from_file_location("hatch_build", PACKAGE / "hatch_build.py")
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "hatch_build", module)
    spec.loader.exec_module(module)
    monkeypatch.chdir(PACKAGE)
    monkeypatch.delenv(module.WHEEL, raising=False)
    return module


@pytest.mark.parametrize(
    ("system", "machine", "libc", "tag"),
    [
        ("Linux", "x86_64", "glibc", "manylinux_2_17_x86_64"),
        ("Linux", "aarch64", "glibc", "manylinux_2_17_aarch64"),
        ("Linux", "x86_64", "", "any"),
        ("Linux", "riscv64", "glibc", "any"),
        ("Darwin", "arm64", "", "macosx_11_0_arm64"),
        ("Windows", "AMD64", "", "win_amd64"),
    ],
)
def test_a_wheel_is_for_the_machine_that_it_is_built_on(
    system: str, machine: str, libc: str, tag: str, backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    assert backend.wanted() == tag


def test_or_for_what_the_environment_names(backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backend.WHEEL, "win_arm64")
    assert backend.wanted() == "win_arm64"
    monkeypatch.setenv(backend.WHEEL, "amiga")
    with pytest.raises(ValueError, match="INKPUNK_WHEEL=amiga: must be any or one of manylinux"):
        backend.wanted()


def test_only_wheels_with_kernels_ask_for_the_compiler(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(backend.WHEEL, "win_arm64")
    assert backend.COMPILER in backend.get_requires_for_build_wheel()
    assert backend.COMPILER not in backend.get_requires_for_build_editable()
    monkeypatch.setenv(backend.WHEEL, "any")
    assert backend.COMPILER not in backend.get_requires_for_build_wheel()


def test_what_is_compiled_is_what_is_looked_for(backend: ModuleType) -> None:
    assert {*backend.X86} == {*prebuilt.X86.values(), prebuilt.LEAST}
    assert {to.suffix for to in backend.PLATFORMS.values()} == {*prebuilt.SUFFIXES.values()}
    assert all((PACKAGE / backend.NATIVE / f"{kernel}.c").exists() for kernel in backend.KERNELS)


@pytest.mark.parametrize("version", ["standard", "editable"])
def test_libraries_go_into_the_wheel_and_not_into_the_source(
    version: str, backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_kernels(tag: str, native: Path, folder: Path) -> None:
        (folder / "convolution-arm64.dll").write_text(tag)

    monkeypatch.setattr(backend, "compile_kernels", compile_kernels)
    monkeypatch.setenv(backend.WHEEL, "win_arm64")
    hook = backend.Kernels(str(PACKAGE), {}, None, None, "", "wheel")
    data: dict[str, Any] = {"force_include": {}}
    hook.initialize(version, data)
    if version == "editable":
        assert data == {"force_include": {}}
    else:
        [(path, name)] = data["force_include"].items()
        assert Path(path).read_text() == "win_arm64"
        assert name == "inkpunk_winograd/native/prebuilt/convolution-arm64.dll"
        assert (data["tag"], data["pure_python"]) == ("py3-none-win_arm64", False)
        hook.finalize(version, data, "")
        assert not Path(path).exists()
    hook.finalize(version, data, "")
    assert not (PACKAGE / backend.NATIVE / "prebuilt").exists()
