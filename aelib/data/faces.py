"""`faces`: portraits drawn by a program, every one with the factors that it was drawn from.

Nothing is downloaded and no photograph is used. A face is a function of its factors: what a
person can change (`ATTRIBUTES`), who it is (`IDENTITY`) and how it is seen (`NUISANCE`). Change
one and render again, and "the same person, smiling" has an exact answer:

    factors = faces.sample(8, seed=0)
    plain, smiling = faces.render(factors), faces.render(factors | {"smile": np.ones(8)})

How it is drawn: a pixel is turned back into a place on the face, through position, size, tilt, and
the head's yaw and nod, the head being an ellipsoid with a jaw. Nose, lips, cheeks and folds are
smooth bumps on it; the slope of all of them together tilts the surface, and one lamp lights it.
Eyes, mouth, brows, hair and glasses are signed distances, softened over one pixel, so that there
are no jagged edges at any size.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from aelib.data import _store

TRAIN, TEST = 9_000, 1_000  # `load` cuts the validation images off the 9,000
SMILING = 0.3  # the label is 1 from this smile on
SIZE = 64
_CHUNK = 8  # images drawn together: their arrays stay in the processor's cache
_SEED = 0

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
        few = {name: value[part] for name, value in self.factors.items()}
        return np.rint(255 * render(few, self.size)).astype(np.uint8)


def read(size: int | None = None, limit: int | None = None) -> tuple:
    """`x_train, y_train, x_test, y_test` and the factors of both.

    The images are uint8, drawn once and kept where that is possible; with a `limit` and nothing
    kept, only those are drawn that are asked for.
    """
    size = size or SIZE
    factors = sample(TRAIN + TEST, seed=_SEED)
    train, test = ({name: x[part] for name, x in factors.items()} for part in _parts())
    path = _store.own_folder() / ("faces.npz" if size == SIZE else f"faces-{size}.npz")
    kept = _kept(path)
    if kept is None:
        drawn = _Drawn(train, size), _Drawn(test, size)
        kept = drawn if limit is not None else _keep(path, drawn)
    return kept[0], labels(train), kept[1], labels(test), train, test


def _parts() -> tuple[slice, slice]:
    return slice(0, TRAIN), slice(TRAIN, TRAIN + TEST)


def _keep(path: Path, drawn: tuple[_Drawn, _Drawn]) -> tuple[np.ndarray, np.ndarray]:
    images = None
    try:
        with _store.workshop(path.stem) as half_made:
            images = _kept(path)  # another process was faster
            if images is None:
                images = drawn[0][:], drawn[1][:]
                np.savez(half_made / path.name, *images, recipe=_recipe())
                os.replace(half_made / path.name, path)
            return images
    except OSError:
        return images or (drawn[0][:], drawn[1][:])


def _kept(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """What an earlier run has kept, if it is whole and was drawn by this very code."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if file["recipe"] == _recipe():
                return file["arr_0"], file["arr_1"]
    except Exception:  # whatever is wrong with the file, drawing the faces again is the cure
        return None
    return None


def _recipe() -> str:
    """SHA-256 of the code that draws: a kept file of another version is not used."""
    settings = f"{TRAIN} {TEST} {_SEED}".encode()
    return hashlib.sha256(Path(__file__).read_bytes() + settings).hexdigest()


