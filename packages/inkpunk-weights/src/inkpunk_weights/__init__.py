"""Stable Diffusion v1 checkpoints: files to named tensors per component, and back.

checkpoint = open_checkpoint("model.safetensors")       # or a .ckpt, or a diffusers folder
print(checkpoint.report())                              # what it is, and everything wrong with it
unet.load_state_dict(checkpoint.unet, assign=True)      # mapped from the file, not copied
save_checkpoint("model", layout="diffusers folder", dtype=torch.float16,
                text_encoder=checkpoint.text_encoder, unet=checkpoint.unet, vae=checkpoint.vae)
open_embedding("neon.pt").vectors                       # a learned word: (vectors, width), float32
open_adapter("ink.safetensors").unet                    # a LoRA or its like: the change of each weight, by our names
"""

from inkpunk_weights.adapters.changes import Change, merged
from inkpunk_weights.adapters.reading import ADAPTER_FILES, Adapter, open_adapter
from inkpunk_weights.adapters.writing import LowRank, save_lora
from inkpunk_weights.checkpoint import Checkpoint, open_checkpoint
from inkpunk_weights.embeddings import EMBEDDING_FILES, Embedding, open_embedding
from inkpunk_weights.errors import CheckpointError
from inkpunk_weights.hub_cache import snapshot_of
from inkpunk_weights.lazy import LazyTensors, Spec
from inkpunk_weights.narrowing import narrowed
from inkpunk_weights.report import ComponentReport, Misshapen, Report
from inkpunk_weights.saving import Layout, save_checkpoint

__all__ = [
    "ADAPTER_FILES",
    "EMBEDDING_FILES",
    "Adapter",
    "Change",
    "Checkpoint",
    "CheckpointError",
    "ComponentReport",
    "Embedding",
    "Layout",
    "LazyTensors",
    "LowRank",
    "Misshapen",
    "Report",
    "Spec",
    "merged",
    "narrowed",
    "open_adapter",
    "open_checkpoint",
    "open_embedding",
    "save_checkpoint",
    "save_lora",
    "snapshot_of",
]
