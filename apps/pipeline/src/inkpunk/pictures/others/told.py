"""What another program's recipe asks for, in an order's plain values, and what of it is not followed here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from inkpunk_sampling import find_sampler, find_spacing

from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError, Value
from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.fitting import find_resize
from inkpunk.pictures.others.plain import in_a_line, number, whole
from inkpunk.road.errors import RequestError

MOST_NOTES = 200
MOST_PROMPT = 100_000  # characters; as many as come of variants at most
TAGS = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>")
BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
WHOLE = {"seed", "steps", "width", "height", "clip-skip", "enlarge-steps", "tile-size"}
CHECKED_FIRST = ("like", "negative", "sampler", "guidance")
"""What others are judged by: an eta by its sampler, a rescale by its guidance."""
BOUND = {
    "enlarge-by": "enlarge",
    "enlarge-strength": "enlarge",
    "enlarge-steps": "enlarge",
    "enlarge-sampler": "enlarge",
    "spacing": "sampler",
}
"""What says nothing without another value, or not the same."""


@dataclass(frozen=True)
class Told:
    """A recipe of another program, read as an order.

    Attributes:
        program: which one wrote it, and its version where it is known: "AUTOMATIC1111 1.10.1".
        values: what `Order.read` takes, and its `request()`. "model" and "lora" are files as their program named
            them, without folders above its own: they may be anywhere here, or nowhere.
        not_understood: what of the recipe is not followed, a line each.
        needs: the pictures and files that it was drawn with and does not hold, as the options that give them, with
            FILE in their place: "init", "mask", "control canny:FILE:0.9:0-0.6".
        waiting: values that say nothing before "mask" or "init" is given, and go with it.
        model_hash: hex digits that its model is known by, as its program counts them; "" where it does not tell.
        hashes: of other files, by what they are and their names: "lora neon", "embedding bad-hands", "vae mse".
    """

    program: str
    values: Mapping[str, Value]
    not_understood: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    waiting: Mapping[str, Value] = field(default_factory=dict[str, Value])
    model_hash: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass
class Telling:
    """A recipe while it is read: values are put down, and what cannot be is noted in words."""

    program: str
    values: dict[str, Value] = field(default_factory=dict[str, Value])
    waiting: dict[str, Value] = field(default_factory=dict[str, Value])
    notes: list[str] = field(default_factory=list[str])
    needs: list[str] = field(default_factory=list[str])
    model_hash: str = ""
    hashes: dict[str, str] = field(default_factory=dict[str, str])

    def note(self, name: str, value: object, why: str = "") -> None:
        """Tell that something is not followed."""
        told = f"{name}: {in_a_line(value)}" if value not in (None, "") else name
        line = f"{told}: {why}" if why else told
        if line not in self.notes:
            self.notes.append(line)

    def need(self, option: str, what: str, why: str = "is not in the recipe") -> None:
        """Tell that a file is missing; `option`: how it is given."""
        option = in_a_line(option)
        if option not in self.needs:
            self.needs.append(option)
            self.note(what, None, f"{why}; give it as {option.partition(' ')[0]}")

    def put(self, name: str, value: object, label: str) -> None:
        """Put down a number, or text where the option takes it; `label`: what the recipe calls it."""
        if value is None:
            return
        read = whole(value) if name in WHOLE else number(value)
        if read is None:
            self.note(label, value, "is no whole number" if name in WHOLE else "is no number")
        else:
            self.values[name] = read

    def prompts(self, prompt: str, negative: str, *, tags: bool, braces: bool) -> None:
        """Put down the prompts.

        Args:
            prompt, negative: as they were drawn.
            tags: whether the program takes LoRAs from the prompt; else they were text, as in negative prompts.
            braces: whether they may be variants; else they are text.
        """
        for name, text in (("prompt", prompt), ("negative", negative)):
            if len(text) > MOST_PROMPT:
                raise PictureError(
                    f"its {name} has {len(text):,} characters, and {MOST_PROMPT:,} is the most"
                )
            text = text.encode(errors="replace").decode()  # half a surrogate pair is no text
            if not tags or name == "negative":
                text = self._without_tags(name, text, tags)
            if not braces:
                text = BRACES.sub(lambda found: found[0] if len(found[0]) > 1 else "\\" + found[0], text)
            if text or name == "prompt":
                self.values[name] = text

    def _without_tags(self, name: str, text: str, tags: bool) -> str:
        for tag in dict.fromkeys(TAGS.findall(text)):
            self.note(name, tag, "is text there" if not tags else "is text in a negative prompt")
        return TAGS.sub("", text)

    def sampler(self, name: object, spacing: object, label: str, spacing_label: str) -> str | None:
        """Put down the sampler and the spacing, of which the first may tell the second; returns our name for it."""
        found = None
        if name is not None:
            try:
                found, told = find_sampler(str(name)[:100])
                self.values["sampler"] = found
                if told:
                    self.values["spacing"] = told
            except ValueError:
                self.note(label, name, "there is no such sampler here")
        if spacing is not None and str(spacing).lower() != "automatic":
            try:
                self.values["spacing"] = find_spacing(str(spacing)[:100])
            except ValueError:
                self.note(spacing_label, spacing, "there is no such spacing here")
        return found

    def resize(self, value: str, label: str) -> None:
        """Keep how pictures that are missing are brought to the size."""
        try:
            self.waiting["resize"] = find_resize(value[:100])
        except ValueError:
            self.note(label, value, "there is no such way here")

    def done(self) -> Told:
        """The recipe, with the values that make a request; what does not is noted.

        Raises:
            PictureError: its prompt is none.
        """
        prompt = self.values.pop("prompt", "")
        kept: dict[str, Value] = {"prompt": prompt}
        if error := _refused(kept | {name: self.values[name] for name in ("like",) if name in self.values}):
            raise PictureError(f"its prompt cannot be taken: {in_a_line(error)}")
        if error := _refused({**self.values, "prompt": "a"}):
            self._keep_what_can_be()
        kept |= self.values
        notes = self.notes[:MOST_NOTES]
        if len(self.notes) > MOST_NOTES:
            notes.append(f"and {len(self.notes) - MOST_NOTES} more")
        return Told(
            in_a_line(self.program),
            kept,
            tuple(notes),
            tuple(self.needs[:MOST_NOTES]),
            self.waiting,
            in_a_line(self.model_hash),
            self.hashes,
        )

    def _keep_what_can_be(self) -> None:
        """Note the values that a request refuses, one by one, and leave them out."""
        first = [name for name in CHECKED_FIRST if name in self.values]
        tried: dict[str, Value] = {"prompt": "a"}
        for name in (*first, *(each for each in self.values if each not in first and each not in BOUND)):
            self._try(tried, name)
        for name in (each for each in self.values if each in BOUND):
            if BOUND[name] in tried or name == "spacing":
                self._try(tried, name)
        self.values = {name: value for name, value in tried.items() if name != "prompt"}

    def _try(self, tried: dict[str, Value], name: str) -> None:
        error = _refused({**tried, name: self.values[name]})
        if error:
            self.note(name, None, f"is left out, as it is refused: {in_a_line(error)}")
        else:
            tried[name] = self.values[name]


def _refused(values: Mapping[str, Value]) -> str:
    """Why there is no such request; "" where there is."""
    try:
        Order.read(values).request()
    except (OrderError, RequestError) as error:
        return str(error) or "it is refused"
    return ""
