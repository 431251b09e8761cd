"""Active checks of single layers: does dropout drop what config.json says?"""

import dataclasses

import numpy as np

from analysis.diagnosis.detectors.finding import AMBER, RED, Finding, percent
from analysis.diagnosis.probes import PLAIN, Outcome, Subject
from analysis.support.run import NotMeasured

IMAGES = 500


def dropout(subject: Subject) -> Outcome:
    """Which fraction of its nonzero inputs each dropout layer of the untrained network sets to 0, in both modes.

    Rule: in training mode more than its rate + 0.05 [H]: strong-regularization; less than its rate - 0.05 [H]:
    no-regularization. In evaluation mode more than 1 % [H]: evaluation-mode. Among the many activations of 500 images
    the fraction scatters by less than 0.01.
    """
    slack, least = 0.05, 0.01
    findings, sentences = [], []
    for name, rate, trained, evaluated in dropped_fractions(subject):
        sentences.append(
            f"'{name}' drops {percent(trained)} in training mode, {percent(evaluated)} in evaluation mode, its rate is "
            f"{percent(rate)}"
        )
        if trained > rate + slack:
            title = f"Layer '{name}' drops more than its rate"
            findings.append(Finding("strong-regularization", title, RED, 1, (sentences[-1],)))
        elif trained < rate - slack:
            title = f"Layer '{name}' drops less than its rate"
            findings.append(Finding("no-regularization", title, AMBER, 1, (sentences[-1],)))
        if evaluated > least:
            title = f"Dropout layer '{name}' acts in evaluation mode"
            findings.append(Finding("evaluation-mode", title, RED, 1, (sentences[-1],)))
    return Outcome("; ".join(sentences), tuple({finding.id: finding for finding in findings}.values()))


def dropped_fractions(subject: Subject) -> list[tuple[str, float, float, float]]:
    """(layer, its rate, the fraction it drops in training mode, in evaluation mode) of each dropout layer."""
    import tensorflow as tf

    from core.build import build_network
    from core.data.batches import standardize
    from core.layers import Dropout

    settings = dataclasses.replace(subject.settings, **PLAIN, micro_batches=1)
    network = build_network(settings, stored=subject.run.config)
    if not any(isinstance(layer, Dropout) for layer in network.layers):
        raise NotMeasured("the network has no dropout")
    images = standardize(tf.constant(subject.data.train_images[:IMAGES]))
    fractions = {}
    for training in (True, False):
        x = images
        for layer, y in network.outputs(images, training, tf.constant(1)):
            if isinstance(layer, Dropout):
                given = x.numpy() != 0
                dropped = float(np.mean(y.numpy()[given] == 0)) if given.any() else 0.0
                fractions.setdefault(layer.name, [stored_rate(subject, layer)]).append(dropped)
            x = y
    return [(name, *values) for name, values in fractions.items()]


def stored_rate(subject: Subject, layer) -> float:
    """The rate of this layer by config.json; today's, if that does not describe it."""
    layers = subject.run.config.get("architecture") or []
    return next((x["rate"] for x in layers if x.get("name") == layer.name and "rate" in x), layer.rate)
