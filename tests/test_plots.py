"""Pictures: the right images in the right place, labels where dots are, a text with each."""

import base64
from io import BytesIO

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from aelib import plots


@pytest.fixture(autouse=True)
def close():
    with mpl.rc_context():
        yield
    plt.close("all")


def drawn(figure):
    return [image.get_array() for image in figure.axes[0].images]


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_show_their_first_images_in_order(channels):
    x = np.random.default_rng(0).random((7, 6, 5, channels))
    figure = plots.image_rows({"whole": x, "short": x[:2]}, title="title", columns=5)
    shown = drawn(figure)
    assert len(shown) == 5 + 2
    for image, expected in zip(shown, [*x[:5], *x[:2]], strict=True):
        np.testing.assert_allclose(np.squeeze(image), np.squeeze(expected))
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["whole", "short"] and figure.get_suptitle() == "title"


def test_rows_stand_beside_their_names_and_images_do_not_overlap():
    x = np.random.default_rng(0).random((3, 6, 4, 1))
    (axes,) = plots.image_rows({"upper": x, "lower": x}, title="").axes
    boxes = np.array([image.get_extent() for image in axes.images])  # left, right, bottom, top
    for row, middle in zip((boxes[:3], boxes[3:]), axes.get_yticks(), strict=True):
        assert (row[1:, 0] > row[:-1, 1]).all(), "left to right"
        np.testing.assert_allclose(row[:, 2:].mean(axis=1), middle)
        np.testing.assert_allclose((row[:, 2] - row[:, 3]) / (row[:, 1] - row[:, 0]), 6 / 4)
    assert boxes[3, 3] > boxes[0, 2], "the first row is the upper one: y grows downwards"
    assert axes.yaxis_inverted() and axes.get_aspect() == 1


@pytest.mark.parametrize("columns", [1, 6, 9])
def test_images_are_at_least_96_pixels_wide(columns):
    plots.use_style()
    figure = plots.image_rows({"row": np.zeros((columns, 8, 8, 1))}, title="t", columns=columns)
    figure.canvas.draw()
    for image in figure.axes[0].images:
        assert image.get_window_extent().width >= 96


def test_a_sheet_places_images_row_by_row():
    x = np.random.default_rng(0).random((5, 4, 3, 1))
    (sheet,) = drawn(plots.image_sheet(x, title="title", columns=3))
    assert sheet.shape == (2 * 5 - 1, 3 * 4 - 1)
    np.testing.assert_allclose(sheet[:4, 4:7], x[1, ..., 0])
    np.testing.assert_allclose(sheet[5:9, 4:7], x[4, ..., 0])


def test_signed_images_have_a_white_zero_and_their_own_scale():
    x = np.array([[-2.0, 1.0], [0.0, -0.1]]).reshape(2, 1, 2, 1)
    figure = plots.image_sheet(x, title="title", columns=1, signed=True)
    (sheet,) = drawn(figure)
    np.testing.assert_allclose(sheet[[0, 2]], [[-1.0, 0.5], [0.0, -1.0]])
    (image,) = figure.axes[0].images
    red, white, blue = (np.array(image.cmap(image.norm(v))[:3]) for v in (1.0, 0.0, -1.0))
    assert (white > 0.98).all() and red[0] > 2 * red[2] and blue[2] > 2 * blue[0]
    bar = figure.axes[1]
    assert [text.get_text() for text in bar.get_yticklabels()] == ["-max", "0", "max"]
    rows = plots.image_rows({"two": x}, title="title", signed=True)
    np.testing.assert_allclose(np.stack(drawn(rows)), [[[-1.0, 0.5]], [[0.0, -1.0]]])


def test_signed_colours_have_zero_in_the_middle():
    x = np.array([4.0, 0.0, -2.0]).reshape(1, 1, 1, 3)
    figure = plots.image_sheet(x, title="title", signed=True)
    np.testing.assert_allclose(drawn(figure)[0], [[[1, 0.5, 0.25]]])
    assert len(figure.axes) == 1, "no colour bar"


