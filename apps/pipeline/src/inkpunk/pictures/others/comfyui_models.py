"""What stands before a sampler in a graph: the checkpoint and what is put on it, and what encodes its prompts."""

from inkpunk.pictures.others.comfyui_graph import FARTHEST, Graph, Link, Node, source, value_of
from inkpunk.pictures.others.plain import file_name, is_off, number, whole
from inkpunk.pictures.others.told import Telling

LOADERS = ("CheckpointLoaderSimple", "CheckpointLoader", "Checkpoint Loader", "CheckpointLoaderNF4")
LORAS = ("LoraLoader", "LoraLoaderModelOnly")
PREDICTIONS = {"eps": "epsilon", "v_prediction": "v", "x0": "sample"}
CONDITIONINGS = ("conditioning", "positive", "conditioning_1", "conditioning_to")


def model_of(graph: Graph, sampler: Node, told: Telling) -> None:
    """Put down the checkpoint, its LoRAs and what else is put on it."""
    on_unet = _chain(graph, sampler.link("model"), "model")
    encoder, clip = told_conditioning(graph, sampler.link("positive"), "positive", Telling(""))
    on_clip = _chain(graph, clip, "clip") if encoder is not None else []
    _loras(on_unet, on_clip, graph, told)
    for node in on_unet:
        _put_on(graph, node, told)
    loader = on_unet[-1] if on_unet else None
    if loader is None or loader.kind not in LOADERS:
        told.note(str(loader) if loader else "its model", None, "is not a checkpoint's loader")
    elif name := file_name(value_of(graph, loader.inputs.get("ckpt_name"))[0]):
        told.values["model"] = name
    if loader is not None and on_clip and on_clip[-1].name != loader.name:
        told.note(str(on_clip[-1]), None, "the text encoder is another file's; the model's own is taken here")


def told_vae(graph: Graph, node: Node | None, told: Telling) -> None:
    """Note an autoencoder that is not the checkpoint's own."""
    found = source(graph, node.link("vae")) if node else None
    if found is not None and found[0].kind not in LOADERS:
        name = found[0].inputs.get("vae_name")
        told.note(str(found[0]), name, "the model's own decodes here")


def _chain(graph: Graph, link: Link | None, name: str) -> list[Node]:
    """The nodes from a sampler, or a prompt's encoder, back to the file."""
    chain, seen = list[Node](), set[str]()
    for _ in range(FARTHEST):
        found = source(graph, link)
        if found is None or found[0].name in seen:
            break
        chain.append(found[0])
        seen.add(found[0].name)
        link = found[0].link(name)
    return chain


def _loras(on_unet: list[Node], on_clip: list[Node], graph: Graph, told: Telling) -> None:
    """A LoRA may be on the UNet, on the text encoder, or on both."""
    nodes = {node.name: node for node in (*reversed(on_unet), *reversed(on_clip)) if node.kind in LORAS}
    loras = list[str]()
    for node in nodes.values():
        name = file_name(value_of(graph, node.inputs.get("lora_name"))[0])
        unet, text_encoder = (
            number(value_of(graph, node.inputs.get(each, default))[0])
            for each, default in (("strength_model", 1), ("strength_clip", 0))
        )
        unet = unet if node in on_unet else 0.0
        text_encoder = text_encoder if node in on_clip else 0.0
        if not name or unet is None or text_encoder is None or not max(abs(unet), abs(text_encoder)) <= 100:
            told.note(str(node), node.inputs.get("lora_name"), "is no LoRA with a strength")
        elif unet or text_encoder:
            loras.append(f"{name}:{unet:g}" + ("" if unet == text_encoder else f":{text_encoder:g}"))
    if loras:
        told.values["lora"] = tuple(loras)


def _put_on(graph: Graph, node: Node, told: Telling) -> None:
    """What is put on a UNet beside LoRAs."""
    if node.kind in (*LOADERS, *LORAS):
        return
    if node.kind == "RescaleCFG":
        told.put("guidance-rescale", value_of(graph, node.inputs.get("multiplier"))[0], str(node))
    elif node.kind == "ModelSamplingDiscrete" and node.inputs.get("sampling") in PREDICTIONS:
        told.values["prediction"] = PREDICTIONS[str(node.inputs["sampling"])]
        if not is_off(node.inputs.get("zsnr")):
            told.values["zero-snr"] = True
    elif node.link("model") is not None:
        told.note(str(node), None, "changes the model, which is not followed")


def told_conditioning(
    graph: Graph, link: Link | None, side: str, told: Telling
) -> tuple[Node | None, Link | None]:
    """The node that encodes a prompt, and where its text encoder comes from; what lies between is told.

    Args:
        graph: all nodes.
        link: a sampler's "positive" or "negative" input.
        side: which of the two.
        told: what is noted.
    """
    for _ in range(FARTHEST):
        found = source(graph, link)
        if found is None:
            return None, None
        node, slot = found
        if node.kind == "CLIPTextEncode" or (isinstance(node.inputs.get("text"), str) and node.link("clip")):
            if node.kind != "CLIPTextEncode":
                told.note(str(node), None, "encodes the prompt in a way of its own")
            return node, node.link("clip")
        if node.kind == "ConditioningZeroOut" and side == "negative":
            told.note(str(node), None, "the negative prompt is nothing at all there; here it is empty")
            return None, None
        if node.kind in ("ControlNetApply", "ControlNetApplyAdvanced", "ControlNetApplySD3"):
            _control(graph, node, told)
        else:
            told.note(str(node), None, "changes the prompt, which is not followed")
        if node.kind.startswith("ControlNetApply") and node.kind != "ControlNetApply":
            link = node.link("negative" if slot == 1 else "positive")
        else:
            link = node.link(*CONDITIONINGS)
    return None, None


def _control(graph: Graph, node: Node, told: Telling) -> None:
    from inkpunk.pictures.others.a1111_parts import kind_of_hint

    loader = source(graph, node.link("control_net"))
    name = str(loader[0].inputs.get("control_net_name", "")) if loader else ""
    picture = source(graph, node.link("image"))
    ready = picture is None or picture[0].kind == "LoadImage"
    kind = kind_of_hint("" if picture is None or ready else picture[0].kind, name)
    strength, start, end = (
        number(value_of(graph, node.inputs.get(each, usual))[0])
        for each, usual in (("strength", 1), ("start_percent", 0), ("end_percent", 1))
    )
    if strength is None or start is None or end is None:
        told.note(str(node), name, "its numbers are none")
        return
    steps = "" if (start, end) == (0, 1) else f":{start:g}-{end:g}"
    file = f"{'hint' if ready else 'control'} {kind}:FILE:{strength:g}{steps}"
    told.need(file, f"{node}: {file_name(name) or 'a control network'}, its picture")
    if node.kind == "ControlNetApply":
        told.note(str(node), None, "acts on the positive prompt alone there; here on both")
    if picture is not None and not ready:
        numbers = {key: value for key, value in picture[0].inputs.items() if not isinstance(value, Link)}
        told.note(str(picture[0]), numbers, "hints are made in their usual way")


def skipped(graph: Graph, clip: Link | None, told: Telling) -> int | None:
    """The CLIP skip before a prompt's encoder; None where there is none."""
    for node in _chain(graph, clip, "clip"):
        if node.kind == "CLIPSetLastLayer":
            layer = whole(value_of(graph, node.inputs.get("stop_at_clip_layer"))[0])
            if layer is None or layer >= 0:
                told.note(str(node), node.inputs.get("stop_at_clip_layer"), "is no layer, as -2")
                return None
            return -layer
    return None
