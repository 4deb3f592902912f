"""What control networks add to a UNet: on its skip connections, at the bottom of the U, and on the way down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)  # `==` of tensors has no one answer
class Residuals:
    """What a control network adds to a UNet's skip connections and to what comes out of its middle, or to its levels.

    The way down and the middle do not see what is added to the skips and to the middle: that is added after them,
    and before the way up. What is added to the levels goes all ways from there. Where an entry is `None`, nothing
    is. Sets add (`edges + depth`) and scale (`edges.scaled(0.5)`); neither writes to a tensor.

    Source: Zhang et al., arXiv 2302.05543, section 3.2; for the levels, Mou et al., arXiv 2302.08453, section 3.2.
    """

    skips: tuple[Float[Tensor, "batch _ _ _"] | None, ...] = ()
    """One for each skip connection, in the order of the way down, `conv_in`'s output first: 12 for the default
    config, `levels * (layers + 1)` for any; or none at all. Each has its skip's shape and dtype."""
    middle: Float[Tensor, "batch _ _ _"] | None = None
    """For the middle's output, which has the shape of the last skip."""
    levels: tuple[Float[Tensor, "batch _ _ _"] | None, ...] = ()
    """One for what each level's last layer gives on the way down, finest first, or none at all."""

    def __add__(self, other: "Residuals") -> "Residuals":
        """Both sets' entries summed; one that only one set has stays as it is.

        Raises:
            ValueError: The sets are for different networks or batches, or differ in dtype; nothing is broadcast.
        """
        return Residuals(
            _sums(self.skips, other.skips, "skips"),
            added(self.middle, other.middle, "Residuals: the second set's middle"),
            _sums(self.levels, other.levels, "levels"),
        )

    def scaled(self, weights: float | Sequence[float]) -> "Residuals":
        """Every entry times its weight: one number for all, or one for each skip, for the middle, and for each level.

        Raises:
            ValueError: Another number of weights.
        """
        count = len(self.skips) + 1 + len(self.levels)
        each = weights if isinstance(weights, Sequence) else [weights] * count
        if len(each) != count:
            raise ValueError(
                f"Residuals: there must be {count} weights, one for each skip, for the middle and for each level, "
                f"not {len(each)}"
            )
        entries = [
            None if entry is None else entry * weight
            for weight, entry in zip(each, (*self.skips, self.middle, *self.levels), strict=True)
        ]
        skips = len(self.skips)
        return Residuals(tuple(entries[:skips]), entries[skips], tuple(entries[skips + 1 :]))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Residuals":
        """Every entry that there is, changed: brought to a dtype, for example, or repeated for a larger batch."""

        def changed(entry: Tensor | None) -> Tensor | None:
            return None if entry is None else change(entry)

        return Residuals(
            tuple(map(changed, self.skips)), changed(self.middle), tuple(map(changed, self.levels))
        )

    def added_to(
        self, skips: Sequence[Float[Tensor, "batch _ _ _"]], middle: Float[Tensor, "batch _ _ _"]
    ) -> tuple[list[Float[Tensor, "batch _ _ _"]], Float[Tensor, "batch _ _ _"]]:
        """A UNet's own skips and middle, with these added; what is given is not written to.

        Raises:
            ValueError: Naming the entry whose shape or dtype is not that of what it is added to, or saying how
                many skips there should be.
        """
        if self.skips and len(self.skips) != len(skips):
            raise ValueError(
                f"UNet: residuals.skips must be {len(skips)}, one for each skip connection, "
                f"not {len(self.skips)}"
            )
        return (
            [
                added(own, entry, f"UNet: residuals.skips[{index}]")
                for index, (own, entry) in enumerate(
                    zip(skips, self.skips or [None] * len(skips), strict=True)
                )
            ],
            added(middle, self.middle, "UNet: residuals.middle"),
        )


def _sums(
    ours: tuple[Float[Tensor, "batch _ _ _"] | None, ...],
    theirs: tuple[Float[Tensor, "batch _ _ _"] | None, ...],
    name: str,
) -> tuple[Float[Tensor, "batch _ _ _"] | None, ...]:
    if not (ours and theirs):
        return ours or theirs
    if len(ours) != len(theirs):
        raise ValueError(
            f"Residuals: sets of {len(ours)} and {len(theirs)} {name} do not add; they are for different networks"
        )
    return tuple(
        added(one, other, f"Residuals: the second set's {name}[{index}]")
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True))
    )


@overload
def added(own: Float[Tensor, "batch _ _ _"], entry: Float[Tensor, "_ _ _ _"] | None, name: str) -> Tensor: ...
@overload
def added(
    own: Float[Tensor, "batch _ _ _"] | None, entry: Float[Tensor, "_ _ _ _"] | None, name: str
) -> Tensor | None: ...
def added(
    own: Float[Tensor, "batch _ _ _"] | None, entry: Float[Tensor, "_ _ _ _"] | None, name: str
) -> Float[Tensor, "batch _ _ _"] | None:
    """`own + entry`, or the one that there is.

    Raises:
        ValueError: `entry`, called by its `name`, has another shape or dtype.
    """
    if own is None or entry is None:
        return entry if own is None else own
    if entry.shape != own.shape:
        raise ValueError(f"{name} must be {list(own.shape)}, not {list(entry.shape)}")
    if entry.dtype != own.dtype:
        raise ValueError(f"{name} must be {own.dtype}, not {entry.dtype}")
    return own + entry
