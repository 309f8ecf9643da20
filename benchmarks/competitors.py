"""What `fit_speed.py` compares: `Autoencoder.fit`, and what a user would pick instead.

A competitor takes a network, a batch size and images, and gives a function that trains a few
epochs more and returns the loss of the last one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from networks import RATE, Network

from aelib.autoencoder import Autoencoder
from aelib.losses import BernoulliCrossEntropy, SquaredError
from aelib.variational import VariationalAutoencoder

EPOCHS = 2  # of one timed turn
Turn = Callable[[], float]


@dataclass(frozen=True)
class Competitor:
    """One line of the table.

    Args:
        label: as the table shows it.
        make: of network, batch size and images, the function that trains.
        needs: the package without which it is left out.
        trains: False for a bound, which has no loss.
        compiles: whether it needs a C++ compiler, and may fail where there is none.
        suits: whether it takes a network.
    """

    label: str
    make: Callable[[Network, int, np.ndarray], Turn]
    needs: str = "keras"
    trains: bool = True
    compiles: bool = False
    suits: Callable[[Network], bool] = lambda network: True

    @property
    def installed(self) -> bool:
        return find_spec(self.needs) is not None


def ours(network: Network, batch_size: int, x: np.ndarray, **compile_arguments) -> Turn:
    """`fit` of the library's model, as it comes or with arguments to `compile`."""
    if network.variational:
        model, loss = VariationalAutoencoder(*network.start()), BernoulliCrossEntropy()
    else:
        model, loss = Autoencoder(*network.start()), SquaredError()
    model.compile(keras.optimizers.Adam(RATE), loss, **compile_arguments)
    return _fit(model, (x,), batch_size)


def plain_keras(network: Network, batch_size: int, x: np.ndarray) -> Turn:
    """The same layers in a `Sequential`, and `fit` as it comes; keras.io's model for the VAE."""
    adam = keras.optimizers.Adam(RATE)
    if network.variational:
        model = KerasVAE(*network.start())
        model.compile(adam)
        return _fit(model, (x,), batch_size)
    model = keras.Sequential(network.start())
    model.compile(adam, SquaredError())
    return _fit(model, (x, x), batch_size)


def _fit(model: keras.Model, data: tuple, batch_size: int) -> Turn:
    def train():
        history = model.fit(*data, epochs=EPOCHS, batch_size=batch_size, verbose=0).history
        return history["loss"][-1]

    return train


class KerasVAE(keras.Model):
    """The model of keras.io/examples/generative/vae: probabilities, and a step with a tape."""

    def __init__(self, encoder: keras.Model, decoder: keras.Model):
        super().__init__()
        self.encoder = encoder
        self.decoder = keras.Sequential([decoder, layers.Activation("sigmoid")])
        self.seed = keras.random.SeedGenerator(0)
        self.total_loss = keras.metrics.Mean(name="loss")
        self.reconstruction_loss = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_loss = keras.metrics.Mean(name="kl_loss")

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_var = ops.split(self.encoder(data), 2, axis=-1)
            epsilon = keras.random.normal(ops.shape(mean), seed=self.seed)
            x_hat = self.decoder(mean + ops.exp(0.5 * log_var) * epsilon)
            pixels = keras.losses.binary_crossentropy(data, x_hat)
            reconstruction = ops.mean(ops.sum(pixels, axis=(1, 2)))
            kl = -0.5 * (1 + log_var - ops.square(mean) - ops.exp(log_var))
            kl = ops.mean(ops.sum(kl, axis=1))
            loss = reconstruction + kl
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.total_loss.update_state(loss)
        self.reconstruction_loss.update_state(reconstruction)
        self.kl_loss.update_state(kl)
        return {metric.name: metric.result() for metric in self.metrics}


def torch_eager(network: Network, batch_size: int, x: np.ndarray) -> Turn:
    from in_torch import trainer

    return trainer(network, batch_size, x, EPOCHS)


def torch_compiled(network: Network, batch_size: int, x: np.ndarray) -> Turn:
    from in_torch import trainer

    return trainer(network, batch_size, x, EPOCHS, compiled=True)


def jax_scan(network: Network, batch_size: int, x: np.ndarray) -> Turn:
    from in_jax import trainer

    return trainer(network, batch_size, x, EPOCHS)


def jax_step(network: Network, batch_size: int, x: np.ndarray) -> Turn:
    """A compiled step in a Python loop: inside a scan, JAX's convolutions take several times as
    long on a CPU (jax-ml/jax issue 12868)."""
    from in_jax import trainer

    return trainer(network, batch_size, x, EPOCHS, scan=False)


def matrix_products(network: Network, batch_size: int, x: np.ndarray) -> Turn:
    """x W, and for the gradients d W' and x' d, of each dense layer; the first needs no d W'.

    Tensors of the same shapes and nothing else: no training could be faster with this library
    of matrix products.
    """
    rng = np.random.default_rng(0)
    kernels = [layer.kernel.shape for half in network.start() for layer in half.layers]
    tensors = [
        [
            tf.constant(rng.random(shape), tf.float32)
            for shape in ((batch_size, inputs), (inputs, units), (batch_size, units))
        ]
        for inputs, units in kernels
    ]

    @tf.function
    def products():
        total = tf.constant(0.0)
        for _ in tf.range(EPOCHS * len(x) // batch_size):
            for number, (data, kernel, gradient) in enumerate(tensors):
                # Scaled by a number known only at run time, so that nothing is computed once.
                data = data * (1.0 + 0.0 * total)
                total += tf.matmul(data, kernel)[0, 0]
                total += tf.matmul(data, gradient, transpose_a=True)[0, 0]
                if number:
                    scaled = gradient * (1.0 + 0.0 * total)
                    total += tf.matmul(scaled, kernel, transpose_b=True)[0, 0]
            total = 0.0 * total
        return total

    return lambda: float(products())


def _is_dense(network: Network) -> bool:
    return network.is_dense


def _has_convolutions(network: Network) -> bool:
    return not network.is_dense


# The first is the one that all others are compared with.
COMPETITORS = {
    "ours": Competitor("Autoencoder.fit", ours),
    "ours-xla": Competitor("the same, jit_compile=True", partial(ours, jit_compile=True)),
    "ours-graph": Competitor("the same, jit_compile=False", partial(ours, jit_compile=False)),
    "keras": Competitor("plain Keras", plain_keras),
    "torch": Competitor("PyTorch eager", torch_eager, needs="torch"),
    "torch-compiled": Competitor("PyTorch compiled", torch_compiled, "torch", compiles=True),
    "jax": Competitor("JAX lax.scan", jax_scan, needs="jax", suits=_is_dense),
    "jax-step": Competitor("JAX compiled step", jax_step, needs="jax", suits=_has_convolutions),
    "products": Competitor("matrix products", matrix_products, trains=False, suits=_is_dense),
}
