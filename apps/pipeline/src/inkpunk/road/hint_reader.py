"""A control network that knows its hint: what it tells is asked for at each step, the hint is encoded once."""

from functools import cached_property

import torch
from inkpunk_unet import ControlNet, Residuals, T2IAdapter, guess_weights
from jaxtyping import Float
from PIL import Image
from torch import Tensor

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
        self._rows = dict[int, Tensor | Residuals]()

    def __call__(
        self, latents: Latents, timestep: float, context: Float[Tensor, "rows tokens width"]
    ) -> Residuals:
        """What it adds to the UNet, which is asked the same."""
        rows = latents.shape[0]
        with self._net.network.awake() as network, torch.no_grad():
            if isinstance(network, T2IAdapter):
                return self._features(network, rows)
            timesteps = torch.full((rows,), timestep, dtype=torch.float32, device=latents.device)
            told = network(
                latents.to(self._dtype), timesteps, context.to(self._dtype), self._encoded(network, rows)
            )
        if self._guess and not self._net.pooled:
            return told.scaled(guess_weights(len(told.skips) + 1))
        return told

    def _features(self, network: T2IAdapter, rows: int) -> Residuals:
        if rows not in self._rows:
            self._rows[rows] = network(self._pixels_for(network)).mapped(lambda each: _repeated(each, rows))
        known = self._rows[rows]
        assert isinstance(known, Residuals)
        return known

    def _encoded(self, network: ControlNet, rows: int) -> Float[Tensor, "rows channels height width"]:
        if rows not in self._rows:
            self._rows[rows] = _repeated(network.encode_hint(self._pixels), rows)
        known = self._rows[rows]
        assert isinstance(known, Tensor)
        return known

    def _pixels_for(self, network: T2IAdapter) -> Float[Tensor, "1 channels height width"]:
        """As many channels as the network takes; of lines and depth that is often one."""
        return self._pixels[:, : network.config.hint_channels]

    @cached_property
    def _pixels(self) -> Float[Tensor, "1 3 height width"]:
        """The hint in [0, 1]."""
        pixels = (image_to_tensor(self._hint)[None] + 1) / 2
        if self._net.swaps_colours:
            pixels = pixels.flip(1)
        return pixels.to(self._device, self._dtype)


def _repeated(one: Float[Tensor, "1 _ _ _"], rows: int) -> Float[Tensor, "rows _ _ _"]:
    return torch.cat([one] * rows)  # in the order of memory that it has
