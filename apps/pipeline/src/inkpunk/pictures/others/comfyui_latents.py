"""From the latents that a graph decodes back to where they begin: the samplers on the way, and what lies between."""

from dataclasses import dataclass, field, replace

from inkpunk.pictures.others.comfyui_graph import FARTHEST, Graph, Link, Node, source
from inkpunk.pictures.others.told import Telling

SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom")
BETWEEN = (
    *("LatentUpscale", "LatentUpscaleBy", "VAEEncode", "VAEEncodeTiled", "SetLatentNoiseMask"),
    *("VAEEncodeForInpaint", "VAEDecode", "VAEDecodeTiled", "ImageScale", "ImageScaleBy"),
    "ImageUpscaleWithModel",
)
STARTS = ("EmptyLatentImage", "EmptySD3LatentImage", "LoadImage", "LoadImageMask")
ONWARD = ("samples", "latent_image", "latent", "pixels", "image", "images", "samples1", "image1")
"""The inputs by which latents and pictures come in."""
MOST_PASSES = 50
SAME_STEPS = ("steps", "cfg", "sampler_name", "scheduler")
SAME_MODEL = ("model", "positive", "negative")


@dataclass
class Pass:
    """One sampler, and what lies between it and where its latents come from, the nearest first."""

    sampler: Node
    before: list[Node] = field(default_factory=list[Node])
    start: Node | None = None

    def first(self, *kinds: str) -> Node | None:
        """The nearest node of such a kind before it."""
        return next((each for each in self.before if each.kind in kinds), None)


def passes(graph: Graph, link: Link | None, told: Telling) -> list[Pass]:
    """The samplers that latents went through, the last one first; the last of the list has the `start`."""
    walked, seen = list[Pass](), set[str]()
    for _ in range(FARTHEST):
        found = source(graph, link)
        if found is None:
            break
        node, _slot = found
        if node.name in seen:
            told.note(str(node), None, "its graph goes in a circle here")
            break
        seen.add(node.name)
        if node.kind in SAMPLERS and len(walked) < MOST_PASSES:
            walked.append(Pass(node))
        elif node.kind in STARTS:
            if walked:
                walked[-1].start = node
            break
        elif walked:
            walked[-1].before.append(node)
            if node.kind not in BETWEEN:
                told.note(str(node), None, "stands between the latents, and is not followed")
        else:
            told.note(str(node), None, "changes the latents once they are drawn, which is not followed")
        link = node.link(*ONWARD)
    return _joined(walked)


def _joined(walked: list[Pass]) -> list[Pass]:
    """Samplers that only part the steps between them, as one."""
    joined = list[Pass]()
    for each in walked:
        if joined and not joined[-1].before and _goes_on(each.sampler, joined[-1].sampler):
            later = joined.pop().sampler
            inputs = {**each.sampler.inputs, "end_at_step": later.inputs.get("end_at_step")}
            each = replace(each, sampler=replace(each.sampler, inputs=inputs))
        joined.append(each)
    return joined


def _goes_on(first: Node, second: Node) -> bool:
    """Whether a sampler takes the steps that another left, and nothing else changes."""
    if {first.kind, second.kind} != {"KSamplerAdvanced"}:
        return False
    same = all(first.inputs.get(name) == second.inputs.get(name) for name in (*SAME_STEPS, *SAME_MODEL))
    return (
        same
        and first.inputs.get("return_with_leftover_noise") == "enable"
        and second.inputs.get("add_noise") == "disable"
        and first.inputs.get("end_at_step") == second.inputs.get("start_at_step")
    )
