"""The command line: `python -m tools.train_sketch STAGE`."""

import argparse
import json
from pathlib import Path

import torch

from . import (
    dataset,
    draw,
    evaluate,
    export,
    glyphs,
    judge,
    runs,
    sheets,
    train_diffusion,
    train_vae,
    workers,
)
from .captions import imagine
from .picture import render

WEIGHTS = Path("packages/inkpunk-sketch/src/inkpunk_sketch/sketch.safetensors")
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
    stage.add_argument("--count", type=int, default=6000)
    for name, minutes in (("vae", 40), ("latents", 0), ("diffusion", 75), ("judge", 4)):
        stage = stages.add_parser(name, help=f"make the {name}" if name == "latents" else f"train the {name}")
        if minutes:
            stage.add_argument("--minutes", type=float, default=minutes, help=BUDGET)
    stages.add_parser("curves", help="plot the losses of all stages")
    stages.add_parser("draw", help="draw a sheet of every subject with the present weights")
    stage = stages.add_parser("evaluate", help="measure what the model card says")
    stage.add_argument("--count", type=int, default=500)
    stage = stages.add_parser("compare", help="try sampling settings")
    stage.add_argument("--count", type=int, default=64)
    stage = stages.add_parser("export", help="write the present weights as the package ships them")
    stage.add_argument("path", type=Path, nargs="?", default=WEIGHTS)
    return top


def main() -> None:
    """Run one stage."""
    arguments = parser().parse_args()
    run = arguments.run
    torch.set_num_threads(1)
    match arguments.stage:
        case "glyphs":
            glyphs.make(arguments.icons)
        case "sheet":
            pictures = [imagine(dataset.UNSEEN + index) for index in range(64)]
            sheets.save(render(pictures, dataset.SIZE), run / "pictures.png")
        case "pictures":
            dataset.make(run / "pictures.npy", arguments.count)
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
            draw.sheet(run)
        case "evaluate":
            print(json.dumps(evaluate.evaluate(run, arguments.count), indent=2))
        case "compare":
            evaluate.compare(run, arguments.count)
        case "export":
            export.export(run, arguments.path)
    runs.tell(f"{arguments.stage}: done")


if __name__ == "__main__":
    main()
