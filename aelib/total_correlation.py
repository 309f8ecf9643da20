"""The total correlation of latents, in nats: measured, and penalised in training (beta-TCVAE).

Invalid arguments raise `ValueError`.
"""

import math

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike
from scipy import special

from aelib._checks import array, number, whole
from aelib.sampling import Samples
from aelib.training import mean as images_mean
from aelib.training import over_replicas, require
from aelib.variational import VariationalAutoencoder

_ROWS = 2_000_000  # densities that total_correlation holds at once
# exp(-log_var) and its products stay finite: a posterior beyond is as narrow as at the limit, or,
# where there is no gradient to lose, as wide.
_SMALLEST_LOG_VAR, _LARGEST_LOG_VAR = -20.0, 1000.0


def total_correlation(mean: ArrayLike, log_var: ArrayLike, *, seed: int = 0) -> float:
    """KL from the distribution of all codes to the product of its marginals, in nats.

        TC = E log q(z) - sum_d E log q(z_d),    q(z) = 1/n sum_j q(z|x_j)

    with one draw z from each q(z|x_i); 0 for independent latents. If the images are few, or their
    posteriors do not overlap, it is larger than that of the data, up to (code - 1) ln n.

    Args:
        mean, log_var: `(n, code)`, n >= 2, as `VariationalAutoencoder.posterior` gives them.
        seed: int >= 0, of the draws.

    Reference: Chen et al. 2018, equation 2.
    """
    mean = array("mean", mean, rank=2, exact=True).astype("float64")
    log_var = array("log_var", log_var, rank=2, exact=True).astype("float64")
    if mean.shape != log_var.shape or len(mean) < 2:
        received = f"mean.shape={mean.shape}, log_var.shape={log_var.shape}"
        raise ValueError(f"Both must be `(n, code)` with n >= 2. Received: {received}")
    log_var = np.clip(log_var, _SMALLEST_LOG_VAR, _LARGEST_LOG_VAR)
    narrowness = np.exp(-0.5 * log_var)
    epsilon = np.random.default_rng(whole("seed", seed)).standard_normal(mean.shape)
    z = mean + epsilon / narrowness
    rows, total = max(1, _ROWS // mean.size), 0.0
    for start in range(0, len(z), rows):
        part = z[start : start + rows, None]
        with np.errstate(over="ignore"):  # a density of 0
            squares = ((part - mean) * narrowness) ** 2
        density = -0.5 * (squares + log_var + math.log(2 * math.pi))
        joint = special.logsumexp(density.sum(axis=-1), axis=1)
        marginals = special.logsumexp(density, axis=1).sum(axis=-1)
        total += (joint - marginals).sum()
    return float(total / len(z) + (mean.shape[1] - 1) * math.log(len(z)))


@keras.saving.register_keras_serializable(package="aelib")
class TotalCorrelationVAE(VariationalAutoencoder):
    """A variational autoencoder with a penalty on dependence between latents (beta-TCVAE).

        loss = reconstruction + KL + (beta - 1) TC,    TC = E log q(z) - sum_d E log q(z_d)

    TC is a part of the KL, the only one that is weighted. q(z) is a mixture over all N training
    images, of which a step (on each replica) sees a batch of M:

        q(z_i) is about 1/N q(z_i|x_i) + (N - 1)/N 1/(M - 1) sum over j != i of q(z_i|x_j),

    which is unbiased. Its logarithm is not: with many latents and small batches TC is too low, even
    below 0. It depends on the batches, so `evaluate` gives the plain bound, `reconstruction + kl`.
    An image that is alone in its batch has no others: it trains on the plain bound, and is left out
    of the mean that `fit` shows.

    Args:
        encoder, decoder: see `VariationalAutoencoder`; the code is a vector.
        beta: float >= 0, weight of the total correlation. 1 is the plain bound.
        train_size: int >= 2, the number N of training images. `fit` takes as many or fewer (a part
            of them); more are refused: all of an array, a batch of what comes in batches.
        **kwargs: see `VariationalAutoencoder`; not `samples`, `importance_weighted`, `beta_warmup`.

    Reference: Chen et al., "Isolating sources of disentanglement in variational autoencoders",
    2018, equations 2 and 4, with minibatch stratified sampling averaged over orders of the batch.
    """

    def __init__(self, encoder, decoder, beta: float, train_size: int, **kwargs):
        for name, plain in {"samples": 1, "importance_weighted": False, "beta_warmup": 0}.items():
            if kwargs.get(name, plain) != plain:
                raise ValueError(f"`{name}` must be {plain}. Received: {name}={kwargs[name]!r}")
        super().__init__(encoder, decoder, number("beta", beta, 0), **kwargs)
        self.train_size = whole("train_size", train_size, 2)
        self.total_correlation = keras.metrics.Mean(name="total_correlation")

    def _check_code(self, encoder_shape):
        shape = super()._check_code(encoder_shape)
        if len(shape) != 1:
            output = tuple(encoder_shape)
            raise ValueError(f"Codes must be vectors. Received: encoder.output_shape={output}")
        return shape

    def _kl_weight(self, training):
        return 1.0  # of the KL as a whole; `compute_loss` weighs the total correlation in it

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if not isinstance(y_pred, Samples):  # in a step of the user's own
            x, y, _ = self._batch((x, y, None), training)
            y_pred = self(x, training=training)
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        images = ops.shape(y_pred.mean)[0]
        z = self._of_no_more(images, y_pred.z[:, 0])
        joint, marginals = _log_densities(z, y_pred.mean, y_pred.log_var, self.train_size)
        counts = ops.cast(images > 1, joint.dtype)
        correlation = counts * (joint - ops.sum(marginals, axis=-1))
        self.total_correlation.update_state(correlation, ops.broadcast_to(counts, (images,)))
        return loss + over_replicas((self.beta - 1) * images_mean(correlation))

    def _batches(self, arrays, *args):
        return super()._batches(self._of_no_more(len(arrays[0]), arrays), *args)

    def test_step(self, data):
        shown = super().test_step(data)
        return {name: value for name, value in shown.items() if name != "total_correlation"}

    @property
    def metrics_names(self):
        """The names of what `evaluate` gives."""
        return [name for name in super().metrics_names if name != "total_correlation"]

    def _of_no_more(self, images, values):
        message = "`train_size` must be the number of training images, or more. Received:"
        message += f" train_size={self.train_size}, images ="
        return require(images <= self.train_size, message, values, images, jitted=self.jit_compile)

    def get_config(self):
        return {**super().get_config(), "train_size": self.train_size}


def _log_densities(z, mean, log_var, train_size: int):
    """log q(z) `(batch,)` and log q(z_d) `(batch, code)`, from the posteriors of one batch."""
    log_var = ops.maximum(log_var, _SMALLEST_LOG_VAR)
    squares = ops.square((z[:, None] - mean) * ops.exp(-0.5 * log_var))
    density = -0.5 * (squares + log_var + math.log(2 * math.pi))
    others = ops.cast(ops.maximum(ops.shape(z)[0] - 1, 1), "float32")
    other = ops.log((train_size - 1) / train_size / others)
    own = -math.log(train_size)
    weights = ops.where(ops.eye(ops.shape(z)[0], dtype="bool"), own, other)
    joint = ops.logsumexp(weights + ops.sum(density, axis=-1), axis=1)
    return joint, ops.logsumexp(weights[..., None] + density, axis=1)
