"""What a picture remembers of how it was drawn."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, cast

from inkpunk.pictures.json_values import MOST_VALUES, has_too_many_values

PAIR = tuple[float, float] | None  # a list in JSON; isinstance knows no such types
TEXTS = Mapping[str, str]


class PictureError(ValueError):
    """A picture that cannot be read, written or shown; the message says which, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All it takes to draw a picture again.

    Attributes:
        prompt, negative_prompt: any Unicode text.
        steps, sampler, spacing, guidance, seed: as in the request, with nothing left open; no spacing for a sampler
            with a path of its own.
        width, height: in pixels.
        model: the model's name, as the user gave it.
        model_hash: first ten hex digits of the model's SHA-256, as `inkpunk.models.hashing.model_hash` counts it;
            "" where its file was gone by then.
        strength: of image-to-image, in (0, 1]; None for a picture drawn from noise alone.
        note: what one should know about pictures of this model, such as "untrained random weights".
        version: of inkpunk.
        guidance_rescale, guidance_interval, apg, like: as in the request.
        eta, clip_skip: as in the plan.
        emphasis: how weights in the prompts act.
        plain_prompt: whether every character of them was taken as text.
        embeddings: the learned words in them, each with the first 12 hex digits of its file's SHA-256.
        loras: the adapters that were given beside the prompt, each with its weight: "0.8", or "0.8:0.5" where the
            text encoder's is another.
        lora_hashes: all adapters, each with the first 12 hex digits of its file's SHA-256.
        controls: what the drawing followed, by the kinds of the hints: each with its weight, the part of the steps if
            not all, and "ready" where it was given as a hint: "0.9:0-0.6 ready".
        control_hints: of each, the MD5 of the hint's RGB pixels.
        control_nets: of each, the network's name and, in brackets, the first 12 hex digits of its file's SHA-256.
        guess: whether hints acted on the predictions under the prompt alone, the coarse more than the fine.
        image_prompts: the pictures that were told beside the prompt, numbered from 1: each with its weight.
        image_prompt_hashes: of each, the MD5 of its RGB pixels.
        image_prompt_nets: the "adapter" and the image "encoder" that saw them: each name, and in brackets the first
            12 hex digits of its file's SHA-256.
        tiny_vae: of a draft, the tiny autoencoder that decoded it in the VAE's place: its name, and in brackets the
            first 12 hex digits of its file's SHA-256.
        tileable: the axes on which the picture tiles: "x", "y" or "xy".
        blend: the prompt that it was blended with, and how much of it: "a fox:0.3".
        vary: the seed whose noise was mixed in, and how much of it: "8:0.2".
        seed_resize: the size that the initial noise was drawn at: "512x512".
        prediction, zero_snr: what the model was drawn as: see `Pipeline.load`.
        noise_schedule: its noise schedule, where that is not Stable Diffusion's: "linear, beta 0.0001 to 0.02...".
        ema: whether the model's averaged weights drew it.
        init_hash: of image-to-image, the MD5 of the init picture's RGB pixels, as AUTOMATIC1111 hashes it.
        paths: of the pictures that were given, by what as ("init", "mask", "control canny", "image prompt 1", "region
            1"), the path as the user wrote it; of none that was given as pixels.
        resize: how the init picture and those of controls were brought to the size, as in the request.
        match_colours: whether the drawn picture was given the init picture's colours.
        alpha_hash: where it was given its transparency, the MD5 of that in 8 bits of grey.
        mask_hash: of the mask under which `init` was drawn anew, the same of its pixels.
        masked_content, only_masked, extend: as in the request, the last as it is read.
        regions: the prompts of parts of the picture, numbered from 1.
        region_masks: of each, the MD5 of its mask's RGB pixels.
        device, dtype: what kind of device computed, and in which precision.
        low_memory: whether weights of 32 bits were taken at 16.
        tiled: whether the VAE worked in strips.
        speed: the ways of making it fast that were left out, or added: "without share, winograd".
        deterministic: whether no bit of it depends on what was drawn beside it, and by how many threads.
        enlarged: how a second pass made it larger than `width` and `height`: "to", as it was asked for ("2",
            "1024x768"), "size", "by" ("latents", "pixels"), "strength", "steps", "sampler", "spacing"; and the
            "upscaler", its name and, in brackets, the first 12 hex digits of its file's SHA-256, which is told alone
            where the init picture was enlarged.
        tile_size: in pixels, of the overlapping tiles it was drawn in.
        asked: of a picture that is enlarged, or a part of another drawn anew, what was asked for and the facts above
            do not tell, by the names of options: "enlarge", "width"...
        weights: of the files of weights that were given by hub ids or by paths below the working folder, what was
            given, by what as ("model", "lora neon", "embedding word", "control canny", "adapter", "encoder",
            "tiny vae", "upscaler"). Paths from elsewhere are the user's own business: their names and hashes are
            told above.
        together: the seeds of all pictures of the batch that this one was drawn in, where sums round otherwise by
            that: "5 6 7"; "" for one that was drawn by itself.
        beside: what the prompts of that batch's other pictures were chosen to be, where they are not this one's: by
            seed and what as, "6 prompt", "6 negative", "6 blend", "6 region 1". How long they are changes how sums
            round.
        threads: that torch computed with, on a CPU.
        machine: what computed, as "torch 2.9.1, AVX512", where that may be another by and by.
        saved: what it was saved as, where that loses something, and its quality: "jpeg 80". It is no fact of the
            drawing, and makes no two of them unequal.
    """

    prompt: str
    negative_prompt: str
    steps: int
    sampler: str
    spacing: str | None
    guidance: float
    seed: int
    width: int
    height: int
    model: str
    model_hash: str
    strength: float | None = None
    note: str | None = None
    version: str
    guidance_rescale: float = 0.0
    guidance_interval: tuple[float, float] | None = None
    apg: bool = False
    eta: float | None = None
    like: str = "inkpunk"
    prediction: str = "epsilon"
    zero_snr: bool = False
    clip_skip: int = 1
    emphasis: str = "mean"
    plain_prompt: bool = False
    embeddings: Mapping[str, str] = field(default_factory=dict[str, str])
    loras: Mapping[str, str] = field(default_factory=dict[str, str])
    lora_hashes: Mapping[str, str] = field(default_factory=dict[str, str])
    controls: Mapping[str, str] = field(default_factory=dict[str, str])
    control_hints: Mapping[str, str] = field(default_factory=dict[str, str])
    control_nets: Mapping[str, str] = field(default_factory=dict[str, str])
    guess: bool = False
    image_prompts: Mapping[str, str] = field(default_factory=dict[str, str])
    image_prompt_hashes: Mapping[str, str] = field(default_factory=dict[str, str])
    image_prompt_nets: Mapping[str, str] = field(default_factory=dict[str, str])
    tiny_vae: str | None = None
    tileable: str | None = None
    blend: str | None = None
    vary: str | None = None
    seed_resize: str | None = None
    noise_schedule: str | None = None
    ema: bool = False
    init_hash: str | None = None
    paths: Mapping[str, str] = field(default_factory=dict[str, str])
    resize: str = "fill"
    match_colours: bool = False
    alpha_hash: str | None = None
    mask_hash: str | None = None
    masked_content: str | None = None
    only_masked: int | None = None
    extend: str | None = None
    regions: Mapping[str, str] = field(default_factory=dict[str, str])
    region_masks: Mapping[str, str] = field(default_factory=dict[str, str])
    device: str = "cpu"
    dtype: str = "float32"
    low_memory: bool = False
    tiled: bool = False
    speed: str = ""
    deterministic: bool = False
    enlarged: Mapping[str, str] = field(default_factory=dict[str, str])
    tile_size: int | None = None
    asked: Mapping[str, str] = field(default_factory=dict[str, str])
    weights: Mapping[str, str] = field(default_factory=dict[str, str])
    together: str = ""
    beside: Mapping[str, str] = field(default_factory=dict[str, str])
    threads: int | None = None
    machine: str = ""
    saved: str = field(default="", compare=False)

    @property
    def alone(self) -> "Facts":
        """The same but for what was drawn beside it, which moves it by rounding at most."""
        return replace(self, together="", beside={})

    def to_json(self) -> str:
        """All fields as one JSON object, in ASCII, so that it passes any program unchanged."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Facts":
        """Read `to_json`'s text, which may come from a stranger. Fields of later versions are passed over.

        Raises:
            PictureError: for anything but an object with every field, each of its type.
        """
        if has_too_many_values(text):
            raise PictureError(f"more than {MOST_VALUES:,} values, which no picture's facts have")
        try:
            told: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PictureError(f"not JSON: {error}") from error
        if not isinstance(told, dict):
            raise PictureError("not a JSON object")
        return cls.from_values(cast("dict[str, object]", told))

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> "Facts":
        """Check what JSON held, as `from_json` does.

        Raises:
            PictureError: as `from_json`.
        """
        known = dict[str, Any]()
        for each in fields(cls):
            if each.name in values:
                known[each.name] = _checked(each.name, values[each.name], each.type)
        needed = [each for each in fields(cls) if each.default is MISSING is each.default_factory]
        missing = [each.name for each in needed if each.name not in known]
        if missing:
            raise PictureError(f"{', '.join(missing)} missing")
        return cls(**known)


def _checked(name: str, value: object, kind: Any) -> object:
    if kind == PAIR:
        return None if value is None else _pair(name, value)
    if kind == TEXTS:
        texts = cast("dict[str, object]", value) if isinstance(value, dict) else {name: None}
        return {key: _checked(name, each, str) for key, each in texts.items()}
    if kind is bool and isinstance(value, bool):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and isinstance(0.0, kind):
        value = float(value) if abs(value) < 2**53 else math.nan  # JSON writers may drop the ".0"
    if not isinstance(value, kind) or isinstance(value, bool):
        raise PictureError(f"{name} is {str(value)[:40]!r}, of the wrong type")
    if isinstance(value, float) and not math.isfinite(value):
        raise PictureError(f"{name} is not a finite number")
    return value


def _pair(name: str, value: object) -> object:
    pair = cast("list[object]", value) if isinstance(value, list) else []
    if len(pair) != 2:
        raise PictureError(f"{name} is not two numbers")
    return tuple(_checked(name, each, float) for each in pair)
