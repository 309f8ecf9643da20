"""Sparse codes: a penalty on activity (L1, KL to a target rate), or only the k largest units.

Each is a layer on a code. Penalties are float32, summed over units, averaged over images, and shown
as a metric with the layer's name, in training and in `evaluate`. Keras's `activity_regularizer` is
divided by the batch size from Keras 3.14 on and is not before: these layers do not use it.
"""

import keras
from keras import ops

from aelib._checks import number, whole
from aelib._settings import Penalty, Setting
from aelib.losses import per_image, pixel_weights
from aelib.training import mean as images_mean


@keras.saving.register_keras_serializable(package="aelib")
class L1Sparsity(Penalty, keras.layers.Layer):
    """Adds `weight * sum over units of |z|`, averaged over images, to the loss.

    With an untied decoder the optimiser can lower it by shrinking the code and growing the decoder:
    constrain the decoder, with `kernel_constraint=keras.constraints.UnitNorm(axis=1)`.

    Args:
        weight: float >= 0, in units of the loss per unit of activity.

    Input shape: `(batch, ...)`, codes; all axes but the first are units.
    Output shape: the same; the output is the input.

    Reference: Olshausen & Field, "Sparse coding with an overcomplete basis set", 1997; Ng, "Sparse
    autoencoder" (CS294A lecture notes).
    """

    def __init__(self, weight: float, **kwargs):
        super().__init__(weight=weight, **kwargs)
        self.supports_masking = True

    def call(self, z, mask=None):
        # A half-precision sum over many units overflows or loses the small ones.
        activity = ops.abs(ops.cast(z, "float32"))
        if mask is not None:
            activity *= pixel_weights(z, mask)
        penalties = ops.multiply(self.weight, per_image(activity))
        self._metric.update_state(penalties)
        self.add_loss(images_mean(penalties))
        return z

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable(package="aelib")
class KLSparsity(Penalty, keras.layers.Layer):
    """Adds `weight * sum over units of KL(target || mean activation)` to the loss, in nats.

    For each unit `t log(t / m) + (1 - t) log((1 - t) / (1 - m))`, where `m` is its mean activation.

    With `momentum=0`, `m` is the mean over the batch, and on batches of `n` the penalty is too
    large by about `var(a) / (2 n t (1 - t))` a unit: use several hundred images, or a momentum. `m`
    is then the moving average of batch means, unbiased from the first step, with the gradient of
    the batch's own mean, so `weight` means the same at any momentum. The average moves in training
    only and is saved; `evaluate` counts each batch as if it came next.

    Args:
        target: float in (0, 1), the mean activation that a unit should have.
        weight: float >= 0, in units of the loss per nat.
        momentum: float in [0, 1), the share of the moving average kept at each step.

    Input shape: `(batch, ...)`, activations in [0, 1]; all axes but the first are units. Means are
        clipped to [1e-7, 1 - 1e-7]; outside, the penalty is finite and has no gradient.
    Output shape: the same; the output is the input.

    Reference: Lee, Ekanadham & Ng, "Sparse deep belief net model for visual area V2", 2008; Ng,
    "Sparse autoencoder" (CS294A lecture notes), section 3.
    """

    target = Setting(0, 1, above=True, below=True)

    def __init__(self, target: float, weight: float, momentum: float = 0.0, **kwargs):
        super().__init__(weight=weight, **kwargs)
        self.target = target
        self.momentum = number("momentum", momentum, 0, 1, below=True)

    def build(self, input_shape):
        if self.momentum:
            state = {"initializer": "zeros", "trainable": False, "dtype": "float32"}
            state |= {"autocast": False, "aggregation": "mean"}
            self._sum = self.add_weight(name="sum", shape=input_shape[1:], **state)
            self._sum_of_weights = self.add_weight(name="sum_of_weights", shape=(), **state)

    def call(self, z, training=None):
        mean = images_mean(ops.cast(z, "float32"))
        some = ops.cast(ops.shape(z)[0] > 0, "float32")  # 0 on a replica without images
        if self.momentum:
            mean = self._moving(mean, some, training)
        t, m = ops.convert_to_tensor(self.target), ops.clip(mean, 1e-7, 1 - 1e-7)
        kl = t * (ops.log(t) - ops.log(m)) + (1 - t) * (ops.log1p(-t) - ops.log(1 - m))
        penalty = ops.multiply(self.weight, some * ops.sum(kl))
        self._metric.update_state(penalty, sample_weight=ops.shape(z)[0])
        self.add_loss(penalty)
        return z

    def _moving(self, mean, some, training):
        kept = 1 - some * (1 - self.momentum)
        total = kept * self._sum + (1 - kept) * ops.stop_gradient(mean)
        weights = kept * self._sum_of_weights + (1 - kept)
        if training:
            self._sum.assign(total)
            self._sum_of_weights.assign(weights)
        # The value of the moving average with the gradient of the batch's own mean.
        return ops.divide_no_nan(total, weights) + mean - ops.stop_gradient(mean)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "target": self.target, "momentum": self.momentum}


@keras.saving.register_keras_serializable(package="aelib")
class KSparse(keras.layers.Layer):
    """Keeps the `k` largest activations of each code and zeroes the rest.

    Exactly `k` are kept; among ties, the first ones. Gradients flow through these only, so a unit
    that is never kept never learns: start with a large `k` and end with a small one. The attribute
    `k` can be set at any time, to any number up to the initial one, and is saved with the model:
    `LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(code, "k", max(25, 100 - epoch)))`.

    Args:
        k: int >= 1, how many units stay on at first.

    Input shape: `(batch, ..., units)` with `units >= k`.
    Output shape: the same.

    Reference: Makhzani & Frey, "k-Sparse Autoencoders", 2013: the layer, and the schedule of k.
    """

    def __init__(self, k: int, **kwargs):
        super().__init__(**kwargs)
        self._most = whole("k", k, 1)
        # A variable, so that the compiled training step sees it change.
        start = keras.initializers.Constant(self._most)
        self._k = self.add_weight((), start, dtype="int64", trainable=False, name="k")

    @property
    def k(self) -> int:
        """How many units stay on."""
        return int(self._k)

    @k.setter
    def k(self, k: int) -> None:
        self._k.assign(whole("k", k, 1, self._most))

    def build(self, input_shape):
        whole("k", self._most, 1, input_shape[-1])

    def call(self, z):
        # XLA needs a number of values that never changes; the k-th of them is found among these.
        largest, _ = ops.top_k(ops.stop_gradient(z), self._most)
        k = ops.convert_to_tensor(self._k)
        least = ops.expand_dims(ops.take(largest, k - 1, axis=-1), -1)
        above, ties = z > least, z == least
        places = ops.cast(k, "int32") - ops.sum(ops.cast(above, "int32"), axis=-1, keepdims=True)
        first = ops.cumsum(ops.cast(ties, "int32"), axis=-1) <= places
        kept = ops.logical_or(above, ops.logical_and(ties, first))
        return ops.where(ops.logical_or(kept, ops.isnan(z)), z, 0)  # NaN is not hidden

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "k": self._most}
