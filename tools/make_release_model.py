"""Stores what a release writes, so that every later release can show that it still reads it.

    python tools/make_release_model.py

writes `tests/releases/VERSION-NAME.keras`, a small trained model of each kind, and
`tests/releases/VERSION.json`, what each of them gives. Run it under the oldest Keras of the range:
later ones read what that writes, and not the reverse. The files of a release are never made again;
those of 0.1.0 were written by the library as it stood at the end of the first edition.
"""

import io
import json
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from aelib import (
    autoencoder,
    contractive,
    denoising,
    ladder,
    losses,
    sampling,
    semi_supervised,
    sparse,
    tied,
    total_correlation,
    variational,
)

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "releases"
SHAPE = (6, 5, 1)
N_CLASSES = 3


def images(count: int = 12) -> np.ndarray:
    """Images of grey values that no random generator draws: the same for ever."""
    grey = np.arange(count * 30) * 0.37 % 1
    return grey.reshape(count, *SHAPE).astype("float32")


def labels(count: int = 12) -> np.ndarray:
    """Three classes; every other image has no label."""
    return np.where(np.arange(count) % 2, np.arange(count) % N_CLASSES, -1).astype("int32")


def halves(outputs: int, code_dim: int) -> tuple[Any, Any]:
    encoder = [keras.Input(SHAPE), layers.Flatten(), layers.Dense(7, "tanh"), layers.Dense(outputs)]
    decoder = [keras.Input((code_dim,)), layers.Dense(30, "sigmoid"), layers.Reshape(SHAPE)]
    return keras.Sequential(encoder), keras.Sequential(decoder)


def of_layers() -> keras.Model:
    """Every layer on a code, tied weights, a corruption."""
    dense = contractive.ContractiveDense(8, "sigmoid", 0.01)
    code = [sparse.KLSparsity(0.1, 0.5, momentum=0.9), sparse.L1Sparsity(0.01), sparse.KSparse(4)]
    encoder = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), dense, *code])
    transposed = tied.TransposedDense(dense)
    decoder = keras.Sequential([keras.Input((8,)), transposed, layers.Reshape(SHAPE)])
    return autoencoder.Autoencoder(encoder, decoder, denoising.SaltAndPepperCorruption(0.2, seed=1))


def of_the_user() -> keras.Model:
    """A model of the user's own, with corruptions and a draw inside; its first output has none."""
    image = keras.Input(SHAPE)
    x = denoising.MaskingCorruption(0.2, seed=1)(denoising.GaussianCorruption(0.1, seed=1)(image))
    h = layers.Dense(6)(layers.Flatten()(x))
    z = sampling.GaussianSampling(seed=1)(h)
    return keras.Model(image, [layers.Dense(2)(h), layers.Dense(2)(z)])


def semi() -> keras.Model:
    predictor = keras.Sequential([keras.Input((3,)), layers.Dense(N_CLASSES)])
    return semi_supervised.SemiSupervisedAutoencoder(*halves(3, 3), predictor, 2.0)


def of_halves(cls: Callable[..., keras.Model], outputs: int = 3, **settings: Any) -> Any:
    return lambda: cls(*halves(outputs, 3), **settings)


# Each with the loss that it takes.
MODELS: dict[str, tuple[Callable[[], keras.Model], Any]] = {
    "layers": (of_layers, losses.BernoulliCrossEntropy()),
    "contractive": (
        of_halves(contractive.ContractiveAutoencoder, weight=0.1),
        losses.SquaredError(),
    ),
    "variational": (
        of_halves(variational.VariationalAutoencoder, 6, beta=2.0),
        losses.GaussianNegativeLogLikelihood(0.5),
    ),
    "total_correlation": (
        of_halves(total_correlation.TotalCorrelationVAE, 6, beta=2.0, train_size=12),
        losses.BernoulliCrossEntropy(from_logits=False),
    ),
    "semi_supervised": (semi, losses.SquaredError()),
    "ladder": (lambda: ladder.LadderNetwork((7, 5), N_CLASSES, 0.2), None),
    "sampling": (of_the_user, None),
}
LABELLED = {"semi_supervised", "ladder"}


def given(name: str, model: Any) -> dict[str, Any]:
    """What a model of this name gives for the images: codes, images and its losses."""
    x, y = images(), labels() if name in LABELLED else None
    if name == "sampling":
        return {"outputs": _numbers(model(x)[0])}
    measured = model.evaluate(x, y, verbose=0, return_dict=True)
    return {
        "codes": _numbers(model.encode(x)),
        "outputs": _numbers(model.reconstruct(x)),
        "losses": {key: _numbers(value) for key, value in measured.items()},
    }


def _numbers(values: Any) -> Any:
    return np.asarray(values, "float64").round(6).tolist()


def packed(model: keras.Model) -> bytes:
    """The file that Keras writes, in a smaller archive."""
    content = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        model.save(path := Path(folder) / "model.keras")
        with zipfile.ZipFile(path) as source:
            with zipfile.ZipFile(content, "w", zipfile.ZIP_BZIP2) as target:
                for name in source.namelist():
                    target.writestr(name, source.read(name))
    return content.getvalue()


def make(folder: Path, release: str) -> None:
    kept: dict[str, Any] = {
        "versions": {package: version(package) for package in ("tensorflow", "keras")},
        "models": {},
    }
    for name, (build, loss) in MODELS.items():
        y = labels() if name in LABELLED else None
        keras.utils.set_random_seed(0)
        model = build()
        if name != "sampling":
            model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
            model.fit(images(), y, epochs=2, batch_size=6, verbose=0)
        content = packed(model)
        (folder / f"{release}-{name}.keras").write_bytes(content)
        kept["models"][name] = given(name, model)
        print(f"{release}-{name}.keras", len(content), "bytes")
    (folder / f"{release}.json").write_text(json.dumps(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    if (FOLDER / f"{release}.json").exists():
        sys.exit(f"The files of {release} are kept already. Received: version={release!r}")
    make(FOLDER, release)
