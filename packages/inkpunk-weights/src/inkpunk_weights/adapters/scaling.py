"""What a PEFT config says of an adapter's scale and its tensors do not: alpha and rank, of all layers or of one."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from inkpunk_weights.adapters.naming import bare_layer
from inkpunk_weights.errors import CheckpointError, shown
from inkpunk_weights.json_texts import JSONError, parse_json

METADATA_KEY = "lora_adapter_metadata"  # where diffusers keeps the configs of a file's components
READ = ("LORA", "LOHA", "LOKR")  # of PEFT's kinds
NAME = re.compile(r"\^?[\w.-]+")
# By name its place in the config, of which PEFT takes the first that matches, and the number.
Patterns = Mapping[str, tuple[int, float]]


@dataclass(frozen=True)
class Scaling:
    """Alpha and rank of one component's layers, as far as a config says them.

    Attributes:
        alpha, rank: of all layers.
        alphas, ranks: of those of these names, and of those whose names end so: ".proj_in".
        by_root: divide by the root of the rank, and not by the rank (rank-stabilised LoRA, Kalajdzievski, arXiv
            2312.03732).
    """

    alpha: float | None = None
    rank: float | None = None
    alphas: Patterns = field(default_factory=dict[str, tuple[int, float]])
    ranks: Patterns = field(default_factory=dict[str, tuple[int, float]])
    by_root: bool = False

    def of(self, layer: str, rank: int | None) -> float:
        """What a layer's difference is multiplied by; `rank` is its tensors', which a config can only repeat."""
        alpha = _matching(self.alphas, layer, self.alpha)
        divisor = rank or _matching(self.ranks, layer, self.rank)
        if alpha is None or divisor is None:
            return 1.0
        return alpha / (math.sqrt(divisor) if self.by_root else divisor)


def read_scaling(config: Mapping[str, object], where: str, prefix: str = "") -> Scaling:
    """Read one component's from a config.

    Args:
        config: of PEFT, or of several components, each entry's name after its component's.
        where: for messages.
        prefix: before each entry's name, as "unet.".

    Raises:
        CheckpointError: for a kind that is not read, and values that no config could have.
    """
    told = {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}
    kind = told.get("peft_type", "LORA")
    if kind not in READ:
        raise CheckpointError(f"{where}: an adapter of kind {_brief(kind)}, which Inkpunk does not read")

    def number(key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
            raise CheckpointError(f"{where}: {shown(prefix + key)} cannot be {_brief(value)}")
        return float(value)

    def one(*keys: str) -> float | None:
        return next((number(key, told[key]) for key in keys if told.get(key) is not None), None)

    def several(key: str) -> Patterns:
        patterns: object = told.get(key) or {}
        if not isinstance(patterns, dict):
            raise CheckpointError(f"{where}: {shown(prefix + key)} should be an object of names and numbers")
        found = dict[str, tuple[int, float]]()
        for pattern, value in cast("dict[str, object]", patterns).items():
            # PEFT runs them as regular expressions, which can run for ever; those that are written are names
            name = pattern.replace(r"\.", ".").removesuffix("$")
            if not NAME.fullmatch(name):
                raise CheckpointError(
                    f"{where}: {shown(prefix + key)} has {shown(pattern)}, which is no layer's name"
                )
            bare = bare_layer(name.removeprefix("^"))
            whole = name.startswith("^") or bare != name  # and not only the end of one
            found.setdefault(bare if whole else f".{bare}", (len(found), number(key, value)))
        return found

    return Scaling(
        alpha=one("lora_alpha", "alpha"),
        rank=one("r"),
        alphas=several("alpha_pattern"),
        ranks=several("rank_pattern"),
        by_root=told.get("use_rslora") is True,
    )


def read_told(metadata: Mapping[str, object], where: str) -> Mapping[str, object]:
    """The configs that diffusers wrote into a file's metadata; empty if it did not.

    Raises:
        CheckpointError: where they are no JSON object.
    """
    text = metadata.get(METADATA_KEY)
    return {} if text is None else parse_config(str(text).encode(), f"{where}: metadata {METADATA_KEY!r}")


def parse_config(text: bytes, where: str) -> Mapping[str, object]:
    """A JSON object.

    Raises:
        CheckpointError: where it is none.
    """
    try:
        config = parse_json(text)
    except JSONError as error:
        raise CheckpointError(f"{where}: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{where}: not a JSON object")
    return cast("dict[str, object]", config)


def _matching(patterns: Patterns, layer: str, usual: float | None) -> float | None:
    """The number of a layer, by its whole name or an end of it."""
    words = layer.split(".")
    ends = (f".{'.'.join(words[start:])}" for start in range(len(words)))
    found = [patterns[name] for name in (layer, *ends) if name in patterns]
    return min(found)[1] if found else usual


def _brief(value: object) -> str:
    """A config's value for a message, in which a list might take millions of characters."""
    if value is None or isinstance(value, str | int | float):
        return shown(str(value), 40)
    return f"a {type(value).__name__}"
