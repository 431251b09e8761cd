"""The penultimate layer: principal components, separability, sentences that follow the numbers, real runs."""

import itertools
import json
import re
import shutil

import numpy as np
import pytest
from readable import assert_readable
from runner import run, tenth_of_shapes10, train_here

from analysis import embedding
from analysis.embedding import Embedding
from analysis.support import common, style
from analysis.support.network import restored_network
from analysis.support.run import Run
from core.data.batches import standardize
from core.run import checkpoints, run_folder

RANDOM = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], 40)
MEANS = np.array([[3.0, 0, 0, 0], [0, 0, 0, 0], [0, 5.0, 0, 0]])  # of three classes in four dimensions
NAMES = ["cat", "dog", "ship"]


def clouds(spread: float) -> np.ndarray:
    """Features of three classes, each with this standard deviation in every direction. [120,4]"""
    return MEANS[LABELS] + spread * np.random.default_rng(1).normal(size=[120, 4])


def test_the_plane_is_that_of_the_covariance_matrix():
    features = RANDOM.normal(size=[300, 6]) @ RANDOM.normal(size=[6, 6]) + 7
    mean, directions = embedding.principal_plane(features)
    variances, vectors = np.linalg.eigh(np.cov(features.T, ddof=0))
    np.testing.assert_allclose(np.abs(directions.T @ vectors[:, [-1, -2]]), np.eye(2), atol=1e-8)
    shown = Embedding(1, features).on((mean, directions))
    np.testing.assert_allclose(shown.var(axis=0), variances[[-1, -2]])
    np.testing.assert_allclose(shown.mean(axis=0), 0, atol=1e-9)
    assert Embedding(1, features).fraction_shown((mean, directions)) == pytest.approx(
        variances[-2:].sum() / variances.sum()
    )
    assert (directions[np.abs(directions).argmax(axis=0), [0, 1]] > 0).all()


def test_the_plane_of_a_layer_of_one_number():
    features = RANDOM.normal(size=[50, 1])
    plane = embedding.principal_plane(features)
    assert not Embedding(1, features).on(plane)[:, 1].any()
    assert Embedding(1, features).fraction_shown(plane) == pytest.approx(1)


def test_separability_by_hand():
    features = np.array([[0.0], [2.0], [4.0], [6.0]])
    # Means 1 and 5 around 3: between 4 * 4 = 16, total 9 + 1 + 1 + 9 = 20.
    assert embedding.separability(features, np.array([0, 0, 1, 1])) == pytest.approx(0.8)
    assert embedding.separability(np.ones([4, 3]), np.array([0, 0, 1, 1])) == 0
    assert embedding.separability(MEANS[LABELS], LABELS) == pytest.approx(1)


def test_separability_of_noise_is_classes_over_images():
    found = [embedding.separability(RANDOM.normal(size=[120, 5]), LABELS) for _ in range(300)]
    assert np.mean(found) == pytest.approx(2 / 119, rel=0.05)


def test_separability_ignores_rotation_position_and_scale():
    turned = np.linalg.qr(RANDOM.normal(size=[4, 4]))[0]
    assert embedding.separability(5 * clouds(1) @ turned + 9, LABELS) == pytest.approx(
        embedding.separability(clouds(1), LABELS)
    )


def test_the_closest_classes():
    a, b, apart = embedding.closest_classes(clouds(0.5), LABELS)
    assert (a, b) == (0, 1) and apart == pytest.approx(3 / 0.5, rel=0.2)
    farther = clouds(0.5) + np.array([9.0, 0, 0, 0]) * (LABELS == 0)[:, np.newaxis]
    assert embedding.closest_classes(farther, LABELS)[:2] == (1, 2)


def read(*spreads: float) -> str:
    found = [Embedding(10 * (i + 1), clouds(spread)) for i, spread in enumerate(spreads)]
    return embedding.reading(found, embedding.principal_plane(found[-1].features), LABELS, NAMES, "relu4", 0.07)


