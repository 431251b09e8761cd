"""Faults of the learning curves: swings, plateaus, underfitting, overfitting, collapse; and slow steps."""

import itertools
import math

import numpy as np

from analysis.diagnosis.detectors.finding import (
    AMBER,
    NOTE,
    RED,
    Finding,
    begin_of_lasting,
    epoch_evaluations,
    finite_part,
    near_peak_rate,
    percent,
    standard_error,
)
from analysis.support.run import NotMeasured, Run, counted


def oscillation(run: Run) -> Finding | None:
    """The test accuracy swings from epoch to epoch.

    Rule: it falls by at least 3 points and 4 SE from one evaluation to the next and rises by as much at the one after
    (or the other way round), at >= 20 % of the evaluations (AUTOTRAINER) and at least 3 of them [H]; still so in the
    last third: a high rate makes a run swing, and the decay of the rate calms it. Amber.
    """
    points, fraction, swings = 0.03, 0.2, 3
    evaluations = epoch_evaluations(run, 6)
    n = run.fact("data", "test_images")
    test = evaluations["test_accuracy"]
    change = np.diff(test)
    bound = max(points, 4 * standard_error(float(np.median(test)), n))
    turns = np.flatnonzero(
        (np.abs(change[:-1]) >= bound) & (np.abs(change[1:]) >= bound) & (change[:-1] * change[1:] < 0)
    )
    late = (turns + 1 >= len(test) - 1 - max(len(test) // 3, 2)).sum()
    if len(turns) < max(swings, fraction * len(test)) or not late:
        return None
    return Finding(
        "oscillation", f"The {run.test_name} accuracy swings", AMBER, int(evaluations["step"][turns[0] + 1]),
        (f"it turns round by at least {100 * bound:.1f} points {len(turns)} times in {len(test)} evaluations, "
         f"{late} of them in the last third; the largest change from one evaluation to the next is "
         f"{100 * np.abs(change).max():.1f} points",),
    )  # fmt: skip


def plateau(run: Run) -> Finding | None:
    """The training loss stops falling although much is left to learn.

    Rule: train loss of the evaluations less than 1 % below the best of 5 epochs before, train accuracy < 95 %, at two
    evaluations in a row [H]. Then: small gradient = flat; large gradient and small update = rate too low; large
    gradient and negative cosine = bouncing.
    """
    epochs, gain, known = 5, 0.01, 0.95
    evaluations = epoch_evaluations(run, epochs + 2)
    loss, accuracy = evaluations["train_loss"], evaluations["train_accuracy"]
    best = np.minimum.accumulate(loss)
    gained = 1 - best[epochs:] / best[:-epochs]  # how much the best loss fell in five epochs
    stands = (gained < gain) & (accuracy[epochs:] < known)
    if not stands[-2:].all():
        return None
    since = int(evaluations["step"][begin_of_lasting(stands)])
    evidence = [
        f"in the last {epochs} epochs the train loss fell by {percent(gained[-1])}: it is {loss[-1]:.3f}, at "
        f"{percent(accuracy[-1])} train accuracy"
    ]
    return Finding("plateau", "The train loss has stopped falling", AMBER, since, (*evidence, *slope_words(run, since)))


def slope_words(run: Run, since: int) -> list[str]:
    """A sentence about gradient, update and cosine since that step, on the plateau; none if not measured."""
    try:
        norm, ratio, cosine = (run.table(q, 20) for q in ("gradient_norm", "update_ratio", "gradient_cosine"))
    except NotMeasured:
        return []
    early, late = np.median(norm.values[:100]), np.median(norm.since(since).values)
    update, turn = np.median(ratio.since(since).values), np.median(cosine.since(since).values)
    if late < 0.1 * early:
        meaning = "the loss is flat here"
    elif update < 1e-4:
        meaning = "there is a slope, and the updates are too small for it"
    elif turn < -0.1:
        meaning = "there is a slope, and the updates bounce from side to side"
    else:
        meaning = "neither a flat loss nor the size of the updates explains it: capacity, or labels"
    return [
        f"gradient norm {late:.2g} (first 100 measured steps {early:.2g}), update ratio {update:.2g}, cosine of "
        f"successive gradients {turn:.2f}: {meaning}"
    ]


def underfit(run: Run) -> Finding | None:
    """A complete run that does not even fit its training images.

    Rule: train accuracy at the last evaluation < 60 % [H] and less than 5 points above test. Still learning, a note
    (undertrained): while the rate was at least half its peak, the mean batch loss of the second half fell below that
    of the first by more than 2 % [H] and 2 standard errors. (At the end the loss falls in every run, because the rate
    falls to zero.) Flat: amber, and red below 15 % [H]. Needs 100 steps.
    """
    low, gap, lost, gain = 0.6, 0.05, 0.15, 0.02
    run.need_steps(100)
    evaluations = epoch_evaluations(run)
    if not run.complete:
        raise NotMeasured("the run is not complete")
    train, test = evaluations["train_accuracy"][-1], evaluations["test_accuracy"][-1]
    if train >= low or train - test >= gap:
        return None
    steps, loss, _ = finite_part(run, 100)
    near = np.flatnonzero(near_peak_rate(run, steps))
    half = len(near) // 2
    before, last = loss[near[:half]], loss[near[half:]]
    error = math.sqrt(before.var() / max(len(before), 1) + last.var() / len(last))
    fell = before.mean() - last.mean()
    begin = int(steps[near[half]])
    evidence = (
        f"train accuracy {percent(train)}, {run.test_name} {percent(test)} after {run.length:,} steps",
        f"while the learning rate was near its peak, the mean batch loss fell by {fell:.3f} ± {error:.3f} from the "
        f"first half of that time to the second, to {last.mean():.3f}",
    )
    if fell > max(2 * error, gain * before.mean()):
        return Finding("underfit", "It was still learning when it ended", NOTE, begin, evidence)
    return Finding(
        "underfit", "It does not even fit its training images", RED if train < lost else AMBER, begin, evidence
    )


def strong_regularization(run: Run) -> Finding | None:
    """Training is made so hard that the network does not learn what it could.

    Rule: a dropout layer of config.json drops 80 % or more [H], or label smoothing moves 70 % or more [H] of the
    probability. Or: the batches of an epoch are learned from and hence should do better than the evaluation before
    them. At the last two epochs that evaluation's train accuracy was above 1.5 times the accuracy of the batches since
    and 10 points above it, and below 70 % [H]: dropout and augmentation act in the batches only.
    """
    most_dropped, most_smoothed, times, points, learned = 0.8, 0.7, 1.5, 0.1, 0.7
    smoothing = run.config["settings"].get("label_smoothing", 0.0)
    layers = [x for x in run.config.get("architecture") or [] if x.get("layer") == "Dropout"]
    evidence = [f"layer '{x['name']}' drops {percent(x['rate'])}" for x in layers if x.get("rate", 0) >= most_dropped]
    if smoothing >= most_smoothed:
        evidence.append(f"label smoothing is {smoothing:g}")
    evaluations, first = epoch_evaluations(run, 0 if evidence else 3, passed=1), 1
    train, steps = evaluations["train_accuracy"], evaluations["step"]
    if not run.length:
        raise NotMeasured("it takes the steps of the run")
    since = np.array([
        run.steps["accuracy"][(run.steps["step"] > a) & (run.steps["step"] <= b)].mean()
        for a, b in itertools.pairwise(steps)
    ])  # fmt: skip
    before = train[:-1]
    harder = (before > times * since) & (before > since + points) & (before < learned)
    if len(harder) >= 2 and harder[-2:].all():
        first = int(steps[1:][begin_of_lasting(harder)])
    elif not evidence:
        return None
    if len(since):
        evidence.append(
            f"the last evaluation but one found a train accuracy of {percent(before[-1])}, and {percent(since[-1])} of "
            "the images of the batches since then were right"
        )
    return Finding(
        "strong-regularization", "The regularization is too strong", RED if len(evidence) > 1 else AMBER, first,
        tuple(evidence),
    )  # fmt: skip


def overfit(run: Run) -> Finding | None:
    """It fits its training images and not the others, or what it still learns about them harms it on others.

    Rule (a): t* = argmin of the test loss; at the last 3 evaluations or more 100 (L_t / L_t* - 1) > 5 and
    L_t - L_t* > 0.05 nats [H], and the train loss fell since t* (after Prechelt 1998). Harmful (red) if the accuracy is
    2 SE below its best and has been at both last evaluations; else benign (amber): it is only overconfident.
    (b) at the last evaluation after epoch 1 the train accuracy is 30 points [H] above the test accuracy; red at 50 [H].
    """
    if found := rising_test_loss(run):
        return found
    if found := wide_gap(run):
        return found
    epoch_evaluations(run, 4)  # rule (a) needs so many
    return None


def wide_gap(run: Run) -> Finding | None:
    """The second rule of `overfit`."""
    amber, red = 0.3, 0.5
    evaluations = epoch_evaluations(run, passed=1)
    train, test = evaluations["train_accuracy"][-1], evaluations["test_accuracy"][-1]
    gaps = evaluations["train_accuracy"] - evaluations["test_accuracy"]
    if not gaps[-1] > amber:
        return None
    return Finding(
        "overfit", "Overfitting: it fits its training images, not the others", RED if gaps[-1] > red else AMBER,
        int(evaluations["step"][begin_of_lasting(gaps > amber)]),
        (f"train accuracy {percent(train)}, {run.test_name} accuracy {percent(test)}: a gap of {100 * gaps[-1]:.0f} "
         f"points with {run.fact('data', 'train_images'):,} training images",),
    )  # fmt: skip


def rising_test_loss(run: Run) -> Finding | None:
    """The first rule of `overfit`; None with fewer than 4 evaluations."""
    rise, nats, lasting = 0.05, 0.05, 3
    evaluations = epoch_evaluations(run)
    test, train, accuracy = evaluations["test_loss"], evaluations["train_loss"], evaluations["test_accuracy"]
    best = int(np.nanargmin(test))
    over = (test > (1 + rise) * test[best]) & (test > test[best] + nats)
    if len(test) - 1 - best < lasting or not over[-lasting:].all() or not train[-1] < train[best]:
        return None
    n = run.fact("data", "test_images")
    highest = int(np.argmax(accuracy))
    error = standard_error(float(accuracy[highest]), n)
    harmful = (accuracy[-2:] < accuracy[highest] - 2 * error).all()
    evidence = [
        f"{run.test_name} loss {test[-1]:.3f}, {100 * (test[-1] / test[best] - 1):.0f} % above its minimum "
        f"{test[best]:.3f} of epoch {evaluations['epoch'][best]}; train loss fell from {train[best]:.3f} to "
        f"{train[-1]:.3f} since",
        f"{run.test_name} accuracy {percent(accuracy[-1])}, best {percent(accuracy[highest])} in epoch "
        f"{evaluations['epoch'][highest]} (SE {100 * error:.1f} points)",
    ]
    errors = evaluations.get("test_calibration_error", np.empty(0))
    if len(errors) and np.isfinite(errors[[best, -1]]).all():
        evidence.append(f"calibration error {percent(errors[best])} then, {percent(errors[-1])} now")
    title = "Overfitting: the test accuracy falls" if harmful else "Overfitting, benign so far: it gets overconfident"
    return Finding("overfit", title, RED if harmful else AMBER, int(evaluations["step"][begin_of_lasting(over)]),
                   tuple(evidence))  # fmt: skip


def suspicious_test(run: Run) -> Finding | None:
    """Better on test images than on training images: too good to be true.

    Rule: test accuracy above train accuracy (both in evaluation mode) by 5 points and 4 SE of the difference [H] at
    two evaluations in a row, from epoch 3 on. Or the test loss below the train loss by 0.05 nats and 2.5 SE [H] at
    three of them, where a loss is taken to scatter from image to image by half of its mean [H].
    """
    points, errors, nats, loss_errors = 0.05, 4, 0.05, 2.5
    evaluations = epoch_evaluations(run, 2, passed=3)
    train, test = evaluations["train_accuracy"], evaluations["test_accuracy"]
    n, probe = run.fact("data", "test_images"), min(run.fact("data", "train_images"), 5_000)
    bound = [
        max(points, errors * math.hypot(standard_error(a, probe), standard_error(b, n)))
        for a, b in zip(train.tolist(), test.tolist())
    ]
    above = test - train > bound
    lower = evaluations["train_loss"] - evaluations["test_loss"]
    scatter = loss_errors * evaluations["train_loss"] / 2 * math.sqrt(1 / probe + 1 / n)
    easier = lower > np.maximum(nats, scatter)
    if above[-2:].all():
        begin = begin_of_lasting(above)
        evidence = (
            f"{run.test_name} accuracy {percent(test[-1])}, train {percent(train[-1])} on the same weights: "
            f"{100 * (test[-1] - train[-1]):.1f} points; chance allows {100 * bound[-1]:.1f}"
        )
    elif len(easier) >= 3 and easier[-3:].all():
        begin = begin_of_lasting(easier)
        evidence = (
            f"{run.test_name} loss {evaluations['test_loss'][-1]:.3f}, train loss {evaluations['train_loss'][-1]:.3f} "
            f"on the same weights: {lower[-1]:.3f} nats lower; chance allows {max(nats, scatter[-1]):.3f}"
        )
    else:
        return None
    return Finding(
        "suspicious-test", f"Better on {run.test_name} images than on training images", RED,
        int(evaluations["step"][begin]), (evidence,),
    )  # fmt: skip


def collapse(run: Run) -> Finding | None:
    """Nearly all predictions are the same class.

    Rule: at the last evaluation after epoch 1 and 100 steps one class takes > 40 % [H] of the predictions and more than
    twice its true fraction; red above 80 % [H] or at two evaluations in a row.
    """
    amber, red = 0.4, 0.8
    run.need_steps(100)
    steps, confusions = run.confusions(passed=1)
    kept = steps >= 100
    if not kept.any():
        raise NotMeasured("it takes an evaluation after 100 steps")
    steps, confusions = steps[kept], confusions[kept]
    total = confusions.sum(axis=(1, 2))
    fraction, true = confusions.sum(axis=1) / total[:, None], confusions.sum(axis=2) / total[:, None]
    over = ((fraction > amber) & (fraction > 2 * true)).any(axis=1)
    if not over[-1]:
        return None
    first = begin_of_lasting(over)
    k = int(np.argmax(fraction[-1]))
    severe = fraction[-1, k] > red or len(over) - first >= 2
    return Finding(
        "collapse", f"Nearly every prediction is '{run.class_name(k)}'", RED if severe else AMBER, int(steps[first]),
        (f"at the last evaluation {percent(fraction[-1, k])} of the predictions are '{run.class_name(k)}', the class "
         f"of {percent(true[-1, k])} of the images", f"so at {counted(len(over) - first, 'evaluation')} in a row"),
    )  # fmt: skip
