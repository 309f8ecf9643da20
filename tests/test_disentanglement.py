"""Scores of codes that can be derived."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mutual_info_score

from aelib.disentanglement import dci, factor_vae_score, mutual_information_gap, sap

N, FACTORS = 4000, 3


@pytest.fixture(scope="module")
def factors() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (N, FACTORS))


def turned(degrees: float) -> np.ndarray:
    """Mixes the first two factors."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def vote_score(code, seed=0, images=40, **arguments):
    """The FactorVAE score of a code that is a function of factors and a generator."""

    def draw(factor, rng):
        v = rng.uniform(-1, 1, (images if factor is not None else 5000, FACTORS))
        if factor is not None:
            v[:, factor] = v[0, factor]
        return code(v, rng)

    return factor_vae_score(draw, FACTORS, seed=seed, **arguments)


# Codes whose score is known


@pytest.mark.parametrize(
    "code", [lambda v: v, lambda v: -7 * v + 3, lambda v: np.exp(2 * v[:, [2, 0, 1]])]
)
def test_a_code_that_is_the_factors_scores_one(factors, code):
    z = code(factors)
    np.testing.assert_allclose(dci(z, factors), 1, atol=0.02)
    assert vote_score(lambda v, rng: code(v)) == 1
    # Counting finds some information where there is none: see the docstring.
    assert 0.98 < mutual_information_gap(z, factors) <= 1
    if z.min() < 0:  # a line fits a line, and not an exponential
        assert 0.995 < sap(z, factors) <= 1


def test_a_constant_code_scores_nothing(factors):
    z = np.full((N, 4), 2.5)
    assert mutual_information_gap(z, factors) == sap(z, factors) == 0
    assert dci(z, factors) == (0, 0, 0)
    assert vote_score(lambda v, rng: 0 * v) == 0


def test_the_gaps_punish_a_duplicated_code_and_the_others_do_not(factors):
    z = np.concatenate([factors, factors], axis=1)
    assert mutual_information_gap(z, factors) == 0
    assert sap(z, factors) < 1e-12
    score = dci(z, factors)
    np.testing.assert_allclose(score.disentanglement, 1, atol=1e-3)
    np.testing.assert_allclose(score.completeness, 1 - math.log(2) / math.log(6), atol=0.02)
    np.testing.assert_allclose(score.informativeness, 1, atol=0.02)
    assert vote_score(lambda v, rng: np.concatenate([v, v], axis=1)) == 1


def test_noise_scores_nothing_but_chance(factors):
    z = np.random.default_rng(1).normal(size=(N, 5))
    assert mutual_information_gap(z, factors) < 0.01 and sap(z, factors) < 0.01
    score = dci(z, factors)
    assert score.disentanglement < 0.03 and score.completeness < 0.03
    assert score.informativeness == 0
    share = vote_score(lambda v, rng: rng.normal(size=(len(v), 5)), votes=4000)
    assert abs(share - 1 / FACTORS) < 4 * math.sqrt(2 / 9 / 2000)


def test_two_factors_turned_into_each_other_are_two_of_three_lost(factors):
    """No axis is nearer to one of the two than to the other; the third factor is left alone."""
    z = factors @ turned(45)
    third = 1 / 3
    np.testing.assert_allclose(mutual_information_gap(z, factors), third, atol=0.02)
    np.testing.assert_allclose(sap(z, factors), third, atol=0.04)
    score = dci(z, factors)
    # Two codes are shared by two factors each: 1 - ln 2 / ln 3 for two, 1 for the third.
    shared = (2 * (1 - math.log(2) / math.log(3)) + 1) / 3
    np.testing.assert_allclose(score.disentanglement, shared, atol=0.03)
    np.testing.assert_allclose(score.completeness, shared, atol=0.03)
    assert score.informativeness > 0.9
    share = vote_score(lambda v, rng: v @ turned(45), votes=4000)
    # One code or the other is least, with equal chances: right for the third and half of two.
    assert abs(share - 2 / 3) < 4 * math.sqrt(2 / 9 / 2000)


@pytest.mark.parametrize("degrees", [10, 25, 40])
def test_gaps_fall_with_the_angle_as_they_should(degrees):
    """Gaussian factors: both the information and the correlation are known."""
    v = np.random.default_rng(0).normal(size=(40_000, 2))
    z = v @ turned(degrees)[:2, :2]
    angle = math.radians(degrees)
    np.testing.assert_allclose(sap(z, v), math.cos(2 * angle), atol=0.02)
    exact = math.log(math.cos(angle) / math.sin(angle)) / math.log(20)
    found = mutual_information_gap(z, v)
    # Twenty classes lose some of the information of a code that is nearly the factor.
    assert exact - 0.06 < found < exact + 0.005


