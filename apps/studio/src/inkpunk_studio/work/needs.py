"""What a picture needs beside its model: control networks, and what sees image prompts."""

from collections.abc import Iterator
from dataclasses import dataclass

from inkpunk.orders.choice import ModelChoice
from inkpunk.orders.order import Order
from inkpunk.orders.values import Value

from inkpunk_studio.work.models import Models


@dataclass(frozen=True)
class Needs:
    """What a picture needs beside its model, as `Pipeline.load` takes it.

    Attributes:
        controls: by the kind of hint, a file, a folder or an id of the hub; None for inkpunk's own usual one.
        ip_adapter: what sees its image prompts; None for no need of any.
        image_encoder: through which it looks; None for the one beside it.
    """

    controls: tuple[tuple[str, str | None], ...] = ()
    ip_adapter: str | None = None
    image_encoder: str | None = None

    @classmethod
    def of_choice(cls, choice: ModelChoice) -> "Needs":
        """What a model that was loaded so has beside it."""
        return cls(tuple(choice.nets_by_kind.items()), choice.ip_adapter, choice.image_encoder)

    @property
    def told(self) -> dict[str, str]:
        """The control networks that are not the usual ones."""
        return {kind: file for kind, file in self.controls if file is not None}

    def within(self, other: "Needs") -> bool:
        """Whether who has the other's networks at hand needs no more for these."""
        there = other.told
        if any(there.get(kind) != file for kind, file in self.controls):
            return False
        eyes = (self.ip_adapter, self.image_encoder)
        return self.ip_adapter is None or eyes == (other.ip_adapter, other.image_encoder)


def needs_of(order: Order, models: Models) -> Needs:
    """What an order's picture needs: what it names, and of all else the usual.

    Raises:
        OrderError: for a network that is not listed, and where there is nothing to see image prompts with.
    """
    kinds = [*dict.fromkeys(kinds_of(order))]
    sees = bool(texts_of(order.values.get("image-prompt")))
    if not kinds and not sees:
        return Needs()
    networks, shape = models.networks, models.shape(str(order.values.get("model") or models.current))
    named = {
        kind: networks.told(name, "control network")
        for kind, name in order.choice.nets_by_kind.items()
        if kind in kinds
    }
    controls = tuple((kind, named.get(kind) or networks.usual_control(kind, shape)) for kind in kinds)
    if not sees:
        return Needs(controls)
    told, looks = order.choice.ip_adapter, order.choice.image_encoder
    adapter = networks.usual_image_prompt(shape) if told is None else networks.told(told, "image prompt")
    encoder = (
        networks.usual_image_encoder(adapter) if looks is None else networks.told(looks, "image encoder")
    )
    return Needs(controls, adapter, encoder)


def kinds_of(order: Order) -> Iterator[str]:
    """The kinds of the hints that an order's picture follows."""
    for option in ("control", "hint"):
        for text in texts_of(order.values.get(option)):
            yield text.partition(":")[0]


def texts_of(value: Value | None) -> tuple[str, ...]:
    """The texts of an option that takes several; none where it is left open."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (str(value),)
