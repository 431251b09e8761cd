"""The page about a run: structure, sentences, escaping, size, and what is missing with its reason."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from made_checkpoints import cached_load, write_run
from made_runs import MadeRun
from report_pages import FOLDER, HOSTILE, Page, hostile_copy, written
from runner import forget_run, run, tenth_of_shapes10

from analysis import report
from analysis.report_parts import chart, comparison, facts, inside, markup, network, png, summary
from analysis.report_parts.chart import Line
from analysis.support.network import restored_network
from analysis.support.predictions import Predictions
from analysis.support.run import Run
from core.data.batches import standardize
from core.run import checkpoints, logs, run_folder
from core.settings.recipes import RECIPES

SECTIONS = ["verdict", "findings", "curves", "errors", "network", "layers", "reproduce", "notes"]


@pytest.fixture(scope="module")
def page(straight) -> str:
    """The page of a short run with checkpoints."""
    return written(straight)


def without_checkpoints(made: MadeRun, runs_dir, name="it") -> Page:
    """The page of a run made of formulas."""
    return Page(report.page([report.material(made.write(runs_dir, name), "")]))


# Structure.


def test_the_page_is_one_file_with_every_section_a_text_for_every_figure_and_a_label_for_every_control(page):
    found = Page(page)
    assert [element["id"] for element in found.all("section")] == SECTIONS
    assert [link["href"] for link in found.all("a")][1:] == [f"#{name}" for name in SECTIONS]
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    drawings = [svg for svg in found.all("svg") if svg.get("aria-hidden") != "true"]
    assert len(drawings) > 12 and all(svg["role"] == "img" and len(svg["aria-label"]) > 20 for svg in drawings)
    assert all(image["alt"] and image["src"].startswith("data:image/png;base64,") for image in found.all("img"))
    assert not re.search(r"(src|href)=\"(?!#|data:)|https?://(?!www\.w3\.org)|@import|fetch\(|import\(", page)
    labelled = {label.get("for") for label in found.all("label")}
    assert all(control["type"] == "radio" or control["id"] in labelled for control in found.all("input"))
    assert "data" in found.all("script", type="application/json")[0]["id"]


def test_verdict_and_accuracy_come_first(page, straight):
    text, epochs = Page(page).text, Run(straight).epochs
    accuracy = 100 * epochs["test_accuracy"][-1]
    begin = text.index("How did this run go?")
    assert text[begin:].startswith(f"How did this run go? straight: after 3 epochs, test accuracy {accuracy:.1f} % ±")
    assert "200 images; 95 % interval" in text
    assert text.index("95 % interval") < text.index("checks made") < text.index("x axis")


def test_what_belongs_to_the_run_is_named(page, straight):
    text, config = Page(page).text, run_folder.read_config(straight)
    for fact in ("tensorflow", "numpy", "python", "processor", "device"):
        assert str(config[fact]) in text
    assert "a tenth" in text and config["git_commit"].rstrip("+") in text
    assert "replay.py" in text and "--step 60" in text
    # The debug recipe has 20 steps in one epoch; this run was made with other settings.
    assert "Different from the recipe debug" in text and "--weight-average 0.75 0.0" in text
    assert "--checkpoint-every 7 0" in text and "--seed" in text


def test_dirty_or_clean_or_no_commit(straight, tmp_path):
    found = Run(straight)
    for commit, words in (("abc+", "abc, with changed files (dirty)"), ("abc", "abc, without changed files (clean)"),
                          (None, "not a git checkout")):  # fmt: skip
        found.config["git_commit"] = commit
        assert words in facts.surroundings(found)


def made_predictions() -> Predictions:
    """Of all test images of shapes10, a third of them wrong."""
    data = cached_load("shapes10", "", False)
    answers = np.eye(10, dtype=np.float32)[data.test_labels]
    answers[::3] = np.roll(answers[::3], 1, axis=1)
    return Predictions(data.test_images, data.test_labels, answers, data.class_names)


def test_a_page_of_classic_is_small(tmp_path):
    draw = np.random.default_rng(0)

    def change(step, name, tensor):
        return tensor + 0.02 * draw.standard_normal(tensor.shape).astype(np.float32)

    found = Run(write_run(tmp_path, "classic", steps=range(2, 20, 2), change=change))
    shown = inside.inside_of(found, made_predictions())
    assert len(shown.steps) == inside.CHECKPOINTS
    assert shown.remarks == ["7 of the run's 9 checkpoints are here, evenly spread."]
    text = report.page([report.Material(found, report.diagnose(found), 18, made_predictions(), shown)])
    assert 0.3e6 < len(text.encode()) < 2e6  # of 3 MB; the curves of a whole run take some 0.3


# What comes from a file.


def test_hostile_names_and_notes_are_text(straight, tmp_path):
    found = Page(written(hostile_copy(straight, tmp_path)))
    assert len(found.scripts) == 1 and "window.broken" not in found.scripts[0]
    assert found.text.count(HOSTILE) >= 4  # heading, verdict, commit, notes
    assert found.text.count(FOLDER) >= 3  # title, heading, verdict
    assert not found.all("img", src="x")


def test_data_for_the_script_cannot_end_its_element():
    value = {"name": HOSTILE, "numbers": [1, 2.5, None]}
    block = markup.json_block('a"b', value)
    assert Page(block).data == {'a"b': value} and block.count("<") == 2
    with pytest.raises(ValueError):
        markup.json_block("a", float("nan"))


def test_control_characters_are_shown_as_escapes():
    assert markup.escaped("\x1b[31m<b>\x00") == "\\x1b[31m&lt;b&gt;\\x00"


def test_only_this_script_may_run(page):
    script, policy = Page(page).scripts[0], Page(page).all("meta", **{"http-equiv": "Content-Security-Policy"})[0]
    assert "default-src 'none'" in policy["content"] and "script-src 'sha256-" in policy["content"]
    from analysis.report_parts import page as page_module

    assert policy["content"] == page_module.policy(script) != page_module.policy(script + " ")


def test_notes_of_any_bytes(tmp_path):
    folder = MadeRun().write(tmp_path).folder
    assert "None yet" in facts.notes(Run(folder))
    (folder / "notes.md").write_bytes(b"gr\xfc\xdfe <b>" + b"x" * facts.MOST_NOTES)
    shown = facts.notes(Run(folder))
    assert "&lt;b&gt;" in shown and "Only the first 100,000 bytes" in shown


# Runs of every kind.


def test_without_checkpoints_the_sections_say_why(tmp_path):
    found = without_checkpoints(MadeRun(), tmp_path)
    assert [element["id"] for element in found.all("section")] == SECTIONS
    assert found.text.count("no checkpoint in it yet") == 2
    assert "Recall and precision" not in found.text and "Gradient RMS" in found.text


def test_an_interrupted_run_says_how_to_continue_it(tmp_path):
    found = without_checkpoints(MadeRun().cut(250), tmp_path)
    assert "not complete: 250 of 700 steps taken" in found.text
    assert "--run it --resume" in found.text and "Let the run end" in found.text


def test_before_the_first_step(tmp_path):
    found = without_checkpoints(MadeRun().cut(0), tmp_path)
    assert "it: no step yet." in found.text and "it takes 1 steps, the run has taken 0" in found.text


def test_a_run_whose_loss_was_lost(tmp_path):
    made = MadeRun()
    made.steps["loss"][300:] = np.nan
    found = without_checkpoints(made, tmp_path)
    assert "the loss is not finite from step 301 on" in found.text
    first = found.text.index("What is wrong, on what evidence?")
    assert "red" in found.text[first : first + 200]


def test_a_run_without_timing_and_layers_has_two_x_axes(tmp_path):
    folder = MadeRun().write(tmp_path).folder
    for name in (logs.TIMING, logs.LAYERS, logs.PREDICTIONS):
        (folder / name).unlink()
    found = Page(report.page([report.material(Run(folder), "")]))
    assert [control["value"] for control in found.all("input", type="radio")] == ["step", "epoch"]
    assert "gradient_rms was not measured" in found.text and "timing.csv is missing" in found.text


def test_a_validation_set_is_called_one(straight, tmp_path):
    made = MadeRun()
    made.config["settings"]["holdout"] = True
    assert "validation accuracy" in without_checkpoints(made, tmp_path).text


def test_a_damaged_checkpoint_is_passed_over(straight, tmp_path, monkeypatch):
    monkeypatch.setattr("core.data.load", lambda *given: tenth_of_shapes10())
    folder = tmp_path / "straight"
    shutil.copytree(straight, folder)
    oldest = checkpoints.newest_first(folder)[-1]
    (oldest / checkpoints.TENSORS).write_bytes(b"no")
    found = report.material(Run(folder), "")
    assert found.inside.remarks[0].startswith(f"Passed over: {oldest}")


def test_the_images_are_not_here(straight, monkeypatch):
    monkeypatch.setattr("core.data.load", cached_load)  # other bytes than the run was trained on
    found = Page(report.page([report.material(Run(straight), "")]))
    assert found.text.count("it was trained on other bytes") == 2


# What is computed.


def test_first_convolution_and_probabilities_are_those_of_the_network(straight):
    """What the page's script computes from its data, by NumPy, against the network of each checkpoint."""
    found = Page(written(straight)).data["data"]
    first, images = found["first"], [np.frombuffer(decoded(i["pixels"]), np.uint8) for i in found["images"]]
    assert len(found["steps"]) == inside.CHECKPOINTS and found["steps"][0] == 0
    for c, step in list(enumerate(found["steps"]))[1:]:
        cnn = restored_network(straight, checkpoints.newest(straight, step))
        x = standardize(np.stack(images).reshape(-1, 32, 32, 3))
        kernel = np.frombuffer(decoded(first["kernels"][c]), "<f4").reshape(first["shape"])
        assert np.array_equal(kernel, cnn.layers[0].kernel.numpy())
        assert np.array_equal(np.frombuffer(decoded(first["biases"][c]), "<f4"), cnn.layers[0].bias.numpy())
        assert np.allclose(found["probabilities"][c], cnn.probabilities(x), atol=6e-5)
    labels = tenth_of_shapes10().test_labels
    assert all(labels[image["number"]] == image["label"] for image in found["images"])


