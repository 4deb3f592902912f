"""What requests hold. Fields that are not named here are passed over: clients send some forty-five."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=1, le=10_000)]
Side = Annotated[int, Field(ge=0, le=1_000_000)]
Whole = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
Objects = dict[str, Any]


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)


class Drawing(Body):
    """What txt2img and img2img have in common; None is what the server's own usual value stands for."""

    model_config = ConfigDict(extra="allow")

    prompt: str | None = None
    negative_prompt: str | None = None
    styles: list[str] | None = None
    seed: Seed | None = None
    subseed: Seed | None = None
    subseed_strength: Number | None = None
    seed_resize_from_w: Whole | None = None
    seed_resize_from_h: Whole | None = None
    sampler_name: str | None = None
    sampler_index: str | None = None
    scheduler: str | None = None
    batch_size: Count | None = None
    n_iter: Count | None = None
    steps: Whole | None = None
    cfg_scale: Number | None = None
    width: Side | None = None
    height: Side | None = None
    tiling: bool | None = None
    eta: Number | None = None
    denoising_strength: Number | None = None
    override_settings: Objects | None = None
    override_settings_restore_afterwards: bool | None = None
    alwayson_scripts: Objects | None = None
    send_images: bool | None = None
    force_task_id: str | None = None


class TextToImage(Drawing):
    """A picture from a prompt, and maybe a second, larger pass."""

    enable_hr: bool | None = None
    hr_scale: Number | None = None
    hr_upscaler: str | None = None
    hr_second_pass_steps: Whole | None = None
    hr_resize_x: Side | None = None
    hr_resize_y: Side | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_checkpoint_name: str | None = None
    hr_prompt: str | None = None
    hr_negative_prompt: str | None = None


class ImageToImage(Drawing):
    """A picture from a picture, or a part of it drawn anew: what is white in its mask."""

    init_images: list[str] | None = None
    resize_mode: Whole | None = None
    mask: str | None = None
    mask_blur: Whole | None = None
    mask_blur_x: Whole | None = None
    mask_blur_y: Whole | None = None
    inpainting_fill: Whole | None = None
    inpaint_full_res: bool | None = None
    inpaint_full_res_padding: Whole | None = None
    inpainting_mask_invert: Whole | None = None


class PictureIn(Body):
    """A picture to look at."""

    image: str = ""


class Extra(Body):
    """How pictures are made larger without being drawn."""

    resize_mode: Whole | None = None
    upscaling_resize: Annotated[float, Field(gt=0, le=16, allow_inf_nan=False)] | None = None
    upscaling_resize_w: Side | None = None
    upscaling_resize_h: Side | None = None
    upscaling_crop: bool | None = None
    upscaler_1: str | None = None
    upscaler_2: str | None = None
    gfpgan_visibility: Number | None = None
    codeformer_visibility: Number | None = None


class ExtraSingle(Extra):
    """One picture."""

    image: str = ""


class FileData(Body):
    """A picture of several."""

    data: str
    name: str = ""


class ExtraBatch(Extra):
    """Several."""

    imageList: list[FileData] = Field(default_factory=list[FileData])  # its name there


class ImagesOut(BaseModel):
    """What was drawn.

    Attributes:
        images: in base64, without a `data:` head.
        parameters: empty, as what was asked need not travel back.
        info: JSON, as text.
        warnings: what was asked for and not followed, a line each; ours.
        job: its id in our own addresses.
    """

    images: list[str]
    parameters: Objects = Field(default_factory=dict[str, Any])
    info: str
    warnings: list[str] = Field(default_factory=list[str])
    job: str = ""
