"""Image prompts and their encoder are read in every published layout, whole; all else is refused by what it is."""

import itertools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from inkpunk_weights import (
    CheckpointError,
    open_adapter,
    open_checkpoint,
    open_embedding,
    open_image_encoder,
    open_image_prompt,
)
from safetensors.torch import save_file
from torch import Tensor

Named = dict[str, Tensor]
CONTEXT = 6


def drawn(shapes: Mapping[str, tuple[int, ...]]) -> Named:
    draw = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


def attention(context: int = CONTEXT) -> Named:
    places = itertools.product((1, 3, 5), "kv")
    return drawn({f"ip_adapter.{i}.to_{each}_ip.weight": (4 * i, context) for i, each in places})


def projection(context: int = CONTEXT) -> Named:
    shapes = {"proj.weight": (4 * context, 5), "proj.bias": (4 * context,)}
    shapes |= {"norm.weight": (context,), "norm.bias": (context,)}
    return drawn({f"image_proj.{name}": shape for name, shape in shapes.items()})


def resampler() -> Named:
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, 3, 8),
        "proj_in.weight": (8, 7),
        "proj_in.bias": (8,),
        "proj_out.weight": (CONTEXT, 8),
        "proj_out.bias": (CONTEXT,),
        "norm_out.weight": (CONTEXT,),
        "norm_out.bias": (CONTEXT,),
    }
    for layer in ("layers.0", "layers.1"):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            shapes |= {f"{layer}.{norm}.weight": (8,), f"{layer}.{norm}.bias": (8,)}
        shapes |= {f"{layer}.0.to_q.weight": (128, 8), f"{layer}.0.to_kv.weight": (256, 8)}
        shapes |= {f"{layer}.0.to_out.weight": (8, 128)}
        shapes |= {f"{layer}.1.1.weight": (32, 8), f"{layer}.1.3.weight": (8, 32)}
    return drawn({f"image_proj.{name}": shape for name, shape in shapes.items()})


PLAIN = projection() | attention()
PLUS = resampler() | attention()


def safetensors(tensors: Named, path: Path) -> Path:
    save_file(tensors, path)
    return path


def pickled(tensors: Named, path: Path, **more: object) -> Path:
    """Two dicts in a dict, as `torch.save` was given them."""
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        half, _, rest = name.partition(".")
        halves.setdefault(half, {})[rest] = tensor
    torch.save({**halves, **more}, path)
    return path


WRITERS = pytest.mark.parametrize("write", [safetensors, pickled])
Write = Callable[[Named, Path], Path]


