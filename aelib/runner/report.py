"""The report of a run: `index.html`, and the table of results in README.md."""

import base64
import io
import json
import math
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from aelib._files import write_whole
from aelib._format import mark
from aelib.published import PUBLISHED
from aelib.runner import UsageError, table
from aelib.runner.notebooks import Notebook, checkout, numbered
from aelib.runner.results import Outcome, read_results
from aelib.runner.task import Fault

_PICTURES = 4  # of each notebook
_WIDTH = 900  # pixels, what a wider picture is scaled down to
_LARGE = 300_000  # bytes
_ONLY_REPORTED = "only reported: the notebook was not written for this data"
_README_PART = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)


def read_run(folder: Path) -> list[Outcome]:
    """Every notebook's outcome in a run's folder, or in one of plain `NAME.json` files.

    Raises:
        UsageError: if there is none, or a file is not what it should be, naming the file.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    outcomes = [_finished(path) for path in folder.glob("*/results.json")]
    outcomes += [_broken_off(path) for path in folder.glob("*/fault.json")]
    outcomes += [_finished(path) for path in folder.glob("*.json")]
    if not outcomes:
        raise UsageError(f"{folder} holds no results of a run.")
    return sorted(outcomes, key=lambda outcome: outcome.name)


def write_index(folder: Path, outcomes: list[Outcome]) -> Path:
    """Writes `index.html` into a run's folder and returns its path."""
    sections = [_section(folder, outcome) for outcome in outcomes]
    results = [outcome.results for outcome in outcomes]
    versions = {name: text for item in results for name, text in item["versions"].items()}
    absent = sorted(set(filter(None, map(table.stood_in_for, results))))
    used = sorted({name for item in results for name in item["dataset"]})
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["code"] = _code
    template = resources.files("aelib.runner").joinpath("report.html.j2").read_text("utf-8")
    page = environment.from_string(template).render(
        heading="What the notebooks found",
        sections=sections,
        finished=sum(outcome.fault is None for outcome in outcomes),
        missed=table.count_missed(outcomes),
        checked=table.checked(outcomes),
        data=[*map(table.missing, absent), f"Data: {table.data_names({'dataset': used})}"],
        minutes=_duration(sum(item["seconds"] for item in results)),
        profiles=" and ".join(sorted({item["profile"] for item in results})),
        versions=" · ".join(f"{name} {text}" for name, text in versions.items()),
    )
    path = folder / "index.html"
    try:
        write_whole(path, page)
    except OSError as error:
        raise UsageError(f"The report cannot be written: {error}.") from None
    return path


