"""Pickles are read as data: the values that Python's reader gives, and nothing that a pickle says is done."""

import collections
import os
import pickle
import pickletools
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inkpunk_weights.errors import CheckpointError
from inkpunk_weights.limits import CHECKPOINT, Limits
from inkpunk_weights.pickle_machine import Inert, Instance, PickleMachine, Rule
from inkpunk_weights.pickles import Unpickled, read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
KNOWN = {
    "collections.OrderedDict": Rule(lambda _: {}),
    "app.Known": Rule(lambda _: Instance("app.Known")),
}


def read(data: bytes, limits: Limits = CHECKPOINT) -> Unpickled:
    return read_pickle(memoryview(data), KNOWN, limits=limits)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None, max_examples=50)
@given(plain_values, st.sampled_from(PROTOCOLS))
def test_plain_values_are_what_pickle_wrote(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    unpickled = read(data + b"more")
    assert unpickled == Unpickled(value, (), len(data))
    assert repr(unpickled.value) == repr(value)  # == alone takes True for 1 and 0.0 for -0.0


@pytest.mark.parametrize("protocol", range(3, 6))
@pytest.mark.parametrize("value", [b"", b"ab\xff", b"x" * 1000, bytearray(b"ab")])
def test_bytes_are_what_pickle_wrote(value: bytes, protocol: int) -> None:
    known = {"builtins.bytearray": Rule(lambda arguments: arguments[0])}
    assert read_pickle(memoryview(pickle.dumps(value, protocol)), known).value == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_list_can_hold_itself(protocol: int) -> None:
    looped: list[object] = [1]
    looped.append(looped)
    value = read(pickle.dumps(looped, protocol)).value
    assert isinstance(value, list)
    assert value[1] is value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_object_met_twice_is_one_object(protocol: int) -> None:
    shared = ["x"]
    first, second = read(pickle.dumps([shared, shared], protocol)).value  # type: ignore[misc]
    assert first is second


def test_only_entries_with_text_as_key_are_kept() -> None:
    data = pickle.dumps({"a": 1, 2: 2, (3,): 3, None: 4, b"b": 5, "x" * 2000: 6})
    assert read(data).value == {"a": 1}


def test_python_2_texts_are_read_as_latin_1() -> None:
    assert read(b"(U\x02a\xe9T\x03\x00\x00\x00abcS'line'\nt.").value == ("aé", "abc", "line")


class Evil:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> object:
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_calls_of_unknown_globals_are_not_made(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    evil = [
        Evil(os.system, f"touch '{marker}'"),
        Evil(eval, f"open({str(marker)!r}, 'w')"),
        Evil(os.mkdir, str(marker)),
    ]
    unpickled = read(pickle.dumps(evil, protocol))
    assert not marker.exists()
    assert unpickled.imports == (f"{os.name}.system", "builtins.eval", f"{os.name}.mkdir")
    assert isinstance(unpickled.value, list)
    assert all(isinstance(value, Inert) for value in unpickled.value)


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'touch MARKER'\ntR.",
        b"(S'touch MARKER'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch MARKER'\no.",
        b"cos\nsystem\n(S'touch MARKER'\nt\x81.",
        b"cos\nsystem\n(S'touch MARKER'\nt}\x92.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93(S'touch MARKER'\ntR.",
        b"cos\nsystem\n(S'touch MARKER'\ntb.",
    ],
)
def test_no_instruction_makes_a_call(tmp_path: Path, data: bytes) -> None:
    marker = tmp_path / "marker"
    unpickled = read(data.replace(b"MARKER", str(marker).encode()))
    assert not marker.exists()
    assert unpickled.imports == ("os.system",)
    assert isinstance(unpickled.value, Inert)


def test_unknown_objects_take_whatever_is_put_into_them() -> None:
    unknown = b"capp\nThing\n)R"
    for change in (b"K\x01a", b"(K\x01K\x02e", b"K\x01K\x02s", b"(K\x01K\x02u", b"}b", b"(K\x01\x90"):
        unpickled = read(unknown + change + b".")
        assert isinstance(unpickled.value, Inert)
        assert unpickled.value.name == "app.Thing"
        assert unpickled.imports == ("app.Thing",)


def test_a_known_global_is_called_with_our_own_function() -> None:
    unpickled = read(pickle.dumps(collections.OrderedDict(a=1)))
    assert unpickled == Unpickled({"a": 1}, (), unpickled.end)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut short"),
        (b"K", "cut short"),
        (b"X\xff\xff\xff\xff.", "cut short"),
        (b"\x8e" + struct.pack("<Q", 2**60) + b".", "cut short"),
        (b"\x8d" + struct.pack("<Q", 2**64 - 1) + b".", "cut short"),
        (b"\x8b\xff\xff\xff\xff.", "-1 bytes"),
        (b"T\x00\x00\x00\x80.", "bytes should follow"),
        (b".", "empty stack"),
        (b"a.", "empty stack"),
        (b"R.", "empty stack"),
        (b"0.", "mark that was never set"),
        (b"t.", "mark that was never set"),
        (b"K\x01K\x02a.", "not a list"),
        (b"]K\x02K\x03s.", "not a dict"),
        (b"}(K\x01u.", "no value"),
        (b"](K\x01\x90.", "not a set"),
        (b"K\x01)R.", "cannot be called"),
        (b"ccollections\nOrderedDict\nK\x01R.", "cannot be called"),
        (b"K\x01K\x02\x93.", "not a short text"),
        (b"X\x02\x00\x00\x00\xff\xff.", "not UTF-8"),
        (b"h\x05.", "never written"),
        (b"Np-1\n.", "out of range"),
        (b"Np" + b"9" * 4000 + b"\n.", "out of range"),
        (b"g" + b"9" * 4000 + b"\n.", "never written"),
        (b"I" + b"9" * 5000 + b"\n.", "not an integer"),
        (b"Fx\n.", "not a number"),
        (b"Sx\n.", "not in quotes"),
        (b"V\\uZZZZ\n.", "broken escape"),
        (b"cos", "does not end"),
        (b"\x80\x06N.", "protocol 6"),
        (b"\x82\x01.", "0x82"),  # EXT1
        (b"\x97.", "0x97"),  # NEXT_BUFFER
        (b"\xff.", "0xff"),
    ],
)
def test_broken_pickles_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason) as error:
        read(data)
    assert "\n" not in str(error.value)


