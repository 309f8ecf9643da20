"""Where the parts of a face are in a picture, and smooth shapes to draw them with.

A pixel is turned back into a place on the face, through position, size, tilt, and the head's yaw
and nod; the head is an ellipsoid with a jaw.
"""

from collections.abc import Mapping

import numpy as np


class Face:
    """Geometry of a few faces that are drawn together; arrays are `(n, size, size)`, or broadcast.

    A length of 1 is half the width of an average face. `x`, `y` are in the picture, from the middle
    of the face, right and down; `a`, `b` are on the face, so that the eyes of every pose are at the
    same place; `side` is |a|, where both halves are drawn at once.
    """

    def __init__(self, factors: Mapping[str, np.ndarray], size: int):
        self.f = f = factors
        self.upper = slice(0, size * 13 // 20)  # rows of eyes, brows and glasses, in any pose
        self.lower = slice(size * 9 // 20, None)  # rows of the mouth
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
        self.turn, self.drop = np.sin(yaw), np.sin(nod)

        width = 1 + 0.09 * f["face_width"]
        jaw = ramp(self.y, -0.1, 1.35)
        narrow = (0.15 - 0.11 * f["face_jaw"]) * jaw
        width = width * (1 - narrow) * (1 + 0.03 * f["face_cheeks"] * bell(self.y - 0.25, 0.5))
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
        self.head = 1 - step(self.edge / self.soft)

        self.glad, self.sad = np.maximum(f["smile"], 0), np.maximum(-f["smile"], 0)
        self.tone = 0.34 + 0.42 * f["skin_tone"]
        self.eye_x = 0.52 + 0.045 * f["eye_spacing"]
        self.eye_y = np.float32(-0.5)
        self.nose_y = 0.27 + 0.06 * f["nose_length"]
        self.mouth_y = 0.645 + 0.03 * f["nose_length"]
        self.mouth_w = (0.37 + 0.045 * f["mouth_width"]) * (
            1 + 0.36 * self.glad - 0.05 * self.sad - 0.12 * f["speech"] * (1 - self.glad)
        )


def step(x: np.ndarray) -> np.ndarray:
    """0 below -1/2, 1 above 1/2, a smooth rise between."""
    x = np.clip(x + np.float32(0.5), 0, 1)
    return x * x * (3 - 2 * x)


def ramp(x: np.ndarray, begin, end) -> np.ndarray:
    """0 at `begin`, 1 at `end`, a smooth rise between."""
    x = np.clip((x - begin) / (end - begin), 0, 1)
    return x * x * (3 - 2 * x)


def bell(x: np.ndarray, width) -> np.ndarray:
    x = x / width
    return np.exp(-x * x)


def bump(x, width, y, height) -> np.ndarray:
    x, y = x / width, y / height
    return np.exp(-x * x - y * y)
