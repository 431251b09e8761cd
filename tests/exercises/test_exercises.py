"""Every exercise: its file fails, its solution passes, each typical mistake gets its own sentence, no stray file."""

import re
import sys

import pytest
from documents import PROJECT

FOLDER = PROJECT / "docs" / "exercises"
sys.path.insert(0, str(FOLDER))

from checker import catalogue, checking, report

ENTRIES = catalogue.entries()
EVERY = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
HINT_WORDS = 60


def test_the_numbers_follow_each_other():
    assert [entry.number for entry in ENTRIES] == list(range(1, len(ENTRIES) + 1))


def test_no_stray_file():
    names = {entry.name for entry in ENTRIES}
    expected = {f"{folder}{name}.py" for folder in ("", "answers/", "checks/") for name in names}
    expected |= {"check.py", "README.md", "README.fr.md", ".gitignore"}
    ignored = (".progress.json", ".mine", ".part", ".pyc")
    found = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    found = {name for name in found if not name.startswith("checker/") and not name.endswith(ignored)}
    assert found == expected
    assert all(path.suffix == ".py" for path in (FOLDER / "checker").iterdir() if path.name != "__pycache__")


def test_both_readmes_list_every_exercise():
    rows = [re.findall(r"^\| (\d+) \| \[(.+)\]\((\w+)\.py\) \|", (FOLDER / name).read_text(), re.MULTILINE)
            for name in ("README.md", "README.fr.md")]  # fmt: skip
    assert rows[0] == [(str(entry.number), entry.exercise.title, entry.name) for entry in ENTRIES]
    assert [row[::2] for row in rows[1]] == [row[::2] for row in rows[0]]
    blocks = [re.findall(r"```text\n(.*?)```", (FOLDER / name).read_text(), re.DOTALL)
              for name in ("README.md", "README.fr.md")]  # fmt: skip
    assert blocks[0] == blocks[1] and blocks[0]
    assert min(len(entry.exercise.mistakes) for entry in ENTRIES) >= 6, "the READMEs say at least six"


@EVERY
def test_the_file_is_made_from_the_solution(entry):
    restore = f"python docs/exercises/check.py {entry.number} --reset restores it"
    assert entry.path.read_text() == entry.unsolved, f"{entry.name}.py was changed (by a learner?); {restore}"
    assert "gap" not in entry.unsolved and entry.unsolved != entry.solution


@EVERY
def test_the_unsolved_file_fails_with_a_sentence(entry):
    result = checking.check(entry, entry.unsolved)
    assert not result.passed and result.reached < len(entry.exercise.checks)
    assert_for_people(report.of_check(result, set()))


@EVERY
def test_the_solution_passes(entry):
    result = checking.check(entry, entry.solution)
    assert result.passed, (result.sentence, result.details)
    text = report.of_check(result, {entry.name})
    assert "solved" in text and " ".join(entry.exercise.explanation.split())[:60] in " ".join(text.split())
    assert entry.solution_lines and all(line.strip() in text for line in entry.solution_lines[0].split("\n"))


@EVERY
def test_three_short_hints(entry):
    assert len(entry.exercise.hints) == 3 and len(set(entry.exercise.hints)) == 3
    for hint in entry.exercise.hints:
        assert 8 <= len(hint.split()) < HINT_WORDS, f"{len(hint.split())} words: {hint}"


@EVERY
def test_every_typical_mistake_gets_its_own_sentence(entry):
    mistakes = entry.exercise.mistakes
    assert len(mistakes) >= 3 and len({mistake.sentence for mistake in mistakes}) == len(mistakes)
    for mistake in mistakes:
        result = checking.check(entry, entry.wrong_answer(mistake))
        assert (result.mistake, result.sentence) == (mistake.name, mistake.sentence)
        assert result.details, f"{mistake.name}: nothing shows what was found"
        text = report.of_check(result, set())
        assert_for_people(text)
        # The sentence comes first, below the title.
        assert " ".join(text.split("\n\n")[1].split()) == " ".join(mistake.sentence.split())


@EVERY
def test_the_checks_begin_with_what_is_easy_to_see(entry):
    names = [check.name for check in entry.exercise.checks]
    assert len(set(names)) == len(names) >= 3
    order = [name for name in ("shape", "by hand") if name in names]
    assert names[: len(order)] == order, names
    assert "gradient check" not in names[:-1], "the gradient check comes last"


def assert_for_people(text: str) -> None:
    """No traceback, no bare assert, and a part is not called all."""
    assert not re.search(r"Traceback|AssertionError|<module|File \"|all \d* ?.*pass", text), text
    assert re.search(r"\d of \d checks pass", text)


# Wrong answers that are written in another way than the catalogue writes them.
OTHERWISE = {
    ("01_convolution", "kernel flipped"): """
import numpy as np
def convolve(x, k, b, stride):
    k = np.flip(np.flip(k, 0), 1)
    windows = np.lib.stride_tricks.sliding_window_view(x, k.shape[:2], (1, 2))[:, ::stride, ::stride]
    return np.tensordot(windows, k, ([4, 5, 3], [0, 1, 2])) + b
""",
    ("02_convolution_backward", "bias gradient times the bias"): """
import numpy as np
def convolve_backward(dy, x, k, b):
    dx, dk = np.zeros(x.shape), np.zeros(k.shape)
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            g = dy[:, i, j]
            dx[:, i : i + k.shape[0], j : j + k.shape[1]] += np.einsum("no,uvco->nuvc", g, k)
            dk += np.einsum("nuvc,no->uvco", x[:, i : i + k.shape[0], j : j + k.shape[1]], g)
    return dx, dk, b * dy.sum((0, 1, 2))
""",
    ("03_max_pooling_backward", "every equal maximum gets it"): """
import numpy as np
def max_pool_backward(dy, x):
    def wide(a): return a.repeat(2, axis=1).repeat(2, axis=2)
    y = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max(axis=(2, 4))
    return wide(dy) * (x == wide(y))
""",
}


@pytest.mark.parametrize(("name", "mistake"), OTHERWISE, ids="/".join)
def test_a_mistake_is_recognized_by_what_it_computes(name, mistake):
    result = checking.check(catalogue.find(name), OTHERWISE[name, mistake])
    assert result.mistake == mistake, result.sentence
