"""Which weight a tensor of an adapter file is about, and which part of the formula it is.

A name is a layer's and then a part's. Layers are called as diffusers calls them, with dots or, in kohya's layout,
with underscores; a few files call the UNet's as LDM does. The text encoder's names are the same everywhere.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

from inkpunk_weights.adapters.changes import FULL, LOHA, LOKR, LORA, MAGNITUDE
from inkpunk_weights.blocks import Blocks
from inkpunk_weights.names import clip_text_encoder, diffusers_unet, ldm_unet

KOHYA, DIFFUSERS, PEFT = "kohya", "diffusers", "PEFT"
ALPHA = "alpha"
TEXT_ENCODER, UNET = "text_encoder", "unet"

# More than any sibling of Stable Diffusion v1 has; diffusers' names say level and place, whatever their number.
MOST = Blocks(4, (True,) * 6)
MOST_LAYERS = Blocks(32)
LDM_BLOCKS = Blocks(2, (True, True, True, False))  # LDM's numbers mean a place in v1.5 alone


@dataclass(frozen=True)
class Part:
    """What the end of a name says.

    Attributes:
        kind: of the family, or "" for what every kind may have.
        part: of its formula.
        leaf: which of the layer's parameters is changed.
        vector: whether it is one, whatever axes it is stored with.
    """

    kind: str
    part: str
    leaf: str = "weight"
    vector: bool = False


ENDS: Mapping[str, Part] = {
    "lora_down.weight": Part(LORA, "down"),
    "lora_up.weight": Part(LORA, "up"),
    "lora_mid.weight": Part(LORA, "mid"),
    "lora_A.weight": Part(LORA, "down"),
    "lora_B.weight": Part(LORA, "up"),
    **{f"hada_w{i}_{x}": Part(LOHA, f"w{i}_{x}") for i in (1, 2) for x in "ab"},
    **{f"hada_t{i}": Part(LOHA, f"t{i}") for i in (1, 2)},
    **{f"lokr_w{i}": Part(LOKR, f"w{i}") for i in (1, 2)},
    **{f"lokr_w{i}_{x}": Part(LOKR, f"w{i}_{x}") for i in (1, 2) for x in "ab"},
    "lokr_t2": Part(LOKR, "t2"),
    "diff": Part(FULL, "difference"),
    "w_norm": Part(FULL, "difference"),
    "diff_b": Part(FULL, "difference", "bias"),
    "b_norm": Part(FULL, "difference", "bias"),
    "dora_scale": Part("", MAGNITUDE),
    "lora_magnitude_vector": Part("", MAGNITUDE, vector=True),
    "lora_magnitude_vector.weight": Part("", MAGNITUDE, vector=True),
    ALPHA: Part("", ALPHA),
}
MARKED_ENDS: Mapping[str, Part] = {"down.weight": Part(LORA, "down"), "up.weight": Part(LORA, "up")}
MARKS = (".lora", ".lora_linear_layer", "_lora")  # what diffusers puts between a layer's name and these
PEFTS_OWN_NAME = re.compile(
    r"(?<=\.lora_[AB])\.[\w-]+(?=\.weight$)|\.default(?=(\.weight)?$)"
)  # of the adapter

# Relatives whose formulas are others, by the ends of names that they alone have.
UNREAD: Mapping[str, str] = {
    r"\.boft_[RrSs](\.\w+)?": "BOFT",
    r"\.(oft_blocks|oft_diag|oft_[RrSs](\.\w+)?)": "OFT",
    r"\.[ab][12]\.weight": "GLoRA",
    r"(\.on_input|\.ia3_l(\.\w+)?)": "(IA)3",
    r"\.vera_lambda_[bd](\.\w+)?": "VeRA",
    r"\.lora_E(\.\w+)?": "AdaLoRA",
    r"\.bias_(indices|values|size)": "LyCORIS with sparse biases",
    r"\.lora_(B|up)(\.[\w-]+)?\.bias": "LoRA with biases",
    r"\.lora_embedding_[AB](\.\w+)?": "LoRA of embeddings",
    r"\.hra_u(\.\w+)?": "HRA",
    r"\.(q|p|lambda)_layer\.weight": "T-LoRA",
    r"\.fourierft_spectrum(\.\w+)?": "FourierFT",
}

# What other models' layers are called. XL comes last: files for Stable Diffusion 3 have a second CLIP, too.
OTHERS: Mapping[str, str] = {
    r"(.*[._])?(double_blocks|single_blocks|single_transformer_blocks)[._]": "Flux",
    r"(.*[._])?joint_blocks[._]": "Stable Diffusion 3",
    r"(transformer\.|lora_transformer_)": "Flux, Stable Diffusion 3 or another transformer",
    r".*motion_modules[._]": "AnimateDiff",
    r"lora_prior_": "Stable Cascade",
    r"(diffusion_model\.|lora_unet_|base_model\.model\.)?(blocks|layers|context_refiner)[._]\d": (
        "a video model or another transformer"
    ),
    r"lora_te2_|text_encoder_2\.|.*[._]transformer_blocks[._][2-9][._]attn|(unet\.)?add_embedding[._]|"
    r"lora_unet_(add_embedding|label_emb)_": "Stable Diffusion XL",
}

# What kohya's names begin with. diffusers writes "te1" for v1's one text encoder, and LyCORIS by itself does not say
# which network it was laid around.
KOHYAS = {
    "lora_unet_": (UNET,),
    "lora_te_": (TEXT_ENCODER,),
    "lora_te1_": (TEXT_ENCODER,),
    "lycoris_": (UNET, TEXT_ENCODER),
}
PREFIXES = re.compile(
    r"(base_model\.model\.)?(unet\.|(model\.)?diffusion_model\.|text_encoder\.|(text_encoders\.)?clip_l\.transformer\.)?"
    r"(text_model\.)?"
)
# what diffusers' attention processors called their layers, up to 0.20
PROCESSORS = {"q_proj": "q_proj", "to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


def part_of(name: str) -> tuple[str, Part] | None:
    """The layer's name in the file, and the part that the tensor is; None where the end says nothing known."""
    bare = PEFTS_OWN_NAME.sub("", name)
    for dots in (1, 2):
        layer, *last = bare.rsplit(".", dots)
        end = ".".join(last)
        unmarked = _without_mark(layer)
        if end in MARKED_ENDS and unmarked != layer:
            return unmarked, MARKED_ENDS[end]
        if end in ENDS and layer:
            return (unmarked if end == ALPHA else layer), ENDS[end]
    return None


