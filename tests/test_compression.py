"""File sizes against entropies and bounds, and nothing lost, nor decoded that is not whole."""

import os
import struct
import subprocess
import sys
import zlib

import keras
import numpy as np
import pytest
import threadpoolctl
from keras import layers
from scipy import special, stats

import aelib
from aelib import compression
from aelib.autoencoder import Autoencoder
from aelib.compression import Archiver, BitsBackCoder, write_file
from aelib.losses import BernoulliCrossEntropy, GaussianNegativeLogLikelihood, SquaredError
from aelib.variational import VariationalAutoencoder

RNG = np.random.default_rng
HEADER = 26


# Lossy


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
    # The loss is on logits: what the model gives are these, what is decompressed are images.
    for called in (archiver(other), archiver.predict(other, batch_size=7, verbose=0)):
        np.testing.assert_allclose(special.expit(called), x_hat, atol=1e-6)
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
    with pytest.raises(ValueError, match=r"\(4, 3, 3\) that.*Received: x.shape=\(40, 10, 10, 1\)"):
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


def test_the_size_of_the_decoder(archiver):
    weights = (4 + 1) * 16 + (16 + 1) * 120
    symbols = archiver._table.shape[1]
    assert archiver.decoder_bytes == 4 * weights + 4 * 4 * symbols + 8 * 4


def test_arguments_of_the_archiver(make_parts, images, make_vae):
    model = Autoencoder(*make_parts())
    for step in (0, -1.0, float("nan"), float("inf"), True, "1", None):
        with pytest.raises(ValueError, match=f"Received: step={step!r}"):
            Archiver(model, step)
    for other in (model.encoder, None, make_vae()):
        with pytest.raises(ValueError, match="Received: autoencoder="):
            Archiver(other, 1.0)
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


# Lossless


def bars(n, seed):
    """Black and white 8x8 images: one bar each, of some place, width and slope, with noise."""
    rng = RNG(seed)
    place, width, slope = rng.uniform((2, 0.8, -0.6), (6, 2.5, 0.6), (n, 3)).T[..., None, None]
    row, column = np.mgrid[:8, :8]
    ink = np.abs(column - place - slope * (row - 3.5)) < width
    return (ink ^ (rng.random(ink.shape) < 0.02))[..., None].astype("float32")


@pytest.fixture(scope="module")
def make_vae():
    def make(loss=None, units=(32, 32), latents=4, tail=(), activation="gelu"):
        keras.utils.set_random_seed(0)
        shape = (8, 8, 1)
        encoder = keras.Sequential(
            [keras.Input(shape), layers.Flatten(), *(layers.Dense(u, activation) for u in units)]
        )
        encoder.add(layers.Dense(2 * latents))
        decoder = keras.Sequential(
            [keras.Input((latents,)), *(layers.Dense(u, activation) for u in units)]
        )
        for layer in (layers.Dense(64), *tail, layers.Reshape(shape)):
            decoder.add(layer)
        vae = VariationalAutoencoder(encoder, decoder, samples=20)
        vae.compile(keras.optimizers.Adam(3e-3), loss or BernoulliCrossEntropy())
        return vae

    return make


@pytest.fixture(scope="module")
def vae(make_vae):
    vae = make_vae()
    vae.samples = 1
    vae.fit(bars(4000, 0), batch_size=50, epochs=12, verbose=0)
    vae.samples = 20  # of its ELBO
    return vae


@pytest.fixture(scope="module")
def coder(vae):
    return BitsBackCoder(vae)


@pytest.fixture(scope="module")
def test_images():
    return bars(5000, 1)


def test_the_size_is_the_negative_elbo(vae, coder, test_images):
    data = coder.compress(test_images)
    bound = -vae.elbo(test_images).sum(dtype="float64") / np.log(2)
    first = 32 * len(coder._first_words)
    assert 0.995 * bound < bits(data) - first < 1.01 * bound
    assert bound < 0.6 * test_images.size, "it has learned something"
    _, log_var = vae.posterior(test_images)
    assert log_var.min() < -2, "and its deviations differ"


def test_every_pixel_comes_back(coder, test_images):
    for x in (test_images[:300], test_images[:1], RNG(0).integers(0, 2, (70, 8, 8, 1))):
        x_hat = coder.decompress(coder.compress(x))
        assert x_hat.dtype == "float32" and x_hat.shape == x.shape
        np.testing.assert_array_equal(x_hat, x)


def test_clipping_costs_bits_and_no_image(make_vae, test_images):
    vae = make_vae()
    vae.set_weights([300 * weight for weight in vae.get_weights()])
    x = test_images[:50]
    coder = BitsBackCoder(vae)
    means, levels = coder._posterior(x.reshape(50, -1))
    assert np.abs(means).max() == 8 * 64 and np.ptp(levels) == len(coder._posteriors) - 1
    np.testing.assert_array_equal(coder.decompress(coder.compress(x)), x)


