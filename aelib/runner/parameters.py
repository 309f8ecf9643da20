"""The parameters of a notebook, read without running it, and the values people give them."""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _boolean(text: str) -> bool:
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ValueError(f"not a truth value: {text}") from None


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"not a finite number: {text}")
    return value


def _none(text: str) -> None:
    if text not in ("None", "null"):
        raise ValueError(f"not None: {text}")


def _list(text: str) -> list:
    value = ast.literal_eval(text)
    if not isinstance(value, list):
        raise ValueError(f"not a list: {text}")
    return value


# In the order in which the types of a union such as `int | None` are tried.
_READERS: dict[str, Callable[[str], Any]] = {
    "None": _none,
    "bool": _boolean,
    "int": int,
    "float": _number,
    "list": _list,
    "str": str,
}
_ACCEPTED: dict[str, tuple[Any, ...]] = {
    "None": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "list": (list,),
    "str": (str,),
}


@dataclass(frozen=True)
class Parameter:
    """One line of the `parameters` cell: `name: type = default  # comment`."""

    name: str
    type: str
    default: Any
    comment: str = ""

    def __str__(self) -> str:
        comment = f"  # {self.comment}" if self.comment else ""
        return f"{self.name}: {self.type} = {self.default!r}{comment}"

    def read(self, text: str) -> Any:
        """The value that a command line means.

        Raises:
            ValueError: if the text is not of this parameter's type.
        """
        kinds = self._kinds
        for kind, reader in _READERS.items():
            if kind in kinds:
                try:
                    return reader(text)
                except (ValueError, SyntaxError):
                    continue
        raise ValueError(self._complaint(text))

    def check(self, value: Any) -> Any:
        """`value` itself, whole numbers as floats where a float is meant.

        Raises:
            ValueError: if the value is not of this parameter's type.
        """
        kinds = self._kinds
        accepted = tuple(kind for name in kinds for kind in _ACCEPTED[name])
        if not isinstance(value, accepted) or (isinstance(value, bool) and "bool" not in kinds):
            raise ValueError(self._complaint(value))
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(self._complaint(value))
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return float(value) if is_whole and "int" not in kinds else value

    @property
    def _kinds(self) -> list[str]:
        return [part.split("[")[0].strip() for part in self.type.split("|")]

    def _complaint(self, value: Any) -> str:
        return f"`{self.name}` must be of type {self.type}. Received: {self.name}={value!r}"


def read_parameters(source: str) -> dict[str, Parameter]:
    """The parameters that a cell's source defines, by name.

    Raises:
        ValueError: if a line is anything but `name: type = literal`.
    """
    lines = source.splitlines()
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            name, value, annotation = node.target.id, node.value, ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value, annotation = node.targets[0].id, node.value, ""
        else:
            raise ValueError(f"line {node.lineno} does not define a parameter: {ast.unparse(node)}")
        try:
            default = ast.literal_eval(value)
        except ValueError:
            text = ast.unparse(node)
            raise ValueError(f"a parameter must be a literal. Received: {text}") from None
        annotation = annotation or ("None" if default is None else type(default).__name__)
        last = lines[(node.end_lineno or node.lineno) - 1]
        comment = last.encode()[node.end_col_offset :].decode()
        parameter = Parameter(name, annotation, default, comment.strip().lstrip("# "))
        unknown = set(parameter._kinds) - set(_READERS)
        if unknown:
            types = ", ".join(_READERS)
            raise ValueError(f"types must be of {types}. Received: {name}: {parameter.type}")
        found[name] = parameter
    return found
