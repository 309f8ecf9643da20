"""Lossy archives: file sizes against entropies, and the error of rounding alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from constriction import stream
from keras import layers
from scipy import special, stats

import aelib
from aelib.autoencoder import Autoencoder
from aelib.compression import Archiver, RateTerm
from aelib.ladder import LadderNetwork
from aelib.losses import BernoulliCrossEntropy, SquaredError
from aelib.variational import VariationalAutoencoder

RNG = np.random.default_rng
HEADER = 26


def identity(size, scale=1.0):
    """An autoencoder whose code is `scale` times its input, a vector."""
    halves = layers.Dense(size, use_bias=False), layers.Dense(size, use_bias=False)
    model = Autoencoder(
        *(keras.Sequential([keras.Input((size,)), half]) for half in halves), name="identity"
    )
    for half, factor in zip(halves, (scale, 1 / scale), strict=True):
        half.set_weights([factor * np.eye(size)])
    return model


def bits(data: bytes) -> int:
    """Of the words alone."""
    return 8 * (len(data) - HEADER - 4)


@pytest.fixture
def archiver(make_parts, images):
    model = Autoencoder(*make_parts())
    model.compile("sgd", BernoulliCrossEntropy())
    archiver = Archiver(model, step=0.1)
    archiver.adapt(images)
    return archiver


@pytest.mark.parametrize("symbols", [2, 7, 256])
def test_a_uniform_source_costs_the_logarithm_of_its_symbols(symbols):
    x = RNG(0).integers(-3, symbols - 3, (20_000, 2)).astype("float32")
    archiver = Archiver(identity(2), 1.0)
    archiver.adapt(x)
    data = archiver.compress(x)
    assert bits(data) == pytest.approx(x.size * np.log2(symbols), rel=0.01)
    np.testing.assert_array_equal(archiver.decompress(data), x)


@pytest.mark.parametrize("n_train", [100, 4000])
def test_the_size_is_the_ideal_code_length_of_the_tables(n_train):
    """Each number of the code has its own; their probabilities are counts plus 1/2, by hand."""
    deviations = [0.2, 1.0, 5.0, 40.0]
    train, test = RNG(0).normal(0, deviations, (2, 4000, 4)).round().astype("float32")
    train = train[:n_train]
    archiver = Archiver(identity(4), 1.0)
    archiver.adapt(train)
    widest = np.ptp(train, axis=0).max()
    ideal = 0.0
    for fitted, coded in zip(train.T, test.T, strict=True):
        counts = np.array([(fitted == value).sum() for value in coded])
        total = len(fitted) + 0.5 * (np.ptp(fitted) + 2)  # all symbols and the escape
        lengths = -np.log2((counts + 0.5) / total)
        lengths[coded > fitted.max()] = 24  # the coder's smallest probability, or an escape
        escaped = (coded < fitted.min()) | (coded > fitted.min() + widest)
        lengths[escaped] = 32 - np.log2(0.5 / total)
        ideal += lengths.sum()
    data = archiver.compress(test)
    assert bits(data) == pytest.approx(ideal, rel=0.001)
    np.testing.assert_array_equal(archiver.decompress(data), test)


def test_a_probability_is_the_count_and_a_half():
    archiver = Archiver(identity(1), 1.0)
    archiver.adapt(np.array([[0.0]] * 9 + [[1.0]]))
    for value, count in ((0, 9), (1, 1)):
        x = np.full((100_000, 1), value, "float32")
        np.testing.assert_array_equal(archiver.decompress(archiver.compress(x)), x)
        x[-1] = 1  # the first on the stack: pushing the first symbol leaves an empty one empty
        ideal = -100_000 * np.log2((count + 0.5) / (10 + 3 / 2))
        assert bits(archiver.compress(x)) == pytest.approx(ideal, rel=0.01)


def test_tables_fitted_to_other_images_cost_the_cross_entropy():
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.2, 0.6])
    train, test = (RNG(1).choice(3, (30_000, 1), p=r).astype("float32") for r in (q, p))
    archiver = Archiver(identity(1), 1.0)
    archiver.adapt(train)
    assert bits(archiver.compress(test)) == pytest.approx(-30_000 * p @ np.log2(q), rel=0.01)
    archiver.adapt(test)
    assert bits(archiver.compress(test)) == pytest.approx(-30_000 * p @ np.log2(p), rel=0.01)


def test_what_training_never_had_is_written_plainly():
    train = RNG(2).integers(-5, 6, (1000, 3)).astype("float32")
    archiver = Archiver(identity(3), 1.0)
    archiver.adapt(train)
    usual = archiver.compress(train)
    unlike = train.copy()
    unlike[10] = [6, -6, 70_000]  # just outside, and far
    unlike[500, 1] = -(2**24)
    unlike[999] = [-70_000, 2**30, 128 - 2**31]
    data = archiver.compress(unlike)
    np.testing.assert_array_equal(archiver.decompress(data), unlike)
    escape = 32 + np.log2((1000 + 0.5 * 12) / 0.5)
    assert bits(data) - bits(usual) == pytest.approx(7 * (escape - np.log2(11)), abs=40)
    # All images, and all of their numbers.
    data = archiver.compress(train + 1000)
    np.testing.assert_array_equal(archiver.decompress(data), train + 1000)
    with pytest.raises(ValueError, match="of 32 bits.*Received: step=1.0, for codes up to 3e"):
        archiver.compress(train + 3e9)


def test_the_error_is_that_of_rounding():
    x = RNG(3).normal(size=(2000, 5)).astype("float32")
    sizes = []
    for step in (0.5, 0.25):
        archiver = Archiver(identity(5, scale=3.0), step)
        archiver.adapt(x)
        data = archiver.compress(x)
        error = 3 * (archiver.decompress(data) - x)
        assert np.abs(error).max() <= step / 2 * (1 + 1e-5)
        np.testing.assert_allclose(error.var(), step**2 / 12, rtol=0.03)
        sizes.append(bits(data))
    # Half the step costs one bit a number.
    assert sizes[1] - sizes[0] == pytest.approx(x.size, rel=0.05)
    # And at high rates the entropy is that of the density, less log2 of the step.
    assert sizes[1] / x.size == pytest.approx(
        stats.norm(scale=3).entropy() / np.log(2) + 2, rel=0.02
    )


def test_the_archive_holds_the_rounded_codes(archiver, images):
    other = RNG(9).random((25, 12, 10, 1)).astype("float32")
    x_hat = archiver.decompress(archiver.compress(other))
    assert x_hat.shape == other.shape and x_hat.dtype == "float32"
    model = archiver.autoencoder
    rounded = 0.1 * np.rint(model.encode(other) / np.float32(0.1))
    np.testing.assert_allclose(x_hat, model.decode(rounded), atol=1e-6)
    # The loss is on logits: what the decoder gives are these, what the archiver gives are images.
    np.testing.assert_allclose(special.expit(model.decoder(rounded)), x_hat, atol=1e-6)
    for called in (archiver(other), archiver.predict(other, batch_size=7, verbose=0)):
        np.testing.assert_allclose(called, x_hat, atol=1e-6)
    assert np.abs(x_hat - model.reconstruct(other)).max() > 1e-3


def test_codes_of_any_shape(images):
    keras.utils.set_random_seed(0)
    shape = (None, None, 1)
    encoder = keras.Sequential([keras.Input(shape), layers.Conv2D(3, 5, strides=2)])
    decoder = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2DTranspose(1, 5, strides=2, output_padding=(1, 1)),
        ]
    )
    archiver = Archiver(Autoencoder(encoder, decoder), 0.05)
    archiver.adapt(images[:30])
    x_hat = archiver.decompress(archiver.compress(images[30:]))
    np.testing.assert_allclose(x_hat, archiver(images[30:]), atol=1e-5)
    assert archiver._table.shape[0] == 4 * 3 * 3
    with pytest.raises(
        ValueError, match=r"\(4, 3, 3\) as in adapt.*Received: x.shape=\(40, 10, 10, 1\)"
    ):
        archiver.compress(images[:, :10])
    archiver.adapt(images[:, :10])
    x_hat = archiver.decompress(archiver.compress(images[:, :10]))
    assert x_hat.shape == (40, 10, 10, 1)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_runs_under_every_policy(make_parts, images, policy, jit_compile):
    keras.config.set_dtype_policy(policy)
    try:
        archiver = Archiver(Autoencoder(*make_parts()), 0.1)
    finally:
        keras.config.set_dtype_policy("float32")
    archiver.adapt(images)
    x_hat = archiver.decompress(archiver.compress(images))
    archiver.compile(loss=SquaredError(), jit_compile=jit_compile)
    loss = archiver.evaluate(images, images, verbose=0)
    np.testing.assert_allclose(((x_hat - images) ** 2).sum(axis=(1, 2, 3)).mean(), loss, rtol=0.02)


def test_a_keras_file_keeps_model_step_and_tables(archiver, images, tmp_path):
    data = archiver.compress(images)
    archiver.compile("sgd", SquaredError())
    archiver.save(tmp_path / "archiver.keras")
    loaded = aelib.load_model(tmp_path / "archiver.keras")
    assert isinstance(loaded, Archiver) and loaded.step == 0.1
    assert loaded.compress(images) == data
    np.testing.assert_allclose(loaded.decompress(data), archiver.decompress(data), atol=1e-6)
    np.testing.assert_allclose(loaded(images), archiver(images), atol=1e-6)
    assert loaded.evaluate(images, images, verbose=0) == pytest.approx(
        archiver.evaluate(images, images, verbose=0), rel=1e-5
    )
    assert loaded.decoder_bytes == archiver.decoder_bytes
    # One without tables is still without.
    Archiver(archiver.autoencoder, 0.2).save(tmp_path / "new.keras")
    with pytest.raises(ValueError, match="adapt"):
        aelib.load_model(tmp_path / "new.keras").compress(images)


@pytest.mark.parametrize("loaded", [False, True])
def test_an_exported_archiver_gives_the_images_that_it_decompresses(
    archiver, images, tmp_path, loaded
):
    x_hat = archiver.decompress(archiver.compress(images))
    if loaded:
        archiver.save(tmp_path / "archiver.keras")
        archiver = aelib.load_model(tmp_path / "archiver.keras", compile=False)
    archiver.export(tmp_path / "exported", verbose=False)  # and was never called
    exported = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(exported.serve(images), x_hat, atol=1e-6)


class Half(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.dense = layers.Dense(units)

    def call(self, x):
        return self.dense(x)


def test_halves_that_show_no_shape_export_after_a_call(tmp_path):
    x = RNG(0).random((20, 6), "float32")
    archiver = Archiver(Autoencoder(Half(3), Half(6)), 0.1)
    archiver.adapt(x)
    called = archiver(x)
    archiver.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(exported.serve(x), called, atol=1e-6)


@pytest.mark.parametrize("count", [1, 10, 1000, 10**5, 10**6, 2**24, 2**30])
def test_no_symbol_costs_less_than_the_least(count):
    """What the coder makes of a probability near 1, read from its state, a whole number."""
    archiver = Archiver(identity(1), 1.0)
    archiver.adapt([[0.0]])
    archiver._table = np.array([[2 * count + 1, 1]], "uint32")
    coder = stream.stack.AnsCoder(np.array([0, 2**20], "uint32"))
    before = coder.pos()[1]
    coder.encode_reverse(np.array([0], "int32"), archiver._models()[0])
    whole, rest = divmod(coder.pos()[1], 2**24)
    bits = 24 - np.log2((before - rest) / whole)
    assert 0 < archiver._fewest_bits() <= bits
    if count <= 1000:
        assert archiver._fewest_bits() > 0.98 * bits


@pytest.mark.parametrize("n_train", [1, 50, 4000])
def test_no_archive_holds_more_images_than_are_allowed(n_train):
    """Whichever symbols they are."""
    for values in ([0], [0, 1], [0, 0, 0, 1], range(40)):
        archiver = Archiver(identity(1), 1.0)
        archiver.adapt(RNG(0).choice(values, (n_train, 1)).astype("float32"))
        for n in (1, 3, 100, 20_000):
            for symbol in {0, 1, int(archiver._table.argmax()), archiver._table.shape[1]}:
                x = np.full((n, 1), symbol, "float32") + archiver._lowest
                data = archiver.compress(x)
                # Of each word not 32 bits but one more, because the coder rounds at every symbol.
                assert n * archiver._fewest_bits() <= 33 * bits(data) / 32
                np.testing.assert_array_equal(archiver.decompress(data), x)


def test_the_size_of_the_decoder(archiver):
    weights = (4 + 1) * 16 + (16 + 1) * 120
    symbols = archiver._table.shape[1]
    assert archiver.decoder_bytes == 4 * weights + 4 * 4 * symbols + 8 * 4


def test_arguments_of_the_archiver(make_parts, images):
    model = Autoencoder(*make_parts())
    for step in (0, -1.0, float("nan"), float("inf"), True, "1", None):
        with pytest.raises(ValueError, match=f"Received: step={step!r}"):
            Archiver(model, step)
    variational = VariationalAutoencoder(make_parts(code_dim=8)[0], make_parts(code_dim=4)[1])
    for other in (model.encoder, None, variational, LadderNetwork((16,), 3)):
        with pytest.raises(ValueError, match="Received: autoencoder="):
            Archiver(other, 1.0)
    x = keras.Input((12, 10, 1))
    code = layers.Dense(4)(layers.Flatten()(x))
    for outputs in ([code, code], {"a": code, "b": code}):
        several = Autoencoder(keras.Model(x, outputs), layers.Concatenate())
        with pytest.raises(
            ValueError, match="^The code must be one array. Received: an encoder of 2"
        ):
            Archiver(several, 1.0)
    archiver = Archiver(model, 0.1)
    for use in (archiver.compress, archiver.decompress, lambda _: archiver.decoder_bytes):
        with pytest.raises(ValueError, match=r"adapt.*Received: no tables"):
            use(images)
    for call in (archiver.adapt, archiver.compress):
        with pytest.raises(ValueError, match=r"Received: x.shape=\(0, 12, 10, 1\)"):
            call(images[:0])
        with pytest.raises(ValueError, match=r"Received: x.shape=\(40, 10, 12, 1\)"):
            call(images.reshape(40, 10, 12, 1))
        with pytest.raises(ValueError, match="Received: x with 40 NaN"):
            call(np.where(np.arange(12)[:, None, None] + np.arange(10)[:, None], images, np.nan))
        archiver.adapt(images)
    for step, reason in ((1e-6, "at most 65,536 values"), (1e-30, "of 32 bits")):
        with pytest.raises(ValueError, match=f"{reason}: use a larger step. Received: step={step}"):
            Archiver(model, step).adapt(images)


def built_rate_term(step=1.0, components=3, **more):
    """A rate term of two dimensions with densities that are nobody's start."""
    layer = RateTerm(1.0, step, components, seed=0, **more)
    layer.build((None, 2))
    for variable in layer.trainable_variables:
        variable.assign(RNG(len(variable.path)).normal(0, 1, variable.shape))
    return layer


