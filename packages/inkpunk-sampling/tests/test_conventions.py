"""Each convention against what its program does, written out by hand from the facts."""

import itertools
from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import (
    CLEAN,
    CONVENTIONS,
    SAMPLERS,
    SPACINGS,
    Conventions,
    NoiseSchedule,
    brownian_path,
    sample,
    seeded_noise,
    timesteps,
)
from torch import Tensor

SD = NoiseSchedule()
OURS, A1111, COMFYUI, DIFFUSERS = CONVENTIONS.values()


def nothing(latents: Tensor, timestep: float) -> Tensor:
    return torch.zeros_like(latents)


@pytest.mark.parametrize("like", CONVENTIONS)
@pytest.mark.parametrize("sampler", SAMPLERS)
@given(steps=st.integers(1, 60), strength=st.floats(0.02, 1), spacing=st.sampled_from([None, *SPACINGS]))
@settings(deadline=None, max_examples=25)
def test_every_path_descends_to_an_end(
    like: str, sampler: str, steps: int, strength: float, spacing: str | None
):
    conventions = CONVENTIONS[like]
    try:
        path = conventions.path(SD, sampler, steps, spacing)
    except ValueError as error:
        assert "none is left to take" in str(error) and steps == 1
        return
    assert all(high > low for high, low in itertools.pairwise(path))
    assert path[0] <= 999 and len(path) >= 2
    own = {"diffusers": DIFFUSERS.ends.get(sampler, CLEAN), "a1111": CLEAN}
    if like != "a1111" or not (spacing == "kl_optimal" or (spacing is None and sampler in ("ddim", "plms"))):
        assert path[-1] == own.get(like, CLEAN)
    try:
        part = conventions.partial_path(SD, sampler, steps, strength, spacing)
    except ValueError as error:
        tiny = "less than one step" in str(error) and int(steps * strength) == 0
        assert tiny or ("would be the end of" in str(error) and steps / strength >= 1001)
    else:
        assert len(part) >= 2
        if conventions.image_to_image != "stretched":
            assert part == path[-len(part) :]


def test_image_to_image_runs_as_many_steps_as_the_program():
    """20 steps at strength 0.75."""
    runs = {
        name: len(conventions.partial_path(SD, "euler", 20, 0.75, "uniform")) - 1
        for name, conventions in CONVENTIONS.items()
    }
    assert runs == {"inkpunk": 15, "a1111": 16, "comfyui": 20, "diffusers": 15}
    # ComfyUI's are the last of 26 = int(20 / 0.75)
    assert COMFYUI.partial_path(SD, "euler", 20, 0.75)[:-1] == timesteps(SD, 26, "uniform")[6:]
    # at strength 1 AUTOMATIC1111 has no step to add
    assert len(A1111.partial_path(SD, "euler", 20, 1.0)) - 1 == 20


def test_automatic1111s_ddim_walks_whole_strides_and_ends_at_timestep_1():
    path = A1111.path(SD, "ddim", 20)
    assert path == tuple(range(951, 0, -50)) and len(path) - 1 == 19  # calls
    assert len(A1111.path(SD, "ddim", 15)) - 1 == 15  # 1000 // 15 = 66 fits sixteen times
    assert A1111.path(SD, "ddim", 20, "karras")[-1] == CLEAN  # asked for a spacing, it goes by that


def test_diffusers_ends_where_sd_v15s_own_config_says():
    assert DIFFUSERS.path(SD, "ddim", 20) == (*range(951, 0, -50), 0)
    assert DIFFUSERS.path(SD, "plms", 20) == (*range(951, 0, -50), 0)
    assert DIFFUSERS.path(SD, "ddpm", 20) == (*range(951, 0, -50), CLEAN)
    assert DIFFUSERS.path(SD, "euler", 20) == (*timesteps(SD, 20, "uniform"), CLEAN)


@pytest.mark.parametrize(
    ("sampler", "spacing"),
    [
        ("dpmpp_2m", "karras"),
        ("dpmpp_sde", "karras"),
        ("dpmpp_2s_a", "karras"),
        ("dpmpp_2m_sde", "exponential"),
        ("euler_a", "uniform"),
        ("heun", "uniform"),
        ("lcm", "lcm"),
    ],
)
def test_automatic1111s_automatic_spacing(sampler: str, spacing: str):
    assert A1111.path(SD, sampler, 20) == (*timesteps(SD, 20, spacing), CLEAN)


