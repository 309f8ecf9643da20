"""Greedy layer-wise pretraining: a deep network, one shallow autoencoder at a time.

Layer h is trained as the encoder of an autoencoder of its own, on the codes of the layer below.
Then encoders are stacked, decoders are stacked in reverse, and the whole is fine-tuned.
"""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import ArrayLike

from aelib._checks import array, items, layer, whole
from aelib.autoencoder import Autoencoder
from aelib.losses import SquaredError
from aelib.tied import TransposedDense
from aelib.training import layers_of


@dataclass(frozen=True)
class Stack:
    """The result of `pretrain`: the two halves of a deep autoencoder.

    `autoencoder()` and `classifier(n_classes)` share its weights, so fine-tuning changes them; to
    fine-tune several times from the same start, begin with `copy()`.

    Attributes:
        encoder: from images `(batch, ...)` to the last code; layers `encode_1`, `encode_2`, ...
        decoder: from the last code to images, float32; layers ..., `decode_2`, `decode_1`.
    """

    encoder: keras.Sequential
    decoder: keras.Sequential

    def autoencoder(self) -> Autoencoder:
        """The deep autoencoder of `encoder` and `decoder`, not compiled."""
        return Autoencoder(self.encoder, self.decoder)

    def classifier(self, n_classes: int) -> keras.Sequential:
        """`encoder` with a new layer of logits, `(batch, n_classes)`, float32, not compiled."""
        n_classes = whole("n_classes", n_classes, 2)
        logits = layers.Dense(n_classes, dtype="float32", name="logits")
        return keras.Sequential([keras.Input(self.encoder.input_shape[1:]), self.encoder, logits])

    def copy(self) -> "Stack":
        """A stack with the current weights, in variables of its own."""
        return Stack(_with_weights(self.encoder), _with_weights(self.decoder))


def pretrain(
    x: ArrayLike,
    units: list[int],
    *,
    epochs: int | list[int],
    corruption: keras.layers.Layer | list | None = None,
    sparsity: keras.layers.Layer | list | None = None,
    activation: str | list | None = "sigmoid",
    output_activation: str | None = "sigmoid",
    loss: keras.losses.Loss | list | None = None,
    optimizer: str | keras.optimizers.Optimizer | list = "adam",
    batch_size: int = 128,
    tied: bool = False,
    verbose: bool | int = True,
) -> Stack:
    """Trains one dense autoencoder for each of `units`, each on the codes of the one below.

    The next layer gets the codes of clean inputs, before the sparsity layer. At most two layers'
    codes are in memory. Call `keras.utils.set_random_seed` first to make it repeatable.

    `epochs`, `activation`, `corruption`, `sparsity`, `loss` and `optimizer` are one value for all
    layers or a list, bottom first. Layers and optimizers that are given are copied.

    Args:
        x: `(n, ...)`, images, or vectors `(n, inputs)`.
        units: sizes of the codes, bottom first.
        epochs: int >= 1.
        corruption: layer on the input of a pair (images or codes below), in training only.
        sparsity: layer on the code during pretraining, not part of the stack. After `KSparse` the
            stacked code, and what the next layer learns from, has all units on.
        activation: of the code, and of the decoder above, which reconstructs it; None is linear.
        output_activation: of the first decoder, which reconstructs the images.
        loss: between the decoder's output and the clean input. None is `SquaredError()`;
            `BernoulliCrossEntropy(from_logits=False)` fits decoders that end with a sigmoid.
        optimizer: name or optimizer; its schedule starts anew with each layer.
        batch_size: int >= 1.
        tied: whether a decoder's kernel is the encoder's, transposed, during pretraining only.
        verbose: whether to print a line for each layer.

    Raises:
        ValueError: Also if a Bernoulli loss does not fit the decoder's activation.

    Reference: Bengio, Lamblin, Popovici & Larochelle, "Greedy layer-wise training of deep
    networks", 2007; Hinton & Salakhutdinov, "Reducing the dimensionality of data with neural
    networks", 2006; Vincent et al., "Stacked denoising autoencoders", 2010, section 3.5.
    """
    x = array("x", x, rank=2)
    batch_size = whole("batch_size", batch_size, 1)
    shared = {"epochs": epochs, "corruption": corruption, "sparsity": sparsity}
    shared |= {"activation": activation, "loss": loss, "optimizer": optimizer}
    units = [whole("units", size, 1) for size in items("units", units)]
    settings = _per_layer(len(units), units=units, **shared)
    rounds = [whole("epochs", each.pop("epochs"), 1) for each in settings]
    # All pairs are built before the first is trained, so that errors show at once.
    pairs, shape = [], x.shape[1:]
    for level, each in enumerate(settings, 1):
        pairs.append(_pair(level, shape, output_activation, tied, **each))
        # What a decoder gives has the range of what its encoder got.
        shape, output_activation = (each["units"],), each["activation"]
    _train(pairs, rounds, x, batch_size, verbose)
    upwards = [pair.encoder.layers[-1] for pair in pairs]
    downwards = [_untied(pair.decoder.layers[-2]) for pair in reversed(pairs)]
    images = layers.Reshape(x.shape[1:], dtype="float32")
    return Stack(
        keras.Sequential([keras.Input(x.shape[1:]), layers.Flatten(), *upwards]),
        keras.Sequential([keras.Input(shape), *downwards, images]),
    )


