"""The networks and their training in JAX, over an array in memory.

An epoch is one compiled `lax.scan` over its batches, or a loop over compiled steps.
"""

import jax
import keras
import numpy as np
from jax import lax
from jax import numpy as jnp
from keras import layers
from networks import EPSILON, RATE, Network

BETA_1, BETA_2 = 0.9, 0.999


def trainer(network: Network, batch_size: int, x: np.ndarray, epochs: int, scan: bool = True):
    """A function that trains `epochs` epochs."""
    halves = network.start()
    parameters = [[jnp.asarray(weight) for weight in half.get_weights()] for half in halves]
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state = {
        "weights": parameters,
        "m": zeros,
        "v": jax.tree.map(jnp.copy, zeros),
        "step": jnp.zeros(()),
    }
    data, key = jnp.asarray(x), jax.random.key(0)

    def loss_of(weights, batch, key):
        code = applied(halves[0], weights[0], batch)
        if not network.variational:
            difference = applied(halves[1], weights[1], code) - batch
            return jnp.sum(difference**2) / len(batch)
        mean, log_var = jnp.split(code, 2, axis=1)
        z = mean + jnp.exp(0.5 * log_var) * jax.random.normal(key, mean.shape)
        logits = applied(halves[1], weights[1], z)
        pixels = jnp.sum(jax.nn.softplus(logits) - logits * batch)
        kl = -0.5 * jnp.sum(1 + log_var - mean**2 - jnp.exp(log_var))
        return (pixels + kl) / len(batch)

    def step(state, given):
        indices, key = given
        loss, gradients = jax.value_and_grad(loss_of)(state["weights"], data[indices], key)
        return adam(state, gradients), loss

    compiled_step = jax.jit(step, donate_argnums=0)

    def epoch(state, key):
        for_order, for_noise = jax.random.split(key)
        order = jax.random.permutation(for_order, len(data)).reshape(-1, batch_size)
        keys = jax.random.split(for_noise, len(order))
        if scan:
            state, losses = lax.scan(step, state, (order, keys))
            return state, losses.mean()
        total = 0.0
        for given in zip(order, keys, strict=True):
            state, loss = compiled_step(state, given)
            total += loss
        return state, total / len(order)

    if scan:
        epoch = jax.jit(epoch, donate_argnums=0)

    def train() -> float:
        nonlocal state, key
        for _ in range(epochs):
            key, now = jax.random.split(key)
            state, loss = epoch(state, now)
        return float(loss)

    return train


def adam(state: dict, gradients) -> dict:
    """One step of Adam, as Keras takes it."""
    step = state["step"] + 1
    m = jax.tree.map(lambda m, g: m + (1 - BETA_1) * (g - m), state["m"], gradients)
    v = jax.tree.map(lambda v, g: v + (1 - BETA_2) * (g**2 - v), state["v"], gradients)
    rate = RATE * jnp.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
    weights = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), state["weights"], m, v
    )
    return {"weights": weights, "m": m, "v": v, "step": step}


def applied(half: keras.Sequential, weights: list, x):
    """The layers of `half`, with these weights in place of their own."""
    weights = iter(weights)
    for layer in half.layers:
        match layer:
            case layers.Flatten() | layers.Reshape():
                x = x.reshape(len(x), *layer.output.shape[1:])
            case layers.Dense():
                x = x @ next(weights) + next(weights)
            case layers.Conv2D():
                kernel = next(weights)
                x = lax.conv_general_dilated(x, kernel, layer.strides, "SAME", **NHWC)
                x = x + next(weights)
            case layers.Conv2DTranspose():
                kernel = next(weights)
                x = lax.conv_transpose(
                    x, kernel, layer.strides, "SAME", **NHWC, transpose_kernel=True
                )
                x = x + next(weights)
            case layers.Cropping2D(cropping=((0, 0), (0, 0))):
                continue
            case _:
                raise TypeError(f"There is no translation of {type(layer).__name__}")
        if getattr(layer, "activation", None) is keras.activations.relu:
            x = jax.nn.relu(x)
    return x


NHWC = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
