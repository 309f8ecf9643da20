"""Lossy compression: the rounded code of an autoencoder, written by an entropy coder.

Each dimension of the code is written in about -log2 of its frequency bits, with an asymmetric
numeral system (ANS; Duda 2013), a stack: the last symbol pushed is popped first. Probabilities
are multiples of 2^-24, never 0. `BitsBackCoder`, in `aelib.bits_back`, is lossless. Invalid
arguments and bytes that are damaged or another model's raise `ValueError`.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from aelib._checks import number, whole
from aelib._container import check_end, digest, pack, stream, unpack, weights_of
from aelib._files import write_whole as write_file  # noqa: F401  (a public name of this module)
from aelib._settings import Penalty
from aelib.autoencoder import Autoencoder
from aelib.bits_back import BitsBackCoder  # noqa: F401  (a public name of this module)
from aelib.ladder import LadderNetwork
from aelib.losses import per_image
from aelib.noise import uniform
from aelib.training import mean as images_mean
from aelib.variational import VariationalAutoencoder

_MAGIC = b"aelibARC"
_HALF_WORD = stream.model.Uniform(2**16)
_MOST_SYMBOLS = 2**16  # of a dimension of the code
_FIRST_WORDS = np.array([2**24], "uint32")  # on a stack below this, symbols may be free


@keras.saving.register_keras_serializable(package="aelib")
class RateTerm(Penalty, keras.layers.Layer):
    """Adds `weight` times the bits of a rounded code to the loss, and in training rounding's noise.

    Rounding to a multiple of `step` has no gradient. In training uniform noise between -step / 2
    and step / 2 stands in for it, and each dimension has a learned density, a mixture of logistic
    ones. Of a code z the bits are

        -sum over dimensions of log2 P(z),    P(z) = F(z + step / 2) - F(z - step / 2)

    with the mixture's distribution function F: P is the density of the noisy code, times the step,
    and on multiples of the step it is a probability of integers. The loss gains `weight` times the
    bits of the noisy code, averaged over images, in float32; a metric with the layer's name shows
    the bits. In use the code passes as it is, and the bits are those of the rounded code.

    Args:
        weight: float >= 0, the lambda: units of the loss per bit.
        step: float > 0, in units of the code; that of the `Archiver`, which counts its own tables.
        components: int >= 1, logistic densities in the mixture of each dimension.
        seed: int >= 0, repeats the same sequence of noise; None draws one.

    Call arguments: `z`, codes `(batch, ...)`, and `training`, whether to add noise.
    Output shape: that of `z`; all axes but the first are dimensions of the code.

    References: Balle, Laparra & Simoncelli, "End-to-end optimized image compression", 2017; Theis,
    Shi, Cunningham & Huszar, "Lossy image compression with compressive autoencoders", 2017.
    """

    def __init__(
        self,
        weight: float,
        step: float = 1.0,
        components: int = 3,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(weight=weight, **kwargs)
        self.step = number("step", step, 0, above=True)
        self.components = whole("components", components, 1)
        self.seed = None if seed is None else whole("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def build(self, input_shape):
        shape = (self.components, *input_shape[1:])
        spread = {"dtype": "float32", "autocast": False}
        # One density at 0, and more around it: equal ones would stay equal.
        start = self.step * (np.arange(self.components) - (self.components - 1) / 2)
        start = np.broadcast_to(start.reshape(-1, *[1] * (len(shape) - 1)), shape)
        zeros, wide = "zeros", keras.initializers.Constant(np.log(self.step))
        self.logits = self.add_weight(shape, zeros, name="logits", **spread)
        self.centres = self.add_weight(shape, zeros, name="centres", **spread)
        self.log_scales = self.add_weight(shape, wide, name="log_scales", **spread)
        self.centres.assign(start)

    def bits(self, z):
        """Of each code, `(batch,)`; those of the integers z / step where z is rounded."""
        z = ops.expand_dims(ops.cast(z, "float32"), 1)  # beside the components
        scales = ops.exp(self.log_scales)
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), and no 0 far outside.
        above = (z + self.step / 2 - self.centres) / scales
        below = (z - self.step / 2 - self.centres) / scales
        log_p = ops.log_sigmoid(above) + ops.log_sigmoid(-below)
        log_p += ops.log(-ops.expm1(-self.step / scales)) + ops.log_softmax(self.logits, axis=0)
        return per_image(-ops.logsumexp(log_p, axis=1)) / math.log(2)

    def call(self, z, training=False):
        if training:
            noise = self.step * (uniform(ops.shape(z), self.seed_generator) - 0.5)
            z = z + ops.cast(noise, z.dtype)
            bits = self.bits(z)
        else:
            bits = self.bits(self.step * ops.round(ops.cast(z, "float32") / self.step))
        self._metric.update_state(bits)
        self.add_loss(ops.multiply(self.weight, images_mean(bits)))
        return z

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        more = {"step": self.step, "components": self.components, "seed": self.seed}
        return {**super().get_config(), **more}


@keras.saving.register_keras_serializable(package="aelib")
class Archiver(keras.Model):
    """Writes images as the rounded codes of an autoencoder, round(z / step), and reads them again.

    `adapt(x)` counts, for each dimension of the code, how often every integer occurs in the codes
    of training images. The probability of one that occurred c times is proportional to c + 1/2,
    also where c = 0 between the smallest and the largest. Integers outside are written as an
    escape symbol and 32 bits, so no image is clipped.

    All of the loss is in the rounding, which adds about the noise of a uniform variable with
    standard deviation step / sqrt(12). `decompress` decodes exactly the integers of `compress`, on
    any machine; the model, called, gives the same images without bytes. Train the autoencoder, not
    the archiver. Few bytes may hold many images where the codes hardly vary, but never more than
    the tables allow: bytes that declare more, or that do not end as they began, are refused.

    Args:
        autoencoder: a trained `Autoencoder` whose code is one array, of one shape for all images;
            not a `VariationalAutoencoder` (see `BitsBackCoder`) or a `LadderNetwork`.
        step: float > 0, in units of the code. The larger, the fewer bytes.

    Call arguments:
        x: `(batch, ...)`, images. The output is images too, also where the decoder gives logits.

    References: Goyal, "Theoretical foundations of transform coding", 2001; Krichevsky & Trofimov,
    "The performance of universal encoding", 1981.
    """

    def __init__(self, autoencoder: Autoencoder, step: float, **kwargs):
        refused = isinstance(autoencoder, VariationalAutoencoder | LadderNetwork)
        if not isinstance(autoencoder, Autoencoder) or refused:
            expected = (
                "an Autoencoder, not a LadderNetwork; for a variational one use BitsBackCoder"
            )
            raise ValueError(f"`autoencoder` must be {expected}. Received: {autoencoder=}")
        super().__init__(**kwargs)
        self.autoencoder = autoencoder
        self.step = number("step", step, 0, above=True)
        self._lowest: Any = None  # smallest integer of each dimension, in the code's shape
        self._table: Any = None  # (dimensions, symbols + 1), twice the counts; the escape is last
        shape = getattr(autoencoder.encoder, "input_shape", None)
        shape = (autoencoder.get_build_config() or {"input_shape": shape})["input_shape"]
        if shape is not None:  # `export` asks for a call, and this one needs no images
            x = keras.tree.map_shape_structure(keras.KerasTensor, shape)
            _one_code(autoencoder.encoder(x))
            self(x)

    def build(self, input_shape):
        if not self.autoencoder.built:
            self.autoencoder.build(input_shape)

    def call(self, x):
        z = ops.cast(_one_code(self.autoencoder.encoder(x)), "float32")
        output = self.autoencoder.decoder(self.step * ops.round(z / self.step))
        return self.autoencoder.as_images(output)

    def adapt(self, x: ArrayLike) -> None:
        """Fits the tables to the codes of images, `(n, ...)`, and forgets older ones."""
        codes = self._rounded(x)
        lowest, highest = codes.min(axis=0), codes.max(axis=0)
        symbols = int((highest - lowest).max()) + 1
        if symbols > _MOST_SYMBOLS:
            received = f"step={self.step}, for {symbols:,} values"
            limit = f"A dimension must have at most {_MOST_SYMBOLS:,} values: use a larger step"
            raise ValueError(f"{limit}. Received: {received}")
        columns = (codes - lowest).reshape(len(codes), -1).T
        counts = np.stack([np.bincount(column, minlength=symbols) for column in columns])
        # 2 (c + 1/2) as integers. Beyond a dimension's own largest value the coder's smallest
        # probability is left, which is still shorter than an escape.
        seen = np.arange(symbols) <= (highest - lowest).reshape(-1, 1)
        table = np.where(seen, 2 * counts + 1, 0)
        self._table = np.pad(table, ((0, 0), (0, 1)), constant_values=1).astype("uint32")
        self._lowest = lowest

    def compress(self, x: ArrayLike) -> bytes:
        """The bytes of images, `(n, ...)`."""
        escape = self._adapted().shape[1] - 1
        codes = self._rounded(x)
        if codes.shape[1:] != self._lowest.shape:
            received = f"x.shape={np.shape(x)}, with codes of {codes.shape[1:]}"
            expected = f"{self._lowest.shape} as in adapt"
            raise ValueError(f"Codes must be {expected}. Received: {received}")
        symbols = codes - self._lowest
        outside = (symbols < 0) | (symbols >= escape)
        symbols = np.where(outside, escape, symbols).astype("int32").reshape(len(codes), -1)
        coder = stream.stack.AnsCoder(_FIRST_WORDS)
        coder.encode_reverse(codes[outside].astype("<i4").view("<u2").astype("int32"), _HALF_WORD)
        for column, model in reversed(list(zip(symbols.T, self._models(), strict=True))):
            coder.encode_reverse(np.ascontiguousarray(column), model)
        return pack(_MAGIC, self._fingerprint(), len(codes), coder.get_compressed())

    def decompress(self, data: bytes) -> NDArray:
        """The images of bytes from `compress`: float32 `(n, ...)`. See `Autoencoder.decode`."""
        escape = self._adapted().shape[1] - 1
        images, words = unpack(_MAGIC, self._fingerprint(), data)
        if images > (most := 33 * len(words) / self._fewest_bits()):  # 32, and what rounding takes
            received = f"{images} images in {len(words)} words"
            raise ValueError(f"The words can hold {most:.0f} images at most. Received: {received}")
        coder = stream.stack.AnsCoder(words)
        symbols = np.stack([coder.decode(model, images) for model in self._models()], axis=1)
        codes = symbols.reshape(images, *self._lowest.shape) + self._lowest
        outside = codes == self._lowest + escape
        plain = coder.decode(_HALF_WORD, 2 * int(outside.sum()))
        check_end(coder.get_compressed(), _FIRST_WORDS)
        codes[outside] = plain.astype("<u2").view("<i4")
        return self.autoencoder.decode((self.step * codes).astype("float32"))

    @property
    def decoder_bytes(self) -> int:
        """Size of what a reader of the bytes must have: the decoder's weights and the tables."""
        arrays = [*weights_of(self.autoencoder.decoder), self._adapted(), self._lowest]
        return sum(array.nbytes for array in arrays)

    def _rounded(self, x):
        z = _one_code(self.autoencoder.encode(x)) / np.float32(self.step)
        if not (np.abs(z) < 2**31).all():
            received = f"step={self.step}, for codes up to {np.abs(z).max() * self.step:.3g}"
            expected = "integers of 32 bits: use a larger step"
            raise ValueError(f"Rounded codes must be {expected}. Received: {received}")
        return np.rint(z).astype("int64")

    def _adapted(self):
        if self._table is None:
            raise ValueError("Call adapt(x) with training images first. Received: no tables")
        return self._table

    def _models(self):
        # Not "perfect", which needs logarithms: sums and products are the same on every machine.
        rows = self._table.astype("float64")
        return [stream.model.Categorical(row, perfect=False) for row in rows]

    def _fewest_bits(self):
        """No image takes fewer: those of the likeliest symbols, as `_models` rounds them."""
        share = self._table.max(axis=1) / self._table.sum(axis=1, dtype="float64")
        return -np.log2(np.minimum(share + 2 * 2.0**-24, 1 - 2.0**-24)).sum()

    def _fingerprint(self):
        weights = weights_of(self.autoencoder.decoder)
        return digest(np.float64(self.step), self._lowest, self._table, *weights)

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


def _one_code(z):
    if isinstance(z, dict | list | tuple):
        raise ValueError(f"The code must be one array. Received: an encoder of {len(z)} outputs")
    return z
