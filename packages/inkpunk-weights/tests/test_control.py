"""Control networks are read in every layout by our names; all else is refused by what it is."""

import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from inkpunk_weights import (
    CONTROL_FILES,
    CheckpointError,
    Control,
    open_adapter,
    open_checkpoint,
    open_control,
    open_embedding,
    save_control,
)
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file
from torch import Tensor

Tensors = dict[str, Tensor]
Names = dict[str, str]  # ours: theirs
Parts = dict[str, Tensors]

SINGLE_FILE, DIFFUSERS = "single file", "diffusers"
CONTROLNET, T2I_ADAPTER = "ControlNet", "T2I-Adapter"
ENCODER = ("conv_in.", "time_embedding.", "down.", "middle.")
CONVOLUTIONS, SKIPS, LEVELS = 8, 4, 4
LEAVES = ("weight", "bias")


def pickled(content: object, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def numbered(names: Mapping[str, object]) -> Tensors:
    """A tensor for each name, unlike any other's."""
    return {name: torch.tensor([float(number)]) for number, name in enumerate(names)}


def leaves(modules: Mapping[str, str]) -> Names:
    return {f"{ours}.{leaf}": f"{theirs}.{leaf}" for ours, theirs in modules.items() for leaf in LEAVES}


def encoder(path: Path) -> Names:
    """What the first half of a checkpoint's UNet is called there."""
    names = open_checkpoint(path).components["unet"].in_file
    prefix = "model.diffusion_model."
    return {ours: theirs.removeprefix(prefix) for ours, theirs in names.items() if ours.startswith(ENCODER)}


@pytest.fixture
def in_single_file(saved: Path) -> Names:
    """A ControlNet's names as its authors have them, without prefix."""
    own = {f"hint.convolutions.{index}": f"input_hint_block.{2 * index}" for index in range(CONVOLUTIONS)}
    own |= {f"zero_convs.{index}": f"zero_convs.{index}.0" for index in range(SKIPS)}
    return encoder(saved / "single.safetensors") | leaves(own | {"middle_zero_conv": "middle_block_out.0"})


@pytest.fixture
def in_diffusers(saved: Path) -> Names:
    embedding = "controlnet_cond_embedding"
    hint = ["conv_in", *(f"blocks.{index}" for index in range(CONVOLUTIONS - 2)), "conv_out"]
    own = {f"hint.convolutions.{index}": f"{embedding}.{part}" for index, part in enumerate(hint)}
    own |= {f"zero_convs.{index}": f"controlnet_down_blocks.{index}" for index in range(SKIPS)}
    return encoder(saved / "folder") | leaves(own | {"middle_zero_conv": "controlnet_mid_block"})


def adapter_names(layout: str, light: bool) -> Names:
    """A T2I-Adapter's, with and without the `adapter.` that diffusers writes."""
    modules = {} if light else {"conv_in": "conv_in"}
    for level in range(LEVELS):
        blocks = 4 if light else 2
        # as a whole one's widths 320, 640, 1280, 1280 have it, and as a light one always has
        if light or level in (1, 2):
            block = level if light or layout == DIFFUSERS else 2 * level
            modules[f"levels.{level}.conv_in"] = f"body.{block}.in_conv"
        if light:
            modules[f"levels.{level}.conv_out"] = f"body.{level}.out_conv"
        for index in range(blocks):
            if layout == DIFFUSERS:
                block = f"body.{level}.resnets.{index}"
            else:
                block = f"body.{level}.body.{index}" if light else f"body.{2 * level + index}"
            for part in (1, 2):
                modules[f"levels.{level}.blocks.{index}.conv{part}"] = f"{block}.block{part}"
    return leaves(modules)


def in_file(ours: Tensors, names: Names, prefix: str = "") -> Tensors:
    return {f"{prefix}{names[name]}": tensor for name, tensor in ours.items()}


def opened(folder: Path, data: bytes | Tensors, name: str = "control.pth") -> Control:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else save(data))
    return open_control(path)


def refused(folder: Path, data: bytes | Tensors, name: str = "control.pth") -> CheckpointError:
    with pytest.raises(CheckpointError) as error:
        opened(folder, data, name)
    message = str(error.value)
    assert message.startswith(f"{folder / name}: ")
    assert message.isprintable()
    return error.value


