"""The rules of the house, read from the syntax tree of every module. `make test` runs them.

    python tools/house.py

Imports run one way, in the order of `aelib.MODULES`; nothing private crosses modules; private
names of Keras stand in `aelib/training.py` alone; a module holds one idea.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUARDED = "training"  # the one module that may use private names of Keras
LINES = {"data": 400}  # of a module; 350 elsewhere
LIBRARY_LINES = 6471  # without data and runner: may only shrink
WITHOUT_MODEL = ("claims", "plots", "explorer", "diagram", "data", "metrics")
OF_THE_RUNNER = {
    "_checks",
    "_files",
    "_format",
    "claims",
    "published",
    "data",
}  # what it may import
DYNAMIC = {
    "aelib",
    "aelib._quiet",
    "aelib._loading",
}  # may import a module whose name is not written there
OF_PYTHON = {"_asdict", "_fields", "_make", "_replace"}  # public, of named tuples
KERAS_BASES = (
    "models/model.py",
    "layers/layer.py",
    "losses/loss.py",
    "metrics/metric.py",
    "optimizers/base_optimizer.py",
    "optimizers/adam.py",
    "trainers/trainer.py",
    "backend/tensorflow/layer.py",
    "backend/tensorflow/trainer.py",
    "ops/operation.py",
)


class Module:
    """One file: its imports of aelib and its use of private names."""

    def __init__(self, package: Path, path: Path):
        parts = path.relative_to(package.parent).with_suffix("").parts
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        self.lines = len(path.read_text().splitlines())
        self.tree = ast.parse(path.read_text())
        self.aliases: dict[str, str] = {}  # local name -> module of aelib
        self.imports: set[str] = set()
        self.names: set[tuple[str, str]] = set()  # (module, name taken from it)
        self.unreadable = False  # imports a module whose name is computed

    @property
    def part(self) -> str:
        """`losses` of `aelib.losses`, `data` of `aelib.data.faces`, "" of `aelib`."""
        part = [*self.name.split("."), ""][1]
        return "runner" if part == "__main__" else part  # `python -m aelib` is the command

    def read_imports(self, modules: set[str]) -> None:
        skipped = {id(node) for node in _type_checking(self.tree)}
        loaders = {"import_module", "__import__"}
        for node in ast.walk(self.tree):
            if id(node) in skipped:
                continue
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.names.add((alias.name, ""))
                    self._add(alias.name, alias.asname or alias.name.split(".")[0], modules)
            elif isinstance(node, ast.ImportFrom):
                source = self._source(node)
                for alias in node.names:
                    self.names.add((source, alias.name))
                    if alias.name == "import_module":
                        loaders.add(alias.asname or alias.name)
                    inner = f"{source}.{alias.name}"
                    target = inner if inner in modules else source
                    self._add(target, (alias.asname or alias.name) * (inner in modules), modules)
            elif isinstance(node, ast.Call) and _called(node) in loaders:
                argument = node.args[0] if node.args else None
                if isinstance(argument, ast.Constant):
                    self._add(str(argument.value), "", modules)
                else:
                    self.unreadable = True
        for name in _dotted(self.tree):  # `aelib.losses.x` after `import aelib`
            if name.startswith("keras.src"):
                self.names.add((name, ""))
            if name.split(".")[0] == "aelib" and self.name != "aelib":
                self._add(".".join(name.split(".")[:2]), "", modules)

    def _source(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        base = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*base, *([node.module] if node.module else [])])

    def _add(self, target: str, alias: str, modules: set[str]) -> None:
        if target in modules and target != self.name:
            if alias:
                self.aliases[alias] = target
            if target != "aelib":
                self.imports.add(target)

    def private_attributes(self) -> Iterator[tuple[str, str]]:
        """(what the name belongs to, the name) of every private attribute that is not its own."""
        own = _defined(self.tree) | OF_PYTHON
        for node in ast.walk(self.tree):
            owner, name = _owner_and_name(node)
            if not re.match(r"_[^_]", name):
                continue
            if owner.split(".")[0] in self.aliases:
                yield "aelib", f"{owner}.{name}"
            elif owner in ("self", "cls", "super"):
                if name in keras_names() and name not in own:
                    yield "keras", f"{owner}.{name}"
            elif name not in own or name in keras_names():
                yield "keras", f"{owner}.{name}"


def faults(package: Path, order: Sequence[str]) -> list[str]:
    """What breaks a rule in the package at `package`, one line each."""
    read = [Module(package, path) for path in sorted(package.rglob("*.py"))]
    modules = {module.name: module for module in read}
    for module in read:
        module.read_imports(set(modules))
    found = [*_order(modules, order), *_circles(modules), *_models(modules)]
    for module in read:
        found += _private(module, set(modules))
        limit = LINES.get(module.part, 350)
        if module.lines > limit:
            found.append(f"{module.name} has {module.lines} lines, more than {limit}")
    lines = sum(module.lines for module in read if module.part not in ("data", "runner"))
    if lines > LIBRARY_LINES:
        found.append(f"the library has {lines} lines, more than {LIBRARY_LINES}")
    return found


def _order(modules: dict[str, Module], order: Sequence[str]) -> Iterator[str]:
    parts = {module.part for module in modules.values()} - {"", "runner"}
    for part in sorted(parts ^ set(order)):
        yield f"{part} is {'not in MODULES' if part in parts else 'in MODULES and nowhere else'}"
    for module in modules.values():
        if module.unreadable and module.name not in DYNAMIC:
            yield f"{module.name} imports a module by a computed name"
        for imported in sorted({modules[target].part for target in module.imports}):
            if imported == module.part:
                continue
            if module.part == "runner":
                allowed = imported in OF_THE_RUNNER
            elif module.part == "":  # aelib/__init__.py loads modules when they are asked for
                allowed = imported in order
            else:
                known = imported in order and module.part in order
                allowed = known and order.index(imported) < order.index(module.part)
            if not allowed:
                yield f"{module.name} imports {imported}"


def _circles(modules: dict[str, Module]) -> Iterator[str]:
    for name in modules:
        if name != "aelib" and name in _reached(modules, name):
            yield f"{name} imports itself in a circle"


def _models(modules: dict[str, Module]) -> Iterator[str]:
    for module in modules.values():
        if module.part in WITHOUT_MODEL and "aelib.autoencoder" in _reached(modules, module.name):
            yield f"{module.name} imports a model"


def _reached(modules: dict[str, Module], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(modules[start].imports)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += modules[name].imports
    return reached


def _private(module: Module, modules: set[str]) -> Iterator[str]:
    for source, name in sorted(module.names):
        inside = source.count(".") and module.name.startswith(source)  # data's own `_store`
        if source.split(".")[0] == "aelib" and re.match(r"_[^_]", name):
            if not (inside and f"{source}.{name}" in modules):
                yield f"{module.name} imports the private name {source}.{name}"
        if re.match(r"keras\.src\b|keras(\.\w+)*\._", f"{source}.{name}"):
            yield f"{module.name} imports {source}.{name}, which is private"
    for kind, name in sorted(set(module.private_attributes())):
        if kind == "aelib":
            yield f"{module.name} reaches for the private name {name}"
        elif module.part not in (GUARDED, "data", "runner"):
            yield f"{module.name} uses the private name {name}"


@cache
def keras_names() -> frozenset[str]:
    """The private names of Keras's own base classes."""
    spec = importlib.util.find_spec("keras")
    assert spec and spec.origin
    source = Path(spec.origin).parent / "src"
    text = "\n".join((source / path).read_text() for path in KERAS_BASES)
    return frozenset(re.findall(r"(?:self\.|def )(_[a-z]\w*)", text))


