"""Autoencoders in Keras 3: the layers, losses and tools that the notebooks share.

`import aelib` imports neither TensorFlow nor Matplotlib. Every module (`aelib.pca`,
`aelib.autoencoder`, ...) loads when it is first used.
"""

import os
from typing import TYPE_CHECKING

# Chosen before anything imports Keras: a user's keras.json may name another backend.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
if os.environ.get("AELIB_VERBOSE") != "1":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if TYPE_CHECKING:
    # isort: off
    from aelib import autoencoder, bits_back, claims, compression, contractive, data, denoising
    from aelib import diagram, disentanglement, drawing, explorer, information, ladder, latent
    from aelib import losses, metrics, noise, pca, plots, published, recipes, retrieval, sampling
    from aelib import semi_supervised, sparse, stacked, tied, total_correlation, training
    from aelib import variational, weights
    from aelib.autoencoder import load_model
    # isort: on

# Every module of the library, in the order in which they may import each other: a module
# imports earlier ones only. Nothing imports `aelib.runner`.
MODULES = (
    "_checks _files _quiet _format data published claims information pca noise training "
    "_settings losses tied _inputs _loss_checks _loading autoencoder sparse denoising "
    "contractive stacked _partly_labelled _ladder_layers "
    "ladder semi_supervised sampling variational latent retrieval _container bits_back "
    "compression total_correlation disentanglement recipes metrics diagram _network _page "
    "explorer drawing plots weights"
).split()

__all__ = [*(name for name in MODULES if name[0] != "_"), "__version__", "load_model", "start"]


def start(seed: int) -> None:
    """Imports TensorFlow without its log and seeds Python, NumPy and Keras.

    Set the environment variable `AELIB_VERBOSE` to 1 to see the log.

    Args:
        seed: int, at least 0.

    Raises:
        ValueError: If `seed` is not an integer from 0 to 2**32 - 1.

    Example:

    ```python
    import aelib

    aelib.start(seed=0)
    ```
    """
    from aelib._checks import whole
    from aelib._quiet import import_tensorflow

    seed = whole("seed", seed, 0, 2**32 - 1)
    tf = import_tensorflow()
    if os.environ.get("AELIB_VERBOSE") != "1":
        tf.get_logger().setLevel("ERROR")
    import keras

    keras.utils.set_random_seed(seed)


def __getattr__(name: str):
    if name in MODULES:
        from aelib._quiet import import_quietly

        return import_quietly(f"aelib.{name}")
    if name == "load_model":
        return __getattr__("autoencoder").load_model
    if name == "__version__":
        from importlib.metadata import version

        return version("aelib")
    raise AttributeError(f"module 'aelib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
