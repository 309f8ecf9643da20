"""What the user sees while notebooks run: a bar on a terminal, else one line per event."""

import sys
import threading
import time

import click
from tqdm import tqdm

from aelib.runner.plan import Plan

_BAR = "{percentage:3.0f} % |{bar:20}| {elapsed}, {remaining} left {desc}"


class Progress:
    """Counts runs, and names the ones that run now. May be called from several threads."""

    def __init__(self, plans: list[Plan]):
        self._lock = threading.Lock()
        self._plans = {plan.id: plan for plan in plans}
        self._labels = {plan.id: f"[{i}/{len(plans)}] {plan.id}" for i, plan in enumerate(plans, 1)}
        self._running: dict[str, tuple[int, str]] = {}
        self._ended = self._run = 0
        self._start = time.monotonic()
        silent = not sys.stderr.isatty()
        self._bar = tqdm(total=len(plans), bar_format=_BAR, leave=False, disable=silent)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()

    def cell(self, name: str, cell: int, worker: str = "") -> None:
        """A run's code cell starts, the first being 1, on a worker of a cluster."""
        with self._lock:
            if name not in self._plans:  # of another grid on the same scheduler
                return
            if name not in self._running and self._bar.disable:
                self._say(f"{self._labels[name]} begins{worker}")
            self._running[name] = cell, worker
            self._update()

    def end(self, plan: Plan, message: str) -> None:
        """A run has ended, or was skipped."""
        with self._lock:
            self._ended += 1
            self._run += self._running.pop(plan.id, None) is not None
            left = len(self._plans) - self._ended
            if plan.in_grid and self._run and left:
                minutes = (time.monotonic() - self._start) / self._run * left / 60
                message += f" ({self._ended} of {len(self._plans)}, about {minutes:.0f} min left)"
            self._say(f"{self._labels[plan.id]} {message}")
            self._update()

    def again(self, plan: Plan, message: str) -> None:
        """A run was lost, and starts once more."""
        with self._lock:
            self._running.pop(plan.id, None)
            self._say(f"{self._labels[plan.id]} is tried again: {message}")

    def refresh(self) -> None:
        """Lets the clock tick."""
        with self._lock:
            self._bar.refresh()

    def _update(self) -> None:
        shares = {
            name: (cell - 1) / self._plans[name].cells for name, (cell, _) in self._running.items()
        }
        places = [
            f"{self._labels[name]} cell {cell}/{self._plans[name].cells}{worker}"
            for name, (cell, worker) in self._running.items()
        ]
        self._bar.n = self._ended + sum(shares.values())
        self._bar.set_description_str(", ".join(places))

    def _say(self, line: str) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            click.echo(line, err=True)
