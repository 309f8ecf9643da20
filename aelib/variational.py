"""Variational autoencoders: a code that is a distribution, and a bound on the likelihood, in nats.

The encoder gives, side by side on its last axis, mean and log-variance of the distribution
q(z|x) = N(mean, exp(log_var)). With the prior p(z) = N(0, 1) and the decoder's p(x|z), every
image has

    log p(x)  >=  E_q log p(x|z) - KL(q(z|x) || p(z))        the evidence lower bound (ELBO)

All numbers are nats per image: summed over pixels and latents, averaged over images. Nothing is
divided by the number of pixels or latents, so no factor hides between the two terms.
"""

import math
from contextlib import contextmanager
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from aelib.autoencoder import Autoencoder, _Rows
from aelib.losses import BernoulliCrossEntropy, GaussianNegativeLogLikelihood, SquaredError

_ROWS = 2000  # codes that the decoder takes at once in elbo and log_likelihood
# Above it exp(log_var) goes on as a straight line, so that any half-precision number has a finite
# KL. A deviation of exp(40 / 2) is far from any that a prior of deviation 1 leaves standing.
_LARGEST_LOG_VAR = 40.0
# float16 ends at 65504: a deviation of exp(12 / 2) = 403 leaves the decoder's sums room.
_LARGEST_LOG_VAR_FLOAT16 = 12.0


