"""AUTOMATIC1111's infotext, which Forge, SD.Next and we write, too, as an order.

Source: the texts that its versions wrote; keys are its own words.
"""

import re

from inkpunk_sampling import CONVENTIONS

from inkpunk.pictures.others.a1111_parts import (
    control_nets,
    file_hashes,
    image_to_image,
    old_adapters,
    second_pass,
    variation,
)
from inkpunk.pictures.others.infotext import split
from inkpunk.pictures.others.ours import our_own
from inkpunk.pictures.others.plain import file_name, number, size, whole
from inkpunk.pictures.others.settings import Settings
from inkpunk.pictures.others.told import Telling, Told
from inkpunk.road.programs import PROGRAMS

NOISE = {"torch": ("CPU",), "philox": ("NV", "GPU")}
"""What it calls our sources of noise; a GPU's is NV's, as far as that GPU is NVIDIA's."""
EMPHASES = {"Original": "mean", "No norm": "plain", "Ignore": "ignore"}
IDLE = ("Batch size", "Batch pos", "User", "Time taken", "Created Date", "Operations", "Backend", "Pipeline")
"""What says nothing of the picture itself: of a batch, each picture's own seed is told."""
SWITCH = re.compile(r"\[[^\[\]]{0,1000}:[^\[\]:]{0,20}\]")
OLD_SWITCHES, HALF_ALPHAS = (1, 6, 0, 0), (1, 7, 0, 225)
"""The versions from which prompts that change count otherwise, and from which alpha-bar has full precision."""


def read_a1111(text: str) -> Told:
    """Read an infotext.

    Raises:
        PictureError: for text that is none.
    """
    parts = split(text)
    told = Telling("AUTOMATIC1111")
    settings = Settings(parts.pairs, told)
    like = _program(settings, told, parts.prompt)
    own = told.program.startswith("inkpunk")
    for line in parts.rest:
        told.note("a line behind its settings", line)
    if parts.negatives > 1:
        told.note("Negative prompt", None, f"{parts.negatives} lines begin so; it is taken from the first on")
    _language(settings, told, like)
    plain = PROGRAMS[like].language.grammar == "plain" or bool(told.values.get("plain-prompt"))
    told.prompts(
        parts.prompt,
        parts.negative,
        tags=like != "comfyui" or own,
        braces=own or plain,
    )
    _sampling(settings, told, like)
    variation(settings, told)
    second_pass(settings, told, parts.prompt, parts.negative)
    image_to_image(settings, told)
    control_nets(settings, told)
    old_adapters(settings, told)
    file_hashes(settings, told)
    if own:
        our_own(settings, told)
    settings.note_the_rest(told, IDLE)
    return told.done()


def _program(settings: Settings, told: Telling, prompt: str) -> str:
    """Tell the program and its version, and find the one of ours that is like it."""
    version, app = settings.take("Version") or "", settings.take("App")
    like = "a1111"
    if version.startswith("inkpunk"):
        told.program, like = version, settings.take("Like") or "inkpunk"
    elif version.startswith("ComfyUI"):
        told.program, like = version, "comfyui"
    elif app:
        told.program = f"{app} {version}".strip()
        told.note("App", app, "its conventions are not known here; AUTOMATIC1111's are followed")
    elif forge := re.match(r"f(\d[\d.]*\d|\d)", version):
        told.program = f"Forge {forge[1]}"
        version = version[forge.end() :]
    elif version:
        told.program = f"AUTOMATIC1111 {version.removeprefix('v')}"
    if like not in PROGRAMS:
        told.note("Like", like, "there is no such program here")
        like = "inkpunk"
    told.values["like"] = like
    numbers = _numbers(version)
    if like == "a1111" and numbers and numbers < HALF_ALPHAS:
        told.note("Version", version, "before 1.7.0-225 alpha-bar had half precision, which differs a little")
    changes = SWITCH.search(prompt) is not None
    if like == "a1111" and changes and (numbers is None or numbers < OLD_SWITCHES):
        told.note("Version", version, "before 1.6.0 prompts that change, as [a:b:4], counted steps otherwise")
    return like


