"""Training speed of `Autoencoder.fit` beside what a user would pick instead.

    python benchmarks/fit_speed.py

In one process and in turns, each network at each batch size is trained by

- `Autoencoder.fit(x)` as it comes, and again after `compile(jit_compile=True)`;
- plain Keras: the same layers in `keras.Sequential`, the same loss, `fit(x, x)` as it comes;
- eager PyTorch, the same layers and loss in the usual loop, where PyTorch is installed.

For each it prints the median speed over the repeats, the ratio of the medians, and the loss
at the end, which must agree within 2 %: all start from the same weights. Last, the speed
that the matrix products alone would allow: those of forward and backward pass, on
tensors of the same shapes, with nothing else. Shared machines are noisy: the ratios
of one run are worth more than its speeds.
"""

import itertools
import os
import statistics
import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import aelib  # noqa: F401  (first: it chooses Keras's TensorFlow backend)
from aelib import losses
from aelib.autoencoder import Autoencoder

try:
    import torch
except ImportError:
    torch = None

# Encoder widths; the decoder mirrors them. The first has the size of a common VAE.
NETWORKS = {"784-512-20": (512, 20), "784-256-32": (256, 32)}
BATCH_SIZES = (128, 512)
IMAGES = 20480
EPOCHS = 2  # of one timed turn
REPEATS = int(os.environ.get("BENCH_REPEATS", "7"))
RATE = 1e-3


def images() -> np.ndarray:
    """Smooth random images and noise that no code can hold, so that no loss comes near 0."""
    rng = np.random.default_rng(0)
    smooth = rng.random((IMAGES, 16)) @ rng.random((16, 784)) / 16
    return (smooth + rng.normal(0, 0.3, smooth.shape)).astype("float32")


def widths(network) -> list[int]:
    return [784, *network, *reversed(network[:-1]), 784]


def first_weights(network) -> list[np.ndarray]:
    keras.utils.set_random_seed(0)
    sizes = widths(network)
    start = keras.initializers.GlorotUniform()
    kernels = [np.array(start(pair)) for pair in itertools.pairwise(sizes)]
    return [array for kernel in kernels for array in (kernel, np.zeros(kernel.shape[1], "float32"))]


def dense(sizes) -> keras.Sequential:
    """Dense layers with ReLU between them; the last one is linear."""
    stack = [layers.Dense(size, "relu") for size in sizes[1:-1]]
    return keras.Sequential([keras.Input(sizes[:1]), *stack, layers.Dense(sizes[-1])])


def ours(network, batch_size, x, jit_compile="auto"):
    sizes = widths(network)
    middle = len(network)
    model = Autoencoder(dense(sizes[: middle + 1]), dense(sizes[middle:]))
    model.compile(keras.optimizers.Adam(RATE), losses.SquaredError(), jit_compile=jit_compile)
    model.set_weights(first_weights(network))
    return lambda: model.fit(x, epochs=EPOCHS, batch_size=batch_size, verbose=0).history["loss"][-1]


def ours_with_xla(network, batch_size, x):
    return ours(network, batch_size, x, jit_compile=True)


def plain_keras(network, batch_size, x):
    sizes = widths(network)
    middle = len(network)
    model = keras.Sequential([dense(sizes[: middle + 1]), dense(sizes[middle:])])
    model.compile(keras.optimizers.Adam(RATE), losses.SquaredError())
    model.set_weights(first_weights(network))
    return lambda: model.fit(x, x, epochs=EPOCHS, batch_size=batch_size, verbose=0).history["loss"][
        -1
    ]


def eager_torch(network, batch_size, x):
    sizes = widths(network)
    modules = []
    for number, pair in enumerate(itertools.pairwise(sizes), 1):
        modules.append(torch.nn.Linear(*pair))
        if number not in (len(network), len(sizes) - 1):  # the code and the output are linear
            modules.append(torch.nn.ReLU())
    model = torch.nn.Sequential(*modules)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), first_weights(network), strict=True):
            parameter.copy_(torch.from_numpy(value.T.copy()))
    optimizer = torch.optim.Adam(model.parameters(), RATE, eps=1e-7)
    data = torch.from_numpy(x)

    def train():
        for _ in range(EPOCHS):
            total = 0.0
            order = torch.randperm(len(data))
            for start in range(0, len(data), batch_size):
                batch = data[order[start : start + batch_size]]
                loss = ((model(batch) - batch) ** 2).sum(1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
        return total / (len(data) / batch_size)

    return train


def matrix_products(network, batch_size, x):
    """x W, and for the gradients d W' and x' d, of each layer; the first needs no d W'."""
    sizes = widths(network)
    rng = np.random.default_rng(0)
    tensors = [
        [
            tf.constant(rng.random(shape), tf.float32)
            for shape in ((batch_size, a), (a, b), (batch_size, b))
        ]
        for a, b in itertools.pairwise(sizes)
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


def main() -> None:
    x = images()
    if torch:
        torch.set_num_threads(os.cpu_count())
    makers = {"Autoencoder.fit": ours, "the same with XLA": ours_with_xla, "Keras fit": plain_keras}
    if torch:
        makers["PyTorch eager"] = eager_torch
    makers["matrix products"] = matrix_products
    print(
        f"{os.cpu_count()} cores, TensorFlow {tf.__version__}, Keras {keras.__version__}", end=", "
    )
    print(f"PyTorch {torch.__version__}" if torch else "no PyTorch", f"; medians of {REPEATS}")
    for name, network in NETWORKS.items():
        for batch_size in BATCH_SIZES:
            turns = {label: make(network, batch_size, x) for label, make in makers.items()}
            seconds = {label: [] for label in turns}
            final = {}
            for turn in turns.values():
                turn()  # tracing and first touch are not timed
            for _ in range(REPEATS):
                for label, turn in turns.items():
                    start = time.perf_counter()
                    final[label] = turn()
                    seconds[label].append(time.perf_counter() - start)
            report(name, batch_size, seconds, final)


def report(name, batch_size, seconds, final) -> None:
    print(f"\n{name}, batch {batch_size}")
    steps = EPOCHS * IMAGES / batch_size
    speed = {label: steps / statistics.median(times) for label, times in seconds.items()}
    own = speed["Autoencoder.fit"]
    trained = [final[label] for label in final if label != "matrix products"]
    for label, value in speed.items():
        loss = f"{final[label]:10.4f}" if label != "matrix products" else " " * 10
        print(f"  {label:17s} {value:7.1f} steps/s   loss {loss}   ours is {own / value:5.2f} x")
    spread = max(trained) / min(trained) - 1
    print(f"  final losses within {100 * spread:.1f} %")


if __name__ == "__main__":
    main()
