"""`digits`: handwriting-like digits, drawn by a program, for machines without MNIST.

Nothing is downloaded and nothing is copied from MNIST. A digit begins as one of the ways of
writing it in `_strokes.STROKES`; hand, pen and sheet then vary:

1. every point is moved a little, and a smooth curve is laid through them;
2. the whole is bent, narrowed or widened, slanted and turned;
3. as MNIST was made, the ink is fitted into 20 x 20 pixels and its centre of mass put into
   the middle of 28 x 28;
4. a pen of random width and varying pressure runs along the curve.

A curve through points is linear in them, so each way of writing is one matrix, and all images
of it are drawn together. The ink of a point is a Gaussian, the product of a column and a row:
an image is one small matrix product, cut off at both ends to give flat ink with soft edges.
"""

from pathlib import Path

import numpy as np

from aelib.data._sources import Raw
from aelib.data._store import drawn_once
from aelib.data._strokes import STROKES

TRAIN, TEST = 12_000, 2_000  # `load` cuts the validation images off the 12,000
_SIDE, _BOX = 28, 20.0
_SAMPLES = 96  # points of ink in an image
_SEED = 0
_SOURCES = (Path(__file__), Path(__file__).with_name("_strokes.py"))


def read(size: int | None = None, limit: int | None = None) -> Raw:
    """The whole dataset, uint8 `(n, 28, 28)`; drawn once and kept where that is possible."""
    images, labels = drawn_once("digits", _SOURCES, lambda: generate(TRAIN + TEST, seed=_SEED))
    return Raw(images[:TRAIN], labels[:TRAIN], images[TRAIN:], labels[TRAIN:], validation=2_000)


def generate(count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws `count` digits in random order, the ten classes equally often.

    Returns:
        Images, uint8 `(count, 28, 28)`, white on black, and labels, int64 `(count,)`.
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % 10)
    images = np.empty((count, _SIDE, _SIDE), np.uint8)
    for digit, ways in STROKES.items():
        where = np.flatnonzero(labels == digit)
        weights = np.array([weight for weight, _ in ways], float)
        way = random.choice(len(ways), len(where), p=weights / weights.sum())
        for index, (_, strokes) in enumerate(ways):
            chosen = where[way == index]
            images[chosen] = _draw(strokes, len(chosen), random, loops=digit != 1)
    return images, labels.astype(np.int64)


def _draw(strokes: str, count: int, random: np.random.Generator, loops: bool) -> np.ndarray:
    """`count` images of one way of writing, uint8 `(count, 28, 28)`."""
    points, curve, pen_down = _curve(strokes)
    ink = curve @ _by_hand(points, count, random)  # (count, samples, 2)
    along = np.linspace(0, 1, curve.shape[0])
    phase = random.uniform(0, 2 * np.pi, (2, count, 1))
    pressure = 1 + 0.15 * np.sin(phase[0] + 4 * along) + 0.1 * np.sin(phase[1] + 9 * along)
    width = np.exp(random.normal(0, 0.32, (count, 1)))

    # The ink, not the curve, fits into the box: the pen adds a little on each side.
    extent = (ink.max(1) - ink.min(1)).max(1, keepdims=True)
    ink = ink * ((_BOX - 1.6 * width) / extent).astype(np.float32)[..., None]
    if loops:  # a pen much wider than the loops would fill them: nobody writes so
        width = np.minimum(width, 0.4 * _narrow_side(ink)[:, None])
    sigma = (width * pressure).astype(np.float32)
    step = np.linalg.norm(np.diff(ink, axis=1, prepend=ink[:, :1]), axis=2) * pen_down
    amount = (step * sigma)[..., None]
    ink = ink - (ink * amount).sum(1, keepdims=True) / amount.sum(1, keepdims=True)

    middle = np.arange(_SIDE, dtype=np.float32) - (_SIDE - 1) / 2
    distance = (ink[..., None] - middle) / sigma[..., None, None]  # (count, samples, 2, 28)
    gaussians = np.exp(-0.5 * distance * distance)
    columns, rows = gaussians[:, :, 0], gaussians[:, :, 1]
    # So weighted, the Gaussians along a straight line add up to 1 in its middle.
    weight = step / (sigma * np.float32(np.sqrt(2 * np.pi)))
    density = (rows * weight[..., None]).transpose(0, 2, 1) @ columns
    return np.rint(255 * np.clip(1.7 * density - 0.25, 0, 1)).astype(np.uint8)


