"""A decoder that answers in the page, without a kernel: move a point, see the image of its code."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aelib._checks import array, flag, layer, same_length
from aelib._network import ACTIVATIONS as ACTIVATIONS  # a public name here
from aelib._network import written
from aelib._page import LivePicture, limits_of, live, matrix, scatter, tiled

_GRID = 10  # images across the static picture; of sliders, half as many


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
) -> LivePicture:
    """An image that follows the pointer or the arrow keys over a plane of codes, in the page.

    The code is `origin` plus, for each direction, a value times the direction. Two directions make
    a plane, any other number makes sliders. Weights are kept with 16 bits, in steps of one size for
    each unit, 2.7 characters per weight; pixels differ from Keras's by some 1e-5. Kernels of kept
    models lose nothing: float16 holds them, or, in half the room, multiples, up to 127, of a power
    of two for each unit.

    Args:
        decoder: a chain of dense layers and (transposed) convolutions, with the activations in
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
        else matrix("origin", np.asarray(origin)[None], shape[1])[0]
    )
    axes = np.eye(shape[1]) if directions is None else matrix("directions", directions, shape[1])
    names = [f"dimension {i + 1}" for i in range(len(axes))] if names is None else list(names)
    same_length(directions=axes, names=names)
    values = np.zeros((0, len(axes)))
    if codes is not None:
        values = (matrix("codes", codes, shape[1]) - base) @ np.linalg.pinv(axes)
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
    layers = written(part, (base + ends.T @ axes).astype("float32"), as_images)
    paper = flag("paper", paper) and size[-1] == 1
    config = {"title": title, "names": names, "shape": size, "paper": paper, "layers": layers}
    arrays = {"limits": ends, "start": start, "origin": base, "directions": axes}
    config |= {name: values.tolist() for name, values in arrays.items()}
    config |= scatter(values, labels, ends)
    return live("explorer.js", config, *_sheet(decode, start, ends, names))


def _limits(values: np.ndarray, limits: ArrayLike | None, inputs: int) -> np.ndarray:
    if limits is None:
        return limits_of(values) if len(values) else np.tile([-3.0, 3.0], (inputs, 1))
    ends = array("limits", limits, rank=2, exact=True).astype(float)
    if ends.shape != (inputs, 2) or (ends[:, 0] >= ends[:, 1]).any():
        expected = f"hold a lower and a higher value for each of {inputs} directions"
        raise ValueError(f"`limits` must {expected}. Received: limits={ends.tolist()}")
    return ends


def _sheet(
    decode: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    ends: np.ndarray,
    names: list[str],
) -> tuple[np.ndarray, str]:
    """Images over the plane, or of one row for each slider, and what it shows."""
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
    sheet = tiled(decode(values).clip(0, 1), columns)
    return sheet, f"{lines} x {columns} images that the decoder draws: {content}."
