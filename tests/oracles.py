"""What the tests against diffusers and transformers share."""

import gzip
import json
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from inkpunk_clip import TextEncoder, TextEncoderConfig
from inkpunk_weights import open_checkpoint
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

# CLIP's entries, less bytes (within a word and ending one) and special tokens.
MERGES = 49408 - 2 * 256 - 2


def our_weights(model: Any) -> dict[str, Tensor]:
    """The weights of a diffusers or transformers model under our names: saved as it saves itself, read as we read."""
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        (component,) = open_checkpoint(folder).components.values()
        return {name: tensor.clone() for name, tensor in component.tensors.items()}  # the file is about to go


def clip_text_model(config: TextEncoderConfig) -> CLIPTextModel:
    """transformers' text encoder of these sizes."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=config.vocabulary,
            max_position_embeddings=config.positions,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.feed_forward,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=config.vocabulary - 1,
        )
    ).eval()


def ours_with_the_weights_of(oracle: CLIPTextModel) -> TextEncoder:
    """Our text encoder, of what transformers' saves."""
    weights = our_weights(oracle)
    config = TextEncoderConfig.from_diffusers(oracle.config.to_dict())
    assert config == TextEncoderConfig.from_weights(weights, heads=config.heads)
    with torch.device("meta"):
        encoder = TextEncoder(config)
    encoder.load_state_dict(weights, assign=True)
    return encoder.eval()


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """The largest difference, to the largest number."""
    return float((actual - expected).abs().max() / expected.abs().max())


def randomise(model: CLIPTextModel, seed: int) -> None:
    """Larger and less trivial weights than transformers starts with, so that every part counts."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        spread = parameter.shape[-1] ** -0.5 if parameter.ndim == 2 else 0.5
        parameter.data.normal_(std=spread, generator=generator)


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """transformers' tokenizer, built in a folder from the merges file that CLIP came with."""
    packed = files("inkpunk_clip") / "data" / "bpe_simple_vocab_16e6.txt.gz"
    merges = gzip.decompress(packed.read_bytes()).decode().splitlines()[1 : 1 + MERGES]
    symbols = list(bytes_to_unicode().values())
    vocabulary = [
        *symbols,
        *(symbol + "</w>" for symbol in symbols),
        *("".join(pair.split()) for pair in merges),
    ]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    ids = {entry: index for index, entry in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
