"""Trains the models that lessons show: `python tools/make_weights.py [NAME]...`, or `make weights`.

Each is kept in `aelib/weights/` with a card. What is there, whole and of the recipe below, is left
alone, so stopping and starting again costs one model at most.
"""

import hashlib
import io
import json
import math
import tempfile
import time
import zipfile
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
from keras import layers
from sklearn.manifold import trustworthiness

import aelib
from aelib import data, losses, metrics, recipes, stacked
from aelib._files import write_whole
from aelib.autoencoder import Autoencoder
from aelib.compression import Archiver, RateTerm
from aelib.data import faces
from aelib.denoising import GaussianCorruption
from aelib.disentanglement import TotalCorrelationVAE, mutual_information_gap
from aelib.ladder import LadderNetwork
from aelib.pca import PCA
from aelib.sparse import KLSparsity, KSparse
from aelib.variational import VariationalAutoencoder

FOLDER = Path(aelib.__file__).with_name("weights")
SCHEDULE = "recipes.adam: 5 % linear warm-up to the peak, half a cosine to 0; beta_2 0.95"
START = "pixels are sigmoids, whose biases start at the mean image (convolutional: the mean grey)"
FOUR_VARY: dict[str, Any] = {
    "beta": 1.0,
    "parts": "dense",
    "sizes": [200, 200],
    "code_dim": 6,
    "activation": "gelu",
    "loss": "GaussianNegativeLogLikelihood",
    "stddev": 0.1,
    "people": 10_000,
    "varied": ["smile", "hair_color", "yaw", "background"],
    "varied_how": "each evenly over its range; no glasses, beard or speech, all else average",
    "output_activation": None,
    "output_chosen": "after sigmoids: with them the model of seed 0 lost the smile in validation",
    "start": "Keras's own",
    "epochs": 12,
    "batch_size": 64,
    "peak": 3e-3,
    "bits": 8,
}
RECIPES: dict[str, dict[str, Any]] = {
    "mnist_2d": {
        "about": "A map of MNIST's digits: an image to two numbers, and back.",
        "lesson": "00_start_here",
        "dataset": "mnist",
        "recipe": {
            "parts": "map",
            "sizes": [256, 256, 128],
            "decoder_sizes": [160, 160, 160],
            "code_dim": 2,
            "activation": "gelu",
            "epochs": 100,
            "batch_size": 128,
            "peak": 2e-3,
            "seed": 1,
            "seed_chosen": "of 0 and 1, by the error of neighbours in validation after 30 epochs",
        },
    },
    "mnist_8d": {
        "about": "MNIST's digits in eight numbers, where PCA keeps only blurs.",
        "lesson": "03_undercomplete",
        "dataset": "mnist",
        "recipe": {
            "parts": "dense",
            "sizes": [512, 256, 128],
            "code_dim": 8,
            "activation": "silu",
            "epochs": 20,
            "batch_size": 128,
            "peak": 3e-3,
        },
    },
    "mnist_30d": {
        "about": "MNIST's digits in thirty numbers, as Hinton and Salakhutdinov had them.",
        "lesson": "03_undercomplete",
        "dataset": "mnist",
        "recipe": {
            "parts": "convolutional",
            "sizes": [32, 64],
            "code_dim": 30,
            "activation": "gelu",
            "epochs": 30,
            "batch_size": 128,
            "peak": 2e-3,
        },
    },
    "mnist_sparse": {
        "about": "MNIST's digits as sums of strokes: of 1,000 units 25 are on at a time.",
        "lesson": "04_sparse",
        "dataset": "mnist",
        "recipe": {
            "parts": "strokes",
            "start": "decoder: uniform in [0, 0.01]; encoder: the decoder's rows, less their mean "
            "and of length one, on images less the mean image",
            "code_dim": 1000,
            "k": 25,
            "k_start": 100,
            "k_schedule": "k falls from k_start in equal ratios over the first half of the epochs",
            "activation": "relu",
            "epochs": 12,
            "batch_size": 128,
            "peak": 5e-4,
            "bits": 8,
        },
    },
    "mnist_denoiser": {
        "about": "Takes Gaussian noise off MNIST's digits, of any standard deviation up to 0.8.",
        "lesson": "06_denoising",
        "dataset": "mnist",
        "recipe": {
            "parts": "hourglass",
            "sizes": [32, 64],
            "code_dim": 7 * 7 * 64,
            "noise": 0.8,
            "noise_of": "each training image: a standard deviation, uniform from 0 to this",
            "activation": "gelu",
            "epochs": 24,
            "batch_size": 128,
            "peak": 5e-3,
            "bits": 8,
        },
    },
    "mnist_stack": {
        "about": "Four sigmoid layers, pretrained one after the other on MNIST and never together.",
        "lesson": "07_stacked",
        "dataset": "mnist",
        "recipe": {
            "parts": "stack",
            "start": "Keras's own",
            "sizes": [256, 128, 64],
            "code_dim": 32,
            "activation": "sigmoid",
            "corruption": [0.5, 0.1, 0.1, 0.1],
            "corruption_of": "the input of each pair: the standard deviation of Gaussian noise",
            "target": 0.1,
            "target_weight": 0.3,
            "target_of": "the mean activation of a unit of the first layer: KL divergence from it",
            "epochs": 16,
            "epochs_of": "each pair",
            "batch_size": 128,
            "peak": 3e-3,
            "bits": 8,
        },
    },
    "mnist_vae_2d": {
        "about": "A variational autoencoder of MNIST's digits with two latents: a plane.",
        "lesson": "09_variational",
        "dataset": "mnist",
        "recipe": {
            "beta": 1.0,
            "parts": "dense",
            "sizes": [512, 512, 512],
            "decoder_sizes": [256, 256, 256],
            "dropout": 0.1,
            "code_dim": 2,
            "activation": "gelu",
            "loss": "BernoulliCrossEntropy",
            "epochs": 120,
            "batch_size": 128,
            "peak": 1e-3,
            "validation": 0.05,
            "bits": 8,
        },
    },
    "mnist_vae_20d": {
        "about": "A variational autoencoder of MNIST's digits with twenty latents.",
        "lesson": "09_variational",
        "dataset": "mnist",
        "recipe": {
            "beta": 1.0,
            "parts": "dense",
            "sizes": [500, 500],
            "dropout": 0.1,
            "code_dim": 20,
            "activation": "gelu",
            "loss": "BernoulliCrossEntropy",
            "epochs": 120,
            "batch_size": 128,
            "peak": 1.5e-3,
            "validation": 0.05,
            "bits": 8,
        },
    },
    "faces_64": {
        "about": "A variational autoencoder of drawn faces, 64 x 64, seen nearly from the front.",
        "lesson": "10_smile_vector",
        "dataset": "faces",
        "recipe": {
            "beta": 1.0,
            "parts": "convolutional",
            "sizes": [24, 48, 64, 64],
            "code_dim": 64,
            "activation": "silu",
            "loss": "GaussianNegativeLogLikelihood",
            "stddev": 0.04,
            "people": 40_000,
            "nuisance": 0.3,
            "epochs": 30,
            "batch_size": 64,
            "peak": 2e-3,
            "bits": 8,
        },
    },
    "mnist_archiver": {
        "about": "Codes of MNIST's digits that were trained with a price for every bit.",
        "lesson": "12_compression",
        "dataset": "mnist",
        "recipe": {
            "bit_price": 0.018,
            "bit_price_of": "compression.RateTerm, step 1: squared error per bit",
            "parts": "beside_pca",
            "start": "PCA's linear layer in each half; the convolutions beside it end in zeros",
            "sizes": [16, 32],
            "code_dim": 64,
            "activation": "gelu",
            "epochs": 11,
            "batch_size": 64,
            "peak": 3e-3,
            "validation": 0.05,
            "bits": 8,
        },
    },
    "mnist_binary_vae": {
        "about": "A variational autoencoder of black and white digits, for files without loss.",
        "lesson": "12_compression",
        "dataset": "mnist",
        "recipe": {
            "beta": 1.0,
            "warmup": 0.1,
            "warmup_of": "all steps: the share over which beta rises from 0",
            "binarize": True,
            "parts": "dense",
            "sizes": [200, 200],
            "code_dim": 50,
            "activation": "gelu",
            "loss": "BernoulliCrossEntropy",
            "epochs": 120,
            "batch_size": 128,
            "peak": 3e-3,
            "validation": 0.05,
            "bits": 8,
        },
    },
    "faces_factors": {
        "about": "A beta-TCVAE of faces of which four things vary, each in a latent of its own.",
        "lesson": "13_disentanglement",
        "dataset": "faces",
        "recipe": FOUR_VARY | {"total_correlation": 6.0},
    },
    "faces_entangled": {
        "about": "A plain variational autoencoder of the same faces, trained in the same way.",
        "lesson": "13_disentanglement",
        "dataset": "faces",
        "recipe": FOUR_VARY,
    },
    "faces_conditional": {
        "about": "Draws a face that it is shown with any smile that it is told, 64 x 64.",
        "lesson": "13_disentanglement",
        "dataset": "faces",
        "recipe": {
            "beta": 1.0,
            "parts": "conditional",
            "pairs": "each person twice: one smile is their own, one that of another; the encoder "
            "sees one of the two, and the decoder, told the smile of the other, draws the other",
            "start": "faces_64; what its decoder makes of the smile that it is told starts at zero",
            "sizes": [24, 48, 64, 64],
            "code_dim": 64,
            "activation": "silu",
            "loss": "GaussianNegativeLogLikelihood",
            "stddev": 0.04,
            "people": 5_000,
            "nuisance": 0.3,
            "epochs": 2,
            "batch_size": 32,
            "peak": 1e-3,
            "bits": 8,
        },
    },
    "mnist_judge": {
        "about": "Says which digit an image of MNIST shows; its last hidden layer judges samples.",
        "lesson": "09_variational",
        "dataset": "mnist",
        "recipe": {
            "parts": "reader",
            "start": "Keras's own",
            "sizes": [16, 32],
            "dropout": 0.3,
            "activation": "silu",
            "loss": "SparseCategoricalCrossentropy",
            "epochs": 8,
            "batch_size": 128,
            "peak": 2e-3,
        },
    },
    "mnist_ladder": {
        "about": "Says which digit an image of MNIST shows, and has seen 100 labels.",
        "lesson": "08_semi_supervised",
        "dataset": "mnist",
        "recipe": {
            "parts": "ladder",
            "start": "as in the paper of Rasmus et al., section 4.1",
            "sizes": [500, 250, 250],
            "noise": 0.3,
            "loss": "cross-entropy of the labelled images, and the published costs of every layer",
            "labels": 100,
            "draw": 100,
            "draw_chosen": "the one that the recipe was tuned with; none of the study's",
            "labelled": 40,
            "unlabelled": 120,
            "epochs": 33,
            "peak": 3e-3,
            "schedule": "Adam of Keras, whose rate falls linearly from the peak to 0",
            "bits": 8,
        },
    },
}
for plan in RECIPES.values():
    common = {"loss": "SquaredError", "schedule": SCHEDULE, "start": START, "seed": 0}
    plan["recipe"] = common | plan["recipe"]