def test_noise_on_a_code_costs_the_gaps_and_not_the_disentanglement(factors):
    z = factors + np.random.default_rng(1).normal(0, 0.4, factors.shape)
    assert mutual_information_gap(z, factors) < 0.4
    # Correlation: variance 1/3 of the signal, 0.16 of the noise.
    np.testing.assert_allclose(sap(z, factors), 1 / 3 / (1 / 3 + 0.16), atol=0.02)
    assert dci(z, factors).disentanglement > 0.95
    assert vote_score(lambda v, rng: v + rng.normal(0, 0.4, v.shape)) > 0.95


def test_the_order_of_codes_their_scale_and_their_sign_do_not_matter(factors):
    z = factors @ turned(20) + 0.1 * np.random.default_rng(1).normal(size=(N, 3))
    other = z[:, [1, 2, 0]] * [5, -0.01, 1] + 3
    np.testing.assert_allclose(
        mutual_information_gap(other, factors), mutual_information_gap(z, factors), atol=1e-3
    )
    np.testing.assert_allclose(sap(other, factors), sap(z, factors))
    np.testing.assert_allclose(dci(other, factors), dci(z, factors), atol=0.02)
    squashed = np.arctan(z)  # classes of equal size do not see it, lines do
    assert mutual_information_gap(squashed, factors) == mutual_information_gap(z, factors)
    assert sap(squashed, factors) != sap(z, factors)


# The same, written otherwise


