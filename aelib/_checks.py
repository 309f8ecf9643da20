"""Checks of arguments, in one tone: "`k` must be an integer >= 1. Received: k=0"."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np


def number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> float:
    """A finite float in [low, high]; `above` excludes `low` itself, `below` excludes `high`."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    valid = is_number and math.isfinite(value) and low <= value <= high
    if not valid or (above and value == low) or (below and value == high):
        limits = f" {'>' if above else '>='} {low:g}" if low > -math.inf else ""
        if high < math.inf:
            limits = f" in {'(' if above else '['}{low:g}, {high:g}{')' if below else ']'}"
        _refuse(name, value, f"a finite number{limits}")
    return float(value)


def whole(name: str, value: Any, low: int = 0, high: int | None = None) -> int:
    """An int in [low, high]."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        limits = f">= {low}" if high is None else f"from {low} to {high}"
        _refuse(name, value, f"an integer {limits}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """True or False; 0 and 1 are mistakes."""
    if not isinstance(value, bool | np.bool_):
        _refuse(name, value, "True or False")
    return bool(value)


def one_of(name: str, value: Any, options: Iterable[Any]) -> Any:
    """One of the `options`."""
    options = list(options)
    if value not in options:
        _refuse(name, value, f"one of {', '.join(map(repr, options))}")
    return value


def layer(name: str, value: Any, *, optional: bool = False) -> Any:
    """A Keras layer or model; None too, if `optional`."""
    import keras  # here, for the modules that need no Keras

    if not isinstance(value, keras.layers.Layer) and not (optional and value is None):
        _refuse(name, value, f"a Keras layer or model{' or None' if optional else ''}")
    return value


def array(name: str, values: Any, *, rank: int = 0, exact: bool = False) -> np.ndarray:
    """Finite numbers of rank `rank` or more (`exact`: of just that rank), at least one of them."""
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"`{name}` must hold numbers. Received: {name}.dtype={values.dtype}")
    if values.ndim < rank or (exact and values.ndim != rank) or not values.size:
        expected = f"have rank {rank}{'' if exact else ' or more'} and must not be empty"
        raise ValueError(f"`{name}` must {expected}. Received: {name}.shape={values.shape}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        received = f"{name} with {(~np.isfinite(values)).sum()} NaN or infinite values"
        raise ValueError(f"`{name}` must be finite. Received: {received}")
    return values


def same_length(**arrays: Any) -> None:
    """Arrays with one row for each other's row."""
    if len({len(values) for values in arrays.values()}) > 1:
        received = ", ".join(f"{name}.shape={np.shape(a)}" for name, a in arrays.items())
        names = " and ".join(f"`{name}`" for name in arrays)
        raise ValueError(f"{names} must have the same length. Received: {received}")


def items(name: str, values: Any) -> list:
    """A list, tuple or array with something in it."""
    if not isinstance(values, list | tuple | np.ndarray) or not len(values):
        _refuse(name, values, "a list that is not empty")
    return list(values)


def _refuse(name: str, value: Any, expected: str):
    raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")