@keras.saving.register_keras_serializable(package="aelib")
class GaussianSampling(keras.layers.Layer):
    """Draws z = mean + exp(log_var / 2) * epsilon, and adds KL(N(mean, exp(log_var)) || N(0, 1)).

    Epsilon comes from N(0, 1), for every image and latent another, new at each call, in
    training and in use: gradients flow through mean and log_var (the reparametrisation). The
    loss gains

        KL = 1/2 sum over latents of (mean^2 + exp(log_var) - 1 - log_var)

    averaged over images, in float32 whatever the policy; a metric with the layer's name shows it.
    `VariationalAutoencoder` does the same and more: use the layer for a model of your own.

    A log-variance above 40 (in float16: 12) draws with the deviation of that limit, so that z
    stays finite. KL goes on growing, along a line above 40, so its gradient leads back.

    Args:
        seed: int, repeats the same sequence of noise; None draws one.

    Input shape: `(batch, ..., 2 * code)`, means first, then log-variances.
    Output shape: `(batch, ..., code)`; all axes but the first count as latents.

    Raises:
        ValueError: for a last axis that is odd or unknown, and a seed that is none.

    Reference: Kingma & Welling, "Auto-encoding variational Bayes", 2014, sections 2.4 and 3 and
    appendix B.
    """

    def __init__(self, seed: int | None = None, **kwargs):
        if seed is not None:
            seed = _whole("seed", seed, 0)
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._shown = keras.metrics.Mean(name=self.name)

    def build(self, input_shape):
        _half_shape("input_shape", input_shape)

    def call(self, h):
        mean, log_var = _halves(h)
        images, seed = ops.shape(h)[0], self.seed_generator.next()
        epsilon = _normal(seed, _first_here(h), images, mean.shape[1:])
        penalties = _kl(mean, log_var)
        self._shown.update_state(penalties)
        self.add_loss(ops.mean(penalties))
        z = mean + ops.exp(0.5 * _limited(log_var, self.compute_dtype)) * epsilon
        return ops.cast(z, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return _half_shape("input_shape", input_shape)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


class _Batch(NamedTuple):
    """Images, and where their noise comes from. What the model is called with in its steps."""

    x: tf.Tensor
    seed: tf.Tensor
    first: tf.Tensor  # position of the first image, which chooses the noise


class _Samples(NamedTuple):
    """What the model then gives: the distribution of the code, draws from it, and their images."""

    mean: tf.Tensor  # (batch, ...)
    log_var: tf.Tensor
    epsilon: tf.Tensor  # (batch, samples, ...)
    z: tf.Tensor
    x_hat: tf.Tensor  # (batch * samples, ...), as the decoder gives it


@keras.saving.register_keras_serializable(package="aelib")
class VariationalAutoencoder(Autoencoder):
    """Encoder and decoder trained on the evidence lower bound, or on a tighter one.

    The loss of an image is

        mean over samples of -log p(x|z) + beta KL(q(z|x) || N(0, 1)),    z from q(z|x)

    with the KL in closed form. `fit` and `evaluate` show `loss` and its two parts,
    `reconstruction` and `kl` (without beta). With beta 1, loss = reconstruction + kl = -ELBO (plus
    the penalties of layers that add some).

    With `importance_weighted=True` it is the bound of Burda et al. with k = `samples`,

        -log 1/k sum_i w_i,    w_i = p(x|z_i) p(z_i) / q(z_i|x)

    which is never larger on average; `reconstruction` and `kl` then are still the parts of the
    plain bound, on the same samples, for comparison: the loss is not their sum.

    Training noise is new at every step. `evaluate`, `elbo` and `log_likelihood` draw theirs from
    `evaluation_seed` and the position of the image among all images given: the same numbers on
    every call, after loading, with batches of any size, under XLA and over replicas. The warm-up
    is for training alone: a validation loss under a growing beta would be at its best at once.

    The model called gives the decoder's output for the mean (with `training=True`, for a sample);
    so do `predict` and `reconstruct`, and `encode` gives the mean. The encoder ends in a layer
    without activation, of twice the code's size.

    Args:
        encoder: layer or model, `(batch, ...)` to `(batch, ..., 2 * code)`: means, then
            log-variances.
        decoder: layer or model, `(batch, ..., code)` to images of the input's shape.
        beta: float, at least 0, the weight of the KL. 1 is the bound on the likelihood.
        samples: int, at least 1, draws of z for each image, in training and in evaluation.
        importance_weighted: bool, the bound to train on and to show as `loss`. Needs beta 1.
        beta_warmup: int, number of training steps (of the compiled optimizer) in which beta grows
            in a straight line from 0; 0 is none.
        binarize: bool, dynamic binarisation. The pixels are probabilities, and each time an image
            comes up it is drawn from them, input and target being the same draw: new at every
            training step, the same in every evaluation. `elbo` and `log_likelihood` do so too
            (images that are black and white already stay as they are); `encode` and
            `reconstruct` do not.
        evaluation_seed: int, at least 0, of the noise outside training.
        **kwargs: as of `keras.Model`. There is no corruption: `fit(noisy, clean)` trains with one.

    Call arguments:
        x: `(batch, ...)`, images.

    Raises:
        ValueError: for arguments that are none of these, for an encoder whose last axis is odd or
            does not fit the decoder, for a loss that is no likelihood, and for sample weights.

    Example:

        encoder = keras.Sequential(
            [keras.Input((28, 28, 1)), Flatten(), Dense(512, "gelu"), Dense(40)]
        )
        decoder = keras.Sequential(
            [keras.Input((20,)), Dense(512, "gelu"), Dense(784), Reshape((28, 28, 1))]
        )
        model = VariationalAutoencoder(encoder, decoder)
        model.compile("adam", losses.BernoulliCrossEntropy())
        model.fit(x, epochs=30, batch_size=128)
        model.elbo(x_test).mean()

    References: Kingma & Welling, "Auto-encoding variational Bayes", 2014, equations 3 and 10;
    Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders", 2016, equation 8; Higgins
    et al., "beta-VAE", 2017; Sonderby et al., "Ladder variational autoencoders", 2016, for the
    warm-up.
    """

    def __init__(
        self,
        encoder,
        decoder,
        beta: float = 1.0,
        samples: int = 1,
        importance_weighted: bool = False,
        *,
        beta_warmup: int = 0,
        binarize: bool = False,
        evaluation_seed: int = 20131,
        **kwargs,
    ):
        if kwargs.get("corruption") is not None:
            raise ValueError(
                "Give corrupted images with fit(noisy, clean) instead. "
                f"Received: corruption={kwargs['corruption']!r}"
            )
        for name, value in {
            "importance_weighted": importance_weighted,
            "binarize": binarize,
        }.items():
            if not isinstance(value, bool | np.bool_):
                raise ValueError(f"{name} is True or False. Received: {name}={value!r}")
        beta = _number("beta", beta)
        beta_warmup = _whole("beta_warmup", beta_warmup, 0)
        if importance_weighted and (beta != 1 or beta_warmup):
            raise ValueError(
                "The importance-weighted bound has no KL term that beta could weigh: use beta=1 "
                f"and beta_warmup=0 with it. Received: beta={beta}, beta_warmup={beta_warmup}"
            )
        super().__init__(encoder, decoder, **kwargs)
        self.beta = beta
        self.samples = _whole("samples", samples, 1)
        self.importance_weighted = bool(importance_weighted)
        self.beta_warmup = beta_warmup
        self.binarize = bool(binarize)
        self.evaluation_seed = _whole("evaluation_seed", evaluation_seed, 0)
        # With a built encoder the model is built by now, and Keras takes no more state.
        self._tracker.unlock()
        self.noise = keras.random.SeedGenerator()
        self.reconstruction = keras.metrics.Mean(name="reconstruction")
        self.kl = keras.metrics.Mean(name="kl")
        # How many images this evaluation has seen. No weight: it is of no use in a file.
        self._seen = tf.Variable(
            0, dtype="int64", trainable=False, aggregation=tf.VariableAggregation.SUM
        )

    def _chain(self, input_shape):
        yield self.encoder, input_shape
        shape = _half_shape("encoder.output_shape", self.encoder.compute_output_shape(input_shape))
        expected = getattr(self.decoder, "input_shape", None)
        if isinstance(expected, tuple) and expected[1:] != shape[1:]:
            raise ValueError(
                "The encoder's last axis holds mean and log-variance side by side, so it is twice "
                f"as long as the decoder's input. Received: encoder.output_shape="
                f"{tuple(self.encoder.compute_output_shape(input_shape))}, "
                f"decoder.input_shape={expected}"
            )
        self._code_shape = shape[1:]
        yield self.decoder, shape

    def call(self, x, training=None):
        if isinstance(x, _Batch):
            return self._draw(self.encoder(x.x), x.seed, x.first * self.samples, self.samples)
        h = self.encoder(x)
        if training:
            return self._draw(h, self.noise.next(), _first_here(x), 1).x_hat
        return self.decoder(_halves(h)[0])

    def _draw(self, h, seed, position, samples) -> _Samples:
        """`samples` codes of each image, and their images; noise from `position` on."""
        mean, log_var = _halves(h)
        images, code = ops.shape(h)[0], mean.shape[1:]
        epsilon = _normal(seed, position, images * samples, code)
        epsilon = ops.reshape(epsilon, (images, samples, *code))
        deviation = ops.exp(0.5 * _limited(log_var, self.compute_dtype))
        z = mean[:, None] + deviation[:, None] * epsilon
        return _Samples(mean, log_var, epsilon, z, self.decoder(ops.reshape(z, (-1, *code))))

    def _terms(self, target, drawn: _Samples):
        """Reconstruction loss `(images, samples)` and log w `(images, samples)`, KL `(images,)`."""
        samples = ops.shape(drawn.z)[1]
        targets = ops.repeat(ops.cast(target, "float32"), samples, axis=0)
        losses = self.loss.call(targets, ops.cast(drawn.x_hat, "float32"))
        losses = ops.reshape(losses, (-1, samples))
        # log p(z) - log q(z|x): the constants of the two Gaussians cancel.
        log_var = _limited(drawn.log_var, self.compute_dtype)[:, None]
        ratio = 0.5 * (ops.square(drawn.epsilon) + log_var - ops.square(drawn.z))
        ratio = ops.sum(ratio, axis=tuple(range(2, len(ratio.shape))))
        return losses, ratio - losses, _kl(drawn.mean, drawn.log_var)

    # Training

    def compile(self, optimizer="rmsprop", loss=None, **kwargs):
        """As `Autoencoder.compile`; the loss is a likelihood, `aelib.losses.BernoulliCrossEntropy`
        or `aelib.losses.GaussianNegativeLogLikelihood`."""
        squared = SquaredError | keras.losses.MeanSquaredError
        if isinstance(loss, squared) or loss in ("mse", "mean_squared_error"):
            raise ValueError(
                "Squared error plus KL is beta = 1/2 in disguise. Use GaussianNegativeLogLikelihood"
                "(stddev), and beta where you mean it: stddev=0.5**0.5 gives the squared error and "
                f"a constant. Received: loss={loss!r}"
            )
        if not isinstance(loss, BernoulliCrossEntropy | GaussianNegativeLogLikelihood):
            raise ValueError(
                "The loss is a likelihood, BernoulliCrossEntropy() or "
                f"GaussianNegativeLogLikelihood(stddev) of aelib.losses. Received: loss={loss!r}"
            )
        if self.binarize and not isinstance(loss, BernoulliCrossEntropy):
            raise ValueError(
                "Binarised images have a Bernoulli likelihood: use BernoulliCrossEntropy(). "
                f"Received: loss={loss!r}, binarize=True"
            )
        super().compile(optimizer, loss, **kwargs)
        # New ones, since they hold the loss as it was when they were traced.
        self._elbo_graph = tf.function(self._elbo_of, reduce_retracing=True)
        self._weights_graph = tf.function(self._log_weights_of, reduce_retracing=True)

    def train_step(self, data):
        if isinstance(data, _Rows):
            data = tuple(tf.gather(array, data.indices) for array in data.arrays)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        return super().train_step((self._with_noise(x, True), y, sample_weight))

    def test_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        return keras.Model.test_step(self, (self._with_noise(x, False), y, sample_weight))

    def _with_noise(self, x, training) -> _Batch:
        if not self.built:
            self.build(x.shape)
        first = _first_here(x)
        if training:
            return _Batch(self._drawn(x, self.noise.next, first), self.noise.next(), first)
        first = first + self._seen
        self._seen.assign_add(ops.cast(ops.shape(x)[0], "int64"))
        return self._with_fixed_noise(x, first)

    def _with_fixed_noise(self, x, first) -> _Batch:
        x = self._drawn(x, lambda: tf.constant([self.evaluation_seed, 1]), first)
        return _Batch(x, tf.constant([self.evaluation_seed, 0]), first)

    def _drawn(self, x, next_seed, first):
        """Images whose pixels are drawn from `x`, if the model binarises."""
        if not self.binarize:
            return x
        uniform = _uniform(next_seed(), first, ops.shape(x)[0], math.prod(x.shape[1:]))
        return ops.cast(ops.reshape(uniform, ops.shape(x)) < ops.cast(x, "float32"), x.dtype)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if sample_weight is not None:
            raise ValueError(
                "The bound is a mean over images, without weights. "
                "Received: sample_weight or class_weight"
            )
        if not isinstance(x, _Batch):  # not from a step: a reconstruction is not enough
            x = self._with_noise(x, training)
            y_pred = self(x, training=training)
        losses, log_weights, kl = self._terms(x.x if y is None else y, y_pred)
        reconstruction = ops.mean(losses, axis=1)
        self.reconstruction.update_state(reconstruction)
        self.kl.update_state(kl)
        if self.importance_weighted:
            count = ops.cast(ops.shape(log_weights)[1], "float32")
            objective = ops.log(count) - ops.logsumexp(log_weights, axis=1)
        else:
            objective = reconstruction + self._beta_now(training) * kl
        # As scalars of add_loss: divided among the replicas of a distribution strategy.
        penalties = [ops.mean(objective), *self.losses]
        return sum(self._aggregate_additional_loss(penalty) for penalty in penalties)

    def _beta_now(self, training):
        if not (training and self.beta_warmup):
            return self.beta
        steps = ops.cast(self.optimizer.iterations, "float32")
        return self.beta * ops.minimum(steps / self.beta_warmup, 1.0)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if isinstance(x, _Batch):
            x, y_pred = x.x, y_pred.x_hat[:: self.samples]
        return super().compute_metrics(x, y, y_pred, sample_weight)

    @contextmanager
    def _fixed_noise(self):
        self._seen.assign(0)
        yield

    # Use

    def encode(self, x) -> np.ndarray:
        """The means of q(z|x): `(n, ...)` to float32 `(n, ..., code)`. `posterior` gives both."""
        return self.posterior(x)[0]

    def posterior(self, x) -> tuple[np.ndarray, np.ndarray]:
        """Means and log-variances of q(z|x): `(n, ...)` to two float32 arrays `(n, ..., code)`."""
        mean, log_var = np.split(super().encode(x), 2, axis=-1)
        return mean, log_var

    def generate(self, n: int, seed: int | None = None) -> np.ndarray:
        """Images of codes drawn from the prior N(0, 1): float32 `(n, height, width, channels)`.

        The mean of p(x|z), without pixel noise, clipped to [0, 1] where the decoder leaves it.
        """
        n = _whole("n", n, 1)
        if seed is not None:
            seed = _whole("seed", seed, 0)
        if not self.built:
            raise ValueError(
                f"The size of a code is known once the model has seen images. Received: n={n}"
            )
        z = np.random.default_rng(seed).standard_normal((n, *self._code_shape), dtype="float32")
        return np.clip(self.decode(z), 0, 1)

    def elbo(self, x) -> np.ndarray:
        """The evidence lower bound of each image, always with beta 1: `(n, ...)` to float32 `(n,)`.

        Negative nats per image (a density above 1 can make it positive); the mean of it over
        images is the negative of `evaluate`'s `reconstruction + kl`, on the same noise.
        """
        x = self._checked_images(x)
        size = max(1, _ROWS // self.samples)
        parts = [
            self._elbo_graph(tf.constant(x[start : start + size]), tf.constant(start, "int64"))
            for start in range(0, len(x), size)
        ]
        return np.concatenate([part.numpy() for part in parts])

    def log_likelihood(self, x, samples: int) -> np.ndarray:
        """The importance-weighted bound on log p(x) of each image: `(n, ...)` to float32 `(n,)`.

        log 1/k sum_i p(x|z_i) p(z_i) / q(z_i|x) with k = `samples`, in negative nats per image.
        On average it lies below log p(x) and rises towards it with k. No more than 2,000 codes
        are decoded at once, whatever `samples` is.

        Args:
            x: `(n, ...)`, images.
            samples: int, at least 1; 5,000 in the literature.

        Reference: Burda et al. 2016, equation 8.
        """
        x, samples = self._checked_images(x), _whole("samples", samples, 1)
        per_call = max(1, _ROWS // samples)
        bounds = []
        for start in range(0, len(x), per_call):
            images = tf.constant(x[start : start + per_call])
            total = np.full(len(images), -np.inf)
            for first in range(0, samples, _ROWS):
                # Positions count samples here: each image has as many as it is asked for.
                position = tf.constant(start * samples + first, "int64")
                count = tf.constant(min(_ROWS, samples - first))
                weights = self._weights_graph(images, tf.constant(start, "int64"), position, count)
                total = np.logaddexp(total, weights.numpy())
            bounds.append(total - math.log(samples))
        return np.concatenate(bounds).astype("float32")

    def active_units(self, x, threshold: float = 0.01) -> int:
        """How many latents are in use: whose mean varies over images by more than `threshold`.

        A variance, in units of the prior's. Latents left at the prior carry nothing.

        Reference: Burda et al. 2016, who count them at 0.01.
        """
        threshold = _number("threshold", threshold)
        means = self.encode(x)
        if len(means) < 2:
            raise ValueError(
                f"A variance needs two images or more. Received: x.shape={np.shape(x)}"
            )
        return int((means.var(axis=0, dtype="float64") > threshold).sum())

    def _elbo_of(self, x, first):
        batch = self._with_fixed_noise(x, first)
        losses, _, kl = self._terms(batch.x, self.call(batch))
        return -ops.mean(losses, axis=1) - kl

    def _log_weights_of(self, x, first, position, samples):
        """log sum_i w_i of each image over `samples` draws, whose noise begins at `position`."""
        batch = self._with_fixed_noise(x, first)
        drawn = self._draw(self.encoder(batch.x), batch.seed, position, samples)
        return ops.logsumexp(self._terms(batch.x, drawn)[1], axis=1)

    # Arguments

    def _checked_images(self, x):
        if self.loss is None:
            raise ValueError("Compile the model with a likelihood first. Received: loss=None")
        return self._checked_pair(x, None)[0]

    def _checked_pair(self, x, y):
        if self.binarize and y is not None:
            raise ValueError(
                "Binarised images are their own target. "
                f"Received: y.shape={np.shape(y)}, binarize=True"
            )
        return super()._checked_pair(x, y)

    # Files

    def get_config(self):
        return {
            **super().get_config(),
            "beta": self.beta,
            "samples": self.samples,
            "importance_weighted": self.importance_weighted,
            "beta_warmup": self.beta_warmup,
            "binarize": self.binarize,
            "evaluation_seed": self.evaluation_seed,
        }


def _halves(h):
    """Means and log-variances, in float32 (or float64)."""
    h = ops.convert_to_tensor(h)
    h = ops.cast(h, keras.backend.result_type(h.dtype, "float32"))
    return ops.split(h, 2, axis=-1)


def _half_shape(name: str, shape) -> tuple:
    if len(shape) < 2 or shape[-1] is None or shape[-1] < 2 or shape[-1] % 2:
        raise ValueError(
            "The last axis holds mean and log-variance side by side, an even number. "
            f"Received: {name}={tuple(shape)}"
        )
    return (*shape[:-1], shape[-1] // 2)


def _limited(log_var, dtype: str):
    largest = _LARGEST_LOG_VAR_FLOAT16 if dtype == "float16" else _LARGEST_LOG_VAR
    return ops.minimum(log_var, largest)


def _kl(mean, log_var):
    """KL(N(mean, exp(log_var)) || N(0, 1)), summed over latents: `(batch,)`."""
    # exp(log_var), and above the limit the tangent there.
    limited = ops.minimum(log_var, _LARGEST_LOG_VAR)
    variance = ops.exp(limited) * (1 + log_var - limited)
    nats = 0.5 * (ops.square(mean) + variance - 1 - log_var)
    return ops.sum(nats, axis=tuple(range(1, len(nats.shape))))


def _first_here(x):
    """The position in the whole batch of the first image that this replica has.

    Where replicas have unequal shares (a last batch that does not divide) some images share noise.
    """
    context = tf.distribute.get_replica_context()
    replica = 0 if context is None else context.replica_id_in_sync_group
    return ops.cast(replica, "int64") * ops.cast(ops.shape(x)[0], "int64")


def _normal(seed, position, rows, shape):
    """Numbers from N(0, 1), `(rows, *shape)`: those of row `position` and of the rows after it."""
    numbers = math.prod(shape)
    # Box & Muller: two uniform numbers make two Gaussian ones.
    u, v = ops.split(_uniform(seed, position, rows, numbers + numbers % 2), 2, axis=-1)
    radius, angle = ops.sqrt(-2 * ops.log(u)), 2 * math.pi * v
    normal = ops.concatenate([radius * ops.cos(angle), radius * ops.sin(angle)], axis=-1)
    return ops.reshape(normal[:, :numbers], (-1, *shape))


def _uniform(seed, position, rows, numbers: int):
    """Numbers between 0 and 1, both excluded, `(rows, numbers)`, from row `position` on.

    What stands in a row depends on the seed and on the row's position alone, so the noise of an
    image is the same in every batch and on every replica. The generator counts blocks of four
    numbers, and can begin anywhere. Its bits, other than Keras's Gaussian numbers, are the
    same under XLA and on a GPU.

    Reference: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011 (Philox).
    """
    blocks = -(-numbers // 4)
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    skipped = ops.cast(ops.cast(position, "int64") * blocks, "uint64")
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=[rows * blocks * 4],
        key=key,
        counter=tf.stack([counter[0] + skipped, counter[1]]),
        alg=1,
        dtype=tf.uint32,
    )
    # 23 bits, in the middle of their steps: neither 0 nor 1 after rounding to float32.
    steps = ops.cast(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)), "float32")
    return ops.reshape((steps + 0.5) * 2.0**-23, (rows, 4 * blocks))[:, :numbers]


def _whole(name: str, value, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} is a whole number, at least {least}. Received: {name}={value!r}")
    return int(value)


def _number(name: str, value) -> float:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf:
        raise ValueError(f"{name} is a finite number, at least 0. Received: {name}={value!r}")
    return float(value)
