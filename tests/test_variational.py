"""The bound against Monte Carlo, against NumPy and against a likelihood known in closed form."""

import math
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy import stats

import aelib
from aelib import noise, sampling, variational
from aelib.autoencoder import Autoencoder
from aelib.losses import BernoulliCrossEntropy, GaussianNegativeLogLikelihood, SquaredError
from aelib.variational import GaussianSampling, VariationalAutoencoder


def gaussian_kl(mean, log_var):
    """In float64, summed over latents."""
    mean, log_var = np.asarray(mean, "float64"), np.asarray(log_var, "float64")
    return 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).sum(axis=-1)


# The layer


def sampled(mean, log_var, n, **arguments):
    """The layer, and what it draws for `n` images with the same code."""
    layer = GaussianSampling(seed=1, **arguments)
    h = np.tile(np.concatenate([mean, log_var]).astype("float32"), (n, 1))
    return layer, layer(h).numpy(), h


MEAN, LOG_VAR = np.array([0.5, -1.0, 0.0, 2.0]), np.array([0.3, -2.0, 0.0, 1.0])


def test_the_kl_in_closed_form_is_that_of_monte_carlo():
    layer, z, _ = sampled(MEAN, LOG_VAR, 100_000)
    deviation = np.exp(0.5 * LOG_VAR)
    ratios = (stats.norm.logpdf(z, MEAN, deviation) - stats.norm.logpdf(z)).sum(axis=1)
    error = ratios.std() / math.sqrt(len(ratios))
    kl = float(layer.losses[0])
    assert abs(kl - ratios.mean()) < 4 * error < 0.05
    np.testing.assert_allclose(kl, gaussian_kl(MEAN, LOG_VAR), rtol=1e-5)
    np.testing.assert_allclose(layer.metrics[0].result(), kl, rtol=1e-5)
    assert layer.metrics[0].name == layer.name


def test_the_draws_have_the_mean_and_deviation_of_the_code():
    _, z, _ = sampled(MEAN, LOG_VAR, 50_000)
    deviation = np.exp(0.5 * LOG_VAR)
    standard = (z - MEAN) / deviation
    for latent in standard.T:
        assert stats.kstest(latent, "norm").pvalue > 1e-3
    np.testing.assert_allclose(np.corrcoef(standard.T), np.eye(4), atol=0.03)
    neighbours = np.corrcoef(standard[:-1].ravel(), standard[1:].ravel())[0, 1]
    assert abs(neighbours) < 0.02


def test_the_noise_is_new_for_every_image_and_call_and_the_seed_repeats_it():
    layer, first, h = sampled(MEAN, LOG_VAR, 50)
    again, z, _ = sampled(MEAN, LOG_VAR, 50)
    np.testing.assert_array_equal(first, z)
    np.testing.assert_array_equal(layer(h), again(h))
    assert len(np.unique(np.concatenate([first, layer(h)]))) == 2 * 50 * 4


def test_the_kl_is_summed_over_latents_and_averaged_over_images():
    h = np.random.default_rng(0).normal(size=(6, 3, 8)).astype("float32")
    layer = GaussianSampling()
    assert layer(h).shape == (6, 3, 4)
    each = gaussian_kl(h[..., :4], h[..., 4:]).sum(axis=1)
    np.testing.assert_allclose(layer.losses[0], each.mean(), rtol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.5, 4.0])
def test_the_weight_is_the_beta_of_the_kl_and_the_metric_shows_the_kl(weight):
    h = np.random.default_rng(0).normal(size=(7, 6)).astype("float32")
    layer = GaussianSampling(weight)
    layer(h)
    kl = gaussian_kl(h[:, :3], h[:, 3:]).mean()
    np.testing.assert_allclose(layer.losses[0], weight * kl, rtol=1e-5)
    np.testing.assert_allclose(layer.metrics[0].result(), kl, rtol=1e-5)
    with pytest.raises(ValueError, match="Received: weight=-1"):
        GaussianSampling(-1)


def test_gradients_reach_mean_and_log_variance():
    h = tf.constant(np.concatenate([MEAN, LOG_VAR])[None], "float32")
    layer = GaussianSampling(seed=1)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(h)
        z = layer(h)
        kl = layer.losses[0]
    by_z = tape.gradient(z, h).numpy()[0]
    np.testing.assert_allclose(by_z[:4], 1)
    np.testing.assert_allclose(by_z[4:], 0.5 * (z.numpy()[0] - MEAN), rtol=1e-5)
    by_kl = tape.gradient(kl, h).numpy()[0]
    np.testing.assert_allclose(by_kl, [*MEAN, *(0.5 * (np.exp(LOG_VAR) - 1))], atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "mixed_float16"])
@pytest.mark.parametrize("log_var", [12.0, 30.0, 100.0, 6e4])
def test_a_large_log_variance_leaves_finite_draws_and_a_finite_kl(dtype, log_var):
    layer = GaussianSampling(seed=0, dtype=dtype)
    h = tf.constant(np.full((500, 8), log_var) * ([0.0] * 4 + [1.0] * 4), layer.compute_dtype)
    z = layer(h)
    kl = layer.losses[0]
    assert z.dtype == layer.compute_dtype and kl.dtype == "float32"
    assert np.isfinite(z.numpy().astype("float32")).all() and np.isfinite(kl)
    if log_var <= 30:
        np.testing.assert_allclose(kl, 2 * (math.exp(log_var) - 1 - log_var), rtol=0.2)
    if log_var == 12:
        deviation = z.numpy().astype("float32").std()
        np.testing.assert_allclose(deviation, math.exp(6), rtol=0.05)