def test_huge_memo_indices_take_no_memory() -> None:
    assert read(b"Nr\xff\xff\xff\xffp4294967295\ng4294967295\n.").value is None


def test_deep_nesting_is_harmless() -> None:
    deep: tuple[object, ...] = ()
    for _ in range(300_000):
        deep = (deep,)
    machine = PickleMachine(memoryview(b""), KNOWN, lambda _: None)
    machine.push({})
    machine.update([deep, "value"])  # hashing such a key overflows the C stack, and the interpreter is gone
    assert machine.pop() == {}


def test_values_that_double_with_every_level_are_harmless() -> None:
    # Sixty pairs of the pair before: hashing, printing or comparing them would take 2 ** 60 steps.
    doubling = b")" + b"2\x86" * 60
    assert read(b"}" + doubling + b"K\x01s.").value == {}


def test_a_known_object_keeps_its_last_state() -> None:
    unpickled = read(b"capp\nKnown\n)\x81" + b"K\x01b" + b"}X\x01\x00\x00\x00aK\x02sb" + b".")
    assert isinstance(unpickled.value, Instance)
    assert (unpickled.value.name, unpickled.value.state) == ("app.Known", {"a": 2})
    assert unpickled.imports == ()
    for change in (b"K\x01a", b"K\x01K\x02s", b")R"):
        with pytest.raises(CheckpointError, match=r"not a (list|dict)|cannot be called"):
            read(b"capp\nKnown\n)\x81" + change + b".")


def test_objects_that_are_each_other_s_state_are_harmless() -> None:
    deep: object = None
    for _ in range(300_000):
        outer = Instance.__new__(Instance)  # without the checks of its types, which take a minute
        outer.state = deep
        deep = outer
    del deep, outer  # naively, letting go of one lets go of the next before it returns
    looped = read(b"capp\nKnown\n)\x812b.").value
    assert isinstance(looped, Instance)
    assert looped.state is looped


def test_work_is_limited() -> None:
    few = replace(CHECKPOINT, steps=1000)
    with pytest.raises(CheckpointError, match="more than 1,000 steps"):
        read(b"(" * 2000, few)
    # A long list costs little to pass a hundred times, and would cost much to copy each time.
    long_list = b"(" + b"K\x01" * 100 + b"lq\x00"
    with pytest.raises(CheckpointError, match="more than 1,000 steps"):
        read(long_list + b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R" * 100 + b".", few)


def test_length_is_limited() -> None:
    data = pickle.dumps("x" * 2000)
    assert read(data).value == "x" * 2000
    with pytest.raises(CheckpointError, match="more than the 1,000 we read"):
        read(data, replace(CHECKPOINT, description=1000))


def reads_or_refuses(data: bytes) -> None:
    try:
        read(data)
    except CheckpointError as error:
        assert "\n" not in str(error)


numbers = st.sampled_from([0, 1, 2, 5, 255]) | st.integers(0, 255)
instructions = st.builds(
    lambda opcode, argument: opcode.code.encode("latin-1") + argument,
    st.sampled_from(pickletools.opcodes),
    st.sampled_from([b"", b"\x00", b"\x01", b"\x01\x00\x00\x00a", b"os\nsystem\n", b"1\n", b"'a'\n"])
    | st.lists(numbers, max_size=9).map(bytes),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(instructions, max_size=40).map(b"".join))
def test_any_instructions_are_read_or_refused(data: bytes) -> None:
    reads_or_refuses(data + b".")


# What leaves a value on the stack, so that streams get further than the first mistake.
building = st.sampled_from(
    [
        *(
            b"N",
            b"]",
            b"}",
            b")",
            b"\x8f",
            b"K\x01",
            b"U\x01a",
            b"(",
            b"2",
            b"q\x00",
            b"h\x00",
            b"\x94",
            b"0",
        ),
        *(b"\x85", b"\x86", b"\x87", b"t", b"l", b"d", b"a", b"e", b"s", b"u", b"\x90", b"\x91", b"1", b"b"),
        *(
            b"ccollections\nOrderedDict\n",
            b"capp\nThing\n",
            b"capp\nKnown\n",
            b"R",
            b"\x81",
            b"o",
            b"Q",
            b"\x93",
        ),
    ]
)


@settings(deadline=None, max_examples=200)
@given(st.lists(building, max_size=60).map(b"".join))
def test_any_use_of_the_stack_is_read_or_refused(data: bytes) -> None:
    reads_or_refuses(b"(N]}" + data + b".")


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    reads_or_refuses(data)
