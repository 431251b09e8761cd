"""Illnesses of the start: weights and pictures before the first step, and gradients that never arrive."""

import math

import numpy as np

from analysis.diagnosis.detectors.finding import AMBER, Finding, LN10, RED
from analysis.support.run import NotMeasured, Run, Table


def zero_start(run: Run) -> Finding | None:
    """All-zero kernels: behind them everything is silent, and no gradient ever comes back.

    Rule: at step 1 a kernel other than the last has norm 0, and a kernel before the last has a gradient of exactly 0.
    A last layer that starts at zero is sound: it learns from the first step. (Equal but non-zero weights do not show
    in norms.)
    """
    weights, gradients = early_norms(run)
    zero = np.flatnonzero(weights.values[0, :-1] == 0)
    if not zero.size or gradients.values[0, :-1].all():
        return None
    evidence = [f"the kernel of {listed(weights.layers, zero)} has length 0 at step 1", *cut_off(gradients)]
    end = int(zero[0])
    evidence.append(
        f"after {run.length:,} steps the weights of '{weights.layers[end]}' have length {weights.values[-1, end]:.3g}"
    )
    return Finding("zero-start", "Layers start at zero and cannot leave it", RED, 1, tuple(evidence))


def no_gradient(run: Run) -> Finding | None:
    """A layer with sound weights that no gradient ever reaches: something on the way back cuts it off.

    Rule: a kernel before the last is not 0 at step 1, and its gradient is exactly 0 at all of the first 10 measured
    steps (all there are, from 3 on), and no kernel starts at zero.
    """
    weights, gradients = early_norms(run)
    evidence = cut_off(gradients)
    if not evidence or not weights.values[0, :-1].all():
        return None
    return Finding("no-gradient", "No gradient ever reaches some layers", RED, 1, tuple(evidence))


def early_norms(run: Run) -> tuple[Table, Table]:
    """The tables of weight_norm and gradient_norm, from step 1 on."""
    weights, gradients = run.table("weight_norm"), run.table("gradient_norm", 3)
    if weights.steps[0] != 1:
        raise NotMeasured("the norms of step 1 were not written")
    return weights, gradients


def cut_off(gradients: Table, wanted: int = 10) -> list[str]:
    """A sentence about the kernels before the last whose gradient is 0 at all of the first steps, or nothing."""
    early = gradients.values[:wanted, :-1]
    silent = np.flatnonzero((early == 0).all(axis=0))
    if not silent.size:
        return []
    return [f"the gradient of {listed(gradients.layers, silent)} is exactly 0 at the first {len(early)} measured steps"]


def listed(names, places) -> str:
    """`'conv1', 'conv2' and 2 more`."""
    shown = ", ".join(f"'{names[i]}'" for i in places[:3])
    return shown + (f" and {len(places) - 3} more" if len(places) > 3 else "")


def start_scale(run: Run) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(kernel layers, deviation of what each puts out before the first step [L], its growth from the one before [L]).

    The first kernel's input is standardized pictures: a deviation of about 1.
    """
    stds, kernels = run.table("activation_std"), run.table("weight_norm").layers
    if stds.steps[0] != 0:
        raise NotMeasured("the activations of the untouched network were not measured")
    values = stds.values[0, [stds.layers.index(name) for name in kernels]]
    return list(kernels), values, values / np.concatenate([[1.0], values[:-1]])


def loud_pictures(run: Run) -> Finding | None:
    """Pictures that were not standardized: the first layer shouts, and the weights behind it are sound.

    Rule: before the first step the first kernel's output deviates by more than 20 [H], and from kernel to kernel after
    it the deviation grows by 2 at most (median) [H]. Red if the first loss is 2 nats above ln 10; a network with
    batch normalization sets it right by itself: amber.
    """
    loud, sound = 20.0, 2.0
    run.need_steps(1)
    layers, values, growth = start_scale(run)
    if not values[0] > loud or len(layers) < 2 or np.median(growth[1:]) > sound:
        return None
    first = float(run.steps["loss"][0])
    return Finding(
        "loud-pictures", "The pictures come in too large", AMBER if first <= LN10 + 2 else RED, 0,
        (f"before the first step '{layers[0]}' puts out numbers that deviate by {values[0]:.3g}, about 1.5 is right; "
         f"after it a kernel layer multiplies the deviation by {np.median(growth[1:]):.2g} (median), which is sound",
         f"the first batch's loss is {first:.3g} nats, guessing costs ln 10 = {LN10:.2f}"),
    )  # fmt: skip


def large_start(run: Run) -> Finding | None:
    """Weights that start too large: the network shouts before it has learned anything.

    Rule: first batch loss > ln 10 + 2 nats [H], and the untouched network's scores deviate by more than
    5 [H], or its activations grow by more than 2 from kernel layer to kernel layer (median) [H]. If the first
    layer is loud and those behind it are sound, it is the pictures: `loud_pictures`.
    """
    nats, loud, growth = 2.0, 5.0, 2.0
    run.need_steps(1)
    first = float(run.steps["loss"][0])
    if not first > LN10 + nats:
        return None
    layers, values, factors = start_scale(run)
    if not (values[-1] > loud or np.median(factors) > growth) or loud_pictures(run):
        return None
    path = ", ".join(f"{name} {value:.3g}" for name, value in zip(layers, values))
    return Finding(
        "large-start", "The weights start too large", RED, 0,
        (f"the first batch's loss is {first:.3g} nats, guessing costs ln 10 = {LN10:.2f}",
         f"deviation of what each layer puts out before the first step: {path} "
         f"(a factor of {np.median(factors):.2g} a layer; about 1 is right, about 0.1 to 1 for the last)"),
    )  # fmt: skip


def bad_start(run: Run) -> Finding | None:
    """Before learning a network should be exactly as good as guessing.

    Rule: abs(L(1) - ln 10) > 0.25 [H] for the first batch; red beyond 2 nats [H]. A small batch scatters, so
    3 / sqrt(batch size) of it is allowed for as well [H].
    """
    amber, red = 0.25, 2.0
    run.need_steps(1)
    first = float(run.steps["loss"][0])
    off = abs(first - LN10)
    if not math.isfinite(first) or off <= max(amber, 0.3 * 3 / math.sqrt(run.fact("settings", "batch_size"))):
        return None
    evidence = [f"the first batch's loss is {first:.3g} nats; ten equal probabilities cost ln 10 = {LN10:.3f}"]
    batch = run.fact("settings", "batch_size")
    if batch > 1 and abs(first / (batch * LN10) - 1) < 0.1:
        evidence.append(f"that is about ln 10 for each of the batch's {batch} images: is the loss a sum, not a mean?")
    return Finding(
        "bad-start", "Before learning, the network is already sure of something", RED if off > red else AMBER, 1,
        tuple(evidence),
    )  # fmt: skip
