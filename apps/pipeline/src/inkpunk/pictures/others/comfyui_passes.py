"""A graph's samplers as an order's numbers: the pass that begins a picture, and the one that makes it larger."""

import math

from inkpunk.pictures.others.comfyui_graph import Graph, Link, Node, source, value_of
from inkpunk.pictures.others.comfyui_latents import Pass
from inkpunk.pictures.others.comfyui_models import told_conditioning, told_vae
from inkpunk.pictures.others.plain import file_name, in_a_line, number, whole
from inkpunk.pictures.others.told import Telling

RESIZES = {"disabled": "stretch", "center": "fill"}


def setting(graph: Graph, node: Node, name: str, told: Telling) -> object:
    """An input's value; one that cannot be followed is noted."""
    value, held = value_of(graph, node.inputs.get(name))
    if held is not None:
        why = "makes it" if value is None else "is no node that is known; what it holds is taken"
        told.note(f"{node}, {name}", value, f"{held} {why}")
    return value


def put_first(graph: Graph, walked: Pass, told: Telling, size: tuple[int, int]) -> None:
    """Put down the pass that begins a picture."""
    node = walked.sampler
    seed = setting(graph, node, "noise_seed" if "noise_seed" in node.inputs else "seed", told)
    told.put("seed", seed, f"{node}, seed")
    told.put("guidance", setting(graph, node, "cfg", told), f"{node}, cfg")
    numbers = _numbers(graph, node, told)
    told.sampler(numbers["sampler"], numbers["spacing"], f"{node}, sampler", f"{node}, scheduler")
    _start(graph, walked, told, size)
    begun = "init" in told.needs
    steps, denoise = _steps(graph, node, numbers, told)
    told.put("steps", steps, f"{node}, steps")
    if begun:
        told.put("strength", denoise, f"{node}, denoise")
    elif denoise not in (None, 1):
        told.note(f"{node}, denoise", denoise, "is less than 1 without a picture to begin from")


def _numbers(graph: Graph, node: Node, told: Telling) -> dict[str, object]:
    """Sampler, spacing, steps and denoising, wherever the kind of sampler has them."""
    names = {"sampler": "sampler_name", "spacing": "scheduler", "steps": "steps", "denoise": "denoise"}
    if node.kind != "SamplerCustom":
        return {ours: setting(graph, node, theirs, told) for ours, theirs in names.items()}
    selected, sigmas = (source(graph, node.link(name)) for name in ("sampler", "sigmas"))
    read = dict[str, object](sampler=None, spacing=None, steps=None, denoise=None)
    if selected and selected[0].kind == "KSamplerSelect":
        read["sampler"] = setting(graph, selected[0], "sampler_name", told)
    elif selected:
        told.note(str(selected[0]), None, "is a sampler that is not followed")
    if sigmas and sigmas[0].kind in ("BasicScheduler", "AlignYourStepsScheduler"):
        told_by = sigmas[0]
        read |= {ours: setting(graph, told_by, names[ours], told) for ours in ("steps", "denoise")}
        ays = told_by.kind == "AlignYourStepsScheduler"
        read["spacing"] = "ays" if ays else setting(graph, told_by, "scheduler", told)
    elif sigmas:
        told.note(str(sigmas[0]), None, "makes noise levels in a way that is not followed")
    return read


def _steps(graph: Graph, node: Node, numbers: dict[str, object], told: Telling) -> tuple[object, object]:
    """Steps and denoising; of a sampler that runs a part of its steps, those that make that part."""
    steps, denoise = numbers["steps"], numbers["denoise"]
    if node.kind != "KSamplerAdvanced":
        return steps, 1 if denoise is None else denoise
    count = whole(steps)
    start, end = (whole(setting(graph, node, f"{name}_at_step", told)) for name in ("start", "end"))
    if count is not None and end is not None and end < count:
        told.note(f"{node}, end_at_step", end, "its last steps are left out, which is not followed")
    if setting(graph, node, "add_noise", told) == "disable":
        told.note(f"{node}, add_noise", "disable", "noise is added here")
    if count is None or not start or not 0 < start < count:
        return steps, 1
    share = (count - start) / count
    if int((count - start) / share) < count:  # rounding would leave one out
        share = math.nextafter(share, 0)
    return count - start, share


