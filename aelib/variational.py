"""Variational autoencoders: a code that is a distribution, and a bound on the likelihood, in nats.

With the encoder's q(z|x) = N(mean, exp(log_var)), the prior p(z) = N(0, 1) and the decoder's
p(x|z), every image has

    log p(x)  >=  E_q log p(x|z) - KL(q(z|x) || p(z))        the evidence lower bound (ELBO)

All numbers are nats per image: summed over pixels and latents, averaged over images. Invalid
arguments, codes of an odd size, losses that are no likelihood and sample weights raise
`ValueError`.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from aelib._checks import flag, number, whole
from aelib._loss_checks import check_linear
from aelib._settings import Setting
from aelib.autoencoder import Autoencoder
from aelib.losses import BernoulliCrossEntropy, GaussianNegativeLogLikelihood, pixel_weights
from aelib.noise import in_table, normal, position_of_replica, uniform
from aelib.sampling import GaussianSampling as GaussianSampling  # a public name here too
from aelib.sampling import Samples, beside, code_shape, draw, first, gaussian_kl, mean_and_log_var
from aelib.training import mask_of, mean, over_replicas

_ROWS = 2000  # codes that the decoder takes at once in elbo and log_likelihood


class _Batch(NamedTuple):
    """What the model is called with in its steps, and then answers with `Samples`."""

    x: Any
    position: tf.Tensor  # of the first image, which says where its noise in evaluation begins


@keras.saving.register_keras_serializable(package="aelib")
class VariationalAutoencoder(Autoencoder):
    """Encoder and decoder trained on the evidence lower bound, or on a tighter one.

    The loss of an image is

        mean over samples of -log p(x|z) + beta KL(q(z|x) || N(0, 1)),    z from q(z|x)

    with the KL in closed form. `fit` and `evaluate` show `loss` and its two parts,
    `reconstruction` and `kl` (without beta); with beta 1, their sum is -ELBO. With
    `importance_weighted=True` it is the bound of Burda et al. with k = `samples`,

        -log 1/k sum_i w_i,    w_i = p(x|z_i) p(z_i) / q(z_i|x)

    never larger on average; `reconstruction` and `kl` are still the parts of the plain bound.

    Training noise is new at every step. That of `evaluate` and `elbo` belongs to the position of
    the image among all images given, whatever the batches. The model called gives the decoder's
    output for the mean (with `training=True`, for a sample), and no loss: in a loop of your own
    take `model.compute_loss(x, training=True)`, which has the KL in it.

    Args:
        encoder: layer or model, `(batch, ...)` to `(batch, ..., 2 * code)`: means, then
            log-variances, from a layer without activation. If it gives several outputs the
            distribution is the first, and the decoder takes `[z, *others]`.
        decoder: layer or model, `(batch, ..., code)` to images of the input's shape.
        beta: float >= 0, the weight of the KL. 1 is the bound on the likelihood.
        samples: int >= 1, draws of z for each image, in training and in evaluation.
        importance_weighted: bool, the bound to train on and to show as `loss`. Needs beta 1.
        beta_warmup: int >= 0, number of training steps over which beta rises linearly from 0.
            Validation takes the whole beta at once.
        binarize: bool, dynamic binarisation: pixels are probabilities that an image, input and
            target alike, is drawn from, anew at every training step, the same in every evaluation,
            `elbo` and `log_likelihood`. `encode` and `reconstruct` take images as they are.
        **kwargs: see `Autoencoder`.

    Example:

    ```python
    import numpy as np
    from aelib import losses, recipes, variational

    x = np.random.default_rng(0).random((64, 8, 8, 1), "float32")
    halves = recipes.dense((8, 8, 1), [16], 2, variational=True)
    model = variational.VariationalAutoencoder(*halves)
    model.compile("adam", losses.BernoulliCrossEntropy())
    model.fit(x, epochs=2, verbose=0)
    nats_per_image = model.elbo(x).mean()
    ```

    Reference: Kingma & Welling, "Auto-encoding variational Bayes", 2014, equations 3 and 10;
    Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders", 2016, equation 8; Higgins
    et al., "beta-VAE", 2017; Sonderby et al., "Ladder variational autoencoders", 2016 (warm-up).
    """

    beta = Setting()

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
        **kwargs: Any,
    ):
        super().__init__(encoder, decoder, **kwargs)
        self.beta = beta
        self.samples = whole("samples", samples, 1)
        self.importance_weighted = flag("importance_weighted", importance_weighted)
        self.beta_warmup = whole("beta_warmup", beta_warmup)
        self.binarize = flag("binarize", binarize)
        if self.importance_weighted and (self.beta != 1 or self.beta_warmup):
            fault = "`importance_weighted` has no KL to weigh: use beta=1 and beta_warmup=0"
            raise ValueError(f"{fault}. Received: beta={beta}, beta_warmup={beta_warmup}")
        check_linear(encoder)
        shape = getattr(encoder, "output_shape", None)
        if isinstance(shape, tuple | list):
            self._check_code(shape if isinstance(shape, tuple) else shape[0])
        self.noise = keras.random.SeedGenerator()
        self.reconstruction = keras.metrics.Mean(name="reconstruction")
        self.kl = keras.metrics.Mean(name="kl")
        # How many images this evaluation has seen. No weight: it is of no use in a file.
        total = tf.VariableAggregation.SUM
        self._seen = tf.Variable(0, trainable=False, dtype="int64", aggregation=total)

    def build(self, input_shape):
        self._shapes = input_shape
        inputs = keras.tree.map_shape_structure(keras.KerasTensor, input_shape)
        h, others = first(self.encoder(inputs))
        self._code_shape = self._check_code(h.shape)
        self._conditional = bool(others)
        self.decoder(beside(keras.KerasTensor((None, *self._code_shape)), others))

    def _check_code(self, encoder_shape) -> tuple:
        """The shape of a code, without the batch, if it is one and fits the decoder."""
        shape = code_shape(encoder_shape)[1:]
        expected = getattr(self.decoder, "input_shape", None)
        if isinstance(expected, tuple) and expected[1:] != shape:
            shapes = f"encoder.output_shape={encoder_shape}, decoder.input_shape={expected}"
            expected = "as its first output, side by side, a mean and a log-variance for each input"
            raise ValueError(f"The encoder must give {expected} of the decoder. Received: {shapes}")
        return shape

    def call(self, x, training=None):
        if isinstance(x, _Batch):
            position = None if training else x.position * self.samples
            return self._draw(x.x, self.samples, position)
        if training:
            return self._draw(x, 1, None).x_hat
        h, others = first(self.encoder(x))
        return self.decoder(beside(mean_and_log_var(h)[0], others))

    def _draw(self, x, samples, position) -> Samples:
        """Draws for each image: new ones, or those of the table from `position` on."""
        h = self.encoder(x)
        images, code = ops.shape(first(h)[0])[0], code_shape(first(h)[0].shape)[1:]
        if position is None:
            epsilon = normal((images * samples, *code), self.noise)
        else:
            epsilon = in_table("normal", position, images * samples, code)
        epsilon = ops.reshape(epsilon, (images, samples, *code))
        return draw(self.decoder, h, epsilon, self.compute_dtype)

    def _terms(self, target, drawn: Samples):
        """Reconstruction loss and log w, `(images, samples)`, and the KL, `(images,)`."""
        samples = ops.shape(drawn.z)[1]
        targets = ops.repeat(ops.cast(target, "float32"), samples, axis=0)
        weights = pixel_weights(targets, mask_of(drawn.x_hat))
        losses = self.loss.call(targets, ops.cast(drawn.x_hat, "float32"), weights)
        losses = ops.reshape(losses, (-1, samples))
        ratio = ops.cast(drawn.log_ratio(self.compute_dtype), losses.dtype)
        kl = ops.cast(gaussian_kl(drawn.mean, drawn.log_var), losses.dtype)
        return losses, ratio - losses, kl

    def compile(self, optimizer="rmsprop", loss=None, **kwargs):
        """See `Autoencoder.compile`; the loss must be one of the likelihoods in `aelib.losses`."""
        if not isinstance(loss, BernoulliCrossEntropy | GaussianNegativeLogLikelihood):
            raise ValueError(
                "The loss must be a likelihood (squared error plus KL is beta = 1/2 in disguise): "
                "use GaussianNegativeLogLikelihood(stddev), which is that at stddev=0.5**0.5, or "
                f"BernoulliCrossEntropy(). Received: loss={loss!r}"
            )
        if self.binarize and not isinstance(loss, BernoulliCrossEntropy):
            raise ValueError(f"`binarize` needs BernoulliCrossEntropy(). Received: loss={loss!r}")
        super().compile(optimizer, loss, **kwargs)
        self._elbo_graph = tf.function(self._elbo_of, reduce_retracing=True)
        self._weights_graph = tf.function(self._log_weights_of, reduce_retracing=True)

    def _prepared(self, x, y, sample_weight, training):
        images = ops.cast(ops.shape(keras.tree.flatten(x)[0])[0], "int64")
        position = position_of_replica(images)
        if not training:
            position = position + self._seen
            self._seen.assign_add(images)
        x = self._binarised(x, None if training else position)
        x, y, sample_weight = super()._prepared(x, y, sample_weight, training)
        return _Batch(x, position), y, sample_weight

    def _binarised(self, x, position):
        if not self.binarize:
            return x
        if position is None:
            chance = uniform(ops.shape(x), self.noise)
        else:
            chance = in_table("uniform", position, ops.shape(x)[0], tuple(x.shape[1:]))
        return ops.cast(chance < ops.cast(x, "float32"), x.dtype)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if sample_weight is not None:
            raise ValueError("The bound takes no weights. Received: sample_weight or class_weight")
        if not isinstance(x, _Batch):  # in a step of the user's own
            x, y, _ = self._prepared(x, y, None, training)
            y_pred = self(x, training=training)
        losses, log_weights, kl = self._terms(y, y_pred)
        reconstruction = ops.mean(losses, axis=1)
        self.reconstruction.update_state(reconstruction)
        self.kl.update_state(kl)
        if self.importance_weighted:
            count = ops.cast(ops.shape(log_weights)[1], "float32")
            objective = ops.log(count) - ops.logsumexp(log_weights, axis=1)
        else:
            objective = reconstruction + ops.multiply(self._kl_weight(training), kl)
        return sum(over_replicas(value) for value in [mean(objective), *self.losses])

    def _kl_weight(self, training):
        if not (training and self.beta_warmup):
            return self.beta
        steps = ops.cast(self.optimizer.iterations, "float32")
        return ops.multiply(self.beta, ops.minimum(steps / self.beta_warmup, 1.0))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if isinstance(x, _Batch):
            x, y_pred = x.x, y_pred.x_hat[:: self.samples]
        return super().compute_metrics(x, y, y_pred, sample_weight)

    @contextmanager
    def _evaluation(self) -> Iterator[None]:
        self._seen.assign(0)
        with super()._evaluation():
            yield

    def encode(self, x) -> Any:
        """The means of q(z|x): `(n, ...)` to float32 `(n, ..., code)`."""
        h, others = first(super().encode(x))
        return beside(np.split(h, 2, axis=-1)[0], others)

    def posterior(self, x) -> tuple[np.ndarray, np.ndarray]:
        """Means and log-variances of q(z|x): `(n, ...)` to two float32 arrays `(n, ..., code)`."""
        mean, log_var = np.split(first(super().encode(x))[0], 2, axis=-1)
        return mean, log_var

    def generate(self, n: int, seed: int | None = None) -> np.ndarray:
        """Images of codes drawn from N(0, 1), `(n, ...)`: means of p(x|z), in the data's unit."""
        n = whole("n", n, 1)
        seed = None if seed is None else whole("seed", seed)
        if not self.built:
            raise ValueError(f"Call the model first, which builds it. Received: n={n}")
        if self._conditional:
            raise ValueError(f"Decode [z, condition] of your own: decode(...). Received: n={n}")
        z = np.random.default_rng(seed).standard_normal((n, *self._code_shape), dtype="float32")
        return self.decode(z)

    def elbo(self, x) -> np.ndarray:
        """The evidence lower bound of each image, in nats: `(n, ...)` to float32 `(n,)`.

        Its mean is the negative of `evaluate`'s `reconstruction + kl`, on the same noise.
        """
        x = self._checked_images(x)
        size = max(1, _ROWS // self.samples)
        parts = [
            self._elbo_graph(tf.constant(x[start : start + size]), tf.constant(start, "int64"))
            for start in range(0, len(x), size)
        ]
        return np.concatenate([part.numpy() for part in parts])

    def log_likelihood(self, x, samples: int) -> np.ndarray:
        """The bound on log p(x) of each image, in nats: `(n, ...)` to float32 `(n,)`.

        log 1/k sum_i p(x|z_i) p(z_i) / q(z_i|x) with k = `samples`, 5,000 in the literature: on
        average it lies below log p(x) and rises towards it with k (Burda et al. 2016, equation 8).
        """
        x, samples = self._checked_images(x), whole("samples", samples, 1)
        per_call = max(1, _ROWS // samples)
        bounds = []
        for start in range(0, len(x), per_call):
            images = tf.constant(x[start : start + per_call])
            total = np.full(len(images), -np.inf)
            for done in range(0, samples, _ROWS):
                positions = tf.constant([start, start * samples + done], "int64")
                count = tf.constant(min(_ROWS, samples - done))
                weights = self._weights_graph(images, positions, count)
                total = np.logaddexp(total, weights.numpy())
            bounds.append(total - math.log(samples))
        return np.concatenate(bounds).astype("float32")

    def active_units(self, x, threshold: float = 0.01) -> int:
        """How many latents have a mean with a variance over images > `threshold` (Burda 2016)."""
        means, _ = self.posterior(x)
        if len(means) < 2:
            raise ValueError(f"A variance needs two images. Received: x.shape={np.shape(x)}")
        variances = means.var(axis=0, dtype="float64")
        return int((variances > number("threshold", threshold, 0)).sum())

    def _elbo_of(self, x, position):
        x = self._binarised(x, position)
        losses, _, kl = self._terms(x, self.call(_Batch(x, position)))
        return -ops.mean(losses, axis=1) - kl

    def _log_weights_of(self, x, positions, samples):
        x = self._binarised(x, positions[0])
        return ops.logsumexp(self._terms(x, self._draw(x, samples, positions[1]))[1], axis=1)

    def _checked_images(self, x):
        if self.loss is None:
            raise ValueError("Compile the model with a likelihood first. Received: loss=None")
        if not hasattr(x, "shape"):
            raise ValueError(f"`x` must be an array of images. Received: {type(x).__name__}")
        x = np.asarray(self._checked_pair(x, None)[0], "float32")
        self._build_on(x)
        return x

    def _checked_pair(self, x, y, weights=None):
        if self.binarize and y is not None:
            raise ValueError(f"`binarize` takes no target. Received: y.shape={np.shape(y)}")
        return super()._checked_pair(x, y, weights)

    def get_config(self):
        names = ("beta", "samples", "importance_weighted", "beta_warmup", "binarize")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
