"""Pictures of requests: every form that clients send is read, and nothing else is."""

import base64
from io import BytesIO
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inkpunk_studio.http import incoming
from inkpunk_studio.http.incoming import Incoming, IncomingError, read_bytes, read_text
from inkpunk_studio.settings import Settings
from PIL import Image

SETTINGS = Settings()


def file_of(form: str = "png", size: tuple[int, int] = (24, 16), mode: str = "RGB") -> bytes:
    buffer = BytesIO()
    Image.new(mode, size, "teal").save(buffer, format=form)
    return buffer.getvalue()


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "gif", "bmp"])
def test_the_kinds_that_clients_send_are_read(form: str) -> None:
    read = read_bytes("image", file_of(form))
    assert (read.image.size, read.image.mode) == ((24, 16), "RGB")
    assert read.data == file_of(form)


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "  {}\n",
        "data:image/png;base64,{}",
        "data:;base64,{}",
        "DATA:image/png;charset=utf-8;base64,{}",
    ],
)
def test_base64_is_read_bare_and_as_a_data_uri(form: str) -> None:
    assert read_text("image", form.format(text_of(file_of())), SETTINGS).image.size == (24, 16)


def test_base64_may_have_line_breaks_the_letters_of_urls_and_no_padding() -> None:
    data = file_of(size=(25, 17))
    text = base64.urlsafe_b64encode(data).decode().rstrip("=")
    broken = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76))
    assert read_text("image", broken, SETTINGS).data == data


def test_what_is_transparent_stays_so() -> None:
    assert read_bytes("mask", file_of(mode="RGBA")).image.mode == "RGB"  # all of it is opaque
    clear = BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(clear, format="png")
    assert read_bytes("mask", clear.getvalue()).image.mode == "RGBA"


@pytest.mark.parametrize(
    "text", ["/etc/passwd", "file:///etc/passwd", "..\\picture.png", "C:\\a.png", "a.png"]
)
def test_a_path_is_no_picture(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(file_of())
    with pytest.raises(IncomingError, match="image"):
        read_text("image", text, SETTINGS)


def test_an_address_is_refused_where_nothing_is_fetched() -> None:
    with pytest.raises(IncomingError, match="not fetched"):
        read_text("image", "https://example.com/a.png", SETTINGS)


@pytest.mark.parametrize("form", ["tiff", "ppm", "ico", "eps"])
def test_other_kinds_are_refused(form: str) -> None:
    with pytest.raises(IncomingError, match="send PNG"):
        read_bytes("image", file_of(form))


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incoming, "with_alpha", None)  # what decodes
    bomb = bytearray(file_of())
    bomb[16:24] = (9_000).to_bytes(4, "big") * 2
    bomb[29:33] = crc32(bomb[12:29]).to_bytes(4, "big")
    with pytest.raises(IncomingError, match="too large"):
        read_bytes("image", bytes(bomb))


@given(st.data())
def test_a_damaged_picture_is_refused_in_one_line(data: st.DataObject) -> None:
    whole = bytearray(file_of(data.draw(st.sampled_from(["png", "jpeg", "webp", "gif", "bmp"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_bytes("image", bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    except IncomingError as error:
        assert str(error).startswith("image: ")
        assert "\n" not in str(error)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(IncomingError, match="image: "):
        read_text("image", text, SETTINGS)


def test_a_picture_that_was_made_of_one_is_a_file_again() -> None:
    made = Incoming.of(Image.new("L", (8, 8), 255))
    assert read_bytes("mask", made.attachment.data).image.getpixel((0, 0)) == (255, 255, 255)
