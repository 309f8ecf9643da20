"""Encoder, decoder and the model that trains them on their own input.

Arrays that are empty, of the wrong rank or not finite, targets outside [0, 1] under the Bernoulli
loss, and other invalid arguments raise `ValueError`.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from aelib._checks import array, layer, same_length
from aelib.losses import BernoulliCrossEntropy, check_probabilities
from aelib.noise import random_states, repeated
from aelib.tied import TransposedDense as TransposedDense  # a public name here too
from aelib.tied import tied_layers, tied_scope
from aelib.training import (
    STEPS_PER_EXECUTION,
    fuse_adam,
    gathered,
    in_batches,
    is_array,
    rows,
    split,
)

_LARGEST_CONFIG = 2**26  # bytes


@keras.saving.register_keras_serializable(package="aelib")
class Autoencoder(keras.Model):
    """decoder(encoder(x)), trained to give x back.

    `fit(x)` and `evaluate(x)` take the images as their own target; `fit(noisy, clean)`,
    `validation_data=x`, `validation_data=(noisy, clean)` and `validation_split` work, with arrays
    and with `tf.data`. So do weights per image, and, with the losses of `aelib.losses`, per pixel.
    Encoder and decoder may take and give nested structures: a condition or a skip connection is
    one more output of the encoder and input of the decoder. Several inputs need a target:
    `fit([x, condition], x)`.

    Args:
        encoder: layer or model from images `(batch, ...)` to codes.
        decoder: layer or model from codes to images of the same shape as the input.
        corruption: layer that corrupts its input when called with `training=True`, or None. It is
            applied by the training step, with fresh noise, and by `evaluate` and validation, with
            the same noise each time. The model itself, called, does not corrupt.

    Call arguments:
        x: `(batch, ...)`, images.

    Output: the decoder's, which may be logits; `predict` and `reconstruct` always give images.

    Example:

    ```python
    import numpy as np
    from keras import Input, Sequential, layers
    from aelib import autoencoder, losses

    x = np.random.default_rng(0).random((64, 8, 8, 1), "float32")
    encoder = Sequential([Input((8, 8, 1)), layers.Flatten(), layers.Dense(4)])
    decoder = Sequential([Input((4,)), layers.Dense(64), layers.Reshape((8, 8, 1))])
    model = autoencoder.Autoencoder(encoder, decoder)
    model.compile("adam", losses.SquaredError())
    model.fit(x, epochs=2, batch_size=16, verbose=0)
    x_hat = model.reconstruct(x)
    ```

    Reference: Hinton & Salakhutdinov, "Reducing the dimensionality of data with neural
    networks", Science 313, 2006.
    """

    def __init__(self, encoder, decoder, corruption=None, **kwargs):
        super().__init__(**kwargs)
        self.encoder = layer("encoder", encoder)
        self.decoder = layer("decoder", decoder)
        self.corruption = layer("corruption", corruption, optional=True)
        self._encoder_graph = tf.function(lambda x: encoder(x), reduce_retracing=True)
        self._decoder_graph = tf.function(lambda z: decoder(z), reduce_retracing=True)
        self._distributed = tf.distribute.has_strategy()

    def build(self, input_shape):
        self.call(keras.tree.map_shape_structure(keras.KerasTensor, input_shape))

    def call(self, x, training=None):
        return self.decoder(self.encoder(x))

    def compile(self, optimizer="rmsprop", loss=None, *, steps_per_execution=None, **kwargs):
        """See `keras.Model.compile`; a plain Adam is also given TensorFlow's kernel for its step.

        Args:
            steps_per_execution: None is 50: batch-level callbacks see every 50th batch (under a
                distribution strategy 1, since Keras 3.15 cannot run several there).
        """
        if steps_per_execution is None:
            steps_per_execution = 1 if self._distributed else STEPS_PER_EXECUTION
        super().compile(optimizer, loss, steps_per_execution=steps_per_execution, **kwargs)
        if not self._distributed:
            fuse_adam(self.optimizer)
        shape = getattr(self.encoder, "input_shape", None)
        if shape is not None and not self.built:
            self.build(shape)

    def compile_from_config(self, config):
        # Keras's own leaves a model with an overridden `compile` uncompiled after loading.
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
        """See `keras.Model.fit`; without `y` the target is `x` itself."""
        if validation_data is not None:
            validation_data = self._checked_validation(validation_data)
        if is_array(x):
            x, y = self._checked_pair(x, y)
            self._build_on(x)
            arrays = (x,) if y is None else (x, y)
            unweighted = kwargs.get("sample_weight") is None
            if validation_split and validation_data is None and unweighted:
                arrays, validation_data = split(arrays, validation_split)
                validation_split = 0.0
            dataset = self._batches(arrays, batch_size or 32, shuffle, self._gathers(kwargs))
            x, y = (*arrays, None)[:2] if dataset is None else (dataset, None)
        if isinstance(x, tf.data.Dataset):
            shuffle = False  # a dataset has its own order, and Keras warns of any other wish
        given = (batch_size, epochs, verbose, callbacks, validation_split, validation_data, shuffle)
        return super().fit(x, y, *given, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """See `keras.Model.evaluate`; without `y` the target is `x` itself."""
        if is_array(x):
            x, y = self._checked_pair(x, y)
        with self._evaluation():
            return super().evaluate(x, y, *args, **kwargs)

    def train_step(self, data):
        return super().train_step(self._batch(data, training=True))

    def test_step(self, data):
        return super().test_step(self._batch(data, training=False))

    def predict_step(self, data):
        return self._images(super().predict_step(data))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        y = self._target(x, None) if y is None else y  # in a step of the user's own
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def _batch(self, data, training: bool):
        """Input, target and weights of a step: the corrupted images and the clean ones."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(gathered(data))
        y = self._target(x, y)
        if self.corruption is not None:
            x = self.corruption(x, training=True)
        return x, y, sample_weight

    def _target(self, x, y):
        if y is None and isinstance(x, dict | list | tuple):
            received = f"y=None, {len(x)} inputs"
            raise ValueError(f"Several inputs need a target: fit(x, y). Received: {received}")
        return x if y is None else y

    def _batches(self, arrays, batch_size, shuffle, gathers) -> tf.data.Dataset | None:
        """The batches of an epoch; None leaves them to Keras."""
        return rows(arrays, batch_size, shuffle) if gathers and isinstance(shuffle, bool) else None

    def _gathers(self, arguments) -> bool:
        """Whether the training step can gather its own rows."""
        weighted = ("class_weight", "sample_weight", "steps_per_epoch")
        if any(arguments.get(name) is not None for name in weighted):
            return False
        # Replicas share out a batch; to a GPU the images would travel at every step.
        return not self._distributed and not tf.config.list_logical_devices("GPU")

    def _build_on(self, x):
        if not self.built:
            self.build(keras.tree.map_structure(lambda array: (None, *array.shape[1:]), x))

    @contextmanager
    def _evaluation(self) -> Iterator[None]:
        """Inside, the noise is the same every time; training noise goes on where it was."""
        with repeated(self._noise_states()):
            yield

    def _noise_states(self) -> list[keras.Variable]:
        return random_states(self.corruption)

    def encode(self, x) -> Any:
        """Codes of images: `(n, ...)` to float32 `(n, ...)`, as the encoder gives them."""
        return in_batches(self._encoder_graph, self._checked("x", x))

    def decode(self, z) -> Any:
        """Images of codes: float32 in `(n, height, width, channels)`, or what the decoder gives."""
        output = in_batches(self._decoder_graph, self._checked("z", z, self.decoder))
        return keras.tree.map_structure(np.asarray, self._images(output))

    def reconstruct(self, x) -> Any:
        """Images after encoder and decoder, without corruption: `(n, ...)` to the same shape."""
        return self.decode(self.encode(x))

    def _images(self, output):
        logits = getattr(self.loss, "from_logits", False)  # then the loss takes the last sigmoid
        return keras.tree.map_structure(ops.sigmoid, output) if logits else output

    def _checked(self, name: str, values, part=None):
        if not is_array(values):
            values = np.asarray(values)
        if isinstance(values, dict | list | tuple):
            return keras.tree.map_structure(lambda leaf: _as_float32(name, leaf, 1), values)
        values = _as_float32(name, values, 2)
        expected = getattr(part or self.encoder, "input_shape", None)
        if isinstance(expected, tuple) and not _fits(values.shape, expected):
            shape = f"the shape {expected}, where None is any size"
            raise ValueError(f"`{name}` must have {shape}. Received: {name}.shape={values.shape}")
        return values

    def _checked_pair(self, x, y):
        x = self._checked("x", x)
        target = self._target(x, y)
        if y is not None:
            target = y = _as_float32("y", y, 2)
            same_length(x=keras.tree.flatten(x)[0], y=y)
        if isinstance(self.loss, BernoulliCrossEntropy):
            check_probabilities("x" if y is None else "y", target)
        return x, y

    def _checked_validation(self, data):
        if not is_array(data) and not (isinstance(data, tuple | list) and is_array(data[:1])):
            return data
        data = tuple(data) if isinstance(data, list) else data
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        return (*self._checked_pair(x, y), weight)

    def get_config(self):
        parts = {"encoder": self.encoder, "decoder": self.decoder, "corruption": self.corruption}
        parts = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**super().get_config(), **parts, "tied": tied_layers(self.encoder, self.decoder)}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        load = keras.saving.deserialize_keras_object
        encoder, corruption = load(config.pop("encoder")), load(config.pop("corruption"))
        with tied_scope(encoder, config.pop("tied")):
            decoder = load(config.pop("decoder"))
        return cls(encoder=encoder, decoder=decoder, corruption=corruption, **config)


def load_model(path: str | PathLike, **as_in_keras: Any):
    """Loads a `.keras` file, first importing the modules of `aelib` that it names.

    Args:
        path: the file. `ValueError` is raised if it is missing or damaged.
        **as_in_keras: `custom_objects`, `compile`, `safe_mode` of `keras.models.load_model`.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo("config.json").file_size
            if size > _LARGEST_CONFIG:
                raise ValueError(f"its config has {size:,} bytes")
            config = json.dumps(json.loads(archive.read("config.json")))
    except Exception as error:  # a damaged archive raises some ten kinds
        fault = f"No Keras model can be read there ({error})"
        raise ValueError(f"{fault}. Received: path={path}") from error
    for module in sorted(set(re.findall(r'"module": "(aelib\.\w+)"', config))):
        import_module(module)
    return keras.models.load_model(path, **as_in_keras)


def _as_float32(name: str, values, rank: int) -> np.ndarray:
    return array(name, values, rank=rank).astype("float32", copy=False)


def _fits(shape: tuple, expected: tuple) -> bool:
    pairs = zip(shape, expected, strict=False)
    return len(shape) == len(expected) and all(wanted in (None, got) for got, wanted in pairs)
