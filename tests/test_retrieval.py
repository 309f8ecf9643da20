"""Nearest neighbours, precision, average precision and binary codes."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, euclidean_distances

from aelib import retrieval
from aelib.retrieval import (
    binarise,
    hamming_distances,
    hamming_nearest,
    mean_average_precision,
    nearest,
    precision_at,
)


@pytest.fixture
def codes():
    """30 queries, 400 images with 5 classes, of which the codes know something."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 430)
    z = rng.normal(size=(430, 6)) + 0.7 * rng.normal(size=(5, 6))[y]
    return z[:30], z[30:], y[:30], y[30:]


def unpacked(packed):
    return np.unpackbits(packed, axis=1).astype(bool)


# Nearest neighbours


@pytest.fixture(params=["faiss", "scikit-learn"])
def library(request, monkeypatch):
    if request.param == "scikit-learn":
        monkeypatch.setattr(retrieval, "faiss", None)
    elif retrieval.faiss is None:
        pytest.skip("faiss is not used here")


@pytest.mark.usefixtures("library")
def test_neighbours_are_those_of_all_distances_sorted(codes):
    queries, database, *_ = codes
    distances = np.linalg.norm(queries[:, None] - database, axis=2)
    found = nearest(queries, database, 50)
    assert found.dtype == "int64"
    np.testing.assert_array_equal(found, distances.argsort(axis=1)[:, :50])
    np.testing.assert_array_equal(np.sort(nearest(queries, database, 400)), [np.arange(400)] * 30)


@pytest.mark.usefixtures("library")
def test_codes_far_from_zero_tiny_and_huge_keep_their_neighbours(codes):
    queries, database, *_ = codes
    expected = nearest(queries, database, 20)
    np.testing.assert_array_equal(nearest(queries + 1e5, database + 1e5, 20), expected)
    for scale in (1e-30, 1e30):
        np.testing.assert_array_equal(nearest(scale * queries, scale * database, 20), expected)
    assert nearest(0 * queries, 0 * database, 20).shape == (30, 20)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("far", [1e8, 1e12, 1e30, 1e300])
@pytest.mark.parametrize("count", [1, 40])
def test_codes_far_from_all_others_do_no_harm(codes, far, count):
    queries, database, *_ = codes
    expected = nearest(queries, database[count:], 20) + count
    outlying = np.concatenate([far * (1 + np.abs(database[:count])), database[count:]])
    np.testing.assert_array_equal(nearest(queries, outlying, 20), expected)
    together = nearest(np.concatenate([outlying[:1], queries]), outlying, 400)
    assert together[0, 0] < count
    np.testing.assert_array_equal(together[1:, :20], expected)
    np.testing.assert_array_equal(np.sort(together), [np.arange(400)] * 31)


@pytest.mark.usefixtures("library")
def test_codes_that_are_mostly_zero_keep_their_neighbours(codes):
    queries, database, *_ = codes
    queries, database = (np.where(np.abs(part) < 1.5, 0.0, part) for part in (queries, database))
    found = nearest(queries, database, 1)[:, 0]
    distances = np.linalg.norm(queries[:, None] - database, axis=2)
    np.testing.assert_allclose(distances[np.arange(30), found], distances.min(axis=1), atol=1e-3)


@pytest.mark.usefixtures("library")
def test_memory_layout_and_type_do_not_matter(codes):
    queries, database, *_ = (part.astype("float32") for part in codes)
    expected = nearest(queries, database, 9)
    np.testing.assert_array_equal(nearest(queries[:, ::-1], database[:, ::-1], 9), expected)
    np.testing.assert_array_equal(
        nearest(np.asfortranarray(queries), database.tolist(), 9), expected
    )
    before = database.copy()
    nearest(queries, database, 9)
    np.testing.assert_array_equal(database, before)


# Precision


