"""Control: the drawing follows what pictures show, by networks that read hints made of them.

Zhang et al. 2023, ControlNet (arXiv 2302.05543); Mou et al. 2023, T2I-Adapter (arXiv 2302.08453).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from inkpunk_unet import Residuals
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from inkpunk.pictures.hints import MAKERS, is_grey, says_nothing
from inkpunk.pictures.numbers import exact
from inkpunk.road import given
from inkpunk.road.road import LATENT_CHANNELS, Latents, ModelInput, Road

MOST_WEIGHT = 100.0
ROUNDING = 1e-9  # of a share of the steps

_GIVEN: Mapping[str, Callable[[str, object], object]] = {
    "kind": given.text,
    "weight": given.number,
    "start": given.number,
    "end": given.number,
    "ready": given.yes_or_no,
}
"""How each value is read, but for the picture."""

Tell = Callable[[Latents, float, Float[Tensor, "rows tokens width"]], Residuals]
"""What a network adds to the UNet, asked as the UNet is."""


class ControlError(ValueError):
    """A control that cannot be; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Control:
    """A picture that the drawing follows, as a user asks for it.

    Attributes:
        kind: what of it: "canny", "softedge", "scribble", "tile", "depth", or the kind of any network.
        picture: a picture of Pillow's, or the path of one.
        weight: how strongly; 1 is as the network was trained, 0 not at all.
        start, end: for which part of the steps, from 0 to 1: a step counts if all of it lies within.
        ready: whether the picture is a hint already, and none is to be made of it.

    Raises:
        ControlError: for numbers outside these ranges, and values of another kind.
    """

    # by tests' checker of types: what is given is checked here, and said in our words
    __no_type_check__ = True

    kind: str
    picture: Image.Image | str | Path
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    ready: bool = False

    def __post_init__(self) -> None:
        try:
            for name, read in _GIVEN.items():
                object.__setattr__(self, name, read(name, getattr(self, name)))  # it is frozen for all others
        except given.GivenError as error:
            raise ControlError(f"control, {error}") from error
        if not abs(self.weight) <= MOST_WEIGHT:  # NaN is neither
            raise ControlError(f"{self}: weight {self.weight:g} cannot be; 0.5 to 1 is usual")
        if not 0 <= self.start < self.end <= 1:
            raise ControlError(
                f"{self}: steps {self.start:g}-{self.end:g} must rise within 0-1; 0-0.6 is usual"
            )

    def __str__(self) -> str:
        """What messages call it, by the option of the command line."""
        return f"{'hint' if self.ready else 'control'} {self.kind}"

    @classmethod
    def read(cls, text: str, *, ready: bool = False) -> "Control":
        """Read `KIND:PICTURE[:WEIGHT][:FROM-TO]`, as canny:photo.png:0.9:0-0.6.

        Raises:
            ControlError: for any other text.
        """
        kind, colon, rest = text.partition(":")
        number = r"(\d+\.?\d*|\.\d+)"
        match = re.fullmatch(rf"(.+?)(?::([+-]?{number}))?(?::{number}-{number})?", rest, re.DOTALL)
        if not (kind and colon and match):
            name = "hint" if ready else "control"
            raise ControlError(
                f"{name} {text!r}: is not KIND:PICTURE, KIND:PICTURE:WEIGHT or KIND:PICTURE:WEIGHT:FROM-TO, as "
                "canny:photo.png:0.9:0-0.6"
            )
        picture, weight, _, start, end = match.groups()
        told = {"weight": weight, "start": start, "end": end}
        if Path(rest).exists():  # a name that ends as a weight would
            picture, told = rest, {}
        numbers = {name: float(value) for name, value in told.items() if value is not None}
        return cls(kind, picture, ready=ready, **numbers)

    @property
    def kept(self) -> Image.Image | None:
        """Its picture, once it was read."""
        return self.picture if isinstance(self.picture, Image.Image) else None

    @property
    def numbers(self) -> str:
        """Weight and steps as they are read: "0.9", or "0.9:0-0.6" where not all steps count."""
        steps = "" if (self.start, self.end) == (0, 1) else f":{exact(self.start)}-{exact(self.end)}"
        return f"{exact(self.weight)}{steps}"

    @property
    def told(self) -> str:
        """Its numbers, and whether its picture was a hint already, as a recipe has them."""
        return f"{self.numbers}{' ready' if self.ready else ''}"

    def acts_at(self, step: int, steps: int) -> bool:
        """Whether it counts at a step, numbered from 0, of so many; diffusers' rule."""
        return self.start * steps <= step + ROUNDING and step + 1 <= self.end * steps + ROUNDING

    def hint(self, fitted: Image.Image) -> Image.Image:
        """The hint of its picture, which is fitted to the drawing's size.

        Raises:
            ControlError: where none can be made of it, or it says nothing.
        """
        if not self.ready and self.kind not in MAKERS:
            raise ControlError(
                f"{self}: a hint of this kind is not made here, only {', '.join(MAKERS)}; give one that is made "
                f"already, as --hint {self.kind}:FILE"
            )
        if self.kind == "depth" and not is_grey(fitted):
            raise ControlError(
                f"{self}: the picture is in colour, and depth is not guessed here; give a map of depth, in grey, "
                "where near is bright"
            )
        hint = fitted.convert("RGB") if self.ready else MAKERS[self.kind](fitted)
        if says_nothing(hint):
            colour = "all black" if not any(hint.getpixel((0, 0)) or ()) else "of one colour"  # pyright: ignore[reportArgumentType]
            raise ControlError(
                f"{self}: its hint is {colour}, so that there is nothing to follow; give a picture with more contrast"
                f"{'' if self.ready else ', or a hint that is made already as --hint'}"
            )
        return hint


