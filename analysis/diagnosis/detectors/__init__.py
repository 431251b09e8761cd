"""What can be wrong with a run, one small pure function each: a loaded run in, a Finding or None out.

A docstring gives the rule, its formula and its source; [H] marks a threshold of our own, chosen
on recorded runs and not published by anybody. Every rule over time has a minimum duration, and
most have hysteresis: what has begun goes on until it is clearly over (`stretch`). What a rule
needs and a run did not measure raises NotMeasured. Rival explanations and experiments stand in
analysis/advice.py, the ranking in analysis/diagnose.py.
"""

from analysis.diagnosis.detectors import code, data, fading, learning, runaway, start

# In the order of causes: what stands earlier can bring about what stands later.
DETECTORS = {
    "missing-class": data.missing_class,
    "leak": data.leak,
    "swapped-labels": data.swapped_labels,
    "zero-start": start.zero_start,
    "no-gradient": start.no_gradient,
    "loud-pictures": start.loud_pictures,
    "large-start": start.large_start,
    "double-softmax": code.double_softmax,
    "frozen-clock": code.frozen_clock,
    "frozen-layer": code.frozen_layer,
    "uphill": code.uphill,
    "shrinking-weights": code.shrinking_weights,
    "evaluation-mode": code.exam_mode,
    "repeated-order": data.repeated_order,
    "rate-high": fading.rate_high,
    "exploding": runaway.exploding,
    "divergence": runaway.divergence,
    "dying-relu": fading.dying_relu,
    "vanishing": fading.vanishing,
    "rate-low": fading.rate_low,
    "no-signal": data.no_signal,
    "memorising-noise": data.memorising_noise,
    "non-finite": runaway.non_finite,
    "bad-start": start.bad_start,
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
