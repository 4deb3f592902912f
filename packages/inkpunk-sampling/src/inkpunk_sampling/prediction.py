"""What a model was trained to predict, and what follows from it: the clean latents and the noise in x_t."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from jaxtyping import Float
from torch import Tensor

Latents: TypeAlias = Float[Tensor, "batch ..."]


class Estimate(NamedTuple):
    """What a prediction says of x_t = signal x_0 + noise eps.

    Attributes:
        clean: x_0.
        noise: eps, of unit variance.
    """

    clean: Latents
    noise: Latents


@dataclass(frozen=True)
class Prediction:
    """A kind of model output, as functions of (tensor, x_t, signal, noise).

    Attributes:
        read: the model's output to what it says of x_t. Not finite where it says nothing: epsilon of x_0 at signal
            0, the sample of eps at noise 0.
        write: the other way, an estimate of x_0 to the output that says it; at noise 0 only the sample can.
    """

    read: Callable[[Latents, Latents, float, float], Estimate]
    write: Callable[[Latents, Latents, float, float], Latents]


def _read_epsilon(output: Latents, x: Latents, signal: float, noise: float) -> Estimate:
    return Estimate((x - noise * output) / signal, output)


def _write_epsilon(clean: Latents, x: Latents, signal: float, noise: float) -> Latents:
    return (x - signal * clean) / noise


def _read_v(output: Latents, x: Latents, signal: float, noise: float) -> Estimate:
    return Estimate(signal * x - noise * output, signal * output + noise * x)


def _write_v(clean: Latents, x: Latents, signal: float, noise: float) -> Latents:
    return (signal * x - clean) / noise


def _read_sample(output: Latents, x: Latents, signal: float, noise: float) -> Estimate:
    return Estimate(output, (x - signal * output) / noise)


def _write_sample(clean: Latents, x: Latents, signal: float, noise: float) -> Latents:
    return clean


PREDICTIONS: Mapping[str, Prediction] = {
    "epsilon": Prediction(_read_epsilon, _write_epsilon),
    "v": Prediction(_read_v, _write_v),
    "sample": Prediction(_read_sample, _write_sample),
}
"""The noise eps (Ho et al. 2020, arXiv 2006.11239, eq. 15); v = signal eps - noise x_0 (Salimans and Ho 2022, arXiv
2202.00512, appendix D); x_0 itself."""

DIFFUSERS_WORDS = {"epsilon": "epsilon", "v": "v_prediction", "sample": "sample"}
"""What diffusers calls them."""


def read_prediction(config: Mapping[str, object]) -> str:
    """Read what a model predicts from a parsed diffusers `scheduler_config.json`: a name in `PREDICTIONS`.

    Raises:
        ValueError: if it names a kind that there is not.
    """
    told = config.get("prediction_type", "epsilon")
    for ours, theirs in DIFFUSERS_WORDS.items():
        if told == theirs:
            return ours
    known = ", ".join(DIFFUSERS_WORDS.values())
    raise ValueError(
        f"scheduler config: prediction_type = {told!r:.80} is not supported: choose from {known}"
    )
