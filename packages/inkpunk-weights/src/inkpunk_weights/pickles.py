"""Pickles read as data: their instructions, protocols 0 to 5, without importing or calling anything of
theirs.

A pickle is a program. Python's own reader imports whatever the program names and calls it, so that loading a
stranger's file runs a stranger's code. Here a name is looked up in a table of *our* functions, and every
other name becomes an `Inert`, which can be called, filled and changed, and stays the same lifeless thing.
"""

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from inkpunk_weights.errors import shown
from inkpunk_weights.limits import CHECKPOINT, Limits
from inkpunk_weights.pickle_machine import Inert, PickleMachine


@dataclass(frozen=True, slots=True)
class Unpickled:
    """The value of a pickle, the globals it wanted and we do not know, and how many bytes it took."""

    value: object
    imports: tuple[str, ...]
    end: int


def read_pickle(
    data: memoryview,
    known: Mapping[str, object],
    persistent: Callable[[object], object] = lambda _: Inert("persistent id"),
    limits: Limits = CHECKPOINT,
) -> Unpickled:
    """Interpret the pickle at the start of `data`.

    Args:
        data: the pickle, with anything after it.
        known: what stands for each global, by dotted name: a `Rule` if it may be called, else any value. An
            `Inert` here stands for a global too harmless to be listed among the imports.
        persistent: what stands for an object outside of the pickle (torch keeps storages there), by its id.
        limits: how much it may ask for.

    Raises:
        CheckpointError: it is cut short, malformed, or asks for more than `limits`.
    """
    machine = PickleMachine(data, known, persistent, limits)
    while (code := machine.instruction()) != _STOP:
        run = _INSTRUCTIONS.get(code)
        if run is None:
            machine.fail(f"instruction 0x{code:02x} is none that checkpoints use")
        run(machine)
    return Unpickled(machine.pop(), tuple(machine.imports), machine.at)


_Instruction = Callable[[PickleMachine], None]

_UINT8, _UINT16, _UINT32, _UINT64 = (struct.Struct(form) for form in ("<B", "<H", "<I", "<Q"))
_INT32, _FLOAT64 = struct.Struct("<i"), struct.Struct(">d")


def _constant(value: object) -> _Instruction:
    return lambda m: m.push(value)


def _integer(form: struct.Struct) -> _Instruction:
    return lambda m: m.push(m.unpack(form))


def _long(length: struct.Struct) -> _Instruction:
    return lambda m: m.push(int.from_bytes(m.take(m.unpack(length)), "little", signed=True))


def _text(length: struct.Struct) -> _Instruction:
    return lambda m: m.push(m.text(m.take(m.unpack(length))))


def _bytes(length: struct.Struct) -> _Instruction:
    return lambda m: m.push(bytes(m.take(m.unpack(length))))


def _python2_text(length: struct.Struct) -> _Instruction:
    return lambda m: m.push(
        str(m.take(m.unpack(length)), "latin-1")
    )  # names are ASCII; the rest must only not fail


def _get(form: struct.Struct) -> _Instruction:
    return lambda m: m.recall(m.unpack(form))


def _put(form: struct.Struct) -> _Instruction:
    return lambda m: m.remember(m.unpack(form))


def _proto(m: PickleMachine) -> None:
    if (version := m.take(1)[0]) > 5:
        m.fail(f"pickle protocol {version} is not known (only 0 to 5)")


def _frame(m: PickleMachine) -> None:
    m.take(8)  # frames help those who read a stream piece by piece


def _pop(m: PickleMachine) -> None:
    if m.stack:
        m.pop()
    else:
        m.pop_mark()


def _pop_mark(m: PickleMachine) -> None:
    m.pop_mark()


def _int_line(m: PickleMachine) -> None:
    text = m.line()
    m.push(text == "01" if text in ("00", "01") else m.number(text))  # how protocol 0 writes False and True


def _float_line(m: PickleMachine) -> None:
    text = m.line()
    try:
        m.push(float(text))
    except ValueError:
        m.fail(f"{shown(text)} is not a number")


def _string_line(m: PickleMachine) -> None:
    text = m.line()
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        m.fail("a text is not in quotes")
    # Only Python 2 wrote these, and no name in a checkpoint needs an escape: a text with one can stay unread.
    m.push(Inert("escaped text") if "\\" in text else text[1:-1])


def _unicode_line(m: PickleMachine) -> None:
    try:
        m.push(m.raw_line().decode("raw-unicode-escape"))
    except UnicodeError:
        m.fail("a text has a broken escape")


