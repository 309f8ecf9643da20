"""The drawing's JavaScript against NumPy, Pillow and Keras; and the page around it."""

import base64
import json
from io import BytesIO

import keras
import numpy as np
import pytest
from keras import layers
from page import ROOT, SOURCES, config, in_page, run
from PIL import Image

from aelib import data, metrics, plots, recipes, weights
from aelib.autoencoder import Autoencoder

LAYERS = SOURCES["network"]
DRAWING = f"{LAYERS}\n{SOURCES['page']}\n{SOURCES['drawing']}"
# What a page shows: the drawing, what the network gets, what it makes of it.
SHOWN = """
const images = () => find("canvas").slice(0, 3).map((one) => one.pixels.filter((_, i) => !(i % 4)));
const text = () => find("output")[0].textContent;
const click = (name) => find("button").find((one) =>
  [one.textContent, one.attributes["aria-label"]].includes(name)).listeners.click();
"""


def dense(code_dim=2, **options):
    keras.utils.set_random_seed(0)
    return Autoencoder(*recipes.dense((28, 28, 1), [16], code_dim, **options))


def blob(height=20, width=11, seed=0):
    """An image that is prepared already, in whole 255ths."""
    ink = np.zeros((28, 28))
    ink[:height, :width] = np.random.default_rng(seed).integers(60, 256, (height, width))
    return reference(ink / 255).reshape(28, 28, 1)


def reference(ink):
    """The prepared drawing, by Pillow's own scaling."""
    rows, columns = (np.flatnonzero(ink.any(axis)) for axis in (1, 0))
    part = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    sides = [max(1, int(side * 20 / max(part.shape) + 0.5)) for side in part.shape]
    picture = Image.fromarray(part.astype("float32"))
    digit = np.asarray(picture.resize(sides[::-1], Image.Resampling.BILINEAR), float)
    image = np.zeros((28, 28))
    at = []
    for axis, side in enumerate(sides):
        centre = (digit.sum(1 - axis) * np.arange(side)).sum() / digit.sum()
        at.append(int(np.clip(np.floor(14 - centre + 0.5), 0, 28 - side)))
    image[at[0] : at[0] + sides[0], at[1] : at[1] + sides[1]] = digit
    return image


def prepared(*drawings):
    written = json.dumps([np.ravel(ink).tolist() for ink in drawings])
    found = run(f"{DRAWING} return {written}.map((ink) => Array.from(prepared(ink) ?? []));")
    return [np.array(image).reshape(-1, 28) for image in found]


def pixels(images):
    return 255 * (1 - np.clip(images, 0, 1)).reshape(len(images), -1)


BOXES = [
    (0, 0, 28, 28),
    (3, 5, 12, 7),
    (20, 1, 8, 27),
    (10, 10, 1, 1),
    (0, 27, 28, 1),
    (5, 4, 20, 9),
]


