"""check.py: what it prints for every kind of file, hints, restoring, progress and watching; in a copy of the folder."""

import re
import shutil
import subprocess
import sys
import time

import pytest
from documents import PROJECT

FOLDER = PROJECT / "docs" / "exercises"
sys.path.insert(0, str(FOLDER))

import check
from checker import catalogue, checking, progress, report, time_limit, watching

FIRST = "01_convolution"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of docs/exercises, with every file as it was delivered."""
    copy = tmp_path / "docs" / "exercises"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__", ".progress.json", "*.mine*"))
    monkeypatch.setattr(catalogue, "FOLDER", copy)
    monkeypatch.delenv("MAKELEVEL", raising=False)
    monkeypatch.setattr(sys, "stdin", sys.stdin)
    for entry in catalogue.entries():
        entry.path.write_text(entry.unsolved)
    return copy


@pytest.fixture
def said(folder, capsys):
    """said(*arguments, status) -> what check.py prints."""

    def call(*args, status=None):
        found = check.main([str(a) for a in args])
        assert status is None or found == status
        return capsys.readouterr().out

    return call


def solve(number):
    entry = catalogue.find(str(number))
    entry.path.write_text(entry.solution)
    return entry


def test_from_the_open_gap_to_the_explained_solution(said, folder):
    assert "The gap in line 16 is still open" in said(1, status=1)
    entry = solve(1)
    text = said("01", status=0)
    assert text.startswith("exercise 1, convolution, forward: solved, all of its checks pass\n")
    assert "One solution (docs/exercises/answers/01_convolution.py):" in text and "y[n, i, j, o] = np.sum(" in text
    assert "1 of 15 solved. Next: exercise 2" in text
    entry.path.write_text(entry.wrong_answer(entry.exercise.mistakes[0]))
    text = said(entry.path, status=1)
    assert text.index("You turn the kernel around") < text.index("shape") < text.index("by hand")
    assert "1 of 4 checks passes." in text and "solved" not in text
    assert progress.read().done == [] and progress.read().attempts == {FIRST: 1}


def wrong(folder, body: str) -> str:
    """The file of exercise 1 with this body of convolve."""
    text = f"import numpy as np\n\n\ndef convolve(x, k, b, stride):\n{body}\n"
    (folder / f"{FIRST}.py").write_text(text)
    return text


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("    return np.zeros((3", "Line 5 is not Python yet: '(' was never closed."),
        ("    y = x[:, 10**6, 0]\n    return y[99]", "Line 5 stops with IndexError: index 1000000 is out of bounds"),
        ("    return Y", "Line 5 uses a name that nothing defines (name 'Y' is not defined)."),
        ("    x = 1", "convolve returns nothing: is there a return, outside of the loops?"),
        ("    return convolve(x, k, b, stride)", "Line 5 calls itself again and again."),
        ("    raise SystemExit", "Line 5 ends Python; a function gives its result back with return."),
        ("    return input()", "Line 5 waits for the keyboard"),
        ("    assert False", "Line 5 stops with AssertionError: no message."),
        ("    x += 1\n    return x", "convolve changes its argument x, which the caller still needs: work on a copy."),
        ("    return 'y'", "y is a str; expected an array of numbers."),
        ("    return np.zeros((1, 1))", "y has shape [1, 1], expected [2, 4, 6, 4]: images 6x7"),
        ("    return np.full((2, 4, 6, 4), np.nan) if k.shape[3] == 4 else np.full((1, 2, 2, 1), np.nan)",
         "y has shape [2, 4, 6, 4], expected [2, 2, 3, 4]"),
        ("    return x / 0 * 0 if len(k) == 2 else []", "y has shape [0], expected [2, 4, 6, 4]"),
        ("    y = ...\n    return y", "The gap in line 5 is still open"),
        ("    return open('absent')", "Line 5 stops with FileNotFoundError"),
        ("    pass\n\n\ndef convolve(x):\n    return x", "convolve(x) does not take 4 arguments"),
        ("    pass\n\n\nconvolve = 3", "The file has no function convolve"),
        ("    pass\n\n\n1 / 0", "Line 8 stops with ZeroDivisionError: division by zero."),
    ],
)  # fmt: skip
def test_whatever_stands_in_the_file_the_answer_is_a_sentence(said, folder, body, sentence):
    wrong(folder, body)
    text = said(1, status=1)
    assert " ".join(sentence.split()) in " ".join(text.split())
    assert "Traceback" not in text and "0 of 4 checks pass." in text


def test_a_file_that_is_no_text_and_one_that_is_missing(said, folder):
    (folder / f"{FIRST}.py").write_bytes(b"\x00\xff\x00")
    assert "not Python" in said(1, status=1)
    (folder / f"{FIRST}.py").unlink()
    assert "is missing; python docs/exercises/check.py 01 --reset restores it" in said(1, status=1)
    assert "restored" in said(1, "--reset") and "The gap in line 16" in said(1)


def test_what_the_file_prints_is_shown_at_the_end(said, folder):
    wrong(folder, "    for i in range(30):\n        print('i is', i)\n    return x")
    text = said(1)
    assert "  | i is 0\n" in text and "| i is 7\n" in text and "... and 22 lines more" in text


@pytest.mark.parametrize(
    ("body", "limit", "sentence"),
    [
        ("    while True:\n        x = x + 0", "CPU_SECONDS = 1.5", "it was stopped at line"),
        ("    import time; time.sleep(99)", "WALL_SECONDS = 20", "Your file waits for something at line 5"),
    ],
)
def test_an_endless_loop_and_a_long_sleep_are_stopped_in_their_line(folder, body, limit, sentence):
    wrong(folder, body)
    module = folder / "checker" / "time_limit.py"
    assert limit in module.read_text()
    module.write_text(module.read_text().replace(limit, limit.split(" = ")[0] + " = 0.5"))
    done = subprocess.run([sys.executable, folder / "check.py", "1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr == ""
    first = " ".join(done.stdout.split("\n\n")[1].split())
    assert sentence in first and re.search(r"at line [56]\b", first)
    assert progress.read().attempts == {FIRST: 1}


def test_the_limit_leaves_two_seconds():
    assert time_limit.CPU_SECONDS < 2


def test_the_numpy_exercises_answer_within_two_seconds():
    """All of them together, with recognizing the last mistake of each; the start of Python and NumPy comes on top."""
    start = time.process_time()
    entries = [entry for entry in catalogue.entries() if not entry.exercise.tensorflow]
    for entry in entries:
        checking.check(entry, entry.solution)
        checking.check(entry, entry.wrong_answer(entry.exercise.mistakes[-1]))
    assert len(entries) == 14 and time.process_time() - start < 2


def test_a_right_file_that_takes_long_is_not_called_endless():
    """In exercise 15 four images of 32x32 take longer than the limit."""
    sentence = time_limit.sentence(10, 1.5)
    assert "was not done after 1.5 seconds of computing; it was stopped at line 10" in sentence
    assert "If it only takes long" in sentence and "come to an end" not in sentence


def test_a_progress_that_cannot_be_written_costs_no_report(said, folder, capsys):
    """A folder of somebody else's, a full disk: the report comes, then one line; an endless loop ends all the same."""
    progress.file().with_suffix(".part").mkdir()
    for args, expected in ((["1"], "The gap in line 16"), (["1", "--hint"], "Hint 1 of 3"), (["1", "--reset"], "rest")):
        assert check.main(args) == 1
        out, err = capsys.readouterr()
        assert expected in out and err.startswith("check.py: ") and err.count("\n") == 1
    wrong(folder, "    while True:\n        pass")
    done = subprocess.run([sys.executable, folder / "check.py", "1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "it was stopped at line" in " ".join(done.stdout.split())
    assert done.stderr.startswith("check.py: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["random", "numpy"])
def test_a_file_of_the_learner_that_hides_a_module_is_named(folder, name):
    (folder / f"{name}.py").touch()
    done = subprocess.run([sys.executable, folder / "check.py", "1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"check.py: docs/exercises/{name}.py hides Python's own {name}")


def test_a_file_as_windows_keeps_it(said, folder):
    """Two bytes at the end of a line and a byte order mark at the beginning: not an attempt, and no mistake."""
    entry = catalogue.find("1")
    kept = {text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() for text in (entry.unsolved, entry.solution)}
    entry.path.write_bytes(kept[entry.unsolved])
    assert "The gap in line 16 is still open" in said(1, status=1) and progress.read().attempts == {}
    assert "mine" not in said(1, "--reset", status=0)
    entry.path.write_bytes(kept[entry.solution])
    assert "solved, all of its checks pass" in said(1, status=0)


def test_a_terminal_gets_no_commands_and_no_endless_line(said, folder):
    wrong(folder, '    print("\\x1b[2J", "x" * 10**6)\n    raise ValueError("\\x1b[2J")')
    text = said(1, status=1)
    assert "\x1b" not in text and r"| \x1b[2J xxx" in text and len(text) < 2000


def test_a_file_that_an_editor_takes_away_for_a_moment(folder, monkeypatch):
    entry = catalogue.find("1")
    entry.path.unlink()
    monkeypatch.setattr(type(entry.path), "exists", lambda self: True)  # between this question and the next
    assert watching.saved_at()[FIRST] == 0


def test_three_hints_the_last_after_an_attempt(said, folder):
    first, second, third = catalogue.find("1").exercise.hints
    shown = [" ".join(said(1, "--hint", status=0).split()) for _ in range(3)]
    assert f"Hint 1 of 3. {first}" in shown[0] and "The next one: python docs/exercises/check.py 01 --hint" in shown[0]
    assert f"Hint 2 of 3. {second}" in shown[1] and f"Hint 2 of 3. {second}" in shown[2]
    assert "The last hint opens after an attempt" in shown[1]
    said(1)  # the file as it was delivered is no attempt
    assert "Hint 2 of 3" in said(1, "--hint")
    wrong(folder, "    return x")
    said(1)
    text = " ".join(said(1, "--hint").split())
    assert f"Hint 3 of 3. {third}" in text and "docs/exercises/answers/01_convolution.py" in text


def test_reset_restores_and_keeps_what_was_written(said, folder):
    texts = [wrong(folder, f"    return x + {i}") for i in range(2)]
    said(1)
    assert "what you wrote is in docs/exercises/01_convolution.mine" in said(1, "--reset", status=0)
    (folder / f"{FIRST}.py").write_text(texts[0])
    said(1, "--reset")
    assert (folder / f"{FIRST}.mine").read_text() == texts[1]
    assert (folder / f"{FIRST}.mine1").read_text() == texts[0]
    assert (folder / f"{FIRST}.py").read_text() == catalogue.find("1").unsolved
    assert progress.read() == progress.Progress() and said(1, "--reset").count("mine") == 0


def test_progress_is_remembered_and_a_damaged_file_is_an_empty_one(said, folder):
    solve(2), said(2)
    text = said("--progress", status=0)
    assert "  x   2  convolution, backward\n" in text and "  .   1  convolution, forward\n" in text
    assert "1 of 15 solved. Next: exercise 1" in text
    endless = '{"done": [], "hints": {}, "attempts": {"01_convolution": 1e999}}'
    for damaged in ("", "[]", '{"done": 3}', "\x00", endless, "[" * 100_000):
        progress.file().write_text(damaged)
        assert progress.read() == progress.Progress()
    progress.file().write_text(f'{{"done": [], "attempts": {{}}, "hints": {{"{FIRST}": -5}}}}')
    assert "Hint 1 of 3" in said(1, "--hint", status=0)


def test_watching_checks_what_is_saved_and_goes_on(folder, capsys):
    """Exercise 1 is saved wrong, then right; then all others are."""
    solved = [entry for entry in catalogue.entries() if entry.number != 9]
    state = progress.read()
    state.record(catalogue.find("9").name, True)
    progress.write(state)

    def saves():
        wrong(folder, "    return x")
        yield
        yield
        for entry in solved:
            solve(entry.number)
            yield

    steps = saves()
    watching.watch(check.say, run_check=check.check, wait=lambda: next(steps))
    text = capsys.readouterr().out
    assert text.index("Watching docs/exercises/01_convolution.py") < text.index("y has shape")
    assert text.index("y has shape") < text.index("exercise 1, convolution, forward: solved")
    assert "Watching docs/exercises/02_convolution_backward.py" in text and "Watching docs/exercises/09" not in text
    assert text.rstrip().endswith("15 of 15 solved. That was the last one.")


def test_commands_are_those_of_the_way_it_was_called(folder, monkeypatch):
    entry = catalogue.find("3")
    assert report.command(entry, "--hint") == "python docs/exercises/check.py 03 --hint"
    monkeypatch.setenv("MAKELEVEL", "1")
    assert report.command(entry, "--hint") == "make check EX=03 ARGS=--hint"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["99"], "exercise '99': expected a number from 1 to 15"),
        (["--hint"], "need the number of an exercise"),
        (["1", "--hint", "--reset"], "not allowed with"),
    ],
)
def test_a_wrong_command_line(folder, capsys, args, sentence):
    with pytest.raises(SystemExit) as stopped:
        check.main(args)
    assert stopped.value.code == 2 and sentence in capsys.readouterr().err


def test_ctrl_c_ends_in_one_line(folder, monkeypatch, capsys):
    def interrupt(say):
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "watch", interrupt)
    assert check.main([]) == 0
    assert capsys.readouterr().out == "\nstopped; what is solved is remembered\n"
