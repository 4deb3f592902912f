"""Which models there are, by names: those listed may be chosen, and no others."""

from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from threading import Lock

from inkpunk.models.hashing import remembered
from inkpunk.models.hub import SKETCH
from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.values import OrderError

from inkpunk_studio.settings import Settings
from inkpunk_studio.work.folders import bytes_of, models_of_hub, weights_in
from inkpunk_studio.work.inspecting import CHECKPOINTS, Inspected, unet_of
from inkpunk_studio.work.networks import Networks
from inkpunk_studio.work.words import Word, Words

HASH_DIGITS = 10  # that recipes, and AUTOMATIC1111's lists, have


@dataclass(frozen=True)
class Known:
    """A model that can be chosen.

    Attributes:
        name: what it is chosen by.
        title: the name, and its hash where that is known, as AUTOMATIC1111 writes it.
        hash: the first 10 digits of its SHA-256; None where nobody has reckoned it yet.
        bytes: its size on disk; None where that is not known.
    """

    name: str
    title: str
    hash: str | None
    bytes: int | None


class Models:
    """The models that are there: the sketch, the one it was started with, those in its folders and the hub's cache.

    Names are the files' own, without folder and ending; of files in folders within, with these before it.

    Attributes:
        networks: control networks, adapters and the like that lie in the same folders; what a file is decides.
        words: learned words, likewise.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.networks = Networks(settings)
        self.words = Words(settings)
        self._lock = Lock()
        self._current = _name_of(settings.choice.model)

    @property
    def current(self) -> str:
        """The name of the model that draws orders which name none."""
        with self._lock:
            return self._current

    def use(self, name: str) -> str:
        """Have a model draw orders which name none; those that wait keep theirs. Gives its name.

        Raises:
            OrderError: for one that is not listed.
        """
        found = self.named(name)
        with self._lock:
            self._current = found
        return found

    def known(self) -> tuple[Known, ...]:
        """All, the one that the studio was started with first; the folders are looked through anew each time."""
        hashes = remembered()

        def known(name: str, place: str) -> Known:
            path = Path(place)
            told = hashes.get(path.resolve()) if path.is_file() else None
            short = told[:HASH_DIGITS] if told else None
            return Known(name, f"{name} [{short}]" if short else name, short, bytes_of(path))

        return tuple(known(name, place) for name, place in self._places().items())

    def named(self, told: str) -> str:
        """The name of a listed model that is told by its name, its title, or its file's name.

        Raises:
            OrderError: for any other text.
        """
        places = self._places()
        name = told.split(" [", 1)[0].strip()
        if name in places:
            return name
        for ending in CHECKPOINTS:
            if name.endswith(ending) and name.removesuffix(ending) in places:
                return name.removesuffix(ending)
        close = get_close_matches(name, places, 1) or [self.current]
        raise OrderError(f"model {told[:60]!r}: is not among those listed; did you mean {close[0]!r}?")

    def choice(self, name: str | None = None) -> ModelChoice:
        """How a listed model is loaded; None is the current one. Learned words come when a picture is drawn.

        Raises:
            OrderError: for one that is not listed.
        """
        found = self.current if name is None else self.named(name)
        return replace(self._settings.choice, model=self._places()[found], embeddings=())

    def shape(self, name: str) -> Inspected:
        """What networks have to fit to draw with a listed model, as far as files tell it before it is loaded.

        Raises:
            OrderError: for one that is not listed.
        """
        place = self._places()[self.named(name)]
        if place == SKETCH:
            import inkpunk_sketch

            place = str(inkpunk_sketch.weights())
        return unet_of(Path(place).expanduser())

    def words_for(self, name: str | None = None) -> tuple[Word, ...]:
        """The learned words that prompts for a model may use, or for the current one; what is not listed has none."""
        try:
            return self.words.fitting(self.shape(name or self.current))
        except OrderError:
            return ()

    def name_of(self, model: str) -> str:
        """The name of a listed model, of what `Pipeline.load` takes for it.

        Raises:
            OrderError: for one that is not listed.
        """
        for name, place in self._places().items():
            if place == model:
                return name
        raise OrderError("the model is not among those listed")

    def _places(self) -> dict[str, str]:
        """By name, what `Pipeline.load` takes."""
        told = self._settings.choice.model
        places = {_name_of(told): told}
        places.setdefault(SKETCH, SKETCH)
        for folder in self._settings.models:
            for name, path, inspected in weights_in(folder):
                if inspected.kind == "model" and not _same(str(path), told):
                    places.setdefault(name, str(path))
        if self._settings.hub is not None:
            for name, snapshot in models_of_hub(self._settings.hub):
                places.setdefault(name, str(snapshot))
        return places


def _name_of(model: str) -> str:
    path = Path(model).expanduser()
    if not path.exists():
        return model  # the sketch, or a name on the hub
    return path.stem if path.is_file() else path.name


def _same(one: str, other: str) -> bool:
    with suppress(OSError):
        return Path(one).resolve() == Path(other).expanduser().resolve()
    return False
