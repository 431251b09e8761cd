"""Predictions for image files: the preprocessing, the numbers, the words, and what happens to bad input."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image
from runner import run, tenth_of_shapes10

from analysis import predict
from analysis.support.classifier import network_input
from analysis.support.image_file import ImageFile
from analysis.support.network import restored_network
from core.data import shapes10
from core.data.batches import standardize
from core.run import checkpoints
from core.run.checkpoints import CheckpointError
from core.run.errors import RunError

RANDOM = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    """uint8 noise."""
    return RANDOM.integers(0, 256, shape, np.uint8)


# The preprocessing.


def test_an_image_of_the_training_set_stays_as_it_is():
    images = noise(3, 32, 32, 3)
    np.testing.assert_array_equal(network_input(images), images)


@pytest.mark.parametrize("height, width, top, left", [(64, 100, 0, 18), (101, 64, 18, 0), (64, 65, 0, 0)])
def test_the_centre_square_is_taken(height, width, top, left):
    images = noise(2, height, width, 3)
    square = images[:, top : top + 64, left : left + 64]
    np.testing.assert_array_equal(network_input(images), network_input(square))


def test_half_the_size_by_hand():
    """Reduced by 2, a triangle 4 pixels wide: weights 1/8, 3/8, 3/8, 1/8 along each axis."""
    image = noise(1, 64, 64, 3)
    weights = np.array([1, 3, 3, 1]) / 8
    window = image[0, 19:23, 39:43].astype(float)  # around output pixel (10, 20)
    expected = np.einsum("hwc,h,w->c", window, weights, weights)
    assert np.abs(network_input(image).numpy()[0, 10, 20] - expected).max() <= 0.5 + 1e-4


def test_fine_patterns_turn_grey_instead_of_aliasing():
    checkers = np.indices((320, 320)).sum(axis=0) % 2 * 255
    found = network_input(np.repeat(checkers[None, ..., None], 3, axis=3).astype(np.uint8)).numpy()
    assert found.min() >= 126 and found.max() <= 129


@pytest.mark.parametrize("size", [(8, 9), (31, 33), (1000, 20)])
def test_one_colour_stays_that_colour(size):
    assert (network_input(np.full((1, *size, 3), (0, 130, 255), np.uint8)).numpy() == (0, 130, 255)).all()


# The script.


@pytest.fixture
def predicted(straight, tmp_path, monkeypatch, capsys):
    """predicted([pixels or path, ...], *options) runs the script on a copy of a small run, without drawing.

    Returns (exit status, standard output, standard error).
    """
    monkeypatch.setattr(predict, "draw", lambda *given, out: None)
    shutil.copytree(straight, tmp_path / "runs" / "it")
    monkeypatch.setattr(predict, "data_of", lambda run, data_dir: tenth_of_shapes10())

    def call(images, *options):
        paths = []
        for number, image in enumerate(images):
            if isinstance(image, np.ndarray):
                Image.fromarray(image).save(tmp_path / f"image{number}.png")
            paths.append(str(tmp_path / f"image{number}.png" if isinstance(image, np.ndarray) else image))
        common = ["--run", "it", "--runs-dir", str(tmp_path / "runs"), *map(str, options)]
        capsys.readouterr()
        try:
            predict.main(predict.build_parser().parse_args([*paths, *common]))
            status = 0
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return call


def test_the_probabilities_are_those_of_the_network(straight, predicted):
    image = tenth_of_shapes10().test_images[5]
    status, out, error = predicted([image])
    expected = restored_network(straight).probabilities(standardize(image[None]))[0].numpy()
    top = np.argsort(-expected)[:5]
    assert ", ".join(f"{shapes10.CLASSES[k]} {100 * expected[k]:.1f} %" for k in top) in out
    assert (status, error) == (0, "") and "32x32 pixels\n" in out and "after step 60: " in out


def test_an_earlier_checkpoint(straight, predicted):
    image = tenth_of_shapes10().test_images[5]
    _, out, _ = predicted([image], "--step", 30)
    checkpoint = checkpoints.newest(straight, 30)
    expected = restored_network(straight, checkpoint).probabilities(standardize(image[None]))[0].numpy()
    assert f"after step {checkpoint.step}: " in out and f" {100 * expected.max():.1f} %" in out


def test_like_and_unlike_follow_the_energy_of_the_test_images(predicted, monkeypatch):
    data = tenth_of_shapes10()
    energies = iter([[-3.0], [-1.0], np.linspace(-4, -2, 200), np.linspace(-3, 0, 500)])
    monkeypatch.setattr(predict, "energy", lambda logits: np.asarray(next(energies)))
    _, out, _ = predicted([data.test_images[0], data.test_images[1]])
    like, unlike = (line.strip() for line in out.splitlines() if "threshold" in line and "training set" in line)
    assert like == "energy −3.00, threshold −2.10: like the training set"
    assert unlike == "energy −1.00, threshold −2.10: unlike the training set"
    assert "the first 200 test images are below the threshold −2.10. 70 % of 500 test images with shuffled" in out


def test_accuracy_is_measured_on_the_test_images(predicted, monkeypatch):
    data = tenth_of_shapes10()
    image = data.test_images[0]
    right = int(predicted([image])[1].partition(": ")[2].partition(".")[0])
    everything_wrong = dataclasses.replace(data, test_labels=np.full_like(data.test_labels, 10))
    monkeypatch.setattr(predict, "data_of", lambda run, data_dir: everything_wrong)
    assert 15 < right < 90 and "0.0 % of the first 200 test images" in predicted([image])[1]


def test_more_images_make_more_figures(predicted, monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(predict, "draw", lambda predictions, *_, out: drawn.append((predictions, out)))
    _, out, _ = predicted(list(tenth_of_shapes10().test_images[:4]))
    assert [(len(predictions), out.name) for predictions, out in drawn] == [(3, "predict.png"), (1, "predict-2.png")]
    assert out.count("drawn    ") == 2
    predicted(list(tenth_of_shapes10().test_images[:4]), "--out", tmp_path / "some.svg")
    assert [out.name for _, out in drawn[2:]] == ["some.svg", "some-2.svg"]


def test_the_figure(tmp_path):
    """The largest probability stands first; an image above the threshold is called unlike the training set."""
    accepted = predict.Acceptance(-2.0, 400, "test", "others", 0.5)
    file = ImageFile(predict.Path("a\n\udcff$b_$.png"), noise(900, 1700, 3), ())
    probabilities = np.array([0.05, 0.6, 0.1, 0.2, 0.02, 0.03])
    for energy, title in ((-3.0, "Like the training set"), (-1.0, "Unlike the training set")):
        prediction = predict.Prediction(file, noise(32, 32, 3), probabilities, energy)
        drawing, axes = predict.style.figure(1, 1)
        predict.draw_classes(axes[0, 0], prediction, tuple("abcdef"), accepted)
        assert [label.get_text() for label in axes[0, 0].get_yticklabels()] == ["b", "d", "c", "a", "f"]
        np.testing.assert_allclose([bar.get_width() for bar in axes[0, 0].patches], [60, 20, 10, 5, 3])
        assert axes[0, 0].get_title() == title
        predict.style.close(drawing)
    predict.draw([prediction] * 3, tuple("abcdef"), accepted, "Predictions", tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 100_000


def test_bad_files_are_a_line_each_and_the_others_are_predicted(predicted, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    bad = [tmp_path / "text.jpg", tmp_path, tmp_path / "none\x1b[31m.png", noise(1, 1, 3)]
    status, out, error = predicted([*bad, noise(50, 70, 3)])
    assert status == 1 and out.count("image    ") == 1 and "70x50 pixels\n" in out
    lines = error.splitlines()
    assert len(lines) == 4 and all(line.startswith("predict.py: ") for line in lines) and "\x1b" not in error
    status, out, error = predicted(bad[:1])
    assert (status, out) == (1, "") and error.count("\n") == 1


def test_what_was_done_to_the_file_is_said(predicted):
    grey = np.repeat(noise(40, 40, 1), 3, axis=2)[..., 0]
    assert "40x40 pixels; greyscale: red, green and blue are the same\n" in predicted([grey])[1]


def test_a_name_with_a_line_end_stays_on_its_line(predicted, tmp_path):
    path = tmp_path / "a\n\udcffb.png"
    Image.fromarray(noise(40, 40, 3)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(path)
    assert "a\\n\\udcffb.png, 40x40 pixels\n" in predicted([path])[1]


def test_a_run_without_checkpoints(predicted, tmp_path):
    shutil.rmtree(tmp_path / "runs/it/checkpoints")
    with pytest.raises(CheckpointError, match="no checkpoint in it yet; one is written at the end of each epoch"):
        predicted([noise(40, 40, 3)])


def test_a_network_whose_weights_were_lost(predicted, tmp_path):
    folder = tmp_path / "runs" / "it"
    tensors = checkpoints.newest(folder).tensors
    checkpoints.save(folder, 61, tensors | {"dense1/bias": np.full(10, np.nan, np.float32)}, keep=5)
    with pytest.raises(RunError, match=r"step-00000061: the network's logits are not finite; `analysis/diagnose\.py`"):
        predicted([noise(40, 40, 3)])


def test_the_square_that_is_cut_out_is_drawn():
    drawing, axes = predict.style.figure(1, 1)
    predict.draw_file(axes[0, 0], ImageFile(predict.Path("a" * 90), noise(900, 1700, 3), ()))
    (square,) = axes[0, 0].patches
    assert (square.get_xy(), square.get_width(), square.get_height()) == ((400, 0), 900, 900)
    assert len(axes[0, 0].get_title()) <= 28
    predict.style.close(drawing)


def test_the_command_line(capsys):
    for arguments, status, words in ((["--help"], 0, "IMAGE ..."), ([], 2, "arguments are required: IMAGE")):
        with pytest.raises(SystemExit) as end:
            predict.build_parser().parse_args(arguments)
        assert end.value.code == status and words in "".join(capsys.readouterr())


def test_a_truncated_image_as_a_user_names_it(straight, tmp_path):
    Image.fromarray(noise(40, 40, 3)).save(tmp_path / "cat.png")
    content = (tmp_path / "cat.png").read_bytes()
    (tmp_path / "cat.png").write_bytes(content[: len(content) // 2])
    done = run("analysis/predict.py", tmp_path / "cat.png", "--run", straight, status=1)
    told = "a PNG that is truncated or damaged; open it in a viewer and save it again"
    assert (done.stdout, done.stderr) == ("", f"predict.py: {tmp_path / 'cat.png'}: {told}\n")
