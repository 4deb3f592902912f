"""InvokeAI's three recipes as orders: "Dream" commands of version 1, sd-metadata of 2, invokeai_metadata since 3.

Source: the texts that its versions wrote; keys are its own words.
"""

import re
import shlex
from collections.abc import Mapping

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others.plain import (
    file_name,
    in_a_line,
    is_off,
    items,
    loaded,
    mapping,
    number,
    text,
    whole,
)
from inkpunk.pictures.others.told import MOST_PROMPT, Telling, Told

SAMPLERS = {
    "pndm": "plms",
    "kdpm_2": "dpm2",
    "kdpm_2_a": "dpm2_a",
    "k_dpmpp_2": "dpmpp_2m",
    "k_dpmpp_2_a": "dpmpp_2s_a",
}
"""What it calls samplers, where that is nobody else's name."""
WEIGHTS = re.compile(r"\)[+\-\d]|\w[+-]{1,9}(?=[\s,.)]|$)|\.(?:swap|blend|and)\(")
"""Signs of its own language of prompts, in which (a raven)1.2 and raven++ weigh."""
IDLE = [
    "app_version",
    "generation_mode",
    "rand_device",
    "use_cpu",
    "model",
    "model_hash",
    "model_weights",
    "app_id",
    "type",
    "workflow",
    "board_id",
    "hrf_method",
    "hrf_strength",
]
"""What says nothing of the picture, or only beside what is told otherwise."""
DIFFUSERS_SINCE = (2, 3)
MOST_COMMAND = 20_000  # characters
SHORT = {
    "s": "steps",
    "S": "seed",
    "W": "width",
    "H": "height",
    "C": "cfg_scale",
    "A": "sampler",
    "f": "strength",
    "I": "init_img",
    "M": "init_mask",
}
SIDES = {"begin": 0, "end": 1}
FLAGS = ("seamless", "hires_fix", "full_precision", "g", "grid", "i", "individual", "x", "skip_normalize")


def read_dream(told: str) -> Told:
    """Read a command line of version 1: "a raven [owl]" -s50 -S3 -W512 -H512 -C7.5 -Ak_lms.

    Raises:
        PictureError: for text that is none.
    """
    if len(told) > MOST_COMMAND:
        raise PictureError(f"its Dream command has {len(told):,} characters")
    try:
        prompt, *words = shlex.split(told)
    except ValueError as error:
        raise PictureError(f"its Dream command cannot be read: {in_a_line(str(error))}") from error
    values, left = dict[str, object](), list[str]()
    waiting = ""
    for word in words:
        option = re.fullmatch(r"--?([A-Za-z_]+?)(?:=?(-?[\d.].*|k_\w+|ddim|plms))?", word)
        if option and word.startswith("-"):
            name, value = option.groups()
            waiting = "" if value is not None or name in FLAGS else name
            values[SHORT.get(name, name)] = True if value is None else value
        elif waiting:
            values[SHORT.get(waiting, waiting)], waiting = word, ""
        else:
            left.append(word)
    telling = Telling("InvokeAI")
    for word in left:
        telling.note("Dream", word)
    _combined(prompt, telling)
    return _read(values, telling)


def read_sd_metadata(told: str) -> Told:
    """Read the JSON of version 2.

    Raises:
        PictureError: for JSON that is no such recipe.
    """
    whole_text = mapping(loaded(told, "sd-metadata"))
    image = mapping(whole_text.get("image"))
    prompt = image.pop("prompt", None)
    if not image or prompt is None:
        raise PictureError("its sd-metadata has no image with a prompt")
    telling = Telling(f"InvokeAI {text(whole_text.get('app_version'))}".strip())
    parts = [mapping(each) for each in items(prompt)]
    _combined(" ".join(text(each.get("prompt")) for each in parts) or text(prompt), telling)
    if len(parts) > 1:
        telling.note("prompt", None, "has several parts with weights, which are taken as one")
    telling.model_hash = text(whole_text.get("model_hash"))
    if name := file_name(whole_text.get("model_weights")):
        telling.values["model"] = name
    return _read(image, telling)


def read_metadata(told: str) -> Told:
    """Read the JSON of version 3 and later.

    Raises:
        PictureError: for JSON that is no such recipe.
    """
    values = mapping(loaded(told, "invokeai_metadata"))
    prompt = values.pop("positive_prompt", None)
    if not isinstance(prompt, str):
        raise PictureError("its invokeai_metadata has no positive_prompt")
    telling = Telling(f"InvokeAI {text(values.get('app_version'))}".strip())
    _weighed(prompt, telling)
    telling.prompts(prompt, text(values.pop("negative_prompt", "")), tags=False, braces=True)
    model = mapping(values.get("model"))
    if name := file_name(model.get("name") or model.get("model_name")):
        telling.values["model"] = name
    telling.model_hash = text(model.get("hash")).rpartition(":")[2]
    if (base := model.get("base") or model.get("base_model")) not in (None, "sd-1"):
        telling.note("model", base, "is not Stable Diffusion v1")
    _loras(values, telling)
    _controls(values, telling)
    if (vae := values.pop("vae", None)) is not None:
        kept = mapping(vae)
        telling.note("vae", text(kept.get("name") or kept.get("model_name")), "the model's own decodes here")
    if text(values.get("rand_device")) not in ("", "cpu"):
        telling.note("rand_device", values["rand_device"], "noise is drawn on the CPU here")
    return _read(values, telling)


