"""airbench94, the fast CIFAR-10 recipe, in PyTorch on the processor: what our own fast recipe is compared with.

    python analysis/airbench_peer.py --epochs 9.9 --seed 0
    python analysis/airbench_peer.py --steps 20            a first look: the loss should fall
    python analysis/airbench_peer.py --holdout             evaluated on training pictures that were kept aside

Written here from the recipe's mathematics (Jordan 2024, "94 % on CIFAR-10 in 3.29 seconds on a
single GPU", arXiv 2404.00498): whitening, identity start, alternating flip, Nesterov SGD with
decoupled weight decay, lookahead, six views at test. PyTorch is an optional extra, `pip install ".[torch]"`.

The last line is `plain=A six_views=A seconds=S images_per_second=R`: test accuracy from the picture
alone and from six views of it, and the seconds of training, evaluation and reading the files left
out, whitening and warming up included.
"""

import argparse
import importlib.util
import math
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def command_line() -> argparse.ArgumentParser:
    """What can be asked for."""
    line = argparse.ArgumentParser(prog="analysis/airbench_peer.py", description=__doc__.splitlines()[0])
    line.add_argument("--epochs", type=float, default=9.9, metavar="X", help="passes over the training images [9.9]")
    line.add_argument("--steps", type=int, default=0, metavar="N", help="stop after N steps of that schedule [all]")
    line.add_argument("--batch-size", type=int, default=1024, metavar="N", help="images a step [1024]")
    line.add_argument("--seed", type=int, default=0, metavar="N", help="of every random choice [0]")
    line.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16", help="[bfloat16]")
    line.add_argument("--threads", type=int, default=0, metavar="N", help="processor threads [all]")
    line.add_argument("--data", choices=("auto", "cifar10", "shapes10"), default="cifar10", help="[cifar10]")
    line.add_argument("--data-dir", metavar="DIR", default="", help="where cifar-10-batches-bin/ is")
    line.add_argument("--holdout", action="store_true", help="train on 9/10 of the training images, evaluate the rest")
    return line


if __name__ == "__main__":
    WORDS = command_line().parse_args()  # before PyTorch: --help does not need it
    if not importlib.util.find_spec("torch"):
        sys.exit('airbench_peer.py: PyTorch is not installed; to have it: python -m pip install --editable ".[torch]"')

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from analysis.support import common
from core import data as pictures
from core.run import run_folder

CLASSES, SHIFT = 10, 2  # pixels that a training picture is moved by, at most
MOMENTUM, SMOOTHING = 0.85, 0.2
# The loss is a sum over the batch. k turns a rate for a thousand pictures into one for a summed gradient.
K = 1024 * (1 + 1 / (1 - MOMENTUM))
RATE, SHIFT_RATE = 11.5 / K, 64 * 11.5 / K  # of every weight, and of the shifts of the batch norms
DECAY = 0.0153 / K  # times the batch size: the share of a weight that a step of full rate takes away
FIRST, PEAK_AT, LAST = 0.2, 0.23, 0.07  # of the rate: at the first step, where it is 1, at the last
WHITENING_EPOCHS = 3  # its bias learns no longer than that
LOOKAHEAD_EVERY = 5


class Block(nn.Sequential):
    """Convolution 3x3, (max-pooling 2,) batch norm, GELU.  [N,Cin,H,W] -> [N,Cout,H or H/2,W or W/2]."""

    def __init__(self, in_channels: int, out_channels: int, pool: bool):
        convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        nn.init.dirac_(convolution.weight[:in_channels].detach())  # the first Cin filters hand their channel on
        norm = nn.BatchNorm2d(out_channels, momentum=0.4)  # the weight of the new value
        norm.weight.requires_grad_(False)  # the scale stays 1
        super().__init__(convolution, *([nn.MaxPool2d(2)] if pool else []), norm, nn.GELU())


