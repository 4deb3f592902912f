import json
import re
import struct
import zlib
from dataclasses import MISSING, fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk.pictures.facts import Facts, PictureError
from inkpunk.pictures.picture import Picture
from inkpunk.pictures.png_text import infotext, read_facts
from PIL import Image, PngImagePlugin

IMAGE = Image.new("RGB", (64, 32), "teal")


texts = st.text(st.characters())  # all of Unicode, halves of surrogate pairs too
awkward = st.sampled_from(
    [
        "",
        "Steps: 3",
        "a\nSteps: 3, Sampler: x, CFG scale: 1, Seed: 5",
        'say "hi", you',
        "\0",
        "\ud800",
        "龍",
        "é",
        " , ",
    ]
)
prompts = texts | awkward | st.lists(texts | awkward, max_size=3).map("\n".join)
names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
) | st.sampled_from(['"', '"quoted"', "a: b", "a, b", "C:\\models\\x", " x ", "two\nlines"])
all_facts = st.builds(
    Facts,
    prompt=prompts,
    negative_prompt=prompts,
    steps=st.integers(1, 1000),
    sampler=st.sampled_from(["ddpm", "dpmpp_2m", "somebody's own"]),
    spacing=st.sampled_from(["leading", "linspace", "karras"]),
    guidance=st.floats(0, 100),
    seed=st.integers(0, 2**63 - 1),
    width=st.integers(1, 100).map(lambda n: 8 * n),
    height=st.integers(1, 100).map(lambda n: 8 * n),
    model=names,
    model_hash=st.sampled_from(["", "2182245415"]),
    strength=st.none() | st.floats(0, 1, exclude_min=True),
    note=st.none() | names,
    version=st.just("0.1.0"),
)


def parse_infotext(text: str) -> dict[str, str]:
    """Read an infotext as AUTOMATIC1111 does: pairs from the last line, the negative prompt by its prefix."""
    *lines, last = text.strip().split("\n")
    pairs = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last)
    assert len(pairs) >= 3, "the last line would be taken for a part of the prompt"
    fields = {key: json.loads(value) if value[:1] == value[-1:] == '"' else value for key, value in pairs}
    parts: dict[str, list[str]] = {"Prompt": [], "Negative prompt": []}
    part = "Prompt"
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            part = "Negative prompt"
            line = line.removeprefix("Negative prompt:").strip()
        parts[part].append(line)
    return fields | {key: "\n".join(part).strip() for key, part in parts.items()}


def as_a_reader_sees(prompt: str) -> str:
    """What the format can carry: lines without the white space around them, valid Unicode, no NUL."""
    prompt = prompt.replace("\0", " ").encode(errors="replace").decode()
    return "\n".join(map(str.strip, prompt.strip().split("\n"))).strip()


@settings(deadline=None, max_examples=150)
@given(facts=all_facts)
def test_reading_back_returns_the_facts(tmp_path_factory: pytest.TempPathFactory, facts: Facts) -> None:
    path = tmp_path_factory.mktemp("facts") / "picture.png"
    assert read_facts(Picture(IMAGE, facts).save(path)) == facts


@settings(deadline=None, max_examples=300)
@given(facts=all_facts)
def test_automatic1111_recovers_every_field(facts: Facts) -> None:
    image = Image.open(BytesIO(Picture(IMAGE, facts).png()))
    fields = parse_infotext(str(image.info["parameters"]))
    assert int(fields["Steps"]) == facts.steps
    assert fields["Sampler"] == {"ddpm": "DDPM", "dpmpp_2m": "DPM++ 2M"}.get(facts.sampler, facts.sampler)
    assert fields.get("Schedule type") == {"karras": "Karras"}.get(facts.spacing)
    assert float(fields["CFG scale"]) == facts.guidance
    assert int(fields["Seed"]) == facts.seed
    assert fields["Size"] == f"{facts.width}x{facts.height}"
    assert fields.get("Model hash", "") == facts.model_hash
    assert fields["Model"] == facts.model
    assert fields.get("Note") == facts.note
    assert fields["Version"] == "inkpunk 0.1.0"
    assert ("Denoising strength" in fields) == (facts.strength is not None)
    assert float(fields.get("Denoising strength", 0)) == (facts.strength or 0)
    if "Negative prompt:" not in facts.prompt + facts.negative_prompt:  # the format cannot tell those apart
        assert fields["Prompt"] == as_a_reader_sees(facts.prompt)
        assert fields["Negative prompt"] == as_a_reader_sees(facts.negative_prompt)