def test_the_kl_rises_everywhere_so_that_its_gradient_leads_back():
    log_var = tf.constant([[1.0], [20.0], [39.0], [41.0], [1000.0]])
    with tf.GradientTape() as tape:
        tape.watch(log_var)
        kl = sampling.gaussian_kl(tf.zeros_like(log_var), log_var)
    assert (np.diff(kl) > 0).all() and (tape.gradient(kl, log_var).numpy() > 0).all()


@pytest.mark.parametrize("shape", [(3, 7), (3, 0), (3, None), (4,)])
def test_a_code_that_has_no_two_halves_is_refused(shape):
    with pytest.raises(ValueError, match=r"Received: encoder.output_shape=\("):
        GaussianSampling()(keras.KerasTensor(shape))


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match=f"Received: seed={seed!r}"):
        GaussianSampling(seed=seed)


# The model


def encoder_of(make_parts, code_dim=3):
    """A dense encoder with two numbers for each latent."""
    return make_parts(code_dim=2 * code_dim)[0], make_parts(code_dim=code_dim)[1]


@pytest.fixture
def make_model(make_parts):
    def make(loss=None, learning_rate=0.0, jit_compile=False, **arguments):
        model = VariationalAutoencoder(*encoder_of(make_parts), **arguments)
        optimizer = keras.optimizers.SGD(learning_rate)
        model.compile(optimizer, loss or BernoulliCrossEntropy(), jit_compile=jit_compile)
        return model

    return make


def by_hand(model, x, samples, stddev=None):
    """Negative log p(x|z), log w (both `(n, samples)`) and KL `(n,)` in float64 NumPy."""
    mean, log_var = (part.astype("float64") for part in model.posterior(x))
    code = mean.shape[1:]
    epsilon = noise.in_table("normal", 0, len(x) * samples, code).numpy()
    epsilon = epsilon.reshape(len(x), samples, *code).astype("float64")
    z = mean[:, None] + np.exp(0.5 * log_var)[:, None] * epsilon
    output = model.decoder(z.reshape(-1, *code).astype("float32")).numpy().astype("float64")
    output = output.reshape(len(x), samples, -1)
    pixels = x.reshape(len(x), 1, -1).astype("float64")
    if stddev is None:
        p = 1 / (1 + np.exp(-output))
        log_p = (pixels * np.log(p) + (1 - pixels) * np.log(1 - p)).sum(axis=-1)
    else:
        log_p = stats.norm.logpdf(pixels, output, stddev).sum(axis=-1)
    prior = stats.norm.logpdf(z).sum(axis=-1)
    posterior = stats.norm.logpdf(z, mean[:, None], np.exp(0.5 * log_var)[:, None]).sum(axis=-1)
    return -log_p, log_p + prior - posterior, gaussian_kl(mean, log_var)


def log_mean_exp(log_weights):
    top = log_weights.max(axis=1)
    return top + np.log(np.exp(log_weights - top[:, None]).mean(axis=1))


