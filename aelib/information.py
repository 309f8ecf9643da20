"""Entropy, cross-entropy and relative entropy (Kullback-Leibler divergence), in NumPy.

Computed in float64, in nats (natural logarithms) unless a base is given, with `0 log 0 = 0`.
Probabilities that do not sum to 1, within the error of their type, and other invalid arguments
raise `ValueError`.

Reference: Cover & Thomas, "Elements of Information Theory", 2nd edition, 2006, chapter 2.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr, rel_entr, xlog1py, xlogy

from aelib._checks import array, number, whole

_SUM_TOLERANCE = 1e-5  # of probabilities that a network computed in float32, of many outcomes


def entropy(p: ArrayLike, *, base: float = math.e, axis: int = -1) -> NDArray:
    """Entropy of discrete distributions, `H(p) = -sum_i p_i log p_i`.

    Args:
        p: probabilities, summing to 1 along `axis`, within 1e-5 and the rounding of their type
            (float16: 0.002, bfloat16: 0.016); they are divided by their sum.
        base: of the logarithm: e gives nats, 2 gives bits.
        axis: int, the axis of the outcomes.

    Returns: float64, with the shape of `p` without `axis`.

    Reference: Cover & Thomas 2006, equation 2.1.
    """
    return entr(_distribution("p", p, axis)).sum(axis=-1) / _log_of(base)


def cross_entropy(p: ArrayLike, q: ArrayLike, *, base: float = math.e, axis: int = -1) -> NDArray:
    """Cross-entropy of discrete distributions, `H(p, q) = -sum_i p_i log q_i`.

    It equals `entropy(p) + kl_divergence(p, q)`, and is infinite where `q_i = 0 < p_i`.

    Args:
        p, q: true and assumed probabilities, as many along `axis`; the other axes broadcast.
        base, axis: See `entropy`.

    Returns: float64, with the broadcast shape without `axis`.
    """
    p, q = _distributions(p, q, axis)
    return -xlogy(p, q).sum(axis=-1) / _log_of(base)


def kl_divergence(p: ArrayLike, q: ArrayLike, *, base: float = math.e, axis: int = -1) -> NDArray:
    """Relative entropy of discrete distributions, `KL(p || q) = sum_i p_i log(p_i / q_i)`.

    Positive unless `p` equals `q`, not symmetric, and infinite where `q_i = 0 < p_i`.

    The arguments and the shape of the result are those of `cross_entropy`.

    Reference: Cover & Thomas 2006, equation 2.26.
    """
    p, q = _distributions(p, q, axis)
    # Rounding may leave -1e-17 where p and q are nearly equal.
    return np.maximum(rel_entr(p, q).sum(axis=-1), 0.0) / _log_of(base)


def bernoulli_entropy(a: ArrayLike) -> NDArray:
    """Entropy of Bernoulli variables, `-a log a - (1 - a) log(1 - a)`, elementwise, in nats.

    Summed over the pixels of a grey image, no reconstruction has a smaller cross-entropy.

    Args:
        a: probabilities of a 1 in [0, 1], of any shape, such as pixels.

    Returns: float64, with the shape of `a`.
    """
    a = _unit_interval("a", a)
    return entr(a) + entr(1.0 - a)


def bernoulli_cross_entropy(a: ArrayLike, b: ArrayLike) -> NDArray:
    """Cross-entropy of Bernoulli variables, elementwise, in nats.

    `-a log b - (1 - a) log(1 - b)`: the loss of a pixel `a` reconstructed as `b`, least at `b = a`.

    Args:
        a, b: true and assumed probabilities of a 1 in [0, 1], of shapes that broadcast.

    Returns: float64, with the broadcast shape; infinite where `b` rules out what `a` allows.
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
) -> NDArray:
    """KL divergence between Gaussians with diagonal covariance, in closed form, in nats.

    `log(std_q / std_p) + (std_p**2 + (mean_p - mean_q)**2) / (2 std_q**2) - 1/2`, summed over
    dimensions. With the default `q` it is the second term of a variational autoencoder's loss.

    Args:
        mean_p, mean_q: means. All four arrays broadcast against each other.
        std_p, std_q: standard deviations, positive.
        axis: int, the axis of the dimensions, to sum over. None gives the divergence of each
            dimension. Scalars count as one dimension and give a scalar.

    Returns: float64, with the broadcast shape without `axis`.

    Reference: Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, appendix B.
    """
    mean_p, std_p, mean_q, std_q = _broadcast(
        mean_p=_float64("mean_p", mean_p)[0],
        std_p=_positive("std_p", std_p),
        mean_q=_float64("mean_q", mean_q)[0],
        std_q=_positive("std_q", std_q),
    )
    ratio, shift = std_p / std_q, (mean_p - mean_q) / std_q
    kl = (ratio**2 + shift**2 - 1.0) / 2.0 - np.log(ratio)
    return kl if axis is None else kl.sum(axis=_axis_of(kl, axis))


