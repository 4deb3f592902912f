"""Styles of AUTOMATIC1111's `styles.csv`: listed, and laid around prompts."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inkpunk_studio.http.a1111.styles import Style, styled, styles
from inkpunk_studio.settings import Settings

INK = Style("ink", "{prompt}, ink splash", "photo")
DUSK = Style("dusk", "at dusk", "")
THERE = {each.name: each for each in (INK, DUSK)}


def test_a_style_has_room_for_the_prompt_or_is_laid_behind_it() -> None:
    assert styled("a raven", "blue", ["ink", "dusk"], THERE) == (
        "a raven, ink splash, at dusk",
        "blue, photo",
        [],
    )
    assert styled("", "", ["dusk"], THERE) == ("at dusk", "", [])


def test_a_style_that_is_not_there_is_named_and_none_is_none() -> None:
    prompt, _, warnings = styled("a raven", "", ["None", "", "none such"], THERE)
    assert prompt == "a raven"
    assert [each[:18] for each in warnings] == ["styles 'none such'"]


@given(prompt=st.text(), negative=st.text(), names=st.lists(st.sampled_from(["", "None"])))
def test_without_a_style_prompts_stay_as_they_are(prompt: str, negative: str, names: list[str]) -> None:
    assert styled(prompt, negative, names, THERE) == (prompt, negative, [])


def test_styles_are_read_from_the_folders_of_models_and_of_pictures(
    settings: Settings, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    for folder in (models, settings.pictures):
        folder.mkdir()
    (models / "styles.csv").write_text(
        '\ufeffname,prompt,negative_prompt\r\nink,"{prompt}, ink splash",photo\r\n,nameless,\r\n',
        encoding="utf-8",
    )
    (settings.pictures / "styles.csv").write_text(
        "name,prompt\nink,another\ndusk,at dusk\n", encoding="utf-8"
    )
    assert styles(replace(settings, models=(models,))) == THERE


@pytest.mark.parametrize(
    "content", [b"", b"name", b"\xff\xfe\xff", b"prompt\na raven\n", b'name\n"' + b"x" * 200_000]
)
def test_a_file_of_no_styles_has_none(settings: Settings, content: bytes) -> None:
    settings.pictures.mkdir()
    (settings.pictures / "styles.csv").write_bytes(content)
    assert styles(settings) == {}
