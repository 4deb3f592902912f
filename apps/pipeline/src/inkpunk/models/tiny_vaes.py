"""The tiny autoencoder (TAESD) that stands in for the VAE: which one a user means, and whether it fits a model."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from inkpunk_vae import TinyVAE, TinyVAEConfig, VAEConfig
from inkpunk_weights import CheckpointError, open_tiny_vae
from torch import nn

from inkpunk.memory.residence import Residence
from inkpunk.models.hashing import short_hash
from inkpunk.models.hub import resolve_network
from inkpunk.models.loading import build


class TinyVAEs:
    """The tiny autoencoder of a model, which is opened when it is first asked for, and kept."""

    def __init__(
        self,
        given: str | Path,
        vae: VAEConfig,
        *,
        waiting: torch.device,
        dtype: torch.dtype | None,
        half: bool,
        reside: Callable[[nn.Module], Residence[Any]],
    ) -> None:
        """Open nothing yet.

        Args:
            given: a file, a folder, or a name on the hub.
            vae: the model's own, whose latents it reads.
            waiting, dtype: where it waits, and in which precision; None for the file's own.
            half: prefer float16 weights on the hub.
            reside: makes a network fast, and a residence of it.
        """
        self.given, self._vae = given, vae
        self._waiting, self._dtype, self._half, self._reside = waiting, dtype, half, reside

    @cached_property
    def path(self) -> Path:
        """Its file or folder, fetched if need be.

        Raises:
            HubError: it cannot be.
        """
        return resolve_network(str(self.given), half=self._half)

    @cached_property
    def opened(self) -> Residence[TinyVAE]:
        """The network.

        Raises:
            CheckpointError: it is something else, or for another model.
            HubError: it cannot be fetched.
        """
        weights = open_tiny_vae(self.path).tensors
        try:
            config = TinyVAEConfig.from_weights(weights)
        except ValueError as error:
            raise CheckpointError(f"{self.path}: {error}") from error
        if config.factor != self._vae.factor:
            raise CheckpointError(
                f"{self.path}: makes {config.factor} x {config.factor} pixels of a latent, and this model's VAE "
                f"{self._vae.factor} x {self._vae.factor}; it was made for another model"
            )
        return self._reside(
            build(
                lambda: TinyVAE(config),
                weights,
                device=self._waiting,
                dtype=self._dtype,
                where=str(self.path),
            )
        )

    @property
    def told(self) -> str:
        """Its name, and in brackets the first 12 hex digits of its file's SHA-256, or what a folder is known by."""
        path = self.path
        return f"{path.resolve().name if path.is_dir() else path.stem} [{short_hash(path)}]"


def describe_tiny_vae(path: Path) -> dict[str, object]:
    """What a tiny autoencoder's file is, in words.

    Raises:
        CheckpointError: it is none.
    """
    config = TinyVAEConfig.from_weights(open_tiny_vae(path).tensors)
    return {
        "kind": "a tiny autoencoder (TAESD)",
        "has": "encoder and decoder" if config.encoder_blocks else "its decoder alone",
        "width": f"{config.width} channels",
    }
