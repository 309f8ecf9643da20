"""Disentanglement: whether every number of a code stands for one factor, measured and asked for.

Four metrics take codes and the factors that the images were made from, in the same order. None
is about images, so that a code whose score can be derived is a test of the metric:

    code                      MIG   SAP   disentanglement  completeness         FactorVAE score
    the factors themselves     1     1          1               1                      1
    the same, each twice       0     0          1          1 - ln 2 / ln codes         1
    two factors, turned 45°    0     0          0               0                     1/2
    noise                      0     0          0               0                1 / factors
    a constant                 0     0          0               0                      0

`total_correlation` measures how far the latents of a variational autoencoder are from being
independent, and `TotalCorrelationVAE` trains on it. Information is in nats.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import ops
from scipy import special
from sklearn.ensemble import RandomForestRegressor

from aelib.latent import _finite
from aelib.variational import (
    VariationalAutoencoder,
    _Batch,
    _number,
    _whole,
)

_ROWS = 2_000_000  # densities that total_correlation holds at once
_LEAF = 0.05  # of the images, the least that a leaf of a tree of `dci` holds
_CONSTANT = 1e-6  # a code whose deviation is a smaller share of its size is one number, rounded
# exp(-log_var) and its products stay finite: below it a posterior is as narrow as at the limit.
_SMALLEST_LOG_VAR = -20.0


class DCI(NamedTuple):
    """What `dci` gives, all between 0 and 1."""

    disentanglement: float
    completeness: float
    informativeness: float


def mutual_information_gap(codes, factors, bins: int = 20) -> float:
    """How much more the best code knows of a factor than the second best, from 0 to 1.

        mean over factors of (I(z_best; v) - I(z_second; v)) / H(v)

    A column of more than `bins` different values is cut into that many classes of equal size,
    between its quantiles, so that no monotone change of a code matters; a column of fewer values
    is taken as it is. Counting overestimates each I by about (bins - 1)^2 / (2 n) nats where
    there is none to find, in best and second alike.

    Args:
        codes: `(n, m)`. Give draws of q(z|x), not its means, if the noise of a code is to count.
        factors: `(n, k)`, numbers; none of them constant.
        bins: int, at least 2.

    Raises:
        ValueError: for arrays that do not match, are not finite, or hold a constant factor.

    Reference: Chen et al., "Isolating sources of disentanglement in variational autoencoders",
    2018, equation 6. There I is estimated from q(z|x); counting is that of Locatello et al., 2019.
    """
    codes, factors = _checked(codes, factors)
    bins = _whole("bins", bins, 2)
    of_codes, of_factors = ([_classes(column, bins) for column in x.T] for x in (codes, factors))
    gaps = []
    for v in of_factors:
        second, best = np.sort([0.0, *(_information(z, v) for z in of_codes)])[-2:]
        gaps.append((best - second) / _entropy(np.bincount(v)))
    return float(np.mean(gaps))


def sap(codes, factors) -> float:
    """Separated attribute predictability, from 0 to 1.

    How much more of a factor's variance a line through the best code explains than one through the
    second best: the squared correlations, their difference, averaged over factors. That is the
    score for factors that are numbers; a factor of two values may be given as 0 and 1.

    Args:
        codes: `(n, m)`.
        factors: `(n, k)`, numbers; none of them constant.

    Raises:
        ValueError: as `mutual_information_gap`.

    Reference: Kumar, Sattigeri & Balakrishnan, "Variational inference of disentangled latent
    concepts from unlabeled observations", 2018 (the SAP score).
    """
    codes, factors = _checked(codes, factors)
    z, v = (x - x.mean(axis=0) for x in (codes, factors))
    variance = (z**2).sum(axis=0)[:, None] * (v**2).sum(axis=0)
    explained = np.divide((z.T @ v) ** 2, variance, out=np.zeros_like(variance), where=variance > 0)
    ordered = np.sort(np.concatenate([np.zeros((1, v.shape[1])), explained]), axis=0)
    return float((ordered[-1] - ordered[-2]).mean())


def dci(codes, factors, *, trees: int = 20, seed: int = 0) -> DCI:
    """Disentanglement, completeness and informativeness of a code.

    A random forest predicts each factor from the code, from half of the images. R_ij is its
    importance of code i for factor j, how much of the fall in squared error is its doing, with
    sum 1 over codes. Its leaves hold a twentieth of the images or more: deeper trees learn the
    noise of a factor from codes that have nothing to do with it.

    - *Disentanglement*: is code i important for one factor? 1 - H(R_i. / sum) / ln k, averaged
      over codes, each weighted with its share of all importance.
    - *Completeness*: is one code important for factor j? 1 - H(R_.j) / ln m, averaged over factors.
    - *Informativeness*: R^2 of the forests on the other half, averaged over factors; 0 where it
      is negative.

    A factor that no code helps with counts as 0 in all three.

    Args:
        codes: `(n, m)`, at least two codes and 40 images.
        factors: `(n, k)`, numbers, at least two factors; none of them constant.
        trees: int, in each forest.
        seed: int, of the halves and the forests.

    Raises:
        ValueError: as `mutual_information_gap`, and for too few images, codes or factors.

    Reference: Eastwood & Williams, "A framework for the quantitative evaluation of disentangled
    representations", 2018; with R^2 in place of an error.
    """
    codes, factors = _checked(codes, factors)
    trees, seed = _whole("trees", trees, 1), _whole("seed", seed, 0)
    if len(codes) < 40 or codes.shape[1] < 2 or factors.shape[1] < 2:
        raise ValueError(
            "There are at least 40 images, two codes and two factors. "
            f"Received: codes.shape={codes.shape}, factors.shape={factors.shape}"
        )
    learnt, held_out = np.array_split(np.random.default_rng(seed).permutation(len(codes)), 2)
    importance, explained = np.zeros((codes.shape[1], factors.shape[1])), []
    for j, v in enumerate(factors.T):
        forest = RandomForestRegressor(trees, min_samples_leaf=_LEAF, random_state=seed)
        forest.fit(codes[learnt], v[learnt])
        importance[:, j] = forest.feature_importances_
        error = ((v[held_out] - forest.predict(codes[held_out])) ** 2).mean()
        explained.append(max(0.0, 1 - error / max(v[held_out].var(), np.finfo(float).tiny)))
    total = importance.sum()
    weights = importance.sum(axis=1) / total if total > 0 else np.zeros(len(importance))
    return DCI(
        float((weights * _concentration(importance)).sum()),
        float(_concentration(importance.T).mean()),
        float(np.mean(explained)),
    )


def factor_vae_score(draw: Callable, factors: int, *, votes: int = 800, seed: int = 0) -> float:
    """How surely the code that varies least tells which factor was held fixed, from 0 to 1.

    For a vote a factor is chosen, images are made that share its value and differ in all others,
    and the code with the least variance is found, relative to its variance over all images. From
    the first half of the votes every code learns the factor that it is least for most often; the
    score is the share of the other half that this table gets right. Chance is 1 / `factors`.

    Constant codes are left out, and without any other the score is 0. Leave out the latents that
    a model has dropped as well (whose means hardly vary): of noise, one is least by chance, which
    looks like knowing a factor that no code has.

    Args:
        draw: function of a factor's number (0 to `factors` - 1) and a `numpy.random.Generator`.
            Gives codes `(n, m)` of at least two images in which this factor has one value, another
            at each call. With None for the factor, codes of images in which all vary: as many as
            a variance needs.
        factors: int, how many there are, at least 2.
        votes: int, at least 2; the paper has 800.
        seed: int.

    Raises:
        ValueError: for arguments that are none of these, and codes that are not.

    Reference: Kim & Mnih, "Disentangling by factorising", 2018. There the votes that
    make the table are those that it is tried on.
    """
    if not callable(draw):
        raise ValueError(f"draw is a function of a factor and a generator. Received: draw={draw!r}")
    factors, votes = _whole("factors", factors, 2), _whole("votes", votes, 2)
    rng = np.random.default_rng(_whole("seed", seed, 0))
    everything = _array("draw(None, rng)", draw(None, rng), 2)
    variance = everything.var(axis=0)
    used = np.sqrt(variance) > _CONSTANT * np.abs(everything).max(axis=0)
    if not used.any():
        return 0.0
    chosen = rng.integers(factors, size=votes)
    least = np.empty(votes, int)
    for vote, factor in enumerate(chosen):
        codes = _array(f"draw({factor}, rng)", draw(int(factor), rng), 2)
        if codes.shape[1] != len(variance):
            raise ValueError(
                f"Every draw has the same number of codes, here {len(variance)}. "
                f"Received: draw({factor}, rng) with shape {codes.shape}"
            )
        least[vote] = np.argmin(codes.var(axis=0)[used] / variance[used])
    table = np.zeros((used.sum(), factors))
    np.add.at(table, (least[: votes // 2], chosen[: votes // 2]), 1)
    return float((table.argmax(axis=1)[least[votes // 2 :]] == chosen[votes // 2 :]).mean())


def total_correlation(mean, log_var, *, seed: int = 0) -> float:
    """KL from the distribution of all codes to the product of its marginals, in nats.

        TC = E log q(z) - sum_d E log q(z_d),    q(z) = 1/n sum_j q(z|x_j)

    with one draw z from each q(z|x_i). It is 0 for independent latents. Here q(z) is the mixture
    of the images given: with few of them, or posteriors so narrow that they do not overlap, it
    is that of n separate heaps, which is larger (at most (m - 1) ln n).

    Args:
        mean, log_var: `(n, m)`, as `VariationalAutoencoder.posterior` gives them.
        seed: int, of the draws.

    Raises:
        ValueError: for arrays that do not match or are not finite.

    Reference: Chen et al. 2018, equation 2.
    """
    mean, log_var = _array("mean", mean, 2), _array("log_var", log_var, 2)
    if mean.shape != log_var.shape:
        raise ValueError(
            "Every mean has its log-variance. "
            f"Received: mean.shape={mean.shape}, log_var.shape={log_var.shape}"
        )
    log_var = np.maximum(log_var, _SMALLEST_LOG_VAR)
    epsilon = np.random.default_rng(_whole("seed", seed, 0)).standard_normal(mean.shape)
    z = mean + np.exp(0.5 * log_var) * epsilon
    rows, total = max(1, _ROWS // mean.size), 0.0
    for start in range(0, len(z), rows):
        part = z[start : start + rows, None]
        density = -0.5 * ((part - mean) ** 2 * np.exp(-log_var) + log_var + math.log(2 * math.pi))
        joint = special.logsumexp(density.sum(axis=-1), axis=1)
        marginals = special.logsumexp(density, axis=1).sum(axis=-1)
        total += (joint - marginals).sum()
    return float(total / len(z) + (mean.shape[1] - 1) * math.log(len(z)))


@keras.saving.register_keras_serializable(package="aelib")
class TotalCorrelationVAE(VariationalAutoencoder):
    """A variational autoencoder that pays extra for latents that depend on each other: beta-TCVAE.

    The KL of a `VariationalAutoencoder` is, averaged over images, what z tells of the image, plus
    the total correlation of the latents, plus what separates each latent's distribution from the
    prior. Only the second is weighted:

        loss = reconstruction + KL + (beta - 1) TC,    TC = E log q(z) - sum_d E log q(z_d)

    q(z) is a mixture over all images, of which a step sees one batch of M. With N training images

        q(z_i) is about 1/N q(z_i|x_i) + (N - 1)/N 1/(M - 1) sum over j != i of q(z_i|x_j),

    which is unbiased, since the z_i are draws from the q(z|x_i) of this same batch. Its logarithm
    is not: with many latents and small batches TC comes out too low, even below 0.

    `fit` shows `loss`, `reconstruction`, `kl` and `total_correlation`. The estimate depends on
    which images share a batch. So `evaluate`, and validation, give the parts of the plain bound,
    whatever the batches are: `loss` is `reconstruction + kl`, and comparable between any beta.
    For the total correlation of a set of images as a whole there is the function of that name.
    Replicas estimate TC from their own share of a batch.

    Args:
        encoder, decoder: as of `VariationalAutoencoder`; the code is a vector.
        beta: float, at least 0, weight of the total correlation. 1 is the plain bound.
        train_size: int, at least 2, the number N of training images.
        **kwargs: `binarize`, `evaluation_seed` and what `keras.Model` takes. One draw of z for
            each image; no importance weights and no warm-up.

    Raises:
        ValueError: as `VariationalAutoencoder`.

    Reference: Chen et al., "Isolating sources of disentanglement in variational autoencoders",
    2018, equations 2 and 4, with the weights of its appendix (minibatch stratified sampling),
    averaged over the order of the batch. The minibatch-weighted sampling of equation 3 has
    1/(N M) for every image: it has the gradients of a data set that is one batch, and a TC that
    is too large by up to (code - 1) ln N.
    """

    def __init__(self, encoder, decoder, beta: float, train_size: int, **kwargs):
        for name, plain in {"samples": 1, "importance_weighted": False, "beta_warmup": 0}.items():
            if kwargs.get(name, plain) != plain:
                raise ValueError(
                    f"The total correlation is estimated with {name}={plain}. "
                    f"Received: {name}={kwargs[name]!r}"
                )
        beta, train_size = _number("beta", beta), _whole("train_size", train_size, 2)
        super().__init__(encoder, decoder, beta, **kwargs)
        self.train_size = train_size
        self.total_correlation = keras.metrics.Mean(name="total_correlation")

    def _chain(self, input_shape):
        yield from super()._chain(input_shape)
        if len(self._code_shape) != 1:
            raise ValueError(
                f"The code is a vector. Received: encoder.output_shape="
                f"{tuple(self.encoder.compute_output_shape(input_shape))}"
            )

    def _beta_now(self, training):
        return 1.0  # of the KL as a whole; `compute_loss` weighs the total correlation in it

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if not isinstance(x, _Batch):
            x = self._with_noise(x, training)
            y_pred = self(x, training=training)
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        joint, marginals = _log_densities(
            y_pred.z[:, 0], y_pred.mean, y_pred.log_var, self.train_size
        )
        correlation = joint - ops.sum(marginals, axis=-1)
        self.total_correlation.update_state(correlation)
        return loss + self._aggregate_additional_loss((self.beta - 1) * ops.mean(correlation))

    def test_step(self, data):
        shown = super().test_step(data)
        return {name: value for name, value in shown.items() if name != "total_correlation"}

    def get_config(self):
        return {**super().get_config(), "train_size": self.train_size}


def _log_densities(z, mean, log_var, train_size: int):
    """log q(z) `(batch,)` and log q(z_d) `(batch, code)`, from the posteriors of one batch."""
    log_var = ops.maximum(log_var, _SMALLEST_LOG_VAR)
    squares = ops.square(z[:, None] - mean) * ops.exp(-log_var)
    density = -0.5 * (squares + log_var + math.log(2 * math.pi))
    others = ops.cast(ops.maximum(ops.shape(z)[0] - 1, 1), "float32")
    other = ops.log((train_size - 1) / train_size / others)
    own = -math.log(train_size)
    weights = ops.where(ops.eye(ops.shape(z)[0], dtype="bool"), own, other)
    joint = ops.logsumexp(weights + ops.sum(density, axis=-1), axis=1)
    return joint, ops.logsumexp(weights[..., None] + density, axis=1)


def _checked(codes, factors) -> tuple[np.ndarray, np.ndarray]:
    codes, factors = _array("codes", codes, 2), _array("factors", factors, 2)
    if len(codes) != len(factors):
        raise ValueError(
            "Every code has the factors of its image. "
            f"Received: codes.shape={codes.shape}, factors.shape={factors.shape}"
        )
    constant = np.flatnonzero(factors.max(axis=0) == factors.min(axis=0))
    if len(constant):
        raise ValueError(
            "A factor that never varies cannot be told from a code. "
            f"Received: factors constant in column {constant[0]}"
        )
    return codes, factors


def _array(name: str, values, least: int) -> np.ndarray:
    """In float64, `(n, m)` with `n` at least `least`."""
    values = _finite(name, values)
    if values.ndim != 2 or len(values) < least or not values.size:
        raise ValueError(
            f"{name} has one row for each image, of which there are at least {least}. "
            f"Received: {name}.shape={values.shape}"
        )
    return values.astype("float64")


def _classes(column: np.ndarray, bins: int) -> np.ndarray:
    """The values themselves, numbered; or, if there are too many, `bins` equal parts of them."""
    values, number = np.unique(column, return_inverse=True)
    if len(values) <= bins:
        return number
    return np.searchsorted(np.quantile(column, np.arange(1, bins) / bins), column, side="right")


def _information(a: np.ndarray, b: np.ndarray) -> float:
    """Mutual information of two columns of classes, in nats."""
    counts = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(counts, (a, b), 1)
    return _entropy(counts.sum(axis=1)) + _entropy(counts.sum(axis=0)) - _entropy(counts.ravel())


def _entropy(counts: np.ndarray) -> float:
    return float(special.entr(counts / counts.sum()).sum())


def _concentration(importance: np.ndarray) -> np.ndarray:
    """1 for a row with one entry above 0, 0 for a row of equal ones, or without any."""
    total = importance.sum(axis=1, keepdims=True)
    shares = np.divide(importance, total, out=np.zeros_like(importance), where=total > 0)
    entropy = special.entr(shares).sum(axis=1)
    return np.where(total[:, 0] > 0, 1 - entropy / math.log(importance.shape[1]), 0.0)
