"""TensorFlow without the page of notes that it writes while it starts."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def import_tensorflow():
    """Imports TensorFlow, lists its devices and returns the module; its log stays unseen.

    The log is shown if the import raises, and left alone if `AELIB_VERBOSE` is 1.
    """
    if "tensorflow" not in sys.modules and os.environ.get("AELIB_VERBOSE") != "1":
        with _without_log():
            import tensorflow as tf

            # A missing CUDA is reported here. Physical devices: they can still be configured.
            tf.config.list_physical_devices()
    import tensorflow as tf

    return tf


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