@pytest.mark.parametrize(
    ("samples", "stddev", "beta"), [(1, None, 1.0), (3, None, 0.3), (1, 0.4, 0.3), (3, 0.4, 1.0)]
)
def test_loss_and_bound_are_those_of_numpy(make_model, images, samples, stddev, beta):
    """With beta 1 the ELBO and nothing else: no factor hides in either term."""
    loss = BernoulliCrossEntropy() if stddev is None else GaussianNegativeLogLikelihood(stddev)
    model = make_model(loss, beta=beta, samples=samples)
    losses, _, kl = by_hand(model, images, samples, stddev)
    reported = model.evaluate(images, batch_size=7, verbose=0, return_dict=True)
    assert reported.keys() == {"loss", "reconstruction", "kl"}
    np.testing.assert_allclose(reported["reconstruction"], losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(reported["kl"], kl.mean(), rtol=1e-5)
    np.testing.assert_allclose(reported["loss"], losses.mean() + beta * kl.mean(), rtol=1e-5)
    elbo = model.elbo(images)
    assert elbo.shape == (40,) and elbo.dtype == "float32"
    np.testing.assert_allclose(elbo, -losses.mean(axis=1) - kl, rtol=1e-5)


@pytest.mark.parametrize("stddev", [None, 0.4])
def test_the_importance_weighted_loss_is_that_of_numpy(make_model, images, stddev):
    loss = BernoulliCrossEntropy() if stddev is None else GaussianNegativeLogLikelihood(stddev)
    model = make_model(loss, samples=4, importance_weighted=True)
    losses, log_weights, kl = by_hand(model, images, 4, stddev)
    reported = model.evaluate(images, batch_size=7, verbose=0, return_dict=True)
    np.testing.assert_allclose(reported["loss"], -log_mean_exp(log_weights).mean(), rtol=1e-5)
    np.testing.assert_allclose(reported["reconstruction"], losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(reported["kl"], kl.mean(), rtol=1e-5)
    np.testing.assert_allclose(model.log_likelihood(images, 4), log_mean_exp(log_weights), 1e-5)
    np.testing.assert_allclose(model.elbo(images), -losses.mean(axis=1) - kl, rtol=1e-5)


def test_training_reports_the_same_terms_on_noise_of_its_own(make_model, images):
    many = np.tile(images, (100, 1, 1, 1))
    model = make_model(beta=0.3, samples=2)
    expected = model.evaluate(many, batch_size=500, verbose=0, return_dict=True)
    history = model.fit(many, epochs=2, batch_size=500, verbose=0).history
    assert history.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(history[name], expected[name], rtol=3e-3)
    assert history["loss"][0] != history["loss"][1]
    assert history["reconstruction"][0] != history["reconstruction"][1]


def test_every_image_is_decoded_from_a_code_of_its_own_in_training(make_model, images):
    """With one image many times over in a batch, the losses differ as they do with draws."""
    model = make_model()
    batch, _, _ = model._batch(tf.constant(np.repeat(images[:1], 50, axis=0)), training=True)
    drawn = model(batch, training=True)
    assert len(np.unique(drawn.epsilon)) == 150
    mean, log_var = model.posterior(images[:1])
    z = mean + np.exp(0.5 * log_var) * drawn.epsilon[:, 0]
    np.testing.assert_allclose(drawn.z[:, 0], z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(drawn.x_hat, model.decoder(drawn.z[:, 0]), rtol=1e-5, atol=1e-6)


def test_the_layer_and_the_model_agree(make_model, images, make_parts):
    """Autoencoder with the layer in it: the same loss, on other noise."""
    model = make_model()
    encoder = keras.Sequential([model.encoder, GaussianSampling(seed=0, name="kl")])
    plain = Autoencoder(encoder, model.decoder)
    plain.compile("adam", BernoulliCrossEntropy())
    many = np.tile(images, (50, 1, 1, 1))
    ours, theirs = (m.evaluate(many, verbose=0, return_dict=True) for m in (model, plain))
    np.testing.assert_allclose(ours["kl"], theirs["kl"], rtol=1e-4)
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=3e-3)


# A model whose likelihood is known: x = W z + b + stddev * noise


STDDEV = 0.5


def linear_gaussian(exact=True, **arguments):
    """W with orthogonal columns, so that p(z|x) has independent latents, as q(z|x) has."""
    rng = np.random.default_rng(0)
    w = np.linalg.qr(rng.normal(size=(6, 2)))[0].T * np.array([[1.5], [0.7]])
    b = rng.normal(size=6)
    variance = 1 / (1 + (w**2).sum(axis=1) / STDDEV**2)
    kernel = (w.T / STDDEV**2) * variance
    if not exact:
        kernel, variance = 0.6 * kernel, 2.5 * variance
    encoder = keras.Sequential([keras.Input((6,)), layers.Dense(4)])
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(6)])
    bias = np.concatenate([-b @ kernel, np.log(variance)])
    encoder.layers[0].set_weights([np.concatenate([kernel, 0 * kernel], axis=1), bias])
    decoder.layers[0].set_weights([w, b])
    model = VariationalAutoencoder(encoder, decoder, **arguments)
    model.compile(keras.optimizers.SGD(0.0), GaussianNegativeLogLikelihood(STDDEV))
    covariance = w.T @ w + STDDEV**2 * np.eye(6)
    x = rng.multivariate_normal(b, covariance, size=300).astype("float32")
    return model, x, stats.multivariate_normal.logpdf(x, b, covariance)


def test_with_the_true_posterior_every_weight_is_the_exact_likelihood():
    model, x, exact = linear_gaussian(samples=3, importance_weighted=True)
    for samples in (1, 7):
        np.testing.assert_allclose(model.log_likelihood(x, samples), exact, atol=1e-4)
    np.testing.assert_allclose(model.evaluate(x, verbose=0)[0], -exact.mean(), rtol=1e-5)
    history = model.fit(x, verbose=0).history
    np.testing.assert_allclose(history["loss"][0], -exact.mean(), rtol=1e-5)


def test_with_the_true_posterior_the_elbo_is_the_exact_likelihood_on_average():
    model, x, exact = linear_gaussian(samples=100)
    np.testing.assert_allclose(model.elbo(x).mean(), exact.mean(), atol=0.03)


def test_the_bound_tightens_with_samples_and_stays_below_the_likelihood():
    model, x, exact = linear_gaussian(exact=False)
    bounds = [model.elbo(x).mean()]
    bounds += [model.log_likelihood(x, samples).mean() for samples in (5, 50, 1000)]
    assert (np.diff(bounds) > 0).all() and bounds[-1] < exact.mean() + 0.01
    assert bounds[0] < exact.mean() - 0.3
    np.testing.assert_allclose(bounds[-1], exact.mean(), atol=0.02)


def test_importance_weighted_losses_fall_with_samples():
    losses = []
    for samples in (1, 5, 50):
        model, x, exact = linear_gaussian(False, samples=samples, importance_weighted=True)
        losses.append(model.evaluate(x, verbose=0)[0])
    assert (np.diff(losses) < 0).all() and losses[-1] > -exact.mean() - 0.05


