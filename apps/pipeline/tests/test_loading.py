"""What a stranger's metadata may say, and what is refused of it."""

import json
from pathlib import Path
from time import process_time

import pytest
import torch
from inkpunk import Pipeline
from inkpunk.models.conversion import convert_checkpoint
from inkpunk.models.loading import CONFIG_KEY, DEFAULTS_KEY, Defaults, read_config, read_defaults
from inkpunk.models.told import config_from_folder
from inkpunk_vae import VAE, VAEConfig
from inkpunk_weights import CheckpointError, LazyTensors, Spec, open_checkpoint, save_checkpoint


def defaults_of(tiny: Path, tmp_path: Path, text: str) -> Defaults:
    path = tmp_path / "told.safetensors"
    save_checkpoint(path, vae=open_checkpoint(tiny).vae, metadata={DEFAULTS_KEY: text}, overwrite=True)
    return read_defaults(open_checkpoint(path))


def test_a_model_says_what_it_draws_best_with(tiny: Path, tmp_path: Path) -> None:
    told = {"size": 128, "steps": 25, "guidance": 4, "note": "knows eight colours"}
    assert defaults_of(tiny, tmp_path, json.dumps(told)) == Defaults(128, 25, 4.0, "knows eight colours")
    told = {"size": 128.0, "steps": 25.0}
    assert defaults_of(tiny, tmp_path, json.dumps(told)) == Defaults(128, 25)


@pytest.mark.parametrize(
    "told",
    [
        {"size": "huge"},
        {"size": 100},
        {"size": 10**400},
        {"size": 64.5},
        {"guidance": 10**400},
        {"size": -8},
        {"steps": 0},
        {"steps": 2.5},
        {"steps": True},
        {"guidance": None},
        {"guidance": -1},
        {"guidance": "strong"},
        {"note": "\x1b[2Jboo"},
        {"note": ["a", "list"]},
        {"unheard": "of"},
        [],
    ],
    ids=str,
)
def test_other_metadata_is_refused_in_one_line(tiny: Path, tmp_path: Path, told: object) -> None:
    with pytest.raises(CheckpointError, match=DEFAULTS_KEY) as refusal:
        defaults_of(tiny, tmp_path, json.dumps(told))
    assert str(refusal.value).isprintable()


def test_metadata_that_is_not_json_is_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not JSON"):
        defaults_of(tiny, tmp_path, '{"size": NaN, "steps"')
    with pytest.raises(CheckpointError, match=DEFAULTS_KEY):
        defaults_of(tiny, tmp_path, '{"guidance": NaN}')


@pytest.fixture(scope="module")
def tiny_folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folders") / "tiny"
    convert_checkpoint(tiny, folder)
    return folder


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """The tiny model as a folder whose JSON may be edited; its weights are linked to."""
    out = tmp_path / "folder"
    for file in tiny_folder.rglob("*"):
        if file.is_file():
            copy = out / file.relative_to(tiny_folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes()) if file.suffix == ".json" else copy.symlink_to(file)
    return out


