"""The samplers, a file a family, each one function in its paper's notation. `protocol` says what a sampler is.

A new sampler is one function and one entry in `SAMPLERS`.
"""

from collections.abc import Mapping

from .ddpm import ddim, ddpm
from .dpmpp import dpmpp_2m, dpmpp_2s_a
from .euler import euler, euler_a
from .multistep import lms
from .protocol import Denoise, Draw, Method, Sampler, in_sigmas
from .second_order import dpm2, dpm2_a, heun

__all__ = ["SAMPLERS", "Denoise", "Draw", "Method", "Sampler", "find_sampler"]

_KARRAS = "Karras et al. 2022, arXiv 2206.00364, Algorithm 1"
_ANCESTRAL = "with the noise of Ho et al. 2020, eq. 7, as in k-diffusion"

SAMPLERS: Mapping[str, Method] = {
    "ddpm": Method(
        ddpm, 1, 1, True, "Ho et al. 2020, arXiv 2006.11239, Algorithm 2", ("DDPM", "ddpm", "DDPMScheduler")
    ),
    "ddim": Method(
        ddim, 1, 1, False, "Song et al. 2020, arXiv 2010.02502, eq. 12", ("DDIM", "ddim", "DDIMScheduler")
    ),
    "euler": Method(
        in_sigmas(euler),
        1,
        1,
        False,
        f"{_KARRAS}, its first half",
        ("Euler", "euler", "EulerDiscreteScheduler"),
    ),
    "euler_a": Method(
        in_sigmas(euler_a),
        1,
        1,
        True,
        f"`euler` {_ANCESTRAL}",
        ("Euler a", "euler_ancestral", "EulerAncestralDiscreteScheduler"),
    ),
    "heun": Method(in_sigmas(heun), 2, 2, False, _KARRAS, ("Heun", "heun", "HeunDiscreteScheduler")),
    "lms": Method(
        in_sigmas(lms),
        2,
        1,
        False,
        "Hairer, Norsett and Wanner 1993, III.5, as in k-diffusion",
        ("LMS", "lms", "LMSDiscreteScheduler"),
    ),
    "dpm2": Method(
        in_sigmas(dpm2),
        2,
        2,
        False,
        "Lu et al. 2022, arXiv 2206.00927, Algorithm 1",
        ("DPM2", "dpm_2", "KDPM2DiscreteScheduler"),
    ),
    "dpm2_a": Method(
        in_sigmas(dpm2_a),
        1,
        2,
        True,
        f"`dpm2` {_ANCESTRAL}",
        ("DPM2 a", "dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler"),
    ),
    "dpmpp_2m": Method(
        in_sigmas(dpmpp_2m),
        2,
        1,
        False,
        "Lu et al. 2022, arXiv 2211.01095, Algorithm 2",
        ("DPM++ 2M", "dpmpp_2m", "DPMSolverMultistepScheduler"),
    ),
    "dpmpp_2s_a": Method(
        in_sigmas(dpmpp_2s_a),
        1,
        2,
        True,
        f"Lu et al. 2022, arXiv 2211.01095, Algorithm 1, {_ANCESTRAL}",
        ("DPM++ 2S a", "dpmpp_2s_ancestral", ""),
    ),
}


def find_sampler(name: str) -> tuple[str, str | None]:
    """Find a sampler by any program's name for it, in upper or lower case.

    Args:
        name: ours, AUTOMATIC1111's, ComfyUI's or diffusers'. It may end in AUTOMATIC1111's schedule, Karras or
            Exponential: "DPM++ 2M Karras".

    Returns:
        Our name, and the spacing that the name tells, if it tells one.

    Raises:
        ValueError: there is none of that name; it says which there are.
    """
    asked, spacing = name.lower(), None
    for ending in ("karras", "exponential"):
        if asked.endswith(f" {ending}"):
            asked, spacing = asked.removesuffix(f" {ending}"), ending
    for own, method in SAMPLERS.items():
        if asked in (own, *map(str.lower, filter(None, method.elsewhere))):
            return own, spacing
    raise ValueError(f"sampler {name!r}: there is none of that name; use {', '.join(SAMPLERS)}")
