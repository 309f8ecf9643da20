"""The painter of `faces`.

Each part of a face is a function of its geometry alone and returns its layers; `draw` paints them.
Nose, lips, cheeks and folds are smooth bumps on the skin; the slope of all of them together tilts
the surface, and one lamp lights it. Eyes, mouth, brows, hair and glasses are signed distances,
softened over one pixel, so that no edge is jagged at any size.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from aelib.data._geometry import Face, bell, bump, ramp, step

SIZE = 64


class Layer(NamedTuple):
    """What a part adds to `rows` of a picture."""

    cover: tuple[
        Any, ...
    ] = ()  # factors, multiplied in turn: how much `colour` hides what is below
    colour: Any = 0.0  # gray level
    shade: Any = 1.0  # factor on what is below, before it is covered
    light: Any = None  # added to what is below; to the skin, after the lamp has lit it
    height: Any = None  # how much the skin is raised
    wet: bool = False  # whether the lamp makes no shine, and less shadow, where it covers
    rows: slice = slice(None)


def draw(factors: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """Draws a few faces, float32 `(n, size, size)` in [0, 1], from factors `(n, 1, 1)`."""
    face = Face(factors, size)
    skin = _skin(face)
    picture, height, wet = skin.colour, skin.height, np.zeros_like(skin.colour)
    layers = [*_beard(face), *_mouth(face), *_brows(face), *_eyes(face)]
    _paint(picture, (layer._replace(light=None) for layer in layers))
    for layer in layers:
        if layer.height is not None:
            height[:, layer.rows] += layer.height
        if layer.wet:
            wet[:, layer.rows] = np.maximum(wet[:, layer.rows], layer.cover[0])
    lit = _lit(face, picture, height, wet)
    _paint(lit, (Layer(light=one.light, rows=one.rows) for one in layers))

    picture = _background(face)
    head = Layer((face.head,), lit)
    _paint(picture, [_neck(face), _ear(face), head, _hair(face), *_glasses(face)])
    return _blurred(_developed(picture, factors["exposure"]), factors["softness"])


def _paint(picture: np.ndarray, layers: Iterable[Layer]) -> None:
    """Paints the layers over each other, in place."""
    for layer in layers:
        area = picture[:, layer.rows]
        area *= layer.shade
        if layer.light is not None:
            area += layer.light
        if layer.cover:
            change = layer.colour - area
            for factor in layer.cover:
                change *= factor
            area += change


def _skin(face: Face) -> Layer:
    """The bare surface, which all else is painted on."""
    f, a, b, side = face.f, face.a, face.b, face.side
    glad, sad, age = face.glad, face.sad, f["skin_age"]
    nose_a = a - 0.17 * face.turn * bump(a, 0.3, b - face.nose_y + 0.1, 0.35)
    wing = 0.155 + 0.035 * f["nose_width"] + 0.02 * glad
    ny = face.nose_y

    height = (
        (0.10 + 0.035 * f["nose_bridge"])
        * bell(nose_a, 0.13 + 0.025 * f["nose_width"] + 0.04 * ramp(b, -0.6, ny))
        * (ramp(b, -0.85, ny - 0.1) * (1 - ramp(b, ny - 0.14, ny + 0.1)))
    )
    height += 0.085 * bump(nose_a, 0.17 + 0.025 * f["nose_width"], b - ny + 0.1, 0.15)
    height += 0.04 * bump(np.abs(nose_a) - wing, 0.085, b - ny + 0.05, 0.1)
    socket = bump(side - face.eye_x + 0.03, 0.27, b - face.eye_y + 0.02, 0.17)
    height -= 0.085 * socket
    height += 0.05 * bump(side - face.eye_x, 0.3, b - face.eye_y + 0.27, 0.1)
    # The cheek: rises and grows round with a smile.
    cheek_y = 0.14 - 0.1 * glad + 0.04 * sad
    height += (0.055 + 0.02 * f["face_cheeks"] + 0.085 * glad) * bump(
        side - 0.56 - 0.03 * glad, 0.25, b - cheek_y, 0.22
    )
    # The fold from the wing of the nose around the corner of the mouth.
    path = 0.2 + (face.mouth_w - 0.05 + 0.1 * glad) * ramp(b, ny - 0.18, face.mouth_y + 0.12) ** 0.8
    along = ramp(b, ny - 0.2, ny + 0.02) * (
        1 - ramp(b, face.mouth_y - 0.1, face.mouth_y + 0.13 + 0.1 * sad)
    )
    crease = bell(side - path, 0.08) * along
    fold = 0.12 + 0.3 * age + glad * (0.3 + 0.2 * age) + 0.15 * sad
    height -= 0.028 * fold * crease
    # Inside the fold the upper lip is pulled flat, outside the cheek bulges.
    height += 0.03 * glad * bell(side - path - 0.13, 0.12) * along
    height += 0.07 * bump(a, 0.26, b - (1.1 + 0.03 * glad), 0.15)
    height -= 0.035 * bump(a, 0.3, b - (face.mouth_y + 0.25), 0.08)
    height += 0.035 * bump(a, 0.36 + 0.1 * glad, b - face.mouth_y, 0.2)

    shade = 1 - (0.10 + 0.16 * glad + 0.1 * age * (0.3 + fold)) * crease * np.minimum(fold, 1)
    shade *= 1 - 0.27 * glad * bump(side - 0.54 + 0.3 * (b - 0.4), 0.17, b - 0.42, 0.25)
    shade *= 1 - (0.24 + 0.1 * age) * socket
    shade *= 1 - 0.14 * bump(nose_a, 0.2, b - ny - 0.07, 0.055)  # shadow of the nose
    shade *= 1 - 0.55 * bump(np.abs(nose_a) - 0.5 * wing - 0.015, 0.055, b - ny - 0.005, 0.032)
    shade *= 1 - 0.22 * bump(np.abs(nose_a) - wing - 0.05, 0.035, b - ny + 0.03, 0.07)
    # Lines under the eyes, more with a smile and with age.
    under = b - face.eye_y - 0.15 + 0.25 * (side - face.eye_x) ** 2
    lines = 0.05 + 0.12 * age + 0.1 * glad
    shade *= 1 - lines * bell(under, 0.03) * bell(side - face.eye_x, 0.22)
    shade *= 1 - 0.08 * age * bell(b + 1.0 - 0.1 * a * a, 0.02) * bell(a, 0.5)
    shade *= 1 + 0.04 * bump(side - 0.55, 0.3, b - cheek_y, 0.25)
    return Layer(colour=face.tone * shade, height=height)


def _beard(face: Face) -> list[Layer]:
    f, a, b, side = face.f, face.a, face.b, face.side
    amount = f["beard"]
    if not amount.any():
        return []
    my, ny = face.mouth_y, face.nose_y
    border = 0.83 - 0.75 * ramp(side, 0.38, 0.95)
    jaw = ramp(b - border, -0.06, 0.14) * ramp(f["beard_style"], 0.15, 0.6)
    upper = my - 0.09 - 0.05 * face.glad
    # It hangs down at its ends; a smile lifts them.
    middle = 0.5 * (ny + upper) + 0.06 + (0.55 - 0.3 * face.glad) * side * side
    thick = 0.1 - 0.025 * f["beard_style"]
    moustache = bump(side, 0.42 + 0.08 * face.glad, b - middle, thick) ** 0.8
    chin = bump(a, 0.2, b - my - 0.3, 0.13) * ramp(f["beard_style"], 0.0, 0.35)
    cover = np.maximum(np.maximum(jaw, moustache), chin)
    grain = 0.96 + 0.04 * np.sin(23 * a + 31 * b) * np.sin(29 * b - 19 * a + 2)
    cover = cover * grain * np.minimum(1.6 * amount, 1) * (0.35 + 0.55 * amount)
    color = (0.05 + 0.5 * f["hair_color"]) * 0.9 + 0.05
    return [Layer((cover,), color, height=0.03 * amount * cover)]


def _mouth(face: Face) -> list[Layer]:
    f, rows = face.f, face.lower
    a, b = face.a[:, rows], face.b[:, rows]
    glad, sad, speech = face.glad, face.sad, f["speech"]
    u = a / face.mouth_w
    inside = np.maximum(1 - u * u, 0)
    arch = np.sqrt(inside)
    bend = -0.155 * glad + 0.14 * sad  # of the corners, down is positive
    line = face.mouth_y + 0.02 * sad + bend * (u * u - 0.35)
    wide = ramp(glad, 0.3, 1.0)
    gap = 0.26 * wide + 0.17 * speech * (1 - 0.6 * wide)
    full = 1 + 0.35 * f["lip_fullness"]
    upper_lip = (0.082 * full) * (1 - 0.38 * glad)
    lower_lip = (0.105 * full) * (1 - 0.38 * glad)
    inner_top = line - (0.06 * wide + 0.25 * gap) * inside
    inner_end = line + (0.75 * gap) * inside
    bow = 1 - 0.22 * bell(a, 0.05) * (1 - 0.6 * glad)
    top = inner_top - upper_lip * (0.35 * arch + 0.65 * inside) * bow
    end = inner_end + lower_lip * (0.25 * arch + 0.75 * inside)

    soft = face.soft
    ends = step((0.99 - np.abs(u)) * face.mouth_w / soft)
    lips = step((b - top) / soft) * step((end - b) / soft) * ends
    between = step((b - inner_top) / soft + 0.2) * step((inner_end - b) / soft + 0.2)
    opening = between * ends * ramp(gap, 0.01, 0.06)
    shut = bell(b - line, 0.028) * step((1.04 - np.abs(u)) * face.mouth_w / soft)

    is_upper = step((line - b) / (2 * soft))
    color = face.tone * (0.94 - 0.34 * f["lip_color"] - 0.17 * is_upper) + 0.01
    dark = 0.06 + (0.06 + 0.18 * wide) * face.tone
    bright = 0.8 * (1 - 0.9 * u * u)
    # The upper teeth: nearly all that a smile opens, little of what speaking opens.
    shown = np.maximum(ramp(glad, 0.25, 0.45), 0.5 * speech)
    teeth_end = inner_top + (0.03 + 0.2 * wide + 0.03 * speech) * (0.3 + 0.7 * inside)
    teeth = step((teeth_end - b) / (2 * soft)) * shown * step((0.8 - np.abs(u)) / 0.3)
    interior = dark + (bright - dark) * teeth
    seam = 1 - 0.45 * shut * (1 - opening)
    corner = bump(np.abs(u) - 1.02, 0.1, b - (face.mouth_y + bend * 0.65), 0.06)
    lower = 0.028 * bump(u, 0.7, b - (line + end) / 2, 0.07) * (1 - opening)
    upper = 0.016 * bump(u, 0.7, b - (line + top) / 2, 0.05) * (1 - opening)
    below = 1 - 0.12 * bell(b - end - 0.05, 0.045) * bell(u, 0.75)
    return [
        Layer((lips, 0.9), color, height=lower, rows=rows),
        Layer((opening,), interior, shade=seam, height=upper, wet=True, rows=rows),
        Layer(shade=1 - (0.28 + 0.2 * glad + 0.12 * sad) * corner, rows=rows),
        Layer(shade=below, rows=rows),
    ]


def _brows(face: Face) -> list[Layer]:
    f, rows = face.f, face.upper
    b, side = face.b[:, rows], face.side[:, rows]
    u = (side - face.eye_x - 0.01) / 0.29
    up = 0.035 * f["brow_height"]
    # Sad brows rise in the middle; glad ones come down a little.
    line = face.eye_y - 0.215 - up + 0.045 * (u - 0.15) ** 2 * 1.6 + 0.02 * face.glad
    line = line + face.sad * 0.07 * (u + 0.2)
    thick = (0.05 + 0.02 * f["brow_weight"]) * (1 - 0.35 * ramp(u, -0.2, 1.0))
    ends = ramp(u, -1.15, -0.8) * (1 - ramp(u, 0.75, 1.15))
    weight = (0.62 + 0.25 * f["brow_weight"]) * (1 - 0.45 * f["hair_color"])
    cover = weight * ends * bell(b - line, thick)
    return [Layer((cover,), 0.06 + 0.25 * f["hair_color"], rows=rows)]


def _eyes(face: Face) -> list[Layer]:
    f, rows = face.f, face.upper
    a, b, side = face.a[:, rows], face.b[:, rows], face.side[:, rows]
    glad, sad, soft = face.glad, face.sad, face.soft
    half = 0.175 + 0.018 * f["eye_size"]
    u = (side - face.eye_x) / half
    v = b - face.eye_y + 0.03 * f["eye_slant"] * u + 0.012 * sad * u
    arch = np.maximum(1 - u * u, 0)
    size = 1 + 0.22 * f["eye_size"]
    top = -(0.082 * size) * (1 - 0.22 * glad - 0.22 * sad) * arch + 0.01 * glad
    end = (0.058 * size) * (1 - 0.7 * glad) * arch
    eye = step((v - top) / soft) * step((end - v) / soft) * step((1 - np.abs(u)) * 4)
    look = np.sign(a) * (0.045 * f["gaze"] + 0.03 * f["yaw"])
    iris_x, iris_y = u * half - look, v + 0.012
    distance = np.sqrt(iris_x * iris_x + iris_y * iris_y)
    iris = step((0.078 - distance) / soft)
    pupil = step((0.034 - distance) / soft)
    white = (0.48 + 0.22 * face.tone) * (1 - 0.25 * u * u) * (1 - 0.45 * bell(v - top, 0.05))
    ring = 0.07 + 0.33 * f["eye_color"] * (1 - 0.5 * ramp(distance, 0.045, 0.08))
    color = (white + (ring - white) * iris) * (1 - 0.85 * pupil * iris)
    lid = 1 - 0.16 * bump(u, 1.0, v - top + 0.055 * size, 0.03)
    lash = 1 - 0.62 * (bell(v - top, 0.024) * ramp(np.abs(u), 1.12, 0.9))
    below = 1 - 0.2 * bell(v - end, 0.02) * ramp(np.abs(u), 1.1, 0.8)
    aside = np.sign(a) * iris_x - 0.028 * np.sign(f["light_side"])
    glint = bump(aside, 0.022, iris_y + 0.03, 0.022)
    return [
        Layer((eye,), color, shade=lid, light=0.6 * glint * eye, wet=True, rows=rows),
        Layer(shade=lash, rows=rows),
        Layer(shade=below, rows=rows),
    ]


def _lit(face: Face, skin: np.ndarray, height: np.ndarray, wet: np.ndarray) -> np.ndarray:
    """The face under one lamp: the slope of `height` tilts the ellipsoid."""
    f, two = face.f, 2 * face.pixel
    slope_x, slope_y = np.empty_like(height), np.empty_like(height)
    slope_x[:, :, 1:-1] = height[:, :, 2:] - height[:, :, :-2]
    slope_x[:, :, 0], slope_x[:, :, -1] = slope_x[:, :, 1], slope_x[:, :, -2]
    slope_y[:, 1:-1] = height[:, 2:] - height[:, :-2]
    slope_y[:, 0], slope_y[:, -1] = slope_y[:, 1], slope_y[:, -2]
    normal_x = 0.8 * face.across - slope_x / two
    normal_y = 0.75 * face.down - slope_y / two
    normal_z = 0.25 + 0.85 * face.depth
    length = np.sqrt(normal_x * normal_x + normal_y * normal_y + normal_z * normal_z)
    light_x, light_y = 0.75 * f["light_side"], -0.38 - 0.42 * f["light_height"]
    light_z = np.float32(0.85)
    size = np.sqrt(light_x * light_x + light_y * light_y + light_z * light_z)
    lambert = (normal_x * light_x + normal_y * light_y + normal_z * light_z) / (length * size)
    wrapped = np.clip(0.25 + 0.75 * lambert, 0, None)
    strength = 0.35 + 0.55 * f["light_strength"]
    lit = (1 - strength) * 0.78 + strength * 1.12 * wrapped * (0.35 + 0.65 * wrapped)
    rim = 0.75 + 0.25 * np.minimum(1, 1.8 * face.depth)
    shine = np.maximum(lambert, 0) ** 2
    shine = shine * shine
    shine = shine * shine * shine
    lit = lit + (0.8 - lit) * 0.45 * wet
    return skin * lit * rim + 0.14 * strength * shine * (1 - wet)


def _background(face: Face) -> np.ndarray:
    level = 0.08 + 0.75 * face.f["background"]
    return level * (1 + 0.22 * face.f["background_slope"] * face.x - 0.08 * face.y)


def _neck(face: Face) -> Layer:
    f = face.f
    inside = step((0.66 + 0.06 * f["face_jaw"] - np.abs(face.x - 0.1 * face.turn)) / 0.08)
    color = face.tone * (0.36 + 0.25 * face.x * f["light_side"])
    return Layer((inside * ramp(face.y, 0.5, 0.7),), color)


def _ear(face: Face) -> Layer:
    f = face.f
    across = np.abs(face.x + 0.06 * face.turn) - 1.0 - 0.07 * f["face_width"]
    down = (face.y + 0.14 - 0.15 * face.drop) / 0.3
    ear = step((1 - np.sqrt((across / 0.13) ** 2 + down * down)) * 0.13 / face.soft)
    lit = 0.55 + 0.2 * f["light_side"] * np.sign(face.x)
    return Layer((ear,), face.tone * lit * (0.75 + 2 * across))


def _hair(face: Face) -> Layer:
    f, x, y = face.f, face.x, face.y
    color = 0.05 + 0.55 * f["hair_color"] ** 1.3
    length = f["hair_length"]
    # Outer contour: an ellipse around the skull, then two curtains beside the face.
    wave = 0.05 * np.sin(4 * y + 7 * f["hair_part"]) * length
    volume = 0.05 + 0.2 * length + wave
    skull = (np.minimum(y, -0.15) + 0.15) / (1.5 + 0.08 * length)
    outer = np.sqrt((x / (1 + volume)) ** 2 + skull * skull) - 1
    end = -0.3 + 2.2 * ramp(length, 0.25, 0.85)
    outer = (1 - step(outer / 0.1)) * (1 - ramp(y, end - 0.2, end + 0.3))
    # The hairline: high in the middle, down along the temples.
    part = 0.3 * f["hair_part"]
    across = (face.a - part) / 0.95
    line = -1.12 + 0.27 * f["hair_line"] + 0.62 * across**4 - 0.05 * np.cos(3.2 * across)
    strand = np.sin(11 * face.a + 5 * np.sin(3 * face.a + 6 * f["hair_part"])) * 0.03
    above = step((line + strand - face.b) / 0.16)
    temple = step((face.side - 0.99 + 0.1 * ramp(length, 0.3, 0.9)) / 0.09)
    outside = step((face.edge + 0.02) / 0.07)
    cover = np.maximum(np.maximum(above, temple * ramp(length, 0.1, 0.5)), outside) * outer
    flow = (face.a - part) * (2.2 - 0.5 * y) + 0.6 * np.sin(2 * y + 3 * f["hair_part"])
    locks = 0.88 + 0.10 * np.sin(5.3 * flow + 1) * np.sin(2.1 * flow + y)
    locks = locks + 0.05 * np.sin(13 * flow + 2 * np.sin(3 * y))
    bright = 0.5 * bell(y + 1.05 - 0.25 * x * x - 0.2 * f["light_height"], 0.22)
    sheen = bright + 0.25 * f["light_side"] * x
    strength = 0.35 + 0.55 * f["light_strength"]
    hair = color * locks * (0.75 + strength * sheen) + 0.05 * sheen
    shadow = step((line + 0.12 - face.b) / 0.3) * face.head  # on the forehead
    return Layer((cover,), hair, shade=1 - 0.2 * shadow)


def _glasses(face: Face) -> list[Layer]:
    worn, rows = face.f["glasses"], face.upper
    if not worn.any():
        return []
    a, b, side, head = (values[:, rows] for values in (face.a, face.b, face.side, face.head))
    x, y = (side - face.eye_x) / 0.3, (b - face.eye_y - 0.03) / 0.225
    radius = np.sqrt(np.sqrt(x**4 + y**4 + x * x * y * y))
    ring = np.abs(radius - 1) * 0.26
    rim = 1 - step((ring - 0.018) / face.soft)
    between = step((face.eye_x - 0.28 - side) / 0.06)
    bridge = bell(b - face.eye_y + 0.06 - 0.2 * a * a, 0.028) * between
    temple = bell(b - face.eye_y + 0.05, 0.028) * step((side - face.eye_x - 0.28) / 0.06)
    frame = np.maximum(rim, np.maximum(bridge, temple)) * head
    lens = (1 - step((radius - 0.93) / 0.1)) * head
    glare = bell(x * np.sign(a) * 0.7 + y - 0.15 + 0.5, 0.22) * lens
    shade, light = 1 - 0.1 * worn * lens, 0.10 * worn * glare
    return [Layer((0.85, worn, frame), 0.09, shade=shade, light=light, rows=rows)]


def _developed(picture: np.ndarray, exposure: np.ndarray) -> np.ndarray:
    """Exposure, and the shoulder of a film: no clipped whites."""
    x = np.maximum(picture * np.exp(0.3 * exposure) * np.float32(1.35), 0)
    return 1 - np.exp(-x * (1 + 0.35 * x))


def _blurred(x: np.ndarray, softness: np.ndarray) -> np.ndarray:
    """Part of the sharp picture, part of its average over three pixels.

    That widens edges by a variance in pixels, which is four times as large at twice the size.
    """
    variance = (x.shape[1] / SIZE) ** 2
    times = int(np.ceil(variance))
    for _ in range(times):
        y = x.copy()
        y[:, 1:-1] = 0.5 * x[:, 1:-1] + 0.25 * (x[:, 2:] + x[:, :-2])
        z = y.copy()
        z[:, :, 1:-1] = 0.5 * y[:, :, 1:-1] + 0.25 * (y[:, :, 2:] + y[:, :, :-2])
        x = x + (z - x) * softness * np.float32(variance / times)
    return np.clip(x, 0, 1)
