"""Trains the autoencoder: on crops, then briefly on whole pictures."""

from pathlib import Path

import numpy as np
import torch
from inkpunk_vae import VAE, VAEConfig
from jaxtyping import Float
from torch import Tensor

from . import dataset, runs, sheets
from .muon import Both
from .workers import average, half_precision

CONFIG = VAEConfig(widths=(16, 32, 64, 128), layers=1, groups=4)
CROP = 64
BATCH = 8  # crops a step and worker
WHOLE_FROM = 0.85  # the share of the budget after which whole pictures are shown
KL = 2e-4
PEAK = 1.5e-3


def loss_of(vae: VAE, images: Tensor, noise: Tensor) -> Tensor:
    """What the reconstruction lacks, in value and in edges, and how far the latents are from normal."""
    posterior = vae.encode(images)
    difference = vae.decode(posterior.sample(noise)) - images
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    scaling = vae.config.scaling
    mean, std = posterior.mean / scaling, posterior.std / scaling
    kl = 0.5 * (mean.square() + std.square() - 1 - 2 * std.log()).mean()
    return difference.abs().mean() + 4 * difference.square().mean() + 0.1 * edges + KL * kl


def crops(pictures: np.ndarray, batch: int, rng: np.random.Generator) -> Tensor:
    """Random crops, two of each picture."""
    cut = []
    for index in rng.integers(len(pictures), size=batch // 2):
        for top, left in rng.integers(dataset.SIZE - CROP + 1, size=(2, 2)):
            cut.append(pictures[index, :, top : top + CROP, left : left + CROP])
    return dataset.images(np.stack(cut))


@torch.no_grad()
def psnr(vae: VAE, images: Float[Tensor, "batch 3 height width"]) -> float:
    """The mean over images of the peak signal-to-noise ratio of their reconstructions, in decibels."""
    restored = torch.cat([vae.decode(vae.encode(part).mean).clamp(-1, 1) for part in images.split(8)])
    error = ((restored - images) / 2).square().mean(dim=(1, 2, 3))
    return float((-10 * error.log10()).mean())


def train(rank: int, workers: int, run: Path, minutes: float) -> None:
    """Train, or go on training, until the budget is spent; the weights are in `vae.pt`."""
    torch.manual_seed(0)
    vae = VAE(CONFIG)
    optimiser = Both(vae, PEAK)
    ema = runs.Average(vae, 0.998)
    progress = runs.Progress(minutes * 60)
    path = run / "vae.pt"
    if path.exists():
        saved = runs.read(path)
        vae.load_state_dict(saved["weights"])
        optimiser.load_state_dict(saved["optimiser"])
        ema.load(saved["ema"])
        progress.restore(saved["progress"])
    pictures = dataset.load(run)
    if rank == 0:
        unseen = dataset.unseen(0, 8)
    share = torch.tensor(progress.share)
    while share < 1:
        rng = np.random.default_rng([1, progress.step, rank])
        if share < WHOLE_FROM:
            images = crops(pictures, BATCH, rng)
        else:
            images = dataset.images(pictures[np.sort(rng.integers(len(pictures), size=BATCH // 4))])
        side = images.shape[-1] // 8
        noise = torch.from_numpy(rng.standard_normal((len(images), 4, side, side), np.float32))
        with half_precision():
            loss = loss_of(vae, images, noise)
        optimiser.zero_grad()
        loss.backward()
        average(p.grad for p in vae.parameters())
        norm = torch.nn.utils.clip_grad_norm_(vae.parameters(), 3.0)
        rate = progress.rate(PEAK, decay_from=0.2)
        optimiser.step(rate)
        ema.update(progress.step)
        progress.advance()
        share = torch.tensor(progress.share)
        average([share])  # so that the workers agree on when to end
        if rank == 0:
            progress.note(loss=loss.item(), norm=norm.item(), rate=rate)
            if progress.save_is_due() or share >= 1:
                save(path, vae, optimiser, ema, progress)
                report(run, ema, progress, unseen)


def save(path: Path, vae: VAE, optimiser: Both, ema: runs.Average, progress: runs.Progress) -> None:
    """Write everything a later run needs to go on."""
    content = {
        "weights": vae.state_dict(),
        "optimiser": optimiser.state_dict(),
        "ema": ema.weights,
        "progress": progress.state(),
    }
    runs.write(path, content)


def report(run: Path, ema: runs.Average, progress: runs.Progress, unseen: Tensor) -> None:
    """Say how good the autoencoder is by now, and show it."""
    vae = VAE(CONFIG)
    vae.load_state_dict(ema.weights)
    vae.eval()
    quality = psnr(vae, unseen)
    runs.tell(f"step {progress.step}  unseen pictures come back at {quality:.2f} dB")
    with torch.no_grad():
        restored = vae.decode(vae.encode(unseen[:8]).mean)
    sheets.save(torch.cat([unseen[:8], restored]), run / "vae.png")


@torch.no_grad()
def settled(run: Path) -> VAE:
    """The trained autoencoder, its latents brought to zero mean and unit variance in every channel.

    That is folded into the two 1x1 convolutions, so that the scaling stays the one of Stable Diffusion.
    """
    vae = VAE(CONFIG).eval().requires_grad_(False)
    vae.load_state_dict(runs.read(run / "vae.pt")["ema"])
    pictures = dataset.load(run)[:256]
    latents = torch.cat([vae.encode(dataset.images(part)).mean for part in np.array_split(pictures, 16)])
    channels = CONFIG.latent_channels
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    quant, post = vae.quant_conv, vae.post_quant_conv
    raw_mean = mean / CONFIG.scaling
    # means leave as (raw - raw_mean) / std, and log-variances as much smaller
    post.bias += post.weight[:, :, 0, 0] @ raw_mean
    post.weight *= std.view(1, -1, 1, 1)
    quant.bias[:channels] -= raw_mean
    quant.bias[:channels] /= std
    quant.weight[:channels] /= std.view(-1, 1, 1, 1)
    quant.bias[channels:] -= 2 * std.log()
    return vae
