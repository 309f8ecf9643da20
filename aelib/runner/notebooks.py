"""Which notebooks there are, and what their first cells say."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import aelib
from aelib.runner import UsageError
from aelib.runner.parameters import Parameter, read_parameters

_ERROR_TAG = "papermill-error-cell-tag"  # of cells that papermill adds when a run breaks off
_NUMBERED = re.compile(r"(\d+)_(.+)")


@dataclass(frozen=True)
class Notebook:
    """A notebook file, read once: what is run is what was read."""

    path: Path

    @property
    def name(self) -> str:
        """What its folder in a run is called: its own name, or that of its study."""
        if self.path.stem in ("run", "report"):
            return self.path.parent.name
        is_solution = self.path.parent.name == "solutions"
        return f"{self.path.stem}_solutions" if is_solution else self.path.stem

    @cached_property
    def text(self) -> str:
        try:
            str(self.path).encode()
            return self.path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.path} cannot be read: {error}") from None

    @cached_property
    def cells(self) -> list[dict]:
        """Each cell as `{"type", "source", "tags"}`, the source as one string."""
        try:
            return [
                {
                    "type": cell["cell_type"],
                    "source": "".join(cell["source"]),
                    "tags": cell["metadata"].get("tags", []),
                }
                for cell in json.loads(self.text)["cells"]
            ]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(f"{self.path} cannot be read as a notebook: {error!r}") from None

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters by name, in the order of the cell tagged `parameters`."""
        for cell in self.cells:
            if "parameters" in cell["tags"]:
                try:
                    return read_parameters(cell["source"])
                except ValueError as error:
                    raise UsageError(f"{self.path}, cell tagged `parameters`: {error}") from None
        return {}

    @cached_property
    def heading(self) -> tuple[str, str]:
        """The title and the question: first heading and first block quote of the first cell."""
        texts = [
            cell["source"]
            for cell in self.cells
            if cell["type"] == "markdown" and _ERROR_TAG not in cell["tags"]
        ]
        lines = [line.strip() for line in "".join(texts[:1]).splitlines()]
        title = next((line.lstrip("# ") for line in lines if line.startswith("#")), self.name)
        question = " ".join(line.lstrip("> ") for line in lines if line.startswith(">"))
        return title, question.replace("*", "").strip()


def checkout() -> Path | None:
    """The folder that holds `notebooks/`: from here upwards, else beside the package."""
    try:
        here = Path.cwd()
    except OSError:  # the folder is gone
        here = Path("/")
    for folder in (here, *here.parents, Path(aelib.__file__).resolve().parents[1]):
        if numbered(folder):
            return folder
    return None


def numbered(root: Path | None) -> list[Notebook]:
    """The numbered notebooks of a checkout, in order."""
    paths = sorted((root / "notebooks").glob("*.ipynb")) if root else []
    return [Notebook(path) for path in paths if _NUMBERED.fullmatch(path.stem)]


def choose(texts: tuple[str, ...], root: Path | None) -> list[Notebook]:
    """The notebooks that a command line names, each as number, name, file or folder.

    Raises:
        UsageError: for a name that nothing answers to, listing what exists.
    """
    known = numbered(root)
    if not texts and not known:
        raise UsageError(
            "There are no lessons here: fetch them with `aelib get` and go to their folder, "
            "or name a file."
        )
    named = [notebook for text in texts for notebook in _named(text, known)] if texts else known
    return list({notebook.path: notebook for notebook in named}.values())


def study(text: str, root: Path | None) -> Notebook | None:
    """The run.ipynb of the study that a command line names, by folder or by name, if it is one."""
    for folder in (Path(text), (root or Path()) / "studies" / text):
        if (folder / "grid.yaml").is_file():
            return Notebook((folder / "run.ipynb").resolve())
    return None


def _named(text: str, known: list[Notebook]) -> list[Notebook]:
    path = Path(text)
    if path.is_dir() and not text.isdecimal():
        inside = sorted(path.resolve().glob("*.ipynb"))
        if not inside:
            raise UsageError(f"The folder {text} holds no notebooks.")
        return [Notebook(item) for item in inside]
    if path.suffix == ".ipynb" and path.is_file():
        return [Notebook(path.resolve())]
    return [lesson(text, known)]


def lesson(text: str, known: list[Notebook]) -> Notebook:
    """The numbered notebook that a number or a name means.

    Raises:
        UsageError: if there is none, listing what exists.
    """
    for notebook in known:
        number, rest = notebook.path.stem.split("_", 1)
        is_number = text.isdecimal() and int(text) == int(number)
        if is_number or text.removesuffix(".ipynb") in (notebook.path.stem, rest):
            return notebook
    names = ", ".join(notebook.path.stem for notebook in known) or "none in this folder"
    raise UsageError(f"There is no notebook {text!r}. There are: {names}.")
