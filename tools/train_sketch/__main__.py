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
    newcomer,
    preview,
    runs,
    sheets,
    train_control,
    train_diffusion,
    train_lcm,
    train_vae,
)
from .captions import imagine
from .draw import Artist
from .picture import render
from .workers import run as share_out

#: Processor minutes of the trainings, for each of two workers.
MINUTES = {"vae": 18.0, "diffusion": 52.0, "judge": 4.0, "judge-newcomer": 3.0, "lcm": 7.0, "control": 51.0}
#: What `all` does.
ORDER = (
    *("pictures", "vae", "latents", "diffusion", "judge", "export"),
    *("lcm", "export-lcm", "control", "export-control", "curves", "evaluate", "gallery"),
)
PICTURES = 12_000
JUDGED = 500
JUDGED_LCM = 200
JUDGED_CONTROL = 100


def parser() -> argparse.ArgumentParser:
    """The stages, in the order in which they are run."""
    top = argparse.ArgumentParser(prog="python -m tools.train_sketch", description=__doc__)
    top.add_argument("--run", type=Path, default=Path("runs/sketch"), help="the run's folder")
    top.add_argument("--workers", type=int, default=2, help="training processes, of one thread each")
    stages = top.add_subparsers(dest="stage", required=True)
    stages.add_parser("all", help=f"everything, from wherever it was stopped: {', '.join(ORDER)}")
    stage = stages.add_parser("glyphs", help="make glyphs.npz from the icon package's icons.json")
    stage.add_argument("icons", type=Path)
    stages.add_parser("sheet", help="show what training pictures look like")
    stage = stages.add_parser("pictures", help="render the training pictures")
    stage.add_argument("--count", type=int, default=PICTURES)
    for name, minutes in MINUTES.items():
        stage = stages.add_parser(name, help=f"train the {name}")
        budget = "processor minutes a worker, in all, however often stopped"
        stage.add_argument("--minutes", type=float, default=minutes, help=budget)
    stages.add_parser("latents", help="encode the training pictures")
    stages.add_parser("curves", help="plot the losses of all stages")
    stages.add_parser("draw", help="draw a sheet of every subject with the run's present weights")
    stage = stages.add_parser("compare", help="try sampling settings with the run's present weights")
    stage.add_argument("--count", type=int, default=64)
    stages.add_parser("export", help="write the run's weights as the package ships them, and its judge")
    stages.add_parser("export-lcm", help="write the run's LCM-LoRA as the package ships it")
    stages.add_parser("export-control", help="write the run's ControlNet as the package ships it")
    stage = stages.add_parser("evaluate", help="measure what the model card says of the shipped weights")
    stage.add_argument("--count", type=int, default=JUDGED)
    stage.add_argument("--size", type=int, default=dataset.SIZE)
    stage = stages.add_parser("newcomer", help="render what a LoRA is to learn: pictures and their captions")
    stage.add_argument("folder", type=Path)
    stage = stages.add_parser("evaluate-newcomer", help="measure a LoRA that has learned the newcomer")
    stage.add_argument("lora", type=Path)
    stage = stages.add_parser("evaluate-lcm", help="measure the shipped LCM-LoRA alone")
    stage.add_argument("--count", type=int, default=JUDGED_LCM)
    stage = stages.add_parser("evaluate-control", help="measure the shipped ControlNet alone")
    stage.add_argument("--count", type=int, default=JUDGED_CONTROL)
    stages.add_parser("preview", help="fit the map from latents to colours that previews the shipped model")
    stages.add_parser("gallery", help="draw the README's sheets with the shipped weights")
    return top


def main() -> None:
    """Run one stage, or all of them."""
    arguments = vars(parser().parse_args())
    asked = arguments.pop("stage")
    for stage in ORDER if asked == "all" else (asked,):
        perform(stage, **arguments)
        runs.tell(f"{stage}: done")


