"""What an adapter does to a weight: the formulas in float64, and where they apply."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from inkpunk_weights import Change, CheckpointError, LazyTensors, Spec, merged
from torch import Tensor

ROUNDING = 2.0**-24  # of a float32, at most
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
Parts = Mapping[str, Tensor]


def change(kind: str, parts: Parts, scale: float = 1.0) -> Change:
    specs = {name: Spec(part.dtype, tuple(part.shape)) for name, part in parts.items()}
    return Change(
        kind, LazyTensors(specs, dict(parts).__getitem__), scale, None, Path("ink.safetensors"), "layer"
    )


# The formulas once more: sums over named axes, in float64.


def core(parts: Parts, core: str, outs: str, ins: str) -> Tensor:
    return torch.einsum("abhw,ao,bi->oihw", parts[core], parts[outs], parts[ins])


def lora(parts: Parts) -> Tensor:
    up, down = parts["up"].flatten(1), parts["down"]
    if "mid" in parts:
        return torch.einsum("oa,abhw,bi->oihw", up, parts["mid"], down.flatten(1))
    return torch.einsum("or,r...->o...", up, down)


def loha(parts: Parts) -> Tensor:
    def factor(i: int) -> Tensor:
        if f"t{i}" in parts:
            return core(parts, f"t{i}", f"w{i}_a", f"w{i}_b")
        return torch.einsum("or,ri->oi", parts[f"w{i}_a"], parts[f"w{i}_b"])

    return factor(1) * factor(2)


def lokr(parts: Parts) -> Tensor:
    small = parts["w1"] if "w1" in parts else torch.einsum("ar,rc->ac", parts["w1_a"], parts["w1_b"])
    if "w2" in parts:
        large = parts["w2"]
    elif "t2" in parts:
        large = core(parts, "t2", "w2_a", "w2_b")
    else:
        large = torch.einsum("br,r...->b...", parts["w2_a"], parts["w2_b"])
    product = torch.einsum("ac,bd...->abcd...", small, large)
    return product.flatten(2, 3).flatten(0, 1)


FORMULAS: dict[str, Callable[[Parts], Tensor]] = {
    "LoRA": lora,
    "LoHa": loha,
    "LoKr": lokr,
    "full": lambda parts: parts["difference"],
}
SIDES = st.integers(1, 4)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[str, dict[str, tuple[int, ...]], tuple[int, ...]]:
    """A kind, the shapes of its parts, and that of the weight they change."""
    outs, ins, r, q = (draw(SIDES) for _ in range(4))
    kernel = draw(st.sampled_from([(), (1, 1), (3, 3), (1, 3)]))
    ones, flat = (1,) * len(kernel), math.prod(kernel)
    weight = (outs, ins, *kernel)
    if draw(st.booleans()) and kernel:
        lora: dict[str, tuple[int, ...]] = {
            "up": (outs, r, 1, 1),
            "mid": (r, q, *kernel),
            "down": (q, ins, 1, 1),
        }
    else:
        lora = {"up": (outs, r, *ones), "down": (r, ins, *kernel)}
    plain = {"w1_a": (outs, r), "w1_b": (r, ins * flat), "w2_a": (outs, q), "w2_b": (q, ins * flat)}
    cores = {f"t{i}": (r, q, *kernel) for i in (1, 2)} | {
        f"w{i}_{x}": (rank, side) for i in (1, 2) for x, rank, side in (("a", r, outs), ("b", q, ins))
    }
    a, c = draw(SIDES), draw(SIDES)
    kron = draw(st.sampled_from([{"w1": (a, c)}, {"w1_a": (a, r), "w1_b": (r, c)}]))
    second: list[dict[str, tuple[int, ...]]] = [
        {"w2": (outs, ins, *kernel)},
        {"w2_a": (outs, q), "w2_b": (q, ins, *kernel)},
        {"w2_a": (outs, q), "w2_b": (q, ins * flat)},
    ]
    if kernel:
        second.append({"t2": (r, q, *kernel), "w2_a": (r, outs), "w2_b": (q, ins)})
    made = {
        "LoRA": (lora, weight),
        "LoHa": (draw(st.sampled_from([plain, cores])) if kernel else plain, weight),
        "LoKr": ({**kron, **draw(st.sampled_from(second))}, (a * outs, c * ins, *kernel)),
        "full": ({"difference": weight}, weight),
    }
    kind = draw(st.sampled_from(list(made)))
    return kind, *made[kind]


def drawn(shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype, seed: int) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=draw).to(dtype) for name, shape in shapes.items()}


def terms(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """At least the roundings on the way to one number: a sum over every axis of every part, and the products."""
    return sum(max(shape) for shape in shapes.values()) ** 2 + 8


@settings(deadline=None)
@given(shapes(), st.sampled_from(DTYPES), st.integers(0, 99), st.sampled_from([1.0, 0.25, -3.0, 1e-3]))
def test_differences_are_the_formulas(made: tuple, dtype: torch.dtype, seed: int, scale: float) -> None:
    kind, shapes, weight = made
    parts = drawn(shapes, dtype, seed)
    found = change(kind, parts, scale).difference(torch.zeros(weight, dtype=dtype))
    assert found.dtype == torch.float32 and found.shape == weight
    exact = {name: part.double() for name, part in parts.items()}
    expected = scale * FORMULAS[kind](exact).reshape(weight)
    # Each rounding is of a sum of some of the terms: at most ROUNDING times the sum of all without their signs.
    without_signs = FORMULAS[kind]({name: part.abs() for name, part in exact.items()}).reshape(weight)
    bound = terms(shapes) * ROUNDING * abs(scale) * without_signs
    assert ((found - expected).abs() <= bound + 1e-40).all()


@settings(deadline=None)
@example(
    made=("LoKr", {"w1": (1, 2), "t2": (2, 1, 3, 3), "w2_a": (2, 2), "w2_b": (1, 1)}, (2, 2, 3, 3)),
    dtype=torch.float16,
    decomposed=False,
    strengths=[1.0],
)
@given(
    made=shapes(),
    dtype=st.sampled_from(DTYPES),
    decomposed=st.booleans(),
    strengths=st.lists(st.sampled_from([1.0, 0.5, -2.0]), min_size=1, max_size=3),
)
def test_a_weight_with_changes_is_the_weight_and_every_difference(
    made: tuple, dtype: torch.dtype, decomposed: bool, strengths: list[float]
) -> None:
    kind, shapes, shape = made
    parts = drawn(shapes, torch.float32, 0)
    if decomposed:
        parts["magnitude"] = torch.rand(shape[0], 1) + 0.5
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    before = weight.clone()
    # of several kinds, where this one is not the other
    bent = [change(kind, parts, 0.25), change("full", {"difference": torch.ones(shape)})]
    changes = [(bent[i % 2], strength) for i, strength in enumerate(strengths)]
    found = merged(weight, changes)
    differences = [strength * each.difference(weight) for each, strength in changes]
    # sums in another order, of some tens of numbers up to the size of the largest
    largest = float(weight.abs().max()) + sum(float(each.abs().max()) for each in differences)
    torch.testing.assert_close(
        found, weight.float() + sum(differences), rtol=0, atol=512 * ROUNDING * (1 + largest)
    )
    assert found.dtype == torch.float32
    assert torch.equal(weight, before)
    torch.testing.assert_close(
        merged(weight, changes[::-1]), found, rtol=0, atol=512 * ROUNDING * (1 + largest)
    )


def test_a_weight_without_changes_is_a_copy() -> None:
    weight = torch.ones(2, 2)
    merged(weight, []).zero_()
    assert weight.all()


def test_merging_what_is_not_finite_is_refused_and_a_weight_that_is_not_is_no_fault_of_the_change() -> None:
    sound = change("LoRA", {"up": torch.tensor([[1.0]]), "down": torch.ones(1, 2)})
    damaged = change("LoRA", {"up": torch.tensor([[1.0]]), "down": torch.tensor([[math.nan, 0.0]])})
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        merged(torch.zeros(1, 2), [(sound, 1.0), (damaged, 1.0)])
    assert merged(torch.tensor([[math.inf, 0.0]]), [(sound, 1.0)]).tolist() == [[math.inf, 1.0]]


def test_factors_whose_product_might_have_overflowed_are_refused_only_where_it_does() -> None:
    apart = change("LoRA", {"up": torch.tensor([[1e30, 0.0]]), "down": torch.tensor([[1.0], [1e30]])})
    assert merged(torch.zeros(1, 1), [(apart, 1.0)]).item() == pytest.approx(1e30, rel=1e-6)
    meeting = change("LoRA", {"up": torch.tensor([[0.0, 1e30]]), "down": torch.tensor([[1.0], [1e30]])})
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        merged(torch.zeros(1, 1), [(meeting, 1.0)])


@settings(deadline=None)
@given(shapes(), st.sampled_from(DTYPES), st.integers(0, 99), st.booleans())
def test_doras_give_a_weight_its_lengths(made: tuple, dtype: torch.dtype, seed: int, on_outs: bool) -> None:
    kind, shapes, shape = made
    parts, draw = drawn(shapes, dtype, seed), torch.Generator().manual_seed(seed + 1)
    weight = torch.randn(shape, generator=draw)
    ones = (1,) * (len(shape) - 2)
    lengths = torch.rand((shape[0], 1, *ones) if on_outs else (1, shape[1], *ones), generator=draw) + 0.5
    if not on_outs and shape[0] == 1 == shape[1]:
        lengths = lengths.reshape(1, 1, *ones)
    found = change(kind, {**parts, "magnitude": lengths}).difference(weight)
    changed = weight + FORMULAS[kind]({name: part.double() for name, part in parts.items()}).reshape(shape)
    axes = [axis for axis in range(len(shape)) if axis != (0 if on_outs else 1)]
    bent = (found + weight).double()
    norms = bent.square().sum(axes, keepdim=True).sqrt()
    # Roundings of the sum, the norm, the quotient and the last difference, of numbers of some hundreds, 1e-5 each; a
    # vector that all but vanishes has no direction.
    close = 1e-4
    whole = changed.square().sum(axes, keepdim=True).sqrt() > 1e-2
    assert ((norms - lengths.double()).abs()[whole] <= close * (1 + weight.abs().max())).all()
    direction = changed * (lengths / changed.square().sum(axes, keepdim=True).sqrt().clamp(min=1e-12))
    assert ((bent - direction).abs()[whole.expand(shape)] <= 100 * close).all()


@settings(deadline=None, max_examples=200)
@given(shapes(), st.data())
def test_a_change_fits_exactly_where_its_difference_is_one(made: tuple, data: st.DataObject) -> None:
    kind, shapes, weight = made
    assert change(kind, drawn(shapes, torch.float32, 0)).fits(weight)
    shape_of = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(tuple)
    changed = data.draw(st.sampled_from([*shapes, "weight", "magnitude"]))
    odd = data.draw(shape_of)
    shapes, weight = ({**shapes, changed: odd}, weight) if changed != "weight" else (shapes, odd)
    bent = change(kind, drawn(shapes, torch.float32, 0))
    if bent.fits(weight):
        assert bent.difference(torch.ones(weight)).shape == weight
    else:
        with pytest.raises(CheckpointError, match="cannot change a weight of") as refusal:
            bent.difference(torch.ones(weight))
        assert str(refusal.value).startswith("ink.safetensors: 'layer': ")


@pytest.mark.parametrize(
    ("kind", "shapes", "weight"),
    [
        ("LoRA", {"up": (4, 2), "down": (2, 6)}, (6, 4)),
        ("LoRA", {"up": (4, 2), "down": (3, 6)}, (4, 6)),
        ("LoRA", {"up": (4, 2), "down": (2, 6)}, (4,)),
        ("LoRA", {"up": (4, 2, 3, 3), "down": (2, 6, 3, 3)}, (4, 6, 3, 3)),
        ("LoRA", {"up": (4, 2), "down": (2, 6)}, (4, 2, 3, 1)),
        ("LoHa", {"w1_a": (4, 2), "w1_b": (2, 6), "w2_a": (4, 2), "w2_b": (2, 5)}, (4, 6)),
        ("LoKr", {"w1": (2, 3), "w2": (2, 2)}, (4, 5)),
        ("LoKr", {"w1_a": (2, 1), "w1_b": (1, 3, 1, 1), "w2": (2, 2)}, (4, 6)),
        ("LoKr", {"w1": (2, 3, 1, 1), "w2": (2, 2, 1, 1)}, (4, 6, 1, 1)),
        ("full", {"difference": (4, 6)}, (6, 4)),
        ("full", {"difference": (4,), "magnitude": (4, 1)}, (4,)),
        ("full", {"difference": (4, 6), "magnitude": (6, 1)}, (4, 6)),
        ("full", {"difference": (4, 6), "magnitude": (6,)}, (4, 6)),
        ("full", {"difference": (4, 6), "magnitude": (1, 4)}, (4, 6)),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, shapes: dict, weight: tuple[int, ...]) -> None:
    bent = change(kind, drawn(shapes, torch.float32, 0))
    assert not bent.fits(weight)
    with pytest.raises(CheckpointError, match="cannot change a weight of"):
        bent.difference(torch.ones(weight))


def test_lengths_of_a_square_weight_are_told_apart_by_their_axes() -> None:
    weight, parts = torch.tensor([[3.0, 0.0], [4.0, 1.0]]), {"difference": torch.zeros(2, 2)}
    lengths = torch.tensor([1.0, 2.0])
    of_inputs = change("full", {**parts, "magnitude": lengths[None]}).difference(weight) + weight
    assert torch.allclose(of_inputs.square().sum(0).sqrt(), lengths)
    for stored in (lengths, lengths[:, None]):
        of_outputs = change("full", {**parts, "magnitude": stored}).difference(weight) + weight
        assert torch.allclose(of_outputs.square().sum(1).sqrt(), lengths)
        assert change("full", {**parts, "magnitude": stored}).decomposed


def test_a_vector_of_zeros_stays_one() -> None:
    parts = {"difference": torch.zeros(2, 2), "magnitude": torch.ones(2, 1)}
    assert not change("full", parts).difference(torch.zeros(2, 2)).any()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("part", ["up", "down", "magnitude"])
def test_numbers_that_are_none_are_refused(part: str, number: float) -> None:
    parts = drawn({"up": (4, 1), "down": (1, 3), "magnitude": (4, 1)}, torch.float32, 0)
    parts[part][0, 0] = number
    with pytest.raises(CheckpointError, match=r"ink\.safetensors: 'layer': holds NaN or infinity"):
        change("LoRA", parts).difference(torch.ones(4, 3))


def test_what_overflows_float32_is_refused() -> None:
    parts = {"up": torch.full((2, 1), 1e30), "down": torch.full((1, 2), 1e30)}
    with pytest.raises(CheckpointError, match="holds NaN or infinity"):
        change("LoRA", parts).difference(torch.zeros(2, 2))


@pytest.mark.parametrize("kind", ["full", "LoRA"])
def test_neither_the_weight_nor_the_parts_are_changed(kind: str) -> None:
    shapes = {"full": {"difference": (2, 3)}, "LoRA": {"up": (2, 1), "down": (1, 3)}}[kind]
    parts = drawn({**shapes, "magnitude": (2, 1)}, torch.float32, 0)
    before, weight = {name: part.clone() for name, part in parts.items()}, torch.ones(2, 3)
    for names in (parts, shapes):
        change(kind, {name: parts[name] for name in names}, 2.0).difference(weight).zero_()
        assert all(torch.equal(parts[name], before[name]) for name in parts)
        assert torch.equal(weight, torch.ones(2, 3))
