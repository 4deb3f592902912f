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
    """

    kind: str
    part: str
    leaf: str = "weight"


# PEFT may put the adapter's own name into a tensor's.
ENDS: tuple[tuple[re.Pattern[str], Part], ...] = tuple(
    (re.compile(f"(.+?){pattern}"), part)
    for pattern, part in (
        (r"\.lora_down\.weight", Part(LORA, "down")),
        (r"\.lora_up\.weight", Part(LORA, "up")),
        (r"\.lora_mid\.weight", Part(LORA, "mid")),
        (r"\.lora_A(\.default(_\d)?)?\.weight", Part(LORA, "down")),
        (r"\.lora_B(\.default(_\d)?)?\.weight", Part(LORA, "up")),
        (r"(\.lora|\.lora_linear_layer|_lora)\.down\.weight", Part(LORA, "down")),
        (r"(\.lora|\.lora_linear_layer|_lora)\.up\.weight", Part(LORA, "up")),
        *((rf"\.hada_w{i}_{x}", Part(LOHA, f"w{i}_{x}")) for i in (1, 2) for x in "ab"),
        *((rf"\.hada_t{i}", Part(LOHA, f"t{i}")) for i in (1, 2)),
        *((rf"\.lokr_w{i}", Part(LOKR, f"w{i}")) for i in (1, 2)),
        *((rf"\.lokr_w{i}_{x}", Part(LOKR, f"w{i}_{x}")) for i in (1, 2) for x in "ab"),
        (r"\.lokr_t2", Part(LOKR, "t2")),
        (r"\.(diff|w_norm)", Part(FULL, "difference")),
        (r"\.(diff_b|b_norm)", Part(FULL, "difference", "bias")),
        (r"(\.dora_scale|[._]lora_magnitude_vector(\.default(_\d)?)?(\.weight)?)", Part("", MAGNITUDE)),
        (r"\.alpha", Part("", ALPHA)),
    )
)

# Relatives whose formulas are others, by the ends of names that they alone have.
UNREAD: Mapping[str, str] = {
    r"\.boft_[RrSs](\.\w+)?": "BOFT",
    r"\.(oft_blocks|oft_diag|oft_[RrSs](\.\w+)?)": "OFT",
    r"\.[ab][12]\.weight": "GLoRA",
    r"(\.on_input|\.ia3_l(\.\w+)?)": "(IA)3",
    r"\.vera_lambda_[bd](\.\w+)?": "VeRA",
    r"\.lora_E(\.\w+)?": "AdaLoRA",
    r"\.bias_(indices|values|size)": "LyCORIS with sparse biases",
    r"\.hra_u(\.\w+)?": "HRA",
    r"\.(q|p|lambda)_layer\.weight": "T-LoRA",
    r"\.fourierft_spectrum(\.\w+)?": "FourierFT",
}

# What other models' layers are called.
OTHERS: Mapping[str, str] = {
    r"lora_te[12]_|text_encoder_2\.|\w*[._]transformer_blocks[._][2-9][._]attn|add_embedding[._]|"
    r"lora_unet_(add_embedding|label_emb)_": "Stable Diffusion XL",
    r"(.*[._])?(double_blocks|single_blocks|single_transformer_blocks)[._]": "Flux",
    r"(.*[._])?joint_blocks[._]": "Stable Diffusion 3",
    r"(transformer\.|lora_transformer_)": "Flux, Stable Diffusion 3 or another transformer",
    r".*motion_modules[._]": "AnimateDiff",
    r"lora_prior_": "Stable Cascade",
    r"(diffusion_model\.|lora_unet_|base_model\.model\.)?(blocks|layers|context_refiner)[._]\d": (
        "a video model or another transformer"
    ),
}

KOHYAS = {"lora_unet_": UNET, "lora_te_": TEXT_ENCODER, "lycoris_": UNET}  # what kohya's names begin with
PREFIXES = re.compile(
    r"(base_model\.model\.)?(unet\.|(model\.)?diffusion_model\.|text_encoder\.|(text_encoders\.)?clip_l\.transformer\.)?"
    r"(text_model\.)?"
)
# what diffusers' attention processors called their layers, up to 0.20
PROCESSORS = {"q_proj": "q_proj", "to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


def part_of(name: str) -> tuple[str, Part] | None:
    """The layer's name in the file, and the part that the tensor is; None where the end says nothing known."""
    for pattern, part in ENDS:
        if match := pattern.fullmatch(name):
            return match[1], part
    return None


def layer_of(name: str) -> tuple[str, str] | None:
    """The component and our name of a file's layer; None if Stable Diffusion v1 has no such layer."""
    for start, component in KOHYAS.items():
        if name.startswith(start):
            rest = name.removeprefix(start)
            ours = _flat(component).get(rest.removeprefix("text_model_"))
            return None if ours is None else (component, ours)
    rest = bare_layer(name)
    for component in (UNET, TEXT_ENCODER):
        if ours := _dotted(component).get(rest):
            return component, ours
    return None


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
