"""JSON of strangers: what parsing it can cost is known before it is parsed."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

# A string, or what a list, an object or one more of their values begins with: a value takes one of these at least.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{,]', re.DOTALL)
_BYTES_A_TOKEN: Final = (
    120  # measured: up to 90 while objects are made, and safetensors' own reader takes some
)
_BYTES_A_BYTE: Final = (
    9  # one character beyond 16 bits makes Python keep all others of its text in four bytes
)
_MOST: Final = 60 << 20

MOST_JSON_BYTES: Final = 6 << 20
"""Whatever is in it; SD v1.5's header takes 0.2 MB, and notes on its training hardly more than 3 MB."""


class JSONError(ValueError):
    """A text that is no JSON, or one that would take too much to read; the message is a reason for another one."""


def parse_json(text: bytes, pairs: Callable[[list[tuple[str, Any]]], object] | None = None) -> object:
    """Parse JSON. Takes at most 64 MiB of memory and time linear in the text.

    Args:
        text: in UTF-8.
        pairs: what becomes of an object's keys and values; a dict if None.

    Raises:
        JSONError: it is no JSON, or parsing it could take more.
    """
    if len(text) > MOST_JSON_BYTES:
        raise JSONError(f"more than the {MOST_JSON_BYTES:,} bytes we read")
    tokens = (_MOST - _BYTES_A_BYTE * len(text)) // _BYTES_A_TOKEN
    for count, _ in enumerate(_TOKEN.finditer(text)):
        if count >= tokens:
            raise JSONError(
                f"more than {tokens:,} values in {len(text):,} bytes, far more than such a file needs"
            )
    try:
        return json.loads(text.decode(), object_pairs_hook=pairs)
    except RecursionError:
        raise JSONError("JSON of lists within lists, deeper than any such file has them") from None
    except UnicodeDecodeError as error:
        raise JSONError(f"not JSON (not UTF-8 at byte {error.start:,})") from None
    except json.JSONDecodeError as error:
        raise JSONError(f"not JSON ({error})") from None
    except ValueError as error:
        if type(error) is not ValueError:  # what `pairs` raises
            raise
        raise JSONError("a whole number of thousands of digits") from None
