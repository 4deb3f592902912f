"""What a LoRA's file says of its training: kohya's keys, which other programs show, and the modelspec."""

import json
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version

from inkpunk.training.examples import Example
from inkpunk.training.loop import TEXT_RATE, Settings


def notes(
    name: str,
    settings: Settings,
    examples: Sequence[Example],
    prior: Sequence[Example],
    *,
    side: int,
    trigger: str | None,
    model: str,
    prediction: str,
) -> dict[str, str]:
    """The metadata of a LoRA; of one training always the same, without dates.

    Args:
        name: of the LoRA.
        settings: how it was trained.
        examples: what was learned.
        prior: what was preserved.
        side: of a square of as many pixels as were learned at once.
        trigger: the word that calls what was learned.
        model: the name of the one that learned.
        prediction: what that predicts, a name in `inkpunk_sampling.PREDICTIONS`.
    """
    folder = examples[0].path.parent.name
    tags = Counter(tag.strip() for example in examples for tag in example.caption.split(",") if tag.strip())
    told: dict[str, object] = {
        "ss_output_name": name,
        "ss_network_module": "networks.lora",
        "ss_network_dim": settings.rank,
        "ss_network_alpha": settings.alpha,
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_name": model,
        "ss_num_train_images": len(examples),
        "ss_num_reg_images": len(prior),
        "ss_steps": settings.steps,
        "ss_max_train_steps": settings.steps,
        "ss_batch_size_per_device": settings.batch,
        "ss_learning_rate": settings.rate,
        "ss_unet_lr": settings.rate,
        "ss_text_encoder_lr": settings.rate * TEXT_RATE if settings.text_encoder else None,
        "ss_lr_scheduler": "cosine",
        "ss_optimizer": "torch.optim.adamw.AdamW",
        "ss_min_snr_gamma": settings.gamma,
        "ss_prior_loss_weight": settings.prior_weight if prior else None,
        "ss_seed": settings.seed,
        "ss_resolution": f"({side}, {side})",
        "ss_enable_bucket": True,
        "ss_dataset_dirs": json.dumps({folder: {"n_repeats": 1, "img_count": len(examples)}}),
        "ss_tag_frequency": json.dumps({folder: dict(tags.most_common())}),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": f"inkpunk {version('inkpunk')}",
        "modelspec.title": name,
        "modelspec.resolution": f"{side}x{side}",
        "modelspec.prediction_type": prediction,
        "modelspec.trigger_phrase": trigger,
    }
    if settings.convolutions:
        told["ss_network_args"] = json.dumps({"conv_dim": settings.rank, "conv_alpha": settings.alpha})
    return {key: str(value) for key, value in told.items() if value is not None}
