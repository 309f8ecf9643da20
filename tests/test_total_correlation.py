"""The total correlation of Gaussians in closed form, and the model that is trained on it."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy import stats

import aelib
from aelib import disentanglement, noise, variational
from aelib import total_correlation as module
from aelib.losses import BernoulliCrossEntropy, GaussianNegativeLogLikelihood
from aelib.total_correlation import TotalCorrelationVAE, total_correlation
from aelib.variational import VariationalAutoencoder


def mixture(rho, variance=0.1, n=3000, dimensions=2, seed=17):
    """Means and log-variances whose mixture is N(0, C), with equal correlations `rho`."""
    covariance = np.full((dimensions, dimensions), rho) + (1 - rho) * np.eye(dimensions)
    rng = np.random.default_rng(seed)
    spread = covariance - variance * np.eye(dimensions)
    mean = rng.multivariate_normal(np.zeros(dimensions), spread, size=n)
    exact = -0.5 * np.linalg.slogdet(covariance)[1]
    return mean, np.full(mean.shape, math.log(variance)), exact


@pytest.mark.parametrize(("rho", "dimensions"), [(0.0, 2), (0.5, 2), (0.8, 2), (0.5, 3)])
def test_the_total_correlation_of_a_gaussian(rho, dimensions):
    mean, log_var, exact = mixture(rho, dimensions=dimensions)
    np.testing.assert_allclose(total_correlation(mean, log_var), exact, atol=0.05)


def test_heaps_that_do_not_overlap_tell_everything():
    """Each latent then knows which image it is: (m - 1) ln n."""
    mean = 100.0 * np.arange(50)[:, None] * [1, -1, 2]
    found = total_correlation(mean, np.zeros((50, 3)))
    np.testing.assert_allclose(found, 2 * math.log(50), rtol=1e-9)
    alone = total_correlation(mean[:, :1], np.zeros((50, 1)))
    np.testing.assert_allclose(alone, 0, atol=1e-12)


@pytest.mark.parametrize("log_var", [800.0, 1e4, 1e300])
def test_the_widest_posteriors_are_independent_too(log_var):
    """All posteriors are one and the same, where the means no longer matter."""
    mean = np.random.default_rng(0).normal(size=(50, 3))
    found = total_correlation(mean, np.full((50, 3), log_var))
    np.testing.assert_allclose(found, 0, atol=1e-9)
    mixed = np.where(np.arange(50)[:, None] < 25, 0.0, log_var) * np.ones(3)
    # A code tells then which of two heaps it is in, and each of three latents tells it.
    beside = total_correlation(0 * mean, mixed)
    np.testing.assert_allclose(beside, 2 * math.log(2), atol=1e-6)
    assert np.isfinite(total_correlation(1e300 * mean, mixed))


def test_total_correlation_takes_many_images_in_parts(monkeypatch):
    mean, log_var, _ = mixture(0.5, n=300)
    whole = total_correlation(mean, log_var, seed=3)
    monkeypatch.setattr(module, "_ROWS", 7000)
    np.testing.assert_allclose(total_correlation(mean, log_var, seed=3), whole, rtol=1e-9)
    assert total_correlation(mean, log_var, seed=4) != whole


def batch_densities(z, mean, log_var, train_size):
    parts = (tf.constant(np.asarray(part), "float32") for part in (z, mean, log_var))
    return [part.numpy() for part in module._log_densities(*parts, train_size)]


def test_densities_of_a_batch_are_unbiased():
    """The mean over all batches of three with image 0 in them is the density of all six."""
    rng = np.random.default_rng(0)
    mean, log_var = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    z = mean + 0.3
    found = []
    for others in itertools.combinations(range(1, 6), 2):
        rows = [0, *others]
        joint, marginals = batch_densities(z[rows], mean[rows], log_var[rows], 6)
        found.append(np.exp([joint[0], *marginals[0]]))
    each = stats.norm.pdf(z[0], mean, np.exp(log_var / 2))
    exact = [each.prod(axis=1).mean(), *each.mean(axis=0)]
    np.testing.assert_allclose(np.mean(found, axis=0), exact, rtol=1e-5)


def test_a_batch_of_all_images_gives_the_total_correlation_of_all():
    mean, log_var, _ = mixture(0.8, n=200, dimensions=3)
    epsilon = np.random.default_rng(5).standard_normal(mean.shape)
    joint, marginals = batch_densities(
        mean + np.exp(0.5 * log_var) * epsilon, mean, log_var, train_size=200
    )
    expected = total_correlation(mean, log_var, seed=5)
    np.testing.assert_allclose((joint - marginals.sum(axis=1)).mean(), expected, rtol=1e-4)


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_batches_come_near_the_total_correlation_of_a_gaussian(rho):
    mean, log_var, exact = mixture(rho, variance=0.15, n=6000)
    z = mean + np.exp(0.5 * log_var) * np.random.default_rng(1).standard_normal(mean.shape)
    found = []
    for rows in np.random.default_rng(2).permutation(6000).reshape(-1, 250):
        joint, marginals = batch_densities(z[rows], mean[rows], log_var[rows], 6000)
        found.append((joint - marginals.sum(axis=1)).mean())
    np.testing.assert_allclose(np.mean(found), exact, atol=0.06)


def test_densities_are_finite_for_one_image_for_twins_and_for_the_narrowest_posteriors():
    for count, log_var in ((1, 0.0), (4, 0.0), (4, -500.0), (4, 30.0)):
        for mean in (np.zeros((count, 3)), 50.0 * np.arange(3 * count).reshape(count, 3)):
            inputs = [tf.constant(mean, "float32"), tf.fill((count, 3), log_var)]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                joint, marginals = module._log_densities(inputs[0], *inputs, 100)
                total = tf.reduce_sum(joint) - tf.reduce_sum(marginals)
            for tensor in (total, *tape.gradient(total, inputs)):
                assert np.isfinite(tensor.numpy()).all()


# The model


@pytest.fixture
def make_model(make_parts):
    def make(beta=4.0, train_size=40, learning_rate=0.0, jit_compile=False, **arguments):
        parts = make_parts(code_dim=6)[0], make_parts(code_dim=3)[1]
        kernel = parts[0].layers[-1].kernel
        # Means that differ, so that there is something to correlate.
        kernel.assign(kernel * [10.0, 10.0, 10.0, 1.0, 1.0, 1.0])
        model = TotalCorrelationVAE(*parts, beta, train_size, **arguments)
        optimizer = keras.optimizers.SGD(learning_rate)
        model.compile(optimizer, BernoulliCrossEntropy(), jit_compile=jit_compile)
        return model

    return make


def test_the_loss_in_training_is_the_bound_and_the_extra_total_correlation(make_model, images):
    for beta in (0.0, 1.0, 6.0):
        model = make_model(beta)
        history = model.fit(images, batch_size=40, verbose=0).history
        assert history.keys() == {"loss", "reconstruction", "kl", "total_correlation"}
        shown = {name: values[0] for name, values in history.items()}
        expected = shown["reconstruction"] + shown["kl"] + (beta - 1) * shown["total_correlation"]
        np.testing.assert_allclose(shown["loss"], expected, rtol=1e-5)
        assert abs(shown["total_correlation"]) > 1e-3


def test_the_total_correlation_shown_is_that_of_the_draws_of_the_batch(make_model, images):
    model = make_model(train_size=1000)
    batch, target, _ = model._batch((tf.constant(images),), True)
    drawn = model(batch, training=True)
    model.compute_loss(batch, target, drawn, training=True)
    mean, log_var = model.posterior(images)
    z = (mean + np.exp(0.5 * log_var) * drawn.epsilon[:, 0].numpy()).astype("float64")
    total = 0.0
    for i in range(40):
        each = stats.norm.logpdf(z[i], mean, np.exp(0.5 * log_var))
        share = np.full(40, 999 / 1000 / 39)
        share[i] = 1 / 1000
        joint = np.log((share * np.exp(each.sum(axis=1))).sum())
        total += joint - np.log((share[:, None] * np.exp(each)).sum(axis=0)).sum()
    np.testing.assert_allclose(model.total_correlation.result(), total / 40, rtol=1e-4)


def test_with_beta_one_it_trains_as_the_plain_model(make_model, make_parts, images):
    ours = make_model(1.0, learning_rate=1e-3)
    plain = VariationalAutoencoder(make_parts(code_dim=6)[0], make_parts(code_dim=3)[1])
    plain.set_weights(ours.get_weights())
    plain.compile(keras.optimizers.SGD(1e-3), BernoulliCrossEntropy())
    plain.noise.state.assign(ours.noise.state)
    histories = [
        model.fit(images, epochs=3, batch_size=20, shuffle=False, verbose=0).history
        for model in (plain, ours)
    ]
    for name in histories[0]:
        np.testing.assert_allclose(histories[1][name], histories[0][name], rtol=1e-5)
    np.testing.assert_array_equal(make_model(9.0).elbo(images), make_model(1.0).elbo(images))


def test_evaluation_is_the_plain_bound_in_batches_of_any_size(make_model, images):
    model = make_model(beta=9.0)
    first = model.evaluate(images, verbose=0, return_dict=True)
    assert first.keys() == {"loss", "reconstruction", "kl"}
    np.testing.assert_allclose(first["loss"], first["reconstruction"] + first["kl"], rtol=1e-6)
    np.testing.assert_allclose(first["loss"], -model.elbo(images).mean(), rtol=1e-5)
    for size in (7, 40):
        again = model.evaluate(images, batch_size=size, verbose=0, return_dict=True)
        for name, value in first.items():
            np.testing.assert_allclose(again[name], value, rtol=1e-5)
    history = model.fit(images, validation_data=images, verbose=0).history
    assert history["val_loss"][0] == first["loss"] and "val_total_correlation" not in history


def test_an_image_alone_in_its_batch_is_left_out(make_model, images):
    """It would add (codes - 1) ln N / n, whatever the codes are."""
    found = {}
    for count in (32, 33):
        model = make_model(6.0, train_size=1000)
        x = tf.data.Dataset.from_tensor_slices(images[:count]).batch(32)
        model.noise.state.assign([1, 2])
        found[count] = {n: v[0] for n, v in model.fit(x, verbose=0).history.items()}
    name = "total_correlation"
    np.testing.assert_allclose(found[33][name], found[32][name], rtol=1e-5)
    bound = found[33]["reconstruction"] + found[33]["kl"]
    np.testing.assert_allclose(found[33]["loss"], bound + 32 / 33 * 5 * found[33][name], rtol=1e-5)
    alone = make_model(6.0).fit(images[:5], batch_size=1, verbose=0).history
    np.testing.assert_allclose(alone["loss"][0], alone["reconstruction"][0] + alone["kl"][0])
    assert alone[name] == [0]


def test_evaluation_names_what_it_gives(make_model, images):
    model = make_model()
    model.fit(images, validation_data=images, verbose=0)
    for values in (model.evaluate(images, verbose=0), model.test_on_batch(images)):
        assert len(values) == len(model.metrics_names)
    values = dict(zip(model.metrics_names, model.evaluate(images, verbose=0), strict=True))
    assert values == model.evaluate(images, verbose=0, return_dict=True)
    assert all(type(value) is float for value in values.values())
    history = model.fit(images, verbose=0).history
    assert all(type(value[0]) is float for value in history.values()) and len(history) == 4


def test_more_images_than_the_training_images_are_refused(make_model, images):
    model = make_model(train_size=30)
    for x in (images, tf.constant(images)):
        with pytest.raises(ValueError, match="or more. Received: train_size=30, images = 40"):
            model.fit(x, batch_size=8, verbose=0)
    with pytest.raises(ValueError, match="or more. Received: train_size=30, images = 31"):
        model.fit(images, validation_split=0.21, batch_size=8, verbose=0)
    with pytest.raises(ValueError, match="or more. Received: train_size=30, images = 40"):
        model.train_on_batch(images)
    dataset = tf.data.Dataset.from_tensor_slices(images)
    with pytest.raises(ValueError, match="or more. Received: train_size=30, images = 31"):
        model.fit(dataset.batch(31), verbose=0)
    # A part of them, and others that are not trained on.
    model = make_model(train_size=30)
    model.fit(images, validation_split=0.25, batch_size=8, verbose=0)
    model.fit(images[:20], validation_data=images, batch_size=8, verbose=0)
    model.fit(dataset.batch(30), verbose=0)


def test_a_large_beta_parts_latents_that_a_plain_model_lets_depend_on_each_other():
    """Pixels whose variances are all alike: the bound has no reason to keep axes apart."""
    rng = np.random.default_rng(0)
    hidden = rng.uniform(-1, 1, (1000, 2)) @ np.array([[1.0, 0.6], [0.6, 1.0]])
    x = (hidden @ np.linalg.qr(rng.normal(size=(8, 2)))[0].T).astype("float32")
    found = {}
    for beta in (1.0, 20.0):
        keras.utils.set_random_seed(1)
        encoder = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
        decoder = keras.Sequential([keras.Input((2,)), layers.Dense(8)])
        model = TotalCorrelationVAE(encoder, decoder, beta, len(x))
        model.compile(keras.optimizers.Adam(0.02), GaussianNegativeLogLikelihood(0.1))
        shown = model.fit(x, epochs=15, batch_size=100, verbose=0).history["total_correlation"]
        found[beta] = total_correlation(*model.posterior(x))
        np.testing.assert_allclose(shown[-1], found[beta], atol=0.1)
    assert found[20.0] < 0.5 * found[1.0]


def test_a_loaded_model_gives_equal_outputs_and_losses(make_model, images, tmp_path):
    model = make_model(3.0, 77, 1e-5, binarize=True)
    model.fit(images, verbose=0)
    model.save(tmp_path / "model.keras")
    again = aelib.load_model(tmp_path / "model.keras")
    assert (again.beta, again.train_size, again.binarize) == (3.0, 77, True)
    assert again.evaluate(images, verbose=0) == model.evaluate(images, verbose=0)
    for method in ("reconstruct", "encode", "elbo"):
        a, b = (getattr(m, method)(images) for m in (model, again))
        np.testing.assert_array_equal(a, b)
    batch, target, _ = model._batch((tf.constant(images),), False)  # with noise that is fixed
    in_training = [
        float(m.compute_loss(batch, target, m(batch), training=True)) for m in (model, again)
    ]
    assert in_training[0] == in_training[1] != model.evaluate(images, verbose=0)[0]
    again.fit(images, verbose=0)


def test_xla_on_and_off(make_model, images, monkeypatch):
    """On the same noise: TensorFlow draws other numbers under XLA."""

    def fixed(shape, generator):
        return tf.reshape(noise.in_table("normal", 0, shape[0] * shape[1], shape[2:]), shape)

    monkeypatch.setattr(variational, "normal", fixed)
    histories = [
        make_model(learning_rate=1e-3, jit_compile=jit)
        .fit(images, epochs=2, batch_size=20, shuffle=False, verbose=0)
        .history
        for jit in (False, True)
    ]
    for name in histories[0]:
        np.testing.assert_allclose(histories[1][name], histories[0][name], 1e-4, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_finite_losses(make_model, images, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = make_model()
        last = model.encoder.layers[-1]
        for log_var in (0.0, 12.0, 100.0, -100.0):
            last.bias.assign([0, 0, 0, log_var, log_var, log_var])
            history = model.fit(images, batch_size=40, verbose=0).history
            assert np.isfinite([*history.values()]).all()
            assert np.isfinite(model.evaluate(images, verbose=0)).all()
    finally:
        keras.config.set_dtype_policy("float32")


# What is refused


def test_arrays_that_do_not_match_are_refused():
    mean = np.zeros((5, 3))
    with pytest.raises(ValueError, match="Received: mean.shape="):
        total_correlation(mean, mean[:, :2])
    with pytest.raises(ValueError, match="Received: mean.shape="):
        total_correlation(mean[:1], mean[:1])
    with pytest.raises(ValueError, match="Received: log_var with"):
        total_correlation(mean, mean + np.inf)


def test_the_names_are_those_of_disentanglement_too():
    assert disentanglement.TotalCorrelationVAE is TotalCorrelationVAE
    assert disentanglement.total_correlation is total_correlation


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beta", -1.0),
        ("beta", "4"),
        ("train_size", 1),
        ("train_size", 2.5),
        ("samples", 2),
        ("importance_weighted", True),
        ("beta_warmup", 10),
    ],
)
def test_models_that_cannot_be_are_refused(make_parts, name, value):
    parts = make_parts(code_dim=6)[0], make_parts(code_dim=3)[1]
    with pytest.raises(ValueError, match=f"Received: {name}="):
        TotalCorrelationVAE(*parts, **({"beta": 4.0, "train_size": 40} | {name: value}))


def test_a_code_with_places_is_refused():
    encoder = keras.Sequential([keras.Input((12, 10, 1)), layers.Conv2D(4, 3)])
    decoder = keras.Sequential([keras.Input((10, 8, 2)), layers.Conv2DTranspose(1, 3)])
    with pytest.raises(ValueError, match=r"vectors. Received: encoder.output_shape=\(None, 10, 8"):
        TotalCorrelationVAE(encoder, decoder, 4.0, 40)
