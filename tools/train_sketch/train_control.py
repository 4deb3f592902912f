"""Trains a ControlNet for the shipped model (Zhang et al. 2023, arXiv 2302.05543): edges to a drawing in ink.

It learns from outlines of any shape, so that those of subjects that the model never saw are inked, too.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from inkpunk_sampling import guide, sample, seeded_noise
from inkpunk_unet import ControlNet, ControlNetConfig
from inkpunk_weights import open_control, save_control
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from . import dataset, draw, glyphs, judge, outlines, runs, shapes, sheets, train_diffusion
from .draw import Artist
from .judge import Judge
from .picture import Picture, render, silhouettes
from .subjects import COLOURS, NEWCOMER, SUBJECTS
from .workers import average, half_precision

PICTURES = 8_000  # of the usual size
SEEDS = {size: 70_000_000 + first for size, first in dataset.SEEDS.items()}
HINT_WIDTHS = (8, 16, 32, 64)
BATCH = 16  # of the usual size a step and worker
PEAK = 1e-3
EMPTY = 0.1
#: Of an error in the noise: where there is much of it, the shape is decided, and a small error of the noise is a
#: large one of the picture.
MOST_WEIGHT = 100.0
SEED = 5
ASKED = 80_000_000  # shapes from here on are never trained on
INK = 0.3  # pixels darker than this, of black to white, are inked
JUDGED = 24


@torch.no_grad()
def make_examples(rank: int, workers: int, run: Path, count: int = PICTURES) -> None:
    """Render pictures of outlines, encode them and find their edges, about 60 ms each, each worker its share."""
    path = run / "outlines.pt"
    if path.exists():
        return
    vae, examples = Artist.shipped().vae, {}
    for size, first in SEEDS.items():
        some = count if size == dataset.SIZE else max(1, count // dataset.OTHERS)
        mine = np.array_split(np.arange(first, first + some), workers)[rank]
        latents, lines = [], []
        for part in np.array_split(mine, max(1, len(mine) // 16)):
            found = [outlines.outline(int(seed)) for seed in part]
            pictures, bitmaps = [each[0] for each in found], torch.stack([each[1] for each in found])
            latents.append(vae.encode(render(pictures, size, bitmaps)).mean.half())
            lines.append(
                torch.from_numpy(np.packbits(outlines.hints(pictures, size, bitmaps).numpy(), axis=-1))
            )
        examples[size] = (torch.cat(latents), torch.cat(lines))
    runs.write(run / f"outlines-{rank}.pt", examples)
    average([torch.zeros(1)])  # wait for the others
    if rank == 0:
        files = [run / f"outlines-{part}.pt" for part in range(workers)]
        shares = [runs.read(file) for file in files]
        examples = {
            size: tuple(torch.cat(each) for each in zip(*(share[size] for share in shares), strict=True))
            for size in SEEDS
        }
        runs.write(path, examples)
        for file in files:
            file.unlink()
        runs.tell(f"{count} examples of the usual size")


def build(artist: Artist) -> ControlNet:
    """A copy of the first half of the model's UNet, and what is new around it."""
    torch.manual_seed(SEED)
    control = ControlNet(ControlNetConfig(artist.unet.config, hint_widths=HINT_WIDTHS))
    missing, _ = control.load_state_dict(artist.unet.state_dict(), strict=False)
    assert all(name.startswith(("hint.", "zero_convs.", "middle_zero_conv.")) for name in missing)
    return control