def perform(
    stage: str,
    run: Path,
    workers: int,
    minutes: float | None = None,
    count: int | None = None,
    size: int = dataset.SIZE,
    icons: Path = Path("icons.json"),
    folder: Path = Path("newcomer"),
    lora: Path = Path("newcomer.safetensors"),
) -> None:
    """Run one stage, by its usual settings where none are given."""
    budget = minutes or MINUTES.get(stage, 0.0)
    match stage:
        case "glyphs":
            glyphs.make(icons)
        case "sheet":
            pictures = [imagine(dataset.UNSEEN + index) for index in range(64)]
            sheets.save(render(pictures, dataset.SIZE), run / "pictures.png")
        case "pictures":
            dataset.make(run, count or PICTURES)
        case "vae":
            share_out(workers, train_vae.train, run, budget)
        case "latents":
            share_out(workers, train_diffusion.make_latents, run)
        case "diffusion":
            share_out(workers, train_diffusion.train, run, budget)
            draw.sheet(Artist.of(run), run / "drawn.png")
        case "judge":
            share_out(workers, judge.train, run, budget)
        case "judge-newcomer":
            share_out(workers, judge.train, run, budget, True)
            judge.export(judge.of(run, newcomer=True), judge.WITH_NEWCOMER_WEIGHTS)
        case "lcm":
            share_out(1, train_lcm.make_latents, run)
            share_out(workers, train_lcm.train, run, budget)
        case "export-lcm":
            train_lcm.export(run)
        case "control":
            share_out(workers, train_control.make_examples, run)
            share_out(workers, train_control.train, run, budget)
        case "export-control":
            train_control.export(run)
        case "preview":
            factors, bias, explained = preview.fit(Artist.shipped().vae)
            print(f"factors {factors}, bias {bias}, of held out pictures explained {explained:.1%}")
        case "curves":
            from . import curves  # needs the dependency group "train"

            curves.draw(run)
        case "draw":
            draw.sheet(Artist.of(run), run / "drawn.png")
        case "compare":
            evaluate.compare(Artist.of(run), judge.of(run), count or 64, run / "compared.png")
        case "export":
            export.export(Artist.of(run))
            judge.export(judge.of(run))
        case "evaluate":
            artist, critic, sheet = Artist.shipped(), judge.shipped(), run / f"evaluation-{size}.png"
            figures = evaluate.evaluate(artist, critic, count or JUDGED, sheet, size=size)
            print(json.dumps(figures | evaluate.trust(artist, critic), indent=2))
            perform("evaluate-lcm", run, workers)
            perform("evaluate-control", run, workers)
        case "evaluate-lcm":
            plain, distilled = Artist.shipped(), Artist.shipped().with_adapter(draw.LCM)
            for name, few in evaluate.few_steps(plain, distilled, judge.shipped(), count or JUDGED_LCM, run):
                print(name, json.dumps(few), flush=True)
        case "evaluate-control":
            net, sheet = train_control.shipped(), run / "outlined.png"
            for any_shape in (False, True):
                figures = train_control.evaluate(
                    Artist.shipped(),
                    net,
                    judge.shipped(),
                    sheet,
                    count or JUDGED_CONTROL,
                    any_shape=any_shape,
                )
                print("any shape:" if any_shape else "silhouettes:", json.dumps(figures), flush=True)
        case "newcomer":
            newcomer.write(folder)
        case "evaluate-newcomer":
            critic = judge.shipped(judge.WITH_NEWCOMER_WEIGHTS)
            print(json.dumps(newcomer.evaluate(lora, critic, run) | newcomer.trust(critic), indent=2))
        case "gallery":
            gallery.draw(Artist.shipped())
            gallery.draw(Artist.shipped().with_adapter(draw.LCM), gallery.SHEET_LCM, **draw.FEW_STEPS)
            taught = Artist.shipped().with_adapter(draw.NEW_SUBJECT)
            gallery.draw(taught, gallery.SHEET_NEW_SUBJECT, gallery.prompts_of_new_subject())
            gallery.draw_outlines(Artist.shipped(), train_control.shipped())


if __name__ == "__main__":
    main()
