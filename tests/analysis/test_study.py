"""The study's report on simulated studies of which the truth is known, and its figures, documents and refusals."""

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
import types

import matplotlib.pyplot as plt
import numpy as np
import pytest
from made_study import finish, made_row, simulated, written
from readable import assert_readable

from analysis import study
from analysis.benchmarks import study_worker
from analysis.study_parts import document, effects, figures, runner, sentences, table
from analysis.study_parts.design import BASE, SMALL, WHOLE
from analysis.study_parts.effects import BETTER, SAME, WORSE
from analysis.study_parts.table import FINAL
from analysis.support import statistics
from core.data.data_set import DataError
from core.run.errors import RunError
from core.settings import command_line

TRUE = {"batch-norm": 0.03, "sigmoid": -0.30, "flip": 0.02, "kernel-1": -0.10, "wide": 0.025, "no-momentum": -0.02}
EXPECTATIONS = {variant.name: (SAME, "") for variant in WHOLE.variants[1:]}
PROJECT = table.PROJECT


@pytest.fixture(autouse=True)
def closed_figures():
    """Matplotlib warns when many figures are open: no test leaves one."""
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rows():
    return simulated(TRUE, np.random.default_rng(0))


@pytest.fixture(scope="module")
def found(rows):
    return effects.effects(WHOLE, rows, EXPECTATIONS | {"flip": (BETTER, ""), "wide": (WORSE, ""), "adam": (WORSE, "")})


# Does it find what is there, and nothing else?


def test_intervals_cover_the_truth_and_false_alarms_stay_rare(rows):
    """120 studies of the same design: each effect is known."""
    random = np.random.default_rng(1)
    final = [row for row in rows if row.purpose == FINAL]
    others = [row for row in rows if row.purpose != FINAL]
    covered, shown, false_alarms, studies = [], [], [], 120
    for _ in range(studies):
        common = 0.004 * random.normal(size=1 + max(WHOLE.seeds))
        noise = 0.004 * random.normal(size=len(final))
        again = [
            dataclasses.replace(row, test_accuracy=0.62 + TRUE.get(row.variant, 0.0) + common[row.seed] + own)
            for row, own in zip(final, noise)
        ]
        found = effects.effects(WHOLE, again + others, EXPECTATIONS)
        for effect in found:
            truth, result = TRUE.get(effect.variant.name, 0.0), effect.result
            covered.append(abs(result.difference - truth) <= result.half)
            if truth:
                shown.append(effect.outcome == (BETTER if truth > 0 else WORSE))
        false_alarms.append(any(e.outcome != SAME for e in found if e.variant.name not in TRUE))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)
    assert np.mean(shown) > 0.95
    assert np.mean(false_alarms) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / studies)  # of all studies, not of all effects


def test_an_effect_by_hand():
    """Differences 1, 2, 3, 1, 2, 3 points: mean 2, standard deviation 0.8944, t(0.975, 5) = 2.5706."""
    variants = {v.name: v for v in WHOLE.variants}
    made = [made_row(WHOLE, variants[BASE], FINAL, seed, 0, 0.60) for seed in WHOLE.seeds]
    made += [made_row(WHOLE, variants["flip"], FINAL, s, 0, 0.60 + d / 100) for s, d in zip(WHOLE.seeds, [1, 2, 3] * 2)]
    [effect] = effects.effects(WHOLE, made, {"flip": (WORSE, "Because.")})
    assert effect.result.difference == pytest.approx(0.02)
    assert effect.result.half == pytest.approx(2.5706 * 0.008944 / np.sqrt(6), rel=1e-3)
    assert effect.outcome == BETTER and effect.surprise and not effect.missed
    assert sentences.with_interval(effect) == "+2.00 (+1.06 to +2.94)"
    assert sentences.effect_sentence(effect).startswith("A surprise: `flip` is better than the base: +2.00 (+1.06 to")
    assert sentences.surprises([effect])[0].endswith("The reason given before: Because.")
    halved = [dataclasses.replace(r, test_accuracy=1.2 - r.test_accuracy) if r.variant == "flip" else r for r in made]
    [effect] = effects.effects(WHOLE, halved, {"flip": (WORSE, "")})
    assert effect.outcome == WORSE and sentences.surprises([effect]) == [
        "- None: every outcome is the one that was expected."
    ]


