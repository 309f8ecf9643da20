"""Training on a few labelled and many unlabelled images: one encoder, two tasks.

An unlabelled image has the label -1, or NaN where the label is a value. The loss of a batch is

    mean reconstruction loss of all its images
        + weight * mean prediction loss of its labelled images, 0 if it has none.

`LadderNetwork` can be had here too; `aelib.ladder` has it.
"""

import importlib
import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from scipy import special

from aelib.autoencoder import Autoencoder, _in_batches, _is_array, _Rows, _split
from aelib.denoising import _number
from aelib.losses import BernoulliCrossEntropy, check_probabilities


def __getattr__(name: str):
    # On first use: the ladder builds on this room, so this room cannot start with it.
    if name == "LadderNetwork":
        return importlib.import_module("aelib.ladder").LadderNetwork
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _SemiSupervised(Autoencoder):
    """What this model and the ladder share: labels may be missing, batches have enough.

    A child calls `_prediction_loss` and `_record` in its `compute_loss`.
    """

    weight = 1.0

    def _track(self):
        # With a built encoder the model is built by now, and Keras takes no more state.
        self._tracker.unlock()
        self._unsupervised = keras.metrics.Mean(name="unsupervised")
        self.reconstruction = keras.metrics.Mean(name="reconstruction")
        self.prediction = keras.metrics.Mean(name="prediction")
        self.score = keras.metrics.Mean(name="score")
        self._score_name = "accuracy"

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        *,
        labelled_share: float = 0.25,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        **kwargs,
    ):
        """As `keras.Model.fit`, with batches in which labelled images are not drowned.

        With 100 labels among 60,000 images a shuffled batch of 128 holds 0.2 labelled images:
        four steps in five would learn nothing of the classes, and the fifth from one image.
        Where labelled images are rarer than `labelled_share`, every batch is therefore made of
        two parts: that share is labelled (or all labelled images, if there are fewer), taken in
        turn, in a new order each time round; the rest is unlabelled. An epoch is once through
        the unlabelled images, and passes over the labelled ones many times.

        Args:
            x: images `(n, ...)`, or a `tf.data.Dataset` of `(images, labels)`, whose batches
                stay as they are.
            y: labels `(n,)`, integers, -1 for an unlabelled image; or values `(n, k)`, floating
                point, NaN for an unlabelled image (`(n,)` will do for one value).
            labelled_share: between 0 and 1, the least share of each batch that is labelled;
                0, and `shuffle=False`, leave the batches as they come.

        Raises:
            ValueError: for images, labels or a share that are none.
        """
        labelled_share = _number("labelled_share", labelled_share, 1)
        if _is_array(x):
            x, y = self._checked_pair(x, y)
            if validation_split and validation_data is None:
                x, y, validation_data = _split(x, y, validation_split)
                validation_split = 0.0
            labelled = _is_labelled(y)
            if shuffle is True and 0 < labelled.mean() < labelled_share:
                rows = mixed_rows(labelled, batch_size or 32, labelled_share)
                arrays = (tf.constant(x), tf.constant(y))
                if self._gathers_rows(shuffle, kwargs):
                    whole = tf.data.Dataset.from_tensors(arrays).repeat()
                    x = tf.data.Dataset.zip(_Rows(rows, whole))
                else:
                    x = rows.map(lambda i: tuple(tf.gather(array, i) for array in arrays))
                y = batch_size = None
        return super().fit(
            x,
            y,
            batch_size,
            epochs,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            **kwargs,
        )

    def _prediction_loss(self, y, output):
        """Mean loss of the labelled images of a batch, and the metrics of it."""
        if y is None:
            raise ValueError(
                "Every image has a label, -1 (or NaN, for values) where it is unknown. "
                "Received: y=None"
            )
        y = ops.convert_to_tensor(y)
        output = ops.cast(output, "float32")
        if keras.backend.is_float_dtype(y.dtype):
            self._score_name = "mean_absolute_error"
            losses, scores, labelled = _of_values(y, output)
        else:
            self._score_name = "accuracy"
            losses, scores, labelled = _of_classes(y, output)
        labelled = ops.cast(labelled, "float32")
        self.prediction.update_state(losses, sample_weight=labelled)
        self.score.update_state(scores, sample_weight=labelled)
        return ops.sum(losses) / ops.maximum(ops.sum(labelled), 1.0)

    def _record(self, reconstruction, unsupervised, x):
        images = ops.shape(x)[0]
        self.reconstruction.update_state(reconstruction, sample_weight=images)
        self._unsupervised.update_state(unsupervised, sample_weight=images)

    def get_metrics_result(self):
        # The mean of the batches' losses would depend on how the labels fall into batches; this
        # is the loss of all images as one batch.
        results = super().get_metrics_result()
        results["loss"] = results.pop("unsupervised") + self.weight * results["prediction"]
        results[self._score_name] = results.pop("score")
        return results

    # Use

    def classify(self, x) -> np.ndarray:
        """The most probable class of each image: `(n, ...)` to int64 `(n,)`."""
        return self._predictions(x).argmax(axis=-1)

    def probabilities(self, x) -> np.ndarray:
        """The probability of each class: `(n, ...)` to float32 `(n, classes)`."""
        return special.softmax(self._predictions(x), axis=-1)

    # Arguments

    def _checked_pair(self, x, y):
        x = self._checked("x", x)
        if y is None:
            raise ValueError(
                "Labels come with the images, -1 (or NaN, for values) where they are unknown. "
                "Received: y=None"
            )
        y = np.asarray(y)
        if len(y.shape) == 0 or len(x) != len(y):
            raise ValueError(
                f"Every image has one label. Received: x.shape={x.shape}, y.shape={y.shape}"
            )
        if isinstance(self.loss, BernoulliCrossEntropy):
            check_probabilities("x", x)
        return x, _checked_labels(y, self._outputs(x.shape))


