"""What a checkpoint's model was trained to predict, and on which noise: read, followed, and kept by conversion."""

import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inkpunk import Pipeline, Request
from inkpunk.models.conversion import convert_checkpoint
from inkpunk_sampling import PREDICTIONS, NoiseSchedule
from inkpunk_weights import CheckpointError, open_checkpoint
from torch import Tensor

V = {"prediction_type": "v_prediction"}
LINEAR = {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02, "num_train_timesteps": 1000}
REQUEST = Request("a raven", seeds=(3,), steps=3)


def with_header(tiny: Path, out: Path, tensors: tuple[str, ...] = (), **metadata: str) -> Path:
    """The tiny model's file with empty tensors and metadata added, as other programs mark theirs."""
    data = tiny.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    header |= {name: {"dtype": "F32", "shape": [0], "data_offsets": [len(body)] * 2} for name in tensors}
    header["__metadata__"] |= metadata
    text = json.dumps(header).encode()
    out.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return out


@pytest.fixture(scope="module")
def converted(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a folder."""
    path = tmp_path_factory.mktemp("converted") / "folder"
    convert_checkpoint(tiny, path)
    return path


def folder(converted: Path, out: Path, scheduler: dict[str, object]) -> Path:
    shutil.copytree(converted, out)
    path = out / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | scheduler))
    return out


def scheduler_of(path: Path) -> dict[str, object]:
    return json.loads((path / "scheduler/scheduler_config.json").read_text())


def told(path: Path, **options: Any) -> tuple[str, NoiseSchedule]:
    return of(Pipeline.load(path, device="cpu", **options))


def of(pipeline: Pipeline) -> tuple[str, NoiseSchedule]:
    return pipeline.prediction, pipeline.schedule


def test_a_file_that_says_nothing_is_sd_v15(tiny: Path) -> None:
    assert told(tiny) == ("epsilon", NoiseSchedule())


@pytest.mark.parametrize(
    ("tensors", "metadata", "expected"),
    [
        (("v_pred",), {}, ("v", NoiseSchedule())),
        (("v_pred", "ztsnr"), {}, ("v", NoiseSchedule(zero_snr=True))),
        ((), {"modelspec.prediction_type": "v"}, ("v", NoiseSchedule())),
        ((), {"modelspec.prediction_type": "epsilon"}, ("epsilon", NoiseSchedule())),
    ],
)
def test_a_single_file_says_it_by_signs(
    tiny: Path,
    tmp_path: Path,
    tensors: tuple[str, ...],
    metadata: dict[str, str],
    expected: tuple[str, NoiseSchedule],
) -> None:
    assert told(with_header(tiny, tmp_path / "signs.safetensors", tensors, **metadata)) == expected


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (V, ("v", NoiseSchedule())),
        ({"prediction_type": "sample"}, ("sample", NoiseSchedule())),
        (V | {"rescale_betas_zero_snr": True}, ("v", NoiseSchedule(zero_snr=True))),
        (LINEAR, ("epsilon", NoiseSchedule(1000, 0.0001, 0.02, "linear"))),
    ],
)
def test_a_folder_says_it_in_its_schedulers_config(
    converted: Path, tmp_path: Path, scheduler: dict[str, object], expected: tuple[str, NoiseSchedule]
) -> None:
    assert told(folder(converted, tmp_path / "folder", scheduler)) == expected


def test_conversion_there_and_back_keeps_it_and_draws_the_same_pixels(
    converted: Path, tmp_path: Path
) -> None:
    first = folder(converted, tmp_path / "first", LINEAR | V | {"rescale_betas_zero_snr": True})
    before = Pipeline.load(first, device="cpu")
    expected = np.asarray(before.generate(REQUEST)[0].image)
    for source, name in (
        ("first", "second.safetensors"),
        ("second.safetensors", "third"),
        ("third", "fourth.ckpt"),
    ):
        convert_checkpoint(tmp_path / source, tmp_path / name)
        pipeline = Pipeline.load(tmp_path / name, device="cpu")
        assert of(pipeline) == of(before)
        if (tmp_path / name).is_dir():
            assert scheduler_of(tmp_path / name) == scheduler_of(first)
        else:
            assert {"v_pred", "ztsnr"} <= {*open_checkpoint(tmp_path / name).unknown}  # for other programs
        drawn = pipeline.generate(REQUEST)[0].image
        # One level: weights that lie otherwise aligned in their file are multiplied in another order.
        assert np.abs(np.asarray(drawn).astype(int) - expected).max() <= 1


def test_a_marked_file_becomes_a_folder_whose_config_says_so(tiny: Path, tmp_path: Path) -> None:
    marked = with_header(tiny, tmp_path / "marked.safetensors", ("v_pred", "ztsnr"))
    convert_checkpoint(marked, tmp_path / "folder")
    config = scheduler_of(tmp_path / "folder")
    assert config["prediction_type"] == "v_prediction" and config["rescale_betas_zero_snr"] is True
    assert config["_class_name"] == "DDIMScheduler" and config["timestep_spacing"] == "trailing"


def test_what_the_user_says_counts_for_more(tiny: Path, tmp_path: Path) -> None:
    marked = with_header(tiny, tmp_path / "marked.safetensors", ("v_pred", "ztsnr"))
    assert told(marked, prediction="sample", zero_snr=False) == ("sample", NoiseSchedule())
    assert told(tiny, prediction="v", zero_snr=True) == ("v", NoiseSchedule(zero_snr=True))


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ({"prediction_type": "flow"}, "prediction_type = 'flow' is not supported"),
        ({"rescale_betas_zero_snr": "yes"}, "give true or false"),
        ({"rescale_betas_zero_snr": True}, "add --prediction v"),
        ({"beta_schedule": "squaredcos_cap_v2"}, "beta_schedule"),
        ({"num_train_timesteps": 10**9}, "more than 100000 are not supported"),
        ({"num_train_timesteps": 1}, "write 1000"),
        ({"clip_sample": True, "_class_name": "DDIMScheduler"}, "no sampler here clips"),
        ({"beta_start": 1e-30, "beta_end": 1e-30, "rescale_betas_zero_snr": True}, "beyond double precision"),
        ({"beta_start": 1e-30, "beta_end": 1e-30}, "beyond double precision"),
    ],
)
def test_a_folder_that_says_what_there_is_not_is_refused(
    converted: Path, tmp_path: Path, scheduler: dict[str, object], words: str
) -> None:
    path = folder(converted, tmp_path / "folder", scheduler)
    with pytest.raises(CheckpointError, match=words):
        told(path)
    if "prediction" in words:  # the user may do as is said
        assert told(path, prediction="v")[0] == "v"
        convert_checkpoint(path, tmp_path / "said.safetensors", prediction="v")
        assert told(tmp_path / "said.safetensors")[0] == "v"
    with pytest.raises(CheckpointError, match=words):
        convert_checkpoint(path, tmp_path / "out.safetensors")


@pytest.mark.parametrize("metadata", ["flow", "{}"])
def test_metadata_that_says_what_there_is_not_is_refused(tiny: Path, tmp_path: Path, metadata: str) -> None:
    path = with_header(tiny, tmp_path / "told.safetensors", **{"modelspec.prediction_type": metadata})
    with pytest.raises(CheckpointError, match="add --prediction"):
        told(path)
    assert told(path, prediction="v") == ("v", NoiseSchedule())  # as it says


BOMB = '{"lists": [' + "[]," * 50_000 + "[]]}"


@pytest.mark.parametrize("text", ["[1]", "{", "7", '{"prediction_type": "flow"}', BOMB], ids=range(5))
def test_our_own_metadata_may_come_from_a_stranger(tiny: Path, tmp_path: Path, text: str) -> None:
    path = with_header(tiny, tmp_path / "told.safetensors", **{"inkpunk.scheduler": text})
    with pytest.raises(CheckpointError, match="scheduler"):
        told(path)


@pytest.mark.parametrize("kind", ["v", "sample"])
def test_a_model_that_says_the_same_in_other_words_draws_the_same_picture(
    pipeline: Pipeline, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = np.asarray(pipeline.generate(REQUEST)[0].image).astype(int)
    schedule, ask = pipeline.schedule, pipeline.predict

    def in_other_words(self: Pipeline, latents: Tensor, timestep: float, *context: Any) -> Tensor:
        levels = schedule.signal(timestep), schedule.noise(timestep)
        clean = PREDICTIONS["epsilon"].read(ask(latents, timestep, *context), latents, *levels).clean
        return PREDICTIONS[kind].write(clean, latents, *levels)

    monkeypatch.setattr(Pipeline, "predict", in_other_words)
    picture = replace(pipeline, prediction=kind).generate(REQUEST)[0]
    assert np.abs(np.asarray(picture.image).astype(int) - expected).max() <= 1  # rounding, of float32
    assert picture.facts.prediction == kind


def test_plms_is_refused_where_there_is_no_signal(pipeline: Pipeline) -> None:
    model = replace(pipeline, prediction="v", schedule=NoiseSchedule(zero_snr=True))
    with pytest.raises(ValueError, match="sampler plms: cannot begin at timestep 999"):
        model.run(replace(REQUEST, sampler="plms"))
    model.plan(replace(REQUEST, sampler="plms", like="a1111"))  # begins further down
    picture = model.generate(replace(REQUEST, sampler="ddim", spacing="trailing"))[0]
    assert picture.facts.zero_snr and torch.tensor(np.asarray(picture.image)).float().std() > 0
