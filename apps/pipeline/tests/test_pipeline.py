import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from inkpunk import Pipeline, Request, RequestError
from inkpunk.pictures.picture import Picture
from inkpunk_sampling import SAMPLERS
from inkpunk_weights import CheckpointError, open_checkpoint, save_checkpoint
from PIL import Image

ROUNDING = 2e-5
"""float32 sums depend on the batch they are computed in; a few steps of a small network add up to this."""


def latents(pipeline: Pipeline, request: Request) -> torch.Tensor:
    *_, last = pipeline.run(request)
    return last.latents


def difference(one: Picture, other: Picture) -> int:
    """The largest difference between two pictures, in 255ths."""
    pair = [torch.tensor(list(picture.image.tobytes()), dtype=torch.int16) for picture in (one, other)]
    return int((pair[0] - pair[1]).abs().max())


def test_a_seed_is_a_picture_whatever_is_drawn_beside_it(pipeline: Pipeline) -> None:
    alone = latents(pipeline, Request("a raven", seeds=(7,)))[0]
    third_of_four = latents(pipeline, Request("a raven", seeds=(5, 6, 7, 8)))[2]
    reversed_order = latents(pipeline, Request("a raven", seeds=(8, 7, 6, 5)))[1]
    torch.testing.assert_close(third_of_four, alone, rtol=0, atol=ROUNDING * float(alone.abs().max()))
    torch.testing.assert_close(reversed_order, alone, rtol=0, atol=ROUNDING * float(alone.abs().max()))


