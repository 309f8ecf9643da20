"""Principal component analysis in six steps: the linear ancestor of every autoencoder.

`transform` is its encoder, `inverse_transform` its decoder, and no other linear pair with as
many code numbers leaves less squared error.
"""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

_DTYPES = [np.float64, np.float32]


class PCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Projects onto the directions along which the data varies most.

    A scikit-learn transformer. Arithmetic while fitting is float64; what is learned, and what
    comes out, has the dtype of the data (float32 stays float32).

    Variances come from the covariance matrix, which costs seconds where the singular value
    decomposition of 60,000 images costs a minute, and are right to about 1e-15 times the
    largest of them. Data with more columns than rows has a covariance matrix that is
    larger than itself, so there the singular value decomposition is used. Both give
    orthonormal components, also for directions without any variance.

    Args:
        n_components: int in 1..min(rows, columns), how many directions are kept, or None
            for all min(rows, columns) of them.

    Attributes:
        mean_: `(columns,)`.
        components_: `(n_components, columns)`, orthonormal rows, the largest variance first.
            Of each row the coordinate largest in absolute value is positive.
        explained_variance_: `(n_components,)`, variance along each component, in squared
            units of the data; divided by rows - 1.
        explained_variance_ratio_: `(n_components,)`, the same as shares of the variance of
            all components, the left-out ones included (0 where the data does not vary).

    Reference: Jolliffe, "Principal Component Analysis", 2nd ed., 2002, chapters 1 and 3.
    """

    def __init__(self, n_components: int | None = None):
        self.n_components = n_components

    def fit(self, X: ArrayLike, y: object = None) -> "PCA":
        """Learns mean and components from `X`, `(rows, columns)` with at least two rows.

        Raises:
            ValueError: for NaN, infinity, an empty array, a single row, a rank other than two,
                or an `n_components` that the shape of `X` does not allow.
        """
        X = validate_data(self, X, dtype=_DTYPES, ensure_min_samples=2)
        kept = self._checked_n_components(min(X.shape))

        mean = X.mean(axis=0, dtype=np.float64)
        variances, components = _principal_axes(X - mean)
        total = variances.sum()

        self.mean_ = mean.astype(X.dtype)
        self.components_ = components[:kept].astype(X.dtype)
        self.explained_variance_ = variances[:kept].astype(X.dtype)
        self.explained_variance_ratio_ = (variances[:kept] / (total or 1.0)).astype(X.dtype)
        return self

    def transform(self, X: ArrayLike) -> NDArray:
        """The codes of `X`: `(rows, columns)` in, `(rows, n_components)` out."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        return (X - self.mean_) @ self.components_.T

    def inverse_transform(self, X: ArrayLike) -> NDArray:
        """The points with the codes `X`: `(rows, n_components)` in, `(rows, columns)` out.

        Raises:
            ValueError: for NaN, infinity, or codes that have not `n_components` columns.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=_DTYPES)
        if X.shape[1] != len(self.components_):
            raise ValueError(
                f"A code has one number for each of the {len(self.components_)} components. "
                f"Received: X.shape={X.shape}"
            )
        return X @ self.components_ + self.mean_

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked_n_components(self, most: int) -> int:
        if self.n_components is None:
            return most
        # A bool is an int to Python; here it is a mistake.
        whole = isinstance(self.n_components, Integral) and not isinstance(self.n_components, bool)
        if not whole or not 1 <= self.n_components <= most:
            raise ValueError(
                f"n_components is None or a whole number from 1 to {most}, the smaller side of "
                f"the data. Received: n_components={self.n_components!r}"
            )
        return int(self.n_components)


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
