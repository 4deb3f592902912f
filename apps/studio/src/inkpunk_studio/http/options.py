"""From the options in a request to orders: pictures among them become attachments, names that are none are told."""

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

from inkpunk.orders.options import ARGUMENTS, OPTIONS, whole
from inkpunk.orders.order import Order
from inkpunk.orders.values import OrderError
from inkpunk.road.given import GivenError

from inkpunk_studio.http.beside import networks_beside
from inkpunk_studio.http.incoming import Incoming, IncomingError, read_text
from inkpunk_studio.settings import Settings
from inkpunk_studio.work.attachments import MASK_WORDS, Attachment
from inkpunk_studio.work.desk import Desk
from inkpunk_studio.work.job import Job
from inkpunk_studio.work.limits import ACCEPTED

BY_ARGUMENT = {told.replace("_", "-"): option for option, told in ARGUMENTS.items()}
"""By what Python's API calls it, an option: "negative-prompt" is "negative"."""
NUMBERS_BEHIND = re.compile(r"(?::[-+]?[\d.]+(?:-[\d.]+)?){1,2}\Z")  # a weight, and steps
LONGEST_NUMBERS = 60
MOST_SEED = 2**63
CLOSE = 0.8  # of names that are taken for misspelt ones
MOST_UNKNOWN = 100  # names that are looked at for it
MOST_EACH = 16  # pictures of an option

Values = Mapping[str, object]


@dataclass(frozen=True)
class Asked:
    """What a request asks for.

    Attributes:
        orders: one picture each, with its seed.
        attachments: the pictures that they name.
        warnings: what the asker should know, a line each.
    """

    orders: tuple[Order, ...]
    attachments: tuple[Attachment, ...]
    warnings: tuple[str, ...]

    def submitted(self, desk: Desk, client: str) -> Job:
        """Lay it on a desk; raises as `Desk.submit`. It blocks while it is written down."""
        return desk.submit(self.orders, client=client, warnings=self.warnings, attachments=self.attachments)


def asked(
    values: Values, count: int, settings: Settings, given: Mapping[str, Incoming] | None = None
) -> Asked:
    """Read options. It blocks while it decodes or fetches pictures.

    Args:
        values: by the options' names, or Python's for them, with "_" or "-". Where an option names a picture, that
            stands there in base64, as a data URI, or by its address. What is no option is passed over.
        count: of pictures, whose seeds count on from the one that is told.
        settings: what may be asked.
        given: pictures that are read already, by the options "init" and "mask".

    Raises:
        OrderError: for a value that an option cannot have.
        IncomingError: for a picture that cannot be taken.
    """
    if not 1 <= count <= settings.most_pictures:
        raise OrderError(f"{count} pictures: must be 1 to {settings.most_pictures} at once")
    told, warnings = known(values)
    attachments = dict[str, Attachment]()

    def attach(name: str, picture: object) -> str:
        if not isinstance(picture, str):
            raise IncomingError(f"{name}: must be a picture in base64")
        return add(name, read_text(name, picture, settings))

    def add(name: str, incoming: Incoming) -> str:
        attachment = incoming.within(settings.most_pixels).attachment
        attachments[attachment.name] = attachment
        return attachment.name

    seed = _seed(told.pop("seed", None))
    told |= networks_beside(told)
    settled = {name: _with_names(name, value, attach) for name, value in told.items()}
    settled |= {name: add(name, incoming) for name, incoming in (given or {}).items()}
    order = Order.read(settled)
    orders = (Order({**order.values, "seed": (seed + place) % MOST_SEED}) for place in range(count))
    return Asked(tuple(orders), tuple(attachments.values()), tuple(warnings))


def known(values: Values) -> tuple[dict[str, object], list[str]]:
    """Of a request's values those that are options, and a line for each name that may be a misspelt one."""
    told, warnings, unknown = dict[str, object](), list[str](), 0
    for name, value in values.items():
        plain = name.replace("_", "-")
        option = plain if plain in OPTIONS else BY_ARGUMENT.get(plain)
        if option is None:
            unknown += 1
            warnings += _perhaps(name, plain) if unknown <= MOST_UNKNOWN else ()
        elif value is not None and not (option in told and plain != option):
            told[option] = value
    return told, warnings


def _perhaps(name: str, plain: str) -> Iterator[str]:
    close = get_close_matches(plain[:40], (*ACCEPTED, *BY_ARGUMENT), 1, CLOSE)
    if close:
        yield f"{name[:40]}: there is no such option, and it changes nothing; did you mean {close[0]}?"


def _seed(told: object) -> int:
    """The seed that is told; a fresh one for none, and for -1, as AUTOMATIC1111 has it."""
    try:
        seed = -1 if told is None else whole("seed", told)
    except GivenError as error:
        raise OrderError(str(error)) from error
    if seed >= MOST_SEED:
        raise OrderError(f"seed {str(seed)[:40]}: must lie between 0 and 2**63 - 1, or be -1 for any")
    return secrets.randbits(32) if seed < 0 else seed


def _with_names(option: str, value: object, attach: Any) -> object:
    """An option's value with the names of attachments in place of pictures."""
    if option == "init":
        return attach(option, value)
    if option == "mask":
        return value if value in MASK_WORDS else attach(option, value)
    if option in ("control", "hint", "image-prompt", "region"):
        each = cast("list[object]", value) if isinstance(value, list) else [value]
        if len(each) > MOST_EACH:
            raise OrderError(f"{option}: {len(each)} came; at most {MOST_EACH} are taken")
        return tuple(_one_with_name(option, one, attach) for one in each)
    return value


def _one_with_name(option: str, value: object, attach: Any) -> str:
    told = _of_object(option, cast("Values", value)) if isinstance(value, dict) else _of_text(option, value)
    before, picture, after = told
    return f"{before}{attach(option, picture)}{after}"


def _of_text(option: str, value: object) -> tuple[str, object, str]:
    """What stands before a picture, the picture, and what stands behind it, in an option's text."""
    if not isinstance(value, str):
        raise IncomingError(f"{option}: must be text, or an object")
    if option == "region":
        prompt, at, mask = value.rpartition("@")
        return prompt + at, mask, ""
    kind, colon, rest = ("", "", value) if option == "image-prompt" else value.partition(":")
    behind = NUMBERS_BEHIND.search(rest[-LONGEST_NUMBERS:])
    after = behind[0] if behind else ""
    return kind + colon, rest.removesuffix(after), after


def _of_object(option: str, value: Values) -> tuple[str, object, str]:
    """The same, of an object such as {"kind": "canny", "picture": "iVBOR...", "weight": 0.9, "end": 0.6}."""
    if option == "region":
        return f"{value.get('prompt', '')}@", value.get("mask"), ""
    after = f":{_number(option, value, 'weight', 1.0):.6f}"
    if option == "image-prompt":
        return "", value.get("picture"), after
    start, end = _number(option, value, "start", 0.0), _number(option, value, "end", 1.0)
    return f"{value.get('kind', '')}:", value.get("picture"), f"{after}:{start:.6f}-{end:.6f}"


def _number(option: str, value: Values, name: str, usual: float) -> float:
    told = value.get(name)
    if told is None:
        return usual
    if isinstance(told, bool) or not isinstance(told, int | float) or not abs(told) <= 1000:
        raise OrderError(f"{option}, {name}: must be a number, as {usual:g}")
    return float(told)
