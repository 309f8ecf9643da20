"""Greedy layer-wise pretraining: a deep network, one shallow autoencoder at a time.

Layer h is trained as the encoder of an autoencoder of its own, on the codes of the layer below:
x^h = f^h(x^(h-1)), where x^0 are the images. Then the encoders are stacked, the decoders are
stacked in reverse, and the whole is fine-tuned from there.
"""

import math
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import layers

from aelib.autoencoder import Autoencoder, TransposedDense
from aelib.losses import BernoulliCrossEntropy, SquaredError


@dataclass(frozen=True)
class Stack:
    """What `pretrain` leaves: two halves of a deep autoencoder, and how each layer was trained.

    `autoencoder()` and `classifier(n_classes)` do not copy: fine-tuning them changes `encoder` and
    `decoder`. To fine-tune several times from the same start, begin each time with `copy()`.

    Attributes:
        encoder: `keras.Sequential` from images `(batch, ...)` to the last code. Its layers
            `encode_1`, `encode_2`, ... are the pretrained ones, bottom first.
        decoder: `keras.Sequential` from the last code to images, float32, of the shape of the
            input. Its layers are the dropped decoders, top first: ..., `decode_2`, `decode_1`.
        histories: for each layer, bottom first, what `fit` recorded: a dict from `"loss"` (and
            the name of the sparsity layer, if any) to one number for each epoch.
    """

    encoder: keras.Sequential
    decoder: keras.Sequential
    histories: tuple[dict[str, list[float]], ...]

    def autoencoder(self) -> Autoencoder:
        """The deep autoencoder over `encoder` and `decoder`, not compiled."""
        return Autoencoder(self.encoder, self.decoder)

    def classifier(self, n_classes: int) -> keras.Sequential:
        """`encoder` and, on its code, a new `Dense` layer of logits `(batch, n_classes)`, float32.

        Not compiled. Raises `ValueError` if `n_classes` is no whole number of at least 2.
        """
        n_classes = _whole("n_classes", n_classes, 2)
        logits = layers.Dense(n_classes, dtype="float32", name="logits")
        return keras.Sequential([keras.Input(self.encoder.input_shape[1:]), self.encoder, logits])

    def copy(self) -> "Stack":
        """A stack with the same weights, at this moment, in variables of its own."""
        parts = {"encoder": self.encoder, "decoder": self.decoder}
        return replace(self, **{name: _with_weights(part) for name, part in parts.items()})


def pretrain(
    x: np.ndarray,
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
    jit_compile: bool | str = "auto",
    verbose: bool | int = True,
) -> Stack:
    """Trains one dense autoencoder for each of `units`, each on the codes of the one below.

    What goes up are the codes of clean inputs, as they are before the sparsity layer. At most two
    layers' codes are in memory. `keras.utils.set_random_seed` before it makes it repeatable.

    `epochs`, `corruption`, `sparsity`, `activation`, `loss` and `optimizer` are given once, for all
    layers, or as a list with one entry for each, bottom first. A layer or optimizer that is given
    serves as a pattern: every layer of the stack gets a new one with its config.

    Args:
        x: `(n, ...)`, images, or vectors `(n, inputs)`.
        units: sizes of the codes, bottom first.
        epochs: of each layer's training.
        corruption: of the layer's input, in training only (notebook 06): for the first layer of
            the images, for the others of the codes below.
        sparsity: layer on the layer's code (notebook 04), while this layer is trained; no part
            of the stack. After `KSparse` the stacked code, and what the next layer learns from,
            has all units on.
        activation: of the layer's code; None is linear. The decoder of the layer above ends with
            it too, since it gives these codes.
        output_activation: of the images that the first decoder gives.
        loss: between what the layer's decoder gives and what its encoder got, clean. None is
            `SquaredError()`; `BernoulliCrossEntropy(from_logits=False)` fits a decoder that ends
            with a sigmoid.
        optimizer: name or optimizer; its schedule starts anew with each layer.
        batch_size: images in a batch.
        tied: whether each decoder's kernel is the encoder's, transposed, while they are trained as
            a pair. In the stack the two start equal and go on as two.
        jit_compile: as in `keras.Model.compile`.
        verbose: whether to print a line for each layer.

    Returns: a `Stack`.

    Raises:
        ValueError: for images that are empty, of rank below 2 or not finite; for sizes, epochs
            and a batch that are no whole numbers above 0; for lists of another length than
            `units`; for a corruption or sparsity that is no layer; for a Bernoulli loss that
            does not fit the decoder's last activation.

    Example:

        stack = pretrain(x, [1000, 500, 250, 30], epochs=10, activation=["sigmoid"] * 3 + [None])
        model = stack.autoencoder()
        model.compile("adam", SquaredError())
        model.fit(x, epochs=20)

    Reference: Bengio, Lamblin, Popovici & Larochelle, "Greedy layer-wise training of deep
    networks", 2007; Hinton & Salakhutdinov, "Reducing the dimensionality of data with neural
    networks", 2006 (the decoders mirrored, unrolled and fine-tuned); Vincent et al., "Stacked
    denoising autoencoders", 2010, section 3.5 (the codes of clean inputs go up).
    """
    codes = np.asarray(x)
    if codes.ndim < 2 or not codes.size:
        raise ValueError(
            "x is an array of at least one image, with rank 2 or more. "
            f"Received: x.shape={codes.shape}"
        )
    if not isinstance(units, list | tuple) or not units:
        raise ValueError(f"units is a list of one size or more. Received: units={units!r}")
    units = [_whole("units", width) for width in units]
    count, shape = len(units), codes.shape[1:]
    epochs = [_whole("epochs", number) for number in _per_layer("epochs", epochs, count)]
    batch_size = _whole("batch_size", batch_size)
    settings = {
        "activation": activation,
        "corruption": corruption,
        "sparsity": sparsity,
        "loss": loss,
        "optimizer": optimizer,
    }
    settings = {name: _per_layer(name, value, count) for name, value in settings.items()}
    settings["units"] = units
    settings["shape"] = [shape, *((width,) for width in units[:-1])]
    # What a decoder gives has the range of what its encoder got.
    settings["output_activation"] = [output_activation, *settings["activation"][:-1]]

    # All pairs are built before the first is trained: what does not fit shows at once.
    pairs = [
        _pair(number, tied, jit_compile, **dict(zip(settings, values, strict=True)))
        for number, values in enumerate(zip(*settings.values(), strict=True), 1)
    ]
    histories = []
    for number, (pair, width) in enumerate(zip(pairs, units, strict=True), 1):
        fitted = pair.fit(codes, epochs=epochs[number - 1], batch_size=batch_size, verbose=0)
        histories.append(fitted.history)
        if verbose:
            losses = fitted.history["loss"]
            sizes = f"{math.prod(codes.shape[1:])} -> {width}"
            print(f"layer {number} of {count}: {sizes}, loss {losses[0]:.4g} -> {losses[-1]:.4g}")
        if number < count:
            codes = pair.encode(codes)
    upwards = [pair.encoder.layers[-1] for pair in pairs]
    downwards = [_untied(pair.decoder.layers[-2]) for pair in reversed(pairs)]
    return Stack(
        keras.Sequential([keras.Input(shape), layers.Flatten(), *upwards]),
        keras.Sequential(
            [keras.Input(units[-1:]), *downwards, layers.Reshape(shape, dtype="float32")]
        ),
        tuple(histories),
    )


