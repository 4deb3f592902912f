"""Wide numbers made narrow, and refused where they would become infinite."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inkpunk_weights import CheckpointError, narrowed, save_checkpoint
from torch import Tensor


@given(
    st.lists(st.floats(width=32), max_size=6), st.sampled_from([torch.float16, torch.bfloat16, torch.float64])
)
def test_narrowing_is_rounding_or_a_refusal(numbers: list[float], dtype: torch.dtype) -> None:
    tensor = torch.tensor(numbers, dtype=torch.float32)
    overflows = (tensor.to(dtype).isinf() & tensor.isfinite()).any()
    try:
        converted = narrowed(tensor, dtype, "conv.weight", "model.ckpt")
        assert not overflows
        assert torch.equal(converted.nan_to_num(7), tensor.to(dtype).nan_to_num(7))
    except CheckpointError as error:
        assert overflows and "model.ckpt: 'conv.weight' holds" in str(error)


def test_whole_numbers_and_wider_dtypes_are_only_converted() -> None:
    assert narrowed(torch.tensor([1 << 40]), torch.int32, "x", "y").dtype == torch.int32
    assert narrowed(torch.tensor([torch.inf]), torch.float16, "x", "y").isinf()
    assert narrowed(torch.empty(0), torch.float16, "x", "y").dtype == torch.float16


def test_a_weight_that_float16_cannot_hold_is_refused_by_its_name(
    parts: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    vae = parts["vae"]
    vae["decoder.conv_in.bias"] = vae["decoder.conv_in.bias"].index_fill(0, torch.tensor([1]), 1e6)
    with pytest.raises(CheckpointError, match=r"conv_in.bias' holds 1e\+06, and float16 ends at 65504"):
        save_checkpoint(tmp_path / "vae.safetensors", vae=vae, dtype=torch.float16)
    assert not [*tmp_path.iterdir()]
    save_checkpoint(tmp_path / "vae.safetensors", vae=vae, dtype=torch.bfloat16)
