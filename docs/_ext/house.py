"""What the site adds to Sphinx: notebooks as they are stored, claims, a gallery, live pictures."""

import base64
import csv
import hashlib
import inspect
import json
import re
import shutil
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import gallery
import nbformat
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"(Input shape|Output shape|References?|Raises|Returns): (\S.*)")
LINK = re.compile(r"\[([^]]+)\]\((\S+?)\)")
FRONT = """<!doctype html>
<meta charset="utf-8"><meta http-equiv="refresh" content="0; url={0}"><a href="{0}">{0}</a>
"""
alternative_texts: dict[str, str] = {}  # of pictures in outputs, by the hash that names their file


def slug(title: str) -> str:
    """The anchor of a heading, as JupyterLab makes it."""
    return title.strip().replace(" ", "-")


def read_notebook(text: str) -> nbformat.NotebookNode:
    """A stored notebook: its parameters folded away, its pictures with their texts, no badge."""
    notebook = nbformat.reads(text, as_version=4)
    first = notebook.cells[0]
    first.source = re.sub(r"\[!\[Open in Colab\].*\n?", "", first.source)  # an image from elsewhere
    for cell in notebook.cells:
        tags = cell.metadata.setdefault("tags", [])
        if "parameters" in tags:
            tags.append("hide-input")
        for output in cell.get("outputs", ()):
            text = output.get("metadata", {}).get("image/png", {}).get("alt")
            if text:
                png = base64.b64decode(output.data["image/png"])
                alternative_texts[hashlib.sha256(png).hexdigest()] = text
    return notebook


def link_readme(app: Sphinx, document: str, source: list[str]) -> None:
    """The front page is what README.md is in the checkout."""
    readme = r"\]\((\.\./)*README\.md(#[^)]*)?\)"
    source[0] = re.sub(readme, f"](/{app.config.root_doc}.md)", source[0])


def mend(app: Sphinx, doctree: nodes.document) -> None:
    """Pictures have their alternative texts; the runs of studies are reached from their reports."""
    app.env.metadata[app.env.docname].setdefault("orphan", app.env.docname.endswith("/run"))
    for image in doctree.findall(nodes.image):
        text = alternative_texts.get(Path(image["uri"]).stem)
        if text:
            image["alt"] = text


def from_markdown(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list) -> None:
    """Docstrings are written in Markdown: code, links; autodoc reads reStructuredText."""
    written: list[str] = []
    in_code = in_section = False
    for line in lines:
        indent = line[: len(line) - len(line.lstrip())]
        if line.strip().startswith("```"):
            in_code = not in_code
            written += [f"{indent}.. code-block:: python", ""] if in_code else [""]
            continue
        if in_code:
            written.append(f"    {line}")
            continue
        section = SECTION.match(line)
        if section:  # with its text on the same line
            line = f"**{section[1]}.** {section[2]}"
            written.append("")
        in_section = bool(section or (in_section and line.strip()))
        written.append(_in_restructured_text(line.strip() if in_section else line))
    lines[:] = written


def _in_restructured_text(line: str) -> str:
    if link := LINK.search(line):
        before, after = line[: link.start()], line[link.end() :]
        made = f"`{link[1]} <{link[2]}>`__"
        return f"{_in_restructured_text(before)}{made}{_in_restructured_text(after)}"
    parts = re.split(r"`([^`]+)`", line)
    parts[::2] = [part.replace("_", r"\_") for part in parts[::2]]
    parts[1::2] = [f"``{part}``" for part in parts[1::2]]
    return "".join(parts)


def add_signature(app: Sphinx, what: str, name: str, obj: Any, *rest: Any) -> tuple | None:
    """Keras hides the arguments of layers and models behind those of `__new__`."""
    if what != "class" or not obj.__module__.startswith("aelib"):
        return None
    _, *own = inspect.signature(obj.__init__).parameters.values()
    return f"({', '.join(str(one.replace(annotation=one.empty)) for one in own)})", None


