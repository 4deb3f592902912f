"""Image prompts, and the image encoder they look through, against diffusers and transformers with the same weights.

The weights travel in the published layouts, whose names are written down here as in the files themselves.
"""

import functools
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from inkpunk_clip import ImageEncoder, ImageEncoderConfig, prepared
from inkpunk_unet import ImagePrompt, ImagePromptConfig, Shown, UNet, UNetConfig, image_prompts
from inkpunk_weights import open_image_encoder, open_image_prompt
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.oracles import our_weights, relative_error

# max |ours - theirs| / max |theirs| in float32: rounding only, with room for another order of summation.
TOLERANCE = 1e-5
HEAD = 64  # channels of a head in the resamplers

Published = dict[str, dict[str, Tensor]]


def weights(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Of order one over the root of their inputs, biases and norms too."""
    draw = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=draw) * (shape[-1] ** -0.5 if len(shape) > 1 else 0.5)
        for name, shape in shapes.items()
    }


def keys_and_values(widths: Sequence[int], context: int, seed: int) -> dict[str, Tensor]:
    places = itertools.product(enumerate(widths), "kv")
    return weights({f"{2 * i + 1}.to_{each}_ip.weight": (w, context) for (i, w), each in places}, seed)


def plain(widths: Sequence[int], context: int, embed: int, seed: int = 0) -> Published:
    projection = {
        "proj.weight": (4 * context, embed),
        "proj.bias": (4 * context,),
        "norm.weight": (context,),
        "norm.bias": (context,),
    }
    return {
        "image_proj": weights(projection, seed),
        "ip_adapter": keys_and_values(widths, context, seed + 1),
    }


def plus(
    widths: Sequence[int], context: int, embed: int, *, width: int, heads: int, tokens: int, seed: int = 0
) -> Published:
    shapes: dict[str, tuple[int, ...]] = {"latents": (1, tokens, width)}
    for name, inputs, outputs in (("proj_in", embed, width), ("proj_out", width, context)):
        shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    for name, size in (
        ("norm_out", context),
        *((f"layers.{i}.0.norm{j}", width) for i in range(4) for j in (1, 2)),
    ):
        shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    for layer in (f"layers.{i}" for i in range(4)):
        shapes |= {
            f"{layer}.0.to_q.weight": (heads * HEAD, width),
            f"{layer}.0.to_kv.weight": (2 * heads * HEAD, width),
            f"{layer}.0.to_out.weight": (width, heads * HEAD),
            f"{layer}.1.0.weight": (width,),
            f"{layer}.1.0.bias": (width,),
            f"{layer}.1.1.weight": (4 * width, width),
            f"{layer}.1.3.weight": (width, 4 * width),
        }
    return {"image_proj": weights(shapes, seed), "ip_adapter": keys_and_values(widths, context, seed + 1)}


def saved(published: Published, path: Path) -> Path:
    """In the layout that the path's suffix tells."""
    if path.suffix == ".bin":
        torch.save(published, path)
    else:
        save_file(
            {f"{half}.{name}": t for half, named in published.items() for name, t in named.items()}, path
        )
    return path


def opened(path: Path) -> ImagePrompt:
    tensors = open_image_prompt(path).tensors
    with torch.device("meta"):
        prompt = ImagePrompt(ImagePromptConfig.from_weights(tensors))
    prompt.load_state_dict(tensors, assign=True)
    return prompt.eval()


@functools.cache
def unets() -> tuple[UNet, UNet2DConditionModel]:
    """Two levels that attend, one that does not."""
    torch.manual_seed(0)
    theirs = UNet2DConditionModel(
        block_out_channels=(32, 64, 64),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=2,
        attention_head_dim=4,
        cross_attention_dim=24,
        norm_num_groups=16,
    ).eval()
    ours = UNet(UNetConfig.from_diffusers(json.loads(theirs.to_json_string()))).eval()
    ours.load_state_dict(our_weights(theirs))
    return ours, theirs


WIDTHS = (32, 32, 64, 64, 64, 64, 64, 32, 32, 32, 64)  # down, up, middle
PLAIN = plain(WIDTHS, 24, embed=20)
PLUS = plus(WIDTHS, 24, embed=28, width=40, heads=2, tokens=5, seed=2)
EMBEDS = {"plain": (20,), "plus": (11, 28)}


def check(
    unets: tuple[UNet, UNet2DConditionModel],
    adapters: Sequence[tuple[Published, float, Tensor]],
    paths: Sequence[Path],
    latents: Tensor,
    context: Tensor,
) -> None:
    """Adapters, each with its weight and its embeds of [batch, pictures, ...]."""
    ours, theirs = unets
    theirs._load_ip_adapter_weights([published for published, _, _ in adapters], low_cpu_mem_usage=False)
    for processor in theirs.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [weight for _, weight, _ in adapters]
    time, prompts = torch.tensor(500), [opened(path) for path in paths]
    shown = [
        Shown(prompt, weight, pictures=embeds.shape[1])
        for prompt, (_, weight, embeds) in zip(prompts, adapters, strict=True)
    ]
    tokens = [
        prompt(picture)
        for prompt, (_, _, embeds) in zip(prompts, adapters, strict=True)
        for picture in embeds.unbind(1)
    ]
    expected = theirs(
        latents, time, context, added_cond_kwargs={"image_embeds": [embeds for _, _, embeds in adapters]}
    ).sample
    with image_prompts(ours, shown):
        predicted = ours(latents, time, torch.cat([context, *tokens], dim=1))
    assert relative_error(predicted, expected) < TOLERANCE
    assert (
        relative_error(predicted, ours(latents, time, context)) > 100 * TOLERANCE
    )  # that they did something


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize(
    "shown",
    [
        [(PLAIN, "plain", 1.0, 1)],
        [(PLUS, "plus", 1.0, 1)],
        [(PLAIN, "plain", 0.6, 2)],
        [(PLUS, "plus", 0.3, 2), (PLAIN, "plain", 0.7, 1)],
    ],
    ids=["plain", "plus", "two pictures", "two adapters, the first with two pictures"],
)
@torch.no_grad()
def test_predictions_are_the_same(
    shown: list[tuple[Published, str, float, int]], suffix: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    paths = [saved(each[0], tmp_path / f"{i}{suffix}") for i, each in enumerate(shown)]
    adapters = [
        (published, weight, torch.randn(2, pictures, *EMBEDS[kind]))
        for published, kind, weight, pictures in shown
    ]
    check(unets(), adapters, paths, torch.randn(2, 4, 12, 8), torch.randn(2, 7, 24))


def encoders(config: ImageEncoderConfig, folder: Path) -> tuple[ImageEncoder, CLIPVisionModelWithProjection]:
    theirs = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=config.width,
            intermediate_size=config.feed_forward,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            image_size=config.image,
            patch_size=config.patch,
            projection_dim=config.projection,
            hidden_act="gelu",
        )
    ).eval()
    draw = torch.Generator().manual_seed(0)
    for parameter in theirs.parameters():
        spread = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.5
        parameter.data.normal_(std=spread, generator=draw)
    theirs.save_pretrained(folder)
    file = open_image_encoder(folder)
    assert ImageEncoderConfig.from_diffusers(file.config) == config
    assert ImageEncoderConfig.from_weights(file.tensors, heads=config.heads) == config
    with torch.device("meta"):
        ours = ImageEncoder(config)
    ours.load_state_dict(file.tensors, assign=True)
    return ours.eval(), theirs


