"""Disentanglement: whether each dimension of a code stands for one factor of the images.

The metrics take codes and the factors that the images were made from, in the same order, and no
images, so a code whose score can be derived is a test of the metric:

    code                      MIG   SAP   disentanglement  completeness         FactorVAE score
    the factors themselves     1     1          1               1                      1
    the same, each twice       0     0          1          1 - ln 2 / ln codes         1
    two factors, turned 45°    0     0          0               0                     1/2
    noise                      0     0          0               0                1 / factors
    a constant                 0     0          0               0                      0

`total_correlation` measures how dependent the latents of a variational autoencoder are, and
`TotalCorrelationVAE` trains on it. Information is in nats. Invalid arguments raise `ValueError`.
"""

import heapq
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from sklearn.ensemble import RandomForestRegressor

from aelib._checks import array, same_length, whole
from aelib.total_correlation import TotalCorrelationVAE, total_correlation  # noqa: F401, public

_LEAF = 0.05  # of the images, the least that a leaf of a tree of `dci` holds
_CONSTANT = 1e-6  # a code with a relative standard deviation below is one number, rounded


class DCI(NamedTuple):
    """What `dci` returns, all in [0, 1]."""

    disentanglement: float
    completeness: float
    informativeness: float


def mutual_information_gap(codes: ArrayLike, factors: ArrayLike, bins: int = 20) -> float:
    """How much more the best code knows about a factor than the second best (MIG), in [0, 1].

        mean over factors of (I(z_best; v) - I(z_second; v)) / H(v)

    A column with more than `bins` different values is cut at its quantiles into that many classes,
    so monotone changes of a code do not matter; other columns are taken as they are. Counting
    overestimates each I by about (bins - 1)^2 / (2 n) nats where the true one is 0.

    Args:
        codes: `(n, m)`. Give draws of q(z|x), not its means, if the noise of a code is to count.
        factors: `(n, k)`, numbers, none of them constant.
        bins: int >= 2.

    Example:

    ```python
    import numpy as np
    from aelib.disentanglement import mutual_information_gap

    factors = np.random.default_rng(0).random((1000, 3))
    mutual_information_gap(-2 * factors, factors)  # nearly 1
    ```

    Reference: Chen et al., "Isolating sources of disentanglement in variational autoencoders",
    2018, equation 6, with I estimated by counting as in Locatello et al., 2019.
    """
    codes, factors = _matching(codes, factors)
    bins = whole("bins", bins, 2)
    z = [_classes(column, bins) for column in codes.T]
    gaps = []
    for v in (_classes(column, bins) for column in factors.T):
        # One code alone is compared with nothing: 0.
        best, second = heapq.nlargest(2, [0.0, *(_information(column, v) for column in z)])
        gaps.append((best - second) / _entropy(np.bincount(v)))
    return float(np.mean(gaps))


def sap(codes: ArrayLike, factors: ArrayLike) -> float:
    """Separated attribute predictability, in [0, 1].

    How much more of a factor's variance a line through the best code explains than one through the
    second best: the difference of the squared correlations, averaged over factors. That is the
    score for numeric factors; a factor of two values may be given as 0 and 1.

    Args:
        codes: `(n, m)`.
        factors: `(n, k)`, numbers, none of them constant.

    Reference: Kumar, Sattigeri & Balakrishnan, "Variational inference of disentangled latent
    concepts from unlabeled observations", 2018 (the SAP score).
    """
    codes, factors = _matching(codes, factors)
    z, v = codes - codes.mean(axis=0), factors - factors.mean(axis=0)
    variance = (z**2).sum(axis=0)[:, None] * (v**2).sum(axis=0)
    explained = np.divide((z.T @ v) ** 2, variance, out=np.zeros_like(variance), where=variance > 0)
    ordered = np.sort(np.concatenate([np.zeros((1, v.shape[1])), explained]), axis=0)
    return float((ordered[-1] - ordered[-2]).mean())


