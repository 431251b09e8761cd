"""Comparing runs: the right question, numbers that follow the files, refusals in one line, figures one can read."""

import dataclasses
import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from runner import run, tenth_of_shapes10, train_here

from analysis import compare
from analysis.support import comparison_figure, statistics, style
from analysis.support.run import Run, runs_of
from core.run import checkpoints, logs, run_folder
from core.run.errors import RunError

ACCURACY_A, ACCURACY_B = (0.90, 0.91, 0.92), (0.88, 0.90, 0.89)


def write_run(runs_dir, name, accuracy=0.8, seed=0, steps=20, timing=True, data=None, config=None, **settings):
    """A run of two epochs, ten steps each, without checkpoints; each step took half a second."""
    folder = run_folder.create(runs_dir, name)
    described = {
        "run": name, "steps_per_epoch": 10, "total_steps": 20, "parameter_count": 2_000,
        "forward_flops_per_image": 4_000_000,
        "settings": {"recipe": "classic", "holdout": False, "seed": seed, **settings},
        "data": {
            "name": "shapes10", "title": "shapes10", "fingerprint": "f" * 64, "test_images": 10_000,
            "class_names": [f"class {i}" for i in range(10)], **(data or {}),
        },
    }  # fmt: skip
    run_folder.write_config(folder, described | (config or {}))
    log = logs.Logs(folder)
    for step in range(1, steps + 1):
        log.append(logs.STEPS, [step, (step - 1) // 10 + 1, 2.3 - 0.05 * step + 0.01 * seed, 0.5, 0.1, 1.0])
        log.append(logs.TIMING, [step, 0.4, 0.5 * step + 7, 0.1])
    for epoch in range(1, steps // 10 + 1):
        reached = accuracy - 0.1 * (2 - epoch)
        log.append(logs.EPOCHS, [epoch, 10 * epoch, 1.0, reached, 1.1, reached, 0.0, 0.0])
    log.close()
    if not timing:
        (folder / logs.TIMING).unlink()
    return folder


def recipe(runs_dir, name, accuracies, seeds=range(100), **more):
    """The folders of a recipe's runs, one a seed."""
    return [write_run(runs_dir, f"{name}-{s}", a, s, **more) for s, a in zip(seeds, accuracies)]


def compared(folders, tmp_path, capsys, draw=lambda *given: None, panel=None) -> list[str]:
    """The lines that the comparison prints. draw: what draws the figure of the recipes."""
    with mock.patch.object(compare, "draw", draw):
        compare.main(SimpleNamespace(run=folders, runs_dir=tmp_path, out=tmp_path / "it.png", data_dir="", panel=panel))
    return capsys.readouterr().out.splitlines()


def two_recipes(tmp_path, capsys, a=ACCURACY_A, b=ACCURACY_B) -> list[str]:
    folders = recipe(tmp_path, "wide", a) + recipe(tmp_path, "narrow", b, learning_rate=0.5)
    return compared(folders, tmp_path, capsys)


def test_two_recipes(tmp_path, capsys):
    lines = two_recipes(tmp_path, capsys)
    assert lines[0] == "Which recipe is better: wide and narrow?"
    assert lines[1] == "  learning rate: 0.04 (wide), 0.5 (narrow)"  # the default stands for what a file lacks
    assert lines[2].startswith("wide: test accuracy 91.00 % ± 1.00 (mean ± standard deviation of 3 seeds)")
    # sqrt(0.09 / 20,000) = 0.21 %, less than half of 1.00 %.
    assert lines[2].endswith("give runs a standard deviation of about 0.21: these runs differ in quality.")
    assert lines[-2].startswith(
        "wide − narrow = +2.00 points, 95 % interval −0.48 to +4.48 (t, 3 pairs of seeds), p = 0.074"
    )
    assert (
        "P(wide > narrow) = 0.94. Exact sign-flip test: p = 0.25; the smallest that 3 pairs can give is 0.25"
        in lines[-2]
    )
    assert "a true difference under 3.10 points cannot be seen" in lines[-2]
    assert lines[-1] == "Verdict: no difference between wide and narrow is shown."


def test_the_sentences_follow_the_numbers(tmp_path, capsys):
    lines = two_recipes(tmp_path, capsys, b=(0.871, 0.880, 0.889))
    assert lines[-1] == "Verdict: wide is better than narrow."
    assert lines[-2].startswith("wide − narrow = +3.00 points, 95 % interval +2.75 to +3.25")
    lines = two_recipes(tmp_path / "other", capsys, a=(0.871, 0.880, 0.889), b=ACCURACY_A)
    assert lines[-1] == "Verdict: narrow is better than wide."
    assert lines[-2].startswith("wide − narrow = −3.00 points, 95 % interval −3.25 to −2.75")
    lines = two_recipes(tmp_path / "six", capsys, a=np.linspace(0.90, 0.901, 6), b=np.linspace(0.89, 0.892, 6))
    assert "the smallest that 6 pairs can give is 0.031." in lines[-2]
    assert ": these seeds may agree by luck." in lines[2]


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (2, 4, 0, 5, 1, 3)])
def test_the_order_of_the_runs_changes_signs_alone(tmp_path, capsys, order):
    folders = recipe(tmp_path, "wide", ACCURACY_A) + recipe(tmp_path, "narrow", ACCURACY_B, learning_rate=0.5)
    lines = compared([folders[i] for i in order], tmp_path, capsys)
    sign = "+" if order[0] < 3 else "−"
    assert f"{sign}2.00 points" in lines[-2] and "p = 0.074" in lines[-2] and "p = 0.25;" in lines[-2]


def test_only_seeds_that_both_have_are_paired(tmp_path, capsys):
    folders = recipe(tmp_path, "wide", (0.5, *ACCURACY_A), seeds=(7, 0, 1, 2))
    folders += recipe(tmp_path, "narrow", ACCURACY_B, momentum=0.5)
    lines = compared(folders, tmp_path, capsys)
    assert "+2.00 points" in lines[-2] and "3 pairs" in lines[-2] and "standard deviation of 4 seeds" in lines[2]


def test_one_recipe(tmp_path, capsys):
    lines = compared(recipe(tmp_path, "it", (0.80, 0.82, 0.84)), tmp_path, capsys)
    assert lines[0] == "How far apart are the seeds of one recipe: it?"
    assert lines[1].startswith("it: test accuracy 82.00 % ± 2.00 (mean ± standard deviation of 3 seeds), 95 % interval")
    assert "interval of the mean 77.03 to 86.97" in lines[1]  # 4.303 * 2 / sqrt(3)
    assert not any("Verdict" in line for line in lines)


def test_several_recipes_are_corrected_for_each_other(tmp_path, capsys):
    folders = [recipe(tmp_path, f"r{i}", np.array(ACCURACY_A) - 0.01 * i, crop=i) for i in range(3)]
    for i, folder in enumerate(itertools.chain(*folders)):  # noise, so that differences have a spread
        log = (folder / logs.EPOCHS).read_text().splitlines()
        cells = log[-1].split(",")
        cells[5] = f"{float(cells[5]) + 1e-3 * (i * i % 5):.4f}"
        (folder / logs.EPOCHS).write_text("\n".join([*log[:-1], ",".join(cells)]) + "\n")
    lines = compared([*itertools.chain(*folders)], tmp_path, capsys)
    raw = [float(re.search(r"seeds\), p = ([\d.]+)", line)[1]) for line in lines if "pairs of seeds" in line]
    adjusted = [
        float(re.search(r"p = ([\d.]+) corrected for 3 comparisons", line)[1]) for line in lines if "Verdict" in line
    ]
    np.testing.assert_allclose(adjusted, statistics.holm(raw), rtol=0.05)


def test_accuracy_per_second_per_parameter_and_per_flop(tmp_path, capsys):
    """80 points in 20 steps of 0.5 s, with 2,000 parameters and 4 MFLOP; the other one has ten times as many."""
    large = {"parameter_count": 20_000, "forward_flops_per_image": 40_000_000}
    folders = recipe(tmp_path, "a", (0.8, 0.8)) + recipe(tmp_path, "b", (0.9, 0.9), config=large, timing=False)
    lines = compared(folders, tmp_path, capsys)
    assert "Percentage points of accuracy per second of training: a 8 (of 10)." in lines
    assert "Percentage points of accuracy per 1,000 parameters: a 40 (of 2), b 4.5 (of 20)." in lines
    assert "Percentage points of accuracy per MFLOP of a forward pass: a 20 (of 4), b 2.25 (of 40)." in lines


def test_what_to_be_careful_with(tmp_path, capsys):
    machine = {"processor": "another", "architecture": [{"layer": "Dense"}]}
    folders = recipe(tmp_path, "a", (0.8, 0.8), steps=19)
    folders += recipe(tmp_path, "b", (0.9, 0.9), config=machine, test_time_augmentation=True)
    lines = compared(folders, tmp_path, capsys)
    assert "Careful: not complete, so that the last evaluation counts: a-0 and a-1." in lines
    assert "The accuracies are those of one view of each image, without test-time augmentation." in lines
    assert "Also different between the runs: architecture and processor (see config.json)." in lines
    clean = compared(recipe(tmp_path / "clean", "a", (0.8, 0.8)), tmp_path, capsys)
    assert not any(line.startswith(("Careful", "Also", "The acc")) for line in clean)


def test_names(tmp_path):
    runs = {
        n: Run(write_run(tmp_path, n))
        for n in ("a", "lr-0.1-0", "lr-0.1-1", "classic-20261126-1", "classic-20261127-1")
    }
    assert compare.name_of([runs["classic-20261126-1"]]) == "classic-20261126-1"
    assert compare.name_of([runs["classic-20261126-1"], runs["classic-20261127-1"]]) == "classic"
    assert compare.name_of([runs["lr-0.1-0"], runs["lr-0.1-1"]]) == "lr-0.1"
    assert compare.name_of([runs["a"], runs["lr-0.1-1"]]) == "classic"  # nothing in common: the recipe


def test_a_copy_is_named_by_its_folder(tmp_path):
    copies = [write_run(tmp_path / name, "it") for name in "ab"]
    names = [found.name for found in compare.recipes_of(runs_of(copies))]
    assert names == [str(Path("a", "it")), str(Path("b", "it"))]


def test_bookkeeping_makes_no_other_recipe(tmp_path):
    one, other = (
        write_run(tmp_path, "a-0", seed=0, diagnostics="off"),
        write_run(tmp_path, "a-1", seed=1, kernels="fast"),
    )
    assert [len(r.runs) for r in compare.recipes_of([Run(one), Run(other)])] == [2]
    other = write_run(tmp_path, "a-2", seed=1, precision="bfloat16")
    assert [len(r.runs) for r in compare.recipes_of([Run(one), Run(other)])] == [1, 1]
    other = write_run(tmp_path, "a-3", seed=1, config={"architecture": [{"layer": "GELU"}]})
    assert [len(r.runs) for r in compare.recipes_of([Run(one), Run(other)])] == [1, 1]


REFUSED = {
    "other bytes": ({"data": {"fingerprint": "e" * 64}}, "differs in fingerprint"),
    "permuted class names": (
        {"data": {"class_names": [f"class {9 - i}" for i in range(10)]}},
        "differs in class_names",
    ),
    "fewer test images": ({"data": {"test_images": 9_000}}, "differs in test_images"),
    "images kept aside": ({"holdout": True}, "differs in holdout"),
    "no evaluation": ({"steps": 9}, "not evaluated yet"),
    "the same run again": ({"seed": 0}, "leave all but one of each seed out"),
    "no common seed": ({"seed": 5, "crop": 2}, "two common seeds or more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_runs_that_do_not_compare_are_refused_in_one_line(tmp_path, case):
    changed, sentence = REFUSED[case]
    runs = [Run(folder) for folder in recipe(tmp_path, "a", (0.8, 0.8))]
    runs.append(Run(write_run(tmp_path, "b", **({"seed": 3} | changed))))
    with pytest.raises(RunError, match=sentence) as refusal:
        compare.recipes_of(runs)
    assert "\n" not in str(refusal.value)


def test_too_many_recipes_and_a_run_named_twice(tmp_path):
    runs = [Run(write_run(tmp_path, f"r{i}", crop=i)) for i in range(6)]
    with pytest.raises(RunError, match="at most 5"):
        compare.recipes_of(runs)
    with pytest.raises(RunError, match="named twice"):
        compare.recipes_of([runs[0], runs[0]])


def test_exit_status_and_help(tmp_path):
    write_run(tmp_path, "a"), write_run(tmp_path, "b", data={"fingerprint": "e" * 64})
    assert "two recipes, several seeds of each" in run("analysis/compare.py", "--help").stdout
    for args, status in (
        (["a"], 2),
        (["a", "b", "--wrong"], 2),
        (["a", "b", "--panel", "x"], 2),
        (["a", "b"], 1),
        (["a", "nobody"], 1),
    ):
        done = run("analysis/compare.py", *args, "--runs-dir", tmp_path, status=status)
        assert len(done.stderr.splitlines()) == 1 and not done.stdout


# With checkpoints.


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two networks of 20 steps that differ in the learning rate."""
    runs_dir = tmp_path_factory.mktemp("runs")
    train_here(runs_dir, "fast", "--epochs", 1)
    train_here(runs_dir, "slow", "--epochs", 1, "--learning-rate", 0.002)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.data.load", lambda *given: tenth_of_shapes10())
        yield runs_dir


def test_two_networks(trained, tmp_path, capsys):
    runs = [Run(trained / name) for name in ("fast", "slow")]
    data, found = compare.predictions(runs, "")
    right = [p.argmax(axis=1) == data.test_labels for p in found]
    for one, its_run in zip(right, runs):
        assert one.mean() == pytest.approx(its_run.epochs["test_accuracy"][-1], abs=0.001)
    lines = compared([trained / "fast", trained / "slow"], tmp_path, capsys)
    assert lines[0] == "Which network is better: fast and slow?"
    alone = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    expected = f"Of 200 images fast alone predicts {alone[0]:,} correctly and slow alone {alone[1]:,}. fast − slow = "
    assert lines[-2].startswith(expected)
    p = statistics.coin_p(int(alone[0]), int(sum(alone)))
    better = "fast is better than slow" if alone[0] > alone[1] else "slow is better than fast"
    assert lines[-1] == "Verdict: " + (better if p <= 0.05 else "no difference between fast and slow is shown") + "."
    assert (tmp_path / "it-images.png").stat().st_size > 20_000


def test_a_network_equals_its_copy(trained, tmp_path, capsys):
    """The same settings and the same seed, as after a change of the code: still two networks."""
    lines = compared([trained / "slow", copied(trained / "slow", tmp_path / "copy")], tmp_path, capsys)
    assert (
        "alone predicts 0 correctly and copy alone 0. slow − copy = +0.00 points" in lines[-2] and "p = 1." in lines[-2]
    )
    assert lines[-1] == "Verdict: no difference between slow and copy is shown."


def copied(folder, to, **config):
    """A copy of a run whose config.json says something else."""
    import shutil

    shutil.copytree(folder, to)
    stored = json.loads((to / run_folder.CONFIG).read_text()) | {"run": to.name} | config
    run_folder.write_config(to, stored)
    return to


def test_networks_that_cannot_be_restored_as_they_were(trained, tmp_path, capsys):
    """The accuracies and the curves are there all the same; the rest is one sentence."""
    fast = trained / "fast"
    edited = copied(fast, tmp_path / "edited")
    (edited / logs.EPOCHS).write_text((edited / logs.EPOCHS).read_text().replace(
        logs.written(Run(fast).epochs["test_accuracy"][-1]), "0.9"))  # fmt: skip
    with pytest.raises(RunError, match=r"90.00 % in epochs.csv: was the code edited"):
        compared([trained / "slow", edited], tmp_path, capsys)
    stored = json.loads((fast / run_folder.CONFIG).read_text())
    older = copied(fast, tmp_path / "older", settings=stored["settings"] | {"lookahead": True})
    compared([trained / "slow", older], tmp_path, capsys)  # its layers are in config.json
    del stored["architecture"]
    stored["run"], stored["settings"]["lookahead"] = "older", True
    run_folder.write_config(older, stored)
    with pytest.raises(RunError, match="of another version of this project"):
        compared([trained / "slow", older], tmp_path, capsys, compare.draw)
    assert "lookahead: not there (slow), True (older)" in capsys.readouterr().out and (tmp_path / "it.png").is_file()
    for path in (edited / checkpoints.FOLDER).glob("step-*/*"):
        path.unlink()
    with pytest.raises(checkpoints.CheckpointError):
        compared([trained / "slow", edited], tmp_path, capsys)


# Figures.


def texts_of(drawing) -> list[tuple[str, float, object]]:
    """(text, its size in points, its box in pixels) of everything written in a figure."""
    assert tuple(drawing.get_size_inches()) == (16, 9) and drawing.dpi == 100
    drawing.canvas.draw()
    texts = [*drawing.texts, *itertools.chain(*(legend.get_texts() for legend in drawing.legends))]
    for axes in drawing.axes:
        texts += [axes.title, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = axis.get_view_interval()
            texts += [axis.label, *(tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high)]
    return [(text.get_text(), text.get_fontsize(), text.get_window_extent()) for text in texts if text.get_text()]


def assert_readable(texts) -> None:
    """Sizes of 2.5 % of 9 inches at least, nothing on top of something else, all of it inside 16 x 9 inches."""
    assert len(texts) > 5 and min(size for _, size, _ in texts) >= 0.025 * 9 * 72
    for (one, _, box), (other, _, other_box) in itertools.combinations(texts, 2):
        apart = box.x1 <= other_box.x0 or other_box.x1 <= box.x0 or box.y1 <= other_box.y0 or other_box.y1 <= box.y0
        assert apart, (one, other)
    for text, _, box in texts:
        assert box.x0 > -1 and box.x1 < 1601 and box.y0 > -1 and box.y1 < 901, text


@pytest.fixture
def drawings(monkeypatch):
    """The texts of the figures that were saved, see texts_of."""
    saved, save = [], style.save

    def keep_and_save(drawing, path):
        saved.append(texts_of(drawing))
        save(drawing, path)

    monkeypatch.setattr(style, "save", keep_and_save)
    return saved


@pytest.mark.parametrize("count", range(1, 6))
@pytest.mark.parametrize("name", ["r{}", "a-recipe-with-a-long-name-that-somebody-chose-with-care-{}"])
def test_figures_of_one_to_five_recipes_can_be_read(tmp_path, drawings, count, name):
    accuracies = np.array([0.9, 0.91])
    folders = [recipe(tmp_path, name.format(i), accuracies - i / 10, crop=i) for i in range(count)]
    found = compare.recipes_of([Run(folder) for folder in itertools.chain(*folders)])
    compare.draw(found, compare.introduction(found)[0], tmp_path / "it.png")
    assert_readable(drawings[0])


@pytest.mark.parametrize("panel, title, y", [
    ("loss", "Training loss, smoothed", "cross-entropy (nats)"), ("accuracy", "Test accuracy", "test accuracy (%)"),
    ("time", "Accuracy against time", "test accuracy (%)"),
])  # fmt: skip
def test_one_panel_is_a_slide(tmp_path, drawings, capsys, panel, title, y):
    folders = recipe(tmp_path, "wide", ACCURACY_A) + recipe(tmp_path, "narrow", ACCURACY_B, learning_rate=0.5)
    lines = compared(folders, tmp_path, capsys, compare.draw, panel)
    for texts in drawings:  # the second one has the verdict as its title
        assert_readable(texts)
        written = [text for text, _, _ in texts]
        assert title in written and y in written
    assert len(drawings) == 2 and lines[-1].startswith("Verdict: ") and f"drawn    {tmp_path / 'it.png'}" in lines
    titles = {found.title.format(test="Test") for found in comparison_figure.PANELS.values()}
    assert {text for text, _, _ in drawings[0]} & titles == {title}


def test_the_images_as_a_slide(trained, tmp_path, drawings, capsys):
    folders = [trained / "fast", trained / "slow"]
    lines = compared(folders, tmp_path, capsys, compare.draw, "images")
    (images,) = drawings
    assert any("fast correct, slow wrong" in text for text, _, _ in images)
    assert lines.count(f"drawn    {tmp_path / 'it.png'}") == 1 and lines[-1].startswith("Verdict: ")
    with pytest.raises(RunError, match="--panel images: it shows the images on which two networks differ"):
        compared(recipe(tmp_path, "it", (0.80, 0.82, 0.84)), tmp_path, capsys, compare.draw, "images")


def test_the_images_can_be_read(trained, tmp_path, drawings, capsys):
    compared([trained / "fast", trained / "slow"], tmp_path, capsys)
    (images,) = drawings
    assert_readable(images)


def test_figures_of_runs_that_lack_something(tmp_path, drawings):
    folders = [write_run(tmp_path, "short", steps=10), write_run(tmp_path, "untimed", timing=False, crop=1)]
    lost = write_run(tmp_path, "lost", crop=2)
    (lost / logs.STEPS).write_text((lost / logs.STEPS).read_text().replace("20,2,1.2999999999999998", "20,2,nan"))
    found = compare.recipes_of([Run(folder) for folder in (*folders, lost)])
    compare.draw(found, "title", tmp_path / "it.svg")
    assert_readable(drawings[0])


@pytest.mark.parametrize("holdout, kind", [(False, "Test"), (True, "Validation")])
def test_the_images_are_called_what_they_are(monkeypatch, tmp_path, holdout, kind):
    drawn, data = [], tenth_of_shapes10()
    monkeypatch.setattr(style, "save", lambda drawing, out: drawn.append(drawing))
    data = dataclasses.replace(data, holdout=holdout)
    right, wrong = np.eye(10)[data.test_labels], np.eye(10)[(data.test_labels + 1) % 10]
    comparison_figure.draw_images(["A", "B"], data, [right, wrong], tmp_path / "it.png")
    assert drawn[0].get_suptitle().startswith(f"{kind} images on which the networks differ")
    style.close(drawn[0])


def test_seeds_are_averaged_where_all_were_evaluated(monkeypatch, tmp_path):
    """One of them with --evaluate-every: its evaluations in between are those of no other."""
    folders, drawn = recipe(tmp_path, "it", (0.8, 0.6)), []
    often = [[1, 5, 0.1], [1, 10, 0.5], [2, 15, 0.2], [2, 20, 0.6]]
    rows = [",".join(map(str, (e, s, 1.0, a, 1.1, a, 0.0, 0.0))) for e, s, a in often]
    header = (folders[1] / logs.EPOCHS).read_text().splitlines()[0]
    (folders[1] / logs.EPOCHS).write_text("\n".join([header, *rows, ""]))
    monkeypatch.setattr(style, "save", lambda drawing, out: drawn.append(drawing))
    found = compare.recipes_of([Run(folder) for folder in folders])
    assert len(found) == 1
    compare.draw(found, "title", tmp_path / "it.png")
    accuracy, seconds = drawn[0].axes[1:3]
    np.testing.assert_allclose(accuracy.lines[0].get_xydata(), [[1, 60], [2, 70]])
    np.testing.assert_allclose(seconds.lines[0].get_xydata(), [[5, 60], [10, 70]])
    style.close(drawn[0])