class Gallery(SphinxDirective):
    """The lessons as cards: thumbnail, title, question, minutes."""

    def run(self) -> list[nodes.Node]:
        cards = [
            f"""::::{{grid-item-card}} {lesson.number} {lesson.title}
:link: /notebooks/{lesson.name}
:link-type: doc
:img-top: /{lesson.thumbnail}
:img-alt: {lesson.alt}

{lesson.question}
:::{{card-footer}}
{lesson.minutes} minutes
:::
::::"""
            for lesson in gallery.lessons()
        ]
        grid = "\n".join([":::::{grid} 1 2 3 3", ":gutter: 3", "", *cards, ":::::"])
        return self.parse_text_to_nodes(grid)


class Margins(SphinxDirective):
    """Every claim over seeds and datasets, from results/margins.csv, one table a lesson."""

    def run(self) -> list[nodes.Node]:
        path = ROOT / "results/margins.csv"
        self.env.note_dependency(str(path))
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        titles = {lesson.name: f"{lesson.number} {lesson.title}" for lesson in gallery.lessons()}
        parts = []
        for name, claims in groupby(rows, key=itemgetter("notebook")):
            parts.append(f"## [{titles[name]}](/notebooks/{name}.ipynb)\n")
            parts.append("| claim | images | measured | needed | held | margin |")
            parts.append("|---|---|---:|---:|---:|---:|")
            before = None
            for row in sorted(claims, key=itemgetter("statement")):
                claim = row["statement"].replace("|", "\\|")
                measured = " ± ".join(number(row[key]) for key in ("mean", "spread") if row[key])
                needed = f"{row['relation']} {number(row['bound'])}"
                cells = [claim * (claim != before), row["dataset"], measured, needed]
                cells += [f"{row['held']} of {row['runs']}", number(row["margin"])]
                parts.append(f"| {' | '.join(cells)} |")
                before = claim
            parts.append("")
        return self.parse_text_to_nodes("\n".join(parts), allow_section_headings=True)


def number(text: str) -> str:
    """Three digits of it."""
    return f"{float(text):.3g}" if text else ""


class Live(SphinxDirective):
    """A live picture: docs/live/NAME.html, or the one among the stored outputs of a lesson."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = ROOT / "docs/live" / f"{self.arguments[0]}.html"
        if path.exists():
            picture = path.read_text("utf-8")
        else:
            path = ROOT / "notebooks" / f"{self.arguments[0]}.ipynb"
            cells = json.loads(path.read_text("utf-8"))["cells"]
            outputs = [output for cell in cells for output in cell.get("outputs", ())]
            pages = ["".join(output.get("data", {}).get("text/html", ())) for output in outputs]
            (picture,) = (page for page in pages if "data-aelib-explorer" in page)
        self.env.note_dependency(str(path))
        return [nodes.raw("", picture, format="html")]


def finish(app: Sphinx, exception: Exception | None) -> None:
    """The address of the site alone leads to its front page; MathJax comes with it."""
    if exception or app.builder.name != "html":
        return
    front = app.builder.get_target_uri(app.config.root_doc)
    Path(app.outdir, "index.html").write_text(FRONT.format(front), encoding="utf-8")
    source, target = app.config.mathjax.parent, Path(app.outdir, "_static/mathjax")
    fonts = "output/chtml/fonts/woff-v2"
    shutil.copytree(source / fonts, target / fonts, dirs_exist_ok=True)
    shutil.copy(source / app.config.mathjax.name, target)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("mathjax", None, "html", types=[type(Path())])
    app.add_directive("gallery", Gallery)
    app.add_directive("margins", Margins)
    app.add_directive("live", Live)
    app.connect("source-read", link_readme)
    app.connect("doctree-read", mend)
    app.connect("autodoc-process-docstring", from_markdown, priority=400)
    app.connect("autodoc-process-signature", add_signature)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": False}
