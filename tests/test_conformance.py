"""What every layer, loss and model of the library does, over one list of all of them."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import aelib

CODE = (4, 8)
IMAGES = (20, 6, 5, 1)
POLICIES = ["mixed_bfloat16", "mixed_float16"]


def found(path: str) -> Any:
    """The class of `sparse.KSparse`."""
    module, name = path.split(".")
    return getattr(getattr(aelib, module), name)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def images() -> np.ndarray:
    return rng().random(IMAGES).astype("float32")


def halves(outputs: int = 3, codes: int = 3, activation=None):
    """A dense encoder and decoder of 6 x 5 images."""
    keras.utils.set_random_seed(1)
    shape = IMAGES[1:]
    encoder = keras.Sequential(
        [
            keras.Input(shape),
            layers.Flatten(),
            layers.Dense(7, "tanh"),
            layers.Dense(outputs, activation),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((codes,)),
            layers.Dense(7, "tanh"),
            layers.Dense(30, dtype="float32"),
            layers.Reshape(shape, dtype="float32"),
        ]
    )
    return encoder, decoder


def tied():
    dense = layers.Dense(4, "tanh")
    encoder = keras.Sequential([keras.Input(IMAGES[1:]), layers.Flatten(), dense])
    transposed = found("tied.TransposedDense")(dense, "sigmoid")
    decoder = keras.Sequential([keras.Input((4,)), transposed, layers.Reshape(IMAGES[1:])])
    return encoder, decoder


def built_dense():
    dense = layers.Dense(8)
    dense.build((None, 5))
    return dense


def labels() -> np.ndarray:
    """Three classes; every other image has no label."""
    return np.where(np.arange(IMAGES[0]) % 2, np.arange(IMAGES[0]) % 3, -1).astype("int32")


@dataclass(frozen=True)
class Layer:
    """A layer, what it takes and gives, and what it holds."""

    path: str
    arguments: Callable[[], dict] = dict
    input_shape: Any = CODE
    output_shape: tuple = CODE
    trainable: int = 0
    states: int = 0
    seeds: int = 0
    losses: int = 0
    masking: bool = False
    inputs: int = 1
    # Arguments that Keras checks itself, in its own words.
    of_keras: tuple = ()

    def make(self, **changed: Any):
        return found(self.path)(**{**self.arguments(), **changed})


@dataclass(frozen=True)
class Loss:
    path: str
    arguments: Callable[[], dict] = dict

    def make(self, **changed: Any):
        return found(self.path)(**{**self.arguments(), **changed})


@dataclass(frozen=True)
class Model:
    """A model, the loss it takes, and its target beside the images where it has one."""

    path: str
    arguments: Callable[[], dict]
    loss: str | None = "losses.SquaredError"
    target: Callable[[], np.ndarray] | None = None
    trains: bool = True
    predicts: str = "reconstruct"  # the method that gives what `predict` gives
    of_keras: tuple = field(default=())

    def make(self, **changed: Any):
        keras.utils.set_random_seed(2)
        return found(self.path)(**{**self.arguments(), **changed})

    def compiled(self, **settings: Any):
        model = self.make()
        model.compile(keras.optimizers.Adam(1e-3), self.loss and found(self.loss)(), **settings)
        return model

    def data(self) -> tuple:
        return (images(),) if self.target is None else (images(), self.target())


def model(path: str, more: Callable[[], dict] = dict, parts=halves, **rest: Any) -> Model:
    def arguments():
        encoder, decoder = parts()
        return {"encoder": encoder, "decoder": decoder, **more()}

    return Model(path, arguments, **rest)


def variational(path: str = "variational.VariationalAutoencoder", **more: Any) -> Model:
    return model(path, lambda: more, lambda: halves(6, 3), loss="losses.BernoulliCrossEntropy")


def trained_archiver() -> dict:
    autoencoder = model("autoencoder.Autoencoder").compiled()
    autoencoder.fit(images(), epochs=1, verbose=0)
    return {"autoencoder": autoencoder, "step": 0.5}


def corruption(name: str, **arguments: Any) -> Layer:
    return Layer(
        f"denoising.{name}",
        lambda: {**arguments, "seed": 1},
        IMAGES,
        IMAGES,
        seeds=1,
        masking=True,
    )


LAYERS = {
    "l1": Layer("sparse.L1Sparsity", lambda: {"weight": 0.1}, losses=1, masking=True),
    "kl": Layer("sparse.KLSparsity", lambda: {"target": 0.1, "weight": 1.0}, losses=1),
    "kl_running": Layer(
        "sparse.KLSparsity",
        lambda: {"target": 0.1, "weight": 1.0, "momentum": 0.9},
        states=2,
        losses=1,
    ),
    "k_sparse": Layer("sparse.KSparse", lambda: {"k": 3}, states=1),
    "gaussian_corruption": corruption("GaussianCorruption", stddev=0.3),
    "masking_corruption": corruption("MaskingCorruption", rate=0.3),
    "salt_and_pepper": corruption("SaltAndPepperCorruption", rate=0.3),
    **{
        f"contractive_{activation}": Layer(
            "contractive.ContractiveDense",
            lambda activation=activation: {"units": 4, "activation": activation, "weight": 0.1},
            output_shape=(4, 4),
            trainable=2,
            losses=1,
            masking=True,
            of_keras=("units", "activation"),
        )
        for activation in ("sigmoid", "tanh", "relu", "linear")
    },
    "sampling": Layer(
        "sampling.GaussianSampling",
        lambda: {"weight": 0.5, "seed": 3},
        output_shape=(4, 4),
        seeds=1,
        losses=1,
    ),
    "rate_term": Layer(
        "compression.RateTerm",
        lambda: {"weight": 0.5, "step": 0.5, "seed": 3},
        trainable=3,
        seeds=1,
        losses=1,
    ),
    "combinator": Layer("ladder.Combinator", trainable=1, inputs=2),
    "transposed": Layer(
        "tied.TransposedDense",
        lambda: {"dense": built_dense(), "activation": "tanh"},
        output_shape=(4, 5),
        trainable=3,
        of_keras=("activation",),
    ),
}
LOSSES = {
    "squared_error": Loss("losses.SquaredError"),
    "bernoulli_logits": Loss("losses.BernoulliCrossEntropy"),
    "bernoulli": Loss("losses.BernoulliCrossEntropy", lambda: {"from_logits": False}),
    "gaussian": Loss("losses.GaussianNegativeLogLikelihood", lambda: {"stddev": 0.5}),
}
LADDER = {"units": (7, 5), "n_classes": 3, "noise": 0.2, "reconstruction_weights": (9, 1, 0.1, 0.1)}
MODELS = {
    "plain": model("autoencoder.Autoencoder"),
    "logits": model("autoencoder.Autoencoder", loss="losses.BernoulliCrossEntropy"),
    "tied": model("autoencoder.Autoencoder", parts=tied),
    "denoising": model(
        "autoencoder.Autoencoder", lambda: {"corruption": LAYERS["salt_and_pepper"].make()}
    ),
    "contractive": model(
        "contractive.ContractiveAutoencoder", lambda: {"weight": 0.1, "estimator": "exact"}
    ),
    "hutchinson": model(
        "contractive.ContractiveAutoencoder", lambda: {"weight": 0.1, "estimator": "hutchinson"}
    ),
    "semi_supervised": model(
        "semi_supervised.SemiSupervisedAutoencoder",
        lambda: {
            "predictor": keras.Sequential([keras.Input((3,)), layers.Dense(3, dtype="float32")]),
            "weight": 2.0,
        },
        target=labels,
    ),
    # A classifier: its output is the logits.
    "ladder": Model(
        "ladder.LadderNetwork", lambda: dict(LADDER), loss=None, target=labels, predicts="encode"
    ),
    "variational": variational(beta=2.0, samples=2, beta_warmup=3, binarize=True),
    "importance_weighted": variational(samples=3, importance_weighted=True),
    "total_correlation": variational(
        "total_correlation.TotalCorrelationVAE", beta=2.0, train_size=IMAGES[0]
    ),
    "archiver": Model("compression.Archiver", trained_archiver, loss=None, trains=False),
}
EVERY = {**LAYERS, **LOSSES, **MODELS}
TRAINED = {name: case for name, case in MODELS.items() if case.trains}
every = pytest.mark.parametrize("case", EVERY.values(), ids=EVERY)
every_layer = pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)
every_loss = pytest.mark.parametrize("case", LOSSES.values(), ids=LOSSES)
every_trained = pytest.mark.parametrize("case", TRAINED.values(), ids=TRAINED)
policies = pytest.mark.parametrize("policy", POLICIES)
compiled_or_not = pytest.mark.parametrize("jit", [False, True], ids=["plain", "jit"])


@pytest.fixture
def policy_of_keras(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    yield policy
    keras.config.set_dtype_policy(before)


def inputs(case: Layer) -> list[np.ndarray]:
    numbers = rng()
    return [numbers.random(case.input_shape).astype("float32") for _ in range(case.inputs)]


def finite(values: Any) -> bool:
    leaves = keras.tree.flatten(values)
    return all(np.isfinite(np.asarray(ops.cast(leaf, "float32"))).all() for leaf in leaves)


def wrapped(case: Layer) -> keras.Model:
    """A model around the layer: with a dense layer in front, so that something trains."""
    image = keras.Input(case.input_shape[1:])
    codes = [layers.Dense(case.input_shape[-1], "sigmoid")(image) for _ in range(case.inputs)]
    z = case.make()(*codes)
    return keras.Model(image, layers.Dense(2, dtype="float32")(layers.Flatten()(z)))


def rows(case: Layer) -> np.ndarray:
    return rng().random((12, *case.input_shape[1:])).astype("float32")


# Every public class


def test_the_list_is_complete():
    listed = {found(case.path) for case in EVERY.values()}
    kinds = keras.layers.Layer, keras.losses.Loss, keras.metrics.Metric, keras.optimizers.Optimizer
    for name in (name for name in aelib.MODULES if not name.startswith("_")):
        for cls in vars(getattr(aelib, name)).values():
            own = inspect.isclass(cls) and re.match(r"aelib\.[a-z]", cls.__module__)
            if own and issubclass(cls, kinds) and not cls.__name__.startswith("_"):
                assert cls in listed, f"{cls.__module__}.{cls.__name__}"


@every
def test_it_is_registered_and_its_config_holds_every_argument(case):
    cls, made = found(case.path), case.make()
    assert keras.saving.get_registered_name(cls) == f"aelib>{cls.__name__}"
    config = made.get_config()
    json.dumps(config)
    for name, value in case.arguments().items():
        if isinstance(value, int | float | str | tuple):
            assert plain(config[name]) == plain(value), name
    kinds = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
    parameters = inspect.signature(cls.__init__).parameters.values()
    arguments = {p.name for p in parameters if p.kind not in kinds} - {"self"}
    assert arguments <= config.keys()


def plain(config: Any) -> Any:
    """The config as JSON keeps it, without Keras's numbers of shared objects, always new."""
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items() if key != "shared_object_id"}
    return [plain(value) for value in config] if isinstance(config, list | tuple) else config


