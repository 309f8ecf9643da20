"""`faces`: portraits drawn by a program, every one with the factors that it was drawn from.

Nothing is downloaded and no photograph is used. A face is a function of its factors: what a
person can change (`ATTRIBUTES`), who it is (`IDENTITY`) and how it is seen (`NUISANCE`). Change
one and render again, and "the same person, smiling" has an exact answer:

```python
from aelib.data import faces

factors = faces.sample(8, seed=0)
plain, smiling = faces.render(factors), faces.render(factors | {"smile": 1.0})
```
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aelib._checks import number, whole
from aelib.data._portrait import SIZE, draw
from aelib.data._sources import Raw
from aelib.data._store import drawn_once, kept

TRAIN, TEST = 9_000, 1_000  # `load` cuts the validation images off the 9,000
SMILING = 0.3  # the label is 1 from this smile on
_CHUNK = 8  # images drawn together: their arrays stay in the processor's cache
_SEED = 0
_SOURCES = tuple(
    Path(__file__).with_name(name) for name in ("faces.py", "_portrait.py", "_geometry.py")
)

# Range of each factor. 0 is the average face where the range is -1 to 1.
ATTRIBUTES = {
    "smile": (-1.0, 1.0),  # -1 sad, 0 neutral, 0.5 lips just parted, 1 laughing
    "glasses": (0.0, 1.0),  # 0 none, 1 worn; between them translucent
    "beard": (0.0, 1.0),  # 0 shaven, 0.5 short, 1 full
}
IDENTITY = {
    "face_width": (-1.0, 1.0),  # narrow, wide
    "face_jaw": (-1.0, 1.0),  # pointed, square
    "face_cheeks": (-1.0, 1.0),  # flat, full
    "eye_size": (-1.0, 1.0),
    "eye_spacing": (-1.0, 1.0),
    "eye_slant": (-1.0, 1.0),  # outer corner down, up
    "eye_color": (0.0, 1.0),  # dark, pale
    "brow_height": (-1.0, 1.0),
    "brow_weight": (-1.0, 1.0),  # thin and pale, thick and dark
    "nose_length": (-1.0, 1.0),
    "nose_width": (-1.0, 1.0),
    "nose_bridge": (-1.0, 1.0),  # flat, high
    "mouth_width": (-1.0, 1.0),
    "lip_fullness": (-1.0, 1.0),
    "lip_color": (0.0, 1.0),  # hardly darker than the skin, dark
    "skin_tone": (0.0, 1.0),  # dark, pale
    "skin_age": (0.0, 1.0),  # smooth, lined
    "hair_color": (0.0, 1.0),  # black, white
    "hair_length": (0.0, 1.0),  # cropped, falling down both sides
    "hair_line": (-1.0, 1.0),  # receding, a fringe down to the brows
    "hair_part": (-1.0, 1.0),  # parted on the left, on the right of the picture
    "beard_style": (0.0, 1.0),  # if there is one: a moustache alone, all around the jaw
}
NUISANCE = {
    "yaw": (-1.0, 1.0),  # turned by up to 20 degrees to the left, right of the picture
    "nod": (-1.0, 1.0),  # up, down, by up to 15 degrees
    "tilt": (-1.0, 1.0),  # by up to 12 degrees, against the clock, with it
    "shift_x": (-1.0, 1.0),  # by up to 3/64 of the picture's width, left, right
    "shift_y": (-1.0, 1.0),  # up, down
    "zoom": (-1.0, 1.0),  # smaller, larger, by up to an eighth
    "light_side": (-1.0, 1.0),  # lit from the left, right
    "light_height": (-1.0, 1.0),  # from below the eyes, from above
    "light_strength": (0.0, 1.0),  # soft, hard
    "exposure": (-1.0, 1.0),  # dark, bright
    "softness": (0.0, 1.0),  # sharp, out of focus
    "speech": (0.0, 1.0),  # lips closed, parted as in speaking
    "gaze": (-1.0, 1.0),  # left, right
    "background": (0.0, 1.0),  # dark, bright
    "background_slope": (-1.0, 1.0),  # brighter on the left, on the right
}
# Looking into the camera, sharp, in soft light, before a grey wall.
CALM = dict.fromkeys(NUISANCE, 0.0) | {"background": 0.5}
FACTORS = ATTRIBUTES | IDENTITY | NUISANCE
SHARES = {"glasses": 0.4, "beard": 0.4}  # how many people have them; a half smiles

Factors = dict[str, np.ndarray]


class _Drawn:
    """Images that are drawn when a slice is asked for, uint8 `(n, size, size, 1)`."""

    def __init__(self, factors: Factors, size: int):
        self.factors, self.size = factors, size

    def __len__(self) -> int:
        return len(self.factors["smile"])

    def __getitem__(self, part: slice) -> np.ndarray:
        few = {name: values[part] for name, values in self.factors.items()}
        return np.rint(255 * render(few, self.size)).astype(np.uint8)


def read(size: int | None = None, limit: int | None = None) -> Raw:
    """The dataset, uint8; drawn once and kept where that is possible.

    With a `limit`, and nothing kept, only the images that are used are drawn.
    """
    size = size or SIZE
    factors = sample(TRAIN + TEST, seed=_SEED)
    train = {name: values[:TRAIN] for name, values in factors.items()}
    test = {name: values[TRAIN:] for name, values in factors.items()}
    drawn = _Drawn(train, size), _Drawn(test, size)
    name = "faces" if size == SIZE else f"faces-{size}"
    images: Sequence[Any] = (
        drawn_once(name, _SOURCES, lambda: [images[:] for images in drawn])
        if limit is None
        else kept(name, _SOURCES) or drawn
    )
    return Raw(images[0], labels(train), images[1], labels(test), 1_000, train, test)


def sample(
    count: int,
    *,
    seed: int,
    correlation: Mapping[str, float] | None = None,
    nuisance: float = 1.0,
) -> Factors:
    """Draws the factors of `count` people, each factor independent of the others.

    Args:
        count: how many, at least 1.
        seed: a non-negative integer; equal seeds give equal factors.
        correlation: makes an unbalanced set: Pearson's correlation between smiling and having
            `"glasses"` or a `"beard"`, both as 0 or 1. The shares of each stay what they are, so
            the strongest possible correlation is 0.81. With `{"glasses": 0.6}`, 70 % of those who
            smile and 11 % of the others wear glasses. No other factor changes.
        nuisance: from 0 to 1, how much of its range each factor of `NUISANCE` keeps: at 0 all
            faces are seen in the way of `CALM`, as in passport photographs. Nothing else changes.

    Returns:
        A dict from each name in `FACTORS` to float32 `(count,)`.

    Raises:
        ValueError: if an argument is invalid.
    """
    whole("count", count, 1)
    number("nuisance", nuisance, 0, 1)
    correlation = dict(correlation or {})
    for name, strength in correlation.items():
        share = SHARES.get(name)
        if share is None or not abs(strength) <= np.sqrt(share / (1 - share)):
            raise ValueError(
                f"`correlation` must be that of {' or '.join(SHARES)}, and possible with their "
                f"shares {SHARES}. Received: correlation={correlation}"
            )
    random = np.random.default_rng(seed)
    factors = {}
    for name, (low, high) in FACTORS.items():  # a bell over the whole range, no heap at its ends
        bell = random.beta(2.5, 2.5, count)
        factors[name] = low + (high - low) * bell
    smiling = random.random(count) < 0.5
    # The further from the threshold the likelier: few smiles are on the edge, none is missing.
    factors["smile"] = np.where(
        smiling,
        SMILING + (1 - SMILING) * random.beta(2.0, 1.6, count),
        -1 + (1 + SMILING) * random.beta(2.6, 1.6, count),
    )
    for name, share in SHARES.items():
        spread = np.sqrt(share * (1 - share) * 0.25)
        joint = correlation.get(name, 0.0) * spread  # covariance of two Bernoulli variables
        has = random.random(count) < share + np.where(smiling, 2, -2) * joint
        amount = random.uniform(0.5, 1, count) if name == "beard" else np.ones(count)
        factors[name] = np.where(has, amount, 0.0)
    factors["skin_tone"] = random.beta(2.2, 1.5, count)
    factors["hair_color"] = random.beta(1.1, 2.2, count)
    factors["hair_length"] = random.random(count)
    factors["beard_style"] = random.random(count)
    factors["speech"] = np.where(
        random.random(count) < 0.55, 0.12 * random.random(count), random.beta(1.2, 1.5, count)
    )
    factors["background"] = random.random(count)
    factors["light_strength"] = random.beta(1.8, 1.8, count)
    factors["softness"] = random.beta(1.3, 1.6, count)
    if nuisance != 1:
        for name, calm in CALM.items():
            factors[name] = calm + nuisance * (factors[name] - calm)
    return {name: factors[name].astype(np.float32) for name in FACTORS}


def render(factors: Mapping[str, ArrayLike], size: int = SIZE) -> np.ndarray:
    """Draws the faces that the factors describe.

    Args:
        factors: a dict from every name in `FACTORS` to numbers in its range, `(n,)` or one for all.
        size: height and width of the images, at least 8. A larger image shows the same face.

    Returns:
        float32 in [0, 1], `(n, size, size, 1)`.

    Raises:
        ValueError: if a name is missing or unknown, or a number out of range.
    """
    whole("size", size, 8)
    checked = _checked(factors)
    count = len(checked["smile"])
    images = np.empty((count, size, size, 1), np.float32)
    for begin in range(0, count, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        few = {name: values[part, None, None] for name, values in checked.items()}
        images[part, :, :, 0] = draw(few, size)
    return images


def labels(factors: Mapping[str, ArrayLike]) -> np.ndarray:
    """1 where the smile is at least `SMILING`, else 0: int64 `(n,)`."""
    return (np.asarray(factors["smile"]) >= np.float32(SMILING)).astype(np.int64)


def _checked(factors: Mapping[str, ArrayLike]) -> Factors:
    if set(factors) != set(FACTORS):
        missing, unknown = set(FACTORS) - set(factors), set(factors) - set(FACTORS)
        raise ValueError(
            "`factors` must have the names of `faces.FACTORS`. "
            f"Received: missing={sorted(missing)}, unknown={sorted(unknown)}"
        )
    values = [np.asarray(factors[name], np.float32) for name in FACTORS]
    try:
        _, *values = np.broadcast_arrays(np.zeros(1), *values)
        alike = values[0].ndim == 1
    except ValueError:
        alike = False
    if not alike:
        shapes = {name: np.shape(value) for name, value in factors.items()}
        raise ValueError(f"`factors` must be (n,) or single numbers. Received: shapes={shapes}")
    checked = dict(zip(FACTORS, values, strict=True))
    for name, (low, high) in FACTORS.items():
        bad = ~((checked[name] >= low) & (checked[name] <= high))  # NaN is bad as well
        if bad.any():
            raise ValueError(
                f"`{name}` must be in [{low:g}, {high:g}]. Received: {name}={checked[name][bad][0]}"
            )
    return checked
