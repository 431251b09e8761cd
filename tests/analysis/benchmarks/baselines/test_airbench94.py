"""The airbench peer: its parts against the recipe's mathematics, and a loss that falls."""

import numpy as np
import pytest
from runner import run

torch = pytest.importorskip("torch")

from analysis.benchmarks.baselines import airbench94 as peer


@pytest.fixture
def pictures(small_data):
    """Training pictures uint8 [200,32,32,3] and labels int64 [200]."""
    return torch.from_numpy(small_data.train_images), torch.from_numpy(small_data.train_labels.astype(np.int64))


def args(*given):
    return peer.command_line().parse_args(map(str, given))


def test_the_network_has_the_recipes_size_and_starts_with_the_identity():
    network = peer.Airbench()
    # All but the scales of the batch norms, which stay 1; the whitening kernel is frozen later, by the training.
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 1_971_640
    weight = network.blocks[0][0].weight.detach()  # 24 -> 64
    x = torch.randn(1, 24, 5, 5)
    torch.testing.assert_close(torch.nn.functional.conv2d(x, weight, padding=1)[:, :24], x)
    assert weight[24:].abs().max() <= 1 / (24 * 9) ** 0.5
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_whitened_patches_are_white(pictures):
    images = peer.standardized(pictures[0])
    kernel = peer.whitening_kernel(images)
    y = torch.nn.functional.conv2d(images, kernel)
    torch.testing.assert_close(y[:, 12:], -y[:, :12])
    rows = y[:, :12].permute(0, 2, 3, 1).reshape(-1, 12).double()
    covariance = rows.T @ rows / len(rows)
    assert (covariance - torch.diag(torch.diag(covariance))).abs().max() < 1e-3
    assert 0.1 < torch.diag(covariance).min() and torch.diag(covariance).max() < 1.001  # l / (l + 5e-4)


def test_views_shift_and_mirror(pictures):
    images = pictures[0][:4]
    padded = peer.reflected(images, 2)
    assert padded.shape == (4, 36, 36, 3)
    np.testing.assert_array_equal(padded, np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], "reflect"))
    corners, mirrored = torch.tensor([[2, 2], [0, 4], [2, 2], [1, 0]]), torch.tensor([False, False, True, True])
    seen = peer.views(padded, corners, mirrored)
    np.testing.assert_array_equal(seen[0], images[0])
    np.testing.assert_array_equal(seen[1], padded[1, 0:32, 4:36])
    np.testing.assert_array_equal(seen[2], images[2].flip(1))
    np.testing.assert_array_equal(seen[3], padded[3, 1:33, 0:32].flip(1))


def test_flips_alternate_and_every_picture_comes_once_an_epoch(monkeypatch):
    monkeypatch.setattr(peer, "SHIFT", 0)
    ramp = torch.arange(32, dtype=torch.uint8).expand(32, 32)[..., None].expand(32, 32, 3)  # brighter to the right
    images = ramp.expand(40, 32, 32, 3).contiguous()
    seen = {}
    for epoch, x, labels in peer.batches(images, torch.arange(40), 10, 8):
        for picture, label in zip(x, labels.tolist()):
            seen[epoch, label] = bool(picture[0, 0, 0] > picture[0, 0, 31])
    assert len(seen) == 80
    assert all(seen[0, label] != seen[1, label] for label in range(40))
    assert 5 < sum(seen[0, label] for label in range(40)) < 35


def test_one_update_is_the_recipes_formula():
    torch.manual_seed(1)
    network = peer.Airbench()
    optimizer = peer.optimizer_of(network, 1024)
    k = 1024 * (1 + 1 / (1 - 0.85))
    shift, kernel = network.blocks[0][2].bias, network.dense.weight
    for weight, rate in ((shift, 64 * 11.5 / k), (kernel, 11.5 / k)):
        with torch.no_grad():
            weight.add_(0.5)
        w, v = weight.detach().clone().double(), torch.zeros_like(weight, dtype=torch.float64)
        for _ in range(2):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
            optimizer.zero_grad()
            g = 1 + 0.0153 * 1024 / k / rate * w
            v = 0.85 * v + g
            w = w - rate * (g + 0.85 * v)
        torch.testing.assert_close(weight.detach().double(), w, rtol=1e-5, atol=1e-6)


def test_the_rate_rises_then_falls():
    assert peer.rate_at(0, 100) == pytest.approx(0.2)
    assert peer.rate_at(23, 100) == pytest.approx(1)
    assert peer.rate_at(100, 100) == pytest.approx(0.07)
    assert 0.2 < peer.rate_at(10, 100) < 1 > peer.rate_at(60, 100) > 0.07


def test_lookahead_pulls_both_together():
    network = torch.nn.BatchNorm2d(2)
    lookahead = peer.Lookahead(network)
    network.running_mean.fill_(1.0)  # statistics as well as weights
    lookahead.meet(0.25)
    torch.testing.assert_close(network.running_mean, torch.full((2,), 0.75))
    network.running_mean.fill_(9.0)
    lookahead.meet(1.0)
    torch.testing.assert_close(network.running_mean, torch.full((2,), 0.75))


def test_it_learns_and_six_views_agree_with_one_by_one(pictures):
    losses = []
    given = args("--batch-size", 40, "--epochs", 3, "--precision", "float32", "--data", "shapes10")
    network, seconds, steps = peer.train(*pictures, given, say=lambda text: losses.append(float(text.split()[3])))
    assert steps == 15 and seconds > 0
    assert losses[-1] < losses[0] < np.log(10)  # of step 15 and of step 10
    plain, six = peer.accuracies(network, *pictures, "float32")
    assert plain > 0.15 and six > 0.15
    # Once more by hand, a picture at a time: six windows, six weights.
    image = pictures[0][:1]
    padded = np.pad(image, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
    votes = 0
    with torch.inference_mode():
        for corner, weight in ((1, 0.25), (0, 0.125), (2, 0.125)):
            window = padded[:, corner : corner + 32, corner : corner + 32]
            for seen in (window, window[:, :, ::-1].copy()):
                votes = votes + weight * network(peer.standardized(torch.from_numpy(seen)))
    label = votes.argmax(1)
    assert peer.accuracies(network, image, label, "float32")[1] == 1.0


def test_bad_words_are_answered_in_a_line():
    done = run("analysis/airbench_peer.py", "--data", "shapes10", "--batch-size", 20_000, status=1)
    assert "expected a batch of 1 to 10,000 images" in done.stderr


def test_the_hold_out_is_kept_out_of_training(monkeypatch):
    seen = {}
    monkeypatch.setattr(peer, "train", lambda images, *rest, **more: (seen.update(train=images), 1.0, 1))
    monkeypatch.setattr(peer, "accuracies", lambda _, images, *rest: seen.update(judged=images) or (0.5, 0.5))
    peer.main(args("--data", "shapes10", "--holdout"))
    data = peer.pictures.load("shapes10")
    np.testing.assert_array_equal(torch.cat([seen["train"], seen["judged"]]), data.train_images)
    assert len(seen["judged"]) == 1000
