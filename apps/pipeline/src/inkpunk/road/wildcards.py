"""The lists that `__name__` in a prompt is chosen from: a folder of text files, one choice a line."""

from pathlib import Path

from inkpunk.road.errors import RequestError

MOST_BYTES = 16 << 20  # of a list; a million names take less
COMMENT = "#"


def read_lists(folder: Path) -> dict[str, tuple[str, ...]]:
    """Read every `.txt` file of a folder and of those in it, by its name: `animals/bird.txt` is "animals/bird".

    Blank lines and those that begin with # are passed over, and so is white space around a line.

    Raises:
        RequestError: for a folder that is not there or has no lists, and for a file that is no UTF-8 text or
            larger than 16 MiB.
    """
    if not folder.is_dir():
        raise RequestError(f"wildcards {folder}: no such folder; give one of .txt files, one choice a line")
    files = sorted(file for file in folder.rglob("*.txt") if file.is_file())
    if not files:
        raise RequestError(f"wildcards {folder}: no .txt file in it; each is a list, one choice a line")
    return {file.relative_to(folder).with_suffix("").as_posix(): _lines(file) for file in files}


def _lines(file: Path) -> tuple[str, ...]:
    try:
        with file.open("rb") as opened:
            raw = opened.read(MOST_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except OSError as error:
        raise RequestError(f"{file}: cannot be read ({error.strerror})") from error
    if len(raw) > MOST_BYTES:
        raise RequestError(f"{file}: larger than {MOST_BYTES >> 20} MiB; divide it into several lists")
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith(COMMENT))
