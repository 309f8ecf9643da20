"""The contractive penalty against the autodiff Jacobian, finite differences and known mistakes."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import aelib
from aelib import contractive
from aelib.autoencoder import TransposedDense
from aelib.contractive import ContractiveAutoencoder, ContractiveDense, jacobian_penalty
from aelib.denoising import MaskingCorruption
from aelib.losses import SquaredError

ACTIVATIONS = ["sigmoid", "tanh", "relu", "linear"]
TOLERANCE = {"float32": 1e-4, "float64": 1e-6}


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(7, 9))


def layer(activation="sigmoid", units=5, weight=1.0, dtype="float64", inputs=9):
    """A layer whose weights are not those it was built with."""
    made = ContractiveDense(units, activation, weight, dtype=dtype)
    made.build((None, inputs))
    rng = np.random.default_rng(2)
    made.kernel.assign(rng.normal(size=(inputs, units)))
    made.bias.assign(rng.normal(size=units))
    return made


def own_penalty(dense, x):
    """What the layer adds to the loss."""
    dense(tf.constant(x))
    return dense.losses[0]


def plain_jacobian(activation, kernel, bias, x):
    """d h_j / d x_i of every image in NumPy: `(images, units, inputs)`."""
    a = x @ kernel + bias
    slope = {
        "sigmoid": np.exp(-a) / (1 + np.exp(-a)) ** 2,
        "tanh": 1 / np.cosh(a) ** 2,
        "relu": (a > 0).astype(a.dtype),
        "linear": np.ones_like(a),
    }[activation]
    return slope[:, :, None] * kernel.T[None]


# The three properties that a contractive penalty has. Each is checked for ours, and each of the
# mistakes below, put in its place, must fail one of them.


def check_value(dense, x):
    """The mean over images of ||dh/dx||_F^2, by autodiff and by NumPy, on the weights of now."""
    name = dense.activation.__name__
    tolerance = TOLERANCE[dense.dtype]
    given = float(own_penalty(dense, x))
    jacobian = plain_jacobian(name, dense.kernel.numpy(), dense.bias.numpy(), x)
    np.testing.assert_allclose(given, (jacobian**2).sum() / len(x), rtol=tolerance)
    exact = ops.mean(jacobian_penalty(dense, x.astype(dense.dtype)))
    np.testing.assert_allclose(given, exact, rtol=tolerance)


def check_gradient(dense, x):
    """By the kernel, against central differences in float64."""
    with tf.GradientTape() as tape:
        penalty = own_penalty(dense, x)
    gradient = tape.gradient(penalty, dense.kernel.value)
    assert gradient is not None, "no gradient reaches the kernel"
    kernel, expected = dense.kernel.numpy(), np.zeros(dense.kernel.shape)
    for place in np.ndindex(kernel.shape):
        step = np.zeros_like(kernel)
        step[place] = 1e-5
        values = []
        for moved in (kernel + step, kernel - step):
            dense.kernel.assign(moved)
            values.append(float(own_penalty(dense, x)))
        expected[place] = (values[0] - values[1]) / 2e-5
    dense.kernel.assign(kernel)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)


def check_repeated_batch(dense, x):
    """The same images twice over are the same mean."""
    once, twice = (float(own_penalty(dense, batch)) for batch in (x, np.concatenate([x, x])))
    np.testing.assert_allclose(twice, once, rtol=1e-9)


def check_one_step(dense, x):
    """After one step of gradient descent on the penalty it is another, and smaller."""
    with tf.GradientTape() as tape:
        penalty = own_penalty(dense, x)
    gradient = tape.gradient(penalty, dense.kernel.value)
    assert gradient is not None, "no gradient reaches the kernel"
    dense.kernel.assign_sub(1e-3 * gradient)
    assert float(own_penalty(dense, x)) < float(penalty) * (1 - 1e-4)


CHECKS = [check_value, check_gradient, check_repeated_batch, check_one_step]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_penalty_of_the_layer(check, activation, x):
    check(layer(activation), x)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_penalty_of_the_layer_in_float32(activation, x):
    check_value(layer(activation, dtype="float32"), x)


# Mistakes of public implementations, and near ones. Notebook 05 rebuilds the first four.


def frozen_kernel(dense, x, h):
    """The kernel fetched as numbers when the graph is built, and never again."""
    if not hasattr(dense, "fetched"):
        dense.fetched = keras.initializers.GlorotUniform(seed=0)(dense.kernel.shape)
    kernel = ops.cast(dense.fetched, h.dtype)
    return ops.mean(ops.sum((h * (1 - h)) ** 2 * ops.sum(kernel**2, axis=0), axis=1))


def detached_kernel(dense, x, h):
    """Only the kernel as values: a gradient is left, but not the whole one."""
    kernel = tf.stop_gradient(dense.kernel)
    return ops.mean(ops.sum((h * (1 - h)) ** 2 * ops.sum(kernel**2, axis=0), axis=1))


def summed_code(dense, x, h):
    """One gradient of the sum of the code: ||J^T 1||^2, all cross terms included."""
    gradient = ops.matmul(h * (1 - h), ops.transpose(dense.kernel))
    return ops.mean(ops.sum(gradient**2, axis=1))


def summed_over_the_batch(dense, x, h):
    return ops.sum((h * (1 - h)) ** 2 * ops.sum(dense.kernel**2, axis=0))


def weight_decay(dense, x, h):
    return ops.sum(dense.kernel**2)


def slope_not_squared(dense, x, h):
    return ops.mean(ops.sum(h * (1 - h) * ops.sum(dense.kernel**2, axis=0), axis=1))


def sums_over_rows(dense, x, h):
    """The norms of the kernel's rows, which belong to the pixels (9 units, so that it runs)."""
    return ops.mean(ops.sum((h * (1 - h)) ** 2 * ops.sum(dense.kernel**2, axis=1), axis=1))


