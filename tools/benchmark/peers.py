"""The ways of doing the work, each to be run in a process of its own."""

import gc
import importlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from .work import Work

Run = Callable[..., Tensor]


class Ours:
    """Inkpunk as it comes."""

    growth = True  # whether to ask how its time grows: not of who compiles for each size anew

    def __init__(self, folder: Path, kind: str):
        """Load; networks of another kind of work are only mapped."""
        from inkpunk import Pipeline

        pipeline = Pipeline.load(folder, device="cpu", dtype="float32")
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
    """Diffusers and transformers as they come."""

    growth = True

    def __init__(self, folder: Path, kind: str):
        """Load what one kind of work takes."""
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel

        kinds, part = {
            "text": (CLIPTextModel, "text_encoder"),
            "step": (UNet2DConditionModel, "unet"),
            "encode": (AutoencoderKL, "vae"),
            "decode": (AutoencoderKL, "vae"),
        }[kind]
        self.network = kinds.from_pretrained(folder / part).eval()

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

    growth = False

    def prepare(self, work: Work) -> Run:
        """Compile for this work's shapes; the first call takes minutes."""
        torch._inductor.config.freezing = True
        torch._inductor.config.freezing_discard_parameters = True
        torch._dynamo.reset()
        return torch.compile(super().prepare(work), dynamic=False)


class OpenVINO(Diffusers):
    """Diffusers' networks, converted for OpenVINO, in float32."""

    growth = False

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
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.compile_model(model, "CPU", settings)
        del module, model, self.network
        gc.collect()
        return lambda *tensors: torch.from_numpy(compiled([t.numpy() for t in tensors])[0].copy())


PEERS: dict[str, type] = {
    "inkpunk": Ours,
    "diffusers": Diffusers,
    "compiled": Compiled,
    "openvino": OpenVINO,
}


def serve(name: str, folder: Path, work: Work, connection: Connection) -> None:
    """In a process of its own: load and prepare one work, then do it when asked.

    Tells the seconds, the result, and the most bytes that the process held meanwhile.
    """
    from inkpunk.memory.peaks import peak_memory

    with torch.inference_mode():
        inputs = work.inputs(context_width(folder))
        run = PEERS[name](folder, work.kind).prepare(work)
        run(*inputs)  # compiles, and warms up
        connection.send("ready")
        while connection.recv():
            with peak_memory(torch.device("cpu")) as peak:
                start = time.perf_counter()
                result = run(*inputs)
                seconds = time.perf_counter() - start
            connection.send((seconds, result.numpy().copy(), peak.bytes or 0))


def load(name: str, folder: Path, connection: Connection) -> None:
    """In a process of its own, its imports done: load a whole pipeline; tell the seconds."""
    importlib.import_module(name.split()[0])
    start = time.perf_counter()
    PIPELINES[name](folder)
    connection.send(time.perf_counter() - start)


def draw(name: str, folder: Path, steps: int, size: int, connection: Connection) -> None:
    """In a process of its own: from the imports to a PNG; tell the seconds and the peak memory, imports included."""
    from inkpunk.memory.peaks import peak_memory

    importlib.import_module(name.split()[0])
    with peak_memory(torch.device("cpu")) as work, TemporaryDirectory() as home:
        start = time.perf_counter()
        picture = PIPELINES[name](folder)("nvinkpunk raven", steps, size)
        picture.save(Path(home) / "picture.png")
        seconds = time.perf_counter() - start
    connection.send((seconds, work.bytes or 0))


def _our_pipeline(folder: Path, **settings: bool) -> Callable[..., Any]:
    from inkpunk import Pipeline, Request

    loaded = Pipeline.load(folder, device="cpu", **settings)

    def run(prompt: str, steps: int, size: int) -> Any:
        request = Request(prompt, seeds=(1,), steps=steps, width=size, height=size)
        return loaded.generate(request)[0].image

    return run


def _diffusers_pipeline(folder: Path) -> Callable[..., Any]:
    import diffusers
    from inkpunk_clip import Tokenizer

    # the random model's folder has no tokenizer: ours gives the same tokens
    missing = {"tokenizer": None, "feature_extractor": None, "safety_checker": None}
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(folder, **missing)
    loaded.set_progress_bar_config(disable=True)

    def run(prompt: str, steps: int, size: int) -> Any:
        with torch.no_grad():
            negative, positive = loaded.text_encoder(Tokenizer()(["", prompt]))[0].split(1)
        settings = {"num_inference_steps": steps, "width": size, "height": size}
        return loaded(prompt_embeds=positive, negative_prompt_embeds=negative, **settings).images[0]

    return run


#: Who draws whole pictures, as it loads.
PIPELINES: dict[str, Callable[..., Callable[..., Any]]] = {
    "inkpunk": _our_pipeline,
    "inkpunk --low-memory": partial(_our_pipeline, low_memory=True),
    "diffusers": _diffusers_pipeline,
}


def context_width(folder: Path) -> int:
    """The width of the context that a model's UNet takes."""
    return json.loads((folder / "unet/config.json").read_text())["cross_attention_dim"]
