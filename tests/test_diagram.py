"""The diagram of an autoencoder shows its real sizes, in any light."""

import base64
import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
from keras import layers

from aelib import plots, recipes
from aelib.autoencoder import Autoencoder

SVG = "{http://www.w3.org/2000/svg}"
FACES = recipes.convolutional((64, 64, 3), [16, 32], 12)


def elements(diagram, tag, look=""):
    found = ElementTree.fromstring(str(diagram)).iter(SVG + tag)
    return [one for one in found if look in one.get("class", "")]


def texts(diagram, look):
    return [one.text or "" for one in elements(diagram, "text", look)]


def test_every_layer_is_a_block_with_its_size_and_activation():
    diagram = plots.diagram(*recipes.dense((28, 28, 1), [256, 64], 2))
    sizes = ["28 × 28", "256", "64", "2", "64", "256", "28 × 28"]
    assert texts(diagram, "ae-ink") == sizes
    about = ["input", "gelu", "gelu", "code", "gelu", "gelu", "output", "encoder", "decoder"]
    assert texts(diagram, "ae-faint") == about
    assert diagram.alt == (
        "Diagram of an autoencoder. Input: 28 × 28. Layers of the encoder: 256, 64. "
        "Code: 2. Layers of the decoder: 64, 256. Output: 28 × 28."
    )


def test_blocks_are_as_tall_as_the_logarithm_of_their_units():
    diagram = plots.diagram(*recipes.dense((16, 16, 1), [64, 16, 4], 1))
    heights = [float(one.get("height")) for one in elements(diagram, "rect")[1:]]
    assert heights == sorted(heights[:5], reverse=True) + sorted(heights[5:])
    np.testing.assert_allclose(np.diff(heights[:5]), heights[1] - heights[0], atol=0.11)
    tops = [
        float(one.get("y")) + float(one.get("height")) / 2 for one in elements(diagram, "rect")[1:]
    ]
    np.testing.assert_allclose(tops, tops[0], atol=0.11)


def test_blocks_and_their_labels_do_not_overlap():
    for halves in (
        FACES,
        recipes.dense((28, 28, 1), [1024] * 6, 2),
        recipes.dense((9, 5, 1), [], 3),
    ):
        diagram = plots.diagram(*halves)
        boxes = elements(diagram, "rect")[1:]
        ends = [(float(b.get("x")), float(b.get("x")) + float(b.get("width"))) for b in boxes]
        assert all(a[1] < b[0] for a, b in pairwise(ends))
        sizes, about = elements(diagram, "text", "ae-ink"), elements(diagram, "text", "ae-faint")
        for row in (sizes, about[: len(sizes)], about[len(sizes) :]):
            half = [3.6 * len(one.text or "") for one in row]
            place = [float(one.get("x")) for one in row]
            for i in range(len(row) - 1):
                assert place[i] + half[i] < place[i + 1] - half[i + 1]
        width = float(ElementTree.fromstring(str(diagram)).get("width"))
        assert 0 < ends[0][0] and ends[-1][1] < width


def test_the_code_alone_is_highlighted():
    for halves in (FACES, recipes.dense((28, 28, 1), [8], 2)):
        diagram = plots.diagram(*halves)
        looks = [one.get("class") for one in elements(diagram, "rect")[1:]]
        assert looks.count("ae-code") == 1
        assert texts(diagram, "ae-faint")[looks.index("ae-code")] == "code"


def test_convolutions_show_height_width_and_channels():
    diagram = plots.diagram(*FACES)
    sizes = ["64 × 64 × 3", "32 × 32 × 16", "16 × 16 × 32", "12"]
    assert texts(diagram, "ae-ink") == [*sizes, "8192", "32 × 32 × 16", sizes[0]]
    assert texts(diagram, "ae-faint")[1] == "conv gelu"
    odd = plots.diagram(*recipes.convolutional((7, 10, 1), [4], 3))
    assert texts(odd, "ae-ink")[-2:] == ["8 × 10", "7 × 10"], "cropping changes the size"
    left, _ = elements(odd, "rect", "ae-line")
    assert float(left.get("width")) / float(left.get("height")) == pytest.approx(10 / 7, rel=0.01)


def test_a_variational_encoder_ends_in_means_and_log_variances():
    diagram = plots.diagram(*recipes.dense((8, 8, 1), [16], 2, variational=True))
    assert texts(diagram, "ae-ink") == ["8 × 8", "16", "4", "2", "16", "8 × 8"]