def test_importance_weighted_training_weighs_the_samples():
    """Its gradient is that of log sum_i exp(log w_i), not of a mean of the logs."""
    model, x, _ = linear_gaussian(False, samples=5, importance_weighted=True)
    x = tf.constant(x)
    batch, y, _ = model._batch(x, training=True)
    bias = model.decoder.layers[0].bias
    with tf.GradientTape() as tape:
        drawn = model(batch, training=True)
        loss = model.compute_loss(batch, y, drawn, training=True)
    slope = tape.gradient(loss, bias.value).numpy()
    _, log_weights, _ = (term.numpy() for term in model._terms(x, drawn))
    shares = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    errors = (drawn.x_hat.numpy().reshape(300, 5, 6) - x.numpy()[:, None]) / STDDEV**2
    np.testing.assert_allclose(slope, (shares[..., None] * errors).sum(axis=1).mean(axis=0), 1e-4)


def test_many_samples_are_taken_in_parts(monkeypatch):
    """No more codes are held than the limit says, and the parts add up to the whole."""
    model, x, _ = linear_gaussian(exact=False)
    whole = model.log_likelihood(x[:7], 50)
    np.testing.assert_allclose(model.log_likelihood(x[:3], 50), whole[:3], rtol=1e-5)
    inner, held = model._weights_graph, []

    def counted(images, positions, count):
        held.append(len(images) * int(count))
        return inner(images, positions, count)

    monkeypatch.setattr(model, "_weights_graph", counted)
    for limit in (40, 120):
        monkeypatch.setattr(variational, "_ROWS", limit)
        np.testing.assert_allclose(model.log_likelihood(x[:7], 50), whole, rtol=1e-5)
        assert max(held) <= limit and sum(held) == 350
        held.clear()


def test_the_log_of_the_sum_is_stable():
    """exp(-2000) is 0 in any precision."""
    model, x, _ = linear_gaussian()
    far = x[:5] + 100
    bound = model.log_likelihood(far, 20)
    assert np.isfinite(bound).all() and (bound < -2000).all()


# Evaluation


def test_evaluation_noise_is_fixed_and_the_same_in_batches_of_any_size(make_model, images):
    model = make_model(samples=2, importance_weighted=True)
    first = model.evaluate(images, verbose=0)
    assert model.evaluate(images, verbose=0) == first
    for size in (7, 40):
        np.testing.assert_allclose(model.evaluate(images, batch_size=size, verbose=0), first, 1e-5)
    batches = tf.data.Dataset.from_tensor_slices(images).batch(9)
    np.testing.assert_allclose(model.evaluate(batches, verbose=0), first, rtol=1e-5)
    elbo = model.elbo(images)
    np.testing.assert_allclose(model.elbo(images.astype("float64")), elbo, rtol=1e-5)
    np.testing.assert_allclose(model.elbo(images[:11]), elbo[:11], rtol=1e-5)
    np.testing.assert_array_equal(model.elbo(images), elbo)


def test_elbo_takes_many_images_in_batches(make_model, images, monkeypatch):
    model = make_model(samples=2)
    whole = model.elbo(images)
    monkeypatch.setattr(variational, "_ROWS", 14)
    np.testing.assert_allclose(model.elbo(images), whole, rtol=1e-5)


def test_validation_noise_is_fixed_and_training_noise_goes_on(make_model, images):
    model = make_model()
    history = model.fit(images, epochs=3, validation_data=images, shuffle=False, verbose=0).history
    assert len(set(history["loss"])) == 3 and len(set(history["val_loss"])) == 1
    assert history["val_loss"][0] == model.evaluate(images, verbose=0)[0]


def test_the_seed_repeats_the_training(make_model, images):
    runs = [make_model(learning_rate=1e-3).fit(images, verbose=0).history for _ in range(2)]
    assert runs[0] == runs[1]


def test_training_raises_the_bound(make_model, images):
    model = make_model(learning_rate=3e-3)
    before = model.elbo(images).mean()
    model.fit(images, epochs=20, batch_size=8, verbose=0)
    assert model.elbo(images).mean() > before + 0.3


def test_warm_up_concerns_training_alone(make_model, images):
    model = make_model(beta=2.0, beta_warmup=4)
    terms = model.evaluate(images, verbose=0, return_dict=True)
    total = terms["reconstruction"] + 2 * terms["kl"]
    np.testing.assert_allclose(terms["loss"], total, rtol=1e-5)
    history = model.fit(images, epochs=6, batch_size=40, verbose=0).history
    extra = np.subtract(history["loss"], history["reconstruction"]) / history["kl"]
    np.testing.assert_allclose(extra, [0, 0.5, 1, 1.5, 2, 2], atol=2e-4)
    assert model.evaluate(images, verbose=0, return_dict=True) == terms


def test_penalties_of_layers_count(images):
    regular = layers.Dense(6, kernel_regularizer=keras.regularizers.L2(10.0))
    encoder = keras.Sequential([keras.Input((12, 10, 1)), layers.Flatten(), regular])
    decoder = [keras.Input((3,)), layers.Dense(120), layers.Reshape((12, 10, 1))]
    model = VariationalAutoencoder(encoder, keras.Sequential(decoder))
    model.compile(keras.optimizers.SGD(0.0), BernoulliCrossEntropy())
    penalty = 10 * float((regular.kernel.numpy() ** 2).sum())
    terms = model.evaluate(images, verbose=0, return_dict=True)
    expected = terms["reconstruction"] + terms["kl"] + penalty
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-5)
    history = model.fit(images, verbose=0).history
    expected = history["reconstruction"][0] + history["kl"][0] + penalty
    np.testing.assert_allclose(history["loss"][0], expected, rtol=1e-5)


