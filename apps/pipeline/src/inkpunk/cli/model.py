"""`inkpunk model`: which file of weights is which, by its hash."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inkpunk.cli.progress import with_progress
from inkpunk.cli.refusing import refusals

if TYPE_CHECKING:
    from inkpunk.models.finding import Looking

LARGE = 100_000_000  # bytes that take a while to read
OLD_START, OLD_BYTES, OLD_DIGITS = 0x100000, 0x10000, 8  # of the hash that AUTOMATIC1111 had until 2023


@click.command()
@click.argument("places", nargs=-1, metavar="[FILE|FOLDER]...")
@click.option(
    "--verify", metavar="HASH", help="Say whether FILE is the one of this hash; exits with 1 if not."
)
@click.option(
    "--find",
    "wanted",
    metavar="HASH",
    help="Look for the file of this hash in folders, and print where it is; exits with 1 if it is in none. "
    "[default: where files were hashed before, and the working folder]",
)
@click.option("--json", "as_json", is_flag=True, help="Print hashes as JSON.")
@click.pass_context
def model(
    context: click.Context, places: tuple[str, ...], verify: str | None, wanted: str | None, as_json: bool
) -> None:
    """Tell a checkpoint's hashes, an adapter's or any other file's; hold it against one, or find it by one.

    A HASH is the 10 digits that recipes have of a model, the 12 that they have of adapters and others, or a whole
    SHA-256. A file is read once: its hash is remembered until it changes.

    \b
    inkpunk model v1-5-pruned-emaonly.safetensors
    inkpunk model v1-5-pruned-emaonly.safetensors --verify 6ce0161689
    inkpunk model --find 6ce0161689 ~/models ~/stable-diffusion-webui/models
    """
    if verify and wanted:
        raise click.UsageError("--verify is of a file, and --find of folders: give one of them")
    if not places and not wanted:
        raise click.UsageError("give a FILE, or --find HASH and folders to look in")
    with refusals():
        from inkpunk.models.finding import HashError, read_hash

        try:
            asked = read_hash(verify or wanted or "0" * 64)
        except HashError as error:
            raise click.UsageError(str(error)) from error
        if wanted:
            found = _found(asked, [Path(place) for place in places])
            for path in found:
                click.echo(path)
            if not found:
                click.echo(f"{wanted}: in none of these folders", err=True)
            context.exit(0 if found else 1)
        same = [_tell(place, asked if verify else None, as_json) for place in places]
    context.exit(0 if all(same) else 1)


def _found(digits: str, folders: list[Path]) -> list[Path]:
    from inkpunk.models.finding import known_files, look_in

    for folder in folders:
        if not folder.exists():
            raise click.ClickException(f"{folder}: no such folder")
    known = [
        path
        for path in known_files(digits)
        if not folders or any(path.is_relative_to(folder.resolve()) for folder in folders)
    ]
    if known:
        return known
    steps = with_progress(look_in(folders or [Path()], digits), digits[:12], tell=_where)
    return [each.found for each in steps if each.found]


def _where(state: "Looking") -> str:
    return state.path.name


def _tell(place: str, digits: str | None, as_json: bool) -> bool:
    """Print what a file is, or whether it is the one of a hash."""
    from inkpunk.models.finding import alike
    from inkpunk.models.hashing import model_hash
    from inkpunk.models.hub import resolve_model

    path = Path(place) if Path(place).exists() else resolve_model(place)
    told: dict[str, str] = {}
    if path.is_dir():
        whole = told["weights"] = model_hash(path)
    else:
        whole = told["sha256"] = _hashed(path)
        told |= {"model hash": whole[:10], "adapter hash": whole[:12], "old hash": _old_hash(path)}
    if digits is not None:
        same = alike(whole, digits)
        click.echo(f"{place}: {'is' if same else 'is not'} {digits}" + ("" if same else f", but {whole}"))
        return same
    if as_json:
        click.echo(json.dumps({"file": place} | told))
        return True
    click.echo(f"{place}:")
    for name, value in told.items():
        if value:
            click.echo(f"  {name:<14}{value:<14}{NOTES.get(name, '')}".rstrip())
    return True


NOTES = {
    "weights": "what recipes know this folder by: the SHA-256 of the list of its weight files'",
    "model hash": "in recipes, ours and AUTOMATIC1111's, of a checkpoint (AutoV2)",
    "adapter hash": "in our recipes, of all other files",
    "old hash": "in AUTOMATIC1111's before 2023 (AutoV1); many files may share one",
}


def _hashed(path: Path) -> str:
    """A file's SHA-256, behind a progress bar where it takes time."""
    from inkpunk.models.finding import look_in
    from inkpunk.models.hashing import file_hash

    size = path.stat().st_size
    if size < LARGE:
        return file_hash(path)
    for _ in with_progress(look_in([path], "-"), path.name):
        pass
    return file_hash(path)  # which is remembered


def _old_hash(path: Path) -> str:
    if path.stat().st_size <= OLD_START:  # it is one of nothing
        return ""
    with path.open("rb") as file:
        file.seek(OLD_START)
        return hashlib.sha256(file.read(OLD_BYTES)).hexdigest()[:OLD_DIGITS]
