"""From what an asker says to what the pipeline is asked: names become files, and limits are kept."""

from collections.abc import Iterator, Mapping
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
from inkpunk_studio.work.needs import Needs, needs_of, texts_of
from inkpunk_studio.work.networks import NotListedError
from inkpunk_studio.work.words import Word

if TYPE_CHECKING:
    from inkpunk.models.loras import Lora
    from inkpunk.request import Request

USUAL_SIDE = 512  # pixels, of what Stable Diffusion v1.5 draws where nothing is said
NETWORKS = (".pth", ".safetensors", ".pt", ".ckpt")


class Asking:
    """Reads orders as the studio's settings allow."""

    def __init__(self, settings: Settings, models: Models) -> None:
        self._settings, self._models = settings, models

    def named(self, order: Order) -> Order:
        """The order with the listed names of its model and its networks, so that it stays with these.

        Raises:
            OrderError: for what may not be asked; a model, an adapter or a network that is not listed.
        """
        check_order(order, self._settings)
        told = order.values.get("model")
        name = self._models.named(self._models.current if told is None else str(told))
        return Order({**order.values, "model": name, **self._networks(order)})

    def _networks(self, order: Order) -> dict[str, Value]:
        networks, choice, named = self._models.networks, order.choice, dict[str, Value]()
        if choice.control_nets:
            named["control-net"] = tuple(
                f"{kind}={networks.named(told, 'control network')}"
                for kind, told in choice.nets_by_kind.items()
            )
        if choice.ip_adapter is not None:
            named["ip-adapter"] = networks.named(choice.ip_adapter, "image prompt")
        if choice.image_encoder is not None:
            named["image-encoder"] = networks.named(choice.image_encoder, "image encoder")
        return named

    def usual_choice(self) -> ModelChoice:
        """The model that draws orders which name none."""
        return self._models.choice()

    def choice(self, order: Order) -> ModelChoice:
        """The model that draws it, without adapters of its own.

        Raises:
            OrderError: for one that is not listed any more.
        """
        return self._models.choice(str(order.values["model"]) if "model" in order.values else None)

    def needs(self, order: Order) -> Needs:
        """The networks that it draws with beside its model.

        Raises:
            OrderError: for one that is not listed.
        """
        return needs_of(order, self._models)

    def words(self, order: Order) -> tuple[Word, ...]:
        """The learned words that its prompts may use.

        Raises:
            OrderError: for a model that is not listed any more.
        """
        models = self._models
        return models.words.fitting(models.shape(str(order.values.get("model") or models.current)))

    def loras(self, order: Order) -> "tuple[Lora, ...]":
        """The adapters that it asks for beside its prompt.

        Raises:
            OrderError: for one that is not listed.
            CheckpointError: for a weight that is none.
        """
        return tuple(self._loras(order))

    def _loras(self, order: Order) -> "Iterator[Lora]":
        from inkpunk.models.loras import Lora

        for text in texts_of(order.values.get("lora")):
            asked = Lora.read(text)
            try:
                file = self._models.networks.told(str(asked.file), "adapter")
            except NotListedError:
                _ = check_plain_name("lora", str(asked.file))
                raise
            yield Lora(file, asked.weight, asked.text_encoder)

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
        from inkpunk.road.errors import RequestError
        from inkpunk_weights import CheckpointError

        try:
            _ = self.loras(order), self.needs(order)
            request = Order(self._settled(order, folder)).request()
            check_request(request, self._settings, side)
        except (OrderError, RequestError, CheckpointError) as error:
            raise type(error)(self.plainly(str(error), folder)) from error
        _forget_paths(request)
        return request

    def plainly(self, text: str, folder: Path) -> str:
        """A message without the folders of this machine that a job's pictures and the weights are in."""
        settings = self._settings
        known = (folder, *settings.models, settings.hub, settings.choice.lora_folder, settings.upscalers)
        folders = {str(Path(each).expanduser()) for each in known if each is not None}
        for each in sorted(folders, key=len, reverse=True):
            if Path(each).is_absolute():  # one that is relative is no secret
                text = text.replace(f"{each}/", "").replace(f"{each}\\", "").replace(each, "")
        return text

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
