"""Open WebUI's requests, field by field as it sends them when its engine is AUTOMATIC1111."""

import base64
import json
from io import BytesIO

import httpx
import pytest
from PIL import Image


@pytest.mark.parametrize("authorization", ["", "Basic dXNlcjpwYXNzd29yZA=="])
def test_it_verifies_lists_models_and_writes_all_options_back(http: httpx.Client, authorization: str) -> None:
    headers = {"authorization": authorization}
    options = http.get("/sdapi/v1/options", headers=headers).json()
    models = http.get("/sdapi/v1/sd-models", headers=headers).json()
    assert options["sd_model_checkpoint"] in [each["title"] for each in models]
    assert all(each["model_name"] for each in models)
    options["sd_model_checkpoint"] = models[0]["title"]
    assert http.post("/sdapi/v1/options", json=options, headers=headers).is_success


def test_it_draws_and_reads_images_and_info(http: httpx.Client) -> None:
    body = {"prompt": "nvinkpunk raven", "batch_size": 2, "width": 64, "height": 64, "steps": 2}
    answer = http.post(
        "/sdapi/v1/txt2img", json=body | {"negative_prompt": "blue"}, headers={"authorization": ""}
    )
    told = answer.json()
    assert [Image.open(BytesIO(base64.b64decode(each))).size for each in told["images"]] == [(64, 64)] * 2
    assert json.loads(told["info"])["negative_prompt"] == "blue"
