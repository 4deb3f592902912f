"""CLIP's tokenizer: lower-cased byte-pair encoding, 77 tokens a prompt.

The vocabulary is the one CLIP was trained with (Radford et al. 2021, https://arxiv.org/abs/2103.00020,
section 2.4; byte-level as GPT-2's), and it is inside the package: nothing is downloaded.
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice
from threading import Lock

import torch
from jaxtyping import Int
from tokenizers import AddedToken, Encoding, Regex, decoders, normalizers, pre_tokenizers
from tokenizers import Tokenizer as BytePairTokenizer
from tokenizers.models import BPE
from torch import Tensor

from inkpunk_clip.vocabulary import Vocabulary, read_vocabulary

POSITIONS = 77
"""Tokens a prompt takes up, start and end included: as many as the text encoder has positions."""

ROOM = POSITIONS - 2
"""Tokens that are left for the text itself."""

MERGES = 48_894
"""How many of the merges in the file CLIP uses: 49,408 entries less 512 for bytes and 2 special tokens."""

START, END = 49_406, 49_407
"""Ids of `<|startoftext|>` and `<|endoftext|>`. Stable Diffusion v1 also pads with END."""

SPECIAL = {"<|startoftext|>": START, "<|endoftext|>": END}

WORD_END = "</w>"
"""Ends every vocabulary entry that closes a word, so that "art" in "art" and in "artist" are two entries."""

_READING = Lock()


class Tokenizer:
    """Text to CLIP's token ids. The first one in a process reads the vocabulary; the next ones share it.

    Text is brought to Unicode's composed form (NFC) and to lower case, and its white space counts only as a
    boundary between words. A literal `<|startoftext|>` or `<|endoftext|>` in a text is the special token.

    Every method takes any text, empty or long. It raises TypeError for what is not text, and ValueError for
    text with a lone surrogate in it, which no UTF-8 can hold.
    """

    start: int = START
    """Id of what begins every row."""
    end: int = END
    """Id of what ends every row, and fills it up."""
    own: bool = False
    """Whether its vocabulary is another than CLIP's."""
    size: int = END + 1
    """Ids there are: as many as the text encoder has to have embeddings."""

    def __init__(self) -> None:
        self._byte_pairs = _byte_pair_tokenizer()

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "Tokenizer":
        """One with a vocabulary of its own, such as a diffusers folder's `tokenizer`; CLIP's, if it is that.

        Args:
            files: by name, `vocab.json` and `merges.txt`, or `tokenizer.json`; and what says more of them, as far as
                it is there: `added_tokens.json`, `special_tokens_map.json`, `tokenizer_config.json`.

        Raises:
            ValueError: for files that are damaged, or of a tokenizer that does not work as CLIP's does.
        """
        vocabulary = read_vocabulary(files)
        made = cls()
        if vocabulary != Vocabulary(_vocabulary(_merges()), tuple(_merges()), {}, *SPECIAL):
            made._byte_pairs = _engine(vocabulary)
            made.own = True
        ids = {**vocabulary.entries, **vocabulary.added}
        made.start, made.end, made.size = ids[vocabulary.start], ids[vocabulary.end], len(ids)
        return made

    def __call__(self, texts: str | Sequence[str]) -> Int[Tensor, "batch 77"]:
        """The ids of each text as one row: START, up to 75 ids of text, then END to the 77th place.

        One string is a batch of one. The ids are int64, on the CPU, and in [0, 49408). Text beyond 75 tokens
        is left out: `cut` tells which.
        """
        batch = [texts] if isinstance(texts, str) else list(texts)
        tokens = torch.full((len(batch), POSITIONS), self.end, dtype=torch.int64, device="cpu")
        tokens[:, 0] = self.start
        for row, text in zip(tokens, batch, strict=True):
            ids = self._encode(text).ids[:ROOM]
            row[1 : 1 + len(ids)] = torch.tensor(ids, dtype=torch.int64, device="cpu")
        return tokens

    def encode(self, text: str) -> list[int]:
        """The ids of a text of any length, without START and END."""
        return self._encode(text).ids

    def count(self, text: str) -> int:
        """How many tokens the text is, without START and END. More than 75 do not fit."""
        return len(self._encode(text))

    def cut(self, text: str) -> str:
        """The end of the text that does not fit, as it was written; "" if everything fits.

        It begins with the first word that is not wholly kept, so that text before it is kept and the cut can
        be read. Only a word that is too long to fit by itself is divided.
        """
        encoding = self._encode(text)
        if len(encoding) <= ROOM:
            return ""
        words = encoding.word_ids
        word = words[ROOM]
        first = ROOM if words.count(word) > ROOM else words.index(word)
        return text[encoding.offsets[first][0] :]

    def decode(self, tokens: Int[Tensor, " positions"]) -> str:
        """The text of one row of ids, lower-cased, one space after each word, without special tokens.

        For looking at tokens. A character of which only some bytes were kept shows as U+FFFD; ids outside the
        vocabulary are left out.
        """
        text: str = self._byte_pairs.decode([int(token) for token in tokens])
        return text.replace(WORD_END, " ").removesuffix(" ")

    def piece(self, token: int) -> str:
        """One token's text, to look at: part of a word, without what marks its end."""
        return self.decode(torch.tensor([token], device="cpu"))

    def _encode(self, text: str) -> Encoding:
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # a caller may not check
            raise TypeError(f"a prompt must be a string (str), not {type(text).__name__}: {text!r:.60}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"a prompt must be valid Unicode; character {error.start} of this one is the lone surrogate "
                f"U+{ord(text[error.start]):04X}: remove it, or decode the text as UTF-8 where it is read"
            ) from None
        return self._byte_pairs.encode(text, add_special_tokens=False)


