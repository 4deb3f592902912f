"""Facts as text inside a PNG: `parameters` for AUTOMATIC1111's readers, `inkpunk` for ourselves."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from inkpunk_sampling import SAMPLERS, SCHEDULE_TYPES
from PIL.PngImagePlugin import PngImageFile, PngInfo

from inkpunk.pictures.facts import Facts, PictureError
from inkpunk.pictures.grid_facts import Axis, GridFacts
from inkpunk.pictures.kinds import START_BYTES
from inkpunk.pictures.recipe import kind_in, read_recipe
from inkpunk.pictures.regular import check_regular
from inkpunk.pictures.travel_facts import TravelFacts
from inkpunk.road.programs import PROGRAMS

Told = TypeVar("Told")

NOISE = {"torch": "CPU", "philox": "NV"}
"""What AUTOMATIC1111 calls our sources of noise."""
MASKED_CONTENTS = {"blurred": "fill", "noise": "latent noise", "blank": "latent nothing"}
"""What it calls what a masked part begins as, where that is not what it was."""
EMPHASES = {"mean": "Original", "plain": "No norm", "ignore": "Ignore"}
"""What it calls our ways of emphasis."""
AXIS_TYPES = {
    "clip-skip": "Clip skip",
    "guidance": "CFG Scale",
    "prompt": "Prompt S/R",
    "spacing": "Schedule type",
    "strength": "Denoising",
}
"""What AUTOMATIC1111 calls the axes of a grid, where it is not our name with a capital."""


def png_text(facts: Facts) -> PngInfo:
    """The text chunks of a picture: Latin-1 where that suffices (tEXt), UTF-8 elsewhere (iTXt)."""
    text = PngInfo()
    text.add_text("parameters", infotext(facts))
    text.add_text("inkpunk", facts.to_json())
    return text


def grid_text(grid: GridFacts) -> PngInfo:
    """The text chunks of a grid, in both of which readers of single pictures find the first cell's facts."""
    text = PngInfo()
    text.add_text("parameters", grid_infotext(grid))
    text.add_text("inkpunk", grid.to_json())
    return text


def travel_text(travel: TravelFacts) -> PngInfo:
    """The text chunks of an animation, in both of which readers of single pictures find the first frame's facts."""
    text = PngInfo()
    text.add_text("parameters", infotext(travel.frames[0]))
    text.add_text("inkpunk", travel.to_json())
    return text


def infotext(facts: Facts) -> str:
    """Facts as AUTOMATIC1111 writes them: prompt, negative prompt, and a last line of `Key: value` pairs.

    NUL, which PNG text cannot hold, becomes a space; half a surrogate pair, which UTF-8 cannot, a "?".
    """
    pairs: dict[str, object] = {
        "Steps": facts.steps,
        "Sampler": SAMPLERS[facts.sampler].elsewhere.a1111 if facts.sampler in SAMPLERS else facts.sampler,
        "Schedule type": _schedule_type(facts.spacing),
        "CFG scale": _number(facts.guidance),
        "Seed": facts.seed,
        "Size": f"{facts.width}x{facts.height}",
        "Model hash": facts.model_hash,
        "Model": facts.model,
        "Denoising strength": None if facts.strength is None else _number(facts.strength),
        **_enlarged(facts),
        "Init image hash": facts.init_hash,
        **_masked(facts),
        **_like_others(facts),
        "Emphasis": _emphasis(facts),
        "TI hashes": _pairs(facts.embeddings),
        "Lora hashes": _pairs(facts.lora_hashes),
        **_controls(facts),
        "Note": facts.note,
        "Version": f"inkpunk {facts.version}",
        # as its extensions call it
        "CFG Rescale phi": _number(facts.guidance_rescale) if facts.guidance_rescale else None,
        **_in_our_words(facts),
    }
    lines = [facts.prompt]
    if facts.negative_prompt:
        lines.append(f"Negative prompt: {facts.negative_prompt}")
    lines.append(
        ", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items() if value not in (None, ""))
    )
    return _storable("\n".join(lines))


def _masked(facts: Facts) -> dict[str, object]:
    """As AUTOMATIC1111 writes it; the mask's hash, and by how much a picture was continued, in our words."""
    padded = facts.only_masked is not None
    return {
        "Mask hash": facts.mask_hash,
        "Masked content": MASKED_CONTENTS.get(facts.masked_content or ""),
        "Inpaint area": "Only masked" if padded else None,
        "Masked area padding": facts.only_masked if padded else None,
        "Extend": facts.extend,
        "Regions": _pairs(facts.regions),
        "Region masks": _pairs(facts.region_masks),
    }


