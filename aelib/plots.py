"""Figures in one style: rows and sheets of images, maps of codes, diagrams, live pictures.

In a notebook, call `use_style` once and end a cell that draws with a semicolon.
"""

import re
import sys
from io import BytesIO
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike
from PIL import Image

from aelib._checks import array, same_length, whole
from aelib._page import CLASSES, densest
from aelib.diagram import diagram as diagram  # public names here too, as those below
from aelib.drawing import drawing as drawing
from aelib.explorer import explorer as explorer

# Okabe and Ito's colours, with a contrast of 3 or more on white.
GREY = "#767676"  # the plain method
BLUE = "#0072b2"  # the method of the lesson
ORANGE = "#d55e00"  # PCA or another baseline
GREEN = "#009e73"  # a third method
COLOUR_MAP = "viridis"  # for quantities: dark to light in equal steps
SIGNED = LinearSegmentedColormap.from_list("blue to red", ["#053e7f", "white", "#9e0d14"])


def use_style() -> None:
    """Sets the house style for all later figures.

    IPython then stores them with 8 bits per pixel where that is smaller, and with an alternative
    text (see `describe`) in the metadata of the output, at `["image/png"]["alt"]`.
    """
    colours = [BLUE, ORANGE, GREEN, GREY, "#cc79a7", "black"]
    dashes = ["-", "--", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2))]
    mpl.rc("figure", dpi=110, figsize=(7.5, 3.6), titlesize=12, titleweight="bold")
    mpl.rc("figure.constrained_layout", use=True)
    mpl.rc("axes", titlesize=11.5, titleweight="bold", titlelocation="left", edgecolor="0.4")
    mpl.rc("axes", prop_cycle=cycler(color=colours, linestyle=dashes))
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rcParams.update({"font.size": 10.5, "grid.color": "0.9", "legend.frameon": False})
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):
        plt.switch_backend(mpl.get_backend())  # sets a formatter of its own when it is loaded
        shell.display_formatter.formatters["image/png"].for_type(Figure, _png)


def describe(figure: Figure, text: str) -> Figure:
    """Sets the alternative text of a figure, which is made of its titles and labels otherwise."""
    figure.alternative_text = text  # type: ignore[attr-defined]
    return figure


def image_rows(
    rows: dict[str, Any], *, title: str, columns: int = 10, signed: bool = False, paper: bool = True
) -> Figure:
    """One named row of images for each entry.

    Args:
        rows: name of the row to images, `(n, height, width, channels)` with 1 or 3 channels.
        columns: how many images a row shows, the first; a shorter row leaves its end empty.
        signed: whether images are weights or the like: each is scaled by its own largest magnitude
            and goes from blue through white, zero, to red.
        paper: whether grey images are ink on paper (1 is dark), not photographs (1 is light).
    """
    if not rows:
        raise ValueError(f"`rows` must hold at least one row. Received: rows={rows!r}")
    columns = whole("columns", columns, 1)
    shown = [_images(name, row, signed)[:columns] for name, row in rows.items()]
    columns = max(map(len, shown))
    height, width = shown[0].shape[1:3]
    size, down, gap = min(1.3, 8.8 / columns), height / width, 0.05
    names = 0.3 + 0.085 * max(len(line) for name in rows for line in name.split("\n"))
    figsize = (size * columns + names, size * down * len(rows) + 0.5)
    figure, axes = plt.subplots(figsize=figsize, layout="constrained")
    for line, images in enumerate(shown):
        for column, image in enumerate(images):
            left, top = column * (1 + gap), line * (down + gap)
            last = _show(axes, image, signed, paper, extent=(left, left + 1, top + down, top))
    axes.set(xlim=(0, columns * (1 + gap)), ylim=(len(rows) * (down + gap), 0), xticks=[])
    axes.set_yticks([down / 2 + line * (down + gap) for line in range(len(rows))], list(rows))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return _finished(figure, last, title, f"Rows of images: {', '.join(rows)}")


