"""The documentation site's numbers are what the code does, and what is wrong with a page is seen."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest
import torch
from inkpunk import Pipeline, Request
from inkpunk.cli import main
from inkpunk.speed import PLAIN
from jinja2 import UndefinedError
from PIL import Image

from tools.site.links import problems
from tools.site.pages import MEMBERS, alike, filled, names, readme
from tools.site.recording import recording
from tools.site.walk import GUIDED, PROMPT, SEED, draw_the_way, expected, followed

ROOT = Path(__file__).parent.parent
REQUEST = Request(PROMPT, seeds=(SEED,), steps=4)


@pytest.fixture(scope="module")
def box() -> Pipeline:
    return Pipeline.load("sketch", speed=PLAIN, device="cpu")


@pytest.fixture(scope="module")
def way(box: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures of a short way."""
    folder = tmp_path_factory.mktemp("walk")
    told = {"box": followed(box, REQUEST, folder), **draw_the_way(box, REQUEST, folder)}
    (folder / "walk.json").write_text(json.dumps(told))
    return folder


def test_the_walk_ends_at_the_picture_that_its_last_step_expects(box: Pipeline, way: Path):
    [drawn] = box.generate(REQUEST)
    for name in ("picture.png", "expected-step-4.png"):
        assert Image.open(way / name).convert("RGB").tobytes() == drawn.image.tobytes()


def test_guided_is_as_far_beyond_the_prompt_as_guidance_says(box: Pipeline):
    """By what the model expects, so that a mix-up of the batch's halves, or of steps, shows."""
    before = torch.empty(0)
    with box.unet.awake() as unet, recording(unet=unet) as record:
        for step in box.run(REQUEST):
            predicted = next(call.output for call in record.take() if call.name == "unet")
            if step.index == GUIDED:
                (_, without), (_, within) = expected(box, before, predicted, float(step.timestep))
                guided, denoised = without + 3.0 * (within - without), step.denoised
            before = step.latents
    # float32's rounding of sums that are divided by the signal, 0.2 here
    torch.testing.assert_close(guided, denoised, rtol=0, atol=1e-4)


def test_the_walk_tells_every_block_of_the_unet_once(box: Pipeline, way: Path):
    told = json.loads((way / "walk.json").read_text())["box"]
    parts = ("time_embedding", "conv_in", "down", "middle", "up", "out")
    rows = [row for part in parts for row in told[part]]
    assert len({row["name"] for row in rows}) == len(rows)
    assert sum(row["parameters"] for row in rows) == box.unet.parameters
    assert sum(row["parameters"] for row in told["vae"]) < box.vae.parameters  # the encoder does not run
    for block in ("residual_block", "transformer"):
        whole = next(row for row in told["down"] if row["what"] == block.replace("_", " "))
        assert sum(row["parameters"] for row in told[block]) == whole["parameters"]


def test_neighbours_that_are_alike_are_one_row():
    rows = [{"name": f"layers.{index}", "parameters": 7} for index in range(3)]
    assert [row["names"] for row in alike([*rows, {"name": "norm", "parameters": 7}])] == [
        "`layers.0` to `layers.2`",
        "`norm`",
    ]


def test_a_page_that_asks_for_a_number_that_is_not_told_is_refused():
    assert filled("{{ unet | count }}", {"unet": 1000}) == "1,000"
    with pytest.raises(UndefinedError, match="vae"):
        filled("{{ vae }}", {"unet": 1000})


def test_every_member_of_the_workspace_has_its_pages_in_the_sites_navigation():
    settings = (ROOT / "docs" / "zensical.toml").read_text()
    for member in (*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("apps/*/pyproject.toml")):
        name, _ = names(member.parent)
        assert member.parent in MEMBERS
        assert f"packages/{name}/index.md" in settings
        assert f"packages/{name}/reference.md" in settings


def test_a_readmes_links_stay_within_the_site(tmp_path: Path):
    member = ROOT / "packages" / "inkpunk-vae"
    page = readme(
        member,
        "[its sampler](../inkpunk-sampling#samplers), [code](\nsrc/inkpunk_vae/vae.py), [paper](https://arxiv.org)\n"
        "```bash\necho [code](src)\n```\n![a sheet](../inkpunk-sketch/sheet.png)\n"
        '<img src="../inkpunk-sketch/sheet.png" width="9">\n',
        tmp_path,
    )
    assert page == (
        "[its sampler](../inkpunk-sampling/index.md#samplers), code, [paper](https://arxiv.org)\n"
        "```bash\necho [code](src)\n```\n![a sheet](sheet.png)\n"
        '<img src="sheet.png" width="9">\n'
    )
    assert (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="there/">', "index.html: there/ leads nowhere"),
        ('<a href="other.html#nowhere">', "index.html: other.html#nowhere: no such place on that page"),
        ('<img src="picture.png">', "index.html: picture.png leads nowhere"),
        (
            '<script src="https://cdn.example/x.js"></script>',
            "index.html: fetches https://cdn.example/x.js from elsewhere",
        ),
        ('<a href="other.html#place"><a href="https://example.org"><a href="#here" id="here">', None),
    ],
)
def test_what_leads_nowhere_is_seen(body: str, said: str | None, tmp_path: Path):
    (tmp_path / "index.html").write_text(f"<html><body>{body}</body></html>")
    (tmp_path / "other.html").write_text('<html><body><p id="place"></p></body></html>')
    assert problems(tmp_path) == ([said] if said else [])


def commands() -> list[list[str]]:
    """The words of every `inkpunk ...` that a page or a README tells to type."""
    pages = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", *ROOT.glob("*/*/README.md")]
    blocks = [
        block for page in pages for block in re.findall(r"^```bash$(.*?)^```$", page.read_text(), re.S | re.M)
    ]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    told = [shlex.split(line.removeprefix("uv run "), comments=True) for line in lines]
    return [words[1:] for words in told if words[:1] == ["inkpunk"]]


def test_the_commands_that_pages_tell_to_type_have_their_options():
    assert len(commands()) > 50
    for name, *words in commands():
        command: click.Command | None = main
        for part in (name, *words):
            if not isinstance(command, click.Group):
                break
            command = command.get_command(click.Context(command), part)
        assert command is not None, name
        known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {
            "--help"
        }
        used = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= known, (name, used - known)


def test_a_docstring_that_tells_of_what_is_not_there_is_refused():
    griffe = pytest.importorskip("griffe")  # of the group docs
    from tools.site.docstrings import DocstringError, Docstrings

    def read(told: str) -> str:
        code = f'def scale(width: int, height: int) -> float:\n    """Scale.\n\n    Args:\n        {told}\n    """\n'
        options = {"warn_unknown_params": False}
        with griffe.temporary_visited_module(
            code, docstring_parser="google", docstring_options=options
        ) as module:
            Docstrings().on_package(pkg=module)
            [_, section] = module["scale"].docstring.parsed
            return f"{section.value[0].name}: {section.value[0].annotation}"

    assert read("width, height: in pixels.") == "width, height: int"
    with pytest.raises(DocstringError, match="scale: its docstring tells of depth"):
        read("width, depth: in pixels.")
