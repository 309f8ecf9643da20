"""Recipes: halves that fit together at any size, the published order of weights, the schedule."""

import keras
import numpy as np
import pytest
from keras import layers

from aelib import losses, recipes
from aelib.autoencoder import Autoencoder
from aelib.variational import VariationalAutoencoder

SHAPES = [(28, 28, 1), (31, 18, 3), (1, 5, 1), (64, 64, 3)]


@pytest.mark.parametrize("make", [recipes.dense, recipes.convolutional])
@pytest.mark.parametrize("shape", SHAPES)
def test_halves_fit_together_at_any_size(make, shape):
    x = np.random.default_rng(0).random((2, *shape)).astype("float32")
    encoder, decoder = make(shape, [8, 4], 3)
    assert encoder(x).shape == (2, 3) and decoder(encoder(x)).shape == x.shape
    encoder, decoder = make(shape, [8], 3, variational=True)
    assert encoder(x).shape == (2, 6) and decoder(np.zeros((2, 3))).shape == x.shape


def test_a_dense_decoder_mirrors_its_encoder():
    encoder, decoder = recipes.dense((4, 3, 2), [16, 8], 5, activation="silu")
    kernels = [layer.kernel.shape for half in (encoder, decoder) for layer in half.layers[:-1]
               if isinstance(layer, layers.Dense)]  # fmt: skip
    kernels.insert(2, encoder.layers[-1].kernel.shape)
    assert kernels == [(24, 16), (16, 8), (8, 5), (5, 8), (8, 16), (16, 24)]
    activations = [
        layer.activation.__name__ for layer in (*encoder.layers[1:], *decoder.layers[:-1])
    ]
    assert activations == ["silu", "silu", "linear", "silu", "silu", "linear"]


def test_a_convolutional_decoder_mirrors_its_encoder():
    encoder, decoder = recipes.convolutional((28, 28, 1), [8, 16], 5)
    sizes = [layer.output.shape[1:] for layer in (*encoder.layers, *decoder.layers)]
    assert sizes == [
        (14, 14, 8), (7, 7, 16), (784,), (5,), (784,), (7, 7, 16), (14, 14, 8), (28, 28, 1),
        (28, 28, 1),
    ]  # fmt: skip
    with_activation = [
        part for part in (*encoder.layers, *decoder.layers) if hasattr(part, "activation")
    ]
    activations = [layer.activation.__name__ for layer in with_activation]
    assert activations == ["gelu", "gelu", "linear", "gelu", "gelu", "linear"]