def update_readme(path: Path, outcomes: list[Outcome]) -> None:
    """Puts the table of records between `<!-- results -->` and `<!-- /results -->`.

    Raises:
        UsageError: if the file cannot be read, or has no such place.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    rows = table.readme_table(outcomes)
    changed, count = _README_PART.subn(lambda part: f"{part[1]}{rows}\n{part[2]}", text)
    if count != 1:
        raise UsageError(
            f"{path} needs one line `<!-- results -->` and one line `<!-- /results -->`, "
            f"with the table's place between them. Received: {count} such places"
        )
    if changed != text:
        write_whole(path, changed)


def _finished(path: Path) -> Outcome:
    results = read_results(path)
    marker = path.with_name("done.json")
    binding = True
    if path.name == "results.json" and marker.is_file():
        binding = _read_json(marker).get("binding", True)
    return Outcome(str(results["notebook"]), results, binding)


def _broken_off(path: Path) -> Outcome:
    content = _read_json(path)
    try:
        results, binding = content.pop("results"), content.pop("binding", True)
        return Outcome(results["notebook"], results, binding, Fault(**content))
    except (KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} was not written by a run.") from None


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from None


def _section(folder: Path, outcome: Outcome) -> dict[str, Any]:
    """What the page shows of one notebook."""
    results = outcome.results
    executed = next(iter((folder / outcome.name).glob("*.ipynb")), None)
    title, question = _heading(outcome.name, executed)
    methods, formulas = table.split(results["claims"])
    return {
        "name": outcome.name,
        "label": table.label(outcome.name),
        "title": title,
        "question": question,
        "ok": outcome.ok,
        "fault": outcome.fault,
        "not_reached": table.not_reached(outcome),
        "facts": [
            _duration(results["seconds"]),
            f"data: {table.data_names(results)}",
            *filter(None, [results["device"]]),
        ],
        "link": f"{outcome.name}/{executed.name}" if executed else None,
        "pictures": _pictures(executed) if executed else [],
        "claims": [_claim(claim, outcome.binding) for claim in methods],
        "formulas": [_claim(claim, outcome.binding) for claim in formulas],
        "records": [_record(record) for record in results["records"]],
    }


def _heading(name: str, executed: Path | None) -> tuple[str, str]:
    known = {notebook.name: notebook for notebook in numbered(checkout())}
    notebook = Notebook(executed) if executed else known.get(name)
    try:
        return notebook.heading if notebook else (name, "")
    except UsageError:  # it was cut while it was written
        return name, ""


def _code(text: str) -> markupsafe.Markup:
    """What stands between backticks as code."""
    return markupsafe.Markup(re.sub("`(.+?)`", r"<code>\1</code>", str(markupsafe.escape(text))))


def _claim(claim: dict[str, Any], binding: bool) -> dict[str, Any]:
    symbol = mark(claim["holds"], binding)
    notes = (claim["unit"], claim["source"], _ONLY_REPORTED if symbol == "○" else "")
    return {
        **claim,
        "mark": symbol,
        "state": {"✓": "good", "✗": "bad", "○": "open"}[symbol],
        "measured": table.number(claim["measured"]) or "not finite",
        "bound": table.number(claim["bound"]),
        "baseline": table.number(claim["baseline"]),
        "notes": list(filter(None, notes)),
        "places": _places(claim),
    }


def _places(claim: dict[str, Any]) -> dict[str, float]:
    """Where the numbers of a claim stand on its strip, in per cent of its width."""
    # In this order they are drawn, one over the other.
    values = {key: claim[key] for key in ("bound", "baseline", "measured")}
    values = {key: value for key, value in values.items() if value is not None}
    if claim["measured"] is None or claim["bound"] is None or len(set(values.values())) == 1:
        return {}
    low, high = min(values.values()), max(values.values())
    if low > 0 and high / low > 20:
        values = {key: math.log(value) for key, value in values.items()}
        low, high = math.log(low), math.log(high)
    return {key: round(8 + 84 * (value - low) / (high - low), 1) for key, value in values.items()}


def _record(record: dict[str, Any]) -> dict[str, str]:
    paper = PUBLISHED.get(record["name"])
    return {
        "name": record["name"],
        "unit": record["unit"],
        "here": table.number(record["value"]),
        "paper": table.number(paper.value) if paper else "",
        "source": paper.source if paper else "",
    }


def _pictures(executed: Path) -> list[dict[str, str]]:
    """The first pictures of an executed notebook, each under the heading it stands below."""
    pictures: list[dict[str, str]] = []
    caption = ""
    try:
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return []
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            headings = re.findall(r"^#{1,6}\s+(.+)$", source, re.MULTILINE)
            caption = headings[-1].replace("`", "").replace("*", "") if headings else caption
        for output in cell.get("outputs", []):
            picture = output.get("data", {}).get("image/png")
            if picture and len(pictures) < _PICTURES:
                alt = output.get("metadata", {}).get("image/png", {}).get("alt", caption)
                source = _data_uri("".join(picture))
                pictures.append({"source": source, "caption": caption, "alt": alt})
    return pictures


def _data_uri(png: str) -> str:
    content = base64.b64decode(png)
    if len(content) > _LARGE:
        from PIL import Image

        with Image.open(io.BytesIO(content)) as image:
            image.thumbnail((_WIDTH, _WIDTH))
            smaller = io.BytesIO()
            image.convert("RGB").quantize(128).save(smaller, "PNG", optimize=True)
        content = min(content, smaller.getvalue(), key=len)
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
