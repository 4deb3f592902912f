"""Muon: momentum made orthogonal, so that directions of small gradient, such as colour beside shape, learn too.

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; scaled to the size of Adam's steps as in
Liu et al. 2025, arXiv 2502.16982.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .workers import average, place

MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
ENDS = ("conv_in", "conv_out", "quant_conv")
SIZE = 0.2  # the root mean square of a step, in learning rates: about that of Adam's


def orthogonal(matrices: Tensor) -> Tensor:
    """About the nearest orthogonal matrix to each of a batch: all singular values near one.

    Every iterate is a polynomial of the first one's Gram matrix times the first, so all but two of the products
    are of that small square matrix.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    gram = x @ x.mT
    identity = torch.eye(gram.shape[-1])
    product = identity
    for _ in range(ITERATIONS):
        factor = a * identity + b * gram + c * gram @ gram
        product = factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """For the weights of hidden layers; give the others to Adam."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float):
        """Weights of two dimensions or more; all but the first are taken as one."""
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Change the weights by their gradients; the workers share the arithmetic."""
        for group in self.param_groups:
            changes = []
            for parameter in group["params"]:
                gradient = parameter.grad
                momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(gradient))
                momentum.lerp_(gradient, 1 - MOMENTUM)
                changes.append(gradient.lerp(momentum, MOMENTUM).flatten(1))
            rank, count = place()
            for index, ahead in enumerate(changes):
                if index % count == rank:
                    ahead.copy_(orthogonal(ahead) * (count * SIZE * max(ahead.shape) ** 0.5))
                else:
                    ahead.zero_()
            average(changes)
            for parameter, change in zip(group["params"], changes, strict=True):
                parameter.add_(change.view_as(parameter), alpha=-group["lr"])


class Both:
    """Muon for hidden weights and Adam for the rest, as one optimiser."""

    def __init__(self, network: nn.Module, lr: float):
        """Weights at the network's ends, and all vectors, are Adam's."""
        hidden, rest = [], []
        for name, parameter in network.named_parameters():
            end = any(part in name for part in ENDS)
            (rest if parameter.ndim < 2 or end else hidden).append(parameter)
        self.parts = (Muon(hidden, lr), torch.optim.Adam(rest, lr, betas=(0.9, 0.99), fused=True))

    def step(self, lr: float) -> None:
        """Change all weights, at this learning rate."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad()

    def state_dict(self) -> list[dict]:
        """What a later run needs to go on."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict]) -> None:
        """Go on from a saved state."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
