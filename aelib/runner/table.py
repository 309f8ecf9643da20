"""The claims and records of a run as text: on the terminal, on the page and in README.md."""

import shutil
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aelib._format import FORMULA, fault, format_number, mark, printable, summary
from aelib.claims import Claim
from aelib.published import PUBLISHED
from aelib.runner.notebooks import checkout, numbered
from aelib.runner.plan import Plan
from aelib.runner.results import Outcome

_STAND_INS = {"mnist": "digits", "fashion_mnist": "digits", "smiles": "faces", "celeba": "faces"}
_TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
_PIPE = r"\|"  # in a cell of a Markdown table


def claims_table(outcomes: Iterable[Outcome]) -> str:
    """Every claim with its measurement, bound and baseline, one notebook after the other."""
    width = max(shutil.get_terminal_size((100, 24)).columns, 80)
    lines = [f"   {'measured':>10}  {'bound':>13}  {'baseline':>10}  claim"]
    for outcome in outcomes:
        methods, formulas = split(outcome.results["claims"])
        lines += ["", _headline(outcome), *_rows(methods, outcome.binding, width)]
        if formulas:
            lines += ["   formulas held against the library's:"]
            lines += _rows(formulas, outcome.binding, width)
        if outcome.fault:
            lines.append(f" ✗ broke off {outcome.fault.headline}")
    return "\n".join(map(printable, lines))


def split(claims: Iterable[dict[str, Any]]) -> tuple[list[dict], list[dict]]:
    """The claims about methods, and the checks of formulas."""
    claims = list(claims)
    formulas = [claim for claim in claims if claim["source"] == FORMULA]
    return [claim for claim in claims if claim["source"] != FORMULA], formulas


def checked(outcomes: Iterable[Outcome]) -> str:
    """How many claims hold, and how many formulas are the library's."""
    claims = [claim for item in outcomes for claim in item.results["claims"]]
    return summary((claim["source"], claim["holds"]) for claim in claims)


def run_summary(outcomes: list[Outcome]) -> str:
    """One line: "11 of 13 notebooks finished, 2 results were not reached: 07, 08"."""
    finished = sum(outcome.fault is None for outcome in outcomes)
    text = f"{finished} of {len(outcomes)} notebooks finished"
    names = [label(outcome.name) for outcome in outcomes if outcome.missed]
    return f"{text}, {count_missed(outcomes)}: {', '.join(names)}" if names else text


def count_missed(outcomes: Iterable[Outcome]) -> str:
    """How many results were not reached, in words, "" for none."""
    count = sum(len(outcome.missed) for outcome in outcomes)
    if count < 2:
        return "1 result was not reached" if count else ""
    return f"{count} results were not reached"


def not_reached(outcome: Outcome) -> list[list[str]]:
    """Of every claim that failed and had to hold: what, by how much, and what to type."""
    blocks = []
    for claim in outcome.missed:
        whole = None not in (claim["measured"], claim["bound"])
        reason = (fault(Claim(**claim)) if whole else "") or "a value is not a finite number"
        place = f"on {data_names(outcome.results)}"
        lines = [claim["statement"], f"{reason}, {place}", *_advice(outcome.results)]
        blocks.append([printable(line) for line in lines])
    return blocks


def _advice(results: dict[str, Any]) -> list[str]:
    known = results["notebook"] in {notebook.name for notebook in numbered(checkout())}
    command = f"aelib run {label(results['notebook']) if known else 'NOTEBOOK'}"
    command += " --profile full" if results["profile"] == "full" else ""
    ways = []
    absent = stood_in_for(results)
    if absent and absent != "celeba":
        ways.append(f"`aelib data fetch {absent}` and `{command} --force`")
    seed = results["parameters"].get("seed")
    if isinstance(seed, int):
        ways.append(f"another seed: `{command} -p seed {seed + 1}`")
    return [f"Try {', or '.join(ways)}"] if ways else []


def label(name: str) -> str:
    """What a notebook is called in short: its number, if that is enough."""
    number = name.split("_")[0]
    return number if number.isdecimal() and not name.endswith("_solutions") else name


def data_names(results: dict[str, Any]) -> str:
    """The datasets that were used, drawn ones marked, of a reader's own the file alone."""
    drawn = set(_STAND_INS.values())
    names = [f"{name} (drawn)" if name in drawn else Path(name).name for name in results["dataset"]]
    return " and ".join(names) or "no data named"


def stood_in_for(results: dict[str, Any]) -> str | None:
    """The dataset that was asked for and missing, so that drawn images were used."""
    name = results["parameters"].get("dataset")
    used = results["dataset"]
    return name if name not in used and _STAND_INS.get(name) in used else None


def missing(name: str) -> str:
    """One line on a dataset that is not here."""
    way = "See data/README.md." if name == "celeba" else f"`aelib data fetch {name}`"
    return f"{_TITLES.get(name, name)} is not here: drawn {_STAND_INS[name]} are used. {way}"


def data_found(plans: Iterable[Plan]) -> list[str]:
    """What stands in for the datasets of `plans` that are missing, and where the others are."""
    from aelib import data  # NumPy, which `aelib --help` does not need

    places = {item.name: item.path for item in data.status()}
    absent, found = [], []
    for name in dict.fromkeys(plan.parameters.get("dataset", "") for plan in plans):
        place = places.get(name)
        if place and name in _STAND_INS:
            found.append(f"{_TITLES.get(name, name)}: {place.replace(str(Path.home()), '~')}")
        elif name in _STAND_INS:
            first = "" if name == "celeba" else " (each notebook tries a download first)"
            absent.append(missing(name) + first)
        elif name:
            found.append(f"{name}: {'drawn here' if name in places else 'your own data'}")
    return absent + found


def number(value: float | None) -> str:
    """Four digits, or nothing where there is no number."""
    return "" if value is None else format_number(value)


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
                number(paper.value if paper else None),
                paper.source if paper else "",
            )
            lines.append(f"| {' | '.join(cell.replace('|', _PIPE) for cell in cells)} |")
    return "\n".join(lines)


def _rows(claims: Iterable[dict[str, Any]], binding: bool, width: int) -> list[str]:
    indent = " " * 42
    lines = []
    for claim in claims:
        statement = claim["statement"] + (f" [{claim['unit']}]" if claim["unit"] else "")
        first, *rest = textwrap.wrap(printable(statement), width - len(indent)) or [""]
        measured = number(claim["measured"]) or "not finite"
        bound = f"{claim['relation']} {number(claim['bound'])}"
        lines.append(
            f"{mark(claim['holds'], binding):>2} {measured:>10}  "
            f"{bound:>13}  {number(claim['baseline']):>10}  {first}"
        )
        lines += [indent + line for line in rest]
    return lines


def _headline(outcome: Outcome) -> str:
    results = outcome.results
    data = data_names(results)
    return f"{outcome.name} ({results['profile']}, {data}, {results['seconds']:.0f} s)"
