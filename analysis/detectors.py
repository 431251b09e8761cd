"""What can be wrong with a run, one small pure function each: a loaded run in, a Finding or None out.

A docstring gives the rule, its formula and its source; [H] marks a threshold of our own, chosen
on recorded runs and not published by anybody. Every rule over time has a minimum duration, and
most have hysteresis: what has begun goes on until it is clearly over (`stretch`). What a rule
needs and a run did not measure raises NotMeasured. Rival explanations and experiments stand in
advice.py, the ranking in diagnose.py.
"""

import math
from dataclasses import dataclass

import numpy as np

from analysis.run import NotMeasured, Run, Table, counted

LN10 = math.log(10)  # nats: the loss of guessing among ten classes
CHANCE = 0.1  # the accuracy of guessing
RED, AMBER, NOTE = "red", "amber", "note"


@dataclass(frozen=True)
class Finding:
    """What is wrong, since when, how we know, what else it could be, and what to do."""

    id: str
    title: str
    severity: str  # red: the run is not worth going on with; amber: look at it; note: good to know
    step: int  # the first step at which it shows; 0 is the untouched network
    evidence: tuple[str, ...]  # sentences with numbers
    rivals: tuple[str, ...] = ()  # other explanations of the same evidence
    experiment: str = ""  # what tells them apart, with its command
    read: str = ""  # a file of this repository
    replay: str = ""  # the command that takes that step again
    explained_by: str = ""  # the id of another finding of this run that would cause this one


# ---------------------------------------------------------------------------- series and time


def stretch(steps: np.ndarray, enter: np.ndarray, stay: np.ndarray, duration: int) -> tuple[int, int] | None:
    """(first, last) step of the first stretch of at least `duration` steps, or None.

    Hysteresis: a stretch begins where `enter` holds and goes on while `stay`, the weaker condition,
    does. All are [n]; a stretch from step a to step b lasts b - a + 1 steps.
    """
    begin = last = None
    for step, starts, goes_on in zip(steps.tolist(), enter.tolist(), stay.tolist()):
        if begin is not None and goes_on:
            last = step
            continue
        if begin is not None and last - begin + 1 >= duration:
            break
        begin = last = step if starts else None
    return (begin, last) if begin is not None and last - begin + 1 >= duration else None


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last `window` values up to each place, of fewer at the start; [n] -> [n]."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(ends - window, 0)
    return (sums[ends] - sums[begins]) / (ends - begins)


def trailing_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median of the last `window` values up to each place; NaN where there are fewer. [n] -> [n].

    Beyond 20,000 values it is computed at some 20,000 places and kept between them: a median over 200 steps
    does not move in 50.
    """
    n, every = len(values), max(len(values) // 20_000, 1)
    medians = np.full(n, np.nan)
    if n >= window:
        windows = np.lib.stride_tricks.sliding_window_view(values, window)[::every]
        medians[window - 1 :] = np.repeat(np.median(windows, axis=1), every)[: n - window + 1]
    return medians


def finite_part(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(steps, loss, accuracy) of the batches up to the first loss that is not finite."""
    lost = np.flatnonzero(~np.isfinite(run.steps["loss"]))
    end = lost[0] if lost.size else len(run.steps["loss"])
    return tuple(run.steps[name][:end] for name in ("step", "loss", "accuracy"))


def near_peak_rate(run: Run, steps: np.ndarray, share: float = 0.5) -> np.ndarray:
    """Whether at these steps the logged rate was at least `share` of its highest: neither warm-up nor the end. [S]."""
    rate = run.steps["learning_rate"]
    place = np.minimum(np.searchsorted(run.steps["step"], steps), len(rate) - 1)
    return rate[place] >= share * np.nanmax(rate)


def standard_error(p: float, n: int) -> float:
    """SE = sqrt(p (1-p) / n) of an accuracy p over n pictures; never that of less than one picture."""
    return max(math.sqrt(p * (1 - p) / n), 1 / n)


def percent(share: float) -> str:
    """`12.3 %`."""
    return f"{100 * share:.1f} %"


# ---------------------------------------------------------------------------- the data


def missing_class(run: Run) -> Finding | None:
    """A class that is not there to be learned.

    Rule: its training images are fewer than 10 % [H] of those of the median class; red if there are none.
    """
    rare = 0.1
    counts = np.array(run.fact("data", "train_class_counts"))
    few = np.flatnonzero(counts < rare * np.median(counts))
    if not few.size:
        return None
    there = ", ".join(f"{run.class_name(k)} {counts[k]:,}" for k in few)
    evidence = [f"training images: {there}, against {int(np.median(counts)):,} of the class in the middle"]
    if (recall := recall_of(run, few)) is not None:
        evidence.append(f"at the last exam {percent(recall)} of that class's {run.test_name} images are recognised")
    return Finding(
        "missing-class", "A class is missing from the training images", RED if (counts[few] == 0).any() else AMBER, 0,
        tuple(evidence),
    )  # fmt: skip


def recall_of(run: Run, classes: np.ndarray) -> float | None:
    """The share of these classes' test images that the last exam recognised, or None if nobody looked."""
    try:
        _, confusions = run.confusions()
    except NotMeasured:
        return None
    asked = confusions[-1].sum(axis=1)[classes].sum()
    return confusions[-1].diagonal()[classes].sum() / asked if asked else None


def ignored_class(run: Run) -> Finding | None:
    """A class that is never answered while the others are.

    Rule: at the last two exams after epoch 1 its recall is < 2 % and it makes < 1 % of all answers, while the mean
    recall of the others is > 40 % [H]. Amber: a network that learns slowly leaves a class out for a while.
    """
    recall_low, answers_low, others_learn = 0.02, 0.01, 0.4
    steps, confusions = run.confusions(passed=1)
    if len(steps) < 2:
        raise NotMeasured("it takes 2 exams after epoch 1, the run has 1")
    asked, answered = confusions.sum(axis=2), confusions.sum(axis=1)  # [E,K] each
    recall = np.diagonal(confusions, axis1=1, axis2=2) / np.maximum(asked, 1)
    share = answered / asked.sum(axis=1, keepdims=True)
    others = (recall.sum(axis=1, keepdims=True) - recall) / (recall.shape[1] - 1)
    never = (asked > 0) & (recall < recall_low) & (share < answers_low) & (others > others_learn)
    for k in np.flatnonzero(never[-2:].all(axis=0)):
        first = int(np.flatnonzero(~never[:, k])[-1] + 1) if (~never[:, k]).any() else 0
        return Finding(
            "ignored-class", f"The network never answers '{run.class_name(k)}'", AMBER, int(steps[first]),
            (f"at the last exam {percent(recall[-1, k])} of its {run.test_name} images are recognised and it is "
             f"{percent(share[-1, k])} of all answers; the other classes' mean recall is {percent(others[-1, k])}",),
        )  # fmt: skip
    return None


