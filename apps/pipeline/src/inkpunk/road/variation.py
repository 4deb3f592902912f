"""Variations of a picture: another seed's noise mixed into its own, or its own noise at another size.

Both act on the initial noise alone. What a sampler draws on its way stays the seed's own, as AUTOMATIC1111 has it.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice

from inkpunk_sampling import seeded_noise, slerp
from jaxtyping import Float
from torch import Tensor

from inkpunk.pictures.fitting import SIZE_MULTIPLE
from inkpunk.road.plan import Plan
from inkpunk.road.road import Latents, Road, Start


def varied(road: Road, plan: Plan, first: int = 0) -> Road:
    """Begin from noise on the way to another seed's, or from noise that was drawn at another size, or both.

    Args:
        road: to wrap; `from_image` is within.
        plan: whose request tells `vary`, which is the same for all of its pictures, or `seed_resize`.
        first: how many of a seed's draws come before the initial noise, to encode a picture by.
    """
    request = plan.request

    def start() -> Start:
        before = road.start()
        first = next(before.noise)
        return replace(before, noise=chain([initial(first)], before.noise))

    def initial(own: Latents) -> Latents:
        rows, columns = own.shape[2:]
        if request.resized is not None:
            columns, rows = (side // SIZE_MULTIPLE for side in request.resized)
        noise = own if own.shape[2:] == (rows, columns) else drawn(request.seeds, rows, columns).to(own)
        if request.varied is not None:
            seed, amount = request.varied
            other = drawn((seed,), rows, columns).to(own).expand_as(noise)
            noise = towards(noise, other, amount, by_columns=request.program.varies_by_columns)
        return noise if noise.shape == own.shape else laid_into(own, noise)

    def drawn(seeds: Sequence[int], rows: int, columns: int) -> Float[Tensor, "batch 4 rows columns"]:
        """What these seeds would begin from."""
        conventions = request.program.sampling
        noise = seeded_noise(seeds, (4, rows, columns), conventions.source, conventions.step_seed)
        return next(islice(noise, first, None))

    return replace(road, start=start)


def towards(noise: Latents, other: Latents, amount: float, *, by_columns: bool = False) -> Latents:
    """Go part of the way from one noise to another on the sphere: of each picture as a whole, or of each column.

    The latter is AUTOMATIC1111's: it takes the angle along the rows of each channel's columns by themselves.
    """
    if not by_columns:
        return slerp(noise, other, amount)
    one, another = (each.transpose(2, 3).flatten(0, 2) for each in (noise, other))
    batch, channels, rows, columns = noise.shape
    return slerp(one, another, amount).view(batch, channels, columns, rows).transpose(2, 3).contiguous()


def laid_into(noise: Latents, other: Float[Tensor, "batch 4 rows columns"]) -> Latents:
    """Noise of one size with that of another in its middle, as much as there is room for.

    So the middle of a picture begins as the picture of the other size does, as AUTOMATIC1111's "resize seed from".
    """
    result = noise.clone()
    places, parts = list[slice](), list[slice]()
    for side, theirs in zip(noise.shape[2:], other.shape[2:], strict=True):
        beside = (side - theirs) // 2  # negative where they have more
        length = min(side, theirs if beside >= 0 else theirs + 2 * beside)
        places.append(slice(max(beside, 0), max(beside, 0) + length))
        parts.append(slice(max(-beside, 0), max(-beside, 0) + length))
    result[:, :, *places] = other[:, :, *parts]
    return result