def test_dense_weights_are_drawn_in_the_order_of_the_published_results():
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((6, 5, 1)), layers.Flatten()])
    decoder = keras.Sequential([keras.Input((2,))])
    for units in (7, 4):
        encoder.add(layers.Dense(units, "gelu"))
    for units in (4, 7):
        decoder.add(layers.Dense(units, "gelu"))
    encoder.add(layers.Dense(2))
    decoder.add(layers.Dense(30))
    keras.utils.set_random_seed(0)
    for half, expected in zip(recipes.dense((6, 5, 1), [7, 4], 2), (encoder, decoder), strict=True):
        for ours, theirs in zip(half.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("make", [recipes.dense, recipes.convolutional])
def test_pixels_are_float32_in_mixed_precision_and_can_start_at_a_mean(make):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        _, decoder = make((8, 8, 1), [4], 2, output_activation="sigmoid")
        decoder.layers[-2].kernel.assign(0 * decoder.layers[-2].kernel)
        decoder.layers[-2].bias.assign(0 * decoder.layers[-2].bias + np.log(2))
        x_hat = decoder(np.ones((1, 2)))
    finally:
        keras.config.set_dtype_policy(before)
    assert x_hat.dtype == "float32"
    np.testing.assert_allclose(x_hat, 2 / 3, rtol=1e-6)


def test_the_rate_rises_over_a_twentieth_and_falls_as_half_a_cosine():
    rate = recipes.schedule(0.2, 1000)
    at = [float(rate(step)) for step in (0, 25, 50, 50 + 475, 1000)]
    np.testing.assert_allclose(at, [0, 0.1, 0.2, 0.1, 0], atol=1e-7)
    third = 0.2 * 0.5 * (1 + np.cos(np.pi / 3))
    np.testing.assert_allclose(float(rate(50 + 950 / 3)), third, rtol=1e-4)


def test_a_training_too_short_for_a_warm_up_starts_at_the_peak():
    np.testing.assert_allclose([float(recipes.schedule(0.2, 5)(s)) for s in (0, 5)], [0.2, 0])


def test_adam_forgets_after_about_twenty_gradients():
    adam = recipes.adam(3e-3, 100)
    assert adam.beta_1 == 0.9 and adam.beta_2 == 0.95
    adam.build([keras.Variable(0.0)])
    adam.iterations.assign(5)
    np.testing.assert_allclose(float(adam.learning_rate), 3e-3)


def test_fit_trains_over_a_schedule_that_ends_with_the_last_step(images):
    keras.utils.set_random_seed(0)
    model = Autoencoder(*recipes.dense((12, 10, 1), [16], 4))
    history = recipes.fit(model, images, losses.SquaredError(), epochs=3, peak=1e-2, batch_size=16)
    assert len(history["loss"]) == 3
    assert history["loss"][-1] < history["loss"][0]
    assert int(model.optimizer.iterations) == 3 * 3  # 40 images are 3 batches of 16
    rate = model.optimizer.get_config()["learning_rate"]["config"]
    assert (rate["decay_steps"], rate["warmup_target"], rate["warmup_steps"]) == (9, 1e-2, 0)
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0, atol=1e-9)


def test_fit_passes_the_rest_on_and_takes_targets_and_nested_inputs(images):
    model = Autoencoder(*recipes.dense((12, 10, 1), [], 2))
    more = {"validation_data": (images[:5], images[:5]), "callbacks": []}
    history = recipes.fit(
        model, images, losses.SquaredError(), epochs=1, peak=1e-3, y=images, **more
    )
    assert "val_loss" in history
    a, b = keras.Input((3,)), keras.Input((2,))
    two = keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b])))
    x = [np.ones((10, 3)), np.ones((10, 2))]
    recipes.fit(two, x, "mse", epochs=2, peak=1e-3, y=np.ones((10, 1)), batch_size=4)
    assert int(two.optimizer.iterations) == 2 * 3


def test_a_variational_pair_is_what_the_model_takes(images):
    halves = recipes.convolutional((12, 10, 1), [4], 3, variational=True)
    model = VariationalAutoencoder(*halves)
    history = recipes.fit(model, images, losses.BernoulliCrossEntropy(), epochs=1, peak=1e-3)
    assert np.isfinite(history["kl"]).all() and model.reconstruct(images).shape == images.shape


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: recipes.dense((28, 0), [4], 2), "`shape` must be an integer >= 1. Received"),
        (lambda: recipes.dense((), [4], 2), r"`shape` must hold 1 or more .*: shape=\(\)"),
        (lambda: recipes.dense((4, 4), [2.5], 2), "`units` must be an integer >= 1"),
        (lambda: recipes.dense((4, 4), [2], 0), "`code_dim` must be .* Received: code_dim=0"),
        (lambda: recipes.dense((4, 4), [2], 1, variational=2), "`variational` must be True or"),
        (lambda: recipes.convolutional((28, 28), [4], 2), r"`shape` must hold 3 integers"),
        (lambda: recipes.convolutional((28, 28, 1), [], 2), r"`channels` must hold 1 or more"),
        (lambda: recipes.schedule(0, 10), "`peak` must be a finite number > 0"),
        (lambda: recipes.schedule(1e-3, 0), "`steps` must be an integer >= 1"),
        (lambda: recipes.fit(None, [], None, epochs=0, peak=1), "`epochs` must be an integer"),
    ],
)
def test_invalid_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
