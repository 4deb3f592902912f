"""The settings of an infotext, taken one after the other, so that what nobody took can be told."""

from collections.abc import Iterable

from inkpunk.pictures.others.plain import in_a_line
from inkpunk.pictures.others.told import Telling


class Settings:
    """Pairs of an infotext, by key; of a key that stands twice, the first counts."""

    def __init__(self, pairs: Iterable[tuple[str, object]], told: Telling) -> None:
        """Take the pairs; those that stand twice with other values are noted."""
        self._left = dict[str, object]()
        for key, value in pairs:
            if key in self._left and self._left[key] != value:
                told.note(key, value, "stands there twice")
            self._left.setdefault(key, value)

    def take(self, key: str) -> str | None:
        """A setting as text, once; None where there is none, or an empty one."""
        value = self._left.pop(key, None)
        if value is None or value == "":
            return None
        return value if isinstance(value, str) else in_a_line(value)

    def take_any(self, *keys: str) -> str | None:
        """The first that is there, of one setting's several names."""
        taken = [self.take(key) for key in keys]
        return next((each for each in taken if each is not None), None)

    def take_value(self, key: str) -> object:
        """A setting that may be JSON, as it is."""
        return self._left.pop(key, None)

    def take_all(self, beginning: str) -> dict[str, str]:
        """Those whose keys begin so."""
        return {key: self.take(key) or "" for key in [*self._left] if key.startswith(beginning)}

    def has(self, key: str) -> bool:
        """Whether a setting is there and was not taken."""
        return self._left.get(key) not in (None, "")

    def note_the_rest(self, told: Telling, idle: Iterable[str]) -> None:
        """Note what nobody took, but for what changes nothing."""
        for key, value in self._left.items():
            if key not in idle and value != "":
                told.note(key, value)
