"""Confusion, calibration and figures of images: each sentence from its numbers, these as the run logged them."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from readable import assert_readable
from runner import forget_run, run, tenth_of_shapes10, train_here

from analysis import confusion
from analysis.support import common, prediction_images, predictions, statistics, style
from analysis.support.predictions import Predictions
from analysis.support.run import Run
from core.measure import evaluation
from core.run import checkpoints, logs, run_folder
from core.run.errors import RunError

NAMES = ("cat", "dog", "ship")


def made(counts, confidence=0.9, names=NAMES, **more) -> Predictions:
    """Predictions with this confusion matrix; confidence: of all, or of each image in the order of the matrix."""
    counts = np.array(counts)
    labels, predicted = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    confidence = np.broadcast_to(np.float32(confidence), len(labels))
    rest = (1 - confidence) / (len(names) - 1)
    probabilities = np.repeat(rest[:, np.newaxis], len(names), axis=1)
    probabilities[np.arange(len(labels)), predicted] = confidence
    images = np.random.default_rng(0).integers(0, 256, [len(labels), 32, 32, 3], np.uint8)
    return Predictions(images, labels.astype(np.int32), probabilities, tuple(names), **more)


def drawn(draw, found) -> tuple[str, list[str]]:
    """(a panel's conclusion, the texts in it)."""
    drawing, axes = style.figure(1, 1)
    with np.errstate(all="ignore"):
        conclusion = draw(axes[0, 0], found)
    drawing.canvas.draw()
    style.close(drawing)
    return conclusion, [text.get_text() for text in axes[0, 0].texts]


COUNTS = [[80, 15, 5], [9, 90, 1], [2, 0, 98]]


def test_the_most_confused_pair_counts_both_directions():
    text, cells = drawn(confusion.draw_matrix, made(COUNTS))
    assert text.startswith("Most confused pair: cat and dog, 75.0 % of the 32 mistakes. 15 images of cat are")
    assert "predicted as dog, 9 of dog as cat." in text
    assert cells == ["80", "15", "5", "9", "90", "1", "2", "0", "98"]
    text, _ = drawn(confusion.draw_matrix, made([[80, 10, 10], [9, 90, 1], [12, 0, 88]]))
    assert text.startswith("Most confused pair: cat and ship, 52.4 % of the 42 mistakes. 10 images of cat are")
    text, _ = drawn(confusion.draw_matrix, made(np.diag([5, 6, 7]), kind="validation"))
    assert text == "All 18 validation images are predicted correctly."


def test_the_hardest_class_and_whether_its_interval_overlaps():
    low, high = statistics.wilson(80, 100)
    text, _ = drawn(confusion.draw_classes, made(COUNTS))
    assert text.startswith(f"Hardest class: cat, recall 80.0 % (95 % interval {100 * low:.1f} to {100 * high:.1f}). ")
    assert "The interval of dog (90.0 %) overlaps" in text and "Easiest: ship, 98.0 %." in text
    assert "Lowest precision: dog, 85.7 % of the images predicted as dog" in text and "Never" not in text
    text, _ = drawn(confusion.draw_classes, made([[30, 70, 0], [9, 90, 1], [2, 0, 98]]))
    assert "cat, recall 30.0 %" in text and "The next one, dog (90.0 %), lies above that interval." in text


def test_a_class_that_is_never_predicted_or_has_no_images():
    text, _ = drawn(confusion.draw_classes, made([[0, 10, 0], [0, 10, 0], [0, 1, 9]]))
    assert "Hardest class: cat, recall 0.0 %" in text and text.endswith("Never predicted: cat.")
    text, _ = drawn(confusion.draw_classes, made([[5, 5, 0], [0, 0, 0], [0, 1, 9]]))
    assert "Hardest class: cat, recall 50.0 %" in text and "Lowest precision: dog, 0.0 %" in text


def test_over_under_or_neither():
    counts = [[90, 10, 0], [5, 95, 0], [15, 0, 85]]  # 90 % correct
    text, _ = drawn(confusion.draw_reliability, made(counts, 0.99))
    assert text.startswith("Over-confident: mean confidence 99.0 %, accuracy 90.0 %. The difference is +9.00 points")
    assert "ECE (15 bins) 0.090;" in text
    text, _ = drawn(confusion.draw_reliability, made(counts, 0.7, label_smoothing=0.2))
    assert text.startswith("Under-confident: mean confidence 70.0 %, accuracy 90.0 %. The difference is −20.00 points")
    assert text.endswith("Label smoothing (0.2) lowers the confidence.")
    text, _ = drawn(confusion.draw_reliability, made(counts, 0.91, label_smoothing=0.2))
    assert text.startswith("Neither over- nor under-confident on average: mean") and "smoothing" not in text


@pytest.mark.parametrize("seed", range(4))
def test_bins_and_ece_are_those_of_the_evaluation(seed):
    random = np.random.default_rng(seed)
    logits = random.normal(0, 10.0 ** (seed - 1), [500, 10]).astype(np.float32)
    labels = random.integers(0, 10, 500).astype(np.int32)
    sums = evaluation.batch_sums(tf.constant(logits), tf.constant(labels))
    images = np.zeros([500, 32, 32, 3], np.uint8)
    found = Predictions(images, labels, tf.nn.softmax(logits).numpy(), tuple("abcdefghij"))
    bins, error = predictions.calibration(found)
    np.testing.assert_allclose(bins, sums["calibration"], rtol=1e-5)
    assert error == pytest.approx(evaluation.from_sums([sums]).calibration_error, abs=1e-6)
    np.testing.assert_array_equal(found.counts, sums["confusion"])


def test_the_error_of_a_calibrated_network_is_what_simulation_gives():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.4, 1, 2000).astype(np.float32)
    found = made(np.diag([2000, 0, 0]), confidence)
    index = np.minimum((confidence * 15).astype(int), 14)
    errors = []
    for _ in range(300):
        gap = np.bincount(index, weights=(random.uniform(size=2000) < confidence) - confidence, minlength=15)
        errors.append(np.abs(gap).sum() / 2000)
    assert predictions.error_of_calibrated(found) == pytest.approx(np.mean(errors), rel=0.05)


