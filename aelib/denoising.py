"""Corruptions: what a denoising autoencoder does to its input, in training only.

Pass one to `Autoencoder(encoder, decoder, corruption)`, which draws fresh noise at every training
step and the same noise in every validation. Noise is never clipped: a corrupted pixel may leave
[0, 1], and clipping would tell the network where black and white are. With an int >= 0 as `seed`
the sequence of noise is repeatable.
"""

import keras
from keras import ops

from aelib._checks import whole
from aelib._settings import Setting


class _Corruption(keras.layers.Layer):
    """Applies `corrupt(x)` of the subclass in training and leaves the input alone in inference."""

    def __init__(self, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.seed = None if seed is None else whole("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True
        self.built = True  # there are no weights to make

    def call(self, x, training=False):
        return self.corrupt(x) if training else x

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


class _PixelCorruption(_Corruption):
    """Replaces pixels that are drawn with probability `rate`."""

    rate = Setting(0, 1)

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(seed, **kwargs)
        self.rate = rate

    def uniform(self, x):
        # bfloat16 draws one of 128 numbers: a small rate would be rounded up to one of them.
        return keras.random.uniform(ops.shape(x), dtype="float32", seed=self.seed_generator)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="aelib")
class GaussianCorruption(_Corruption):
    """Adds independent Gaussian noise to every pixel: `x + stddev * epsilon`.

    Unlike `keras.layers.GaussianNoise` it accepts a `stddev` above 1.

    Args:
        stddev: float >= 0, standard deviation in units of intensity.
        seed: int or None.

    Call arguments: `x`, images `(batch, ...)`, and `training`, whether to corrupt.
    Output shape: the shape of `x`.

    Reference: Vincent et al., "Stacked denoising autoencoders", 2010, section 3.3.
    """

    stddev = Setting()

    def __init__(self, stddev: float, seed: int | None = None, **kwargs):
        super().__init__(seed, **kwargs)
        self.stddev = stddev

    def corrupt(self, x):
        noise = keras.random.normal(ops.shape(x), dtype="float32", seed=self.seed_generator)
        return x + ops.cast(ops.multiply(self.stddev, noise), x.dtype)

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}


@keras.saving.register_keras_serializable(package="aelib")
class MaskingCorruption(_PixelCorruption):
    """Sets a random share of the pixels to 0 and leaves the others as they are.

    Unlike `keras.layers.Dropout` it does not scale up the others: they are the image's own.

    Args:
        rate: float in [0, 1], the probability that a pixel (and channel) is set to 0.
        seed: int or None.

    Call arguments: `x`, images `(batch, ...)`, and `training`, whether to corrupt.
    Output shape: the shape of `x`.

    Reference: Vincent et al., "Extracting and composing robust features with denoising
    autoencoders", 2008, section 2.3.
    """

    def corrupt(self, x):
        return ops.where(ops.less(self.uniform(x), self.rate), ops.zeros_like(x), x)


@keras.saving.register_keras_serializable(package="aelib")
class SaltAndPepperCorruption(_PixelCorruption):
    """Sets a random share of the pixels to 0 or to 1, with equal probability.

    Args:
        rate: float in [0, 1], the probability that a pixel (and channel) is replaced.
        seed: int or None.

    Call arguments: `x`, images `(batch, ...)`, and `training`, whether to corrupt.
    Output shape: the shape of `x`.

    Reference: Vincent et al., "Stacked denoising autoencoders", 2010, section 3.3.
    """

    def corrupt(self, x):
        chance = self.uniform(x)
        salted = ops.where(ops.less(chance, self.rate), ops.ones_like(x), x)
        return ops.where(ops.less(chance, self.rate / 2), ops.zeros_like(x), salted)
