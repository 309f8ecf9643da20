"""Sparse codes: a penalty on activity (L1, KL to a target rate), or the k largest units only.

Each is a layer placed on a code. A penalty passes the code on unchanged and adds one number to
the loss: summed over units, averaged over images. Keras's `activity_regularizer` is divided by
the size of the batch from Keras 3.14 on and is not before; these layers do not use it.
"""

import math

import keras
import numpy as np
from keras import ops

import aelib.losses  # noqa: F401  (refuses other backends than TensorFlow)


@keras.saving.register_keras_serializable(package="aelib")
class L1Sparsity(keras.layers.Layer):
    """Adds `weight * sum over units of |z|`, averaged over images, to the loss.

    The penalty of any set of images is the same on any split into batches. It is added in
    training and in `evaluate`, and shown there as a metric with the layer's name. With an
    untied decoder the optimiser can lower it without any sparsity, by shrinking the code and
    growing the decoder: fix the norms of the decoder's rows
    (`kernel_constraint=keras.constraints.UnitNorm(axis=1)`).

    Args:
        weight: float, at least 0, in units of the loss per unit of activity.

    Input shape: `(batch, ...)`, codes; all axes but the first count as units.
    Output shape: the same; the output is the input.

    Reference: Olshausen & Field, "Sparse coding with an overcomplete basis set", 1997; Ng,
    "Sparse autoencoder" (CS294A lecture notes), for the penalty's place in an autoencoder.
    """

    def __init__(self, weight: float, **kwargs):
        super().__init__(**kwargs)
        self.weight = _number("weight", weight, 0, math.inf)
        self._shown = keras.metrics.Mean(name=self.name)

    def call(self, z):
        # In float32: a half-precision sum over many units overflows or loses the small ones.
        activity = ops.abs(ops.cast(z, "float32"))
        penalties = self.weight * ops.sum(activity, axis=_units(activity))
        self._shown.update_state(penalties)
        self.add_loss(ops.mean(penalties))
        return z

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


@keras.saving.register_keras_serializable(package="aelib")
class KLSparsity(keras.layers.Layer):
    """Adds `weight * sum over units of KL(target || mean activation)` to the loss, in nats.

    The divergence is the one between two Bernoulli variables, `t log(t / m) + (1 - t)
    log((1 - t) / (1 - m))`, where `m` is a unit's mean activation over images. It is already a
    statement about the average image, so nothing is divided by the size of the batch again.

    With `momentum=0`, `m` is the mean over the batch. The divergence is convex in `m`, so on small
    batches its mean is too large: a unit that meets its target over all images costs about
    `var(a) / (2 n t (1 - t))` on random batches of `n`, and pays least if it fires equally often
    in *every* batch. Use batches of several hundred images, or a momentum: `m` is then the
    moving average, over batches, of the batch means (divided by the sum of their weights, so
    it has no bias towards its start). Its gradient is taken as if all images of that average
    were in the batch: the slope of the divergence at the moving average, times the whole
    gradient of the batch's own mean. The weight so keeps its meaning at any momentum.

    The average moves in training only, is saved with the model, and takes part in `evaluate`, where
    each batch counts as the next one would. The penalty is shown as a metric with the layer's name.

    Args:
        target: float in (0, 1), the mean activation that a unit should have.
        weight: float, at least 0, in units of the loss per nat.
        momentum: float in [0, 1), the share of the moving average that the next batch keeps.

    Input shape: `(batch, ...)`, activations in [0, 1], as a sigmoid gives; all axes but the first
        count as units. Means are clipped to [1e-7, 1 - 1e-7], so that a silent or a saturated
        unit costs a finite number; a mean outside (other activations) has no gradient.
    Output shape: the same; the output is the input.

    Reference: Lee, Ekanadham & Ng, "Sparse deep belief net model for visual area V2", 2008; Ng,
    "Sparse autoencoder" (CS294A lecture notes), section 3.
    """

    def __init__(self, target: float, weight: float, momentum: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.target = _number("target", target, 0, 1, above=True)
        self.weight = _number("weight", weight, 0, math.inf)
        self.momentum = _number("momentum", momentum, 0, 1)
        self._shown = keras.metrics.Mean(name=self.name)

    def build(self, input_shape):
        if self.momentum:
            state = {"initializer": "zeros", "trainable": False, "dtype": "float32"}
            state |= {"autocast": False, "aggregation": "mean"}
            self._sum = self.add_weight(name="sum", shape=input_shape[1:], **state)
            self._sum_of_weights = self.add_weight(name="sum_of_weights", shape=(), **state)

    def call(self, z, training=None):
        mean = ops.mean(ops.cast(z, "float32"), axis=0)
        if self.momentum:
            mean = self._moving(mean, training)
        penalty = self.weight * ops.sum(_bernoulli_kl(self.target, mean))
        self._shown.update_state(penalty, sample_weight=ops.shape(z)[0])
        self.add_loss(penalty)
        return z

    def _moving(self, mean, training):
        share = 1 - self.momentum
        total = self.momentum * self._sum + share * ops.stop_gradient(mean)
        weights = self.momentum * self._sum_of_weights + share
        if training:
            self._sum.assign(total)
            self._sum_of_weights.assign(weights)
        # The value of the moving average with the gradient of the batch's own mean.
        return total / weights + mean - ops.stop_gradient(mean)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "target": self.target,
            "weight": self.weight,
            "momentum": self.momentum,
        }