def averaged_over_units(dense, x, h):
    return ops.mean((h * (1 - h)) ** 2 * ops.sum(dense.kernel**2, axis=0))


def detached(dense, x, h):
    """Weights and code as values: right to the last digit, and no gradient."""
    kernel, h = tf.stop_gradient(dense.kernel), tf.stop_gradient(h)
    return ops.mean(ops.sum((h * (1 - h)) ** 2 * ops.sum(kernel**2, axis=0), axis=1))


MISTAKES = {
    frozen_kernel: {"check_value"},
    detached_kernel: {"check_gradient"},
    summed_code: {"check_value"},
    summed_over_the_batch: {"check_value", "check_repeated_batch"},
    weight_decay: {"check_value"},
    slope_not_squared: {"check_value"},
    sums_over_rows: {"check_value"},
    averaged_over_units: {"check_value"},
    detached: {"check_gradient", "check_one_step"},
}


def failing_checks(dense, x):
    failed = set()
    for check in CHECKS:
        try:
            check(dense, x)
        except AssertionError:
            failed.add(check.__name__)
    return failed


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_every_public_mistake_in_place_of_ours_is_found(mistake, x, monkeypatch):
    def call(self, inputs, training=None):
        h = layers.Dense.call(self, inputs)
        self.add_loss(mistake(self, inputs, h))
        return h

    assert not failing_checks(layer(units=9), x)
    monkeypatch.setattr(ContractiveDense, "call", call)
    assert failing_checks(layer(units=9), x) >= MISTAKES[mistake]


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
def test_the_slope_of_a_sigmoid_for_another_activation_is_found(activation, x, monkeypatch):
    sigmoid = contractive._DERIVATIVES[keras.activations.sigmoid]
    wrong = dict.fromkeys(contractive._DERIVATIVES, sigmoid)
    monkeypatch.setattr(contractive, "_DERIVATIVES", wrong)
    assert "check_value" in failing_checks(layer(activation), x)


# The layer


def test_weight_scales_the_loss_and_not_the_metric(x):
    one, three = layer(weight=1.0), layer(weight=3.0)
    np.testing.assert_allclose(own_penalty(three, x), 3 * own_penalty(one, x))
    np.testing.assert_allclose(three.metrics[0].result(), own_penalty(one, x), rtol=1e-6)


def test_positions_add_up(x):
    """A dense layer applied at every position: the Jacobian has one block for each."""
    dense, sequence = layer(), np.random.default_rng(3).normal(size=(4, 3, 9))
    parts = sum(float(own_penalty(dense, sequence[:, i])) for i in range(3))
    np.testing.assert_allclose(float(own_penalty(dense, sequence)), parts)
    np.testing.assert_allclose(ops.mean(jacobian_penalty(dense, sequence)), parts)


