"""Does the model in the box draw in bfloat16 what it draws in float32? Asks the judge that it was evaluated with:

    uv run python -m tools.judge_precision [--count 200]

Draws the same captions with the same seeds in both, prints the shares of right subjects and colours, and how far
the pictures lie apart. Where bfloat16 is not faster than float32 it is drawn in all the same, by torch.
"""

import argparse
import json
from unittest import mock

import numpy as np
import torch
from inkpunk import Pipeline, Request
from PIL import Image

from tools.train_sketch import captions, judge

SEEDS = 40_000_000  # of captions and pictures that nothing was trained on
DTYPES = ("float32", "bfloat16")


def draw(pipeline: Pipeline, prompts: list[str]) -> list[Image.Image]:
    """A picture of each, of the seeds from `SEEDS` on."""
    requests = (Request(prompt, seeds=(SEEDS + index,)) for index, prompt in enumerate(prompts))
    return [pipeline.generate(request)[0].image for request in requests]


def compare(count: int) -> dict[str, object]:
    """Shares from 0 to 1, by dtype, and the mean difference of the pictures, in levels of 255."""
    asked = [judge.asked(SEEDS + index) for index in range(count)]
    prompts = [captions.caption_of(picture, SEEDS) for picture in asked]
    right_subject, right_colour = judge.answers(asked)
    critic, drawn, figures = judge.shipped(), dict[str, np.ndarray](), dict[str, object]()
    for dtype in DTYPES:
        pipeline = Pipeline.load("sketch", device="cpu", dtype=dtype)
        drawn[dtype] = np.stack([np.asarray(image, np.float32) for image in draw(pipeline, prompts)])
        images = torch.from_numpy(drawn[dtype] / 127.5 - 1).permute(0, 3, 1, 2)
        with torch.no_grad():
            subject, colour = critic(images)
        figures[dtype] = {
            "subject": (subject.argmax(1) == right_subject).float().mean().item(),
            "colour": (colour.argmax(1) == right_colour).float().mean().item(),
        }
    figures["levels apart"] = float(np.abs(drawn["float32"] - drawn["bfloat16"]).mean())
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200)
    with mock.patch("inkpunk.memory.precision.why_not_bfloat16", return_value=None):
        print(json.dumps(compare(parser.parse_args().count), indent=2))
