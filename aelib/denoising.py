"""Corruptions: what a denoising autoencoder does to its input, and only while it trains.

Give one to `Autoencoder(encoder, decoder, corruption)`, which adds fresh noise at every
training step and the same noise in every validation. The noise is never clipped: a corrupted
pixel may leave [0, 1], and clipping it would tell the network where black and white are.
"""

import math

import keras
import numpy as np
from keras import ops


class _Corruption(keras.layers.Layer):
    """Keeps the seed, and leaves the input alone in inference.

    A child says what `corrupt(x)` does, with noise of its own `seed_generator`: an attribute,
    so that its state goes on from step to step, inside compiled functions too.
    """

    def __init__(self, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def call(self, x, training=False):
        return self.corrupt(x) if training else x

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="aelib")
class GaussianCorruption(_Corruption):
    """Adds independent Gaussian noise to every pixel: x + stddev * epsilon.

    Keras's own `GaussianNoise` refuses a `stddev` above 1.

    Args:
        stddev: float, at least 0, the standard deviation in units of intensity.
        seed: int, repeats the same sequence of noise; None draws one.

    Call arguments:
        x: `(batch, ...)`, images.
        training: bool, whether to corrupt.

    Returns: the shape of `x`, not clipped.

    Raises:
        ValueError: if `stddev` is no finite number of at least 0.

    Reference: Vincent et al., "Stacked denoising autoencoders", 2010, section 3.3.
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs):
        self.stddev = _number("stddev", stddev, math.inf)
        super().__init__(seed, **kwargs)

    def corrupt(self, x):
        noise = keras.random.normal(ops.shape(x), dtype="float32", seed=self.seed_generator)
        return x + ops.cast(self.stddev * noise, x.dtype)

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}


@keras.saving.register_keras_serializable(package="aelib")
class MaskingCorruption(_Corruption):
    """Sets a random share of the pixels to 0 and leaves the others as they are.

    Unlike `keras.layers.Dropout` it does not scale up what remains: the network shall see
    the pixels of the image.

    Args:
        rate: float between 0 and 1, the probability of a pixel (and channel) to be zeroed.
        seed: int, repeats the same sequence of masks; None draws one.

    Call arguments:
        x: `(batch, ...)`, images.
        training: bool, whether to corrupt.

    Returns: the shape of `x`.

    Raises:
        ValueError: if `rate` is no number between 0 and 1.

    Reference: Vincent et al., "Extracting and composing robust features with denoising
    autoencoders", 2008, section 2.3.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        self.rate = _number("rate", rate, 1)
        super().__init__(seed, **kwargs)

    def corrupt(self, x):
        return ops.where(_uniform(x, self.seed_generator) < self.rate, ops.zeros_like(x), x)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="aelib")
class SaltAndPepperCorruption(_Corruption):
    """Sets a random share of the pixels to 0 or to 1, each with half of the probability.

    Args:
        rate: float between 0 and 1, the probability of a pixel (and channel) to be replaced.
        seed: int, repeats the same sequence of noise; None draws one.

    Call arguments:
        x: `(batch, ...)`, images.
        training: bool, whether to corrupt.

    Returns: the shape of `x`.

    Raises:
        ValueError: if `rate` is no number between 0 and 1.

    Reference: Vincent et al., "Stacked denoising autoencoders", 2010, section 3.3.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        self.rate = _number("rate", rate, 1)
        super().__init__(seed, **kwargs)

    def corrupt(self, x):
        chance = _uniform(x, self.seed_generator)
        salted = ops.where(chance < self.rate, ops.ones_like(x), x)
        return ops.where(chance < self.rate / 2, ops.zeros_like(x), salted)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


def _uniform(x, seed_generator):
    # In float32 whatever the policy: bfloat16 knows only 128 numbers below 1, and a small
    # rate would be rounded up to one of them.
    return keras.random.uniform(ops.shape(x), dtype="float32", seed=seed_generator)


def _number(name: str, value, largest: float) -> float:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= largest or not math.isfinite(value):
        limits = "finite and at least 0" if largest == math.inf else f"between 0 and {largest}"
        raise ValueError(f"{name} is a number {limits}. Received: {name}={value!r}")
    return float(value)
