from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_sampling import seeded_noise
from inkpunk_sampling.philox import philox
from torch import Tensor

SEEDS = st.integers(0, 2**63 - 1)
SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=3)


def draws(seeds: list[int], shape: list[int], count: int = 3) -> Tensor:
    return torch.stack(list(islice(seeded_noise(seeds, shape), count)), dim=1)


@given(st.lists(SEEDS, min_size=1, max_size=5), SHAPES, st.randoms())
@settings(deadline=None, max_examples=40)
def test_an_image_draws_the_same_alone_and_in_any_batch_and_order(seeds, shape, random):
    alone = {seed: draws([seed], shape)[0] for seed in seeds}
    random.shuffle(seeds)
    assert all(torch.equal(own, alone[seed]) for seed, own in zip(seeds, draws(seeds, shape), strict=True))


@given(SEEDS)
@settings(deadline=None, max_examples=40)
def test_noise_is_torchs_own_float32_noise_of_that_seed(seed):
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(4, 8, 8, generator=generator) for _ in range(2))
    noise = seeded_noise([seed], (4, 8, 8))
    assert torch.equal(next(noise), first[None]) and torch.equal(next(noise), second[None])


def test_different_seeds_and_draws_differ():
    noise = draws([1, 2], [4, 8, 8])
    assert len({tuple(picture.flatten().tolist()) for picture in noise.flatten(0, 1)}) == 6


def test_seeds_count_modulo_two_to_the_thirty_two():
    # A property of torch's generator that the docstring states: were it to change, so would the statement.
    assert torch.equal(draws([5], [16]), draws([5 + 2**32], [16]))


def test_noise_is_standard_normal():
    noise = draws([3], [100_000], count=1)
    # Five standard errors of a mean and of a variance of 100,000 draws.
    assert abs(noise.mean().item()) < 5 / 100_000**0.5
    assert abs(noise.var().item() - 1) < 5 * (2 / 100_000) ** 0.5


def test_global_random_state_and_default_dtype_do_not_matter_and_are_left_alone():
    expected = draws([1], [8])
    state = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(draws([1], [8]), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("seeds", "shape", "message"),
    [
        ([], (4, 8, 8), "one for each image"),
        ([1, -1], (4, 8, 8), "seed -1: give 0 to 9223372036854775807"),
        ([2**63], (4, 8, 8), "seed 9223372036854775808: give 0"),
        ([1], (4, 0, 8), "at least 1"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_drawn(seeds, shape, message):
    with pytest.raises(ValueError, match=message):
        seeded_noise(seeds, shape)


def test_philox_draws_what_cuda_draws():
    # seed 0 on an NVIDIA device, as published with AUTOMATIC1111's NV source
    first = next(seeded_noise([0], (4,), "philox"))[0]
    # a logarithm, a root and a sine in float32, each a rounding or two from the device's
    torch.testing.assert_close(first[:2], torch.tensor([-0.92466259, -0.42534415]), rtol=0, atol=5e-7)


def test_philox_counters_are_those_of_the_paper():
    # known answers of Random123 for Philox4x32-10: counter and key of zeros, of ones, and of pi
    for counter, key, answer in (
        ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ):
        words = philox(tuple(torch.tensor([word]) for word in counter), key)
        assert tuple(int(word) for word in words) == answer


@given(SEEDS, SHAPES)
@settings(deadline=None, max_examples=40)
def test_philox_noise_is_each_images_own_and_goes_on(seed: int, shape: list[int]):
    together, alone = seeded_noise([5, seed], shape, "philox"), seeded_noise([seed], shape, "philox")
    for _ in range(3):
        assert torch.equal(next(together)[1:], next(alone))


def test_philox_noise_is_standard_normal():
    numbers = torch.stack([*islice(seeded_noise([3], (100_000,), "philox"), 2)])[:, 0]
    assert numbers.mean(1).abs().max() < 5 / 100_000**0.5  # five standard errors, as below
    assert (numbers.var(1) - 1).abs().max() < 5 * (2 / 100_000) ** 0.5
    assert numbers[0].dot(numbers[1]).abs() / 100_000 < 5 / 100_000**0.5


def test_a_step_seed_begins_all_but_the_first_draw_anew():
    plain, delta, other = (
        [*islice(seeded_noise([seed], (5,), step_seed=step), 3)]
        for seed, step in ((7, 0), (7, 31337), (31344, 0))
    )
    assert torch.equal(plain[0], delta[0])
    assert torch.equal(delta[1], other[0]) and torch.equal(delta[2], other[1])


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match="unknown source of noise 'dice': choose from torch, philox"):
        seeded_noise([1], (2,), "dice")