def _numbers(version: str) -> tuple[int, ...] | None:
    """A version as numbers: (1, 7, 0, 225) of v1.7.0-225-gbef51aed; None for one of other words."""
    found = re.match(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?:-(\d{1,6})-g)?", version)
    return tuple(int(each or 0) for each in found.groups()) if found else None


def _language(settings: Settings, told: Telling, like: str) -> None:
    emphasis, skip = settings.take("Emphasis"), settings.take("Clip skip")
    if emphasis == "None":
        told.values["plain-prompt"] = True
    elif emphasis is not None:
        told.values["emphasis"] = EMPHASES.get(emphasis, emphasis)
    last = PROGRAMS[like].last_layer
    if skip is not None and (count := whole(skip)) is not None:
        told.put("clip-skip", max(count, 1) - 1 + last, "Clip skip")
    elif skip is not None:
        told.note("Clip skip", skip, "is no whole number")


def _sampling(settings: Settings, told: Telling, like: str) -> None:
    for name, key in (("seed", "Seed"), ("steps", "Steps"), ("guidance", "CFG scale")):
        told.put(name, settings.take(key), key)
    shape = settings.take("Size")
    if sides := size(shape):
        told.values["width"], told.values["height"] = sides
    elif shape is not None:
        told.note("Size", shape, "is no width and height, as 512x768")
    spacing = settings.take_any("Schedule type", "Scheduler")
    found = told.sampler(settings.take("Sampler"), spacing, "Sampler", "Schedule type")
    if like == "a1111":
        usual = CONVENTIONS[like].spacings.get(found or "")
        if spacing is None and "spacing" not in told.values and usual in ("karras", "exponential"):
            told.values["spacing"] = "uniform"  # before 1.9 names told it: "DPM++ 2M Karras", or else uniform
        if found == "unipc":
            told.note("Sampler", "UniPC", "it takes B(h) = h and third order; ours is bh2 of second order")
    _noise(settings, told, like, found)
    told.put(
        "guidance-rescale",
        settings.take_any("CFG Rescale phi", "CFG Rescale φ", "CFG Rescale", "CFG rescale") or None,
        "CFG Rescale",
    )
    if not told.values.get("guidance-rescale"):
        told.values.pop("guidance-rescale", None)
    if tiling := settings.take("Tiling"):
        if tiling.lower() in ("true", "1"):
            told.values["tileable"] = "xy"
        elif tiling.lower() not in ("false", "0"):
            told.note("Tiling", tiling)
    _model(settings, told)


def _noise(settings: Settings, told: Telling, like: str, sampler: str | None) -> None:
    program = PROGRAMS[like].sampling
    source, delta = settings.take("RNG"), settings.take("ENSD")
    if source is not None and source not in NOISE[program.source]:
        told.note("RNG", source, f"like {like}, noise is drawn as on {NOISE[program.source][0]}")
    if delta is not None and whole(delta) not in (0, program.step_seed):
        told.note("ENSD", delta, "noise after the first would come from another seed")
    ddim, others = settings.take("Eta DDIM"), settings.take("Eta")
    eta = ddim if sampler == "ddim" and ddim is not None else others
    told.put("eta", eta, "Eta")
    if ddim is not None and sampler != "ddim":
        told.note("Eta DDIM", ddim, "is for another sampler")
    elif ddim is not None and others is not None:
        told.note("Eta", others, "is for another sampler")


def _model(settings: Settings, told: Telling) -> None:
    if model := settings.take("Model"):
        if name := file_name(model).rpartition("/")[2]:
            told.values["model"] = name
        else:
            told.note("Model", model, "is no file's name")
    told.model_hash = settings.take("Model hash") or ""
    if (vae := settings.take("VAE")) not in (None, "None", "Automatic"):
        told.note("VAE", vae, "the model's own decodes here")
    decoder = settings.take("VAE Decoder")
    if decoder == "TAESD":
        told.values["draft"] = True
        told.need("tiny-vae", "Tiny VAE" if not settings.has("Tiny VAE") else "the tiny autoencoder")
    elif decoder not in (None, "Full"):
        told.note("VAE Decoder", decoder)
    cfg = number(settings.take("Distilled CFG Scale"))
    if cfg is not None:
        told.note("Distilled CFG Scale", f"{cfg:g}", "is of a model that is not Stable Diffusion v1")