TEST_SEED = 1  # of the people whom no model has seen


class NoiseOfAnyStrength(GaussianCorruption):
    """Gaussian noise, for each image of a standard deviation drawn between 0 and `stddev`."""

    def corrupt(self, x):
        shape = (keras.ops.shape(x)[0], *(1 for _ in x.shape[1:]))
        strength = keras.random.uniform(shape, maxval=self.stddev, seed=self.seed_generator)
        return x + strength * keras.random.normal(keras.ops.shape(x), seed=self.seed_generator)


def load(plan: dict[str, Any], trained_on: bool = True) -> data.Dataset:
    """The images that a recipe is trained, chosen and measured on."""
    recipe = plan["recipe"]
    if "people" not in recipe:
        return data.load(plan["dataset"], validation=recipe.get("validation"))

    def people(count: int, seed: int) -> data.Split:
        if "varied" in recipe:
            factors = four_vary(recipe["varied"], count, seed)
            return data.Split(faces.render(factors, 32), faces.labels(factors), factors)
        factors = faces.sample(count, seed=seed, nuisance=recipe["nuisance"])
        return data.Split(faces.render(factors, 64), faces.labels(factors), factors)

    train = people(recipe["people"] if trained_on else 1, 100)
    return data.Dataset(plan["dataset"], train, people(1_000, 2), people(1_000, TEST_SEED))


