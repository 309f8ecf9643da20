"""What makes `fit` fast: rows that the step gathers, 50 steps at a time, Adam in one pass.

Keras returns to Python after every step for its logs, has `tf.data` copy every batch out of the
images with threads that the matrix products need, and writes Adam's step as a dozen passes over
the weights. Its first step makes the optimizer's variables, so that TensorFlow traces it twice. XLA
is left to Keras: on with a GPU, off on a CPU, where it loses as often as it wins.
benchmarks/README.md has the figures.

Names that Keras does not document are used here only, and where one is missing Keras's own,
slower, code runs.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

STEPS_PER_EXECUTION = 50
LONG = 2**17  # rows, from which on `Dataset.shuffle`, row after row, takes longer than training
_OF_BATCHES = [
    f"on_{part}batch_{when}"
    for part in ("", "train_", "test_", "predict_")
    for when in ("begin", "end")
]
_BATCH = 1000  # of what is not trained
_TOLD = "\u2016"  # around a message that went through TensorFlow's


class Rows(NamedTuple):
    """Which rows of which arrays make up a batch; the training step gathers them."""

    indices: tf.Tensor
    arrays: tuple


def rows(arrays: tuple, batch_size: int, shuffle: bool) -> tf.data.Dataset:
    """Batches of row numbers, each beside the whole (nested) arrays, which are not copied."""
    arrays = keras.tree.map_structure(tf.constant, keras.tree.lists_to_tuples(arrays))
    count = len(keras.tree.flatten(arrays)[0])
    if shuffle and count > LONG:
        return beside(_shuffled(count, batch_size), arrays)
    indices = tf.data.Dataset.range(count)
    indices = indices.shuffle(count) if shuffle else indices
    return beside(indices.batch(batch_size), arrays)


def _shuffled(count: int, batch_size: int) -> tf.data.Dataset:
    """Batches of row numbers in a new order each time, which is drawn in one go."""

    def epoch(seed):
        rows = tf.range(count, dtype="int64")
        order = tf.random.experimental.stateless_shuffle(rows, [seed, 0])
        starts = tf.data.Dataset.range(0, count, batch_size)
        return starts.map(lambda start: order[start : start + batch_size])

    seeds = tf.data.Dataset.random(rerandomize_each_iteration=True).take(1)
    batches = math.ceil(count / batch_size)
    return seeds.flat_map(epoch).apply(tf.data.experimental.assert_cardinality(batches))


def beside(indices: tf.data.Dataset, arrays: tuple) -> tf.data.Dataset:
    """`Rows` of batches of row numbers and the arrays that they are rows of."""
    batches = tf.data.Dataset.zip(Rows(indices, tf.data.Dataset.from_tensors(arrays).repeat()))
    options = tf.data.Options()
    options.autotune.enabled = False  # every epoch would wait until its thread has slept
    return batches.with_options(options)


def gathered(data):
    """The batch itself, where `data` says only which rows are in it."""
    if not isinstance(data, Rows):
        return data
    return keras.tree.map_structure(lambda array: tf.gather(array, data.indices), data.arrays)


def fuse_adam(optimizer) -> None:
    """Gives a plain `keras.optimizers.Adam` TensorFlow's kernel: the same step, in one pass.

    Its class, config and variables stay as they are; other optimizers are left alone.

    Reference: Kingma & Ba, "Adam: a method for stochastic optimization", 2015, end of section 2.
    """
    if type(optimizer) is keras.optimizers.Adam and not optimizer.amsgrad:
        optimizer.update_step = MethodType(_adam_step, optimizer)


def _adam_step(self, gradient, variable, learning_rate):
    try:
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
    except AttributeError:  # another Keras, with other names
        return type(self).update_step(self, gradient, variable, learning_rate)
    number = tf.cast(self.iterations + 1, variable.dtype)
    beta_1, beta_2 = (tf.cast(beta, variable.dtype) for beta in (self.beta_1, self.beta_2))
    return tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=momentum.value.handle,
        v=velocity.value.handle,
        beta1_power=ops.power(beta_1, number),
        beta2_power=ops.power(beta_2, number),
        lr=tf.cast(learning_rate, variable.dtype),
        beta1=beta_1,
        beta2=beta_2,
        epsilon=tf.cast(self.epsilon, variable.dtype),
        grad=tf.cast(gradient, variable.dtype),
    )


def build_optimizer(model: keras.Model) -> None:
    """Makes the optimizer's variables; the first step would make them, and be traced twice.

    It is left to that step if a layer has no weights yet: theirs would be missing.
    """
    inside = getattr(model, "_flatten_layers", None)
    ready = inside and model.compiled and all(layer.built for layer in inside())
    if ready and not model.optimizer.built:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)


def over_replicas(value):
    """A scalar of the loss, divided among the replicas of a distribution strategy."""
    return value / tf.distribute.get_strategy().num_replicas_in_sync


def over_all_replicas(value):
    """The sum of what the replicas of a distribution strategy have, for each of them."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce("sum", value)