@pytest.mark.parametrize(
    ("like", "dropping"),
    [
        ("inkpunk", set()),
        ("a1111", {"dpm2", "dpm2_a", "dpmpp_3m_sde"}),
        ("comfyui", {"dpm2", "dpm2_a", "unipc"}),
        ("diffusers", set()),
    ],
)
def test_some_samplers_leave_out_the_last_but_one(like: str, dropping: set[str]):
    for sampler in SAMPLERS:
        path = CONVENTIONS[like].path(SD, sampler, 20, "karras")
        visited = timesteps(SD, 21, "karras")[:20] if sampler in dropping else timesteps(SD, 20, "karras")
        end = 0 if like == "diffusers" and sampler in ("ddim", "plms", "deis", "tcd") else CLEAN
        assert path == tuple(dict.fromkeys((*visited, end)))


def test_spacings_that_programs_have_in_their_own_way():
    assert A1111.path(SD, "euler", 10, "ays")[-2] == pytest.approx(0)  # the table's last sigma is visited
    assert COMFYUI.path(SD, "euler", 10, "ays")[-2] == pytest.approx(24, abs=1)
    angles = [torch.tensor(SD.sigma(t)).atan() for t in A1111.path(SD, "euler", 10, "kl_optimal")]
    assert len(angles) == 11 and angles[-1] == pytest.approx(torch.tensor(SD.sigma(0)).atan())  # no step to 0
    assert A1111.path(SD, "euler", 10, "beta") == (*timesteps(SD, 10, "beta_sigma"), CLEAN)


@pytest.mark.parametrize(
    ("like", "scaled"), [("inkpunk", False), ("a1111", True), ("comfyui", False), ("diffusers", True)]
)
def test_the_first_latents_are_scaled_as_in_the_program(like: str, scaled: bool):
    """By sigma, told in latents of unit variance: sigma / sqrt(1 + sigma^2)."""
    seen: list[Tensor] = []

    def watched(latents: Tensor, timestep: float) -> Tensor:
        seen.append(latents)
        return torch.zeros_like(latents)

    noise = next(seeded_noise([3], (4, 2, 2)))
    list(sample(watched, iter([noise]), SD, sampler="euler", steps=3, conventions=CONVENTIONS[like]))
    sigma = SD.sigma(999)
    scale = sigma / sqrt(1 + sigma**2) if scaled else 1
    torch.testing.assert_close(seen[0], noise * scale)


def test_diffusers_first_latents_of_leading_timesteps_have_unit_variance():
    assert DIFFUSERS.first_scale(SD, "euler", 951, "leading") == 1
    assert DIFFUSERS.first_scale(SD, "euler", 951, "karras") == SD.noise(951)
    assert A1111.first_scale(SD, "euler", 951, "leading") == SD.noise(951)


def test_an_init_picture_is_noised_alike_everywhere():
    start, noise = torch.ones(1, 4, 2, 2), next(seeded_noise([3], (4, 2, 2)))
    for conventions in CONVENTIONS.values():
        seen: list[tuple[Tensor, float]] = []

        def watched(latents: Tensor, timestep: float, seen: list[tuple[Tensor, float]] = seen) -> Tensor:
            seen.append((latents, timestep))
            return torch.zeros_like(latents)

        list(
            sample(
                watched,
                iter([noise]),
                SD,
                sampler="euler",
                steps=4,
                start=start,
                strength=0.5,
                conventions=conventions,
            )
        )
        latents, timestep = seen[0]
        if "euler" not in conventions.nearest_timestep:
            torch.testing.assert_close(latents, SD.add_noise(start, noise, timestep))


@given(st.floats(0, 999))
@settings(deadline=None)
def test_the_nearest_timestep_is_the_nearest_in_log_sigma(timestep: float):
    found = COMFYUI.timestep_of(SD, "euler")(SD.sigma(timestep))
    assert found == int(found) and abs(found - timestep) <= 0.5 + 1e-9  # log sigma is linear between two
    assert OURS.timestep_of(SD, "euler")(SD.sigma(timestep)) == pytest.approx(timestep, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_to_image": "odd"}, "convention image_to_image = 'odd': choose from part"),
        ({"brownian": "odd"}, "convention brownian = 'odd': choose from schedule"),
        ({"source": "dice"}, "convention source = 'dice': choose from torch"),
        ({"sampler": "dice"}, "sampler 'dice'"),
        ({"ends": {"dice": 0}}, "sampler 'dice'"),
        ({"drops_last_but_one": frozenset({"dice"})}, "sampler 'dice'"),
    ],
)
def test_an_unknown_convention_is_refused(options: dict[str, object], words: str):
    with pytest.raises(ValueError, match=words):
        Conventions(**options)


