"""`inkpunk prompt`: how a prompt is understood, without a model."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inkpunk.cli.options import EMBEDDING_OPTION, LANGUAGE_OPTIONS, read_wildcards, with_options
from inkpunk.cli.refusing import refusals

if TYPE_CHECKING:
    from inkpunk_clip import Chunk, LearnedWords, Timeline, Tokenizer

    from inkpunk.request import Request
    from inkpunk.road.prompts import Reading

STEPS = 25


@click.command()
@click.argument("prompt")
@click.option("-n", "--negative", default="", help="The negative prompt.")
@click.option(
    "--steps", type=click.IntRange(1, 1000), default=STEPS, show_default=True, help="Of the drawing."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of the picture."
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@with_options((*LANGUAGE_OPTIONS, EMBEDDING_OPTION))
def prompt(
    prompt: str,
    negative: str,
    steps: int,
    seed: int,
    as_json: bool,
    like: str,
    emphasis: str | None,
    plain_prompt: bool,
    wildcards: Path | None,
    embeddings: tuple[Path, ...],
) -> None:
    """Show how PROMPT is understood: its parts, what changes at which step, chunks, tokens and weights."""
    with refusals():
        from inkpunk_clip import Tokenizer, understand

        from inkpunk.models.learned import read_learned
        from inkpunk.request import Request
        from inkpunk.road.prompts import Reading

        request = Request(
            prompt,
            negative,
            seeds=(seed,),
            like=like,
            emphasis=emphasis,
            plain_prompt=plain_prompt,
            wildcards=read_wildcards(wildcards),
        )
        tokenizer = Tokenizer()
        learned = read_learned(embeddings, tokenizer)
        for each in learned.passed_over:
            click.echo(f"Passed over: {each}", err=True)
        chosen, (read, loras) = request.chosen(seed), request.asked_of(seed)
        parts, unwanted = (
            understand(text, steps, tokenizer, learned.words, request.language, composed=composed)
            for text, composed in zip(read, (True, False), strict=True)
        )
        reading = Reading(parts, unwanted[0] if negative else None)
    if as_json:
        click.echo(json.dumps({**asdict(reading), "loras": [asdict(lora) for lora in loras]}, indent=2))
        return
    for name, text, before in zip(("prompt", "negative prompt"), chosen, (prompt, negative), strict=True):
        if text != before:
            click.echo(f"{name}, as seed {seed} chooses: {text}")
    for lora in loras:
        text_encoder = lora.strengths["text_encoder"]
        click.echo(f"LoRA {lora.file}: UNet {lora.weight:g}, text encoder {text_encoder:g}")
    for line in told(reading, steps, tokenizer, learned.words):
        click.echo(line)
    say_what_is_cut(request, tokenizer)


def told(
    reading: "Reading", steps: int, tokenizer: "Tokenizer", words: "LearnedWords | None"
) -> Iterator[str]:
    """The lines that show a reading: a token between bars, the weight before those that have it."""
    for number, part in enumerate(reading.parts, start=1):
        several = len(reading.parts) > 1 or part.weight != 1
        title = f"part {number} of {len(reading.parts)}, weight {part.weight:g}" if several else "prompt"
        yield from _timeline(title, part, steps, tokenizer, words)
    if reading.negative is not None:
        yield from _timeline("negative prompt", reading.negative, steps, tokenizer, words)


def say_what_is_cut(request: "Request", tokenizer: "Tokenizer") -> None:
    """Tell which words are not seen where prompts are read as by a program that cuts them."""
    if request.language.chunking == "cut":
        texts = {"prompt": request.prompt, "negative prompt": request.negative_prompt}
        if request.blended:
            texts["blended prompt"] = request.blended[0]
        for name, text in texts.items():
            if cut := tokenizer.cut(text):
                click.echo(f"The {name} is cut after 77 tokens, as {request.like} does: {cut!r}", err=True)


def _timeline(
    title: str, timeline: "Timeline", steps: int, tokenizer: "Tokenizer", words: "LearnedWords | None"
) -> Iterator[str]:
    ends = [*(moment.step for moment in timeline.moments[1:]), steps]
    for moment, end in zip(timeline.moments, ends, strict=True):
        if moment.step >= end:  # comes too late to be drawn
            continue
        when = f", steps {moment.step + 1} to {end} of {steps}" if len(timeline.moments) > 1 else ""
        for number, chunk in enumerate(moment.chunks, start=1):
            yield f"{title}{when}: chunk {number} of {len(moment.chunks)}, {len(chunk.text)} of 75 tokens"
            yield from (f"  {line}" for line in _tokens(chunk, tokenizer, words))


def _tokens(chunk: "Chunk", tokenizer: "Tokenizer", words: "LearnedWords | None") -> Iterator[str]:
    for weight, group in groupby(chunk.text, key=lambda each: each[1]):
        yield f"{weight:5.3g}  {' | '.join(_named([token for token, _ in group], tokenizer, words))}"


def _named(tokens: Sequence[int], tokenizer: "Tokenizer", words: "LearnedWords | None") -> Iterator[str]:
    for name, group in groupby(tokens, key=lambda token: words.name_of(token) if words else ""):
        theirs = list(group)
        if name:
            yield f"<{name}: {len(theirs)} learned>"
        else:
            yield from (tokenizer.piece(token) for token in theirs)