@pytest.mark.parametrize("box", BOXES)
def test_a_drawing_is_scaled_to_20_pixels_and_centred_by_its_mass(box):
    top, left, height, width = box
    ink = np.zeros((28, 28))
    part = np.random.default_rng(0).random((height, width)) + 0.01
    part[: height // 2] /= 8  # the mass is not in the middle of the box
    ink[top : top + height, left : left + width] = part
    (image,) = prepared(ink)
    np.testing.assert_allclose(image, reference(ink), atol=1e-6)
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    at = np.array([(image.sum(1 - axis) * np.arange(28)).sum() / image.sum() for axis in (0, 1)])
    assert (np.abs(at - 14) <= 0.5 + 1e-6).all()


def test_what_is_prepared_stays_and_an_empty_paper_is_none():
    first, last, empty = prepared(blob(), blob(9, 20), np.zeros(784))
    np.testing.assert_allclose(first, blob()[..., 0], atol=1e-12)
    np.testing.assert_allclose(last, blob(9, 20)[..., 0], atol=1e-12)
    assert empty.size == 0


def test_an_image_of_mnist_stays_what_it_is():
    (status,) = (status for status in data.status() if status.name == "mnist")
    if not status.path:
        pytest.skip("mnist is not on this machine: set AELIB_DATA_DIR")
    x = data.load("mnist").test.x[:100, ..., 0]
    np.testing.assert_allclose(prepared(*x), x, atol=1e-12)


def test_a_line_is_soft_and_as_wide_as_the_brush():
    program = "const ink = new Float64Array(784); brush(ink, [6.5, 9], [20.5, 9]);"
    ink = np.array(run(f"{DRAWING} {program} return Array.from(ink);")).reshape(28, 28)
    np.testing.assert_allclose(ink[6:12, 13], [0, 0.4, 1, 1, 0.4, 0])
    np.testing.assert_allclose(ink[8, [4, 5, 6]], [0, 1.9 - np.hypot(1, 0.5), 1])
    np.testing.assert_allclose(ink[:, :27], ink[:, 26::-1])
    dot = "const ink = new Float64Array(784); brush(ink, [14, 14], [14, 14]); return ink[14 * 29];"
    assert run(f"{DRAWING} {dot}") == 1


def answered(part, x):
    """What the page makes of inputs, and Keras."""
    from aelib._network import written

    program = f"const f = network({json.dumps(written(part, x))}); const x = "
    program += f"{json.dumps(x.reshape(len(x), -1).tolist())};"
    found = run(f"{LAYERS} {program} return x.map((one) => Array.from(f(one)));")
    return np.array(found), np.asarray(part(x)).reshape(len(x), -1)


def spread(model):
    rng = np.random.default_rng(1)
    model.set_weights([w * 1.5 + rng.normal(0, 0.05, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("size", [3, 4, (1, 2), (2, 5)])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
def test_convolutions_run_too(size, stride):
    keras.utils.set_random_seed(0)
    first = layers.Conv2D(4, size, stride, "same", activation="gelu")
    last = layers.Conv2D(3, 3, 2, "same", use_bias=False)
    model = spread(keras.Sequential([keras.Input((7, 10, 2)), first, last]))
    x = np.random.default_rng(0).normal(size=(9, 7, 10, 2)).astype("float32")
    found, expected = answered(model, x)
    assert np.ptp(expected) > 0.3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(28, 28, 1), (13, 10, 3)])
def test_an_encoder_of_the_recipe_runs_too(shape):
    keras.utils.set_random_seed(0)
    encoder, _ = recipes.convolutional(shape, [4, 8, 8], 5)
    x = np.random.default_rng(0).random((9, *shape), "float32")
    found, expected = answered(spread(encoder), x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_standardised_codes_and_kernels_of_8_bits_run_too():
    inner = [layers.LayerNormalization(center=False, scale=False), layers.Dense(3)]
    convolution = layers.Conv2D(4, 3, 1, "same")
    model = [keras.Input((5, 4, 2)), convolution, layers.Flatten(), *inner]
    model = spread(keras.Sequential(model))
    convolution.kernel.assign(np.rint(convolution.kernel * 64) / 64)
    x = np.random.default_rng(0).random((9, 5, 4, 2), "float32")
    found, expected = answered(model, x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_kernels_with_the_digits_of_float16_lose_nothing():
    keras.utils.set_random_seed(0)
    wide = keras.Sequential([keras.Input((50,)), layers.Dense(40, "relu"), layers.Dense(30)])
    for layer in wide.layers:
        kernel = np.asarray(layer.kernel) * 10.0 ** np.random.default_rng(0).uniform(-7, 1, 1)
        kernel[0, :4] = [6e-8, -6.1e-5, 0, -1000]  # the smallest, also below full precision
        layer.kernel.assign(kernel.astype("float16"))
    x = np.random.default_rng(0).random((9, 50), "float32")
    found, expected = answered(wide, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.ptp(expected))


@pytest.mark.parametrize(
    "culprit",
    [
        layers.Conv2D(2, 3, padding="valid"),
        layers.Conv2D(2, 3, padding="same", dilation_rate=2),
        layers.Conv2D(2, 3, padding="same", groups=2),
        layers.MaxPooling2D(),
        layers.LayerNormalization(center=False, scale=False),
    ],
)
def test_what_the_page_cannot_run_is_named(culprit):
    encoder = keras.Sequential([keras.Input((28, 28, 1)), layers.Conv2D(2, 3, 2, "same")])
    encoder.add(culprit)
    encoder.add(layers.Flatten())
    decoder = keras.Sequential([keras.Input(encoder.output_shape[1:]), layers.Dense(784)])
    decoder.add(layers.Reshape((28, 28, 1)))
    with pytest.raises(
        ValueError, match=f"Received: layer '{culprit.name}', a {type(culprit).__name__}"
    ):
        plots.drawing(Autoencoder(encoder, decoder), blob()[None])


def test_the_page_shows_what_keras_makes_of_an_example():
    examples = np.stack([blob(), blob(20, 16, 1)])
    model = dense(output_activation="sigmoid")
    codes = model.encode(np.random.default_rng(0).random((60, 28, 28, 1), "float32"))
    live = plots.drawing(model, examples, codes, np.repeat([4, 7], 30))
    actions = 'const first = images(); click("Example 2"); return [first, images(), text()];'
    *pages, words = in_page(live, SHOWN + actions)
    for example, shown in zip(examples[:, None], pages, strict=True):
        expected = pixels(np.concatenate([example, example, model.reconstruct(example)]))
        np.testing.assert_allclose(shown, expected, atol=0.51)
    (code,) = model.encode(examples[1:])
    near = "47"[int(np.square((codes - code) / np.ptp(codes, 0)).sum(1).argmin() >= 30)]
    psnr = metrics.psnr(examples[1:], model.reconstruct(examples[1:])).item()
    start = f"Code: {code[0]:.1f}, {code[1]:.1f}; the nearest code is of class {near}. "
    assert words == f"{start}Peak signal-to-noise ratio: {psnr:.1f} dB after the network."
    where = 'return find("div").find((one) => one.attributes.class === "point").style;'
    (left, right), (top, bottom) = config(live)["limits"][0], config(live)["limits"][1]
    (code,) = model.encode(examples[:1])
    share = np.clip([(code[0] - left) / (right - left), (bottom - code[1]) / (bottom - top)], 0, 1)
    style = in_page(live, where)
    found = [float(style[side].removesuffix("%")) for side in ("left", "top")]
    np.testing.assert_allclose(found, 100 * share, atol=0.01)


def test_noise_is_gaussian_fresh_and_goes_through_the_network():
    model = dense(8, output_activation="sigmoid")
    live = plots.drawing(model, blob()[None], noise=0.5)
    chance = (
        "let state = 1; Math.random = () => (state = (state * 16807) % 2147483647) / 2147483647;"
    )
    slide = 'const range = find("input")[0]; range.value = "0.25"; range.listeners.input();'
    actions = f'{chance} click("New noise"); const old = [images(), text()]; {slide}'
    found = in_page(live, f"{SHOWN} {actions} return [old, [images(), text()]];")
    state, drawn = 1, []
    for _ in range(4 * 784):
        state = state * 16807 % 2147483647
        drawn.append(state / 2147483647)
    u, v = np.array(drawn).reshape(-1, 2).T
    gauss = np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * np.pi * v)
    assert abs(gauss.mean()) < 0.1 and abs(gauss.std() - 1) < 0.05
    for (shown, words), stddev, noise in zip(
        found, (0.5, 0.25), gauss.reshape(2, 28, 28, 1), strict=True
    ):
        noisy = blob()[None] + stddev * noise
        answer = model.reconstruct(noisy.astype("float32"))
        expected = pixels(np.concatenate([blob()[None], noisy, answer]))
        np.testing.assert_allclose(shown, expected, atol=0.51)
        before, after = (metrics.psnr(blob()[None], image).item() for image in (noisy, answer))
        told = f"{before:.1f} dB with noise of standard deviation {stddev}, {after:.1f} dB after"
        assert words == f"Peak signal-to-noise ratio: {told} the network."


def test_a_logit_becomes_a_pixel():
    model = dense()
    model.compile("adam", "mse")
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    assert model.reconstruct(blob()[None]).min() >= 0
    shown = in_page(plots.drawing(model, blob()[None]), f"{SHOWN} return images();")
    np.testing.assert_allclose(shown[2], pixels(model.reconstruct(blob()[None]))[0], atol=0.51)


def test_pointer_and_keys_draw_and_the_first_line_clears_the_example():
    live = plots.drawing(dense(), blob()[None])
    actions = """
      const all = [];
      pointer("pointermove", "mouse", 50, 20); all.push(images());
      pointer("pointerdown", "mouse", 25, 75, 1);
      pointer("pointermove", "mouse", 75, 75, 1); all.push(images());
      pointer("pointermove", "mouse", 50, 0); all.push(images());
      click("Clear"); all.push(images(), text());
      press("ArrowUp"); all.push(images());
      press(" "); press("ArrowDown", true); all.push(images());
      press(" "); press("ArrowUp"); all.push(images());
      all.push([" ", "ArrowLeft", "Tab", "Enter"].map((key) => press(key)));
      click("Example 1"); press("ArrowRight", true); all.push(images());
      return all;"""
    found = in_page(live, SHOWN + actions)
    example, line, after, cleared, words, still, keys, lifted, kept, over = found
    white, black = np.full((28, 28), 255.0), 255 * (1 - blob()[..., 0])
    np.testing.assert_allclose(np.reshape(example[0], (28, 28)), black, atol=0.51)
    drawn = 1 - np.reshape(line[0], (28, 28)) / 255
    assert drawn[20:22, 7:21].min() == 1 and drawn[:19].max() == drawn[24:].max() == 0
    np.testing.assert_allclose(line[1], pixels(reference(drawn)[None])[0], atol=1.5)
    assert after == line, "a mouse without a button does not draw"
    assert words == "Nothing is drawn."
    for image in (*cleared, *still):
        np.testing.assert_array_equal(np.reshape(image, (28, 28)), white)
    drawn = 1 - np.reshape(keys[0], (28, 28)) / 255
    assert drawn[20:24, 20:22].min() == 1 and drawn[:18].max() == drawn[26:].max() == 0
    assert lifted == keys and kept == [True, True, False, False]
    assert np.array_equal(np.less(over[0], 255), np.less(over[0], 255) | np.less(example[0], 255))


def test_the_page_is_told_to_those_who_do_not_see_it():
    model = dense()
    codes = np.random.default_rng(0).normal(size=(9, 2))
    live = plots.drawing(model, blob()[None], codes, title="A title", noise=0.3)
    found = in_page(live, "return ['canvas', 'div', 'input', 'label', 'output'].map(find);")
    images, boxes, inputs, labels, outputs = ([one["attributes"] for one in all] for all in found)
    assert boxes[0]["aria-label"] == "A title"
    assert [one.get("aria-label") or one.get("aria-hidden") for one in images] == [
        *("true", "With noise", "What the network makes of it", "true")
    ]
    (paper,) = (one for one in boxes if one.get("role") == "application")
    assert "arrow keys" in paper["aria-label"] and paper["tabindex"] == "0"
    (area,) = (one for one in boxes if one.get("class") == "plane")
    assert area["role"] == "img" and area["aria-label"].startswith("The plane of codes. Code: ")
    assert inputs == [{"type": "range", "min": "0", "max": "1", "step": "0.05"}]
    assert found[3][0]["textContent"] == "Standard deviation of the noise" and len(labels) == 1
    assert outputs[0]["aria-live"] == "polite"


@pytest.mark.parametrize("noise", [None, 0.5])
def test_where_no_script_runs_a_picture_shows_digits_and_answers(noise):
    model, examples = dense(output_activation="sigmoid"), np.stack([blob(), blob(9, 20)])
    live = plots.drawing(model, examples, noise=noise, title="A <title>")
    picture = Image.open(BytesIO(live.png)).convert("L")
    rows = 2 if noise is None else 3
    assert picture.size == (560, 280 * rows)
    sheet = np.asarray(picture.reduce(10), float)
    answer = sheet[-28:, :28], sheet[:28, :28]
    np.testing.assert_allclose(answer[1], 255 * (1 - blob()[..., 0]), atol=30)
    if noise is None:
        expected = 255 * (1 - model.reconstruct(examples)[0, ..., 0])
        np.testing.assert_allclose(answer[0], expected, atol=20)
    assert "2 digits" in live.alt and ("deviation 0.5" in live.alt) == (noise is not None)
    assert 'alt="A &lt;title&gt;. In row after row' in str(live).split("<script>")[0]
    kept = base64.b64decode(config(live)["examples"][0])
    assert list(kept) == np.rint(255 * blob()).ravel().astype(int).tolist()


def test_a_map_of_digits_has_at_most_1_400_000_characters():
    live = plots.drawing(weights.load("mnist_2d"), blob()[None])
    assert len(str(live)) < 1_400_000
    shown = in_page(live, f"{SHOWN} return images();")
    answer = weights.load("mnist_2d").reconstruct(blob()[None])
    np.testing.assert_allclose(shown[2], pixels(answer)[0], atol=0.51)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"examples": np.zeros((2, 28, 28))}, "`examples` must have rank 4"),
        ({"examples": np.zeros((2, 32, 32, 3))}, r"must be images \(28, 28, 1\).*\(2, 32, 32, 3\)"),
        ({"examples": np.full((2, 28, 28, 1), 255)}, "from 255 to 255"),
        ({"codes": np.zeros((3, 4))}, "`codes` must have 2 columns"),
        ({"codes": np.zeros((3, 2)), "labels": [1]}, "`codes` and `labels` must have the same"),
        ({"labels": [1]}, "`codes` must hold numbers"),
        ({"noise": 1.5}, r"`noise` must be .*\[0, 1\]. Received: noise=1.5"),
    ],
)
def test_arguments_are_checked(given, message):
    with pytest.raises(ValueError, match=message):
        plots.drawing(dense(), **{"examples": blob()[None]} | given)


