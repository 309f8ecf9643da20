"""The tables of a grid: one row per run, and what its claims say over all runs."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from aelib._files import write_whole
from aelib._format import FORMULA, format_number, printable
from aelib.runner.plan import Plan
from aelib.runner.results import Result

_GROUP = ["notebook", "dataset", "statement"]


def write_rows(path: Path, plans: list[Plan], results: list[Result]) -> None:
    """Writes a CSV with one row for each run that is whole."""
    rows = [
        {
            "run": plan.id,
            "notebook": result.notebook,
            **result.parameters,
            "data": " ".join(result.dataset),
            **{record.name: record.value for record in result.records},
            "held": sum(claim.holds for claim in result.claims),
            "claims": len(result.claims),
            "seconds": result.seconds,
            "device": result.device,
            "versions": "; ".join(map(" ".join, result.versions.items())),
            "fingerprint": plan.fingerprint(),
        }
        for plan, result in zip(plans, results, strict=True)
        if result.fault is None
    ]
    write_whole(path, pd.DataFrame(rows).to_csv(index=False))


def margins(results: Iterable[Result]) -> pd.DataFrame:
    """Every binding claim about a method, over the whole runs of a notebook on a dataset.

    `held` of `runs`, `mean` and `spread` (standard deviation) of what was measured, and `margin`:
    the mean distance from the bound in standard deviations of that distance, negative on the wrong
    side, infinite where it is always the same.
    """
    claims = pd.DataFrame(
        {"notebook": result.notebook, "dataset": " ".join(result.dataset), **asdict(claim)}
        for result in results
        for claim in result.claims
        if result.binding and not result.fault and claim.source != FORMULA
    )
    if claims.empty:
        return pd.DataFrame(columns=[*_GROUP, "margin"])
    sign = claims.relation.map(lambda relation: -1 if relation.startswith("<") else 1)
    claims["distance"] = sign * (claims.measured - claims.bound)
    table = claims.groupby(_GROUP, sort=False).agg(
        relation=("relation", "first"),
        bound=("bound", "mean"),
        held=("holds", "sum"),
        runs=("holds", "size"),
        mean=("measured", "mean"),
        spread=("measured", "std"),
        margin=("distance", "mean"),
        deviation=("distance", "std"),
    )
    table["margin"] /= table.pop("deviation")
    return table.reset_index()


def margins_table(table: pd.DataFrame) -> str:
    """Margins as text, the thinnest claim of each notebook first."""
    lines = [f"{'held':>7} {'mean':>10} {'± spread':>10} {'bound':>13} {'margin':>7}  claim"]
    for (notebook, dataset), rows in table.groupby(_GROUP[:2]):
        lines += ["", f"{notebook} on {dataset or 'no data named'}"]
        for row in rows.sort_values("margin").itertuples():
            mean, spread, bound = map(format_number, (row.mean, row.spread, row.bound))
            lines.append(
                f"{row.held:>3}/{row.runs:<3} {mean:>10} {spread:>10} "
                f"{row.relation + ' ' + bound:>13} {row.margin:>7.1f}  {row.statement}"
            )
    return "\n".join(map(printable, lines))


def keep_margins(path: Path, table: pd.DataFrame) -> None:
    """Puts margins into a CSV in place of those of the same notebooks on the same data."""
    if path.is_file():
        old = pd.read_csv(path, keep_default_na=False)
        new = pd.MultiIndex.from_frame(table[_GROUP[:2]])
        table = pd.concat([old[~pd.MultiIndex.from_frame(old[_GROUP[:2]]).isin(new)], table])
    table = table.sort_values(_GROUP[:2], kind="stable")
    write_whole(path, table.to_csv(index=False, float_format="%.5g"))
