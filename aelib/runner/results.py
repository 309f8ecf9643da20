"""One run of one notebook, from its kernel to the page: `Result`, and `results.json`."""

import json
import math
import platform
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import metadata
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from aelib._format import RELATIONS, printable
from aelib.claims import Claim
from aelib.runner import UsageError

_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_VERSIONED = ("aelib", "tensorflow", "keras", "numpy", "scikit-learn", "matplotlib")


@dataclass(frozen=True)
class Record:
    """One number that a notebook kept."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class Fault:
    """Why a notebook did not finish, and where.

    `cell` counts executed code cells from 1, as the executed notebook shows them; 0 is none.
    `again` says that the same run may well end differently, such as after a killed kernel.
    """

    reason: str
    cell: int = 0
    source: str = ""
    last_lines: str = ""
    again: bool = False

    @property
    def headline(self) -> str:
        """One line: the place and the reason."""
        where = f"in cell [{self.cell}] " if self.cell else ""
        source = f"{self.source.strip()}: " if self.source else ""
        return printable(f"{where}{source}{self.reason}")

    def __str__(self) -> str:
        lines = map(printable, self.last_lines.splitlines())
        return self.headline + "".join(f"\n    | {line}" for line in lines)


@dataclass(frozen=True)
class Result:
    """What a notebook measured, and how it ended: all but the last two fields are `results.json`.

    A value that is not finite is None in a claim: JSON knows no NaN. Claims that are not `binding`
    may fail: the notebook was not written for the data.
    """

    notebook: str
    profile: str
    parameters: dict[str, Any]
    dataset: list[str] = field(default_factory=list)
    device: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    claims: list[Claim] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    binding: bool = True
    fault: Fault | None = None

    @property
    def missed(self) -> list[Claim]:
        """The claims that failed, and had to hold."""
        return [claim for claim in self.claims if self.binding and not claim.holds]

    @property
    def ok(self) -> bool:
        """Finished, and every binding claim holds."""
        return self.fault is None and not self.missed

    @property
    def content(self) -> dict[str, Any]:
        """What `results.json` holds."""
        return {key: value for key, value in asdict(self).items() if key in _KEYS}

    def with_events(self, lines: Iterable[bytes]) -> tuple["Result", str]:
        """The result with what `aelib.claims` wrote, and what `claims.finish` raised.

        A line that is no event, such as one that the end of the process cut, is passed over; where
        no fault tells of that end, the line is one.
        """
        begin: dict[str, Any] = {}
        claims: dict[str, Claim] = {}
        records: dict[str, Record] = {}
        message, fault = "", self.fault
        for number, line in enumerate(lines, 1):
            try:
                event = json.loads(line)
                kind = event.pop("kind")
                if kind == "begin":
                    names = [printable(name) for name in event.pop("datasets")]
                    begin = {"dataset": names, **event}
                    _typed(Result, {**vars(self), **begin})
                    claims, records, message = {}, {}, ""
                elif kind == "claim":
                    finite = {key: _finite(value) for key, value in event.items()}
                    claims[event["statement"]] = _typed(Claim, finite)
                elif kind == "record":
                    records[event["name"]] = _typed(Record, event)
                else:
                    message = event["message"]
            except _DAMAGED:
                reason = f"Line {number} of what it measured is damaged."
                fault = fault or Fault(reason, again=True)
        kept = {**begin, "claims": [*claims.values()], "records": [*records.values()]}
        return replace(self, fault=fault, **kept), message


_KEYS = tuple(item.name for item in fields(Result))[:-2]


def versions() -> dict[str, str]:
    """Of Python and of the packages that a result may depend on, as far as installed."""
    found = {"python": platform.python_version()}
    for name in _VERSIONED:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def read_result(path: Path) -> Result:
    """A run's `results.json` or `fault.json`, checked.

    Raises:
        UsageError: if it cannot be read or is something else, naming the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        marker = path.with_name("done.json")
        if path.name == "fault.json":
            content["fault"] = _typed(Fault, content["fault"])
        elif marker.is_file():
            content["binding"] = json.loads(marker.read_text(encoding="utf-8"))["binding"]
        if set(_KEYS) - set(content):
            raise ValueError(f"its keys are {sorted(content)}, not {sorted(_KEYS)}")
        content["claims"] = [_typed(Claim, claim) for claim in content["claims"]]
        content["records"] = [_typed(Record, record) for record in content["records"]]
        return _typed(Result, content)
    except (OSError, *_DAMAGED) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"{path} is not the {path.name} of a run: {reason}") from None


def _typed(kind: Any, content: dict[str, Any]) -> Any:
    """`kind(**content)`, if every field may hold its value; None is no number, in a claim."""
    hints = get_type_hints(kind)
    for name, value in content.items():
        hint = hints[name]
        if hint in (float, float | None):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            fits = math.isfinite(value) if is_number else value is None and kind is Claim
        elif get_origin(hint) is list:
            fits = isinstance(value, list) and all(isinstance(v, get_args(hint)) for v in value)
        else:
            fits = isinstance(
                value, hint if isinstance(hint, UnionType) else get_origin(hint) or hint
            )
        if not fits or (name == "relation" and value not in RELATIONS):
            raise TypeError(f"`{name}` cannot be {value!r:.200}")
    return kind(**content)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
