"""What an animation of a travel remembers: the facts of every frame, and its pace."""

import json
from dataclasses import asdict, dataclass
from typing import Any, cast

from inkpunk.pictures.facts import Facts, PictureError


@dataclass(frozen=True)
class TravelFacts:
    """All it takes to draw a travel again.

    Attributes:
        frames: the facts of each, in the order they were drawn.
        fps: frames a second.
        there_and_back: whether they are shown backwards after that, to begin anew where they began.
    """

    frames: tuple[Facts, ...]
    fps: float
    there_and_back: bool = False

    def to_json(self) -> str:
        """The first frame's facts, as `Facts.to_json` has them, and in `travel` how each frame differs.

        `Facts.from_json` passes over the latter, and so reads the first frame's.
        """
        base = asdict(self.frames[0])
        frames = [
            {name: value for name, value in asdict(frame).items() if value != base[name]}
            for frame in self.frames
        ]
        travel = {"fps": self.fps, "there_and_back": self.there_and_back, "frames": frames}
        return json.dumps(base | {"travel": travel})

    @classmethod
    def from_json(cls, text: str) -> "TravelFacts":
        """Read `to_json`'s text, which may come from a stranger.

        Raises:
            PictureError: for anything but the facts of a travel, each of its type.
        """
        Facts.from_json(text)  # refuses what is not even the facts of a picture
        base = cast("dict[str, Any]", json.loads(text))
        travel = base.pop("travel", None)
        if travel is None:
            raise PictureError("the facts of a single picture, not of a travel")
        try:
            frames = tuple(Facts.from_values({**base, **frame}) for frame in travel["frames"])
            fps, back = travel["fps"], travel["there_and_back"]
        except (KeyError, TypeError) as error:
            raise PictureError(f"the travel's facts are not as inkpunk writes them: {error!r}") from error
        if not frames or not isinstance(fps, int | float) or not isinstance(back, bool):
            raise PictureError("the travel's facts are not as inkpunk writes them")
        return cls(frames, float(fps), back)