def _distributions(p: ArrayLike, q: ArrayLike, axis: int) -> tuple[NDArray, ...]:
    p, q = _distribution("p", p, axis), _distribution("q", q, axis)
    if p.shape[-1] != q.shape[-1]:
        received = f"p with {p.shape[-1]} and q with {q.shape[-1]} outcomes"
        raise ValueError(f"`p` and `q` must have the same number of outcomes. Received: {received}")
    return _broadcast(p=p, q=q)


def _distribution(name: str, value: ArrayLike, axis: int) -> NDArray:
    """Checked probabilities with the outcomes on the last axis, their sum exactly 1."""
    p, dtype = _float64(name, value, rank=1)
    p = np.moveaxis(p, _axis_of(p, axis), -1)
    if p.min() < 0.0:
        raise ValueError(f"`{name}` must not be negative. Received: {name} with {p.min():g}")
    total = p.sum(axis=-1, keepdims=True)
    wrong = np.abs(total - 1.0) > _SUM_TOLERANCE + _rounding(dtype, p.shape[-1])
    if wrong.any():
        raise ValueError(f"`{name}` must sum to 1. Received: {name} with sum {total[wrong][0]:g}")
    return p / total


def _rounding(dtype: np.dtype, outcomes: int) -> float:
    """By how much the sum of a softmax in this type may differ from 1."""
    if dtype.kind in "iub":
        return 0.0
    one, zero = dtype.type(1), dtype.type(0)
    relative, smallest = float(np.nextafter(one, dtype.type(2))) - 1, np.nextafter(zero, one)
    return 2 * relative + outcomes * float(smallest) / 2


def _unit_interval(name: str, value: ArrayLike) -> NDArray:
    a, _ = _float64(name, value)
    wrong = a[(a < 0.0) | (a > 1.0)]
    if wrong.size:
        raise ValueError(f"`{name}` must be in [0, 1]. Received: {name} with {wrong[0]:g}")
    return a


def _positive(name: str, value: ArrayLike) -> NDArray:
    std, _ = _float64(name, value)
    if std.min() <= 0.0:
        raise ValueError(f"`{name}` must be positive. Received: {name} with {std.min():g}")
    return std


def _float64(name: str, value: ArrayLike, rank: int = 0) -> tuple[NDArray, np.dtype]:
    """Finite numbers, and the type that they had."""
    values = np.asarray(value)
    dtype = values.dtype
    if dtype.name == "bfloat16":  # to NumPy no number
        values = values.astype("float32")
    return array(name, values, rank=rank).astype("float64"), dtype


def _broadcast(**arrays: NDArray) -> tuple[NDArray, ...]:
    try:
        return np.broadcast_arrays(*arrays.values())
    except ValueError:
        received = ", ".join(f"{name}.shape={values.shape}" for name, values in arrays.items())
        raise ValueError(f"The shapes must broadcast. Received: {received}") from None


def _axis_of(values: NDArray, axis: int) -> int:
    rank = max(values.ndim, 1)
    return whole("axis", axis, -rank, rank - 1)


def _log_of(base: float) -> float:
    if number("base", base, 0, above=True) == 1.0:
        raise ValueError(f"`base` must not be 1. Received: base={base!r}")
    return math.log(base)