def test_a_target_of_its_own_and_the_output_of_users_metrics(make_model, make_parts, images):
    model = VariationalAutoencoder(*encoder_of(make_parts), samples=2)
    metric = keras.metrics.MeanSquaredError(name="mse")
    model.compile("sgd", BernoulliCrossEntropy(), metrics=[metric])
    noisy = np.clip(images + 0.1, 0, 1)
    a, b = (model.evaluate(noisy, y, verbose=0, return_dict=True) for y in (images, noisy))
    assert a.keys() == {"loss", "reconstruction", "kl", "mse"} and a["mse"] > 0
    assert a["kl"] == b["kl"] and a["reconstruction"] != b["reconstruction"]
    assert b == model.evaluate(noisy, verbose=0, return_dict=True)


def test_a_step_of_your_own_gets_the_whole_loss(make_model, images):
    """`compute_loss` draws, decodes and adds the KL itself; training noise is what it takes."""
    model = make_model(beta=0.5, samples=3)
    x, noisy = tf.constant(images), tf.constant(images[::-1])
    shown = model.evaluate(images, batch_size=40, verbose=0)[0]
    fresh = [make_model(beta=0.5, samples=3) for _ in range(2)]
    np.testing.assert_allclose(fresh[0].compute_loss(x, training=False), shown, rtol=1e-6)
    other = model.evaluate(images[::-1], images, batch_size=40, verbose=0)[0]
    np.testing.assert_allclose(fresh[1].compute_loss(noisy, x, training=False), other, rtol=1e-6)
    drawn = [float(model.compute_loss(x)) for _ in range(3)]
    assert len(set(drawn)) == 3
    np.testing.assert_allclose(drawn, shown, rtol=0.05)


def test_steps_that_the_decoder_masks_weigh_nothing():
    """Series of different lengths: the decoder is told where each ends."""
    x = np.random.default_rng(0).random((10, 5, 3)).astype("float32")
    steps = (np.arange(5) < 1 + np.arange(10)[:, None] % 5).astype("float32")[..., None]
    keras.utils.set_random_seed(0)
    series, told, z, again = (keras.Input(shape) for shape in ((5, 3), (5, 1), (2,), (5, 1)))
    h = layers.Dense(4)(layers.Flatten()(series))
    codes = layers.Masking()(layers.Multiply()([layers.RepeatVector(5)(z), again]))  # 0 is hidden
    halves = (
        keras.Model([series, told], [h, told]),
        keras.Model([z, again], layers.Dense(3)(codes)),
    )
    model = VariationalAutoencoder(*halves, samples=2)
    model.compile("sgd", BernoulliCrossEntropy())
    shown = model.evaluate([x, steps], x, verbose=0, return_dict=True)
    drawn = model(variational._Batch([tf.constant(x), tf.constant(steps)], tf.constant(0, "int64")))
    x_hat, target = drawn.x_hat.numpy(), np.repeat(x, 2, axis=0)
    nats = (np.logaddexp(0, x_hat) - x_hat * target) * np.repeat(steps, 2, axis=0)
    np.testing.assert_allclose(shown["reconstruction"], nats.sum() / 20, rtol=1e-5)


# Binarisation


def test_binarised_images_are_drawn_from_their_pixels_and_are_their_own_target(make_model, images):
    model = make_model(binarize=True)
    many = np.tile(images[:2], (2000, 1, 1, 1))
    batch, target, _ = model._batch(tf.constant(many), training=True)
    drawn = batch.x.numpy()
    np.testing.assert_array_equal(target, drawn)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn[::2].mean(axis=0), images[0], atol=0.06)
    fresh = model._batch(tf.constant(many), training=True)[0].x.numpy()
    assert 0.1 < (fresh != drawn).mean() < 0.5

    # The input is what is drawn, and so is the target.
    terms = by_hand(model, drawn[:40], 1)
    fixed = variational._Batch(batch.x[:40], tf.constant(0, "int64"))
    loss = model.compute_loss(fixed, target[:40], model(fixed, training=False), training=True)
    np.testing.assert_allclose(loss, (terms[0].mean(axis=1) + terms[2]).mean(), rtol=1e-5)


def test_training_targets_are_the_draws_and_not_the_gray_images(make_model, images):
    """A decoder that gives one image only: what varies from epoch to epoch is the target."""
    model = make_model(binarize=True)
    dense = model.decoder.layers[-2]
    dense.set_weights([0 * dense.kernel.numpy(), np.ones(120)])
    history = model.fit(images, epochs=2, batch_size=40, verbose=0).history["reconstruction"]
    assert history[0] != history[1]
    np.testing.assert_allclose(history, 120 * np.log1p(np.e) - images.sum() / 40, rtol=0.02)


