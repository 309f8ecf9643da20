"""What several tests need: small models, small images, quiet and repeatable."""

import os

import aelib

os.environ.setdefault("MPLBACKEND", "agg")
aelib.start(0)

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

# Two, so that replicas can be tested on any machine.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

# Every other skipped test fails a run with `--count-skips`, which `make test` uses.
MAY_SKIP = [
    "a small file system cannot be mounted here",
    "descriptors are POSIX",
    "there is no Chromium on this machine",
    "signals are POSIX",
    "there is neither Node.js nor Playwright",
    "SCIPY_ARRAY_API is not set",  # scikit-learn's check of arrays that PCA does not take
    *([] if os.environ.get("AELIB_DATA_DIR") else ["not on this machine: set AELIB_DATA_DIR"]),
]


def pytest_addoption(parser):
    parser.addoption("--count-skips", action="store_true", help="unexpected skips are failures")


def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.config.getoption("--count-skips"):
        return  # a worker of xdist, whose reports its controller has
    skipped = [report.longrepr[2] for report in reporter.stats.get("skipped", ())]
    unexpected = [why for why in skipped if not any(reason in why for reason in MAY_SKIP)]
    if unexpected:
        reporter.write_line(f"\nUnexpected skips: {unexpected}", red=True)
        session.exitstatus = session.exitstatus or 1


@pytest.fixture
def images() -> np.ndarray:
    """Forty images of 12 x 10 x 1 in [0, 1], different every pixel."""
    return np.random.default_rng(0).random((40, 12, 10, 1)).astype("float32")


@pytest.fixture
def make_parts():
    """A function that makes a dense encoder and decoder for images of any shape."""

    def make(shape=(12, 10, 1), code_dim=4, seed=0):
        keras.utils.set_random_seed(seed)
        pixels = int(np.prod(shape))
        encoder = keras.Sequential(
            [keras.Input(shape), layers.Flatten(), layers.Dense(16, "gelu"), layers.Dense(code_dim)]
        )
        decoder = keras.Sequential(
            [
                keras.Input((code_dim,)),
                layers.Dense(16, "gelu"),
                layers.Dense(pixels, dtype="float32"),
                layers.Reshape(shape, dtype="float32"),
            ]
        )
        return encoder, decoder

    return make