def test_the_sentences_follow_the_numbers():
    at = {spread: f"{embedding.separability(clouds(spread), LABELS):.2f}" for spread in (4, 1, 0.3)}
    assert at[4] < at[1] < at[0.3]
    text = read(4, 1, 0.3)
    assert text.startswith(
        "Separability, the fraction of the variance of relu4 (4 numbers an image) that lies between "
    )
    assert f"grows from {at[4]} at step 10 to {at[0.3]} at step 30; of the pixels it is 0.07." in text
    assert "Closest classes there: cat and dog, their means 10." in text and "largest" not in text
    assert f"falls from {at[1]} at step 10 to {at[4]} at step 20;" in read(1, 4)
    assert f"does not change: {at[1]} at step 10, {at[1]} at step 20;" in read(1, 1)
    assert f"is {at[1]} at step 10;" in read(1)
    assert f"It is largest at step 20, {at[0.3]}." in read(1, 0.3, 4)
    assert int(re.search(r"shows (\d+) % of the variance at step 10\.", read(4))[1]) < 80
    assert int(re.search(r"shows (\d+) % of the variance at step 10\.", read(0.3))[1]) > 95


def test_a_layer_without_variance():
    flat = [Embedding(1, np.ones([120, 4]))]
    text = embedding.reading(flat, embedding.principal_plane(flat[0].features), LABELS, NAMES, "relu4", 0.07)
    assert text.endswith("At step 1 the output of relu4 is the same for every image.") and "is 0.00 at step 1" in text


# Colours: what a colour-blind person sees (Machado et al. 2009, severity 1), and how far apart that is in CIELAB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def smallest_distance(colours, vision) -> float:
    """The smallest distance in CIELAB between two of the colours; 2.3 is just noticeable side by side."""
    srgb = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in colours])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.transpose(VISION[vision]), 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = linear @ np.transpose(to_xyz) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
    return min(np.linalg.norm(one - other) for one, other in itertools.combinations(lab, 2))


@pytest.mark.parametrize("vision", VISION)
def test_the_colour_blind_can_tell_the_classes_apart(vision):
    assert smallest_distance(embedding.COLOURS, vision) > 15
    assert len(set(embedding.MARKERS)) == len(embedding.COLOURS) == 10


def test_the_usual_ten_colours_would_not_do():
    from matplotlib import colormaps, colors

    assert smallest_distance([colors.to_hex(colour) for colour in colormaps["tab10"].colors], "protanopia") < 5


# Runs.


