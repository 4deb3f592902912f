"""The walk's numbers and pictures: one prompt's way through the model in the box, and through one of full size.

The model in the box draws. Of the full size nothing is computed but shapes: its networks are built on torch's meta
device, whose tensors have no numbers, and go the same way through the same code.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from inkpunk import Pipeline, Request
from inkpunk.memory.residence import Residence
from inkpunk.models.loading import Defaults
from inkpunk.road.trace import Stage, trace
from inkpunk.speed import PLAIN
from inkpunk_clip import TextEncoder, TextEncoderConfig
from inkpunk_sampling import NoiseSchedule, Step, timesteps
from inkpunk_unet import UNet, UNetConfig
from inkpunk_vae import VAE, VAEConfig
from torch import Tensor, nn

from .pictures import save_channel, save_colours, save_schedule
from .recording import Call, recording

PROMPT = "nvinkpunk cyberpunk samurai with neon mask, glowing swords"
SEED = 0
FULL = {"width": 512, "height": 512, "guidance": 7.5, "steps": 4}  # each step has the shapes of any other
WRITE_UP_STEPS = 80
SHOWN = (1, 3, 4, 5, 6, 8, 10, 16)  # of the steps
GUIDED = 3  # the step at which guidance is shown
WORDS = {
    "ResidualBlock": "residual block",
    "SpatialTransformer": "transformer",
    "Attention": "attention",
    "Downsample": "halved",
    "Upsample": "doubled",
    "Conv2d": "convolution",
    "GroupNorm": "norm",
    "Layer": "layer",
    "TimeEmbedding": "time embedding",
}
"""What the rows of a table are called, by their classes; others are no rows."""


def walk(folder: Path) -> dict[str, Any]:
    """Go the way; save pictures and walk.json, all that the page tells, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    box, full = Pipeline.load("sketch", speed=PLAIN, device="cpu"), full_size()
    request = Request(PROMPT, seeds=(SEED,))
    told = {
        "prompt": PROMPT,
        "seed": SEED,
        "tokens": _tokens(box),
        "box": followed(box, request, folder),
        "full": followed(full, replace(request, **FULL), None),
        "write_up": list(timesteps(NoiseSchedule(), WRITE_UP_STEPS)),
        **draw_the_way(box, request, folder),
    }
    (folder / "walk.json").write_text(json.dumps(told, indent=1) + "\n")
    return told


def full_size() -> Pipeline:
    """Stable Diffusion v1.5's networks without any numbers in them, with the tokenizer and schedule of the box."""
    device = torch.device("meta")
    with device:
        networks = TextEncoder(TextEncoderConfig()), UNet(UNetConfig()), VAE(VAEConfig())
    text_encoder, unet, vae = (Residence(network.eval(), device, offload=False) for network in networks)
    return Pipeline(
        tokenizer=Pipeline.load("sketch").tokenizer,
        text_encoder=text_encoder,
        unet=unet,
        vae=vae,
        schedule=NoiseSchedule(),
        defaults=Defaults(),
        device=device,
        dtype=torch.float32,
    )


def _tokens(pipeline: Pipeline) -> list[dict[str, Any]]:
    [row] = pipeline.tokenizer([PROMPT]).tolist()
    length = pipeline.tokenizer.count(PROMPT) + 2
    pieces = ["start", *map(pipeline.tokenizer.piece, row[1 : length - 1]), "end"]
    return [{"id": token, "piece": piece} for token, piece in zip(row[:length], pieces, strict=True)]


def followed(pipeline: Pipeline, request: Request, folder: Path | None) -> dict[str, Any]:
    """What `inkpunk trace` tells of a request, and what the networks' parts took and gave meanwhile."""
    calls: dict[str, list[Call]] = {}
    with ExitStack() as stack, torch.no_grad():
        networks: dict[str, nn.Module] = {
            name: stack.enter_context(getattr(pipeline, name).awake())
            for name in ("text_encoder", "unet", "vae")
        }
        record = stack.enter_context(recording(**networks))
        stages: list[Stage] = []
        for stage in trace(pipeline, request):
            calls[stage.name], _ = record.take(), stages.append(stage)
            if stage.name == "VAE decoder" and pipeline.device.type == "meta":
                break  # there are no pixels to make a picture of
        if folder and stages[-1].picture:
            stages[-1].picture.image.save(folder / "picture.png", optimize=True)
    step = next(found for name, found in calls.items() if name.startswith("one sampling step"))
    plan = pipeline.plan(request)
    return {
        "stages": [_told(stage) for stage in stages],
        "parameters": {name: getattr(pipeline, name).parameters for name in networks},
        "config": {
            name: {
                key: value for key, value in vars(network.config).items() if isinstance(value, int | tuple)
            }
            for name, network in networks.items()
        },
        "size": [plan.width, plan.height],
        "guidance": plan.guidance,
        "sampler": plan.sampler,
        "steps": plan.steps,
        "path": [round(float(t), 1) for t in plan.path],
        "guided": next(list(call.takes[0]) for call in step if call.name == "unet"),
        "text_encoder": rows(calls["CLIP text encoder"], "text_encoder"),
        "time_embedding": rows(calls["UNet, one call"], "unet.time_embedding"),
        **{
            part: rows(calls["UNet, one call"], f"unet.{part}")
            for part in ("conv_in", "down", "middle", "up")
        },
        "out": rows(calls["UNet, one call"], "unet.norm_out", "unet.conv_out"),
        "residual_block": parts(calls["UNet, one call"], "unet.down.0.resnets.0"),
        "transformer": parts(calls["UNet, one call"], _first(calls["UNet, one call"], "SpatialTransformer")),
        "vae": rows(calls["VAE decoder"], "vae.post_quant_conv", "vae.decoder"),
    }