@pytest.mark.parametrize("activation", ["gelu", "softmax", keras.activations.elu])
def test_an_activation_without_closed_form_is_refused(activation):
    with pytest.raises(ValueError, match="Received: activation="):
        ContractiveDense(4, activation, 0.1)


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan"), "1", None, True])
def test_a_weight_is_a_finite_number_not_below_zero(weight, make_parts):
    with pytest.raises(ValueError, match="Received: weight="):
        ContractiveDense(4, "relu", weight)
    with pytest.raises(ValueError, match="Received: weight="):
        ContractiveAutoencoder(*make_parts(), weight)


# The exact penalty of any encoder


def conv_encoder(dtype="float64"):
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input((6, 5, 2), dtype=dtype),
            layers.Conv2D(3, 3, strides=2, padding="same", activation="gelu", dtype=dtype),
            layers.Conv2D(2, 2, activation="tanh", dtype=dtype),
        ]
    )


def test_the_penalty_of_a_convolutional_encoder_is_that_of_finite_differences():
    """With a code of rank 3; the Jacobian column by column, pixel by pixel."""
    encoder = conv_encoder()
    x = np.random.default_rng(5).normal(size=(3, 6, 5, 2))
    expected = np.zeros(len(x))
    for place in np.ndindex(x.shape[1:]):
        step = np.zeros(x.shape[1:])
        step[place] = 1e-5
        column = (encoder(x + step).numpy() - encoder(x - step).numpy()) / 2e-5
        expected += (column**2).sum(axis=(1, 2, 3))
    given = jacobian_penalty(encoder, x)
    assert given.shape == (3,) and given.dtype == "float64"
    np.testing.assert_allclose(given, expected, rtol=1e-7)


def test_its_gradient_by_the_weights_of_a_convolution_is_that_of_finite_differences():
    encoder = conv_encoder()
    x = np.random.default_rng(5).normal(size=(2, 6, 5, 2))
    kernel = encoder.layers[0].kernel
    with tf.GradientTape() as tape:
        penalty = tf.reduce_mean(jacobian_penalty(encoder, x))
    direction = np.random.default_rng(6).normal(size=kernel.shape)
    slope = float(tf.reduce_sum(tape.gradient(penalty, kernel.value) * direction))
    start, values = kernel.numpy(), []
    for step in (1e-5, -1e-5):
        kernel.assign(start + step * direction)
        values.append(float(tf.reduce_mean(jacobian_penalty(encoder, x))))
    np.testing.assert_allclose(slope, (values[0] - values[1]) / 2e-5, rtol=1e-6)


def test_the_penalty_of_a_linear_map_is_its_squared_frobenius_norm(x):
    dense = layer("linear")
    expected = np.full(len(x), (dense.kernel.numpy() ** 2).sum())
    np.testing.assert_allclose(jacobian_penalty(dense, x), expected)


def test_noise_and_batch_statistics_of_training_stay_out_of_it(x):
    dense = layer()
    encoder = keras.Sequential([keras.Input((9,)), layers.Dropout(0.5), dense])
    np.testing.assert_allclose(
        jacobian_penalty(encoder, x.astype("float32")), jacobian_penalty(dense, x), rtol=1e-5
    )


# The model


def model(estimator="exact", weight=0.1, units=6, learning_rate=1e-2, jit_compile=False):
    """One tied sigmoid layer on images of 12 x 10 x 1."""
    keras.utils.set_random_seed(0)
    dense = layers.Dense(units, "sigmoid")
    encoder = keras.Sequential([keras.Input((12, 10, 1)), layers.Flatten(), dense])
    decoder = keras.Sequential(
        [
            keras.Input((units,)),
            TransposedDense(dense, dtype="float32"),
            layers.Reshape((12, 10, 1), dtype="float32"),
        ]
    )
    made = ContractiveAutoencoder(encoder, decoder, weight, estimator)
    made.compile(keras.optimizers.SGD(learning_rate), SquaredError(), jit_compile=jit_compile)
    return made


