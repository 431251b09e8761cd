"""What can be wrong with a run, one small pure function each: Run -> Finding or None.

A docstring gives the rule, its formula and its source; [H] marks a threshold of our own, chosen
on recorded runs and not published by anybody. Every rule over time has a minimum duration, and
most have hysteresis: what has begun goes on until it is clearly over (`stretch`). What a rule
needs and a run did not measure raises NotMeasured. Alternative explanations and experiments are in
analysis/diagnosis/advice.py, the ranking in analysis/diagnose.py.
"""

from analysis.diagnosis.detectors import (
    batches,
    code,
    data,
    fading,
    initialization,
    learning,
    optimizer,
    runaway,
    speed,
    updates,
)

GROUPS = {
    "data": (data, batches), "initialization": (initialization,), "code": (code, optimizer),
    "gradients and updates": (fading, updates), "runaway numbers": (runaway,), "learning curves": (learning,),
}  # fmt: skip

# In the order of causes: an earlier one can cause a later one.
DETECTORS = {
    "missing-class": data.missing_class,
    "imbalanced-classes": data.imbalanced_classes,
    "leak": data.leak,
    "swapped-labels": data.swapped_labels,
    "different-test": data.different_test,
    "repeated-order": batches.repeated_order,
    "unmixed-batches": batches.unmixed_batches,
    "zero-init": initialization.zero_init,
    "equal-init": initialization.equal_init,
    "no-gradient": initialization.no_gradient,
    "unnormalized-inputs": initialization.unnormalized_inputs,
    "init-too-large": initialization.init_too_large,
    "init-too-small": initialization.init_too_small,
    "no-nonlinearity": fading.no_nonlinearity,
    "clipped-logits": code.clipped_logits,
    "saturated": fading.saturated,
    "bad-init": initialization.bad_init,
    "wrong-metric": code.wrong_metric,
    "double-softmax": code.double_softmax,
    "frozen-step-counter": code.frozen_step_counter,
    "weights-reset": code.weights_reset,
    "frozen-layer": optimizer.frozen_layer,
    "uphill": optimizer.uphill,
    "wrong-update": optimizer.wrong_update,
    "shrinking-weights": optimizer.shrinking_weights,
    "strong-regularization": learning.strong_regularization,
    "strong-momentum": optimizer.strong_momentum,
    "evaluation-mode": code.evaluation_mode,
    "rate-high": updates.rate_high,
    "exploding": runaway.exploding,
    "divergence": runaway.divergence,
    "dying-relu": fading.dying_relu,
    "vanishing": fading.vanishing,
    "rate-low": updates.rate_low,
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
    "pipeline": speed.pipeline,
}


def missing_groups(not_checked) -> list[str]:
    """The groups of rules of which more than half are among the ids `not_checked`."""
    found = []
    for title, modules in GROUPS.items():
        own = {module.__name__ for module in modules}
        names = [name for name, detector in DETECTORS.items() if detector.__module__ in own]
        if 2 * sum(name in not_checked for name in names) > len(names):
            found.append(title)
    return found
