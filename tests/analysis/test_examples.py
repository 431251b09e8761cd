"""Learned, forgotten, never learned: events counted by hand, sentences that follow the numbers, real runs."""

import json
import shutil

import numpy as np
import pytest
from made_checkpoints import cached_load, write_run
from readable import assert_readable
from runner import run

from analysis import examples
from analysis.support import checkpoint_series, common, style
from analysis.support.learning_events import LISTED, LearningEvents
from analysis.support.network import restored_network
from core.data.batches import standardize
from core.run import checkpoints, run_folder

# Five images of class 0 at four checkpoints; 1 is a correct prediction.
CORRECT = np.array([
    [1, 1, 1, 1],  # learned first, not forgotten
    [0, 1, 1, 1],  # learned later
    [1, 0, 1, 0],  # forgotten twice
    [0, 0, 0, 0],  # never learned
    [0, 1, 0, 0],  # forgotten once
]).T  # fmt: skip


def made(correct=CORRECT, margin=None, labels=None) -> LearningEvents:
    """Events with these correct predictions; a wrong prediction is the class after the label's."""
    labels = np.zeros(correct.shape[1], int) if labels is None else labels
    margin = np.where(correct, 1.0, -1.0) if margin is None else margin
    predicted = np.where(correct, labels, labels + 1)
    return LearningEvents([10 * (c + 1) for c in range(len(correct))], labels, predicted, 0.5 + 0.1 * margin, margin)


def test_the_events_by_hand():
    found = made()
    assert found.forgetting_events.tolist() == [0, 0, 2, 0, 1]
    assert found.learned_at.tolist() == [0, 1, 0, 4, 1]
    assert found.never_learned.tolist() == [False, False, False, True, False]
    assert found.unforgettable.tolist() == [True, True, False, False, False]
    assert found.usual_prediction.tolist() == [0, 0, 0, 1, 1]
    assert found.learned_first().tolist() == [0, 1] and found.most_forgotten().tolist() == [2, 4]
    assert found.hardest().tolist() == [3]


def test_the_states_by_hand():
    states = found = made().states()
    assert (5 * found["correct since first learned"]).tolist() == [2, 3, 2, 2]
    assert (5 * found["correct again"]).tolist() == [0, 0, 1, 0]
    assert (5 * found["forgotten"]).tolist() == [0, 1, 1, 2]
    assert (5 * found["not yet learned"]).tolist() == [3, 1, 1, 1]
    assert list(examples.STATE_COLOURS) == list(states)
    many = made(np.random.default_rng(0).random([7, 50]) < 0.5).states()
    np.testing.assert_allclose(sum(many.values()), 1)


def test_wrong_labels_are_the_first_candidates():
    draw = np.random.default_rng(0)
    margin = draw.normal(1, 2, size=[6, 1000])  # hard images: sometimes wrong
    wrong = draw.permutation(1000)[:20]
    margin[:, wrong] -= 6  # always wrong
    found = made(margin > 0, margin)
    assert len(found.candidates()) == round(1000 * LISTED) > 20
    assert {*wrong} <= {*found.candidates()} and found.candidates()[0] == margin.mean(axis=0).argmin()
    assert not len(made(np.ones([6, 1000], bool)).candidates())


def test_the_sentences_follow_the_numbers():
    labels = np.array([0, 0, 0, 1, 1])
    text = examples.read_learning(made(labels=labels), ["cat", "dog", "ship"], 20)
    assert (
        "Of 5 training images 40.0 % were learned and not forgotten again, 40.0 % had a forgetting event, 20.0 %"
        in text
    )
    assert "Most often never learned: dog (50.0 % of its images)." in text
    assert "Seen at 4 checkpoints, steps 10 to 40, 0.5 epochs apart" in text
    perfect = made(np.ones([4, 5], bool))
    text = examples.read_learning(perfect, ["cat"], 10)
    assert "100.0 % were learned" in text and "Most often" not in text and "1 epoch apart" in text
    assert (
        examples.read_groups(perfect) == "Learned first: 100.0 % of the images were correct at step 10 and ever since."
    )
    text = examples.read_groups(made())
    assert "20.0 % of the images were correct at step 10" in text and "Forgotten most: 2 times (2 is the most" in text
    assert examples.read_candidates(perfect).startswith("None of 5 training images has a negative area")
    text = examples.read_candidates(made(np.zeros([3, 400], bool)))
    assert "11 of 400 training images" in text and "11 are shown" in text and "confirmed 54, about 1 in 5;" in text


