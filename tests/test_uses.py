"""What users do with a model, and expect of it, that plain Keras or a mistake would not give them.

Each is a kind: settings that change, numbers of steps, weights and masks, data from any source,
halves of any make, files. All models here are tiny.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import aelib
from aelib import autoencoder, training
from aelib.autoencoder import Autoencoder, TransposedDense
from aelib.contractive import ContractiveAutoencoder, ContractiveDense
from aelib.denoising import GaussianCorruption, MaskingCorruption
from aelib.losses import (
    BernoulliCrossEntropy,
    GaussianNegativeLogLikelihood,
    SquaredError,
)
from aelib.sparse import KLSparsity, KSparse, L1Sparsity
from aelib.variational import GaussianSampling, VariationalAutoencoder

QUIET = {"verbose": 0}


def table(rows: int = 64) -> np.ndarray:
    return np.random.default_rng(0).random((rows, 8)).astype("float32")


def halves(code: int = 4, outputs: int | None = None, last=None, inside=()):
    keras.utils.set_random_seed(0)
    encoder = [keras.Input((8,)), layers.Dense(outputs or code), *inside]
    decoder = [keras.Input((code,)), layers.Dense(8, last)]
    return keras.Sequential(encoder), keras.Sequential(decoder)


def compiled(model, loss=None, **options):
    model.compile("adam", loss or SquaredError(), **options)
    return model


def plain(**options) -> Autoencoder:
    return compiled(Autoencoder(*halves()), **options)


def variational(beta: float = 1.0, loss=None) -> VariationalAutoencoder:
    model = VariationalAutoencoder(*halves(2, 4), beta=beta)
    return compiled(model, loss or BernoulliCrossEntropy())


class TestSettings:
    """What is set takes effect, also in a step that is compiled already."""

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_beta_changes_between_epochs(self, jit_compile):
        model = VariationalAutoencoder(*halves(2, 4), beta=0.0)
        compiled(model, BernoulliCrossEntropy(), jit_compile=jit_compile)
        anneal = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: setattr(model, "beta", float(epoch))
        )
        history = model.fit(table(), epochs=4, callbacks=[anneal], **QUIET).history
        loss, parts, kl = (np.array(history[name]) for name in ("loss", "reconstruction", "kl"))
        np.testing.assert_allclose((loss - parts) / kl, [0, 1, 2, 3], atol=1e-4)
        assert model.get_config()["beta"] == 3.0

    @pytest.mark.parametrize(
        "layer",
        [L1Sparsity(0.0), KLSparsity(0.3, 0.0), ContractiveDense(4, "tanh", 0.0)],
        ids=lambda layer: layer.name,
    )
    def test_the_weight_of_a_layer(self, layer):
        model = compiled(Autoencoder(*halves(inside=[layer])))
        before = model.evaluate(table(), **QUIET)[0]
        model.fit(table(), epochs=1, **QUIET)  # compiles the step
        weights = model.encoder.layers[0].get_weights()
        model.fit(table(), epochs=1, **QUIET)
        moved = np.abs(model.encoder.layers[0].get_weights()[0] - weights[0]).max()
        layer.weight = 1e4
        assert model.evaluate(table(), **QUIET)[0] > 10 * before
        model.encoder.layers[0].set_weights(weights)
        model.fit(table(), epochs=1, **QUIET)
        assert np.abs(model.encoder.layers[0].get_weights()[0] - weights[0]).max() != moved
        assert layer.get_config()["weight"] == 1e4

    def test_settings_are_no_weights_and_come_back_from_files(self, tmp_path):
        model = compiled(Autoencoder(*halves(inside=[L1Sparsity(0.1)])))
        assert len(model.get_weights()) == 4
        model.encoder.layers[-1].weight = 0.7
        model.save(tmp_path / "model.keras")
        again = aelib.load_model(tmp_path / "model.keras")
        assert again.encoder.layers[-1].weight == 0.7
        assert again.evaluate(table(), **QUIET) == model.evaluate(table(), **QUIET)

    def test_a_corruption_and_a_contraction(self):
        noise = GaussianCorruption(0.0)
        model = compiled(Autoencoder(*halves(), noise))
        quiet = model.evaluate(table(), **QUIET)
        noise.stddev = 3.0
        assert model.evaluate(table(), **QUIET) > 2 * quiet
        model = compiled(ContractiveAutoencoder(*halves(), 0.0))
        loss, contraction = model.evaluate(table(), **QUIET)
        model.weight = 2.0
        np.testing.assert_allclose(
            model.evaluate(table(), **QUIET), [loss + 2 * contraction, contraction], rtol=1e-5
        )

    def test_the_deviation_of_a_likelihood(self):
        model = variational(loss=GaussianNegativeLogLikelihood(1.0))
        model.fit(table(), **QUIET)
        before = model.elbo(table()).mean()
        model.loss.stddev = 0.1
        assert -model.evaluate(table(), **QUIET)[1] < 10 * before

    @pytest.mark.parametrize(
        ("instance", "name", "value"),
        [
            (L1Sparsity(0.1), "weight", -1),
            (MaskingCorruption(0.1), "rate", 2),
            (KLSparsity(0.1, 1.0), "target", 0),
            (GaussianSampling(), "weight", np.nan),
        ],
    )
    def test_bad_values_are_refused_and_change_nothing(self, instance, name, value):
        before = getattr(instance, name)
        with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}="):
            setattr(instance, name, value)
        assert getattr(instance, name) == before

    def test_what_is_frozen_after_training_stays_as_it_is(self):
        model = plain()
        model.fit(table(), **QUIET)
        model.encoder.trainable = False
        encoder, decoder = model.encoder.get_weights(), model.decoder.get_weights()
        model.fit(table(), **QUIET)
        np.testing.assert_array_equal(model.encoder.get_weights()[0], encoder[0])
        assert np.abs(model.decoder.get_weights()[0] - decoder[0]).max() > 0
        model.encoder.trainable = True
        model.fit(table(), **QUIET)
        assert np.abs(model.encoder.get_weights()[0] - encoder[0]).max() > 0


class Steps(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1


class TestSteps:
    def batches(self):
        return tf.data.Dataset.from_tensor_slices(table(640)).batch(16).repeat()

    @pytest.mark.parametrize("steps", [1, 10, 60, 100])
    def test_steps_per_epoch_of_a_dataset(self, steps):
        model = plain()
        model.fit(self.batches(), steps_per_epoch=steps, epochs=2, **QUIET)
        assert int(model.optimizer.iterations) == 2 * steps

    def test_steps_per_epoch_of_arrays_and_generators(self):
        model = plain()
        model.fit(table(640), batch_size=32, steps_per_epoch=10, epochs=2, **QUIET)
        assert int(model.optimizer.iterations) == 20
        batches = ((table(16),) for _ in range(100))
        model.fit(batches, steps_per_epoch=7, **QUIET)
        assert int(model.optimizer.iterations) == 27

    def test_steps_of_predict_evaluate_and_validation(self):
        drawn = []

        def count():
            while True:
                drawn.append(1)
                yield table(16)

        model = plain()
        assert len(model.predict(self.batches(), steps=4, **QUIET)) == 64
        spec = tf.TensorSpec((None, 8))
        data = tf.data.Dataset.from_generator(count, output_signature=spec)
        model.evaluate(data, steps=3, **QUIET)
        assert 3 <= len(drawn) <= 10  # tf.data draws a few ahead; 50 steps at once were the fault
        drawn.clear()
        model.fit(table(), validation_data=data, validation_steps=4, epochs=2, **QUIET)
        assert 8 <= len(drawn) <= 14  # some wait in the pipeline

    def test_the_usual_epoch_is_still_fifty_steps_at_once(self):
        model = plain()
        model.fit(table(640), batch_size=4, **QUIET)
        step = model.train_function
        model.fit(table(640), batch_size=4, callbacks=[keras.callbacks.EarlyStopping("loss")])
        assert model.train_function is step
        assert model.steps_per_execution == 50

    def test_callbacks_see_every_batch(self, tmp_path):
        seen = Steps()
        saved = keras.callbacks.ModelCheckpoint(
            str(tmp_path / "{batch:03d}.weights.h5"), save_freq=10, save_weights_only=True
        )
        plain().fit(table(480), batch_size=4, callbacks=[seen, saved], **QUIET)
        assert seen.batches == 120
        names = sorted(path.name[:3] for path in tmp_path.iterdir())
        assert names == [f"{batch:03d}" for batch in range(10, 121, 10)]

    def test_a_lambda_and_the_end_of_a_diverged_run(self):
        batches = []
        every = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: batches.append(batch)
        )
        model = plain()
        model.fit(table(480), batch_size=4, callbacks=every, **QUIET)
        assert batches == list(range(120))
        model.decoder.layers[-1].bias.assign(np.full(8, np.inf))
        before = int(model.optimizer.iterations)
        model.fit(table(480), batch_size=4, callbacks=[keras.callbacks.TerminateOnNaN()], **QUIET)
        assert int(model.optimizer.iterations) == before + 1


class TestWeights:
    def test_weights_without_a_target(self):
        x, weights = table(), np.arange(64) % 2
        model = plain()
        expected = ((x - model.reconstruct(x)) ** 2).sum(1)
        got = model.evaluate(x, sample_weight=weights, **QUIET)
        assert got == pytest.approx((expected * weights).mean(), rel=1e-5)
        before = model.get_weights()
        model.fit(x, sample_weight=0.0 * weights, **QUIET)
        np.testing.assert_array_equal(model.get_weights()[0], before[0])
        history = model.fit(x, validation_data=(x, None, weights), **QUIET).history
        expected = ((x - model.reconstruct(x)) ** 2).sum(1)
        assert history["val_loss"][0] == pytest.approx((expected * weights).mean(), rel=1e-5)

    def test_a_likelihood_refuses_them(self):
        with pytest.raises(ValueError, match="takes no weights"):
            variational().fit(table(), sample_weight=np.ones(64), **QUIET)
        with pytest.raises(ValueError, match="takes no weights"):
            variational().evaluate(table(), sample_weight=np.ones(64), **QUIET)

    @pytest.mark.parametrize("rank", [2, 3, 4])
    def test_a_missing_pixel_weighs_nothing(self, rank):
        images = np.random.default_rng(0).random((20, 3, 4, 2)).astype("float32")
        parts = (
            keras.Sequential([keras.Input((3, 4, 2)), layers.Flatten(), layers.Dense(4)]),
            keras.Sequential([keras.Input((4,)), layers.Dense(24), layers.Reshape((3, 4, 2))]),
        )
        model = compiled(Autoencoder(*parts))
        weights = np.random.default_rng(1).integers(0, 2, images.shape[:rank]).astype("float32")
        spread = weights.reshape(*weights.shape, *[1] * (4 - rank))
        expected = (((images - model.reconstruct(images)) ** 2) * spread).sum() / 20
        got = model.evaluate(images, sample_weight=weights, batch_size=7, **QUIET)
        assert got == pytest.approx(expected, rel=1e-5)
        data = tf.data.Dataset.from_tensor_slices((images, images, weights)).batch(7)
        assert model.evaluate(data, **QUIET) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("batch_size", [5, 10])  # 5 is the number of steps
    def test_masked_steps_weigh_nothing(self, batch_size):
        x = np.random.default_rng(0).random((10, 5, 3)).astype("float32")
        lengths = 1 + np.arange(10) % 5
        x[np.arange(5) >= lengths[:, None]] = 0.0
        encoder = [keras.Input((5, 3)), layers.Masking(), layers.LSTM(4, return_sequences=True)]
        decoder = [
            keras.Input((5, 4)),
            layers.LSTM(4, return_sequences=True),
            layers.Dense(3),
        ]
        codes = L1Sparsity(1.0)
        model = compiled(
            Autoencoder(keras.Sequential([*encoder, codes]), keras.Sequential(decoder))
        )
        seen = np.arange(5) < lengths[:, None]
        z = model.encode(x)
        error = (((x - model.reconstruct(x)) ** 2).sum(-1) * seen).sum(-1).mean()
        activity = (np.abs(z).sum(-1) * seen).sum(-1).mean()
        loss, shown = model.evaluate(x, batch_size=batch_size, **QUIET)
        assert shown == pytest.approx(activity, rel=1e-5)
        assert loss == pytest.approx(error + activity, rel=1e-4)
        assert np.isfinite(model.fit(x, batch_size=batch_size, **QUIET).history["loss"]).all()


class Batches(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return (self.x[32 * index : 32 * index + 32],)


class Frame:
    """What data frames and other libraries' tensors have in common."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


