"""Pictures that several notebooks draw: rows of images, sheets, maps of codes.

Every function makes a new figure or draws on the axes it is given, and returns it. In a
notebook end the cell with a semicolon.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Dark to light in equal steps, so that the order survives in greyscale.
COLOUR_MAP = "viridis"


def image_rows(rows: dict[str, np.ndarray], *, title: str, columns: int = 10) -> Figure:
    """One named row of images for each entry, the first `columns` of each.

    Args:
        rows: name of the row to images, `(n, height, width, channels)` with 1 or 3 channels.
        title: what to see in the picture.
        columns: how many images a row shows; a shorter row leaves its end empty.

    Raises:
        ValueError: if there is no row, or a row does not hold images.
    """
    if not rows:
        raise ValueError(f"A picture needs at least one row. Received: rows={rows!r}")
    columns = min(columns, max(len(_checked(name, images)) for name, images in rows.items()))
    size = min(1.0, 10 / columns)
    figure, grid = plt.subplots(
        len(rows),
        columns,
        squeeze=False,
        figsize=(size * columns + 1.6, size * len(rows) + 0.5),
        layout="constrained",
    )
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        for axes in line:
            axes.axis("off")
        for axes, image in zip(line, images, strict=False):
            _show(axes, image)
        line[0].text(
            -0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=10
        )
    figure.suptitle(title, fontsize=11)
    return figure


def image_sheet(
    images: np.ndarray, *, title: str, columns: int = 10, signed: bool = False
) -> Figure:
    """One tight sheet of images: features, samples, a grid of decoded codes.

    Args:
        images: `(n, height, width, channels)` with 1 or 3 channels.
        title: what to see in the picture.
        columns: how many images stand side by side.
        signed: for weights and eigenvectors, which have no range: every image is scaled by
            its own largest magnitude, with zero in the middle of the greys.
    """
    images = _checked("images", images)
    if signed:
        largest = np.abs(images).max(axis=(1, 2, 3), keepdims=True)
        images = 0.5 + 0.5 * images / np.where(largest > 0, largest, 1)
    columns = min(columns, len(images))
    lines = -(-len(images) // columns)
    height, width, channels = images.shape[1:]
    # One pixel of paper between neighbours.
    paper = 1.0 if signed or channels == 3 else 0.0  # what shows as white
    sheet = np.full((lines * (height + 1) - 1, columns * (width + 1) - 1, channels), paper)
    for number, image in enumerate(images):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        sheet[top : top + height, left : left + width] = image
    scale = 8 / max(sheet.shape[1], sheet.shape[0])
    figure, axes = plt.subplots(
        figsize=(sheet.shape[1] * scale, sheet.shape[0] * scale + 0.4), layout="constrained"
    )
    axes.axis("off")
    _show(axes, sheet, reverse=not signed)
    figure.suptitle(title, fontsize=11)
    return figure


def code_map(axes: Axes, codes: np.ndarray, labels: np.ndarray, *, title: str) -> Axes:
    """Codes as dots in the plane, shaded by class, the class's name at its median.

    Args:
        axes: what to draw on.
        codes: `(n, 2)`.
        labels: `(n,)`, whole numbers; up to 20 classes are named.
        title: what to see in the picture.
    """
    codes = np.asarray(codes)
    if codes.ndim != 2 or codes.shape[1] != 2 or len(codes) != len(labels):
        raise ValueError(
            "A map shows one pair of numbers for each label. "
            f"Received: codes.shape={codes.shape}, {len(labels)} labels"
        )
    axes.scatter(*codes.T, c=labels, cmap=COLOUR_MAP, s=3, alpha=0.5, linewidths=0)
    classes = np.unique(labels)
    for name in classes if len(classes) <= 20 else ():
        x, y = np.median(codes[labels == name], axis=0)
        axes.text(
            x,
            y,
            str(name),
            ha="center",
            va="center",
            fontsize=11,
            fontweight="bold",
            bbox={"boxstyle": "circle,pad=0.2", "facecolor": "white", "alpha": 0.85, "lw": 0.5},
        )
    axes.set(title=title, xlabel="first number of the code", ylabel="second number of the code")
    return axes


def _checked(name: str, images) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        raise ValueError(
            "Images have the shape (n, height, width, 1 or 3). "
            f"Received: {name}.shape={images.shape}"
        )
    return images


def _show(axes: Axes, image: np.ndarray, *, reverse: bool = True) -> None:
    """Ink on paper: a high value is dark, unless `reverse` is off."""
    image = np.clip(image, 0, 1)
    if image.shape[-1] == 3:
        axes.imshow(image, interpolation="nearest")
    else:
        axes.imshow(
            image[..., 0],
            cmap="gray_r" if reverse else "gray",
            vmin=0,
            vmax=1,
            interpolation="nearest",
        )
