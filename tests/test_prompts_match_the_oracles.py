"""Contexts of weighted, long and changing prompts against others' making of them, on transformers' CLIPTextModel.

Two oracles: compel, whose weights above 1 act as ComfyUI's do; and AUTOMATIC1111's rules, written down below from its
documentation and behaviour, by other means than ours: on characters, with transformers' tokenizer.
"""

import re
from collections.abc import Iterator

import pytest
import torch
from compel import Compel
from compel.embeddings_provider import SplitLongTextMode
from inkpunk_clip import (
    LANGUAGES,
    Language,
    TextEncoder,
    TextEncoderConfig,
    Tokenizer,
    chunk_encoder,
    context_at,
    contexts,
    understand,
)
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from tests.oracles import (
    clip_text_model,
    clip_tokenizer,
    ours_with_the_weights_of,
    randomise,
    relative_error,
)

CONFIG = TextEncoderConfig(width=48, layers=3, heads=4, feed_forward=80)
TOKENIZER = Tokenizer()
ROUNDING = 1e-5


@pytest.fixture(scope="module")
def theirs() -> CLIPTextModel:
    oracle = clip_text_model(CONFIG)
    randomise(oracle, seed=0)
    return oracle.requires_grad_(False)


@pytest.fixture(scope="module")
def ours(theirs: CLIPTextModel) -> TextEncoder:
    return ours_with_the_weights_of(theirs).requires_grad_(False)


@pytest.fixture(scope="module")
def their_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    return clip_tokenizer(tmp_path_factory.mktemp("tokenizer"))


# -- compel --------------------------------------------------------------------------------------------------------

LIKE_COMPEL = Language(emphasis="from_empty")


@pytest.mark.parametrize(
    ("text", "in_compels_words"),
    [
        ("a red fox", "a red fox"),
        ("a (red:1.5) fox", "a (red)1.5 fox"),
        ("a (red fox:1.3) in the (snow:2) at night", "a (red fox)1.3 in the (snow)2 at night"),
        ("umbrella " * 100, "umbrella " * 100),  # without a comma, so that chunks are 75 tokens
        ("umbrella " * 70 + "(red fox:1.4) " + "owl " * 90, "umbrella " * 70 + "(red fox)1.4 " + "owl " * 90),
    ],
    ids=lambda text: text[:20],
)
def test_weighted_and_long_prompts_are_compels(
    ours: TextEncoder, theirs: CLIPTextModel, their_tokenizer: CLIPTokenizer, text: str, in_compels_words: str
) -> None:
    compel = Compel(
        their_tokenizer,
        theirs,
        truncate_long_prompts=False,
        split_long_text_mode=SplitLongTextMode.BRUTAL,
        model_max_length=77,
    )
    context = context_at(text, 0, 1, TOKENIZER, ours, language=LIKE_COMPEL)
    assert relative_error(context, compel(in_compels_words)) < ROUNDING


# -- AUTOMATIC1111 -------------------------------------------------------------------------------------------------


def text_at(text: str, step: int, steps: int) -> str:
    """What is left of a prompt at a step, counted from 1: innermost brackets first."""

    def switched(found: re.Match[str]) -> str:
        before, after, when = (found["before"] or ":")[:-1], found["after"], found["when"]
        last = int(float(when) * steps) if "." in when else int(when)
        return before if step <= last else after

    def in_turn(found: re.Match[str]) -> str:
        choices = found[1].split("|")
        return choices[(step - 1) % len(choices)]

    inner = r"(?:\\.|\([^()]*\)|[^][:|\\()])*"  # with round brackets, not nested
    number = r"\s*(?P<when>[0-9]*\.?[0-9]+)\s*"
    while True:
        once = re.sub(rf"\[(?P<before>{inner}:)?(?P<after>{inner}):{number}\]", switched, text)
        once = re.sub(rf"\[({inner}(?:\|{inner})+)\]", in_turn, once)
        if once == text:
            return text
        text = once


def weighted(text: str) -> Iterator[tuple[str, float]]:
    """Character by character, each with its weight, from brackets without switches in them."""
    weights, closing = [1.0] * len(text), {")": "(", "]": "["}
    opened: dict[str, list[int]] = {"(": [], "[": []}
    shown = [True] * len(text)
    place = 0
    while place < len(text):
        letter = text[place]
        if letter == "\\":
            shown[place] = False
            place += 2
            continue
        number = re.match(r":\s*([+-]?[0-9.]+)\s*\)", text[place:])
        if letter in opened:
            opened[letter].append(place)
            shown[place] = False
        elif (letter in closing and opened[closing[letter]]) or (number and opened["("]):
            factor = float(number[1]) if number else 1.1 if letter == ")" else 1 / 1.1
            length = len(number[0]) if number else 1
            start = opened["(" if number else closing[letter]].pop()
            weights[start : place + length] = [each * factor for each in weights[start : place + length]]
            shown[place : place + length] = [False] * length
            place += length
            continue
        place += 1
    for bracket, factor in (("(", 1.1), ("[", 1 / 1.1)):
        for start in opened[bracket]:
            weights[start:] = [each * factor for each in weights[start:]]
    yield from ((letter, weight) for letter, weight, show in zip(text, weights, shown, strict=True) if show)


