"""What can be wrong with a run, one small pure function each: Run -> Finding or None.

A docstring gives the rule, its formula and its source; [H] marks a threshold of our own, chosen
on recorded runs and not published by anybody. Every rule over time has a minimum duration, and
most have hysteresis: what has begun goes on until it is clearly over (`stretch`). What a rule
needs and a run did not measure raises NotMeasured. Alternative explanations and experiments are in
analysis/diagnosis/advice.py, the ranking in analysis/diagnose.py.
"""

from analysis.diagnosis.detectors import code, data, fading, initialization, learning, runaway

# In the order of causes: an earlier one can cause a later one.
DETECTORS = {
    "missing-class": data.missing_class,
    "leak": data.leak,
    "swapped-labels": data.swapped_labels,
    "zero-init": initialization.zero_init,
    "no-gradient": initialization.no_gradient,
    "unnormalized-inputs": initialization.unnormalized_inputs,
    "init-too-large": initialization.init_too_large,
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
    "bad-init": initialization.bad_init,
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
