"""Greedy pretraining: what each layer learns from, what is kept of it, fine-tuning from there."""

import gc
import weakref
from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import layers

import aelib
from aelib import stacked
from aelib.autoencoder import Autoencoder
from aelib.denoising import GaussianCorruption, MaskingCorruption
from aelib.losses import BernoulliCrossEntropy, SquaredError
from aelib.sparse import KLSparsity, KSparse, L1Sparsity


def pretrain(x, units, **settings):
    """Quiet, short and repeatable unless told otherwise."""
    keras.utils.set_random_seed(settings.pop("seed", 0))
    defaults = {"epochs": 2, "optimizer": keras.optimizers.SGD(1e-2), "verbose": 0}
    return stacked.pretrain(x, units, **{**defaults, **settings})


def untrained(x, units, **settings):
    """With a step of size 0: what the history says is then true of the weights that are kept."""
    return pretrain(x, units, optimizer=keras.optimizers.SGD(0.0), **settings)


def recorded(train, *arguments, **settings):
    """The stack, and for each layer what `fit` recorded."""
    histories, fit = [], Autoencoder.fit

    def recording_fit(self, *args, **kwargs):
        history = fit(self, *args, **kwargs)
        histories.append(history.history)
        return history

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Autoencoder, "fit", recording_fit)
        return train(*arguments, **settings), histories


def squared_error(x, x_hat):
    return ((np.asarray(x) - np.asarray(x_hat)) ** 2).reshape(len(x), -1).sum(axis=1).mean()


def codes_of(stack, x):
    """x^0, x^1, ..., by the formula, in NumPy."""
    codes = [x.reshape(len(x), -1)]
    for dense in stack.encoder.layers[1:]:
        kernel, bias = dense.get_weights()
        codes.append(np.asarray(dense.activation(codes[-1] @ kernel + bias)))
    return codes


def decoded_by(dense, z):
    kernel, bias = dense.get_weights()
    return np.asarray(dense.activation(z @ kernel + bias))


@pytest.fixture
def pairs(monkeypatch):
    """The shallow autoencoders, with what each was trained on, as `pretrain` makes them."""
    seen = []
    fit = Autoencoder.fit

    def remembering_fit(self, x, **arguments):
        seen.append((self, np.array(x)))
        return fit(self, x, **arguments)

    monkeypatch.setattr(Autoencoder, "fit", remembering_fit)
    return seen


@pytest.fixture(scope="module")
def pretrained():
    return pretrain(np.random.default_rng(0).random((40, 12, 10, 1)).astype("float32"), [9, 5])


@pytest.fixture
def stack(pretrained):
    """One that has been pretrained, for a test to do with as it likes."""
    return pretrained.copy()


def equal_weights(a, b):
    return all(np.array_equal(v, w) for v, w in zip(a, b, strict=True))


# Layer by layer


@pytest.mark.parametrize("tied", [False, True])
def test_each_layer_is_trained_on_the_codes_of_the_layer_below(images, pairs, tied):
    stack = pretrain(images, [9, 7, 5], tied=tied, activation=["sigmoid", "tanh", None])
    codes = codes_of(stack, images)
    assert [x.shape for _, x in pairs] == [(40, 12, 10, 1), (40, 9), (40, 7)]
    for (_, x), expected in zip(pairs, codes, strict=False):
        np.testing.assert_allclose(x.reshape(40, -1), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stack.encoder(images), codes[-1], rtol=1e-5, atol=1e-5)


