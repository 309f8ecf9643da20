"""The bytes that both coders write, all numbers little-endian.

    magic (8 bytes), version (2), images (4), words (4), fingerprint (8), words (4 each), CRC-32 (4)

The fingerprint is that of everything that decoding depends on. The words are the state of an
asymmetric numeral system (ANS; Duda 2013) of the library constriction, which a coder starts from
words of its own and must find again at the end. Header and checksum take 30 bytes.
"""

import hashlib
import struct
import zlib

import numpy as np

try:
    from constriction import stream as stream
except ImportError as error:
    raise ImportError("An entropy coder is needed: pip install 'aelib[compression]'") from error

_HEADER = struct.Struct("<8sHII8s")
_CHECKSUM = struct.Struct("<I")
_VERSION = 1


def weights_of(model) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in model.weights]


def digest(*arrays) -> bytes:
    """A fingerprint of arrays, their types and their shapes: 8 bytes."""
    found = hashlib.sha256()
    for array in map(np.asarray, arrays):
        found.update(f"{array.dtype.name}{array.shape}".encode())
        found.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return found.digest()[:8]


def pack(magic: bytes, fingerprint: bytes, images: int, words: np.ndarray) -> bytes:
    body = _HEADER.pack(magic, _VERSION, images, len(words), fingerprint)
    body += words.astype("<u4").tobytes()
    return body + _CHECKSUM.pack(zlib.crc32(body))


def unpack(magic: bytes, fingerprint: bytes, data: bytes) -> tuple[int, np.ndarray]:
    """The number of images and the words, of bytes that are exactly as they were written."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ValueError(f"`data` must be bytes. Received: type(data)={type(data).__name__}")
    data = bytes(data)
    if data[:8] != magic[: len(data)]:
        _refuse(f"must start with {magic!r}, as this coder writes it", f"data={data[:8]!r}...")
    if len(data) < _HEADER.size + _CHECKSUM.size:
        _refuse("ends in its header", f"len(data)={len(data)}")
    _, version, images, count, written_with = _HEADER.unpack_from(data)
    if version > _VERSION:
        _refuse(f"is of a newer version than {_VERSION}", f"version={version}")
    expected = _HEADER.size + 4 * count + _CHECKSUM.size
    if len(data) != expected:
        fault = "cut off" if len(data) < expected else "followed by other bytes"
        _refuse(f"is {fault}: its header says {expected} bytes", f"len(data)={len(data)}")
    (checksum,) = _CHECKSUM.unpack(data[-_CHECKSUM.size :])
    if zlib.crc32(data[: -_CHECKSUM.size]) != checksum:
        _refuse("is damaged", f"checksum={checksum:#010x}")
    if written_with != fingerprint:
        received = f"fingerprint={written_with.hex()}, here {fingerprint.hex()}"
        _refuse("was written with another model (weights, step or tables)", received)
    words = np.frombuffer(data, "<u4", count, _HEADER.size).astype("uint32")
    if not images or not words[-1:].any():
        _refuse("holds no image, or ends in a word of 0", f"{images} images, {count} words")
    return images, words


def check_end(words: np.ndarray, first: np.ndarray) -> None:
    """Refuses an archive whose stack, with all images popped, is not the words it began with."""
    if not np.array_equal(words, first):
        _refuse("does not end as it began", "data with other bits")


def _refuse(fault: str, received: str):
    raise ValueError(f"The archive {fault}. Received: {received}")
