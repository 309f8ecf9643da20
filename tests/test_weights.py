"""The kept models, their cards, and the tool that makes both."""

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

import aelib
from aelib import data, weights
from aelib.data import faces

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "aelib" / "weights"
sys.path.insert(0, str(ROOT / "tools"))

import make_weights  # noqa: E402

PROJECT = (ROOT / "pyproject.toml").read_text()
EVERY = weights.names()
OTHERS = ("reader", "ladder", "conditional")  # what does not go from images alone to images
AUTOENCODERS = [name for name in EVERY if weights.card(name)["recipe"]["parts"] not in OTHERS]
TINY = {
    "about": "Small.",
    "lesson": "00_start_here",
    "dataset": "digits",
    "recipe": {
        **make_weights.RECIPES["mnist_2d"]["recipe"],
        **{"sizes": [8], "epochs": 1, "batch_size": 500},
    },
}


def run(program: str, folder: Path) -> str:
    """What a fresh process in `folder` prints that finds the library and no network."""
    alone = "import socket; socket.socket.connect = None\n"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AELIB")}
    done = subprocess.run(
        [sys.executable, "-c", alone + program],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_model_has_a_recipe_and_the_files_are_small():
    assert EVERY == sorted(make_weights.RECIPES)
    files = [path for path in FOLDER.iterdir() if path.suffix in (".keras", ".json")]
    assert sorted(path.name for path in files) == sorted(
        f"{name}.{suffix}" for name in EVERY for suffix in ("keras", "json")
    )
    assert sum(path.stat().st_size for path in files) <= 12e6


@pytest.mark.parametrize("name", EVERY)
def test_a_card_is_complete_and_of_the_file_beside_it(name):
    card, content = weights.card(name), (FOLDER / f"{name}.keras").read_bytes()
    assert card["name"] == name and make_weights.RECIPES[name].items() <= card.items()
    assert (ROOT / "notebooks" / f"{card['lesson']}.ipynb").is_file()
    assert card["dataset"] in data.names() and card["seconds"] > 0
    assert {"tensorflow", "keras", "numpy"} <= card["versions"].keys()
    # Written by the oldest Keras of the range, which later ones read; the reverse fails.
    assert f'"keras>={card["versions"]["keras"].rpartition(".")[0]}"' in PROJECT
    assert card["file"] == {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    for found in card["measured"].values():
        assert found["unit"] and float(f"{found['value']:.4g}") == found["value"]
    assert make_weights.is_kept(name, make_weights.RECIPES[name], FOLDER)


@pytest.mark.parametrize("name", EVERY)
def test_weights_have_the_digits_that_a_browser_has(name):
    model, bits = weights.load(name), weights.card(name)["recipe"].get("bits", 16)
    for weight in model.weights:
        assert weight.dtype in ("float32", "uint32", "int64")  # the last is the k of a sparse code
        values = weight.numpy()
        if bits == 8 and weight.path.endswith("kernel"):
            unit = values.ndim - 2 if "transpose" in weight.path else values.ndim - 1
            axes = tuple(axis for axis in range(values.ndim) if axis != unit)
            largest = np.abs(values).max(axis=axes, keepdims=True).clip(1e-30)
            assert (values % 2 ** np.ceil(np.log2(largest / 127)) == 0).all()
        elif weight.dtype == "float32":
            np.testing.assert_array_equal(values, np.asarray(values, "float16"))


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_a_model_goes_from_images_to_codes_and_back(name):
    model, recipe = weights.load(name), weights.card(name)["recipe"]
    x = np.random.default_rng(0).random((3, *model.encoder.input_shape[1:]), "float32")
    z = model.encode(x)
    assert z.reshape(3, -1).shape == (3, recipe["code_dim"])
    np.testing.assert_array_equal(model.reconstruct(x), model.decode(z))
    model.compile("adam", make_weights.loss_of(recipe))  # it can be trained further
    assert math.isfinite(model.fit(x, verbose=0).history["loss"][0])


def test_the_judge_gives_a_number_for_each_digit():
    judge = weights.load("mnist_judge")
    x = np.random.default_rng(0).random((3, 28, 28, 1), "float32")
    assert judge(x).shape == (3, 10)
    assert judge.layers[-3].units == 128  # lesson 09 reads its last hidden layer


def test_the_conditional_model_draws_the_smile_that_it_is_told():
    model = weights.load("faces_conditional")
    x = np.random.default_rng(0).random((3, 64, 64, 1), "float32")
    sad, glad = -np.ones((3, 1), "float32"), np.ones((3, 1), "float32")
    code, told = model.encode([x, glad])
    assert code.shape == (3, weights.card("faces_conditional")["recipe"]["code_dim"])
    np.testing.assert_array_equal(told, glad)
    np.testing.assert_array_equal(code, model.encode([x, sad])[0])
    results = [model.reconstruct([x, smile]) for smile in (sad, glad)]
    assert results[0].shape == x.shape and np.abs(results[0] - results[1]).max() > 0.2


def test_a_pair_is_one_person_with_two_smiles_each_seen_once_and_asked_for_once():
    factors = faces.sample(4, seed=0)
    split = data.Split(faces.render(factors, 16), faces.labels(factors), factors)
    (seen, told), drawn = make_weights.pairs(split)
    np.testing.assert_array_equal(seen[:4], split.x)
    np.testing.assert_array_equal(drawn[4:], split.x)
    np.testing.assert_array_equal(seen[4:], drawn[:4])
    for image, smile, row in zip(drawn, told[:, 0], [0, 1, 2, 3] * 2, strict=True):
        person = {name: values[row : row + 1] for name, values in factors.items()}
        np.testing.assert_allclose(image, faces.render(person | {"smile": smile}, 16)[0], atol=1e-6)


def test_the_ladder_classifies_and_draws_and_can_be_trained_further():
    ladder = weights.load("mnist_ladder")
    x = np.random.default_rng(0).random((30, 28, 28, 1), "float32")
    assert ladder.classify(x).shape == (30,)
    assert ladder.reconstruct(x).shape == x.shape
    assert ladder.decode(10 * np.eye(10, dtype="float32")).shape == (10, 28, 28, 1)
    ladder.compile("adam")
    y = np.where(np.arange(30) < 15, np.arange(30) % 10, -1)
    assert math.isfinite(ladder.fit(x, y, 30, verbose=0).history["loss"][0])


@pytest.mark.parametrize("name", EVERY)
def test_the_numbers_of_a_card_are_those_of_the_test_images(name):
    card = weights.card(name)
    (status,) = (status for status in data.status() if status.name == card["dataset"])
    if status.kind != "embedded" and not status.path:
        pytest.skip(f"{card['dataset']} is not on this machine: set AELIB_DATA_DIR")
    plan = make_weights.RECIPES[name]
    images = make_weights.load(plan, trained_on=False)
    measured = make_weights.measured(weights.load(name), images, plan)
    assert measured.keys() == card["measured"].keys()
    for what, found in card["measured"].items():
        digit = 10.0 ** (math.floor(math.log10(abs(found["value"]))) - 3)
        one_image = 1e-4 if "fraction" in found["unit"] else 0
        assert measured[what]["unit"] == found["unit"]
        assert abs(measured[what]["value"] - found["value"]) < 1.01 * max(digit, one_image), what


def test_a_folded_map_keeps_neighbours_and_adds_false_ones():
    t = np.random.default_rng(0).random(400)
    split = SimpleNamespace(x=np.stack([t, 0 * t], 1)[:, None, None], y=t > 0.5)
    folded = SimpleNamespace(
        encode=lambda x: np.abs(x[:, 0, 0] - (0.5, 0)), decode=lambda z: np.zeros((len(z), 1, 1, 2))
    )
    images = SimpleNamespace(train=split, test=split)
    found = make_weights.measured(folded, images, TINY)
    values = {name: found[name]["value"] for name in found}
    assert values["continuity"] > 0.95 and 0.4 < values["trustworthiness"] < 0.9
    assert values["squared_error"] == pytest.approx(np.square(t).mean(), rel=5e-4)
    assert 0.2 < values["neighbour_error"] < 0.5  # each votes for itself, its neighbours at random


def test_what_the_lessons_say_of_them():
    def measured(name, what="squared_error"):
        return weights.card(name)["measured"][what]["value"]

    assert measured("mnist_2d") <= 25.5 and measured("mnist_2d", "neighbour_error") <= 0.12
    assert measured("mnist_sparse") <= 9.5
    assert measured("mnist_judge", "error") <= 0.01
    assert measured("mnist_ladder", "error") <= 0.03
    assert measured("mnist_denoiser", "denoised_0.5") >= 20.5
    assert measured("mnist_stack") <= 15
    assert measured("mnist_8d") <= 9.6 and measured("mnist_30d") <= 2.86


@pytest.mark.parametrize("ask", [weights.load, weights.card])
@pytest.mark.parametrize("name", ["mnist_3d", "", "../weights/mnist_2d", None, 2])
def test_an_unknown_name_is_refused_with_those_that_exist(ask, name):
    with pytest.raises(ValueError, match=r"`name` must be one of '.*'mnist_2d', .*Received: name="):
        ask(name)


def test_a_card_is_read_without_keras(tmp_path):
    program = (
        "import sys, aelib\n"
        "cards = [aelib.weights.card(name) for name in aelib.weights.names()]\n"
        "print(len(cards), 'keras' in sys.modules)"
    )
    assert run(program, tmp_path) == f"{len(EVERY)} False\n"


def test_what_is_made_is_kept_until_file_card_or_recipe_change(tmp_path):
    card = make_weights.make("tiny", TINY, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.json", "tiny.keras"]
    assert json.loads((tmp_path / "tiny.json").read_text()) == card

    def is_kept(plan=TINY):
        return make_weights.is_kept("tiny", plan, tmp_path)

    assert is_kept()
    assert not is_kept({**TINY, "recipe": {**TINY["recipe"], "epochs": 2}})
    assert not make_weights.is_kept("other", TINY, tmp_path)
    for path in (tmp_path / "tiny.json", tmp_path / "tiny.keras"):
        whole = path.read_bytes()
        for broken in (whole[:-20], b"", whole[:-20] + bytes(20)):
            path.write_bytes(broken)
            assert not is_kept(), (path.name, len(broken))
        path.unlink()
        assert not is_kept()
        path.write_bytes(whole)
        assert is_kept()


def test_halves_may_differ_and_an_encoder_drop_units():
    recipe = TINY["recipe"] | {"parts": "dense", "sizes": [7, 6], "decoder_sizes": [5], "beta": 1.0}
    recipe["loss"] = "BernoulliCrossEntropy"
    encoder, decoder = make_weights.parts(recipe | {"dropout": 0.5}, (4, 4, 1))
    kinds = [type(layer).__name__ for layer in encoder.layers]
    assert kinds == ["Flatten", "Dropout", "Dense", "Dropout", "Dense", "Dense"]
    assert encoder.output_shape == (None, 2 * recipe["code_dim"])
    assert decoder.layers[0].units == 5 and decoder.output_shape == (None, 4, 4, 1)
    x = np.random.default_rng(0).random((3, 4, 4, 1), "float32")
    assert not np.allclose(encoder(x, training=True), encoder(x))
    assert np.asarray(decoder(np.full((1, 2), 99, "float32"))).min() < 0, "logits"


def test_a_denoiser_learns_from_noise_of_any_strength_and_is_kept_without_it():
    zeros = np.zeros((1000, 32, 32, 1), "float32")
    noise = np.asarray(make_weights.NoiseOfAnyStrength(0.8, seed=0)(zeros, training=True))
    strengths = np.sort(np.sqrt(np.square(noise).mean(axis=(1, 2, 3))))
    np.testing.assert_allclose(strengths, np.linspace(0, 0.8, 1000), atol=0.1)
    assert abs(noise.mean()) < 0.01
    more = {"parts": "hourglass", "sizes": [3, 5], "noise": 0.8, "batch_size": 10}
    plan = {**TINY, "recipe": TINY["recipe"] | more}
    split = SimpleNamespace(x=np.random.default_rng(0).random((20, 12, 8, 1), "float32"))
    images = SimpleNamespace(train=split, valid=split, test=split, image_shape=(12, 8, 1))
    model = make_weights.train(plan, images)
    assert model.corruption is None and model.encode(split.x).shape == (20, 3, 2, 5)
    found = make_weights.of_autoencoder(model, images, plan)
    assert abs(found["noisy_0.25"][0] - 13) < 1, "about 20 log10(1 / 0.25), clipped"
    assert found["noisy_0.75"][0] < found["noisy_0.5"][0] < found["noisy_0.25"][0]
    assert found["denoised_0.5"][0] > found["noisy_0.75"][0]


def test_a_price_for_bits_lowers_them_and_the_rate_term_is_not_kept():
    x = np.random.default_rng(0).random((80, 6, 5, 1), "float32")
    split = SimpleNamespace(x=x)
    images = SimpleNamespace(train=split, valid=split, test=split, image_shape=(6, 5, 1))
    found = {}
    for price in (0.0, 10.0):
        more = {"parts": "dense", "sizes": [16], "code_dim": 4, "bit_price": price}
        recipe = TINY["recipe"] | more | {"epochs": 60, "batch_size": 20, "peak": 0.01}
        model = make_weights.train({**TINY, "recipe": recipe}, images)
        assert [type(one).__name__ for one in model.encoder.layers] == ["Flatten", "Dense", "Dense"]
        found[price] = make_weights.of_autoencoder(model, images, {"recipe": recipe})
    assert found[10.0]["bits_per_pixel"][0] < found[0.0]["bits_per_pixel"][0] - 0.05
    assert found[0.0]["psnr"][0] > found[10.0]["psnr"][0]


def test_a_recipe_asks_for_black_and_white_pixels_and_a_warm_up():
    more = {"parts": "dense", "sizes": [8], "loss": "BernoulliCrossEntropy", "beta": 1.0}
    recipe = TINY["recipe"] | more | {"binarize": True, "warmup": 0.5, "batch_size": 10}
    split = SimpleNamespace(x=np.random.default_rng(0).random((40, 4, 4, 1), "float32"))
    images = SimpleNamespace(train=split, valid=split, test=split, image_shape=(4, 4, 1))
    model = make_weights.train({**TINY, "recipe": recipe}, images)
    assert model.binarize and model.beta_warmup == 2, "half of the four steps of one epoch"


def test_strokes_only_add_ink_and_their_number_falls():
    more = {"parts": "strokes", "code_dim": 12, "k": 3, "k_start": 6, "epochs": 4, "batch_size": 10}
    plan = {**TINY, "recipe": TINY["recipe"] | more}
    split = SimpleNamespace(x=np.random.default_rng(0).random((20, 6, 5, 1), "float32"))
    images = SimpleNamespace(train=split, valid=split, test=split, image_shape=(6, 5, 1))
    model = make_weights.train(plan, images)
    assert model.encoder.layers[-1].k == 3
    assert (model.encode(split.x) != 0).sum(axis=1).max() == 3
    (features,) = model.decoder.layers[0].get_weights()
    assert features.shape == (12, 30) and features.min() >= 0 and features.max() > 0


def test_a_ladder_learns_from_the_labels_of_its_draw_alone(tmp_path):
    rng = np.random.default_rng(0)
    centres, y = rng.random((10, 6, 5, 1)), np.arange(400) % 10
    x = np.clip(centres[y] + rng.normal(0, 0.1, (400, 6, 5, 1)), 0, 1).astype("float32")
    more = {"sizes": [20, 16], "labels": 20, "labelled": 20, "unlabelled": 40, "epochs": 10}
    recipe = make_weights.RECIPES["mnist_ladder"]["recipe"] | more
    plan = {**TINY, "recipe": recipe | {"peak": 0.01}}
    split = SimpleNamespace(x=x, y=y)
    images = SimpleNamespace(train=split, valid=split, test=split, image_shape=(6, 5, 1))
    model = make_weights.train(plan, images)
    assert make_weights.measured(model, images, plan)["error"]["value"] < 0.1
    (tmp_path / "kept.keras").write_bytes(make_weights.packed(model, bits=8))
    kept = aelib.load_model(tmp_path / "kept.keras")
    assert np.mean(kept.classify(x) == model.classify(x)) > 0.97


def test_a_packed_model_is_the_model_without_its_optimiser(make_parts, tmp_path):
    model = aelib.autoencoder.Autoencoder(*make_parts())
    model.compile("adam", aelib.losses.BernoulliCrossEntropy(from_logits=True))
    x = np.random.default_rng(0).random((20, 12, 10, 1), "float32")
    model.fit(x, verbose=0)
    (tmp_path / "kept.keras").write_bytes(make_weights.packed(model))
    kept = aelib.load_model(tmp_path / "kept.keras")
    assert not kept.compiled and model.compiled
    # Logits stay logits, and eleven bits of a weight move a pixel by less than half a grey.
    np.testing.assert_allclose(kept.reconstruct(x), model.reconstruct(x), atol=0.5 / 255)
    assert kept.reconstruct(x).min() >= 0


def test_models_are_chosen_by_name_and_made_when_they_are_not_there(monkeypatch):
    made = []

    def make(name, plan, folder):
        made.append((name, plan["recipe"].get("code_dim"), folder))
        return weights.card(name)

    def call(*arguments):
        made.clear()
        return CliRunner().invoke(make_weights.main, arguments)

    monkeypatch.setattr(make_weights, "make", make)
    assert "mnist_8d is there already" in call().output and made == []
    assert "squared_error" in call("mnist_8d", "--force").output
    assert made == [("mnist_8d", 8, FOLDER)]
    assert call("mnist_3d").exit_code == 2 and made == []
    monkeypatch.setattr(make_weights, "is_kept", lambda name, plan, folder: name == "mnist_2d")
    assert call().exit_code == 0 and [name for name, *_ in made] == [
        "mnist_8d",
        "mnist_30d",
        "mnist_sparse",
        "mnist_denoiser",
        "mnist_stack",
        "mnist_vae_2d",
        "mnist_vae_20d",
        "faces_64",
        "mnist_archiver",
        "mnist_binary_vae",
        "faces_factors",
        "faces_entangled",
        "faces_conditional",
        "mnist_judge",
        "mnist_ladder",
    ]