def test_drawing_again_gives_the_same_bytes(pipeline: Pipeline) -> None:
    first, second = (pipeline.generate(Request("a raven", seeds=(7,)))[0] for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()


def test_seeds_prompts_and_negative_prompts_change_the_picture(pipeline: Pipeline) -> None:
    request = Request("a raven", seeds=(7,))
    others = [
        replace(request, seeds=(8,)),
        replace(request, prompt="an owl"),
        replace(request, negative_prompt="owl"),
    ]
    drawn = latents(pipeline, request)
    for other in others:
        assert not torch.allclose(latents(pipeline, other), drawn)


def test_without_guidance_the_negative_prompt_does_not_matter(pipeline: Pipeline) -> None:
    request = Request("a raven", seeds=(7,), guidance=1.0)
    same = latents(pipeline, replace(request, negative_prompt="owl"))
    assert torch.equal(same, latents(pipeline, request))


def test_pictures_come_in_the_order_of_the_seeds_and_of_the_size_asked_for(pipeline: Pipeline) -> None:
    pictures = pipeline.generate(Request("a raven", seeds=(3, 1, 2), width=40, height=72))
    assert [picture.facts.seed for picture in pictures] == [3, 1, 2]
    assert {picture.image.size for picture in pictures} == {(40, 72)}


def test_what_a_request_leaves_open_is_the_models_to_say(pipeline: Pipeline) -> None:
    (picture,) = pipeline.generate(Request("a raven", seeds=(1,)))
    facts = picture.facts
    assert (facts.width, facts.height, facts.steps, facts.guidance) == (64, 64, 3, 4.0)
    assert facts.note == "random weights: the picture means nothing"
    assert len(facts.model_hash) == 10


def test_every_step_shows_where_the_run_is(pipeline: Pipeline) -> None:
    steps = list(pipeline.run(Request("a raven", seeds=(1,), steps=4)))
    assert [step.index for step in steps] == [1, 2, 3, 4]
    assert {step.total for step in steps} == {4}


def test_stopping_early_leaves_nothing_behind(pipeline: Pipeline) -> None:
    run = pipeline.run(Request("a raven", seeds=(1,)))
    next(run)
    assert torch.is_grad_enabled()
    run.close()
    assert torch.is_grad_enabled()
    assert torch.isfinite(latents(pipeline, Request("a raven", seeds=(1,)))).all()


@pytest.mark.parametrize(("strength", "steps"), [(0.1, 2), (0.5, 10), (1.0, 20)])
def test_strength_is_the_share_of_the_steps_that_image_to_image_runs(
    pipeline: Pipeline, strength: float, steps: int
) -> None:
    start = Image.new("RGB", (64, 64), (200, 40, 90))
    request = Request("a raven", seeds=(7,), init=start, steps=20, guidance=1.0, strength=strength)
    assert len(list(pipeline.run(request))) == steps


def test_image_to_image_depends_on_the_start(pipeline: Pipeline) -> None:
    request = Request("a raven", seeds=(7,), init=Image.new("RGB", (64, 64), (200, 40, 90)), strength=0.5)
    other = replace(request, init=Image.new("RGB", (64, 64), (20, 40, 240)))
    assert not torch.allclose(latents(pipeline, request), latents(pipeline, other))


def test_a_strength_of_less_than_one_step_is_refused_before_the_work(pipeline: Pipeline) -> None:
    request = Request("a raven", init=Image.new("RGB", (64, 64)), strength=0.1, steps=5)
    with pytest.raises(RequestError, match="less than one step"):
        pipeline.run(request)


def test_an_unknown_sampler_or_spacing_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(RequestError, match="'dpmm': there is none of that name; use ddpm, ddim"):
        Request("a raven", sampler="dpmm")
    with pytest.raises(RequestError, match="'even': there is none of that name; use linspace, leading"):
        Request("a raven", spacing="even")
    with pytest.raises(RequestError, match="give one of the two"):
        Request("a raven", sampler="DPM++ 2M Karras", spacing="trailing")


def test_other_programs_names_become_ours(pipeline: Pipeline) -> None:
    request = Request("a raven", seeds=(7,), sampler="DPM++ 2M Karras")
    assert request.named_sampler() == ("dpmpp_2m", "karras")
    assert replace(request, sampler="DPM++ 2M Exponential").named_sampler() == ("dpmpp_2m", "exponential")
    (told,) = pipeline.generate(request)
    (named,) = pipeline.generate(Request("a raven", seeds=(7,), sampler="dpmpp_2m", spacing="karras"))
    assert told.facts == named.facts
    assert told.image.tobytes() == named.image.tobytes()


@pytest.mark.thorough
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_alone_what_it_draws_in_a_batch(pipeline: Pipeline, sampler: str) -> None:
    request = Request("a raven", seeds=(7, 8), sampler=sampler, steps=2)
    _, second = pipeline.generate(request)
    (alone,) = pipeline.generate(replace(request, seeds=(8,)))
    assert difference(second, alone) <= 1  # float32 sums depend on the batch they are computed in


def test_tiled_pictures_equal_whole_ones(pipeline: Pipeline) -> None:
    request = Request("a raven", seeds=(7,))
    (whole,) = pipeline.generate(request)
    (tiled,) = replace(pipeline, tiled=True).generate(request)
    assert difference(whole, tiled) <= 1


def test_half_precision_stays_near_single(tiny: Path, pipeline: Pipeline) -> None:
    half = Pipeline.load(tiny, device="cpu", dtype="bfloat16")
    request = Request("a raven", seeds=(7,))
    exact, near = latents(pipeline, request), latents(half, request)
    assert near.dtype == torch.float32
    # bfloat16 keeps 8 bits: each of the network's few dozen layers may round by 2**-9 of its output.
    assert float((near - exact).norm() / exact.norm()) < 0.1


def test_loading_takes_the_tensors_as_they_lie_in_the_file(tiny: Path) -> None:
    """No weight is initialised, and none copied: the random generator is not touched, the memory is the file's."""
    state = torch.get_rng_state()
    loaded = Pipeline.load(tiny, device="cpu")
    assert torch.equal(torch.get_rng_state(), state)
    with loaded.unet.awake() as unet:
        mapped = Path("/proc/self/maps")
        if not mapped.exists():
            pytest.skip("only Linux tells which memory is a file's")
        address = unet.conv_in.weight.data_ptr()
        line = next(line for line in mapped.read_text().splitlines() if _within(line, address))
    assert line.endswith(str(tiny))


def _within(line: str, address: int) -> bool:
    first, last = (int(bound, 16) for bound in line.split()[0].split("-"))
    return first <= address < last


def test_importing_the_command_line_does_not_import_torch() -> None:
    program = "import sys, inkpunk.cli; sys.exit('torch' in sys.modules or 'rich' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(("channels", "what"), [(8, "InstructPix2Pix"), (5, "not the 4")])
def test_a_unet_of_other_channels_is_called_what_it_is(
    tiny: Path, tmp_path: Path, channels: int, what: str
) -> None:
    whole = open_checkpoint(tiny)
    unet = dict(whole.unet) | {"conv_in.weight": torch.zeros(32, channels, 3, 3)}
    metadata = {key: str(value) for key, value in whole.metadata.items()}
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, text_encoder=whole.text_encoder, unet=unet, vae=whole.vae, metadata=metadata)
    with pytest.raises(CheckpointError, match=rf"takes {channels} channels, .*{what}"):
        Pipeline.load(path, device="cpu")
