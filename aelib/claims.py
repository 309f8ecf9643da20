"""Checked claims and recorded numbers.

A notebook never only says what it found: `claim` holds a measured number against a bound, shows
the result and goes on. `finish`, in the last cell, raises if any claim failed. Under the `aelib`
command everything is also written to the file that the environment variable `AELIB_EVENTS` names,
one JSON object a line, so that a run that dies keeps what it had measured.
"""

import json
import math
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from aelib._format import FORMULA, RELATIONS, fault, format_number, printable, say, summary, texts
from aelib.published import PUBLISHED

EVENTS_VARIABLE = "AELIB_EVENTS"


class ClaimFailed(AssertionError):
    """Claims of a notebook failed, or none was made."""


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


@dataclass
class _Run:
    """What this process has claimed and recorded since `begin`."""

    datasets: list[str] = field(default_factory=list)
    binding: bool = True
    claims: dict[str, Claim] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)


_run = _Run()


def begin(*, datasets: Iterable[str], binding: bool = True) -> None:
    """Starts a notebook's list of claims; the set-up cell calls it once.

    Args:
        datasets: names of the datasets really used, as `data.load` reports them.
        binding: False on data that the notebook was not written for, such as a reader's own
            images: claims are then only reported.
    """
    global _run
    _run = _Run([printable(name) for name in datasets], binding)
    _emit("begin", datasets=_run.datasets, binding=binding, device=_device())


def claim(
    statement: str,
    measured: float,
    relation: str,
    bound: float,
    *,
    baseline: float | None = None,
    unit: str = "",
    source: str = "",
) -> None:
    """Checks `measured relation bound`, shows the result and keeps it; a failure does not raise.

    A claim fails if it does not hold, if a value is not finite, or if the baseline meets the bound
    as well: then it says nothing about the method. The same statement again replaces it.

    Args:
        statement: one sentence that a reader could disagree with.
        measured: the number that was measured.
        relation: one of `<`, `<=`, `>`, `>=`, `==`.
        bound: what it is held against.
        baseline: the same measurement for the method that this one is compared with.
        unit: of `measured`, `bound` and `baseline`.
        source: paper, section or equation that the bound comes from.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    from aelib import claims

    claims.claim("Eight axes leave little", 29.4, "<=", 30, baseline=52.7, unit="squared error")
    ```
    """
    statement = _text("statement", statement)
    unit, source = _text("unit", unit), _text("source", source)
    if not statement:
        raise ValueError(f"`statement` must not be empty. Received: statement={statement!r}")
    if relation not in RELATIONS:
        options = ", ".join(RELATIONS)
        raise ValueError(f"`relation` must be one of {options}. Received: relation={relation!r}")
    measured, bound = _number("measured", measured), _number("bound", bound)
    baseline = None if baseline is None else _number("baseline", baseline)
    result = Claim(statement, measured, relation, bound, baseline, unit, source, holds=False)
    result = replace(result, holds=not fault(result))
    _run.claims[statement] = result
    _emit("claim", **asdict(result))
    _show(result)


