"""SillyTavern's requests, field by field as its server sends them, and what it reads of answers."""

import base64
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

BASIC = "Basic"  # of no user: the space behind it is lost on the way
FIELDS: dict[str, Any] = {
    "prompt": "nvinkpunk raven",
    "negative_prompt": "blue",
    "sampler_name": "DPM++ 2M",
    "scheduler": "karras",
    "steps": 2,
    "cfg_scale": 7,
    "width": 64,
    "height": 64,
    "restore_faces": False,
    "enable_hr": False,
    "hr_upscaler": "Latent",
    "hr_scale": 1.5,
    "hr_additional_modules": [],
    "denoising_strength": 0.7,
    "hr_second_pass_steps": 0,
    "override_settings": {
        "CLIP_stop_at_last_layers": 1,
        "sd_vae": "Automatic",
        "forge_additional_modules": [],
    },
    "override_settings_restore_afterwards": True,
    "clip_skip": 1,
    "save_images": True,
    "send_images": True,
    "do_not_save_grid": False,
    "do_not_save_samples": False,
}


@pytest.fixture
def tavern(http: httpx.Client) -> httpx.Client:
    http.headers["Authorization"] = BASIC
    return http


def test_its_lists_answer_and_begin_as_it_expects(tavern: httpx.Client) -> None:
    assert tavern.get("/sdapi/v1/options").is_success  # its ping
    upscalers = [each["name"] for each in tavern.get("/sdapi/v1/upscalers").json()]
    latent = [each["name"] for each in tavern.get("/sdapi/v1/latent-upscale-modes").json()]
    assert (upscalers.pop(0), latent.pop(0)) == ("None", "None")
    assert "Latent" in latent
    assert isinstance(tavern.get("/sdapi/v1/sd-vae").json(), list)
    assert "DPM++ 2M" in [each["name"] for each in tavern.get("/sdapi/v1/samplers").json()]
    assert "karras" in [each["name"] for each in tavern.get("/sdapi/v1/schedulers").json()]


def test_it_chooses_a_model_and_waits_until_nothing_is_drawn(tavern: httpx.Client) -> None:
    titles = [each["title"] for each in tavern.get("/sdapi/v1/sd-models").json()]
    now = tavern.get("/sdapi/v1/options").json()["sd_model_checkpoint"]
    assert now in titles
    assert tavern.post("/sdapi/v1/options", json={"sd_model_checkpoint": titles[0]}).is_success
    told = tavern.get("/sdapi/v1/progress").json()
    assert (told["progress"], told["state"]["job_count"]) == (0, 0)


def test_it_draws_with_fresh_seeds(tavern: httpx.Client) -> None:
    pictures = set[str]()
    for _ in range(2):
        answer = tavern.post("/sdapi/v1/txt2img", json=FIELDS)
        assert answer.is_success, answer.text
        pictures.add(answer.json()["images"][0])
    assert len(pictures) == 2
    assert all(Image.open(BytesIO(base64.b64decode(each))).size == (64, 64) for each in pictures)


def test_it_draws_larger(tavern: httpx.Client) -> None:
    answer = tavern.post("/sdapi/v1/txt2img", json=FIELDS | {"enable_hr": True, "hr_second_pass_steps": 3})
    assert Image.open(BytesIO(base64.b64decode(answer.json()["images"][0]))).size == (96, 96)


def test_it_interrupts_when_its_user_leaves_though_nothing_is_drawn(tavern: httpx.Client) -> None:
    assert tavern.post("/sdapi/v1/interrupt").is_success