def sample(count: int, *, seed: int, correlation: dict[str, float] | None = None) -> Factors:
    """Draws the factors of `count` people, each factor independent of the others.

    Args:
        count: how many, at least 1.
        seed: whole number; equal seeds give equal factors.
        correlation: for an unbalanced set: Pearson's correlation between smiling and having
            `"glasses"` or a `"beard"`, as yes or no. The shares stay what they are, so that the
            strongest possible is 0.81. `{"glasses": 0.6}`: 70 % of those who smile and 11 % of
            the others wear glasses. Everything but that one factor is the same as without.

    Returns:
        a dict from each name in `FACTORS` to float32 `(count,)`.
    """
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"`count` is at least 1. Received: count={count!r}")
    correlation = dict(correlation or {})
    for name, strength in correlation.items():
        if name not in SHARES:
            raise ValueError(
                f"The smile can go with {' or '.join(SHARES)}. Received: correlation={correlation}"
            )
        share = SHARES[name]
        if not abs(strength) <= np.sqrt(min(share, 1 - share) / max(share, 1 - share)):
            raise ValueError(
                f"With a share of {share} this correlation cannot be. "
                f"Received: correlation={correlation}"
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
        joint = correlation.get(name, 0.0) * spread  # covariance of the two yes-or-no variables
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
    return {name: factors[name].astype(np.float32) for name in FACTORS}


def render(factors: Factors, size: int = SIZE) -> np.ndarray:
    """Draws the faces that the factors describe.

    Args:
        factors: a dict from every name in `FACTORS` to numbers `(n,)` in its range, or one number
            for all. The order of its keys does not matter.
        size: height and width of the images, at least 8. A larger one shows the same face.

    Returns:
        float32 in [0, 1], `(n, size, size, 1)`.

    Raises:
        ValueError: for names that are missing or unknown, and numbers out of range.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 8:
        raise ValueError(f"`size` is at least 8. Received: size={size!r}")
    factors = _checked(factors)
    count = len(factors["smile"])
    images = np.empty((count, size, size, 1), np.float32)
    for begin in range(0, count, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        few = {name: value[part, None, None] for name, value in factors.items()}
        images[part, :, :, 0] = _Drawing(few, size).image()
    return images


def labels(factors: Factors) -> np.ndarray:
    """1 where the smile is at least `SMILING`, int64 `(n,)`."""
    return (np.asarray(factors["smile"]) >= np.float32(SMILING)).astype(np.int64)


def _checked(factors: Factors) -> Factors:
    if set(factors) != set(FACTORS):
        missing, unknown = set(FACTORS) - set(factors), set(factors) - set(FACTORS)
        raise ValueError(
            f"Factors are those of `faces.FACTORS`. Received: missing={sorted(missing)}, "
            f"unknown={sorted(unknown)}"
        )
    values = [np.asarray(factors[name], np.float32) for name in FACTORS]
    try:
        values = np.broadcast_arrays(*values)
    except ValueError:
        values = [np.empty((0, 0))]
    if values[0].ndim > 1:
        shapes = {name: np.shape(value) for name, value in factors.items()}
        raise ValueError(f"Factors are (n,) or one number. Received: shapes={shapes}")
    checked = dict(zip(FACTORS, map(np.atleast_1d, values), strict=True))
    for name, (low, high) in FACTORS.items():
        bad = ~((checked[name] >= low) & (checked[name] <= high))  # NaN is bad as well
        if bad.any():
            raise ValueError(
                f"`{name}` is between {low} and {high}. Received: {name}={checked[name][bad][0]}"
            )
    return checked


def _step(x: np.ndarray) -> np.ndarray:
    """0 below -1/2, 1 above 1/2, a smooth rise between."""
    x = np.clip(x + np.float32(0.5), 0, 1)
    return x * x * (3 - 2 * x)


def _ramp(x: np.ndarray, begin, end) -> np.ndarray:
    """0 at `begin`, 1 at `end`, a smooth rise between."""
    x = np.clip((x - begin) / (end - begin), 0, 1)
    return x * x * (3 - 2 * x)


def _bell(x: np.ndarray, width) -> np.ndarray:
    x = x / width
    return np.exp(-x * x)


def _bump(x, width, y, height) -> np.ndarray:
    x, y = x / width, y / height
    return np.exp(-x * x - y * y)


class _Drawing:
    """A few faces drawn together, `(n, size, size)`.

    A length of 1 is half the width of an average face. `x`, `y` are in the picture, from the middle
    of the face, right and down; `a`, `b` are on the face, so that the eyes of every pose are at the
    same place; `side` is |a|, where both halves are drawn at once.
    """

    def __init__(self, factors: Factors, size: int):
        self.f = factors
        self.size = size
        self._place()

    def image(self) -> np.ndarray:
        f = self.f
        self._features()
        skin = self._skin()
        picture = self._backdrop()
        face = self._light(skin)
        picture = picture + (face - picture) * self.head
        picture = self._hair(picture)
        picture = self._glasses(picture)
        picture = self._developed(picture)
        return self._blurred(picture, f["softness"])

    def _place(self) -> None:
        f, size = self.f, self.size
        unit = 30 * (1 + 0.125 * f["zoom"])  # in 64ths of the picture
        middle = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(64 / size)
        x = (middle[None, None, :] - 32 - 3 * f["shift_x"]) / unit
        y = (middle[None, :, None] - 31.5 - 3 * f["shift_y"]) / unit
        self.pixel = np.float32(64 / size) / unit
        self.soft = 1.3 * self.pixel
        angle = np.float32(np.radians(12)) * f["tilt"]
        c, s = np.cos(angle), np.sin(angle)
        self.x, self.y = x * c + y * s, y * c - x * s
        yaw = np.float32(np.radians(20)) * f["yaw"]
        nod = np.float32(np.radians(15)) * f["nod"]
        self.turn = np.sin(yaw)
        self.drop = np.sin(nod)

        width = 1 + 0.09 * f["face_width"]
        jaw = _ramp(self.y, -0.1, 1.35)
        narrow = (0.15 - 0.11 * f["face_jaw"]) * jaw
        width = width * (1 - narrow) * (1 + 0.03 * f["face_cheeks"] * _bell(self.y - 0.25, 0.5))
        height = np.where(self.y < -0.1, np.float32(1.5), np.float32(1.38))
        self.across = (self.x - 0.13 * self.turn * jaw) / width
        self.down = (self.y + 0.1) / height
        # A superellipse: squarer than an ellipse, as jaws are.
        across2, down2 = self.across * self.across, self.down * self.down
        radius2 = np.sqrt(across2 * across2 + down2 * down2 + 1.35 * across2 * down2)
        self.edge = (np.sqrt(radius2) - 1) * width
        self.depth = np.sqrt(np.maximum(1 - radius2, np.float32(0.01)))
        self.a = self.across * np.cos(yaw) - self.depth * self.turn
        self.a *= 1 + 0.09 * f["face_width"]
        self.b = self.y - (self.depth - 0.75) * self.drop
        self.side = np.abs(self.a)
        self.head = 1 - _step(self.edge / self.soft)

    def _features(self) -> None:
        """Where things are on the face, once for all that depends on them."""
        f = self.f
        smile = f["smile"]
        self.glad, self.sad = np.maximum(smile, 0), np.maximum(-smile, 0)
        self.eye_x = 0.52 + 0.045 * f["eye_spacing"]
        self.eye_y = np.float32(-0.5)
        self.nose_y = 0.27 + 0.06 * f["nose_length"]
        self.mouth_y = 0.645 + 0.03 * f["nose_length"]
        self.mouth_w = (0.37 + 0.045 * f["mouth_width"]) * (
            1 + 0.36 * self.glad - 0.05 * self.sad - 0.12 * f["speech"] * (1 - self.glad)
        )

    def _skin(self):
        """Height of the surface and colour of what covers it."""
        f, a, b, side = self.f, self.a, self.b, self.side
        glad, sad, age = self.glad, self.sad, f["skin_age"]
        nose_a = a - 0.17 * self.turn * _bump(a, 0.3, b - self.nose_y + 0.1, 0.35)
        wing = 0.155 + 0.035 * f["nose_width"] + 0.02 * glad
        ny = self.nose_y
        bridge = 0.10 + 0.035 * f["nose_bridge"]

        height = (
            bridge
            * _bell(nose_a, 0.13 + 0.025 * f["nose_width"] + 0.04 * _ramp(b, -0.6, ny))
            * (_ramp(b, -0.85, ny - 0.1) * (1 - _ramp(b, ny - 0.14, ny + 0.1)))
        )
        tip = _bump(nose_a, 0.17 + 0.025 * f["nose_width"], b - ny + 0.1, 0.15)
        height += 0.085 * tip
        wings = _bump(np.abs(nose_a) - wing, 0.085, b - ny + 0.05, 0.1)
        height += 0.04 * wings
        socket = _bump(side - self.eye_x + 0.03, 0.27, b - self.eye_y + 0.02, 0.17)
        height -= 0.085 * socket
        height += 0.05 * _bump(side - self.eye_x, 0.3, b - self.eye_y + 0.27, 0.1)
        # The cheek: rises and grows round with a smile.
        cheek_y = 0.14 - 0.1 * glad + 0.04 * sad
        height += (0.055 + 0.02 * f["face_cheeks"] + 0.085 * glad) * _bump(
            side - 0.56 - 0.03 * glad, 0.25, b - cheek_y, 0.22
        )
        # The fold from the wing of the nose around the corner of the mouth.
        corner = self.mouth_w
        path = 0.2 + (corner - 0.05 + 0.1 * glad) * _ramp(b, ny - 0.18, self.mouth_y + 0.12) ** 0.8
        along = _ramp(b, ny - 0.2, ny + 0.02) * (
            1 - _ramp(b, self.mouth_y - 0.1, self.mouth_y + 0.13 + 0.1 * sad)
        )
        crease = _bell(side - path, 0.08) * along
        fold = 0.12 + 0.3 * age + glad * (0.3 + 0.2 * age) + 0.15 * sad
        height -= 0.028 * fold * crease
        # Inside the fold the upper lip is pulled flat, outside the cheek bulges.
        height += 0.03 * glad * _bell(side - path - 0.13, 0.12) * along
        chin_y = 1.1 + 0.03 * glad
        height += 0.07 * _bump(a, 0.26, b - chin_y, 0.15)
        height -= 0.035 * _bump(a, 0.3, b - (self.mouth_y + 0.25), 0.08)
        height += 0.035 * _bump(a, 0.36 + 0.1 * glad, b - self.mouth_y, 0.2)
        self.height = height

        tone = 0.34 + 0.42 * f["skin_tone"]
        shade = 1 - (0.10 + 0.16 * glad + 0.1 * age * (0.3 + fold)) * crease * np.minimum(fold, 1)
        shade *= 1 - 0.27 * glad * _bump(side - 0.54 + 0.3 * (b - 0.4), 0.17, b - 0.42, 0.25)
        shade *= 1 - (0.24 + 0.1 * age) * socket
        shade *= 1 - 0.14 * _bump(nose_a, 0.2, b - ny - 0.07, 0.055)  # shadow of the nose
        nostril = _bump(np.abs(nose_a) - 0.5 * wing - 0.015, 0.055, b - ny - 0.005, 0.032)
        shade *= 1 - 0.55 * nostril
        shade *= 1 - 0.22 * _bump(np.abs(nose_a) - wing - 0.05, 0.035, b - ny + 0.03, 0.07)
        # Lines under the eyes, more with a smile and with age.
        under = b - self.eye_y - 0.15 + 0.25 * (side - self.eye_x) ** 2
        shade *= 1 - (0.05 + 0.12 * age + 0.1 * glad) * _bell(under, 0.03) * _bell(
            side - self.eye_x, 0.22
        )
        shade *= 1 - 0.08 * age * _bell(b + 1.0 - 0.1 * a * a, 0.02) * _bell(a, 0.5)
        shade *= 1 + 0.04 * _bump(side - 0.55, 0.3, b - cheek_y, 0.25)
        skin = tone * shade
        self.tone = tone
        skin = self._beard(skin)
        skin = self._mouth(skin)
        skin = self._brows(skin)
        return self._eyes(skin)

    def _beard(self, skin):
        f, a, b, side = self.f, self.a, self.b, self.side
        amount = f["beard"]
        if not amount.any():
            return skin
        my, ny = self.mouth_y, self.nose_y
        border = 0.83 - 0.75 * _ramp(side, 0.38, 0.95)
        jaw = _ramp(b - border, -0.06, 0.14)
        upper = my - 0.09 - 0.05 * self.glad
        # It hangs down at its ends; a smile lifts them.
        middle = 0.5 * (ny + upper) + 0.06 + (0.55 - 0.3 * self.glad) * side * side
        moustache = (
            _bump(side, 0.42 + 0.08 * self.glad, b - middle, 0.1 - 0.025 * f["beard_style"]) ** 0.8
        )
        chin = _bump(a, 0.2, b - my - 0.3, 0.13)
        jaw = jaw * _ramp(f["beard_style"], 0.15, 0.6)
        chin = chin * _ramp(f["beard_style"], 0.0, 0.35)
        cover = np.maximum(np.maximum(jaw, moustache), chin)
        grain = 0.96 + 0.04 * np.sin(23 * a + 31 * b) * np.sin(29 * b - 19 * a + 2)
        cover = cover * grain * np.minimum(1.6 * amount, 1) * (0.35 + 0.55 * amount)
        color = (0.05 + 0.5 * f["hair_color"]) * 0.9 + 0.05
        self.height += 0.03 * amount * cover
        return skin + (color - skin) * cover

    def _mouth(self, skin):
        f, a, b = self.f, self.a, self.b
        glad, sad, speech = self.glad, self.sad, f["speech"]
        low = slice(self.size * 9 // 20, None)
        a, b, height = a[:, low], b[:, low], self.height[:, low]
        u = a / self.mouth_w
        inside = np.maximum(1 - u * u, 0)
        arch = np.sqrt(inside)
        bend = -0.155 * glad + 0.14 * sad  # of the corners, down is positive
        line = self.mouth_y + 0.02 * sad + bend * (u * u - 0.35)
        wide = _ramp(glad, 0.3, 1.0)
        gap = 0.26 * wide + 0.17 * speech * (1 - 0.6 * wide)
        full = 1 + 0.35 * f["lip_fullness"]
        upper_lip = (0.082 * full) * (1 - 0.38 * glad)
        lower_lip = (0.105 * full) * (1 - 0.38 * glad)
        inner_top = line - (0.06 * wide + 0.25 * gap) * inside
        inner_end = line + (0.75 * gap) * inside
        bow = 1 - 0.22 * _bell(a, 0.05) * (1 - 0.6 * glad)
        top = inner_top - upper_lip * (0.35 * arch + 0.65 * inside) * bow
        end = inner_end + lower_lip * (0.25 * arch + 0.75 * inside)

        soft = self.soft
        ends = _step((0.99 - np.abs(u)) * self.mouth_w / soft)
        lips = _step((b - top) / soft) * _step((end - b) / soft) * ends
        opening = _step((b - inner_top) / soft + 0.2) * _step((inner_end - b) / soft + 0.2) * ends
        opening = opening * _ramp(gap, 0.01, 0.06)
        shut = _bell(b - line, 0.028) * _step((1.04 - np.abs(u)) * self.mouth_w / soft)

        is_upper = _step((line - b) / (2 * soft))
        color = self.tone * (0.94 - 0.34 * f["lip_color"] - 0.17 * is_upper) + 0.01
        skin = skin.copy()
        area = skin[:, low]
        area += (color - area) * lips * 0.9
        area *= 1 - 0.45 * shut * (1 - opening)
        dark = 0.06 + (0.06 + 0.18 * wide) * self.tone
        bright = 0.8 * (1 - 0.9 * u * u)
        # The upper teeth: nearly all that a smile opens, little of what speaking opens.
        shown = np.maximum(_ramp(glad, 0.25, 0.45), 0.5 * speech)
        teeth_end = inner_top + (0.03 + 0.2 * wide + 0.03 * speech) * (0.3 + 0.7 * inside)
        teeth = _step((teeth_end - b) / (2 * soft)) * shown
        teeth = teeth * _step((0.8 - np.abs(u)) / 0.3)
        interior = dark + (bright - dark) * teeth
        area += (interior - area) * opening
        corner = _bump(np.abs(u) - 1.02, 0.1, b - (self.mouth_y + bend * 0.65), 0.06)
        area *= 1 - (0.28 + 0.2 * glad + 0.12 * sad) * corner
        height += 0.028 * _bump(u, 0.7, b - (line + end) / 2, 0.07) * (1 - opening)
        height += 0.016 * _bump(u, 0.7, b - (line + top) / 2, 0.05) * (1 - opening)
        area *= 1 - 0.12 * _bell(b - end - 0.05, 0.045) * _bell(u, 0.75)
        self.teeth = np.zeros_like(skin)
        self.teeth[:, low] = opening
        return skin

    def _brows(self, skin):
        f = self.f
        high = slice(0, self.size * 13 // 20)
        b, side = self.b[:, high], self.side[:, high]
        u = (side - self.eye_x - 0.01) / 0.29
        up = 0.035 * f["brow_height"]
        # Sad brows rise in the middle; glad ones come down a little.
        line = self.eye_y - 0.215 - up + 0.045 * (u - 0.15) ** 2 * 1.6 + 0.02 * self.glad
        line = line + self.sad * 0.07 * (u + 0.2)
        thick = (0.05 + 0.02 * f["brow_weight"]) * (1 - 0.35 * _ramp(u, -0.2, 1.0))
        ends = _ramp(u, -1.15, -0.8) * (1 - _ramp(u, 0.75, 1.15))
        weight = (0.62 + 0.25 * f["brow_weight"]) * (1 - 0.45 * f["hair_color"])
        cover = weight * ends * _bell(b - line, thick)
        skin[:, high] += ((0.06 + 0.25 * f["hair_color"]) - skin[:, high]) * cover
        return skin

    def _eyes(self, skin):
        f = self.f
        high = slice(0, self.size * 13 // 20)
        a, b, side = self.a[:, high], self.b[:, high], self.side[:, high]
        glad, sad, soft = self.glad, self.sad, self.soft
        half = 0.175 + 0.018 * f["eye_size"]
        u = (side - self.eye_x) / half
        v = b - self.eye_y + 0.03 * f["eye_slant"] * u + 0.012 * sad * u
        arch = np.maximum(1 - u * u, 0)
        size = 1 + 0.22 * f["eye_size"]
        top = -(0.082 * size) * (1 - 0.22 * glad - 0.22 * sad) * arch + 0.01 * glad
        end = (0.058 * size) * (1 - 0.7 * glad) * arch
        eye = _step((v - top) / soft) * _step((end - v) / soft) * _step((1 - np.abs(u)) * 4)
        look = np.sign(a) * (0.045 * f["gaze"] + 0.03 * f["yaw"])
        iris_x, iris_y = u * half - look, v + 0.012
        distance = np.sqrt(iris_x * iris_x + iris_y * iris_y)
        iris = _step((0.078 - distance) / soft)
        pupil = _step((0.034 - distance) / soft)
        white = (0.48 + 0.22 * self.tone) * (1 - 0.25 * u * u)
        white = white * (1 - 0.45 * _bell(v - top, 0.05))
        ring = 0.07 + 0.33 * f["eye_color"] * (1 - 0.5 * _ramp(distance, 0.045, 0.08))
        color = white + (ring - white) * iris
        color = color * (1 - 0.85 * pupil * iris)
        area = skin[:, high]
        lid = _bump(u, 1.0, v - top + 0.055 * size, 0.03)
        area *= 1 - 0.16 * lid
        area += (color - area) * eye
        lash = _bell(v - top, 0.024) * _ramp(np.abs(u), 1.12, 0.9)
        area *= 1 - 0.62 * lash
        area *= 1 - 0.2 * _bell(v - end, 0.02) * _ramp(np.abs(u), 1.1, 0.8)
        glint = _bump(
            np.sign(a) * iris_x - 0.028 * np.sign(f["light_side"]), 0.022, iris_y + 0.03, 0.022
        )
        self.glint = np.zeros_like(skin)
        self.glint[:, high] = 0.6 * glint * eye
        self.eyes = np.zeros_like(skin)
        self.eyes[:, high] = eye
        return skin

    def _light(self, skin):
        f = self.f
        h, step = self.height, 2 * self.pixel
        slope_x, slope_y = np.empty_like(h), np.empty_like(h)
        slope_x[:, :, 1:-1] = h[:, :, 2:] - h[:, :, :-2]
        slope_x[:, :, 0], slope_x[:, :, -1] = slope_x[:, :, 1], slope_x[:, :, -2]
        slope_y[:, 1:-1] = h[:, 2:] - h[:, :-2]
        slope_y[:, 0], slope_y[:, -1] = slope_y[:, 1], slope_y[:, -2]
        normal_x = 0.8 * self.across - slope_x / step
        normal_y = 0.75 * self.down - slope_y / step
        normal_z = 0.25 + 0.85 * self.depth
        length = np.sqrt(normal_x * normal_x + normal_y * normal_y + normal_z * normal_z)
        light_x, light_y = 0.75 * f["light_side"], -0.38 - 0.42 * f["light_height"]
        light_z = np.float32(0.85)
        size = np.sqrt(light_x * light_x + light_y * light_y + light_z * light_z)
        lambert = (normal_x * light_x + normal_y * light_y + normal_z * light_z) / (length * size)
        wrapped = np.clip(0.25 + 0.75 * lambert, 0, None)
        strength = 0.35 + 0.55 * f["light_strength"]
        lit = (1 - strength) * 0.78 + strength * 1.12 * wrapped * (0.35 + 0.65 * wrapped)
        rim = 0.75 + 0.25 * np.minimum(1, 1.8 * self.depth)
        shine = np.maximum(lambert, 0) ** 2
        shine = shine * shine
        shine = shine * shine * shine
        covered = np.maximum(self.teeth, self.eyes)
        lit = lit + (0.8 - lit) * 0.45 * covered
        face = skin * lit * rim + 0.14 * strength * shine * (1 - covered)
        return face + self.glint

    def _backdrop(self):
        f = self.f
        level = 0.08 + 0.75 * f["background"]
        back = level * (1 + 0.22 * f["background_slope"] * self.x - 0.08 * self.y)
        neck = self.tone * (0.36 + 0.25 * self.x * f["light_side"])
        inside = _step((0.66 + 0.06 * f["face_jaw"] - np.abs(self.x - 0.1 * self.turn)) / 0.08)
        inside = inside * _ramp(self.y, 0.5, 0.7)
        back = back + (neck - back) * inside
        across = np.abs(self.x + 0.06 * self.turn) - 1.0 - 0.07 * f["face_width"]
        down = (self.y + 0.14 - 0.15 * self.drop) / 0.3
        ear = _step((1 - np.sqrt((across / 0.13) ** 2 + down * down)) * 0.13 / self.soft)
        lit = 0.55 + 0.2 * f["light_side"] * np.sign(self.x)
        return back + (self.tone * lit * (0.75 + 2 * across) - back) * ear

    def _hair(self, picture):
        f, x, y = self.f, self.x, self.y
        color = 0.05 + 0.55 * f["hair_color"] ** 1.3
        length = f["hair_length"]
        # Outer contour: an ellipse around the skull, then two curtains beside the face.
        wave = 0.05 * np.sin(4 * y + 7 * f["hair_part"]) * length
        volume = 0.05 + 0.2 * length + wave
        skull = (np.minimum(y, -0.15) + 0.15) / (1.5 + 0.08 * length)
        outer = np.sqrt((x / (1 + volume)) ** 2 + skull * skull) - 1
        end = -0.3 + 2.2 * _ramp(length, 0.25, 0.85)
        outer = (1 - _step(outer / 0.1)) * (1 - _ramp(y, end - 0.2, end + 0.3))
        # The hairline: high in the middle, down along the temples.
        part = 0.3 * f["hair_part"]
        across = (self.a - part) / 0.95
        line = -1.12 + 0.27 * f["hair_line"] + 0.62 * across**4 - 0.05 * np.cos(3.2 * across)
        strand = np.sin(11 * self.a + 5 * np.sin(3 * self.a + 6 * f["hair_part"])) * 0.03
        above = _step((line + strand - self.b) / 0.16)
        temple = _step((self.side - 0.99 + 0.1 * _ramp(length, 0.3, 0.9)) / 0.09)
        outside = _step((self.edge + 0.02) / 0.07)
        cover = np.maximum(np.maximum(above, temple * _ramp(length, 0.1, 0.5)), outside) * outer
        flow = (self.a - part) * (2.2 - 0.5 * y) + 0.6 * np.sin(2 * y + 3 * f["hair_part"])
        locks = 0.88 + 0.10 * np.sin(5.3 * flow + 1) * np.sin(2.1 * flow + y)
        locks = locks + 0.05 * np.sin(13 * flow + 2 * np.sin(3 * y))
        sheen = 0.5 * _bell(y + 1.05 - 0.25 * x * x - 0.2 * f["light_height"], 0.22)
        sheen = sheen + 0.25 * f["light_side"] * x
        strength = 0.35 + 0.55 * f["light_strength"]
        hair = color * locks * (0.75 + strength * sheen) + 0.05 * sheen
        # Hair throws a soft shadow on the forehead.
        shadow = _step((line + 0.12 - self.b) / 0.3) * self.head
        picture = picture * (1 - 0.2 * shadow)
        return picture + (hair - picture) * cover

    def _glasses(self, picture):
        worn = self.f["glasses"]
        if not worn.any():
            return picture
        high = slice(0, self.size * 13 // 20)
        a, b, side = self.a[:, high], self.b[:, high], self.side[:, high]
        area = picture[:, high].copy()
        x, y = (side - self.eye_x) / 0.3, (b - self.eye_y - 0.03) / 0.225
        radius = np.sqrt(np.sqrt(x**4 + y**4 + x * x * y * y))
        ring = np.abs(radius - 1) * 0.26
        rim = 1 - _step((ring - 0.018) / self.soft)
        bridge = _bell(b - self.eye_y + 0.06 - 0.2 * a * a, 0.028) * _step(
            (self.eye_x - 0.28 - side) / 0.06
        )
        temple = _bell(b - self.eye_y + 0.05, 0.028) * _step((side - self.eye_x - 0.28) / 0.06)
        frame = np.maximum(rim, np.maximum(bridge, temple)) * self.head[:, high]
        lens = (1 - _step((radius - 0.93) / 0.1)) * self.head[:, high]
        glare = _bell(x * np.sign(a) * 0.7 + y - 0.15 + 0.5, 0.22) * lens
        area *= 1 - 0.1 * worn * lens
        area += 0.10 * worn * glare
        area += (0.09 - area) * 0.85 * worn * frame
        picture = picture.copy()
        picture[:, high] = area
        return picture

    def _developed(self, picture):
        """Exposure, and the shoulder of a film: no clipped whites."""
        gain = np.exp(0.3 * self.f["exposure"])
        x = np.maximum(picture * gain * np.float32(1.35), 0)
        return 1 - np.exp(-x * (1 + 0.35 * x))

    def _blurred(self, x, softness):
        """Part of the sharp picture, part of its average over three pixels.

        That widens edges by a variance in pixels, which is four times as large at twice the size.
        """
        variance = (self.size / SIZE) ** 2
        times = int(np.ceil(variance))
        for _ in range(times):
            y = x.copy()
            y[:, 1:-1] = 0.5 * x[:, 1:-1] + 0.25 * (x[:, 2:] + x[:, :-2])
            z = y.copy()
            z[:, :, 1:-1] = 0.5 * y[:, :, 1:-1] + 0.25 * (y[:, :, 2:] + y[:, :, :-2])
            x = x + (z - x) * softness * np.float32(variance / times)
        return np.clip(x, 0, 1)
