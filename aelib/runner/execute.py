"""Runs one plan in a worker process, on this machine: what a thread pool and Dask both do."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from aelib.claims import EVENTS_VARIABLE
from aelib.runner.plan import Plan
from aelib.runner.results import Fault, Result, versions

MARK = "AELIB_RUN"  # the environment variable that tells the processes of a run
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LAST_LINES, _LONGEST = 15, 2_000  # lines of a fault, and letters of each
_PULSE = 0.2  # seconds between two looks at a worker
_LARGEST = 2_000_000_000  # bytes of output, in memory or in the log
_THREADS = ("TF_NUM_INTRAOP", "TF_NUM_INTEROP", "OMP_NUM", "OPENBLAS_NUM", "MKL_NUM")


class Stopped(Exception):
    """Nobody wants the result any more."""


def execute(
    plan: Plan,
    cell_timeout: int,
    threads: int | None,
    on_cell: Callable[[str, int], None],
    wanted: Callable[[], bool],
) -> tuple[Result, str]:
    """Executes a plan's notebook and waits for its end.

    Args:
        plan: what to execute.
        cell_timeout: seconds for each cell.
        threads: for TensorFlow and the BLAS, of a run that has others beside it; None for all.
        on_cell: called with `(plan.id, cell)` when a code cell begins, the first being 1.
        wanted: asked again and again; when it says no, everything ends.

    Returns:
        What the notebook measured and how it ended, and the executed notebook's text.

    Raises:
        Stopped: if the result was not wanted any more.
        OSError: if there is no room for its files.
    """
    mark = uuid.uuid4().hex
    here = plan.notebook.path.parent
    with tempfile.TemporaryDirectory(prefix="aelib-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        task = {
            "text": plan.notebook.text,
            "given": plan.given,
            "cwd": str(here if here.is_dir() else folder),
            "cell_timeout": cell_timeout,
        }
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        environment = {
            **os.environ,
            MARK: mark,
            EVENTS_VARIABLE: str(folder / "events.jsonl"),
            "TMPDIR": scratch,  # also of the kernel's connection file, which a stop leaves
            "PYTHONUTF8": "1",
        }
        if threads:  # others run beside it
            environment |= {f"{name}_THREADS": str(threads) for name in _THREADS}
            environment["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "aelib.runner.worker", scratch],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the command alone, which ends the rest
            )
        try:
            fault = _watch(process, folder, lambda cell: on_cell(plan.id, cell), wanted)
        finally:
            process.kill()
            process.communicate()
            end_all(mark)
        return _result(plan, folder, fault, process.returncode)


def end_all(mark: str) -> None:
    """Ends every other process of a run, also those that a kernel has left behind."""
    found = True
    while found:
        found = False
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                    process.kill()
                    found |= process.status() != psutil.STATUS_ZOMBIE
            except (psutil.Error, OSError):
                pass  # it has ended, or is another user's


def last_lines(text: str) -> str:
    """The end of a text, of a length that fits a terminal."""
    lines = _ESCAPES.sub("", text).encode("utf-8", "replace").decode().rstrip().splitlines()
    return "\n".join(line[:_LONGEST] for line in lines[-_LAST_LINES:])


def _watch(
    process: subprocess.Popen,
    folder: Path,
    on_cell: Callable[[int], None],
    wanted: Callable[[], bool],
) -> Fault | None:
    cell = 0
    while process.poll() is None:
        if not wanted():
            raise Stopped
        if (now := _size(folder / "cells")) != cell:
            on_cell(cell := now)
        try:
            memory = psutil.Process(process.pid).memory_info().rss
        except psutil.Error:  # it has ended
            continue
        if max(memory, _size(folder / "log")) > _LARGEST:
            return Fault(f"Its output takes more than {_LARGEST / 1e9:.0f} GB.", cell)
        time.sleep(_PULSE)
    return None


def _result(plan: Plan, folder: Path, fault: Fault | None, status: int) -> tuple[Result, str]:
    seconds, end = 0.0, folder / "end.json"
    if fault is None and end.is_file():
        content = json.loads(end.read_text(encoding="utf-8"))
        seconds, fault = content["seconds"], content["fault"] and Fault(**content["fault"])
    elif fault is None:
        with open(folder / "log", "rb") as log:
            log.seek(max(0, _size(folder / "log") - 20_000))
            said = last_lines(log.read().decode("utf-8", "replace"))
        reason = f"The process that ran the notebook ended with status {status}."
        fault = Fault(reason, _size(folder / "cells"), last_lines=said, again=True)
    result = Result(
        plan.name, plan.profile, plan.parameters, versions=versions(), seconds=seconds, fault=fault
    )
    events = folder / "events.jsonl"
    lines = events.read_bytes().splitlines() if events.is_file() else []
    result, message = result.with_events(lines)
    if message and fault and (fault.reason, fault.cell) == (f"ClaimFailed: {message}", plan.cells):
        result = replace(result, fault=None)  # by claims.finish(): it has come to its end
    executed = folder / "executed.ipynb"
    return result, executed.read_text(encoding="utf-8") if executed.is_file() else ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
