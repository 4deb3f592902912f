"""Winograd's minimal filtering: a tile of a 3x3 convolution in fewer multiplications than it has products.

Lavin and Gray 2015, arXiv 1509.09308: a tile of output is `A (U * V) A^T`, with the kernel's transform
`U = G kernel G^T`, the input's `V = B d B^T`, and `*` element by element. The matrices are Toom and Cook's: they
evaluate polynomials at points and interpolate. Here the points are 0, infinity, and pairs of p and -p, whose rows
differ only in the sign of their odd half, so that half the sums of a transform are shared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import prod

import torch
from torch import Tensor

KERNEL = 3


@dataclass(frozen=True)
class Filtering:
    """F(tile x tile, 3 x 3): from `window` x `window` inputs to `tile` x `tile` outputs.

    Attributes:
        pairs: the points p that stand for both p and -p, beside 0 and infinity.
    """

    pairs: tuple[float, ...]

    @property
    def tile(self) -> int:
        """The side of a tile of output: 2, 4, ..."""
        return 2 * len(self.pairs)

    @property
    def window(self) -> int:
        """The side of the tile of input that it depends on."""
        return self.tile + KERNEL - 1

    @property
    def points(self) -> tuple[float, ...]:
        """All finite points, in the order of the transforms' rows; infinity comes last."""
        return (0.0, *(sign * p for p in self.pairs for sign in (1, -1)))

    def kernel_matrix(self) -> Tensor:
        """G, in float64: [window, 3]."""
        rows = [
            [p**power / prod(p - other for other in self.points if other != p) for power in range(KERNEL)]
            for p in self.points
        ]
        return torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)

    def transform_kernels(self, kernels: Tensor) -> Tensor:
        """Kernels [out, channels, 3, 3], as G kernel G^T: [window * window, out, channels]."""
        out, channels = kernels.shape[:2]
        flat = kernels.reshape(out * channels, KERNEL * KERNEL)
        return (_kronecker(self, kernels.dtype) @ flat.T).view(-1, out, channels)

    def transform_input(self, inputs: Sequence[Tensor], out: Sequence[Tensor], scratch: Tensor) -> None:
        """Along one axis: `window` inputs of any one shape to as many outputs, with room to work in."""
        *even, _ = _coefficients(self.pairs)
        _weighted(inputs[0::2], even, out[0])
        _weighted(inputs[1::2], even, out[-1])
        for index, p in enumerate(self.pairs):
            *others, _ = _coefficients(self.pairs[:index] + self.pairs[index + 1 :])
            plus, minus = out[1 + 2 * index], out[2 + 2 * index]
            _weighted(inputs[2:-1:2], others, plus)
            _weighted(inputs[1:-1:2], others, scratch)
            torch.add(plus, scratch, alpha=-p, out=minus)
            plus.add_(scratch, alpha=p)

    def transform_output(
        self, inputs: Sequence[Tensor], out: Sequence[Tensor], scratch: Sequence[Tensor]
    ) -> None:
        """Along one axis: `window` inputs, which are lost, to `tile` outputs; scratch for each of the pairs."""
        sums, differences = inputs[1:-1:2], scratch
        for plus, minus, difference in zip(sums, inputs[2:-1:2], differences, strict=True):
            torch.sub(plus, minus, out=difference)
            plus.add_(minus)
        for power, y in enumerate(out):
            halves = differences if power % 2 else sums
            terms = [(half, p**power) for half, p in zip(halves, self.pairs, strict=True)]
            if power == 0:
                terms.insert(0, (inputs[0], 1.0))
            if power == self.tile - 1:
                terms.append((inputs[-1], 1.0))
            _sum(terms, y)


#: By their tile. For 4, textbooks have (1, 2), which loses twice as much. These were found by trying pairs on the
#: product's own error, and float32 holds their powers exactly.
FILTERINGS = {2: Filtering((1.0,)), 4: Filtering((0.625, 1.5))}


def _coefficients(pairs: Sequence[float]) -> list[float]:
    """Those of the product of (y - p^2) over the pairs, from the constant to the leading one, which is 1."""
    squares = [-p * p for p in pairs]
    return [
        sum((prod(some, start=1.0) for some in combinations(squares, size)), start=0.0)
        for size in range(len(pairs), -1, -1)
    ]


def _weighted(inputs: Sequence[Tensor], weights: Sequence[float], out: Tensor) -> None:
    """The last input plus the others by their weights."""
    terms = [(inputs[-1], 1.0), *zip(inputs[:-1], weights, strict=True)]
    _sum(terms, out)


def _sum(terms: Sequence[tuple[Tensor, float]], out: Tensor) -> None:
    """A sum of at least one term, by factors; no term but the first may share memory with `out`."""
    # a term of factor 1 begins, where there is one, to save a multiplication
    (first, factor), *rest = sorted(terms, key=lambda term: term[1] != 1.0)
    if not rest:
        torch.mul(first, factor, out=out)
        return
    if factor != 1.0:
        first = torch.mul(first, factor, out=out)
    for term, weight in rest:
        first = torch.add(first, term, alpha=weight, out=out)


@cache
def _kronecker(filtering: Filtering, dtype: torch.dtype) -> Tensor:
    """What takes the nine numbers of a kernel to its transform."""
    matrix = filtering.kernel_matrix()
    return torch.kron(matrix, matrix).to(dtype)
