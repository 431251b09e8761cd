"""Predictions: asked before the run, kept as they were, scored by the run's numbers, drawn for the projector."""

import io
import json

import numpy as np
import pytest
from made_runs import MadeRun
from readable import assert_readable
from runner import run

from analysis import predictions
from analysis.support import measures, prediction_scores, questions, style
from analysis.support.questions import Answers, Lesson, Question
from core.run import logs, run_folder
from core.run.errors import RunError

LOSSES = [1.5, 1.0, 0.8, 0.9, 1.2]  # on the test images: lowest after epoch 3


def write_run(runs_dir, name, accuracy=0.6, started="2026-01-31 12:00:00", change=-0.1, scatter=0.1):
    """A run of five epochs of ten steps whose every measure is known."""
    folder = run_folder.create(runs_dir, name)
    config = {
        "run": name, "started": started, "settings": {"holdout": False}, "steps_per_epoch": 10, "total_steps": 50,
        "forward_flops_per_image": 3_000_000,
        "architecture": [{"layer": "Convolution", "kernel_size": 3, "in_channels": 3, "out_channels": 4,
                          "use_bias": True}],
        "data": {"title": "made up", "test_images": 100, "test_class_counts": [30, 70], "class_names": ["a", "b"]},
    }  # fmt: skip
    run_folder.write_config(folder, config)
    log = logs.Logs(folder)
    for step in range(1, 51):
        log.append(logs.STEPS, [step, (step - 1) // 10 + 1, 2.0 + scatter * (-1) ** step, 0.5, 0.1, 1.0])
        log.append(logs.TIMING, [step, 9.0 if step == 1 else 0.02, 0.1, 0.0])
    for epoch, loss in enumerate(LOSSES, start=1):
        log.append(logs.EPOCHS, [epoch, 10 * epoch, 0.1, 0.9, loss, accuracy + 0.02 * (epoch == 3), 0.0, 0.0])
    for step in (20, 30, 40):
        for layer, dead in (("relu1", 0.0), ("relu2", 0.5)):
            log.append(logs.LAYERS, [step, layer, "dead_channels", dead])
        for layer, size in (("conv1", 0.2), ("conv2", 0.1)):
            log.append(logs.LAYERS, [step, layer, "gradient_rms", size])
            log.append(logs.LAYERS, [step, layer, "update_ratio", 0.01 * size])
            log.append(logs.LAYERS, [step, layer, "gradient_cosine", size])
        for quantity, value in (("actual_change", change if step > 20 else 0.1), ("noise_g2", 0.5), ("noise_s", 40.0),
                                ("traces", 1.0)):  # fmt: skip
            log.append(logs.LAYERS, [step, "network", quantity, value])
    log.close()
    return folder


EXPECTED = {
    "initial_loss": 1.9, "one_class_accuracy": 70.0, "last_loss": 2.0, "test_accuracy": 60.0, "train_accuracy": 90.0,
    "gap": 30.0, "epoch_of_lowest_test_loss": 3.0, "accuracy_since_turn": -2.0, "parameters_of_first_convolution": 112,
    "steps_that_lower_the_loss": 200 / 3, "steps_with_a_lower_loss": 2400 / 49, "update_ratio": 0.0015,
    "gradient_cosine": 0.15, "noise_scale": 80.0, "traces": 1.0, "pool_gradient_zeros": 75.0, "step_milliseconds": 20.0,
    "megaflops": 3.0, "steps_taken": 50,
    "loss_scatter": 0.2 / np.sqrt(2), "layer_with_most_dead_channels": "relu2",
    "layer_with_smallest_first_gradient": "conv2",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in measures.MEASURES if name not in measures.CURVES])
def test_a_measure_by_hand(tmp_path, name):
    found = measures.MEASURES[name](measures.Run(write_run(tmp_path, "it")))
    assert found == (EXPECTED[name] if isinstance(EXPECTED[name], str) else pytest.approx(EXPECTED[name], rel=0.02))


def test_curves_by_hand(tmp_path):
    it = measures.Run(write_run(tmp_path, "it"))
    assert measures.CURVES["test_loss_after"](it, np.array([1, 4])).tolist() == [1.5, 0.9]
    assert measures.CURVES["loss_at"](it, np.array([10, 50])) == pytest.approx([2, 2])
    with pytest.raises(measures.NotMeasured, match="after epoch 6"):
        measures.CURVES["test_loss_after"](it, np.array([1, 6]))


NUMBER = Question("n", "How much?", "number", "test_accuracy", run="mine it", range=(0, 100), unit="%", tolerance=5,
                  right="R {measured}", high="H", low="L")  # fmt: skip


def test_after_an_epoch_is_at_its_end(tmp_path):
    """With --evaluate-every an epoch has several evaluations."""
    made = MadeRun(epochs=4)
    made.evaluations["step"] = np.array([50, 100, 150, 200])
    made.evaluations["epoch"] = np.array([1, 1, 2, 2])
    made.evaluations["test_loss"] = np.array([9.0, 1.5, 8.0, 0.9])
    found = made.write(tmp_path)
    assert measures.CURVES["test_loss_after"](found, np.array([1, 2])).tolist() == [1.5, 0.9]


CURVE = Question("c", "Sketch it", "curve", "test_loss_after", run="it", range=(0, 9), at=(1, 3, 5), axis="epoch",
                 tolerance=0.1, high="H", low="L", wrong="W")  # fmt: skip
CHOICE = Question("o", "Which?", "choice", "test_accuracy", options=("one", "other"), runs=("it", "better"),
                  pick="highest", right="R", wrong="W")  # fmt: skip


def scored(question, predicted, runs_dir, made="2026-01-31 11:00:00"):
    return prediction_scores.score_one(question, Answers("x", made, {question.name: predicted}), runs_dir)


@pytest.mark.parametrize(
    ("predicted", "outcome", "sentence"),
    [
        (62.0, "right", "predicted 62 %, measured 60 %: right. R 60 %"),
        (80.0, "high", "predicted 80 %, measured 60 %: too high. H"),
        (10.0, "low", "predicted 10 %, measured 60 %: too low. L"),
        (None, "open", "measured 60 %; nothing was predicted."),
    ],
)
def test_a_number_is_compared_with_the_run(tmp_path, predicted, outcome, sentence):
    write_run(tmp_path, "it")
    found = scored(NUMBER, predicted, tmp_path)
    assert (found.outcome, found.sentence) == (outcome, sentence)


def test_another_run_gives_another_verdict(tmp_path):
    write_run(tmp_path, "it", accuracy=0.82)
    assert scored(NUMBER, 62.0, tmp_path).outcome == "low"
    assert scored(NUMBER, 80.0, tmp_path).outcome == "right"


def test_what_was_written_after_the_run_is_no_prediction(tmp_path):
    write_run(tmp_path, "it")
    assert "Written after it had begun" in scored(NUMBER, 60.0, tmp_path, made="2026-01-31 12:00:01").sentence


@pytest.mark.parametrize(
    ("drawn", "outcome", "words"),
    [
        ([1.5, 0.8, 1.2], "right", "Both are lowest at epoch 3; it goes the same way in 2 of 2"),
        ([2.0, 1.5, 1.3], "high", "Yours is lowest at epoch 5, the measured one at 3; it goes the same way in 1 of 2"),
        ([1.0, 1.2, 0.9], "wrong", "W"),
    ],
)
def test_a_curve_is_compared_point_by_point(tmp_path, drawn, outcome, words):
    write_run(tmp_path, "it")
    found = scored(CURVE, drawn, tmp_path)
    assert found.outcome == outcome and words in found.sentence


def test_a_choice_is_what_the_runs_say(tmp_path):
    write_run(tmp_path, "it", accuracy=0.5)
    write_run(tmp_path, "better", accuracy=0.7)
    assert [scored(CHOICE, option, tmp_path).outcome for option in (0, 1)] == ["wrong", "right"]
    lowest = Question("o", "?", "choice", "test_accuracy", options=("a", "b"), runs=("it", "better"), pick="lowest")
    assert measures.measured(lowest, tmp_path)[0] == 0
    limits = Question("o", "?", "choice", "test_accuracy", options=("a", "b", "c"), run="better", limits=(20, 60))
    assert measures.measured(limits, tmp_path)[0] == 2
    named = Question("o", "?", "choice", "layer_with_most_dead_channels", options=("relu1", "relu2"), run="it")
    assert measures.measured(named, tmp_path)[0] == 1


def test_without_the_run_it_says_so(tmp_path):
    found = scored(NUMBER, 50.0, tmp_path)
    assert found.outcome == "open" and "mine or it: no such run" in found.sentence
    assert prediction_scores.summary([found]) == "Nothing to compare yet."


def test_the_summary_counts():
    made = [prediction_scores.Score(NUMBER, 1, 1, outcome, "") for outcome in ("right", "low", "open")]
    assert prediction_scores.summary(made).startswith("1 of 2 right. 1 without")


# Asking.


def asked(monkeypatch, tmp_path, typed: str, lesson="7"):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    predictions.main(predictions.build_parser().parse_args(["new", lesson, "--out", str(tmp_path / "mine.json")]))
    return questions.load(tmp_path / "mine.json")


def test_new_asks_until_the_answer_fits(monkeypatch, tmp_path, capsys):
    made = asked(monkeypatch, tmp_path, "many\n99\n12\n7,5 points\n4\n2\n1 2\n2 1 1,5 1\n")
    assert made.answers == {"turn": 12.0, "gap": 7.5, "kind": 1, "curve": [2, 1, 1.5, 1]}
    printed = capsys.readouterr().out
    assert "expected a number, found 'many'" in printed and "expected a number from 1 to 40, found 99" in printed
    assert "expected a number from 1 to 3, found '4'" in printed and "expected 4 numbers" in printed


@pytest.mark.parametrize("typed", ["2 1 1,5 1", "2, 1, 1.5, 1", "2, 1, 1,5, 1", "2; 1;1,5;1", " 2  1 1.5 1 nats"])
def test_a_list_of_numbers_as_people_type_it(typed):
    (curve,) = [question for question in questions.find("7").questions if question.kind == "curve"]
    assert curve.read(typed) == [2, 1, 1.5, 1]


def test_what_cannot_be_kept_is_not_asked_for(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir(mode=0o555)
    monkeypatch.setattr("os.access", lambda path, mode: path.name != "closed")  # root may write everywhere
    for folder in ("file", "closed"):
        args = predictions.build_parser().parse_args(["new", "7", "--folder", str(tmp_path / folder)])
        with pytest.raises((RunError, OSError)):
            predictions.main(args)
    assert capsys.readouterr().out == ""


def test_an_empty_line_is_no_prediction(monkeypatch, tmp_path):
    assert set(asked(monkeypatch, tmp_path, "\n\n\n\n").answers.values()) == {None}


def test_a_prediction_is_not_overwritten(monkeypatch, tmp_path):
    asked(monkeypatch, tmp_path, "\n\n\n\n")
    with pytest.raises(RunError, match="not overwritten"):
        asked(monkeypatch, tmp_path, "5\n\n\n\n")


def test_an_input_that_ends_keeps_nothing(monkeypatch, tmp_path):
    with pytest.raises(RunError, match="nothing was kept"):
        asked(monkeypatch, tmp_path, "12\n")
    assert not (tmp_path / "mine.json").exists()


# The files.


@pytest.mark.parametrize("name", questions.lessons())
def test_the_questions_of_a_lesson_can_be_asked_and_scored(name, tmp_path):
    lesson = questions.find(name)
    assert questions.find(name[:2]) == lesson and questions.find(name[3:]) == lesson
    for question in lesson.questions:
        assert question.measure in measures.MEASURES or question.known is not None, question.name
        assert (question.kind == "curve") == (question.measure in measures.CURVES), question.name
        sides = ("right", "wrong") if question.kind == "choice" else ("right", "high", "low")
        assert all(getattr(question, side) or question.wrong for side in sides), question.name
        try:
            truth, _ = measures.measured(question, tmp_path)
        except RunError as lacking:
            assert "no such run" in str(lacking) and "lesson-" in str(lacking)  # of one's own run
            continue
        good = truth.tolist() if question.kind == "curve" else truth
        assert not question.problem(good) and scored(question, good, tmp_path).outcome == "right"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "Invalid value"),
        ('title = "T"', "'questions' is missing"),
        ('title = "T"\n[[questions]]\nname = "n"', "missing 2 required"),
        ('title = "T"\n[[questions]]\nname = "n"\nask = "?"\nkind = "poll"\nmeasure = "gap"', "kind 'poll'"),
        ('title = "T"\n[[questions]]\nname = "n"\nask = "?"\nkind = "number"\nmeasure = "gap"', "has a range"),
    ],
)
def test_a_wrong_file_of_questions_is_named(tmp_path, text, message):
    (tmp_path / "01-x.toml").write_text(text)
    with pytest.raises(RunError, match=message) as found:
        questions.find("1", tmp_path)
    assert "01-x.toml" in str(found.value) and "\n" not in str(found.value)


