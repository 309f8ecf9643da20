"""Whether a loss, a target or a file format fits the model."""

from typing import Any

import keras
import tensorflow as tf

from aelib.training import layers_of

_PASS_ON = "Reshape Flatten Permute Cropping1D Cropping2D Cropping3D Dropout Identity InputLayer"
_INTO_UNIT_INTERVAL = ("sigmoid", "hard_sigmoid", "softmax", "sparse_sigmoid")
_SPARSE = ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")


def check_linear(encoder: keras.layers.Layer) -> None:
    """Means and log-variances take both signs, which an activation would cut off."""
    if last_activation(encoder) not in (None, "linear"):
        expected = "The encoder must end in a layer without activation"
        raise ValueError(f"{expected}. Received: activation={last_activation(encoder)}")


def check_loss(loss: Any, model: keras.Model) -> None:
    """What can be seen in `compile`."""
    _check_activation(loss, model.decoder)
    _check_penalties(loss, model)


def last_activation(layer: keras.layers.Layer) -> str | None:
    """The name of the activation that the output of a layer or model comes from, if one is seen."""
    for part in reversed(layers_of(layer)[1:] or [layer]):
        if type(part).__name__ in _PASS_ON.split():
            continue
        activation = getattr(part, "activation", None)
        return getattr(activation, "__name__", None)
    return None


def _check_activation(loss: Any, decoder: keras.layers.Layer) -> None:
    """The last sigmoid is either the decoder's or, with `from_logits`, the loss's."""
    from_logits = getattr(loss, "from_logits", None)
    activation = last_activation(decoder)
    if from_logits is None or activation is None:
        return
    is_builtin = getattr(keras.activations, activation, None) is not None
    if not is_builtin:
        return
    if from_logits and activation != "linear":
        expected = "A loss on logits takes the last sigmoid itself: end the decoder without one"
    elif not from_logits and activation not in _INTO_UNIT_INTERVAL:
        expected = "The decoder must end in a sigmoid, or the loss be given from_logits=True"
    else:
        return
    received = f"from_logits={from_logits}, activation={activation}"
    raise ValueError(f"{expected}. Received: {received}")


def _check_penalties(loss: Any, model: keras.Model) -> None:
    """A penalty summed over units is not added to a mean over pixels, which it would drown."""
    is_mean = isinstance(loss, str) or type(loss).__module__.startswith("keras.")
    penalties = [part for part in layers_of(model) if getattr(part, "penalises", False)]
    if is_mean and penalties:
        names = ", ".join(type(part).__name__ for part in penalties)
        expected = "A penalty per image needs a loss per image, such as SquaredError()"
        received = f"loss={loss!r}, a mean over pixels, beside {names}"
        raise ValueError(f"{expected}. Received: {received}")


def check_target(loss: Any, y: Any, y_pred: Any) -> None:
    """A target has the shape of the reconstruction; labels, which come with images, have not."""
    if not hasattr(y, "shape") or not hasattr(y_pred, "shape"):
        return
    if getattr(loss, "__name__", None) in _SPARSE or loss in _SPARSE:
        return
    if type(loss).__name__ in _SPARSE or tf.TensorShape(y.shape).is_compatible_with(y_pred.shape):
        return
    received = f"y.shape={tuple(y.shape)}, reconstruction.shape={tuple(y_pred.shape)}"
    expected = "A target must have the shape of the reconstruction; an autoencoder takes no labels"
    raise ValueError(f"{expected} (label_mode=None leaves them out). Received: {received}")


def check_export(model: keras.Model, format: str) -> None:
    """The shape of the input must be known, and the format must hold every layer."""
    if not model.built:
        raise ValueError(f"Call the model first, which builds it. Received: {model.built=}")
    noisy = [part.name for part in layers_of(model) if getattr(part, "draws_in_use", False)]
    if noisy and format != "tf_saved_model":
        expected = "Only tf_saved_model holds layers that draw noise in use"
        raise ValueError(f"{expected}. Received: format={format!r}, with {', '.join(noisy)}")


def check_saving(model: keras.Model) -> None:
    """Keras before 3.15 leaves `output_padding` out of files, which come back of another size."""
    for part in layers_of(model):
        lost = getattr(part, "output_padding", None) is not None
        if lost and "output_padding" not in part.get_config():
            expected = f"Keras {keras.__version__} cannot save `output_padding`: Keras 3.15 can"
            raise ValueError(f"{expected}. Received: layer {part.name!r}")
