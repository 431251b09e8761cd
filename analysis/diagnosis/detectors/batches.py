"""Faults of the order of images: the same batches again, batches of few classes."""

import contextlib
import math

import numpy as np

from analysis.diagnosis.detectors.finding import AMBER, LN10, RED, Finding, finite_part, percent
from analysis.support.run import NotMeasured, Run

LIKELY = (0.1, 0.9)  # accuracies between which the scatter of a batch can be told


def unmixed_batches(run: Run) -> Finding | None:
    """The batches are no random draw from the training images: a class at a time, say.

    The accuracy of a batch of B drawn images scatters with a variance of p (1 - p) / B around the accuracy p of its
    neighbours. Rule: over the batches with p between 10 and 90 %, at least 30 of them, the variance about the mean of
    9 neighbours is more than 3 times that [H]. Clean runs have 0.8 to 1.3. Or, in batches of 32 and more, more than
    10 % of them have at most 1 image in 50 right [H]: chance level is a tenth. Their mean loss must be above ln 10: a
    low one with such an accuracy is `wrong_metric`.
    """
    times, wrong, often, least = 3.0, 0.02, 0.1, 32
    accuracy = run.steps["accuracy"]
    none = accuracy <= wrong
    sure = none.any() and not run.steps["loss"][none].mean() <= LN10  # NaN counts as wrong
    if run.fact("settings", "batch_size") >= least and len(accuracy) > 50 and none.mean() > often and sure:
        return Finding(
            "unmixed-batches", "The batches are not mixed: sorted images, or too small a shuffle buffer", RED, 1,
            (f"{percent(none.mean())} of the batches are right to at most {percent(wrong)}; chance "
             "level is a tenth",),
        )  # fmt: skip
    index, count = dispersion(run)
    if index <= times:
        return None
    return Finding(
        "unmixed-batches", "The batches are not mixed: sorted images, or too small a shuffle buffer", RED, 1,
        (f"the accuracy of a batch scatters {math.sqrt(index):.1f} times as much as that of images drawn at random "
         f"({count:,} batches of {run.fact('settings', 'batch_size')} images)",
         f"{percent((accuracy > 0.95).mean())} of the batches are right to more than 95 %, "
         f"{percent((accuracy < 0.05).mean())} to less than 5 %"),
    )  # fmt: skip


def dispersion(run: Run) -> tuple[float, int]:
    """(variance of the batch accuracy about its neighbours / that of random batches, batches used)."""
    window, least = 9, 30
    _, _, accuracy = finite_part(run, least + window)
    kernel = np.ones(window)
    means = np.convolve(accuracy, kernel, "same") / np.convolve(np.ones(len(accuracy)), kernel, "same")
    used = (means > LIKELY[0]) & (means < LIKELY[1])
    if used.sum() < least:
        raise NotMeasured(f"it takes {least} batches with an accuracy between 10 and 90 %, the run has {used.sum()}")
    expected = means * (1 - means) / run.fact("settings", "batch_size") * (window - 1) / window
    return float(((accuracy - means) ** 2)[used].sum() / expected[used].sum()), int(used.sum())


def same_batch(run: Run) -> Finding | None:
    """The first rule of `repeated_order`: batches that are learned by heart, and training images that are not.

    Found when the accuracy of successive batches has less than 0.3 times the variance of drawn ones [H]; or when the
    last 50 batches are right to 95 % and the evaluation on training images is 30 points below that [H], in a network
    without batch normalization, which could evaluate differently by itself, or already over the last quarter of epoch
    1 and the evaluation after it: in epoch 1 every batch should be new.
    """
    title = "Every step has the same batch, or one of a few"
    with contextlib.suppress(NotMeasured):
        index, count = dispersion(run)
        if index < 0.3:
            return Finding(
                "repeated-order", title, RED, 1,
                (f"the accuracy of a batch scatters {math.sqrt(index):.2g} times as much as that of images drawn at "
                 f"random ({count:,} batches): they are the same images",),
            )  # fmt: skip
    known, gap, per_epoch = 0.95, 0.3, run.steps_per_epoch
    windows = [slice(per_epoch - per_epoch // 4, per_epoch)] if per_epoch >= 8 else []
    layers = {x.get("layer") for x in run.config.get("architecture") or []}
    if layers and "BatchNormalization" not in layers:
        windows.append(slice(max(run.length - 50, 0), run.length))
    for window in windows:
        at = np.flatnonzero(run.epochs["step"] == window.stop)
        batches = run.steps["accuracy"][window]
        if not at.size or not batches.size or batches.mean() < known:
            continue
        train = run.epochs["train_accuracy"][at[0]]
        if batches.mean() - train > gap:
            return Finding(
                "repeated-order", title, RED, 1,
                (f"the last {batches.size} batches up to step {window.stop:,} are right to {percent(batches.mean())}, "
                 f"the training images to {percent(train)}: the batches are not drawn from all of them",),
            )  # fmt: skip
    return None


def repeated_order(run: Run) -> Finding | None:
    """The batches of every epoch are the same ones in the same order.

    Rule: the log-loss residual r (against the mean of 51 neighbours, clipped at 3 MAD) correlates with itself
    at a lag of exactly T = steps_per_epoch: rho(T) > 0.2 and > 6 standard deviations above rho at the 40 lags around
    T, with at least 100 pairs [H]. With a fresh shuffle, batch t and batch t + T have nothing in common. Or every step
    has the same batch: see `same_batch`.
    """
    if found := same_batch(run):
        return found
    strong, stds, pairs, side, window = 0.2, 6, 100, 20, 51
    lag = run.steps_per_epoch
    if lag <= side + 1:
        raise NotMeasured(f"it takes more than {side + 1} steps an epoch, the run has {lag}")
    _, loss, _ = finite_part(run, lag + pairs + side)
    if (loss <= 0).any():
        raise NotMeasured("the loss of a batch is 0, so that its logarithm tells nothing")
    logs = np.log(loss)
    kernel = np.ones(window)
    trend = np.convolve(logs, kernel, "same") / np.convolve(np.ones(len(logs)), kernel, "same")
    residual = logs - trend
    spread = 1.4826 * np.median(np.abs(residual - np.median(residual)))
    if not spread:
        return None
    residual = np.clip(residual / spread, -3, 3)

    def correlation(k):
        a, b = residual[:-k] - residual[:-k].mean(), residual[k:] - residual[k:].mean()
        return float(a @ b / math.sqrt((a @ a) * (b @ b)))

    here = correlation(lag)
    around = np.array([correlation(lag + k) for k in range(-side, side + 1) if k])
    noise = max(around.std(), 1 / math.sqrt(len(residual) - lag))
    if here < strong or here - around.mean() < stds * noise:
        return None
    return Finding(
        "repeated-order", "Every epoch has the same batches in the same order", AMBER, lag + 1,
        (f"how hard a batch was (loss against its neighbours) correlates by {here:.2f} with the batch exactly one "
         f"epoch ({lag:,} steps) later; at the {2 * side} lags around by {around.mean():.2f} ± {around.std():.2f}",),
    )  # fmt: skip
