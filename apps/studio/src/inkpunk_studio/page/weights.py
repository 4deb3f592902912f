"""What the tab Models does with files of weights: tell what they are, what is wrong with them, and fetch more."""

import shutil
import time
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Thread

from inkpunk.models.addresses import AddressError, HubName, read_hub_name
from inkpunk.models.fetching import fetch
from inkpunk.models.hub import resolve_model
from inkpunk.models.hub_errors import HubError
from inkpunk.models.hub_files import FilesError, choose_files, choose_network_files
from inkpunk.models.lora_notes import describe_adapter
from inkpunk.orders.values import OrderError
from inkpunk_weights import CheckpointError, open_checkpoint

from inkpunk_studio.settings import Settings
from inkpunk_studio.work.inspecting import inspect
from inkpunk_studio.work.models import Models

LOOK_EVERY = 0.5  # seconds between two looks at how much of a download is there
PARTIAL = "*.inkpunk-partial"
TOLD = ("kind", "rank", "base model", "trigger words", "title", "description", "no place for", "not read")
"""What is told of an adapter."""
OF_EDIT = ("control network", "image prompt", "image encoder")
"""What is chosen in the tab Edit, and is no model."""


def what_it_is(models: Models, name: str) -> str:
    """What a listed model is, and what is wrong with it, as `inkpunk inspect` tells it; headers alone are read.

    Raises:
        OrderError: for one that is not listed.
    """
    model = models.choice(name).model
    if not _is_here(model):
        return f"{model} is on the hub: it is fetched when it first draws."
    try:
        path = resolve_model(model)
        return _without_folder(str(open_checkpoint(path).report()), str(path))
    except (CheckpointError, HubError, OSError) as error:
        return _without_folder(str(error), model)


def adapters_of(models: Models) -> list[str]:
    """The adapters that are there, by the names that orders have for them."""
    return [each.name for each in models.networks.known("adapter")]


def words_of(models: Models, model: str | None) -> list[str]:
    """The learned words that prompts for a model may use, or for the current one."""
    return [each.name for each in models.words_for(model)]


def what_adapter(models: Models, name: str) -> str:
    """What a listed adapter is, a line for each thing; one that is not there is none."""
    try:
        path = models.networks.path(name, "adapter")
    except OrderError as error:
        return str(error)
    if path is None:
        return f"{name} is on the hub: it is fetched when it first draws."
    try:
        told = describe_adapter(path)
    except (CheckpointError, OSError) as error:
        return _without_folder(str(error), str(path))
    return "\n".join(f"{each}: {told[each]}" for each in TOLD if told.get(each) not in (None, ""))


class Fetching:
    """A model that is fetched from the hub into a folder of models; who looks away does not stop it."""

    def __init__(self, told: str, settings: Settings, cache: Path | None = None) -> None:
        """Begin.

        Args:
            told: "owner/name", or as `inkpunk` takes it else.
            settings: which have a folder of models.
            cache: the folder that is downloaded to; Hugging Face's if None.

        Raises:
            HubError: for what is no model's name there, or where there is no folder to put it.
        """
        self._wanted = _hub_name(told)
        if not settings.models:
            raise HubError("there is no folder to put it in; start the studio with --models FOLDER")
        self._folder, self._cache = settings.models[0].expanduser(), cache or _cache()
        self._done: Future[Path] = Future()
        Thread(target=self._run, daemon=True).start()

    @property
    def name(self) -> str:
        """What it will be called here."""
        file = self._wanted.file
        return Path(file).name if file else self._wanted.repo.rpartition("/")[2]

    def wait(self) -> Path:
        """Wait until it is there, and tell where.

        Raises:
            HubError, OSError: it could not be fetched.
        """
        return self._done.result()

    def progress(self) -> Iterator[str]:
        """How far it is, twice a second, until it is over; the last line is what became of it."""
        begun = time.monotonic()
        while not self._done.done():
            here, spent = self._here() / 1e6, time.monotonic() - begun
            yield f"Fetching {self._wanted}: {here:,.0f} MB of the file that is on its way, {spent:.0f} s"
            time.sleep(LOOK_EVERY)
        try:
            there = self.wait()
            where = "in Edit" if inspect(there).kind in OF_EDIT else "above"
            yield f"{there.name} is there: choose it {where}."
        except (HubError, OSError) as error:
            yield str(error)

    def _here(self) -> int:
        folder = self._cache / f"models--{self._wanted.repo.replace('/', '--')}" / "blobs"
        total = 0
        for each in folder.glob(PARTIAL):
            try:
                total += each.stat().st_size
            except OSError:
                continue
        return total

    def _run(self) -> None:
        try:
            wanted = self._wanted
            found = fetch(
                wanted.repo,
                wanted.file,
                revision=wanted.revision,
                choose=_model_or_network,
                cache=self._cache,
                progress=False,
            )
            self._done.set_result(_put(found, self._folder, self.name))
        except BaseException as error:
            self._done.set_exception(error)


def _put(found: Path, folder: Path, name: str) -> Path:
    """Let a model of the hub's cache be found in a folder: linked, so that it takes no room twice, or else copied."""
    folder.mkdir(parents=True, exist_ok=True)
    ending = found.suffix if found.is_file() and not name.endswith(found.suffix) else ""
    place = folder / f"{name}{ending}"
    if place.exists():
        return place
    try:
        place.symlink_to(found.resolve(), target_is_directory=found.is_dir())
    except OSError:  # where links are for administrators alone
        if found.is_dir():
            shutil.copytree(found, place)
        else:
            shutil.copyfile(found, place)
    return place


def _model_or_network(names: Collection[str], *, half: bool = False) -> list[str]:
    """The files of a repository's model, or else of the one network that it is."""
    try:
        return choose_files(names, half=half)
    except FilesError as error:
        try:
            return choose_network_files(names, half=half)
        except FilesError:
            raise error from None


def _hub_name(told: str) -> HubName:
    try:
        wanted = read_hub_name(told.strip())
    except AddressError as error:
        raise HubError(f"{told.strip()[:80]}: {error}") from error
    if wanted is None:
        raise HubError(f"{told.strip()[:80]!r}: is no name on the hub; give owner/name")
    return wanted


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _is_here(model: str) -> bool:
    return model == "sketch" or Path(model).expanduser().exists()


def _without_folder(text: str, model: str) -> str:
    """A message without the folder of this machine that a file is in."""
    folder = str(Path(model).expanduser().parent)
    return text if folder in ("", ".", "/") else text.replace(f"{folder}/", "").replace(f"{folder}\\", "")
