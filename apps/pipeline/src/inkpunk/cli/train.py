"""`inkpunk train`: teach a model something new, from pictures."""

import math
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkpunk.cli.destinations import check_can_write, make_folder, said_of
from inkpunk.cli.options import DEVICE_OPTION, EMA_OPTION, trained_for_options, with_options
from inkpunk.cli.progress import with_progress
from inkpunk.cli.refusing import refusals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inkpunk.pipeline import Pipeline
    from inkpunk.training.examples import Example
    from inkpunk.training.lora import LoraTraining

FEW, MANY = 5, 50  # pictures; beyond these it says so
STOPPED = 130  # as a shell reports of a program that was ended by Ctrl-C
ENDING = ".safetensors"
DRAW = "draw"

LORA_OPTIONS = (
    click.option(
        "--trigger", help="A word of your own that shall call it; put in front of captions that lack it."
    ),
    click.option("--caption", help="Of pictures that have none beside them, in a text file of their name."),
    click.option(
        "--out", type=click.Path(path_type=Path), help="The file to write. [default: TRIGGER.safetensors]"
    ),
    click.option("--overwrite", is_flag=True, help="Replace --out when it exists."),
    click.option(
        "--steps", type=click.IntRange(1, 1_000_000), default=400, show_default=True, help="To train."
    ),
    click.option(
        "--batch", type=click.IntRange(1, 1024), default=4, show_default=True, help="Pictures a step."
    ),
    click.option(
        "--rate",
        type=float,
        help="The learning rate, at its highest. [default: 2e-4; for models narrower than SD v1.5 more]",
    ),
    click.option(
        "--rank", type=click.IntRange(1, 1024), default=8, show_default=True, help="Of the matrices."
    ),
    click.option("--alpha", type=float, help="The LoRA's scale is alpha / rank. [default: the rank]"),
    click.option("--convolutions", is_flag=True, help="Have convolutions learn, too (LoCon)."),
    click.option(
        "--text-encoder/--no-text-encoder",
        default=True,
        show_default=True,
        help="Have the text encoder learn, too.",
    ),
    click.option(
        "--size",
        type=click.IntRange(64, 2048),
        help="Of a square of as many pixels as each picture is learned in, in its shape. [default: the model's]",
    ),
    click.option("--flip", is_flag=True, help="See each picture mirrored, too."),
    click.option(
        "--prior",
        metavar="FOLDER|draw",
        help="Pictures of what shall stay as it is (prior preservation), with captions; draw: by the model itself.",
    ),
    click.option(
        "--prior-prompt",
        help="What to draw for it; {fox|raven} is chosen for each picture. Or the caption of those without one.",
    ),
    click.option(
        "--prior-count",
        type=click.IntRange(1, 10_000),
        default=100,
        show_default=True,
        help="How many to draw.",
    ),
    click.option(
        "--prior-weight", type=float, default=1.0, show_default=True, help="How much such a picture counts."
    ),
    click.option(
        "--min-snr",
        type=float,
        default=5.0,
        show_default=True,
        help="Gamma of min-SNR weighting (Hang et al. 2023); 0 for none.",
    ),
    click.option("--samples", metavar="PROMPT", help="Draw this now and then, into a folder beside --out."),
    click.option(
        "--samples-every",
        type=click.IntRange(1),
        default=100,
        show_default=True,
        metavar="STEPS",
        help="How often.",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of all chance."
    ),
)
MODEL_OPTIONS = (
    click.option(
        "--model",
        default="sketch",
        show_default=True,
        help="What learns: a checkpoint file, a diffusers folder, a Hugging Face id, or the built-in sketch.",
    ),
    DEVICE_OPTION,
    click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "bfloat16"]),
        default="auto",
        show_default=True,
        help="In which precision; auto is bfloat16 on CUDA, float32 elsewhere.",
    ),
    EMA_OPTION,
)


@click.group()
def train() -> None:
    """Teach a model something new, from pictures."""


@train.command()
@click.argument("folder", type=click.Path(path_type=Path))
@with_options(LORA_OPTIONS)
@with_options(MODEL_OPTIONS)
@trained_for_options
def lora(
    folder: Path,
    trigger: str | None,
    caption: str | None,
    out: Path | None,
    overwrite: bool,
    size: int | None,
    flip: bool,
    prior: str | None,
    prior_prompt: str | None,
    prior_count: int,
    samples: str | None,
    samples_every: int,
    model: str,
    device: str,
    dtype: str,
    ema: bool,
    prediction: str | None,
    zero_snr: bool | None,
    **given: Any,
) -> None:
    """Train a LoRA on the pictures in FOLDER: a small file that bends a model towards a subject or a style.

    \b
    inkpunk train lora kettle --trigger zwkettle --caption "a copper kettle"

    5 to 50 pictures, each with a caption in a text file of its name (fox.png, fox.txt), or one --caption for all.
    The file is in kohya's layout, which other programs read. Ctrl-C keeps the state; the same command then goes on.
    """
    out = _checked_out(out, trigger, overwrite)
    _check(prior, prior_prompt, size, given)
    with refusals():
        # Whatever can be refused without the model is refused before the model is loaded.
        from inkpunk.training.examples import read_examples, refuse_small

        examples = read_examples(folder, caption=caption, trigger=trigger)
        preserved = read_examples(Path(prior), caption=prior_prompt) if prior and prior != DRAW else []
        if size:
            refuse_small(folder, examples, size)
        _say_of_pictures(folder, examples)

        from inkpunk.pipeline import Pipeline
        from inkpunk.speed import PLAIN
        from inkpunk.training.lora import Course, LoraTraining, settings_for, training_dtype
        from inkpunk.training.prior import draw_prior, read_prior

        load = partial(Pipeline.load, model, device=device, ema=ema, prediction=prediction, zero_snr=zero_snr)
        # Pictures are drawn and encoded by the fast ways, which what learns cannot take, and but once: exactly.
        pipeline = load(dtype="float32")
        side = size or pipeline.defaults.size
        for pictures in (examples, preserved):
            refuse_small(folder, pictures, side)
        _say_of_trigger(trigger, pipeline)
        if prior == DRAW:
            drawn = out.with_name(f"{out.stem}.prior")
            some = draw_prior(
                pipeline, prior_prompt or "", drawn, count=prior_count, side=side, seed=given["seed"]
            )
            deque(with_progress(some, "drawing the prior"), maxlen=0)
            preserved = read_prior(drawn, count=prior_count, seed=given["seed"])
        course = Course(examples, preserved, side, flip, trigger)
        deque(with_progress(course.encode(pipeline), "encoding"), maxlen=0)
        settings = settings_for(pipeline, **given)
        pipeline = load(dtype=training_dtype(dtype, pipeline.device), speed=PLAIN)
        training = LoraTraining(pipeline, course, settings, out)
        _say_how_it_starts(training)
        if not _train(training, samples, samples_every):
            click.echo(f"Stopped; the same command goes on from {training.state}.", err=True)
            raise click.exceptions.Exit(STOPPED)
        training.save(overwrite=overwrite)
    click.echo(out)