def test_a_model_goes_from_images_to_images():
    with pytest.raises(ValueError, match="`encoder` must be a Keras layer or model.*Received"):
        plots.drawing(keras.Sequential([layers.Dense(2)]), blob()[None])
    with pytest.raises(ValueError, match=r"two numbers. Received: codes of shape \(1, 8\)"):
        plots.drawing(dense(8), blob()[None], np.zeros((3, 2)))
    encoder, _ = recipes.dense((28, 28, 1), [4], 2, variational=True)
    _, decoder = recipes.dense((28, 28, 1), [4], 2)
    with pytest.raises(ValueError, match=r"takes what.*Received: \(None, 2\) and \(None, 4\)"):
        plots.drawing(Autoencoder(encoder, decoder), blob()[None])
    _, small = recipes.dense((8, 8, 1), [4], 2)
    encoder, _ = recipes.dense((28, 28, 1), [4], 2)
    with pytest.raises(ValueError, match=r"and give images \(28, 28, 1\).*\(None, 8, 8, 1\)"):
        plots.drawing(Autoencoder(encoder, small), blob()[None])


@pytest.mark.parametrize("name", ["draw", "denoise"])
def test_the_pictures_of_the_site_have_todays_script(name):
    """If not: `python tools/live.py`."""
    stored = (ROOT / "docs/live" / f"{name}.html").read_text(encoding="utf-8")
    examples = np.stack([blob()])
    ours, theirs = (
        text[text.index("const bytes") : text.index("start(host, {")]
        for text in (str(plots.drawing(dense(), examples)), stored)
    )
    assert [line for line in ours.splitlines() if "data-aelib" not in line] == [
        line for line in theirs.splitlines() if "data-aelib" not in line
    ]
