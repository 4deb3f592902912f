"""What a checkpoint's UNet was trained on and for: its noise schedule, and what it predicts of a noisy picture.

A diffusers folder says it in its scheduler's config. A single file may say it in several ways; where they contradict
each other, the first of these counts that says anything of the matter, prediction or noise:

1. what the user says (`--prediction`, `--zero-snr`);
2. the scheduler's config in its metadata, when we wrote it;
3. signs that programs have agreed on: empty tensors called `v_pred` and `ztsnr`, `modelspec.prediction_type`;
4. a `.yaml` of the same name beside it, the config it was trained by;
5. what training left in it: `betas` and `alphas_cumprod`, or `sqrt_alphas_cumprod`;
6. Stable Diffusion v1.5's way, where nothing says anything.

So `ztsnr` goes together with a schedule of (4) or (5): it says zero terminal SNR, and nothing of the betas.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from inkpunk_sampling import DIFFUSERS_WORDS, PREDICTIONS, NoiseSchedule, read_prediction
from inkpunk_weights import Checkpoint, CheckpointError
from torch import Tensor

from inkpunk.models.training_config import read_training_config

# In a single file's metadata: the scheduler config that a folder would have.
SCHEDULER_KEY = "inkpunk.scheduler"
MOST_NOTES = 100_000  # characters of JSON in a single file's metadata; ours take some hundred
MODELSPEC_KEY = "modelspec.prediction_type"  # of the Stability AI model metadata standard
# PNDM, which SD v1.5's config names, knows no zero SNR; and leading timesteps would not begin at it.
ZERO_SNR_SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "timestep_spacing": "trailing",
}
MOST_LEFT = 100_000  # betas, as many as a schedule may have
SAY_IT = (
    "write a .yaml beside the file, of its name, with the linear_start and linear_end it was trained with"
)
FEWEST_STEPS = 2  # with one, nothing lies between noise and picture
V_SIGN, ZERO_SNR_SIGN = "v_pred", "ztsnr"  # empty tensors in a single file, as ComfyUI and Forge look for


def read_training(
    checkpoint: Checkpoint, prediction: str | None = None, zero_snr: bool | None = None
) -> tuple[NoiseSchedule, str]:
    """Learn noise schedule and prediction; what a file does not say is SD v1.5's.

    Args:
        checkpoint: whose.
        prediction, zero_snr: what the user says of it, which counts for more than what it says itself.

    Raises:
        CheckpointError: for a schedule or a prediction that there is not, or a zero-SNR schedule under a model that
            predicts noise.
    """
    try:
        schedule = _schedule(checkpoint)
        if zero_snr is not None:
            schedule = replace(schedule, zero_snr=zero_snr)
        schedule.sigma(0)  # refuses betas that double precision cannot tell apart
        prediction = prediction or _prediction(checkpoint)
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: scheduler: {error}") from error
    if prediction not in PREDICTIONS:
        raise CheckpointError(
            f"{checkpoint.path}: prediction {prediction!r}: there is none of that name; use {', '.join(PREDICTIONS)}"
        )
    if schedule.zero_snr and prediction == "epsilon":
        raise CheckpointError(
            f"{checkpoint.path}: a zero-SNR schedule begins at noise alone, from which a prediction of noise leads "
            "nowhere; such models predict v: add --prediction v, or --no-zero-snr"
        )
    return schedule, prediction


def scheduler_config(checkpoint: Checkpoint, schedule: NoiseSchedule, prediction: str) -> dict[str, object]:
    """Write both as a folder's `scheduler_config.json` has them, over the one that came with the checkpoint.

    Where none came, it is to stand over SD v1.5's own.
    """
    config = {**schedule.to_diffusers(), "prediction_type": DIFFUSERS_WORDS[prediction]}
    came = _config(checkpoint)
    if "rescale_betas_zero_snr" in came:
        config["rescale_betas_zero_snr"] = schedule.zero_snr
    if "_class_name" in came:
        return {**came, **config}
    return {**ZERO_SNR_SCHEDULER, **config} if schedule.zero_snr else config


def _config(checkpoint: Checkpoint) -> Mapping[str, object]:
    return checkpoint.configs.get("scheduler") or _in_metadata(checkpoint)


def _schedule(checkpoint: Checkpoint) -> NoiseSchedule:
    config = _config(checkpoint)
    if config:
        schedule = NoiseSchedule.from_diffusers(config)
    else:
        schedule = read_training_config(checkpoint).schedule or _left(checkpoint) or NoiseSchedule()
        if ZERO_SNR_SIGN in checkpoint.unknown:
            schedule = replace(schedule, zero_snr=True)
    if schedule.steps < FEWEST_STEPS:
        raise ValueError(
            f"num_train_timesteps = {schedule.steps}: no model of pictures was trained with fewer than "
            f"{FEWEST_STEPS}; write 1000, as Stable Diffusion v1.5 has it, or what this one was trained with"
        )
    return schedule


def _prediction(checkpoint: Checkpoint) -> str:
    if config := _config(checkpoint):
        try:
            return read_prediction(config)
        except ValueError as error:
            raise ValueError(f"{error}; to say it yourself, add --prediction") from error
    told = checkpoint.metadata.get(MODELSPEC_KEY)
    if V_SIGN in checkpoint.unknown or told == "v":
        return "v"
    if told not in (None, "", "epsilon", "eps"):
        raise ValueError(f"metadata {MODELSPEC_KEY} is {told!r:.40}; to say it yourself, add --prediction")
    return (None if told else read_training_config(checkpoint).prediction) or "epsilon"


def _left(checkpoint: Checkpoint) -> NoiseSchedule | None:
    """The noise schedule of what training left in a file; None if it left nothing."""
    found = dict[str, tuple[Tensor, float]]()
    names = [name for name in ("betas", "alphas_cumprod") if name in checkpoint.buffers]
    for name in names or [name for name in ("sqrt_alphas_cumprod",) if name in checkpoint.buffers]:
        spec = checkpoint.buffers.spec(name)
        if not spec.dtype.is_floating_point or len(spec.shape) != 1 or not 2 <= spec.numel <= MOST_LEFT:
            raise ValueError(f"its {name} are {spec.dtype} of shape {list(spec.shape)}; {SAY_IT}")
        values = checkpoint.buffers[name].double()
        # Alpha-bars are rounded in storing, and again where files were merged. A rounding of one is off by up to a
        # quarter of its precision in the square root, one of a beta by less; and what is of float32 was multiplied in
        # float32, a thousand times. A schedule so near draws the same picture.
        tolerance = max(2.0**-15, torch.finfo(spec.dtype).eps / 2)
        if name == "betas":
            values = torch.cumprod(1 - values, 0)
        elif name == "sqrt_alphas_cumprod":
            values = values * values.abs()  # squared, and refused where it was negative
        found[name] = values, tolerance
    if not found:
        return None
    # The betas before others: they are the more exact where they are small.
    bars, tolerance = next(iter(found.values()))
    if len(found) == 2:
        others, theirs = found["alphas_cumprod"]
        roots = [each.clamp(min=0).sqrt() for each in (bars, others)]
        # the end apart: who cannot have zero there puts something near it into one of the two
        if len(bars) != len(others) or not (roots[0] - roots[1]).abs()[:-1].max() <= tolerance + theirs:
            raise ValueError(f"its betas and its alphas_cumprod contradict each other; {SAY_IT}")
    try:
        return NoiseSchedule.fitted([float(bar) for bar in bars], tolerance)
    except ValueError as error:
        raise ValueError(f"its {' and '.join(found)}: {error}; {SAY_IT}") from error


def _in_metadata(checkpoint: Checkpoint) -> Mapping[str, object]:
    text = checkpoint.metadata.get(SCHEDULER_KEY)
    if text is None:
        return {}
    if len(str(text)) > MOST_NOTES:  # parsed, short lists take thirty times as much
        raise ValueError(f"metadata {SCHEDULER_KEY!r} takes more than {MOST_NOTES:,} characters; cut it")
    try:
        value: object = json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"metadata {SCHEDULER_KEY!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"metadata {SCHEDULER_KEY!r} is not a JSON object")
    return cast("dict[str, object]", value)


def schedule_in_words(schedule: NoiseSchedule) -> str | None:
    """A noise schedule as a recipe tells it; None for SD v1.5's. Zero terminal SNR is told elsewhere."""
    if replace(schedule, zero_snr=False) == NoiseSchedule():
        return None
    return f"{schedule.curve}, beta {schedule.beta_start!r} to {schedule.beta_end!r}, {schedule.steps} steps"
