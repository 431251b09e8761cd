"""What every walkthrough promises: implementations, gradients, mistakes, figures, documents, the command line."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest

from layers_explained.support import checks, documents
from layers_explained.support.comparison import Comparison, forward_and_backward
from layers_explained.support.constants import Problem
from layers_explained.support.trajectory import Trajectory

WALKTHROUGHS = sorted(path.stem for path in (documents.PROJECT / "layers_explained").glob("[a-z]*.py"))


def comparisons(module):
    return [c for c in module.WALKTHROUGH.comparisons if isinstance(c, Comparison)]


def test_a_file_is_read_in_one_sitting():
    for path in (documents.PROJECT / "layers_explained").rglob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= (190 if path.parent.name == "layers_explained" else 300), path


def test_the_four_implementations_agree(walkthrough):
    for comparison in walkthrough.WALKTHROUGH.comparisons:
        found = [function() for _, function in comparison.implementations()]
        assert len(found) == 4 and all(len(results) == len(comparison.result_names()) for results in found)
        for before, after in itertools.pairwise(found):
            assert max(map(checks.largest_difference, before, after)) <= comparison.agreement


def test_every_entry_of_every_gradient_and_the_taylor_slope(walkthrough):
    for comparison in comparisons(walkthrough):
        _, *case = comparison.checked()
        for check in checks.check_gradients(*case, comparison.gradient_bound):
            assert check.passes and check.largest > 0.05
        assert checks.taylor(*case)[2] == pytest.approx(2.00, abs=0.05)


def test_a_gradient_with_one_entry_wrong_by_a_millionth_fails(walkthrough):
    for comparison in comparisons(walkthrough):
        _, loss, point, gradients = comparison.checked()
        name = list(point)[-1]
        broken = gradients[name].copy()
        broken.flat[np.argmax(np.abs(broken))] *= 1 + 2e-6
        with pytest.raises(Problem, match="does not belong to this forward pass"):
            checks.gradient_check(loss, point, {name: broken}, bound=1e-6)


def test_every_mistake_is_found_by_a_check(walkthrough, capsys):
    for comparison in walkthrough.WALKTHROUGH.comparisons:
        comparison.print_mistakes()
        assert comparison.mistakes and "no check finds it" not in capsys.readouterr().out


def test_as_a_script_from_another_folder(script, tmp_path, walkthrough):
    name = walkthrough.WALKTHROUGH.name
    status, out, err = script(f"{name}.py", "--out", tmp_path / "deep" / "figure.png", cwd=tmp_path)
    assert (status, err) == (0, "")
    for number, (title, _) in enumerate(walkthrough.WALKTHROUGH.sections.values(), start=1):
        assert f"\n{number}. {title}\n" in out
    assert (tmp_path / "deep" / "figure.png").stat().st_size > 10_000


def test_the_document_is_what_the_code_prints(walkthrough):
    name = walkthrough.WALKTHROUGH.name
    document = (documents.FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert documents.render(document, walkthrough.WALKTHROUGH) == document, (
        f"docs/layers/{name}.md has drifted; write it again: python layers_explained/{name}.py --docs"
    )
    assert (documents.FOLDER / f"{name}.png").is_file()
    assert f"]({name}.md)" in (documents.FOLDER / "README.md").read_text(encoding="utf-8")
    for section in walkthrough.WALKTHROUGH.sections:
        assert f"<!-- printed: {section} -->" in document


def test_the_document_explains_and_answers(walkthrough):
    document = (documents.FOLDER / f"{walkthrough.WALKTHROUGH.name}.md").read_text(encoding="utf-8")
    assert "**Why it matters in training.**" in document and "**History.**" in document
    questions = re.findall(r"^\d+\. ", document.partition("## To try")[2], re.MULTILINE)
    assert len(questions) == document.count("<details>") == document.count("</details>") >= 4


WITHOUT_TENSORFLOW = """
import contextlib, importlib, sys
for name in sys.argv[1:]:
    walkthrough = importlib.import_module(f"layers_explained.{name}").WALKTHROUGH
    with contextlib.redirect_stdout(None):
        [section() for key, (_, section) in walkthrough.sections.items() if key != "four_implementations"]
        walkthrough.figure()
    print(name, "tensorflow" in sys.modules)
"""


def test_numpy_is_enough_but_for_the_comparison():
    """Every section except `four_implementations`, the figure too, without TensorFlow in the process."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *WALKTHROUGHS], cwd=documents.PROJECT, capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.splitlines() == [f"{name} False" for name in WALKTHROUGHS], done.stderr


def test_the_figure_can_be_read_from_the_last_row(check_figure, walkthrough):
    check_figure(walkthrough.WALKTHROUGH.figure())


@pytest.mark.parametrize("run", ["debug", "classic", "modern", "minute"])
def test_on_your_network(main, one_line, runs_dir, check_figure, monkeypatch, walkthrough, run):
    """The sums written out term by term are the numbers of the layer and of the tape."""
    drawn = []
    monkeypatch.setattr(documents, "save", lambda figure, path: drawn.append((figure, path)))
    status, out, err = main(walkthrough, "--run", run, "--runs-dir", runs_dir, "--image", 5)
    layers = {"debug": (), "classic": ("normalization",), "modern": ("dropout",), "minute": ("dropout",)}
    if walkthrough.WALKTHROUGH.name in layers[run]:
        assert status == 1
        one_line(err, "its network has no")
        return
    assert (status, err) == (0, "") and "after step 7" in out and "test image 5 of shapes10" in out
    sums = re.findall(r"by hand (\S+); by the (?:layer|tape|optimizer) (\S+)", out)
    assert len(sums) >= 1 + (walkthrough.WALKTHROUGH.name != "optimization")
    assert all(own == other for own, other in sums) and any(float(own) for own, _ in sums)
    ((figure, path),) = drawn
    assert path == runs_dir / run / f"{walkthrough.WALKTHROUGH.name}.png"
    check_figure(figure)


def test_a_trajectory_gets_close_to_the_minimum():
    from layers_explained import optimization

    for trajectory in optimization.COMPARISONS:
        assert isinstance(trajectory, Trajectory)
        start, curvature, rates = trajectory.case()
        losses = [np.sum(curvature * w**2) / 2 for w in trajectory.numpy(start, curvature, rates)]
        assert losses[-1] < 0.01 * losses[0]


def test_forward_and_backward_use_the_loss_of_the_target():
    from layers_explained import dense

    numbers = dense.numbers()
    y, *_, db = forward_and_backward(dense.forward_numpy, dense.backward_numpy, numbers)
    np.testing.assert_allclose(db, (y - numbers.target).sum(axis=0))
