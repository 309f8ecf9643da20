"""Images in files of any format that Pillow reads."""

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from aelib.data._sources import Size
from aelib.data._store import CorruptFile

# What Pillow recognises and leaves to other programs: documents, videos, tables of numbers.
_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_GREY = {"1", "L", "LA", "La", "F"}  # Pillow's modes, beside "I", "I;16", ...


class Pictures:
    """Images that are read when a slice is asked for, float32 `(n, *shape)`."""

    def __init__(
        self,
        paths: Sequence[Path],
        shape: tuple[int, int, int],
        read: Callable[[Path], np.ndarray],
    ):
        self.paths, self.shape, self.read = paths, shape, read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, part: slice) -> np.ndarray:
        paths = self.paths[part]
        images = np.empty((len(paths), *self.shape), np.float32)
        for path, target in zip(paths, images, strict=True):
            target[:] = self.read(path)
        return images


@functools.cache
def _formats() -> tuple[list[str], set[str]]:
    """The formats that Pillow reads by itself, and the endings of their files."""
    from PIL import Image  # here: most processes never need it

    Image.init()
    formats = [name for name in Image.ID if name not in _NOT_READ]
    endings = {end for end, name in Image.registered_extensions().items() if name in formats}
    return formats, endings


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An image of which nothing is decoded yet. One of far too many pixels is refused."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if not path.is_file():  # opening a pipe would wait for ever
            raise Image.UnidentifiedImageError("it is no file")
        with Image.open(path, formats=_formats()[0]) as image:
            yield image


def is_grey(path: Path) -> bool | None:
    """Whether an image is stored in grey; None of what is no image, nor called one."""
    from PIL import UnidentifiedImageError

    try:
        with _opened(path) as image:
            if image.mode in ("P", "PA"):
                palette = np.reshape(image.getpalette() or [], (-1, 3))
                return bool((palette == palette[:, :1]).all())
            return image.mode in _GREY or image.mode.startswith("I")
    except Exception as error:  # a damaged picture fails in a dozen ways
        unknown = isinstance(error, UnidentifiedImageError)
        if unknown and path.suffix.lower() not in _formats()[1]:
            return None
        raise _unreadable(path, error) from error


def picture(path: Path, size: Size, channels: int) -> np.ndarray:
    """An image as it is looked at, float32 in [0, 1]: upright, on white where it is transparent."""
    from PIL import Image, ImageOps

    try:
        with _opened(path) as image:
            if size:  # a large JPEG is decoded at a half, a quarter or an eighth
                image.draft(None, (2 * max(size),) * 2)
            ImageOps.exif_transpose(image, in_place=True)
            if image.mode[0] in "IF":
                pixels = np.asarray(image, np.float32) / (1 if image.mode == "F" else 65_535)
                if not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN is neither
                    raise ValueError("it has pixels that are not in [0, 1], or of 16 bits")
                image = Image.fromarray(pixels)
            else:
                if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
                    ink = image.convert("RGBA")
                    image = Image.alpha_composite(Image.new("RGBA", ink.size, "white"), ink)
                image = image.convert("L" if channels == 1 else "RGB")
            if size:
                image = image.resize(size[::-1], Image.Resampling.BILINEAR)  # antialiased
            pixels = np.asarray(image, np.float32) / (1 if image.mode == "F" else 255)
    except Exception as error:
        raise _unreadable(path, error) from error
    height, width = pixels.shape[:2]
    pixels = pixels.reshape(height, width, -1).clip(0, 1)
    return np.broadcast_to(pixels, (height, width, channels))


def _unreadable(path: Path, error: Exception) -> CorruptFile:
    reason = str(error) or type(error).__name__
    return CorruptFile(f"This image cannot be read: {reason}. Received: file={path}")
