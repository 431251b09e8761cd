"""airbench94 in PyTorch: the numbers of the published programs, its parts against the mathematics, a falling loss."""

import math

import numpy as np
import pytest
from runner import run

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # tests run file beside file

from analysis.benchmarks.baselines import airbench94, airbench_parts, airbench_versions, published
from analysis.benchmarks.baselines.airbench_versions import Airbench94, Airbench94Muon
from core.data import load

SCRIPT = "analysis/benchmarks/baselines/airbench94.py"


@pytest.fixture
def images(small_data):
    """Training images uint8 [200,32,32,3] and labels int64 [200]."""
    return torch.from_numpy(small_data.train_images), torch.from_numpy(small_data.train_labels.astype(np.int64))


def args(*given):
    return airbench94.command_line().parse_args(map(str, given))


def optimization(version, batch_size=None, total_steps=100, steps_per_epoch=10):
    torch.manual_seed(1)
    return version(version.build(), batch_size or version.BATCH_SIZE, total_steps, steps_per_epoch)


# The numbers below were read in the published programs (github.com/KellerJordan/cifar10-airbench, commit f1c599c).


@pytest.mark.parametrize("version", airbench_versions.VERSIONS.values())
def test_what_both_published_programs_have_in_common(version):
    network = version.build()
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [64, 64, 256, 256, 256, 256]
    for norm in norms:
        assert norm.eps == 1e-12 and norm.momentum == pytest.approx(0.4)  # PyTorch's: the weight of the new value
        assert not norm.weight.requires_grad and (norm.weight == 1).all() and (norm.bias == 0).all()
    assert not network.whitening.weight.requires_grad and network.whitening.weight.shape == (24, 3, 2, 2)
    assert network.dense.bias is None
    assert airbench_parts.MAX_SHIFT == 2
    assert (airbench_parts.WHITENING_IMAGES, airbench_parts.WHITENING_EPSILON) == (5000, 5e-4)
    assert (airbench_versions.WHITENING_EPOCHS, airbench_versions.MOMENTUM) == (3, 0.85)
    assert airbench_versions.LABEL_SMOOTHING == 0.2
    sgd = optimization(version).optimizers[0]
    assert all(group["nesterov"] and group["momentum"] == 0.85 for group in sgd.param_groups)


def test_airbench94_is_the_published_program():
    assert (Airbench94.EPOCHS, Airbench94.BATCH_SIZE) == (9.9, 1024)
    network = Airbench94.build()
    assert (network.whitening.bias == 0).all() and network.logit_scale == 1 / 9
    assert network.dense.weight.abs().max() <= 1 / 16  # PyTorch's own start, U(-1/sqrt(256), 1/sqrt(256))
    kilostep = 1024 * (1 + 1 / (1 - 0.85))
    rate, decay = 11.5 / kilostep, 0.0153 * 1024 / kilostep
    made = optimization(Airbench94)
    norm_biases, others = made.optimizers[0].param_groups
    assert (norm_biases["lr"], norm_biases["weight_decay"]) == pytest.approx((64 * rate, decay / (64 * rate)))
    assert (others["lr"], others["weight_decay"]) == pytest.approx((rate, decay / rate))
    assert len(norm_biases["params"]) == 6 and len(others["params"]) == 8  # bias of the whitening, 6 kernels, dense
    assert len(made.optimizers) == 1
    # 48 steps an epoch: 476 steps; up to 1 in int(0.23 * 476) = 109 steps, down to 0.07.
    made = optimization(Airbench94, total_steps=math.ceil(9.9 * 48), steps_per_epoch=48)
    assert made.total_steps == 476
    for step, expected in ((0, 0.2), (54, 0.2 + 0.8 * 54 / 109), (109, 1), (300, 1 - 0.93 * 191 / 367), (476, 0.07)):
        assert made.rate(step, others) == pytest.approx(expected)
    assert (Airbench94.LOOKAHEAD_EVERY, Airbench94.LOOKAHEAD_DECAY) == (5, 0.95**5)