def _train(training: "LoraTraining", samples: str | None, every: int) -> bool:
    """Train, showing how it goes; whether it came to the end."""
    from inkpunk.training.stopping import stop_asked

    folder = training.out.with_name(f"{training.out.stem}.samples")
    if samples is not None:
        make_folder("--samples", folder)
    with stop_asked() as stop:
        steps = with_progress(training.steps(), "training", lambda step: f"loss {step.smoothed:.4f}")
        for step in steps:
            if samples is not None and (step.index % every == 0 or step.index == step.total):
                picture = training.sample(samples, training.settings.seed)
                picture.save(folder / f"step{step.index:06}.png", overwrite=True)
            if stop.asked and step.index < step.total:
                training.keep()
                return False
    return True


def _checked_out(out: Path | None, trigger: str | None, overwrite: bool) -> Path:
    if out is None:
        if not trigger or not trigger.isidentifier():
            raise click.UsageError("say where to write it: --out FILE.safetensors")
        out = Path(f"{trigger}{ENDING}")
    if out.suffix.lower() != ENDING:
        raise click.UsageError(f"--out {out}: a LoRA is a {ENDING} file; name one")
    with said_of(out):
        if out.exists() and not overwrite:
            raise click.ClickException(f"{out}: exists already; choose another name, or add --overwrite")
        if not out.parent.is_dir():
            raise click.ClickException(f"{out}: the folder {out.parent} does not exist; make it first")
        if out.is_dir():
            raise click.ClickException(f"{out}: is a folder; name a file")
        check_can_write(out.parent)
    return out


def _check(prior: str | None, prior_prompt: str | None, size: int | None, given: dict[str, Any]) -> None:
    """Refuse what the options say that cannot be."""
    for name in ("rate", "alpha", "min_snr", "prior_weight"):
        value = given[name]
        may_be_zero = name in ("min_snr", "prior_weight")
        if value is not None and not (math.isfinite(value) and (value > 0 or (may_be_zero and value == 0))):
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} {value:g}: must be more than 0")
    if size and size % 8:
        raise click.UsageError(f"--size {size}: must be a multiple of 8")
    if prior == DRAW and not prior_prompt:
        raise click.UsageError("--prior draw: say what to draw, with --prior-prompt")
    if prior_prompt and prior is None:
        raise click.UsageError("--prior-prompt: has no effect without --prior; add --prior draw")


def _say_of_pictures(folder: Path, examples: "Sequence[Example]") -> None:
    if not FEW <= len(examples) <= MANY:
        click.echo(f"{folder}: {len(examples)} pictures; {FEW} to {MANY} are usual.", err=True)


def _say_of_trigger(trigger: str | None, pipeline: "Pipeline") -> None:
    """Warn of a trigger that calls something else, too."""
    if trigger is None:
        return
    from inkpunk.training.trigger import is_one_of_many

    if is_one_of_many(trigger, pipeline.tokenizer, pipeline.text_encoder.tensors["token_embedding.weight"]):
        click.echo(
            f"--trigger {trigger!r}: this model has met none of its tokens, and all words of such tokens are one to "
            "it: each will call what is learned. Make one up of parts of words that it knows.",
            err=True,
        )
    elif len(trigger.split()) > 1:
        click.echo(f"--trigger {trigger!r}: more than one word, each of which means something.", err=True)
    elif pipeline.tokenizer.count(trigger) == 1:
        click.echo(
            f"--trigger {trigger!r}: a word of the model's own, whose meaning will change; one that is made up "
            "calls nothing else.",
            err=True,
        )


def _say_how_it_starts(training: "LoraTraining") -> None:
    from inkpunk.training.memory import in_words

    count, prior = len(training.course.examples), len(training.course.prior)
    beside = f" and {prior} of the prior" if prior else ""
    click.echo(
        f"{count} pictures{beside}, {training.training.learned:,} numbers to learn; takes about "
        f"{in_words(training.memory(training.recomputed))} beside the model"
        + (", computing blocks twice to save memory" if training.recomputed else ""),
        err=True,
    )
    if training.resumed:
        click.echo(f"Goes on after step {training.training.step}, from {training.state}", err=True)
