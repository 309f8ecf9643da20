"""Runs plans on Dask: workers of one core on this machine, a running scheduler, or SLURM."""

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import click
import dask
import distributed

from aelib.runner import UsageError
from aelib.runner.execute import execute
from aelib.runner.plan import Plan
from aelib.runner.progress import Progress
from aelib.runner.results import Result
from aelib.runner.runs import Start

_CELLS = "aelib-cells"  # the topic on which workers tell of the cells that they begin
_JOB = {"cores": 1, "processes": 1, "memory": "4GB", "walltime": "04:00:00"}
_DASHBOARD = "127.0.0.1:0"


def slurm_cluster() -> Any:
    """A SLURM cluster whose jobs are workers of one core; nothing is submitted yet.

    Queue, account and the like, or other sizes, come from dask-jobqueue's own `jobqueue.yaml`.
    """
    from dask_jobqueue import SLURMCluster

    own = dask.config.get("jobqueue.slurm", {})
    job: dict[str, Any] = {key: own.get(key) or value for key, value in _JOB.items()}
    if own.get("walltime") == "00:30:00":  # the default, and less than a long run takes
        job["walltime"] = _JOB["walltime"]
    return SLURMCluster(**job, scheduler_options={"dashboard_address": _DASHBOARD})


def _local_cluster(jobs: int) -> distributed.LocalCluster:
    # A run that is lost with its worker goes back to `runs.run`, which counts.
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    for last in (False, False, True):
        try:
            return distributed.LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=_DASHBOARD,
                memory_limit=0,
                silence_logs="CRITICAL",
            )
        except RuntimeError:  # a worker was killed while it started
            if last:
                raise
    raise AssertionError


@contextmanager
def on_dask(on: str, jobs: int, cell_timeout: int, progress: Progress) -> Iterator[Start]:
    """Runs plans on workers of one core each. Leaving it ends them, or the runs on them.

    Args:
        on: "local", "slurm", or the address of a scheduler, such as "tcp://10.0.0.1:8786".
        jobs: how many workers to start; a running scheduler has its own.
        cell_timeout: seconds for each cell.
        progress: is told of each cell.

    Raises:
        UsageError: if there is no scheduler at the address.
    """
    cluster: Any = None
    client: Any = None

    def start(plan: Plan) -> Future[tuple[Result, str]]:
        nonlocal cluster, client
        if client is None and on in ("local", "slurm"):
            cluster = _local_cluster(jobs) if on == "local" else slurm_cluster()
            cluster.scale(jobs)
        if client is None or client.status != "running":  # a scheduler that was lost may be back
            if cluster is None:
                _reach(on)
            client = distributed.Client(cluster or on, set_as_default=False)
            if on == "local":
                client.register_plugin(_HearsNoInterrupt())
            client.subscribe_topic(_CELLS, lambda event: progress.cell(*event[1]))
            click.echo(f"Dask's dashboard: {client.dashboard_link}", err=True)
        return client.get_executor(pure=False, retries=0).submit(_on_worker, plan, cell_timeout)

    try:
        yield start
    finally:
        for item in filter(None, (client, cluster)):
            with suppress(Exception):  # what has not quite started does not quite close
                item.close(timeout=10)


class _HearsNoInterrupt(distributed.WorkerPlugin):
    """Ctrl-C on a terminal reaches workers too: the command ends them, without a traceback."""

    def setup(self, worker: distributed.Worker) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _reach(address: str) -> None:
    """Raises `UsageError` if nobody listens there: Dask's client would take a minute to say so."""
    try:
        parts = urlsplit(address)
        socket.create_connection((parts.hostname, parts.port), timeout=10).close()
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"There is no Dask scheduler at {address!r}: {error}") from None


def _on_worker(plan: Plan, cell_timeout: int) -> tuple[Result, str]:
    """What a worker of Dask does: a run on one core, as long as the scheduler wants it."""
    worker = distributed.get_worker()
    key = worker.get_current_task()

    def on_cell(name: str, cell: int) -> None:
        worker.log_event(_CELLS, (name, cell, f" on worker {worker.name}"))

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    return execute(plan, cell_timeout, 1, on_cell, wanted)