def decoded(text: str) -> bytes:
    return tf.io.decode_base64(text.replace("+", "-").replace("/", "_").rstrip("=")).numpy()


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_its_filters_and_maps(tmp_path, recipe):
    folder, predictions = write_run(tmp_path, recipe, steps=(20,)), made_predictions()
    found = inside.inside_of(Run(folder), predictions)
    assert found.steps == [0, 20] and len(found.images) == 20 and found.probabilities.shape == (2, 20, 10)
    assert found.first.learned == (recipe in ("classic", "modern", "debug"))
    for layer in found.layers:
        assert layer.maps.shape[:3] == (2, 20, len(layer.channels)) and layer.maps.max() == 255
    assert "data-layer" in network.explorer(Run(folder), predictions, found, "")


def test_two_images_of_each_class_a_typical_one_and_the_worst_mistake():
    labels = np.array([0, 0, 0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8], [0.1, 0.9]], np.float32)
    found = Predictions(np.zeros([6, 32, 32, 3], np.uint8), labels, probabilities, ("a", "b"))
    assert inside.chosen_images(found) == [2, 3, 5]  # no mistake in class b


def test_maps_in_one_sheet():
    maps = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    found = inside.sheet(maps)
    assert found.shape == (8, 15)
    for image, channel in np.ndindex(2, 3):
        assert np.array_equal(found[4 * image : 4 * image + 4, 5 * channel : 5 * channel + 5], maps[image, channel])


