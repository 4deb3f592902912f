"""How much memory decoding takes, before it is taken."""

from inkpunk_vae.config import VAEConfig

# How many maps of a strip's window are held at once while one is worked on: the window before and after its
# activation, the convolution's result, what is added to it, and what torch rearranges on the way.
WORK = 6


def decode_memory(
    config: VAEConfig, height: int, width: int, *, batch: int = 1, rows: int | None = None, itemsize: int = 4
) -> int:
    """An estimate of the bytes that decoding takes at its peak, on top of the weights.

    The peak is where the widest maps are: where the last level first narrows its channels, at full resolution.
    The plain network holds its wide input three times (as it came, activated, and rearranged for the
    convolution) and the narrow result twice. Tiled, it holds each once, and the work on a strip of the wide one.

    Args:
        config: the sizes of the autoencoder.
        height: of the images, in pixels.
        width: of the images, in pixels.
        batch: how many images are decoded at once; tiled decoding does one after the other.
        rows: those given to `tiled_decode`, or None for `VAE.decode`.
        itemsize: bytes of a number: 4 in float32, 2 in half precision.

    Returns:
        Bytes: for the README's measured decodes, on a CPU in float32, 1 and 12 % above what they took. In half
        precision CPUs may need more, as some of their convolutions compute in float32.
    """
    narrow = config.widths[0]
    wide = config.widths[1] if len(config.widths) > 1 else narrow
    row = width * itemsize
    images = batch * config.image_channels * height * row
    if rows is None:
        return batch * (3 * wide + 2 * narrow) * height * row + images
    return (wide + narrow) * height * row + WORK * wide * min(height, rows + 2) * row + images
