"""Files that are written whole or not at all."""

import os
import uuid
from contextlib import suppress
from pathlib import Path


def write_whole(path: str | os.PathLike, content: bytes | str) -> None:
    """Writes a file that nobody ever sees half-written.

    The content gets a name of its own in the same folder first, then takes the place of `path`.

    Raises:
        OSError: if it cannot be written. What was there before is still there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.remove(temporary)
        raise
