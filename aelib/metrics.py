"""Distances between images, sets of features and classes of codes; pixels are in [0, 1]."""

import numpy as np
from numpy.typing import ArrayLike

from aelib._checks import array, same_length, whole


def squared_error(x: ArrayLike, x_hat: ArrayLike) -> np.ndarray:
    """Squared error of each image, summed over its pixels: `(n,)`."""
    x, x_hat = _pairs(x, x_hat)
    return np.square(x - x_hat).sum(axis=tuple(range(1, x.ndim)))


def psnr(x: ArrayLike, x_hat: ArrayLike) -> np.ndarray:
    """Peak signal-to-noise ratio of each image in decibels, `(n,)`; `x_hat` is clipped to [0, 1].

    It is `-10 log10` of the squared error, averaged over pixels; `inf` for equal images.
    """
    x, x_hat = _pairs(x, x_hat)
    with np.errstate(divide="ignore"):
        return -10 * np.log10(squared_error(x, np.clip(x_hat, 0, 1)) / x[0].size)


def ssim(x: ArrayLike, x_hat: ArrayLike) -> np.ndarray:
    """Structural similarity of each image, `(n,)`, 1 for equal images, as scikit-image has it.

    Images are `(n, height, width, channels)`, 7 x 7 or larger; `x_hat` is clipped to [0, 1].

    Reference: Wang et al., "Image quality assessment: from error visibility to structural
    similarity", 2004.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        raise ImportError("`ssim` needs scikit-image: pip install 'aelib[course]'") from None
    x, x_hat = _pairs(x, x_hat, rank=4)
    pairs = zip(x, np.clip(x_hat, 0, 1), strict=True)
    return np.array([structural_similarity(*pair, data_range=1, channel_axis=-1) for pair in pairs])


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Squared Fréchet distance of the Gaussians fitted to features `(n, d)` and `(m, d)`.

    Reference: Dowson & Landau, "The Fréchet distance between multivariate normal
    distributions", 1982.
    """
    a, b = array("a", a, rank=2, exact=True), array("b", b, rank=2, exact=True)
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        shapes = f"a.shape={a.shape}, b.shape={b.shape}"
        raise ValueError(f"`a` and `b` must hold 2 or more rows as long. Received: {shapes}")
    cov_a, cov_b = (np.atleast_2d(np.cov(rows.T, dtype="float64")) for rows in (a, b))
    # The trace of (A^1/2 B A^1/2)^1/2 is the sum of the singular values of A^1/2 B^1/2.
    common = np.linalg.norm(_root(cov_a) @ _root(cov_b), "nuc")
    means = np.square(a.mean(axis=0, dtype="float64") - b.mean(axis=0, dtype="float64")).sum()
    return float(means + np.trace(cov_a + cov_b) - 2 * common)


def neighbour_error(
    codes: ArrayLike, labels: ArrayLike, test_codes: ArrayLike, test_labels: ArrayLike, k: int = 5
) -> float:
    """Share of test codes for which the vote of the `k` nearest of `codes` is wrong."""
    from sklearn.neighbors import KNeighborsClassifier

    codes, test_codes = array("codes", codes, rank=2), array("test_codes", test_codes, rank=2)
    same_length(codes=codes, labels=labels)
    same_length(test_codes=test_codes, test_labels=test_labels)
    voters = KNeighborsClassifier(whole("k", k, 1, len(codes))).fit(codes, labels)
    return 1 - float(voters.score(test_codes, test_labels))


def _pairs(x: ArrayLike, x_hat: ArrayLike, rank: int = 2) -> tuple[np.ndarray, np.ndarray]:
    x, x_hat = array("x", x, rank=rank), array("x_hat", x_hat, rank=rank)
    if x.shape != x_hat.shape:
        shapes = f"x.shape={x.shape}, x_hat.shape={x_hat.shape}"
        raise ValueError(f"`x` and `x_hat` must have the same shape. Received: {shapes}")
    dtype = np.result_type(x, x_hat, np.float32)  # differences of bytes would wrap around
    return x.astype(dtype, copy=False), x_hat.astype(dtype, copy=False)


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values.clip(0)) @ vectors.T