def test_the_first_bits_are_accounted_for(coder, test_images):
    """Each image alone pays for them; what follows does not pay again."""
    one, two = (len(coder.compress(test_images[:n])) for n in (1, 2))
    fixed = 8 + 3 * 4
    assert len(coder._first_words) * 4 == fixed and one > HEADER + 4 + fixed
    assert two - one < fixed


def test_networks_in_whole_numbers_are_those_of_the_model(vae, coder, test_images):
    """Recomputed with integers of 64 bits, and close to the floats."""
    x = test_images[:200].reshape(200, -1)
    kernel, bias, table = coder._encoder.arrays[:3]
    w, b = vae.encoder.layers[1].get_weights()
    by_hand = x.astype(int) @ np.rint(w * 2.0**12).astype(int) * 256
    by_hand = np.rint((by_hand + np.rint(b * 2.0**20).astype(int)) / 2**12)
    np.testing.assert_array_equal(compression._dense(x * 256.0, kernel, bias), by_hand)
    v = by_hand / 256
    gelu = np.rint(256 * v * stats.norm.cdf(v))
    np.testing.assert_array_equal(compression._look_up(by_hand, table), gelu)

    means, levels = coder._posterior(x)
    mean, log_var = vae.posterior(test_images[:200])
    assert np.abs(means / 64 - mean).max() < 0.06
    deviation = np.exp((levels + compression._NARROWEST) / 8)
    assert np.abs(np.log(deviation) - 0.5 * log_var).max() < 0.1
    z = means[0]
    p = special.expit(vae.decoder(z[None] / 64).numpy().ravel())
    assert np.abs(coder._likelihood(z) - p).max() < 0.02


def test_no_sum_depends_on_its_order(coder, test_images):
    x = test_images[:64].reshape(64, -1) * 256.0
    whole = coder._encoder(x)
    np.testing.assert_array_equal(whole, np.rint(whole))
    for threads in (1, 2):
        with threadpoolctl.threadpool_limits(threads):
            np.testing.assert_array_equal(coder._encoder(x), whole)
            one_by_one = np.concatenate([coder._encoder(image[None]) for image in x])
            np.testing.assert_array_equal(one_by_one, whole)
    for kernel, bias in zip(coder._decoder.arrays[0::3], coder._decoder.arrays[1::3], strict=True):
        v = RNG(0).integers(-(2**32), 2**32, (5, len(kernel)))
        order = RNG(1).permutation(len(kernel))
        exact = v @ kernel.astype(int) + bias.astype(int)
        assert 2**40 < np.abs(exact).max() < 2**53
        for sums in (
            compression._dense(v.astype(float), kernel, bias),
            compression._dense(v[:, order].astype(float), kernel[order], bias),
        ):
            np.testing.assert_array_equal(sums, np.rint(exact / 4096))


def test_probabilities_are_those_of_gaussians_and_of_the_logistic_function(coder):
    for row, level in ((0, -4.0), (16, -2.0), (32, 0.0), (34, 0.25)):
        table = coder._posteriors[row]
        tail = len(table) // 2
        edges = (np.arange(-tail, tail + 2) - 0.5) / 64
        expected = np.diff(stats.norm(scale=np.exp(level)).cdf(edges))
        np.testing.assert_allclose(table / 2**24, expected, atol=2**-24)
        assert table.sum() == pytest.approx(2**24, rel=1e-4)
    assert len(coder._posteriors) == 35
    # The prior's symbols in the stack cost what N(0, 1) says.
    stack = compression.stream.stack.AnsCoder(np.ones(9, "uint32"))
    before = stack.num_valid_bits()
    z = np.rint(64 * RNG(0).normal(size=20_000))
    stack.encode_reverse((z + coder._farthest).astype("int32"), coder._prior)
    ideal = -np.log2(stats.norm.pdf(z / 64) / 64).sum()
    assert stack.num_valid_bits() - before == pytest.approx(ideal, rel=1e-3)
    logits = np.array([-16.0, -2.0, 0.0, 3.5, 16.0])
    p = coder._probability[((logits + 16) * 256).astype(int)]
    np.testing.assert_allclose(p, special.expit(logits), atol=2**-24)
    assert 0 < p.min() and p.max() < 1


def test_nested_stacks_and_activation_layers(make_vae, test_images):
    vae = make_vae()
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.Sequential([layers.Flatten(), layers.Dense(32), layers.Activation("gelu")]),
            *vae.encoder.layers[2:],
        ]
    )
    encoder.set_weights(vae.encoder.get_weights())
    same = VariationalAutoencoder(encoder, vae.decoder)
    same.compile("adam", BernoulliCrossEntropy())
    data = BitsBackCoder(vae).compress(test_images[:20])
    assert BitsBackCoder(same).compress(test_images[:20]) == data


