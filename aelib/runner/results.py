"""`results.json`: what a notebook measured, in exactly the keys that others rely on."""

import importlib.metadata
import json
import math
import platform
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from aelib._files import write_whole
from aelib.claims import Claim
from aelib.runner import UsageError
from aelib.runner.task import Fault

KEYS = (
    "notebook",
    "profile",
    "parameters",
    "dataset",
    "device",
    "versions",
    "seconds",
    "claims",
    "records",
)
CLAIM_KEYS = tuple(field.name for field in fields(Claim))
RECORD_KEYS = ("name", "value", "unit")
_VERSIONED = ("aelib", "tensorflow", "keras", "numpy", "scikit-learn", "matplotlib")


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook: `results` of what it measured, `fault` if it broke off."""

    name: str
    results: dict[str, Any]
    binding: bool
    fault: Fault | None = None

    @property
    def missed(self) -> list[dict[str, Any]]:
        """The claims that failed, and had to hold."""
        return [item for item in self.results["claims"] if self.binding and not item["holds"]]

    @property
    def ok(self) -> bool:
        """Finished, and every binding claim holds."""
        return self.fault is None and not self.missed


def collect(
    events: Path, *, notebook: str, profile: str, parameters: dict[str, Any], seconds: float
) -> tuple[dict[str, Any], bool, str]:
    """The results of one notebook, whether its claims are binding, and what `finish` raised.

    Args:
        events: the file that `aelib.claims` wrote, one JSON object a line; it may be missing,
            and its last line may be cut, when the notebook's process was killed.
        notebook, profile, parameters, seconds: the rest of the results.
    """
    begin: dict[str, Any] = {}
    claims: dict[str, dict] = {}
    records: dict[str, dict] = {}
    message = ""
    for event in _read_events(events):
        if event["kind"] == "begin":
            begin, claims, records, message = event, {}, {}, ""
        elif event["kind"] == "claim":
            claims[event["statement"]] = {key: _finite(event[key]) for key in CLAIM_KEYS}
        elif event["kind"] == "record":
            records[event["name"]] = {key: event[key] for key in RECORD_KEYS}
        elif event["kind"] == "finish":
            message = event["message"]
    results = {
        "notebook": notebook,
        "profile": profile,
        "parameters": parameters,
        "dataset": begin.get("datasets", []),
        "device": begin.get("device", ""),
        "versions": versions(),
        "seconds": seconds,
        "claims": list(claims.values()),
        "records": list(records.values()),
    }
    return results, begin.get("binding", True), message


def versions() -> dict[str, str]:
    """Of Python and of the packages that a result may depend on, as far as installed."""
    found = {"python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def read_results(path: Path) -> dict[str, Any]:
    """A `results.json`, checked.

    Raises:
        UsageError: if it cannot be read or is something else, naming the file.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from None
    problem = _problem(results)
    if problem:
        raise UsageError(f"{path} is not a results.json: {problem}.")
    return results


def write_json(path: Path, content: Any) -> None:
    """Writes `content` so that the file is either whole or not there."""
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _read_events(path: Path) -> list[dict]:
    events = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                break  # cut in the middle
    return events


def _finite(value: Any) -> Any:
    """JSON knows no NaN: a value that is no number is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _problem(results: Any) -> str | None:
    if not isinstance(results, dict):
        return "it is not an object"
    if set(results) != set(KEYS):
        return f"its keys are {sorted(results)}, not {sorted(KEYS)}"
    for name, keys in (("claims", CLAIM_KEYS), ("records", RECORD_KEYS)):
        items = results[name]
        if not isinstance(items, list) or any(
            not isinstance(item, dict) or set(item) != set(keys) for item in items
        ):
            return f"each of its {name} should have the keys {', '.join(keys)}"
    return None
