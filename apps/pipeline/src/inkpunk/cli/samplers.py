"""`inkpunk samplers`: which there are, and what other programs call them."""

import click

ROW = "{:<12} {:<12} {:<20} {:<33} {:>5} {:>5}  {}"


@click.command()
def samplers() -> None:
    """List the samplers: what other programs call them, their order, their predictions a step, and their source.

    --sampler takes any of these names, and AUTOMATIC1111's with its schedule, such as "DPM++ 2M Karras".
    """
    from inkpunk_sampling import CONVENTIONS, SAMPLERS

    click.echo(ROW.format("name", "A1111", "ComfyUI", "diffusers", "order", "calls", "noise, source"))
    for name, method in SAMPLERS.items():
        names = (each or "-" for each in method.elsewhere)
        noise = "draws noise; " if method.stochastic else "deterministic; "
        click.echo(ROW.format(name, *names, method.order or "-", method.calls, noise + method.cites))
    click.echo(
        f"\nThe default is {CONVENTIONS['inkpunk'].sampler}. An order of - is of samplers for distilled models."
    )
