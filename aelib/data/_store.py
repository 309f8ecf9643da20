"""Where datasets lie, and how a new file gets there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DATA_VARIABLE = "AELIB_DATA_DIR"


class CorruptFile(ValueError):
    """A dataset's file is not what it should be. The message names the file."""


def given_folder() -> Path | None:
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


def own_folder() -> Path:
    """Where datasets are kept: `data/` of the checkout, elsewhere the user's cache folder."""
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    import platformdirs  # here: an import that most processes never need

    return Path(platformdirs.user_cache_dir("aelib", appauthor=False))


@contextmanager
def workshop(name: str) -> Iterator[Path]:
    """Gives an empty folder for half-made files of dataset `name`, to one process at a time.

    It lies on the file system of `own_folder()`, so that `os.replace` from one into the other
    is atomic. What a killed process left in it is thrown away by the next one.

    Raises:
        OSError: if the folder cannot be written.
    """
    import filelock

    folder = own_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / f".{name}.lock"):
        half_made = folder / f".{name}.partial"
        shutil.rmtree(half_made, ignore_errors=True)
        half_made.mkdir()
        try:
            yield half_made
        finally:
            shutil.rmtree(half_made, ignore_errors=True)