def same(what: str, ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    """Claims that a formula written out in the notebook is the library's.

    Args:
        what: the statement, such as "the penalty is the library's".
        ours, theirs: numbers or arrays of one shape.
        tolerance: bound of their largest absolute difference, over `max(1, largest |theirs|)`.

    Raises:
        ValueError: If the shapes differ or are empty, or a value is not a number.
    """
    import numpy as np

    arrays = []
    for name, value in (("ours", ours), ("theirs", theirs)):
        try:
            arrays.append(np.asarray(value, "float64"))
        except (TypeError, ValueError):
            raise ValueError(f"`{name}` must hold numbers. Received: {name}={value!r}") from None
    first, second = arrays
    if first.shape != second.shape or not first.size:
        raise ValueError(
            "`ours` and `theirs` must have the same shape and must not be empty. "
            f"Received: ours.shape={first.shape}, theirs.shape={second.shape}"
        )
    with np.errstate(invalid="ignore"):
        difference = np.abs(first - second).max() / max(1.0, np.abs(second).max())
    claim(what, difference, "<=", tolerance, unit="largest difference", source=FORMULA)


def finish() -> None:
    """Says how many claims hold; the last cell of every notebook.

    Raises:
        ClaimFailed: Naming every claim that failed, or if nothing was claimed or recorded. Never on
            data that the notebook was not written for.
    """
    made = list(_run.claims.values())
    if _run.binding and not (made or _run.records):
        raise ClaimFailed("No claims were made: run the cells above first.")
    numbers = len(_run.records)
    text = f"{numbers} number{'s' * (numbers != 1)} recorded"
    if made or not numbers:
        text = summary((item.source, item.holds) for item in made)
    say(text if _run.binding else f"{text}, on data that this notebook was not written for")
    failed = [item for item in made if _run.binding and not item.holds]
    lines = [f"✗ {item.statement}: {fault(item)}" for item in failed]
    message = "\n".join([f"{text}. Not reached:", *lines]) if failed else ""
    _emit("finish", message=message)
    if failed:
        raise ClaimFailed(message)


def record(name: str, value: float, *, unit: str) -> None:
    """Keeps one number of the run.

    Rates, errors and accuracies are fractions; likelihoods are negative, in nats per image.

    Raises:
        ValueError: If the name is not an identifier, or the value is not a finite number.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"`name` must be an identifier such as 'sse_2d'. Received: name={name!r}")
    value = _number("value", value)
    if not math.isfinite(value):
        raise ValueError(f"`value` must be finite. Received: value={value} for {name!r}")
    _run.records[name] = {"name": name, "value": value, "unit": _text("unit", unit)}
    _emit("record", **_run.records[name])


def evidence(name: str) -> Any:
    """What the last full run of a study found: a data frame with one row per run.

    Args:
        name: of the study, as in `results/NAME.csv`, or the path of such a table.

    Raises:
        ValueError: If there is no such table, naming those that there are.
    """
    import pandas as pd

    name = str(name)
    if name.endswith(".csv") and Path(name).is_file():
        return pd.read_csv(name)
    installed = Path(__file__).with_name("results")
    folder = installed if installed.is_dir() else Path(__file__).parents[1] / "results"
    names = sorted(path.stem for path in folder.glob("*.csv"))
    if name not in names:
        there = ", ".join(names) or "none"
        raise ValueError(f"`name` must be a study: there are {there}. Received: {name=}")
    return pd.read_csv(folder / f"{name}.csv")


def paper_table() -> str:
    """What was recorded so far beside the published numbers, as a Markdown table."""
    here = f"here, on {' and '.join(_run.datasets) or 'this data'}"
    lines = [f"| record | unit | {here} | in the paper | source |", "|---|---|---|---|---|"]
    for name, item in _run.records.items():
        paper = PUBLISHED.get(name)
        theirs = f"{format_number(paper.value)} | {paper.source}" if paper else " | "
        lines.append(f"| `{name}` | {item['unit']} | {format_number(item['value'])} | {theirs} |")
    return "\n".join(lines)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` must be one number. Received: {name}={value!r}") from None


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"`{name}` must be a string. Received: {name}={value!r}")
    return printable(value).strip()


def _show(item: Claim) -> None:
    """Prints one line; a notebook shows it as Markdown, which wraps, with that line beside it."""
    plain, markdown = texts(item, _run.binding)
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if getattr(shell, "kernel", None) is None:
        say(plain)
        return
    from IPython.display import display

    display({"text/markdown": markdown, "text/plain": plain}, raw=True)


def _emit(kind: str, **fields: Any) -> None:
    path = os.environ.get(EVENTS_VARIABLE)
    if path:
        event = json.loads(json.dumps({"kind": kind, **fields}), parse_constant=lambda _: None)
        with open(path, "ab") as file:  # None for NaN and infinity, which JSON does not know
            file.write(json.dumps(event).encode() + b"\n")  # at once: no other line gets into it


def _device() -> str:
    """What TensorFlow computes on, if the notebook has imported it, else the processor."""
    config: Any = getattr(sys.modules.get("tensorflow"), "config", None)
    gpus = config.list_physical_devices("GPU") if config else []
    names = [config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return ", ".join(names) or f"CPU, {os.cpu_count()} cores"
