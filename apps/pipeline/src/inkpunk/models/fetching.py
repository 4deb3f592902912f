"""Downloads from the Hugging Face hub: only what is needed, continued where they stopped, never twice."""

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast, runtime_checkable

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.file_download import (
    http_get,  # pyright: ignore[reportUnknownVariableType]  # tqdm, in its signature, has no types
    repo_folder_name,
)
from huggingface_hub.utils import (
    WeakFileLock,
    are_progress_bars_disabled,
    build_hf_headers,  # pyright: ignore[reportUnknownVariableType]  # a bare dict in its signature
    disable_progress_bars,
    enable_progress_bars,
)

from inkpunk.models.hub_errors import hub_errors_explained
from inkpunk.models.hub_files import SINGLE_FILES, FilesError, choose_files, with_config
from inkpunk.pictures.atomic import write_atomically

Chosen = Callable[[Collection[str]], list[str]]


@runtime_checkable
class Choose(Protocol):
    """Which of a repository's files are worth downloading; raises `FilesError` where none are."""

    def __call__(self, names: Collection[str], *, half: bool) -> list[str]:
        """By the paths of all its files; perhaps preferring float16 weights."""
        ...


@dataclass(frozen=True)
class _Listing:
    """A repository's files at one commit. `large` are stored apart from git, by size and SHA-256."""

    commit: str
    names: tuple[str, ...]
    large: Mapping[str, tuple[int, str]]


def fetch(
    repo: str,
    file: str | None = None,
    *,
    revision: str = "main",
    half: bool = False,
    choose: Choose = choose_files,
    cache: Path | None = None,
    endpoint: str | None = None,
    progress: bool = True,
) -> Path:
    """Download a model, unless it is there already, and return its folder, or its file if it is a single one.

    What is in the cache is used without asking the network, until it is deleted from there. An interrupted
    download goes on where it stopped, and every large file is checked against its SHA-256.

    Args:
        repo: "owner/name".
        file: one file of the repository, instead of the choice of `choose_files`.
        revision: a branch, tag or commit.
        half: prefer float16 weights, half the download.
        choose: what of a repository is downloaded, where no file of it is named.
        cache: the folder to download to; the one that all of Hugging Face's tools share, if None.
        endpoint: another hub, such as a mirror; $HF_ENDPOINT, if None.
        progress: show progress bars.

    Raises:
        HubError: in one line, what stands in the way and what to do about it.
    """
    cache, wanted = cache or Path(constants.HF_HUB_CACHE), partial(choose, half=half)
    name = repo if file is None else f"{repo}/{file}"
    with (
        hub_errors_explained(name, revision, cache, endpoint or constants.ENDPOINT),
        _progress_bars(progress),
    ):
        folder = cache / repo_folder_name(repo_id=repo, repo_type="model")
        known = _recall(folder, revision)
        if known and (path := _cached(folder, known, file, wanted)):
            return path
        try:
            listing = _list(repo, revision, endpoint)
        except Exception:
            # What another program, or the repository's last version, left here is better than nothing.
            # Of what is known to be there, a small file may be new to us.
            for leftover in (known, known and _leftover(folder, known.commit), _leftover(folder, revision)):
                if leftover and (path := _cached(folder, leftover, file, wanted)):
                    return path
            raise
        chosen = _choose(listing, file, wanted)
        _check_space(folder, listing, chosen)
        for each in chosen:
            _download(repo, each, listing, folder, cache, endpoint)
        _remember(folder, revision, listing)
        return _place(folder, listing, chosen)


def _list(repo: str, revision: str, endpoint: str | None) -> _Listing:
    info = huggingface_hub.HfApi(endpoint=endpoint).model_info(repo, revision=revision, files_metadata=True)
    siblings = info.siblings or []
    large = {each.rfilename: (each.lfs.size, each.lfs.sha256) for each in siblings if each.lfs}
    return _Listing(str(info.sha), tuple(each.rfilename for each in siblings), large)


