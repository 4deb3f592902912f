"""From noise to a sample of what a diffusion model has learned; it knows nothing of the model but a function.

from inkpunk_sampling import guide, sample, seeded_noise

noise = seeded_noise(seeds=[7, 8], shape=(4, 64, 64))        # two pictures, each with its own seed
denoise = guide(predict, scale=7.5)                          # predict(latents, timestep) -> noise prediction
for step in sample(denoise, noise, steps=50):
    print(f"{step.index} of {step.total}")                   # step.denoised is the preview
latents = step.latents
"""

from .guidance import Combine, classifier_free, guide, projected, rescaled, within
from .noise import seeded_noise
from .samplers import SAMPLERS, Denoise, Draw, Method, Sampler, find_sampler
from .sampling import Step, sample
from .schedule import CLEAN, NoiseSchedule
from .spacing import SPACINGS, timesteps

__all__ = [
    "CLEAN",
    "SAMPLERS",
    "SPACINGS",
    "Combine",
    "Denoise",
    "Draw",
    "Method",
    "NoiseSchedule",
    "Sampler",
    "Step",
    "classifier_free",
    "find_sampler",
    "guide",
    "projected",
    "rescaled",
    "sample",
    "seeded_noise",
    "timesteps",
    "within",
]
