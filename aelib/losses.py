"""Reconstruction losses: one number per image, summed over pixels, averaged over images.

Keras's own `mse` and `binary_crossentropy` average over pixels as well, so on 28x28 images
they are 784 times smaller, and a penalty or a KL term added to them weighs 784 times more
than its formula says. Here every loss is the sum over the pixels (and channels) of an
image; Keras then averages over the images of the batch, and of the replicas.
"""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "aelib needs Keras on TensorFlow: import aelib before keras, or set "
        f"KERAS_BACKEND=tensorflow. Received: backend={keras.backend.backend()!r}"
    )


@keras.saving.register_keras_serializable(package="aelib")
class SquaredError(keras.losses.Loss):
    """Sum over pixels of (x - x_hat)^2, the error of Hinton & Salakhutdinov (2006).

    Without the half: half of it is the Gaussian likelihood's share (see
    `GaussianNegativeLogLikelihood`). Divided by the number of pixels it is Keras's `mse`.

    Call arguments:
        y_true, y_pred: images, both `(batch, ...)` of the same shape.

    Returns, from `call`: `(batch,)`, squared intensity per image.
    """

    def __init__(self, name: str = "squared_error", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        return _per_image(ops.square(_difference(y_true, y_pred)))


@keras.saving.register_keras_serializable(package="aelib")
class BernoulliCrossEntropy(keras.losses.Loss):
    """Sum over pixels of -x log x_hat - (1 - x) log(1 - x_hat), in nats per image.

    Gray targets are allowed: the loss of a perfect reconstruction is then not 0 but the
    sum of the pixels' entropies, 45.54 nats per image on the MNIST test set (notebook 01).

    Args:
        from_logits: whether the decoder's last layer is linear (True, and then
            numerically exact) or gives probabilities (clipped to [1e-7, 1 - 1e-7]).

    Call arguments:
        y_true: `(batch, ...)` in [0, 1]; other values raise `ValueError` where they can be
            seen, which is on arrays given to `Autoencoder.fit` and outside `tf.function`.
        y_pred: `(batch, ...)`, logits or probabilities.

    Returns, from `call`: `(batch,)`, nats per image.
    """

    def __init__(self, from_logits: bool = True, name: str = "bernoulli_cross_entropy", **kwargs):
        if not isinstance(from_logits, bool):
            raise ValueError(f"from_logits is True or False. Received: from_logits={from_logits!r}")
        super().__init__(name=name, **kwargs)
        self.from_logits = from_logits

    def call(self, y_true, y_pred):
        _same_shape(y_true, y_pred)
        if tf.executing_eagerly():
            check_probabilities("y_true", y_true)
        if self.from_logits:
            # max(l, 0) - l x + log(1 + exp(-|l|)): no overflow for any logit.
            nats = ops.softplus(y_pred) - y_pred * y_true
        else:
            x_hat = ops.clip(y_pred, 1e-7, 1 - 1e-7)
            nats = -y_true * ops.log(x_hat) - (1 - y_true) * ops.log(1 - x_hat)
        return _per_image(nats)

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package="aelib")
class GaussianNegativeLogLikelihood(keras.losses.Loss):
    """-log N(x; x_hat, stddev^2 I), summed over pixels, in nats per image.

    For each pixel: half the squared standardised error + log stddev + half log(2 pi). At
    `stddev=1` that is half of `SquaredError` plus a constant (0.919 nats a pixel), which
    is why squared error plus a KL term is a VAE with beta = 1/2.

    Args:
        stddev: float above 0, the standard deviation of a pixel, in units of intensity.

    Call arguments:
        y_true, y_pred: images, both `(batch, ...)` of the same shape.

    Returns, from `call`: `(batch,)`, nats per image; negative where the density is above 1.
    """

    def __init__(
        self, stddev: float = 1.0, name: str = "gaussian_negative_log_likelihood", **kwargs
    ):
        if isinstance(stddev, bool) or not isinstance(stddev, int | float | np.number):
            raise ValueError(f"stddev is a number above 0. Received: stddev={stddev!r}")
        if not 0 < stddev < math.inf:
            raise ValueError(f"stddev is finite and above 0. Received: stddev={stddev}")
        super().__init__(name=name, **kwargs)
        self.stddev = float(stddev)

    def call(self, y_true, y_pred):
        standardised = _difference(y_true, y_pred) / self.stddev
        constant = math.log(self.stddev) + 0.5 * math.log(2 * math.pi)
        return _per_image(0.5 * ops.square(standardised) + constant)

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}


def check_probabilities(name: str, values) -> None:
    """Raises `ValueError` unless every value lies in [0, 1], as a Bernoulli target must."""
    values = np.asarray(values)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            "Targets of the Bernoulli loss lie in [0, 1]. "
            f"Received: {name} between {values.min()} and {values.max()}"
        )


def _same_shape(y_true, y_pred) -> None:
    # The batch axis is left out: it may be unknown while a graph is traced.
    if len(y_true.shape) != len(y_pred.shape) or y_true.shape[1:] != y_pred.shape[1:]:
        raise ValueError(
            "A reconstruction has the shape of its target. "
            f"Received: y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        )


def _difference(y_true, y_pred):
    _same_shape(y_true, y_pred)
    return y_true - y_pred


def _per_image(values):
    return ops.sum(values, axis=tuple(range(1, len(values.shape))))
