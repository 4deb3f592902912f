"""Where the field's programs differ: the same seed, sampler and steps give other pictures in each of them.

Every difference is an option of `Conventions`, and `CONVENTIONS` has each program's choices.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log
from typing import TypeAlias

from .noise import SOURCES
from .samplers import SAMPLERS
from .schedule import CLEAN, NoiseSchedule, Timestep
from .spacing import ays_points, even_angles, timesteps

Path: TypeAlias = tuple[Timestep, ...]
PathMaker: TypeAlias = Callable[[NoiseSchedule, int], Path]
"""A schedule and a number of steps to a path, its end included."""

CHOICES = {
    "image_to_image": ("part", "one more", "stretched"),
    "brownian": ("schedule", "path", "run"),
    "source": (*SOURCES,),
}


@dataclass(frozen=True)
class Conventions:
    """One program's answers to what papers leave open; the defaults are ours.

    Attributes:
        sampler: the default sampler of a program that has one; `sample` is always told.
        nearest_timestep: samplers whose network is told the nearest whole timestep where their path is between two;
            that of others is told the timestep itself, which is linear in the logarithm of sigma.
        first_by_sigma: samplers whose first latents are the noise times sigma, as if there were no picture beneath
            it; those of others are the noise times sqrt(1 + sigma^2), which has unit variance in our latents.
        unit_spacings: spacings that are an exception to it.
        image_to_image: how many of N steps are run at strength s: "part", int(N s); "one more", int(N s) + 1, and N
            at most; "stretched", N, the last ones of int(N / s).
        drops_last_but_one: samplers that visit one timestep more, and then leave out the last.
        spacings: of samplers, when none is asked for; then `default_spacing`, or what `SAMPLERS` says.
        default_spacing: see `spacings`.
        zero_snr_spacing: in their place on a zero-SNR schedule, but for distilled models' samplers.
        few_steps: below so many, samplers that would go by Karras's sigmas go by those of Align Your Steps, or where
            the schedule is not Stable Diffusion's, for which they were found, by trailing timesteps.
        leading_offset: of the spacing "leading", when none is given.
        ends: where a sampler's path ends, if not at `CLEAN`: at the noise of a timestep.
        sampler_paths: of samplers for which the program has its own path, when no spacing is asked for.
        spacing_names: of spacings that are other ones of ours there.
        spacing_paths: of spacings that the program has in its own way.
        brownian: which sigmas a Brownian path spans: the "schedule"'s, those of the whole "path", or of the part that
            is "run".
        source: of the noise, a name in `SOURCES`.
        step_seed: added to the seed for all noise after the first: see `seeded_noise`.

    Raises:
        ValueError: for a choice or a sampler that there is not.
    """

    sampler: str = "dpmpp_2m"
    nearest_timestep: frozenset[str] = frozenset()
    first_by_sigma: frozenset[str] = frozenset()
    unit_spacings: frozenset[str] = frozenset()
    image_to_image: str = "part"
    drops_last_but_one: frozenset[str] = frozenset()
    spacings: Mapping[str, str] = field(default_factory=dict[str, str])
    default_spacing: str | None = None
    zero_snr_spacing: str | None = None
    few_steps: int = 0
    leading_offset: int = 0
    ends: Mapping[str, Timestep] = field(default_factory=dict[str, Timestep])
    sampler_paths: Mapping[str, PathMaker] = field(default_factory=dict[str, PathMaker])
    spacing_names: Mapping[str, str] = field(default_factory=dict[str, str])
    spacing_paths: Mapping[str, PathMaker] = field(default_factory=dict[str, PathMaker])
    brownian: str = "schedule"
    source: str = "torch"
    step_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse unknown names, which would otherwise change nothing in silence."""
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"convention {name} = {getattr(self, name)!r}: choose from {', '.join(known)}"
                )
        named = {self.sampler, *self.nearest_timestep, *self.first_by_sigma, *self.drops_last_but_one}
        for name in sorted(named | {*self.spacings, *self.ends, *self.sampler_paths}):
            if name not in SAMPLERS:
                raise ValueError(f"conventions of sampler {name!r}: choose from {', '.join(SAMPLERS)}")

    def spacing(self, schedule: NoiseSchedule, sampler: str, steps: int) -> str | None:
        """The spacing of a sampler when none is asked for; None where the program has its own path for it."""
        usual = SAMPLERS[sampler].spacing
        if schedule.zero_snr and self.zero_snr_spacing and usual != "lcm":
            return self.zero_snr_spacing
        if sampler in self.sampler_paths:
            return None
        if steps < self.few_steps and usual == "karras":
            return "ays" if schedule == NoiseSchedule() else "trailing"
        return self.spacings.get(sampler) or self.default_spacing or usual

    def path(
        self, schedule: NoiseSchedule, sampler: str, steps: int, spacing: str | None = None, offset: int = 0
    ) -> Path:
        """Choose the timesteps that a sampler walks along, descending, its end included.

        Args:
            schedule: what the model was trained with.
            sampler: a name in `SAMPLERS`.
            steps: how many, 1 to schedule.steps.
            spacing: a name in `SPACINGS`; None for the one that these conventions have for the sampler.
            offset: of the spacing "leading": see `timesteps`.

        Returns:
            At least two timesteps; the last is `CLEAN`, or where these conventions end.

        Raises:
            ValueError: as `timesteps`, or for a number of steps that leaves none to take.
        """
        spacing = spacing or self.spacing(schedule, sampler, steps)
        spacing = spacing and self.spacing_names.get(spacing, spacing)
        own = self.sampler_paths[sampler] if spacing is None else self.spacing_paths.get(spacing)
        if spacing == "leading":
            offset = offset or self.leading_offset
        if own is None:
            path = self._spaced(schedule, sampler, steps, spacing or "linspace", offset)
        else:
            timesteps(schedule, steps, spacing or "linspace", offset)  # refuses numbers that do not fit
            path = own(schedule, steps)
        if len(path) < 2:
            raise ValueError(f"{steps} steps of {sampler}: none is left to take; give at least {steps + 1}")
        return path

    def _spaced(self, schedule: NoiseSchedule, sampler: str, steps: int, spacing: str, offset: int) -> Path:
        if sampler in self.drops_last_but_one and steps < schedule.steps:
            visited = timesteps(schedule, steps + 1, spacing, offset)[:-1]
        else:
            visited = timesteps(schedule, steps, spacing, offset)
        end = self.ends.get(sampler, CLEAN)
        return tuple(dict.fromkeys((*visited, end)))  # it may have been visited

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

        Args:
            schedule, sampler, steps, spacing, offset: as for `path`.
            strength: how much is drawn anew, in (0, 1].

        Raises:
            ValueError: as `path`, or if strength is not in (0, 1] or leaves not a single step.
        """
        if not 0 < strength <= 1:
            raise ValueError(f"strength {strength}: give more than 0 and at most 1")
        if self.image_to_image == "stretched":
            stretched = int(steps / strength)
            if stretched > schedule.steps:
                raise ValueError(
                    f"strength {strength} of {steps} steps would be the end of {stretched}, and the model was "
                    f"trained at {schedule.steps} timesteps: raise the strength or give fewer steps"
                )
            path, kept = self.path(schedule, sampler, stretched, spacing, offset), steps
        else:
            path = self.path(schedule, sampler, steps, spacing, offset)
            kept = int(steps * strength) + (self.image_to_image == "one more")
        if kept == 0:
            raise ValueError(
                f"strength {strength} of {steps} steps is less than one step: raise strength above 1/{steps} or "
                "the number of steps"
            )
        return path[-min(kept, len(path) - 1) - 1 :]

    def timestep_of(self, schedule: NoiseSchedule, sampler: str) -> Callable[[float], float]:
        """A function from a sigma to the timestep that a sampler's network is told."""
        nearest = sampler in self.nearest_timestep
        return (lambda sigma: _nearest(schedule, sigma)) if nearest else schedule.timestep

    def first_scale(
        self, schedule: NoiseSchedule, sampler: str, t: Timestep, spacing: str | None = None
    ) -> float:
        """What the first draw is multiplied by to become the first latents: 1, or sigma / sqrt(1 + sigma^2)."""
        by_sigma = sampler in self.first_by_sigma and spacing not in self.unit_spacings
        return schedule.noise(t) if by_sigma else 1.0

    def brownian_ends(self, schedule: NoiseSchedule, path: Path, run: Path) -> tuple[float, float]:
        """The least and the greatest sigma of a Brownian path, for a whole path and the part of it that is run."""
        if self.brownian == "schedule":
            return schedule.sigma(0), schedule.sigma(schedule.steps - 1)
        sigmas = [schedule.sigma(t) for t in (path if self.brownian == "path" else run) if t != CLEAN]
        return min(sigmas), max(sigmas)