def four_vary(varied: list[str], count: int, seed: int) -> dict[str, Any]:
    """Factors of faces of which a few vary; those of lesson 13."""
    rng = np.random.default_rng(seed)
    still = {name: (low + high) / 2 for name, (low, high) in faces.FACTORS.items()}
    still |= {"glasses": 0.0, "beard": 0.0, "speech": 0.0, "hair_length": 0.3, "softness": 0.2}
    return still | {name: rng.uniform(*faces.FACTORS[name], count) for name in varied}


def parts(recipe: dict[str, Any], shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Encoder and decoder; those of "map" are written out in lesson 00."""
    activation, code_dim = recipe["activation"], recipe["code_dim"]
    if recipe["parts"] == "hourglass":
        return hourglass(recipe, shape)
    if recipe["parts"] == "strokes":
        return strokes(recipe, shape)
    if recipe["parts"] == "beside_pca":
        return recipes.convolutional(shape, recipe["sizes"], code_dim, activation=activation)
    if recipe["parts"] != "map":
        make = {"dense": recipes.dense, "convolutional": recipes.convolutional}[recipe["parts"]]
        options = {"activation": activation, "output_activation": "sigmoid"}
        if recipe["loss"] == "BernoulliCrossEntropy":
            options["output_activation"] = None
        options |= {key: recipe[key] for key in ("output_activation",) if key in recipe}
        options["variational"] = "beta" in recipe
        encoder, decoder = make(shape, recipe["sizes"], code_dim, **options)
        if "decoder_sizes" in recipe:
            _, decoder = make(shape, recipe["decoder_sizes"], code_dim, **options)
        return dropping(encoder, recipe.get("dropout", 0)), decoder
    down = [layers.Dense(units, activation) for units in recipe["sizes"]]
    up = [layers.Dense(units, activation) for units in recipe["decoder_sizes"]]
    code = [layers.LayerNormalization(center=False, scale=False), layers.Dense(code_dim)]
    pixels = [layers.Dense(math.prod(shape), "sigmoid"), layers.Reshape(shape)]
    encoder = keras.Sequential([keras.Input(shape), layers.Flatten(), *down, *code])
    return encoder, keras.Sequential([keras.Input((code_dim,)), *up, *pixels])


def hourglass(recipe: dict[str, Any], shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Convolutions that halve height and width and leave the code an image of many channels.

    Between them and their mirror image are two of 3 x 3, so that each pixel sees most of the image.
    """
    *_, last = sizes = recipe["sizes"]
    common = {"padding": "same", "activation": recipe["activation"]}
    down = [layers.Conv2D(width, 4, 2, **common) for width in sizes]
    up = [layers.Conv2DTranspose(width, 4, 2, **common) for width in sizes[-2::-1]]
    pixels = layers.Conv2DTranspose(shape[-1], 4, 2, "same", activation="sigmoid")
    encoder = keras.Sequential([keras.Input(shape), *down, layers.Conv2D(last, 3, **common)])
    code = keras.Input(encoder.output_shape[1:])
    return encoder, keras.Sequential([code, layers.Conv2D(last, 3, **common), *up, pixels])


def conditional() -> tuple[keras.Model, keras.Model]:
    """The halves of `faces_64`, with one number more that the decoder is told.

    That number is given beside the image, passes the encoder by and comes out beside the code.
    """
    model = aelib.weights.load("faces_64")
    x, told = keras.Input(model.encoder.input_shape[1:]), keras.Input((1,))
    encoder = keras.Model([x, told], [model.encoder(x), layers.Identity()(told)])
    z, told_again = keras.Input(model.decoder.input_shape[1:]), keras.Input((1,))
    first, *others = model.decoder.layers
    kernel, bias = first.get_weights()
    wider = layers.Dense(first.units, first.activation)
    x_hat = wider(layers.Concatenate()([z, told_again]))
    wider.set_weights([np.concatenate([kernel, np.zeros_like(kernel[:1])]), bias])
    for layer in others:
        x_hat = layer(x_hat)
    return encoder, keras.Model([z, told_again], x_hat)


def with_the_other_smile(split: data.Split) -> tuple[np.ndarray, np.ndarray]:
    """Each person drawn with the smile of the one before, and these smiles `(n, 1)`."""
    smile = np.roll(split.factors["smile"], 1)
    return faces.render(split.factors | {"smile": smile}, split.x.shape[1]), smile[:, None]


def pairs(split: data.Split) -> tuple[list[np.ndarray], np.ndarray]:
    """Pictures with the smiles that are asked for, and the same people with these smiles."""
    other, smile = with_the_other_smile(split)
    own = split.factors["smile"][:, None]
    seen, told = np.concatenate([split.x, other]), np.concatenate([smile, own])
    return [seen, told], np.concatenate([other, split.x])


def strokes(recipe: dict[str, Any], shape: tuple[int, ...]) -> tuple[Any, Any]:
    """One layer each; what the decoder draws adds ink, and nothing takes any away."""
    code, pixels = recipe["code_dim"], math.prod(shape)
    kept = KSparse(recipe["k_start"])
    units = layers.Dense(code, recipe["activation"])
    encoder = keras.Sequential([keras.Input(shape), layers.Flatten(), units, kept])
    kept.k = recipe["k"]
    draw = layers.Dense(pixels, use_bias=False, kernel_constraint=keras.constraints.NonNeg())
    return encoder, keras.Sequential([keras.Input((code,)), draw, layers.Reshape(shape)])


def begin_strokes(halves: tuple[Any, Any], recipe: dict[str, Any], x: np.ndarray) -> list[Any]:
    """Sets the first weights as the recipe's `start` says; returns the callback that lowers k."""
    encoder, decoder = halves
    mean = x.mean(axis=0).ravel()
    rows = 0.01 * np.random.default_rng(recipe["seed"]).random((recipe["code_dim"], len(mean)))
    apart = rows - rows.mean(axis=0)
    apart /= np.linalg.norm(apart, axis=1, keepdims=True)
    encoder.layers[1].set_weights([apart.T, -apart @ mean])
    decoder.layers[0].set_weights([rows])
    steps = np.geomspace(recipe["k_start"], recipe["k"], recipe["epochs"] // 2 + 1).round()

    def set_k(epoch: int, logs: Any) -> None:
        encoder.layers[-1].k = int(steps[min(epoch, len(steps) - 1)])

    return [keras.callbacks.LambdaCallback(on_epoch_begin=set_k)]


def beside_pca(halves: tuple[Any, Any], x: np.ndarray) -> list[keras.Model]:
    """Each half beside PCA's linear layer; the two are added, and the network starts at 0."""
    code_dim = halves[0].output_shape[-1]
    found = PCA(code_dim).fit(x.reshape(len(x), -1))
    encoder, decoder = recipes.dense(x.shape[1:], [], code_dim)
    encoder.layers[-1].set_weights([found.components_.T, -found.components_ @ found.mean_])
    decoder.layers[0].set_weights([found.components_, found.mean_])
    both = []
    for straight, bent in zip((encoder, decoder), halves, strict=True):
        last = [layer for layer in bent.layers if layer.weights][-1]
        last.kernel.assign(0 * last.kernel)
        inputs = keras.Input(bent.input_shape[1:])
        both.append(keras.Model(inputs, layers.add([straight(inputs), bent(inputs)])))
    return both


def dropping(encoder: keras.Sequential, rate: float) -> keras.Sequential:
    """The encoder with dropout before each hidden layer."""
    if not rate:
        return encoder
    flat, *hidden, code = encoder.layers
    pairs = [layer for one in hidden for layer in (layers.Dropout(rate), one)]
    return keras.Sequential([keras.Input(encoder.input_shape[1:]), flat, *pairs, code])


def stack(recipe: dict[str, Any], x: np.ndarray) -> Autoencoder:
    """Denoising autoencoders, one on top of the other, assembled and not trained together."""
    sizes = [*recipe["sizes"], recipe["code_dim"]]
    steps = recipe["epochs"] * math.ceil(len(x) / recipe["batch_size"])
    rate = KLSparsity(recipe["target"], recipe["target_weight"], momentum=0.9)
    noise = [GaussianCorruption(stddev) for stddev in recipe["corruption"]]
    more = {key: recipe[key] for key in ("epochs", "batch_size", "activation")}
    more |= {"corruption": noise, "sparsity": [rate, *(None for _ in sizes[1:])]}
    pairs = stacked.pretrain(x, sizes, optimizer=recipes.adam(recipe["peak"], steps), **more)
    model = pairs.autoencoder()
    model.build((None, *x.shape[1:]))
    return model


def reader(recipe: dict[str, Any], shape: tuple[int, ...], classes: int) -> keras.Sequential:
    """A convolutional classifier; its last hidden layer is the third from the end."""
    net = [keras.Input(shape)]
    for width in recipe["sizes"]:
        net += [layers.Conv2D(width, 3, 1, "same", activation=recipe["activation"])]
        net += [layers.MaxPooling2D()]
    net += [layers.Flatten(), layers.Dropout(recipe["dropout"])]
    net += [layers.Dense(128, recipe["activation"]), layers.Dropout(recipe["dropout"])]
    return keras.Sequential([*net, layers.Dense(classes)])


def ladder(recipe: dict[str, Any], images: data.Dataset) -> LadderNetwork:
    """Trained on all images, and on the labels of a few: of each class as many."""
    x, labels = images.train.x, images.train.y
    classes = int(labels.max()) + 1
    rng = np.random.default_rng(1000 + recipe["draw"])  # as in studies/ladder
    order = [rng.permutation(np.flatnonzero(labels == name)) for name in range(classes)]
    rows = np.concatenate([of_class[: recipe["labels"] // classes] for of_class in order])
    steps = recipe["epochs"] * math.ceil(len(x) / recipe["unlabelled"])
    rate = keras.optimizers.schedules.PolynomialDecay(recipe["peak"], steps, 0.0)
    model = LadderNetwork(recipe["sizes"], classes, recipe["noise"])
    model.compile(keras.optimizers.Adam(rate))
    size = recipe["labelled"] + recipe["unlabelled"]
    budget = {"batch_size": size, "epochs": recipe["epochs"], "verbose": 2}
    y = np.concatenate([labels[rows], np.full(len(x), -1)])
    every = np.concatenate([x[rows], x])
    model.fit(every, y, labelled_share=recipe["labelled"] / size, **budget)
    return model


def loss_of(recipe: dict[str, Any]) -> Any:
    kind = recipe["loss"]
    if kind == "GaussianNegativeLogLikelihood":
        return losses.GaussianNegativeLogLikelihood(recipe["stddev"])
    if kind == "SparseCategoricalCrossentropy":
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return getattr(losses, kind)()


def train(plan: dict[str, Any], images: data.Dataset) -> keras.Model:
    """A model trained as the recipe of `plan` says."""
    recipe, x = plan["recipe"], images.train.x
    aelib.start(recipe["seed"])
    if recipe["parts"] == "ladder":
        return ladder(recipe, images)
    loss = loss_of(recipe)
    budget = {key: recipe[key] for key in ("epochs", "batch_size", "peak")}
    if recipe["parts"] == "reader":
        model = reader(recipe, images.image_shape, int(images.train.y.max()) + 1)
        recipes.fit(model, x, loss, y=images.train.y, verbose=2, **budget)
        return model
    if recipe["parts"] == "stack":
        return stack(recipe, x)
    if recipe["parts"] == "conditional":
        model = VariationalAutoencoder(*conditional())
        seen, asked = pairs(images.train)
        recipes.fit(model, seen, loss, y=asked, verbose=2, **budget)
        return model
    halves: Any = parts(recipe, images.image_shape)
    if recipe["parts"] == "beside_pca":
        halves = beside_pca(halves, x)
    encoder, decoder = halves
    if "total_correlation" in recipe:
        model = TotalCorrelationVAE(encoder, decoder, recipe["total_correlation"], len(x))
    elif "beta" in recipe:
        more = {"beta": recipe["beta"], "binarize": recipe.get("binarize", False)}
        steps = recipe["epochs"] * math.ceil(len(x) / recipe["batch_size"])
        model = VariationalAutoencoder(
            *halves, beta_warmup=round(recipe.get("warmup", 0) * steps), **more
        )
    else:
        noise = NoiseOfAnyStrength(recipe["noise"], recipe["seed"]) if "noise" in recipe else None
        if "bit_price" in recipe:
            encoder = keras.Sequential([encoder, RateTerm(recipe["bit_price"])])
        model = Autoencoder(encoder, decoder, noise)
    if recipe["parts"] == "strokes":
        budget["callbacks"] = begin_strokes(halves, recipe, x)
    elif recipe["parts"] != "beside_pca" and "output_activation" not in recipe:
        bias = [layer for layer in model.decoder.layers if layer.weights][-1].bias
        mean = x.mean(axis=0).reshape(-1, bias.shape[0]).mean(axis=0).clip(1e-3, 1 - 1e-3)
        bias.assign(np.log(mean / (1 - mean)))
    recipes.fit(model, x, loss, verbose=2, **budget)
    model.evaluate(images.valid.x, verbose=2)  # what a recipe is chosen on
    if not {"noise", "bit_price"} & recipe.keys():
        return model
    clean = Autoencoder(*halves)
    clean.build((None, *images.image_shape))
    return clean


def packed(model: keras.Model, bits: int = 16) -> bytes:
    """A `.keras` file of the model without its optimiser, a half or a quarter of Keras's size.

    Its weights are float32 with the digits of float16. With 8 bits the kernels are rounded further,
    to multiples, up to 127, of a power of two for each unit. A browser's copy holds the same, so
    that both draw the same picture. What that leaves empty, bzip2 packs best.
    """
    content = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        model.save(path := Path(folder) / "model.keras")
        kept = aelib.load_model(path, compile=False)
        kept.set_weights([rounded(weight, bits) for weight in kept.weights])
        kept.save(path)
        with zipfile.ZipFile(path) as source:
            with zipfile.ZipFile(content, "w", zipfile.ZIP_BZIP2) as target:
                for name in source.namelist():
                    target.writestr(name, source.read(name))
    return content.getvalue()


def rounded(weight: Any, bits: int) -> np.ndarray:
    values = weight.numpy()
    if values.dtype != "float32":  # the state of a seed
        return values
    if bits == 8 and weight.path.endswith("kernel"):
        unit = -2 if "transpose" in weight.path else -1
        axes = tuple(axis for axis in range(values.ndim) if axis != values.ndim + unit)
        step = 2 ** np.ceil(np.log2(np.abs(values).max(axis=axes, keepdims=True).clip(1e-30) / 127))
        return np.rint(values / step) * step
    return values.astype("float16").astype("float32")


def measured(model: Any, images: data.Dataset, plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the card says of the model on the test images, to four digits."""
    special = {"reader": of_reader, "ladder": of_ladder, "conditional": of_conditional}
    found = special.get(plan["recipe"]["parts"], of_autoencoder)
    return {
        name: {"value": float(f"{value:.4g}"), "unit": unit}
        for name, (value, unit) in found(model, images, plan).items()
    }


def of_reader(model: Any, images: data.Dataset, plan: dict[str, Any]) -> dict[str, Any]:
    wrong = model.predict(images.test.x, verbose=0).argmax(axis=1) != images.test.y
    return {"error": (wrong.mean(), "fraction of test images")}


def of_ladder(model: Any, images: data.Dataset, plan: dict[str, Any]) -> dict[str, Any]:
    wrong = model.classify(images.test.x) != images.test.y
    return {"error": (wrong.mean(), "fraction of test images")}


def of_conditional(model: Any, images: data.Dataset, plan: dict[str, Any]) -> dict[str, Any]:
    x, own = images.test.x, images.test.factors["smile"][:, None]
    truth, asked = with_the_other_smile(images.test)
    unit = "per image: summed over pixels, mean over the test images"
    drawn = {
        "squared_error": (x, model.reconstruct([x, own])),
        "borrowed": (truth, model.reconstruct([x, asked])),
        "not_borrowed": (truth, model.reconstruct([x, own])),
    }
    return {
        name: (metrics.squared_error(a, b).mean(dtype="float64"), unit)
        for name, (a, b) in drawn.items()
    }


def of_autoencoder(model: Any, images: data.Dataset, plan: dict[str, Any]) -> dict[str, Any]:
    x, z = images.test.x, model.encode(images.test.x)
    error = metrics.squared_error(x, model.decode(z)).mean(dtype="float64")
    found = {"squared_error": (error, "per image: summed over pixels, mean over the test images")}
    if "beta" in plan["recipe"]:
        model.compile("adam", loss_of(plan["recipe"]))
        bound = model.evaluate(x, verbose=0, return_dict=True)
        nats = "nats per image, mean over the test images"
        found |= {
            "negative_elbo": (bound["reconstruction"] + bound["kl"], nats),
            "kl": (bound["kl"], nats),
        }
    if "varied" in plan["recipe"]:
        mean, log_var = model.posterior(x)
        drawn = np.random.default_rng(TEST_SEED).normal(mean, np.exp(log_var / 2))
        table = np.stack([images.test.factors[name] for name in plan["recipe"]["varied"]], axis=1)
        score = mutual_information_gap(drawn, table)
        found["mig"] = (score, "mutual information gap of draws from q(z|x), test images")
    for stddev in (0.25, 0.5, 0.75) if "noise" in plan["recipe"] else ():
        noisy = x + stddev * np.random.default_rng(TEST_SEED).standard_normal(x.shape, "float32")
        for name, image in (("noisy", noisy), ("denoised", model.reconstruct(noisy))):
            value = metrics.psnr(x, image).mean(dtype="float64")
            found[f"{name}_{stddev}"] = (value, "dB: peak signal-to-noise, mean over test images")
    if "bit_price" in plan["recipe"]:
        archiver = Archiver(model, 1.0)
        archiver.adapt(images.train.x[:20_000])
        file = archiver.compress(x)
        psnr = metrics.psnr(x, archiver.decompress(file)).mean(dtype="float64")
        found |= {
            "bits_per_pixel": (8 * len(file) / x.size, "of one file of all test images"),
            "psnr": (psnr, "dB: peak signal-to-noise, mean over test images, read from the file"),
        }
    if z.shape[1] == 2:
        few, k = slice(2_000), 12
        flat, codes = x[few].reshape(len(x[few]), -1), z[few]
        of = f"1 is best; {k} neighbours, first {len(codes):,} test images"
        votes = model.encode(images.train.x), images.train.y, z, images.test.y
        found |= {
            "trustworthiness": (trustworthiness(flat, codes, n_neighbors=k), of),
            "continuity": (trustworthiness(codes, flat, n_neighbors=k), of),
            "neighbour_error": (
                metrics.neighbour_error(*votes),
                "fraction of test images that the 5 nearest training codes misread",
            ),
        }
    return found


def is_kept(name: str, plan: dict[str, Any], folder: Path) -> bool:
    """Whether model and card are there, belong together and are of this recipe."""
    try:
        card = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        content = (folder / f"{name}.keras").read_bytes()
        same = all(card[key] == value for key, value in plan.items())
        return same and card["file"]["sha256"] == hashlib.sha256(content).hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def make(name: str, plan: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Trains a model, writes it and then its card into `folder`, and returns the card."""
    images, begin = load(plan), time.perf_counter()
    content = packed(train(plan, images), plan["recipe"].get("bits", 16))
    seconds = round(time.perf_counter() - begin, 1)
    path = folder / f"{name}.keras"
    write_whole(path, content)
    packages = ("tensorflow", "keras", "numpy", "scikit-learn")
    card = {
        "name": name,
        **plan,
        "date": date.today().isoformat(),
        "versions": {package: version(package) for package in packages},
        "seconds": seconds,
        "file": {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
        "measured": measured(aelib.load_model(path), images, plan),
    }
    write_whole(path.with_suffix(".json"), json.dumps(card, indent=1) + "\n")
    return card


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(RECIPES)), metavar="[NAME]...")
@click.option("--force", is_flag=True, help="Also what is there already.")
def main(names, force) -> None:
    """Trains the models of the lessons, all or those named, and keeps them with their cards."""
    for name in names or RECIPES:
        if not force and is_kept(name, RECIPES[name], FOLDER):
            click.echo(f"{name} is there already")
            continue
        card = make(name, RECIPES[name], FOLDER)
        click.echo(f"{name}: {card['file']['bytes']:,} bytes, {card['seconds']} s")
        for what, found in card["measured"].items():
            click.echo(f"  {what:15} {found['value']} ({found['unit']})")


if __name__ == "__main__":
    main()
