"""What a stranger's metadata may say, and what is refused of it."""

import json
from pathlib import Path

import pytest
from inkpunk.models.loading import DEFAULTS_KEY, Defaults, read_defaults
from inkpunk_weights import CheckpointError, open_checkpoint, save_checkpoint


def defaults_of(tiny: Path, tmp_path: Path, text: str) -> Defaults:
    path = tmp_path / "told.safetensors"
    save_checkpoint(path, vae=open_checkpoint(tiny).vae, metadata={DEFAULTS_KEY: text}, overwrite=True)
    return read_defaults(open_checkpoint(path))


def test_a_model_says_what_it_draws_best_with(tiny: Path, tmp_path: Path) -> None:
    told = {"size": 128, "steps": 25, "guidance": 4, "note": "knows eight colours"}
    assert defaults_of(tiny, tmp_path, json.dumps(told)) == Defaults(128, 25, 4.0, "knows eight colours")


@pytest.mark.parametrize(
    "told",
    [
        {"size": "huge"},
        {"size": 100},
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
