"""The active checks: each rule on made-up short trainings, the data checks on images, and all of them on a real run."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from made_runs import MadeRun
from runner import run, tenth_of_shapes10

from analysis import diagnose
from analysis.diagnosis import active_checks, probes, probes_data, probes_network, probes_training
from analysis.diagnosis.cases import replaced
from analysis.diagnosis.detectors.finding import Finding
from analysis.diagnosis.probes import Outcome, ShortTraining, Subject
from analysis.support.run import NotMeasured, Run
from core.run import start
from core.run.errors import RunError
from core.settings.settings import Settings


class Short(ShortTraining):
    """A short training whose losses, accuracies and predictions are given."""

    def __init__(self, loss, accuracy=0.5, right=0.5, steps=300, new=0.1, complete=True):
        losses = np.broadcast_to(np.asarray(loss, float), (steps,)) if np.ndim(loss) == 0 else np.asarray(loss)
        batches = SimpleNamespace(steps_per_epoch=20, batch_size=50)
        accuracies = np.full(len(losses), float(accuracy))
        accuracies[:20] = new
        super().__init__(losses, accuracies, SimpleNamespace(batches=batches), complete)
        object.__setattr__(self, "right", right)

    def accuracy(self, images, labels):
        return self.right


class Made(Subject):
    """A subject whose short trainings come from a list, in order."""

    def __init__(self, tmp_path, *short, **settings):
        data = tenth_of_shapes10()
        super().__init__(MadeRun(epochs=1).write(tmp_path), Settings(**settings), data)
        self.short = list(short)

    def trained(self, steps, data=None, factor=1.0, rate=None, **changes):
        return self.short.pop(0)


def ids(outcome: Outcome) -> list[str]:
    return [finding.id for finding in outcome.findings]


def range_losses(lost_at: int) -> np.ndarray:
    """The loss of 200 steps falls from 2.3 to 1.5 and is lost at this step; the rate of step k is 4e-5 * 10^(k/40)."""
    losses = np.minimum(np.linspace(2.3, 1.5, 200), 2.3)
    losses[lost_at:] = 3.0
    return losses


@pytest.mark.parametrize("lost_at, found, refuted", [
    (150, [], {"rate-low", "rate-high"}), (126, [], {"rate-low"}), (60, ["rate-high"], set()),
])  # fmt: skip
def test_the_range_of_the_rate(tmp_path, lost_at, found, refuted):
    """The peak is 0.04, the rate of step 119."""
    outcome = probes_training.rate_range(Made(tmp_path, Short(range_losses(lost_at))))
    assert ids(outcome) == found and set(outcome.refuted) == refuted
    assert "the run's peak is 0.04" in outcome.sentence


def test_a_rate_far_below_its_range(tmp_path):
    """The range begins at the thousandth of 1e-5 and ends at 100 times the usual 0.04: step 160 has 0.05 or so."""
    subject = Made(tmp_path, Short(range_losses(160)), learning_rate=1e-5)
    assert ids(probes_training.rate_range(subject)) == ["rate-low"]
    assert subject.rate_factor > 100  # the checks after it train with another rate


def test_no_rate_is_the_fault_if_none_lowers_the_loss(tmp_path):
    outcome = probes_training.rate_range(Made(tmp_path, Short(2.3, steps=200)))
    assert not outcome.findings and set(outcome.refuted) == {"rate-low", "rate-high"}
    with pytest.raises(NotMeasured, match="came to step 50 only"):
        probes_training.rate_range(Made(tmp_path / "b", Short(2.3, steps=50, complete=False)))


def test_one_batch_by_heart(tmp_path):
    known, lost = Short(1e-3, 1.0, 1.0, steps=1000), Short(2.3, 0.2, 0.2, steps=1000)
    assert ids(probes_training.memorize(Made(tmp_path / "a", known))) == []
    assert ids(probes_training.memorize(Made(tmp_path / "b", lost, lost))) == ["cannot-memorize"]
    outcome = probes_training.memorize(Made(tmp_path / "c", lost, known))
    assert ids(outcome) == [] and "with a tenth of the rate" in outcome.sentence
    other = Short(1e-3, 1.0, 0.3, steps=1000)  # right in training mode, wrong in evaluation mode
    assert ids(probes_training.memorize(Made(tmp_path / "d", other))) == ["evaluation-mode"]
    slow = Short(2.0, 0.2, 0.2, steps=90, complete=False)
    with pytest.raises(NotMeasured, match="came to step 90 only"):
        probes_training.memorize(Made(tmp_path / "e", slow, slow))


def test_a_loss_of_nothing_in_spite_of_regularization(tmp_path):
    nothing = Short(1e-6, 1.0, 1.0, steps=1000)
    assert ids(probes_training.memorize(Made(tmp_path / "a", nothing))) == []  # the made run has none
    subject = Made(tmp_path / "b", nothing)
    subject.run.config["architecture"].append({"layer": "Dropout", "name": "dropout", "rate": 0.4})
    outcome = probes_training.memorize(subject)
    assert ids(outcome) == ["no-regularization"] and "dropout of 40.0 %" in outcome.findings[0].evidence[0]


def test_zeroed_images_and_permuted_labels(tmp_path):
    plain, zeroed, permuted = Short(1.2, right=0.6), Short(2.3, right=0.1), Short(2.2, right=0.11)
    outcome = probes_training.dependence(Made(tmp_path / "a", plain, zeroed, permuted))
    assert not outcome.findings and list(outcome.refuted) == ["no-signal"]
    same = Short(1.25, right=0.1)
    found = probes_training.dependence(Made(tmp_path / "b", plain, same, permuted)).findings
    assert [f.title for f in found] == ["The loss does not depend on the images"]
    shuffled = Short(2.15, right=0.12)
    found = probes_training.dependence(Made(tmp_path / "c", shuffled, zeroed, permuted)).findings
    assert [f.title for f in found] == ["The labels do not belong to the images"]
    only_test = Short(1.2, right=0.12)  # the test labels are wrong, those of training are not
    assert ids(probes_training.dependence(Made(tmp_path / "f", only_test, zeroed, permuted))) == []
    clever = Short(1.2, right=0.11, new=0.3)  # right about permuted labels before it was trained on them
    assert ids(probes_training.dependence(Made(tmp_path / "d", plain, zeroed, clever))) == ["learns-from-nothing"]
    with pytest.raises(NotMeasured, match="came to step 300 only"):
        probes_training.dependence(Made(tmp_path / "e", Short(1.2, complete=False)))


# ---------------------------------------------------------------------------- the data


def of_data(tmp_path, train=None, test=None, **settings) -> Made:
    """A subject with other images."""
    subject = Made(tmp_path, **settings)
    data = subject.data
    subject.data = replace(
        data, train_images=data.train_images if train is None else train,
        test_images=data.test_images if test is None else test,
    )  # fmt: skip
    return subject


def test_near_duplicates_are_found_mirrored_and_disturbed(tmp_path):
    data = tenth_of_shapes10()
    assert ids(probes_data.near_duplicates(of_data(tmp_path / "a"))) == []
    train, draw = data.train_images.copy(), np.random.default_rng(0)
    noise = draw.normal(0, 6, data.test_images[:10].shape)
    train[:10] = np.clip(data.test_images[:10, :, ::-1] + noise, 0, 255)
    found = probes_data.near_duplicates(of_data(tmp_path / "b", train)).findings
    assert [(f.id, f.severity) for f in found] == [("leak", "red")] and "5.0 % of the test images" in found[0].title
    train[2:10] = data.train_images[2:10]
    assert ids(probes_data.near_duplicates(of_data(tmp_path / "c", train))) == []  # 1 %: data sets have some themselves


def test_images_without_content(tmp_path):
    data = tenth_of_shapes10()
    outcome = probes_data.training_images(of_data(tmp_path / "a", np.zeros_like(data.train_images)))
    assert ids(outcome) == ["no-signal"] and "1 of 1,000 training images are different" in outcome.sentence
    repeated = np.resize(data.train_images[:100], data.train_images.shape)
    assert ids(probes_data.training_images(of_data(tmp_path / "b", repeated))) == ["overfit"]
    assert ids(probes_data.training_images(of_data(tmp_path / "c"))) == []
    assert ids(probes_data.near_duplicates(of_data(tmp_path / "d", np.zeros_like(data.train_images)))) == []


class Knowing(Short):
    """A network that knows images by heart and gives others equal probabilities."""

    def __init__(self, images, labels):
        super().__init__(1.0)
        object.__setattr__(self, "known", {x.tobytes(): y for x, y in zip(images, labels)})

    def log_probabilities(self, images):
        wanted = [self.known.get(np.ascontiguousarray(x).tobytes(), -1) for x in images]
        return np.log(np.array([[0.91 if k == y else 0.01 if y >= 0 else 0.1 for k in range(10)] for y in wanted]))


def test_test_images_that_were_turned(tmp_path):
    data = tenth_of_shapes10()
    for change, found in ((lambda x: x, []), (lambda x: x[:, ::-1], ["different-test"])):
        subject = of_data(tmp_path / str(len(found)), test=np.ascontiguousarray(change(data.test_images)))
        subject.plain = Knowing(data.test_images, data.test_labels)
        outcome = probes_data.test_images(subject)
        assert ids(outcome) == found
    assert "they are turned upside down" in outcome.findings[0].title
    subject = of_data(tmp_path / "darker", test=data.test_images // 2)
    subject.plain = Knowing(data.test_images, data.test_labels)
    assert ids(probes_data.test_images(subject)) == ["different-test"]


@pytest.mark.parametrize("left, found", [(0.6, []), (0.2, ["strong-regularization"])])
def test_augmentation_that_leaves_nothing(tmp_path, monkeypatch, left, found):
    images, labels = tenth_of_shapes10().train_images[:100], np.zeros(100, int)
    monkeypatch.setattr(probes_data, "augmented_pairs", lambda subject, count: (images, images[::-1], labels))
    monkeypatch.setattr(probes_data, "likeness", lambda *given: 0.5)
    subject = of_data(tmp_path, crop=2)
    right = {images.tobytes(): 0.8, images[::-1].tobytes(): left}
    subject.plain = SimpleNamespace(predicted=lambda x: np.arange(100) >= round(100 * right[x.tobytes()]))
    outcome = probes_data.augmentation(subject)
    assert ids(outcome) == found and bool(outcome.refuted) == (not found)
    with pytest.raises(NotMeasured, match="no augmentation"):
        probes_data.augmentation(of_data(tmp_path / "b"))


@pytest.mark.parametrize(
    "trained, evaluated, found",
    [(0.41, 0.0, []), (0.95, 0.0, ["strong-regularization"]), (0.0, 0.0, ["no-regularization"]),
     (0.4, 0.4, ["evaluation-mode"])],
)  # fmt: skip
def test_dropout_that_is_not_what_it_is_called(tmp_path, monkeypatch, trained, evaluated, found):
    monkeypatch.setattr(probes_network, "dropped_fractions", lambda subject: [("dropout", 0.4, trained, evaluated)])
    assert ids(probes_network.dropout(Made(tmp_path))) == found


def test_what_dropout_drops_is_measured(straight):
    """The debug network's layer drops a tenth; with another rate inside, what it does, beside what config.json says."""
    subject = Subject(Run(straight), Settings(network="debug", kernels="textbook"), tenth_of_shapes10())
    [(name, rate, trained, evaluated)] = probes_network.dropped_fractions(subject)
    assert (name, rate, evaluated) == ("dropout", 0.1, 0) and abs(trained - 0.1) < 0.01
    with replaced("core.random_streams.uniform", lambda uniform, *given: 0.2 * uniform(*given)):
        [(_, rate, trained, _)] = probes_network.dropped_fractions(subject)
    assert rate == 0.1 and abs(trained - 0.5) < 0.01


