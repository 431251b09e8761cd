"""Advice on what goes wrong while a run trains: order, updates, gradients, runaway numbers, learning curves."""

from analysis.diagnosis import experiments
from analysis.diagnosis.advice_entry import ON_HOLDOUT, READING, Advice
from analysis.diagnosis.experiments import scaled_rate, script, tests

TRAINING = {
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
    "cannot-memorize": Advice(
        ("the backward pass, the loss or the update is wrong: then gradients do not agree with finite differences",
         "the images of the batch are all the same, or were destroyed", "dropout that leaves nothing of an image"),
        "check every gradient against finite differences, then the loss and the update rule against their formulas",
        tests("tests/test_gradients.py", "tests/test_losses.py", "tests/test_optimizers.py"), "train_loop.py",
    ),
    "no-regularization": Advice(
        ("dropout that runs in evaluation mode, label smoothing or weight decay that does not reach loss or update",
         "a weight decay that is too weak for so few steps"),
        "check dropout, loss and update rule against their formulas",
        tests("tests/layers/test_dropout.py", "tests/test_losses.py", "tests/test_optimizers.py"),
        "docs/layers/dropout.md",
    ),
    "learns-from-nothing": Advice(
        ("the labels are among the inputs, or are used before the prediction is made",
         "predictions are compared with themselves, or counted wrongly",
         "the same images come again within an epoch: then only the batches are too good"),
        "check loss and accuracy against their formulas", tests("tests/test_losses.py", "tests/data/test_batches.py"),
        "train_loop.py and core/losses.py",
    ),
    "pipeline": Advice(
        ("another process uses the machine: then the slow steps come in bunches", "saving or writing to a slow disk"),
        "measure the loop alone, in fresh processes",
        lambda run: experiments.command("analysis/benchmarks/throughput.py"), "train_loop.py",
    ),
}  # fmt: skip
