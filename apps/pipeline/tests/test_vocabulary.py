"""A model's own vocabulary: drawn with, kept by conversion, or refused; and what else conversion keeps."""

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from inkpunk import Pipeline, Request
from inkpunk.cli import main
from inkpunk.models.conversion import convert_checkpoint
from inkpunk.models.vocabulary import read_tokenizer
from inkpunk_clip import TextEncoder, TextEncoderConfig, vocabulary_files
from inkpunk_unet import UNet
from inkpunk_vae import VAE
from inkpunk_weights import CheckpointError, open_checkpoint, save_checkpoint
from safetensors import safe_open
from safetensors.torch import save_file

LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
WORDS = [*LETTERS, *(f"{each}</w>" for each in LETTERS), "ra", "rav", "<|startoftext|>", "<|endoftext|>"]
OWN = {
    "vocab.json": json.dumps({word: index for index, word in enumerate(WORDS)}).encode(),
    "merges.txt": b"#version: 0.2\nr a\nra v\n",
    "tokenizer_config.json": b'{"tokenizer_class": "CLIPTokenizer"}',
}
REQUEST = Request("a (raven:1.2)", seeds=(3,), steps=2, width=64, height=64)


@pytest.fixture(scope="module")
def own(
    tmp_path_factory: pytest.TempPathFactory, networks: Callable[[], tuple[TextEncoder, UNet, VAE]]
) -> Path:
    """A folder of few words, and an embedding of as many rows."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("own") / "folder"
    encoder = TextEncoder(
        TextEncoderConfig(width=32, layers=2, heads=4, feed_forward=64, vocabulary=len(WORDS))
    )
    _, unet, vae = networks()
    save_checkpoint(
        path,
        text_encoder=encoder.state_dict(),
        unet=unet.state_dict(),
        vae=vae.state_dict(),
        layout="diffusers folder",
        configs={
            "text_encoder": {"num_attention_heads": 4},
            "unet": {"attention_head_dim": 4, "norm_num_groups": 8},
            "vae": {"norm_num_groups": 4},
        },
        extra_files={f"tokenizer/{name}": data for name, data in OWN.items()},
    )
    return path


def tokenizer_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "tokenizer").iterdir()}


def test_a_folders_own_vocabulary_draws_and_goes_there_and_back(own: Path, tmp_path: Path) -> None:
    pipeline = Pipeline.load(own, device="cpu")
    assert pipeline.tokenizer.encode("raven")[0] == WORDS.index("rav")
    expected = np.asarray(pipeline.generate(REQUEST)[0].image).astype(int)
    sources = [own, tmp_path / "a.safetensors", tmp_path / "b", tmp_path / "c.ckpt"]
    for source, out in pairwise(sources):
        notices = convert_checkpoint(source, out)
        assert any("own vocabulary" in notice for notice in notices) == out.is_file()
        if out.is_dir():
            assert tokenizer_of(out) == OWN
            assert "inkpunk.tokenizer" not in open_checkpoint(out).metadata
        drawn = Pipeline.load(out, device="cpu").generate(REQUEST)[0].image
        assert np.abs(np.asarray(drawn).astype(int) - expected).max() <= 1


def test_a_folder_keeps_its_files_also_where_they_say_what_clips_do(tiny: Path, tmp_path: Path) -> None:
    convert_checkpoint(tiny, tmp_path / "a")
    assert tokenizer_of(tmp_path / "a") == vocabulary_files()
    (tmp_path / "a/tokenizer/special_tokens_map.json").write_text('{"pad_token": "<|endoftext|>"}')
    assert convert_checkpoint(tmp_path / "a", tmp_path / "b") == ()
    assert tokenizer_of(tmp_path / "b") == tokenizer_of(tmp_path / "a")
    assert convert_checkpoint(tmp_path / "b", tmp_path / "c.safetensors") == ()  # CLIP's is known to all
    assert "inkpunk.tokenizer" not in open_checkpoint(tmp_path / "c.safetensors").metadata


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("added_tokens.json", b'{"<sks>": 56}', "has 57 entries, and the token embedding 56 rows"),
        ("vocab.json", b"{", "vocab.json: not JSON"),
        ("merges.txt", b" " * ((16 << 20) + 1), "larger than any tokenizer's"),
        ("merges.txt", None, "a tokenizer is vocab.json and merges.txt"),
        ("*", None, "CLIP's vocabulary has 49,408 entries, and the token embedding 56 rows"),
    ],
)
def test_a_vocabulary_that_does_not_go_with_the_model_is_refused_in_one_line(
    own: Path, tmp_path: Path, name: str, data: bytes | None, words: str
) -> None:
    path = tmp_path / "folder"
    shutil.copytree(own, path)
    if data is None:
        for file in (path / "tokenizer").glob(name):
            file.unlink()
    else:
        (path / "tokenizer" / name).write_bytes(data)
    for use in (
        lambda: Pipeline.load(path, device="cpu"),
        lambda: convert_checkpoint(path, tmp_path / "out"),
    ):
        with pytest.raises(CheckpointError) as refused:
            use()
        assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"vocab.json": 1}', '{"vocab.json": "{}"}'])
def test_metadata_of_a_stranger_are_refused_in_one_line(tiny: Path, tmp_path: Path, text: str) -> None:
    path = with_more(tiny, tmp_path / "told.safetensors", {"inkpunk.tokenizer": text})
    with pytest.raises(CheckpointError, match="tokenizer"):
        read_tokenizer(open_checkpoint(path))


def test_metadata_that_would_take_many_times_their_length_are_not_parsed(tiny: Path, tmp_path: Path) -> None:
    lists = '{"vocab.json": [' + "[]," * (1 << 19) + "[]]}"  # 1.5 MiB of text, and of lists forty
    checkpoint = open_checkpoint(with_more(tiny, tmp_path / "told.safetensors", {"inkpunk.tokenizer": lists}))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="not the files of a tokenizer"):
            read_tokenizer(checkpoint)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(lists)
    finally:
        tracemalloc.stop()


def with_more(tiny: Path, out: Path, metadata: dict[str, str], *tensors: str) -> Path:
    with safe_open(tiny, "pt") as file:
        named = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(named | {name: torch.zeros(1) for name in tensors}, out, file.metadata() | metadata)
    return out


def test_notes_of_training_go_there_and_back(tiny: Path, tmp_path: Path) -> None:
    notes = {
        "ss_base_model": "sd15",
        "modelspec.trigger_phrase": "nvinkpunk",
        "modelspec.prediction_type": "epsilon",
    }
    path = with_more(tiny, tmp_path / "a.safetensors", notes)
    for name in ("b", "c.ckpt", "d.safetensors"):
        convert_checkpoint(path, tmp_path / name)
        path = tmp_path / name
        assert notes.items() <= open_checkpoint(path).metadata.items()
    convert_checkpoint(path, tmp_path / "v.safetensors", prediction="v")
    assert open_checkpoint(tmp_path / "v.safetensors").metadata["modelspec.prediction_type"] == "v"
    convert_checkpoint(tmp_path / "v.safetensors", tmp_path / "e.safetensors", prediction="epsilon")
    assert open_checkpoint(tmp_path / "e.safetensors").metadata["modelspec.prediction_type"] == "epsilon"


def test_convert_tells_what_it_does_not_carry_over(tiny: Path, tmp_path: Path) -> None:
    path = with_more(tiny, tmp_path / "a.safetensors", {}, "v_pred", "lora.a", "lora.b", "lora.c", "lora.d")
    result = CliRunner().invoke(main, ["convert", str(path), str(tmp_path / "b.safetensors")])
    assert result.exit_code == 0
    assert result.stderr == (
        "not carried over: 4 tensors of no component of Stable Diffusion v1: 'lora.a', 'lora.b', 'lora.c', ...\n"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_in_the_place_of_a_vocabulary_is_not_waited_for(own: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(own, folder)
    (folder / "tokenizer/merges.txt").unlink()
    os.mkfifo(folder / "tokenizer/merges.txt")
    with pytest.raises(CheckpointError, match=r"merges\.txt: not a file"):
        read_tokenizer(open_checkpoint(folder))
