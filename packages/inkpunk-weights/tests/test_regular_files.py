"""What is no regular file is refused before it is opened: opening a pipe would wait for ever."""

import os
import socket
from pathlib import Path

import pytest
from inkpunk_weights import CheckpointError, open_checkpoint, open_embedding
from inkpunk_weights.regular_files import check_regular
from inkpunk_weights.safetensors_files import open_safetensors
from inkpunk_weights.tensor_files import open_tensor_file
from inkpunk_weights.torch_files import open_torch_file

READERS = (open_checkpoint, open_embedding, open_safetensors, open_tensor_file, open_torch_file)


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_given_as_a_file_is_refused(reader: object, tmp_path: Path) -> None:
    assert callable(reader)
    os.mkfifo(tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"model\.ckpt: (not a file|neither a file)") as caught:
        reader(tmp_path / "model.ckpt")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name",
    [
        "unet/config.json",
        "scheduler/scheduler_config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    ],
)
def test_a_pipe_in_a_folder_is_refused(name: str, folder: Path) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(CheckpointError, match=f"{name}: not a file but a named pipe"):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["vae/diffusion_pytorch_model.safetensors.index.json", "vae/a.safetensors"])
def test_a_pipe_for_an_index_or_a_shard_is_refused(name: str, folder: Path) -> None:
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()
    (folder / "vae/diffusion_pytorch_model.safetensors.index.json").write_text(
        '{"weight_map": {"x": "a.safetensors"}}'
    )
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(CheckpointError, match=f"{name}: not a file but a named pipe"):
        open_checkpoint(folder)


def test_every_other_kind_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
        with pytest.raises(CheckpointError, match="socket: not a file but a socket"):
            check_regular(Path("socket"))
    with pytest.raises(CheckpointError, match="not a file but a folder"):
        check_regular(tmp_path)
    with pytest.raises(CheckpointError, match="/dev/zero: not a file but a device"):
        open_torch_file(Path("/dev/zero"))
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    check_regular(tmp_path / "link")
    with pytest.raises(FileNotFoundError):
        check_regular(tmp_path / "none")


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "a\nb\0"])
def test_a_name_that_no_file_has_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no file can have this name") as caught:
        open_tensor_file(tmp_path / name)
    assert str(caught.value).isprintable()