def _tuple_of(count: int) -> _Instruction:
    return lambda m: m.push(tuple([m.pop() for _ in range(count)][::-1]))


def _dict(m: PickleMachine) -> None:
    items = m.pop_mark()
    m.push({})
    m.update(items)


def _set_item(m: PickleMachine) -> None:
    value = m.pop()
    m.update([m.pop(), value])


def _add_items(m: PickleMachine) -> None:
    m.pop_mark()
    if not isinstance(m.top(), Inert):
        m.fail("it adds to what is not a set")


def _frozenset(m: PickleMachine) -> None:
    m.pop_mark()
    m.push(Inert("frozenset"))


def _global(m: PickleMachine) -> None:
    module = m.line()
    m.find(module, m.line())


def _stack_global(m: PickleMachine) -> None:
    name = m.pop()
    m.find(m.pop(), name)


def _reduce(m: PickleMachine) -> None:
    arguments = m.pop()
    m.call(m.pop(), arguments)


def _newobj_ex(m: PickleMachine) -> None:
    m.pop()  # keyword arguments, which none of our rules takes
    _reduce(m)


def _inst(m: PickleMachine) -> None:
    _global(m)
    function = m.pop()
    m.call(function, tuple(m.pop_mark()))


def _obj(m: PickleMachine) -> None:
    function, *arguments = m.pop_mark() or [None]
    m.call(function, tuple(arguments))


def _persid(m: PickleMachine) -> None:
    m.fetch(m.line())


# Missing, and so refused: EXT1, EXT2 and EXT4 (codes known only to the process that wrote them), NEXT_BUFFER
# and READONLY_BUFFER (data that travels beside the pickle). torch writes none of them.
_BY_NAME: Final[Mapping[str, _Instruction]] = {
    # framing
    "PROTO": _proto,
    "FRAME": _frame,
    # plain values
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "BININT": _integer(_INT32),
    "BININT1": _integer(_UINT8),
    "BININT2": _integer(_UINT16),
    "LONG1": _long(_UINT8),
    "LONG4": _long(_INT32),
    "BINFLOAT": lambda m: m.push(_FLOAT64.unpack(m.take(8))[0]),
    "SHORT_BINUNICODE": _text(_UINT8),
    "BINUNICODE": _text(_UINT32),
    "BINUNICODE8": _text(_UINT64),
    "SHORT_BINBYTES": _bytes(_UINT8),
    "BINBYTES": _bytes(_UINT32),
    "BINBYTES8": _bytes(_UINT64),
    "BYTEARRAY8": _bytes(_UINT64),
    "SHORT_BINSTRING": _python2_text(_UINT8),
    "BINSTRING": _python2_text(_INT32),
    "INT": _int_line,
    "LONG": lambda m: m.push(m.number(m.line().removesuffix("L"))),
    "FLOAT": _float_line,
    "STRING": _string_line,
    "UNICODE": _unicode_line,
    # the stack and the memo
    "MARK": PickleMachine.mark,
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "DUP": lambda m: m.push(m.top()),
    "GET": lambda m: m.recall(m.number(m.line())),
    "BINGET": _get(_UINT8),
    "LONG_BINGET": _get(_UINT32),
    "PUT": lambda m: m.remember(m.number(m.line())),
    "BINPUT": _put(_UINT8),
    "LONG_BINPUT": _put(_UINT32),
    "MEMOIZE": lambda m: m.remember(len(m.memo)),
    # containers
    "EMPTY_TUPLE": _constant(()),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": lambda m: m.push(tuple(m.pop_mark())),
    "EMPTY_LIST": lambda m: m.push([]),
    "LIST": lambda m: m.push(m.pop_mark()),
    "APPEND": lambda m: m.extend([m.pop()]),
    "APPENDS": lambda m: m.extend(m.pop_mark()),
    "EMPTY_DICT": lambda m: m.push({}),
    "DICT": _dict,
    "SETITEM": _set_item,
    "SETITEMS": lambda m: m.update(m.pop_mark()),
    "EMPTY_SET": _constant(Inert("set")),
    "ADDITEMS": _add_items,
    "FROZENSET": _frozenset,
    # globals, and what is made of them
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _newobj_ex,
    "INST": _inst,
    "OBJ": _obj,
    "BUILD": PickleMachine.build,
    "PERSID": _persid,
    "BINPERSID": lambda m: m.fetch(m.pop()),
}
_CODES: Final = {opcode.name: ord(opcode.code) for opcode in pickletools.opcodes}
_STOP: Final = _CODES["STOP"]
_INSTRUCTIONS: Final = {_CODES[name]: run for name, run in _BY_NAME.items()}
