"""Information: what entropies and divergences must satisfy, whatever the numbers are."""

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from scipy.integrate import quad

from aelib.information import (
    bernoulli_cross_entropy,
    bernoulli_entropy,
    cross_entropy,
    entropy,
    gaussian_kl,
    kl_divergence,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def p(rng):
    return rng.dirichlet(np.ones(6), size=50)


@pytest.fixture
def q(rng):
    return rng.dirichlet(np.ones(6), size=50)


class TestDiscrete:
    def test_uniform_entropy_is_the_logarithm_of_the_number_of_outcomes(self):
        for n in (1, 2, 10, 1000):
            assert entropy(np.full(n, 1 / n)) == pytest.approx(np.log(n), abs=1e-12)

    def test_a_known_code(self):
        """Codewords 0, 10, 110, 111: lengths 1, 2, 3, 3, mean length the entropy."""
        assert entropy([1 / 2, 1 / 4, 1 / 8, 1 / 8], base=2) == pytest.approx(1.75)

    def test_entropy_is_least_for_certainty_and_greatest_for_uniform(self, p):
        assert entropy([0.0, 1.0, 0.0]) == 0.0
        assert np.all(entropy(p) > 0) and np.all(entropy(p) < np.log(6))

    def test_cross_entropy_is_entropy_plus_divergence(self, p, q):
        np.testing.assert_allclose(cross_entropy(p, q), entropy(p) + kl_divergence(p, q))

    def test_cross_entropy_is_the_mean_surprise(self):
        """Outcome 0 costs log 4, outcome 1 log 4/3; they happen 9 and 1 times in 10."""
        expected = 0.9 * np.log(4) + 0.1 * np.log(4 / 3)
        assert cross_entropy([0.9, 0.1], [0.25, 0.75]) == pytest.approx(expected)

    def test_divergence_is_positive_and_zero_only_for_equal_distributions(self, p, q):
        assert np.all(kl_divergence(p, q) > 0)
        assert np.all(kl_divergence(p, p) == 0)
        nearly = p * (1 + 1e-12 * np.arange(6))
        nearly /= nearly.sum(axis=-1, keepdims=True)
        assert np.all(kl_divergence(p, nearly) >= 0)

    def test_divergence_has_a_direction(self):
        assert kl_divergence([1.0, 0.0], [0.5, 0.5]) == pytest.approx(np.log(2))
        assert kl_divergence([0.5, 0.5], [1.0, 0.0]) == np.inf

    def test_divergence_from_uniform_is_the_missing_entropy(self, p):
        np.testing.assert_allclose(kl_divergence(p, np.full(6, 1 / 6)), np.log(6) - entropy(p))

    def test_independent_variables_add_up(self, p, q):
        def pair(a, b):
            return np.einsum("ni,nj->nij", a, b).reshape(len(a), -1)

        other_p, other_q = p[::-1], q[::-1]
        np.testing.assert_allclose(entropy(pair(p, other_p)), entropy(p) + entropy(other_p))
        np.testing.assert_allclose(
            kl_divergence(pair(p, other_p), pair(q, other_q)),
            kl_divergence(p, q) + kl_divergence(other_p, other_q),
        )

    def test_chain_rule(self, rng):
        """H(x, y) = H(x) + E_x H(y | x), and the same for the divergence."""
        p = rng.dirichlet(np.ones(12)).reshape(3, 4)
        q = rng.dirichlet(np.ones(12)).reshape(3, 4)
        p_x, q_x = p.sum(axis=1), q.sum(axis=1)
        p_y, q_y = p / p_x[:, None], q / q_x[:, None]
        assert entropy(p.ravel()) == pytest.approx(entropy(p_x) + p_x @ entropy(p_y))
        assert kl_divergence(p.ravel(), q.ravel()) == pytest.approx(
            kl_divergence(p_x, q_x) + p_x @ kl_divergence(p_y, q_y)
        )

    def test_merging_outcomes_loses_information(self, p, q):
        def merged(x):
            return x.reshape(-1, 3, 2).sum(axis=-1)

        assert np.all(entropy(merged(p)) < entropy(p))
        assert np.all(kl_divergence(merged(p), merged(q)) < kl_divergence(p, q))

    def test_base_changes_the_unit_only(self, p, q):
        for base in (2, 10, 0.5):
            np.testing.assert_allclose(entropy(p, base=base) * np.log(base), entropy(p))
            np.testing.assert_allclose(
                cross_entropy(p, q, base=base) * np.log(base), cross_entropy(p, q)
            )
            np.testing.assert_allclose(
                kl_divergence(p, q, base=base) * np.log(base), kl_divergence(p, q)
            )
        assert entropy([0.5, 0.5], base=2) == pytest.approx(1.0)

    def test_equals_scipy(self, p, q):
        np.testing.assert_allclose(entropy(p, base=2), scipy.stats.entropy(p, base=2, axis=-1))
        np.testing.assert_allclose(kl_divergence(p, q), scipy.stats.entropy(p, q, axis=-1))

    def test_zero_probabilities(self):
        assert entropy([0.5, 0.5, 0.0]) == pytest.approx(np.log(2))
        assert kl_divergence([0.5, 0.5, 0.0], [0.25, 0.75, 0.0]) == pytest.approx(np.log(4 / 3) / 2)
        assert cross_entropy([0.5, 0.5, 0.0], [0.5, 0.5, 0.0]) == pytest.approx(np.log(2))
        assert cross_entropy([0.5, 0.5], [1.0, 0.0]) == np.inf

    def test_axis_and_broadcasting(self, p, q):
        np.testing.assert_array_equal(entropy(p.T, axis=0), entropy(p))
        np.testing.assert_allclose(cross_entropy(p.T, q.T, axis=0), cross_entropy(p, q))
        against_one = kl_divergence(p, q[0])
        assert against_one.shape == (50,)
        assert against_one[7] == pytest.approx(kl_divergence(p[7], q[0]))
        assert entropy(p[0]).shape == ()

    def test_float32_is_accepted_and_computed_in_float64(self, rng):
        p = rng.dirichlet(np.ones(10_000)).astype(np.float32)
        assert entropy(p).dtype == np.float64
        assert entropy(p) == pytest.approx(scipy.stats.entropy(p.astype(np.float64)), rel=1e-12)


class TestBernoulli:
    probabilities = np.linspace(0, 1, 11)

    def test_equals_the_discrete_versions_on_two_outcomes(self):
        a, b = np.meshgrid(self.probabilities, self.probabilities[1:-1])
        two_a, two_b = np.stack([a, 1 - a], axis=-1), np.stack([b, 1 - b], axis=-1)
        np.testing.assert_allclose(bernoulli_entropy(a), entropy(two_a), atol=1e-15)
        np.testing.assert_allclose(bernoulli_cross_entropy(a, b), cross_entropy(two_a, two_b))

    def test_entropy_is_the_least_cross_entropy(self):
        a, b = np.meshgrid(self.probabilities, np.linspace(0, 1, 101))
        excess = bernoulli_cross_entropy(a, b) - bernoulli_entropy(a)
        np.testing.assert_array_equal(excess.argmin(axis=0), 10 * np.arange(11))
        np.testing.assert_allclose(excess.min(axis=0), 0, atol=1e-15)

    def test_known_values(self):
        assert bernoulli_entropy(0.5) == pytest.approx(np.log(2))
        np.testing.assert_array_equal(bernoulli_entropy([0.0, 1.0]), 0)
        np.testing.assert_array_equal(bernoulli_cross_entropy([0, 1], [0, 1]), 0)
        np.testing.assert_array_equal(bernoulli_cross_entropy([0, 1, 0.5], [1, 0, 1]), np.inf)
        assert bernoulli_cross_entropy(1.0, 0.25) == pytest.approx(np.log(4))

    def test_is_elementwise_and_broadcasts(self, rng):
        images = rng.random((5, 4, 4, 3)).astype(np.float32)
        assert bernoulli_entropy(images).shape == images.shape
        assert bernoulli_cross_entropy(images, images.mean(axis=0)).shape == images.shape

    def test_small_probabilities_keep_their_digits(self):
        assert bernoulli_cross_entropy(0.0, 1e-20) == pytest.approx(1e-20, abs=0)


GAUSSIANS = [
    (0.0, 1.0, 0.0, 1.0),
    (1.0, 0.5, 0.0, 1.0),
    (0.3, 2.0, -1.0, 0.7),
    (5.0, 1.0, 0.0, 3.0),
]


class TestGaussian:
    @pytest.mark.parametrize("gaussians", GAUSSIANS)
    def test_equals_the_integral(self, gaussians):
        mean_p, std_p, mean_q, std_q = gaussians
        p, q = scipy.stats.norm(mean_p, std_p), scipy.stats.norm(mean_q, std_q)
        integral, _ = quad(
            lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)),
            mean_p - 12 * std_p,
            mean_p + 12 * std_p,
        )
        assert gaussian_kl(*gaussians) == pytest.approx(integral, abs=1e-9)

    def test_equals_a_monte_carlo_mean(self, rng):
        mean_p, std_p = np.array([1.0, -0.5, 0.2]), np.array([0.5, 1.5, 1.0])
        mean_q, std_q = np.array([0.0, 0.5, 0.2]), np.array([1.0, 2.0, 0.5])
        x = mean_p + std_p * rng.standard_normal((200_000, 3))
        log_ratio = (
            scipy.stats.norm.logpdf(x, mean_p, std_p) - scipy.stats.norm.logpdf(x, mean_q, std_q)
        ).sum(axis=-1)
        standard_error = log_ratio.std() / np.sqrt(len(x))
        closed = gaussian_kl(mean_p, std_p, mean_q, std_q)
        assert abs(log_ratio.mean() - closed) < 4 * standard_error

    def test_equals_the_general_formula_with_diagonal_covariances(self, rng):
        """KL = (tr(S_q^-1 S_p) + d^T S_q^-1 d - n + log det S_q - log det S_p) / 2."""
        mean_p, mean_q = rng.normal(size=(2, 4))
        std_p, std_q = rng.uniform(0.3, 3, size=(2, 4))
        cov_p, inverse_q = np.diag(std_p**2), np.linalg.inv(np.diag(std_q**2))
        d = mean_p - mean_q
        general = np.trace(inverse_q @ cov_p) + d @ inverse_q @ d - 4
        general -= np.linalg.slogdet(inverse_q)[1] + np.linalg.slogdet(cov_p)[1]
        assert gaussian_kl(mean_p, std_p, mean_q, std_q) == pytest.approx(general / 2)

    def test_defaults_to_the_standard_normal(self, rng):
        """With log_var the logarithm of the variance: (var + mean^2 - 1 - log_var) / 2."""
        mean, log_var = rng.normal(size=(2, 8, 5))
        expected = (np.exp(log_var) + mean**2 - 1 - log_var).sum(axis=-1) / 2
        np.testing.assert_allclose(gaussian_kl(mean, np.exp(log_var / 2)), expected)

    def test_hand_values(self):
        assert gaussian_kl(1.0, 1.0) == 0.5
        assert gaussian_kl(0.0, 2.0) == pytest.approx(1.5 - np.log(2))
        assert gaussian_kl(0.0, 1.0, 0.0, 2.0) == pytest.approx(np.log(2) - 3 / 8)

    def test_is_positive_and_zero_only_for_equal_gaussians(self, rng):
        mean_p, mean_q = rng.normal(size=(2, 1000))
        std_p, std_q = rng.uniform(0.1, 3, size=(2, 1000))
        assert np.all(gaussian_kl(mean_p, std_p, mean_q, std_q, axis=None) > 0)
        assert np.all(gaussian_kl(mean_p, std_p, mean_p, std_p, axis=None) == 0)
        nearly = std_p * (1 + 1e-11 * np.arange(1000))
        assert np.all(gaussian_kl(mean_p, std_p, mean_p, nearly, axis=None) >= 0)

    def test_is_unchanged_when_both_are_shifted_and_scaled(self, rng):
        mean_p, mean_q = rng.normal(size=(2, 6))
        std_p, std_q = rng.uniform(0.3, 3, size=(2, 6))
        scale, shift = rng.uniform(0.1, 10, size=6), rng.normal(size=6)
        moved = (shift + scale * mean_p, scale * std_p, shift + scale * mean_q, scale * std_q)
        assert gaussian_kl(*moved) == pytest.approx(gaussian_kl(mean_p, std_p, mean_q, std_q))

    def test_dimensions_add_up_along_the_axis(self, rng):
        mean, std = rng.normal(size=(7, 3, 4)), rng.uniform(0.3, 3, size=(7, 3, 4))
        each = gaussian_kl(mean, std, axis=None)
        assert each.shape == (7, 3, 4)
        for axis in (-1, 0, 1):
            np.testing.assert_allclose(gaussian_kl(mean, std, axis=axis), each.sum(axis=axis))
        assert each[0, 0, 0] == gaussian_kl(mean[0, 0, 0], std[0, 0, 0])

    def test_numbers_give_a_number(self):
        for axis in (-1, 0, None):
            assert np.shape(gaussian_kl(1.0, 1.0, axis=axis)) == ()

    def test_means_broadcast_against_deviations(self):
        assert gaussian_kl(np.ones(3), 1.0) == pytest.approx(1.5)