def test_an_incomplete_variant_is_not_run_yet(rows):
    some = [row for row in rows if (row.variant, row.seed, row.purpose) != ("batch-norm", 6, FINAL)]
    found = effects.effects(WHOLE, some, EXPECTATIONS)
    assert "batch-norm" not in [effect.variant.name for effect in found]
    assert effects.not_run(WHOLE, found) == {"batch norm": ["batch-norm"]}
    assert "Not run yet: batch norm (`batch-norm`)." in sentences.pending(WHOLE, found)
    assert document.blocks(WHOLE, some, found, "made-up")["batch norm"][2] == document.NOT_YET
    with pytest.raises(RunError, match="runs of the base are not there yet"):
        effects.effects(WHOLE, [row for row in rows if row.variant != BASE], EXPECTATIONS)


def test_the_p_values_are_corrected_for_all_comparisons(found):
    raw = [effect.result.p for effect in found]
    np.testing.assert_allclose([effect.p for effect in found], statistics.holm(raw))
    assert len(raw) == 31 and max(effect.p for effect in found) == 1
    half_seen = [e for e in found if e.result.p < 0.05 < e.p]
    for effect in half_seen:
        assert "corrected for all comparisons that is not enough" in sentences.effect_sentence(effect)
    assert half_seen, "31 comparisons: by chance one or two intervals leave out 0"


def test_work_counts_images_and_steps(rows):
    """FLOPs an image x images a step x steps."""
    row = next(row for row in rows if row.variant == "batch-25" and row.purpose == FINAL)
    assert effects.batch_size(row) == 25 and effects.work(row) == 1000 * 25 * 1000
    assert effects.batch_size(next(row for row in rows if row.variant == BASE)) == 100


# What the report writes.


@pytest.mark.parametrize("number", [31, 9])
def test_the_figures_can_be_read(found, number, tmp_path):
    some = sorted(found, key=lambda effect: effect.variant.name not in TRUE)[:number]
    texts = " ".join(assert_readable(figures.forest(some, "cifar10 (JPEG copy)")))
    assert "batch-norm" in texts and "(JPEG copy)" in texts
    assert "sigmoid loses most (−" in texts.replace("\n", " ").replace("\xa0", " ")
    texts = assert_readable(figures.cost(some, "cifar10 (JPEG copy)"))
    assert {"sigmoid (32 %)", "kernel-1"} <= set(texts)


def test_the_curves_can_be_read(rows, found, tmp_path):
    written(tmp_path, WHOLE, rows)
    epochs = table.read_epochs(tmp_path)
    assert len(epochs) == 32 * 6 and all(len(each) == 3 for each in epochs.values())
    own = [effect for effect in found if effect.factor.name == "width"]
    drawing = figures.curves(own, epochs, "made-up")
    texts = assert_readable(drawing)
    assert {"base", "narrow", "wide-parameters", "wide-flops", "wide", "Test accuracy"} <= set(texts)
    line = drawing.axes[2].lines[0]  # the base: its mean at the last evaluation
    assert line.get_ydata()[-1] == pytest.approx(100 * effects.mean(own[0].base_rows, "test_accuracy"))


def test_a_panel_is_a_slide_of_its_own(rows, found, tmp_path):
    written(tmp_path, WHOLE, rows)
    width = [effect for effect in found if effect.factor.name == "width"]
    drawing = figures.curves(width, table.read_epochs(tmp_path), "made-up", ("test",))
    assert "Test accuracy" in assert_readable(drawing) and len(drawing.axes) == 1
    drawing = figures.cost(width, "made-up", ("seconds",))
    assert {"narrow", "wide-flops"} <= set(assert_readable(drawing)) and len(drawing.axes) == 1
    paths = figures.draw_panel("loss", width, table.read_epochs(tmp_path), "made-up", tmp_path)
    assert paths == [tmp_path / "curves-width-loss.png"] and paths[0].is_file()


def test_the_forest_plot_marks_what_lies_beyond_its_axis(found):
    [panel, other] = figures.forest(found, "made-up").axes
    low, high = panel.get_xlim()
    assert -figures.FARTHEST - 1 <= low and high <= figures.FARTHEST + 1  # the sigmoid loses 30 points
    ordered = sorted(found, key=lambda effect: effect.result.difference)
    assert ordered[0].variant.name == "sigmoid"
    assert [line.get_ydata()[0] for line in other.lines if line.get_marker() == "<"] == [0]  # its row