@every
def test_its_config_makes_it_again(case):
    made = case.make()
    serialised = keras.saving.serialize_keras_object(made)
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(serialised)))
    assert type(again) is type(made)
    assert plain(keras.saving.serialize_keras_object(again)) == plain(serialised)
    assert set(dir(again)) == set(dir(made))


def bad_values(name: str, value: Any, of_keras: bool) -> list:
    if of_keras:
        return ["nonsense"]
    if name == "seed":
        return [-1, 0.5, "nonsense", True]
    bad = [object(), float("nan"), "nonsense"]
    return [*bad, None, True, [value], -1] if type(value) in (int, float) else bad


@every
def test_a_bad_argument_is_refused_with_what_was_received(case):
    given = case.arguments()
    for name, value in given.items():
        of_keras = name in getattr(case, "of_keras", ())
        for wrong in bad_values(name, value, of_keras):
            with pytest.raises(ValueError) as raised:
                found(case.path)(**{**given, name: wrong})
            if not of_keras:
                last = str(raised.value).splitlines()[-1]
                assert re.search(rf"Received: .*{name}", last), (name, wrong, last)


# Layers


@every_layer
def test_a_layer_gives_what_it_says(case):
    layer = case.make()
    assert layer.compute_output_shape(*[case.input_shape] * case.inputs) == case.output_shape
    symbol = keras.KerasTensor((None, *case.input_shape[1:]))
    assert case.make()(*[symbol] * case.inputs).shape == (None, *case.output_shape[1:])
    y = layer(*inputs(case), training=True)
    assert layer.built and y.shape == case.output_shape and y.dtype == "float32"
    assert finite(y) and finite(layer.losses)
    seeds = [v for v in layer.variables if "seed_generator" in v.path]
    others = [*seeds, *layer.metrics_variables]
    states = [v for v in layer.non_trainable_variables if not any(v is other for other in others)]
    assert len(layer.trainable_variables) == case.trainable
    assert (len(states), len(seeds), len(layer.losses)) == (case.states, case.seeds, case.losses)
    assert layer.supports_masking == case.masking


