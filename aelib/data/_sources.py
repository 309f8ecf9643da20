"""What every source of images has in common, and the simplest one: images that are drawn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aelib.data._store import cached_file


@dataclass(frozen=True, eq=False)
class Raw:
    """A dataset as its source has it.

    Attributes:
        x, x_test: images, uint8 or floats in [0, 1], with or without an axis of channels: an array,
            or what has a length and returns arrays for slices.
        y, y_test: their labels, integers.
        validation: how many (int), or which share (float), of the training images become `valid`.
        factors, factors_test: what else is known of each image, by name.
    """

    x: Any
    y: np.ndarray
    x_test: Any
    y_test: np.ndarray
    validation: int | float
    factors: dict[str, np.ndarray] = field(default_factory=dict)
    factors_test: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Status:
    """What `status` says of one dataset.

    Attributes:
        name: its name.
        kind: "embedded" (drawn by this package), "download", or "directory" (only the user can get
            it).
        path: where it is, or None.
        note: one phrase for a person.
    """

    name: str
    kind: str
    path: str | None
    note: str


@dataclass(frozen=True)
class Drawn:
    """Images that this package draws, so that none need stand in for them."""

    name: str
    read: Callable[[int | None, int | None], Raw]
    stand_in: str = ""
    not_fetched: str = "It is embedded, there is nothing to fetch"

    def status(self) -> Status:
        path = cached_file(self.name)
        note = "drawn when it is first needed, in seconds"
        return Status(self.name, "embedded", str(path) if path.is_file() else None, note)
