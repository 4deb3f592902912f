"""What a model tells of its pictures, whatever they show."""

from importlib.metadata import version
from typing import Any

from inkpunk.models.hashing import model_hash, readable_hash
from inkpunk.models.loras import by_name
from inkpunk.models.machine import machine_of, threads_of
from inkpunk.models.model import Model
from inkpunk.models.trained_for import schedule_in_words


def facts_of_model(model: Model) -> dict[str, Any]:
    """The fields of `Facts` that every picture of a model has."""
    return {
        "model": model.name,
        "model_hash": readable_hash(model_hash, model.path) if model.path else "",
        "note": model.defaults.note,
        "version": version("inkpunk"),
        "noise_schedule": schedule_in_words(model.schedule),
        "ema": model.loaded.ema,
        "device": model.device.type,
        "dtype": str(model.precision).removeprefix("torch."),
        "low_memory": model.loaded.halved,
        "tiled": model.tiled,
        "speed": model.loaded.speed,
        "deterministic": model.loaded.deterministic,
        "prediction": model.prediction,
        "zero_snr": model.schedule.zero_snr,
        "threads": threads_of(model.device),
        "machine": machine_of(model.device),
        "loras": {name: lora.weights for name, lora in by_name(model.loras).items()},
    }