def test_a_run_that_diverged_is_left_out_of_the_curves_and_named(rows, found, tmp_path):
    written(tmp_path, WHOLE, rows)
    own = next(effect for effect in found if effect.variant.name == "flip")
    lost = [dataclasses.replace(row, diverged=int(row.seed == 2), test_accuracy=0.1) for row in own.rows]
    own = dataclasses.replace(own, rows=tuple(lost))
    drawing = figures.curves([own], table.read_epochs(tmp_path), "made-up")
    assert "flip (without 1 of 6 that diverged)" in assert_readable(drawing)
    said = sentences.effect_sentence(own)
    assert "1 of its 6 runs diverged, which counts as chance level; the others reach 10.00 %." in said


def test_the_report_of_another_folder_is_written_beside_its_rows(tmp_path, capsys):
    made = simulated({"batch-norm": 0.03}, np.random.default_rng(2), variants=["batch-norm"])
    written(tmp_path / "it", WHOLE, made)
    study.report(WHOLE, tmp_path / "it")
    printed = capsys.readouterr().out
    assert "`batch-norm` is better than the base" in printed and "Not run yet: activation (" in printed
    text = (tmp_path / "it" / "report.md").read_text()
    assert "## Batch norm" in text and "(curves-batch-norm.png)" in text and document.NOT_YET in text
    assert {path.name for path in (tmp_path / "it").glob("*.png")} == {
        "effects.png", "cost.png", "curves-batch-norm.png",
    }  # fmt: skip


def test_blocks_are_filled_and_the_rest_stays():
    text = "# A\n\nBefore.\n\n<!-- study: base -->\nold\n<!-- study: end -->\n\nAfter.\n"
    filled = document.fill(text, {"base": ["new"]})
    assert filled == "# A\n\nBefore.\n\n<!-- study: base -->\n\nnew\n\n<!-- study: end -->\n\nAfter.\n"
    assert document.fill(filled, {"base": ["new"]}) == filled
    with pytest.raises(RunError, match="'<!-- study: base -->': expected one of effects"):
        document.fill(text, {"effects": []}, "choices.md")


def test_the_files_after_a_spreadsheet_and_after_damage(tmp_path, rows):
    """A byte order mark changes nothing; what is no text, or no CSV any more, is one line with the file."""
    written(tmp_path, WHOLE, rows)
    for name, read in ((table.RUNS, table.read), (table.EPOCHS, table.read_epochs)):
        path = tmp_path / name
        whole, before = path.read_bytes(), read(tmp_path)
        path.write_bytes(b"\xef\xbb\xbf" + whole.replace(b"\n", b"\r\n"))
        assert read(tmp_path) == before and before
        for damaged in (whole + b"\xff\n", whole + b'"' + b"x" * 200_000 + b"\n"):
            path.write_bytes(damaged)
            with pytest.raises(RunError, match=name) as problem:
                read(tmp_path)
            assert "\n" not in str(problem.value)
        path.write_bytes(whole + b"base,1e999,1,1,1,1,1,1\n" if name == table.EPOCHS else whole)
        assert read(tmp_path) == before


def test_a_row_can_be_asked_for_by_name(tmp_path, capsys):
    made = finish(SMALL, lambda name, purpose, seed, k: 0.1 * seed + 0.05)
    written(tmp_path, SMALL, made)
    study.print_row(tmp_path, "sigmoid", "2")
    command, result = capsys.readouterr().out.splitlines()
    assert command.startswith("python train_loop.py --network plain") and "--activation sigmoid" in command
    assert result.startswith("test_accuracy 0.25")
    with pytest.raises(RunError, match="no final run of sigmoid with seed 9 yet"):
        study.print_row(tmp_path, "sigmoid", "9")
    (tmp_path / table.FACTS).write_text("{}")
    with pytest.raises(RunError, match=r"study.json: expected the facts .*KeyError\('data'\)"):
        study.report(SMALL, tmp_path)


# The published rows and document.

STUDY = PROJECT / "docs" / "study"
published = pytest.mark.skipif(not (STUDY / table.RUNS).is_file(), reason="no row is published yet")


@published
def test_the_document_holds_what_the_rows_say():
    rows, found = effects.read(WHOLE, STUDY)
    data = table.read_facts(STUDY)["data"]
    text = study.CHOICES.read_text()
    computed = document.blocks(WHOLE, rows, found, data, "study/")
    assert set(re.findall(r"<!-- study: ([\w -]+) -->", text)) - {"end"} == set(computed)
    assert document.fill(text, computed) == text
    assert data in text
    for figure in re.findall(r"\]\((study/[\w-]+\.png)\)", text):
        assert (STUDY.parent / figure).is_file()


