"""Search by code: nearest neighbours, how good they are, and binary codes.

A query is answered by the database images whose codes are nearest to its own. An answer is right
if it has the query's label. No query is itself in the database. Invalid arguments raise
`ValueError`; codes are finite.
"""

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors

from aelib._checks import array, whole

try:
    if sys.platform == "darwin":
        # Its wheels bring an OpenMP of their own, and crash beside scikit-learn's.
        raise ImportError("faiss is not used on macOS")
    import faiss
except ImportError:
    faiss = None  # type: ignore[assignment]

_CELLS = 20_000_000  # distances that are held at once
_SAMPLE = 10_000  # rows whose median is taken
_FARTHEST = 1e15  # from the median, in its deviations: squares and their sums stay finite


def nearest(queries: ArrayLike, database: ArrayLike, k: int) -> NDArray:
    """The `k` rows of the database nearest to each query, nearest first: int64 `(n, k)`.

    By Euclidean distances in single precision, of codes less their median: what differs by a
    rounding error (of the squared distance from the median), and ties, come in any order. A few
    codes far from all others do no harm. Uses Faiss where it is installed (not on macOS), else
    scikit-learn.

    Args:
        queries, database: codes, `(n, code)` and `(m, code)`.
        k: int from 1 to m.
    """
    queries, database = _both(queries, database)
    k = whole("k", k, 1, len(database))
    # In single precision, products of codes that are far from 0, tiny or huge would lose digits.
    some = database[:: -(-len(database) // _SAMPLE)].astype("float64")
    centre = np.median(some, axis=0)
    spread = np.abs(some - centre)
    scale = np.median(spread[spread > 0]) if spread.any() else 1.0
    queries, database = (
        np.ascontiguousarray(((codes - centre) / scale).clip(-_FARTHEST, _FARTHEST), "float32")
        for codes in (queries, database)
    )
    if faiss is None:
        search = NearestNeighbors(algorithm="brute").fit(database)
        return search.kneighbors(queries, k, return_distance=False)
    index = faiss.IndexFlatL2(database.shape[1])
    index.add(database)
    return index.search(queries, k)[1]


def precision_at(
    neighbours: ArrayLike, query_labels: ArrayLike, database_labels: ArrayLike, k: int
) -> float:
    """Share of the first `k` answers that have the query's label, averaged over queries.

    Args:
        neighbours: int, `(n, at least k)`, rows of the database as `nearest` gives them.
        query_labels, database_labels: `(n,)` and `(m,)`.
        k: int, at least 1.
    """
    neighbours = array("neighbours", neighbours, rank=2, exact=True)
    query_labels, database_labels = _labels(query_labels, database_labels, len(neighbours), None)
    first, last, most = neighbours.min(), neighbours.max(), len(database_labels) - 1
    if neighbours.dtype.kind not in "iu" or first < 0 or last > most:
        received = f"{neighbours.dtype} from {first} to {last}"
        raise ValueError(f"`neighbours` must be integers from 0 to {most}. Received: {received}")
    k = whole("k", k, 1, neighbours.shape[1])
    return float((database_labels[neighbours[:, :k]] == query_labels[:, None]).mean())


def mean_average_precision(
    queries: ArrayLike,
    database: ArrayLike,
    query_labels: ArrayLike,
    database_labels: ArrayLike,
    distances: Callable[[NDArray, NDArray], NDArray] = euclidean_distances,
) -> float:
    """Average precision over the full ranking of the database, averaged over queries (mAP).

    The average precision of a query is the mean, over the database images of its label, of the
    precision at the rank of each. Images at the same distance share the last of their ranks, so
    their order does not matter: a constant code scores the share of the query's class. Equal to
    scikit-learn's `average_precision_score`.

    Args:
        queries, database: codes, `(n, code)` and `(m, code)`.
        query_labels, database_labels: `(n,)` and `(m,)`.
        distances: function from part of the queries and the whole database to their distances,
            `(part, m)`, such as `hamming_distances`. At most 20 million are held at once.
    """
    queries, database = _both(queries, database)
    counts = len(queries), len(database)
    query_labels, database_labels = _labels(query_labels, database_labels, *counts)
    missing = np.setdiff1d(query_labels, database_labels)
    if missing.size:
        received = f"{missing[0]!s} in query_labels, not in database_labels"
        raise ValueError(f"`database_labels` must have each query's label. Received: {received}")
    total, rows = 0.0, max(1, _CELLS // len(database))
    for start in range(0, len(queries), rows):
        part = slice(start, start + rows)
        for label, row in zip(query_labels[part], distances(queries[part], database), strict=True):
            right, every = np.sort(row[database_labels == label]), np.sort(row)
            # Up to the distance of each right answer: how many are right, of how many in all.
            hits = np.searchsorted(right, right, side="right")
            ranks = np.searchsorted(every, right, side="right")
            total += (hits / ranks).mean()
    return float(total / len(queries))


def binarise(codes: ArrayLike, thresholds: ArrayLike) -> NDArray:
    """Binary codes, 1 above the threshold, packed eight bits to a byte: uint8 `(n, bytes)`.

    With medians of the training codes as thresholds, each bit carries the most information.

    Args:
        codes: `(n, code)`.
        thresholds: `(code,)`.

    Reference: Salakhutdinov & Hinton, "Semantic hashing", 2009.
    """
    codes, thresholds = array("codes", codes, rank=2, exact=True), array("thresholds", thresholds)
    if thresholds.shape != codes.shape[1:]:
        received = f"codes.shape={codes.shape}, thresholds.shape={thresholds.shape}"
        raise ValueError(f"`thresholds` must have shape {codes.shape[1:]}. Received: {received}")
    return np.packbits(codes > thresholds, axis=1)


def hamming_distances(queries: ArrayLike, database: ArrayLike) -> NDArray:
    """How many bits differ: packed, uint8 `(n, bytes)` and `(m, bytes)`, to unsigned `(n, m)`."""
    queries, database = _both(queries, database)
    for name, bits in (("queries", queries), ("database", database)):
        if bits.dtype != np.uint8:
            raise ValueError(f"`{name}` must be packed bits. Received: {name}.dtype={bits.dtype}")
    differing = np.zeros((len(queries), len(database)), np.min_scalar_type(8 * queries.shape[1]))
    for asked, kept in zip(queries.T, database.T, strict=True):
        differing += np.bitwise_count(asked[:, None] ^ kept)
    return differing


def hamming_nearest(queries: ArrayLike, database: ArrayLike, k: int) -> NDArray:
    """The `k` rows of the database that differ from each query in the fewest bits: int64 `(n, k)`.

    Ties are common and come in the order of the database, which should therefore not be sorted
    by class. At most 20 million distances are held at once.

    Args:
        queries, database: packed bits, uint8 `(n, bytes)` and `(m, bytes)`.
        k: int from 1 to m.
    """
    queries, database = _both(queries, database)
    k = whole("k", k, 1, len(database))
    rows, found = max(1, _CELLS // len(database)), []
    for start in range(0, len(queries), rows):
        distances = hamming_distances(queries[start : start + rows], database)
        found.append(distances.argsort(axis=1, kind="stable")[:, :k])
    return np.concatenate(found)


def _both(queries, database):
    queries = array("queries", queries, rank=2, exact=True)
    database = array("database", database, rank=2, exact=True)
    if queries.shape[1] != database.shape[1]:
        received = f"queries.shape={queries.shape}, database.shape={database.shape}"
        raise ValueError(f"Codes must have the same size. Received: {received}")
    return queries, database


def _labels(asked, kept, queries, rows):
    """Labels of `queries` queries and of `rows` images (None: any number), of one kind."""
    found = []
    for name, values, count in (("query_labels", asked, queries), ("database_labels", kept, rows)):
        values = np.asarray(values)
        if values.dtype == object:  # a column of a data frame
            values = np.array(values.tolist())
        if values.ndim != 1 or not values.size or count not in (None, len(values)):
            shape = f"({'n' if count is None else count},)"
            received = f"{name}.shape={values.shape}"
            raise ValueError(f"`{name}` must have shape {shape}. Received: {received}")
        found.append(values if values.dtype.kind in "US" else array(name, values))
    if len({values.dtype.kind if values.dtype.kind in "US" else "number" for values in found}) > 1:
        received = f"query_labels.dtype={found[0].dtype}, database_labels.dtype={found[1].dtype}"
        raise ValueError(f"Labels must be numbers in both, or text in both. Received: {received}")
    return found
