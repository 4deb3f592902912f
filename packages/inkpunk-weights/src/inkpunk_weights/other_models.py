"""Recognises files that are something else than Stable Diffusion v1, to say so in one line."""

import re
from collections.abc import Mapping

from inkpunk_weights.lazy import LazyTensors, Spec

EMBEDDING = "a textual-inversion embedding, which `open_embedding` reads"
LATENT_CONSISTENCY = (
    "a latent consistency model (LCM) with guidance embedded in its UNet, which Inkpunk does not draw with"
)
TINY_AUTOENCODER = "TAESD, a tiny autoencoder for previews, which `open_tiny_vae` reads"
ADAPTER = "a LoRA or its like, which `open_adapter` reads"
CONTROL = "a ControlNet or T2I-Adapter, which `open_control` reads"
IMAGE_PROMPT = "an image prompt (IP-Adapter), which `open_image_prompt` reads"
IMAGE_ENCODER = "CLIP's image encoder, which `open_image_encoder` reads"
READ: Mapping[str, str] = {
    ADAPTER: "adapter",
    EMBEDDING: "embedding",
    CONTROL: "control network",
    IMAGE_PROMPT: "image prompt",
    IMAGE_ENCODER: "image encoder",
    TINY_AUTOENCODER: "tiny autoencoder",
}
"""Of these, what this package reads by another name."""
BY_NAME: Mapping[str, str] = {  # the first that is found in any tensor's name decides
    r"^image_proj\.|^ip_adapter\.": IMAGE_PROMPT,
    r"lora_(up|down|A|B|unet|te)|[._]lora\.|lokr_|hada_w|oft_(blocks|diag)": ADAPTER,
    r"^(control_model\.|control_net|controlnet[._]|input_hint_block\.)": CONTROL,
    r"^(adapter\.)?body\.\d+\.(in_conv|block1|resnets|body)\.": CONTROL,
    r"motion_modules\.": "an AnimateDiff motion module",
    r"^(string_to_param|emb_params|clip_[lg]$|<[^<>.]*>$)": EMBEDDING,
    r"(^|\.)joint_blocks\.": "Stable Diffusion 3",
    r"(^|\.)(double_blocks|single_blocks|single_transformer_blocks)\.": "a Flux model",
    r"^conditioner\.embedders\.|(^|\.)label_emb\.|^add_embedding\.": "Stable Diffusion XL",
    r"^cond_stage_model\.model\.": "Stable Diffusion 2",
    r"(^|\.)time_embed(ding)?\.cond_proj\.": LATENT_CONSISTENCY,
    r"(^|\.)(taesd_)?(en|de)coder\.(layers\.)?\d+\.conv\.\d+\.|^\d+\.conv\.\d+\.": TINY_AUTOENCODER,
}
SD2_CONTEXT_WIDTH = 1024
SD3_LATENT_CHANNELS = 16


def other_model(tensors: LazyTensors) -> str | None:
    """What the tensors are if they are known not to be Stable Diffusion v1; else None."""
    for pattern, what in BY_NAME.items():
        found = re.compile(pattern)
        if any(found.search(name) for name in tensors):
            return what
    return next((what for name in tensors if (what := _by_shape(name, tensors.spec(name)))), None)


def _by_shape(name: str, spec: Spec) -> str | None:
    if name.endswith("attentions.0.proj_in.weight") or re.search(
        r"input_blocks\.\d+\.1\.proj_in\.weight$", name
    ):
        return "Stable Diffusion 2 or XL" if len(spec.shape) == 2 else None  # v1 projects by 1x1 convolutions
    if name.endswith("attn2.to_k.weight") and spec.shape[-1:] == (SD2_CONTEXT_WIDTH,):
        return "Stable Diffusion 2"
    if name.endswith("decoder.conv_in.weight") and spec.shape[1:2] == (SD3_LATENT_CHANNELS,):
        return "the autoencoder of Stable Diffusion 3 or Flux"
    return None
