"""Noise: fresh in training, the same in every evaluation.

Fresh numbers come from Keras's seed generators. Those of an evaluation are data: a table drawn once
with NumPy, of which each image takes the rows that belong to its position among all images. So they
are the same with batches of any size, under XLA, on a GPU and over replicas.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import keras
import numpy as np
import tensorflow as tf
from keras import ops

SEED = 20131  # of every evaluation
_ROWS = 8191  # of the table; a prime, so that no number of samples falls in step with it


def normal(shape, generator: keras.random.SeedGenerator):
    """Fresh draws from N(0, 1) in float32."""
    return tf.random.stateless_normal(shape, _seed(generator))


def uniform(shape, generator: keras.random.SeedGenerator):
    """Fresh draws from [0, 1) in float32."""
    return tf.random.stateless_uniform(shape, _seed(generator))


def position_of_replica(images):
    """The position in the whole batch of the first of the `images` that this replica has."""
    # Where replicas have unequal shares, in a last batch that does not divide, some share noise.
    return ops.cast(_replica(), "int64") * images


def in_table(kind: str, position, rows, shape: tuple):
    """`rows` rows of the table of "normal" or "uniform" numbers, `(rows, *shape)`."""
    numbers = (position + ops.arange(rows, dtype="int64")) % _ROWS
    return ops.take(_table(kind, shape), numbers, axis=0)


@contextmanager
def repeated(states: list[keras.Variable]) -> Iterator[None]:
    """Inside, what draws from these states draws the same each time; outside, it goes on."""
    before = [state.numpy() for state in states]
    for number, state in enumerate(states):
        state.assign([SEED + number, 0])
    try:
        yield
    finally:
        for state, value in zip(states, before, strict=True):
            state.assign(value)


def random_states(layer: keras.layers.Layer | None) -> list[keras.Variable]:
    """The states of a layer's seed generators: its variables that are no weights or metrics."""
    if layer is None:
        return []
    others = {id(variable) for variable in (*layer.weights, *layer.metrics_variables)}
    return [variable for variable in layer.variables if id(variable) not in others]


@cache
def _table(kind: str, shape: tuple) -> tf.Tensor:
    rng = np.random.default_rng(SEED)
    draw = rng.standard_normal if kind == "normal" else rng.random
    with tf.init_scope():
        return tf.constant(draw((_ROWS, *shape), dtype="float32"))


def _seed(generator):
    # Keras's generators are in step on all replicas, whose images should differ in their noise.
    return ops.cast(generator.next(), "int32") + ops.cast([0, _replica() * 2**24], "int32")


def _replica():
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group
