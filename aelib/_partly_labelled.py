"""What models that learn from few labels share: labels may be missing, batches have enough.

An unlabelled image has the label -1, or NaN where the label is a value. Invalid images, labels or
arguments raise `ValueError`.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from scipy import special

from aelib._checks import number, same_length, whole
from aelib.autoencoder import Autoencoder
from aelib.losses import BernoulliCrossEntropy, check_probabilities
from aelib.training import Rows, beside, gathered, over_all_replicas, require


class PartlyLabelled(Autoencoder):
    """A child calls `prediction_loss` and `record` in its `compute_loss`, and says what
    `outputs_for` and `predict_labels` give."""

    weight = 1.0  # of the prediction loss in the loss that is shown
    _has_a_loss = True  # that of the reconstruction, given to `compile`

    def __init__(self, encoder, decoder, corruption=None, **kwargs):
        super().__init__(encoder, decoder, corruption, **kwargs)
        self._unsupervised = keras.metrics.Mean(name="unsupervised")
        self.reconstruction = keras.metrics.Mean(name="reconstruction")
        self.prediction = keras.metrics.Mean(name="prediction")
        self.score = keras.metrics.Mean(name="score")
        self._score_name = "accuracy"
        self._labelled_share = 0.25

    def compile(self, optimizer="rmsprop", loss=None, **kwargs):
        """See `Autoencoder.compile`; the prediction has its own loss and metrics."""
        given = {"loss": loss, **kwargs}
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            value = given.get(name)
            several = isinstance(value, dict) or (
                name == "loss" and isinstance(value, list | tuple)
            )
            if several or not (value is None or self._has_a_loss):
                expected = "that of the reconstruction alone" if self._has_a_loss else "None"
                fault = f"`{name}` must be {expected}: labels have their own loss and metrics"
                raise ValueError(f"{fault}. Received: {name}={value!r}")
        super().compile(optimizer, loss, **kwargs)

    def fit(self, *args, labelled_share: float = 0.25, **kwargs):
        """See `keras.Model.fit`; every batch has enough labelled images.

        Where labels are rarer than `labelled_share`, that share of every batch is labelled (or all
        labelled images, if there are fewer), taken in turn; the rest is unlabelled. An epoch is
        once through the unlabelled images, and many times through the labelled ones.

        Args:
            x: images `(n, ...)`, or a `tf.data.Dataset` of `(images, labels)`, whose batches
                stay as they are.
            y: integer labels `(n,)` or `(n, 1)`, -1 if unknown, or floating-point values `(n, k)`
                or `(n,)`, NaN if unknown.
            labelled_share: float in [0, 1]; 0, and `shuffle=False`, leave the batches as they come.
        """
        self._labelled_share = number("labelled_share", labelled_share, 0, 1)
        return super().fit(*args, **kwargs)

    def _batches(self, arrays, batch_size, shuffle, gathers):
        labelled = _is_labelled(arrays[1])
        if shuffle is not True or not 0 < labelled.mean() < self._labelled_share:
            return super()._batches(arrays, batch_size, shuffle, gathers)
        indices = mixed_rows(labelled, batch_size, self._labelled_share)
        arrays = tuple(map(tf.constant, arrays))
        if gathers:
            return beside(indices, arrays)
        return indices.map(lambda numbers: gathered(Rows(numbers, arrays)))

    def _checked_batch(self, x, y, unseen):
        return super()._checked_batch(x, None, unseen)[0], y

    def _target(self, x, y):
        return (x, y)  # what is to be reconstructed, before any corruption, and the labels

    def prediction_loss(self, y, output):
        """Mean loss of the labelled images of a batch, or this replica's share of it; keeps the
        metrics of it."""
        y, output = as_labels(y), ops.cast(output, "float32")
        are_values = keras.backend.is_float_dtype(y.dtype)
        self._score_name = "mean_absolute_error" if are_values else "accuracy"
        losses, scores, labelled = (_of_values if are_values else _of_classes)(y, output)
        labelled = ops.cast(labelled, "float32")
        self.prediction.update_state(losses, sample_weight=labelled)
        self.score.update_state(scores, sample_weight=labelled)
        return ops.sum(losses) / ops.maximum(over_all_replicas(ops.sum(labelled)), 1.0)

    def record(self, reconstruction, unsupervised, images):
        """Keeps a batch's mean reconstruction loss, and with it all that needs no labels."""
        self.reconstruction.update_state(reconstruction, sample_weight=images)
        self._unsupervised.update_state(unsupervised, sample_weight=images)

    def get_metrics_result(self):
        # The loss of all images as one batch, however their labels fall into batches.
        results = super().get_metrics_result()
        results["loss"] = results.pop("unsupervised") + self.weight * results["prediction"]
        results[self._score_name] = results.pop("score")
        return results

    def classify(self, x) -> np.ndarray:
        """The most probable class of each image: `(n, ...)` to int64 `(n,)`."""
        return self.predict_labels(x).argmax(axis=-1)

    def probabilities(self, x) -> np.ndarray:
        """The probability of each class: `(n, ...)` to float32 `(n, classes)`."""
        return special.softmax(self.predict_labels(x), axis=-1)

    def _checked_pair(self, x, y, weights=None):
        x = self._checked("x", x)
        _require(y)
        y = np.atleast_1d(y)
        same_length(x=x, y=y)
        if isinstance(self.loss, BernoulliCrossEntropy):
            check_probabilities("x", x)
        return x, _checked_labels(y, self.outputs_for(x))


