"""What will be run: notebooks with checked parameters, before any of them starts."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aelib
from aelib.runner import UsageError
from aelib.runner.notebooks import Notebook
from aelib.runner.results import versions

DATA_VARIABLE = "AELIB_DATA_DIR"


@dataclass(frozen=True)
class Plan:
    """One notebook to run: `given` is injected, `parameters` is what it then runs with.

    A `part` is a second full profile of the same notebook, with a parameter file and a folder
    of its own: one long experiment, for those who want it.
    """

    notebook: Notebook
    profile: str
    given: dict[str, Any]
    part: str = ""

    @property
    def name(self) -> str:
        return _with_part(self.notebook.name, self.part)

    @property
    def parameters(self) -> dict[str, Any]:
        defaults = {item.name: item.default for item in self.notebook.parameters.values()}
        return {**defaults, **self.given}

    @property
    def code_cells(self) -> int:
        """Cells to execute, the injected one included."""
        return self.notebook.code_cells + bool(self.given)

    def fingerprint(self) -> str:
        """Differs when anything differs that the results depend on."""
        from aelib import data  # NumPy, which `aelib --help` does not need

        dataset = str(self.parameters.get("dataset", ""))
        content = {
            "cells": self.notebook.cells,
            "profile": self.profile,
            "parameters": self.parameters,
            "library": _library_hash(),
            "data": [(item.name, item.path) for item in data.status()],
            "own data": _own_data(Path(dataset)) if dataset not in ("", *data.names()) else [],
            "versions": versions(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def make_plans(
    notebooks: list[Notebook],
    profile: str,
    pairs: tuple[tuple[str, str], ...],
    part: str = "",
) -> list[Plan]:
    """Checks everything that a command line says about `notebooks`.

    Args:
        notebooks: what to run.
        profile: "quick" or "full".
        pairs: `(name, text)` of each `-p`. A parameter that only some of the notebooks have
            is given to those.
        part: which further parameter file of the full profile, "" for the notebook's own.

    Raises:
        UsageError: naming what is wrong, and what exists.
    """
    _check_names(notebooks)
    if part and profile != "full":
        raise UsageError(f"Parts belong to --profile full. Received: --part {part}")
    for name, text in pairs:
        if name == "profile":
            raise UsageError("The profile is chosen with --profile, which sets the sizes as well.")
        if not any(name in notebook.parameters for notebook in notebooks):
            raise UsageError(_unknown(name, text, notebooks))
    return [
        Plan(
            notebook,
            profile,
            {**_profile_values(notebook, profile, part), **_given(notebook, pairs)},
            part,
        )
        for notebook in notebooks
    ]


def resolve_data_folder() -> None:
    """Makes `AELIB_DATA_DIR` absolute: notebooks run in folders of their own.

    Raises:
        UsageError: if it is set and is not a folder.
    """
    value = os.environ.get(DATA_VARIABLE)
    if not value:
        return
    folder = Path(value).expanduser().absolute()
    if not folder.is_dir():
        raise UsageError(
            f"There is no such folder: correct {DATA_VARIABLE}, or unset it. "
            f"Received: {DATA_VARIABLE}={value!r}"
        )
    os.environ[DATA_VARIABLE] = str(folder)


def _check_names(notebooks: list[Notebook]) -> None:
    paths: dict[str, Path] = {}
    for notebook in notebooks:
        other = paths.setdefault(notebook.name, notebook.path)
        if other != notebook.path:
            raise UsageError(
                f"{other} and {notebook.path} would share one folder of the run: "
                "run them one after the other, each with its own --out."
            )


def _given(notebook: Notebook, pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    given = {}
    for name, text in pairs:
        parameter = notebook.parameters.get(name)
        if parameter is None:
            continue
        try:
            value = parameter.read(text)
        except ValueError as error:
            raise UsageError(f"{notebook.name}: {error}\n{_existing([notebook])}") from None
        given[name] = _dataset(value) if name == "dataset" else value
    return given


def _dataset(text: str) -> str:
    from aelib import data  # NumPy, which `aelib --help` does not need

    if text in data.names():
        return text
    path = Path(text).expanduser()
    if (text.endswith(".npz") and path.is_file()) or (text and path.is_dir()):
        return str(path.resolve())
    raise UsageError(
        f"There is no dataset {text!r}. There are: {', '.join(data.names())}, "
        "or the path of a folder of images or of an .npz file with x_train and x_test."
    )


def _own_data(path: Path) -> list[tuple[str, int, int]]:
    """What of a user's own file, or of the files in a folder, differs when they do."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    states = [(str(file), file.stat()) for file in files if file.is_file()]
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def _with_part(name: str, part: str) -> str:
    return f"{name}_{part}" if part else name


def _profile_values(notebook: Notebook, profile: str, part: str) -> dict[str, Any]:
    if profile == "quick":  # what the notebook itself says
        return {}
    stem = notebook.path.stem
    path = notebook.profiles / profile / f"{_with_part(stem, part)}.yaml"
    if part and not path.is_file():
        files = sorted(path.parent.glob(f"{stem}_*.yaml"))
        parts = ", ".join(file.stem.removeprefix(f"{stem}_") for file in files) or "none"
        raise UsageError(f"{notebook.name} has no part {part!r}. There are: {parts}")
    if not path.is_file():
        raise UsageError(f"{notebook.name} has no profile {profile!r}: there is no {path}.")
    import yaml  # which `aelib doctor` does not need

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path} does not map parameter names to values.")
    if values.get("profile") != profile:
        raise UsageError(f"{path} does not say `profile: {profile}`.")
    checked = {}
    for name, value in values.items():
        if name not in notebook.parameters:
            raise UsageError(f"{path}: {_unknown(name, value, [notebook])}")
        try:
            value = notebook.parameters[name].check(value)
        except ValueError as error:
            raise UsageError(f"{path}: {error}\n{_existing([notebook])}") from None
        checked[name] = _dataset(value) if name == "dataset" else value
    return checked


def _unknown(name: str, value: Any, notebooks: list[Notebook]) -> str:
    return f"There is no parameter {name!r}. Received: {name}={value!r}\n{_existing(notebooks)}"


def _existing(notebooks: list[Notebook]) -> str:
    lines = []
    for notebook in notebooks:
        lines.append(f"Parameters of {notebook.name}:")
        lines += [f"    {item}" for item in notebook.parameters.values()] or ["    none"]
    return "\n".join(lines)


def _library_hash() -> str:
    """Of the library's sources, without the command's own: these change no result."""
    root = Path(aelib.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.csv")]):
        relative = path.relative_to(root)
        if relative.parts[0] != "runner":
            digest.update(relative.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
