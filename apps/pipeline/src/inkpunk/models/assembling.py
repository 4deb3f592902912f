"""From a model's name to all that a pipeline draws with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from inkpunk_weights import CheckpointError, open_checkpoint
from torch import nn

from inkpunk.memory.devices import choose_device
from inkpunk.memory.precision import choose_dtype, narrows
from inkpunk.memory.residence import Residence
from inkpunk.models.control_nets import ControlNets
from inkpunk.models.hub import resolve_model, short_name
from inkpunk.models.hub_files import SINGLE_FILES
from inkpunk.models.image_prompts import ImagePrompts
from inkpunk.models.learned import read_learned
from inkpunk.models.loading import Loaded, build_components, read_configs, read_defaults, refuse_problems
from inkpunk.models.loras import Lora, Plain, with_defaults_of
from inkpunk.models.previews import read_preview
from inkpunk.models.tiny_vaes import TinyVAEs
from inkpunk.models.vocabulary import read_tokenizer
from inkpunk.road.inpainting import INPAINTING_CHANNELS
from inkpunk.road.road import LATENT_CHANNELS
from inkpunk.speed import PLAIN, Speed, speed_up

EDITING_CHANNELS = 8


def assemble(
    model: str | Path,
    *,
    device: str,
    dtype: str,
    offload: bool,
    tiled: bool,
    low_memory: bool,
    ema: bool,
    prediction: str | None,
    zero_snr: bool | None,
    embeddings: Sequence[str | Path],
    loras: Sequence[str | Path | Lora],
    lora_folder: str | Path | None,
    control_nets: Mapping[str, str | Path] | None,
    ip_adapter: str | Path | None,
    image_encoder: str | Path | None,
    tiny_vae: str | Path | None,
    deterministic: bool,
    speed: Speed,
) -> dict[str, Any]:
    """Load all parts of a model, by the names of `Model`'s fields.

    Arguments and errors are those of `Pipeline.load`.
    """
    compute = choose_device(device)
    plainly = speed == PLAIN
    precision = choose_dtype(dtype, compute, plain=plainly)
    path = resolve_model(str(model), half=precision is torch.float16)
    checkpoint = open_checkpoint(path, ema=ema)
    refuse_problems(checkpoint)
    configs = read_configs(checkpoint, prediction=prediction, zero_snr=zero_snr)
    defaults = read_defaults(checkpoint)
    if (channels := configs.unet.in_channels) not in (LATENT_CHANNELS, INPAINTING_CHANNELS):
        edits = channels == EDITING_CHANNELS
        why = "as models that edit by instruction do (InstructPix2Pix)" if edits else "not the 4 of latents"
        raise CheckpointError(
            f"{path}: its UNet takes {channels} channels, {why}; to draw from a prompt, "
            "give a text-to-image checkpoint (4 channels), or an inpainting one (9)"
        )
    tokenizer = read_tokenizer(checkpoint)
    learned = read_learned([Path(each) for each in embeddings], tokenizer, configs.text_encoder)
    offload, tiled = offload or low_memory, tiled or low_memory
    halve, narrow = low_memory and precision is torch.float32, narrows(precision, compute) and not plainly
    between = torch.float32 if narrow else precision  # what networks take and give
    waiting = torch.device("cpu") if offload else compute
    kept = None if halve else precision
    weights = {"text_encoder": checkpoint.text_encoder, "unet": checkpoint.unet}
    plain = Plain(weights, defaults, str(path), kept)
    folder = None if lora_folder is None else Path(lora_folder)
    opened, notes = plain.opened(loras, folder)
    text_encoder, unet, vae = build_components(
        checkpoint,
        configs,
        device=waiting,
        dtype=kept,
        text_dtype=None if narrow else kept,  # it works once a picture: till then it can stay in its file
        changed=plain.with_loras(opened),
    )
    # what moves between devices is elsewhere each time, and a recording would not find it
    ways = replace(speed, graphs=speed.graphs and not offload)
    speed_up(text_encoder, unet, vae, device=compute, speed=ways, narrow=narrow)

    def reside(network: nn.Module) -> Residence[Any]:
        speed_up(network, device=compute, speed=speed, narrow=narrow)
        return Residence(network, compute, offload, halve)

    nets = ControlNets(
        control_nets or {}, configs.unet, waiting, kept, reside, half=precision is torch.float16
    )

    def reside_uncompiled(network: nn.Module) -> Residence[Any]:  # it works once a picture
        speed_up(network, device=compute, speed=replace(speed, compile=False), narrow=narrow)
        return Residence(network, compute, offload, halve)

    pictures = ImagePrompts(
        ip_adapter,
        image_encoder,
        configs.unet,
        waiting=waiting,
        compute=compute,
        dtype=between,
        kept=kept,
        reside=reside_uncompiled,
    )
    tiny = tiny_vae and TinyVAEs(
        tiny_vae,
        configs.vae,
        waiting=waiting,
        dtype=kept,
        half=precision is torch.float16,
        reside=reside_uncompiled,
    )
    return {
        "tokenizer": tokenizer,
        "loaded": Loaded(ema, halve, narrow, speed.told, deterministic, speed.threads),
        "learned": learned,
        "text_encoder": Residence(text_encoder, compute, offload, halve, narrow_matrices=narrow),
        "unet": Residence(unet, compute, offload, halve),
        "vae": Residence(vae, compute, offload, halve),
        "schedule": configs.schedule,
        "prediction": configs.prediction,
        "defaults": with_defaults_of(opened, defaults),
        "loras": opened,
        "lora_notes": notes,
        "lora_folder": folder,
        "plain": plain,
        "control_nets": nets,
        "image_prompts": pictures,
        "linear_preview": read_preview(checkpoint),
        "tiny_vae": tiny or None,
        "device": compute,
        "dtype": between,
        "tiled": tiled,
        "name": _name(model),
        "path": path,
    }


def _name(model: str | Path) -> str:
    """What pictures call a model: a hub id as it is, a file or a folder without the way to it."""
    if Path(model).is_dir():
        return Path(model).resolve().name
    name = short_name(str(model))
    return Path(name).stem if Path(name).suffix in SINGLE_FILES else name
