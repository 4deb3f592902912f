"""The command line: `python -m tools.train_sketch STAGE`."""

import argparse
import json
from pathlib import Path

from . import (
    dataset,
    draw,
    evaluate,
    export,
    gallery,
    glyphs,
    judge,
    runs,
    sheets,
    train_diffusion,
    train_vae,
    workers,
)
from .captions import imagine
from .draw import Artist
from .picture import render

BUDGET = "processor minutes a worker, in all, however often stopped"


def parser() -> argparse.ArgumentParser:
    """The stages, in the order in which they are run."""
    top = argparse.ArgumentParser(prog="python -m tools.train_sketch", description=__doc__)
    top.add_argument("--run", type=Path, default=Path("runs/sketch"), help="the run's folder")
    top.add_argument("--workers", type=int, default=2, help="training processes, of one thread each")
    stages = top.add_subparsers(dest="stage", required=True)
    stage = stages.add_parser("glyphs", help="make glyphs.npz from the icon package's icons.json")
    stage.add_argument("icons", type=Path)
    stages.add_parser("sheet", help="show what training pictures look like")
    stage = stages.add_parser("pictures", help="render the training pictures")
    stage.add_argument("--count", type=int, default=12_000)
    for name, minutes in (("vae", 40), ("latents", 0), ("diffusion", 75), ("judge", 4)):
        stage = stages.add_parser(name, help=f"make the {name}" if name == "latents" else f"train the {name}")
        if minutes:
            stage.add_argument("--minutes", type=float, default=minutes, help=BUDGET)
    stages.add_parser("curves", help="plot the losses of all stages")
    stages.add_parser("draw", help="draw a sheet of every subject with the run's present weights")
    stage = stages.add_parser("compare", help="try sampling settings with the run's present weights")
    stage.add_argument("--count", type=int, default=64)
    stages.add_parser("export", help="write the run's weights as the package ships them, and its judge")
    stage = stages.add_parser("evaluate", help="measure what the model card says of the shipped weights")
    stage.add_argument("--count", type=int, default=500)
    stage.add_argument("--size", type=int, default=dataset.SIZE)
    stages.add_parser("gallery", help="draw the README's sheet with the shipped weights")
    return top


def main() -> None:
    """Run one stage."""
    arguments = parser().parse_args()
    run = arguments.run
    match arguments.stage:
        case "glyphs":
            glyphs.make(arguments.icons)
        case "sheet":
            pictures = [imagine(dataset.UNSEEN + index) for index in range(64)]
            sheets.save(render(pictures, dataset.SIZE), run / "pictures.png")
        case "pictures":
            dataset.make(run, arguments.count)
        case "vae":
            workers.run(arguments.workers, train_vae.train, run, arguments.minutes)
        case "latents":
            workers.run(arguments.workers, train_diffusion.make_latents, run)
        case "diffusion":
            workers.run(arguments.workers, train_diffusion.train, run, arguments.minutes)
        case "judge":
            workers.run(arguments.workers, judge.train, run, arguments.minutes)
        case "curves":
            from . import curves  # needs the dependency group "train"

            curves.draw(run)
        case "draw":
            draw.sheet(Artist.of(run), run / "drawn.png")
        case "compare":
            evaluate.compare(Artist.of(run), judge.of(run), arguments.count, run / "compared.png")
        case "export":
            export.export(Artist.of(run))
            judge.export(run)
        case "evaluate":
            artist, critic = Artist.shipped(), judge.shipped()
            sheet, size = run / "evaluation.png", arguments.size
            figures = evaluate.evaluate(artist, critic, arguments.count, sheet, size=size)
            print(json.dumps(figures | evaluate.trust(artist, critic), indent=2))
        case "gallery":
            gallery.draw(Artist.shipped())
    runs.tell(f"{arguments.stage}: done")


if __name__ == "__main__":
    main()
