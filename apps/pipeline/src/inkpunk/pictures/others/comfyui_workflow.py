"""ComfyUI's workflow, as it is edited, made a graph: for pictures that hold no other.

It has widgets' values by their places alone; which place is whose is known of plain nodes.
"""

from collections.abc import Mapping

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others.comfyui_graph import MOST_NODES, Graph, Link, Node
from inkpunk.pictures.others.plain import items, loaded, mapping, text
from inkpunk.pictures.others.told import Telling

AFTER = "control_after_generate"
WIDGETS: Mapping[str, tuple[str, ...]] = {
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CheckpointLoader": ("config_name", "ckpt_name"),
    "CLIPTextEncode": ("text",),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "KSampler": ("seed", AFTER, "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        *("add_noise", "noise_seed", AFTER, "steps", "cfg", "sampler_name", "scheduler"),
        *("start_at_step", "end_at_step", "return_with_leftover_noise"),
    ),
    "SamplerCustom": ("add_noise", "noise_seed", AFTER, "cfg"),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "AlignYourStepsScheduler": ("model_type", "steps", "denoise"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "LatentUpscale": ("upscale_method", "width", "height", "crop"),
    "LatentUpscaleBy": ("upscale_method", "scale_by"),
    "ImageScale": ("upscale_method", "width", "height", "crop"),
    "ImageScaleBy": ("upscale_method", "scale_by"),
    "UpscaleModelLoader": ("model_name",),
    "LoadImage": ("image",),
    "LoadImageMask": ("image", "channel"),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "VAELoader": ("vae_name",),
    "VAEEncodeForInpaint": ("grow_mask_by",),
    "ControlNetLoader": ("control_net_name",),
    "ControlNetApply": ("strength",),
    "ControlNetApplyAdvanced": ("strength", "start_percent", "end_percent"),
    "RescaleCFG": ("multiplier",),
    "ModelSamplingDiscrete": ("sampling", "zsnr"),
    "PrimitiveNode": ("value",),
    "PrimitiveInt": ("value",),
    "PrimitiveFloat": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
}
MUTED, BYPASSED = 2, 4
SEEDING = ("fixed", "increment", "decrement", "randomize", True, False)


def read_workflow(told: str, telling: Telling) -> Graph:
    """Read a graph from the JSON text that a picture holds.

    Raises:
        PictureError: for JSON that is no workflow.
    """
    workflow = mapping(loaded(told, "ComfyUI workflow"))
    nodes = [mapping(each) for each in items(workflow.get("nodes"))]
    if not nodes or len(nodes) > MOST_NODES:
        raise PictureError(f"its ComfyUI workflow has {len(nodes):,} nodes")
    links = dict[str, tuple[Link, str]]()
    for each in items(workflow.get("links")):
        match items(each) or [
            mapping(each).get(name) for name in ("id", "origin_id", "origin_slot", "", "", "type")
        ]:
            case [int() | str() as name, int() | str() as node, int() as slot, _, _, kind, *_]:
                links[str(name)] = Link(str(node), slot), str(kind)
            case _:
                pass
    around = {str(each.get("id")): _around(each) for each in nodes if each.get("mode") == BYPASSED}
    graph = dict[str, Node]()
    for each in nodes:
        name, kind = str(each.get("id"))[:100], text(each.get("type"))
        if kind and each.get("mode") not in (MUTED, BYPASSED):
            inputs = _widgets(kind, each) | _inputs(each, links, around)
            graph[name] = Node(name, kind, inputs)
    if mapping(workflow.get("definitions")).get("subgraphs"):
        telling.note("its workflow has subgraphs", None, "what is in them is not followed")
    return graph


def _inputs(
    node: Mapping[str, object], links: Mapping[str, tuple[Link, str]], around: Mapping[str, Mapping[str, str]]
) -> dict[str, object]:
    inputs = dict[str, object]()
    for each in map(mapping, items(node.get("inputs"))):
        found = links.get(str(each.get("link")))
        for _ in range(len(around) + 1):  # past nodes that are bypassed, by what they take of the same type
            if found is None or found[0].node not in around:
                break
            found = links.get(around[found[0].node].get(found[1], ""))
        if found is not None:
            inputs[text(each.get("name"))] = found[0]
    return inputs


def _around(node: Mapping[str, object]) -> dict[str, str]:
    """Of a bypassed node, the link that comes in by type."""
    ways = dict[str, str]()
    for each in map(mapping, items(node.get("inputs"))):
        if each.get("link") is not None:
            ways.setdefault(str(each.get("type")), str(each.get("link")))
    return ways


def _widgets(kind: str, node: Mapping[str, object]) -> dict[str, object]:
    """The values of its widgets, by their names."""
    told = node.get("widgets_values")
    if named := mapping(told):
        return {name: value for name, value in named.items() if not isinstance(value, list)}
    values, names = items(told), WIDGETS.get(kind, ())
    if AFTER in names and (place := names.index(AFTER)) < len(values) and not _seeds(values[place]):
        names = tuple(name for name in names if name != AFTER)  # as the first workflows had none
    return {name: value for name, value in zip(names, values, strict=False) if not isinstance(value, list)}


def _seeds(value: object) -> bool:
    return isinstance(value, str | bool) and value in SEEDING
