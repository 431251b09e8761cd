"""The curves: the verdict is what the numbers mean; in any state of a run there is a figure or a sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from readable import assert_readable
from runner import run

from analysis import curves
from analysis.support import curves_figure, series
from analysis.support.run import Run, runs_of
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
    run_folder.point_latest(runs_dir, name)
    return folder


def verdict(tmp_path, **numbers) -> str:
    return curves.verdict(Run(write_run(tmp_path, "it", **numbers)))


def test_still_improving(tmp_path):
    text = verdict(tmp_path, train=[(1.5, 0.5), (1.2, 0.6), (1.0, 0.7)], test=[(1.5, 0.5), (1.2, 0.6), (1.0, 0.7)])
    assert "after 3 epochs, test accuracy 70.0 % ± 0.5 on shapes10, train 70.0 %, a gap of 0.0 points." in text
    assert text.endswith("Still improving: +10.0 points in the last epoch.")


def test_flat_within_noise(tmp_path):
    text = verdict(tmp_path, train=[(1, 0.75)] * 6, test=[(1, 0.7), (1, 0.703)] * 3)
    assert "No longer improving beyond noise" in text and "Overfitting" not in text
    assert "Getting worse: -5.0 points in the last epoch." in verdict(
        tmp_path / "b", train=[(1, 0.75)] * 2, test=[(1, 0.75), (1, 0.7)]
    )


def test_a_best_epoch_is_chosen_on_a_validation_set_only(tmp_path):
    numbers = {"train": [(1, 0.75)] * 3, "test": [(1, 0.6), (1, 0.74), (1, 0.7)]}
    text = verdict(tmp_path / "a", **numbers)
    assert "est epoch" not in text and "test accuracy 70.0 %" in text
    text = verdict(tmp_path / "b", holdout=True, **numbers)
    assert "validation accuracy 70.0 %" in text and "Best epoch: 2 (74.0 %, 4.0 points more: more than noise)." in text
    text = verdict(tmp_path / "c", holdout=True, train=[(1, 0.75)] * 2, test=[(1, 0.706), (1, 0.7)])
    assert "Best epoch: 1 (70.6 %, 0.6 points more: within the noise of the evaluation)." in text
    last = {"train": [(1, 0.75)] * 2, "test": [(1, 0.6), (1, 0.7)]}
    assert "The last epoch is the best one." in verdict(tmp_path / "d", holdout=True, **last)
    assert curves_figure.result(Run(tmp_path / "a" / "it")) == ", last epoch: 70.0 %"
    assert curves_figure.result(Run(tmp_path / "b" / "it")) == ", best epoch 2: 74.0 %"


@pytest.mark.parametrize("accuracy, learned", [(0.0652, False), (0.1, False), (0.1085, False), (0.12, True)])
def test_chance_level_is_called_chance_level(tmp_path, accuracy, learned):
    """sqrt(0.1 * 0.9 / 10,000) = 0.3 points: up to 10.9 % nothing was learned."""
    text = verdict(tmp_path, train=[(2.3, 0.1)] * 3, test=[(2.3, 0.1)] * 2 + [(2.3, accuracy)])
    assert ("chance level is 10 %, so nothing was learned" in text) != learned
    assert ("gap" in text) == ("mproving" in text) == learned


def test_a_loss_that_is_not_finite_is_named_and_drawn(tmp_path):
    numbers = {"train": [(1, 0.5)] * 3, "test": [(1, 0.5), (np.inf, 0.5), (np.nan, 0.5)]}
    assert "The test loss was not finite at some evaluation." in verdict(tmp_path, **numbers)
    curves_figure.draw([Run(tmp_path / "it")], ["text"], None, tmp_path / "it.png")
    huge = {"train": [(1, 0.5), (0.5, 0.6)], "test": [(1e-9, 0.5), (7e3, 0.5)]}
    assert "Overfitting: test loss is 7e+12 times above its minimum of epoch 1" in verdict(tmp_path / "b", **huge)


def test_overfitting_needs_a_rising_test_loss_and_a_falling_train_loss(tmp_path):
    train = [(1.0, 0.6), (0.6, 0.8), (0.2, 0.95)]
    text = verdict(tmp_path, train=train, test=[(1.1, 0.6), (1.0, 0.66), (1.3, 0.64)])
    assert "a gap of 31.0 points." in text
    assert "Overfitting: test loss is 30 % above its minimum of epoch 2 while train loss decreased." in text
    both_rise = [(1.0, 0.6), (0.9, 0.8), (1.4, 0.5)]
    assert "Overfitting" not in verdict(tmp_path / "b", train=both_rise, test=[(1.1, 0.6), (1.0, 0.66), (1.3, 0.64)])


def test_not_a_number(tmp_path):
    losses = np.full(10, 2.0)
    losses[6] = np.nan
    assert "not finite from step 7 on" in verdict(tmp_path, losses=losses)


def test_before_anything_has_happened(tmp_path):
    assert verdict(tmp_path, losses=[]) == "it: no step yet."
    torn = verdict(tmp_path / "c", losses=[], train=[(1.5, 0.5)] * 2, test=[(1.6, 0.4)] * 2)
    assert torn == "it: steps.csv holds no step although epochs.csv has 2 evaluations."
    assert "no epoch is complete yet" in verdict(tmp_path / "b", losses=[2.3, 2.2])


def test_smoothing_is_the_debiased_average_by_hand():
    """Decay 0.5 on 1, 3, 5: 0.5/0.5, (0.25 + 1.5)/0.75, (0.125 + 0.75 + 2.5)/0.875."""
    np.testing.assert_allclose(
        series.smoothed(np.array([1.0, 3.0, 5.0]), fraction=2 / 3), [1, 1.75 / 0.75, 3.375 / 0.875]
    )
    np.testing.assert_allclose(series.smoothed(np.array([2.0, np.nan, 2.0]), fraction=1), [2, 2, 2])
    np.testing.assert_allclose(series.smoothed(np.full(1000, 7.0)), 7, rtol=1e-12)


def test_the_script_draws_the_latest_run_several_runs_and_where_it_is_told(tmp_path):
    numbers = {"train": [(1.5, 0.5), (1.2, 0.6)], "test": [(1.6, 0.4), (1.3, 0.5)]}
    write_run(tmp_path, "one", **numbers)
    write_run(tmp_path, "two", **numbers, losses=[2.3, np.nan, np.inf, 2.0], holdout=True)
    done = run("analysis/curves.py", "--runs-dir", tmp_path)
    assert "two" in done.stdout and (tmp_path / "two" / "curves.png").stat().st_size > 20_000
    done = run("analysis/curves.py", "one", "two", "--runs-dir", tmp_path, "--out", tmp_path / "new" / "both.svg")
    assert "one: after 2 epochs" in done.stdout
    drawn = (tmp_path / "new" / "both.svg").read_text()
    assert drawn.startswith("<?xml") and not list((tmp_path / "new").glob(".partial*"))
    both_folders = (tmp_path / "one", tmp_path / "two")
    both = [folder / "curves.png" for folder in both_folders]
    before = [path.exists() and path.read_bytes() for path in both]
    run("analysis/curves.py", "one", "two", "--runs-dir", tmp_path)
    assert (tmp_path / "overlay.png").exists()
    run("analysis/curves.py", *both_folders, "--runs-dir", tmp_path / "elsewhere", "--panel", "loss")
    assert (tmp_path / "overlay-loss.png").exists() and not (tmp_path / "elsewhere").exists()
    assert [path.exists() and path.read_bytes() for path in both] == before, "an overlay is not a run's own figure"
    run("analysis/curves.py", "one", "--panel", "accuracy", "--runs-dir", tmp_path)
    assert (tmp_path / "one" / "curves-accuracy.png").exists()


def texts_of(drawing) -> list[Text]:
    """Every text that the figure shows; numbers of an axis only where they lie within it."""
    drawing.canvas.draw()
    outside = set()
    for axes in drawing.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low <= tick.get_loc() <= high:
                    outside |= {id(tick.label1), id(tick.label2)}
    texts = drawing.findobj(Text)
    return [t for t in texts if t.get_text().strip() and t.get_visible() and id(t) not in outside]


def texts_that_overlap(drawing) -> list[tuple[str, str]]:
    """Pairs of texts of a figure whose boxes share a tenth of a letter or more."""
    boxes = [(t.get_text(), t.get_window_extent().padded(-3)) for t in texts_of(drawing)]
    return [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[:i] if one.overlaps(other)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_no_label_lies_on_another_or_outside_or_is_too_small(tmp_path, monkeypatch, count):
    drawn, save = [], curves_figure.style.save
    monkeypatch.setattr(curves_figure.style, "close", lambda drawing: None)
    monkeypatch.setattr(curves_figure.style, "save", lambda drawing, out: drawn.append(drawing) or save(drawing, out))
    numbers = {"train": [(1.5, 0.5), (1.2, 0.6)], "test": [(1.6, 0.4), (1.3, 0.5)]}
    runs = [Run(write_run(tmp_path, f"{'a-long-name-' * 4}{i}", holdout=True, **numbers)) for i in range(count)]
    curves_figure.draw(runs, [curves.verdict(run) for run in runs], None, tmp_path / "it.png")
    assert drawn[0].get_size_inches().tolist() == [16, 9] and not texts_that_overlap(drawn[0])
    shown = texts_of(drawn[0])
    assert min(t.get_fontsize() for t in shown) >= 0.025 * 9 * 72
    assert all(t.get_window_extent().x1 <= drawn[0].bbox.x1 + 1 for t in shown)
    legend_bottom = min(axes.get_legend().get_window_extent().y0 for axes in drawn[0].axes if axes.get_legend())
    assert all(legend_bottom >= axes.bbox.y1 - 2 for axes in drawn[0].axes if axes.lines), "legend on curves"


def test_two_runs_are_told_apart(tmp_path):
    """A renamed run, runs of one name in two folders, names that are equal when shortened: equal accuracies."""
    numbers = {"train": [(1.5, 0.5)], "test": [(1.6, 0.4)]}
    old = write_run(tmp_path, "first", **numbers).rename(tmp_path / "first-old")
    new, copy = write_run(tmp_path, "first", **numbers), write_run(tmp_path / "b", "first", **numbers)
    assert [found.name for found in runs_of([new, old])] == ["first", "first-old"]
    assert [found.name for found in runs_of([new, old, copy])] == [
        str(Path(tmp_path.name, "first")), "first-old", str(Path("b", "first"))
    ]  # fmt: skip
    long = [write_run(tmp_path, f"{'a' * 30}-{k}-{'b' * 30}", **numbers) for k in (1, 2)]
    for folders in ([new, old], [new, copy], long):
        handles = curves_figure.legend(runs_of(folders))
        coloured = [line.get_color() for label, line in handles.items() if label.endswith("last epoch: 40.0 %")]
        assert len(coloured) == len(set(coloured)) == 2
    assert run("analysis/curves.py", new, new, "--runs-dir", tmp_path).stdout.count("first: after") == 1


def test_findings_are_marked_where_they_begin(tmp_path):
    losses = np.full(30, 2.0)
    losses[-1] = np.nan  # the 30th step, at the end of epoch 3
    write_run(tmp_path, "lost", losses=losses, train=[(1.5, 0.5)], test=[(1.6, 0.4)])
    run("analysis/curves.py", "--runs-dir", tmp_path, "--out", tmp_path / "it.svg")
    assert "A: non-finite, step 30" in (tmp_path / "it.svg").read_text()
    write_run(tmp_path, "well", losses=np.linspace(2.3, 1.9, 30), train=[(1.5, 0.5)], test=[(1.6, 0.4)])
    run("analysis/curves.py", "--runs-dir", tmp_path, "--out", tmp_path / "it.svg")
    assert "non-finite" not in (tmp_path / "it.svg").read_text()


def test_a_run_that_ended_within_an_epoch_has_steps(tmp_path):
    """Evaluations come after every tenth step here, and an epoch has twenty."""
    folder = write_run(tmp_path, "it", train=[(1.5, 0.5)], test=[(1.6, 0.4)])
    config = run_folder.read_config(folder)
    run_folder.write_config(folder, config | {"steps_per_epoch": 20})
    assert curves.verdict(Run(folder)).startswith("it: after 10 steps, test accuracy 40.0 %")


def test_evaluations_in_the_middle_of_an_epoch_are_no_epochs(tmp_path):
    """--evaluate-every: nine evaluations after every tenth step here, and an epoch has twenty."""
    train, test = [(2 - 0.1 * i, 0.5) for i in range(9)], [(1 + 0.1 * abs(i - 2), 0.4 + 0.02 * i) for i in range(9)]

    def words(holdout: bool, accuracies=test, per_epoch=20) -> str:
        folder = write_run(tmp_path / str(len([*tmp_path.iterdir()])), "it", train, accuracies, holdout=holdout)
        run_folder.write_config(folder, run_folder.read_config(folder) | {"steps_per_epoch": per_epoch})
        only = Run(folder)
        return curves.verdict(only) + curves_figure.result(only)

    text = words(holdout=False)
    assert "after 90 steps" in text and "Still improving: +6.0 points in the last 30 steps." in text
    assert "60 % above its minimum of step 30 while" in text and text.endswith(", step 90: 56.0 %")
    text = words(holdout=False, accuracies=test[:8])
    assert "after 4 epochs" in text and "Still improving: +4.0 points in the last epoch." in text
    assert text.endswith(", last epoch: 54.0 %")
    assert "+6.0 points in the last 3 epochs" in words(holdout=False, per_epoch=10)
    assert "The last evaluation is the best one." in words(holdout=True)
    peak = [*test[:6], (1, 0.8), *test[7:]]
    text = words(holdout=True, accuracies=peak)
    assert "Best step: 70 (80.0 %, 24.0 points more" in text and text.endswith(", best step 70: 80.0 %")


@pytest.mark.parametrize("only", [None, "loss"])
def test_a_small_part_of_an_epoch_can_be_read(tmp_path, monkeypatch, only):
    """0.0000 does not meet the other axis's 0, and numbers of one digit do not push the verdict over the edge."""
    folder = write_run(tmp_path, "it", train=[(2.3, 0.1)], test=[(2.3, 0.1)], losses=np.linspace(4.7, 2.3, 10))
    run_folder.write_config(folder, run_folder.read_config(folder) | {"steps_per_epoch": 5_000})
    drawn, found = [], Run(folder)
    monkeypatch.setattr(curves_figure.style, "save", lambda drawing, out: drawn.append(drawing))
    curves_figure.draw([found], [curves.verdict(found)], only, tmp_path / "it.png")
    assert_readable(drawn[0])
    curves_figure.style.close(drawn[0])


def test_following_ends_with_the_run(tmp_path):
    write_run(tmp_path, "done", train=[(1.5, 0.5)], test=[(1.6, 0.4)])
    assert "after 1 epoch," in run("analysis/curves.py", "--runs-dir", tmp_path, "--follow").stdout


@pytest.mark.parametrize(
    "args, status, sentence",
    [
        (["nobody"], 1, "nobody: no such run"),
        (["--out", "it.doc"], 1, "it.doc: not a format that matplotlib writes"),
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