def _choose(listing: _Listing, file: str | None, choose: Chosen) -> list[str]:
    if file is None:
        return choose(listing.names)
    if file not in listing.names:
        there = [name for name in listing.names if PurePosixPath(name).suffix == PurePosixPath(file).suffix]
        raise FilesError(
            f"no such file in the repository; there is {', '.join(there[:8]) or 'none of its kind'}"
        )
    return with_config(file, listing.names)


def _place(folder: Path, listing: _Listing, chosen: list[str]) -> Path:
    snapshot = folder / "snapshots" / listing.commit
    return snapshot / chosen[0] if len(chosen) == 1 or chosen[0].endswith(SINGLE_FILES) else snapshot


def _cached(folder: Path, listing: _Listing, file: str | None, choose: Chosen) -> Path | None:
    """Where the chosen files are, if all of them are here."""
    try:
        chosen = _choose(listing, file, choose)
    except FilesError:
        return None
    here = all((folder / "snapshots" / listing.commit / name).is_file() for name in chosen)
    return _place(folder, listing, chosen) if here else None


def _remember(folder: Path, revision: str, listing: _Listing) -> None:
    """Note beside the repository's cached files what there was to choose from, so as not to ask again."""
    note = json.dumps({"commit": listing.commit, "names": listing.names})
    with suppress(OSError):
        write_atomically(_note(folder, revision), note.encode(), overwrite=True)


def _recall(folder: Path, revision: str) -> _Listing | None:
    try:
        if not _note(folder, revision).is_file():
            return None
        told = cast("dict[str, Any]", json.loads(_note(folder, revision).read_bytes()))
        return _Listing(str(told["commit"]), tuple(map(str, told["names"])), {})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _note(folder: Path, revision: str) -> Path:
    return folder / f"inkpunk-{hashlib.sha256(revision.encode()).hexdigest()[:16]}.json"


def _leftover(folder: Path, revision: str) -> _Listing | None:
    """The files that others have downloaded of this revision."""
    with suppress(OSError, ValueError):
        ref = folder / "refs" / revision
        commit = ref.read_text().strip() if ref.is_file() else revision
        snapshot = folder / "snapshots" / commit
        names = (path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file())
        return _Listing(commit, tuple(names), {})
    return None


def _check_space(folder: Path, listing: _Listing, chosen: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    blobs = [
        (folder / "blobs" / sha256, size)
        for size, sha256 in (listing.large[n] for n in chosen if n in listing.large)
    ]
    needed = sum(size - _size(_partial(blob)) for blob, size in blobs if not blob.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC, f"{needed / 1e9:.1f} GB are needed in {folder}, and {free / 1e9:.1f} GB are free"
        )


def _download(
    repo: str, name: str, listing: _Listing, folder: Path, cache: Path, endpoint: str | None
) -> None:
    if name in listing.large:
        size, sha256 = listing.large[name]
        url = huggingface_hub.hf_hub_url(repo, name, revision=listing.commit, endpoint=endpoint)
        _download_blob(url, name, folder / "blobs" / sha256, size, sha256)
    # For a large file this finds its content in place, and only gives it its name.
    huggingface_hub.hf_hub_download(  # pyright: ignore[reportUnknownMemberType]  # as http_get
        repo, name, revision=listing.commit, cache_dir=cache, endpoint=endpoint
    )


def _download_blob(url: str, name: str, blob: Path, size: int, sha256: str) -> None:
    """Download a large file's content, from where an earlier attempt stopped.

    `hf_hub_download` would begin anew after an interruption, which for gigabytes will not do.
    """
    blob.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(blob)
    with WeakFileLock(blob.with_name(f"{blob.name}.lock")):  # another process may be downloading the same
        if blob.exists():
            return
        with partial.open("ab") as file:
            if file.tell() > size:
                file.truncate(0)
                file.seek(0)
            http_get(
                url,
                file,
                resume_size=file.tell(),
                headers=build_hf_headers(),
                expected_size=size,
                displayed_filename=name,
            )
        with partial.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            partial.unlink()
            raise OSError(errno.EIO, f"{name} was damaged on its way (its SHA-256 is wrong); try again")
        partial.replace(blob)


def _partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.inkpunk-partial")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _progress_bars(shown: bool) -> Generator[None]:
    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