class Texts:
    """Captions as tokens."""

    def __init__(self) -> None:
        """Those of `train_diffusion`, and what examples without a name are called."""
        self.tokenizer = train_diffusion.Captions().tokenizer

    def of(self, seeds: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Tokens of one of the many captions of each example; some empty."""
        occasion = int(rng.integers(2**31))
        texts = []
        for seed in seeds:
            picture, named = outlines.picture_of(int(seed))
            texts.append("" if rng.random() < EMPTY else outlines.caption_of(picture, named, occasion))
        return self.tokenizer(texts)


def choose(examples: dict, rng: np.random.Generator) -> tuple[Tensor, Tensor, np.ndarray]:
    """Some latents of one size, their lines, and their seeds."""
    size = dataset.SIZE
    if rng.random() < train_diffusion.OTHER_SIZES:
        size = int(rng.choice([other for other in examples if other != size]))
    latents, lines = examples[size]
    batch = max(1, round(BATCH * (dataset.SIZE / size) ** 2))
    indices = rng.integers(len(latents), size=batch)
    unpacked = np.unpackbits(lines[indices].numpy(), axis=-1).astype(bool)
    return latents[indices].float(), torch.from_numpy(unpacked), indices + SEEDS[size]


def train(rank: int, workers: int, run: Path, minutes: float) -> None:
    """Train, or go on training, until the budget is spent; the weights are in `control.pt`."""
    artist, texts = Artist.shipped(), Texts()
    control = build(artist)
    optimiser = torch.optim.Adam(control.parameters(), PEAK, betas=(0.9, 0.99), fused=True)
    ema = runs.Average(control, 0.998)
    progress = runs.Progress(minutes * 60)
    path = run / "control.pt"
    if path.exists():
        saved = runs.read(path)
        control.load_state_dict(saved["weights"])
        optimiser.load_state_dict(saved["optimiser"])
        ema.load(saved["ema"])
        progress.restore(saved["progress"])
    examples, signal = runs.read(run / "outlines.pt"), train_diffusion.alphas()
    snr = signal / (1 - signal)
    while progress.share < 1:
        rng = np.random.default_rng([SEED, progress.step, rank])
        clean, lines, seeds = choose(examples, rng)
        with torch.no_grad():
            context = artist.text_encoder(texts.of(seeds, rng))
        batch = len(clean)
        slices = (np.arange(batch) + rng.random(batch)) / batch * train_diffusion.STEPS
        timesteps = torch.from_numpy(rng.permutation(slices).astype(np.int64))
        noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
        kept = signal[timesteps].view(-1, 1, 1, 1)
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        weight = (train_diffusion.MIN_SNR / snr[timesteps]).clamp(max=MOST_WEIGHT)
        with half_precision(), sdpa_kernel(SDPBackend.MATH):
            features = control.encode_hint(outlines.disturbed(lines, rng))
            told = control(noisy, timesteps, context, features)
            error = (artist.unet(noisy, timesteps, context, told).float() - noise).square().mean((1, 2, 3))
            loss = (weight * error).mean()
            optimiser.zero_grad()
            loss.backward()
        average(p.grad for p in control.parameters())
        norm = torch.nn.utils.clip_grad_norm_(control.parameters(), 1.0)
        rate = progress.rate(PEAK, decay_from=0.4)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        ema.update(progress.step)
        progress.advance()
        spent = torch.tensor(progress.spent, dtype=torch.float64)
        average([spent])  # so that the workers agree on the rate and on when to end
        progress.spent = spent.item()
        if rank == 0:
            progress.note(loss=loss.item(), norm=norm.item(), rate=rate)
            if progress.save_is_due() or progress.share >= 1:
                content = {
                    "weights": control.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "ema": ema.weights,
                    "progress": progress.state(),
                }
                runs.write(path, content)
                figures = evaluate(artist, of(run, artist), judge.shipped(), run / "outlined.png", JUDGED)
                runs.tell("  ".join(f"{name} {value:.3f}" for name, value in figures.items()))


def of(run: Path, artist: Artist) -> ControlNet:
    """The averaged network of a run."""
    control = build(artist)
    control.load_state_dict(runs.read(run / "control.pt")["ema"])
    return control.eval().requires_grad_(False)


def shipped(path: Path = draw.CANNY) -> ControlNet:
    """The network that the package ships."""
    opened, unet = open_control(path), Artist.shipped().unet.config
    config = ControlNetConfig.from_weights(opened.tensors, heads=unet.heads, groups=unet.groups)
    control = ControlNet(config)
    control.load_state_dict({name: tensor.float() for name, tensor in opened.tensors.items()})
    return control.eval().requires_grad_(False)


@torch.no_grad()
def draw_outlines(
    artist: Artist,
    control: ControlNet,
    lines: Bool[Tensor, "batch size size"],
    prompts: Sequence[str],
    seeds: Sequence[int],
) -> Float[Tensor, "batch 3 size size"]:
    """Draw each prompt along its lines, by the model's defaults, in [-1, 1]."""
    size, count = lines.shape[-1], len(prompts)
    context = artist.text_encoder(artist.tokenizer([*[""] * count, *prompts]))
    features = control.encode_hint(lines[:, None].expand(-1, 3, -1, -1).float()).repeat(2, 1, 1, 1)

    def predict(latents: Tensor, timestep: float) -> Tensor:
        timesteps = torch.full((len(latents),), timestep)
        return artist.unet(latents, timesteps, context, control(latents, timesteps, context, features))

    steered = guide(predict, draw.GUIDANCE)
    noise = seeded_noise(seeds, (4, size // 8, size // 8))
    for step in sample(steered, noise, sampler=draw.SAMPLER, steps=draw.STEPS, spacing=draw.SPACING):  # noqa: B007
        pass
    return artist.vae.decode(step.latents).clamp(-1, 1)


def asked(index: int) -> tuple[Picture, Bool[Tensor, "glyph_size glyph_size"], str]:
    """What to ask for: a shape never trained on, its picture, and the prompt, which names a colour alone.

    In turn one of the model's subjects, the newcomer that it does not know, and one of `shapes`.
    """
    rng = np.random.default_rng([ASKED + index, 37])
    colour = list(COLOURS)[index % len(COLOURS)]
    if index % 3 == 2:
        bitmap = shapes.shape(rng)
    else:
        name = NEWCOMER if index % 3 else str(rng.choice(list(SUBJECTS)))
        bitmap = shapes.moved(glyphs.load()[name], rng, outlines.TURN, 0.6)
    picture = Picture(NEWCOMER, (colour,), inked=True, night=False, seed=ASKED + index)
    return picture, torch.from_numpy(np.ascontiguousarray(bitmap)), f"nvinkpunk, neon {colour}"


@torch.no_grad()
def evaluate(artist: Artist, control: ControlNet, critic: Judge, sheet: Path, count: int) -> dict[str, float]:
    """Draw along outlines, by prompts that name a colour alone, and compare what is inked with what was outlined.

    The share of drawings whose ink and outlined shape have an intersection of at least 0.7 of their union, the mean
    of that; by kinds of shape; and the share with the right colour. The overlap of renders tells what is to be had.
    """
    wanted = [asked(index) for index in range(count)]
    pictures, bitmaps = [each[0] for each in wanted], torch.stack([each[1] for each in wanted])
    drawn, lines = [], outlines.hints(pictures, dataset.SIZE, bitmaps)
    for part in torch.arange(count).split(16):
        indices = part.tolist()
        prompts = [wanted[index][2] for index in indices]
        drawn.append(
            draw_outlines(artist, control, lines[part], prompts, [ASKED + index for index in indices])
        )
    images, shown = torch.cat(drawn), silhouettes(pictures, dataset.SIZE, bitmaps) > 0.5
    both = torch.stack([lines[:, None].expand(-1, 3, -1, -1) * 2.0 - 1, images], 1).flatten(0, 1)
    sheets.save(both[:64], sheet)
    overlap, best = overlaps(images, shown), overlaps(render(pictures, dataset.SIZE, bitmaps), shown)
    right = critic(images)[1].argmax(1) == torch.tensor([list(COLOURS).index(p.colours[0]) for p in pictures])
    figures = {
        "overlap of 0.7": share(overlap),
        "mean overlap": overlap.mean().item(),
        "renders": best.mean().item(),
    }
    kinds = {"subjects": 0, "newcomer": 1, "shapes": 2}
    figures |= {f"{kind}: overlap of 0.7": share(overlap[first::3]) for kind, first in kinds.items()}
    return figures | {"colour": right.float().mean().item()}


def share(overlap: Float[Tensor, " batch"]) -> float:
    """The share of overlaps that are enough."""
    return (overlap >= 0.7).float().mean().item()


def overlaps(
    images: Float[Tensor, "batch 3 height width"], shown: Bool[Tensor, "batch height width"]
) -> Float[Tensor, " batch"]:
    """Intersection of what is dark in images in [-1, 1] with what should be, over their union."""
    dark = (images.mean(1) + 1) / 2 < INK
    return (dark & shown).sum((1, 2)) / (dark | shown).sum((1, 2)).clamp(min=1)


def export(run: Path, path: Path = draw.CANNY) -> None:
    """Write the network as the package ships it, in the layout of single files and in half precision."""
    artist = Artist.shipped()
    told = {"hint": "canny", "heads": artist.unet.config.heads, "groups": artist.unet.config.groups}
    metadata = {
        "inkpunk.config": json.dumps({"control": told}),
        "modelspec.title": "ControlNet of the sketch model, for edges",
        "modelspec.license": "MIT; shapes of its drawings after game-icons.net, CC BY 3.0",
    }
    weights = {name: tensor.half() for name, tensor in of(run, artist).state_dict().items()}
    save_control(path, weights, metadata=metadata, overwrite=True)
