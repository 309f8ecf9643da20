"""The networks and their training in PyTorch: the usual loop, over a tensor in memory."""

import os
from math import prod

import keras
import numpy as np
import torch
from keras import layers
from networks import EPSILON, RATE, Network
from torch import nn
from torch.nn import functional

torch.set_num_threads(os.cpu_count() or 1)


def trainer(network: Network, batch_size: int, x: np.ndarray, epochs: int, compiled: bool = False):
    """A function that trains `epochs` epochs; compiled, with the fused Adam as well."""
    torch.manual_seed(0)
    encoder, decoder = (nn.Sequential(*translated(half)) for half in network.start())
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, RATE, eps=EPSILON, fused=compiled)
    data = torch.from_numpy(np.moveaxis(x, -1, 1).copy() if x.ndim == 4 else x)

    def loss_of(batch):
        if not network.variational:
            return ((decoder(encoder(batch)) - batch) ** 2).flatten(1).sum(1).mean()
        mean, log_var = encoder(batch).chunk(2, dim=1)
        logits = decoder(mean + torch.exp(0.5 * log_var) * torch.randn_like(mean))
        pixels = functional.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum()
        return (pixels + kl) / len(batch)

    if compiled:
        loss_of = torch.compile(loss_of)

    def train() -> float:
        for _ in range(epochs):
            total = 0.0
            order = torch.randperm(len(data))
            for start in range(0, len(data), batch_size):
                loss = loss_of(data[order[start : start + batch_size]])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
        return total / (len(data) / batch_size)

    return train


def translated(half: keras.Sequential) -> list[nn.Module]:
    """The same layers with the same weights; images have their channels first.

    A 3 x 3 convolution with stride 2 pads at the other side than Keras does, as is usual in
    PyTorch: the network is that of mirrored images.
    """
    modules: list[nn.Module] = []
    rows = slice(None)  # in which order a dense layer after `Flatten` receives its inputs
    for layer, following in zip(half.layers, [*half.layers[1:], None], strict=True):
        match layer:
            case layers.Flatten():
                rows = channels_first(layer.input.shape[1:])
                modules.append(nn.Flatten())
            case layers.Reshape():
                modules.append(nn.Unflatten(1, (layer.target_shape[2], *layer.target_shape[:2])))
            case layers.Dense():
                reshaped = isinstance(following, layers.Reshape)
                columns = channels_first(following.target_shape) if reshaped else slice(None)
                modules += linear(layer, rows, columns)
                rows = slice(None)
            case layers.Conv2D() | layers.Conv2DTranspose():
                modules += convolution(layer)
            case layers.Cropping2D(cropping=((0, 0), (0, 0))):
                pass
            case _:
                raise TypeError(f"There is no translation of {type(layer).__name__}")
    return modules


def channels_first(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(prod(shape)).reshape(shape).transpose(2, 0, 1).ravel()


def linear(layer: layers.Dense, rows, columns) -> list[nn.Module]:
    module = nn.Linear(*layer.kernel.shape)
    kernel, bias = layer.get_weights()
    return with_weights(module, kernel[rows][:, columns].T, bias[columns], layer.activation)


def convolution(layer) -> list[nn.Module]:
    size, stride = layer.kernel_size[0], layer.strides[0]
    padding = (size - 1) // 2
    kernel, bias = layer.get_weights()
    channels = layer.input.shape[-1], layer.filters
    if isinstance(layer, layers.Conv2DTranspose):
        beyond = stride + 2 * padding - size
        module = nn.ConvTranspose2d(*channels, size, stride, padding, output_padding=beyond)
    else:
        module = nn.Conv2d(*channels, size, stride, padding)
    return with_weights(module, kernel.transpose(3, 2, 0, 1), bias, layer.activation)


def with_weights(module: nn.Module, kernel, bias, activation) -> list[nn.Module]:
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
        module.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)))
    return [module, nn.ReLU()] if activation is keras.activations.relu else [module]
