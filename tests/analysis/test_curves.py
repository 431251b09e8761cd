"""The curves: the verdict says what the numbers say; in any state of a run there is a picture or a sentence."""

import json

import numpy as np
import pytest
from runner import run

from analysis import curves
from analysis.support import common
from core.run import logs, run_folder


def write_run(runs_dir, name, train=(), test=(), losses=None, test_images=10_000, total_epochs=None, holdout=False):
    """A run folder with ten steps an epoch; train and test are (loss, accuracy) of each epoch."""
    folder = run_folder.create(runs_dir, name)
    losses = np.linspace(2.3, 1, 10 * max(len(test), 1)) if losses is None else losses
    config = {
        "run": name, "settings": {"holdout": holdout}, "steps_per_epoch": 10,
        "total_steps": 10 * (total_epochs or max(len(test), 1)),
        "data": {"title": "shapes10", "test_images": test_images},
    }  # fmt: skip
    run_folder.write_config(folder, config)
    log = logs.Logs(folder)
    for step, loss in enumerate(losses, start=1):
        log.append(logs.STEPS, [step, (step - 1) // 10 + 1, float(loss), 0.5, 0.1, 1.0])
    for epoch, (one, other) in enumerate(zip(train, test), start=1):
        log.append(logs.EPOCHS, [epoch, 10 * epoch, *one, *other, 0.0, 0.0])
    log.close()
    return folder


def says(tmp_path, **numbers) -> str:
    return curves.verdict(curves.Run(write_run(tmp_path, "it", **numbers)))


def test_still_improving(tmp_path):
    args = says(tmp_path, train=[(1.5, 0.5), (1.2, 0.6), (1.0, 0.7)], test=[(1.5, 0.5), (1.2, 0.6), (1.0, 0.7)])
    assert "after 3 epochs, test accuracy 70.0 % ± 0.5 on shapes10, train 70.0 %: a gap of 0.0 points" in args
    assert "The last epoch is the best one so far. Still improving: +10.0 points in the last 1 epoch." in args


def test_flat_within_noise(tmp_path):
    args = says(tmp_path, train=[(1, 0.75)] * 6, test=[(1, 0.7), (1, 0.703)] * 3)
    assert "No longer improving beyond noise" in args and "Overfitting" not in args
    args = says(tmp_path / "b", train=[(1, 0.75)] * 2, test=[(1, 0.706), (1, 0.7)])
    assert "Best epoch: 1 (70.6 %), 0.6 points more, within the noise of the evaluation" in args


def test_overfitting_needs_a_rising_test_loss_and_a_falling_train_loss(tmp_path):
    train = [(1.0, 0.6), (0.6, 0.8), (0.2, 0.95)]
    args = says(tmp_path, train=train, test=[(1.1, 0.6), (1.0, 0.66), (1.3, 0.64)])
    assert "it also learns its pictures by heart" in args
    assert "Overfitting: test loss is 30 % above its minimum of epoch 2 while train loss fell." in args
    assert "Best epoch: 2 (66.0 %), 2.0 points more, a real loss" in args
    both_rise = [(1.0, 0.6), (0.9, 0.8), (1.4, 0.5)]
    assert "Overfitting" not in says(tmp_path / "b", train=both_rise, test=[(1.1, 0.6), (1.0, 0.66), (1.3, 0.64)])


def test_not_a_number(tmp_path):
    losses = np.full(10, 2.0)
    losses[6] = np.nan
    assert "no longer a number at step 7" in says(tmp_path, losses=losses)


def test_before_anything_has_happened(tmp_path):
    assert says(tmp_path, losses=[]) == "it: no step yet."
    assert "no epoch is complete yet" in says(tmp_path / "b", losses=[2.3, 2.2])


def test_smoothing_is_the_debiased_average_by_hand():
    """Decay 0.5 on 1, 3, 5: 0.5/0.5, (0.25 + 1.5)/0.75, (0.125 + 0.75 + 2.5)/0.875."""
    np.testing.assert_allclose(common.smoothed(np.array([1.0, 3.0, 5.0]), share=2 / 3), [1, 1.75 / 0.75, 3.375 / 0.875])
    np.testing.assert_allclose(common.smoothed(np.array([2.0, np.nan, 2.0]), share=1), [2, 2, 2])
    np.testing.assert_allclose(common.smoothed(np.full(1000, 7.0)), 7, rtol=1e-12)


def test_the_script_draws_the_latest_run_several_runs_and_where_it_is_told(tmp_path):
    numbers = {"train": [(1.5, 0.5), (1.2, 0.6)], "test": [(1.6, 0.4), (1.3, 0.5)]}
    write_run(tmp_path, "one", **numbers)
    write_run(tmp_path, "two", **numbers, losses=[2.3, np.nan, np.inf, 2.0], holdout=True)
    done = run("analysis/curves.py", "--runs-dir", tmp_path)
    assert "two" in done.stdout and (tmp_path / "two" / "curves.png").stat().st_size > 20_000
    done = run("analysis/curves.py", "one", "two", "--runs-dir", tmp_path, "--out", tmp_path / "new" / "both.svg")
    assert "one: after 2 epochs" in done.stdout
    picture = (tmp_path / "new" / "both.svg").read_text()
    assert picture.startswith("<?xml") and not list((tmp_path / "new").glob(".partial*"))


def test_findings_are_marked_where_they_begin(tmp_path):
    losses = np.full(30, 2.0)
    losses[-1] = np.nan  # the 30th step, at the end of epoch 3
    write_run(tmp_path, "lost", losses=losses, train=[(1.5, 0.5)], test=[(1.6, 0.4)])
    run("analysis/curves.py", "--runs-dir", tmp_path, "--out", tmp_path / "it.svg")
    assert "<!-- non-finite -->" in (tmp_path / "it.svg").read_text()
    write_run(tmp_path, "well", losses=np.linspace(2.3, 1.9, 30), train=[(1.5, 0.5)], test=[(1.6, 0.4)])
    run("analysis/curves.py", "--runs-dir", tmp_path, "--out", tmp_path / "it.svg")
    assert "non-finite" not in (tmp_path / "it.svg").read_text()


def test_following_ends_with_the_run(tmp_path):
    write_run(tmp_path, "done", train=[(1.5, 0.5)], test=[(1.6, 0.4)])
    assert "after 1 epoch," in run("analysis/curves.py", "--runs-dir", tmp_path, "--follow").stdout


@pytest.mark.parametrize(
    "args, status, sentence",
    [
        (["nobody"], 1, "nobody: no such run"),
        (["--out", "picture.doc"], 1, "picture.doc: not a picture format"),
        (["--wrong"], 2, "unrecognized arguments: --wrong"),
        (["torn"], 1, "steps.csv line 3: expected step,epoch"),
    ],
)
def test_bad_use_gets_a_sentence(tmp_path, args, status, sentence):
    write_run(tmp_path, "good", train=[(1.5, 0.5)], test=[(1.6, 0.4)])
    folder = write_run(tmp_path, "torn", losses=[2, 2, 2])
    (folder / logs.STEPS).write_text((folder / logs.STEPS).read_text().replace("2,1,2.0", "2,one,2.0"))
    run_folder.point_latest(tmp_path, "good")
    done = run("analysis/curves.py", *args, "--runs-dir", tmp_path, status=status)
    assert sentence in done.stderr


def test_a_config_without_its_fields_is_no_traceback(tmp_path):
    folder = write_run(tmp_path, "good")
    (folder / run_folder.CONFIG).write_text(json.dumps({"settings": {}, "data": {}}))
    run("analysis/curves.py", "--runs-dir", tmp_path, status=1)