def _nearest(schedule: NoiseSchedule, sigma: float) -> float:
    """The whole timestep whose sigma's logarithm is nearest."""
    below = int(schedule.timestep(sigma))
    above = min(below + 1, schedule.steps - 1)
    return float(min((below, above), key=lambda t: abs(log(schedule.sigma(t) / sigma))))


def _leading_from_1(end: Timestep | None) -> PathMaker:
    """Every whole stride up from timestep 1, walked down to an end; None: the last of them is the end."""

    def path(schedule: NoiseSchedule, steps: int) -> Path:
        visited = range(1, schedule.steps, schedule.steps // steps)
        return tuple(reversed(visited)) if end is None else (*reversed(visited[:steps]), end)

    return path


def _linspace_above_0(end: Timestep) -> PathMaker:
    """One timestep more, the last of which is left out: how diffusers' multistep solvers divide the whole range."""

    def path(schedule: NoiseSchedule, steps: int) -> Path:
        more = timesteps(schedule, min(steps + 1, schedule.steps))
        return tuple(dict.fromkeys((*(more[:-1] if len(more) > steps else more), end)))

    return path


K_DIFFUSION = frozenset(
    (
        *("euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a"),
        *("dpmpp_2m", "dpmpp_2s_a", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde"),
    )
)
MULTISTEP = frozenset({"dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "unipc", "deis"})
DISTILLED = {"lcm": "lcm", "tcd": "lcm"}

CONVENTIONS: Mapping[str, Conventions] = {
    # Lin et al. 2023 on zero SNR, where most of Karras's sigmas would lie above all that is learnt; and few steps as
    # measured by tools.choose_sampler
    "inkpunk": Conventions(zero_snr_spacing="trailing", few_steps=16),
    "a1111": Conventions(
        first_by_sigma=K_DIFFUSION,
        image_to_image="one more",
        drops_last_but_one=frozenset({"dpm2", "dpm2_a", "dpmpp_3m_sde"}),
        spacings={
            **DISTILLED,
            **dict.fromkeys(("dpmpp_2m", "dpmpp_sde", "dpmpp_2s_a", "dpm2", "dpm2_a"), "karras"),
            **dict.fromkeys(("dpmpp_2m_sde", "dpmpp_3m_sde"), "exponential"),
        },
        default_spacing="uniform",
        sampler_paths=dict.fromkeys(("ddim", "plms"), _leading_from_1(None)),
        spacing_names={"beta": "beta_sigma"},
        spacing_paths={
            "ays": lambda schedule, steps: (*ays_points(schedule, steps), CLEAN),
            "kl_optimal": lambda schedule, steps: even_angles(schedule, steps + 1),  # ends at the least sigma
        },
        brownian="path",
        source="philox",
    ),
    "comfyui": Conventions(
        sampler="euler",
        nearest_timestep=frozenset(SAMPLERS),
        image_to_image="stretched",
        drops_last_but_one=frozenset({"dpm2", "dpm2_a", "unipc"}),
        spacings=DISTILLED,
        default_spacing="uniform",  # it says "normal"
        brownian="run",
        step_seed=1,  # on a CPU; one picture at a time, as its batches share one draw
    ),
    "diffusers": Conventions(
        sampler="plms",
        nearest_timestep=MULTISTEP,
        unit_spacings=frozenset({"leading"}),
        first_by_sigma=frozenset({"euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_sde"}),
        spacings={
            **DISTILLED,
            **dict.fromkeys(("euler", "euler_a", "heun", "lms", "dpm2", "dpm2_a", "dpmpp_sde"), "uniform"),
        },
        leading_offset=1,  # of SD v1.5's own scheduler_config.json
        ends=dict.fromkeys(("ddim", "plms", "deis", "tcd"), 0),
        sampler_paths={
            "ddpm": _leading_from_1(CLEAN),
            **dict.fromkeys(("ddim", "plms"), _leading_from_1(0)),
            **dict.fromkeys(MULTISTEP, _linspace_above_0(CLEAN)),
            "deis": _linspace_above_0(0),
        },
        spacing_names={"beta": "beta_sigma"},
        brownian="path",
    ),
}
"""Each program's, as it draws when nobody has changed its settings (AUTOMATIC1111 on an NVIDIA device)."""
