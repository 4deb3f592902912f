"""A fleet: a reader, a pool of workers and what they tell, laid out on Ray Data. Nothing else knows of Ray."""

import logging
import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from inkpunk_fleet.reading import Requests, laid_together
from inkpunk_fleet.tasks import Outcome, Task
from inkpunk_fleet.worker import Worker

TASKS = "task"
OUTCOMES = "outcome"
BLOCK = 1
"""Bytes from which on Ray Data begins another block: each row is one, and has what a worker takes at once."""
DEATHS_AT_START = 10
"""Workers in a row that may die before they begin: machines go as they come, and by default one ends the run."""
READER = 1
"""CPUs that workers leave to the reader: it would else wait for them, and they for it."""
OBJECT_STORE = 128 * 2**20  # bytes, of a cluster of our own: only lines of text pass through it


class FleetError(Exception):
    """A fleet that cannot be: the message says why, and what to do instead."""


@dataclass(frozen=True)
class Crew:
    """How many workers there are, and what each gets.

    Attributes:
        least, most: workers; None for as many as the cluster has room for when the run begins. Between the two, Ray
            starts and stops them as there is work and room.
        cpus, gpus: of each, and parts of one too; None for one GPU where the cluster has any.
        tasks: orders that a worker takes at once.
    """

    least: int | None = None
    most: int | None = None
    cpus: int | float = 1
    gpus: int | float | None = None
    tasks: int = 16


def draw_on_ray(
    requests: Requests,
    crew: Crew,
    address: str | None = None,
    make: Callable[..., Worker] = Worker,
) -> Generator[Outcome]:
    """Draw a file of requests by a fleet, and tell what became of each, in the order in which they are done.

    Args:
        requests: what is asked for, and where it goes.
        crew: the workers.
        address: of a running cluster; None for one on this machine, which ends with the run.
        make: makes a worker; it must be picklable.

    Raises:
        FleetError: if the cluster cannot be joined, or has no room for a worker.
    """
    with _cluster(crew, address) as ray:
        crew = _fitted(crew, ray.cluster_resources())
        batches = iter(
            _dataset(ray, requests, crew, make).iter_batches(
                batch_size=None, batch_format="numpy", prefetch_batches=0
            )
        )
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except Exception as error:
                said = " ".join(str(error).split())[-500:]
                raise FleetError(
                    f"Ray has ended the run: {said}; what is done stays: give the same command again"
                ) from error
            for text in batch.get(OUTCOMES, ()):
                yield from map(Outcome.from_json, str(text).splitlines())


def _dataset(ray: Any, requests: Requests, crew: Crew, make: Callable[..., Worker]) -> Any:
    threads = None if crew.gpus else max(1, int(crew.cpus))
    here = f"node:{ray.util.get_node_ip_address()}"
    tasks = ray.data.read_datasource(
        _source(ray, requests, crew.tasks),
        override_num_blocks=1,  # one reader: which order comes first decides seeds, and who is whose double
        num_cpus=READER,
        # The file is where the command was given. Asking for it keeps reading apart from drawing, too: Ray Data joins
        # operators that ask for the same.
        resources={here: 0.001},
    )
    return tasks.map_batches(
        _Seat,
        fn_constructor_args=(make, requests.out, str(Path.cwd()), threads),
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(min_size=crew.least, max_size=crew.most),
        num_cpus=crew.cpus,
        num_gpus=crew.gpus,
    )


class _Seat:
    """A worker's place in the pool: its batches are arrays of text, a line of JSON each task and each outcome."""

    def __init__(self, make: Callable[..., Worker], out: str, folder: str, threads: int | None) -> None:
        if threads:  # no GPU is its own, and it takes nobody's
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        ray: Any = import_module("ray")
        name = str(ray.get_runtime_context().get_actor_id())
        self._worker = make(out, name=name, folder=folder, threads=threads)

    def __call__(self, batch: dict[str, Iterable[object]]) -> dict[str, list[str]]:
        tasks = [Task.from_json(line) for text in batch[TASKS] for line in str(text).splitlines()]
        return {OUTCOMES: ["\n".join(outcome.to_json() for outcome in self._worker.meet(tasks))]}


def _blocks(requests: Requests, together: int) -> Iterator[Any]:
    """Tasks as Ray Data's tables, of a row each."""
    pa: Any = import_module("pyarrow")
    for tasks in laid_together(requests.tasks(), together):
        yield pa.table({TASKS: ["\n".join(task.to_json() for task in tasks)]})


def _source(ray: Any, requests: Requests, together: int) -> Any:
    """Requests as Ray Data reads them: by one task, as a stream."""

    class Source(ray.data.Datasource):  # type: ignore[misc]
        def estimate_inmemory_data_size(self) -> None:
            """Unknown until it is read."""

        def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[Any]:
            """Read by a single task."""
            block: Any = import_module("ray.data.block")
            unknown = block.BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ray.data.ReadTask(partial(_blocks, requests, together), unknown)]

    return Source()


@contextmanager
def _cluster(crew: Crew, address: str | None) -> Generator[Any]:
    """Join a cluster, or start one; then leave it, or end it.

    One that this process has joined already is taken, and stays as it is.
    """
    # workers here need no copy of this folder, and no other environment, which Ray makes under `uv run`
    ours = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    for name, value in {
        **({} if address else ours),
        "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anybody
        "RAY_raylet_start_wait_time_s": "300",  # on a machine that is busy with other work, a minute is not enough
        "RAY_worker_niceness": "0",  # workers are all that there is to do
        "RAY_BACKEND_LOG_LEVEL": "fatal",  # a worker that dies is replaced, and no news
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as Ray will have it; see _Seat
    }.items():
        os.environ.setdefault(name, value)
    ray: Any = import_module("ray")
    import_module("ray.data")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        workers = (os.cpu_count() or 1) if crew.most is None else math.ceil(crew.most * crew.cpus)
        room = workers + READER  # Ray's CPUs are shares, not cores
        options |= {"address": "local", "num_cpus": room, "include_dashboard": False}
        options |= {"object_store_memory": OBJECT_STORE}
    else:
        options |= {"address": address}
    joined = ray.is_initialized()
    try:
        if not joined:
            ray.init(**options)
    except Exception as error:
        where = (
            f"{address}: this cluster cannot be joined" if address else "Ray does not start on this machine"
        )
        raise FleetError(f"{where}: {' '.join(str(error).split())[:500]}") from error
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.enable_auto_log_stats = False
        context.target_max_block_size = BLOCK
        context.max_consecutive_actor_init_deaths = DEATHS_AT_START
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield ray
    finally:
        if not joined:
            ray.shutdown()


def _fitted(crew: Crew, room: dict[str, float]) -> Crew:
    """The crew with what was left open settled by what a cluster has."""
    gpus = crew.gpus if crew.gpus is not None else float(room.get("GPU", 0) > 0)
    by_gpus = room.get("GPU", 0) / gpus if gpus else math.inf
    by_cpus = (room.get("CPU", 0) - READER) / crew.cpus if crew.cpus else math.inf
    fits = min(by_gpus, by_cpus)
    least = crew.least or (int(fits) if fits < math.inf else 1)
    if not least:
        has = f"{room.get('CPU', 0):g} CPUs and {room.get('GPU', 0):g} GPUs"
        raise FleetError(
            f"no room for a worker of {crew.cpus:g} CPUs and {gpus:g} GPUs; the cluster has {has}"
        )
    return Crew(least, max(crew.most or least, least), crew.cpus, gpus, crew.tasks)
