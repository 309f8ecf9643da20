"""Entropy, cross-entropy and relative entropy (Kullback-Leibler divergence), in NumPy.

Everything is computed in float64 and, unless a base is given, in nats: natural logarithms.
Throughout, `0 log 0 = 0`.

Reference: Cover & Thomas, "Elements of Information Theory", 2nd edition, 2006, chapter 2.
"""

import math
import operator

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr, rel_entr, xlog1py, xlogy

# Probabilities that a network computed in float32 miss a sum of 1 by about this much.
_SUM_TOLERANCE = 1e-5


def entropy(p: ArrayLike, *, base: float = math.e, axis: int = -1) -> np.ndarray:
    """Entropy of discrete distributions, `H(p) = -sum_i p_i log p_i`.

    Args:
        p: probabilities, summing to 1 along `axis`.
        base: of the logarithm: e gives nats, 2 gives bits.
        axis: along which the outcomes lie.

    Returns:
        The entropies, float64, with the shape of `p` without `axis`.

    Raises:
        ValueError: for probabilities that are negative, NaN or do not sum to 1, an axis
            that `p` does not have, or a base that is not positive or is 1.

    Reference: Cover & Thomas 2006, equation 2.1.
    """
    return entr(_distribution("p", p, axis)).sum(axis=-1) / _log_of(base)


def cross_entropy(
    p: ArrayLike, q: ArrayLike, *, base: float = math.e, axis: int = -1
) -> np.ndarray:
    """Cross-entropy of discrete distributions, `H(p, q) = -sum_i p_i log q_i`.

    What a code made for `q` costs on outcomes drawn from `p`. It equals
    `entropy(p) + kl_divergence(p, q)`, and is infinite where `q_i = 0 < p_i`.

    Args:
        p: probabilities of what happens, summing to 1 along `axis`.
        q: probabilities that the code believes in; as many along `axis`, other axes broadcast.
        base: of the logarithm: e gives nats, 2 gives bits.
        axis: along which the outcomes lie.

    Returns:
        The cross-entropies, float64, with the broadcast shape without `axis`.

    Raises:
        ValueError: as `entropy`, and if `p` and `q` differ in length along `axis`.
    """
    p, q = _distributions(p, q, axis)
    return -xlogy(p, q).sum(axis=-1) / _log_of(base)


def kl_divergence(
    p: ArrayLike, q: ArrayLike, *, base: float = math.e, axis: int = -1
) -> np.ndarray:
    """Relative entropy of discrete distributions, `KL(p || q) = sum_i p_i log(p_i / q_i)`.

    At least 0, and 0 only where `p` and `q` are equal; not symmetric; infinite where
    `q_i = 0 < p_i`.

    Args:
        p: probabilities of what happens, summing to 1 along `axis`.
        q: probabilities it is compared with; as many along `axis`, other axes broadcast.
        base: of the logarithm: e gives nats, 2 gives bits.
        axis: along which the outcomes lie.

    Returns:
        The divergences, float64, with the broadcast shape without `axis`.

    Raises:
        ValueError: as `cross_entropy`.

    Reference: Cover & Thomas 2006, equation 2.26.
    """
    p, q = _distributions(p, q, axis)
    # Rounding may leave -1e-17 where p and q are nearly equal.
    return np.maximum(rel_entr(p, q).sum(axis=-1), 0.0) / _log_of(base)


def bernoulli_entropy(a: ArrayLike) -> np.ndarray:
    """Entropy of yes-or-no variables, `-a log a - (1 - a) log(1 - a)`, elementwise, in nats.

    Summed over the pixels of a gray image it is the floor of that image's cross-entropy:
    no reconstruction costs less.

    Args:
        a: probabilities of a yes, of any shape, such as pixels in [0, 1].

    Returns:
        float64, with the shape of `a`.

    Raises:
        ValueError: for values outside [0, 1] or NaN.
    """
    a = _unit_interval("a", a)
    return entr(a) + entr(1.0 - a)


