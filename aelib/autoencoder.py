"""Encoder, decoder and the model that trains them on their own input."""

import json
import re
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from scipy import special

from aelib._adam import fuse
from aelib.losses import BernoulliCrossEntropy, check_probabilities

STEPS_PER_EXECUTION = 50
_BATCH = 1000  # of encode, decode and reconstruct
_VALIDATION_SEED = 20131

# The encoder's layers, by name, while a decoder tied to them is being loaded. Keras restores a
# layer shared between two models only if neither has copied its config, and Sequential does.
_tied: ContextVar[dict[str, keras.layers.Dense]] = ContextVar("_tied", default=MappingProxyType({}))


class _Rows(NamedTuple):
    """Which rows of which arrays make up a batch; the training step gathers them."""

    indices: tf.Tensor
    arrays: tuple[tf.Tensor, ...]


@keras.saving.register_keras_serializable(package="aelib")
class Autoencoder(keras.Model):
    """decoder(encoder(x)), trained to give x back.

    `fit(x)` and `evaluate(x)` take the images as their own target; `fit(noisy, clean)`,
    `validation_data=x`, `validation_data=(noisy, clean)` and `validation_split` work, with
    arrays and with `tf.data` alike (a dataset of images, or of `(noisy, clean)` pairs).

    Fast without asking: Keras returns to Python after every step for its logs, and has
    `tf.data` copy every batch out of the images with threads that the matrix products
    need. Here `compile` runs 50 steps for each return, and `fit` on arrays sends the step
    only the numbers of its rows, which it gathers itself; Adam takes its step in one pass over
    the weights. Callbacks, history, validation, early stopping and interruption are Keras's
    own; only batch-level callbacks see every 50th batch (`compile(steps_per_execution=1)`
    gives them all). On two busy cores, dense 784-512-20, `make bench` had it at 1.7 times the
    speed of plain Keras at batch 128 (135 against 78 steps a second) and 1.6 times at batch
    512 (61 against 37), there at three quarters of what the matrix products alone allow.
    Eager PyTorch was faster at batch 128 (187) and as fast at 512 (59).
    The order of the images is also a new one in every epoch after `keras.utils.set_random_seed`;
    Keras 3.15's `fit` on arrays then repeats the first epoch's.

    Args:
        encoder: layer or model from images `(batch, ...)` to codes.
        decoder: layer or model from codes to images of the same shape as the input.
        corruption: layer that disturbs its input when called with `training=True`, or None.
            In training its noise is fresh at every step. `evaluate` and validation also
            see corrupted images, with the same noise each time.

    Call arguments:
        x: `(batch, ...)`, images.

    Returns, when called: the decoder's output. It is an image only if the decoder's last
    layer gives one; `reconstruct` always gives images.

    Raises:
        ValueError: from `fit`, `evaluate`, `encode`, `decode` and `reconstruct`, for arrays
            that are empty, of the wrong rank or not finite, and for targets outside [0, 1]
            under the Bernoulli loss.

    Example:

        encoder = keras.Sequential([keras.Input((28, 28, 1)), Flatten(), Dense(32)])
        decoder = keras.Sequential([keras.Input((32,)), Dense(784), Reshape((28, 28, 1))])
        model = Autoencoder(encoder, decoder)
        model.compile("adam", losses.SquaredError())
        model.fit(x, epochs=10, batch_size=128)

    Reference: Hinton & Salakhutdinov, "Reducing the dimensionality of data with neural
    networks", Science 313, 2006.
    """

    def __init__(self, encoder, decoder, corruption=None, **kwargs):
        for name, layer in {"encoder": encoder, "decoder": decoder}.items():
            if not isinstance(layer, keras.layers.Layer):
                raise ValueError(
                    f"The {name} is a Keras layer or model. Received: {name}={layer!r}"
                )
        if corruption is not None and not isinstance(corruption, keras.layers.Layer):
            raise ValueError(
                f"The corruption is a Keras layer or None. Received: corruption={corruption!r}"
            )
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.corruption = corruption
        self._encoder_graph = tf.function(lambda x: encoder(x), reduce_retracing=True)
        self._decoder_graph = tf.function(lambda z: decoder(z), reduce_retracing=True)
        if encoder.built and isinstance(getattr(encoder, "input_shape", None), tuple):
            self.build(encoder.input_shape)

    def build(self, input_shape):
        for layer, shape in self._chain(input_shape):
            if not layer.built:
                layer.build(shape)
        self.built = True

    def _chain(self, input_shape):
        shape = input_shape
        for layer in (self.corruption, self.encoder, self.decoder):
            if layer is not None:
                yield layer, shape
                shape = layer.compute_output_shape(shape)

    def call(self, x, training=None):
        if self.corruption is not None:
            x = self.corruption(x, training=training)
        return self.decoder(self.encoder(x))

    # Training

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        *,
        steps_per_execution: int | None = None,
        **kwargs,
    ):
        """As `keras.Model.compile`, with 50 training steps for each return to Python.

        Under a distribution strategy it is one step: Keras 3.15 cannot run several there.
        """
        distributed = self._is_distributed()
        if steps_per_execution is None:
            steps_per_execution = 1 if distributed else STEPS_PER_EXECUTION
        super().compile(optimizer, loss, steps_per_execution=steps_per_execution, **kwargs)
        if not distributed:
            fuse(self.optimizer)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        **kwargs,
    ):
        """As `keras.Model.fit`; without `y` the target is `x` itself."""
        if validation_data is not None:
            validation_data = self._checked_validation(validation_data)
        if _is_array(x):
            x, y = self._checked_pair(x, y)
            if validation_split and validation_data is None:
                x, y, validation_data = _split(x, y, validation_split)
                validation_split = 0.0
            if self._gathers_rows(shuffle, kwargs):
                x, y = _rows(x, y, batch_size or 32, shuffle), None
        if isinstance(x, tf.data.Dataset):
            shuffle = False  # a dataset has its own order, and Keras warns of any other wish
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            **kwargs,
        )

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """As `keras.Model.evaluate`; without `y` the target is `x` itself."""
        if _is_array(x):
            x, y = self._checked_pair(x, y)
        with self._fixed_noise():
            return super().evaluate(x, y, *args, **kwargs)

    def train_step(self, data):
        if isinstance(data, _Rows):
            data = tuple(tf.gather(array, data.indices) for array in data.arrays)
        return super().train_step(data)

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y = x if y is None else y
        if self.corruption is not None:
            x = self.corruption(x, training=True)
        return super().test_step((x, y, sample_weight))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        y = x if y is None else y
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, x if y is None else y, y_pred, sample_weight)

    def _gathers_rows(self, shuffle, arguments) -> bool:
        """Whether the training step can gather its own rows.

        Not on a GPU, where the images would travel to the device at every step, not over
        replicas, which share out a batch, and not with weights, which belong to the rows.
        """
        weighted = {"class_weight", "sample_weight", "steps_per_epoch"}
        return (
            isinstance(shuffle, bool)
            and all(arguments.get(name) is None for name in weighted)
            and not self._is_distributed()
            and not tf.config.list_logical_devices("GPU")
        )

    def _is_distributed(self) -> bool:
        # TensorFlow gives every model a strategy; this is the one that does nothing.
        return type(self.distribute_strategy.extended).__name__ != "_DefaultDistributionExtended"

    @contextmanager
    def _fixed_noise(self):
        """Inside, the corruption draws the same noise every time; outside, it goes on as before."""
        states = _random_states(self.corruption)
        before = [state.numpy() for state in states]
        for number, state in enumerate(states):
            state.assign([_VALIDATION_SEED + number, 0])
        try:
            yield
        finally:
            for state, value in zip(states, before, strict=True):
                state.assign(value)

    # Use

    def encode(self, x) -> np.ndarray:
        """Codes of images: `(n, ...)` to float32 `(n, ...)`, as the encoder gives them."""
        return _in_batches(self._encoder_graph, self._checked("x", x))

    def decode(self, z) -> np.ndarray:
        """Images of codes: float32 in `(n, height, width, channels)`, or what the decoder gives."""
        output = _in_batches(self._decoder_graph, self._checked("z", z, self.decoder))
        # Losses on logits leave the last sigmoid to themselves.
        return special.expit(output) if getattr(self.loss, "from_logits", False) else output

    def reconstruct(self, x) -> np.ndarray:
        """Images after encoder and decoder, without corruption: `(n, ...)` to the same shape."""
        return self.decode(self.encode(x))

    # Arguments

    def _checked(self, name: str, values, layer=None) -> np.ndarray:
        values = _finite(name, values)
        expected = getattr(layer or self.encoder, "input_shape", None)
        if isinstance(expected, tuple) and not _fits(values.shape, expected):
            raise ValueError(
                f"{name} has the shape {expected}, where None is any number. "
                f"Received: {name}.shape={values.shape}"
            )
        return values

    def _checked_pair(self, x, y):
        x = self._checked("x", x)
        if y is not None:
            y = _finite("y", y)
            if len(x) != len(y):
                raise ValueError(
                    f"Every image has one target. Received: x.shape={x.shape}, y.shape={y.shape}"
                )
        if isinstance(self.loss, BernoulliCrossEntropy):
            check_probabilities("x" if y is None else "y", x if y is None else y)
        return x, y

    def _checked_validation(self, data):
        if _is_array(data):
            return self._checked_pair(data, None)[:1]
        if isinstance(data, tuple | list) and data and _is_array(data[0]):
            x, y, *weights = (*data, None)[: max(2, len(data))]
            return (*self._checked_pair(x, y), *weights)
        return data

    # Files

    def get_config(self):
        parts = {"encoder": self.encoder, "decoder": self.decoder, "corruption": self.corruption}
        shared = _dense_layers(self.encoder)
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
            "tied": [
                name
                for name, dense in _dense_layers(self.decoder).items()
                if dense is shared.get(name)
            ],
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        tied = config.pop("tied")
        config["encoder"] = keras.saving.deserialize_keras_object(config["encoder"])
        layers = _dense_layers(config["encoder"])
        token = _tied.set({name: layers[name] for name in tied})
        try:
            config["decoder"] = keras.saving.deserialize_keras_object(config["decoder"])
        finally:
            _tied.reset(token)
        config["corruption"] = keras.saving.deserialize_keras_object(config["corruption"])
        return cls(**config)


