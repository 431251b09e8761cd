"""What the two published versions of airbench94 share: network, whitening, augmentation, evaluation. PyTorch.

Written from the recipe's mathematics (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv
2404.00498) and checked against the numbers of the published programs (airbench_versions.py names them).
"""

import torch
from torch import nn
from torch.nn import functional

from core.data.data_set import MEAN, STD

CLASSES = 10
MAX_SHIFT = 2  # pixels by which a training image is shifted, at most
WHITENING_IMAGES, WHITENING_EPSILON = 5_000, 5e-4
NORM_EPSILON = 1e-12
NORM_MOMENTUM = 0.4  # batch norm: the weight of the new value (PyTorch's convention)


class Block(nn.Sequential):
    """Convolution 3x3, (max-pooling 2,) batch norm, GELU.  [N,Cin,H,W] -> [N,Cout,H or H/2,W or W/2]."""

    def __init__(self, in_channels: int, out_channels: int, pool: bool):
        convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        nn.init.dirac_(convolution.weight[:in_channels].detach())  # the first Cin filters are the identity
        norm = nn.BatchNorm2d(out_channels, NORM_EPSILON, NORM_MOMENTUM)
        norm.weight.requires_grad_(False)  # gamma stays 1
        super().__init__(convolution, *([nn.MaxPool2d(2)] if pool else []), norm, nn.GELU())


class Airbench(nn.Module):
    """The network of the recipe: 1,971,352 learned numbers.  Standardized [N,3,32,32] -> logits [N,10].

    Convolutions and the dense layer keep PyTorch's initialization, U(-b, b) with b = 1/sqrt(fan-in), which is the
    recipe's. logit_scale: the factor behind the dense layer.
    """

    def __init__(self, logit_scale: float):
        super().__init__()
        self.logit_scale = logit_scale
        self.whitening = nn.Conv2d(3, 24, 2)  # -> [N,24,31,31]
        self.whitening.weight.requires_grad_(False)  # computed from the images
        self.blocks = nn.Sequential(
            Block(24, 64, pool=True), Block(64, 64, pool=False),  # -> [N,64,15,15]
            Block(64, 256, pool=True), Block(256, 256, pool=False),  # -> [N,256,7,7]
            Block(256, 256, pool=True), Block(256, 256, pool=False),  # -> [N,256,3,3]
        )  # fmt: skip
        self.dense = nn.Linear(256, CLASSES, bias=False)

    def forward(self, x):  # noqa: D102
        x = self.blocks(functional.gelu(self.whitening(x)))
        return self.dense(functional.max_pool2d(x, 3).flatten(1)) * self.logit_scale

    @property
    def kernels(self) -> list[nn.Parameter]:
        """The kernels [Cout,Cin,3,3] of the learned convolutions."""
        return [block[0].weight for block in self.blocks]

    @property
    def norm_biases(self) -> list[nn.Parameter]:
        """Beta of each batch norm."""
        return [module.bias for module in self.modules() if isinstance(module, nn.BatchNorm2d)]


def standardized(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N,H,W,3] -> float32 [N,3,H,W], channels last in memory."""
    x = (images.float() / 255 - torch.from_numpy(MEAN)) / torch.from_numpy(STD)
    return x.permute(0, 3, 1, 2)


def whitening_kernel(images: torch.Tensor) -> torch.Tensor:
    """Filters [24,3,2,2] that make 2x2 patches of standardized images [N,3,H,W] white, and their negatives.

    C = V diag(l) V' is the uncentred covariance of all patches; filter i is v_i / sqrt(l_i + epsilon).
    """
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1)  # [N,3,H-1,W-1,2,2]
    rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    variances, directions = torch.linalg.eigh(rows.T @ rows / len(rows))  # [12], columns of [12,12]
    filters = (directions / torch.sqrt(variances + WHITENING_EPSILON)).T.reshape(12, 3, 2, 2)
    return torch.cat([filters, -filters])


def windows(padded: torch.Tensor, corners: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """A window of each padded image, mirrored where told.  [N,H+2p,W+2p,3], [N,2], [N] bool -> [N,32,32,3]."""
    index = torch.arange(32)
    rows = corners[:, :1] + index  # [N,32]
    columns = corners[:, 1:] + torch.where(mirrored[:, None], 31 - index, index)  # [N,32]
    return padded[torch.arange(len(padded))[:, None, None], rows[:, :, None], columns[:, None, :]]


def reflected(images: torch.Tensor, pixels: int) -> torch.Tensor:
    """Pad by reflection.  uint8 [N,32,32,3] -> uint8 [N,32+2p,32+2p,3]."""
    order = functional.pad(torch.arange(32.0)[None, None], (pixels, pixels), "reflect").long().flatten()
    return images[:, order][:, :, order]


def batches(images: torch.Tensor, labels: torch.Tensor, batch_size: int, total_steps: int):
    """(standardized images, labels) of each step: shuffled by epoch, shifted, alternately mirrored.

    A random half of the images is mirrored in the first epoch, the other half in the next, and so on. The images left
    over at the end of an epoch are skipped.
    """
    padded = reflected(images, MAX_SHIFT)
    mirrored = torch.rand(len(images)) < 0.5
    for step in range(total_steps):
        epoch, position = divmod(step, len(images) // batch_size)
        if position == 0:
            order = torch.randperm(len(images))
        chosen = order[position * batch_size : (position + 1) * batch_size]
        corners = torch.randint(2 * MAX_SHIFT + 1, (batch_size, 2))
        x = windows(padded[chosen], corners, mirrored[chosen] ^ (epoch % 2 == 1))
        yield standardized(x), labels[chosen]


@torch.inference_mode()
def accuracies(network: Airbench, images, labels, precision: str) -> tuple[float, float]:
    """(accuracy, accuracy with test-time augmentation) on uint8 [N,32,32,3], int64 [N].

    Test-time augmentation: the mean logits of the image (weight 1/2) and of two diagonal shifts by one pixel (1/4
    each), each of them half as it is, half mirrored.
    """
    network.eval()
    correct = correct_augmented = 0
    for start in range(0, len(images), 500):
        padded, y = reflected(images[start : start + 500], 1), labels[start : start + 500]
        mean = torch.zeros(len(y), CLASSES)
        for corner, weight in ((1, 0.25), (0, 0.125), (2, 0.125)):
            for mirrored in (False, True):
                x = windows(padded, torch.full((len(y), 2), corner), torch.full((len(y),), mirrored))
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                    logits = network(standardized(x)).float()
                mean += weight * logits
                if corner == 1 and not mirrored:
                    correct += int((logits.argmax(1) == y).sum())
        correct_augmented += int((mean.argmax(1) == y).sum())
    return correct / len(images), correct_augmented / len(images)
