"""The detectors: no finding on clean runs, and each finds its fault on the right side of its threshold."""

import math

import numpy as np
import pytest
from made_runs import KERNELS, MadeRun

from analysis.diagnose import diagnose
from analysis.diagnosis.detectors import DETECTORS, code, finding
from analysis.diagnosis.detectors.finding import LN10
from analysis.support.run import NotMeasured
from core.schedules import warmup_then_decay


def found_by(tmp_path, made: MadeRun, name: str):
    """What the detector `name` finds in it."""
    return DETECTORS[name](made.write(tmp_path))


def test_hysteresis_by_hand():
    """Enters above 3, stays above 1; one dip to 2 does not end it, one to 0 does."""
    steps = np.arange(1, 11)
    values = np.array([0, 4, 2, 4, 0, 4, 4, 2, 2, 2])
    assert finding.stretch(steps, values > 3, values > 1, 3) == (2, 4)
    assert finding.stretch(steps, values > 3, values > 1, 4) == (6, 10)
    assert finding.stretch(steps, values > 3, values > 1, 6) is None
    assert finding.stretch(steps, values > 3, values > 3, 3) is None
    # Measured at every tenth step only, a stretch lasts from its first to its last measurement.
    assert finding.stretch(10 * steps, values > 3, values > 1, 41) == (60, 100)


def test_trailing_mean_and_median_by_hand():
    values = np.array([1.0, 5.0, 3.0, 7.0])
    np.testing.assert_allclose(finding.trailing_mean(values, 3), [1, 3, 3, 5])
    np.testing.assert_array_equal(finding.trailing_median(values, 3), [np.nan, np.nan, 3, 5])
    assert np.isnan(finding.trailing_median(values, 5)).all()


@pytest.mark.parametrize("total, warmup, final", [(20, 0.1, 0.0), (700, 0.2, 0.1), (5, 0.0, 1.0), (1, 0.5, 0.0)])
def test_the_schedule_is_that_of_the_core(total, warmup, final):
    steps = np.arange(1, total + 1)
    real = [float(warmup_then_decay(s, total, 0.04, warmup, final)) for s in steps.tolist()]
    np.testing.assert_allclose(code.schedule(steps.astype(float), total, 0.04, warmup, final), real, rtol=1e-5)


@pytest.mark.parametrize("name", DETECTORS)
def test_nothing_on_a_clean_run(tmp_path, name):
    for seed in range(2):
        assert DETECTORS[name](MadeRun(seed=seed).write(tmp_path, f"run{seed}")) is None


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("step", [0, 1, 5, 60, 199, 350])
def test_an_interrupted_run_has_no_fault(tmp_path, name, step):
    try:
        assert found_by(tmp_path, MadeRun().cut(step), name) is None
    except NotMeasured as reason:
        assert str(reason)


# ---------------------------------------------------------------------------- one fault each


def test_missing_class(tmp_path):
    made = MadeRun()
    made.config["data"]["train_class_counts"][3] = 0
    found = found_by(tmp_path, made, "missing-class")
    assert (found.severity, found.step) == ("red", 0) and "kind3 0" in found.evidence[0]
    made.config["data"]["train_class_counts"][3] = 99
    assert found_by(tmp_path / "b", made, "missing-class").severity == "amber"
    made.config["data"]["train_class_counts"][3] = 101  # a tenth of the others is 100
    assert found_by(tmp_path / "c", made, "missing-class") is None


def test_imbalanced_classes(tmp_path):
    made = MadeRun()
    counts = made.config["data"]["train_class_counts"]
    counts[7] = 3_001
    assert found_by(tmp_path, made, "imbalanced-classes").severity == "amber"
    counts[7] = 90_000  # one image many times
    found = found_by(tmp_path / "b", made, "imbalanced-classes")
    assert found.severity == "red" and "'kind7'" in found.title
    counts[7] = 3_000
    assert found_by(tmp_path / "c", made, "imbalanced-classes") is None


def test_a_class_that_is_never_predicted(tmp_path):
    made = MadeRun()
    made.confusions[4:, :, 8] += made.confusions[4:, :, 5]
    made.confusions[4:, :, 5] = 0
    found = found_by(tmp_path, made, "ignored-class")
    assert found.step == 500 and "kind5" in found.title
    made.confusions[6, 5, 5], made.confusions[6, 5, 8] = 30, made.confusions[6, 5, 8] - 30  # 3 % are found again
    assert found_by(tmp_path / "b", made, "ignored-class") is None


def test_swapped_labels(tmp_path):
    made = MadeRun()
    made.confusions = np.roll(made.confusions, 1, axis=2)  # every class is predicted as the one after it
    found = found_by(tmp_path, made, "swapped-labels")
    assert found.severity == "red" and "for 10 classes" in found.evidence[1]
    made = MadeRun()
    made.confusions[:, :, [3, 5]] = made.confusions[:, :, [5, 3]]  # only two of them
    assert "kind3 is predicted as kind5" in found_by(tmp_path / "b", made, "swapped-labels").evidence[1]
    made.confusions[:, 3] = made.confusions[:, 5]  # both get the same prediction: a confusion, not a swap
    assert found_by(tmp_path / "c", made, "swapped-labels") is None


def half_shifted(right: int, shifted: int) -> MadeRun:
    """Predictions for 1,000 images of each class: `right` times the class, `shifted` times the next one."""
    made = MadeRun()
    others = (1000 - right - shifted) // 8
    counts = np.full((10, 10), others)
    for k in range(10):
        counts[k, k], counts[k, (k + 1) % 10] = right, shifted
    made.confusions[-1] = counts
    return made


def test_a_part_of_the_labels_shifted_by_one_class(tmp_path):
    found = found_by(tmp_path, half_shifted(400, 320), "swapped-labels")
    assert found.severity == "red" and "(kind0 as kind1, kind1 as kind2" in found.evidence[0]
    assert found_by(tmp_path / "b", half_shifted(600, 100), "swapped-labels") is None  # a quarter of the errors
    made = half_shifted(400, 320)
    made.confusions[-1] = 60  # every second class is taken for the one before it, every other for the one after
    for k in range(10):
        made.confusions[-1, k, [k, k ^ 1 if k < 8 else 0]] = [400, 120]
    assert found_by(tmp_path / "c", made, "swapped-labels") is None


