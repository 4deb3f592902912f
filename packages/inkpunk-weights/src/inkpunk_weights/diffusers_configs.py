"""The JSON files that diffusers and transformers read beside the weights."""

from collections.abc import Mapping, Sequence
from typing import cast

from inkpunk_weights.anatomy import Anatomy, TextEncoderAnatomy, UNetAnatomy

Config = Mapping[str, object]

SCHEDULER: Config = {  # SD v1.5's
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "clip_sample": False,  # latents are not in [-1, 1], as the pixels are that other schedulers clip to
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
PIPELINES = {
    8: "StableDiffusionInstructPix2PixPipeline",
    9: "StableDiffusionInpaintPipeline",
}  # by UNet channels


def component_config(anatomy: Anatomy) -> Config:
    """A component's config.json: what its shapes say, and where they cannot (heads, groups) SD v1.5's."""
    if isinstance(anatomy, TextEncoderAnatomy):
        return _text_encoder(anatomy)
    if isinstance(anatomy, UNetAnatomy):
        return _unet(anatomy)
    levels = len(anatomy.widths)
    return {
        "_class_name": "AutoencoderKL",
        "act_fn": "silu",
        "block_out_channels": anatomy.widths,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "in_channels": anatomy.image_channels,
        "latent_channels": anatomy.latent_channels,
        "layers_per_block": anatomy.layers,
        "norm_num_groups": 32,
        "out_channels": anatomy.image_channels,
        "sample_size": 512,
        "scaling_factor": 0.18215,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
    }


def _text_encoder(anatomy: TextEncoderAnatomy) -> Config:
    return {
        "architectures": ["CLIPTextModel"],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_act": "quick_gelu",
        "hidden_size": anatomy.width,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": anatomy.feed_forward,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": anatomy.positions,
        "model_type": "clip_text_model",
        "num_attention_heads": 12,
        "num_hidden_layers": anatomy.layers,
        "pad_token_id": 1,
        "projection_dim": anatomy.width,
        "vocab_size": anatomy.vocabulary,
    }


def _unet(anatomy: UNetAnatomy) -> Config:
    down = ["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in anatomy.attention]
    up = ["CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(anatomy.attention)]
    return {
        "_class_name": "UNet2DConditionModel",
        "act_fn": "silu",
        "attention_head_dim": 8,  # diffusers means the number of heads
        "block_out_channels": anatomy.widths,
        "center_input_sample": False,
        "cross_attention_dim": anatomy.context_width,
        "down_block_types": down,
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": anatomy.in_channels,
        "layers_per_block": anatomy.layers,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": 32,
        "out_channels": anatomy.out_channels,
        "sample_size": 64,
        "up_block_types": up,
    }


def undivided(anatomy: Anatomy, config: Config) -> dict[str, str]:
    """Keys of a component's config by which its widths do not divide, with what is wrong: nobody could load it."""
    found: dict[str, str] = {}
    for key, widths in _divided(anatomy).items():
        told = config[key]
        numbers: list[object] = [told] * len(widths)
        if key == "attention_head_dim" and isinstance(told, list | tuple):  # a number for each level
            numbers = list(cast("Sequence[object]", told))
        if len(numbers) != len(widths):
            found[key] = f"{key} has {len(numbers)} for {len(widths)} levels"
            continue
        for number, width in zip(numbers, widths, strict=True):
            if type(number) is not int or number < 1 or width % number:
                found.setdefault(key, f"width {width} does not divide by {key}, {number!r:.40}")
    return found


def _divided(anatomy: Anatomy) -> dict[str, tuple[int, ...]]:
    """The widths of each level that divide by a key of the config; 0, which divides by all, where none needs to."""
    if isinstance(anatomy, TextEncoderAnatomy):
        return {"num_attention_heads": (anatomy.width,)}
    groups = {"norm_num_groups": anatomy.widths}
    if not isinstance(anatomy, UNetAnatomy):
        return groups
    attends = (*anatomy.attention[:-1], True)  # with the deepest width at least the middle does
    heads = tuple(width * attend for width, attend in zip(anatomy.widths, attends, strict=True))
    return {"attention_head_dim": heads, **groups}


def model_index(anatomies: Mapping[str, Anatomy], scheduler: Config, tokenizer: bool) -> Config:
    """The model_index.json of a folder: which class of which library loads each subfolder."""
    unet = anatomies.get("unet")
    channels = unet.in_channels if isinstance(unet, UNetAnatomy) else 4
    nothing = [None, None]
    return {
        "_class_name": PIPELINES.get(channels, "StableDiffusionPipeline"),
        "_diffusers_version": "0.6.0",  # which laid folders out so; its pipeline for inpainting opens none without
        "feature_extractor": nothing,
        "image_encoder": nothing,
        "requires_safety_checker": False,
        "safety_checker": nothing,
        "scheduler": ["diffusers", scheduler["_class_name"]],
        "text_encoder": ["transformers", "CLIPTextModel"] if "text_encoder" in anatomies else nothing,
        "tokenizer": ["transformers", "CLIPTokenizer"] if tokenizer else nothing,
        "unet": ["diffusers", "UNet2DConditionModel"] if "unet" in anatomies else nothing,
        "vae": ["diffusers", "AutoencoderKL"] if "vae" in anatomies else nothing,
    }
