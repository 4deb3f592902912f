"""Other programs' recipes, read as the orders they mean."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from inkpunk import Order
from inkpunk.pictures.others import Told, read_others
from inkpunk.pictures.recipe import Recipe
from PIL import Image

TABLES = Path(__file__).parent / "others"
SIZE = (512, 512)


@dataclass
class Case:
    """A recipe, and what it means."""

    name: str
    texts: dict[str, str]
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: list[str] = field(default_factory=list[str])
    needs: list[str] = field(default_factory=list[str])
    waiting: dict[str, Any] = field(default_factory=dict[str, Any])
    hashes: dict[str, str] = field(default_factory=dict[str, str])
    program: str | None = None


def infotexts() -> Iterator[Case]:
    for block in re.split(r"^== ", (TABLES / "a1111.txt").read_text("utf-8"), flags=re.MULTILINE)[1:]:
        name, *lines = block.rstrip("\n").split("\n")
        place = next(index for index, line in enumerate(lines) if line.startswith("=> "))
        case = Case(name, {"parameters": "\n".join(lines[:place]).replace("\\r", "\r")})
        case.values = {"like": "a1111", **json.loads(lines[place][3:])}
        for line in lines[place + 1 :]:
            mark, _, told = line.partition(" ")
            match mark:
                case "!":
                    case.notes.append(told)
                case "?":
                    case.needs.append(told)
                case "~":
                    case.waiting = json.loads(told)
                case "#":
                    case.hashes = json.loads(told)
                case "@":
                    case.program = told
                case _:
                    assert not line
        yield case


def graphs() -> Iterator[Case]:
    first, *others = map(json.loads, (TABLES / "comfyui.jsonl").read_text("utf-8").splitlines())
    for told in others:
        nodes = {name: {**node, "inputs": dict(node["inputs"])} for name, node in first["base"].items()}
        for name, change in told.get("change", {}).items():
            if change is None:
                del nodes[name]
            elif "class_type" in change:
                nodes[name] = change
            else:
                nodes[name]["inputs"] |= change
        values = {**first["means"], **told.get("means", {})}
        case = Case(told["name"], {"prompt": json.dumps(nodes)})
        case.values = {name: value for name, value in values.items() if value is not None}
        case.notes, case.needs = told.get("notes", []), told.get("needs", [])
        case.waiting = told.get("waiting", {})
        yield case


def others() -> Iterator[Case]:
    for line in (TABLES / "invokeai_novelai.jsonl").read_text("utf-8").splitlines():
        told = json.loads(line)
        texts = {
            key: text if isinstance(text, str) else json.dumps(text) for key, text in told["texts"].items()
        }
        yield Case(**{**told, "texts": texts})


def read(texts: Mapping[str, str]) -> Told:
    return read_others(Recipe("PNG", *SIZE, dict(texts)))


CASES = {case.name: case for kind in (infotexts, graphs, others) for case in kind()}


def test_there_are_a_hundred_recipes() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize("name", CASES)
def test_a_recipe_is_read_as_the_request_it_means(name: str) -> None:
    case = CASES[name]
    told = read(case.texts)
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in told.values.items()}
    assert values == case.values
    missing = [each for each in case.notes if not any(note.startswith(each) for note in told.not_understood)]
    assert not missing and len(told.not_understood) == len(case.notes), told.not_understood
    assert list(told.needs) == case.needs
    assert told.waiting == case.waiting
    assert ({"model": told.model_hash} if told.model_hash else {}) | dict(told.hashes) == case.hashes
    assert case.program in (None, told.program)
    order = Order.read(told.values)
    assert order.request().prompt == told.values["prompt"]
    assert Order.read({**told.values, "sampler": order.values.get("sampler")}).values == order.values


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.needs])
def test_with_the_pictures_that_it_needs_a_recipe_is_a_request(name: str, tmp_path: Path) -> None:
    told = read(CASES[name].texts)
    picture = tmp_path / "given.png"
    Image.effect_noise((64, 64), 60).save(picture)
    given = dict[str, Any]()
    for need in told.needs:
        option, _, form = need.partition(" ")
        if form:
            given[option] = [*given.get(option, []), form.replace("FILE", str(picture))]
        else:
            given[option] = str(picture)
    order = Order.read({**told.values, **told.waiting, **given})
    request = order.request()
    assert bool(request.init) == ("init" in told.needs) and bool(request.mask) == ("mask" in told.needs)
    assert len(request.followed) == len(given.get("control", [])) + len(given.get("hint", []))
