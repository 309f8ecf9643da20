"""A user's own images: an `.npz` file with `x_train`, `y_train`, `x_test`, `y_test`."""

import os
import zipfile
from dataclasses import dataclass

import numpy as np

from aelib.data._sources import Raw

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_UNPACKED, _PACKING = 1_000_000_000, 20  # bytes; above them, how many times the size of the file


@dataclass(frozen=True)
class OwnFile:
    """The images of a file, of which a tenth becomes `valid`."""

    path: str
    stand_in: str = "digits"

    def read(self, size: int | None = None, limit: int | None = None) -> Raw:
        """All images; those for training are shuffled, always in the same way.

        Such files are often sorted by class, and `valid` is cut from the end.

        Raises:
            ValueError: naming what the file holds instead.
        """
        try:
            x_train, y_train, x_test, y_test = self._arrays()
        except Exception as error:  # a damaged file fails in a dozen ways, in zipfile and in NumPy
            reason = str(error) or type(error).__name__
            raise ValueError(
                f"This is not an .npz file of images: {reason}. Received: name={self.path!r}"
            ) from error
        for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
            self._check_images(f"x_{part}", x)
            self._check_labels(f"y_{part}", y, len(x))
        if (*x_train.shape[1:], 1)[:3] != (*x_test.shape[1:], 1)[:3]:
            raise ValueError(
                "Training and test images must have the same shape. Received: "
                f"x_train.shape={x_train.shape}, x_test.shape={x_test.shape} in {self.path!r}"
            )
        order = np.random.default_rng(0).permutation(len(x_train))
        return Raw(x_train[order], y_train.reshape(-1)[order], x_test, y_test.reshape(-1), 0.1)

    def _arrays(self) -> list[np.ndarray]:
        path = os.path.expanduser(self.path)
        if not os.path.isfile(path):
            raise ValueError("there is no such file")
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not a zip archive, or damaged")
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > max(_UNPACKED, _PACKING * os.path.getsize(path)):
            raise ValueError(f"it unpacks to {unpacked / 1e9:.1f} GB")
        with np.load(path, allow_pickle=False) as file:
            if not set(_KEYS) <= set(file.keys()):
                raise ValueError(f"it has {sorted(file.keys())}, not {list(_KEYS)}")
            arrays = [file[key] for key in _KEYS]
        for key, array in zip(_KEYS, arrays, strict=True):
            if not isinstance(array, np.ndarray):
                raise ValueError(f"{key} is not an array")
        return arrays

    def _check_images(self, key: str, x: np.ndarray) -> None:
        received = f"Received: {key}.shape={x.shape}, {key}.dtype={x.dtype} in {self.path!r}"
        if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3)):
            raise ValueError(f"Images must be (n, height, width) with 1 or 3 channels. {received}")
        if x.size == 0:
            raise ValueError(f"There must be images. {received}")
        if x.dtype == np.uint8:
            return
        if x.dtype.kind != "f":
            raise ValueError(f"Images must be uint8, or floats in [0, 1]. {received}")
        low, high = x.min(), x.max()
        if not (low >= 0 and high <= 1):  # NaN is neither
            raise ValueError(
                "Float pixels must be finite and in [0, 1]. "
                f"Received: {key} from {low:.9g} to {high:.9g} in {self.path!r}"
            )

    def _check_labels(self, key: str, y: np.ndarray, images: int) -> None:
        received = f"Received: {key}.shape={y.shape}, {key}.dtype={y.dtype} in {self.path!r}"
        if y.dtype.kind not in "iu":
            raise ValueError(f"Labels must be integers. {received}")
        if y.shape not in ((images,), (images, 1)):
            raise ValueError(f"There must be one label for each of {images} images. {received}")