@pytest.mark.parametrize("draw", [lambda x, **k: plots.image_rows({"r": x}, title="", **k),
                                  lambda x, **k: plots.image_sheet(x, title="", **k)])  # fmt: skip
def test_ink_is_dark_on_paper_and_photographs_are_light_on_dark(draw):
    x = np.ones((1, 2, 2, 1))
    for paper, shade in ((True, 0), (False, 1)):
        (image,) = draw(x, paper=paper).axes[0].images
        assert image.cmap(image.norm(1.0))[0] == shade


@pytest.mark.parametrize("scale", [(1, 1), (1e-4, 1e-4), (1e-3, 1e3)])
def test_a_map_names_every_class_where_it_is_densest(scale):
    rng = np.random.default_rng(0)
    # Two islands of a class, the second one denser: its median is in the gap between them.
    islands = np.concatenate([rng.normal(0, 4, (50, 2)), rng.normal(20, 0.05, (50, 2))])
    codes = np.concatenate([islands, rng.normal((0, 20), 0.1, (30, 2))])
    labels = np.repeat([3, 7], [100, 30])
    _, axes = plt.subplots()
    plots.code_map(axes, codes * scale, labels, title="title")
    places = {text.get_text(): np.divide(text.get_position(), scale) for text in axes.texts}
    assert sorted(places) == ["3", "7"]
    np.testing.assert_allclose(places["3"], (20, 20), atol=0.2)
    np.testing.assert_allclose(places["7"], (0, 20), atol=0.2)
    for name, place in places.items():
        assert np.isclose(codes[labels == int(name)], place).all(axis=1).any(), (
            "on a dot of its class"
        )


def test_a_map_gives_every_class_a_colour_of_its_own_and_takes_any_scale():
    codes = np.random.default_rng(0).normal(size=(5000, 2)) * [1e-6, 1e6]
    labels = np.arange(5000) % 10
    _, axes = plt.subplots()
    plots.code_map(axes, codes, labels, title="title")
    colours = axes.collections[0].get_facecolors()[:, :3]
    np.testing.assert_allclose(colours[:10], colours[10:20])
    assert len(np.unique(colours, axis=0)) == len(axes.texts) == len(set(plots.CLASSES)) == 10
    plots.code_map(axes, np.zeros((30, 2)), np.arange(30), title="30 classes are not named")
    assert len(axes.texts) == 10


def test_lines_stand_out_from_paper():
    def luminance(colour):
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
        ]
        return np.dot([0.2126, 0.7152, 0.0722], linear)

    for colour in (plots.GREY, plots.BLUE, plots.ORANGE, plots.GREEN):
        assert 1.05 / (luminance(colour) + 0.05) >= 3


def test_the_style_tells_lines_apart_by_colour_and_dash():
    plots.use_style()
    _, axes = plt.subplots()
    lines = axes.plot(np.random.default_rng(0).random((4, 6)))
    assert lines[0].get_color() == plots.BLUE and lines[1].get_color() == plots.ORANGE
    assert len({line.get_color() for line in lines}) == 6
    assert len({str((line.get_linestyle(), line._dash_pattern)) for line in lines}) == 6
    assert not axes.spines["top"].get_visible() and axes.figure.get_layout_engine() is not None


def alt(figure):
    return plots._png(figure)[1]["alt"]


def test_the_alternative_text_is_made_of_titles_and_labels_without_tex():
    figure, (left, right) = plt.subplots(1, 2)
    left.plot([1, 2], label=r"$\mathrm{KL}$")
    left.set(title=r"Loss at $\beta = 10^{-3}$", xlabel="epoch", ylabel="nats\nper image")
    assert alt(figure) == "Loss at beta = 10^-3: nats per image against epoch: KL"
    right.set_title("right", loc="left")
    figure.suptitle("Both")
    assert alt(figure).startswith("Both. Loss") and alt(figure).endswith(". right")
    plots.describe(figure, "By hand, with a number: 3.")
    assert alt(figure) == "By hand, with a number: 3."


