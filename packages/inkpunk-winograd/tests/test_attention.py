"""The native attention is attention, and stands in for torch's where it can."""

import platform
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from inkpunk_winograd import accelerate, explain, has_native_attention, native_attention
from inkpunk_winograd.native import building
from inkpunk_winograd.native.library import load
from torch import Tensor, nn

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in building.COMPILERS), reason="no C compiler on this machine"
)


def in_float64(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query.double(), key.double(), value.double())


@needs_compiler
def test_a_machine_with_a_compiler_has_it() -> None:
    assert has_native_attention()


@needs_compiler
@given(
    st.integers(0, 99),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 300),
    st.integers(1, 1100),
    st.integers(1, 90),
    st.floats(0.1, 8.0),
    st.booleans(),
)
def test_it_is_attention(
    seed: int, batch: int, heads: int, tokens: int, context: int, width: int, size: float, joined: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> Tensor:
        if joined:  # as a linear layer gives it: heads side by side
            return torch.randn(batch, count, heads, width, generator=generator).transpose(1, 2)
        return torch.randn(batch, heads, count, width, generator=generator)

    query, key, value = size * draw(tokens), draw(context), draw(context)
    result = native_attention(query, key, value)
    assert result.shape == query.shape
    assert result.transpose(1, 2).is_contiguous()
    # scores of a few hundred lose some of their 24 bits before the exponential magnifies what is left
    assert (result - in_float64(query, key, value)).abs().max() <= 2e-5 * (1 + size * size)


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names x86-64's generations")
@pytest.mark.parametrize("processor", ["x86-64", "x86-64-v3"])  # SSE and AVX2
def test_processors_with_shorter_vectors(
    processor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("INKPUNK_NATIVE", "build")  # as a wheel has brought some for this processor
    flags = [f"-march={processor}" if flag == "-march=native" else flag for flag in building.FLAGS]
    monkeypatch.setattr(building, "FLAGS", flags)
    load.cache_clear()
    torch.manual_seed(0)
    try:
        for tokens, context, width in ((150, 300, 40), (33, 77, 23), (5, 1, 1)):
            query, key, value = (torch.randn(2, 2, count, width) for count in (tokens, context, context))
            right = in_float64(query, key, value)
            query[0, 0, 2] = torch.nan
            result = native_attention(query, key, value)
            assert result[0, 0, 2].isnan().all()
            result[0, 0, 2] = right[0, 0, 2]
            # 4e-7 is seen; shorter vectors sum in another order, and other processors round in yet another
            assert torch.allclose(result.double(), right, rtol=1e-5, atol=1e-5)
        assert len([*tmp_path.rglob("*.so")]) == 1
    finally:
        load.cache_clear()


@needs_compiler
def test_extreme_scores_neither_overflow_nor_vanish() -> None:
    key, value = (
        torch.eye(8)[None, None],
        torch.arange(8.0)[None, None, :, None].expand(1, 1, 8, 8).contiguous(),
    )
    for factor in (1e4, 1e20):  # each token sees itself alone
        assert torch.equal(native_attention(factor * key, key, value), value)


@needs_compiler
def test_what_is_not_a_number_stays_so() -> None:
    query, key, value = (torch.randn(1, 2, 40, 8) for _ in range(3))
    query[0, :, 3] = torch.nan
    result = native_attention(query, key, value)
    assert result[0, :, 3].isnan().all()
    assert not result[0, :, [0, 1, 2, *range(4, 40)]].isnan().any()


class Attention(nn.Module):
    """In the ways that models call it."""

    def __init__(self, **settings: object) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(16, 16), nn.Linear(16, 16)
        self.settings = settings

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        query, key = (
            layer(each).unflatten(-1, (2, 8)).transpose(-2, -3)
            for layer, each in ((self.query, tokens), (self.key, context))
        )
        return F.scaled_dot_product_attention(query=query, key=key, value=key, **self.settings)


NATIVE, TORCHS = "native attention", "torch's attention"


@needs_compiler
@pytest.mark.parametrize(
    ("settings", "batch", "way"),
    [
        ({}, (2,), NATIVE),
        ({"scale": 0.3}, (2,), NATIVE),
        ({"attn_mask": None, "dropout_p": 0.0, "is_causal": False}, (1,), NATIVE),
        ({"is_causal": True}, (2,), TORCHS),
        ({"attn_mask": torch.ones(9, 9, dtype=torch.bool).tril()}, (2,), TORCHS),
        ({}, (), TORCHS),
        ({}, (2, 3), TORCHS),
        ({}, (0,), TORCHS),
    ],
)
@torch.no_grad()
def test_it_stands_in_for_torchs_where_it_can(
    settings: dict[str, object], batch: tuple[int, ...], way: str
) -> None:
    plain = Attention(**settings).eval()
    tokens = torch.randn(*batch, 9, 16)
    right = plain(tokens, tokens)
    fast = accelerate(plain)
    assert torch.allclose(fast(tokens, tokens), right, atol=1e-5)
    assert explain(fast, tokens, tokens).layers[0].why.startswith(way)


@torch.no_grad()
def test_half_precision_is_torchs() -> None:
    fast = accelerate(Attention().bfloat16())
    tokens = torch.randn(1, 9, 16, dtype=torch.bfloat16)
    assert fast(tokens, tokens).dtype == torch.bfloat16


@torch.no_grad()
@pytest.mark.parametrize("make", [nn.MultiheadAttention, nn.TransformerEncoderLayer])
def test_torchs_own_modules_keep_their_fast_way(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    layer = make(16, 2, batch_first=True).eval()
    tokens = torch.randn(2, 9, 16)
    inputs = [tokens] * (3 if make is nn.MultiheadAttention else 1)
    right = layer(*inputs)
    result = accelerate(layer)(*inputs)
    for one, other in zip(
        result if isinstance(result, tuple) else [result],
        right if isinstance(right, tuple) else [right],
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-5)
