"""What is downloaded, and how; MNIST and Fashion-MNIST, from where Keras has them."""

import gzip
import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aelib.data import _store

BASE_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
TIMEOUT = 20.0  # seconds without a byte

_IMAGES = ("x_train", "x_test")
_FOUR = ("x_train", "y_train", "x_test", "y_test")
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


class DatasetUnavailable(RuntimeError):
    """A dataset is not on this machine and could not be downloaded."""


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Remote:
    """A dataset that is downloaded once.

    Attributes:
        name: its name in `data.names()`.
        files: its files, relative to a data folder; each is downloaded under its own name.
        megabytes: how much that is.
        check: raises `CorruptFile` or `FileNotFoundError` for one of the files.
        unpack: the four arrays from a data folder, each file checked on the way.
        embedded: the generated dataset that can stand in for it.
        url: where it is, if not below `BASE_URL` under the name of its file.
    """

    name: str
    files: tuple[str, ...]
    megabytes: int
    check: Callable[[Path], object]
    unpack: Callable[[Path], Arrays]
    embedded: str = "digits"
    url: str | None = None

    def find(self) -> Path | None:
        """The data folder that has all the files, whole or not, or None."""
        for folder in (_store.given_folder(), _store.own_folder()):
            if folder is not None and all((folder / file).is_file() for file in self.files):
                return folder
        return None

    def path(self, folder: Path) -> Path:
        """What to show a person: the file, or the folder of several."""
        first = folder / self.files[0]
        return first if len(self.files) == 1 else first.parent

    def read(self) -> Arrays:
        """The four arrays, downloaded first where they are missing.

        Raises:
            CorruptFile: if a file in `AELIB_DATA_DIR` is not what it should be.
            DatasetUnavailable: if they are missing and cannot be downloaded.
        """
        folder = self.find()
        if folder is not None:
            try:
                return self.unpack(folder)
            except _store.CorruptFile:
                if folder == _store.given_folder():  # theirs to mend
                    raise
        return self.unpack(self.download())

    def download(self) -> Path:
        """Brings the files into the own data folder, each checked before it gets its name."""
        folder = _store.own_folder()
        try:
            with _store.workshop(self.name) as half_made:
                for file in self.files:
                    if not self._intact(folder / file):
                        self._download_one(file, half_made, folder / file)
        except (OSError, _store.CorruptFile) as error:  # the errors of requests are OSErrors
            raise DatasetUnavailable(self._ways_out(error)) from error
        return folder

    def _intact(self, path: Path) -> bool:
        try:
            self.check(path)
        except (FileNotFoundError, _store.CorruptFile):
            return False
        return True

    def _download_one(self, file: str, half_made: Path, path: Path) -> None:
        # Here: they take longer to import than all the rest, and most processes never need them.
        import pooch
        import tqdm

        url = self.url or BASE_URL + Path(file).name
        temporary = half_made / Path(file).name
        bar = tqdm.tqdm(
            desc=Path(file).name,
            total=self.megabytes * 10**6,  # until the server says how much it is
            unit="B",
            unit_scale=True,
            disable=None,  # no bar where nobody watches, such as a notebook's stored output
        )
        with bar:
            fetch = pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=TIMEOUT)
            fetch(url, str(temporary), None)
        self.check(temporary)
        path.parent.mkdir(exist_ok=True)
        os.replace(temporary, path)

    def _ways_out(self, error: Exception) -> str:
        return (
            f"The dataset {self.name} is missing or damaged on this machine and could not be "
            f"downloaded: {type(error).__name__}: {error}\n"
            f"Ways out: set {_store.DATA_VARIABLE} to a folder that has {self.files[0]}; "
            f"run `aelib data fetch {self.name}` where there is a network; "
            f"or use the embedded {self.embedded}: data.load({self.embedded!r})."
        )


def _check_mnist(path: Path) -> dict[str, np.ndarray]:
    """The arrays of Keras's `mnist.npz`, if they are MNIST."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MNIST_UNPACKED:
                raise _store.CorruptFile(f"This is not MNIST: too large. Received: file={path}")
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in _FOUR}
    except (FileNotFoundError, PermissionError, _store.CorruptFile):
        raise
    except Exception as error:  # a damaged file fails in a dozen ways, in zipfile and in NumPy
        raise _store.CorruptFile(f"This is not MNIST: {error}. Received: file={path}") from error
    for key, array in arrays.items():
        kind = (array.dtype, array.ndim)
        digest = hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
        if kind != (np.uint8, 3 if key in _IMAGES else 1) or digest != _MNIST_ARRAYS[key]:
            raise _store.CorruptFile(
                f"This is not MNIST: {key} has other numbers. Received: file={path}"
            )
    return arrays


def _unpack_mnist(folder: Path) -> Arrays:
    arrays = _check_mnist(folder / "mnist.npz")
    return tuple(arrays[key] for key in _FOUR)


def _check_fashion(path: Path) -> bytes:
    packed = path.read_bytes()
    if hashlib.sha256(packed).hexdigest() != _FASHION_FILES[path.stem]:
        raise _store.CorruptFile(
            f"This is not Fashion-MNIST: another SHA-256. Received: file={path}"
        )
    return packed


def _unpack_fashion(folder: Path) -> Arrays:
    def numbers(file: str, header: int) -> np.ndarray:
        packed = _check_fashion(folder / "fashion-mnist" / f"{file}.gz")
        return np.frombuffer(gzip.decompress(packed), np.uint8, offset=header)

    return (
        numbers("train-images-idx3-ubyte", 16).reshape(-1, 28, 28),
        numbers("train-labels-idx1-ubyte", 8),
        numbers("t10k-images-idx3-ubyte", 16).reshape(-1, 28, 28),
        numbers("t10k-labels-idx1-ubyte", 8),
    )


MNIST = Remote("mnist", ("mnist.npz",), 11, _check_mnist, _unpack_mnist)
FASHION_MNIST = Remote(
    "fashion_mnist",
    tuple(f"fashion-mnist/{file}.gz" for file in _FASHION_FILES),
    31,
    _check_fashion,
    _unpack_fashion,
)
