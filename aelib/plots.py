"""Figures in one style: rows and sheets of images, maps of codes, named lines.

Every function makes a figure or draws on the axes it is given, and returns it. In a notebook,
call `use_style` once and end a cell that draws with a semicolon.
"""

import re
from collections.abc import Mapping
from io import BytesIO
from itertools import cycle
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from aelib._checks import array, same_length, whole

# Okabe and Ito's colours, each with a contrast of 3 or more on white. Their roles:
GREY = "#767676"  # the plain method
BLUE = "#0072b2"  # the method of the lesson
ORANGE = "#d55e00"  # PCA or another baseline
GREEN = "#009e73"  # a third method
_LINES = (BLUE, ORANGE, GREEN, GREY, "#cc79a7", "#56b4e9", "black")
_DASHES = ("-", "--", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), "-")
_MARKERS = "osD^vPX"
CLASSES = tuple(mpl.colormaps["tab10"].colors)  # type: ignore[attr-defined]
SIGNED = "RdBu_r"  # negative is blue, zero white, positive red
COLOUR_MAP = "viridis"  # dark to light in equal steps, for quantities


def use_style() -> None:
    """Sets the house style for all figures to come.

    In IPython every PNG of a figure gets an alternative text as well (see `describe`), in its
    metadata where Jupyter looks for it, and is stored with 8 bits per pixel.
    """
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.figsize": (7.5, 3.6),
            "figure.constrained_layout.use": True,
            "figure.titlesize": 12,
            "figure.titleweight": "bold",
            "font.size": 10.5,
            "axes.titlesize": 11.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "0.4",
            "axes.axisbelow": True,
            "axes.prop_cycle": mpl.cycler(color=_LINES, linestyle=_DASHES),
            "grid.color": "0.9",
            "legend.frameon": False,
            "lines.markersize": 5,
        }
    )
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None:
        plt.get_backend()  # loads it now: on loading it sets a formatter of its own
        shell.display_formatter.formatters["image/png"].for_type(Figure, _png)


def describe(figure: Figure, text: str) -> Figure:
    """Sets the alternative text of a figure; by default it is made of titles and labels."""
    figure.alternative_text = text  # type: ignore[attr-defined]
    return figure


def image_rows(
    rows: Mapping[str, ArrayLike], *, title: str, columns: int = 10, paper: bool = True
) -> Figure:
    """One named row of images for each entry, the first `columns` of each.

    Args:
        rows: name of the row to images, `(n, height, width, channels)` with 1 or 3 channels.
        title: what to see in the picture.
        columns: how many images a row shows; a shorter row leaves its end empty.
        paper: whether grey images are ink on paper, where 1 is dark. If False, they are
            light on dark, as photographs are.

    Raises:
        ValueError: If there is no row, or a row does not hold images.
    """
    if not rows:
        raise ValueError(f"`rows` must hold at least one row. Received: rows={rows!r}")
    images = {
        name: _images(name, row)[: whole("columns", columns, 1)] for name, row in rows.items()
    }
    columns = max(map(len, images.values()))
    height, width = next(iter(images.values())).shape[1:3]
    height /= width
    size = min(1.3, 8.8 / columns)
    names = 0.3 + 0.085 * max(len(line) for name in rows for line in name.split("\n"))
    figure, axes = plt.subplots(
        figsize=(size * columns + names, size * height * len(rows) + 0.5), layout="constrained"
    )
    for down, row in enumerate(images.values()):
        for across, image in enumerate(row):
            left, bottom = 1.05 * across, (height + 0.05) * (down + 1)
            _show(axes, image, paper, extent=(left, left + 1, bottom, bottom - height))
    axes.set(xlim=(0, 1.05 * columns), ylim=((height + 0.05) * len(rows), 0))
    axes.set_yticks((height + 0.05) * (np.arange(len(rows)) + 0.5), list(rows))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, bottom=False, labelbottom=False)
    figure.suptitle(title, x=0.01, ha="left", wrap=True)
    return describe(figure, f"{_plain(title)}. Rows of images: {_plain(', '.join(rows))}.")


