"""Image prompts, as a user asks for them: pictures that say what to draw, beside the words."""

import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from inkpunk.road import given

MOST_WEIGHT = 100.0


class ImagePromptError(ValueError):
    """An image prompt that cannot be; the message says which, why, and what to do."""


@dataclass(frozen=True)
class ImagePrompt:
    """A picture that says what to draw, beside the words, as a user asks for it.

    Attributes:
        picture: a picture of Pillow's, or the path of one.
        weight: how much it counts beside the words; 1 is as the adapter was trained, 0 nothing.

    Raises:
        ImagePromptError: for a weight that is not a number between -100 and 100.
    """

    # by tests' checker of types: what is given is checked here, and said in our words
    __no_type_check__ = True

    picture: Image.Image | str | Path
    weight: float = 1.0

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "weight", given.number("weight", self.weight))  # frozen for all others
        except given.GivenError as error:
            raise ImagePromptError(f"image prompt, {error}") from error
        if not abs(self.weight) <= MOST_WEIGHT:  # NaN is neither
            raise ImagePromptError(f"image prompt: weight {self.weight:g} cannot be; 0.5 to 1 is usual")

    @classmethod
    def read(cls, text: str) -> "ImagePrompt":
        """Read PICTURE or PICTURE:WEIGHT, as style.png:0.6.

        Raises:
            ImagePromptError: for any other text.
        """
        match = re.fullmatch(r"(.+?)(?::([+-]?(?:\d+\.?\d*|\.\d+)))?", text, re.DOTALL)
        if match is None:
            raise ImagePromptError(
                f"image prompt {text!r}: is not PICTURE or PICTURE:WEIGHT, as style.png:0.6"
            )
        if match[2] is None or Path(text).exists():  # a name that ends as a weight would
            return cls(text)
        return cls(match[1], float(match[2]))

    @property
    def kept(self) -> Image.Image:
        """Its picture, once it was read.

        Raises:
            ImagePromptError: it was not.
        """
        if not isinstance(self.picture, Image.Image):
            raise ImagePromptError(f"image prompt {self.picture}: was not read; give it to a Request")
        return self.picture
