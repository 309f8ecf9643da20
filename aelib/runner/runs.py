"""Keeps runs in a folder: skips what is done, tries lost ones again, marks what is whole."""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from aelib._files import write_whole
from aelib.runner import UsageError
from aelib.runner.execute import execute
from aelib.runner.plan import Plan
from aelib.runner.progress import Progress
from aelib.runner.results import Fault, Result, read_result
from aelib.runner.table import checked, not_reached

Start = Callable[[Plan], "Future[tuple[Result, str]]"]


class Folder:
    """The folder of one run. What was whole stays until the next run is whole as well."""

    def __init__(self, out: Path, plan: Plan):
        self.path = out / plan.id
        self.executed = self.path / f"{plan.notebook.path.stem}.ipynb"
        self.results = self.path / "results.json"
        self.fault = self.path / "fault.json"
        self.marker = self.path / "done.json"

    def done(self, fingerprint: str) -> Result | None:
        """The result of an earlier run of exactly the same, if it is whole."""
        try:
            marker = json.loads(self.marker.read_text(encoding="utf-8"))
            if (marker["fingerprint"], marker["files"]) != (fingerprint, self._hashes()):
                return None
            result = read_result(self.results)
        except (OSError, ValueError, KeyError, TypeError, UsageError):
            return None
        self.fault.unlink(missing_ok=True)
        return result

    def keep(self, result: Result, executed: str, fingerprint: str) -> None:
        """Writes what a run left, each file whole; the marker, which counts, comes last."""
        self.path.mkdir(parents=True, exist_ok=True)
        if result.fault:
            content = {**result.content, "binding": result.binding, "fault": asdict(result.fault)}
            write_whole(self.fault, _json(content))
            write_whole(self.fault.with_suffix(".ipynb"), executed)
            return
        write_whole(self.executed, executed)
        write_whole(self.results, _json(result.content))
        for file in (self.fault, self.fault.with_suffix(".ipynb")):
            file.unlink(missing_ok=True)
        marker = {
            "fingerprint": fingerprint,
            "files": self._hashes(),
            "binding": result.binding,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_whole(self.marker, _json(marker))

    def _hashes(self) -> dict[str, str]:
        files = (self.executed, self.results)
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@contextmanager
def on_this_machine(
    jobs: int, cell_timeout: int, threads: int | None, progress: Progress
) -> Iterator[Start]:
    """Runs `jobs` plans at a time, each on so many threads. Leaving it ends all of them."""
    stopped = threading.Event()

    def start(plan: Plan) -> Future[tuple[Result, str]]:
        return pool.submit(
            execute, plan, cell_timeout, threads, progress.cell, lambda: not stopped.is_set()
        )

    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield start
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Makes the folder of a run, for one command at a time.

    Raises:
        UsageError: if it cannot be written, or another command is at work in it.
    """
    lock = FileLock(out / ".lock")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"Another `aelib run` is at work in {out}: wait for it, or choose another --out."
        ) from None
    except OSError as error:
        raise UsageError(f"The output folder {out} cannot be written or locked: {error}.") from None
    try:
        for part in out.rglob(".*.part"):  # of a command that was killed while it wrote
            part.unlink()
        yield
    finally:
        lock.release()


def run(
    plans: list[Plan], out: Path, start: Start, progress: Progress, *, force: bool, tries: int = 1
) -> list[Result]:
    """Runs `plans` into `out`, a lost one up to `tries` times, and returns their results in order.

    Raises:
        UsageError: if a notebook would be overwritten.
    """
    results: dict[str, Result] = {}
    pending: dict[Future, tuple[Plan, str, int]] = {}
    for plan in plans:
        folder, fingerprint = Folder(out, plan), plan.fingerprint()
        if folder.executed == plan.notebook.path:
            raise UsageError(f"The run would overwrite {folder.executed}: choose another --out.")
        earlier = None if force else folder.done(fingerprint)
        if earlier:
            results[plan.id] = earlier
            progress.end(plan, verdict(earlier, "was done already"))
        else:
            pending[start(plan)] = plan, fingerprint, 1
    while pending:
        finished, _ = wait(pending, 0.5, FIRST_COMPLETED)
        for future in finished:
            plan, fingerprint, count = pending.pop(future)
            result = _kept(plan, future, Folder(out, plan), fingerprint)
            if result.fault and result.fault.again and count < tries:
                progress.again(plan, result.fault.headline)
                pending[_started(start, plan)] = plan, fingerprint, count + 1
                continue
            results[plan.id] = result
            progress.end(plan, verdict(result, f"finished in {result.seconds:.0f} s"))
        progress.refresh()
    return [results[plan.id] for plan in plans]


def _started(start: Start, plan: Plan) -> Future:
    try:
        return start(plan)
    except (UsageError, OSError) as error:  # the scheduler is gone: no fault of the command line
        future: Future = Future()
        future.set_exception(RuntimeError(str(error)))
        return future


def verdict(result: Result, ending: str) -> str:
    """How a run ended, in one line, and one block for each result that was not reached."""
    if result.fault:
        ending = f"FAILED after {result.seconds:.0f} s, {result.fault}"
    else:
        ending += f", {checked([result])}"
    for lines in not_reached(result):
        ending += "\nOne result was not reached: " + "\n    ".join(lines)
    return ending


def _kept(plan: Plan, future: Future, folder: Folder, fingerprint: str) -> Result:
    """What a run left, once it is in its folder."""
    result, executed = Result(plan.name, plan.profile, plan.parameters), ""
    try:
        result, executed = future.result()
        same = plan.fingerprint() == fingerprint  # else the library was changed meanwhile
        folder.keep(result, executed, fingerprint if same else "")
        return result
    except OSError as error:
        reason = f"Its files cannot be written: {error}. Free space: {_space(folder.path)} MB."
    except Exception as error:  # of Dask: a dead worker, a lost connection
        reason = f"{type(error).__name__}: {error}"
    result = replace(result, fault=Fault(reason, again=True))
    with suppress(OSError):
        folder.keep(result, executed, "")
    return result


def _space(path: Path) -> str:
    here = next((folder for folder in path.parents if folder.is_dir()), Path("/"))
    return f"{shutil.disk_usage(here).free / 1e6:,.0f}"


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
