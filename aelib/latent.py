"""Walks and directions in the space of codes, with NumPy alone.

Between two codes: a straight line (`interpolate`) or an arc (`slerp`). From codes with and
without an attribute: the direction that adds it (`attribute_vector`), e.g. the smile vector.
"""

import numpy as np

_PARALLEL = (
    1e-6  # radians: below it an arc is a line, within it of pi there is no telling which arc
)


def interpolate(a, b, steps: int) -> np.ndarray:
    """Codes on the straight line from `a` to `b`, at equal distances, both ends included.

    Args:
        a, b: codes of the same shape, `(..., code)`, rank 1 or more.
        steps: int, at least 2, how many codes.

    Returns: `(steps, ..., code)`, float32 if both are float32, else float64.

    Raises:
        ValueError: for codes that are empty, not finite or of two shapes, and other steps.
    """
    a, b, t, dtype = _ends(a, b, steps)
    return ((1 - t) * a + t * b).astype(dtype)


def slerp(a, b, steps: int) -> np.ndarray:
    """Codes on the arc from `a` to `b`, at equal angles, both ends included.

        sin((1 - t) omega) / sin(omega) a + sin(t omega) / sin(omega) b

    with omega the angle between `a` and `b`. Codes of equal norm keep it all the way, where a
    straight line between Gaussian codes of many dimensions cuts through the empty middle. With
    different norms the path is an arc of an ellipse, from one to the other. Parallel codes
    (omega = 0) are joined by the line, which is the limit of the formula.

    Args:
        a, b: codes of the same shape, `(..., code)`, rank 1 or more, none of them zero; the angle
            is taken along the last axis.
        steps: int, at least 2, how many codes.

    Returns: `(steps, ..., code)`, float32 if both are float32, else float64.

    Raises:
        ValueError: as `interpolate`, and where there is no arc (a zero code) or no single one
            (opposite codes).

    References: Shoemake, "Animating rotation with quaternion curves", 1985; White,
    "Sampling generative networks", 2016.
    """
    a, b, t, dtype = _ends(a, b, steps)
    norms = [np.linalg.norm(code, axis=-1, keepdims=True) for code in (a, b)]
    for name, norm in zip("ab", norms, strict=True):
        if not norm.all():
            raise ValueError(f"A zero code has no direction. Received: {name} with norm=0.0")
    u, v = a / norms[0], b / norms[1]
    # Exact for small angles too, where the arc cosine of the product is not.
    omega = 2 * np.arctan2(
        np.linalg.norm(u - v, axis=-1, keepdims=True), np.linalg.norm(u + v, axis=-1, keepdims=True)
    )
    if (omega > np.pi - _PARALLEL).any():
        raise ValueError(
            "Between opposite codes every arc is as short as any other. "
            f"Received: a and b at an angle of {omega.max():.6f} radians"
        )
    parallel = omega < _PARALLEL
    angle = np.where(parallel, 1.0, omega)
    weights = [np.where(parallel, s, np.sin(s * angle) / np.sin(angle)) for s in (1 - t, t)]
    return (weights[0] * a + weights[1] * b).astype(dtype)


def attribute_vector(codes, has_attribute, balance=None) -> np.ndarray:
    """From the centre of the codes without an attribute to the centre of those with it.

    If the attribute goes along with another one in these images (more women smile than men), the
    vector carries both. `balance` names the other: the difference is then taken within each of its
    values, and the mean over values counts each alike, however many images it has. That is the
    same as repeating images until all cells are equally full.

    Args:
        codes: `(n, ..., code)`, of any rank from 2.
        has_attribute: `(n,)`, bool, or 0 and 1.
        balance: `(n,)`, the second attribute: bool, integers or text; None leaves it.

    Returns: the shape of one code, float32 for float32 codes, else float64.

    Raises:
        ValueError: for arrays that do not match, are empty or not finite, and for a cell (an
            attribute with a value of `balance`) without codes, which it names.

    Reference: White, "Sampling generative networks", 2016.
    """
    codes, dtype = _codes("codes", codes, 2)
    has_attribute = _flags(has_attribute, len(codes))
    if balance is None:
        cells = {None: np.ones(len(codes), bool)}
    else:
        balance = _labels(balance, len(codes))
        cells = {value: balance == value for value in np.unique(balance).tolist()}
    differences = []
    for value, cell in cells.items():
        centres = []
        for flag in (True, False):
            members = cell & (has_attribute == flag)
            if not members.any():
                where = "" if balance is None else f", balance={value!r}"
                raise ValueError(
                    "Each cell needs at least one code. "
                    f"Received: no code with has_attribute={flag}{where}"
                )
            centres.append(codes[members].mean(axis=0))
        differences.append(centres[0] - centres[1])
    return np.mean(differences, axis=0).astype(dtype)


def _ends(a, b, steps):
    a, dtype_a = _codes("a", a, 1)
    b, dtype_b = _codes("b", b, 1)
    if a.shape != b.shape:
        raise ValueError(
            f"Both codes have the same shape. Received: a.shape={a.shape}, b.shape={b.shape}"
        )
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 2:
        raise ValueError(f"steps is a whole number, at least 2. Received: steps={steps!r}")
    t = np.linspace(0, 1, steps).reshape(-1, *[1] * a.ndim)
    return a, b, t, np.promote_types(dtype_a, dtype_b)


def _codes(name: str, values, rank: int):
    """In float64, and the type that the result will have."""
    values = _finite(name, values)
    if values.ndim < rank or not values.size:
        raise ValueError(
            f"{name} has at least one number and rank {rank} or more. "
            f"Received: {name}.shape={values.shape}"
        )
    dtype = values.dtype if values.dtype == np.float32 else np.dtype("float64")
    return values.astype("float64"), dtype


def _finite(name: str, values) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{name} holds numbers. Received: {name}.dtype={values.dtype}")
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise ValueError(f"{name} is finite. Received: {name} with {count} NaN or infinite values")
    return values


def _one_for_each(name: str, values, count: int) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (count,):
        raise ValueError(
            f"There is one value for each of the {count} codes. "
            f"Received: {name}.shape={values.shape}"
        )
    return values


def _flags(values, count: int) -> np.ndarray:
    values = _one_for_each("has_attribute", values, count)
    if values.dtype.kind not in "fiub" or not np.isin(values, (0, 1)).all():
        raise ValueError(
            "Flags are True and False, or 1 and 0. "
            f"Received: has_attribute={np.unique(values.astype(str))[:5].tolist()}"
        )
    return values.astype(bool)


def _labels(values, count: int) -> np.ndarray:
    values = _one_for_each("balance", values, count)
    if values.dtype.kind not in "biuUS":
        raise ValueError(
            f"Values to balance are bool, integers or text. Received: balance.dtype={values.dtype}"
        )
    return values
