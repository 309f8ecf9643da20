"""Losses of labelled and unlabelled images against NumPy."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from scipy import special

from aelib.autoencoder import Autoencoder
from aelib.denoising import GaussianCorruption, MaskingCorruption
from aelib.losses import BernoulliCrossEntropy, SquaredError
from aelib.semi_supervised import LadderNetwork, SemiSupervisedAutoencoder, mixed_rows
from aelib.sparse import L1Sparsity

CLASSES = np.arange(40) % 3
# Step by step, which is quicker for a few small batches than to trace a graph first.
EAGER = {"run_eagerly": True, "steps_per_execution": 1}
GRAPH = {"run_eagerly": False, "steps_per_execution": None}
SHARES = {"none": 0, "some": 11, "all": 40}


def classes(labelled=11):
    """Forty labels of three classes, of which so many are known, here and there."""
    known = np.random.default_rng(1).permutation(40)[:labelled]
    return np.where(np.isin(np.arange(40), known), CLASSES, -1)


def values(labelled=11):
    """Two values for each of forty images, NaN where they are unknown."""
    y = np.random.default_rng(2).normal(size=(40, 2)).astype("float32")
    return np.where((classes(labelled) >= 0)[:, None], y, np.nan)


@pytest.fixture
def make_model(make_parts):
    def make(weight=3.0, outputs=3, corruption=None, loss=None, rate=0.0, **arguments):
        encoder, decoder = make_parts()
        predictor = keras.Sequential(
            [keras.Input((4,)), layers.Dense(outputs, bias_initializer="normal")]
        )
        model = SemiSupervisedAutoencoder(encoder, decoder, predictor, weight, corruption)
        model.compile(keras.optimizers.SGD(rate), loss or SquaredError(), **{**EAGER, **arguments})
        return model

    return make


def expected(model, x, y):
    """All that is reported, from the outputs of the three parts."""
    z = model.encoder(x)
    output = model.predictor(z).numpy()
    error = ((x - model.decoder(z).numpy()) ** 2).sum(axis=(1, 2, 3)).mean()
    if y.dtype.kind == "i":
        known = np.flatnonzero(y >= 0)
        each = [special.logsumexp(output[i]) - output[i][y[i]] for i in known]
        name, scores = "accuracy", [float(output[i].argmax() == y[i]) for i in known]
    else:
        known = [i for i in range(len(y)) if not np.isnan(y[i]).any()]
        each = [((y[i] - output[i]) ** 2).sum() for i in known]
        name, scores = "mean_absolute_error", [abs(y[i] - output[i]).mean() for i in known]
    prediction, score = (np.mean(part) if part else 0.0 for part in (each, scores))
    loss = error + model.weight * prediction
    return {"loss": loss, "reconstruction": error, "prediction": prediction, name: score}


def assert_reported(reported, wanted, prefix=""):
    assert {name for name in reported if name.startswith("val_") == bool(prefix)} == {
        prefix + name for name in wanted
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(np.ravel(reported[prefix + name])[-1], value, rtol=2e-5)


def gradients(model, x, y):
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=True))
    return loss, tape.gradient(loss, model.trainable_variables)


def assert_equal_weights(a, b, **tolerance):
    for v, w in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(v, w, **tolerance)


# The loss of both tasks


@pytest.mark.parametrize("labelled", SHARES.values(), ids=SHARES)
@pytest.mark.parametrize("make_labels", [classes, values])
def test_the_loss_is_that_of_numpy_however_the_images_are_split(
    make_labels, labelled, make_model, images
):
    y = make_labels(labelled)
    model = make_model(outputs=3 if make_labels is classes else 2)
    wanted = expected(model, images, y)
    for batch_size in (3, 40):
        reported = model.evaluate(images, y, batch_size=batch_size, verbose=0, return_dict=True)
        assert_reported(reported, wanted)
    history = model.fit(
        images, y, batch_size=7, labelled_share=0, validation_data=(images, y), verbose=0
    ).history
    assert_reported(history, wanted)
    assert_reported(history, wanted, "val_")
    one_batch = float(model.compute_loss(images, y, model(images)))
    np.testing.assert_allclose(one_batch, wanted["loss"], rtol=1e-5)


@pytest.mark.parametrize("labelled", SHARES.values(), ids=SHARES)
@pytest.mark.parametrize("make_labels", [classes, values])
def test_gradients_are_finite_and_those_of_the_labelled_images(
    make_labels, labelled, make_model, images
):
    """The gradient of the predictor is that of a batch without the unlabelled images."""
    y = make_labels(labelled)
    model = make_model(outputs=3 if make_labels is classes else 2)
    loss, every = gradients(model, images, y)
    assert np.isfinite(loss) and all(np.isfinite(g).all() for g in every)
    kernel = model.predictor.layers[-1].kernel
    place = [variable is kernel for variable in model.trainable_variables].index(True)
    known = y >= 0 if y.dtype.kind == "i" else ~np.isnan(y).any(axis=1)
    if known.any():
        _, alone = gradients(model, images[known], y[known])
        np.testing.assert_allclose(every[place], alone[place], rtol=1e-4, atol=1e-6)
    else:
        assert not np.any(every[place])


def test_a_gradient_is_that_of_finite_differences(make_model, images):
    y, model = classes(), make_model(weight=20.0)
    kernel = model.encoder.layers[-1].kernel
    place = [v is kernel for v in model.trainable_variables].index(True)
    slope = gradients(model, images, y)[1][place].numpy()
    direction, start, losses = slope / np.linalg.norm(slope), kernel.numpy(), []
    for step in (1e-2, -1e-2):
        kernel.assign(start + step * direction)
        losses.append(expected(model, images, y)["loss"])
    np.testing.assert_allclose((losses[0] - losses[1]) / 2e-2, np.linalg.norm(slope), rtol=1e-2)


@pytest.mark.parametrize("weight, labelled", [(0.0, 11), (5.0, 0)], ids=["no weight", "no labels"])
def test_without_weight_or_labels_it_steps_as_the_autoencoder(
    weight, labelled, make_model, make_parts, images
):
    model = make_model(weight, rate=1e-3)
    plain = Autoencoder(*make_parts())
    plain.compile(keras.optimizers.SGD(1e-3), SquaredError(), **EAGER)
    same = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    model.fit(images, classes(labelled), **same)
    plain.fit(images, **same)
    assert_equal_weights(model.encoder, plain.encoder, rtol=1e-6)
    assert_equal_weights(model.decoder, plain.decoder, rtol=1e-6)
    assert model.weight == weight
    assert_equal_weights(model.predictor, make_model(weight).predictor)


def test_other_labels_give_another_encoder(make_model, images):
    codes = []
    for y in (classes(40), np.roll(classes(40), 1)):
        model = make_model(rate=1e-3)
        model.fit(images, y, batch_size=8, shuffle=False, verbose=0)
        codes.append(model.encode(images))
    assert np.abs(codes[0] - codes[1]).max() > 1e-3


def test_arrays_and_datasets_train_alike(make_model, images):
    y = classes()
    a, b = make_model(rate=1e-3, **GRAPH), make_model(rate=1e-3, **GRAPH)
    first = a.fit(images, y, batch_size=8, shuffle=False, verbose=0, validation_data=(images, y))
    data = tf.data.Dataset.from_tensor_slices((images, y)).batch(8)
    second = b.fit(data, verbose=0, validation_data=data)
    assert first.history.keys() == second.history.keys()
    for name, value in first.history.items():
        np.testing.assert_allclose(value, second.history[name], rtol=1e-5)
    assert_equal_weights(a, b, rtol=1e-5)


def test_one_value_needs_no_second_axis(make_model, images):
    y, model = values()[:, 0], make_model(outputs=1, **GRAPH)
    flat, column = (model.evaluate(images, part, verbose=0) for part in (y, y[:, None]))
    assert flat == column
    data = tf.data.Dataset.from_tensor_slices((images, y)).batch(40)
    np.testing.assert_allclose(model.evaluate(data, verbose=0), flat, rtol=1e-5)


def test_penalties_of_layers_count_in_the_loss_alone(images):
    encoder = keras.Sequential(
        [keras.Input((12, 10, 1)), layers.Flatten(), layers.Dense(4), L1Sparsity(0.5)]
    )
    decoder = keras.Sequential([keras.Input((4,)), layers.Dense(120), layers.Reshape((12, 10, 1))])
    model = SemiSupervisedAutoencoder(encoder, decoder, layers.Dense(3), 2.0)
    model.compile("sgd", SquaredError(), **EAGER)
    wanted = expected(model, images, classes())
    penalty = 0.5 * np.abs(model.encode(images)).sum(axis=1).mean()
    reported = model.evaluate(images, classes(), batch_size=9, verbose=0, return_dict=True)
    np.testing.assert_allclose(reported["loss"], wanted["loss"] + penalty, rtol=1e-5)
    np.testing.assert_allclose(reported["reconstruction"], wanted["reconstruction"], rtol=1e-5)


# Corruption


def test_noise_is_fresh_in_training_fixed_in_validation_and_absent_in_use(make_model, images):
    y = classes()
    model = make_model(corruption=GaussianCorruption(0.5, seed=1))
    history = model.fit(
        images, y, epochs=2, batch_size=40, validation_data=(images, y), verbose=0
    ).history
    for name in ("loss", "prediction"):
        assert history[name][0] != history[name][1]
        assert history[f"val_{name}"][0] == history[f"val_{name}"][1]
    assert history["val_loss"][0] > expected(model, images, y)["loss"]
    np.testing.assert_array_equal(model.probabilities(images), model.probabilities(images))
    output = model.predictor(model.encoder(images))
    np.testing.assert_allclose(
        model.probabilities(images), special.softmax(output, axis=1), rtol=1e-5
    )


def test_the_target_of_a_corrupted_image_is_the_clean_one(make_model, images):
    """Everything masked: the decoder sees the code of black, and is held against the image."""
    model = make_model(weight=0.0, corruption=MaskingCorruption(1.0))
    black = model.reconstruct(np.zeros_like(images))
    wanted = ((images - black) ** 2).sum(axis=(1, 2, 3)).mean()
    history = model.fit(images, classes(), validation_data=(images, classes()), verbose=0).history
    for name in ("loss", "reconstruction", "val_loss", "val_reconstruction"):
        np.testing.assert_allclose(history[name], wanted, rtol=1e-5)


# How batches mix


@pytest.mark.parametrize(
    "labelled, images, batch_size, share, count",
    [(100, 6000, 128, 0.25, 32), (10, 500, 100, 0.5, 10), (50, 300, 8, 0.01, 1), (9, 40, 4, 1, 3)],
)
def test_every_batch_has_its_labelled_images(labelled, images, batch_size, share, count):
    known = np.zeros(images, bool)
    known[np.random.default_rng(0).permutation(images)[:labelled]] = True
    dataset = mixed_rows(known, batch_size, share)
    epochs = [list(dataset.as_numpy_iterator()) for _ in range(2)]
    for batches in epochs:
        assert all(known[batch].sum() == count for batch in batches)
        assert all(len(batch) == batch_size for batch in batches[:-1])
        assert all(
            len(np.unique(batch[known[batch]])) == count for batch in batches[: labelled // count]
        )
        rows = np.concatenate(batches)
        np.testing.assert_array_equal(np.sort(rows[~known[rows]]), np.flatnonzero(~known))
        visits = np.bincount(rows, minlength=images)[known]
        assert visits.max() - visits.min() <= 1
    assert any((a != b).any() for a, b in zip(*epochs, strict=True))


def seen_labels(model, monkeypatch, *arguments, **keywords):
    """The labels of each training batch of a `fit`."""
    seen, compute_loss = [], type(model).compute_loss

    def record(self, x=None, y=None, *rest, **more):
        if more["training"]:
            seen.append(np.array(y[1]))
        return compute_loss(self, x, y, *rest, **more)

    monkeypatch.setattr(type(model), "compute_loss", record)
    model.fit(*arguments, verbose=0, **keywords)
    return seen


@pytest.mark.parametrize(
    "labelled, keywords, counts",
    [
        (4, {}, {2}),
        (4, {"labelled_share": 0.5}, {4}),
        (4, {"labelled_share": 0.5, "validation_split": 0.2}, {4, 3, 2}),
        (1, {"labelled_share": 0.5}, {1}),
        (4, {"labelled_share": 0}, None),
        (4, {"shuffle": False}, None),
        (20, {}, None),
        (0, {}, {0}),
    ],
)
def test_fit_mixes_batches_where_labels_are_rare(
    labelled, keywords, counts, make_model, images, monkeypatch
):
    y = classes(labelled)
    model = make_model()
    seen = seen_labels(model, monkeypatch, images, y, batch_size=8, **keywords)
    got = {int((batch >= 0).sum()) for batch in seen}
    if counts is None:
        assert sum(len(batch) for batch in seen) == 40
        np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.sort(y))
    elif "validation_split" in keywords:
        assert len(got) == 1 and got <= counts
    else:
        assert got == counts


def test_rows_keep_their_labels(make_model, images, monkeypatch):
    """Image and label of a mixed batch belong together, on the path without gathering too."""
    y = classes(5)
    images = np.arange(40, dtype="float32")[:, None, None, None] / 40 + 0 * images
    for gathers in (True, False):
        pairs = []
        model = make_model()
        monkeypatch.setattr(model, "_gathers", lambda *_, g=gathers: g)

        def record(x=None, y=None, y_pred=None, *_, pairs=pairs, **__):
            pairs.extend(zip(np.array(x)[:, 0, 0, 0], np.array(y[1]), strict=True))
            return sum(ops.sum(part) for part in y_pred.values())

        monkeypatch.setattr(model, "compute_loss", record)
        model.fit(images, y, batch_size=8, verbose=0)
        assert len(pairs) > 40
        assert all(y[round(float(pixel) * 40)] == label for pixel, label in pairs)


def test_few_labels_are_learnt_beside_many_images_without(make_parts):
    """Three clusters, two labels each among 600 images: one pass is enough to tell them apart."""
    rng = np.random.default_rng(0)
    truth = np.arange(600) % 3
    x = (rng.random((3, 12, 10, 1))[truth] + rng.normal(0, 0.3, (600, 12, 10, 1))).astype("float32")
    y = np.where(np.arange(600) < 6, truth, -1)
    model = SemiSupervisedAutoencoder(*make_parts(), layers.Dense(3), 10.0)
    model.compile(keras.optimizers.Adam(5e-3), SquaredError())
    model.fit(x, y, batch_size=16, verbose=0)
    assert (model.classify(x) == truth).mean() > 0.95


# Use, files, arguments


def test_what_it_gives_in_use(make_model, images):
    model, z = make_model(), make_model().encoder(images)
    output = model.predictor(z).numpy()
    np.testing.assert_array_equal(model.classify(images), output.argmax(axis=1))
    np.testing.assert_allclose(model.probabilities(images).sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(model.regress(images), output, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.encode(images), z, rtol=1e-5, atol=1e-6)
    called = model(images)
    assert called.keys() == {"reconstruction", "prediction"}
    np.testing.assert_allclose(
        model.reconstruct(images), called["reconstruction"], rtol=1e-4, atol=1e-5
    )
    many = np.concatenate([images] * 30)
    assert model.classify(many).shape == (1200,)


def test_parts_without_an_input_are_built_by_fit(images):
    encoder = keras.Sequential([layers.Flatten(), layers.Dense(4)])
    decoder = keras.Sequential([layers.Dense(120), layers.Reshape((12, 10, 1))])
    model = SemiSupervisedAutoencoder(encoder, decoder, layers.Dense(3), 1.0)
    model.compile("sgd", SquaredError(), **EAGER)
    model.fit(images, classes(), verbose=0)
    assert model.predictor.kernel.shape == (4, 3)


def test_xla_gives_the_same_loss(make_model, images):
    model = make_model(**GRAPH, jit_compile=True, corruption=MaskingCorruption(0.0))
    wanted = expected(model, images, classes())
    assert_reported(model.fit(images, classes(), labelled_share=0, verbose=0).history, wanted)


@pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def test_mixed_precision_gives_finite_losses_and_full_metrics(policy, make_model, images):
    model, y = make_model(rate=1e-3), classes()
    history = model.fit(images, y, validation_data=(images, y), verbose=0).history
    assert all(np.isfinite(value).all() for value in history.values())
    assert model.classify(images).shape == (40,)
    assert model.encoder.layers[-1].compute_dtype == policy.removeprefix("mixed_")


def test_a_fresh_process_loads_equal_outputs_and_losses(make_model, images, tmp_path):
    made = {
        "classes": (make_model(rate=1e-3, corruption=GaussianCorruption(0.1, seed=3)), classes()),
        "values": (make_model(rate=1e-3, outputs=2), values()),
        "ladder": (LadderNetwork((9, 6), 3, 0.2), classes()),
    }
    made["ladder"][0].compile("adam", **EAGER)
    np.savez(tmp_path / "data.npz", x=images, **{name: y for name, (_, y) in made.items()})
    for name, (model, y) in made.items():
        model.fit(images, y, batch_size=20, verbose=0)
        model.save(tmp_path / f"{name}.keras")
    program = f"""
