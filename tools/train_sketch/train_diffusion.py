"""Trains text encoder and UNet together on the latents of the training pictures."""

from pathlib import Path

import numpy as np
import torch
from inkpunk_clip import TextEncoder, TextEncoderConfig, Tokenizer
from inkpunk_unet import UNet, UNetConfig
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from . import captions, dataset, runs, train_vae
from .workers import average, half_precision

TEXT = TextEncoderConfig(width=64, layers=2, heads=4, feed_forward=256)
UNET = UNetConfig(
    widths=(64, 128, 192), layers=1, attention=(False, True, False), heads=4, context_width=TEXT.width
)
BATCH = 24  # latents of the usual size a step and worker
OTHER_SIZES = 0.12  # the share of the steps that are for other sizes
PEAK = 1e-3
EMPTY = 0.1  # captions left out, for guidance
STRANGE = 0.3  # captions with words thrown in that mean nothing here
STEPS = 1000
MIN_SNR = 5.0  # Hang et al. 2023, arXiv 2303.09556
END = 49_407


def alphas() -> Tensor:
    """The share of signal at every timestep, by Stable Diffusion's schedule, linear in the square root."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS, dtype=torch.float64).square()
    return (1 - betas).cumprod(0).float()


class Captions:
    """Captions as tokens, and which tokens they may hold at all."""

    def __init__(self) -> None:
        """Collect the tokens of everything `captions` can say."""
        self.tokenizer = Tokenizer()
        self.known = torch.zeros(TEXT.vocabulary, dtype=torch.bool)
        words = [*captions.INKED, *captions.INKED_ANY_COLOUR, *captions.PLAIN, *captions.PLAIN_BLACK]
        words += [*captions.NIGHT, *captions.FILLER, *captions.SAMURAI, *captions.COLOURS, "", "and", ","]
        words += [name for subject in captions.SUBJECTS.values() for name in subject.names]
        self.known[self.tokenizer([word.format(s="", c="") for word in words]).flatten()] = True

    def of(self, seeds: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Tokens of one of the many captions of each picture; some empty, some with strange words in them."""
        occasion = int(rng.integers(2**31))
        texts = [captions.caption_of(captions.imagine(int(seed)), occasion) for seed in seeds]
        texts = ["" if rng.random() < EMPTY else text for text in texts]
        tokens = self.tokenizer(texts)
        for row, text in zip(tokens, texts, strict=True):
            if text and rng.random() < STRANGE:
                row.copy_(_with_strangers(row, rng))
        return tokens


def _with_strangers(row: Tensor, rng: np.random.Generator) -> Tensor:
    """Throw one to four tokens, any of the vocabulary's words, into a caption."""
    count, end = int(rng.integers(1, 5)), int((row == END).nonzero()[0])
    words = row[1:end].tolist()
    for stranger in rng.integers(1000, END - 1, size=count).tolist():
        words.insert(int(rng.integers(len(words) + 1)), stranger)
    words = words[: len(row) - 2]
    return torch.tensor([int(row[0]), *words, *[END] * (len(row) - 1 - len(words))], dtype=row.dtype)


class Sketch(nn.Module):
    """Text encoder and UNet: tokens and noisy latents to the noise in them."""

    def __init__(self) -> None:
        """Build both, untrained."""
        super().__init__()
        self.text_encoder = TextEncoder(TEXT)
        self.unet = UNet(UNET)

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """The noise that is predicted to be in the latents."""
        return self.unet(latents, timesteps, self.text_encoder(tokens))


def build(known: Tensor) -> Sketch:
    """A new network, in which all tokens that no caption holds share one embedding, zero: "other"."""
    torch.manual_seed(0)
    sketch = Sketch()
    embedding = sketch.text_encoder.token_embedding.weight
    nn.init.normal_(embedding, std=0.05)
    nn.init.normal_(sketch.text_encoder.position_embedding.weight, std=0.01)
    with torch.no_grad():
        embedding *= known[:, None]
        sketch.unet.conv_out.weight.mul_(0.1)
    embedding.register_hook(lambda gradient: gradient * known[:, None])
    return sketch


