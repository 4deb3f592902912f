"""What a caller asks for: one prompt, and everything that decides which pictures it becomes."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from pathlib import Path
from random import Random
from typing import Any, cast

from inkpunk_clip import EMPHASES, Language, VariantError, choose, parse
from inkpunk_sampling import SAMPLERS, find_sampler, find_spacing
from inkpunk_weights import CONTROL_FILES
from PIL import Image, ImageOps

from inkpunk.models.loras import Lora
from inkpunk.pictures.canvas import CONTENTS, CanvasError, Extend
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.fitting import SIZE_MULTIPLE, find_resize
from inkpunk.pictures.masks import read_mask
from inkpunk.pictures.paths import noted
from inkpunk.pictures.plain import over_paper
from inkpunk.pictures.reading import plain, read_picture, read_with_alpha, with_alpha
from inkpunk.road import given
from inkpunk.road.control import Control, ControlError
from inkpunk.road.enlarging import Enlarge, EnlargeError
from inkpunk.road.errors import RequestError
from inkpunk.road.image_prompts import ImagePrompt, ImagePromptError
from inkpunk.road.lora_tags import TagError, has_tags, split_tags
from inkpunk.road.programs import PROGRAMS, Program
from inkpunk.road.regions import Region, RegionError
from inkpunk.road.tileable import AXES
from inkpunk.road.tiles import LEAST_TILE

GIVEN: dict[str, Callable[[str, Any], object]] = {
    "prompt": given.text,
    "negative_prompt": given.text,
    "seeds": given.whole_numbers,
    "steps": given.whole,
    "guidance": given.number,
    "sampler": given.text,
    "spacing": given.text,
    "width": given.whole,
    "height": given.whole,
    "strength": given.number,
    "guidance_rescale": given.number,
    "guidance_interval": given.pair,
    "apg": given.yes_or_no,
    "eta": given.number,
    "like": given.text,
    "clip_skip": given.whole,
    "emphasis": given.text,
    "plain_prompt": given.yes_or_no,
    "wildcards": given.lists,
    "guess": given.yes_or_no,
    "masked_content": given.text,
    "only_masked": given.whole,
    "draft": given.yes_or_no,
    "tileable": given.text,
    "blend": given.prompt_and_amount,
    "vary": given.seed_and_amount,
    "seed_resize": given.size,
    "tile_size": given.whole,
    "resize": given.text,
    "match_colours": given.yes_or_no,
    "keep_alpha": given.yes_or_no,
}
"""How each field is read, but for the picture."""
MAY_BE_NONE = {
    "steps",
    "guidance",
    "sampler",
    "spacing",
    "width",
    "height",
    "guidance_interval",
    "eta",
    "clip_skip",
    "emphasis",
    "wildcards",
    "only_masked",
    "tileable",
    "blend",
    "vary",
    "seed_resize",
    "tile_size",
}


MOST_PADDING = 4096  # pixels


def _fresh_seed() -> tuple[int, ...]:
    # 32 bits: what other programs' seed fields hold, so that a seed can be carried over.
    return (secrets.randbits(32),)


@dataclass(frozen=True)
class Request:
    """One prompt and the settings of its pictures. `None` means "as the model prefers".

    Numbers of numpy and torch are taken, too, and kept as Python's own; values of any other kind are refused at once.

    Attributes:
        prompt: what the picture shows, in the language of `like`: see `inkpunk_clip.parse`. Variants such as
            `{red|blue}` are chosen by each picture's seed: see `inkpunk_clip.choose`.
        negative_prompt: what it should not show, in the same language; takes the unconditional side of the guidance.
        seeds: one seed a picture, 0 to 2**63 - 1; a random one when not given.
        steps: sampling steps, 1 to 1000.
        guidance: classifier-free guidance scale; 1 switches guidance off.
        sampler: a name in `inkpunk_sampling.SAMPLERS`, or AUTOMATIC1111's, ComfyUI's or diffusers' for it, which may
            tell a spacing, too: "DPM++ 2M Karras". None is the default of `like`.
        spacing: how the steps spread over the training timesteps, a name in `inkpunk_sampling.SPACINGS`, or
            AUTOMATIC1111's for it. None is what `like` has for the sampler.
        width, height: picture size in pixels, multiples of 8. None is the model's; with `init`, its shape in the
            model's area: see `inkpunk.pictures.fitting.size_like`.
        init: the picture to start from (image-to-image): any of Pillow's images, or a path, and kept as a file of it
            is read, with its transparency: see `inkpunk.pictures.reading.read_with_alpha`. It is brought to
            the size that is drawn as `resize` says, what is transparent laid over white.
        strength: how much of `init` is drawn anew, in (0, 1]; without `init` it has no effect.
        guidance_rescale: how much of the contrast that guidance adds is taken back, 0 (none) to 1; 0.7 is usual.
        guidance_interval: noise levels (sigmas) low and high; guidance acts where low < sigma <= high alone, and
            elsewhere a step takes half the time. (0.28, 5.42) is usual. None is everywhere.
        apg: adaptive projected guidance, which keeps a high `guidance` from oversaturating.
        eta: how much noise a sampler draws on its way that leaves the choice, 0 for none; None is its own default.
        like: the program whose choices it shall follow in what these settings leave open, a name in
            `inkpunk.road.programs.PROGRAMS`.
        clip_skip: at which of the text encoder's layers to stop, counted from its end as `like` counts: by most, 1 is
            the last and 2 leaves out one; by diffusers, 0 is the last and 1 leaves out one. None is the last.
        emphasis: how weights in a prompt act, a name in `inkpunk_clip.EMPHASES`; None is as `like` does it.
        plain_prompt: take every character of the prompts as text.
        wildcards: the lists that `__name__` in a prompt is chosen from, by their names; None for none, and then it is
            text. `inkpunk.road.wildcards.read_lists` reads them from a folder.
        controls: pictures that the drawing follows, by control networks; a text is one as `Control.read` reads it.
            Without `init`, and without width and height, the picture has the first one's shape.
        image_prompts: pictures that say what to draw, beside the words, by the model's IP-Adapter; a text is one as
            `ImagePrompt.read` reads it.
        guess: guess mode, in which hints lead: they act on the predictions under the prompt alone, the coarse more
            than the fine. The prompt may be empty.
        resize: how `init` and the pictures of `controls` are brought to a size of another shape: "fill" it and cut
            off what juts out, "fit" whole within width and height, of which the drawing then has what their shape
            takes, "stretch", or "pad": fill what a whole one leaves from its edges. AUTOMATIC1111's names are known.
        match_colours: give the drawn picture the colours of `init`: see `inkpunk.pictures.colours.match_colours`.
        keep_alpha: give it the transparency of `init`.
        mask: how much of each of `init`'s pixels is drawn anew, from black (nothing) to white (all); grey is for that
            part of the steps. A picture, or the path of one, of any size: see `inkpunk.pictures.masks.read_mask`;
            "alpha" is where `init` is transparent. The result has the size of `init`, and what is black is in it as
            it was. `width` and `height` bring `init` to a size before.
        masked_content: what the masked part begins as, a name in `inkpunk.pictures.canvas.CONTENTS`.
        only_masked: show the model but what is masked and so many pixels around, in the size that it draws best, or
            in `width` and `height`.
        regions: prompts for parts of the picture, each with a mask; a text is one as `Region.read` reads it.
        extend: by how many pixels `init` is continued on each side; a text is one as `Extend.read` reads it.
        draft: decode with the model's tiny autoencoder in place of its VAE: a little softer, and much sooner.
        tileable: "x" for a texture whose left edge continues its right one, "y" for one whose top continues its
            bottom, "xy" for both; None for a picture.
        blend: another prompt and how much of it, 0 to 1, as ("a fox", 0.3) or "a fox:0.3": what steers goes so much
            of the way from the prompt to it. It has no LoRA of its own, and neither of the two composes by `AND`.
        vary: another seed and how much of its noise, 0 to 1, as (8, 0.2) or "8:0.2": each picture's initial noise
            goes so much of the way to that seed's, on the sphere. At 1 it is that seed's.
        seed_resize: a width and height in pixels, multiples of 8, as (512, 512) or "512x512": initial noise is drawn
            at this size and laid into the middle of the picture's, which so resembles the seed's of this size.
        enlarge: a second pass draws the picture larger, from what the first one drew; a factor or a text is one as
            `Enlarge` reads it. Width and height are the first pass's, by default the model's size in the shape asked
            for. With `init` there is no first pass: that picture is enlarged, as it is, and `strength` has no effect.
        tile_size: side in pixels, a multiple of 8 from 64, of overlapping tiles that pictures larger than them are
            drawn, encoded and decoded in: see `inkpunk.road.tiles`. None is whole.

    Raises:
        RequestError: for any value outside these ranges, or of another kind.
    """

    __no_type_check__ = (
        True  # by tests' checker of types: what is given is checked here, and said in our words
    )

    prompt: str
    negative_prompt: str = ""
    seeds: tuple[int, ...] = field(default_factory=_fresh_seed)
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    spacing: str | None = None
    width: int | None = None
    height: int | None = None
    init: Image.Image | str | Path | None = None
    strength: float = 0.75
    guidance_rescale: float = 0.0
    guidance_interval: tuple[float, float] | None = None
    apg: bool = False
    eta: float | None = None
    like: str = "inkpunk"
    clip_skip: int | None = None
    emphasis: str | None = None
    plain_prompt: bool = False
    wildcards: Mapping[str, Sequence[str]] | None = None
    controls: Sequence[Control | str] = ()
    image_prompts: Sequence[ImagePrompt | Image.Image | str | Path] = ()
    guess: bool = False
    resize: str = "fill"
    match_colours: bool = False
    keep_alpha: bool = False
    mask: Image.Image | str | Path | None = None
    masked_content: str = "original"
    only_masked: int | None = None
    extend: Extend | str | None = None
    regions: Sequence[Region | str] = ()
    draft: bool = False
    tileable: str | None = None
    blend: tuple[str, float] | str | None = None
    vary: tuple[int, float] | str | None = None
    seed_resize: tuple[int, int] | str | None = None
    enlarge: Enlarge | float | str | tuple[int, int] | None = None
    tile_size: int | None = None

    def __post_init__(self) -> None:
        """Check every value that can be judged without a model, and keep it as Python's own."""
        self._take_plainly()
        self._check_sampler()
        self._check_clip_skip()
        self._check_language()
        if not self.seeds:
            raise RequestError("seeds: none given, so there is no picture to draw; give one seed a picture")
        for seed in self.seeds:
            if not 0 <= seed < 2**63:
                raise RequestError(f"seed {seed}: must lie between 0 and 2**63 - 1")
            self.asked_of(seed)
            self.regions_of(seed)
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise RequestError(f"steps {self.steps}: must lie between 1 and 1000; 16 to 50 is usual")
        if self.guidance is not None and not 0 <= self.guidance <= 100:
            raise RequestError(f"guidance {self.guidance:g}: must lie between 0 and 100; 7.5 is usual")
        if not 0 < self.strength <= 1:
            raise RequestError(f"strength {self.strength:g}: must be above 0 and at most 1; 0.75 is usual")
        self._check_guidance()
        try:
            object.__setattr__(self, "resize", find_resize(self.resize))
        except ValueError as error:
            raise RequestError(str(error)) from error
        self._check_canvas()
        self._check_together()
        for name, value in (("width", self.width), ("height", self.height)):
            if value is not None:
                _check_side(name, value)
        self._check_variation()
        self._check_blend()
        if self.tileable is not None and self.tileable not in AXES:
            raise RequestError(f"tileable {self.tileable!r}: must be one of {', '.join(AXES)}, or left out")
        if self.tile_size is not None and (self.tile_size < LEAST_TILE or self.tile_size % SIZE_MULTIPLE):
            raise RequestError(
                f"tile size {self.tile_size}: must be a multiple of {SIZE_MULTIPLE}, at least {LEAST_TILE}; the "
                "model's own size is usual"
            )

    def _take_plainly(self) -> None:
        for name, read in GIVEN.items():
            value: object = getattr(self, name)
            if value is None and name in MAY_BE_NONE:
                continue
            try:
                object.__setattr__(
                    self, name, read(name.replace("_", " "), value)
                )  # it is frozen for all others
            except given.GivenError as error:
                raise RequestError(str(error)) from error
        object.__setattr__(self, "init", _picture("init", self.init, alpha=True))
        object.__setattr__(self, "mask", _mask(self.mask, self.alpha))
        object.__setattr__(self, "extend", _extend(self.extend))
        object.__setattr__(self, "regions", tuple(map(_region, self.regions)))
        object.__setattr__(self, "controls", tuple(map(_control, self.controls)))
        object.__setattr__(self, "image_prompts", tuple(map(_image_prompt, _several(self.image_prompts))))
        object.__setattr__(self, "enlarge", _enlarge(self.enlarge, self.picture is not None))

    @cached_property
    def picture(self) -> Image.Image | None:
        """`init` as it is drawn from, in RGB: what is transparent is laid over white."""
        return over_paper(self.init) if isinstance(self.init, Image.Image) else None

    @property
    def alpha(self) -> Image.Image | None:
        """How opaque `init` is, in 8 bits of grey, 255 for wholly; None where all of it is, or there is none."""
        kept = self.init if isinstance(self.init, Image.Image) else None
        return kept.getchannel("A") if kept and kept.mode == "RGBA" else None

    @property
    def followed(self) -> tuple[Control, ...]:
        """`controls` as they are kept, each with its picture read."""
        return tuple(each for each in self.controls if isinstance(each, Control))

    @property
    def shown(self) -> tuple[ImagePrompt, ...]:
        """Those of `image_prompts` that count, each with its picture read."""
        return tuple(each for each in self.image_prompts if isinstance(each, ImagePrompt) and each.weight)

    @property
    def enlarging(self) -> Enlarge | None:
        """`enlarge` as it is kept."""
        return self.enlarge if isinstance(self.enlarge, Enlarge) else None

    @property
    def shaping(self) -> Image.Image | None:
        """The picture whose shape the drawing has, where its size is left open."""
        return self.picture or next((kept for each in self.followed if (kept := each.kept) is not None), None)

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

    def _check_variation(self) -> None:
        if self.varied is not None:
            seed, amount = self.varied
            if not 0 <= seed < 2**63:
                raise RequestError(f"vary {seed}: a seed must lie between 0 and 2**63 - 1")
            if not 0 <= amount <= 1:
                raise RequestError(
                    f"vary {seed}:{amount:g}: how much of the other seed must lie between 0 and 1; 0.2 is usual"
                )
        for name, side in zip(("width", "height"), self.resized or (), strict=False):
            _check_side(f"seed resize, {name}", side)

    def _check_blend(self) -> None:
        if self.blended is None:
            return
        _, amount = self.blended
        if not 0 <= amount <= 1:
            raise RequestError(f"blend {amount:g}: how much of the other prompt must lie between 0 and 1")
        for seed in self.seeds:
            other = self.blended_with(seed)
            if self.language.grammar != "plain" and has_tags(other):
                raise RequestError(
                    "blend: asks for a LoRA, which acts on the whole picture; name it in the prompt"
                )
            for text in (self.asked_of(seed)[0][0], other):
                if [part.weight for part in parse(text, self.language.grammar).parts] != [1.0]:
                    raise RequestError(
                        f"blend with AND, in {text[:40]!r}: its parts have predictions of their own; leave one out"
                    )

    @property
    def blended(self) -> tuple[str, float] | None:
        """`blend` as it is kept."""
        return self.blend if isinstance(self.blend, tuple) else None

    def blended_with(self, seed: int) -> str:
        """The prompt that a seed's picture is blended with, in which nothing is left to choose; "" without.

        Raises:
            RequestError: for variants that cannot be chosen from.
        """
        return "" if self.blended is None else self._choice(self.blended[0], Random(seed))

    @property
    def varied(self) -> tuple[int, float] | None:
        """`vary` as it is kept."""
        return self.vary if isinstance(self.vary, tuple) else None

    @property
    def resized(self) -> tuple[int, int] | None:
        """`seed_resize` as it is kept."""
        return self.seed_resize if isinstance(self.seed_resize, tuple) else None

    @property
    def changing(self) -> Image.Image | None:
        """`mask` as it is kept."""
        return self.mask if isinstance(self.mask, Image.Image) else None

    @property
    def extending(self) -> Extend:
        """`extend` as it is kept."""
        return self.extend if isinstance(self.extend, Extend) else Extend()

    @property
    def is_edit(self) -> bool:
        """Whether a part of `init` is drawn anew, or it is continued."""
        return self.mask is not None or bool(self.extending)

    def _check_canvas(self) -> None:
        if self.masked_content not in CONTENTS:
            raise RequestError(
                f"masked content {self.masked_content!r}: there is none; use {', '.join(CONTENTS)}"
            )
        if self.is_edit and self.init is None:
            raise RequestError("a mask, or extend, without a picture: give init, the picture to change")
        if self.only_masked is not None and not self.is_edit:
            raise RequestError("only masked: changes nothing without a mask; give one, or leave it out")
        if self.only_masked is not None and not 0 <= self.only_masked <= MOST_PADDING:
            raise RequestError(
                f"only masked {self.only_masked}: must be 0 to {MOST_PADDING} pixels around it; 32 is usual"
            )
        if self.masked_content != "original" and not self.is_edit:
            raise RequestError(
                f"masked content {self.masked_content!r}: changes nothing without a mask; give one, or leave it out"
            )

    def _check_together(self) -> None:
        if self.enlarge is not None and self.is_edit:
            raise RequestError(
                "enlarge with a mask, or extend: do one after the other; enlarge what comes of it"
            )
        if self.tileable is not None and self.is_edit:
            raise RequestError(
                "tileable with a mask, or extend: what is held has edges; leave one of them out"
            )
        if self.blend is not None and self.placed:
            raise RequestError("blend with regions: each has a prediction of its own; leave one of them out")
        if self.tileable is not None and self.tile_size is not None:
            raise RequestError(
                "tileable with a tile size: tiles end at the edges that shall meet; leave one out"
            )

    @property
    def program(self) -> Program:
        """The one that it shall be like."""
        return PROGRAMS[self.like]

    @property
    def language(self) -> Language:
        """How its prompts are read."""
        language = self.program.language
        if self.plain_prompt:
            language = replace(language, grammar="plain")
        return replace(language, emphasis=self.emphasis) if self.emphasis else language

    def chosen(self, seed: int) -> tuple[str, str]:
        """The prompt and the negative prompt of a seed's picture, in which nothing is left to choose.

        Raises:
            RequestError: for variants that cannot be chosen from.
        """
        random = Random(seed)
        return self._choice(self.prompt, random), self._choice(self.negative_prompt, random)

    def _choice(self, text: str, random: Random) -> str:
        if self.language.grammar == "plain":
            return text
        try:
            return choose(text, random, self.wildcards)
        except VariantError as error:
            raise RequestError(str(error)) from error

    def asked_of(self, seed: int) -> tuple[tuple[str, str], tuple[Lora, ...]]:
        """The prompts of a seed's picture as they are read, and the LoRAs that its prompt asks for.

        Raises:
            RequestError: for variants that cannot be chosen from, and LoRAs that are not asked for rightly.
        """
        prompt, negative = self.chosen(seed)
        if self.language.grammar == "plain":
            return (prompt, negative), ()
        if has_tags(negative):
            raise RequestError(
                "negative prompt: asks for a LoRA, which acts on the whole picture; name it in the prompt, with a "
                "weight below 0 to go away from it"
            )
        try:
            text, loras = split_tags(prompt)
        except TagError as error:
            raise RequestError(f"prompt: {error}") from error
        return (text, negative), loras

    def regions_of(self, seed: int) -> tuple[str, ...]:
        """The prompts of the regions of a seed's picture, in which nothing is left to choose.

        Raises:
            RequestError: for variants that cannot be chosen from, and adapters, which act on the whole picture.
        """
        if self.language.grammar == "plain":
            return tuple(each.prompt for each in self.placed)
        try:
            chosen = tuple(choose(each.prompt, Random(seed), self.wildcards) for each in self.placed)
        except VariantError as error:
            raise RequestError(f"region: {error}") from error
        if any(map(has_tags, chosen)):
            raise RequestError(
                "region: asks for a LoRA, which acts on the whole picture; name it in the prompt"
            )
        return chosen

    @property
    def placed(self) -> tuple[Region, ...]:
        """`regions` as they are kept, each with its mask read."""
        return tuple(each for each in self.regions if isinstance(each, Region))

    @property
    def skipped_layers(self) -> int:
        """How many of the text encoder's last layers are left out."""
        return 0 if self.clip_skip is None else self.clip_skip - self.program.last_layer

    def named_sampler(self, usual: str | None = None) -> tuple[str, str | None]:
        """Our names of sampler and spacing, None for a spacing that is left open.

        Args:
            usual: the sampler where none is asked for; None for the program's.

        Raises:
            RequestError: for a name that nobody has, or a sampler's name that tells another spacing.
        """
        try:
            sampler, told = find_sampler(self.sampler or usual or self.program.sampling.sampler)
            asked = find_spacing(self.spacing) if self.spacing else None
        except ValueError as error:
            raise RequestError(str(error)) from error
        if asked and told and asked != told:
            raise RequestError(f"sampler {self.sampler!r} with spacing {self.spacing!r}: give one of the two")
        return sampler, asked or told

    def _check_sampler(self) -> None:
        if self.like not in PROGRAMS:
            raise RequestError(f"like {self.like!r}: there is no such program; use {', '.join(PROGRAMS)}")
        sampler, _ = self.named_sampler()
        method = SAMPLERS[sampler]
        if self.eta is not None and method.eta is None:
            raise RequestError(
                f"eta {self.eta:g}: sampler {sampler!r} leaves no choice of noise; leave it out"
            )
        if self.eta is not None and not 0 <= self.eta <= 1:
            raise RequestError(f"eta {self.eta:g}: must lie between 0, which is no noise, and 1")

    def _check_language(self) -> None:
        if self.emphasis is not None and self.emphasis not in EMPHASES:
            raise RequestError(f"emphasis {self.emphasis!r}: there is none; use {', '.join(EMPHASES)}")
        texts = {
            "prompt": self.prompt,
            "negative prompt": self.negative_prompt,
            "blend": (self.blended or [""])[0],
        }
        for name, text in texts.items():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise RequestError(
                    f"{name}: character {error.start} is half a surrogate pair, which is no text; give UTF-8"
                ) from error
        if self.plain_prompt and self.wildcards is not None:
            raise RequestError("wildcards with a plain prompt, in which all is text: leave one of them out")

    def _check_clip_skip(self) -> None:
        if self.skipped_layers < 0:
            least = self.program.last_layer
            raise RequestError(
                f"clip skip {self.clip_skip}: must be at least {least}, which is the last layer"
            )