# ---------------------------------------------------------------------------- what follows


def test_a_check_adds_confirms_and_removes():
    old = {name: Finding(name, name, "amber", 5, ("logged",)) for name in ("rate-high", "leak")}
    new = [Finding(name, name, "red", 0, ("measured",)) for name in ("leak", "no-signal")]
    outcomes = {"one": Outcome("so", tuple(new)), "two": Outcome("thus", refuted={"rate-high": "it is in range"})}
    found, said = probes.with_outcomes(old, outcomes)
    assert set(found) == {"leak", "no-signal"} and found["leak"].evidence == ("logged", "measured")
    assert said == ["one: so (confirms leak; adds no-signal)", "two: thus (removes rate-high: it is in range)"]
    assert probes.with_outcomes({}, {"two": outcomes["two"]})[1] == ["two: thus (changes no finding)"]


def test_what_a_check_found_is_no_consequence_of_the_run():
    found = {name: Finding(name, name, "red", 1, ()) for name in ("dying-relu", "no-signal")}
    assert [(f.id, f.explained_by) for f in diagnose.ranked(found)] == [("dying-relu", ""), ("no-signal", "dying-relu")]
    ranked = diagnose.ranked(found, {"no-signal"})
    assert [(f.id, f.explained_by) for f in ranked] == [("no-signal", ""), ("dying-relu", "")]


def test_a_real_run_is_probed(straight, monkeypatch, capsys):
    """All checks on the debug network, which learns a part of shapes10 in a hundred steps: nothing is added."""
    monkeypatch.setattr(start, "load", lambda *given: tenth_of_shapes10())
    monkeypatch.setattr(Subject, "steps", 100)
    args = diagnose.build_parser().parse_args([str(straight), "--probe"])
    diagnose.main(args)
    shown = capsys.readouterr()
    assert shown.err.count("probe ") == len(active_checks.checks()) and "one batch by heart: " in shown.err
    words = " ".join(shown.out.split())
    assert "permuted labels: after 100 steps the loss is" in words and "100.0 % are right in training mode" in words
    assert "the run has no augmentation" in words and "adds" not in words


def test_a_network_that_is_gone_is_one_line(straight, tmp_path):
    folder = shutil.copytree(straight, tmp_path / "old")
    config = json.loads((folder / "config.json").read_text())
    config["architecture"][0]["layer"] = "Capsule"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="its network cannot be built"):
        diagnose.probe(Run(folder))


def test_a_run_on_other_data_is_refused(straight):
    assert "other bytes" in run("analysis/diagnose.py", straight, "--probe", status=1).stderr