def generator(x):
    for half in np.split(x, 2):
        yield (half,)


SOURCES = {
    "array": lambda x: x,
    "list": lambda x: x.tolist(),
    "frame": Frame,
    "dataset": lambda x: tf.data.Dataset.from_tensor_slices(x).batch(32),
    "PyDataset": Batches,
    "generator": generator,
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
class TestSources:
    def test_they_train_alike(self, source):
        one, other = (plain() for _ in range(2))
        one.fit(table(), shuffle=False, **QUIET)
        keep = {} if isinstance(source(table()), tf.data.Dataset | Batches) else {"shuffle": False}
        other.fit(source(table()), **keep, **QUIET)
        np.testing.assert_allclose(one.get_weights()[0], other.get_weights()[0], rtol=1e-4)

    @pytest.mark.parametrize("bad", [255, -0.5, np.nan])
    @pytest.mark.parametrize("way", ["fit", "evaluate", "validation"])
    def test_pixels_outside_the_unit_interval(self, source, way, bad):
        x = table()
        x[40, 3] = bad
        model = compiled(Autoencoder(*halves()), BernoulliCrossEntropy())
        expected = "finite|must lie in .* Received: x (from|between)"
        with pytest.raises(ValueError, match=expected):
            if way == "validation":
                steps = 2 if source is generator else None
                model.fit(table(), validation_data=source(x), validation_steps=steps, **QUIET)
            else:
                getattr(model, way)(source(x), **QUIET)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_what_is_not_finite_is_refused_under_any_loss(self, source, bad):
        x = table()
        x[40, 3] = bad
        with pytest.raises(ValueError, match="must be finite"):
            plain().fit(source(x), **QUIET)

    def test_bytes_train_as_the_floats_that_they_are(self, source):
        x = (255 * table()).astype("uint8")
        one, other = (plain() for _ in range(2))
        one.fit(x.astype("float32"), shuffle=False, **QUIET)
        given = source(x)
        keep = {} if isinstance(given, tf.data.Dataset | Batches) else {"shuffle": False}
        other.fit(given, **keep, **QUIET)
        np.testing.assert_allclose(one.get_weights()[0], other.get_weights()[0], rtol=1e-3)


def test_bytes_stay_bytes_until_a_batch_is_taken(monkeypatch):
    held = []
    taken = training.rows
    monkeypatch.setattr(
        autoencoder, "rows", lambda arrays, *rest: held.append(arrays[0]) or taken(arrays, *rest)
    )
    plain().fit((255 * table()).astype("uint8"), **QUIET)
    assert held[0].dtype == "uint8"


def test_bytes_are_encoded_and_weighed_as_the_floats_that_they_are():
    x = (table() > 0.5).astype("uint8")
    model = variational()
    for use in (model.encode, model.reconstruct, model.elbo):
        np.testing.assert_allclose(use(x), use(x.astype("float32")), rtol=1e-5)
    np.testing.assert_allclose(
        model.predict(x, **QUIET), model.predict(x.astype("float32"), **QUIET), rtol=1e-5
    )


class TestTargets:
    def test_a_batch_of_bytes_is_refused_under_a_bernoulli_loss(self):
        model = compiled(Autoencoder(*halves()), BernoulliCrossEntropy())
        with pytest.raises(ValueError, match="must lie in"):
            model.train_on_batch((255 * table()).astype("uint8"))

    def test_under_xla_the_loss_tells(self):
        model = compiled(Autoencoder(*halves()), BernoulliCrossEntropy(), jit_compile=True)
        data = tf.data.Dataset.from_tensor_slices(table() - 1).batch(32)
        assert np.isnan(model.fit(data, **QUIET).history["loss"][0])

    @pytest.mark.parametrize("loss", ["mse", SquaredError()])
    def test_labels_are_no_target(self, loss):
        labels = np.arange(64) % 3
        with pytest.raises(ValueError, match="takes no labels"):
            compiled(Autoencoder(*halves()), loss).fit(table(), labels, **QUIET)
        for y in (labels, labels[:, None]):
            data = tf.data.Dataset.from_tensor_slices((table(), y)).batch(32)
            with pytest.raises(ValueError, match="takes no labels .*Received: y.shape"):
                compiled(Autoencoder(*halves()), loss).fit(data, **QUIET)

    def test_ids_of_words_are(self):
        x = np.random.default_rng(0).integers(0, 9, (64, 5))
        encoder = [keras.Input((5,)), layers.Embedding(9, 4), layers.Flatten(), layers.Dense(4)]
        decoder = [keras.Input((4,)), layers.Dense(45), layers.Reshape((5, 9))]
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model = compiled(Autoencoder(*map(keras.Sequential, (encoder, decoder))), loss)
        history = model.fit(x, epochs=30, batch_size=16, **QUIET).history["loss"]
        assert history[-1] < history[0]

    def test_nothing_and_batches_of_nothing(self):
        with pytest.raises(ValueError, match="Received: x=None"):
            plain().fit()
        with pytest.raises(ValueError, match="Received: batch_size=0"):
            plain().fit(table(), batch_size=0)
        with pytest.raises(ValueError, match="`predict` takes datasets"):
            plain().encode(tf.data.Dataset.from_tensor_slices(table()).batch(8))

    def test_a_diverged_model_says_so(self):
        model = plain()
        model.encoder.layers[-1].bias.assign(np.full(4, np.nan))
        with pytest.raises(ValueError, match="diverged"):
            model.reconstruct(table())

    def test_sizes_that_are_unknown_until_they_come(self):
        x = np.random.default_rng(0).random((32, 10, 3)).astype("float32")
        encoder = [keras.Input((10, 3)), layers.Flatten(), layers.Dense(4)]
        decoder = [keras.Input((4,)), layers.Dense(30), layers.Reshape((10, 3))]
        model = compiled(Autoencoder(*map(keras.Sequential, (encoder, decoder))))
        spec = tf.TensorSpec((None, 3))
        data = tf.data.Dataset.from_generator(lambda: iter(x), output_signature=spec).batch(16)
        assert np.isfinite(model.fit(data, **QUIET).history["loss"]).all()


class TestLosses:
    @pytest.mark.parametrize("shape", ["dense", "activation", "reshaped", "nested"])
    def test_a_sigmoid_is_taken_once(self, shape):
        code = keras.Input((4,))
        decoder = {
            "dense": [layers.Dense(8, "sigmoid")],
            "activation": [layers.Dense(8), layers.Activation("sigmoid")],
            "reshaped": [layers.Dense(8, "sigmoid"), layers.Reshape((8,))],
            "nested": [keras.Sequential([keras.Input((4,)), layers.Dense(8, "sigmoid")])],
        }[shape]
        model = Autoencoder(halves()[0], keras.Sequential([code, *decoder]))
        with pytest.raises(ValueError, match="from_logits=True, activation=sigmoid"):
            model.compile("adam", BernoulliCrossEntropy())
        model.compile("adam", BernoulliCrossEntropy(from_logits=False))
        model.compile("adam", keras.losses.BinaryCrossentropy())
        with pytest.raises(ValueError, match="from_logits=True"):
            model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))

    def test_and_not_left_out(self):
        with pytest.raises(ValueError, match="from_logits=False, activation=linear"):
            plain().compile("adam", BernoulliCrossEntropy(from_logits=False))
        with pytest.raises(ValueError, match="from_logits=True, activation=relu"):
            Autoencoder(*halves(last="relu")).compile("adam", BernoulliCrossEntropy())
        Autoencoder(*halves(last=lambda a: keras.ops.sigmoid(a))).compile(
            "adam", BernoulliCrossEntropy(from_logits=False)
        )

    @pytest.mark.parametrize("loss", ["mse", keras.losses.MeanSquaredError()])
    @pytest.mark.parametrize(
        "layer", [L1Sparsity(0.1), KLSparsity(0.1, 1.0), ContractiveDense(4, "tanh", 0.1)]
    )
    def test_a_mean_over_pixels_is_refused_beside_a_penalty(self, layer, loss):
        with pytest.raises(ValueError, match=f"Received: loss=.*beside {type(layer).__name__}"):
            Autoencoder(*halves(inside=[layer])).compile("adam", loss)

    def test_also_beside_the_contraction_of_the_whole(self):
        with pytest.raises(ValueError, match="beside ContractiveAutoencoder"):
            ContractiveAutoencoder(*halves(), 0.1).compile("adam", "mse")
        ContractiveAutoencoder(*halves(), 0.1).compile("adam", SquaredError())

    def test_samples_have_the_range_of_the_likelihood(self):
        x = 4 * table(512) - 7
        model = VariationalAutoencoder(*halves(2, 4))
        model.compile(keras.optimizers.Adam(0.05), GaussianNegativeLogLikelihood(0.3))
        model.fit(x, epochs=20, **QUIET)
        assert model.generate(100, 0).min() < -1
        samples = variational().generate(100, 0)
        assert 0 < samples.min() < samples.max() < 1