def dci(codes: ArrayLike, factors: ArrayLike, *, trees: int = 20, seed: int = 0) -> DCI:
    """Disentanglement, completeness and informativeness of a code.

    A random forest predicts each factor from the code, on half of the images. R_ij is the
    importance of code i for factor j, with sum 1 over codes. Leaves hold a twentieth of the images
    or more: deeper trees learn noise from codes that have nothing to do with the factor.

    - *Disentanglement*: is code i important for one factor? 1 - H(R_i. / sum) / ln k, averaged
      over codes, weighted by their share of all importance.
    - *Completeness*: is one code important for factor j? 1 - H(R_.j) / ln m, averaged over factors.
    - *Informativeness*: R^2 of the forests on the other half, at least 0, averaged over factors.

    A factor that no code predicts counts as 0 in all three.

    Args:
        codes: `(n, m)`, m >= 2 codes of n >= 40 images.
        factors: `(n, k)`, k >= 2 factors, numbers, none of them constant.
        trees: int >= 1, in each forest.
        seed: int >= 0, of the halves and the forests.

    Reference: Eastwood & Williams, "A framework for the quantitative evaluation of disentangled
    representations", 2018; with R^2 in place of an error.
    """
    codes, factors = _matching(codes, factors)
    trees, seed = whole("trees", trees, 1), whole("seed", seed)
    if len(codes) < 40 or codes.shape[1] < 2 or factors.shape[1] < 2:
        received = f"codes.shape={codes.shape}, factors.shape={factors.shape}"
        raise ValueError(f"At least 40 images, 2 codes, 2 factors are needed. Received: {received}")
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
    """How surely the code that varies least tells which factor was held fixed, in [0, 1].

    For a vote a factor is chosen, images are made that share its value and differ in all others,
    and the code with the least variance is found, relative to its variance over all images. The
    first half of the votes assigns to every code the factor for which it is the least most often;
    the score is the accuracy of this table on the other half. Chance is 1 / `factors`.

    Constant codes are left out; without any other the score is 0. Leave out latents that a model
    does not use as well (whose means hardly vary): of noise, one is the least by chance.

    Args:
        draw: function of a factor's index (0 to `factors` - 1) and a `numpy.random.Generator`.
            Returns codes `(n, m)`, n >= 2, of images in which this factor has one value, a new one
            at each call; for None, of many images in which all factors vary.
        factors: int >= 2, how many there are.
        votes: int >= 2.
        seed: int >= 0.

    Reference: Kim & Mnih, "Disentangling by factorising", 2018. There the votes that make the
    table are those that it is tested on.
    """
    if not callable(draw):
        raise ValueError(f"`draw` must be a function. Received: draw={draw!r}")
    factors, votes = whole("factors", factors, 2), whole("votes", votes, 2)
    rng = np.random.default_rng(whole("seed", seed))
    everything = _table("draw(None, rng)", draw(None, rng))
    variance = everything.var(axis=0)
    used = np.sqrt(variance) > _CONSTANT * np.abs(everything).max(axis=0)
    if not used.any():
        return 0.0
    chosen = rng.integers(factors, size=votes)
    least = np.empty(votes, int)
    for vote, factor in enumerate(chosen):
        codes = _table(f"draw({factor}, rng)", draw(int(factor), rng))
        if codes.shape[1] != len(variance):
            received = f"draw({factor}, rng) with shape {codes.shape}"
            raise ValueError(f"All draws must have {len(variance)} codes. Received: {received}")
        least[vote] = np.argmin(codes.var(axis=0)[used] / variance[used])
    table = np.zeros((used.sum(), factors))
    np.add.at(table, (least[: votes // 2], chosen[: votes // 2]), 1)
    return float((table.argmax(axis=1)[least[votes // 2 :]] == chosen[votes // 2 :]).mean())


def _matching(codes, factors):
    codes, factors = _table("codes", codes), _table("factors", factors)
    same_length(codes=codes, factors=factors)
    constant = np.flatnonzero(np.ptp(factors, axis=0) == 0)
    if len(constant):
        raise ValueError(f"`factors` must vary. Received: factors constant in column {constant[0]}")
    return codes, factors


def _table(name, values):
    """In float64, `(n, m)` with n >= 2."""
    values = array(name, values, rank=2, exact=True)
    if len(values) < 2:
        raise ValueError(f"`{name}` must have two rows. Received: {name}.shape={values.shape}")
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