@pytest.mark.parametrize("step", [0.25, 1, 3])
@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_probabilities_of_the_multiples_of_the_step_sum_to_one(step, offset):
    layer = built_rate_term(step)
    z = step * (np.arange(-2000, 2001) + offset)
    one = np.float32(z[np.argmin(np.abs(z))])
    first = layer.bits(np.stack([z, np.full_like(z, one)], axis=1).astype("float32"))
    second = layer.bits(np.stack([np.full_like(z, one), z], axis=1).astype("float32"))
    both = layer.bits(np.full((1, 2), one))
    # P(z, one) summed over z is P(one) of the other dimension; the product of both is P(one, one).
    shares = [np.exp2(-np.asarray(bits, float)).sum() for bits in (first, second)]
    np.testing.assert_allclose(np.prod(shares), np.exp2(-float(both[0])), rtol=1e-3)


def test_bits_are_those_of_a_mixture_of_logistic_distributions():
    layer = built_rate_term(0.5)
    z = RNG(1).normal(0, 2, (50, 2))
    logits, centres, log_scales = (np.asarray(v, float) for v in layer.trainable_variables)
    cdf = [stats.logistic(centres, np.exp(log_scales)).cdf(z[:, None] + h) for h in (-0.25, 0.25)]
    p = ((cdf[1] - cdf[0]) * special.softmax(logits, axis=0)).sum(axis=1)
    bits = layer.bits(z.astype("float32"))
    np.testing.assert_allclose(bits, -np.log2(p).sum(axis=1), rtol=1e-4)


