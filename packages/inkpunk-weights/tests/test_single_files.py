"""Single files: with or without averages, leftovers and prefixes, whole or one component."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from inkpunk_weights import CheckpointError, open_checkpoint, safetensors_files
from inkpunk_weights.components import ema_name, find_components
from inkpunk_weights.lazy import LazyTensors, Spec
from safetensors.torch import load_file, save_file
from torch import Tensor

Parts = dict[str, dict[str, Tensor]]
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."


def assert_same(read: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert set(read) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(read[name], tensor), name


def test_names_in_the_file_are_those_of_every_published_checkpoint(single: Path) -> None:
    names = set(load_file(single))
    assert UNET + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight" in names
    assert VAE + "decoder.up.1.block.0.conv1.weight" in names
    assert TEXT + "encoder.layers.1.self_attn.q_proj.bias" in names
    assert all(name.startswith((UNET, VAE, TEXT)) for name in names)


def test_the_vaes_attention_is_stored_as_1x1_convolutions_and_read_as_matrices(single: Path) -> None:
    name = "encoder.middle.attention.query.weight"
    vae = open_checkpoint(single).vae
    assert load_file(single)[VAE + "encoder.mid.attn_1.q.weight"].shape == (6, 6, 1, 1)
    assert vae.spec(name).shape == tuple(vae[name].shape) == (6, 6)


def test_the_format_is_told_by_content_not_by_name(single: Path, parts: Parts, tmp_path: Path) -> None:
    disguised = tmp_path / "model.ckpt"
    disguised.write_bytes(single.read_bytes())
    assert open_checkpoint(disguised).layout == "single-file safetensors"
    pickled = tmp_path / "model.safetensors"
    torch.save({"state_dict": load_file(single)}, pickled)
    assert open_checkpoint(pickled).layout == "single-file ckpt (zip)"
    assert_same(open_checkpoint(pickled).unet, parts["unet"])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("root", ["state_dict", None])
def test_ckpts_are_read_bare_and_under_state_dict(
    single: Path, parts: Parts, tmp_path: Path, zipped: bool, root: str | None
) -> None:
    weights = load_file(single)
    content = {root: weights, "global_step": 7} if root else weights
    torch.save(content, tmp_path / "model.ckpt", _use_new_zipfile_serialization=zipped)
    checkpoint = open_checkpoint(tmp_path / "model.ckpt")
    assert checkpoint.layout == f"single-file ckpt ({'zip' if zipped else 'legacy'})"
    for name, tensors in parts.items():
        assert_same(checkpoint.components[name].tensors, tensors)


def test_training_leftovers_are_ignored_and_counted(single: Path, parts: Parts, tmp_path: Path) -> None:
    leftovers = {
        "betas": torch.zeros(1000),
        "alphas_cumprod": torch.ones(1000),
        "scale_factor": torch.tensor(0.2),
        "alphas_cumprod_prev": torch.zeros(1000),
        "sqrt_alphas_cumprod": torch.ones(1000),
        "sqrt_one_minus_alphas_cumprod": torch.zeros(1000),
        "posterior_variance": torch.zeros(1000),
        "logvar": torch.zeros(1000),
        "first_stage_model.loss.logvar": torch.zeros(()),
        "first_stage_model.loss.discriminator.main.0.weight": torch.zeros(2, 2),
        TEXT + "embeddings.position_ids": torch.zeros(1, 5, dtype=torch.int64),
        "model_ema.decay": torch.zeros(()),
        "model_ema.num_updates": torch.zeros((), dtype=torch.int32),
    }
    save_file(load_file(single) | leftovers, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path / "model.safetensors")
    assert set(checkpoint.leftovers) == set(leftovers)
    assert set(checkpoint.buffers) == {"betas", "alphas_cumprod", "sqrt_alphas_cumprod", "scale_factor"}
    assert all(torch.equal(tensor, leftovers[name]) for name, tensor in checkpoint.buffers.items())
    assert checkpoint.report().leftovers == len(leftovers)
    assert checkpoint.report().problems == checkpoint.unknown == ()
    for name, tensors in parts.items():
        assert_same(checkpoint.components[name].tensors, tensors)


@pytest.fixture
def averaged(single: Path, tmp_path: Path) -> Path:
    """A checkpoint whose UNet has averages, each the weight plus one."""
    weights = load_file(single)
    averages = {ema_name(name): tensor + 1 for name, tensor in weights.items() if name.startswith(UNET)}
    save_file(weights | averages, tmp_path / "averaged.safetensors")
    return tmp_path / "averaged.safetensors"


def test_averages_have_the_names_that_training_gives_them() -> None:
    name = "model.diffusion_model.input_blocks.0.0.weight"
    assert ema_name(name) == "model_ema.diffusion_modelinput_blocks00weight"


def test_averages_are_taken_only_when_asked_for(averaged: Path, parts: Parts) -> None:
    assert_same(open_checkpoint(averaged).unet, parts["unet"])
    checkpoint = open_checkpoint(averaged, ema=True)
    assert_same(checkpoint.unet, {name: tensor + 1 for name, tensor in parts["unet"].items()})
    assert_same(checkpoint.vae, parts["vae"])
    assert checkpoint.report().problems == ()


def test_a_missing_average_is_reported_by_its_own_name(averaged: Path) -> None:
    weights = load_file(averaged)
    gone = "model_ema.diffusion_modelinput_blocks00weight"
    del weights[gone]
    save_file(weights, averaged)
    assert open_checkpoint(averaged, ema=True).report().components[1].missing == (gone,)


def test_asking_for_averages_that_are_not_there_is_refused(single: Path, folder: Path) -> None:
    for path in (single, folder):
        with pytest.raises(CheckpointError, match="open it without `ema`"):
            open_checkpoint(path, ema=True)


@pytest.mark.parametrize(
    ("component", "prefix", "written"),
    [
        ("unet", UNET, UNET),
        ("unet", UNET, ""),
        ("vae", VAE, VAE),
        ("vae", VAE, ""),
        ("text_encoder", TEXT, TEXT),
        ("text_encoder", TEXT, "cond_stage_model.transformer."),
        ("text_encoder", TEXT, "text_model."),
        ("text_encoder", TEXT, ""),
    ],
)
def test_a_component_alone_opens_with_and_without_its_prefix(
    single: Path, parts: Parts, tmp_path: Path, component: str, prefix: str, written: str
) -> None:
    weights = {
        written + name.removeprefix(prefix): tensor
        for name, tensor in load_file(single).items()
        if name.startswith(prefix)
    }
    save_file(weights, tmp_path / "part.safetensors")
    checkpoint = open_checkpoint(tmp_path / "part.safetensors")
    assert list(checkpoint.components) == [component]
    assert_same(checkpoint.components[component].tensors, parts[component])
    assert len(checkpoint.unet) == (len(parts["unet"]) if component == "unet" else 0)
    assert checkpoint.report().problems == ()


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
def test_a_component_of_a_diffusers_folder_opens_as_a_file(
    folder: Path, parts: Parts, component: str
) -> None:
    (file,) = (folder / component).glob("*.safetensors")
    checkpoint = open_checkpoint(file)
    assert checkpoint.layout == "single-file safetensors"
    assert checkpoint.configs == {}
    assert_same(checkpoint.components[component].tensors, parts[component])


def test_opening_and_reporting_reads_no_tensor() -> None:
    def refuse(name: str) -> Tensor:
        raise AssertionError(f"{name} was read")

    specs = {
        "model.diffusion_model.input_blocks.1.0.in_layers.2.weight": Spec(torch.float16, (320, 320, 3, 3))
    }
    found = find_components(Path("model"), LazyTensors(specs, refuse))
    assert dict.fromkeys(found.components) == {"unet": None}


def test_a_tensor_is_read_when_it_is_asked_for(
    single: Path, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    class Watched:
        def __init__(self, path: Path, framework: str) -> None:
            self.file = safe_open(path, framework=framework)

        def keys(self) -> list[str]:
            return list(self.file.keys())

        def get_tensor(self, name: str) -> Tensor:
            read.append(name)
            return self.file.get_tensor(name)

    safe_open = safetensors_files.safe_open
    monkeypatch.setattr(safetensors_files, "safe_open", Watched)
    checkpoint = open_checkpoint(single)
    assert str(checkpoint.report())
    assert read == []
    assert torch.equal(checkpoint.unet["conv_in.weight"], parts["unet"]["conv_in.weight"])
    assert read == [UNET + "input_blocks.0.0.weight"]


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_tensors_are_mapped_and_changing_them_leaves_the_file_alone(
    single: Path, tmp_path: Path, suffix: str
) -> None:
    path = single
    if suffix == "ckpt":
        path = tmp_path / "model.ckpt"
        torch.save(load_file(single), path)
    before = path.read_bytes()
    tensor = open_checkpoint(path).unet["conv_in.weight"]
    tensor.zero_()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>please log in</html>", "web page"),
        (b"\n <html>", "web page"),
        (b"GGUF\3\0\0\0", "GGUF"),
        (b"hello, this is a text file", "model"),
        (b"PK\3\4 no zip after all", "model"),
        (b"\x80\x02", "model"),
    ],
)
def test_files_that_are_no_checkpoint_are_refused_in_one_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or folder"):
        open_checkpoint(tmp_path / "model.safetensors")


def test_a_single_file_has_no_variants(single: Path) -> None:
    with pytest.raises(CheckpointError, match="without `variant`"):
        open_checkpoint(single, variant="fp16")
