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
    ("04_softmax_cross_entropy", "mean over images and classes"): """
import numpy as np
def softmax_cross_entropy(z, labels):
    log_p, onehot = z - np.logaddexp.reduce(z, axis=1, keepdims=True), np.zeros(z.shape)
    onehot[range(len(z)), labels] = 1
    return np.average(-onehot * log_p), (np.exp(log_p) - onehot) / len(z)
""",
    ("05_momentum", "learning rate twice"): """
def momentum_step(weights, gradients, velocities, learning_rate, momentum):
    moved = [learning_rate * g + v * momentum for g, v in zip(gradients, velocities)]
    return [w - v * learning_rate for w, v in zip(weights, moved)], moved
""",
    ("11_gradient_check", "mean difference"): """
import numpy as np
def numerical_gradient(loss, x, h=1e-5):
    found, flat = [], x.ravel()
    for i in range(x.size):
        d = h * (np.arange(x.size) == i)
        found.append((loss((flat + d).reshape(x.shape)) - loss((flat - d).reshape(x.shape))) / h / 2)
    return np.reshape(found, x.shape)
def passes(loss, x, gradient):
    n = numerical_gradient(loss, x)
    return bool(n.any() and abs(gradient - n).sum() / x.size <= 1e-6 * abs(n).max())
""",
    ("12_loop_at_chance", "labels in order for one epoch"): """
import numpy as np
def train(x, labels, classes, epochs, batch_size, learning_rate, seed):
    rng = np.random.default_rng(seed)
    w, b, losses = np.zeros((x.shape[1], classes)), np.zeros(classes), []
    for _ in range(epochs):
        order = rng.permutation(len(x))
        x = x[order]
        for i in range(0, len(x), batch_size):
            xb, yb = x[i : i + batch_size], labels[order][i : i + batch_size]
            p = np.exp(xb @ w + b)
            p = p / p.sum(1, keepdims=True)
            losses.append(-np.mean(np.log(p[range(len(xb)), yb])))
            d = (p - np.eye(classes)[yb]) / len(xb)
            w, b = w - learning_rate * xb.T @ d, b - learning_rate * d.sum(0)
    return w, b, losses
""",
    ("14_accuracy_that_misleads", "weighted with batch_size"): """
def evaluate(predict, x, labels, batch_size):
    starts = range(0, len(x), batch_size)
    each = [(predict(x[i : i + batch_size]) == labels[i : i + batch_size]).mean() for i in starts]
    return sum(batch_size * a for a in each) / len(x)
""",
}
# Right answers that are written in another way than the solution.
RIGHT = {
    "04_softmax_cross_entropy": """
import numpy as np
def softmax_cross_entropy(z, labels):
    log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    dz = np.exp(log_p)
    dz[range(len(z)), labels] -= 1
    return -sum(log_p[n, k] for n, k in enumerate(labels)) / len(z), dz / len(z)
""",
    "08_schedule": """
def learning_rate(step, total_steps, warmup_steps, peak):
    left = total_steps - step + 1
    return peak * min(step / warmup_steps, left / (total_steps - warmup_steps + 1))
""",
    "11_gradient_check": """
import numpy as np
def numerical_gradient(loss, x, h=1e-5):
    def slope(index):
        d = np.zeros(x.shape)
        d[index] = h
        return (loss(x + d) - loss(x - d)) / (2 * h)
    return np.array([slope(i) for i in np.ndindex(x.shape)]).reshape(x.shape)
def passes(loss, x, gradient):
    n = numerical_gradient(loss, x)
    return n.any() and np.linalg.norm(gradient - n) <= 1e-6 * (np.linalg.norm(gradient) + np.linalg.norm(n))
""",
    "14_accuracy_that_misleads": """
import numpy as np
def evaluate(predict, x, labels, batch_size):
    batches = [slice(i, i + batch_size) for i in range(0, len(x), batch_size)]
    right = [np.mean(predict(x[b]) == labels[b]) for b in batches]
    return np.average(right, weights=[len(x[b]) for b in batches])
""",
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_passes_however_it_is_written(name):
    result = checking.check(catalogue.find(name), RIGHT[name])
    assert result.passed, (result.sentence, result.details)


def test_arrays_that_print_alike_are_shown_where_they_differ():
    result = checking.check(catalogue.find("8"), RIGHT["08_schedule"].replace("peak * min", "(peak + 1e-7) * min"))
    assert result.details == (
        ("expected", "the rates[3] = 1"), ("found", "the rates[3] = 1.0000001"),
    )  # fmt: skip


def test_windows_that_reach_over_the_border_are_named():
    text = """
import numpy as np
def im2col(x, kh, kw, s):
    rows, columns = range(0, x.shape[1], s), range(0, x.shape[2], s)
    return np.array([x[n, i : i + kh, j : j + kw].ravel() for n in range(len(x)) for i in rows for j in columns])
"""
    assert "does a window reach over the border" in checking.check(catalogue.find("10"), text).sentence


@pytest.mark.parametrize(("name", "mistake"), OTHERWISE, ids="/".join)
def test_a_mistake_is_recognized_by_what_it_computes(name, mistake):
    result = checking.check(catalogue.find(name), OTHERWISE[name, mistake])
    assert result.mistake == mistake, result.sentence
