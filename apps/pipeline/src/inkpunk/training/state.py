"""A training that was stopped, as a file beside its result: whoever asks for the same again goes on from there."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from inkpunk.pictures.atomic import write_atomically
from inkpunk.training.errors import TrainingError
from inkpunk.training.loop import Training, TrainingStep

ENDING = ".state.safetensors"
KEY = "inkpunk.training"
SECONDS = 60  # between two savings

Terms = Mapping[str, str]
"""What a training is of: settings, pictures, model; one of another cannot go on from its state."""


def state_path(out: Path) -> Path:
    """Where the state of the training is kept whose result is `out`."""
    return out.with_name(out.stem + ENDING)


def save_state(path: Path, training: Training, terms: Terms) -> None:
    """Write the state that a training is in; it replaces the one before when it is whole.

    Raises:
        OSError: if the folder is not writable, or full.
    """
    told = {"step": training.step, "smoothed": training.smoothed, "terms": dict(terms)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in training.state_dict().items()}
    write_atomically(path, save(tensors, {KEY: json.dumps(told)}), overwrite=True)


def load_state(path: Path, training: Training, terms: Terms) -> bool:
    """Have a training go on from where its state says; False if there is none.

    Raises:
        TrainingError: for a file that is no such state, or that of another training, by what differs.
    """
    if not path.exists():
        return False
    begin_anew = "delete it to begin anew"
    try:
        with cast(Any, safe_open(path, framework="pt")) as file:
            told = json.loads(cast("dict[str, str]", file.metadata() or {})[KEY])
            were = cast("dict[str, str]", told["terms"])
            differing = [name for name in {**were, **terms} if were.get(name) != terms.get(name)]
            if differing:
                what = "; ".join(
                    f"{name} {were.get(name, 'none')}, now {terms.get(name, 'none')}" for name in differing
                )
                raise TrainingError(f"{path}: of a training that differs ({what}); {begin_anew}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
        training.load_state_dict(tensors, int(told["step"]), float(told["smoothed"]))
    except TrainingError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise TrainingError(f"{path}: not the state of a training, or damaged; {begin_anew}") from error
    return True


def saving(path: Path, training: Training, terms: Terms, every: float = SECONDS) -> Iterator[TrainingStep]:
    """The steps of a training, which is saved every so many seconds, and after the last."""
    saved = monotonic()
    for step in training.steps():
        if step.index == step.total or monotonic() - saved >= every:
            save_state(path, training, terms)
            saved = monotonic()
        yield step
