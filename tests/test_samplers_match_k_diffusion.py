"""Every sampler that k-diffusion has, over whole trajectories, with the same noise: and torchsde's Brownian trees.

k-diffusion is what AUTOMATIC1111 and ComfyUI draw with. Its own wrapper finds the timesteps of sigmas here, so that
ours is held to it, too.
"""

import sys
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from math import sqrt
from types import ModuleType
from typing import Any

import pytest
import torch
from inkpunk_sampling import (
    CLEAN,
    CONVENTIONS,
    SAMPLERS,
    Conventions,
    NoiseSchedule,
    brownian_path,
    sample,
    seeded_noise,
    timesteps,
)
from torch import Tensor

SCHEDULE = NoiseSchedule()
STEPS = 12
SEEDS = (7, 123)
SHAPE = (4, 3, 3)
EQUAL = 1e-4  # of the largest value: k-diffusion keeps sigmas in float32, and both compute in it
FUNCTIONS = {
    "euler": "sample_euler",
    "euler_a": "sample_euler_ancestral",
    "heun": "sample_heun",
    "lms": "sample_lms",
    "dpm2": "sample_dpm_2",
    "dpm2_a": "sample_dpm_2_ancestral",
    "dpmpp_2m": "sample_dpmpp_2m",
    "dpmpp_2s_a": "sample_dpmpp_2s_ancestral",
    "dpmpp_sde": "sample_dpmpp_sde",
    "dpmpp_2m_sde": "sample_dpmpp_2m_sde",
    "dpmpp_3m_sde": "sample_dpmpp_3m_sde",
}
SPACINGS = ("karras", "exponential", "uniform")


def _module(name: str) -> Any:
    """A module of k-diffusion without its package, which imports all that training takes."""
    if "k_diffusion" not in sys.modules:
        spec = find_spec("k_diffusion")
        assert spec is not None
        package = ModuleType("k_diffusion")
        package.__path__ = [*(spec.submodule_search_locations or ())]
        sys.modules["k_diffusion"] = package
    return import_module(f"k_diffusion.{name}")


def model(latents: Tensor, timestep: float | Tensor) -> Tensor:
    """A smooth function that is no denoiser at all, so that nothing cancels."""
    timestep = timestep if isinstance(timestep, float) else timestep.reshape(-1, 1, 1, 1)
    return torch.tanh(1.3 * latents) * (0.4 + timestep / 2000) + 0.1 * torch.roll(latents, 1, -1)


def wrapper(nearest: bool = False) -> Any:
    bars = torch.tensor(SCHEDULE.alphas_cumprod, dtype=torch.float64)
    return _module("external").DiscreteEpsDDPMDenoiser(model, bars.float(), quantize=nearest)


def sigmas_of(spacing: str, steps: int) -> Tensor:
    """In float64: k-diffusion's own, of float32, ask for a Brownian path a millionth of the way off."""
    return torch.tensor(
        [SCHEDULE.sigma(t) for t in (*timesteps(SCHEDULE, steps, spacing), CLEAN)], dtype=torch.float64
    )


def theirs(name: str, sigmas: Tensor, noise: Tensor, initial: Tensor, nearest: bool = False) -> list[Tensor]:
    """Latents after every step, at a variance of 1."""
    draws = iter(noise)
    noise_sampler = {"fresh": lambda *_: next(draws), "none": None}.get(SAMPLERS[name].noise)
    if SAMPLERS[name].noise == "brownian":
        ends = sigmas[sigmas > 0].min(), sigmas.max()  # as its samplers have them when given none
        noise_sampler = _module("sampling").BrownianTreeNoiseSampler(initial, *ends, seed=[*SEEDS])
    function = getattr(_module("sampling"), FUNCTIONS[name])
    if noise_sampler is not None:
        function = partial(function, noise_sampler=noise_sampler)
    seen: list[Tensor] = []
    last = function(
        wrapper(nearest),
        initial,
        sigmas,
        callback=lambda state: seen.append(state["x"] / sqrt(1 + float(state["sigma"]) ** 2)),
        disable=True,
    )
    return [*seen[1:], last]


def ours(
    name: str,
    noise: Tensor,
    steps: int = STEPS,
    conventions: Conventions = CONVENTIONS["inkpunk"],
    **options: Any,
) -> list[Tensor]:
    path = conventions.path(SCHEDULE, name, steps, options.get("spacing"))
    brownian = brownian_path(SEEDS, SHAPE, SCHEDULE, ends=conventions.brownian_ends(SCHEDULE, path, path))
    options |= {"sampler": name, "steps": steps, "brownian": brownian, "conventions": conventions}
    return [step.latents for step in sample(model, iter(noise), SCHEDULE, **options)]


def agree(mine: list[Tensor], others: list[Tensor]) -> None:
    assert len(mine) == len(others) >= STEPS
    for one, other in zip(mine, others, strict=True):
        assert (one - other).abs().max() <= EQUAL * other.abs().max()