def vocabulary_files() -> dict[str, bytes]:
    """The vocabulary as the files of a diffusers folder's `tokenizer`, by name, for tools that want it there."""
    merges = _merges()
    end = "<|endoftext|>"
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": POSITIONS,
        "bos_token": "<|startoftext|>",
        "eos_token": end,
        "unk_token": end,
        "pad_token": end,
    }
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges), ""]
    return {
        "vocab.json": json.dumps(_vocabulary(merges), ensure_ascii=False).encode(),
        "merges.txt": "\n".join(lines).encode(),
        "tokenizer_config.json": json.dumps(settings, indent=2).encode(),
    }


def _byte_pair_tokenizer() -> BytePairTokenizer:
    """The shared engine. It is never changed after this, so that threads may share it too."""
    with _READING:  # or two threads that come first both read it, 0.15 s of each
        return _shipped()


@cache
def _shipped() -> BytePairTokenizer:
    merges = _merges()
    return _engine(Vocabulary(_vocabulary(merges), tuple(merges), {}, *SPECIAL))


def _engine(vocabulary: Vocabulary) -> BytePairTokenizer:
    merges = list(vocabulary.merges)
    # what is not in the vocabulary becomes the end; CLIP's has every byte
    unknown = {"unk_token": vocabulary.end} if vocabulary.end in vocabulary.entries else {}
    try:
        model = BPE(dict(vocabulary.entries), merges, end_of_word_suffix=WORD_END, **unknown)
    except Exception as error:  # no narrower one is documented
        raise ValueError(f"merges.txt: does not go with the vocabulary: {error}"[:300]) from error
    engine = BytePairTokenizer(model)
    # Special tokens are looked for in the text as it was typed, before it is lower-cased. Each gets the next id, but
    # for those that have one.
    specials = dict.fromkeys((vocabulary.start, vocabulary.end))
    later = sorted(vocabulary.added, key=vocabulary.added.__getitem__)
    for token in (*(each for each in specials if each in vocabulary.entries), *later):
        added = AddedToken(token, normalized=token not in specials, special=token in specials)
        engine.add_tokens([added])  # pyright: ignore[reportUnknownMemberType]  # a bare `list` in its stubs
    engine.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    # Words are English contractions, runs of letters, single digits, and runs of anything but white space.
    # ByteLevel splits once more, by GPT-2's rule, which changes only what the first two alternatives keep
    # whole: special tokens that were not in lower case as typed.
    words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    engine.decoder = decoders.ByteLevel()
    return engine


def _vocabulary(merges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Every entry's id: bytes, bytes that end a word, merges in order of rank, then the special tokens."""
    symbols = _byte_symbols()
    closing = [symbol + WORD_END for symbol in symbols]
    entries = [*symbols, *closing, *(left + right for left, right in merges)]
    return {entry: index for index, entry in enumerate(entries)} | SPECIAL


def _merges() -> list[tuple[str, str]]:
    """The pairs CLIP joins, in order of rank, from the file that CLIP and OpenCLIP ship (see NOTICE)."""
    path = files("inkpunk_clip") / "data" / "bpe_simple_vocab_16e6.txt.gz"
    with path.open("rb") as packed, gzip.open(packed, "rt", encoding="utf-8") as lines:
        pairs = (line.split() for line in islice(lines, 1, 1 + MERGES))  # the first line is a version
        return [(left, right) for left, right in pairs]


def _byte_symbols() -> list[str]:
    """One printable character for each byte, in the order of CLIP's ids (GPT-2's alphabet).

    Latin-1's visible characters stand for themselves and come first; each other byte, in order, is given the
    next code point from U+0100 on.
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = 256 - len(visible)
    return [chr(byte) for byte in visible] + [chr(0x100 + index) for index in range(hidden)]