def test_greedy_training_is_what_one_does_by_hand(images):
    """Keras alone: train a pair, encode, train the next pair. Whole batches: order is no matter."""
    stack, histories = recorded(pretrain, images, [9, 5], epochs=3, batch_size=40)
    keras.utils.set_random_seed(0)
    by_hand = []
    for below, width in pairwise([120, 9, 5]):
        inputs = keras.Input((below,))
        up, down = layers.Dense(width, "sigmoid"), layers.Dense(below, "sigmoid")
        z = up(inputs)
        by_hand.append((keras.Model(inputs, z), keras.Model(inputs, down(z))))
    codes, weights = images.reshape(40, -1), []
    for (encoder, model), history in zip(by_hand, histories, strict=True):
        model.compile(keras.optimizers.SGD(1e-2), SquaredError())
        expected = model.fit(codes, codes, batch_size=40, epochs=3, verbose=0).history["loss"]
        np.testing.assert_allclose(history["loss"], expected, rtol=1e-4)
        codes = encoder.predict(codes, verbose=0)
        weights += encoder.get_weights()
    for ours, theirs in zip(stack.encoder.get_weights(), weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_loss_of_a_layer_compares_the_codes_below_with_what_its_decoder_makes(images):
    activation = ["sigmoid", "tanh", None]
    stack, histories = recorded(untrained, images, [9, 7, 5], epochs=1, activation=activation)
    codes = codes_of(stack, images)
    for h, history in enumerate(histories):
        x_hat = decoded_by(stack.decoder.get_layer(f"decode_{h + 1}"), codes[h + 1])
        np.testing.assert_allclose(history["loss"], squared_error(codes[h], x_hat), rtol=1e-5)


def test_tied_linear_layers_reach_pca_at_every_depth():
    """A tied linear pair is an orthogonal projection at its best: distances among codes are those
    among images, and what is best for the codes is best for the images."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    x = rng.normal(size=(3000, 8)) * [3, 2.5, 2, 1.5, 1, 0.6, 0.4, 0.2] @ axes
    x = (x - x.mean(axis=0)).astype("float32")
    left = (np.linalg.svd(x, compute_uv=False) ** 2)[::-1].cumsum()[::-1] / len(x)
    stack = pretrain(
        x,
        [5, 3, 2],
        epochs=20,
        batch_size=100,
        activation=None,
        output_activation=None,
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-2, 600)),
        tied=True,
    )
    z = x
    for h, k in enumerate([5, 3, 2], 1):
        z = stack.encoder.get_layer(f"encode_{h}")(z)
        x_hat = z
        for below in range(h, 0, -1):
            x_hat = stack.decoder.get_layer(f"decode_{below}")(x_hat)
        error = squared_error(x, x_hat)
        assert left[k] * (1 - 1e-4) <= error <= left[k] * 1.01, (k, error, left[k])


@pytest.mark.parametrize("tied", [False, True])
def test_the_stack_holds_the_weights_of_the_pairs_and_mirrors_the_decoders(images, pairs, tied):
    """Widths all equal: in the wrong order it would still run, and give something else."""
    stack = pretrain(images, [6, 6, 6], tied=tied, epochs=3, activation=["sigmoid", "tanh", "elu"])
    models = [model for model, _ in pairs]
    ends = [layer.activation.__name__ for layer in stack.decoder.layers[:-1]]
    assert ends == ["tanh", "sigmoid", "sigmoid"], "each gives codes as the layer below does"
    z = images
    for number, model in enumerate(models, 1):
        expected = model.encoder.layers[-1].kernel
        np.testing.assert_array_equal(stack.encoder.get_layer(f"encode_{number}").kernel, expected)
        z = model.encode(z)
    np.testing.assert_allclose(stack.encoder(images), z, rtol=1e-5, atol=1e-6)
    x_hat = z
    for model in reversed(models):
        x_hat = model.decode(x_hat)
    assert stack.decoder.output_shape == (None, 12, 10, 1)
    np.testing.assert_allclose(stack.decoder(z), x_hat, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stack.autoencoder().reconstruct(images), x_hat, rtol=1e-5, atol=1e-6)


def test_tied_pairs_share_a_kernel_and_their_decoders_go_on_alone(images, pairs):
    stack = pretrain(images, [9, 5], tied=True)
    for (model, _), width in zip(pairs, [9, 5], strict=True):
        assert len(model.trainable_variables) == 3  # one kernel, two biases
        assert model.encoder.output_shape == (None, width)
    for h in (1, 2):
        up, down = stack.encoder.get_layer(f"encode_{h}"), stack.decoder.get_layer(f"decode_{h}")
        np.testing.assert_array_equal(down.kernel, np.transpose(up.kernel))
    deep = stack.autoencoder()
    assert len(deep.trainable_variables) == 8
    deep.compile(keras.optimizers.SGD(1e-2), SquaredError())
    deep.fit(images, epochs=1, verbose=0)
    up, down = stack.encoder.get_layer("encode_1"), stack.decoder.get_layer("decode_1")
    assert not np.allclose(down.kernel, np.transpose(up.kernel))


def test_training_a_layer_leaves_the_layers_below_as_they_are(images):
    one, two = (pretrain(images, units, batch_size=40) for units in ([9], [9, 5]))
    assert equal_weights(one.encoder.get_weights(), two.encoder.get_weights()[:2])


def test_a_seed_repeats_it_all(images):
    settings = {"corruption": MaskingCorruption(0.3), "batch_size": 8}
    (first, losses), (again, same), (other, _) = (
        recorded(pretrain, images, [6, 4], seed=s, **settings) for s in (1, 1, 2)
    )
    assert equal_weights(first.encoder.get_weights(), again.encoder.get_weights())
    assert equal_weights(first.decoder.get_weights(), again.decoder.get_weights())
    assert losses == same
    assert not equal_weights(first.encoder.get_weights(), other.encoder.get_weights())


def test_settings_are_for_all_layers_or_for_each(images):
    optimizer = keras.optimizers.SGD(0.0)
    losses = [BernoulliCrossEntropy(from_logits=True), BernoulliCrossEntropy(from_logits=False)]
    stack, histories = recorded(
        pretrain,
        images,
        [9, 5],
        epochs=[1, 3],
        optimizer=[optimizer, "adam"],
        loss=losses,
        output_activation=None,
    )
    assert [len(history["loss"]) for history in histories] == [1, 3]
    codes = codes_of(stack, images)
    logits = decoded_by(stack.decoder.get_layer("decode_1"), codes[1])
    expected = (np.logaddexp(0, logits) - logits * codes[0]).sum(axis=1).mean()
    np.testing.assert_allclose(histories[0]["loss"], expected, rtol=1e-5)
    assert not optimizer.built, "the caller's optimizer belongs to the caller"


def test_a_line_for_each_layer_if_wanted(images, capsys):
    pretrain(images, [9, 5], verbose=1)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("layer 1 of 2: 120 -> 9, loss ")
    assert second.startswith("layer 2 of 2: 9 -> 5, loss ")
    pretrain(images, [9, 5])
    assert not capsys.readouterr().out


def test_no_more_than_two_layers_codes_are_in_memory(images, monkeypatch):
    alive, most = [], []
    fit, encode = Autoencoder.fit, Autoencoder.encode

    def count():
        gc.collect()
        most.append(sum(reference() is not None for reference in alive))

    def counting_fit(self, x, **arguments):
        count()
        return fit(self, x, **arguments)

    def counting_encode(self, x):
        codes = encode(self, x)
        alive.append(weakref.ref(codes))
        count()
        return codes

    monkeypatch.setattr(Autoencoder, "fit", counting_fit)
    monkeypatch.setattr(Autoencoder, "encode", counting_encode)
    pretrain(images, [8, 7, 6, 5], epochs=1)
    assert len(alive) == 3 and max(most) == 2


# Corruption and sparsity


def test_corruption_is_the_layers_own_and_what_goes_up_is_clean():
    """A linear pair in noise of deviation s loses s^2 ||kernel||_F^2 more on average, where the
    kernel is that of the pair; the layer above does not notice."""
    x = np.random.default_rng(0).normal(size=(4000, 6)).astype("float32")
    s = 0.7
    linear = {"activation": None, "output_activation": None, "epochs": 5}
    for place in (0, 1):
        corruption = [None, None]
        corruption[place] = GaussianCorruption(s)
        stack, histories = recorded(untrained, x, [4, 3], corruption=corruption, **linear)
        codes = codes_of(stack, x)
        for h in (0, 1):
            up = stack.encoder.get_layer(f"encode_{h + 1}")
            down = stack.decoder.get_layer(f"decode_{h + 1}")
            clean = squared_error(codes[h], decoded_by(down, codes[h + 1]))
            kernel = np.matmul(up.kernel, down.kernel)
            more = s**2 * np.square(kernel).sum() if h == place else 0
            measured = histories[h]["loss"]
            if more:
                np.testing.assert_allclose(np.mean(measured), clean + more, rtol=0.03)
                assert np.std(measured) > 0, "fresh noise in every epoch"
            else:
                np.testing.assert_allclose(measured, clean, rtol=1e-4)


def test_the_stack_neither_corrupts_nor_penalises(images):
    stack = pretrain(
        images, [9, 5], corruption=MaskingCorruption(0.5), sparsity=KLSparsity(0.1, 3.0)
    )
    np.testing.assert_array_equal(
        stack.encoder(images, training=True), stack.encoder(images, training=False)
    )
    model = stack.autoencoder()
    model.compile(loss=SquaredError())
    reported = model.evaluate(images, verbose=0, return_dict=True)
    np.testing.assert_allclose(
        reported.pop("loss"), squared_error(images, model.reconstruct(images)), rtol=1e-5
    )
    assert not reported and not model.losses


def test_a_penalty_acts_on_the_code_of_its_own_layer(images):
    weight = 0.3
    sparsity = [None, L1Sparsity(weight, name="l1")]
    stack, histories = recorded(untrained, images, [9, 5], sparsity=sparsity, epochs=1)
    codes = codes_of(stack, images)
    first, second = histories
    assert first.keys() == {"loss"} and second.keys() == {"loss", "l1"}
    penalty = weight * np.abs(codes[2]).sum(axis=1).mean()
    x_hat = decoded_by(stack.decoder.get_layer("decode_2"), codes[2])
    np.testing.assert_allclose(second["l1"], penalty, rtol=1e-4)
    np.testing.assert_allclose(second["loss"], squared_error(codes[1], x_hat) + penalty, rtol=1e-4)


def test_a_penalty_lowers_the_activity_of_its_layer_and_of_no_other(images):
    settings = {"epochs": 20, "batch_size": 40, "optimizer": keras.optimizers.Adam(0.05)}
    plain, sparse = (
        pretrain(images, [9, 5], sparsity=[None, layer], **settings)
        for layer in (None, KLSparsity(0.05, 5.0, momentum=0.5))
    )
    ours, theirs = codes_of(sparse, images), codes_of(plain, images)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)
    assert (ours[2].mean(axis=0) < theirs[2].mean(axis=0) - 0.02).all()


def test_k_sparse_units_feed_the_decoder_while_the_stack_keeps_them_all(images):
    stack, histories = recorded(untrained, images, [9, 5], sparsity=[KSparse(2), None], epochs=1)
    codes = codes_of(stack, images)
    kept = np.where(codes[1] >= np.sort(codes[1], axis=1)[:, -2:-1], codes[1], 0)
    x_hat = decoded_by(stack.decoder.get_layer("decode_1"), kept)
    np.testing.assert_allclose(histories[0]["loss"], squared_error(codes[0], x_hat), rtol=1e-5)
    x_hat = decoded_by(stack.decoder.get_layer("decode_2"), codes[2])
    np.testing.assert_allclose(histories[1]["loss"], squared_error(codes[1], x_hat), rtol=1e-5)


# Fine-tuning


def labels_of(images):
    return (np.arange(len(images)) % 3).astype("int64")


def compiled_classifier(stack):
    model = stack.classifier(3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9), loss, metrics=["accuracy"])
    return model


def test_fine_tuning_starts_at_the_pretrained_weights(stack, images):
    start = stack.encoder.get_weights()
    for model in (stack.classifier(3), stack.autoencoder()):
        assert equal_weights(model.get_weights()[:4], start)
        assert model.trainable_variables[0] is stack.encoder.layers[1].kernel
    classifier = compiled_classifier(stack)
    kernel, bias = classifier.layers[-1].get_weights()
    np.testing.assert_allclose(
        classifier(images), codes_of(stack, images)[-1] @ kernel + bias, rtol=1e-4, atol=1e-5
    )
    classifier.fit(images, labels_of(images), epochs=1, verbose=0)
    assert not any(map(np.array_equal, stack.encoder.get_weights(), start))


def test_the_deep_autoencoder_is_fine_tuned_from_where_pretraining_ended(images):
    stack = pretrain(images, [20, 10], epochs=10, optimizer="adam", batch_size=8)
    model = stack.autoencoder()
    model.compile(keras.optimizers.Adam(1e-3), SquaredError())
    before = model.evaluate(images, verbose=0)
    history = model.fit(images, epochs=5, batch_size=8, verbose=0).history["loss"]
    assert history[0] < 1.02 * before and history[-1] < before
    np.testing.assert_allclose(
        model.encode(images), stack.encoder(images), rtol=1e-5, err_msg="one set of weights"
    )


def test_a_copy_has_equal_weights_of_its_own(stack, images):
    start = stack.encoder.get_weights()
    copy = stack.copy()
    assert equal_weights(copy.encoder.get_weights(), start)
    assert equal_weights(copy.decoder.get_weights(), stack.decoder.get_weights())
    compiled_classifier(copy).fit(images, labels_of(images), epochs=1, verbose=0)
    assert not equal_weights(copy.encoder.get_weights(), start)
    assert equal_weights(stack.encoder.get_weights(), start)


def test_freezing_and_unfreezing_take_effect_on_a_model_that_has_been_trained(stack, images):
    model = compiled_classifier(stack)
    y = labels_of(images)

    def moved():
        """Whether a few steps move the encoder, and the new layer."""
        before = stack.encoder.get_weights(), model.layers[-1].get_weights()
        model.fit(images, y, epochs=1, verbose=0)
        after = stack.encoder.get_weights(), model.layers[-1].get_weights()
        return tuple(not equal_weights(a, b) for a, b in zip(before, after, strict=True))

    assert moved() == (True, True)
    stacked.set_trainable(model, stack.encoder, False)
    assert moved() == (False, True)
    assert moved() == (False, True)
    stacked.set_trainable(model, stack.encoder, True)
    assert moved() == (True, True)
    assert float(model.optimizer.momentum) == 0.9
    assert model.evaluate(images, y, verbose=0, return_dict=True).keys() == {"loss", "accuracy"}


def test_one_layer_can_be_frozen_and_the_deep_autoencoder_too(stack, images):
    first, second = stack.encoder.layers[1:]
    model = stack.autoencoder()
    stacked.set_trainable(model, first, False)  # not compiled yet: nothing to compile again
    model.compile("adam", SquaredError())
    stacked.set_trainable(model, stack.decoder, False)
    before = [layer.get_weights() for layer in (first, second, stack.decoder)]
    model.fit(images, epochs=1, verbose=0)
    after = [layer.get_weights() for layer in (first, second, stack.decoder)]
    assert [equal_weights(a, b) for a, b in zip(before, after, strict=True)] == [True, False, True]
    with pytest.raises(ValueError, match="Received: part=<Dense"):
        stacked.set_trainable(model, layers.Dense(3), False)


def test_the_encoder_is_an_embedding_in_a_larger_network(stack, images):
    """Two views of an image and a side input; the encoder is one layer among others, used twice."""
    start = stack.encoder.get_weights()
    left, right, side = keras.Input((12, 10, 1)), keras.Input((12, 10, 1)), keras.Input((2,))
    joined = layers.Concatenate()([stack.encoder(left), stack.encoder(right), side])
    model = keras.Model([left, right, side], layers.Dense(1)(layers.Dense(4, "tanh")(joined)))
    assert len(model.trainable_variables) == 8
    rng = np.random.default_rng(1)
    x = [images, images[:, ::-1], rng.random((40, 2))]
    y = images.mean(axis=(1, 2, 3))[:, None]
    stack.encoder.trainable = False
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    frozen = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert equal_weights(stack.encoder.get_weights(), start)
    assert frozen[-1] < frozen[0]
    stacked.set_trainable(model, stack.encoder, True)
    model.fit(x, y, epochs=1, verbose=0)
    assert not any(map(np.array_equal, stack.encoder.get_weights(), start))


# Files, shapes and precision


def test_saved_parts_give_equal_outputs_and_losses(images, tmp_path):
    stack = pretrain(
        images, [9, 5], corruption=GaussianCorruption(0.2), sparsity=KSparse(3), tied=True
    )
    deep, classifier = stack.autoencoder(), compiled_classifier(stack)
    deep.compile(keras.optimizers.Adam(), SquaredError())
    deep.fit(images, epochs=1, verbose=0)
    y = labels_of(images)
    classifier.fit(images, y, epochs=1, verbose=0)
    for name, model, x in (
        ("encoder", stack.encoder, images),
        ("decoder", stack.decoder, stack.encoder.predict(images, verbose=0)),
        ("deep", deep, images),
        ("classifier", classifier, images),
    ):
        model.save(tmp_path / f"{name}.keras")
        again = aelib.load_model(tmp_path / f"{name}.keras")
        np.testing.assert_array_equal(
            again.predict(x, verbose=0), model.predict(x, verbose=0), err_msg=name
        )
        if model.compiled:
            target = (y,) if name == "classifier" else ()
            expected = model.evaluate(images, *target, verbose=0)
            np.testing.assert_allclose(again.evaluate(images, *target, verbose=0), expected)


@pytest.mark.parametrize("shape", [(7,), (4, 6), (5, 4, 3)])
def test_inputs_of_any_shape(shape):
    x = np.random.default_rng(0).random((20, *shape)).astype("float32")
    stack = pretrain(x, [6, 4], corruption=MaskingCorruption(0.2))
    assert stack.encoder.input_shape == stack.decoder.output_shape == (None, *shape)
    assert stack.autoencoder().reconstruct(x).shape == x.shape
    assert stack.classifier(2)(x).shape == (20, 2)


@pytest.mark.parametrize(
    "policy, tied", [("float32", True), ("mixed_bfloat16", False), ("mixed_float16", True)]
)
def test_precision(images, policy, tied):
    keras.config.set_dtype_policy(policy)
    try:
        stack, histories = recorded(
            pretrain,
            images,
            [9, 5],
            tied=tied,
            loss=BernoulliCrossEntropy(from_logits=False),
            corruption=MaskingCorruption(0.2),
            sparsity=KLSparsity(0.1, 0.1),
        )
        model = stack.autoencoder()
        assert model(images).dtype == stack.classifier(3)(images).dtype == "float32"
        assert stack.decoder.get_layer("decode_1").compute_dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(np.isfinite(history["loss"]).all() for history in histories)
    assert all(weight.dtype == "float32" for weight in model.weights)


# Arguments


@pytest.mark.parametrize(
    "settings, received",
    [
        ({"units": []}, r"units=\[\]"),
        ({"units": 5}, "units=5"),
        ({"units": "54"}, "units='54'"),
        ({"units": [5, 0]}, "units=0"),
        ({"units": [5, 2.5]}, "units=2.5"),
        ({"units": [True]}, "units=True"),
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": [1]}, r"epochs=\[1\]"),
        ({"batch_size": -1}, "batch_size=-1"),
        ({"corruption": [None]}, r"corruption=\[None\]"),
        ({"corruption": 0.3}, "corruption=0.3"),
        ({"corruption": MaskingCorruption}, "corruption=<class .*>"),
        ({"sparsity": [None, 0.3]}, "sparsity=0.3"),
        ({"sparsity": [None] * 3}, r"sparsity=\[None, None, None\]"),
        ({"sparsity": KSparse(5)}, "k=5"),
        ({"activation": ["relu"]}, r"activation=\['relu'\]"),
        ({"loss": [SquaredError()]}, r"loss=\[.*\]"),
        ({"optimizer": ["adam"] * 3}, r"optimizer=\[.*\]"),
        ({"loss": BernoulliCrossEntropy()}, "from_logits=True, activation=sigmoid"),
        (
            {"loss": BernoulliCrossEntropy(False), "activation": "relu"},
            "from_logits=False, activation=relu",
        ),
        ({"x": np.zeros((0, 8))}, r"x.shape=\(0, 8\)"),
        ({"x": np.zeros(8)}, r"x.shape=\(8,\)"),
        ({"x": np.full((4, 8), np.nan)}, "x with 32 NaN or infinite values"),
        ({"x": np.full((4, 8), "a")}, "x.dtype=<U1"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(settings, received, monkeypatch):
    trained = []
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: trained.append(1))
    defaults = {"x": np.zeros((4, 8), "float32"), "units": [5, 4]}
    with pytest.raises(ValueError, match=f"Received: {received}$"):
        pretrain(**{**defaults, **settings})
    assert not trained


@pytest.mark.parametrize("n_classes", [1, 0, 2.0, None, True])
def test_a_number_of_classes_that_is_none_is_refused(stack, n_classes):
    with pytest.raises(ValueError, match=f"Received: n_classes={n_classes!r}$"):
        stack.classifier(n_classes)