def chunked(text: str, tokenizer: CLIPTokenizer) -> list[list[tuple[int, float]]]:
    """Tokens with weights, 75 a chunk but for commas, as AUTOMATIC1111 divides them."""
    finished: list[list[tuple[int, float]]] = []
    for piece in re.split(r"\s*\bBREAK\b\s*", text):
        runs: list[list[object]] = []
        for letter, weight in weighted(piece):
            if runs and runs[-1][1] == weight:
                runs[-1][0] += letter
            else:
                runs.append([letter, weight])
        tokens = [
            (token, weight)
            for run, weight in runs
            for token in tokenizer(run, add_special_tokens=False)["input_ids"]
        ]
        [comma] = tokenizer(",", add_special_tokens=False)["input_ids"]
        start = 0
        while start < len(tokens) or not tokens:
            end = start + 75
            if end < len(tokens) and tokens[end][0] != comma:
                near = [place for place in range(end - 20, end) if tokens[place][0] == comma]
                end = near[-1] + 1 if near else end
            finished.append(tokens[start:end])
            start = end
            if not tokens:
                break
    return finished


def as_automatic1111(
    text: str, step: int, steps: int, tokenizer: CLIPTokenizer, encoder: CLIPTextModel, skip: int = 1
) -> Tensor:
    """The context at a step counted from 0, whose text is weighed together with those of all other steps."""
    texts = list(dict.fromkeys((at, text_at(text, at, steps)) for at in range(1, steps + 1)))
    changes = [
        texts[index] for index in range(steps) if index + 1 == steps or texts[index][1] != texts[index + 1][1]
    ]
    if "|" in text:
        changes = texts  # alternation makes every step one of its own
    lines = [chunked(each, tokenizer) for _, each in changes]
    columns = []
    for index in range(max(map(len, lines))):
        column = [line[index] if index < len(line) else [] for line in lines]
        ids = [[49406, *(token for token, _ in each), *[49407] * (76 - len(each))] for each in column]
        w = torch.tensor(
            [[1.0, *(weight for _, weight in each), *[1.0] * (76 - len(each))] for each in column]
        )
        hidden = encoder(torch.tensor(ids), output_hidden_states=True).hidden_states[-skip]
        norms = dict(encoder.named_modules(remove_duplicate=False))
        [norm] = [module for name, module in norms.items() if name.endswith("final_layer_norm")]
        z = norm(hidden)
        z_weighed = z * w[:, :, None]
        columns.append(z_weighed * (z.mean() / z_weighed.mean()))
    entry = next(index for index, (last, _) in enumerate(changes) if step <= last)
    return torch.cat(columns, dim=1)[entry : entry + 1]


LONG = ", ".join(f"a (thing:{1 + number / 50}) number {number} of many" for number in range(30))
PROMPTS = [
    "a red fox",
    "a (red) [fox], ((owl:1.3)) (b (c:0.8) d:1.2)",
    r"a \(red\) fox: (very \(old\):1.4)",
    "((unclosed (brackets:1.3) reach to the end",
    "one chunk BREAK (another:1.2) BREAK a third, [less]",
    LONG,
    "umbrella " * 80 + ", (fox:1.5)",
    "word " * 62 + ", these go on to the next chunk because a comma is near",
    "a [fox:(owl:1.3):0.4] in [snow|(rain:1.2)|fog]",
    "a [red:blue:3] fox [at night:6] [of old::0.75]",
    f"[fox:{LONG}:0.5]",
    "[[fox|owl]:(raven:1.5):4]",
]


@pytest.mark.parametrize("skip", [1, 2])
@pytest.mark.parametrize("text", PROMPTS, ids=lambda text: text[:24])
@torch.no_grad()
def test_prompts_are_automatic1111s_at_every_step(
    ours: TextEncoder, theirs: CLIPTextModel, their_tokenizer: CLIPTokenizer, text: str, skip: int
) -> None:
    steps, language = 8, LANGUAGES["a1111"]
    [timeline] = understand(text, steps, TOKENIZER, language=language)
    found = contexts(timeline, chunk_encoder(ours, skip_layers=skip - 1), language)
    for step in range(steps):
        expected = as_automatic1111(text, step, steps, their_tokenizer, theirs, skip)
        assert relative_error(found[timeline.at(step)][None], expected) < ROUNDING, step