class Encoder(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x):
        return self.dense(x)


class TestHalves:
    def test_subclasses_that_do_not_say_their_shapes(self):
        class Half(keras.layers.Layer):
            def __init__(self, units):
                super().__init__()
                self.dense = layers.Dense(units)

            def call(self, x):
                return self.dense(x)

        for encoder in (Encoder(), Half(4)):
            model = compiled(Autoencoder(encoder, Half(8)))
            assert np.isfinite(model.fit(table(), **QUIET).history["loss"]).all()
            assert model.encode(table()).shape == (64, 4)

    def test_a_model_in_a_model(self):
        outer = compiled(Autoencoder(plain(), keras.Sequential([layers.Dense(8)])))
        assert np.isfinite(outer.fit(table(), **QUIET).history["loss"]).all()

    def test_a_step_of_the_users_own_gets_the_images(self):
        class Mine(Autoencoder):
            def train_step(self, x):
                with tf.GradientTape() as tape:
                    loss = keras.ops.mean((x - self(x, training=True)) ** 2)
                gradients = tape.gradient(loss, self.trainable_variables)
                self.optimizer.apply(gradients, self.trainable_variables)
                return {"loss": loss}

        model = Mine(*halves())
        model.compile("adam")
        before = ((table() - model.reconstruct(table())) ** 2).mean()
        model.fit(table(), epochs=30, **QUIET)
        assert ((table() - model.reconstruct(table())) ** 2).mean() < before

    def test_mean_and_variance_as_two_outputs_are_refused(self):
        x = keras.Input((8,))
        encoder = keras.Model(x, [layers.Dense(2)(x), layers.Dense(2)(x)])
        with pytest.raises(ValueError, match="as its first output, side by side"):
            VariationalAutoencoder(encoder, halves(2)[1])

    @pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
    def test_means_and_log_variances_take_both_signs(self, activation):
        encoder = keras.Sequential([keras.Input((8,)), layers.Dense(4, activation)])
        with pytest.raises(ValueError, match=f"Received: activation={activation}"):
            VariationalAutoencoder(encoder, halves(2)[1])

    def test_float64(self):
        keras.config.set_dtype_policy("float64")
        try:
            model = variational()
            assert np.isfinite(model.fit(table(), **QUIET).history["loss"]).all()
            assert np.isfinite(model.elbo(table())).all()
            model = compiled(Autoencoder(*halves(inside=[L1Sparsity(0.1), KLSparsity(0.1, 1.0)])))
            assert np.isfinite(model.fit(table(), **QUIET).history["loss"]).all()
        finally:
            keras.config.set_dtype_policy("float32")

    def test_a_sparse_code_does_not_hide_nan(self):
        z = np.array([[np.nan, 1.0, 2.0, 3.0]], "float32")
        assert np.isnan(KSparse(2)(z)).any()


