"""What holds for every UNet, whatever its config and its (random) weights."""

import ast
import inspect
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_unet import ControlNet, T2IAdapter, UNet, UNetConfig, timestep_embedding
from torch import Tensor

SMALL = UNetConfig(widths=(32, 64), attention=(True, True), heads=4, context_width=24, groups=8)


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    levels = draw(st.integers(1, 4))
    # at least two channels a group: one channel of one pixel cannot be normalised
    widths = st.lists(st.sampled_from([16, 32, 48]), min_size=levels, max_size=levels)
    # not yet a config: checking annotations draws from `random`, which hypothesis forbids within a strategy
    return {
        "in_channels": draw(st.sampled_from([4, 9])),
        "out_channels": draw(st.sampled_from([4, 3])),
        "widths": tuple(draw(widths)),
        "layers": draw(st.integers(1, 2)),
        "attention": tuple(draw(st.lists(st.booleans(), min_size=levels, max_size=levels))),
        "heads": draw(st.sampled_from([1, 2, 8])),
        "context_width": draw(st.integers(1, 20)),
        "groups": draw(st.sampled_from([2, 8])),
    }


sizes = st.integers(1, 19)


def build(config: UNetConfig = SMALL, dtype: torch.dtype = torch.float32, seed: int = 0) -> UNet:
    """A network in which nothing is left at one or zero, as a fresh network's norms and biases are."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet(config).requires_grad_(False)
        for parameter in unet.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape))
        return unet.to(dtype)


def inputs(
    config: UNetConfig = SMALL,
    batch: int = 2,
    height: int = 8,
    width: int = 8,
    tokens: int = 5,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(height * 100 + width)
    latents = torch.randn(batch, config.in_channels, height, width, generator=generator, dtype=torch.float64)
    timesteps = torch.randint(1000, (batch,), generator=generator)
    context = torch.randn(batch, tokens, config.context_width, generator=generator, dtype=torch.float64)
    return latents.to(dtype), timesteps, context.to(dtype)


def difference(ours: Tensor, reference: Tensor) -> float:
    return float((ours.double() - reference.double()).abs().max() / reference.double().abs().max())


# -- shapes and dtypes --


@settings(deadline=None, max_examples=20)
@given(shape=shapes(), batch=st.integers(1, 2), height=sizes, width=sizes, tokens=st.integers(1, 6))
def test_a_prediction_has_the_size_of_its_latents(
    shape: dict[str, Any], batch: int, height: int, width: int, tokens: int
) -> None:
    config = UNetConfig(**shape)
    noise = build(config)(*inputs(config, batch, height, width, tokens))
    assert noise.shape == (batch, config.out_channels, height, width)
    assert noise.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_prediction_has_the_dtype_of_its_latents(dtype: torch.dtype) -> None:
    assert build(dtype=dtype)(*inputs(dtype=dtype)).dtype == dtype


@pytest.mark.parametrize(("channels", "parameters"), [(4, 859_520_964), (9, 859_520_964 + 5 * 320 * 9)])
def test_stable_diffusion_fits(channels: int, parameters: int) -> None:
    with torch.device("meta"):
        unet = UNet(UNetConfig(in_channels=channels))
    assert sum(parameter.numel() for parameter in unet.parameters()) == parameters
    for height, width in ((64, 64), (65, 47)):
        with torch.device("meta"):
            latents, context = torch.empty(2, channels, height, width), torch.empty(2, 77, 768)
            noise = unet(latents, torch.empty(2, dtype=torch.int64), context)
        assert noise.shape == (2, 4, height, width)
        assert noise.device.type == "meta"


def test_a_network_built_without_memory_runs_once_it_is_given_weights() -> None:
    original = build()
    with torch.device("meta"):
        unet = UNet(SMALL)
    unet.load_state_dict(original.state_dict(), assign=True)
    assert torch.equal(unet(*inputs()), original(*inputs()))


def test_all_that_a_network_holds_is_parameters() -> None:
    assert list(build().buffers()) == []


def test_networks_running_at_once_do_not_notice_each_other() -> None:
    unet, rounds = build(), 4
    given = [inputs(height=8, width=8), inputs(batch=3, height=13, width=9)]
    alone = [unet(*each) for each in given]
    together = Barrier(2, timeout=20)

    def run(thread: int) -> list[Tensor]:
        predictions: list[Tensor] = []
        for _ in range(rounds):
            together.wait()
            with torch.no_grad():
                predictions.append(unet(*given[thread]))
        return predictions

    with ThreadPoolExecutor(2) as threads:
        for predictions, expected in zip(threads.map(run, range(2)), alone, strict=True):
            assert all(torch.equal(predicted, expected) for predicted in predictions)


# -- numbers --


# Of 250 random configs, sizes and weights the worst was 1.4e-6, or 12 units of single precision's 2**-23.
# Groups are large (two a norm) since a norm over two numbers divides by their difference, and no bound
# survives that.
SINGLE = 5e-6


@settings(deadline=None, max_examples=12)
@given(shape=shapes(), height=sizes, width=sizes, seed=st.integers(0, 99))
def test_single_precision_loses_little(shape: dict[str, Any], height: int, width: int, seed: int) -> None:
    config = UNetConfig(**shape | {"groups": 2})
    exact = build(config, torch.float64, seed)(*inputs(config, 2, height, width, dtype=torch.float64))
    single = build(config, torch.float32, seed)(*inputs(config, 2, height, width, dtype=torch.float32))
    assert difference(single, exact) <= SINGLE


@settings(deadline=None, max_examples=5)
@given(height=sizes, width=sizes)
def test_a_prediction_can_be_repeated(height: int, width: int) -> None:
    unet = build()
    assert torch.equal(unet(*inputs(height=height, width=width)), unet(*inputs(height=height, width=width)))


# In double precision, so that a leak between images cannot hide behind rounding: batches of different sizes
# may sum in different orders, which costs some 1e-15 a layer.
EXACT = 1e-12


@settings(deadline=None, max_examples=8)
@given(shape=shapes(), height=sizes, width=sizes)
def test_an_image_does_not_notice_its_batch_mates(shape: dict[str, Any], height: int, width: int) -> None:
    config = UNetConfig(**shape)
    unet = build(config, torch.float64)
    latents, timesteps, context = inputs(config, 3, height, width, dtype=torch.float64)
    together = unet(latents, timesteps, context)
    for image in range(3):
        alone = unet(latents[image : image + 1], timesteps[image : image + 1], context[image : image + 1])
        assert difference(together[image : image + 1], alone) <= EXACT


def test_one_timestep_serves_a_whole_batch() -> None:
    unet, (latents, _, context) = build(), inputs()
    for timestep in (torch.tensor(500), torch.tensor(500.0)):
        assert torch.equal(unet(latents, timestep, context), unet(latents, timestep.expand(2), context))


def test_memory_layout_does_not_change_the_prediction() -> None:
    unet, (latents, timesteps, context) = build(dtype=torch.float64), inputs(dtype=torch.float64)
    plain = unet(latents, timesteps, context)
    channels_last = unet.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    assert (
        difference(channels_last(latents.to(memory_format=torch.channels_last), timesteps, context), plain)
        <= EXACT
    )


# -- what the prediction depends on --


@settings(deadline=None, max_examples=5)
@given(tokens=st.integers(2, 9), order=st.randoms(use_true_random=False))
def test_the_contexts_tokens_are_a_set(tokens: int, order: Random) -> None:
    unet = build(dtype=torch.float64)
    latents, timesteps, context = inputs(tokens=tokens, dtype=torch.float64)
    noise = unet(latents, timesteps, context)
    shuffled = context[:, order.sample(range(tokens), tokens)]
    assert difference(unet(latents, timesteps, shuffled), noise) <= EXACT
    assert difference(unet(latents, timesteps, context.repeat(1, 2, 1)), noise) <= EXACT


@pytest.mark.parametrize("token", range(5))
def test_every_token_of_the_context_matters(token: int) -> None:
    unet = build(dtype=torch.float64)
    latents, timesteps, context = inputs(dtype=torch.float64)
    changed = context.clone()
    changed[:, token] += 1
    assert difference(unet(latents, timesteps, changed), unet(latents, timesteps, context)) > 1e-4


@settings(deadline=None, max_examples=6)
@given(timestep=st.integers(0, 998))
def test_a_timestep_matters(timestep: int) -> None:
    unet = build(dtype=torch.float64)
    latents, _, context = inputs(dtype=torch.float64)
    now, then = (unet(latents, torch.tensor(time), context) for time in (timestep, timestep + 1))
    assert difference(now, then) > 1e-4


@settings(deadline=None, max_examples=3)
@given(timestep=st.integers(0, 998))
def test_a_fraction_of_a_timestep_lies_between_its_neighbours(timestep: int) -> None:
    unet = build(dtype=torch.float64)
    latents, _, context = inputs(dtype=torch.float64)

    def at(fraction: float) -> Tensor:
        return unet(latents, torch.tensor(timestep + fraction), context)

    now, at_once, midway, later = at(0), at(1e-3), at(0.125), at(0.25)
    # of a third of all timesteps, a thousandth of one changed 2e-5 to 5e-5, and a quarter at most 1.4e-2
    assert 0 < difference(at_once, now) < 2e-4
    # halfway but for the curve, which was at most 0.083 of the way
    assert difference(midway, (now + later) / 2) < 0.2 * difference(later, now)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("timestep", [0, 999])
def test_a_whole_timestep_may_be_a_float(timestep: int, dtype: torch.dtype) -> None:
    unet, (latents, _, context) = build(dtype=dtype), inputs(dtype=dtype)
    whole = unet(latents, torch.tensor(timestep), context)
    for kind in (torch.float32, torch.float64, torch.int32):
        assert torch.equal(unet(latents, torch.tensor(timestep, dtype=kind), context), whole)


# Neither type tells 999.25 from 999: a network that cast its timesteps first would see no difference.
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_half_precision_network_sees_fractions_of_a_timestep(dtype: torch.dtype) -> None:
    unet, (latents, _, context) = build(dtype=dtype), inputs(dtype=dtype)
    seen: list[Tensor] = []
    unet.time_embedding.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    timesteps = torch.tensor([999.0, 999.25])
    assert torch.equal(*timesteps.to(dtype))
    whole, fractional = (unet(latents, timestep, context) for timestep in timesteps)
    assert not torch.equal(whole, fractional)
    for waves, timestep in zip(seen, timesteps, strict=True):
        assert torch.equal(waves, timestep_embedding(timestep.expand(2), 32).to(dtype))


@settings(deadline=None, max_examples=10)
@given(shape=shapes())
def test_every_parameter_matters(shape: dict[str, Any]) -> None:
    config = UNetConfig(**shape)
    unet = build(config, torch.float64).requires_grad_(True)
    # 16 pixels are still two at the fourth level, so that self-attention has something to choose between
    unet(*inputs(config, 1, 16, 16, dtype=torch.float64)).square().sum().backward()
    idle = [
        name
        for name, parameter in unet.named_parameters()
        if not (parameter.grad is not None and parameter.grad.any())
    ]
    assert idle == []


def test_a_call_is_declared_as_what_it_runs() -> None:
    """Type checkers see `__call__`, which must say the same as `forward`; at run time there is torch's alone."""
    for kind in (UNet, ControlNet, T2IAdapter):
        (tree,) = ast.parse(inspect.getsource(kind)).body
        methods = {each.name: each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
        for part in ("args", "returns"):
            declared, runs = (getattr(methods[name], part) for name in ("__call__", "forward"))
            assert ast.dump(declared) == ast.dump(runs)
        assert "__call__" not in vars(kind)