def _type_checking(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes under `if TYPE_CHECKING:`, which never run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for statement in node.body:
                yield from ast.walk(statement)


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func).split(".")[-1]


def _dotted(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.fullmatch(r"[\w.]+", text := ast.unparse(node)):
            yield text


def _owner_and_name(node: ast.AST) -> tuple[str, str]:
    """("model", "_x") of `model._x` and of `getattr(model, "_x")`; ("", "") of anything else."""
    if isinstance(node, ast.Attribute):
        owner, name = node.value, node.attr
    elif isinstance(node, ast.Call) and _called(node) in ("getattr", "hasattr", "setattr"):
        if len(node.args) < 2 or not isinstance(node.args[1], ast.Constant):
            return "", ""
        owner, name = node.args[0], str(node.args[1].value)
    else:
        return "", ""
    text = ast.unparse(owner)
    return ("super" if text.startswith("super(") else text), name


def _defined(tree: ast.AST) -> set[str]:
    """The names that the classes of a module define: methods and attributes."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef):
                    names.add(inner.name)
                elif isinstance(inner, ast.AnnAssign | ast.Assign):
                    targets = inner.targets if isinstance(inner, ast.Assign) else [inner.target]
                    names |= {ast.unparse(target).removeprefix("self.") for target in targets}
    return names


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(ROOT))
    import aelib

    broken = faults(ROOT / "aelib", aelib.MODULES)
    print("\n".join(broken) or "Every rule holds.")
    sys.exit(bool(broken))