def as_labels(y):
    """The labels of a batch: classes as int64 `(batch,)`, values as they are."""
    _require(y)
    y = ops.convert_to_tensor(y)
    if not (y.dtype.is_integer or y.dtype.is_floating):
        raise ValueError(f"Labels must be numbers. Received: y.dtype={y.dtype.name}")
    if y.dtype.is_floating:
        return y
    # The rank is unknown where Keras has seen classes with and without a second axis.
    column = y.shape.rank is None or (y.shape.rank == 2 and y.shape[1] == 1)
    y = ops.reshape(y, (-1,)) if column else y
    if y.shape.rank != 1:
        raise ValueError(f"Classes must be one per image. Received: y.shape={tuple(y.shape)}")
    return ops.cast(y, "int64")


def _require(y) -> None:
    if y is None:
        raise ValueError("Labels are needed, -1 (or NaN) where unknown. Received: y=None")


def refuse_weights(weight) -> None:
    if weight is not None:
        fault = "`sample_weight` and `class_weight` must be None"
        raise ValueError(f"{fault}. Received: sample_weight or class_weight")


def mixed_rows(labelled, batch_size: int, share: float) -> tf.data.Dataset:
    """Row numbers of batches with a fixed number of labelled images in each.

    Args:
        labelled: `(n,)` bool, which images have a label.
        batch_size: int >= 2.
        share: float in [0, 1], of each batch, rounded to at least one image, and to no more
            than there are.

    Returns: a dataset that goes once through the unlabelled rows (the last batch may have fewer of
    them), and over and over through the labelled ones, both in a new order each time.
    """
    whole("batch_size", batch_size, 2)
    known, unknown = np.flatnonzero(labelled), np.flatnonzero(~labelled)
    count = min(max(1, round(share * batch_size)), len(known), batch_size - 1)
    with_labels, without = (
        tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows)) for rows in (known, unknown)
    )
    batches = (with_labels.repeat().batch(count), without.batch(batch_size - count))
    return tf.data.Dataset.zip(batches).map(lambda *parts: tf.concat(parts, axis=0))


def _of_classes(y, logits):
    """Cross-entropies in nats, hits, and which images have a label: `(batch,)` each."""
    if logits.shape[-1] < 2:
        expected = "Integers must be classes, predicted by two logits or more"
        raise ValueError(f"{expected}. {_received(y, logits)}")
    low, high = ops.min(y, initial=0), ops.max(y, initial=0)
    message = f"Labels must be integers from -1 to {logits.shape[-1] - 1}. Received: y from"
    y = require(ops.logical_and(low >= -1, high < logits.shape[-1]), message, y, low, "to", high)
    labelled = y != -1
    # A class that exists for those without, or their loss and its gradient would be NaN, as those
    # of classes that do not exist are where nothing is checked.
    classes = ops.where(labelled, y, ops.zeros_like(y))
    nats = ops.sparse_categorical_crossentropy(classes, logits, from_logits=True)
    hits = ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=-1), y.dtype), y), "float32")
    return ops.where(labelled, nats, 0.0), hits, labelled


def _of_values(y, values):
    """Squared errors summed over the values, mean absolute errors, and which have a label."""
    y = ops.cast(y, "float32")
    # The rank is unknown where Keras has seen values with and without their second axis.
    if y.shape.rank is None or (y.shape.rank == 1 and values.shape[-1] == 1):
        y = ops.reshape(y, (-1, values.shape[-1]))
    if y.shape[1:] != values.shape[1:]:
        raise ValueError(f"Values must have the prediction's shape. {_received(y, values)}")
    infinite = ops.any(ops.isinf(y))
    message = "Labels must be finite, or NaN. Received: y with infinite values"
    y = require(ops.logical_not(infinite), message, y)
    labelled = ops.logical_not(ops.any(ops.isnan(y), axis=-1))
    # Masked before the arithmetic as well: the gradient of a masked NaN is NaN.
    errors = ops.where(labelled[:, None], y, ops.zeros_like(y)) - values
    squares = ops.where(labelled, ops.sum(ops.square(errors), axis=-1), 0.0)
    return squares, ops.mean(ops.abs(errors), axis=-1), labelled


def _received(y, prediction) -> str:
    return f"Received: y.shape={tuple(y.shape)}, prediction.shape={tuple(prediction.shape)}"


def _is_labelled(y: np.ndarray) -> np.ndarray:
    return y >= 0 if y.dtype.kind == "i" else ~np.isnan(y).any(axis=-1)


def _checked_labels(y: np.ndarray, outputs: int) -> np.ndarray:
    """int64 `(n,)` or float32 `(n, outputs)`."""
    if y.dtype.kind in "iu":
        y = y[:, 0] if y.shape[1:] == (1,) else y
        if y.ndim != 1 or outputs < 2 or y.min() < -1 or y.max() >= outputs:
            received = f"y.shape={y.shape}, from {y.min()} to {y.max()}"
            expected = f"integers from -1 to {outputs - 1}, one per image, two classes or more"
            raise ValueError(f"Labels must be {expected}. Received: {received}")
        return y.astype("int64")
    if y.dtype.kind != "f":
        raise ValueError(f"Labels must be numbers. Received: y.dtype={y.dtype}")
    y = y[:, None] if y.ndim == 1 else y
    if y.shape[1:] != (outputs,) or np.isinf(y).any():
        received = f"y.shape={y.shape}, of which infinite={int(np.isinf(y).sum())}"
        expected = f"{outputs} finite values per image, or NaN; classes are integers"
        raise ValueError(f"Floating-point labels must be {expected}. Received: {received}")
    return y.astype("float32")
