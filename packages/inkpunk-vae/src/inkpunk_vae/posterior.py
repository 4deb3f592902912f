"""What the encoder knows about the latents of an image."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

LOG_VARIANCE = (-30.0, 20.0)
"""The log-variance is clamped to this range, so that no std is zero or infinite, even in half precision."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """The diagonal Gaussian q(latents | image) of Kingma and Welling (arXiv 1312.6114).

    Attributes:
        mean: the most likely latents, scaled as `VAE.decode` and a diffusion model take them.
        std: their standard deviation, in the same scale.
    """

    mean: Float[Tensor, "batch latent_channels rows columns"]
    std: Float[Tensor, "batch latent_channels rows columns"]

    @classmethod
    def from_moments(
        cls, moments: Float[Tensor, "batch twice_latent_channels rows columns"], scaling: float
    ) -> "Posterior":
        """Read the encoder's output, unscaled: channels of means, then as many of log-variances."""
        mean, log_variance = moments.chunk(2, dim=1)
        std = (0.5 * log_variance.clamp(*LOG_VARIANCE)).exp()
        return cls(mean * scaling, std * scaling)

    def sample(
        self, noise: Float[Tensor, "batch latent_channels rows columns"]
    ) -> Float[Tensor, "batch latent_channels rows columns"]:
        """Latents drawn with the given standard normal noise; zero noise gives the mean.

        Raises:
            ValueError: the noise does not have the mean's shape.
        """
        if noise.shape != self.mean.shape:
            raise ValueError(
                f"noise has shape {tuple(noise.shape)}: give it the latents' own, {tuple(self.mean.shape)}"
            )
        return self.mean + self.std * noise
