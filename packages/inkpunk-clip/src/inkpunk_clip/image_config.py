"""The sizes of a CLIP image encoder, and where to read them."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from inkpunk_clip.sizes import check_sizes, count_layers, shape_of, sizes_of_json

# What transformers calls our fields in an image encoder's config.json.
_NAMES_IN_TRANSFORMERS = {
    "image": "image_size",
    "patch": "patch_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "projection": "projection_dim",
}

# The most that each size may be, from 8 times ViT-H/14's up; as for text encoders, what is larger is a mistake.
LIMITS = {
    "image": 2**12,
    "patch": 2**10,
    "width": 2**14,
    "layers": 256,
    "heads": 2**14,
    "feed_forward": 2**17,
    "projection": 2**16,
}

# What this encoder has fixed, and what transformers takes a config.json to mean that leaves it out.
_FIXED_IN_TRANSFORMERS = {
    "model_type": ("clip_vision_model", "clip_vision_model"),
    "hidden_act": ("gelu", "quick_gelu"),
    "layer_norm_eps": (1e-5, 1e-5),
    "num_channels": (3, 3),
}


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Sizes of a CLIP image encoder. The defaults are the image half of LAION's CLIP ViT-H/14, through which the
    image prompts (IP-Adapters) of Stable Diffusion v1 look.

    Raises ValueError if a size is not a positive whole number or is beyond `LIMITS`, the width does not divide among
    the heads, or the image into patches.
    """

    image: int = 224
    """Pixels of the image's sides."""
    patch: int = 14
    """Pixels of the sides of a patch, each of which becomes a position."""
    width: int = 1280
    """Numbers a patch is represented by."""
    layers: int = 32
    """Transformer layers."""
    heads: int = 16
    """Attention heads of a layer; each is width / heads wide."""
    feed_forward: int = 5120
    """Width of the hidden layer of each feed-forward network."""
    projection: int = 1024
    """Numbers of the embedding of a whole image, in the space that images and texts share."""

    def __post_init__(self) -> None:
        check_sizes("image encoder", vars(self), LIMITS)
        if self.image % self.patch:
            raise ValueError(
                f"image encoder: an image of {self.image} pixels a side does not divide into patches of {self.patch}"
            )

    @property
    def positions(self) -> int:
        """The class token, and the patches."""
        return 1 + (self.image // self.patch) ** 2

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], *, heads: int = 16) -> "ImageEncoderConfig":
        """The sizes of the encoder that these weights, under this package's names, belong to.

        Only shapes are looked at. They cannot tell the number of heads, which is ViT-H/14's unless given.
        Raises ValueError if the weights are not those of an image encoder.
        """
        what = "image encoder"
        width, _, patch, _ = shape_of(what, weights, "patch_embedding.weight", dims=4)
        positions, _ = shape_of(what, weights, "position_embedding.weight", dims=2)
        feed_forward, _ = shape_of(what, weights, "layers.0.feed_forward.fc1.weight", dims=2)
        projection, _ = shape_of(what, weights, "projection.weight", dims=2)
        across = round(max(positions - 1, 0) ** 0.5)
        if across**2 != positions - 1:
            raise ValueError(
                f"{what} weights: {positions} positions are not a class token and a square of patches"
            )
        return cls(
            image=across * patch,
            patch=patch,
            width=width,
            layers=count_layers(what, weights),
            heads=heads,
            feed_forward=feed_forward,
            projection=projection,
        )

    @classmethod
    def from_diffusers(cls, config: Mapping[str, object]) -> "ImageEncoderConfig":
        """The sizes in a parsed `image_encoder/config.json`, as transformers writes it.

        Raises ValueError, naming the key, if a size is missing or it asks for another kind of encoder, such as
        OpenAI's, which have another activation.
        """
        for key, (ours, default) in _FIXED_IN_TRANSFORMERS.items():
            if (theirs := config.get(key, default)) != ours:
                raise ValueError(
                    f"image encoder config: {key} is {theirs!r:.80}, and this image encoder has {ours!r} only: use "
                    "CLIP ViT-H/14, which the image prompts of Stable Diffusion v1 were trained with"
                )
        return cls(**sizes_of_json("image encoder", config, _NAMES_IN_TRANSFORMERS, LIMITS))
