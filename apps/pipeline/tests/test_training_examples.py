"""A folder that cannot be learned from is refused before anything begins, and all that is wrong is said at once."""

import os
from pathlib import Path

import pytest
from inkpunk.training.errors import TrainingError
from inkpunk.training.examples import read_examples, refuse_small
from PIL import Image


def put(folder: Path, name: str, caption: str | None = "a fox", size: tuple[int, int] = (64, 64)) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    Image.new("RGB", size, (200, 30, 30)).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.jpg", "c.webp"):
        put(tmp_path / "pictures", name)
    return tmp_path / "pictures"


def captions(folder: Path, **settings: str) -> list[str]:
    return [example.caption for example in read_examples(folder, **settings)]


def test_pictures_come_in_the_order_of_their_names(folder: Path) -> None:
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.md").write_text("no picture")
    found = read_examples(folder)
    assert [example.path.name for example in found] == ["a.jpg", "b.png", "c.webp"]
    assert {example.size for example in found} == {(64, 64)}
    assert found[0].picture().size == (64, 64)


def test_a_caption_is_one_line_of_text(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbfa fox,\r\n  at   night\n")
    (folder / "b.txt").write_text("ein Füchslein", encoding="utf-8")
    assert captions(folder) == ["a fox, at night", "ein Füchslein", "a fox"]


def test_one_caption_is_for_those_without(folder: Path) -> None:
    (folder / "b.txt").unlink()
    (folder / "c.txt").write_text(" \n")
    assert captions(folder, caption="a cat") == ["a fox", "a cat", "a cat"]


def test_the_trigger_is_put_where_it_lacks(folder: Path) -> None:
    for name, text in (("a", "a zwfox at night"), ("b", "ZWFOX"), ("c", "a zwfoxes den")):
        (folder / f"{name}.txt").write_text(text)
    assert captions(folder, trigger="zwfox") == ["a zwfox at night", "ZWFOX", "zwfox, a zwfoxes den"]


def test_all_that_lack_a_caption_are_named(folder: Path) -> None:
    for name in "ac":
        (folder / f"{name}.txt").unlink()
    with pytest.raises(TrainingError) as refusal:
        read_examples(folder, trigger="zwfox")
    assert str(refusal.value) == (
        f"{folder}: 2 pictures cannot be learned from:"
        f"\n  {folder / 'a.jpg'}: no caption: write a.txt beside it, or give --caption"
        f"\n  {folder / 'c.webp'}: no caption: write c.txt beside it, or give --caption"
    )


def test_unreadable_pictures_and_captions_are_named(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"no picture")
    (folder / "b.txt").write_bytes(b"\xff\xfe\x00x")
    (folder / "c.txt").write_text("x" * 20_000)
    (folder / "d.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0heicmif1")
    (folder / "d.txt").write_text("a fox")
    (folder / "e.png").mkdir()
    (folder / "e.txt").write_text("a fox")
    with pytest.raises(TrainingError) as refusal:
        read_examples(folder)
    told = str(refusal.value).splitlines()
    assert told[0].endswith("5 pictures cannot be learned from:")
    for line, words in zip(
        told[1:], ("not an image", "not UTF-8", "no caption", "HEIC", "a folder"), strict=True
    ):
        assert words in line


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "d.png")
    os.mkfifo(folder / "d.txt")
    with pytest.raises(TrainingError, match="pipe or device"):
        read_examples(folder, caption="a fox")


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such folder"):
        read_examples(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="not a folder"):
        read_examples(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="no pictures in it"):
        read_examples(tmp_path / "empty")
    put(tmp_path / "one", "a.png")
    with pytest.raises(TrainingError, match="1 picture in it"):
        read_examples(tmp_path / "one")


def test_all_that_are_too_small_are_named(folder: Path) -> None:
    put(folder, "d.png", size=(256, 256))
    put(folder, "e.png", size=(500, 90))
    put(folder, "f.png", size=(103, 103))  # enlarged by a quarter, which may pass
    with pytest.raises(TrainingError) as refusal:
        refuse_small(folder, read_examples(folder), 128)
    told = str(refusal.value)
    assert told.startswith(f"{folder}: 3 pictures cannot be learned from:")
    assert "a.jpg: too small, 64 x 64 for 128 x 128: leave it out, or lower --size" in told
    for name in ("d.png", "e.png", "f.png"):
        assert name not in told
    refuse_small(folder, read_examples(folder), 64)


def test_not_more_is_named_than_one_can_read(folder: Path) -> None:
    for index in range(30):
        put(folder, f"{index:02}.png", caption=None)
    with pytest.raises(TrainingError, match=r"30 pictures[^$]*and 10 more"):
        read_examples(folder)