@keras.saving.register_keras_serializable(package="aelib")
class TransposedDense(keras.layers.Layer):
    """A dense layer whose kernel is the transpose of another's: tied weights.

    Both layers train one kernel, before and after saving and loading; this one adds only
    its own bias.

    Args:
        dense: the `keras.layers.Dense` whose kernel is shared. Build it first, for
            instance by giving the encoder an `Input`.
        activation: of the output; None is linear.

    Input shape: `(batch, ..., units)` of `dense`.
    Output shape: `(batch, ..., inputs)` of `dense`.

    Reference: Vincent et al., "Extracting and composing robust features with denoising
    autoencoders", 2008, section 2.1: W' = W^T.
    """

    def __init__(self, dense, activation=None, **kwargs):
        if not isinstance(dense, keras.layers.Dense):
            raise ValueError(f"dense is a keras.layers.Dense. Received: dense={dense!r}")
        super().__init__(**kwargs)
        self.dense = dense
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        if not self.dense.built:
            raise ValueError(
                "Build the dense layer before its transpose. "
                f"Received: dense={self.dense.name!r}, which has no kernel yet"
            )
        inputs, units = self.dense.kernel.shape
        if input_shape[-1] != units:
            raise ValueError(
                f"The last axis holds the {units} units of the dense layer. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.bias = self.add_weight(name="bias", shape=(inputs,), initializer="zeros")

    def call(self, z):
        return self.activation(ops.matmul(z, ops.transpose(self.dense.kernel)) + self.bias)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.dense.kernel.shape[0])

    def get_config(self):
        return {
            **super().get_config(),
            "dense": keras.saving.serialize_keras_object(self.dense),
            "activation": keras.activations.serialize(self.activation),
        }

    @classmethod
    def from_config(cls, config):
        dense = _tied.get().get(config["dense"]["config"]["name"])
        if dense is None:
            dense = keras.saving.deserialize_keras_object(config["dense"])
        return cls(**{**config, "dense": dense})


