"""Faults of the data: classes, labels, leaks, order."""

import math

import numpy as np

from analysis.diagnosis.detectors.finding import (
    AMBER,
    CHANCE,
    LN10,
    RED,
    Finding,
    begin_of_lasting,
    epoch_evaluations,
    finite_part,
    percent,
    standard_error,
    trailing_mean,
)
from analysis.support.run import NotMeasured, Run


def missing_class(run: Run) -> Finding | None:
    """A class that is not there to be learned.

    Rule: its training images are fewer than 10 % [H] of those of the median class; red if there are none.
    """
    rare = 0.1
    counts = np.array(run.fact("data", "train_class_counts"))
    few = np.flatnonzero(counts < rare * np.median(counts))
    if not few.size:
        return None
    found = ", ".join(f"{run.class_name(k)} {counts[k]:,}" for k in few)
    evidence = [f"training images: {found}; the median class has {int(np.median(counts)):,}"]
    if (recall := recall_of(run, few)) is not None:
        evidence.append(f"at the last evaluation its recall on {run.test_name} images is {percent(recall)}")
    return Finding(
        "missing-class", "A class is missing from the training images", RED if (counts[few] == 0).any() else AMBER, 0,
        tuple(evidence),
    )  # fmt: skip


def imbalanced_classes(run: Run) -> Finding | None:
    """One class makes up most of the training images, by repetition or by a filter.

    Rule: its training images are more than 3 times [H] those of the median class; red above 10 times [H].
    """
    amber, red = 3, 10
    counts = np.array(run.fact("data", "train_class_counts"))
    k, median = int(np.argmax(counts)), float(np.median(counts))
    if counts[k] <= amber * median:
        return None
    return Finding(
        "imbalanced-classes", f"Class '{run.class_name(k)}' dominates the training images",
        RED if counts[k] > red * median else AMBER, 0,
        (f"{counts[k]:,} of {counts.sum():,} training images are of class '{run.class_name(k)}'; the median class has "
         f"{median:,.0f}",),
    )  # fmt: skip


def recall_of(run: Run, classes: np.ndarray) -> float | None:
    """The fraction of these classes' test images that the last evaluation got right, or None without an evaluation."""
    try:
        _, confusions = run.confusions()
    except NotMeasured:
        return None
    images = confusions[-1].sum(axis=1)[classes].sum()
    return confusions[-1].diagonal()[classes].sum() / images if images else None


def ignored_class(run: Run) -> Finding | None:
    """A class that is never predicted while the others are learned.

    Rule: at the last two evaluations after epoch 1 its recall is < 2 % and it makes < 1 % of all predictions, while
    the mean recall of the others is > 40 % [H]. Amber: a network that learns slowly leaves a class out for a while.
    """
    recall_low, predicted_low, others_learned = 0.02, 0.01, 0.4
    steps, confusions = run.confusions(passed=1)
    if len(steps) < 2:
        raise NotMeasured("it takes 2 evaluations after epoch 1, the run has 1")
    images, predictions = confusions.sum(axis=2), confusions.sum(axis=1)  # [E,K] each
    recall = np.diagonal(confusions, axis1=1, axis2=2) / np.maximum(images, 1)
    fraction = predictions / images.sum(axis=1, keepdims=True)
    others = (recall.sum(axis=1, keepdims=True) - recall) / (recall.shape[1] - 1)
    never = (images > 0) & (recall < recall_low) & (fraction < predicted_low) & (others > others_learned)
    for k in np.flatnonzero(never[-2:].all(axis=0)):
        return Finding(
            "ignored-class", f"The network never predicts '{run.class_name(k)}'", AMBER,
            int(steps[begin_of_lasting(never[:, k])]),
            (f"at the last evaluation its recall on {run.test_name} images is {percent(recall[-1, k])} and it is "
             f"{percent(fraction[-1, k])} of all predictions; the other classes' mean recall is "
             f"{percent(others[-1, k])}",),
        )  # fmt: skip
    return None


