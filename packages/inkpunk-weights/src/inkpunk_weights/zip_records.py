"""The records of a zip file, found in its directory and read in place.

Stricter than a general reader, since torch writes plain files: one disk, no encryption, no data before the
archive, no two records of one name, and no record that would unpack to absurdly more than it takes.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from inkpunk_weights.errors import CheckpointError, shown
from inkpunk_weights.limits import Limits

_MAX_GROWTH: Final = 200  # deflate can reach 1,032 on zeros alone; weights hardly reach 2
_SMALL: Final = 1 << 20  # bytes that any record may unpack to, however well it is packed
_PIECE_IN: Final = 1 << 14  # bytes to unpack in one go, of which what is left over is copied
_PIECE_OUT: Final = 1 << 20

_END: Final = struct.Struct("<4s4H2IH")
_END64_LOCATOR: Final = struct.Struct("<4sIQI")
_END64: Final = struct.Struct("<4sQ2H2I4Q")
_ENTRY: Final = struct.Struct("<4s6H3I5H2I")
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_FULL32: Final = 0xFFFFFFFF
_FULL16: Final = 0xFFFF
_STORED, _DEFLATED = 0, 8


@dataclass(frozen=True, slots=True)
class Record:
    """One record: where its local header is, how many bytes it takes there, and how many it unpacks to."""

    name: str
    header: int
    packed: int
    size: int
    deflated: bool
    crc: int


def zip_records(data: memoryview, limits: Limits) -> dict[str, Record]:
    """The records of a zip file, by name, in the order of its directory.

    Takes at most 40 MiB of memory, and time linear in the directory.

    Raises:
        CheckpointError: it is cut short, damaged, not as torch writes it, or beyond `limits`.
    """
    at, end, count = _directory(data)
    if end - at > limits.directory:
        raise CheckpointError(
            f"the zip directory takes {end - at:,} bytes, and we read at most {limits.directory:,}"
        )
    if count > limits.records:
        raise CheckpointError(f"the zip directory claims {count:,} records, far more than such a file has")
    records: dict[str, Record] = {}
    for _ in range(count):
        record, at = _entry(data, at, end)
        if record.name in records:
            raise CheckpointError(f"two zip records are called {shown(record.name)}")
        if record.deflated and record.size > limits.unpacked:
            raise CheckpointError(
                f"the zip record {shown(record.name)} would unpack to {record.size:,} bytes"
            )
        records[record.name] = record
    return records


def stored_at(data: memoryview, record: Record) -> int:
    """Where the bytes of a record begin, from its local header (read only now: each lies on a page of its
    own).

    Raises:
        CheckpointError: the local header disagrees with the directory.
    """
    magic, *_, name_length, extra_length = _unpack(_LOCAL, data, record.header, len(data))
    start = record.header + _LOCAL.size + name_length + extra_length
    name = bytes(data[record.header + _LOCAL.size :][:name_length])
    if magic != b"PK\x03\x04" or name != record.name.encode() or start + record.packed > len(data):
        raise CheckpointError(f"the zip record {shown(record.name)} is not where the directory says")
    return start


def unpack_record(
    data: memoryview, record: Record, start: int = 0, stop: int | None = None
) -> memoryview | bytearray:
    """Some of the bytes of a record, by default all: in place, or unpacked where it is deflated.

    Unpacking takes at most 2 MiB of memory beside these bytes, and time linear in the whole record: its checksum is
    of all of it.

    Raises:
        CheckpointError: it is damaged.
    """
    at = stored_at(data, record)
    packed = data[at : at + record.packed]
    stop = record.size if stop is None else stop
    return _inflated(packed, record, start, stop) if record.deflated else packed[start:stop]


def _inflated(packed: memoryview, record: Record, start: int, stop: int) -> bytearray:
    inflate, crc, size = zlib.decompressobj(wbits=-zlib.MAX_WBITS), 0, 0
    kept = bytearray(stop - start)
    damaged = f"the zip record {shown(record.name)} is damaged"
    try:
        for at in range(0, len(packed), _PIECE_IN):
            left: bytes | memoryview = packed[at : at + _PIECE_IN]
            piece = None
            while (
                left or piece is None or len(piece) == _PIECE_OUT
            ):  # a full one: more may come of what is consumed
                piece = inflate.decompress(left, _PIECE_OUT)
                crc = zlib.crc32(piece, crc)
                first, last = max(start, size), min(stop, size + len(piece))
                if first < last:
                    kept[first - start : last - start] = piece[first - size : last - size]
                size += len(piece)
                left = b"" if inflate.eof else inflate.unconsumed_tail
                if size > record.size:  # than announced: go no further
                    raise CheckpointError(f"{damaged} (its size is wrong)")
    except zlib.error as error:
        raise CheckpointError(f"{damaged} ({error})") from None
    if size != record.size or not inflate.eof or crc != record.crc:
        raise CheckpointError(f"{damaged} (its size or checksum is wrong)")
    return kept


def _directory(data: memoryview) -> tuple[int, int, int]:
    """Where the directory begins and ends, and how many entries it has."""
    tail = max(0, len(data) - _END.size - _FULL16)  # a comment of up to 65,535 bytes may follow
    at = tail + bytes(data[tail:]).rfind(b"PK\x05\x06")
    if at < tail:
        raise CheckpointError(
            "the zip file is cut short: its directory, at the end, is missing. Download it again"
        )
    _, disk, first_disk, _, count, size, start, comment = _unpack(_END, data, at, len(data))
    if at + _END.size + comment != len(data):
        raise CheckpointError("the zip file does not end where its directory says")
    locator = at - _END64_LOCATOR.size
    if locator >= 0 and bytes(data[locator:][:4]) == b"PK\x06\x07":
        _, _, at, _ = _unpack(_END64_LOCATOR, data, locator, len(data))
        magic, _, _, _, disk, first_disk, _, count, size, start = _unpack(_END64, data, at, len(data))
        if magic != b"PK\x06\x06":
            raise CheckpointError("the zip directory is damaged")
    if disk or first_disk:
        raise CheckpointError("the zip file is one part of several; join them first")
    if start + size > at:
        raise CheckpointError("the zip directory is damaged")
    return start, start + size, count


def _entry(data: memoryview, at: int, end: int) -> tuple[Record, int]:
    """The directory entry at `at`, and where the next one begins."""
    magic, _, _, flags, method, _, _, crc, packed, size, *lengths, _, _, _, header = _unpack(
        _ENTRY, data, at, end
    )
    name_length, extra_length, comment_length = lengths
    extra_at = at + _ENTRY.size + name_length
    after = extra_at + extra_length + comment_length
    if magic != b"PK\x01\x02" or after > end:
        raise CheckpointError("the zip directory is damaged")
    try:
        name = str(data[at + _ENTRY.size : extra_at], "utf-8")
    except UnicodeDecodeError:
        raise CheckpointError("the name of a zip record is not UTF-8") from None
    wide = _wide_numbers(data[extra_at : extra_at + extra_length])
    size, packed, header = (
        next(wide, _FULL32) if number == _FULL32 else number for number in (size, packed, header)
    )
    record = Record(name, header, packed, size, method == _DEFLATED, crc)
    if flags & 1 or method not in (_STORED, _DEFLATED):
        raise CheckpointError(
            f"the zip record {shown(name)} is encrypted or packed in a way torch does not use"
        )
    if header + _LOCAL.size + packed > len(data) or (method == _STORED and packed != size):
        raise CheckpointError(
            f"the zip record {shown(name)} takes more bytes than there are; the file is cut short"
        )
    if size > max(_SMALL, packed * _MAX_GROWTH):
        raise CheckpointError(f"the zip record {shown(name)} would unpack from {packed:,} bytes to {size:,}")
    return record, after


def _wide_numbers(extra: memoryview) -> Iterator[int]:
    """The 64-bit numbers that stand in for full 32-bit ones: size, packed size, header, as far as needed."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            yield from (number for (number,) in struct.iter_unpack("<Q", field[: len(field) // 8 * 8]))
            return
        at += 4 + length


def _unpack(form: struct.Struct, data: memoryview, at: int, end: int) -> tuple[Any, ...]:
    if not 0 <= at <= end - form.size:
        raise CheckpointError("the zip directory is damaged")
    return form.unpack_from(data, at)
