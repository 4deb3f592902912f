"""What is damaged: small valid files of every kind, made by code, and what once broke a reader, kept as files."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import torch
from inkpunk.pictures.lossy import file_of
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save

CANARY = "INKPUNK_FUZZ_CANARY"
"""What a pickle sets in the environment if it is run."""
KEPT = Path(__file__).parent / "regressions"
TWO = torch.arange(6.0).reshape(2, 3)


class Evil:
    """Pickles as code."""

    def __reduce__(self) -> object:
        """Set the canary when it is loaded."""
        return os.putenv, (CANARY, "run")


def torch_saved(content: object, zipped: bool) -> bytes:
    """What `torch.save` writes, in either format."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _deflated(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


def _png(**texts: str) -> bytes:
    info, buffer = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        info.add_itxt(name, text) if name == "inkpunk" else info.add_text(name, text)
    Image.new("RGB", (2, 2)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _lossy() -> list[bytes]:
    """A recipe as EXIF and XMP hold it, in each format that this Pillow has; in a JPEG a long one, too."""
    image = Image.new("RGB", (2, 2))
    forms = [form for form in ("jpeg", "webp", "avif") if form == "jpeg" or features.check(form)]
    short = [file_of(image, form, "a cat\nSteps: 2", '{"prompt": "a cat"}') for form in forms]
    return [*short, file_of(image, "jpeg", "a cat " * 6_000, '{"prompt": "a cat"}')]


def _masks() -> list[bytes]:
    """Transparent, of 16 bits, of a palette, turned."""
    clear = Image.linear_gradient("L").resize((4, 4))
    painted = Image.new("RGBA", (4, 4), "red")
    painted.putalpha(clear)
    turned = Image.new("I;16", (4, 2), 40_000)
    turned.getexif()[0x0112] = 6
    made = list[bytes]()
    for mask, kind in ((painted, "PNG"), (painted, "WEBP"), (turned, "TIFF"), (clear.convert("P"), "GIF")):
        buffer = io.BytesIO()
        mask.save(buffer, kind, exif=mask.getexif())
        made.append(buffer.getvalue())
    return made


def _adapters() -> list[bytes]:
    """A file of several kinds in kohya's layout, a DoRA in PEFT's, and a config of PEFT's."""
    parts = {
        "lora_te_encoder_layers_0_mlp_fc1": {
            "lora_up.weight": (4, 2),
            "lora_down.weight": (2, 6),
            "alpha": (),
        },
        "lora_unet_conv_in": {
            "hada_w1_a": (4, 2),
            "hada_w1_b": (2, 6),
            "hada_w2_a": (4, 2),
            "hada_w2_b": (2, 6),
        },
        "lora_unet_conv_out": {"lokr_w1": (2, 3), "lokr_w2": (2, 2)},
    }
    kohya = {
        f"{layer}.{part}": torch.ones(shape)
        for layer, shapes in parts.items()
        for part, shape in shapes.items()
    }
    dora = {"lora_A.weight": (2, 6), "lora_B.weight": (4, 2), "lora_magnitude_vector": (4,)}
    peft = {f"unet.conv_in.{part}": torch.ones(shape).half() for part, shape in dora.items()}
    config = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "alpha_pattern": {"conv_in": 3},
        "use_rslora": True,
    }
    told = json.dumps({f"unet.{key}": value for key, value in config.items()})
    return [
        save(kohya, {"ss_output_name": "ink"}),
        save(peft, {"lora_adapter_metadata": told}),
        torch_saved({"state_dict": kohya, "hook": Evil()}, True),
        torch_saved(peft, False),
        json.dumps(config).encode(),
    ]


def _controls() -> list[bytes]:
    """A ControlNet's first names in both layouts, a whole T2I-Adapter's and a light one's."""
    single = ("input_hint_block.0", "input_blocks.0.0", "input_blocks.1.0.in_layers.2", "zero_convs.0.0")
    folder = (
        "controlnet_cond_embedding.conv_in",
        "down_blocks.0.resnets.0.conv1",
        "controlnet_down_blocks.0",
    )
    whole = ("conv_in", "body.0.block1", "body.2.in_conv")
    light = ("body.0.in_conv", "body.0.body.0.block1", "body.0.out_conv")

    def named(modules: tuple[str, ...], prefix: str = "") -> dict[str, torch.Tensor]:
        return {f"{prefix}{module}.weight": torch.ones(2, 1, 1, 1) for module in modules}

    return [
        save(named(single, "control_model."), {"title": "canny"}),
        save(named(folder)),
        torch_saved({"state_dict": named(single), "hook": Evil()}, True),
        torch_saved(named(whole), True),
        torch_saved(named(light, "adapter."), False),
    ]


