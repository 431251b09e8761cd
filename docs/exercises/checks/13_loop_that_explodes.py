"""Exercise 13: find the bug; a gradient that is a sum where the loss is a mean."""

import numpy as np

from checker.arrays import array, call_for_arrays, expect_equal, expect_gradient, expect_shape, numbers
from checker.exercise import Check, Exercise, Mistake, Wrong

LABELS = np.tile(np.arange(3), 20)
X = 2 * numbers(0, 60, 4) + 3 * np.eye(3, 4)[LABELS]
W, B = 0.1 * numbers(1, 4, 3), 0.1 * numbers(2, 3)


def gradient(module, x, labels, w, b):
    """The learner's loss, dw, db."""
    results = call_for_arrays(module, "loss_and_gradient", 3, x, labels, w, b)
    return [array(a, name) for a, name in zip(results, ("loss", "dw", "db"))]


def trained(module, batch_size, epochs=10, learning_rate=0.3):
    """The learner's w, b, losses."""
    results = call_for_arrays(module, "train", 3, X, LABELS, 3, epochs, batch_size, learning_rate, 0)
    return [array(a, name) for a, name in zip(results, ("w", "b", "losses"))]


def shape(module):
    """Loss, gradients, weights."""
    for name, found, expected in zip(("loss", "dw", "db"), gradient(module, X, LABELS, W, B), ((), (4, 3), (3,))):
        expect_shape(name, found, expected, "a number, and a gradient like w and like b")
    for name, found, expected in zip(("w", "b", "losses"), trained(module, 20, 2), ((4, 3), (3,), (6,))):
        expect_shape(name, found, expected, "2 epochs of 3 batches are 6 steps")


def by_hand(module):
    """Two images with weights 0."""
    loss, dw, db = gradient(module, np.array([[1.0], [3]]), np.array([0, 1]), np.zeros((1, 2)), np.zeros(2))
    expect_equal("loss", loss, np.log(2), "Two images, two classes, weights 0: the loss is log 2.")
    sentence = "Two images x = 1 and x = 3 of classes 0 and 1, weights 0: p - onehot is [-1/2, 1/2] and [1/2, -1/2], so"
    expect_equal("dw", dw, [[0.5, -0.5]], f"{sentence} the mean of x * (p - onehot) is dw = [1/2, -1/2].")
    expect_equal("db", db, [0, 0], f"{sentence} they cancel in db.")


def same_images_twice(module):
    """A batch that holds every image twice has the same loss and gradient."""
    once = gradient(module, X, LABELS, W, B)
    twice = gradient(module, np.concatenate([X, X]), np.concatenate([LABELS, LABELS]), W, B)
    for name, one, two in zip(("loss", "dw", "db"), once, twice):
        expect_equal(name, two, one, f"A batch that holds every image twice must have the same {name}.")


