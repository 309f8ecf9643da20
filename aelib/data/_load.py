"""From a source of images to three splits in one form."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aelib._checks import number, whole
from aelib._format import say
from aelib.data import digits, faces
from aelib.data._celeba import CelebA, is_celeba
from aelib.data._mnist import FASHION_MNIST, MNIST
from aelib.data._own import OwnFile, OwnFolder
from aelib.data._remote import Downloaded
from aelib.data._smiles import SMILES
from aelib.data._sources import Drawn, Status
from aelib.data._store import DatasetUnavailable, user_data_folder


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images and their labels, or the rows of a table.

    Attributes:
        x: float32 in [0, 1], `(n, height, width, channels)`; of a table float32, `(n, columns)`.
        y: int64, `(n,)`, -1 where there is no label. Of faces: 1 where the person smiles.
        factors: what else is known of each image, from names to arrays `(n,)`: all that `faces`
            were drawn from (see `faces.FACTORS`), the 40 attributes of `celeba`; otherwise empty.
    """

    x: np.ndarray
    y: np.ndarray
    factors: dict[str, np.ndarray] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{len(self.x):,} {'rows' if self.x.ndim == 2 else 'images'}"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Three sets of images that have nothing in common but where they come from.

    Attributes:
        name: what `load` was given; after `load_or_embedded` the dataset that was really used.
        train: to learn from.
        valid: to choose with (sizes, weights, when to stop); empty with `validation=0`.
        test: to report on, once.
        class_names: of the labels 0, 1, ...: the sub-folders of a folder of images, else empty.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    class_names: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, ...]:
        """`(height, width, channels)`, of a table `(columns,)`."""
        return self.train.x.shape[1:]

    def __repr__(self) -> str:
        parts = (f"{len(getattr(self, part).x):,} {part}" for part in ("train", "valid", "test"))
        shape = " x ".join(map(str, self.image_shape))
        what = f"rows of {shape} numbers" if self.train.x.ndim == 2 else f"images of {shape}"
        return f"{self.name}: {', '.join(parts)} {what}"


_SOURCES: dict[str, Downloaded | Drawn | CelebA] = {
    "mnist": MNIST,
    "fashion_mnist": FASHION_MNIST,
    "digits": Drawn("digits", digits.read),
    "faces": Drawn("faces", faces.read),
    "smiles": SMILES,
    "celeba": CelebA(),
}


def names() -> list[str]:
    """The names that `load` knows, beside the paths of `.npz` files and of folders of images."""
    return list(_SOURCES)


def load(
    name: str | os.PathLike,
    *,
    validation: int | float | None = None,
    size: int | tuple[int, int] | None = None,
    limit: int | None = None,
) -> Dataset:
    """Loads a dataset, downloading or drawing it the first time.

    Args:
        name: one of `names()`, or the path of your own data (`data/README.md` has the details):

            - an `.npz` file with `x_train`, `x_test` and, if there are labels, `y_train`, `y_test`:
              images `(n, height, width)`, `(n, height, width, 1)` or `(n, height, width, 3)`, bool,
              uint8 or floats in [0, 1]; or a table `(n, columns)`, whose numbers stay as they are;
              and one integer for each as its label;
            - a folder of images of any format that Pillow reads. Its sub-folders are the classes;
              their sorted positions are the labels. Where they are called `train`, `valid` (or
              `val`, `validation`) and `test`, these are the parts, with the classes below them;
            - a folder with `img_align_celeba/` and `list_attr_celeba.txt`, which is `celeba`.
        validation: how many (int) or which share (float) of the training images become `valid`:
            the last ones, in your own data after shuffling. Default: 10,000 of MNIST and
            Fashion-MNIST, 2,000 of the digits and of the smiles, 1,000 of the faces, the published
            ones of CelebA, those in a folder's `valid`, a tenth of any other data of your own.
        size: `(height, width)`, or one int for both, to resize to, antialiased and whatever the
            proportions were. Default: as they are; 64 for CelebA.
        limit: at most this many images in each of the three splits, the first ones. Of `faces`,
            `celeba` and a folder no others are drawn or decoded. (All of CelebA takes 10 GB.)

    Returns:
        A `Dataset`, whose `train`, `valid` and `test` have images `x` and labels `y`.

    Raises:
        ValueError: if an argument, or a user's own file, is invalid.
        DatasetUnavailable: if the dataset is missing and cannot be downloaded.
        CorruptFile: if a file in `AELIB_DATA_DIR`, of CelebA or of a folder of images is not what
            it should be.
    """
    source = _source(name)
    if limit is not None:
        whole("limit", limit, 1)
    shape = None if size is None else _height_and_width(size)
    if isinstance(validation, float | np.floating):
        number("validation", validation, 0, 1, below=True)
    elif validation is not None:
        whole("validation", validation)
    raw = source.read(shape, limit)
    if shape is not None and getattr(raw.x, "ndim", 4) == 2:
        raise ValueError(f"`size` is for images, {name} is a table. Received: size={size!r}")
    part = raw.validation if validation is None else validation
    count = round(part * len(raw.x)) if isinstance(part, float | np.floating) else int(part)
    if count >= len(raw.x):
        raise ValueError(
            f"`validation` must leave some of the {len(raw.x):,} images to train with. "
            f"Received: validation={part!r}"
        )
    cut = len(raw.x) - count

    def split(x: Any, y: np.ndarray, factors: dict, begin: int, end: int) -> Split:
        rows = slice(begin, end if limit is None else min(end, begin + limit))
        images = _as_images(x[rows])
        if shape is not None and images.shape[1:3] != shape:
            images = _resized(images, shape)
        kept = {key: np.array(values[rows]) for key, values in factors.items()}
        return Split(images, y[rows].astype(np.int64), kept)

    return Dataset(
        os.fspath(name),
        split(raw.x, raw.y, raw.factors, 0, cut),
        split(raw.x, raw.y, raw.factors, cut, len(raw.x)),
        split(raw.x_test, raw.y_test, raw.factors_test, 0, len(raw.x_test)),
        raw.class_names,
    )


