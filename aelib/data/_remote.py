"""Datasets that are downloaded, once, within bounds of size and time."""

import os
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aelib._files import write_whole
from aelib._format import printable
from aelib.data._sources import Raw, Size, Status
from aelib.data._store import (
    DATA_VARIABLE,
    CorruptFile,
    DatasetUnavailable,
    data_folders,
    staging_folder,
    user_data_folder,
)

CONNECT = 10.0  # seconds until the server must be reached, whatever hangs
TIMEOUT = 20.0  # seconds without a byte
PATIENCE, FETCH_PATIENCE = 300.0, 3600.0  # seconds for all of a dataset, in `load` and in `fetch`
LARGEST = 300_000_000  # bytes of one file
LONGEST = 160  # characters of a reason, which a server may have written
OFFLINE = 600.0  # seconds for which a server that was not reached is not tried again


class Unreachable(OSError):
    """There is no network, or so little of it that the next try would not end differently."""


@dataclass(frozen=True)
class Downloaded:
    """A dataset that is downloaded once.

    Attributes:
        name: its name in `data.names()`.
        addresses: where a file of this name is, the best place first: one URL, or those of the
            parts from which `join` makes it. The next place is asked where one fails.
        files: its files, relative to a data folder.
        megabytes: the size of all of them.
        check: raises `CorruptFile` or `FileNotFoundError` for one of the files.
        unpack: returns the images in a data folder, each file checked on the way.
        stand_in: the embedded dataset to use where this one is unavailable.
    """

    name: str
    addresses: Sequence[Callable[[str], Sequence[str]]]
    files: tuple[str, ...]
    megabytes: int
    check: Callable[[Path], object]
    unpack: Callable[[Path], Raw]
    stand_in: str = "digits"
    join: Callable[[Sequence[bytes]], bytes] = b"".join

    def find(self) -> Path | None:
        """The data folder that has all the files, whole or not, or None."""
        for folder in data_folders():
            if all((folder / file).is_file() for file in self.files):
                return folder
        return None

    def read(self, size: Size = None, limit: int | None = None) -> Raw:
        """All images, downloaded first where they are missing.

        Raises:
            CorruptFile: if a file in `AELIB_DATA_DIR` is not what it should be.
            DatasetUnavailable: if they are missing and cannot be downloaded.
        """
        return self._read(self.find(), patient=False)

    def fetch(self) -> str:
        """Like `read`, but patient, and whether or not there was a network before."""
        folder = self.find()
        self._read(folder, patient=True)
        return self._shown(folder or data_folders()[-1])

    def status(self) -> Status:
        folder = self.find()
        if folder is None:
            note = f"not here: `aelib data fetch {self.name}` downloads {self.megabytes} MB"
            return Status(self.name, "download", None, note)
        note = f"in {DATA_VARIABLE}" if folder == user_data_folder() else "downloaded"
        return Status(self.name, "download", self._shown(folder), note)

    def _shown(self, folder: Path) -> str:
        first = folder / self.files[0]
        return str(first if len(self.files) == 1 else first.parent)

    def _read(self, folder: Path | None, patient: bool) -> Raw:
        if folder is not None:
            try:
                return self.unpack(folder)
            except CorruptFile:
                if folder == user_data_folder():  # theirs to mend
                    raise
        try:
            patience = FETCH_PATIENCE if patient else PATIENCE
            with staging_folder(self.name, patience) as staging:
                self._download(staging, patience)
        except (OSError, CorruptFile) as error:
            raise DatasetUnavailable(
                f"The dataset {self.name} is missing or damaged on this machine and could not be "
                f"downloaded: {type(error).__name__}: {error}\n"
                f"Ways out: set {DATA_VARIABLE} to a folder that has {self.files[0]}; "
                f"run `aelib data fetch {self.name}` where there is a network; "
                f"or use the embedded {self.stand_in}: data.load({self.stand_in!r})."
            ) from error
        return self.unpack(data_folders()[-1])

    def _download(self, staging: Path, patience: float) -> None:
        """Brings the files into the cache folder, each checked before it gets its name."""
        note = staging.parent / f".{self.name}.offline"
        age = time.time() - note.stat().st_mtime if note.is_file() else OFFLINE
        if 0 <= age < OFFLINE and patience < FETCH_PATIENCE:
            raise Unreachable(f"{note.read_text()} ({age / 60:.0f} min ago)")
        deadline = time.monotonic() + patience
        errors: list[OSError | CorruptFile] = []
        for address in self.addresses:
            try:
                for file in self.files:
                    self._bring(file, address, staging, deadline)
                note.unlink(missing_ok=True)
                return
            except (OSError, CorruptFile) as error:
                errors.append(error)
            if time.monotonic() > deadline:
                break
        reason = "; ".join(dict.fromkeys(map(str, errors)))  # each reason once
        if all(isinstance(error, Unreachable) for error in errors):
            write_whole(note, reason)
            raise Unreachable(reason)
        raise OSError(reason)

    def _bring(
        self, file: str, address: Callable[[str], Sequence[str]], staging: Path, deadline: float
    ) -> None:
        path = staging.parent / file
        try:
            self.check(path)
        except (FileNotFoundError, CorruptFile):
            temporary = staging / path.name
            parts = []
            for url in address(path.name):
                _transfer(url, temporary, deadline)
                parts.append(temporary.read_bytes())
            if len(parts) > 1:
                temporary.write_bytes(self.join(parts))
            self.check(temporary)
            path.parent.mkdir(exist_ok=True)
            os.replace(temporary, path)


