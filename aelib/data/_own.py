"""A user's own data: an `.npz` file of images or of a table, or a folder of images."""

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aelib._format import say
from aelib.data._pictures import Pictures, is_grey, picture
from aelib.data._sources import UNLABELLED, Raw, Size

_IMAGES, _LABELS = ("x_train", "x_test"), ("y_train", "y_test")
_UNPACKED, _PACKING = 1_000_000_000, 20  # bytes; above them, how many times the size of the file

_SHARE = 0.1  # of the training images become `valid`; before that, of a folder's images `test`
_PARTS = {"train": 0, "training": 0, "valid": 1, "val": 1, "validation": 1, "test": 2, "testing": 2}
_SHOWN = 5  # of what is left out
_Row = tuple[str, Path]  # the name of the class, or "", and the image


@dataclass(frozen=True)
class OwnFile:
    """The images, or the table, of an `.npz` file, of which a tenth becomes `valid`."""

    path: str
    stand_in: str = "digits"

    def read(self, size: Size = None, limit: int | None = None) -> Raw:
        """All images or rows; those for training are shuffled, always in the same way.

        Such files are often sorted by class, and `valid` is cut from the end.

        Raises:
            ValueError: naming what the file holds instead.
        """
        try:
            arrays = self._arrays()
        except Exception as error:  # a damaged file fails in a dozen ways, in zipfile and in NumPy
            reason = str(error) or type(error).__name__
            raise ValueError(
                "This is not an .npz file of images or of a table: "
                f"{reason}. Received: name={self.path!r}"
            ) from error
        x_train, x_test = (self._checked(key, arrays[key]) for key in _IMAGES)
        y_train, y_test = (
            self._labels(key, arrays.get(key), len(x))
            for key, x in zip(_LABELS, (x_train, x_test), strict=True)
        )
        if (*x_train.shape[1:], 1)[:3] != (*x_test.shape[1:], 1)[:3]:
            raise ValueError(
                "Training and test data must have the same shape. Received: "
                f"x_train.shape={x_train.shape}, x_test.shape={x_test.shape} in {self.path!r}"
            )
        order = np.random.default_rng(0).permutation(len(x_train))
        return Raw(x_train[order], y_train[order], x_test, y_test, _SHARE)

    def _arrays(self) -> dict[str, np.ndarray]:
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
            if not set(_IMAGES) <= set(file.keys()):
                raise ValueError(f"it has {sorted(file.keys())}, not {list(_IMAGES)}")
            arrays = {key: file[key] for key in (*_IMAGES, *_LABELS) if key in file}
        for key, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise ValueError(f"{key} is not an array")
        return arrays

    def _checked(self, key: str, x: np.ndarray) -> np.ndarray:
        """Images, or the rows of a table as float32."""
        received = f"Received: {key}.shape={x.shape}, {key}.dtype={x.dtype} in {self.path!r}"
        if x.ndim not in (2, 3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3)):
            raise ValueError(
                "Images must be (n, height, width) with 1 or 3 channels, and a table (n, columns). "
                f"{received}"
            )
        if x.size == 0:
            raise ValueError(f"There must be images, or rows of a table. {received}")
        if x.ndim == 2 and x.dtype.kind in "fiub":
            with np.errstate(over="ignore"):  # the check says more
                x = x.astype(np.float32)
            if not np.isfinite(x).all():
                raise ValueError(
                    "The numbers of a table must be finite, as float32. Received: "
                    f"{key} with {(~np.isfinite(x)).sum()} NaN or infinite values in {self.path!r}"
                )
            return x
        if x.dtype in (np.uint8, bool):
            return x
        if x.dtype.kind != "f":
            kinds = "numbers in a table; images bool, uint8, or floats in [0, 1]"
            raise ValueError(f"There must be {kinds}. {received}")
        low, high = x.min(), x.max()
        if not (low >= 0 and high <= 1):  # NaN is neither
            raise ValueError(
                "Float pixels must be finite and in [0, 1]. "
                f"Received: {key} from {low:.9g} to {high:.9g} in {self.path!r}"
            )
        return x

    def _labels(self, key: str, y: np.ndarray | None, rows: int) -> np.ndarray:
        if y is None:
            return np.full(rows, UNLABELLED)
        received = f"Received: {key}.shape={y.shape}, {key}.dtype={y.dtype} in {self.path!r}"
        if y.dtype.kind not in "iub":
            raise ValueError(f"Labels must be integers. {received}")
        if y.shape not in ((rows,), (rows, 1)):
            raise ValueError(f"There must be one label for each of {rows} rows. {received}")
        return y.reshape(-1)


