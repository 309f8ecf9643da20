"""Executes one notebook: a process of its own, `python -m aelib.runner.worker`.

papermill changes the working directory of its process and leaks threads, so each notebook
gets a fresh one. The command writes one line of JSON to the standard input, the task, and
holds the other end open: when it closes, because the command was stopped or killed, the
worker ends its kernel and itself. What happens is reported on the standard output, one JSON
object a line; whatever the kernel itself prints goes to the standard error.
"""

import json
import logging
import os
import re
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from aelib.runner.task import Fault, Task

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LAST_LINES = 15


class NativeKernelManager(AsyncKernelManager):
    """Starts kernels on the Python that runs this, whatever kernels are installed."""

    started: "NativeKernelManager | None" = None

    def __init__(self, **kwargs):
        super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **kwargs)
        NativeKernelManager.started = self


def _kernel_process() -> Any:
    manager = NativeKernelManager.started
    return getattr(manager.provisioner, "process", None) if manager else None


def kill_kernel() -> None:
    """Ends the kernel, and what it has started, at once."""
    process = _kernel_process()
    if process is None:
        return
    try:
        if hasattr(os, "killpg"):  # a kernel leads its own process group
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except OSError:
        pass  # it has ended already


class Execution:
    """One notebook being executed: knows the cell it is at."""

    def __init__(self, task: Task, report):
        self._task = task
        self._report = report
        self._notebook: Any = None
        self._cell: Any = None
        self._count = 0

    def run(self) -> Fault | None:
        """Executes the notebook and says what went wrong, if anything did."""
        task = self._task
        try:
            notebook = papermill.execute_notebook(
                task.notebook,
                task.output,
                task.parameters,
                kernel_name="python3",
                progress_bar=False,
                cwd=str(Path(task.notebook).parent),
                start_timeout=120,
                execution_timeout=task.cell_timeout,
                iopub_timeout=60,
                kernel_manager_class=NativeKernelManager,
                on_notebook_start=self._on_start,
                on_cell_execute=self._on_cell,
            )
        except papermill.PapermillExecutionError as error:
            trace = _ESCAPES.sub("", "\n".join(error.traceback))
            reason = f"{error.ename}: {_ESCAPES.sub('', error.evalue)}"
            return self._fault(reason, trace)
        except DeadKernelError:
            return self._fault(f"The kernel died, {_exit_status()}.")
        except CellTimeoutError:
            return self._fault(f"The cell took longer than {task.cell_timeout} s.")
        except Exception as error:
            return self._fault(f"{type(error).__name__}: {error}")
        # papermill calls a notebook complete that left early, by sys.exit(), too.
        left = [cell for cell in notebook.cells if _is_code(cell) and not cell.execution_count]
        if left:
            return self._fault(f"The notebook ended early: {len(left)} cells did not run.")
        return None

    def _on_start(self, notebook) -> None:
        self._notebook = notebook

    def _on_cell(self, cell, cell_index) -> None:
        self._cell = cell
        self._count += 1
        total = sum(map(_is_code, self._notebook.cells))
        self._report(kind="cell", cell=self._count, cells=total)

    def _fault(self, reason: str, trace: str = "") -> Fault:
        if self._cell is None:
            return Fault(reason)
        texts = [output.get("text", "") for output in self._cell.get("outputs", [])]
        lines = ("".join(texts) + trace).rstrip().splitlines()
        source = next(line for line in self._cell.source.splitlines() if line.strip())
        return Fault(reason, self._count, source, "\n".join(lines[-_LAST_LINES:]))


def _exit_status() -> str:
    status = _kernel_process().poll()
    if status is not None and status < 0:
        name = signal.Signals(-status).name
        return f"ended by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    return f"with exit status {status}"


def _is_code(cell) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


def _end_with_command() -> None:
    while os.read(0, 1):  # not through sys.stdin, whose lock would be held at exit
        pass
    kill_kernel()
    os._exit(3)


def main() -> None:
    # The kernel inherits the standard output: keep it for reports, and give it the error's.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it would say is reported
    task = Task(**json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_end_with_command, daemon=True).start()

    def report(**event) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    start = time.perf_counter()
    fault = Execution(task, report).run()
    kill_kernel()
    seconds = round(time.perf_counter() - start, 1)
    report(kind="end", seconds=seconds, fault=asdict(fault) if fault else None)


if __name__ == "__main__":
    main()
