"""What can be wrong with a run, one small pure function each: Run -> Finding or None.

A docstring gives the rule, its formula and its source; [H] marks a threshold of our own, chosen
on recorded runs and not published by anybody. Every rule over time has a minimum duration, and
most have hysteresis: what has begun goes on until it is clearly over (`stretch`). What a rule
needs and a run did not measure raises NotMeasured. Alternative explanations and experiments are in
analysis/diagnosis/advice.py, the ranking in analysis/diagnose.py.
"""

from analysis.diagnosis.detectors import code, data, fading, initialization, learning, runaway

GROUPS = {
    "data": data, "initialization": initialization, "code": code, "gradients and updates": fading,
    "runaway numbers": runaway, "learning curves": learning,
}  # fmt: skip

# In the order of causes: an earlier one can cause a later one.
DETECTORS = {
    "missing-class": data.missing_class,
    "imbalanced-classes": data.imbalanced_classes,
    "leak": data.leak,
    "swapped-labels": data.swapped_labels,
    "zero-init": initialization.zero_init,
    "no-gradient": initialization.no_gradient,
    "unnormalized-inputs": initialization.unnormalized_inputs,
    "init-too-large": initialization.init_too_large,
    "bad-init": initialization.bad_init,
    "double-softmax": code.double_softmax,
    "frozen-step-counter": code.frozen_step_counter,
    "frozen-layer": code.frozen_layer,
    "uphill": code.uphill,
    "shrinking-weights": code.shrinking_weights,
    "evaluation-mode": code.evaluation_mode,
    "repeated-order": data.repeated_order,
    "rate-high": fading.rate_high,
    "exploding": runaway.exploding,
    "divergence": runaway.divergence,
    "dying-relu": fading.dying_relu,
    "vanishing": fading.vanishing,
    "rate-low": fading.rate_low,
    "no-signal": data.no_signal,
    "memorizing-noise": data.memorizing_noise,
    "non-finite": runaway.non_finite,
    "spike": runaway.spike,
    "overfit": learning.overfit,
    "suspicious-test": learning.suspicious_test,
    "collapse": learning.collapse,
    "ignored-class": data.ignored_class,
    "oscillation": learning.oscillation,
    "plateau": learning.plateau,
    "underfit": learning.underfit,
    "pipeline": learning.pipeline,
}


def missing_groups(not_checked) -> list[str]:
    """The groups of rules of which more than half are among the ids `not_checked`."""
    found = []
    for title, module in GROUPS.items():
        names = [name for name, detector in DETECTORS.items() if detector.__module__ == module.__name__]
        if 2 * sum(name in not_checked for name in names) > len(names):
            found.append(title)
    return found
