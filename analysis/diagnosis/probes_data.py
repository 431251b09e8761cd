"""Active checks of the data: training images, test images among them or unlike them, augmentation."""

import numpy as np

from analysis.diagnosis.detectors.finding import AMBER, RED, Finding, percent
from analysis.diagnosis.probes import Outcome, Subject
from analysis.support.run import NotMeasured

SIDE = 8  # rows and columns to which images are reduced before they are compared
ALIKE = 0.995  # correlation of two reduced images from which on they count as the same


def training_images(subject: Subject) -> Outcome:
    """How many different images the training set has, and how many have only one colour.

    Rule: more than 1 % have one colour, or fewer than half are different [H].
    """
    images = subject.data.train_images
    flat = int((images.reshape(len(images), -1, 3).min(axis=1) == images.reshape(len(images), -1, 3).max(axis=1))
               .all(axis=1).sum())  # fmt: skip
    different = len({image.tobytes() for image in images})
    sentence = f"{different:,} of {len(images):,} training images are different, {flat:,} have only one colour"
    findings = []
    if flat > 0.01 * len(images):
        findings.append(Finding("no-signal", "Training images without content", RED, 0, (sentence,)))
    elif different < 0.5 * len(images):
        findings.append(Finding("overfit", "The same training images many times", RED, 0, (sentence,)))
    return Outcome(sentence, tuple(findings))


def near_duplicates(subject: Subject) -> Outcome:
    """Test images that are also training images, mirrored or compressed again included.

    Both are averaged to 8 x 8 pixels; a pair counts as the same if the 192 numbers, or those of the mirrored image,
    correlate by 0.995. Rule: more than 1 % of the test images have such a partner [H]; red above 4 % [H]. The data
    sets themselves: 0.11 % of CIFAR-10 (JPEG copy), 0.05 % of shapes10. Of images that were compressed again at JPEG
    quality 75, 50 and 30 it finds 100, 66 and 45 %; of images shifted by a pixel 3 %. An image of one colour
    has no partner.
    """
    amber, red = 0.01, 0.04
    images, _ = subject.test
    best = best_correlation(images, subject.data.train_images)
    count = int((best > ALIKE).sum())
    sentence = (
        f"{count:,} of {len(images):,} {subject.run.test_name} images ({percent(count / len(images))}) are nearly "
        f"the same as a training image, mirrored ones included"
    )
    if count <= amber * len(images):
        return Outcome(sentence)
    severity = RED if count > red * len(images) else AMBER
    title = f"{percent(count / len(images))} of the {subject.run.test_name} images are also training images"
    return Outcome(
        sentence, (Finding("leak", title, severity, 0, (f"{sentence} (8 x 8 pixels correlate by {ALIKE})",)),)
    )


def best_correlation(images: np.ndarray, among: np.ndarray) -> np.ndarray:
    """For each image the largest correlation with one of `among`, as it is or mirrored. [N,H,W,3], [M,H,W,3] -> [N]."""
    reduced_among, best = reduced(among), np.full(len(images), -1, np.float32)
    for given in (images, images[:, :, ::-1]):
        for i in range(0, len(images), 500):  # 500 x 50,000 correlations take 100 MB
            part = slice(i, i + 500)
            best[part] = np.maximum(best[part], (reduced(given[part]) @ reduced_among.T).max(axis=1))
    return best


def reduced(images: np.ndarray) -> np.ndarray:
    """Images averaged to SIDE x SIDE pixels, less their mean, of norm 1; 0 for an image of one colour.

    uint8 [N,32,32,3] -> float32 [N,192].
    """
    cells = cell_means(images, SIDE).reshape(len(images), -1)
    cells = cells - cells.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(cells, axis=1, keepdims=True)
    return np.where(norm > 1, cells / np.maximum(norm, 1), 0).astype(np.float32)


