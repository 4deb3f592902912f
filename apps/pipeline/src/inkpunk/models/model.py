"""A loaded model: its networks, where and how they compute, and its twins with other adapters."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from inkpunk_clip import TextEncoder, Tokenizer
from inkpunk_sampling import NoiseSchedule
from inkpunk_unet import UNet
from inkpunk_vae import VAE, TinyVAE, tiled_decode, tiled_encode
from jaxtyping import Float
from torch import Tensor

from inkpunk.memory.allocator import giving_back_maps
from inkpunk.memory.estimate import TILED_ROWS
from inkpunk.memory.precision import finite
from inkpunk.memory.residence import Residence
from inkpunk.models.control_nets import ControlNets, OpenControlNet
from inkpunk.models.image_prompts import ImagePrompts, OpenImagePrompt
from inkpunk.models.learned import Learned, read_learned
from inkpunk.models.loading import Defaults, Loaded
from inkpunk.models.loras import Lora, OpenLora, Plain, as_lazy, with_defaults_of
from inkpunk.models.previews import LinearPreview
from inkpunk.models.tiny_vaes import TinyVAEs
from inkpunk.models.upscalers import Upscaler, load_upscaler
from inkpunk.pictures.fitting import SIZE_MULTIPLE
from inkpunk.request import Request
from inkpunk.road.encoding import Encoded
from inkpunk.road.errors import RequestError
from inkpunk.road.plan import Plan
from inkpunk.road.road import Images, Latents
from inkpunk.road.tileable import make_circular
from inkpunk.speed.pictures import show
from inkpunk.speed.threads import computing, vae_work

This = TypeVar("This", bound="Model")


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model: what a `Pipeline` draws with.

    Attributes:
        tokenizer, text_encoder, unet, vae: the networks, the latter three as residences on `device`.
        schedule: the noise schedule that the UNet was trained with.
        prediction: what it was trained to predict, a name in `inkpunk_sampling.PREDICTIONS`.
        defaults: the settings used where a request leaves them open.
        device, dtype: where the networks compute, and what they take and give. The sampler's own arithmetic is
            float32 in any case: it costs nothing beside the UNet, and half precision would add up over the steps.
        tiled: decode and encode pictures in strips, in about half the memory.
        name, path: what the pictures' facts call the model, and the file that they hash.
        loaded: how it was loaded.
        learned: the learned words (textual inversion embeddings) that prompts may use.
        encoded: the chunks of the last prompts, encoded: by their tokens, and the layers left out.
        loras: the adapters that the networks' weights are with.
        lora_notes: what a user should know of them, a line each.
        lora_folder: where prompts find adapters by their names.
        plain: the model without adapters; None for one of networks that were given by hand, as they are.
        tagged: the same model with the adapters, too, that the last prompt asked for.
        control_nets: the networks that read hints; None for a model whose networks were given by hand.
        image_prompts: the adapter that sees pictures; likewise.
        linear_preview: the map from latents to colours by which previews are made without a tiny autoencoder.
        tiny_vae: the tiny autoencoder, which makes previews, and decodes drafts; None for none.
        showing: the UNet that attends to the last pictures, by their weights.
        circular: the axes on which its networks read on at the opposite edge.
        tileable: the same model with networks that do so, by the axes that the last texture tiles on.
        upscalers: the network that made the last picture larger, by its file.
    """

    tokenizer: Tokenizer
    text_encoder: Residence[TextEncoder]
    unet: Residence[UNet]
    vae: Residence[VAE]
    schedule: NoiseSchedule
    defaults: Defaults
    device: torch.device
    dtype: torch.dtype
    prediction: str = "epsilon"
    tiled: bool = False
    name: str = "unnamed"
    path: Path | None = None
    loaded: Loaded = Loaded()  # noqa: RUF009  # frozen
    learned: Learned = field(default_factory=Learned)
    encoded: Encoded = field(default_factory=Encoded, repr=False)
    loras: tuple[OpenLora, ...] = ()
    lora_notes: tuple[str, ...] = ()
    lora_folder: Path | None = None
    plain: Plain | None = field(default=None, repr=False)
    tagged: dict[tuple[Lora, ...], Any] = field(default_factory=dict[tuple[Lora, ...], Any], repr=False)
    control_nets: ControlNets | None = field(default=None, repr=False)
    image_prompts: ImagePrompts | None = field(default=None, repr=False)
    linear_preview: LinearPreview = LinearPreview()  # noqa: RUF009  # frozen
    tiny_vae: TinyVAEs | None = field(default=None, repr=False)
    showing: dict[tuple[float, ...], Residence[UNet]] = field(
        default_factory=dict[tuple[float, ...], Residence[UNet]], repr=False
    )
    circular: str = ""
    tileable: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    upscalers: dict[Path, Upscaler] = field(default_factory=dict[Path, Upscaler], repr=False)

    def with_adapters(self: This, *loras: str | Path | Lora) -> This:
        """The same model with these adapters, of the LoRA family, and no others; without any, as its files have it.

        They are merged into a copy of the weights that they change, in float32, so that a step costs what it cost;
        all other weights are shared, and this pipeline stays as it is. Weights that come back are read from the
        model's file again, and so the same to the last bit.

        Args:
            loras: each a file, the folder that PEFT or diffusers saved, or a name in `lora_folder` or of one in the
                box; "FILE:0.8" or `Lora(file, weight=0.8, text_encoder=0.5)` for one at a weight other than 1.

        Raises:
            CheckpointError: for a file that is no such adapter, or not for this model.
        """
        return self._with_loras((), loras)

    def with_networks(
        self: This,
        control_nets: Mapping[str, str | Path] | None = None,
        ip_adapter: str | Path | None = None,
        image_encoder: str | Path | None = None,
    ) -> This:
        """The same model with other control networks, and another adapter that sees image prompts.

        Nothing of the model is loaded anew, and this pipeline stays as it is. What is open of these networks, and
        told again, stays open; the rest is opened when a request asks for it.

        Args:
            control_nets, ip_adapter, image_encoder: as `Pipeline.load` takes them; those that it was given do not
                count any more.

        Raises:
            RequestError: for a model whose networks were given by hand.
        """
        if self.control_nets is None or self.image_prompts is None:
            raise RequestError(
                "this model was made by hand, and takes no control networks and no image prompts"
            )
        nets = self.control_nets.choosing(control_nets or {})
        return self._reading(nets, self.image_prompts.choosing(ip_adapter, image_encoder))

    def with_embeddings(self: This, *embeddings: str | Path) -> This:
        """The same model with these learned words and no others; without any, with none.

        Nothing of the model is loaded anew, and this pipeline stays as it is.

        Args:
            embeddings: files of learned words (textual inversion), and folders of them, as `load` takes them.

        Raises:
            CheckpointError: for a file that is none, or not for this model.
        """
        learned = read_learned([Path(each) for each in embeddings], self.tokenizer, self.text_encoder.config)
        # a learned word's tokens are the same as another's in its place, so that what was encoded does not count
        return replace(self, learned=learned, encoded={}, tagged={}, tileable={})

    def with_networks_of(self: This, other: "Model") -> This:
        """The same model with what another twin of it has opened of control networks and image prompts."""
        return self._reading(other.control_nets, other.image_prompts)

    def _reading(self: This, nets: ControlNets | None, prompts: ImagePrompts | None) -> This:
        return replace(self, control_nets=nets, image_prompts=prompts, tagged={}, showing={}, tileable={})

    def _with_loras(self: This, kept: tuple[OpenLora, ...], asked: Sequence[str | Path | Lora]) -> This:
        plain = self.without_loras
        opened, notes = plain.opened(asked, self.lora_folder)
        loras = (*kept, *opened)
        networks = {"text_encoder": self.text_encoder, "unet": self.unet}
        exchanged: dict[str, Any] = {
            name: network.with_tensors(plain.exchanged(name, network.tensors, self.loras, loras))
            for name, network in networks.items()
        }
        return replace(
            self,
            **exchanged,
            plain=plain,
            loras=loras,
            lora_notes=notes,
            defaults=with_defaults_of(loras, plain.defaults),
            encoded={},
            tagged={},
            showing={},
            tileable={},
        )

    @property
    def precision(self) -> torch.dtype:
        """What the networks multiply in: `dtype`, or bfloat16 where only their products are in that."""
        return torch.bfloat16 if self.loaded.narrow else self.dtype

    @property
    def without_loras(self) -> Plain:
        """The model without adapters; one whose networks were given by hand is so now."""
        if self.plain is not None:
            return self.plain
        networks = {"text_encoder": self.text_encoder.tensors, "unet": self.unet.tensors}
        weights = {name: as_lazy(tensors) for name, tensors in networks.items()}
        return Plain(weights, self.defaults, self.name, None if self.loaded.halved else self.precision)

    def with_tags(self: This, loras: tuple[Lora, ...]) -> This:
        """The same model with the adapters, too, that a prompt asks for; the last is remembered.

        Raises:
            CheckpointError: as `with_adapters`.
        """
        if not loras:
            return self
        known = self.tagged.get(loras)
        if known is None:
            known = self._with_loras(self.loras, loras)
            self.tagged.clear()
            self.tagged[loras] = known
        return known  # which another thread may have let go of by now

    def for_textures(self: This, axes: str | None) -> This:
        """The same model, drawing pictures that tile on these axes (`Request.tileable`); the last is remembered."""
        if axes is None or axes == self.circular:
            return self
        known = self.tileable.get(axes)
        if known is None:
            circular = partial(make_circular, axes=axes)
            known = replace(
                self,
                unet=self.unet.changed(circular),
                vae=self.vae.changed(circular),
                control_nets=self.control_nets and self.control_nets.changed(circular),
                tagged={},
                showing={},
                circular=axes,
            )
            self.tileable.clear()
            self.tileable[axes] = known
        return known

    def notes_of(self, request: Request) -> tuple[str, ...]:
        """What a user should know of the adapters that a request's prompt asks for, a line each."""
        asked = dict.fromkeys(lora for seed in request.seeds for lora in request.asked_of(seed)[1])
        return self.without_loras.opened(asked, self.lora_folder)[1] if asked else ()

    def networks(self, plan: Plan) -> tuple[OpenControlNet, ...]:
        """The control networks that read a plan's hints, one for each; opened, if they are not.

        Raises:
            CheckpointError: there is none for a kind, or it is something else, or for another model.
            HubError: one cannot be fetched.
        """
        asked = plan.request.followed
        if asked and self.control_nets is None:
            raise RequestError(f"{asked[0]}: this model was made by hand, and has no control networks")
        return tuple(self.control_nets.of(each.kind) for each in asked) if self.control_nets else ()

    def image_prompt(self, plan: Plan) -> OpenImagePrompt | None:
        """What sees a plan's image prompts; opened, if it is not. None if it has none.

        Raises:
            CheckpointError: there is no adapter, or it is something else, or for another model.
            HubError: it cannot be fetched.
        """
        if not plan.request.shown:
            return None
        if self.image_prompts is None:
            raise RequestError("image prompt: this model was made by hand, and has no adapter to see it with")
        return self.image_prompts.opened

    def opened_tiny_vae(self) -> Residence[TinyVAE]:
        """The tiny autoencoder; opened, if it is not.

        Raises:
            RequestError: there is none.
            CheckpointError: it is something else, or for another model.
            HubError: it cannot be fetched.
        """
        if self.tiny_vae is None:
            raise RequestError(
                "draft: takes a tiny autoencoder; give one as --tiny-vae (tiny_vae=), such as madebyollin/taesd"
            )
        return self.tiny_vae.opened

    def unet_for(self, plan: Plan) -> Residence[UNet]:
        """The UNet, or for a plan with image prompts a twin of it that attends to them; the last is remembered."""
        prompt, weights = self.image_prompt(plan), tuple(each.weight for each in plan.request.shown)
        if prompt is None:
            return self.unet
        known = self.showing.get(weights)
        if known is None:
            known = self.unet.changed(lambda unet: show(unet, prompt.network.copied({}), weights))
            self.showing.clear()
            self.showing[weights] = known
        return known

    def upscaler(self, plan: Plan) -> Upscaler | None:
        """The network that makes a plan's pictures larger, opened, if it is not; the last is remembered.

        Raises:
            CheckpointError: its file is none, or what reads it is not installed.
        """
        enlarge = plan.request.enlarging
        if enlarge is None or enlarge.upscaler is None:
            return None
        path = Path(enlarge.upscaler)
        upscaler = self.upscalers.get(path)
        if upscaler is None:
            upscaler = load_upscaler(path, self.device)
            self.upscalers.clear()
            self.upscalers[path] = upscaler
        return upscaler

    def computing(self, work: float) -> AbstractContextManager[None]:
        """Compute meanwhile as this model was loaded to, with as many threads as so many multiply-adds are worth."""
        loaded = self.loaded
        return computing(work, self.device, deterministic=loaded.deterministic, fitting=loaded.fitting)

    def _vae_computing(self, height: int, width: int) -> AbstractContextManager[None]:
        return self.computing(vae_work(self.vae.parameters, width, height))

    def encode(
        self,
        images: Float[Tensor, "batch 3 height width"],
        noise: Float[Tensor, "batch 4 latent_height latent_width"],
    ) -> Float[Tensor, "batch 4 latent_height latent_width"]:
        """Draw latents, in float32, from the VAE's posterior of images in [-1, 1]."""

        def work(vae: VAE, dtype: torch.dtype) -> Latents:
            there = images.to(self.device, dtype)
            encode = partial(tiled_encode, vae, rows=TILED_ROWS, circular="y" in self.circular)
            posterior = encode(there) if self.tiled else vae.encode(there)
            return posterior.sample(noise.to(self.device, dtype)).float()

        with self._vae_computing(*images.shape[2:]), self.vae.awake() as vae, torch.no_grad():
            return finite("VAE encoder", vae, self.dtype, work)

    def decode(
        self, latents: Float[Tensor, "batch 4 latent_height latent_width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Turn latents into images, in float32, about [-1, 1]; one image at a time, since they share nothing."""

        def work(vae: VAE, dtype: torch.dtype) -> Images:
            in_strips = partial(tiled_decode, vae, rows=TILED_ROWS, circular="y" in self.circular)
            decode = in_strips if self.tiled else vae.decode
            return torch.cat([decode(one) for one in torch.split(latents.to(self.device, dtype), 1)]).float()

        height, width = (SIZE_MULTIPLE * side for side in latents.shape[2:])
        sparing = giving_back_maps() if self.loaded.narrow else nullcontext()
        with self._vae_computing(height, width), self.vae.awake() as vae, sparing, torch.no_grad():
            return finite("VAE decoder", vae, self.dtype, work)

    def decode_roughly(
        self, latents: Float[Tensor, "batch 4 latent_height latent_width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Turn latents into images as `decode` does, by the tiny autoencoder.

        Raises:
            RequestError: there is none.
            CheckpointError, HubError: as it is opened.
        """

        def work(tiny: TinyVAE, dtype: torch.dtype) -> Images:
            return torch.cat(
                [tiny.decode(one) for one in torch.split(latents.to(self.device, dtype), 1)]
            ).float()

        tiny_vae, (height, width) = (
            self.opened_tiny_vae(),
            (SIZE_MULTIPLE * side for side in latents.shape[2:]),
        )
        computing = self.computing(vae_work(tiny_vae.parameters, width, height))
        with computing, tiny_vae.awake() as tiny, torch.no_grad():
            return finite("tiny autoencoder", tiny, self.dtype, work)
