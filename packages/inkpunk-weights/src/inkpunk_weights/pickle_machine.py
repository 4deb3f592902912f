"""The stack machine that pickles are programs for, with its limits and without its powers.

What it holds are None, bool, int, float, str, bytes, tuple, list, dict (with short strings as keys only),
`Inert`, and what the caller's functions return, such as an `Instance`. Nothing here compares, hashes, prints
or walks such values: nested a million deep, holding themselves, or made to collide, they do no harm. Limits on
bytes and steps take care of the rest.
"""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, TypeGuard, TypeVar

from inkpunk_weights.errors import CheckpointError, shown
from inkpunk_weights.limits import CHECKPOINT, Limits

MAX_NAME: Final = 1024  # characters: keys and imports are compared and joined, so their length costs time
_LINE_REACHES: Final = (64, 1 << 10, 1 << 16)  # bytes to look for the end of a textual argument in
_MAX_MEMO: Final = 1 << 32  # as far as the binary instructions can count

_PYTHON_3: Final = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # protocols 0 to 2 write the old names

_Argument = TypeVar("_Argument")


@dataclass(frozen=True, slots=True, eq=False)
class Inert:
    """Stands for a global that is not known, and for everything the pickle makes of it."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """Stands for a known global that may be called: our own function, given the arguments as one tuple.

    It must take time and memory in proportion to the arguments' lengths, and raise nothing but
    `CheckpointError`.
    """

    build: Callable[[tuple[object, ...]], object]


@dataclass(slots=True, eq=False, repr=False)
class Instance:
    """Stands for an object of a known class, as a `Rule` makes it. It keeps the state that it is given, unread."""

    name: str
    state: object = None


def is_dict(value: object) -> TypeGuard[dict[str, object]]:
    """Whether a pickled value is a dict (whose keys are then strings)."""
    return type(value) is dict


def is_list(value: object) -> TypeGuard[list[object]]:
    """Whether a pickled value is a list."""
    return type(value) is list


def is_tuple(value: object) -> TypeGuard[tuple[object, ...]]:
    """Whether a pickled value is a tuple."""
    return type(value) is tuple


def is_key(value: object) -> TypeGuard[str]:
    """Whether dicts keep the entry of this key; the rest is dropped, as hashing can be made to take ages."""
    return type(value) is str and len(value) <= MAX_NAME


class PickleMachine:
    """The state of one run, and the operations that instructions are made of.

    Args:
        data: the pickle, with anything after it.
        known: what stands for each global.
        persistent: what stands for an object kept outside of the pickle, by its id.
        limits: how much it may ask for.
    """

    def __init__(
        self,
        data: memoryview,
        known: Mapping[str, object],
        persistent: Callable[[object], object],
        limits: Limits = CHECKPOINT,
    ) -> None:
        """Start with an empty stack at the first byte."""
        self.limits = limits
        self.data = data[: limits.description]
        self.at = 0  # the next byte
        self.instruction_at = 0
        self.steps_left = limits.steps
        self.known = known
        self.persistent = persistent
        self.stack: list[object] = []
        self.below: list[list[object]] = []  # the stack beneath each open mark
        self.memo: dict[int, object] = {}
        self.imports: dict[str, Inert] = {}

    def fail(self, reason: str) -> NoReturn:
        """Give up, saying where."""
        raise CheckpointError(f"the pickle is broken at its byte {self.instruction_at:,}: {reason}")

    def spend(self, steps: int) -> None:
        """Count work, and give up when no file of its kind could need so much."""
        self.steps_left -= steps
        if self.steps_left < 0:
            self.fail(f"it takes more than {self.limits.steps:,} steps, far more than such a file needs")

    # The bytes after an instruction.

    def instruction(self) -> int:
        """The next instruction's code."""
        self.spend(1)
        self.instruction_at = self.at
        return self.take(1)[0]

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        left = len(self.data) - self.at
        if not 0 <= count <= left:
            most = self.limits.description
            limit = f"more than the {most:,} we read" if len(self.data) == most else "cut short"
            self.fail(f"{count:,} bytes should follow, and there are {left:,} ({limit})")
        self.at += count
        return self.data[self.at - count : self.at]

    def unpack(self, form: struct.Struct) -> int:
        """The next bytes as an integer."""
        return form.unpack(self.take(form.size))[0]

    def line(self) -> str:
        """The next line, as text."""
        return self.text(self.raw_line())

    def raw_line(self) -> bytes:
        """The next line, without its end."""
        line, end = b"", b""
        for reach in _LINE_REACHES:  # a short look first: most lines are names, and looking copies
            line, end, _ = bytes(self.data[self.at : self.at + reach]).partition(b"\n")
            if end:
                break
        if not end:
            self.fail("a line of text does not end")
        self.at += len(line) + 1
        return line

    def text(self, raw: bytes | memoryview) -> str:
        """Bytes as text."""
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError:
            self.fail("a text is not UTF-8")

    def number(self, text: str) -> int:
        """Text as an integer."""
        if re.fullmatch(r"[+-]?[0-9]{1,4000}", text) is None:  # int() refuses, or is slow, above 4,300 digits
            self.fail(f"{shown(text)} is not an integer")
        return int(text)

    # The stack and the memo.

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> object:
        """Take the value off the top of the stack."""
        if not self.stack:
            self.fail("it takes a value from an empty stack")
        return self.stack.pop()

    def top(self) -> object:
        """Look at the value on top of the stack."""
        if not self.stack:
            self.fail("it looks at a value on an empty stack")
        return self.stack[-1]

    def mark(self) -> None:
        """Begin a new stack on top of this one."""
        self.below.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[object]:
        """Take everything since the last mark."""
        if not self.below:
            self.fail("it goes back to a mark that was never set")
        items, self.stack = self.stack, self.below.pop()
        return items

    def remember(self, index: int) -> None:
        """Note the value on top of the stack in the memo."""
        if not 0 <= index < _MAX_MEMO:
            self.fail("a memo index is out of range")
        self.memo[index] = self.top()

    def recall(self, index: int) -> None:
        """Push a value from the memo."""
        if index not in self.memo:
            self.fail(f"memo entry {shown(str(index))} was never written")
        self.push(self.memo[index])

    # Containers.

    def extend(self, items: list[object]) -> None:
        """Append to the list on top of the stack."""
        target = self.top()
        if is_list(target):
            target.extend(items)
        elif not isinstance(target, Inert):
            self.fail("it appends to what is not a list")

    def update(self, items: list[object]) -> None:
        """Set keys and values, in turn, in the dict on top of the stack."""
        target = self.top()
        if len(items) % 2:
            self.fail("a key has no value")
        if is_dict(target):
            pairs = zip(items[::2], items[1::2], strict=True)
            target.update((key, value) for key, value in pairs if is_key(key))
        elif not isinstance(target, Inert):
            self.fail("it sets an item of what is not a dict")

    def build(self) -> None:
        """Give a state to the object on top of the stack: of what we hold, only an `Instance` keeps any."""
        state = self.pop()  # for others, such things as a state dict's `_metadata`
        target = self.top()
        if isinstance(target, Instance):
            target.state = state

    # Globals, calls and objects outside.

    def find(self, module: object, name: object) -> None:
        """Push what stands for a global."""
        if not (is_key(module) and is_key(name)):
            self.fail("the name of an import is not a short text")
        full = f"{_PYTHON_3.get(module, module)}.{name}"
        self.push(self.known[full] if full in self.known else self.imports.setdefault(full, Inert(full)))

    def call(self, function: object, arguments: object) -> None:
        """Push what a call returns; whatever is done to an `Inert` returns it."""
        if isinstance(function, Inert):
            self.push(function)
        elif isinstance(function, Rule) and is_tuple(arguments):
            # The same long list can be an argument a million times, so each time is paid for.
            self.spend(len(arguments))
            self.spend(sum(len(a) for a in arguments if is_list(a) or is_dict(a) or is_tuple(a)))
            self._push_ours(function.build, arguments)
        else:
            self.fail("it calls what cannot be called")

    def fetch(self, key: object) -> None:
        """Push what stands for an object outside of the pickle."""
        self._push_ours(self.persistent, key)

    def _push_ours(self, function: Callable[[_Argument], object], argument: _Argument) -> None:
        try:
            self.push(function(argument))
        except CheckpointError as error:
            self.fail(str(error))
