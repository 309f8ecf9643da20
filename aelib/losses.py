"""Reconstruction losses: one number per image, summed over pixels, averaged over images.

Keras's own `mse` and `binary_crossentropy` average over pixels as well, so on 28x28 images a
penalty or a KL term added to them weighs 784 times more than its formula says. Here every loss is
the sum over the pixels (and channels) of an image, `call` returns `(batch,)`, and Keras averages
over images and replicas. Shapes that differ and invalid arguments raise `ValueError`.
"""

import math

from aelib._checks import flag
from aelib._quiet import import_tensorflow

import_tensorflow()  # before Keras imports it, whose log would fill a page

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import ops  # noqa: E402

from aelib._settings import Setting  # noqa: E402
from aelib.training import mask_of  # noqa: E402

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "aelib needs Keras on TensorFlow: import aelib before keras, or set "
        f"KERAS_BACKEND=tensorflow. Received: backend={keras.backend.backend()!r}"
    )


class _PixelLoss(keras.losses.Loss):
    """What the losses share: a value per pixel (`per_pixel`), summed over each image.

    `sample_weight` is one number per image, or one per step or pixel, which is missing where it
    weighs 0. Steps that a mask of Keras hides weigh nothing. The sum is never rescaled.
    """

    def __call__(self, y_true, y_pred, sample_weight=None):
        weights = pixel_weights(y_true, sample_weight, mask_of(y_pred))
        if weights is None:
            return super().__call__(y_true, y_pred, sample_weight)
        y_true, y_pred = (ops.convert_to_tensor(y, self.dtype) for y in (y_true, y_pred))
        values = self.call(y_true, y_pred, weights)
        # The mean over images, and each replica's share of it, as Keras takes it.
        return _PerImage(self.reduction, dtype=self.dtype)(values, values)

    def call(self, y_true, y_pred, weights=None):
        _same_shape(y_true, y_pred)
        values = self.per_pixel(y_true, y_pred)
        return per_image(values if weights is None else values * ops.cast(weights, values.dtype))


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
    sum of the pixels' entropies, 45.53 nats per image on the MNIST test set (notebook 01).

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

    stddev = Setting(above=True)

    def __init__(
        self, stddev: float = 1.0, name: str = "gaussian_negative_log_likelihood", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.stddev = stddev

    def per_pixel(self, y_true, y_pred):
        standardised = ops.divide(y_true - y_pred, self.stddev)
        spread = ops.cast(ops.log(self.stddev), standardised.dtype)
        return 0.5 * ops.square(standardised) + spread + 0.5 * math.log(2 * math.pi)

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


def pixel_weights(y_true, *weights):
    """The product of weights, each one number per image, step or pixel, in the rank of the target.

    None where there are none but one number per image, which Keras's own reduction takes.
    """
    weights = [tf.convert_to_tensor(value) for value in weights if value is not None]
    if all(value.shape.rank == 1 and value.dtype != "bool" for value in weights):
        return None
    product = 1.0
    for value in weights:
        ones = tf.ones(len(y_true.shape) - tf.rank(value), "int32")
        value = tf.reshape(value, tf.concat([tf.shape(value), ones], axis=0))
        value = tf.ensure_shape(value, [None] * len(y_true.shape))
        sizes = zip(value.shape, y_true.shape, strict=True)
        if any(None not in (have, size) and have not in (1, size) for have, size in sizes):
            received = f"sample_weight.shape={tuple(value.shape)}, y_true.shape={y_true.shape}"
            expected = "`sample_weight` must be one number per image, step or pixel"
            raise ValueError(f"{expected}. Received: {received}")
        product *= tf.cast(value, "float32")
    return product


def _same_shape(y_true, y_pred) -> None:
    # Sizes may be unknown while a graph is traced, that of the batch always.
    if not tf.TensorShape(y_true.shape).is_compatible_with(y_pred.shape):
        received = f"y_true.shape={tuple(y_true.shape)}, y_pred.shape={tuple(y_pred.shape)}"
        raise ValueError(f"`y_true` and `y_pred` must have the same shape. Received: {received}")