def _by_hand(points: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`points` as `count` hands would set them, float32 `(count, points, 2)`."""
    moved = points - 0.5 + random.normal(0, 0.045, (count, *points.shape))
    x, y = moved[..., 0], moved[..., 1]
    bend = random.normal(0, 0.075, (4, count, 1))
    x = x + bend[0] * np.sin(3 * y) + bend[1] * np.cos(4 * y)
    y = y + bend[2] * np.sin(3 * x) + bend[3] * np.cos(4 * x)
    x = x * 0.9 * np.exp(random.normal(0, 0.25, (count, 1)))  # narrow and wide
    x = x - y * random.normal(0.12, 0.26, (count, 1))  # most people slant to the right
    turn = random.normal(0, 0.1, (count, 1))
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    return np.stack([x, y], axis=-1).astype(np.float32)


def _narrow_side(ink: np.ndarray) -> np.ndarray:
    """Standard deviation of each image's ink along its narrowest direction, `(count,)`."""
    x, y = np.moveaxis(ink - ink.mean(1, keepdims=True), 2, 0)
    xx, yy, xy = (x * x).mean(1), (y * y).mean(1), (x * y).mean(1)
    smaller = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)  # eigenvalue of 2 x 2
    return np.sqrt(np.maximum(smaller, 0))


def _curve(strokes: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The points of one way of writing, and the matrix that lays curves through them.

    Returns:
        points `(points, 2)` on a sheet of side 1; curve `(samples, points)`, a row of weights for
        each sample; pen_down `(samples,)`, 0 where a sample begins a new stroke.
    """
    points: list[tuple[float, float]] = []
    spans: list[tuple[list[int], bool]] = []  # indices of points, does it begin a stroke
    for stroke in strokes.split(";"):
        span, begins = [], True
        for word in stroke.split():
            x, y = word.rstrip("!").split(",")
            points.append((float(x) / 100, float(y) / 100))
            span.append(len(points) - 1)
            if word.endswith("!"):
                spans.append((span, begins))
                span, begins = [len(points) - 1], False
        spans.append((span, begins))
    place = np.array(points)
    lengths = [np.linalg.norm(np.diff(place[span], axis=0), axis=1).sum() for span, _ in spans]
    rows, pen_down = [], []
    for (span, begins), length in zip(spans, lengths, strict=True):
        samples = max(4, round(_SAMPLES * length / sum(lengths)))
        rows.append(_catmull_rom(span, len(points), samples))
        pen_down += [0.0 if begins else 1.0] + [1.0] * (samples - 1)
    return place, np.concatenate(rows).astype(np.float32), np.array(pen_down, np.float32)


def _catmull_rom(span: list[int], points: int, samples: int) -> np.ndarray:
    """Weights `(samples, points)` of the Catmull-Rom spline through the points of `span`.

    Reference: Catmull & Rom, "A class of local interpolating splines", 1974.
    """
    position = np.linspace(0, len(span) - 1, samples)
    segment = np.minimum(position.astype(int), len(span) - 2)
    t = position - segment
    t2, t3 = t**2, t**3
    basis = (-t + 2 * t2 - t3, 2 - 5 * t2 + 3 * t3, t + 4 * t2 - 3 * t3, -t2 + t3)
    weights = np.zeros((samples, points))
    for offset, weight in enumerate(basis, start=-1):
        index = np.clip(segment + offset, 0, len(span) - 1)
        np.add.at(weights, (np.arange(samples), np.array(span)[index]), 0.5 * weight)
    return weights
