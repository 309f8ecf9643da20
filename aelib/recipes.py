"""Networks and training that lessons share, so that a lesson shows only what is new in it.

The optimiser is Adam with a warm-up, half a cosine and two choices that are not Keras's defaults.
The learning rate rises over the first 5 % of the steps: Adam's first steps are as long as the rate
allows, whatever the gradients, because few are averaged yet, and at the peak rate they push units
to where no gradient brings them back. And `beta_2=0.95`: Adam divides by the root mean square of
about the last twenty gradients. Gradients shrink quickly here, and with Keras's 0.999 the first,
large ones would shorten the next thousand steps.
"""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import keras
from keras import layers

from aelib._checks import flag, number, whole


def dense(
    shape: Sequence[int],
    units: Sequence[int],
    code_dim: int,
    *,
    activation: str = "gelu",
    variational: bool = False,
    output_activation: str | None = None,
) -> tuple[keras.Sequential, keras.Sequential]:
    """An encoder of dense layers and its mirror image as decoder.

    To start the decoder at a mean image, assign to `decoder.layers[-2].bias`. Its last two
    layers are float32 under any dtype policy.

    Args:
        shape: of one image.
        units: widths of the hidden layers; the decoder has them in reverse order.
        code_dim: int, dimensions of the code.
        activation, output_activation: of the hidden layers and the pixels; the code has none.
        variational: whether the encoder's `2 * code_dim` outputs are means and log-variances.

    Example:

    ```python
    from aelib import autoencoder, recipes

    model = autoencoder.Autoencoder(*recipes.dense((28, 28, 1), [256, 64], code_dim=8))
    ```
    """
    shape, units = _sizes("shape", shape, 1), _sizes("units", units, 0)
    code_dim = whole("code_dim", code_dim, 1)
    # Each layer draws a seed when it is made; published results depend on this order.
    hidden = [layers.Dense(width, activation) for width in units]
    mirrored = [layers.Dense(width, activation) for width in reversed(units)]
    code = layers.Dense(code_dim * (1 + flag("variational", variational)))
    pixels = layers.Dense(prod(shape), output_activation, dtype="float32")
    image = layers.Reshape(shape, dtype="float32")
    encoder = keras.Sequential([keras.Input(shape), layers.Flatten(), *hidden, code])
    return encoder, keras.Sequential([keras.Input((code_dim,)), *mirrored, pixels, image])


def convolutional(
    shape: Sequence[int],
    channels: Sequence[int],
    code_dim: int,
    *,
    activation: str = "gelu",
    variational: bool = False,
    output_activation: str | None = None,
) -> tuple[keras.Sequential, keras.Sequential]:
    """As `dense`, with 4 x 4 convolutions that each halve height and width, rounded up.

    Args:
        shape: of one image, `(height, width, channels)`; the decoder crops what it draws beyond.
        channels: of each convolution of the encoder, at least one.
    """
    shape, channels = _sizes("shape", shape, 3, 3), _sizes("channels", channels, 1)
    code_dim, factor = whole("code_dim", code_dim, 1), 2 ** len(channels)
    height, width = (-(-side // factor) for side in shape[:2])
    down = [layers.Conv2D(n, 4, 2, "same", activation=activation) for n in channels]
    code = layers.Dense(code_dim * (1 + flag("variational", variational)))
    grid = (height, width, channels[-1])
    start = layers.Dense(prod(grid), activation)
    grow = partial(layers.Conv2DTranspose, kernel_size=4, strides=2, padding="same")
    up = [grow(n, activation=activation) for n in channels[-2::-1]]
    pixels = grow(shape[2], activation=output_activation, dtype="float32")
    beyond = ((0, factor * height - shape[0]), (0, factor * width - shape[1]))
    image = layers.Cropping2D(beyond, dtype="float32")
    encoder = keras.Sequential([keras.Input(shape), *down, layers.Flatten(), code])
    decoder = [keras.Input((code_dim,)), start, layers.Reshape(grid), *up, pixels, image]
    return encoder, keras.Sequential(decoder)


def schedule(peak: float, steps: int) -> keras.optimizers.schedules.CosineDecay:
    """Linear warm-up to `peak` over 5 % of the steps, then half a cosine down to 0."""
    peak, steps = number("peak", peak, 0, above=True), whole("steps", steps, 1)
    warm_up = {"warmup_target": peak, "warmup_steps": steps // 20}
    return keras.optimizers.schedules.CosineDecay(0.0, steps - steps // 20, **warm_up)


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
    **more,
) -> dict[str, list[float]]:
    """Trains `model` on arrays with `adam`; `more` goes to `model.fit`. Returns the history."""
    epochs, batch_size = whole("epochs", epochs, 1), whole("batch_size", batch_size, 1)
    batches = -(-len(keras.tree.flatten(x)[0]) // batch_size)
    model.compile(adam(peak, epochs * batches), loss)
    return model.fit(x, batch_size=batch_size, epochs=epochs, **{"verbose": 0} | more).history


def _sizes(name: str, values: Sequence[int], low: int, high: int = 99) -> tuple[int, ...]:
    values = tuple(whole(name, value, 1) for value in values)
    if not low <= len(values) <= high:
        more = "" if high == low else " or more"
        raise ValueError(f"`{name}` must hold {low}{more} integers. Received: {name}={values}")
    return values