def said(error: CheckpointError) -> str:
    return str(error).partition("control.pth: ")[2]


def assert_holds(control: Control, ours: Tensors, kind: str, layout: str) -> None:
    assert (control.kind, control.layout) == (kind, layout)
    assert control.tensors.keys() == ours.keys()
    assert all(torch.equal(control.tensors[name], tensor) for name, tensor in ours.items())


# -- what is read --


@pytest.mark.parametrize("prefix", ["control_model.", "", "module.control_model.", "_orig_mod."])
def test_controlnets_of_single_files_are_read(tmp_path: Path, in_single_file: Names, prefix: str) -> None:
    ours = numbered(in_single_file)
    control = opened(tmp_path, in_file(ours, in_single_file, prefix))
    assert_holds(control, ours, CONTROLNET, SINGLE_FILE)
    assert (control.path, control.unknown, control.config) == (tmp_path / "control.pth", (), {})


def test_a_controlnet_beside_its_whole_checkpoint_is_read(
    single: Path, tmp_path: Path, in_single_file: Names
) -> None:
    ours = numbered(in_single_file)
    both = load_file(single) | in_file(ours, in_single_file, "control_model.")
    control = opened(tmp_path, both)
    assert_holds(control, ours, CONTROLNET, SINGLE_FILE)
    assert control.unknown == ()


@pytest.mark.parametrize("prefix", ["", "controlnet.", "module."])
def test_diffusers_controlnets_are_read_from_single_files(
    tmp_path: Path, in_diffusers: Names, prefix: str
) -> None:
    ours = numbered(in_diffusers)
    control = opened(tmp_path, in_file(ours, in_diffusers, prefix))
    assert_holds(control, ours, CONTROLNET, DIFFUSERS)


@pytest.mark.parametrize("light", [False, True], ids=["whole", "light"])
@pytest.mark.parametrize("layout", [SINGLE_FILE, DIFFUSERS])
@pytest.mark.parametrize("prefix", ["", "adapter.", "module."])
def test_t2i_adapters_are_read(tmp_path: Path, prefix: str, layout: str, light: bool) -> None:
    names = adapter_names(layout, light)
    ours = numbered(names)
    control = opened(tmp_path, in_file(ours, names, prefix))
    assert_holds(control, ours, T2I_ADAPTER, layout)
    assert control.unknown == ()


@pytest.mark.parametrize(
    "write",
    [
        pickled,
        lambda content: pickled(content, False),
        lambda content: pickled({"state_dict": content, "epoch": 3}),
    ],
    ids=["zip", "legacy", "state_dict"],
)
def test_pickles_are_read(tmp_path: Path, in_single_file: Names, write: Callable[[Tensors], bytes]) -> None:
    ours = numbered(in_single_file)
    control = opened(tmp_path, write(in_file(ours, in_single_file, "control_model.")))
    assert_holds(control, ours, CONTROLNET, SINGLE_FILE)
    names = adapter_names(SINGLE_FILE, light=False)
    assert_holds(
        opened(tmp_path, write(in_file(ours := numbered(names), names))), ours, T2I_ADAPTER, SINGLE_FILE
    )


