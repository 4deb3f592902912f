"""What control networks add to a UNet: on its skip connections, and at the bottom of the U."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)  # `==` of tensors has no one answer
class Residuals:
    """What a control network adds to a UNet's skip connections and to what comes out of its middle.

    The way down and the middle do not see it: it is added after them, and before the way up. Where an entry is
    `None`, nothing is. Sets add (`edges + depth`) and scale (`edges.scaled(0.5)`); neither writes to a tensor.

    Source: Zhang et al., arXiv 2302.05543, section 3.2.
    """

    skips: tuple[Float[Tensor, "batch _ _ _"] | None, ...]
    """One for each skip connection, in the order of the way down, `conv_in`'s output first: 12 for the default
    config, `levels * (layers + 1)` for any. Each has its skip's shape and dtype."""
    middle: Float[Tensor, "batch _ _ _"] | None
    """For the middle's output, which has the shape of the last skip."""

    def __add__(self, other: "Residuals") -> "Residuals":
        """Both sets' entries summed; one that only one set has stays as it is.

        Raises:
            ValueError: The sets are for different networks or batches, or differ in dtype; nothing is broadcast.
        """
        if len(self.skips) != len(other.skips):
            raise ValueError(
                f"Residuals: sets of {len(self.skips)} and {len(other.skips)} skips do not add; "
                "they are for different networks"
            )
        *skips, middle = (
            theirs if ours is None else added(ours, theirs, f"Residuals: the second set's {name}")
            for ours, (name, theirs) in zip((*self.skips, self.middle), other.entries(), strict=True)
        )
        return Residuals(tuple(skips), middle)

    def scaled(self, weights: float | Sequence[float]) -> "Residuals":
        """Every entry times its weight: one number for all, or one for each skip and then one for the middle.

        Raises:
            ValueError: Another number of weights.
        """
        count = len(self.skips) + 1
        each = weights if isinstance(weights, Sequence) else [weights] * count
        if len(each) != count:
            raise ValueError(
                f"Residuals: there must be {count} weights, one for each skip and one for the middle, "
                f"not {len(each)}"
            )
        *skips, middle = (
            None if entry is None else entry * weight
            for weight, (_, entry) in zip(each, self.entries(), strict=True)
        )
        return Residuals(tuple(skips), middle)

    def added_to(
        self, skips: Sequence[Float[Tensor, "batch _ _ _"]], middle: Float[Tensor, "batch _ _ _"]
    ) -> tuple[list[Float[Tensor, "batch _ _ _"]], Float[Tensor, "batch _ _ _"]]:
        """A UNet's own skips and middle, with these added; what is given is not written to.

        Raises:
            ValueError: Naming the entry whose shape or dtype is not that of what it is added to, or saying how
                many skips there should be.
        """
        if len(self.skips) != len(skips):
            raise ValueError(
                f"UNet: residuals.skips must be {len(skips)}, one for each skip connection, "
                f"not {len(self.skips)}"
            )
        *new_skips, new_middle = (
            added(own, entry, f"UNet: residuals.{name}")
            for own, (name, entry) in zip((*skips, middle), self.entries(), strict=True)
        )
        return new_skips, new_middle

    def entries(self) -> list[tuple[str, Float[Tensor, "batch _ _ _"] | None]]:
        """The skips, then the middle, each with its name."""
        names = [*(f"skips[{index}]" for index in range(len(self.skips))), "middle"]
        return list(zip(names, (*self.skips, self.middle), strict=True))


def added(
    own: Float[Tensor, "batch _ _ _"], entry: Float[Tensor, "_ _ _ _"] | None, name: str
) -> Float[Tensor, "batch _ _ _"]:
    """`own + entry`, or `own` where there is none.

    Raises:
        ValueError: `entry`, called by its `name`, has another shape or dtype.
    """
    if entry is None:
        return own
    if entry.shape != own.shape:
        raise ValueError(f"{name} must be {list(own.shape)}, not {list(entry.shape)}")
    if entry.dtype != own.dtype:
        raise ValueError(f"{name} must be {own.dtype}, not {entry.dtype}")
    return own + entry