def _controls(facts: Facts) -> dict[str, str]:
    """As AUTOMATIC1111's extension writes them, and the hash of each hint beside."""
    told = dict[str, str]()
    for index, (name, numbers) in enumerate(facts.controls.items()):
        given, _, ready = numbers.partition(" ")
        weight, _, steps = given.partition(":")
        start, _, end = steps.partition("-")
        pairs = {
            "Module": "none" if ready else name.partition(" ")[0],
            "Model": facts.control_nets.get(name, name),
            "Weight": weight,
            "Guidance Start": start or "0",
            "Guidance End": end or "1",
            "Control Mode": "ControlNet is more important" if facts.guess else "Balanced",
            "Hint hash": facts.control_hints.get(name, ""),
        }
        told[f"ControlNet {index}"] = _pairs(pairs)
    return told


def _enlarged(facts: Facts) -> dict[str, object]:
    """As AUTOMATIC1111 writes its "hires fix", which a second pass is."""
    told, way = facts.enlarged, {"latents": "Latent", "pixels": "Lanczos"}
    if "to" not in told:
        return {}
    sampler = told.get("sampler", "")
    pairs: dict[str, object] = {
        "Denoising strength": told.get("strength"),
        "Hires resize" if "x" in told["to"] else "Hires upscale": told["to"],
        "Hires upscaler": told.get("upscaler", "").rpartition(" [")[0] or way.get(told.get("by", "")),
    }
    if told.get("steps") != str(facts.steps):
        pairs["Hires steps"] = told.get("steps")
    if sampler != facts.sampler:
        pairs["Hires sampler"] = SAMPLERS[sampler].elsewhere.a1111 if sampler in SAMPLERS else sampler
    spacing = told.get("spacing")
    if spacing != facts.spacing:
        pairs["Hires schedule type"] = _schedule_type(spacing) or spacing
    return pairs


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in values.items() if value)


def _schedule_type(spacing: str | None) -> str | None:
    return next((theirs for theirs, ours in SCHEDULE_TYPES.items() if ours == spacing), None)


def _in_our_words(facts: Facts) -> dict[str, object]:
    """What AUTOMATIC1111 has no words for, where it is not the usual: its readers pass over keys they do not know."""
    interval = facts.guidance_interval
    return {
        "Loras": _pairs(facts.loras),  # those of its own prompts stand there
        **_image_prompts(facts),
        **_draft(facts),
        "Blend": facts.blend,
        **_tiling(facts),
        **_variation(facts),
        "Spacing": None if _schedule_type(facts.spacing) else facts.spacing,
        "Match colours": facts.match_colours or None,
        "Kept alpha hash": facts.alpha_hash,
        "Input paths": _pairs(facts.paths),
        "Resize": None if facts.resize == "fill" else facts.resize,
        "Guidance interval": f"{interval[0]:g} to {interval[1]:g}" if interval else None,
        "APG": facts.apg or None,
        "Like": None if facts.like == "inkpunk" else facts.like,
        "Prediction": None if facts.prediction == "epsilon" else facts.prediction,
        "Zero SNR": facts.zero_snr or None,
        "Noise schedule": facts.noise_schedule,
        "EMA weights": facts.ema or None,
        "Device": None if facts.device == "cpu" else facts.device,
        "Precision": None if facts.dtype == "float32" else facts.dtype,
        "Low memory": facts.low_memory or None,
        "Tiled": facts.tiled or None,
        "Speed": facts.speed,
        "Deterministic": facts.deterministic or None,
        "Upscaler": facts.enlarged.get("upscaler"),
        "Tile size": facts.tile_size,
        **_for_replay(facts),
    }


def _for_replay(facts: Facts) -> dict[str, object]:
    """What it takes beside all that to draw it again to the last bit."""
    return {
        "Asked": _pairs(facts.asked),
        "Weights": _pairs(facts.weights),
        "Drawn together": facts.together,
        "Threads": facts.threads,
        "Machine": facts.machine,
    }


def _image_prompts(facts: Facts) -> dict[str, str]:
    told = {
        name: f"{weight} {facts.image_prompt_hashes.get(name, '')}".strip()
        for name, weight in facts.image_prompts.items()
    }
    return {"Image prompts": _pairs(told), "IP-Adapter": _pairs(facts.image_prompt_nets)}


def _draft(facts: Facts) -> dict[str, str]:
    """AUTOMATIC1111's key, and which one it was."""
    return {"VAE Decoder": "TAESD", "Tiny VAE": facts.tiny_vae} if facts.tiny_vae else {}


def _tiling(facts: Facts) -> dict[str, object]:
    """AUTOMATIC1111 knows both axes alone; one is told in our words."""
    return {"Tiling": True} if facts.tileable == "xy" else {"Tileable": facts.tileable}


def _variation(facts: Facts) -> dict[str, object]:
    """As AUTOMATIC1111 has it."""
    seed, _, amount = (facts.vary or "").partition(":")
    told = {"Variation seed": seed, "Variation seed strength": amount, "Seed resize from": facts.seed_resize}
    return dict(told)