import aelib, numpy as np
folder = {str(tmp_path)!r}
data = np.load(folder + "/data.npz")
for name in {list(made)}:
    model = aelib.load_model(f"{{folder}}/{{name}}.keras")
    loss = model.evaluate(data["x"], data[name], verbose=0, return_dict=True)
    np.savez(f"{{folder}}/{{name}}_out.npz", output=model.predict_labels(data["x"]),
             x_hat=model.reconstruct(data["x"]), **loss)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    for name, (model, y) in made.items():
        loaded = np.load(tmp_path / f"{name}_out.npz")
        np.testing.assert_allclose(
            loaded["output"], model.predict_labels(images), rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(loaded["x_hat"], model.reconstruct(images), rtol=1e-5, atol=1e-6)
        for key, value in model.evaluate(images, y, verbose=0, return_dict=True).items():
            np.testing.assert_allclose(loaded[key], value, rtol=1e-5)


@pytest.mark.parametrize(
    "y",
    [
        None,
        classes()[:39],
        classes() + 1.0,
        np.full(40, 3),
        np.full(40, -2),
        np.array(["a"] * 40),
        np.full(40, True),
        np.eye(3, dtype=int)[CLASSES],
        np.full((40, 3), np.inf),
        np.zeros((40, 2)),
        np.array(1),
    ],
    ids=[
        "missing",
        "too few",
        "classes as values",
        "too large",
        "too small",
        "text",
        "bool",
        "one of each class",
        "infinite",
        "too few values",
        "scalar",
    ],
)
def test_labels_that_are_none_are_refused(y, make_model, images):
    model = make_model()
    for method in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="Received: "):
            method(images, y, verbose=0)
    with pytest.raises(ValueError, match="Received: "):
        model.fit(images, classes(), validation_data=(images, y), verbose=0)