def bernoulli_cross_entropy(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Cross-entropy of yes-or-no variables, elementwise, in nats.

    `-a log b - (1 - a) log(1 - b)`: the loss of a pixel `a` that is reconstructed as `b`.
    It is least, `bernoulli_entropy(a)`, at `b = a`.

    Args:
        a: probabilities of a yes, of any shape, such as pixels in [0, 1].
        b: probabilities that are believed; any shape that broadcasts with `a`.

    Returns:
        float64, with the broadcast shape; infinite where `b` rules out what `a` allows.

    Raises:
        ValueError: for values outside [0, 1] or NaN, or shapes that do not broadcast.
    """
    a, b = _broadcast(a=_unit_interval("a", a), b=_unit_interval("b", b))
    return -(xlogy(a, b) + xlog1py(1.0 - a, -b))


def gaussian_kl(
    mean_p: ArrayLike,
    std_p: ArrayLike,
    mean_q: ArrayLike = 0.0,
    std_q: ArrayLike = 1.0,
    *,
    axis: int | None = -1,
) -> np.ndarray:
    """KL divergence between Gaussians with diagonal covariance, in closed form, in nats.

    For each dimension `log(std_q / std_p) + (std_p**2 + (mean_p - mean_q)**2) / (2 std_q**2)
    - 1/2`; the dimensions are independent, so theirs add up. With the default `q`, the
    standard normal, it is the second term of a variational autoencoder's loss.

    Args:
        mean_p: means of p. The four arguments broadcast against each other.
        std_p: standard deviations of p, positive.
        mean_q: means of q.
        std_q: standard deviations of q, positive.
        axis: the axis of the dimensions, summed over. None leaves the divergence of each
            dimension. Four numbers are one dimension and give a number.

    Returns:
        float64, with the broadcast shape without `axis`.

    Raises:
        ValueError: for means that are not finite, deviations that are not positive and
            finite, shapes that do not broadcast, or an axis that they do not have.

    Reference: Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, appendix B.
    """
    mean_p, std_p, mean_q, std_q = _broadcast(
        mean_p=_finite("mean_p", mean_p),
        std_p=_positive("std_p", std_p),
        mean_q=_finite("mean_q", mean_q),
        std_q=_positive("std_q", std_q),
    )
    ratio, shift = std_p / std_q, (mean_p - mean_q) / std_q
    kl = (ratio**2 + shift**2 - 1.0) / 2.0 - np.log(ratio)
    return kl if axis is None else kl.sum(axis=_axis(axis, max(kl.ndim, 1)))


def _distributions(p: ArrayLike, q: ArrayLike, axis: int) -> tuple[np.ndarray, np.ndarray]:
    p, q = _distribution("p", p, axis), _distribution("q", q, axis)
    if p.shape[-1] != q.shape[-1]:
        raise ValueError(
            f"p has {p.shape[-1]} outcomes and q has {q.shape[-1]}; they need equally many. "
            f"Received: q={_shown(q)}"
        )
    return _broadcast(p=p, q=q)


def _distribution(name: str, value: ArrayLike, axis: int) -> np.ndarray:
    """Checked probabilities with the outcomes on the last axis, their sum exactly 1."""
    p = _array(name, value)
    if p.ndim == 0:
        raise ValueError(
            f"{name} needs an axis of outcomes, one number has none. Received: {name}={value}"
        )
    p = np.moveaxis(p, _axis(axis, p.ndim), -1)
    if not np.all(p >= 0.0):
        raise ValueError(f"A probability is at least 0. Received: {name}={_shown(p)}")
    total = p.sum(axis=-1, keepdims=True)
    if not np.all(np.abs(total - 1.0) <= _SUM_TOLERANCE):
        raise ValueError(
            f"Probabilities sum to 1, these to {_shown(total)}. Received: {name}={_shown(p)}"
        )
    return p / total


def _unit_interval(name: str, value: ArrayLike) -> np.ndarray:
    a = _array(name, value)
    if not np.all((a >= 0.0) & (a <= 1.0)):
        raise ValueError(f"{name} lies between 0 and 1. Received: {name}={_shown(a)}")
    return a


def _finite(name: str, value: ArrayLike) -> np.ndarray:
    a = _array(name, value)
    if not np.all(np.isfinite(a)):
        raise ValueError(f"{name} is finite. Received: {name}={_shown(a)}")
    return a


def _positive(name: str, value: ArrayLike) -> np.ndarray:
    a = _finite(name, value)
    if not np.all(a > 0.0):
        raise ValueError(f"A standard deviation is positive. Received: {name}={_shown(a)}")
    return a


def _array(name: str, value: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is an array of numbers. Received: {name}={value!r}") from None


def _broadcast(**arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    try:
        return np.broadcast_arrays(*arrays.values())
    except ValueError:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"The shapes do not broadcast. Received: shapes={shapes}") from None


def _axis(axis: int, ndim: int) -> int:
    try:
        if -ndim <= operator.index(axis) < ndim:
            return axis
    except TypeError:
        pass
    raise ValueError(f"There are {ndim} axes, counted from 0 or -1. Received: axis={axis!r}")


def _log_of(base: float) -> float:
    try:
        if 0.0 < base < math.inf and base != 1:
            return math.log(base)
    except TypeError:
        pass
    raise ValueError(f"A logarithm's base is positive and not 1. Received: base={base!r}")


def _shown(array: np.ndarray) -> str:
    return np.array2string(array, threshold=8, edgeitems=3, separator=", ").replace("\n", "")
