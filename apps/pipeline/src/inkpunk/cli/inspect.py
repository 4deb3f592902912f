"""`inkpunk inspect`: what a file of weights or a picture is, without running or believing it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inkpunk.cli.refusing import refusals

if TYPE_CHECKING:
    from torch import Tensor

    from inkpunk.pictures.others import Told
    from inkpunk.pictures.recipe import Recipe


@click.command()
@click.argument("file")
@click.option(
    "--finite", is_flag=True, help="Also read every tensor and name those that hold NaN or infinity."
)
@click.option("--ema", is_flag=True, help="Look at a training checkpoint's averaged (EMA) weights.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def inspect(context: click.Context, file: str, finite: bool, ema: bool, as_json: bool) -> None:
    """Tell what FILE is: a checkpoint, a diffusers folder or a hub id; an adapter, an embedding, a control network,
    an image prompt (IP-Adapter), a tiny autoencoder or a picture.

    Of a checkpoint it reads headers only, unless --finite asks for the values, and exits with 1 when something is
    wrong with it. Of an adapter (LoRA) it tells kind, rank, base model, trigger words and training notes; of a
    picture, ours or another program's, the recipe; and of another program's, how it is understood here. A recipe by
    itself, as infotext in a .txt file or a workflow in a .json file, is told likewise.
    """
    with refusals():
        from inkpunk.pictures.recipe import is_picture, read_recipe, refuse_without_place
        from inkpunk.pictures.texts import read_text

        if is_picture(Path(file)):
            _show_recipe(read_recipe(Path(file)), as_json)
            return
        refuse_without_place(Path(file))
        if (written := read_text(Path(file))) is not None:
            _show_recipe(written, as_json)
            return
        from inkpunk_weights import CheckpointError, open_checkpoint

        from inkpunk.models.hub import resolve_model
        from inkpunk.models.loras import is_adapter_folder

        path = resolve_model(file)
        if is_adapter_folder(path):
            context.exit(_show(path, "adapter", as_json, finite=finite))
        try:
            report = open_checkpoint(path, ema=ema).report(finite=finite)
        except CheckpointError as error:
            if error.found not in SHOWN:
                raise
            context.exit(_show(path, error.found, as_json, finite=finite))
    click.echo(json.dumps(asdict(report), indent=2, default=str) if as_json else str(report))
    context.exit(1 if report.problems else 0)


def _adapter(path: Path) -> dict[str, object]:
    from inkpunk.models.lora_notes import describe_adapter

    return describe_adapter(path)


def _embedding(path: Path) -> dict[str, object]:
    from inkpunk_weights import open_embedding

    embedding = open_embedding(path)
    count, width = embedding.vectors.shape
    return {
        "kind": "a textual inversion embedding",
        "called": ", ".join(embedding.names),
        "vectors": f"{count} of width {width}",
        "trained": None if embedding.step is None else f"{embedding.step:,} steps",
        "on": embedding.model,
    }


def _control(path: Path) -> dict[str, object]:
    from inkpunk.models.control_nets import describe_control

    return describe_control(path)


def _image_prompt(path: Path) -> dict[str, object]:
    from inkpunk.models.image_prompts import describe_image_prompt

    return describe_image_prompt(path)


def _tiny_vae(path: Path) -> dict[str, object]:
    from inkpunk.models.tiny_vaes import describe_tiny_vae

    return describe_tiny_vae(path)


SHOWN = {
    "adapter": _adapter,
    "embedding": _embedding,
    "control network": _control,
    "image prompt": _image_prompt,
    "tiny autoencoder": _tiny_vae,
}
"""What is no checkpoint, and what is told of it."""


def _show(path: Path, found: str, as_json: bool, *, finite: bool) -> int:
    """Tell what a file is; 1 where something is wrong with it, as a shell has it."""
    facts = SHOWN[found](path)
    problems = [f"holds NaN or infinity: {name}" for name in (_not_finite(path, found) if finite else ())]
    if as_json:
        more = {"problems": problems} if finite else {}
        click.echo(json.dumps(facts | more, indent=2, default=str))
        return 1 if problems else 0
    click.echo(f"{path}: {facts['kind']}")
    for name, value in (*facts.items(), *(("problem", problem) for problem in problems)):
        if name != "kind" and value not in (None, ""):
            click.echo(f"  {name:<14}{value}")
    return 1 if problems else 0


def _not_finite(path: Path, found: str) -> Iterator[str]:
    """The tensors that hold NaN or infinity, read one at a time; of an embedding none, as it is refused with such."""
    from inkpunk_weights import open_adapter, open_control, open_image_prompt, open_tiny_vae

    from inkpunk.memory.precision import is_finite

    held = dict[str, "Callable[[], Tensor]"]()
    if found == "adapter":
        adapter = open_adapter(path)
        for change in (*adapter.text_encoder.values(), *adapter.unet.values()):
            held |= {
                f"{change.layer}, {part}": partial(change.parts.__getitem__, part) for part in change.parts
            }
    elif opener := {
        "control network": open_control,
        "image prompt": open_image_prompt,
        "tiny autoencoder": open_tiny_vae,
    }.get(found):
        tensors = opener(path).tensors
        held |= {name: partial(tensors.__getitem__, name) for name in tensors}
    for name, read in held.items():
        if not is_finite(read().float()):
            yield f"{name!r:.200}"


def _show_recipe(recipe: "Recipe", as_json: bool) -> None:
    theirs = bool(recipe.texts) and "inkpunk" not in recipe.texts
    told, refusal = _understood(recipe) if theirs else (None, "")
    if as_json:
        understood = {"understood": told and asdict(told), "refusal": refusal or None} if theirs else {}
        click.echo(json.dumps(asdict(recipe) | understood, indent=2))
        return
    size = f" picture, {recipe.width} x {recipe.height}" if recipe.width else " recipe"
    click.echo(f"{recipe.format}{size}")
    shown = {name: text for name, text in recipe.texts.items() if name != "inkpunk"} or recipe.texts
    for name, text in shown.items():
        click.echo(text if name == "parameters" else f"{name}: {text}")
    if not recipe.texts:
        click.echo("It holds no recipe: it was drawn without one, or saved again by a program that drops it.")
    if told is not None:
        _show_told(told)
    elif theirs:
        click.echo(f"\nNot read as a request: {refusal}")


def _understood(recipe: "Recipe") -> tuple["Told | None", str]:
    """Another program's recipe as an order, or why it is none."""
    from inkpunk.pictures.facts import PictureError
    from inkpunk.pictures.others import read_others

    try:
        return read_others(recipe), ""
    except PictureError as error:
        return None, str(error)


def _show_told(told: "Told") -> None:
    click.echo(f"\nRead as a request, written by {told.program}:")
    for name, value in {**told.values, **told.waiting}.items():
        shown = ", ".join(value) if isinstance(value, tuple) else str(value)
        later = " (with the mask or picture that it needs)" if name in told.waiting else ""
        click.echo(f"  {name:<18}{' '.join(shown.split())}{later}")
    hashes = ({"model": told.model_hash} if told.model_hash else {}) | dict(told.hashes)
    for name, value in hashes.items():
        click.echo(f"  hash of {name}: {value}")
    for each in told.not_understood:
        click.echo(f"  not followed: {each}")
