"""Reconstruction losses: one number per image, summed over pixels, averaged over images.

Keras's own `mse` and `binary_crossentropy` average over pixels as well, so on 28x28 images a
penalty or a KL term added to them weighs 784 times more than its formula says. Here every loss is
the sum over the pixels (and channels) of an image, `call` returns `(batch,)`, and Keras averages
over images and replicas. Shapes that differ and invalid arguments raise `ValueError`.
"""

import math

from aelib._checks import flag, number
from aelib._quiet import import_tensorflow

import_tensorflow()  # before Keras imports it, whose log would fill a page

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import ops  # noqa: E402

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "aelib needs Keras on TensorFlow: import aelib before keras, or set "
        f"KERAS_BACKEND=tensorflow. Received: backend={keras.backend.backend()!r}"
    )


class _PixelLoss(keras.losses.Loss):
    """What the losses share: a value per pixel (`per_pixel`), summed over each image.

    `sample_weight` is one number per image or one per pixel; a pixel of weight 0 is missing.
    """

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is None or tf.convert_to_tensor(sample_weight).shape.rank == 1:
            return super().__call__(y_true, y_pred, sample_weight)
        y_true, y_pred = (ops.convert_to_tensor(y, self.dtype) for y in (y_true, y_pred))
        weights = ops.convert_to_tensor(sample_weight, self.dtype)
        if weights.shape.rank is None:  # Keras has seen weights per image and weights per pixel
            ones = tf.ones(len(y_true.shape) - tf.rank(weights), "int32")
            weights = tf.reshape(weights, tf.concat([tf.shape(weights), ones], axis=0))
            weights = tf.ensure_shape(weights, [None] * len(y_true.shape))
        else:
            _same_shape(y_true, weights, "sample_weight")
        values = per_image(weights * self._checked(y_true, y_pred))
        # The mean over images, and each replica's share of it, as Keras takes it.
        return _PerImage(self.reduction, dtype=self.dtype)(values, values)

    def call(self, y_true, y_pred):
        return per_image(self._checked(y_true, y_pred))

    def _checked(self, y_true, y_pred):
        _same_shape(y_true, y_pred)
        return self.per_pixel(y_true, y_pred)


class _PerImage(keras.losses.Loss):
    """Takes the mean of values that are a loss already, `(batch,)`, as Keras takes it of any."""

    def __init__(self, reduction: str = "sum_over_batch_size", **kwargs):
        super().__init__("per_image", reduction, **kwargs)

    def call(self, y_true, y_pred):
        return y_pred


@keras.saving.register_keras_serializable(package="aelib")
class SquaredError(_PixelLoss):
    """Sum over pixels of (x - x_hat)^2, the error of Hinton & Salakhutdinov (2006).

    There is no factor 1/2. Divided by the number of pixels it is Keras's `mse`.

    Call arguments:
        y_true, y_pred: images, both `(batch, ...)` of the same shape.
    """

    def __init__(self, name: str = "squared_error", **kwargs):
        super().__init__(name=name, **kwargs)

    def per_pixel(self, y_true, y_pred):
        return ops.square(y_true - y_pred)


@keras.saving.register_keras_serializable(package="aelib")
class BernoulliCrossEntropy(_PixelLoss):
    """Sum over pixels of -x log x_hat - (1 - x) log(1 - x_hat), in nats per image.

    Grey targets are allowed: the loss of a perfect reconstruction is then not 0 but the
    sum of the pixels' entropies, 45.54 nats per image on the MNIST test set (notebook 01).

    Args:
        from_logits: True if the decoder's last layer is linear (numerically exact), False if
            it gives probabilities (clipped to [1e-7, 1 - 1e-7]).

    Call arguments:
        y_true: `(batch, ...)` in [0, 1]. Other values raise `ValueError` where they can be
            seen: in arrays given to `Autoencoder.fit`, and outside `tf.function`.
        y_pred: `(batch, ...)`, logits or probabilities.
    """

    def __init__(self, from_logits: bool = True, name: str = "bernoulli_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.from_logits = flag("from_logits", from_logits)

    def per_pixel(self, y_true, y_pred):
        if tf.executing_eagerly():
            check_probabilities("y_true", y_true)
        if self.from_logits:
            # max(l, 0) - l x + log(1 + exp(-|l|)): no overflow for any logit.
            return ops.softplus(y_pred) - y_pred * y_true
        x_hat = ops.clip(y_pred, 1e-7, 1 - 1e-7)
        return -y_true * ops.log(x_hat) - (1 - y_true) * ops.log(1 - x_hat)

    def get_config(self):
        return {**super().get_config(), "from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package="aelib")
class GaussianNegativeLogLikelihood(_PixelLoss):
    """-log N(x; x_hat, stddev^2 I), summed over pixels, in nats per image.

    At `stddev=1` that is half of `SquaredError` plus 0.919 nats a pixel, which is why squared error
    plus a KL term is a VAE with beta = 1/2. It is negative where the density is above 1.

    Args:
        stddev: float > 0, the standard deviation of a pixel, in units of intensity.

    Call arguments:
        y_true, y_pred: images, both `(batch, ...)` of the same shape.
    """

    def __init__(
        self, stddev: float = 1.0, name: str = "gaussian_negative_log_likelihood", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.stddev = number("stddev", stddev, 0, above=True)

    def per_pixel(self, y_true, y_pred):
        standardised = (y_true - y_pred) / self.stddev
        constant = math.log(self.stddev) + 0.5 * math.log(2 * math.pi)
        return 0.5 * ops.square(standardised) + constant

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}


def check_probabilities(name: str, values) -> None:
    """Raises `ValueError` unless every value lies in [0, 1], as a Bernoulli target must."""
    values = np.asarray(values)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        received = f"{name} between {values.min()} and {values.max()}"
        raise ValueError(f"Targets of the Bernoulli loss must lie in [0, 1]. Received: {received}")


def per_image(values):
    """The sum over all axes but the first: `(batch, ...)` to `(batch,)`."""
    return ops.sum(values, axis=tuple(range(1, len(values.shape))))


def _same_shape(y_true, other, name: str = "y_pred") -> None:
    # The batch axis is left out: it may be unknown while a graph is traced.
    if len(y_true.shape) != len(other.shape) or y_true.shape[1:] != other.shape[1:]:
        received = f"y_true.shape={tuple(y_true.shape)}, {name}.shape={tuple(other.shape)}"
        raise ValueError(f"`y_true` and `{name}` must have the same shape. Received: {received}")
