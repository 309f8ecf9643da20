"""The page of a run, `index.html`, and a page of each executed notebook."""

import base64
import io
import math
import re
import warnings
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template

from aelib._files import write_whole
from aelib._format import FORMULA, format_number, mark
from aelib.published import PUBLISHED
from aelib.runner import UsageError, table
from aelib.runner.notebooks import Notebook, checkout, numbered
from aelib.runner.plan import digest
from aelib.runner.results import Result, read_result

_LONG = 500_000  # characters, five times a lesson's: more take minutes to convert


def read_run(folder: Path) -> list[Result]:
    """Every result in the folder of a run, or in one of plain `NAME.json` files.

    Raises:
        UsageError: if there is none, or a file is not what it should be, naming the file.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    ends = {path.parent: path for path in folder.glob("*/results.json")}
    ends |= {path.parent: path for path in folder.glob("*/fault.json")}  # always the newer
    results = [read_result(path) for path in sorted([*ends.values(), *folder.glob("*.json")])]
    if not results:
        raise UsageError(f"{folder} holds no results of a run.")
    return sorted(results, key=lambda result: result.notebook)


def write_index(folder: Path, results: list[Result]) -> Path:
    """Writes `index.html` into the folder of a run, and an HTML beside each executed notebook."""
    places = {path.name: path for path in folder.glob("*/")}
    sources = {notebook.name: _Executed(notebook.path) for notebook in numbered(checkout())}
    sections = [(item, _executed(item, places), sources.get(item.notebook)) for item in results]
    template = Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    page = Template(template, autoescape=True, undefined=StrictUndefined).render(
        **{"results": results, "sections": sections, "PUBLISHED": PUBLISHED, "FORMULA": FORMULA},
        **{"table": table, "plain": _plain, "log": math.log, "float": float},
        **{"format_number": format_number, "mark": mark},
    )
    path = folder / "index.html"
    try:
        write_whole(path, page.encode(errors="backslashreplace"))
    except OSError as error:
        raise UsageError(f"The report cannot be written: {error}.") from None
    return path


class _Executed(Notebook):
    """A notebook as a run left it, read once; what is damaged in it is not shown."""

    @cached_property
    def content(self) -> Any:
        import nbformat

        try:
            content = nbformat.reads(self.text, as_version=4)
            nbformat.validate(content)
            return content
        except Exception:  # there is no end to what can be wrong with a file
            return nbformat.v4.new_notebook()

    @cached_property
    def cells(self) -> list[dict]:
        nodes = self.content.cells
        return [{**n, "type": n.cell_type, "tags": n.metadata.get("tags", [])} for n in nodes]

    @property
    def pictures(self) -> list[dict[str, Any]]:
        """The first four, those of cells tagged `report` before others."""
        found, heading = [], ""
        for cell in self.cells:
            if cell["type"] == "markdown":
                heading = [heading, *re.findall(r"^#{1,6} +(.+)$", cell["source"], re.M)][-1]
            untagged = "report" not in cell["tags"]
            found += [(untagged, output, heading) for output in cell.get("outputs", [])]
        found.sort(key=lambda item: item[0])
        pictures = (_picture(output, heading) for _, output, heading in found)
        return list(islice(filter(None, pictures), 4))

    @property
    def link(self) -> Path:
        """Its HTML, made here unless it is there and newer; itself if that fails."""
        page = self.path.with_suffix(".html")
        try:
            if not page.is_file() or page.stat().st_mtime < self.path.stat().st_mtime:
                from nbconvert import HTMLExporter

                if not self.cells or len(re.sub(r"[\w+/=\\]{1000,}", "", self.text)) > _LONG:
                    return self.path
                text, _ = HTMLExporter(template_name="classic").from_notebook_node(self.content)
                write_whole(page, text.encode(errors="backslashreplace"))
            return page
        except Exception:
            return self.path


def _executed(result: Result, places: dict[str, Path]) -> _Executed | None:
    """The notebook in a result's folder, which a grid names by the parameters as well."""
    name = f"{result.notebook}-{digest(result.parameters)[:8]}"
    place = places.get(name) or places.get(result.notebook)
    paths = sorted(place.glob("*.ipynb")) if place else []
    fits = [path for path in paths if (path.name == "fault.ipynb") == bool(result.fault)]
    return _Executed(fits[0]) if fits else None


def _picture(output: Any, heading: str) -> dict[str, Any] | None:
    """A PNG as the page takes it, a large one made smaller; None of anything else."""
    from PIL import Image

    try:
        content = base64.b64decode(output.data["image/png"])
        alt = output.metadata.get("image/png", {}).get("alt", heading)
        with warnings.catch_warnings(action="error"), Image.open(io.BytesIO(content)) as image:
            image.load()
            aspect = round(image.width / image.height, 3)
            if len(content) > 300_000:
                image.thumbnail((1000, 1000))
                smaller = io.BytesIO()
                image.convert("RGB").quantize(128).save(smaller, "PNG", optimize=True)
                content = min(content, smaller.getvalue(), key=len)
    except Exception:
        return None
    return {"png": base64.b64encode(content).decode(), "alt": _plain(str(alt)), "aspect": aspect}


def _plain(text: str) -> str:
    """Text without the signs of Markdown and TeX, whose commands become characters."""
    from IPython.core.latex_symbols import latex_symbols as symbols

    text = re.sub(r"\\([a-zA-Z]+|.)", lambda m: symbols.get(m[0], m[1].strip(",;:! ")), text)
    return re.sub("[`*${}]", "", text)