def write_answers(path, answers, lesson="07-overfitting"):
    path.write_text(json.dumps({"lesson": lesson, "made": "2026-01-31 11:00:00", "answers": answers}))
    return path


@pytest.mark.parametrize(
    "answers", [{"turn": "12"}, {"turn": 99}, {"turn": 10**400}, {"kind": 3}, {"kind": True}, {"curve": [1, 2]}]
)
def test_answers_that_do_not_fit_are_refused(tmp_path, answers):
    path = write_answers(tmp_path / "it.json", answers)
    with pytest.raises(RunError, match=next(iter(answers))):
        questions.check(path, questions.load(path), questions.find("7"))


# The class.


def test_one_file_does_not_stop_the_class(tmp_path, capsys):
    """A folder, another's file, a lesson that is not there: each is named with its file. A lesson has several names."""
    write_answers(tmp_path / "a.json", {"turn": 12})
    write_answers(tmp_path / "b.json", {"turn": 12}, "7")
    write_answers(tmp_path / "c.json", {"turn": 12}, "99")
    (tmp_path / "d.json").mkdir()
    lesson, everybody = predictions.read_class(tmp_path, None)
    assert lesson.name == "07-overfitting" and len(everybody) == 2
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"left out {tmp_path / 'c.json'}: 99: no such lesson")
    assert second.startswith(f"left out {tmp_path / 'd.json'}: ")


