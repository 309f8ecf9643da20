"""Executes one notebook: a process of its own, `python -m aelib.runner.worker FOLDER`.

papermill changes the working directory of its process and leaks threads, so each notebook gets a
fresh one. FOLDER holds the task; the executed notebook, the cell it is at and how it ended are
left there. The standard input is held open by whoever wants the result: when it closes, because
that process stopped or was killed, the worker ends all that it has started, and itself.
"""

import faulthandler
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from aelib._files import write_whole
from aelib.runner.execute import MARK, end_all, last_lines
from aelib.runner.results import Fault

_HUNG = 300  # seconds


class NativeKernelManager(AsyncKernelManager):
    """Starts kernels on the Python that runs this, whatever kernels are installed."""

    started: "NativeKernelManager | None" = None

    def __init__(self, **kwargs):
        super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **kwargs)
        self.shutdown_wait_time = 2.0  # not 5: a third of them hang when all is done
        NativeKernelManager.started = self


def run(folder: Path, task: dict[str, Any]) -> Fault | None:
    """Executes a notebook and says what went wrong, if anything did."""
    begun: list[Any] = []

    def on_cell(cell, cell_index) -> None:
        begun.append(cell)
        with open(folder / "cells", "ab") as file:
            file.write(b".")  # its size is the count

    def fault(reason: str, trace: str = "", again: bool = False) -> Fault:
        if not begun:
            return Fault(reason, again=again)
        texts = [output.get("text", "") for output in begun[-1].get("outputs", [])]
        source = next(line for line in begun[-1].source.splitlines() if line.strip())
        return Fault(reason, len(begun), source, last_lines("".join(texts) + trace), again)

    try:
        notebook = papermill.execute_notebook(
            nbformat.reads(task["text"], 4),
            str(folder / "executed.ipynb"),
            task["given"],
            kernel_name="python3",
            language="python",  # also of a notebook that does not say
            progress_bar=False,
            cwd=task["cwd"],
            start_timeout=120,
            execution_timeout=task["cell_timeout"],
            iopub_timeout=60,
            kernel_manager_class=NativeKernelManager,
            on_cell_execute=on_cell,
        )
    except papermill.PapermillExecutionError as error:
        return fault(f"{error.ename}: {last_lines(error.evalue)}", "\n".join(error.traceback))
    except DeadKernelError:
        return fault(f"The kernel died, {_exit_status()}.", again=True)
    except CellTimeoutError:
        return fault(f"The cell took longer than {task['cell_timeout']} s.", again=True)
    except Exception as error:
        again = isinstance(error, OSError | RuntimeError)
        return fault(f"{type(error).__name__}: {last_lines(str(error))}", again=again)
    # papermill calls a notebook complete that left early, by sys.exit(), too.
    left = sum(_is_code(cell) and not cell.execution_count for cell in notebook.cells)
    return fault(f"The notebook ended early: {left} cells did not run.") if left else None


def _exit_status() -> str:
    manager = NativeKernelManager.started
    process = getattr(manager.provisioner, "process", None) if manager else None
    status = process.poll() if process else None
    if status is None or status >= 0:
        return f"with exit status {status}"
    name = signal.Signals(-status).name
    return f"ended by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")


def _is_code(cell) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


def _beat() -> None:
    """Ends this process, with its traceback in the log, if no Python runs in it any more."""
    while True:
        faulthandler.dump_traceback_later(_HUNG, exit=True)
        time.sleep(_HUNG / 10)


def _end_with_the_other(folder: Path) -> None:
    while os.read(0, 1):  # not through sys.stdin, whose lock would be held at exit
        pass
    end_all(os.environ[MARK])
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(3)


def main() -> None:
    folder = Path(sys.argv[1])
    threading.Thread(target=_end_with_the_other, args=[folder], daemon=True).start()
    threading.Thread(target=_beat, daemon=True).start()
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it would say is reported
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    start = time.perf_counter()
    fault = run(folder, task)
    seconds = round(time.perf_counter() - start, 1)
    end = {"seconds": seconds, "fault": asdict(fault) if fault else None}
    write_whole(folder / "end.json", json.dumps(end))


if __name__ == "__main__":
    main()
