"""LoRAs that a prompt asks for, as AUTOMATIC1111 writes it: `<lora:name:0.8>`."""

import re

from inkpunk_weights import CheckpointError

from inkpunk.models.loras import Lora

TAG = re.compile(r"<(?:lora|lyco):([^<>]*)>")
NAMED = {"te": 0, "unet": 1}  # weights by name, and which of those in their places they are


class TagError(ValueError):
    """A tag that cannot be read; the message says which, and what to write."""


def has_tags(prompt: str) -> bool:
    """Whether a prompt asks for LoRAs."""
    return TAG.search(prompt) is not None


def split_tags(prompt: str) -> tuple[str, tuple[Lora, ...]]:
    """Take the LoRAs out of a prompt.

    `<lora:name>` is one at weight 1, `<lora:name:0.8>` at another, and `<lora:name:0.5:0.8>` at 0.5 in the text
    encoder and 0.8 in the UNet: that order is AUTOMATIC1111's. The weights may also have names, `te=0.5:unet=0.8`.

    Raises:
        TagError: for a tag that is none of these.
    """
    return TAG.sub("", prompt), tuple(_read(match) for match in TAG.finditer(prompt))


def _read(match: re.Match[str]) -> Lora:
    name, *told = (each.strip() for each in match[1].split(":"))
    weights: list[float | None] = [None, None]
    try:
        if not name or len(told) > 2:
            raise ValueError
        for place, text in enumerate(told):
            key, named, value = text.rpartition("=")
            weights[NAMED[key.strip()] if named else place] = float(value)
        text_encoder, unet = weights
        if unet is None:
            unet = 1.0 if text_encoder is None else text_encoder
        return Lora(name, unet, text_encoder)
    except (ValueError, KeyError) as error:
        why = f" ({error})" if isinstance(error, CheckpointError) else ""
        raise TagError(f"{match[0]} is no LoRA; write <lora:name:0.8>{why}") from error
