"""The samplers, a file a family, each one function in its paper's notation. `protocol` says what a sampler is.

A new sampler is one function and one entry in `SAMPLERS`.
"""

from collections.abc import Mapping

from ..spacing import SPACINGS
from .ddpm import ddim, ddpm, plms
from .distilled import lcm, tcd
from .dpmpp import dpmpp_2m, dpmpp_2m_sde, dpmpp_2s_a, dpmpp_3m_sde, dpmpp_sde
from .euler import euler, euler_a
from .multistep import deis, lms
from .protocol import Denoise, Elsewhere, Method, Model, Sampler, in_sigmas
from .second_order import dpm2, dpm2_a, heun
from .unipc import unipc

__all__ = [
    "SAMPLERS",
    "SCHEDULE_TYPES",
    "Denoise",
    "Elsewhere",
    "Method",
    "Model",
    "Sampler",
    "find_sampler",
    "find_spacing",
]

_KARRAS = "Karras et al. 2022, arXiv 2206.00364, Algorithm 1"
_ANCESTRAL = "with the noise of Ho et al. 2020, eq. 7, as in k-diffusion"
_DPMPP = "Lu et al. 2022, arXiv 2211.01095"

SAMPLERS: Mapping[str, Method] = {
    "ddpm": Method(
        ddpm,
        order=1,
        calls=1,
        cites="Ho et al. 2020, arXiv 2006.11239, Algorithm 2",
        elsewhere=Elsewhere("DDPM", "ddpm", "DDPMScheduler"),
        noise="fresh",
    ),
    "ddim": Method(
        ddim,
        order=1,
        calls=1,
        cites="Song et al. 2020, arXiv 2010.02502, eq. 12",
        elsewhere=Elsewhere("DDIM", "ddim", "DDIMScheduler"),
        eta=0.0,
        noise="fresh",
    ),
    "plms": Method(
        plms,
        order=2,
        calls=1,
        cites="Liu et al. 2022, arXiv 2202.09778, Algorithm 2",
        elsewhere=Elsewhere("PLMS", "", "PNDMScheduler"),
    ),
    "euler": Method(
        in_sigmas(euler),
        spacing="karras",
        order=1,
        calls=1,
        cites=f"{_KARRAS}, its first half",
        elsewhere=Elsewhere("Euler", "euler", "EulerDiscreteScheduler"),
    ),
    "euler_a": Method(
        in_sigmas(euler_a),
        spacing="karras",
        order=1,
        calls=1,
        cites=f"`euler` {_ANCESTRAL}",
        elsewhere=Elsewhere("Euler a", "euler_ancestral", "EulerAncestralDiscreteScheduler"),
        eta=1.0,
        noise="fresh",
    ),
    "heun": Method(
        in_sigmas(heun),
        spacing="karras",
        order=2,
        calls=2,
        cites=_KARRAS,
        elsewhere=Elsewhere("Heun", "heun", "HeunDiscreteScheduler"),
    ),
    "lms": Method(
        in_sigmas(lms),
        spacing="karras",
        order=4,
        calls=1,
        cites="Hairer, Norsett and Wanner 1993, III.5, as in k-diffusion",
        elsewhere=Elsewhere("LMS", "lms", "LMSDiscreteScheduler"),
    ),
    "dpm2": Method(
        in_sigmas(dpm2),
        spacing="karras",
        order=2,
        calls=2,
        cites="Lu et al. 2022, arXiv 2206.00927, Algorithm 1",
        elsewhere=Elsewhere("DPM2", "dpm_2", "KDPM2DiscreteScheduler"),
    ),
    "dpm2_a": Method(
        in_sigmas(dpm2_a),
        spacing="karras",
        order=2,
        calls=2,
        cites=f"`dpm2` {_ANCESTRAL}",
        elsewhere=Elsewhere("DPM2 a", "dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler"),
        eta=1.0,
        noise="fresh",
    ),
    "dpmpp_2m": Method(
        in_sigmas(dpmpp_2m),
        spacing="karras",
        order=2,
        calls=1,
        cites=f"{_DPMPP}, Algorithm 2",
        elsewhere=Elsewhere("DPM++ 2M", "dpmpp_2m", "DPMSolverMultistepScheduler"),
    ),
    "dpmpp_2s_a": Method(
        in_sigmas(dpmpp_2s_a),
        spacing="karras",
        order=2,
        calls=2,
        cites=f"{_DPMPP}, Algorithm 1, {_ANCESTRAL}",
        elsewhere=Elsewhere("DPM++ 2S a", "dpmpp_2s_ancestral"),
        eta=1.0,
        noise="fresh",
    ),
    "dpmpp_sde": Method(
        in_sigmas(dpmpp_sde),
        spacing="karras",
        order=2,
        calls=2,
        cites=f"{_DPMPP}, Algorithm 1, ancestral as in k-diffusion",
        elsewhere=Elsewhere("DPM++ SDE", "dpmpp_sde", "DPMSolverSDEScheduler"),
        eta=1.0,
        noise="brownian",
    ),
    "dpmpp_2m_sde": Method(
        in_sigmas(dpmpp_2m_sde),
        spacing="karras",
        order=2,
        calls=1,
        cites=f"{_DPMPP}, for the SDE",
        elsewhere=Elsewhere("DPM++ 2M SDE", "dpmpp_2m_sde"),
        eta=1.0,
        noise="brownian",
    ),
    "dpmpp_3m_sde": Method(
        in_sigmas(dpmpp_3m_sde),
        spacing="karras",
        order=2,
        calls=1,
        cites=f"{_DPMPP}, for the SDE, carried on as in k-diffusion",
        elsewhere=Elsewhere("DPM++ 3M SDE", "dpmpp_3m_sde"),
        eta=1.0,
        noise="brownian",
    ),
    "unipc": Method(
        in_sigmas(unipc),
        spacing="karras",
        order=3,
        calls=1,
        cites="Zhao et al. 2023, arXiv 2302.04867, UniPC-2",
        elsewhere=Elsewhere("UniPC", "uni_pc_bh2", "UniPCMultistepScheduler"),
    ),
    "deis": Method(
        in_sigmas(deis),
        spacing="karras",
        order=3,
        calls=1,
        cites="Zhang and Chen 2022, arXiv 2204.13902, in log sigma",
        elsewhere=Elsewhere("DEIS", "deis", "DEISMultistepScheduler"),
    ),
    "lcm": Method(
        lcm,
        spacing="lcm",
        order=0,
        calls=1,
        cites="Luo et al. 2023, arXiv 2310.04378",
        elsewhere=Elsewhere("LCM", "lcm", "LCMScheduler"),
        noise="fresh",
    ),
    "tcd": Method(
        tcd,
        spacing="lcm",
        order=0,
        calls=1,
        cites="Zheng et al. 2024, arXiv 2402.19159",
        elsewhere=Elsewhere("TCD", "", "TCDScheduler"),
        eta=0.3,
        noise="fresh",
    ),
}

