import hashlib
import json
import os
import subprocess
from pathlib import Path

import inkpunk.models.hashing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inkpunk.models.hashing import cache_folder, file_hash, model_hash, readable_hash


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INKPUNK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hashes.json"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were hashed."""
    seen = list[str]()
    digest = hashlib.file_digest

    def counted(file: object, name: str) -> object:
        seen.append(Path(file.name).name)  # pyright: ignore
        return digest(file, name)  # pyright: ignore

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return seen


def test_a_file_is_known_by_the_start_of_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "ink.ckpt"
    path.write_bytes(b"abc")
    assert model_hash(path) == "ba7816bf8f"  # FIPS 180-2, appendix B.1


def test_a_folder_is_known_by_what_sha256sum_prints(tmp_path: Path) -> None:
    folder = tmp_path / "ink"
    for name in ("unet/a.safetensors", "vae/a.bin", "text_encoder/model.safetensors"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(name.encode())
    (folder / "unet" / "config.json").write_text("{}")
    command = "find * -name '*.safetensors' -o -name '*.bin' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    assert model_hash(folder) == printed[:10]


def test_a_folders_hash_is_that_of_its_weights_alone(tmp_path: Path) -> None:
    folder = tmp_path / "ink"
    folder.mkdir()
    weights = folder / "unet.safetensors"
    weights.write_bytes(b"abc")
    before = model_hash(folder)
    (folder / "README.md").write_text("hello")
    folder = folder.rename(tmp_path / "punk")
    assert model_hash(folder) == before
    (folder / "unet.safetensors").write_bytes(b"abcd")
    assert model_hash(folder) != before


def test_a_hash_is_computed_once(tmp_path: Path, reads: list[str]) -> None:
    path = tmp_path / "ink.ckpt"
    path.write_bytes(b"abc")
    link = tmp_path / "link.ckpt"
    link.symlink_to(path)
    assert model_hash(path) == model_hash(path) == model_hash(link) == "ba7816bf8f"
    assert reads == ["ink.ckpt"]


def test_a_changed_file_is_hashed_anew(tmp_path: Path) -> None:
    path = tmp_path / "ink.ckpt"
    path.write_bytes(b"abc")
    stamp = path.stat().st_mtime_ns
    before = model_hash(path)
    path.write_bytes(b"xyz")
    os.utime(path, ns=(stamp, stamp + 1))
    assert model_hash(path) != before
    changed = model_hash(path)
    path.write_bytes(b"longer")
    os.utime(path, ns=(stamp, stamp + 1))
    assert model_hash(path) != changed


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damage=st.binary(max_size=40)
    | st.sampled_from([b"[]", b"{}", b'{"a": 1}', b'{"a": [1, 2, 3]}', b"[" * 10**5])
)
def test_a_damaged_cache_is_written_anew(tmp_path: Path, cache: Path, damage: bytes) -> None:
    path = tmp_path / "ink.ckpt"
    path.write_bytes(b"abc")
    cache.parent.mkdir(exist_ok=True)
    cache.write_bytes(damage)
    assert model_hash(path) == "ba7816bf8f"
    assert list(json.loads(cache.read_bytes())) == [str(path)]


def test_files_that_are_gone_are_forgotten(tmp_path: Path, cache: Path) -> None:
    for name in ("a.ckpt", "b.ckpt"):
        (tmp_path / name).write_bytes(name.encode())
        model_hash(tmp_path / name)
        (tmp_path / "a.ckpt").unlink(missing_ok=True)
    assert list(json.loads(cache.read_bytes())) == [str(tmp_path / "b.ckpt")]


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ink.ckpt"
    path.write_bytes(b"abc")
    monkeypatch.setenv("INKPUNK_CACHE", str(path / "not a folder"))
    assert model_hash(path) == "ba7816bf8f"


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ink.ckpt"
    path.write_bytes(b"abc")
    digest = hashlib.file_digest

    def slow(file: object, name: str) -> object:
        path.write_bytes(b"abcdef")
        return digest(file, name)  # pyright: ignore

    monkeypatch.setattr(inkpunk.models.hashing.hashlib, "file_digest", slow)
    model_hash(path)
    assert not cache.exists()


def test_the_cache_is_where_the_user_keeps_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("INKPUNK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "inkpunk"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "inkpunk"


def test_a_missing_model_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        model_hash(tmp_path / "none.ckpt")


SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    "entry",
    [
        "Infinity",
        "[Infinity, 1, {sha}]",
        "[1, NaN, {sha}]",
        "[1.5, 1, {sha}]",
        "[null, 1, {sha}]",
        "[1, 1, [1]]",
        "[1, 1, 5]",
        "{{}}",
        '"abc"',
        "[[1], 1, {sha}]",
        '[1, 1, "zz"]',
        "1e999",
        "true",
    ],
)
def test_one_wrong_entry_is_passed_over_and_the_others_kept(
    tmp_path: Path, cache: Path, reads: list[str], entry: str
) -> None:
    path, bad = tmp_path / "ink.ckpt", tmp_path / "bad.ckpt"
    for each in (path, bad):
        each.write_bytes(b"abc")
    model_hash(path)
    text = cache.read_text().rstrip("}") + f', "{bad}": {entry.format(sha=json.dumps(SHA256))}' + "}"
    cache.write_text(text)
    reads.clear()
    assert model_hash(path) == model_hash(bad) == "ba7816bf8f"
    assert reads == ["bad.ckpt"]
    assert list(json.loads(cache.read_bytes())) == [str(path), str(bad)]


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_a_name_in_the_cache_that_is_none_does_not_keep_others_out(
    tmp_path: Path, cache: Path, name: str
) -> None:
    path = tmp_path / "ink.ckpt"
    path.write_bytes(b"abc")
    cache.parent.mkdir()
    cache.write_text(json.dumps({name: [1, 1, SHA256]}))
    assert model_hash(path) == "ba7816bf8f"
    assert list(json.loads(cache.read_bytes())) == [str(path)]


def test_a_folder_in_the_place_of_the_cache_is_done_without(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "ink.ckpt"
    path.write_bytes(b"abc")
    cache.mkdir(parents=True)
    assert model_hash(path) == "ba7816bf8f"
    assert [file.name for file in cache.parent.iterdir()] == [cache.name]


def test_what_cannot_be_hashed_any_more_has_no_hash(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("gone.ckpt", "loop"):
        assert readable_hash(model_hash, tmp_path / name) == ""
        assert readable_hash(file_hash, tmp_path / name) == ""


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKPUNK_CACHE", str(tmp_path))
    os.mkfifo(tmp_path / "hashes.json")
    os.mkfifo(tmp_path / "model.ckpt")
    with pytest.raises(OSError, match="not a regular file"):
        model_hash(tmp_path / "model.ckpt")
    (tmp_path / "file").write_bytes(b"x")
    assert len(model_hash(tmp_path / "file")) == 10
