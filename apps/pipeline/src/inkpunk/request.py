"""What a caller asks for: one prompt, and everything that decides which pictures it becomes."""

import secrets
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from inkpunk_sampling import CONVENTIONS, SAMPLERS, SPACINGS, Conventions, find_sampler

if TYPE_CHECKING:
    from PIL import Image

SIZE_MULTIPLE = 8  # the VAE's factor: one latent pixel is 8 x 8 image pixels


class RequestError(ValueError):
    """A request that cannot be drawn; the message says which value, why, and what to give instead."""


def _fresh_seed() -> tuple[int, ...]:
    # 32 bits: what other programs' seed fields hold, so that a seed can be carried over.
    return (secrets.randbits(32),)


@dataclass(frozen=True)
class Request:
    """One prompt and the settings of its pictures. `None` means "as the model prefers".

    Attributes:
        prompt: what the picture shows.
        negative_prompt: what it should not show; takes the unconditional side of the guidance.
        seeds: one seed a picture, 0 to 2**63 - 1; a random one when not given.
        steps: sampling steps, 1 to 1000.
        guidance: classifier-free guidance scale; 1 switches guidance off.
        sampler: a name in `inkpunk_sampling.SAMPLERS`, or AUTOMATIC1111's, ComfyUI's or diffusers' for it, which
            becomes ours; a spacing in it ("DPM++ 2M Karras") becomes `spacing`. What `like` prefers when not given.
        spacing: how the steps spread over the training timesteps, a name in `inkpunk_sampling.SPACINGS`; what `like`
            says of the sampler when not given.
        width, height: picture size in pixels, multiples of 8.
        init: the picture to start from (image-to-image), already of the size asked for.
        strength: how much of `init` is drawn anew, in (0, 1]; without `init` it has no effect.
        guidance_rescale: how much of the contrast that guidance adds is taken back, 0 (none) to 1; 0.7 is usual.
        guidance_interval: noise levels (sigmas) low and high; guidance acts where low < sigma <= high alone, and
            elsewhere a step takes half the time. (0.28, 5.42) is usual. None is everywhere.
        apg: adaptive projected guidance, which keeps a high `guidance` from oversaturating.
        eta: how much noise a sampler draws on its way that leaves the choice, 0 for none; None is its own default.
        like: the program whose picture it shall be, in all that the same settings leave open: a name in
            `inkpunk_sampling.CONVENTIONS`.
        clip_skip: at which of the text encoder's layers to stop, counted from its end as `like` counts: by most, 1 is
            the last and 2 leaves out one; by diffusers, 0 is the last and 1 leaves out one. None is the last.

    Raises:
        RequestError: for any value outside these ranges.
    """

    prompt: str
    negative_prompt: str = ""
    seeds: tuple[int, ...] = field(default_factory=_fresh_seed)
    steps: int | None = None
    guidance: float | None = None
    sampler: str = ""
    spacing: str = ""
    width: int | None = None
    height: int | None = None
    init: "Image.Image | None" = None
    strength: float = 0.75
    guidance_rescale: float = 0.0
    guidance_interval: tuple[float, float] | None = None
    apg: bool = False
    eta: float | None = None
    like: str = "inkpunk"
    clip_skip: int | None = None

    def __post_init__(self) -> None:
        """Check every value that can be judged without a model."""
        self._name_sampler()
        if not self.seeds:
            raise RequestError("seeds: none given, so there is no picture to draw; give one seed a picture")
        for seed in self.seeds:
            if not 0 <= seed < 2**63:
                raise RequestError(f"seed {seed}: must lie between 0 and 2**63 - 1")
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise RequestError(f"steps {self.steps}: must lie between 1 and 1000; 25 to 80 is usual")
        if self.guidance is not None and not 0 <= self.guidance <= 100:
            raise RequestError(f"guidance {self.guidance:g}: must lie between 0 and 100; 7.5 is usual")
        if not 0 < self.strength <= 1:
            raise RequestError(f"strength {self.strength:g}: must be above 0 and at most 1; 0.75 is usual")
        self._check_guidance()
        for name, value in (("width", self.width), ("height", self.height)):
            if value is not None:
                _check_side(name, value)
        if self.init is not None:
            for name, value, actual in zip(
                ("width", "height"), (self.width, self.height), self.init.size, strict=True
            ):
                _check_side(f"init {name}", actual)
                if value is not None and value != actual:
                    raise RequestError(
                        f"{name} {value}: the init picture's is {actual}; resize it first (inkpunk.load_image does)"
                    )

    def _check_guidance(self) -> None:
        if not 0 <= self.guidance_rescale <= 1:
            raise RequestError(
                f"guidance rescale {self.guidance_rescale:g}: must lie between 0 and 1; 0.7 is usual"
            )
        low, high = self.guidance_interval or (0.0, 1.0)
        if not 0 <= low < high < inf:
            raise RequestError(
                f"guidance interval {low:g} to {high:g}: must rise, from a noise level of 0 or more; "
                "0.28 to 5.42 is usual"
            )
        if self.guidance is not None:
            refuse_idle_guidance(self, self.guidance)

    @property
    def conventions(self) -> Conventions:
        """Those of the program that it shall be like."""
        return CONVENTIONS[self.like]

    @property
    def skipped_layers(self) -> int:
        """How many of the text encoder's last layers are left out."""
        return 0 if self.clip_skip is None else self.clip_skip - _least_clip_skip(self.like)

    def _name_sampler(self) -> None:
        if self.like not in CONVENTIONS:
            raise RequestError(f"like {self.like!r}: there is no such program; use {', '.join(CONVENTIONS)}")
        if self.spacing and self.spacing not in SPACINGS:
            raise RequestError(
                f"spacing {self.spacing!r}: there is none of that name; use {', '.join(SPACINGS)}"
            )
        if self.sampler:
            try:
                sampler, told = find_sampler(self.sampler)
            except ValueError as error:
                raise RequestError(str(error)) from error
            if self.spacing and told and self.spacing != told:
                raise RequestError(
                    f"sampler {self.sampler!r} with spacing {self.spacing!r}: give one of the two"
                )
            object.__setattr__(self, "sampler", sampler)  # frozen, but not yet seen by anybody
            object.__setattr__(self, "spacing", self.spacing or told or "")
        if self.skipped_layers < 0:
            raise RequestError(
                f"clip skip {self.clip_skip}: must be at least {_least_clip_skip(self.like)}, which is the last layer"
            )
        if self.eta is not None:
            _check_eta(self.sampler or self.conventions.sampler, self.eta)


