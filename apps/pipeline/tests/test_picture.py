import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk.pictures.facts import Facts
from inkpunk.pictures.picture import Picture, PictureError, PictureExistsError, next_free_path
from PIL import Image


@pytest.fixture
def picture(facts: Facts) -> Picture:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    return Picture(Image.fromarray(pixels), facts)


def test_a_saved_picture_has_the_same_pixels(tmp_path: Path, picture: Picture) -> None:
    path = picture.save(tmp_path / "picture.png")
    with Image.open(path) as image:
        assert image.mode == "RGB"
        assert image.tobytes() == picture.image.tobytes()


def test_a_file_that_exists_is_overwritten_only_when_asked(tmp_path: Path, picture: Picture) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"mine")
    with pytest.raises(PictureExistsError, match=r"picture\.png: exists already; choose another name"):
        picture.save(path)
    assert path.read_bytes() == b"mine"
    picture.save(path, overwrite=True)
    assert path.read_bytes() == picture.png()


def test_a_missing_folder_is_named(tmp_path: Path, picture: Picture) -> None:
    with pytest.raises(
        PictureError, match=re.escape(f"there is no folder {tmp_path / 'none'}; make it first")
    ):
        picture.save(tmp_path / "none" / "picture.png")


def test_a_folder_that_is_a_file_is_named(tmp_path: Path, picture: Picture) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PictureError, match="there is no folder"):
        picture.save(tmp_path / "file" / "picture.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_without_permission_is_named(tmp_path: Path, picture: Picture) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PictureError, match="no permission to write there"):
        picture.save(tmp_path / "picture.png")


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0b.png"])
def test_an_impossible_name_is_refused_in_one_line(tmp_path: Path, picture: Picture, name: str) -> None:
    with pytest.raises(PictureError, match="cannot be written") as refusal:
        picture.save(tmp_path / name, overwrite=True)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", [".", "picture.gif", "a.TIF", "a.jxl", "a.png.bmp", "a.png ", ".png", "picture"]
)
def test_a_name_that_ends_otherwise_is_refused(tmp_path: Path, picture: Picture, name: str) -> None:
    with pytest.raises(
        PictureError, match=r"pictures are saved as PNG, JPEG, WebP or AVIF.*name a \.png, \.jpg"
    ):
        picture.save(tmp_path / name, overwrite=True)
    assert list(tmp_path.iterdir()) == []
    assert picture.save(tmp_path / "A.PNG").read_bytes() == picture.png()


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("nvinkpunk red dragon", "0001-nvinkpunk-red-dragon-seed42.png"),
        ("Éclair, (neon:1.2)!", "0001-eclair-neon-1-2-seed42.png"),
        ("龍", "0001-seed42.png"),
        ("../../etc/passwd", "0001-etc-passwd-seed42.png"),
        ("a" * 500, f"0001-{'a' * 48}-seed42.png"),
        ("samurai " * 20, f"0001-{'samurai-' * 5}samurai-seed42.png"),
    ],
)
def test_a_name_tells_number_prompt_and_seed(tmp_path: Path, prompt: str, name: str) -> None:
    assert next_free_path(tmp_path, prompt, 42) == tmp_path / name


@settings(deadline=None, max_examples=200)
@given(prompt=st.text(st.characters()), seed=st.integers(0, 2**63 - 1))
def test_every_prompt_gives_a_name_that_every_file_system_takes(prompt: str, seed: int) -> None:
    name = next_free_path(Path("no such folder"), prompt, seed).name
    assert re.fullmatch(r"0001(-[a-z0-9]+)*-seed\d+\.png", name)
    assert len(name) <= 100


def test_numbers_go_on_past_the_highest(tmp_path: Path) -> None:
    for name in (
        "0007-raven-seed1.png",
        "12345-seed2.webp",
        "99999-holiday.jpg",
        "notes.txt",
        "0001-a-seed1.png",
    ):
        (tmp_path / name).touch()
    assert next_free_path(tmp_path, "owl", 3).name == "12346-owl-seed3.png"


def test_pictures_saved_at_once_into_one_folder_are_all_kept(tmp_path: Path, picture: Picture) -> None:
    start = threading.Barrier(8)

    def save(seed: int) -> None:
        start.wait()
        Picture(picture.image, replace(picture.facts, seed=seed)).save_into(tmp_path)

    threads = [threading.Thread(target=save, args=(seed,)) for seed in [7] * 4 + [8] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.glob("*-seed7.png"))) == 4
    assert len(list(tmp_path.iterdir())) == 8
