"""Where the field's programs read a prompt differently: every difference is an option of `Language`."""

from collections.abc import Mapping
from dataclasses import dataclass

from inkpunk_clip.prompts.chunks import CHUNKINGS
from inkpunk_clip.prompts.emphasis import EMPHASES
from inkpunk_clip.prompts.grammar import GRAMMARS

PADDINGS = ("repeat", "empty")


@dataclass(frozen=True)
class Language:
    """How a program reads prompts; the defaults are ours.

    Attributes:
        grammar: a name in `GRAMMARS`.
        emphasis: how weights act, a name in `EMPHASES`.
        chunking: how a long prompt is divided, a name in `CHUNKINGS`.
        padding: how the shorter of two prompts, of fewer chunks, is made as long as the other: "repeat" repeats both
            to their common multiple, which changes nothing, since attention takes a mean; "empty" adds the encoding
            of empty chunks, which do take part.
        late: after how many steps more than it says a switch of text comes.
        together: whether the texts of a prompt that changes are weighed, and made as long, as one batch: then what
            comes later has a part in the mean that "mean" keeps.

    Raises:
        ValueError: for a choice that there is not.
    """

    grammar: str = "inkpunk"
    emphasis: str = "mean"
    chunking: str = "commas"
    padding: str = "repeat"
    late: int = 0
    together: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        for name, choices in (
            ("grammar", GRAMMARS),
            ("emphasis", EMPHASES),
            ("chunking", CHUNKINGS),
            ("padding", PADDINGS),
        ):
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name} {value!r}: there is none of that name; use {', '.join(choices)}")
        if self.late < 0:
            raise ValueError(f"late {self.late}: a switch cannot come before its step")


# AUTOMATIC1111 pads with empty chunks only if told to ("Pad prompt/negative prompt"); else each side is as long as it
# is, which is what "repeat" comes to. So does ComfyUI.
LANGUAGES: Mapping[str, Language] = {
    "inkpunk": Language(),
    "a1111": Language(grammar="a1111", late=1, together=True),
    "comfyui": Language(grammar="comfyui", emphasis="from_empty", chunking="segments"),
    "diffusers": Language(grammar="plain", chunking="cut"),
}
"""By the name of the program."""
