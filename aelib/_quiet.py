"""TensorFlow without the page of notes that it writes while it starts."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


def import_quietly(name: str):
    """Imports the module `name`; the log of TensorFlow, if that comes with it, stays unseen.

    The log is shown if the import raises, and left alone if `AELIB_VERBOSE` is 1.
    """
    if "tensorflow" in sys.modules or os.environ.get("AELIB_VERBOSE") == "1":
        return import_module(name)
    with _without_log():
        module = import_module(name)
        if tf := sys.modules.get("tensorflow"):
            # A missing CUDA is reported here. Physical devices: they can still be configured.
            tf.config.list_physical_devices()
    return module


def import_tensorflow():
    """Imports TensorFlow without its log and returns it."""
    return import_quietly("tensorflow")


@contextmanager
def _without_log() -> Iterator[None]:
    """Holds back file descriptor 2: TensorFlow logs before it reads the level of its log."""
    try:
        kept = os.dup(2)
    except OSError:  # a process without standard error
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            caught.seek(0)
            os.write(2, caught.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
