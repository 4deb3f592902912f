"""Image prompts (IP-Adapters): which one a user means, whether it fits a model, and what it sees of a picture."""

from collections import OrderedDict
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from inkpunk_clip import ImageEncoder, ImageEncoderConfig, prepared
from inkpunk_unet import ImagePrompt, ImagePromptConfig, UNet, UNetConfig, cross_attentions
from inkpunk_weights import CheckpointError, LazyTensors, open_image_encoder, open_image_prompt
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from inkpunk.memory.precision import finite
from inkpunk.memory.residence import Residence
from inkpunk.models.hashing import short_hash
from inkpunk.models.hub import resolve_image_encoder, resolve_network
from inkpunk.models.loading import build
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.pixels import image_hash, image_to_tensor

REMEMBERED = 16  # pictures

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class OpenImagePrompt:
    """An image prompt and the image encoder through which it looks, ready to work.

    Attributes:
        path, encoder_path: their files or folders.
        network, encoder: the networks.
        device, dtype: where, and in which precision, they compute.
        seen: the tokens of the last pictures, by their hashes; "" for none.
    """

    path: Path
    encoder_path: Path
    network: Residence[ImagePrompt]
    encoder: Residence[ImageEncoder]
    device: torch.device
    dtype: torch.dtype
    seen: OrderedDict[str, Float[Tensor, "tokens width"]] = field(
        default_factory=OrderedDict[str, Tensor], repr=False
    )

    @property
    def told(self) -> dict[str, str]:
        """Both by name, each with the first 12 hex digits of its file's SHA-256, or what a folder is known by."""
        paths = {"adapter": self.path, "encoder": self.encoder_path}
        return {name: f"{_name(path)} [{short_hash(path)}]" for name, path in paths.items()}

    def tokens(self, picture: Image.Image | None) -> Float[Tensor, "tokens width"]:
        """What a picture says to the UNet; of the last pictures it is remembered. None is no picture: nothing.

        Raises:
            PictureError: it is too long for its width.
        """
        key = "" if picture is None else image_hash(picture)
        found = self.seen.pop(key, None)
        if found is None:
            embeds = self._embeds(picture)

            def work(network: ImagePrompt, dtype: torch.dtype) -> Tensor:
                return network(embeds.to(dtype))[0]

            with self.network.awake() as network, torch.no_grad():
                found = finite("image prompt", network, self.dtype, work)
        self.seen[key] = found  # as the latest
        while len(self.seen) > REMEMBERED:
            self.seen.popitem(last=False)
        return found

    def _embeds(self, picture: Image.Image | None) -> Float[Tensor, "1 *patches width"]:
        """A picture as CLIP sees it: its patches for a "plus" adapter, the whole for others."""
        plus, config = self.network.config.resampler is not None, self.encoder.config
        if picture is None and not plus:
            return torch.zeros(1, config.projection, device=self.device, dtype=self.dtype)
        if picture is None:
            pixels = torch.zeros(1, 3, config.image, config.image)
        else:
            try:
                pixels = prepared(image_to_tensor(picture)[None], config.image)
            except ValueError as error:
                raise PictureError(f"image prompt: {error}") from error

        def work(encoder: ImageEncoder, dtype: torch.dtype) -> Tensor:
            there = pixels.to(self.device, dtype)
            return encoder.patches(there) if plus else encoder(there)

        with self.encoder.awake() as encoder, torch.no_grad():
            return finite("image encoder", encoder, self.dtype, work)


