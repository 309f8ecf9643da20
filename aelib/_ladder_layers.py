"""The layers that a ladder network is made of."""

import keras
import numpy as np
from keras import layers, ops

from aelib.training import over_all_replicas

FEWEST = 10  # images of which a mean and a deviation are taken
_RATE = 0.01  # at which running statistics follow the batches, in the end
_EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="aelib")
class Combinator(layers.Layer):
    """g(z, u) = (z - mu(u)) v(u) + mu(u), the best guess of z if it is Gaussian, given u.

        mu(u) = a1 sigmoid(a2 u + a3) + a4 u + a5
        v(u) = a6 sigmoid(a7 u + a8) + a9 u + a10

    for every unit, whose parameters, the rows of `a`, start at 0, and a2 and a7 at 1.

    Call arguments:
        z, u: `(batch, units)`, the noisy layer, and what comes from the layer above.

    Output shape: `(batch, units)`.

    Reference: Rasmus et al. 2015, equation 2.
    """

    def build(self, z_shape, u_shape):
        self.a = self.add_weight(name="a", shape=(10, z_shape[-1]), initializer="zeros")
        self.a.assign(np.eye(10)[[1, 6]].sum(axis=0)[:, None] * np.ones(self.a.shape))

    def call(self, z, u):
        mu, v = self.mean(u), _gate(self.a[5:], u)
        return (z - mu) * v + mu

    def mean(self, u):
        """mu(u): what g gives for a z that is just that."""
        return _gate(self.a[:5], u)

    def compute_output_shape(self, z_shape, u_shape):
        return z_shape


def _gate(a, u):
    a1, a2, a3, a4, a5 = ops.unstack(ops.convert_to_tensor(a), 5)
    return a1 * ops.sigmoid(a2 * u + a3) + a4 * u + a5


class BatchStatistics(layers.Layer):
    """Batch normalisation that gives its mean and deviation as well, without scale and shift.

    In training each group of the batch has its own: `groups` is `(batch, k)`, 1 where an image
    belongs to a group. A group of fewer than ten images is filled up with images that have the
    running statistics. These, for use, are those of the first group: means over all images so far,
    and from the hundredth batch on moving ones, which forget where they started.
    """

    def build(self, input_shape):
        shape, frozen = (input_shape[-1],), {"trainable": False}
        self.mean = self.add_weight(name="mean", shape=shape, initializer="zeros", **frozen)
        self.variance = self.add_weight(name="variance", shape=shape, initializer="ones", **frozen)
        self.images = self.add_weight(name="images", shape=(), initializer="zeros", **frozen)

    def call(self, values, groups=None, training=False):
        values = ops.cast(values, "float32")
        mean, variance = ops.convert_to_tensor(self.mean), ops.convert_to_tensor(self.variance)
        if training:
            groups = ops.ones_like(values[:, :1]) if groups is None else groups
            counts = over_all_replicas(ops.sum(groups, axis=0))[:, None]
            filled = ops.maximum(counts, FEWEST)

            def means_of(values, running):
                sums = over_all_replicas(ops.matmul(ops.transpose(groups), values))
                return (sums + (filled - counts) * running) / filled

            means = means_of(values, mean)
            squares = ops.square(values - ops.matmul(groups, means))
            variances = means_of(squares, variance + ops.square(mean - means))
            self._remember(counts[0, 0], means[0], variances[0])
            mean, variance = ops.matmul(groups, means), ops.matmul(groups, variances)
        deviation = ops.sqrt(variance + _EPSILON)
        return (values - mean) / deviation, mean, deviation

    def _remember(self, count, mean, variance):
        """Every image weighs the same, whether its batch is full, a remainder or filled up."""
        kept = ops.maximum((1 - _RATE) * self.images, (1 / _RATE - 1) * count)
        self.images.assign(ops.minimum(self.images, kept) + count)
        rate = ops.maximum(count, FEWEST) / ops.maximum(self.images, 1.0)
        self.mean.assign_add(rate * (mean - self.mean))
        self.variance.assign_add(rate * (variance - self.variance))


def dense_layer(units, policy):
    scale = keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal")
    return layers.Dense(units, use_bias=False, kernel_initializer=scale, dtype=policy)