def test_png_reads_back():
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, [5, 7, 3], np.uint8)
    assert np.array_equal(tf.io.decode_png(png.png(pixels)), pixels)
    numbers, palette = draw.integers(0, 256, [5, 7], np.uint8), draw.integers(0, 256, [256, 3], np.uint8)
    assert np.array_equal(tf.io.decode_png(png.png(numbers, palette), channels=3), palette[numbers])


def test_time_split_by_hand():
    """Two processes: 0.5 s before the first step of each, 3 s and 2 s of tracing, 1 s a step, 0.2 s of probes."""
    step = np.array([4.0, 1, 1, 3, 1])
    elapsed = np.array([4.5, 5.5, 8.5, 3.5, 4.7])  # 2 s of evaluation before step 3; then resumed
    probe = np.array([0, 0, 0, 0.2, 0])
    seconds = [value for _, value in facts.time_split(step, elapsed, probe)]
    assert np.allclose(seconds, [1.0, 5.0, 5.0, 0.2, 2.0])
    # The first process took 9 s before that.
    seconds = [value for _, value in facts.time_split(step, elapsed, probe, 9.0)]
    assert np.allclose(seconds, [10.0, 5.0, 5.0, 0.2, 2.0])


@pytest.mark.parametrize("accuracies, train, words", [
    ((0.5, 0.6, 0.64, 0.70, 0.72, 0.75), 0.80, "Train longer: the test accuracy rose by 5.0 points in the last 2"),
    ((0.5, 0.6, 0.64, 0.742, 0.745, 0.75), 0.80, "Change one thing"),  # 0.8 points; two standard errors are 0.87
    ((0.5, 0.6, 0.64, 0.741, 0.745, 0.75), 0.80, "Train longer: the test accuracy rose by 0.9 points"),
    ((0.5, 0.6, 0.64, 0.70, 0.72, 0.75), 0.90, "Train accuracy is 15 points above test: overfitting"),
])  # fmt: skip
def test_what_to_change_next_follows_the_accuracies(tmp_path, accuracies, train, words):
    found = MadeRun(epochs=6).write(tmp_path)
    found.epochs |= {"test_accuracy": np.array(accuracies), "train_accuracy": np.full(6, train)}
    nothing = SimpleNamespace(findings=[])
    text = Page(f"<main>{summary.next_change(found, nothing)}</main>").text
    assert text.startswith(words) and ("--epochs 12" in text) == words.startswith("Train longer")
    if words.startswith("Train longer"):
        found.config["settings"] |= {"steps": 600}
        assert "--steps 1200" in summary.next_change(found, nothing)