def swapped_labels(run: Run) -> Finding | None:
    """The predictions are consistent, but with other labels than those of the test set.

    Rule: at the last evaluation the most frequent predictions for the classes are a permutation of them other than
    the identity, and by it at least 10 points [H] more predictions are right than by the labels. Two classes that a
    young network confuses do not do that: both then get the same prediction. Or, when a part of the labels is wrong:
    the most frequent *wrong* predictions are a permutation that holds at least 40 % [H] of all errors; or they are k
    classes too high for one k (from the last class on to the first), in at least 15 % of all predictions and 1.8 times
    as many as for any other k [H]: classes that resemble each other are no neighbours in the list.
    """
    points, errors = 0.1, 0.4
    steps, confusions = run.confusions(passed=1)
    counts = confusions[-1]
    predicted = counts.argmax(axis=1)  # [K]
    classes = np.arange(len(predicted))
    if (predicted == classes).any():
        if partly := partly_swapped(run, int(steps[-1]), counts, errors) or shifted(run, int(steps[-1]), counts):
            return partly
    if (np.sort(predicted) != classes).any():
        return None
    right, renamed = counts.diagonal().sum() / counts.sum(), counts[classes, predicted].sum() / counts.sum()
    if renamed - right < points:
        return None
    others = np.flatnonzero(predicted != classes)
    moved = [f"{run.class_name(i)} is predicted as {run.class_name(predicted[i])}" for i in others]
    return Finding(
        "swapped-labels", f"The {run.test_name} labels differ from those it was trained on", RED, int(steps[-1]),
        (f"{percent(right)} of the predictions are right; with the classes renamed {percent(renamed)} would be",
         f"{', '.join(moved[:3])}" + (f" and so on for {len(moved)} classes" if len(moved) > 3 else "")),
    )  # fmt: skip


def partly_swapped(run: Run, step: int, counts: np.ndarray, least: float) -> Finding | None:
    """The second half of `swapped_labels`: counts [K,K] of one evaluation."""
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    second, classes = wrong.argmax(axis=1), np.arange(len(counts))
    if (np.sort(second) != classes).any() or not wrong.sum():
        return None
    fraction = wrong[classes, second].sum() / wrong.sum()
    if fraction < least:
        return None
    pairs = ", ".join(f"{run.class_name(i)} as {run.class_name(second[i])}" for i in classes[:3])
    return Finding(
        "swapped-labels", "A part of the labels belongs to other classes", RED, step,
        (f"{percent(fraction)} of the wrong predictions on {run.test_name} images follow a rule that names each class "
         f"once ({pairs}, ...); where classes merely resemble each other, several are taken for the same one",),
    )  # fmt: skip


def shifted(run: Run, step: int, counts: np.ndarray) -> Finding | None:
    """The third part of `swapped_labels`: counts [K,K] of one evaluation."""
    least, times = 0.15, 1.8
    classes = np.arange(len(counts))
    by_shift = np.array([counts[classes, (classes + k) % len(counts)].sum() for k in classes]) / counts.sum()
    k = int(np.argmax(by_shift[1:])) + 1
    others = np.delete(by_shift, [0, k])
    if not others.size or by_shift[k] < max(least, times * others.max()):
        return None
    return Finding(
        "swapped-labels", f"A part of the labels is shifted by {k}", RED, step,
        (f"{percent(by_shift[k])} of the predictions on {run.test_name} images are "
         f"{'one class' if k == 1 else f'{k} classes'} too high, {percent(by_shift[0])} are right; any other shift has "
         f"{percent(others.max())} at most",),
    )  # fmt: skip


