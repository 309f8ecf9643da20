"""Compression with an entropy coder: images in few bytes, or without any loss.

Lossy, `Archiver`: the code of an autoencoder is rounded to a grid, and every number of it written
in about -log2 of its frequency bits. Lossless, `BitsBackCoder`: black and white images in about
-log2 of their likelihood under a variational autoencoder, whose bound it nearly reaches.

Both give bytes of one kind, all numbers little-endian:

    magic (8 bytes), version (2), images (4), words (4), fingerprint (8), words (4 each), CRC-32 (4)

The fingerprint is that of all that decoding depends on: the shape of an image is known to who has
the right model. The words are the state of an asymmetric numeral system (ANS; Duda 2013) of the
library constriction, a stack: what is pushed last is popped first, and pushing undoes popping.
Probabilities are whole multiples of 2^-24, never 0. Header and checksum take 30 bytes.
"""

import hashlib
import math
import os
import struct
import zlib
from os import PathLike
from pathlib import Path

import keras
import numpy as np
from constriction import stream
from keras import ops
from scipy import special

from aelib.autoencoder import Autoencoder
from aelib.losses import BernoulliCrossEntropy
from aelib.variational import VariationalAutoencoder

_HEADER = struct.Struct("<8sHII8s")
_CHECKSUM = struct.Struct("<I")
_VERSION = 1

# Not "perfect", which needs logarithms: these models come from sums and products alone, so that
# every machine makes the same whole numbers of a table of whole numbers.
_CATEGORICAL = stream.model.Categorical(perfect=False)
_BERNOULLI = stream.model.Bernoulli(perfect=False)
_HALF_WORD = stream.model.Uniform(2**16)
_MOST_SYMBOLS = 2**16  # of a number of the code