def _control(asked: object) -> Control:
    try:
        control = Control.read(asked) if isinstance(asked, str) else asked
    except ControlError as error:
        raise RequestError(str(error)) from error
    if not isinstance(control, Control):
        raise RequestError(
            "controls: must be of inkpunk.Control, or texts such as 'canny:photo.png:0.9', not "
            f"{type(asked).__name__}"
        )
    if control.picture is None:  # pyright: ignore[reportUnnecessaryComparison]  # what Python's callers may do
        raise RequestError(f"{control}: has no picture; give one of Pillow's, or the path of one")
    if isinstance(control.picture, str | Path) and Path(control.picture).suffix in CONTROL_FILES:
        raise RequestError(
            f"{control} {control.picture}: a file of weights, and no picture; the network of a kind is given as "
            f"--control-net {control.kind}={control.picture}, an adapter as --lora"
        )
    return replace(control, picture=_picture(str(control), control.picture))


def _enlarge(asked: object, there: bool) -> Enlarge | None:
    if asked is None:
        return None
    try:
        enlarge = asked if isinstance(asked, Enlarge) else Enlarge(cast("Any", asked))
    except EnlargeError as error:
        raise RequestError(str(error)) from error
    if there and enlarge.by == "latents":
        raise RequestError("enlarge by latents: an init picture is there in pixels; leave it out")
    return enlarge


