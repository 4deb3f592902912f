"""A model's own vocabulary: a folder's `tokenizer`, or what a single file's metadata have kept of one."""

import json
import re
from typing import cast

from inkpunk_clip import Tokenizer
from inkpunk_weights import Checkpoint, CheckpointError

TOKENIZER_KEY = "inkpunk.tokenizer"  # in a single file's metadata: the text of a folder's files, by name
FILES = (
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
)
MOST_BYTES = 6 << 20  # CLIP's largest has 3 MB
_TEXT = r'"(?:[^"\\]++|\\.)*+"'
# an object of texts and nothing else
_TEXTS = re.compile(rf"\s*+\{{(?:[\s,:]++|{_TEXT})*+\}}\s*+", re.DOTALL)
EMBEDDING = "token_embedding.weight"


def own_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """The files of its tokenizer, by name; none, if it came without. Takes little more memory than they do.

    Raises:
        CheckpointError: for a file that cannot be read, and for metadata that hold no such files.
    """
    if checkpoint.path.is_dir():
        folder = checkpoint.path / "tokenizer"
        files = dict[str, bytes]()
        for name in FILES:
            try:
                if (folder / name).exists() and not (folder / name).is_file():
                    raise CheckpointError(f"{folder / name}: not a file; put the tokenizer's in its place")
                with (folder / name).open("rb") as file:
                    files[name] = file.read(MOST_BYTES + 1)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise CheckpointError(f"{folder / name}: cannot be read ({error.strerror})") from error
            if len(files[name]) > MOST_BYTES:
                raise CheckpointError(f"{folder / name}: larger than any tokenizer's; fetch it again")
        return files
    text = checkpoint.metadata.get(TOKENIZER_KEY)
    if text is None:
        return {}
    try:
        # parsed, anything else might take thirty times as much
        value: object = json.loads(str(text)) if _TEXTS.fullmatch(str(text)) else None
        told = cast("dict[str, str]", value) if isinstance(value, dict) else {}
        files = {name: told[name].encode() for name in FILES if name in told}
    except (ValueError, AttributeError, RecursionError):
        files = {}
    if not files:
        raise CheckpointError(
            f"{checkpoint.path}: metadata {TOKENIZER_KEY!r} is not the files of a tokenizer"
        )
    return files


def read_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """Its own tokenizer, or CLIP's where it has none.

    Raises:
        CheckpointError: for one that cannot be followed, or whose ids are not those of the token embedding.
    """
    files = own_files(checkpoint)
    where = checkpoint.path / "tokenizer" if checkpoint.path.is_dir() else checkpoint.path
    try:
        tokenizer = Tokenizer.from_files(files) if files else Tokenizer()
    except ValueError as error:
        raise CheckpointError(f"{where}: tokenizer: {error}") from error
    rows = checkpoint.text_encoder.spec(EMBEDDING).shape[0] if EMBEDDING in checkpoint.text_encoder else None
    if rows not in (None, tokenizer.size):
        whose, remedy = (
            ("its", "fetch both again") if files else ("CLIP's", "a folder with its tokenizer is needed")
        )
        raise CheckpointError(
            f"{where}: {whose} vocabulary has {tokenizer.size:,} entries, and the token embedding {rows:,} rows: "
            f"they are not of one model; {remedy}"
        )
    return tokenizer
