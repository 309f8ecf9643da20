"""Scores of codes that can be derived, and the total correlation of Gaussians in closed form."""

import itertools
import math
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy import stats
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mutual_info_score

import aelib
from aelib import disentanglement
from aelib.disentanglement import (
    TotalCorrelationVAE,
    dci,
    factor_vae_score,
    mutual_information_gap,
    sap,
    total_correlation,
)
from aelib.losses import BernoulliCrossEntropy, GaussianNegativeLogLikelihood
from aelib.variational import VariationalAutoencoder

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
    # A fourth code that is one number, but for the last digits of a float.
    nearly = lambda v, rng: np.concatenate([v, 7 + 1e-9 * v[:, :1]], axis=1)  # noqa: E731
    assert vote_score(nearly) == 1 and vote_score(lambda v, rng: nearly(v, rng)[:, 3:]) == 0


def test_seeds_repeat_and_votes_are_drawn_anew():
    noisy = lambda v, rng: v + rng.normal(size=v.shape)  # noqa: E731
    assert vote_score(noisy, images=5) == vote_score(noisy, images=5)
    assert vote_score(noisy, images=5) != vote_score(noisy, seed=1, images=5)


# Total correlation


def mixture(rho, variance=0.1, n=3000, dimensions=2, seed=17):
    """Means and log-variances whose mixture is N(0, C), with equal correlations `rho`."""
    covariance = np.full((dimensions, dimensions), rho) + (1 - rho) * np.eye(dimensions)
    rng = np.random.default_rng(seed)
    spread = covariance - variance * np.eye(dimensions)
    mean = rng.multivariate_normal(np.zeros(dimensions), spread, size=n)
    exact = -0.5 * np.linalg.slogdet(covariance)[1]
    return mean, np.full(mean.shape, math.log(variance)), exact


@pytest.mark.parametrize(("rho", "dimensions"), [(0.0, 2), (0.5, 2), (0.8, 2), (0.5, 3)])
def test_the_total_correlation_of_a_gaussian(rho, dimensions):
    mean, log_var, exact = mixture(rho, dimensions=dimensions)
    np.testing.assert_allclose(total_correlation(mean, log_var), exact, atol=0.05)


def test_heaps_that_do_not_overlap_tell_everything():
    """Each latent then knows which image it is: (m - 1) ln n."""
    mean = 100.0 * np.arange(50)[:, None] * [1, -1, 2]
    found = total_correlation(mean, np.zeros((50, 3)))
    np.testing.assert_allclose(found, 2 * math.log(50), rtol=1e-9)
    alone = total_correlation(mean[:, :1], np.zeros((50, 1)))
    np.testing.assert_allclose(alone, 0, atol=1e-12)


def test_total_correlation_takes_many_images_in_parts(monkeypatch):
    mean, log_var, _ = mixture(0.5, n=300)
    whole = total_correlation(mean, log_var, seed=3)
    monkeypatch.setattr(disentanglement, "_ROWS", 7000)
    np.testing.assert_allclose(total_correlation(mean, log_var, seed=3), whole, rtol=1e-9)
    assert total_correlation(mean, log_var, seed=4) != whole


def batch_densities(z, mean, log_var, train_size):
    parts = (tf.constant(np.asarray(part), "float32") for part in (z, mean, log_var))
    return [part.numpy() for part in disentanglement._log_densities(*parts, train_size)]


def test_densities_of_a_batch_are_unbiased():
    """The mean over all batches of three with image 0 in them is the density of all six."""
    rng = np.random.default_rng(0)
    mean, log_var = rng.normal(size=(6, 2)), rng.normal(size=(6, 2))
    z = mean + 0.3
    found = []
    for others in itertools.combinations(range(1, 6), 2):
        rows = [0, *others]
        joint, marginals = batch_densities(z[rows], mean[rows], log_var[rows], 6)
        found.append(np.exp([joint[0], *marginals[0]]))
    each = stats.norm.pdf(z[0], mean, np.exp(log_var / 2))
    exact = [each.prod(axis=1).mean(), *each.mean(axis=0)]
    np.testing.assert_allclose(np.mean(found, axis=0), exact, rtol=1e-5)


def test_a_batch_of_all_images_gives_the_total_correlation_of_all():
    mean, log_var, _ = mixture(0.8, n=200, dimensions=3)
    epsilon = np.random.default_rng(5).standard_normal(mean.shape)
    joint, marginals = batch_densities(
        mean + np.exp(0.5 * log_var) * epsilon, mean, log_var, train_size=200
    )
    expected = total_correlation(mean, log_var, seed=5)
    np.testing.assert_allclose((joint - marginals.sum(axis=1)).mean(), expected, rtol=1e-4)


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_batches_come_near_the_total_correlation_of_a_gaussian(rho):
    mean, log_var, exact = mixture(rho, variance=0.15, n=6000)
    z = mean + np.exp(0.5 * log_var) * np.random.default_rng(1).standard_normal(mean.shape)
    found = []
    for rows in np.random.default_rng(2).permutation(6000).reshape(-1, 250):
        joint, marginals = batch_densities(z[rows], mean[rows], log_var[rows], 6000)
        found.append((joint - marginals.sum(axis=1)).mean())
    np.testing.assert_allclose(np.mean(found), exact, atol=0.06)