@pytest.fixture(scope="module", autouse=True)
def a_tenth():
    """The data set of the runs of this file, drawn once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.data.load", lambda *given: tenth_of_shapes10())
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory, a_tenth):
    """A run with a checkpoint every three steps, stopped at step 25. Read only."""
    runs_dir = tmp_path_factory.mktemp("runs")
    train_here(runs_dir, "it", "--epochs", 2, "--checkpoint-every", 3, "--stop-at", 25, "--diagnostics", "off")
    return runs_dir / "it"


def embedded(folder, tmp_path, *args) -> None:
    """What `python analysis/embedding.py FOLDER ...` does, in this process."""
    given = [folder, "--out", tmp_path / "it.png", "--images", 150, *args]
    common.answer(embedding.main, embedding.build_parser().parse_args([*map(str, given)]))


def test_the_features_times_the_last_matrix_are_the_logits(trained):
    network, images = restored_network(trained), tenth_of_shapes10().test_images[:50]
    found, layer = embedding.embed(Run(trained), checkpoints.newest(trained), images)
    last = network.layers[-1]
    logits = found.features @ last.kernel.numpy() + last.bias.numpy()
    np.testing.assert_allclose(logits, network(standardize(images), training=False), rtol=1e-4, atol=1e-4)
    assert layer == "pool1" and found.features.shape == (50, 512)


def test_six_checkpoints_from_the_first_to_the_last(trained, tmp_path, capsys):
    saved = [checkpoints.step_of(path) for path in checkpoints.newest_first(trained)][::-1]
    chosen = [checkpoint.step for checkpoint in embedding.chosen_checkpoints(trained, None)]
    assert len(chosen) == embedding.MOST < len(saved) and chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (saved[0], saved[-1])
    damaged = shutil.copytree(trained, tmp_path / "damaged")
    for step in (chosen[0], chosen[-1]):
        next((damaged / checkpoints.FOLDER).glob(f"*{step:08d}/{checkpoints.TENSORS}")).write_bytes(b"")
    assert [c.step for c in embedding.chosen_checkpoints(damaged, None)][-1] == saved[-2]
    assert f"passed over: {damaged}" in capsys.readouterr().out


def test_the_figure_and_its_slide(trained, tmp_path, capsys, monkeypatch):
    texts, drawings, save = [], [], style.save

    def keep_and_save(drawing, path):
        texts.append(assert_readable(drawing))
        drawings.append(drawing)
        save(drawing, path)

    monkeypatch.setattr(style, "save", keep_and_save)
    embedded(trained, tmp_path)
    *lines, conclusion, _ = capsys.readouterr().out.splitlines()
    of_steps = dict(
        re.fullmatch(r"step +(\d+): separability (.*), the plane shows .*", line).groups() for line in lines
    )
    assert len(of_steps) == 6 and conclusion.endswith("standard deviations apart. 150 of 200 test images.")
    titles = [text for text in texts[0] if text.startswith("step ")]
    for title, (step, value) in zip(titles, of_steps.items(), strict=True):
        assert float(title.removeprefix(f"step {step}: separability ")) == pytest.approx(float(value), abs=0.0056)
    assert set(tenth_of_shapes10().class_names) <= {*texts[0]}
    step = list(of_steps)[2]
    embedded(trained, tmp_path, "--step", step)
    line, *_ = capsys.readouterr().out.splitlines()
    assert line == lines[2]  # on the same axes, those of the last checkpoint
    assert [text for text in texts[1] if text.startswith("step ")] == [titles[2]]
    embedded(trained, tmp_path, "--panel", "plane")
    assert capsys.readouterr().out.splitlines()[0] == lines[-1]
    assert [text for text in texts[2] if text.startswith("step ")] == [titles[-1]]
    drawings.clear()
    embedded(trained, tmp_path, "--panel", "separability")
    (curve, pixels) = drawings[0].axes[0].lines
    assert curve.get_xdata().tolist() == [int(step) for step in of_steps]
    np.testing.assert_allclose(curve.get_ydata(), [float(value) for value in of_steps.values()], atol=0.00051)
    assert f"of the pixels it is {pixels.get_ydata()[0]:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_any_number_of_checkpoints_and_long_names(count, tmp_path, monkeypatch):
    labels, checked = np.repeat(np.arange(10), 12), []
    found = [Embedding(1000 * i, RANDOM.normal(size=[120, 3])) for i in range(1, count + 1)]
    names = [style.shortened(f"{letter}-class-with-a-long-name", embedding.LETTERS) for letter in "abcdefghij"]
    monkeypatch.setattr(
        style, "save", lambda drawing, _: (checked.extend(assert_readable(drawing)), style.close(drawing))
    )
    plane = embedding.principal_plane(found[-1].features)
    text = embedding.reading(found, plane, labels, names, "relu4", 0.1)
    embedding.draw(found, plane, labels, names, "title", text, tmp_path / "it.svg")
    assert {*names} <= {*checked} and sum(one.startswith("step ") for one in checked) == count


def test_what_a_user_can_do_wrong(trained, tmp_path, capsys):
    def line(folder, *args) -> str:
        with pytest.raises(SystemExit) as left:
            embedded(folder, tmp_path, *args)
        assert "\n" not in str(left.value)
        return str(left.value)

    for count in ("0", "99", "many"):
        with pytest.raises(SystemExit) as left:
            embedded(trained, tmp_path, "--images", count)
        assert left.value.code == 2 and f"expected 100 or more, found '{count}'" in capsys.readouterr().err
    there = line(trained, "--step", 1)
    assert "--step 1: " in there and "25; choose one of them" in there
    bare = shutil.copytree(trained, tmp_path / "bare")
    config = json.loads((bare / run_folder.CONFIG).read_text())
    run_folder.write_config(bare, config | {"data": config["data"] | {"fingerprint": "other"}})
    assert "trained on other bytes" in line(bare)
    shutil.rmtree(bare / checkpoints.FOLDER)
    assert "no checkpoint in it yet" in line(bare)


def test_the_script_explains_itself():
    assert "--step N" in run("analysis/embedding.py", "--help").stdout
