"""The readers under test: each takes bytes, and may raise only what its documentation says."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import torch
from inkpunk.orders.files import read_orders
from inkpunk.orders.lines import READERS as FORMS
from inkpunk.orders.values import OrderError
from inkpunk.pictures import reading
from inkpunk.pictures.facts import Facts, PictureError
from inkpunk.pictures.grid_facts import GridFacts
from inkpunk.pictures.masks import read_mask
from inkpunk.pictures.others import read_others
from inkpunk.pictures.png_text import read_facts
from inkpunk.pictures.recipe import COMMENT, TEXTS, Recipe, read_recipe
from inkpunk.pictures.travel_facts import TravelFacts
from inkpunk_clip import GRAMMARS, parse
from inkpunk_clip.vocabulary import read_vocabulary
from inkpunk_weights import (
    CheckpointError,
    open_adapter,
    open_control,
    open_embedding,
    open_image_encoder,
    open_image_prompt,
    open_tiny_vae,
    open_upscaler,
)
from inkpunk_weights.folders import open_folder
from inkpunk_weights.tensor_files import open_tensor_file
from inkpunk_weights.torch_files import open_torch_file
from safetensors.torch import save

from .corpus import TWO, vocabularies

SHARD = save({"a": TWO})
PEFTS = save(
    {
        "base_model.model.conv_in.lora_A.weight": TWO,
        "base_model.model.conv_in.lora_B.weight": TWO.T.contiguous(),
    }
)
SOUND = vocabularies()
SMALL = 1 << 20  # pixels
WEIGHTS = (torch.ones(3, 3), torch.ones(4, 6), torch.ones(4, 2, 1, 1))  # that the corpus' adapters are of


def _write(path: Path, data: bytes) -> Path:
    path.unlink(missing_ok=True)  # a new file each time: tensors of the last may still be mapped
    path.write_bytes(data)
    return path


def _tensors(data: bytes, folder: Path) -> None:
    dict(open_tensor_file(_write(folder / "model.safetensors", data)).tensors)


def _torch(data: bytes, folder: Path) -> None:
    dict(open_torch_file(_write(folder / "model.ckpt", data)).tensors)


def _embedding(data: bytes, folder: Path) -> None:
    open_embedding(_write(folder / "word.pt", data))


def _adapter(data: bytes, folder: Path) -> None:
    """As a file, and as the config of PEFT's folder; each change is made, as far as its shapes say of what."""
    path = _write(folder / "ink.safetensors", data)
    if data.lstrip()[:1] == b"{":
        _write(folder / "adapter_model.safetensors", PEFTS)
        path = _write(folder / "adapter_config.json", data).parent
    adapter = open_adapter(path)
    for change in (*adapter.text_encoder.values(), *adapter.unet.values()):
        for weight in WEIGHTS:
            if change.fits(tuple(weight.shape)):
                change.difference(weight)


def _control(data: bytes, folder: Path) -> None:
    dict(open_control(_write(folder / "control.pth", data)).tensors)


def _image_prompt(data: bytes, folder: Path) -> None:
    """The same bytes as an image prompt, and as an image encoder; refused if they are neither."""
    path = _write(folder / "picture.bin", data)
    refusal = None
    for opener in (open_image_prompt, open_image_encoder):
        try:
            dict(opener(path).tensors)
            return
        except CheckpointError as error:
            one_line(error)
            refusal = error
    if refusal:
        raise refusal


def _tiny_vae(data: bytes, folder: Path) -> None:
    dict(open_tiny_vae(_write(folder / "tiny.pth", data)).tensors)


def _folder(data: bytes, folder: Path) -> None:
    """The same bytes as a config, and as an index of shards."""
    _write(folder / "model-1.safetensors", SHARD)
    refusal = None
    for config, index in ((data, b'{"weight_map": {"a": "model-1.safetensors"}}'), (b"{}", data)):
        _write(folder / "config.json", config)
        _write(folder / "model.safetensors.index.json", index)
        try:
            dict(open_folder(folder).parts[""].tensors)
        except CheckpointError as error:
            one_line(error)
            refusal = error
    if refusal:
        raise refusal


