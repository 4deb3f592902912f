"""The addresses of AUTOMATIC1111's API."""

from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Body, Request, Response

from inkpunk_studio.http.a1111 import listing
from inkpunk_studio.http.a1111.drawing import Asker
from inkpunk_studio.http.a1111.fields import (
    Drawing,
    Extra,
    ExtraBatch,
    ExtraSingle,
    ImagesOut,
    ImageToImage,
    PictureIn,
    TextToImage,
)
from inkpunk_studio.http.a1111.info import told_of
from inkpunk_studio.http.a1111.options import Options
from inkpunk_studio.http.a1111.pictures import enlarged, png_info
from inkpunk_studio.http.a1111.progress import CLIENT, Tasks, current, progress
from inkpunk_studio.http.a1111.refusing import Route
from inkpunk_studio.http.a1111.styles import Style, styles
from inkpunk_studio.http.events import STEERERS, over
from inkpunk_studio.http.options import Asked
from inkpunk_studio.http.refusing import Refusal, refusals
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import NoSuchJobError

OPTIONS = "options.json"
"""Where they are kept, in the folder of the studio's state."""
MOST_EXTRA = 64  # pictures that are made larger at once
Warned = dict[str, list[str]] | None


def router(desk: Desk, settings: Settings) -> APIRouter:
    """The addresses, for a desk."""
    addresses = APIRouter(
        prefix="/sdapi/v1",
        route_class=Route,
        tags=["a1111"],
        responses=refusals(404, 410, 413, 422, 429, 503),
    )
    options, tasks = Options(desk.models, settings.state / OPTIONS), Tasks()
    asker = Asker(desk, settings, options)
    _draw(addresses, asker, tasks)
    _steer(addresses, desk, tasks)
    _choose(addresses, desk, options)
    _list(addresses, desk, settings)
    _look(addresses, settings)
    _enlarge(addresses, desk, settings)
    return addresses


def _draw(addresses: APIRouter, asker: Asker, tasks: Tasks) -> None:
    async def answer(request: Request, fields: Drawing, asked: Asked) -> Response:
        job = await to_thread.run_sync(asked.submitted, asker.desk, CLIENT)
        tasks.add(fields.force_task_id, job.id)
        job = await over(asker.desk, job, request)
        told = partial(told_of, job, send_images=fields.send_images is not False)
        return Response(await to_thread.run_sync(told), media_type="application/json")

    @addresses.post("/txt2img", response_model=ImagesOut)
    async def txt2img(request: Request, fields: TextToImage) -> Response:
        """Draw pictures from a prompt."""
        return await answer(request, fields, await to_thread.run_sync(asker.text_to_image, fields))

    @addresses.post("/img2img", response_model=ImagesOut)
    async def img2img(request: Request, fields: ImageToImage) -> Response:
        """Draw pictures from one, or what is white in its mask anew."""
        return await answer(request, fields, await to_thread.run_sync(asker.image_to_image, fields))


def _steer(addresses: APIRouter, desk: Desk, tasks: Tasks) -> None:
    steering = CapacityLimiter(STEERERS)

    @addresses.get("/progress")
    async def told(skip_current_image: bool = False, id_task: str | None = None) -> dict[str, Any]:
        """How far it is; `id_task`: of a request with this `force_task_id`, or of a job."""
        preview = not skip_current_image
        return await to_thread.run_sync(lambda: progress(desk, tasks, id_task, preview=preview))

    @addresses.post("/interrupt")
    async def interrupt() -> dict[str, Any]:
        """Stop what is drawn for clients of this API, within a step; its last picture is answered as it stands."""
        if job := current(desk):
            with suppress(NoSuchJobError):
                await to_thread.run_sync(partial(desk.cancel, job.id, keep=True), limiter=steering)
        return {}

    @addresses.post("/skip")
    async def skip() -> dict[str, Any]:
        """Go on with the next picture of what is drawn for clients of this API."""
        job = current(desk)
        if job is not None and job.state == "drawing":
            with suppress(NoSuchJobError):
                desk.skip(job.id)
        return {}


def _choose(addresses: APIRouter, desk: Desk, options: Options) -> None:
    @addresses.get("/options")
    async def read() -> dict[str, Any]:
        """All options."""
        return await to_thread.run_sync(options.read)

    @addresses.post("/options")
    async def write(told: Annotated[dict[str, Any], Body()]) -> Warned:
        """Change options; what changes nothing is named."""
        warnings = await to_thread.run_sync(options.write, told)
        return {"warnings": warnings} if warnings else None

    @addresses.post("/reload-checkpoint")
    @addresses.post("/unload-checkpoint")
    @addresses.post("/refresh-checkpoints")
    @addresses.post("/refresh-vae")
    @addresses.post("/refresh-loras")
    @addresses.post("/refresh-embeddings")
    async def refresh() -> None:
        """Nothing needs to be done: folders are looked through each time, and a model is loaded when it is needed."""