def _image_prompts() -> list[bytes]:
    """A plain and a plus one of one layer, in both layouts, and an image encoder of one."""
    attention = {f"1.to_{each}_ip.weight": torch.ones(4, 2) for each in "kv"}
    norm = {"weight": (2,), "bias": (2,)}
    plain = {"proj.weight": (8, 3), "proj.bias": (8,)} | {
        f"norm.{leaf}": shape for leaf, shape in norm.items()
    }
    plus: dict[str, tuple[int, ...]] = {"latents": (1, 2, 2)}
    for name in ("proj_in", "proj_out", "norm_out"):
        plus |= {f"{name}.weight": (2,) if "norm" in name else (2, 2), f"{name}.bias": (2,)}
    for name in ("0.norm1", "0.norm2", "1.0"):
        plus |= {f"layers.0.{name}.{leaf}": shape for leaf, shape in norm.items()}
    linear = {"0.to_q": (64, 2), "0.to_kv": (128, 2), "0.to_out": (2, 64), "1.1": (8, 2), "1.3": (2, 8)}
    plus |= {f"layers.0.{name}.weight": shape for name, shape in linear.items()}
    made: list[bytes] = []
    for shapes in (plain, plus):
        projection = {name: torch.ones(shape).half() for name, shape in shapes.items()}
        halves = {"image_proj": projection, "ip_adapter": attention}
        flat = {f"{half}.{name}": tensor for half, named in halves.items() for name, tensor in named.items()}
        made += [save(flat), torch_saved({**halves, "hook": Evil()}, True), torch_saved(halves, False)]
    layer = [f"encoder.layers.0.{each}" for each in ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2")]
    layer += [f"encoder.layers.0.self_attn.{each}_proj" for each in ("q", "k", "v", "out")]
    modules = ["pre_layrnorm", "post_layernorm", *layer]
    tower = {f"{name}.weight": (2,) if "norm" in name else (2, 2) for name in modules}
    tower |= {f"{name}.bias": (2,) for name in modules} | {"embeddings.class_embedding": (2,)}
    tower |= {
        "embeddings.patch_embedding.weight": (2, 3, 1, 1),
        "embeddings.position_embedding.weight": (2, 2),
    }
    encoder = {f"vision_model.{name}": torch.ones(shape) for name, shape in tower.items()}
    return [*made, save(encoder | {"visual_projection.weight": torch.ones(2, 2)})]


def _tiny_vaes() -> list[bytes]:
    """A decoder of one block, numbered by its author and by diffusers, and both halves."""

    def half(*layers: tuple[str, int, int], prefix: str = "") -> dict[str, torch.Tensor]:
        named = {f"{prefix}{name}.weight": torch.ones(out, into, 3, 3).half() for name, into, out in layers}
        return named | {f"{prefix}{name}.bias": torch.ones(out).half() for name, _, out in layers}

    def decoder(start: int, prefix: str = "") -> dict[str, torch.Tensor]:
        block = [(f"{start + 2}.conv.{each}", 2, 2) for each in (0, 2, 4)]
        return half((f"{start}", 4, 2), *block, (f"{start + 3}", 2, 3), prefix=prefix)

    block = [(f"1.conv.{each}", 2, 2) for each in (0, 2, 4)]
    encoder = half(("0", 3, 2), *block, ("2", 2, 4), prefix="encoder.layers.")
    return [
        save(encoder | decoder(0, "decoder.layers."), {"title": "tiny"}),
        save(decoder(1)),
        torch_saved({**decoder(1, "taesd_decoder."), "hook": Evil()}, True),
        torch_saved(decoder(1), False),
    ]


def vocabularies() -> list[bytes]:
    """The three files of a small one: entries, merges, and both in one."""
    merges = [("r", "a"), ("ra", "v</w>")]
    entries = {
        name: number for number, name in enumerate(["r", "a", "v</w>", "ra", "rav</w>", "<s>", "</s>"])
    }
    special = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": "</s>"}
    whole = {
        "model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": entries, "merges": merges},
        "added_tokens": [{"content": "neon", "id": 7}],
    }
    listed = "\n".join(["#version: 0.2", *map(" ".join, merges)])
    return [
        json.dumps(entries).encode(),
        listed.encode(),
        json.dumps(whole).encode(),
        json.dumps(special).encode(),
    ]


