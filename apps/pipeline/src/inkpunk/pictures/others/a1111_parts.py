"""What an infotext tells beside the plain way from noise to picture: a second pass, a picture to begin from, ..."""

import re

from inkpunk.pictures.others.infotext import pairs
from inkpunk.pictures.others.plain import file_name, in_a_line, mapping, number, size, whole
from inkpunk.pictures.others.settings import Settings
from inkpunk.pictures.others.told import Telling
from inkpunk.road.limits import MOST_PADDING

CONTENTS = {
    "fill": "blurred",
    "original": "original",
    "latent noise": "noise",
    "latent nothing": "blank",
}
"""What AUTOMATIC1111 calls what a masked part begins as."""
CONTROL_KEYS = {
    *("Module", "Model", "Weight", "Guidance Start", "Guidance End", "Control Mode", "Resize Mode"),
    *("Processor Res", "Threshold A", "Threshold B", "Pixel Perfect", "Low Vram", "Hint hash"),
}
SAME = ("Use same sampler", "Use same scheduler", "Use same checkpoint", "Use same choices")
KINDS = ("canny", "softedge", "scribble", "tile", "depth", "openpose", "lineart", "mlsd", "normal", "seg")
EDGES = {"hed": "softedge", "pidinet": "softedge", "pidi": "softedge", "midas": "depth", "zoe": "depth"}


def variation(settings: Settings, told: Telling) -> None:
    """Another seed's noise, and noise of another size."""
    seed, strength = settings.take("Variation seed"), settings.take("Variation seed strength")
    amount = number(strength) if strength is not None else None
    if seed is not None and whole(seed) is not None and amount is not None:
        if amount:
            told.values["vary"] = f"{whole(seed)}:{amount:g}"
    elif seed is not None or amount:
        told.note("Variation seed", f"{seed}:{strength}", "is not a seed and a share")
    if shape := settings.take("Seed resize from"):
        sides = size(shape)
        if sides and all(sides):
            told.values["seed-resize"] = f"{sides[0]}x{sides[1]}"
        elif shape not in ("0x0", "-1x-1"):
            told.note("Seed resize from", shape)


def second_pass(settings: Settings, told: Telling, prompt: str, negative: str) -> None:
    """AUTOMATIC1111's "hires fix": the same prompt again, larger."""
    larger, by = settings.take("Hires resize"), settings.take("Hires upscale")
    first = settings.take("First pass size")  # of its first versions, whose Size is the last one
    upscaler, steps = settings.take("Hires upscaler"), settings.take("Hires steps")
    if first is not None and first != "0x0" and (sides := size(first)) and "width" in told.values:
        told.values["enlarge"] = f"{told.values['width']}x{told.values['height']}"
        told.values["width"], told.values["height"] = sides
        upscaler = upscaler or "Latent"
    elif larger is not None:
        _resized(larger, told)
    elif by is not None:
        factor = number(by)
        told.put("enlarge", by, "Hires upscale")
        if factor is not None:
            told.values["enlarge"] = f"{factor:g}"
    if first is not None and "enlarge" not in told.values:
        told.note("First pass size", first)
    if "enlarge" not in told.values:
        for key, value in (("Hires upscaler", upscaler), ("Hires steps", steps)):
            if value is not None:
                told.note(key, value)
        return
    told.put("enlarge-strength", settings.take("Denoising strength"), "Denoising strength")
    if steps != "0":
        told.put("enlarge-steps", steps, "Hires steps")
    _upscaler(upscaler, told)
    sampler, spacing = settings.take("Hires sampler"), settings.take("Hires schedule type")
    if sampler not in (None, *SAME):
        _second_sampler(sampler, told)
    named = Telling("")
    if spacing not in (None, *SAME, "Automatic"):
        named.sampler(None, spacing, "", "")
        if named.values.get("spacing") != told.values.get("spacing"):
            told.note("Hires schedule type", spacing, "the second pass has the first one's spacing here")
    _others_of_the_second(settings, told, prompt, negative)


