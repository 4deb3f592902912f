"""What the tensors of an image prompt are called in published files and by us, and which image prompts are others."""

import re
from collections.abc import Collection, Iterator, Mapping

from inkpunk_weights.lazy import LazyTensors
from inkpunk_weights.whole import Shape, linear, norm, size

PROJECTION, ATTENTION = "image_proj", "ip_adapter"
"""The two halves of a file: before a dot in names of safetensors, and as two dicts in one of `torch.save`."""
HEAD_WIDTH = 64  # of the resampler's attention, in every file

OF_PLAIN = {"proj": "linear", "norm": "norm"}
OF_RESAMPLER = {name: name for name in ("proj_in", "proj_out", "norm_out")}
OF_BLOCK = {  # of a resampler
    "0.norm1": "norm_patches",
    "0.norm2": "norm_queries",
    "0.to_q": "query",
    "0.to_kv": "key_value",
    "0.to_out": "out",
    "1.0": "norm",
    "1.1": "fc1",
    "1.3": "fc2",
}
QUERIES = "projection.queries"
BLOCK = re.compile(r"layers\.(\d{1,2})\.(.+)", re.ASCII)
KEY_OR_VALUE = re.compile(rf"{ATTENTION}\.(\d{{1,3}})\.to_([kv])_ip\.weight", re.ASCII)

PLAIN, PLUS = "plain", "plus"
FACE_ID = "a FaceID image prompt, which needs a program that recognises faces"
OTHER_KINDS: Mapping[str, str] = {  # the first that is found in any tensor's name decides
    r"to_[qkv]_lora\.|to_out_lora\.|perceiver_resampler\.": FACE_ID,
    r"^image_proj\.proj\.3\.": 'a "full face" image prompt, whose projection is another network',
    r"^image_proj\.proj\.[02]\.": FACE_ID,
    r"^image_proj\.layers\.\d+\.(attn|adaln)": "an image prompt for another model",
    r"^ip_adapter\.(?!\d+\.to_[kv]_ip\.weight$)": "an image prompt for another model",
}
OTHER_CONTEXTS = {1024: "Stable Diffusion 2", 1280: "Stable Diffusion XL", 2048: "Stable Diffusion XL"}


def other_kind(names: Collection[str]) -> str | None:
    """Which image prompt it is, if not one of those that we read."""
    for pattern, what in OTHER_KINDS.items():
        found = re.compile(pattern)
        if any(found.search(name) for name in names):
            return what
    return None


def ours_of(name: str) -> str | None:
    """Our name of a file's tensor; None if an image prompt that we read has no such tensor."""
    if found := KEY_OR_VALUE.fullmatch(name):
        # They are numbered through all attentions, of which each second one is a cross-attention.
        place, odd = divmod(int(found[1]), 2)
        return f"{'keys' if found[2] == 'k' else 'values'}.{place}.weight" if odd else None
    half, _, rest = name.partition(".")
    if half != PROJECTION:
        return None
    if rest == "latents":
        return QUERIES
    module, _, leaf = rest.rpartition(".")
    if found := BLOCK.fullmatch(module):
        inside = OF_BLOCK.get(found[2])
        return f"projection.blocks.{int(found[1])}.{inside}.{leaf}" if inside else None
    inside = (OF_PLAIN | OF_RESAMPLER).get(module)
    return f"projection.{inside}.{leaf}" if inside else None


def tensors_of(where: str, kind: str, tensors: LazyTensors) -> Iterator[tuple[str, Shape]]:
    """Name and shape of each tensor of an image prompt of the sizes that these, by our names, have.

    Raises:
        CheckpointError: there is nothing to tell a size by.
    """
    context = size(where, tensors, "keys.0.weight", 2, 1)
    if kind == PLAIN:
        embed = size(where, tensors, "projection.linear.weight", 2, 1)
        tokens = max(1, size(where, tensors, "projection.linear.weight", 2, 0) // context)
        yield from linear("projection.linear", embed, tokens * context)
        yield from norm("projection.norm", context)
    else:
        yield from _resampler(where, tensors, context)
    layers = [name for name in tensors if name.startswith(("keys.", "values."))]
    for place in range(max(int(name.split(".")[1]) for name in layers) + 1):
        width = size(where, tensors, f"keys.{place}.weight", 2, 0)
        for half in ("keys", "values"):
            yield from linear(f"{half}.{place}", context, width, bias=False)


def _resampler(where: str, tensors: LazyTensors, context: int) -> Iterator[tuple[str, Shape]]:
    tokens, width = (size(where, tensors, QUERIES, 2, axis) for axis in (0, 1))
    yield QUERIES, (tokens, width)
    yield from linear("projection.proj_in", size(where, tensors, "projection.proj_in.weight", 2, 1), width)
    inner = size(where, tensors, "projection.blocks.0.query.weight", 2, 0)
    inner = max(1, inner // HEAD_WIDTH) * HEAD_WIDTH
    blocks = [int(name.split(".")[2]) for name in tensors if name.startswith("projection.blocks.")]
    for block in (f"projection.blocks.{i}" for i in range(max(blocks) + 1)):
        for each in ("norm_patches", "norm_queries", "norm"):
            yield from norm(f"{block}.{each}", width)
        yield from linear(f"{block}.query", width, inner, bias=False)
        yield from linear(f"{block}.key_value", width, 2 * inner, bias=False)
        yield from linear(f"{block}.out", inner, width, bias=False)
        yield from linear(f"{block}.fc1", width, 4 * width, bias=False)
        yield from linear(f"{block}.fc2", 4 * width, width, bias=False)
    yield from linear("projection.proj_out", width, context)
    yield from norm("projection.norm_out", context)