@keras.saving.register_keras_serializable(package="aelib")
class KSparse(keras.layers.Layer):
    """Keeps the `k` largest activations of each code and zeroes the rest.

    Exactly `k` are kept; among equal ones, those that come first. Gradients flow through the kept
    ones only, so a unit that is never among them never learns: begin with many and end with few.
    The attribute `k` can be set at any time, also between two epochs of `fit`, to any number up to
    the one that the layer was made with, and is saved with the model:

        code = KSparse(100)
        fewer = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: setattr(code, "k", max(25, 100 - 15 * epoch))
        )

    Args:
        k: int, how many units stay on at first, at least 1.

    Input shape: `(batch, ..., units)` with `units >= k`.
    Output shape: the same.

    Reference: Makhzani & Frey, "k-Sparse Autoencoders", 2013: the layer, and the schedule of k.
    """

    def __init__(self, k: int, **kwargs):
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ValueError(f"k is a whole number, at least 1. Received: k={k!r}")
        super().__init__(**kwargs)
        self._most = int(k)
        # A variable, so that the compiled training step sees it change.
        self._k = self.add_weight(
            name="k",
            shape=(),
            dtype="int64",
            trainable=False,
            initializer=keras.initializers.Constant(self._most),
        )

    @property
    def k(self) -> int:
        """How many units stay on."""
        return int(self._k)

    @k.setter
    def k(self, k: int) -> None:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= self._most:
            raise ValueError(
                f"k is a whole number between 1 and {self._most}, the k that the layer was made "
                f"with. Received: k={k!r}"
            )
        self._k.assign(k)

    def build(self, input_shape):
        if input_shape[-1] < self._most:
            raise ValueError(
                f"At least k={self._most} units are needed to keep so many. "
                f"Received: input_shape={tuple(input_shape)}"
            )

    def call(self, z):
        # XLA needs a number of values that never changes; the k-th of them is found among these.
        largest, _ = ops.top_k(ops.stop_gradient(z), self._most)
        k = ops.convert_to_tensor(self._k)
        least = ops.expand_dims(ops.take(largest, k - 1, axis=-1), -1)
        above, ties = z > least, z == least
        places = ops.cast(k, "int32") - ops.sum(ops.cast(above, "int32"), axis=-1, keepdims=True)
        first = ops.cumsum(ops.cast(ties, "int32"), axis=-1) <= places
        return ops.where(ops.logical_or(above, ops.logical_and(ties, first)), z, 0)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "k": self._most}


def _bernoulli_kl(target: float, mean):
    mean = ops.clip(mean, 1e-7, 1 - 1e-7)
    on = target * (math.log(target) - ops.log(mean))
    off = (1 - target) * (math.log1p(-target) - ops.log(1 - mean))
    return on + off


def _units(z) -> tuple[int, ...]:
    return tuple(range(1, len(z.shape)))


def _number(name: str, value, low: float, high: float, *, above: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ValueError(f"{name} is a number. Received: {name}={value!r}")
    if not low <= value < high or (above and value == low):
        brackets = f"{'(' if above else '['}{low}, {high})"
        raise ValueError(f"{name} lies in {brackets}. Received: {name}={value}")
    return float(value)