def test_the_class_in_one_figure(tmp_path, monkeypatch, capsys):
    lesson = Lesson("07-overfitting", "Overfitting", (NUMBER, CHOICE, CURVE))
    monkeypatch.setattr(questions, "find", lambda name: lesson)
    folder, figures = tmp_path / "class", []
    folder.mkdir()
    monkeypatch.setattr(style, "save", lambda drawing, path: figures.append(drawing))
    write_run(tmp_path, "it", accuracy=0.5)
    write_run(tmp_path, "better", accuracy=0.7)
    for i, answers in enumerate([(48.0, 0, [1.5, 0.8, 1.2]), (80.0, 1, [2.0, 1.5, 1.3]), (90.0, 1, None)]):
        write_answers(folder / f"{i}.json", dict(zip("noc", answers)))
    (folder / "torn.json").write_text('{"lesson": "07')
    args = ["class", str(folder), "--runs-dir", str(tmp_path)]
    predictions.main(predictions.build_parser().parse_args(args))
    printed = capsys.readouterr().out
    assert "n: Median of 3: 80 %; measured 50 %: 1 of 3 right, 2 too high." in printed
    assert "o: 2 of 3 say 'other'; measured 'other': 2 of 3 right." in printed
    assert "c: 2 curves: 1 of 2 right, 1 too high." in printed and "left out" in printed and "torn.json" in printed
    assert any("3 predictions" in text for text in assert_readable(figures[0]))
    predictions.main(predictions.build_parser().parse_args([*args, "--panel", "o"]))
    printed = capsys.readouterr().out
    assert "o: 2 of 3 say 'other'" in printed and "n: Median" not in printed and "07-overfitting-o.png" in printed
    assert "predictions and the run" in " ".join(assert_readable(figures[1])) and len(figures[1].axes) == 4
    with pytest.raises(RunError, match="--panel x: the questions of 07-overfitting are n, o, c"):
        predictions.main(predictions.build_parser().parse_args([*args, "--panel", "x"]))
    predictions.main(predictions.build_parser().parse_args([*args, "--before"]))
    assert "measured 50" not in capsys.readouterr().out


@pytest.mark.parametrize("name", questions.lessons())
def test_the_figure_of_every_lesson_can_be_read(name, tmp_path, monkeypatch):
    lesson, figures = questions.find(name), []
    monkeypatch.setattr(style, "save", lambda drawing, path: figures.append(drawing))
    for i in range(3):
        answers = {}
        for question in lesson.questions:
            low, high = question.range
            middle = low + (high - low) * (i + 1) / 4
            by_kind = {
                "number": middle,
                "choice": i % max(len(question.options), 1),
                "curve": [middle] * len(question.at),
            }
            answers[question.name] = by_kind[question.kind]
        write_answers(tmp_path / f"{i}.json", answers, name)
    predictions.main(predictions.build_parser().parse_args(["class", str(tmp_path), "--runs-dir", str(tmp_path)]))
    assert_readable(figures[0])


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["score", "nothing.json"], 1, "no such file"),
        (["new", "overfiting"], 1, "did you mean 07-overfitting?"),
        (["draw"], 2, "invalid choice"),
    ],
)
def test_a_mistake_is_one_line(args, status, message):
    done = run("analysis/predictions.py", *args, status=status)
    assert message in done.stderr and done.stderr.count("\n") == 1