@pytest.fixture
def noise() -> Tensor:
    source = seeded_noise(SEEDS, SHAPE)
    return torch.stack([next(source) for _ in range(2 * STEPS + 2)])


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.filterwarnings(
    "ignore:Should have t"
)  # a sigma in float32 lies a rounding beyond the tree's end
def test_every_step_is_k_diffusions(name: str, spacing: str, noise: Tensor) -> None:
    sigmas = sigmas_of(spacing, STEPS)
    initial = noise[0] * (1 + sigmas[0] ** 2).sqrt().item()
    agree(ours(name, noise, spacing=spacing), theirs(name, sigmas, noise[1:], initial))


def sigmas_without_the_last_but_one(spacing: str, steps: int) -> Tensor:
    sigmas = sigmas_of(spacing, steps + 1)
    return torch.cat([sigmas[:-2], sigmas[-1:]])


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.filterwarnings("ignore:Should have t")
def test_like_automatic1111(name: str, noise: Tensor) -> None:
    """Its sigmas, written out from what it does by default, and the first latents at sigma times the noise."""
    conventions = CONVENTIONS["a1111"]
    spacing = {"euler": "uniform", "euler_a": "uniform", "lms": "uniform", "heun": "uniform"}.get(
        name, "karras"
    )
    spacing = "exponential" if name in ("dpmpp_2m_sde", "dpmpp_3m_sde") else spacing
    dropped = name in ("dpm2", "dpm2_a", "dpmpp_3m_sde")
    sigmas = sigmas_without_the_last_but_one(spacing, STEPS) if dropped else sigmas_of(spacing, STEPS)
    agree(
        ours(name, noise, conventions=conventions),
        theirs(name, sigmas, noise[1:], noise[0] * sigmas[0].item()),
    )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.filterwarnings("ignore:Should have t")
def test_like_comfyui(name: str, noise: Tensor) -> None:
    """Its "normal" schedule, a last but one sigma that some leave out, and the nearest trained timestep."""
    if name in ("dpm2", "dpm2_a"):
        steps = STEPS + 1  # of 12, one would lie at 499.5, where rounding says which timestep is nearer
        sigmas = sigmas_without_the_last_but_one("uniform", steps)
    else:
        steps, sigmas = STEPS, sigmas_of("uniform", STEPS)
    initial = noise[0] * (1 + sigmas[0] ** 2).sqrt().item()
    agree(
        ours(name, noise, steps, conventions=CONVENTIONS["comfyui"]),
        theirs(name, sigmas, noise[1:], initial, nearest=True),
    )


@pytest.mark.parametrize("seed", [0, 5, 2**32 - 1])
@pytest.mark.filterwarnings("ignore:Should have t")
def test_a_brownian_path_is_torchsdes_tree(seed: int) -> None:
    ends = SCHEDULE.sigma(0), SCHEDULE.sigma(999)
    tree = _module("sampling").BrownianTreeNoiseSampler(torch.zeros(1, *SHAPE), *ends, seed=[seed])
    path = brownian_path([seed], SHAPE, SCHEDULE)
    for high, low in ((14.6, 9.1), (9.1, 0.03), (2.0, 1.999), (0.5, 0.1), (0.5, 0.3)):
        # sums of up to 24 float32 numbers in another order, over the root of as little as 0.001
        torch.testing.assert_close(path(high, low), tree(high, low), rtol=0, atol=1e-4)


@pytest.mark.parametrize("spacing", ["karras", "uniform"])
def test_a_v_prediction_is_k_diffusions(spacing: str, noise: Tensor) -> None:
    class Discrete(_module("external").DiscreteSchedule):
        """k-diffusion's v denoiser for a continuous model, on the discrete schedule's timesteps."""

        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            scale = (sigma**2 + 1).rsqrt().reshape(-1, 1, 1, 1)
            output = model(x * scale, self.sigma_to_t(sigma))
            return x * scale**2 - output * sigma.reshape(-1, 1, 1, 1) * scale

    sigmas = sigmas_of(spacing, STEPS)
    wrapped = Discrete(
        ((1 - torch.tensor(SCHEDULE.alphas_cumprod)) / torch.tensor(SCHEDULE.alphas_cumprod)).sqrt(), False
    )
    last = _module("sampling").sample_dpmpp_2m(
        wrapped, noise[0] * (1 + sigmas[0] ** 2).sqrt().item(), sigmas, disable=True
    )
    mine = ours("dpmpp_2m", noise, spacing=spacing, prediction="v")[-1]
    assert (mine - last).abs().max() <= EQUAL * last.abs().max()


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_spacings_are_k_diffusions(spacing: str) -> None:
    if spacing == "uniform":
        found = wrapper().get_sigmas(20)
    else:
        ends = SCHEDULE.sigma(0), SCHEDULE.sigma(999)
        found = getattr(_module("sampling"), f"get_sigmas_{spacing}")(20, *ends)
    # theirs are float32, as is the product of 1,000 alphas that they start from
    torch.testing.assert_close(sigmas_of(spacing, 20).float(), found, rtol=2e-5, atol=0)
