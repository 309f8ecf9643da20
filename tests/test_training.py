"""Adam's steps are Keras's, a step is traced once, and an epoch is every row once."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from aelib import recipes, training
from aelib.autoencoder import Autoencoder
from aelib.denoising import GaussianCorruption
from aelib.training import fuse_adam as fuse


def steps(fused, jit_compile=False, **arguments):
    """The weights after each of five steps along gradients of very different sizes."""
    rng = np.random.default_rng(0)
    weight = keras.Variable(rng.normal(size=(3, 4)), dtype="float32")
    schedule = keras.optimizers.schedules.CosineDecay(1e-1, 10)
    optimizer = keras.optimizers.Adam(schedule, **arguments)
    if fused:
        fuse(optimizer)
    optimizer.build([weight])

    @tf.function(jit_compile=jit_compile)
    def step(gradient):
        optimizer.apply([gradient], [weight])

    path = []
    for _ in range(5):
        step(tf.constant(rng.normal(size=(3, 4)) * 10 ** rng.uniform(-4, 2, (3, 4)), tf.float32))
        path.append(weight.numpy())
    return path


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"beta_1": 0.5, "beta_2": 0.95},
        {"epsilon": 1e-2},
        {"weight_decay": 0.1, "global_clipnorm": 1.0},
        {"amsgrad": True},
    ],
)
def test_the_steps_are_those_of_keras(arguments, jit_compile):
    np.testing.assert_allclose(
        steps(True, jit_compile, **arguments), steps(False, **arguments), rtol=1e-5, atol=1e-6
    )


def test_rows_of_an_embedding_take_the_steps_of_keras():
    weights = []
    for fused in (True, False):
        weight = keras.Variable(np.ones((3, 2)), dtype="float32")
        optimizer = keras.optimizers.Adam(0.1)
        if fused:
            fuse(optimizer)
        optimizer.build([weight])
        row = tf.IndexedSlices(tf.constant([[1.0, -2.0]]), tf.constant([1]), tf.constant([3, 2]))
        optimizer.apply([row], [weight])
        weights.append(weight.numpy())
    np.testing.assert_allclose(*weights, rtol=1e-6)
    assert not np.allclose(weights[0], 1)


def test_other_optimizers_are_left_alone():
    optimizer = keras.optimizers.AdamW(0.1)
    fuse(optimizer)
    assert "update_step" not in vars(optimizer)


@pytest.mark.parametrize("long", [0, 100])
def test_an_epoch_is_every_row_once_in_a_new_order(long, monkeypatch):
    monkeypatch.setattr(training, "LONG", long)

    def epochs():
        keras.utils.set_random_seed(0)
        dataset = training.rows((np.arange(10, 33), np.zeros(23)), 5, True)
        assert len(dataset) == 5
        return [[training.gathered(batch)[0].numpy() for batch in dataset] for _ in range(3)]

    first, again = epochs(), epochs()
    for epoch, same in zip(first, again, strict=True):
        assert [len(batch) for batch in epoch] == [5, 5, 5, 5, 3]
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(10, 33))
        np.testing.assert_array_equal(np.concatenate(epoch), np.concatenate(same))
    assert len({tuple(np.concatenate(epoch)) for epoch in first}) == 3


X = np.random.default_rng(0).random((40, 6), dtype="float32")


def network(kind, layers):
    halves = recipes.dense((6,), [5], 2)
    if kind == "plain Keras":
        return keras.Sequential([*halves, *layers])
    encoder = keras.Sequential([halves[0], *layers])
    return Autoencoder(encoder, halves[1], GaussianCorruption(0.1) if kind == "denoising" else None)


@pytest.mark.parametrize("kind", ["autoencoder", "denoising", "plain Keras"])
def test_a_training_step_is_traced_once(kind):
    traced = []

    class Counting(keras.layers.Layer):
        def call(self, x, training=False):
            if training and isinstance(x, tf.Tensor):  # not Keras's own symbolic run
                traced.append(x)
            return x

    model = network(kind, [Counting()])
    recipes.fit(model, X, "mse", epochs=2, peak=1e-3, y=X if kind == "plain Keras" else None)
    assert len(traced) == 1


@pytest.mark.parametrize("kind", ["autoencoder", "plain Keras"])
def test_weights_that_the_first_step_makes_are_trained(kind):
    class Late(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inside = keras.layers.Dense(2 if kind == "autoencoder" else 6)

        def build(self, input_shape):
            self.built = True

        def call(self, x, training=False):
            return self.inside(x) if training else x

    late = Late()
    model = network(kind, [late])
    recipes.fit(model, X, "mse", epochs=1, peak=1e-3, y=X if kind == "plain Keras" else None)
    assert late.inside.bias.numpy().any()


def test_no_thread_of_a_tuner_is_waited_for():
    assert training.rows((X,), 5, True).options().autotune.enabled is False
