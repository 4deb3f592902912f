"""The autoencoder of Stable Diffusion v1: images to latents and back.

```python
import torch
from inkpunk_vae import VAE, VAEConfig

vae = VAE(VAEConfig()).eval()  # Stable Diffusion v1.5's sizes; random until weights are loaded
posterior = vae.encode(torch.zeros(1, 3, 64, 64))  # images in [-1, 1]
images = vae.decode(posterior.mean)  # latents of shape [1, 4, 8, 8] and back
```
"""

from inkpunk_vae.config import VAEConfig
from inkpunk_vae.memory import decode_memory
from inkpunk_vae.posterior import Posterior
from inkpunk_vae.tiling import tiled_decode, tiled_encode
from inkpunk_vae.tiny import TinyVAE
from inkpunk_vae.tiny_config import TinyVAEConfig
from inkpunk_vae.vae import VAE

__all__ = [
    "VAE",
    "Posterior",
    "TinyVAE",
    "TinyVAEConfig",
    "VAEConfig",
    "decode_memory",
    "tiled_decode",
    "tiled_encode",
]
