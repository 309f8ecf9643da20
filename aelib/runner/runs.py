"""Runs notebooks into a folder: skips what is done, and marks as done what is whole."""

import json
import shutil
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from aelib.runner import UsageError
from aelib.runner.plan import Plan
from aelib.runner.process import Ending, Stopped, Workers
from aelib.runner.progress import Progress
from aelib.runner.results import Outcome, collect, read_results, write_json
from aelib.runner.table import checked, not_reached
from aelib.runner.task import Fault, Task


class Folder:
    """The folder of one notebook in a run, and the files in it."""

    def __init__(self, path: Path, stem: str):
        self.path = path
        self.executed = path / f"{stem}.ipynb"
        self.events = path / "events.jsonl"
        self.log = path / "kernel.log"
        self.results = path / "results.json"
        self.fault = path / "fault.json"
        self.marker = path / "done.json"

    def clear(self) -> None:
        """Removes what an earlier run left, the marker first, and nothing else."""
        self.path.mkdir(parents=True, exist_ok=True)
        for file in (
            self.marker,
            self.fault,
            self.results,
            self.events,
            self.log,
            self.executed,
        ):
            file.unlink(missing_ok=True)

    def done(self, fingerprint: str) -> Outcome | None:
        """The outcome of an earlier run of exactly the same, if it finished."""
        try:
            marker = json.loads(self.marker.read_text(encoding="utf-8"))
            if marker["fingerprint"] != fingerprint or not self.executed.is_file():
                return None
            return Outcome(self.path.name, read_results(self.results), marker["binding"])
        except (OSError, ValueError, KeyError, TypeError, UsageError):
            return None


def run(plans: list[Plan], out: Path, *, jobs: int, force: bool, cell_timeout: int):
    """Runs `plans` into `out`, `jobs` at a time.

    Returns:
        One `Outcome` for each plan, in order.

    Raises:
        UsageError: if `out` cannot be written, or another command is at work in it.
    """
    out = out.resolve()
    for plan in plans:
        if out / plan.name == plan.notebook.path.parent:
            raise UsageError(f"The run would overwrite {plan.notebook.path}: choose another --out.")
    lock = _lock(out)
    outcomes: dict[str, Outcome] = {}
    try:
        # Innermost first: workers end before the pool waits for the threads that serve them.
        with Progress(plans) as progress, ThreadPoolExecutor(jobs) as pool, Workers() as workers:
            pending = {
                pool.submit(_run_one, plan, out, force, cell_timeout, workers, progress)
                for plan in plans
            }
            try:
                while pending:
                    finished, pending = wait(pending, 0.5, FIRST_COMPLETED)
                    outcomes |= {item.result().name: item.result() for item in finished}
                    progress.refresh()
            finally:
                for item in pending:
                    item.cancel()
    finally:
        lock.release()
    return [outcomes[plan.name] for plan in plans]


def _lock(out: Path) -> FileLock:
    lock = FileLock(out / ".lock")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"Another `aelib run` is at work in {out}: wait for it, or choose another --out."
        ) from None
    except OSError as error:
        raise UsageError(f"The output folder {out} cannot be written: {error.strerror}.") from None
    return lock


def _run_one(
    plan: Plan, out: Path, force: bool, cell_timeout: int, workers: Workers, progress: Progress
) -> Outcome:
    name = plan.name
    folder = Folder(out / name, plan.notebook.path.stem)
    fingerprint = plan.fingerprint()
    earlier = None if force else folder.done(fingerprint)
    if earlier:
        progress.end(name, _verdict(earlier, "was done already"))
        return earlier
    progress.begin(name)
    ending = Ending(0.0, None)
    try:
        folder.clear()
        task = Task(
            str(plan.notebook.path), str(folder.executed), plan.given, cell_timeout=cell_timeout
        )
        ending = workers.execute(
            task, folder.events, folder.log, lambda *place: progress.cell(name, *place)
        )
        outcome = _finish(plan, folder, fingerprint, ending)
    except Stopped:
        raise
    except OSError as error:
        space = shutil.disk_usage(out).free / 1e6
        reason = f"Its files cannot be written: {error}. Free space: {space:,.0f} MB."
        outcome = _outcome(plan, folder, Ending(ending.seconds, Fault(reason)))
    progress.end(name, _verdict(outcome, f"finished in {outcome.results['seconds']:.0f} s"))
    return outcome


def _finish(plan: Plan, folder: Folder, fingerprint: str, ending: Ending) -> Outcome:
    """Writes what the notebook left; the marker, which counts, comes last."""
    outcome = _outcome(plan, folder, ending)
    if outcome.fault:
        rest = {"binding": outcome.binding, "results": outcome.results}
        write_json(folder.fault, asdict(outcome.fault) | rest)
        return outcome
    write_json(folder.results, outcome.results)
    write_json(
        folder.marker,
        {
            "fingerprint": fingerprint,
            "binding": outcome.binding,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    return outcome


def _outcome(plan: Plan, folder: Folder, ending: Ending) -> Outcome:
    results, binding, message = collect(
        folder.events,
        notebook=plan.name,
        profile=plan.profile,
        parameters=plan.parameters,
        seconds=ending.seconds,
    )
    fault = ending.fault
    raised = (fault.reason, fault.cell) if fault else None
    if message and raised == (f"ClaimFailed: {message}", plan.code_cells):
        fault = None  # raised by claims.finish(): the notebook has come to its end
    return Outcome(plan.name, results, binding, fault)


def _verdict(outcome: Outcome, ending: str) -> str:
    if outcome.fault:
        ending = f"FAILED after {outcome.results['seconds']:.0f} s, {outcome.fault}"
    else:
        ending += f", {checked([outcome])}"
    for lines in not_reached(outcome):
        ending += "\nOne result was not reached: " + "\n    ".join(lines)
    return ending
