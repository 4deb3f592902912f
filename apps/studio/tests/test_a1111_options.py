"""The options that clients of AUTOMATIC1111's API read and write: a restart keeps them."""

import json
from pathlib import Path
from typing import Any

import pytest
from inkpunk_studio.http.a1111.options import CHECKPOINT, FOLLOWED, Options, unknown
from inkpunk_studio.http.refusing import Refusal
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.models import Models

CHANGED = {"CLIP_stop_at_last_layers": 2, "samples_format": "webp"}


@pytest.fixture
def begun(settings: Settings, tmp_path: Path) -> Any:
    """Makes options as a studio does that begins over the same folder."""
    return lambda: Options(Models(settings), tmp_path / "options.json")


def test_what_is_written_outlives_the_studio(begun: Any) -> None:
    begun().write(CHANGED)
    assert begun().read() == begun().read() | CHANGED
    assert begun().over({"CLIP_stop_at_last_layers": 3})["CLIP_stop_at_last_layers"] == 3


def test_what_is_read_and_written_back_whole_changes_nothing(begun: Any) -> None:
    options = begun()
    before = options.read()
    assert options.write(before) == []
    assert (options.read(), begun().read()) == (before, before)


def test_what_is_refused_is_not_kept(begun: Any) -> None:
    options = begun()
    for told in ({"sd_vae": [[]]}, {"emphasis": True}, {CHECKPOINT: "none such"}):
        with pytest.raises(Refusal):
            options.write(CHANGED | told)
    assert begun().over({}) == dict(FOLLOWED)


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '"x"', '{"CLIP_stop_at_last_layers": "many", "of tomorrow": 1}']
)
def test_a_file_of_no_options_leaves_the_usual_ones(begun: Any, tmp_path: Path, content: str) -> None:
    (tmp_path / "options.json").write_text(content)
    assert begun().over({}) == dict(FOLLOWED)


def test_one_that_cannot_be_any_more_does_not_cost_the_others(begun: Any, tmp_path: Path) -> None:
    (tmp_path / "options.json").write_text(json.dumps({**CHANGED, "emphasis": 5}))
    assert begun().over({}) == {**FOLLOWED, **CHANGED}


def test_an_option_that_is_not_here_is_named_unless_it_asks_for_nothing() -> None:
    told = {
        "forge_additional_modules": [],
        "of tomorrow": 1,
        "randn_source": "GPU",
        "live_previews_enable": True,
    }
    assert [line.partition(":")[0] for line in unknown(told)] == ["of tomorrow", "randn_source"]
