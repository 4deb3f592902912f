"""The `inkpunk` command: one file a subcommand. Nothing here imports torch before a command has work for it."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Never

import click

from inkpunk.cli.batch import batch
from inkpunk.cli.convert import convert
from inkpunk.cli.edit import edit
from inkpunk.cli.enlarge import enlarge
from inkpunk.cli.generate import generate
from inkpunk.cli.grid import grid
from inkpunk.cli.inspect import inspect
from inkpunk.cli.interrupting import interrupts, was_interrupted
from inkpunk.cli.model import model
from inkpunk.cli.prompt import prompt
from inkpunk.cli.refusing import machine_refusal
from inkpunk.cli.replay import replay
from inkpunk.cli.samplers import samplers
from inkpunk.cli.terminal import print_anything
from inkpunk.cli.trace import trace
from inkpunk.cli.train import train
from inkpunk.cli.travel import travel

INTERRUPTED = 130  # what a shell reports of a program that was ended by Ctrl-C


OTHERS = "inkpunk.commands"
"""The entry-point group through which other packages add commands, each by its name."""


class Commands(click.Group):
    """Commands that end as other programs do when a user ends them, and print whatever there is to print."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Begin; this is where every command comes in."""
        print_anything()
        return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named; what it had saved and said by then stays."""
        with interrupts():
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                return self._end(ctx)
            except click.exceptions.Exit:
                raise
            except (click.ClickException, click.Abort):
                if was_interrupted():  # which a library took for an error of its own
                    return self._end(ctx)
                raise  # told already
            except Exception as error:
                if was_interrupted():
                    return self._end(ctx)
                if line := machine_refusal(error):
                    raise click.ClickException(line) from error
                raise

    def _end(self, ctx: click.Context) -> Never:
        click.echo("Interrupted.", err=True)
        ctx.exit(INTERRUPTED)


class OpenCommands(Commands):
    """Commands that other packages may add to; what they add is imported when it is named, or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Ours, and those of other packages."""
        return sorted({*super().list_commands(ctx), *_others()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of ours, or else of another package."""
        ours = super().get_command(ctx, cmd_name)
        if ours is not None or (other := _others().get(cmd_name)) is None:
            return ours
        try:
            return other.load()
        except Exception as error:  # of another package: the rest works without it
            return _broken(cmd_name, error)


def _others() -> dict[str, EntryPoint]:
    return {each.name: each for each in entry_points(group=OTHERS)}


def _broken(name: str, error: Exception) -> click.Command:
    """What stands for a command that cannot be imported, and says so when it is called."""
    said = f"{name}: its package cannot be imported: {error}; install it anew"

    @click.command(name, help=said, add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("rest", nargs=-1)
    def broken(rest: tuple[str, ...]) -> None:
        raise click.ClickException(said)

    return broken


@click.group(cls=OpenCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="inkpunk", message="inkpunk %(version)s")
def main() -> None:
    """Inkpunk-style Stable Diffusion v1.5: a prompt in, a picture out.

    \b
    inkpunk generate "nvinkpunk raven, neon green splash"
    inkpunk edit raven.png "nvinkpunk raven, neon blue splash" --mask splash.png
    inkpunk enlarge raven.png --by 4
    inkpunk grid "nvinkpunk raven" --x sampler=euler,heun --y steps=5,10,20
    inkpunk batch requests.jsonl --out pictures
    inkpunk travel "nvinkpunk raven" "nvinkpunk fox" --out raven-fox.webp
    inkpunk replay raven.png --with seed=+1
    inkpunk trace "nvinkpunk raven" --model v1-5-pruned-emaonly.safetensors
    inkpunk prompt "a (raven:1.2) [at dusk:at night:0.4]"
    inkpunk inspect Inkpunk-Diffusion-v2.ckpt
    inkpunk model --find 2182245415 ~/models
    inkpunk convert Inkpunk-Diffusion-v2.ckpt inkpunk.safetensors --dtype float16
    inkpunk train lora kettle --trigger zwkettle --caption "a copper kettle"
    """


for command in (
    generate,
    edit,
    enlarge,
    grid,
    batch,
    travel,
    replay,
    trace,
    prompt,
    samplers,
    inspect,
    model,
    convert,
    train,
):
    main.add_command(command)