def _picture(data: bytes, folder: Path) -> None:
    path = _write(folder / "picture.png", data)
    with suppress(PictureError):
        read_facts(path)
    read_recipe(path)


def _mask(data: bytes, folder: Path) -> None:
    with patch.object(
        reading, "MOST_PIXELS", SMALL
    ):  # a size that damage makes up may be decoded, and takes memory
        read_mask(_write(folder / "mask.png", data))


def _upscaler(data: bytes, folder: Path) -> None:
    dict(open_upscaler(_write(folder / "4x.pth", data)).tensors)


def _vocabulary(data: bytes, _: Path) -> None:
    """The same bytes as each file of a tokenizer, beside sound ones; refused if they are none."""
    entries, merges, special = SOUND[0], SOUND[1], SOUND[3]
    refusal = None
    for files in (
        {"vocab.json": data, "merges.txt": merges, "special_tokens_map.json": special},
        {"vocab.json": entries, "merges.txt": data, "special_tokens_map.json": special},
        {"vocab.json": entries, "merges.txt": merges, "special_tokens_map.json": data},
        {"tokenizer.json": data, "special_tokens_map.json": special},
        {
            "vocab.json": entries,
            "merges.txt": merges,
            "special_tokens_map.json": special,
            "added_tokens.json": data,
        },
    ):
        try:
            read_vocabulary(files)
            return
        except ValueError as error:
            refusal = error
    assert refusal is not None
    raise refusal


def _recipe(data: bytes, _: Path) -> None:
    """The same text as a recipe of each program, and of ours; refused if it is of none."""
    text, refusal, read = data.decode(errors="replace"), None, False
    readers = [partial(read_others, Recipe("PNG", 64, 64, {name: text})) for name in (*TEXTS, COMMENT)]
    readers += [partial(kind.from_json, text) for kind in (Facts, GridFacts, TravelFacts)]
    for reader in readers:
        try:
            reader()
            read = True
        except PictureError as error:
            one_line(error)
            refusal = error
    if refusal and not read:
        raise refusal


def _requests(data: bytes, folder: Path) -> None:
    """The same bytes in each form, as far as fifty orders go."""
    refusal, read = None, False
    for form in FORMS:
        try:
            entries = [*islice(read_orders(_write(folder / "requests", data), form=form), 50)]
        except OrderError as error:
            one_line(error)
            refusal = error
            continue
        for entry in entries:
            assert entry.error.isprintable(), f"a message of several lines: {entry.error!r}"
            read = read or entry.order is not None
    if refusal and not read:
        raise refusal


def _prompt(data: bytes, _: Path) -> None:
    for grammar in GRAMMARS:
        parse(data.decode(errors="surrogateescape"), grammar)


def one_line(error: Exception) -> None:
    """Refusals are one printable line."""
    assert str(error).isprintable(), f"a message of several lines: {str(error)!r}"


PARSERS: dict[str, tuple[Callable[[bytes, Path], None], tuple[type[Exception], ...]]] = {
    "safetensors": (_tensors, (CheckpointError,)),
    "zip": (_torch, (CheckpointError,)),
    "legacy": (_torch, (CheckpointError,)),
    "embeddings": (_embedding, (CheckpointError,)),
    "adapters": (_adapter, (CheckpointError,)),
    "control": (_control, (CheckpointError,)),
    "image prompts": (_image_prompt, (CheckpointError,)),
    "tiny autoencoders": (_tiny_vae, (CheckpointError,)),
    "upscalers": (_upscaler, (CheckpointError,)),
    "vocabularies": (_vocabulary, (ValueError,)),
    "recipes": (_recipe, (PictureError,)),
    "requests": (_requests, (OrderError,)),
    "folders": (_folder, (CheckpointError,)),
    "pictures": (_picture, (PictureError,)),
    "masks": (_mask, (PictureError,)),
    "prompts": (_prompt, ()),
}
