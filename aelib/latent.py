"""Paths and directions in the space of codes, with NumPy alone.

Between two codes: a straight line (`interpolate`) or an arc (`slerp`). From codes with and
without an attribute: the direction that adds it (`attribute_vector`), e.g. the smile vector.
Invalid arguments raise `ValueError`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aelib._checks import array, same_length, whole

# Radians. Below it an arc is a line; within it of pi, which arc is meant cannot be told.
_PARALLEL = 1e-6


def interpolate(a: ArrayLike, b: ArrayLike, steps: int) -> NDArray:
    """Codes on the straight line from `a` to `b`, equally spaced, both ends included.

    Args:
        a, b: codes of the same shape, `(..., code)`.
        steps: int >= 2, the number of codes.

    Returns: `(steps, ..., code)`, float32 if both are float32, else float64.
    """
    a, b, t, dtype = _ends(a, b, steps)
    return ((1 - t) * a + t * b).astype(dtype)


def slerp(a: ArrayLike, b: ArrayLike, steps: int) -> NDArray:
    """Codes on the arc from `a` to `b`, at equal angles, both ends included.

        sin((1 - t) omega) / sin(omega) a + sin(t omega) / sin(omega) b

    where omega is the angle between `a` and `b`. Codes of equal norm keep it all the way, where a
    straight line between Gaussian codes of many dimensions cuts through the empty middle. Codes
    of different norms are joined by an arc of an ellipse, parallel ones by the straight line.

    Args:
        a, b: codes of the same shape, `(..., code)`, neither zero nor opposite; omega is the angle
            along the last axis.
        steps: int >= 2, the number of codes.

    Returns: `(steps, ..., code)`, float32 if both are float32, else float64.

    Reference: Shoemake, "Animating rotation with quaternion curves", 1985; White,
    "Sampling generative networks", 2016.
    """
    a, b, t, dtype = _ends(a, b, steps)
    u, v = _direction("a", a), _direction("b", b)
    # Exact for small angles too, where the arc cosine of the product is not.
    omega = 2 * np.arctan2(_norm(u - v), _norm(u + v))
    if (omega > np.pi - _PARALLEL).any():
        received = f"a and b at an angle of {omega.max():.6f} radians"
        raise ValueError(f"`a` and `b` must not be opposite codes. Received: {received}")
    parallel = omega < _PARALLEL
    angle = np.where(parallel, 1.0, omega)
    weights = [np.where(parallel, s, np.sin(s * angle) / np.sin(angle)) for s in (1 - t, t)]
    return (weights[0] * a + weights[1] * b).astype(dtype)


def attribute_vector(
    codes: ArrayLike, has_attribute: ArrayLike, balance: ArrayLike | None = None
) -> NDArray:
    """The mean of the codes with an attribute minus the mean of the codes without it.

    If the attribute is correlated with another one (more women smile than men), the vector carries
    both. `balance` names the other one: the difference is then taken within each of its values and
    averaged over values, each with the same weight however many images have it.

    Args:
        codes: `(n, ..., code)`, rank 2 or more.
        has_attribute: `(n,)`, bool, or 0 and 1.
        balance: `(n,)`, the second attribute: bool, integers or text; None ignores it.

    Returns: the shape of one code, float32 for float32 codes, else float64.

    Raises:
        ValueError: Also if there is no code for one of the combinations of the attributes.

    Reference: White, "Sampling generative networks", 2016.
    """
    codes, dtype = _codes("codes", codes, 2)
    has_attribute = _flags(has_attribute, codes)
    groups = {"": np.ones(len(codes), bool)}
    if balance is not None:
        balance = _labels(balance, codes)
        groups = {f", balance={v!r}": balance == v for v in np.unique(balance).tolist()}
    differences = []
    for group, members in groups.items():
        for flag in (True, False):
            if not (members & (has_attribute == flag)).any():
                missing = f"no code with has_attribute={flag}{group}"
                raise ValueError(f"Each combination must have a code. Received: {missing}")
        present, absent = codes[members & has_attribute], codes[members & ~has_attribute]
        differences.append(present.mean(axis=0) - absent.mean(axis=0))
    return np.mean(differences, axis=0).astype(dtype)


def _norm(codes):
    return np.linalg.norm(codes, axis=-1, keepdims=True)


def _direction(name, codes):
    norm = _norm(codes)
    if not norm.all():
        raise ValueError(f"`{name}` must not be zero. Received: {name} with norm=0.0")
    return codes / norm


def _ends(a, b, steps):
    a, dtype_a = _codes("a", a, 1)
    b, dtype_b = _codes("b", b, 1)
    if a.shape != b.shape:
        raise ValueError(f"Codes must match. Received: a.shape={a.shape}, b.shape={b.shape}")
    t = np.linspace(0, 1, whole("steps", steps, 2)).reshape(-1, *[1] * a.ndim)
    return a, b, t, np.promote_types(dtype_a, dtype_b)


def _codes(name, values, rank):
    """In float64, and the type that the result will have."""
    values = array(name, values, rank=rank)
    dtype = values.dtype if values.dtype == np.float32 else np.dtype("float64")
    return values.astype("float64"), dtype


def _flags(values, codes):
    values = array("has_attribute", values, rank=1, exact=True)
    same_length(codes=codes, has_attribute=values)
    if not np.isin(values, (0, 1)).all():
        some = np.unique(values)[:5].tolist()
        raise ValueError(f"`has_attribute` must hold 0 and 1. Received: has_attribute={some}")
    return values.astype(bool)


def _labels(values, codes):
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "biuUS":
        received = f"balance.dtype={values.dtype}, balance.shape={values.shape}"
        raise ValueError(f"`balance` must be `(n,)` bool, integers or text. Received: {received}")
    same_length(codes=codes, balance=values)
    return values
