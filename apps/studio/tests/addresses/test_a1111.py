"""AUTOMATIC1111's addresses, as their callers see them."""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

SMALL = {"prompt": "nvinkpunk raven", "steps": 2, "width": 64, "height": 64, "seed": 7}

LISTS = (
    *(
        "samplers",
        "schedulers",
        "upscalers",
        "latent-upscale-modes",
        "sd-models",
        "sd-vae",
        "sd-modules",
        "loras",
    ),
    *("embeddings", "hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles", "scripts"),
    *("script-info", "extensions", "cmd-flags", "memory"),
)


def text(image: Image.Image) -> str:
    buffer = BytesIO()
    image.save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def opened(told: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(told)))


def drawn(http: httpx.Client, way: str = "txt2img", **fields: Any) -> dict[str, Any]:
    answer = http.post(f"/sdapi/v1/{way}", json=SMALL | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_each_picture_tells_its_infotext_and_info_tells_the_same(http: httpx.Client) -> None:
    told = drawn(http, batch_size=2, n_iter=1, sampler_name="DPM++ 2M Karras", cfg_scale=5)
    info = json.loads(told["info"])
    assert [opened(each).info["parameters"] for each in told["images"]] == info["infotexts"]
    assert info["all_seeds"] == [7, 8]
    assert (info["sampler_name"], info["steps"], info["cfg_scale"]) == ("DPM++ 2M", 2, 5)
    assert "Schedule type: Karras" in info["infotexts"][0]
    assert "Like: a1111" in info["infotexts"][0]
    assert told["parameters"] == {}


def test_with_a_subseed_the_seed_stays_and_the_subseeds_count_on(http: httpx.Client) -> None:
    info = json.loads(drawn(http, batch_size=2, subseed=40, subseed_strength=0.3)["info"])
    assert (info["all_seeds"], info["all_subseeds"]) == ([7, 7], [40, 41])
    assert "Variation seed: 41" in info["infotexts"][1]


def test_without_a_size_the_model_draws_its_own(http: httpx.Client) -> None:
    told = drawn(http, width=None, height=None)
    assert opened(told["images"][0]).size == (128, 128)


def test_a_second_pass_makes_it_larger(http: httpx.Client) -> None:
    told = drawn(http, enable_hr=True, hr_scale=2, hr_upscaler="Latent", denoising_strength=0.6)
    assert opened(told["images"][0]).size == (128, 128)
    assert told["warnings"] == []


def test_a_second_pass_has_its_own_sides_and_what_is_not_there_is_named(http: httpx.Client) -> None:
    told = drawn(http, enable_hr=True, hr_resize_x=96, hr_upscaler="R-ESRGAN 4x+", hr_second_pass_steps=2)
    assert opened(told["images"][0]).size == (96, 96)
    assert any("R-ESRGAN" in line for line in told["warnings"])


def test_outside_of_the_mask_a_picture_stays(http: httpx.Client) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    fields = {"init_images": [text(Image.new("RGB", (64, 64), "teal"))], "mask": text(mask), "mask_blur": 0}
    told = drawn(http, "img2img", inpaint_full_res=False, inpainting_fill=1, **fields)
    after = opened(told["images"][0])
    assert after.getpixel((60, 30)) == Image.new("RGB", (1, 1), "teal").getpixel((0, 0))
    inverted = drawn(http, "img2img", inpaint_full_res=False, inpainting_mask_invert=1, **fields)
    assert opened(inverted["images"][0]).getpixel((4, 30)) == (0, 128, 128)


@pytest.mark.parametrize("fill", [0, 1, 2, 3])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_a_masked_part_begins_as_each_of_theirs(http: httpx.Client, fill: int, strength: float) -> None:
    picture = text(Image.new("RGB", (64, 64), "teal"))
    mask = text(Image.new("L", (64, 64), 255))
    drawn(
        http, "img2img", init_images=[picture], mask=mask, inpainting_fill=fill, denoising_strength=strength
    )


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_a_picture_of_another_shape_is_brought_to_the_size(http: httpx.Client, mode: int) -> None:
    picture = "data:image/png;base64," + text(Image.new("RGB", (80, 40), "teal"))
    told = drawn(http, "img2img", init_images=[picture], resize_mode=mode, denoising_strength=0)
    assert opened(told["images"][0]).size == (64, 64)


def test_settings_for_one_request_leave_the_options_as_they_are(http: httpx.Client) -> None:
    before = http.get("/sdapi/v1/options").json()
    told = drawn(
        http,
        override_settings={
            "CLIP_stop_at_last_layers": 2,
            "samples_format": "jpg",
            "sd_vae": "other",
            "nonsense": 1,
        },
    )
    assert "Clip skip: 2" in json.loads(told["info"])["infotexts"][0]
    assert opened(told["images"][0]).format == "JPEG"
    assert len(told["warnings"]) == 2
    assert "nonsense" in json.loads(told["info"])["extra_generation_params"]["Warnings"]
    assert http.get("/sdapi/v1/options").json() == before


def test_what_is_not_there_is_named(http: httpx.Client) -> None:
    told = drawn(
        http,
        restore_faces=True,
        styles=["Base"],
        script_name="X/Y/Z plot",
        refiner_checkpoint="another",
        s_churn=0.5,
        disable_extra_networks=[[[]]],
        alwayson_scripts={"ADetailer": {"args": [True]}, "idle": {"args": [False]}},
        scheduler="none such",
        a_field_of_tomorrow=1,
    )
    lines = " ".join(told["warnings"])
    named = (
        "restore_faces",
        "Base",
        "X/Y/Z",
        "ADetailer",
        "none such",
        "refiner",
        "s_churn",
        "disable_extra",
    )
    assert all(each in lines for each in named)
    assert "idle" not in lines


def test_tiling_is_followed(http: httpx.Client) -> None:
    assert drawn(http, tiling=True)["warnings"] == []


def test_pictures_need_not_be_sent(http: httpx.Client) -> None:
    told = drawn(http, send_images=False)
    assert told["images"] == []
    assert json.loads(told["info"])["all_seeds"] == [7]


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        ({"sampler_name": "none such"}, 404, "none such"),
        ({"override_settings": {"sd_model_checkpoint": "none such"}}, 422, "none such"),
        ({"steps": 0}, 422, "steps"),
        ({"steps": "many"}, 422, "steps"),
        ({"batch_size": 9999}, 422, "pictures"),
        ({"width": 100_000}, 422, "pixels"),
        ({"alwayson_scripts": {"controlnet": {"args": [{"module": "canny"}]}}}, 422, "ControlNet 0"),
    ],
)
def test_a_refusal_has_their_form(http: httpx.Client, fields: dict[str, Any], status: int, word: str) -> None:
    answer = http.post("/sdapi/v1/txt2img", json=SMALL | fields)
    assert (answer.status_code, answer.json()["error"]) == (status, "HTTPException")
    assert word in answer.json()["detail"]


