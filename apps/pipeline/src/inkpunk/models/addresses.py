"""What names a model on the Hugging Face hub: owner/name, with a revision or a file, or the address of a page."""

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

HOSTS = ("huggingface.co", "hf.co")
_ID = r"[A-Za-z0-9][\w.-]*"
_REPO = re.compile(rf"{_ID}/{_ID}", re.ASCII)
# The hub's own branches, refs/pr/3 and refs/convert/..., are the revisions with a slash that people meet.
_HUB_ID = re.compile(
    rf"(?P<repo>{_ID}/{_ID})(?:@(?P<revision>refs/[^/\\]+/[^/\\]+|[^/\\]+))?(?:/(?P<file>[^\\]+))?/?",
    re.ASCII,
)
_URL = re.compile(r"https?:/{1,2}(?P<rest>[^/].*)", re.IGNORECASE)  # as a Path it has lost a slash
_FILE_PAGES = ("blob", "resolve", "raw", "blame", "edit")
_REVISION_PAGES = ("tree", "commits", "commit")
_OTHER_THINGS = ("datasets", "spaces", "collections", "papers", "docs", "blog", "api", "models", "posts")
_OTHER_SITES = ("civitai.com", "www.civitai.com", "github.com")
_WAYS_OUT = "give a model of the hub (owner/name), or a file or folder"


class AddressError(ValueError):
    """An address that is no model's; the message says so in one line, and what to give."""


@dataclass(frozen=True)
class HubName:
    """A model on the hub."""

    repo: str
    file: str | None = None
    revision: str = "main"

    def __str__(self) -> str:
        """As short as it can be given: owner/name@revision/file."""
        at = "" if self.revision == "main" else f"@{self.revision}"
        return f"{self.repo}{at}" + ("" if self.file is None else f"/{self.file}")


def read_hub_name(model: str) -> HubName | None:
    """The model that a name or an address can mean on the hub; None if it has the form of neither.

    Args:
        model: "owner/name", "owner/name@revision", either with "/file" after it; or the address of the model's
            page, of its files at a revision, or of one of its files, to look at or to download.

    Raises:
        AddressError: for a page of something that is no model, or of another site.
    """
    if (address := _host_and_path(model)) is not None:
        return _from_page(*address)
    match = _HUB_ID.fullmatch(model)
    if match is None:
        return None
    return _sound(HubName(match["repo"], match["file"], unquote(match["revision"] or "main")))


def _host_and_path(model: str) -> tuple[str, str] | None:
    """The parts of an address; of one without https:// too, where it begins with a site that we know."""
    model = model.strip()
    match = _URL.fullmatch(model)
    host, _, _ = model.partition("/")
    if match is None and host.lower() not in (*_hosts(), *_OTHER_SITES):
        return None
    try:
        parts = urlsplit(f"https://{match['rest'] if match else model}")
        return (parts.netloc if parts.port else parts.hostname or "").lower(), parts.path
    except ValueError:  # a bracket or a port that is none
        return "", ""


def _hosts() -> tuple[str, ...]:
    """The hub's names, and that of the mirror which is asked in its place."""
    mirror = urlsplit(os.environ.get("HF_ENDPOINT", "")).netloc.lower()
    return (*HOSTS, *(f"www.{host}" for host in HOSTS), *([mirror] if mirror else []))


def _from_page(host: str, path: str) -> HubName:
    if host not in _hosts():
        raise AddressError(
            f"{host or 'that'} is not the Hugging Face hub; download the checkpoint there and give its path, "
            f"or {_WAYS_OUT}"
        )
    # Split before unquoting: a branch with a slash in it has it as %2F.
    first, *rest = [unquote(part) for part in path.split("/") if part] or [""]
    if first in _OTHER_THINGS or not rest:
        raise AddressError(f"{host}/{first} is not the page of a model; {_WAYS_OUT}")
    repo, page, parts = f"{first}/{rest[0]}", rest[1] if rest[1:] else "", rest[2:]
    if not _REPO.fullmatch(repo):
        raise AddressError(f"{repo!r:.200} is no name that the hub allows; {_WAYS_OUT}")
    if page not in (*_FILE_PAGES, *_REVISION_PAGES) or not parts:
        return HubName(repo)  # its card, its discussions, and so on
    length = 3 if parts[0] == "refs" and len(parts) > 2 else 1
    revision, file = "/".join(parts[:length]), "/".join(parts[length:]) or None
    if page == "tree" and file is not None:
        raise AddressError(
            f"{repo} is drawn with as a whole, not by its folder {file!r:.200}; give {HubName(repo, None, revision)}"
        )
    name = _sound(HubName(repo, None if page in _REVISION_PAGES else file, revision))
    if name is None:
        raise AddressError(f"{revision!r:.200} and {file!r:.200} are no revision and file; {_WAYS_OUT}")
    return name


def _sound(name: HubName) -> HubName | None:
    """The name, if it is one printable line, and its revision no way through folders."""
    parts = name.revision.split("/")
    return name if str(name).isprintable() and not {"", ".", ".."}.intersection(parts) else None
