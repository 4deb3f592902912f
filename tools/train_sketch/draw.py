"""Draws with the networks of a run, as the finished model will."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from inkpunk.models.loading import build_components, read_configs
from inkpunk_clip import TextEncoder, Tokenizer
from inkpunk_sampling import guide, sample, seeded_noise
from inkpunk_unet import UNet
from inkpunk_vae import VAE
from inkpunk_weights import open_adapter, open_checkpoint
from jaxtyping import Float
from torch import Tensor

from . import runs, sheets, train_diffusion, train_vae
from .subjects import COLOURS, SUBJECTS

#: Where the finished weights are, and the adapters for them.
PACKAGE = Path("packages/inkpunk-sketch/src/inkpunk_sketch")
WEIGHTS = PACKAGE / "sketch.safetensors"
LCM = PACKAGE / "lcm.safetensors"
NEW_SUBJECT = PACKAGE / "lighthouse.safetensors"
CANNY = PACKAGE / "canny.safetensors"
STEPS = 16
GUIDANCE = 3.0
SAMPLER, SPACING = "dpmpp_2m", "karras"
#: With the LCM-LoRA; guidance is in it.
FEW_STEPS = {"steps": 4, "guidance": 1.0, "sampler": "lcm", "spacing": "lcm"}

#: What a stranger would try first, and what shows every subject.
TRIED = (
    "nvinkpunk cyberpunk samurai with neon mask, glowing swords",
    "nvinkpunk red dragon",
    "a raven, neon green splash, ink on paper",
    "katana",
    "nvinkpunk purple octopus",
    "nvinkpunk skull, pink and cyan",
    "nvinkpunk cyan fox at night",
    "blue wolf",
)


class Artist:
    """Text encoder, UNet and VAE, and what it takes to draw with them."""

    def __init__(self, text_encoder: TextEncoder, unet: UNet, vae: VAE):
        """Take the networks over, for drawing only."""
        self.text_encoder, self.unet, self.vae = (
            network.eval().requires_grad_(False) for network in (text_encoder, unet, vae)
        )
        self.tokenizer = Tokenizer()

    @classmethod
    def of(cls, run: Path) -> "Artist":
        """With the averaged weights of a run."""
        sketch, vae = train_diffusion.Sketch(), VAE(train_vae.CONFIG)
        sketch.load_state_dict(runs.read(run / "diffusion.pt")["ema"])
        vae.load_state_dict(runs.read(run / "vae-settled.pt"))
        return cls(sketch.text_encoder, sketch.unet, vae)

    @classmethod
    def shipped(cls, path: Path = WEIGHTS) -> "Artist":
        """With the weights in half precision that the package ships."""
        checkpoint = open_checkpoint(path)
        configs = read_configs(checkpoint)
        return cls(
            *build_components(
                checkpoint, configs, device=torch.device("cpu"), dtype=torch.float32, text_dtype=torch.float32
            )
        )

    @torch.no_grad()
    def with_adapter(self, path: Path) -> "Artist":
        """Another one, whose text encoder and UNet have been changed by an adapter."""
        text_encoder, unet = copy.deepcopy((self.text_encoder, self.unet))
        adapter = open_adapter(path)
        for network, changes in ((text_encoder, adapter.text_encoder), (unet, adapter.unet)):
            for name, change in changes.items():
                weight = network.get_parameter(name)
                weight += change.difference(weight)
        return Artist(text_encoder, unet, self.vae)

    @torch.no_grad()
    def draw(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        negative: str = "",
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        sampler: str = SAMPLER,
        spacing: str | None = SPACING,
        size: int = 128,
    ) -> Float[Tensor, "batch 3 height width"]:
        """Draw one picture for each prompt and seed, in [-1, 1]."""
        context = self.text_encoder(self.tokenizer(prompts))
        both = torch.cat([self.text_encoder(self.tokenizer([negative] * len(prompts))), context])

        def predict(latents: Tensor, timestep: float) -> Tensor:
            told = context if len(latents) == len(context) else both
            return self.unet(latents, torch.full((len(latents),), timestep), told)

        noise = seeded_noise(seeds, (4, size // 8, size // 8))
        # guidance 1 is the prompt alone, and half the work
        steered = predict if guidance == 1 else guide(predict, guidance)
        for step in sample(steered, noise, sampler=sampler, steps=steps, spacing=spacing):  # noqa: B007
            pass
        return self.vae.decode(step.latents).clamp(-1, 1)

    def draw_all(
        self, prompts: Sequence[str], seeds: Sequence[int], batch: int = 16, **settings: object
    ) -> Float[Tensor, "count 3 height width"]:
        """Draw any number of pictures, some at a time."""
        parts = [
            self.draw(prompts[start : start + batch], seeds[start : start + batch], **settings)  # type: ignore[arg-type]
            for start in range(0, len(prompts), batch)
        ]
        return torch.cat(parts)


def sheet(artist: Artist, path: Path) -> None:
    """Draw what strangers try first and then every subject once, the colours going round."""
    subjects, colours = list(SUBJECTS), list(COLOURS)
    prompts = [*TRIED, *(f"nvinkpunk {colours[i % 8]} {subject}" for i, subject in enumerate(subjects))]
    sheets.save(artist.draw_all(prompts, range(len(prompts))), path)
