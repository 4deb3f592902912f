"""CLIP's image encoder: a transformer over the patches of an image.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
https://arxiv.org/abs/2103.00020, section 2.4; the transformer is that of Dosovitskiy et al. 2020, "An Image is Worth
16x16 Words", https://arxiv.org/abs/2010.11929, with one layer norm more before its first layer.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from inkpunk_clip.image_config import ImageEncoderConfig
from inkpunk_clip.transformer import Layer, embedding


class ImageEncoder(nn.Module):
    """Images to embeddings, one vector for each whole image, or to what its patches show.

    Images are as `prepared` gives them: `config.image` pixels a side, normalised. Its parameters are all of its
    state: it can be built on the meta device and filled by `load_state_dict(..., assign=True)`.
    """

    def __init__(self, config: ImageEncoderConfig) -> None:
        """An encoder with freshly initialised weights (none at all under `torch.device("meta")`)."""
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Conv2d(3, config.width, config.patch, stride=config.patch, bias=False)
        std = config.width**-0.5
        self.class_embedding = nn.Parameter(embedding(1, config.width, std).weight.detach()[0])
        self.position_embedding = embedding(config.positions, config.width, std)
        self.norm_in = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(
            Layer(config.width, config.heads, config.feed_forward, nn.GELU(), causal=False)
            for _ in range(config.layers)
        )
        self.norm_out = nn.LayerNorm(config.width)
        self.projection = nn.Linear(config.width, config.projection, bias=False)

    if TYPE_CHECKING:

        def __call__(self, images: Float[Tensor, "batch 3 image image"]) -> Float[Tensor, "batch projection"]:
            """As `forward`; declared for checkers of types alone, and torch's own runs, with its hooks."""
            ...

    def forward(self, images: Float[Tensor, "batch 3 image image"]) -> Float[Tensor, "batch projection"]:
        """The embedding of each whole image, in the parameters' dtype, not normalised.

        Raises ValueError if the images are not of the encoder's size.
        """
        return self.projection(self.norm_out(self.patches(images, skip_layers=0)[:, 0]))

    def patches(
        self, images: Float[Tensor, "batch 3 image image"], skip_layers: int = 1
    ) -> Float[Tensor, "batch positions width"]:
        """What the class token (the first) and each patch (row by row) have become, without a norm after them.

        `skip_layers` leaves out that many of the last layers. The image prompts that look at patches ("plus") were
        trained with the last left out.

        Raises ValueError if the images are not of the encoder's size, or skip_layers is not in [0, layers).
        """
        size = self.config.image
        if images.shape[1:] != (3, size, size):
            raise ValueError(
                f"the image encoder sees images of [batch, 3, {size}, {size}], and {list(images.shape)} was given: "
                "give it what `prepared` makes of them"
            )
        if not 0 <= skip_layers < self.config.layers:
            raise ValueError(
                f"skip_layers must be from 0 to {self.config.layers - 1}, as the image encoder has "
                f"{self.config.layers} layers; it is {skip_layers}"
            )
        patches: Tensor = self.patch_embedding(images).flatten(2).transpose(1, 2)
        token = self.class_embedding.expand(len(images), 1, -1)
        x: Tensor = self.norm_in(torch.cat([token, patches], dim=1) + self.position_embedding.weight)
        for layer in cast(Iterable[Layer], self.layers[: self.config.layers - skip_layers]):
            x = layer(x)
        return x
