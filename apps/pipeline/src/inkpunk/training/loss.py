"""What training makes small: how far the network's prediction is from what it should have predicted."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from inkpunk_sampling import NoiseSchedule
from jaxtyping import Float, Int
from torch import Tensor

Latents: TypeAlias = Float[Tensor, "batch 4 height width"]
Levels: TypeAlias = Float[Tensor, "batch 1 1 1"]

TARGETS: Mapping[str, Callable[[Latents, Latents, Levels, Levels], Latents]] = {
    "epsilon": lambda clean, noise, signal, level: noise,
    "v": lambda clean, noise, signal, level: signal * noise - level * clean,
    "sample": lambda clean, noise, signal, level: clean,
}
"""What a network of each of `inkpunk_sampling.PREDICTIONS` shall predict, of clean latents, noise, and how much of
each is in what it sees."""


def min_snr_weights(
    schedule: NoiseSchedule, prediction: str, gamma: float | None
) -> Float[Tensor, " timesteps"]:
    """How much the error at each timestep counts: min-SNR-gamma (Hang et al., arXiv 2303.09556, section 3.4).

    Timesteps of little noise, where there is nothing left to learn but what the picture's grain is, count less.

    Args:
        schedule: the model's.
        prediction: what it predicts, which decides what an error at one timestep means beside that at another.
        gamma: of 5 in the paper; None for all alike.
    """
    if gamma is None:
        return torch.ones(schedule.steps)
    ratios = [bar / (1 - bar) for bar in schedule.alphas_cumprod]  # of signal to noise
    weights = {
        # where there is no signal at all, the limit of it
        "epsilon": [min(ratio, gamma) / ratio if ratio else 1.0 for ratio in ratios],
        "v": [min(ratio, gamma) / (ratio + 1) for ratio in ratios],
        "sample": [min(ratio, gamma) for ratio in ratios],
    }
    return torch.tensor(weights[prediction])


class Objective:
    """The training objective of a model (Ho et al., arXiv 2006.11239, eq. 14), in what the model predicts."""

    def __init__(self, schedule: NoiseSchedule, prediction: str, gamma: float | None) -> None:
        self.timesteps = schedule.steps
        self._target = TARGETS[prediction]
        bars = schedule.alphas_cumprod
        self._signals = torch.tensor([bar**0.5 for bar in bars])
        self._levels = torch.tensor([(1 - bar) ** 0.5 for bar in bars])
        self._weights = min_snr_weights(schedule, prediction, gamma)

    def __call__(
        self,
        predict: Callable[[Latents, Int[Tensor, " batch"]], Latents],
        clean: Latents,
        noise: Latents,
        timesteps: Int[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """The mean of the weighted squared errors, in float32.

        Args:
            predict: the network, of noisy latents and timesteps; it may compute in any dtype.
            clean: latents of pictures, in float32.
            noise: standard normal.
            timesteps: how noisy each shall be, on the CPU.
        """
        signals, levels, weights = (
            each[timesteps].view(-1, 1, 1, 1).to(clean.device)
            for each in (self._signals, self._levels, self._weights)
        )
        predicted = predict(signals * clean + levels * noise, timesteps.to(clean.device)).float()
        target = self._target(clean, noise, signals, levels)
        return (weights * (predicted - target).square()).mean()
