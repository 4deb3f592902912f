"""Networks that draw beside a model: what there is, by our address and by those of AUTOMATIC1111's ControlNet.

GET  /networks                  all, by their names
GET  /controlnet/model_list     control networks and image prompts, as "name [hash]"
POST /controlnet/detect         hints, made of pictures
"""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter
from inkpunk.pictures.hints import MAKERS, as_png
from inkpunk.pictures.others.a1111_parts import kind_of_hint
from pydantic import BaseModel, Field

from inkpunk_studio.http import refusing
from inkpunk_studio.http.a1111.controls import EITHER, NONE
from inkpunk_studio.http.a1111.refusing import Route
from inkpunk_studio.http.incoming import read_text
from inkpunk_studio.http.outgoing import base64_of
from inkpunk_studio.http.refusing import Refusal, refusals
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.networks import Network, NetworkKind

VERSION = 3
"""Of the extension's API: the one with `control_mode` and `alwayson_scripts`."""
MOST_PICTURES = 16  # of which hints are made at once
A_PAIR = 2  # of modules: "none", and the one that makes such hints
SEEING = "ip-adapter_clip_sd15"
"""The module that makes nothing of a picture: an image prompt sees it as it is."""
TYPES = {
    "Canny": "canny",
    "SoftEdge": "softedge",
    "Scribble": "scribble",
    "Tile": "tile",
    "Depth": "depth",
    "OpenPose": "openpose",
    "Lineart": "lineart",
    "MLSD": "mlsd",
    "NormalMap": "normalbae",
    "Segmentation": "seg",
    "Inpaint": "inpaint",
    "Shuffle": "shuffle",
    "InstructP2P": "ip2p",
}
"""What the extension calls kinds of hints."""


class NetworkOut(BaseModel):
    """A network that can be chosen.

    Attributes:
        name: what it is chosen by.
        kind: what it does.
        family: what such networks are called.
        hint: the kind of hint that a control network reads, as far as its name tells.
        bytes: its size on disk.
    """

    name: str
    kind: NetworkKind
    family: str
    hint: str | None
    bytes: int | None


class DetectIn(BaseModel):
    """Pictures of which hints are made.

    Attributes:
        controlnet_module: what of them.
        controlnet_input_images, controlnet_images: the pictures, in base64.
    """

    controlnet_module: str = "none"
    controlnet_input_images: Annotated[list[str], Field(default_factory=list[str], max_length=MOST_PICTURES)]
    controlnet_images: Annotated[list[str], Field(default_factory=list[str], max_length=MOST_PICTURES)]


class DetectOut(BaseModel):
    """Hints.

    Attributes:
        images: in base64.
        info: that it went well.
    """

    images: list[str]
    info: str = "Success"


def router(desk: Desk, settings: Settings) -> APIRouter:
    """The addresses, for a desk."""
    addresses = APIRouter()
    addresses.routes.extend((*_ours(desk).routes, *_theirs(desk, settings).routes))
    return addresses


def _ours(desk: Desk) -> APIRouter:
    addresses = APIRouter(route_class=refusing.Route, tags=["networks"])

    @addresses.get("/networks")
    async def networks() -> list[NetworkOut]:
        """Control networks, image prompts, their encoders and adapters that a picture may be drawn with."""
        known = await to_thread.run_sync(desk.models.networks.known)
        return [
            NetworkOut(**{name: getattr(each, name) for name in NetworkOut.model_fields}) for each in known
        ]

    return addresses


def _theirs(desk: Desk, settings: Settings) -> APIRouter:
    addresses = APIRouter(
        prefix="/controlnet", route_class=Route, tags=["a1111"], responses=refusals(413, 422)
    )

    @addresses.get("/version")
    async def version() -> dict[str, int]:
        """Which of the extension's APIs this is."""
        return {"version": VERSION}

    @addresses.get("/settings")
    async def units() -> dict[str, int]:
        """How many units there are where somebody shows them; a request may have more."""
        return {"control_net_unit_count": VERSION}

    @addresses.get("/model_list")
    async def model_list() -> dict[str, list[str]]:
        """Networks that a unit may name; the folders are looked through each time."""
        return {"model_list": [each.title for each in await to_thread.run_sync(_listed, desk)]}

    @addresses.get("/module_list")
    async def module_list() -> dict[str, Any]:
        """What makes hints of pictures."""
        return {"module_list": modules(), "module_detail": {each: {"sliders": []} for each in modules()}}

    @addresses.get("/control_types")
    async def control_types() -> dict[str, Any]:
        """Modules and networks that go together."""
        return {"control_types": types(await to_thread.run_sync(_listed, desk))}

    @addresses.post("/detect")
    async def detect(fields: DetectIn) -> DetectOut:
        """Make hints of pictures."""
        return DetectOut(images=await to_thread.run_sync(_hints, fields, settings))

    return addresses


def modules() -> list[str]:
    """What makes hints of pictures."""
    return ["none", *MAKERS, SEEING]


def types(known: list[Network]) -> dict[str, dict[str, Any]]:
    """Modules and networks that go together, by what the extension calls them."""
    found = {"All": _type(modules(), [each.title for each in known])}
    for name, hint in TYPES.items():
        reading = [each.title for each in known if each.hint == hint]
        if reading or hint in MAKERS:
            found[name] = _type(["none", *([hint] if hint in MAKERS else [])], reading)
    found["IP-Adapter"] = _type([SEEING], [each.title for each in known if each.kind == "image prompt"])
    return found


def _type(modules: list[str], models: list[str]) -> dict[str, Any]:
    return {
        "module_list": modules,
        "model_list": ["None", *models],
        "default_option": modules[-1] if len(modules) <= A_PAIR else "none",
        "default_model": models[0] if models else "None",
    }


def _listed(desk: Desk) -> list[Network]:
    return [each for kind in EITHER for each in desk.models.networks.known(kind)]


def _hints(fields: DetectIn, settings: Settings) -> list[str]:
    module = fields.controlnet_module[:200]
    ready, kind = module.lower() in NONE, kind_of_hint(module, "")
    if not ready and kind not in MAKERS:
        raise Refusal(
            422, f"controlnet_module {module[:60]!r}: is not here; there is {', '.join(modules()[:-1])}"
        )
    images = [*fields.controlnet_input_images, *fields.controlnet_images]
    if not images:
        raise Refusal(422, "controlnet_input_images: there is none; send pictures in base64")
    if len(images) > MOST_PICTURES:
        raise Refusal(422, f"controlnet_input_images: {len(images)} came; at most {MOST_PICTURES} are taken")
    return [_hint(image, None if ready else kind, settings) for image in images]


def _hint(image: str, kind: str | None, settings: Settings) -> str:
    came = (
        read_text("controlnet_input_images", image, settings)
        .within(settings.most_pixels)
        .image.convert("RGB")
    )
    return base64_of(as_png(came if kind is None else MAKERS[kind](came)))
