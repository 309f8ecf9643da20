"""The ladder against algorithm 1 in NumPy."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from scipy import special

import aelib
from aelib.ladder import Combinator, LadderNetwork, _groups

# Step by step, which is quicker for a few small batches than to trace a graph first.
EAGER = {"run_eagerly": True, "steps_per_execution": 1}
SHARES = {"none": 0, "some": 11, "all": 40}


def classes(labelled=11):
    """Forty labels of three classes, of which so many are known, here and there."""
    known = np.random.default_rng(1).permutation(40)[:labelled]
    return np.where(np.isin(np.arange(40), known), np.arange(40) % 3, -1)


def make_ladder(
    units=(9, 6), noise=0.3, weights=(2.0, 0.7, 0.3, 5.0), seed=0, statistics="apart", **arguments
):
    """A small ladder on 12 x 10 x 1, with parameters that differ for every unit."""
    keras.utils.set_random_seed(seed)
    model = LadderNetwork(units, 3, noise, weights, statistics)
    model.build((None, 12, 10, 1))
    rng = np.random.default_rng(3)
    for variable in model.trainable_variables:
        if variable.name in ("a", "gamma") or variable.name.startswith("beta"):
            variable.assign(variable.numpy() + rng.normal(0, 0.3, variable.shape))
    model.compile(keras.optimizers.Adam(1e-3), **{**EAGER, **arguments})
    return model


def wave(z):
    """A known noise: another number for every image and unit, on every layer of another width."""
    return z + 0.3 * ops.sin(
        7.0 * ops.arange(z.shape[0] * z.shape[1], dtype="float32")
    ).numpy().reshape(z.shape)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def combined(a, z, u):
    a1, a2, a3, a4, a5, a6, a7, a8, a9, a10 = a
    mu = a1 * sigmoid(a2 * u + a3) + a4 * u + a5
    return (z - mu) * (a6 * sigmoid(a7 * u + a8) + a9 * u + a10) + mu


def algorithm_1(model, x, noise, statistics=None, groups=(slice(None),)):
    """Logits of both paths and the cost of every layer, without its weight, in plain NumPy.

    `statistics(path, layer)` gives mean and variance where they are not those of the batch;
    `groups` are the rows that are normalised together.
    """
    weights = [dense.kernel.numpy().astype("float64") for dense in model.encoder.denses]
    betas = [beta.numpy() for beta in model.encoder.betas]
    top = len(weights)

    def normalised(values, path, layer):
        if statistics:
            mean, variance = statistics(path, layer)
        else:
            mean, variance = np.zeros_like(values), np.zeros_like(values)
            for rows in groups:
                mean[rows], variance[rows] = values[rows].mean(axis=0), values[rows].var(axis=0)
        std = np.sqrt(variance + 1e-6)
        return (values - mean) / std, mean, std

    def climb(path, noise):
        z, moments = [noise(x.reshape(len(x), -1))], [(0, 1)]
        h = z[0]
        for layer, (w, beta) in enumerate(zip(weights, betas, strict=True)):
            normal, *moment = normalised(h @ w, path, layer)
            z.append(noise(normal))
            moments.append(moment)
            h = np.maximum(z[-1] + beta, 0)
        return z, moments, model.encoder.gamma.numpy() * (z[-1] + betas[-1])

    clean, moments, clean_logits = climb("clean", lambda z: z)
    noisy, _, noisy_logits = climb("noisy", noise)
    down = [dense.kernel.numpy() for dense in model.decoder.denses]
    costs, h = [0] * (top + 1), special.softmax(noisy_logits, axis=1)
    for layer in range(top, -1, -1):
        u = normalised(h, "down", layer)[0]
        z_hat = combined(model.decoder.combinators[layer].a.numpy(), noisy[layer], u)
        mean, std = moments[layer]
        difference = clean[layer] - (z_hat - mean) / std
        costs[layer] = (difference**2).sum(axis=1).mean() / clean[layer].shape[1]
        if layer:
            h = z_hat @ down[layer - 1]
    return clean_logits, noisy_logits, costs


def cross_entropy(logits, y):
    known = np.flatnonzero(y >= 0)
    each = [special.logsumexp(logits[i]) - logits[i, y[i]] for i in known]
    return np.mean(each) if each else 0.0


def numpy_wave(z):
    return z + 0.3 * np.sin(7.0 * np.arange(z.size)).reshape(z.shape)


@pytest.mark.parametrize("statistics", ["apart", "together"])
@pytest.mark.parametrize("labelled", SHARES.values(), ids=SHARES)
def test_the_cost_is_that_of_algorithm_1(labelled, statistics, images, monkeypatch):
    y, model = classes(labelled), make_ladder(statistics=statistics)
    monkeypatch.setattr(model, "_add_noise", wave)
    is_apart = labelled == 11 and statistics == "apart"
    groups = [y >= 0, y < 0] if is_apart else [slice(None)]
    _, noisy_logits, costs = algorithm_1(model, images.astype("float64"), numpy_wave, groups=groups)
    wanted = np.dot(model.reconstruction_weights, costs) + cross_entropy(noisy_logits, y)
    given = float(model.compute_loss(images, y, model(images), training=True))
    np.testing.assert_allclose(given, wanted, rtol=1e-4)
    reported = model.get_metrics_result()
    np.testing.assert_allclose(reported["loss"], wanted, rtol=1e-4)
    np.testing.assert_allclose(reported["prediction"], cross_entropy(noisy_logits, y), rtol=1e-4)


@pytest.mark.parametrize("layer", range(4))
def test_every_layer_has_its_weight_and_its_units(layer, images, monkeypatch):
    """With a single weight left, that layer's cost alone."""
    model = make_ladder(weights=np.eye(4)[layer] * 3)
    monkeypatch.setattr(model, "_add_noise", wave)
    costs = algorithm_1(model, images.astype("float64"), numpy_wave)[2]
    given = model.compute_loss(images, classes(0), model(images), training=True)
    np.testing.assert_allclose(given, 3 * costs[layer], rtol=1e-4)


