"""What is answered of a job that is over: its pictures, and `info` in AUTOMATIC1111's form."""

import json
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others.infotext import Infotext, split

from inkpunk_studio.http.a1111.fields import ImagesOut
from inkpunk_studio.http.events import unless_drawn
from inkpunk_studio.http.outgoing import base64_of
from inkpunk_studio.http.refusing import Refusal
from inkpunk_studio.work.job import Drawn, Job

MEANT = {
    "Steps", "Sampler", "CFG scale", "Seed", "Size", "Model", "Model hash", "Clip skip", "Version",
    "Denoising strength", "Variation seed", "Variation seed strength", "Seed resize from",
}  # fmt: skip
"""Keys of infotexts that have fields of their own."""


def told_of(job: Job, *, send_images: bool) -> str:
    """A job's pictures, as JSON; the last of one that was interrupted is as it stood. It blocks while it reads them.

    Raises:
        Refusal: it failed, or its pictures are gone.
    """
    refusal = unless_drawn(job)
    if refusal and job.state not in ("done", "cancelled"):
        raise refusal
    try:
        images = [base64_of(each.path.read_bytes()) for each in _shown(job)] if send_images else []
    except OSError as error:
        raise Refusal(410, "a picture was deleted as soon as it was drawn") from error
    warnings = [*job.warnings]
    if job.state == "cancelled":
        last = "the last picture is as it stood then" if job.unfinished else "no picture was begun"
        warnings.append(f"it was interrupted; {last}")
    told = ImagesOut(images=images, info=json.dumps(info(job, warnings)), warnings=warnings, job=job.id)
    return told.model_dump_json()


def info(job: Job, warnings: list[str]) -> Mapping[str, Any]:
    """What a job's pictures are, by AUTOMATIC1111's names; with none drawn, what was asked for."""
    shown = _shown(job)
    order, texts = job.orders[0].values, [each.infotext for each in shown]
    drawn = [_read(each) for each in texts]
    pairs = dict(drawn[0].pairs) if drawn else {}
    seeds = [each.seed for each in shown] or [each.seed or 0 for each in job.orders]
    places = [each.order for each in shown] or list(range(len(job.orders)))
    varied = [_varied(str(job.orders[place].values.get("vary", "0:0"))) for place in places]
    prompts = [each.prompt for each in drawn] or [str(order.get("prompt", ""))] * len(seeds)
    negatives = [each.negative for each in drawn] or [str(order.get("negative", ""))] * len(seeds)
    width, height = _size(str(pairs.get("Size", f"{order.get('width', 0)}x{order.get('height', 0)}")))
    extra = {key: value for key, value in pairs.items() if key not in MEANT}
    if warnings:
        extra["Warnings"] = "; ".join(warnings)
    return {
        "prompt": prompts[0],
        "all_prompts": prompts,
        "negative_prompt": negatives[0],
        "all_negative_prompts": negatives,
        "seed": seeds[0],
        "all_seeds": seeds,
        "subseed": varied[0][0],
        "all_subseeds": [each for each, _ in varied],
        "subseed_strength": varied[0][1],
        "width": width,
        "height": height,
        "sampler_name": str(pairs.get("Sampler", order.get("sampler", ""))),
        "cfg_scale": _number(pairs.get("CFG scale", order.get("guidance", 0))),
        "steps": int(_number(pairs.get("Steps", order.get("steps", 0)))),
        "batch_size": len(job.orders),
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": str(pairs.get("Model", order.get("model", ""))),
        "sd_model_hash": str(pairs.get("Model hash", "")),
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": _number(pairs["Denoising strength"]) if "Denoising strength" in pairs else None,
        "extra_generation_params": extra,
        "index_of_first_image": 0,
        "infotexts": texts,
        "styles": [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(job.made)),
        "clip_skip": int(_number(pairs.get("Clip skip", 1))),
        "is_using_inpainting_conditioning": False,
        "version": f"inkpunk {metadata.version('inkpunk')}",
    }


def _read(text: str) -> Infotext:
    """An infotext's parts; of one that is too long to be taken apart, all of it is the prompt."""
    try:
        return split(text)
    except PictureError:
        return Infotext(text, "", (), (), 0)


def _shown(job: Job) -> tuple[Drawn, ...]:
    return job.drawn if job.unfinished is None else (*job.drawn, job.unfinished)


def _varied(text: str) -> tuple[int, float]:
    seed, _, amount = text.partition(":")
    return int(seed), float(amount)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0
