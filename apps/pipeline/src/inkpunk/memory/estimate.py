"""How much memory a picture takes, known before it is drawn."""

from inkpunk_unet import UNetConfig
from inkpunk_vae import VAEConfig, decode_memory

from inkpunk.pictures.fitting import SIZE_MULTIPLE
from inkpunk.road.errors import RequestError
from inkpunk.road.plan import Plan

# Feature maps that a UNet holds at its peak, in maps of its first width at the latents' size. Measured for latents of
# 64 x 64 to 96 x 96: 31 to 33 by the fast road, 39 to 41 by the networks as they are.
UNET_MAPS = 41
CONTROL_MAPS = 12  # what a control network adds to that, of which a second set is there while they are summed
FIXED = 256 << 20  # what work takes at any size
TILED_ROWS = 64  # of a feature map, in a strip of the VAE's
USUAL_TILE = 512  # pixels: Stable Diffusion v1.5's own size
GIBI = 2**30


def picture_memory(
    plan: Plan, unet: UNetConfig, vae: VAEConfig, *, rows: int, itemsize: int, tiled: bool, controls: int = 0
) -> int:
    """An estimate of the bytes that a plan's pictures take at their peak, on top of all weights.

    Args:
        plan: says how many pictures, and how large.
        unet: the shape of the network that predicts them.
        vae: the shape of the network that decodes them one by one.
        rows: latents that it is asked about at a time.
        itemsize: bytes of a number.
        tiled: whether they are decoded in strips.
        controls: how many control networks are asked before each prediction.
    """
    width, height = plan.at_once
    pixels = height // SIZE_MULTIPLE * (width // SIZE_MULTIPLE)
    held = UNET_MAPS + CONTROL_MAPS * min(controls, 2)
    drawing = held * unet.widths[0] * pixels * rows * itemsize
    strip = TILED_ROWS if tiled else None
    decoding = decode_memory(vae, height, width, rows=strip, itemsize=itemsize)
    finished = len(plan.request.seeds) * vae.image_channels * plan.height * plan.width * 4
    return FIXED + max(drawing, decoding + finished)


def refuse_what_does_not_fit(needed: int, free: int | None, plan: Plan, *, tiled: bool) -> None:
    """Let only work pass that the memory there is can hold.

    Raises:
        RequestError: with the estimate, and what to do.
    """
    if free is None or needed <= free:
        return
    count = len(plan.request.seeds)
    what = f"{plan.width} x {plan.height}" + (f", {count} pictures at once" if count > 1 else "")
    ways = ["a smaller size", *(["fewer at once"] if count > 1 else []), *([] if tiled else ["--low-memory"])]
    if min(plan.at_once) > USUAL_TILE:
        ways.append(f"--tile-size {USUAL_TILE}")
    raise RequestError(
        f"{what}: takes about {needed / GIBI:.1f} GiB, and {free / GIBI:.1f} GiB are free; try {' or '.join(ways)}"
    )
