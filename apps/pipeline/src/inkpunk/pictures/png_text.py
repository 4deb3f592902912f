"""Facts as text inside a PNG: `parameters` for AUTOMATIC1111's readers, `inkpunk` for ourselves."""

import json
from pathlib import Path

from inkpunk_sampling import SAMPLERS
from PIL.PngImagePlugin import PngImageFile, PngInfo

from inkpunk.pictures.facts import Facts, PictureError

SCHEDULE_TYPES = {"karras": "Karras", "exponential": "Exponential"}
"""What AUTOMATIC1111 calls our spacings, where it has them."""


def png_text(facts: Facts) -> PngInfo:
    """The text chunks of a picture: Latin-1 where that suffices (tEXt), UTF-8 elsewhere (iTXt)."""
    text = PngInfo()
    text.add_text("parameters", infotext(facts))
    text.add_text("inkpunk", facts.to_json())
    return text


def infotext(facts: Facts) -> str:
    """Facts as AUTOMATIC1111 writes them: prompt, negative prompt, and a last line of `Key: value` pairs.

    NUL, which PNG text cannot hold, becomes a space; half a surrogate pair, which UTF-8 cannot, a "?".
    """
    pairs: dict[str, object] = {
        "Steps": facts.steps,
        "Sampler": SAMPLERS[facts.sampler].elsewhere[0] if facts.sampler in SAMPLERS else facts.sampler,
        "Schedule type": SCHEDULE_TYPES.get(facts.spacing),
        "CFG scale": _number(facts.guidance),
        "Seed": facts.seed,
        "Size": f"{facts.width}x{facts.height}",
        "Model hash": facts.model_hash,
        "Model": facts.model,
        "Denoising strength": None if facts.strength is None else _number(facts.strength),
        "Note": facts.note,
        "Version": f"inkpunk {facts.version}",
        # as its extensions call it; it has no words for an interval of sigmas or for projected guidance
        "CFG Rescale phi": _number(facts.guidance_rescale) if facts.guidance_rescale else None,
    }
    lines = [facts.prompt]
    if facts.negative_prompt:
        lines.append(f"Negative prompt: {facts.negative_prompt}")
    lines.append(
        ", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items() if value not in (None, ""))
    )
    return "\n".join(lines).replace("\0", " ").encode(errors="replace").decode().strip()


def read_facts(path: str | Path) -> Facts:
    """Read back the facts of a picture that inkpunk saved. Its pixels are not decoded.

    Raises:
        PictureError: for a file that is no PNG, holds no such facts, or damaged ones.
    """
    try:
        # Not Image.open: that also judges the size of pixels which nobody asks for.
        with PngImageFile(path) as image:
            text: object = image.info.get("inkpunk")
    except FileNotFoundError as error:
        raise PictureError(f"{path}: no such file") from error
    except Exception as error:  # a stranger's file: Pillow's parser raises whatever it stumbles over
        raise PictureError(
            f"{path}: not a readable PNG ({error}); facts are in the PNG files inkpunk saves"
        ) from error
    if not isinstance(text, str):
        raise PictureError(
            f"{path}: holds no facts of inkpunk's: it was drawn by another program, or saved again by one"
        )
    try:
        return Facts.from_json(text)
    except PictureError as error:
        raise PictureError(f"{path}: its facts are damaged: {error}") from error


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)


def _quoted(value: str) -> str:
    """As JSON where the pairs' reader would otherwise cut the value short, or take it for JSON itself."""
    plain = not any(mark in value for mark in ',:\n"') and value == value.strip()
    return value if plain else json.dumps(value, ensure_ascii=False)
