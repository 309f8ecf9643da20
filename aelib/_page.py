"""Pictures that answer in the page: their HTML, and codes as points of a plane."""

import hashlib
import html
import json
import math
import re
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import ArrayLike
from PIL import Image

from aelib._checks import array
from aelib._network import text

CLASSES = tuple(mpl.color_sequences["tab10"])
_POINTS = 1500  # are drawn at most
_WIDTH = 560  # of the static picture in the page, in pixels
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>:root {{ color-scheme: light dark; font-family: system-ui, sans-serif }}</style>
<main>
{html}
</main></html>
"""
_HTML = """<div data-aelib-explorer="{id}" data-lm-suppress-shortcuts="true">
<img src="data:image/png;base64,{png}" alt="{alt}" width="{width}" style="max-width: 100%">
</div><script>(() => {{
{source}
for (const host of document.querySelectorAll('[data-aelib-explorer="{id}"]'))
  if (!host.shadowRoot) start(host, {config});
}})();</script>"""
_number = count(1)


@dataclass(frozen=True)
class LivePicture:
    """What `explorer` and `drawing` give: notebooks show it, `str` is HTML to put into a page.

    `alt` is the text and `png` the picture that are shown where scripts do not run.
    """

    title: str
    alt: str
    png: bytes
    html: str

    def __str__(self) -> str:
        return self.html

    def save(self, path: str | Path) -> None:
        """Writes a page of its own, which needs no network."""
        Path(path).write_text(
            _PAGE.format(title=html.escape(self.title), html=self.html), encoding="utf-8"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        data = {"text/html": self.html, "image/png": text(self.png), "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt}}


def live(script: str, config: dict[str, Any], sheet: np.ndarray, content: str) -> LivePicture:
    """The picture that `start(host, config)` of `script` fills.

    Args:
        script: name of a file beside this one.
        config: what JSON can hold, a `title` and whether `paper` is what grey images are on.
        sheet: pixels in [0, 1], `(height, width, channels)`, shown where no script runs.
        content: what the sheet shows.
    """
    data = json.dumps(config, separators=(",", ":")).replace("<", "\\u003c")  # no end of the script
    alt, png = f"{config['title']}. {content}", _png(sheet, config["paper"])
    sources = [files("aelib").joinpath(name) for name in ("network.js", "page.js", script)]
    source = "\n".join(source.read_text("utf-8") for source in sources)
    page = _HTML.format(
        id=f"{hashlib.sha256(data.encode()).hexdigest()[:8]}-{next(_number)}",
        png=text(png),
        width=_WIDTH,
        alt=html.escape(alt),
        source=re.sub(r"(?m)^ *//.*\n|^ +", "", source),  # comments and indentation stay at home
        config=data,
    )
    return LivePicture(config["title"], alt, png, page)


def tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Images `(n, height, width, channels)` side by side, as one."""
    _, height, width, channels = images.shape
    sheet = images.reshape(-1, columns, height, width, channels).swapaxes(1, 2)
    return sheet.reshape(-1, columns * width, channels)


def matrix(name: str, values: ArrayLike, columns: int) -> np.ndarray:
    """A matrix of finite floats with so many columns."""
    values = array(name, values, rank=2, exact=True).astype(float)
    if values.shape[1] != columns:
        received = f"{name}.shape={values.shape}"
        raise ValueError(f"`{name}` must have {columns} columns. Received: {received}")
    return values


def limits_of(values: np.ndarray) -> np.ndarray:
    """From where to where 99 % of the values of each column lie, with some room."""
    low, high = np.percentile(values, [0.5, 99.5], axis=0)
    room = np.where(high > low, 0.05 * (high - low), 1)
    return np.stack([low - room, high + room], axis=1)


def densest(points: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The point with the most others around it, by a Gaussian kernel."""
    points = points[:: -(-len(points) // 1000)]
    scaled = points / np.where(spread > 0, spread, 1)
    squared = np.square(scaled[:, None] - scaled).sum(axis=2)
    return points[np.exp(-0.5 * squared / 0.15**2).sum(axis=1).argmax()]


def scatter(values: np.ndarray, labels: np.ndarray, ends: np.ndarray) -> dict[str, list]:
    """Codes and classes in a square of 1000 x 1000, with y downwards."""
    inside = ((values >= ends[:, 0]) & (values <= ends[:, 1])).all(axis=1)
    if len(ends) != 2 or not inside.any():
        return {"points": [], "classes": []}
    at = (values[inside] - ends[:, 0]) / (ends[:, 1] - ends[:, 0]) * [1000, -1000] + [0, 1000]
    names, number = np.unique(labels[inside], return_inverse=True)
    classes = []
    for index, name in enumerate(map(str, names)):
        place = densest(at[number == index], at.std(axis=0)).round().tolist()
        named = name and len(names) <= 20
        colour = to_hex(CLASSES[index % len(CLASSES)])
        classes.append({"name": name, "colour": colour, "place": place if named else None})
    points = np.column_stack([at.round().astype(int), number])
    return {"points": points[:: -(-len(points) // _POINTS)].tolist(), "classes": classes}


def _png(sheet: np.ndarray, paper: bool) -> bytes:
    pixels = np.rint(255 * (1 - sheet if paper else sheet)).astype("uint8")
    grey, png = pixels.shape[-1] == 1, BytesIO()
    picture = Image.fromarray(pixels[..., 0] if grey else pixels).quantize(16 if grey else 128)
    size = [math.ceil(_WIDTH / picture.width) * side for side in picture.size]
    picture.resize(size, Image.Resampling.NEAREST).save(png, "png", optimize=True)
    return png.getvalue()
