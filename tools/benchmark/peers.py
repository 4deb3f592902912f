"""The ways of doing the work, each to be run in a process of its own."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from .work import Work

Run = Callable[..., Tensor]


class Ours:
    """Inkpunk as it comes."""

    def __init__(self, folder: Path):
        """Load."""
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

    def __init__(self, folder: Path):
        """Load."""
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel

        self.text = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
        self.vae = AutoencoderKL.from_pretrained(folder / "vae").eval()

    def prepare(self, work: Work) -> Run:
        """Return what does a kind of work."""
        scaling = self.vae.config.scaling_factor
        return {
            "text": lambda tokens: self.text(tokens)[0],
            "step": lambda *inputs: self.unet(*inputs, return_dict=False)[0],
            "encode": lambda images: self.vae.encode(images).latent_dist.mean * scaling,
            "decode": lambda latents: self.vae.decode(latents / scaling, return_dict=False)[0],
        }[work.kind]


class Compiled(Diffusers):
    """Diffusers under torch.compile, its weights frozen."""

    def prepare(self, work: Work) -> Run:
        """Compile for this work's shapes; the first call takes minutes."""
        torch._inductor.config.freezing = True
        torch._dynamo.reset()
        return torch.compile(super().prepare(work), dynamic=False)


class OpenVINO(Diffusers):
    """Diffusers' networks, converted for OpenVINO, in float32."""

    def prepare(self, work: Work) -> Run:
        """Convert for this work's shapes."""
        import openvino

        class Module(torch.nn.Module):
            def __init__(self, owner: Diffusers):
                super().__init__()
                self.text, self.unet, self.vae = owner.text, owner.unet, owner.vae
                self.run = super(OpenVINO, owner).prepare(work)

            def forward(self, *inputs: Tensor) -> Tensor:
                return self.run(*inputs)

        inputs = work.inputs(self.unet.config.cross_attention_dim)
        model = openvino.convert_model(Module(self).eval(), example_input=inputs)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.compile_model(model, "CPU", settings)
        return lambda *tensors: torch.from_numpy(compiled([t.numpy() for t in tensors])[0].copy())


PEERS: dict[str, type] = {
    "inkpunk": Ours,
    "diffusers": Diffusers,
    "compiled": Compiled,
    "openvino": OpenVINO,
}


def serve(name: str, folder: Path, connection: Connection) -> None:
    """In a process of its own: load, then do the work that is asked for, and tell the seconds and the result."""
    with torch.inference_mode():
        start = time.perf_counter()
        peer = PEERS[name](folder)
        connection.send(time.perf_counter() - start)
        width = context_width(folder)
        prepared: tuple[Work, Run] | None = None
        while (work := connection.recv()) is not None:
            inputs = work.inputs(width)
            if prepared is None or prepared[0] != work:
                prepared = None  # one at a time: compiled models are large
                prepared = (work, peer.prepare(work))
                prepared[1](*inputs)  # compiles, and warms up
            start = time.perf_counter()
            result = prepared[1](*inputs)
            connection.send((time.perf_counter() - start, result.numpy().copy()))


def draw(name: str, folder: Path, steps: int, size: int, connection: Connection) -> None:
    """In a process of its own: from the imports to a PNG; tell the seconds and the peak memory above the imports."""
    import diffusers
    from inkpunk import Pipeline, Request
    from inkpunk.memory import peak_memory

    request = Request("nvinkpunk raven", seeds=(1,), steps=steps, width=size, height=size)
    cpu = torch.device("cpu")
    with peak_memory(cpu) as imports:
        pass
    with peak_memory(cpu) as work, TemporaryDirectory() as home:
        start = time.perf_counter()
        if name == "diffusers":
            pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
            pipeline.set_progress_bar_config(disable=True)
            picture = pipeline("nvinkpunk raven", num_inference_steps=steps, width=size, height=size).images[
                0
            ]
        else:
            [drawn] = Pipeline.load(folder, device="cpu").generate(request)
            picture = drawn.image
        picture.save(Path(home) / "picture.png")
        seconds = time.perf_counter() - start
    connection.send((seconds, (work.bytes or 0) - (imports.bytes or 0)))


def context_width(folder: Path) -> int:
    """The width of the context that a model's UNet takes."""
    return json.loads((folder / "unet/config.json").read_text())["cross_attention_dim"]
