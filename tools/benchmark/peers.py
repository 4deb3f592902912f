"""The ways of doing the work, each to be run in a process of its own."""

import gc
import importlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .work import Work

Run = Callable[..., Tensor]

SEED = 1
GUIDANCE = 7.5


class Ours:
    """Inkpunk as it comes."""

    def __init__(self, folder: Path, kind: str, dtype: torch.dtype):
        """Load; in float32, networks of another kind of work are only mapped."""
        from inkpunk import Pipeline

        pipeline = Pipeline.load(folder, device="cpu", dtype=_name(dtype))
        networks = ExitStack()  # never closed: on a CPU they are always awake
        self.text, self.unet, self.vae = (
            networks.enter_context(residence.awake())
            for residence in (pipeline.text_encoder, pipeline.unet, pipeline.vae)
        )

    def prepare(self, work: Work) -> Run:
        """Return what does a kind of work."""
        return {
            "text": self.text,
            "step": self.unet,
            "encode": lambda images: self.vae.encode(images).mean,
            "decode": self.vae.decode,
        }[work.kind]


class Diffusers:
    """Diffusers and transformers as they come; in 16 bits in the memory format in which they are fastest."""

    def __init__(self, folder: Path, kind: str, dtype: torch.dtype):
        """Load what one kind of work takes."""
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel

        kinds, part = {
            "text": (CLIPTextModel, "text_encoder"),
            "step": (UNet2DConditionModel, "unet"),
            "encode": (AutoencoderKL, "vae"),
            "decode": (AutoencoderKL, "vae"),
        }[kind]
        self.network = kinds.from_pretrained(folder / part).eval().to(dtype)
        if dtype is not torch.float32:
            self.network.to(memory_format=torch.channels_last)

    def prepare(self, work: Work) -> Run:
        """Return what does a kind of work."""
        network = self.network
        if work.kind == "text":
            return lambda tokens: network(tokens)[0]
        if work.kind == "step":
            return lambda *inputs: network(*inputs, return_dict=False)[0]
        scaling = network.config.scaling_factor
        if work.kind == "encode":
            return lambda images: network.encode(images).latent_dist.mean * scaling
        return lambda latents: network.decode(latents / scaling, return_dict=False)[0]


class Compiled(Diffusers):
    """Diffusers under torch.compile, its weights frozen."""

    def prepare(self, work: Work) -> Run:
        """Compile for this work's shapes; the first call takes minutes."""
        torch._inductor.config.freezing = True
        torch._inductor.config.freezing_discard_parameters = True
        torch._dynamo.reset()
        return torch.compile(super().prepare(work), dynamic=False)


