"""Stable Diffusion v1 checkpoints: files to named tensors per component, and back.

checkpoint = open_checkpoint("model.safetensors")       # or a .ckpt, or a diffusers folder
print(checkpoint.report())                              # what it is, and everything wrong with it
unet.load_state_dict(checkpoint.unet, assign=True)      # mapped from the file, not copied
save_checkpoint("model", layout="diffusers folder", dtype=torch.float16,
                text_encoder=checkpoint.text_encoder, unet=checkpoint.unet, vae=checkpoint.vae)
open_embedding("neon.pt").vectors                       # a learned word: (vectors, width), float32
open_adapter("ink.safetensors").unet                    # a LoRA or its like: the change of each weight, by our names
open_control("control_canny.pth").tensors               # a ControlNet or T2I-Adapter, by our names
open_image_prompt("ip-adapter_sd15.safetensors").tensors  # by our names
open_image_encoder("image_encoder").tensors             # likewise of CLIP's, through which image prompts look
open_tiny_vae("taesd_decoder.pth").tensors              # likewise of TAESD
open_upscaler("4x-UltraSharp.pth").tensors              # a network that makes pictures larger, by the file's names
"""

from inkpunk_weights.adapters.changes import Change, merged
from inkpunk_weights.adapters.reading import ADAPTER_FILES, Adapter, open_adapter
from inkpunk_weights.adapters.writing import LowRank, save_lora
from inkpunk_weights.checkpoint import Checkpoint, open_checkpoint
from inkpunk_weights.control.reading import CONTROL_FILES, Control, open_control
from inkpunk_weights.control.writing import save_control
from inkpunk_weights.embeddings import EMBEDDING_FILES, Embedding, open_embedding
from inkpunk_weights.errors import CheckpointError
from inkpunk_weights.hub_cache import snapshot_of
from inkpunk_weights.image_prompts.encoder import ImageEncoderFile, open_image_encoder
from inkpunk_weights.image_prompts.reading import IMAGE_PROMPT_FILES, ImagePromptFile, open_image_prompt
from inkpunk_weights.lazy import LazyTensors, Spec
from inkpunk_weights.narrowing import narrowed
from inkpunk_weights.report import ComponentReport, Misshapen, Report
from inkpunk_weights.saving import Layout, save_checkpoint
from inkpunk_weights.tiny_vaes import TINY_VAE_FILES, TinyVAEFile, open_tiny_vae
from inkpunk_weights.upscalers import UPSCALER_FILES, UpscalerFile, open_upscaler

__all__ = [
    "ADAPTER_FILES",
    "CONTROL_FILES",
    "EMBEDDING_FILES",
    "IMAGE_PROMPT_FILES",
    "TINY_VAE_FILES",
    "UPSCALER_FILES",
    "Adapter",
    "Change",
    "Checkpoint",
    "CheckpointError",
    "ComponentReport",
    "Control",
    "Embedding",
    "ImageEncoderFile",
    "ImagePromptFile",
    "Layout",
    "LazyTensors",
    "LowRank",
    "Misshapen",
    "Report",
    "Spec",
    "TinyVAEFile",
    "UpscalerFile",
    "merged",
    "narrowed",
    "open_adapter",
    "open_checkpoint",
    "open_control",
    "open_embedding",
    "open_image_encoder",
    "open_image_prompt",
    "open_tiny_vae",
    "open_upscaler",
    "save_checkpoint",
    "save_control",
    "save_lora",
    "snapshot_of",
]