def cell_means(images: np.ndarray, side: int) -> np.ndarray:
    """The mean of each of side x side cells.  uint8 [N,H,W,3] -> float32 [N,side,side,3]."""
    n, height, width, channels = images.shape
    cells = images.reshape(n, side, height // side, side, width // side, channels)
    return cells.mean(axis=(2, 4), dtype=np.float32)


# What may have been done to the test images: {in words: its inverse}.
CHANGES = {
    "turned upside down": lambda images: images[:, ::-1],
    "with the colours in reverse order": lambda images: images[..., ::-1],
    "turned by 90 degrees": lambda images: np.rot90(images, 1, (1, 2)),
    "turned by 270 degrees": lambda images: np.rot90(images, 3, (1, 2)),
    "with rows and columns exchanged": lambda images: images.transpose(0, 2, 1, 3),
    "as negatives": lambda images: 255 - images,
}


def test_images(subject: Subject) -> Outcome:
    """Whether the test images are like those of training, by their means and by a network that was trained for a while.

    Rule (a): of the mean colours of 4 x 4 cells one differs by more than 6 standard errors and 0.15 standard
    deviations [H]. The data sets themselves: 2.6 standard errors at most. Rule (b): the short training's network has a
    lower loss on the test images after one of CHANGES has been undone: by 0.03 nats and 4 standard errors of the mean
    difference [H].
    """
    errors, stds, nats, loss_errors = 6.0, 0.15, 0.03, 4.0
    images, labels = subject.test
    train, test = cell_means(subject.data.train_images, 4), cell_means(images, 4)
    difference = np.abs(train.mean(axis=0) - test.mean(axis=0))
    error = np.sqrt(train.var(axis=0) / len(train) + test.var(axis=0) / len(test))
    largest = float((difference / np.maximum(error, 1e-6)).max())
    effect = float((difference / np.maximum(train.std(axis=0), 1e-3)).max())
    rows = np.arange(len(labels))
    given = -subject.plain.log_probabilities(images)[rows, labels]  # the loss of each
    losses = {
        words: -subject.plain.log_probabilities(np.ascontiguousarray(undone(images)))[rows, labels]
        for words, undone in CHANGES.items()
    }
    best = min(losses, key=lambda words: losses[words].mean())
    lower = given - losses[best]
    sentence = (
        f"the mean colours of 16 cells differ from those of training by {largest:.1f} standard errors at most; the "
        f"loss is {given.mean():.2f}, and {losses[best].mean():.2f} as if they were {best}"
    )
    title = f"The {subject.run.test_name} images are not like those of training"
    if lower.mean() > max(nats, loss_errors * lower.std() / len(lower) ** 0.5):
        return Outcome(sentence, (Finding("different-test", f"{title}: they are {best}", RED, 0, (sentence,)),))
    if largest > errors and effect > stds:
        return Outcome(sentence, (Finding("different-test", title, RED, 0, (sentence,)),))
    return Outcome(sentence)


def augmentation(subject: Subject) -> Outcome:
    """Whether augmented training images are still like the plain ones: a label-preserving change keeps predictions.

    Rule: of what the short training's network, trained without augmentation, is right about beyond chance level, less
    than 40 % is left on the same images augmented [H]: strong-regularization. The correlation of the activations of
    the layer before the last is part of the sentence. If the activations are alike, `strong-regularization` is
    refuted unless dropout or label smoothing is behind it.
    """
    least, batches_of = 0.4, 10
    settings = subject.settings
    if settings.flip == "none" and not settings.crop:
        raise NotMeasured("the run has no augmentation")
    plain, augmented, labels = augmented_pairs(subject, batches_of)
    right, left = (float((subject.plain.predicted(x) == labels).mean()) for x in (plain, augmented))
    chance = subject.run.chance_level
    if right < 2 * chance:
        raise NotMeasured(f"without augmentation {percent(right)} are right: too few to tell")
    alike = likeness(subject, plain, augmented)
    sentence = (
        f"of the same training images {percent(right)} are right, augmented {percent(left)}; the activations "
        f"before the last layer correlate by {alike:.2f}"
    )
    if left - chance < least * (right - chance):
        return Outcome(sentence, (Finding(
            "strong-regularization", "The augmentation destroys the images", RED, 1, (sentence,)
        ),))  # fmt: skip
    otherwise = settings.label_smoothing > 0 or any(
        x.get("layer") == "Dropout" for x in subject.run.config.get("architecture") or []
    )
    refuted = {} if otherwise else {"strong-regularization": "augmented images are predicted as the plain ones"}
    return Outcome(sentence, refuted=refuted)


def augmented_pairs(subject: Subject, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(training images, the same as the batches give them, labels) of the first batch of so many epochs."""
    import tensorflow as tf

    from core import build

    batches = build.build_batches(subject.data, subject.settings)
    plain, augmented, labels = [], [], []
    for i in range(count):
        step = tf.constant(1 + i * batches.steps_per_epoch)
        images, its_labels = batches.batch(step)
        plain.append(subject.data.train_images[batches.indices(step).numpy()])
        augmented.append(images.numpy())
        labels.append(its_labels.numpy())
    return np.concatenate(plain), np.concatenate(augmented), np.concatenate(labels)


def likeness(subject: Subject, images: np.ndarray, others: np.ndarray) -> float:
    """The correlation over images of each activation before the last layer, median over those that vary."""
    import tensorflow as tf

    from core.data.batches import standardize

    def activations(given):
        *_, before, _ = (
            y for _, y in subject.plain.training.network.outputs(standardize(tf.constant(given[:500])), False)
        )
        y = tf.cast(before, tf.float32).numpy().reshape(min(len(given), 500), -1)
        return y - y.mean(axis=0)

    a, b = activations(images), activations(others)
    norms = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    alive = norms > 1e-6
    return float(np.median((a * b).sum(axis=0)[alive] / norms[alive])) if alive.any() else 0.0