def test_what_else_is_refused(make_model, make_parts, images):
    model, y = make_model(), classes()
    for bad in (images * np.nan, images[0, 0], images[:, :5]):
        with pytest.raises(ValueError, match="Received: "):
            model.fit(bad, y[: len(bad)], verbose=0)
    with pytest.raises(ValueError, match="Received: "):
        model.fit(images, y, validation_data=images, verbose=0)
    for share in (-0.1, 1.1, None, True):
        with pytest.raises(ValueError, match="Received: labelled_share"):
            model.fit(images, y, labelled_share=share)
    with pytest.raises(ValueError, match="Received: batch_size=1"):
        model.fit(images, classes(2), batch_size=1)
    with pytest.raises(ValueError, match="Received: x between"):
        make_model(loss=BernoulliCrossEntropy()).fit(images + 1, y, verbose=0)
    with pytest.raises(ValueError, match="Received: y.shape"):
        make_model(outputs=1).evaluate(tf.data.Dataset.from_tensors((images, y)), verbose=0)
    with pytest.raises(ValueError, match="Received: y.shape"):
        model.evaluate(tf.data.Dataset.from_tensors((images, values())), verbose=0)
    with pytest.raises(ValueError, match="Received: y=None"):
        model.evaluate(tf.data.Dataset.from_tensors(images), verbose=0)
    for weight in (-1, np.inf, np.nan, "1", None, True):
        with pytest.raises(ValueError, match="Received: weight="):
            SemiSupervisedAutoencoder(*make_parts(), layers.Dense(3), weight)
    with pytest.raises(ValueError, match="Received: predictor="):
        SemiSupervisedAutoencoder(*make_parts(), "dense", 1.0)


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize(
    "y, expected",
    [
        (np.full(40, 3), "(?s)integers from -1 to 2. Received: y from.*3"),
        (np.full(40, -2), "(?s)integers from -1 to 2. Received: y from.*-2"),
        (classes().astype("uint8"), "(?s)integers from -1 to 2. Received: y from.*255"),
        (classes().astype("uint8")[:, None], "(?s)integers from -1 to 2. Received: y from.*255"),
        (classes() >= 0, "Labels must be numbers. Received: y.dtype=bool"),
        (np.array(["a"] * 40), "Labels must be numbers. Received: y.dtype=string"),
        (np.eye(3, dtype=int)[CLASSES], "Received: y.shape="),
    ],
    ids=["too large", "too small", "bytes", "column of bytes", "bool", "text", "one of each class"],
)
def test_labels_of_datasets_are_checked_too(y, expected, eager, make_model, images):
    model, ladder = make_model(run_eagerly=eager), LadderNetwork((9, 6), 3)
    ladder.compile("adam", run_eagerly=eager)
    data = tf.data.Dataset.from_tensor_slices((images, y)).batch(20)
    for method in (model.fit, ladder.evaluate):
        with pytest.raises(ValueError, match=expected):
            method(data, verbose=0)
    if y.dtype.kind != "U":
        with pytest.raises(ValueError, match=expected):
            model.train_on_batch(images, y)