@pytest.mark.parametrize("outcomes", [2, 10, 1000, 20_000])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_softmax_of_any_type_is_a_distribution(rng, dtype, outcomes):
    for scale in (0.0, 1.0, 5.0):
        logits = tf.constant(scale * rng.normal(size=(20, outcomes)), dtype)
        softmax = tf.nn.softmax(logits)
        assert softmax.dtype == dtype
        relative = {"float16": 1e-2, "bfloat16": 5e-2}.get(dtype, 1e-5)
        exact = scipy.stats.entropy(tf.nn.softmax(tf.cast(logits, "float64")), axis=-1)
        np.testing.assert_allclose(entropy(softmax), exact, rtol=relative, atol=1e-4)
        np.testing.assert_allclose(cross_entropy(softmax, softmax), entropy(softmax), rtol=1e-9)
        assert (kl_divergence(softmax, softmax[::-1]) >= 0).all()


def test_each_type_has_its_own_tolerance():
    for dtype, error in (("float16", 2e-3), ("bfloat16", 1.2e-2), ("float32", 1e-5)):
        for sign in (-1, 1):
            p = np.array([0.25, 0.25, 0.5], ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
            p[2] = float(p[2]) + sign * 0.75 * error
            assert entropy(p) == pytest.approx(1.5 * np.log(2), rel=0.01)
            p[2] = 0.5 + sign * 4 * error
            with pytest.raises(ValueError, match="`p` must sum to 1. Received: p with sum"):
                entropy(p)
    # Counts are no probabilities: whole numbers are not rounded at all.
    for p in ([1, 1], [True, True]):
        with pytest.raises(ValueError, match="p with sum 2"):
            entropy(p)
    # A float64 array may hold what a network computed in float32, and no less.
    with pytest.raises(ValueError, match="p with sum 0.99956"):
        entropy(np.array([0.5, 0.49956]))


def test_the_tolerance_of_a_half_precision_sum_is_two_roundings():
    """A softmax divides rounded numbers by their rounded sum. Its sum may be off by 2 eps."""
    for dtype, eps in ((np.float16, 2.0**-10), (ml_dtypes.bfloat16, 2.0**-7)):
        for sign in (-1, 1):
            entropy(np.array([0.5, 0.5 + sign * 2 * eps], dtype))
            with pytest.raises(ValueError, match="Received: p with sum"):
                entropy(np.array([0.5, 0.5 + sign * 2.5 * eps], dtype))


def test_many_rare_outcomes_are_each_rounded_by_half_the_smallest_number():
    """In float16 each of 300,000 outcomes of 2^-25 is rounded up to 2^-24: 0.009 too much."""
    smallest, count = 2.0**-24, 300_000
    p = np.full(count, smallest, "float16")
    p[0] = 1 - count * smallest / 2
    assert entropy(p) > 0
    p[1:] = 2 * smallest
    with pytest.raises(ValueError, match="p with sum 1.02"):
        entropy(p)


def test_pixels_and_gaussians_may_be_of_half_precision():
    for dtype in (np.float16, ml_dtypes.bfloat16):
        half = np.array([0.5, 0.25], dtype)
        full = half.astype("float64")
        np.testing.assert_array_equal(bernoulli_entropy(half), bernoulli_entropy(full))
        assert gaussian_kl(half, half, half, half) == 0
        assert gaussian_kl(half, half) == gaussian_kl(full, full)


BAD_CALLS = {
    "negative": (lambda: entropy([1.5, -0.5]), "p with -0.5"),
    "NaN": (lambda: entropy([0.5, np.nan]), "p with 1 NaN"),
    "infinite": (lambda: entropy([np.inf, 0.0]), "p with 1 NaN or infinite"),
    "not normalised": (lambda: entropy([0.5, 0.4]), "p with sum 0.9"),
    "one row not normalised": (lambda: entropy([[0.5, 0.5], [0.5, 0.51]]), "p with sum 1.01"),
    "empty": (lambda: entropy([]), r"p.shape=\(0,\)"),
    "one number": (lambda: entropy(1.0), r"p.shape=\(\)"),
    "no numbers": (lambda: entropy(["heads", "tails"]), "p.dtype=<U5"),
    "p of two not normalised": (lambda: kl_divergence([0.5, 0.6], [0.5, 0.5]), "p with sum 1.1"),
    "q not normalised": (lambda: cross_entropy([0.5, 0.5], [0.5, 0.6]), "q with sum 1.1"),
    "q negative": (lambda: kl_divergence([0.5, 0.5], [-0.5, 1.5]), "q with -0.5"),
    "lengths": (
        lambda: cross_entropy([0.5, 0.5], [0.2, 0.3, 0.5]),
        "p with 2 and q with 3 outcomes",
    ),
    "length one": (lambda: kl_divergence([0.5, 0.5], [1.0]), "p with 2 and q with 1 outcomes"),
    "batches": (
        lambda: kl_divergence(np.full((2, 2), 0.5), np.full((3, 2), 0.5)),
        r"p.shape=\(2, 2\), q.shape=\(3, 2\)",
    ),
    "axis": (lambda: entropy([0.5, 0.5], axis=1), "axis=1"),
    "axis no integer": (lambda: entropy([0.5, 0.5], axis=0.0), "axis=0.0"),
    "base 0": (lambda: entropy([0.5, 0.5], base=0), "base=0"),
    "base 1": (lambda: cross_entropy([0.5, 0.5], [0.5, 0.5], base=1), "base=1"),
    "base negative": (lambda: kl_divergence([0.5, 0.5], [0.5, 0.5], base=-2), "base=-2"),
    "base NaN": (lambda: entropy([0.5, 0.5], base=np.nan), "base=nan"),
    "base no number": (lambda: entropy([0.5, 0.5], base="2"), "base='2'"),
    "pixel above 1": (lambda: bernoulli_entropy([0.5, 1.1]), "a with 1.1"),
    "pixel NaN": (lambda: bernoulli_cross_entropy(0.5, np.nan), "b with 1 NaN"),
    "pixel below 0": (lambda: bernoulli_cross_entropy(-0.1, 0.5), "a with -0.1"),
    "pixel shapes": (
        lambda: bernoulli_cross_entropy(np.zeros(2), np.zeros(3)),
        r"a.shape=\(2,\), b.shape=\(3,\)",
    ),
    "deviation 0": (lambda: gaussian_kl(0.0, 0.0), "std_p with 0"),
    "deviation negative": (lambda: gaussian_kl(0.0, 1.0, 0.0, [1.0, -1.0]), "std_q with -1"),
    "deviation NaN": (lambda: gaussian_kl(0.0, np.nan), "std_p with 1 NaN"),
    "deviation infinite": (
        lambda: gaussian_kl(0.0, 1.0, 0.0, np.inf),
        "std_q with 1 NaN or infinite",
    ),
    "mean NaN": (lambda: gaussian_kl(np.nan, 1.0), "mean_p with 1 NaN"),
    "other mean NaN": (lambda: gaussian_kl(0.0, 1.0, np.nan), "mean_q with 1 NaN"),
    "Gaussian shapes": (
        lambda: gaussian_kl(np.zeros(2), np.ones(3)),
        r"mean_p.shape=\(2,\), std_p.shape=\(3,\)",
    ),
    "Gaussian axis": (lambda: gaussian_kl(np.zeros(2), 1.0, axis=2), "axis=2"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_input_is_refused_naming_what_was_received(name):
    call, received = BAD_CALLS[name]
    with pytest.raises(ValueError, match=rf"Received: .*{received}.*$") as error:
        call()
    assert type(error.value) is ValueError and "\n" not in str(error.value)


def test_starts_without_tensorflow():
    code = "import sys, aelib.information; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
