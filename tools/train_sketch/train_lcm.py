"""Distils the shipped model into an LCM-LoRA (Luo et al. 2023, arXiv 2310.04378 and 2311.05556).

Wherever on the guided teacher's path from noise to a picture, the student learns to name the path's end at once. So
it draws in two to four steps, and guidance is in it.
"""

import copy
import json
from pathlib import Path

import numpy as np
import torch
from inkpunk.training.low_rank import LowRankLayers
from inkpunk_sampling import NoiseSchedule, timesteps
from inkpunk_sampling.samplers.distilled import SCALING, SIGMA_DATA
from inkpunk_unet import UNet
from inkpunk_weights import save_lora
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from . import captions, dataset, draw, evaluate, judge, runs, train_diffusion
from .draw import Artist
from .picture import render
from .workers import average, half_precision

PICTURES = 1024  # of the usual size; each is seen with ever new noise and words
RANK = 32
BATCH = 12  # latents of the usual size a step and worker
PEAK = 1e-3
DECAY = 0.95  # of the student's average, which says what the path's end is
HUBER = 1e-3  # differences below it count by their squares
STEPS = tuple(
    reversed(timesteps(NoiseSchedule(), 50, "lcm"))
)  # all that the sampler ever asks for: 19, 39, ... 999
LONGEST = 5  # the teacher's first strides, in those steps
JUDGED = 32
SEED = 4

Latents = Float[Tensor, "batch 4 height width"]
Timesteps = Int[Tensor, " batch"]


