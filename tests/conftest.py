"""What several tests need: small models, small images, quiet and repeatable."""

import os

import aelib  # noqa: F401  (first: it chooses Keras's TensorFlow backend)

os.environ.setdefault("MPLBACKEND", "agg")

import keras
import numpy as np
import pytest
from keras import layers


@pytest.fixture
def images() -> np.ndarray:
    """Forty images of 12 x 10 x 1 in [0, 1], different every pixel."""
    return np.random.default_rng(0).random((40, 12, 10, 1)).astype("float32")


@pytest.fixture
def make_parts():
    """A function that makes a dense encoder and decoder for images of any shape."""

    def make(shape=(12, 10, 1), code_dim=4, seed=0):
        keras.utils.set_random_seed(seed)
        pixels = int(np.prod(shape))
        encoder = keras.Sequential(
            [keras.Input(shape), layers.Flatten(), layers.Dense(16, "gelu"), layers.Dense(code_dim)]
        )
        decoder = keras.Sequential(
            [
                keras.Input((code_dim,)),
                layers.Dense(16, "gelu"),
                layers.Dense(pixels, dtype="float32"),
                layers.Reshape(shape, dtype="float32"),
            ]
        )
        return encoder, decoder

    return make