def test_the_images_are_ordered_by_confidence(monkeypatch):
    monkeypatch.setattr(prediction_images, "MOST", 3)
    #        cat: right, right, as dog  dog: as cat, right, right  ship: as dog, as dog, right
    found = made([[2, 1, 0], [1, 2, 0], [0, 2, 1]], [0.9, 0.5, 0.8, 0.7, 0.6, 0.99, 0.95, 0.4, 0.45])
    text, tiles = drawn(confusion.draw_mistakes, found)
    assert tiles == ["95.0 %", "ship", "→ dog", "80.0 %", "cat", "→ dog", "70.0 %", "dog", "→ cat"]
    assert text.startswith("The most confident one is test image 6: ship predicted as dog with 95.0 %. Median")
    assert "of the 4 mistakes: 75.0 %, of the correct predictions: 60.0 %." in text
    text, tiles = drawn(confusion.draw_hits, found)
    assert tiles[::3] == ["45.0 %", "50.0 %", "60.0 %"] and tiles[1::3] == ["ship", "cat", "dog"]
    assert tiles[2] == "or cat" and text.startswith("The least confident one is test image 8: ship with 45.0 %, then")
    assert text.endswith("Below 50 % are 1 of the 5 correct predictions.")


def test_no_mistake_and_no_hit():
    perfect, nothing = made(np.diag([2, 2, 2])), made([[0, 2, 0], [2, 0, 0], [2, 0, 0]])
    assert drawn(confusion.draw_mistakes, perfect) == ("None: all 6 test images are predicted correctly.", [])
    assert drawn(confusion.draw_hits, nothing)[0] == "None: none of the 6 test images is predicted correctly."
    assert "of the 6 mistakes: 90.0 %. Some" in drawn(confusion.draw_mistakes, nothing)[0]


# A run.


