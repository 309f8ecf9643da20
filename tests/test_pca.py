"""PCA: what mathematics promises, and what scikit-learn's own PCA computes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.utils.estimator_checks import parametrize_with_checks

from aelib.pca import PCA

SHAPES = {"tall": (200, 7), "square": (12, 12), "wide": (9, 40)}


@parametrize_with_checks([PCA(), PCA(n_components=1)])
def test_keeps_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def planted(singular_values, shape, seed=0):
    """Data with a mean of about 5 whose centred part has exactly these singular values."""
    rows, columns = shape
    random = np.random.default_rng(seed)
    count = len(singular_values)
    left = random.normal(size=(rows, count))
    left, _ = np.linalg.qr(left - left.mean(axis=0))  # columns orthonormal and centred
    right, _ = np.linalg.qr(random.normal(size=(columns, count)))
    return (left * singular_values) @ right.T + random.normal(5, 1, size=columns), right.T


def correlated(shape, dtype=np.float64, seed=0):
    random = np.random.default_rng(seed)
    columns = shape[1]
    mixing = random.normal(size=(columns, columns)) * np.linspace(2, 0.2, columns)
    return (random.normal(size=shape) @ mixing.T + random.normal(size=columns)).astype(dtype)


def assert_same_up_to_sign(components, expected, **tolerance):
    assert components.shape == expected.shape
    cosines = np.abs(np.sum(components * expected, axis=1))
    assert_allclose(cosines, 1, **tolerance)


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def x(request):
    return correlated(request.param)


# What mathematics promises


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_finds_planted_variances_and_directions(shape):
    singular_values = np.array([9.0, 5.0, 3.0, 1.0, 0.1])
    x, directions = planted(singular_values, shape)
    pca = PCA(n_components=5).fit(x)
    assert_allclose(pca.mean_, x.mean(axis=0))
    assert_allclose(pca.explained_variance_, singular_values**2 / (shape[0] - 1), rtol=1e-9)
    assert_allclose(
        pca.explained_variance_ratio_, singular_values**2 / np.sum(singular_values**2), rtol=1e-9
    )
    assert_same_up_to_sign(pca.components_, directions, rtol=1e-9)


@pytest.mark.parametrize("shape, smallest", [((100, 5), 1e-6), ((5, 100), 1e-12)])
def test_finds_singular_values_far_smaller_than_the_largest(shape, smallest):
    x, _ = planted(np.array([1.0, smallest]), shape)
    x -= x.mean(axis=0)  # the offset's own rounding would hide the smallest
    variance = PCA(n_components=2).fit(x).explained_variance_
    assert_allclose(variance[1] / variance[0], smallest**2, rtol=1e-2)


def test_components_are_orthonormal_and_sorted(x):
    pca = PCA().fit(x)
    assert pca.components_.shape == (min(x.shape), x.shape[1])
    assert_allclose(pca.components_ @ pca.components_.T, np.eye(min(x.shape)), atol=1e-12)
    assert np.all(np.diff(pca.explained_variance_) <= 0)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("rank", [0, 1, 3])
def test_directions_without_variance_are_orthonormal_too(shape, rank):
    x, _ = planted(np.arange(rank, 0, -1.0), shape)
    pca = PCA().fit(x)
    assert_allclose(pca.components_ @ pca.components_.T, np.eye(min(shape)), atol=1e-12)
    assert_allclose(pca.explained_variance_[rank:], 0, atol=1e-12)
    assert np.all(pca.explained_variance_ >= 0)
    assert_allclose(pca.inverse_transform(pca.transform(x)), x, atol=1e-10)
    assert np.all(np.isfinite(pca.explained_variance_ratio_))


def test_data_that_does_not_vary_explains_nothing():
    pca = PCA().fit(np.ones((4, 3)))
    assert_allclose(pca.explained_variance_, 0)
    assert_allclose(pca.explained_variance_ratio_, 0)


def test_total_variance_is_preserved(x):
    pca = PCA().fit(x)
    assert_allclose(pca.explained_variance_.sum(), x.var(axis=0, ddof=1).sum())
    assert_allclose(pca.explained_variance_ratio_.sum(), 1)
    half = PCA(n_components=3).fit(x)
    assert_allclose(half.explained_variance_ratio_, pca.explained_variance_ratio_[:3])


def test_codes_are_centred_uncorrelated_and_have_the_explained_variance(x):
    pca = PCA().fit(x)
    z = pca.transform(x)
    assert_allclose(z.mean(axis=0), 0, atol=1e-10)
    assert_allclose(z.T @ z / (len(x) - 1), np.diag(pca.explained_variance_), atol=1e-9)


def test_there_and_back_is_the_projection_onto_the_components(x):
    pca = PCA(n_components=3).fit(x)
    x_hat = pca.inverse_transform(pca.transform(x))
    basis = pca.components_.T
    projection = basis @ np.linalg.inv(basis.T @ basis) @ basis.T
    assert_allclose(x_hat, x.mean(axis=0) + (x - x.mean(axis=0)) @ projection)
    assert_allclose(pca.inverse_transform(pca.transform(x_hat)), x_hat)  # the second trip is free


@pytest.mark.parametrize("k", [1, 3, 6])
def test_reconstruction_error_is_the_sum_of_the_variances_left_out(x, k):
    pca = PCA(n_components=k).fit(x)
    error = np.sum((x - pca.inverse_transform(pca.transform(x))) ** 2) / (len(x) - 1)
    assert_allclose(error, PCA().fit(x).explained_variance_[k:].sum())


def test_all_components_give_the_data_back(x):
    pca = PCA().fit(x)
    assert_allclose(pca.inverse_transform(pca.transform(x)), x)


def test_no_other_plane_leaves_less_error(x):
    pca = PCA(n_components=2).fit(x)
    best = np.sum((x - pca.inverse_transform(pca.transform(x))) ** 2)
    centred = x - x.mean(axis=0)
    random = np.random.default_rng(0)
    for _ in range(20):
        basis, _ = np.linalg.qr(pca.components_.T + 0.05 * random.normal(size=(x.shape[1], 2)))
        assert np.sum((centred - centred @ basis @ basis.T) ** 2) > best


def test_signs_are_fixed(x):
    for pca in (PCA().fit(x), PCA().fit(-x)):
        largest = np.abs(pca.components_).argmax(axis=1)
        assert np.all(pca.components_[np.arange(len(largest)), largest] > 0)


# What scikit-learn computes


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-9), (np.float32, 1e-3)])
@pytest.mark.parametrize("shape", [(200, 7), (2000, 30), (12, 12), (9, 40), (13, 12), (2, 5)])
def test_equals_scikit_learn_up_to_sign(shape, dtype, tolerance):
    x = correlated(shape, dtype)
    k = min(shape) - 1  # of centred wide data the last direction is arbitrary
    ours, theirs = PCA(k).fit(x), SklearnPCA(k, svd_solver="full").fit(x)
    assert_same_up_to_sign(ours.components_, theirs.components_, rtol=tolerance)
    for name in ("mean_", "explained_variance_", "explained_variance_ratio_"):
        value = getattr(ours, name)
        assert value.dtype == dtype
        assert_allclose(value, getattr(theirs, name), rtol=tolerance, atol=tolerance)
    z, expected = ours.transform(x), theirs.transform(x)
    assert z.dtype == dtype
    assert_allclose(np.abs(z), np.abs(expected), atol=10 * tolerance)
    x_hat = ours.inverse_transform(z)
    assert x_hat.dtype == dtype
    assert_allclose(x_hat, theirs.inverse_transform(expected), atol=10 * tolerance)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_equals_scikit_learn_on_rank_deficient_data(shape):
    x, _ = planted(np.array([4.0, 2.0, 1.0]), shape)
    ours, theirs = PCA().fit(x), SklearnPCA(svd_solver="full").fit(x)
    assert_allclose(ours.explained_variance_, theirs.explained_variance_, atol=1e-12)
    assert_same_up_to_sign(ours.components_[:3], theirs.components_[:3], rtol=1e-9)
    assert_allclose(np.abs(ours.transform(x)), np.abs(theirs.transform(x)), atol=1e-9)


def test_many_float32_rows_far_from_zero_do_not_blur_mean_and_variances():
    x = correlated((100_000, 2)) + 1000
    ours, exact = PCA().fit(x.astype(np.float32)), PCA().fit(x)
    assert_allclose(ours.mean_, exact.mean_, rtol=1e-6)
    assert_allclose(ours.explained_variance_, exact.explained_variance_, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("float32", 1e-30), ("float32", 1e16), ("float64", 1e-200), ("float64", 1e150)],
)
def test_the_unit_of_the_data_does_not_matter(shape, dtype, scale):
    x, _ = planted([9.0, 5.0, 3.0], shape)
    x -= x.mean(axis=0)
    expected, found = PCA(3).fit(x), PCA(3).fit((scale * x).astype(dtype))
    assert_allclose(found.components_, expected.components_, atol=1e-5)
    ratio = expected.explained_variance_ratio_
    assert_allclose(found.explained_variance_ratio_, ratio, rtol=1e-5)
    if scale > 1:
        variance = scale * scale * expected.explained_variance_
        assert_allclose(found.explained_variance_, variance, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize(
    ("dtype", "scale"), [("float32", 1e30), ("float64", 1e200), ("float64", 5e304)]
)
def test_variances_that_no_number_holds_are_refused(shape, dtype, scale):
    x = (scale * correlated(shape)).astype(dtype)
    with pytest.raises(ValueError, match=f"variances in {dtype}. Received: X with differences"):
        PCA().fit(x)


def test_names_its_outputs_for_pandas_users(x):
    names = PCA(n_components=2).fit(x).get_feature_names_out()
    assert list(names) == ["pca0", "pca1"]


# Bad input


@pytest.mark.parametrize("n_components", [0, -1, 10, 2.0, 0.5, "2", "mle", True, [2], np.nan])
def test_n_components_is_checked(n_components):
    with pytest.raises(ValueError, match=r"Received: n_components=.+$"):
        PCA(n_components).fit(correlated(SHAPES["wide"]))


def test_n_components_may_be_a_numpy_integer():
    x = correlated((20, 5))
    assert PCA(np.int64(2)).fit(x).components_.shape == (2, 5)


@pytest.mark.parametrize(
    "x",
    [
        np.full((4, 3), np.nan),
        np.array([[1.0, np.inf], [0.0, 1.0]]),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.zeros((1, 3)),
        np.zeros(3),
        np.zeros((5, 2, 2)),
    ],
    ids=["nan", "infinity", "no rows", "no columns", "one row", "one axis", "three axes"],
)
def test_bad_data_is_refused(x):
    with pytest.raises(ValueError):
        PCA().fit(x)


def test_codes_of_the_wrong_width_are_refused(x):
    pca = PCA(n_components=3).fit(x)
    with pytest.raises(ValueError, match=r"Received: X\.shape=\(1, 2\)$"):
        pca.inverse_transform(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="NaN"):
        pca.inverse_transform(np.full((1, 3), np.nan))
    with pytest.raises(ValueError):
        pca.transform(np.zeros((1, x.shape[1] + 1)))