@keras.saving.register_keras_serializable(package="aelib")
class SemiSupervisedAutoencoder(_SemiSupervised):
    """An autoencoder whose code must also predict the labels, as far as there are any.

    The loss given to `compile` is that of the reconstruction. To it comes `weight` times the mean
    prediction loss of the labelled images: cross-entropy in nats where labels are integers, the
    squared error summed over the values where they are floating-point numbers.

    `fit` and `evaluate` show `loss`, `reconstruction`, `prediction` and `accuracy` (or
    `mean_absolute_error`); the last two are means over the labelled images, 0 if there are none.
    They, and so the loss, do not depend on how the images are split into batches.

    Args:
        encoder: layer or model from images `(batch, ...)` to codes.
        decoder: layer or model from codes to images.
        predictor: layer or model from codes to logits `(batch, classes)`, at least two, or to
            values `(batch, k)`.
        weight: float, at least 0, in units of the reconstruction loss per unit of prediction loss.
        corruption: as of `Autoencoder`: fresh noise in training, the same noise in every
            validation, none in use. Encoder and predictor see the corrupted image, the target of
            the decoder is the clean one.

    Call arguments:
        x: `(batch, ...)`, images.

    Returns, when called: a dictionary, `reconstruction` what the decoder gives and `prediction`
    what the predictor gives.

    Raises:
        ValueError: for parts that are no layers, a weight that is negative or no number, labels
            that fit neither task, and sample weights.

    Example:

        model = SemiSupervisedAutoencoder(encoder, decoder, keras.layers.Dense(10), weight=10.0)
        model.compile("adam", losses.SquaredError())
        model.fit(x, np.where(known, labels, -1), epochs=10, batch_size=128)
        model.classify(x_test)

    References: Ranzato & Szummer, "Semi-supervised learning of compact document representations
    with deep networks", 2008 (the joint loss); Vincent et al. 2010 for the corruption.
    """

    predictor = None  # Autoencoder builds what it can before there is one.

    def __init__(self, encoder, decoder, predictor, weight, corruption=None, **kwargs):
        if not isinstance(predictor, keras.layers.Layer):
            raise ValueError(
                f"The predictor is a Keras layer or model. Received: predictor={predictor!r}"
            )
        super().__init__(encoder, decoder, corruption, **kwargs)
        self._track()
        self.predictor = predictor
        self.weight = _number("weight", weight, math.inf)
        self._predictor_graph = tf.function(lambda x: predictor(encoder(x)), reduce_retracing=True)
        if self.built:
            self.build(encoder.input_shape)

    def build(self, input_shape):
        super().build(input_shape)
        if self.predictor is not None and not self.predictor.built:
            self.predictor.build(self.encoder.compute_output_shape(input_shape))

    def call(self, x, training=None):
        if self.corruption is not None:
            x = self.corruption(x, training=training)
        z = self.encoder(x)
        return {"reconstruction": self.decoder(z), "prediction": self.predictor(z)}

    def test_step(self, data):
        # The images come twice: once to be corrupted, once as the target.
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        return super().test_step((x, (x, y), sample_weight))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        _refuse_weights(sample_weight)
        x, y = y if isinstance(y, tuple) else (x, y)
        unsupervised = super().compute_loss(x, x, y_pred["reconstruction"], None, training)
        prediction = self._prediction_loss(y, y_pred["prediction"])
        # Keras has divided the one, and will divide the other, by the number of replicas.
        whole = unsupervised * self.distribute_strategy.num_replicas_in_sync
        self._record(whole - sum(self.losses), whole, x)
        return unsupervised + self._aggregate_additional_loss(self.weight * prediction)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        x = y[0] if isinstance(y, tuple) else x
        return super().compute_metrics(x, x, y_pred["reconstruction"])

    def regress(self, x) -> np.ndarray:
        """The predicted values: `(n, ...)` to float32 `(n, k)`."""
        return self._predictions(x)

    def _predictions(self, x):
        return _in_batches(self._predictor_graph, self._checked("x", x))

    def _outputs(self, shape) -> int:
        if not self.built:
            self.build((None, *shape[1:]))
        codes = self.encoder.compute_output_shape((None, *shape[1:]))
        return self.predictor.compute_output_shape(codes)[-1]

    def get_config(self):
        predictor = keras.saving.serialize_keras_object(self.predictor)
        return {**super().get_config(), "predictor": predictor, "weight": self.weight}

    @classmethod
    def from_config(cls, config):
        predictor = keras.saving.deserialize_keras_object(config["predictor"])
        return super().from_config({**config, "predictor": predictor})