def test_folders_are_read_with_their_config_and_variants(tmp_path: Path, in_diffusers: Names) -> None:
    config = {"_class_name": "ControlNetModel", "global_pool_conditions": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    plain, half = numbered(in_diffusers), {name: torch.ones(2).half() for name in in_diffusers}
    save_file(in_file(half, in_diffusers), tmp_path / "diffusion_pytorch_model.fp16.safetensors")
    only = open_control(tmp_path)
    save_file(in_file(plain, in_diffusers), tmp_path / "diffusion_pytorch_model.safetensors")
    assert_holds(only, half, CONTROLNET, DIFFUSERS)
    assert_holds(open_control(str(tmp_path)), plain, CONTROLNET, DIFFUSERS)
    assert_holds(open_control(tmp_path, variant="fp16"), half, CONTROLNET, DIFFUSERS)
    assert only.config == config
    with pytest.raises(CheckpointError, match="has no variant 'bf16'; there is fp16"):
        open_control(tmp_path, variant="bf16")


def test_a_t2i_adapters_folder_of_pickles_is_read(tmp_path: Path) -> None:
    names = adapter_names(DIFFUSERS, light=True)
    (tmp_path / "config.json").write_text('{"adapter_type": "light_adapter"}')
    torch.save(in_file(numbered(names), names, "adapter."), tmp_path / "diffusion_pytorch_model.bin")
    control = open_control(tmp_path)
    assert_holds(control, numbered(names), T2I_ADAPTER, DIFFUSERS)
    assert control.config == {"adapter_type": "light_adapter"}


def test_what_a_pickle_would_have_imported_is_told(tmp_path: Path) -> None:
    names = adapter_names(SINGLE_FILE, light=True)
    control = opened(tmp_path, pickled({"state_dict": in_file(numbered(names), names), "hook": os.getcwd}))
    assert_holds(control, numbered(names), T2I_ADAPTER, SINGLE_FILE)
    assert control.imports == (f"{os.getcwd.__module__}.getcwd",)


def test_dtypes_shapes_and_notes_are_those_of_the_file(tmp_path: Path, in_single_file: Names) -> None:
    stored = {name: torch.ones(2, 3, dtype=torch.bfloat16) for name in in_single_file.values()}
    control = opened(tmp_path, save(stored, {"modelspec.title": "Canny"}))
    assert {(spec.dtype, spec.shape) for spec in map(control.tensors.spec, control.tensors)} == {
        (torch.bfloat16, (2, 3))
    }
    assert control.metadata["modelspec.title"] == "Canny"


@pytest.mark.parametrize(
    "stranger",
    ["zero_convs.4.0.weight", "input_hint_block.1.weight", "out.0.weight", "zero_convs.0.0.alpha", "depth"],
)
def test_tensors_that_are_no_part_of_it_are_told(
    tmp_path: Path, in_single_file: Names, stranger: str
) -> None:
    ours = numbered(in_single_file)
    stored = in_file(ours, in_single_file, "control_model.") | {f"control_model.{stranger}": torch.ones(1)}
    control = opened(tmp_path, stored)
    assert_holds(control, ours, CONTROLNET, SINGLE_FILE)
    assert control.unknown == (f"control_model.{stranger}",)


def test_suffixes_of_control_networks_are_told() -> None:
    assert {".safetensors", ".pth"} <= set(CONTROL_FILES)


# -- relatives --

WANTED = "Inkpunk draws with ControlNets and T2I-Adapters for Stable Diffusion v1"


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["lora_controlnet", "input_hint_block.0.weight"], "a Control-LoRA"),
        (["lllite_unet_input_blocks_4_1.conditioning1.0.weight"], "a ControlLLLite"),
        (["style_embedding", "transformer_layes.0.attn.in_proj_weight"], "a T2I-Adapter of styles"),
        (
            ["difference", "control_model.input_hint_block.0.weight"],
            "a ControlNet stored as its difference from a model",
        ),
        (["controlnet_x_embedder.weight"], "a ControlNet for Flux or Stable Diffusion 3"),
        (["controlnet_blocks.0.weight"], "a ControlNet for Flux or Stable Diffusion 3"),
    ],
)
def test_relatives_are_refused_by_name(tmp_path: Path, names: list[str], what: str) -> None:
    error = refused(tmp_path, numbered(dict.fromkeys(names)))
    assert (said(error), error.found) == (f"this is {what}; {WANTED}", None)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("task_embedding", "a union ControlNet for Stable Diffusion XL"),
        ("control_add_embedding.linear_1.weight", "a union ControlNet for Stable Diffusion XL"),
        ("add_embedding.linear_1.weight", "a ControlNet for Stable Diffusion XL"),
        ("label_emb.0.0.weight", "a ControlNet for Stable Diffusion XL"),
        ("down_blocks.0.motion_modules.0.temporal_transformer.norm.bias", "a SparseCtrl of AnimateDiff"),
    ],
)
def test_controlnets_for_other_models_are_refused_by_a_telling_tensor(
    tmp_path: Path, in_single_file: Names, in_diffusers: Names, name: str, what: str
) -> None:
    for names, prefix in ((in_single_file, "control_model."), (in_diffusers, "")):
        stored = in_file(numbered(names), names, prefix) | {f"{prefix}{name}": torch.ones(1)}
        assert said(refused(tmp_path, stored)) == f"this is {what}; {WANTED}"


