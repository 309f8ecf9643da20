"""Lossless compression of black and white images with a variational autoencoder: bits-back coding.

All arithmetic is on integers, held in float64 where matrices are multiplied: sums below 2^53 are
exact there, in any order. Invalid models, images and bytes raise `ValueError`.
"""

import hashlib
import math

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray
from scipy import special

from aelib._checks import array
from aelib._container import check_end, digest, pack, stream, unpack
from aelib.losses import BernoulliCrossEntropy
from aelib.variational import VariationalAutoencoder

_MAGIC = b"aelibBBA"
# Not "perfect", which needs logarithms: sums and products alone are the same on every machine.
_CATEGORICAL = stream.model.Categorical(perfect=False)
_BERNOULLI = stream.model.Bernoulli(perfect=False)

_UNIT = 2**8  # activations are multiples of 1 / 256
_WEIGHT_UNIT = 2**12
_LARGEST = 64  # activations end at +-64
_LARGEST_LOGIT = 16  # a probability of 2^-23
_BINS = 64  # latents are multiples of 1/64
_FARTHEST = 8  # means of latents end at +-8
_LEVELS = 8  # log standard deviations are multiples of 1/8
_NARROWEST, _WIDEST = -4 * _LEVELS, _LEVELS // 4  # from exp(-4) to exp(1/4)
_TAIL = 5  # standard deviations
_BATCH = 1000

_NAMES = ["elu", "gelu", "leaky_relu", "relu", "selu", "sigmoid", "silu", "softplus", "tanh"]
_ELEMENTWISE = {keras.activations.get(name) for name in _NAMES}


