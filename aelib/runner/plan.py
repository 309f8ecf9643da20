"""What will be run: notebooks with checked parameters, before any of them starts."""

import hashlib
import itertools
import json
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import aelib
from aelib.runner import UsageError
from aelib.runner.notebooks import Notebook
from aelib.runner.results import versions

DATA_VARIABLE = "AELIB_DATA_DIR"
_RANGE = re.compile(r"(-?\d+):(-?\d+)")  # 0:5 is 0, 1, 2, 3, 4
_MOST = 10_000  # runs of a grid


@dataclass(frozen=True)
class Plan:
    """One run of a notebook: `given` is injected, `parameters` is what it then runs with.

    A run `in_grid` has siblings, and is told from them by its parameters.
    """

    notebook: Notebook
    profile: str
    given: dict[str, Any]
    in_grid: bool = False

    @property
    def name(self) -> str:
        return self.notebook.name

    @property
    def id(self) -> str:
        """The name of the run's folder."""
        return f"{self.name}-{digest(self.parameters)[:8]}" if self.in_grid else self.name

    @property
    def shown(self) -> str:
        """What is given, for a person: `seed=1 dataset=digits`."""
        return " ".join(f"{name}={value}" for name, value in self.given.items())

    @property
    def parameters(self) -> dict[str, Any]:
        defaults = {item.name: item.default for item in self.notebook.parameters.values()}
        return {**defaults, **self.given}

    @cached_property
    def cells(self) -> int:
        """Code cells to execute, the injected one included."""
        code = [cell for cell in self.notebook.cells if cell["type"] == "code"]
        return sum(bool(cell["source"].strip()) for cell in code) + bool(self.given)

    def fingerprint(self) -> str:
        """Differs when anything differs that the results depend on."""
        data = _data_states(self.parameters)
        content = [self.notebook.cells, self.profile, self.parameters, _library_hash(), data]
        return digest([*content, versions()])


def make_plans(
    notebooks: list[Notebook],
    profile: str,
    pairs: list[tuple[str, str]],
    *,
    grid: bool = False,
) -> list[Plan]:
    """Checks everything that a command line says, and combines the values that it gives.

    Args:
        notebooks: what to run.
        profile: "quick" or "full"; "smoke" or "full" of a study.
        pairs: `(name, text)` of each `-p`; a name that comes again has one more value. A
            parameter that only some of the notebooks have is given to those.
        grid: whether there may be several runs of one notebook.

    Raises:
        UsageError: naming what is wrong, and what exists.
    """
    paths: dict[str, Path] = {}
    for notebook in notebooks:
        other = paths.setdefault(notebook.name, notebook.path)
        if other != notebook.path:
            raise UsageError(
                f"{other} and {notebook.path} would share one folder of the run: "
                "run them one after the other, each with its own --out."
            )
    for name, text in pairs:
        if name == "profile":
            raise UsageError("The profile is chosen with --profile, which sets the sizes as well.")
        if not any(name in notebook.parameters for notebook in notebooks):
            raise UsageError(_unknown(name, text, notebooks))
    plans: list[Plan] = []
    for notebook in notebooks:
        values: dict[str, list] = _profile_values(notebook, profile)
        for name in dict.fromkeys(name for name, _ in pairs if name in notebook.parameters):
            texts = [text for other, text in pairs if other == name]
            values[name] = _read(notebook.name, notebook, name, texts)
        several = [f"{name}={items}" for name, items in values.items() if len(items) > 1]
        if several and not grid:
            raise UsageError(
                "`aelib run` takes one value of each parameter, `aelib grid` takes several. "
                f"Received: {', '.join(several)}"
            )
        for items in itertools.product(*values.values()):
            given = dict(zip(values, items, strict=True))
            plans.append(Plan(notebook, profile, given, grid))
            if len(plans) > _MOST:
                raise UsageError(f"A grid has at most {_MOST:,} runs. Received: more")
    return plans


def resolve_data_folder() -> None:
    """Makes `AELIB_DATA_DIR` absolute: notebooks run in folders of their own.

    Raises:
        UsageError: if it is set and is not a folder.
    """
    value = os.environ.get(DATA_VARIABLE)
    if not value:
        return
    folder = Path(os.path.abspath(Path(value).expanduser()))
    if not folder.is_dir():
        raise UsageError(
            f"There is no such folder: correct {DATA_VARIABLE}, or unset it. "
            f"Received: {DATA_VARIABLE}={value!r}"
        )
    os.environ[DATA_VARIABLE] = str(folder)


def prefetch(plans: list[Plan]) -> None:
    """Downloads and draws the datasets that plans name, once, before they start side by side."""
    from aelib import data  # NumPy, which `aelib --help` does not need

    names = {str(plan.parameters.get("dataset")) for plan in plans}
    for notebook in {plan.notebook.path: plan.notebook for plan in plans}.values():
        if notebook.path.stem == "run":  # of a study
            path = notebook.path.with_name("grid.yaml")
            more = _read_yaml(path).get("prefetch") or []
            if not isinstance(more, list) or set(map(str, more)) - set(data.names()):
                raise UsageError(f"{path}: `prefetch` must list datasets. Received: {more!r}")
            names |= set(more)
    for name in names & set(data.names()) - {"celeba"}:
        data.load_or_embedded(name)


