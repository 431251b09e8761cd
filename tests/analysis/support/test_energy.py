"""The energy score by hand, and the threshold and conclusion that come from the numbers."""

import numpy as np
import pytest

from analysis.support import energy
from analysis.support.energy import Acceptance, acceptance
from core.data import DataSet


def test_the_energy_by_hand():
    np.testing.assert_allclose(energy.energy([[0.0, 0.0], [np.log(3), 0.0]]), [-np.log(2), -np.log(4)], rtol=1e-15)
    # A constant added to all logits leaves the softmax as it is and is subtracted from the energy.
    np.testing.assert_allclose(
        energy.energy([[1000.0, 1000.0], [-1000.0, -1000.0]]), [-1000 - np.log(2), 1000 - np.log(2)]
    )


def test_the_threshold_accepts_95_percent_of_the_test_images():
    energies = np.random.default_rng(0).normal(size=2000)
    found = acceptance(energies, energies + 1, "others", "test")
    assert np.mean([found.accepts(e) for e in energies]) == 0.95
    assert found.rejected == np.mean(energies + 1 > found.threshold) and found.test_images == 2000
    assert acceptance(np.arange(20.0), np.array([17.0, 18.0, 18.5, 19.0]), "others", "test").threshold == 18
    assert acceptance(np.arange(20.0), np.array([17.0, 18.0, 18.5, 19.0]), "others", "test").rejected == 0.5


def test_the_words_follow_the_numbers():
    some = Acceptance(-2.5, 2000, "test", "drawn shapes", 0.31)
    assert some.verdict(-2.5) == "energy −2.50, threshold −2.50: like the training set"
    assert some.verdict(1.0) == "energy 1.00, threshold −2.50: unlike the training set"
    assert "95 % of the first 2,000 test images are below the threshold −2.50. 31 % of 500 drawn" in some.in_words()
    assert some.in_words().endswith("are above it; an image below it may still show none of the classes.")
    assert "nothing" in Acceptance(-2.5, 400, "test", "others", 0.03).in_words()
    assert Acceptance(-2.5, 400, "validation", "others", 0.99).in_words().endswith("99 % of 500 others are above it.")


@pytest.mark.parametrize("name", ["cifar10", "shapes10"])
def test_the_foreign_images(small_data, name):
    data = DataSet(
        name, small_data.class_names, small_data.train_images, small_data.train_labels, small_data.test_images,
        small_data.test_labels, "",
    )  # fmt: skip
    what, images = energy.foreign_images(data)
    assert images.shape == (energy.FOREIGN_IMAGES, 32, 32, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(images, energy.foreign_images(data)[1])  # the same each time
    if name == "cifar10":
        assert what == "drawn shapes (shapes10)"
    else:  # the pixels of an image at other positions, every colour whole
        for shuffled, image in zip(images[[0, 101]], data.test_images[[0, 1]]):
            assert not np.array_equal(shuffled, image)
            np.testing.assert_array_equal(*(sorted(x.reshape(-1, 3).tolist()) for x in (shuffled, image)))