def test_the_command_as_it_was_typed_and_the_seconds_of_set_up(tmp_path):
    found = MadeRun().write(tmp_path)
    found.config |= {"command": ["--recipe", "minute", "--run", "it's mine"], "setup_seconds": 12.5}
    text = Page(f"<main>{facts.reproduce(found)}</main>").text
    assert "As it was typed: python train_loop.py --recipe minute --run 'it'\"'\"'s mine'" in text
    assert text.count("train_loop.py") == 2 and f"--run {found.name}-again" in text
    assert "set-up: until the first step 12 s" in text and "From the command line on, with the import" in text


def test_a_run_that_recorded_neither_has_its_command_from_the_settings(tmp_path):
    text = Page(f"<main>{facts.reproduce(MadeRun().write(tmp_path))}</main>").text
    assert "As it was typed" not in text and text.count("train_loop.py") == 1 and "-again" in text
    assert "set-up: measurements before the first step" in text and "From the first row of timing.csv" in text


def test_a_line_breaks_where_it_is_not_finite():
    axes = chart.Axes((0, 4), (0, 1))
    drawn = chart.path(axes, Line(np.arange(5.0), np.array([0, 1, np.nan, 0.5, 1]), "train"))
    assert re.findall(r"[ML]", re.search(r' d="(.*?)"', drawn)[1]) == ["M", "L", "M", "L"]
    assert chart.path(axes, Line(np.arange(2.0), np.full(2, np.nan), "train")) == ""


def test_positions_in_a_drawing_by_hand():
    axes = chart.Axes((0, 10), (1, 100), log=True)
    left, right = chart.LEFT, chart.WIDTH - chart.RIGHT
    top, bottom = chart.TOP, chart.HEIGHT - chart.BOTTOM
    assert np.allclose(axes.right([0, 5, 10]), [left, (left + right) / 2, right])
    assert np.allclose(axes.down([1, 10, 100]), [bottom, (top + bottom) / 2, top])


def test_durations():
    given = (0.5, 48.2, 185, 7800)
    assert [summary.duration(s) for s in given] == ["0.5 s", "48 s", "3 min 05 s", "2 h 10 min"]


# Several runs.


def test_two_networks_are_compared_first(straight, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(straight, other)
    config = run_folder.read_config(other)
    config["run"], config["settings"]["learning_rate"] = "other", 0.02
    run_folder.write_config(other, config)
    forget_run(other)
    found = Page(written(straight, other))
    assert [section["id"] for section in found.all("section")] == [
        "comparison", *(f"run{i}-{name}" for i in (0, 1) for name in SECTIONS)
    ]  # fmt: skip
    assert "Verdict: no difference between straight and other is shown." in found.text
    assert "straight alone predicts 0 correctly and other alone 0" in found.text
    assert "learning rate: 0.01 (straight), 0.02 (other)" in found.text
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) and set(found.data) == {"run0-data", "run1-data"}