def layer_of(name: str) -> tuple[str, str] | None:
    """The component and our name of a file's layer; None if Stable Diffusion v1 has no such layer."""
    start = next((start for start in KOHYAS if name.startswith(start)), "")
    if start:
        rest, components, names = name.removeprefix(start).removeprefix("text_model_"), KOHYAS[start], _flat
    else:
        rest, components, names = bare_layer(name), (UNET, TEXT_ENCODER), _dotted
    return next(((each, ours) for each in components if (ours := names(each).get(rest))), None)


def bare_layer(name: str) -> str:
    """A layer's name in diffusers' words alone, without what layouts with dots put before it."""
    match = PREFIXES.match(name)
    return _without_processor(name[match.end() :] if match else name)


def layout_of(names: Collection[str]) -> str:
    """Whose layout the names of a file's tensors are in."""
    if any(name.startswith(tuple(KOHYAS)) for name in names):
        return KOHYA
    if any(re.search(r"\.lora_[AB]\.|^base_model\.", name) for name in names):
        return PEFT
    return DIFFUSERS


def unread_kind(names: Collection[str]) -> str | None:
    """The kind of an adapter that is not read, if the names are one's."""
    for pattern, kind in UNREAD.items():
        compiled = re.compile(f".+{pattern}")
        if any(compiled.fullmatch(name) for name in names):
            return kind
    return None


def other_base(names: Collection[str]) -> str | None:
    """The other model that the names are an adapter of, if they are."""
    for pattern, model in OTHERS.items():
        compiled = re.compile(pattern)
        if any(compiled.match(name) for name in names):
            return model
    return None


def kohya_name(component: str, ours: str) -> str | None:
    """What kohya's layout calls a layer of ours; None if there is no such layer."""
    names = _theirs(component)
    if ours not in names:
        return None
    start = "lora_te_text_model_" if component == TEXT_ENCODER else "lora_unet_"
    return start + names[ours].replace(".", "_")


def _without_mark(layer: str) -> str:
    mark = max((end for end in MARKS if layer.endswith(end)), key=len, default="")
    return layer.removesuffix(mark) or layer


def _without_processor(name: str) -> str:
    """A layer's name as it is today: diffusers once kept adapters in a processor beside the layers."""
    layer, dot, last = name.partition(".processor.")
    if not dot and "self_attn.to_" in name:
        layer, _, last = name.rpartition(".")
        return f"{layer}.{PROCESSORS.get(last, last)}"
    if not dot:
        return name
    return f"{layer}.{'to_out.0' if last == 'to_out' else last}"


@cache
def _theirs(component: str) -> Mapping[str, str]:
    rows = clip_text_encoder(MOST_LAYERS) if component == TEXT_ENCODER else diffusers_unet(MOST)
    return dict(rows)


@cache
def _dotted(component: str) -> Mapping[str, str]:
    names = {theirs: ours for ours, theirs in _theirs(component).items()}
    if component == UNET:
        names |= {theirs: ours for ours, theirs in ldm_unet(LDM_BLOCKS)}
    return names


@cache
def _flat(component: str) -> Mapping[str, str]:
    return {name.replace(".", "_"): ours for name, ours in _dotted(component).items()}
