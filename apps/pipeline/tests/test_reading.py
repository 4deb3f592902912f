from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.reading import load_image
from PIL import Image

RED, WHITE = (255, 0, 0), (255, 255, 255)


def saved(tmp_path: Path, image: Image.Image, name: str = "init.png", **options: object) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16"])
def test_white_is_white_in_every_mode(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (40, 24), "white")
    if mode == "I;16":
        image = Image.fromarray(np.full((24, 40), 65535, np.uint16))
    else:
        image = image.convert("RGB").convert(mode)
    path = saved(tmp_path, image, "init.tif" if mode in ("CMYK", "YCbCr") else "init.png")
    loaded = load_image(path, 40, 24)
    assert loaded.mode == "RGB"
    assert loaded.size == (40, 24)
    assert loaded.getextrema() == ((255, 255),) * 3


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    path = saved(tmp_path, Image.fromarray(levels * 257))
    assert (np.asarray(load_image(path, 16, 16))[..., 1] == levels).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_what_is_transparent_is_white(tmp_path: Path, mode: str) -> None:
    options: dict[str, object] = {}
    if mode in ("RGBA", "LA"):
        image = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert(mode)
    else:
        image = Image.new(mode, (8, 8), 0)
        options["transparency"] = 0 if mode == "P" else (0, 0, 0)
    path = saved(tmp_path, image, **options)
    assert load_image(path, 8, 8).getpixel((4, 4)) == WHITE


def test_half_transparent_red_is_pink(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGBA", (8, 8), (255, 0, 0, 127)))
    assert load_image(path, 8, 8).getpixel((4, 4)) == (255, 128, 128)


def test_a_photo_taken_sideways_stands_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "white")
    image.paste(RED, (0, 0, 20, 20))  # the left half, which is the top once turned clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, image, exif=exif)
    loaded = load_image(path, 20, 40)
    assert loaded.getpixel((10, 5)) == RED
    assert loaded.getpixel((10, 35)) == WHITE


def test_what_juts_out_is_cut_off_evenly(tmp_path: Path) -> None:
    image = Image.new("RGB", (300, 100), "white")
    image.paste(RED, (100, 0, 200, 100))
    loaded = load_image(saved(tmp_path, image), 50, 50)
    inner = loaded.crop(
        (3, 0, 47, 50)
    )  # Lanczos looks three pixels around each, so the border sees some white
    assert inner.getextrema() == ((255, 255), (0, 0), (0, 0))
    assert loaded.tobytes() == loaded.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()


def test_an_image_of_the_right_size_is_not_resampled(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(pixels))
    assert (np.asarray(load_image(path, 40, 24)) == pixels).all()


@settings(deadline=None, max_examples=30)
@given(size=st.tuples(*[st.integers(1, 300)] * 2), wanted=st.tuples(*[st.integers(1, 100)] * 2))
def test_any_size_becomes_the_wanted_size(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    path = saved(tmp_path_factory.mktemp("init"), Image.new("RGB", size, RED))
    loaded = load_image(path, *wanted)
    assert loaded.size == wanted
    assert loaded.getextrema() == ((255, 255), (0, 0), (0, 0))


def encoded(name: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    buffer = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(buffer, format=name, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an image"),
        (b"hello", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
        (encoded("png")[:1500], "damaged image"),
        (encoded("jpeg")[:600], "damaged image"),
    ],
    ids=["empty", "text", "eps", "cut png", "cut jpeg"],
)
def test_what_cannot_be_shown_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "init"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=reason) as refusal:
        load_image(path, 64, 64)
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


def test_a_decompression_bomb_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, Image.new("1", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4999)
    with pytest.raises(PictureError, match="more than 9,998 pixels; scale it down"):
        load_image(path, 8, 8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5001)  # where Pillow would warn
    assert load_image(path, 8, 8).size == (8, 8)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("F", (8, 8)), "init.tif")
    with pytest.raises(PictureError, match=r"init\.tif: an image of floating-point pixels"):
        load_image(path, 8, 8)


def test_a_missing_file_and_a_folder_are_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="none: no such file"):
        load_image(tmp_path / "none", 8, 8)
    with pytest.raises(PictureError, match="Is a directory"):
        load_image(tmp_path, 8, 8)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_damaged_file_is_loaded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(encoded(data.draw(st.sampled_from(["png", "jpeg", "webp", "bmp", "gif", "tiff"]))))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("init") / "init"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert load_image(path, 16, 16).size == (16, 16)
    except PictureError as refusal:
        assert "\n" not in str(refusal)
