"""Search by code: nearest neighbours, what they are worth, and codes of single bits.

A query is answered by the database images whose codes are nearest to its own. The answer counts
as right where it has the query's label. No query is itself in the database.
"""

import sys

import numpy as np
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors

from aelib.latent import _finite

try:
    if sys.platform == "darwin":
        # Its wheels bring an OpenMP of their own, and crash beside scikit-learn's.
        raise ImportError("faiss is not used on macOS")
    import faiss
except ImportError:
    faiss = None

_CELLS = 20_000_000  # distances that are held at once


def nearest(queries, database, k: int) -> np.ndarray:
    """Rows of the database nearest to each query, the nearest first: int64 `(n, k)`.

    Euclidean and exact: every distance is computed, in single precision, so neighbours whose
    distances differ by a rounding error may change places, and equal ones come in any order.
    Faiss does the search where it is installed, scikit-learn otherwise (and on macOS, where
    Faiss's wheels crash beside scikit-learn). In turns on two busy cores, for k = 1000 of 60,000
    codes of 8 and of 32 numbers, Faiss took 11.0 and 11.5 s for 10,000 queries and scikit-learn
    14.9 and 16.8 s; for 1,000 queries, 0.7 and 1.0 s against 2.2 and 3.6 s.

    Args:
        queries: codes, `(n, code)`.
        database: codes, `(m, code)`.
        k: int, between 1 and m.

    Raises:
        ValueError: for codes that are empty, not finite or of two sizes, and another k.
    """
    queries, database = _both(queries, database)
    k = _neighbours(k, len(database))
    # Distances come from products in single precision, which lose digits where codes lie far from
    # 0, and all of them where codes are tiny or huge.
    centre, scale = database.mean(axis=0, dtype="float64"), database.std(dtype="float64") or 1.0
    queries, database = (
        np.ascontiguousarray((codes - centre) / scale, "float32") for codes in (queries, database)
    )
    if faiss is None:
        search = NearestNeighbors(algorithm="brute").fit(database)
        return search.kneighbors(queries, k, return_distance=False)
    index = faiss.IndexFlatL2(database.shape[1])
    index.add(database)
    return index.search(queries, k)[1]


def precision_at(neighbours, query_labels, database_labels, k: int) -> float:
    """Share of the first `k` answers that have the query's label, averaged over queries.

    Args:
        neighbours: rows of the database, `(n, at least k)`, as `nearest` gives them.
        query_labels: `(n,)`.
        database_labels: `(m,)`.
        k: int, at least 1.

    Raises:
        ValueError: for arrays that do not match, and another k.
    """
    neighbours, query_labels = np.asarray(neighbours), _labels("query_labels", query_labels)
    database_labels = _labels("database_labels", database_labels)
    if neighbours.ndim != 2 or neighbours.dtype.kind not in "iu" or not neighbours.size:
        raise ValueError(
            "neighbours holds rows of the database, (queries, answers). Received: "
            f"neighbours.shape={neighbours.shape}, neighbours.dtype={neighbours.dtype}"
        )
    if len(neighbours) != len(query_labels):
        raise ValueError(
            "Every query has one label. Received: "
            f"neighbours.shape={neighbours.shape}, query_labels.shape={query_labels.shape}"
        )
    if neighbours.min() < 0 or neighbours.max() >= len(database_labels):
        raise ValueError(
            f"The database has {len(database_labels)} labels. "
            f"Received: rows from {neighbours.min()} to {neighbours.max()}"
        )
    k = _neighbours(k, neighbours.shape[1])
    right = database_labels[neighbours[:, :k]] == query_labels[:, None]
    return float(right.mean())


