"""The sizes of a CLIP text encoder, and where to read them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from torch import Tensor

# What transformers calls our fields in a text encoder's config.json.
_NAMES_IN_TRANSFORMERS = {
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
}

# What this encoder has fixed. A config.json that leaves one out means the same by transformers' defaults.
_FIXED_IN_TRANSFORMERS = {"model_type": "clip_text_model", "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}


@dataclass(frozen=True)
class TextEncoderConfig:
    """Sizes of a CLIP text encoder. The defaults are Stable Diffusion v1.5's: the text half of CLIP ViT-L/14.

    Raises ValueError if a size is not a positive whole number, or the width does not divide among the heads.
    """

    vocabulary: int = 49408
    """Entries of the tokenizer's vocabulary."""
    positions: int = 77
    """The longest sequence of tokens, start and end included."""
    width: int = 768
    """Numbers a token is represented by."""
    layers: int = 12
    """Transformer layers."""
    heads: int = 12
    """Attention heads of a layer; each is width / heads wide."""
    feed_forward: int = 3072
    """Width of the hidden layer of each feed-forward network."""

    def __post_init__(self) -> None:
        for field in fields(self):
            size: object = getattr(self, field.name)
            if type(size) is not int or size < 1:
                raise ValueError(f"text encoder: {field.name} must be a positive whole number, not {size!r}")
        if self.width % self.heads:
            raise ValueError(
                f"text encoder: width {self.width} does not divide among {self.heads} heads: "
                "give the number of heads it was trained with"
            )

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], *, heads: int = 12) -> "TextEncoderConfig":
        """The sizes of the encoder that these weights, under this package's names, belong to.

        Only shapes are looked at. They cannot tell the number of heads, which is SD v1.5's unless given.
        Raises ValueError if the weights are not those of a text encoder.
        """
        vocabulary, width = _matrix(weights, "token_embedding.weight")
        positions, _ = _matrix(weights, "position_embedding.weight")
        feed_forward, _ = _matrix(weights, "layers.0.feed_forward.fc1.weight")
        indices = {int(found[1]) for name in weights if (found := re.match(r"layers\.(\d+)\.", name))}
        if missing := set(range(max(indices))) - indices:
            raise ValueError(
                f"text encoder weights: layer {max(indices)} is there, layer {min(missing)} is not"
            )
        return cls(vocabulary, positions, width, len(indices), heads, feed_forward)

    @classmethod
    def from_diffusers(cls, config: Mapping[str, object]) -> "TextEncoderConfig":
        """The sizes in a parsed `text_encoder/config.json`, as transformers writes it for diffusers.

        Raises ValueError, naming the key, if a size is missing or it asks for another kind of encoder, such
        as SD v2's.
        """
        for key, ours in _FIXED_IN_TRANSFORMERS.items():
            if (theirs := config.get(key, ours)) != ours:
                raise ValueError(
                    f"text encoder config: {key} is {theirs!r}, and this text encoder has {ours!r} only: "
                    "use a Stable Diffusion v1 model"
                )
        sizes: dict[str, int] = {}
        for name, key in _NAMES_IN_TRANSFORMERS.items():
            size = config.get(key)
            if type(size) is not int:
                raise ValueError(f"text encoder config: {key} must be a whole number, not {size!r}")
            sizes[name] = size
        return cls(**sizes)


def _matrix(weights: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    if name not in weights:
        raise ValueError(f"text encoder weights: {name} is missing")
    shape = tuple(weights[name].shape)
    if len(shape) != 2:
        raise ValueError(f"text encoder weights: {name} must be a matrix, and its shape is {list(shape)}")
    return shape
