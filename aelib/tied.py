"""Tied weights: a decoder's layer that uses the kernel of an encoder's layer, transposed."""

import keras
from keras import ops

from aelib.training import layers_of


@keras.saving.register_keras_serializable(package="aelib")
class TransposedDense(keras.layers.Layer):
    """A dense layer whose kernel is the transpose of another's: tied weights.

    Both layers train one kernel, before and after saving and loading; this one adds only its bias.

    Args:
        dense: the `keras.layers.Dense` whose kernel is shared. Build it first, for
            instance by giving the encoder an `Input`.
        activation: of the output; None is linear.

    Input shape: `(batch, ..., units)` of `dense`.
    Output shape: `(batch, ..., inputs)` of `dense`.

    Raises:
        ValueError: if `dense` is no `Dense` layer, is not built, or has other units.

    Reference: Vincent et al., "Extracting and composing robust features with denoising
    autoencoders", 2008, section 2.1: W' = W^T.
    """

    def __init__(self, dense, activation=None, **kwargs):
        if not isinstance(dense, keras.layers.Dense):
            raise ValueError(f"`dense` must be a keras.layers.Dense. Received: dense={dense!r}")
        super().__init__(**kwargs)
        self.dense = dense
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        if not self.dense.built:
            received = f"dense={self.dense.name!r}, which has no kernel yet"
            raise ValueError(f"Build the dense layer before its transpose. Received: {received}")
        inputs, units = self.dense.kernel.shape
        if input_shape[-1] != units:
            expected = f"the {units} units of the dense layer"
            raise ValueError(f"The last axis must hold {expected}. Received: {input_shape=}")
        self.bias = self.add_weight((inputs,), "zeros", name="bias")

    def call(self, z):
        return self.activation(ops.matmul(z, ops.transpose(self.dense.kernel)) + self.bias)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.dense.kernel.shape[0])

    def get_config(self):
        dense = keras.saving.serialize_keras_object(self.dense)
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "dense": dense, "activation": activation}

    @classmethod
    def from_config(cls, config):
        dense = keras.saving.get_registered_object(f"tied>{config['dense']['config']['name']}")
        if dense is None:
            dense = keras.saving.deserialize_keras_object(config["dense"])
        return cls(**{**config, "dense": dense})


def tied_layers(encoder, decoder) -> list[str]:
    """Names of the dense layers that encoder and decoder share, by which a file knows them."""
    inside, used = _dense_layers(encoder), _dense_layers(decoder)
    tied = [name for name, dense in used if any(dense is other for _, other in inside)]
    names = [name for name, _ in {(name, id(dense)) for name, dense in inside}]
    twice = [name for name in tied if names.count(name) > 1]
    if twice:
        raise ValueError(f"Tied layers must have names of their own. Received: {twice} twice")
    return list(dict.fromkeys(tied))


def tied_scope(encoder, names: list[str]):
    """Inside, a `TransposedDense` that is loaded takes its layer from this encoder.

    Keras restores a layer shared between two models only if neither has copied its config, and
    `Sequential` does.
    """
    layers = dict(_dense_layers(encoder))
    return keras.saving.custom_object_scope({f"tied>{name}": layers[name] for name in names})


def _dense_layers(layer) -> list[tuple[str, keras.layers.Dense]]:
    found = [part for part in layers_of(layer) if isinstance(part, keras.layers.Dense)]
    found += [part.dense for part in layers_of(layer) if isinstance(part, TransposedDense)]
    return [(part.name, part) for part in found]
