"""Pictures drawn along hints are diffusers' with the same networks: one, two, guessing, for part of the steps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    T2IAdapter,
    UNet2DConditionModel,
)
from inkpunk import Control, Pipeline, Request
from PIL import Image

PROMPT, STEPS, SEED, GUIDANCE = "nvinkpunk raven", 4, 7, 4.0
HINTS = {
    "one": Image.effect_noise((64, 64), 80).convert("RGB"),
    "other": Image.linear_gradient("L").resize((64, 64)).convert("RGB"),
}


@pytest.fixture(scope="module", params=["small", pytest.param("full", marks=pytest.mark.slow)])
def folder(request: pytest.FixtureRequest, diffusers_folder: Callable[[str], Path]) -> Path:
    return diffusers_folder(request.param)


@pytest.fixture(scope="module")
def nets(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two ControlNets and a T2I-Adapter for the folder's model, as diffusers saves them."""
    home, unet = tmp_path_factory.mktemp("nets"), UNet2DConditionModel.from_pretrained(folder / "unet")
    torch.manual_seed(0)
    for name in HINTS:
        net: Any = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 96, 256))
        for parameter_name, parameter in net.named_parameters():
            if "controlnet_" in parameter_name:
                torch.nn.init.normal_(parameter, std=0.02)
        net.save_pretrained(home / name)
    adapter: Any = T2IAdapter(
        channels=list(unet.config["block_out_channels"]), adapter_type="full_adapter", num_res_blocks=1
    )
    adapter.save_pretrained(home / "adapter")
    return {name: home / name for name in (*HINTS, "adapter")}


@dataclass(frozen=True)
class Case:
    """What is asked of both."""

    kinds: tuple[str, ...] = ("one",)
    weights: tuple[float, ...] = (0.9,)
    starts: tuple[float, ...] = (0.0,)
    ends: tuple[float, ...] = (1.0,)
    guess: bool = False


CASES = {
    "one": Case(),
    "two": Case(("one", "other"), (0.9, 0.4), (0.0, 0.5), (1.0, 1.0)),
    "guess": Case(guess=True),
    "part": Case(starts=(0.25,), ends=(0.75,)),
}


def theirs(folder: Path, nets: dict[str, Path], case: Case) -> np.ndarray[Any, Any]:
    models: list[Any] = [ControlNetModel.from_pretrained(nets[kind]) for kind in case.kinds]
    several = len(models) > 1

    def each(values: Any) -> Any:
        return list(values) if several else values[0]

    pipeline: Any = StableDiffusionControlNetPipeline.from_pretrained(
        folder, controlnet=each(models), safety_checker=None
    )
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    return drawn(
        pipeline,
        each([HINTS[kind] for kind in case.kinds]),
        controlnet_conditioning_scale=each(case.weights),
        control_guidance_start=each(case.starts),
        control_guidance_end=each(case.ends),
        guess_mode=case.guess,
    )


def drawn(pipeline: Any, hint: Any, **settings: Any) -> np.ndarray[Any, Any]:
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    settings |= {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "latents": noise}
    return np.asarray(pipeline(PROMPT, image=hint, **settings).images[0])


@pytest.fixture(scope="module")
def pipeline(folder: Path, nets: dict[str, Path]) -> Pipeline:
    """Ours."""
    return Pipeline.load(folder, device="cpu", control_nets=nets)


@pytest.fixture(scope="module")
def plain(pipeline: Pipeline) -> np.ndarray[Any, Any]:
    """Drawn without a hint."""
    return ours(pipeline, [], False)


def ours(pipeline: Pipeline, controls: list[Control], guess: bool) -> np.ndarray[Any, Any]:
    request = Request(
        PROMPT,
        seeds=(SEED,),
        steps=STEPS,
        guidance=GUIDANCE,
        sampler="ddim",
        like="diffusers",
        width=64,
        height=64,
        controls=controls,
        guess=guess,
    )
    [picture] = pipeline.generate(request)
    return np.asarray(picture.image)


def difference(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> int:
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize("name", CASES)
def test_a_picture_along_hints_is_diffusers(
    folder: Path, nets: dict[str, Path], pipeline: Pipeline, plain: np.ndarray[Any, Any], name: str
) -> None:
    case = CASES[name]
    asked = zip(case.kinds, case.weights, case.starts, case.ends, strict=True)
    controls = [
        Control(kind, HINTS[kind], weight, start, end, ready=True) for kind, weight, start, end in asked
    ]
    expected = theirs(folder, nets, case)
    # of 255 levels: sums are rounded in another order, at most over the edge to the next
    assert difference(ours(pipeline, controls, case.guess), expected) <= 1
    assert difference(plain, expected) > 8  # or else nothing is shown


@pytest.mark.filterwarnings("ignore:The decode_latents method:FutureWarning")  # which diffusers itself uses
def test_a_picture_with_a_t2i_adapter_is_diffusers(
    folder: Path, nets: dict[str, Path], pipeline: Pipeline, plain: np.ndarray[Any, Any]
) -> None:
    adapter: Any = T2IAdapter.from_pretrained(nets["adapter"])
    oracle: Any = StableDiffusionAdapterPipeline.from_pretrained(folder, adapter=adapter, safety_checker=None)
    oracle.scheduler = DDIMScheduler.from_config(oracle.scheduler.config)
    expected = drawn(oracle, HINTS["one"], adapter_conditioning_scale=0.7)
    control = Control("adapter", HINTS["one"], 0.7, ready=True)
    assert difference(ours(pipeline, [control], False), expected) <= 1
    assert difference(plain, expected) > 8