def refusal(opener: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        opener(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    return message


@WRITERS
def test_a_plain_one_is_read_under_our_names(write: Write, tmp_path: Path) -> None:
    file = open_image_prompt(write(PLAIN, tmp_path / "ip-adapter_sd15"))
    assert file.kind == "plain"
    assert torch.equal(file.tensors["projection.linear.weight"], PLAIN["image_proj.proj.weight"])
    for place, odd in enumerate((1, 3, 5)):
        assert torch.equal(file.tensors[f"keys.{place}.weight"], PLAIN[f"ip_adapter.{odd}.to_k_ip.weight"])
        assert torch.equal(file.tensors[f"values.{place}.weight"], PLAIN[f"ip_adapter.{odd}.to_v_ip.weight"])
    assert len(file.tensors) == len(PLAIN)


@WRITERS
def test_a_plus_one_is_read_under_our_names(write: Write, tmp_path: Path) -> None:
    file = open_image_prompt(write(PLUS, tmp_path / "ip-adapter-plus_sd15"))
    assert file.kind == "plus"
    assert torch.equal(file.tensors["projection.queries"], PLUS["image_proj.latents"][0])
    for ours, theirs in (
        ("norm_patches.bias", "0.norm1.bias"),
        ("norm_queries.weight", "0.norm2.weight"),
        ("key_value.weight", "0.to_kv.weight"),
        ("norm.bias", "1.0.bias"),
        ("fc2.weight", "1.3.weight"),
    ):
        found = file.tensors[f"projection.blocks.1.{ours}"]
        assert torch.equal(found, PLUS[f"image_proj.layers.1.{theirs}"])
    assert len(file.tensors) == len(PLUS)


class Evil:
    def __reduce__(self) -> object:
        return os.putenv, ("INKPUNK_CANARY", "run")


def test_nothing_in_a_pickle_is_run(tmp_path: Path) -> None:
    file = open_image_prompt(pickled(PLAIN, tmp_path / "x.bin", hook=Evil()))
    assert any("putenv" in name for name in file.imports)
    assert "INKPUNK_CANARY" not in os.environ


def test_one_without_any_of_its_tensors_is_refused(tmp_path: Path) -> None:
    for name in PLUS.keys() - {"image_proj.latents"}:  # by which it is told
        less = {each: tensor for each, tensor in PLUS.items() if each != name}
        assert "is incomplete" in refusal(open_image_prompt, safetensors(less, tmp_path / "x")), name


@pytest.mark.parametrize("change", [lambda t: t[None], lambda t: t.long(), lambda t: t[:0]])
def test_misshapen_tensors_are_refused(change: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    for name in PLAIN:
        path = safetensors(PLAIN | {name: change(PLAIN[name])}, tmp_path / "x")
        assert "get another copy" in refusal(open_image_prompt, path), name


FACE = {"image_proj.proj.0.weight": torch.zeros(9, 5), "image_proj.norm.weight": torch.zeros(CONTEXT)}
FULL_FACE = {"image_proj.proj.0.weight": torch.zeros(9, 5), "image_proj.proj.3.weight": torch.zeros(CONTEXT)}
FACE_PLUS = {"image_proj.perceiver_resampler.proj_in.weight": torch.zeros(9, 5)}
LORA = {"ip_adapter.0.to_q_lora.down.weight": torch.zeros(2, 4)}


@WRITERS
@pytest.mark.parametrize(
    ("tensors", "what"),
    [
        (projection(2048) | attention(2048), "Stable Diffusion XL"),
        (projection(1024) | attention(1024), "Stable Diffusion 2"),
        (FACE | attention(), "FaceID"),
        (FACE | attention() | LORA, "FaceID"),
        (FACE_PLUS | attention(), "FaceID"),
        (FULL_FACE | attention(), "full face"),
        (projection() | {"ip_adapter.double_blocks.0.weight": torch.zeros(1)}, "another model"),
        (
            PLAIN | {"ip_adapter.2.to_k_ip.weight": torch.zeros(4, 6)},
            "'ip_adapter.2.to_k_ip.weight' is in no",
        ),
        (PLUS | projection(), "does not belong to a plus image prompt"),
    ],
)
def test_other_image_prompts_are_refused_by_name(
    write: Write, tensors: Named, what: str, tmp_path: Path
) -> None:
    assert what in refusal(open_image_prompt, write(tensors, tmp_path / "x"))


def test_halves_are_refused(tmp_path: Path) -> None:
    assert "'ip_adapter'" in refusal(open_image_prompt, pickled(projection(), tmp_path / "x.bin"))
    assert "is incomplete" in refusal(open_image_prompt, safetensors(projection(), tmp_path / "x"))
    assert "is incomplete" in refusal(open_image_prompt, safetensors(attention(), tmp_path / "y"))


def test_what_is_no_image_prompt_is_refused_by_what_it_is(single: Path, tmp_path: Path) -> None:
    lora = {
        f"lora_unet_mid_block_attentions_0_proj_in.lora_{x}.weight": torch.zeros(4, 4) for x in ("up", "down")
    }
    word = {"string_to_param": {"*": torch.zeros(1, 768)}, "name": "neon"}
    torch.save(word, tmp_path / "neon.pt")
    for path, what, found in (
        (single, "a checkpoint of Stable Diffusion v1", "checkpoint"),
        (safetensors(lora, tmp_path / "lora"), "a LoRA", "adapter"),
        (tmp_path / "neon.pt", "a textual-inversion embedding", "embedding"),
        (safetensors({"x": torch.zeros(1)}, tmp_path / "x"), "not an image prompt: neither", None),
        (safetensors(encoder(), tmp_path / "clip"), "CLIP's image encoder", "image encoder"),
    ):
        with pytest.raises(CheckpointError, match=what) as caught:
            open_image_prompt(path)
        assert caught.value.found == found
    assert "a folder" in refusal(open_image_prompt, tmp_path)
    assert "No such file" in refusal(open_image_prompt, tmp_path / "none")
    for opener in (open_image_prompt, open_image_encoder):
        with pytest.raises(CheckpointError, match=r"no such file|no file can have this name"):
            opener("\0")


@WRITERS
@pytest.mark.parametrize("opener", [open_checkpoint, open_adapter, open_image_encoder])
def test_other_readers_say_what_an_image_prompt_is(
    write: Write, opener: Callable[[Path], object], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="an image prompt") as caught:
        opener(write(PLAIN, tmp_path / "x"))
    assert caught.value.found == "image prompt"


def test_the_reader_of_embeddings_says_what_an_image_prompt_is(tmp_path: Path) -> None:
    assert "an image prompt" in refusal(open_embedding, safetensors(PLAIN, tmp_path / "x"))


# CLIP's image encoder.


def encoder() -> Named:
    shapes: dict[str, tuple[int, ...]] = {
        "vision_model.embeddings.class_embedding": (4,),
        "vision_model.embeddings.patch_embedding.weight": (4, 3, 2, 2),
        "vision_model.embeddings.position_embedding.weight": (5, 4),
        "visual_projection.weight": (7, 4),
    }
    of_layers = [f"encoder.layers.{i}.layer_norm{j}" for i in (0, 1) for j in (1, 2)]
    for norm in ("pre_layrnorm", "post_layernorm", *of_layers):
        shapes |= {f"vision_model.{norm}.weight": (4,), f"vision_model.{norm}.bias": (4,)}
    for layer in (f"vision_model.encoder.layers.{i}" for i in (0, 1)):
        for each in ("q", "k", "v", "out"):
            shapes |= {
                f"{layer}.self_attn.{each}_proj.weight": (4, 4),
                f"{layer}.self_attn.{each}_proj.bias": (4,),
            }
        shapes |= {f"{layer}.mlp.fc1.weight": (6, 4), f"{layer}.mlp.fc1.bias": (6,)}
        shapes |= {f"{layer}.mlp.fc2.weight": (4, 6), f"{layer}.mlp.fc2.bias": (4,)}
    return drawn(shapes)


def in_folder(tensors: Named, folder: Path, name: str = "model.safetensors") -> Path:
    folder.mkdir(parents=True)
    (torch.save if name.endswith(".bin") else save_file)(tensors, folder / name)
    (folder / "config.json").write_text(json.dumps({"hidden_size": 4}))
    return folder


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("inside", ["", "image_encoder", "models/image_encoder"])
def test_an_encoders_folder_is_read(name: str, inside: str, tmp_path: Path) -> None:
    in_folder(encoder(), tmp_path / "hub" / inside, name)
    file = open_image_encoder(tmp_path / "hub")
    assert file.config == {"hidden_size": 4}
    assert torch.equal(
        file.tensors["layers.1.attention.out.bias"],
        encoder()["vision_model.encoder.layers.1.self_attn.out_proj.bias"],
    )
    assert len(file.tensors) == len(encoder())


def test_an_encoders_file_is_read_and_what_else_a_whole_clip_has_is_not(tmp_path: Path) -> None:
    more = {"logit_scale": torch.zeros(()), "text_model.final_layer_norm.bias": torch.zeros(4)}
    more |= {"vision_model.embeddings.position_ids": torch.arange(5)[None]}
    file = open_image_encoder(safetensors(encoder() | more, tmp_path / "clip.safetensors"))
    assert file.config == {}
    assert set(file.tensors) == set(open_image_encoder(safetensors(encoder(), tmp_path / "x")).tensors)
    assert torch.equal(file.tensors["projection.weight"], encoder()["visual_projection.weight"])


def test_an_encoder_without_any_of_its_tensors_is_refused(tmp_path: Path) -> None:
    for name in encoder():
        less = {each: tensor for each, tensor in encoder().items() if each != name}
        assert "is incomplete" in refusal(open_image_encoder, safetensors(less, tmp_path / "x")), name


def test_what_is_no_encoder_is_refused_by_what_it_is(folder: Path, single: Path, tmp_path: Path) -> None:
    other = {"visual.transformer.resblocks.0.attn.in_proj_weight": torch.zeros(4, 4)}
    stranger = {"vision_model.head.weight": torch.zeros(4)}
    assert "has no image_encoder" in refusal(open_image_encoder, folder)
    assert "not CLIP's image encoder" in refusal(open_image_encoder, single)
    assert "open_clip" in refusal(open_image_encoder, safetensors(other, tmp_path / "x"))
    assert "'vision_model.head.weight'" in refusal(
        open_image_encoder, safetensors(encoder() | stranger, tmp_path / "y")
    )
    assert "no such file" in refusal(open_image_encoder, tmp_path / "none")
    with pytest.raises(CheckpointError, match="this is CLIP's image encoder") as caught:
        open_checkpoint(safetensors(encoder(), tmp_path / "z"))
    assert caught.value.found == "image encoder"
