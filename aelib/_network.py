"""The layers of a model, written for the page, where `network.js` runs them."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np

from aelib._checks import array
from aelib.diagram import chain

ACTIVATIONS = ("linear", "relu", "gelu", "silu", "tanh", "sigmoid", "softplus")
# Their names in the page, and the axes of a kernel that belong to one unit.
_CONVOLUTIONS = {"Conv2D": ("convolution", (0, 1, 2)), "Conv2DTranspose": ("transposed", (0, 1, 3))}
_SAME = ("Reshape", "Flatten", "Identity", "Dropout", "GaussianNoise")


def written(part: Any, x: np.ndarray, as_images: Callable | None = None) -> list[dict]:
    """What `network.js` needs of each layer of a model, in order.

    Args:
        part: the model.
        x: a batch of inputs to try it on.
        as_images: what the model's logits become images by.
    """
    found, output = [], x
    for one in chain(part):
        found += _written(one, output.shape[1:])
        output = np.asarray(one(output), "float32")
    if not np.allclose(output, part(x), atol=1e-5):
        expected = "The page runs a chain of layers, each on the output of the last"
        raise ValueError(f"{expected}. Received: model {part.name!r}")
    if as_images and float(as_images(np.zeros(1, "float32"))[0]):  # the model gives logits
        found.append({"kind": "activation", "activation": "sigmoid"})
    return found


def text(data: bytes) -> str:
    """Bytes as they stand in HTML."""
    return base64.b64encode(data).decode()


def _written(layer: Any, shape: tuple[int, ...]) -> list[dict]:
    """The layer on inputs of `shape`, none if arrays, which are flat in the page, stay the same."""
    kind = type(layer).__name__ if type(layer).__module__.startswith("keras.") else "its own"
    if kind in _SAME:
        return []
    if kind == "Activation":
        return [{"kind": "activation", "activation": _activation(layer)}]
    if kind == "Dense" and len(shape) == 1:
        return [{"kind": "dense"} | _weights(layer, (0,))]
    if kind == "LayerNormalization" and len(shape) == 1 and not layer.weights:
        return [{"kind": "standardised", "epsilon": layer.epsilon}]
    if getattr(layer, "data_format", "channels_last") == "channels_last":
        if kind == "Cropping2D":
            return [{"kind": "crop", "shape": shape, "by": layer.cropping}]
        if kind in _CONVOLUTIONS and layer.padding == "same" and layer.dilation_rate == (1, 1):
            name, axes = _CONVOLUTIONS[kind]
            plain = getattr(layer, "groups", 1) == 1
            if plain and getattr(layer, "output_padding", None) is None:
                geometry = {"shape": shape, "size": layer.kernel_size, "stride": layer.strides}
                return [{"kind": name} | geometry | _weights(layer, axes)]
    expected = (
        "The page runs dense layers and standardisation on codes (batch, units), convolutions, "
        "transposed ones and crops of images with the channels last (padding 'same', no dilation), "
        "and activations"
    )
    received = f"layer {layer.name!r}, a {type(layer).__name__}"
    raise ValueError(f"{expected}. Received: {received}")


def _weights(layer: Any, axes: tuple[int, ...]) -> dict[str, Any]:
    """Kernel and bias as text; the kernel in whole steps, of one size for each unit.

    Kernels that 8-bit steps of a power of two or float16 hold as they are stay as they are.
    """
    import keras

    kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float32")
    kernel = array(f"{layer.name}.kernel", kernel)
    largest = np.abs(kernel).max(axis=axes, keepdims=True).clip(1e-30)  # above 0
    coarse = 2 ** np.ceil(np.log2(largest / 127))
    if (kernel % coarse == 0).all():
        kind, step = "int8", coarse
    elif (kernel == kernel.astype("float16")).all():
        kind, step = "float16", np.ones_like(coarse)
    else:
        kind, step = "int16", largest / 32767
    steps = kernel / step if kind == "float16" else np.rint(kernel / step)
    bias = np.zeros(step.size) if layer.bias is None else keras.ops.convert_to_numpy(layer.bias)
    arrays = {"kernel": steps.astype(np.dtype(kind).newbyteorder("<"))}
    arrays |= {"step": step.astype("<f4"), "bias": bias.astype("<f4")}
    texts = {name: text(values.tobytes()) for name, values in arrays.items()}
    return {"activation": _activation(layer), "numbers": kind} | texts


def _activation(layer: Any) -> str:
    import keras

    function = layer.activation
    name = getattr(function, "__name__", repr(function))
    if name not in ACTIVATIONS or function is not getattr(keras.activations, name):
        expected = f"The page runs the activations {', '.join(ACTIVATIONS)}"
        raise ValueError(f"{expected}. Received: layer {layer.name!r} with activation {name!r}")
    return name