def set_trainable(model: keras.Model, part: keras.layers.Layer, trainable: bool) -> None:
    """Freezes (`trainable=False`) or unfreezes a part of a model, and compiles the model again.

    Keras ignores `part.trainable = False` after `compile` and training, without a warning. Here a
    compiled model is compiled again with the same loss, metrics and optimizer, which starts anew.
    Other models that contain the part are not.

    Args:
        model: a model, compiled or not.
        part: a layer in it, at any depth, such as `stack.encoder` in `stack.classifier(10)`.
        trainable: whether its weights are trained from now on.
    """
    if not any(part is inside for inside in layers_of(model)):
        raise ValueError(f"`part` must be a layer of the model. Received: part={part!r}")
    part.trainable = trainable
    if model.compiled:
        model.compile_from_config(model.get_compile_config())


def _pair(
    level: int,
    shape: tuple[int, ...],
    output_activation: Any,
    tied: bool,
    *,
    units: int,
    activation: Any,
    corruption: Any,
    sparsity: Any,
    loss: Any,
    optimizer: Any,
) -> Autoencoder:
    """The shallow autoencoder of one layer, compiled."""
    up = layers.Dense(units, activation, name=f"encode_{level}")
    encoder = keras.Sequential([keras.Input(shape), layers.Flatten(), up])
    # Images in full precision under every policy; codes as the policy has them.
    dtype = "float32" if level == 1 else None
    options = {"activation": output_activation, "name": f"decode_{level}", "dtype": dtype}
    size = math.prod(shape)
    down = TransposedDense(up, **options) if tied else layers.Dense(size, **options)
    # Sparsity in the decoder, so that `encode` gives the code without it.
    penalty, images = _copies("sparsity", sparsity), layers.Reshape(shape, dtype=dtype)
    decoder = keras.Sequential([keras.Input((units,)), *penalty, down, images])
    loss = loss or SquaredError()
    optimizer = keras.optimizers.get(optimizer)
    # A copy: an optimizer belongs to the variables that it has first seen.
    optimizer = type(optimizer).from_config(optimizer.get_config())
    pair = Autoencoder(encoder, decoder, *_copies("corruption", corruption))
    pair.compile(optimizer, loss)
    return pair


def _train(pairs: list[Autoencoder], rounds: list[int], codes, batch_size: int, verbose) -> None:
    for level, (pair, epochs) in enumerate(zip(pairs, rounds, strict=True), 1):
        fitted = pair.fit(codes, epochs=epochs, batch_size=batch_size, verbose=0)
        if verbose:
            losses, units = fitted.history["loss"], pair.encoder.output_shape[-1]
            sizes = f"{math.prod(pair.encoder.input_shape[1:])} -> {units}"
            change = f"loss {losses[0]:.4g} -> {losses[-1]:.4g}"
            print(f"layer {level} of {len(pairs)}: {sizes}, {change}")
        if pair is not pairs[-1]:
            codes = pair.encode(codes)


def _untied(decoder: layers.Dense | TransposedDense) -> layers.Dense:
    """The layer itself, or in place of a transposed one a dense layer that starts equal to it."""
    if isinstance(decoder, layers.Dense):
        return decoder
    kernel, dtype = np.transpose(decoder.dense.kernel), decoder.dtype_policy
    dense = layers.Dense(kernel.shape[1], decoder.activation, dtype=dtype, name=decoder.name)
    dense.build((None, len(kernel)))
    dense.set_weights([kernel, decoder.bias])
    return dense


def _with_weights(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _per_layer(count: int, **settings) -> list[dict[str, Any]]:
    """The settings of each layer, from one value for all or a list for each setting."""
    lists = {}
    for name, value in settings.items():
        lists[name] = value if isinstance(value, list | tuple) else [value] * count
        if len(lists[name]) != count:
            raise ValueError(f"`{name}` must have {count} entries. Received: {name}={value!r}")
    return [{name: values[h] for name, values in lists.items()} for h in range(count)]


def _copies(name: str, pattern: Any) -> list[keras.layers.Layer]:
    """A new layer with the config of `pattern`, or none if it is None."""
    if layer(name, pattern, optional=True) is None:
        return []
    return [type(pattern).from_config(pattern.get_config())]
