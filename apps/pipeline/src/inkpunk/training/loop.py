"""The training loop: a generator that yields its state after every step, and can go on from a saved one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Any, cast

import numpy as np
import torch
from inkpunk_clip import TextEncoder
from inkpunk_unet import UNet
from inkpunk_weights import LowRank
from jaxtyping import Float
from torch import Tensor

from inkpunk.training.lessons import Lesson, draw_batch
from inkpunk.training.loss import Latents, Objective
from inkpunk.training.low_rank import LowRankLayers

LONGEST = 1.0  # of the gradient, in all
WARM_UP = 0.05  # the share of the steps in which the rate rises
TEXT_RATE = 0.5  # of the rate: a text encoder forgets faster than a UNet
SMOOTHING = 0.98  # of the loss that is shown: one step's tells little, since timesteps differ by far
STATE = ("exp_avg", "exp_avg_sq", "step")  # what Adam keeps of each parameter


@dataclass(frozen=True)
class Settings:
    """How a LoRA is trained.

    Attributes:
        rank: of its matrices.
        alpha: its scale is alpha / rank.
        convolutions: whether convolutions learn, too.
        text_encoder: whether the text encoder learns, too.
        steps: of the optimiser, in all.
        batch: pictures a step.
        rate: the learning rate at its highest.
        prior_weight: how much a picture of the prior counts beside one that is learned.
        gamma: of min-SNR weighting; None for none.
        seed: decides all that is left to chance.
    """

    rank: int = 8
    alpha: float = 8.0
    convolutions: bool = False
    text_encoder: bool = True
    steps: int = 400
    batch: int = 4
    rate: float = 2e-4
    prior_weight: float = 1.0
    gamma: float | None = 5.0
    seed: int = 0


@dataclass(frozen=True)
class TrainingStep:
    """The state after a step: `index` of `total` are done.

    Attributes:
        loss: of this step, without the prior's.
        smoothed: the mean of the last steps', in which recent ones count more.
    """

    index: int
    total: int
    loss: float
    smoothed: float


class Training:
    """Layers of low rank that learn, beside the networks of a model."""

    def __init__(
        self,
        text_encoder: TextEncoder,
        unet: UNet,
        objective: Objective,
        lessons: Sequence[Lesson],
        prior: Sequence[Lesson],
        settings: Settings,
    ) -> None:
        """Lay them beside the networks, with nothing learned yet.

        Args:
            text_encoder, unet: plain networks; their own weights stay as they are.
            objective: what is made small.
            lessons: what is learned.
            prior: what shall stay as it is: pictures of the kind that the model draws already; may be empty.
            settings: how.
        """
        self.settings = settings
        self.step, self.smoothed = 0, 0.0
        self._objective, self._lessons, self._prior = objective, lessons, prior
        self._text_encoder, self._unet = text_encoder, unet
        generator = torch.Generator().manual_seed(settings.seed)

        def beside(network: TextEncoder | UNet, convolutions: bool) -> LowRankLayers:
            return LowRankLayers(
                network,
                rank=settings.rank,
                alpha=settings.alpha,
                convolutions=convolutions,
                generator=generator,
            )

        self._layers = {"unet": beside(unet, settings.convolutions)}
        if settings.text_encoder:
            self._layers["text_encoder"] = beside(text_encoder, convolutions=False)
        device = next(unet.parameters()).device
        groups = [
            {"params": [*layers.parameters()], "share": TEXT_RATE if name == "text_encoder" else 1.0}
            for name, layers in self._layers.items()
        ]
        self._optimiser = torch.optim.AdamW(groups, settings.rate, fused=device.type in ("cpu", "cuda"))
        self._encoded = {} if settings.text_encoder else self._encode_once()

    def steps(self) -> Iterator[TrainingStep]:
        """Train to the end, from wherever it stands; whoever stops iterating stops between two steps."""
        while self.step < self.settings.steps:
            loss = self._learn()
            self.smoothed = loss if not self.step else SMOOTHING * self.smoothed + (1 - SMOOTHING) * loss
            self.step += 1
            yield TrainingStep(self.step, self.settings.steps, loss, self.smoothed)

    @property
    def learned(self) -> int:
        """How many numbers are learned."""
        return sum(each.numel() for layers in self._layers.values() for each in layers.parameters())

    def changes(self) -> Mapping[str, Mapping[str, LowRank]]:
        """What has been learned, by the networks' names, as `inkpunk_weights.save_lora` takes it."""
        return {name: layers.changes() for name, layers in self._layers.items()}

    def remove(self) -> None:
        """Take the layers off the networks, which are then what they were."""
        for layers in self._layers.values():
            layers.remove()

    def state_dict(self) -> dict[str, Tensor]:
        """All that going on takes, but for the number of steps and the smoothed loss."""
        state = {
            f"{network}/{name}": tensor
            for network, layers in self._layers.items()
            for name, tensor in layers.state_dict().items()
        }
        for index, kept in self._optimiser.state_dict()["state"].items():
            state |= {f"optimiser/{index}/{part}": kept[part] for part in STATE}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor], step: int, smoothed: float) -> None:
        """Go on from what `state_dict` gave after `step` steps.

        Raises:
            KeyError, RuntimeError: if it is the state of another training.
        """
        for network, layers in self._layers.items():
            start = f"{network}/"
            layers.load_state_dict(
                {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}
            )
        optimiser = self._optimiser.state_dict()
        count = sum(len(group["params"]) for group in optimiser["param_groups"])
        if step:
            optimiser["state"] = {
                index: {part: state[f"optimiser/{index}/{part}"] for part in STATE} for index in range(count)
            }
        self._optimiser.load_state_dict(optimiser)
        self.step, self.smoothed = step, smoothed

    def _learn(self) -> float:
        # of its own for every step, so that nothing has to be remembered to go on
        random = np.random.default_rng([self.settings.seed, self.step])
        self._set_rate()
        self._optimiser.zero_grad()
        loss = self._loss(self._lessons, 0, random)
        _backward(loss)  # at once, so that the prior's activations need no memory beside these
        if self._prior:
            _backward(self.settings.prior_weight * self._loss(self._prior, len(self._lessons), random))
        parameters = [each for layers in self._layers.values() for each in layers.parameters()]
        torch.nn.utils.clip_grad_norm_(parameters, LONGEST)
        cast(Any, self._optimiser).step()
        return loss.item()

    def _loss(self, lessons: Sequence[Lesson], first: int, random: np.random.Generator) -> Float[Tensor, ""]:
        batch = draw_batch(lessons, self.settings.batch, self._objective.timesteps, random)
        weight = next(self._unet.parameters())
        if self._encoded:
            context = torch.stack([self._encoded[first + index] for index in batch.lessons])
        else:
            tokens = torch.stack([lessons[index].tokens for index in batch.lessons])
            context = self._text_encoder(tokens.to(weight.device))

        def predict(noisy: Latents, timesteps: Tensor) -> Latents:
            return self._unet(noisy.to(weight.dtype), timesteps, context)

        device = weight.device
        return self._objective(predict, batch.clean.to(device), batch.noise.to(device), batch.timesteps)

    def _encode_once(self) -> dict[int, Float[Tensor, "positions width"]]:
        device = next(self._text_encoder.parameters()).device
        with torch.no_grad():
            return {
                index: self._text_encoder(lesson.tokens[None].to(device))[0]
                for index, lesson in enumerate([*self._lessons, *self._prior])
            }

    def _set_rate(self) -> None:
        """Up in a line, then down along a cosine."""
        done = (self.step + 0.5) / self.settings.steps
        fallen = (1 + cos(pi * (done - WARM_UP) / (1 - WARM_UP))) / 2
        share = done / WARM_UP if done < WARM_UP else fallen
        for group in self._optimiser.param_groups:
            group["lr"] = self.settings.rate * share * group["share"]


def _backward(loss: Float[Tensor, ""]) -> None:
    cast(Any, loss).backward()  # whose stub is not whole
