"""Autoencoder: what it trains on, what it reports, what it saves, what it refuses."""

import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import aelib
from aelib.autoencoder import Autoencoder, TransposedDense
from aelib.losses import BernoulliCrossEntropy, SquaredError


@keras.saving.register_keras_serializable(package="aelib_tests")
class AddNoise(layers.Layer):
    """Gaussian noise in training only, from a seed generator, as notebook 06 will have it."""

    def __init__(self, stddev=0.5, **kwargs):
        super().__init__(**kwargs)
        self.stddev = stddev
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, x, training=None):
        if not training:
            return x
        return x + keras.random.normal(
            keras.ops.shape(x), stddev=self.stddev, seed=self.seed_generator
        )

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}


@pytest.fixture
def make_model(make_parts):
    def make(loss=None, corruption=None, **arguments):
        model = Autoencoder(*make_parts(**arguments), corruption)
        model.compile(keras.optimizers.Adam(1e-2), loss or SquaredError())
        return model

    return make


def squared_error(x, x_hat):
    return ((x - x_hat) ** 2).sum(axis=(1, 2, 3)).mean()


def conv_parts(shape, code_dim=4):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="gelu"),
            layers.Flatten(),
            layers.Dense(code_dim),
        ]
    )
    small = (shape[0] // 2, shape[1] // 2, 4)
    decoder = keras.Sequential(
        [
            keras.Input((code_dim,)),
            layers.Dense(int(np.prod(small)), "gelu"),
            layers.Reshape(small),
            layers.Conv2DTranspose(shape[-1], 3, strides=2, padding="same"),
        ]
    )
    return encoder, decoder


# What it trains on


def test_the_loss_is_the_squared_error_of_what_it_gives(make_model, images):
    model = make_model()
    reported = model.evaluate(images, verbose=0)
    np.testing.assert_allclose(
        reported, squared_error(images, model.predict(images, verbose=0)), rtol=1e-5
    )
    np.testing.assert_allclose(
        reported, squared_error(images, model.reconstruct(images)), rtol=1e-5
    )


def test_training_lowers_the_loss_and_a_ragged_last_batch_weighs_what_it_is(make_model, images):
    model = make_model()
    before = model.evaluate(images, batch_size=7, verbose=0)
    np.testing.assert_allclose(before, model.evaluate(images, batch_size=40, verbose=0), rtol=1e-5)
    model.fit(images, epochs=20, batch_size=16, verbose=0)
    assert model.evaluate(images, verbose=0) < 0.9 * before


def test_one_step_is_the_step_of_plain_keras(make_parts, images):
    """The rows gathered in the step, against Keras's own model on the same batches."""
    ours = Autoencoder(*make_parts())
    ours.compile(keras.optimizers.SGD(1e-3), SquaredError())
    plain = keras.Sequential([*make_parts()])
    plain.compile(keras.optimizers.SGD(1e-3), SquaredError())
    for model, arrays in ((ours, (images,)), (plain, (images, images))):
        model.fit(*arrays, epochs=3, batch_size=8, shuffle=False, verbose=0)
    for a, b in zip(ours.weights, plain.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_arrays_and_datasets_train_alike(make_model, images):
    from_array, from_data = make_model(), make_model()
    a = from_array.fit(
        images, epochs=2, batch_size=8, shuffle=False, validation_data=images, verbose=0
    )
    batches = tf.data.Dataset.from_tensor_slices(images).batch(8)
    b = from_data.fit(batches, epochs=2, validation_data=batches, verbose=0)
    assert a.history.keys() == b.history.keys() == {"loss", "val_loss"}
    for key in a.history:
        np.testing.assert_allclose(a.history[key], b.history[key], rtol=1e-4)
    assert from_array.evaluate(images, verbose=0, return_dict=True).keys() == {"loss"}


def test_a_target_of_its_own(make_model, images):
    """fit(noisy, clean): the loss compares with the clean images, as arrays and as a dataset."""
    noisy = images + 0.1
    model = make_model()
    expected = squared_error(images, model.reconstruct(noisy))
    pairs = tf.data.Dataset.from_tensor_slices((noisy, images)).batch(40)
    for reported in (model.evaluate(noisy, images, verbose=0), model.evaluate(pairs, verbose=0)):
        np.testing.assert_allclose(reported, expected, rtol=1e-5)
    history = model.fit(
        noisy, images, epochs=30, batch_size=8, validation_data=(noisy, images), verbose=0
    ).history
    assert history["loss"][-1] < expected and history["val_loss"][-1] < expected


def test_validation_split_keeps_the_last_images_out_of_training(make_model, images):
    """A last quarter that is far off cannot move what is trained on the rest; it is the measure."""
    far = images.copy()
    far[30:] = 100.0
    first, second = make_model(), make_model()
    history = first.fit(far, epochs=2, validation_split=0.25, shuffle=False, verbose=0).history
    second.fit(images[:30], epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(first.reconstruct(images), second.reconstruct(images), rtol=1e-5)
    np.testing.assert_allclose(
        history["val_loss"][-1], first.evaluate(far[30:], verbose=0), rtol=1e-5
    )


def test_the_order_is_new_every_epoch_and_repeatable(make_model, images):
    """With one image a batch, the seen order is the order of the losses."""

    class Losses(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append(logs["loss"])

    def run():
        model = make_model()
        model.compile(keras.optimizers.SGD(0.0), SquaredError(), steps_per_execution=1)
        losses = Losses()
        model.fit(images, epochs=2, batch_size=1, callbacks=[losses], verbose=0)
        return np.array(losses.seen).reshape(2, 40)

    epochs = run()
    # Keras reports the running mean: the same images give the same mean at the end only.
    np.testing.assert_allclose(*epochs[:, -1], rtol=1e-5)
    assert not np.allclose(*epochs[:, :20])
    np.testing.assert_array_equal(epochs, run())


def test_early_stopping_checkpoints_and_interruption_work(make_model, images, tmp_path):
    model = make_model()
    stop = keras.callbacks.EarlyStopping("val_loss", min_delta=1e9, patience=1)
    save = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", "val_loss", save_best_only=True)
    history = model.fit(images, epochs=9, validation_data=images, callbacks=[stop, save], verbose=0)
    assert len(history.history["loss"]) == 2
    assert (tmp_path / "best.keras").exists()

    def interrupt(epoch, logs):
        raise KeyboardInterrupt

    before = model.evaluate(images, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(
            images, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=interrupt)]
        )
    assert model.evaluate(images, verbose=0) < before


@pytest.mark.parametrize("shape", [(12, 8, 1), (8, 8, 3)])
def test_convolutional_parts_with_one_and_three_channels(shape):
    x = np.random.default_rng(0).random((20, *shape)).astype("float32")
    model = Autoencoder(*conv_parts(shape))
    model.compile("adam", SquaredError())
    before = model.evaluate(x, verbose=0)
    model.fit(x, epochs=5, verbose=0)
    assert model.evaluate(x, verbose=0) < before
    assert model.encode(x).shape == (20, 4)
    assert model.reconstruct(x).shape == x.shape == model.decode(model.encode(x)).shape


def test_penalties_of_layers_count_in_training_and_evaluation(images):
    keras.utils.set_random_seed(0)
    flat = [keras.Input((12, 10, 1)), layers.Flatten()]
    regular = layers.Dense(4, kernel_regularizer=keras.regularizers.L2(10.0))
    model = Autoencoder(
        keras.Sequential([*flat, regular]),
        keras.Sequential([keras.Input((4,)), layers.Dense(120), layers.Reshape((12, 10, 1))]),
    )
    model.compile(keras.optimizers.SGD(0.0), SquaredError())
    penalty = 10 * float((regular.kernel.numpy() ** 2).sum())
    expected = squared_error(images, model.reconstruct(images)) + penalty
    np.testing.assert_allclose(model.evaluate(images, verbose=0), expected, rtol=1e-5)
    trained = model.fit(images, batch_size=7, verbose=0).history["loss"][0]
    np.testing.assert_allclose(trained, expected, rtol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_xla_on_and_off(make_parts, images, jit_compile):
    model = Autoencoder(*make_parts())
    model.compile("adam", SquaredError(), jit_compile=jit_compile)
    loss = model.fit(images, epochs=2, batch_size=20, shuffle=False, verbose=0).history["loss"]
    plain = Autoencoder(*make_parts())
    plain.compile("adam", SquaredError())
    again = plain.fit(images, epochs=2, batch_size=20, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(loss, again, rtol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_finite_float32_losses(make_model, images, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = make_model()
        loss = model.fit(images, epochs=2, verbose=0).history["loss"]
        assert np.isfinite(loss).all() and model.reconstruct(images).dtype == "float32"
        assert model.encode(images).dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


def test_two_replicas_report_and_train_like_one(tmp_path):
    """In a process of its own: the number of devices is fixed once TensorFlow has started."""
    program = """
import aelib, keras, numpy as np, tensorflow as tf
from aelib import autoencoder, losses
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).random((40, 6)).astype("float32")
def train(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        decoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6)])
        model = autoencoder.Autoencoder(encoder, decoder)
        model.compile(keras.optimizers.SGD(0.05), losses.SquaredError())
    history = model.fit(x, epochs=3, batch_size=20, shuffle=False, verbose=0).history["loss"]
    return np.array([*history, model.evaluate(x, verbose=0)])
one = train(tf.distribute.get_strategy())
two = train(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
np.testing.assert_allclose(two, one, rtol=1e-4)
assert one[-1] < one[0]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# Corruption


def test_training_noise_is_fresh_and_validation_noise_is_fixed(make_model, images):
    model = make_model(corruption=AddNoise())
    first = model.evaluate(images, verbose=0)
    assert first == model.evaluate(images, verbose=0)
    assert first > make_model().evaluate(images, verbose=0)

    model.optimizer.learning_rate = 0.0
    history = model.fit(images, epochs=3, validation_data=images, shuffle=False, verbose=0).history
    assert len(set(history["loss"])) == 3
    assert history["val_loss"] == [first] * 3


def test_there_is_no_noise_in_use(make_model, images):
    noisy, plain = make_model(corruption=AddNoise()), make_model()
    np.testing.assert_array_equal(noisy.reconstruct(images), plain.reconstruct(images))
    np.testing.assert_array_equal(noisy.encode(images), plain.encode(images))
    np.testing.assert_array_equal(noisy(images), plain(images))


def test_the_target_of_a_corrupted_image_is_the_clean_one(make_parts, images):
    """A decoder that always gives zeros leaves the energy of the clean images, noise or not."""
    encoder, decoder = make_parts()
    decoder.layers[-2].kernel.assign(np.zeros(decoder.layers[-2].kernel.shape))
    model = Autoencoder(encoder, decoder, AddNoise(3.0))
    model.compile(keras.optimizers.SGD(0.0), SquaredError())
    energy = (images**2).sum(axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(model.evaluate(images, verbose=0), energy, rtol=1e-5)
    np.testing.assert_allclose(model.fit(images, verbose=0).history["loss"][0], energy, rtol=1e-5)


# Images out


def test_losses_on_logits_leave_the_sigmoid_to_use(make_model, images):
    model = make_model(BernoulliCrossEntropy(from_logits=True))
    probabilities = 1 / (1 + np.exp(-model(images).numpy()))
    np.testing.assert_allclose(model.reconstruct(images), probabilities, rtol=1e-5)
    np.testing.assert_allclose(model.predict(images, verbose=0), probabilities, rtol=1e-5)
    np.testing.assert_allclose(
        model.decode(model.encode(images)), model.reconstruct(images), rtol=1e-5
    )
    plain = make_model()
    np.testing.assert_allclose(plain.reconstruct(images), plain(images), rtol=1e-5, atol=1e-6)


def test_many_images_are_taken_in_batches(make_model):
    x = np.random.default_rng(0).random((2003, 12, 10, 1)).astype("float32")
    model = make_model()
    assert model.encode(x).shape == (2003, 4)
    np.testing.assert_allclose(model.encode(x)[2000:], model.encode(x[2000:]), rtol=1e-4, atol=1e-6)


# Files


@pytest.mark.parametrize("loss", [SquaredError(), BernoulliCrossEntropy(from_logits=True)])
def test_a_fresh_process_loads_equal_outputs_and_losses(make_model, images, tmp_path, loss):
    model = make_model(loss, layers.GaussianNoise(0.3))
    model.fit(images, verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(
        tmp_path / "out.npz",
        x=images,
        x_hat=model.reconstruct(images),
        loss=model.evaluate(images, verbose=0),
    )
    program = (
        "import sys, numpy as np, aelib\n"
        "saved = np.load(sys.argv[2])\n"
        "model = aelib.load_model(sys.argv[1])\n"
        "np.testing.assert_allclose(model.reconstruct(saved['x']), saved['x_hat'], rtol=1e-6)\n"
        "loss = model.evaluate(saved['x'], verbose=0)\n"
        "np.testing.assert_allclose(loss, saved['loss'], rtol=1e-6)\n"
        "model.fit(saved['x'], verbose=0)\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, tmp_path / "model.keras", tmp_path / "out.npz"], check=True
    )


def test_training_goes_on_where_it_was_saved(make_model, images, tmp_path):
    model = make_model()
    model.fit(images, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    again = aelib.load_model(tmp_path / "model.keras")
    assert again.optimizer.iterations == model.optimizer.iterations
    a, b = (
        m.fit(images, epochs=2, shuffle=False, verbose=0).history["loss"] for m in (model, again)
    )
    np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("content", [None, b"", b"not a zip file"])
def test_load_model_names_the_file_that_it_cannot_read(tmp_path, content):
    path = tmp_path / "broken.keras"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"Received: path=.*broken\.keras"):
        aelib.load_model(path)


def test_load_model_names_the_file_in_which_a_bit_is_wrong(make_model, tmp_path):
    path = tmp_path / "model.keras"
    make_model().save(path)
    whole = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            aelib.load_model(path)  # dates and the like may be others
        except ValueError as error:
            assert str(error).endswith(f"Received: path={path}")


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("model.weights.h5", b""),
        ("model.weights.h5", None),
        ("config.json", b"[" * 100_000),
        ("config.json", b'{"module": "aelib.nowhere"}'),
        ("config.json", b"\xff"),
        ("config.json", b" " * 10_000_000),  # 10 kB when packed
        ("config.json", None),
    ],
)
def test_load_model_names_the_file_that_is_another(make_model, tmp_path, member, content):
    path = tmp_path / "model.keras"
    make_model().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member] = members[member][:-9] if content is None else content
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    fault = "its config has 10,000,000 bytes.*" if len(content or b"") > 2**23 else ""
    with pytest.raises(ValueError, match=f"{fault}Received: path=.*keras$"):
        aelib.load_model(path)


# Tied weights


def tied_parts():
    keras.utils.set_random_seed(0)
    dense = layers.Dense(5, "sigmoid")
    encoder = keras.Sequential([keras.Input((12, 10, 1)), layers.Flatten(), dense])
    decoder = keras.Sequential(
        [keras.Input((5,)), TransposedDense(dense, "sigmoid"), layers.Reshape((12, 10, 1))]
    )
    return encoder, decoder, dense


def test_the_transposed_layer_computes_with_the_transposed_kernel():
    _, decoder, dense = tied_parts()
    z = np.random.default_rng(0).random((3, 5)).astype("float32")
    decoder.layers[0].bias.assign(np.linspace(-1, 1, 120))
    expected = 1 / (1 + np.exp(-(z @ dense.kernel.numpy().T + np.linspace(-1, 1, 120))))
    np.testing.assert_allclose(decoder(z).numpy().reshape(3, -1), expected, rtol=1e-5)


def test_one_kernel_before_and_after_loading(images, tmp_path):
    encoder, decoder, _ = tied_parts()
    model = Autoencoder(encoder, decoder)
    model.compile("adam", SquaredError())
    model.fit(images, epochs=2, verbose=0)
    model.save(tmp_path / "tied.keras")
    again = aelib.load_model(tmp_path / "tied.keras")
    np.testing.assert_allclose(again.reconstruct(images), model.reconstruct(images), rtol=1e-6)
    for tied in (model, again):
        assert len(tied.trainable_variables) == 3  # one kernel, two biases
        tied.fit(images, epochs=1, verbose=0)
        assert tied.decoder.layers[0].dense is tied.encoder.layers[1]
        assert tied.decoder.layers[0].dense.kernel is tied.encoder.layers[1].kernel


def test_untied_layers_of_the_same_name_stay_apart(images, tmp_path):
    encoder = keras.Sequential(
        [keras.Input((12, 10, 1)), layers.Flatten(), layers.Dense(5, name="d")]
    )
    other = layers.Dense(5, name="d")
    other.build((None, 120))
    decoder = keras.Sequential(
        [keras.Input((5,)), TransposedDense(other), layers.Reshape((12, 10, 1))]
    )
    model = Autoencoder(encoder, decoder)
    model.compile("adam", SquaredError())
    model.save(tmp_path / "untied.keras")
    again = aelib.load_model(tmp_path / "untied.keras")
    assert len(again.trainable_variables) == 5
    np.testing.assert_allclose(again.reconstruct(images), model.reconstruct(images), rtol=1e-6)


def test_transposed_dense_says_what_it_needs():
    with pytest.raises(ValueError, match="Received: dense='kernel'"):
        TransposedDense("kernel")
    with pytest.raises(ValueError, match="has no kernel yet"):
        TransposedDense(layers.Dense(3)).build((None, 3))
    dense = layers.Dense(3)
    dense.build((None, 7))
    with pytest.raises(ValueError, match=r"Received: input_shape=\(None, 4\)"):
        TransposedDense(dense).build((None, 4))


# What it refuses

BAD = {
    "NaN": lambda x: np.where(x > 0.99, np.nan, x),
    "infinity": lambda x: np.where(x > 0.99, np.inf, x),
    "empty": lambda x: x[:0],
    "rank": lambda x: x[0],
    "flat": lambda x: x.reshape(len(x), -1),
    "size": lambda x: x[:, :-1],
    "channels": lambda x: np.repeat(x, 3, axis=-1),
    "scalar": lambda x: np.float32(1),
    "text": lambda x: x.astype(str),
    "objects": lambda x: x.astype(object),
}


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize("method", ["fit", "evaluate", "encode", "reconstruct"])
def test_bad_arrays_are_refused(make_model, images, method, fault):
    bad = np.asarray(BAD[fault](images))
    with pytest.raises(ValueError, match="Received: x"):
        getattr(make_model(), method)(bad)


def test_bad_codes_and_validation_data_are_refused(make_model, images):
    model = make_model()
    with pytest.raises(ValueError, match=r"Received: z.shape=\(3, 5\)"):
        model.decode(np.ones((3, 5)))
    for data in (images[0], (images[0],), (images[0], images[0])):
        with pytest.raises(ValueError, match=r"Received: x\.shape"):
            model.fit(images, validation_data=data, verbose=0)
    for share in (1.5, -0.5, 0.999):
        with pytest.raises(ValueError, match="Received: validation_split="):
            model.fit(images, validation_split=share, verbose=0)


def test_targets_that_do_not_match_are_refused(make_model, images):
    model = make_model()
    with pytest.raises(ValueError, match=r"x.shape=\(40, 12, 10, 1\), y.shape=\(39, 12, 10, 1\)"):
        model.fit(images, images[1:], verbose=0)
    with pytest.raises(ValueError, match="A target must have the shape of the reconstruction"):
        model.fit(images, images[:, :6], verbose=0)
    with pytest.raises(ValueError, match=r"Received: y between 0\.\d+ and 2\.0"):
        make_model(BernoulliCrossEntropy()).fit(
            images, np.maximum(images, 2.0 * (images > 0.9)), verbose=0
        )
    with pytest.raises(ValueError, match="Received: x between"):
        make_model(BernoulliCrossEntropy()).evaluate(images * 255, verbose=0)


def test_parts_that_are_no_layers_are_refused(make_parts):
    encoder, decoder = make_parts()
    for name, parts in {
        "encoder": (len, decoder),
        "decoder": (encoder, None),
        "corruption": (encoder, decoder, 0.3),
    }.items():
        with pytest.raises(ValueError, match=f"Received: {name}="):
            Autoencoder(*parts)


# Nested inputs and outputs


def conditional(seed=0):
    """Encoder of an image and a condition, and a decoder that is told the condition again."""
    keras.utils.set_random_seed(seed)
    image, told = keras.Input((12, 10, 1)), keras.Input((3,))
    flat = layers.Flatten()(image)
    code = layers.Dense(4)(layers.Concatenate()([flat, told]))
    z, again = keras.Input((4,)), keras.Input((3,))
    x_hat = layers.Dense(120)(layers.Concatenate()([z, again]))
    return (
        keras.Model([image, told], [code, told]),
        keras.Model([z, again], layers.Reshape((12, 10, 1))(x_hat)),
    )


def test_a_conditional_autoencoder_trains_and_decodes_under_another_condition(images, tmp_path):
    told = np.eye(3, dtype="float32")[np.arange(40) % 3]
    x = images + told[:, :1, None, None]  # the condition shows in the image
    model = Autoencoder(*conditional())
    model.compile(keras.optimizers.Adam(1e-2), SquaredError())
    history = model.fit(
        [x, told], x, epochs=30, batch_size=20, validation_data=([x, told], x), verbose=0
    )
    assert history.history["val_loss"][-1] < 0.5 * history.history["val_loss"][0]
    z, condition = model.encode([x, told])
    np.testing.assert_array_equal(condition, told)
    x_hat = model.decode([z, condition])
    np.testing.assert_allclose(model.reconstruct([x, told]), x_hat, rtol=1e-5)
    np.testing.assert_allclose(model.predict([x, told], verbose=0), x_hat, rtol=1e-4, atol=1e-5)
    assert not np.allclose(model.decode([z, np.roll(told, 1, axis=1)]), x_hat, atol=0.1)
    model.save(tmp_path / "model.keras")
    again = aelib.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.reconstruct([x, told]), x_hat, rtol=1e-5)
    loss = model.evaluate([x, told], x, verbose=0)
    np.testing.assert_allclose(again.evaluate([x, told], x, verbose=0), loss, rtol=1e-5)
    pairs = tf.data.Dataset.from_tensor_slices(((x, told), x)).batch(9)
    np.testing.assert_allclose(model.evaluate(pairs, verbose=0), loss, rtol=1e-5)


def test_several_inputs_without_a_target_are_refused(images):
    told = np.eye(3, dtype="float32")[np.arange(40) % 3]
    model = Autoencoder(*conditional())
    model.compile("adam", SquaredError())
    batches = tf.data.Dataset.from_tensor_slices(({"a": images, "b": told},)).batch(9)
    for data in ([images, told], batches):
        with pytest.raises(ValueError, match="Received: y=None, 2 inputs"):
            model.fit(data, verbose=0)


def test_skip_connections_reach_the_decoder(images, tmp_path):
    """With the image itself as a skip connection the reconstruction can be exact."""
    image = keras.Input((12, 10, 1))
    code = layers.Dense(2)(layers.Flatten()(image))
    z, skipped = keras.Input((2,)), keras.Input((12, 10, 1))
    drawn = layers.Reshape((12, 10, 1))(layers.Dense(120, kernel_initializer="zeros")(z))
    model = Autoencoder(
        keras.Model(image, [code, image]), keras.Model([z, skipped], layers.Add()([drawn, skipped]))
    )
    model.compile("adam", SquaredError())
    assert model.evaluate(images, verbose=0) == 0
    np.testing.assert_allclose(model.reconstruct(images), images, atol=1e-6)
    model.fit(images, verbose=0)
    model.save(tmp_path / "model.keras")
    again = aelib.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.reconstruct(images), model.reconstruct(images), atol=1e-6)


def test_halves_that_do_not_say_their_shapes_are_built_by_the_first_call(images):
    class Halve(keras.layers.Layer):
        def __init__(self, units, shape):
            super().__init__()
            self.dense, self.reshape = layers.Dense(units), layers.Reshape(shape)
            self.flatten = layers.Flatten()

        def call(self, x):
            return self.reshape(self.dense(self.flatten(x)))

    model = Autoencoder(Halve(3, (3,)), Halve(120, (12, 10, 1)))
    model.compile("adam", SquaredError())
    assert not model.built
    model.fit(images, epochs=2, verbose=0)
    assert model.built and model.reconstruct(images).shape == images.shape


# Weights


def test_fit_and_evaluate_take_weights_per_image_and_per_pixel(make_model, images):
    model = make_model()
    per_image = np.random.default_rng(1).random(40).astype("float32")
    per_pixel = per_image[:, None, None, None] * np.ones_like(images)
    a, b = (
        model.evaluate(images, images, sample_weight=w, verbose=0) for w in (per_image, per_pixel)
    )
    np.testing.assert_allclose(a, b, rtol=1e-5)
    keep = {"shuffle": False, "batch_size": 40, "verbose": 0}
    a, b = (
        model.fit(images, sample_weight=w, **keep).history["loss"] for w in (per_image, per_pixel)
    )
    assert np.isfinite([a, b]).all()
    with pytest.raises(ValueError, match="`sample_weight` must be one number per image, step or"):
        make_model().evaluate(images, images, sample_weight=per_pixel[:, :6], verbose=0)
