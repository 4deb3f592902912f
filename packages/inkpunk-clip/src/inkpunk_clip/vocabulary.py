"""A vocabulary as the files of a diffusers folder's `tokenizer` have it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

CLASSES = ("CLIPTokenizer", "CLIPTokenizerFast")
MOST_ENTRIES = 1_000_000
MOST_BYTES = 6 << 20  # of a file; CLIP's largest has 3 MB
MOST_VALUES = (
    400_000  # of JSON, of some 90 bytes each; CLIP's tokenizer.json has 345,000 where merges are pairs
)
MOST_MERGES = 200_000  # CLIP's has 48,894
# A string, or what a list, an object or one more of their values begins with: a value takes one of these at least.
_VALUE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{,]', re.DOTALL)


@dataclass(frozen=True)
class Vocabulary:
    """What tells one tokenizer like CLIP's from another.

    Args:
        entries: the id of each.
        merges: the pairs that are joined, in order of rank.
        added: words that were added later, and their ids after those.
        start, end: the entries that begin and end a text.
    """

    entries: Mapping[str, int]
    merges: tuple[tuple[str, str], ...]
    added: Mapping[str, int]
    start: str
    end: str


def read_vocabulary(files: Mapping[str, bytes]) -> Vocabulary:
    """Read `vocab.json` and `merges.txt`, or else `tokenizer.json`, and what is said beside them.

    Takes at most 64 MiB of memory beyond what it returns, and time linear in the files.

    Raises:
        ValueError: naming the file, for what is damaged or does not work as CLIP's.
    """
    if large := next((name for name, data in files.items() if len(data) > MOST_BYTES), None):
        raise ValueError(f"{large}: more than {MOST_BYTES:,} bytes, which no tokenizer has")
    if "vocab.json" in files and "merges.txt" in files:
        entries, merges, added = _json(files, "vocab.json"), _merges_in(files["merges.txt"]), {}
    elif "tokenizer.json" in files:
        entries, merges, added = _in_tokenizer_json(_json(files, "tokenizer.json"))
    else:
        there = ", ".join(sorted(files))[:80] or "nothing"
        raise ValueError(f"holds {there}; a tokenizer is vocab.json and merges.txt, or tokenizer.json")
    added |= {word: id for word, id in _json(files, "added_tokens.json").items() if entries.get(word) != id}
    if len(entries) + len(added) > MOST_ENTRIES:
        raise ValueError(f"more than {MOST_ENTRIES:,} entries, which no text encoder has")
    ids = [*entries.values(), *added.values()]
    whole = [value for value in ids if isinstance(value, int) and not isinstance(value, bool)]
    if (
        len(whole) < len(ids)
        or sorted(whole) != list(range(len(ids)))
        or min(added.values(), default=len(ids)) < len(entries)
    ):
        raise ValueError("its ids are not the whole numbers from 0 on, each once, those of added words last")
    settings = _json(files, "special_tokens_map.json") | _json(files, "tokenizer_config.json")
    start, end = (_token(settings, key, usual) for key, usual in USUAL.items())
    _refuse_others(settings, end)
    for token in (start, end):
        if token not in entries and token not in added:
            raise ValueError(f"{token!r:.40} is not in its vocabulary, and must begin or end every text")
    return Vocabulary(entries, merges, added, start, end)


USUAL = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}


def _refuse_others(settings: Mapping[str, Any], end: str) -> None:
    kind = settings.get("tokenizer_class", CLASSES[0])
    if kind not in CLASSES:
        raise ValueError(
            f"tokenizer_class is {kind!r:.40}, which works in another way than CLIP's; only those are read"
        )
    if settings.get("do_lower_case", True) is not True:
        raise ValueError("do_lower_case is not true; CLIP's tokenizer always brings text to lower case")
    if (pad := _token(settings, "pad_token", end)) != end:
        raise ValueError(f"pad_token is {pad!r:.40}, as in Stable Diffusion 2; v1 fills up with {end!r:.40}")


def _token(settings: Mapping[str, Any], key: str, usual: str) -> str:
    token = settings.get(key)
    if isinstance(token, dict):
        token = cast("dict[str, Any]", token).get("content")
    return token if isinstance(token, str) else usual


def _in_tokenizer_json(
    told: Mapping[str, Any],
) -> tuple[dict[str, Any], tuple[tuple[str, str], ...], dict[str, Any]]:
    model = cast("dict[str, Any]", told["model"]) if isinstance(told.get("model"), dict) else {}
    if model.get("type", "BPE") != "BPE" or model.get("end_of_word_suffix") != "</w>":
        raise ValueError(
            "tokenizer.json: works in another way than CLIP's, by byte pairs with </w> at the end of a word"
        )
    try:
        entries = dict[str, Any](model["vocab"])  # pyright: ignore
        pairs = [tuple(each.split(" ") if isinstance(each, str) else each) for each in model["merges"]]  # pyright: ignore
        merges = tuple((str(left), str(right)) for left, right in pairs)  # pyright: ignore
        added = {each["content"]: each["id"] for each in told.get("added_tokens", ())}
        return entries, merges, {word: id for word, id in added.items() if entries.get(word) != id}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError("tokenizer.json: its vocabulary or merges are malformed") from error


def _merges_in(data: bytes) -> tuple[tuple[str, str], ...]:
    if data.count(b"\n") > MOST_MERGES:
        raise ValueError(f"merges.txt: more than {MOST_MERGES:,} merges, which no tokenizer has")
    try:
        first, *lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"merges.txt: not UTF-8 ({error.reason})") from error
    if not first.startswith("#version"):
        lines.insert(0, first)
    pairs = [tuple(line.split(maxsplit=2)) for line in lines if line.strip()]
    if wrong := next((pair for pair in pairs if len(pair) != 2), None):
        raise ValueError(f"merges.txt: {' '.join(wrong)!r:.40} is no pair")
    return tuple((pair[0], pair[1]) for pair in pairs)


def _json(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    if next(islice(_VALUE.finditer(files.get(name, b"")), MOST_VALUES, None), None):
        raise ValueError(f"{name}: more than {MOST_VALUES:,} values, which no tokenizer has")
    try:
        value: object = json.loads(files.get(name, b"{}").decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: not JSON: {error}"[:300]) from error
    if not isinstance(value, dict):
        raise ValueError(f"{name}: not a JSON object")
    return cast("dict[str, Any]", value)
