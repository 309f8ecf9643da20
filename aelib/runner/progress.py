"""What the user sees while notebooks run: a bar on a terminal, else one line per event."""

import sys
import threading

import click
from tqdm import tqdm

from aelib.runner.plan import Plan


class Progress:
    """Counts cells over all notebooks and names the ones that run now.

    Its methods may be called from several threads.
    """

    def __init__(self, plans: list[Plan]):
        self._lock = threading.Lock()
        self._running: dict[str, str] = {}
        self._places = {plan.name: i for i, plan in enumerate(plans, 1)}
        self._cells = {plan.name: plan.code_cells for plan in plans}
        self._done = dict.fromkeys(self._cells, 0)
        self._bar = tqdm(
            total=sum(self._cells.values()),
            bar_format="{percentage:3.0f} % |{bar:20}| {elapsed} {desc}",
            file=sys.stderr,
            dynamic_ncols=True,
            leave=False,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()

    def begin(self, name: str) -> None:
        """A notebook starts."""
        with self._lock:
            if self._bar.disable:
                self._say(f"{self._label(name)} begins")
            self._show(name, "starting")

    def cell(self, name: str, cell: int, cells: int) -> None:
        """A notebook's code cell starts, the first being 1."""
        with self._lock:
            self._done[name] = cell - 1
            self._show(name, f"cell {cell}/{cells}")

    def end(self, name: str, message: str) -> None:
        """A notebook has ended, or was skipped."""
        with self._lock:
            self._done[name] = self._cells[name]
            self._running.pop(name, None)
            self._say(f"{self._label(name)} {message}")
            self._update()

    def refresh(self) -> None:
        """Lets the clock tick."""
        with self._lock:
            self._bar.refresh()

    def _label(self, name: str) -> str:
        return f"[{self._places[name]}/{len(self._places)}] {name}"

    def _show(self, name: str, state: str) -> None:
        self._running[name] = f"{self._label(name)} {state}"
        self._update()

    def _update(self) -> None:
        self._bar.n = sum(self._done.values())
        self._bar.set_description_str(", ".join(self._running.values()))

    def _say(self, line: str) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            click.echo(line, err=True)
