"""What else a finding could be, the experiment that decides, and what to read. One entry a detector.

The rules that find are in detectors/, the commands in experiments.py. An alternative is another explanation of the
same numbers: a diagnosis that names none invites a wrong cure.
"""

from collections.abc import Callable
from dataclasses import dataclass

from analysis.diagnosis import experiments
from analysis.diagnosis.experiments import changed, scaled_rate, script, tests
from analysis.support.run import Run


@dataclass(frozen=True)
class Advice:
    """The part of a finding that does not depend on its numbers."""

    alternatives: tuple[str, ...]
    experiment: str  # what to do and which outcome means what
    command: Callable[[Run], str]  # "" when it does not apply to this run
    read: str  # beside the detector's own section in docs/diagnostics.md
    otherwise: str = ""  # the experiment of a run to which `command` does not apply
    other_command: Callable[[Run], str] = experiments.replay


A_BATCH = "compare the images of a batch with their labels"
ON_HOLDOUT = "it is evaluated on training images already, so the cause is in those: " + A_BATCH
READING = "core/data/cifar10.py and core/data/loading.py"

ADVICE = {
    "missing-class": Advice(
        ("the labels of the class were written as those of another: then that one has twice as many",
         "the data set is meant to be unbalanced"),
        "count the labels where they are read", tests("tests/data/test_cifar10.py"), READING,
    ),
    "imbalanced-classes": Advice(
        ("one image, or a few, are there many times", "the data set is meant to be unbalanced"),
        A_BATCH, experiments.replay, READING,
    ),
    "ignored-class": Advice(
        ("the class resembles another one: its images are then predicted as that class",
         "the run has only begun, or learns slowly: then the class comes in time",
         "the labels of the class are wrong"),
        "train twice as long: a class that is only late comes, one with wrong labels does not", experiments.longer,
        READING,
    ),
    "swapped-labels": Advice(
        ("the labels of the test set are counted from another number, or read from another list",
         "the training labels, or a part of them, are the wrong ones: the rule only finds that the two sets disagree"),
        "evaluate on a hold-out of the training images: if its accuracy is high, the test labels are the wrong ones",
        experiments.on_holdout, READING, ON_HOLDOUT,
    ),
    "leak": Advice(
        ("the data set itself holds images twice: then a fresh download holds them too",),
        "evaluate on a hold-out of the training images: an honest accuracy does not fall", experiments.on_holdout,
        READING, ON_HOLDOUT,
    ),
    "zero-init": Advice(
        ("the units are dead rather than zero: then the norms of the weights are not 0 (dying-relu)",
         "a layer is missing in the list of parameters: then its gradient is not 0 (frozen-layer)"),
        "take the first steps with random initial weights: within ten steps every layer has a gradient",
        changed(steps=100), "core/layers/layer.py and docs/layers/backpropagation.md",
    ),
    "no-gradient": Advice(
        ("the graph was cut: a stop_gradient, a .numpy(), a cast to integers, a rounding",
         "every channel of a layer behind it is dead: see dying-relu",
         "the layer is not used by the forward pass at all"),
        "check every gradient against finite differences", tests("tests/test_gradients.py"),
        "docs/layers/backpropagation.md",
    ),
    "unnormalized-inputs": Advice(
        ("standardization was left out or done in other units (0 to 255)",
         "the initial weights of the first layer, and only they, are too large"),
        "print the input of the first layer: mean about 0 and standard deviation about 1", experiments.in_debugger,
        "core/data/batches.py (standardize)",
    ),
    "init-too-large": Advice(
        ("the images are not standardized: then only the first layer's output is large (unnormalized-inputs)",
         "only the last layer is too large: then the outputs of all others have a standard deviation of about 1"),
        "initialize as core/layers does and measure step 1 only", changed(steps=1),
        "core/layers/convolution.py and docs/layers/dense.md",
    ),
    "bad-init": Advice(
        ("the last layer starts too large", "a small batch that happens to be hard: another seed gives another number",
         "the loss is summed, or has something added to it"),
        "take one step with another seed: a batch scatters, a bad initialization stays", experiments.other_seed,
        "core/model.py (OUTPUT_GAIN) and docs/layers/softmax.md",
    ),
    "double-softmax": Advice(
        ("the logits are squashed before the loss in some other way: then the bounds are other numbers",),
        "check the loss against its formula: it takes logits, and probabilities in their place fail",
        tests("tests/test_losses.py"), "docs/layers/softmax.md and core/losses.py",
    ),
    "frozen-step-counter": Advice(
        ("core/schedules.py was changed on purpose: then the curve is the one that was meant",
         "the step came in as a Python number and became a constant of the graph when it was traced",
         "other betas in core/optimizers.py: they have another bound"),
        "check schedule and optimizer against their formulas",
        tests("tests/test_schedules.py", "tests/test_optimizers.py"), "core/schedules.py and core/optimizers.py",
    ),
    "frozen-layer": Advice(
        ("the layer was frozen on purpose", "the update is lost below the precision of the weights"),
        "take one step line by line and print the layer's update", experiments.in_debugger, "core/optimizers.py",
    ),
    "uphill": Advice(
        ("a sign is wrong in the update or in the gradient of a layer",
         "momentum carries the weights over a ridge: then it does so for some steps, not for fifty"),
        "check every gradient against finite differences, then the update rule against its formula",
        tests("tests/test_gradients.py", "tests/test_optimizers.py"), "core/optimizers.py",
    ),
    "shrinking-weights": Advice(
        ("the weight decay is too strong: a step takes about rate x decay / (1 - momentum) of each weight away",
         "no gradient builds the weights up: see no-signal, vanishing and dying-relu"),
        "train without weight decay: if the weights keep their norm, it was the decay",
        experiments.without_weight_decay, "core/optimizers.py",
        "there is no weight decay: take one step line by line and print the updates", experiments.in_debugger,
    ),
    "evaluation-mode": Advice(
        ("batch norm or dropout works in training mode during the evaluation",
         "the moving averages of batch norm lag behind: then the gap closes by itself when the rate falls",
         "the images of the evaluation are prepared in another way than those of the batches"),
        "check that evaluation mode treats every image by itself",
        tests("tests/layers/test_normalization.py", "tests/layers/test_dropout.py"),
        "docs/layers/normalization.md and docs/layers/dropout.md",
    ),
    "repeated-order": Advice(
        ("a shuffle that is drawn once and kept (shuffle before cache): the same order, though not that of the file",
         "the files are read in order, without any shuffle"),
        "check that two epochs are two permutations", tests("tests/data/test_batches.py"), "core/data/batches.py",
    ),
    "memorizing-noise": Advice(
        ("the training labels belong to other images: then a network can only memorize them",
         "the test labels are wrong, or the test images prepared in another way: then a hold-out has a high accuracy"),
        "evaluate on a tenth of the training images: if that is at chance level too, the training labels are wrong",
        experiments.on_holdout, READING, ON_HOLDOUT,
    ),
    "no-signal": Advice(
        ("labels and images are not in the same order", "the images are constant, or were destroyed before training",
         "the rate is far too high or too low: see the update ratio", "the weight decay is stronger than the data"),
        "train on the built-in images with the same settings: if they are learned, it is the data",
        experiments.on_shapes10, "core/data/loading.py and core/data/batches.py",
        "train the recipe as it is: if it learns, it was the settings",
        lambda run: experiments.command("train_loop.py", "--data", "shapes10", "--steps", 300,
                                        "--runs-dir", experiments.EXPERIMENTS),
    ),
    "rate-high": Advice(
        ("momentum close to 1: it multiplies an update by up to 1 / (1 - momentum)",
         "the loss is summed over the batch: then bad-init is found as well",
         "small weights rather than large updates: then weight_norm is far below its initial value",
         "batch norm makes the norm of the weights meaningless: then the loss falls all the same"),
        "a third of the rate: if the ratio and the loss come down, it was the rate", scaled_rate(1 / 3),
        "core/schedules.py",
    ),
    "rate-low": Advice(
        ("vanishing gradients: then the first layers' updates are far smaller than the last ones'",
         "the weights are too large rather than the updates too small: see weight_norm"),
        "ten times the rate: if the loss falls faster, it was the rate", scaled_rate(10), "core/schedules.py",
    ),
    "divergence": Advice(
        ("the rate is too high", "damaged data: then it happens at the same step of every epoch",
         "a numerical instability: then it is gone in float32"),
        "a third of the rate: if the loss stays down, it was the rate", scaled_rate(1 / 3), "core/schedules.py",
    ),
    "exploding": Advice(
        ("the initial weights are too large", "the rate is too high and the weights have grown: see weight_norm"),
        "a third of the rate: a gradient that is as large from step 1 on comes from the initialization",
        scaled_rate(1 / 3), "docs/layers/backpropagation.md",
    ),
    "vanishing": Advice(
        ("the initial weights are too small: then activations fade from layer to layer as well",
         "the channels between are dead: then sparsity is near 1",
         "everything is learned: then all gradients are small, not the first one alone"),
        "draw the activations of the untrained network: a standard deviation of about 1 everywhere is sound",
        script("analysis/activations.py"), "docs/layers/backpropagation.md and docs/layers/activation.md",
    ),
    "dying-relu": Advice(
        ("large updates pushed the biases below zero: then the fraction rises early, while the rate is high",
         "the initialization: then the channels are dead at step 0",
         "the network is larger than the task: then accuracy does not suffer"),
        "a third of the rate: if the channels live, it was the rate", scaled_rate(1 / 3), "docs/layers/activation.md",
    ),
    "non-finite": Advice(
        ("the rate is too high, or the warm-up too short", "a logarithm of zero or a division by zero in new code",
         "NaN in the images or labels: then it happens at any rate"),
        "a third of the rate: if it happens at the same step, it is the data or the code", scaled_rate(1 / 3),
        "core/losses.py and core/schedules.py",
    ),
    "spike": Advice(
        ("the rate is at the edge of stability: then spikes vanish as it decays",
         "damaged or mislabelled data: then the same images do it in every epoch"),
        "replay the step before and the step itself, and compare their images", lambda run: "", "core/data/batches.py",
    ),
    "overfit": Advice(
        ("too few training images for this network", "training images that are there many times",
         "a test set of another kind than the training set",
         "only the confidence grows: then accuracy holds (benign)"),
        "augment more: if the gap between train and test shrinks, it was overfitting", experiments.regularized,
        "docs/layers/dropout.md",
    ),
    "suspicious-test": Advice(
        ("test images among the training images (leak)", "some training labels are wrong, those of the test are right",
         "an easier test set than training set"),
        "evaluate on a hold-out of the training images: if that is not better than train, the test set is special",
        experiments.on_holdout, READING, ON_HOLDOUT,
    ),
    "collapse": Advice(
        ("the run has only begun", "one class is much more frequent in training",
         "the network is dead: see dying-relu"),
        "draw the last layers' activations: those of a dead network are the same for every image",
        script("analysis/activations.py"), READING,
    ),
    "oscillation": Advice(
        ("the rate is too high for the end of the run", "the moving averages of batch norm lag behind the weights",
         "a small test set"),
        "a third of the rate: if the swings go, it was the rate", scaled_rate(1 / 3), "core/schedules.py",
    ),
    "plateau": Advice(
        ("the rate is too low", "the rate is too high and the updates bounce",
         "the network is too small for the task", "labels that cannot be learned"),
        "three times the rate, then a third of it: whichever is better shows the side it is on", scaled_rate(3),
        "core/schedules.py and core/model.py",
    ),
    "underfit": Advice(
        ("the run is too short", "the rate is too low or too high", "the network is too small",
         "too much regularization: weight decay, dropout, augmentation"),
        "train twice as long: still falling means undertrained, no better means rate or capacity", experiments.longer,
        "core/model.py and core/schedules.py",
    ),
    "pipeline": Advice(
        ("another process uses the machine: then the slow steps come in bunches", "saving or writing to a slow disk"),
        "measure the loop alone, in fresh processes",
        lambda run: experiments.command("analysis/benchmarks/throughput.py"), "train_loop.py",
    ),
}  # fmt: skip


def experiment(run: Run, name: str) -> tuple[str, str]:
    """(what to do and which outcome means what, its command or "") for the finding `name` of this run."""
    advice = ADVICE[name]
    found = advice.command(run)
    if not found and advice.otherwise:
        return advice.otherwise, advice.other_command(run)
    return advice.experiment, found
