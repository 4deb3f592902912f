"""What is timed: pieces of drawing a picture, with their inputs and what they cost in plain arithmetic."""

from dataclasses import dataclass
from functools import cache

import torch
from inkpunk_clip import TextEncoder, TextEncoderConfig
from inkpunk_unet import UNet, UNetConfig
from inkpunk_vae import VAE, VAEConfig
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

TOKENS, WIDTH = 77, 768
TIMESTEP = 500


@dataclass(frozen=True)
class Work:
    """One piece: "text", "step", "encode" or "decode", for so many pictures of so many pixels."""

    kind: str
    height: int = 512
    width: int = 512
    pictures: int = 1

    @property
    def name(self) -> str:
        """As the table says it."""
        what = {"text": "text encoder", "step": "guided step", "encode": "VAE encode", "decode": "VAE decode"}
        size = "" if self.kind == "text" else f", {self.width}x{self.height}"
        return what[self.kind] + size + (f", {self.pictures} pictures" if self.pictures > 1 else "")

    def inputs(self, width: int = WIDTH, device: str = "cpu") -> tuple[Tensor, ...]:
        """The tensors that every peer gets; `width` is that of the text encoder's context."""
        generator = torch.Generator().manual_seed(7)

        def noise(*shape: int) -> Tensor:
            if device == "meta":
                return torch.empty(shape, device=device)
            return torch.randn(shape, generator=generator)

        rows, columns = self.height // 8, self.width // 8
        if self.kind == "text":  # the prompt and the empty one
            return (torch.arange(2 * self.pictures * TOKENS, device=device).view(-1, TOKENS) % 49_000,)
        if self.kind == "step":
            batch = 2 * self.pictures
            timesteps = torch.full((batch,), TIMESTEP, device=device)
            latents = noise(self.pictures, 4, rows, columns)  # for both prompts the same
            return torch.cat([latents, latents]), timesteps, noise(batch, TOKENS, width)
        if self.kind == "encode":
            return (noise(self.pictures, 3, self.height, self.width).clamp(-1, 1),)
        return (noise(self.pictures, 4, rows, columns),)

    @cache  # noqa: B019  # a few pieces of work, kept for the life of the tool
    def flops(self) -> int:
        """Floating-point operations of the direct way at full size: two for every multiply-add."""
        with torch.device("meta"), torch.no_grad():
            inputs = self.inputs(device="meta")
            if self.kind == "text":
                call = TextEncoder(TextEncoderConfig())
            elif self.kind == "step":
                call = UNet(UNetConfig())
            else:
                vae = VAE(VAEConfig())
                call = vae.decode if self.kind == "decode" else lambda images: vae.encode(images).mean
            with FlopCounterMode(display=False) as counter:
                call(*inputs)
        return counter.get_total_flops()


#: The rows of the table.
TABLE = (
    Work("text"),
    Work("step"),
    Work("step", width=768),
    Work("encode"),
    Work("decode"),
)
#: How time grows: with size, and with the number of pictures.
GROWTH = (
    Work("text", pictures=4),
    Work("step", 256, 256),
    Work("step", 384, 384),
    Work("step", 256, 256, pictures=2),
    Work("step", 256, 256, pictures=4),
    Work("encode", 256, 256),
    Work("encode", 384, 384),
    Work("encode", 256, 256, pictures=4),
    Work("decode", 256, 256),
    Work("decode", 384, 384),
    Work("decode", 256, 256, pictures=4),
)
