"""The contractive penalty, ||df/dx||_F^2 of an encoder f: in closed form, exact, and estimated.

One number per image: the sum of the squared derivatives over the dimensions of the code and the
pixels. Its mean over the images of a batch, times a weight, is added to the loss. Invalid arguments
raise `ValueError`.
"""

import keras
import tensorflow as tf
from keras import ops

from aelib._checks import one_of
from aelib._settings import Penalty, Setting
from aelib.autoencoder import Autoencoder
from aelib.losses import per_image
from aelib.training import mean, over_replicas

# Derivatives of the activations, written in terms of their outputs h.
_DERIVATIVES = {
    keras.activations.sigmoid: lambda h: h * (1 - h),
    keras.activations.tanh: lambda h: 1 - ops.square(h),
    keras.activations.relu: lambda h: ops.cast(h > 0, h.dtype),
    keras.activations.linear: ops.ones_like,
}


@keras.saving.register_keras_serializable(package="aelib")
class ContractiveDense(Penalty, keras.layers.Dense):
    """A dense layer that adds its own contractive penalty to the loss, in closed form.

    For h_j = s(a_j), a_j = w_j . x + b_j,

        ||dh/dx||_F^2 = sum_j s'(a_j)^2 sum_i w_ij^2

    The loss gains `weight` times the mean over images of this number; a metric with the layer's
    name shows the mean without the weight. In an encoder of several layers each penalises its own
    Jacobian; `ContractiveAutoencoder` penalises that of the whole.

    Args:
        units: int, size of the output.
        activation: "sigmoid", "tanh", "relu" or "linear" (None).
        weight: float >= 0, in units of the loss per unit of squared derivative.
        **kwargs: see `keras.layers.Dense`.

    Input shape: `(batch, ..., inputs)`; axes between are positions, whose penalties add up.
    Output shape: `(batch, ..., units)`.

    Reference: Rifai, Vincent, Muller, Glorot & Bengio, "Contractive auto-encoders: explicit
    invariance during feature extraction", 2011, equations 1 and 4 and section 5.
    """

    def __init__(self, units, activation, weight, **kwargs):
        super().__init__(units, activation, weight=weight, **kwargs)
        if self.activation not in _DERIVATIVES:
            expected = "sigmoid, tanh, relu or linear; jacobian_penalty takes any"
            raise ValueError(f"`activation` must be {expected}. Received: {activation=}")

    def call(self, inputs, training=None):
        outputs = super().call(inputs, training=training)
        h = _at_least_float32(outputs)
        # The kernel as it is now: it changes with every step.
        column_norms = ops.sum(ops.square(_at_least_float32(self.kernel)), axis=0)
        penalties = per_image(ops.square(_DERIVATIVES[self.activation](h)) * column_norms)
        self._metric.update_state(penalties)
        self.add_loss(ops.multiply(self.weight, mean(penalties)))
        return outputs


def jacobian_penalty(encoder, x):
    """`||df/dx||_F^2` of each image, exactly, by automatic differentiation.

    Args:
        encoder: layer or model, `(batch, ...)` to `(batch, ...)`, called with `training=False`. An
            image's code must depend on no other image.
        x: images, `(batch, ...)`. Memory is `batch * code size * pixels` numbers.

    Returns: a tensor `(batch,)`, float32 (float64 for a float64 encoder), differentiable by the
    weights of the encoder. Keras has no gradients of its own, so this is TensorFlow.

    Reference: Rifai et al. 2011, equation 1.
    """
    x = _at_least_float32(x)
    count = ops.shape(x)[0]
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:  # one may be left without images
        x = tf.pad(x, [[0, ops.maximum(1 - count, 0)], *[[0, 0]] * (len(x.shape) - 1)])
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = encoder(x, training=False)
    return per_image(ops.square(_at_least_float32(tape.batch_jacobian(z, x))))[:count]


@keras.saving.register_keras_serializable(package="aelib")
class ContractiveAutoencoder(Autoencoder):
    """An autoencoder whose loss gains `weight` times the mean of `||df/dx||_F^2` over images.

    `fit` and `evaluate` show that mean, without the weight, as the metric `contraction`. f is the
    whole encoder with `training=False`. The exact penalty takes one backward pass for each
    dimension of the code, Hutchinson's estimator one in all: with random signs v, E[v v^T] = I and

        E ||J^T v||^2 = E v^T J J^T v = trace(J J^T) = ||J||_F^2

    with the variance 2 (||A||_F^2 - sum_j A_jj^2), A = J J^T. One v is drawn for each image, new at
    every training step, the same in every evaluation. Tie the weights, or the encoder can shrink
    while the decoder grows. In a loop of your own the whole loss is `model.compute_loss(x)`.

    Args:
        encoder, decoder: see `Autoencoder`.
        weight: float >= 0, in units of the loss per unit of squared derivative.
        estimator: "exact" or "hutchinson".
        **kwargs: see `Autoencoder`. With a corruption, f is contracted at the corrupted images.

    Reference: Rifai et al. 2011, equation 4; Hutchinson, "A stochastic estimator of the trace
    of the influence matrix", 1989 (random signs).
    """

    penalises = True
    weight = Setting()

    def __init__(self, encoder, decoder, weight, estimator="exact", **kwargs):
        super().__init__(encoder, decoder, **kwargs)
        self.weight = weight
        self.estimator = one_of("estimator", estimator, ["exact", "hutchinson"])
        self.projections = keras.random.SeedGenerator()
        self.contraction = keras.metrics.Mean(name="contraction")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # First, since calling the encoder again clears the losses that its layers have added.
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        exact = self.estimator == "exact"
        penalties = jacobian_penalty(self.encoder, x) if exact else self._projected_penalty(x)
        self.contraction.update_state(penalties)
        return loss + over_replicas(ops.multiply(self.weight, mean(penalties)))

    def _projected_penalty(self, x):
        """||J^T v||^2 with one vector v of random signs for each image: `(batch,)`."""
        x = _at_least_float32(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            z = _at_least_float32(self.encoder(x, training=False))
            uniform = keras.random.uniform(ops.shape(z), -1, 1, seed=self.projections)
            projected = ops.sum(ops.where(uniform < 0, -z, z))
        return per_image(ops.square(tape.gradient(projected, x)))

    def _noise_states(self):
        return [*super()._noise_states(), self.projections.state]

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "estimator": self.estimator}


def _at_least_float32(values):
    values = ops.convert_to_tensor(values)
    return ops.cast(values, keras.backend.result_type(values.dtype, "float32"))