def test_precision_counts_right_answers_by_hand():
    neighbours = np.array([[0, 1, 2], [3, 2, 0]])
    kinds, asked = np.array(["a", "a", "b", "b"]), np.array(["a", "b"])
    assert precision_at(neighbours, asked, kinds, 1) == 1
    assert precision_at(neighbours, asked, kinds, 2) == 1
    assert precision_at(neighbours, asked, kinds, 3) == pytest.approx(4 / 6)


def test_precision_of_real_answers_and_of_random_ones(codes):
    queries, database, asked, kinds = codes
    found = nearest(queries, database, 400)
    by_hand = [np.mean(kinds[row[:20]] == label) for row, label in zip(found, asked, strict=True)]
    assert precision_at(found, asked, kinds, 20) == pytest.approx(np.mean(by_hand))
    share = np.mean([(kinds == label).mean() for label in asked])
    assert precision_at(found, asked, kinds, 400) == pytest.approx(share)
    assert precision_at(found, asked, kinds, 20) > share + 0.1


# Mean average precision


def test_a_perfect_ranking_has_1_and_the_worst_a_known_number():
    kinds = np.repeat([0, 1], [30, 70])
    database = kinds[:, None] + np.linspace(0, 0.1, 100)[:, None]
    assert mean_average_precision([[0.0], [1.1]], database, [0, 1], kinds) == 1
    # All 70 others come first: the i-th of 30 right answers stands at place 70 + i.
    expected = np.mean(np.arange(1, 31) / (70 + np.arange(1, 31)))
    assert mean_average_precision([[1.1]], database, [0], kinds) == pytest.approx(expected)


@pytest.mark.parametrize("decimals", [None, 0], ids=["no ties", "many ties"])
def test_it_is_the_average_precision_of_scikit_learn(codes, decimals):
    queries, database, asked, kinds = codes
    if decimals is not None:
        queries, database = queries.round(), database.round()
    rows = zip(asked, euclidean_distances(queries, database), strict=True)
    expected = [average_precision_score(kinds == label, -row) for label, row in rows]
    measured = mean_average_precision(queries, database, asked, kinds)
    assert measured == pytest.approx(np.mean(expected))


def test_it_is_the_mean_precision_at_right_answers(codes):
    """The definition, through the other two functions."""
    queries, database, asked, kinds = codes
    found = nearest(queries, database, 400)
    every = []
    for row, label in zip(found, asked, strict=True):
        places = 1 + np.flatnonzero(kinds[row] == label)
        every.append(np.mean([precision_at([row], [label], kinds, int(p)) for p in places]))
    measured = mean_average_precision(queries, database, asked, kinds)
    assert measured == pytest.approx(np.mean(every))


def test_random_and_constant_codes_have_the_share_of_the_class():
    rng = np.random.default_rng(1)
    kinds, asked = np.repeat([0, 1], [1000, 3000]), np.repeat([0, 1], [50, 150])
    shares = 0.25 * 0.25 + 0.75 * 0.75
    random = mean_average_precision(
        rng.normal(size=(200, 3)), rng.normal(size=(4000, 3)), asked, kinds
    )
    assert random == pytest.approx(shares, abs=0.01)
    constant = mean_average_precision(np.zeros((200, 3)), np.zeros((4000, 3)), asked, kinds)
    assert constant == pytest.approx(shares)


def test_the_order_among_equals_does_not_count(codes):
    queries, database, asked, kinds = codes
    queries, database = queries.round(), database.round()
    expected = mean_average_precision(queries, database, asked, kinds)
    for order in (kinds.argsort(), kinds.argsort()[::-1]):
        measured = mean_average_precision(queries, database[order], asked, kinds[order])
        assert measured == pytest.approx(expected)


