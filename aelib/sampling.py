"""The code as a distribution: draws that let gradients through, and their divergence.

An encoder gives, side by side on its last axis, mean and log-variance of q(z|x) = N(mean,
exp(log_var)); the prior is N(0, 1). All divergences are in nats, summed over latents. Invalid
arguments, and a last axis that is odd or unknown, raise `ValueError`.
"""

from typing import NamedTuple

import keras
import tensorflow as tf
from keras import ops

from aelib._checks import whole
from aelib._settings import Penalty
from aelib.losses import per_image
from aelib.noise import normal
from aelib.training import mean as images_mean

# Above it exp(log_var) goes on as a straight line: any half-precision number has a finite KL.
_LARGEST_LOG_VAR = 40.0
# float16 ends at 65504: a standard deviation of exp(12 / 2) = 403 leaves the decoder's sums room.
_LARGEST_LOG_VAR_FLOAT16 = 12.0


@keras.saving.register_keras_serializable(package="aelib")
class GaussianSampling(Penalty, keras.layers.Layer):
    """Draws z = mean + exp(log_var / 2) * epsilon, and adds KL(N(mean, exp(log_var)) || N(0, 1)).

    Epsilon comes from N(0, 1), new at each call, in training and in use; gradients flow through
    mean and log_var (the reparametrisation). The loss gains `weight` times

        KL = 1/2 sum over latents of (mean^2 + exp(log_var) - 1 - log_var)

    averaged over images, in float32; a metric with the layer's name shows the KL without the
    weight. A log-variance above 40 (in float16: 12) draws with that limit, so that z stays
    finite. KL goes on growing, along a line above 40, so its gradient leads back. ONNX and LiteRT
    files cannot hold the draws: export the layers up to the mean, or to a tf_saved_model.

    Args:
        weight: float >= 0, the beta of a beta-VAE: units of the loss per nat.
        seed: int >= 0, repeats the same sequence of noise; None draws one.

    Input shape: `(batch, ..., 2 * code)`, means first, then log-variances.
    Output shape: `(batch, ..., code)`; all axes but the first count as latents.

    Reference: Kingma & Welling, "Auto-encoding variational Bayes", 2014, sections 2.4, 3, B.
    """

    draws_in_use = True

    def __init__(self, weight: float = 1.0, seed: int | None = None, **kwargs):
        super().__init__(weight=weight, **kwargs)
        self.seed = None if seed is None else whole("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def call(self, h):
        mean, log_var = mean_and_log_var(h)
        divergence = gaussian_kl(mean, log_var)
        self._metric.update_state(divergence)
        self.add_loss(ops.multiply(self.weight, images_mean(divergence)))
        epsilon = ops.cast(normal(ops.shape(mean), self.seed_generator), mean.dtype)
        return ops.cast(mean + deviation(log_var, self.compute_dtype) * epsilon, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return code_shape(input_shape)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


class Samples(NamedTuple):
    """Draws from q(z|x), and their images."""

    mean: tf.Tensor  # (batch, ...), float32
    log_var: tf.Tensor  # that of q(z|x); the draws have the `limited` one
    epsilon: tf.Tensor  # (batch, samples, ...)
    z: tf.Tensor
    x_hat: tf.Tensor  # (batch * samples, ...), as the decoder gives it

    def log_ratio(self, dtype: str):
        """log p(z) - log q(z|x), whose constants cancel: `(batch, samples)`."""
        log_var = limited(self.log_var, dtype)[:, None]
        values = 0.5 * (ops.square(self.epsilon) + log_var - ops.square(self.z))
        return ops.sum(values, axis=tuple(range(2, len(values.shape))))


def draw(decoder, h, epsilon, dtype: str) -> Samples:
    """Codes of what the encoder gave, one for each `epsilon` `(batch, samples, ...)`, decoded."""
    h, others = first(h)
    mean, log_var = mean_and_log_var(h)
    epsilon = ops.cast(epsilon, mean.dtype)
    z = mean[:, None] + deviation(log_var, dtype)[:, None] * epsilon
    others = [ops.repeat(other, ops.shape(epsilon)[1], axis=0) for other in others]
    x_hat = decoder(beside(ops.reshape(z, (-1, *mean.shape[1:])), others))
    return Samples(mean, log_var, epsilon, z, x_hat)


def first(outputs) -> tuple:
    """The first of an encoder's outputs, the distribution, and the list of the others."""
    return (outputs[0], list(outputs[1:])) if isinstance(outputs, list | tuple) else (outputs, [])


def beside(z, others: list):
    """What a decoder takes: a code, beside the encoder's other outputs where there are some."""
    return [z, *others] if others else z


def code_shape(shape) -> tuple:
    """The shape of the code of an encoder whose output has this shape."""
    if len(shape) < 2 or shape[-1] is None or shape[-1] < 2 or shape[-1] % 2:
        expected = "mean and log-variance side by side, an even size"
        received = f"encoder.output_shape={tuple(shape)}"
        raise ValueError(f"The encoder's last axis must hold {expected}. Received: {received}")
    return (*shape[:-1], shape[-1] // 2)


def mean_and_log_var(h):
    """Means and log-variances, in float32 (or float64)."""
    code_shape(h.shape)
    h = ops.cast(h, keras.backend.result_type(h.dtype, "float32"))
    return ops.split(h, 2, axis=-1)


def limited(log_var, dtype: str):
    """The log-variance that is drawn with: no larger than the type bears."""
    largest = _LARGEST_LOG_VAR_FLOAT16 if dtype == "float16" else _LARGEST_LOG_VAR
    return ops.minimum(log_var, largest)


def deviation(log_var, dtype: str):
    """The standard deviation that is drawn with."""
    return ops.exp(0.5 * limited(log_var, dtype))


def gaussian_kl(mean, log_var):
    """KL(N(mean, exp(log_var)) || N(0, 1)), summed over latents: `(batch,)`."""
    small = ops.minimum(log_var, _LARGEST_LOG_VAR)
    variance = ops.exp(small) * (1 + log_var - small)  # above the limit, the tangent there
    return per_image(0.5 * (ops.square(mean) + variance - 1 - log_var))
