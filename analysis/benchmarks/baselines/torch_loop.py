"""The same network trained by a plain PyTorch loop. PyTorch is an optional extra: pip install ".[torch]"."""

import os
import time

import numpy as np
import torch
from torch import nn

from analysis.benchmarks.baselines.keras_fit import textbook_network
from core import layers, model
from core.data.batches import standardize
from core.speed.scale import Scale
from core.speed.whitening import Whitening


class Flatten(nn.Module):
    """y[n, (i*W + j)*C + c] = x[n,c,i,j]: the order of core.layers.Flatten. A view: the memory is channels last."""

    def forward(self, x):
        """[N,C,H,W] -> [N, H*W*C]."""
        return x.permute(0, 2, 3, 1).flatten(1)


class Multiplication(nn.Module):
    """y = factor x.  Any shape -> the same shape."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x):  # noqa: D102
        return self.factor * x


def from_numpy(variable) -> torch.Tensor:
    """A TensorFlow variable as a float32 tensor of its own memory."""
    return torch.tensor(np.asarray(variable))


def convolution(layer: layers.Convolution) -> nn.Module:
    """Kernel [kh,kw,Cin,Cout] -> weight [Cout,Cin,kh,kw]. Padding SAME only for stride 1, where the two agree."""
    same = nn.Conv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding.lower(),
        bias=layer.bias is not None,
    )  # fmt: skip
    return with_weights(same, weight=from_numpy(layer.kernel).permute(3, 2, 0, 1), bias=layer.bias)


def whitening(layer: Whitening) -> nn.Module:
    """A convolution that is not trained."""
    return convolution(layer).requires_grad_(False)


def dense(layer: layers.Dense) -> nn.Module:
    """W [in,out] -> weight [out,in]."""
    same = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    return with_weights(same, weight=from_numpy(layer.kernel).T, bias=layer.bias)


def batch_normalization(layer: layers.BatchNormalization) -> nn.Module:
    """PyTorch's momentum is the weight of the new value, here it is that of the old one."""
    same = nn.BatchNorm2d(layer.channels, layer.epsilon, 1 - layer.momentum)
    same.weight.requires_grad_(layer.use_scale)
    return with_weights(
        same, weight=layer.gamma, bias=layer.beta, running_mean=layer.moving_mean, running_var=layer.moving_variance
    )


def pooling(kind):
    """The builder of a pooling layer. Padding SAME is not offered: PyTorch pads both sides alike."""

    def build(layer: layers.MaxPooling | layers.AveragePooling) -> nn.Module:
        if layer.padding != "VALID":
            raise ValueError(f"layer '{layer.name}': PyTorch has no pooling with padding {layer.padding}; use VALID")
        return kind(layer.kernel_size, layer.stride)

    return build


def with_weights(module: nn.Module, **weights) -> nn.Module:
    """`module` with these parameters and buffers filled in; None is left as it is."""
    with torch.no_grad():
        for name, value in weights.items():
            if value is not None:
                getattr(module, name).copy_(value if isinstance(value, torch.Tensor) else from_numpy(value))
    return module


# Each layer in PyTorch. A layer that is new to core/layers/ gets its line here and in keras_fit.KERAS_BUILDERS.
BUILDERS = {
    layers.Convolution: convolution,
    layers.Dense: dense,
    layers.BatchNormalization: batch_normalization,
    layers.MaxPooling: pooling(nn.MaxPool2d),
    layers.AveragePooling: pooling(nn.AvgPool2d),
    layers.ReLU: lambda layer: nn.ReLU(),
    layers.LeakyReLU: lambda layer: nn.LeakyReLU(layer.slope),
    layers.Sigmoid: lambda layer: nn.Sigmoid(),
    layers.GELU: lambda layer: nn.GELU(),
    layers.Dropout: lambda layer: nn.Dropout(layer.rate),
    layers.Flatten: lambda layer: Flatten(),
    Whitening: whitening,
    Scale: lambda layer: Multiplication(layer.factor),
}


def torch_network(network: model.CNN) -> nn.Sequential:
    """The same layers with the same weights, memory channels last; [N,3,32,32] -> logits [N,10]."""
    same = nn.Sequential(*(BUILDERS[type(layer)](layer) for layer in network.layers))
    return same.to(memory_format=torch.channels_last)


def torch_images_per_second(settings, data, steps: int, warm_up: int, compiled: bool) -> float:
    """Training speed of a plain PyTorch loop over `steps` steps, after `warm_up` that are not timed.

    The settings' network, batch size, precision (bfloat16: autocast, the weights stay float32) and
    threads; shuffled images that are standardized already, SGD with Nesterov momentum, and the
    accuracy summed up as it goes. compiled: the network through torch.compile.
    """
    torch.set_num_threads(settings.threads or os.cpu_count())
    torch.manual_seed(settings.seed)
    network = torch_network(textbook_network(settings)).train()
    optimizer = torch.optim.SGD(
        network.parameters(), settings.learning_rate, settings.momentum,
        weight_decay=settings.weight_decay, nesterov=settings.momentum > 0,
    )  # fmt: skip
    forward = torch.compile(network) if compiled else network
    images = torch.from_numpy(standardize(data.train_images).numpy())  # [M,32,32,3] float32
    labels = torch.from_numpy(data.train_labels).long()  # [M]
    correct = torch.zeros(())
    began = time.perf_counter()
    for step in range(warm_up + steps):
        if step == warm_up:
            began = time.perf_counter()
        chosen = torch.randint(len(images), (settings.batch_size,))
        x, y = images[chosen].permute(0, 3, 1, 2), labels[chosen]  # [B,3,32,32], channels last in memory
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16"):
            logits = forward(x)  # [B,10]
        loss = nn.functional.cross_entropy(logits.float(), y)
        loss.backward()
        optimizer.step()
        correct += (logits.detach().argmax(1) == y).sum()
    return steps * settings.batch_size / (time.perf_counter() - began)
