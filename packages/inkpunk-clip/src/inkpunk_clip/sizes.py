"""What the configs of CLIP's encoders share: sizes that are checked, and read off weights or a config.json."""

import re
from collections.abc import Mapping

from torch import Tensor


def check_sizes(what: str, sizes: Mapping[str, object], limits: Mapping[str, int]) -> None:
    """Refuse sizes of which no encoder can be built.

    Raises:
        ValueError: one is not a positive whole number or is beyond its limit, or the width does not divide among the
            heads.
    """
    for name, size in sizes.items():
        if type(size) is not int or size < 1:
            raise ValueError(f"{what}: {name} must be a positive whole number, not {size!r:.80}")
        if size > limits[name]:
            raise ValueError(f"{what}: {name} must be at most {limits[name]}, not {size!r:.80}")
    width, heads = sizes["width"], sizes["heads"]
    if isinstance(width, int) and isinstance(heads, int) and width % heads:
        raise ValueError(
            f"{what}: width {width} does not divide among {heads} heads: give the number of heads it was trained with"
        )


def sizes_of_json(
    what: str, config: Mapping[str, object], names: Mapping[str, str], limits: Mapping[str, int]
) -> dict[str, int]:
    """The sizes in a config.json, by our names, of which `names` says what they are called there.

    Raises:
        ValueError: naming the key that is missing, no whole number, or out of range.
    """
    sizes: dict[str, int] = {}
    for name, key in names.items():
        size = config.get(key)
        if isinstance(size, float) and size.is_integer():
            size = int(size)  # JSON makes no difference between 12 and 12.0, nor do some that write it
        if type(size) is not int:
            raise ValueError(f"{what} config: {key} must be a whole number, not {size!r:.80}")
        if not 1 <= size <= limits[name]:
            raise ValueError(f"{what} config: {key} must be from 1 to {limits[name]}, not {size!r:.80}")
        sizes[name] = size
    if sizes["width"] % sizes["heads"]:
        raise ValueError(
            f"{what} config: {names['width']} {sizes['width']} does not divide among {names['heads']} "
            f"{sizes['heads']}: write the number of heads it was trained with"
        )
    return sizes


def count_layers(what: str, weights: Mapping[str, Tensor]) -> int:
    """How many layers `layers.0`, `layers.1` and so on there are.

    Raises:
        ValueError: there is a gap.
    """
    indices = {int(found[1]) for name in weights if (found := re.match(r"layers\.(\d+)\.", name))}
    missing = next(layer for layer in range(len(indices) + 1) if layer not in indices)
    if missing < len(indices):
        raise ValueError(f"{what} weights: layer {max(indices)} is there, layer {missing} is not")
    return len(indices)


def shape_of(what: str, weights: Mapping[str, Tensor], name: str, dims: int) -> tuple[int, ...]:
    """The shape of a tensor that must be there and have so many dimensions.

    Raises:
        ValueError: it is not, or has not.
    """
    if name not in weights:
        raise ValueError(f"{what} weights: {name} is missing")
    shape = tuple(weights[name].shape)
    if len(shape) != dims:
        kind = "a matrix" if dims == 2 else f"of {dims} dimensions"
        raise ValueError(f"{what} weights: {name} must be {kind}, and its shape is {list(shape)}")
    return shape
