"""What goes to a worker and what comes back: shared by the command and its workers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What a worker is asked to do. All paths are absolute."""

    notebook: str
    output: str
    parameters: dict
    cell_timeout: int


@dataclass(frozen=True)
class Fault:
    """Why a notebook did not finish, and where.

    `cell` counts executed code cells from 1, as the executed notebook shows them; 0 is none.
    """

    reason: str
    cell: int = 0
    source: str = ""
    last_lines: str = ""

    @property
    def headline(self) -> str:
        """One line: the place and the reason."""
        where = f"in cell [{self.cell}] " if self.cell else ""
        source = f"{self.source.strip()}: " if self.source else ""
        return f"{where}{source}{self.reason}"

    def __str__(self) -> str:
        return self.headline + "".join(f"\n    | {line}" for line in self.last_lines.splitlines())