def test_queries_in_parts_give_the_same(codes, monkeypatch):
    queries, database, asked, kinds = codes
    bits = binarise(queries, np.zeros(6)), binarise(database, np.zeros(6))
    whole = (
        mean_average_precision(queries, database, asked, kinds),
        mean_average_precision(*bits, asked, kinds, hamming_distances),
    )
    neighbours = hamming_nearest(*bits, 30)
    for cells in (1, 400, 400 * 7):
        monkeypatch.setattr(retrieval, "_CELLS", cells)
        sizes = []

        def counted(some, database, sizes=sizes):
            sizes.append(len(some) * len(database))
            return euclidean_distances(some, database)

        measured = mean_average_precision(queries, database, asked, kinds, counted)
        assert measured == pytest.approx(whole[0])
        assert max(sizes) <= max(cells, 400) and sum(sizes) == 30 * 400
        measured = mean_average_precision(*bits, asked, kinds, hamming_distances)
        assert measured == pytest.approx(whole[1])
        np.testing.assert_array_equal(hamming_nearest(*bits, 30), neighbours)


# Bits


@pytest.mark.parametrize("size", [1, 6, 8, 13, 300])
def test_bits_are_the_signs_of_codes_less_thresholds(size):
    z = np.random.default_rng(2).normal(size=(50, size))
    thresholds = np.median(z, axis=0)
    packed = binarise(z, thresholds)
    assert packed.dtype == "uint8" and packed.shape == (50, -(-size // 8))
    np.testing.assert_array_equal(unpacked(packed)[:, :size], z > thresholds)
    # At the median each bit is set for half of the codes.
    assert (unpacked(packed)[:, :size].sum(axis=0) == 25).all()


@pytest.mark.parametrize("size", [3, 16, 31, 256, 300])
def test_hamming_distances_count_bits_that_disagree(size):
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(20, size)), rng.normal(size=(40, size))
    found = hamming_distances(binarise(a, np.zeros(size)), binarise(b, np.zeros(size)))
    np.testing.assert_array_equal(found, ((a > 0)[:, None] != (b > 0)).sum(axis=2))
    opposite = hamming_distances(binarise(a, np.zeros(size)), binarise(-a, np.zeros(size)))
    np.testing.assert_array_equal(np.diag(opposite), size)  # no sum runs over


def test_neighbours_in_bits_are_those_of_all_distances_sorted(codes):
    queries, database, asked, kinds = codes
    a, b = binarise(queries, np.zeros(6)), binarise(database, np.zeros(6))
    distances = (unpacked(a)[:, None] != unpacked(b)).sum(axis=2)
    found = hamming_nearest(a, b, 25)
    np.testing.assert_array_equal(found, distances.argsort(axis=1, kind="stable")[:, :25])
    rows = zip(asked, distances, strict=True)
    expected = [average_precision_score(kinds == label, -row) for label, row in rows]
    measured = mean_average_precision(a, b, asked, kinds, hamming_distances)
    assert measured == pytest.approx(np.mean(expected))


# Arguments


def test_codes_that_are_none_are_refused(codes):
    queries, database, asked, kinds = codes
    for search in (
        lambda a, b: nearest(a, b, 3),
        lambda a, b: mean_average_precision(a, b, asked, kinds),
    ):
        with pytest.raises(ValueError, match="Received: database with 400 NaN"):
            search(queries, np.where(np.arange(6) == 2, np.nan, database))
        with pytest.raises(ValueError, match="Received: queries with 180 NaN"):
            search(queries + np.inf, database)
        for bad in (queries[0], queries[:0], queries[:, :0], np.float64(1)):
            with pytest.raises(ValueError, match="Received: queries.shape="):
                search(bad, database)
        with pytest.raises(ValueError, match=r"queries.shape=\(30, 5\), database.shape=\(400, 6\)"):
            search(queries[:, 1:], database)
        with pytest.raises(ValueError, match="Received: queries.dtype="):
            search(queries.astype(str), database)
    with pytest.raises(ValueError, match=r"Received: codes.shape=\(30, 6\), thresholds.shape=\(\)"):
        binarise(queries, 0.0)
    for bad, received in ((np.nan, "with 1 NaN"), (np.inf, "with 1 NaN"), ("1", "dtype=<U")):
        with pytest.raises(ValueError, match=f"Received: thresholds.*{received}"):
            binarise(queries, np.array([0, 0, 0, 0, 0, bad]))
    with pytest.raises(ValueError, match="Received: codes with"):
        binarise(queries * np.nan, np.zeros(6))
    for search in (hamming_distances, lambda a, b: hamming_nearest(a, b, 3)):
        with pytest.raises(ValueError, match="Received: queries.dtype=float64"):
            search(queries, database)
        with pytest.raises(ValueError, match="Received: database.dtype=bool"):
            search(np.zeros((3, 6), "uint8"), database > 0)


@pytest.mark.parametrize("k", [0, 401, -1, 2.0, True, None, "3"])
def test_numbers_of_neighbours_that_are_none_are_refused(codes, k):
    queries, database, asked, kinds = codes
    bits = binarise(queries, np.zeros(6)), binarise(database, np.zeros(6))
    found = nearest(queries, database, 400)
    with pytest.raises(ValueError, match=f"from 1 to 400. Received: k={k!r}"):
        nearest(queries, database, k)
    with pytest.raises(ValueError, match=f"Received: k={k!r}"):
        hamming_nearest(*bits, k)
    with pytest.raises(ValueError, match=f"Received: k={k!r}"):
        precision_at(found, asked, kinds, k)


def test_labels_and_rows_that_do_not_match_are_refused(codes):
    queries, database, asked, kinds = codes
    found = nearest(queries, database, 5)
    for bad in (asked[1:], asked[:, None], asked[:0]):
        with pytest.raises(ValueError, match="Received:.*query_labels.shape="):
            mean_average_precision(queries, database, bad, kinds)
        with pytest.raises(ValueError, match="Received:.*query_labels.shape="):
            precision_at(found, bad, kinds, 3)
    with pytest.raises(ValueError, match=r"Received: database_labels.shape=\(399,\)"):
        mean_average_precision(queries, database, asked, kinds[1:])
    with pytest.raises(ValueError, match="Received: 7 in query_labels"):
        mean_average_precision(queries, database, np.where(asked == 0, 7, asked), kinds)
    with pytest.raises(ValueError, match="0 to 399. Received: int64 from 0 to 400"):
        precision_at(np.array([[0, 400]]), [1], kinds, 1)
    with pytest.raises(ValueError, match="Received: int64 from -1 to 3"):
        precision_at(np.array([[-1, 3]]), [1], kinds, 1)
    for bad in (found[0], found[:0]):
        with pytest.raises(ValueError, match="Received: neighbours.shape="):
            precision_at(bad, asked, kinds, 1)
    with pytest.raises(ValueError, match="Received: float64 from"):
        precision_at(found.astype(float), asked, kinds, 1)


def test_labels_of_two_kinds_are_refused(codes):
    """Text is never equal to a number, so that no answer would be right."""
    queries, database, asked, kinds = codes
    found = nearest(queries, database, 5)
    text = asked.astype(str), kinds.astype(str)
    for labels in ((text[0], kinds), (asked, text[1]), (text[0], kinds.astype(bytes))):
        received = f"query_labels.dtype={labels[0].dtype}, database_labels.dtype={labels[1].dtype}"
        for use in (
            lambda pair: precision_at(found, *pair, 3),
            lambda pair: mean_average_precision(queries, database, *pair),
        ):
            with pytest.raises(ValueError, match="both, or text in both. Received: ") as error:
                use(labels)
            assert received in str(error.value)
    with pytest.raises(ValueError, match="Received: query_labels with 30 NaN"):
        precision_at(found, asked * np.nan, kinds, 3)
    # Numbers of two types are of one kind, and so is text of a data frame.
    expected = precision_at(found, asked, kinds, 3)
    texts = text[0].astype(object), text[1]
    for pair in ((asked.astype(float), kinds.astype("uint8")), texts):
        assert precision_at(found, *pair, 3) == expected
        assert mean_average_precision(queries, database, *pair) > 0.2
