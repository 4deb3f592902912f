"""NovelAI's JSON, and that of programs that write alike: a title, the prompt, and a comment with the settings.

Source: the texts that its versions wrote; keys are its own words.
"""

from collections.abc import Mapping

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others.plain import in_a_line, is_off, loaded, mapping, number, text
from inkpunk.pictures.others.told import Telling, Told

STEP = 1.05  # what a brace multiplies a weight by, and a bracket divides it by
DEEPEST = 40
SAMPLERS = {"ddim_v3": "ddim", "k_dpmpp_2s_ancestral": "dpmpp_2s_a"}
SPACINGS = {"native": "uniform"}
IDLE = [
    "signed_hash",
    "request_type",
    "n_samples",
    "hide_debug_overlay",
    "prompt",
    "uc",
    "v4_prompt",
    "v4_negative_prompt",
    "version",
    "uncond_scale",
    "controlnet_strength",
    "noise",
    "add_original_image",
    "uncond_per_vibe",
    "wonky_vibe_correlation",
]
"""What says nothing of the picture, or only beside what is told otherwise."""


def read_novelai(texts: Mapping[str, str]) -> Told:
    """Read its texts, "Comment" among them.

    Raises:
        PictureError: for texts that are no such recipe.
    """
    values = mapping(loaded(texts.get("Comment", ""), "comment"))
    prompt = texts.get("Description") or text(values.get("prompt"))
    if not prompt or "steps" not in values or "sampler" not in values:
        raise PictureError("its comment is no recipe, as NovelAI writes it")
    model = texts.get("Source", "")
    told = Telling(in_a_line(texts.get("Software") or "NovelAI"))
    told.values["like"] = "a1111"  # whose grammar was made after it
    told.prompts(_weighed(prompt, told), _weighed(text(values.get("uc")), told), tags=False, braces=True)
    if model:
        told.note("Source", model, "its model is not to be had; give one as model")
    names = {"seed": "seed", "steps": "steps", "guidance": "scale", "width": "width", "height": "height"}
    for ours, theirs in names.items():
        told.put(ours, values.pop(theirs, None), theirs)
    sampler, spacing = text(values.pop("sampler", None)), text(values.pop("noise_schedule", None))
    sampler = SAMPLERS.get(sampler, sampler.removeprefix("k_"))
    told.sampler(sampler, SPACINGS.get(spacing, spacing) or None, "sampler", "noise_schedule")
    if rescale := number(values.pop("cfg_rescale", None)):
        told.values["guidance-rescale"] = rescale
    _start(values, told)
    told.note("noise", None, "how NovelAI draws it is not known here")
    if number(values.get("uncond_scale", 1)) != 1:
        told.note("uncond_scale", values["uncond_scale"])
    if not is_off(values.get("controlnet_model")):
        told.note("controlnet_strength", values.get("controlnet_strength"))
    for name, value in values.items():
        if name not in IDLE and not is_off(value):
            told.note(name, value)
    return told.done()


def _start(values: dict[str, object], told: Telling) -> None:
    """A picture to begin from, of which its strength is left."""
    strength, kind = values.pop("strength", None), text(values.get("request_type"))
    if strength is None or (
        kind and "Img2Img" not in kind and "Infill" not in kind and "Inpaint" not in kind
    ):
        return
    told.put("strength", strength, "strength")
    told.need("init", "the picture that it begins from")
    if number(values.get("noise")):
        told.note("noise", values["noise"], "is added to the picture that it begins from")
    if "Infill" in kind or "Inpaint" in kind:
        told.need("mask", "the mask")


def _weighed(prompt: str, told: Telling) -> str:
    """Braces that raise a weight and brackets that lower it, in AUTOMATIC1111's words: {a} is (a:1.05)."""
    escaped = prompt.replace("\\", "\\\\").replace("(", r"\(").replace(")", r"\)")
    if "::" in prompt:
        told.note("prompt", prompt, "weighs words by 1.5::, which is text here")
    level, parts, kept = 0, list[tuple[int, str]](), ""
    changes = {"{": 1, "}": -1, "[": -1, "]": 1}
    for each in escaped:
        if each in changes:
            parts.append((level, kept))
            level, kept = max(-DEEPEST, min(DEEPEST, level + changes[each])), ""
        else:
            kept += each
    parts.append((level, kept))
    return "".join(
        f"({words}:{STEP**level:.4g})" if level and words.strip() else words for level, words in parts
    )
