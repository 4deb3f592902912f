"""`inkpunk model`: files of weights are told by their hashes, held against one, and found by one."""

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from inkpunk.cli import main
from inkpunk.models.finding import HashError, alike, find, known_files, look_in, read_hash
from inkpunk.models.hashing import file_hash, model_hash


def run(*words: object) -> Result:
    result = CliRunner().invoke(main, ["model", *map(str, words)])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Three files in folders, and the SHA-256 of each by its path."""
    told = dict[str, str]()
    for name in ("a/one.safetensors", "a/b/two.ckpt", "c/three.pt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        told[str(path)] = hashlib.sha256(name.encode()).hexdigest()
    (tmp_path / "a" / "notes.txt").write_bytes(b"c/three.pt")  # no weights, though of the same bytes
    return told


def test_a_files_hashes_are_told(files: dict[str, str]) -> None:
    path, sha256 = next(iter(files.items()))
    lines = run(path).stdout.splitlines()
    assert lines[0] == f"{path}:"
    assert [line.split()[:2][-1] for line in lines[1:2]] == [sha256]
    assert f"  model hash    {sha256[:10]} " in lines[2] and f"  adapter hash  {sha256[:12]} " in lines[3]
    assert len(lines) == 4  # of a file as small as this, the old hash is one of nothing
    assert json.loads(run(path, "--json").stdout)["sha256"] == sha256


def test_automatic1111s_old_hash_is_of_64_kib_behind_the_first_mebibyte(tmp_path: Path) -> None:
    path = tmp_path / "large.ckpt"
    path.write_bytes(bytes(0x100000) + b"ink" * 0x10000)
    expected = hashlib.sha256((b"ink" * 0x10000)[:0x10000]).hexdigest()[:8]
    assert f"  old hash      {expected} " in run(path).stdout


@pytest.mark.parametrize("digits", [8, 10, 12, 64])
def test_a_file_is_held_against_a_hash(files: dict[str, str], digits: int) -> None:
    path, sha256 = next(iter(files.items()))
    assert run(path, "--verify", sha256[:digits].upper()).exit_code == 0
    other = f"{'0' if sha256[0] != '0' else '1'}{sha256[1:digits]}"
    result = run(path, "--verify", other)
    assert (result.exit_code, result.stdout) == (1, f"{path}: is not {other}, but {sha256}\n")


@pytest.mark.parametrize("digits", [10, 12, 64])
def test_a_file_is_found_by_any_of_its_hashes(tmp_path: Path, files: dict[str, str], digits: int) -> None:
    for path, sha256 in files.items():
        result = run("--find", sha256[:digits], tmp_path)
        assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    assert run("--find", "0" * digits, tmp_path).exit_code == 1


def test_what_was_hashed_once_is_found_without_reading(
    tmp_path: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--find", "0" * 10, tmp_path).exit_code == 1  # reads all
    monkeypatch.setattr(hashlib, "sha256", None)  # whoever hashes now stumbles
    for path, sha256 in files.items():
        assert run("--find", sha256[:10]).stdout == f"{path}\n"
        assert run("--find", sha256[:10], Path(path).parent).stdout == f"{path}\n"


def test_a_file_that_changed_or_went_is_not_known_any_more(tmp_path: Path, files: dict[str, str]) -> None:
    (path, sha256), *_ = files.items()
    assert file_hash(Path(path)) == sha256 and known_files(sha256[:10]) == [Path(path)]
    Path(path).write_bytes(b"something else")
    assert not known_files(sha256[:10]) and find(sha256[:10], folders=[tmp_path]) is None


def test_a_folder_of_weights_is_known_and_found(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "ink"
    for name in ("unet/model.safetensors", "vae/model.safetensors"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(name.encode())
    (folder / "model_index.json").write_text("{}")
    digits = model_hash(folder)
    assert known_files(digits, "ink") == [folder]
    assert run("--find", digits, tmp_path).stdout == f"{folder}\n"
    assert f"  weights       {digits} " in run(folder).stdout


def test_of_several_the_one_of_the_name_comes_first(tmp_path: Path) -> None:
    for name in ("a", "ink", "z"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"abc")
        file_hash(tmp_path / f"{name}.safetensors")
    assert known_files("ba7816bf8f", "ink")[0].stem == "ink"
    [*_, last] = look_in([tmp_path], "ba7816bf8f", "z")
    assert last.found == tmp_path / "z.safetensors"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give a FILE, or --find HASH"),
        (["--find", "xyz"], "'xyz' is no hash; give the 10 or 12 digits"),
        (["--find", "0" * 10, "nowhere"], "nowhere: no such folder"),
        (["--find", "0" * 10, "--verify", "0" * 10], "give one of them"),
        (["nowhere.ckpt"], "nowhere.ckpt: no such file"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(words: list[str], said: str) -> None:
    result = run(*words)
    assert result.exit_code and said in result.stderr


@given(st.text("0123456789abcdef", min_size=8, max_size=64), st.integers(8, 64))
def test_hashes_are_alike_as_far_as_both_go(digits: str, length: int) -> None:
    assert read_hash(f" [{digits.upper()}] ") == digits
    assert alike(digits, digits[:length]) and not alike(digits, digits[:7])
    assert not alike(digits, f"{digits[:-1]}{'0' if digits[-1] != '0' else '1'}")
    with pytest.raises(HashError):
        read_hash(f"{digits[:7]}g")
