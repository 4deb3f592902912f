"""LoRA (Hu et al., arXiv 2106.09685) as it is trained: beside a layer, two small matrices whose product is added.

They act by torch's hooks, from outside: the network stays as it is, and `remove` leaves nothing of them.
"""

import math
from collections.abc import Callable, Iterator
from typing import cast

import torch
import torch.nn.functional as F
from inkpunk_weights import LowRank
from jaxtyping import Float
from torch import Tensor, nn

ENDS = ("conv_in", "conv_out")  # of the network, which adapters leave alone


class LowRankLayer(nn.Module):
    """What is added beside one linear layer or convolution: nothing at first, since `up` begins as zeros."""

    def __init__(
        self, layer: nn.Linear | nn.Conv2d, rank: int, alpha: float, generator: torch.Generator
    ) -> None:
        """Begin beside a layer, `down` as a new layer of that shape would begin."""
        super().__init__()
        outs, *ins = layer.weight.shape
        bound = 1 / math.sqrt(math.prod(ins))
        down = torch.empty(rank, *ins).uniform_(-bound, bound, generator=generator)
        self.down = nn.Parameter(down.to(layer.weight.device))
        self.up = nn.Parameter(torch.zeros(outs, rank, *[1] * (len(ins) - 1), device=layer.weight.device))
        self.alpha = alpha
        self._stride, self._padding = (
            (layer.stride, layer.padding) if isinstance(layer, nn.Conv2d) else (1, 0)
        )

    def forward(self, input: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """What the layer's output gets added to it."""
        down, up = self.down.to(input.dtype), self.up.to(input.dtype)
        if down.ndim == 2:
            added = F.linear(F.linear(input, down), up)
        else:
            added = F.conv2d(F.conv2d(input, down, stride=self._stride, padding=self._padding), up)
        return added * (self.alpha / self.down.shape[0])


class LowRankLayers:
    """The layers beside a network's own, as one.

    Attributes:
        layers: by the names of the network's layers beside which they are.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        rank: int,
        alpha: float | None = None,
        convolutions: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        """Lay them beside a network's layers.

        Args:
            network: its own weights are not trained.
            rank: of the matrices.
            alpha: the scale, alpha / rank; by default the rank, which is a scale of 1.
            convolutions: beside convolutions, too, and not only beside the linear layers and the convolutions of one
                pixel in the transformers.
            generator: draws how they begin; by default torch's own.
        """
        network.requires_grad_(False)
        generator = generator or torch.default_generator
        self.layers = {
            name: LowRankLayer(layer, rank, float(rank if alpha is None else alpha), generator)
            for name, layer in _taught(network, convolutions)
        }
        hooks = {name: network.get_submodule(name) for name in self.layers}
        self._hooks = [
            layer.register_forward_hook(_adding(self.layers[name])) for name, layer in hooks.items()
        ]

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained."""
        for layer in self.layers.values():
            yield from layer.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """All matrices, by their layers' names."""
        return {
            f"{name}/{part}": tensor
            for name, layer in self.layers.items()
            for part, tensor in layer.state_dict().items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take what `state_dict` gave."""
        for name, layer in self.layers.items():
            layer.load_state_dict({part: state[f"{name}/{part}"] for part in ("down", "up")})

    def changes(self) -> dict[str, LowRank]:
        """What has been learned, as `inkpunk_weights.save_lora` takes it."""
        return {
            name: LowRank(layer.down.detach(), layer.up.detach(), layer.alpha)
            for name, layer in self.layers.items()
        }

    def remove(self) -> None:
        """Take them off the network."""
        for hook in self._hooks:
            hook.remove()


def _taught(network: nn.Module, convolutions: bool) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    """Layers to learn beside: those of the transformers, as kohya's scripts choose them, or all that project."""
    modules = cast("Iterator[tuple[str, nn.Module]]", network.named_modules())
    for name, layer in modules:
        in_transformer = "attention" in name or "feed_forward" in name
        in_block = convolutions and (isinstance(layer, nn.Conv2d) or name.endswith(".time"))
        if isinstance(layer, nn.Linear | nn.Conv2d) and (in_transformer or in_block) and name not in ENDS:
            yield name, layer


def _adding(beside: LowRankLayer) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + cast(Tensor, beside(inputs[0]))

    return hook
