"""Where programs differ in what a request asks for, from its prompt to its pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

from inkpunk_clip import LANGUAGES, Language
from inkpunk_sampling import CONVENTIONS, Conventions


@dataclass(frozen=True)
class Program:
    """One program's answers to what a request leaves open.

    Attributes:
        sampling: those that are the sampler's and its noise's.
        language: how it reads a prompt.
        last_layer: what it calls the text encoder's last layer, counting "CLIP skip" up from there.
        skips_negative: whether CLIP skip is of the negative prompt, too.
        rescales_v: whether guidance is rescaled in v, as its paper's model predicts, or in what the model predicts.
        draws_encoding: whether an init picture's latents are drawn from what the VAE's encoder tells of them, by the
            image's own first noise; else they are its mean.
        counts_all_steps: whether the steps of a prompt that changes are all those asked for, where image to image
            runs fewer; else those that are run.
        mask_cells: what of a mask's pixels tells of a cell of the latents: the "most" of them, or without grey their
            "mean" or the "first".
    """

    sampling: Conventions
    language: Language
    last_layer: int = 1
    skips_negative: bool = True
    rescales_v: bool = True
    draws_encoding: bool = True
    counts_all_steps: bool = False
    mask_cells: str = "most"


# AUTOMATIC1111 and ComfyUI draw the encoding, too, but by a generator that nobody has seeded.
PROGRAMS: Mapping[str, Program] = {
    "inkpunk": Program(CONVENTIONS["inkpunk"], LANGUAGES["inkpunk"]),
    "a1111": Program(
        CONVENTIONS["a1111"],
        LANGUAGES["a1111"],
        draws_encoding=False,
        counts_all_steps=True,
        mask_cells="mean",
    ),
    "comfyui": Program(CONVENTIONS["comfyui"], LANGUAGES["comfyui"], draws_encoding=False),
    "diffusers": Program(
        CONVENTIONS["diffusers"],
        LANGUAGES["diffusers"],
        last_layer=0,
        skips_negative=False,
        rescales_v=False,
        mask_cells="first",
    ),
}