def load_or_embedded(name: str | os.PathLike, **arguments: Any) -> Dataset:
    """Like `load`, with an embedded dataset where this one is missing and cannot be downloaded.

    The `digits` stand in for digits and clothes, the `faces` for faces. One printed line says so,
    and the result's `name` is what was really used.

    Args:
        name: see `load`.
        **arguments: see `load`.
    """
    try:
        return load(name, **arguments)
    except DatasetUnavailable:
        embedded = _source(name).stand_in
        say(
            f"{name} is not on this machine and could not be downloaded: "
            f"using the embedded {embedded} instead."
        )
        return load(embedded, **arguments)


def status() -> list[Status]:
    """What is there and where, without downloading, drawing or checking anything.

    Raises:
        ValueError: if `AELIB_DATA_DIR` names a folder that is missing.
    """
    return [source.status() for source in _SOURCES.values()]


def fetch(name: str) -> str:
    """Makes sure that a dataset is on this machine, whole, and returns its path.

    Raises:
        ValueError: if the name is unknown, or of a dataset that cannot be downloaded.
        DatasetUnavailable: if the download fails.
    """
    source = _SOURCES.get(name)
    if isinstance(source, Downloaded):
        return source.fetch()
    downloads = [key for key, other in _SOURCES.items() if isinstance(other, Downloaded)]
    reason = source.not_fetched if source else "There is no such dataset"
    raise ValueError(
        f"{reason}. `name` must be one of {', '.join(downloads)}. Received: name={name!r}"
    )


def _source(name: str | os.PathLike) -> Downloaded | Drawn | CelebA | OwnFile | OwnFolder:
    user_data_folder()  # a mistyped folder is reported whichever dataset is asked for
    if isinstance(name, str) and name in _SOURCES:
        return _SOURCES[name]
    if isinstance(name, str | os.PathLike):
        path = os.fspath(name)
        if path.endswith(".npz") or os.path.isfile(path):
            return OwnFile(path)
        if path and is_celeba(Path(path).expanduser()):
            return CelebA(Path(path).expanduser())
        if os.path.isdir(os.path.expanduser(path)):
            return OwnFolder(path)
    raise ValueError(
        f"`name` must be one of {', '.join(_SOURCES)}, or the path of an .npz file or of a folder "
        f"of images. Received: name={name!r}"
    )


def _height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    if not isinstance(size, tuple | list):
        return (whole("size", size, 1),) * 2
    if len(size) != 2:
        raise ValueError(
            f"`size` must be an integer >= 1, or (height, width). Received: size={size!r}"
        )
    return whole("size[0]", size[0], 1), whole("size[1]", size[1], 1)


def _as_images(x: np.ndarray) -> np.ndarray:
    """uint8 or floats, with or without channels, to float32 in [0, 1] with channels."""
    if x.ndim == 3:
        x = x[..., np.newaxis]
    if x.dtype == np.uint8:
        return np.divide(x, np.float32(255), dtype=np.float32)
    return x.astype(np.float32, copy=not x.flags.owndata)  # no copy of what was just read


def _resized(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Antialiased. Bilinear weights are never negative, so pixels stay in [0, 1]."""
    from PIL import Image  # here: most processes never need it

    result = np.empty((len(x), *size, x.shape[3]), np.float32)
    for image, target in zip(x, result, strict=True):
        for channel in range(x.shape[3]):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            resized = plane.resize(size[::-1], Image.Resampling.BILINEAR)
            target[..., channel] = np.asarray(resized)
    return np.clip(result, 0, 1, out=result)