def _start(graph: Graph, walked: Pass, told: Telling, size: tuple[int, int]) -> None:
    """Where the latents come from: an empty size, or a picture."""
    start = walked.start
    if start is not None and start.kind.startswith("Empty"):
        for side in ("width", "height"):
            told.put(side, setting(graph, start, side, told), f"{start}, {side}")
        count = setting(graph, start, "batch_size", told)
        if whole(count) not in (None, 1):
            told.note(
                f"{start}, batch_size",
                count,
                "a batch shares one draw of noise; this is its first picture's",
            )
        for node in walked.before:
            told.note(str(node), None, "changes latents in which there is nothing")
        return
    if start is None:
        told.note("its latents", None, "begin in a way that is not followed; the size is the picture's")
        told.values["width"], told.values["height"] = (side // 8 * 8 for side in size)
        return
    told.need("init", "the picture that it begins from" + _named(start, "image"))
    told.values["width"], told.values["height"] = (side // 8 * 8 for side in size)
    for node in walked.before:
        _to_begin_from(graph, node, told)


def _to_begin_from(graph: Graph, node: Node, told: Telling) -> None:
    """A node between a picture to begin from and its sampler."""
    if node.kind in ("SetLatentNoiseMask", "VAEEncodeForInpaint"):
        mask = source(graph, node.link("mask"))
        told.need("mask", "the mask" + _named(mask[0] if mask else None, "image"))
        if node.kind == "VAEEncodeForInpaint":
            told.waiting["masked-content"] = "blank"
            if grown := whole(setting(graph, node, "grow_mask_by", told)):
                told.note(f"{node}, grow_mask_by", grown, "give a mask that is so much larger")
    elif node.kind == "ImageScale":
        told.waiting["resize"] = RESIZES.get(str(node.inputs.get("crop")), "stretch")
    elif node.kind in ("LatentUpscale", "LatentUpscaleBy", "ImageScaleBy", "ImageUpscaleWithModel"):
        told.note(str(node), None, "resizes the picture to begin from; give it so")
    if node.kind.startswith("VAEEncode"):
        told_vae(graph, node, told)


def _named(node: Node | None, name: str) -> str:
    value = node.inputs.get(name) if node else None
    return f", {file_name(value)}" if isinstance(value, str) and not isinstance(value, Link) else ""


def put_second(graph: Graph, second: Pass, first: Pass, told: Telling) -> None:
    """Put down the pass that makes a picture larger: what of it differs from the first, and may."""
    node = second.sampler
    resized = second.first(
        "LatentUpscale", "LatentUpscaleBy", "ImageScale", "ImageScaleBy", "ImageUpscaleWithModel"
    )
    if resized is None:
        told.note(str(node), None, "goes on from another sampler's latents, which is not followed")
        return
    if "init" in told.needs:
        told.note(
            str(node), None, "makes the picture larger in a second pass; do it afterwards, by inkpunk enlarge"
        )
        return
    _larger(graph, resized, told)
    told.values["enlarge-by"] = "latents" if resized.kind.startswith("Latent") else "pixels"
    if network := second.first("ImageUpscaleWithModel"):
        loader = source(graph, network.link("upscale_model"))
        told.need("upscaler", f"{network}{_named(loader[0] if loader else None, 'model_name')}, its network")
    numbers = _numbers(graph, node, told)
    steps, denoise = _steps(graph, node, numbers, told)
    told.put("enlarge-steps", steps, f"{node}, steps")
    told.put("enlarge-strength", denoise, f"{node}, denoise")
    _its_sampler(numbers, node, told)
    _differences(graph, second, first, told)


def _larger(graph: Graph, resized: Node, told: Telling) -> None:
    method = str(resized.inputs.get("upscale_method"))
    usual = "bilinear" if resized.kind.startswith("Latent") else "lanczos"
    if resized.kind.endswith("By"):
        factor = number(setting(graph, resized, "scale_by", told))
        if factor is None:
            told.note(str(resized), None, "does not say by how much")
        else:
            told.values["enlarge"] = f"{factor:g}"
    elif resized.kind == "ImageUpscaleWithModel":
        told.note(str(resized), None, "by how much its network enlarges is not told; twice is taken")
        told.values["enlarge"] = "2"
        return
    else:
        width, height = (whole(setting(graph, resized, side, told)) or 0 for side in ("width", "height"))
        first = told.values.get("width"), told.values.get("height")
        if (
            isinstance(first[0], int) and isinstance(first[1], int) and all(first)
        ):  # 0 is in the first's shape
            width, height = width or first[0] * height // first[1], height or first[1] * width // first[0]
        told.values["enlarge"] = f"{width // 8 * 8}x{height // 8 * 8}"
    if method != usual:
        told.note(f"{resized}, upscale_method", method, f"it is {usual} here")


def _its_sampler(numbers: dict[str, object], node: Node, told: Telling) -> None:
    named = Telling("")
    found = named.sampler(numbers["sampler"], numbers["spacing"], f"{node}, sampler", f"{node}, scheduler")
    for note in named.notes:
        told.note(note, None)
    if found is not None and found != told.values.get("sampler"):
        told.values["enlarge-sampler"] = found
    if named.values.get("spacing") not in (None, told.values.get("spacing")):
        told.note(
            f"{node}, scheduler", numbers["spacing"], "the second pass has the first one's spacing here"
        )


def _differences(graph: Graph, second: Pass, first: Pass, told: Telling) -> None:
    node = second.sampler
    seed = setting(graph, node, "noise_seed" if "noise_seed" in node.inputs else "seed", told)
    for name, value in (("seed", seed), ("guidance", setting(graph, node, "cfg", told))):
        if number(value) != number(told.values.get(name)):
            told.note(f"{node}, {name}", in_a_line(value), "the second pass has the first one's here")
    for side in ("positive", "negative"):
        texts = [
            value_of(graph, encoder.inputs.get("text"))[0] if encoder else None
            for each in (first, second)
            for encoder, _ in [told_conditioning(graph, each.sampler.link(side), side, Telling(""))]
        ]
        if texts[0] != texts[1]:
            told.note(f"{node}, {side}", texts[1], "the second pass has the first one's prompt here")
    models = [source(graph, each.sampler.link("model")) for each in (first, second)]
    if models[0] and models[1] and models[0][0].name != models[1][0].name:
        told.note(f"{node}, model", str(models[1][0]), "the second pass has the first one's model here")
