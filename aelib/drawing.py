"""A network that answers to a drawing in the page: see its code move, and what it makes of it."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aelib._checks import array, layer, number, same_length
from aelib._network import text, written
from aelib._page import LivePicture, limits_of, live, matrix, scatter, tiled

_SHAPE = (28, 28, 1)  # of MNIST's images, as which a drawing is prepared


def drawing(
    model: Any,
    examples: ArrayLike,
    codes: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    *,
    noise: float | None = None,
    title: str = "Draw a digit: the network draws it again",
) -> LivePicture:
    """A paper to draw on by pointer or keys, and what an autoencoder makes of the drawing.

    The drawing is prepared as MNIST's images are: the longer side of its box is scaled to 20
    pixels, and its centre of mass put into the middle. An image of MNIST stays what it is.

    Args:
        model: an autoencoder of images `(28, 28, 1)`, whose encoder and decoder are chains of
            layers that `explorer` runs, too.
        examples: `(n, 28, 28, 1)` in [0, 1], from which a reader can start; the first is shown.
        codes: `(n, 2)`, drawn behind the code of the drawing. None: no plane is shown.
        labels: `(n,)`, the classes of the codes, which colour them.
        noise: standard deviation, at most 1, with which a slider starts: the network gets the
            drawing with fresh Gaussian noise. None: no noise, no slider.
        title: what the reader sees first.

    Raises:
        ValueError: also if the model has a layer that the page cannot run.

    Example:

    ```python
    from aelib import plots, recipes
    from aelib.autoencoder import Autoencoder
    from aelib.data import load

    model = Autoencoder(*recipes.dense((28, 28, 1), [16], code_dim=2))
    examples = load("digits", limit=10).test.x[:3]
    plots.drawing(model, examples, noise=0.5).save("drawing.html")
    ```
    """
    encoder, decoder = _parts(model)
    x = array("examples", examples, rank=4, exact=True).astype("float32")
    if x.shape[1:] != _SHAPE or x.min() < 0 or x.max() > 1:
        received = f"examples of shape {x.shape} from {x.min():.3g} to {x.max():.3g}"
        raise ValueError(f"`examples` must be images {_SHAPE} in [0, 1]. Received: {received}")
    noise = None if noise is None else number("noise", noise, 0, 1)
    noisy = x + (noise or 0) * np.random.default_rng(0).standard_normal(x.shape, "float32")
    z = np.asarray(encoder(noisy))
    config = {"title": title, "paper": True, "noise": noise}
    config["examples"] = [text(image.tobytes()) for image in np.rint(255 * x).astype("uint8")]
    config["encoder"] = written(encoder, noisy)
    config["decoder"] = written(decoder, z, model.as_images)
    if codes is not None or labels is not None:
        config |= _plane(codes, labels, z.shape)
    answers = np.asarray(model.as_images(decoder(z)))
    rows = [x, answers] if noise is None else [x, noisy, answers]
    sheet = tiled(np.concatenate(rows).clip(0, 1), len(x))
    between = "" if noise is None else f"the same with noise of standard deviation {noise:g}, "
    content = f"In row after row: {len(x)} digits, {between}what the network makes of them."
    return live("drawing.js", config, sheet, content)


def _parts(model: Any) -> tuple[Any, Any]:
    encoder = layer("encoder", getattr(model, "encoder", None))
    decoder = layer("decoder", getattr(model, "decoder", None))
    ends = [(part.input_shape, part.output_shape) for part in (encoder, decoder)]
    (first, code), (given, last) = ends
    if {first, last} != {(None, *_SHAPE)}:
        received = f"input_shape={first}, output_shape={last}"
        raise ValueError(f"`model` must take and give images {_SHAPE}. Received: {received}")
    if code != given:
        expected = "`model` must have a decoder that takes what its encoder gives"
        raise ValueError(f"{expected}. Received: {given} and {code}")
    return encoder, decoder


def _plane(codes: Any, labels: ArrayLike | None, shape: tuple[int, ...]) -> dict[str, Any]:
    """The codes as points with their classes, and from where to where the plane goes."""
    if shape[1:] != (2,):
        expected = "`codes` need a model whose code has two numbers"
        raise ValueError(f"{expected}. Received: codes of shape {shape}")
    z = matrix("codes", codes, 2)
    classes = np.full(len(z), "") if labels is None else np.asarray(labels)
    same_length(codes=z, labels=classes)
    ends = limits_of(z)
    return {"limits": ends.tolist()} | scatter(z, classes, ends)
