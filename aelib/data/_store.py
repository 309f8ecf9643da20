"""Where datasets lie, and how a file gets there whole or not at all."""

import errno
import hashlib
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from aelib._files import write_whole

DATA_VARIABLE = "AELIB_DATA_DIR"
SILENT, PATIENCE = 5.0, 60.0  # seconds of waiting for another process: without a word, and after
_NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class CorruptFile(ValueError):
    """A dataset's file is not what it should be. The message names the file."""


class DatasetUnavailable(RuntimeError):
    """A dataset is not on this machine and could not be downloaded."""


def user_data_folder() -> Path | None:
    """The folder that `AELIB_DATA_DIR` names, absolute, or None. Nothing is written there.

    Raises:
        ValueError: if the variable is set and the folder is missing.
    """
    value = os.environ.get(DATA_VARIABLE)
    if not value:
        return None
    folder = Path(value).expanduser().absolute()
    if not folder.is_dir():
        raise ValueError(f"There is no such folder. Received: {DATA_VARIABLE}={value!r}")
    return folder


def cache_folder() -> Path:
    """Where datasets are kept: `data/` of the checkout, elsewhere the user's cache folder."""
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    import platformdirs  # here: an import that most processes never need

    return Path(platformdirs.user_cache_dir("aelib", appauthor=False))


def data_folders() -> list[Path]:
    """Where datasets are looked for, in this order."""
    return [folder for folder in (user_data_folder(), cache_folder()) if folder]


def cached_file(name: str) -> Path:
    """Where `drawn_once` keeps its arrays."""
    return cache_folder() / f"{name}.npz"


@contextmanager
def lock(name: str, patience: float) -> Iterator[None]:
    """Lets one process at a time write the files of dataset `name` in the cache folder.

    Raises:
        OSError: if the folder cannot be written, or another process keeps the lock.
    """
    import filelock

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    held: filelock.BaseFileLock = filelock.FileLock(folder / f".{name}.lock")
    try:
        _acquire(held, patience)
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", errno.ENOSYS) not in _NO_FLOCK:
            raise
        held = filelock.SoftFileLock(folder / f".{name}.held")  # the file itself is the lock
        _acquire(held, patience)
    try:
        yield
    finally:
        held.release()


def _acquire(held: Any, patience: float) -> None:
    """Says so where it takes long, and what is waited for."""
    try:
        held.acquire(timeout=min(SILENT, patience))
    except TimeoutError:
        until = f"for up to {patience:.0f} seconds"
        print(f"Waiting {until} for another process: it holds {held.lock_file}", file=sys.stderr)
        held.acquire(timeout=patience)


@contextmanager
def staging_folder(name: str, patience: float) -> Iterator[Path]:
    """An empty folder for unfinished files of dataset `name`, for one process at a time.

    Its parent is the cache folder, so `os.replace` from one into the other is atomic. What a killed
    process left in it is deleted by the next one.
    """
    with lock(name, patience):
        folder = cache_folder() / f".{name}.partial"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def recipe(sources: Sequence[Path]) -> str:
    """SHA-256 of the code that draws."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def kept(name: str, sources: Sequence[Path]) -> list[np.ndarray]:
    """What `drawn_once` has kept, if it is whole and was drawn by this very code; else empty."""
    with suppress(Exception):  # whatever is wrong with the file, drawing again is the cure
        with np.load(cached_file(name), allow_pickle=False) as file:
            if file["recipe"] == recipe(sources):
                return [file[f"arr_{index}"] for index in range(len(file.files) - 1)]
    return []


def drawn_once(
    name: str, sources: Sequence[Path], draw: Callable[[], Sequence[np.ndarray]]
) -> Sequence[np.ndarray]:
    """The arrays that `draw` returns, kept until one of the files `sources` changes.

    They are drawn by one process at a time; and each time where the cache folder cannot be written,
    or another process keeps its lock.
    """
    arrays: Sequence[np.ndarray] = kept(name, sources)
    if not arrays:
        with suppress(OSError), lock(name, PATIENCE):
            arrays = kept(name, sources)  # another process was faster
            if not arrays:
                arrays = draw()
                content = io.BytesIO()
                np.savez(content, *arrays, recipe=recipe(sources))
                write_whole(cached_file(name), content.getvalue())
    return arrays or draw()
