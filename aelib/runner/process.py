"""The command's side of a worker: starts it, listens to it, ends it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from aelib.claims import EVENTS_VARIABLE
from aelib.runner.task import Fault, Task

_PATIENCE = 10  # seconds for a worker to end its kernel and itself


@dataclass(frozen=True)
class Ending:
    """How an execution ended: after how long, and with what fault, if any."""

    seconds: float
    fault: Fault | None


class Stopped(Exception):
    """The command was told to stop while the notebook ran."""


class Workers:
    """The workers that are running. Leaving the `with` block ends all of them."""

    def __init__(self):
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen] = set()
        self._stopped = False

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends every worker with its kernel, and starts no more."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            if process.stdin:
                process.stdin.close()
        for process in running:
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()

    def execute(
        self, task: Task, events: Path, log: Path, on_cell: Callable[[int, int], None]
    ) -> Ending:
        """Executes one notebook in a worker and waits for its end.

        Args:
            task: what to execute.
            events: the file to which the notebook's claims and records go.
            log: the file to which its process's standard error goes.
            on_cell: called with `(cell, cells)` when a code cell begins.

        Raises:
            Stopped: if `stop` was called meanwhile.
            OSError: if the log cannot be written.
        """
        with open(log, "wb") as errors:
            process = self._start(errors, {**os.environ, EVENTS_VARIABLE: str(events)})
        end, cell = None, 0
        assert process.stdin and process.stdout
        try:
            with process.stdout:
                process.stdin.write(json.dumps(asdict(task)).encode() + b"\n")
                process.stdin.flush()
                for line in process.stdout:
                    event = json.loads(line)
                    if event["kind"] == "cell":
                        cell = event["cell"]
                        on_cell(cell, event["cells"])
                    else:
                        end = event
        except (BrokenPipeError, ValueError):
            pass  # it ended, or was ended, in the middle: `end` is None
        finally:
            process.wait()
            with self._lock:
                self._running.discard(process)
        if self._stopped:
            raise Stopped
        if end is None:
            reason = f"The process that ran the notebook ended with status {process.returncode}."
            return Ending(0.0, Fault(reason, cell, last_lines=_tail(log)))
        fault = Fault(**end["fault"]) if end["fault"] else None
        if fault and not fault.last_lines:
            fault = replace(fault, last_lines=_tail(log))
        return Ending(end["seconds"], fault)

    def _start(self, errors, environment: dict[str, str]) -> subprocess.Popen:
        with self._lock:
            if self._stopped:
                raise Stopped
            process = subprocess.Popen(
                [sys.executable, "-m", "aelib.runner.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the command alone, which ends the rest
            )
            self._running.add(process)
            return process


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([line for line in lines if not line.startswith("[IPKernelApp]")][-10:])