def mean(values):
    """The mean over images `(batch, ...)`, 0 where a replica has none of them."""
    return ops.sum(values, axis=0) / ops.cast(ops.maximum(ops.shape(values)[0], 1), values.dtype)


def mask_of(tensor):
    """The mask that Keras's layers have passed on with a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


def require(condition, message: str, values, *received, jitted: bool = False):
    """`values`, if the condition holds when the graph runs; else `told` raises the message.

    XLA drops assertions: there (`jitted`) the values are NaN instead, and with them the loss.
    """
    if tf.executing_eagerly():
        if not condition:
            raise ValueError(" ".join([message, *(str(np.asarray(value)) for value in received)]))
        return values
    if jitted:
        return ops.where(condition, values, math.nan)
    with tf.control_dependencies(
        [tf.debugging.Assert(condition, [_TOLD, message, *received, _TOLD])]
    ):
        return tf.identity(values)


@contextmanager
def told() -> Iterator[None]:
    """Inside, what `require` has found in the graph is raised as a `ValueError`."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        parts = str(error).split(_TOLD)
        if len(parts) < 3:
            raise
        raise ValueError(parts[1].strip("[] ").replace("] [", " ")) from None


def sees_batches(callbacks: Any) -> bool:
    """Whether one of the callbacks does something at each batch."""
    callbacks = getattr(callbacks, "callbacks", callbacks) or []
    for callback in callbacks if isinstance(callbacks, list | tuple) else [callbacks]:
        often = [getattr(callback, name, None) for name in ("save_freq", "update_freq")]
        once_an_epoch = any(often) and not any(isinstance(value, int) for value in often)
        if once_an_epoch or isinstance(callback, keras.callbacks.ProgbarLogger):
            continue
        for name in _OF_BATCHES:
            plain = getattr(keras.callbacks.Callback, name)
            if getattr(getattr(callback, name), "__func__", None) is not plain:
                return True
    return False


@contextmanager
def executing(model: keras.Model, function: str, callbacks: Any, *steps: int | None):
    """Inside, the model's compiled function runs as many steps at once as nobody can tell from 1.

    It is traced anew where that number, or what is trainable, is no longer what it was traced with.
    """
    if function == "train_function":
        build_optimizer(model)
    most = model.steps_per_execution
    at_once = 1 if sees_batches(callbacks) else math.gcd(most, *(n for n in steps if n))
    trained = tuple(map(id, model.trainable_variables)) if function == "train_function" else ()
    traced = model.__dict__.setdefault("_traced_with", {})
    if traced.setdefault(function, (at_once, trained)) != (at_once, trained):
        setattr(model, function, None)
    traced[function] = at_once, trained
    model.steps_per_execution = at_once
    try:
        yield
    finally:
        model.steps_per_execution = most


def layers_of(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layer itself and all that are inside it, at any depth."""
    inside = getattr(layer, "layers", ())
    return [layer, *(part for child in inside for part in layers_of(child))]


def in_batches(function: Callable, values):
    """`function` of arrays (nested at will), a thousand rows at a time, as float32 arrays."""
    parts = []
    for start in range(0, len(keras.tree.flatten(values)[0]), _BATCH):
        few = keras.tree.map_structure(lambda a: a[start : start + _BATCH], values)  # noqa: B023
        some = keras.tree.map_structure(lambda a: tf.constant(a, "float32"), few)
        parts.append(keras.tree.map_structure(_to_float32, function(some)))
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def _to_float32(tensor) -> np.ndarray:
    return np.asarray(ops.cast(tensor, "float32"))


def split(arrays: tuple, share: float) -> tuple[tuple, tuple]:
    """All but the last `share` of the rows, and these, as Keras takes them for validation."""
    count = len(keras.tree.flatten(arrays)[0])
    first = int(count * (1 - share))
    if not 0 < share < 1 or not 0 < first < count:
        received = f"validation_split={share} for {count} images"
        raise ValueError(
            f"`validation_split` must leave images on both sides. Received: {received}"
        )
    training = keras.tree.map_structure(lambda array: array[:first], arrays)
    return training, keras.tree.map_structure(lambda array: array[first:], arrays)
