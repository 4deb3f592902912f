"""OpenAI's own client draws with the studio as it would with OpenAI."""

import base64
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from inkpunk.orders.order import Order
from inkpunk.pictures.png_text import read_facts
from PIL import Image

PROMPT = "nvinkpunk raven"
SMALL: dict[str, Any] = {"prompt": PROMPT, "size": "64x64"}
QUICK = {"steps": 2, "seed": 7}
LONG: dict[str, Any] = {"prompt": PROMPT, "size": "512x512", "extra_body": {"steps": 150}}


@pytest.fixture
def client(studio: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{studio.url}/v1", api_key="none is needed", max_retries=0) as client:
        yield client


def file_of(mode: str = "RGB", size: tuple[int, int] = (64, 64), colour: Any = "teal") -> BytesIO:
    buffer = BytesIO()
    Image.new(mode, size, colour).save(buffer, format="png")
    buffer.name = "picture.png"
    return buffer


def image_of(text: str | None) -> Image.Image:
    assert text is not None
    return Image.open(BytesIO(base64.b64decode(text)))


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def test_models_are_listed_and_looked_up(client: openai.OpenAI) -> None:
    assert [each.id for each in client.models.list()] == ["sketch"]
    assert client.models.retrieve("sketch").object == "model"
    with pytest.raises(openai.NotFoundError, match="not among those listed"):
        client.models.retrieve("../secret")


def test_pictures_are_drawn_in_base64_with_their_recipes(client: openai.OpenAI, tmp_path: Path) -> None:
    answer = client.images.generate(**SMALL, model="sketch", n=2, extra_body=QUICK)
    assert answer.data is not None
    assert (answer.size, answer.output_format, len(answer.data)) == ("64x64", "png", 2)
    for place, each in enumerate(answer.data):
        file = tmp_path / f"{place}.png"
        file.write_bytes(base64.b64decode(each.b64_json or ""))
        facts = read_facts(file)
        assert (facts.prompt, facts.seed, facts.steps, facts.width) == (PROMPT, 7 + place, 2, 64)


def test_an_address_is_answered_where_it_is_asked_for_and_is_fetched_without_a_key(
    client: openai.OpenAI,
) -> None:
    for told in ({"response_format": "url"}, {"model": "dall-e-2"}):
        answer = client.images.generate(**SMALL, **told, extra_body=QUICK)
        assert answer.data is not None
        assert answer.data[0].b64_json is None
        got = httpx.get(answer.data[0].url or "", trust_env=False)
        assert got.headers["content-type"] == "image/png"
        assert Image.open(BytesIO(got.content)).size == (64, 64)


def test_an_openai_model_is_drawn_by_ours_and_said_to_be(client: openai.OpenAI) -> None:
    answer = client.images.generate(**SMALL, model="gpt-image-1", extra_body=QUICK)
    assert answer.model_extra is not None
    assert answer.model_extra["warnings"] == ["model gpt-image-1: is OpenAI's; sketch drew"]


def test_another_model_than_those_listed_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.images.generate(**SMALL, model="/etc/passwd")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(("form", "kind"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_a_picture_comes_in_the_format_that_is_asked_for(client: openai.OpenAI, form: Any, kind: str) -> None:
    answer = client.images.generate(**SMALL, output_format=form, output_compression=60, extra_body=QUICK)
    assert answer.data is not None
    assert image_of(answer.data[0].b64_json).format == kind
    assert answer.output_format == form


def test_a_size_is_any_and_drawn_in_multiples_of_8(client: openai.OpenAI) -> None:
    answer = client.images.generate(prompt=PROMPT, size="70x101", extra_body=QUICK)
    assert answer.size == "72x104"
    assert "multiples of 8" in str(answer.model_extra)
    assert client.images.generate(prompt=PROMPT, size="auto", extra_body=QUICK).size == "128x128"


def test_a_quality_is_a_number_of_steps_unless_one_is_told(client: openai.OpenAI) -> None:
    for extra, steps in (({}, 12), ({"steps": 3}, 3)):
        answer = client.images.generate(**SMALL, quality="low", extra_body=extra)
        assert answer.data is not None
        assert f"Steps: {steps}," in str(answer.data[0].model_extra)


def test_a_misspelt_option_is_named_and_what_is_none_is_passed_over(client: openai.OpenAI) -> None:
    answer = client.images.generate(**SMALL, user="me", extra_body={**QUICK, "guidence": 3, "zzz": [1]})
    assert answer.model_extra is not None
    assert [each[:8] for each in answer.model_extra["warnings"]] == ["guidence"]


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"size": "large"}, "size"),
        ({"size": "9000x9000"}, "pixels"),
        ({"n": 65}, "64"),
        ({"extra_body": {"steps": 100_000}}, "steps"),
        ({"extra_body": {"sampler": "none such"}}, "sampler"),
        ({"extra_body": {"device": "cuda"}}, "device"),
        ({"extra_body": {"wildcards": "/etc"}}, "wildcards"),
        ({"extra_body": {"init": "/etc/passwd"}}, "init"),
        ({"prompt": "x" * 20_001}, "prompt"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    client: openai.OpenAI, told: dict[str, Any], what: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=what) as refused:
        client.images.generate(**(SMALL | told))
    assert refused.value.type == "invalid_request_error"
    assert "\n" not in str(refused.value.body)


def test_previews_and_pictures_are_streamed(client: openai.OpenAI) -> None:
    events = list(
        client.images.generate(
            **SMALL, stream=True, partial_images=2, output_format="webp", extra_body={"steps": 16, "seed": 3}
        )
    )
    partials = [each for each in events if each.type == "image_generation.partial_image"]
    assert [each.partial_image_index for each in partials] == [*range(len(partials))]
    assert partials
    assert all(image_of(each.b64_json).size == (64, 64) for each in partials)
    last = events[-1]
    assert last.type == "image_generation.completed"
    assert (last.size, last.output_format, last.usage.total_tokens) == ("64x64", "webp", 0)
    assert image_of(last.b64_json).format == "WEBP"


def test_an_edit_is_streamed_under_its_own_name(client: openai.OpenAI) -> None:
    events = list(client.images.edit(image=file_of(), prompt=PROMPT, stream=True, extra_body=QUICK))
    assert [each.type for each in events] == ["image_edit.completed"]


def test_what_is_transparent_in_the_mask_is_drawn_anew_and_no_more(client: openai.OpenAI) -> None:
    hole = Image.new("RGBA", (64, 64), "black")
    hole.paste((0, 0, 0, 0), (0, 0, 32, 64))
    mask = BytesIO()
    hole.save(mask, format="png")
    answer = client.images.edit(
        image=("picture.png", file_of()), mask=("mask.png", mask.getvalue()), prompt=PROMPT, extra_body=QUICK
    )
    assert answer.data is not None
    drawn = np.asarray(image_of(answer.data[0].b64_json).convert("RGB")).astype(int)
    far = np.abs(drawn - (0, 128, 128)).max(axis=2)
    assert far[:, 32:].max() == 0
    assert far[:, :28].mean() > 20


def test_what_is_transparent_in_the_picture_is_drawn_anew_where_there_is_no_mask(
    client: openai.OpenAI,
) -> None:
    image = Image.new("RGBA", (64, 64), (0, 128, 128, 255))
    image.paste((0, 0, 0, 0), (0, 0, 64, 32))
    file = BytesIO()
    image.save(file, format="png")
    answer = client.images.edit(image=("a.png", file.getvalue()), prompt=PROMPT, extra_body=QUICK)
    assert answer.data is not None
    drawn = np.asarray(image_of(answer.data[0].b64_json).convert("RGB")).astype(int)
    assert np.abs(drawn[40:] - (0, 128, 128)).max() == 0


def test_several_pictures_are_taken_and_the_first_is_edited(client: openai.OpenAI) -> None:
    answer = client.images.edit(image=[file_of(), file_of(size=(32, 32))], prompt=PROMPT, extra_body=QUICK)
    assert "the first was edited" in str(answer.model_extra)


@pytest.mark.filterwarnings(
    "ignore:deprecated:DeprecationWarning"
)  # by OpenAI, whose older models have them alone
def test_variations_are_drawn_of_a_picture_without_a_prompt(client: openai.OpenAI) -> None:
    answer = client.images.create_variation(image=file_of(), n=2, extra_body=QUICK)
    assert answer.data is not None
    assert len({each.b64_json for each in answer.data}) == 2


def test_a_damaged_picture_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="image"):
        client.images.edit(image=("a.png", file_of().getvalue()[:60]), prompt=PROMPT)