def test_bits_far_outside_are_finite_and_lead_back():
    layer = built_rate_term()
    z = tf.constant([[-1e4, 1e4]])
    with tf.GradientTape() as tape:
        tape.watch(z)
        bits = layer.bits(z)
    slopes = tape.gradient(bits, z).numpy()[0]
    assert np.isfinite(bits).all() and slopes[0] < 0 < slopes[1]


def test_training_sees_noise_as_of_rounding_and_use_counts_rounded_codes():
    layer = built_rate_term(0.5)
    z = RNG(2).normal(0, 3, (5000, 2)).astype("float32")
    noise = np.asarray(layer(z, training=True)) - z
    assert stats.kstest(noise.ravel(), stats.uniform(-0.25, 0.5).cdf).pvalue > 0.01
    bits_in_training = float(layer.losses[0])
    np.testing.assert_allclose(bits_in_training, np.mean(layer.bits(z + noise)), rtol=1e-5)
    np.testing.assert_array_equal(layer(z), z)
    rounded = 0.5 * np.rint(z / np.float32(0.5))
    np.testing.assert_allclose(float(layer.losses[0]), np.mean(layer.bits(rounded)), rtol=1e-5)


def test_a_learned_density_costs_the_entropy_of_the_code():
    p = np.array([0.05, 0.7, 0.05, 0.2])  # of -1, 0, 1, 2: not the shape of one logistic density
    entropy = stats.entropy(p, base=2)
    z = RNG(3).choice([-1, 0, 1, 2], (20_000, 1), p=p).astype("float32")
    layer = RateTerm(1.0, components=4)
    layer.build((None, 1))
    adam = keras.optimizers.Adam(0.05)
    for _ in range(300):
        with tf.GradientTape() as tape:
            bits = tf.reduce_mean(layer.bits(z[:2000]))
        weights = layer.trainable_variables
        adam.apply_gradients(zip(tape.gradient(bits, weights), weights, strict=True))
    found = float(np.mean(layer.bits(z)))
    sample = np.mean(-np.log2(p[z.astype(int) + 1]))
    assert sample - 0.01 <= found <= 1.03 * entropy


def test_the_rate_weighs_as_much_as_said():
    z = RNG(4).normal(0, 2, (100, 2)).astype("float32")
    layers_ = [RateTerm(weight, seed=1) for weight in (1.0, 0.25)]
    losses = [(layer(z, training=True), float(layer.losses[0]))[1] for layer in layers_]
    np.testing.assert_allclose(losses[1], 0.25 * losses[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"weight": -1}, "weight"), ({"step": 0}, "step"), ({"components": 0}, "components")],
)
def test_a_rate_term_refuses(arguments, named):
    with pytest.raises(ValueError, match=f"`{named}`.*Received"):
        RateTerm(**{"weight": 1.0} | arguments)
