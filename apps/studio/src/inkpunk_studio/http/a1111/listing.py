"""What there is to choose from, in the forms that AUTOMATIC1111's clients read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inkpunk.models.loras import adapters_in
from inkpunk_sampling import SAMPLERS, SCHEDULE_TYPES
from inkpunk_weights import CheckpointError, open_embedding

from inkpunk_studio.http.a1111.options import current
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.models import Models
from inkpunk_studio.work.words import Word

Objects = list[dict[str, Any]]

NONE = "None"
PIXEL_UPSCALERS = ("Lanczos", "Nearest")
LATENT_MODES = (NONE, "Latent")
"""The first is what SillyTavern leaves out."""
SCRIPTS = ("controlnet",)


def samplers() -> Objects:
    """Samplers by AUTOMATIC1111's names; options are text."""
    return [
        {
            "name": method.elsewhere.a1111 or name,
            "aliases": [name],
            "options": {"scheduler": "automatic", **({"second_order": "True"} if method.calls == 2 else {})},
        }
        for name, method in SAMPLERS.items()
    ]


def schedulers() -> Objects:
    """Spacings by our names, with AUTOMATIC1111's as labels; the first is the usual one of each sampler."""
    told = [("automatic", "Automatic"), *((ours, theirs) for theirs, ours in SCHEDULE_TYPES.items())]
    return [
        {
            "name": name,
            "label": label,
            "aliases": None,
            "default_rho": 7.0 if name == "karras" else -1.0,
            "need_inner_model": False,
        }
        for name, label in told
    ]


def upscalers(networks: Sequence[str]) -> Objects:
    """What makes pictures larger; the first does nothing."""
    return [
        {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": 4.0}
        for name in (NONE, *PIXEL_UPSCALERS, *networks)
    ]


def latent_modes() -> Objects:
    """What makes latents larger."""
    return [{"name": name} for name in LATENT_MODES]


def models(desk: Desk) -> Objects:
    """The models; no path leaves this machine, so that a file is called by its name."""
    return [
        {
            "title": each.title,
            "model_name": each.name,
            "hash": each.hash,
            "sha256": None,
            "filename": each.name,
            "config": None,
        }
        for each in desk.models.known()
    ]


def loras(settings: Settings) -> Objects:
    """The adapters that a prompt may name."""
    folder = settings.choice.lora_folder
    try:
        names = sorted(adapters_in(Path(folder))) if folder else []
    except (OSError, CheckpointError):
        names = []
    return [{"name": name, "alias": name, "path": name, "metadata": {}} for name in names]


def embeddings(models: Models) -> Mapping[str, Any]:
    """The learned words that prompts for the current model may use, and those for another."""
    shape = models.shape(models.current)
    there = {"loaded": models.words.fitting(shape), "skipped": models.words.other(shape)}
    return {part: {each.name: _embedding(each) for each in words} for part, words in there.items()}


def _embedding(word: Word) -> Mapping[str, Any]:
    try:
        embedding = open_embedding(word.path)
    except CheckpointError:
        return dict.fromkeys(("step", "sd_checkpoint", "sd_checkpoint_name", "shape", "vectors"))
    vectors, width = embedding.vectors.shape
    return {
        "step": embedding.step,
        "sd_checkpoint": None,
        "sd_checkpoint_name": embedding.model,
        "shape": width,
        "vectors": vectors,
    }


def scripts() -> Mapping[str, Any]:
    """The scripts that may go with a request."""
    return {"txt2img": [*SCRIPTS], "img2img": [*SCRIPTS]}


def script_info() -> Objects:
    """The same, with what they take: an object for each unit."""
    return [
        {"name": name, "is_alwayson": True, "is_img2img": is_img2img, "args": []}
        for name in SCRIPTS
        for is_img2img in (False, True)
    ]


def cmd_flags(desk: Desk) -> Mapping[str, Any]:
    """How the server was started, as far as it is a client's business: no folder, and no token."""
    return {
        "api": True,
        "nowebui": False,
        "listen": False,
        "ckpt": current(desk.models).name,
        "lowvram": False,
    }


def memory() -> Mapping[str, Any]:
    """What is used and free, in bytes."""
    import torch

    ram = _ram()
    if not torch.cuda.is_available():
        return {"ram": ram, "cuda": {"error": "unavailable"}}
    free, total = torch.cuda.mem_get_info()
    held = torch.cuda.memory_allocated()
    return {
        "ram": ram,
        "cuda": {
            "system": {"free": free, "used": total - free, "total": total},
            "allocated": {"current": held, "peak": torch.cuda.max_memory_allocated()},
        },
    }


def _ram() -> Mapping[str, Any]:
    try:
        text = Path("/proc/meminfo").read_text()
        held = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in text.splitlines()}
        free, total = held["MemAvailable"], held["MemTotal"]
    except (OSError, ValueError, IndexError, KeyError):
        return {"error": "unavailable"}
    return {"free": free, "used": total - free, "total": total}
