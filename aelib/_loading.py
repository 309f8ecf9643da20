"""Loading a model whose classes have not been imported yet."""

import re
import zipfile
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import keras

_LARGEST_CONFIG = 2**23  # bytes


def load_model(path: str | PathLike, **as_in_keras: Any):
    """Loads a `.keras` file, first importing the modules of `aelib` that it names.

    Args:
        path: the file. `ValueError` is raised if it is missing or damaged. HDF5 files of whole
            models need `keras.models.load_model` and its `custom_objects`.
        **as_in_keras: `custom_objects`, `compile`, `safe_mode` of `keras.models.load_model`.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo("config.json").file_size
            if size > _LARGEST_CONFIG:
                raise ValueError(f"its config has {size:,} bytes")
            config = archive.read("config.json").decode()
        for module in sorted(set(re.findall(r'"module":\s*"(aelib\.\w+)"', config))):
            import_module(module)
        return keras.models.load_model(path, **as_in_keras)
    except Exception as error:  # a damaged archive raises some ten kinds
        fault = f"No Keras model can be read there ({type(error).__name__}: {error})"
        raise ValueError(f"{fault}. Received: path={path}") from error
