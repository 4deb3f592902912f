"""From AUTOMATIC1111's fields to what inkpunk is asked for, in AUTOMATIC1111's conventions."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from inkpunk.orders.order import Order
from inkpunk.road.programs import PROGRAMS
from inkpunk_sampling import SAMPLERS, find_sampler, find_spacing
from PIL import Image, ImageFilter, ImageOps

from inkpunk_studio.http.a1111 import options as choices
from inkpunk_studio.http.a1111.controls import scripts
from inkpunk_studio.http.a1111.fields import Drawing, ImageToImage, TextToImage
from inkpunk_studio.http.a1111.options import CHECKPOINT, Options
from inkpunk_studio.http.a1111.styles import styled, styles
from inkpunk_studio.http.incoming import Incoming, read_text
from inkpunk_studio.http.options import MOST_SEED, Asked, asked
from inkpunk_studio.http.refusing import Refusal, shortly
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk

LIKE = "a1111"
STRENGTH, BLUR, SCALE = 0.75, 4, 2.0  # where nothing is said
LEAST_STRENGTH = 0.001  # a step of 1,000: what 0 comes nearest to
MOST_BLUR = 64
SIDE_MULTIPLE = 8
RESIZES = ("stretch", "fill", "pad", "stretch")
"""By number: just resize, crop and resize, resize and fill, and of latents."""
FILLS = ("blurred", "original", "noise", "blank")
"""By number, what a masked part begins as."""
NOT_HERE: Mapping[str, tuple[tuple[object, ...], str]] = {
    "restore_faces": ((False,), "there is no such network here"),
    "script_name": (("", "None", "none"), "there is no such script here"),
    "refiner_checkpoint": (("", "None"), "one model draws a picture here from its first step to its last"),
    "infotext": (("",), "is not read; send its settings as fields"),
    "disable_extra_networks": ((False,), "adapters that a prompt names are taken"),
    "initial_noise_multiplier": ((1,), "is always 1 here"),
    "s_churn": ((0,), "is always 0 here"),
    "s_tmin": ((0,), "is always 0 here"),
    "s_noise": ((1,), "is always 1 here"),
    "s_min_uncond": ((0,), "is always 0 here"),
}
"""Fields for what is not there: the values by which they ask for nothing, and what to tell of others."""
SAME = ("", "use same sampler", "use same scheduler", "use same checkpoint", "automatic")


@dataclass(frozen=True)
class Asker:
    """Who reads requests: for which desk, with which options.

    Attributes:
        desk: where pictures are asked for.
        settings: what may be asked.
        options: the server's.
    """

    desk: Desk
    settings: Settings
    options: Options

    def text_to_image(self, fields: TextToImage) -> Asked:
        """What txt2img asks for. It blocks while it decodes pictures.

        Raises:
            Refusal, OrderError, IncomingError: for what cannot be asked for.
        """
        values, warnings = self._common(fields, None)
        _sides(fields, values, warnings)
        if fields.enable_hr:
            self._larger(fields, values, warnings)
        return self._orders(fields, values, warnings, {})

    def image_to_image(self, fields: ImageToImage) -> Asked:
        """What img2img asks for; of several pictures the first is begun from. It blocks while it decodes them.

        Raises:
            Refusal, OrderError, IncomingError: for what cannot be asked for.
        """
        images = fields.init_images or []
        if not images:
            raise Refusal(404, "init_images: there is none; send a picture in base64")
        values, warnings = self._common(fields, images[0])
        _sides(fields, values, warnings)
        if len(images) > 1:
            warnings.append(f"init_images: {len(images)} came, and the first was begun from")
        init = read_text("init_images", images[0], self.settings).within(self.settings.most_pixels)
        if init.image.mode == "RGBA":
            init = Incoming.of(_on_white(init.image))
        given = {"init": init}
        strength = STRENGTH if fields.denoising_strength is None else fields.denoising_strength
        values["strength"] = min(1.0, max(LEAST_STRENGTH, strength))
        values["resize"] = RESIZES[_one_of("resize_mode", fields.resize_mode or 0, RESIZES)]
        if fields.mask:
            given["mask"] = self._mask(fields, init.image.size)
            values |= _under_a_mask(fields)
        return self._orders(fields, values, warnings, given)

    def _common(self, fields: Drawing, init: str | None) -> tuple[dict[str, Any], list[str]]:
        told: Mapping[str, Any] = fields.override_settings or {}
        warnings = choices.unknown(told)
        prompt, negative, lines = styled(
            fields.prompt or "", fields.negative_prompt or "", fields.styles or (), styles(self.settings)
        )
        warnings += lines
        values: dict[str, Any] = {"like": LIKE, "prompt": prompt}
        if negative:
            values["negative"] = negative
        if name := told.get(CHECKPOINT):
            values["model"] = self.desk.models.named(str(name))
            if fields.override_settings_restore_afterwards is False:
                warnings += self.options.write({CHECKPOINT: name})
        chosen = self.options.over(told)
        read, lines = choices.values_of(chosen, PROGRAMS[LIKE].last_layer)
        if init is not None and chosen["img2img_color_correction"]:
            read["match-colours"] = True
        values |= read
        warnings += lines
        if fields.steps is not None:
            values["steps"] = fields.steps
        if fields.cfg_scale is not None:
            values["guidance"] = fields.cfg_scale
        if fields.tiling:
            values["tileable"] = "xy"
        _sampler(fields, values, warnings)
        width, height = fields.seed_resize_from_w or 0, fields.seed_resize_from_h or 0
        if width > 0 and height > 0:
            values["seed-resize"] = f"{width}x{height}"
        followed, lines = scripts(fields.alwayson_scripts, init, self.desk.models.networks)
        return values | followed, [*warnings, *lines, *_not_followed(fields)]

    def _larger(self, fields: TextToImage, values: dict[str, Any], warnings: list[str]) -> None:
        """A second, larger pass, which is called "hires fix" there."""
        width, height = (_multiple(side or 0) for side in (fields.hr_resize_x, fields.hr_resize_y))
        before: tuple[int, int] = (values.get("width", 0), values.get("height", 0))
        if (width or height) and all(before):
            width = width or _multiple(height * before[0] // before[1])
            height = height or _multiple(width * before[1] // before[0])
        scale = SCALE if fields.hr_scale is None else fields.hr_scale
        if not (width and height) and scale <= 1:
            warnings.append(f"hr_scale {scale:g}: makes nothing larger; the second pass was left out")
            return
        values["enlarge"] = f"{width}x{height}" if width and height else f"{scale:g}"
        strength = STRENGTH if fields.denoising_strength is None else fields.denoising_strength
        values["enlarge-strength"] = min(1.0, max(LEAST_STRENGTH, strength))
        if fields.hr_second_pass_steps:
            values["enlarge-steps"] = fields.hr_second_pass_steps
        name = fields.hr_upscaler or "Latent"
        values["enlarge-by"] = "latents" if name.startswith("Latent") else "pixels"
        if name in self.desk.asking.upscalers():
            values["upscaler"] = name
        elif name not in ("Latent", "Latent (bilinear)", "Lanczos"):
            instead = "bilinear latents" if name.startswith("Latent") else "Lanczos"
            warnings.append(f"hr_upscaler {name[:60]!r}: is not there; {instead} was taken")
        sampler = fields.hr_sampler_name or ""
        if sampler.lower() not in SAME:
            values["enlarge-sampler"] = _found(sampler)[0]
        told = {
            "hr_scheduler": fields.hr_scheduler,
            "hr_checkpoint_name": fields.hr_checkpoint_name,
            "hr_prompt": fields.hr_prompt,
            "hr_negative_prompt": fields.hr_negative_prompt,
        }
        same = {
            "hr_prompt": fields.prompt,
            "hr_negative_prompt": fields.negative_prompt,
            "hr_scheduler": fields.scheduler,
        }
        warnings += [
            f"{name}: the second pass has the first one's"
            for name, value in told.items()
            if value and value.lower() not in SAME and value != same.get(name)
        ]

    def _mask(self, fields: ImageToImage, size: tuple[int, int]) -> Incoming:
        """The mask as we read it: white is drawn anew, as large as the picture, its edges soft already."""
        came = read_text("mask", fields.mask or "", self.settings).image
        mask = (_on_black(came) if came.mode == "RGBA" else came).convert("L")
        if fields.inpainting_mask_invert:
            mask = ImageOps.invert(mask)
        blur = BLUR if fields.mask_blur is None else fields.mask_blur
        across = [blur if each is None else each for each in (fields.mask_blur_x, fields.mask_blur_y)]
        across = [min(MOST_BLUR, max(0, each)) for each in across]
        if mask.size != size:
            mask = mask.resize(size, Image.Resampling.LANCZOS)
        if any(across):
            mask = mask.filter(ImageFilter.GaussianBlur((across[0], across[1])))
        return Incoming.of(mask)

    def _orders(
        self, fields: Drawing, values: dict[str, Any], warnings: list[str], given: Mapping[str, Incoming]
    ) -> Asked:
        count = (fields.batch_size or 1) * (fields.n_iter or 1)
        values["seed"] = None if fields.seed is None or fields.seed < 0 else fields.seed
        read = asked(values, count, self.settings, given)
        if fields.subseed_strength:
            first = secrets.randbits(32) if fields.subseed is None or fields.subseed < 0 else fields.subseed
            own = read.orders[0].seed
            read = replace(
                read,
                orders=tuple(
                    Order.read(
                        {
                            **order.values,
                            "seed": own,
                            "vary": f"{(first + place) % MOST_SEED}:{fields.subseed_strength:g}",
                        }
                    )
                    for place, order in enumerate(read.orders)
                ),
            )
        return replace(read, warnings=(*warnings, *read.warnings))


def _sides(fields: Drawing, values: dict[str, Any], warnings: list[str]) -> None:
    """Put down width and height; where neither is said, the model draws as large as it prefers."""
    for name in ("width", "height"):
        if told := getattr(fields, name):
            values[name] = _multiple(told)
            if values[name] != told:
                warnings.append(f"{name} {told}: drawn as {values[name]}, a multiple of 8")


def _multiple(side: int) -> int:
    return max(SIDE_MULTIPLE, side // SIDE_MULTIPLE * SIDE_MULTIPLE) if side > 0 else 0


def _sampler(fields: Drawing, values: dict[str, Any], warnings: list[str]) -> None:
    if name := fields.sampler_name or fields.sampler_index:
        values["sampler"], spacing = _found(name)
        if spacing:
            values["spacing"] = spacing
        usual = SAMPLERS[values["sampler"]].eta
        if fields.eta is not None and usual is not None and fields.eta != usual:
            values["eta"] = fields.eta
    if (scheduler := fields.scheduler) and scheduler.lower() != "automatic":
        try:
            values["spacing"] = find_spacing(scheduler[:100])
        except ValueError:
            warnings.append(
                f"scheduler {scheduler[:60]!r}: there is none of this name; the usual one was taken"
            )


def _found(name: str) -> tuple[str, str | None]:
    """Our sampler of a name, and a spacing where the name tells one, as "DPM++ 2M Karras" does."""
    try:
        return find_sampler(name[:100])
    except ValueError as error:
        raise Refusal(404, f"Sampler not found: {name[:60]!r}; /sdapi/v1/samplers lists them") from error


def _under_a_mask(fields: ImageToImage) -> dict[str, Any]:
    values: dict[str, Any] = {
        "masked-content": FILLS[_one_of("inpainting_fill", fields.inpainting_fill or 0, FILLS)]
    }
    if fields.inpaint_full_res is None or fields.inpaint_full_res:
        values["only-masked"] = max(0, fields.inpaint_full_res_padding or 0)
    return values


def _one_of(name: str, number: int, names: tuple[str, ...]) -> int:
    if not 0 <= number < len(names):
        raise Refusal(422, f"{name} {number}: must be 0 to {len(names) - 1}")
    return number


def _not_followed(fields: Drawing) -> list[str]:
    """A line for each field that asks for what is not there."""
    told = fields.model_extra or {}
    return [
        f"{name} {shortly(told[name])}: {why}"
        for name, (usual, why) in NOT_HERE.items()
        if told.get(name) is not None and told[name] not in usual
    ]


def _on_white(image: Image.Image) -> Image.Image:
    under = Image.new("RGB", image.size, "white")
    under.paste(image, mask=image.getchannel("A"))
    return under


def _on_black(image: Image.Image) -> Image.Image:
    under = Image.new("RGB", image.size, "black")
    under.paste(image, mask=image.getchannel("A"))
    return under
