"""What an adapter does to one weight: the family's formulas, each a difference that is added to it.

LoRA (Hu et al., arXiv 2106.09685) adds up @ down, a matrix of low rank. LoCon does so to convolutions, if need be by
three factors. LoHa multiplies two such matrices by element (Hyeon-Woo et al., arXiv 2108.06098), LoKr takes a
Kronecker product (Yeh et al., arXiv 2309.14859), and "full" has the difference itself. DoRA (Liu et al., arXiv
2402.09353) then scales the changed weight to lengths that it has learned.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from inkpunk_weights.errors import CheckpointError, shown, shown_path
from inkpunk_weights.lazy import LazyTensors

LORA, LOHA, LOKR, FULL = "LoRA", "LoHa", "LoKr", "full"
MAGNITUDE = "magnitude"

Shape = tuple[int, ...]
Weight = Float[Tensor, "outs *ins"]


@dataclass(frozen=True, eq=False)
class Change:
    """What an adapter does to one weight.

    Attributes:
        kind: "LoRA", "LoHa", "LoKr" or "full".
        parts: its tensors by their parts in the formula, read when they are asked for.
        scale: what the difference is multiplied by: alpha / rank where the kind has a rank.
        rank: of the matrices; None where there is none.
        file: what it is from, and
        layer: the layer's name in it.
    """

    kind: str
    parts: LazyTensors
    scale: float
    rank: int | None
    file: Path
    layer: str

    @property
    def where(self) -> str:
        """File and layer, for messages."""
        return f"{shown_path(self.file)}: {shown(self.layer)}"

    @property
    def decomposed(self) -> bool:
        """Whether it is a DoRA."""
        return MAGNITUDE in self.parts

    @property
    def is_one_product(self) -> bool:
        """Whether all that it adds is a product of two matrices."""
        return self.kind == LORA and not self.decomposed and "mid" not in self.parts

    def fits(self, shape: Shape) -> bool:
        """Whether a weight of this shape can be changed by it; reads nothing."""
        shapes = {name: self.parts.spec(name).shape for name in self.parts}
        lengths = shapes.pop(MAGNITUDE, None)
        if lengths is not None and _axis_of(lengths, shape) is None:
            return False
        return FITS[self.kind](shapes, shape)

    def difference(self, weight: Weight) -> Weight:
        """What is to be added to `weight`, in float32, for the whole of the change.

        Args:
            weight: the weight as the checkpoint has it, of any floating dtype.

        Raises:
            CheckpointError: where this is no change of such a weight, or not finite.
        """
        parts = self.read(weight, self.scale)
        lengths = parts.pop(MAGNITUDE, None)
        difference = FORMULAS[self.kind](parts).reshape(weight.shape)
        if lengths is not None:
            whole = weight.float()
            difference = _rescaled(whole + difference, lengths).sub_(whole)
        if not _is_finite(difference):
            raise CheckpointError(f"{self.where}: holds NaN or infinity; get another copy of it")
        return difference

    def read(self, weight: Weight, scale: float) -> dict[str, Tensor]:
        """The parts of the formula in float32, where the weight is; one of them is multiplied by the scale.

        Raises:
            CheckpointError: where this is no change of such a weight.
        """
        shape = tuple(weight.shape)
        if not self.fits(shape):
            held = ", ".join(f"{name} {list(self.parts.spec(name).shape)}" for name in self.parts)
            raise CheckpointError(f"{self.where}: {held} cannot change a weight of {list(shape)}")
        parts = {name: self.parts[name].to(weight.device, torch.float32) for name in self.parts}
        for name in parts.keys() & SCALED[self.kind]:  # a factor is smaller than the product
            parts[name] = parts[name] * scale
        return parts


def merged(weight: Weight, changes: Sequence[tuple[Change, float]]) -> Weight:
    """A weight with changes, in float32, in new memory; LoRAs are added in one pass, however many.

    Each is reckoned from the weight alone, so that but for rounding their order does not matter.

    Args:
        weight: the weight as the checkpoint has it, of any floating dtype.
        changes: and how much of each.

    Raises:
        CheckpointError: as `Change.difference` does.
    """
    products = [(change, strength) for change, strength in changes if change.is_one_product]
    if products:
        parts = [change.read(weight, change.scale * strength) for change, strength in products]
        up = torch.cat([each["up"].flatten(1) for each in parts], 1)
        down = torch.cat([each["down"].flatten(1) for each in parts])
        if not _product_is_finite(up, down):
            for change, _ in products:
                change.difference(weight)  # refuses, if that is so
        result = torch.addmm(weight.float().flatten(1), up, down).view(weight.shape)
    else:
        result = weight.to(torch.float32, copy=True)
    for change, strength in changes:
        if not change.is_one_product:
            result.add_(change.difference(weight), alpha=strength)
    return result


def _product_is_finite(up: Float[Tensor, "outs rank"], down: Float[Tensor, "rank ins"]) -> bool:
    """Whether no number of the product can leave float32, by its factors: they are much smaller than it is."""
    return len(down) * _largest(up) * _largest(down) <= torch.finfo(torch.float32).max  # NaN is not


def _is_finite(tensor: Tensor) -> bool:
    return math.isfinite(_largest(tensor))


def _largest(tensor: Tensor) -> float:
    """The largest magnitude, NaN if one of the numbers is: in one pass, without a copy."""
    if not tensor.numel():
        return 0.0
    low, high = torch.aminmax(tensor)
    return max(-float(low), float(high))


def _rescaled(weight: Weight, lengths: Tensor) -> Weight:
    """The weight with each vector of one of its axes at its learned length."""
    axis = _axis_of(tuple(lengths.shape), tuple(weight.shape))
    others = [each for each in range(weight.ndim) if each != axis]
    norms = weight.square().sum(others, keepdim=True).sqrt()
    return weight * (lengths.reshape(norms.shape) / norms.clamp(min=torch.finfo(torch.float32).eps))


def _axis_of(lengths: Shape, weight: Shape) -> int | None:
    """The axis of a weight that has these lengths: outputs, or inputs as LyCORIS first did it; None for neither."""
    if len(weight) < 2:
        return None
    count = math.prod(lengths)
    if lengths[0] == count == weight[0]:  # a column or, as PEFT has it, a plain vector
        return 0
    return 1 if lengths[:2] == (1, count) and count == weight[1] else None


# Formulas: the parts, in float32, to the difference, of as many numbers in the same order as the weight has.


def _low_rank(parts: Mapping[str, Tensor]) -> Tensor:
    up, down = parts["up"].flatten(1), parts["down"].flatten(1)
    if "mid" in parts:  # a small core between: (rank, rank, height, width)
        return _core(parts["mid"], up.T, down)
    return up @ down


def _hadamard(parts: Mapping[str, Tensor]) -> Tensor:
    factors = [
        _core(parts[f"t{i}"], parts[f"w{i}_a"], parts[f"w{i}_b"])
        if f"t{i}" in parts
        else parts[f"w{i}_a"] @ parts[f"w{i}_b"]
        for i in (1, 2)
    ]
    return factors[0] * factors[1]


def _kronecker(parts: Mapping[str, Tensor]) -> Tensor:
    small = parts["w1"] if "w1" in parts else parts["w1_a"] @ parts["w1_b"]
    if "w2" in parts:
        large = parts["w2"]
    elif "t2" in parts:
        large = _core(parts["t2"], parts["w2_a"], parts["w2_b"])
    else:
        large = parts["w2_a"] @ parts["w2_b"].flatten(1)
    # torch's kron takes views of what it is given, which some orders of memory do not allow
    return torch.kron(small.contiguous(), large.flatten(1).contiguous())


def _full(parts: Mapping[str, Tensor]) -> Tensor:
    return parts["difference"]


def _core(core: Tensor, outs: Tensor, ins: Tensor) -> Tensor:
    """Tucker's decomposition: [rank, rank, height, width], [rank, outs] and [rank, ins] to the kernel's shape."""
    return torch.einsum("ijkl,ip,jr->prkl", core, outs, ins)


FORMULAS: Mapping[str, Callable[[Mapping[str, Tensor]], Tensor]] = {
    LORA: _low_rank,
    LOHA: _hadamard,
    LOKR: _kronecker,
    FULL: _full,
}

# The factors in which each formula is linear, of which a file has one.
SCALED: Mapping[str, frozenset[str]] = {
    LORA: frozenset({"up"}),
    LOHA: frozenset({"w1_a"}),
    LOKR: frozenset({"w1", "w1_a"}),
    FULL: frozenset({"difference"}),
}

# Whether the parts' shapes multiply to the weight's.


def _low_rank_fits(shapes: Mapping[str, Shape], weight: Shape) -> bool:
    up, down, mid = shapes["up"], shapes["down"], shapes.get("mid")
    if len(up) < 2 or len(down) < 2 or len(weight) < 2 or up[0] != weight[0]:
        return False
    if math.prod(up[2:]) != 1 or up[1] != (mid or down)[0]:
        return False
    if mid is None:
        return math.prod(down[1:]) == math.prod(weight[1:]) and down[1] == weight[1]
    return (
        mid[1:2] == down[:1]
        and down[1:2] == weight[1:2]
        and _is_core(mid, weight)
        and math.prod(down[2:]) == 1
    )


def _hadamard_fits(shapes: Mapping[str, Shape], weight: Shape) -> bool:
    return all(
        _product_fits(shapes[f"w{i}_a"], shapes[f"w{i}_b"], shapes.get(f"t{i}"), weight) for i in (1, 2)
    )


def _product_fits(a: Shape, b: Shape, core: Shape | None, weight: Shape) -> bool:
    if len(a) != 2 or len(b) != 2 or len(weight) < 2:
        return False
    if core is None:
        return a[1] == b[0] and a[0] == weight[0] and b[1] == math.prod(weight[1:])
    return (*core[:2], a[1], b[1]) == (a[0], b[0], *weight[:2]) and _is_core(core, weight)


def _is_core(core: Shape, weight: Shape) -> bool:
    return len(core) == 4 and math.prod(core[2:]) == math.prod(weight[2:])


def _kronecker_fits(shapes: Mapping[str, Shape], weight: Shape) -> bool:
    if "w1" in shapes:
        small = shapes["w1"]
    elif _multiply(shapes["w1_a"], shapes["w1_b"]) and len(shapes["w1_b"]) == 2:
        small = (shapes["w1_a"][0], shapes["w1_b"][1])
    else:
        return False
    if len(small) != 2 or len(weight) < 2 or 0 in small or weight[0] % small[0] or weight[1] % small[1]:
        return False
    block = (weight[0] // small[0], weight[1] // small[1], *weight[2:])
    if "w2" in shapes:
        return shapes["w2"] == block
    if "t2" in shapes:
        return _product_fits(shapes["w2_a"], shapes["w2_b"], shapes["t2"], block)
    a, b = shapes["w2_a"], shapes["w2_b"]
    # a convolution's second factor may have its kernel in axes of their own, or flat
    return _multiply(a, b) and a[0] == block[0] and math.prod(b[1:]) == math.prod(block[1:])


def _multiply(a: Shape, b: Shape) -> bool:
    return len(a) == 2 and len(b) >= 2 and a[1] == b[0]


def _full_fits(shapes: Mapping[str, Shape], weight: Shape) -> bool:
    return shapes["difference"] == weight


FITS: Mapping[str, Callable[[Mapping[str, Shape], Shape], bool]] = {
    LORA: _low_rank_fits,
    LOHA: _hadamard_fits,
    LOKR: _kronecker_fits,
    FULL: _full_fits,
}