def test_binarisation_is_fixed_in_evaluation_and_leaves_black_and_white_alone(make_model, images):
    model, plain = make_model(binarize=True), make_model()
    first = model.evaluate(images, batch_size=7, verbose=0)
    np.testing.assert_allclose(model.evaluate(images, verbose=0), first, rtol=1e-5)
    np.testing.assert_allclose(-model.elbo(images).mean(), first[0], rtol=1e-5)
    np.testing.assert_allclose(
        model.log_likelihood(images[:5], 30), model.log_likelihood(images, 30)[:5], rtol=1e-5
    )
    assert abs(first[0] - plain.evaluate(images, verbose=0)[0]) > 1e-3
    binary = (images > 0.5).astype("float32")
    np.testing.assert_allclose(
        model.evaluate(binary, verbose=0), plain.evaluate(binary, verbose=0), rtol=1e-6
    )
    np.testing.assert_array_equal(model.log_likelihood(binary, 5), plain.log_likelihood(binary, 5))
    np.testing.assert_array_equal(model.encode(images), plain.encode(images))
    history = model.fit(images, epochs=2, shuffle=False, verbose=0).history
    assert history["kl"][0] != history["kl"][1]


# Use


def test_codes_and_images(make_model, images):
    model = make_model()
    h = model.encoder(images).numpy()
    mean, log_var = model.posterior(images)
    np.testing.assert_allclose(mean, h[:, :3], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_var, h[:, 3:], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.encode(images), mean)
    output = model.decoder(mean).numpy()
    np.testing.assert_allclose(model(images), output, rtol=1e-5, atol=1e-6)
    for use in (model.reconstruct, lambda x: model.predict(x, verbose=0)):
        np.testing.assert_allclose(use(images), 1 / (1 + np.exp(-output)), rtol=1e-5)
    assert not np.allclose(model(images, training=True), output, atol=1e-3)


def test_generated_images_are_decoded_from_the_prior(make_model):
    model = make_model()
    x = model.generate(5, seed=0)
    assert x.shape == (5, 12, 10, 1) and x.dtype == "float32"
    np.testing.assert_array_equal(x, model.generate(5, seed=0))
    assert not np.array_equal(x, model.generate(5, seed=1))
    assert not np.array_equal(model.generate(5), model.generate(5))
    linear, _, _ = linear_gaussian()
    linear.decoder.layers[0].bias.assign(np.full(6, 0.5))
    linear.decoder.layers[0].kernel.assign(0.05 * np.eye(2, 6))
    many = linear.generate(20_000, seed=0)
    np.testing.assert_allclose(many.mean(axis=0), 0.5, atol=2e-3)
    np.testing.assert_allclose(many.std(axis=0), [0.05, 0.05, 0, 0, 0, 0], atol=1e-3)
    linear.decoder.layers[0].bias.assign(np.full(6, 3.0))  # the likelihood is Gaussian
    assert linear.generate(100, seed=0).mean() == pytest.approx(3, abs=0.05)


def test_active_units_are_those_whose_mean_varies(make_model, images):
    model = make_model()
    last = model.encoder.layers[-1]
    kernel = last.kernel.numpy()
    kernel[:, 0] = 0.0
    last.kernel.assign(kernel)
    assert model.active_units(images) == (model.encode(images).var(axis=0) > 0.01).sum()
    spread = np.sort(model.encode(images).var(axis=0))
    assert spread[0] < 1e-9
    assert model.active_units(images, threshold=spread[1:].mean()) == 1
    assert model.active_units(images, threshold=0.5 * spread[1]) == 2
    assert model.active_units(images, 100.0) == 0
    two = model.encode(images[:2])
    assert model.active_units(images[:2], 0.0) == (two[0] != two[1]).sum() == 2