def test_a_picture_to_begin_from_is_missed(http: httpx.Client) -> None:
    assert http.post("/sdapi/v1/img2img", json=SMALL).status_code == 404


def test_options_are_written_back_whole(http: httpx.Client) -> None:
    options = http.get("/sdapi/v1/options").json()
    assert http.post("/sdapi/v1/options", json=options).json() is None
    assert http.get("/sdapi/v1/options").json() == options


def test_styles_are_listed_and_laid_around_the_prompt(http: httpx.Client, studio: Any) -> None:
    file = studio.settings.pictures / "styles.csv"
    file.write_text('name,prompt,negative_prompt\nink,"{prompt}, ink splash",blue\n')
    try:
        assert http.get("/sdapi/v1/prompt-styles").json() == [
            {"name": "ink", "prompt": "{prompt}, ink splash", "negative_prompt": "blue"}
        ]
        info = json.loads(drawn(http, styles=["ink"])["info"])
        assert (info["prompt"], info["negative_prompt"]) == ("nvinkpunk raven, ink splash", "blue")
    finally:
        file.unlink()


def test_the_option_for_a_pictures_colours_is_followed(http: httpx.Client) -> None:
    picture = text(Image.new("RGB", (64, 64), "teal"))
    told = drawn(http, "img2img", init_images=[picture], override_settings={"img2img_color_correction": True})
    assert "Match colours" in json.loads(told["info"])["infotexts"][0]
    assert drawn(http, override_settings={"img2img_color_correction": True})["warnings"] == []


def test_an_option_that_cannot_be_changes_none(http: httpx.Client) -> None:
    before = http.get("/sdapi/v1/options").json()
    for told, status in (({"sd_model_checkpoint": "none such"}, 404), ({"sd_vae": 3}, 422)):
        told = {"CLIP_stop_at_last_layers": 3, **told}
        assert http.post("/sdapi/v1/options", json=told).status_code == status
    assert http.post("/sdapi/v1/options", json={"nonsense": 1}).json()["warnings"]
    assert http.get("/sdapi/v1/options").json() == before


@pytest.mark.parametrize("name", LISTS)
def test_each_list_answers(http: httpx.Client, name: str) -> None:
    assert http.get(f"/sdapi/v1/{name}").status_code == 200


