"""The lessons as README.md and the site show them: `python tools/gallery.py`.

Cuts docs/gallery/NN.webp out of the stored outputs and writes the gallery of README.md between
`<!-- gallery -->` and `<!-- /gallery -->`. Title, question and minutes come from the notebooks.
"""

import base64
import json
import re
import tomllib
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

from aelib.runner.notebooks import Notebook, numbered

ROOT = Path(__file__).parents[1]
COLAB = "https://colab.research.google.com"
COLUMNS = 4
SIZE = (640, 400)  # pixels of a thumbnail, two for each one that a page shows
IN_WORDS = {
    "twenty minutes": 20,
    "twenty-five minutes": 25,
    "half an hour": 30,
    "three quarters of an hour": 45,
    "an hour": 60,
}


@dataclass(frozen=True)
class Cut:
    """Which part of which stored figure a thumbnail shows."""

    cell: str  # id of the cell that shows the figure
    box: tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the figure
    alt: str


CUTS = {
    "00": Cut("maps", (4, 40, 712, 397), "Two maps of digits: PCA's overlap, the other's less"),
    "01": Cut("term", (130, 36, 700, 392), "Level lines of a KL divergence around its zero"),
    "02": Cut("components", (113, 55, 671, 400), "Principal components in red and blue"),
    "03": Cut("rows", (163, 34, 655, 341), "Digits, blurred by PCA, sharp from an autoencoder"),
    "04": Cut("sheet", (12, 55, 372, 288), "Features of a sparse code: strokes and hooks"),
    "05": Cut("wrong-figure", (530, 30, 1112, 362), "Bars: the Jacobian that six penalties leave"),
    "06": Cut("arrows", (425, 58, 1209, 425), "A denoiser's arrows lead back to a spiral"),
    "07": Cut("ghosts", (192, 38, 806, 448), "Digits with and without pretraining"),
    "08": Cut("ladder-picture", (99, 36, 720, 424), "Digits with noise, cleaned by a ladder"),
    "09": Cut("sheet", (0, 34, 1002, 660), "A plane of digits, each like its neighbours"),
    "10": Cut("explorer", (13, 0, 627, 384), "A face that smiles, puts on glasses, grows a beard"),
    "11": Cut("others-areas", (182, 40, 656, 338), "Negatives, noise and faces: no digits"),
    "12": Cut("kept", (112, 40, 640, 353), "Digits, their files read back, and PCA's"),
    "13": Cut("smile", (152, 322, 714, 740), "Smiles, the same on other faces, and drawn there"),
}  # fmt: skip


@dataclass(frozen=True)
class Lesson:
    """One row of the gallery. Paths are seen from the root of the checkout."""

    number: str
    name: str  # of the file, without .ipynb
    title: str
    question: str
    minutes: int  # to read
    thumbnail: str
    alt: str  # of the thumbnail


def lessons(root: Path = ROOT) -> list[Lesson]:
    """The lessons of a checkout, in order."""
    return [_lesson(notebook) for notebook in numbered(root)]


def _lesson(notebook: Notebook) -> Lesson:
    heading, question = notebook.heading
    number, title = heading.split(maxsplit=1)
    minutes = _minutes(notebook)
    thumbnail = f"docs/gallery/{number}.webp"
    return Lesson(number, notebook.name, title, question, minutes, thumbnail, CUTS[number].alt)


def _minutes(notebook: Notebook) -> int:
    """What "... to run, half an hour to read." says, in minutes."""
    prose = "\n".join(cell["source"] for cell in notebook.cells if cell["type"] == "markdown")
    found = re.search(r"to run[^.]*?, (?:about )?([\w -]+) to read", prose)
    words = found[1] if found else ""
    if digits := re.fullmatch(r"(\d+) minutes", words):
        return int(digits[1])
    if words not in IN_WORDS:
        known = ", ".join(["N minutes", *IN_WORDS])
        raise SystemExit(
            f"{notebook.name} must say how long it takes to read: {known}. Received: {words!r}"
        )
    return IN_WORDS[words]


def site(repository: str) -> str:
    """The address of the site of `owner/name`."""
    owner, name = repository.split("/")
    return f"https://{owner}.github.io/{name}"


def links(name: str, repository: str) -> dict[str, str]:
    """Where a lesson can be read and where it can be run, without installing anything."""
    return {
        "site": f"{site(repository)}/notebooks/{name}.html",
        "Colab": f"{COLAB}/github/{repository}/blob/main/notebooks/{name}.ipynb",
    }


def gallery(rows: list[Lesson], repository: str | None) -> str:
    """The gallery as GitHub renders it, with links to the outside where there is an address."""
    cells = [_cell(lesson, repository) for lesson in rows]
    lines = ["<table>"]
    for start in range(0, len(cells), COLUMNS):
        lines += ["<tr>", *cells[start : start + COLUMNS], "</tr>"]
    return "\n".join([*lines, "</table>"])


def _cell(lesson: Lesson, repository: str | None) -> str:
    image = f'<img src="{lesson.thumbnail}" width="320" alt="{escape(lesson.alt)}">'
    title = f"<b>{lesson.number} {escape(lesson.title)}</b>"
    notes = [f"{lesson.minutes} minutes"]
    if repository:
        outside = links(lesson.name, repository).items()
        notes += [f'<a href="{address}">{where}</a>' for where, address in outside]
    heading = f'<a href="notebooks/{lesson.name}.ipynb">{image}<br>{title}</a>'
    parts = [heading, f"<sub>{' · '.join(notes)}</sub>", escape(lesson.question, quote=False)]
    return f'<td width="{100 // COLUMNS}%" valign="top">{"<br>".join(parts)}</td>'


def updated(text: str, rows: list[Lesson], repository: str | None) -> str:
    """The text of README.md with its gallery written anew."""
    pattern = r"(?s)(<!-- gallery -->\n).*?(\n<!-- /gallery -->)"
    text, count = re.subn(pattern, lambda m: m[1] + gallery(rows, repository) + m[2], text)
    if count != 1:
        raise SystemExit(f"One place `<!-- gallery -->` was expected. Received: {count}")
    return text


def thumbnail(notebook: Path, cut: Cut) -> Image.Image:
    """The part of a stored figure, as large as fits on a white card."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []) if cell["id"] == cut.cell else []:
            if png := output.get("data", {}).get("image/png"):
                figure = Image.open(BytesIO(base64.b64decode(png))).convert("RGB")
                return _on_a_card(figure.crop(cut.box))
    raise SystemExit(f"{notebook.name} has no figure in the cell {cut.cell!r}: see CUTS.")


def _on_a_card(part: Image.Image) -> Image.Image:
    scale = min(SIZE[0] / part.width, SIZE[1] / part.height)
    part = part.resize((round(part.width * scale), round(part.height * scale)), Image.LANCZOS)
    card = Image.new("RGB", SIZE, "white")
    card.paste(part, ((SIZE[0] - part.width) // 2, (SIZE[1] - part.height) // 2))
    return card


def address(root: Path = ROOT) -> str | None:
    """The `owner/name` that pyproject.toml was stamped with."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "").removeprefix("https://github.com/") or None


if __name__ == "__main__":
    for lesson in lessons():
        (ROOT / lesson.thumbnail).parent.mkdir(exist_ok=True)
        notebook = ROOT / "notebooks" / f"{lesson.name}.ipynb"
        card = thumbnail(notebook, CUTS[lesson.number])
        card.save(ROOT / lesson.thumbnail, quality=50, method=6)
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(updated(text, lessons(), address()), encoding="utf-8")