def mixed_rows(labelled, batch_size: int, share: float) -> tf.data.Dataset:
    """Row numbers of batches with a fixed number of labelled images in each.

    Args:
        labelled: `(n,)` bool, which images have a label.
        batch_size: int, at least 2.
        share: between 0 and 1, of each batch, rounded to at least one image, and to no more
            than there are.

    Returns: a dataset that goes once through the unlabelled rows (the last batch may have fewer of
    them), and over and over through the labelled ones, both in a new order each time.
    """
    known, unknown = np.flatnonzero(labelled), np.flatnonzero(~labelled)
    if batch_size < 2:
        raise ValueError(
            "A batch of labelled and unlabelled images has two or more. "
            f"Received: batch_size={batch_size}"
        )
    count = min(max(1, round(share * batch_size)), len(known), batch_size - 1)
    with_labels, without = (
        tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows)) for rows in (known, unknown)
    )
    batches = (with_labels.repeat().batch(count), without.batch(batch_size - count))
    return tf.data.Dataset.zip(batches).map(lambda *parts: tf.concat(parts, axis=0))


def _of_classes(y, logits):
    """Cross-entropies in nats, hits, and which images have a label: `(batch,)` each."""
    if y.shape.rank != 1 or logits.shape[-1] < 2:
        raise ValueError(
            "Integer labels are classes, one for each image, and need two logits or more; values "
            f"are floating-point numbers. Received: y.shape={tuple(y.shape)}, "
            f"prediction.shape={tuple(logits.shape)}"
        )
    labelled = y >= 0
    # A class that exists for those without, or their loss and its gradient would be NaN.
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
        raise ValueError(
            "Values have the shape of the prediction; classes are integers. "
            f"Received: y.shape={tuple(y.shape)}, prediction.shape={tuple(values.shape)}"
        )
    labelled = ops.logical_not(ops.any(ops.isnan(y), axis=-1))
    # Masked before the arithmetic as well: the gradient of a masked NaN is NaN.
    errors = ops.where(labelled[:, None], y, ops.zeros_like(y)) - values
    squares = ops.where(labelled, ops.sum(ops.square(errors), axis=-1), 0.0)
    return squares, ops.mean(ops.abs(errors), axis=-1), labelled


def _is_labelled(y: np.ndarray) -> np.ndarray:
    return y >= 0 if y.dtype.kind == "i" else ~np.isnan(y).any(axis=-1)


def _checked_labels(y: np.ndarray, outputs: int) -> np.ndarray:
    """int64 `(n,)` or float32 `(n, outputs)`."""
    if y.dtype.kind in "iu":
        if y.ndim != 1 or outputs < 2 or y.min() < -1 or y.max() >= outputs:
            raise ValueError(
                f"Integer labels are classes, one for each image, below the {outputs} outputs of "
                "the predictor (two or more), or -1; values are floating-point numbers. "
                f"Received: y of the shape {y.shape} from {y.min()} to {y.max()}"
            )
        return y.astype("int64")
    if y.dtype.kind != "f":
        raise ValueError(
            f"Labels are integers or floating-point numbers. Received: y.dtype={y.dtype}"
        )
    y = y[:, None] if y.ndim == 1 else y
    if y.shape[1:] != (outputs,) or np.isinf(y).any():
        raise ValueError(
            f"Floating-point labels are {outputs} finite values for each image, as the predictor "
            f"gives, or NaN; classes are integers. Received: y.shape={y.shape}, "
            f"of which infinite={int(np.isinf(y).sum())}"
        )
    return y.astype("float32")


def _refuse_weights(sample_weight) -> None:
    if sample_weight is not None:
        raise ValueError(
            "Images with and without labels have no further weights. "
            "Received: sample_weight or class_weight"
        )