class OpenVINO(Diffusers):
    """Diffusers' networks, converted for OpenVINO, which is told in which precision to compute."""

    def __init__(self, folder: Path, kind: str, dtype: torch.dtype):
        """Load in float32: it rounds by itself, and takes and gives float32."""
        super().__init__(folder, kind, torch.float32)
        self.hint = {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype]

    def prepare(self, work: Work) -> Run:
        """Convert for this work's shapes; torch's own weights are let go, as nothing else will need them."""
        import openvino

        class Module(torch.nn.Module):
            def __init__(self, network: torch.nn.Module, run: Run):
                super().__init__()
                self.network, self.run = network, run

            def forward(self, *inputs: Tensor) -> Tensor:
                return self.run(*inputs)

        width = getattr(self.network.config, "cross_attention_dim", 0)
        module = Module(self.network, super().prepare(work)).eval()
        model = openvino.convert_model(module, example_input=work.inputs(width))
        settings = {"INFERENCE_PRECISION_HINT": self.hint, "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.compile_model(model, "CPU", settings)
        del module, model, self.network
        gc.collect()
        return lambda *tensors: torch.from_numpy(compiled([t.numpy() for t in tensors])[0].copy())


@dataclass(frozen=True)
class Peer:
    """A way of doing the work.

    Attributes:
        make: loads what a kind of work takes, and prepares it.
        library: whose it is.
        dtype: in which it computes.
        casts: whether its networks want inputs of that dtype.
        growth: whether to ask how its time grows: not of who compiles for each size anew.
    """

    make: Callable[[Path, str, torch.dtype], Any]
    library: str
    dtype: torch.dtype = torch.float32
    casts: bool = True
    growth: bool = True


#: The first is what the others are compared with.
PEERS = {
    "inkpunk": Peer(Ours, "inkpunk"),
    "diffusers": Peer(Diffusers, "diffusers"),
    "compiled": Peer(Compiled, "diffusers", growth=False),
    "openvino": Peer(OpenVINO, "openvino", growth=False),
    "inkpunk bf16": Peer(Ours, "inkpunk", torch.bfloat16, casts=False),
    "diffusers bf16": Peer(Diffusers, "diffusers", torch.bfloat16),
    "openvino bf16": Peer(OpenVINO, "openvino", torch.bfloat16, casts=False, growth=False),
}
OURS = next(iter(PEERS))


def absent(name: str) -> str | None:
    """The library that a peer wants and that is not installed; None if it has all."""
    peer = PEERS[name]
    libraries = (peer.library, "transformers") if peer.library != "inkpunk" else (peer.library,)
    return next((library for library in libraries if find_spec(library) is None), None)


def serve(name: str, folder: Path, work: Work, connection: Connection) -> None:
    """In a process of its own: load and prepare one work, then do it when asked.

    Tells the seconds, the result in float32, and the most bytes that the process held meanwhile.
    """
    from inkpunk.memory.peaks import peak_memory

    peer = PEERS[name]
    with torch.inference_mode():
        inputs = work.inputs(context_width(folder))
        if peer.casts:
            inputs = tuple(each.to(peer.dtype) if each.is_floating_point() else each for each in inputs)
        run = peer.make(folder, work.kind, peer.dtype).prepare(work)
        run(*inputs)  # compiles, and warms up
        connection.send("ready")
        while connection.recv():
            with peak_memory(torch.device("cpu")) as peak:
                start = time.perf_counter()
                result = run(*inputs)
                seconds = time.perf_counter() - start
            connection.send((seconds, result.float().numpy().copy(), peak.bytes))


def load(name: str, folder: Path, connection: Connection) -> None:
    """In a process of its own, its imports done: load a whole pipeline; tell the seconds."""
    importlib.import_module(name.split()[0])
    start = time.perf_counter()
    PIPELINES[name](folder)
    connection.send(time.perf_counter() - start)


def draw(name: str, folder: Path, steps: int, size: int, png: Path, connection: Connection) -> None:
    """In a process of its own: from the imports to a PNG.

    Tells the seconds, the picture's levels, and the peak memory, imports included.
    """
    from inkpunk.memory.peaks import peak_memory

    importlib.import_module(name.split()[0])
    with peak_memory(torch.device("cpu")) as work:
        start = time.perf_counter()
        picture = PIPELINES[name](folder)("nvinkpunk raven", steps, size)
        picture.save(png)
        seconds = time.perf_counter() - start
    connection.send((seconds, np.asarray(picture, dtype=np.float32), work.bytes))


def _our_pipeline(folder: Path, **settings: Any) -> Callable[..., Any]:
    from inkpunk import Pipeline, Request

    loaded = Pipeline.load(folder, device="cpu", **settings)

    def run(prompt: str, steps: int, size: int) -> Any:
        road = {"sampler": "ddim", "like": "diffusers", "guidance": GUIDANCE, "plain_prompt": True}
        request = Request(prompt, seeds=(SEED,), steps=steps, width=size, height=size, **road)
        return loaded.generate(request)[0].image

    return run


def _diffusers_pipeline(folder: Path, dtype: torch.dtype = torch.float32) -> Callable[..., Any]:
    import diffusers
    from inkpunk_clip import Tokenizer

    # the random model's folder has no tokenizer: ours gives the same tokens
    missing = {"tokenizer": None, "feature_extractor": None, "safety_checker": None}
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(folder, torch_dtype=dtype, **missing)
    config = {key: value for key, value in loaded.scheduler.config.items() if key != "timestep_spacing"}
    loaded.scheduler = diffusers.DDIMScheduler.from_config(config)
    loaded.set_progress_bar_config(disable=True)
    if dtype is not torch.float32:
        for network in (loaded.unet, loaded.vae):
            network.to(memory_format=torch.channels_last)

    def run(prompt: str, steps: int, size: int) -> Any:
        with torch.no_grad():
            negative, positive = loaded.text_encoder(Tokenizer()(["", prompt]))[0].split(1)
        # drawn in float32, as in 16 bits the same seed gives other noise
        noise = torch.randn(1, 4, size // 8, size // 8, generator=torch.Generator().manual_seed(SEED))
        settings = {"num_inference_steps": steps, "guidance_scale": GUIDANCE, "latents": noise.to(dtype)}
        return loaded(prompt_embeds=positive, negative_prompt_embeds=negative, **settings).images[0]

    return run


#: Who draws whole pictures, as it loads: the first, in float32, is what the others are compared with.
PIPELINES: dict[str, Callable[..., Callable[..., Any]]] = {
    "inkpunk": _our_pipeline,
    "inkpunk bf16": partial(_our_pipeline, dtype="bfloat16"),
    "inkpunk --low-memory": partial(_our_pipeline, low_memory=True),
    "diffusers": _diffusers_pipeline,
    "diffusers bf16": partial(_diffusers_pipeline, dtype=torch.bfloat16),
}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def context_width(folder: Path) -> int:
    """The width of the context that a model's UNet takes."""
    return json.loads((folder / "unet/config.json").read_text())["cross_attention_dim"]