def swapped_labels(run: Run) -> Finding | None:
    """The answers are consistent, but with other labels than those of the test set.

    Rule: at the last exam the most frequent answers to the classes are a permutation of them other than the identity,
    and by it at least 10 points [H] more answers are right than by the labels. Two classes that a young
    network confuses do not do that: both then get the same answer.
    """
    points = 0.1
    steps, confusions = run.confusions(passed=1)
    counts = confusions[-1]
    answer = counts.argmax(axis=1)  # [K]
    classes = np.arange(len(answer))
    if (np.sort(answer) != classes).any():
        return None
    right, otherwise = counts.diagonal().sum() / counts.sum(), counts[classes, answer].sum() / counts.sum()
    if otherwise - right < points:
        return None
    moved = [f"{run.class_name(i)} is answered {run.class_name(answer[i])}" for i in classes if answer[i] != i]
    return Finding(
        "swapped-labels", f"The {run.test_name} labels are others than those it was trained on", RED, int(steps[-1]),
        (f"{percent(right)} of the answers are right; with the classes renamed {percent(otherwise)} would be",
         f"{', '.join(moved[:3])}" + (f" and so on for {len(moved)} classes" if len(moved) > 3 else "")),
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
         f"{run.test_name} accuracy is partly an accuracy on learned pictures",),
    )  # fmt: skip


def no_signal(run: Run) -> Finding | None:
    """Weights move, and the loss stays that of guessing: pictures and labels have nothing to do with each other.

    Rule: after 300 steps and a whole epoch, mean batch loss of the last 200 within 0.03 of ln 10 and
    no 200-step mean ever below ln 10 - 0.06, and it is not that gradients (norm > 1e-6) only fail to reach the first
    layer: then see `vanishing` [H].
    With label smoothing the loss of guessing is ln 10 all the same.
    """
    window, near, below, alive = 200, 0.03, 0.06, 1e-6
    run.need_steps(max(300, run.steps_per_epoch))
    steps, loss, accuracy = finite_part(run)
    if len(loss) < window:
        return None
    means = trailing_mean(loss, window)[window - 1 :]
    if abs(means[-1] - LN10) > near or means.min() < LN10 - below:
        return None
    evidence = [
        f"the mean loss of the last {window} batches is {means[-1]:.3f} nats, guessing costs ln 10 = {LN10:.3f}",
        f"their mean accuracy is {percent(accuracy[-window:].mean())}, guessing gets 10 %",
    ]
    try:
        gradients = run.table("gradient_norm").since(int(steps[-window]))
        first, last = np.median(gradients.values[:, [0, -1]], axis=0) if len(gradients.steps) else (math.inf, math.inf)
        if first <= alive < last:
            return None  # the first layer hears nothing: that is another illness
        distance = run.table("distance")
        evidence.append(
            f"the weights of '{distance.layers[0]}' have moved by {percent(distance.values[-1, 0])} of their length"
        )
    except NotMeasured:
        pass
    return Finding("no-signal", "Nothing is learned beyond guessing", RED, int(steps[window - 1]), tuple(evidence))


def memorising_noise(run: Run) -> Finding | None:
    """The training images are learned, and nothing of it holds for others: labels without meaning.

    Rule: at the last two exams after epoch 1 train accuracy > 20 % [H] while test accuracy is not above guessing by
    more than max(3 SE, 2 points) [H]. (Below guessing is no better: then it has learned other labels.)
    """
    learned, points = 0.2, 0.02
    exams = run.exams(2, passed=1)
    n = run.fact("data", "test_images")
    train, test = exams["train_accuracy"], exams["test_accuracy"]
    chance = max(3 * standard_error(CHANCE, n), points)
    holds = (train > learned) & (test - CHANCE <= chance)
    if not holds[-2:].all():
        return None
    first = int(np.flatnonzero(~holds)[-1] + 1) if (~holds).any() else 0
    return Finding(
        "memorising-noise", "It learns its pictures by heart and nothing else", RED, int(exams["step"][first]),
        (f"train accuracy {percent(train[-1])}, {run.test_name} accuracy {percent(test[-1])}: guessing gets 10 %",
         f"{run.test_name} loss {exams['test_loss'][-1]:.2f} nats, guessing costs ln 10 = {LN10:.2f}"),
    )  # fmt: skip


def repeated_order(run: Run) -> Finding | None:
    """The batches of every epoch are the same ones in the same order.

    Rule: the log-loss residual r (against the mean of 51 neighbours, clipped at 3 MAD) correlates with itself
    at a lag of exactly T = steps_per_epoch: rho(T) > 0.2 and > 6 deviations above rho at the 40 lags around T,
    with at least 100 pairs [H]. With a fresh shuffle, batch t and batch t + T have nothing in common.
    """
    strong, deviations, pairs, side, window = 0.2, 6, 100, 20, 51
    lag = run.steps_per_epoch
    run.need_steps(lag + pairs + side)
    _, loss, _ = finite_part(run)
    if lag <= side + 1 or len(loss) < lag + pairs + side or (loss <= 0).any():
        return None
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
    if here < strong or here - around.mean() < deviations * noise:
        return None
    return Finding(
        "repeated-order", "Every epoch meets the same batches in the same order", AMBER, lag + 1,
        (f"how hard a batch was (loss against its neighbours) correlates by {here:.2f} with the batch exactly one "
         f"epoch ({lag:,} steps) later; at the {2 * side} lags around by {around.mean():.2f} ± {around.std():.2f}",),
    )  # fmt: skip


# ---------------------------------------------------------------------------- the code


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

    The first kernel's input is standardised pictures: a deviation of about 1.
    """
    deviations, kernels = run.table("activation_deviation"), run.table("weight_norm").layers
    if deviations.steps[0] != 0:
        raise NotMeasured("the activations of the untouched network were not measured")
    values = deviations.values[0, [deviations.layers.index(name) for name in kernels]]
    return list(kernels), values, values / np.concatenate([[1.0], values[:-1]])


def loud_pictures(run: Run) -> Finding | None:
    """Pictures that were not standardised: the first layer shouts, and the weights behind it are sound.

    Rule: before the first step the first kernel's output deviates by more than 20 [H], and from kernel to kernel after
    it the deviation grows by 2 at most (median) [H]. Red if the first loss is 2 nats above ln 10; a network with
    batch normalisation sets it right by itself: amber.
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


