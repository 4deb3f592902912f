"""Keys of a diffusers scheduler's config that change what is drawn, and that nothing here follows."""

from collections.abc import Mapping
from dataclasses import dataclass


def refusal(key: str, value: object, advice: str) -> ValueError:
    """The error that refuses a scheduler's config, on one line whatever it says."""
    return ValueError(f"scheduler config: {key} = {value!r:.80} is not supported: {advice}")


# diffusers' schedulers for latents that neither clip nor threshold nor have a variance of their own to choose.
_PLAIN = {
    "DPMSolverSDEScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
}
_MULTISTEP = {
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
}


@dataclass(frozen=True)
class Option:
    """A key of a scheduler's config that changes what every prediction comes to, or the noise of training.

    Attributes:
        only: the values that are followed, or ask for nothing. Null does neither.
        advice: why the others are refused, and what to do.
        unheeded: diffusers' schedulers that do not know the key.
    """

    only: tuple[object, ...]
    advice: str
    unheeded: frozenset[str] = frozenset()

    def check(self, key: str, config: Mapping[str, object]) -> None:
        """Refuse another value with a ValueError, unless the scheduler named beside it would not heed it."""
        value = config.get(key)
        if value is None or str(config.get("_class_name")) in self.unheeded:
            return
        if not any(value == only and isinstance(value, bool) == isinstance(only, bool) for only in self.only):
            raise refusal(key, value, self.advice)


OPTIONS: Mapping[str, Option] = {
    "clip_sample": Option(
        (False,),
        "no sampler here clips, as latents reach beyond -1 and 1; write false, as Stable Diffusion v1.5 has it",
        frozenset(_PLAIN | _MULTISTEP),
    ),
    "thresholding": Option(
        (False,),
        "no sampler here thresholds, which is for models of pixels; write false",
        frozenset(_PLAIN | {"HeunDiscreteScheduler"}),
    ),
    "variance_type": Option(
        ("fixed_small",),
        "ddpm here draws the posterior's variance, and none is learned; write 'fixed_small' or leave it out",
        frozenset(
            _PLAIN
            | {"DDIMScheduler", "DEISMultistepScheduler", "HeunDiscreteScheduler", "LCMScheduler"}
            | {"TCDScheduler", "UniPCMultistepScheduler"}
        ),
    ),
    "use_flow_sigmas": Option((False,), "only diffusion is, and not flow matching; write false"),
    "timestep_type": Option(("discrete",), "the model is asked by trained timesteps; write 'discrete'"),
    "snr_shift_scale": Option((1,), "the betas are not shifted; write 1.0"),
}
"""What `NoiseSchedule.from_diffusers` looks at and does not return."""
