"""Prompts to contexts: emphasis, chunks side by side, and what changes at a step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_clip import (
    EMPTY,
    LANGUAGES,
    Language,
    TextEncoder,
    TextEncoderConfig,
    Tokenizer,
    chunk_encoder,
    context_at,
    contexts,
    side_by_side,
    understand,
)
from torch import Tensor

holds = settings(deadline=None, max_examples=40)

TOKENIZER = Tokenizer()
CONFIG = TextEncoderConfig(width=32, layers=3, heads=4, feed_forward=40)
ROUNDING = 1e-6  # of float32 sums in another order, relative to the largest number; 3e-7 was the most seen
LONG = "a red fox, " * 30  # 120 tokens


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    encoder = TextEncoder(CONFIG).requires_grad_(False)
    for norm in (encoder.final_norm, *(layer.norm1 for layer in encoder.layers)):
        norm.bias.normal_()  # or the means that one emphasis keeps would all be 0
    return encoder


def context(text: str, encoder: TextEncoder, step: int = 0, steps: int = 1, **settings: object) -> Tensor:
    return context_at(text, step, steps, TOKENIZER, encoder, **settings)


def test_a_prompt_without_grammar_is_encoded_as_it_was_before_there_was_any(encoder: TextEncoder) -> None:
    assert torch.equal(context("a red fox", encoder), encoder(TOKENIZER("a red fox")))
    assert torch.equal(context("", encoder, skip_layers=1), encoder(TOKENIZER(""), 1))


@pytest.mark.parametrize("emphasis", ["mean", "plain", "from_empty", "ignore"])
@pytest.mark.parametrize("skip_layers", [0, 1])
def test_emphasis_is_what_its_formula_says(encoder: TextEncoder, emphasis: str, skip_layers: int) -> None:
    z, empty = (encoder(TOKENIZER(text), skip_layers).double() for text in ("a red fox", ""))
    w = torch.ones(1, 77, 1, dtype=torch.float64)
    w[:, 2] = 1.5
    expected = {
        "mean": z * w * (z.mean() / (z * w).mean()),
        "plain": z * w,
        "from_empty": (z - empty) * w + empty,
        "ignore": z,
    }[emphasis]
    language = Language(emphasis=emphasis)
    ours = context("a (red:1.5) fox", encoder, skip_layers=skip_layers, language=language)
    assert ours.dtype == torch.float32
    assert (ours - expected).abs().max() <= ROUNDING * expected.abs().max()


@pytest.mark.parametrize("emphasis", ["mean", "plain", "from_empty", "ignore"])
def test_weights_of_1_change_no_bit(encoder: TextEncoder, emphasis: str) -> None:
    language = Language(emphasis=emphasis)
    assert torch.equal(
        context("a (red:1.0) fox", encoder, language=language), encoder(TOKENIZER("a red fox"))
    )


def test_half_precision_weighs_in_single(encoder: TextEncoder) -> None:
    half = TextEncoder(CONFIG).requires_grad_(False)
    half.load_state_dict(encoder.state_dict())
    half.bfloat16()
    ours = context("a (red:1.5) fox", half, language=Language(emphasis="plain"))
    assert ours.dtype == torch.bfloat16
    plain = half(TOKENIZER("a red fox"))
    assert torch.equal(ours[0, 2], (plain[0, 2].float() * 1.5).bfloat16())


def test_chunks_are_encoded_by_themselves_one_after_the_other(encoder: TextEncoder) -> None:
    [timeline] = understand(LONG, 1, TOKENIZER)
    chunks = timeline.moments[0].chunks
    assert len(chunks) == 2
    apart = [encoder(torch.tensor([chunk.tokens])) for chunk in chunks]
    assert torch.equal(context(LONG, encoder), torch.cat(apart, dim=1))


def test_an_emphasis_touches_its_own_chunk_alone(encoder: TextEncoder) -> None:
    plain, weighed = context("fox BREAK owl", encoder), context("fox BREAK (owl:1.4)", encoder)
    assert torch.equal(plain[:, :77], weighed[:, :77])
    assert not torch.equal(plain[:, 77:], weighed[:, 77:])


def test_a_switch_changes_the_context_at_its_step(encoder: TextEncoder) -> None:
    fox, owl = (context(each, encoder) for each in ("a fox", "a owl"))
    seen = [context("a [fox:owl:0.4]", encoder, step, 5) for step in range(5)]
    assert [torch.equal(each, fox) for each in seen] == [True, True, False, False, False]
    assert torch.equal(seen[2], owl)
    late = [context("a [fox:owl:0.4]", encoder, step, 5, language=LANGUAGES["a1111"]) for step in range(5)]
    assert [torch.equal(each, fox) for each in late] == [True, True, True, False, False]


def test_parts_are_rows(encoder: TextEncoder) -> None:
    both = context("a fox AND a owl :0.5", encoder)
    assert torch.equal(both, torch.cat([context("a fox", encoder), context("a owl", encoder)]))
    assert len(context("a fox AND a owl", encoder, composed=False)) == 1


def test_each_text_is_encoded_once(encoder: TextEncoder) -> None:
    asked: list[tuple[int, ...]] = []
    plain = chunk_encoder(encoder)

    def encode(tokens: tuple[int, ...]) -> Tensor:
        asked.append(tokens)
        return plain(tokens)

    [timeline] = understand("a [fox|owl]", 20, TOKENIZER)
    assert len(timeline.moments) == 20
    calls: list[int] = []
    handle = encoder.register_forward_hook(lambda *_: calls.append(1))
    contexts(timeline, encode)
    handle.remove()
    assert len({*asked}) == len(calls) == 2


def test_together_the_later_text_has_a_part_in_the_mean_that_is_kept(encoder: TextEncoder) -> None:
    language = LANGUAGES["a1111"]
    [timeline] = understand("[(red:1.5) fox:owl:3]", 10, TOKENIZER, language=language)
    z = torch.cat([encoder(TOKENIZER(text)) for text in ("red fox", "owl")]).double()
    w = torch.ones(2, 77, 1, dtype=torch.float64)
    w[0, 1] = 1.5
    expected = z * w * (z.mean() / (z * w).mean())
    ours = torch.stack(contexts(timeline, chunk_encoder(encoder), language))
    assert (ours - expected).abs().max() <= ROUNDING * expected.abs().max()


def test_together_the_shorter_text_is_filled_up_with_empty_chunks(encoder: TextEncoder) -> None:
    [timeline] = understand(f"[fox:{LONG}:3]", 10, TOKENIZER, language=LANGUAGES["a1111"])
    short, long = contexts(timeline, chunk_encoder(encoder), LANGUAGES["a1111"])
    assert len(short) == len(long) == 154
    assert torch.equal(short[77:], encoder(TOKENIZER(""))[0])
    apart = contexts(timeline, chunk_encoder(encoder), LANGUAGES["inkpunk"])
    assert [len(each) for each in apart] == [77, 154]


def attend(query: Tensor, context: Tensor) -> Tensor:
    return torch.softmax(query @ context.T, dim=-1) @ context


@pytest.mark.parametrize(("lengths", "common"), [((1, 1), 1), ((1, 3), 3), ((2, 3), 6), ((4, 2), 4)])
def test_repeated_contexts_steer_as_they_did(
    lengths: tuple[int, ...], common: int, encoder: TextEncoder
) -> None:
    alone = [torch.randn(77 * length, 32, dtype=torch.float64) for length in lengths]
    joined = side_by_side(alone, chunk_encoder(encoder), "repeat")
    assert joined.shape == (len(lengths), 77 * common, 32)
    query = torch.randn(5, 32, dtype=torch.float64)
    for before, after in zip(alone, joined, strict=True):
        assert torch.allclose(attend(query, before), attend(query, after), rtol=1e-12)


def test_padding_may_be_of_empty_chunks(encoder: TextEncoder) -> None:
    encode = chunk_encoder(encoder)
    short, long = context("fox", encoder)[0], context(LONG, encoder)[0]
    joined = side_by_side([short, long], encode, "empty")
    assert torch.equal(joined[0], torch.cat([short, encode(EMPTY.tokens)]))
    assert torch.equal(joined[1], long)
    assert torch.equal(side_by_side([short, short], encode, "empty")[0], short)


@holds
@given(st.text(max_size=60), st.sampled_from([*LANGUAGES]), st.integers(0, 3))
def test_any_text_has_a_finite_context_at_any_step(
    encoder: TextEncoder, text: str, program: str, step: int
) -> None:
    found = context(text, encoder, step, 4, language=LANGUAGES[program])
    assert found.isfinite().all() and found.shape[1] % 77 == 0


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"grammar": "klingon"}, "grammar 'klingon': there is none of that name; use inkpunk"),
        ({"emphasis": "loud"}, "emphasis 'loud'"),
        ({"chunking": "lines"}, "chunking 'lines'"),
        ({"padding": "zero"}, "padding 'zero'"),
        ({"late": -1}, "late -1: a switch cannot come before its step"),
    ],
)
def test_a_choice_that_there_is_not_is_refused(choice: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Language(**choice)
