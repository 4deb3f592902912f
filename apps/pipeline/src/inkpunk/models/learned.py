"""Learned words, or textual inversion embeddings: files to what a prompt may call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inkpunk_clip import LearnedWords, TextEncoderConfig, Tokenizer
from inkpunk_weights import EMBEDDING_FILES, CheckpointError, Embedding, open_embedding

from inkpunk.models.hashing import file_hash, readable_hash

HASH_LENGTH = 12  # hex digits, as in the "TI hashes" that AUTOMATIC1111 writes


@dataclass(frozen=True, eq=False)
class Learned:
    """The words that were loaded with a model.

    Attributes:
        words: by which name a prompt may call them; None if there are none.
        paths: the file of each name.
        passed_over: of a folder, what was no embedding for this model, and why.
    """

    words: LearnedWords | None = None
    paths: Mapping[str, Path] = field(default_factory=dict[str, Path])
    passed_over: tuple[str, ...] = ()

    def hashes(self, tokens: set[int]) -> dict[str, str]:
        """Of the words that are among these tokens, the first 12 digits of their files' SHA-256; "" if gone."""
        names = {self.words.name_of(token) for token in tokens} - {""} if self.words else set[str]()
        return {name: readable_hash(file_hash, self.paths[name])[:HASH_LENGTH] for name in sorted(names)}


def read_learned(
    paths: Sequence[Path], tokenizer: Tokenizer, config: TextEncoderConfig | None = None
) -> Learned:
    """Read embeddings: files, and folders of them.

    Args:
        paths: a file must be one for this text encoder; of a folder, others are passed over.
        tokenizer: CLIP's.
        config: the text encoder's; None to take those of any, for a look at a prompt.

    Raises:
        CheckpointError: for a file that is not, a folder without any, and two files of one name.
    """
    found, passed_over = list[Embedding](), list[str]()
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.suffix in EMBEDDING_FILES and file.is_file():
                    try:
                        found.append(_fitting(file, config))
                    except CheckpointError as error:
                        passed_over.append(str(error))
        else:
            found.append(_fitting(path, config))
    if paths and not found:
        told = "".join(f"\n  {each}" for each in passed_over[:5])
        raise CheckpointError(f"{paths[0]}: no embedding for this model in it{told}")
    named = dict[str, Embedding]()
    for embedding in found:
        name = embedding.names[0]
        if name in named:
            raise CheckpointError(
                f"{embedding.path}: {named[name].path} is called {name!r}, too; rename one of them, or leave it out"
            )
        named[name] = embedding
    for embedding in found:  # what a file calls itself is often the same in many
        for name in embedding.names[1:]:
            named.setdefault(name, embedding)
    if not named:
        return Learned()
    # without a text encoder nothing reads the vectors, and they may be of several widths
    width = config.width if config else 1
    vectors = {name: embedding.vectors[:, :width] for name, embedding in named.items()}
    words = LearnedWords(vectors, tokenizer, first=(config or TextEncoderConfig()).vocabulary)
    return Learned(words, {name: each.path for name, each in named.items()}, tuple(passed_over))


def _fitting(path: Path, config: TextEncoderConfig | None) -> Embedding:
    embedding = open_embedding(path)
    width = embedding.vectors.shape[1]
    if config is not None and width != config.width:
        raise CheckpointError(
            f"{path}: its vectors are {width} wide, and this model's are {config.width}: it was made for "
            f"{ {1024: 'Stable Diffusion 2', 1280: 'Stable Diffusion XL'}.get(width, 'another model') }"
        )
    return embedding
