"""Predictions for image files: the preprocessing, the numbers, the words, and what happens to bad input."""

import dataclasses
import io
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from readable import assert_readable
from runner import run, tenth_of_shapes10

from analysis import predict
from analysis.support.classifier import network_input, resized, views_of
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


def test_the_whole_image_is_squeezed_into_a_square():
    """Twice as wide as high: an output pixel is twice as wide, and nothing is cut off."""
    image = np.zeros((1, 32, 64, 3), np.uint8)
    image[:, :, :2] = 255
    found = resized(image).numpy()
    assert found.shape == (1, 32, 32, 3) and (found[0, :, 0] > 180).all() and not found[0, :, 2:].any()
    assert not network_input(image).numpy().any()  # the centre square has lost it


def test_views_by_hand():
    wide, square = noise(2, 40, 60, 3), noise(2, 32, 32, 3)
    one, four = views_of(tf.constant(wide), 1).numpy(), views_of(tf.constant(wide), 4).numpy()
    np.testing.assert_array_equal(one, network_input(wide)[None])
    np.testing.assert_array_equal(four[:2], [network_input(wide), resized(wide)])
    np.testing.assert_array_equal(four[2:], four[:2, :, :, ::-1])
    np.testing.assert_array_equal(views_of(tf.constant(square), 4), [square, square[:, :, ::-1]])


def test_half_the_size_on_grey_by_hand():
    images = noise(3, 32, 32, 3)
    found = predict.half_size(images)
    assert (found[:, :8] == 128).all() and (found[:, :, 24:] == 128).all() and found.dtype == np.uint8
    np.testing.assert_array_equal(found[1, 8, 23], np.rint(images[1, 0:2, 30:32].mean(axis=(0, 1))))


# Photographs: test images enlarged, as a camera's file.


def test_an_enlarged_image_arrives_as_itself():
    """480 pixels wide, a JPEG, with as much again beside it: of all test images the nearest one is the image itself."""
    images, found = tenth_of_shapes10().test_images[:60], []
    for image in images:
        photograph, content = Image.new("RGB", (960, 480), "white"), io.BytesIO()
        photograph.paste(Image.fromarray(image).resize((480, 480), Image.BICUBIC), (240, 0))
        photograph.save(content, "JPEG", quality=85)
        found.append(network_input(tf.io.decode_jpeg(content.getvalue())[None]).numpy()[0])
    distances = np.abs(np.array(found, float)[:, None] - images).mean(axis=(2, 3, 4))
    np.testing.assert_array_equal(distances.argmin(axis=1), np.arange(60))
    assert np.diagonal(distances).mean() < 16


# The script.


@pytest.fixture
def predicted(straight, tmp_path, monkeypatch, capsys):
    """predicted([pixels or path, ...], *options) runs the script on a copy of a small run, without drawing.

    Returns (exit status, standard output, standard error).
    """
    monkeypatch.setattr(predict, "draw", lambda *given, out, only: None)
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


def test_four_views_are_their_mean(straight, predicted):
    image = noise(40, 60, 3)
    network = restored_network(straight)
    views = views_of(tf.constant(image[None]), 4)
    logits = [network(standardize(view), training=False).numpy()[0].astype(float) for view in views]
    expected = np.mean([np.exp(z) / np.exp(z).sum() for z in logits], axis=0)
    _, out, _ = predicted([image], "--views", 4)
    top = expected.argmax()
    assert f"         {shapes10.CLASSES[top]} {100 * expected[top]:.1f} %" in out
    mean = np.mean([-np.log(np.exp(z).sum()) for z in logits])
    assert f"energy {predict.signed(mean)}, threshold" in out
    assert predicted([image], "--views", 3)[0] == 2