@dataclass(frozen=True)
class OwnFolder:
    """The images in a folder: `class/image`, `part/class/image`, or without classes or parts."""

    path: str
    stand_in: str = "digits"

    def read(self, size: Size = None, limit: int | None = None) -> Raw:
        """All images, decoded when they are sliced, in an order that only their names decide.

        They are grey if all are stored in grey. One printed line says what was left out.

        Raises:
            ValueError: if there are no images, or images of different sizes and no `size`.
            CorruptFile: naming an image that cannot be read.
        """
        found = _Found(Path(self.path).expanduser())
        training, valid, test = map(found.mixed, found.parts)
        if not training:
            raise ValueError(f"There are no images to train with. Received: name={self.path!r}")
        if found.left_out:
            more = ", ..." if len(found.left_out) > _SHOWN else ""
            shown = ", ".join(found.left_out[:_SHOWN])
            say(f"{self.path}: {len(found.left_out):,} left out: {shown}{more}")
        if not test:
            cut = len(training) - round(_SHARE * len(training))
            training, test = training[:cut], training[cut:]
        channels = 1 if found.grey else 3
        first = training[0][1]
        shape = (*size, channels) if size else picture(first, size, channels).shape

        def read(path: Path) -> np.ndarray:
            image = picture(path, size, channels)
            if image.shape != shape:
                (h, w, _), (height, width, _) = shape, image.shape
                raise ValueError(
                    "Images of different sizes need a `size`, such as size=64. Received: "
                    f"size=None, {first} of {h} x {w} and {path} of {height} x {width}"
                )
            return image

        names = sorted(found.class_names)
        label = {name: index for index, name in enumerate(names)}

        def split(rows: list[_Row]) -> tuple[Pictures, np.ndarray]:
            labels = [label.get(name, UNLABELLED) for name, _ in rows]
            return Pictures([path for _, path in rows], shape, read), np.array(labels, np.int64)

        validation = len(valid) if valid else _SHARE
        return Raw(*split(training + valid), *split(test), validation, class_names=tuple(names))


class _Found:
    """What a folder holds.

    Attributes:
        parts: the rows for training, validation and test.
        class_names: of all sub-folders that are classes, those without images too.
        grey: whether all images are stored in grey.
        left_out: each path that is not used, with the reason.
    """

    def __init__(self, root: Path):
        self.root, self.grey = root, True
        self.parts: tuple[list[_Row], list[_Row], list[_Row]] = ([], [], [])
        self.class_names: set[str] = set()
        self.left_out: list[str] = []
        self._seen: set[str] = set()
        folders, files = self._inside(root)
        parts = [_PARTS.get(folder.name.lower(), -1) for folder in folders]
        if 0 in parts and -1 not in parts:
            for folder, part in zip(folders, parts, strict=True):
                self.parts[part].extend(self._rows(*self._inside(folder)))
            self._leave_out(files, "beside the parts")
        else:
            self.parts[0].extend(self._rows(folders, files))

    def mixed(self, rows: list[_Row]) -> list[_Row]:
        """In an order of which every stretch has about its share of every class."""
        classes: dict[str, list[tuple[float, Path]]] = {}
        for name, path in rows:
            place = _place(path.relative_to(self.root).as_posix())
            classes.setdefault(name, []).append((place, path))
        places = [
            ((rank + _place(name)) / len(images), name, path)
            for name, images in classes.items()
            for rank, (_, path) in enumerate(sorted(images))
        ]
        return [(name, path) for _, name, path in sorted(places)]

    def _rows(self, folders: list[Path], files: list[Path]) -> list[_Row]:
        """Of the images in one folder: of its sub-folders, or else its own."""
        rows = []
        for folder in folders:
            images = self._below(folder)
            rows += [(folder.name, path) for path in images]
            if not images:
                self._leave_out([folder], "without images")
        if not rows:
            return [("", path) for path in files if self._is_image(path)]
        self.class_names |= {folder.name for folder in folders}
        self._leave_out(files, "beside the classes")
        return rows

    def _below(self, folder: Path) -> list[Path]:
        folders, files = self._inside(folder)
        deeper = [path for inner in folders for path in self._below(inner)]
        return [path for path in files if self._is_image(path)] + deeper

    def _inside(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """The folders and the files in a folder, in the order of their names."""
        real = os.path.realpath(folder)
        if real in self._seen:  # a link back would have no end
            self._leave_out([folder], "a link to a folder read before")
            return [], []
        self._seen.add(real)
        folders: list[Path] = []
        files: list[Path] = []
        for name in sorted(os.listdir(folder)):
            path = folder / name
            if name.startswith("."):
                self._leave_out([path], "hidden")
            else:
                (folders if path.is_dir() else files).append(path)
        return folders, files

    def _is_image(self, path: Path) -> bool:
        grey = is_grey(path)
        if grey is None:
            self._leave_out([path], "no image")
            return False
        self.grey = self.grey and grey
        return True

    def _leave_out(self, paths: list[Path], reason: str) -> None:
        self.left_out += [
            f"{path.relative_to(self.root).as_posix()!r} ({reason})" for path in paths
        ]


def _place(name: str) -> float:
    """From 0 to 1, as if by chance, and the same for a name on every machine."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8]) / 2**64
