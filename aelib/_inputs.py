"""What models are given: arrays of any kind or batches of any source, and checks of both."""

import numbers
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from aelib._checks import array
from aelib.training import require

_SMALL = 4  # bytes: numbers below stay as they are in memory and are cast a batch at a time


def as_arrays(values: Any) -> Any:
    """Data frames, tensors of any library and lists of numbers as arrays, nested ones too.

    Datasets, generators and HDF5 files, from which Keras takes batches, are left alone.
    """
    if isinstance(values, dict | list | tuple):
        leaves = keras.tree.flatten(values)
        if isinstance(values, list) and all(isinstance(leaf, numbers.Number) for leaf in leaves):
            return np.asarray(values)
        return keras.tree.map_structure(as_arrays, values)
    is_file = type(values).__module__.startswith("h5py")
    return np.asarray(values) if hasattr(values, "__array__") and not is_file else values


def is_array(values: Any) -> bool:
    """Whether Keras would slice these values into batches by itself, nested ones too."""
    leaves = keras.tree.flatten(values)
    return bool(leaves) and all(isinstance(leaf, np.ndarray) for leaf in leaves)


def finite(name: str, values: Any, rank: int) -> np.ndarray:
    """Finite numbers, as float32 or, where they are smaller, as they are."""
    values = array(name, values, rank=rank)
    return values if values.itemsize < _SMALL else values.astype("float32", copy=False)


def cast(values):
    """Tensors of small numbers (bytes, half precision) as float32 ones."""

    def small(tensor):
        return tensor is not None and tf.as_dtype(tensor.dtype).size < _SMALL

    return keras.tree.map_structure(lambda t: ops.cast(t, "float32") if small(t) else t, values)


def fits(shape: tuple, expected: tuple) -> bool:
    """Whether an array's shape is the expected one, where None is any size."""
    return tf.TensorShape(shape).is_compatible_with(expected)


def checked_batch(name: str, values, probabilities: bool, jitted: bool):
    """The tensors of a batch, if they are finite (or in [0, 1], as the Bernoulli loss needs).

    Arrays are checked as a whole before; what comes in batches can only be seen in the graph.
    """

    def check(tensor):
        if tensor is None or not keras.backend.is_float_dtype(tensor.dtype):
            return tensor
        low, high = ops.min(tensor, initial=1.0), ops.max(tensor, initial=0.0)
        if probabilities:
            good = ops.logical_and(low >= 0, high <= 1)
            expected = "Targets of the Bernoulli loss must lie in [0, 1]"
        else:
            good, expected = True, f"`{name}` must be finite"
        good = ops.logical_and(good, ops.all(ops.isfinite(tensor)))
        return require(
            good, f"{expected}. Received: {name} from", tensor, low, "to", high, jitted=jitted
        )

    return keras.tree.map_structure(check, values)
