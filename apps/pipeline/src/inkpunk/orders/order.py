"""An order: one picture, asked for in plain values."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inkpunk.models.hashing import file_hash, model_hash
from inkpunk.orders.choice import ChoiceError, ModelChoice
from inkpunk.orders.options import MODEL, OPTIONS, argument, number, settings_of, whole
from inkpunk.orders.values import OrderError, Value
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.formats import check_writable
from inkpunk.road.given import GivenError

if TYPE_CHECKING:
    from inkpunk.request import Request

MACHINE = ("device", "offload", "compile")
"""What says where a picture is drawn, and not which: another machine may go on with an order under the same key."""
MOST_FILES = 2000  # in a folder that an order names: models and lists have some dozens
RELATIVE = re.compile(r"\s*([+-]\s*\d+(?:\.\d*)?)\s*")


@dataclass(frozen=True)
class Order:
    """One picture, asked for in plain values. Make one with `Order.read`.

    Attributes:
        values: by the long names of `inkpunk generate`'s and `inkpunk edit`'s options, as `{"prompt": "a raven",
            "seed": 3, "clip-skip": 2, "lora": ("neon.safetensors:0.8",)}`. What is left open is not among them.
            Paths are relative to the working folder.
    """

    values: Mapping[str, Value]

    @classmethod
    def read(cls, values: Mapping[str, object]) -> "Order":
        """Check names and kinds, as far as they can be judged without a picture or a model.

        Args:
            values: text, numbers, true or false, lists of text; numbers may be text, and names may have "_" for "-".
                None is not given.

        Raises:
            OrderError: for a name that no option has, one that stands twice, or a value of another kind.
        """
        read = dict[str, Value]()
        for told, value in values.items():
            name = told.replace("_", "-")
            if name not in OPTIONS:
                close = get_close_matches(name, OPTIONS, 1)
                hint = f"did you mean {close[0]}?" if close else f"use {', '.join(OPTIONS)}"
                raise OrderError(f"{told!r}: there is no such option; {hint}")
            if name in read:
                raise OrderError(f"{name}: is given twice")
            if value is None:
                continue
            try:
                read[name] = OPTIONS[name](name, value)
            except GivenError as error:
                raise OrderError(str(error)) from error
        if "prompt" not in read:
            raise OrderError('there is no prompt; give one, as {"prompt": "a raven"}')
        order = cls(read)
        order._check()
        return order

    def _check(self) -> None:
        try:
            check_writable(self.form, quality=self.quality, alpha=bool(self.values.get("keep-alpha")))
            self.choice  # noqa: B018  # refuses for itself
        except (PictureError, ChoiceError) as error:
            raise OrderError(str(error)) from error

    def request(self) -> "Request":
        """What is asked of the pipeline; pictures to begin from and to follow are read.

        Raises:
            RequestError: for what can be refused without the model.
        """
        from inkpunk.request import Request
        from inkpunk.road.settings import fields_of

        return Request(**fields_of(**self._settings))

    @property
    def choice(self) -> ModelChoice:
        """The model that draws it, and how it is loaded."""
        told: Any = {argument(name): value for name, value in self.values.items() if name in MODEL}
        return ModelChoice(**told)

    @property
    def form(self) -> str:
        """What it is saved as: "png" where nothing else is said."""
        return str(self.values.get("format", "png"))

    @property
    def quality(self) -> int | None:
        """With which quality; None for the usual."""
        value = self.values.get("quality")
        return value if isinstance(value, int) else None

    @property
    def seed(self) -> int | None:
        """Its seed; None where it is left open."""
        value = self.values.get("seed")
        return value if isinstance(value, int) else None

    @cached_property
    def key(self) -> str:
        """What tells it from all others: the SHA-256 of what it says and of the files that it names, in hex digits.

        Values that are the usual ones anyway, and where it is drawn, change nothing of it.

        Raises:
            OrderError: the seed is left open, so that it is not one picture; a folder of too many files is named.
        """
        if self.seed is None:
            raise OrderError("there is no seed, so that it is not one picture; give one, as 7")
        usual = asdict(ModelChoice())
        choice = {
            name: value
            for name, value in asdict(self.choice).items()
            if name not in MACHINE and value != usual[name]
        }
        told = {
            "request": {name: value for name, value in self._settings.items() if value != _usual(name)},
            "model": choice,
            "file": [self.form, self.quality],
            "contents": {str(path): _content(path) for path in self.files() if path.exists()},
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode(errors="surrogatepass")).hexdigest()

    def files(self) -> Iterator[Path]:
        """The files and folders that it may name, whether they are there or not."""
        from inkpunk.models.loras import Lora
        from inkpunk.road.control import Control
        from inkpunk.road.image_prompts import ImagePrompt
        from inkpunk.road.regions import Region

        choice = self.choice
        for name in ("init", "mask", "upscaler", "wildcards"):
            if name in self.values:
                yield Path(str(self.values[name]))
        for name, ready in (("control", False), ("hint", True)):
            yield from (_path(Control.read(each, ready=ready).picture) for each in self._texts(name))
        yield from (_path(ImagePrompt.read(each).picture) for each in self._texts("image-prompt"))
        yield from (_path(Region.read(each).mask) for each in self._texts("region"))
        yield from (Path(Lora.read(each).file) for each in choice.loras)
        yield from map(Path, (*choice.embeddings, *choice.nets_by_kind.values()))
        for each in (
            choice.model,
            choice.lora_folder,
            choice.ip_adapter,
            choice.image_encoder,
            choice.tiny_vae,
        ):
            if each is not None:
                yield Path(each)

    def changed(self, changes: Mapping[str, object]) -> "Order":
        """The same order, but for what is told anew; text such as "+1" or "-0.5" counts on from a number.

        Raises:
            OrderError: as `read`; for counting on from what is not said.
        """
        told = {name.replace("_", "-"): value for name, value in changes.items()}
        return self.read(
            {**self.values, **{name: self._counted(name, value) for name, value in told.items()}}
        )

    def _counted(self, name: str, value: object) -> object:
        read = OPTIONS.get(name)
        if not isinstance(value, str) or read not in (whole, number):
            return value
        match, before = RELATIVE.fullmatch(value), self.values.get(name)
        if match is None:
            return value
        if not isinstance(before, int | float):
            raise OrderError(f"{name}={value}: counts on from what is not said; give a number without a sign")
        by = "".join(match[1].split())
        return before + (int(by) if read is whole and by.lstrip("+-").isdigit() else float(by))

    @property
    def _settings(self) -> dict[str, Any]:
        """What it says of the request, by the names of Python's arguments."""
        return settings_of(self.values)

    def _texts(self, name: str) -> tuple[str, ...]:
        value = self.values.get(name, ())
        return value if isinstance(value, tuple) else ()


def _usual(name: str) -> object:
    from inkpunk.request import Request

    return next((each.default for each in fields(Request) if each.name == name), None)


def _path(picture: object) -> Path:
    return Path(str(picture))  # as it was told: nothing is read yet


def _content(path: Path) -> str:
    try:
        seen = path.stat()
    except OSError:
        return ""
    return _hash(path, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=1024)
def _hash(path: Path, changed: int, size: int) -> str:
    """What a file, or a folder of weights or of lists, is known by; "" where it cannot be read.

    Raises:
        OrderError: for a folder of so many files that it cannot be meant.
    """
    try:
        if not path.is_dir():
            return file_hash(path)
        held = sorted(islice(path.rglob("*"), MOST_FILES + 1))
        if len(held) > MOST_FILES:
            raise OrderError(
                f"{path}: a folder of more than {MOST_FILES:,} files; name the one that is meant"
            )
        lists = [file_hash(each) for each in held if each.suffix == ".txt" and each.is_file()]
        return " ".join([model_hash(path), *lists])
    except (OSError, RuntimeError):
        return ""
