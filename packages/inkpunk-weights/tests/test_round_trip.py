"""Whatever is written in any layout and dtype is read back bit for bit."""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import permutations
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_weights import open_checkpoint, save_checkpoint
from inkpunk_weights.anatomy import Anatomy, TextEncoderAnatomy, UNetAnatomy, VAEAnatomy
from torch import Tensor

LaidOut = Callable[[str], dict[str, object]]
LAYOUTS = ["single-file safetensors", "single-file ckpt", "diffusers folder"]
DTYPES = [torch.float16, torch.bfloat16, torch.float32]

# By which every width divides; a folder must say heads and groups.
ONE = {
    "text_encoder": {"num_attention_heads": 1},
    "unet": {"attention_head_dim": 1, "norm_num_groups": 1},
    "vae": {"norm_num_groups": 1},
}

sizes = st.integers(1, 4)
layers = st.integers(1, 2)
# Strategies give anatomies yet to be made: the type checker draws random numbers, which hypothesis forbids.
text_encoders = st.builds(partial, st.just(TextEncoderAnatomy), sizes, sizes, sizes, layers, sizes)
unets = st.lists(st.tuples(sizes, st.booleans()), min_size=1, max_size=2).flatmap(
    lambda levels: st.builds(
        partial,
        st.just(UNetAnatomy),
        in_channels=st.sampled_from([4, 8, 9]),
        widths=st.just(tuple(width for width, _ in levels)),
        layers=layers,
        attention=st.just(tuple(attends for _, attends in levels)),
        context_width=sizes,
    )
)
vaes = st.builds(
    partial, st.just(VAEAnatomy), widths=st.lists(sizes, min_size=1, max_size=2).map(tuple), layers=layers
)
components = st.fixed_dictionaries({"unet": unets}, optional={"text_encoder": text_encoders, "vae": vaes})


def random_tensor(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    """Any bits at all, NaN's among them."""
    draw = torch.Generator().manual_seed(seed)
    raw = torch.randint(0, 256, (*shape, dtype.itemsize), dtype=torch.uint8, generator=draw)
    return raw.view(dtype)[..., 0]


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.uint8)


@settings(deadline=None, max_examples=8)
@given(
    components,
    st.sampled_from(LAYOUTS),
    st.lists(st.sampled_from(DTYPES), min_size=1, max_size=3),
    st.integers(0, 99),
)
def test_components_come_back_bit_for_bit(
    made: dict[str, Callable[[], Anatomy]], layout: str, dtypes: list[torch.dtype], seed: int
) -> None:
    parts = {
        name: {
            key: random_tensor(shape, dtypes[i % len(dtypes)], seed + i)
            for i, (key, shape) in enumerate(make().tensors())
        }
        for name, make in made.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        save_checkpoint(path, **parts, layout=layout, configs=ONE if layout == "diffusers folder" else {})
        checkpoint = open_checkpoint(path)
        assert checkpoint.report().problems == ()
        assert set(checkpoint.components) == set(parts)
        for name, tensors in parts.items():
            read = checkpoint.components[name].tensors
            assert set(read) == set(tensors)
            for key, tensor in tensors.items():
                assert read.spec(key).shape == tuple(tensor.shape) == tuple(read[key].shape)
                assert read.spec(key).dtype == tensor.dtype == read[key].dtype
                assert torch.equal(bits(read[key]), bits(tensor)), key


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_converting_rounds_each_tensor_to_the_dtype(
    parts: dict[str, dict[str, Tensor]], tmp_path: Path, laid_out: LaidOut, layout: str, dtype: torch.dtype
) -> None:
    save_checkpoint(tmp_path / "there", vae=parts["vae"], **laid_out(layout), dtype=dtype)
    for key, tensor in open_checkpoint(tmp_path / "there").vae.items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, parts["vae"][key].to(dtype))


@pytest.mark.parametrize(("first", "second"), list(permutations(LAYOUTS, 2)))
def test_a_checkpoint_survives_a_walk_through_any_two_layouts(
    parts: dict[str, dict[str, Tensor]], tmp_path: Path, laid_out: LaidOut, first: str, second: str
) -> None:
    save_checkpoint(tmp_path / "a", vae=parts["vae"], **laid_out(first))
    save_checkpoint(tmp_path / "b", vae=open_checkpoint(tmp_path / "a").vae, **laid_out(second))
    for key, tensor in open_checkpoint(tmp_path / "b").vae.items():
        assert torch.equal(tensor, parts["vae"][key])


def test_metadata_comes_back(parts: dict[str, dict[str, Tensor]], tmp_path: Path, laid_out: LaidOut) -> None:
    for layout in LAYOUTS:
        metadata = {"title": "Tusche \N{BLACK NIB}"}
        save_checkpoint(tmp_path / layout, vae=parts["vae"], **laid_out(layout), metadata=metadata)
        assert open_checkpoint(tmp_path / layout).metadata["title"] == "Tusche \N{BLACK NIB}"


def test_configs_come_back(parts: dict[str, dict[str, Tensor]], tmp_path: Path) -> None:
    given_configs = {
        **ONE,
        "unet": {"attention_head_dim": 2, "norm_num_groups": 1},
        "scheduler": {"_class_name": "DDIMScheduler"},
    }
    save_checkpoint(tmp_path / "folder", **parts, layout="diffusers folder", configs=given_configs)
    configs = open_checkpoint(tmp_path / "folder").configs
    assert set(configs) == {"text_encoder", "unet", "vae", "scheduler"}
    assert configs["unet"]["attention_head_dim"] == 2
    assert configs["unet"]["block_out_channels"] == [4, 6]
    assert configs["scheduler"] == {"_class_name": "DDIMScheduler"}
    index = json.loads((tmp_path / "folder" / "model_index.json").read_text())
    assert index["scheduler"] == ["diffusers", "DDIMScheduler"]