def test_a_renamed_run_has_the_name_of_its_folder(tmp_path):
    old = MadeRun().write(tmp_path, "first").folder.rename(tmp_path / "first-old")
    new, copy = (MadeRun().write(tmp_path / parent, "first").folder for parent in "ab")
    assert ">first-old and first</h1>" in written(old, new)
    page = written(new, copy)
    assert f">{Path('a', 'first')} and {Path('b', 'first')}</h1>" in page


def test_recipes_over_paired_seeds(tmp_path):
    runs = []
    for name, gain in (("a", 0.0), ("b", 0.02)):
        for seed in range(3):
            made = MadeRun(seed=seed)
            made.config["settings"] |= {"seed": seed, "momentum": 0.9 + gain}
            made.evaluations["test_accuracy"] += gain + 0.001 * seed
            runs.append(made.write(tmp_path, f"{name}-{seed}"))
    text = Page(comparison.comparison(runs, [OSError("not here")] * 6)).text
    assert text.startswith("Which recipe is better: a and b? Verdict: b is better than a. a − b = −2.00 points")
    assert "momentum: 0.9 (a), 0.92 (b)" in text and "not here" not in text


def test_networks_without_predictions(tmp_path):
    made = MadeRun()
    made.config["settings"]["momentum"] = 0.5
    runs = [MadeRun().write(tmp_path, "one"), made.write(tmp_path, "two")]
    text = Page(comparison.comparison(runs, [OSError("gone"), OSError("lost")])).text
    assert "McNemar's test needs the predictions of both networks. one: gone. two: lost." in text
    assert "Verdict" not in text and "one: test accuracy" in text


def test_runs_that_do_not_compare_are_shown_beside_each_other(tmp_path):
    made = MadeRun()
    made.config["data"]["title"], made.config["data"]["test_images"] = "other images", 5_000
    found = Page(markup.section("c", "t", "q", lambda: comparison.comparison(
        [MadeRun().write(tmp_path, "one"), made.write(tmp_path, "two")], [None, None]
    )))  # fmt: skip
    assert "only accuracies on the same images compare" in found.text and "two: after 7 epochs" in found.text
    assert len(found.all("svg", role="img")) == 6  # two charts over three axes


# The script.


def test_nothing_is_computed_again_without_a_newer_checkpoint(straight, monkeypatch):
    monkeypatch.setattr("core.data.load", lambda *given: tenth_of_shapes10())
    before = report.material(Run(straight), "")
    monkeypatch.setattr(report, "predictions_of", None)
    again = report.material(Run(straight), "", before)
    assert again.predictions is before.predictions and again.run is not before.run


def test_watching_ends_with_the_run(tmp_path, monkeypatch, capsys):
    folder = MadeRun().cut(350).write(tmp_path).folder
    seen = []

    def sleep(seconds):
        seen.append((folder / "report.html").read_text())
        shutil.rmtree(folder)
        MadeRun().write(tmp_path)

    monkeypatch.setattr(report.time, "sleep", sleep)
    report.main(report.parse([str(folder), "--watch"]))
    last = (folder / "report.html").read_text()
    assert len(seen) == 1 and 'http-equiv="refresh"' in seen[0] and 'http-equiv="refresh"' not in last
    assert capsys.readouterr().out.count("written  ") == 2


def test_as_a_user_calls_it(tmp_path):
    MadeRun().write(tmp_path / "runs", "one")
    MadeRun(seed=1).write(tmp_path / "runs", "two")
    done = run("analysis/report.py", "--runs-dir", tmp_path / "runs", "one", "two")
    path = tmp_path / "runs" / "report.html"
    assert f"written  {path}" in done.stdout and "one and two" in Page(path.read_text()).text
    path.unlink()
    run("analysis/report.py", tmp_path / "runs" / "one", tmp_path / "runs" / "two", "--runs-dir", tmp_path / "other")
    assert path.is_file() and not (tmp_path / "other").exists()
    done = run("analysis/report.py", "--runs-dir", tmp_path / "runs", "three", status=1)
    assert done.stderr.count("\n") == 1 and "three: no such run" in done.stderr


def test_too_many_runs(capsys):
    with pytest.raises(SystemExit) as stopped:
        report.parse([*"abcdefghijklm"])
    assert stopped.value.code == 2 and "13 runs: at most 12 in one page" in capsys.readouterr().err
