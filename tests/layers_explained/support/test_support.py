"""How the walkthroughs answer bad use: the command line, runs that do not fit, documents, checks."""

import numpy as np
import pytest

from core import model
from layers_explained import convolution, pooling
from layers_explained.support import checks, documents
from layers_explained.support.constants import Problem


def test_run_alone_means_the_latest(main, runs_dir, tmp_path):
    status, out, _ = main(convolution, "--run", "--runs-dir", runs_dir, "--out", tmp_path / "f.png")
    assert status == 0 and "run      classic" in out


def test_a_document_that_names_nothing():
    with pytest.raises(Problem, match=r"'printed: nonsense' names nothing in convolution\.py"):
        documents.render("<!-- printed: nonsense -->\n<!-- end -->", convolution.WALKTHROUGH)


def test_a_gradient_of_zeros_checks_nothing():
    zero = {"x": np.zeros(3)}
    (check,) = checks.check_gradients(lambda x: 0.0, zero, zero)
    assert check.error == 0 and not check.passes
    with pytest.raises(Problem, match="zero everywhere"):
        checks.gradient_check(lambda x: 0.0, zero, zero)


def test_a_gradient_of_the_wrong_shape_is_named():
    (check,) = checks.check_gradients(lambda x: x.sum(), {"x": np.ones(3)}, {"x": np.ones([1, 3])})
    assert check.finding == "dL/dx has shape [1, 3]"


def test_a_wrong_gradient_has_another_taylor_slope():
    point = {"x": np.arange(1.0, 4.0)}
    assert checks.taylor(lambda x: np.sum(x**3), point, {"x": 3 * point["x"] ** 2})[2] == pytest.approx(2, abs=0.05)
    with pytest.raises(Problem, match="Taylor slope"):
        checks.taylor_check(lambda x: np.sum(x**3), point, {"x": 2 * point["x"] ** 2})


def test_implementations_that_differ_are_named():
    pair = [("loops", lambda: (np.zeros(2), np.zeros(3))), ("NumPy", lambda: (np.zeros(2), np.ones(3)))]
    with pytest.raises(Problem, match=r"implementation 2 \(NumPy\) and implementation 1 differ by 1.0e\+00 in dk;"):
        checks.compare_implementations(iter(pair), names=("y", "dk"))


@pytest.mark.parametrize(("arguments", "status", "words"), [
    (["--run", "nowhere"], 1, ["nowhere", "modern"]),
    (["--run", "x\x1b[31m\ny"], 1, [r"x\x1b[31m\ny"]),
    (["x\x1b[31m"], 2, [r"x\x1b[31m: no such argument"]),
    (["--run", "odd"], 1, ["odd/config.json", "cannot be built", "'conv1'", "was it edited?"]),
    (["--run", "debug", "--image", "2000000"], 1, ["--image 2000000", "0 to"]),
    (["--run", "debug", "--image", "-1"], 1, ["--image -1"]),
    (["--run", "debug", "--layer", "conv9"], 1, ["--layer conv9", "it has conv1"]),
    (["--run", "debug", "--layer", "relu1"], 1, ["--layer relu1"]),
    (["--run", "debug", "--image", "two"], 2, ["--image", "two"]),
    (["--rnu", "debug"], 2, ["--rnu", "did you mean --run?"]),
    (["--run", "older"], 1, ["conv1/kernel", "another network", "train it again"]),
    (["--run", "gone"], 1, ["settings.network", "speed128"]),
])  # fmt: skip
def test_bad_arguments_get_a_line(main, one_line, runs_dir, arguments, status, words):
    found, _, err = main(convolution, *arguments, "--runs-dir", runs_dir)
    assert found == status
    assert "\x1b" not in err
    one_line(err, *words)


def test_a_run_keeps_its_network_when_core_model_is_edited(main, runs_dir, monkeypatch, tmp_path):
    monkeypatch.setitem(model.NETWORKS, "debug", model.NETWORKS["classic"])
    status, out, err = main(convolution, "--run", "kept", "--runs-dir", runs_dir, "--out", tmp_path / "figure.png")
    assert (status, err) == (0, "") and "run      kept, network debug" in out


def test_nothing_printed_is_a_command_for_the_terminal(main, runs_dir, tmp_path):
    folder = tmp_path / "a\x1b[31mb"
    folder.symlink_to(runs_dir / "debug")
    status, out, _ = main(convolution, "--run", folder)
    assert status == 0 and "\x1b" not in out and out.count(r"a\x1b[31mb") == 2  # the run, and where the figure is


def test_a_difference_counts_beside_the_largest_number():
    def pair(scale, gap):
        yield "loops", lambda: (np.array([1, scale]),)
        yield "NumPy", lambda: (np.array([1, scale + gap]),)

    checks.compare_implementations(pair(1e6, 1e-5), names=("y",))
    for scale, gap in ((1e6, 1e-3), (1.0, 1e-9), (1e-3, 1e-9), (np.inf, 1.0)):
        with pytest.raises(Problem, match="one of the two was changed"), np.errstate(invalid="ignore"):
            checks.compare_implementations(pair(scale, gap), names=("y",))


@pytest.mark.parametrize("arguments", [["--image", "3"], ["--layer", "conv1"], ["--docs", "--run"], ["more"]])
def test_arguments_that_do_not_go_together(main, one_line, arguments):
    status, _, err = main(convolution, *arguments)
    assert status == 2
    one_line(err, "see --help")


def test_a_figure_that_cannot_be_written(tmp_path):
    for out in (tmp_path, tmp_path / "figure.nonsense"):
        with pytest.raises(Problem, match="--out"):
            documents.save(pooling.WALKTHROUGH.figure(), out)
