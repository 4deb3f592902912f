"""From noise to a sample of what a diffusion model has learned; it knows nothing of the model but a function.

from inkpunk_sampling import guide, sample, seeded_noise

noise = seeded_noise(seeds=[7, 8], shape=(4, 64, 64))        # two pictures, each with its own seed
denoise = guide(predict, scale=7.5)                          # predict(latents, timestep) -> noise prediction
for step in sample(denoise, noise, steps=50):
    print(f"{step.index} of {step.total}")                   # step.denoised is the preview
latents = step.latents
"""

from .brownian import brownian_path
from .conventions import CONVENTIONS, Conventions
from .guidance import Combine, classifier_free, guide, projected, rescaled, within
from .masks import held, masked
from .noise import SOURCES, Draw, seeded_noise
from .prediction import DIFFUSERS_WORDS, PREDICTIONS, Estimate, Prediction, read_prediction
from .samplers import (
    SAMPLERS,
    SCHEDULE_TYPES,
    Denoise,
    Elsewhere,
    Method,
    Model,
    Sampler,
    find_sampler,
    find_spacing,
)
from .sampling import Step, sample
from .schedule import CLEAN, NoiseSchedule, Timestep
from .spacing import SPACINGS, timesteps

__all__ = [
    "CLEAN",
    "CONVENTIONS",
    "DIFFUSERS_WORDS",
    "PREDICTIONS",
    "SAMPLERS",
    "SCHEDULE_TYPES",
    "SOURCES",
    "SPACINGS",
    "Combine",
    "Conventions",
    "Denoise",
    "Draw",
    "Elsewhere",
    "Estimate",
    "Method",
    "Model",
    "NoiseSchedule",
    "Prediction",
    "Sampler",
    "Step",
    "Timestep",
    "brownian_path",
    "classifier_free",
    "find_sampler",
    "find_spacing",
    "guide",
    "held",
    "masked",
    "projected",
    "read_prediction",
    "rescaled",
    "sample",
    "seeded_noise",
    "timesteps",
    "within",
]
