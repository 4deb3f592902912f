"""Where the field's programs differ: the same seed, sampler and steps give other pictures in each of them.

Every difference is an option here, under a name of its own; `CONVENTIONS` sets those of one program together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log
from typing import TypeAlias

from .schedule import CLEAN, NoiseSchedule, Timestep
from .spacing import ays_points, even_angles, timesteps

Path: TypeAlias = tuple[Timestep, ...]
PathMaker: TypeAlias = Callable[[NoiseSchedule, int], Path]

TIMESTEPS = ("fractional", "nearest")
INITIAL = ("unit", "sigma")
STRENGTH = ("part", "one_more", "stretched")


DISTILLED = {"lcm": "lcm", "tcd": "lcm"}


def _as_distilled() -> Mapping[str, str]:
    return DISTILLED


def _no_end() -> Mapping[str, Timestep]:
    return {}


def _no_path() -> Mapping[str, PathMaker]:
    return {}


@dataclass(frozen=True)
class Conventions:
    """One program's answers to what papers leave open.

    Attributes:
        sampler: what is drawn with when none is asked for.
        timestep: which timestep the network is told for a sigma between two trained ones: "fractional", linear in the
            logarithm of sigma, or the "nearest" whole one.
        initial: the variance of the first latents of the samplers in `scaled_by_sigma`: "unit", as if there were a
            picture beneath the noise, or "sigma", noise^2, as if there were none.
        scaled_by_sigma: the samplers that `initial` is about.
        strength: how many of N steps image to image runs at strength s: "part", int(N s); "one_more", int(N s) + 1,
            and N at most; "stretched", N, the last ones of int(N / s).
        drops_last_but_one: samplers that visit one timestep more and then leave out the last.
        spacings: what a sampler goes by when no spacing is asked for; `default_spacing` for those that are not in it.
        default_spacing: see `spacings`.
        ends: where a sampler's path ends, if not at `CLEAN`: with the noise of a timestep.
        sampler_paths: whole paths of samplers whose timesteps are no spacing, end included.
        spacing_paths: the same of spacings that a program has in its own way.
        source: of the noise, a name in `SOURCES`.
        step_seed: added to the seed for all noise after the first: see `seeded_noise`.
        drawn_encoding: whether an init picture's latents are drawn from what the VAE's encoder tells of them, by the
            image's own first noise; else they are its mean.
    """

    sampler: str = "ddpm"
    timestep: str = "fractional"
    initial: str = "unit"
    scaled_by_sigma: frozenset[str] = frozenset()
    strength: str = "part"
    drops_last_but_one: frozenset[str] = frozenset()
    spacings: Mapping[str, str] = field(default_factory=_as_distilled)
    default_spacing: str = "linspace"
    ends: Mapping[str, Timestep] = field(default_factory=_no_end)
    sampler_paths: Mapping[str, PathMaker] = field(default_factory=_no_path)
    spacing_paths: Mapping[str, PathMaker] = field(default_factory=_no_path)
    source: str = "torch"
    step_seed: int = 0
    drawn_encoding: bool = True

    def __post_init__(self) -> None:
        """Refuse an option that there is not."""
        for name, known in (("timestep", TIMESTEPS), ("initial", INITIAL), ("strength", STRENGTH)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"convention {name} = {getattr(self, name)!r}: choose from {', '.join(known)}"
                )

    def spacing(self, sampler: str) -> str | None:
        """The spacing of a sampler when none is asked for; None where its path is none."""
        return None if sampler in self.sampler_paths else self.spacings.get(sampler, self.default_spacing)

    def path(
        self, schedule: NoiseSchedule, sampler: str, steps: int, spacing: str | None = None, offset: int = 0
    ) -> Path:
        """Choose the timesteps that a sampler walks along, its end included: `CLEAN`, or the faintest that there is.

        Raises:
            ValueError: as `timesteps`.
        """
        spacing = spacing or self.spacing(sampler)
        if spacing is None:
            timesteps(schedule, steps)  # refuses numbers that do not fit
            return self.sampler_paths[sampler](schedule, steps)
        if spacing in self.spacing_paths:
            timesteps(schedule, steps, spacing, offset)
            return self.spacing_paths[spacing](schedule, steps)
        if sampler in self.drops_last_but_one and steps < schedule.steps:
            visited = timesteps(schedule, steps + 1, spacing, offset)[:-1]
        else:
            visited = timesteps(schedule, steps, spacing, offset)
        return tuple(
            dict.fromkeys((*visited, self.ends.get(sampler, CLEAN)))
        )  # an end may be visited already

    def partial_path(
        self,
        schedule: NoiseSchedule,
        sampler: str,
        steps: int,
        strength: float,
        spacing: str | None = None,
        offset: int = 0,
    ) -> Path:
        """The last part of a path: what image to image walks along.

        Raises:
            ValueError: as `timesteps`, or if strength is not in (0, 1] or leaves not a single step.
        """
        if not 0 < strength <= 1:
            raise ValueError(f"strength {strength}: give more than 0 and at most 1")
        if self.strength == "stretched":
            path = self.path(schedule, sampler, min(int(steps / strength), schedule.steps), spacing, offset)
            kept = steps
        else:
            path = self.path(schedule, sampler, steps, spacing, offset)
            kept = int(steps * strength) + (self.strength == "one_more")
        if kept == 0:
            raise ValueError(
                f"strength {strength} of {steps} steps is less than one step: raise strength above 1/{steps} or "
                "the number of steps"
            )
        return path[-min(kept, len(path) - 1) - 1 :]

    def timestep_of(self, schedule: NoiseSchedule) -> Callable[[float], float]:
        """How the network's timestep is found from a sigma."""
        if self.timestep == "fractional":
            return schedule.timestep
        return lambda sigma: _nearest(schedule, sigma)

    def first_scale(self, schedule: NoiseSchedule, sampler: str, t: Timestep) -> float:
        """What the first draw is multiplied by to become the first latents, of about unit variance."""
        return schedule.noise(t) if self.initial == "sigma" and sampler in self.scaled_by_sigma else 1.0


