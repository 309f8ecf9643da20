"""The parameters of a notebook, read without running it, and the values people give them.

papermill's own inspection passes over a line that it cannot read, knows no `int | None`, and
takes two seconds to import: here a typing error is refused before anything runs.
"""

import ast
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_TYPES = ("None", "bool", "int", "float", "list", "str")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


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

    @property
    def kinds(self) -> list[str]:
        """The types that a value may have: `int` and `None` of `int | None`."""
        return [part.split("[")[0].strip() for part in self.type.split("|")]

    def read(self, text: str) -> Any:
        """The value that a command line means.

        Raises:
            ValueError: if the text is not of this parameter's type.
        """
        meanings: list[Any] = [_WORDS[word] for word in [text.lower()] if word in _WORDS] + [text]
        if self.type != "str":
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                meanings.insert(0, ast.literal_eval("None" if text == "null" else text.strip()))
        for value in meanings:
            with suppress(ValueError):
                return self.check(value)
        hint = ' A list is written "[1, 2]".' if "list" in self.kinds else ""
        raise ValueError(self._complaint(text) + hint)

    def check(self, value: Any) -> Any:
        """`value` itself, whole numbers as floats where a float is meant.

        Raises:
            ValueError: if the value is not of this parameter's type, or JSON cannot hold it.
        """
        kinds = self.kinds
        try:
            if type(value) is int and "int" not in kinds and "float" in kinds:
                value = float(value)
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, OverflowError, RecursionError):
            raise ValueError(self._complaint(value)) from None
        if ("None" if value is None else type(value).__name__) not in kinds:
            raise ValueError(self._complaint(value))
        return value

    def _complaint(self, value: Any) -> str:
        return f"`{self.name}` must be of type {self.type}. Received: {self.name}={value!r:.200}"


def read_parameters(source: str) -> dict[str, Parameter]:
    """The parameters that a cell's source defines, by name.

    Raises:
        ValueError: if a line is anything but `name: type = literal`.
    """
    lines = source.splitlines()
    found = {}
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}: {error.text}") from None
    except (RecursionError, MemoryError):
        raise ValueError("it is nested too deeply") from None
    for node in statements:
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
        comment = last.encode()[node.end_col_offset :].decode().strip().lstrip("# ")
        parameter = Parameter(name, annotation, default, comment)
        if set(parameter.kinds) - set(_TYPES):
            types = ", ".join(_TYPES)
            raise ValueError(f"types must be of {types}. Received: {name}: {parameter.type}")
        found[name] = parameter
    return found