def schedule(step: np.ndarray, total: int, peak: float, warmup: float, final: float) -> np.ndarray:
    """core.schedules.warmup_then_decay in NumPy: the rate that a step of this run should have. [n] -> [n]."""
    w = max(round(warmup * total), 1)
    falling = final + (1 - final) * (total + 1 - step) / max(total - w + 1, 1)
    return peak * np.minimum(np.minimum(step / w, falling), 1.0)


def frozen_clock(run: Run) -> Finding | None:
    """Something that should depend on the step does not: the learning rate, or Adam's correction of its start.

    Rate: red if it never changes over at least 20 steps while the schedule of config.json changes by 10 %; amber
    if it is off the schedule by more than 1 % of the peak at 10 steps or more [H] (core/schedules.py was changed).
    Adam, at step 2: its step of size r_t = |d_t| / rate_t should shrink by (r_2/r_1)^2 = (1 + rho) / 2, where rho says
    how much the two gradients agree, measured by their cosine; with t stuck at 1 it is 1.8 times that. Red if
    2 (r_2/r_1)^2 - 1 exceeds the cosine by 0.3 (median over layers) [H].
    """
    least, change, off_by, long = 20, 0.1, 0.01, 10
    steps, rate = run.steps["step"], run.steps["learning_rate"]
    words = [run.fact("settings", name) for name in ("learning_rate", "warmup", "final_rate")]
    expected = schedule(steps.astype(float), run.total_steps, *words)
    run.need_steps(least)
    title = "The learning rate is not the one of the schedule"
    off = np.abs(rate - expected) > off_by * words[0]
    if off.sum() >= long:
        first = int(steps[off][0])
        stands = np.ptp(rate) <= 1e-6 * rate.max() and np.ptp(expected) > change * expected.max()
        worst = int(np.argmax(np.abs(rate - expected)))
        evidence = [
            f"at step {steps[worst]:,} the rate was {rate[worst]:.3g}, the schedule of config.json says "
            f"{expected[worst]:.3g}; {counted(int(off.sum()), 'step')} of {len(steps):,} differ"
        ]
        if stands:
            title = "The learning rate never changes: its clock stands still"
            evidence.append(f"it was {rate[0]:.3g} at all {len(steps):,} steps")
        return Finding("frozen-clock", title, RED if stands else AMBER, first, tuple(evidence))
    if run.fact("settings", "optimizer") == "adam":
        return adams_clock(run)
    return None


def adams_clock(run: Run) -> Finding | None:
    """The second half of `frozen_clock`."""
    excess = 0.3
    ratio, weight, cosine = (run.table(name, 2) for name in ("update_ratio", "weight_norm", "gradient_cosine"))
    if ratio.steps[:2].tolist() != [1, 2]:
        raise NotMeasured("the norms of steps 1 and 2 were not written")
    with np.errstate(divide="ignore", invalid="ignore"):
        size = ratio.values[:2] * weight.values[:2] / run.steps["learning_rate"][:2, None]  # [2,L] r_1, r_2
        shrunk = (size[1] / size[0]) ** 2  # [L]
    agree = cosine.values[1]
    if not np.isfinite(shrunk).all() or np.median(2 * shrunk - 1 - agree) <= excess:
        return None
    return Finding(
        "frozen-clock", "Adam's correction of its start stands still", RED, 2,
        (f"per unit of the rate, its second step is {math.sqrt(np.median(shrunk)):.2f} times as long as its first "
         f"(median over layers); two gradients with a cosine of {np.median(agree):.2f} make that about "
         f"{math.sqrt((1 + np.median(agree)) / 2):.2f}, and {1.344 * math.sqrt((1 + np.median(agree)) / 2):.2f} if the "
         "correction takes every step for the first",),
    )  # fmt: skip


def double_softmax(run: Run) -> Finding | None:
    """Softmax applied to probabilities: the loss cannot leave a narrow band however good the answers are.

    With p in the simplex, L = ln sum exp(p) - p_y lies in [ln(e+9) - 1, ln(e+9)] = [1.461, 2.461], and
    L + p_y in [2.403, 2.461]. Rule: after step 10 every batch is inside the band, and over the last 100 steps
    accuracy > 35 % while loss + accuracy > 2.38 [H] (an honest loss at 35 % gives about 2.1, and less later).
    """
    window, learned, together = 100, 0.35, 2.38
    high = math.log(math.e + 9)
    low = high - 1
    run.need_steps(10 + window)
    steps, loss, accuracy = finite_part(run)
    if len(loss) < 10 + window:
        return None
    later = loss[10:]
    if later.min() < low - 1e-3 or later.max() > high + 1e-3:
        return None
    means, right = trailing_mean(loss, window), trailing_mean(accuracy, window)
    sick = (right > learned) & (means + right > together)
    if not sick[-1]:
        return None
    return Finding(
        "double-softmax", "The loss behaves as if softmax were applied twice", RED, int(steps[sick][0]),
        (f"all {len(later):,} batch losses after step 10 lie in [{later.min():.3f}, {later.max():.3f}]; of a softmax "
         f"of probabilities the loss lies in [ln(e+9) - 1, ln(e+9)] = [{low:.3f}, {high:.3f}]",
         f"with {percent(right[-1])} of the last {window} batches right it is still {means[-1]:.3f}: loss + accuracy = "
         f"{means[-1] + right[-1]:.2f}, and with two softmaxes loss + probability is 2.40 to 2.46 whatever happens"),
    )  # fmt: skip


def exam_mode(run: Run) -> Finding | None:
    """The exam is not sat by the network that was trained, or depends on who else sits it.

    Rule: (a) exam_disagreement > 1e-4 (5e-4 in bfloat16) [H] at the last exam and worth more than 1e-5 nats [H]:
    a loss that depends on how images are put together comes of batch norm or dropout left in training mode.
    (b) at two exams in a row the accuracy on training images is more than 20 points [H] below that of the last
    100 batches: evaluation computes something else than training.
    """
    amount, nats, points, window = 1e-4, 1e-5, 0.2, 100
    try:
        steps, values = run.of_network("exam_disagreement")
        missing = None
    except NotMeasured as reason:
        missing = reason
    else:
        if run.config.get("precision") == "bfloat16":
            amount *= 5
        place = np.searchsorted(run.epochs["step"], steps)
        there = place < len(run.epochs["step"])
        steps, values, scale = steps[there], values[there], run.epochs["test_loss"][place[there]]
        bad = (values > amount) & (values * scale > nats)
        if len(bad) and bad[-1]:
            return Finding(
                "exam-mode", "An image's mark depends on which images are examined with it", RED, int(steps[bad][0]),
                (f"500 test images examined together and class by class differ by {values[-1]:.1e} of their loss "
                 f"at step {steps[-1]:,}; in evaluation mode the difference is rounding, about 1e-7",),
            )  # fmt: skip
    below = batches_above_exam(run, window)
    if below is not None:
        exams, gap = below
        far = gap > points
        if len(far) >= 2 and far[-2:].all():
            first = int(np.flatnonzero(~far)[-1] + 1) if (~far).any() else 0
            return Finding(
                "exam-mode", "In the exam the network is not the one that was trained", RED, int(exams[first]),
                (f"at step {exams[-1]:,} the last {window} batches were {percent(gap[-1])} more often right than "
                 "the network is in the exam on training images",),
            )  # fmt: skip
    if missing:
        raise missing
    return None


