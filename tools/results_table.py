"""The table "here / in the paper": `python tools/results_table.py [FOLDER [FILE]]`.

Puts the records of a folder of results (results/) into a Markdown file (results/README.md), between
the lines `<!-- results -->` and `<!-- /results -->`.
"""

import re
import sys
from pathlib import Path

from aelib._files import write_whole
from aelib._format import printable
from aelib.published import PUBLISHED
from aelib.runner import UsageError
from aelib.runner.report import read_run
from aelib.runner.results import Result
from aelib.runner.table import number

PART = re.compile(r"(<!-- results -->(\r?\n)).*?(<!-- /results -->)", re.DOTALL)


def update_readme(path: Path, results: list[Result]) -> None:
    """Puts the table of records between `<!-- results -->` and `<!-- /results -->`.

    Raises:
        UsageError: if the file cannot be read or written, or has no such place.
    """
    rows = ["| notebook | record | unit | here | in the paper | source |"]
    rows += ["|---|---|---|---:|---:|---|"]
    for result in results:
        for record in result.records:
            value, source = PUBLISHED.get(record.name, (None, ""))
            cells = [result.notebook, f"`{record.name}`", record.unit, number(record.value)]
            cells = [printable(cell) for cell in (*cells, number(value), source)]
            row = " | ".join(re.sub(r"([\\|])", r"\\\1", cell) for cell in cells)
            rows.append(f"| {row} |".replace("<!--", "&lt;!--"))
    try:
        text = path.read_bytes().decode()
        changed, count = PART.subn(lambda m: m[1] + m[2].join([*rows, m[3]]), text)
        if count != 1:
            places = "one line `<!-- results -->` and, after it, one `<!-- /results -->`"
            raise ValueError(f"It needs {places}. Received: {count} such pairs")
        if changed != text:
            write_whole(path.resolve(), changed)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be rewritten. {error}") from None


if __name__ == "__main__":
    folder, file = (*sys.argv[1:], *("results", "results/README.md")[len(sys.argv) - 1 :])
    try:
        update_readme(Path(file), read_run(Path(folder)))
    except UsageError as refusal:
        sys.exit(str(refusal))
