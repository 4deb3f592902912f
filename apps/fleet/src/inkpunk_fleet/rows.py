"""What became of each order, in Parquet: `manifest.parquet`, a folder of parts that are written once each."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, cast

from inkpunk.orders.manifest import NAME as MANIFEST
from inkpunk.orders.manifest import Row
from inkpunk.orders.tally import Tally, fingerprint

from inkpunk_fleet.store import Store

FOLDER = "manifest.parquet"
WHOLE = ("bytes", "line")  # columns of whole numbers; "seconds" is a number, all others are text


def write_part(store: Store, rows: Sequence[Row]) -> str:
    """Write rows as a part of their own, and return its name.

    The columns are those of `inkpunk.orders.manifest.Row`; an order stands there in JSON.

    Raises:
        StoreError: if it cannot be written.
    """
    pa: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    kinds = {each.name: pa.string() for each in fields(Row)}
    kinds |= dict.fromkeys(WHOLE, pa.int64()) | {"seconds": pa.float64()}
    table = pa.Table.from_pylist([_columns(row) for row in rows], pa.schema(kinds))
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    data = buffer.getvalue()
    when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")  # in the order of their names
    name = f"{FOLDER}/part-{when}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
    store.put(name, data)
    return name


def parts(store: Store) -> list[str]:
    """The names of all parts that are there now."""
    return [name for name in store.names(FOLDER) if name.endswith(".parquet")]


def read_rows(store: Store, names: Iterable[str], columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Read parts; of the columns named, the others are None."""
    parquet: Any = import_module("pyarrow.parquet")
    for name in names:
        table = parquet.read_table(io.BytesIO(store.read(name) or b""), columns=columns and [*columns])
        for told in cast("list[dict[str, Any]]", table.to_pylist()):
            if told.get("order"):
                told["order"] = json.loads(told["order"])
            yield Row(**told)


class Past:
    """What rows tell of earlier runs: which pictures they have, and which orders failed; some bytes for each."""

    def __init__(self, store: Store, names: Iterable[str]) -> None:
        """Read parts, and what a batch on one machine noted in the same folder."""
        self._told, self._done, self._failed = Tally(), Tally(), Tally()
        for row in read_rows(store, names, ("key", "file")):
            self._add(row)
            if row.file is not None:
                self._told.add(_print(row.key))
        for line in (store.read(MANIFEST) or b"").splitlines():
            if row := Row.from_json(line.decode(errors="replace")):
                self._add(row)

    def tells_of(self, key: str) -> bool:
        """Whether a row of ours tells of its picture."""
        return self._told[_print(key)] > 0

    def has_failed(self, key: str) -> bool:
        """Whether it failed, and was not done since."""
        return self._failed[_print(key)] > 0 and not self._done[_print(key)]

    def _add(self, row: Row) -> None:
        (self._failed if row.file is None else self._done).add(_print(row.key))


def _print(key: str) -> int:
    try:
        return fingerprint(key)
    except ValueError:  # a row that somebody else wrote
        return 0


def _columns(row: Row) -> dict[str, Any]:
    told = asdict(row)
    return told | {"order": None if row.order is None else json.dumps(dict(row.order))}