def test_what_cannot_be_exact_is_refused(make_vae, make_parts):
    for loss in (BernoulliCrossEntropy(from_logits=False), GaussianNegativeLogLikelihood()):
        with pytest.raises(ValueError, match="Received: vae.loss="):
            BitsBackCoder(make_vae(loss))
    for other in (Autoencoder(*make_parts()), None):
        with pytest.raises(ValueError, match="Received: vae="):
            BitsBackCoder(other)
    for layer in (layers.BatchNormalization(), layers.LeakyReLU(), layers.Dropout(0.1)):
        with pytest.raises(ValueError, match="The decoder is a stack.*Received: layer="):
            BitsBackCoder(make_vae(tail=[layer]))
    for activation in ("softmax", lambda v: v):
        with pytest.raises(ValueError, match="Received: layer='activation.*with activation="):
            BitsBackCoder(make_vae(tail=[layers.Activation(activation)]))
    with pytest.raises(ValueError, match="The encoder is a stack.*Received: layer=<Conv2D"):
        vae = make_vae()
        encoder = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(8, 8), layers.Flatten()])
        vae = VariationalAutoencoder(encoder, vae.decoder)
        vae.compile("adam", BernoulliCrossEntropy())
        BitsBackCoder(vae)
    with pytest.raises(ValueError, match="The encoder is a keras.Sequential.*Received: encoder="):
        inputs = keras.Input((8, 8, 1))
        vae = make_vae()
        vae = VariationalAutoencoder(keras.Model(inputs, vae.encoder(inputs)), vae.decoder)
        vae.compile("adam", BernoulliCrossEntropy())
        BitsBackCoder(vae)
    with pytest.raises(ValueError, match="sees all 64 numbers. Received: layer=.* with 8"):
        encoder = keras.Sequential(
            [keras.Input((8, 8, 1)), layers.Reshape((8, 8)), layers.Dense(1), layers.Flatten()]
        )
        vae = VariationalAutoencoder(encoder, make_vae().decoder)
        vae.compile("adam", BernoulliCrossEntropy())
        BitsBackCoder(vae)
    vae = make_vae()
    vae.set_weights([1e8 * weight for weight in vae.get_weights()])
    with pytest.raises(ValueError, match="stay below 2.53. Received: layer="):
        BitsBackCoder(vae)


def test_images_that_are_not_black_and_white_are_refused(coder, test_images):
    with pytest.raises(ValueError, match="Received: x with other values between 0.0 and 0.5"):
        coder.compress(test_images[:3] * 0.5)
    with pytest.raises(ValueError, match="Received: x with other values between -1.0 and 1.0"):
        coder.compress(2 * test_images[:3] - 1)
    with pytest.raises(ValueError, match=r"Received: x.shape=\(0, 8, 8, 1\)"):
        coder.compress(test_images[:0])
    with pytest.raises(ValueError, match=r"Received: x.shape=\(3, 8, 8\)"):
        coder.compress(test_images[:3, ..., 0])
    with pytest.raises(ValueError, match="Received: x with 64 NaN"):
        coder.compress(np.full((1, 8, 8, 1), np.nan))


# Bytes and files


@pytest.fixture(params=["archiver", "coder"])
def written(request, archiver, images, coder, test_images):
    """Either of the two that write, and what it wrote."""
    x = {"archiver": images, "coder": test_images[:20]}[request.param]
    either = {"archiver": archiver, "coder": coder}[request.param]
    return either, either.compress(x)


def test_a_flipped_bit_anywhere_is_seen(written):
    coder, data = written
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match="Received:"):
            coder.decompress(bytes(damaged))
        if place >= HEADER:
            with pytest.raises(ValueError, match="damaged. Received: checksum"):
                coder.decompress(bytes(damaged))


def test_bytes_too_few_or_too_many_are_seen(written):
    coder, data = written
    for length in range(len(data)):
        with pytest.raises(ValueError, match=f"(cut off|header).*len\\(data\\)={length}$"):
            coder.decompress(data[:length])
    for more in (b"\0", b"1234", data):
        with pytest.raises(ValueError, match="followed by other bytes"):
            coder.decompress(data + more)


def test_bytes_of_others_are_seen(written):
    coder, data = written
    for other in (b"\x89PNG\r\n\x1a\n" + data, b"PK", b"\0" * 1000, data[1:], data[::-1]):
        with pytest.raises(ValueError, match="no bytes of this coder"):
            coder.decompress(other)
    for other in (None, 3, "aelib", np.frombuffer(data, "u1")):
        with pytest.raises(ValueError, match="Received: type"):
            coder.decompress(other)


