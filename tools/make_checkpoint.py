"""Writes a Stable Diffusion v1.5 checkpoint of random weights, for tests and benchmarks.

    uv run python tools/make_checkpoint.py random.safetensors
    uv run python tools/make_checkpoint.py --layout diffusers-folder --dtype float16 --size small random

Such a checkpoint draws noise, but it loads, computes and weighs as a trained one does.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path

import click
import torch
from inkpunk_clip import TextEncoder, TextEncoderConfig
from inkpunk_unet import UNet, UNetConfig
from inkpunk_vae import VAE, VAEConfig
from inkpunk_weights import CheckpointError, Layout, LazyTensors, Spec, save_checkpoint
from torch import Tensor, nn

# As many levels as the full size, and all that shapes cannot tell (heads, groups) equal to it, so that every
# layout and every reader treats the small one alike.
SMALL: dict[str, Callable[[], nn.Module]] = {
    "text_encoder": lambda: TextEncoder(TextEncoderConfig(width=24, layers=2, feed_forward=48)),
    "unet": lambda: UNet(UNetConfig(widths=(32, 64, 64, 64), context_width=24)),
    "vae": lambda: VAE(VAEConfig(widths=(32, 32, 64, 64))),
}
FULL: dict[str, Callable[[], nn.Module]] = {
    "text_encoder": lambda: TextEncoder(TextEncoderConfig()),
    "unet": lambda: UNet(UNetConfig()),
    "vae": lambda: VAE(VAEConfig()),
}
SIZES = {"full": FULL, "small": SMALL}
# and of models that see masks
SIZES["inpainting"] = {**FULL, "unet": lambda: UNet(UNetConfig(in_channels=9))}
SIZES["small-inpainting"] = {
    **SMALL,
    "unet": lambda: UNet(UNetConfig(in_channels=9, widths=(32, 64, 64, 64), context_width=24)),
}
LAYOUTS: dict[str, Layout] = {
    "single-file-safetensors": "single-file safetensors",
    "single-file-ckpt": "single-file ckpt",
    "diffusers-folder": "diffusers folder",
}
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

SPREAD = 0.02  # of embeddings, of biases, and of the norms' scales about 1


def make_checkpoint(
    path: Path,
    *,
    layout: str = "single-file-safetensors",
    dtype: torch.dtype = torch.float32,
    size: str = "full",
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Write a checkpoint of random weights.

    A tensor is drawn when it is written and not kept, so that all but a ckpt take little memory. Its values
    depend on the seed and its name alone: every layout holds the same numbers, every dtype the same rounded.

    Args:
        path: the file or folder to write.
        layout: a key of `LAYOUTS`.
        dtype: of every tensor.
        size: "full" is SD v1.5's 1,066,235,307 parameters, "small" about 6 million; "inpainting" and
            "small-inpainting" are as many for models that see masks.
        seed: another seed, other weights.
        overwrite: replace what is at `path`.

    Raises:
        CheckpointError: if something is at `path` and `overwrite` is off.
    """
    parts = {name: random_weights(make, seed) for name, make in SIZES[size].items()}
    save_checkpoint(
        path,
        text_encoder=parts["text_encoder"],
        unet=parts["unet"],
        vae=parts["vae"],
        layout=LAYOUTS[layout],
        dtype=dtype,
        overwrite=overwrite,
    )


def random_weights(make: Callable[[], nn.Module], seed: int) -> LazyTensors:
    """The state dict of a module that is never built: each tensor is drawn, in float32, when asked for.

    Matrices and kernels have variance 1 / fan-in, which keeps activations at the scale of their input. Biases
    and norms spread a little about 0 and 1, so that a mix-up of any two tensors shows in the output.
    """
    with torch.device("meta"):
        module = make()
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}

    def draw(name: str) -> Tensor:
        shape = shapes[name]
        digest = hashlib.sha256(f"{type(module).__name__}/{name}/{seed}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
        mean, spread = 0.0, SPREAD
        if len(shape) == 1:
            mean = 1.0 if name.endswith("weight") else 0.0
        elif not name.endswith("embedding.weight"):
            spread = 1 / math.sqrt(math.prod(shape[1:]))
        return torch.empty(shape).normal_(mean, spread, generator=generator)

    return LazyTensors({name: Spec(torch.float32, shape) for name, shape in shapes.items()}, draw)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--layout", type=click.Choice(list(LAYOUTS)), default="single-file-safetensors", show_default=True
)
@click.option("--dtype", type=click.Choice(list(DTYPES)), default="float32", show_default=True)
@click.option("--size", type=click.Choice(list(SIZES)), default="full", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other weights.")
@click.option("--overwrite", is_flag=True, help="Replace OUT when it exists.")
def main(out: Path, layout: str, dtype: str, size: str, seed: int, overwrite: bool) -> None:
    """Write a Stable Diffusion v1.5 checkpoint of random weights to OUT."""
    try:
        make_checkpoint(out, layout=layout, dtype=DTYPES[dtype], size=size, seed=seed, overwrite=overwrite)
    except (CheckpointError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(out)


if __name__ == "__main__":
    main()