def _second_sampler(sampler: str, told: Telling) -> None:
    second = Telling("")
    if second.sampler(sampler, None, "", "") is None:
        told.note("Hires sampler", sampler, "there is no such sampler here")
        return
    told.values["enlarge-sampler"] = second.values["sampler"]
    spacing = second.values.get("spacing")
    if spacing not in (None, told.values.get("spacing")):
        told.note("Hires sampler", sampler, "the second pass has the first one's spacing here")


def _others_of_the_second(settings: Settings, told: Telling, prompt: str, negative: str) -> None:
    """What it may have for itself there, and not here."""
    same: dict[str, tuple[object, ...]] = {
        "Hires prompt": (prompt,),
        "Hires negative prompt": (negative,),
        "Hires CFG Scale": (0.0, told.values.get("guidance")),
        "Hires checkpoint": SAME,
        "Hires Module 1": SAME,
    }
    for key, alike in same.items():
        value = settings.take(key)
        if value is not None and value not in alike and number(value) not in alike:
            told.note(key, value, "the second pass has the first one's here")


def _resized(larger: str, told: Telling) -> None:
    sides = size(larger)
    width, height = told.values.get("width"), told.values.get("height")
    if sides and isinstance(width, int) and isinstance(height, int) and width and height:
        to = (sides[0] or sides[1] * width // height, sides[1] or sides[0] * height // width)
        sides = tuple(side // 8 * 8 for side in to)
    if sides and all(sides):
        told.values["enlarge"] = f"{sides[0]}x{sides[1]}"
    else:
        told.note("Hires resize", larger)


def _upscaler(name: str | None, told: Telling) -> None:
    if name is None or name.startswith("Latent"):
        told.values["enlarge-by"] = "latents"
        if name not in (None, "Latent", "Latent (bilinear)"):
            told.note("Hires upscaler", name, "latents are enlarged bilinearly here")
        return
    told.values["enlarge-by"] = "pixels"
    if name in ("None", "Nearest"):
        told.note("Hires upscaler", name, "pixels are enlarged by Lanczos here")
    elif name != "Lanczos":
        told.need("upscaler", f"Hires upscaler: {in_a_line(name)}", "the network's file is not in the recipe")


def image_to_image(settings: Settings, told: Telling) -> None:
    """A picture to begin from, and a mask; neither is in the recipe."""
    strength = settings.take("Denoising strength")
    init, resize = settings.take("Init image hash"), settings.take("Resize mode")
    if strength is not None and number(strength) != 0:
        told.put("strength", strength, "Denoising strength")
    if "strength" in told.values or init is not None:
        told.need("init", "the picture that it begins from")
    if resize is not None:
        told.resize(resize, "Resize mode")
    content, area = settings.take("Masked content"), settings.take("Inpaint area")
    padding, blur = settings.take("Masked area padding"), settings.take("Mask blur")
    mode, mask = settings.take("Mask mode"), settings.take("Mask hash")
    if not any((content, area, blur, mode, mask)):
        return
    told.need("mask", "the mask")
    if content is not None:
        ours = CONTENTS.get(content.lower())
        told.note("Masked content", content) if ours is None else told.waiting.update(
            {"masked-content": ours}
        )
    if area is not None and area.lower() == "only masked":
        pixels = whole(padding) if padding is not None else 32
        if pixels is None or not 0 <= pixels <= MOST_PADDING:
            told.note("Masked area padding", padding, "is no number of pixels; 32 is taken")
            pixels = 32
        told.waiting["only-masked"] = pixels
    if blur is not None and whole(blur) != 0:
        told.note("Mask blur", blur, "masks are taken as they are; give one that is blurred")
    if mode is not None and mode.lower() != "inpaint masked":
        told.note("Mask mode", mode, "what is white is drawn anew here; give the mask inverted")


def control_nets(settings: Settings, told: Telling) -> None:
    """What the extension tells of each hint: a pair in quotes that holds pairs."""
    for key, value in settings.take_all("ControlNet ").items():
        inner = {name: str(each) for name, each in pairs(value)}
        if not re.fullmatch(r"ControlNet \d+", key) or "Model" not in inner:
            told.note(key, value)
            continue
        module, model = inner.get("Module", "none"), inner["Model"]
        kind = kind_of_hint(module, model)
        start, end = inner.get("Guidance Start", "0"), inner.get("Guidance End", "1")
        steps = "" if (number(start), number(end)) == (0, 1) else f":{start}-{end}"
        ready = module.lower() in ("none", "")
        option = "hint" if ready else "control"
        told.need(f"{option} {kind}:FILE:{inner.get('Weight', '1')}{steps}", f"{key}: {model}, its picture")
        if inner.get("Control Mode") == "ControlNet is more important":
            told.waiting["guess"] = True
        elif inner.get("Control Mode", "Balanced") != "Balanced":
            told.note(f"{key}: Control Mode", inner["Control Mode"])
        resize = inner.get("Resize Mode", "Crop and Resize")
        if resize not in ("Crop and Resize", "ResizeMode.INNER_FIT"):
            told.resize(resize, f"{key}: Resize Mode")
        for name in sorted(inner.keys() - CONTROL_KEYS):
            told.note(f"{key}: {name}", inner[name])
        for name in ("Processor Res", "Threshold A", "Threshold B"):
            if (number(inner.get(name, "-1")) or -1) > 0 and not ready:
                why = "hints are made at the picture's size, in their usual way"
                told.note(f"{key}: {name}", inner[name], why)


def kind_of_hint(module: str, model: str) -> str:
    """The kind of a hint, by what makes it or the network that reads it."""
    for text in (module.lower(), model.lower()):
        for kind in (*KINDS, *EDGES):
            if kind in text:
                return EDGES.get(kind, kind)
    told = re.sub(r"[^a-z0-9_]+", "_", module.lower())[:40]
    return told if told not in ("", "none") else "KIND"


def old_adapters(settings: Settings, told: Telling) -> None:
    """LoRAs as the extension "Additional Networks" told them, before prompts did."""
    if settings.take("AddNet Enabled") is None:
        return
    loras = list[str]()
    for place in range(1, 6):
        module, model = settings.take(f"AddNet Module {place}"), settings.take(f"AddNet Model {place}")
        unet, text_encoder = (settings.take(f"AddNet Weight {each} {place}") for each in "AB")
        if module is None or model is None or model == "None":
            continue
        found = re.fullmatch(r"(.*?)\(([0-9a-f]+)\)", model)
        name = file_name(found[1] if found else model)
        weights = [number(each or "1") for each in (unet, text_encoder or unet)]
        if module != "LoRA" or not name or None in weights:
            told.note(f"AddNet {place}", f"{module} {model}")
            continue
        loras.append(f"{name}:{weights[0]:g}" + (f":{weights[1]:g}" if weights[1] != weights[0] else ""))
        if found:
            told.hashes[f"lora {name}"] = found[2]
    if loras:
        told.values["lora"] = tuple(loras)


def file_hashes(settings: Settings, told: Telling) -> None:
    """The hashes of files that took part; "Hashes" is an extension's, for all of them."""
    for key, what in (("Lora hashes", "lora"), ("TI hashes", "embedding")):
        for name, value in pairs(settings.take(key) or ""):
            told.hashes[f"{what} {name}"] = in_a_line(value)
    if vae := settings.take("VAE hash"):
        told.hashes["vae"] = vae
    for name, value in mapping(settings.take_value("Hashes")).items():
        what, _, name = name.partition(":")
        if what == "model" and not name:
            told.model_hash = told.model_hash or in_a_line(value)
        else:
            what = {"embed": "embedding", "LORA": "lora"}.get(what, what)
            told.hashes.setdefault(f"{what} {name}".strip(), in_a_line(value))
