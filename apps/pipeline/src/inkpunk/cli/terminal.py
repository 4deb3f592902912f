"""What is printed comes out whole, whatever the terminal can show."""

import sys
from io import TextIOWrapper


def print_anything() -> None:
    """Have what standard output and error cannot encode come out as escapes, and not as an error.

    A path or a prompt may hold any character, also none (a file's name that is no UTF-8), and a terminal of an old
    code page, or a pipe on Windows, has few. A picture must not be lost to telling where it is.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
