"""What lies in a run's folder, how a stage stops and goes on, and what it tells meanwhile."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

SAVE_EVERY = 120.0  # seconds
TELL_EVERY = 30.0


def write(path: Path, content: object) -> None:
    """Save what `torch.load(weights_only=True)` reads; the file is old or new, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    torch.save(content, partial)
    partial.replace(path)


def read(path: Path) -> dict:
    """What `write` saved."""
    return torch.load(path, weights_only=True)


def tell(line: str) -> None:
    """Print a line with the time of day."""
    print(time.strftime("%H:%M:%S"), line, flush=True)


@dataclass
class Progress:
    """How far a stage is: it has a budget of processor seconds a worker, however often it is stopped.

    Processor time, so that a busy machine makes training take longer but not end worse. What is drawn at
    random depends on the step alone, and the learning rate on the share of the budget that is spent; so a
    stage that was stopped goes on as if it had not been.
    """

    budget: float
    step: int = 0
    spent: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    _last: float = field(default_factory=time.process_time)
    _saved: float = field(default_factory=time.monotonic)
    _told: float = 0.0

    @property
    def share(self) -> float:
        """How much of the budget is spent, from 0 to 1."""
        return min(1.0, self.spent / self.budget)

    def advance(self) -> None:
        """Count a step and the time since the last."""
        now = time.process_time()
        self.step += 1
        self.spent += now - self._last
        self._last = now

    def rate(self, peak: float, warm_up: int = 100, decay_from: float = 0.6) -> float:
        """The learning rate: linear up, constant, and linear down to a hundredth over the rest."""
        late = max(0.0, (self.share - decay_from) / (1 - decay_from))
        return peak * min(1.0, (self.step + 1) / warm_up) * (1 - 0.99 * late)

    def note(self, **values: float) -> None:
        """Remember values for the curves, and print them every half minute."""
        if time.monotonic() - self._told < TELL_EVERY:
            return
        self._told = time.monotonic()
        self.curve.append({"step": self.step, **values})
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        tell(f"step {self.step}  {self.share:.1%} of {self.budget / 60:.0f} min  {shown}")

    def save_is_due(self) -> bool:
        """Whether it is time to save; asking counts as saving."""
        due = time.monotonic() - self._saved > SAVE_EVERY
        if due:
            self._saved = time.monotonic()
        return due

    def state(self) -> dict:
        """What a later run needs to go on."""
        return {"step": self.step, "spent": self.spent, "curve": self.curve}

    def restore(self, state: dict) -> None:
        """Go on from a saved state."""
        self.step, self.spent, self.curve = state["step"], state["spent"], state["curve"]


class Average:
    """The exponential moving average of a network's parameters, which draws better than the last of them."""

    def __init__(self, network: nn.Module, decay: float = 0.999):
        """Start from the network's present parameters."""
        self.network, self.decay = network, decay
        self.weights = {name: p.detach().clone() for name, p in network.named_parameters()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the present parameters; faster in the beginning."""
        keep = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.weights.values()), list(self.network.parameters()), 1 - keep)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take saved weights over."""
        self.weights = {name: weights[name].clone() for name in self.weights}