def image_sheet(
    images: ArrayLike, *, title: str, columns: int = 10, signed: bool = False, paper: bool = True
) -> Figure:
    """One tight sheet of images: features, samples, a grid of decoded codes.

    Args:
        images: `(n, height, width, channels)` with 1 or 3 channels.
        title: what to see in the picture.
        columns: how many images stand side by side.
        signed: for weights and eigenvectors, which have no range: every image is scaled by
            its own largest magnitude; negative is blue, zero white, positive red.
        paper: see `image_rows`.
    """
    images = _images("images", images)
    count, height, width, channels = images.shape
    columns = min(whole("columns", columns, 1), count)
    lines = -(-count // columns)
    if signed:
        largest = np.abs(images).max(axis=(1, 2, 3), keepdims=True)
        images = images / np.where(largest > 0, largest, 1)
        images = images if channels == 1 else 0.5 + 0.5 * images
    # One white pixel between neighbours.
    white = (0.0 if signed or paper else 1.0) if channels == 1 else 1.0
    sheet = np.full((lines * (height + 1) - 1, columns * (width + 1) - 1, channels), white)
    for number, image in enumerate(images):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        sheet[top : top + height, left : left + width] = image
    scale = min(1.3 * columns, 9 * columns / max(columns, lines)) / sheet.shape[1]
    figure, axes = plt.subplots(
        figsize=(sheet.shape[1] * scale, sheet.shape[0] * scale + 0.4), layout="constrained"
    )
    axes.axis("off")
    if signed and channels == 1:
        shown = axes.imshow(sheet[..., 0], cmap=SIGNED, vmin=-1, vmax=1, interpolation="nearest")
        bar = figure.colorbar(shown, ax=axes, ticks=[-1, 0, 1], fraction=0.03, aspect=30)
        bar.set_ticklabels(["-max", "0", "max"])
    else:
        _show(axes, sheet, paper)
    figure.suptitle(title, x=0.01, ha="left", wrap=True)
    return describe(figure, f"{_plain(title)}. A sheet of {count} images.")


def code_map(axes: Axes, codes: ArrayLike, labels: ArrayLike, *, title: str) -> Axes:
    """Codes as dots in the plane, coloured by class, each class named where it is densest.

    Args:
        axes: what to draw on.
        codes: `(n, 2)`.
        labels: `(n,)`, classes; of more than 20 different values the size is shown instead.
        title: what to see in the picture.
    """
    codes, labels = array("codes", codes, rank=2, exact=True), np.asarray(labels)
    same_length(codes=codes, labels=labels)
    if codes.shape[1] != 2:
        raise ValueError(f"`codes` must have 2 columns. Received: codes.shape={codes.shape}")
    classes, number = np.unique(labels, return_inverse=True)
    style: dict[str, Any] = {"s": np.clip(18_000 / len(codes), 4, 16), "alpha": 0.75, "lw": 0}
    if len(classes) > 20:
        axes.scatter(*codes.T, c=labels, cmap=COLOUR_MAP, **style)
        classes = classes[:0]
    else:
        axes.scatter(*codes.T, c=np.array(CLASSES)[number % len(CLASSES)], **style)
    for index, name in enumerate(classes):
        disc = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "alpha": 0.9}
        disc["edgecolor"] = CLASSES[index % len(CLASSES)]
        x, y = _densest(codes[number == index], codes.std(axis=0))
        axes.text(x, y, str(name), ha="center", va="center", fontweight="bold", bbox=disc)
    axes.set(title=title, xlabel="first dimension of the code", ylabel="second dimension")
    return axes


def lines(
    axes: Axes, x: ArrayLike, series: Mapping[str, Any], *, roles: Mapping[str, str] | None = None
) -> Axes:
    """Named lines over `x`, told apart by colour, dash and marker, with a legend and a grid.

    Args:
        series: name to values, one for each of `x`; a single number, as the error of chance
            is, becomes a dotted horizontal line.
        roles: name to colour, `{"PCA": plots.ORANGE}`; the other lines take the colours left.
    """
    roles = dict(roles or {})
    left = cycle([colour for colour in _LINES if colour not in roles.values()])
    markers, dashes = cycle(_MARKERS), cycle(_DASHES)
    for name, values in series.items():
        if np.ndim(values) == 0:
            axes.axhline(values, color=roles.get(name, "0.3"), linestyle=":", label=name)
            continue
        marker, dash = next(markers), next(dashes)
        colour = roles[name] if name in roles else next(left)
        few = marker if len(values) <= 25 else None
        axes.plot(x, values, color=colour, linestyle=dash, marker=few, label=name)
    axes.grid(True)
    if len(series) > 1:
        axes.legend()
    return axes


def _images(name: str, images: ArrayLike) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        raise ValueError(
            "Images must have the shape (n, height, width, 1 or 3). "
            f"Received: {name}.shape={images.shape}"
        )
    return images


def _show(axes: Axes, image: np.ndarray, paper: bool, **where) -> None:
    image = np.clip(image, 0, 1)
    grey = {"cmap": "gray_r" if paper else "gray", "vmin": 0, "vmax": 1}
    smooth = "nearest" if paper else "bicubic"
    axes.imshow(image, interpolation=smooth, **where, **grey)


def _densest(points: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The point with the most others around it, by a Gaussian kernel."""
    some = points[:: -(-len(points) // 1000)] / np.where(spread > 0, spread, 1)
    squared = np.square(some[:, None] - some).sum(axis=2)
    density = np.exp(-0.5 * squared / 0.15**2).sum(axis=1)
    return points[:: -(-len(points) // 1000)][density.argmax()]


def _png(figure: Figure) -> Any:
    """The PNG of a figure and its alternative text, as IPython takes them."""
    from IPython.core.pylabtools import print_figure

    png = print_figure(figure, fmt="png")
    if png is None:  # nothing is drawn
        return None
    small = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").quantize(256, kmeans=1).save(
        small, "png", optimize=True
    )
    alt = getattr(figure, "alternative_text", None) or _titles(figure)
    return min(png, small.getvalue(), key=len), {"alt": alt}


def _titles(figure: Figure) -> str:
    parts = [figure.get_suptitle()]
    for axes in figure.axes:
        parts.append(axes.get_title() or axes.get_title("left"))
        if axes.get_xlabel() and axes.get_ylabel():
            parts.append(f"{axes.get_ylabel()} against {axes.get_xlabel()}")
    return ". ".join(_plain(part) for part in parts if part)


def _plain(text: str) -> str:
    """A text without TeX and line breaks."""

    def words(match: re.Match) -> str:
        formula = re.sub(r"\\(mathrm|mathbf|mathit|mathcal|text|left|right)\b", "", match[1])
        return re.sub(r"[\\{}]", "", formula)

    return " ".join(re.sub(r"\$([^$]*)\$", words, text).split())