def test_the_infotext_is_what_automatic1111_writes(facts: Facts) -> None:
    assert infotext(replace(facts, strength=0.75, guidance=7.0)) == (
        "nvinkpunk red dragon\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: DDPM, CFG scale: 7, Seed: 42, Size: 64x32, Model hash: 2182245415, "
        "Model: Inkpunk-Diffusion-v2, Denoising strength: 0.75, RNG: CPU, Version: inkpunk 0.1.0, Spacing: leading"
    )


@pytest.mark.parametrize(("prompt", "chunk"), [("café", b"tEXt"), ("龍", b"iTXt")])
def test_text_beyond_latin_1_is_stored_as_utf_8(facts: Facts, prompt: str, chunk: bytes) -> None:
    assert chunk + b"parameters\0" in Picture(IMAGE, replace(facts, prompt=prompt)).png()


def png_with(text: bytes, kind: bytes = b"tEXt") -> bytes:
    """A PNG file with one more chunk before its pixels."""
    buffer = BytesIO()
    IMAGE.save(buffer, format="png")
    png = buffer.getvalue()
    chunk = struct.pack(">I", len(text)) + kind + text + struct.pack(">I", zlib.crc32(kind + text))
    return png[:33] + chunk + png[33:]  # 8 bytes of signature, 25 of IHDR


def told(facts: Facts, **changed: Any) -> bytes:
    return b"inkpunk\0" + json.dumps(json.loads(facts.to_json()) | changed).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a readable PNG"),
        (b"GIF89a" + bytes(50), "not a readable PNG"),
        (png_with(b"")[:20], "not a readable PNG"),
        (png_with(b"comment\0hello"), "holds no facts"),
        (png_with(b"inkpunk\0{"), "not JSON"),
        (png_with(b"inkpunk\0" + b"[" * 100_000), "not JSON"),
        (png_with(b"inkpunk\0[]"), "not a JSON object"),
        (png_with(b"inkpunk\0{}"), "missing"),
        (png_with(b'inkpunk\0{"steps": ' + b"9" * 5000 + b"}"), "not JSON"),
        (png_with(b"inkpunk\0\0" + zlib.compress(bytes(100_000_000)), b"zTXt"), "not a readable PNG"),
    ],
    ids=["empty", "gif", "cut", "stranger", "cut json", "deep", "array", "no fields", "long number", "bomb"],
)
def test_a_file_without_facts_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "stranger.png"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=reason) as refusal:
        read_facts(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < len(str(path)) + 200


@pytest.mark.parametrize(
    "changed",
    [
        {"steps": "20"},
        {"steps": True},
        {"steps": 2.5},
        {"prompt": None},
        {"guidance": 10**400},
        {"guidance": 1e999},
    ],
)
def test_a_fact_of_the_wrong_type_is_refused_by_name(
    tmp_path: Path, facts: Facts, changed: dict[str, Any]
) -> None:
    path = tmp_path / "stranger.png"
    path.write_bytes(png_with(told(facts, **changed)))
    with pytest.raises(PictureError, match=f"damaged: {next(iter(changed))} is"):
        read_facts(path)


def test_facts_of_an_earlier_version_are_read(facts: Facts) -> None:
    """It had no fields of what came since."""
    told = json.loads(facts.to_json())
    since = {field.name for field in fields(Facts) if field.default_factory is not MISSING}
    assert {"embeddings", "loras", "controls", "image_prompts"} <= since
    assert Facts.from_json(json.dumps({name: told[name] for name in told if name not in since})) == facts


def test_facts_of_a_later_version_are_read_as_far_as_known(tmp_path: Path, facts: Facts) -> None:
    path = tmp_path / "later.png"
    path.write_bytes(png_with(told(facts, guidance=7, novelty=[1, 2])))
    assert read_facts(path) == replace(facts, guidance=7.0)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no such file"):
        read_facts(tmp_path / "none.png")


def test_facts_are_read_without_decoding_the_pixels(tmp_path: Path, facts: Facts) -> None:
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    png = bytearray(png_with(told(facts)))
    png[16:33] = header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path = tmp_path / "vast.png"
    path.write_bytes(png)
    assert read_facts(path) == facts


def test_facts_survive_being_compressed_by_another_program(tmp_path: Path, facts: Facts) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("inkpunk", facts.to_json(), zip=True)
    path = tmp_path / "optimised.png"
    IMAGE.save(path, pnginfo=text)
    assert read_facts(path) == facts