def served(path):
    model = tf.saved_model.load(str(path))
    return model.serve(table())


class TestFiles:
    @pytest.mark.parametrize("make", [plain, variational])
    def test_images_whatever_is_left_of_the_loss(self, tmp_path, make):
        model = make()
        model.fit(table(), **QUIET)
        images = model.reconstruct(table())
        np.testing.assert_allclose(model.predict(table(), **QUIET), images, atol=1e-6)
        model.save(tmp_path / "model.keras")
        for options in ({}, {"compile": False}):
            again = aelib.load_model(tmp_path / "model.keras", **options)
            np.testing.assert_allclose(again.reconstruct(table()), images, atol=1e-6)
            again.export(str(tmp_path / "exported"), verbose=False)
            np.testing.assert_allclose(served(tmp_path / "exported"), images, atol=1e-6)

    def test_a_model_that_is_built_is_exported(self, tmp_path):
        model = compiled(Autoencoder(*halves(inside=[L1Sparsity(0.1)])))
        model.export(str(tmp_path / "exported"), verbose=False)
        expected = model.reconstruct(table())
        np.testing.assert_allclose(served(tmp_path / "exported"), expected, atol=1e-6)
        bare = Autoencoder(keras.Sequential([layers.Dense(4)]), keras.Sequential([layers.Dense(8)]))
        with pytest.raises(ValueError, match="Call the model first"):
            bare.export(str(tmp_path / "bare"))

    def test_noise_that_a_format_cannot_hold_is_refused(self, tmp_path):
        model = compiled(Autoencoder(*halves(2, 4, inside=[GaussianSampling()])))
        with pytest.raises(ValueError, match="Received: format='onnx', with gaussian_sampling"):
            model.export(str(tmp_path / "model.onnx"), format="onnx")

    def test_a_transposed_convolution_comes_back_with_its_padding_or_not_at_all(self, tmp_path):
        encoder = [keras.Input((10, 10, 1)), layers.Conv2D(4, 3, 2), layers.Flatten()]
        up = layers.Conv2DTranspose(1, 3, strides=2, output_padding=1)
        decoder = [keras.Input((64,)), layers.Reshape((4, 4, 4)), up]
        model = compiled(Autoencoder(*map(keras.Sequential, (encoder, decoder))))
        if "output_padding" not in up.get_config():  # Keras before 3.15
            with pytest.raises(ValueError, match="cannot save `output_padding`"):
                model.save(tmp_path / "model.keras")
        else:
            model.save(tmp_path / "model.keras")
            x = np.zeros((2, 10, 10, 1), "float32")
            assert aelib.load_model(tmp_path / "model.keras").reconstruct(x).shape == x.shape

    def test_tied_layers_of_one_name_are_refused_before_the_file_is_lost(self, tmp_path):
        def block(inputs, units):
            return keras.Sequential([keras.Input((inputs,)), layers.Dense(units, name="d")])

        encoder = keras.Sequential([keras.Input((8,)), block(8, 4), block(4, 2)])
        first, second = (part.layers[0] for part in encoder.layers)
        decoder = [keras.Input((2,)), TransposedDense(second), TransposedDense(first)]
        model = compiled(Autoencoder(encoder, keras.Sequential(decoder)))
        with pytest.raises(ValueError, match="names of their own. Received: .*'d'"):
            model.save(tmp_path / "model.keras")


