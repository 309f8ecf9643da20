"""A decoder that answers in the page, without a kernel: move a point, see the image of its code."""

import base64
import hashlib
import html
import json
import math
from collections.abc import Callable, Sequence
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

from aelib._checks import array, flag, layer, same_length
from aelib.diagram import chain

CLASSES = tuple(mpl.color_sequences["tab10"])
ACTIVATIONS = ("linear", "relu", "gelu", "silu", "tanh", "sigmoid", "softplus")
_SAME = ("Reshape", "Flatten", "Identity", "Dropout", "GaussianNoise")
_POINTS = 1500  # are drawn at most
_GRID = 10  # images across the static picture; of sliders, half as many
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
  if (!host.shadowRoot) explore(host, {config});
}})();</script>"""
_number = count(1)


@dataclass(frozen=True)
class Explorer:
    """What `explorer` gives: notebooks show it, `str` is HTML to put into a page.

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
        data = {"text/html": self.html, "image/png": _text(self.png), "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt}}


def explorer(
    decoder: Any,
    codes: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    *,
    origin: ArrayLike | None = None,
    directions: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    limits: ArrayLike | None = None,
    title: str = "Move the point: the decoder draws",
    paper: bool = True,
) -> Explorer:
    """An image that follows the pointer or the arrow keys over a plane of codes, in the page.

    The code is `origin` plus, for each direction, a value times the direction. Two directions make
    a plane, any other number makes sliders. Weights are kept with 16 bits, in steps of one size for
    each unit, 2.7 characters per weight; pixels differ from Keras's by some 1e-5. Kernels that
    hold multiples, up to 127, of a power of two for each unit, as some kept models do, take half.

    Args:
        decoder: a chain of `Dense` and `Conv2DTranspose` layers, with the activations in
            `ACTIVATIONS`, from codes `(batch, code)` to images with 1 or 3 channels, as those of
            `recipes`; or the autoencoder that holds it.
            Give the autoencoder if the decoder gives logits.
        codes: `(n, code)`, drawn behind the point; they set the limits as well.
        labels: `(n,)`, the classes of the codes, which colour them.
        origin: `(code,)`, zeros if None.
        directions: `(inputs, code)`; None takes the axes of the code.
        names: of the directions.
        limits: `(inputs, 2)`, lowest and highest value along each direction. None takes 99 % of
            the codes, or -3 to 3.
        title: what the reader sees first.
        paper: whether grey images are ink on paper (1 is dark), not photographs (1 is light).

    Raises:
        ValueError: also if the decoder has a layer that the page cannot run.

    Example:

    ```python
    from aelib import plots, recipes

    _, decoder = recipes.dense((8, 8, 1), [16], code_dim=2)
    plots.explorer(decoder, title="Two numbers make an image").save("explorer.html")
    ```
    """
    part = layer("decoder", getattr(decoder, "decoder", decoder))
    shape = getattr(part, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 2 or not shape[1]:
        raise ValueError(f"`decoder` must take codes (batch, code). Received: input_shape={shape}")
    base = (
        np.zeros(shape[1])
        if origin is None
        else _codes("origin", np.asarray(origin)[None], shape[1])[0]
    )
    axes = np.eye(shape[1]) if directions is None else _codes("directions", directions, shape[1])
    names = [f"dimension {i + 1}" for i in range(len(axes))] if names is None else list(names)
    same_length(directions=axes, names=names)
    values = np.zeros((0, len(axes)))
    if codes is not None:
        values = (_codes("codes", codes, shape[1]) - base) @ np.linalg.pinv(axes)
    labels = np.full(len(values), "") if labels is None else np.asarray(labels)
    same_length(codes=values, labels=labels)
    ends = _limits(values, limits, len(axes))
    start = np.clip(np.median(values, axis=0) if len(values) else 0, ends[:, 0], ends[:, 1])
    as_images = getattr(decoder, "as_images", lambda output: output)

    def decode(values: np.ndarray) -> np.ndarray:
        return np.asarray(as_images(part((base + values @ axes).astype("float32"))), "float32")

    size = decode(start[None]).shape[1:]
    if len(size) != 3 or size[-1] not in (1, 3):
        expected = "`decoder` must give images (batch, height, width, 1 or 3)"
        raise ValueError(f"{expected}. Received: shape={(None, *size)}")
    layers = _layers(part, (base + ends.T @ axes).astype("float32"))
    if float(as_images(np.zeros(1, "float32"))[0]):  # the decoder gives logits
        layers.append({"kind": "activation", "activation": "sigmoid"})
    paper = flag("paper", paper) and size[-1] == 1
    config = {"title": title, "names": names, "shape": size, "paper": paper, "layers": layers}
    arrays = {"limits": ends, "start": start, "origin": base, "directions": axes}
    config |= {name: values.tolist() for name, values in arrays.items()}
    config |= _scatter(values, labels, ends)
    data = json.dumps(config, separators=(",", ":")).replace("<", "\\u003c")  # no end of the script
    png, content = _sheet(decode, start, ends, names, paper)
    alt = f"{title}. {content}"
    page = _HTML.format(
        id=f"{hashlib.sha256(data.encode()).hexdigest()[:8]}-{next(_number)}",
        png=_text(png),
        width=_WIDTH,
        alt=html.escape(alt),
        source=files("aelib").joinpath("explorer.js").read_text("utf-8"),
        config=data,
    )
    return Explorer(title, alt, png, page)


def densest(points: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The point with the most others around it, by a Gaussian kernel."""
    points = points[:: -(-len(points) // 1000)]
    scaled = points / np.where(spread > 0, spread, 1)
    squared = np.square(scaled[:, None] - scaled).sum(axis=2)
    return points[np.exp(-0.5 * squared / 0.15**2).sum(axis=1).argmax()]


def _codes(name: str, values: ArrayLike, code_dim: int) -> np.ndarray:
    values = array(name, values, rank=2, exact=True).astype(float)
    if values.shape[1] != code_dim:
        received = f"{name}.shape={values.shape}"
        raise ValueError(f"`{name}` must have {code_dim} columns. Received: {received}")
    return values


def _limits(values: np.ndarray, limits: ArrayLike | None, inputs: int) -> np.ndarray:
    if limits is not None:
        ends = array("limits", limits, rank=2, exact=True).astype(float)
        if ends.shape != (inputs, 2) or (ends[:, 0] >= ends[:, 1]).any():
            expected = f"hold a lower and a higher value for each of {inputs} directions"
            raise ValueError(f"`limits` must {expected}. Received: limits={ends.tolist()}")
        return ends
    if not len(values):
        return np.tile([-3.0, 3.0], (inputs, 1))
    low, high = np.percentile(values, [0.5, 99.5], axis=0)
    room = np.where(high > low, 0.05 * (high - low), 1)
    return np.stack([low - room, high + room], axis=1)


def _layers(part: Any, codes: np.ndarray) -> list[dict]:
    """What `explorer.js` needs of each layer, in order."""
    written, output = [], codes
    for one in chain(part):
        written += _written(one, output.shape[1:])
        output = np.asarray(one(output), "float32")
    if not np.allclose(output, part(codes), atol=1e-5):
        expected = "The explorer runs a chain of layers, each on the output of the last"
        raise ValueError(f"{expected}. Received: decoder {part.name!r}")
    return written


def _written(layer: Any, shape: tuple[int, ...]) -> list[dict]:
    """The layer on inputs of `shape`, none if arrays, which are flat in the page, stay the same."""
    kind = type(layer).__name__ if type(layer).__module__.startswith("keras.") else "its own"
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    if kind in _SAME:
        return []
    if kind == "Activation":
        return [{"kind": "activation", "activation": _activation(layer)}]
    if kind == "Dense" and len(shape) == 1:
        return [{"kind": "dense"} | _weights(layer, (0,))]
    if kind == "Cropping2D" and not first:
        return [{"kind": "crop", "shape": shape, "by": layer.cropping}]
    plain = kind == "Conv2DTranspose" and layer.padding == "same" and layer.output_padding is None
    if plain and layer.dilation_rate == (1, 1) and not first:
        geometry = {"shape": shape, "size": layer.kernel_size, "stride": layer.strides}
        return [{"kind": "transposed"} | geometry | _weights(layer, (0, 1, 3))]
    expected = (
        "The explorer runs dense layers on codes (batch, units), transposed convolutions and crops "
        "of images with the channels last (padding 'same', no dilation), and activations"
    )
    received = f"layer {layer.name!r}, a {type(layer).__name__}"
    raise ValueError(f"{expected}. Received: {received}")


def _weights(layer: Any, axes: tuple[int, ...]) -> dict[str, Any]:
    """Kernel and bias as text; the kernel in whole steps, of one size for each unit."""
    import keras

    kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float32")
    kernel = array(f"{layer.name}.kernel", kernel)
    largest = np.abs(kernel).max(axis=axes, keepdims=True).clip(1e-30)  # above 0
    coarse = 2 ** np.ceil(np.log2(largest / 127))
    bits = 8 if (kernel % coarse == 0).all() else 16
    step = coarse if bits == 8 else largest / 32767
    bias = np.zeros(step.size) if layer.bias is None else keras.ops.convert_to_numpy(layer.bias)
    arrays = {"kernel": np.rint(kernel / step).astype(f"<i{bits // 8}")}
    arrays |= {"step": step.astype("<f4"), "bias": bias.astype("<f4")}
    texts = {name: _text(values.tobytes()) for name, values in arrays.items()}
    return {"activation": _activation(layer), "bits": bits} | texts


def _activation(layer: Any) -> str:
    import keras

    function = layer.activation
    name = getattr(function, "__name__", repr(function))
    if name not in ACTIVATIONS or function is not getattr(keras.activations, name):
        expected = f"The explorer runs the activations {', '.join(ACTIVATIONS)}"
        raise ValueError(f"{expected}. Received: layer {layer.name!r} with activation {name!r}")
    return name


def _scatter(values: np.ndarray, labels: np.ndarray, ends: np.ndarray) -> dict[str, list]:
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


def _sheet(
    decode: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    ends: np.ndarray,
    names: list[str],
    paper: bool,
) -> tuple[bytes, str]:
    """A picture of images over the plane, or of one row for each slider, and what it shows."""
    ranges = [
        f"{name} from {low:.3g} to {high:.3g}"
        for name, (low, high) in zip(names, ends, strict=True)
    ]
    if len(ends) == 2:
        lines = columns = _GRID
        x, y = np.linspace(ends[:, 0], ends[:, 1], columns).T
        values = np.stack(np.meshgrid(x, y[::-1]), axis=-1).reshape(-1, 2)
        content = f"across {ranges[0]}, upwards {ranges[1]}"
    else:
        lines, columns = len(ends), _GRID // 2
        values = np.tile(start, (lines, columns, 1))
        for line, (low, high) in enumerate(ends):
            values[line, :, line] = np.linspace(low, high, columns)
        values = values.reshape(-1, lines)
        content = f"in row after row {', '.join(ranges)}"
    images = decode(values).clip(0, 1)
    height, width, channels = images.shape[1:]
    sheet = images.reshape(lines, columns, height, width, channels).swapaxes(1, 2)
    sheet = sheet.reshape(lines * height, columns * width, channels)
    pixels = np.rint(255 * (1 - sheet if paper else sheet)).astype("uint8")
    png = BytesIO()
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    picture = picture.quantize(16 if channels == 1 else 128)
    size = [math.ceil(_WIDTH / picture.width) * side for side in picture.size]
    picture.resize(size, Image.Resampling.NEAREST).save(png, "png", optimize=True)
    return png.getvalue(), f"{lines} x {columns} images that the decoder draws: {content}."


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