def write_file(path: str | PathLike, data: bytes) -> None:
    """Writes `data` so that the file is either whole or as it was before."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@keras.saving.register_keras_serializable(package="aelib")
class Archiver(keras.Model):
    """Writes images as the rounded codes of an autoencoder, and reads them again.

    encoder -> whole numbers round(z / step) -> ANS -> bytes -> whole numbers -> decoder(step * n)

    `adapt(x)` counts, for each number of the code, how often every whole number occurs in the codes
    of training images. The probability of one that occurred c times is proportional to c + 1/2
    (Krichevsky & Trofimov 1981), also where c = 0 between the smallest and the largest. What lies
    outside is announced by an escape symbol, of count 0, and written plainly in 32 bits: any image
    can be written, and none is clipped. The numbers of a code are coded independently.

    All of the loss is in the rounding: `decompress` gives the images of exactly the whole numbers
    that `compress` had, on any machine, up to the float rounding of the decoder. The model called
    gives them too, without bytes in between. It is not trained itself: train the autoencoder.
    Rounding adds about the noise of a uniform variable, of deviation step / sqrt(12).

    PCA is the case of an autoencoder with one linear `Dense` layer in each half.

    Args:
        autoencoder: an `Autoencoder`, trained, whose code has one shape for all images.
        step: float above 0, in units of the code. The larger, the fewer bytes.

    Call arguments:
        x: `(batch, ...)`, images.

    Returns, when called: what the decoder gives for the rounded codes.

    Raises:
        ValueError: for arguments that are none of these, for images that are empty, not finite or
            of another shape, without `adapt`, and from `decompress` for bytes that are not whole,
            not an archive, of a newer version, or written with another archiver.

    Example:

        archiver = Archiver(autoencoder, step=0.25)
        archiver.adapt(x_train)
        write_file("digits.ael", archiver.compress(x_test))
        x_hat = archiver.decompress(Path("digits.ael").read_bytes())

    References: Goyal, "Theoretical foundations of transform coding", 2001; Krichevsky & Trofimov,
    "The performance of universal encoding", 1981.
    """

    def __init__(self, autoencoder, step: float, **kwargs):
        if not isinstance(autoencoder, Autoencoder):
            raise ValueError(
                f"The autoencoder is an aelib Autoencoder. Received: autoencoder={autoencoder!r}"
            )
        if isinstance(autoencoder, VariationalAutoencoder):
            raise ValueError(
                "The code of a variational autoencoder is a distribution: use BitsBackCoder. "
                f"Received: autoencoder={autoencoder!r}"
            )
        is_number = isinstance(step, int | float | np.number) and not isinstance(step, bool)
        if not is_number or not 0 < step < math.inf:
            raise ValueError(f"step is a finite number above 0. Received: step={step!r}")
        super().__init__(**kwargs)
        self.autoencoder = autoencoder
        self.step = float(step)
        self._lowest = None  # smallest whole number of each number of the code, in its shape
        self._table = None  # (numbers of the code, symbols + 1), twice the counts; last the escape
        if autoencoder.built:
            self.built = True

    def build(self, input_shape):
        self.autoencoder.build(input_shape)

    def call(self, x):
        z = ops.cast(self.autoencoder.encoder(x), "float32")
        return self.autoencoder.decoder(self.step * ops.round(z / self.step))

    def adapt(self, x) -> None:
        """Fits the probability tables to the codes of images, `(n, ...)`, and forgets older ones.

        Raises:
            ValueError: if a step so small would need tables of more than 65,536 symbols.
        """
        codes = self._rounded(x)
        lowest, highest = codes.min(axis=0), codes.max(axis=0)
        symbols = int((highest - lowest).max()) + 1
        if symbols > _MOST_SYMBOLS:
            raise ValueError(
                f"A number of the code takes at most {_MOST_SYMBOLS:,} values: use a larger step. "
                f"Received: step={self.step}, for {symbols:,} values"
            )
        columns = (codes - lowest).reshape(len(codes), -1).T
        counts = np.stack([np.bincount(column, minlength=symbols) for column in columns])
        # 2 (c + 1/2) in whole numbers. Beyond a number's own largest value the coder's smallest
        # probability is left, which is still shorter than an escape.
        seen = np.arange(symbols) <= (highest - lowest).reshape(-1, 1)
        table = np.where(seen, 2 * counts + 1, 0)
        self._table = np.pad(table, ((0, 0), (0, 1)), constant_values=1).astype("uint32")
        self._lowest = lowest

    def compress(self, x) -> bytes:
        """Bytes of images, `(n, ...)`."""
        table = self._adapted()
        codes = self._rounded(x)
        if codes.shape[1:] != self._lowest.shape:
            raise ValueError(
                f"A code has the shape {self._lowest.shape} that it had in adapt. "
                f"Received: x.shape={np.shape(x)}, with codes of {codes.shape[1:]}"
            )
        escape = table.shape[1] - 1
        symbols = codes - self._lowest
        outside = (symbols < 0) | (symbols >= escape)
        symbols = np.where(outside, escape, symbols).astype("int32").reshape(len(codes), -1)
        coder = stream.stack.AnsCoder()
        plain = codes[outside].astype("<i4").view("<u2").astype("int32")
        coder.encode_reverse(plain, _HALF_WORD)
        for column, model in reversed(list(zip(symbols.T, self._models(), strict=True))):
            coder.encode_reverse(np.ascontiguousarray(column), model)
        return _pack(b"aelibARC", self._fingerprint(), len(codes), coder.get_compressed())

    def decompress(self, data: bytes) -> np.ndarray:
        """The images of bytes from `compress`: float32 `(n, ...)`, as `Autoencoder.decode`."""
        table = self._adapted()
        images, words = _unpack(b"aelibARC", self._fingerprint(), data)
        coder = stream.stack.AnsCoder(words)
        symbols = np.stack([coder.decode(model, images) for model in self._models()], axis=1)
        symbols = symbols.reshape(images, *self._lowest.shape)
        codes = symbols + self._lowest
        outside = symbols == table.shape[1] - 1
        plain = coder.decode(_HALF_WORD, 2 * int(outside.sum()))
        codes[outside] = plain.astype("<u2").view("<i4")
        return self.autoencoder.decode((self.step * codes).astype("float32"))

    @property
    def decoder_bytes(self) -> int:
        """What a reader of the bytes must have: the decoder's weights and the tables, in bytes."""
        arrays = [*_weights(self.autoencoder.decoder), self._adapted(), self._lowest]
        return sum(array.nbytes for array in arrays)

    def _rounded(self, x) -> np.ndarray:
        z = self.autoencoder.encode(x) / np.float32(self.step)
        if not (np.abs(z) < 2**31).all():
            raise ValueError(
                "Rounded codes are whole numbers of 32 bits: use a larger step. "
                f"Received: step={self.step}, for codes up to {np.abs(z).max() * self.step:.3g}"
            )
        return np.rint(z).astype("int64")

    def _adapted(self) -> np.ndarray:
        if self._table is None:
            raise ValueError("Call adapt(x) with training images first. Received: no tables")
        return self._table

    def _models(self) -> list:
        rows = self._table.astype("float64")
        return [stream.model.Categorical(row, perfect=False) for row in rows]

    def _fingerprint(self) -> bytes:
        step = np.float64(self.step)
        return _digest(step, self._lowest, self._table, *_weights(self.autoencoder.decoder))

    # Files

    def save_own_variables(self, store):
        if self._table is not None:
            store["lowest"], store["table"] = self._lowest, self._table

    def load_own_variables(self, store):
        if "table" in store:
            self._lowest, self._table = np.array(store["lowest"]), np.array(store["table"])

    def get_config(self):
        autoencoder = keras.saving.serialize_keras_object(self.autoencoder)
        return {**super().get_config(), "autoencoder": autoencoder, "step": self.step}

    @classmethod
    def from_config(cls, config):
        autoencoder = keras.saving.deserialize_keras_object(config["autoencoder"])
        return cls(**{**config, "autoencoder": autoencoder})