def _told(stage: Stage) -> dict[str, Any]:
    return {name: getattr(stage, name) for name in ("name", "takes", "gives", "parameters")}


def _first(calls: Sequence[Call], kind: str) -> str:
    return next(call.name for call in calls if call.kind == kind)


def rows(calls: Sequence[Call], *beginnings: str) -> list[dict[str, Any]]:
    """The blocks of a network that a table has a row for, in the order in which they ran; not what is within them."""
    first = {call.name: call for call in reversed(calls)}  # the text encoder runs once a chunk
    found = [call for call in calls if call.name.startswith(beginnings) and call.kind in WORDS]
    found = [call for call in found if call is first[call.name]]
    names = {call.name for call in found}
    outer = [call for call in found if not any(call.name.startswith(f"{name}.") for name in names)]
    return [_row(call, call.name.partition(".")[2], WORDS[call.kind]) for call in outer]


def parts(calls: Sequence[Call], block: str) -> list[dict[str, Any]]:
    """All layers within a block, in the order in which they ran: what has no parts of its own."""
    names = [call.name for call in calls]
    within = [call for call in calls if call.name.startswith(f"{block}.")]
    leaves = [call for call in within if not any(name.startswith(f"{call.name}.") for name in names)]
    return [_row(call, call.name.removeprefix(f"{block}."), call.kind) for call in leaves]


def _row(call: Call, name: str, what: str) -> dict[str, Any]:
    takes, gives = call.takes[0] if call.takes else (), call.gives[0] if call.gives else ()
    return {"name": name, "what": what, "takes": takes, "gives": gives, "parameters": call.parameters}


def draw_the_way(pipeline: Pipeline, request: Request, folder: Path) -> Mapping[str, Any]:
    """Save pictures of the latents on the way, and of what guidance adds."""
    plan = pipeline.plan(request)
    initial = next(pipeline.noise(plan))
    for channel, values in enumerate(initial[0]):
        save_channel(values, folder / f"noise-{channel}.png")
    save_schedule(pipeline.schedule, plan.path[:-1], folder / "schedule.svg")
    shown, before = [], initial
    with pipeline.unet.awake() as unet, recording(unet=unet) as record:
        for step in pipeline.run(request):
            predicted = next(call.output for call in record.take() if call.name == "unet")
            if step.index == GUIDED and predicted is not None:
                _save_guidance(pipeline, before, predicted, step, folder)
            if step.index in SHOWN:
                _save_step(pipeline, step, folder)
                shown.append(_step(pipeline, step))
            before = step.latents
    for channel, values in enumerate(before[0]):
        save_channel(values, folder / f"latents-{channel}.png")
    return {"steps": shown, "guided_step": GUIDED}


def _step(pipeline: Pipeline, step: Step) -> dict[str, Any]:
    t = float(step.timestep)
    return {"index": step.index, "timestep": round(t, 1), "sigma": round(pipeline.schedule.sigma(t), 3)}


def _save_step(pipeline: Pipeline, step: Step, folder: Path) -> None:
    save_colours(pipeline.linear_preview(step.latents)[0], folder / f"latents-step-{step.index}.png")
    save_colours(pipeline.decode(step.denoised)[0], folder / f"expected-step-{step.index}.png")


def _save_guidance(pipeline: Pipeline, before: Tensor, predicted: Tensor, step: Step, folder: Path) -> None:
    """What the step expects without the prompt, with it, and guided, of the noise that is predicted for each."""
    for name, clean in expected(pipeline, before, predicted, float(step.timestep)):
        save_colours(pipeline.decode(clean)[0], folder / f"guidance-{name}.png")
    save_colours(pipeline.decode(step.denoised)[0], folder / "guidance-guided.png")


def expected(pipeline: Pipeline, before: Tensor, predicted: Tensor, t: float) -> Iterator[tuple[str, Tensor]]:
    """The clean latents that follow from the two predictions of a guided step (Ho et al. 2020, eq. 15)."""
    signal, noise = pipeline.schedule.signal(t), pipeline.schedule.noise(t)
    for name, epsilon in zip(("without", "with"), predicted.chunk(2), strict=True):
        yield name, (before - noise * epsilon) / signal
