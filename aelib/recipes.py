"""Networks and training that lessons share, so that a lesson shows only what is new in it.

The optimiser is Adam with two choices that are not Keras's. The learning rate rises over 5 % of the
steps: Adam's first steps are as long as the rate allows, whatever the gradients, because few are
averaged yet, and at the peak rate they push units to where no gradient is. And `beta_2=0.95`: Adam
averages some twenty squared gradients; at Keras's 0.999 large first ones shorten a thousand steps.
"""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import keras
from keras import Model, layers

from aelib._checks import flag, number, whole
from aelib.training import build_optimizer


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

    Pixels are float32 under any dtype policy; `decoder.layers[-2].bias` can start at their mean.

    Args:
        shape: of one image.
        units: widths of the hidden layers; the decoder has them in reverse order.
        code_dim: int, dimensions of the code.
        activation, output_activation: of the hidden layers and the pixels; the code has none.
        variational: whether the encoder's `2 * code_dim` outputs are means and log-variances.

    Example:

    ```python
    import aelib

    encoder, decoder = aelib.recipes.dense((28, 28, 1), [256, 64], code_dim=8)
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
    """As `dense`, with a 4 x 4 convolution for each of `channels`, which halves height and width.

    Images may have any size: halves are rounded up, and the decoder crops what is too much.
    """
    shape, channels = _sizes("shape", shape, 3, 3), _sizes("channels", channels, 1)
    code_dim, factor = whole("code_dim", code_dim, 1), 2 ** len(channels)
    grid = (-(-shape[0] // factor), -(-shape[1] // factor), channels[-1])
    down = [layers.Conv2D(n, 4, 2, "same", activation=activation) for n in channels]
    code = layers.Dense(code_dim * (1 + flag("variational", variational)))
    grow = partial(layers.Conv2DTranspose, kernel_size=4, strides=2, padding="same")
    beyond = ((0, factor * grid[0] - shape[0]), (0, factor * grid[1] - shape[1]))
    decoder = [keras.Input((code_dim,)), layers.Dense(prod(grid), activation), layers.Reshape(grid)]
    decoder += [grow(n, activation=activation) for n in channels[-2::-1]]
    decoder += [grow(shape[2], activation=output_activation, dtype="float32")]
    decoder += [layers.Cropping2D(beyond, dtype="float32")]
    encoder = keras.Sequential([keras.Input(shape), *down, layers.Flatten(), code])
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
    model: Model, x: Any, loss: Any, *, epochs: int, peak: float, batch_size: int = 128, **more: Any
) -> dict[str, list[float]]:
    """Trains `model` on arrays with `adam`; `more` goes to `model.fit`. Returns the history."""
    epochs, batch_size = whole("epochs", epochs, 1), whole("batch_size", batch_size, 1)
    batches = -(-len(keras.tree.flatten(x)[0]) // batch_size)
    model.compile(adam(peak, epochs * batches), loss)
    build_optimizer(model)  # also of a model that is not the library's
    return model.fit(x, batch_size=batch_size, epochs=epochs, **{"verbose": 0} | more).history


def _sizes(name: str, values: Sequence[int], low: int, high: int = 99) -> tuple[int, ...]:
    values = tuple(whole(name, value, 1) for value in values)
    if not low <= len(values) <= high:
        more = "" if high == low else " or more"
        raise ValueError(f"`{name}` must hold {low}{more} integers. Received: {name}={values}")
    return values
