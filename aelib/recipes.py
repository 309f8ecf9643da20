"""Networks and training that lessons share, so that a lesson shows what is new in it.

One optimiser throughout: Adam with a warm-up and half a cosine. Two choices are not Keras's:

- The learning rate rises linearly over the first 5 % of the steps. Adam's first steps are as long
  as the learning rate allows, whatever the gradients, because they divide by an average of few
  of them. Without a warm-up the peak rates used here push units where no gradient brings
  them back.
- `beta_2=0.95`. Adam divides by the root mean square of some `1 / (1 - beta_2)` past gradients.
  Trainings here take a few hundred to some thousand steps, and gradients shrink quickly: with
  Keras's 0.999 the large first ones would shorten the steps to the end.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from aelib._checks import number, whole

Halves = tuple[keras.Sequential, keras.Sequential]


def dense(
    shape: Sequence[int],
    units: Sequence[int],
    code_dim: int,
    *,
    activation: str = "gelu",
    variational: bool = False,
    output_activation: str | None = None,
) -> Halves:
    """An encoder of dense layers and its mirror image as decoder.

    The last two layers of the decoder are float32 under any dtype policy. To start it at a
    mean image, assign to `decoder.layers[-2].bias`.

    Args:
        shape: of one image.
        units: widths of the hidden layers of the encoder; the decoder has them reversed.
        code_dim: int, dimensions of the code.
        activation: of the hidden layers; the code has none.
        variational: whether the encoder's outputs are a mean and a log-variance for each
            dimension of the code, as `VariationalAutoencoder` expects.
        output_activation: of the pixels, `"sigmoid"` for example.

    Returns:
        The encoder, `(batch, *shape)` to `(batch, code_dim)`, twice as many if variational,
        and the decoder.

    Example:

    ```python
    from aelib import recipes
    from aelib.autoencoder import Autoencoder

    autoencoder = Autoencoder(*recipes.dense((28, 28, 1), [256, 64], code_dim=8))
    ```
    """
    shape, units = _sizes("shape", shape), _sizes("units", units)
    code_dim = whole("code_dim", code_dim, 1)
    encoder = keras.Sequential([keras.Input(shape), layers.Flatten()])
    decoder = keras.Sequential([keras.Input((code_dim,))])
    # In an order that published results depend on: each layer draws a seed when it is made.
    for width in units:
        encoder.add(layers.Dense(width, activation))
    for width in reversed(units):
        decoder.add(layers.Dense(width, activation))
    encoder.add(layers.Dense((1 + variational) * code_dim))
    decoder.add(layers.Dense(int(np.prod(shape)), output_activation, dtype="float32"))
    decoder.add(layers.Reshape(shape, dtype="float32"))
    return encoder, decoder


def convolutional(
    shape: Sequence[int],
    channels: Sequence[int],
    code_dim: int,
    *,
    activation: str = "gelu",
    variational: bool = False,
    output_activation: str | None = None,
) -> Halves:
    """An encoder of strided convolutions and its mirror image as decoder, for images of any size.

    Every convolution halves height and width, rounded up; a dense layer makes the code. The
    decoder crops what it draws beyond the image. See `dense` for the other arguments.

    Args:
        shape: of one image, `(height, width, channels)`.
        channels: of each convolution of the encoder, at least one; its kernels are 4 x 4.
    """
    shape, channels = _sizes("shape", shape, 3), _sizes("channels", channels)
    code_dim = whole("code_dim", code_dim, 1)
    encoder = keras.Sequential([keras.Input(shape)])
    for width in channels:
        encoder.add(layers.Conv2D(width, 4, 2, "same", activation=activation))
    grid = encoder.output_shape[1:]
    encoder.add(layers.Flatten())
    encoder.add(layers.Dense((1 + variational) * code_dim))
    decoder = keras.Sequential([keras.Input((code_dim,))])
    decoder.add(layers.Dense(int(np.prod(grid)), activation))
    decoder.add(layers.Reshape(grid))
    for width in channels[-2::-1]:
        decoder.add(layers.Conv2DTranspose(width, 4, 2, "same", activation=activation))
    last = {"activation": output_activation, "dtype": "float32"}
    decoder.add(layers.Conv2DTranspose(shape[2], 4, 2, "same", **last))
    height, width = decoder.output_shape[1:3]
    beyond = ((0, height - shape[0]), (0, width - shape[1]))
    decoder.add(layers.Cropping2D(beyond, dtype="float32"))
    return encoder, decoder


def schedule(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up from 0 to `peak` over 5 % of the steps, then half a cosine down to 0."""
    peak, steps = number("peak", peak, 0, above=True), whole("steps", steps, 1)
    warm_up = steps // 20
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, warmup_target=peak, warmup_steps=warm_up
    )


def adam(peak: float, steps: int) -> keras.optimizers.Adam:
    """Adam with `schedule(peak, steps)` and `beta_2=0.95`."""
    return keras.optimizers.Adam(schedule(peak, steps), beta_2=0.95)


def fit(
    model: keras.Model,
    x: Any,
    loss: Any,
    *,
    epochs: int,
    peak: float,
    batch_size: int = 128,
    **more: Any,
) -> dict[str, list[float]]:
    """Compiles `model` with `loss` and `adam` over all the steps, and trains it on arrays.

    Args:
        more: passed to `model.fit`: `y`, `validation_data`, `callbacks`, ...

    Returns:
        The history: the mean of every metric in every epoch.
    """
    epochs, batch_size = whole("epochs", epochs, 1), whole("batch_size", batch_size, 1)
    batches = -(-len(keras.tree.flatten(x)[0]) // batch_size)
    model.compile(adam(peak, epochs * batches), loss)
    done = model.fit(x, batch_size=batch_size, epochs=epochs, **{"verbose": 0} | more)
    return done.history


def _sizes(name: str, values: Sequence[int], rank: int | None = None) -> tuple[int, ...]:
    values = tuple(whole(name, value, 1) for value in values)
    if rank and len(values) != rank:
        raise ValueError(f"`{name}` must hold {rank} integers. Received: {name}={values}")
    return values
