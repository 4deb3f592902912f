"""Networks chosen by programs: by webuiapi, by OpenAI's fields, and by jobs, against a studio that listens."""

import base64
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import webuiapi
from PIL import Image

SMALL: dict[str, Any] = {"prompt": "nvinkpunk raven", "steps": 2, "width": 64, "height": 64, "seed": 7}


@pytest.fixture(scope="module")
def shelved(shelf: Path, tmp_path_factory: pytest.TempPathFactory, run_studio: Any) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("shelved")
    with run_studio(pictures=root / "pictures", state=root / "state", models=(shelf,), hub=None) as studio:
        yield studio


@pytest.fixture
def client(shelved: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shelved.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def api(shelved: Any) -> Iterator[Any]:
    api = webuiapi.WebUIApi(baseurl=f"{shelved.url}/sdapi/v1")
    api.session.trust_env = False
    yield api
    api.session.close()


def lines() -> Image.Image:
    drawn = Image.new("RGB", (64, 64))
    drawn.paste("white", (20, 8, 44, 56))
    return drawn


def in_text(picture: Image.Image) -> str:
    buffer = BytesIO()
    picture.save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def image_of(text: str) -> bytes:
    return Image.open(BytesIO(base64.b64decode(text))).tobytes()


def test_a_network_is_chosen_from_the_list_as_clients_do(api: Any) -> None:
    listed = api.controlnet_model_list()
    assert any(each.startswith("outline_canny [") for each in listed)
    assert {"none", "canny"} <= {*api.controlnet_module_list()}
    assert api.controlnet_version() >= 2
    drawn = list[bytes]()
    for model in [*listed, "None"]:
        module = "ip-adapter_clip_sd15" if model.startswith("ip-") else "canny"
        unit = webuiapi.ControlNetUnit(
            image=lines(), module=module, model=model, weight=0.8, threshold_a=100, threshold_b=200
        )
        result = api.txt2img(**SMALL, alwayson_scripts={}, controlnet_units=[unit])
        assert result.json["warnings"] == []
        drawn.append(result.image.tobytes())
    assert len({*drawn}) == len(drawn) - 2  # outline_canny is the box's own, which None is, too


def test_hints_are_made_for_whoever_asks(api: Any, client: httpx.Client) -> None:
    result = api.controlnet_detect([lines()], module="canny")
    edges = result.image.convert("L")
    assert (edges.getpixel((32, 32)), edges.getpixel((2, 2))) == (0, 0)
    assert edges.getextrema() == (0, 255)
    for told, word in (({"controlnet_module": "openpose"}, "openpose"), ({}, "there is none")):
        answer = client.post("/controlnet/detect", json=told)
        assert answer.status_code == 422
        assert word in answer.json()["detail"]


def test_types_tell_which_modules_and_networks_go_together(client: httpx.Client) -> None:
    types = client.get("/controlnet/control_types").json()["control_types"]
    assert types["Canny"]["default_option"] == "canny"
    assert types["Canny"]["default_model"].startswith("sketch-canny")
    assert len(types["IP-Adapter"]["model_list"]) == 3
    assert types["All"]["model_list"][1:] == client.get("/controlnet/model_list").json()["model_list"]


def test_a_network_that_is_not_there_is_refused_with_what_is(client: httpx.Client) -> None:
    unit = {"image": in_text(lines()), "module": "canny", "model": "nobody [01234567]"}
    answer = client.post(
        "/sdapi/v1/txt2img", json=SMALL | {"alwayson_scripts": {"controlnet": {"args": [unit]}}}
    )
    assert answer.status_code == 422
    assert "there is sketch-canny" in answer.json()["detail"]


def test_openais_fields_and_jobs_name_networks_too(shelved: Any, client: httpx.Client) -> None:
    listed = client.get("/networks").json()
    assert {"name": "t2i/t2iadapter_canny", "kind": "control network", "hint": "canny"}.items() <= next(
        each for each in listed if each["family"] == "T2I-Adapter"
    ).items()
    picture, told = in_text(lines()), list[bytes]()
    ways: list[dict[str, Any]] = [
        {"control": {"kind": "canny", "picture": picture, "network": "t2iadapter_canny"}},
        {"control": f"canny:{picture}", "control_net": ["canny=t2i/t2iadapter_canny"]},
        {"image_prompt": {"picture": picture, "network": "ip-adapter_one"}},
        {"image_prompt": picture, "ip_adapter": "ip-adapter_one"},
    ]
    with openai.OpenAI(base_url=f"{shelved.url}/v1", api_key="any", max_retries=0) as client_of_theirs:
        for each in ways:
            answer = client_of_theirs.images.generate(
                prompt=SMALL["prompt"], size="64x64", extra_body={"steps": 2, "seed": 7, **each}
            )
            assert answer.data and answer.data[0].b64_json
            told.append(image_of(answer.data[0].b64_json))
    assert (told[0], told[2]) == (told[1], told[3])
    assert told[0] != told[2]
    job = client.post("/jobs", json={"orders": [SMALL | ways[0]]}).json()
    ended = client.get(f"/jobs/{job['id']}/events").text
    assert '"done"' in ended
    drawn = client.get(f"/jobs/{job['id']}/pictures/0").content
    assert Image.open(BytesIO(drawn)).tobytes() == told[0]
    refused = client.post("/jobs", json={"orders": [SMALL | {"control_net": "canny=nobody"}]})
    assert refused.status_code == 400
    assert "there is sketch-canny" in refused.json()["detail"]