@dataclass(frozen=True)
class Plan:
    """A request with nothing left open: what is drawn, and what a picture's facts record.

    Attributes:
        sampler, spacing, steps, guidance, width, height: as in the request. A spacing is empty where the sampler's
            timesteps are none.
        path: the timesteps that are walked along, with the end.
    """

    request: Request
    sampler: str
    spacing: str
    steps: int
    guidance: float
    width: int
    height: int
    path: tuple[float | int, ...]


def refuse_idle_guidance(request: Request, guidance: float) -> None:
    """Refuse what changes guidance where a scale of 1 switches it off: it would change nothing.

    Raises:
        RequestError: if there is any such.
    """
    options = {
        "guidance rescale": request.guidance_rescale,
        "guidance interval": request.guidance_interval,
        "apg": request.apg,
    }
    idle = [name for name, given in options.items() if given]
    if guidance == 1 and idle:
        raise RequestError(
            f"{', '.join(idle)}: without effect at guidance 1, which is off; raise guidance (7.5 is usual), or leave "
            f"{'it' if len(idle) == 1 else 'them'} out"
        )


def _least_clip_skip(like: str) -> int:
    return 0 if like == "diffusers" else 1


def _check_eta(sampler: str, eta: float) -> None:
    if SAMPLERS[sampler].eta is None:
        raise RequestError(f"eta {eta:g}: sampler {sampler!r} leaves no choice of noise; leave it out")
    if not 0 <= eta <= 1:
        raise RequestError(f"eta {eta:g}: must lie between 0, which is no noise, and 1")


def _check_side(name: str, value: int) -> None:
    if value < SIZE_MULTIPLE or value % SIZE_MULTIPLE:
        below = max(value // SIZE_MULTIPLE, 1) * SIZE_MULTIPLE
        raise RequestError(
            f"{name} {value}: must be a positive multiple of {SIZE_MULTIPLE}; "
            f"the nearest are {below} and {below + SIZE_MULTIPLE}"
        )