def test_airbench94_muon_is_the_published_program():
    assert (Airbench94Muon.EPOCHS, Airbench94Muon.BATCH_SIZE) == (8.0, 2000)
    network = Airbench94Muon.build()
    bias = network.whitening.bias  # here PyTorch's own start: the Muon program does not set it to zero
    assert 0 < bias.abs().max() <= 12**-0.5
    assert network.logit_scale == 1 / 256 and float(network.dense.weight.detach().std()) == pytest.approx(1)
    made = optimization(Airbench94Muon, total_steps=200, steps_per_epoch=25)
    sgd, muon = made.optimizers
    decay = 2e-6 * 2000
    found = [(len(g["params"]), g["lr"], g["weight_decay"]) for g in sgd.param_groups]
    assert found == [(1, 0.053, decay / 0.053), (6, 0.053, decay / 0.053), (1, 0.67, decay / 0.67)]
    assert [(len(g["params"]), g["lr"], g["momentum"]) for g in muon.param_groups] == [(6, 0.24, 0.6)]
    for step in (0, 30, 75, 100):
        made.set_rates(step)
        fractions = [g["lr"] / peak for g, peak in zip(made.groups, made.peaks)]
        expected = max(1 - step / 75, 0), 1 - step / 200, 1 - step / 200, 1 - step / 200
        assert fractions == pytest.approx(expected)
        assert network_bias_learns(made) == (step < 75)


def network_bias_learns(made):
    return made.network.whitening.bias.requires_grad


def test_the_whitening_bias_learns_for_three_epochs():
    made = optimization(Airbench94, total_steps=100, steps_per_epoch=10)
    made.set_rates(29)
    assert network_bias_learns(made)
    made.set_rates(30)
    assert not network_bias_learns(made)


def test_the_network_has_the_recipes_size_and_starts_with_the_identity():
    network = Airbench94.build()
    # All but the scales of the batch norms, which stay 1, and the whitening kernel.
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 1_971_640 - 24 * 12
    weight = network.blocks[0][0].weight.detach()  # 24 -> 64
    x = torch.randn(1, 24, 5, 5)
    torch.testing.assert_close(torch.nn.functional.conv2d(x, weight, padding=1)[:, :24], x)
    assert weight[24:].abs().max() <= 1 / (24 * 9) ** 0.5
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_whitened_patches_are_white(images):
    x = airbench_parts.standardized(images[0])
    y = torch.nn.functional.conv2d(x, airbench_parts.whitening_kernel(x))
    torch.testing.assert_close(y[:, 12:], -y[:, :12])
    rows = y[:, :12].permute(0, 2, 3, 1).reshape(-1, 12).double()
    covariance = rows.T @ rows / len(rows)
    assert (covariance - torch.diag(torch.diag(covariance))).abs().max() < 1e-3
    assert 0.1 < torch.diag(covariance).min() and torch.diag(covariance).max() < 1.001  # l / (l + 5e-4)


def test_windows_shift_and_mirror(images):
    x = images[0][:4]
    padded = airbench_parts.reflected(x, 2)
    np.testing.assert_array_equal(padded, np.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)], "reflect"))
    corners, mirrored = torch.tensor([[2, 2], [0, 4], [2, 2], [1, 0]]), torch.tensor([False, False, True, True])
    found = airbench_parts.windows(padded, corners, mirrored)
    np.testing.assert_array_equal(found[0], x[0])
    np.testing.assert_array_equal(found[1], padded[1, 0:32, 4:36])
    np.testing.assert_array_equal(found[2], x[2].flip(1))
    np.testing.assert_array_equal(found[3], padded[3, 1:33, 0:32].flip(1))


