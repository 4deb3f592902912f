"""Whether a process that draws on and on keeps its memory: the peaks of the last hundred pictures and of the first.

    uv run python -m tools.draw_a_thousand [--pictures 1000] [--size 64]

Pictures of the model in the box, few steps each, of ever new prompts, seeds and samplers, in sizes that change. The
figures are the system's: the most main memory that the process held while a hundred were drawn.
"""

import time
from collections.abc import Iterator

import click
import torch
from inkpunk import Pipeline, Request
from inkpunk.memory.peaks import peak_memory

SAMPLERS = ("euler", "dpmpp_2m", "ddim", "euler_a")
ASPECTS = ((1, 1), (2, 1), (1, 2))
MIB = 2**20


def requests(count: int, size: int) -> Iterator[Request]:
    """No two alike."""
    for index in range(count):
        width, height = (size * side for side in ASPECTS[index % len(ASPECTS)])
        yield Request(
            f"a raven, number {index}",
            f"an owl, number {index}" if index % 2 else "",
            seeds=(index,),
            steps=2 + index % 3,
            sampler=SAMPLERS[index % len(SAMPLERS)],
            width=width,
            height=height,
        )


@click.command()
@click.option("--pictures", default=1000, show_default=True, help="How many.")
@click.option("--part", default=100, show_default=True, help="How many of them are measured together.")
@click.option("--size", default=64, show_default=True, help="The shorter side, in pixels.")
def main(pictures: int, part: int, size: int) -> None:
    """Print the peak of each part, and by how much the last is above the first."""
    pipeline, asked = Pipeline.load(device="cpu"), requests(pictures, size)
    peaks: list[int] = []
    for start in range(0, pictures, part):
        begun = time.process_time()
        with peak_memory(torch.device("cpu")) as peak:
            for _, request in zip(range(part), asked, strict=False):
                pipeline.generate(request)
        if peak.bytes is None:
            raise click.ClickException("this system does not tell how much memory a process took at its peak")
        peaks.append(peak.bytes)
        spent = time.process_time() - begun
        click.echo(f"{start + part:5} pictures: {peak.bytes / MIB:.1f} MiB, {spent:.1f} processor seconds")
    click.echo(f"the last to the first: {peaks[-1] / peaks[0] - 1:+.2%}")


if __name__ == "__main__":
    main()