def test_a_part_of_the_labels_one_too_large(tmp_path):
    """Too noisy for the permutation, and plain for the shift: 28 % are predicted one class too high."""
    made = half_shifted(280, 280)
    made.confusions[-1, 3], made.confusions[-1, 3, [3, 5]] = 50, [280, 320]
    assert "one class too high" in found_by(tmp_path, made, "swapped-labels").evidence[0]
    made.confusions[-1] = half_shifted(450, 110).confusions[-1]  # not twice as many as any other shift
    assert found_by(tmp_path / "b", made, "swapped-labels") is None


def test_leak(tmp_path):
    for count, severity in ((50, None), (51, "amber"), (200, "amber"), (201, "red")):
        made = MadeRun(epochs=1)
        made.config["data"]["test_images_in_training"] = count
        found = found_by(tmp_path / str(count), made, "leak")
        assert (found and found.severity) == severity


def test_zero_init(tmp_path):
    made = MadeRun()
    for layer in ("conv1", "conv2"):
        for quantity in ("gradient_norm", "weight_norm"):
            made.layers[quantity][layer][1][:] = 0
    found = found_by(tmp_path, made, "zero-init")
    assert (found.severity, found.step) == ("red", 1) and "'conv1', 'conv2'" in found.evidence[0]


def test_no_gradient(tmp_path):
    made = MadeRun()
    made.layers["gradient_norm"]["conv1"][1][:10] = 0
    assert found_by(tmp_path, made, "zero-init") is None
    assert "'conv1'" in found_by(tmp_path / "b", made, "no-gradient").evidence[0]
    made.layers["gradient_norm"]["conv1"][1][9] = 1e-6
    assert found_by(tmp_path / "c", made, "no-gradient") is None


def test_a_last_layer_without_a_gradient(tmp_path):
    """It gets none at any step: named so, and no exploding gradient, though the first layer's is infinitely larger."""
    made = MadeRun()
    made.layers["gradient_norm"]["dense"][1][:] = 0
    assert "'dense'" in found_by(tmp_path, made, "no-gradient").evidence[0]
    assert found_by(tmp_path / "b", made, "exploding") is None


def test_a_last_layer_that_starts_at_zero_is_sound(tmp_path):
    made = MadeRun()
    made.layers["weight_norm"]["dense"][1][0] = 0
    for layer in ("conv1", "conv2"):
        made.layers["gradient_norm"][layer][1][0] = 0  # nothing comes through it at step 1
    assert found_by(tmp_path, made, "zero-init") is None


