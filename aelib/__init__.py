"""Autoencoders in Keras 3: the layers, losses and tools that the notebooks share.

`import aelib` imports neither TensorFlow nor Matplotlib. Every room (`aelib.pca`,
`aelib.autoencoder`, ...) loads when it is first used.
"""

import importlib
import os

# Chosen before anything imports Keras: a user's keras.json may name another backend.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow greets every process with a page of notes; warnings and errors stay.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_ROOMS = (
    "autoencoder",
    "claims",
    "compression",
    "contractive",
    "data",
    "denoising",
    "disentanglement",
    "information",
    "ladder",
    "latent",
    "losses",
    "pca",
    "plots",
    "published",
    "retrieval",
    "semi_supervised",
    "sparse",
    "stacked",
    "variational",
)

__all__ = [*_ROOMS, "load_model"]


def __getattr__(name: str):
    if name in _ROOMS:
        return importlib.import_module(f"aelib.{name}")
    if name == "load_model":
        return importlib.import_module("aelib.autoencoder").load_model
    raise AttributeError(f"module 'aelib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