def test_a_control_is_an_object_or_text_with_its_picture_in_it(client: openai.OpenAI) -> None:
    drawn = Image.new("L", (64, 64))
    drawn.paste(255, (16, 16, 48, 48))
    buffer = BytesIO()
    drawn.save(buffer, format="png")
    picture = base64.b64encode(buffer.getvalue()).decode()
    answers = [
        client.images.generate(**SMALL, extra_body={**QUICK, "control": each})
        for each in (
            [{"kind": "canny", "picture": picture, "weight": 0.5, "end": 0.6}],
            f"canny:data:image/png;base64,{picture}:0.5:0-0.6",
        )
    ]
    one, other = [each.data[0].b64_json for each in answers if each.data]
    assert np.array_equal(np.asarray(image_of(one)), np.asarray(image_of(other)))


def test_a_full_queue_says_when_to_come_back(client: openai.OpenAI, studio: Any) -> None:
    order = Order.read({"prompt": PROMPT, "seed": 1, "steps": 150, "width": 512, "height": 512})
    jobs = [studio.desk.submit([order], client="page")]
    until(lambda: studio.desk.job(jobs[0].id).state == "drawing")
    try:
        jobs += [studio.desk.submit([order], client="page") for _ in range(8)]
        with pytest.raises(openai.RateLimitError) as refused:
            client.images.generate(**SMALL)
        assert int(refused.value.response.headers["retry-after"]) >= 1
        assert refused.value.code == "queue_full"
    finally:
        for job in reversed(jobs):
            studio.desk.cancel(job.id)


