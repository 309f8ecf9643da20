"""A reader's own images: an `.npz` file with `x_train`, `y_train`, `x_test`, `y_test`."""

import os

import numpy as np

_KEYS = ("x_train", "y_train", "x_test", "y_test")


def read(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The four arrays, checked; the training images are shuffled, always in the same way.

    Such files are often sorted by class, and `valid` is cut from the end.

    Raises:
        ValueError: naming what the file holds instead.
    """
    arrays = _arrays(path)
    for part in ("train", "test"):
        _check_images(path, f"x_{part}", arrays[f"x_{part}"])
        _check_labels(path, f"y_{part}", arrays[f"y_{part}"], len(arrays[f"x_{part}"]))
    x_train, y_train, x_test, y_test = (arrays[key] for key in _KEYS)
    if _image_shape(x_train) != _image_shape(x_test):
        raise ValueError(
            "Training and test images have different shapes. "
            f"Received: x_train.shape={x_train.shape}, x_test.shape={x_test.shape} in {path!r}"
        )
    order = np.random.default_rng(0).permutation(len(x_train))
    return x_train[order], y_train.reshape(-1)[order], x_test, y_test.reshape(-1)


def _arrays(path: str) -> dict[str, np.ndarray]:
    file_path = os.path.expanduser(path)
    if not os.path.isfile(file_path):
        raise ValueError(f"There is no such file. Received: name={path!r}")
    try:
        with np.load(file_path, allow_pickle=False) as file:
            keys = sorted(file.keys())
            if not set(_KEYS) <= set(keys):
                raise ValueError(f"it has {keys}, not {list(_KEYS)}")
            return {key: file[key] for key in _KEYS}
    except Exception as error:  # a damaged file fails in a dozen ways, in zipfile and in NumPy
        raise ValueError(
            f"This is not an .npz file of images: {error}. Received: name={path!r}"
        ) from error


def _image_shape(x: np.ndarray) -> tuple[int, ...]:
    return x.shape[1:] if x.ndim == 4 else (*x.shape[1:], 1)


def _check_images(path: str, key: str, x: np.ndarray) -> None:
    received = f"Received: {key}.shape={x.shape}, {key}.dtype={x.dtype} in {path!r}"
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3)):
        raise ValueError(f"Images are (n, height, width) with 1 or 3 channels. {received}")
    if x.size == 0:
        raise ValueError(f"There are no images. {received}")
    if x.dtype == np.uint8:
        return
    if x.dtype.kind != "f":
        raise ValueError(f"Images are uint8, or floats in [0, 1]. {received}")
    low, high = x.min(), x.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int(x.size - np.isfinite(x).sum())
        raise ValueError(f"Pixels are finite. Received: {bad} NaN or infinite in {key} of {path!r}")
    if low < 0 or high > 1:
        raise ValueError(
            f"Float pixels lie in [0, 1]. Received: {key} from {low:.4g} to {high:.4g} in {path!r}"
        )


def _check_labels(path: str, key: str, y: np.ndarray, images: int) -> None:
    received = f"Received: {key}.shape={y.shape}, {key}.dtype={y.dtype} in {path!r}"
    if y.dtype.kind not in "iu":
        raise ValueError(f"Labels are whole numbers. {received}")
    if y.shape not in ((images,), (images, 1)):
        raise ValueError(f"There is one label for each of the {images} images. {received}")
