"""Principal component analysis: the linear ancestor of every autoencoder.

`transform` is its encoder, `inverse_transform` its decoder, and no other linear pair with a code
of the same size leaves less squared error.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from aelib._checks import whole

_DTYPES = [np.float64, np.float32]


class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Projects onto the directions along which the data varies most.

    A scikit-learn transformer. It fits in float64; what it learns and returns has the dtype of the
    data (float32 stays float32). Variances are accurate to about 1e-15 times the largest of them.

    Args:
        n_components: int from 1 to min(rows, columns), the directions to keep; None keeps all.

    Attributes:
        mean_: `(columns,)`.
        components_: `(n_components, columns)`, orthonormal rows, sorted by decreasing variance.
            The entry of each row that is largest in absolute value is positive.
        explained_variance_: `(n_components,)`, variance along each component (divisor rows - 1),
            in squared units of the data.
        explained_variance_ratio_: `(n_components,)`, the same as shares of the variance along all
            components, also those left out (0 where the data does not vary).

    Example:

    ```python
    import numpy as np
    from aelib.pca import PCA

    x = np.random.default_rng(0).random((100, 8))
    codes = PCA(n_components=2).fit_transform(x)  # (100, 2)
    ```

    Reference: Jolliffe, "Principal Component Analysis", 2nd ed., 2002, chapters 1 and 3.
    """

    def __init__(self, n_components: int | None = None):
        self.n_components = n_components

    def fit(self, X: ArrayLike, y: object = None) -> "PCA":
        """Learns mean and components from `X`, `(rows, columns)`, with at least two rows.

        Data so large that its variances overflow (float32: about 1e18) raises `ValueError`.
        """
        X = validate_data(self, X, dtype=_DTYPES, ensure_min_samples=2)
        kept = min(X.shape)
        if self.n_components is not None:
            kept = whole("n_components", self.n_components, 1, kept)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = X.mean(axis=0, dtype=np.float64)
            centred = X - mean
            unit = max(centred.max(), -centred.min()) or 1.0
        limit = np.sqrt(np.finfo(X.dtype).max / (2 * X.shape[1]))
        if not unit < limit:
            expected = f"`X` must stay within {limit:.2g} of its mean, for variances in {X.dtype}"
            raise ValueError(f"{expected}. Received: X with differences of up to {unit:.3g}")
        centred /= unit  # squares of tiny numbers would vanish
        variances, components = _principal_axes(centred)
        total = variances.sum()
        self.mean_ = mean.astype(X.dtype)
        self.components_ = components[:kept].astype(X.dtype)
        self.explained_variance_ = (variances[:kept] * unit * unit).astype(X.dtype)
        self.explained_variance_ratio_ = (variances[:kept] / (total or 1.0)).astype(X.dtype)
        return self

    def transform(self, X: ArrayLike) -> NDArray:
        """Returns the codes, `(rows, n_components)`, of `X`, `(rows, columns)`."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        return (X - self.mean_) @ self.components_.T

    def inverse_transform(self, X: ArrayLike) -> NDArray:
        """Returns the points, `(rows, columns)`, with the codes `X`, `(rows, n_components)`."""
        check_is_fitted(self)
        X = check_array(X, dtype=_DTYPES)
        kept = len(self.components_)
        if X.shape[1] != kept:
            raise ValueError(f"`X` must have {kept} columns. Received: X.shape={X.shape}")
        return X @ self.components_ + self.mean_

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _principal_axes(centred: NDArray) -> tuple[NDArray, NDArray]:
    """All min(rows, columns) variances, descending, and their directions, one a row."""
    rows, columns = centred.shape
    if rows < columns:
        _, singular_values, directions = np.linalg.svd(centred, full_matrices=False)
        variances = singular_values**2 / (rows - 1)
    else:
        covariance = centred.T @ centred / (rows - 1)
        variances, eigenvectors = np.linalg.eigh(covariance)  # ascending, one a column
        # Rounding leaves tiny negative variances where there are none.
        variances, directions = variances[::-1].clip(min=0), eigenvectors.T[::-1]
    # Both v and -v solve the equation: fix the sign so that every machine gives the same.
    largest = np.abs(directions).argmax(axis=1, keepdims=True)
    return variances, directions * np.sign(np.take_along_axis(directions, largest, axis=1))