class Airbench(nn.Module):
    """The network of the recipe, 1,971,640 numbers.  Standardized [N,3,32,32] -> logits [N,10].

    PyTorch starts convolutions and dense layers as the recipe wants: U(-b, b), b = 1/sqrt(fan-in).
    """

    def __init__(self):
        super().__init__()
        self.whitening = nn.Conv2d(3, 24, 2)  # -> [N,24,31,31]
        self.blocks = nn.Sequential(
            Block(24, 64, pool=True), Block(64, 64, pool=False),  # -> [N,64,15,15]
            Block(64, 256, pool=True), Block(256, 256, pool=False),  # -> [N,256,7,7]
            Block(256, 256, pool=True), Block(256, 256, pool=False),  # -> [N,256,3,3]
        )  # fmt: skip
        self.dense = nn.Linear(256, CLASSES, bias=False)

    def forward(self, x):  # noqa: D102
        x = self.blocks(functional.gelu(self.whitening(x)))
        return self.dense(functional.max_pool2d(x, 3).flatten(1)) / 9


def standardized(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N,H,W,3] -> float32 [N,3,H,W], channels last in memory."""
    x = (images.float() / 255 - torch.from_numpy(pictures.MEAN)) / torch.from_numpy(pictures.STD)
    return x.permute(0, 3, 1, 2)


def whitening_kernel(images: torch.Tensor) -> torch.Tensor:
    """Filters [24,3,2,2] that make 2x2 patches of standardized images [N,3,H,W] white, and their negatives.

    C = V diag(l) V' is the uncentred covariance of all patches; filter i is v_i / sqrt(l_i + 5e-4).
    """
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1)  # [N,3,H-1,W-1,2,2]
    rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    variances, directions = torch.linalg.eigh(rows.T @ rows / len(rows))  # [12], columns of [12,12]
    filters = (directions / torch.sqrt(variances + 5e-4)).T.reshape(12, 3, 2, 2)
    return torch.cat([filters, -filters])


def views(padded: torch.Tensor, corners: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """A window of each padded picture, mirrored where told.  [N,H+2p,W+2p,3], [N,2], [N] bool -> [N,32,32,3]."""
    place = torch.arange(32)
    rows = corners[:, :1] + place  # [N,32]
    columns = corners[:, 1:] + torch.where(mirrored[:, None], 31 - place, place)  # [N,32]
    return padded[torch.arange(len(padded))[:, None, None], rows[:, :, None], columns[:, None, :]]


def reflected(images: torch.Tensor, pixels: int) -> torch.Tensor:
    """Pad by reflection.  uint8 [N,32,32,3] -> uint8 [N,32+2p,32+2p,3]."""
    order = functional.pad(torch.arange(32.0)[None, None], (pixels, pixels), "reflect").long().flatten()
    return images[:, order][:, :, order]


def batches(images: torch.Tensor, labels: torch.Tensor, batch_size: int, total_steps: int):
    """Standardized pictures and labels of each step: shuffled by epoch, shifted, alternately mirrored.

    A random half starts mirrored; then every epoch shows each picture the other way round. What is
    left over at the end of an epoch is dropped.
    """
    padded = reflected(images, SHIFT)
    mirrored = torch.rand(len(images)) < 0.5
    steps_per_epoch = len(images) // batch_size
    for step in range(total_steps):
        epoch, place = divmod(step, steps_per_epoch)
        if place == 0:
            order = torch.randperm(len(images))
        chosen = order[place * batch_size : (place + 1) * batch_size]
        corners = torch.randint(2 * SHIFT + 1, (batch_size, 2))
        seen = views(padded[chosen], corners, mirrored[chosen] ^ (epoch % 2 == 1))
        yield epoch, standardized(seen), labels[chosen]


def optimizer_of(network: Airbench, batch_size: int) -> torch.optim.SGD:
    """v <- mu v + g, w <- w - lr (g + mu v), where g holds (decay / lr) w, so that lr does not scale the decay."""
    shifts = [module.bias for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    others = [network.whitening.bias, *(block[0].weight for block in network.blocks), network.dense.weight]
    decay = DECAY * batch_size
    groups = [
        {"params": shifts, "lr": SHIFT_RATE, "weight_decay": decay / SHIFT_RATE},
        {"params": others, "lr": RATE, "weight_decay": decay / RATE},
    ]
    return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)


def rate_at(step: int, total_steps: int) -> float:
    """The share of the peak rate at step 0, 1, ...: up in a line over the first 23 %, then down in a line."""
    return float(np.interp(step / total_steps, [0, PEAK_AT, 1], [FIRST, 1, LAST]))


class Lookahead:
    """A slow copy of everything the network holds: slow <- a slow + (1-a) w; w <- slow, every five steps."""

    def __init__(self, network: Airbench):
        self.fast = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
        self.slow = [tensor.clone() for tensor in self.fast]

    def meet(self, share: float) -> None:
        """`share` of the slow copy and the rest of the fast one, in both; 1: what the slow copy remembers."""
        for slow, fast in zip(self.slow, self.fast):
            slow.lerp_(fast, 1 - share)
            fast.copy_(slow)


def train(images, labels, args, say=print) -> tuple[Airbench, float, int]:
    """(trained network, seconds, steps taken). images uint8 [M,32,32,3], labels int64 [M]."""
    began = time.perf_counter()
    torch.manual_seed(args.seed)
    network = Airbench()
    network.whitening.weight.requires_grad_(False)
    network.whitening.weight.copy_(whitening_kernel(standardized(images[:5000])))
    network = network.to(memory_format=torch.channels_last).train()
    optimizer, lookahead = optimizer_of(network, args.batch_size), Lookahead(network)
    peaks = [group["lr"] for group in optimizer.param_groups]
    total = math.ceil(args.epochs * (len(images) // args.batch_size))
    last = min(args.steps or total, total)

    for done, (epoch, x, y) in enumerate(batches(images, labels, args.batch_size, last)):
        network.whitening.bias.requires_grad_(epoch < WHITENING_EPOCHS)
        for group, peak in zip(optimizer.param_groups, peaks):
            group["lr"] = peak * rate_at(done, total)
        optimizer.zero_grad()  # leaves None, and SGD passes over what has no gradient
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bfloat16"):
            logits = network(x)  # [B,10]
        loss = functional.cross_entropy(logits.float(), y, label_smoothing=SMOOTHING, reduction="sum")
        loss.backward()
        optimizer.step()
        step = done + 1
        if step % LOOKAHEAD_EVERY == 0:
            lookahead.meet(0.95**5 * (step / total) ** 3)
        if step % 10 == 0 or step == last:
            seconds = time.perf_counter() - began
            say(f"step {step}/{total}  loss {loss.item() / len(y):.4f}  {step * len(y) / seconds:,.0f} images/s")
    if last == total:
        lookahead.meet(1.0)
    return network, time.perf_counter() - began, last


@torch.inference_mode()
def accuracies(network: Airbench, images, labels, precision: str) -> tuple[float, float]:
    """(from the picture alone, from six views) on uint8 [N,32,32,3]: the picture and two shifts, each mirrored too."""
    network.eval()
    plain = six = 0
    for start in range(0, len(images), 500):
        padded, y = reflected(images[start : start + 500], 1), labels[start : start + 500]
        votes = torch.zeros(len(y), CLASSES)
        for corner, weight in ((1, 0.25), (0, 0.125), (2, 0.125)):
            for mirror in (False, True):
                seen = views(padded, torch.full((len(y), 2), corner), torch.full((len(y),), mirror))
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                    logits = network(standardized(seen)).float()
                votes += weight * logits
                if corner == 1 and not mirror:
                    plain += int((logits.argmax(1) == y).sum())
        six += int((votes.argmax(1) == y).sum())
    return plain / len(images), six / len(images)


def main(args) -> None:
    """Train, evaluate, print the line that others read."""
    torch.set_num_threads(args.threads or os.cpu_count())
    found = pictures.load(args.data, args.data_dir, args.holdout)
    if not 1 <= args.batch_size <= len(found.train_images) or args.steps < 0 or args.epochs <= 0:
        raise run_folder.RunError(
            f"--batch-size {args.batch_size} --steps {args.steps} --epochs {args.epochs:g}: expected a batch of 1 "
            f"to {len(found.train_images):,} images, 0 steps or more and more than 0 epochs"
        )
    tensors = [torch.from_numpy(x) for x in (found.train_images, found.train_labels.astype(np.int64))]
    network, seconds, steps = train(*tensors, args, say=lambda text: print(text, flush=True))
    tensors = [torch.from_numpy(x) for x in (found.test_images, found.test_labels.astype(np.int64))]
    plain, six = accuracies(network, *tensors, args.precision)
    print(
        f"plain={plain:.4f} six_views={six:.4f} seconds={seconds:.1f} "
        f"images_per_second={steps * args.batch_size / seconds:.0f}"
    )


if __name__ == "__main__":
    common.answer(main, WORDS)
