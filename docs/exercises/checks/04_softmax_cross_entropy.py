"""Exercise 4: softmax cross-entropy and its gradient."""

import numpy as np

from checker.arrays import array, call_for_arrays, expect_equal, expect_gradient, expect_shape, numbers
from checker.exercise import Check, Exercise, Mistake, Wrong

Z, LABELS = numbers(0, 4, 3), np.array([0, 2, 1, 1])


def loss_and_gradient(module, z, labels):
    """The learner's loss and dz."""
    loss, dz = call_for_arrays(module, "softmax_cross_entropy", 2, z, labels)
    return array(loss, "loss"), array(dz, "dz")


def shape(module):
    """One number, and the shape of z."""
    loss, dz = loss_and_gradient(module, Z, LABELS)
    expect_shape("loss", loss, (), "one number, the mean over the images")
    expect_shape("dz", dz, Z.shape, "a gradient has the shape of what it belongs to, here z")


def by_hand(module):
    """Probabilities 3/4 and 1/4, then two equal ones."""
    loss, dz = loss_and_gradient(module, np.array([[np.log(3), 0.0]]), np.array([0]))
    if loss.shape == () and 1e-9 < abs(loss - np.log(4 / 3)) < 1e-4:
        raise Wrong("The loss is right up to a little: something small is added or clipped inside the log, which then "
                    "cannot grow as it must. log p = z - m - log(sum of exp(z - m)) needs no such thing.",
                    ("expected", f"loss = {np.log(4 / 3):.10f}"), ("found", f"loss = {loss:.10f}"))  # fmt: skip
    expect_equal("loss", loss, np.log(4 / 3), "For z = [[log 3, 0]] the probabilities are 3/4 and 1/4; label 0 gives "
                 "the loss -log(3/4) = 0.28768.")  # fmt: skip
    expect_equal("dz", dz, [[-1 / 4, 1 / 4]], "For z = [[log 3, 0]] and label 0 the gradient is p - onehot = "
                 "[3/4 - 1, 1/4].")  # fmt: skip
    loss, dz = loss_and_gradient(module, np.zeros((2, 2)), np.array([0, 1]))
    expect_equal("loss", loss, np.log(2), "Two images with equal logits: each has the loss log 2, and so has the mean.")
    expect_equal("dz", dz, [[-1 / 4, 1 / 4], [1 / 4, -1 / 4]], "Two images with equal logits: p - onehot is ±1/2, and "
                 "the mean over two images halves it.")  # fmt: skip


def sums_to_zero(module):
    """The gradient of each image sums to 0, because a constant added to all logits changes nothing."""
    loss, dz = loss_and_gradient(module, Z, LABELS)
    expect_equal("the sums of dz", dz.sum(axis=1), np.zeros(4), "In each image the gradient of the logits sums to 0: "
                 "probability that one class wins the others lose.")  # fmt: skip
    expect_equal("loss", loss_and_gradient(module, Z + 5, LABELS)[0], loss, "A constant added to all logits of an "
                 "image must not change the loss: only their differences count.")  # fmt: skip


def large_logits(module):
    """Logits of 1000 and -1000, and an image whose logits are all far below those of the other."""
    z = np.array([[1000.0, 0.0, -1000.0], [-1000.0, -2000.0, -3000.0]])
    loss, dz = loss_and_gradient(module, z, np.array([0, 1]))
    if not np.isfinite(loss) or not np.all(np.isfinite(dz)):
        raise Wrong("With a logit of 1000, exp overflows or a log meets 0: subtract the largest logit of each image, "
                    "axis 1, before exp, and compute log p as z - m - log(sum of exp(z - m)).",
                    ("found", f"loss = {loss}"))  # fmt: skip
    expect_equal("loss", loss, 500, "For z = [1000, 0, -1000] and label 0 the loss is 0, for [-1000, -2000, -3000] and "
                 "label 1 it is 1000: nothing added inside the log may limit it.")  # fmt: skip


def gradient_check(module):
    """Every entry by finite differences of the learner's own loss."""
    dz = loss_and_gradient(module, Z, LABELS)[1]
    expect_gradient("dz", dz, lambda z: float(loss_and_gradient(module, z, LABELS)[0]), Z)


def probe(module):
    """Ordinary logits, and large ones beside small ones."""
    large = np.array([[1000.0, 0.0, -1000.0], [1.0, 2.0, 3.0]])
    return [*loss_and_gradient(module, Z, LABELS), *loss_and_gradient(module, large, np.array([1, 0]))]