def test_densities_are_finite_for_one_image_for_twins_and_for_the_narrowest_posteriors():
    for count, log_var in ((1, 0.0), (4, 0.0), (4, -500.0), (4, 30.0)):
        for mean in (np.zeros((count, 3)), 50.0 * np.arange(3 * count).reshape(count, 3)):
            inputs = [tf.constant(mean, "float32"), tf.fill((count, 3), log_var)]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                joint, marginals = disentanglement._log_densities(inputs[0], *inputs, 100)
                total = tf.reduce_sum(joint) - tf.reduce_sum(marginals)
            for tensor in (total, *tape.gradient(total, inputs)):
                assert np.isfinite(tensor.numpy()).all()


# The model


@pytest.fixture
def make_model(make_parts):
    def make(beta=4.0, train_size=40, learning_rate=0.0, jit_compile=False, **arguments):
        parts = make_parts(code_dim=6)[0], make_parts(code_dim=3)[1]
        kernel = parts[0].layers[-1].kernel
        # Means that differ, so that there is something to correlate.
        kernel.assign(kernel * [10.0, 10.0, 10.0, 1.0, 1.0, 1.0])
        model = TotalCorrelationVAE(*parts, beta, train_size, **arguments)
        optimizer = keras.optimizers.SGD(learning_rate)
        model.compile(optimizer, BernoulliCrossEntropy(), jit_compile=jit_compile)
        return model

    return make


def test_the_loss_in_training_is_the_bound_and_the_extra_total_correlation(make_model, images):
    for beta in (0.0, 1.0, 6.0):
        model = make_model(beta)
        history = model.fit(images, batch_size=40, verbose=0).history
        assert history.keys() == {"loss", "reconstruction", "kl", "total_correlation"}
        shown = {name: values[0] for name, values in history.items()}
        expected = shown["reconstruction"] + shown["kl"] + (beta - 1) * shown["total_correlation"]
        np.testing.assert_allclose(shown["loss"], expected, rtol=1e-5)
        assert abs(shown["total_correlation"]) > 1e-3


def test_the_total_correlation_shown_is_that_of_the_draws_of_the_batch(make_model, images):
    model = make_model(train_size=1000)
    batch = model._with_noise(tf.constant(images), True)
    drawn = model(batch, training=True)
    model.compute_loss(batch, None, drawn, training=True)
    mean, log_var = model.posterior(images)
    z = (mean + np.exp(0.5 * log_var) * drawn.epsilon[:, 0].numpy()).astype("float64")
    total = 0.0
    for i in range(40):
        each = stats.norm.logpdf(z[i], mean, np.exp(0.5 * log_var))
        share = np.full(40, 999 / 1000 / 39)
        share[i] = 1 / 1000
        joint = np.log((share * np.exp(each.sum(axis=1))).sum())
        total += joint - np.log((share[:, None] * np.exp(each)).sum(axis=0)).sum()
    np.testing.assert_allclose(model.total_correlation.result(), total / 40, rtol=1e-4)


def test_with_beta_one_it_trains_as_the_plain_model(make_model, make_parts, images):
    ours = make_model(1.0, learning_rate=1e-3)
    plain = VariationalAutoencoder(make_parts(code_dim=6)[0], make_parts(code_dim=3)[1])
    plain.set_weights(ours.get_weights())
    plain.compile(keras.optimizers.SGD(1e-3), BernoulliCrossEntropy())
    plain.noise, ours.noise = (keras.random.SeedGenerator(7) for _ in range(2))
    histories = [
        model.fit(images, epochs=3, batch_size=20, shuffle=False, verbose=0).history
        for model in (plain, ours)
    ]
    for name in histories[0]:
        np.testing.assert_allclose(histories[1][name], histories[0][name], rtol=1e-5)
    np.testing.assert_array_equal(make_model(9.0).elbo(images), make_model(1.0).elbo(images))


def test_evaluation_is_the_plain_bound_in_batches_of_any_size(make_model, images):
    model = make_model(beta=9.0)
    first = model.evaluate(images, verbose=0, return_dict=True)
    assert first.keys() == {"loss", "reconstruction", "kl"}
    np.testing.assert_allclose(first["loss"], first["reconstruction"] + first["kl"], rtol=1e-6)
    np.testing.assert_allclose(first["loss"], -model.elbo(images).mean(), rtol=1e-5)
    for size in (7, 40):
        again = model.evaluate(images, batch_size=size, verbose=0, return_dict=True)
        for name, value in first.items():
            np.testing.assert_allclose(again[name], value, rtol=1e-5)
    history = model.fit(images, validation_data=images, verbose=0).history
    assert history["val_loss"][0] == first["loss"] and "val_total_correlation" not in history


