"""What the studio may do: its address, its folders, and how much may be asked of it."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from inkpunk.orders.choice import ModelChoice
from platformdirs import user_pictures_path, user_state_path

PORT = 7860
"""Where AUTOMATIC1111's server listens, and so where clients of it look at first."""


class SettingsError(ValueError):
    """Settings that cannot be; the message says which, why, and what to give instead."""


def _pictures() -> Path:
    return user_pictures_path() / "inkpunk"


def _state() -> Path:
    return user_state_path("inkpunk") / "studio"


def _hub() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


@dataclass(frozen=True)
class Settings:
    """What the studio may do.

    Attributes:
        host: the address to listen at. Only this machine's own by default: whoever reaches it may draw.
        port: and its port.
        token: what callers must show; None for nobody must. Any address but this machine's own demands one.
        origins: of other pages that a browser may call from, as "http://localhost:3000". None by default: any page
            that its user opens could call.
        hosts: names by which it may be called, beside its address and this machine's own. A page elsewhere could have
            its own name point here (DNS rebinding).
        fetch_urls: whether pictures that a request names by an address are fetched. Off: who asks could make this
            machine call others.
        pictures: the folder that pictures are saved into, which is the gallery.
        state: the folder of unfinished jobs and of the pictures that came with them.
        choice: the model to begin with, and how every model is loaded.
        models: folders whose checkpoints may be chosen, each by its name.
        hub: the Hugging Face hub's cache, whose models may be chosen by their ids; nothing is fetched. None for none.
        wildcards: a folder of lists that prompts may name; None for none.
        upscalers: a folder of networks that make pictures larger; None for none.
        most_waiting: jobs in the queue; a minute's worth of small pictures, an hour's of large ones.
        most_pictures: of one job.
        most_pixels: of one picture. 2048 x 2048 takes minutes and several GiB on most machines.
        most_steps: of one picture, of each of its passes.
        most_prompt: characters of a prompt; 20,000 are some 60 chunks of 75 tokens, each encoded and attended to.
        most_body: bytes of a request's body: a dozen pictures in base64.
        keep_results: seconds that an ended job can be asked for. Its pictures stay until somebody deletes them.
        most_results: ended jobs that are kept at once, the newest, so that memory stays flat.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    token: str | None = None
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    fetch_urls: bool = False
    pictures: Path = field(default_factory=_pictures)
    state: Path = field(default_factory=_state)
    choice: ModelChoice = field(default_factory=ModelChoice)
    models: tuple[Path, ...] = ()
    hub: Path | None = field(default_factory=_hub)
    wildcards: Path | None = None
    upscalers: Path | None = None
    most_waiting: int = 64
    most_pictures: int = 64
    most_pixels: int = 2048 * 2048
    most_steps: int = 150
    most_prompt: int = 20_000
    most_body: int = 64 * 2**20
    keep_results: float = 3600.0
    most_results: int = 1000

    def __post_init__(self) -> None:
        """Check what cannot be told from a single value.

        Raises:
            SettingsError: for an address that others reach, without a token.
        """
        if not self.is_local and not self.token:
            raise SettingsError(
                f"--host {self.host}: others can reach it, and everybody could draw; give a --token, or 127.0.0.1"
            )
        if self.token is not None and not self.token.strip():
            raise SettingsError("--token: is empty; give one that nobody guesses, or leave it out")

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False