@torch.no_grad()
def make_latents(
    rank: int, workers: int, run: Path, weights: Path = draw.WEIGHTS, count: int = PICTURES
) -> None:
    """Render and encode the pictures to learn from, about 30 ms each, by one worker; those there are stay."""
    path = run / "lcm-latents.pt"
    if path.exists():
        return
    vae = Artist.shipped(weights).vae
    latents = {}
    for size, first in dataset.SEEDS.items():
        some = count if size == dataset.SIZE else max(1, count // dataset.OTHERS)
        parts = torch.arange(first, first + some).split(16)
        pictures = ([captions.imagine(seed) for seed in part.tolist()] for part in parts)
        latents[size] = torch.cat([vae.encode(render(part, size)).mean for part in pictures])
        runs.tell(f"{size} x {size}: {some} latents")
    runs.write(path, latents)


class Distillation:
    """The teacher, the student and the student's average: one UNet, plain and with two sets of layers beside it.

    Attributes:
        student: the layers that are trained.
        average: likewise, their exponential moving average; it is what the student is held against, and shipped.
    """

    def __init__(self, teacher: Artist):
        """Begin with a student that is the teacher without guidance."""
        self._artist, self._teacher = teacher, teacher.unet
        self._student, self._averaged = copy.deepcopy(teacher.unet), copy.deepcopy(teacher.unet)
        self.student, self.average = (
            LowRankLayers(unet, rank=RANK, convolutions=True, generator=torch.Generator().manual_seed(SEED))
            for unet in (self._student, self._averaged)
        )
        self._nothing = self._context(teacher.tokenizer([""]))
        self._signal = train_diffusion.alphas()

    def loss(
        self,
        clean: Latents,
        noise: Latents,
        tokens: Int[Tensor, "batch 77"],
        starts: Timesteps,
        ends: Timesteps,
    ) -> Float[Tensor, ""]:
        """How far apart what the student says at the two ends of one of the teacher's strides is."""
        signal = self._spread(self._signal[starts])
        noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        context = self._context(tokens)
        with torch.no_grad():
            target = self._end(self._averaged, self._stride(noisy, context, starts, ends), context, ends)
        difference = self._end(self._student, noisy, context, starts) - target
        return ((difference.square() + HUBER**2).sqrt() - HUBER).mean()

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move the average towards the student; faster in the beginning."""
        keep = min(DECAY, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.student.parameters()), 1 - keep)

    def artist(self) -> Artist:
        """Draws with the average."""
        return Artist(self._artist.text_encoder, self._averaged, self._artist.vae)

    def _stride(self, noisy: Latents, context: Tensor, starts: Timesteps, ends: Timesteps) -> Latents:
        """One step of DDIM by the guided teacher."""
        both = torch.cat([self._nothing.expand_as(context), context])
        without, told = self._teacher(noisy.repeat(2, 1, 1, 1), starts.repeat(2), both).float().chunk(2)
        eps = without + draw.GUIDANCE * (told - without)
        signal = self._spread(self._signal[ends])
        return signal.sqrt() * self._clean(noisy, eps, starts) + (1 - signal).sqrt() * eps

    def _end(self, unet: UNet, noisy: Latents, context: Tensor, at: Timesteps) -> Latents:
        """The end of the path as a network sees it, by the boundary condition that the sampler `lcm` has."""
        scaled = self._spread(SCALING * at)
        c_skip = SIGMA_DATA**2 / (scaled.square() + SIGMA_DATA**2)
        c_out = scaled / (scaled.square() + SIGMA_DATA**2).sqrt()
        return c_skip * noisy + c_out * self._clean(noisy, unet(noisy, at, context).float(), at)

    def _clean(self, noisy: Latents, eps: Latents, at: Timesteps) -> Latents:
        signal = self._spread(self._signal[at])
        return (noisy - (1 - signal).sqrt() * eps) / signal.sqrt()

    @torch.no_grad()
    def _context(self, tokens: Int[Tensor, "batch 77"]) -> Float[Tensor, "batch 77 width"]:
        return self._artist.text_encoder(tokens)

    @staticmethod
    def _spread(values: Tensor) -> Float[Tensor, "batch 1 1 1"]:
        return values.view(-1, 1, 1, 1)


def choose_stride(batch: int, share: float, rng: np.random.Generator) -> tuple[Timesteps, Timesteps]:
    """Where strides of the teacher start and end: from one of as many equal slices of the timesteps each.

    The first ones are long, since what the student learns at the clean end has to travel through all of them (Song &
    Dhariwal 2023, arXiv 2310.14189); the last ones are the paper's 20 timesteps.
    """
    slices = (np.arange(batch) + rng.random(batch)) / batch * len(STEPS)
    starts = torch.tensor(STEPS)[torch.from_numpy(rng.permutation(slices).astype(np.int64))]
    length = round(LONGEST ** max(0.0, 1 - 1.5 * share))
    return starts, (starts - length * (STEPS[1] - STEPS[0])).clamp(min=0)


def train(rank: int, workers: int, run: Path, minutes: float, weights: Path = draw.WEIGHTS) -> None:
    """Train, or go on training, until the budget is spent; the layers are in `lcm.pt`."""
    teacher = Artist.shipped(weights)
    texts = train_diffusion.Captions()
    distillation = Distillation(teacher)
    student = distillation.student
    optimiser = torch.optim.Adam(student.parameters(), PEAK, betas=(0.9, 0.99), fused=True)
    progress = runs.Progress(minutes * 60)
    path = run / "lcm.pt"
    if path.exists():
        saved = runs.read(path)
        student.load_state_dict(saved["student"])
        distillation.average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        progress.restore(saved["progress"])
    latents = runs.read(run / "lcm-latents.pt")
    while progress.share < 1:
        rng = np.random.default_rng([SEED, progress.step, rank])
        clean, seeds = train_diffusion.choose(latents, rng, BATCH)
        noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
        starts, ends = choose_stride(len(clean), progress.share, rng)
        with half_precision(), sdpa_kernel(SDPBackend.MATH):
            loss = distillation.loss(clean, noise, texts.of(seeds, rng), starts, ends)
            optimiser.zero_grad()
            loss.backward()
        average(p.grad for p in student.parameters())
        norm = torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        rate = progress.rate(PEAK, warm_up=30, decay_from=0.4)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        distillation.follow(progress.step)
        progress.advance()
        spent = torch.tensor(progress.spent, dtype=torch.float64)
        average([spent])  # so that the workers agree on the rate and on when to end
        progress.spent = spent.item()
        if rank == 0:
            progress.note(loss=loss.item(), norm=norm.item(), rate=rate)
            if progress.save_is_due() or progress.share >= 1:
                content = {
                    "student": student.state_dict(),
                    "average": distillation.average.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "progress": progress.state(),
                }
                runs.write(path, content)
                report(run, distillation.artist(), progress)


def report(run: Path, artist: Artist, progress: runs.Progress) -> None:
    """Say how good the student is by now, and show it."""
    figures = evaluate.evaluate(artist, judge.shipped(), JUDGED, run / "lcm.png", **draw.FEW_STEPS)
    shown = "  ".join(f"{name} {value:.1%}" for name, value in figures.items())
    runs.tell(f"step {progress.step}  in {draw.FEW_STEPS['steps']} steps: {shown}")


def export(run: Path, path: Path = draw.LCM, weights: Path = draw.WEIGHTS) -> None:
    """Write the layers as the package ships them: a LoRA in kohya's layout, in half precision."""
    distillation = Distillation(Artist.shipped(weights))
    saved = runs.read(run / "lcm.pt")
    distillation.average.load_state_dict(saved["average"])
    settings = {name: draw.FEW_STEPS[name] for name in ("steps", "guidance", "sampler")}
    told = {
        "inkpunk.defaults": json.dumps(settings),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "https://arxiv.org/abs/2311.05556",
        "modelspec.title": "LCM-LoRA of the sketch model",
        "modelspec.description": "Draws with the sketch model in 2 to 8 steps without guidance",
        "modelspec.license": "MIT; shapes of its drawings after game-icons.net, CC BY 3.0",
        "ss_base_model_version": "sd_v1",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(float(RANK)),
        "ss_network_args": json.dumps({"conv_dim": str(RANK), "conv_alpha": str(float(RANK))}),
        "ss_output_name": path.stem,
        "ss_steps": str(saved["progress"]["step"]),
        "ss_learning_rate": str(PEAK),
        "ss_batch_size_per_device": str(BATCH),
    }
    save_lora(path, unet=distillation.average.changes(), metadata=told, overwrite=True)
