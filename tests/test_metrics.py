"""Metrics: closed forms, identities, and the same from SciPy, scikit-image and scikit-learn."""

import sys

import numpy as np
import pytest
from scipy import linalg

from aelib import metrics

rng = np.random.default_rng(0)


@pytest.fixture
def pair():
    x = rng.random((5, 9, 8, 3)).astype("float32")
    return x, np.clip(x + 0.1 * rng.normal(size=x.shape), 0, 1).astype("float32")


@pytest.mark.parametrize("shape", [(4, 6), (4, 3, 2), (4, 3, 2, 1), (4, 2, 2, 2, 3)])
def test_squared_error_sums_over_all_pixels_of_an_image(shape):
    x, x_hat = rng.random((2, *shape))
    expected = [np.linalg.norm((a - b).ravel()) ** 2 for a, b in zip(x, x_hat, strict=True)]
    np.testing.assert_allclose(metrics.squared_error(x, x_hat), expected)


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float16", "int64"])
def test_squared_error_does_not_wrap_around_or_overflow(dtype):
    x = np.zeros((1, 300), dtype)
    x_hat = np.ones((1, 300), dtype) if dtype == "bool" else np.full((1, 300), 255, dtype)
    assert metrics.squared_error(x, x_hat) == 300 * float(x_hat[0, 0]) ** 2


def test_psnr_is_twenty_decibels_for_an_error_of_a_tenth():
    x = np.full((3, 4, 4, 1), 0.5)
    x_hat = x + np.array([0.1, -0.1, 0.01]).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(metrics.psnr(x, x_hat), [20, 20, 40])
    np.testing.assert_array_equal(metrics.psnr(x, x), np.inf)
    assert metrics.psnr(np.ones((1, 2)), np.full((1, 2), 7.0)) == np.inf  # it is clipped


def test_psnr_and_ssim_are_those_of_scikit_image(pair):
    from skimage.metrics import peak_signal_noise_ratio

    x, x_hat = pair
    theirs = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(x, x_hat, strict=True)]
    np.testing.assert_allclose(metrics.psnr(x, x_hat), theirs, rtol=1e-5)
    ours = metrics.ssim(x, x_hat)
    assert ours.shape == (5,) and (ours < 1).all() and (ours > 0).all()
    np.testing.assert_allclose(metrics.ssim(x, x), 1)
    np.testing.assert_allclose(metrics.ssim(x_hat, x), ours, rtol=1e-5)
    np.testing.assert_allclose(metrics.ssim(x, x_hat + 5.0 * (x_hat == 1)), ours, rtol=1e-5)


def test_ssim_of_constant_images_has_a_closed_form():
    a, b, c = 0.25, 0.75, 0.01**2
    expected = (2 * a * b + c) / (a * a + b * b + c)
    x = np.full((1, 7, 7, 1), a)
    np.testing.assert_allclose(metrics.ssim(x, np.full_like(x, b)), [expected])


def test_ssim_says_what_to_install(monkeypatch, pair):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(ImportError, match=r"pip install 'aelib\[course\]'"):
        metrics.ssim(*pair)


def test_frechet_distance_of_one_dimensional_gaussians():
    a = rng.normal(size=(1000, 1))
    a = (a - a.mean()) / a.std(ddof=1)
    np.testing.assert_allclose(metrics.frechet_distance(a, 3 * a + 4), 4**2 + (3 - 1) ** 2)


def test_frechet_distance_is_the_formula_with_scipys_matrix_root():
    a = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6))
    b = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)) + rng.normal(size=6)
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = np.real(linalg.sqrtm(cov_a @ cov_b))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    np.testing.assert_allclose(metrics.frechet_distance(a, b), expected)
    np.testing.assert_allclose(metrics.frechet_distance(b, a), expected)


def test_frechet_distance_is_zero_for_the_same_and_invariant_to_rotations():
    a, b = rng.normal(size=(2, 30, 5)) * np.arange(1, 6)
    b[:, 0] = 0  # a singular covariance
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    distance = metrics.frechet_distance(a, b)
    np.testing.assert_allclose(metrics.frechet_distance(a, a), 0, atol=1e-9)
    np.testing.assert_allclose(metrics.frechet_distance(a @ turn + 7, b @ turn + 7), distance)
    np.testing.assert_allclose(metrics.frechet_distance(2 * a, 2 * b), 4 * distance)


def test_frechet_distance_of_float32_features_far_from_zero_keeps_its_digits():
    a = rng.normal(size=(500, 4)) + 1000
    near = a.astype("float32")
    expected = metrics.frechet_distance(near.astype("float64"), near[::2].astype("float64"))
    np.testing.assert_allclose(metrics.frechet_distance(near, near[::2]), expected, rtol=1e-9)


def test_neighbours_vote_and_the_share_of_wrong_votes_is_counted():
    codes = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    labels = np.array([0, 0, 1, 1, 1, 0])
    tests, truth = np.array([[0.9], [1.9], [11.0], [10.0]]), np.array([0, 1, 1, 0])
    assert metrics.neighbour_error(codes, labels, tests, truth, k=1) == 0.25  # 10 is of class 1
    assert metrics.neighbour_error(codes, labels, tests, truth, k=3) == 0.5  # 1.9 falls to class 0
    assert metrics.neighbour_error(codes, labels, codes, labels, k=1) == 0
    names = np.array(list("aabbba"))
    assert metrics.neighbour_error(codes, names, tests, np.array(list("abba")), k=3) == 0.5


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: metrics.squared_error(np.ones((2, 3)), np.ones((2, 1))),
            "must have the same shape",
        ),
        (lambda: metrics.squared_error([1.0], [1.0]), "`x` must have rank 2 or more"),
        (lambda: metrics.psnr([[np.nan]], [[1.0]]), "`x` must be finite"),
        (lambda: metrics.ssim(np.ones((2, 9, 9)), np.ones((2, 9, 9))), "`x` must have rank 4"),
        (lambda: metrics.frechet_distance(np.ones((3, 2)), np.ones((3, 1))), r"b.shape=\(3, 1\)"),
        (lambda: metrics.frechet_distance(np.ones((1, 2)), np.ones((3, 2))), r"a.shape=\(1, 2\)"),
        (
            lambda: metrics.neighbour_error([[1.0]], [0], [[1.0]], [0]),
            "`k` must be an integer from",
        ),
        (lambda: metrics.neighbour_error([[1.0]], [0, 1], [[1.0]], [0]), "the same length"),
        (lambda: metrics.neighbour_error([[1.0]], [0], [[1.0]], [0, 1]), "the same length"),
    ],
)
def test_invalid_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