def mean_average_precision(
    queries, database, query_labels, database_labels, distances=euclidean_distances
) -> float:
    """Average precision over the full ranking of the database, averaged over queries (mAP).

    The average precision of a query is the mean, over the database images of its label, of the
    precision at the place where each is found. Images at the same distance share one place, the
    last of theirs, so no order among equals can help or harm: a code that is the same for all
    images gets the share of the query's class. These are the numbers of scikit-learn's
    `average_precision_score`, six times as fast for 60,000 images.

    Args:
        queries: codes, `(n, code)`.
        database: codes, `(m, code)`.
        query_labels: `(n,)`, each of which some database image has.
        database_labels: `(m,)`.
        distances: function from some of the queries and the whole database to their distances,
            `(some, m)`; `hamming_distances` for packed bits. At most 20 million distances are
            held at once.

    Raises:
        ValueError: for codes that are empty, not finite or of two sizes, labels that do not
            match, and a query whose label is not in the database.
    """
    queries, database = _both(queries, database)
    query_labels = _labels("query_labels", query_labels, len(queries))
    database_labels = _labels("database_labels", database_labels, len(database))
    missing = np.setdiff1d(query_labels, database_labels)
    if missing.size:
        raise ValueError(
            "Without an image of its label a query has no average precision. "
            f"Received: {missing[0]!s} in query_labels, and not in database_labels"
        )
    total, rows = 0.0, max(1, _CELLS // len(database))
    for start in range(0, len(queries), rows):
        some = slice(start, start + rows)
        for label, row in zip(query_labels[some], distances(queries[some], database), strict=True):
            right, every = np.sort(row[database_labels == label]), np.sort(row)
            # Up to the distance of each right answer: how many are right, of how many in all.
            hits, places = (np.searchsorted(part, right, side="right") for part in (right, every))
            total += (hits / places).mean()
    return float(total / len(queries))


def binarise(codes, thresholds) -> np.ndarray:
    """Codes of single bits, 1 above the threshold, eight to a byte: uint8 `(n, bytes)`.

    At the median of the training codes each bit is 1 for half of the images, and says as much as
    a bit can.

    Args:
        codes: `(n, code)`.
        thresholds: `(code,)`.

    Raises:
        ValueError: for codes that are empty or not finite, and thresholds that do not match.

    Reference: Salakhutdinov & Hinton, "Semantic hashing", 2009.
    """
    codes = _codes("codes", codes)
    thresholds = np.asarray(thresholds)
    if thresholds.shape != codes.shape[1:]:
        raise ValueError(
            "Every number of the code has one threshold. "
            f"Received: codes.shape={codes.shape}, thresholds.shape={thresholds.shape}"
        )
    return np.packbits(codes > thresholds, axis=1)


def hamming_distances(queries, database) -> np.ndarray:
    """How many bits differ: packed bits, uint8 `(n, bytes)` and `(m, bytes)`, to `(n, m)`.

    In the smallest unsigned type that holds the number of bits, which also sorts the fastest.

    Raises:
        ValueError: for bits that are not packed, or empty, or of two lengths.
    """
    queries, database = _both(queries, database)
    _packed("queries", queries), _packed("database", database)
    bits = 8 * queries.shape[1]
    differing = np.zeros((len(queries), len(database)), np.min_scalar_type(bits))
    for asked, kept in zip(queries.T, database.T, strict=True):
        differing += np.bitwise_count(asked[:, None] ^ kept)
    return differing


def hamming_nearest(queries, database, k: int) -> np.ndarray:
    """Rows of the database that differ from each query in the fewest bits: int64 `(n, k)`.

    Equal distances are common, and come in the order of the database, which should therefore
    not be sorted by class. At most 20 million distances are held at once.

    Args:
        queries: packed bits, uint8 `(n, bytes)`, as `binarise` gives them.
        database: packed bits, uint8 `(m, bytes)`.
        k: int, between 1 and m.

    Raises:
        ValueError: as `hamming_distances`, and for another k.
    """
    queries, database = _both(queries, database)
    k = _neighbours(k, len(database))
    rows = max(1, _CELLS // len(database))
    found = [
        hamming_distances(queries[start : start + rows], database).argsort(axis=1, kind="stable")
        for start in range(0, len(queries), rows)
    ]
    return np.concatenate([part[:, :k] for part in found])


# Arguments


def _both(queries, database):
    queries, database = _codes("queries", queries), _codes("database", database)
    if queries.shape[1] != database.shape[1]:
        raise ValueError(
            "Queries and database have codes of one size. "
            f"Received: queries.shape={queries.shape}, database.shape={database.shape}"
        )
    return queries, database


def _codes(name: str, values) -> np.ndarray:
    values = _finite(name, values)
    if values.ndim != 2 or not values.size:
        raise ValueError(
            f"{name} has one code in each row, and at least one number. "
            f"Received: {name}.shape={values.shape}"
        )
    return values


def _packed(name: str, values) -> None:
    if values.dtype != np.uint8:
        raise ValueError(
            f"{name} has its bits packed, as binarise packs them. "
            f"Received: {name}.dtype={values.dtype}"
        )


def _labels(name: str, values, count: int | None = None) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or not values.size or (count is not None and len(values) != count):
        expected = "one label for each image" if count is None else f"{count} labels, one each"
        raise ValueError(f"{name} has {expected}. Received: {name}.shape={values.shape}")
    return values


def _neighbours(k, most: int) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= most:
        raise ValueError(f"k is a whole number between 1 and {most}. Received: k={k!r}")
    return int(k)
