"""The lessons that come with the package, and a reader's own copy of them."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import aelib
from aelib._files import write_whole
from aelib._format import printable
from aelib.runner import UsageError
from aelib.runner.notebooks import Notebook, lesson, numbered

FOLDER = "aelib-lessons"  # where they go unless the reader names a folder
_RECORD = ".aelib-lessons.json"  # the SHA-256 of every file as the package had it
_PARTS = ("notebooks", "studies")
_SUFFIXES = (".ipynb", ".yaml", ".svg")
_NEEDED = ("jupyterlab", "papermill", "pandas", "skimage")  # by what comes next: `aelib[run]`
NEW, REPLACED, SAME, KEPT = "new", "replaced", "as before", "kept, for you have changed them"


def origin() -> Path:
    """The folder that the lessons come from: an installed package, else its checkout."""
    package = Path(aelib.__file__).resolve().parent
    return package if (package / "notebooks").is_dir() else package.parent


def read_arguments(folder: str | None, texts: Sequence[str]) -> tuple[Path, list[Notebook]]:
    """The folder and the lessons that a command line means, `[FOLDER] [LESSON]...`.

    A first word that is a number, or the name of a lesson, is a lesson. Inside a folder of
    lessons, that folder is the default.

    Raises:
        UsageError: for a lesson that does not exist, and for an installation without lessons.
    """
    known = numbered(origin())
    if not known:
        raise UsageError(f"There are no lessons in {origin()}: install aelib again.")
    if folder == "":
        raise UsageError("FOLDER must not be empty. Received: ''")
    named = list(texts)
    if folder and (folder.isdecimal() or _is_lesson(folder, known)):
        named.insert(0, folder)
        folder = None
    place = folder or ("." if Path(_RECORD).is_file() else FOLDER)
    chosen = [lesson(text, known) for text in named] or known
    return Path(place), [item for item in known if item in chosen]


def copy(folder: Path, lessons: list[Notebook], *, force: bool = False) -> dict[str, str]:
    """Copies lessons with solutions and profiles, and the studies and pictures, into `folder`.

    A file that the reader has changed is kept, unless `force` says otherwise. One that is as it
    was copied takes the form of the package installed now.

    Returns:
        What became of each file, by its path below the folder.

    Raises:
        UsageError: if the folder cannot be written.
    """
    source = origin()
    if folder.is_file():
        raise UsageError(f"FOLDER must be a folder. Received: {folder}, which is a file")
    record, outcomes = _read_record(folder), {}
    try:
        if folder.resolve() == source:
            raise UsageError(f"The lessons come from {source}: name another folder.")
        for path in _files(source, lessons):
            name = path.relative_to(source).as_posix()
            content, target = path.read_bytes(), folder / name
            outcome = _outcome(target, content, record.get(name), force)
            if outcome in (NEW, REPLACED):
                target.parent.mkdir(parents=True, exist_ok=True)
                write_whole(target, content)
            record[name], outcomes[name] = _hash(content), outcome
        write_whole(folder / _RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        raise UsageError(f"The lessons cannot be written into {folder}: {error}") from None
    return outcomes


def summary(folder: Path, lessons: list[Notebook], outcomes: dict[str, str]) -> str:
    """What became of the files, and what to type next."""
    counts = Counter(outcomes.values())
    files = ", ".join(f"{counts[key]} {key}" for key in (NEW, REPLACED, SAME, KEPT) if counts[key])
    lines = [f"The lessons are in {folder} (files: {files})."]
    if counts[KEPT]:
        lines += [f"    {name}" for name, outcome in outcomes.items() if outcome == KEPT]
        lines += ["With --force these are replaced as well."]
    shown = f'"{folder}"' if " " in str(folder) else str(folder)
    first = lessons[0].path
    steps = {
        f"jupyter lab {shown}": f"begin with notebooks/{first.name}",
        f"cd {shown}": "`aelib list` names what is there",
        f"aelib run {first.stem.split('_')[0]}": "runs it, and checks what it claims",
    }
    if not all(map(find_spec, _NEEDED)):
        steps = {"pip install 'aelib[run]'": "JupyterLab, and what lessons import", **steps}
    width = max(map(len, steps))
    lines += ["Next:", *(f"    {command:{width}}  # {why}" for command, why in steps.items())]
    return "\n".join(map(printable, lines))


def _is_lesson(text: str, known: list[Notebook]) -> bool:
    try:
        return bool(lesson(text, known))
    except UsageError:
        return False


def _files(source: Path, lessons: list[Notebook]) -> list[Path]:
    """What belongs to these lessons, or to no lesson."""
    chosen = {item.path.stem for item in lessons}
    others = tuple({item.path.stem for item in numbered(source)} - chosen)
    paths = [path for part in _PARTS for path in sorted((source / part).rglob("*"))]
    return [
        path
        for path in paths
        if path.suffix in _SUFFIXES
        and not path.name.startswith(others)
        and not any(part.startswith(".") for part in path.relative_to(source).parts)
    ]


def _outcome(target: Path, content: bytes, recorded: str | None, force: bool) -> str:
    if not target.exists():
        return NEW
    there = target.read_bytes()
    if there == content:
        return SAME
    return REPLACED if force or recorded == _hash(there) else KEPT


def _read_record(folder: Path) -> dict[str, str]:
    """What was copied before; nothing if that cannot be read, so that every change is kept."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