@pytest.mark.parametrize("wrong", [-2, 3, 255])
def test_labels_that_do_not_exist_are_nan_under_xla(wrong, make_model, images):
    """XLA drops the check: a loss that is NaN is seen, one that leaves an image out is not."""
    y = classes(40)
    y[3] = wrong
    data = tf.data.Dataset.from_tensor_slices((images, y)).batch(40)
    assert np.isnan(make_model(**GRAPH, jit_compile=True).evaluate(data, verbose=0)[0])


def test_values_of_datasets_are_checked_too(make_model, images):
    y = values()
    y[3, 1] = np.inf
    data = tf.data.Dataset.from_tensor_slices((images, y)).batch(20)
    with pytest.raises(ValueError, match="Labels must be finite, or NaN"):
        make_model(outputs=2, **GRAPH).fit(data, verbose=0)
    with pytest.raises(ValueError, match="Received: y.dtype=float32"):
        LadderNetwork((9, 6), 3).compute_loss(images, y.astype("float32"))


class Column:
    """What a column, or the whole, of a data frame is to NumPy."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


@pytest.mark.parametrize("model_class", ["joint", "ladder"])
def test_labels_come_as_a_list_a_series_a_column_or_bytes(model_class, make_model, images):
    model = make_model()
    if model_class == "ladder":
        model = LadderNetwork((9, 6), 3)
        model.compile("adam", **EAGER)
    y = classes()
    wanted = model.evaluate(images, y, verbose=0)
    kinds = [list(y), Column(y), y[:, None], Column(y[:, None]), y.astype("int8")]
    for given in kinds:
        assert model.evaluate(images, given, verbose=0) == wanted
        model.fit(images, given, epochs=0, verbose=0)
    data = tf.data.Dataset.from_tensor_slices((images, y[:, None].astype("int8"))).batch(40)
    np.testing.assert_allclose(model.evaluate(data, verbose=0), wanted, rtol=1e-5)
    known = CLASSES.astype("uint8")
    wanted = model.evaluate(images, CLASSES, verbose=0)
    data = tf.data.Dataset.from_tensor_slices((images, known)).batch(40)
    for given in ((images, known), (data,)):
        np.testing.assert_allclose(model.evaluate(*given, verbose=0), wanted, rtol=1e-5)


@pytest.mark.parametrize("model_class", ["joint", "ladder"])
def test_weights_of_images_and_classes_are_refused(model_class, make_model, images):
    model = make_model()
    if model_class == "ladder":
        model = LadderNetwork((9, 6), 3)
        model.compile("adam", **EAGER)
    y, weights = classes(), np.ones(40)
    triples = tf.data.Dataset.from_tensor_slices((images, y, weights)).batch(20)
    calls = [
        lambda: model.fit(images, y, sample_weight=weights, verbose=0),
        lambda: model.fit(images, y, class_weight={0: 1.0, 1: 2.0, 2: 1.0}, verbose=0),
        lambda: model.fit(triples, verbose=0),
        lambda: model.fit(images, y, validation_data=(images, y, weights), verbose=0),
        lambda: model.fit(images, y, validation_data=triples, verbose=0),
        lambda: model.evaluate(images, y, sample_weight=weights, verbose=0),
        lambda: model.evaluate(triples, verbose=0),
        lambda: model.train_on_batch(images, y, sample_weight=weights),
        lambda: model.test_on_batch(images, y, sample_weight=weights),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="Received: sample_weight or class_weight"):
            call()


def test_the_weight_takes_effect_when_it_is_set(make_model, images):
    """In a step that has been traced: as that of a model that was made with it."""
    y, same = classes(), {"batch_size": 20, "shuffle": False, "verbose": 0}
    later, first = make_model(1.0, rate=1e-3, **GRAPH), make_model(50.0, rate=1e-3, **GRAPH)
    start = later.get_weights()
    later.fit(images, y, **same)
    later.evaluate(images, y, verbose=0)
    later.set_weights(start)
    later.weight = 50
    assert later.weight == 50.0 and later.get_config()["weight"] == 50.0
    a, b = (model.fit(images, y, **same).history for model in (later, first))
    for name, value in a.items():
        np.testing.assert_allclose(value, b[name], rtol=1e-5)
    assert_equal_weights(later, first, rtol=1e-5)
    a, b = (model.evaluate(images, y, verbose=0) for model in (later, first))
    np.testing.assert_allclose(a, b, rtol=1e-5)
    assert len(later.get_weights()) == len(start)
    with pytest.raises(ValueError, match="Received: weight=-1"):
        later.weight = -1
    assert later.weight == 50.0


def test_the_weight_that_was_set_is_saved(make_model, images, tmp_path):
    model = make_model(1.0)
    model.weight = 7.1
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.weight == 7.1
    a, b = (m.evaluate(images, classes(), verbose=0) for m in (model, loaded))
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_losses_and_metrics_are_those_of_the_reconstruction(make_model, images):
    model = make_model()
    for name in ("loss", "metrics", "loss_weights"):
        of_parts = {"reconstruction": "mse", "prediction": "mse"}
        with pytest.raises(ValueError, match=f"Received: {name}="):
            model.compile("sgd", **{"loss": SquaredError(), name: of_parts})
    with pytest.raises(ValueError, match="Received: loss="):
        model.compile("sgd", ["mse", "mse"])
    model.compile("sgd", SquaredError(), metrics=["mse"], **EAGER)
    shown = model.evaluate(images, classes(), verbose=0, return_dict=True)
    np.testing.assert_allclose(shown["mse"], shown["reconstruction"] / 120, rtol=1e-5)
