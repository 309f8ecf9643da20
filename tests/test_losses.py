"""Losses against their formulas, written out in NumPy, and against what is known of them."""

import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from aelib import losses

ALL = [
    losses.SquaredError(),
    losses.BernoulliCrossEntropy(from_logits=True),
    losses.BernoulliCrossEntropy(from_logits=False),
    losses.GaussianNegativeLogLikelihood(stddev=0.3),
]


@pytest.fixture
def pair(images):
    """Targets and probabilities of the same shape, float64."""
    x = images.astype("float64")
    return x, np.random.default_rng(1).uniform(0.05, 0.95, x.shape)


def numbers(loss, x, y):
    return keras.ops.convert_to_numpy(loss.call(x, y))


def logit(p):
    return np.log(p) - np.log1p(-p)


def test_squared_error_is_the_sum_over_pixels_of_every_image(pair):
    x, x_hat = pair
    expected = [((a - b) ** 2).sum() for a, b in zip(x, x_hat, strict=True)]
    np.testing.assert_allclose(numbers(losses.SquaredError(), x, x_hat), expected)


def test_bernoulli_cross_entropy_is_the_negative_log_likelihood_of_binary_images(pair):
    x, x_hat = pair
    binary = (x > 0.5).astype("float64")
    expected = -stats.bernoulli.logpmf(binary.astype(int), x_hat).sum(axis=(1, 2, 3))
    given = numbers(losses.BernoulliCrossEntropy(from_logits=False), binary, x_hat)
    np.testing.assert_allclose(given, expected)


def test_bernoulli_cross_entropy_of_gray_images_is_the_expected_one(pair):
    """-x log x_hat - (1 - x) log(1 - x_hat): the mean over pixels drawn with probability x."""
    x, x_hat = pair
    expected = stats.bernoulli.logpmf(1, x_hat) * x + stats.bernoulli.logpmf(0, x_hat) * (1 - x)
    given = numbers(losses.BernoulliCrossEntropy(from_logits=False), x, x_hat)
    np.testing.assert_allclose(given, -expected.sum(axis=(1, 2, 3)))


def test_logits_and_probabilities_give_the_same(pair):
    x, x_hat = pair
    np.testing.assert_allclose(
        numbers(losses.BernoulliCrossEntropy(from_logits=True), x, logit(x_hat)),
        numbers(losses.BernoulliCrossEntropy(from_logits=False), x, x_hat),
    )


def test_the_least_bernoulli_cross_entropy_is_the_entropy_of_the_target(pair):
    x, x_hat = pair
    loss = losses.BernoulliCrossEntropy(from_logits=False)
    floor = stats.bernoulli(x).entropy().sum(axis=(1, 2, 3))
    np.testing.assert_allclose(numbers(loss, x, x), floor, rtol=1e-5)
    assert (numbers(loss, x, x_hat) > floor).all()


def test_logits_of_any_size_stay_finite():
    x = np.array([[0.0, 1.0, 0.0, 1.0]])
    logits = np.array([[-1e4, 1e4, 1e4, -1e4]])
    np.testing.assert_allclose(numbers(losses.BernoulliCrossEntropy(), x, logits), [2e4])


@pytest.mark.parametrize("stddev", [0.1, 1.0, 3.0])
def test_gaussian_is_the_negative_log_density(pair, stddev):
    x, x_hat = pair
    expected = -stats.norm(x_hat, stddev).logpdf(x).sum(axis=(1, 2, 3))
    given = numbers(losses.GaussianNegativeLogLikelihood(stddev), x, x_hat)
    np.testing.assert_allclose(given, expected)