def batches_above_exam(run: Run, window: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(steps [E], batch accuracy - exam accuracy on training images [E]) at the exams after epoch 1, or None."""
    exams = {
        name: values[run.epochs["step"] >= max(run.steps_per_epoch, window)] for name, values in run.epochs.items()
    }
    if not len(exams["step"]):
        return None
    means = trailing_mean(run.steps["accuracy"], window)
    place = np.searchsorted(run.steps["step"], exams["step"])
    there = place < len(means)
    return exams["step"][there], means[place[there]] - exams["train_accuracy"][there]


def frozen_layer(run: Run) -> Finding | None:
    """A layer hears what it should do and does not do it.

    Rule: update_ratio exactly 0 at 10 measured steps in a row while the layer's gradient and the rate are not 0.
    """
    rows = 10
    ratio, gradient = run.table("update_ratio", rows), run.table("gradient_norm", rows)
    rate = run.steps["learning_rate"][np.minimum(np.searchsorted(run.steps["step"], ratio.steps), run.length - 1)]
    still = (ratio.values == 0) & (gradient.values > 0) & (rate > 0)[:, None]  # [S,L]
    for i, name in enumerate(ratio.layers):
        runs_of = trailing_mean(still[:, i].astype(float), rows)
        at = np.flatnonzero((runs_of == 1) & (np.arange(len(runs_of)) >= rows - 1))
        if at.size:
            begin = int(ratio.steps[at[0] - rows + 1])
            return Finding(
                "frozen-layer", f"Layer '{name}' has a gradient and does not move", RED, begin,
                (f"update 0 at {int(still[:, i].sum())} of {len(ratio.steps)} measured steps, with a gradient norm of "
                 f"{np.median(gradient.values[still[:, i], i]):.3g} in the middle",),
            )  # fmt: skip
    return None


def shrinking_weights(run: Run) -> Finding | None:
    """The weights are pulled to zero faster than the data can build them up.

    Rule: at the last three measured steps the median over layers of |w| / |w at step 1| is below 0.05 [H].
    """
    little, rows = 0.05, 3
    table = run.table("weight_norm", rows)
    started = table.values[0] > 0
    if table.steps[0] != 1 or not started.any():
        raise NotMeasured("the lengths of the kernels at step 1 are not known, or 0")
    share = np.median(table.values[:, started] / table.values[0, started], axis=1)  # [S]
    if not (share[-rows:] < little).all():
        return None
    first = int(np.flatnonzero(~(share < little))[-1] + 1)
    return Finding(
        "shrinking-weights", "The weights shrink towards zero", RED, int(table.steps[first]),
        (f"at step {table.steps[-1]:,} a kernel has {share[-1]:.2g} of the length it started with (median over layers)",
         f"the weight decay is {run.fact('settings', 'weight_decay'):.3g}, the peak of the learning rate "
         f"{np.nanmax(run.steps['learning_rate']):.3g}"),
    )  # fmt: skip


def uphill(run: Run) -> Finding | None:
    """The steps raise the loss they should lower.

    Rule: the credit g.d summed over all layers above 0 at every one of the first 5 steps (at rest, momentum has
    nothing to carry uphill), or in the median of 50 measured steps [H].
    """
    first, rows = 5, 50
    credit = run.table("credit", first)
    total = credit.values.sum(axis=1)
    at = 0
    if not (total[:first] > 0).all():
        if len(total) < rows:
            raise NotMeasured(f"it takes credit at {rows} steps, the run has it at {len(total)}")
        bad = np.flatnonzero(trailing_median(total, rows) > 0)
        if not bad.size:
            return None
        at = int(bad[0]) - rows + 1
    looked = total[at : at + rows]
    return Finding(
        "uphill", "The steps go uphill", RED, int(credit.steps[at]),
        (f"g.d, what the step promises to add to the loss, is positive at {percent((looked > 0).mean())} of "
         f"{len(looked)} measured steps from step {credit.steps[at]:,} on; a step downhill makes it negative",),
    )  # fmt: skip


# ---------------------------------------------------------------------------- numbers that run away


def non_finite(run: Run) -> Finding | None:
    """NaN or infinity in a loss or a gradient. From there on nothing is learned."""
    run.need_steps(1)
    loss, gradient = run.steps["loss"], run.steps["gradient_norm"]
    lost = np.flatnonzero(~(np.isfinite(loss) & np.isfinite(gradient)))
    if lost.size:
        at = lost[0]
        before = slice(max(at - 20, 0), at)
        evidence = [f"at step {run.steps['step'][at]:,} the loss is {loss[at]}, the gradient norm {gradient[at]}"]
        if at:
            evidence.append(
                f"in the {counted(int(at - before.start), 'step')} before, the loss reached {loss[before].max():.3g} "
                f"and the gradient norm {gradient[before].max():.3g}; the learning rate was "
                f"{run.steps['learning_rate'][at]:.3g}"
            )
        return Finding("non-finite", "The loss is not a number", RED, int(run.steps["step"][at]), tuple(evidence))
    for column in ("train_loss", "test_loss"):
        at = np.flatnonzero(~np.isfinite(run.epochs[column]))
        if at.size:
            step = int(run.epochs["step"][at[0]])
            return Finding(
                "non-finite", "The loss of an exam is not a number", RED, step,
                (f"{column} is {run.epochs[column][at[0]]} at step {step:,}, and every batch loss is finite",),
            )  # fmt: skip
    return None


def spike(run: Run) -> Finding | None:
    """The loss jumps out of its own noise.

    Rule: log-loss above the median of the 200 steps before by 6 x 1.4826 MAD, loss > 1.2 x that median and
    > 0.25 nats over it; the median of the five steps from there on still over the last two bounds (one hard
    batch is no spike) [H]. Note if it is back within 200 steps, amber if it is not, or after three of them.
    """
    window, deviations, times, nats, after = 200, 6, 1.2, 0.25, 5
    run.need_steps(window + after)
    steps, loss, _ = finite_part(run)
    if len(loss) < window + after or (loss <= 0).any():
        return None
    medians = trailing_median(loss, window)
    bound = np.maximum(times * medians, medians + nats)
    found, free_from = [], 0
    for i in np.flatnonzero(loss[window:] > bound[window - 1 : -1]) + window:
        logs = np.log(loss[i - window : i])
        middle = np.median(logs)
        mad = 1.4826 * np.median(np.abs(logs - middle))
        jump = (math.log(loss[i]) - middle) / max(mad, 1e-12)
        following = loss[i : i + after]
        if i < free_from or jump < deviations or len(following) < after or np.median(following) < bound[i - 1]:
            continue
        back = np.flatnonzero(loss[i : i + window] <= medians[i - 1] * 1.1)
        found.append((i, jump, back[0] if back.size else None))
        free_from = i + (back[0] if back.size else window)
    if not found:
        return None
    at, jump, back = found[0]
    recovered = all(b is not None for *_, b in found)
    evidence = [
        f"at step {steps[at]:,} the loss is {loss[at]:.3g}; the 200 steps before had a median of "
        f"{medians[at - 1]:.3g}, and it is {jump:.0f} of their deviations above that (in logarithms)",
        f"back after {counted(int(back), 'step')}" if back is not None else "not back within 200 steps",
    ]
    if len(found) > 1:
        evidence.append(f"{len(found)} spikes in all, the last at step {steps[found[-1][0]]:,}")
    severity = NOTE if recovered and len(found) < 3 else AMBER
    return Finding("spike", "The loss jumps", severity, int(steps[at]), tuple(evidence))


def divergence(run: Run) -> Finding | None:
    """The loss climbs and stays up.

    Rule over the mean of the last 50 batches: (a) back at guessing, above ln 10 - 0.02, for 100 steps after having
    been below ln 10 - 0.2; (b) above 1.5 x its minimum so far and 0.3 nats over it for 100 steps; or (c) five batches
    in a row above 2 ln 10 after a first loss within 0.25 of ln 10: confidently wrong [H]. Leaving takes 90 % of the
    bound. Red; amber if the loss came back below ln 10 - 0.2 and 1.2 x its minimum by the end.
    """
    window, duration, above, below, times, nats, hot = 50, 100, -0.02, 0.2, 1.5, 0.3, 5
    run.need_steps(hot)
    steps, loss, _ = finite_part(run)
    if len(loss) < hot:
        return None
    means = trailing_mean(loss, window)
    lowest = np.minimum.accumulate(means)
    bound = np.maximum(times * lowest, lowest + nats)
    bound = np.where(lowest < LN10 - below, np.minimum(bound, LN10 + above), bound)
    over = stretch(steps, means > bound, means > 0.9 * bound, duration)
    if not over and abs(loss[0] - LN10) <= 0.25:
        wild = loss > 2 * LN10
        over = stretch(steps, wild, wild, hot)
    if not over:
        return None
    lowest_ever = float(lowest[np.searchsorted(steps, over[0])])
    back = means[-1] < LN10 - below and means[-1] < 1.2 * max(lowest_ever, 0.05) and over[1] < steps[-1]
    return Finding(
        "divergence", "The loss climbs and stays up" + (", for a while" if back else ""), AMBER if back else RED,
        over[0],
        (f"the mean loss of 50 batches had come down to {lowest_ever:.3f}; "
         f"from step {over[0]:,} to {over[1]:,} it is up, at most {means[steps >= over[0]].max():.3g}",
         f"it ends at {means[-1]:.3g}; guessing costs ln 10 = {LN10:.2f}"),
    )  # fmt: skip


def exploding(run: Run) -> Finding | None:
    """The gradient grows on its way back.

    Rule: |g_first| / |g_last| > 70 (AUTOTRAINER, ICSE 2021) at 10 measured steps in a row, over after < 35; or the
    global gradient norm more than 100 x its median so far at 10 steps in a row [H].
    """
    flow, rows, times = 70, 10, 100
    try:
        steps, values = gradient_flow(run)
    except NotMeasured:
        flow_found = None
        run.need_steps(rows)
    else:
        flow_found = in_a_row(values > flow, values > flow / 2, rows)
    if flow_found is not None:
        first = int(steps[flow_found])
        return Finding(
            "exploding", "The gradient grows from layer to layer", AMBER, first,
            (f"the first layer's gradient is {np.median(values[flow_found : flow_found + rows]):.3g} times as long as "
             f"the last one's at {rows} measured steps from step {first:,} on (median)",),
        )  # fmt: skip
    norm = run.steps["gradient_norm"]
    norm = norm[: np.flatnonzero(~np.isfinite(norm))[0]] if not np.isfinite(norm).all() else norm
    places = np.unique(np.geomspace(1, max(len(norm), 1), 100).astype(int))  # a hundred medians will do
    medians = np.array([np.median(norm[:place]) for place in places if place <= len(norm)])
    so_far = np.repeat(medians, np.diff(np.append(places, len(norm) + 1))[: len(medians)])
    at = in_a_row(norm > times * so_far, norm > times / 2 * so_far, rows)
    if at is None or so_far[at] == 0:
        return None
    return Finding(
        "exploding", "The gradient explodes", RED, int(run.steps["step"][at]),
        (f"at step {run.steps['step'][at]:,} its norm is {norm[at]:.3g}; the median until then is {so_far[at]:.3g}",),
    )  # fmt: skip


def gradient_flow(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(steps [S], |g_first| / |g_last| [S]); infinite where the last gradient is 0, NaN where both are."""
    table = run.table("gradient_norm", 10)
    with np.errstate(divide="ignore", invalid="ignore"):
        return table.steps, table.values[:, 0] / table.values[:, -1]


def in_a_row(enter: np.ndarray, stay: np.ndarray, count: int) -> int | None:
    """The place where the first stretch of `count` measurements begins, with the hysteresis of `stretch`."""
    found = stretch(np.arange(len(enter)), enter, stay, count)
    return found[0] if found else None


# ---------------------------------------------------------------------------- signals that fade


def vanishing(run: Run) -> Finding | None:
    """The gradient fades on its way back to the first layer.

    Rule: |g_first| / |g_last| < 1e-3 (AUTOTRAINER) and |g_first| < 1e-4 [H] at 10 measured steps in a row; over
    after > 3e-3.
    """
    flow, tiny, rows = 1e-3, 1e-4, 10
    steps, values = gradient_flow(run)
    first = run.table("gradient_norm").values[:, 0]
    at = in_a_row((values < flow) & (first < tiny), (values < 3 * flow) & (first < 3 * tiny), rows)
    if at is None:
        return None
    names = run.table("gradient_norm").layers
    last = values[-rows:]
    ends = np.nanmedian(last) if np.isfinite(last).any() else 0.0
    gone = ends < 3 * flow
    return Finding(
        "vanishing", "The gradient does not reach the first layer", RED if gone else AMBER, int(steps[at]),
        (f"from step {steps[at]:,} on the gradient of '{names[0]}' is {np.median(values[at : at + rows]):.2g} times as "
         f"long as that of '{names[-1]}', {np.median(first[at : at + rows]):.2g} (median of {rows} measured steps)",
         f"at the end the ratio is {ends:.2g}"),
    )  # fmt: skip


def dying_relu(run: Run) -> Finding | None:
    """Channels that are off for every image, and so get no gradient and stay off.

    Rule: a channel is dead if it is 0 for all of 1,000 images everywhere. In some layer >= 50 % dead (SageMaker
    Debugger) at the last two measurements: amber; >= 90 % [H], which cuts the signal: red. It began when the share
    rose above 40 % [H] for good. (A wide layer on an easy task loses a third of its channels and nothing else.)
    """
    amber, red, over, rows = 0.5, 0.9, 0.4, 2
    table = run.table("dead_channels", rows)
    lasting = table.values[-rows:].min(axis=0)  # [L]
    worst = int(np.argmax(lasting))
    if lasting[worst] < amber:
        return None
    name, share = table.layers[worst], table.values[:, worst]
    first = int(np.flatnonzero(share < over)[-1] + 1) if (share < over).any() else 0
    return Finding(
        "dying-relu", f"Much of layer '{name}' is off for every image", RED if lasting[worst] >= red else AMBER,
        int(table.steps[first]),
        (f"{percent(share[-1])} of its channels are 0 for all 1,000 images at step {table.steps[-1]:,}; "
         f"{percent(share[0])} were at step {table.steps[0]:,}",
         "all layers at the end: " + ", ".join(f"{n} {percent(v)}" for n, v in zip(table.layers, table.values[-1]))),
    )  # fmt: skip


def rate_high(run: Run) -> Finding | None:
    """Each step moves the weights by too much of their length.

    Rule: median over layers of |d|/|w| > 3e-2 [H], red > 1e-1 [H], for 200 steps while the rate is at least half its
    peak, over after half of that; or > 1e-1 at two measured steps of the whole run, or |w| 1.5 times as long as 20
    steps before (median over layers) [H]: a few such steps undo what many have built, and may well be the last ones.
    (CS231n's 1e-3 is for plain SGD; batch norm with momentum is well at 1e-2.)
    """
    long = rate_scale(run, "rate-high", "The steps are too large for the weights", 3e-2, 1e-1)
    if long:
        return long
    leap, times, growth = 0.1, 2, 1.5
    steps, ratio = middle_ratio(run)
    leaps = np.flatnonzero(ratio > leap)
    grown_at, grown = growth_of_weights(run)
    blown = np.flatnonzero(grown > growth)
    if len(leaps) < times and not blown.size:
        run.need_steps(200)  # to say that all is in order takes as long as the first rule does
        return None
    evidence = []
    if leaps.size:
        worst = leaps[np.argmax(ratio[leaps])]
        evidence.append(
            f"{len(leaps)} of {len(steps)} measured steps moved a layer by more than {percent(leap)} of its length "
            f"(median over layers), most of all step {steps[worst]:,} by {percent(ratio[worst])}; 0.1 to 1 % is usual"
        )
    if blown.size:
        worst = blown[np.argmax(grown[blown])]
        evidence.append(
            f"at step {grown_at[worst]:,} the kernels are {grown[worst]:.2g} times as long as some 20 steps before "
            "(median over layers)"
        )
    first = min(int(at[found[0]]) for at, found in ((steps, leaps), (grown_at, blown)) if found.size)
    return Finding("rate-high", "Some steps throw the weights about", AMBER, first, (*evidence, *bouncing(run, 1)))


def growth_of_weights(run: Run, span: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """(steps [S], median over layers of |w| now / |w| at the last measured step at least `span` before [S])."""
    table = run.table("weight_norm")
    before = np.maximum(np.searchsorted(table.steps, table.steps - span, side="right") - 1, 0)
    now, then = table.values[:, :-1], table.values[before, :-1]
    return table.steps, np.nan_to_num(
        np.median(np.where(then > 0, now / np.maximum(then, 1e-30), 1.0), axis=1), nan=1.0
    )


def rate_low(run: Run) -> Finding | None:
    """Each step moves the weights by next to nothing.

    Rule: median over layers of |d|/|w| < 1e-4 [H], red < 1e-5 [H], for 200 steps while the rate is at least half its
    peak; over after twice that. (CS231n: about 1e-3 is right.)
    """
    run.need_steps(200)
    return rate_scale(run, "rate-low", "The steps are too small for the weights", 1e-4, 1e-5)


def middle_ratio(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(steps [S], median over layers of |d|/|w| [S]), without the last layer, which starts short (OUTPUT_GAIN)."""
    table = run.table("update_ratio")
    return table.steps, np.nan_to_num(np.median(table.values[:, :-1], axis=1), nan=0.0, posinf=np.inf)


def bouncing(run: Run, since: int) -> list[str]:
    """What the cosine of successive gradients and the quality of steps say since that step, if they were measured."""
    said = []
    for quantity, words in (
        ("gradient_cosine", "cosine between successive gradients {:.2f} (median; below -0.1 is zig-zag)"),
        ("step_quality", "step quality {:.2f} (median; 1 keeps its promise, below 0 the loss rose on its own batch)"),
    ):
        try:
            said.append(words.format(np.median(run.table(quantity).since(since).values)))
        except NotMeasured:
            pass
    return said


def rate_scale(run: Run, name: str, title: str, amber: float, red: float) -> Finding | None:
    """`rate_high` and `rate_low` over a long time: they differ in the sign only."""
    duration = 200
    steps, ratio = middle_ratio(run)
    near = near_peak_rate(run, steps)
    steps, ratio = steps[near], ratio[near]
    sign = 1 if red > amber else -1
    slack = 0.5 if sign > 0 else 2.0
    found = stretch(steps, sign * ratio > sign * amber, sign * ratio > sign * amber * slack, duration)
    if not found:
        return None
    middle = float(np.median(ratio[(steps >= found[0]) & (steps <= found[1])]))
    if sign * middle <= sign * amber:
        return None
    return Finding(
        name, title, RED if sign * middle > sign * red else AMBER, found[0],
        (f"from step {found[0]:,} to {found[1]:,}, with the rate near its peak, a step moves a layer by {middle:.2g} "
         "of its length (median over layers and steps); between 1e-4 and 3e-2 is usual",
         f"the peak of the learning rate is {np.nanmax(run.steps['learning_rate']):.3g}",
         *(bouncing(run, found[0]) if sign > 0 else ())),
    )  # fmt: skip


# ---------------------------------------------------------------------------- how it learns


def oscillation(run: Run) -> Finding | None:
    """The test accuracy swings from epoch to epoch.

    Rule: it falls by at least 3 points and 4 SE from one exam to the next and rises by as much at the one after (or
    the other way round), at >= 20 % of the exams (AUTOTRAINER) and at least 3 of them [H]; still so in the last
    third: a high rate makes a run swing, and the decay of the rate calms it. Amber.
    """
    points, share, swings = 0.03, 0.2, 3
    exams = run.exams(6)
    n = run.fact("data", "test_images")
    test = exams["test_accuracy"]
    change = np.diff(test)
    bound = max(points, 4 * standard_error(float(np.median(test)), n))
    turns = np.flatnonzero(
        (np.abs(change[:-1]) >= bound) & (np.abs(change[1:]) >= bound) & (change[:-1] * change[1:] < 0)
    )
    late = (turns + 1 >= len(test) - 1 - max(len(test) // 3, 2)).sum()
    if len(turns) < max(swings, share * len(test)) or not late:
        return None
    return Finding(
        "oscillation", f"The {run.test_name} accuracy swings", AMBER, int(exams["step"][turns[0] + 1]),
        (f"it turns round by at least {100 * bound:.1f} points {len(turns)} times in {len(test)} exams, "
         f"{late} of them in the last third; the largest change from one exam to the next is "
         f"{100 * np.abs(change).max():.1f} points",),
    )  # fmt: skip


def plateau(run: Run) -> Finding | None:
    """The training stands still although much is left to learn.

    Rule: train loss of the exams less than 1 % below the best of 5 epochs before, train accuracy < 95 %, at two exams
    in a row [H]; over after 2 %. Then: small gradient = flat; large gradient and small update = rate too low; large
    gradient and negative cosine = bouncing.
    """
    epochs, gain, known = 5, 0.01, 0.95
    exams = run.exams(epochs + 2)
    loss, accuracy = exams["train_loss"], exams["train_accuracy"]
    best = np.minimum.accumulate(loss)
    gained = 1 - best[epochs:] / best[:-epochs]  # what the best loss won in five epochs
    stands = (gained < gain) & (accuracy[epochs:] < known)
    if not stands[-2:].all():
        return None
    first = int(np.flatnonzero(~stands)[-1] + 1) if (~stands).any() else 0
    since = int(exams["step"][first])
    evidence = [
        f"in the last {epochs} epochs the train loss gained {percent(gained[-1])}: it is {loss[-1]:.3f}, at "
        f"{percent(accuracy[-1])} train accuracy"
    ]
    return Finding("plateau", "The training stands still", AMBER, since, (*evidence, *slope_words(run, since)))


def slope_words(run: Run, since: int) -> list[str]:
    """What gradient, update and cosine say of a loss that stands still since that step; empty if not measured."""
    try:
        norm, ratio, cosine = (run.table(q, 20) for q in ("gradient_norm", "update_ratio", "gradient_cosine"))
    except NotMeasured:
        return []
    early, late = np.median(norm.values[:100]), np.median(norm.since(since).values)
    update, turn = np.median(ratio.since(since).values), np.median(cosine.since(since).values)
    if late < 0.1 * early:
        meaning = "the ground is flat here"
    elif update < 1e-4:
        meaning = "there is a slope, and the steps are too small for it"
    elif turn < -0.1:
        meaning = "there is a slope, and the steps bounce from side to side"
    else:
        meaning = "neither a flat ground nor the size of the steps explains it: capacity, or labels"
    return [
        f"gradient norm {late:.2g} (first 100 measured steps {early:.2g}), update ratio {update:.2g}, cosine of "
        f"successive gradients {turn:.2f}: {meaning}"
    ]


def underfit(run: Run) -> Finding | None:
    """A complete run that does not even know its training images.

    Rule: train accuracy at the last exam < 60 % [H] and less than 5 points above test. If the mean batch loss of the
    last quarter is below that of the quarter before by more than 1 % and 2 standard errors, it was still learning:
    note (undertrained). Flat: amber, and red below 15 % [H]. Needs 100 steps.
    """
    low, gap, lost, gain = 0.6, 0.05, 0.15, 0.01
    run.need_steps(100)
    exams = run.exams()
    if not run.complete:
        raise NotMeasured("the run is not complete")
    train, test = exams["train_accuracy"][-1], exams["test_accuracy"][-1]
    if train >= low or train - test >= gap:
        return None
    steps, loss, _ = finite_part(run)
    quarter = len(loss) // 4
    if not quarter:
        return None
    before, last = loss[-2 * quarter : -quarter], loss[-quarter:]
    error = math.sqrt((before.var() + last.var()) / quarter)
    fell = before.mean() - last.mean()
    falling = fell > max(2 * error, gain * before.mean())
    evidence = (
        f"train accuracy {percent(train)}, {run.test_name} {percent(test)} after {run.length:,} steps",
        f"the mean batch loss fell by {fell:.3f} ± {error:.3f} from the third quarter of the run to the last, to "
        f"{last.mean():.3f}",
    )
    if falling:
        return Finding("underfit", "It was still learning when it ended", NOTE, int(steps[-quarter]), evidence)
    return Finding(
        "underfit", "It does not even know its training images", RED if train < lost else AMBER, int(steps[-quarter]),
        evidence,
    )  # fmt: skip


def overfit(run: Run) -> Finding | None:
    """What it still learns about its own pictures harms it on others.

    Rule: t* = argmin of the test loss; at the last 3 exams or more 100 (L_t / L_t* - 1) > 5 and L_t - L_t* > 0.05
    nats [H], and the train loss fell since t* (after Prechelt 1998). Harmful (red) if the accuracy is 2 SE below its
    best and has been at both last exams; else benign (amber): it is only too sure of itself.
    """
    rise, nats, evaluations = 0.05, 0.05, 3
    exams = run.exams(evaluations + 1)
    test, train, accuracy = exams["test_loss"], exams["train_loss"], exams["test_accuracy"]
    best = int(np.nanargmin(test))
    over = (test > (1 + rise) * test[best]) & (test > test[best] + nats)
    if len(test) - 1 - best < evaluations or not over[-evaluations:].all() or not train[-1] < train[best]:
        return None
    first = int(np.flatnonzero(~over)[-1] + 1)
    n = run.fact("data", "test_images")
    highest = int(np.argmax(accuracy))
    error = standard_error(float(accuracy[highest]), n)
    harmful = (accuracy[-2:] < accuracy[highest] - 2 * error).all()
    evidence = [
        f"{run.test_name} loss {test[-1]:.3f}, {100 * (test[-1] / test[best] - 1):.0f} % above its minimum "
        f"{test[best]:.3f} of epoch {exams['epoch'][best]}; train loss fell from {train[best]:.3f} to "
        f"{train[-1]:.3f} since",
        f"{run.test_name} accuracy {percent(accuracy[-1])}, best {percent(accuracy[highest])} in epoch "
        f"{exams['epoch'][highest]} (SE {100 * error:.1f} points)",
    ]
    errors = exams.get("test_calibration_error", np.empty(0))
    if len(errors) and np.isfinite(errors[[best, -1]]).all():
        evidence.append(f"calibration error {percent(errors[best])} then, {percent(errors[-1])} now")
    title = (
        "Overfitting: it loses on new images" if harmful else "Overfitting, benign so far: it gets too sure of itself"
    )
    return Finding("overfit", title, RED if harmful else AMBER, int(exams["step"][first]), tuple(evidence))


def suspicious_test(run: Run) -> Finding | None:
    """Better on new images than on its own: too good to be true.

    Rule: test accuracy above train accuracy (both in evaluation mode) by 5 points and 4 SE of the difference [H] at
    two exams in a row, from epoch 3 on.
    """
    points, errors = 0.05, 4
    exams = run.exams(2, passed=3)
    train, test = exams["train_accuracy"], exams["test_accuracy"]
    n, probe = run.fact("data", "test_images"), min(run.fact("data", "train_images"), 5_000)
    bound = [
        max(points, errors * math.hypot(standard_error(a, probe), standard_error(b, n)))
        for a, b in zip(train.tolist(), test.tolist())
    ]
    above = test - train > bound
    if not above[-2:].all():
        return None
    first = int(np.flatnonzero(~above)[-1] + 1) if (~above).any() else 0
    return Finding(
        "suspicious-test", f"Better on {run.test_name} images than on its own", RED, int(exams["step"][first]),
        (f"{run.test_name} accuracy {percent(test[-1])}, train {percent(train[-1])} on the same weights: "
         f"{100 * (test[-1] - train[-1]):.1f} points; chance allows {100 * bound[-1]:.1f}",),
    )  # fmt: skip


def collapse(run: Run) -> Finding | None:
    """It answers nearly always the same.

    Rule: at the last exam after epoch 1 and 100 steps one class takes > 40 % [H] of the answers and more than twice
    its true share; red above 80 % [H] or at two exams in a row.
    """
    amber, red = 0.4, 0.8
    run.need_steps(100)
    steps, confusions = run.confusions(passed=1)
    kept = steps >= 100
    if not kept.any():
        raise NotMeasured("it takes an exam after 100 steps")
    steps, confusions = steps[kept], confusions[kept]
    total = confusions.sum(axis=(1, 2))
    share, true = confusions.sum(axis=1) / total[:, None], confusions.sum(axis=2) / total[:, None]
    over = ((share > amber) & (share > 2 * true)).any(axis=1)
    if not over[-1]:
        return None
    first = int(np.flatnonzero(~over)[-1] + 1) if (~over).any() else 0
    k = int(np.argmax(share[-1]))
    severe = share[-1, k] > red or len(over) - first >= 2
    return Finding(
        "collapse", f"It answers '{run.class_name(k)}' whatever it sees", RED if severe else AMBER, int(steps[first]),
        (f"at the last exam {percent(share[-1, k])} of the answers are '{run.class_name(k)}', the right answer for "
         f"{percent(true[-1, k])} of the images", f"so at {counted(len(over) - first, 'exam')} in a row"),
    )  # fmt: skip


def pipeline(run: Run) -> Finding | None:
    """The machine waits for something else than arithmetic.

    Rule: a compiled function was traced more than once: amber. Or p95 / p50 of the seconds a step took, without
    the probes, > 3 over at least 100 steps: a note, for a shared machine does that by itself.
    """
    tail, least = 3, 100
    try:
        steps, traces = run.of_network("traces")
    except NotMeasured:
        traces = np.empty(0)
    if len(traces) and traces[-1] > 1:
        return Finding(
            "pipeline", "The step is compiled more than once", AMBER, int(steps[traces > 1][0]),
            (f"{traces[-1]:.0f} traces of one function by step {steps[-1]:,}; one is right: each costs seconds",),
        )  # fmt: skip
    run.need_steps(least)
    timing = run.timing
    seconds = timing["step_seconds"][1:]  # the first one compiles
    if len(seconds) < least - 1:
        raise NotMeasured("timing.csv is short")
    middle, late = np.percentile(seconds, [50, 95])
    if not late > tail * middle:
        return None
    return Finding(
        "pipeline", "Some steps take much longer than others", NOTE,
        int(timing["step"][1:][np.argmax(seconds > tail * middle)]),
        (f"half of the steps take at most {1000 * middle:.1f} ms, one in twenty more than {1000 * late:.1f} ms",),
    )  # fmt: skip


# In the order of causes: what stands earlier can bring about what stands later.
DETECTORS = {
    "missing-class": missing_class,
    "leak": leak,
    "swapped-labels": swapped_labels,
    "zero-start": zero_start,
    "no-gradient": no_gradient,
    "loud-pictures": loud_pictures,
    "large-start": large_start,
    "double-softmax": double_softmax,
    "frozen-clock": frozen_clock,
    "frozen-layer": frozen_layer,
    "uphill": uphill,
    "shrinking-weights": shrinking_weights,
    "exam-mode": exam_mode,
    "repeated-order": repeated_order,
    "rate-high": rate_high,
    "exploding": exploding,
    "divergence": divergence,
    "dying-relu": dying_relu,
    "vanishing": vanishing,
    "rate-low": rate_low,
    "no-signal": no_signal,
    "memorising-noise": memorising_noise,
    "non-finite": non_finite,
    "bad-start": bad_start,
    "spike": spike,
    "overfit": overfit,
    "suspicious-test": suspicious_test,
    "collapse": collapse,
    "ignored-class": ignored_class,
    "oscillation": oscillation,
    "plateau": plateau,
    "underfit": underfit,
    "pipeline": pipeline,
}