ALIASES: Mapping[str, str] = {
    "dpmpp_sde_gpu": "dpmpp_sde",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "dpmpp_3m_sde_gpu": "dpmpp_3m_sde",
    "k_euler": "euler",
    "k_euler_a": "euler_a",
    "k_euler_ancestral": "euler_a",
    "k_heun": "heun",
    "k_lms": "lms",
    "k_dpm_2": "dpm2",
    "k_dpm_2_a": "dpm2_a",
    "k_dpm_2_ancestral": "dpm2_a",
    "k_dpmpp_2m": "dpmpp_2m",
    "k_dpmpp_2s_a": "dpmpp_2s_a",
    "k_dpmpp_sde": "dpmpp_sde",
}
"""Further names that recipes have: ComfyUI's for noise drawn on a device, and those of k-diffusion's first users."""
SCHEDULE_TYPES: Mapping[str, str] = {
    "Uniform": "uniform",
    "Karras": "karras",
    "Exponential": "exponential",
    "SGM Uniform": "sgm_uniform",
    "Simple": "simple",
    "Beta": "beta_sigma",
    "KL Optimal": "kl_optimal",
    "Align Your Steps": "ays",
}
"""What AUTOMATIC1111 and Forge call spacings, after a sampler's name or in a field beside it."""


def find_sampler(name: str) -> tuple[str, str | None]:
    """Find a sampler by any program's name for it, in upper or lower case.

    Args:
        name: ours, AUTOMATIC1111's, ComfyUI's or diffusers'. It may end in AUTOMATIC1111's schedule, such as Karras:
            "DPM++ 2M Karras".

    Returns:
        Our name, and the spacing that the name tells, if it tells one.

    Raises:
        ValueError: there is none of that name; it says which there are.
    """
    asked, spacing = name.strip().lower(), None
    for ending in sorted(SCHEDULE_TYPES, key=len, reverse=True):  # "SGM Uniform" ends in "Uniform"
        if asked.endswith(f" {ending.lower()}"):
            asked, spacing = asked.removesuffix(f" {ending.lower()}"), SCHEDULE_TYPES[ending]
            break
    asked = ALIASES.get(asked, asked)
    for own, method in SAMPLERS.items():
        if asked in (own, *map(str.lower, filter(None, method.elsewhere))):
            return own, spacing
    raise ValueError(f"sampler {name!r}: there is none of that name; use {', '.join(SAMPLERS)}")


def find_spacing(name: str) -> str:
    """Find a spacing by our name, AUTOMATIC1111's, or ComfyUI's "normal", in upper or lower case.

    Raises:
        ValueError: there is none of that name; it says which there are.
    """
    asked = name.strip().lower()
    theirs = {theirs.lower(): ours for theirs, ours in SCHEDULE_TYPES.items()} | {"normal": "uniform"}
    found = asked if asked in SPACINGS else theirs.get(asked)
    if found is None:
        raise ValueError(f"spacing {name!r}: there is none of that name; use {', '.join(SPACINGS)}")
    return found