def test_what_to_expect_follows_the_numbers(straight, predicted):
    line = "Of the same test images at half the size, on grey, it has 30.0 % right"
    assert predict.expected(80, 30, "test") == f"{line}: let the object fill the image."
    assert predict.expected(33, 30, "test") == f"{line}."
    _, out, _ = predicted([noise(40, 60, 3)])
    data = tenth_of_shapes10()
    found, _ = predict.evaluated(restored_network(straight), predict.half_size(data.test_images), 1)
    right = np.mean(found.argmax(axis=1) == data.test_labels)
    assert f"32x32 pixels. Of the same test images at half the size, on grey, it has {100 * right:.1f} % right" in out


def test_an_earlier_checkpoint(straight, predicted):
    image = tenth_of_shapes10().test_images[5]
    _, out, _ = predicted([image], "--step", 30)
    checkpoint = checkpoints.newest(straight, 30)
    expected = restored_network(straight, checkpoint).probabilities(standardize(image[None]))[0].numpy()
    assert f"after step {checkpoint.step}: " in out and f" {100 * expected.max():.1f} %" in out


def test_like_and_unlike_follow_the_energy_of_the_test_images(predicted, monkeypatch):
    data = tenth_of_shapes10()
    energies = iter([[-3.0], [-1.0], np.linspace(-4, -2, 200), np.linspace(-3, 0, 500), np.zeros(200)])
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
    monkeypatch.setattr(predict, "draw", lambda predictions, *_, out, only: drawn.append((predictions, out)))
    _, out, _ = predicted(list(tenth_of_shapes10().test_images[:4]))
    assert [(len(predictions), out.name) for predictions, out in drawn] == [(3, "predict.png"), (1, "predict-2.png")]
    assert out.count("drawn    ") == 2
    predicted(list(tenth_of_shapes10().test_images[:4]), "--out", tmp_path / "some.svg")
    assert [out.name for _, out in drawn[2:]] == ["some.svg", "some-2.svg"]


def test_the_figure(tmp_path, monkeypatch):
    """The largest probability stands first; an image above the threshold is called unlike the training set."""
    accepted = predict.Acceptance(-2.0, 400, "test", "others", 0.5)
    file = ImageFile(predict.Path("a\n\udcff$b_$.png"), noise(900, 1700, 3), ())
    probabilities = np.array([0.05, 0.6, 0.1, 0.2, 0.02, 0.03])
    for energy, title in ((-3.0, "Like the training set"), (-1.0, "Unlike the training set")):
        prediction = predict.Prediction(file, noise(4, 32, 32, 3), probabilities, energy)
        drawing, axes = predict.style.figure(1, 1)
        predict.draw_classes(axes[0, 0], prediction, tuple("abcdef"), accepted)
        assert [label.get_text() for label in axes[0, 0].get_yticklabels()] == ["b", "d", "c", "a", "f"]
        np.testing.assert_allclose([bar.get_width() for bar in axes[0, 0].patches], [60, 20, 10, 5, 3])
        assert axes[0, 0].get_title() == title
        predict.style.close(drawing)
    figures, written = [], []
    monkeypatch.setattr(predict.style, "save", lambda drawing, path: figures.append(drawing))
    one = dataclasses.replace(prediction, inputs=prediction.inputs[:1])
    for some in ([one] * 3, [prediction], [one]):
        for only in (None, *predict.PANELS):
            predict.draw(some, tuple("abcdef"), accepted, "run on data", tmp_path / "figure.png", only)
            written.append(set(assert_readable(figures[-1], least=1)))
            predict.style.close(figures[-1])
    whole, files, inputs, classes = written[:4]
    assert "Predictions: run on data" in whole and "Input of the network: run on data" in inputs
    assert {"probability (%)", "Unlike the training set"} <= classes & whole
    assert "probability (%)" not in files | inputs and "4 views: inputs of the network" in written[4]


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
    for arguments, status, words in (
        (["--help"], 0, "IMAGE ..."),
        (["a.png", "--panel", "x"], 2, "invalid choice"),
        ([], 2, "arguments are required: IMAGE"),
    ):
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
