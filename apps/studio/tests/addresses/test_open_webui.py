"""Open WebUI's requests, field by field as it sends them when its engine is OpenAI, and what it reads of answers."""

import base64
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

KEY = "an API key of the user's"


def picture(size: tuple[int, int] = (64, 64)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, "teal").save(buffer, format="png")
    return buffer.getvalue()


def shown(answer: httpx.Response) -> list[Image.Image]:
    """What it makes of an answer: an address comes before base64, in which a comma would end a data URI's head."""
    answer.raise_for_status()
    images = list[Image.Image]()
    for each in answer.json()["data"]:
        if url := each.get("url", None):
            got = httpx.get(url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
            assert got.headers["content-type"].split("/")[0] == "image"
            images.append(Image.open(BytesIO(got.content)))
        else:
            assert "," not in each["b64_json"]
            images.append(Image.open(BytesIO(base64.b64decode(each["b64_json"]))))
    return images


@pytest.mark.parametrize("authorization", [f"Bearer {KEY}", "Bearer", ""])
def test_a_picture_is_generated(http: httpx.Client, authorization: str) -> None:
    body = {
        "model": "dall-e-2",
        "prompt": "nvinkpunk raven",
        "n": 1,
        "size": "64x64",
        "response_format": "b64_json",
    }
    answer = http.post(
        "/v1/images/generations",
        json=body | {"steps": 2},  # its additional parameters
        headers={"Authorization": authorization, "Content-Type": "application/json"},
    )
    assert [each.size for each in shown(answer)] == [(64, 64)]


def test_an_image_model_is_not_told_a_format_and_its_address_has_a_version(http: httpx.Client) -> None:
    body = {"model": "gpt-image-1", "prompt": "nvinkpunk raven", "n": 2, "size": "auto"}
    answer = http.post(
        "/v1/images/generations?api-version=2025-04-01-preview",
        json=body | {"steps": 1},
        headers={
            "Authorization": f"Bearer {KEY}",
            "X-OpenWebUI-User-Name": "A%20User",
            "X-OpenWebUI-User-Role": "admin",
        },
    )
    assert [each.size for each in shown(answer)] == [(128, 128), (128, 128)]


def test_an_address_is_fetched_with_the_key(http: httpx.Client) -> None:
    body = {"model": "dall-e-3", "prompt": "nvinkpunk raven", "n": 1, "size": "64x64", "steps": 1}
    assert [each.size for each in shown(http.post("/v1/images/generations", json=body))] == [(64, 64)]


@pytest.mark.parametrize(
    "fields", [{"n": "1"}, {"n": "2", "size": "72x64"}, {"background": "transparent"}, {"size": ""}]
)
def test_a_picture_is_edited(http: httpx.Client, fields: dict[str, str]) -> None:
    told = {
        "model": "gpt-image-1",
        "prompt": "nvinkpunk raven",
        "response_format": "b64_json",
        "steps": "2",
        **fields,
    }
    parts: list[tuple[str, Any]] = [(name, (None, value)) for name, value in told.items()]
    parts.append(("image", ("image.png", picture(), "image/png")))
    answer = http.post("/v1/images/edits", files=parts, headers={"Authorization": f"Bearer {KEY}"})
    images = shown(answer)
    assert len(images) == int(fields.get("n", 1))
    if fields.get("size"):
        assert images[0].size == (72, 64)


def test_several_pictures_come_with_brackets(http: httpx.Client) -> None:
    parts: list[tuple[str, Any]] = [
        ("model", (None, "gpt-image-1")),
        ("prompt", (None, "nvinkpunk raven")),
        ("steps", (None, "2")),
        ("image[]", ("image.png", picture(), "image/png")),
        ("image[]", ("image.png", picture((32, 32)), "image/png")),
    ]
    assert len(shown(http.post("/v1/images/edits", files=parts))) == 1


def test_a_refusal_is_where_it_looks(http: httpx.Client) -> None:
    answer = http.post("/v1/images/generations", json={"model": "none such", "prompt": "a", "n": 1})
    assert answer.status_code == 404
    assert "none such" in answer.json()["error"]["message"]