def test_gaussian_at_one_is_half_the_squared_error_and_a_constant(pair):
    x, x_hat = pair
    gap = (
        numbers(losses.GaussianNegativeLogLikelihood(1.0), x, x_hat)
        - numbers(losses.SquaredError(), x, x_hat) / 2
    )
    np.testing.assert_allclose(gap, x[0].size * 0.5 * np.log(2 * np.pi))


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: type(loss).__name__)
class TestEveryLoss:
    def test_calling_it_averages_over_images_alone(self, loss, pair):
        x, x_hat = pair
        expected = numbers(loss, x, x_hat).mean()
        np.testing.assert_allclose(float(loss(x, x_hat)), expected, rtol=1e-6)

    def test_it_is_the_same_on_any_split_into_batches(self, loss, pair):
        x, x_hat = pair
        parts = [float(loss(x[i : i + 10], x_hat[i : i + 10])) for i in range(0, 40, 10)]
        np.testing.assert_allclose(np.mean(parts), float(loss(x, x_hat)), rtol=1e-6)

    def test_an_image_twice_as_large_counts_twice(self, loss, pair):
        x, x_hat = pair
        np.testing.assert_allclose(
            numbers(loss, np.concatenate([x, x], 1), np.concatenate([x_hat, x_hat], 1)),
            2 * numbers(loss, x, x_hat),
        )

    def test_it_is_a_float32_number_under_mixed_precision(self, loss, pair):
        x, x_hat = (array.astype("float16") for array in pair)
        assert loss(x, x_hat).dtype == "float32"
        assert np.isfinite(float(loss(x, x_hat)))

    def test_weights_leave_it_a_number_of_its_own_type(self, loss, pair):
        x, x_hat = (array.astype("float16") for array in pair)
        ones = np.ones_like(x)
        np.testing.assert_allclose(loss(x, x_hat, ones), loss(x, x_hat), rtol=1e-6)
        assert loss(x, x_hat, ones).dtype == "float32"
        double = type(loss).from_config({**loss.get_config(), "dtype": "float64"})
        assert double(*pair, np.ones_like(pair[0])).dtype == double(*pair).dtype == "float64"

    def test_it_is_reduced_and_named_as_any_loss_of_keras(self, loss, pair):
        """With and without weights: the sum over 40 images is 40 times their mean."""
        config = loss.get_config()
        total = type(loss).from_config({**config, "name": "total", "reduction": "sum"})
        assert total.name == "total"
        for weights in (None, np.ones_like(pair[0])):
            mean = float(loss(*pair, weights))
            np.testing.assert_allclose(float(total(*pair, weights)), 40 * mean, rtol=1e-6)
        words = re.sub("([A-Z])", r"_\1", type(loss).__name__).lower().strip("_")
        assert config["name"] == words, "metrics and files show the class's name"

    def test_its_config_makes_it_again(self, loss, pair):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
        assert type(again) is type(loss)
        assert float(again(*pair)) == float(loss(*pair))

    def test_another_shape_is_refused(self, loss, pair):
        x, x_hat = pair
        with pytest.raises(ValueError, match=r"Received: y_true.shape=\(40, 12, 10, 1\)"):
            loss(x, x_hat.reshape(40, -1))


@pytest.mark.parametrize("moved", [-0.5, 0.5])
def test_targets_of_the_bernoulli_loss_lie_between_0_and_1(pair, moved):
    x, x_hat = pair
    with pytest.raises(ValueError, match=r"Received: y_true between -?[01]?\.\d+ and [01]?\.\d+$"):
        losses.BernoulliCrossEntropy()(x + moved, x_hat)


def test_a_sure_and_wrong_probability_costs_a_finite_number():
    """That of 1e-7: -log 1e-7 = 16.1 nats; a sure and right one costs nothing."""
    loss = losses.BernoulliCrossEntropy(from_logits=False)
    x, x_hat = np.array([[0.0], [1.0], [0.0], [1.0]]), np.array([[1.0], [0.0], [0.0], [1.0]])
    wrong = -math.log(1e-7)
    np.testing.assert_allclose(numbers(loss, x, x_hat), [wrong, wrong, 0, 0], atol=1e-6)