def _combined(prompt: str, told: Telling) -> None:
    """A prompt whose brackets hold what it should not show."""
    negatives = re.findall(r"\[([^\[\]]*)\]", prompt)
    rest = re.sub(r"\[[^\[\]]*\]", " ", prompt) if negatives else prompt
    _weighed(prompt, told)
    told.prompts(" ".join(rest.split()) if negatives else rest, " ".join(negatives), tags=False, braces=True)


def _weighed(prompt: str, told: Telling) -> None:
    if WEIGHTS.search(prompt[:MOST_PROMPT]):
        told.note("prompt", prompt, "weighs words in InvokeAI's way, which is text here")


def _read(values: Mapping[str, object], told: Telling) -> Told:
    """The settings that its versions have in common."""
    values = dict(values)
    _conventions(told)
    names = {"seed": "seed", "steps": "steps", "guidance": "cfg_scale", "width": "width", "height": "height"}
    for ours, theirs in names.items():
        told.put(ours, values.pop(theirs, None), theirs)
    _sampler(values, told)
    if rescale := number(values.pop("cfg_rescale_multiplier", None)):
        told.values["guidance-rescale"] = rescale
    if skip := whole(values.pop("clip_skip", None)):
        told.values["clip-skip"] = skip
    _start(values, told)
    across, down = (values.pop(f"seamless_{axis}", None) is True for axis in "xy")
    if both := values.pop("seamless", None) is True or (across and down) or across or down:
        told.values["tileable"] = "x" * across + "y" * down or "xy" * both
    if not is_off(values.pop("hrf_enabled", None)):
        told.note(
            "hrf_enabled", None, f"a second pass, {in_a_line(values.get('hrf_method'))}, is not followed"
        )
    for name, value in values.items():
        if name not in IDLE and not is_off(value):
            told.note(name, value)
    return told.done()


def _conventions(told: Telling) -> None:
    """Since 2.3 it draws by diffusers; before, by k-diffusion, as AUTOMATIC1111."""
    version = re.search(r" (\d{1,4})\.(\d{1,4})", told.program)
    if version and (int(version[1]), int(version[2])) >= DIFFUSERS_SINCE:
        told.values["like"] = "diffusers"
        return
    told.values |= {"like": "a1111", "plain-prompt": True}
    told.note(
        told.program,
        None,
        "before 2.3 it chose noise levels by itself; AUTOMATIC1111's conventions are followed",
    )


def _sampler(values: dict[str, object], told: Telling) -> None:
    name = text(
        values.pop("scheduler", None) or values.pop("sampler", None) or values.pop("sampler_name", None)
    )
    karras = name.endswith("_k")
    plain = name.removesuffix("_k") if karras else name
    if name:
        told.sampler(SAMPLERS.get(plain, plain), "karras" if karras else None, "scheduler", "scheduler")


def _start(values: dict[str, object], told: Telling) -> None:
    """A picture to begin from, and a mask."""
    strength, init = values.pop("strength", None), values.pop("init_image", None)
    init = init or values.pop("init_img", None) or values.pop("init_image_path", None)
    mask = values.pop("mask", None) or values.pop("init_mask", None) or values.pop("mask_image_path", None)
    mode = text(values.get("generation_mode")) or text(values.get("type"))
    if init or mode in ("img2img", "inpaint", "outpaint", "img2img_inpaint"):
        name = file_name(init)
        told.need("init", "the picture that it begins from" + (f", {in_a_line(name)}" if name else ""))
        told.put("strength", strength, "strength")
    if mask or mode in ("inpaint", "outpaint"):
        told.need("mask", "the mask")


def _loras(values: dict[str, object], told: Telling) -> None:
    loras = list[str]()
    for each in map(mapping, items(values.pop("loras", None))):
        lora = mapping(each.get("model") or each.get("lora"))
        name, weight = file_name(lora.get("name") or lora.get("model_name")), number(each.get("weight", 1))
        if not name or weight is None or abs(weight) > 100:
            told.note("loras", each, "is no LoRA with a weight")
            continue
        loras.append(f"{name}:{weight:g}")
        if found := text(lora.get("hash")).rpartition(":")[2]:
            told.hashes[f"lora {name}"] = in_a_line(found)
    if loras:
        told.values["lora"] = tuple(loras)


def _controls(values: dict[str, object], told: Telling) -> None:
    from inkpunk.pictures.others.a1111_parts import kind_of_hint

    adapters = [
        (key, each) for key in ("controlnets", "t2iAdapters") for each in items(values.pop(key, None))
    ]
    for key, each in adapters:
        control = mapping(each)
        net = mapping(control.get("control_model") or control.get("t2i_adapter_model"))
        name = text(net.get("name") or net.get("model_name"))
        weight = number(control.get("control_weight", control.get("weight", 1)))
        start, end = (number(control.get(f"{side}_step_percent", each)) for side, each in SIDES.items())
        if weight is None or start is None or end is None:
            told.note(key, name, "its numbers are none")
            continue
        steps = "" if (start, end) == (0, 1) else f":{start:g}-{end:g}"
        told.need(
            f"hint {kind_of_hint('', name)}:FILE:{weight:g}{steps}", f"{key}: {in_a_line(name)}, its picture"
        )
    for each in map(mapping, items(values.pop("ipAdapters", None))):
        weight = number(each.get("weight", 1))
        told.need(
            f"image-prompt FILE:{1 if weight is None else weight:g}",
            "ipAdapters: a picture beside the prompt",
        )