def test_evaluation_is_algorithm_1_with_running_statistics(images):
    """The prediction of the clean path, and no noise here so that NumPy can follow."""
    y, model = classes(), make_ladder(noise=0.0)
    model.fit(images, y, batch_size=20, epochs=2, verbose=0)

    def statistics(path, layer):
        norms = model.decoder.norms if path == "down" else getattr(model.encoder, path)
        return norms[layer].mean.numpy(), norms[layer].variance.numpy()

    logits, _, costs = algorithm_1(model, images.astype("float64"), lambda z: z, statistics)
    np.testing.assert_allclose(model.encode(images), logits, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(model.classify(images), logits.argmax(axis=1))
    wanted = {
        "reconstruction": np.dot(model.reconstruction_weights, costs),
        "prediction": cross_entropy(logits, y),
        "accuracy": (logits.argmax(axis=1) == y)[y >= 0].mean(),
    }
    wanted["loss"] = wanted["reconstruction"] + wanted["prediction"]
    for batch_size in (11, 40):
        reported = model.evaluate(images, y, batch_size=batch_size, verbose=0, return_dict=True)
        assert reported.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_allclose(reported[name], value, rtol=1e-3)


def test_from_logits_alone_every_layer_below_is_its_mean(images):
    model = make_ladder()
    model.fit(images, classes(), batch_size=20, verbose=0)
    logits = model.encode(images[:7])
    h = special.softmax(logits, axis=1)
    for layer in (3, 2, 1, 0):
        norm, a = model.decoder.norms[layer], model.decoder.combinators[layer].a.numpy()
        u = (h - norm.mean.numpy()) / np.sqrt(norm.variance.numpy() + 1e-6)
        mu = combined(a, 0, u) / (1 - combined(a, 1, u) + combined(a, 0, u))
        z = logits / model.encoder.gamma.numpy() - model.encoder.betas[-1].numpy()
        z_hat = combined(a, z, u) if layer == 3 else mu
        if layer:
            h = z_hat @ model.decoder.denses[layer - 1].kernel.numpy()
    assert model.decode(logits).shape == (7, 12, 10, 1)
    np.testing.assert_allclose(model.decode(logits).reshape(7, -1), mu, rtol=1e-3, atol=1e-4)


def test_evaluation_sees_the_same_noise_and_predicts_without(images):
    y, quiet, noisy = classes(), make_ladder(noise=0.0), make_ladder(noise=0.5)
    reports = [
        model.evaluate(images, y, batch_size=20, verbose=0, return_dict=True)
        for model in (quiet, noisy, noisy)
    ]
    assert reports[1] == reports[2]
    assert reports[0]["prediction"] == reports[1]["prediction"]
    assert reports[0]["reconstruction"] != reports[1]["reconstruction"]


def test_noise_is_fresh_at_every_layer_and_has_its_deviation():
    x = np.random.default_rng(0).random((500, 12, 10, 1)).astype("float32")
    model, added = make_ladder(units=(200, 100), noise=0.4), []

    def record(z):
        noisy = model._add_noise(z)
        added.append((noisy - z).numpy())
        return noisy

    for _ in range(2):
        model.encoder.climb(x, "noisy", record, True)
    assert [noise.shape[1] for noise in added] == [120, 200, 100, 3] * 2
    for first, second in zip(added[:4], added[4:], strict=True):
        assert abs(first.std() - 0.4) < 5 * 0.4 / np.sqrt(2 * first.size)
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / np.sqrt(first.size)
    fresh = [float(model.compute_loss(x, np.full(500, -1), model(x))) for _ in range(2)]
    assert fresh[0] != fresh[1]


def test_both_paths_share_their_weights(images):
    model = make_ladder(noise=0.0)
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    assert [v.shape for v in kernels[:3]] == [(120, 9), (9, 6), (6, 3)]
    assert [v.shape for v in kernels[3:]] == [(9, 120), (6, 9), (3, 6)]
    assert len(model.trainable_variables) == 2 * 3 + 3 + 1 + 4
    for _ in range(2):
        clean, noisy = (
            model.encoder.climb(images, path, lambda z: z, True)[0] for path in ("clean", "noisy")
        )
        np.testing.assert_array_equal(clean, noisy)
        kernels[0].assign(kernels[0] * np.linspace(-1, 2, 9))


def test_running_statistics_are_means_and_then_moving(images):
    model = make_ladder(noise=0.0)
    norm = model.encoder.clean[0]
    flat = images.reshape(40, -1) @ model.encoder.denses[0].kernel.numpy()
    batches = [flat[:10], flat[10:30], flat[30:]]
    for batch in batches:
        z, mean, deviation = norm(batch, training=True)
        np.testing.assert_allclose(mean[0], batch.mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(deviation[0], np.sqrt(batch.var(axis=0) + 1e-6), rtol=1e-4)
        np.testing.assert_allclose(np.mean(z, axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(np.std(z, axis=0), 1, atol=1e-3)
    rows = [f(b, axis=0) for f in (np.mean, np.var) for b in batches]
    means, variances = (np.average(v, axis=0, weights=[10, 20, 10]) for v in (rows[:3], rows[3:]))
    np.testing.assert_allclose(norm.mean, means, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.variance, variances, rtol=1e-4)
    before = norm.mean.numpy(), norm.variance.numpy()
    z, _, _ = norm(flat, training=False)
    np.testing.assert_allclose(z, (flat - means) / np.sqrt(variances + 1e-6), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(norm.mean, before[0])
    norm.images.assign(1000.0)
    norm(batches[0], training=True)
    np.testing.assert_allclose(
        norm.variance, 0.99 * before[1] + 0.01 * batches[0].var(axis=0), rtol=1e-4
    )


@pytest.mark.parametrize("count", [1, 2, 9, 10])
def test_fewer_than_ten_images_are_filled_up_with_running_statistics(count):
    """As if so many more were there, half of them a deviation above the mean, half below."""
    rng = np.random.default_rng(0)
    norm = make_ladder().encoder.clean[0]
    norm(rng.normal(2, 3, (30, 9)), training=True)
    old_mean, old_variance = norm.mean.numpy(), norm.variance.numpy()
    x = rng.normal(-1, 2, (count, 9))
    others = np.repeat(old_mean[None], 10 - count, axis=0)
    mean = np.concatenate([x, others]).mean(axis=0)
    squares = ((x - mean) ** 2).sum(axis=0) + ((others - mean) ** 2).sum(axis=0)
    std = np.sqrt((squares + (10 - count) * old_variance) / 10 + 1e-6)
    z, given_mean, given_std = norm(x, training=True)
    np.testing.assert_allclose(given_mean[0], mean, rtol=1e-4)
    np.testing.assert_allclose(given_std[0], std, rtol=1e-4)
    np.testing.assert_allclose(z, (x - mean) / std, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sizes", [(40,), (20, 19, 1), (1, 39), (1,) * 40, (13, 13, 13, 1)])
def test_every_image_weighs_the_same_in_running_statistics(sizes):
    x = np.random.default_rng(0).normal(2, 3, (40, 9))
    norm = make_ladder().encoder.clean[0]
    for batch in np.split(x, np.cumsum(sizes)[:-1]):
        norm(batch, training=True)
    np.testing.assert_allclose(norm.mean, x.mean(axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(norm.variance, x.var(axis=0), rtol=0.4)


def test_a_remainder_hardly_moves_running_statistics_that_have_seen_much():
    """No more than its share, and what is forgotten with each batch."""
    rng = np.random.default_rng(0)
    norm = make_ladder().encoder.clean[0]
    for _ in range(150):
        norm(rng.normal(0, 1, (100, 9)), training=True)
    before = norm.mean.numpy()
    norm(np.full((1, 9), 50.0), training=True)
    np.testing.assert_allclose(norm.mean - before, (50 - before) / 9901, rtol=1e-3)


@pytest.mark.parametrize("count", [1, 3, 10, 20])
def test_the_gradient_of_fewer_than_ten_images_weighs_less_and_their_loss_is_shown(count, images):
    model = make_ladder()
    x, y = images[:count], classes(40)[:count]
    loss = float(model.compute_loss(x, y, model(x), training=True))
    shown = float(model.get_metrics_result()["loss"])
    np.testing.assert_allclose(loss, min(count / 10, 1) * shown, rtol=1e-5)


@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
def test_a_remainder_of_one_image_does_no_harm(kind):
    """Statistics of one image: 0.51 to 0.84 of the classes were right, and the loss was 3682."""
    rng = np.random.default_rng(0)
    centres, truth = rng.random((3, 64)), rng.integers(0, 3, 1257)
    x = np.clip(centres[truth] + rng.normal(0, 0.25, (1257, 64)), 0, 1).astype("float32")
    keras.utils.set_random_seed(0)
    model = LadderNetwork((32, 16), 3)
    model.compile(keras.optimizers.Adam(2e-3))
    pairs = x[:257], truth[:257]
    data = tf.data.Dataset.from_tensor_slices(pairs).shuffle(257).batch(128)
    given = {"x": data} if kind == "tf.data" else {"x": x[:257], "y": truth[:257]}
    batch_size = None if kind == "tf.data" else 128
    history = model.fit(**given, batch_size=batch_size, epochs=15, verbose=0).history
    assert history["loss"][-1] < 300
    assert (model.classify(x[257:]) == truth[257:]).mean() > 0.95


@pytest.mark.parametrize("labelled", [0, 9, 11, 31, 40])
def test_labelled_and_unlabelled_images_are_normalised_apart_unless_too_few(labelled, images):
    """Each ten or more: otherwise a mean of one image would stand for all. In use: the first."""
    y, model = classes(labelled), make_ladder(noise=0.0)
    flat = images.reshape(40, -1) @ model.encoder.denses[0].kernel.numpy()
    model.compute_loss(images, y, model(images), training=True)
    apart = labelled == 11
    first = flat[y < 0] if apart else flat
    for path in ("clean", "noisy"):
        norm = getattr(model.encoder, path)[0]
        np.testing.assert_allclose(norm.mean, first.mean(axis=0), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(norm.variance, first.var(axis=0), rtol=1e-3)
    z = np.array(norm(flat, _groups(y), training=True)[0])
    for rows in (y >= 0, y < 0):
        if rows.any():
            assert (np.abs(z[rows].mean(axis=0)).max() < 1e-5) == (apart or rows.all())


def test_statistics_together_are_those_of_all_images_of_a_batch(images):
    y, model = classes(11), make_ladder(noise=0.0, statistics="together")
    flat = images.reshape(40, -1) @ model.encoder.denses[0].kernel.numpy()
    model.compute_loss(images, y, model(images), training=True)
    for path in ("clean", "noisy"):
        norm = getattr(model.encoder, path)[0]
        np.testing.assert_allclose(norm.mean, flat.mean(axis=0), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(norm.variance, flat.var(axis=0), rtol=1e-3)
    assert LadderNetwork.from_config(model.get_config()).statistics == "together"


def test_the_combinator_is_that_of_numpy():
    rng = np.random.default_rng(0)
    z, u, a = rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), rng.normal(size=(10, 4))
    layer = Combinator(dtype="float64")
    layer.build((None, 4), (None, 4))
    start = np.zeros((10, 4))
    start[[1, 6]] = 1
    np.testing.assert_array_equal(layer.a, start)
    layer.a.assign(a)
    np.testing.assert_allclose(layer(z, u), combined(a, z, u), rtol=1e-12)


@pytest.mark.parametrize("labelled", SHARES.values(), ids=SHARES)
def test_gradients_of_a_new_ladder_are_finite(labelled, images):
    """At the start every estimate is 0 and its normalisation divides by almost nothing."""
    keras.utils.set_random_seed(0)
    model = LadderNetwork((9, 6), 3)
    model.compile(keras.optimizers.Adam(1e-2), **EAGER)
    model.fit(images, classes(labelled), batch_size=20, epochs=2, verbose=0)
    loss, every = gradients_of_ladder(model, images, classes(labelled))
    assert np.isfinite(loss)
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in every)


def gradients_of_ladder(model, x, y):
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x), training=True)
    return loss, tape.gradient(loss, model.trainable_variables)


def test_a_ladder_learns_from_two_labels_for_each_class():
    rng = np.random.default_rng(0)
    truth = np.arange(600) % 3
    x = (rng.random((3, 12, 10, 1))[truth] + rng.normal(0, 0.3, (600, 12, 10, 1))).astype("float32")
    y = np.where(np.arange(600) < 6, truth, -1)
    model = LadderNetwork((30, 20), 3)
    model.compile(keras.optimizers.Adam(5e-3))
    error = ((x - model_image(model, x)) ** 2).sum(axis=(1, 2, 3)).mean()
    model.fit(x, y, batch_size=32, epochs=3, verbose=0)
    assert (model.classify(x) == truth).mean() > 0.95
    assert ((x - model_image(model, x)) ** 2).sum(axis=(1, 2, 3)).mean() < 0.5 * error


def model_image(model, x):
    x_hat = model.reconstruct(x)
    assert x_hat.shape == x.shape
    return x_hat


def test_a_ladder_steps_alike_under_xla_and_step_by_step(images):
    same = {"batch_size": 20, "epochs": 2, "shuffle": False, "verbose": 0}
    small = {"units": (6,), "weights": (2.0, 0.7, 0.3), "noise": 0.0}
    graph = make_ladder(**small, run_eagerly=False, jit_compile=True)
    eager = make_ladder(**small)
    a, b = (m.fit(images, classes(), **same).history for m in (graph, eager))
    for name, value in a.items():
        np.testing.assert_allclose(value, b[name], rtol=1e-3)


def test_training_goes_on_where_it_was_saved(images, tmp_path):
    model = make_ladder(noise=0.0)
    model.fit(images, classes(), batch_size=20, verbose=0)
    model.save(tmp_path / "ladder.keras")
    loaded = aelib.load_model(tmp_path / "ladder.keras")
    same = {"batch_size": 20, "shuffle": False, "verbose": 0}
    a, b = (m.fit(images, classes(), **same).history for m in (model, loaded))
    assert a == b
    assert loaded.get_config() == {**model.get_config(), "name": loaded.name}


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_mixed_precision_gives_finite_losses_and_full_logits(half, images):
    keras.config.set_dtype_policy(f"mixed_{half}")
    try:
        model = make_ladder()
        history = model.fit(
            images, classes(), validation_data=(images, classes()), verbose=0
        ).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(np.isfinite(value).all() for value in history.values())
    assert model.probabilities(images).dtype == "float32"
    assert model.encoder.denses[0].compute_dtype == half


def test_a_ladder_has_the_published_sizes():
    model = LadderNetwork()
    model.build((None, 28, 28, 1))
    sizes = [dense.kernel.shape for dense in model.encoder.denses]
    assert sizes == [(784, 1000), (1000, 500), (500, 250), (250, 250), (250, 250), (250, 10)]
    assert model.reconstruction_weights == (1000, 10, 0.1, 0.1, 0.1, 0.1, 0.1)
    assert model.get_config()["noise"] == 0.3


@pytest.mark.parametrize(
    "arguments, name",
    [
        ({"units": ()}, "units"),
        ({"units": (5, 0)}, "units"),
        ({"units": (5, 2.5)}, "units"),
        ({"n_classes": 1}, "n_classes"),
        ({"n_classes": 2.0}, "n_classes"),
        ({"noise": -0.1}, "noise"),
        ({"statistics": "both"}, "statistics"),
        ({"statistics": None}, "statistics"),
        ({"reconstruction_weights": (1.0, 2.0)}, "reconstruction_weights"),
        ({"units": (5,), "reconstruction_weights": (1.0, -2.0, 1.0)}, "reconstruction_weights"),
    ],
)
def test_arguments_of_a_ladder_are_checked(arguments, name):
    with pytest.raises(ValueError, match=f"Received: {name}="):
        LadderNetwork(**arguments)


def test_a_ladder_refuses_values_weights_and_codes(images):
    model = make_ladder()
    with pytest.raises(ValueError, match="Received: y.dtype="):
        model.fit(images, np.zeros((40, 3)), verbose=0)
    with pytest.raises(ValueError, match="Received: sample_weight"):
        model.evaluate(images, classes(), sample_weight=np.ones(40), verbose=0)
    with pytest.raises(ValueError, match="Received: x.shape="):
        model.classify(images[:, :5])
    with pytest.raises(ValueError, match="Received: z.shape="):
        model.decode(np.zeros((2, 4)))


def test_settings_take_effect_when_they_are_set(images):
    """In a step that has been traced: as those of a model that was made with them."""
    made = [make_ladder(weights=(2, 1, 1, 1)), make_ladder(weights=(9, 1, 0, 1))]
    for model, noise in zip(made, (0.3, 0.0), strict=True):
        model.compile(keras.optimizers.SGD(1e-3))
        model.noise = noise
    same = {"batch_size": 20, "shuffle": False, "verbose": 0}
    later, _ = made
    start = later.get_weights()
    later.fit(images, classes(), **same)
    later.set_weights(start)
    later.noise, later.reconstruction_weights = 0.0, [9, 1, 0, 1]
    assert later.get_config()["noise"] == 0.0
    assert later.get_config()["reconstruction_weights"] == (9, 1, 0, 1)
    a, b = (model.evaluate(images, classes(), verbose=0) for model in made)
    np.testing.assert_allclose(a, b, rtol=1e-5)
    a, b = (model.fit(images, classes(), **same).history for model in made)
    for name, value in a.items():
        np.testing.assert_allclose(value, b[name], rtol=1e-5)
    for name, value in {"noise": -1, "reconstruction_weights": [1, 2]}.items():
        with pytest.raises(ValueError, match=f"Received: {name}="):
            setattr(later, name, value)


def test_a_ladder_is_compiled_without_loss_and_metrics():
    model = LadderNetwork((9, 6), 3)
    for name, value in {"loss": "mse", "metrics": ["accuracy"], "weighted_metrics": []}.items():
        with pytest.raises(ValueError, match=f"`{name}` must be None.* Received: {name}="):
            model.compile("adam", **{name: value})


def test_images_of_unknown_size_need_a_built_ladder(images):
    signature = (tf.TensorSpec((None, None, 1)), tf.TensorSpec((), "int64"))
    data = tf.data.Dataset.from_generator(
        lambda: iter(zip(images, classes(), strict=True)), output_signature=signature
    ).batch(20)
    unbuilt = LadderNetwork((9, 6), 3)
    unbuilt.compile("adam", run_eagerly=False)
    with pytest.raises(ValueError, match=r"Received: x.shape=\(None, None, None, 1\)"):
        unbuilt.fit(data, verbose=0)
    built = make_ladder(run_eagerly=False)
    given = built.evaluate(data, verbose=0)
    np.testing.assert_allclose(given, built.evaluate(images, classes(), 20, verbose=0), rtol=1e-5)
    built.fit(data, verbose=0)


def test_two_replicas_train_like_one_with_images_or_without():
    """41 images by 20: the last batch leaves the second replica none. No noise, to compare."""
    program = """
import aelib, keras, numpy as np, tensorflow as tf
from aelib import autoencoder, losses, semi_supervised
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
rng = np.random.default_rng(0)
x, y = rng.random((41, 6)).astype("float32"), rng.integers(0, 3, 41)
y[np.r_[2:9, 30:41]] = -1  # replicas have unequal shares of the labels
def ladder():
    return semi_supervised.LadderNetwork((5,), 3, 0.0), None
def joint():
    parts = [keras.Sequential([keras.Input((size,)), keras.layers.Dense(6)]) for size in (6, 6)]
    model = semi_supervised.SemiSupervisedAutoencoder(*parts, keras.layers.Dense(3), 5.0)
    return model, losses.SquaredError()
def train(make, strategy, x, y):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model, loss = make()
        model.compile(keras.optimizers.SGD(0.01), loss, metrics=loss and ["mse"])
    same = {"batch_size": 20, "verbose": 0}
    history = model.fit(x, y, epochs=3, shuffle=False, **same).history
    shown = model.evaluate(x, y, return_dict=True, **same)
    if make is ladder:
        parts = tf.data.Dataset.from_tensor_slices((x, y)).batch(20)
        history["again"] = model.fit(parts, verbose=0).history["loss"]
    return {**history, **shown, "weights": np.concatenate([w.ravel() for w in model.get_weights()])}
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for make, count in ((ladder, 41), (joint, 40)):
    one = train(make, tf.distribute.get_strategy(), x[:count], y[:count])
    two = train(make, mirrored, x[:count], y[:count])
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
for name, value in train(joint, mirrored, x, y).items():
    assert np.isfinite(value).all(), name
"""
    subprocess.run([sys.executable, "-c", program], check=True)