def check_encoders(config: ImageEncoderConfig, folder: Path) -> None:
    ours, theirs = encoders(config, folder)
    images = torch.randn(2, 3, config.image, config.image)
    expected = theirs(images, output_hidden_states=True)
    assert relative_error(ours(images), expected.image_embeds) < TOLERANCE
    assert relative_error(ours.patches(images), expected.hidden_states[-2]) < TOLERANCE


@torch.no_grad()
def test_the_image_encoder_is_the_same(tmp_path: Path) -> None:
    config = ImageEncoderConfig(
        image=28, patch=7, width=32, layers=3, heads=4, feed_forward=48, projection=20
    )
    check_encoders(config, tmp_path)


@pytest.mark.parametrize(
    "processor", [CLIPImageProcessor, CLIPImageProcessorPil], ids=["torchvision", "Pillow"]
)
@pytest.mark.parametrize(("height", "width"), [(300, 300), (97, 640), (768, 512), (64, 48), (225, 224)])
def test_what_the_encoder_sees_of_a_picture_is_the_same(processor: type, height: int, width: int) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    ours = prepared(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1)
    theirs = processor()(images=Image.fromarray(pixels), return_tensors="pt").pixel_values
    # They round to 8 bits after each of their two passes, we do not: white noise, the worst, parts by little over one
    # level of 255, of which the deviations of CLIP's colours, 0.26 at the least, make more.
    assert (ours - theirs).abs().max() < 1.3 / 255 / 0.26


@pytest.mark.slow
@torch.no_grad()
def test_full_size_image_prompts_are_the_same(tmp_path: Path) -> None:
    theirs = UNet2DConditionModel(cross_attention_dim=768).eval()
    with torch.device("meta"):
        ours = UNet(UNetConfig())
    ours.load_state_dict(our_weights(theirs), assign=True)
    widths = ImagePromptConfig().widths
    adapters = [
        (plain(widths, 768, 1024), 0.6, torch.randn(1, 2, 1024)),
        (plus(widths, 768, 1280, width=768, heads=12, tokens=16), 0.5, torch.randn(1, 1, 257, 1280)),
    ]
    paths = [
        saved(published, tmp_path / name)
        for (published, _, _), name in zip(adapters, ("plain.safetensors", "plus.bin"), strict=True)
    ]
    check((ours.eval(), theirs), adapters, paths, torch.randn(1, 4, 32, 32), torch.randn(1, 77, 768))


@pytest.mark.slow
@torch.no_grad()
def test_the_full_size_image_encoder_is_the_same(tmp_path: Path) -> None:
    check_encoders(ImageEncoderConfig(), tmp_path)
