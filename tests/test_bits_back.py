"""Lossless archives: file sizes against the bound, and every pixel back.

What both coders share, the bytes and the files, is tested here too.
"""

import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import threadpoolctl
from constriction import stream
from keras import layers
from scipy import special, stats

from aelib import bits_back
from aelib.autoencoder import Autoencoder
from aelib.bits_back import BitsBackCoder
from aelib.compression import Archiver, write_file
from aelib.losses import BernoulliCrossEntropy, GaussianNegativeLogLikelihood
from aelib.variational import VariationalAutoencoder

RNG = np.random.default_rng
HEADER = 26


def bits(data: bytes) -> int:
    """Of the words alone."""
    return 8 * (len(data) - HEADER - 4)


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
    np.testing.assert_array_equal(bits_back._dense(x * 256.0, kernel, bias), by_hand)
    v = by_hand / 256
    gelu = np.rint(256 * v * stats.norm.cdf(v))
    np.testing.assert_array_equal(bits_back._look_up(by_hand, table), gelu)

    means, levels = coder._posterior(x)
    mean, log_var = vae.posterior(test_images[:200])
    assert np.abs(means / 64 - mean).max() < 0.06
    deviation = np.exp((levels + bits_back._NARROWEST) / 8)
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
            bits_back._dense(v.astype(float), kernel, bias),
            bits_back._dense(v[:, order].astype(float), kernel[order], bias),
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
    stack = stream.stack.AnsCoder(np.ones(9, "uint32"))
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
    sigmoid = layers.Activation("sigmoid")
    for loss, tail in (
        (BernoulliCrossEntropy(from_logits=False), [sigmoid]),
        (GaussianNegativeLogLikelihood(), []),
    ):
        with pytest.raises(ValueError, match="Received: vae.loss="):
            BitsBackCoder(make_vae(loss, tail=tail))
    for other in (Autoencoder(*make_parts()), None):
        with pytest.raises(ValueError, match="Received: vae="):
            BitsBackCoder(other)
    for layer in (layers.BatchNormalization(), layers.LeakyReLU(), layers.Dropout(0.1)):
        with pytest.raises(ValueError, match="The decoder must be a stack.*Received: layer="):
            BitsBackCoder(make_vae(tail=[layer]))
    for activation in ("softmax", lambda v: v):
        with pytest.raises(ValueError, match="Received: layer='activation.*with activation="):
            BitsBackCoder(make_vae(tail=[layers.Activation(activation), layers.Dense(64)]))
    with pytest.raises(ValueError, match="The encoder must be a stack.*Received: layer=<Conv2D"):
        vae = make_vae()
        encoder = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(8, 8), layers.Flatten()])
        vae = VariationalAutoencoder(encoder, vae.decoder)
        vae.compile("adam", BernoulliCrossEntropy())
        BitsBackCoder(vae)
    with pytest.raises(
        ValueError, match="The encoder must be a keras.Sequential.*Received: encoder="
    ):
        inputs = keras.Input((8, 8, 1))
        vae = make_vae()
        vae = VariationalAutoencoder(keras.Model(inputs, vae.encoder(inputs)), vae.decoder)
        vae.compile("adam", BernoulliCrossEntropy())
        BitsBackCoder(vae)
    with pytest.raises(ValueError, match="see all 64 values. Received: layer=.* with 8"):
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


@pytest.fixture
def archiver(make_parts, images):
    model = Autoencoder(*make_parts())
    model.compile("sgd", BernoulliCrossEntropy())
    archiver = Archiver(model, step=0.1)
    archiver.adapt(images)
    return archiver


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


def forged(data: bytes, images=None, words=None) -> bytes:
    """With another number of images, or other words, and the checksum that belongs to them."""
    images = struct.unpack_from("<I", data, 10)[0] if images is None else images
    body = data[HEADER:-4] if words is None else np.asarray(words, "<u4").tobytes()
    body = data[:10] + struct.pack("<II", images, len(body) // 4) + data[18:HEADER] + body
    return body + struct.pack("<I", zlib.crc32(body))


def test_forged_numbers_of_images_are_seen(written):
    """By what is decoded, and not after memory for as many was asked for."""
    coder, data = written
    assert forged(data) == data
    n = len(coder.decompress(data))
    for images in (0, 1, n - 1, n + 1, n + 36, 1000, 10**6, 2**31, 2**32 - 1):
        tracemalloc.start()
        with pytest.raises(
            ValueError, match="(does not end|can hold .* at most|no image).*Received:"
        ):
            coder.decompress(forged(data, images))
        assert tracemalloc.get_traced_memory()[1] < 2**26
        tracemalloc.stop()


def test_forged_words_are_seen(written):
    coder, data = written
    n = len(coder.decompress(data))
    words = np.frombuffer(data[HEADER:-4], "<u4")
    others = [[], [0], [1], words[:-1], words[1:], words[::-1], [*words, 1], [*words, 0]]
    others += [RNG(seed).integers(1, 2**32, len(words)) for seed in range(20)]
    for other in others:
        for images in (n, 2**32 - 1):
            with pytest.raises(ValueError, match="Received:"):
                coder.decompress(forged(data, images, other))


def test_any_bytes_will_do(written):
    coder, data = written
    images = coder.decompress(data)
    for same in (bytearray(data), memoryview(data), memoryview(b"a" + data)[1:]):
        np.testing.assert_array_equal(coder.decompress(same), images)


def test_bytes_of_others_are_seen(written):
    coder, data = written
    for other in (b"\x89PNG\r\n\x1a\n" + data, b"PK", b"\0" * 1000, data[1:], data[::-1]):
        with pytest.raises(ValueError, match="archive must start with"):
            coder.decompress(other)
    for other in (None, 3, "aelib", np.frombuffer(data, "u1")):
        with pytest.raises(ValueError, match="Received: type"):
            coder.decompress(other)


def test_the_two_kinds_are_told_apart(archiver, images, coder, test_images):
    with pytest.raises(ValueError, match="start with b'aelibBBA'.*Received: .*aelibARC"):
        coder.decompress(archiver.compress(images))
    with pytest.raises(ValueError, match="start with b'aelibARC'.*Received: .*aelibBBA"):
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


def test_writers_of_one_file_do_not_collide(tmp_path):
    path = tmp_path / "digits.ael"
    contents = [bytes([number]) * 100_000 for number in range(4)]

    def write(content):
        for _ in range(30):
            write_file(path, content)
            assert path.read_bytes() in contents

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, contents))
    assert os.listdir(tmp_path) == ["digits.ael"]


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
