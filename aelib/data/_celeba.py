"""`celeba`: faces with 40 attributes, from a directory that the user has.

CelebA is free for research that is not commercial and may not be passed on, so nothing is
downloaded: see `data/README.md` for where it is.

References: Liu, Luo, Wang & Tang, "Deep Learning Face Attributes in the Wild", 2015 (the images and
the three parts); Tolstikhin, Bousquet, Gelly & Schoelkopf, "Wasserstein Auto-Encoders", 2018 (the
square of 140 x 140 in the middle, scaled to 64 x 64).
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from aelib.data._pictures import Pictures
from aelib.data._sources import Raw, Size, Status
from aelib.data._store import (
    DATA_VARIABLE,
    CorruptFile,
    DatasetUnavailable,
    data_folders,
    user_data_folder,
)

FOLDER = "celeba"  # below a data folder; its three parts may also lie in the data folder itself
LABEL = "Smiling"  # becomes `y`, so that CelebA, `smiles` and `faces` are used in the same way
SIZE = 64

_IMAGES, _ATTRIBUTES = "img_align_celeba", "list_attr_celeba.txt"
_PARTITION = "list_eval_partition.txt"
_ALIGNED = (178, 218)  # width, height of the aligned images
_CROP = 140  # the square in the middle: hair to chin, hardly any background


@dataclass(frozen=True)
class CelebA:
    """The dataset in the user's `folder`, or in one of the data folders."""

    folder: Path | None = None
    stand_in: str = "faces"
    not_fetched: str = "It cannot be downloaded, see data/README.md"

    def read(self, size: Size = None, limit: int | None = None) -> Raw:
        """All images, which are read when they are sliced; the last for training are `valid`.

        Raises:
            CorruptFile: if one of the lists is not as published.
            DatasetUnavailable: if it is not on this machine.
        """
        folder = self.folder or _find()
        if folder is None:
            raise DatasetUnavailable(
                "The dataset celeba is not on this machine, and its licence asks you to get it "
                f"yourself.\nWays out: set {DATA_VARIABLE} to a folder with {FOLDER}/{_IMAGES}/ "
                f"and {FOLDER}/{_ATTRIBUTES}; or use the embedded faces: data.load('faces')."
            )
        files, attributes = _attributes(folder / _ATTRIBUTES)
        part = _partition(folder / _PARTITION, files)
        order = np.argsort(part, kind="stable")  # the published lists are in this order already
        training, test = np.split(order, [int((part < 2).sum())])

        paths = [folder / _IMAGES / file for file in files]
        side = max(size) if size else SIZE
        read = partial(_picture, size=side)

        def split(rows: np.ndarray) -> tuple[Pictures, np.ndarray, dict[str, np.ndarray]]:
            factors = {name: values[rows] for name, values in attributes.items()}
            pictures = Pictures([paths[row] for row in rows], (side, side, 3), read)
            return pictures, factors[LABEL], factors

        x, y, factors = split(training)
        x_test, y_test, factors_test = split(test)
        return Raw(x, y, x_test, y_test, int((part == 1).sum()), factors, factors_test)

    def status(self) -> Status:
        folder, users = _find(), user_data_folder()
        if folder is None:
            note = "not here: only you can get it, see data/README.md"
            return Status("celeba", "directory", None, note)
        theirs = users is not None and folder in (users, users / FOLDER)
        note = f"in {DATA_VARIABLE}" if theirs else "in the data folder"
        return Status("celeba", "directory", str(folder), note)


def is_celeba(folder: Path) -> bool:
    """Whether a folder has the images and the list of attributes."""
    return (folder / _IMAGES).is_dir() and (folder / _ATTRIBUTES).is_file()


def _find() -> Path | None:
    places = (place for folder in data_folders() for place in (folder / FOLDER, folder))
    return next(filter(is_celeba, places), None)


def _attributes(path: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """File names, and 0 or 1 for each of them by the name of the attribute.

    The list: how many images; the names of the attributes; then a file name and 1 or -1 for each.
    """
    try:
        count, header, *lines = path.read_text().splitlines()
        names = header.split()
        rows = [line.split() for line in lines if line.strip()]
        files = [row[0] for row in rows]
        values = np.array([row[1:] for row in rows], np.int64)
        if len(rows) != int(count) or values.shape != (len(rows), len(names)):
            raise ValueError(f"{count} images announced, {values.shape} found")
        if not np.isin(values, (-1, 1)).all():
            raise ValueError("values other than 1 and -1")
        if LABEL not in names or len(set(names)) < len(names):
            raise ValueError(f"the attributes are {names}")
        if len(set(files)) < len(files):
            raise ValueError("a file is listed twice")
    except (ValueError, IndexError, OverflowError) as error:
        raise _corrupt(path, str(error)) from error
    for file in files:
        if Path(file).name != file or "\\" in file or file in (".", ".."):
            raise _corrupt(path, f"a file name that is a path: {file!r}")
    positive = (values > 0).astype(np.int64)
    return files, {name: positive[:, index].copy() for index, name in enumerate(names)}


def _partition(path: Path, files: list[str]) -> np.ndarray:
    """0 training, 1 validation, 2 test for each file; without a list the last two tenths."""
    if not path.is_file():
        tenth = len(files) // 10
        return np.repeat([0, 1, 2], [len(files) - 2 * tenth, tenth, tenth])
    try:
        parts = dict(line.split() for line in path.read_text().splitlines() if line.strip())
        part = np.array([int(parts[file]) for file in files], np.int64)
        if not np.isin(part, (0, 1, 2)).all():
            raise ValueError("parts other than 0, 1 and 2")
    except (ValueError, KeyError, OverflowError) as error:
        raise _corrupt(path, f"{type(error).__name__} {error}") from error
    return part


def _picture(path: Path, size: int) -> np.ndarray:
    """The square in the middle, scaled down with an antialiasing filter, float32 in [0, 1]."""
    from PIL import Image  # here: most processes never need it

    width, height = _ALIGNED
    left, top = (width - _CROP) // 2, (height - _CROP) // 2
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise ValueError("there is no such file")
        with Image.open(path, formats=["JPEG", "PNG"]) as image:
            if image.size != _ALIGNED:
                raise ValueError(f"it is {image.size[0]} x {image.size[1]}")
            square = image.convert("RGB").crop((left, top, left + _CROP, top + _CROP))
    except Exception as error:  # a damaged picture fails in a dozen ways
        raise _corrupt(path, str(error) or type(error).__name__) from error
    scaled = square.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(scaled, np.float32) / np.float32(255)


def _corrupt(path: Path, reason: str) -> CorruptFile:
    return CorruptFile(f"This is not CelebA: {reason}. Received: file={path}")
