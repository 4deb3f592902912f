"""Which model drew a picture, found again: by where it was, by its hash among all that was hashed, or in folders."""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inkpunk.memory.devices import DeviceError, choose_device
from inkpunk.models.finding import alike, find
from inkpunk.models.hashing import LENGTH, short_hash
from inkpunk.models.hub import SKETCH
from inkpunk.orders.values import Value
from inkpunk.pictures.facts import Facts, PictureError
from inkpunk.road.lora_tags import TagError, split_tags
from inkpunk.road.recalling import kind_of

_TOLD = re.compile(r"(.*) \[([0-9a-f]*)\]", re.DOTALL)
MODEL_ENDINGS = (".safetensors", ".ckpt", "")


def choice_of(facts: Facts, told: Collection[str], folders: Sequence[Path]) -> dict[str, Value | None]:
    """What a picture's model was, and how it was loaded, by the long names of options; weights are found.

    Args:
        facts: what the picture carries.
        told: names of options that are told anew, and so not looked for.
        folders: to look in for what is neither where it was nor was hashed before.

    Raises:
        PictureError: for weights that are not found.
    """
    files = _Files(facts, folders)
    nets = {
        kind_of(name): files.of(f"control {name}", *_parts(each)) for name, each in facts.control_nets.items()
    }
    looks = {
        "model": lambda: files.model(),
        "lora": lambda: tuple(
            f"{files.needed(f'lora {name}', name, facts.lora_hashes.get(name, ''))}:{weight}"
            for name, weight in facts.loras.items()
        ),
        "lora-folder": files.lora_folder,
        "embedding": lambda: tuple(
            files.needed(f"embedding {word}", word, digits) for word, digits in facts.embeddings.items()
        ),
        "control-net": lambda: tuple(f"{kind}={path}" for kind, path in nets.items() if path is not None),
        "ip-adapter": lambda: files.net("adapter"),
        "image-encoder": lambda: files.net("encoder"),
        "tiny-vae": lambda: facts.tiny_vae and files.needed("tiny vae", *_parts(facts.tiny_vae)),
        "upscaler": lambda: (
            files.needed("upscaler", *_parts(facts.enlarged["upscaler"]))
            if "upscaler" in facts.enlarged
            else None
        ),
    }
    found = {name: look() or None for name, look in looks.items() if name not in told}
    return {
        **found,
        **_machine(facts),
        "tiled": facts.tiled or None,
        "low-memory": facts.low_memory or None,
        "ema": facts.ema or None,
        "deterministic": facts.deterministic or None,
        "prediction": facts.prediction,
        "zero-snr": facts.zero_snr,
        **_speed(facts.speed),
    }


def _machine(facts: Facts) -> dict[str, Value | None]:
    """Where it was computed, and in which precision; of a device that is not here, the usual of this machine."""
    try:
        choose_device(facts.device)
    except DeviceError:
        return {}
    return {"device": facts.device, "dtype": facts.dtype}


def _speed(told: str) -> dict[str, Value | None]:
    """The ways of speed that `Speed.told` tells."""
    without = told.removesuffix("compiled").removesuffix("; ").removeprefix("without ")
    return {
        "without": tuple(without.split(", ")) if without else None,
        "compile": told.endswith("compiled") or None,
    }


def _parts(told: str) -> tuple[str, str]:
    """Name and hash, of "name [hash]"."""
    found = _TOLD.fullmatch(told)
    return (found[1], found[2]) if found else (told, "")


@dataclass(frozen=True)
class _Files:
    facts: Facts
    folders: Sequence[Path]

    def of(self, what: str, name: str, digits: str) -> str | None:
        """Where a file of weights is, or the hub id that it was given by; None where nobody knows."""
        given = self.facts.weights.get(what)
        if given and digits and Path(given).exists() and alike(short_hash(Path(given)), digits):
            return given
        if digits and (found := find(digits, name, self.folders)):
            return _shown(found)
        return given

    def needed(self, what: str, name: str, digits: str) -> str:
        """As `of`; refuses where nobody knows."""
        found = self.of(what, name, digits)
        if found is None:
            option = what.partition(" ")[0] if what != "tiny vae" else "tiny-vae"
            raise PictureError(
                f"{what}: {name} [{digits}] is not where files were hashed before; give it as --with {option}=FILE, "
                "or a folder to look in as --models FOLDER"
            )
        return found

    def net(self, what: str) -> str | None:
        """Where the adapter of image prompts, or their encoder, is."""
        told = self.facts.image_prompt_nets.get(what)
        return None if told is None else self.needed(what, *_parts(told))

    def model(self) -> str:
        """Where the model is, or its hub id."""
        name, digits = self.facts.model, self.facts.model_hash
        if name == SKETCH:
            return name
        here = [Path(f"{name}{ending}") for ending in MODEL_ENDINGS]
        there = [each for each in here if each.exists()]
        if same := next((each for each in there if alike(short_hash(each)[:LENGTH], digits)), None):
            return str(same)
        found = self.of("model", name, digits)
        if found is None and "/" in name:
            return name  # of the hub
        if found is None and there:
            return str(there[0])  # of another hash: what differs is told
        return found or self.needed("model", name, digits)

    def lora_folder(self) -> str | None:
        """The folder in which the prompt's own adapters are called by their names."""
        try:
            tags = [] if self.facts.plain_prompt else [each.file for each in split_tags(self.facts.prompt)[1]]
        except TagError:
            return None
        hashes = {name.rpartition("/")[2]: digits for name, digits in self.facts.lora_hashes.items()}
        homes = [*self._homes(map(str, tags), hashes)]
        return os.path.commonpath(homes) if homes else None

    def _homes(self, names: Iterator[str], hashes: dict[str, str]) -> Iterator[str]:
        for name in names:
            digits = hashes.get(Path(name).stem, "")
            found = find(digits, Path(name).stem, self.folders) if digits else None
            if found is not None and not Path(name).exists():
                whole = found.with_suffix("").as_posix()
                yield whole.removesuffix(name) if whole.endswith(f"/{name}") else str(found.parent)


def _shown(path: Path) -> str:
    """A path, from the working folder where it is below that."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