@pytest.fixture(scope="module")
def strategy():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


class TestReplicas:
    """The last batch leaves the second replica without an image."""

    def make(self, name):
        return {
            "KL": lambda: compiled(Autoencoder(*halves(inside=[KLSparsity(0.1, 1.0, 0.9)]))),
            "L1": lambda: compiled(Autoencoder(*halves(inside=[L1Sparsity(0.1)]))),
            "contractive": lambda: compiled(ContractiveAutoencoder(*halves(), 0.1)),
            "hutchinson": lambda: compiled(ContractiveAutoencoder(*halves(), 0.1, "hutchinson")),
            "variational": variational,
        }[name]()

    @pytest.mark.parametrize("name", ["KL", "L1", "contractive", "hutchinson", "variational"])
    def test_an_empty_replica_weighs_nothing(self, strategy, name):
        x = table(65)
        one = self.make(name)
        with strategy.scope():
            two = self.make(name)
        two.set_weights(one.get_weights())
        a, b = (model.evaluate(x, batch_size=32, **QUIET) for model in (one, two))
        assert np.isfinite(b).all()
        if name in ("L1", "contractive"):
            np.testing.assert_allclose(a, b, rtol=1e-4)
        assert np.isfinite(two.fit(x, batch_size=32, **QUIET).history["loss"]).all()
        assert all(np.isfinite(weight).all() for weight in two.get_weights())
