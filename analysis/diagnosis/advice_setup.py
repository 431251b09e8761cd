"""Advice on what is wrong before the first step or in the code: data, initialization, loss, optimizer, evaluation."""

from analysis.diagnosis import experiments
from analysis.diagnosis.advice_entry import A_BATCH, ON_HOLDOUT, READING, Advice
from analysis.diagnosis.experiments import changed, script, tests

SETUP = {
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
    "unmixed-batches": Advice(
        ("the images are sorted by class and not shuffled, or in a buffer smaller than the data set",
         "the batches are mixed, and single images weigh very unequally: then the loss jumps, the accuracy does not"),
        "check that two epochs are two permutations of all images", tests("tests/data/test_batches.py"),
        "core/data/batches.py",
    ),
    "equal-init": Advice(
        ("a constant where a random draw was meant", "one random number for the whole kernel instead of one a weight"),
        "take the first steps with random initial weights: the first loss is then near ln 10, not equal to it",
        changed(steps=10), "core/layers/layer.py and docs/layers/backpropagation.md",
    ),
    "init-too-small": Advice(
        ("the standard deviation was divided by the number of inputs instead of its square root",
         "an average or a mask before this layer makes its input small"),
        "initialize as core/layers does and draw the activations of the untrained network", changed(steps=1),
        "core/layers/convolution.py",
    ),
    "different-test": Advice(
        ("the test images are prepared in another way: other units, colours in another order, another file",
         "the test labels are wrong", "the test images are harder than those of training"),
        "evaluate on a hold-out of the training images: if it does as well as the batches, the test set is special",
        experiments.on_holdout, READING, ON_HOLDOUT,
    ),
    "no-nonlinearity": Advice(
        ("the activation was forgotten", "it was left out on purpose, as a bottleneck: then nothing is wrong"),
        "print the layers of the network in order", experiments.in_debugger,
        "core/model.py and docs/layers/activation.md",
    ),
    "wrong-metric": Advice(
        ("the predictions are counted wrongly: another axis, the smallest logit, other labels",
         "the loss is too small by a factor, or has something taken off it"),
        "check loss and accuracy against their formulas", tests("tests/test_losses.py"), "core/losses.py",
    ),
    "saturated": Advice(
        ("a sigmoid or tanh behind large numbers: initial weights or inputs that are too large",
         "a nonlinearity with its outputs near one value by chance: then its gradient is not small"),
        "draw the activations of the untrained network: the input of a tanh or sigmoid should have std 1 or less",
        script("analysis/activations.py"), "docs/layers/activation.md",
    ),
    "clipped-logits": Advice(
        ("a ReLU behind the last layer: negative logits become 0", "a dropout or a mask on the logits"),
        "take one step line by line and print the logits: about half of them are negative in a sound network",
        experiments.in_debugger, "core/model.py",
    ),
    "weights-reset": Advice(
        ("the network, or its initialization, stands inside the loop over epochs",
         "an old checkpoint is loaded at each epoch"),
        "look at the first step of the second epoch line by line",
        lambda run: experiments.replay(run, run.steps_per_epoch + 1, "--pdb"), "train_loop.py",
    ),
    "wrong-update": Advice(
        ("the gradient is clipped or scaled between the backward pass and the optimizer",
         "the rate is applied twice, or not at all", "the update rule was changed on purpose"),
        "check the update rule against its formula", tests("tests/test_optimizers.py"), "core/optimizers.py",
    ),
    "strong-regularization": Advice(
        ("dropout, augmentation or label smoothing is too strong",
         "the batches are other images than the training images that are evaluated"),
        "train without augmentation and label smoothing: if train accuracy rises, they were too strong; if not, it is "
        "dropout", experiments.unregularized, "docs/layers/dropout.md and core/data/augmentation.py",
    ),
    "strong-momentum": Advice(
        ("a momentum that was meant for Adam's second moment, 0.999",
         "a rate so low that the momentum makes up for it: then the loss falls steadily"),
        "train with momentum 0.9: if the loss falls earlier and without waves, it was the momentum",
        experiments.usual_momentum, "core/optimizers.py",
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
}  # fmt: skip
