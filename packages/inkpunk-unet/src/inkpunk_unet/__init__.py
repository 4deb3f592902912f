"""The denoising UNet of Stable Diffusion v1: noisy latents, a timestep and a context to a noise prediction.

>>> import torch
>>> from inkpunk_unet import UNet, UNetConfig
>>> unet = UNet(UNetConfig(widths=(32, 64), attention=(True, True), context_width=16)).eval()
>>> with torch.no_grad():
...     noise = unet(torch.randn(2, 4, 16, 16), torch.tensor(999), torch.randn(2, 77, 16))
>>> noise.shape
torch.Size([2, 4, 16, 16])
"""

from inkpunk_unet.config import UNetConfig
from inkpunk_unet.control import ControlNet, ControlNetConfig, guess_weights
from inkpunk_unet.embedding import timestep_embedding
from inkpunk_unet.encoder import UNetEncoder
from inkpunk_unet.image_attention import (
    ImageAttention,
    Shown,
    cross_attentions,
    image_attentions,
    image_prompts,
)
from inkpunk_unet.image_prompt import ImagePrompt, ImagePromptConfig, ResamplerConfig
from inkpunk_unet.residuals import Residuals
from inkpunk_unet.t2i_adapter import T2IAdapter, T2IAdapterConfig
from inkpunk_unet.unet import UNet

__all__ = [
    "ControlNet",
    "ControlNetConfig",
    "ImageAttention",
    "ImagePrompt",
    "ImagePromptConfig",
    "ResamplerConfig",
    "Residuals",
    "Shown",
    "T2IAdapter",
    "T2IAdapterConfig",
    "UNet",
    "UNetConfig",
    "UNetEncoder",
    "cross_attentions",
    "guess_weights",
    "image_attentions",
    "image_prompts",
    "timestep_embedding",
]
