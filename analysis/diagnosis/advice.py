"""What else a finding could be, the experiment that tells, and what to read. One entry a detector.

The rules that find are in detectors/. A rival is another explanation of the same numbers: a
diagnosis that names none invites a wrong cure.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from analysis.support.run import Run
from core.settings.recipes import RECIPES

NOT_REPEATED = ("recipe", "data_dir", "device", "threads", "keep_checkpoints", "diagnostics_budget", "checkpoint_every")


@dataclass(frozen=True)
class Advice:
    """The part of a finding that does not depend on its numbers."""

    rivals: tuple[str, ...]
    experiment: str  # what to do and which outcome means what
    command: Callable[[Run], str]
    read: str  # beside the detector's own section in docs/diagnostics.md


def again(run: Run, **changes) -> str:
    """The command that trains this run's settings again with some of them changed."""
    settings = run.config["settings"]
    recipe = settings.get("recipe", "classic")
    usual = dataclasses.asdict(RECIPES.get(recipe, RECIPES["classic"]))
    wanted = {name: settings.get(name, value) for name, value in usual.items() if name not in NOT_REPEATED} | changes
    if "steps" in changes or "epochs" in changes:  # one length, and the one that was asked for
        wanted.pop("epochs" if "steps" in changes else "steps")
    args = [f"python train_loop.py --recipe {recipe}"]
    for name, value in wanted.items():
        if value == usual[name] or (name == "data" and value == "cifar10"):
            continue
        option = name.replace("_", "-")
        if isinstance(value, bool):
            args.append(f"--{'' if value else 'no-'}{option}")
        else:
            args.append(f"--{option} {value:.3g}" if isinstance(value, float) else f"--{option} {value}")
    return " ".join(args)


def scaled_rate(factor: float) -> Callable[[Run], str]:
    """The same run with `factor` times its learning rate."""
    return lambda run: again(run, learning_rate=run.config["settings"].get("learning_rate", 0.04) * factor)


def short(run: Run) -> str:
    """The same run, 100 steps of it."""
    return again(run, steps=100)


def longer(run: Run) -> str:
    """The same run, twice as long."""
    settings = run.config["settings"]
    if settings.get("steps"):
        return again(run, steps=2 * settings["steps"])
    return again(run, epochs=2 * settings.get("epochs", 7))


def script(name: str) -> Callable[[Run], str]:
    """The command of an analysis script on this run."""
    return lambda run: f"python analysis/{name}.py {place(run)}"


def tests(path: str) -> Callable[[Run], str]:
    """The command that runs a file of tests."""
    return lambda run: f"python -m pytest {path}"


def place(run: Run) -> str:
    """How to name the run on a command line: by its name in runs/, else by its folder."""
    return run.folder.name if str(run.folder.parent) == "runs" else str(run.folder)