def different_test(run: Run) -> Finding | None:
    """The test images, or their labels, are not like those of training: prepared in another way, or other data.

    In epoch 1 every batch is new to the network, as the test images are. Rule: the accuracy of the last quarter of
    epoch 1 is above the test accuracy after it by 10 points and 4 SE of the difference [H], and above the accuracy on
    training images by less than 5 points [H], so that it is not the evaluation as such. The batches are behind by
    themselves: the network still learns, and dropout acts.
    """
    points, errors, same = 0.1, 4, 0.05
    per_epoch = run.steps_per_epoch
    at = np.flatnonzero(run.epochs["step"] == per_epoch)
    if not at.size or per_epoch < 8:
        raise NotMeasured("it takes an evaluation at the end of epoch 1, of 8 steps or more")
    batches = run.steps["accuracy"][per_epoch - per_epoch // 4 : per_epoch]
    if batches.size < per_epoch // 4:
        raise NotMeasured("it takes the steps of epoch 1")
    test, train = run.epochs["test_accuracy"][at[0]], run.epochs["train_accuracy"][at[0]]
    count = batches.size * run.fact("settings", "batch_size")
    error = math.hypot(
        standard_error(float(test), run.fact("data", "test_images")), standard_error(float(batches.mean()), count)
    )
    if batches.mean() - test < max(points, errors * error) or batches.mean() - train > same:
        return None
    return Finding(
        "different-test", f"The {run.test_name} images are not like those of training", RED, per_epoch,
        (f"at the end of epoch 1 the batches, then new to the network, are right to {percent(batches.mean())}, the "
         f"{run.test_name} images to {percent(test)}; nothing can be overfitted that was not seen before",),
    )  # fmt: skip


def leak(run: Run) -> Finding | None:
    """Test images among the training images.

    Rule: more than 0.5 % [H] of the test images are byte for byte also training images; red above 2 % [H].
    """
    amber, red = 0.005, 0.02
    both, n = run.fact("data", "test_images_in_training"), run.fact("data", "test_images")
    if both <= amber * n:
        return None
    return Finding(
        "leak", f"{percent(both / n)} of the {run.test_name} images are also training images",
        RED if both > red * n else AMBER, 0,
        (f"{both:,} of {n:,} {run.test_name} images are byte for byte training images as well, so the "
         f"{run.test_name} accuracy is partly an accuracy on images that were trained on",),
    )  # fmt: skip


def no_signal(run: Run) -> Finding | None:
    """Weights move, and the loss stays at chance level: images and labels have nothing to do with each other.

    Rule: after 300 steps and a whole epoch, mean batch loss of the last 200 within 0.03 of ln 10 and
    no 200-step mean ever below ln 10 - 0.06, unless gradients (norm > 1e-6) only fail to reach the first
    layer: then see `vanishing` [H].
    With label smoothing the loss of chance level is ln 10 all the same.
    """
    window, near, below, alive = 200, 0.03, 0.06, 1e-6
    steps, loss, accuracy = finite_part(run, max(300, run.steps_per_epoch))
    means = trailing_mean(loss, window)[window - 1 :]
    if abs(means[-1] - LN10) > near or means.min() < LN10 - below:
        return None
    evidence = [
        f"the mean loss of the last {window} batches is {means[-1]:.3f} nats, chance level is ln 10 = {LN10:.3f}",
        f"their mean accuracy is {percent(accuracy[-window:].mean())}, chance level is 10 %",
    ]
    try:
        gradients = run.table("gradient_norm").since(int(steps[-window]))
        first, last = np.median(gradients.values[:, [0, -1]], axis=0) if len(gradients.steps) else (math.inf, math.inf)
        if first <= alive < last:
            return None  # the gradient does not reach the first layer: that is another fault
        distance = run.table("distance")
        evidence.append(
            f"the weights of '{distance.layers[0]}' have moved by {percent(distance.values[-1, 0])} of their norm"
        )
    except NotMeasured:
        pass
    return Finding("no-signal", "Nothing is learned beyond chance level", RED, int(steps[window - 1]), tuple(evidence))


def memorizing_noise(run: Run) -> Finding | None:
    """The training images are learned, and nothing of it holds for others: labels without meaning.

    Rule: at the last two evaluations after epoch 1 train accuracy > 20 % [H] while test accuracy is not above chance
    level by more than max(3 SE, 2 points) [H]. (Below chance is no better: then it has learned other labels.)
    """
    learned, points = 0.2, 0.02
    evaluations = epoch_evaluations(run, 2, passed=1)
    n = run.fact("data", "test_images")
    train, test = evaluations["train_accuracy"], evaluations["test_accuracy"]
    margin = max(3 * standard_error(CHANCE, n), points)
    holds = (train > learned) & (test - CHANCE <= margin)
    if not holds[-2:].all():
        return None
    return Finding(
        "memorizing-noise", "It memorizes its training images and nothing else", RED,
        int(evaluations["step"][begin_of_lasting(holds)]),
        (f"train accuracy {percent(train[-1])}, {run.test_name} accuracy {percent(test[-1])}: chance level is 10 %",
         f"{run.test_name} loss {evaluations['test_loss'][-1]:.2f} nats, chance level is ln 10 = {LN10:.2f}"),
    )  # fmt: skip