def test_checkpoints_and_images_evenly_spread(tmp_path):
    for step in range(5, 60, 5):
        (tmp_path / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    assert [checkpoints.step_of(path) for path in checkpoint_series.saved_paths(tmp_path, 3)] == [5, 30, 55]
    assert len(checkpoint_series.saved_paths(tmp_path, 100)) == 11
    assert checkpoint_series.spread(10, 5).tolist() == [0, 2, 4, 6, 8]
    assert checkpoint_series.spread(3, 5).tolist() == [0, 1, 2]


# Runs.


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch):
    """shapes10 is drawn once for all tests."""
    monkeypatch.setattr("core.data.load", cached_load)


def change(step, name, tensor):
    """Weights that predict other classes at every checkpoint."""
    if name.startswith("dense") and name.endswith("kernel"):
        return np.random.default_rng(step).normal(size=tensor.shape).astype(np.float32)
    return tensor


def answer(folder, tmp_path, *args) -> None:
    """What `python analysis/examples.py FOLDER ...` does, in this process."""
    given = [folder, "--out", tmp_path / "it.png", "--images", 100, *args]
    common.answer(examples.main, examples.parse([*map(str, given)]))


@pytest.mark.parametrize("recipe, holdout", [("debug", True), ("minute", False)])
def test_the_figures_of_a_run(recipe, holdout, tmp_path, capsys, monkeypatch):
    folder = write_run(tmp_path, recipe, steps=(5, 10, 15, 20), holdout=holdout, change=change)
    (checkpoints.newest_first(folder)[1] / "tensors.npz").write_bytes(b"cut short")
    texts, save = [], style.save
    monkeypatch.setattr(
        style, "save", lambda drawing, path: (texts.append(assert_readable(drawing)), save(drawing, path))
    )
    answer(folder, tmp_path)
    text = capsys.readouterr().out
    assert "passed over" in text and "Seen at 3 checkpoints, steps 5 to 20" in text
    assert (tmp_path / "it.png").stat().st_size > 10_000 and (tmp_path / "it-candidates.png").stat().st_size > 10_000
    assert {"forgotten", "never\nlearned"} <= {*texts[0]} and sum("→" in text for text in texts[1]) >= 2

    data = cached_load("shapes10", "", holdout)
    chosen = checkpoint_series.spread(len(data.train_images), 100)
    right = []
    for step in (5, 10, 20):
        network = restored_network(folder, checkpoints.newest(folder, step))
        logits = network(standardize(data.train_images[chosen]), training=False).numpy()
        right.append(logits.argmax(axis=1) == data.train_labels[chosen])
    never = 100 * (~np.any(right, axis=0)).mean()
    assert f"{never:.1f} % were never learned" in text
    for panel in examples.PANELS if recipe == "debug" else ():
        answer(folder, tmp_path, "--panel", panel)
    assert len(texts) == (5 if recipe == "debug" else 2)


def test_only_images_that_the_run_was_trained_on(tmp_path, monkeypatch):
    folder = write_run(tmp_path, "debug", steps=(5, 10, 15))
    config = json.loads((folder / run_folder.CONFIG).read_text())
    run_folder.write_config(folder, config | {"settings": config["settings"] | {"train_images": 120}})
    seen = []
    monkeypatch.setattr(examples, "events_of", lambda run, images, labels: seen.append(images) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        answer(folder, tmp_path)
    data = cached_load("shapes10", "", False)
    assert np.array_equal(seen[0], data.train_images[checkpoint_series.spread(120, 100)])


def test_what_a_user_can_do_wrong(tmp_path, capsys):
    short = write_run(tmp_path / "short", "debug", steps=(10, 20))
    diverged = write_run(
        tmp_path / "diverged", "debug", steps=(5, 10, 20), change=lambda step, name, x: x * (np.nan if step > 5 else 1)
    )
    moved = shutil.copytree(diverged, tmp_path / "moved")
    config = json.loads((moved / run_folder.CONFIG).read_text())
    run_folder.write_config(moved, config | {"data": config["data"] | {"fingerprint": "other"}})
    for folder, message in (
        (short, "takes 3 usable checkpoints, the run has 2; train with more: `python train_loop.py --checkpoint-every"),
        (diverged, "takes 3 usable checkpoints, the run has 1"),
        (moved, "trained on other bytes"),
    ):
        with pytest.raises(SystemExit) as left:
            answer(folder, tmp_path)
        assert message in str(left.value) and "\n" not in str(left.value)
    assert "its logits are not finite" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        examples.parse(["--images", "99"])
    assert left.value.code == 2 and "--images 99: at least 100" in capsys.readouterr().err


def test_help_is_quick_and_names_the_options():
    text = run("analysis/examples.py", "--help").stdout
    assert all(option in text for option in ("--panel", "--images", "--runs-dir", "--data-dir"))