def test_pictures_of_images_tell_their_title_and_rows():
    x = np.zeros((3, 4, 4, 1))
    figure = plots.image_rows({"test image": x, "$k$ = 2,\nPCA": x}, title="A title")
    assert alt(figure) == "A title. Rows of images: test image, k = 2, PCA."
    assert alt(plots.image_sheet(x, title="A title")) == "A title. A sheet of 3 images."


@pytest.mark.parametrize("colour, mode", [("black", "L"), (plots.BLUE, "P")])
def test_pictures_are_stored_with_8_bits_a_pixel(colour, mode):
    figure, axes = plt.subplots()
    axes.scatter(*np.random.default_rng(0).random((2, 500)), c=colour, alpha=0.5)
    whole = BytesIO()
    figure.savefig(whole, format="png", bbox_inches="tight")
    png, _ = plots._png(figure)
    small, large = Image.open(BytesIO(png)), Image.open(whole).convert("RGB")
    assert small.mode == mode and len(png) < 0.7 * len(whole.getvalue())
    if small.size == large.size:
        difference = np.asarray(small.convert("RGB"), float) - np.asarray(large, float)
        assert np.sqrt(np.mean(difference**2)) < 2  # of 255


def test_a_notebook_stores_the_alternative_text_where_jupyter_looks_for_it(monkeypatch):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    from nbconvert import HTMLExporter

    monkeypatch.delenv("MPLBACKEND", raising=False)
    sources = [
        "import numpy as np, matplotlib.pyplot as plt\nfrom aelib import plots\nplots.use_style()",
        "plots.image_rows({'row': np.ones((2, 4, 4, 1))}, title='Implicit');",
        "figure, axes = plt.subplots()\naxes.plot([1])\n"
        "plots.describe(figure, 'Described')\nplt.show()",
        "%matplotlib inline\nfigure, axes = plt.subplots()\naxes.set_title('Titled');",
    ]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbclient.NotebookClient(notebook, timeout=120).execute()
    texts = []
    for cell in notebook.cells[1:]:
        output = cell.outputs[-1]
        assert Image.open(BytesIO(base64.b64decode(output.data["image/png"]))).mode in "LP"
        texts.append(output.metadata["image/png"]["alt"])
    assert texts == ["Implicit. Rows of images: row.", "Described", "Titled"]
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(notebook)
    assert all(f'alt="{text}"' in page for text in texts)


@pytest.mark.parametrize("shape", [(4, 6, 5), (0, 6, 5, 1), (4, 6, 5, 2)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match="Received: a row.shape="):
        plots.image_rows({"a row": np.zeros(shape)}, title="")
    with pytest.raises(ValueError, match="Received: images.shape="):
        plots.image_sheet(np.zeros(shape), title="")


def test_rows_and_maps_need_something_to_show():
    with pytest.raises(ValueError, match="Received: rows="):
        plots.image_rows({}, title="")
    with pytest.raises(ValueError, match="`columns` must be an integer >= 1"):
        plots.image_rows({"row": np.zeros((1, 2, 2, 1))}, title="", columns=0)
    _, axes = plt.subplots()
    with pytest.raises(ValueError, match=r"Received: codes.shape=\(3, 3\)"):
        plots.code_map(axes, np.zeros((3, 3)), np.zeros(3), title="")
    with pytest.raises(ValueError, match="must have the same length"):
        plots.code_map(axes, np.zeros((3, 2)), np.zeros(4), title="")


def test_ink_on_paper_is_stored_in_sixteen_greys_and_photographs_in_all():
    x = np.linspace(0, 1, 4 * 256).reshape(4, 16, 16, 1)
    for paper in (True, False):
        png, _ = plots._png(plots.image_sheet(x, title="A title", paper=paper))
        greys = len(Image.open(BytesIO(png)).convert("L").getcolors())
        assert greys <= 16 if paper else greys > 200
