"""How the checkpoint's latents are seen without its VAE."""

from collections.abc import Mapping, Sequence

PREVIEW: Mapping[str, Sequence[Sequence[float]] | Sequence[float]] = {
    "factors": (
        (0.0818, 0.1309, 0.2595),
        (0.0762, 0.1919, 0.1073),
        (-0.0203, 0.0644, 0.0605),
        (-0.5755, -0.4282, -0.2702),
    ),
    "bias": (0.3323, 0.2696, 0.2308),
}
"""A linear map: latents times factors, a row of red, green and blue for each channel, plus bias: colours in [-1, 1].

Fitted by least squares to the mean colours of what each latent stands for, in 512 renders, by
`tools.train_sketch preview`.
"""