def _read(source: Any, notebook: Notebook, name: str, items: list) -> list:
    """Each value once, of the parameter's type, ranges written out and datasets found.

    `items` are texts of a command line, or, if `source` is a file, values of any type.
    """
    parameter = notebook.parameters[name]
    read = parameter.check if isinstance(source, Path) else parameter.read
    values: list = []
    try:
        for item in items:
            span = _RANGE.fullmatch(item) if isinstance(item, str) else None
            if span and "int" in parameter.kinds:
                values += itertools.islice(range(int(span[1]), int(span[2])), _MOST + 1)
            else:
                values.append(_dataset(read(item)) if name == "dataset" else read(item))
        if not values:
            raise ValueError(f"`{name}` must have at least one value. Received: {name}={items!r}")
    except ValueError as error:
        raise UsageError(f"{source}: {error}\n{_existing([notebook])}") from None
    return list({json.dumps(value): value for value in values}.values())


def _profile_values(notebook: Notebook, profile: str) -> dict[str, list]:
    """What a notebook's parameter file says, or a study's `grid.yaml`: values of each parameter."""
    if profile == "quick":  # what the notebook itself says
        return {}
    is_study, stem = notebook.path.stem == "run", notebook.path.stem
    path = notebook.path.parent / "profiles" / profile / f"{stem}.yaml"
    path = notebook.path.with_name("grid.yaml") if is_study else path
    if not path.is_file():
        raise UsageError(f"{notebook.name} has no profile {profile!r}: there is no {path}.")
    content = _read_yaml(path)
    if is_study:
        if not isinstance(content.get(profile), dict):
            there = ", ".join(map(str, content))
            raise UsageError(f"{path} has no profile {profile!r}. There are: {there}")
        content = {"profile": profile, **content[profile]}
    elif content.get("profile") != profile:
        raise UsageError(f"{path} does not say `profile: {profile}`.")
    values: dict[str, list] = {}
    for name, value in content.items():
        if name not in notebook.parameters:
            raise UsageError(f"{path}: {_unknown(name, value, [notebook])}")
        items = value if is_study and isinstance(value, list) else [value]
        values[name] = _read(path, notebook, name, items)
    return values


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml  # which `aelib doctor` does not need

    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ValueError("an alias, `*name`, has no use here")
        content = yaml.load(text, _loader(yaml.SafeLoader))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} does not map names to values.")
    return content


def _loader(safe: Any) -> Any:
    """A safe loader for which 1:3 is no 63, as it is in YAML 1.1."""
    loader: Any = type("Loader", (safe,), {})
    tag = "tag:yaml.org,2002:int"
    loader.yaml_implicit_resolvers = {
        first: [item for item in items if item[0] != tag]
        for first, items in safe.yaml_implicit_resolvers.items()
    }
    loader.add_implicit_resolver(tag, re.compile(r"[-+]?\d+$"), list("-+0123456789"))
    return loader


def _dataset(text: str) -> str:
    from aelib import data

    if text in data.names():
        return text
    path = Path(text).expanduser()
    if (text.endswith(".npz") and path.is_file()) or (text and path.is_dir()):
        return str(path.resolve())
    what = "is neither a dataset nor a folder nor an .npz file"
    raise UsageError(
        (f"{text!r} {what}" if text and path.exists() else f"There is no dataset {text!r}")
        + f". There are: {', '.join(data.names())}, "
        "or the path of a folder of images or of an .npz file with x_train and x_test."
    )


def _data_states(parameters: dict[str, Any]) -> list:
    """Whether each dataset that is named is here, and the state of one's own files.

    What this package draws is always the same; datasets that are not named do not matter.
    """
    from aelib import data

    named = [value for value in parameters.values() if isinstance(value, str)]
    known = [item for item in data.status() if item.kind != "embedded" and item.name in named]
    states: list = [[item.name, bool(item.path)] for item in known]
    path = Path(str(parameters.get("dataset", "")))
    if path.is_absolute():
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        found = [(str(file), file.stat()) for file in files if file.is_file()]
        states += [[name, state.st_size, state.st_mtime_ns] for name, state in found]
    return states


def _unknown(name: str, value: Any, notebooks: list[Notebook]) -> str:
    return f"There is no parameter {name!r}. Received: {name}={value!r}\n{_existing(notebooks)}"


def _existing(notebooks: list[Notebook]) -> str:
    lines = []
    for notebook in notebooks:
        lines.append(f"Parameters of {notebook.name}:")
        lines += [f"    {item}" for item in notebook.parameters.values()] or ["    none"]
    return "\n".join(lines)


def digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _library_hash() -> str:
    """Of the library's sources, without the command's own: these change no result."""
    root = Path(aelib.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(file for kind in ("py", "csv", "keras") for file in root.rglob(f"*.{kind}")):
        relative = path.relative_to(root)
        if relative.parts[0] != "runner":
            digest.update(relative.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
