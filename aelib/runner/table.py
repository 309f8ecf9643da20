"""What runs found, as text: on the terminal and on the page."""

import shutil
import textwrap
from collections.abc import Iterable
from pathlib import Path

from aelib._format import FORMULA, fault, format_number, mark, printable, summary
from aelib.runner.notebooks import checkout, numbered
from aelib.runner.plan import Plan
from aelib.runner.results import Result

_STAND_INS = {"mnist": "digits", "fashion_mnist": "digits", "smiles": "faces", "celeba": "faces"}
_TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}


def claims_table(results: Iterable[Result]) -> str:
    """Every claim with its measurement, bound and baseline, one notebook after the other."""
    width = max(shutil.get_terminal_size((100, 24)).columns, 80)
    lines = [f"   {'measured':>10}  {'bound':>13}  {'baseline':>10}  claim"]
    for result in results:
        data = data_names(result.dataset)
        lines += ["", f"{result.notebook} ({result.profile}, {data}, {result.seconds:.0f} s)"]
        for claim in sorted(result.claims, key=lambda claim: claim.source == FORMULA):
            limit = f"{claim.relation} {number(claim.bound)}"
            row = f"{mark(claim.holds, result.binding):>2} "
            row += f"{number(claim.measured, 'not finite'):>10}  {limit:>13}  "
            row += f"{number(claim.baseline):>10}  {'formula: ' * (claim.source == FORMULA)}"
            row += claim.statement + (f" [{claim.unit}]" if claim.unit else "")
            lines += textwrap.wrap(row, width, subsequent_indent=" " * 42)
        lines += [f" ✗ broke off {result.fault.headline}"] if result.fault else []
    return "\n".join(map(printable, lines))


def checked(results: Iterable[Result]) -> str:
    """How many claims hold, and how many formulas are the library's."""
    return summary((claim.source, claim.holds) for result in results for claim in result.claims)


def run_summary(results: list[Result]) -> str:
    """One line: "11 of 13 notebooks finished, 2 results were not reached: 07, 08"."""
    finished = sum(result.fault is None for result in results)
    count = sum(len(result.missed) for result in results)
    names = dict.fromkeys(label(result.notebook) for result in results if result.missed)
    missed = f", {count} result{'s were' if count > 1 else ' was'} not reached: {', '.join(names)}"
    return printable(f"{finished} of {len(results)} notebooks finished{missed if count else ''}")


def not_reached(result: Result) -> list[list[str]]:
    """Of every claim that failed and had to hold: what, by how much, and what to type."""
    known = result.notebook in {notebook.name for notebook in numbered(checkout())}
    command = f"aelib run {label(result.notebook) if known else 'NOTEBOOK'}"
    command += " --profile full" if result.profile == "full" else ""
    ways, absent, seed = [], stood_in_for(result), result.parameters.get("seed")
    if absent and absent != "celeba":
        ways.append(f"`aelib data fetch {absent}` and `{command} --force`")
    if isinstance(seed, int):
        ways.append(f"another seed: `{command} -p seed {seed + 1}`")
    advice = [f"Try {', or '.join(ways)}"] if ways else []
    blocks = []
    for claim in result.missed:
        reason = "" if None in (claim.measured, claim.bound) else fault(claim)
        reason = f"{reason or 'a value is not a finite number'}, on {data_names(result.dataset)}"
        blocks.append([printable(line) for line in (claim.statement, reason, *advice)])
    return blocks


def label(name: str) -> str:
    """What a notebook is called in short: its number, if that is enough."""
    number = name.split("_")[0]
    return number if number.isdecimal() and not name.endswith("_solutions") else name


def data_names(names: Iterable[str]) -> str:
    """The datasets that were used, drawn ones marked, of a reader's own the file alone."""
    drawn = {name: f"{name} (drawn)" for name in _STAND_INS.values()}
    shown = [drawn.get(name) or Path(name).name for name in names]
    return " and ".join(shown) or "no data named"


def stood_in_for(result: Result) -> str | None:
    """The dataset that was asked for and missing, so that drawn images were used."""
    name = str(result.parameters.get("dataset"))
    stands = name not in result.dataset and _STAND_INS.get(name) in result.dataset
    return name if stands else None


def missing(name: str) -> str:
    """One line on a dataset that is not here."""
    way = "See data/README.md." if name == "celeba" else f"`aelib data fetch {name}`"
    return f"{_TITLES.get(name, name)} is not here: drawn {_STAND_INS[name]} are used. {way}"


def data_found(plans: Iterable[Plan]) -> list[str]:
    """What stands in for the datasets of `plans` that are missing, and where the others are."""
    from aelib import data  # NumPy, which `aelib --help` does not need

    places = {item.name: item.path for item in data.status()}
    absent, found = [], []
    for name in filter(None, dict.fromkeys(plan.parameters.get("dataset") for plan in plans)):
        if place := name in _STAND_INS and places.get(name):
            found.append(f"{_TITLES.get(name, name)}: {place.replace(f'{Path.home()}/', '~/')}")
        elif name in _STAND_INS:
            first = "" if name == "celeba" else " (each notebook tries a download first)"
            absent.append(missing(name) + first)
        else:
            found.append(f"{name}: {'drawn here' if name in places else 'your own data'}")
    return [printable(line) for line in absent + found]


def number(value: float | None, otherwise: str = "") -> str:
    """Four digits, or `otherwise` where there is no number."""
    return otherwise if value is None else format_number(value)
