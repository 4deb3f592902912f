import os
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk.pictures import plain, reading
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.fitting import cut_off, size_like
from inkpunk.pictures.kinds import KINDS, kind_of, readable_kinds
from inkpunk.pictures.png_text import read_facts
from inkpunk.pictures.reading import load_image, read_picture
from inkpunk.pictures.recipe import is_picture, read_recipe
from PIL import Image, features

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
    if mode in ("CMYK", "YCbCr"):
        path = saved(
            tmp_path, image, "init.tif", compression="tiff_lzw"
        )  # Pillow 12 cannot read its own without
    else:
        path = saved(tmp_path, image)
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
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
            r"PostScript \(EPS\) pictures cannot be read",
        ),
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
    with pytest.raises(PictureError, match="too large, 10,000 pixels: at most 9,998 are read"):
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
    with pytest.raises(PictureError, match="a folder; give a picture's file"):
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


def png_of_zeros(width: int, height: int, bits: int = 8, colour: int = 0) -> bytes:
    """A PNG whose pixels are not there: its header tells all that is asked for."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(3)) if colour == 3 else b""
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette
    return start + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("bits", "colour"), [(8, 0), (16, 0), (16, 2), (8, 3), (1, 0)])
def test_what_is_too_large_is_refused_before_it_is_decoded(tmp_path: Path, bits: int, colour: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of_zeros(13_300, 13_300, bits, colour))  # less than Pillow refuses by itself
    with pytest.raises(PictureError) as refusal:  # to decode it would fail: its pixels are not there
        load_image(path, 64, 64)
    assert str(refusal.value) == (
        f"{path}: too large, 13300 x 13300 pixels: at most 64,000,000 are read; scale it down first"
    )


def test_an_icon_is_refused_by_the_picture_in_it(tmp_path: Path) -> None:
    inner = png_of_zeros(13_300, 13_300)
    entry = struct.pack("<BBBBHHII", 32, 32, 0, 0, 1, 32, len(inner), 22)  # which says 32 x 32
    path = tmp_path / "bomb.ico"
    path.write_bytes(b"\0\0\1\0\1\0" + entry + inner)
    with pytest.raises(PictureError, match="too large, 13300 x 13300"):
        load_image(path, 64, 64)


def test_a_tiff_is_refused_by_its_tiles(tmp_path: Path) -> None:
    side, size, path = 12_992, 16, tmp_path / "bomb.tif"
    fields = {256: size, 257: size, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 134, 325: 8}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(12))
    with pytest.raises(PictureError, match="its tiles are too large, 12992 x 12992 pixels"):
        load_image(path, 8, 8)


def test_only_a_jpeg_that_can_be_decoded_smaller_may_be_larger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_PIXELS", 10_000)
    image = Image.linear_gradient("L").convert("RGB").resize((300, 200))
    path = saved(tmp_path, image, "photo.jpg", quality=95)
    assert read_picture(path).size == (75, 50)
    assert (
        np.abs(np.asarray(load_image(path, 24, 16)).astype(int) - np.asarray(image.resize((24, 16)))).max()
        < 8
    )
    for name, options in {"whole.jpg": {"progressive": True}, "whole.png": {}, "whole.bmp": {}}.items():
        with pytest.raises(PictureError, match="too large, 300 x 200 pixels: at most 10,000"):
            read_picture(saved(tmp_path, image, name, **options))
    with pytest.raises(PictureError, match="too large, 1000 x 700 pixels"):
        read_picture(saved(tmp_path, Image.new("RGB", (1000, 700)), "huge.jpg"))
    with pytest.raises(PictureError, match="at most 5,000 of a WEBP are read"):
        read_picture(saved(tmp_path, Image.new("RGB", (80, 70)), "heavy.webp"))


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "L", "I;16"])
def test_a_large_picture_is_averaged_down_strip_by_strip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    levels = np.linspace(0, 255, 301)[:, None].repeat(203, 1)
    image = Image.fromarray(levels.round().astype(np.uint8))
    image = Image.fromarray((levels * 257).astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    path = saved(tmp_path, image)
    whole = load_image(path, 40, 56)
    monkeypatch.setattr(plain, "KEPT_PIXELS", 20_000)
    monkeypatch.setattr(plain, "STRIP_PIXELS", 1000)
    assert read_picture(path).size == (102, 151)
    assert np.abs(np.asarray(load_image(path, 40, 56)).astype(int) - np.asarray(whole)).max() <= 2


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak")
def test_a_picture_at_the_limit_takes_the_memory_that_is_stated(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("P", (8000, 8000)), compress_level=1)
    program = (
        "import resource, sys; from inkpunk.pictures.reading import load_image\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak(); load_image(sys.argv[1], 64, 64); print(peak() - before)"
    )
    told = subprocess.run([sys.executable, "-c", program, path], check=True, capture_output=True, text=True)
    assert int(told.stdout) < 250  # 64 MB of it the pixels, 64 the result


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.avif", "avif"), ("a.jp2", "jpg_2000"), ("a.j2k", "jpg_2000"), ("a.tga", None), ("A.ICO", None)],
)
def test_more_kinds_are_read_where_pillow_can(tmp_path: Path, name: str, kind: str | None) -> None:
    if kind and not features.check(kind):
        pytest.skip("this Pillow cannot")
    loaded = load_image(saved(tmp_path, Image.new("RGB", (40, 40), RED), name), 16, 16)
    assert np.abs(np.asarray(loaded)[8, 8].astype(int) - RED).max() <= 3


def brands(*names: bytes) -> bytes:
    return struct.pack(">I", 12 + 4 * len(names)) + b"ftyp" + names[0] + bytes(4) + b"".join(names[1:])


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (brands(b"heic", b"mif1"), "HEIC"),
        (brands(b"mif1", b"heic"), "HEIC"),
        (brands(b"hevx"), "HEIC"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"8BPS\0\1" + bytes(40), "Photoshop"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ],
)
def test_a_kind_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "init"
    path.write_bytes(content)
    with pytest.raises(
        PictureError, match=rf"init: {kind}.* pictures cannot be read here; save it as PNG or JPEG"
    ):
        load_image(path, 8, 8)


def test_a_pillow_that_was_built_without_a_kind_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "init"
    path.write_bytes(brands(b"avif", b"mif1"))
    with pytest.raises(PictureError, match=r"damaged image"):
        load_image(path, 8, 8)
    monkeypatch.setattr(features, "check", lambda name: False)
    monkeypatch.setattr(reading, "KINDS", tuple(kind for kind in KINDS if kind != "AVIF"))
    with pytest.raises(PictureError, match="AVIF pictures cannot be read here"):
        load_image(path, 8, 8)
    assert "AVIF" not in readable_kinds()
    assert kind_of(b"RIFF1234WEBPVP8 ") == "WEBP"


def test_text_is_no_tga(tmp_path: Path) -> None:
    content = BytesIO()
    Image.new("RGB", (8, 8)).save(content, "TGA")
    (tmp_path / "init").write_bytes(content.getvalue())
    with pytest.raises(PictureError, match="not an image of a known kind"):
        load_image(tmp_path / "init", 8, 8)


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 300])
def test_an_impossible_name_is_not_called_damaged(tmp_path: Path, name: str) -> None:
    with pytest.raises(PictureError, match="cannot be read: ") as refusal:
        load_image(tmp_path / name, 8, 8)
    assert "damaged" not in str(refusal.value)


def test_too_little_memory_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(image: Image.Image) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr(reading, "plain_picture", out_of_memory)
    with pytest.raises(PictureError, match="not enough memory to decode it"):
        load_image(saved(tmp_path, Image.new("RGB", (8, 8))), 8, 8)


@pytest.mark.parametrize(
    ("picture", "side", "size"),
    [
        ((6000, 4000), 512, (624, 416)),
        ((4000, 6000), 512, (416, 624)),
        ((4000, 3000), 512, (576, 432)),
        ((777, 777), 512, (512, 512)),
        ((300, 200), 64, (80, 56)),
        ((1, 100_000), 512, (8, 36_040)),
    ],
)
def test_a_size_has_the_pictures_shape_and_the_models_area(
    picture: tuple[int, int], side: int, size: tuple[int, int]
) -> None:
    assert size_like(picture, side) == size


def test_a_size_that_is_asked_for_wins() -> None:
    assert size_like((300, 200), 512, 64, 72) == (64, 72)
    assert size_like((300, 200), 512, width=96) == (96, 64)
    assert size_like((300, 200), 512, height=64) == (96, 64)
    assert size_like((10_000, 1), 512, width=64) == (64, 8)


@settings(deadline=None)
@given(
    picture=st.tuples(*[st.integers(100, 10_000)] * 2),
    side=st.integers(4, 128).map(lambda each: each * 8),
)
def test_a_size_is_of_multiples_of_8_and_near_the_area(picture: tuple[int, int], side: int) -> None:
    width, height = size_like(picture, side)
    assert width % 8 == height % 8 == 0 < width * height
    assert abs(width * height / side**2 - 1) <= 0.1 + 1e-9


def test_what_is_cut_off_is_told() -> None:
    assert cut_off((300, 100), (50, 50)) == "66.7% of its width"
    assert cut_off((100, 300), (50, 50)) == "66.7% of its height"
    assert cut_off((6000, 4000), (624, 416)) == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for read in (read_picture, read_recipe, read_facts):
        for path, kind in ((pipe, "a pipe or device"), (tmp_path, "a folder")):
            with pytest.raises(PictureError, match=rf"{path}: {kind}; give a picture's file"):
                read(path)
    assert not is_picture(pipe)
