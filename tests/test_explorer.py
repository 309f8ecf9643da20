"""The explorer's JavaScript, run by Node.js or a browser, against Keras; and the page around it."""

import base64
import json
import re
import tomllib
from io import BytesIO
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from page import SOURCES, config, in_page, run
from PIL import Image

from aelib import losses, plots, recipes
from aelib.autoencoder import Autoencoder
from aelib.explorer import ACTIVATIONS

ROOT = Path(__file__).parents[1]


def decoder(*inner, code_dim=2, shape=(5, 4, 1)):
    last = [layers.Dense(int(np.prod(shape)), "sigmoid"), layers.Reshape(shape)]
    return keras.Sequential([keras.Input((code_dim,)), *inner, *last])


def codes(n=50, code_dim=2, scale=5.0):
    return np.random.default_rng(0).normal(0, scale, (n, code_dim)).astype("float32")


def decoded_in_page(explorer, z):
    written = json.dumps(config(explorer)["layers"])
    program = f"const decode = network({written}); const z = {json.dumps(z.tolist())};"
    return np.array(
        run(f"{SOURCES['network']}\n{program} return z.map((code) => Array.from(decode(code)));")
    )


def spread(model):
    """Weights as large as training makes them, a unit that is never on, biases that matter."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if layer.weights:
            weights = [w * 1.5 + rng.normal(0, 0.05, w.shape) for w in layer.get_weights()]
            unit = -2 if isinstance(layer, layers.Conv2DTranspose) else -1
            np.moveaxis(weights[0], unit, 0)[0] = 0
            layer.set_weights(weights)
    return model


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_page_draws_what_keras_draws(activation):
    keras.utils.set_random_seed(0)
    model = decoder(layers.Dense(64, activation), layers.Dense(64, activation), shape=(28, 28, 1))
    model, z = spread(model), codes()
    expected = np.asarray(model(z)).reshape(50, -1)
    found = decoded_in_page(plots.explorer(model), z)
    assert np.ptp(expected) > 0.3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "inner",
    [
        [layers.Dense(8, use_bias=False), layers.Activation("softplus")],
        [keras.Sequential([layers.Dense(8, "gelu"), layers.Dropout(0.5)]), layers.Dense(6)],
        [layers.Dense(12, "relu"), layers.Reshape((3, 4)), layers.Flatten()],
        [],
    ],
    ids=["no bias", "nested", "reshaped", "one layer"],
)
def test_other_chains_of_dense_layers_run_too(inner):
    model, z = decoder(*inner, shape=(5, 4, 3)), codes()
    expected = np.asarray(model(z)).reshape(50, -1)
    np.testing.assert_allclose(decoded_in_page(plots.explorer(model), z), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "stride"), [(4, 2), (3, 2), (5, 3), (3, 1), (2, 2), (1, 2), ((2, 5), (3, 1))]
)
@pytest.mark.parametrize("options", [{}, {"use_bias": False, "activation": "gelu"}])
def test_transposed_convolutions_run_too(size, stride, options):
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(4 * 3 * 5, "silu"),
            layers.Reshape((4, 3, 5)),
            layers.Conv2DTranspose(4, size, stride, "same", **options),
            layers.Conv2DTranspose(3, 4, 2, "same", activation="sigmoid"),
        ]
    )
    model, z = spread(model), codes()
    expected = np.asarray(model(z)).reshape(50, -1)
    assert np.ptp(expected[:, 3:]) > 0.1
    np.testing.assert_allclose(decoded_in_page(plots.explorer(model), z), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(28, 28, 1), (30, 25, 3)])
def test_the_convolutional_recipe_runs_too(shape):
    model, z = spread(recipes.convolutional(shape, [4, 8, 8], 2)[1]), codes()
    expected = np.asarray(model(z)).reshape(50, -1)
    np.testing.assert_allclose(decoded_in_page(plots.explorer(model), z), expected, atol=1e-4)


@pytest.mark.parametrize("parts", [recipes.dense, recipes.convolutional])
def test_kernels_in_127_steps_take_half_the_room_and_lose_nothing(parts):
    model, z = spread(parts((12, 12, 1), [24], 2)[1]), codes()
    before = len(str(plots.explorer(model)))
    for layer in model.layers:
        if layer.weights:
            axes = (0, 1, 3) if layer.kernel.ndim == 4 else (0,)
            largest = np.abs(layer.kernel).max(axis=axes, keepdims=True).clip(1e-9)
            step = 2 ** np.ceil(np.log2(largest / 127))
            layer.kernel.assign(np.rint(layer.kernel / step) * step)
    explorer = plots.explorer(model)
    numbers = {layer.get("numbers", "int8") for layer in config(explorer)["layers"]}
    assert numbers == {"int8"}
    kernels = sum(layer.kernel.numpy().size for layer in model.layers if layer.weights)
    assert len(str(explorer)) < before - 1.3 * kernels + 2000
    expected = np.asarray(model(z)).reshape(50, -1)
    np.testing.assert_allclose(decoded_in_page(explorer, z), expected, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_a_decoder_in_half_precision_is_drawn_in_full(policy):
    keras.config.set_dtype_policy(policy)
    try:
        _, model = recipes.dense((5, 4, 1), [16], 2)
    finally:
        keras.config.set_dtype_policy("float32")
    z = codes(scale=1.0)
    found = decoded_in_page(plots.explorer(model), z)
    np.testing.assert_allclose(found, np.asarray(model(z)).reshape(50, -1), atol=0.02)


def test_an_autoencoder_on_logits_shows_images(images, make_parts):
    model = Autoencoder(*make_parts(code_dim=2))
    model.compile("adam", losses.BernoulliCrossEntropy())
    model.fit(images, epochs=1, verbose=0)
    z = codes(scale=1.0)
    found = decoded_in_page(plots.explorer(model, model.encode(images)), z)
    np.testing.assert_allclose(found, model.decode(z).reshape(50, -1), atol=1e-4)
    bare = decoded_in_page(plots.explorer(model.decoder), z)
    np.testing.assert_allclose(bare, np.asarray(model.decoder(z)).reshape(50, -1), atol=1e-4)


def grey(model, code, paper=True):
    image = np.asarray(model(np.array([code], "float32")))[0].clip(0, 1)
    image = image if image.shape[-1] == 3 else np.repeat(1 - image if paper else image, 3, axis=-1)
    return np.concatenate([255 * image, np.full((*image.shape[:2], 1), 255)], axis=-1).ravel()


@pytest.mark.parametrize("shape, paper", [((5, 4, 1), True), ((5, 4, 1), False), ((5, 4, 3), True)])
def test_arrow_keys_move_the_point_and_the_image_follows(shape, paper):
    model = decoder(layers.Dense(8, "gelu"), shape=shape)
    explorer = plots.explorer(model, limits=[[-1, 1], [0, 10]], paper=paper, names=["a", "b"])
    steps = [("", 0, 0), ("ArrowRight", 0.04, 0), ("ArrowUp", 0.04, 0.2), ("ArrowLeft", 0, 0.2)]
    steps += [("ArrowDown", 0, 0), ("ArrowDown", 0, 0), ("Tab", 0, 0)]
    actions = "".join(f'press("{key}"); all.push(shown());' for key, *_ in steps)
    found = in_page(explorer, f"const all = []; {actions} return all;")
    for (_, x, y), now in zip(steps, found, strict=True):
        assert now["text"] == f"a: {x:g}, b: {y:g}"
        assert now["text"] in now["alt"]
        np.testing.assert_allclose(now["pixels"], grey(model, [x, y], paper), atol=0.51)
    kept = in_page(explorer, 'return ["ArrowUp", "ArrowDown", "Tab", "a"].map((k) => press(k));')
    assert kept == [True, True, False, False], "other keys are the page's"
    far = in_page(explorer, 'press("ArrowUp", true); press("ArrowRight", true); return shown();')
    assert far["text"] == "a: 0.2, b: 1"


def test_the_pointer_moves_the_point_and_stays_in_the_plane():
    explorer = plots.explorer(decoder(), limits=[[-1, 1], [0, 10]], names=["a", "b"])
    actions = """
      pointer("pointermove", "mouse", 75, 20); const mouse = shown().text;
      pointer("pointermove", "touch", 10, 10); const hover = shown().text;
      pointer("pointermove", "touch", 0, 100, 1); const drag = shown().text;
      pointer("pointerdown", "touch", 50, 50); const tap = shown().text;
      pointer("pointermove", "mouse", 999, -999); const out = shown().text;
      const point = find("div").find((node) => node.attributes.class === "point");
      return [mouse, hover, drag, tap, out, point.style.left, point.style.top];"""
    assert in_page(explorer, actions) == [
        *["a: 0.5, b: 8", "a: 0.5, b: 8", "a: -1, b: 0", "a: 0, b: 5", "a: 1, b: 10"],
        *["100%", "0%"],
    ]


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_a_code_is_the_origin_plus_values_times_directions(inputs):
    model = decoder(layers.Dense(8, "gelu"), code_dim=4)
    origin, directions = codes(1, 4, 1.0)[0], codes(inputs + 1, 4, 1.0)[1:]
    names = [f"way {i}" for i in range(inputs)]
    limits = [[0.5, 2]] * inputs
    explorer = plots.explorer(
        model, origin=origin, directions=directions, limits=limits, names=names
    )
    if inputs == 2:
        moved = 'press("ArrowRight"); press("ArrowRight");'
        values = [0.56, 0.5]
    else:
        moved = 'const last = find("input").at(-1); last.value = "0.56"; last.listeners.input();'
        values = [0.5] * (inputs - 1) + [0.56]
    found = in_page(explorer, f"{moved} return shown();")
    assert found["text"] == ", ".join(f"way {i}: {v:g}" for i, v in enumerate(values))
    expected = grey(model, origin + np.array(values, "float32") @ directions)
    np.testing.assert_allclose(found["pixels"], expected, atol=0.51)


def test_codes_stand_behind_the_point_in_the_colours_of_their_classes():
    z = np.concatenate([codes(3000, scale=1.0), codes(3000, scale=1.0) + np.array([8, 0])])
    labels = np.repeat(["left", "right"], 3000)
    explorer = plots.explorer(decoder(), z, labels)
    kept = config(explorer)
    assert [c["name"] for c in kept["classes"]] == ["left", "right"]
    assert [c["colour"] for c in kept["classes"]] == ["#1f77b4", "#ff7f0e"]
    assert kept["classes"][0]["place"][0] < 500 < kept["classes"][1]["place"][0]
    points = np.array(kept["points"])
    assert 1000 < len(points) <= 1500 and points[:, :2].min() >= 0 and points[:, :2].max() <= 1000
    (x0, x1), (y0, y1) = kept["limits"]
    back = points[:, :2] / 1000 * [x1 - x0, y0 - y1] + [x0, y1]
    assert (np.abs(back[:, None] - z).max(axis=2).min(axis=1) < 0.01).all()
    found = in_page(
        explorer, 'pointer("pointerdown", "mouse", 90, 50); return [shown(), active()];'
    )
    assert found[0]["text"].endswith("the nearest code is of class right")
    circles = [node for node in found[1]["children"][0]["children"] if node["tag"] == "circle"]
    assert len(circles) == len(points) + 2
    assert config(plots.explorer(decoder(), z))["classes"][0]["place"] is None


def test_codes_are_placed_along_the_directions_and_set_the_limits():
    directions, origin = np.array([[1.0, 1, 0], [0, 0, 2]]), np.array([5.0, 5, 5])
    values = np.random.default_rng(0).uniform([0, -1], [1, 4], (500, 2))
    model = decoder(code_dim=3)
    z = origin + values @ directions
    kept = config(plots.explorer(model, z, origin=origin, directions=directions))
    np.testing.assert_allclose(kept["limits"], [[-0.05, 1.05], [-1.25, 4.25]], atol=0.1)
    np.testing.assert_allclose(kept["start"], np.median(values, axis=0), atol=1e-6)
    constant = config(plots.explorer(decoder(), np.ones((5, 2))))
    assert constant["limits"] == [[0, 2], [0, 2]]


def test_the_plane_is_told_to_those_who_do_not_see_it():
    explorer = plots.explorer(decoder(), names=["slant", "width"], title="A title")
    area = in_page(explorer, "return active().attributes;")
    assert area["role"] == "application" and area["tabindex"] == "0"
    assert "slant" in area["aria-label"] and "arrow keys" in area["aria-label"]
    group = in_page(explorer, 'return find("div")[0].attributes;')
    assert group["role"] == "group" and group["aria-label"] == "A title"
    assert in_page(explorer, 'return find("output")[0].attributes["aria-live"];') == "polite"
    assert in_page(explorer, 'return find("canvas")[0].attributes.role;') == "img"
    many = plots.explorer(decoder(code_dim=3), names=["one", "two", "three"])
    labels = in_page(many, 'return find("label").map((node) => node.textContent);')
    assert labels == ["one", "two", "three"]


def test_where_no_script_runs_a_picture_shows_decoded_images():
    model = decoder(shape=(8, 6, 1))
    explorer = plots.explorer(model, limits=[[-2, 2], [-9, 5]], title='A <title> & "more"')
    picture = Image.open(BytesIO(explorer.png)).convert("L")
    assert picture.size == (600, 800), "enlarged to what the page shows"
    sheet = np.asarray(picture.reduce(10), float)
    for corner, tile in ([[-2, 5], sheet[:8, :6]], [[2, -9], sheet[-8:, -6:]]):
        expected = grey(model, corner).reshape(8, 6, 4)[..., 0]
        assert np.abs(tile - expected).mean() < 8, "in 16 greys"
    data, metadata = explorer._repr_mimebundle_()
    assert data["text/plain"] == explorer.alt == metadata["image/png"]["alt"]
    assert "10 x 10 images" in explorer.alt and "dimension 2 from -9 to 5" in explorer.alt
    assert base64.b64decode(data["image/png"]) == explorer.png
    before_script = data["text/html"].split("<script>")[0]
    assert 'alt="A &lt;title&gt; &amp; &quot;more&quot;. 10 x 10 images' in before_script
    assert f"base64,{data['image/png']}" in before_script
    rows = plots.explorer(decoder(code_dim=3, shape=(8, 6, 3)))
    assert Image.open(BytesIO(rows.png)).size == (19 * 5 * 6, 19 * 3 * 8) and "3 x 5" in rows.alt


def test_explorers_on_one_page_have_different_names_and_do_not_see_each_other():
    model = decoder()
    one, two = plots.explorer(model), plots.explorer(model)
    names = [re.findall(r'data-aelib-explorer="([\w-]+)"', str(page)) for page in (one, two)]
    assert [len(set(found)) for found in names] == [1, 1] and names[0] != names[1]
    assert "(() => {" in str(one), "nothing of the script is global"
    # Another notebook counts from 1 too.
    other = plots.explorer(model, title="other")
    assert names[0][0].split("-")[0] != re.findall(r'explorer="(\w+)-', str(other))[0]


def test_a_page_of_its_own_loads_nothing_and_names_cannot_end_its_script(tmp_path):
    hostile = "</script><script>alert(1)</script>{}"
    explorer = plots.explorer(
        decoder(), codes(), [hostile] * 50, title=hostile, names=[hostile, "b"]
    )
    explorer.save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!doctype html>") and str(explorer) in page
    assert page.count("<script") == page.count("</script>") == 1
    addresses = re.findall(r"https?://[^\s\"'`]+", page)
    assert set(addresses) == {"http://www.w3.org/${isSvg"}, "names of SVG and HTML, not addresses"
    assert not re.search(r"\b(import|fetch|src)\b(?!=\"data:)", page.split("<script>")[1])
    found = in_page(explorer, 'return find("div").map((node) => node.textContent);')
    assert hostile in found


def test_a_real_decoder_has_at_most_800_000_characters():
    _, model = recipes.dense((28, 28, 1), [256, 256], 2)
    page = plots.explorer(model, codes(10_000), np.arange(10_000) % 10)
    weights = model.count_params()
    assert weights > 260_000 and len(str(page)) < 800_000
    assert len(str(page)) < 2.67 * weights + 100_000
    assert len(page.png) < 200_000


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (layers.BatchNormalization(name="culprit"), "BatchNormalization"),
        (layers.ReLU(max_value=6, name="culprit"), "ReLU"),
        (layers.Dense(4, "elu", name="culprit"), "activation 'elu'"),
        (layers.Dense(4, lambda x: x, name="culprit"), "activation '<lambda>'"),
        (layers.Activation("softmax", name="culprit"), "activation 'softmax'"),
        (type("Dense", (layers.Dense,), {})(4, name="culprit"), "a Dense"),
    ],
)
def test_a_layer_that_the_page_cannot_run_is_named(layer, name):
    with pytest.raises(ValueError, match=f"Received: layer 'culprit'.*{name}"):
        plots.explorer(decoder(layer))


def test_weights_of_a_training_that_diverged_are_refused():
    model = decoder(layers.Dense(4, name="culprit"))
    model.layers[0].kernel.assign(np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match="`culprit.kernel` must be finite"):
        plots.explorer(model)


def test_maps_and_branches_are_refused():
    for options in ({"padding": "valid"}, {"padding": "same", "dilation_rate": 2}):
        maps = [layers.Dense(4), layers.Reshape((2, 2, 1)), layers.Conv2DTranspose(1, 3, **options)]
        with pytest.raises(ValueError, match="a Conv2DTranspose"):
            plots.explorer(keras.Sequential([keras.Input((2,)), *maps]))
    with pytest.raises(ValueError, match="layer 'on_maps', a Dense"):
        plots.explorer(
            decoder(
                layers.Dense(12),
                layers.Reshape((3, 4)),
                layers.Dense(4, name="on_maps"),
                layers.Flatten(),
            )
        )
    z = keras.Input((2,))
    shared = layers.Dense(2)
    twice = keras.Model(z, layers.Reshape((2, 1, 1))(shared(shared(z))))
    with pytest.raises(ValueError, match="a chain of layers.*Received: model"):
        plots.explorer(twice)


def gelu(x):
    return keras.activations.gelu(x, approximate=True)


def test_a_function_that_only_has_the_name_of_an_activation_is_refused():
    with pytest.raises(ValueError, match="with activation 'gelu'"):
        plots.explorer(decoder(layers.Dense(4, gelu)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"codes": np.zeros((3, 4))},
            r"`codes` must have 2 columns. Received: codes.shape=\(3, 4\)",
        ),
        ({"codes": np.full((3, 2), np.nan)}, "`codes` must be finite"),
        ({"codes": np.zeros((3, 2)), "labels": [1]}, "`codes` and `labels` must have the same"),
        ({"labels": [1]}, "`codes` and `labels` must have the same"),
        ({"origin": [1.0]}, "`origin` must have 2 columns"),
        ({"directions": [[1.0]]}, "`directions` must have 2 columns"),
        ({"names": ["one"]}, "`directions` and `names` must have the same"),
        ({"limits": [[0, 1]]}, "`limits` must hold a lower and a higher value"),
        ({"limits": [[0, 1], [2, 2]]}, r"Received: limits=\[\[0.0, 1.0\], \[2.0, 2.0\]\]"),
        ({"paper": 1}, "`paper` must be True or False. Received: paper=1"),
    ],
)
def test_arguments_are_checked(given, message):
    with pytest.raises(ValueError, match=message):
        plots.explorer(decoder(), **given)


def test_a_decoder_takes_codes_and_gives_images():
    with pytest.raises(ValueError, match="`decoder` must be a Keras layer or model.*Received"):
        plots.explorer("decoder")
    with pytest.raises(ValueError, match="must take codes.*Received: input_shape=None"):
        plots.explorer(keras.Sequential([layers.Dense(4)]))
    with pytest.raises(ValueError, match=r"must take codes.*input_shape=\(None, 4, 4, 1\)"):
        plots.explorer(keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten()]))
    table = keras.Sequential([keras.Input((2,)), layers.Dense(6)])
    with pytest.raises(ValueError, match=r"must give images.*Received: shape=\(None, 6\)"):
        plots.explorer(table)


def test_the_script_comes_with_the_package():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "*.js" in setup["package-data"]["aelib"]