@published
def test_hand_written_sentences_of_the_document_have_no_measured_numbers():
    """They stand between the blocks; a number there would grow old with the next rows."""
    by_hand = document.BLOCK.sub("", study.CHOICES.read_text())
    assert re.findall(r"\d+\.\d+ (?:%|points)|\d+ % of", by_hand) == []


@published
def test_no_published_row_was_tuned_on_the_test_set():
    for row in table.read(STUDY):
        assert ("--holdout" in row.command) == (row.purpose == table.RATE)


@published
def test_the_paragraphs_say_what_the_rows_say():
    """Each comparison that a paragraph beginning with "Why" makes, factor by factor."""
    _, found = effects.read(WHOLE, STUDY)
    by_name = {effect.variant.name: effect for effect in found}
    base = found[0].base_rows

    def of(name, column, finished=False):
        rows = base if name == BASE else by_name[name].rows
        rows = [row for row in rows if not (finished and row.diverged)]
        if column == "gap":
            return np.mean([effects.gap(row) for row in rows])
        return effects.mean(rows, column)

    # batch norm
    assert of("batch-norm", "learning_rate") == pytest.approx(3 * of(BASE, "learning_rate"))
    assert abs(of("batch-norm", "train_accuracy") - of(BASE, "train_accuracy")) < 0.015
    assert of("batch-norm", "gap") < of(BASE, "gap") - 0.01
    assert of("batch-norm", "dead_channels") > 0.05 > of(BASE, "dead_channels")
    # activation
    assert of("sigmoid", "gradient_ratio") < of(BASE, "gradient_ratio") / 100
    assert of("sigmoid", "signal_ratio") < 0.3 and of("sigmoid", "dead_channels") == 0
    assert of("sigmoid", "sparsity") < 0.001 and of("no-activation", "test_accuracy") > 0.5
    assert of(BASE, "dead_channels") < 0.01
    assert of("gelu", "train_accuracy") > of(BASE, "train_accuracy") + 0.03 and of("gelu", "gap") > of(BASE, "gap")
    assert 0 < by_name["gelu"].result.difference < of("gelu", "train_accuracy") - of(BASE, "train_accuracy")
    # pooling
    assert of("stride", "flops") < 0.3 * of(BASE, "flops")
    assert of("stride", "train_accuracy") < of(BASE, "train_accuracy") and of("stride", "gap") > of(BASE, "gap")
    assert of("average-pooling", "signal_ratio") < of(BASE, "signal_ratio")
    assert of("average-pooling", "learning_rate") > of(BASE, "learning_rate")
    assert of("average-pooling", "diverged") > 0
    assert abs(of("average-pooling", "test_accuracy", finished=True) - of(BASE, "test_accuracy")) < 0.01
    # augmentation
    gaps = [of(name, "gap") for name in (BASE, "flip", "flip-crop")]
    assert gaps[1] < 0.55 * gaps[0] and gaps[2] < 0.55 * gaps[1]
    gained = [by_name[name].result.difference for name in ("flip", "flip-crop")]
    assert 0 < gained[1] - gained[0] < gained[0]
    # optimizer
    assert of("no-momentum", "learning_rate") == pytest.approx(10 * of(BASE, "learning_rate"))
    assert of("no-momentum", "train_accuracy") < of(BASE, "train_accuracy") - 0.05
    assert of("no-momentum", "gap") < of(BASE, "gap")
    assert abs(of("adam", "train_accuracy") - of(BASE, "train_accuracy")) < 0.015
    assert by_name["adam"].outcome == WORSE and of("adam", "dead_channels") > of(BASE, "dead_channels")
    # training images
    assert of("images-5000", "train_accuracy") > 0.98 and of("images-5000", "gap") > 1.75 * of(BASE, "gap")
    assert of("images-40000", "gap") < 0.05
    assert by_name["images-40000"].result.difference > by_name["flip-crop"].result.difference
    # depth
    for name in ("deep-parameters", "deep-flops"):
        assert of(name, "train_accuracy") < of(BASE, "train_accuracy") - 0.1 and of(name, "gap") < of(BASE, "gap")
        assert of(name, "signal_ratio") < of(BASE, "signal_ratio")
    assert of("deep-parameters", "learning_rate") < of(BASE, "learning_rate")
    assert by_name["narrow"].outcome == WORSE
    # width
    fitted = [of(name, "train_accuracy") for name in ("narrow", BASE, "wide")]
    assert fitted == sorted(fitted) and by_name["wide"].outcome == BETTER and of("wide", "gap") > of(BASE, "gap")
    assert by_name["wide-parameters"].outcome == SAME and by_name["wide-parameters"].work == pytest.approx(
        3.5, abs=0.05
    )
    assert of("wide-flops", "train_accuracy") < of("narrow", "train_accuracy") and of("wide-flops", "gap") < 0.08
    # initialization
    assert of("small-init", "signal_ratio") == pytest.approx(0.001, abs=0.0005)
    assert all(abs(row.train_loss - np.log(10)) < 0.001 for row in by_name["small-init"].rows)
    assert of("large-init", "signal_ratio") == pytest.approx(30, rel=0.1)
    tried = runner.accuracies(table.read(STUDY), by_name["large-init"].variant)
    assert runner.best_rate(tried) == min(tried) and tried[0] < 0.11
    assert of("glorot", "signal_ratio") == pytest.approx(1 / 3, abs=0.03) and by_name["glorot"].outcome == SAME
    assert of("glorot", "train_accuracy") < of(BASE, "train_accuracy") - 0.02
    # head
    assert of("average-head", "parameters") < 0.2 * of(BASE, "parameters") and by_name["average-head"].work > 0.95
    assert of("average-head", "gap") < 0.06 and of("average-head", "train_accuracy") < of(BASE, "train_accuracy") - 0.2
    assert of("average-head", "gradient_ratio") >= of(BASE, "gradient_ratio")
    # kernel size
    assert of("kernel-1", "gap") < of(BASE, "gap") / 2 and of("kernel-1", "test_accuracy") > 0.5
    assert of("kernel-1", "gradient_ratio") > 1 and of("kernel-1", "signal_ratio") > 0.8
    fitted, wider = (
        of("kernel-5", "train_accuracy") - of(BASE, "train_accuracy"),
        of("kernel-5", "gap") - of(BASE, "gap"),
    )
    assert by_name["kernel-5"].outcome == SAME and fitted > 0.04 and wider == pytest.approx(fitted, abs=0.01)
    assert by_name["kernel-5"].work > 2.5 and by_name["kernel-5"].seconds < 1.5
    # batch size
    assert of("batch-25", "learning_rate") == of(BASE, "learning_rate") / 4 and by_name["batch-25"].outcome == SAME
    assert abs(of("batch-25", "train_accuracy") - of(BASE, "train_accuracy")) < 0.01
    tried = runner.accuracies(table.read(STUDY), by_name["batch-400"].variant)
    assert 0 < tried[0] - tried[-1] < 0.01 and tried[1] < 0.11
    many = by_name["batch-400"]
    dead = {row.seed: row.dead_channels for row in many.rows}
    worst = sorted(many.rows, key=lambda row: row.test_accuracy)[:2]
    assert {row.seed for row in worst} == set(sorted(dead, key=dead.get)[-2:]) and worst[0].seed == 5
    assert many.outcome == SAME and many.result.superiority == 0
    # label smoothing
    assert by_name["smoothing"].outcome == SAME and of("smoothing", "gap") < of(BASE, "gap") - 0.02
    assert of("smoothing", "train_accuracy") < of(BASE, "train_accuracy") - 0.02
    assert all(row.test_loss < other.test_loss for row, other in zip(by_name["smoothing"].rows, base))
    # weight decay
    assert abs(of("no-decay", "train_accuracy") - of(BASE, "train_accuracy")) < 0.01
    assert of("no-decay", "gap") > of(BASE, "gap") + 0.01 and of("decay-5", "gap") < of(BASE, "gap") - 0.05
    assert of("decay-5", "train_accuracy") < of(BASE, "train_accuracy") - 0.03
    more = by_name["decay-5"]
    assert more.outcome == BETTER and abs(more.result.difference - by_name["flip-crop"].result.difference) < 0.005
    assert abs(by_name["no-decay"].result.difference - by_name["adam"].result.difference) < 0.002
    # dropout
    assert of("no-dropout", "train_accuracy") > 0.97 and by_name["no-dropout"].outcome == SAME
    assert of("no-dropout", "gap") - of(BASE, "gap") > 5 * abs(by_name["no-dropout"].result.difference)


