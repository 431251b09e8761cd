"""The two published versions of airbench94: their numbers, and how each is optimized. PyTorch.

published.py names the two programs. The loss is the sum over the batch, so the learning rates are small. Four
differences here, none of them in the mathematics: a processor instead of a GPU, float32 weights with bfloat16
arithmetic instead of float16, no compilation, evaluation at the end only.
"""

import math

import numpy as np
import torch
from torch import nn

from analysis.benchmarks.baselines.airbench_parts import Airbench

WHITENING_EPOCHS = 3  # the bias of the whitening layer learns no longer than that
MOMENTUM = 0.85  # of SGD, with Nesterov's correction
LABEL_SMOOTHING = 0.2


class Version:
    """A version optimizes one network: `set_rates` before a step, `update` when the gradients are there."""

    def __init__(self, network: Airbench, batch_size: int, total_steps: int, steps_per_epoch: int):
        self.network, self.total_steps = network, total_steps
        self.whitening_steps = WHITENING_EPOCHS * steps_per_epoch
        self.optimizers = self.build_optimizers(batch_size)
        self.groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        self.peaks = [group["lr"] for group in self.groups]

    def set_rates(self, step: int) -> None:
        """The learning rates of step 0, 1, ..., and whether the bias of the whitening layer still learns."""
        self.network.whitening.bias.requires_grad_(step < self.whitening_steps)
        for group, peak in zip(self.groups, self.peaks):
            group["lr"] = peak * self.rate(step, group)

    def update(self, steps: int) -> None:
        """Change the weights; `steps` counts this one. Without a gradient a weight stays."""
        for optimizer in self.optimizers:
            optimizer.step()


def group(parameters: list, rate: float, decay: float) -> dict:
    """Parameters of torch.optim.SGD that lose the fraction `decay` in a step of full rate, whatever that rate is."""
    return {"params": parameters, "lr": rate, "weight_decay": decay / rate}


class Airbench94(Version):
    """Nesterov SGD with decoupled weight decay, and lookahead."""

    EPOCHS, BATCH_SIZE = 9.9, 1024
    RATE, BIAS_SCALE, DECAY = 11.5, 64.0, 0.0153  # for 1,024 images; bias: beta of the batch norms
    FIRST, PEAK_AT, LAST = 0.2, 0.23, 0.07  # of the rate: at the first step, where it is 1, at the last
    LOOKAHEAD_EVERY, LOOKAHEAD_DECAY = 5, 0.95**5
    # A constant gradient moves a weight by 1 + 1 / (1 - momentum) times rate and gradient.
    KILOSTEP = 1024 * (1 + 1 / (1 - MOMENTUM))

    @staticmethod
    def build() -> Airbench:
        """The untrained network. Logits / 9; the bias of the whitening layer starts at zero."""
        network = Airbench(logit_scale=1 / 9)
        nn.init.zeros_(network.whitening.bias)
        return network

    def build_optimizers(self, batch_size: int) -> list:
        """v <- mu v + g,  w <- w - lr (g + mu v), where g holds (decay / peak lr) w."""
        self.lookahead = Lookahead(self.network)
        rate = self.RATE / self.KILOSTEP
        decay = self.DECAY * batch_size / self.KILOSTEP
        others = [self.network.whitening.bias, *self.network.kernels, self.network.dense.weight]
        groups = [group(self.network.norm_biases, self.BIAS_SCALE * rate, decay), group(others, rate, decay)]
        return [torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)]

    def rate(self, step: int, group: dict) -> float:
        """The fraction of the peak rate: up in a line over the first 23 % of the steps, then down in a line."""
        peak_at = int(self.total_steps * self.PEAK_AT)
        return float(np.interp(step, [0, peak_at, self.total_steps], [self.FIRST, 1, self.LAST]))

    def update(self, steps: int) -> None:  # noqa: D102
        super().update(steps)
        if steps % self.LOOKAHEAD_EVERY == 0:
            self.lookahead.merge(self.LOOKAHEAD_DECAY * (steps / self.total_steps) ** 3)
        if steps == self.total_steps:
            self.lookahead.merge(1.0)


class Lookahead:
    """A slow copy of everything the network holds, statistics included (Zhang et al. 2019)."""

    def __init__(self, network: Airbench):
        self.fast = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
        self.slow = [tensor.clone() for tensor in self.fast]

    def merge(self, decay: float) -> None:
        """slow <- decay slow + (1 - decay) fast;  fast <- slow."""
        for slow, fast in zip(self.slow, self.fast):
            slow.lerp_(fast, 1 - decay)
            fast.copy_(slow)


class Airbench94Muon(Version):
    """Muon for the convolutions, Nesterov SGD for the rest, no lookahead."""

    EPOCHS, BATCH_SIZE = 8.0, 2000
    BIAS_RATE, DENSE_RATE, MUON_RATE, MUON_MOMENTUM = 0.053, 0.67, 0.24, 0.6
    DECAY = 2e-6  # an image; of biases and dense layer

    @staticmethod
    def build() -> Airbench:
        """The untrained network. Logits / 256; the dense layer has standard deviation 1.

        The bias of the whitening layer keeps PyTorch's U(-b, b): this version does not set it to zero.
        """
        network = Airbench(logit_scale=1 / 256)
        with torch.no_grad():
            network.dense.weight.div_(network.dense.weight.std())
        return network

    def build_optimizers(self, batch_size: int) -> list:
        """SGD in three groups, the whitening bias first; then Muon."""
        decay = self.DECAY * batch_size
        groups = [
            group([self.network.whitening.bias], self.BIAS_RATE, decay),
            group(self.network.norm_biases, self.BIAS_RATE, decay),
            group([self.network.dense.weight], self.DENSE_RATE, decay),
        ]
        sgd = torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)
        return [sgd, Muon(self.network.kernels, self.MUON_RATE, self.MUON_MOMENTUM)]

    def rate(self, step: int, group: dict) -> float:
        """The fraction of the peak rate: down to 0 in a line, for the whitening bias over its own steps."""
        steps = self.whitening_steps if group is self.groups[0] else self.total_steps
        return max(1 - step / steps, 0.0)


class Muon(torch.optim.Optimizer):
    """v <- mu v + g;  w <- sqrt(Cout) w / |w| - lr O(g + mu v), with O the orthogonalized direction, one row a filter.

    Jordan et al. 2024.
    """

    def __init__(self, parameters: list, rate: float, momentum: float):
        super().__init__(parameters, {"lr": rate, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        """Change every kernel [Cout,Cin,kh,kw] that has a gradient."""
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                v = self.state[w].setdefault("velocity", torch.zeros_like(w))
                v.mul_(group["momentum"]).add_(w.grad)
                direction = w.grad + group["momentum"] * v
                w.mul_(math.sqrt(len(w)) / w.norm())
                w.sub_(group["lr"] * orthogonalized(direction.flatten(1)).view_as(w))


def orthogonalized(matrix: torch.Tensor, iterations: int = 3) -> torch.Tensor:
    """Nearly U V' of the matrix U S V' [m,n], by Newton-Schulz iterations in bfloat16; float32."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = len(x) > x.shape[1]
    x = x.T if tall else x
    for _ in range(iterations):
        product = x @ x.T
        x = a * x + (b * product + c * product @ product) @ x
    return (x.T if tall else x).float()


VERSIONS = {"airbench94": Airbench94, "airbench94_muon": Airbench94Muon}
