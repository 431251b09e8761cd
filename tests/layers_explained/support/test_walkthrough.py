"""What every essay promises, and how the scaffold they share answers bad use.

An essay is tested here as soon as docs/layers/ holds its reading version.
"""

import importlib
import subprocess
import sys

import numpy as np
import pytest

from layers_explained import convolution
from layers_explained.support import checks, walkthrough

ESSAYS = sorted(path.stem for path in walkthrough.DOCUMENTS.glob("*.md"))


@pytest.mark.parametrize("name", ESSAYS)
def test_as_a_script_from_another_folder(script, tmp_path, name):
    done = script(f"{name}.py", "--out", tmp_path / "deep" / "slide.png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for section in importlib.import_module(f"layers_explained.{name}").SECTIONS:
        assert f". {walkthrough.title(section)}\n" in done.stdout
    assert (tmp_path / "deep" / "slide.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ESSAYS)
def test_the_reading_version_is_what_the_essay_prints(name):
    module = importlib.import_module(f"layers_explained.{name}")
    document = (walkthrough.DOCUMENTS / f"{name}.md").read_text(encoding="utf-8")
    assert walkthrough.render(document, vars(module)) == document, (
        f"docs/layers/{name}.md has drifted; write it again: python layers_explained/{name}.py --docs"
    )
    assert (walkthrough.DOCUMENTS / f"{name}.png").is_file()
    for section in module.SECTIONS:
        assert f"<!-- printed: {section.__name__} -->" in document


@pytest.mark.parametrize("name", ESSAYS)
def test_numpy_is_enough_but_for_the_upper_rungs(name):
    """Every section except four_rungs, the figure too, without TensorFlow in the process."""
    program = (
        f"import sys\nfrom layers_explained import {name} as told\n"
        "[section() for section in told.SECTIONS if section.__name__ != 'four_rungs']\ntold.figure()\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=walkthrough.PROJECT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ESSAYS)
def test_the_figure_of_a_run_goes_into_its_folder(tell, runs_dir, name):
    module = importlib.import_module(f"layers_explained.{name}")
    status, out, err = tell(module, "--run", "debug", "--runs-dir", runs_dir)  # it has one of everything
    assert (status, err) == (0, "") and "after step 7" in out
    assert (runs_dir / "debug" / f"{name}.png").is_file()


def test_run_alone_means_the_latest(tell, runs_dir, tmp_path):
    status, out, _ = tell(convolution, "--run", "--runs-dir", runs_dir, "--out", tmp_path / "f.png")
    assert status == 0 and "run      classic" in out


def test_a_document_that_names_nothing():
    with pytest.raises(walkthrough.Problem, match="names nothing in the essay"):
        walkthrough.render("<!-- printed: nonsense -->\n<!-- end -->", vars(convolution))


def test_a_gradient_of_zeros_proves_nothing():
    zero = {"x": np.zeros(3)}
    (check,) = checks.check_gradients(lambda x: 0.0, zero, zero)
    assert check.error == 0 and not check.holds


@pytest.mark.parametrize(("arguments", "status", "args"), [
    (["--run", "nowhere"], 1, ["nowhere", "debug"]),
    (["--run", "debug", "--image", "2000000"], 1, ["--image 2000000", "0 to"]),
    (["--run", "debug", "--image", "-1"], 1, ["--image -1"]),
    (["--run", "debug", "--layer", "conv9"], 1, ["--layer conv9", "it has conv1"]),
    (["--run", "debug", "--layer", "relu1"], 1, ["--layer relu1"]),
    (["--run", "debug", "--image", "two"], 2, ["--image", "two"]),
    (["--rnu", "debug"], 2, ["--rnu", "did you mean --run?"]),
])  # fmt: skip
def test_bad_words_get_a_sentence(tell, one_line, runs_dir, arguments, status, args):
    found, _, err = tell(convolution, *arguments, "--runs-dir", runs_dir)
    assert found == status
    one_line(err, *args)


@pytest.mark.parametrize("arguments", [["--image", "3"], ["--layer", "conv1"], ["--docs", "--run"], ["more"]])
def test_words_that_do_not_go_together(tell, one_line, arguments):
    status, _, err = tell(convolution, *arguments)
    assert status == 2
    one_line(err, "see --help")


def test_a_run_without_such_a_layer(tell, one_line, runs_dir, monkeypatch):
    monkeypatch.setattr(convolution, "LAYER_CLASSES", ("AveragePooling",))
    status, _, err = tell(convolution, "--run", "debug", "--runs-dir", runs_dir)
    assert status == 1
    one_line(err, "no AveragePooling layer", "it has conv1")


def test_a_figure_that_cannot_be_written(tell, one_line, tmp_path, monkeypatch):
    monkeypatch.setattr(convolution, "SECTIONS", [])
    for out in (tmp_path, tmp_path / "figure.nonsense"):
        status, _, err = tell(convolution, "--out", out)
        assert status == 1
        one_line(err, str(out), "--out")


def test_rungs_that_differ_are_named():
    rungs = [("loops", lambda: (np.zeros(2), np.zeros(3))), ("NumPy", lambda: (np.zeros(2), np.ones(3)))]
    with pytest.raises(walkthrough.Problem, match=r"rung 2 \(NumPy\) and rung 1 differ by 1.0e\+00 in dk;"):
        checks.climb(iter(rungs), names=("y", "dk"))


def test_a_run_of_a_network_that_has_changed_since(tell, one_line, runs_dir, monkeypatch):
    from core import model

    monkeypatch.setitem(model.NETWORKS, "debug", model.NETWORKS["modern"])
    status, _, err = tell(convolution, "--run", "debug", "--runs-dir", runs_dir)
    assert status == 1
    one_line(err, "conv1/kernel", "train it again")
