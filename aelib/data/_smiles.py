"""`smiles`: 13,153 real faces, smiling or not, from O. D. Hromada's SMILEsmileD, 2010."""

import hashlib
import io
import re
import zipfile
from pathlib import Path

import numpy as np

from aelib.data._remote import Downloaded
from aelib.data._sources import Raw
from aelib.data._store import CorruptFile

TEST = 2_000

_COMMIT = "6afac66f50061948eed7da5a351cecd9c4a99fe3"
_URL = f"https://github.com/hromi/SMILEsmileD/archive/{_COMMIT}.zip"
_FILE = "SMILEsmileD.zip"
# GitHub packs an archive anew from time to time, so its own hash says nothing. This one covers
# the sorted names (without the top folder) and the contents of the pictures.
_MANIFEST = "4b51a00a60a6a492af11d3402fd17532fe8c1b271ef2da0b2e777e55fa452430"
_UNPACKED = 50_000_000  # bytes: the pictures take 23 million
_SIDE = 64
_PICTURE = re.compile(r"[^/\\]+/(SMILEs/(?:negatives|positives)/[^/\\]+/[^/\\]+\.jpg)")


def _check(path: Path) -> dict[str, bytes]:
    """The pictures by name, without the archive's top folder, in the order of the names.

    They stay in memory: no name from the archive ever becomes a path.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {}
            for member in archive.infolist():
                match = _PICTURE.fullmatch(member.filename)
                if match:
                    if ".." in member.filename.split("/") or match[1] in members:
                        raise _corrupt(path, f"a name that cannot be: {member.filename!r}")
                    members[match[1]] = member
            if sum(member.file_size for member in members.values()) > _UNPACKED:
                raise _corrupt(path, "too large")
            pictures = {name: archive.read(members[name]) for name in sorted(members)}
    except (FileNotFoundError, PermissionError, CorruptFile):
        raise
    except Exception as error:  # a damaged file fails in a dozen ways
        raise _corrupt(path, f"{type(error).__name__}: {error}") from error
    if _manifest(pictures) != _MANIFEST:
        raise _corrupt(path, f"another manifest, of {len(pictures):,} pictures")
    return pictures


def _manifest(pictures: dict[str, bytes]) -> str:
    """One SHA-256 over each sorted name, a zero byte, and the SHA-256 of the file."""
    whole = hashlib.sha256()
    for name in sorted(pictures):
        whole.update(name.encode() + b"\0" + hashlib.sha256(pictures[name]).digest())
    return whole.hexdigest()


def _unpack(folder: Path) -> Raw:
    path = folder / _FILE
    pictures = _without_duplicates(_check(path))
    # Who is on a picture is not known, so the split is by picture: in an order that depends on
    # nothing but the names. In the archive's own, neighbours are often the same person.
    names = sorted(pictures, key=lambda name: hashlib.sha256(name.encode()).digest())
    x = np.stack([_decoded(path, name, pictures[name]) for name in names])
    y = np.array([_smiling(name) for name in names], np.int64)
    return Raw(x[TEST:], y[TEST:], x[:TEST], y[:TEST], validation=2_000)


def _without_duplicates(pictures: dict[str, bytes]) -> dict[str, bytes]:
    """Of files with equal contents the first stays, and none if their labels differ."""
    groups: dict[bytes, list[str]] = {}
    for name, content in pictures.items():
        groups.setdefault(content, []).append(name)
    kept = {}
    for content, names in groups.items():
        if len({_smiling(name) for name in names}) == 1:
            kept[names[0]] = content
    return kept


def _smiling(name: str) -> bool:
    return "/positives/" in name


def _decoded(path: Path, name: str, content: bytes) -> np.ndarray:
    from PIL import Image  # here: most processes never need it

    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        if image.size != (_SIDE, _SIDE):
            raise _corrupt(path, f"{name} is {image.size}")
        return np.asarray(image.convert("L"))


def _corrupt(path: Path, reason: str) -> CorruptFile:
    return CorruptFile(f"This is not SMILEsmileD: {reason}. Received: file={path}")


SMILES = Downloaded(
    "smiles", (lambda file: [_URL],), (_FILE,), 28, _check, _unpack, stand_in="faces"
)