class BitsBackCoder:
    """Writes black and white images without loss in about -log2 p(x) bits: bits-back with ANS.

    The choice of a latent z from q(z|x) can carry other bits. For each image, with the bytes
    written so far as a stack,

        pop z with q(z|x);  push x with p(x|z);  push z with p(z)

    which makes the stack longer by -log p(x|z) - log p(z) + log q(z|x), on average the negative
    ELBO. Decompression does the same backwards. The first image pops fixed bits, three bytes for
    each latent and eight more, which stay in the file.

    Both networks run on integers, so that probabilities are the same to the last bit: weights are
    multiples of 2^-12, activations of 2^-8, latents of 1/64, log standard deviations of 1/8.
    Activations beyond 64, logits beyond 16 and means beyond 8 are clipped: no image is lost.

    Args:
        vae: a `VariationalAutoencoder`, trained with `BernoulliCrossEntropy()` on logits, whose
            encoder and decoder are `Sequential` stacks of `Dense`, `Activation`, `Flatten` and
            `Reshape`. Later training has no effect on the coder.

    References: Frey & Hinton, "Free energy coding", 1996; Townsend, Bird & Barber, "Practical
    lossless compression with latent variables using bits back coding", 2019; Balle, Johnston &
    Minnen, "Integer networks for data compression with latent-variable models", 2019.
    """

    def __init__(self, vae: VariationalAutoencoder):
        if not isinstance(vae, VariationalAutoencoder) or not vae.built:
            raise ValueError(f"`vae` must be a built VariationalAutoencoder. Received: vae={vae!r}")
        if not isinstance(vae.loss, BernoulliCrossEntropy) or not vae.loss.from_logits:
            loss = "BernoulliCrossEntropy(from_logits=True)"
            raise ValueError(f"The loss must be {loss}. Received: vae.loss={vae.loss!r}")
        self._shape = vae.encoder.input_shape[1:]
        self._tail = math.ceil(_TAIL * _BINS * math.exp(_WIDEST / _LEVELS))
        self._farthest = _FARTHEST * _BINS + self._tail
        self._encoder = _IntegerStack("encoder", vae.encoder, 1)
        self._decoder = _IntegerStack("decoder", vae.decoder, self._farthest / _BINS)
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
        self._fingerprint = digest(*self._encoder.arrays, *self._decoder.arrays, *tables)

    def compress(self, x: ArrayLike) -> bytes:
        """The bytes of images of 0 and 1, `(n, ...)`."""
        x = array("x", x, rank=1)
        if x.shape[1:] != self._shape:
            raise ValueError(f"Images must be {self._shape}. Received: x.shape={x.shape}")
        if not ((x == 0) | (x == 1)).all():
            received = f"x with other values between {x.min()} and {x.max()}"
            raise ValueError(f"Pixels must be 0 or 1: binarise the images. Received: {received}")
        x = x.reshape(len(x), -1).astype("int32")
        coder = stream.stack.AnsCoder(self._first_words)
        for start in range(0, len(x), _BATCH):
            batch = x[start : start + _BATCH]
            for image, mean, level in zip(batch, *self._posterior(batch), strict=True):
                popped = coder.decode(_CATEGORICAL, self._posteriors[level])
                z = mean + popped - self._tail
                coder.encode_reverse(image, _BERNOULLI, self._likelihood(z))
                coder.encode_reverse((z + self._farthest).astype("int32"), self._prior)
        return pack(_MAGIC, self._fingerprint, len(x), coder.get_compressed())

    def decompress(self, data: bytes) -> NDArray:
        """The images of bytes from `compress`, float32 `(n, ...)`, every pixel as it was."""
        images, words = unpack(_MAGIC, self._fingerprint, data)
        coder = stream.stack.AnsCoder(words)
        x: list[NDArray] = []
        # A forged count: less than it began with holds no more images (but for one in 2^56).
        while len(x) < images and coder.num_words() > 1:
            z = coder.decode(self._prior, self._decoder.inputs) - self._farthest
            image = coder.decode(_BERNOULLI, self._likelihood(z)).astype("uint8")
            (mean,), (level,) = self._posterior(image[None])
            popped = (z - mean + self._tail).astype("int32")
            try:
                coder.encode_reverse(popped, _CATEGORICAL, self._posteriors[level])
            except KeyError:  # no image of this model has such a latent
                coder.clear()
            x.append(image)
        check_end(coder.get_compressed(), self._first_words)
        return np.stack(x[::-1]).reshape(-1, *self._shape).astype("float32")

    def _posterior(self, x):
        """For each latent its mean, in bins, and the level of its log standard deviation."""
        means, log_vars = np.split(self._encoder(x * float(_UNIT)), 2, axis=1)
        means = np.rint(means * (_BINS / _UNIT)).clip(-_FARTHEST * _BINS, _FARTHEST * _BINS)
        levels = np.rint(0.5 * log_vars * (_LEVELS / _UNIT)).clip(_NARROWEST, _WIDEST)
        return means.astype(int), (levels - _NARROWEST).astype(int)

    def _likelihood(self, z):
        """The probability of a 1 in each pixel, given latents in bins."""
        (logits,) = self._decoder(z[None] * float(_UNIT // _BINS))
        return _look_up(logits, self._probability)


class _IntegerStack:
    """A stack of dense layers on integers: `(n, inputs)` to `(n, outputs)`, in 1/256."""

    def __init__(self, name: str, model, largest: float):
        self.arrays: list[np.ndarray] = []
        self._steps: list[tuple] = []
        self.inputs = width = math.prod(model.input_shape[1:])
        largest = largest * _UNIT
        for layer in _dense_layers(name, model):
            if isinstance(layer, keras.layers.Dense):
                if layer.kernel.shape[0] != width:
                    received = f"layer={layer.name!r} with {layer.kernel.shape[0]}"
                    raise ValueError(f"Dense must see all {width} values. Received: {received}")
                width = layer.units
                kernel = np.rint(np.asarray(layer.kernel, "float64") * _WEIGHT_UNIT)
                bias = np.zeros(width) if layer.bias is None else np.asarray(layer.bias, "float64")
                bias = np.rint(bias * _WEIGHT_UNIT * _UNIT)
                bound = (np.abs(kernel).sum(axis=0) * largest + np.abs(bias)).max()
                if not bound < 2**53:
                    received = f"layer={layer.name!r} with sums up to {bound:.3g}"
                    raise ValueError(f"Sums must stay below 2^53. Received: {received}")
                largest = bound / _WEIGHT_UNIT
                self.arrays += [kernel, bias]
                self._steps.append((_dense, kernel, bias))
            activation = getattr(layer, "activation", None)
            if activation not in (None, keras.activations.linear):
                table = _activation_table(layer)
                largest = np.abs(table).max()
                self.arrays.append(table)
                self._steps.append((_look_up, table))

    def __call__(self, v: NDArray) -> NDArray:
        for step, *arrays in self._steps:
            v = step(v, *arrays)
        return v


def _dense(v, kernel, bias):
    return np.rint((v @ kernel + bias) / _WEIGHT_UNIT)


def _look_up(v, table):
    """The entries of values in 1/256, of a table whose middle is that of 0; beyond it, the ends."""
    end = len(table) // 2
    return table[v.clip(-end, end).astype(int) + end]


def _activation_table(layer):
    if layer.activation not in _ELEMENTWISE:
        received = f"layer={layer.name!r} with activation={layer.activation!r}"
        raise ValueError(f"Activations must be linear or one of {_NAMES}. Received: {received}")
    # The errors of float64 are far below the unit, and do not move the rounded number.
    v = np.arange(-_LARGEST * _UNIT, _LARGEST * _UNIT + 1) / _UNIT
    return np.rint(np.asarray(layer.activation(ops.convert_to_tensor(v))) * _UNIT)


def _dense_layers(name, model):
    """Layers of a stack and of stacks inside it, without those that only change shapes."""
    if not isinstance(model, keras.Sequential):
        raise ValueError(f"The {name} must be a keras.Sequential. Received: {name}={model!r}")
    for layer in model.layers:
        if isinstance(layer, keras.Sequential):
            yield from _dense_layers(name, layer)
        elif isinstance(layer, keras.layers.Dense | keras.layers.Activation):
            yield layer
        elif not isinstance(layer, keras.layers.Flatten | keras.layers.Reshape):
            kinds = "Dense, Activation, Flatten and Reshape"
            raise ValueError(f"The {name} must be a stack of {kinds}. Received: layer={layer!r}")


def _gaussian(deviation: float, tail: int) -> NDArray:
    """Probabilities of the bins -tail..tail under N(0, deviation^2), times 2^24, rounded."""
    edges = (np.arange(tail + 2) - 0.5) / (deviation * _BINS)
    below = special.ndtr(-edges)
    half = below[:-1] - below[1:]
    return np.rint(np.concatenate([half[:0:-1], half]) * 2**24)