def test_a_code_with_places_and_an_encoder_without_input_shape(images):
    encoder = keras.Sequential([layers.Conv2D(4, 3, strides=2, padding="same")])
    decoder = keras.Sequential([layers.Conv2DTranspose(1, 3, strides=2, padding="same")])
    model = VariationalAutoencoder(encoder, decoder, samples=2, importance_weighted=True)
    with pytest.raises(ValueError, match="Received: n=2"):
        model.generate(2)
    model.compile(keras.optimizers.Adam(1e-2), BernoulliCrossEntropy())
    loss = model.fit(images, epochs=8, batch_size=20, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    assert model.encode(images).shape == (40, 6, 5, 2)
    assert model.generate(2).shape == (2, 12, 10, 1)
    assert model.elbo(images).shape == model.log_likelihood(images, 3).shape == (40,)
    np.testing.assert_allclose(
        model.evaluate(images, verbose=0)[2],
        gaussian_kl(*(part.reshape(40, -1) for part in model.posterior(images))).mean(),
        rtol=1e-5,
    )


# Files, precision, XLA, replicas


def test_a_loaded_model_gives_equal_outputs_and_losses(make_model, images, tmp_path):
    arguments = {"samples": 3, "importance_weighted": True, "binarize": True}
    model = make_model(learning_rate=1e-3, **arguments)
    model.fit(images, verbose=0)
    model.save(tmp_path / "model.keras")
    again = aelib.load_model(tmp_path / "model.keras")
    assert again.evaluate(images, verbose=0) == model.evaluate(images, verbose=0)
    for method in ("reconstruct", "encode", "elbo"):
        a, b = (getattr(m, method)(images) for m in (model, again))
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(again.log_likelihood(images, 9), model.log_likelihood(images, 9))
    np.testing.assert_array_equal(again.generate(2, seed=1), model.generate(2, seed=1))
    for name, value in arguments.items():
        assert getattr(again, name) == value
    again.fit(images, verbose=0)


def test_beta_and_its_warm_up_survive_the_file(make_model, images, tmp_path):
    """The warm-up goes on where it was."""
    model = make_model(beta=0.5, beta_warmup=4)
    model.fit(images, batch_size=20, verbose=0)
    model.save(tmp_path / "model.keras")
    again = aelib.load_model(tmp_path / "model.keras")
    assert (again.beta, again.beta_warmup) == (0.5, 4)
    history = again.fit(images, batch_size=40, verbose=0).history
    extra = (history["loss"][0] - history["reconstruction"][0]) / history["kl"][0]
    np.testing.assert_allclose(extra, 0.25, atol=2e-4)


def test_xla_on_and_off(make_model, images):
    """The same noise in evaluation; in training as much of it."""
    many = np.tile(images, (50, 1, 1, 1))
    arguments = {"samples": 2, "importance_weighted": True, "binarize": True}
    models = [make_model(jit_compile=jit, **arguments) for jit in (False, True)]
    evaluated = [model.evaluate(images, batch_size=20, verbose=0) for model in models]
    np.testing.assert_allclose(*evaluated, rtol=1e-4)
    trained = [model.fit(many, batch_size=20, verbose=0).history for model in models]
    for name in trained[0]:
        np.testing.assert_allclose(trained[1][name], trained[0][name], rtol=0.04)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_finite_losses_close_to_those_of_float32(make_model, images, policy):
    expected = make_model(samples=2).elbo(images)
    keras.config.set_dtype_policy(policy)
    try:
        model = make_model(samples=2, beta_warmup=3)
        np.testing.assert_allclose(model.elbo(images), expected, rtol=0.02)
        assert model.encode(images).dtype == model.elbo(images).dtype == "float32"
        last = model.encoder.layers[-1]
        for log_var in (0.0, 12.0, 20.0, 100.0):
            last.bias.assign([0, 0, 0, log_var, log_var, log_var])
            assert np.isfinite(model.elbo(images)).all()
            history = model.fit(images, batch_size=40, verbose=0).history
            assert np.isfinite([*history.values()]).all()
    finally:
        keras.config.set_dtype_policy("float32")


def test_two_replicas_train_and_evaluate_like_one():
    """In a process of its own: the number of devices is fixed once TensorFlow has started.

    Training noise differs between replicas, so it is compared where its deviation is e^-30.
    """
    program = """
import aelib, keras, numpy as np, tensorflow as tf
from aelib import losses, noise, variational

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).random((40, 6)).astype("float32")
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def make(strategy, log_var, **arguments):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
        encoder.layers[0].bias.assign([0, 0, log_var, log_var])
        decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6)])
        model = variational.VariationalAutoencoder(encoder, decoder, samples=2, **arguments)
        model.compile(keras.optimizers.SGD(0.05), losses.BernoulliCrossEntropy())
    return model

def train(strategy):
    model = make(strategy, -60, beta=0.5, beta_warmup=3)
    history = model.fit(x, epochs=2, batch_size=20, shuffle=False, verbose=0).history
    return np.concatenate([*history.values(), *(w.ravel() for w in model.get_weights())])

one, two = (train(s) for s in (tf.distribute.get_strategy(), strategy))
np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
noisy = [make(s, 0, binarize=True) for s in (tf.distribute.get_strategy(), strategy)]
one, two = (model.evaluate(x, batch_size=20, verbose=0) for model in noisy)
np.testing.assert_allclose(two, one, rtol=1e-4)
with strategy.scope():
    generator = keras.random.SeedGenerator(3)
drawn = strategy.run(lambda: noise.normal((500,), generator))
first, second = strategy.experimental_local_results(drawn)
assert abs(np.corrcoef(first, second)[0, 1]) < 0.2
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# What it refuses


BAD = {
    "NaN": lambda x: np.where(x > 0.99, np.nan, x),
    "infinity": lambda x: np.where(x > 0.99, np.inf, x),
    "empty": lambda x: x[:0],
    "rank": lambda x: x[0],
    "size": lambda x: x[:, :-1],
    "text": lambda x: x.astype(str),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_arrays_are_refused(make_model, images, fault):
    model, bad = make_model(), np.asarray(BAD[fault](images))
    for method in ("fit", "evaluate", "encode", "posterior", "reconstruct", "elbo", "active_units"):
        with pytest.raises(ValueError, match="Received: x"):
            getattr(model, method)(bad)
    with pytest.raises(ValueError, match="Received: x"):
        model.log_likelihood(bad, 2)


def test_pixels_that_are_no_probabilities_are_refused(make_model, images):
    for method in ("fit", "evaluate", "elbo"):
        with pytest.raises(ValueError, match="Received: x between"):
            getattr(make_model(), method)(images + 1)
    assert np.isfinite(make_model(GaussianNegativeLogLikelihood()).elbo(images + 1)).all()


@pytest.mark.parametrize(
    "arguments",
    [
        {"beta": -1.0},
        {"beta": float("nan")},
        {"beta": "1"},
        {"beta": True},
        {"samples": 0},
        {"samples": 1.5},
        {"beta_warmup": -1},
        {"importance_weighted": 1},
        {"binarize": "yes"},
        {"corruption": 0.1},
    ],
)
def test_arguments_that_are_none_are_refused(make_parts, arguments):
    with pytest.raises(ValueError, match=f"Received: {next(iter(arguments))}="):
        VariationalAutoencoder(*encoder_of(make_parts), **arguments)


@pytest.mark.parametrize("arguments", [{"beta": 0.5}, {"beta_warmup": 3}])
def test_beta_and_importance_weights_exclude_each_other(make_parts, arguments):
    parts = encoder_of(make_parts)
    with pytest.raises(ValueError, match=r"use beta=1.*Received: beta="):
        VariationalAutoencoder(*parts, importance_weighted=True, samples=5, **arguments)


@pytest.mark.parametrize("loss", [SquaredError(), "mse", keras.losses.MeanSquaredError()])
def test_squared_error_is_refused_with_what_to_use(make_parts, loss):
    model = VariationalAutoencoder(*encoder_of(make_parts))
    with pytest.raises(ValueError, match=r"beta = 1/2.*GaussianNegativeLogLikelihood.*loss="):
        model.compile("adam", loss)


@pytest.mark.parametrize("loss", [None, "binary_crossentropy", keras.losses.BinaryCrossentropy()])
def test_other_losses_are_refused(make_parts, loss):
    model = VariationalAutoencoder(*encoder_of(make_parts))
    with pytest.raises(ValueError, match=r"BernoulliCrossEntropy.*Received: loss="):
        model.compile("adam", loss)


def test_squared_error_is_a_gaussian_with_variance_one_half(make_model, images):
    """What the refusal says."""
    model = make_model(GaussianNegativeLogLikelihood(0.5**0.5), samples=1)
    terms = model.evaluate(images, verbose=0, return_dict=True)
    drawn = model(variational._Batch(tf.constant(images), tf.constant(0, "int64")))
    squared = ((images - drawn.x_hat.numpy()) ** 2).sum(axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(terms["reconstruction"] - squared, 60 * math.log(math.pi), rtol=1e-5)


def test_what_does_not_go_together_is_refused(make_model, make_parts, images):
    encoder, decoder = make_parts(code_dim=4)
    with pytest.raises(ValueError, match=r"log-var.*Received: encoder.output_shape=\(None, 4\)"):
        VariationalAutoencoder(encoder, decoder)
    with pytest.raises(ValueError, match=r"Received: encoder.output_shape=\(None, 3\)"):
        VariationalAutoencoder(make_parts(code_dim=3)[0], decoder)
    with pytest.raises(ValueError, match="Received: decoder="):
        VariationalAutoencoder(encoder, None)
    model = make_model(binarize=True)
    with pytest.raises(ValueError, match="Received: y.shape="):
        model.fit(images, images, verbose=0)
    with pytest.raises(ValueError, match="`binarize` needs.*Received: loss="):
        model.compile("adam", GaussianNegativeLogLikelihood())
    with pytest.raises(ValueError, match="Received: sample_weight"):
        make_model().fit(images, images, sample_weight=np.ones(40), verbose=0)
    with pytest.raises(ValueError, match="Received: samples=0"):
        model.log_likelihood(images, 0)
    for n in (0, 1.5, True):
        with pytest.raises(ValueError, match="Received: n="):
            model.generate(n)
    with pytest.raises(ValueError, match="Received: seed=-1"):
        model.generate(1, seed=-1)
    with pytest.raises(ValueError, match="Received: threshold=-1"):
        model.active_units(images, -1)
    with pytest.raises(ValueError, match=r"Received: x.shape=\(1, 12, 10, 1\)"):
        model.active_units(images[:1])
    with pytest.raises(ValueError, match="Received: loss=None"):
        VariationalAutoencoder(*encoder_of(make_parts)).elbo(images)


def conditional(seed=0):
    """Both halves are told a condition of three classes."""
    keras.utils.set_random_seed(seed)
    image, told = keras.Input((12, 10, 1)), keras.Input((3,))
    h = layers.Dense(4)(layers.Concatenate()([layers.Flatten()(image), told]))
    z, again = keras.Input((2,)), keras.Input((3,))
    x_hat = layers.Dense(120)(layers.Concatenate()([z, again]))
    decoder = keras.Model([z, again], layers.Reshape((12, 10, 1))(x_hat))
    model = VariationalAutoencoder(keras.Model([image, told], [h, told]), decoder, samples=2)
    model.compile(keras.optimizers.Adam(1e-2), BernoulliCrossEntropy())
    return model


def test_a_conditional_model_trains_decodes_and_survives_its_file(images, tmp_path):
    told = np.eye(3, dtype="float32")[np.arange(40) % 3]
    model = conditional()
    history = model.fit([images, told], images, epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    z, condition = model.encode([images, told])
    assert z.shape == (40, 2) and (condition == told).all()
    x_hat = model.decode([z, told])
    np.testing.assert_allclose(model.predict([images, told], verbose=0), x_hat, rtol=1e-4)
    other = model.decode([z, np.roll(told, 1, axis=1)])
    assert np.abs(other - x_hat).max() > 1e-3
    model.save(tmp_path / "model.keras")
    loaded = aelib.load_model(tmp_path / "model.keras")
    a, b = (m.evaluate([images, told], images, verbose=0) for m in (model, loaded))
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_what_a_conditional_model_cannot_know_is_refused(images):
    model = conditional()
    with pytest.raises(ValueError, match="Decode .z, condition.*Received: n=2"):
        model.generate(2)
    with pytest.raises(ValueError, match="Received: list"):
        model.elbo([images, np.eye(3)[np.arange(40) % 3]])