def test_every_listed_sampler_and_scheduler_can_be_asked_for(http: httpx.Client) -> None:
    from inkpunk_sampling import find_sampler, find_spacing

    for each in http.get("/sdapi/v1/samplers").json():
        assert find_sampler(each["name"])[0] in each["aliases"]
        assert all(isinstance(value, str) for value in each["options"].values())
    names = [each["name"] for each in http.get("/sdapi/v1/schedulers").json()]
    assert names[0] == "automatic"
    assert [find_spacing(each) for each in names[1:]]


def test_nothing_of_a_list_tells_a_folder(http: httpx.Client) -> None:
    for name in ("sd-models", "cmd-flags", "loras", "embeddings", "options"):
        assert "/" not in http.get(f"/sdapi/v1/{name}").text


def test_a_picture_is_made_larger_to_a_size_or_by_a_factor(http: httpx.Client) -> None:
    picture = text(Image.new("RGB", (30, 20), "teal"))
    ways: list[tuple[dict[str, Any], tuple[int, int]]] = [
        ({"upscaling_resize": 3, "upscaler_1": "Nearest"}, (90, 60)),
        ({"resize_mode": 1, "upscaling_resize_w": 64, "upscaling_resize_h": 64}, (64, 64)),
        (
            {"resize_mode": 1, "upscaling_resize_w": 60, "upscaling_resize_h": 60, "upscaling_crop": False},
            (60, 40),
        ),
    ]
    for fields, size in ways:
        told = http.post("/sdapi/v1/extra-single-image", json={"image": picture, **fields}).json()
        assert opened(told["image"]).size == size
    answer = http.post(
        "/sdapi/v1/extra-single-image",
        json={"image": text(Image.new("L", (2000, 2000))), "upscaling_resize": 4},
    )
    assert answer.status_code == 422
    named = http.post("/sdapi/v1/extra-single-image", json={"image": picture, "upscaler_1": "R-ESRGAN 4x+"})
    assert "Lanczos was taken" in named.json()["html_info"]


class Blackening:
    """A network that makes a picture larger, and black."""

    scale = 8

    def enlarged(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        return Image.new("RGB", (image.width * 8, image.height * 8))


def test_a_listed_network_makes_a_picture_larger(
    run_studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "upscalers"
    folder.mkdir()
    (folder / "ink.safetensors").touch()
    opens = list[Path]()

    def load(path: Path, device: object) -> Blackening:
        opens.append(path)
        return Blackening()

    monkeypatch.setattr("inkpunk_studio.http.a1111.pictures.load_upscaler", load)
    told = {"image": text(Image.new("RGB", (30, 20), "white")), "upscaling_resize": 2, "upscaler_1": "ink"}
    where = {name: tmp_path / name for name in ("pictures", "state")}
    with run_studio(upscalers=folder, **where) as studio, httpx.Client(base_url=studio.url) as http:
        assert "ink" in [each["name"] for each in http.get("/sdapi/v1/upscalers").json()]
        answer = http.post("/sdapi/v1/extra-single-image", json=told).json()
        large = {**told, "image": text(Image.new("L", (1500, 1500))), "upscaling_resize": 1.1}
        refused = http.post("/sdapi/v1/extra-single-image", json=large)
    assert opens[0] == folder / "ink.safetensors"
    assert answer["warnings"] == []
    assert opened(answer["image"]).convert("RGB").getextrema() == ((0, 0),) * 3
    assert (refused.status_code, "12000x12000" in refused.text) == (422, True)


def test_an_infotext_is_read_and_taken_apart(http: httpx.Client) -> None:
    told = drawn(http)
    read = http.post("/sdapi/v1/png-info", json={"image": told["images"][0]}).json()
    assert read["info"] == json.loads(told["info"])["infotexts"][0]
    assert (read["parameters"]["Seed"], read["parameters"]["Prompt"]) == ("7", "nvinkpunk raven")
    without = http.post("/sdapi/v1/png-info", json={"image": text(Image.new("RGB", (8, 8)))}).json()
    assert without["info"] == ""
    assert http.post("/sdapi/v1/png-info", json={"image": "no picture"}).status_code == 422


def test_a_request_is_followed_by_its_own_id(http: httpx.Client) -> None:
    drawn(http, force_task_id="task(mine)")
    told = http.get("/sdapi/v1/progress", params={"id_task": "task(mine)"}).json()
    assert (told["current_task"], told["progress"], told["state"]["job_count"]) == ("task(mine)", 1.0, 0)
