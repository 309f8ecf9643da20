"""The `aelib` command: runs the notebooks through papermill and reports what they claim.

Imports `aelib.data`, `aelib.claims` and `aelib.published`, never Keras or TensorFlow: these
start in the notebooks' own processes.
"""


class UsageError(Exception):
    """Something that the user must put right first; the text says what, and what exists."""