class ImagePrompts:
    """The image prompt of a model, which is opened when it is first asked for, and kept."""

    def __init__(
        self,
        adapter: str | Path | None,
        encoder: str | Path | None,
        unet: UNetConfig,
        *,
        waiting: torch.device,
        compute: torch.device,
        dtype: torch.dtype,
        kept: torch.dtype | None,
        reside: Callable[[nn.Module], Residence[Any]],
    ) -> None:
        """Open nothing yet.

        Args:
            adapter: its file, or one of the hub; None for none.
            encoder: CLIP's image encoder; None for the one that is beside the adapter.
            unet: the model's.
            waiting, compute: where networks wait, and where they compute.
            dtype, kept: in which precision they compute, and that of their weights; None for the files' own.
            reside: makes a network fast, and a residence of it.
        """
        self.adapter, self.encoder, self._unet = adapter, encoder, unet
        self._waiting, self._compute, self._dtype, self._kept = waiting, compute, dtype, kept
        self._reside = reside
        self._encoders = dict[Path, Residence[ImageEncoder]]()

    def choosing(self, adapter: str | Path | None, encoder: str | Path | None) -> "ImagePrompts":
        """The same, with other files; an image encoder that is open, and looked through again, stays open."""
        if (adapter, encoder) == (self.adapter, self.encoder):
            return self
        chosen = copy(self)
        vars(chosen).pop("opened", None)  # that of the files before
        chosen.adapter, chosen.encoder = adapter, encoder
        chosen._encoders = dict(self._encoders) if adapter is not None else {}
        return chosen

    @cached_property
    def opened(self) -> OpenImagePrompt:
        """The image prompt and its encoder.

        Raises:
            CheckpointError: none is given, it is something else, or for another model.
            HubError: one of the two cannot be fetched.
        """
        if self.adapter is None:
            raise CheckpointError(
                "image prompt: this model has no adapter to see pictures with; give one as --ip-adapter FILE, such "
                "as h94/IP-Adapter/models/ip-adapter_sd15.safetensors"
            )
        path = resolve_network(str(self.adapter))
        file = open_image_prompt(path)
        try:
            config = ImagePromptConfig.from_weights(file.tensors)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
        _refuse_misfit(path, config, self._unet)
        half = self._dtype is torch.float16
        encoder_path = resolve_image_encoder(self.encoder, self.adapter, path, half=half)
        encoder_file = open_image_encoder(encoder_path)
        try:
            encoder = (
                ImageEncoderConfig.from_diffusers(encoder_file.config)
                if encoder_file.config
                else ImageEncoderConfig.from_weights(encoder_file.tensors)
            )
        except ValueError as error:
            raise CheckpointError(f"{encoder_path}: {error}") from error
        given = encoder.projection if config.resampler is None else encoder.width
        if given != config.embed_width:
            raise CheckpointError(
                f"{encoder_path}: gives {given} numbers where {path} reads {config.embed_width}; give the image "
                "encoder that it was trained with as --image-encoder"
            )
        looks = self._encoders.get(encoder_path)
        self._encoders.clear()  # so that two are never held at once
        if looks is None:
            looks = self._built(lambda: ImageEncoder(encoder), encoder_file.tensors, encoder_path)
        self._encoders[encoder_path] = looks
        return OpenImagePrompt(
            path,
            encoder_path,
            self._built(lambda: ImagePrompt(config), file.tensors, path),
            looks,
            self._compute,
            self._dtype,
        )

    def _built(self, make: Callable[[], Module], tensors: LazyTensors, path: Path) -> Residence[Module]:
        with torch.device("meta"):
            wanted = make().state_dict()
        for name, tensor in wanted.items():
            if name not in tensors or tensors.spec(name).shape != tuple(tensor.shape):
                raise CheckpointError(
                    f"{path}: {name}, as we name it, is missing or not of {list(tensor.shape)}, which its config "
                    "says; fetch it again"
                )
        return self._reside(build(make, tensors, device=self._waiting, dtype=self._kept, where=str(path)))


def describe_image_prompt(path: Path) -> dict[str, object]:
    """What an image prompt's file is, in words.

    Raises:
        CheckpointError: it is none.
    """
    file = open_image_prompt(path)
    config = ImagePromptConfig.from_weights(file.tensors)
    sees = "patches of a picture, each" if config.resampler else "a picture as a whole,"
    return {
        "kind": "an image prompt (IP-Adapter)",
        "sees": f"{sees} as {config.embed_width} numbers",
        "tokens": f"{config.tokens} a picture, of width {config.context_width}",
        "for": f"a UNet of {len(config.widths)} cross-attentions, up to {max(config.widths)} channels wide",
    }


def _refuse_misfit(path: Path, config: ImagePromptConfig, unet: UNetConfig) -> None:
    with torch.device("meta"):
        widths = tuple(layer.query.out_features for layer in cross_attentions(UNet(unet)))
    if config.widths != widths:
        raise CheckpointError(
            f"{path}: an image prompt for a UNet with {len(config.widths)} cross-attentions of up to "
            f"{max(config.widths)} channels, and this model's has {len(widths)} of up to {max(widths)}; it was made "
            "for another model"
        )
    if config.context_width != unet.context_width:
        raise CheckpointError(
            f"{path}: an image prompt for prompts {config.context_width} channels wide, and this model's are "
            f"{unet.context_width}; it was made for another model"
        )


def _name(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.stem
