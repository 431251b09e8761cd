"""Exercise 12: find the bug; images are shuffled without their labels."""

import numpy as np

from checker.arrays import array, call_for_arrays, expect_equal, expect_shape, numbers
from checker.exercise import Check, Exercise, Mistake, Wrong

LABELS = np.repeat(np.arange(3), 20)
X = numbers(0, 60, 4) + 3 * np.eye(3, 4)[LABELS]  # three groups of points


def trained(module, x=X, labels=LABELS, epochs=8, batch_size=10, learning_rate=0.5, seed=0):
    """The learner's w, b, losses."""
    results = call_for_arrays(module, "train", 3, x, labels, 3, epochs, batch_size, learning_rate, seed)
    return [array(a, name) for a, name in zip(results, ("w", "b", "losses"))]


def shape(module):
    """Weights, and a loss for every step."""
    for name, found, expected in zip(("w", "b", "losses"), trained(module), ((4, 3), (3,), (48,))):
        expect_shape(name, found, expected, "8 epochs of 6 batches are 48 steps")


def first_step(module):
    """The first loss is chance level; one epoch of one batch does not depend on the order."""
    losses = trained(module)[2]
    expect_equal("the first loss", losses[0], np.log(3), "Before the first update all classes are equally likely: the "
                 "first loss is log 3 = 1.0986.")  # fmt: skip
    w = trained(module, np.eye(3), np.arange(3), 1, 3, 3.0, 0)[0]
    expect_equal("w", w, np.eye(3) - 1 / 3, "Three images [1,0,0], [0,1,0], [0,0,1] of classes 0, 1, 2 as one batch, "
                 "learning rate 3: w = 1 - 1/3 where image and class agree, -1/3 elsewhere, in any order.")  # fmt: skip


def still_shuffled(module):
    """The order of the images matters, and differs from seed to seed."""
    one, two = (trained(module, epochs=1, seed=seed)[0] for seed in (0, 1))
    if np.allclose(one, two):
        raise Wrong("Two seeds give the same weights: the images are not shuffled any more. Sorted by class, each "
                    "batch would hold a single one.", ("found", "w is equal for seed 0 and seed 1"))  # fmt: skip


def learns(module):
    """The loss of the last epoch, far below chance, for several seeds."""
    for seed in range(3):
        losses = trained(module, seed=seed)[2]
        if not losses[-6:].mean() < 0.35:
            raise Wrong("The loss does not fall as it should: the three groups are easy to tell apart, and after 8 "
                        "epochs the mean loss of an epoch is below 0.35.",
                        ("found", f"{losses[-6:].mean():.3f} with seed {seed}; chance level is 1.099"))  # fmt: skip


def probe(module):
    """Weights and losses."""
    return [*trained(module), *trained(module, seed=3, epochs=2)]


SHUFFLE = "x, labels = x[order], labels[order]"
EXERCISE = Exercise(
    title="find the bug: a loop that stays at chance level",
    hints=(
        "What can a network learn if labels have nothing to do with their images? Print the first image and label of "
        "the first batch in two epochs, and find them in the data set.",
        "An image and its label must have the same index before and after shuffling. Whatever reorders one reorders "
        "the other, by the same permutation.",
        "x, labels = x[order], labels[order], with one order for both.",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", first_step),
        Check("still shuffled", still_shuffled),
        Check("learns", learns),
    ),
    probe=probe,
    planted=((SHUFFLE, "x = x[order]"),),
    mistakes=(
        Mistake(
            "shuffling taken out",
            "You took the shuffling out. Images and labels fit together again, and each batch holds one class, so that "
            "the weights run after the latest one. Keep the order, for both.",
            ((SHUFFLE, "x, labels = x, labels"),),
        ),
        Mistake(
            "two permutations",
            "The labels get a permutation of their own; it must be that of the images, or no label belongs to its "
            "image.",
            ((SHUFFLE, "x, labels = x[order], labels[rng.permutation(len(x))]"),),
        ),
        Mistake(
            "labels in order for one epoch",
            "In the first epoch images and labels fit together. Then the images, shuffled once, are shuffled again, "
            "and the labels begin anew from their first order: keep both, x and labels, or neither.",
            ((SHUFFLE, "x, shuffled = x[order], labels[order]"), ("labels[batch], w, b", "shuffled[batch], w, b")),
        ),
        Mistake(
            "images in order for one epoch",
            "In the first epoch images and labels fit together. Then the labels, shuffled once, are shuffled again, "
            "and the images begin anew from their first order: keep both, x and labels, or neither.",
            ((SHUFFLE, "shuffled, labels = x[order], labels[order]"), ("x[batch], labels", "shuffled[batch], labels")),
        ),
        Mistake(
            "labels only",
            "Now the labels are shuffled and the images are not: the same bug from the other side. Both take the same "
            "order.",
            ((SHUFFLE, "labels = labels[order]"),),
        ),
        Mistake(
            "inverse permutation",
            "The labels are put in the inverse order, argsort(order). Both take order itself.",
            ((SHUFFLE, "x, labels = x[order], labels[np.argsort(order)]"),),
        ),
        Mistake(
            "smaller learning rate",
            "A tenth of the learning rate treats a symptom: images and labels still do not belong together.",
            ((SHUFFLE, "x = x[order]"), ("w = w - learning_rate", "w = w - 0.1 * learning_rate"),
             ("b = b - learning_rate", "b = b - 0.1 * learning_rate")),
        ),
        Mistake(
            "as it was",
            "This computes the same as the file you were given: the bug is still in there.",
            ((SHUFFLE, "x = x[order]"), ("Train from zero weights", "Train from zeros")),
        ),
    ),
    explanation="Images moved, labels did not: every label became a random one, and the best prediction for random "
    "labels is chance level, log K. A loss that stays exactly there, at any learning rate, says: look at the data "
    "first. analysis/diagnose.py knows this fault as labels-shuffled.",
)  # fmt: skip
