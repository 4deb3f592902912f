"""Which of a model repository's files are worth downloading."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import groupby
from pathlib import PurePosixPath

from inkpunk.models.vocabulary import FILES as TOKENIZER_FILES

MODEL_INDEX = "model_index.json"
COMPONENTS = ("text_encoder", "unet", "vae")
SINGLE_FILES = (".safetensors", ".ckpt")  # in the order of preference
IMAGE_ENCODERS = ("image_encoder", "models/image_encoder")  # in the order of preference
NETWORK_FILES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
_SMALL_FILES = (
    MODEL_INDEX,
    "scheduler/scheduler_config.json",
    *(f"tokenizer/{name}" for name in TOKENIZER_FILES),
    *(f"{name}/config.json" for name in COMPONENTS),
)
_OTHER_MODELS = (
    "text_encoder_2",
    "transformer",
    "prior",
    "image_encoder",
)  # a folder that SD v1 does not have

# diffusion_pytorch_model.fp16.safetensors, model-00001-of-00002.safetensors, pytorch_model.bin.index.json ...
# Programs and their versions disagree on where the variant stands in the names of shards and of their index, and a
# repository may have the shards of one and the index of another.
_WEIGHTS = re.compile(
    r"(?P<base>diffusion_pytorch_model|pytorch_model|model)"
    r"(?:\.(?P<variant>fp16))?(?:-(?P<shard>\d{5})-of-(?P<shards>\d{5})(?:\.(?P<late_variant>fp16))?)?"
    r"\.(?P<kind>safetensors|bin)"
    r"(?P<index>(?:\.(?P<old_index_variant>fp16)\.index|\.index(?:\.(?P<index_variant>fp16))?)\.json)?"
)


class FilesError(ValueError):
    """A repository with nothing to choose, or too much; the message goes on from the repository's name."""


def choose_files(names: Collection[str], *, half: bool = False) -> list[str]:
    """Choose the files that make a Stable Diffusion v1 model, and none besides.

    Of a diffusers layout: the configs, the tokenizer, and one set of weights a component. Else the single-file
    checkpoint, with the config of its name beside it.
    Safety checker and the same weights in other formats are left where they are.

    Args:
        names: every file of the repository, by its path in it.
        half: prefer float16 weights, half the download, for a model that will compute in half precision.
            Otherwise they are taken only where there are no others.

    Raises:
        FilesError: there is no such model, or several single-file checkpoints to choose from.
    """
    if others := [name for name in _OTHER_MODELS if any(file.startswith(f"{name}/") for file in names)]:
        raise FilesError(
            f"has a {others[0]}, which Stable Diffusion v1 has not; this draws with v1 models only"
        )
    singles = _single_files(names)
    if MODEL_INDEX not in names:
        return with_config(_only(singles), names)
    chosen = {component: _component_weights(names, component, half) for component in COMPONENTS}
    if absent := [component for component, weights in chosen.items() if not weights]:
        if singles:
            return with_config(_only(singles), names)
        raise FilesError(f"has no weights for its {' and '.join(absent)}, as .safetensors or .bin")
    small = [name for name in _SMALL_FILES if name in names]
    return [*small, *(file for weights in chosen.values() for file in weights)]


def choose_network_files(names: Collection[str], *, half: bool = False) -> list[str]:
    """Choose the files of a repository that is one network in diffusers' layout: its config, and one set of weights.

    Raises:
        FilesError: it is none.
    """
    weights = _component_weights(names, "", half)
    if not weights:
        singles = sorted(name for name in names if name.endswith(NETWORK_FILES))
        some = f"; add the name of one of its files: {', '.join(singles[:8])}" if singles else ""
        raise FilesError(f"is not one network: no diffusion_pytorch_model.safetensors{some}")
    return [*(["config.json"] if "config.json" in names else []), *weights]


def choose_image_encoder_files(names: Collection[str], *, half: bool = False) -> list[str]:
    """Choose the files of the image encoder in a repository of image prompts: its config, and one set of weights.

    Raises:
        FilesError: there is none.
    """
    for folder in ("", *IMAGE_ENCODERS):
        if weights := _component_weights(names, folder, half):
            config = f"{folder}/config.json".removeprefix("/")
            return [*([config] if config in names else []), *weights]
    raise FilesError("has no image encoder; give a repository or a file of one as --image-encoder")


def _component_weights(names: Iterable[str], component: str, half: bool) -> list[str]:
    """The files of one component's best complete set of weights; empty if there is none."""
    whole = list[tuple[tuple[bool, ...], list[str]]]()
    shards = defaultdict[tuple[bool, str, str, bool, int], list[str]](list)
    indexes = defaultdict[tuple[bool, str, str], dict[bool, str]](dict)
    for name in sorted(names):
        folder, _, file = name.rpartition("/")
        match = _WEIGHTS.fullmatch(file) if folder == component else None
        if match is None:
            continue
        late = bool(match["late_variant"] or match["old_index_variant"])
        is_half = late or bool(match["variant"] or match["index_variant"])
        group = is_half, match["kind"], match["base"]
        if match["index"]:
            if not match["shards"]:
                indexes[group].setdefault(late, name)
        elif match["shards"]:
            shards[*group, late, int(match["shards"])].append(name)
        else:
            whole.append(((is_half != half, match["kind"] != "safetensors", False, False), [name]))
    for (is_half, kind, base, late, count), files in shards.items():
        found = indexes[is_half, kind, base]
        if (
            len(files) == count and found
        ):  # all shards, and an index: the one that is named as they are, if any
            index = found.get(late) or next(iter(found.values()))
            whole.append(((is_half != half, kind != "safetensors", True, late), [*files, index]))
    return sorted(min(whole)[1]) if whole else []


def _single_files(names: Iterable[str]) -> list[str]:
    """Single-file checkpoints at the top of the repository, each in its better format."""
    top = sorted(name for name in names if "/" not in name and name.endswith(SINGLE_FILES))
    by_stem = groupby(top, key=lambda name: PurePosixPath(name).stem)
    return [min(same, key=lambda name: SINGLE_FILES.index(PurePosixPath(name).suffix)) for _, same in by_stem]


def with_config(single: str, names: Collection[str]) -> list[str]:
    """A single file, and the config of its training where that is beside it."""
    config = str(PurePosixPath(single).with_suffix(".yaml"))
    return [single, config] if config in names else [single]


def _only(singles: list[str]) -> str:
    if not singles:
        raise FilesError("holds no Stable Diffusion checkpoint: neither a model_index.json nor a single file")
    if len(singles) > 1:
        listed = ", ".join(singles[:8]) + (", ..." if len(singles) > 8 else "")
        raise FilesError(f"holds several checkpoints; add the name of one: {listed}")
    return singles[0]
