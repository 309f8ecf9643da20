"""The ladder network: a classifier that is trained by cleaning a noisy copy of itself.

It takes labels as `aelib.semi_supervised` does: -1 is an unlabelled image. Invalid arguments raise
`ValueError`.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from aelib._checks import array, items, number, one_of, whole
from aelib._ladder_layers import FEWEST, BatchStatistics, dense_layer
from aelib._ladder_layers import Combinator as Combinator  # public here
from aelib._partly_labelled import (
    PartlyLabelled,
    as_labels,
    refuse_weights,
)
from aelib._settings import Setting
from aelib.noise import normal
from aelib.training import in_batches, over_all_replicas


class _Weights(Setting):
    def checked(self, model, value):
        costs = tuple(number(self.name, cost, 0) for cost in items(self.name, value))
        if len(costs) != len(model.units) + 2:
            expected = f"`{self.name}` must hold {len(model.units) + 2} numbers"
            raise ValueError(f"{expected}. Received: {self.name}={costs}")
        return costs


@keras.saving.register_keras_serializable(package="aelib")
class LadderNetwork(PartlyLabelled):
    """A classifier that cleans a noisy copy of itself, layer by layer.

    The encoder runs twice: on the image as it is, and with Gaussian noise on the image and on
    every layer. A decoder runs down the noisy copy; at every layer l it combines what comes from
    above, u, with the noisy z beside it into an estimate of the clean z. The loss is

        mean cross-entropy of the noisy path, over the labelled images
            + sum_l weight_l / units_l * mean ||z_l - z_hat_l||^2, over all images

    with z_hat normalised as the clean layer is.

    Batch normalisation takes labelled and unlabelled images apart, as the authors' program does
    (CuriousAI/ladder, ladder.py, `LadderAE.f`), and all together where a batch has fewer than ten
    of either. With fewer than ten images in all, running statistics make up the rest, and the
    gradient weighs less by as much. Outside training there are only these, means over the
    unlabelled images. Replicas of a distribution strategy share their statistics.

    `fit` shows the cross-entropy and accuracy of the noisy path; `evaluate` those of the clean
    path, and the reconstruction cost. Compile it without a loss; use Adam, as published.

    Args:
        units: sizes of the hidden layers.
        n_classes: int >= 2.
        noise: float >= 0, standard deviation of the noise of every layer.
        reconstruction_weights: for the image (squared error per pixel), each hidden layer and the
            logits; None is 1000, 10, 0.1, ..., as published. Can be set at any time, as `noise`.
        statistics: of labelled and unlabelled images, "apart", or "together", which errs more.

    Input shape: `(batch, ...)`, images.
    Output shape: `(batch, n_classes)`, logits of the clean path, without noise.

    Reference: Rasmus, Valpola, Honkala, Berglund & Raiko, "Semi-supervised learning with ladder
    networks", 2015, algorithm 1 and equations 2 and 3, with the parameters of section 4.1.
    """

    _has_a_loss = False
    noise = Setting()
    reconstruction_weights = _Weights()

    def __init__(
        self,
        units: Sequence[int] = (1000, 500, 250, 250, 250),
        n_classes: int = 10,
        noise: float = 0.3,
        reconstruction_weights: Sequence[float] | None = None,
        statistics: str = "apart",
        **kwargs,
    ):
        units = tuple(whole("units", size, 1) for size in items("units", units))
        n_classes = whole("n_classes", n_classes, 2)
        if reconstruction_weights is None:
            reconstruction_weights = (1000.0, 10.0, *[0.1] * len(units))
        policy = kwargs.get("dtype")
        super().__init__(_Encoder((*units, n_classes), policy), _Decoder(policy), **kwargs)
        self.units = units
        self.n_classes = n_classes
        self.noise = noise
        self.reconstruction_weights = reconstruction_weights
        self.statistics = one_of("statistics", statistics, ("apart", "together"))
        self._noise_generator = keras.random.SeedGenerator()
        self._denoise = tf.function(lambda x: self._both_ways(x, lambda z: z, False)[2][0])
        self._decoder_graph = tf.function(self._from_logits, reduce_retracing=True)

    def build(self, input_shape):
        self._shapes = input_shape
        if not self.encoder.built:
            if None in input_shape[1:]:
                expected = "Images must have one known size (or call `build((None, 28, 28, 1))`)"
                raise ValueError(f"{expected}. Received: x.shape={tuple(input_shape)}")
            self._image_shape = tuple(input_shape[1:])
            pixels = math.prod(self._image_shape)
            self.encoder.build((None, pixels))
            self.decoder.build([(None, size) for size in (pixels, *self.units, self.n_classes)])
        self.built = True

    def call(self, x):
        return self.encoder(x)

    def _target(self, x, y):
        return y  # the labels; what is to be reconstructed, every layer knows itself

    def _noise_states(self):
        return [self._noise_generator.state]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        refuse_weights(sample_weight)
        # In training `y_pred`, the clean path with running statistics, is dropped by the graph.
        y = as_labels(y)
        if y.dtype.is_floating:
            raise ValueError(f"`y` must hold integers. Received: y.dtype={y.dtype.name}")
        groups = _groups(y) if self.statistics == "apart" else None
        noisy, clean, estimates = self._both_ways(x, self._add_noise, training, groups)
        weights = tf.unstack(ops.convert_to_tensor(self.reconstruction_weights))
        cost = sum(
            weight * ops.sum(ops.mean(ops.square(z - z_hat), axis=-1))
            for weight, z, z_hat in zip(weights, clean, estimates, strict=True)
        )
        images = ops.cast(ops.shape(x)[0], "float32")
        self.record(*[cost / ops.maximum(images, 1)] * 2, images)  # a replica may have none
        prediction = self.prediction_loss(y, noisy if training else y_pred)
        images = over_all_replicas(images)
        return ops.minimum(images / FEWEST, 1.0) * (cost / images + prediction)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return self.get_metrics_result()

    def _add_noise(self, z):
        return z + self.noise * normal(ops.shape(z), self._noise_generator)

    def _both_ways(self, x, add_noise, training, groups=None):
        """Logits of the noisy path, z of the clean path, and its estimates: lists, image first."""
        _, clean, statistics = self.encoder.climb(x, "clean", lambda z: z, training, groups)
        logits, noisy, _ = self.encoder.climb(x, "noisy", add_noise, training, groups)
        estimates = self.decoder.descend(noisy, ops.softmax(logits), training, groups)
        pairs = zip(estimates, statistics, strict=True)
        return logits, clean, [(z - mean) / deviation for z, (mean, deviation) in pairs]

    def decode(self, z) -> np.ndarray:
        """Images of logits alone, `(n, n_classes)`: every layer below is taken to be mu(u)."""
        z = array("z", z, rank=2).astype("float32")
        if z.shape[1:] != (self.n_classes,):
            expected = f"`z` must hold {self.n_classes} logits per image"
            raise ValueError(f"{expected}. Received: z.shape={z.shape}")
        return in_batches(self._decoder_graph, z).reshape(-1, *self._image_shape)

    def _from_logits(self, z):
        top = z / self.encoder.gamma - self.encoder.betas[-1]
        every_z = [*[None] * (len(self.units) + 1), top]
        return self.decoder.descend(every_z, ops.softmax(z), training=False)[0]

    def reconstruct(self, x) -> np.ndarray:
        """What the decoder makes of images without noise: `(n, ...)` to the same shape."""
        x = self._checked("x", x)
        return in_batches(self._denoise, x).reshape(x.shape)

    def predict_labels(self, x) -> np.ndarray:
        """The logits of the clean path: `(n, ...)` to float32 `(n, n_classes)`."""
        return self.encode(x)

    def _checked(self, name, values, part=None):
        values = super()._checked(name, values, part)
        self._build_on(values)
        pixels = self.encoder.denses[0].kernel.shape[0]
        if values[0].size != pixels:
            raise ValueError(f"Images must have {pixels} pixels. Received: x.shape={values.shape}")
        return values

    def outputs_for(self, x) -> int:
        return self.n_classes

    def _checked_pair(self, x, y, weights=None):
        x, y = super()._checked_pair(x, y)
        if y.dtype.kind == "f":
            raise ValueError(f"`y` must hold integers. Received: y.dtype={y.dtype}")
        return x, y

    def get_config(self):
        names = ("units", "n_classes", "noise", "reconstruction_weights", "statistics")
        return {**keras.Model.get_config(self), **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class _Encoder(layers.Layer):
    """Dense layers, batch normalised: z_l = normalised(W_l h), h = relu(z + beta_l)."""

    def __init__(self, units, policy):
        super().__init__(name="ladder_encoder", dtype="float32")
        self.denses = [dense_layer(size, policy) for size in units]
        # Two lists and no dict of lists: Keras 3.13 leaves the latter out of a saved model.
        self.clean = [BatchStatistics(name="statistics", dtype="float32") for _ in units]
        self.noisy = [BatchStatistics(name="statistics", dtype="float32") for _ in units]

    def build(self, input_shape):
        size = input_shape[-1]
        self.betas = []
        for level, dense in enumerate(self.denses):
            dense.build((None, size))
            size = dense.units
            self.clean[level].build((None, size))
            self.noisy[level].build((None, size))
            self.betas.append(self.add_weight((size,), "zeros", name=f"beta_{level}"))
        # Only for the logits: what follows a relu can undo any scale.
        self.gamma = self.add_weight((size,), "ones", name="gamma")
        self.built = True

    def climb(self, x, path, add_noise, training, groups=None):
        """Logits, and for the image and every layer z and its (mean, deviation)."""
        pixels = self.denses[0].kernel.shape[0]
        h = add_noise(ops.cast(ops.reshape(x, (ops.shape(x)[0], pixels)), "float32"))
        every_z, statistics = [h], [(0.0, 1.0)]
        norms = {"clean": self.clean, "noisy": self.noisy}[path]
        for dense, norm, beta in zip(self.denses, norms, self.betas, strict=True):
            z, *mean_and_deviation = norm(dense(h), groups, training=training)
            every_z.append(add_noise(z))
            statistics.append(mean_and_deviation)
            shifted = every_z[-1] + beta
            h = ops.relu(shifted)
        return self.gamma * shifted, every_z, statistics

    def call(self, x):
        return self.climb(x, "clean", lambda z: z, training=False)[0]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.denses[-1].units)


class _Decoder(layers.Layer):
    """From the top: u_l = normalised(V z_hat_(l+1)), z_hat_l = g(noisy z_l, u_l)."""

    def __init__(self, policy):
        super().__init__(name="ladder_decoder", dtype="float32")
        self.policy = policy

    def build(self, shapes):
        sizes = [shape[-1] for shape in shapes]
        self.denses = [dense_layer(size, self.policy) for size in sizes[:-1]]
        self.norms = [BatchStatistics(name="statistics", dtype="float32") for _ in sizes]
        self.combinators = [Combinator(dtype="float32") for _ in sizes]
        for dense, above in zip(self.denses, sizes[1:], strict=True):
            dense.build((None, above))
        for size, norm, combinator in zip(sizes, self.norms, self.combinators, strict=True):
            norm.build((None, size))
            combinator.build((None, size), (None, size))
        self.built = True

    def descend(self, noisy, h, training, groups=None):
        """Estimates of z, image first, from the z (None: unknown) and output h of a noisy path."""
        estimates = []
        for level in reversed(range(len(noisy))):
            u, _, _ = self.norms[level](h, groups, training=training)
            combine, z = self.combinators[level], noisy[level]
            estimates.append(combine.mean(u) if z is None else combine(z, u))
            if level:
                h = self.denses[level - 1](estimates[-1])
        return estimates[::-1]


def _groups(y):
    """Unlabelled and labelled images, `(batch, 2)`; all in the first where either are too few."""
    labelled = ops.cast(ops.convert_to_tensor(y) >= 0, "float32")
    groups = ops.stack([1 - labelled, labelled], axis=1)
    fewest = ops.min(over_all_replicas(ops.sum(groups, axis=0)))
    return ops.where(fewest >= FEWEST, groups, ops.convert_to_tensor([1.0, 0.0]))