def _several(given: object) -> Sequence[object]:
    if not isinstance(given, list | tuple):
        raise RequestError(
            f"image prompts: must be a list of pictures, or of texts such as 'style.png:0.6', not "
            f"{type(given).__name__}"
        )
    return cast("Sequence[object]", given)


def _image_prompt(asked: object) -> ImagePrompt:
    try:
        prompt = ImagePrompt.read(asked) if isinstance(asked, str) else asked
    except ImagePromptError as error:
        raise RequestError(str(error)) from error
    told, weight = (prompt.picture, prompt.weight) if isinstance(prompt, ImagePrompt) else (prompt, 1.0)
    picture = _picture("image prompt", told)
    if picture is None:
        raise RequestError("image prompt: has no picture; give one of Pillow's, or the path of one")
    return ImagePrompt(picture, weight)


def _picture(name: str, init: object, *, alpha: bool = False) -> Image.Image | None:
    if init is None:
        return None
    try:
        if isinstance(init, Image.Image):
            return noted(with_alpha(init) if alpha else plain(init), init)
        if isinstance(init, str | Path):
            return noted(read_with_alpha(init) if alpha else read_picture(init), init)
    except PictureError as error:
        raise RequestError(f"{name}{':' if isinstance(init, Image.Image) else ''} {error}") from error
    raise RequestError(
        f"{name}: must be a picture of Pillow's or the path of one, not {type(init).__name__}; "
        "PIL.Image.fromarray makes a picture of an array"
    )


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


