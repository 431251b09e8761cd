"""Faults of the initialization: weights and inputs before the first step, and gradients that never arrive."""

import math

import numpy as np

from analysis.diagnosis.detectors.finding import AMBER, LN10, RED, Finding
from analysis.support.run import NotMeasured, Run, Table


def zero_init(run: Run) -> Finding | None:
    """All-zero kernels: everything behind them is 0, and so is every gradient that would pass through them.

    Rule: at step 1 a kernel other than the last has norm 0, and a kernel before the last has a gradient of exactly 0.
    A last layer that starts at zero is sound: it learns from the first step. (Equal but non-zero weights do not show
    in norms.)
    """
    weights, gradients = early_norms(run)
    zero = np.flatnonzero(weights.values[0, :-1] == 0)
    if not zero.size or gradients.values[0, :-1].all():
        return None
    evidence = [f"the kernel of {listed(weights.layers, zero)} has norm 0 at step 1", *cut_off(gradients)]
    first = int(zero[0])
    evidence.append(
        f"after {run.length:,} steps the kernel of '{weights.layers[first]}' has norm {weights.values[-1, first]:.3g}"
    )
    return Finding("zero-init", "Kernels start at zero and stay there", RED, 1, tuple(evidence))


def no_gradient(run: Run) -> Finding | None:
    """A layer with sound weights that no gradient reaches: something in the backward pass cuts it off.

    Rule: no kernel before the last starts at zero, and the gradient of a kernel, that of the last one included, is
    exactly 0 at all of the first 10 measured steps (all there are, from 3 on).
    """
    weights, gradients = early_norms(run)
    evidence = cut_off(gradients)
    if not evidence or not weights.values[0, :-1].all():
        return None
    return Finding("no-gradient", "No gradient reaches some layers", RED, 1, tuple(evidence))


def early_norms(run: Run) -> tuple[Table, Table]:
    """The tables of weight_norm and gradient_norm, from step 1 on."""
    weights, gradients = run.table("weight_norm"), run.table("gradient_norm", 3)
    if weights.steps[0] != 1:
        raise NotMeasured("the norms of step 1 were not written")
    return weights, gradients


def cut_off(gradients: Table, wanted: int = 10) -> list[str]:
    """A sentence about the kernels whose gradient is 0 at all of the first steps, or nothing."""
    early = gradients.values[:wanted]
    zero = np.flatnonzero((early == 0).all(axis=0))
    if not zero.size:
        return []
    return [f"the gradient of {listed(gradients.layers, zero)} is exactly 0 at the first {len(early)} measured steps"]


def listed(names, indices) -> str:
    """`'conv1', 'conv2' and 2 more`."""
    shown = ", ".join(f"'{names[i]}'" for i in indices[:3])
    return shown + (f" and {len(indices) - 3} more" if len(indices) > 3 else "")


def initial_scale(run: Run) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(layers with a kernel, std of each one's output before the first step [L], its growth from the one before [L]).

    The first kernel's input is standardized images: std about 1.
    """
    stds, kernels = run.table("activation_std"), run.table("weight_norm").layers
    if stds.steps[0] != 0:
        raise NotMeasured("the activations of the untrained network were not measured")
    values = stds.values[0, [stds.layers.index(name) for name in kernels]]
    return list(kernels), values, values / np.concatenate([[1.0], values[:-1]])


def unnormalized_inputs(run: Run) -> Finding | None:
    """Images that were not standardized: the first layer's output is too large, and the weights behind it are sound.

    Rule: before the first step the std of the first kernel's output is above 20 [H], and from kernel to kernel after
    it the std grows by 2 at most (median) [H]. Red if the first loss is 2 nats above ln 10; a network with
    batch normalization rescales by itself: amber.
    """
    large, sound = 20.0, 2.0
    run.need_steps(1)
    layers, values, growth = initial_scale(run)
    if not values[0] > large or len(layers) < 2 or np.median(growth[1:]) > sound:
        return None
    first = float(run.steps["loss"][0])
    return Finding(
        "unnormalized-inputs", "The inputs are not normalized", AMBER if first <= LN10 + 2 else RED, 0,
        (f"before the first step the output of '{layers[0]}' has std {values[0]:.3g}, about 1.5 is right; "
         f"after it each kernel multiplies the std by {np.median(growth[1:]):.2g} (median), which is sound",
         f"the first batch's loss is {first:.3g} nats, chance level is ln 10 = {LN10:.2f}"),
    )  # fmt: skip


def init_too_large(run: Run) -> Finding | None:
    """Weights that start too large: the untrained network is confident.

    Rule: first batch loss > ln 10 + 2 nats [H], and the std of the untrained network's logits is above 5 [H], or its
    activations grow by more than 2 from kernel to kernel (median) [H]. If only the first layer's output is large and
    the kernels behind it are sound, it is the inputs: `unnormalized_inputs`.
    """
    nats, large, growth = 2.0, 5.0, 2.0
    run.need_steps(1)
    first = float(run.steps["loss"][0])
    if not first > LN10 + nats:
        return None
    layers, values, factors = initial_scale(run)
    if not (values[-1] > large or np.median(factors) > growth) or unnormalized_inputs(run):
        return None
    path = ", ".join(f"{name} {value:.3g}" for name, value in zip(layers, values))
    return Finding(
        "init-too-large", "The initial weights are too large", RED, 0,
        (f"the first batch's loss is {first:.3g} nats, chance level is ln 10 = {LN10:.2f}",
         f"std of each layer's output before the first step: {path} "
         f"(a factor of {np.median(factors):.2g} a layer; about 1 is right, about 0.1 to 1 for the last)"),
    )  # fmt: skip


def bad_init(run: Run) -> Finding | None:
    """Before training, the loss should be that of chance level.

    Rule: abs(L(1) - ln 10) > 0.25 [H] for the first batch; red beyond 2 nats [H]. A small batch scatters, so
    0.9 / sqrt(batch size) is allowed for as well [H].
    """
    amber, red = 0.25, 2.0
    run.need_steps(1)
    first = float(run.steps["loss"][0])
    off = abs(first - LN10)
    if not math.isfinite(first) or off <= max(amber, 0.9 / math.sqrt(run.fact("settings", "batch_size"))):
        return None
    evidence = [f"the first batch's loss is {first:.3g} nats; ten equal probabilities give ln 10 = {LN10:.3f}"]
    batch = run.fact("settings", "batch_size")
    if batch > 1 and abs(first / (batch * LN10) - 1) < 0.1:
        evidence.append(f"that is about ln 10 for each of the batch's {batch} images: is the loss a sum, not a mean?")
    return Finding(
        "bad-init", "The loss of the untrained network is not that of chance level", RED if off > red else AMBER, 1,
        tuple(evidence),
    )  # fmt: skip