def _recipes() -> list[bytes]:
    """A recipe of each program that is read, as its text."""
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "dream.safetensors"}}
    texts = {
        str(place): {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["4", 1]}}
        for place, text in ((6, "a moth"), (7, "dust"))
    }
    latents = {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}}
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    numbers = {
        "seed": 7,
        "steps": 20,
        "cfg": 7.5,
        "sampler_name": "euler",
        "scheduler": "karras",
        "denoise": 1.0,
    }
    sampler = {"class_type": "KSampler", "inputs": {**numbers, **links}}
    graph = {"3": sampler, "4": loader, "5": latents, **texts}
    invoke = {"positive_prompt": "a moth", "seed": 7, "steps": 20, "cfg_scale": 7.5, "scheduler": "euler"}
    novel = {"prompt": "a moth", "seed": 7, "steps": 20, "scale": 7.5, "sampler": "k_euler", "uc": "dust"}
    infotext = (
        'a moth\nNegative prompt: dust\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 9, Note: "a, b"'
    )
    dream = '"a moth" -s 20 -S 7 -W 512 -H 512 -C 7.5 -A k_euler'
    jsons = [json.dumps(each).encode() for each in (graph, invoke, novel)]
    return [infotext.encode(), dream.encode(), *jsons]


def _requests() -> list[bytes]:
    """Lines of each form."""
    return [
        b'{"prompt": ["a raven", "an owl"], "steps": [4, 8], "seed": 7, "count": 2, "apg": true}\n{"prompt": "a"}\n',
        b'[{"prompt": "a raven", "lora": ["neon:0.8"], "guidance": 7.5}]',
        b'prompt,steps,negative\n"a raven, at dusk",4,"[""dust"", ""rust""]"\nan owl,8,\n',
        b"a raven at dusk\n# a note\nan owl\n",
    ]


def corpus(parser: str) -> list[bytes]:
    """Valid inputs of a parser, then its kept ones."""
    content = {"state_dict": {"a": TWO, "b": torch.ones(3).half()}, "epoch": 1, "hook": Evil()}
    word = {"string_to_param": {"*": TWO}, "name": "neon", "step": 5, "sd_checkpoint": Evil()}
    index = {"metadata": {"total_size": 24}, "weight_map": {"a": "model-1.safetensors"}}
    config = {"_class_name": "AutoencoderKL", "block_out_channels": [4, 6], "scaling_factor": 0.18215}
    made = {
        "safetensors": [
            save({"a": TWO, "b": torch.ones(3).half()}, {"note": "x"}),
            save({"a": torch.ones(())}),
        ],
        "zip": [torch_saved(content, True), _deflated(torch_saved(content, True))],
        "legacy": [torch_saved(content, False), pickle.dumps(Evil())],
        "embeddings": [
            torch_saved(word, True),
            torch_saved(word, False),
            save({"emb_params": TWO}, {"step": "5"}),
        ],
        "adapters": _adapters(),
        "control": _controls(),
        "image prompts": _image_prompts(),
        "tiny autoencoders": _tiny_vaes(),
        "upscalers": [
            torch_saved({"params_ema": {"conv_first.weight": TWO}, "hook": Evil()}, True),
            torch_saved({"params": {"conv_first.weight": TWO}}, False),
            save({"conv_first.weight": TWO}),
        ],
        "vocabularies": vocabularies(),
        "recipes": _recipes(),
        "requests": _requests(),
        "folders": [json.dumps(config).encode(), json.dumps(index).encode()],
        "pictures": [
            _png(parameters="a cat\nSteps: 2", inkpunk='{"prompt": "a cat"}'),
            _png(prompt="{}"),
            *_lossy(),
        ],
        "masks": _masks(),
        "prompts": [b"a (cat:1.2) [dog:fox:0.5] AND [a|b] :2 BREAK \\( {x|2$$y|z}", "((é🖋))".encode()],
    }
    return made[parser] + [file.read_bytes() for file in sorted(KEPT.glob(f"{parser}-*"))]