def test_mig_is_that_of_ranks_and_of_another_count_of_information(factors):
    z = factors @ turned(20)
    ranked = [[stats.rankdata(c, "ordinal") * 20 // (N + 1) for c in x.T] for x in (z, factors)]
    gaps = []
    for v in ranked[1]:
        known = sorted(mutual_info_score(c, v) for c in ranked[0])
        gaps.append((known[-1] - known[-2]) / stats.entropy(np.unique(v, return_counts=True)[1]))
    np.testing.assert_allclose(mutual_information_gap(z, factors), np.mean(gaps), rtol=1e-9)


def test_few_values_are_classes_as_they_are():
    rng = np.random.default_rng(0)
    v = np.stack([rng.integers(3, size=N), rng.random(N) < 0.1], axis=1)
    z = np.stack([v[:, 0], rng.integers(5, size=N), v[:, 1] ^ (rng.random(N) < 0.05)], axis=1)
    gaps = [
        (mutual_info_score(z[:, i], v[:, j]) - mutual_info_score(z[:, k], v[:, j]))
        / mutual_info_score(v[:, j], v[:, j])
        for j, (i, k) in enumerate([(0, 1), (2, 1)])
    ]
    np.testing.assert_allclose(mutual_information_gap(z, v), np.mean(gaps), atol=2e-3)
    one = mutual_information_gap(z[:, :1], v[:, :1])  # without a second there is none to take off
    np.testing.assert_allclose(one, 1)
    twice = mutual_information_gap(z[:, [0, 0]], v[:, :1], bins=2)
    assert twice == 0


def test_sap_is_that_of_least_squares(factors):
    z = factors @ turned(20) + 0.3 * np.random.default_rng(1).normal(size=(N, 3))
    gaps = []
    for v in factors.T:
        fits = sorted(LinearRegression().fit(c[:, None], v).score(c[:, None], v) for c in z.T)
        gaps.append(fits[-1] - fits[-2])
    np.testing.assert_allclose(sap(z, factors), np.mean(gaps), rtol=1e-9)


def test_dci_is_that_of_forests_and_entropies_in_their_own_base(factors):
    z = np.concatenate([factors @ turned(30), factors[:, :1] ** 3], axis=1)[:600]
    v = factors[:600] * [1, 100, 1]  # the unit of a factor does not matter
    order = np.random.default_rng(4).permutation(600)
    halves = order[:300], order[300:]
    table, fits = [], []
    for column in v.T:
        forest = RandomForestRegressor(10, min_samples_leaf=0.05, random_state=4)
        forest.fit(z[halves[0]], column[halves[0]])
        table.append(forest.feature_importances_)
        fits.append(forest.score(z[halves[1]], column[halves[1]]))
    table = np.array(table)  # (factors, codes)
    by_code = 1 - stats.entropy(table, base=3, axis=0)
    expected = (
        (by_code * table.sum(axis=0)).sum() / table.sum(),
        np.mean([1 - stats.entropy(row, base=4) for row in table]),
        np.mean(fits),
    )
    np.testing.assert_allclose(dci(z, v, trees=10, seed=4), expected, rtol=1e-6)


def test_the_factor_vae_score_is_that_of_votes_counted_otherwise():
    """Few images, and noise on the code, so that many votes go wrong."""
    code = lambda v, rng: v @ turned(20) + rng.normal(0, 0.6, v.shape)  # noqa: E731
    score = vote_score(code, images=12, votes=20_000)
    rng, votes = np.random.default_rng(99), []
    for _ in range(20_000):
        held = int(rng.integers(FACTORS))
        v = rng.uniform(-1, 1, (12, FACTORS))
        v[:, held] = rng.uniform(-1, 1)
        spread = np.std(code(v, rng), axis=0)  # of equal size over all images: none to divide by
        votes.append((int(np.argmin(spread)), held))
    counts = Counter(votes)
    right = sum(max(counts[index, held] for held in range(FACTORS)) for index in range(FACTORS))
    assert 0.5 < score < 0.95
    assert abs(score - right / 20_000) < 4 * math.sqrt(0.25 / 10_000)


def test_variances_are_relative_and_constant_codes_are_left_out():
    scaled = vote_score(lambda v, rng: v * [1, 100, 10])
    assert scaled == 1
    assert vote_score(lambda v, rng: 1e-9 * v) == 1  # small, and not constant
    # A fourth code that is one number, but for the last digits of a float.
    nearly = lambda v, rng: np.concatenate([v, 7 + 1e-9 * v[:, :1]], axis=1)  # noqa: E731
    assert vote_score(nearly) == 1 and vote_score(lambda v, rng: nearly(v, rng)[:, 3:]) == 0


def test_seeds_repeat_and_votes_are_drawn_anew():
    noisy = lambda v, rng: v + rng.normal(size=v.shape)  # noqa: E731
    assert vote_score(noisy, images=5) == vote_score(noisy, images=5)
    assert vote_score(noisy, images=5) != vote_score(noisy, seed=1, images=5)


def test_the_least_that_each_takes():
    """Two rows, two factors, two votes, one tree, forty images: the ends of what is allowed."""
    ends = [[0.0], [1.0]]  # a line through two points
    assert sap(ends, ends) == mutual_information_gap(ends, ends) == 1
    v = np.random.default_rng(0).uniform(-1, 1, (40, 2))
    score = dci(v, v, trees=1)
    assert score.disentanglement > 0.5 and score.completeness > 0.5
    hold = lambda factor, rng: v[:20] * [factor != 0, factor != 1]  # noqa: E731
    assert factor_vae_score(hold, 2) == 1
    assert factor_vae_score(hold, 2, votes=2) in (0, 1)


# What is refused


def test_arrays_that_are_none_are_refused(factors):
    metrics = mutual_information_gap, sap, dci
    for metric in metrics:
        for bad in (factors[:, 0], factors[:0], factors[:1], np.zeros((N, 0))):
            with pytest.raises(ValueError, match="Received: codes.shape="):
                metric(bad, factors)
        with pytest.raises(ValueError, match="Received: codes.shape=.* factors.shape="):
            metric(factors, factors[1:])
        with pytest.raises(ValueError, match="Received: factors with 1 NaN or infinite"):
            metric(factors, np.where(np.arange(N)[:, None] == [3, -1, -1], np.nan, factors))
        with pytest.raises(ValueError, match="Received: codes.dtype="):
            metric(factors.astype(str), factors)
        with pytest.raises(ValueError, match="Received: factors constant in column 1"):
            metric(factors, factors * [1, 0, 1])
    for bad in (factors[:, :1], factors[:39]):
        for codes, known in ((bad, factors[: len(bad)]), (factors[: len(bad)], bad)):
            with pytest.raises(ValueError, match="Received: codes.shape=.* factors.shape="):
                dci(codes, known)


def test_arguments_that_are_none_are_refused(factors):
    for bins in (1, 2.5, True):
        with pytest.raises(ValueError, match="Received: bins="):
            mutual_information_gap(factors, factors, bins=bins)
    with pytest.raises(ValueError, match="Received: trees=0"):
        dci(factors, factors, trees=0)
    with pytest.raises(ValueError, match="Received: draw="):
        factor_vae_score(factors, 3)
    with pytest.raises(ValueError, match="Received: factors=1"):
        factor_vae_score(lambda factor, rng: factors, 1)
    with pytest.raises(ValueError, match="Received: votes=1"):
        factor_vae_score(lambda factor, rng: factors, 3, votes=1)
    with pytest.raises(ValueError, match=r"Received: draw\(None, rng\).shape=\(3,\)"):
        factor_vae_score(lambda factor, rng: np.ones(3), 3)
    with pytest.raises(ValueError, match=r"Received: draw\(\d, rng\) with shape \(4000, 2\)"):
        factor_vae_score(lambda k, rng: factors if k is None else factors[:, :2], 3)