def test_the_loss_is_reconstruction_plus_weighted_penalty(images):
    made = model(weight=0.5, learning_rate=0.0)
    penalty = float(ops.mean(jacobian_penalty(made.encoder, images)))
    error = ((images - made.reconstruct(images)) ** 2).sum(axis=(1, 2, 3)).mean()
    history = made.fit(images, batch_size=16, validation_data=images, verbose=0).history
    reported = made.evaluate(images, batch_size=7, verbose=0, return_dict=True)
    assert reported.keys() == {"loss", "contraction"}
    assert history.keys() == {"loss", "contraction", "val_loss", "val_contraction"}
    for values in (reported, {name: history[name][0] for name in history}):
        for name, value in values.items():
            expected = penalty if name.endswith("contraction") else error + 0.5 * penalty
            # Keras averages the loss over batches, and weighs them by their images.
            np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_weights_weigh_the_error_and_not_the_penalty(images):
    made = model(weight=0.5)
    penalty = float(ops.mean(jacobian_penalty(made.encoder, images)))
    errors = (images - made.reconstruct(images)) ** 2
    for shape in (images.shape, (40, 1, 1, 1)):  # a weight per pixel, one per image
        weights = np.random.default_rng(2).random(shape)
        given = weights.ravel() if shape[1] == 1 else weights
        shown = made.evaluate(images, sample_weight=given, verbose=0, return_dict=True)
        expected = (errors * weights).sum() / 40 + 0.5 * penalty
        assert shown == pytest.approx({"loss": expected, "contraction": penalty}, rel=1e-5)