ADVICE = {
    "missing-class": Advice(
        ("the labels of the class were written as those of another: then that one has twice as many",
         "the data set is meant to be unbalanced"),
        "count the labels that the loop really uses, where they are read",
        tests("tests/test_data.py"), "core/data.py",
    ),
    "ignored-class": Advice(
        ("the class looks like another one: its images then go to one other class",
         "the run has only begun, or learns slowly: then the class comes in time",
         "the labels of the class are wrong"),
        "the same for twice as long: a class that is only late comes, one with wrong labels does not", longer,
        "core/data.py",
    ),
    "swapped-labels": Advice(
        ("the labels of the test set are counted from another number, or read from another list",
         "the pictures of the test set are in another order than their labels: then nothing is answered consistently",
         "the training labels are the wrong ones: the two sets only disagree"),
        "look at pictures of both sets with their labels; a hold-out of the training images is answered well",
        lambda run: again(run, holdout=True), "core/data.py",
    ),
    "leak": Advice(
        ("the data set itself holds pictures twice: then a fresh download holds them too",),
        "train with the test set replaced by a hold-out of the training images: an honest accuracy does not fall",
        lambda run: again(run, holdout=True), "core/data.py",
    ),
    "zero-start": Advice(
        ("the units are dead rather than zero: then the weights' lengths are not 0 (dying-relu)",
         "a layer was taken out of the list of parameters: then its gradient is not 0 (frozen-layer)"),
        "take the first steps with random starting weights: within ten steps every layer has a gradient",
        short, "core/layers/layer.py and docs/layers/backpropagation.md",
    ),
    "no-gradient": Advice(
        ("the graph was cut: a stop_gradient, a .numpy(), a cast to whole numbers, a rounding",
         "every channel of a layer behind it is dead: see dying-relu",
         "the layer is not used by the forward pass at all"),
        "check every gradient against finite differences", tests("tests/test_gradients.py"),
        "docs/layers/backpropagation.md",
    ),
    "loud-pictures": Advice(
        ("standardizing was left out or done in other units (0 to 255)",
         "the first layer's weights start too large, and only they"),
        "look at the numbers that go into the first layer: mean about 0 and deviation about 1",
        lambda run: f"python analysis/replay.py {place(run)} --step 1 --pdb", "core/batches.py (standardize)",
    ),
    "large-start": Advice(
        ("the pictures are not standardized: then the first layer is the loud one (loud-pictures)",
         "only the last layer is too loud: then all others put out about 1"),
        "start again from the weights of core/layers/layer.py and look at step 1 only",
        lambda run: again(run, steps=1), "core/layers/layer.py and docs/layers/dense.md",
    ),
    "bad-start": Advice(
        ("the last layer starts too large", "a small batch that happens to be hard: another seed gives another number",
         "the loss is summed, or has something added to it"),
        "take one step with another seed: a batch scatters, a bad start stays",
        lambda run: again(run, steps=1, seed=run.config["settings"].get("seed", 0) + 1),
        "core/model.py (OUTPUT_GAIN) and docs/layers/softmax.md",
    ),
    "double-softmax": Advice(
        ("heavy label smoothing keeps the loss up: then config.json says so and there is no upper bound",
         "the scores are squashed before the loss in some other way: then the bounds are other numbers"),
        "check the loss against its formula: it takes scores, and probabilities in their place fail here",
        tests("tests/test_losses.py"), "docs/layers/softmax.md and core/losses.py",
    ),
    "frozen-clock": Advice(
        ("core/schedules.py was changed on purpose: then the curve is the one you meant",
         "the step came in as a Python number and was written into the graph once, when it was traced",
         "other betas in core/optimizers.py: they have another bound"),
        "check schedule and optimizer against their formulas, then look at the rate over 100 steps",
        tests("tests/test_schedules.py tests/test_optimizers.py"), "core/schedules.py and core/optimizers.py",
    ),
    "frozen-layer": Advice(
        ("somebody froze the layer on purpose", "the update is lost below the precision of the weights"),
        "take one step line by line and look at the layer's update in the debugger",
        lambda run: f"python analysis/replay.py {place(run)} --step 1 --pdb", "core/optimizers.py",
    ),
    "uphill": Advice(
        ("a sign is wrong in the update or in the gradient of a layer",
         "momentum carries the weights over a ridge: then it does so for some steps, not for fifty"),
        "check every gradient against finite differences, then the update rule against its formula",
        tests("tests/test_gradients.py tests/test_optimizers.py"), "core/optimizers.py",
    ),
    "shrinking-weights": Advice(
        ("weight decay pulls too hard: a step takes about rate x decay / (1 - momentum) of each weight away",
         "no gradient builds the weights up: see no-signal, vanishing and dying-relu"),
        "the same without weight decay: if the weights keep their length, it was the decay",
        lambda run: again(run, weight_decay=0.0), "core/optimizers.py",
    ),
    "evaluation-mode": Advice(
        ("batch norm or dropout works in training mode during the evaluation",
         "the moving averages of batch norm lag behind: then the mark gets better by itself when the rate falls",
         "the pictures of the evaluation are prepared in another way than those of the batches"),
        "check that evaluation mode treats every image by itself",
        tests("tests/layers/test_normalization.py tests/layers/test_dropout.py"),
        "docs/layers/normalization.md and docs/layers/dropout.md",
    ),
    "repeated-order": Advice(
        ("a shuffle that is drawn once and kept (shuffle before cache): the same order, though not that of the file",
         "the files are read in order, without any shuffle"),
        "check that two epochs are two permutations", tests("tests/test_batches.py"), "core/batches.py",
    ),
    "memorising-noise": Advice(
        ("the training labels are in no order: then a new network learns them only by heart",
         "the test labels are wrong, or its pictures prepared in another way: then a hold-out is answered well"),
        "evaluate on a tenth of the training images: if that is at chance too, the training labels are wrong",
        lambda run: again(run, holdout=True), "core/data.py",
    ),
    "no-signal": Advice(
        ("labels and pictures are not in the same order", "the pictures are constant, or were destroyed on the way",
         "the rate is far too high or too low: see the update ratio", "weight decay pulls harder than the data"),
        "train on the built-in shapes with the same settings: if they are learned, it is the data",
        lambda run: again(run, data="shapes10", steps=300), "core/data.py and core/batches.py",
    ),
    "rate-high": Advice(
        ("momentum close to 1: it multiplies a step by up to 1 / (1 - momentum)",
         "the loss is summed over the batch: then bad-start is found as well",
         "small weights rather than large steps: then weight_norm is far below that of the start",
         "batch norm makes the weights' length meaningless: then the loss falls all the same"),
        "a third of the rate: if the ratio and the loss come down, it was the rate", scaled_rate(1 / 3),
        "core/schedules.py",
    ),
    "rate-low": Advice(
        ("vanishing gradients: then the first layers' updates are far smaller than the last ones'",
         "the weights are too long rather than the steps too short: see weight_norm"),
        "ten times the rate: if the loss falls faster, it was the rate", scaled_rate(10), "core/schedules.py",
    ),
    "divergence": Advice(
        ("the rate is too high", "a bad piece of data: then it happens at the same step of every epoch",
         "an instability in the numbers: then it goes away in float32"),
        "a third of the rate: if it stays down, it was the rate", scaled_rate(1 / 3), "core/schedules.py",
    ),
    "exploding": Advice(
        ("the starting weights are too large", "the rate is too high and the weights have grown: see weight_norm"),
        "a third of the rate: a gradient that is as long from step 1 on comes from the start, not from the rate",
        scaled_rate(1 / 3), "docs/layers/backpropagation.md",
    ),
    "vanishing": Advice(
        ("the starting weights are too small: then activations fade from layer to layer as well",
         "the channels between are dead: then sparsity is near 1",
         "everything is learned: then all gradients are short, not the first one alone"),
        "look at the activations of the untouched network: about 1 everywhere is sound", script("activations"),
        "docs/layers/backpropagation.md and docs/layers/activation.md",
    ),
    "dying-relu": Advice(
        ("large steps threw the biases below zero: then the share rises early, while the rate is high",
         "the start is at fault: then the channels are dead at step 0",
         "the network is larger than the task: then accuracy does not suffer"),
        "a third of the rate: if the channels live, it was the rate", scaled_rate(1 / 3), "docs/layers/activation.md",
    ),
    "non-finite": Advice(
        ("the rate is too high, or the warm-up too short", "a logarithm of zero or a division by zero in new code",
         "pictures or labels that are no numbers: then it happens at any rate"),
        "a third of the rate: if it happens at the same step, it is the data or the code", scaled_rate(1 / 3),
        "core/losses.py and core/schedules.py",
    ),
    "spike": Advice(
        ("the rate is at the edge of stability: then spikes vanish as it decays",
         "a damaged or mislabelled piece of data: then the same images do it in every epoch"),
        "look at the very batch: replay the step before and the step itself", lambda run: "", "core/batches.py",
    ),
    "overfit": Advice(
        ("the test set is small: then the rise is within its standard error",
         "only the confidence grows: then accuracy holds (benign)"),
        "give it more different pictures: if the test loss stays down, it was overfitting",
        lambda run: again(run, alternating_flip=True, crop=min(8, run.config["settings"].get("crop", 0) + 2)),
        "docs/layers/dropout.md",
    ),
    "suspicious-test": Advice(
        ("test images among the training images (leak)", "some training labels are wrong, those of the test are right",
         "an easier test set than training set"),
        "evaluate on a hold-out of the training images: if that is not better than train, the test set is special",
        lambda run: again(run, holdout=True), "core/data.py",
    ),
    "collapse": Advice(
        ("the run has only begun", "one class is much more frequent in training",
         "the network is dead: see dying-relu"),
        "look at the last layers' activations: a dead network puts out the same for every image",
        script("activations"), "core/data.py",
    ),
    "oscillation": Advice(
        ("the rate is too high for the end of the run", "the moving averages of batch norm lag behind the weights",
         "a small test set"),
        "a third of the rate: if the swings go, it was the rate", scaled_rate(1 / 3), "core/schedules.py",
    ),
    "plateau": Advice(
        ("the rate is too low", "the rate is too high and the steps bounce", "the network is too small for the task",
         "labels that cannot be learned"),
        "three times the rate, then a third of it: whichever is better says which side it is on", scaled_rate(3),
        "core/schedules.py and core/model.py",
    ),
    "underfit": Advice(
        ("the run is too short", "the rate is too low or too high", "the network is too small",
         "too much regularization: weight decay, dropout, augmentation"),
        "the same for twice as long: still falling means undertrained, no better means rate or capacity", longer,
        "core/model.py and core/schedules.py",
    ),
    "pipeline": Advice(
        ("another process uses the machine: then the slow steps come in bunches", "saving or writing to a slow disk"),
        "measure the loop alone, in fresh processes", lambda run: "python analysis/throughput.py", "train_loop.py",
    ),
}  # fmt: skip
