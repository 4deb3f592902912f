"""Other programs' pictures, as files that they save; and our own whose facts were lost."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from inkpunk import Facts, Order
from inkpunk.cli import main
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others import read_others, values_of_others
from inkpunk.pictures.png_text import infotext
from inkpunk.pictures.recipe import Recipe
from PIL import Image
from PIL.PngImagePlugin import PngInfo

INFOTEXT = (
    "a moth 蛾\nNegative prompt: dust\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 9, Size: 512x512, Version: v1.10.1"
)
MAKE, MODEL, COMMENT = 0x010F, 0x0110, 0x9286
WORKFLOW: dict[str, Any] = json.loads((Path(__file__).parent / "others" / "workflow.json").read_text())
MEANT = {
    "like": "comfyui",
    "prompt": "a moth",
    "negative": "dust",
    "seed": 4141,
    "steps": 22,
    "guidance": 6.5,
    "sampler": "dpmpp_2m",
    "spacing": "karras",
    "width": 512,
    "height": 768,
    "model": "dream.safetensors",
}


def png(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for name, text in texts.items():
        info.add_itxt(name.replace("_", "-") if name == "sd_metadata" else name, text)
    Image.new("RGB", (64, 48)).save(path, pnginfo=info)
    return path


def with_exif(path: Path, tags: dict[int, str], comment: bytes | None = None) -> Path:
    exif = Image.Exif()
    for tag, text in tags.items():
        exif[tag] = text
    if comment is not None:
        exif.get_ifd(0x8769)[COMMENT] = comment
    Image.new("RGB", (64, 48)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("name", ["theirs.png", "theirs.jpg", "theirs.webp"])
def test_automatic1111s_picture_is_read(name: str, tmp_path: Path) -> None:
    comment = b"UNICODE\0" + INFOTEXT.encode("utf-16-be")
    path = tmp_path / name
    told = values_of_others(
        png(path, parameters=INFOTEXT) if name.endswith("png") else with_exif(path, {}, comment)
    )
    assert told.program == "AUTOMATIC1111 1.10.1" and not told.not_understood
    assert told.values["prompt"] == "a moth 蛾" and told.values["seed"] == 9


def test_comfyuis_workflow_is_read_where_there_is_no_other(tmp_path: Path) -> None:
    told = values_of_others(png(tmp_path / "theirs.png", workflow=json.dumps(WORKFLOW)))
    assert dict(told.values) == MEANT and not told.not_understood


def test_a_workflow_of_a_later_format_and_of_the_first_is_read() -> None:
    nodes = [dict(node) for node in WORKFLOW["nodes"]]
    sampler = next(node for node in nodes if node["type"] == "KSampler")
    sampler["widgets_values"] = [0, 22, 6.5, "dpmpp_2m", "karras", 1]  # without what follows a seed
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    links = [dict(zip(names, link, strict=True)) for link in WORKFLOW["links"]]
    told = read_others(Recipe("PNG", 64, 48, {"workflow": json.dumps({"nodes": nodes, "links": links})}))
    assert dict(told.values) == MEANT


@pytest.mark.parametrize("word", ["workflow", "Workflow"])
def test_comfyuis_webp_is_read(tmp_path: Path, word: str) -> None:
    path = with_exif(tmp_path / "theirs.webp", {MAKE: f"{word}:{json.dumps(WORKFLOW)}"})
    assert dict(values_of_others(path).values) == MEANT


def test_comfyuis_webp_with_both_is_read_by_what_was_sent(tmp_path: Path) -> None:
    prompt = json.loads((Path(__file__).parent / "others" / "comfyui.jsonl").read_text().split("\n")[0])[
        "base"
    ]
    tags = {MODEL: f"prompt:{json.dumps(prompt)}", MAKE: f"workflow:{json.dumps(WORKFLOW)}"}
    assert values_of_others(with_exif(tmp_path / "theirs.webp", tags)).values["seed"] == 31


def test_invokeais_and_novelais_pictures_are_read(tmp_path: Path) -> None:
    metadata = {
        "app_version": "4.0.0",
        "positive_prompt": "a moth",
        "seed": 7,
        "steps": 9,
        "scheduler": "ddim",
    }
    told = values_of_others(png(tmp_path / "invokeai.png", invokeai_metadata=json.dumps(metadata)))
    assert told.program == "InvokeAI 4.0.0" and told.values["sampler"] == "ddim"
    image = {"image": {"prompt": "a moth", "seed": 7, "steps": 9, "sampler": "ddim"}}
    assert values_of_others(png(tmp_path / "old.png", sd_metadata=json.dumps(image))).values["seed"] == 7
    comment = {"steps": 9, "sampler": "k_euler", "seed": 7, "scale": 5, "uc": ""}
    told = values_of_others(
        png(tmp_path / "n.png", Description="a moth", Software="NovelAI", Comment=json.dumps(comment))
    )
    assert told.program == "NovelAI" and told.values["prompt"] == "a moth"


def test_a_graph_goes_before_the_infotext_that_one_of_its_nodes_wrote() -> None:
    texts = {"parameters": INFOTEXT, "workflow": json.dumps(WORKFLOW)}
    assert read_others(Recipe("PNG", 64, 48, texts)).program == "ComfyUI"
    assert read_others(Recipe("PNG", 64, 48, {**texts, "workflow": "{}"})).program == "AUTOMATIC1111 1.10.1"


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ({}, "holds no recipe"),
        ({"parameters": "a photograph of my cat"}, "no line of settings"),
        ({"parameters": '{"sui_image_params": {"prompt": "a moth"}}'}, "JSON of a program that is not known"),
        ({"prompt": "{"}, "not JSON"),
        ({"prompt": '{"1": {"class_type": "SaveImage", "inputs": {}}}'}, "decodes no picture"),
        ({"Comment": '{"made": "by hand"}'}, "no recipe, as NovelAI writes it"),
    ],
)
def test_what_is_no_recipe_is_refused_in_a_line(texts: dict[str, str], why: str, tmp_path: Path) -> None:
    path = png(tmp_path / "theirs.png", **texts)
    with pytest.raises(PictureError, match=why) as refusal:
        values_of_others(path)
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)


def test_inspect_tells_how_a_recipe_is_understood(tmp_path: Path) -> None:
    path = png(tmp_path / "theirs.png", parameters=f"{INFOTEXT}, Model hash: 12ab, Face restoration: GFPGAN")
    output = CliRunner().invoke(main, ["inspect", str(path)]).output
    assert "written by AUTOMATIC1111 1.10.1:\n  prompt            a moth 蛾\n" in output
    assert "hash of model: 12ab" in output and "not followed: Face restoration: GFPGAN" in output
    told = json.loads(CliRunner().invoke(main, ["inspect", str(path), "--json"]).output)["understood"]
    assert told["values"]["seed"] == 9 and told["not_understood"] == ["Face restoration: GFPGAN"]


def test_inspect_tells_why_a_recipe_is_not_understood(tmp_path: Path) -> None:
    output = (
        CliRunner().invoke(main, ["inspect", str(png(tmp_path / "theirs.png", parameters="my cat"))]).output
    )
    assert "Not read as a request: its text has no line of settings" in output


@pytest.mark.parametrize("like", ["inkpunk", "a1111", "comfyui", "diffusers"])
def test_our_own_infotext_is_read_as_what_was_asked_for(facts: Facts, like: str) -> None:
    """For pictures whose own facts were lost."""
    asked = {
        "prompt": "a {red|blue} moth\nSteps: 1, Seed: 2, Size: 3x3",
        "negative": "dust",
        "seed": 9,
        "steps": 30,
        "guidance": 6.5,
        "guidance-rescale": 0.3,
        "guidance-interval": "0.28:5.42",
        "apg": True,
        "sampler": "dpmpp_2m_sde",
        "spacing": "trailing",
        "eta": 0.5,
        "width": 512,
        "height": 640,
        "like": like,
        "clip-skip": 2,
        "emphasis": "ignore",
        "tileable": "x",
        "blend": "a fox:0.3",
        "vary": "8:0.2",
        "seed-resize": "512x512",
        "lora": ("neon:0.8:0.5", "ink:1"),
        "model": "dream",
        "prediction": "v",
        "dtype": "float16",
        "without": ("share", "winograd"),
    }
    drawn = replace(
        facts,
        prompt=str(asked["prompt"]),
        negative_prompt="dust",
        seed=9,
        steps=30,
        guidance=6.5,
        guidance_rescale=0.3,
        guidance_interval=(0.28, 5.42),
        apg=True,
        sampler="dpmpp_2m_sde",
        spacing="trailing",
        eta=0.5,
        width=512,
        height=640,
        like=like,
        clip_skip=2,
        emphasis="ignore",
        tileable="x",
        blend="a fox:0.3",
        vary="8:0.2",
        seed_resize="512x512",
        loras={"neon": "0.8:0.5", "ink": "1"},
        model="dream",
        prediction="v",
        dtype="float16",
        speed="without share, winograd",
        strength=None,
        enlarged={
            "to": "2",
            "by": "latents",
            "strength": "0.5",
            "steps": "7",
            "sampler": "euler",
            "spacing": "trailing",
        },
        note=None,
    )
    told = read_others(Recipe("PNG", 8, 8, {"parameters": infotext(drawn)}))
    larger = {"enlarge": "2", "enlarge-by": "latents", "enlarge-strength": 0.5, "enlarge-steps": 7}
    assert dict(told.values) == {**asked, **larger, "enlarge-sampler": "euler"}
    assert not told.not_understood
    Order.read(told.values).request()