def every_batch_size(module):
    """The loss falls with small and with large batches, at one learning rate."""
    for batch_size in (2, 60):
        losses = trained(module, batch_size, 20)[2]
        last = losses[-len(losses) // 20 :].mean()
        if not last < 0.6 * np.log(3):
            raise Wrong(f"With batches of {batch_size} the loss does not fall as it should: after 20 epochs it is below"
                        f" {0.6 * np.log(3):.2f}.", ("found", f"{last:.3f}; chance level is 1.099"))  # fmt: skip


def gradient_check(module):
    """dw and db by finite differences of the learner's own loss."""
    _, dw, db = gradient(module, X, LABELS, W, B)
    expect_gradient("dw", dw, lambda w: float(gradient(module, X, LABELS, w, B)[0]), W)
    expect_gradient("db", db, lambda b: float(gradient(module, X, LABELS, W, b)[0]), B)


def probe(module):
    """Gradients of two batches, and a training with each of two batch sizes."""
    found = [*gradient(module, X, LABELS, W, B), *gradient(module, X[:2], LABELS[:2], W, B)]
    return [*found, *trained(module, 2, 1)[:2], *trained(module, 60, 1)[:2]]


RIGHT, SUM = "dz = (p - np.eye(len(b))[labels]) / len(x)", "dz = p - np.eye(len(b))[labels]"
EXERCISE = Exercise(
    title="find the bug: a loss that explodes with large batches",
    hints=(
        "Print the largest entry of dw for a batch of 2 and for one of 60. What happens to the loss, and what to the "
        "gradient, if every image occurs twice in the batch?",
        "The loss is a mean over the batch, so its gradient is one too. A gradient check at this function, exercise "
        "11, would have said which factor is missing.",
        "dz is the gradient of the sum over the images; divide it by their number, len(x), and dw and db follow.",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("every image twice", same_images_twice),
        Check("small and large batches", every_batch_size),
        Check("gradient check", gradient_check),
    ),
    probe=probe,
    planted=((RIGHT, SUM),),
    mistakes=(
        Mistake(
            "as it was",
            "This computes the same as the file you were given: the bug is still in there.",
            ((RIGHT, SUM), ("Train from zero weights", "Train from zeros")),
        ),
        Mistake(
            "a smaller learning rate",
            "You made the learning rate smaller. That saves batches of 60 and slows down batches of 2; the length of a "
            "step must not depend on the batch size.",
            ((RIGHT, SUM), ("w = w - learning_rate", "w = w - learning_rate / 60"),
             ("b = b - learning_rate", "b = b - learning_rate / 60")),
        ),
        Mistake(
            "divided by the number of classes",
            "The gradient is divided by the number of classes. The mean runs over the images: len(x).",
            ((RIGHT, "dz = (p - np.eye(len(b))[labels]) / len(b)"),),
        ),
        Mistake(
            "divided by images and classes",
            "The gradient is divided by images times classes, a mean over all entries: the classes are summed, the "
            "mean is over the images.",
            ((RIGHT, "dz = (p - np.eye(len(b))[labels]) / p.size"),),
        ),
        Mistake(
            "bias forgotten",
            "dw is right now and db is still a sum. Divide dz, from which both are made.",
            ((RIGHT, SUM), ("dw = x.T @ dz", "dw = x.T @ dz / len(x)")),
        ),
        Mistake(
            "sum in the loss",
            "Now the loss is a sum as well: loss and gradient agree, and a step still grows with the batch. Make both "
            "a mean.",
            ((RIGHT, SUM), ("labels]).mean()", "labels]).sum()")),
        ),
        Mistake(
            "gradient clipped",
            "You limit the size of the gradient. That hides the factor that is missing: with the mean there is nothing "
            "to limit.",
            ((RIGHT, SUM), ("dw = x.T @ dz", "dw = np.clip(x.T @ dz, -1, 1)"),
             ("db = dz.sum(axis=0)", "db = np.clip(dz.sum(axis=0), -1, 1)")),
        ),
        Mistake(
            "divided in the update",
            "The training is right now: you divide in the update. loss_and_gradient still returns a gradient that is "
            "not that of its loss, for everybody else who calls it. Divide dz there.",
            ((RIGHT, SUM), ("w = w - learning_rate * dw", "w = w - learning_rate * dw / len(batch)"),
             ("b = b - learning_rate * db", "b = b - learning_rate * db / len(batch)")),
        ),
        Mistake(
            "divided twice",
            "The gradient is divided twice by the number of images, in dz and in dw and db. Once is the mean.",
            (("dw = x.T @ dz", "dw = x.T @ dz / len(x)"), ("db = dz.sum(axis=0)", "db = dz.mean(axis=0)")),
        ),
        Mistake(
            "weights forgotten",
            "db is right now and dw is still a sum. Divide dz, from which both are made.",
            ((RIGHT, SUM), ("db = dz.sum(axis=0)", "db = dz.mean(axis=0)")),
        ),
        Mistake(
            "square root",
            "You divide by the square root of the batch size. Noise shrinks like that; a mean divides by the size.",
            ((RIGHT, "dz = (p - np.eye(len(b))[labels]) / np.sqrt(len(x))"),),
        ),
    ),
    explanation="A mean in the loss and a sum in its gradient: the step grows with the batch, so the best learning "
    "rate depends on the bug. The loss printed looks right all the while; a gradient check of "
    "loss_and_gradient finds it at once, with a factor of exactly the batch size. See core/losses.py and the "
    "tf.reduce_mean in train_loop.py.",
)  # fmt: skip
