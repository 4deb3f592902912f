"""The composition: tokenizer, text encoder, UNet, sampler and VAE, joined into one road from prompt to picture."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from inkpunk_clip import (
    EncodeChunk,
    Language,
    Timeline,
    contexts,
    side_by_side,
    understand,
)
from inkpunk_sampling import Denoise, Draw, Step, brownian_path, sample, seeded_noise
from inkpunk_unet import Residuals, UNet
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from inkpunk.memory.estimate import picture_memory, refuse_what_does_not_fit
from inkpunk.memory.free import free_memory
from inkpunk.memory.precision import (
    is_finite,
    refuse_not_finite,
    widened,
)
from inkpunk.memory.residence import Residence
from inkpunk.models.assembling import assemble
from inkpunk.models.control_nets import OpenControlNet
from inkpunk.models.facts import facts_of_model
from inkpunk.models.given_files import given_files
from inkpunk.models.loras import Lora, by_name, open_loras, with_defaults_of
from inkpunk.models.model import Model
from inkpunk.pictures.canvas import Canvas
from inkpunk.pictures.facts import Facts
from inkpunk.pictures.fitting import SIZE_MULTIPLE, fit
from inkpunk.pictures.picture import Picture
from inkpunk.pictures.pixels import image_to_tensor, tensor_to_image
from inkpunk.request import Request
from inkpunk.road.batch import draws_alone, together
from inkpunk.road.beginning import begin
from inkpunk.road.beside import beside
from inkpunk.road.blend import blended, blended_plan
from inkpunk.road.contexts import contexts_of, joiner
from inkpunk.road.control import Controller, Tell, controlled
from inkpunk.road.encoding import ChunkEncoder
from inkpunk.road.enlarging import resized
from inkpunk.road.facts import by_kind, facts_of
from inkpunk.road.finishing import finished
from inkpunk.road.guidance import planned_guidance
from inkpunk.road.hint_reader import Reader
from inkpunk.road.idle import idle
from inkpunk.road.inpainting import INPAINTING_CHANNELS
from inkpunk.road.picture_tokens import by_words_alone, prompted, seen_of
from inkpunk.road.plan import Plan
from inkpunk.road.planning import decide
from inkpunk.road.prompts import (
    Context,
    Contexts,
    Reading,
    parts_of,
    read_prompts,
    steered,
    step_finder,
)
from inkpunk.road.road import LATENT_CHANNELS, Images, Latents, ModelInput, Predict, Road, Start
from inkpunk.road.second_pass import in_a_row, plan_larger, told_of_enlarging
from inkpunk.road.sizes import canvas_for, size_for
from inkpunk.road.tiles import Tile, encode_in_tiles, in_tiles
from inkpunk.speed import Speed
from inkpunk.speed.threads import each_within, unet_work


class Pipeline(Model):
    """A loaded model, ready to draw. Make one with `Pipeline.load`; every field may also be given by hand.

    Attributes: those of `inkpunk.models.model.Model`.
    """

    @classmethod
    def load(
        cls,
        model: str | Path = "sketch",
        *,
        device: str = "auto",
        dtype: str = "auto",
        offload: bool = False,
        tiled: bool = False,
        low_memory: bool = False,
        ema: bool = False,
        prediction: str | None = None,
        zero_snr: bool | None = None,
        embeddings: Sequence[str | Path] = (),
        loras: Sequence[str | Path | Lora] = (),
        lora_folder: str | Path | None = None,
        control_nets: Mapping[str, str | Path] | None = None,
        ip_adapter: str | Path | None = None,
        image_encoder: str | Path | None = None,
        tiny_vae: str | Path | None = None,
        deterministic: bool = False,
        speed: Speed = Speed(),  # noqa: B008  # frozen, so safe to share
    ) -> "Pipeline":
        """Load a model.

        Args:
            model: "sketch" (the model in the box), a checkpoint file, a diffusers folder, or a hub id such as
                "Envvi/Inkpunk-Diffusion", which is downloaded on first use.
            device: "auto", "cuda", "mps", "cpu", or any device torch knows.
            dtype: "auto" (float16 on an accelerator, float32 on a CPU), "float32", "float16" or "bfloat16", in which
                a CPU multiplies alone, if that is faster there; else it takes float32, and says so.
            offload: keep each network in main memory while it has nothing to do, for devices of little memory.
            tiled: decode and encode pictures strip by strip.
            low_memory: `offload` and `tiled`, and where the computing is in float32, weights of 16 bits that each
                layer turns into float32 while it is at work: less than 3 GiB for 512x512, by a few per cent slower;
                a checkpoint of 32 bits loses the digits that its 16-bit edition has lost.
            ema: take a training checkpoint's averaged (EMA) weights.
            prediction: what the model was trained to predict, "epsilon", "v" or "sample"; None for what its files
                say.
            zero_snr: whether it was trained with a zero-terminal-SNR schedule; None for what its files say.
            embeddings: files of learned words (textual inversion), and folders of them; a prompt calls each by its
                file's name.
            loras: adapters of the LoRA family, as `with_adapters` takes them.
            lora_folder: of adapters that prompts, and `loras`, call by their files' names.
            control_nets: by the kind of hint, the file, folder or hub id of the ControlNet or T2I-Adapter that reads
                it, where that is not the usual one: ControlNet 1.1 from the hub, or the one in the box. Each is
                opened when a request asks for it.
            ip_adapter: the IP-Adapter that sees image prompts: a file, or one of the hub, such as
                "h94/IP-Adapter/models/ip-adapter_sd15.safetensors". It is opened when a request asks for it.
            image_encoder: CLIP's image encoder, through which it looks: a file, a folder or a hub id, where that is
                not in the folder image_encoder beside it.
            tiny_vae: a tiny autoencoder (TAESD), for previews and drafts: a file, a folder or a hub id, such as
                "madebyollin/taesd". It is opened when it is first asked for.
            deterministic: draw the same bits on this machine whatever the batch, the order, the number of threads,
                and what else the process does: each picture by itself, and on a CPU what torch computes by one
                thread. Without, pictures in float32 are the same to one level of 255.
            speed: the ways of making the networks faster; each can be left out.

        Raises:
            DeviceError: for a device or dtype that is not to be had.
            HubError: for a model that cannot be fetched.
            CheckpointError: for a file that is not a whole SD v1 checkpoint; it lists all that is wrong. For an
                embedding or an adapter that is none, or not for this model.
        """
        parts = assemble(
            model,
            device=device,
            dtype=dtype,
            offload=offload,
            tiled=tiled,
            low_memory=low_memory,
            ema=ema,
            prediction=prediction,
            zero_snr=zero_snr,
            embeddings=embeddings,
            loras=loras,
            lora_folder=lora_folder,
            control_nets=control_nets,
            ip_adapter=ip_adapter,
            image_encoder=image_encoder,
            tiny_vae=tiny_vae,
            deterministic=deterministic,
            speed=speed,
        )
        return cls(**parts)

    def plan(self, request: Request) -> Plan:
        """Decide what the request leaves open, and check what only a model can judge.

        Raises:
            RequestError: for a strength too small for a single step, settings of guidance without effect, or a
                sampler that cannot draw with this model.
        """
        loras, defaults = [request.asked_of(seed)[1] for seed in request.seeds], self.defaults
        if len({*loras}) == 1:
            defaults = with_defaults_of(self.without_loras.opened(loras[0], self.lora_folder)[0], defaults)
        layers, canvas = self.text_encoder.config.layers, self.canvas(request)
        planned = partial(decide, defaults=defaults, schedule=self.schedule, layers=layers)
        if request.enlarging is not None:
            return plan_larger(request, request.enlarging, self.size(request), planned)
        return planned(request, size=canvas.size if canvas else self.size(request), canvas=canvas)

    def idle(self, request: Request) -> tuple[str, ...]:
        """What a request asks for that changes nothing, a line each."""
        return tuple(idle(self.plan(request)))

    def canvas(self, request: Request) -> Canvas | None:
        """The picture that a request draws a part of anew; None for one that asks for nothing of the kind."""
        return canvas_for(request, self.defaults.size)

    def size(self, request: Request) -> tuple[int, int]:
        """The width and height that a request is drawn in; of one that is enlarged, by its first pass."""
        return size_for(request, self.defaults.size)

    def run(self, request: Request) -> Iterator[Step]:
        """Draw the request's pictures together, yielding the state after every step.

        The last step's `latents` are what `decode` and `pictures` take. Whoever stops iterating stops the work.

        Raises:
            RequestError: before the first step, for a request that this model cannot draw, or this machine not hold.
            NotFiniteError: where numbers come out that are not finite, as soon as that is seen.
        """
        plan = self.plan(request)
        for each in plan.passes:
            refuse_what_does_not_fit(self.memory(each), free_memory(self.device), each, tiled=self.tiled)
        self.upscaler(plan)  # refuses for itself
        pipeline, larger = self.for_textures(request.tileable), plan.larger
        work = max(
            unet_work(self.unet.parameters, each.rows, each.width, each.height) for each in self._alone(plan)
        )
        within = partial(self.computing, work)
        if larger is None:
            return each_within(within, pipeline._steps(plan))
        steps = in_a_row(
            pipeline._steps(plan),
            lambda latents: pipeline._steps(replace(larger, begins=pipeline._begun(plan, larger, latents))),
            plan.passes,
        )
        return each_within(within, steps)

    def memory(self, plan: Plan) -> int:
        """Estimate the bytes that a plan takes on the computing device, beside the weights that are there already."""
        itemsize = torch.empty(0, dtype=self.dtype).itemsize
        rows = max(each.rows for each in self._alone(plan))
        maps = picture_memory(
            plan,
            self.unet.config,
            self.vae.config,
            rows=rows,
            itemsize=itemsize,
            tiled=self.tiled,
            controls=len(plan.hints),
        )
        if plan.request.draft:
            self.opened_tiny_vae()  # or it is refused; it takes less than the VAE, which counts below
        controls = sum(net.network.bytes_to_move for net in {*self.networks(plan)})  # beside the UNet
        unet = self.unet.bytes_to_move + controls
        encoder = 0
        if prompt := self.image_prompt(plan):
            unet, encoder = unet + prompt.network.bytes_to_move, prompt.encoder.bytes_to_move
        return maps + max(self.text_encoder.bytes_to_move, unet, self.vae.bytes_to_move, encoder)

    def _begun(
        self, plan: Plan, larger: Plan, latents: Latents
    ) -> tuple[Image.Image, ...] | Float[Tensor, "batch 4 larger_height larger_width"]:
        """What a second pass begins from, of the latents that the first has drawn."""
        size, enlarge = (larger.width, larger.height), plan.request.enlarging
        if enlarge is not None and enlarge.way() == "latents":
            return resized(latents, size)
        images = map(tensor_to_image, self.road(plan).decode(latents))
        return tuple(self._enlarged(plan, image, size) for image in images)

    def _enlarged(self, plan: Plan, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        """A picture in this size: by the plan's network, as far as it goes, and by Lanczos."""
        upscaler = self.upscaler(plan)
        return fit(upscaler.enlarged(image, size) if upscaler else image, size)

    def generate(self, request: Request) -> list[Picture]:
        """Draw the request's pictures to the end, one a seed, in the order of the seeds."""
        last = deque(self.run(request), maxlen=1).pop()  # the steps before it need not be kept
        return self.pictures(request, last.latents)

    def encode_prompts(
        self,
        prompts: Sequence[str],
        skip_layers: int = 0,
        language: Language = Language(),  # noqa: B008  # frozen
    ) -> Float[Tensor, "prompts tokens width"]:
        """Turn prompts into contexts that steer the UNet, made as long as the longest; as at the first step.

        The text encoder's last `skip_layers` are left out.

        Each chunk of a prompt is encoded by itself, so that what was encoded before, or beside it, changes no bit of
        it; the last few are remembered.
        """
        read = [
            understand(prompt, 1, self.tokenizer, self.learned.words, language, composed=False)[0]
            for prompt in prompts
        ]
        encode = self._chunk_encoder(read, skip_layers)
        encoded = [contexts(each, encode, language)[0] for each in read]
        return side_by_side(encoded, encode, language.padding, read[0].moments[0].chunks[0].empty)

    def readings(self, plan: Plan) -> tuple[Reading, ...]:
        """Tell how the prompts of each of a plan's pictures are understood."""
        return read_prompts(plan, self.tokenizer, self.learned.words)

    def contexts(self, plan: Plan) -> Contexts:
        """Encode what steers a plan's pictures, each text once, and tell what does so at each timestep."""
        return contexts_of(plan, self.readings(plan), self._chunk_encoder, self.schedule)

    def _chunk_encoder(self, timelines: Iterable[Timeline], skip_layers: int) -> EncodeChunk:
        """What gives the encoding of any chunk; those of the timelines are encoded now, in one go."""
        words = self.learned.words
        computing = partial(
            self.computing, float(self.text_encoder.config.positions * self.text_encoder.parameters)
        )
        encode = ChunkEncoder(
            self.text_encoder, words, self.device, self.dtype, skip_layers, self.encoded, computing
        )
        encode.prepare(timelines)
        return encode

    def preview(self, step: Step) -> list[Image.Image]:
        """Show what a step of `run` expects to come of it, one picture a seed.

        With a tiny autoencoder they are as large as what is drawn, and much like it; without, a linear map of the
        latents gives colours alone, one pixel for 8 x 8.

        Raises:
            CheckpointError, HubError: as the tiny autoencoder is opened.
        """
        see = self.linear_preview if self.tiny_vae is None else self.decode_roughly
        return [tensor_to_image(image) for image in see(step.denoised)]

    def pictures(
        self, request: Request, latents: Float[Tensor, "batch 4 latent_height latent_width"]
    ) -> list[Picture]:
        """Decode a finished run's latents, and note on each picture what it takes to draw it again."""
        plan = self.plan(request)
        if plan.canvas and plan.idle:
            images = [plan.canvas.picture] * len(request.seeds)
        else:
            images = map(tensor_to_image, self.road(plan.passes[-1]).decode(latents))
        return [
            Picture(finished(plan, image), self.facts(plan, seed))
            for image, seed in zip(images, request.seeds, strict=True)
        ]

    def noise(self, plan: Plan) -> Iterator[Float[Tensor, "batch 4 latent_height latent_width"]]:
        """Draw the plan's noise, in float32 on the pipeline's device: the initial draw, then what steps want."""
        conventions = plan.request.program.sampling
        noise = seeded_noise(
            plan.request.seeds, _latent_shape(plan), conventions.source, conventions.step_seed
        )
        return (draw.to(self.device) for draw in noise)

    def brownian(self, plan: Plan) -> Draw:
        """Lay the paths of noise that some samplers follow, one a seed, in float32 on the pipeline's device."""
        conventions = plan.request.program.sampling
        whole = conventions.path(self.schedule, plan.sampler, plan.steps, plan.spacing)
        ends = conventions.brownian_ends(self.schedule, whole, plan.path)
        path = brownian_path(plan.request.seeds, _latent_shape(plan), self.schedule, conventions.source, ends)
        return lambda sigma, lower: path(sigma, lower).to(self.device)

    def predict(
        self,
        latents: Float[Tensor, "batch channels latent_height latent_width"],
        timestep: float,
        context: Float[Tensor, "batch positions width"],
        residuals: Residuals | None = None,
    ) -> Float[Tensor, "batch 4 latent_height latent_width"]:
        """Ask the UNet once: float32 in and out, in the pipeline's precision between.

        An inpainting model takes nine channels: see `inkpunk.road.inpainting`.
        """
        return self._asked(self.unet, latents, timestep, context, residuals)

    def _asked(
        self,
        unet: Residence[UNet],
        latents: ModelInput,
        timestep: float,
        context: Context,
        residuals: Residuals | None = None,
    ) -> Latents:
        rows, _, height, width = latents.shape
        work = unet_work(unet.parameters, rows, SIZE_MULTIPLE * width, SIZE_MULTIPLE * height)
        with self.computing(work), unet.awake() as network:
            return _predicted(network, self.dtype, latents, timestep, context, residuals)

    def road(self, plan: Plan, predict: Predict | None = None) -> Road:
        """Lay a plan's road: the plain one, and around it what the request asks for beyond its prompt.

        `predict` is what asks the UNet, where that is not `self.predict`; with image prompts, `unet_for` the plan.
        """
        request = plan.request
        if (pipeline := self.for_textures(request.tileable)) is not self:
            return pipeline.road(plan, predict)
        if predict is None:
            predict = partial(self._asked, self.unet_for(plan)) if request.shown else self.predict
        guidance = planned_guidance(plan, self.schedule, self.prediction)
        road = Road(
            start=lambda: Start(self.noise(plan)),
            predict=predict,
            denoise=lambda predict: steered(self._all_contexts(plan), guidance)(predict),
            decode=self.decode_roughly if request.draft else self.decode,
        )
        side = request.tile_size and request.tile_size // SIZE_MULTIPLE
        if side:
            whole = road
            road = in_tiles(road, side, lambda tile: self._followed(plan, whole, tile).predict)
        else:
            road = self._followed(plan, road)
        return begin(
            road,
            plan,
            partial(self._begins, plan),
            encode=encode_in_tiles(self.encode, side) if side else self.encode,
            schedule=self.schedule,
            prediction=self.prediction,
            inpaints=self.unet.config.in_channels == INPAINTING_CHANNELS,
            parts=parts_of(self.readings(plan)),
        )

    def _begins(self, plan: Plan) -> Images:
        """The images in [-1, 1] that a plan begins from, one for each picture."""
        if plan.begins is not None:
            return torch.stack(
                [image_to_tensor(each) for each in plan.begins if isinstance(each, Image.Image)]
            )
        start = plan.start
        if plan.request.enlarging is not None and plan.request.picture is not None:
            start = self._enlarged(plan, plan.request.picture, (plan.width, plan.height))
        assert start is not None  # it is asked for where there is one
        return image_to_tensor(start).expand(len(plan.request.seeds), -1, -1, -1)

    def _followed(self, plan: Plan, road: Road, tile: Tile | None = None) -> Road:
        """A road that follows a plan's hints; within a tile, their part of it."""
        if not plan.hints:
            return road
        return controlled(
            road,
            self._controllers(plan, tile),
            step_finder(plan, self.schedule),
            steps=len(plan.path) - 1,
            pictures=len(plan.request.seeds),
            prompted_alone=plan.request.guess,
        )

    def _all_contexts(self, plan: Plan) -> Contexts:
        """What steers a plan's pictures: its prompts, which may be between two, and its image prompts."""
        contexts, prompt = self.contexts(plan), self.image_prompt(plan)
        if plan.request.blended is not None:
            there = blended_plan(plan)
            join = joiner(plan, self.readings(there), self._chunk_encoder)
            contexts = blended(contexts, self.contexts(there), plan.request.blended[1], join)
        return contexts if prompt is None else prompted(contexts, seen_of(plan, prompt))

    def _controllers(self, plan: Plan, tile: Tile | None = None) -> list[Controller]:
        """A plan's controls, each with the network that knows its hint, or the part of it in a tile."""
        hints = [hint.crop(tile.times(SIZE_MULTIPLE).box) if tile else hint for hint in plan.hints]
        asked = zip(plan.request.followed, self.networks(plan), hints, strict=True)
        prompt = self.image_prompt(plan)
        tokens = prompt.network.config.tokens * len(plan.request.shown) if prompt else 0

        def reader(net: OpenControlNet, hint: Image.Image) -> Tell:
            tell = Reader(net, hint, self.device, self.dtype, guess=plan.request.guess)
            return by_words_alone(tell, tokens) if tokens else tell

        return [
            Controller(control, reader(net, hint), prompted_alone=net.pooled) for control, net, hint in asked
        ]

    def _steps(self, plan: Plan) -> Iterator[Step]:
        if plan.idle:  # there is nothing to draw
            nothing = torch.zeros(len(plan.texts), *_latent_shape(plan))
            yield Step(1, 1, plan.path[-2], nothing, nothing)
            return
        plans = self._alone(plan)
        pipelines = [self.with_tags(each.loras[0]) for each in plans]
        unets = [pipeline.unet_for(each) for pipeline, each in zip(pipelines, plans, strict=True)]
        roads = [
            pipeline.road(each, None if unet is pipeline.unet else partial(pipeline._asked, unet))
            for pipeline, each, unet in zip(pipelines, plans, unets, strict=True)
        ]
        # one network after the other: where memory is short, two at once would not fit
        begun = [(road.start(), road.denoise(road.predict)) for road in roads]
        with ExitStack() as awake:
            for net in {net for each in plans for net in self.networks(each)}:
                awake.enter_context(net.network.awake())
            runs = [
                pipeline._finite_steps(
                    each, pipeline.sampled(each, denoise, start), awake.enter_context(unet.awake())
                )
                for pipeline, each, unet, (start, denoise) in zip(pipelines, plans, unets, begun, strict=True)
            ]
            yield from map(together, zip(*runs, strict=True))

    def _alone(self, plan: Plan) -> list[Plan]:
        """The plans of pictures that are drawn each by itself, or the one of all together."""
        alone = draws_alone(
            self.device, self.precision, plan.width * plan.height, deterministic=self.loaded.deterministic
        )
        if alone or len({*plan.loras}) > 1:
            return [plan.of(index) for index in range(len(plan.loras))]
        return [plan]

    def _finite_steps(self, plan: Plan, steps: Iterator[Step], unet: UNet) -> Iterator[Step]:
        """The steps, while their numbers are finite; from where float16 overflows, those of float32."""
        for step in steps:
            # an accelerator would have to be waited for; what is not finite stays so to the end
            if step.index in (1, step.total) or self.device.type == "cpu":
                stage = f"UNet, step {step.index}"
                if self.dtype is torch.float16 and not is_finite(step.latents):
                    yield from self._wider_steps(plan, widened(unet, stage), step.index)
                    return
                refuse_not_finite(step.latents, stage, self.dtype)
            yield step

    def _wider_steps(self, plan: Plan, unet: UNet, first: int) -> Iterator[Step]:
        road = self.road(plan, partial(_predicted, unet, torch.float32))
        for step in self.sampled(plan, road.denoise(road.predict), road.start()):
            if step.index >= first:
                refuse_not_finite(step.latents, f"UNet, step {step.index}", torch.float32)
                yield step

    def sampled(self, plan: Plan, denoise: Denoise, start: Start) -> Iterator[Step]:
        """Walk a plan's path from its start."""
        steps = sample(
            denoise,
            start.noise,
            self.schedule,
            sampler=plan.sampler,
            steps=plan.steps,
            spacing=plan.spacing,
            start=start.latents,
            strength=start.strength,
            prediction=self.prediction,
            eta=plan.eta,
            brownian=self.brownian(plan),
            conventions=plan.request.program.sampling,
        )
        for step in steps:
            last = step.index == step.total
            yield replace(step, latents=start.finish(step.latents)) if last else step

    def facts(self, plan: Plan, seed: int) -> Facts:
        """Tell what it takes to draw the plan's picture of this seed again."""
        index = plan.request.seeds.index(seed)
        tagged = open_loras(plan.loras[index], self.lora_folder)
        prompt = self.image_prompt(plan)
        nets = zip(by_kind(plan), self.networks(plan), strict=True)
        read = [
            self.readings(each)[index]
            for each in (plan, *([blended_plan(plan)] if plan.request.blend else []))
        ]
        words = (
            self.learned.hashes(set[int]().union(*(each.tokens for each in read)))
            if self.learned.words
            else {}
        )
        loras = by_name((*self.loras, *tagged))
        batched = len(plan.texts) > 1 == len(self._alone(plan))
        return Facts(
            **facts_of(plan, seed),
            **facts_of_model(self),
            embeddings=words,
            enlarged=told_of_enlarging(plan, self.upscaler(plan)),
            control_nets={kind: f"{net.name} [{net.hash}]" for kind, net in nets},
            image_prompt_nets=prompt.told if prompt else {},
            tiny_vae=self.tiny_vae.told if plan.request.draft and self.tiny_vae else None,
            lora_hashes={name: lora.hash for name, lora in loras.items()},
            weights=given_files(self, plan, loras.values(), words),
            together=" ".join(map(str, plan.request.seeds)) if batched else "",
            beside=beside(plan.request, seed) if batched else {},
        )


def _predicted(
    unet: UNet,
    dtype: torch.dtype,
    latents: ModelInput,
    timestep: float,
    context: Context,
    residuals: Residuals | None = None,
) -> Latents:
    timesteps = torch.full((latents.shape[0],), timestep, dtype=torch.float32, device=latents.device)
    with torch.no_grad():
        told = residuals and residuals.mapped(lambda entry: entry.to(dtype))
        return unet(latents.to(dtype), timesteps, context.to(dtype), told).float()


def _latent_shape(plan: Plan) -> tuple[int, int, int]:
    return LATENT_CHANNELS, plan.height // SIZE_MULTIPLE, plan.width // SIZE_MULTIPLE