def test_tables_and_models_in_models_are_drawn():
    inner = keras.Sequential([layers.Dense(6, "relu"), layers.Dropout(0.1), layers.Dense(2)])
    encoder = keras.Sequential([keras.Input((9,)), layers.GaussianNoise(0.1), inner])
    diagram = plots.diagram(
        encoder, keras.Sequential([keras.Input((2,)), layers.Dense(9, "sigmoid")])
    )
    assert texts(diagram, "ae-ink") == ["9", "6", "2", "9"]
    assert texts(diagram, "ae-faint")[3] == "output, sigmoid"
    assert not elements(diagram, "rect", "ae-line"), "no image"


def test_an_autoencoder_is_drawn_as_its_halves_are(make_parts):
    encoder, decoder = make_parts()
    assert str(plots.diagram(Autoencoder(encoder, decoder))) == str(plots.diagram(encoder, decoder))


def test_a_notebook_shows_a_small_image_with_an_alternative_text(tmp_path):
    diagram = plots.diagram(*recipes.dense((28, 28, 1), [512] * 8, 2))
    data = diagram._repr_mimebundle_()
    assert data["text/plain"] == diagram.alt and f'alt="{diagram.alt}"' in data["text/html"]
    assert sum(map(len, data.values())) < 20_000
    (encoded,) = re.findall(r"base64,([\w+/=]+)", data["text/html"])
    diagram.save(tmp_path / "diagram.svg")
    assert base64.b64decode(encoded).decode() == str(diagram)
    assert (tmp_path / "diagram.svg").read_text("utf-8") == str(diagram)
    root = ElementTree.fromstring(str(diagram))
    assert root.get("role") == "img" and root.get("aria-label") == diagram.alt


def luminance(colour):
    colour = colour if len(colour) == 7 else "#" + "".join(2 * c for c in colour[1:])
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(one, two):
    high, low = sorted([luminance(one), luminance(two)], reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_it_can_be_read_by_day_and_by_night():
    text = str(plots.diagram(*recipes.dense((28, 28, 1), [8], 2)))
    (dark,) = re.findall(r"(?s)prefers-color-scheme: dark\) \{(.*)\}</style>", text)
    night = dict(re.findall(r"\.ae-(\w+) \{ (?:fill|stroke): (#\w+)", dark))
    day = dict(re.findall(r'class="ae-(\w+)"[^>]*?(?:fill|stroke)="(#\w+)"', text))
    assert day.keys() == night.keys() == {"paper", "ink", "faint", "line", "layer", "code"}
    for colours in (day, night):
        for name, least in {"ink": 7, "faint": 4.5, "line": 3, "layer": 3, "code": 3}.items():
            assert contrast(colours[name], colours["paper"]) >= least, name


def test_the_name_of_an_activation_is_text():
    encoder = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2, lambda x: x)]
    )
    hidden = keras.Sequential([keras.Input((2,)), layers.Dense(5, lambda x: x), layers.Dense(9)])
    assert "<lambda>" in texts(plots.diagram(encoder, hidden), "ae-faint")


def test_what_cannot_be_drawn_is_refused():
    encoder, decoder = recipes.dense((4, 4, 1), [], 2)
    with pytest.raises(ValueError, match="`decoder` must be a Keras layer or model.*decoder=None"):
        plots.diagram(encoder)
    with pytest.raises(ValueError, match="`encoder` must be built and.*input_shape=None of 'new'"):
        plots.diagram(keras.Sequential([layers.Dense(2)], name="new"), decoder)
    z = keras.Input((2,))
    two = keras.Model(z, [layers.Dense(3)(z), layers.Dense(4)(z)], name="two")
    with pytest.raises(ValueError, match="`decoder` must be built and have one.*of 'two'"):
        plots.diagram(encoder, two)
    free = keras.Sequential([keras.Input((None, None, 1)), layers.Conv2D(2, 3)], name="free")
    with pytest.raises(ValueError, match="of known sizes.*of 'free'"):
        plots.diagram(free, decoder)


def test_units_of_one_are_drawn():
    one = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    diagram = plots.diagram(one, one)
    assert all(math.isfinite(float(box.get("height"))) for box in elements(diagram, "rect")[1:])
