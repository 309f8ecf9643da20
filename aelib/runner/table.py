"""The claims and records of a run as text: on the terminal and in README.md."""

import shutil
import textwrap
from collections.abc import Iterable
from typing import Any

from aelib.claims import format_number
from aelib.published import PUBLISHED
from aelib.runner.runs import Outcome


def claims_table(outcomes: Iterable[Outcome]) -> str:
    """Every claim with its measurement, bound and baseline, one notebook after the other."""
    width = max(shutil.get_terminal_size((100, 24)).columns, 80)
    indent = " " * 42
    lines = [f"   {'measured':>10}  {'bound':>13}  {'baseline':>10}  claim"]
    for outcome in outcomes:
        lines += ["", _headline(outcome)]
        for claim in outcome.results["claims"]:
            statement = claim["statement"] + (f" [{claim['unit']}]" if claim["unit"] else "")
            wrapped = textwrap.wrap(statement, width - len(indent))
            measured = number(claim["measured"]) or "not finite"
            bound = f"{claim['relation']} {number(claim['bound'])}"
            lines.append(
                f"{mark(claim, outcome.binding):>2} {measured:>10}  "
                f"{bound:>13}  {number(claim['baseline']):>10}  {wrapped[0]}"
            )
            lines += [indent + line for line in wrapped[1:]]
        if outcome.fault:
            lines.append(f" ✗ broke off {outcome.fault.headline}")
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Four digits, or nothing where there is no number."""
    return "" if value is None else format_number(value)


def mark(claim: dict[str, Any], binding: bool) -> str:
    """✓ holds, ✗ fails, ○ does not hold on data that the notebook was not written for."""
    return "✓" if claim["holds"] else "✗" if binding else "○"


def readme_table(outcomes: Iterable[Outcome]) -> str:
    """The table "here / in the paper" over all notebooks, as Markdown."""
    lines = [
        "| notebook | record | unit | here | in the paper | source |",
        "|---|---|---|---:|---:|---|",
    ]
    for outcome in outcomes:
        for record in outcome.results["records"]:
            paper = PUBLISHED.get(record["name"])
            cells = (
                outcome.name,
                f"`{record['name']}`",
                record["unit"],
                number(record["value"]),
                number(paper and paper.value),
                paper.source if paper else "",
            )
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def _headline(outcome: Outcome) -> str:
    results = outcome.results
    data = " and ".join(results["dataset"]) or "no data named"
    return f"{outcome.name} ({results['profile']}, {data}, {results['seconds']:.0f} s)"