def growing(loss: float, factor: float) -> MadeRun:
    """A run whose first loss is `loss` and whose activations grow by `factor` from kernel to kernel."""
    made = MadeRun()
    made.steps["loss"][0] = loss
    for i, layer in enumerate(("conv1", "relu1", "conv2", "relu2", "dense")):
        made.layers["activation_std"][layer][1][0] = factor ** (i // 2 + 1)
        made.layers["activation_mean"][layer][1][0] = 0
    return made


def test_init_too_large(tmp_path):
    assert found_by(tmp_path, growing(50, 4), "init-too-large").severity == "red"
    assert found_by(tmp_path / "b", growing(LN10 + 1.9, 4), "init-too-large") is None
    assert found_by(tmp_path / "c", growing(50, 1.5), "init-too-large") is None  # 1.5^3 is below 5
    large_at_the_end = growing(50, 1)
    large_at_the_end.layers["activation_std"]["dense"][1][0] = 6
    assert found_by(tmp_path / "d", large_at_the_end, "init-too-large") is not None
    one_layer = growing(2.3, 1)  # 20 times too large, and batch norm hides it from the loss
    one_layer.layers["activation_std"]["conv2"][1][0] = 20
    found = found_by(tmp_path / "e", one_layer, "init-too-large")
    assert found.severity == "amber" and "of 'conv2'" in found.title


def test_init_too_small(tmp_path):
    made = growing(2.3, 1)
    made.layers["activation_std"]["conv2"][1][0] = 0.14
    assert "'conv2'" in found_by(tmp_path, made, "init-too-small").title
    made.layers["activation_std"]["conv2"][1][0] = 0.16
    assert found_by(tmp_path / "b", made, "init-too-small") is None
    made.layers["activation_std"]["dense"][1][0] = 0.01  # the last one starts small on purpose
    assert found_by(tmp_path / "c", made, "init-too-small") is None


def test_equal_init(tmp_path):
    made = MadeRun()
    made.steps["loss"][0] = LN10 + 1e-5
    assert found_by(tmp_path, made, "equal-init") is None  # by chance: the gradient comes through
    made.layers["gradient_norm"]["conv2"][1][0] = 5e-4
    assert "to the last digit" in found_by(tmp_path / "b", made, "equal-init").evidence[0]
    made.layers["weight_norm"]["dense"][1][0] = 0  # a last layer of zeros is sound
    assert found_by(tmp_path / "c", made, "equal-init") is None


def test_unnormalized_inputs_are_no_large_init(tmp_path):
    made = MadeRun()
    made.steps["loss"][0] = 50
    for layer in ("conv1", "relu1", "conv2", "relu2", "dense"):
        made.layers["activation_std"][layer][1][0] = 170
    assert found_by(tmp_path, made, "unnormalized-inputs").severity == "red"
    assert found_by(tmp_path / "b", made, "init-too-large") is None
    made.steps["loss"][0] = 2.3  # batch norm rescales
    assert found_by(tmp_path / "c", made, "unnormalized-inputs").severity == "amber"
    assert found_by(tmp_path / "d", growing(50, 4), "unnormalized-inputs") is None


def test_a_loss_that_is_summed_says_so(tmp_path):
    made = MadeRun()
    made.steps["loss"][0] = 100 * LN10
    assert "a sum" in found_by(tmp_path, made, "bad-init").evidence[1]


@pytest.mark.parametrize("off, severity", [(0.24, None), (0.26, "amber"), (-0.26, "amber"), (2.1, "red")])
def test_bad_init(tmp_path, off, severity):
    made = MadeRun(epochs=1)
    made.steps["loss"][0] = LN10 + off
    found = found_by(tmp_path, made, "bad-init")
    assert (found and found.severity) == severity


def test_a_small_batch_may_start_a_little_off(tmp_path):
    made = MadeRun(epochs=1)
    made.config["settings"]["batch_size"] = 8
    made.steps["loss"][0] = LN10 + 0.3
    assert found_by(tmp_path, made, "bad-init") is None


def test_a_constant_rate(tmp_path):
    made = MadeRun()
    made.steps["learning_rate"][:] = made.steps["learning_rate"][0]
    found = found_by(tmp_path, made, "frozen-step-counter")
    assert found.severity == "red" and "never changes" in found.title


def test_another_schedule_than_that_of_the_settings(tmp_path):
    made = MadeRun()
    made.steps["learning_rate"] *= 1.009  # within 1 % of the peak
    assert found_by(tmp_path, made, "frozen-step-counter") is None
    made.steps["learning_rate"] *= 1.1
    assert found_by(tmp_path / "b", made, "frozen-step-counter").severity == "amber"


def test_a_constant_rate_that_was_asked_for(tmp_path):
    made = MadeRun()
    made.config["settings"] |= {"warmup": 0.0, "final_rate": 1.0}
    made.steps["learning_rate"][:] = 0.04
    assert found_by(tmp_path, made, "frozen-step-counter") is None


def test_batches_of_one_class(tmp_path):
    """Their accuracy is 1 or 0, where drawn images scatter by a few percent."""
    made = MadeRun()
    made.steps["accuracy"][:] = np.repeat(np.resize([1.0, 0.0], 140), 5)
    made.steps["loss"][made.steps["accuracy"] == 0] = 4.0
    found = found_by(tmp_path, made, "unmixed-batches")
    assert found.severity == "red" and "50.0 % of the batches" in found.evidence[0]
    made.steps["accuracy"][:] = np.repeat(np.resize([1.0, 0.3], 140), 5)
    assert "scatters" in found_by(tmp_path / "b", made, "unmixed-batches").evidence[0]


def test_an_accuracy_of_nothing_with_a_low_loss_is_no_order(tmp_path):
    """The smallest logit taken for the prediction: hardly any image is right, and the loss falls."""
    made = MadeRun()
    made.steps["accuracy"][:] = 0.01
    assert found_by(tmp_path, made, "wrong-metric").severity == "red"
    with pytest.raises(NotMeasured, match="between 10 and 90 %"):
        found_by(tmp_path / "b", made, "unmixed-batches")
    made.steps["loss"][:] = 4.0  # sure of classes that are not in the batch
    assert found_by(tmp_path / "c", made, "unmixed-batches").severity == "red"


def test_the_same_batch_at_every_step(tmp_path):
    made = MadeRun()
    made.steps["accuracy"][:] = np.linspace(0.1, 0.9, 700)
    found = found_by(tmp_path, made, "repeated-order")
    assert found.severity == "red" and "Every step has the same batch" in found.title


def test_weights_that_are_drawn_anew(tmp_path):
    made = MadeRun(epochs=4)
    made.steps["loss"] = np.tile(2.3 - 0.6 * np.linspace(0, 1, 100), 4)
    found = found_by(tmp_path, made, "weights-reset")
    assert found.step == 101 and "all 3 ends" in found.evidence[0]
    made.steps["loss"][300:] = 1.7  # once it went on from where it was
    assert found_by(tmp_path / "b", made, "weights-reset") is None


@pytest.mark.parametrize("factor, severity", [(1.04, None), (1.2, "amber"), (3, "red"), (0.9, "amber"), (0.01, "red")])
def test_a_first_update_that_is_not_the_optimizers(tmp_path, factor, severity):
    made = MadeRun()
    made.layers["update_ratio"]["conv2"][1][0] *= factor
    found = found_by(tmp_path, made, "wrong-update")
    assert (found and found.severity) == severity


def test_a_gradient_that_is_clipped_at_every_step(tmp_path):
    made = MadeRun()
    made.steps["gradient_norm"][:400] = 1.3
    assert found_by(tmp_path, made, "wrong-update").title == "The gradient is clipped at nearly every step"
    made.steps["gradient_norm"][50:] = np.linspace(0.5, 1.2, 650)
    assert found_by(tmp_path / "b", made, "wrong-update") is None


@pytest.mark.parametrize(
    "momentum, rate, severity", [(0.9, 0.04, None), (0.98, 0.04, None), (0.99, 0.04, "amber"), (0.999, 0.04, "red")]
)
def test_momentum(tmp_path, momentum, rate, severity):
    made = MadeRun()
    made.config["settings"] |= {"momentum": momentum, "learning_rate": rate}
    found = found_by(tmp_path, made, "strong-momentum")
    assert (found and found.severity) == severity


def test_regularization(tmp_path):
    made = MadeRun()
    made.config["architecture"] = [{"layer": "Dropout", "name": "dropout", "rate": 0.79}]
    assert found_by(tmp_path, made, "strong-regularization") is None
    made.config["architecture"][0]["rate"] = 0.95
    assert "drops 95.0 %" in found_by(tmp_path / "b", made, "strong-regularization").evidence[0]
    made = MadeRun()
    made.evaluations["train_accuracy"][-3:], made.steps["accuracy"][400:] = 0.6, 0.35
    assert (
        "35.0 % of the images of the batches since"
        in (found_by(tmp_path / "c", made, "strong-regularization").evidence[0])
    )
    made.steps["accuracy"][400:] = 0.45
    assert found_by(tmp_path / "d", made, "strong-regularization") is None


def test_batches_that_lag_behind_in_a_short_run_are_not_regularized(tmp_path):
    """The train accuracy climbs by 20 points an epoch, and the batches of an epoch lie between two evaluations."""
    made = MadeRun(epochs=3, per_epoch=50)
    made.steps["accuracy"][:] = np.linspace(0.1, 0.55, 150)
    made.evaluations["train_accuracy"][:] = [0.28, 0.47, 0.65]
    assert found_by(tmp_path, made, "strong-regularization") is None
    made.steps["accuracy"][50:] = 0.17  # below what the evaluation *before* them found
    assert found_by(tmp_path / "b", made, "strong-regularization").step == 100


def test_test_images_of_another_kind(tmp_path):
    """In epoch 1 the batches are as new as the test images: 55 % of them right and 30 % of those is no overfitting."""
    made = MadeRun()
    made.steps["accuracy"][75:100], made.evaluations["train_accuracy"][0] = 0.55, 0.54
    made.evaluations["test_accuracy"][0] = 0.5
    assert found_by(tmp_path, made, "different-test") is None
    made.evaluations["test_accuracy"][0] = 0.3
    assert "55.0 %" in found_by(tmp_path / "b", made, "different-test").evidence[0]
    made.evaluations["train_accuracy"][0] = 0.3  # then it is the evaluation
    assert found_by(tmp_path / "c", made, "different-test") is None


def test_an_accuracy_that_does_not_belong_to_the_loss(tmp_path):
    made = MadeRun()
    made.steps["loss"][600:], made.steps["accuracy"][600:] = 1.0, 0.21  # 0.6 exp(-1) = 0.22
    assert "0.37" in found_by(tmp_path, made, "wrong-metric").evidence[0]
    made.steps["accuracy"][600:] = 0.23
    assert found_by(tmp_path / "b", made, "wrong-metric") is None


def test_a_missing_nonlinearity(tmp_path):
    made = MadeRun()
    layers = ("Convolution", "BatchNormalization", "ReLU", "Dense", "Dropout", "Dense")
    made.config["architecture"] = [{"layer": kind, "name": f"{kind}{i}"} for i, kind in enumerate(layers)]
    assert "'Dense3' and 'Dense5'" in found_by(tmp_path, made, "no-nonlinearity").evidence[0]
    del made.config["architecture"][3]
    assert found_by(tmp_path / "b", made, "no-nonlinearity") is None


def test_a_rate_so_high_that_the_second_loss_is_no_number(tmp_path):
    """As --learning-rate 1e8 leaves it: the update is the optimizer's, and no sentence is about what is not there."""
    made = MadeRun()
    two = np.array([1, 2])
    made.steps = {name: values[:2].copy() for name, values in made.steps.items()}
    made.steps["learning_rate"][:] = [5e7, 1e8]
    made.steps["loss"][1] = made.steps["gradient_norm"][1] = np.nan
    made.evaluations = {name: values[:0] for name, values in made.evaluations.items()}
    made.layers = {
        quantity: {layer: (two, values[:2].copy()) for layer, (_, values) in layers.items()}
        for quantity, layers in made.layers.items()
        if quantity not in ("activation_mean", "activation_std", "sparsity", "dead_channels", "evaluation_disagreement")
    }
    for layer in KERNELS:
        weight, gradient = (made.layers[f"{name}_norm"][layer][1] for name in ("weight", "gradient"))
        made.layers["update_ratio"][layer][1][:] = 1.9 * 5e7 * gradient[0] / weight[0], np.inf
        weight[1] = 1e6 * weight[0]
    made.layers["gain_ratio"] = {"network": (two[:1], np.array([np.nan]))}
    made.layers["predicted_change"] = {"network": (two[:1], np.array([-6e8]))}
    found = diagnose(made.write(tmp_path)).findings
    assert [finding.id for finding in found] == ["rate-high", "non-finite"]
    assert found[1].explained_by == "rate-high" and not found[0].explained_by
    words = " ".join(found[0].evidence)
    assert "most of all step 2, by more than a number can say" in words and "times that at step 1 (median" in words
    assert "nan" not in words and "inf" not in words


def test_gradients_that_are_added_up(tmp_path):
    """Gradients that are not set to zero between steps: each update is longer than momentum can make it."""
    made = MadeRun()
    ratio = made.layers["update_ratio"]["conv1"][1]
    ratio[5] *= 1e3 * made.steps["learning_rate"][5]
    assert "could make it of all gradients" in found_by(tmp_path, made, "wrong-update").evidence[0]


@pytest.mark.parametrize(
    "gain, wrong",
    [(2.0, True), (0.0, True), (0.9, False), (0.2, False), (-0.5, False), (np.nan, False), (np.inf, False)],
)
def test_weights_that_move_by_something_else(tmp_path, gain, wrong):
    made = MadeRun()
    made.layers["gain_ratio"] = {"network": (np.array([1, 2]), np.array([gain, 1.0]))}
    made.layers["predicted_change"] = {"network": (np.array([1, 2]), np.array([-0.02, -0.02]))}
    assert (found_by(tmp_path, made, "wrong-update") is not None) == wrong
    made.layers["predicted_change"]["network"][1][0] = -5e-6  # the rounding of a loss of 2.3
    assert found_by(tmp_path / "b", made, "wrong-update") is None


@pytest.mark.parametrize(
    "mean, std, found", [(0.0, 0.98, True), (0.5, 0.49, True), (0.0, 0.6, False), (0.3, 0.9, False)]
)
def test_saturated(tmp_path, mean, std, found):
    """tanh at -1 and 1, a sigmoid at 0 and 1; a tanh in its middle and a ReLU, which is 0 often."""
    made = MadeRun()
    for quantity, value in (
        ("activation_mean", mean),
        ("activation_std", std),
        ("sparsity", 0.4 if mean == 0.3 else 0),
    ):
        made.layers[quantity]["relu1"][1][:] = value
    assert (found_by(tmp_path, made, "saturated") is not None) == found


def test_logits_that_are_cut_off(tmp_path):
    made = MadeRun()
    made.layers["sparsity"]["dense"][1][:] = 0.06
    assert found_by(tmp_path, made, "clipped-logits").severity == "red"
    made.layers["sparsity"]["dense"][1][:] = 0.04
    assert found_by(tmp_path / "b", made, "clipped-logits") is None


def adam_run(stuck: bool, agreement: float) -> MadeRun:
    """Real Adam on gradients that agree by about `agreement` from step to step, its norms put into the logs."""
    made, draw = MadeRun(), np.random.default_rng(1)
    made.config["settings"]["optimizer"] = "adam"
    always = {layer: draw.standard_normal(n) for layer, n in (("conv1", 864), ("conv2", 2_000), ("dense", 500))}
    first = second = {layer: 0.0 for layer in always}
    last = {}
    for step in range(1, 11):
        t = 1 if stuck else step
        for layer, common in always.items():
            g = math.sqrt(agreement) * common + math.sqrt(1 - agreement) * draw.standard_normal(len(common))
            first = first | {layer: 0.9 * first[layer] + 0.1 * g}
            second = second | {layer: 0.999 * second[layer] + 0.001 * g**2}
            d = first[layer] / (1 - 0.9**t) / (np.sqrt(second[layer] / (1 - 0.999**t)) + 1e-7)
            d = d * made.steps["learning_rate"][step - 1]
            cosine = g @ last.get(layer, g) / np.linalg.norm(g) / np.linalg.norm(last.get(layer, g))
            last[layer] = g
            made.layers["gradient_cosine"][layer][1][step - 1] = cosine if step > 1 else 0.0
            made.layers["update_ratio"][layer][1][step - 1] = (
                np.linalg.norm(d) / made.layers["weight_norm"][layer][1][step - 1]
            )
    return made


@pytest.mark.parametrize("agreement", [0.0, 0.3, 0.9])
def test_the_step_counter_of_adam(tmp_path, agreement):
    assert found_by(tmp_path, adam_run(False, agreement), "frozen-step-counter") is None
    assert found_by(tmp_path / "b", adam_run(True, agreement), "frozen-step-counter").step == 2


def doubled(confidence: np.ndarray) -> np.ndarray:
    """The loss of softmax applied to probabilities with `confidence` on the right class, the rest spread evenly."""
    rest = (1 - confidence) / 9
    return np.log(np.exp(confidence) + 9 * np.exp(rest)) - confidence


def test_double_softmax(tmp_path):
    made = MadeRun()
    made.steps["loss"] = doubled(made.steps["accuracy"])
    found = found_by(tmp_path, made, "double-softmax")
    assert found.severity == "red" and "[1.461, 2.461]" in found.evidence[0]
    made.steps["loss"][400] = 1.45  # one batch below what is possible
    assert found_by(tmp_path / "b", made, "double-softmax") is None


def test_a_short_honest_run_inside_the_band_is_no_double_softmax(tmp_path):
    made = MadeRun().cut(150)
    made.steps["loss"] = np.linspace(2.3, 1.5, 150)
    made.steps["accuracy"] = np.linspace(0.1, 0.46, 150)
    with pytest.raises(NotMeasured, match=r"at 34\.0 % accuracy"):  # the two cannot be told apart yet
        found_by(tmp_path, made, "double-softmax")
    made.steps["accuracy"] += 0.1
    assert found_by(tmp_path / "b", made, "double-softmax") is None


def smoothed(confidence: np.ndarray, a: float, doubled: bool) -> np.ndarray:
    """The loss with label smoothing `a` at this confidence in the right class, the rest spread evenly."""
    logits = np.repeat(((1 - confidence) / 9)[:, None], 10, axis=1)
    logits[:, 0] = confidence
    logits = logits if doubled else np.log(logits)
    target = np.full(10, a / 10)
    target[0] += 1 - a
    return np.log(np.exp(logits).sum(axis=1)) - logits @ target


@pytest.mark.parametrize("a", [0.1, 0.2, 0.3])
def test_double_softmax_with_label_smoothing(tmp_path, a):
    made = MadeRun()
    made.config["settings"]["label_smoothing"] = a
    confidence = np.clip(made.steps["accuracy"], 0.1, 0.95)
    made.steps["loss"] = smoothed(confidence, a, doubled=True)
    assert found_by(tmp_path, made, "double-softmax").severity == "red"
    made.steps["loss"] = smoothed(confidence, a, doubled=False)
    assert found_by(tmp_path / "b", made, "double-softmax") is None


def test_heavy_label_smoothing_is_no_double_softmax(tmp_path):
    made = MadeRun()
    made.config["settings"]["label_smoothing"] = 0.5
    made.steps["loss"] = smoothed(np.clip(made.steps["accuracy"], 0.1, 0.95), 0.5, doubled=False)
    with pytest.raises(NotMeasured, match=r"label smoothing 0\.5"):
        found_by(tmp_path, made, "double-softmax")


def test_a_loss_too_high_for_its_accuracy_is_no_double_softmax(tmp_path):
    """Right at 60 % and a loss of 2.2: overconfident errors do that, two softmaxes cannot."""
    made = MadeRun()
    made.steps["loss"][:], made.steps["accuracy"][:] = 2.2, 0.6
    assert found_by(tmp_path, made, "double-softmax") is None


def test_evaluation_mode(tmp_path):
    made = MadeRun()
    made.layers["evaluation_disagreement"]["network"][1][:] = 2e-4
    assert found_by(tmp_path, made, "evaluation-mode").step == 100
    made.config["precision"] = "bfloat16"
    assert found_by(tmp_path / "b", made, "evaluation-mode") is None
    made.config["precision"] = "float32"
    made.evaluations["test_loss"][:] = 0.01  # two ten-thousandths of next to nothing is rounding
    assert found_by(tmp_path / "c", made, "evaluation-mode") is None


def test_an_evaluation_far_below_the_batches(tmp_path):
    made = MadeRun()
    made.evaluations["train_accuracy"][4:] = made.steps["accuracy"][made.evaluations["step"][4:] - 1] - 0.3
    assert found_by(tmp_path, made, "evaluation-mode").step == 500
    made.evaluations["train_accuracy"][5] += 0.25
    assert found_by(tmp_path / "b", made, "evaluation-mode") is None  # not two in a row


def test_repeated_order(tmp_path):
    made, draw = MadeRun(), np.random.default_rng(3)
    hardness = np.tile(0.05 * draw.standard_normal(100), 7)
    made.steps["loss"] *= np.exp(hardness)
    found = found_by(tmp_path, made, "repeated-order")
    assert found.step == 101 and "100 steps" in found.evidence[0]
    made = MadeRun()  # a pattern of another length, nothing to do with epochs
    made.steps["loss"] *= np.exp(np.resize(0.05 * draw.standard_normal(90), 700))
    assert found_by(tmp_path / "b", made, "repeated-order") is None


def test_frozen_layer(tmp_path):
    made = MadeRun()
    at, values = made.layers["update_ratio"]["conv2"]
    values[20:29] = 0
    assert found_by(tmp_path, made, "frozen-layer") is None
    values[29] = 0
    found = found_by(tmp_path / "b", made, "frozen-layer")
    assert found.step == at[20] and "conv2" in found.title


def test_uphill_shows_in_the_first_steps(tmp_path):
    made = MadeRun().cut(8)
    for layer in made.layers["first_order_change"]:
        made.layers["first_order_change"][layer][1][:5] *= -1
    assert found_by(tmp_path, made, "uphill").step == 1
    for layer in made.layers["first_order_change"]:
        made.layers["first_order_change"][layer][1][4] = -1.0
    with pytest.raises(NotMeasured):
        found_by(tmp_path / "b", made, "uphill")


def test_one_layer_that_goes_uphill_is_named(tmp_path):
    made = MadeRun()
    made.layers["first_order_change"]["conv2"][1][:] *= -0.1  # the others outweigh it
    found = found_by(tmp_path, made, "uphill")
    assert "'conv2'" in found.title and found.step == 1


def test_uphill(tmp_path):
    made = MadeRun()
    for layer in made.layers["first_order_change"]:
        made.layers["first_order_change"][layer][1][:] *= -1
    found = found_by(tmp_path, made, "uphill")
    assert (found.severity, found.step) == ("red", 1)
    made = MadeRun()
    made.layers["first_order_change"]["dense"][1][10:25] *= -1  # for some steps, as momentum may
    assert found_by(tmp_path / "b", made, "uphill") is None


def test_the_weight_decay_of_adamw_is_no_step_counter(tmp_path):
    """Decoupled decay makes the update as long as the weights tell, whatever the step."""
    made = adam_run(True, 0.3)
    made.config["settings"] |= {"optimizer": "adamw", "weight_decay": 0.01}
    assert found_by(tmp_path, made, "frozen-step-counter").step == 2
    made.config["settings"]["weight_decay"] = 20.0
    with pytest.raises(NotMeasured, match="weight decay"):
        found_by(tmp_path / "b", made, "frozen-step-counter")


def shrunk(weight_decay: float, fraction: float) -> MadeRun:
    """A run with this weight decay whose kernels end at a fraction of their initial norm."""
    made = MadeRun()
    made.config["settings"]["weight_decay"] = weight_decay
    for _, values in made.layers["weight_norm"].values():
        values[-3:] = fraction * values[0]
    return made


def test_shrinking_weights(tmp_path):
    found = found_by(tmp_path, shrunk(1e-3, 0.04), "shrinking-weights")
    assert found.step == 680 and "0.04 of its initial norm" in found.evidence[0]
    assert found_by(tmp_path / "b", shrunk(1e-3, 0.06), "shrinking-weights") is None


def test_a_last_layer_that_grows_does_not_hide_those_that_shrink(tmp_path):
    made = shrunk(0.1, 0.4)
    made.layers["weight_norm"]["dense"][1][-3:] *= 5  # twice its initial norm; conv2 is the median of two
    assert "0.4 of its initial norm" in found_by(tmp_path, made, "shrinking-weights").evidence[0]
    for name in ("conv1", "conv2"):
        made.layers["weight_norm"][name][1][-3:] *= 2
    assert found_by(tmp_path / "b", made, "shrinking-weights") is None


def test_a_weight_decay_that_is_too_strong(tmp_path):
    """A hundred times the usual one: at rate 0.04 and momentum 0.9 the weights fall to 1/e in 25 steps."""
    found = found_by(tmp_path, shrunk(0.1, 0.4), "shrinking-weights")
    assert found.title == "The weight decay is too strong" and "in 25 steps" in found.evidence[1]
    assert found_by(tmp_path / "b", shrunk(0.1, 0.6), "shrinking-weights") is None  # the gradient keeps them up
    assert found_by(tmp_path / "c", shrunk(0.02, 0.4), "shrinking-weights") is None  # 125 steps


@pytest.mark.parametrize(
    "name, steps",
    [("divergence", 149), ("double-softmax", 109), ("spike", 204), ("no-signal", 299), ("repeated-order", 219),
     ("overfit", 300), ("evaluation-mode", 199), ("rate-low", 130), ("rate-high", 130), ("uphill", 39),
     ("frozen-layer", 9), ("frozen-step-counter", 19), ("plateau", 600), ("oscillation", 500)],
)  # fmt: skip
def test_a_run_too_short_for_a_rule_is_not_in_order(tmp_path, name, steps):
    with pytest.raises(NotMeasured):
        found_by(tmp_path, MadeRun().cut(steps), name)


def test_what_only_half_of_a_rule_could_check_is_not_in_order(tmp_path):
    for name, quantity in (("exploding", "gradient_norm"), ("pipeline", "traces")):
        made = MadeRun()
        del made.layers[quantity]
        with pytest.raises(NotMeasured, match=quantity):
            found_by(tmp_path / name, made, name)
        made.config["settings"]["eager"] = True
    assert found_by(tmp_path, made, "pipeline") is None  # without compiled functions there are no traces


# ---------------------------------------------------------------------------- numbers that run away


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite(tmp_path, value):
    made = MadeRun().cut(120)
    made.steps["loss"][-1] = value
    found = found_by(tmp_path, made, "non-finite")
    assert (found.severity, found.step) == ("red", 120)
    made = MadeRun().cut(120)
    made.steps["gradient_norm"][-1] = value
    assert found_by(tmp_path / "b", made, "non-finite").step == 120


def test_every_detector_stands_a_run_that_ends_in_nan(tmp_path):
    made = MadeRun().cut(120)
    made.steps["loss"][-1] = made.steps["gradient_norm"][-1] = np.nan
    for quantity in ("gradient_norm", "update_ratio", "first_order_change"):
        for _, values in made.layers[quantity].values():
            values[-1] = np.nan
    run, found = made.write(tmp_path), []
    for name, detector in DETECTORS.items():
        try:
            found += [name] if detector(run) else []
        except NotMeasured:
            pass
    assert found == ["non-finite"]


def test_spike(tmp_path):
    made = MadeRun()
    made.steps["loss"][500:510] += 2
    found = found_by(tmp_path, made, "spike")
    assert (found.severity, found.step) == ("note", 501) and "back after" in found.evidence[1]
    made.steps["loss"][500:] += 2
    assert found_by(tmp_path / "b", made, "spike").severity == "amber"


def test_one_hard_batch_is_no_spike(tmp_path):
    made = MadeRun()
    made.steps["loss"][500:502] += 3
    assert found_by(tmp_path, made, "spike") is None
    made = MadeRun()  # a large fraction of a tiny loss is no spike either
    made.steps["loss"][300:] = 1e-3
    made.steps["loss"][600:610] = 0.1
    assert found_by(tmp_path / "b", made, "spike") is None


def test_divergence(tmp_path):
    made = MadeRun()
    made.steps["loss"][400:] = LN10 + 0.1
    found = found_by(tmp_path, made, "divergence")
    assert found.severity == "red" and 400 < found.step < 450
    made = MadeRun()
    made.steps["loss"][400:560] += 1.5  # up for more than 100 steps, then back
    assert found_by(tmp_path / "b", made, "divergence").severity == "amber"
    made = MadeRun()
    made.steps["loss"][400:440] += 1.5  # not for long enough
    assert found_by(tmp_path / "c", made, "divergence") is None
    made = MadeRun()
    made.steps["loss"][5:12] = 30  # confidently wrong, early
    made.steps["loss"][12:] = LN10
    assert found_by(tmp_path / "d", made, "divergence").step == 6


def test_a_loss_near_nothing_does_not_diverge_by_doubling(tmp_path):
    made = MadeRun()
    made.steps["loss"][300:] = 1e-4
    made.steps["loss"][500:] = 0.05
    assert found_by(tmp_path, made, "divergence") is None


def test_exploding(tmp_path):
    made = MadeRun()
    made.layers["gradient_norm"]["conv1"][1][50:60] = 100 * made.layers["gradient_norm"]["dense"][1][50:60]
    assert found_by(tmp_path, made, "exploding").step == 51
    made.layers["gradient_norm"]["conv1"][1][55] = 1  # not ten in a row
    assert found_by(tmp_path / "b", made, "exploding") is None
    made.steps["gradient_norm"][300:310] = 200
    assert found_by(tmp_path / "c", made, "exploding").severity == "red"


# ---------------------------------------------------------------------------- signals that fade


def test_vanishing(tmp_path):
    made = MadeRun()
    made.layers["gradient_norm"]["conv1"][1][:] = 1e-5
    found = found_by(tmp_path, made, "vanishing")
    assert (found.severity, found.step) == ("red", 1)
    made.layers["gradient_norm"]["conv1"][1][:] = 2e-4  # short beside the last one's, but not tiny
    assert found_by(tmp_path / "b", made, "vanishing") is None
    for layer in ("conv1", "conv2", "dense"):
        made.layers["gradient_norm"][layer][1][:] = 1e-5  # all is learned: every gradient is tiny
    assert found_by(tmp_path / "c", made, "vanishing") is None


@pytest.mark.parametrize(
    "fractions, severity, step",
    [
        ([0.1, 0.49, 0.49, 0.49], None, None),
        ([0.1, 0.1, 0.1, 0.6], None, None),  # one measurement is none
        ([0.1, 0.45, 0.51, 0.51], "amber", 100),  # hysteresis: over only below 40 %
        ([0.1, 0.6, 0.91, 0.92], "red", 100),
        ([0.6, 0.6, 0.1, 0.1], None, None),  # they came back to life
    ],
)
def test_dying_relu(tmp_path, fractions, severity, step):
    made = MadeRun(epochs=3)
    made.layers["dead_channels"]["relu2"] = (np.array([0, 100, 200, 300]), np.array(fractions))
    found = found_by(tmp_path, made, "dying-relu")
    assert (found and found.severity, found and found.step) == (severity, step)


def test_a_wide_dense_layer_may_lose_half_of_its_units(tmp_path):
    made = MadeRun(epochs=3)
    made.layers["dead_channels"]["relu2"] = (np.array([0, 100, 200, 300]), np.array([0, 0.6, 0.6, 0.6]))
    made.config["architecture"][2]["layer"] = "Dense"  # the kernel before relu2
    assert found_by(tmp_path, made, "dying-relu") is None
    made.layers["dead_channels"]["relu2"][1][1:] = 0.8
    assert found_by(tmp_path / "b", made, "dying-relu").severity == "amber"


def test_first_updates_that_kill_channels(tmp_path):
    """The loss climbs while the rate does; that alone happens in clean runs too."""
    made = MadeRun()
    made.steps["loss"][20:30] = 4.0
    assert found_by(tmp_path, made, "rate-high") is None
    made.layers["dead_channels"]["relu2"][1][1:] = 0.6
    found = found_by(tmp_path / "b", made, "rate-high")
    assert (found.severity, found.step) == ("amber", 21) and "60.0 % of the channels of 'relu2'" in found.evidence[1]
    made.steps["loss"][20:30] = 3.2  # less than a nat above ln 10
    assert found_by(tmp_path / "c", made, "rate-high") is None


@pytest.mark.parametrize(
    "ratio, name, severity",
    [
        (0.025, "rate-high", None), (0.05, "rate-high", "amber"), (0.3, "rate-high", "red"),
        (1e-3, "rate-low", None), (2e-4, "rate-low", "amber"), (1e-6, "rate-low", "red"),
    ],
)  # fmt: skip
def test_rate(tmp_path, ratio, name, severity):
    made = MadeRun()
    for _, values in made.layers["update_ratio"].values():
        values *= ratio / values.max()
    found = found_by(tmp_path, made, name)
    assert (found and found.severity) == severity


@pytest.mark.parametrize("name", ["rate-high", "rate-low"])
def test_a_run_with_too_short_a_peak_is_not_checked(tmp_path, name):
    """150 steps have taken place, and near the peak were half of them."""
    with pytest.raises(NotMeasured, match=r"it takes 100 steps with the rate near its peak, the run has \d\d"):
        found_by(tmp_path, MadeRun(epochs=3, per_epoch=50), name)


@pytest.mark.parametrize("name", ["rate-high", "rate-low"])
def test_the_norm_of_an_update_of_muon_tells_nothing(tmp_path, name):
    """It is the rate, whatever the gradient: ten percent of a kernel's norm in a clean run."""
    made = MadeRun()
    made.config["settings"]["optimizer"] = "muon"
    for _, values in made.layers["update_ratio"].values():
        values *= 0.14 / values.max()
    with pytest.raises(NotMeasured, match="with muon it is the learning rate"):
        found_by(tmp_path, made, name)


def test_weights_that_blow_up(tmp_path):
    made = MadeRun()
    for layer in ("conv1", "conv2"):
        at, values = made.layers["weight_norm"][layer]
        values[at >= 200] *= 1.4
    assert found_by(tmp_path, made, "rate-high") is None
    for layer in ("conv1", "conv2"):
        made.layers["weight_norm"][layer][1][at >= 210] *= 1.4
    assert found_by(tmp_path / "b", made, "rate-high").step == 210


def test_two_leaps_are_enough(tmp_path):
    made = MadeRun()
    for layer in ("conv1", "conv2"):
        made.layers["update_ratio"][layer][1][30] = 0.2
    assert found_by(tmp_path, made, "rate-high") is None
    for layer in ("conv1", "conv2"):
        made.layers["update_ratio"][layer][1][32] = 0.11
    assert found_by(tmp_path / "b", made, "rate-high").step == 31


# ---------------------------------------------------------------------------- how it learns


def test_no_signal(tmp_path):
    made, draw = MadeRun(), np.random.default_rng(0)
    made.steps["loss"] = LN10 + 0.02 * draw.standard_normal(700)
    assert found_by(tmp_path, made, "no-signal").severity == "red"
    made.steps["loss"][300:] -= 0.1
    assert found_by(tmp_path / "b", made, "no-signal") is None
    made.steps["loss"][300:] += 0.1
    made.layers["gradient_norm"]["conv1"][1][:] = 0  # no gradient arrives: another fault
    assert found_by(tmp_path / "c", made, "no-signal") is None


def test_memorizing_noise(tmp_path):
    made = MadeRun()
    made.evaluations["test_accuracy"][:] = 0.105
    assert found_by(tmp_path, made, "memorizing-noise").severity == "red"
    made.evaluations["test_accuracy"][-1] = 0.13
    assert found_by(tmp_path / "b", made, "memorizing-noise") is None
    made.evaluations["test_accuracy"][-2:] = 0.01  # below chance level is no better
    assert found_by(tmp_path / "c", made, "memorizing-noise") is not None


def test_oscillation(tmp_path):
    made = MadeRun()
    made.evaluations["test_accuracy"] = np.array([0.5, 0.6, 0.55, 0.62, 0.57, 0.63, 0.58])
    assert found_by(tmp_path, made, "oscillation").step == 200
    made.evaluations["test_accuracy"] = np.array([0.5, 0.6, 0.55, 0.62, 0.63, 0.64, 0.65])  # it calms down
    assert found_by(tmp_path / "b", made, "oscillation") is None


def test_plateau(tmp_path):
    made = MadeRun(epochs=12)
    made.evaluations["train_loss"][4:], made.evaluations["train_accuracy"][4:] = 0.9, 0.7
    found = found_by(tmp_path, made, "plateau")
    assert found.step == 400 and "neither a flat loss" in found.evidence[1]
    for _, values in made.layers["gradient_cosine"].values():
        values[:] = -0.3
    assert "from side to side" in found_by(tmp_path / "b", made, "plateau").evidence[1]
    made.evaluations["train_accuracy"][4:] = 0.96
    assert found_by(tmp_path / "c", made, "plateau") is None


def test_evaluations_between_epochs_do_not_count_as_epochs(tmp_path):
    """With --evaluate-every, seven evaluations without progress may be one epoch."""
    made = MadeRun(epochs=2)
    made.evaluations = {name: np.repeat(values, 5) for name, values in made.evaluations.items()}
    made.evaluations["step"] = np.arange(20, 201, 20)
    made.confusions = np.repeat(made.confusions, 5, axis=0)
    with pytest.raises(NotMeasured, match="it takes 7 evaluations at ends of epochs, the run has 2"):
        found_by(tmp_path, made, "plateau")


def test_underfit(tmp_path):
    made = MadeRun()
    made.evaluations["train_accuracy"][-1], made.evaluations["test_accuracy"][-1] = 0.5, 0.48
    made.steps["loss"][:] = 1.6 + 0.01 * np.random.default_rng(0).standard_normal(700)
    made.steps["loss"][500:] = np.linspace(1.6, 1.2, 200)  # as in every run whose rate falls to zero
    assert found_by(tmp_path, made, "underfit").severity == "amber"
    made.steps["loss"][:] = np.linspace(2.3, 1.2, 700)
    assert found_by(tmp_path / "b", made, "underfit").severity == "note"
    made.evaluations["train_accuracy"][-1] = 0.54  # a gap of six points: it fits its training images
    assert found_by(tmp_path / "c", made, "underfit") is None


def overfitting(test_loss, test_accuracy) -> MadeRun:
    """A run with this test loss and accuracy in its seven epochs; its train loss falls."""
    made = MadeRun()
    made.evaluations["test_loss"], made.evaluations["test_accuracy"] = np.array(test_loss), np.array(test_accuracy)
    return made


def test_overfit(tmp_path):
    rising, holding = [1.2, 1.0, 0.9, 0.96, 1.0, 1.05, 1.1], [0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7]
    found = found_by(tmp_path, overfitting(rising, holding), "overfit")
    assert (found.severity, found.step) == ("amber", 400) and "benign" in found.title
    falling = [0.5, 0.6, 0.7, 0.7, 0.69, 0.68, 0.67]
    assert found_by(tmp_path / "b", overfitting(rising, falling), "overfit").severity == "red"
    two_only = [1.2, 1.0, 0.95, 0.92, 0.9, 0.96, 1.1]
    assert found_by(tmp_path / "c", overfitting(two_only, holding), "overfit") is None
    tiny = [1e-2, 1e-3, 1e-4, 2e-4, 3e-4, 4e-4, 5e-4]  # shapes10 at 100 %: five times nothing
    assert found_by(tmp_path / "d", overfitting(tiny, holding), "overfit") is None
    both = overfitting(rising, holding)
    both.evaluations["train_loss"][3:] = 2.0
    assert found_by(tmp_path / "e", both, "overfit") is None  # train rose too: that is no overfitting


@pytest.mark.parametrize("train, test, severity", [(0.96, 0.38, "red"), (0.85, 0.5, "amber"), (0.8, 0.51, None)])
def test_a_gap_between_train_and_test_accuracy(tmp_path, train, test, severity):
    made = MadeRun()
    made.evaluations["train_accuracy"][-1], made.evaluations["test_accuracy"][-1] = train, test
    found = found_by(tmp_path, made, "overfit")
    assert (found and found.severity) == severity
    assert not found or (found.step == 700 and "with 10,000 training images" in found.evidence[0])


def test_suspicious_test(tmp_path):
    made = MadeRun()
    made.evaluations["test_accuracy"] = made.evaluations["train_accuracy"] + 0.06
    assert found_by(tmp_path, made, "suspicious-test").step == 300
    made.evaluations["test_accuracy"][-1] -= 0.02
    assert found_by(tmp_path / "b", made, "suspicious-test") is None


def test_a_test_loss_below_the_train_loss(tmp_path):
    """Wrong labels among those of training: the accuracies are too few points apart, the losses are not."""
    made = MadeRun()
    made.evaluations["train_loss"][2:], made.evaluations["test_loss"][2:] = 2.1, 2.0
    found = found_by(tmp_path, made, "suspicious-test")
    assert found.step == 300 and "0.100 nats lower; chance allows 0.05" in found.evidence[0]
    made.config["data"]["test_images"] = 500  # of so few images the loss scatters by 0.05
    assert found_by(tmp_path / "b", made, "suspicious-test") is None


def test_collapse(tmp_path):
    made = MadeRun()
    moved = made.confusions[-1] * 4 // 10
    moved[:, 2] = 0
    made.confusions[-1] -= moved
    made.confusions[-1][:, 2] += moved.sum(axis=1)
    found = found_by(tmp_path, made, "collapse")
    assert (found.severity, found.step) == ("amber", 700) and "kind2" in found.title
    made.confusions[-2] = made.confusions[-1]
    assert found_by(tmp_path / "b", made, "collapse").severity == "red"


def test_pipeline(tmp_path):
    made = MadeRun(epochs=2)
    made.layers["traces"]["network"][1][1] = 3
    found = found_by(tmp_path, made, "pipeline")
    assert (found.severity, found.step) == ("amber", 200)
