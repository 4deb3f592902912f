"""What the tensors of control networks are called: by us, in single files, and in diffusers' folders.

Rows `(ours, theirs)` of module names, as `inkpunk_weights.names` has them for checkpoints.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from inkpunk_weights.blocks import Blocks, count, ldm_unet_blocks, numbers, pyramid_blocks
from inkpunk_weights.names import OUR_BLOCKS, Rows, diffusers_unet, ldm_unet

CONTROLNET, T2I_ADAPTER = "ControlNet", "T2I-Adapter"
SINGLE_FILE, DIFFUSERS = "single file", "diffusers"
ENCODER = ("conv_in", "time_embedding", "down", "middle")  # what a ControlNet has of a UNet


@dataclass(frozen=True)
class Naming:
    """One way to name one kind of control network.

    Attributes:
        kind: "ControlNet" or "T2I-Adapter".
        layout: "single file" or "diffusers".
        prefixes: what may stand before its names.
        landmark: what, after a prefix, only this kind in this layout has.
        rows: names its modules, from the names in a file without prefix.
    """

    kind: str
    layout: str
    prefixes: tuple[str, ...]
    landmark: str
    rows: Callable[[Collection[str]], Rows]


def _of_encoder(rows: Rows) -> Rows:
    return ((ours, theirs) for ours, theirs in rows if ours.split(".")[0] in ENCODER)


def _skips(blocks: Blocks) -> int:
    return blocks.levels * (blocks.layers + 1)


def controlnet_single_file(names: Collection[str]) -> Rows:
    """As its authors' code names it."""
    convolutions = (count(names, r"input_hint_block\.(\d+)\.") + 1) // 2
    return _single_file(ldm_unet_blocks(names), convolutions)


def single_file_rows(ours: Collection[str]) -> Rows:
    """The same rows, from our names of a ControlNet's tensors."""
    return _single_file(OUR_BLOCKS["unet"](ours), count(ours, r"hint\.convolutions\.(\d+)\."))


def _single_file(blocks: Blocks, convolutions: int) -> Rows:
    """LDM's UNet, and around it what is numbered with the activations between."""
    yield from _of_encoder(ldm_unet(blocks))
    for index in range(convolutions):
        yield f"hint.convolutions.{index}", f"input_hint_block.{2 * index}"
    for index in range(_skips(blocks)):
        yield f"zero_convs.{index}", f"zero_convs.{index}.0"
    yield "middle_zero_conv", "middle_block_out.0"


def controlnet_diffusers(names: Collection[str]) -> Rows:
    """As diffusers names it."""
    blocks = pyramid_blocks("down_blocks", "resnets", "attentions", names)
    yield from _of_encoder(diffusers_unet(blocks))
    between = count(names, r"controlnet_cond_embedding\.blocks\.(\d+)\.")
    yield "hint.convolutions.0", "controlnet_cond_embedding.conv_in"
    for index in range(between):
        yield f"hint.convolutions.{index + 1}", f"controlnet_cond_embedding.blocks.{index}"
    yield f"hint.convolutions.{between + 1}", "controlnet_cond_embedding.conv_out"
    for index in range(_skips(blocks)):
        yield f"zero_convs.{index}", f"controlnet_down_blocks.{index}"
    yield "middle_zero_conv", "controlnet_mid_block"


def t2i_adapter_diffusers(names: Collection[str]) -> Rows:
    """As diffusers names it: level by level."""
    yield "conv_in", "conv_in"
    for level in numbers(names, r"body\.(\d+)\."):
        yield f"levels.{level}.conv_in", f"body.{level}.in_conv"
        yield f"levels.{level}.conv_out", f"body.{level}.out_conv"
        for index in numbers(names, rf"body\.{level}\.resnets\.(\d+)\."):
            for part in (1, 2):
                yield f"levels.{level}.blocks.{index}.conv{part}", f"body.{level}.resnets.{index}.block{part}"


def t2i_adapter_single_file(names: Collection[str]) -> Rows:
    """As its authors' code names it: two blocks a level, numbered straight through."""
    yield "conv_in", "conv_in"
    for block in numbers(names, r"body\.(\d+)\."):
        level, index = divmod(block, 2)
        yield f"levels.{level}.conv_in", f"body.{block}.in_conv"
        for part in (1, 2):
            yield f"levels.{level}.blocks.{index}.conv{part}", f"body.{block}.block{part}"


def light_t2i_adapter_single_file(names: Collection[str]) -> Rows:
    """The light one, as its authors' code names it: level by level."""
    for level in numbers(names, r"body\.(\d+)\."):
        yield f"levels.{level}.conv_in", f"body.{level}.in_conv"
        yield f"levels.{level}.conv_out", f"body.{level}.out_conv"
        for index in numbers(names, rf"body\.{level}\.body\.(\d+)\."):
            for part in (1, 2):
                yield f"levels.{level}.blocks.{index}.conv{part}", f"body.{level}.body.{index}.block{part}"


NAMINGS = (
    Naming(CONTROLNET, SINGLE_FILE, ("control_model.", ""), "input_hint_block.", controlnet_single_file),
    Naming(CONTROLNET, DIFFUSERS, ("", "controlnet."), "controlnet_cond_embedding.", controlnet_diffusers),
    Naming(T2I_ADAPTER, DIFFUSERS, ("adapter.", ""), "body.0.resnets.", t2i_adapter_diffusers),
    Naming(T2I_ADAPTER, SINGLE_FILE, ("", "adapter."), "body.0.block1.", t2i_adapter_single_file),
    Naming(T2I_ADAPTER, SINGLE_FILE, ("", "adapter."), "body.0.body.", light_t2i_adapter_single_file),
)
"""All that are read; the first of ControlNets is written."""

# Relatives that are read by nobody here, by what their names hold; the first that is found decides.
RELATIVES = {
    r"^lora_controlnet$": "a Control-LoRA",
    r"lllite_": "a ControlLLLite",
    r"^(style_embedding$|transformer_layes\.)": "a T2I-Adapter of styles",
    r"^difference$": "a ControlNet stored as its difference from a model",
    r"^(controlnet_(x_embedder|blocks|single_blocks)\b|pos_embed_input\.)": (
        "a ControlNet for Flux or Stable Diffusion 3"
    ),
}
# And what is named as control networks are, but for another model.
OTHER_BASES = {
    r"(^|\.)(task_embedding$|control_add_embedding\.)": "a union ControlNet for Stable Diffusion XL",
    r"(^|\.)(label_emb|add_embedding)\.": "a ControlNet for Stable Diffusion XL",
    r"motion_modules\.": "a SparseCtrl of AnimateDiff",
}
OTHER_WIDTHS = {1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
"""Of the context, which is 768 channels wide in Stable Diffusion v1."""
ADAPTERS_FOR_XL = (16 * 16, 3 * 16 * 16)
"""Channels that T2I-Adapters for Stable Diffusion XL make of a hint, by squares of 16 pixels; those for v1 by 8."""