def test_layer_and_model_train_alike(images):
    """The closed form as a layer and the Jacobian in the model: the same steps."""
    ours = model(weight=0.3, learning_rate=0.01)
    dense = ContractiveDense(6, "sigmoid", 0.3)
    encoder = keras.Sequential([keras.Input((12, 10, 1)), layers.Flatten(), dense])
    decoder = [keras.Input((6,)), TransposedDense(dense), layers.Reshape((12, 10, 1))]
    other = aelib.autoencoder.Autoencoder(encoder, keras.Sequential(decoder))
    other.set_weights(ours.get_weights())
    other.compile(keras.optimizers.SGD(0.01), SquaredError())
    a, b = (
        m.fit(images, epochs=3, batch_size=8, shuffle=False, verbose=0).history
        for m in (ours, other)
    )
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-4)
    np.testing.assert_allclose(a["contraction"], b[dense.name], rtol=1e-4)
    for v, w in zip(ours.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(v, w, rtol=1e-3, atol=1e-5)


def test_both_are_counted_when_the_encoder_has_a_penalty_of_its_own(images):
    dense = ContractiveDense(4, "tanh", 2.0)
    encoder = keras.Sequential([keras.Input((12, 10, 1)), layers.Flatten(), dense])
    decoder = keras.Sequential([keras.Input((4,)), layers.Dense(120), layers.Reshape((12, 10, 1))])
    both = ContractiveAutoencoder(encoder, decoder, 3.0)
    both.compile(keras.optimizers.SGD(0.0), SquaredError())
    penalty = float(ops.mean(jacobian_penalty(encoder, images)))
    error = ((images - both.reconstruct(images)) ** 2).sum(axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(both.evaluate(images, verbose=0)[0], error + 5 * penalty, rtol=1e-5)


@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_a_larger_weight_leaves_a_smaller_jacobian(images, estimator):
    norms = []
    for weight in (0.0, 5.0):
        made = model(estimator, weight)
        made.fit(images, epochs=20, batch_size=20, verbose=0)
        norms.append(float(ops.mean(jacobian_penalty(made.encoder, images))))
    assert norms[1] < 0.8 * norms[0]


@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_xla_on_and_off(images, estimator):
    """The estimator draws other signs under XLA, so only its untrained mean can be compared."""
    rate = 1e-2 if estimator == "exact" else 0.0
    many = np.tile(images, (50, 1, 1, 1))
    made = [model(estimator, jit_compile=jit, learning_rate=rate) for jit in (False, True)]
    a, b = (m.fit(many, epochs=2, batch_size=200, shuffle=False, verbose=0).history for m in made)
    tolerance = 1e-4 if estimator == "exact" else 0.05
    for name in ("loss", "contraction"):
        np.testing.assert_allclose(a[name], b[name], rtol=tolerance)


def test_the_layer_under_xla(images):
    values = []
    for jit in (False, True):
        keras.utils.set_random_seed(0)
        net = keras.Sequential([layers.Flatten(), ContractiveDense(6, "relu", 0.1)])
        net.compile(keras.optimizers.SGD(1e-2), "mse", jit_compile=jit)
        history = net.fit(images, np.zeros((40, 6)), epochs=3, shuffle=False, verbose=0).history
        values.append(history["loss"])
    np.testing.assert_allclose(*values, rtol=1e-4)


def test_a_convolutional_encoder_trains_under_both_estimators_and_xla(images):
    for estimator in ("exact", "hutchinson"):
        keras.utils.set_random_seed(0)
        encoder = keras.Sequential(
            [
                keras.Input((12, 10, 1)),
                layers.Conv2D(2, 3, strides=2, padding="same", activation="gelu"),
                layers.BatchNormalization(),
            ]
        )
        decoder = keras.Sequential(
            [keras.Input((6, 5, 2)), layers.Conv2DTranspose(1, 3, strides=2, padding="same")]
        )
        made = ContractiveAutoencoder(encoder, decoder, 0.01, estimator)
        made.compile(keras.optimizers.Adam(1e-2), SquaredError(), jit_compile=True)
        loss = made.fit(images, epochs=8, batch_size=20, verbose=0).history["loss"]
        assert np.isfinite(loss).all() and loss[-1] < loss[0]


# Hutchinson's estimator


def draws(made, x, count):
    """Many estimates for each image: `(count, images)`."""
    return made._projected_penalty(np.repeat(x, count, axis=0)).numpy().reshape(len(x), -1).T


def jacobians(encoder, x):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = encoder(x)
    return tape.batch_jacobian(z, x).numpy().reshape(len(x), z.shape[1], -1)


def test_the_mean_of_the_estimator_is_the_exact_penalty_and_its_variance_the_stated_one(images):
    made, x, count = model("hutchinson"), images[:3], 20000
    # A kernel with large cross terms, so that the estimator has something to spread about.
    rng = np.random.default_rng(0)
    dense = made.encoder.layers[-1]
    dense.kernel.assign(0.3 * rng.normal(size=(120, 1)) + 0.1 * rng.normal(size=(120, 6)))
    estimates = draws(made, x, count)
    exact = jacobian_penalty(made.encoder, x).numpy()
    gram = np.stack([j @ j.T for j in jacobians(made.encoder, x)])
    off_diagonal = gram - gram * np.eye(6)
    variance = 2 * (off_diagonal**2).sum(axis=(1, 2))
    assert (np.abs(estimates.mean(axis=0) - exact) < 4 * np.sqrt(variance / count)).all()
    np.testing.assert_allclose(estimates.var(axis=0), variance, rtol=0.06)


def test_every_image_has_its_own_projection(images):
    made = model("hutchinson")
    estimates = draws(made, images[:1], 100)
    assert len(np.unique(estimates.round(4))) > 20


def test_projections_are_fresh_in_training_and_fixed_in_evaluation(images):
    made = model("hutchinson", learning_rate=0.0)
    first = made.evaluate(images, verbose=0)
    history = made.fit(images, epochs=3, shuffle=False, validation_data=images, verbose=0).history
    assert len(set(history["contraction"])) == 3
    assert len(set(history["val_contraction"])) == 1
    assert made.evaluate(images, verbose=0) == first


def test_the_seed_repeats_the_training(images):
    runs = [model("hutchinson").fit(images, epochs=2, verbose=0).history for _ in range(2)]
    assert runs[0] == runs[1]


# Files, precision, replicas, refusals


@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_a_loaded_model_gives_equal_outputs_and_losses(images, tmp_path, estimator):
    made = model(estimator)
    made.fit(images, verbose=0)
    made.save(tmp_path / "model.keras")
    again = aelib.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.reconstruct(images), made.reconstruct(images))
    assert again.evaluate(images, verbose=0) == made.evaluate(images, verbose=0)
    assert again.weight == made.weight and again.estimator == estimator


def test_a_tied_contractive_layer_is_one_variable_after_loading(images, tmp_path):
    dense = ContractiveDense(6, "sigmoid", 0.1)
    encoder = keras.Sequential([keras.Input((12, 10, 1)), layers.Flatten(), dense])
    decoder = [keras.Input((6,)), TransposedDense(dense), layers.Reshape((12, 10, 1))]
    made = aelib.autoencoder.Autoencoder(encoder, keras.Sequential(decoder))
    made.compile("adam", SquaredError())
    made.fit(images, verbose=0)
    made.save(tmp_path / "model.keras")
    again = aelib.load_model(tmp_path / "model.keras")
    assert again.decoder.layers[0].dense is again.encoder.layers[1]
    assert again.evaluate(images, verbose=0) == made.evaluate(images, verbose=0)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_the_penalty_of_a_half_precision_layer_does_not_overflow(policy, x):
    dense = ContractiveDense(5, "linear", 1.0, dtype=policy)
    dense.build((None, 9))
    dense.kernel.assign(np.full((9, 5), 200.0))
    penalty = own_penalty(dense, x)
    assert penalty.dtype == "float32"
    np.testing.assert_allclose(penalty, 45 * 200.0**2, rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_mixed_precision_gives_finite_float32_losses_close_to_those_of_float32(
    images, policy, estimator
):
    exact = model(estimator).evaluate(images, verbose=0)
    keras.config.set_dtype_policy(policy)
    try:
        made = model(estimator)
        assert jacobian_penalty(made.encoder, images).dtype == "float32"
        np.testing.assert_allclose(made.evaluate(images, verbose=0), exact, rtol=0.02)
        history = made.fit(images, epochs=2, verbose=0).history
        assert np.isfinite([*history["loss"], *history["contraction"]]).all()
    finally:
        keras.config.set_dtype_policy("float32")


def test_two_replicas_train_like_one():
    """In a process of its own: the number of devices is fixed once TensorFlow has started."""
    program = """
import aelib, keras, numpy as np, tensorflow as tf
from aelib import contractive, losses
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).random((40, 6)).astype("float32")
def train(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, "tanh")])
        decoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6)])
        model = contractive.ContractiveAutoencoder(encoder, decoder, 1.0)
        model.compile(keras.optimizers.SGD(0.05), losses.SquaredError())
    history = model.fit(x, epochs=3, batch_size=20, shuffle=False, verbose=0).history
    return np.array([*history["loss"], *history["contraction"], *model.evaluate(x, verbose=0)])
one = train(tf.distribute.get_strategy())
two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
np.testing.assert_allclose(two, one, rtol=1e-4)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_replica_without_images_has_no_penalties(x):
    """Each of two replicas has its share of a last batch: one image, and none."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        dense = layer()
    shares = [tf.constant(x[:1]), tf.constant(x[:0])]
    values = strategy.experimental_distribute_values_from_function(
        lambda context: shares[context.replica_id_in_sync_group]
    )
    penalties = strategy.run(lambda x: jacobian_penalty(dense, x), args=(values,))
    one, none = strategy.experimental_local_results(penalties)
    np.testing.assert_allclose(one, jacobian_penalty(layer(), x[:1]), rtol=1e-9)
    assert none.shape == (0,)


def test_a_mean_over_pixels_is_refused_beside_the_penalty(make_parts):
    with pytest.raises(ValueError, match="Received: loss='mse'.*beside ContractiveAutoencoder"):
        ContractiveAutoencoder(*make_parts(), 0.1).compile("adam", "mse")


def test_an_unknown_estimator_and_a_corruption_that_is_none_are_refused(make_parts):
    with pytest.raises(ValueError, match="Received: estimator='exakt'"):
        ContractiveAutoencoder(*make_parts(), 0.1, "exakt")
    with pytest.raises(ValueError, match="Received: corruption="):
        ContractiveAutoencoder(*make_parts(), 0.1, corruption=0.1)


def test_a_contractive_denoiser_is_contracted_where_its_input_is(make_parts, images):
    """A corruption that hides everything: the encoder sees 0, the target is the clean image."""
    model = ContractiveAutoencoder(*make_parts(), 0.1, corruption=MaskingCorruption(1.0))
    model.compile("sgd", SquaredError())
    shown = model.evaluate(images, verbose=0, return_dict=True)
    hidden = np.zeros_like(images)
    penalty = np.mean(jacobian_penalty(model.encoder, hidden))
    error = float(SquaredError()(images, model(hidden)))
    np.testing.assert_allclose(shown["contraction"], penalty, rtol=1e-5)
    np.testing.assert_allclose(shown["loss"], error + 0.1 * penalty, rtol=1e-5)