# By the real training.


def test_a_row_is_repeated_to_the_last_digit_by_its_command(tmp_path):
    """The worker trains two runs in one process; the printed command trains the second one alone."""
    of_eight_steps = dataclasses.replace(
        SMALL, base_options=(*SMALL.base_options, "--steps", "8", "--batch-size", "20"), factors=(), seeds=(1,),
        rates=(0,), data="shapes10",
    )  # fmt: skip
    runner.run(of_eight_steps, tmp_path / "it", tmp_path / "runs", jobs=1)
    rate, final = table.read(tmp_path / "it")
    assert (rate.purpose, final.purpose) == (table.RATE, FINAL)
    assert final.gradient_ratio > 0 and 0 <= final.sparsity <= 1 and np.isnan(rate.gradient_ratio)
    assert runner.missing(of_eight_steps, [rate, final]) == []
    words = [*final.command.split()[1:], "--runs-dir", tmp_path / "again", "--run", "it"]
    subprocess.run([sys.executable, *words], cwd=PROJECT, check=True, capture_output=True)
    with open(tmp_path / "again" / "it" / "epochs.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert (float(last["test_accuracy"]), float(last["test_loss"])) == (final.test_accuracy, final.test_loss)
    facts = tmp_path / "it" / table.FACTS
    facts.write_text(facts.read_text().replace(table.code_fingerprint(), "0" * 12))
    with pytest.raises(RunError, match=r"another code .*see --same-code"):
        runner.run(of_eight_steps, tmp_path / "it", tmp_path / "runs", jobs=1)


def test_a_worker_without_cifar10_says_so_and_answers(monkeypatch, capsys):
    """What is printed while the data is searched for is not the worker's answer; no data is one line, no traceback."""

    def drawn(*args):
        print("CIFAR-10 is not on this machine; fetching it")
        return types.SimpleNamespace(name="shapes10", title="shapes10", fingerprint="0")

    def none(*args):
        raise DataError("CIFAR-10 could not be fetched")

    def train(arguments, folder):
        return {"trained": command_line.parse(arguments).settings.data}

    monkeypatch.setattr(study_worker, "train", train)
    answers = []
    for load in (drawn, none):
        monkeypatch.setattr(study_worker, "load", load)
        requests = {"arguments": ["--data", "auto"]}, {"arguments": ["--data", "auto"], "folder": "f"}
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(request) + "\n" for request in requests)))
        study_worker.main()
        printed = capsys.readouterr()
        assert ("fetching" in printed.err) == (load is drawn)
        answers.append([json.loads(line) for line in printed.out.splitlines()])
    assert answers[0][0]["data"] == "shapes10" and answers[1] == [{"failed": "CIFAR-10 could not be fetched"}]
    assert answers[0][1] == {"trained": "shapes10"}  # and not "auto", which gives the run another name
    monkeypatch.setattr(runner.Worker, "ask", lambda self, **request: answers[1][0])
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: None)
    with pytest.raises(RunError, match="CIFAR-10 could not be fetched"):
        runner.Worker(SMALL).start()


