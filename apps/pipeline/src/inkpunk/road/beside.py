"""Pictures of a batch whose prompts were chosen otherwise: what each was, told and taken again."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from inkpunk.request import Request


def beside(request: Request, seed: int) -> dict[str, str]:
    """What the prompts of a request's other pictures were chosen to be, where that is not what this seed's are."""
    own = _texts(request, seed)
    return {
        f"{other} {name}": text
        for other in request.seeds
        for name, text in _texts(request, other).items()
        if text != own[name]
    }


def _texts(request: Request, seed: int) -> dict[str, str]:
    prompt, negative = request.chosen(seed)
    regions = {f"region {place}": text for place, text in enumerate(request.regions_of(seed), 1)}
    return {"prompt": prompt, "negative": negative, "blend": request.blended_with(seed), **regions}


@dataclass(frozen=True)
class BatchRequest(Request):
    """A request of a batch whose prompts were chosen already, each seed's own.

    Attributes:
        others: as `beside` tells them; all else is as the request says it.
    """

    __no_type_check__ = True

    others: Mapping[str, str] = field(default_factory=dict[str, str])

    def chosen(self, seed: int) -> tuple[str, str]:
        """As they were chosen."""
        prompt, negative = super().chosen(seed)
        return self.others.get(f"{seed} prompt", prompt), self.others.get(f"{seed} negative", negative)

    def blended_with(self, seed: int) -> str:
        """As it was chosen."""
        return self.others.get(f"{seed} blend", super().blended_with(seed))

    def regions_of(self, seed: int) -> tuple[str, ...]:
        """As they were chosen."""
        own = super().regions_of(seed)
        return tuple(self.others.get(f"{seed} region {place}", text) for place, text in enumerate(own, 1))