def _emphasis(facts: Facts) -> str | None:
    """As AUTOMATIC1111 says it, where it is not the program's usual one."""
    if facts.plain_prompt:
        return "None"
    usual = PROGRAMS.get(facts.like, PROGRAMS["inkpunk"]).language.emphasis
    return None if facts.emphasis == usual else EMPHASES.get(facts.emphasis, facts.emphasis)


def _like_others(facts: Facts) -> dict[str, object]:
    """What AUTOMATIC1111 says of noise and of the text encoder where it is not its default, in its own counting."""
    program = PROGRAMS.get(facts.like, PROGRAMS["inkpunk"])
    told: dict[str, object] = {"RNG": NOISE[program.sampling.source]}
    if program.sampling.step_seed:
        told["ENSD"] = program.sampling.step_seed
    method = SAMPLERS.get(facts.sampler)
    if method and facts.eta is not None and facts.eta != method.eta:
        told["Eta DDIM" if facts.sampler == "ddim" else "Eta"] = _number(facts.eta)
    if facts.clip_skip > program.last_layer:
        told["Clip skip"] = facts.clip_skip - program.last_layer + 1
    return told


def grid_infotext(grid: GridFacts) -> str:
    """Facts as AUTOMATIC1111 writes them for a grid: the first cell's, and the axes of its "X/Y/Z plot"."""
    pairs = {"Script": "X/Y/Z plot"}
    for letter, axis in (("X", grid.x), ("Y", grid.y)):
        if axis is not None:
            pairs[f"{letter} Type"] = AXIS_TYPES.get(axis.name, axis.name.capitalize())
            pairs[f"{letter} Values"] = _comma_separated(axis)
    told = ", ".join(f"{key}: {_quoted(value)}" for key, value in pairs.items())
    return _storable(f"{infotext(grid.base)}, {told}")


def read_facts(path: str | Path) -> Facts:
    """Read back the facts of a picture that inkpunk saved; of a grid, the first cell's. Pixels are not decoded.

    Raises:
        PictureError: for a file that is no PNG, JPEG, WebP or AVIF, holds no such facts, or damaged ones.
    """
    return _read(path, Facts.from_json)


def read_single_facts(path: str | Path) -> Facts:
    """Read back the facts of a picture that inkpunk saved, and of no more than one.

    Raises:
        PictureError: as `read_facts`; for a grid and an animation.
    """
    facts, whole = _read(path, lambda text: (Facts.from_json(text), json.loads(text)))
    if "grid" in whole:
        raise PictureError(f"{path}: a grid; save its cells by --save-cells, and take one of those")
    if "travel" in whole:
        raise PictureError(f"{path}: an animation; save its frames into a folder, and take one of those")
    return facts


def read_grid_facts(path: str | Path) -> GridFacts:
    """Read back the facts of a grid that inkpunk saved. Pixels are not decoded.

    Raises:
        PictureError: for a file that is no PNG, JPEG, WebP or AVIF, holds no facts of a grid, or damaged ones.
    """
    return _read(path, GridFacts.from_json)


def _read(path: str | Path, from_json: Callable[[str], Told]) -> Told:
    try:
        check_regular(Path(path))
        with Path(path).open("rb") as file:
            kind = kind_in(file.read(START_BYTES))
        text: object
        if kind in (None, "PNG"):
            # Not Image.open: that also judges the size of pixels which nobody asks for.
            with PngImageFile(path) as image:
                text = image.info.get("inkpunk")
        else:
            text = read_recipe(Path(path)).texts.get("inkpunk")
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise PictureError(f"{path}: no such file") from error
    except Exception as error:  # a stranger's file: Pillow's parser raises whatever it stumbles over
        raise PictureError(
            f"{path}: not a readable PNG, JPEG, WebP or AVIF ({error}); facts are in the pictures that inkpunk saves"
        ) from error
    if not isinstance(text, str):
        raise PictureError(
            f"{path}: holds no facts of inkpunk's: it was drawn by another program, or saved again by one"
        )
    try:
        return from_json(text)
    except PictureError as error:
        raise PictureError(f"{path}: its facts are damaged: {error}") from error


def _storable(text: str) -> str:
    return _without_nul(text).encode(errors="replace").decode().strip()


def _without_nul(text: str) -> str:
    return text.replace("\0", " ")


def _comma_separated(axis: Axis) -> str:
    """The values as a spreadsheet has them: in quotes where they would be split, or lose a space."""
    return ", ".join(
        '"' + value.replace('"', '""') + '"'
        if value != value.strip() or not value or set(value) & set(',"\r\n')
        else value
        for value in (_without_nul(value) for value in axis.values)
    )


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)


def _quoted(value: str) -> str:
    """As JSON where the pairs' reader would otherwise cut the value short, or take it for JSON itself."""
    plain = not any(mark in value for mark in ',:\n"') and value == value.strip()
    return value if plain else json.dumps(value, ensure_ascii=False)