GRADIENT = "dz = (np.exp(log_p) - onehot) / len(z)"
EXERCISE = Exercise(
    title="softmax cross-entropy and its gradient",
    hints=(
        "Take one image with two classes and write its loss as a function of z alone, with log(a/b) = log a - log b. "
        "What does exp(1000) give in Python, and what happens to p if all logits get smaller by the same number?",
        "With m the largest logit of an image, log p = (z - m) - log(sum of exp(z - m)). The gradient of one image is "
        "p - onehot, where onehot is 1 at the true class and 0 elsewhere; the mean over N images divides it by N.",
        "log_p[np.arange(len(z)), labels] picks log p of the true class for every image; loss = minus its mean. "
        "np.eye(z.shape[1])[labels] is onehot, and dz = (np.exp(log_p) - onehot) / len(z).",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("gradient sums to 0", sums_to_zero),
        Check("large logits", large_logits),
        Check("gradient check", gradient_check),
    ),
    probe=probe,
    mistakes=(
        Mistake(
            "gradient not divided by N",
            "The loss is a mean over the images, and the gradient is that of a sum: divide it by N. Without that the "
            "best learning rate would depend on the batch size.",
            ((GRADIENT, "dz = np.exp(log_p) - onehot"),),
        ),
        Mistake(
            "sum instead of mean",
            "Loss and gradient are sums over the images; wanted is the mean, so that both do not grow with the batch.",
            ((".mean()", ".sum()"), (GRADIENT, "dz = np.exp(log_p) - onehot")),
        ),
        Mistake(
            "largest logit not subtracted",
            "All is right for small logits, and exp(1000) overflows: subtract the largest logit of each image first; "
            "the probabilities stay the same.",
            (("shifted = z - z.max(axis=1, keepdims=True)", "shifted = z"),),
        ),
        Mistake(
            "softmax over the images",
            "You normalize down the columns, over the images. Each image's probabilities sum to 1: axis 1, with "
            "keepdims=True.",
            (("z.max(axis=1", "z.max(axis=0"), ("np.exp(shifted).sum(axis=1", "np.exp(shifted).sum(axis=0")),
        ),
        Mistake(
            "onehot forgotten",
            "The gradient is p alone. The true class has 1 subtracted, p - onehot: its logit must rise.",
            ((GRADIENT, "dz = np.exp(log_p) / len(z)"),),
        ),
        Mistake(
            "sign of the gradient",
            "The gradient has the wrong sign: it is p - onehot. With onehot - p a step would make the loss larger.",
            ((GRADIENT, "dz = (onehot - np.exp(log_p)) / len(z)"),),
        ),
        Mistake(
            "derivative of the log alone",
            "You took the derivative by p, -1/p at the true class. The wanted one is by z, and z is behind a softmax: "
            "the chain rule gives p - onehot.",
            ((GRADIENT, "dz = -onehot / np.exp(log_p) / len(z)"),),
        ),
        Mistake(
            "divided by N K",
            "The gradient is divided by N times K. The mean runs over the N images alone; the classes are summed.",
            ((GRADIENT, "dz = (np.exp(log_p) - onehot) / z.size"),),
        ),
        Mistake(
            "minus forgotten",
            "The loss is negative: log p is negative for every p below 1, and the loss is minus its mean.",
            (("loss = -log_p", "loss = log_p"),),
        ),
        Mistake(
            "probability instead of its log",
            "Your loss is minus the mean probability. Cross-entropy takes the logarithm, which grows without limit "
            "when the true class gets no probability.",
            (("loss = -log_p[", "loss = -np.exp(log_p)["),),
        ),
        Mistake(
            "largest logit of the whole batch",
            "You subtract the largest logit of the whole batch. In an image whose own logits are all far below it "
            "every exp is 0, and log 0 is minus infinity: each image subtracts its own largest one, axis 1.",
            (("z.max(axis=1, keepdims=True)", "z.max()"),),
        ),
        Mistake(
            "mean over images and classes",
            "The loss is divided by N times K: (onehot * log_p).mean() counts the zeros too. Sum over the classes, "
            "then the mean over the N images.",
            (("loss = -log_p[np.arange(len(z)), labels].mean()",
              "loss = -(np.eye(z.shape[1])[labels] * log_p).mean()"),),
        ),
        Mistake(
            "both divided by N K",
            "Loss and gradient are divided by N times K, as a mean over all entries. The classes are summed; the mean "
            "runs over the N images alone.",
            (("loss = -log_p[np.arange(len(z)), labels].mean()", "loss = -(np.eye(z.shape[1])[labels] * log_p).mean()"),
             (GRADIENT, "dz = (np.exp(log_p) - onehot) / z.size")),
        ),
        Mistake(
            "every label for every image",
            "log_p[:, labels] takes the labels of all images in each image, N x N numbers. One for each image is "
            "log_p[np.arange(len(z)), labels].",
            (("log_p[np.arange(len(z)), labels].mean()", "log_p[:, labels].mean()"),),
        ),
        Mistake(
            "1 subtracted at every label",
            "p[:, labels] -= 1 subtracts in each image at the labels of all of them. Each image has one true class: "
            "p[np.arange(len(z)), labels] -= 1.",
            ((GRADIENT, "dz = np.exp(log_p)\n    dz[:, labels] -= 1\n    dz = dz / len(z)"),),
        ),
        Mistake(
            "1 subtracted from whole images",
            "p[labels] -= 1 takes the labels for numbers of images, and subtracts from whole rows. Name the image and "
            "its class: p[np.arange(len(z)), labels] -= 1.",
            ((GRADIENT, "dz = np.exp(log_p)\n    dz[labels] -= 1\n    dz = dz / len(z)"),),
        ),
        Mistake(
            "logarithm to base 2",
            "The loss is in bits: np.log2 instead of np.log. Here it is in nats, so that its gradient is p - onehot.",
            (("loss = -log_p[np.arange(len(z)), labels].mean()",
              "loss = -log_p[np.arange(len(z)), labels].mean() / np.log(2)"),),
        ),
    ),
    explanation="Softmax and logarithm belong together: log p = z - m - log(sum of exp(z - m)) never takes the log of "
    "a number that rounded to 0. The gradient is the simplest one possible, probability minus truth, and sums to 0 in "
    "each image. At chance level among ten classes the loss is log 10 = 2.303. In the project: core/losses.py.",
)  # fmt: skip