@pytest.fixture(scope="module", autouse=True)
def a_tenth():
    """The data set of the runs of this file, drawn once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.data.load", lambda *given: tenth_of_shapes10())
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory, a_tenth):
    """A run of two epochs, stopped in the second one. Read only."""
    runs_dir = tmp_path_factory.mktemp("runs")
    train_here(runs_dir, "it", "--epochs", 2, "--stop-at", 30, "--diagnostics", "off")
    return runs_dir / "it"


def confused(folder, tmp_path, *args) -> None:
    """What `python analysis/confusion.py FOLDER ...` does, in this process."""
    given = ["--out", tmp_path / "it.png", *args] if "--out" not in args else args
    common.answer(confusion.main, confusion.build_parser().parse_args([str(folder), *map(str, given)]))


def copied(folder, to, **config):
    """A copy of a run whose config.json has other fields."""
    shutil.copytree(folder, to)
    run_folder.write_config(to, json.loads((to / run_folder.CONFIG).read_text()) | config)
    return to


def test_the_predictions_are_those_of_the_log(trained, tmp_path_factory):
    runs_dir = tmp_path_factory.mktemp("resumed")
    shutil.copytree(trained, runs_dir / "it")
    train_here(runs_dir, "it", "--resume")
    its_run = Run(runs_dir / "it")
    step, found = predictions.predictions_of(its_run)
    _, logged = its_run.confusions()
    assert step == 40 and np.abs(found.counts - logged[-1]).sum() <= 2  # rounding may tip an image
    assert predictions.calibration(found)[1] == pytest.approx(its_run.epochs["test_calibration_error"][-1], abs=0.005)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)


def test_figures_of_a_run_that_was_stopped(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prediction_images, "MOST", 3)
    texts, save = [], style.save
    monkeypatch.setattr(
        style, "save", lambda drawing, path: (texts.append(assert_readable(drawing)), save(drawing, path))
    )
    confused(trained, tmp_path)
    out = capsys.readouterr().out
    step, n, right = re.match(
        r"Step (\d+) of 40: \d+ of (\d+) test images are predicted correctly, accuracy (.*) %", out
    ).groups()
    assert (step, n) == ("30", "200") and right
    assert {path.name for path in tmp_path.iterdir()} == {"it.png", "it-mistakes.png", "it-hits.png"}
    assert [line.partition(":")[0] for line in out.splitlines()[1:4]] == [panel.title for panel in confusion.NUMBERS]
    assert any("Most confused pair" in text and "Hardest class" in text for text in texts[0])
    assert any("it on shapes10, step 30" in text for text in texts[2])


@pytest.mark.parametrize("panel", confusion.PANELS, ids=lambda panel: panel.name)
def test_panels_as_slides_with_long_names(panel, tmp_path, monkeypatch):
    names = [f"{letter}-class-with-a-very-long-name" for letter in "abcdefghij"]
    found, checked = made(np.random.default_rng(1).integers(0, 300, [10, 10]), 0.6, names), []
    monkeypatch.setattr(
        style, "save", lambda drawing, _: (checked.extend(assert_readable(drawing)), style.close(drawing))
    )
    confusion.draw_slide(found, panel, "title", tmp_path / "it.svg")
    assert panel.question in checked and "title" in checked


def test_what_a_user_can_do_wrong(trained, tmp_path, capsys):
    def line(folder, *args) -> str:
        with pytest.raises(SystemExit) as left:
            confused(folder, tmp_path, *args)
        assert "\n" not in str(left.value)
        return str(left.value)

    with pytest.raises(SystemExit) as left:
        confused(trained, tmp_path, "--panel", "matrices")
    assert left.value.code == 2 and "matrix" in capsys.readouterr().err
    assert "no such run" in line(tmp_path / "nowhere")
    assert "not a format that matplotlib writes" in line(trained, "--out", tmp_path / "it.doc")
    other = json.loads((trained / run_folder.CONFIG).read_text())["data"] | {"fingerprint": "other"}
    copy = copied(trained, tmp_path / "other", data=other)
    assert "whose fingerprint is another (then a tenth, now other)" in line(copy)
    forget_run(copy)
    assert "trained on other bytes" in line(copy)
    edited = copied(trained, tmp_path / "edited")
    log = (edited / logs.EPOCHS).read_text().splitlines()
    cells = log[-1].split(",")
    (edited / logs.EPOCHS).write_text("\n".join([*log[:-1], ",".join([*cells[:5], "0.01", *cells[6:]])]) + "\n")
    for path in checkpoints.newest_first(edited):
        if path.name != "step-00000020":
            shutil.rmtree(path)
    assert re.search(r"step-00000020: .* % here, 1.00 % in epochs.csv: was the code edited", line(edited))
    shutil.rmtree(edited / checkpoints.FOLDER)
    assert "no checkpoint in it yet" in line(edited)


def test_weights_that_are_not_finite(trained, tmp_path):
    broken = copied(trained, tmp_path / "broken")
    checkpoint = checkpoints.newest(broken)
    name = "dense1/kernel"  # NaN in a layer before it may leave a ReLU as zero
    checkpoints.save(broken, 31, checkpoint.tensors | {name: np.full_like(checkpoint.tensors[name], np.nan)}, keep=10)
    with pytest.raises(RunError, match="logits are not finite"):
        predictions.predictions_of(Run(broken))


def test_the_script_explains_itself():
    assert "--panel NAME" in run("analysis/confusion.py", "--help").stdout
    assert "invalid choice" in run("analysis/confusion.py", "--panel", "x", status=2).stderr