def _list(addresses: APIRouter, desk: Desk, settings: Settings) -> None:
    @addresses.get("/samplers")
    async def samplers() -> list[dict[str, Any]]:
        """Samplers."""
        return listing.samplers()

    @addresses.get("/schedulers")
    async def schedulers() -> list[dict[str, Any]]:
        """Spacings."""
        return listing.schedulers()

    @addresses.get("/upscalers")
    async def upscalers() -> list[dict[str, Any]]:
        """What makes pictures larger."""
        return listing.upscalers([*await to_thread.run_sync(desk.asking.upscalers)])

    @addresses.get("/latent-upscale-modes")
    async def latent_upscale_modes() -> list[dict[str, Any]]:
        """What makes latents larger."""
        return listing.latent_modes()

    @addresses.get("/sd-models")
    async def sd_models() -> list[dict[str, Any]]:
        """The models that can be chosen."""
        return await to_thread.run_sync(listing.models, desk)

    @addresses.get("/loras")
    async def loras() -> list[dict[str, Any]]:
        """Adapters that a prompt may name."""
        return await to_thread.run_sync(listing.loras, settings)

    @addresses.get("/prompt-styles")
    async def prompt_styles() -> list[Style]:
        """Prompts with room for another, of the `styles.csv` in the folders of models and pictures."""
        return [*(await to_thread.run_sync(styles, settings)).values()]

    @addresses.get("/embeddings")
    async def embeddings() -> dict[str, Any]:
        """Learned words."""
        return {**await to_thread.run_sync(listing.embeddings, desk.models)}

    @addresses.get("/sd-vae")
    @addresses.get("/sd-modules")
    @addresses.get("/hypernetworks")
    @addresses.get("/face-restorers")
    @addresses.get("/realesrgan-models")
    @addresses.get("/extensions")
    async def none_of_these() -> list[dict[str, Any]]:
        """There are none here."""
        return []

    @addresses.get("/scripts")
    async def scripts() -> dict[str, Any]:
        """Scripts that may go with a request."""
        return {**listing.scripts()}

    @addresses.get("/script-info")
    async def script_info() -> list[dict[str, Any]]:
        """What they take."""
        return listing.script_info()

    @addresses.get("/cmd-flags")
    async def cmd_flags() -> dict[str, Any]:
        """How the server was started."""
        return {**await to_thread.run_sync(listing.cmd_flags, desk)}

    @addresses.get("/memory")
    async def memory() -> dict[str, Any]:
        """What is used and free, in bytes."""
        return {**await to_thread.run_sync(listing.memory)}


def _look(addresses: APIRouter, settings: Settings) -> None:
    @addresses.post("/png-info")
    async def info(fields: PictureIn) -> dict[str, Any]:
        """Read a picture's infotext."""
        return await to_thread.run_sync(png_info, fields.image, settings)

    @addresses.post("/interrogate")
    async def interrogate() -> None:
        """There is no network here that describes pictures."""
        raise Refusal(404, "interrogate: there is no network here that describes pictures")


def _enlarge(addresses: APIRouter, desk: Desk, settings: Settings) -> None:
    one_at_a_time = CapacityLimiter(1)  # a network takes all cores, and drawing goes on

    async def larger(image: str, fields: Extra) -> tuple[str, list[str]]:
        networks = await to_thread.run_sync(desk.asking.upscalers)
        limiter = one_at_a_time if fields.upscaler_1 in networks else None
        return await to_thread.run_sync(enlarged, image, fields, settings, networks, limiter=limiter)

    @addresses.post("/extra-single-image")
    async def single(fields: ExtraSingle) -> dict[str, Any]:
        """Make a picture larger."""
        image, warnings = await larger(fields.image, fields)
        return {"html_info": "; ".join(warnings), "image": image, "warnings": warnings}

    @addresses.post("/extra-batch-images")
    async def batch(fields: ExtraBatch) -> dict[str, Any]:
        """Make pictures larger."""
        if len(fields.imageList) > MOST_EXTRA:
            raise Refusal(422, f"imageList: {len(fields.imageList)} came; at most {MOST_EXTRA} are taken")
        done = [await larger(each.data, fields) for each in fields.imageList]
        warnings = [*dict.fromkeys(line for _, lines in done for line in lines)]
        return {
            "html_info": "; ".join(warnings),
            "images": [image for image, _ in done],
            "warnings": warnings,
        }