@every_layer
@policies
def test_a_layer_computes_in_half_precision(case, policy):
    layer = case.make(dtype=policy)
    y = layer(*inputs(case))
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype == policy[6:]
    assert finite(y) and finite(layer.losses)
    assert all(keras.backend.standardize_dtype(loss.dtype) == "float32" for loss in layer.losses)
    floats = [v for v in layer.weights if "int" not in v.dtype]
    assert all(variable.dtype == "float32" for variable in floats)


@every_layer
@compiled_or_not
def test_a_layer_trains(case, jit):
    keras.utils.set_random_seed(0)
    model = wrapped(case)
    before = model.get_weights()
    model.compile("adam", "mse", jit_compile=jit)
    history = model.fit(rows(case), np.ones((12, 2)), batch_size=6, epochs=2, verbose=0).history
    assert finite(list(history.values())) and finite(model.get_weights())
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


# Losses


@every_loss
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_loss_is_one_finite_float32_number_an_image(case, dtype):
    loss, x, x_hat = case.make(), images(), ops.cast(images()[::-1].copy(), dtype)
    values = loss.call(ops.convert_to_tensor(x), ops.cast(x_hat, "float32"))
    assert values.shape == (IMAGES[0],) and values.dtype == "float32" and finite(values)
    value = loss(x, x_hat)
    assert value.dtype == "float32"
    np.testing.assert_allclose(value, np.mean(values), rtol=1e-6)


