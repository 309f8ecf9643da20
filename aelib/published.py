"""Published numbers, by the name of the record that they stand beside.

One list, `published.csv`, for the tables "here / in the paper" of notebooks and results/README.md.
A number marked "recounted" is exact on the real dataset and was counted again for this
collection; all others are printed in the paper named.
"""

import csv
from importlib import resources
from typing import NamedTuple


class Published(NamedTuple):
    """A number from the literature, in the unit of the record of the same name."""

    value: float
    source: str


def _read() -> dict[str, Published]:
    text = resources.files("aelib").joinpath("published.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["name"]: Published(float(row["value"]), row["source"]) for row in rows}


PUBLISHED: dict[str, Published] = _read()
