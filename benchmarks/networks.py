"""The networks of the benchmarks, each written once, as two stacks of Keras layers.

The competitors on Keras train these layers, those on PyTorch and JAX their translation; all
begin with the same weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from aelib import recipes
from aelib.data import digits

RATE, EPSILON = 1e-3, 1e-7  # of every competitor's Adam
Halves = tuple[keras.Sequential, keras.Sequential]


@dataclass(frozen=True)
class Network:
    """A network and what it is trained on.

    Args:
        name: as the table shows it.
        halves: makes encoder and decoder. The decoder is linear: its output are images or logits.
        draw: images `(count, ...)`, float32, of a count.
        count: how many images make up an epoch.
        batch_sizes: at which it is timed.
        variational: whether it is a VAE on the Bernoulli likelihood; otherwise the loss is the
            squared error, summed over pixels.
    """

    name: str
    halves: Callable[[], Halves]
    draw: Callable[[int], np.ndarray]
    count: int
    batch_sizes: tuple[int, ...]
    variational: bool = False

    def start(self) -> Halves:
        """New halves, with the same weights every time."""
        keras.utils.set_random_seed(0)
        return self.halves()

    @property
    def is_dense(self) -> bool:
        """Whether matrix products are all that its layers compute."""
        found = [layer for half in self.halves() for layer in half.layers]
        return all(isinstance(layer, layers.Dense) for layer in found)


def vectors(count: int) -> np.ndarray:
    """Smooth random images and noise that no code can hold, so that no loss comes near 0."""
    rng = np.random.default_rng(0)
    smooth = rng.random((count, 16)) @ rng.random((16, 784)) / 16
    return (smooth + rng.normal(0, 0.3, smooth.shape)).astype("float32")


def drawn_digits(count: int) -> np.ndarray:
    """Drawn digits `(count, 28, 28, 1)` in [0, 1]."""
    return digits.generate(count, seed=0)[0][..., None].astype("float32") / 255


def dense(*sizes: int) -> Halves:
    """Dense layers with ReLU between them; the decoder mirrors the encoder."""
    return _stack(sizes), _stack(sizes[::-1])


def _stack(sizes: tuple[int, ...]) -> keras.Sequential:
    hidden = [layers.Dense(size, "relu") for size in sizes[1:-1]]
    return keras.Sequential([keras.Input(sizes[:1]), *hidden, layers.Dense(sizes[-1])])


def convolutional() -> Halves:
    """784-1024-32: two 4 x 4 convolutions and a code of 32."""
    return recipes.convolutional((28, 28, 1), (32, 64), 32, activation="relu")


def keras_io_vae() -> Halves:
    """The halves of keras.io/examples/generative/vae, with its two heads in one layer."""
    down = [layers.Conv2D(n, 3, 2, "same", activation="relu") for n in (32, 64)]
    up = [layers.Conv2DTranspose(n, 3, 2, "same", activation="relu") for n in (64, 32)]
    hidden, heads = layers.Dense(16, "relu"), layers.Dense(2 * 2)
    grid = [layers.Dense(7 * 7 * 64, "relu"), layers.Reshape((7, 7, 64))]
    logits = layers.Conv2DTranspose(1, 3, padding="same")
    encoder = [keras.Input((28, 28, 1)), *down, layers.Flatten(), hidden, heads]
    return keras.Sequential(encoder), keras.Sequential([keras.Input((2,)), *grid, *up, logits])


# The first has the size of a common VAE.
NETWORKS = {
    "dense": [
        Network("784-512-20", lambda: dense(784, 512, 20), vectors, 20480, (128, 512)),
        Network("784-256-32", lambda: dense(784, 256, 32), vectors, 20480, (128, 512)),
    ],
    "conv": [Network("convolutional", convolutional, drawn_digits, 5120, (128,))],
    "vae": [
        Network("VAE of keras.io", keras_io_vae, drawn_digits, 5120, (128,), variational=True),
    ],
}
