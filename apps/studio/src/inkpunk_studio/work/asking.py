"""From what an asker says to what the pipeline is asked: names become files, and limits are kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.options import MODEL
from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError, Value
from PIL import Image

from inkpunk_studio.settings import Settings
from inkpunk_studio.work.attachments import with_paths
from inkpunk_studio.work.limits import check_order, check_plain_name, check_request
from inkpunk_studio.work.models import Models

if TYPE_CHECKING:
    from inkpunk.request import Request

USUAL_SIDE = 512  # pixels, of what Stable Diffusion v1.5 draws where nothing is said
NETWORKS = (".pth", ".safetensors", ".pt", ".ckpt")


class Asking:
    """Reads orders as the studio's settings allow."""

    def __init__(self, settings: Settings, models: Models) -> None:
        self._settings, self._models = settings, models

    def named(self, order: Order) -> Order:
        """The order with its model's listed name, so that it stays with that one.

        Raises:
            OrderError: for what may not be asked; a model or an adapter that is not listed.
        """
        check_order(order, self._settings)
        told = order.values.get("model")
        name = self._models.named(self._models.current if told is None else str(told))
        return Order({**order.values, "model": name})

    def choice(self, order: Order) -> ModelChoice:
        """The model that draws it, without adapters of its own.

        Raises:
            OrderError: for one that is not listed any more.
        """
        return self._models.choice(str(order.values["model"]) if "model" in order.values else None)

    def loras(self, order: Order) -> tuple[str, ...]:
        """The adapters that it asks for beside its prompt, each by a name, and maybe weights."""
        told = order.values.get("lora", ())
        return told if isinstance(told, tuple) else (str(told),)

    def request(self, order: Order, folder: Path, side: int = USUAL_SIDE) -> "Request":
        """What is asked of the pipeline.

        Args:
            order: of one picture.
            folder: where the pictures are that came with it.
            side: in pixels, of the squares that its model draws where nothing is said.

        Raises:
            OrderError: for what is above the limits, or a name that is none.
            RequestError: for what cannot be drawn.
        """
        from inkpunk.models.loras import Lora
        from inkpunk.road.errors import RequestError
        from inkpunk_weights import CheckpointError

        try:
            for each in self.loras(order):
                check_plain_name("lora", str(Lora.read(each).file))
            request = Order(self._settled(order, folder)).request()
            check_request(request, self._settings, side)
        except (OrderError, RequestError, CheckpointError) as error:
            raise type(error)(without_folder(str(error), folder)) from error
        _forget_paths(request)
        return request

    def _settled(self, order: Order, folder: Path) -> Mapping[str, Value]:
        values = {name: value for name, value in with_paths(order, folder).items() if name not in MODEL}
        if (name := values.get("upscaler")) is not None:
            values["upscaler"] = str(self._upscaler(str(name)))
        if self._settings.wildcards is not None:
            values["wildcards"] = str(self._settings.wildcards)
        return values

    def upscalers(self) -> dict[str, Path]:
        """Networks that make pictures larger, by their names."""
        folder = self._settings.upscalers
        if folder is None or not folder.is_dir():
            return {}
        return {each.stem: each for each in sorted(folder.iterdir()) if each.suffix in NETWORKS}

    def _upscaler(self, name: str) -> Path:
        there = self.upscalers()
        if name not in there:
            some = f"; there is {', '.join([*there][:12])}" if there else ""
            raise OrderError(f"upscaler {name[:60]!r}: is not among those listed{some}")
        return there[name]


def without_folder(text: str, folder: Path) -> str:
    """A message without the folder of this machine that a job's pictures are in."""
    return text.replace(f"{folder}/", "").replace(f"{folder}\\", "").replace(str(folder), "")


def _forget_paths(request: "Request") -> None:
    """Take the paths of what came with a request off its pictures: they are this machine's, and recipes travel."""
    from inkpunk.pictures.paths import PATH

    seen = (
        *(request.init, request.mask),
        *(each.picture for each in (*request.followed, *request.shown)),
        *(each.mask for each in request.placed),
    )
    for image in seen:
        if isinstance(image, Image.Image):
            image.info.pop(PATH, None)