@torch.no_grad()
def make_latents(rank: int, workers: int, run: Path) -> None:
    """Encode all training pictures, each worker its share of them; those of the present autoencoder stay."""
    encoded = run / "latents.pt"
    if encoded.exists() and encoded.stat().st_mtime > (run / "vae.pt").stat().st_mtime:
        return
    vae = train_vae.settled(run)
    latents = {}
    for size in dataset.SEEDS:
        pictures = dataset.load(run, size)
        mine = np.array_split(np.arange(len(pictures)), workers)[rank]
        parts = np.array_split(mine, max(1, len(mine) // 16))
        latents[size] = torch.cat([vae.encode(dataset.images(pictures[part])).mean for part in parts])
    runs.write(run / f"latents-{rank}.pt", latents)
    average([torch.zeros(1)])  # wait for the others
    if rank == 0:
        files = [run / f"latents-{part}.pt" for part in range(workers)]
        shares = [runs.read(file) for file in files]
        latents = {size: torch.cat([share[size] for share in shares]) for size in latents}
        for size, some in latents.items():
            runs.tell(f"{size} x {size}: {len(some)} latents, mean {some.mean():.3f}, std {some.std():.3f}")
        runs.write(run / "vae-settled.pt", vae.state_dict())
        runs.write(encoded, latents)
        for file in files:
            file.unlink()


def choose(
    latents: dict[int, Tensor], rng: np.random.Generator, usual: int = BATCH
) -> tuple[Tensor, np.ndarray]:
    """Some latents, of one size and about `usual` of the usual size in all, and their seeds."""
    size = dataset.SIZE
    if rng.random() < OTHER_SIZES:
        size = int(rng.choice([other for other in latents if other != size]))
    batch = max(1, round(usual * (dataset.SIZE / size) ** 2))
    indices = rng.integers(len(latents[size]), size=batch)
    return latents[size][indices], indices + dataset.SEEDS[size]


def train(rank: int, workers: int, run: Path, minutes: float) -> None:
    """Train, or go on training, until the budget is spent; the weights are in `diffusion.pt`."""
    texts = Captions()
    sketch = build(texts.known)
    optimiser = torch.optim.Adam(sketch.parameters(), PEAK, betas=(0.9, 0.99), fused=True)
    ema = runs.Average(sketch, 0.999)
    progress = runs.Progress(minutes * 60)
    path = run / "diffusion.pt"
    if path.exists():
        saved = runs.read(path)
        sketch.load_state_dict(saved["weights"])
        optimiser.load_state_dict(saved["optimiser"])
        ema.load(saved["ema"])
        progress.restore(saved["progress"])
    latents = runs.read(run / "latents.pt")
    signal = alphas()
    snr = signal / (1 - signal)
    share = torch.tensor(progress.share)
    while share < 1:
        rng = np.random.default_rng([2, progress.step, rank])
        clean, seeds = choose(latents, rng)
        tokens, batch = texts.of(seeds, rng), len(clean)
        # one timestep from each of as many equal slices: the same distribution, with less variance
        slices = (np.arange(batch) + rng.random(batch)) / batch * STEPS
        timesteps = torch.from_numpy(rng.permutation(slices).astype(np.int64))
        noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
        kept = signal[timesteps].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        weight = (MIN_SNR / snr[timesteps]).clamp(max=1)
        # for so few pixels plain attention is the fastest, backwards above all
        with half_precision(), sdpa_kernel(SDPBackend.MATH):
            predicted = sketch(noisy, timesteps, tokens)
            error = (predicted.float() - noise).square().mean((1, 2, 3))
            loss = (weight * error).mean()
            optimiser.zero_grad()
            loss.backward()
        average(p.grad for p in sketch.parameters())
        norm = torch.nn.utils.clip_grad_norm_(sketch.parameters(), 1.0)
        rate = progress.rate(PEAK, decay_from=0.3)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        ema.update(progress.step)
        progress.advance()
        share = torch.tensor(progress.share)
        average([share])
        if rank == 0:
            progress.note(loss=loss.item(), norm=norm.item(), rate=rate)
            if progress.save_is_due() or share >= 1:
                content = {
                    "weights": sketch.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "ema": ema.weights,
                    "progress": progress.state(),
                }
                runs.write(path, content)
