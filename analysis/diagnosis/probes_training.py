"""Active checks that train for some steps: the range of the rate, a batch by heart, zeroed images, permuted labels."""

import dataclasses
import math

import numpy as np

from analysis.diagnosis.detectors.finding import AMBER, LN10, RED, Finding, percent, standard_error
from analysis.diagnosis.detectors.optimizer import decay_steps
from analysis.diagnosis.probes import Outcome, Subject
from analysis.support.run import NotMeasured
from core.settings.recipes import OPTIMIZER_DEFAULTS

NOTHING = 0.06  # nats [H]: a loss that is less than this below chance level has learned nothing


def rate_range(subject: Subject) -> Outcome:
    """The learning-rate range test: the rate rises exponentially, and the loss tells where training begins and ends.

    Smith 2017, "Cyclical Learning Rates". From 1/1,000 of the run's peak to 100 times it in 200 steps (of the
    optimizer's usual rate, if that is below or above). The loss is the mean of ten batches. After its minimum it is
    lost where it is 0.5 nats higher, or 0.1 above chance level, or not finite [H]. Rule: the run's peak above twice
    that rate: rate-high [H]; below a hundredth of it: rate-low [H] (a tenth is a usual choice). From a twentieth on
    rate-low is refuted, up to a third rate-high is; and both if no rate lowers the loss.
    """
    steps, window, lost, above_it, below_it = 200, 10, 0.5, 2, 100
    steps = min(steps, subject.steps)
    peak = subject.settings.learning_rate
    usual = OPTIMIZER_DEFAULTS[subject.settings.optimizer]["learning_rate"]
    low, high = 1e-3 * min(peak, usual), 100 * max(peak, usual)
    growth = math.log(high / low) / (steps - 1)

    def rate(step):
        import tensorflow as tf

        return low * tf.exp(growth * (tf.cast(step, tf.float32) - 1))

    short = subject.trained(steps, rate=rate)
    losses, rates = short.losses, low * np.exp(growth * np.arange(len(short.losses)))
    finite = losses[np.isfinite(losses)]
    if not short.complete and len(finite) == len(losses):
        raise NotMeasured(f"a training of {steps} steps came to step {len(losses)} only")
    if len(finite) < window:
        return Outcome("the loss is not finite at any rate", refuted={"rate-low": "a lower rate is no better"})
    means = np.convolve(finite, np.ones(window) / window, "valid")  # of the batches i ... i + 9
    best = int(np.argmin(means))
    above = (means[best:] > means[best] + lost) | (means[best:] > LN10 + 0.1)
    end = min(best + int(np.argmax(above)) + window, len(finite)) - 1 if above.any() else len(losses) - 1
    fell = float(means[0] - means[best])
    if fell < NOTHING:
        why = f"no rate between {rates[0]:.2g} and {rates[len(finite) - 1]:.2g} lowers the loss"
        return Outcome(why, refuted={"rate-high": why, "rate-low": why})
    largest = rates[end]
    is_lost = above.any() or len(finite) < len(losses)
    ends = f"is lost at {largest:.2g}" if is_lost else f"is not lost up to {largest:.2g}"
    sentence = (
        f"the loss is lowest at a rate of {rates[best + window - 1]:.2g} and {ends}; the run's peak is {peak:.3g}"
    )
    if peak >= above_it * largest:
        subject.rate_factor = largest / 10 / peak
        return Outcome(sentence, (Finding(
            "rate-high", "The learning rate is above the range in which the loss falls", RED, 1,
            (f"in a learning-rate range test {sentence}",),
        ),))  # fmt: skip
    if peak < largest / below_it:
        subject.rate_factor = largest / 10 / peak
        return Outcome(sentence, (Finding(
            "rate-low", "The learning rate is far below the range in which the loss falls", AMBER, 1,
            (f"in a learning-rate range test {sentence}; a tenth of the rate at which it is lost is a usual choice",),
        ),))  # fmt: skip
    why = "the peak lies in the range in which the loss falls"
    sound = {"rate-low": peak >= largest / 20, "rate-high": peak <= largest / 3}
    return Outcome(sentence, refuted={name: why for name, is_so in sound.items() if is_so})


def memorize(subject: Subject) -> Outcome:
    """A network that learns must be able to learn one batch of 16 images by heart.

    Rule: within 1,000 steps at least 95 % of the batch right, in training mode (mean of the last 50 steps) or in
    evaluation mode; else once more with a tenth of the rate, which so small a batch may need. A loss below 1e-5 while
    regularization is set: it does not act (TheDeepChecker). Right in training mode and less than half right in
    evaluation mode [H], on the same images: evaluation-mode.
    """
    count, steps, right, tiny, last = 16, 1000, 0.95, 1e-5, 50
    data = subject.data
    few = dataclasses.replace(data, train_images=data.train_images[:count], train_labels=data.train_labels[:count])
    count = len(few.train_images)
    for factor in (subject.rate_factor, subject.rate_factor / 10):
        short = subject.trained(steps, few, factor, batch_size=count, micro_batches=1)
        trained = float(short.accuracies[-last:].mean()) if np.isfinite(short.losses[-1]) else 0.0
        evaluated = short.accuracy(few.train_images, few.train_labels)
        if max(trained, evaluated) >= right:
            break
    n, loss = len(short.losses), float(short.losses[-last:].mean())
    sentence = (
        f"after {n:,} steps on the same {count} images {percent(trained)} are right in training mode and "
        f"{percent(evaluated)} in evaluation mode, at a loss of {loss:.2g}"
    )
    if max(trained, evaluated) < right:
        if not short.complete and np.isfinite(short.losses[-1]):
            raise NotMeasured(f"a training of {steps:,} steps came to step {n:,} only")
        return Outcome(sentence, (Finding(
            "cannot-memorize", f"It cannot learn {count} images by heart", RED, 1,
            (f"{sentence}, also with a tenth of the rate",),
        ),))  # fmt: skip
    if factor < subject.rate_factor:
        sentence += ", with a tenth of the rate and not with that of the run, which is made for larger batches"
    findings = []
    if trained >= right and evaluated < 0.5 and n >= steps // 2:
        findings.append(Finding(
            "evaluation-mode", "The evaluated network is not the one that was trained", RED, 1, (sentence,)
        ))  # fmt: skip
    if loss < tiny and (acting := regularization(subject)):
        findings.append(Finding(
            "no-regularization", "The regularization does not act", AMBER, 1,
            (f"{sentence}: {acting} should keep it above {tiny:.0e}",),
        ))  # fmt: skip
    return Outcome(sentence, tuple(findings))