@pytest.mark.parametrize(("width", "model"), [(1024, "Stable Diffusion 2"), (2048, "Stable Diffusion XL")])
def test_controlnets_of_other_contexts_are_refused(
    tmp_path: Path, in_single_file: Names, in_diffusers: Names, width: int, model: str
) -> None:
    for names in (in_single_file, in_diffusers):
        stored = in_file(numbered(names), names)
        stored[names["middle.attention.block.cross_attention.key.weight"]] = torch.ones(4, width)
        assert said(refused(tmp_path, stored)) == f"this is a ControlNet for {model}; {WANTED}"


@pytest.mark.parametrize("layout", [SINGLE_FILE, DIFFUSERS])
@pytest.mark.parametrize("channels", [1, 3])
def test_t2i_adapters_that_halve_a_hint_once_more_are_refused(
    tmp_path: Path, layout: str, channels: int
) -> None:
    names = adapter_names(layout, light=False)
    stored = in_file(numbered(names), names) | {"conv_in.weight": torch.ones(4, channels * 16**2, 3, 3)}
    assert said(refused(tmp_path, stored)) == f"this is a T2I-Adapter for Stable Diffusion XL; {WANTED}"


# -- other kinds --


@pytest.mark.parametrize(
    ("name", "what", "found"),
    [
        ("lora_unet_conv_in.lora_up.weight", "a LoRA or its like, which `open_adapter` reads", "adapter"),
        ("emb_params", "a textual-inversion embedding, which `open_embedding` reads", "embedding"),
        ("conditioner.embedders.0.weight", "Stable Diffusion XL", None),
        ("double_blocks.0.img_attn.norm.key_norm.scale", "a Flux model", None),
    ],
)
def test_other_kinds_are_refused_by_what_they_are(
    tmp_path: Path, name: str, what: str, found: str | None
) -> None:
    error = refused(tmp_path, {name: torch.ones(1)})
    assert (said(error), error.found) == (f"not a control network but {what}", found)


@pytest.mark.parametrize("name", ["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"])
def test_ip_adapters_are_refused_by_what_they_are(tmp_path: Path, name: str) -> None:
    assert said(refused(tmp_path, {name: torch.ones(1)})).startswith("not a control network but an image ")


@pytest.mark.parametrize(
    ("kept", "parts"),
    [
        ("", "text encoder, unet, vae"),
        ("model.diffusion_model.", "unet"),
        ("first_stage_model.", "vae"),
        ("cond_stage_model.", "text encoder"),
    ],
)
def test_checkpoints_are_refused_by_what_they_hold(
    single: Path, tmp_path: Path, kept: str, parts: str
) -> None:
    stored = {name: tensor for name, tensor in load_file(single).items() if name.startswith(kept)}
    error = refused(tmp_path, stored)
    assert error.found == "checkpoint"
    assert said(error) == (
        f"not a control network but a checkpoint of Stable Diffusion v1, or part of one ({parts})"
    )


def test_checkpoints_folders_are_refused(folder: Path) -> None:
    for path, what in (
        (folder, "a checkpoint's folder"),
        (folder / "unet", "a checkpoint of Stable Diffusion v1, or part of one (unet)"),
        (folder / "vae", "a checkpoint of Stable Diffusion v1, or part of one (vae)"),
    ):
        with pytest.raises(CheckpointError) as error:
            open_control(path)
        assert str(error.value) == f"{path}: not a control network but {what}"
        assert error.value.found == "checkpoint"


def test_tensors_of_no_network_are_refused_with_a_few_of_their_names(tmp_path: Path) -> None:
    stored = numbered(dict.fromkeys(["a.weight", "b" * 99, "c\nd", "last"]))
    assert said(refused(tmp_path, stored)) == (
        "not a ControlNet or T2I-Adapter: no layer of one among its 4 tensors "
        f"('a.weight', '{'b' * 37}...', 'c\\nd')"
    )
    assert said(refused(tmp_path, save({}))).endswith("no layer of one among its 0 tensors (none at all)")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file is empty; fetch it again"),
        (b"<html>", "this is a web page, not weights"),
        (pickled({"string_to_param": {"*": torch.zeros(1, 768)}}), "string_to_param"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), ""),
    ],
)
def test_files_of_no_tensors_are_refused(tmp_path: Path, data: bytes, what: str) -> None:
    assert what in str(refused(tmp_path, data))