def image_sheet(
    images: ArrayLike, *, title: str, columns: int = 10, signed: bool = False, paper: bool = True
) -> Figure:
    """One tight sheet of images, `columns` side by side; see `image_rows` for the arguments."""
    images = _images("images", images, signed)
    count, height, width, channels = images.shape
    columns = min(whole("columns", columns, 1), count)
    lines = -(-count // columns)
    white = 0.0 if channels == 1 and (signed or paper) else 1.0  # one pixel between neighbours
    sheet = np.full((lines * (height + 1) - 1, columns * (width + 1) - 1, channels), white)
    for number, image in enumerate(images):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        sheet[top : top + height, left : left + width] = image
    scale = min(1.3, 9 / max(columns, lines)) * columns / sheet.shape[1]
    figsize = (sheet.shape[1] * scale, sheet.shape[0] * scale + 0.4)
    figure, axes = plt.subplots(figsize=figsize, layout="constrained")
    axes.axis("off")
    return _finished(figure, _show(axes, sheet, signed, paper), title, f"A sheet of {count} images")


def code_map(axes: Axes, codes: ArrayLike, labels: ArrayLike, *, title: str) -> Axes:
    """Codes `(n, 2)` as dots, coloured by label; up to 20 labels stand where they are densest."""
    codes, labels = array("codes", codes, rank=2, exact=True), np.asarray(labels)
    same_length(codes=codes, labels=labels)
    if codes.shape[1] != 2:
        raise ValueError(f"`codes` must have 2 columns. Received: codes.shape={codes.shape}")
    classes, number = np.unique(labels, return_inverse=True)
    colours = np.array(CLASSES)[number % len(CLASSES)]
    size = np.clip(24_000 / len(codes), 5, 16)
    axes.scatter(codes[:, 0], codes[:, 1], c=colours, s=size, alpha=0.75, lw=0)
    for index, name in enumerate(classes if len(classes) <= 20 else ()):
        disc = {"boxstyle": "circle,pad=0.2", "fc": "white", "ec": CLASSES[index % len(CLASSES)]}
        x, y = densest(codes[number == index], codes.std(axis=0))
        axes.text(x, y, str(name), ha="center", va="center", fontweight="bold", bbox=disc)
    axes.set(title=title, xlabel="first dimension of the code", ylabel="second dimension")
    return axes


def _images(name: str, images: ArrayLike, signed: bool) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        message = f"`{name}` must have the shape (n, height, width, 1 or 3), n > 0."
        raise ValueError(f"{message} Received: {name}.shape={images.shape}")
    if not signed:
        return images.clip(0, 1)
    largest = np.abs(images).max(axis=(1, 2, 3), keepdims=True)
    images = images / np.where(largest > 0, largest, 1)
    return images if images.shape[-1] == 1 else 0.5 + 0.5 * images


def _show(axes: Axes, image: np.ndarray, signed: bool, paper: bool, **where) -> AxesImage:
    signed = signed and image.shape[-1] == 1
    grey, low = (SIGNED, -1) if signed else ("gray_r" if paper else "gray", 0)
    return axes.imshow(image, cmap=grey, vmin=low, vmax=1, interpolation="nearest", **where)


def _finished(figure: Figure, image: AxesImage, title: str, content: str) -> Figure:
    if image.get_clim()[0] < 0:
        bar = figure.colorbar(image, ax=figure.axes, ticks=[-1, 0, 1], fraction=0.03, aspect=30)
        bar.set_ticklabels(["-max", "0", "max"])
    figure.suptitle(title, x=0.01, ha="left", wrap=True)
    return describe(figure, _plain(f"{title}. {content}."))


def _png(figure: Figure):
    """The PNG of a figure and its metadata, as IPython takes them."""
    from IPython.core.pylabtools import print_figure

    if not (png := print_figure(figure)):  # nothing is drawn
        return None
    image, small = Image.open(BytesIO(png)).convert("RGB"), BytesIO()
    red, green, blue = (band.tobytes() for band in image.split())
    inked = any(shown.get_cmap().name == "gray_r" for axes in figure.axes for shown in axes.images)
    grey = image.convert("L").quantize(16) if inked else image.convert("L")
    image = grey if red == green == blue else image.quantize(256, kmeans=1)
    image.save(small, "png", optimize=True)
    text = getattr(figure, "alternative_text", None)
    return min(png, small.getvalue(), key=len), {"alt": text or _titles(figure)}


def _titles(figure: Figure) -> str:
    parts = [figure.get_suptitle()]
    for axes in figure.axes:
        labels = (axes.get_ylabel(), axes.get_xlabel())
        about = [axes.get_title() or axes.get_title("left"), " against ".join(filter(None, labels))]
        about.append(", ".join(axes.get_legend_handles_labels()[1]))
        parts.append(": ".join(filter(None, about)))
    return _plain(". ".join(filter(None, parts)))


def _plain(text: str) -> str:
    """A text without TeX and line breaks."""
    text = re.sub(r"\\(math\w+|text|left|right)\b|[${}]", "", text)
    return " ".join(text.replace("\\", "").split())