def regularization(subject: Subject) -> str:
    """What the settings say should keep the loss of a batch above 1e-5, in words; "" if nothing should.

    Dropout from 20 % on, label smoothing, a weight decay that brings weights to 1/e within 1,000 steps [H].
    """
    dropped, steps = 0.2, 1000
    layers = [x for x in subject.run.config.get("architecture") or [] if x.get("layer") == "Dropout"]
    found = [f"dropout of {percent(x['rate'])}" for x in layers if x.get("rate", 0) >= dropped]
    if subject.settings.label_smoothing > 0:
        found.append(f"label smoothing {subject.settings.label_smoothing:g}")
    if decay_steps(subject.run) < steps:
        found.append(f"weight decay {subject.settings.weight_decay:g}")
    return ", ".join(found)


def dependence(subject: Subject) -> Outcome:
    """The same short training on the data, on zeroed images, and with permuted labels.

    Zeroed images are the mean colour everywhere. Rules: the mean loss of the last quarter of the batches must be 4 %
    [H] below that with zeroed images, else nothing is learned from the images: no-signal. It must be as far below that
    with permuted labels, or the test accuracy 2 points and 3 SE [H] above, else the labels do not belong to the images:
    no-signal.
    With permuted labels neither the test accuracy nor that of the first epoch's batches, new to the network, may
    be above that of the most frequent class by 3 points and 4 SE [H]: else it learns from nothing.
    If the data passes, `no-signal` is refuted: without augmentation the same settings learn.
    """
    lower = 0.96
    images, labels = subject.data.train_images, subject.data.train_labels
    gray = np.broadcast_to(images.mean(axis=(0, 1, 2)).round().astype(np.uint8), images.shape)
    order = np.random.default_rng(subject.settings.seed).permutation(len(labels))

    plain = subject.plain
    zeroed = subject.whole(dataclasses.replace(subject.data, train_images=np.ascontiguousarray(gray)))
    permuted = subject.whole(dataclasses.replace(subject.data, train_labels=labels[order]))
    test_images, test_labels = subject.test
    n, classes = len(test_labels), len(subject.data.class_names)
    loss, loss_zeroed, loss_permuted = (
        float(x.losses[-max(len(x.losses) // 4, 1) :].mean()) for x in (plain, zeroed, permuted)
    )
    accuracy, of_permuted = (x.accuracy(test_images, test_labels) for x in (plain, permuted))
    frequent = float(np.bincount(test_labels, minlength=classes).max() / n)
    new = permuted.accuracies[: permuted.training.batches.steps_per_epoch]
    images_seen = len(new) * permuted.training.batches.batch_size
    frequent_seen = float(np.bincount(labels, minlength=classes).max() / len(labels))
    error = standard_error(max(accuracy, 0.01), n)
    sentence = (
        f"after {len(plain.losses)} steps the loss is {loss:.2f}, with zeroed images {loss_zeroed:.2f}, "
        f"with permuted labels {loss_permuted:.2f}; "
        f"{percent(accuracy)} of the {subject.run.test_name} images are right, with permuted labels "
        f"{percent(of_permuted)}"
    )
    findings = []
    depends = loss < lower * loss_zeroed
    belongs = loss < lower * loss_permuted or accuracy > of_permuted + max(0.02, 3 * math.sqrt(2) * error)
    if not depends or not belongs:
        title = "The loss does not depend on the images" if not depends else "The labels do not belong to the images"
        findings.append(Finding("no-signal", title, RED, 1, (sentence,)))
    too_good = of_permuted > frequent + max(0.03, 4 * standard_error(frequent, n))
    if too_good or new.mean() > frequent_seen + max(0.03, 4 * standard_error(frequent_seen, images_seen)):
        findings.append(Finding(
            "learns-from-nothing", "It is right about labels that were drawn at random", RED, 1,
            (f"with permuted labels {percent(of_permuted)} of the {subject.run.test_name} images are right, and "
             f"{percent(float(new.mean()))} of the images of the first epoch before they were trained on; the most "
             f"frequent class has {percent(max(frequent, frequent_seen))}",),
        ))  # fmt: skip
    rate = (
        "" if subject.rate_factor == 1 else f", at a rate of {subject.rate_factor * subject.settings.learning_rate:.2g}"
    )
    refuted = {} if findings else {"no-signal": f"without augmentation the same settings learn from the images{rate}"}
    return Outcome(sentence, tuple(findings), refuted)
