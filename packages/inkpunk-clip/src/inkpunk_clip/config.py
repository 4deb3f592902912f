"""The sizes of a CLIP text encoder, and where to read them."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from inkpunk_clip.sizes import check_sizes, count_layers, shape_of, sizes_of_json

# What transformers calls our fields in a text encoder's config.json.
_NAMES_IN_TRANSFORMERS = {
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
}

# The most that each size may be, from 16 times ViT-L/14's up: building any such encoder on the meta device takes
# seconds, and none of its tensors has more elements than torch counts. What is larger is a mistake.
LIMITS = {
    "vocabulary": 2**24,
    "positions": 2**20,
    "width": 2**16,
    "layers": 256,
    "heads": 2**16,
    "feed_forward": 2**20,
}

# What this encoder has fixed. A config.json that leaves one out means the same by transformers' defaults.
_FIXED_IN_TRANSFORMERS = {"model_type": "clip_text_model", "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}


@dataclass(frozen=True)
class TextEncoderConfig:
    """Sizes of a CLIP text encoder. The defaults are Stable Diffusion v1.5's: the text half of CLIP ViT-L/14.

    Raises ValueError if a size is not a positive whole number or is beyond `LIMITS`, or the width does not divide
    among the heads.
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
        check_sizes("text encoder", vars(self), LIMITS)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], *, heads: int = 12) -> "TextEncoderConfig":
        """The sizes of the encoder that these weights, under this package's names, belong to.

        Only shapes are looked at. They cannot tell the number of heads, which is SD v1.5's unless given.
        Raises ValueError if the weights are not those of a text encoder.
        """
        what = "text encoder"
        vocabulary, width = shape_of(what, weights, "token_embedding.weight", dims=2)
        positions, _ = shape_of(what, weights, "position_embedding.weight", dims=2)
        feed_forward, _ = shape_of(what, weights, "layers.0.feed_forward.fc1.weight", dims=2)
        return cls(vocabulary, positions, width, count_layers(what, weights), heads, feed_forward)

    @classmethod
    def from_diffusers(cls, config: Mapping[str, object]) -> "TextEncoderConfig":
        """The sizes in a parsed `text_encoder/config.json`, as transformers writes it for diffusers.

        Raises ValueError, naming the key, if a size is missing or it asks for another kind of encoder, such
        as SD v2's.
        """
        for key, ours in _FIXED_IN_TRANSFORMERS.items():
            if (theirs := config.get(key, ours)) != ours:
                raise ValueError(
                    f"text encoder config: {key} is {theirs!r:.80}, and this text encoder has {ours!r} only: "
                    "use a Stable Diffusion v1 model"
                )
        return cls(**sizes_of_json("text encoder", config, _NAMES_IN_TRANSFORMERS, LIMITS))
