"""`inkpunk convert`: the same weights in another layout or precision."""

from pathlib import Path

import click

from inkpunk.cli.interrupting import look_for_interrupts
from inkpunk.cli.options import EMA_OPTION, lora_options, trained_for_options
from inkpunk.cli.refusing import refusals


@click.command()
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--layout",
    type=click.Choice(["safetensors", "ckpt", "diffusers"]),
    help="What to write. [default: by OUT's ending; a name without one is a diffusers folder]",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    help="In which precision. [default: as it is]",
)
@EMA_OPTION
@lora_options
@trained_for_options
@click.option("--overwrite", is_flag=True, help="Replace OUT when it exists.")
def convert(
    source: str,
    out: Path,
    layout: str | None,
    dtype: str | None,
    ema: bool,
    loras: tuple[str, ...],
    lora_folder: Path | None,
    prediction: str | None,
    zero_snr: bool | None,
    overwrite: bool,
) -> None:
    """Write the checkpoint IN (a file, a diffusers folder or a hub id) to OUT.

    What the model predicts, and on which noise, is kept, and marked for other programs; so are its notes, and a
    vocabulary of its own. Adapters given as --lora are merged into its weights for good, and their settings (steps,
    guidance, sampler) become the model's.
    """
    with refusals():
        from inkpunk.models.conversion import convert_checkpoint

        look_for_interrupts()
        notices = convert_checkpoint(
            source,
            out,
            layout=layout,
            dtype=dtype,
            ema=ema,
            loras=loras,
            lora_folder=lora_folder,
            prediction=prediction,
            zero_snr=zero_snr,
            overwrite=overwrite,
        )
    for notice in notices:
        click.echo(notice, err=True)
    click.echo(out)