@pytest.mark.parametrize(
    ("like", "sampler", "spacing"),
    [
        ("a1111", "ddim", None),
        ("a1111", "plms", None),
        ("diffusers", "ddim", "linspace"),
        ("diffusers", "tcd", "linspace"),
    ],
)
def test_a_path_of_no_step_is_refused(like: str, sampler: str, spacing: str | None):
    with pytest.raises(ValueError, match=f"1 steps of {sampler}: none is left to take; give at least 2"):
        CONVENTIONS[like].path(SD, sampler, 1, spacing)


def test_a_strength_that_stretches_beyond_the_schedule_is_refused():
    with pytest.raises(ValueError, match="would be the end of 2000"):
        COMFYUI.partial_path(SD, "euler", 20, 0.01)


def test_diffusers_leading_timesteps_begin_at_1():
    assert DIFFUSERS.path(SD, "euler", 20, "leading") == (*range(951, 0, -50), CLEAN)
    assert DIFFUSERS.path(SD, "ddim", 20, "leading") == DIFFUSERS.path(SD, "ddim", 20)


def test_a_zero_snr_schedule_is_walked_from_its_last_timestep_in_even_strides():
    zero = NoiseSchedule(zero_snr=True)
    assert OURS.path(zero, "dpmpp_2m", 25) == (*range(999, 0, -40), CLEAN)
    assert OURS.path(zero, "dpmpp_2m", 25, "karras") == (*timesteps(zero, 25, "karras"), CLEAN)
    assert OURS.path(zero, "lcm", 4)[:-1] == timesteps(zero, 4, "lcm")


def test_few_steps_are_spread_as_is_best_for_few():
    assert [OURS.spacing(SD, "dpmpp_2m", steps) for steps in (1, 15, 16, 50)] == [
        "ays",
        "ays",
        "karras",
        "karras",
    ]
    assert OURS.spacing(NoiseSchedule(curve="linear"), "dpmpp_2m", 15) == "trailing"
    assert OURS.spacing(SD, "ddim", 5) == "linspace" and OURS.spacing(SD, "lcm", 5) == "lcm"
    assert {A1111.spacing(SD, "dpmpp_2m", steps) for steps in (5, 50)} == {"karras"}


def test_a_brownian_path_spans_what_the_program_says():
    whole, run = A1111.path(SD, "dpmpp_3m_sde", 20), A1111.partial_path(SD, "dpmpp_3m_sde", 20, 0.5)
    last = SD.sigma(whole[-2])
    assert last > SD.sigma(0)  # it leaves out the last but one
    assert OURS.brownian_ends(SD, whole, run) == (SD.sigma(0), SD.sigma(999))
    assert A1111.brownian_ends(SD, whole, run) == (last, SD.sigma(999))
    assert COMFYUI.brownian_ends(SD, whole, run) == (last, SD.sigma(run[0]))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_like_comfyui_the_network_is_told_whole_timesteps(sampler: str):
    seen: list[float] = []

    def watched(latents: Tensor, timestep: float) -> Tensor:
        seen.append(timestep)
        return torch.zeros_like(latents)

    brownian = brownian_path([3], (4,), SD)
    noise = seeded_noise([3], (4,))
    list(sample(watched, noise, SD, sampler=sampler, steps=6, brownian=brownian, conventions=COMFYUI))
    assert all(timestep == int(timestep) for timestep in seen)


@pytest.mark.parametrize("like", CONVENTIONS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_by_every_convention(like: str, sampler: str):
    brownian = brownian_path([3], (4, 2, 2), SD)
    *_, last = sample(
        nothing,
        seeded_noise([3], (4, 2, 2)),
        sampler=sampler,
        steps=5,
        brownian=brownian,
        conventions=CONVENTIONS[like],
    )
    assert last.latents.isfinite().all() and last.index == last.total
