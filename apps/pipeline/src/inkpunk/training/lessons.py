"""What the network sees of the pictures: latents and captions, made once, before the training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from inkpunk_clip import Tokenizer
from inkpunk_vae import VAE, Posterior
from jaxtyping import Float, Int
from PIL import ImageOps
from torch import Tensor

from inkpunk.pictures.fitting import fit
from inkpunk.pictures.pixels import image_to_tensor
from inkpunk.training.buckets import Size, bucket
from inkpunk.training.examples import Example


@dataclass(frozen=True, eq=False)
class Lesson:
    """A picture as the network sees it.

    Attributes:
        tokens: of its caption; the text encoder's input.
        views: the distributions of its latents: of the picture as it is and, if wanted, of it mirrored.
    """

    tokens: Int[Tensor, " positions"]
    views: tuple[Posterior, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Of its latents: those of one size can be learned together."""
        return tuple(self.views[0].mean.shape)


@dataclass(frozen=True, eq=False)
class Batch:
    """Lessons that are learned together.

    Attributes:
        clean: their latents, drawn from the distributions.
        noise: what is added to them.
        timesteps: how much of it.
        lessons: which of all they are.
    """

    clean: Float[Tensor, "batch 4 height width"]
    noise: Float[Tensor, "batch 4 height width"]
    timesteps: Int[Tensor, " batch"]
    lessons: tuple[int, ...]


def make_lesson(example: Example, vae: VAE, tokenizer: Tokenizer, side: int, *, flip: bool = False) -> Lesson:
    """Encode one picture, scaled and cut to its bucket's size, and its caption.

    Args:
        example: the picture, which is read now.
        vae: encodes it, in the dtype and on the device it has.
        tokenizer: reads the caption, plainly: no character of it is grammar.
        side: of a square of as many pixels.
        flip: encode it mirrored, too.

    Raises:
        PictureError: if the picture cannot be read any more.
    """
    picture = fit(example.picture(), bucket(example.size, side))
    weight = next(vae.parameters())
    views = [picture, ImageOps.mirror(picture)] if flip else [picture]
    with torch.no_grad():
        posteriors = [vae.encode(image_to_tensor(view)[None].to(weight)) for view in views]
    return Lesson(
        tokenizer(example.caption)[0],
        tuple(
            Posterior(posterior.mean.float().cpu(), posterior.std.float().cpu()) for posterior in posteriors
        ),
    )


def draw_batch(lessons: Sequence[Lesson], size: int, timesteps: int, random: np.random.Generator) -> Batch:
    """Draw some lessons of one size, and all that is left to chance about them.

    A lesson of the first is any of all, so that each is drawn as often; if there are fewer of its size than are
    wanted, some are drawn twice.

    Args:
        lessons: all of them.
        size: how many at once.
        timesteps: that there are.
        random: decides.
    """
    first = lessons[int(random.integers(len(lessons)))]
    alike = [index for index, lesson in enumerate(lessons) if lesson.size == first.size]
    chosen = [int(each) for each in random.choice(alike, size, replace=len(alike) < size)]
    posteriors = [lessons[each].views[int(random.integers(len(lessons[each].views)))] for each in chosen]
    shape = (size, *first.size[1:])
    draw, noise = (torch.tensor(random.standard_normal(shape, np.float32)) for _ in range(2))
    clean = (
        torch.cat([each.mean for each in posteriors]) + torch.cat([each.std for each in posteriors]) * draw
    )
    # one of as many equal slices each: the same distribution, with less variance
    parts = (np.arange(size) + random.random(size)) / size * timesteps
    return Batch(clean, noise, torch.tensor(parts.astype(np.int64)), tuple(chosen))


def longest_batch(examples: Sequence[Example], side: int) -> Size:
    """The size of the most pixels among the examples' buckets."""
    return max((bucket(example.size, side) for example in examples), key=lambda size: size[0] * size[1])
