"""Pictures: the right number of images in the right place, and clear words for what is no image."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from aelib import plots


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def drawn(figure):
    return [image.get_array() for axes in figure.axes for image in axes.images]


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_show_their_first_images_in_order(channels):
    x = np.random.default_rng(0).random((7, 6, 5, channels))
    figure = plots.image_rows({"whole": x, "short": x[:2]}, title="title", columns=5)
    shown = drawn(figure)
    assert len(shown) == 5 + 2
    for image, expected in zip(shown, [*x[:5], *x[:2]], strict=True):
        np.testing.assert_allclose(np.squeeze(image), np.squeeze(expected))
    names = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert names == ["whole", "short"] and figure.get_suptitle() == "title"


def test_a_sheet_places_images_row_by_row():
    x = np.random.default_rng(0).random((5, 4, 3, 1))
    (sheet,) = drawn(plots.image_sheet(x, title="title", columns=3))
    assert sheet.shape == (2 * 5 - 1, 3 * 4 - 1)
    np.testing.assert_allclose(sheet[:4, 4:7], x[1, ..., 0])
    np.testing.assert_allclose(sheet[5:9, 4:7], x[4, ..., 0])


def test_signed_images_have_zero_in_the_middle_and_their_own_scale():
    x = np.array([[-2.0, 1.0], [0.0, -0.1]]).reshape(2, 1, 2, 1)
    (sheet,) = drawn(plots.image_sheet(x, title="title", columns=1, signed=True))
    np.testing.assert_allclose(sheet[[0, 2]], [[0.0, 0.75], [0.5, 0.0]])


def test_a_map_names_every_class_at_its_median():
    codes = np.array([[0.0, 0.0], [2.0, 4.0], [10.0, 10.0]])
    _, axes = plt.subplots()
    plots.code_map(axes, codes, np.array([3, 3, 7]), title="title")
    assert {t.get_text(): t.get_position() for t in axes.texts} == {
        "3": (1.0, 2.0),
        "7": (10.0, 10.0),
    }


@pytest.mark.parametrize("shape", [(4, 6, 5), (0, 6, 5, 1), (4, 6, 5, 2)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match="Received: a row.shape="):
        plots.image_rows({"a row": np.zeros(shape)}, title="")
    with pytest.raises(ValueError, match="Received: images.shape="):
        plots.image_sheet(np.zeros(shape), title="")


def test_rows_and_maps_need_something_to_show():
    with pytest.raises(ValueError, match="Received: rows="):
        plots.image_rows({}, title="")
    _, axes = plt.subplots()
    with pytest.raises(ValueError, match=r"Received: codes.shape=\(3, 3\)"):
        plots.code_map(axes, np.zeros((3, 3)), np.zeros(3), title="")
