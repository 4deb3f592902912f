"""Draws the README's sheet of work on pictures, before and after, with the model in the box.

uv run python -m tools.edit_sheet apps/pipeline/edits.png
"""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from inkpunk import Enlarge, Pipeline, Region, Request
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

SIDE = 240  # pixels of a panel's height
GAP, LABEL = 12, 30
PAPER, TYPE = "white", "#222222"
MASKED = (255, 0, 120)  # what a mask is shown in

Drawn = list[Image.Image]


def draw(pipeline: Pipeline, prompt: str, seed: int, **settings: object) -> Image.Image:
    """One picture."""
    return pipeline.generate(Request(prompt, seeds=(seed,), **settings))[0].image


def shown(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """A picture with its mask laid over it."""
    colour = Image.new("RGB", picture.size, MASKED)
    return Image.composite(Image.blend(picture, colour, 0.45), picture, mask)


def around_ink(picture: Image.Image) -> Image.Image:
    """A mask of all that is not as dark as ink, and of the edge between."""
    light = Image.fromarray((np.asarray(picture).max(-1) >= 77).astype(np.uint8) * 255)
    return light.filter(ImageFilter.MaxFilter(5))


def panel(label: str, pictures: Drawn) -> Image.Image:
    """Pictures beside each other, equally high, with a line above."""
    scaled = [
        picture.resize((round(picture.width * SIDE / picture.height), SIDE), Image.Resampling.LANCZOS)
        for picture in pictures
    ]
    width = sum(picture.width for picture in scaled) + GAP * (len(scaled) - 1)
    whole = Image.new("RGB", (width, SIDE + LABEL), PAPER)
    ImageDraw.Draw(whole).text((0, 4), label, TYPE, ImageFont.load_default(17))
    left = 0
    for picture in scaled:
        whole.paste(picture, (left, LABEL))
        left += picture.width + GAP
    return whole


def sheet(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Rows of panels."""
    lines = [
        (sum(each.width for each in row) + 2 * GAP * (len(row) - 1), max(each.height for each in row))
        for row in rows
    ]
    whole = Image.new(
        "RGB",
        (max(width for width, _ in lines) + 2 * GAP, sum(height + GAP for _, height in lines) + GAP),
        PAPER,
    )
    top = GAP
    for row, (_, height) in zip(rows, lines, strict=True):
        left = GAP
        for each in row:
            whole.paste(each, (left, top))
            left += each.width + 2 * GAP
        top += height + GAP
    return whole


def masks(pipeline: Pipeline) -> list[Image.Image]:
    """Another colour; another subject, and half of the way to it."""
    raven = draw(pipeline, "nvinkpunk raven, neon green splash", 3)
    around, skull = around_ink(raven), "nvinkpunk skull, neon green splash"
    recoloured = draw(pipeline, "nvinkpunk raven, neon pink splash", 5, init=raven, mask=around, strength=1)
    box, grey = (Image.new("L", raven.size, 0) for _ in range(2))
    box.paste(255, (6, 6, 122, 122))
    grey.paste(130, (6, 6, 122, 122))
    replaced, between = (draw(pipeline, skull, 4, init=raven, mask=mask, strength=1) for mask in (box, grey))
    return [
        panel("--mask: another colour", [shown(raven, around), recoloured]),
        panel("--mask: another subject; by a grey mask, less of it", [shown(raven, box), replaced, between]),
    ]


def places(pipeline: Pipeline) -> list[Image.Image]:
    """Continued beyond its edges; prompts for two halves."""
    fox = draw(pipeline, "nvinkpunk fox, neon orange splash", 5)
    wide = draw(
        pipeline, "nvinkpunk fox, neon orange splash", 5, init=fox, extend="left=64,right=64", strength=0.7
    )
    left = Image.new("L", (256, 128), 0)
    left.paste(255, (0, 0, 128, 128))
    regions = [
        Region("nvinkpunk raven, neon green splash", left),
        Region("nvinkpunk fox, neon blue splash", ImageOps.invert(left)),
    ]
    two = draw(pipeline, "nvinkpunk", 2, width=256, height=128, regions=regions)
    return [panel("--extend left=64,right=64", [fox, wide]), panel("--region, twice", [two])]


def larger(pipeline: Pipeline) -> list[Image.Image]:
    """Wider than the model knows; and a texture."""
    raven = "nvinkpunk raven, neon purple splash"
    twins = draw(pipeline, raven, 4, width=256, height=128)
    one = draw(pipeline, raven, 4, enlarge=Enlarge((256, 128), by="pixels", strength=0.3))
    tile = draw(pipeline, "nvinkpunk koi, neon cyan splash", 2, tileable="xy")
    tiled = Image.new("RGB", (256, 256))
    for place in ((0, 0), (128, 0), (0, 128), (128, 128)):
        tiled.paste(tile, place)
    return [
        panel("wider than the model knows: at once, and by --enlarge 256x128", [twins, one]),
        panel("--tileable xy, four times", [tiled]),
    ]


def between(pipeline: Pipeline) -> list[Image.Image]:
    """A variation, and the way from one prompt to another."""
    dragon = "nvinkpunk dragon, neon red splash"
    varied = [draw(pipeline, dragon, 3, vary=f"9:{amount}") for amount in (0.0, 0.5)]
    blue = "nvinkpunk dragon, neon blue splash"
    way = [draw(pipeline, dragon, 8, blend=(blue, amount)) for amount in (0.0, 0.5, 1.0)]
    return [
        panel("--vary 9:0 and 9:0.5", varied),
        panel("three frames of inkpunk travel, from red to blue", way),
    ]


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
def main(out: Path) -> None:
    """Draw the sheet."""
    pipeline = Pipeline.load("sketch")
    whole = sheet([make(pipeline) for make in (masks, places, larger, between)])
    whole.quantize(256).save(out, optimize=True)  # of which a page loads a third
    click.echo(out)


if __name__ == "__main__":
    main()
