"""Encoder, decoder and the model that trains them on their own input.

Arrays that are empty, of the wrong rank or not finite, targets outside [0, 1] under the Bernoulli
loss, and other invalid arguments raise `ValueError`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from aelib._checks import layer, same_length, whole
from aelib._inputs import as_arrays, cast, checked_batch, finite, fits, is_array
from aelib._loading import load_model as load_model  # a public name here too
from aelib._loss_checks import check_export, check_loss, check_saving, check_target
from aelib.losses import BernoulliCrossEntropy, check_probabilities
from aelib.noise import random_states, repeated
from aelib.tied import TransposedDense as TransposedDense  # a public name here too
from aelib.tied import tied_layers, tied_scope
from aelib.training import (
    STEPS_PER_EXECUTION,
    Rows,
    executing,
    fuse_adam,
    gathered,
    in_batches,
    rows,
    split,
    told,
)


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
            the same noise each time (for batches of the same size). The model itself, called, does
            not corrupt.

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
        self._gives_logits = False

    def build(self, input_shape):
        self._shapes = input_shape
        self.call(keras.tree.map_shape_structure(keras.KerasTensor, input_shape))

    def call(self, x, training=None):
        return self.decoder(self.encoder(x))

    def compile(self, optimizer="rmsprop", loss=None, *, steps_per_execution=None, **kwargs):
        """See `keras.Model.compile`; a plain Adam is also given TensorFlow's kernel for its step.

        A loss on logits is a part of the model, saved with it: `reconstruct` then takes the sigmoid
        of what the decoder gives.

        Args:
            steps_per_execution: None is 50, or as many as callbacks on batches and numbers of steps
                given to `fit`, `evaluate` and `predict` cannot tell from 1 (under a distribution
                strategy 1, since Keras 3.15 cannot run several there).

        Raises:
            ValueError: also if the decoder ends in a sigmoid under a loss on logits (or the loss
                is not on logits and it does not), or a mean over pixels stands beside a penalty.
        """
        if steps_per_execution is None:
            steps_per_execution = 1 if self._distributed else STEPS_PER_EXECUTION
        check_loss(loss, self)
        super().compile(optimizer, loss, steps_per_execution=steps_per_execution, **kwargs)
        self._gives_logits = bool(getattr(loss, "from_logits", False))
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
        if x is None:
            raise ValueError("`x` must be images, or batches of them. Received: x=None")
        x, y = as_arrays(x), as_arrays(y)
        batch_size = None if batch_size is None else whole("batch_size", batch_size, 1)
        if validation_data is not None:
            validation_data = self._checked_validation(validation_data)
        if is_array(x):
            weights = kwargs.get("sample_weight")
            x, y = self._checked_pair(x, y, weights)
            self._build_on(x)
            arrays = (x,) if y is None else (x, y)
            if validation_split and validation_data is None and weights is None:
                arrays, validation_data = split(arrays, validation_split)
                validation_split = 0.0
            dataset = self._batches(arrays, batch_size or 32, shuffle, self._gathers(kwargs))
            x, y = (*arrays, None)[:2] if dataset is None else (dataset, None)
        shuffle = shuffle and not isinstance(x, tf.data.Dataset)  # Keras warns of such a wish
        given = (batch_size, epochs, verbose, callbacks, validation_split, validation_data, shuffle)
        steps = kwargs.get("steps_per_epoch"), kwargs.get("validation_steps")
        with told(), executing(self, "train_function", callbacks, *steps):
            return super().fit(x, y, *given, **kwargs)

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        **kwargs,
    ):
        """See `keras.Model.evaluate`; without `y` the target is `x` itself."""
        x, y = as_arrays(x), as_arrays(y)
        if is_array(x):
            x, y = self._checked_pair(x, y, sample_weight)
        given = (batch_size, verbose, sample_weight, steps, callbacks)
        with told(), self._evaluation(), executing(self, "test_function", callbacks, steps):
            results = super().evaluate(x, y, *given, **kwargs)
        return keras.tree.map_structure(float, results)  # Keras 3.13 leaves some of them tensors

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """See `keras.Model.predict`; gives what `reconstruct` gives."""
        x = self._checked("x", x) if is_array(x := as_arrays(x)) else x
        with executing(self, "predict_function", callbacks, steps):
            return super().predict(x, batch_size, verbose, steps, callbacks)

    def train_on_batch(self, *args, **kwargs):
        with told():
            return super().train_on_batch(*args, **kwargs)

    def export(self, filepath, format="tf_saved_model", **kwargs):
        """See `keras.Model.export`; the file gives images, as `predict` does.

        Raises:
            ValueError: if the model has seen no image, so that the shape of its input is unknown,
                or if the format cannot hold the noise of a layer (`GaussianSampling`).
        """
        check_export(self, format)
        images = keras.tree.map_shape_structure(lambda shape: keras.Input(shape[1:]), self._shapes)
        model = keras.Model(images, self.as_images(self(images)), name=self.name)
        return model.export(filepath, format=format, **kwargs)

    def train_step(self, data):
        return super().train_step(self._batch(data, training=True))

    def test_step(self, data):
        return super().test_step(self._batch(data, training=False))

    def predict_step(self, data):
        return self.as_images(super().predict_step(cast(data)))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        y = self._target(x, None) if y is None else y  # in a step of the user's own
        check_target(self.loss, y, y_pred)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def _batch(self, data, training: bool):
        """Input, target and weights of a step: the corrupted images and the clean ones."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(gathered(data))
        x, y = self._checked_batch(x, y, unseen=not isinstance(data, Rows))
        return self._prepared(x, y, sample_weight, training)

    def _prepared(self, x, y, sample_weight, training):
        y = self._target(x, y)
        if self.corruption is not None:
            x = self.corruption(x, training=True)
        return x, y, sample_weight

    def _checked_batch(self, x, y, unseen: bool):
        """The tensors of a batch as floats; `unseen` ones with the checks that arrays have had."""
        x, y = cast(x), cast(y)
        if unseen:
            bernoulli = isinstance(self.loss, BernoulliCrossEntropy)
            x = checked_batch("x", x, bernoulli and y is None, self.jit_compile)
            y = checked_batch("y", y, bernoulli, self.jit_compile)
        return x, y

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
        users_own = not type(self).train_step.__module__.startswith("aelib.")
        if users_own or any(arguments.get(name) is not None for name in weighted):
            return False
        # Replicas share out a batch; to a GPU the images would travel at every step.
        return not self._distributed and not tf.config.list_logical_devices("GPU")

    def _build_on(self, x):
        if not self.built:
            with self.distribute_strategy.scope():
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
        return keras.tree.map_structure(np.asarray, self.as_images(output))

    def reconstruct(self, x) -> Any:
        """Images after encoder and decoder, without corruption: `(n, ...)` to the same shape."""
        z = self.encode(x)
        if not all(np.isfinite(leaf).all() for leaf in keras.tree.flatten(z)):
            expected = "The encoder gives NaN or infinite codes: has its training diverged"
            raise ValueError(f"{expected} (a smaller learning rate)? Received: x={np.shape(x)}")
        return self.decode(z)

    def as_images(self, output):
        """What the decoder gives as images: a loss on logits has taken the last sigmoid."""
        return keras.tree.map_structure(ops.sigmoid, output) if self._gives_logits else output

    def _checked(self, name: str, values, part=None):
        values = as_arrays(values)
        if not is_array(values):
            expected = f"`{name}` must be an array; `predict` takes datasets"
            raise ValueError(f"{expected}. Received: {name} of {type(values).__name__}")
        if isinstance(values, dict | list | tuple):
            return keras.tree.map_structure(lambda leaf: finite(name, leaf, 1), values)
        values = finite(name, values, 2)
        expected = getattr(part or self.encoder, "input_shape", None)
        if isinstance(expected, tuple) and not fits(values.shape, expected):
            shape = f"the shape {expected}, where None is any size"
            raise ValueError(f"`{name}` must have {shape}. Received: {name}.shape={values.shape}")
        return values

    def _checked_pair(self, x, y, weights=None):
        """Images and their target; None is the images, which stand there if they have weights."""
        x = self._checked("x", x)
        target = self._target(x, y)
        if y is not None:
            if np.ndim(y) < 2:
                expected = "An autoencoder's target is an image; it takes no labels: fit(x)"
                raise ValueError(f"{expected}. Received: y.shape={np.shape(y)}")
            target = y = finite("y", y, 2)
            same_length(x=keras.tree.flatten(x)[0], y=y)
        if isinstance(self.loss, BernoulliCrossEntropy):
            check_probabilities("x" if y is None else "y", target)
        return x, target if weights is not None else y

    def _checked_validation(self, data):
        arrays = as_arrays(data)
        arrays = tuple(arrays) if isinstance(arrays, list) else arrays
        x, y, weight = keras.utils.unpack_x_y_sample_weight(arrays)
        if not is_array(x):
            return data
        return (*self._checked_pair(x, y, weight), weight)

    def get_config(self):
        check_saving(self)
        parts = {"encoder": self.encoder, "decoder": self.decoder, "corruption": self.corruption}
        own = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        own |= {"tied": tied_layers(self.encoder, self.decoder), "from_logits": self._gives_logits}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config):
        config = {key: value for key, value in config.items() if key != "evaluation_seed"}  # 0.1.0
        load = keras.saving.deserialize_keras_object
        encoder, corruption = load(config.pop("encoder")), load(config.pop("corruption"))
        with tied_scope(encoder, config.pop("tied")):
            decoder = load(config.pop("decoder"))
        logits = config.pop("from_logits", False)  # in 0.1.0 the loss tells
        model = cls(encoder=encoder, decoder=decoder, corruption=corruption, **config)
        model._gives_logits = logits
        return model