def test_a_large_beta_parts_latents_that_a_plain_model_lets_depend_on_each_other():
    """Pixels whose variances are all alike: the bound has no reason to keep axes apart."""
    rng = np.random.default_rng(0)
    hidden = rng.uniform(-1, 1, (1000, 2)) @ np.array([[1.0, 0.6], [0.6, 1.0]])
    x = (hidden @ np.linalg.qr(rng.normal(size=(8, 2)))[0].T).astype("float32")
    found = {}
    for beta in (1.0, 20.0):
        keras.utils.set_random_seed(1)
        encoder = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
        decoder = keras.Sequential([keras.Input((2,)), layers.Dense(8)])
        model = TotalCorrelationVAE(encoder, decoder, beta, len(x))
        model.compile(keras.optimizers.Adam(0.02), GaussianNegativeLogLikelihood(0.1))
        shown = model.fit(x, epochs=15, batch_size=100, verbose=0).history["total_correlation"]
        found[beta] = total_correlation(*model.posterior(x))
        np.testing.assert_allclose(shown[-1], found[beta], atol=0.1)
    assert found[20.0] < 0.5 * found[1.0]


def test_a_loaded_model_gives_equal_outputs_and_losses(make_model, images, tmp_path):
    model = make_model(3.0, 77, 1e-5, evaluation_seed=5, binarize=True)
    model.fit(images, verbose=0)
    model.save(tmp_path / "model.keras")
    again = aelib.load_model(tmp_path / "model.keras")
    assert (again.beta, again.train_size, again.binarize) == (3.0, 77, True)
    assert again.evaluate(images, verbose=0) == model.evaluate(images, verbose=0)
    for method in ("reconstruct", "encode", "elbo"):
        a, b = (getattr(m, method)(images) for m in (model, again))
        np.testing.assert_array_equal(a, b)
    batch = model._with_fixed_noise(tf.constant(images), tf.constant(0, "int64"))
    in_training = [
        float(m.compute_loss(batch, None, m(batch, training=True), training=True))
        for m in (model, again)
    ]
    assert in_training[0] == in_training[1] != model.evaluate(images, verbose=0)[0]
    again.fit(images, verbose=0)


def test_xla_on_and_off(make_model, images):
    histories = [
        make_model(learning_rate=1e-3, jit_compile=jit)
        .fit(images, epochs=2, batch_size=20, shuffle=False, verbose=0)
        .history
        for jit in (False, True)
    ]
    for name in histories[0]:
        np.testing.assert_allclose(histories[1][name], histories[0][name], 1e-4, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_finite_losses(make_model, images, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = make_model()
        last = model.encoder.layers[-1]
        for log_var in (0.0, 12.0, 100.0, -100.0):
            last.bias.assign([0, 0, 0, log_var, log_var, log_var])
            history = model.fit(images, batch_size=40, verbose=0).history
            assert np.isfinite([*history.values()]).all()
            assert np.isfinite(model.evaluate(images, verbose=0)).all()
    finally:
        keras.config.set_dtype_policy("float32")


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
        with pytest.raises(ValueError, match="Received: codes.shape="):
            dci(bad, factors[: len(bad)])
    with pytest.raises(ValueError, match="Received: mean.shape="):
        total_correlation(factors, factors[:, :2])
    with pytest.raises(ValueError, match="Received: log_var with"):
        total_correlation(factors, factors * np.inf)


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beta", -1.0),
        ("beta", "4"),
        ("train_size", 1),
        ("train_size", 2.5),
        ("samples", 2),
        ("importance_weighted", True),
        ("beta_warmup", 10),
    ],
)
def test_models_that_cannot_be_are_refused(make_parts, name, value):
    parts = make_parts(code_dim=6)[0], make_parts(code_dim=3)[1]
    with pytest.raises(ValueError, match=f"Received: {name}="):
        TotalCorrelationVAE(*parts, **({"beta": 4.0, "train_size": 40} | {name: value}))


def test_a_code_with_places_is_refused():
    encoder = keras.Sequential([keras.Input((12, 10, 1)), layers.Conv2D(4, 3)])
    decoder = keras.Sequential([keras.Input((10, 8, 2)), layers.Conv2DTranspose(1, 3)])
    with pytest.raises(ValueError, match=r"vector. Received: encoder.output_shape=\(None, 10, 8"):
        TotalCorrelationVAE(encoder, decoder, 4.0, 40)
