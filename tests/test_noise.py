"""Noise: Gaussian or uniform to its ends, fresh in training, the same in every evaluation."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from aelib import noise
from aelib.denoising import GaussianCorruption

KINDS = {"normal": "norm", "uniform": "uniform"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_holds_what_its_kind_says(kind):
    table = noise.in_table(kind, 0, 8191, (5,)).numpy()
    assert table.shape == (8191, 5) and len(np.unique(table)) > 0.99 * table.size
    assert stats.kstest(table.ravel(), KINDS[kind]).pvalue > 1e-3
    np.testing.assert_allclose(np.corrcoef(table.T), np.eye(5), atol=0.05)
    np.testing.assert_allclose(
        np.corrcoef(table[:-1].ravel(), table[1:].ravel())[0, 1], 0, atol=0.02
    )


def test_what_stands_in_the_table_depends_on_the_position_alone():
    whole = noise.in_table("normal", 0, 100, (2, 3))
    for position, rows in ((0, 1), (3, 20), (99, 1), (3 + 8191, 20)):
        part = noise.in_table("normal", tf.constant(position, "int64"), rows, (2, 3))
        np.testing.assert_array_equal(part, whole[position % 8191 : position % 8191 + rows])


def test_the_table_is_the_same_under_xla():
    draw = lambda first: noise.in_table("normal", first, 30, (5,))  # noqa: E731
    plain, compiled = (
        tf.function(draw, jit_compile=jit)(tf.constant(9, "int64")) for jit in (False, True)
    )
    np.testing.assert_array_equal(plain, compiled)


def test_pixels_and_codes_are_drawn_from_two_streams():
    codes, pixels = (noise.in_table(kind, 0, 4000, (1,)) for kind in KINDS)
    rank = stats.spearmanr(np.ravel(codes), np.ravel(pixels)).statistic
    assert abs(rank) < 0.06


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_noise_is_new_at_each_call_and_the_seed_repeats_it(kind):
    draw = getattr(noise, kind)
    one, other = keras.random.SeedGenerator(3), keras.random.SeedGenerator(3)
    first, second = draw((5000,), one), draw((5000,), one)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06
    np.testing.assert_array_equal(draw((5000,), other), first)
    assert stats.kstest(np.ravel(first), KINDS[kind]).pvalue > 1e-3


def test_replicas_draw_different_numbers():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    assert strategy.num_replicas_in_sync == 1  # two need a process of their own: test_variational
    with strategy.scope():
        generator = keras.random.SeedGenerator(3)
    drawn = strategy.run(lambda: noise.normal((3,), generator))
    np.testing.assert_array_equal(drawn, noise.normal((3,), keras.random.SeedGenerator(3)))


def test_repeated_states_draw_the_same_and_training_goes_on():
    corruption, twin = GaussianCorruption(1.0, seed=5), GaussianCorruption(1.0, seed=5)
    x = np.zeros((2, 3), "float32")
    corruption(x, training=True), twin(x, training=True)
    states = noise.random_states(corruption)
    assert len(states) == 1
    inside = []
    for _ in range(2):
        with noise.repeated(states):
            inside.append(corruption(x, training=True).numpy())
        corruption(x, training=True), twin(x, training=True)
    np.testing.assert_array_equal(*inside)
    np.testing.assert_array_equal(corruption(x, training=True), twin(x, training=True))