def test_the_two_kinds_are_told_apart(archiver, images, coder, test_images):
    with pytest.raises(ValueError, match="no bytes of this coder.*Received: .*aelibARC"):
        coder.decompress(archiver.compress(images))
    with pytest.raises(ValueError, match="no bytes of this coder.*Received: .*aelibBBA"):
        archiver.decompress(coder.compress(test_images[:3]))


def test_a_newer_version_is_named(written):
    coder, data = written
    body = data[:8] + struct.pack("<H", 2) + data[10:-4]
    with pytest.raises(ValueError, match="newer version than 1. Received: version=2"):
        coder.decompress(body + struct.pack("<I", zlib.crc32(body)))


def test_the_header_is_as_documented(written):
    coder, data = written
    magic, version, n, words = struct.unpack_from("<8sHII", data)
    assert magic in (b"aelibARC", b"aelibBBA") and version == 1
    assert n == len(coder.decompress(data)) and HEADER + 4 * words + 4 == len(data)
    assert struct.unpack("<I", data[-4:])[0] == zlib.crc32(data[:-4])


def test_another_archiver_is_refused(archiver, images, make_parts):
    data = archiver.compress(images)
    model = archiver.autoencoder
    others = {
        "step": Archiver(model, 0.1 * (1 + 1e-9)),
        "weights": Archiver(Autoencoder(*make_parts()), 0.1),
        "tables": Archiver(model, 0.1),
    }
    others["weights"].autoencoder.decoder.layers[0].bias.assign(np.full(16, 1e-6))
    for name, other in others.items():
        other.adapt(images[: 39 if name == "tables" else 40])
        assert np.array_equal(other._table, archiver._table) == (name != "tables")
        with pytest.raises(ValueError, match=r"another model.*Received: fingerprint=[0-9a-f]{16},"):
            other.decompress(data)
    # The encoder may be another: decoding does not use it.
    model.encoder.layers[-1].bias.assign(np.ones(4))
    assert archiver.decompress(data).shape == images.shape


def test_another_vae_is_refused(vae, coder, make_vae, test_images):
    data = coder.compress(test_images[:5])
    for part, layer in (("encoder", 1), ("decoder", 0)):
        other = make_vae()
        other.set_weights(vae.get_weights())
        bias = getattr(other, part).layers[layer].bias
        bias.assign(bias + 1e-3)
        with pytest.raises(ValueError, match="another model.*Received: fingerprint="):
            BitsBackCoder(other).decompress(data)
    other = make_vae(activation="silu")
    other.set_weights(vae.get_weights())
    with pytest.raises(ValueError, match="another model"):
        BitsBackCoder(other).decompress(data)


def test_the_stack_must_end_as_it_began(vae, test_images):
    """Were one probability another, in spite of all, it would not."""
    coder = BitsBackCoder(vae)
    data = coder.compress(test_images[:5])
    coder._probability = coder._probability * (1 - 2**-10)
    with pytest.raises(ValueError, match="does not end as it began. Received:"):
        coder.decompress(data)


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "digits.ael"
    write_file(path, b"first")
    write_file(str(path), b"second")
    assert path.read_bytes() == b"second"

    def fails(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="no space"):
        write_file(path, b"third")
    assert path.read_bytes() == b"second" and os.listdir(tmp_path) == ["digits.ael"]


PROGRAM = """
import sys
import aelib, numpy as np
from aelib.compression import BitsBackCoder
folder, = sys.argv[1:]
read = lambda name: open(f"{folder}/{name}", "rb").read()
archiver = aelib.load_model(f"{folder}/archiver.keras")
lossless = BitsBackCoder(aelib.load_model(f"{folder}/vae.keras"))
np.savez(f"{folder}/images.npz", lossy=archiver.decompress(read("lossy.ael")),
         lossless=lossless.decompress(read("lossless.ael")))
"""


def test_another_process_reads_what_this_one_wrote(
    archiver, images, vae, coder, test_images, tmp_path
):
    archiver.save(tmp_path / "archiver.keras")
    vae.save(tmp_path / "vae.keras")
    write_file(tmp_path / "lossy.ael", archiver.compress(images))
    write_file(tmp_path / "lossless.ael", coder.compress(test_images[:500]))
    threads = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], check=True, env={**os.environ, **threads}
    )
    found = np.load(tmp_path / "images.npz")
    promised = archiver.decompress((tmp_path / "lossy.ael").read_bytes())
    np.testing.assert_allclose(found["lossy"], promised, atol=1e-6)
    np.testing.assert_array_equal(found["lossless"], test_images[:500])
