"""Pictures that are given on the page: what an order says of them, and the files that go with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, cast

from inkpunk.orders.values import OrderError
from PIL import Image, ImageChops

from inkpunk_studio.work.attachments import Attachment, within

PAINTED = 128  # the alpha from which a stroke counts: its soft edge would be drawn anew by half
SHAPE = ("width", "height")
_STRONG = [0] * PAINTED + [255] * (256 - PAINTED)


@dataclass
class Given:
    """What was given so far.

    Attributes:
        most_pixels: of a picture that is kept; what is larger becomes smaller, in its shape.
        values: of options, by their names.
        attachments: the pictures that they name.
    """

    most_pixels: int
    values: dict[str, object] = field(default_factory=dict)
    attachments: list[Attachment] = field(default_factory=list)

    def asked_with(self, told: Mapping[str, object]) -> dict[str, object]:
        """What is asked for with what else is told. The size is that of a picture that is edited.

        Raises:
            OrderError: where no picture is given, neither to edit nor to follow.
        """
        if not self.attachments:
            raise OrderError(
                "there is no picture to edit, and none to follow; drop one, paste one, or take one from Draw"
            )
        own = SHAPE if "init" in self.values else ()
        return {name: value for name, value in told.items() if name not in own} | self.values

    def attach(self, picture: Image.Image) -> str:
        """Keep a picture, and tell its name."""
        held = BytesIO()
        within(picture, self.most_pixels).save(held, "PNG", compress_level=1)
        attachment = Attachment(held.getvalue())
        self.attachments.append(attachment)
        return attachment.name

    def edited(self, editor: Mapping[str, Any] | None) -> None:
        """Take what an editor holds, if anything: a picture to begin from, and a mask where one is painted on it."""
        background = (editor or {}).get("background")
        if not isinstance(background, Image.Image) or is_blank(background):
            return
        self.values["init"] = self.attach(_plain(background))
        if mask := painted((editor or {}).get("layers") or [], background.size):
            self.values["mask"] = self.attach(mask)

    def extended(self, sides: Mapping[str, int | float | None]) -> None:
        """Take how many pixels are added on each side."""
        told = [f"{side}={int(much)}" for side, much in sides.items() if much]
        if told:
            self.values["extend"] = ",".join(told)

    def followed(
        self,
        picture: Image.Image | None,
        kind: str,
        weight: int | float,
        between: tuple[int | float, int | float],
        *,
        ready: bool,
        network: str | None = None,
    ) -> None:
        """Take one more control picture, where one is given; None is the usual network."""
        if picture is not None:
            name, (begin, end) = self.attach(picture), between
            self._add("hint" if ready else "control", f"{kind}:{name}:{weight:g}:{begin:g}-{end:g}")
            if network is not None:
                self._add("control-net", f"{kind}={network}")

    def prompted(
        self, picture: Image.Image | None, weight: int | float, *, network: str | None = None
    ) -> None:
        """Take an image prompt, where one is given; None is the usual network."""
        if picture is not None:
            self._add("image-prompt", f"{self.attach(picture)}:{weight:g}")
            if network is not None:
                self.values["ip-adapter"] = network

    def _add(self, option: str, text: str) -> None:
        before = self.values.get(option)
        texts = cast("tuple[str, ...]", before) if isinstance(before, tuple) else ()
        self.values[option] = texts if option == "control-net" and text in texts else (*texts, text)

    def placed(self, prompt: str, mask: Image.Image | None) -> None:
        """Take a prompt for a part.

        Raises:
            OrderError: for one of the two without the other.
        """
        if (mask is None) != (not prompt.strip()):
            raise OrderError(
                "a regional prompt takes both: the words, and a picture that is white where they count"
            )
        if mask is not None:
            self.values["region"] = (f"{prompt.strip()}@{self.attach(mask)}",)


def painted(layers: list[Any], size: tuple[int, int]) -> Image.Image | None:
    """What was painted on any layer, white on black; None where nothing was."""
    mask = Image.new("L", size)
    for layer in layers:
        if isinstance(layer, Image.Image):
            alpha = layer.convert("RGBA").getchannel("A").point(_STRONG)
            mask = ImageChops.lighter(mask, alpha if alpha.size == size else alpha.resize(size))
    return mask if mask.getbbox() else None


def is_blank(picture: Image.Image) -> bool:
    """Whether nothing of it can be seen, as an editor's empty canvas."""
    return picture.mode == "RGBA" and picture.getchannel("A").getbbox() is None


def _plain(picture: Image.Image) -> Image.Image:
    """Without its alpha where that hides nothing."""
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
        return picture.convert("RGB")
    return picture