def test_flips_alternate_and_every_image_comes_once_an_epoch(monkeypatch):
    monkeypatch.setattr(airbench_parts, "MAX_SHIFT", 0)
    ramp = torch.arange(32, dtype=torch.uint8).expand(32, 32)[..., None].expand(32, 32, 3)  # brighter to the right
    ramps = ramp.expand(40, 32, 32, 3).contiguous()
    mirrored = {}
    for step, (x, labels) in enumerate(airbench_parts.batches(ramps, torch.arange(40), 10, 8)):
        for image, label in zip(x, labels.tolist()):
            mirrored[step // 4, label] = bool(image[0, 0, 0] > image[0, 0, 31])
    assert len(mirrored) == 80
    assert all(mirrored[0, label] != mirrored[1, label] for label in range(40))
    assert 5 < sum(mirrored[0, label] for label in range(40)) < 35


def test_one_sgd_update_is_the_recipes_formula():
    made = optimization(Airbench94, batch_size=1024)
    k = 1024 * (1 + 1 / (1 - 0.85))
    beta, kernel = made.network.norm_biases[0], made.network.dense.weight
    for weight, rate in ((beta, 64 * 11.5 / k), (kernel, 11.5 / k)):
        with torch.no_grad():
            weight.add_(0.5)
        w, v = weight.detach().clone().double(), torch.zeros_like(weight, dtype=torch.float64)
        for _ in range(2):
            weight.grad = torch.ones_like(weight)
            made.update(1)
            made.network.zero_grad()
            g = 1 + 0.0153 * 1024 / k / rate * w
            v = 0.85 * v + g
            w = w - rate * (g + 0.85 * v)
        torch.testing.assert_close(weight.detach().double(), w, rtol=1e-5, atol=1e-6)


def test_two_muon_updates_are_the_recipes_formula():
    torch.manual_seed(2)
    weight = torch.nn.Parameter(torch.randn(6, 4, 3, 3))
    muon = airbench_versions.Muon([weight], 0.24, 0.6)
    w, v = weight.detach().clone(), torch.zeros(6, 4, 3, 3)
    for _ in range(2):
        g = torch.randn(6, 4, 3, 3)
        weight.grad = g.clone()
        muon.step()
        v = 0.6 * v + g
        update = airbench_versions.orthogonalized((g + 0.6 * v).reshape(6, 36)).reshape(6, 4, 3, 3)
        w = w * 6**0.5 / w.norm() - 0.24 * update
        torch.testing.assert_close(weight.detach(), w)


@pytest.mark.parametrize("shape", [(8, 30), (30, 8)])
def test_orthogonalized_keeps_directions_and_evens_out_their_lengths(shape):
    torch.manual_seed(3)
    matrix = torch.randn(shape)
    found = airbench_versions.orthogonalized(matrix)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    projected = u.T @ found @ v.T
    assert 0.5 < torch.diag(projected).min() and torch.diag(projected).max() < 1.5
    assert (projected - torch.diag(torch.diag(projected))).abs().max() < 0.05  # bfloat16


def test_lookahead_merges_statistics_as_well_as_weights():
    network = torch.nn.BatchNorm2d(2)
    lookahead = airbench_versions.Lookahead(network)
    network.running_mean.fill_(1.0)
    lookahead.merge(0.25)
    torch.testing.assert_close(network.running_mean, torch.full((2,), 0.75))
    network.running_mean.fill_(9.0)
    lookahead.merge(1.0)
    torch.testing.assert_close(network.running_mean, torch.full((2,), 0.75))


@pytest.mark.parametrize("version", published.AIRBENCH)
def test_it_learns_and_test_time_augmentation_agrees_with_one_by_one(version, images):
    losses = []
    given = args("--version", version, "--batch-size", 20, "--epochs", 5, "--precision", "float32")
    few = images[0][::3], images[1][::3]  # 67 of all classes: 3 steps an epoch
    network, seconds, steps = airbench94.train(*few, given, say=lambda text: losses.append(float(text.split()[3])))
    assert steps == 15 and seconds > 0
    assert losses[-1] < losses[0]  # of step 15 and of step 10
    accuracy, augmented = airbench_parts.accuracies(network, *few, "float32")
    assert accuracy > 0.2 and augmented > 0.2
    # Once more by hand, one image: six windows, six weights.
    image = images[0][:1]
    padded = np.pad(image, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
    mean = 0
    with torch.inference_mode():
        for corner, weight in ((1, 0.25), (0, 0.125), (2, 0.125)):
            window = padded[:, corner : corner + 32, corner : corner + 32]
            for view in (window, window[:, :, ::-1].copy()):
                mean = mean + weight * network(airbench_parts.standardized(torch.from_numpy(view)))
    assert airbench_parts.accuracies(network, image, mean.argmax(1), "float32")[1] == 1.0


def test_bad_input_is_answered_in_a_line():
    done = run(SCRIPT, "--data", "shapes10", "--batch-size", 20_000, status=1)
    assert "--batch-size 20000: larger than the 10,000 training images" in done.stderr
    done = run(SCRIPT, "--epochs", "nan", status=2)
    assert done.stderr.count("\n") == 1 and "expected a number above 0, found nan" in done.stderr


def test_the_output_names_the_version_and_the_hold_out_is_kept_out_of_training(monkeypatch, capsys):
    seen = {}
    monkeypatch.setattr(airbench94, "train", lambda images, *rest, **more: (seen.update(train=images), 1.0, 1))
    monkeypatch.setattr(airbench94, "accuracies", lambda _, images, *rest: seen.update(test=images) or (0.5, 0.5))
    airbench94.main(args("--data", "shapes10", "--holdout", "--version", "airbench94_muon"))
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("airbench94_muon: airbench94_muon.py of github.com/KellerJordan/cifar10-airbench at commit")
    assert "shapes10, hold-out" in first and last.startswith("accuracy=0.5000 accuracy_tta=0.5000 seconds=1.0")
    data = load("shapes10")
    np.testing.assert_array_equal(torch.cat([seen["train"], seen["test"]]), data.train_images)
    assert len(seen["test"]) == 1000


def test_the_versions_on_the_command_line_are_those_that_exist():
    assert list(published.AIRBENCH) == list(airbench_versions.VERSIONS)