@every_loss
@compiled_or_not
def test_a_loss_trains(case, jit):
    keras.utils.set_random_seed(0)
    encoder, decoder = halves()
    model = keras.Sequential([encoder, decoder, layers.Activation("sigmoid")])
    model.compile("adam", case.make(), jit_compile=jit)
    history = model.fit(images(), images(), epochs=2, verbose=0).history["loss"]
    assert finite(history) and history[1] < history[0]


# Models


@every_trained
@compiled_or_not
def test_a_model_trains_evaluates_and_predicts(case, jit):
    model = case.compiled(jit_compile=jit)
    data = case.data()
    model.evaluate(*data, verbose=0)  # builds it
    before = model.get_weights()
    validation = {"validation_data": data if len(data) == 2 else data[0]}
    history = model.fit(*data, batch_size=10, epochs=2, verbose=0, **validation).history
    assert finite(list(history.values())) and finite(model.get_weights())
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    shown, again = (
        model.evaluate(*data, batch_size=10, verbose=0, return_dict=True) for _ in range(2)
    )
    # Keras 3.13 gives tensors where a step leaves a metric out.
    shown, again = ({key: float(value) for key, value in d.items()} for d in (shown, again))
    assert shown == pytest.approx(again, rel=1e-6)
    assert shown == pytest.approx({key: history[f"val_{key}"][-1] for key in shown}, rel=1e-4)
    assert model.reconstruct(images()).shape == IMAGES
    predicted = model.predict(images(), verbose=0)
    if isinstance(predicted, dict):
        predicted = predicted["reconstruction"]
    np.testing.assert_allclose(predicted, getattr(model, case.predicts)(images()), atol=1e-5)