def test_paths_of_nothing_are_refused(tmp_path: Path) -> None:
    for path, what in (
        (tmp_path / "not\nthere", "no such file or folder"),
        (tmp_path, "no weights"),
    ):
        with pytest.raises(CheckpointError, match=what) as error:
            open_control(path)
        assert str(error.value).isprintable()


def controls(in_single_file: Names, in_diffusers: Names) -> Iterator[Tensors]:
    for prefix in ("control_model.", ""):
        yield in_file(numbered(in_single_file), in_single_file, prefix)
    for prefix in ("", "controlnet."):
        yield in_file(numbered(in_diffusers), in_diffusers, prefix)
    for layout in (SINGLE_FILE, DIFFUSERS):
        for light in (False, True):
            for prefix in ("", "adapter."):
                names = adapter_names(layout, light)
                yield in_file(numbered(names), names, prefix)


@pytest.mark.parametrize("open_other", [open_checkpoint, open_adapter, open_embedding])
def test_who_opens_a_control_network_as_another_thing_is_told(
    tmp_path: Path, in_single_file: Names, in_diffusers: Names, open_other: Callable[[Path], Any]
) -> None:
    path = tmp_path / "control.safetensors"
    for stored in controls(in_single_file, in_diffusers):
        path.unlink(missing_ok=True)
        save_file(stored, path)
        with pytest.raises(CheckpointError) as error:
            open_other(path)
        assert "a ControlNet or T2I-Adapter, which `open_control` reads" in str(error.value)
        assert error.value.found == "control network"
        assert str(error.value).isprintable()


# -- what is written --


@pytest.fixture
def ours(in_single_file: Names) -> Tensors:
    return numbered(in_single_file)


def test_what_is_written_is_read_as_it_was(tmp_path: Path, ours: Tensors) -> None:
    path = tmp_path / "canny.safetensors"
    save_control(path, ours, dtype=torch.float32, metadata={"title": "Canny"})
    control = open_control(path)
    assert_holds(control, ours, CONTROLNET, SINGLE_FILE)
    assert control.metadata["title"] == "Canny"
    assert [file.name for file in tmp_path.iterdir()] == ["canny.safetensors"]


def test_it_is_written_under_its_authors_names_in_half_precision(
    tmp_path: Path, ours: Tensors, in_single_file: Names
) -> None:
    save_control(str(tmp_path / "canny.safetensors"), ours)
    with safe_open(tmp_path / "canny.safetensors", "pt") as file:
        assert set(file.keys()) == {f"control_model.{theirs}" for theirs in in_single_file.values()}
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118


def test_what_was_opened_can_be_written_again(tmp_path: Path, ours: Tensors) -> None:
    path = tmp_path / "canny.safetensors"
    save_control(path, ours, dtype=torch.float32)
    save_control(path, open_control(path).tensors, dtype=torch.float32, overwrite=True)
    assert_holds(open_control(path), ours, CONTROLNET, SINGLE_FILE)


@pytest.mark.parametrize(
    ("stranger", "value", "complaint"),
    [
        *(
            (name, 1, f"not written: a ControlNet has no tensor called '{name}'")
            for name in ("up.0.resnets.0.conv1.weight", "zero_convs.4.weight", "weight")
        ),
        ("middle_zero_conv.weight", 1e6, "middle_block_out.0.weight"),
    ],
)
def test_what_is_no_controlnet_is_not_written(
    tmp_path: Path, ours: Tensors, stranger: str, value: float, complaint: str
) -> None:
    path = tmp_path / "canny.safetensors"
    with pytest.raises(CheckpointError) as error:
        save_control(path, ours | {stranger: torch.full((1,), value)})
    assert str(error.value).startswith(f"{path}: ")
    assert complaint in str(error.value)
    assert str(error.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to write; give a ControlNet's tensors"):
        save_control(tmp_path / "canny.safetensors", {})
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept_unless_told_otherwise(tmp_path: Path, ours: Tensors) -> None:
    path = tmp_path / "canny.safetensors"
    path.write_bytes(b"mine")
    with pytest.raises(CheckpointError):
        save_control(path, ours)
    assert path.read_bytes() == b"mine"
    save_control(path, ours, overwrite=True)
    assert open_control(path).kind == CONTROLNET
