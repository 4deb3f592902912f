"""What an adapter's file tells of itself: kohya's notes on its training, modelspec's, and our own reading of it."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from inkpunk_weights import Adapter, open_adapter

from inkpunk.models.trained_for import MOST_NOTES

SHOWN = 12  # words of captions
MOST_SHOWN = 300  # characters of a note
BASES = {
    "sd_v1": "Stable Diffusion v1",
    "sd_v2": "Stable Diffusion v2",
    "sdxl_base_v1-0": "Stable Diffusion XL",
}
NOTES = {  # what is told, and the keys that may have it: the first that is there
    "title": ("modelspec.title", "ss_output_name", "name"),
    "author": ("modelspec.author",),
    "description": ("modelspec.description",),
    "licence": ("modelspec.license",),
    "trained on": ("ss_sd_model_name",),
    "pictures": ("ss_num_train_images",),
    "steps": ("ss_steps",),
    "epochs": ("ss_num_epochs",),
    "learning rate": ("ss_learning_rate",),
    "size": ("ss_resolution", "modelspec.resolution"),
    "network": ("ss_network_module",),
    "comment": ("ss_training_comment",),
}


def describe_adapter(path: Path) -> dict[str, object]:
    """What an adapter is, by the names of what is told; None for what its file does not say.

    Raises:
        CheckpointError: for a file that is no adapter.
    """
    adapter = open_adapter(path)
    metadata = adapter.metadata
    told = {name: _first(metadata, keys) for name, keys in NOTES.items()}
    return {
        "kind": f"{adapter.kind}, in {adapter.layout}'s layout",
        "layers": _layers(adapter),
        "rank": _ranks(adapter.ranks),
        "base model": _base(metadata),
        "trigger words": _triggers(metadata),
        **told,
        "no place for": _some(adapter.placeless),
        "not read": _some(adapter.unknown),
        "not imported": _some(adapter.imports),
    }


def _layers(adapter: Adapter) -> str:
    counts = {"UNet": len(adapter.unet), "text encoder": len(adapter.text_encoder)}
    return (
        ", ".join(f"{count} of the {name}" for name, count in counts.items() if count) or "none that we know"
    )


def _ranks(ranks: Mapping[int, int]) -> str | None:
    if len(ranks) <= 1:
        return next((str(rank) for rank in ranks), None)
    return ", ".join(f"{rank} ({count} layers)" for rank, count in ranks.items())


def _base(metadata: Mapping[str, object]) -> str | None:
    said = _first(metadata, ("ss_base_model_version", "modelspec.architecture"))
    return None if said is None else BASES.get(said, said)


def _triggers(metadata: Mapping[str, object]) -> str | None:
    """The words that call it: those that it names, or else those that its training's captions have most often."""
    if told := _first(metadata, ("modelspec.trigger_phrase", "trigger_words", "ss_trigger_words")):
        return told
    counts = Counter[str]()
    for folder in _json(metadata, "ss_tag_frequency").values():
        for tag, count in cast("dict[str, object]", folder).items() if isinstance(folder, dict) else ():
            if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 1 << 31:
                counts[_shown(tag)] += count
    if not counts:
        return None
    return ", ".join(f"{tag} ({count})" for tag, count in counts.most_common(SHOWN)) + " in its captions"


def _json(metadata: Mapping[str, object], key: str) -> Mapping[str, Any]:
    text = metadata.get(key)
    if not isinstance(text, str) or len(text) > MOST_NOTES:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _first(metadata: Mapping[str, object], keys: tuple[str, ...]) -> str | None:
    found = (metadata.get(key) for key in keys)
    return next((_shown(str(value)) for value in found if value not in (None, "", "None", "{}")), None)


def _shown(text: str) -> str:
    """A stranger's text on one line, not too long."""
    line = " ".join(text.split())
    line = line if len(line) <= MOST_SHOWN else f"{line[: MOST_SHOWN - 3]}..."
    return line if line.isprintable() else repr(line)


def _some(names: tuple[str, ...], shown: int = 3) -> str | None:
    if not names:
        return None
    return ", ".join(map(_shown, names[:shown])) + (
        f" and {len(names) - shown} more" if names[shown:] else ""
    )
