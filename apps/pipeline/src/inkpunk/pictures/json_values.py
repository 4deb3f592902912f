"""What parsing a stranger's JSON would cost, known before it is parsed: short values take thirty times their text."""

import re
from itertools import islice

MOST_VALUES = 400_000
"""Of some 90 bytes each: 36 MB. A travel of 10,000 frames has a quarter of it, the largest workflows a tenth."""

# A string, or what a list, an object or one more of their values begins with: a value takes one of these at least.
_VALUE = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{,]', re.DOTALL)


def has_too_many_values(text: str) -> bool:
    """Whether a text has more values than any recipe."""
    return next(islice(_VALUE.finditer(text), MOST_VALUES, None), None) is not None