def _mask(asked: object, alpha: Image.Image | None) -> Image.Image | None:
    """A mask as it is kept: of 8 bits, in grey; or of how opaque a picture is."""
    if asked is None:
        return None
    if isinstance(asked, str) and asked == "alpha":
        if alpha is None:
            raise RequestError(
                "mask alpha: the picture has no transparent part, which would be drawn anew; erase some of it, or "
                "give a mask"
            )
        return noted(ImageOps.invert(alpha), asked)
    try:
        if isinstance(asked, Image.Image | str | Path):
            return noted(read_mask(asked), asked)
    except PictureError as error:
        raise RequestError(f"mask{':' if isinstance(asked, Image.Image) else ''} {error}") from error
    raise RequestError(
        f"mask: must be a picture of Pillow's, the path of one, or 'alpha', not {type(asked).__name__}; "
        "PIL.Image.fromarray makes a picture of an array"
    )


def _region(asked: object) -> Region:
    try:
        region = Region.read(asked) if isinstance(asked, str) else asked
    except RegionError as error:
        raise RequestError(str(error)) from error
    if not isinstance(region, Region):
        raise RequestError(
            f"regions: must be of inkpunk.Region, or texts such as 'red samurai@mask.png', not {type(asked).__name__}"
        )
    try:
        mask = noted(read_mask(region.mask), region.mask)
    except PictureError as error:
        raise RequestError(f"region {region.prompt!r}: {error}") from error
    if mask.getbbox() is None:
        raise RequestError(
            f"region {region.prompt!r}: its mask is black, so that it counts nowhere; paint some of it"
        )
    return Region(region.prompt, mask)


def _extend(asked: object) -> Extend | None:
    if asked is None or isinstance(asked, Extend):
        return asked or None
    if not isinstance(asked, str):
        raise RequestError(
            f"extend: must be of inkpunk.Extend, or a text such as 'left=128,bottom=64', not {type(asked).__name__}"
        )
    try:
        return Extend.read(asked) or None
    except CanvasError as error:
        raise RequestError(str(error)) from error


def _check_side(name: str, value: int) -> None:
    if value < SIZE_MULTIPLE or value % SIZE_MULTIPLE:
        below = max(value // SIZE_MULTIPLE, 1) * SIZE_MULTIPLE
        raise RequestError(
            f"{name} {value}: must be a positive multiple of {SIZE_MULTIPLE}; "
            f"the nearest are {below} and {below + SIZE_MULTIPLE}"
        )
