"""`mnist` and `fashion_mnist`, from where Keras has them or, failing that, from a mirror."""

import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aelib.data._remote import Downloaded
from aelib.data._sources import Raw
from aelib.data._store import CorruptFile

BASE_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
MNIST_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FASHION_MIRROR = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
)
VALIDATION = 10_000

# SHA-256 of each array's bytes: the same however the file was packed.
_MNIST_ARRAYS = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
_MNIST_UNPACKED = 60_000_000  # bytes: the four arrays take 55 million
_FASHION_FILES = {  # SHA-256 of each file, all with the ending .gz
    "train-images-idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
_FILES = tuple(_FASHION_FILES)  # MNIST was first published in files of the same names


def _check_mnist(path: Path) -> dict[str, np.ndarray]:
    """The arrays of Keras's `mnist.npz`, if they are MNIST."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MNIST_UNPACKED:
                raise ValueError("too large")
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in _MNIST_ARRAYS}
        for key, array in arrays.items():
            form = (array.dtype, array.ndim)
            digest = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
            if form != (np.uint8, 3 if key[0] == "x" else 1) or digest != _MNIST_ARRAYS[key]:
                raise ValueError(f"{key} has other values")
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a damaged file fails in a dozen ways, in zipfile and in NumPy
        raise CorruptFile(f"This is not MNIST: {error}. Received: file={path}") from error
    return arrays


def _unpack_mnist(folder: Path) -> Raw:
    arrays = _check_mnist(folder / "mnist.npz")
    x, y, x_test, y_test = (arrays[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    return Raw(x, y, x_test, y_test, VALIDATION)


def _check_fashion(path: Path) -> bytes:
    packed = path.read_bytes()
    if hashlib.sha256(packed).hexdigest() != _FASHION_FILES[path.stem]:
        raise CorruptFile(f"This is not Fashion-MNIST: another SHA-256. Received: file={path}")
    return packed


def _unpack_fashion(folder: Path) -> Raw:
    files = (folder / "fashion-mnist" / f"{file}.gz" for file in _FILES)
    x, y, x_test, y_test = _numbers([_check_fashion(file) for file in files])
    return Raw(x, y, x_test, y_test, VALIDATION)


def _numbers(packed: Sequence[bytes]) -> list[np.ndarray]:
    """Images and labels for training, images and labels to test on, from the four files."""
    arrays = []
    for content, header in zip(packed, (16, 8, 16, 8), strict=True):
        with gzip.open(io.BytesIO(content)) as file:
            values = np.frombuffer(file.read(_MNIST_UNPACKED), np.uint8, offset=header)
        arrays.append(values.reshape(-1, 28, 28) if header == 16 else values)
    return arrays


def _join_mnist(packed: Sequence[bytes]) -> bytes:
    """Keras's `mnist.npz` from the four files that were first published."""
    content = io.BytesIO()
    try:
        arrays: dict[str, Any] = dict(zip(_MNIST_ARRAYS, _numbers(packed), strict=True))
        np.savez_compressed(content, **arrays)
    except (EOFError, ValueError, zlib.error) as error:
        raise CorruptFile(f"This is not MNIST: {error}. Received: the files of a mirror") from error
    return content.getvalue()


MNIST = Downloaded(
    "mnist",
    (
        lambda file: [BASE_URL + file],
        lambda file: [f"{MNIST_MIRROR}{part}.gz" for part in _FILES],
    ),
    ("mnist.npz",),
    11,
    _check_mnist,
    _unpack_mnist,
    join=_join_mnist,
)
FASHION_MNIST = Downloaded(
    "fashion_mnist",
    (lambda file: [BASE_URL + file], lambda file: [FASHION_MIRROR + file]),
    tuple(f"fashion-mnist/{file}.gz" for file in _FILES),
    31,
    _check_fashion,
    _unpack_fashion,
)
