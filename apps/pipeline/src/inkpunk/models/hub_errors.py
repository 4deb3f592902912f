"""What goes wrong between here and the Hugging Face hub, in one line that says what to do."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from inkpunk.models.hub_files import FilesError

_ELSEWHERE = "or download the checkpoint elsewhere and give its path"
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EPERM, errno.EROFS)


class HubError(OSError):
    """A model that cannot be found or fetched; the message says which, why, and what to do."""


@contextmanager
def hub_errors_explained(name: str, revision: str, cache: Path, hub: str) -> Generator[None]:
    """Turn whatever huggingface_hub raises within the block into a `HubError`.

    Args:
        name: the model, as the user gave it.
        revision: what was asked for.
        cache: the folder that is downloaded to.
        hub: the address of the hub.
    """
    try:
        yield
    except FilesError as error:
        raise HubError(f"{name}: {error}") from error
    except Exception as error:  # the transport's own errors change with huggingface_hub's versions
        raise HubError(f"{name}: {_reason(error, name, revision, cache, hub)}") from error


def _reason(error: Exception, name: str, revision: str, cache: Path, hub: str) -> str:
    from huggingface_hub import errors  # only now: it takes a while, and who draws from a file never needs it

    chain = _with_causes(error)

    def has(kind: type[Exception]) -> bool:
        return any(isinstance(each, kind) for each in chain)

    if has(errors.GatedRepoError):
        page = f"{hub}/{'/'.join(name.split('/')[:2])}"
        return f"its owners grant access on request; ask at {page}, then set HF_TOKEN to a token of yours"
    if has(errors.RepositoryNotFoundError):
        return f"not on {hub}, or private; check the spelling, or set HF_TOKEN if you have access"
    if has(errors.RevisionNotFoundError):
        return f"has no revision {revision!r}; leave it out to take the latest"
    if has(errors.HFValidationError):
        return "not a name that the hub allows; it has the form owner/name"
    if has(errors.OfflineModeIsEnabled):
        return f"not in the cache ({cache}), and HF_HUB_OFFLINE forbids to fetch it; unset it, {_ELSEWHERE}"
    status = next(
        (each.response.status_code for each in chain if isinstance(each, errors.HfHubHTTPError)), None
    )
    if status in (401, 403):
        return (
            f"{hub} refuses access ({status}); set HF_TOKEN to a valid token, or unset one that has expired"
        )
    if status is not None:
        return f"{hub} answers with error {status}; try again later, {_ELSEWHERE}"
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}; the cache is {cache}, and HF_HOME moves it"
    detail = f"{type(chain[-1]).__name__}: {chain[-1]}".splitlines()[0]
    return (
        f"not whole in the cache ({cache}), and {hub} does not deliver it ({detail}); try again, {_ELSEWHERE}"
    )


def _with_causes(error: BaseException) -> list[BaseException]:
    cause = error.__cause__
    return [error] if cause is None else [error, *_with_causes(cause)]