def set_trainable(model: keras.Model, part: keras.layers.Layer, trainable: bool) -> None:
    """Freezes (`trainable=False`) or unfreezes a part of a model, and compiles the model again.

    In Keras `part.trainable = False` after `compile` has no effect on a model that has been
    trained, and no warning says so. Here a compiled model is compiled again with the same loss,
    metrics and optimizer, which starts anew (its averages, its count of steps). To go on with
    another learning rate, compile the model yourself afterwards. A part is frozen in every model
    that contains it, and this function compiles only the one that it is given.

    Args:
        model: a model, compiled or not.
        part: a layer in it, at any depth, for instance `stack.encoder` in `stack.classifier(10)`.
        trainable: whether its weights are trained from now on.

    Raises:
        ValueError: if the part is no layer of the model.
    """
    if not any(part is layer for layer in model._flatten_layers()):
        raise ValueError(f"The part is a layer of the model. Received: part={part!r}")
    part.trainable = trainable
    if model.compiled:
        model.compile_from_config(model.get_compile_config())


def _pair(
    number,
    tied,
    jit_compile,
    *,
    shape,
    units,
    activation,
    output_activation,
    corruption,
    sparsity,
    loss,
    optimizer,
) -> Autoencoder:
    """The shallow autoencoder of one layer, compiled."""
    # Images in full precision under every policy; codes as the policy has them.
    dtype = "float32" if number == 1 else None
    up = layers.Dense(units, activation, name=f"encode_{number}")
    options = {"activation": output_activation, "dtype": dtype, "name": f"decode_{number}"}
    encoder = keras.Sequential([keras.Input(shape), layers.Flatten(), up])
    decoder = keras.Sequential([keras.Input((units,))])
    if sparsity is not None:
        # Here, at the door of the decoder, so that `encode` gives the code without it.
        decoder.add(_copy("sparsity", sparsity))
    decoder.add(
        TransposedDense(up, **options) if tied else layers.Dense(math.prod(shape), **options)
    )
    decoder.add(layers.Reshape(shape, dtype=dtype))
    if corruption is not None:
        corruption = _copy("corruption", corruption)
    pair = Autoencoder(encoder, decoder, corruption)
    loss = loss or SquaredError()
    _check_loss(loss, decoder.layers[-2].activation)
    optimizer = keras.optimizers.get(optimizer)
    # A copy: an optimizer belongs to the variables that it has first seen.
    optimizer = type(optimizer).from_config(optimizer.get_config())
    pair.compile(optimizer, loss, jit_compile=jit_compile)
    return pair


def _untied(layer: layers.Dense | TransposedDense) -> layers.Dense:
    """The layer itself, or in place of a transposed one a dense layer that starts equal to it."""
    if isinstance(layer, layers.Dense):
        return layer
    units, inputs = reversed(layer.dense.kernel.shape)
    dense = layers.Dense(inputs, layer.activation, dtype=layer.dtype_policy, name=layer.name)
    dense.build((None, units))
    dense.set_weights([np.transpose(layer.dense.kernel), layer.bias])
    return dense


def _with_weights(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _whole(name: str, value, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(
            f"A whole number of at least {least} is needed. Received: {name}={value!r}"
        )
    return int(value)


def _per_layer(name: str, value, count: int) -> list:
    if not isinstance(value, list | tuple):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{name} is given once for all {count} layers or as a list with one entry for each. "
            f"Received: {name}={value!r}"
        )
    return list(value)


def _copy(name: str, layer) -> keras.layers.Layer:
    if not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"{name} is made of Keras layers or None. Received: {name}={layer!r}")
    return type(layer).from_config(layer.get_config())


def _check_loss(loss, activation) -> None:
    if isinstance(loss, BernoulliCrossEntropy):
        needed = keras.activations.linear if loss.from_logits else keras.activations.sigmoid
        if activation is not needed:
            raise ValueError(
                f"The Bernoulli loss with from_logits={loss.from_logits} needs a decoder that ends "
                f"with {needed.__name__}. Received: activation={activation.__name__}"
            )
