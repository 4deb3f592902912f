"""bfloat16 on a CPU: its products alone, where the processor makes them faster, and float32 where it does not."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from inkpunk import Pipeline, Request
from inkpunk.memory.precision import choose_dtype
from inkpunk.speed import PLAIN
from inkpunk_winograd import explain
from torch import nn

WHY_NOT = "inkpunk.memory.precision.why_not_bfloat16"
CPU = torch.device("cpu")


def pixels(pipeline: Pipeline) -> np.ndarray:
    return np.asarray(pipeline.generate(Request("a raven", seeds=(1,), steps=3))[0].image, np.float32)


def test_networks_keep_16_bits_and_take_and_give_32(tiny: Path) -> None:
    pipeline = Pipeline.load(tiny, device="cpu", dtype="bfloat16")
    assert (pipeline.precision, pipeline.dtype) == (torch.bfloat16, torch.float32)
    for residence in (pipeline.unet, pipeline.vae):
        assert {each.dtype for each in residence.tensors.values()} == {torch.bfloat16}
    assert {each.dtype for each in pipeline.text_encoder.tensors.values()} == {
        torch.float32
    }  # as in its file
    with pipeline.text_encoder.awake() as text_encoder:
        matrices = {layer.weight.dtype for layer in text_encoder.modules() if isinstance(layer, nn.Linear)}
        assert matrices == {torch.bfloat16}
    context = pipeline.encode_prompts(["a raven"])
    assert context.dtype is torch.float32
    with pipeline.unet.awake() as unet, torch.no_grad():
        latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        assert unet(latents, torch.tensor([5, 5]), context.expand(2, -1, -1)).dtype is torch.float32
        told = {layer.why for layer in explain(unet).layers if layer.kind in ("Conv2d", "Linear")}
    # 4 latents are no multiple of 32 channels: the first and the last convolution
    assert told == {"products of bfloat16", "in float32, of bfloat16 weights"}


def test_the_picture_is_near_and_its_recipe_says_in_what_it_was_drawn(tiny: Path) -> None:
    wide, narrow = (Pipeline.load(tiny, device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    apart = np.abs(pixels(wide) - pixels(narrow))
    # each product's factors keep 8 bits; three steps of some dozen layers were seen to be 0.4 levels apart on average
    assert 0 < apart.mean() < 2
    facts = narrow.generate(Request("a raven", seeds=(1,), steps=1))[0].facts
    assert facts.dtype == "bfloat16"


def test_auto_stays_exact(tiny: Path) -> None:
    assert Pipeline.load(tiny, device="cpu").precision is torch.float32


def test_plain_networks_compute_all_in_it_whatever_the_processor(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WHY_NOT, lambda: "this processor does not multiply bfloat16 (AVX512_BF16)")
    plain = Pipeline.load(tiny, device="cpu", dtype="bfloat16", speed=PLAIN)
    assert (plain.precision, plain.dtype) == (torch.bfloat16, torch.bfloat16)
    assert plain.encode_prompts(["a raven"]).dtype is torch.bfloat16


def test_a_processor_that_gains_nothing_is_told_so_and_draws_in_float32(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(WHY_NOT, lambda: "this processor does not multiply bfloat16 (AVX512_BF16)")
    with caplog.at_level(logging.WARNING, "inkpunk"):
        pipeline = Pipeline.load(tiny, device="cpu", dtype="bfloat16")
    assert [record.message for record in caplog.records] == [
        "bfloat16: this processor does not multiply bfloat16 (AVX512_BF16); float32 is faster here, and is taken"
    ]
    assert pipeline.precision is torch.float32
    exact = Pipeline.load(tiny, device="cpu", dtype="float32")
    assert np.array_equal(pixels(pipeline), pixels(exact))
    facts = pipeline.generate(Request("a raven", seeds=(1,), steps=1))[0].facts
    assert facts.dtype == "float32"


def test_accelerators_and_float16_are_as_they_were() -> None:
    assert choose_dtype("bfloat16", torch.device("cuda")) is torch.bfloat16
    assert choose_dtype("float16", CPU) is torch.float16