def edit(folder: Path, component: str, **told: object) -> Path:
    file = folder / component / ("scheduler_config.json" if component == "scheduler" else "config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | told))
    return folder


def refusal_of(path: Path) -> str:
    start = process_time()
    with pytest.raises(CheckpointError) as refusal:
        Pipeline.load(path, device="cpu")
    assert process_time() - start < 2  # seconds of work, however busy the machine is
    message = str(refusal.value)
    assert message.isprintable() and len(message) < 500 + len(str(path))
    return message


@pytest.mark.parametrize(
    ("component", "key", "said", "found"),
    [
        ("unet", "out_channels", 32, "4"),
        ("unet", "out_channels", 2**64, "4"),
        ("unet", "out_channels", "4", "4"),
        ("unet", "in_channels", 9, "4"),
        ("unet", "block_out_channels", [32, 128], "[32, 64]"),
        ("unet", "block_out_channels", [32, 10**400], "[32, 64]"),
        ("unet", "block_out_channels", [32], "[32, 64]"),
        ("unet", "block_out_channels", None, "[32, 64]"),
        ("unet", "layers_per_block", 3, "2"),
        ("unet", "layers_per_block", 1, "2"),
        ("unet", "layers_per_block", 10**7, "2"),
        ("unet", "layers_per_block", 2.5, "2"),
        ("unet", "down_block_types", ["CrossAttnDownBlock2D", "DownBlock2D"], "'CrossAttnDownBlock2D']"),
        ("unet", "cross_attention_dim", 768, "32"),
        ("vae", "latent_channels", 2**64, "4"),
        ("vae", "block_out_channels", [8, 8, 16], "[8, 8, 16, 16]"),
        ("vae", "layers_per_block", 10**7, "1"),
        ("text_encoder", "vocab_size", 2**64, "49408"),
        ("text_encoder", "num_hidden_layers", 10**7, "2"),
        ("text_encoder", "num_hidden_layers", float("inf"), "2"),
        ("text_encoder", "hidden_size", 64, "32"),
        ("text_encoder", "intermediate_size", -1, "64"),
        ("text_encoder", "max_position_embeddings", 78, "77"),
    ],
)
def test_a_config_that_contradicts_its_tensors_is_refused_with_what_both_say(
    folder: Path, component: str, key: str, said: object, found: str
) -> None:
    message = refusal_of(edit(folder, component, **{key: said}))
    assert f"{component}: config.json: {key} is {said!r:.80}, but the tensors are those of " in message
    assert found in message


def test_a_size_left_out_is_refused_where_the_tensors_are_not_of_what_that_means(folder: Path) -> None:
    told = dict(open_checkpoint(folder).configs["vae"])
    del told["latent_channels"]
    assert config_from_folder("vae", told, open_checkpoint(folder).vae).latent_channels == 4
    with torch.device("meta"):
        weights = VAE(VAEConfig(latent_channels=8, widths=(8, 8, 16, 16), layers=1, groups=4)).state_dict()
    specs = {name: Spec(torch.float32, tuple(tensor.shape)) for name, tensor in weights.items()}
    with pytest.raises(ValueError, match=r"latent_channels is left out, which means 4, but .* of 8;"):
        config_from_folder("vae", told, LazyTensors(specs, weights.__getitem__))


@pytest.mark.parametrize(
    ("component", "key", "said"),
    [
        ("unet", "attention_head_dim", [4, 8]),
        ("unet", "attention_head_dim", 3),
        ("unet", "attention_head_dim", 2**64),
        ("unet", "norm_num_groups", 10**400),
        ("unet", "use_linear_projection", True),
        ("vae", "norm_num_groups", 10**7),
        ("vae", "scaling_factor", float("inf")),
        ("vae", "scaling_factor", True),
        ("vae", "scaling_factor", 10**400),
        ("text_encoder", "num_attention_heads", 3),
        ("text_encoder", "num_attention_heads", 10**400),
        ("scheduler", "num_train_timesteps", 2**31),
        ("scheduler", "num_train_timesteps", 1),
        ("scheduler", "num_train_timesteps", 10**400),
        ("scheduler", "beta_start", 10**400),
        ("scheduler", "beta_end", float("nan")),
        ("scheduler", "prediction_type", 10**400),
    ],
)
def test_what_no_tensor_tells_is_refused_by_its_key_where_it_is_absurd(
    folder: Path, component: str, key: str, said: object
) -> None:
    assert key in refusal_of(edit(folder, component, **{key: said}))


def test_heads_may_be_said_for_each_level_and_numbers_with_a_point(folder: Path) -> None:
    before = read_config(open_checkpoint(folder), "unet")
    edit(folder, "unet", attention_head_dim=[4, 4], layers_per_block=2.0, norm_num_groups=8.0)
    assert read_config(open_checkpoint(folder), "unet") == before


def told(tiny: Path, tmp_path: Path, text: str) -> Path:
    path, whole = tmp_path / "told.safetensors", open_checkpoint(tiny)
    parts = {"text_encoder": whole.text_encoder, "unet": whole.unet, "vae": whole.vae}
    save_checkpoint(path, **parts, metadata={CONFIG_KEY: text}, overwrite=True)
    return path


def test_metadata_of_too_many_characters_is_refused_unparsed(tiny: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(told(tiny, tmp_path, '{"unet": [' + "[]," * 50_000 + "[]]}"))
    with pytest.raises(CheckpointError, match="100,000 characters"):
        read_config(checkpoint, "unet")


def test_metadata_may_write_whole_numbers_with_a_point(tiny: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(
        told(tiny, tmp_path, '{"unet": {"heads": 4.0, "groups": 8}, "vae": {"groups": 4.0}}')
    )
    for component in ("unet", "vae"):
        assert read_config(checkpoint, component) == read_config(open_checkpoint(tiny), component)


@pytest.mark.parametrize(
    "numbers",
    [
        {"heads": 8.5},
        {"heads": 10**400},
        {"heads": True},
        {"heads": "8"},
        {"heads": 0},
        {"heads": 3, "groups": 8},
        {"groups": float("inf")},
        {"groups": float("nan")},
        {"scaling": 1.0},
        {"widths": [320]},
        [8],
        8,
        None,
    ],
    ids=lambda each: str(each)[:20],
)
def test_metadata_that_tell_no_such_numbers_are_refused_in_one_line(
    tiny: Path, tmp_path: Path, numbers: object
) -> None:
    assert "unet" in refusal_of(
        told(tiny, tmp_path, json.dumps({"text_encoder": {"heads": 4}, "unet": numbers}))
    )


@pytest.mark.parametrize(
    "scaling", [10**400, -(10**400), float("inf"), True, "1"], ids=lambda each: str(each)[:5]
)
def test_a_scaling_that_is_no_number_is_refused_in_one_line(
    tiny: Path, tmp_path: Path, scaling: object
) -> None:
    numbers = {
        "text_encoder": {"heads": 4},
        "unet": {"heads": 4, "groups": 8},
        "vae": {"groups": 4, "scaling": scaling},
    }
    assert "scaling" in refusal_of(told(tiny, tmp_path, json.dumps(numbers)))


def without_defaults(folder: Path) -> Path:
    """The folder with weights whose metadata prefer nothing."""
    for file in folder.rglob("*.safetensors"):
        length = int.from_bytes(file.read_bytes()[:8], "little")
        data = file.read_bytes()
        header = json.loads(data[8 : 8 + length])
        header["__metadata__"].pop(DEFAULTS_KEY, None)
        text = json.dumps(header).encode()
        file.unlink()
        file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    return folder


@pytest.mark.parametrize("said", [96, 96.0, [96, 96]])
def test_a_folder_tells_the_size_its_unet_was_trained_for_and_conversion_keeps_it(
    folder: Path, tmp_path: Path, said: object
) -> None:
    edit(without_defaults(folder), "unet", sample_size=said)
    assert read_defaults(open_checkpoint(folder)).size == 768
    convert_checkpoint(folder, tmp_path / "single.safetensors")
    assert read_defaults(open_checkpoint(tmp_path / "single.safetensors")) == Defaults(size=768)
    convert_checkpoint(tmp_path / "single.safetensors", tmp_path / "again")
    assert json.loads((tmp_path / "again/unet/config.json").read_text())["sample_size"] == 96


@pytest.mark.parametrize("said", [2**64, 64.5, [64, 96], "64", 0, -8, True, float("inf"), [], {}])
def test_a_size_that_is_none_is_refused_in_one_line(folder: Path, said: object) -> None:
    assert "sample_size" in refusal_of(edit(without_defaults(folder), "unet", sample_size=said))


def test_a_folder_that_tells_no_size_prefers_the_usual_one_and_metadata_count_for_more(folder: Path) -> None:
    assert (
        read_defaults(open_checkpoint(edit(folder, "unet", sample_size=96))).size == 64
    )  # as the metadata have it
    assert (
        read_defaults(open_checkpoint(edit(without_defaults(folder), "unet", sample_size=None))).size == 512
    )