def load_model(path: str | PathLike):
    """Loads a `.keras` file, importing the rooms of `aelib` that it names.

    Keras finds a class by its registered name, which it knows only once the room that
    defines it is imported; rooms load on first use.

    Raises:
        ValueError: if there is no Keras file at `path`.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, KeyError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(
            f"No Keras model can be read there ({error}). Received: path={path}"
        ) from error
    for room in sorted(set(re.findall(r'"module": "(aelib\.\w+)"', json.dumps(config)))):
        import_module(room)
    return keras.models.load_model(path)


def _is_array(values) -> bool:
    return isinstance(values, np.ndarray | tf.Tensor | tf.Variable | keras.Variable)


def _finite(name: str, values) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{name} holds numbers. Received: {name}.dtype={values.dtype}")
    if values.ndim < 2 or not values.size:
        raise ValueError(
            f"{name} is an array of at least one image or code, with rank 2 or more. "
            f"Received: {name}.shape={values.shape}"
        )
    if not np.isfinite(values).all():
        count = int(np.size(values) - np.isfinite(values).sum())
        raise ValueError(f"{name} is finite. Received: {name} with {count} NaN or infinite values")
    return values.astype("float32", copy=False)


def _fits(shape: tuple, expected: tuple) -> bool:
    return len(shape) == len(expected) and all(
        wanted in (None, got) for got, wanted in zip(shape, expected, strict=True)
    )


def _split(x, y, share: float):
    """The last `share` of the images as validation data, as Keras does it."""
    if not 0 < share < 1 or not 0 < int(len(x) * (1 - share)) < len(x):
        raise ValueError(
            "validation_split leaves images on both sides. "
            f"Received: validation_split={share} for {len(x)} images"
        )
    first = int(len(x) * (1 - share))
    validation = (x[first:],) if y is None else (x[first:], y[first:])
    return x[:first], None if y is None else y[:first], validation


def _rows(x, y, batch_size: int, shuffle: bool) -> tf.data.Dataset:
    """A dataset of batches of row numbers, each beside the whole arrays, which are not copied."""
    arrays = tuple(tf.constant(array) for array in (x, y) if array is not None)
    indices = tf.data.Dataset.range(len(x))
    if shuffle:
        indices = indices.shuffle(len(x))
    indices = indices.batch(batch_size)
    return tf.data.Dataset.zip(_Rows(indices, tf.data.Dataset.from_tensors(arrays).repeat()))


def _dense_layers(layer) -> dict[str, keras.layers.Dense]:
    return {
        part.name: part for part in layer._flatten_layers() if isinstance(part, keras.layers.Dense)
    }


def _random_states(layer) -> list[keras.Variable]:
    """The states of a layer's seed generators: variables that are no weights and no metrics."""
    if layer is None:
        return []
    others = {id(variable) for variable in (*layer.weights, *layer.metrics_variables)}
    return [variable for variable in layer.variables if id(variable) not in others]


def _in_batches(function: Callable, values: np.ndarray) -> np.ndarray:
    parts = [
        np.asarray(ops.cast(function(tf.constant(values[start : start + _BATCH])), "float32"))
        for start in range(0, len(values), _BATCH)
    ]
    return np.concatenate(parts)
