"""What every source of images has in common, and the simplest one: images that are drawn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aelib.data._store import cached_file

UNLABELLED = -1  # as in `aelib.semi_supervised`
Size = tuple[int, int] | None  # height and width


@dataclass(frozen=True, eq=False)
class Raw:
    """A dataset as its source has it.

    Attributes:
        x, x_test: images, uint8 or floats in [0, 1], with or without an axis of channels: an array,
            or what has a length and returns arrays for slices; or the rows of a table, float32.
        y, y_test: their labels, integers, `UNLABELLED` where there is none.
        validation: how many (int), or which share (float), of the training images become `valid`.
        factors, factors_test: what else is known of each image, by name.
        class_names: of the labels 0, 1, ..., where they have names.
    """

    x: Any
    y: np.ndarray
    x_test: Any
    y_test: np.ndarray
    validation: int | float
    factors: dict[str, np.ndarray] = field(default_factory=dict)
    factors_test: dict[str, np.ndarray] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()


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
    draw: Callable[[int | None, int | None], Raw]
    stand_in: str = ""
    not_fetched: str = "It is embedded, there is nothing to fetch"

    def read(self, size: Size = None, limit: int | None = None) -> Raw:
        """All images, drawn as squares."""
        return self.draw(max(size) if size else None, limit)

    def status(self) -> Status:
        path = cached_file(self.name)
        note = "drawn when it is first needed, in seconds"
        return Status(self.name, "embedded", str(path) if path.is_file() else None, note)
