"""The folder of pictures as a gallery."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given as any_of
from hypothesis import strategies as st
from inkpunk.pictures.facts import Facts, PictureError
from inkpunk.pictures.picture import Picture
from inkpunk_studio.gallery.gallery import TRASH, Gallery
from inkpunk_studio.gallery.matching import model_of
from inkpunk_studio.gallery.prompts import Prompts
from inkpunk_studio.gallery.recipes import open_picture
from inkpunk_studio.gallery.shelf import NoSuchPictureError, hung_in
from inkpunk_studio.gallery.thumbnails import SIDE, Thumbnails
from inkpunk_studio.work.models import Known
from PIL import Image, PngImagePlugin

Hang = Callable[..., Path]
THEIRS = (
    "an owl <lora:neon:0.5>\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768, Model: dream"
)


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery(tmp_path / "pictures", tmp_path / "state")


def test_a_gallery_of_no_folder_is_empty(gallery: Gallery) -> None:
    assert gallery.pictures() == ()
    assert gallery.trashed() == ()


def test_pictures_hang_newest_first(gallery: Gallery, hang: Hang) -> None:
    for when, name in ((2, "b.png"), (3, "a.webp"), (1, "c.jpg")):
        hang(gallery.folder, name, when=when)
    assert [each.name for each in gallery.pictures()] == ["a.webp", "b.png", "c.jpg"]


def test_what_is_no_picture_of_the_folder_does_not_hang(gallery: Gallery, tmp_path: Path, hang: Hang) -> None:
    elsewhere = hang(tmp_path / "elsewhere", "secret.png")
    gallery.folder.mkdir()
    (gallery.folder / "notes.txt").write_text("no picture")
    (gallery.folder / ".hidden.png").write_bytes(elsewhere.read_bytes())
    (gallery.folder / "folder.png").mkdir()
    (gallery.folder / "link.png").symlink_to(elsewhere)
    assert gallery.pictures() == ()


@any_of(
    st.one_of(st.text(max_size=40), st.sampled_from(["../secret.png", "a.png", "/etc/passwd", "trash/a.png"]))
)
def test_no_path_is_an_id(told: str) -> None:
    folder = Path(__file__).parent
    with pytest.raises(NoSuchPictureError):
        Gallery(folder, folder).picture(told)


def test_words_are_looked_for_in_prompts_whatever_their_case(gallery: Gallery, hang: Hang) -> None:
    hang(gallery.folder, "a.png", when=2, prompt="A Raven at dusk")
    hang(gallery.folder, "b.png", when=1, prompt="a fox", negative_prompt="raven")
    assert [each.name for each in gallery.pictures("raven")] == ["a.png", "b.png"]
    assert [each.name for each in gallery.pictures("DUSK raven")] == ["a.png"]
    assert gallery.pictures("raven owl") == ()


def test_prompts_of_other_programs_are_searched_too(gallery: Gallery) -> None:
    gallery.folder.mkdir()
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", THEIRS)
    Image.new("RGB", (64, 64)).save(gallery.folder / "a.png", pnginfo=text)
    assert gallery.pictures("OWL")
    assert not gallery.pictures("raven")


def test_a_picture_that_changed_is_read_anew(gallery: Gallery, hang: Hang) -> None:
    path = hang(gallery.folder, "a.png", when=1, prompt="a fox")
    assert gallery.pictures("fox")
    path.unlink()
    hang(gallery.folder, "a.png", when=2, prompt="an owl")
    assert not gallery.pictures("fox")
    assert gallery.pictures("owl")


def test_a_damaged_file_hangs_and_is_refused_when_opened(gallery: Gallery, hang: Hang) -> None:
    hang(gallery.folder, "a.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    [hung] = gallery.pictures()
    assert gallery.thumbnail(hung) is None
    assert gallery.pictures("raven") == ()
    with pytest.raises(PictureError):
        gallery.open(hung.id)


def test_no_more_prompts_are_kept_than_said(gallery: Gallery, hang: Hang) -> None:
    for number in range(4):
        hang(gallery.folder, f"{number}.png", prompt=f"fox {number}")
    prompts = Prompts(2)
    for each in gallery.pictures():
        assert prompts.of(each).startswith("fox")
    assert len(prompts) == 2


def test_what_is_deleted_can_be_hung_again(gallery: Gallery, hang: Hang) -> None:
    path = hang(gallery.folder, "a.png")
    held = path.read_bytes()
    gallery.delete(gallery.pictures()[0].id)
    assert gallery.pictures() == ()
    [thrown] = gallery.trashed()
    gallery.restore(thrown.id)
    assert gallery.trashed() == ()
    assert path.read_bytes() == held


def test_two_of_one_name_are_both_kept(gallery: Gallery, hang: Hang) -> None:
    for prompt in ("a fox", "an owl"):
        hang(gallery.folder, "a.png", prompt=prompt)
        gallery.delete(gallery.pictures()[0].id)
    there = [open_picture(each.path).prompt for each in gallery.trashed()]
    assert sorted(there) == ["a fox", "an owl"]
    assert gallery.empty_trash() == 2
    assert [*(gallery.folder / TRASH).iterdir()] == []


def test_emptying_the_trash_deletes_nothing_but_pictures_in_it(gallery: Gallery, hang: Hang) -> None:
    path = hang(gallery.folder, "a.png")
    hang(gallery.folder / TRASH, "b.png")
    (gallery.folder / TRASH / "notes.txt").write_text("mine")
    assert gallery.empty_trash() == 1
    assert path.exists()
    assert (gallery.folder / TRASH / "notes.txt").exists()


def test_a_thumbnail_is_small_and_made_once(gallery: Gallery, facts: Facts) -> None:
    gallery.folder.mkdir()
    Picture(Image.new("RGB", (1024, 512), "teal"), facts).save(gallery.folder / "a.png")
    [hung] = gallery.pictures()
    path = gallery.thumbnail(hung)
    assert path is not None
    with Image.open(path) as image:
        assert image.size == (SIDE, SIDE // 2)
    made = path.stat().st_mtime_ns
    assert gallery.thumbnail(hung) == path
    assert path.stat().st_mtime_ns == made


def test_no_more_thumbnails_are_kept_than_said(gallery: Gallery, tmp_path: Path, hang: Hang) -> None:
    thumbnails = Thumbnails(tmp_path / "small", most=3)
    for number in range(6):
        hang(gallery.folder, f"{number}.png", when=number)
    for each in gallery.pictures():
        thumbnails.of(each)
    assert len([*thumbnails.folder.iterdir()]) == 3


def test_a_recipe_of_ours_becomes_the_values_of_an_order(gallery: Gallery, hang: Hang, facts: Facts) -> None:
    opened = open_picture(hang(gallery.folder, "a.png"))
    assert opened.facts == facts
    assert (opened.width, opened.height, opened.format) == (64, 64, "PNG")
    told = {"prompt": "a raven", "negative": "a crow", "seed": 7, "steps": 2, "sampler": "euler", "width": 64}
    assert told.items() <= opened.values.items()
    assert "model" not in opened.values
    assert opened.infotext.startswith("a raven\nNegative prompt: a crow\nSteps: 2")


def test_pictures_that_one_was_drawn_from_are_to_be_given_again(gallery: Gallery, hang: Hang) -> None:
    opened = open_picture(
        hang(gallery.folder, "a.png", init_hash="0" * 32, strength=0.5, paths={"init": "/etc/passwd"})
    )
    assert "init" not in opened.values
    assert "passwd" not in str(opened.values)
    assert opened.notes == ("It was drawn from other pictures (init): give them again in Edit.",)


def test_a_recipe_of_another_program_is_read_too(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", THEIRS)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png", pnginfo=text)
    opened = open_picture(tmp_path / "a.png")
    assert opened.program.startswith("AUTOMATIC1111")
    assert opened.model == "dream"
    assert {"seed": 5, "steps": 20, "width": 512, "height": 768}.items() <= opened.values.items()
    assert opened.infotext == THEIRS


def test_a_picture_without_a_recipe_says_so(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    opened = open_picture(tmp_path / "a.png")
    assert opened.values == {}
    assert "holds no recipe" in opened.notes[0]


@pytest.mark.parametrize(
    ("name", "digits", "found"),
    [
        ("anything", "abcdef0123", "folder/neon"),
        ("C:\\models\\neon.safetensors", "", "folder/neon"),
        ("neon", "9999999999", None),
        ("plain", "9999999999", "plain"),
        ("../../plain.ckpt", "", "plain"),
        ("another", "", None),
        ("", "", None),
    ],
)
def test_a_model_is_found_by_its_hash_or_its_name(
    tmp_path: Path, name: str, digits: str, found: str | None, hang: Hang
) -> None:
    opened = replace(open_picture(hang(tmp_path, "a.png")), model=name, model_hash=digits)
    listed = [Known("folder/neon", "", "abcdef0123", 1), Known("plain", "", None, 1)]
    assert model_of(opened, listed) == found


def test_what_hangs_has_ids_that_stay(gallery: Gallery, hang: Hang) -> None:
    hang(gallery.folder, "a.png")
    before = hung_in(gallery.folder)[0].id
    hang(gallery.folder, "b.png")
    assert gallery.picture(before).name == "a.png"
