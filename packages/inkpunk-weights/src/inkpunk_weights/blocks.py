"""How many blocks a component has, read off the names of its tensors alone."""

import re
from collections.abc import Collection
from dataclasses import dataclass

MOST_BLOCKS = 64
"""More than any such model has; a number above it in a stranger's tensor name is not a block's."""


@dataclass(frozen=True)
class Blocks:
    """The numbers that naming depends on.

    `layers` is the transformer's layers (text encoder) or the residual blocks of a level on the way down
    (UNet, VAE). `attends` says for each resolution level, finest first, whether it has attention; none for
    the text encoder.
    """

    layers: int
    attends: tuple[bool, ...] = ()

    @property
    def levels(self) -> int:
        """How many resolutions there are."""
        return len(self.attends)


def numbers(names: Collection[str], pattern: str) -> list[int]:
    """The distinct numbers that the first group of `pattern` finds at the start of `names`, ascending."""
    compiled = re.compile(pattern, re.ASCII)
    found = {match[1] for name in names if (match := compiled.match(name))}
    return sorted({int(digits) for digits in found if len(digits) <= 3 and int(digits) < MOST_BLOCKS})


def count(names: Collection[str], pattern: str) -> int:
    """One more than the largest of `numbers`."""
    return max(numbers(names, pattern), default=-1) + 1


def transformer_blocks(layers: str, names: Collection[str]) -> Blocks:
    """A stack of layers named `layers` and a number."""
    return Blocks(count(names, rf"{layers}\.(\d+)\."))


def pyramid_blocks(down: str, residual: str, attention: str, names: Collection[str]) -> Blocks:
    """Levels named `down` and a number, of numbered `residual` blocks and, where it attends, `attention`."""
    attending = numbers(names, rf"{down}\.(\d+)\.{attention}\.")
    return Blocks(
        count(names, rf"{down}\.\d+\.{residual}\.(\d+)\."),
        tuple(level in attending for level in range(count(names, rf"{down}\.(\d+)\."))),
    )


def ldm_unet_blocks(names: Collection[str]) -> Blocks:
    """LDM numbers a UNet's blocks straight through; a level ends where a downsampling operation stands."""
    ends = numbers(names, r"input_blocks\.(\d+)\.0\.op\.")
    period = ends[0] if ends else count(names, r"input_blocks\.(\d+)\.")
    if period < 2:  # no residual block before the first downsampling: not such a UNet
        return Blocks(0)
    levels = max(count(names, r"input_blocks\.(\d+)\.") + period - 1, 0) // period
    attending = numbers(names, r"input_blocks\.(\d+)\.1\.")
    return Blocks(
        period - 1,
        tuple(any((block - 1) // period == level for block in attending) for level in range(levels)),
    )