def _nearest(schedule: NoiseSchedule, sigma: float) -> float:
    """The whole timestep whose sigma's logarithm is nearest."""
    below = int(schedule.timestep(sigma))
    above = min(below + 1, schedule.steps - 1)
    return float(min((below, above), key=lambda t: abs(log(schedule.sigma(t) / sigma))))


def _leading_to(offset: int, end: Timestep | None) -> PathMaker:
    """Every whole stride from `offset` up, walked down to an end; None: the last of them is the end."""

    def path(schedule: NoiseSchedule, steps: int) -> Path:
        stride = schedule.steps // steps
        visited = [t + offset for t in range(0, schedule.steps, stride) if t + offset < schedule.steps]
        if end is None:
            return tuple(reversed(visited))
        return (*reversed(visited[:steps]), end)

    return path


def _linspace_without_0(end: Timestep) -> PathMaker:
    """One timestep more, the last of which is left out: how diffusers' multistep solvers divide the whole range."""

    def path(schedule: NoiseSchedule, steps: int) -> Path:
        if steps == schedule.steps:
            return (*timesteps(schedule, steps), CLEAN)
        return (*timesteps(schedule, steps + 1)[:-1], end)

    return path


SIGMA_SAMPLERS = frozenset(
    {
        "euler",
        "euler_a",
        "heun",
        "lms",
        "dpm2",
        "dpm2_a",
        "dpmpp_2m",
        "dpmpp_2s_a",
        "dpmpp_sde",
        "dpmpp_2m_sde",
        "dpmpp_3m_sde",
    }
)
"""What k-diffusion has."""

# Measured by tools.choose_sampler: nearest to where all samplers lead, for the least calls of the UNet; Karras's
# sigmas are among the best for every one that goes by sigmas.
INKPUNK = Conventions(
    sampler="dpmpp_2m",
    spacings={**DISTILLED, **dict.fromkeys((*SIGMA_SAMPLERS, "unipc", "deis"), "karras")},
)
A1111 = Conventions(
    sampler="dpmpp_2m",
    initial="sigma",
    scaled_by_sigma=SIGMA_SAMPLERS,
    strength="one_more",
    drops_last_but_one=frozenset({"dpm2", "dpm2_a", "dpmpp_3m_sde"}),
    spacings={
        **DISTILLED,
        **dict.fromkeys(("dpmpp_2m", "dpmpp_sde", "dpmpp_2s_a", "dpm2", "dpm2_a"), "karras"),
        **dict.fromkeys(("dpmpp_2m_sde", "dpmpp_3m_sde"), "exponential"),
    },
    default_spacing="uniform",
    sampler_paths={"ddim": _leading_to(1, None), "plms": _leading_to(1, None)},
    spacing_paths={
        "ays": lambda schedule, steps: (*ays_points(schedule, steps), CLEAN),
        "beta": lambda schedule, steps: (*timesteps(schedule, steps, "beta_sigma"), CLEAN),
        "kl_optimal": lambda schedule, steps: even_angles(schedule, steps + 1),  # ends at the least sigma
    },
    source="philox",
    drawn_encoding=False,  # it draws from a generator that nobody has seeded
)
COMFYUI = Conventions(
    sampler="euler",
    timestep="nearest",
    strength="stretched",
    drops_last_but_one=frozenset({"dpm2", "dpm2_a", "unipc"}),
    default_spacing="uniform",  # it says "normal"
    step_seed=1,  # on a CPU; one picture at a time, as its batches share one draw
    drawn_encoding=False,  # as in AUTOMATIC1111
)
DIFFUSERS = Conventions(
    sampler="plms",
    initial="sigma",
    scaled_by_sigma=frozenset({"euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_sde"}),
    spacings={
        **DISTILLED,
        **dict.fromkeys(("euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_sde"), "uniform"),
    },
    ends=dict.fromkeys(("ddim", "plms", "deis", "tcd"), 0),
    sampler_paths={
        "ddpm": _leading_to(1, CLEAN),  # the offset of SD v1.5's own scheduler_config.json
        "ddim": _leading_to(1, 0),
        "plms": _leading_to(1, 0),
        **dict.fromkeys(("dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "unipc"), _linspace_without_0(CLEAN)),
        "deis": _linspace_without_0(0),
    },
)
CONVENTIONS: Mapping[str, Conventions] = {
    "inkpunk": INKPUNK,
    "a1111": A1111,
    "comfyui": COMFYUI,
    "diffusers": DIFFUSERS,
}
"""Each program's, as it draws when nobody has changed its settings (AUTOMATIC1111 on an NVIDIA device)."""