# Bits back. Everything from here on is in whole numbers, held in float64 where matrices are
# multiplied: sums below 2^53 are exact there, in any order.

_UNIT = 2**8  # activations are multiples of 1 / 256
_WEIGHT_UNIT = 2**12
_LARGEST = 64  # activations end at +-64
_LARGEST_LOGIT = 16  # a probability of 2^-23
_BINS = 64  # latents are multiples of 1/64
_FARTHEST = 8  # means of latents end at +-8
_LEVELS = 8  # log-deviations are multiples of 1/8
_NARROWEST, _WIDEST = -4 * _LEVELS, _LEVELS // 4  # from exp(-4) to exp(1/4)
_TAIL = 5  # deviations
_BATCH = 1000

_ELEMENTWISE = {
    keras.activations.get(name): name
    for name in "elu gelu leaky_relu relu selu sigmoid silu softplus tanh".split()
}


class BitsBackCoder:
    """Writes black and white images without loss in about -log2 p(x) bits: bits-back with ANS.

    A latent need not be written for nothing: the choice of z from q(z|x) can carry other bits. Of
    each image, with the bytes written so far as a stack,

        pop z with q(z|x);  push x with p(x|z);  push z with p(z)

    which makes the stack longer by -log p(x|z) - log p(z) + log q(z|x) on average: -ELBO.
    Decompression does the same backwards, and so gives the images and the popped bits back.
    The first image needs bits to pop: fixed ones, three bytes for each latent and eight more,
    which stay in the file (160 bytes with 50 latents) and are counted with it.

    The decoder must find the same probabilities to the last bit, or every image after it is lost.
    Float arithmetic does not promise that: it differs with batch shapes, threads and machines.
    Here both networks are run in whole numbers. Weights and activations are rounded to multiples
    of 2^-12 and 2^-8, so that matrix products are sums of whole numbers below 2^53, exact in
    float64 in any order; activation functions, the logistic function and Gaussians are tables of
    whole numbers, made once, under the fingerprint. Latents are multiples of 1/64, the width of a
    bin cancelling between p(z) and q(z|x), and log-deviations multiples of 1/8. Whatever lies
    outside the tables (activations beyond 64, logits beyond 16, means beyond 8) is clipped,
    which costs bits and no image.

    Args:
        vae: a `VariationalAutoencoder`, trained with `BernoulliCrossEntropy()` on logits, whose
            encoder and decoder are `Sequential` stacks of `Dense`, `Activation`, `Flatten` and
            `Reshape`. Its weights are those at this moment: later training has no effect here.

    Raises:
        ValueError: for another model, loss, layer or activation, for weights so large that sums
            are not exact, for images that are empty, not 0 and 1 or of another shape, and from
            `decompress` as `Archiver`.

    References: Frey & Hinton, "Free energy coding", 1996; Townsend, Bird & Barber, "Practical
    lossless compression with latent variables using bits back coding", 2019; Balle, Johnston &
    Minnen, "Integer networks for data compression with latent-variable models", 2019.
    """

    def __init__(self, vae: VariationalAutoencoder):
        if not isinstance(vae, VariationalAutoencoder) or not vae.built:
            raise ValueError(f"vae is a built VariationalAutoencoder. Received: vae={vae!r}")
        if not isinstance(vae.loss, BernoulliCrossEntropy) or not vae.loss.from_logits:
            raise ValueError(
                "Black and white pixels have the likelihood BernoulliCrossEntropy(from_logits="
                f"True). Received: vae.loss={vae.loss!r}"
            )
        self._vae = vae
        self._tail = math.ceil(_TAIL * _BINS * math.exp(_WIDEST / _LEVELS))
        self._farthest = _FARTHEST * _BINS + self._tail
        self._encoder = _WholeNumberStack("encoder", vae.encoder, 1)
        self._decoder = _WholeNumberStack("decoder", vae.decoder, self._farthest / _BINS)
        logits = np.arange(-_LARGEST_LOGIT * _UNIT, _LARGEST_LOGIT * _UNIT + 1) / _UNIT
        self._probability = np.rint(special.expit(logits) * 2**24) / 2**24
        deviations = np.exp(np.arange(_NARROWEST, _WIDEST + 1) / _LEVELS)
        self._posteriors = np.stack([_gaussian(s, self._tail) for s in deviations])
        prior = _gaussian(1.0, self._farthest)
        self._prior = stream.model.Categorical(prior, perfect=False)
        # As many bits as the latents of one image can pop, and the 64 of the coder's state.
        words = math.ceil(self._decoder.inputs * 24 / 32) + 2
        self._first_words = np.frombuffer(hashlib.shake_256().digest(4 * words), "<u4")
        tables = self._probability, self._posteriors, prior
        self._fingerprint = _digest(*self._encoder.arrays, *self._decoder.arrays, *tables)

    def compress(self, x) -> bytes:
        """Bytes of images of 0 and 1, `(n, ...)`."""
        x = self._vae._checked("x", x)
        if not ((x == 0) | (x == 1)).all():
            raise ValueError(
                "Pixels are 0 and 1: binarise the images first. "
                f"Received: x with other values between {x.min()} and {x.max()}"
            )
        x = x.reshape(len(x), -1).astype("int32")
        coder = stream.stack.AnsCoder(self._first_words)
        for start in range(0, len(x), _BATCH):
            batch = x[start : start + _BATCH]
            for image, mean, level in zip(batch, *self._posterior(batch), strict=True):
                popped = coder.decode(_CATEGORICAL, self._posteriors[level])
                z = mean + popped - self._tail
                coder.encode_reverse(image, _BERNOULLI, self._likelihood(z))
                coder.encode_reverse((z + self._farthest).astype("int32"), self._prior)
        return _pack(b"aelibBBA", self._fingerprint, len(x), coder.get_compressed())

    def decompress(self, data: bytes) -> np.ndarray:
        """The images of bytes from `compress`, float32 `(n, ...)`, every pixel as it was."""
        images, words = _unpack(b"aelibBBA", self._fingerprint, data)
        coder = stream.stack.AnsCoder(words)
        x = np.empty((images, self._encoder.inputs), "int32")
        for image in x[::-1]:
            z = coder.decode(self._prior, self._decoder.inputs) - self._farthest
            image[:] = coder.decode(_BERNOULLI, self._likelihood(z))
            (mean,), (level,) = self._posterior(image[None])
            popped = (z - mean + self._tail).astype("int32")
            coder.encode_reverse(popped, _CATEGORICAL, self._posteriors[level])
        if not np.array_equal(coder.get_compressed(), self._first_words):
            raise ValueError("The stack does not end as it began. Received: data with other bits")
        return x.reshape(images, *self._vae.encoder.input_shape[1:]).astype("float32")

    def _posterior(self, x) -> tuple[np.ndarray, np.ndarray]:
        """For each latent its mean, in bins, and which of the deviations it has."""
        means, log_vars = np.split(self._encoder(x * float(_UNIT)), 2, axis=1)
        means = np.rint(means * (_BINS / _UNIT)).clip(-_FARTHEST * _BINS, _FARTHEST * _BINS)
        levels = np.rint(0.5 * log_vars * (_LEVELS / _UNIT)).clip(_NARROWEST, _WIDEST)
        return means.astype(int), (levels - _NARROWEST).astype(int)

    def _likelihood(self, z) -> np.ndarray:
        """The probability of each pixel to be 1, given latents in bins."""
        (logits,) = self._decoder(z[None] * float(_UNIT // _BINS))
        end = _LARGEST_LOGIT * _UNIT
        return self._probability[logits.clip(-end, end).astype(int) + end]


class _WholeNumberStack:
    """A stack of dense layers on whole numbers: `(n, inputs)` to `(n, outputs)`, in 1/256."""

    def __init__(self, name: str, model, largest: float):
        self.arrays, self._steps = [], []
        self.inputs = width = math.prod(model.input_shape[1:])
        largest = largest * _UNIT
        for layer in _leaves(name, model):
            if isinstance(layer, keras.layers.Dense):
                if layer.kernel.shape[0] != width:
                    raise ValueError(
                        f"A Dense layer of the {name} sees all {width} numbers. "
                        f"Received: layer={layer.name!r} with {layer.kernel.shape[0]}"
                    )
                width = layer.units
                kernel = np.rint(np.asarray(layer.kernel, "float64") * _WEIGHT_UNIT)
                bias = np.zeros(width) if layer.bias is None else np.asarray(layer.bias, "float64")
                bias = np.rint(bias * _WEIGHT_UNIT * _UNIT)
                bound = (np.abs(kernel).sum(axis=0) * largest + np.abs(bias)).max()
                if not bound < 2**53:
                    raise ValueError(
                        f"Sums of the {name} stay below 2^53. "
                        f"Received: layer={layer.name!r} with sums up to {bound:.3g}"
                    )
                largest = bound / _WEIGHT_UNIT
                self.arrays += [kernel, bias]
                self._steps.append((_dense, kernel, bias))
            activation = getattr(layer, "activation", None)
            if activation not in (None, keras.activations.linear):
                table = _activation_table(name, layer)
                largest = np.abs(table).max()
                self.arrays.append(table)
                self._steps.append((_look_up, table))

    def __call__(self, v: np.ndarray) -> np.ndarray:
        for step, *arrays in self._steps:
            v = step(v, *arrays)
        return v


def _dense(v, kernel, bias):
    return np.rint((v @ kernel + bias) / _WEIGHT_UNIT)


def _look_up(v, table):
    end = _LARGEST * _UNIT
    return table[v.clip(-end, end).astype(int) + end]


def _activation_table(name: str, layer) -> np.ndarray:
    if layer.activation not in _ELEMENTWISE:
        raise ValueError(
            f"Activations of the {name} are linear or one of {sorted(_ELEMENTWISE.values())}. "
            f"Received: layer={layer.name!r} with activation={layer.activation!r}"
        )
    # In float64: its errors are far below the unit, and do not move the rounded number.
    v = np.arange(-_LARGEST * _UNIT, _LARGEST * _UNIT + 1) / _UNIT
    return np.rint(np.asarray(layer.activation(ops.convert_to_tensor(v))) * _UNIT)


def _leaves(name: str, model):
    """Layers of a stack, those of stacks inside it too, without what only changes shapes."""
    if not isinstance(model, keras.Sequential):
        raise ValueError(f"The {name} is a keras.Sequential. Received: {name}={model!r}")
    for layer in model.layers:
        if isinstance(layer, keras.Sequential):
            yield from _leaves(name, layer)
        elif isinstance(layer, keras.layers.Dense | keras.layers.Activation):
            yield layer
        elif not isinstance(layer, keras.layers.Flatten | keras.layers.Reshape):
            raise ValueError(
                f"The {name} is a stack of Dense, Activation, Flatten and Reshape layers. "
                f"Received: layer={layer!r}"
            )


def _gaussian(deviation: float, tail: int) -> np.ndarray:
    """Probabilities of the bins -tail..tail under N(0, deviation^2), times 2^24, rounded."""
    edges = (np.arange(tail + 2) - 0.5) / (deviation * _BINS)
    below = special.ndtr(-edges)
    half = below[:-1] - below[1:]
    return np.rint(np.concatenate([half[:0:-1], half]) * 2**24)


# Bytes


def _weights(model) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in model.weights]


def _digest(*arrays) -> bytes:
    digest = hashlib.sha256()
    for array in map(np.asarray, arrays):
        digest.update(f"{array.dtype.name}{array.shape}".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.digest()[:8]


def _pack(magic: bytes, fingerprint: bytes, images: int, words) -> bytes:
    body = _HEADER.pack(magic, _VERSION, images, len(words), fingerprint)
    body += words.astype("<u4").tobytes()
    return body + _CHECKSUM.pack(zlib.crc32(body))


def _unpack(magic: bytes, fingerprint: bytes, data: bytes) -> tuple[int, np.ndarray]:
    """How many images there are, and the words, of bytes that are exactly as they were written."""
    if not isinstance(data, bytes):
        raise ValueError(f"data is bytes. Received: type(data)={type(data).__name__}")
    if data[:8] != magic[: len(data)]:
        raise ValueError(
            f"These are no bytes of this coder, which begin with {magic!r}. "
            f"Received: data beginning with {data[:8]!r}"
        )
    if len(data) < _HEADER.size + _CHECKSUM.size:
        raise ValueError(f"The data ends in its header. Received: len(data)={len(data)}")
    _, version, images, count, written_with = _HEADER.unpack_from(data)
    if version > _VERSION:
        raise ValueError(
            f"The data is of a newer version than {_VERSION}. Received: version={version}"
        )
    expected = _HEADER.size + 4 * count + _CHECKSUM.size
    if len(data) != expected:
        what = "cut off" if len(data) < expected else "followed by other bytes"
        raise ValueError(
            f"The data is {what}: its header says {expected} bytes. Received: len(data)={len(data)}"
        )
    (checksum,) = _CHECKSUM.unpack(data[-_CHECKSUM.size :])
    if zlib.crc32(data[: -_CHECKSUM.size]) != checksum:
        raise ValueError(f"The data is damaged. Received: checksum={checksum:#010x}")
    if written_with != fingerprint:
        raise ValueError(
            "The data was written with another model (weights, step or tables). "
            f"Received: fingerprint={written_with.hex()}, here {fingerprint.hex()}"
        )
    return images, np.frombuffer(data, "<u4", count, _HEADER.size).astype("uint32")
