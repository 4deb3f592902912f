"""webuiapi, which scripts for AUTOMATIC1111's API are written with, against a studio that listens."""

import time
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
import webuiapi
from PIL import Image

PATIENCE = 30.0  # seconds, for what takes one
SMALL: dict[str, Any] = {"prompt": "nvinkpunk raven", "steps": 2, "width": 64, "height": 64, "seed": 7}
LONG: dict[str, Any] = {"prompt": "nvinkpunk raven", "steps": 150, "width": 256, "height": 256, "n_iter": 4}


@pytest.fixture
def api(studio: Any) -> Iterator[Any]:
    client = webuiapi.WebUIApi(baseurl=f"{studio.url}/sdapi/v1")
    client.session.trust_env = False
    yield client
    client.session.close()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_picture_is_drawn_from_a_prompt(api: Any) -> None:
    result = api.txt2img(**SMALL, batch_size=2, negative_prompt="blue")
    assert [each.size for each in result.images] == [(64, 64), (64, 64)]
    assert result.info["all_seeds"] == [7, 8]
    assert (result.info["sampler_name"], result.info["cfg_scale"]) == ("Euler a", 7)
    assert result.info["infotexts"][1] == result.images[1].info["parameters"]
    assert result.json["warnings"] == []


def test_a_part_of_a_picture_is_drawn_anew(api: Any) -> None:
    mask = Image.new("RGB", (64, 64))
    mask.paste("white", (16, 16, 48, 48))
    picture = Image.new("RGB", (64, 64), "teal")
    result = api.img2img(images=[picture], mask_image=mask, inpainting_fill=1, mask_blur=1, **SMALL)
    assert result.image.size == (64, 64)
    assert result.image.getpixel((0, 0)) == (0, 128, 128)
    assert result.image.getpixel((32, 32)) != (0, 128, 128)
    assert result.json["warnings"] == []


def test_a_picture_is_followed(api: Any) -> None:
    lines = Image.new("RGB", (64, 64))
    lines.paste("white", (20, 0, 24, 64))
    unit = webuiapi.ControlNetUnit(
        image=lines, module="canny", model="control_v11p_sd15_canny [d14c016b]", weight=0.8
    )
    alone = api.txt2img(**SMALL, alwayson_scripts={})  # what is left out would be the call's before
    result = api.txt2img(**SMALL, alwayson_scripts={}, controlnet_units=[unit])
    assert "Weight: 0.8" in result.info["infotexts"][0]
    assert result.image.tobytes() != alone.image.tobytes()


def test_options_are_read_written_and_models_chosen_by_title(api: Any) -> None:
    options = api.get_options()
    api.set_options(options)
    assert api.get_options() == options
    api.util_set_model(api.util_get_model_names()[0])
    assert api.util_get_current_model() == options["sd_model_checkpoint"]
    assert "Euler a" in api.util_get_sampler_names()
    assert "karras" in api.util_get_scheduler_names()


def test_while_it_draws_it_tells_how_far_it_is_and_interrupting_ends_it(api: Any) -> None:
    results = list[Any]()
    drawing = Thread(target=lambda: results.append(api.txt2img(**LONG)))
    drawing.start()
    try:
        until(lambda: api.get_progress()["state"]["sampling_step"] > 0)
        told = api.get_progress()
        assert 0 < told["progress"] < 1
        assert told["state"]["job_count"] == 4
        assert told["state"]["sampling_steps"] == 150
        until(lambda: api.get_progress()["current_image"] is not None)
    finally:
        api.interrupt()
        drawing.join(PATIENCE)
    told = results[0]
    assert 1 <= len(told.images) <= 4  # the last as it stood
    assert [each.info["parameters"] for each in told.images] == told.info["infotexts"]
    assert told.images[-1].size == (256, 256)
    assert any("interrupted" in line for line in told.json["warnings"])
    api.util_wait_for_ready(check_interval=0.05)


def test_skipping_goes_on_with_the_next_picture(api: Any) -> None:
    results = list[Any]()
    drawing = Thread(target=lambda: results.append(api.txt2img(**LONG)))
    drawing.start()
    try:
        until(lambda: api.get_progress()["state"]["sampling_step"] > 0)
        api.skip()
        until(lambda: api.get_progress()["state"]["job_no"] >= 1)
        assert api.get_progress()["state"]["skipped"]
    finally:
        api.interrupt()
        drawing.join(PATIENCE)
    assert len(results) == 1


def test_a_picture_is_made_larger_and_its_recipe_read(api: Any) -> None:
    drawn = api.txt2img(**SMALL)
    larger = api.extra_single_image(drawn.image, upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=2)
    assert larger.image.size == (128, 128)
    both = api.extra_batch_images([drawn.image, drawn.image], upscaling_resize=1.5)
    assert [each.size for each in both.images] == [(96, 96), (96, 96)]
    assert api.png_info(drawn.image).info == drawn.info["infotexts"][0]


def test_what_else_it_asks_is_answered(api: Any) -> None:
    assert api.get_upscalers()[0]["name"] == "None"
    assert api.get_latent_upscale_modes()[0]["name"] == "None"
    assert {"ram", "cuda"} <= api.get_memory().keys()
    lists = ("sd_vae", "loras", "embeddings", "scripts", "cmd_flags", "samplers", "schedulers", "sd_models")
    for name in (*lists, "hypernetworks", "face_restorers", "realesrgan_models", "prompt_styles"):
        assert getattr(api, f"get_{name}")() is not None
    assert api.refresh_checkpoints() is None