@pytest.mark.parametrize("stream", [False, True])
def test_a_job_whose_asker_leaves_is_cancelled(studio: Any, stream: bool) -> None:
    before = {job.id for job in studio.desk.jobs()}
    body = {"prompt": PROMPT, "size": "512x512", "steps": 150, "stream": stream}

    def new() -> list[Any]:
        return [job for job in studio.desk.jobs() if job.id not in before]

    with (
        httpx.Client(trust_env=False) as leaving,
        pytest.raises(httpx.TimeoutException),
        leaving.stream("POST", f"{studio.url}/v1/images/generations", json=body, timeout=1) as answer,
    ):
        answer.read()
    until(lambda: [job.state for job in new()] == ["cancelled"])


def test_a_drawing_that_fails_says_why(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="strength") as refused:
        client.images.edit(image=file_of(), prompt=PROMPT, extra_body={"steps": 2, "strength": 0.01})
    assert refused.value.code == "drawing_failed"


async def drawn_by_many(url: str) -> list[int]:
    import asyncio

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x") as client:
        answers = await asyncio.gather(
            *(client.images.generate(**SMALL, extra_body={"steps": 1, "seed": seed}) for seed in range(8))
        )
    return [each.data[0].model_extra["seed"] for each in answers if each.data and each.data[0].model_extra]


def test_many_who_ask_at_once_get_each_their_own(studio: Any) -> None:
    import asyncio

    assert asyncio.run(drawn_by_many(studio.url)) == [*range(8)]
