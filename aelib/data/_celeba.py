"""`celeba`: faces with 40 attributes, from a directory that the user has.

CelebA is free for research that is not commercial and may not be passed on, so nothing is
downloaded: see `data/README.md` for where it is.

References: Liu, Luo, Wang & Tang, "Deep Learning Face Attributes in the Wild", 2015 (the images and
the three parts); Tolstikhin, Bousquet, Gelly & Schoelkopf, "Wasserstein Auto-Encoders", 2018 (the
square of 140 x 140 in the middle, scaled to 64 x 64).
"""

from pathlib import Path

import numpy as np

from aelib.data import _remote, _store

FOLDER = "celeba"  # below a data folder; its three parts may also lie in the data folder itself
LABEL = "Smiling"  # becomes `y`, so that CelebA, `smiles` and `faces` are used in the same way
SIZE = 64

_IMAGES, _ATTRIBUTES = "img_align_celeba", "list_attr_celeba.txt"
_PARTITION = "list_eval_partition.txt"
_ALIGNED = (178, 218)  # width, height of the aligned images
_CROP = 140  # the square in the middle: hair to chin, hardly any background


class _Pictures:
    """Images that are read when a slice is asked for, float32 `(n, size, size, 3)`."""

    def __init__(self, folder: Path, files: list[str], size: int):
        self.folder, self.files, self.size = folder, files, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, part: slice) -> np.ndarray:
        files = self.files[part]
        images = np.empty((len(files), self.size, self.size, 3), np.float32)
        for file, target in zip(files, images, strict=True):
            target[:] = _picture(self.folder / file, self.size)
        return images


def places() -> list[Path]:
    """Where it is looked for, in this order."""
    folders = [folder for folder in (_store.given_folder(), _store.own_folder()) if folder]
    return [place for folder in folders for place in (folder / FOLDER, folder)]


def is_one(folder: Path) -> bool:
    return (folder / _IMAGES).is_dir() and (folder / _ATTRIBUTES).is_file()


def find() -> Path:
    """The directory.

    Raises:
        DatasetUnavailable: naming the ways out.
    """
    for place in places():
        if is_one(place):
            return place
    raise _remote.DatasetUnavailable(
        "The dataset celeba is not on this machine, and its licence asks you to get it yourself.\n"
        f"Ways out: set {_store.DATA_VARIABLE} to a folder with "
        f"{FOLDER}/{_IMAGES}/ and {FOLDER}/{_ATTRIBUTES}; or use the embedded faces: "
        "data.load('faces')."
    )


def read(folder: Path, size: int | None) -> tuple:
    """`x_train, y_train, x_test, y_test`, the attributes of both, the number of validation images.

    They are the last of the training images.

    Raises:
        CorruptFile: if one of the lists is not as published.
    """
    files, attributes = _attributes(folder / _ATTRIBUTES)
    part = _partition(folder / _PARTITION, files)
    order = np.argsort(part, kind="stable")  # the published lists are in this order already
    learning = int((part < 2).sum())
    images = folder / _IMAGES

    def chosen(where: np.ndarray) -> tuple:
        factors = {name: values[where] for name, values in attributes.items()}
        names = [files[index] for index in where]
        return _Pictures(images, names, size or SIZE), factors[LABEL], factors

    x, y, factors = chosen(order[:learning])
    x_test, y_test, factors_test = chosen(order[learning:])
    return x, y, x_test, y_test, factors, factors_test, int((part == 1).sum())


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
    except (ValueError, IndexError) as error:
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
    except (ValueError, KeyError) as error:
        raise _corrupt(path, f"{type(error).__name__} {error}") from error
    return part


def _picture(path: Path, size: int) -> np.ndarray:
    """The square in the middle, scaled down with an antialiasing filter, float32 in [0, 1]."""
    from PIL import Image  # here: most processes never need it

    width, height = _ALIGNED
    left, top = (width - _CROP) // 2, (height - _CROP) // 2
    try:
        with Image.open(path, formats=["JPEG", "PNG"]) as image:
            if image.size != _ALIGNED:
                raise ValueError(f"it is {image.size[0]} x {image.size[1]}")
            square = image.convert("RGB").crop((left, top, left + _CROP, top + _CROP))
    except (OSError, ValueError) as error:
        raise _corrupt(path, str(error)) from error
    scaled = square.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(scaled, np.float32) / np.float32(255)


def _corrupt(path: Path, what: str) -> _store.CorruptFile:
    return _store.CorruptFile(f"This is not CelebA: {what}. Received: file={path}")