@every_trained
@policies
def test_a_model_trains_in_half_precision(case, policy, policy_of_keras):
    model = case.compiled()
    history = model.fit(*case.data(), batch_size=10, epochs=2, verbose=0).history
    assert finite(list(history.values())) and finite(model.get_weights())
    assert finite(list(model.evaluate(*case.data(), verbose=0, return_dict=True).values()))
    assert finite(model.reconstruct(images()))


# Files: every layer in a model, every loss, every model, in one fresh process

LOAD = """
import json, sys
from pathlib import Path
import numpy as np
import tensorflow as tf
import aelib
aelib.start(0)
import keras

def measured(model, data):
    first = keras.tree.flatten(model.predict(data["x"], verbose=0))[0]
    if model.compiled:
        pair = [data[key] for key in ("x", "y") if key in data]
        losses = model.evaluate(*pair, verbose=0, return_dict=True)
    else:
        losses = {}
    return first, losses

def forget():
    for name in [n for n in sys.modules if n.startswith("aelib.") and n != "aelib._quiet"]:
        del sys.modules[name]
        vars(aelib).pop(name.split(".")[1], None)
    keras.saving.get_custom_objects().clear()

tf.config.run_functions_eagerly(True)
found = {}
for load in ("aelib", "keras"):
    for path in sorted(Path(sys.argv[1]).glob("*.keras")):
        data = np.load(path.with_suffix(".npz"))
        if load == "aelib":
            forget()
            model = aelib.load_model(path)
        else:
            for name in aelib.MODULES:
                getattr(aelib, name)
            model = keras.models.load_model(path)
        outputs, losses = measured(model, data)
        wanted = json.loads(path.with_suffix(".json").read_text())
        close = {"rtol": 1e-6, "atol": 1e-6, "err_msg": path.stem}
        np.testing.assert_allclose(outputs, data["outputs"], **close)
        assert losses.keys() == wanted.keys(), (path.stem, losses, wanted)
        for name, value in wanted.items():
            np.testing.assert_allclose(losses[name], value, rtol=1e-5, err_msg=path.stem)
        found.setdefault(load, []).append(path.stem)
print(json.dumps(found))
"""


@pytest.fixture
def eager():
    """Tracing dozens of models takes longer than what they do here."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def saved(folder, name: str, model: keras.Model, x, y=None) -> None:
    target = {} if y is None else {"y": y}
    outputs, losses = keras.tree.flatten(model.predict(x, verbose=0))[0], {}
    if model.compiled:
        losses = model.evaluate(x, *target.values(), verbose=0, return_dict=True)
    np.savez(folder / f"{name}.npz", x=x, outputs=outputs, **target)
    (folder / f"{name}.json").write_text(json.dumps(losses))
    model.save(folder / f"{name}.keras")


def test_files_open_in_a_fresh_process_with_the_same_outputs_and_losses(tmp_path, eager):
    for name, case in LAYERS.items():
        model = wrapped(case)
        model.compile("adam", "mse")
        x, y = rows(case), np.ones((12, 2), "float32")
        model.fit(x, y, verbose=0)
        for layer in model.layers:
            if hasattr(layer, "seed_generator"):  # whose state no file keeps
                layer.seed_generator.state.assign([layer.seed, 0])
        saved(tmp_path, name, model, x, y)
    for name, case in LOSSES.items():
        encoder, decoder = halves()
        model = keras.Sequential([encoder, decoder, layers.Activation("sigmoid")])
        model.compile("adam", case.make())
        model.fit(images(), images(), verbose=0)
        saved(tmp_path, name, model, images(), images())
    for name, case in MODELS.items():
        model = case.compiled() if case.trains else case.make()
        if case.trains:
            model.fit(*case.data(), batch_size=10, epochs=1, verbose=0)
        saved(tmp_path, name, model, *case.data())
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    everything = sorted(EVERY)
    assert json.loads(done.stdout.splitlines()[-1]) == {"aelib": everything, "keras": everything}
