"""ComfyUI's plain graphs as orders: from the picture that is saved back to what it is made of.

Source: the nodes' names and inputs, as its prompts have them.
"""

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others.comfyui_graph import Graph, Link, Node, read_prompt, source, value_of
from inkpunk.pictures.others.comfyui_latents import Pass, passes
from inkpunk.pictures.others.comfyui_models import model_of, skipped, told_conditioning, told_vae
from inkpunk.pictures.others.comfyui_passes import put_first, put_second
from inkpunk.pictures.others.comfyui_workflow import read_workflow
from inkpunk.pictures.others.told import Telling, Told

SAVING = ("SaveImage", "SaveAnimatedWEBP", "SaveAnimatedPNG", "Image Save"), ("PreviewImage",)
DECODING = ("VAEDecode", "VAEDecodeTiled")


def read_comfyui(prompt: str | None, workflow: str | None, size: tuple[int, int]) -> Told:
    """Read a graph.

    Args:
        prompt: as it was sent to be drawn.
        workflow: as it is edited; it is read where there is no prompt.
        size: the picture's own width and height.

    Raises:
        PictureError: for what is no graph, or one in which no picture is drawn in a way that is known.
    """
    told = Telling("ComfyUI")
    told.values["like"] = "comfyui"
    graph = read_prompt(prompt) if prompt is not None else read_workflow(workflow or "", told)
    latent = _decoded(graph, told)
    walked = passes(graph, latent, told)
    if not walked:
        raise PictureError("its ComfyUI graph draws in a way that is not known here: there is no KSampler")
    *later, first = walked
    put_first(graph, first, told, size)
    _prompts(graph, first, told)
    model_of(graph, first.sampler, told)
    if later:
        put_second(graph, later[-1], first, told)
    for each in later[:-1]:
        told.note(str(each.sampler), None, "is a third pass; two are followed")
    return told.done()


def _decoded(graph: Graph, told: Telling) -> Link | None:
    """The latents that become the picture that is saved."""
    ends = list[Link]()
    for kinds in SAVING:
        saved = (node.link("images", "image") for node in graph.values() if node.kind in kinds)
        ends = ends or [each for each in saved if each is not None]
    ends = ends or [Link(node.name, 0) for node in graph.values() if node.kind in DECODING]
    found, seen = dict[str, list[Node]](), set[str]()
    for end in ends:
        if way := _to_decoder(graph, end, seen):
            found[way[-1].name] = way
    if not found:
        raise PictureError("its ComfyUI graph decodes no picture")
    if len(found) > 1:
        told.note("its graph saves several pictures", None, "the first is taken for this one")
    *changes, decoder = next(iter(found.values()))
    for each in changes:
        told.note(str(each), None, "changes the picture once it is drawn, which is not followed")
    if decoder.kind == "VAEDecodeTiled":
        told.values["tiled"] = True
    told_vae(graph, decoder, told)
    return decoder.link("samples")


def _to_decoder(graph: Graph, link: Link | None, seen: set[str]) -> list[Node]:
    """From a picture back to the node that decodes it, the last of the list; none if others have been there."""
    way = list[Node]()
    while (found := source(graph, link)) is not None and found[0].name not in seen:
        seen.add(found[0].name)
        way.append(found[0])
        if found[0].kind in DECODING:
            return way
        link = found[0].link("image", "images", "pixels", "image1")
    return []


def _prompts(graph: Graph, first: Pass, told: Telling) -> None:
    sides = dict[str, str]()
    skips = list[int | None]()
    for name in ("positive", "negative"):
        encoder, link = told_conditioning(graph, first.sampler.link(name), name, told)
        if encoder is None:
            told.note(f"the {name} prompt", None, "is not made by CLIPTextEncode alone")
            continue
        value, node = value_of(graph, encoder.inputs.get("text", encoder.inputs.get("text_g")))
        if node is not None:
            why = (
                "is no node that is known; the text it holds is taken"
                if value
                else "makes the text of a prompt"
            )
            told.note(str(node), value, why)
        sides[name] = value if isinstance(value, str) else ""
        skips.append(skipped(graph, link, told))
    if "positive" not in sides:
        raise PictureError("its ComfyUI graph makes its prompt in a way that is not known here")
    if any(skip is not None for skip in skips):
        told.values["clip-skip"] = skips[0] or 1
        if len(set(skips)) > 1:
            told.note(
                "CLIPSetLastLayer", None, "differs between the prompts; the positive one's is taken for both"
            )
    told.prompts(sides["positive"], sides.get("negative", ""), tags=False, braces=False)
