"""Small files of JSON, each there whole: as it was, or as it is."""

import json
import os
from pathlib import Path
from secrets import token_hex

UNFINISHED = "*.tmp"
"""What a process that is killed may leave; whoever opens the folder deletes it."""


def replace_json(path: Path, told: object) -> None:
    """Write a file, or what it says anew.

    Raises:
        OSError: if that cannot be.
    """
    temporary = path.with_name(f"{token_hex(8)}.tmp")
    temporary.write_bytes(json.dumps(told, ensure_ascii=True).encode())
    os.replace(temporary, path)  # noqa: PTH105  # one that is being read is replaced on Windows, too
