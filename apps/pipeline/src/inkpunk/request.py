"""What a caller asks for: one prompt, and everything that decides which pictures it becomes."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from random import Random

from inkpunk_clip import Language, VariantError, choose
from inkpunk_sampling import find_sampler, find_spacing
from PIL import Image

from inkpunk.models.loras import Lora
from inkpunk.orders.options import OPTIONS, settings_of
from inkpunk.pictures.canvas import Extend
from inkpunk.pictures.fitting import find_resize
from inkpunk.pictures.plain import over_paper
from inkpunk.pictures.png_text import read_single_facts
from inkpunk.road import limits
from inkpunk.road.control import Control
from inkpunk.road.enlarging import Enlarge
from inkpunk.road.errors import RequestError
from inkpunk.road.given import GIVEN, GivenError
from inkpunk.road.given_pictures import (
    kept_controls,
    kept_enlarge,
    kept_extend,
    kept_image_prompts,
    kept_mask,
    kept_picture,
    kept_regions,
)
from inkpunk.road.image_prompts import ImagePrompt
from inkpunk.road.lora_tags import TagError, has_tags, split_tags
from inkpunk.road.programs import PROGRAMS, Program
from inkpunk.road.recalling import values_of
from inkpunk.road.regions import Region
from inkpunk.road.settings import fields_of


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

    # by tests' checker of types: what is given is checked here, and said in our words
    __no_type_check__ = True

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

    @classmethod
    def from_picture(cls, path: str | Path) -> "Request":
        """What a picture that inkpunk saved was asked for, with nothing left open; whatever model drew it.

        `inkpunk.orders.replay.replay` finds the model, too, and draws it again.

        Raises:
            PictureError: for a file without such a recipe, and one of more pictures than one; for a picture that it
                takes and that was given as pixels.
            RequestError: for a picture that it takes and that cannot be read.
        """
        values = {
            name: OPTIONS[name](name, value) for name, value in values_of(read_single_facts(path)).items()
        }
        return cls(**fields_of(**settings_of(values)))

    def __post_init__(self) -> None:
        """Check every value that can be judged without a model, and keep it as Python's own."""
        self._take_plainly()
        self._take_pictures()
        limits.check_program(self.like)
        limits.check_eta(self.eta, self.named_sampler()[0])
        limits.check_clip_skip(self.clip_skip, self.program.last_layer)
        limits.check_language(
            self.emphasis,
            {
                "prompt": self.prompt,
                "negative prompt": self.negative_prompt,
                "blend": (self.blended or [""])[0],
                **{f"region {number}": each.prompt for number, each in enumerate(self.placed, start=1)},
            },
            plain=self.plain_prompt,
            listed=self.wildcards is not None,
        )
        limits.check_seeds(self.seeds)
        for seed in self.seeds:
            limits.check_seed(seed)
            self.asked_of(seed)
            self.regions_of(seed)
        limits.check_steps(self.steps)
        limits.check_guidance(self.guidance)
        limits.check_strength(self.strength)
        limits.check_rescale(self.guidance_rescale)
        limits.check_interval(self.guidance_interval)
        if self.guidance is not None:
            self.check_idle_guidance(self.guidance)
        try:
            self._keep("resize", find_resize(self.resize))
        except ValueError as error:
            raise RequestError(str(error)) from error
        limits.check_edit(
            self.masked_content, self.only_masked, edits=self.is_edit, starts=self.init is not None
        )
        limits.check_together(
            edits=self.is_edit,
            enlarges=self.enlarge is not None,
            tileable=self.tileable is not None,
            in_tiles=self.tile_size is not None,
            blends=self.blend is not None,
            regions=bool(self.placed),
        )
        limits.check_side("width", self.width)
        limits.check_side("height", self.height)
        limits.check_variation(self.varied, self.resized)
        if self.blended is not None:
            prompts = ((self.asked_of(seed)[0][0], self.blended_with(seed)) for seed in self.seeds)
            limits.check_blend(self.blended[1], prompts, self.language.grammar)
        limits.check_tiles(self.tileable, self.tile_size)

    def check_idle_guidance(self, guidance: float) -> None:
        """Refuse what changes guidance where a scale, the model's or one's own, switches it off.

        Raises:
            RequestError: if there is any such.
        """
        limits.check_idle_guidance(guidance, self.guidance_rescale, self.guidance_interval, self.apg)

    def _take_plainly(self) -> None:
        defaults = {each.name: each.default for each in fields(self)}
        for name, read in GIVEN.items():
            value: object = getattr(self, name)
            if value is None and defaults[name] is None:
                continue
            try:
                self._keep(name, read(name.replace("_", " "), value))
            except GivenError as error:
                raise RequestError(str(error)) from error

    def _take_pictures(self) -> None:
        self._keep("init", kept_picture("init", self.init, alpha=True))
        self._keep("mask", kept_mask(self.mask, self.alpha))
        self._keep("extend", kept_extend(self.extend, self.picture))
        self._keep("regions", kept_regions(self.regions))
        self._keep("controls", kept_controls(self.controls))
        self._keep("image_prompts", kept_image_prompts(self.image_prompts))
        self._keep("enlarge", kept_enlarge(self.enlarge, self.picture is not None))

    def _keep(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # it is frozen for all others

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
    def placed(self) -> tuple[Region, ...]:
        """`regions` as they are kept, each with its mask read."""
        return tuple(each for each in self.regions if isinstance(each, Region))

    @property
    def enlarging(self) -> Enlarge | None:
        """`enlarge` as it is kept."""
        return self.enlarge if isinstance(self.enlarge, Enlarge) else None

    @property
    def shaping(self) -> Image.Image | None:
        """The picture whose shape the drawing has, where its size is left open."""
        return self.picture or next((kept for each in self.followed if (kept := each.kept) is not None), None)

    @property
    def blended(self) -> tuple[str, float] | None:
        """`blend` as it is kept."""
        return self.blend if isinstance(self.blend, tuple) else None

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
            chosen = choose(text, random, self.wildcards)
        except VariantError as error:
            raise RequestError(str(error)) from error
        limits.check_unicode("wildcards", chosen)
        return chosen

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

    def blended_with(self, seed: int) -> str:
        """The prompt that a seed's picture is blended with, in which nothing is left to choose; "" without.

        Raises:
            RequestError: for variants that cannot be chosen from.
        """
        return "" if self.blended is None else self._choice(self.blended[0], Random(seed))

    def regions_of(self, seed: int) -> tuple[str, ...]:
        """The prompts of the regions of a seed's picture, in which nothing is left to choose.

        Raises:
            RequestError: for variants that cannot be chosen from, and adapters, which act on the whole picture.
        """
        try:
            chosen = tuple(self._choice(each.prompt, Random(seed)) for each in self.placed)
        except RequestError as error:
            raise RequestError(f"region: {error}") from error
        if self.language.grammar != "plain" and any(map(has_tags, chosen)):
            raise RequestError(
                "region: asks for a LoRA, which acts on the whole picture; name it in the prompt"
            )
        return chosen

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
