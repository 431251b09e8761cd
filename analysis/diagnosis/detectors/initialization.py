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


def gains(run: Run) -> tuple[list[str], np.ndarray]:
    """(layers with a kernel, std of each one's output / RMS of its input before the first step [L]).

    The RMS of the first one's input is taken for 1, that of standardized images. He's initialization before a ReLU
    makes it 1.4; the last layer starts at a tenth of that.
    """
    layers, values, _ = initial_scale(run)
    stds, means = run.table("activation_std"), run.table("activation_mean")
    rms = np.hypot(stds.values[0], means.values[0])
    before = [stds.layers.index(name) - 1 for name in layers]
    inputs = np.array([1.0 if i < 0 else rms[i] for i in before])
    with np.errstate(divide="ignore", invalid="ignore"):
        return layers, np.where(inputs > 0, values / inputs, np.nan)


def he_factor(run: Run) -> float:
    """|w| of the first kernel at step 1 over its expected value by its stored architecture; NaN if that is unknown."""
    weights, gradients, rms = run.table("weight_norm"), run.table("gradient_norm"), run.table("gradient_rms")
    layer = next((x for x in run.config.get("architecture") or [] if x.get("name") == weights.layers[0]), {})
    if {"in_channels", "kernel_size", "gain"} - set(layer) or not rms.values[0, 0]:
        return math.nan
    count = (gradients.values[0, 0] / rms.values[0, 0]) ** 2
    inputs = layer["in_channels"] * layer["kernel_size"] ** 2
    return float(weights.values[0, 0] / math.sqrt(count / inputs) / layer["gain"])


def unnormalized_inputs(run: Run) -> Finding | None:
    """Images that were not standardized: the first layer's output is too large, and the weights are sound.

    Rule: before the first step the std of the first kernel's output is above 20 or below 0.05 [H], the gain of every
    other hidden kernel is below 6 [H], and the first kernel's norm is within a factor of 3 of that of its
    initialization (if config.json describes it) [H]. Red if the first loss is 2 nats above ln 10; a network with batch
    normalization rescales by itself: amber.
    """
    large, small, sound, near = 20.0, 0.05, LARGE_GAIN, 3.0
    run.need_steps(1)
    layers, values, growth = initial_scale(run)
    _, factors = gains(run)
    weights = he_factor(run)
    if small <= values[0] <= large or len(layers) < 2 or values[0] == 0 or (factors[1:-1] > sound).any():
        return None
    if np.median(growth[1:]) > 2 or not (math.isnan(weights) or 1 / near < weights < near):
        return None
    first = float(run.steps["loss"][0])
    return Finding(
        "unnormalized-inputs", "The inputs are not normalized", AMBER if first <= LN10 + 2 else RED, 0,
        (f"before the first step the output of '{layers[0]}' has std {values[0]:.3g}, about 1.5 is right; "
         f"after it each kernel multiplies the std by {np.median(growth[1:]):.2g} (median), which is sound",
         f"the first batch's loss is {first:.3g} nats, chance level is ln 10 = {LN10:.2f}"),
    )  # fmt: skip


LARGE_GAIN, SMALL_GAIN = 6.0, 0.15  # of a hidden kernel; He's initialization makes it 1.4


def init_too_large(run: Run) -> Finding | None:
    """Weights that start too large, in all layers or in one.

    Rule: before the first step the gain (std of the output / RMS of the input) of a kernel is above 6 [H]; or the
    first batch's loss is more than ln 10 + 2 nats [H] and the logits' std above 5 [H], or the activations grow by
    more than 2 from kernel to kernel (median) [H]. Red if the first loss is so high, else amber. If only the first
    layer's output is large and its weights are not, it is the inputs: `unnormalized_inputs`.
    """
    nats, large, growth = 2.0, 5.0, 2.0
    run.need_steps(1)
    first = float(run.steps["loss"][0])
    layers, values, factors = initial_scale(run)
    names, of_layers = gains(run)
    too_large = [i for i in range(len(names)) if of_layers[i] > LARGE_GAIN]
    everywhere = first > LN10 + nats and (values[-1] > large or np.median(factors) > growth)
    if not (too_large or everywhere) or unnormalized_inputs(run):
        return None
    path = ", ".join(f"{name} {value:.3g}" for name, value in zip(layers, of_layers))
    where = f" of {listed(names, too_large)}" if too_large and 2 * len(too_large) < len(names) else ""
    return Finding(
        "init-too-large", f"The initial weights{where} are too large", RED if first > LN10 + nats else AMBER, 0,
        (f"std of the output / RMS of the input of each kernel before the first step: {path}; about 1.4 is right, "
         "about 0.1 for the last",
         f"the first batch's loss is {first:.3g} nats, chance level is ln 10 = {LN10:.2f}; the logits have std "
         f"{values[-1]:.3g}"),
    )  # fmt: skip


def init_too_small(run: Run) -> Finding | None:
    """Weights of a hidden layer that start too small: the signal fades in it, forwards and backwards.

    Rule: before the first step the gain of a kernel other than the last is below 0.15, and not 0 [H]. The last one
    starts small on purpose.
    """
    run.need_steps(1)
    names, of_layers = gains(run)
    small = [i for i in range(len(names) - 1) if 0 < of_layers[i] < SMALL_GAIN]
    if not small or unnormalized_inputs(run):
        return None
    return Finding(
        "init-too-small", f"The initial weights of {listed(names, small)} are too small", RED, 0,
        (f"std of the output / RMS of the input of '{names[small[0]]}' before the first step: "
         f"{of_layers[small[0]]:.2g}; about 1.4 is right",),
    )  # fmt: skip


def equal_init(run: Run) -> Finding | None:
    """All weights of a layer start equal: its units compute the same, get the same gradient, and stay the same.

    Equal logits make the first loss ln 10 to the last digit, and send next to nothing back: the sum over classes of
    dL/dz is 0. Rule: |L(1) - ln 10| < 2e-5 while the last kernel is not 0, and the gradient of the kernel before the
    last is less than 0.002 of the last one's at step 1 [H] (clean runs have 0.01 to 0.4).
    """
    exact, little = 2e-5, 0.002
    weights, gradients = early_norms(run)
    first, g = float(run.steps["loss"][0]), gradients.values[0]
    if abs(first - LN10) >= exact or not weights.values[0].all() or len(g) < 2 or not g[-2] < little * g[-1]:
        return None
    return Finding(
        "equal-init", "All weights of a layer start with the same value", RED, 1,
        (f"the first batch's loss is {first:.6g} nats, ln 10 = {LN10:.6g} to the last digit, although the last kernel "
         f"has norm {weights.values[0, -1]:.3g}: all logits are equal",
         f"the gradient of '{gradients.layers[-2]}' at step 1 is {g[-2] / g[-1]:.1g} of that of "
         f"'{gradients.layers[-1]}'"),
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