@dataclass(frozen=True, eq=False)
class Controller:
    """A control and the network that reads its hint.

    Attributes:
        control: when, and how strongly.
        tell: the network, which knows the hint.
        prompted_alone: whether it is for predictions under the prompt alone, by its nature.
    """

    control: Control
    tell: Tell
    prompted_alone: bool = False


def controlled(
    road: Road,
    controllers: Sequence[Controller],
    step_of: Callable[[float], int],
    *,
    steps: int,
    pictures: int,
    prompted_alone: bool = False,
) -> Road:
    """Have predictions follow hints; what several networks add is summed.

    Args:
        road: to wrap.
        controllers: the networks, and when they count.
        step_of: the step that a timestep is in, counted from 0.
        steps: how many there are.
        pictures: how many are drawn together.
        prompted_alone: whether the predictions under the negative prompts are left without, as in guess mode.
    """

    def predict(
        latents: ModelInput,
        timestep: float,
        context: Float[Tensor, "rows tokens width"],
        residuals: Residuals | None = None,
    ) -> Latents:
        step = step_of(timestep)
        # of guided predictions, the first are those under the negative prompts
        negative = pictures if latents.shape[0] > pictures else 0
        for each in controllers:
            if each.control.weight and each.control.acts_at(step, steps):
                without = negative if prompted_alone or each.prompted_alone else 0
                # an inpainting model's latents are followed by its mask, of which these networks know nothing
                told = _after(each.tell, without, latents[:, :LATENT_CHANNELS], timestep, context)
                told = told.scaled(each.control.weight)
                residuals = told if residuals is None else residuals + told
        return road.predict(latents, timestep, context, residuals)

    return replace(road, predict=predict)


def _after(
    tell: Tell, without: int, latents: Latents, timestep: float, context: Float[Tensor, "rows tokens width"]
) -> Residuals:
    """What a network tells of all rows but the first so many, for which it is zero."""
    if not without:  # the same context at every step, of which networks remember much
        return tell(latents, timestep, context)
    told = tell(latents[without:], timestep, context[without:])
    return told.mapped(lambda entry: _after_zeros(entry, without))


def _after_zeros(entry: Float[Tensor, "rows _ _ _"], count: int) -> Float[Tensor, "all_rows _ _ _"]:
    return torch.cat([torch.zeros_like(entry[:1]).expand(count, -1, -1, -1), entry])