class Trained:
    """A worker whose runs end with these results."""

    def __init__(self, results):
        self.results = results

    def train(self, arguments, folder):
        return {"row": self.results[folder.name]}


def test_a_study_goes_on_with_new_code_if_rows_repeat_to_the_last_digit(tmp_path, rows, capsys):
    written(tmp_path, WHOLE, rows)
    facts = tmp_path / table.FACTS
    facts.write_text(facts.read_text().replace(table.code_fingerprint(), "0" * 12))
    first = {row.variant: row for row in reversed(rows) if row.purpose == FINAL}
    results = {f"{name}-again": dataclasses.asdict(first[name]) for name in (BASE, "batch-norm", "decay-5")}
    runner.repeat(WHOLE, rows, tmp_path, Trained(results))
    assert capsys.readouterr().out.count("the same numbers with today's code") == 3
    table.accept_code(tmp_path)
    found = table.read_facts(tmp_path)
    assert found["code"] == table.code_fingerprint() and found["same_numbers_from"] == ["0" * 12]
    results["decay-5-again"]["test_loss"] += 1e-9
    with pytest.raises(RunError, match=r"--same-code: decay-5 with seed 1 had test_loss 0.0 and has 1e-09"):
        runner.repeat(WHOLE, rows, tmp_path, Trained(results))
