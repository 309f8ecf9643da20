"""How far apart images, sets of features and classes of codes are. All images are in [0, 1]."""

import numpy as np
from numpy.typing import ArrayLike

from aelib._checks import array, same_length, whole


def squared_error(x: ArrayLike, x_hat: ArrayLike) -> np.ndarray:
    """Squared error of each image, summed over its pixels: `(n,)`."""
    x, x_hat = _pairs(x, x_hat)
    return np.square(x - x_hat).sum(axis=tuple(range(1, x.ndim)))


def psnr(x: ArrayLike, x_hat: ArrayLike) -> np.ndarray:
    """Peak signal-to-noise ratio of each image in decibels, `(n,)`; `x_hat` is clipped to [0, 1].

    Ten times the negative logarithm (base 10) of the mean squared error of a pixel; `inf` for
    the same image.
    """
    error = squared_error(x, np.clip(x_hat, 0, 1)) / np.asarray(x)[0].size
    with np.errstate(divide="ignore"):
        return -10 * np.log10(error)


def ssim(x: ArrayLike, x_hat: ArrayLike) -> np.ndarray:
    """Structural similarity of each image, `(n,)`: 1 for the same image.

    Images are `(n, height, width, channels)`, at least 7 pixels high and wide; `x_hat` is
    clipped to [0, 1].

    Reference: Wang et al., "Image quality assessment: from error visibility to structural
    similarity", 2004, as in scikit-image.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        raise ImportError("`ssim` needs scikit-image: pip install 'aelib[course]'") from None
    x, x_hat = _pairs(x, x_hat, rank=4)
    pairs = zip(x, np.clip(x_hat, 0, 1), strict=True)
    return np.array([structural_similarity(*pair, data_range=1, channel_axis=-1) for pair in pairs])


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Squared Fréchet distance between the Gaussians fitted to two sets of features.

    Args:
        a, b: features, `(n, d)` and `(m, d)`, at least two rows of each.

    Reference: Dowson & Landau, "The Fréchet distance between multivariate normal
    distributions", 1982.
    """
    a, b = (array(name, rows, rank=2, exact=True) for name, rows in (("a", a), ("b", b)))
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            "`a` and `b` must have two rows or more of the same features. "
            f"Received: a.shape={a.shape}, b.shape={b.shape}"
        )
    a, b = a.astype("float64"), b.astype("float64")
    cov_a, cov_b = (np.atleast_2d(np.cov(rows.T)) for rows in (a, b))
    # The trace of the root of A^1/2 B A^1/2 is the sum of the singular values of A^1/2 B^1/2.
    shared = np.linalg.norm(_root(cov_a) @ _root(cov_b), "nuc")
    means = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(means + np.trace(cov_a) + np.trace(cov_b) - 2 * shared)


def neighbour_error(
    codes: ArrayLike, labels: ArrayLike, test_codes: ArrayLike, test_labels: ArrayLike, k: int = 5
) -> float:
    """Share of test codes that the votes of their `k` nearest labelled codes misread."""
    from sklearn.neighbors import KNeighborsClassifier

    codes, test_codes = array("codes", codes, rank=2), array("test_codes", test_codes, rank=2)
    labels, test_labels = np.asarray(labels), np.asarray(test_labels)
    same_length(codes=codes, labels=labels)
    same_length(test_codes=test_codes, test_labels=test_labels)
    k = whole("k", k, 1, len(codes))
    return 1 - float(KNeighborsClassifier(k).fit(codes, labels).score(test_codes, test_labels))


def _pairs(x, x_hat, rank: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Both as floats of at least 32 bits, in which differences of bytes do not wrap around."""
    x, x_hat = array("x", x, rank=rank), array("x_hat", x_hat, rank=rank)
    if x.shape != x_hat.shape:
        raise ValueError(
            "`x` and `x_hat` must have the same shape. "
            f"Received: x.shape={x.shape}, x_hat.shape={x_hat.shape}"
        )
    dtype = np.result_type(x, x_hat, np.float32)
    return x.astype(dtype), x_hat.astype(dtype)


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values.clip(0)) @ vectors.T
