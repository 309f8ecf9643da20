"""Checked claims and recorded numbers.

A notebook never only says what it found. It calls `claim`, which compares a measured
number with a bound, prints one line, and raises when the claim does not hold, or when it
would hold for the baseline as well: then it says nothing about the method. `record` keeps
the numbers of the table "here / in the paper".

Under the `aelib` command everything is also written to the file that the environment
variable `AELIB_EVENTS` names, one JSON object a line, so that a run that dies keeps what
it had measured.
"""

import importlib.metadata
import json
import math
import operator
import os
import platform
import sys
from dataclasses import asdict, dataclass

from aelib.published import PUBLISHED

EVENTS_VARIABLE = "AELIB_EVENTS"

_RELATIONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
_VERSIONED = ("aelib", "tensorflow", "keras", "numpy", "scikit-learn", "matplotlib")


class ClaimFailed(AssertionError):
    """A claim does not hold, or says nothing because its baseline meets the bound as well."""


@dataclass(frozen=True)
class Claim:
    """One claim as it was measured. The fields are those of `results.json`."""

    statement: str
    measured: float
    relation: str
    bound: float
    baseline: float | None
    unit: str
    source: str
    holds: bool


@dataclass(frozen=True)
class Record:
    """One recorded number. The fields are those of `results.json`."""

    name: str
    value: float
    unit: str


class _Run:
    """What this process has claimed and recorded since `begin`."""

    def __init__(self, datasets: tuple[str, ...] = (), binding: bool = True):
        self.datasets = datasets
        self.binding = binding
        self.claims: dict[str, Claim] = {}
        self.records: dict[str, Record] = {}


_run = _Run()


def begin(*, datasets: list[str] | tuple[str, ...], binding: bool = True) -> None:
    """Starts a notebook's list of claims; the set-up cell calls it once.

    Args:
        datasets: names of the datasets really used, as `data.load` reports them.
        binding: False on data that the notebook was not written for, such as a reader's
            own images: claims are then reported and marked, and never raise.
    """
    global _run
    _run = _Run(tuple(datasets), binding)
    _emit("begin", datasets=list(datasets), device=_device(), versions=versions())


def claim(
    statement: str,
    measured: float,
    relation: str,
    bound: float,
    *,
    baseline: float | None = None,
    unit: str = "",
    source: str = "",
    stops: bool = True,
) -> None:
    """Checks `measured relation bound`, prints one line and keeps the result.

    Args:
        statement: one sentence that a reader could disagree with.
        measured: the number that was measured.
        relation: one of `<`, `<=`, `>`, `>=`, `==`.
        bound: what it is held against.
        baseline: the same measurement for the method that this one is compared with. It
            must *not* meet the bound, or the claim would hold without the method.
        unit: of `measured`, `bound` and `baseline`.
        source: paper, section or equation that the bound comes from.
        stops: False for an aim that has not been reached yet, and of which the text says so:
            where it fails it is shown and counted as failing, and the notebook goes on.

    Raises:
        ClaimFailed: if the claim does not hold, a value is not finite, or the baseline
            meets the bound as well. Never on data the notebook was not written for, nor
            with `stops=False`.
        ValueError: for an empty statement, an unknown relation, or a value that is no number.
    """
    if not isinstance(statement, str) or not statement.strip():
        raise ValueError(f"A claim needs a statement. Received: statement={statement!r}")
    if relation not in _RELATIONS:
        raise ValueError(
            f"Unknown relation, use one of {', '.join(_RELATIONS)}. Received: relation={relation!r}"
        )
    measured = _number("measured", measured)
    bound = _number("bound", bound)
    baseline = None if baseline is None else _number("baseline", baseline)

    fault = _fault(measured, relation, bound, baseline)
    result = Claim(
        statement, measured, relation, bound, baseline, unit, source, holds=fault is None
    )
    _run.claims[statement] = result
    _emit("claim", **asdict(result), binding=_run.binding)
    print(_line(result, fault), flush=True)
    if fault is not None and _run.binding and stops:
        raise ClaimFailed(f"{statement}: {fault}")


def record(name: str, value: float, *, unit: str) -> None:
    """Keeps one number of the run.

    Rates, errors and accuracies are fractions; likelihoods are negative, in nats per image.

    Raises:
        ValueError: if the name is not an identifier, or the value is not a finite number.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(
            f"A record's name is an identifier such as 'sse_2d'. Received: name={name!r}"
        )
    value = _number("value", value)
    if not math.isfinite(value):
        raise ValueError(f"A record is a finite number. Received: {name}={value}")
    _run.records[name] = Record(name, value, unit)
    _emit("record", **asdict(_run.records[name]))


def paper_table() -> str:
    """The table "here / in the paper" of what was recorded so far, as Markdown."""
    return markdown_table(
        _run.records.values(), here=f"here, on {' and '.join(_run.datasets) or 'this data'}"
    )


def markdown_table(records, *, here: str) -> str:
    """`records` beside the published numbers of `aelib.published`, as a Markdown table."""
    lines = [f"| record | unit | {here} | in the paper | source |", "|---|---|---|---|---|"]
    for item in records:
        paper = PUBLISHED.get(item.name)
        value, source = (format_number(paper.value), paper.source) if paper else ("", "")
        lines.append(
            f"| `{item.name}` | {item.unit} | {format_number(item.value)} | {value} | {source} |"
        )
    return "\n".join(lines)


def format_number(value: float) -> str:
    """Four significant digits, whole numbers whole: what tables and claims print."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    digits = 3 - math.floor(math.log10(abs(value)))
    return f"{value:.{digits}f}" if 0 <= digits <= 6 else f"{value:.4g}"


def versions() -> dict[str, str]:
    """Of Python and of the packages that a result may depend on, as far as installed."""
    found = {"python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _number(name: str, value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"A claim or record holds one number. Received: {name}={value!r}"
        ) from None


def _fault(measured: float, relation: str, bound: float, baseline: float | None) -> str | None:
    """Why the claim fails, or None."""
    values = {"measured": measured, "bound": bound, "baseline": baseline}
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            return f"{name} is {value}, not a finite number"
    holds = _RELATIONS[relation]
    limit = f"{relation} {format_number(bound)}"
    if not holds(measured, bound):
        return f"measured {format_number(measured)}, which is not {limit}"
    if baseline is not None and holds(baseline, bound):
        return f"the baseline meets the bound as well: {format_number(baseline)} {limit}"
    return None


def _line(result: Claim, fault: str | None) -> str:
    mark = "✓" if result.holds else "✗" if _run.binding else "○"
    measured, bound = format_number(result.measured), format_number(result.bound)
    text = f"{mark} {result.statement}: {measured} {result.relation} {bound}"
    if result.unit:
        text += f" {result.unit}"
    if result.baseline is not None:
        text += f" (baseline {format_number(result.baseline)})"
    if result.source:
        text += f" [{result.source}]"
    if fault is not None:
        verdict = "fails" if _run.binding else "does not hold on this data, so it is only reported"
        text += f" — {verdict}: {fault}"
    return text


def _emit(kind: str, **fields) -> None:
    path = os.environ.get(EVENTS_VARIABLE)
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **fields}) + "\n")


def _device() -> str:
    """What TensorFlow computes on, if the notebook has imported it, else the processor."""
    tensorflow = sys.modules.get("tensorflow")
    gpus = tensorflow.config.list_physical_devices("GPU") if tensorflow else []
    names = [
        tensorflow.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in gpus
    ]
    return ", ".join(names) or f"CPU, {os.cpu_count()} cores"
