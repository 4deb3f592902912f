import os
from pathlib import Path

import fsspec
import pytest
from inkpunk_fleet import Store, StoreError


@pytest.fixture(params=["local", "file", "memory", "elsewhere"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind; one elsewhere has no whole puts, such as SFTP."""
    url = {"local": str(tmp_path / "out"), "file": f"file://{tmp_path}/out"}
    store = Store(url.get(request.param, f"memory://{tmp_path.name}-{request.param}"))
    if request.param == "elsewhere":
        store._protocols = ("sftp",)
    return store


def test_what_is_put_is_there(store: Store) -> None:
    assert not store.has("a.webp")
    assert store.read("a.webp") is None
    assert store.put("a.webp", b"picture")
    assert store.has("a.webp")
    assert store.read("a.webp") == b"picture"


def test_the_first_to_put_a_name_stays(store: Store) -> None:
    assert store.put("a.webp", b"first")
    assert not store.put("a.webp", b"second")
    assert store.read("a.webp") == b"first"


def test_an_empty_file_is_not_there_and_is_replaced(store: Store) -> None:
    store._files.pipe_file(store._path("a.webp"), b"")
    assert not store.has("a.webp")
    assert store.put("a.webp", b"picture")
    assert store.read("a.webp") == b"picture"


def test_a_folders_names_are_in_order_and_none_are_temporary(store: Store) -> None:
    assert store.names("rows") == []
    for name in ("rows/b", "rows/a", "other"):
        store.put(name, b"x")
    store._files.pipe_file(store._path("rows/.0123.tmp"), b"half")
    assert store.names("rows") == ["rows/a", "rows/b"]


def test_nothing_is_left_of_a_put_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("memory://fails")
    store._protocols = ("sftp",)

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(store._files, "mv", full)
    with pytest.raises(StoreError, match=r"memory://fails: No space left on device; what is done stays"):
        store.put("a.webp", b"picture")
    assert fsspec.filesystem("memory").ls("/fails", detail=False) == []


@pytest.mark.parametrize("url", ["nosuch://bucket/x", "/dev/null/out"])
def test_a_place_that_cannot_be_used_is_told_in_one_line(url: str) -> None:
    with pytest.raises(StoreError, match=r"^\S+: cannot be used: [^\n]+$"):
        Store(url)
