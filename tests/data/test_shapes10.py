import hashlib

import numpy as np
import pytest

from core.data import shapes10


@pytest.mark.parametrize("each", [1, 7])
def test_every_class_has_as_many_images(each):
    images, labels = shapes10.draw(each, seed=3)
    assert images.shape == (10 * each, 32, 32, 3) and images.dtype == np.uint8 and labels.dtype == np.int32
    np.testing.assert_array_equal(np.bincount(labels), 10 * [each])
    assert np.any(np.diff(labels) < 0), "the classes are mixed, not one after the other"


def test_the_same_seed_draws_the_same_bytes_and_another_seed_others():
    (images, labels), again, other = shapes10.draw(5, seed=1), shapes10.draw(5, seed=1), shapes10.draw(5, seed=2)
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(labels, again[1])
    assert np.mean(images == other[0]) < 0.1


@pytest.mark.parametrize(
    ("each", "sha256"),
    [
        (10, "e643e72c9e2f6002180c9efd1c79795c38804b480fe2844f8aa1e491ba2b8b09"),
        (250, "0811b718595bdf545af1699fb8d285e5e63fbd105152ff5966c9179377312610"),  # with every case of the two colours
    ],
)
def test_the_bytes_are_the_ones_that_were_always_drawn(each, sha256):
    """Runs on shapes10 are comparable over the years only if the drawing never changes."""
    images, labels = shapes10.draw(each, seed=0)
    assert hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() == sha256


def test_no_two_images_are_alike_and_every_shape_can_be_seen():
    images, _ = shapes10.draw(20, seed=4)
    assert len({image.tobytes() for image in images}) == len(images)
    assert images.reshape(len(images), -1).std(axis=1).min() > 10


@pytest.mark.parametrize("label", range(10))
def test_a_mask_lies_between_background_and_foreground_and_has_some_of_both(label):
    ink = shapes10.mask(label, 50, np.random.default_rng(0))
    assert ink.shape == (50, 32, 32) and ink.dtype == np.float32
    assert ink.min() >= 0 and ink.max() <= 1
    assert np.all(ink.mean(axis=(1, 2)) > 0.02) and np.all(ink.mean(axis=(1, 2)) < 0.98)


def test_a_disc_by_hand():
    """A disc is as wide as it is high, filled, and round: it covers pi/4 of the square around it."""
    for ink in shapes10.mask(shapes10.CLASSES.index("disc"), 20, np.random.default_rng(0)):
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert abs(height - width) <= 1
        assert ink.sum() / (height * width) == pytest.approx(np.pi / 4, abs=0.08)
