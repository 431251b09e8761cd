"""Exercise 14: find the bug; the mean of batch accuracies with a short last batch."""

import numpy as np

from checker.arrays import array, call, expect_equal, expect_shape
from checker.exercise import Check, Exercise, Mistake, Wrong

LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
PREDICTED = np.array([0, 1, 2, 0, 1, 2, 0, 1, 0, 1])  # the last two are wrong: 8 of 10


class Predict:
    """Looks the prediction up by the number that an image holds; remembers how many images it was given."""

    def __init__(self, predicted):
        self.predicted, self.sizes = predicted, []

    def __call__(self, x):
        """[B,1] -> classes [B]."""
        self.sizes.append(len(x))
        return self.predicted[x[:, 0].astype(int)]


def evaluated(module, predicted, labels, batch_size):
    """(the learner's accuracy, the sizes of the batches)."""
    predict = Predict(predicted)
    accuracy = array(call(module, "evaluate", predict, np.arange(float(len(labels)))[:, None], labels, batch_size),
                     "accuracy")  # fmt: skip
    return accuracy, predict.sizes


def shape(module):
    """One number."""
    expect_shape("accuracy", evaluated(module, PREDICTED, LABELS, 4)[0], (), "one number")


def by_hand(module):
    """Eight of ten, in batches of 4, 4 and 2."""
    accuracy, _ = evaluated(module, PREDICTED, LABELS, 4)
    expect_equal("accuracy", accuracy, 0.8, "Ten images, eight predictions correct, in batches of 4, 4 and 2 of which "
                 "the last has none right: the accuracy is 8/10.")  # fmt: skip


def any_batch_size(module):
    """The same accuracy for every batch size."""
    for batch_size in (1, 2, 3, 4, 6, 7, 9, 10, 11, 100):
        accuracy, _ = evaluated(module, PREDICTED, LABELS, batch_size)
        expect_equal("accuracy", accuracy, 0.8, f"With batches of {batch_size} the accuracy is another one; it must "
                     "not depend on the batch size.")  # fmt: skip


def all_images_in_batches(module):
    """Each image once, never more than batch_size at a time."""
    for batch_size in (1, 4, 7):
        _, sizes = evaluated(module, PREDICTED, LABELS, batch_size)
        if max(sizes, default=0) > batch_size:
            raise Wrong(f"predict was given {max(sizes)} images at once, with a batch size of {batch_size}: they would "
                        "not fit into memory.", ("found", f"batches of {sizes}"))  # fmt: skip
        if sum(sizes) != len(LABELS):
            raise Wrong(f"predict was given {sum(sizes)} images; there are {len(LABELS)}, and each counts once.",
                        ("found", f"batches of {sizes}"))  # fmt: skip


def probe(module):
    """Accuracies and the batches of several batch sizes."""
    found = []
    for batch_size in (1, 3, 4, 6, 10, 100):
        accuracy, sizes = evaluated(module, PREDICTED, LABELS, batch_size)
        found += [accuracy, np.array(sizes)]
    return found


SETUP, ADD = "    correct = 0\n", "        correct += np.sum(predict(x[batch]) == labels[batch])\n"
RETURN = "    return correct / len(x)\n"
MEANS = (
    (SETUP, "    accuracies = []\n"),
    (ADD, "        accuracies.append(np.mean(predict(x[batch]) == labels[batch]))\n"),
)
LOOP = "range(0, len(x), batch_size)"
EXERCISE = Exercise(
    title="find the bug: an accuracy that depends on the batch size",
    hints=(
        "Take ten images in batches of 4, 4 and 2, of which 4, 4 and 0 are predicted correctly. What is the accuracy, "
        "and what does the function return? How much does one image of the last batch count?",
        "A mean of means is the mean only when all groups have the same size. Count the correct predictions of all "
        "batches, and divide once at the end.",
        "correct += np.sum(predict(x[batch]) == labels[batch]) in the loop, and return correct / len(x) behind it.",
    ),
    checks=(
        Check("shape", shape),
        Check("by hand", by_hand),
        Check("any batch size", any_batch_size),
        Check("all images, in batches", all_images_in_batches),
    ),
    probe=probe,
    planted=(*MEANS, (RETURN, "    return np.mean(accuracies)\n")),
    mistakes=(
        Mistake(
            "as it was",
            "This computes the same as the file you were given: an image of the last batch still counts for more than "
            "the others.",
            (*MEANS, (RETURN, "    return sum(accuracies) / len(accuracies)\n")),
        ),
        Mistake(
            "last batch dropped",
            "You leave the short last batch out. The batches are equal now, and some images are never evaluated; count "
            "them all.",
            ((LOOP, "range(0, len(x) - batch_size + 1, batch_size)"),
             (RETURN, "    return correct / max(len(x) // batch_size * batch_size, 1)\n")),
        ),
        Mistake(
            "divided by full batches",
            "You divide by batch_size times the number of batches, as if the last one were full. There are len(x) "
            "images.",
            ((RETURN, "    return correct / (batch_size * -(-len(x) // batch_size))\n"),),
        ),
        Mistake(
            "divided by the batches",
            "The count is divided by the number of batches: that is the mean count of a batch. The accuracy is the "
            "fraction of all images.",
            ((RETURN, "    return correct / -(-len(x) // batch_size)\n"),),
        ),
        Mistake(
            "weighted with batch_size",
            "Each batch counts with batch_size images, the short last one too. Weight it with the images that it has, "
            "or simply count the correct ones.",
            ((ADD, "        correct += batch_size * np.mean(predict(x[batch]) == labels[batch])\n"),),
        ),
        Mistake(
            "count instead of fraction",
            "This is the number of correct predictions. The accuracy is their fraction: divide by len(x).",
            ((RETURN, "    return correct\n"),),
        ),
        Mistake(
            "whole number",
            "correct // len(x) is a whole number, 0 unless all are correct: divide with a single /.",
            ((RETURN, "    return correct // len(x)\n"),),
        ),
        Mistake(
            "return in the loop",
            "The return stands inside the loop, so that only the first batch is evaluated: move it out, to the left.",
            ((RETURN, "        return correct / len(x)\n"),),
        ),
        Mistake(
            "all at once",
            "All images go into predict at once. The number is right, and the memory is what batches are for: at most "
            "batch_size images at a time.",
            ((LOOP, "range(0, len(x), len(x))"), ("slice(start, start + batch_size)", "slice(start, None)")),
        ),
        Mistake(
            "last batch only",
            "Only the last batch counts: the loop overwrites the number of correct predictions, += adds them up.",
            ((ADD, ADD.replace("+=", "=")),),
        ),
        Mistake(
            "wrong predictions counted",
            "You count the wrong predictions: that is the error, 1 - accuracy.",
            ((ADD, ADD.replace("==", "!=")),),
        ),
    ),
    explanation="Count, and divide once: 10,000 test images in batches of 500 hide this bug, in batches of 128 they "
    "show it, and the reported accuracy moves with a setting that should not matter. core/measure/evaluation.py adds "
    "up counts; the last batch may be short, and nothing is dropped.",
)  # fmt: skip
