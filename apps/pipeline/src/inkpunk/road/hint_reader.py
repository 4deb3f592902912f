"""A control network that knows its hint: what it tells is asked for at each step, the hint is encoded once."""

import torch
from inkpunk_unet import ControlNet, Residuals, T2IAdapter, guess_weights
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from inkpunk.memory.precision import is_finite, refuse_not_finite, widened
from inkpunk.models.control_nets import OpenControlNet
from inkpunk.pictures.pixels import image_to_tensor
from inkpunk.road.road import Latents


class Reader:
    """Tells what the network of a hint adds to the UNet; the same tensors for the same hint, at every step."""

    def __init__(
        self, net: OpenControlNet, hint: Image.Image, device: torch.device, dtype: torch.dtype, *, guess: bool
    ) -> None:
        """Read nothing yet.

        Args:
            net: the network, which is awake whenever it is asked.
            hint: RGB, in the drawing's size.
            device, dtype: where, and in which precision, it computes.
            guess: weigh what it tells as guess mode does, where the network's kind has such weights.
        """
        self._net, self._hint, self._device, self._dtype, self._guess = net, hint, device, dtype, guess
        self._read: Tensor | Residuals | None = None
        self._rows = dict[int, Tensor | Residuals]()
        self._wide: ControlNet | T2IAdapter | None = None  # in place of one that overflows
        self._looked = False

    def __call__(
        self, latents: Latents, timestep: float, context: Float[Tensor, "rows tokens width"]
    ) -> Residuals:
        """What it adds to the UNet, which is asked the same.

        Raises:
            NotFiniteError: where numbers come out that are not finite, also in float32.
        """
        network: ControlNet | T2IAdapter
        with self._net.network.awake() as network, torch.no_grad():
            told = self._told(network if self._wide is None else self._wide, latents, timestep, context)
            # an accelerator would have to be waited for
            if not self._looked or latents.device.type == "cpu":
                self._looked = True
                stage = f"control network {self._net.name}"
                if self._dtype is torch.float16 and not _is_finite(told):
                    self._wide, self._dtype, self._read = widened(network, stage), torch.float32, None
                    self._rows.clear()
                    told = self._told(self._wide, latents, timestep, context)
                for entry in _entries(told):
                    refuse_not_finite(entry, stage, self._dtype)
        return told

    def _told(
        self,
        network: ControlNet | T2IAdapter,
        latents: Latents,
        timestep: float,
        context: Float[Tensor, "rows tokens width"],
    ) -> Residuals:
        rows = latents.shape[0]
        known = self._for_rows(network, rows)
        if isinstance(known, Residuals) or isinstance(network, T2IAdapter):
            assert isinstance(known, Residuals)  # which such a network tells at once
            return known
        timesteps = torch.full((rows,), timestep, dtype=torch.float32, device=latents.device)
        told = network(latents.to(self._dtype), timesteps, context.to(self._dtype), known)
        if self._guess and not self._net.pooled:  # which tells the same of all places, and has no fine part
            return told.scaled(guess_weights(len(told.skips) + 1))
        return told

    def _for_rows(self, network: ControlNet | T2IAdapter, rows: int) -> Tensor | Residuals:
        """The hint as the network has read it: a ControlNet's features, or all that a T2I-Adapter tells."""
        if self._read is None:
            pixels = self._pixels(network)
            self._read = network(pixels) if isinstance(network, T2IAdapter) else network.encode_hint(pixels)
        if rows not in self._rows:
            read = self._read
            self._rows[rows] = (
                read.mapped(lambda one: _repeated(one, rows))
                if isinstance(read, Residuals)
                else _repeated(read, rows)
            )
        return self._rows[rows]

    def _pixels(self, network: ControlNet | T2IAdapter) -> Float[Tensor, "1 channels height width"]:
        """The hint in [0, 1], in grey for a network that takes one channel."""
        grey = isinstance(network, T2IAdapter) and network.config.hint_channels == 1
        hint = self._hint.convert("L").convert("RGB") if grey else self._hint
        pixels = (image_to_tensor(hint)[None, : 1 if grey else 3] + 1) / 2
        if self._net.swaps_colours:
            pixels = pixels.flip(1)
        return pixels.to(self._device, self._dtype)


def _entries(told: Residuals) -> list[Tensor]:
    return [entry for entry in (*told.skips, told.middle, *told.levels) if entry is not None]


def _is_finite(told: Residuals) -> bool:
    return all(map(is_finite, _entries(told)))


def _repeated(one: Float[Tensor, "1 _ _ _"], rows: int) -> Float[Tensor, "rows _ _ _"]:
    return torch.cat([one] * rows)  # in the order of memory that it has