def test_a_standard_deviation_is_1_unless_it_is_given(pair):
    default, one = losses.GaussianNegativeLogLikelihood(), losses.GaussianNegativeLogLikelihood(1.0)
    np.testing.assert_array_equal(numbers(default, *pair), numbers(one, *pair))


@pytest.mark.parametrize("stddev", [0, -1.0, float("inf"), float("nan"), "1", None, True])
def test_a_standard_deviation_is_a_finite_number_above_zero(stddev):
    with pytest.raises(ValueError, match="Received: stddev="):
        losses.GaussianNegativeLogLikelihood(stddev)


def test_from_logits_is_a_bool():
    with pytest.raises(ValueError, match="Received: from_logits='yes'"):
        losses.BernoulliCrossEntropy(from_logits="yes")


@pytest.mark.parametrize("from_logits", [True, False, None])
def test_a_pixel_of_weight_zero_is_missing(images, from_logits):
    """The loss is that of the other pixels, and what stands in the missing ones plays no part."""
    loss = (
        losses.SquaredError() if from_logits is None else losses.BernoulliCrossEntropy(from_logits)
    )
    rng = np.random.default_rng(1)
    weights = (rng.random(images.shape) < 0.5).astype("float32")
    x_hat = rng.random(images.shape).astype("float32")
    seen = loss.call(images.reshape(-1, 1), x_hat.reshape(-1, 1))  # every pixel an image
    expected = (np.ravel(seen) * weights.ravel()).sum() / 40
    np.testing.assert_allclose(loss(images, x_hat, weights), expected, rtol=1e-5)
    other = np.where(weights > 0, images, 1 - images)
    np.testing.assert_allclose(loss(other, x_hat, weights), expected, rtol=1e-5)
    doubled = loss(images, x_hat, 2 * np.ones_like(images))
    np.testing.assert_allclose(doubled, 2 * loss(images, x_hat), rtol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_a_weight_belongs_to_an_image_a_row_or_a_pixel(images, rank):
    rng = np.random.default_rng(1)
    x_hat, weights = rng.random(images.shape), rng.random(images.shape[:rank])
    spread = weights.reshape(*weights.shape, *[1] * (4 - rank))
    expected = ((images - x_hat) ** 2 * spread).sum() / 40
    np.testing.assert_allclose(losses.SquaredError()(images, x_hat, weights), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(39, 12), (40, 10), (40, 12, 11), (40, 12, 10, 2)])
def test_weights_of_another_shape_are_refused(images, shape):
    with pytest.raises(ValueError, match=r"Received: sample_weight.shape=.* y_true.shape=\(40, 12"):
        losses.SquaredError()(images, images, np.ones(shape))


def test_sizes_may_be_unknown_while_a_graph_is_traced(images):
    """The batch, an axis, and the rank of the weights: the graph runs on what then comes."""
    x, weights = tf.TensorSpec([None, None, 10, 1]), tf.TensorSpec(None)
    graph = tf.function(losses.SquaredError(), input_signature=[x, x, weights])
    for shape in ((40,), (40, 12), (40, 12, 10, 1)):
        given = np.random.default_rng(1).random(shape, "float32")
        expected = losses.SquaredError()(images, images[::-1], given)
        np.testing.assert_allclose(graph(images, images[::-1], given), expected, rtol=1e-5)


def test_a_mask_hides_images_and_counts_beside_weights(images):
    """The sum is never rescaled: the mean is over all images, the hidden ones too."""
    x_hat, seen = tf.zeros_like(images), np.arange(40) % 4 > 0
    x_hat._keras_mask = tf.constant(seen)
    errors = (images**2).sum(axis=(1, 2, 3))
    loss = losses.SquaredError()
    np.testing.assert_allclose(loss(images, x_hat), (errors * seen).sum() / 40, rtol=1e-5)
    weights = np.arange(40) / 40
    expected = (errors * seen * weights).sum() / 40
    np.testing.assert_allclose(loss(images, x_hat, weights), expected, rtol=1e-5)