def _transfer(url: str, path: Path, deadline: float) -> None:
    """Writes what is at `url` into a file.

    Raises:
        Unreachable: if there is no connection, or it is too slow.
        OSError: for every other reason.
    """
    try:
        _connect(url)
        left = deadline - time.monotonic()
        _within(left, "the connection is too slow", lambda: _receive(url, path, deadline))
    except Exception as error:  # a malformed answer fails in a dozen ways
        known = error if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        reason = printable(str(known))[:LONGEST]
        late = isinstance(getattr(error, "reason", error), TimeoutError | Unreachable)
        raise (Unreachable if late else OSError)(reason) from error


def _receive(url: str, path: Path, deadline: float) -> None:
    import certifi  # here: most processes never need them
    import tqdm

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())  # Python on macOS has none of its own
    with (
        urllib.request.urlopen(url, timeout=TIMEOUT, context=context) as answer,
        open(path, "wb") as file,
        # No bar where nobody watches, such as a notebook's stored output.
        tqdm.tqdm(desc=path.name, unit="B", unit_scale=True, disable=None) as bar,
    ):
        bar.total = answer.length
        while chunk := answer.read1(2**16):  # what is there, without waiting for the rest
            bar.update(file.write(chunk))
            if file.tell() > LARGEST:
                raise OSError(f"the file has more than {LARGEST / 1e6:.0f} MB")
            if time.monotonic() > deadline:
                raise TimeoutError("the connection is too slow")


def _connect(url: str) -> None:
    """Raises `Unreachable` within `CONNECT` seconds, also where a resolver hangs or packets vanish.

    A server has up to 16 addresses; tried in turn, each of them would take its own time-out.
    """
    place = urlsplit(url)
    proxy = urllib.request.getproxies().get(place.scheme)
    if proxy and not urllib.request.proxy_bypass(place.hostname or ""):
        place = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    host, port = place.hostname or "", place.port or (443 if place.scheme == "https" else 80)
    try:
        _within(
            CONNECT,
            f"timed out after {CONNECT:.0f} seconds",
            lambda: socket.create_connection((host, port), CONNECT / 2).close(),
        )
    except OSError as error:
        raise Unreachable(f"no connection to {host}: {error.strerror or error}") from error


def _within(seconds: float, late: str, work: Callable[[], None]) -> None:
    """Does `work` in a thread, and raises `Unreachable` where it takes longer.

    A resolver, and a server that sends a header without an end, cannot be stopped in another way.
    """
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            work()
            outcome.set_result(None)
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        outcome.result(max(seconds, 0))
    except TimeoutError as error:
        raise Unreachable(str(error) or late) from error
